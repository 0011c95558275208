//! Between camera and inspection: frames that wait for the core to say whether they show a part.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Pace;
use crate::line::{Lane, Ticket};

/// More frames of a lane than the core keeps in mind, which forgets the oldest: a backstop that is not met. Of a lane with a gate these are
/// the pictures of parts that are whole in a frame, several of one frame: the core answers each frame before the next one comes.
const MOST_WAITING: usize = 32;
/// So many parts' own pictures of each lane wait for their inspection: an inspection that is too slow for the belt would else fill the
/// memory, and those that wait for so long are late anyway. A busy lane takes no place of another one's. As many more wait of a lane with a
/// gate until the core has chosen among them: one of each part that is whole in a frame ([`MOST_WAITING`]).
const MOST_KEPT: usize = 32;

/// Frames on their way.
#[derive(Debug)]
pub(super) struct Slot<T> {
    pace: Pace,
    /// How many lanes its frames are of.
    lanes: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// Not known to show a part.
    waiting: VecDeque<Entry<T>>,
    /// To be inspected.
    chosen: VecDeque<Entry<T>>,
    /// When each lane had its last turn, in turns.
    served: Vec<u64>,
    turns: u64,
    closed: bool,
}

#[derive(Debug)]
struct Entry<T> {
    ticket: Ticket,
    lane: Lane,
    turn: Turn,
    frame: T,
}

/// What becomes of a frame that waits for its inspection when another one of its lane is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It loses its place, where the newest wins.
    UntilNewer,
    /// It waits: it shows another part, or the core has chosen how many it wants of one.
    Kept,
}

/// What became of a choice.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice<T> {
    /// The frame waits for its inspection; that one, which waited before it, lost its place to it.
    Waits(Option<(Ticket, T)>),
    /// There is no such frame.
    Gone,
}

