//! The thread that writes.
//!
//! Records wait in a bounded queue. While the disk takes none (it is full, or gone), they are kept and tried again; when
//! the queue is full, what comes on top is lost, and the line is told so that it can stop.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::chain::Link;
use super::open::Store;
use super::record::Body;
use crate::config::SyncPolicy;
use crate::{Error, Result};

/// How many records are kept while the disk takes none.
pub(super) const KEPT: usize = 4096;
/// How long a record may lie in the system's cache.
const SYNC_EVERY: Duration = Duration::from_millis(200);
/// How often a disk that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What the writer has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The disk does not take records; they are kept in memory.
    Fault(String),
    /// The disk takes records again, and has all that were kept.
    Recovered,
    /// Memory is full too: from here on records are lost.
    Lost,
}

/// What could not be written in the end.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub(super) records: usize,
    pub(super) why: String,
}

#[derive(Debug, Default)]
struct Queue {
    bodies: VecDeque<Body>,
    /// Taken by the writer and not yet on disk.
    in_hand: usize,
    /// Records that found no room.
    lost: usize,
    closing: bool,
}

#[derive(Debug, Default)]
struct Desk {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Desk {
    /// The queue stays usable when a thread panicked while it held it: it is whole after every statement.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<Option<String>>>,
}

impl Writer {
    pub(super) fn start(
        store: Box<dyn Store>,
        link: Link,
        length: u64,
        sync: SyncPolicy,
        report: impl FnMut(Report) + Send + 'static,
    ) -> Result<Self> {
        let desk = Arc::new(Desk::default());
        let shared = desk.clone();
        let scribe = Scribe {
            store,
            link,
            length,
            sync,
            report,
            batch: VecDeque::new(),
            unsynced: None,
            torn: false,
            failure: None,
            told_lost: false,
        };
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || scribe.work(&shared));
        let thread =
            thread.map_err(|error| Error::device("the system gives no thread for the audit").because(error))?;
        Ok(Writer { desk, thread: Some(thread) })
    }

    pub(super) fn write(&self, body: Body) {
        let mut queue = self.desk.queue();
        if queue.bodies.len() + queue.in_hand < KEPT {
            queue.bodies.push_back(body);
        } else {
            queue.lost += 1;
        }
        drop(queue);
        self.desk.changed.notify_one();
    }

    pub(super) fn close(mut self) -> std::result::Result<(), Unwritten> {
        let failure = self.end();
        let queue = self.desk.queue();
        match queue.bodies.len() + queue.in_hand + queue.lost {
            0 => Ok(()),
            records => Err(Unwritten { records, why: failure.unwrap_or_else(|| "the queue was full".into()) }),
        }
    }

    fn end(&mut self) -> Option<String> {
        self.desk.queue().closing = true;
        self.desk.changed.notify_one();
        self.thread.take()?.join().unwrap_or_else(|_| Some("the writer panicked".into()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

struct Scribe<R> {
    store: Box<dyn Store>,
    link: Link,
    /// Bytes of whole lines in the store.
    length: u64,
    sync: SyncPolicy,
    report: R,
    batch: VecDeque<Body>,
    /// Since when something waits to be forced onto the disk.
    unsynced: Option<Instant>,
    /// A failed write may have left a part of a line behind.
    torn: bool,
    failure: Option<String>,
    told_lost: bool,
}

impl<R: FnMut(Report)> Scribe<R> {
    /// Works until the queue is closed; gives the failure that still lasts then.
    fn work(mut self, desk: &Desk) -> Option<String> {
        loop {
            let closing = self.wait(desk);
            let result = self.write_batch().and_then(|()| self.sync_if_due(closing));
            desk.queue().in_hand = self.batch.len();
            self.note(result);
            if closing && (self.failure.is_some() || self.is_done(desk)) {
                return self.failure;
            }
        }
    }

    fn is_done(&self, desk: &Desk) -> bool {
        self.batch.is_empty() && desk.queue().bodies.is_empty()
    }

    /// Waits for work, takes it, and says whether the queue was closed.
    fn wait(&mut self, desk: &Desk) -> bool {
        let mut queue = desk.queue();
        let retry = self.failure.as_ref().map(|_| Instant::now() + RETRY);
        while !queue.closing {
            let due = match (retry, self.unsynced) {
                (Some(retry), _) => Some(retry),
                (None, _) if !queue.bodies.is_empty() => break,
                (None, Some(since)) => Some(since + SYNC_EVERY),
                (None, None) => None,
            };
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            if queue.lost > 0 && !self.told_lost {
                self.told_lost = true;
                (self.report)(Report::Lost);
            }
            queue = match left {
                Some(left) => desk.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                None => desk.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
        self.batch.append(&mut queue.bodies);
        queue.in_hand = self.batch.len();
        queue.closing
    }

    fn write_batch(&mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.torn) {
            self.store.truncate(self.length).inspect_err(|_| self.torn = true)?;
        }
        let at_once = match self.sync {
            SyncPolicy::EveryRecord => 1,
            SyncPolicy::Group => usize::MAX,
        };
        while !self.batch.is_empty() {
            let mut link = self.link;
            let group = self.batch.len().min(at_once);
            let lines = self.batch.iter().take(group).map(|body| link.seal(&body.0)).collect::<String>();
            self.store.append(lines.as_bytes()).inspect_err(|_| self.torn = true)?;
            self.batch.drain(..group);
            self.link = link;
            self.length += lines.len() as u64;
            self.unsynced.get_or_insert_with(Instant::now);
            if self.sync == SyncPolicy::EveryRecord {
                self.force()?;
            }
        }
        Ok(())
    }

    fn sync_if_due(&mut self, closing: bool) -> std::io::Result<()> {
        match self.unsynced {
            Some(since) if closing || since.elapsed() >= SYNC_EVERY => self.force(),
            _ => Ok(()),
        }
    }

    fn force(&mut self) -> std::io::Result<()> {
        match self.store.sync() {
            // A pipe or a device has no disk below it.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            other => other?,
        }
        self.unsynced = None;
        Ok(())
    }

    fn note(&mut self, result: std::io::Result<()>) {
        match (result, self.failure.take()) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => (self.report)(Report::Recovered),
            (Err(error), before) => {
                self.failure = Some(error.to_string());
                if before.is_none() {
                    (self.report)(Report::Fault(error.to_string()));
                }
            }
        }
    }
}
