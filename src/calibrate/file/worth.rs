//! What its threshold is worth: what set it, which rate that promises, and whether the file's own scores give it.

use serde::{Deserialize, Serialize};

use super::Calibration;
use crate::calibrate::threshold::{Aim, percent};
use crate::calibrate::{normals, suitable};
use crate::print;

/// Fewer parts set a threshold only for who wants to try how things work: of so many, all of which pass, a line that rejects a third of its
/// good parts is within the interval of 95%.
pub const FEWEST_PARTS: usize = 10;

/// A threshold that nobody can work out again from the calibration's own scores, and what it is, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unproven {
    /// Somebody wrote it by hand.
    #[serde(rename = "threshold_by_hand")]
    ByHand(String),
    /// It is the cheapest for its costs, which the scores of defects made that are not in the file.
    #[serde(rename = "threshold_from_costs")]
    FromCosts(String),
}

impl Unproven {
    /// What it is.
    pub fn told(&self) -> &str {
        let (Unproven::ByHand(told) | Unproven::FromCosts(told)) = self;
        told
    }
}

impl std::fmt::Display for Unproven {
    /// What set it, and what it is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = if matches!(self, Unproven::ByHand(_)) { "by hand" } else { "from costs" };
        write!(f, "{by}: {}", self.told())
    }
}

impl Calibration {
    /// What the threshold is where it is not one that the file's own scores give: then somebody has written it by hand. Of one that costs
    /// set, the scores tell only how many normal parts it rejects ([`Calibration::unproven_threshold`]).
    pub fn foreign_threshold(&self) -> Option<String> {
        let parts = self.scores_of_parts();
        let threshold = self.threshold;
        if parts.is_empty() {
            return Some(format!("the threshold {threshold} has no scores of normal parts that it could come from"));
        }
        if self.costs.is_some() {
            return self.foreign_count(&parts);
        }
        // A file without costs has a rate: it is not read otherwise.
        let aim = Aim { frr: self.target_frr.unwrap_or(f64::NAN), confidence: self.confidence };
        // No calibration is written with an aim that its parts cannot reach.
        match aim.check().and_then(|()| aim.threshold(&parts)) {
            Ok(own) if own.value == threshold => None,
            Ok(own) => Some(format!("the threshold {threshold} is not the one that its scores give ({})", own.value)),
            Err(error) => Some(format!("the threshold {threshold} is not one that its scores give: {}", error.line())),
        }
    }

    /// Why nobody can work the threshold out again from what the file holds: it is another one, or the cheapest for its costs, which the
    /// scores of defects made, and those are not in the file. `None` where the scores give it.
    pub fn unproven_threshold(&self) -> Option<Unproven> {
        let from_costs = || {
            Unproven::FromCosts(format!(
                "the threshold {} comes from costs and from the scores of defects, and these are not in the file: nobody can work it out again",
                self.threshold
            ))
        };
        self.foreign_threshold().map(Unproven::ByHand).or_else(|| self.costs.map(|_| from_costs()))
    }

    /// What was asked for, and the nearest rate that its parts can set. `None` where costs set the threshold: then no rate is promised,
    /// whatever files of before format 4 say beside the costs.
    pub fn promise(&self) -> Option<(Aim, f64)> {
        let frr = self.target_frr.filter(|_| self.costs.is_none())?;
        Some((Aim { frr, confidence: self.confidence }, self.promised_frr?))
    }

    /// That its images are less like the normal parts that the model knows than those of another day are, in words; `None` where they are not,
    /// or where nothing tells it.
    pub fn unlike_training(&self) -> Option<String> {
        suitable::unlike(&self.class, &self.reference)
    }

    /// Why the rate that was asked for is not kept, in words, or why no line should inspect by its threshold; `None` where its parts can set
    /// it, or where none was asked for of enough of them.
    pub fn unkept_rate(&self) -> Option<String> {
        let Some((aim, promised)) = self.promise().filter(|(aim, promised)| *promised > aim.frr) else {
            let parts = print::counted(self.parts() as u64, "part");
            return (self.parts() < FEWEST_PARTS)
                .then(|| format!("it comes from {parts}, which is too few to inspect by"));
        };
        let range = self.realised_frr.map(|(low, high)| format!(" ({:.1}% to {:.1}%)", 100.0 * low, 100.0 * high));
        let too_few = if self.parts() < FEWEST_PARTS { "; so few are no threshold to inspect by" } else { "" };
        Some(format!(
            "{} cannot set {} false rejects, which {} can: the highest score is the threshold, {:.1}% on average{}{too_few}",
            print::counted(self.parts() as u64, "part"),
            percent(aim.frr),
            aim.parts_needed(),
            100.0 * promised,
            range.unwrap_or_default()
        ))
    }

