//! One number per frame, and the constants that give it its meaning.
//!
//! The authors normalise every map by its maximum over the whole test set. A line has no test set, so those maxima are
//! quantiles over normal parts, fixed per class and level when a model is calibrated. A frame's score then depends on
//! that frame alone.

use ndarray::Array2;

use super::anomaly_map::MapComposer;
use super::mixture::LevelMaps;
use crate::bundle::{InputSize, ScoreReference};

/// Which quantile of normal positions stands for their maximum.
const TOP_QUANTILE: f64 = 0.999;

/// The share of the map's pixels whose mean is the score: a defect's, not a single pixel's.
const TOP_SHARE: f64 = 0.01;

/// The composed maps are smooth: their quantiles are taken from every 4th pixel of every 4th row.
const STRIDE: usize = 4;

/// The score of an anomaly map: the mean of its highest 1% of pixels.
pub(super) fn score(map: &Array2<f32>) -> f32 {
    let mut values = map.iter().copied().collect::<Vec<_>>();
    let count = ((values.len() as f64 * TOP_SHARE).round() as usize).clamp(1, values.len());
    values.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
    (values[..count].iter().map(|value| f64::from(*value)).sum::<f64>() / count as f64) as f32
}

/// Fits the constants of one class from the maps of normal frames: `frames[i][l]` is level l of frame i.
///
/// `size` is the network's input size. At least one frame is needed.
pub fn fit_reference(frames: &[Vec<LevelMaps>], size: InputSize) -> ScoreReference {
    let grids = frames[0].iter().map(|level| level.log_likelihood.dim()).collect::<Vec<_>>();
    let composer = MapComposer::new(size, &grids);
    let tops = |map_of: fn(&LevelMaps) -> &Array2<f32>| -> Vec<f32> {
        (0..grids.len()).map(|l| top_quantile(frames.iter().flat_map(|frame| map_of(&frame[l])).copied())).collect()
    };
    let ceiling = |map_of: fn(&LevelMaps) -> &Array2<f32>, tops: &[f32]| -> f32 {
        top_quantile(frames.iter().flat_map(|frame| {
            let map = composer.normality(frame.iter().map(map_of).zip(tops.iter().copied()));
            map.slice(ndarray::s![..;STRIDE, ..;STRIDE]).iter().copied().collect::<Vec<_>>()
        }))
    };
    let log_likelihood = tops(|level| &level.log_likelihood);
    let negentropy = tops(|level| &level.negentropy);
    ScoreReference {
        likelihood_ceiling: ceiling(|level| &level.log_likelihood, &log_likelihood),
        negentropy_ceiling: ceiling(|level| &level.negentropy, &negentropy),
        log_likelihood,
        negentropy,
    }
}

fn top_quantile(values: impl Iterator<Item = f32>) -> f32 {
    let mut values = values.collect::<Vec<_>>();
    let rank = ((values.len() - 1) as f64 * TOP_QUANTILE).round() as usize;
    *values.select_nth_unstable_by(rank, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_the_mean_of_the_top_percent() {
        let map = Array2::from_shape_fn((20, 20), |(y, x)| (y * 20 + x) as f32);
        assert_eq!(score(&map), (396.0 + 397.0 + 398.0 + 399.0) / 4.0);
        assert_eq!(score(&Array2::from_elem((2, 2), 3.0)), 3.0);
    }

    #[test]
    fn quantiles_are_order_statistics() {
        assert_eq!(top_quantile((0..=1000).map(|v| v as f32)), 999.0);
        assert_eq!(top_quantile([5.0].into_iter()), 5.0);
    }
}
