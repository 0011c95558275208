//! Keeps the newest checkpoint somewhere else. That place may be slow, away or hung: the log does not wait for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::place::Place;
use crate::{Error, Result};

/// How often a place that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// So many reasons of one failure are told apart; what comes then is told by the last of them.
const REASONS: usize = 8;

#[derive(Debug, Default)]
struct State {
    /// The newest checkpoint, while it is not copied.
    waiting: Option<String>,
    /// Since when one is being copied.
    copying_since: Option<Instant>,
    /// Why none was copied since the last one that was: each reason once, the newest last. A place that fails by turns in two ways is
    /// no news with every turn.
    failures: Vec<String>,
    closing: bool,
    /// The thread has ended.
    ended: bool,
}

impl State {
    /// An attempt to copy `note` ended; says whether it failed.
    fn tried(&mut self, note: &str, copied: std::io::Result<()>) -> bool {
        self.copying_since = None;
        match copied {
            Ok(()) => {
                self.failures.clear();
                self.waiting.take_if(|waiting| waiting == note);
                false
            }
            Err(error) => {
                let why = error.to_string();
                if self.failures.len() < REASONS && !self.failures.contains(&why) {
                    self.failures.push(why);
                }
                true
            }
        }
    }

    fn is_done(&self) -> bool {
        self.waiting.is_none() && self.copying_since.is_none()
    }
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
        let hangs = || state.copying_since.is_some_and(|since| since.elapsed() >= patience);
        let why = match state.failures.last() {
            // Also while it is tried again: how it fails is known.
            Some(failure) => failure.as_str(),
            None if hangs() => "it neither takes it nor fails",
            None => return Ok(()),
        };
        Err(self.told(why))
    }

    fn told(&self, why: &str) -> String {
        format!("the checkpoint cannot be copied to {}: {why}", self.0.place)
    }

    /// Ends the thread once the newest checkpoint is copied, or cannot be.
    fn end(&self) {
        self.0.state().closing = true;
        self.0.changed.notify_all();
    }

    /// Waits until the newest checkpoint is copied, until `end` at most.
    fn wait(&self, end: Instant) -> std::result::Result<(), String> {
        let mut state = self.0.state();
        let mut left = end.saturating_duration_since(Instant::now());
        while !state.is_done() && !left.is_zero() && !state.ended {
            state = self.0.wait(state, Some(left));
            left = end.saturating_duration_since(Instant::now());
        }
        match (state.is_done(), state.failures.last()) {
            (true, _) => Ok(()),
            (false, why) => Err(self.told(why.map_or("it neither takes it nor fails", String::as_str))),
        }
    }
}

/// Waits until all places have the newest checkpoint, for `patience` at most, and ends their threads. One that fails is no reason not to wait
/// for the others.
///
/// # Errors
///
/// Why places do not have it, one after the other.
pub(super) fn close(copiers: &[Copier], patience: Duration) -> std::result::Result<(), String> {
    let end = Instant::now() + patience;
    copiers.iter().for_each(Copier::end);
    let failures = copiers.iter().filter_map(|copier| copier.wait(end).err()).collect::<Vec<_>>();
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("; ")),
    }
}

fn work(desk: &Desk) {
    let mut is_tidy = false;
    let mut state = desk.state();
    loop {
        let Some(note) = state.waiting.clone() else {
            if state.closing {
                break;
            }
            state = desk.wait(state, None);
            continue;
        };
        state.copying_since = Some(Instant::now());
        drop(state);
        // Now, since a place that hangs is told of from here on.
        if !std::mem::replace(&mut is_tidy, true) {
            desk.place.tidy();
        }
        let copied = desk.place.put(&note);
        state = desk.state();
        let failed = state.tried(&note, copied);
        desk.changed.notify_all();
        if failed {
            if state.closing {
                break;
            }
            state = desk.wait(state, Some(RETRY));
        }
    }
    state.ended = true;
    drop(state);
    desk.changed.notify_all();
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::draft;

    const AT_ONCE: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn the_newest_is_copied_at_the_latest_when_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        let copier = Copier::start(Place::File(path.clone())).unwrap();
        (0..100).for_each(|number| copier.copy(format!("note {number}\n")));
        close(&[copier], LONG).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "note 99\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_a_killed_run_left_beside_the_copy_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        let permissions = || std::os::unix::fs::PermissionsExt::from_mode(0o644);
        drop(draft::draft_of(&path, permissions()).unwrap().keep().unwrap());
        let (_held, another) = (draft::draft_of(&path, permissions()).unwrap(), folder.path().join("line-4"));
        std::fs::write(&another, "another line's copy").unwrap();
        let copier = Copier::start(Place::File(path.clone())).unwrap();
        copier.copy("note\n".into());
        close(&[copier], LONG).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "note\n");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            3,
            "the copy, another's, and what somebody writes"
        );
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
        let (_silent, place) = silent();
        let copier = Copier::start(place).unwrap();
        copier.copy("note\n".into());
        while copier.health(AT_ONCE).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(close(&[copier], AT_ONCE).unwrap_err().contains("neither takes it nor fails"));
    }

    /// A server that takes connections and says nothing, and its address.
    fn silent() -> (TcpListener, Place) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/line-3", listener.local_addr().unwrap());
        (listener, Place::Witness(address.parse().unwrap()))
    }

    #[test]
    fn a_place_that_hangs_again_and_again_is_told_of_by_how_it_fails() {
        let (listener, place) = silent();
        let copier = Copier::start(place).unwrap();
        copier.copy("note\n".into());
        let mut told = Vec::new();
        let mut listen = |until: Instant| {
            while Instant::now() < until {
                told.extend(copier.health(AT_ONCE).err());
                told.dedup();
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        listen(Instant::now() + Duration::from_millis(200));
        // It lets the first attempt fail, and then hangs again.
        drop(listener.accept().unwrap());
        listen(Instant::now() + RETRY + Duration::from_millis(500));
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("neither takes it nor fails") && !told[1].contains("neither"), "{told:?}");
    }

    #[test]
    fn reasons_that_come_by_turns_are_told_once() {
        let mut state = State::default();
        let mut told = Vec::new();
        for why in ["refused", "timed out", "refused", "timed out", "no route", "refused"] {
            assert!(state.tried("note", Err(std::io::Error::other(why))));
            told.push(state.failures.last().cloned().unwrap());
        }
        told.dedup();
        assert_eq!(told, ["refused", "timed out", "no route"]);
        for port in 0..100 {
            assert!(state.tried("note", Err(std::io::Error::other(format!("port {port}")))));
        }
        assert_eq!(state.failures.len(), REASONS);
        state.waiting = Some("newer".into());
        assert!(!state.tried("note", Ok(())));
        assert!(state.failures.is_empty() && state.waiting.as_deref() == Some("newer"));
    }
}
