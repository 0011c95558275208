//! What known defective parts tell of a threshold that was set on normal ones.

use std::fmt;

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};

use super::threshold::{INTERVAL, percent};
use crate::print;

/// Images of known defective parts, no two the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Defective {
    /// Their files' names.
    pub files: Vec<String>,
    /// The score of each.
    pub scores: Vec<f32>,
    /// Images beside these that clearly show another product: a line rejects such whatever its threshold is, so they say nothing of it.
    pub others: Vec<OtherProduct>,
}

/// An image that was given as one of a defect, and clearly shows another product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherProduct {
    /// The file's name.
    pub file: String,
    /// The product that it looks like.
    pub product: String,
}

impl Defective {
    /// The `count` highest scores with their files' names, the highest first.
    pub fn farthest(&self, count: usize) -> Vec<(&str, f32)> {
        let mut all = self.files.iter().map(String::as_str).zip(self.scores.iter().copied()).collect::<Vec<_>>();
        all.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        all.truncate(count);
        all
    }

    /// How many of the images clearly show another product than `class`, in words; `None` where none does.
    pub fn others_told(&self, class: &str) -> Option<String> {
        let others = self.others.len();
        let images = print::counted((others + self.files.len()) as u64, "image");
        let show = if others == 1 { "shows" } else { "show" };
        (others > 0)
            .then(|| format!("{others} of {images} of known defects clearly {show} another product than '{class}'"))
    }
}

/// How many of the known defective parts a threshold finds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detection {
    /// Defective images.
    pub images: usize,
    /// Those that are rejected.
    pub detected: usize,
    /// The detection rate lies between these with 95% confidence (Clopper and Pearson, 1934), if defects to come are like these.
    pub rate: (f64, f64),
}

/// What a wrong decision costs, in any unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// A defective part that passes.
    pub miss: f64,
    /// A normal part that is rejected.
    pub false_reject: f64,
    /// The share of parts that are defective.
    pub defect_rate: f64,
}

/// A threshold and what it costs per part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Optimum {
    /// The threshold.
    pub threshold: f32,
    /// Its expected cost per part.
    pub cost: f64,
    /// The expected cost per part at the threshold that was set on normal parts.
    pub cost_of_set: f64,
}

/// A cost per part, for people: what is small keeps its digits.
pub fn cost(cost: f64) -> String {
    match cost != 0.0 && cost.abs() < 1e-3 {
        true => format!("{cost:.2e}"),
        false => format!("{cost:.4}"),
    }
}

/// Shares of normal and of defective parts that a threshold rejects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Operating {
    /// The threshold.
    pub threshold: f32,
    /// Share of normal parts that are rejected.
    pub false_rejects: f64,
    /// Share of defective parts that are rejected.
    pub detected: f64,
}

impl Detection {
    /// Of defective images with these scores.
    pub fn new(scores: &[f32], threshold: f32) -> Self {
        let detected = scores.iter().filter(|score| rejects(**score, threshold)).count();
        Detection { images: scores.len(), detected, rate: clopper_pearson(detected, scores.len()) }
    }
}

fn rejects(score: f32, threshold: f32) -> bool {
    score.is_nan() || score > threshold
}

/// The exact interval of a rate of which `hits` of `of` trials hit, with the confidence [`INTERVAL`] (Clopper and Pearson, "The use of
/// confidence or fiducial limits illustrated in the case of the binomial", 1934).
pub fn clopper_pearson(hits: usize, of: usize) -> (f64, f64) {
    let outside = (1.0 - INTERVAL) / 2.0;
    let quantile = |a: usize, b: usize, share: f64| Beta::new(a as f64, b as f64).map(|beta| beta.inverse_cdf(share));
    // A parameter of 0 stands for a bound that nothing is known of.
    (quantile(hits, of - hits + 1, outside).unwrap_or(0.0), quantile(hits + 1, of - hits, 1.0 - outside).unwrap_or(1.0))
}

