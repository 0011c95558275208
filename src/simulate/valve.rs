//! The ejector: the schedule that the firing thread uses, and when air really blows.

use std::collections::VecDeque;
use std::time::Duration;

use crate::line::{Ejector, Length, Order, PartId};
use crate::outputs::schedule::{Schedule, Step};
use crate::time::Monotonic;

use super::trouble::Trouble;

/// So many pulses are remembered: the parts that they could have hit have passed.
const KEPT: usize = 64;

/// The ejector and the thread that drives it.
pub(super) struct Valve {
    ejector: Ejector,
    schedule: Schedule,
    /// Where the belt was when it began and ended to blow; the last one may still.
    blown: VecDeque<(Length, Option<Length>)>,
    /// When it is told to act again.
    due: Vec<Monotonic>,
    /// When the pulse that lasts must be over, unless it becomes one with the next.
    off_by: Option<Monotonic>,
    /// While its driver fails.
    pub(super) is_lost: bool,
}

/// What the firing thread reports of a part.
pub(super) type Outcome = (PartId, Result<Monotonic, String>);

impl Valve {
    pub(super) fn new(ejector: Ejector) -> Self {
        let schedule = Schedule::new(ejector.gap);
        Valve { ejector, schedule, blown: VecDeque::new(), due: Vec::new(), off_by: None, is_lost: false }
    }

    pub(super) fn order(&mut self, order: Order) {
        self.due.push(order.at);
        self.schedule.add(order);
    }

    pub(super) fn next(&self) -> Option<Monotonic> {
        self.schedule.next()
    }

    /// Drops all orders and closes.
    pub(super) fn set_safe(&mut self, place: Length) {
        self.schedule = Schedule::new(self.ejector.gap);
        self.due.clear();
        self.close(place);
    }

    /// Makes the step that is due at `now`; `place` tells where the belt is when.
    pub(super) fn step(
        &mut self,
        now: Monotonic,
        place: impl Fn(Monotonic) -> Length,
        trouble: &mut Trouble,
    ) -> Option<Outcome> {
        let step = self.schedule.take(now)?;
        if let Step::Void(order) | Step::Activate(order) = &step
            && let Some(done) = self.due.iter().position(|at| *at == order.at)
        {
            self.due.swap_remove(done);
        }
        match step {
            Step::Void(order) => Some((order.part, Err("the order was too old".into()))),
            Step::Release => {
                self.close(place(now + self.ejector.delay));
                None
            }
            Step::Activate(order) => Some((order.part, self.activate(&order, now, place, trouble))),
        }
    }

    fn activate(
        &mut self,
        order: &Order,
        now: Monotonic,
        place: impl Fn(Monotonic) -> Length,
        trouble: &mut Trouble,
    ) -> Result<Monotonic, String> {
        // A driver that fails may have opened it all the same: it is released like any other.
        let fired = match trouble.strikes("late ejector") {
            true => now + trouble.millis(5.0, 60.0),
            false => now + trouble.millis(0.0, 0.5),
        };
        self.schedule.hold(fired + order.pulse);
        let off_by = Some(fired + order.pulse);
        if self.off_by.is_some() {
            // It blows already, and goes on for this part.
            self.off_by = self.off_by.max(off_by);
        }
        if self.is_lost || trouble.strikes("failed ejector") {
            return Err("no port".into());
        }
        self.off_by = self.off_by.max(off_by);
        if self.blown.back().is_none_or(|(_, ended)| ended.is_some()) {
            self.blown.push_back((place(fired + self.ejector.delay), None));
        }
        if self.blown.len() > KEPT {
            self.blown.pop_front();
        }
        Ok(fired)
    }

    fn close(&mut self, place: Length) {
        self.off_by = None;
        if let Some((_, ended @ None)) = self.blown.back_mut() {
            *ended = Some(place);
        }
    }

    /// Whether it blew while the belt was less than `margin` from `place`.
    pub(super) fn blew(&self, place: Length, margin: Length) -> bool {
        let hits = |(began, ended): &(Length, Option<Length>)| {
            *began <= place + margin && ended.is_none_or(|ended| ended >= place - margin)
        };
        self.blown.iter().any(hits)
    }

    /// How far beyond what was ordered it is still open at `now`.
    pub(super) fn overdue(&self, now: Monotonic) -> Duration {
        let Some(off_by) = self.off_by else { return Duration::ZERO };
        let joined = self.due.iter().copied().filter(|at| *at < off_by + self.ejector.gap).max();
        now.saturating_since(off_by.max(joined.unwrap_or_default()))
    }
}
