//! The even distance in time between frames that are made rather than captured.

use std::time::Duration;

use crate::time::Monotonic;

/// When the next frame's turn is. Knows no clock: it is told what time it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pacing {
    /// From frame to frame; zero gives a frame whenever one is asked for.
    interval: Duration,
    due: Option<Monotonic>,
}

impl Pacing {
    /// `rate` frames per second; `None` as many as are asked for.
    pub(super) fn new(rate: Option<f64>) -> Self {
        Pacing { interval: rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate)), due: None }
    }

    /// How long it is at `now` until the next frame's turn. The first frame's is at once.
    pub(super) fn left(&self, now: Monotonic) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.saturating_since(now))
    }

    /// Takes note of a frame. The belt waits for one that comes late, so that none is lost: what it is late by more than one
    /// interval delays those after it, less is made up for.
    pub(super) fn captured(&mut self, at: Monotonic) {
        self.due = Some(self.due.map_or(at, |due| due.max(at - self.interval)) + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn frames_keep_their_distance_and_lateness_shifts_the_belt() {
        let mut pacing = Pacing::new(Some(10.0));
        assert_eq!(pacing.left(at(1000)), Duration::ZERO);
        // When each frame is captured, and when the one after it is due.
        for (captured, due) in [(1000, 1100), (1100, 1200), (1203, 1300), (1300, 1400), (1950, 1950), (1950, 2050)] {
            pacing.captured(at(captured));
            assert_eq!(pacing.left(at(0)), at(due).saturating_since(at(0)), "after {captured}");
            assert_eq!(pacing.left(at(due)), Duration::ZERO);
        }
    }

    #[test]
    fn without_a_rate_every_moment_is_right() {
        let mut pacing = Pacing::new(None);
        for ms in [5, 5, 9] {
            assert_eq!(pacing.left(at(ms)), Duration::ZERO);
            pacing.captured(at(ms));
        }
    }
}
