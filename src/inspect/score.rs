//! One number per frame, and the constants that give it its meaning.
//!
//! A position's distance ([`super::mixture`] or [`super::cells`]) is measured against what is usual: for normal parts at that position
//! ([`fit_profile`], when the model is trained), and for normal parts of this line over the whole level
//! ([`fit_reference`], when it is calibrated). The authors normalise by maxima over the whole test set instead; a line has
//! no test set, and here a frame's score depends on that frame alone.

use std::borrow::Borrow;

use ndarray::{Array2, Array3, s};

use super::Mask;
use super::anomaly_map::gaussian;
use crate::bundle::{Distance, DistanceProfile, ScoreReference};

/// The share of the map's pixels whose mean is the score: a defect's, not a single pixel's. What lies far from a cell's
/// Gaussian does so over a wider area.
fn top_share(distance: Distance) -> f64 {
    match distance {
        Distance::Centers => 0.01,
        Distance::Cells => 0.05,
        // The maximum, as those who made the network have it.
        Distance::Map => 0.0,
    }
}

/// Profiles are smoothed over this share of the grid: a part does not lie to the pixel where its neighbour lay.
const PROFILE_BLUR: f64 = 1.0 / 32.0;

/// A position's deviation is at least this share of the whole level's: where all normal parts of the training set are
/// alike, as on a bare background, the next one need not be.
const LEAST_DEVIATION: f32 = 0.5;

/// Where all distances are equal, a deviation is this: a frame that differs stands out, and nothing is divided by 0.
const NO_DEVIATION: f32 = 1e-6;

/// The score of an anomaly map's values, of which there is one at least: the mean of their highest 1%, of 5% where
/// distances are measured from the cells' Gaussians, or the highest where the network gives the map itself. They are put in another
/// order.
pub(super) fn score(values: &mut [f32], distance: Distance) -> f32 {
    let count = ((values.len() as f64 * top_share(distance)).round() as usize).clamp(1, values.len());
    values.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
    (values[..count].iter().map(|value| f64::from(*value)).sum::<f64>() / count as f64) as f32
}

/// The highest value of every level's map `(h, w)` where it counts, in standard deviations of normal parts on this line. `counts[l]`
/// says where that is; without, everywhere.
pub(super) fn levels(maps: &[Array2<f32>], reference: &ScoreReference, counts: Option<&[Array2<bool>]>) -> Vec<f32> {
    maps.iter().enumerate().map(|(l, map)| level(map, l, reference, counts)).collect()
}

/// The same of level `l` alone.
pub(super) fn level(map: &Array2<f32>, l: usize, reference: &ScoreReference, counts: Option<&[Array2<bool>]>) -> f32 {
    let highest = counted(map, counts.map(|counts| &counts[l])).fold(f32::NEG_INFINITY, f32::max);
    (highest - reference.mean[l]) / reference.deviation[l]
}

/// Where an anomaly map has its maximum: the middle of that pixel, in shares of the map's columns and rows. `None` for a map
/// without a number.
pub fn place(map: &Array2<f32>) -> Option<(f32, f32)> {
    let numbers = map.indexed_iter().filter(|(_, value)| !value.is_nan());
    let ((row, column), _) = numbers.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    Some(((column as f32 + 0.5) / map.ncols() as f32, (row as f32 + 0.5) / map.nrows() as f32))
}

/// What distances are usual at every position of one level, from normal parts: `distances[y][i]` is the map `(h, w)` of
/// normal part i of class y. Every class needs a part.
pub fn fit_profile(distances: &[Vec<Array2<f32>>]) -> DistanceProfile {
    let (h, w) = distances[0][0].dim();
    let (rows, columns) = (gaussian(h, PROFILE_BLUR * h as f64), gaussian(w, PROFILE_BLUR * w as f64));
    let smooth = |map: Array2<f64>| rows.dot(&map.mapv(|value| value as f32)).dot(&columns.t());
    let mut profile = DistanceProfile {
        mean: Array3::zeros((distances.len(), h, w)),
        deviation: Array3::zeros((distances.len(), h, w)),
    };
    for (class, maps) in distances.iter().enumerate() {
        let n = maps.len() as f64;
        let mean = maps.iter().fold(Array2::zeros((h, w)), |sum, map| sum + map.mapv(f64::from)) / n;
        let squares =
            maps.iter().fold(Array2::zeros((h, w)), |sum, map| sum + (map.mapv(f64::from) - &mean).mapv(|d| d * d));
        let (_, whole) = moments(maps.iter().flatten().copied());
        let deviation = smooth((squares / n).mapv(f64::sqrt));
        profile.deviation.slice_mut(s![class, .., ..]).assign(&deviation.mapv(|d| d.max(LEAST_DEVIATION * whole)));
        profile.mean.slice_mut(s![class, .., ..]).assign(&smooth(mean));
    }
    profile
}

