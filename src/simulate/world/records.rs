//! How many parts each frame brings into view, and whether as many records begin there.
//!
//! A record tells by the stamp of which frame it begins. As long as all pieces stay where they lie and all of them are shown, each frame
//! begins as many records as it shows pieces for the first time: no piece has two, and none has none. Where a piece slides or turns, is not
//! shown or is one with others that are longer than a part, any number of records may begin, until all that was in view then is out of
//! reach: nobody can say then which of them is whose. The report counts the pieces that are in view meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use crate::line::{FreeRun, Lane, Length};
use crate::simulate::lines::gate;
use crate::time::Monotonic;

/// What a frame shows.
struct Shows {
    /// By the pieces in them.
    spans: Vec<Vec<u64>>,
    /// Whether nobody can say which record is whose.
    is_unclear: bool,
}

/// What a frame of which the core was told brings.
enum Brought {
    /// So many parts, less the records that have begun.
    Parts(i64),
    /// Nobody can say how many.
    Unclear,
}

/// What the frames of all lanes bring.
#[derive(Default)]
pub(super) struct Records {
    /// Frames of which the core was not told yet.
    coming: BTreeMap<(Monotonic, Lane), Shows>,
    frames: BTreeMap<(Monotonic, Lane), Brought>,
    /// Pieces that the core was shown.
    shown: BTreeSet<u64>,
    /// Where the belt is when nothing is unclear any more.
    unclear: BTreeMap<Lane, Length>,
    /// The newest frame.
    last: BTreeMap<Lane, Monotonic>,
    /// Pieces that were in view while it was unclear.
    unbounded: BTreeSet<u64>,
}

impl Records {
    /// What lies up to `trail` is not what a piece is like that is on its way.
    pub(super) fn disturb(&mut self, lane: Lane, trail: Length, run: &FreeRun) {
        // The core knows of it until it is so far beyond the gate.
        let until = trail + gate(run) + run.longest + run.longest;
        let unclear = self.unclear.entry(lane).or_insert(until);
        *unclear = until.max(*unclear);
    }

    /// When the newest frame of the lane was captured.
    pub(super) fn last(&self, lane: Lane) -> Monotonic {
        self.last.get(&lane).copied().unwrap_or_default()
    }

    /// A frame shows those spans, each by the pieces in it, while the belt is at `belt`.
    pub(super) fn add(&mut self, (captured, lane): (Monotonic, Lane), belt: Length, spans: Vec<Vec<u64>>) {
        let is_unclear = self.unclear.get(&lane).is_some_and(|until| belt < *until);
        self.coming.insert((captured, lane), Shows { spans, is_unclear });
        self.last.insert(lane, captured);
    }

    /// The core is told of a frame, and may say that it does not know what passes; gives for how many more pieces nothing is promised.
    pub(super) fn told(&mut self, frame: (Monotonic, Lane), is_lost: bool) -> u64 {
        let Some(Shows { spans, is_unclear }) = self.coming.remove(&frame) else { return 0 };
        let new = spans.iter().filter(|span| !span.iter().any(|piece| self.shown.contains(piece))).count();
        let is_unclear = is_unclear || is_lost;
        let before = self.unbounded.len();
        for piece in spans.into_iter().flatten() {
            self.shown.insert(piece);
            if is_unclear {
                self.unbounded.insert(piece);
            }
        }
        self.frames.insert(frame, if is_unclear { Brought::Unclear } else { Brought::Parts(new as i64) });
        (self.unbounded.len() - before) as u64
    }

    /// A new core knows of nothing; frames from before `placed` it cannot place.
    pub(super) fn begin_again(&mut self, placed: Monotonic) {
        self.coming = self.coming.split_off(&(placed, Lane::default()));
        self.frames.clear();
        self.shown.clear();
    }

    /// A record begins in a frame.
    pub(super) fn begins(&mut self, captured: Monotonic, lane: Lane) -> Result<(), String> {
        match self.frames.get_mut(&(captured, lane)) {
            Some(Brought::Unclear) => Ok(()),
            Some(Brought::Parts(parts @ 1..)) => {
                *parts -= 1;
                Ok(())
            }
            Some(Brought::Parts(_)) | None => Err(format!(
                "more records begin in the frame of {captured} than it shows pieces for the first time: one has two"
            )),
        }
    }

