//! Between camera and inspection: room for one frame.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Pace;

/// Room for one frame.
#[derive(Debug)]
pub(super) struct Slot<T> {
    pace: Pace,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: Option<T>,
    closed: bool,
}

impl<T> Slot<T> {
    pub(super) fn new(pace: Pace) -> Self {
        Slot { pace, state: Mutex::new(State { waiting: None, closed: false }), changed: Condvar::new() }
    }

    /// The state stays usable when a thread panicked while it held it: it is whole after every statement.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a frame in; gives the one whose place it took.
    pub(super) fn put(&self, frame: T) -> Option<T> {
        let mut state = self.state();
        while self.pace == Pace::EveryFrame && state.waiting.is_some() && !state.closed {
            state = self.wait(state);
        }
        let skipped = state.waiting.replace(frame);
        drop(state);
        self.changed.notify_all();
        skipped
    }

    /// Takes the frame that waits, or waits for one; `None` when none will come any more.
    pub(super) fn take(&self) -> Option<T> {
        let mut state = self.state();
        while state.waiting.is_none() && !state.closed {
            state = self.wait(state);
        }
        let frame = state.waiting.take();
        drop(state);
        self.changed.notify_all();
        frame
    }

    /// No frame will be put in any more; one that waits can still be taken.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_newest_wins_and_the_last_can_be_taken_after_closing() {
        let slot = Slot::new(Pace::NewestWins);
        assert_eq!(slot.put(1), None);
        assert_eq!(slot.put(2), Some(1));
        slot.close();
        assert_eq!((slot.take(), slot.take()), (Some(2), None));
    }

    #[test]
    fn every_frame_waits_for_its_turn() {
        let slot = Arc::new(Slot::new(Pace::EveryFrame));
        let camera = slot.clone();
        let thread = std::thread::spawn(move || {
            let skipped = (0..100).filter_map(|frame| camera.put(frame)).count();
            camera.close();
            skipped
        });
        let taken = std::iter::from_fn(|| slot.take()).collect::<Vec<_>>();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        assert_eq!(thread.join().unwrap(), 0);
    }
}
