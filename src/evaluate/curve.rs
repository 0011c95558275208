//! Areas and rates of a ranking: what a threshold that sinks from above the highest score finds, and what it costs.

/// What a sinking threshold meets at one score: the weights of the positives and negatives that have it.
///
/// The weight of an image is how often it is counted, that of a pixel 1, or one over its region's size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The weight of the defective.
    pub positive: f64,
    /// The weight of the good.
    pub negative: f64,
}

/// A ranking as steps of falling scores, with both positives and negatives in it.
///
/// Scores within a step are tied. All figures treat ties as the threshold does, which passes or rejects them together.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    steps: Vec<Step>,
    positives: f64,
    negatives: f64,
}

impl Curve {
    /// A curve of `steps`, whose scores fall. `None` without a positive or without a negative.
    pub fn new(steps: Vec<Step>) -> Option<Self> {
        let (positives, negatives) = steps.iter().fold((0.0, 0.0), |(p, n), s| (p + s.positive, n + s.negative));
        (positives > 0.0 && negatives > 0.0).then_some(Curve { steps, positives, negatives })
    }

    /// The curve of single scores, with whether each is a positive.
    pub fn of(mut scores: Vec<(f32, bool)>) -> Option<Self> {
        scores.sort_by_key(|(score, _)| std::cmp::Reverse(key(*score)));
        let steps = scores.chunk_by(|a, b| key(a.0) == key(b.0)).map(|tie| {
            let positive = tie.iter().filter(|(_, positive)| *positive).count() as f64;
            Step { positive, negative: tie.len() as f64 - positive }
        });
        Curve::new(steps.collect())
    }

    /// The area under the receiver operating characteristic: the probability that a positive scores above a negative, ties
    /// counting half (Mann-Whitney U; Fawcett, "An introduction to ROC analysis", 2006).
    pub fn auroc(&self) -> f64 {
        let (mut above, mut wins) = (0.0, 0.0);
        for step in &self.steps {
            wins += step.negative * (above + step.positive / 2.0);
            above += step.positive;
        }
        wins / (self.positives * self.negatives)
    }

    /// Average precision: the precision at every threshold, weighted by the recall that it adds. Without interpolation, as
    /// scikit-learn's `average_precision_score` has it.
    pub fn average_precision(&self) -> f64 {
        let gains = self.rejected().map(|(step, positives, negatives)| match step.positive > 0.0 {
            true => step.positive * positives / (positives + negatives),
            false => 0.0,
        });
        gains.sum::<f64>() / self.positives
    }

    /// The largest F1 score, the harmonic mean of precision and recall, over all thresholds.
    pub fn f1_max(&self) -> f64 {
        let f1 = |positives, negatives| 2.0 * positives / (positives + negatives + self.positives);
        self.rejected().map(|(_, positives, negatives)| f1(positives, negatives)).fold(0.0, f64::max)
    }

    /// The area under the curve up to a false-positive rate of `limit`, above 0, divided by it; between two thresholds the
    /// curve is a straight line. With one over its region's size as each pixel's weight this is the normalised area under
    /// the per-region overlap (Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, section 5.2).
    pub fn area_up_to(&self, limit: f64) -> f64 {
        let mut area = 0.0;
        let (mut rate, mut recall) = (0.0, 0.0);
        for (_, positives, negatives) in self.rejected() {
            let (next_rate, next_recall) = (negatives / self.negatives, positives / self.positives);
            if next_rate >= limit {
                // The line between the two thresholds, as far as the limit.
                let share = if next_rate > rate { (limit - rate) / (next_rate - rate) } else { 0.0 };
                let at_limit = recall + share * (next_recall - recall);
                return (area + (limit - rate) * (recall + at_limit) / 2.0) / limit;
            }
            area += (next_rate - rate) * (recall + next_recall) / 2.0;
            (rate, recall) = (next_rate, next_recall);
        }
        // The last threshold rejects all negatives; only rounding leads here.
        (area + (limit - rate) * recall) / limit
    }

