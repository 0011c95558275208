//! What is to happen, in the order in which it does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::line::{Event, Happening, Length};
use crate::simulate::belt::Piece;
use crate::time::Monotonic;

/// So many that come at once are sorted once; fewer find their places one by one.
const MANY: usize = 32;

/// All that is to happen.
///
/// A stretch of the belt brings thousands of events at once, nearly in their order, and each of them then leads to a few: the
/// former are sorted once, and only the latter need a heap.
#[derive(Default)]
pub(super) struct Queue {
    /// New ones, in no order.
    new: Vec<Due>,
    /// The last one is the next.
    sorted: Vec<Due>,
    heap: BinaryHeap<Reverse<Due>>,
    sequence: u64,
    /// How often something was put off.
    put_off: u64,
}

/// What happens when it was to comes after all that was put off until then.
const IN_TIME: u64 = 1 << 63;

impl Queue {
    /// What happens at `at` to the core of that number; of what happens at the same time the first is the first.
    pub(super) fn push(&mut self, at: Monotonic, life: u64, what: What) {
        self.sequence += 1;
        self.new.push(Due { at, sequence: IN_TIME + self.sequence, life, what });
    }

    /// It happens later, behind what was put off until then before it, and before what was to happen then.
    pub(super) fn put_off(&mut self, due: Due, until: Monotonic) {
        self.put_off += 1;
        self.heap.push(Reverse(Due { at: until, sequence: self.put_off, ..due }));
    }

    /// When the next thing happens.
    pub(super) fn next(&mut self) -> Option<Monotonic> {
        self.settle();
        let sorted = self.sorted.last().map(|due| due.at);
        sorted.into_iter().chain(self.heap.peek().map(|Reverse(due)| due.at)).min()
    }

    pub(super) fn pop(&mut self) -> Option<Due> {
        self.settle();
        let is_in_heap = match (self.sorted.last(), self.heap.peek()) {
            (Some(sorted), Some(Reverse(heaped))) => heaped < sorted,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if is_in_heap { self.heap.pop().map(|Reverse(due)| due) } else { self.sorted.pop() }
    }

    fn settle(&mut self) {
        if self.new.len() < MANY {
            return self.heap.extend(self.new.drain(..).map(Reverse));
        }
        self.sorted.append(&mut self.new);
        self.sorted.sort_by(|a, b| b.cmp(a));
    }
}

/// What is to happen, and to which of the cores; an event of an earlier one is void.
pub(super) struct Due {
    at: Monotonic,
    sequence: u64,
    pub(super) life: u64,
    pub(super) what: What,
}

/// What can be to happen. Boxed, since the queue moves what it holds.
pub(super) enum What {
    Tell(Box<Event>),
    /// The encoder has counted the belt to that place at that moment. Of nothing else there is as much.
    Count(Monotonic, Length),
    /// The part is before the ejector, as far as it depends on the belt.
    Passes(Box<Piece>),
    /// A bad part has passed the ejector, and air did not hit it: by now somebody is told.
    Missed(Box<Piece>),
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
        match self {
            What::Count(..) => true,
            What::Tell(event) => {
                matches!(event.what, Happening::Fault(..) | Happening::Recovered(_) | Happening::Bin(_))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_off_keeps_its_order_and_comes_before_what_is_in_time() {
        let at = Monotonic::from_nanos;
        let mut queue = Queue::default();
        // What comes sooner may have been known later.
        [30, 20, 10].into_iter().for_each(|when| queue.push(at(when), when, What::Kill));
        for _ in 0..2 {
            let due = queue.pop().unwrap();
            queue.put_off(due, at(30));
        }
        let order = std::iter::from_fn(|| queue.pop()).map(|due| due.life).collect::<Vec<_>>();
        assert_eq!(order, [10, 20, 30]);
    }
}
