//! What an output must do, and when. It has neither clock nor thread.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::line::{Order, PartId};
use crate::time::Monotonic;

/// What the output must do, and when: parts that are to be rejected, and the end of the pulse that lasts.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    parts: BTreeMap<(Monotonic, PartId), Order>,
    /// When the pulse that lasts is over.
    release: Option<Monotonic>,
    /// A pulse that would begin so soon after the end of the one before is one with it.
    gap: Duration,
}

/// One step of the output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Activate(Order),
    /// It is too late for this order.
    Void(Order),
    Release,
}

impl Schedule {
    /// With nothing to do.
    pub(crate) fn new(gap: Duration) -> Self {
        Schedule { gap, ..Schedule::default() }
    }

    pub(crate) fn add(&mut self, order: Order) {
        self.parts.insert((order.at, order.part), order);
    }

    pub(crate) fn next(&self) -> Option<Monotonic> {
        let part = self.parts.first_key_value().map(|((at, _), _)| *at);
        part.into_iter().chain(self.release).min()
    }

    /// When the pulse that lasts is over.
    pub(super) fn pulse_ends(&self) -> Option<Monotonic> {
        self.release
    }

    /// Forgets parts that are not due yet, and not the pulse that lasts.
    pub(super) fn drop_parts(&mut self) {
        self.parts.clear();
    }

    /// Forgets all that was to be done.
    pub(super) fn clear(&mut self) {
        *self = Schedule::new(self.gap);
    }

    /// A pulse lasts until `ends` at least.
    pub(crate) fn hold(&mut self, ends: Monotonic) {
        self.release = self.release.max(Some(ends));
    }

    /// Takes the next step that is due at `now`. A part that is due before the pulse ends comes before its end.
    pub(crate) fn take(&mut self, now: Monotonic) -> Option<Step> {
        if let Some(entry) = self.parts.first_entry()
            && entry.key().0 <= now
        {
            let order = entry.remove();
            if order.latest < now {
                return Some(Step::Void(order));
            }
            return Some(Step::Activate(order));
        }
        let ends = self.release.filter(|ends| *ends <= now)?;
        if let Some(((next, _), _)) = self.parts.first_key_value()
            && *next < ends + self.gap
        {
            self.release = Some(*next);
            return None;
        }
        self.release = None;
        Some(Step::Release)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::line::Lane;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(ms * MS)
    }

    #[test]
    fn overlapping_pulses_become_one_longer_pulse() {
        let mut schedule = Schedule::default();
        let pulse = Duration::from_millis(30);
        for (part, ms) in [(0, 100), (1, 120), (2, 200), (3, 200)] {
            schedule.add(Order { latest: at(ms), pulse, ..order(part, at(ms), 0) });
        }
        let mut steps = Vec::new();
        while let Some(next) = schedule.next() {
            let part = match schedule.take(next).expect("it is due") {
                Step::Activate(order) => {
                    schedule.hold(next + order.pulse);
                    Some(order.part.0)
                }
                _ => None,
            };
            steps.push((next.as_nanos() / MS, part));
        }
        let release = None;
        assert_eq!(
            steps,
            [(100, Some(0)), (120, Some(1)), (150, release), (200, Some(2)), (200, Some(3)), (230, release)]
        );
    }

    #[test]
    fn pulses_that_are_closer_than_the_gap_become_one() {
        let mut schedule = Schedule::new(Duration::from_millis(10));
        for (part, ms) in [(0, 100), (1, 135), (2, 180)] {
            schedule.add(order(part, at(ms), 30));
        }
        let mut releases = Vec::new();
        while let Some(next) = schedule.next() {
            match schedule.take(next) {
                Some(Step::Activate(order)) => schedule.hold(next + order.pulse),
                Some(Step::Release) => releases.push(next.as_nanos() / MS),
                _ => {}
            }
        }
        assert_eq!(releases, [165, 210], "from 100 to 165 ms is one pulse");
    }

    #[test]
    fn an_order_that_is_too_old_is_void_and_does_not_move_the_output() {
        let mut schedule = Schedule::default();
        let order = |part, ms| Order { latest: at(ms + 10), ..order(part, at(ms), 5) };
        schedule.add(order(0, 100));
        schedule.add(order(1, 120));
        assert_eq!(schedule.take(at(125)), Some(Step::Void(order(0, 100))));
        assert_eq!(schedule.take(at(125)), Some(Step::Activate(order(1, 120))));
        assert_eq!(schedule.next(), None);
    }

    /// An order at `at` that is not void for a minute.
    pub(in crate::outputs) fn order(part: u64, at: Monotonic, pulse_ms: u64) -> Order {
        let latest = at + Duration::from_secs(60);
        let (class, pulse) = ("washer".into(), Duration::from_millis(pulse_ms));
        Order { part: PartId(part), lane: Lane(0), class, score: None, at, latest, pulse }
    }
}