/// The receiver operating characteristic: every threshold that makes a difference, from the highest.
pub fn roc(normal: &[f32], defective: &[f32]) -> Vec<Operating> {
    let mut thresholds = normal.iter().chain(defective).copied().filter(|score| score.is_finite()).collect::<Vec<_>>();
    thresholds.sort_by(|a, b| b.total_cmp(a));
    thresholds.dedup();
    let share = |scores: &[f32], threshold: f32| {
        scores.iter().filter(|score| rejects(**score, threshold)).count() as f64 / scores.len().max(1) as f64
    };
    let below = thresholds.last().map(|least| least.next_down());
    let at = |threshold: f32| Operating {
        threshold,
        false_rejects: share(normal, threshold),
        detected: share(defective, threshold),
    };
    thresholds.into_iter().chain(below).map(at).collect()
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "costs {}, {}, {} defective", self.miss, self.false_reject, percent(self.defect_rate))
    }
}

impl Costs {
    /// The expected cost per part.
    pub fn of(&self, at: &Operating) -> f64 {
        self.defect_rate * self.miss * (1.0 - at.detected)
            + (1.0 - self.defect_rate) * self.false_reject * at.false_rejects
    }

    /// The cheapest threshold, and of several the one with the fewest false rejects; `set` is the one that was set.
    pub fn optimum(&self, roc: &[Operating], set: f32) -> Option<Optimum> {
        let best = roc.iter().min_by(|a, b| self.of(a).total_cmp(&self.of(b)))?;
        // The operating point of a threshold is that of the next one below it.
        let of_set = roc.iter().find(|at| at.threshold <= set).or(roc.last())?;
        Some(Optimum { threshold: best.threshold, cost: self.of(best), cost_of_set: self.of(of_set) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_are_named_and_what_is_left_out_is_counted_among_all() {
        let files = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let other = |file: &str| OtherProduct { file: file.into(), product: "gear".into() };
        let one = Defective { files, scores: vec![1.0, 3.0, f32::NAN, 2.0], others: vec![other("x")] };
        assert_eq!(one.farthest(3).iter().map(|(file, _)| *file).collect::<Vec<_>>(), ["c", "b", "d"]);
        assert_eq!(
            one.others_told("cap").unwrap(),
            "1 of 5 images of known defects clearly shows another product than 'cap'"
        );
        assert_eq!(Defective { others: Vec::new(), ..one }.others_told("cap"), None);
    }

    #[test]
    fn the_interval_is_that_of_clopper_and_pearson() {
        // Of 10 of 10 the lower bound is 0.025^(1/10); of 0 of 10 the upper one is 1 minus that.
        let (low, high) = clopper_pearson(10, 10);
        assert!((low - 0.025f64.powf(0.1)).abs() < 1e-9 && high == 1.0);
        let (low, high) = clopper_pearson(0, 10);
        assert!(low == 0.0 && (high - (1.0 - 0.025f64.powf(0.1))).abs() < 1e-9);
        // 7 of 10, from tables.
        let (low, high) = clopper_pearson(7, 10);
        assert!((low - 0.3475).abs() < 1e-4 && (high - 0.9333).abs() < 1e-4, "{low} {high}");
        let found = Detection::new(&[1.0, 2.0, f32::NAN, f32::INFINITY], 1.5);
        assert_eq!((found.images, found.detected), (4, 3));
    }

    #[test]
    fn a_cheaper_threshold_is_found_where_there_is_one() {
        let (normal, defective) = ([0.1, 0.2, 0.3, 0.9], [0.5, 0.8, 1.0]);
        let curve = roc(&normal, &defective);
        assert_eq!((curve[0].false_rejects, curve[0].detected), (0.0, 0.0));
        assert_eq!(curve.last().map(|at| (at.false_rejects, at.detected)), Some((1.0, 1.0)));
        let dear_miss = Costs { miss: 100.0, false_reject: 1.0, defect_rate: 0.1 };
        let best = dear_miss.optimum(&curve, 0.9).unwrap();
        assert_eq!(best.threshold, 0.3);
        assert!((best.cost - 0.9 * 0.25).abs() < 1e-12 && (best.cost_of_set - 10.0 * 2.0 / 3.0).abs() < 1e-12);
        let dear_reject = Costs { miss: 1.0, false_reject: 100.0, defect_rate: 0.1 };
        assert_eq!(dear_reject.optimum(&curve, 0.9).unwrap().threshold, 0.9);
    }
}