/// The constants of one class, from the standardised distances of normal frames: `frames[i][l]` is level l of frame i,
/// `(h, w)`. At least one frame is needed. What `mask` ignores does not count: a chain that moves beside the part says nothing of
/// parts.
pub fn fit_reference(frames: &[impl Borrow<[Array2<f32>]>], mask: Option<&Mask>) -> ScoreReference {
    let level = |l: usize| {
        let counts = counts_on(mask, &frames[0].borrow()[l]);
        moments(frames.iter().flat_map(|frame| counted(&frame.borrow()[l], counts.as_ref())))
    };
    let (mean, deviation) = (0..frames[0].borrow().len()).map(level).unzip();
    ScoreReference { mask: mask.cloned(), ..ScoreReference::new(mean, deviation) }
}

/// Which positions of a map count; none: all.
fn counts_on(mask: Option<&Mask>, map: &Array2<f32>) -> Option<Array2<bool>> {
    mask.map(|mask| mask.on(map.dim()))
}

fn counted<'a>(map: &'a Array2<f32>, counts: Option<&'a Array2<bool>>) -> impl Iterator<Item = f32> + Clone {
    map.indexed_iter().filter(move |(at, _)| counts.is_none_or(|counts| counts[*at])).map(|(_, value)| *value)
}

/// Mean and standard deviation of values, of which there is one at least.
fn moments(values: impl Iterator<Item = f32> + Clone) -> (f32, f32) {
    let values = || values.clone().map(f64::from);
    let (count, sum) = values().fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    let mean = sum / count;
    let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean as f32, (variance.sqrt() as f32).max(NO_DEVIATION))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::mask::tests::mask;
    use ndarray::{Axis, array};

    #[test]
    fn the_score_is_the_mean_of_the_highest_values() {
        let values = (0..400).map(|value| value as f32).collect::<Vec<_>>();
        let score = |mut values: Vec<f32>, distance| score(&mut values, distance);
        assert_eq!(score(values.clone(), Distance::Centers), (396.0 + 397.0 + 398.0 + 399.0) / 4.0);
        assert_eq!(score(values.clone(), Distance::Cells), (380..400).sum::<i32>() as f32 / 20.0);
        assert_eq!(score(values.clone(), Distance::Map), 399.0);
        assert_eq!(score(vec![3.0; 4], Distance::Centers), 3.0);
        assert!(score(vec![-f32::NAN; 4], Distance::Cells).is_nan(), "what is not a number is no score to pass with");
    }

    #[test]
    fn the_place_of_a_defect_is_where_the_map_is_highest() {
        let map = array![[0.0, f32::NAN, 1.0, 0.0], [0.0, 0.0, 0.0, 7.0]];
        assert_eq!(place(&map), Some((0.875, 0.75)));
        assert_eq!(place(&array![[f32::NAN]]), None);
        let reference = ScoreReference::new(vec![1.0], vec![2.0]);
        assert_eq!(levels(&[map], &reference, None), [3.0]);
    }

    #[test]
    fn a_profile_is_each_class_s_mean_and_deviation_by_position() {
        // On a 2 x 2 grid the blur is far below a cell.
        let first = vec![array![[1.0, 5.0], [1.0, 1.0]], array![[3.0, 5.0], [1.0, 1.0]]];
        let profile = fit_profile(&[first, vec![array![[0.0, 0.0], [0.0, 0.0]]]]);
        assert_eq!(profile.mean.index_axis(Axis(0), 0), array![[2.0, 5.0], [1.0, 1.0]]);
        let whole = moments([1.0, 5.0, 1.0, 1.0, 3.0, 5.0, 1.0, 1.0].into_iter()).1;
        let least = LEAST_DEVIATION * whole;
        assert_eq!(profile.deviation.index_axis(Axis(0), 0), array![[1.0, least], [least, least]]);
        assert!(profile.deviation.iter().all(|deviation| *deviation > 0.0), "also where all parts are alike");
    }

    #[test]
    fn a_reference_is_each_level_s_mean_and_deviation() {
        let frames = [vec![array![[1.0, 2.0]], array![[7.0]]], vec![array![[3.0, 4.0]], array![[7.0]]]];
        let reference = fit_reference(&frames, None);
        assert_eq!(reference.mean, [2.5, 7.0]);
        assert_eq!(reference.deviation, [1.25f32.sqrt(), NO_DEVIATION]);
    }

    #[test]
    fn what_is_ignored_moves_neither_constants_nor_levels() {
        let left = mask((8, 16), |x, _| x < 8);
        let frame = vec![array![[1.0, 900.0]], array![[1.0, 2.0, 3.0, 900.0], [4.0, 5.0, 600.0, 700.0]]];
        let reference = fit_reference(std::slice::from_ref(&frame), Some(&left));
        assert_eq!((reference.mean[0], reference.mean[1], &reference.mask), (1.0, 3.0, &Some(left.clone())));
        let constants = ScoreReference { mean: vec![0.0; 2], deviation: vec![1.0; 2], ..reference };
        let counts = [(1, 2), (2, 4)].map(|grid| left.on(grid));
        assert_eq!(levels(&frame, &constants, Some(&counts)), [1.0, 5.0]);
    }
}
