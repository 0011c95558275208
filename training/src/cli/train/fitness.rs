//! Whether what was learned is of any use: a fit that failed looks like any other until parts are judged with it.

use hgad::bundle::{DistanceProfile, ScoreReference};
use hgad::print::fitted;

/// A fitted flow turns normal features into standard Gaussians about their centers, which lie at a distance of about 1 (in
/// [`hgad::inspect::mixture::distance`]'s unit); 0.9 to 1.1 was seen where the fit was good, thousands where it was not.
const FARTHEST: f32 = 2.0;
/// Standardised features have a likelihood loss of about 0.7 before the first step.
const LARGEST_LOSS: f32 = 2.0;
/// Held-out parts in units of what is usual for the training's: about 0 plus or minus 1.
const MOST_UNLIKE: f32 = 10.0;

/// The mean distance of a level's training images from their centers.
pub fn distance(profile: &DistanceProfile) -> f32 {
    profile.mean.mean().unwrap_or(f32::NAN)
}

/// Why level number `level` is of no use, if it is of none. `losses` are its likelihood losses.
pub fn complaint(
    level: usize,
    losses: [f32; 2],
    profile: &DistanceProfile,
    references: &[ScoreReference],
) -> Option<String> {
    let exceeds = |value: f32, most: f32| value.is_nan() || value > most;
    let text = |value: f32| fitted(value, 1, 9);
    let far = distance(profile);
    if exceeds(far, FARTHEST) {
        return Some(format!("normal images lie {} from their centers, where 1 is usual", text(far)));
    }
    if let Some(loss) = losses.into_iter().find(|loss| exceeds(*loss, LARGEST_LOSS)) {
        return Some(format!("its likelihood loss is {}, where untrained flows have 0.7", text(loss)));
    }
    let unlike = references
        .iter()
        .find(|of| exceeds(of.mean[level].abs(), MOST_UNLIKE) || exceeds(of.deviation[level], MOST_UNLIKE));
    unlike.map(|of| {
        format!(
            "held-out images differ from those it was trained on by {} deviations, plus or minus {}",
            text(of.mean[level]),
            text(of.deviation[level])
        )
    })
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn a_fit_that_failed_is_told_from_one_that_did_not() {
        let profile = |mean| DistanceProfile {
            mean: Array3::from_elem((2, 3, 3), mean),
            deviation: Array3::from_elem((2, 3, 3), 0.1),
        };
        let reference =
            |mean, deviation| vec![ScoreReference { mean: vec![0.0, mean], deviation: vec![1.0, deviation] }];
        let usual = reference(0.1, 1.2);
        assert_eq!(complaint(1, [-1.0, -1.1], &profile(1.0), &usual), None);
        assert_eq!(complaint(1, [0.75, 0.73], &profile(0.93), &usual), None);
        let cases = [
            (complaint(1, [-1.0, -1.1], &profile(8430.9), &usual), "8430.9 from their centers"),
            (complaint(1, [-1.0, -1.1], &profile(f32::NAN), &usual), "NaN from their centers"),
            (complaint(1, [2.3593e7, -1.1], &profile(1.0), &usual), "loss is 2.359e7"),
            (complaint(1, [-1.0, f32::NAN], &profile(1.0), &usual), "loss is NaN"),
            (complaint(1, [-1.0, -1.1], &profile(1.0), &reference(30.6, 932.0)), "30.6 deviations"),
        ];
        for (complaint, says) in cases {
            assert!(complaint.as_ref().is_some_and(|text| text.contains(says)), "{complaint:?} does not say {says}");
        }
        assert_eq!(complaint(0, [-1.0, -1.1], &profile(1.0), &reference(30.6, 932.0)), None);
    }
}