    /// How many of its normal parts the threshold rejects, and how many there are.
    pub fn rejected_of_own(&self) -> (usize, usize) {
        let parts = self.scores_of_parts();
        (parts.iter().filter(|score| self.rejects(**score)).count(), parts.len())
    }

    /// What is wrong with a threshold that costs are said to have set: how many of these scores are above it is told beside it.
    fn foreign_count(&self, parts: &[f32]) -> Option<String> {
        // Below it, more would be found at no cost.
        if parts.iter().all(|score| *score < self.threshold) {
            return Some(format!(
                "the threshold {} is not the one that costs gave: it is above every normal part",
                self.threshold
            ));
        }
        let ((rejected, of), told) = (self.rejected_of_own(), self.normal_rejected.map(|count| count as f64));
        // Before format 4 the file told the rate that such a count leads to.
        let told = told.or(self.promised_frr.map(|rate| rate * (of + 1) as f64 - 1.0)).unwrap_or(f64::NAN);
        // Also what is no number is another count.
        let is_own = (told - rejected as f64).abs() < 1e-6;
        (!is_own).then(|| {
            format!(
                "the threshold {} is not the one that costs gave: it rejects {rejected} of {}, and the file says {told:.0}",
                self.threshold,
                print::counted(of as u64, "normal part")
            )
        })
    }

    /// The highest score of each normal part.
    fn scores_of_parts(&self) -> Vec<f32> {
        let scores = self.images.iter().map(|image| image.score).enumerate().collect::<Vec<_>>();
        normals::highest(&scores, &normals::parts_of(self.images.iter().map(|image| image.group.as_ref())))
    }

    /// Whether a part with `score` is rejected. What is not a number is rejected.
    pub fn rejects(&self, score: f32) -> bool {
        score.is_nan() || score > self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{of_ten, sample};
    use super::*;
    use crate::calibrate::defects::Costs;

    #[test]
    fn nothing_that_is_written_beside_a_threshold_makes_a_foreign_one_its_own() {
        let costs = Some(Costs { miss: 50.0, false_reject: 1.0, defect_rate: 0.01 });
        assert_eq!(of_ten(|_| {}).unproven_threshold(), None);
        let set_by_costs = of_ten(|own| own.costs = costs);
        assert_eq!(set_by_costs.foreign_threshold(), None);
        let unproven = set_by_costs.unproven_threshold();
        assert!(
            matches!(&unproven, Some(Unproven::FromCosts(told)) if told.contains("comes from costs")),
            "{unproven:?}"
        );
        let told = |own: &mut Calibration, count| {
            (own.costs, own.target_frr, own.promised_frr, own.normal_rejected) = (costs, None, None, count);
        };
        assert_eq!(of_ten(|own| told(own, Some(1))).foreign_threshold(), None);
        for count in [None, Some(0), Some(2)] {
            let foreign = of_ten(|own| told(own, count)).foreign_threshold().unwrap();
            assert!(foreign.contains("it rejects 1 of 10 normal parts"), "{foreign}");
        }
        let changes: [fn(&mut Calibration); 7] = [
            |_| {},
            |own| own.confidence = Some(0.999_999),
            |own| own.confidence = Some(f64::NAN),
            |own| own.target_frr = Some(2.0),
            |own| own.target_frr = Some(f64::NAN),
            |own| own.images.clear(),
            |own| own.images[..2].iter_mut().for_each(|image| image.score = f32::NAN),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            for costs in [None, costs] {
                let foreign = of_ten(|own| {
                    (own.threshold, own.costs) = (1000.0, costs);
                    change(own);
                });
                let told = foreign.foreign_threshold().unwrap_or_else(|| panic!("change {number}, {costs:?}"));
                assert!(
                    told.contains("the threshold 1000") && foreign.unproven_threshold() == Some(Unproven::ByHand(told))
                );
            }
        }
    }

    #[test]
    fn what_is_not_a_number_is_rejected() {
        let calibration = sample();
        assert!(calibration.rejects(f32::NAN) && calibration.rejects(1.0));
        assert!(!calibration.rejects(calibration.threshold) && !calibration.rejects(0.0));
    }
}
