//! The threads of a run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{Error, Result, health, panic_text};

/// How long a thread that is not done may take to notice that it is not needed any more.
const LAST_WORD: Duration = Duration::from_millis(100);
/// How often the end of a thread is looked for.
const GLANCE: Duration = Duration::from_millis(2);

/// A thread that works until there is nothing more to do.
pub(super) struct Stage {
    thread: JoinHandle<()>,
    /// It has said that it is done; it may still close its device.
    pub(super) is_done: bool,
}

impl Stage {
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<Self> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(work);
        let thread = thread
            .map_err(|error| Error::device(format!("the system gives no thread for the {name}")).because(error))?;
        Ok(Stage { thread, is_done: false })
    }

    /// Waits for the end of a thread that is done, and leaves one behind that does not end soon, for the reason given.
    pub(super) fn leave(self, why: &str) {
        let patience = Instant::now() + if self.is_done { health::PATIENCE } else { LAST_WORD };
        while !self.thread.is_finished() && Instant::now() < patience {
            std::thread::sleep(GLANCE);
        }
        if !self.thread.is_finished() {
            log::warn!("{why}; it is left behind");
        }
    }
}

/// What `work` came to, or what its panic says: a thread that dies must not die unseen.
pub(super) fn outcome<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panic_text(&*panic).to_owned())
}