impl<T> Slot<T> {
    pub(super) fn new(pace: Pace, lanes: usize) -> Self {
        let (waiting, chosen) = (VecDeque::new(), VecDeque::new());
        let state = State { waiting, chosen, served: vec![0; lanes], turns: 0, closed: false };
        Slot { pace, lanes, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The state stays usable when a thread panicked while it held it: it is whole after every statement.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a lane's frame in.
    pub(super) fn put(&self, ticket: Ticket, lane: Lane, turn: Turn, frame: T) {
        let mut state = self.state();
        state.waiting.push_back(Entry { ticket, lane, turn, frame });
        one_too_many(&mut state.waiting, MOST_WAITING, |entry| entry.lane == lane);
    }

    /// Where every frame is to be inspected: waits until the next one would find its place soon.
    pub(super) fn wait_for_room(&self) {
        let mut state = self.state();
        while self.pace == Pace::EveryFrame && state.waiting.len() + state.chosen.len() > self.lanes && !state.closed {
            state = self.wait(state);
        }
    }

    /// The frame is to be inspected. It takes the very place of an older one of its lane, so that no lane waits for ever.
    pub(super) fn choose(&self, ticket: Ticket) -> Choice<T> {
        let mut state = self.state();
        let Some(entry) = state.remove(ticket) else { return Choice::Gone };
        let gives_way = |older: &Entry<T>| older.turn == Turn::UntilNewer && older.lane == entry.lane;
        let older = state.chosen.iter_mut().find(|older| self.pace == Pace::NewestWins && gives_way(older));
        let skipped = match older {
            Some(older) => {
                let older = std::mem::replace(older, entry);
                Some((older.ticket, older.frame))
            }
            None => {
                let lane = entry.lane;
                state.chosen.push_back(entry);
                let is_kept = |entry: &Entry<T>| entry.turn == Turn::Kept && entry.lane == lane;
                one_too_many(&mut state.chosen, MOST_KEPT, is_kept).map(|entry| (entry.ticket, entry.frame))
            }
        };
        drop(state);
        self.changed.notify_all();
        Choice::Waits(skipped)
    }

    /// The frame is not needed, or no longer.
    pub(super) fn forget(&self, ticket: Ticket) {
        let mut state = self.state();
        if state.remove(ticket).is_none() {
            state.chosen.retain(|entry| entry.ticket != ticket);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Takes the frame that is to be inspected, or waits for one; `None` when none will come any more. It is of the lane that has waited
    /// longest for its turn. After the camera's end, what waits may still be chosen.
    pub(super) fn take(&self) -> Option<(Ticket, Lane, T)> {
        let mut state = self.state();
        while state.chosen.is_empty() && !(state.closed && state.waiting.is_empty()) {
            state = self.wait(state);
        }
        let chosen = state.next_in_turn();
        drop(state);
        self.changed.notify_all();
        chosen.map(|entry| (entry.ticket, entry.lane, entry.frame))
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
        let chosen = state.chosen.drain(..).map(|entry| (entry.ticket, entry.frame)).collect();
        drop(state);
        self.changed.notify_all();
        chosen
    }
}

impl<T> State<T> {
    fn remove(&mut self, ticket: Ticket) -> Option<Entry<T>> {
        let place = self.waiting.iter().position(|entry| entry.ticket == ticket)?;
        self.waiting.remove(place)
    }

    fn next_in_turn(&mut self) -> Option<Entry<T>> {
        let served = |entry: &Entry<T>| self.served[entry.lane.0];
        let (place, _) = self.chosen.iter().enumerate().min_by_key(|(place, entry)| (served(entry), *place))?;
        let entry = self.chosen.remove(place)?;
        self.turns += 1;
        self.served[entry.lane.0] = self.turns;
        Some(entry)
    }
}

/// Takes out the entry that has waited longest of those that count, where they are more than `most`.
fn one_too_many<T>(entries: &mut VecDeque<T>, most: usize, counts: impl Fn(&T) -> bool) -> Option<T> {
    let are_too_many = entries.iter().filter(|entry| counts(entry)).count() > most;
    let oldest = entries.iter().position(counts).filter(|_| are_too_many)?;
    entries.remove(oldest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_newest_wins_and_the_last_can_be_taken_after_closing() {
        let slot = Slot::new(Pace::NewestWins, 1);
        (1..4).for_each(|k| slot.put(Ticket(k), Lane(0), Turn::UntilNewer, k));
        assert_eq!(slot.choose(Ticket(1)), Choice::Waits(None));
        assert_eq!(slot.choose(Ticket(3)), Choice::Waits(Some((Ticket(1), 1))));
        slot.forget(Ticket(2));
        assert_eq!(slot.choose(Ticket(2)), Choice::Gone);
        slot.close();
        assert_eq!((slot.take(), slot.take()), (Some((Ticket(3), Lane(0), 3)), None));
    }

    #[test]
    fn a_lanes_newest_takes_the_place_of_its_own_older_one_alone() {
        let slot = Slot::new(Pace::NewestWins, 2);
        let put = |ticket: u64, lane| {
            slot.put(Ticket(ticket), Lane(lane), Turn::UntilNewer, ());
            slot.choose(Ticket(ticket))
        };
        assert_eq!([put(0, 0), put(1, 1)], [Choice::Waits(None), Choice::Waits(None)]);
        assert_eq!(slot.take().map(|(ticket, ..)| ticket), Some(Ticket(0)));
        // However often the lanes are fed in this order, the second one has its turn.
        assert_eq!([put(2, 0), put(3, 1)], [Choice::Waits(None), Choice::Waits(Some((Ticket(1), ())))]);
        assert_eq!(slot.take().map(|(ticket, ..)| ticket), Some(Ticket(3)));
        assert_eq!([put(4, 0), put(5, 1)], [Choice::Waits(Some((Ticket(2), ()))), Choice::Waits(None)]);
        assert_eq!(slot.take().map(|(ticket, ..)| ticket), Some(Ticket(4)));
    }

    #[test]
    fn parts_pictures_do_not_fill_the_memory() {
        let slot = Slot::new(Pace::NewestWins, 2);
        let choose = |k| {
            slot.put(Ticket(k), Lane(0), Turn::Kept, k);
            slot.choose(Ticket(k))
        };
        assert!((0..32).all(|k| choose(k) == Choice::Waits(None)));
        assert!((32..1000).all(|k| choose(k) == Choice::Waits(Some((Ticket(k - 32), k - 32)))), "the oldest goes");
    }

    #[test]
    fn a_busy_lane_takes_neither_anothers_pictures_nor_its_turns() {
        let slot = Slot::new(Pace::NewestWins, 2);
        let choose = |k, lane| {
            slot.put(Ticket(k), Lane(lane), Turn::Kept, k);
            slot.choose(Ticket(k))
        };
        assert!((0..3).all(|k| choose(k, 1) == Choice::Waits(None)));
        (3..1000).for_each(|k| _ = choose(k, 0));
        let taken = (0..8).filter_map(|_| slot.take()).map(|(ticket, ..)| ticket.0).collect::<Vec<_>>();
        assert_eq!(taken, [0, 968, 1, 969, 2, 970, 971, 972]);
    }

    #[test]
    fn a_parts_own_picture_waits_for_its_turn_until_nobody_needs_it() {
        let slot = Slot::new(Pace::NewestWins, 1);
        (1..5).for_each(|k| slot.put(Ticket(k), Lane(0), Turn::Kept, k));
        (1..4).for_each(|k| assert_eq!(slot.choose(Ticket(k)), Choice::Waits(None)));
        slot.forget(Ticket(2));
        slot.forget(Ticket(4));
        slot.close();
        assert_eq!([slot.take(), slot.take()], [Some((Ticket(1), Lane(0), 1)), Some((Ticket(3), Lane(0), 3))]);
        assert_eq!(slot.take(), None);
    }

    #[test]
    fn a_frame_that_waits_when_the_camera_ends_can_still_be_chosen() {
        let slot = Arc::new(Slot::new(Pace::NewestWins, 1));
        slot.put(Ticket(1), Lane(0), Turn::UntilNewer, 1);
        slot.close();
        let inspection = slot.clone();
        let thread = std::thread::spawn(move || (inspection.take(), inspection.take()));
        std::thread::sleep(std::time::Duration::from_millis(20));
        slot.choose(Ticket(1));
        assert_eq!(thread.join().unwrap(), (Some((Ticket(1), Lane(0), 1)), None));
        slot.put(Ticket(2), Lane(0), Turn::UntilNewer, 2);
        slot.put(Ticket(3), Lane(0), Turn::UntilNewer, 3);
        slot.choose(Ticket(3));
        assert_eq!(slot.end(), [(Ticket(3), 3)]);
        assert_eq!(slot.take(), None);
    }

    #[test]
    fn every_frame_waits_for_its_turn() {
        let slot = Arc::new(Slot::new(Pace::EveryFrame, 1));
        let camera = slot.clone();
        let thread = std::thread::spawn(move || {
            for frame in 0..100 {
                camera.put(Ticket(frame), Lane(0), Turn::UntilNewer, frame);
                assert_eq!(camera.choose(Ticket(frame)), Choice::Waits(None));
                camera.wait_for_room();
            }
            camera.close();
        });
        let taken = std::iter::from_fn(|| slot.take()).map(|(.., frame)| frame).collect::<Vec<_>>();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        thread.join().unwrap();
    }
}
