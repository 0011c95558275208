//! The spread of what was measured a few times.

use std::fmt;
use std::time::Duration;

/// Times of which every one is kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Spread {
    /// The shortest first.
    sorted: Vec<Duration>,
}

impl FromIterator<Duration> for Spread {
    fn from_iter<T: IntoIterator<Item = Duration>>(times: T) -> Self {
        let mut sorted = times.into_iter().collect::<Vec<_>>();
        sorted.sort_unstable();
        Spread { sorted }
    }
}

impl Spread {
    /// The shortest time that at least the share `share` of all does not exceed; 0 of none.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        self.sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
    }

    pub(super) fn max(&self) -> Duration {
        self.sorted.last().copied().unwrap_or_default()
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [self.quantile(0.5), self.quantile(0.99), self.max()].map(ms);
        write!(f, "p50 {p50}, p99 {p99}, max {max} ms")
    }
}

/// In milliseconds, for people.
pub(super) fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let spread = (1..=100).rev().map(Duration::from_millis).collect::<Spread>();
        assert_eq!(spread.quantile(0.5), Duration::from_millis(50));
        assert_eq!(spread.to_string(), "p50 50.0, p99 99.0, max 100.0 ms");
        assert_eq!(Spread::default().quantile(0.5), Duration::ZERO);
        assert_eq!(ms(Duration::from_micros(1234)), "1.23");
    }
}
