//! The clock on the wall: whether somebody keeps it right, and whether it jumps.

use super::record::Body;
use crate::time::Monotonic;

/// Who keeps a clock right shifts it by half a millisecond in a second; more than this between two looks is a step.
const STEP_MS: f64 = 100.0;

/// Whether the kernel's clock is kept right by others, as NTP and PTP do (adjtimex(2)).
pub(crate) fn is_synchronised() -> bool {
    // SAFETY: all zeros are a valid `timex`, and ask for nothing to be changed.
    let (state, clock) = unsafe {
        let mut clock = std::mem::zeroed::<libc::timex>();
        (libc::adjtimex(&mut clock), clock)
    };
    state >= 0 && state != libc::TIME_ERROR && clock.status & libc::STA_UNSYNC == 0
}

/// By how much the clock on the wall is ahead of the monotonic one.
#[derive(Debug, Default)]
pub(super) struct Clock {
    ahead_ns: Option<i128>,
}

impl Clock {
    /// A record, if it jumped since the last look.
    pub(super) fn look(&mut self) -> Option<Body> {
        let now = Monotonic::now();
        let wall = jiff::Timestamp::now().as_nanosecond();
        let step = self.step(wall - i128::from(now.as_nanos()))?;
        log::warn!("the clock was set: it jumped by {step:.0} ms");
        Some(Body::clock_step(now, step))
    }

    /// In milliseconds.
    pub(super) fn step(&mut self, ahead_ns: i128) -> Option<f64> {
        let before = self.ahead_ns.replace(ahead_ns)?;
        let step = (ahead_ns - before) as f64 / 1e6;
        (step.abs() >= STEP_MS).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_jumps_and_one_that_is_kept_right_does_not() {
        let mut clock = Clock::default();
        let (ms, hour) = (1_000_000, 3_600_000_000_000);
        let ahead = [hour, hour + ms, hour + 2 * ms, hour + 500 * ms, 500 * ms, 501 * ms];
        let steps = ahead.map(|ahead| clock.step(ahead));
        assert_eq!(steps, [None, None, None, Some(498.0), Some(-3_600_000.0), None]);
        assert!(Clock::default().look().is_none());
    }
}
