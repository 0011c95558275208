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

/// The same whose first and last blocks see 3x3 positions, and none is told its own.
fn convolutional(channels: usize) -> LevelWeights {
    let mut level = level(channels);
    for (k, block) in level.blocks.iter_mut().enumerate() {
        block.side = if k % 2 == 0 { 3 } else { 1 };
        let (d1, h, seen) = (channels.div_ceil(2), block.b1.len(), block.side.pow(2));
        let values = |rows: usize, columns: usize, scale: f32| {
            Array2::from_shape_fn((rows, columns), |(i, j)| scale * ((7 * i + 3 * j + k) as f32).cos())
        };
        block.w1 = values(seen * d1, h, 0.3);
        block.w2 = values(seen * h, block.b2.len(), 0.3);
    }
    level
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
            level.on::<Flex>(&device).latents(features.view()).unwrap()
        };
        let logdet = z(0, 0.0).logdet;
        let slopes = (0..channels)
            .map(|channel| (z(channel, STEP).z - z(channel, -STEP).z).mapv(f64::from) / f64::from(2.0 * STEP))
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
fn the_log_determinant_of_a_convolutional_flow_is_that_of_its_whole_grid() {
    const STEP: f32 = 1e-3;
    for channels in [2, 5] {
        let (level, device) = (convolutional(channels), Default::default());
        let n = 12 * channels;
        let z = |place: usize, shift: f32| {
            let mut features = features(&level, 0, 0.0);
            features[[place / channels, place % channels]] += shift * level.std[place % channels];
            level.on::<Flex>(&device).latents(features.view()).unwrap()
        };
        let slope = |place| {
            ((z(place, STEP).z - z(place, -STEP).z).mapv(f64::from) / f64::from(2.0 * STEP)).into_raw_vec_and_offset().0
        };
        let slopes = (0..n).map(slope).collect::<Vec<_>>();
        let numerical = log_abs_determinant(Array2::from_shape_fn((n, n), |(i, j)| slopes[j][i]));
        let logdet = z(0, 0.0).logdet.iter().map(|value| f64::from(*value)).sum::<f64>();
        assert!((logdet - numerical).abs() < 5e-2, "{channels} channels: {logdet} against {numerical}");
    }
}

#[test]
fn a_position_is_seen_by_its_neighbours_alone() {
    let (mut level, device) = (convolutional(4), Default::default());
    level.blocks.truncate(2);
    let before = level.on::<Flex>(&device).latents(features(&level, 0, 0.0).view()).unwrap().z;
    let mut moved = features(&level, 0, 0.0);
    // The corner of a grid of 3 rows and 4 columns: two layers of 3x3 reach two positions far.
    moved[[0, 0]] += level.std[0];
    let after = level.on::<Flex>(&device).latents(moved.view()).unwrap().z;
    let differs = |p: usize| before.row(p).iter().zip(after.row(p)).any(|(a, b)| (a - b).abs() > 1e-5);
    let reached = (0..12).filter(|&p| differs(p)).collect::<Vec<_>>();
    assert_eq!(reached, [0, 1, 2, 4, 5, 6, 8, 9, 10]);
}

#[test]
fn the_position_decides_what_the_flow_does() {
    let level = level(6);
    let same = Array2::from_elem((12, 6), 0.3);
    let z = level.on::<Flex>(&Default::default()).latents(same.view()).unwrap().z;
    for (p, q) in (0..12).flat_map(|p| (0..p).map(move |q| (p, q))) {
        assert_ne!(z.index_axis(Axis(0), p), z.index_axis(Axis(0), q), "positions {p} and {q}");
    }
}
