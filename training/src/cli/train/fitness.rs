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

/// The class whose training images lie farthest from their centers at a level, and their mean distance: a mean over classes
/// would hide the one that was not fitted. What is not a number is the farthest.
pub fn farthest(profile: &DistanceProfile) -> (usize, f32) {
    // Without a sign, so that the order of floats puts what is not a number last.
    let distances = profile.mean.outer_iter().map(|of_class| of_class.mean().unwrap_or(f32::NAN).abs());
    distances.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, f32::NAN))
}

/// Why level number `level` is of no use, to one of `classes` at least, if it is of none. Where flows were fitted, `fit` tells its
/// likelihood losses, and how far the training images lie from their centers.
pub fn complaint(
    level: usize,
    classes: &[String],
    fit: Option<([f32; 2], &DistanceProfile)>,
    references: &[ScoreReference],
) -> Option<String> {
    let exceeds = |value: f32, most: f32| value.is_nan() || value > most;
    let text = |value: f32| fitted(value, 1, 9);
    if let Some((losses, profile)) = fit {
        let (class, far) = farthest(profile);
        if exceeds(far, FARTHEST) {
            return Some(format!(
                "normal images of '{}' lie {} from their centers, where 1 is usual",
                classes[class],
                text(far)
            ));
        }
        if let Some(loss) = losses.into_iter().find(|loss| exceeds(*loss, LARGEST_LOSS)) {
            return Some(format!("its likelihood loss is {}, where untrained flows have 0.7", text(loss)));
        }
    }
    let mut unlike = classes.iter().zip(references);
    let unlike =
        unlike.find(|(_, of)| exceeds(of.mean[level].abs(), MOST_UNLIKE) || exceeds(of.deviation[level], MOST_UNLIKE));
    unlike.map(|(class, of)| {
        format!(
            "held-out images of '{class}' differ from those it was trained on by {} deviations, plus or minus {}",
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
        let reference = |mean, deviation| vec![ScoreReference::new(vec![0.0, mean], vec![1.0, deviation])];
        let usual = reference(0.1, 1.2);
        let classes = ["nut", "cap"].map(str::to_owned);
        let complaint = |level, losses, profile: &_, references: &_| {
            complaint(level, &classes, Some((losses, profile)), references)
        };
        // One class of fifteen.
        let mut one = DistanceProfile { mean: Array3::ones((15, 3, 3)), deviation: Array3::ones((15, 3, 3)) };
        one.mean.index_axis_mut(ndarray::Axis(0), 9).fill(14.0);
        assert_eq!(farthest(&one), (9, 14.0));
        one.mean[[3, 0, 0]] = f32::NAN;
        assert_eq!(farthest(&one).0, 3);
        let mut worst = profile(1.0);
        worst.mean.index_axis_mut(ndarray::Axis(0), 1).fill(2.5);
        assert_eq!(complaint(1, [-1.0, -1.1], &profile(1.0), &usual), None);
        assert_eq!(complaint(1, [0.75, 0.73], &profile(0.93), &usual), None);
        let cases = [
            (complaint(1, [-1.0, -1.1], &profile(8430.9), &usual), "8430.9 from their centers"),
            (complaint(1, [-1.0, -1.1], &worst, &usual), "of 'cap' lie 2.5 from"),
            (complaint(1, [-1.0, -1.1], &profile(f32::NAN), &usual), "NaN from their centers"),
            (complaint(1, [2.3593e7, -1.1], &profile(1.0), &usual), "loss is 2.359e7"),
            (complaint(1, [-1.0, f32::NAN], &profile(1.0), &usual), "loss is NaN"),
            (
                complaint(1, [-1.0, -1.1], &profile(1.0), &reference(30.6, 932.0)),
                "of 'nut' differ from those it was trained on by 30.6 deviations",
            ),
        ];
        for (complaint, says) in cases {
            assert!(complaint.as_ref().is_some_and(|text| text.contains(says)), "{complaint:?} does not say {says}");
        }
        assert_eq!(complaint(0, [-1.0, -1.1], &profile(1.0), &reference(30.6, 932.0)), None);
        // Without a flow nothing lies at 1, and there are no losses; the held-out images tell all the same.
        assert_eq!(super::complaint(1, &classes, None, &usual), None);
        assert!(
            super::complaint(1, &classes, None, &reference(30.6, 932.0)).is_some_and(|text| text.contains("'nut'"))
        );
    }
}
