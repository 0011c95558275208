//! The features of all taps as one vector per position: what methods without a flow measure in.

use hgad::bundle::LevelCenters;
use ndarray::{Array1, Array2, Array3, Axis, concatenate};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

use super::Lesson;
use crate::export::{FeatureLevel, Join, NetworkLevel, ToGrid};
use crate::features::LevelFeatures;

/// Single positions are too sharp: a part never lies to the cell where its neighbour lay.
const AVERAGED: bool = true;

/// The channels of all taps, each in units of how far it spreads within a product, as means over 3x3 positions on the last tap's
/// grid.
pub struct Joined<'l> {
    lesson: &'l Lesson<'l>,
    grid: (usize, usize),
    parts: Vec<Part<'l>>,
}

struct Part<'l> {
    features: &'l LevelFeatures,
    weights: Array2<f32>,
    offset: Array1<f32>,
    way: Option<ToGrid>,
}

impl<'l> Joined<'l> {
    /// All channels.
    pub fn new(lesson: &'l Lesson<'l>) -> Self {
        let levels = &lesson.features.levels;
        let grid = levels[levels.len() - 1].grid;
        let part = |features: &'l LevelFeatures| {
            let spread = spread(lesson, features);
            let (weights, offset) = (Array2::from_diag(&spread.mapv(f32::recip)), -&features.mean / &spread);
            Part { features, weights, offset, way: ToGrid::new(features.grid, grid, AVERAGED) }
        };
        Joined { lesson, grid, parts: levels.iter().map(part).collect() }
    }

    /// Positions of the grid.
    pub fn positions(&self) -> usize {
        self.grid.0 * self.grid.1
    }

    /// Leaves out all but so many channels, by chance from `seed`. Those that stay keep their order.
    pub fn keep(&mut self, channels: usize, seed: u64) {
        let all = self.parts.iter().map(|part| part.offset.len()).sum::<usize>();
        if channels >= all {
            return;
        }
        let mut kept = sample(&mut ChaCha8Rng::seed_from_u64(seed), all, channels).into_vec();
        kept.sort_unstable();
        let mut first = 0;
        self.parts.retain_mut(|part| {
            let own = part.offset.len();
            let rows = kept.iter().filter(|c| (first..first + own).contains(c)).map(|c| c - first).collect::<Vec<_>>();
            first += own;
            part.weights = part.weights.select(Axis(0), &rows);
            part.offset = part.offset.select(Axis(0), &rows);
            !rows.is_empty()
        });
    }

    /// The vectors of training image number `image`, `(positions, channels)`.
    pub fn vectors(&self, image: usize) -> Array2<f32> {
        let (height, width) = self.grid;
        let of_part = |part: &Part| {
            let mapped = part.features.image(image).dot(&part.weights.t()) + &part.offset;
            let Some(way) = &part.way else { return mapped };
            let (h, w) = part.features.grid;
            let mut on_grid = Array2::zeros((height * width, mapped.ncols()));
            for (channel, mut column) in mapped.columns().into_iter().zip(on_grid.columns_mut()) {
                let plane = channel.to_shape((h, w)).expect("an image has a row for each position");
                column.assign(&way.apply(plane.view()).flatten());
            }
            on_grid
        };
        let parts = self.parts.iter().map(of_part).collect::<Vec<_>>();
        let parts = parts.iter().map(|part| part.view()).collect::<Vec<_>>();
        concatenate(Axis(1), &parts).expect("all parts are on one grid")
    }

    /// The mean vector of every class `(Y, channels)`.
    pub fn class_means(&self) -> Array2<f32> {
        let means = self.parts.iter().map(|part| part.class_means(self.lesson)).collect::<Vec<_>>();
        let means = means.iter().map(|means| means.view()).collect::<Vec<_>>();
        concatenate(Axis(1), &means).expect("all taps have the same classes")
    }

    /// The levels for a bundle and how they are joined. Without `centers` every class has its mean alone.
    pub fn levels(self, centers: Option<LevelCenters>) -> (Vec<NetworkLevel>, Join) {
        let lesson = self.lesson;
        let level = |part: Part| {
            NetworkLevel::Features(FeatureLevel {
                centers: means_alone(part.class_means(lesson)),
                tap: part.features.tap.clone(),
                weights: part.weights,
                offset: part.offset,
            })
        };
        (self.parts.into_iter().map(level).collect(), Join { averaged: AVERAGED, centers })
    }
}

impl Part<'_> {
    fn class_means(&self, lesson: &Lesson) -> Array2<f32> {
        class_means(lesson, self.features).dot(&self.weights.t()) + &self.offset
    }
}

/// A mixture of one center for each class.
fn means_alone(mu: Array2<f32>) -> LevelCenters {
    let (classes, channels) = mu.dim();
    LevelCenters {
        mu,
        dmu: Array3::zeros((classes, 0, channels)),
        psi: Array1::zeros(classes),
        psi_in: Array2::zeros((classes, 1)),
    }
}

/// The mean features of every class at one tap `(Y, D)`.
fn class_means(lesson: &Lesson, features: &LevelFeatures) -> Array2<f32> {
    let mut sums = Array2::<f64>::zeros((lesson.classes, features.mean.len()));
    let mut counts = Array1::<f64>::zeros(lesson.classes);
    for (image, &class) in lesson.labels.iter().enumerate() {
        let values = features.image(image);
        sums.row_mut(class).scaled_add(1.0, &values.mapv(f64::from).sum_axis(Axis(0)));
        counts[class] += values.nrows() as f64;
    }
    (sums / counts.insert_axis(Axis(1))).mapv(|mean| mean as f32)
}

/// How far every channel spreads around its class's mean `(D)`, as a standard deviation above 0. Around the mean of all classes it
/// would be wide where products differ, and what is wide counts little.
fn spread(lesson: &Lesson, features: &LevelFeatures) -> Array1<f32> {
    let means = class_means(lesson, features).mapv(f64::from);
    let (mut squares, mut count) = (Array1::<f64>::zeros(features.mean.len()), 0.0);
    for (image, &class) in lesson.labels.iter().enumerate() {
        let centred = features.image(image).mapv(f64::from) - means.row(class);
        squares += &(&centred * &centred).sum_axis(Axis(0));
        count += centred.nrows() as f64;
    }
    // A channel that is constant within every class tells as much as its own deviation lets it.
    ndarray::Zip::from(&squares).and(&features.std).map_collect(|square, std| {
        let spread = (square / count).sqrt() as f32;
        spread.max(1e-3 * std)
    })
}