    /// All that frames before `old` brought must be on record.
    pub(super) fn forget_old(&mut self, old: Monotonic) -> Result<(), String> {
        self.coming = self.coming.split_off(&(old, Lane::default()));
        let kept = self.frames.split_off(&(old, Lane::default()));
        let frames = std::mem::replace(&mut self.frames, kept);
        let left = |((captured, _), brought): (&(Monotonic, Lane), &Brought)| match brought {
            Brought::Parts(parts @ 1..) => Some((*captured, *parts)),
            Brought::Parts(_) | Brought::Unclear => None,
        };
        match frames.iter().find_map(left) {
            Some((captured, parts)) => Err(format!(
                "{parts} of the pieces that the frame of {captured} shows for the first time have no record"
            )),
            None => Ok(()),
        }
    }

    /// Forgets the pieces before the first that is not long gone: that one, or one that is in a frame on its way.
    pub(super) fn forget_before(&mut self, first: u64) {
        let coming = self.coming.values().flat_map(|frame| frame.spans.iter().flatten()).min();
        let first = coming.map_or(first, |coming| first.min(*coming));
        self.shown = self.shown.split_off(&first);
        self.unbounded = self.unbounded.split_off(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Combine;

    const LANE: Lane = Lane(0);

    fn run() -> FreeRun {
        let (window, shortest, longest) = (Length::from_mm(10.0), Length::from_mm(5.0), Length::from_mm(50.0));
        FreeRun { window, shortest, longest, combine: Combine::Max, frames: 1, most_frames: 1 }
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(ms * 1_000_000)
    }

    /// A belt of 1 mm in 1 ms, of which a frame shows these pieces.
    fn show(records: &mut Records, ms: u64, pieces: &[u64]) -> u64 {
        let spans = pieces.iter().map(|piece| vec![*piece]).collect();
        records.add((at(ms), LANE), Length::from_mm(ms as f64), spans);
        records.told((at(ms), LANE), false)
    }

    #[test]
    fn a_piece_has_no_second_record_in_its_first_frame_nor_in_another() {
        let mut records = Records::default();
        show(&mut records, 10, &[1]);
        show(&mut records, 20, &[1, 2]);
        show(&mut records, 30, &[2]);
        assert_eq!(records.begins(at(10), LANE), Ok(()));
        assert_eq!(records.begins(at(20), LANE), Ok(()));
        for ms in [10, 20, 30, 40] {
            assert!(records.begins(at(ms), LANE).unwrap_err().contains("one has two"), "{ms}");
        }
        assert_eq!(records.forget_old(at(100)), Ok(()));
    }

    #[test]
    fn a_piece_without_a_record_is_told_of_once_it_should_have_one() {
        let mut records = Records::default();
        show(&mut records, 10, &[1, 2]);
        assert_eq!(records.begins(at(10), LANE), Ok(()));
        assert_eq!(records.forget_old(at(10)), Ok(()));
        assert!(records.forget_old(at(11)).unwrap_err().starts_with("1 of the pieces"));
    }

    #[test]
    fn nothing_is_held_near_what_was_disturbed_until_that_is_out_of_reach_and_it_is_counted() {
        let mut records = Records::default();
        assert_eq!(show(&mut records, 1000, &[1]), 0);
        records.disturb(LANE, Length::from_mm(1000.0), &run());
        assert_eq!((show(&mut records, 1010, &[1, 2]), show(&mut records, 1020, &[1, 2])), (2, 0));
        // A gate of 150 mm, and twice the longest part.
        assert_eq!((show(&mut records, 1249, &[3]), show(&mut records, 1250, &[4])), (1, 0));
        assert_eq!((records.begins(at(1249), LANE), records.begins(at(1249), LANE)), (Ok(()), Ok(())));
        assert_eq!(records.begins(at(1250), LANE), Ok(()));
        assert!(records.begins(at(1250), LANE).is_err());
    }
}
