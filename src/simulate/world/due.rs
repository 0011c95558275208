//! What is to happen, in the order in which it does.

use crate::line::{Event, Happening};
use crate::simulate::belt::Piece;
use crate::time::Monotonic;

/// What is to happen, and to which of the cores; an event of an earlier one is void.
pub(super) struct Due {
    pub(super) at: Monotonic,
    pub(super) sequence: u64,
    pub(super) life: u64,
    pub(super) what: What,
}

pub(super) enum What {
    /// Boxed, since the queue moves what it holds, and is long.
    Tell(Box<Event>),
    /// The part is before the ejector, as far as it depends on the belt.
    Passes(Piece),
    /// A bad part has passed the ejector, and air did not hit it: by now somebody is told.
    Missed(Piece),
    /// A spell begins for the process itself.
    Kill,
    Halt,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl What {
    /// An encoder counts, and devices fail and work again, for whoever listens: a new core would else take the belt to stand still,
    /// and a camera that failed before it began to work.
    pub(super) fn is_for_any_core(&self) -> bool {
        let What::Tell(event) = self else { return false };
        matches!(event.what, Happening::Moved(_) | Happening::Fault(..) | Happening::Recovered(_) | Happening::Bin(_))
    }
}
