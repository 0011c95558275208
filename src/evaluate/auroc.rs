//! The area under the receiver operating characteristic.

/// Scores with labels, gathered to be ranked; 8 bytes each.
#[derive(Debug, Clone, Default)]
pub struct Ranking {
    /// The score's order in the upper 32 bits, the label in the lowest.
    keys: Vec<u64>,
}

impl Ranking {
    /// Adds one score.
    pub fn push(&mut self, score: f32, positive: bool) {
        // IEEE 754 floats order like sign-magnitude integers: flip them into unsigned order.
        let bits = score.to_bits();
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        self.keys.push(u64::from(ordered) << 32 | u64::from(positive));
    }

    /// The AUROC: the probability that a positive scores above a negative, ties counting half. `None` unless there are
    /// both (Mann-Whitney U; Fawcett, "An introduction to ROC analysis", 2006).
    pub fn auroc(mut self) -> Option<f64> {
        self.keys.sort_unstable();
        let (mut below, mut wins) = (0u64, 0f64);
        let (mut positives, mut negatives) = (0u64, 0u64);
        for tie in self.keys.chunk_by(|a, b| a >> 32 == b >> 32) {
            let positive = tie.iter().filter(|key| *key & 1 == 1).count() as u64;
            let negative = tie.len() as u64 - positive;
            wins += positive as f64 * (below as f64 + negative as f64 / 2.0);
            below += negative;
            positives += positive;
            negatives += negative;
        }
        (positives > 0 && negatives > 0).then(|| wins / (positives as f64 * negatives as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auroc(scores: &[(f32, bool)]) -> Option<f64> {
        let mut ranking = Ranking::default();
        scores.iter().for_each(|(score, positive)| ranking.push(*score, *positive));
        ranking.auroc()
    }

    #[test]
    fn known_rankings() {
        assert_eq!(auroc(&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)]), Some(0.75));
        assert_eq!(auroc(&[(-2.0, true), (-1.0, false)]), Some(0.0));
        assert_eq!(auroc(&[(1.0, true), (1.0, false), (1.0, false)]), Some(0.5));
        assert_eq!(auroc(&[(1.0, true)]), None);
    }

    #[test]
    fn it_is_the_share_of_pairs_in_order() {
        let scores = (0..200u32).map(|i| ((i * 7919 % 101) as f32 - 50.0, i * 31 % 7 < 3)).collect::<Vec<_>>();
        let (mut wins, mut pairs) = (0.0, 0.0);
        for (a, _) in scores.iter().filter(|(_, positive)| *positive) {
            for (b, _) in scores.iter().filter(|(_, positive)| !*positive) {
                pairs += 1.0;
                wins += if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                };
            }
        }
        assert!((auroc(&scores).unwrap() - wins / pairs).abs() < 1e-12);
    }
}
