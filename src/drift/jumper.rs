//! Bets against p-values that are uniform.

/// A bet of strength e multiplies its stake by 1 + e (1/2 - p): 1 on average over uniform p. Positive ones win on small p.
const STRENGTHS: [f64; 6] = [-2.0, -1.0, -0.4, 0.4, 1.0, 2.0];
/// This share of the capital changes its bet with every part: what was right need not stay so.
const JUMP: f64 = 0.01;

/// The sum of simple jumpers, of which one more starts with every part. After t uniform p-values it is t on average.
#[derive(Debug, Clone, Default)]
pub(super) struct Jumper {
    stakes: [f64; STRENGTHS.len()],
}

impl Jumper {
    /// Bets on a p-value.
    pub(super) fn bet(&mut self, p: f64) {
        let even = (JUMP * self.capital() + 1.0) / STRENGTHS.len() as f64;
        for (stake, strength) in self.stakes.iter_mut().zip(STRENGTHS) {
            *stake = ((1.0 - JUMP) * *stake + even) * (1.0 + strength * (0.5 - p));
        }
    }

    /// What all jumpers own.
    pub(super) fn capital(&self) -> f64 {
        self.stakes.iter().sum()
    }

    /// Whether most of it is betted on small p-values.
    pub(super) fn favours_small(&self) -> bool {
        let small = self.stakes.iter().zip(STRENGTHS).filter(|(_, strength)| *strength > 0.0).map(|(stake, _)| stake);
        2.0 * small.sum::<f64>() > self.capital()
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_capital_is_the_number_of_parts_on_average() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let capital = |random: &mut ChaCha8Rng| {
            let mut jumper = Jumper::default();
            (0..20).for_each(|_| jumper.bet(random.random()));
            jumper.capital()
        };
        let mean = (0..20_000).map(|_| capital(&mut random)).sum::<f64>() / 20_000.0;
        assert!((mean - 20.0).abs() < 1.0, "{mean}");
    }

    #[test]
    fn p_values_on_one_side_make_it_grow() {
        for (p, small) in [(0.01, true), (0.99, false)] {
            let mut jumper = Jumper::default();
            (0..40).for_each(|_| jumper.bet(p));
            assert!(jumper.capital() > 1e9 && jumper.favours_small() == small, "{}", jumper.capital());
        }
    }

    #[test]
    fn false_alarms_are_as_rare_as_promised() {
        // The mean time to a capital of 100 is 100 parts at least.
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let time = |random: &mut ChaCha8Rng| {
            let mut jumper = Jumper::default();
            (1..).find(|_| {
                jumper.bet(random.random());
                jumper.capital() >= 100.0
            })
        };
        let mean = (0..2000).filter_map(|_| time(&mut random)).sum::<i32>() as f64 / 2000.0;
        assert!(mean >= 100.0, "{mean}");
    }
}
