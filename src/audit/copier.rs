//! Keeps the newest checkpoint somewhere else. That place may be slow, away or hung: the log does not wait for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::place::Place;
use crate::{Error, Result};

/// How often a place that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct State {
    /// The newest checkpoint, while it is not copied.
    waiting: Option<String>,
    /// Since when one is being copied.
    copying_since: Option<Instant>,
    failure: Option<String>,
    closing: bool,
}

#[derive(Debug)]
struct Desk {
    place: Place,
    state: Mutex<State>,
    changed: Condvar,
}

impl Desk {
    /// The state stays usable when a thread panicked while it held it: it is whole after every statement.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, patience: Option<Duration>) -> MutexGuard<'a, State> {
        match patience {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0,
        }
    }
}

/// The thread that copies.
#[derive(Debug, Clone)]
pub(super) struct Copier(Arc<Desk>);

impl Copier {
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(place: Place) -> Result<Self> {
        let (state, changed) = (Mutex::default(), Condvar::default());
        let desk = Arc::new(Desk { place, state, changed });
        let shared = desk.clone();
        let thread = std::thread::Builder::new().name("checkpoint".into()).spawn(move || work(&shared));
        thread.map_err(|error| Error::device("the system gives no thread for the checkpoint's copy").because(error))?;
        Ok(Copier(desk))
    }

    /// Copies `note`, in the place of one that still waits.
    pub(super) fn copy(&self, note: String) {
        self.0.state().waiting = Some(note);
        self.0.changed.notify_all();
    }

    /// # Errors
    ///
    /// Why the newest checkpoint is not copied: the place fails, or takes longer than `patience`.
    pub(super) fn health(&self, patience: Duration) -> std::result::Result<(), String> {
        let state = self.0.state();
        let hangs = state.copying_since.is_some_and(|since| since.elapsed() >= patience);
        let why = match &state.failure {
            _ if hangs => "it neither takes it nor fails",
            Some(failure) => failure,
            None => return Ok(()),
        };
        Err(format!("the checkpoint cannot be copied to {}: {why}", self.0.place))
    }

    /// Waits until the newest checkpoint is copied, for `patience` at most, and ends the thread.
    pub(super) fn close(&self, patience: Duration) -> std::result::Result<(), String> {
        let end = Instant::now() + patience;
        let mut state = self.0.state();
        state.closing = true;
        self.0.changed.notify_all();
        while state.waiting.is_some() || state.copying_since.is_some() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.0.wait(state, Some(left));
        }
        let is_done = state.waiting.is_none() && state.copying_since.is_none();
        drop(state);
        match is_done {
            true => Ok(()),
            false => self.health(Duration::ZERO),
        }
    }
}

fn work(desk: &Desk) {
    let mut state = desk.state();
    loop {
        let Some(note) = state.waiting.clone() else {
            if state.closing {
                return;
            }
            state = desk.wait(state, None);
            continue;
        };
        state.copying_since = Some(Instant::now());
        drop(state);
        let copied = desk.place.put(&note);
        state = desk.state();
        state.copying_since = None;
        state.failure = copied.err().map(|error| error.to_string());
        let failed = state.failure.is_some();
        state.waiting.take_if(|waiting| !failed && *waiting == note);
        desk.changed.notify_all();
        if failed {
            if state.closing {
                return;
            }
            state = desk.wait(state, Some(RETRY));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn the_newest_is_copied_at_the_latest_when_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        let copier = Copier::start(Place::File(path.clone())).unwrap();
        (0..100).for_each(|number| copier.copy(format!("note {number}\n")));
        copier.close(LONG).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "note 99\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_place_that_fails_is_told_of_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mounted/copy");
        let copier = Copier::start(Place::File(path.clone())).unwrap();
        copier.copy("note\n".into());
        while copier.health(LONG).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::fs::create_dir(folder.path().join("mounted")).unwrap();
        while copier.health(LONG).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "note\n");
    }

    #[test]
    fn a_place_that_hangs_is_told_of_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        // A pipe that nobody reads hangs whoever opens it to write.
        let pipe = std::process::Command::new("mkfifo").arg(path.with_added_extension("new")).status().unwrap();
        assert!(pipe.success());
        let copier = Copier::start(Place::File(path.clone())).unwrap();
        copier.copy("note\n".into());
        while copier.health(AT_ONCE).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(copier.close(AT_ONCE).unwrap_err().contains("neither takes it nor fails"));
    }
}
