//! The thread that writes.
//!
//! Records wait in a bounded queue until they are on disk. While the disk takes none (it is full, or gone, or hangs), they
//! are kept and tried again; when the queue is full, what comes on top is refused, and whoever wanted it written is told.

use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::desk::{Desk, Refused, Waiting, silence};
use super::pressure::Pressure;
use super::record::Body;
use super::tail::Tail;
use crate::config::SyncPolicy;
use crate::{Error, Result};

/// How long a record may lie in the system's cache.
const SYNC_EVERY: Duration = Duration::from_millis(200);
/// How often a disk that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What could not be written in the end.
#[derive(Debug)]
pub(super) struct Unwritten {
    /// None where all was written, into a file that does not bear the log's name any more.
    pub(super) records: usize,
    pub(super) why: String,
}

#[derive(Debug)]
pub(super) struct Writer {
    desk: Arc<Desk>,
    patience: Duration,
    /// Where the thread waits for what it writes to.
    awaited: Option<SyncSender<Tail>>,
}

impl Writer {
    /// Starts the thread, which writes from [`Writer::begin`] on. A record that is not on disk after `patience` is a fault.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(sync: SyncPolicy, room: usize, patience: Duration) -> Result<Self> {
        let desk = Arc::new(Desk::new(room));
        let ends = Ends(desk.clone());
        // A burst must not find the queue full of records that only wait.
        let group = match sync {
            SyncPolicy::EveryRecord => 1,
            SyncPolicy::Group => (room / 2).max(1),
        };
        let (awaited, handed) = sync_channel(1);
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || {
            let desk = &ends.0;
            // A run that was refused has nothing to write to.
            if let Ok(tail) = handed.recv() {
                let pressure = Pressure::default();
                Scribe { tail, group, batch: VecDeque::new(), written: 0, pressure }.work(desk);
            }
        });
        thread.map_err(|error| Error::device("the system gives no thread for the audit").because(error))?;
        Ok(Writer { desk, patience, awaited: Some(awaited) })
    }

    /// Writes behind `tail` what was given, and what comes.
    pub(super) fn begin(&mut self, tail: Tail) {
        if let Some(awaited) = self.awaited.take() {
            // A thread that died is told of by the desk.
            let _ = awaited.send(tail);
        }
    }

    pub(super) fn write(&self, body: Body) -> std::result::Result<(), Refused> {
        self.desk.put(body)
    }

    /// As [`Writer::write`], of the record behind which nothing comes.
    pub(super) fn write_last(&self, body: Body) -> std::result::Result<(), Refused> {
        self.desk.put_last(body)
    }

    /// Whether nothing more is taken.
    pub(super) fn is_closing(&self) -> bool {
        self.desk.queue().closing
    }

    pub(super) fn has_room(&self) -> bool {
        self.desk.queue().has_room()
    }

    pub(super) fn on_disk(&self) -> u64 {
        self.desk.on_disk()
    }

    /// Where those leave their records who have to know when they are on disk.
    pub(super) fn desk(&self) -> Arc<Desk> {
        self.desk.clone()
    }

    pub(super) fn health(&self) -> std::result::Result<(), String> {
        self.desk.health(self.patience)
    }

    /// Writes all that was given, and ends.
    ///
    /// # Errors
    ///
    /// What could not be written.
    pub(super) fn close(&mut self) -> std::result::Result<(), Unwritten> {
        self.end();
        let queue = self.desk.queue();
        match (queue.open() + queue.refused, &queue.failure) {
            (0, None) => queue.astray.clone().map_or(Ok(()), |why| Err(Unwritten { records: 0, why })),
            (records, Some(why)) => Err(Unwritten { records, why: with(why, &queue.astray) }),
            (records, None) if queue.ended => {
                Err(Unwritten { records, why: with("there was no room for them", &queue.astray) })
            }
            (records, None) => Err(Unwritten { records, why: with(&silence(self.patience), &queue.astray) }),
        }
    }

    fn end(&mut self) {
        self.awaited = None;
        self.desk.close(self.patience);
    }
}

