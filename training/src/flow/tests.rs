//! The forward pass against what it must be: its log-determinant is the Jacobian's, and weights survive the way to the
//! device and back.

use burn::backend::Flex;
use ndarray::{Array2, Axis};

use super::*;
use crate::export::tests::{Sizes, random_level};

fn level(channels: usize) -> LevelWeights {
    let sizes = Sizes { channels, grid: (3, 4), hidden: 7, code: 8, blocks: 3, classes: 2 };
    random_level("t", sizes, channels as u64)
}

/// Features at every grid position; `shift` is added to channel `channel` everywhere.
fn features(level: &LevelWeights, channel: usize, shift: f32) -> Array2<f32> {
    let mut features = Array2::from_shape_fn((12, level.mean.len()), |(p, d)| ((3 * p + 5 * d) as f32).sin());
    features.column_mut(channel).mapv_inplace(|value| value + shift);
    features
}

/// `log|det|` by elimination with pivots.
fn log_abs_determinant(mut a: Array2<f64>) -> f64 {
    let n = a.nrows();
    (0..n)
        .map(|k| {
            let pivot = (k..n).max_by(|&i, &j| a[[i, k]].abs().total_cmp(&a[[j, k]].abs())).unwrap();
            for column in 0..n {
                a.swap([k, column], [pivot, column]);
            }
            for row in k + 1..n {
                let factor = a[[row, k]] / a[[k, k]];
                for column in k..n {
                    a[[row, column]] -= factor * a[[k, column]];
                }
            }
            a[[k, k]].abs().ln()
        })
        .sum()
}

#[test]
fn the_log_determinant_is_that_of_the_numerical_jacobian() {
    // Small, lest a ReLU bends between the two points.
    const STEP: f32 = 1e-3;
    for channels in [2, 5, 6] {
        let level = level(channels);
        let device = Default::default();
        let z = |channel, shift: f32| {
            // The statistics are divided out: what is differentiated is z after the standardised features.
            let features = features(&level, channel, shift * level.std[channel]);
            level.latents::<Flex>(features.view(), &device).unwrap()
        };
        let (_, logdet) = z(0, 0.0);
        let slopes = (0..channels)
            .map(|channel| (z(channel, STEP).0 - z(channel, -STEP).0).mapv(f64::from) / f64::from(2.0 * STEP))
            .collect::<Vec<_>>();
        for p in 0..12 {
            let jacobian = Array2::from_shape_fn((channels, channels), |(i, j)| slopes[j][[p, i]]);
            let numerical = log_abs_determinant(jacobian);
            let difference = (f64::from(logdet[p]) - numerical).abs();
            assert!(difference < 5e-3, "{channels} channels, position {p}: {} against {numerical}", logdet[p]);
        }
    }
}

#[test]
fn the_position_decides_what_the_flow_does() {
    let level = level(6);
    let same = Array2::from_elem((12, 6), 0.3);
    let (z, _) = level.latents::<Flex>(same.view(), &Default::default()).unwrap();
    for (p, q) in (0..12).flat_map(|p| (0..p).map(move |q| (p, q))) {
        assert_ne!(z.index_axis(Axis(0), p), z.index_axis(Axis(0), q), "positions {p} and {q}");
    }
}
