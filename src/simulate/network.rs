//! The inspection: one frame at a time, the newest waits.

use std::time::Duration;

use crate::digest::Digest;
use crate::line::{Evidence, Happening, Judgement, Latency, Ticket};
use crate::time::Monotonic;

use super::trouble::Trouble;

/// The inspection's thread and the frame that waits for it.
#[derive(Default)]
pub(super) struct Network {
    busy_until: Monotonic,
    waits: Option<(Ticket, bool)>,
}

impl Network {
    /// The frame is to be inspected: what that leads to, and when.
    pub(super) fn inspect(
        &mut self,
        ticket: Ticket,
        is_bad: bool,
        now: Monotonic,
        trouble: &mut Trouble,
    ) -> Vec<(Monotonic, Happening)> {
        if now < self.busy_until {
            let skipped = self.waits.replace((ticket, is_bad));
            return skipped.into_iter().map(|(ticket, _)| (now, Happening::Skipped(ticket))).collect();
        }
        self.begin(ticket, is_bad, now, trouble).into_iter().collect()
    }

    /// Takes the frame that waits, if the one before it is done.
    pub(super) fn go_on(&mut self, now: Monotonic, trouble: &mut Trouble) -> Option<(Monotonic, Happening)> {
        if now < self.busy_until {
            return None;
        }
        let (ticket, is_bad) = self.waits.take()?;
        self.begin(ticket, is_bad, now, trouble)
    }

    /// When it looks for the frame that waits.
    pub(super) fn next(&self) -> Option<Monotonic> {
        self.waits.map(|_| self.busy_until)
    }

    fn begin(
        &mut self,
        ticket: Ticket,
        is_bad: bool,
        now: Monotonic,
        trouble: &mut Trouble,
    ) -> Option<(Monotonic, Happening)> {
        let took = match trouble.strikes("slow inspection") {
            true => trouble.millis(200.0, 2500.0),
            false => trouble.millis(10.0, 60.0),
        };
        self.busy_until = now + took;
        if trouble.strikes("hung inspection") {
            self.busy_until = now + Duration::from_secs(20);
            return None;
        }
        if trouble.strikes("failed inspection") {
            return Some((self.busy_until, Happening::Inspected(ticket, Err("the network failed".into()))));
        }
        let (score, threshold) = (if is_bad { 2.0 } else { 0.5 }, 1.0);
        let judgement =
            Judgement { score, threshold, rejects: is_bad, calibration: Digest::zero(), evidence: Evidence::default() };
        let latency = Latency { total: took, ..Latency::default() };
        Some((self.busy_until, Happening::Inspected(ticket, Ok((judgement, latency)))))
    }
}
