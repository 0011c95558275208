//! Which pieces are one part: to a camera, pieces that lie against each other are.

use crate::line::{FreeRun, Lane, Length};
use crate::simulate::belt::Piece;

use super::World;
use super::layout::half;
use super::senses::{SEEN_TO, Shown};

/// Pieces that a frame shows as one part, from the first along the belt to the last.
pub(super) struct Part {
    pub(super) pieces: Vec<u64>,
    pub(super) lead: Length,
    pub(super) trail: Length,
    pub(super) is_bad: bool,
}

impl Part {
    fn of(piece: &Piece) -> Self {
        let (lead, trail, is_bad) = (piece.lead, piece.lead + piece.length, piece.is_bad);
        Part { pieces: vec![piece.number], lead, trail, is_bad }
    }

    fn join(&mut self, piece: &Piece) {
        self.pieces.push(piece.number);
        self.lead = self.lead.min(piece.lead);
        self.trail = self.trail.max(piece.lead + piece.length);
        self.is_bad |= piece.is_bad;
    }

    pub(super) fn length(&self) -> Length {
        self.trail - self.lead
    }

    pub(super) fn middle(&self) -> Length {
        self.lead + half(self.length())
    }
}

/// What is longer may be seen to be longer than a part.
pub(super) fn surely_one(run: &FreeRun) -> Length {
    run.longest - Length::from_mm(2.0 * SEEN_TO)
}

impl World {
    /// Whether pieces that a frame shows as one, over so much of the belt, are not one piece on its way, nor pieces that are one part.
    pub(super) fn is_disturbed(&self, pieces: &[Shown], length: Length, run: &FreeRun) -> bool {
        let slid = |shown: &Shown| self.slid.contains_key(&shown.number);
        pieces.is_empty() || pieces.len() > 1 && (length > surely_one(run) || pieces.iter().any(slid))
    }

    /// Whether one of the pieces that are one part with this one is gone before it: then a frame may show its edge, which none before did.
    pub(super) fn is_rest(&self, lane: Lane, pieces: &[Shown], run: &FreeRun) -> bool {
        let Some(Shown { number: first, .. }) = pieces.first() else { return false };
        self.part_of(lane, *first, run).is_some_and(|part| part.pieces.iter().any(|piece| piece < first))
    }

    /// The part that a piece is. `None` where it was shown as one with others and is not one part with them: one of them slid or turned, so
    /// that they touched for a while, or together they are about as long as a part may be.
    pub(super) fn part_of(&self, lane: Lane, number: u64, run: &FreeRun) -> Option<Part> {
        let (_, piece) = self.lain.get(&(lane, number))?;
        let mut part = Part::of(piece);
        if !self.touched.contains(&number) {
            return Some(part);
        }
        let others = |numbers: std::ops::Range<u64>| self.lain.range((lane, numbers.start)..(lane, numbers.end));
        for (_, (_, ahead)) in others(0..number).rev() {
            if part.lead - ahead.lead - ahead.length >= run.shortest {
                break;
            }
            part.join(ahead);
        }
        for (_, (_, behind)) in others(number + 1..u64::MAX) {
            if behind.lead - part.trail >= run.shortest {
                break;
            }
            part.join(behind);
        }
        let stays = part.pieces.iter().all(|piece| !self.slid.contains_key(piece));
        (part.pieces.len() > 1 && stays && part.length() <= surely_one(run)).then_some(part)
    }
}