    /// The lowest miss rate among the thresholds that reject at most `false_reject_rate` of the negatives.
    pub fn misses_at(&self, false_reject_rate: f64) -> f64 {
        // Shares of counts are not exact: 3 of 300 are 1%.
        let allowed = false_reject_rate * self.negatives * (1.0 + 1e-12);
        let within = self.rejected().take_while(|(_, _, negatives)| *negatives <= allowed).last();
        1.0 - within.map_or(0.0, |(_, positives, _)| positives) / self.positives
    }

    /// Every step, with the weights of the positives and negatives that are rejected once it is.
    fn rejected(&self) -> impl Iterator<Item = (&Step, f64, f64)> {
        self.steps.iter().scan((0.0, 0.0), |(positives, negatives), step| {
            *positives += step.positive;
            *negatives += step.negative;
            Some((step, *positives, *negatives))
        })
    }
}

/// A score's place in the order of all scores, as an integer. What is not a number is above all: it is rejected; both zeros are one.
pub fn key(score: f32) -> u32 {
    if score.is_nan() {
        return u32::MAX;
    }
    // IEEE 754 floats order like sign-magnitude integers: flip them into unsigned order.
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The curve of single scores with their labels.
    pub fn curve(scores: &[(f32, bool)]) -> Option<Curve> {
        Curve::of(scores.to_vec())
    }

    #[test]
    fn known_rankings() {
        let auroc = |scores: &[(f32, bool)]| curve(scores).map(|curve| curve.auroc());
        assert_eq!(auroc(&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)]), Some(0.75));
        assert_eq!(auroc(&[(-2.0, true), (-1.0, false)]), Some(0.0));
        assert_eq!(auroc(&[(1.0, true), (1.0, false), (1.0, false)]), Some(0.5));
        assert_eq!(auroc(&[(0.0, true), (-0.0, false)]), Some(0.5));
        assert_eq!(auroc(&[(-f32::NAN, true), (f32::INFINITY, false)]), Some(1.0), "no number is rejected first");
        assert_eq!(auroc(&[(1.0, true)]), None);
        // By hand: precision 1 at recall 1/2, then 2/3 at recall 1; F1 4/5 at the third threshold.
        let curve = curve(&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)]).unwrap();
        assert!((curve.average_precision() - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-15);
        assert!((curve.f1_max() - 0.8).abs() < 1e-15);
        assert!((curve.area_up_to(1.0) - 0.75).abs() < 1e-15);
        // Up to a rate of 0.3 the curve is flat at one half.
        assert!((curve.area_up_to(0.3) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn the_auroc_is_the_share_of_pairs_in_order() {
        let scores = (0..200u32).map(|i| ((i * 7919 % 101) as f32 - 50.0, i * 31 % 7 < 3)).collect::<Vec<_>>();
        let (mut wins, mut pairs) = (0.0, 0.0);
        for (a, _) in scores.iter().filter(|(_, positive)| *positive) {
            for (b, _) in scores.iter().filter(|(_, positive)| !*positive) {
                pairs += 1.0;
                wins += f64::from(u8::from(a > b)) + f64::from(u8::from(a == b)) / 2.0;
            }
        }
        assert!((curve(&scores).unwrap().auroc() - wins / pairs).abs() < 1e-12);
    }

    #[test]
    fn a_false_reject_rate_allows_so_many_and_no_more() {
        let mut scores = (0..100).map(|i| (i as f32, false)).collect::<Vec<_>>();
        scores.extend([(98.5, true), (97.0, true), (50.5, true), (-1.0, true)]);
        let curve = curve(&scores).unwrap();
        // 97.0 is a good part's score, too: both are rejected, or none of them.
        for (allowed, rate) in
            [(0.0, 1.0), (0.0099, 1.0), (0.01, 0.75), (0.02, 0.75), (0.03, 0.5), (0.49, 0.25), (1.0, 0.0)]
        {
            assert_eq!(curve.misses_at(allowed), rate, "{allowed}");
        }
    }

    #[test]
    fn keys_keep_the_order() {
        let scores = [f32::NEG_INFINITY, -3.5, -1e-40, 0.0, 1e-40, 2.0, f32::MAX, f32::INFINITY, -f32::NAN];
        assert!(scores.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
        assert_eq!(key(-0.0), key(0.0));
    }
}
