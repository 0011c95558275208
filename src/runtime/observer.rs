//! Who looks at finished parts: the demo's live view, and whatever else must not hold up the line.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::Pace;
use crate::camera::Frame;
use crate::inspect::Inspection;
use crate::line::PartRecord;
use crate::{Error, Result};

/// How many finished parts may wait to be looked at.
const ROOM: usize = 64;

/// A part whose fate is settled.
#[derive(Debug, Clone)]
pub struct Finished {
    /// What became of it.
    pub record: PartRecord,
    /// Its picture; `None` where the frame was never inspected.
    pub picture: Option<Picture>,
}

/// What the inspection saw.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The frame.
    pub frame: Arc<Frame>,
    /// The anomaly map; `None` where the inspection failed.
    pub inspection: Option<Inspection>,
}

/// Looks at finished parts, on a thread of its own.
pub type Observer = Box<dyn FnMut(Finished) + Send>;

/// The observer's thread and its queue.
pub(super) struct Gallery {
    queue: Option<SyncSender<Finished>>,
    thread: Option<JoinHandle<()>>,
    pace: Pace,
    /// Finished parts that the observer was too slow for.
    pub(super) unobserved: u64,
}

impl Gallery {
    pub(super) fn open(mut observer: Observer, pace: Pace) -> Result<Self> {
        let (queue, finished): (_, Receiver<Finished>) = sync_channel(ROOM);
        let thread =
            std::thread::Builder::new().name("observer".into()).spawn(move || finished.iter().for_each(&mut observer));
        let thread =
            thread.map_err(|error| Error::device("the system gives no thread for the observer").because(error))?;
        Ok(Gallery { queue: Some(queue), thread: Some(thread), pace, unobserved: 0 })
    }

    /// Shows a part. On a belt that does not wait, the line does not wait for who looks at it either.
    pub(super) fn show(&mut self, finished: Finished) {
        let Some(queue) = &self.queue else { return };
        let shown = match self.pace {
            Pace::EveryFrame => queue.send(finished).is_ok(),
            Pace::NewestWins => match queue.try_send(finished) {
                Ok(()) => true,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
            },
        };
        if !shown {
            self.unobserved += 1;
        }
    }

    /// Waits until the observer has looked at all that was shown.
    pub(super) fn close(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the observer of finished parts panicked");
        }
    }
}
