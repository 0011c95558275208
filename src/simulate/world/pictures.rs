//! What the newest pictures show.

use std::collections::VecDeque;

use crate::line::{Lane, Ticket};

/// So many of the newest pictures are remembered.
const REMEMBERED: usize = 20_000;

/// Pictures by their tickets, which are counted.
#[derive(Default)]
pub(super) struct Pictures {
    /// The ticket of the first that is remembered.
    first: u64,
    of: VecDeque<Picture>,
}

/// A lane's share of a frame, or a part's own picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picture {
    pub(super) lane: Lane,
    /// The part that it shows, by its number, and whether it shows that it is bad.
    pub(super) shows: Option<(u64, bool)>,
}

impl Pictures {
    pub(super) fn add(&mut self, lane: Lane, shows: Option<(u64, bool)>) -> Ticket {
        self.of.push_back(Picture { lane, shows });
        Ticket(self.first + self.of.len() as u64 - 1)
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<Picture> {
        self.of.get(ticket.0.checked_sub(self.first)? as usize).copied()
    }

    /// The part that a picture shows.
    pub(super) fn shown(&self, ticket: Ticket) -> Option<u64> {
        Some(self.get(ticket)?.shows?.0)
    }

    pub(super) fn forget_old(&mut self) {
        let old = self.of.len().saturating_sub(REMEMBERED);
        self.of.drain(..old);
        self.first += old as u64;
    }
}
