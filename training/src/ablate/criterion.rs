//! The slides' anomaly maps: how unlikely the features of a position are, how unsure their class, and the product of both.
//!
//! Per level `v`, the log-likelihood per channel or the entropy's negative, becomes `exp(v - max v)`; levels are brought to one grid and
//! added, the sum taken from its maximum, smoothed. The authors take both maxima over the whole test set; here they are those of the held out
//! normal images of the product, so that an image's score does not depend on others. The highest value of a map is the image's score.

use hgad::bundle::InputSize;
use hgad::inspect::{bilinear, gaussian};
use ndarray::{Array1, Array2};

use super::table::Criterion;
use crate::flow::LevelWeights;
use crate::latents::Latents;

/// The authors' smoothing, for pictures of 256 pixels.
const SIGMA: f64 = 4.0 / 256.0;
/// Maps have every so many-th of the network's pixels in each direction.
const COARSER: usize = 2;

/// Two values at every position of every level of one image: log-likelihoods per channel and negative entropies, in nats.
pub struct Values {
    /// Log-likelihoods, level by level.
    logps: Vec<Array1<f32>>,
    /// Negative entropies, level by level.
    sureness: Vec<Array1<f32>>,
}

impl Values {
    /// Of the latents of an image, level by level. `class` is given where the likelihood of the own class was learned.
    pub fn of(levels: &[LevelWeights], latents: &[Latents], class: Option<usize>) -> Self {
        let pairs = || levels.iter().zip(latents);
        Values {
            logps: pairs().map(|(level, latents)| latents.log_likelihood(&level.centers, class)).collect(),
            sureness: pairs().map(|(level, latents)| -latents.entropy(&level.centers)).collect(),
        }
    }
}

/// The grid `(H, W)` of the maps of a network with this input.
pub fn grid(size: InputSize) -> (usize, usize) {
    (size.height.div_ceil(COARSER), size.width.div_ceil(COARSER))
}

/// Brings levels to the maps' grid, and smooths.
pub struct Composer {
    /// Per level, rows and columns.
    grids: Vec<(usize, usize)>,
    /// Per level, the matrices that take it to the maps' grid.
    to: Vec<[Array2<f32>; 2]>,
    smooth: [Array2<f32>; 2],
}

/// What is the highest of a product's held out normal images: of every level's values, and of their sum.
struct Highest {
    levels: Vec<f32>,
    sum: f32,
}

/// The constants of one product.
pub struct Constants {
    logps: Highest,
    sureness: Highest,
}

impl Composer {
    /// For levels with these grids.
    pub fn new(levels: &[LevelWeights], size: InputSize) -> Self {
        let (h, w) = grid(size);
        let grids = levels.iter().map(|level| level.grid).collect::<Vec<_>>();
        let to = grids.iter().map(|(rows, columns)| [bilinear(h, *rows), bilinear(w, *columns)]).collect();
        Composer { grids, to, smooth: [gaussian(h, SIGMA * h as f64), gaussian(w, SIGMA * w as f64)] }
    }

    /// The constants of a product whose normal images have these values.
    pub fn constants(&self, normals: &[Values]) -> Constants {
        let highest = |part: fn(&Values) -> &[Array1<f32>]| {
            let of_level = |l: usize| normals.iter().flat_map(|values| &part(values)[l]).fold(f32::NEG_INFINITY, most);
            let levels = (0..self.grids.len()).map(of_level).collect::<Vec<_>>();
            let sums = normals.iter().map(|values| self.sum(part(values), &levels).fold(f32::NEG_INFINITY, most));
            let sum = sums.fold(f32::NEG_INFINITY, f32::max);
            Highest { levels, sum }
        };
        Constants { logps: highest(|values| &values.logps), sureness: highest(|values| &values.sureness) }
    }

    /// The map `(H, W)` of an image; larger is worse.
    pub fn map(&self, values: &Values, constants: &Constants, criterion: Criterion) -> Array2<f32> {
        let logps = || self.anomaly(&values.logps, &constants.logps);
        let entropy = || self.anomaly(&values.sureness, &constants.sureness);
        match criterion {
            Criterion::Logps => logps(),
            Criterion::Entropy => entropy(),
            Criterion::Both => logps() * entropy(),
        }
    }

    fn anomaly(&self, levels: &[Array1<f32>], highest: &Highest) -> Array2<f32> {
        // An image may be more normal than any that was held out: then there is nothing to see.
        let below = self.sum(levels, &highest.levels).mapv(|sum| {
            let below = highest.sum - sum;
            if below < 0.0 { 0.0 } else { below }
        });
        self.smooth[0].dot(&below).dot(&self.smooth[1].t())
    }

    fn sum(&self, levels: &[Array1<f32>], highest: &[f32]) -> Array2<f32> {
        let on_grid = |l: usize| {
            let normal = levels[l].mapv(|value| (value - highest[l]).exp());
            let normal = normal.into_shape_with_order(self.grids[l]).expect("a level has a value for each position");
            let [rows, columns] = &self.to[l];
            rows.dot(&normal).dot(&columns.t())
        };
        let maps = (0..levels.len()).map(on_grid);
        maps.reduce(|sum, map| sum + map).unwrap_or_default()
    }
}

fn most(most: f32, value: &f32) -> f32 {
    most.max(*value)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_position_that_is_unlikely_or_unsure_stands_out() {
        let composer = Composer {
            grids: vec![(2, 2), (1, 1)],
            to: vec![[bilinear(2, 2), bilinear(2, 2)], [bilinear(2, 1), bilinear(2, 1)]],
            smooth: [Array2::eye(2), Array2::eye(2)],
        };
        let values = |odd: f32, unsure: f32| Values {
            logps: vec![array![0.5, 0.5, odd, 0.5], array![-1.0]],
            sureness: vec![array![-unsure, 0.0, 0.0, 0.0], array![0.0]],
        };
        let constants = composer.constants(&[values(0.5, 0.0), values(0.4, 0.1)]);
        let map = |criterion| composer.map(&values(-0.5, 0.7), &constants, criterion);
        let unlikely = 1.0 - (-1f32).exp();
        let unsure = 1.0 - (-0.7f32).exp();
        let close = |a: Array2<f32>, b: Array2<f32>| assert!((&a - &b).iter().all(|d| d.abs() < 1e-6), "{a} not {b}");
        close(map(Criterion::Logps), array![[0.0, 0.0], [unlikely, 0.0]]);
        close(map(Criterion::Entropy), array![[unsure, 0.0], [0.0, 0.0]]);
        close(map(Criterion::Both), array![[0.0, 0.0], [0.0, 0.0]]);
        // More normal than all that were held out is not anomalous.
        close(composer.map(&values(0.9, 0.0), &constants, Criterion::Logps), Array2::zeros((2, 2)));
    }
}
