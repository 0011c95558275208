//! The numbers of all parts so far, in bins: how many lie above a new one.

/// Numbers that share a bin count as equal.
const BINS: usize = 4096;

/// Numbers between 0 and 1, with their order and without their times.
#[derive(Debug, Clone)]
pub(super) struct Bag {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Bag {
    fn default() -> Self {
        Bag { counts: vec![0; BINS], total: 0 }
    }
}

impl Bag {
    /// Puts a number in.
    pub(super) fn put(&mut self, value: f32) {
        self.counts[bin(value)] += 1;
        self.total += 1;
    }

    /// Puts a number in and gives its p-value: the share of all numbers, itself among them, that are greater, and of those that
    /// are equal a part `tie`, which is uniform on 0 to 1. The p-values of exchangeable numbers are independent and uniform.
    pub(super) fn rank(&mut self, value: f32, tie: f64) -> f64 {
        self.put(value);
        let bin = bin(value);
        let greater = self.counts[bin + 1..].iter().sum::<u64>();
        (greater as f64 + tie * self.counts[bin] as f64) / self.total as f64
    }
}

fn bin(value: f32) -> usize {
    // Casting saturates.
    ((value * BINS as f32) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_p_value_is_the_rank_from_above() {
        let mut bag = Bag::default();
        [0.1, 0.2, 0.3].into_iter().for_each(|value| bag.put(value));
        assert_eq!(bag.rank(0.4, 0.5), 0.5 / 4.0);
        assert_eq!(bag.rank(0.05, 0.5), 4.5 / 5.0);
        // Two above, two equal.
        assert_eq!(bag.rank(0.2, 0.25), 2.5 / 6.0);
        assert_eq!(bag.rank(-3.0, 1.0), 1.0);
        assert_eq!(bag.rank(7.0, 0.0), 0.0);
    }
}
