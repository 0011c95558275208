//! Quantiles of a run that may last for years, in constant memory.

/// The smallest value that is told apart from zero.
const SMALLEST: f64 = 1e-3;
/// Neighbouring buckets differ by this factor: quantiles are right to 1%.
const STEP: f64 = 1.01;
/// Enough buckets for 1e-3 to 1e7.
const BUCKETS: usize = 2320;

/// Counts values, such as milliseconds, in buckets of equal relative width. Negative values count as zero.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    most: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; BUCKETS], total: 0, most: 0.0 }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, value: f64) {
        let bucket = (value.max(SMALLEST) / SMALLEST).ln() / STEP.ln();
        self.counts[(bucket as usize).min(BUCKETS - 1)] += 1;
        self.total += 1;
        self.most = self.most.max(value);
    }

    pub(super) fn count(&self) -> u64 {
        self.total
    }

    pub(super) fn max(&self) -> f64 {
        self.most
    }

    /// The smallest value that at least the share `q` of all values does not exceed, to 1%.
    pub(super) fn quantile(&self, q: f64) -> f64 {
        let rank = ((q * self.total as f64).ceil() as u64).max(1);
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        bucket.map_or(0.0, |bucket| (SMALLEST * STEP.powi(bucket as i32 + 1)).min(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_percent() {
        let mut histogram = Histogram::default();
        (1..=10_000).for_each(|k| histogram.add(f64::from(k) / 10.0));
        for (q, expected) in [(0.5, 500.0), (0.99, 990.0), (0.001, 1.0), (1.0, 1000.0)] {
            let found = histogram.quantile(q);
            assert!((found / expected - 1.0).abs() <= 0.011, "{q}: {found}, not {expected}");
        }
        assert_eq!(Histogram::default().quantile(0.5), 0.0);
    }
}