fn with(why: &str, astray: &Option<String>) -> String {
    [Some(why), astray.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Tells the desk that the thread has ended, also when it panicked.
struct Ends(Arc<Desk>);

impl Drop for Ends {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.ended = true;
        if std::thread::panicking() {
            queue.failure = Some("the writer panicked".into());
        }
        drop(queue);
        self.0.settled.notify_all();
    }
}

/// How soon what was taken must be on disk.
#[derive(Clone, Copy)]
struct Urgency {
    /// Before anything else: the queue was closed, or the disk has to show that it works again.
    at_once: bool,
    /// And signed: somebody waits for it.
    signed: bool,
    /// Nothing comes after it.
    last: bool,
}

struct Scribe {
    tail: Tail,
    /// So many records are forced onto the disk at once.
    group: usize,
    /// What is not on disk yet, oldest first.
    batch: VecDeque<Waiting>,
    /// So many of them are written, and not forced onto the disk.
    written: usize,
    pressure: Pressure,
}

impl Scribe {
    /// Works until the queue is closed, and all is on disk or the disk fails.
    fn work(mut self, desk: &Desk) {
        loop {
            let urgency = self.wait(desk);
            let result = self.write(desk, urgency);
            if !urgency.last
                && let Some(news) = self.pressure.look(&self.tail)
            {
                // Where there is no room for it, there are graver news.
                let _ = desk.put(news);
            }
            // One look at the file's name, before the desk is held: the disk may be slow.
            let astray = self.tail.astray();
            let mut queue = desk.queue();
            queue.failure = result.err().map(|error| error.to_string());
            queue.unclosed = self.tail.unclosed().map(str::to_owned);
            queue.astray = astray;
            // Only after a turn that knew that it was the last: it signs what no further one does.
            if urgency.last && (queue.failure.is_some() || queue.open() == 0) {
                break;
            }
        }
        let left = self.tail.left(&mut || {
            desk.queue().kept += 1;
            desk.settled.notify_all();
        });
        desk.queue().astray = left;
    }

    /// Waits for work and takes it.
    fn wait(&mut self, desk: &Desk) -> Urgency {
        let mut queue = desk.queue();
        let failing = queue.failure.is_some();
        let due = match failing {
            true => Some(Instant::now() + RETRY),
            false => {
                let sync = self.tail.unsynced().map(|since| since + SYNC_EVERY);
                sync.into_iter().chain(self.tail.checkpoint_due()).chain(self.tail.rotation_due()).min()
            }
        };
        while !queue.closing && (failing || queue.waiting.is_empty() && !queue.awaits_signature()) {
            queue = match due.map(|due| due.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => break,
                Some(left) => desk.work.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                None => desk.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
        queue.take_into(&mut self.batch);
        let signed = queue.awaits_signature();
        Urgency { at_once: queue.closing || failing || signed, signed, last: queue.closing }
    }

    fn write(&mut self, desk: &Desk, urgency: Urgency) -> std::io::Result<()> {
        let appended = self.append(desk).and_then(|()| self.sign(urgency.last || urgency.signed));
        // What a full disk still took is forced onto it, whatever becomes of the rest.
        let forced = match self.tail.unsynced() {
            Some(since) if urgency.at_once || since.elapsed() >= SYNC_EVERY => self.force(desk),
            // All of it is on disk, and that is told.
            None if urgency.signed => self.force(desk),
            _ => Ok(()),
        };
        appended.and(forced)?;
        // A file that begins with nothing behind it would be of no use.
        if urgency.last { Ok(()) } else { self.tail.rotate() }
    }

    /// Writes all that was taken.
    fn append(&mut self, desk: &Desk) -> std::io::Result<()> {
        while self.written < self.batch.len() {
            let end = self.batch.len().min(self.written + self.group);
            self.tail.append(self.batch.range(self.written..end).map(|waiting| &waiting.body))?;
            self.written = end;
            if self.written >= self.group {
                self.force(desk)?;
                if !self.batch.is_empty() {
                    self.tail.rotate()?;
                }
            }
        }
        Ok(())
    }

    fn sign(&mut self, at_once: bool) -> std::io::Result<()> {
        match self.tail.checkpoint_due() {
            Some(due) if at_once || due <= Instant::now() => self.tail.checkpoint(),
            _ => Ok(()),
        }
    }

    fn force(&mut self, desk: &Desk) -> std::io::Result<()> {
        let written = std::mem::take(&mut self.written);
        self.tail.sync()?;
        self.batch.drain(..written);
        // Who waits for these records has to know whether the file that they are in bears its name.
        let astray = self.tail.astray();
        desk.queue().astray = astray;
        desk.settle(&self.batch, self.tail.is_signed());
        Ok(())
    }
}
