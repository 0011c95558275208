//! Between camera and inspection: frames that wait for the core to say whether they show a part.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Pace;
use crate::line::Ticket;

/// More frames than the core keeps in mind, which forgets the oldest: a backstop that is not met.
const MOST_WAITING: usize = 32;

/// Frames on their way.
#[derive(Debug)]
pub(super) struct Slot<T> {
    pace: Pace,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// Not known to show a part.
    waiting: VecDeque<(Ticket, T)>,
    /// To be inspected.
    chosen: VecDeque<(Ticket, T)>,
    closed: bool,
}

/// What became of a choice.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice<T> {
    /// The frame waits for its inspection; these, which waited before it, lost their place to it.
    Waits(Vec<(Ticket, T)>),
    /// There is no such frame.
    Gone,
}

impl<T> Slot<T> {
    pub(super) fn new(pace: Pace) -> Self {
        let state = State { waiting: VecDeque::new(), chosen: VecDeque::new(), closed: false };
        Slot { pace, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The state stays usable when a thread panicked while it held it: it is whole after every statement.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a frame in.
    pub(super) fn put(&self, ticket: Ticket, frame: T) {
        let mut state = self.state();
        state.waiting.push_back((ticket, frame));
        if state.waiting.len() > MOST_WAITING {
            state.waiting.pop_front();
        }
    }

    /// Where every frame is to be inspected: waits until the next one would find its place soon.
    pub(super) fn wait_for_room(&self) {
        let mut state = self.state();
        while self.pace == Pace::EveryFrame && state.waiting.len() + state.chosen.len() > 1 && !state.closed {
            state = self.wait(state);
        }
    }

    /// The frame is to be inspected.
    pub(super) fn choose(&self, ticket: Ticket) -> Choice<T> {
        let mut state = self.state();
        let Some(frame) = state.remove(ticket) else { return Choice::Gone };
        let skipped = match self.pace {
            Pace::NewestWins => state.chosen.drain(..).collect(),
            Pace::EveryFrame => Vec::new(),
        };
        state.chosen.push_back((ticket, frame));
        drop(state);
        self.changed.notify_all();
        Choice::Waits(skipped)
    }

    /// The frame is not needed.
    pub(super) fn forget(&self, ticket: Ticket) {
        self.state().remove(ticket);
        self.changed.notify_all();
    }

    /// Takes the frame that is to be inspected, or waits for one; `None` when none will come any more. After the camera's end, what
    /// waits may still be chosen.
    pub(super) fn take(&self) -> Option<(Ticket, T)> {
        let mut state = self.state();
        while state.chosen.is_empty() && !(state.closed && state.waiting.is_empty()) {
            state = self.wait(state);
        }
        let frame = state.chosen.pop_front();
        drop(state);
        self.changed.notify_all();
        frame
    }

    /// No frame will be put in any more.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Nor will one be chosen or taken; gives those that were chosen.
    pub(super) fn end(&self) -> Vec<(Ticket, T)> {
        let mut state = self.state();
        state.waiting.clear();
        state.closed = true;
        let chosen = state.chosen.drain(..).collect();
        drop(state);
        self.changed.notify_all();
        chosen
    }
}

impl<T> State<T> {
    fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let place = self.waiting.iter().position(|(other, _)| *other == ticket)?;
        self.waiting.remove(place).map(|(_, frame)| frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_newest_wins_and_the_last_can_be_taken_after_closing() {
        let slot = Slot::new(Pace::NewestWins);
        (1..4).for_each(|k| slot.put(Ticket(k), k));
        assert_eq!(slot.choose(Ticket(1)), Choice::Waits(vec![]));
        assert_eq!(slot.choose(Ticket(3)), Choice::Waits(vec![(Ticket(1), 1)]));
        slot.forget(Ticket(2));
        assert_eq!(slot.choose(Ticket(2)), Choice::Gone);
        slot.close();
        assert_eq!((slot.take(), slot.take()), (Some((Ticket(3), 3)), None));
    }

    #[test]
    fn a_frame_that_waits_when_the_camera_ends_can_still_be_chosen() {
        let slot = Arc::new(Slot::new(Pace::NewestWins));
        slot.put(Ticket(1), 1);
        slot.close();
        let inspection = slot.clone();
        let thread = std::thread::spawn(move || (inspection.take(), inspection.take()));
        std::thread::sleep(std::time::Duration::from_millis(20));
        slot.choose(Ticket(1));
        assert_eq!(thread.join().unwrap(), (Some((Ticket(1), 1)), None));
        slot.put(Ticket(2), 2);
        slot.put(Ticket(3), 3);
        slot.choose(Ticket(3));
        assert_eq!(slot.end(), [(Ticket(3), 3)]);
        assert_eq!(slot.take(), None);
    }

    #[test]
    fn every_frame_waits_for_its_turn() {
        let slot = Arc::new(Slot::new(Pace::EveryFrame));
        let camera = slot.clone();
        let thread = std::thread::spawn(move || {
            for frame in 0..100 {
                camera.put(Ticket(frame), frame);
                assert_eq!(camera.choose(Ticket(frame)), Choice::Waits(vec![]));
                camera.wait_for_room();
            }
            camera.close();
        });
        let taken = std::iter::from_fn(|| slot.take()).map(|(_, frame)| frame).collect::<Vec<_>>();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        thread.join().unwrap();
    }
}
