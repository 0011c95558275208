//! Distances of latents from the learned centers of the hierarchical mixture.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut2, Axis, Zip, concatenate};

use crate::bundle::LevelCenters;

/// How far every position `(h, w)` lies from the centers of class `class`, per channel:
/// `d = sqrt(-2/D logsumexp_i(c_i - |z - mu_i|^2 / 2))`, with `mu_i` the class's intra-class centers and `c_i` their
/// log-weights. One center alone gives the root mean square of `z - mu`; with several, the nearest ones count.
///
/// This is the latent part of the paper's `log p(x|y)`. Its other part, `log|det J|`, is left out: it says how dense the
/// *features* are, which is high for anything smooth, defect or not, and on real parts it hides what the latents
/// show (docs/calibration.md has the figures).
///
/// `z` is `(D, h, w)`.
pub fn distance(z: ArrayView3<f32>, centers: &LevelCenters, class: usize) -> Array2<f32> {
    let (_, h, w) = z.dim();
    let mut map = Array2::zeros((h, w));
    ClassMixture::new(centers, class).distance(z, &mut Products::default(), &mut map);
    map
}

/// How likely each class is: the mean over positions of `log p(y|z)`, with `p(y|z) = softmax_y(-|z - mu_y|^2 / 2)`. `z` is
/// `(D, h, w)`. All positions count, or those that `counts` `(h, w)` names.
pub fn class_evidence(z: ArrayView3<f32>, centers: &LevelCenters, counts: Option<&Array2<bool>>) -> Vec<f32> {
    let mut evidence = vec![0.0; centers.mu.nrows()];
    MainCenters::new(centers).evidence(z, counts, &mut Products::default(), &mut evidence);
    evidence
}

/// One class's centers, ready to measure distances from: see [`distance`].
pub(super) struct ClassMixture {
    /// `mu_i`, `(M, D)`.
    means: Array2<f32>,
    /// `c_i - |mu_i|^2 / 2`, `(M)`.
    constants: Vec<f32>,
}

/// The classes' main centers, ready to weigh classes by: see [`class_evidence`].
pub(super) struct MainCenters {
    /// `mu_y`, `(Y, D)`.
    mu: Array2<f32>,
    /// `|mu_y|^2 / 2`, `(Y)`.
    halves: Vec<f32>,
}

/// Working memory for one level after the other.
#[derive(Default)]
pub(super) struct Products {
    /// Centers times latents.
    values: Vec<f32>,
    /// One value for each position.
    sums: Vec<f32>,
}

impl ClassMixture {
    pub(super) fn new(centers: &LevelCenters, class: usize) -> Self {
        let main = centers.mu.row(class);
        let offsets = centers.dmu.index_axis(Axis(0), class);
        let means = concatenate![Axis(0), main.insert_axis(Axis(0)), &offsets + &main];
        let weights = log_softmax(centers.psi_in.row(class));
        let constants = means.outer_iter().zip(weights).map(|(mean, weight)| weight - 0.5 * mean.dot(&mean)).collect();
        ClassMixture { means, constants }
    }

    /// [`distance`], in `map`.
    pub(super) fn distance(&self, z: ArrayView3<f32>, room: &mut Products, map: &mut Array2<f32>) {
        let (d, h, w) = z.dim();
        let z = z.to_shape((d, h * w)).expect("a grid's rows follow one another");
        // By the binomial formula: one matrix product instead of a pass over the latents for each center.
        let (mut densities, norms) = room.multiply(&self.means, z.view());
        for (mut density, constant) in densities.outer_iter_mut().zip(&self.constants) {
            density += *constant;
        }
        norms.fill(0.0);
        for row in z.outer_iter() {
            norms.iter_mut().zip(row).for_each(|(norm, value)| *norm += value * value);
        }
        for ((distance, densities), norm) in map.iter_mut().zip(densities.columns()).zip(norms) {
            let square = -2.0 / d as f32 * (log_sum_exp(densities) - 0.5 * *norm);
            // The weights sum to 1, so it is below 0 by rounding alone. What is not a number must stay so: `max` would make it
            // 0, as normal as can be.
            *distance = if square < 0.0 { 0.0 } else { square.sqrt() };
        }
    }
}

impl MainCenters {
    pub(super) fn new(centers: &LevelCenters) -> Self {
        MainCenters { mu: centers.mu.clone(), halves: centers.mu.outer_iter().map(|mu| 0.5 * mu.dot(&mu)).collect() }
    }

    /// [`class_evidence`], in `evidence`, which has a place for each class.
    pub(super) fn evidence(
        &self,
        z: ArrayView3<f32>,
        counts: Option<&Array2<bool>>,
        room: &mut Products,
        evidence: &mut [f32],
    ) {
        let (d, h, w) = z.dim();
        let z = z.to_shape((d, h * w)).expect("a grid's rows follow one another");
        // `|z|^2` is the same for all classes and falls out of the softmax.
        let (mut logits, totals) = room.multiply(&self.mu, z.view());
        for (mut logits, half) in logits.outer_iter_mut().zip(&self.halves) {
            logits -= *half;
        }
        totals.iter_mut().zip(logits.columns()).for_each(|(total, logits)| *total = log_sum_exp(logits));
        for (evidence, mut logits) in evidence.iter_mut().zip(logits.outer_iter_mut()) {
            *evidence = match counts {
                Some(counts) => mean_where(logits.view(), totals, counts),
                None => {
                    logits -= &ArrayView1::from(&*totals);
                    logits.mean().unwrap_or(f32::NAN)
                }
            };
        }
    }
}

impl Products {
    /// `matrix` `(n, D)` times `z` `(D, P)`, and a place for each position.
    fn multiply(&mut self, matrix: &Array2<f32>, z: ArrayView2<f32>) -> (ArrayViewMut2<'_, f32>, &mut [f32]) {
        let (n, positions) = (matrix.nrows(), z.ncols());
        self.values.resize(self.values.len().max(n * positions), 0.0);
        self.sums.resize(self.sums.len().max(positions), 0.0);
        let values = &mut self.values[..n * positions];
        let mut product = ArrayViewMut2::from_shape((n, positions), values).expect("as many values as it has elements");
        general_mat_mul(1.0, matrix, &z, 0.0, &mut product);
        (product, &mut self.sums[..positions])
    }
}

/// The mean of `logit - total` over the positions that count.
fn mean_where(logits: ArrayView1<f32>, totals: &[f32], counts: &Array2<bool>) -> f32 {
    let values = logits.into_iter().zip(totals).zip(counts).filter(|(_, counts)| **counts);
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), ((logit, total), _)| (sum + logit - total, count + 1.0));
    sum / count
}

/// In how many standard deviations `distance` exceeds what is usual at each position; both `(h, w)`.
pub(crate) fn standardise(distance: &mut Array2<f32>, mean: ArrayView2<f32>, deviation: ArrayView2<f32>) {
    Zip::from(distance).and(mean).and(deviation).for_each(|distance, mean, deviation| {
        *distance = (*distance - mean) / deviation;
    });
}

fn log_sum_exp(terms: ArrayView1<f32>) -> f32 {
    let most = terms.fold(f32::NEG_INFINITY, |most, value| most.max(*value));
    most + terms.fold(0.0, |sum, value| sum + (value - most).exp()).ln()
}

fn log_softmax(logits: ArrayView1<f32>) -> Vec<f32> {
    let total = log_sum_exp(logits);
    logits.iter().map(|value| value - total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};

    fn two_classes() -> LevelCenters {
        LevelCenters {
            mu: array![[0.0, 0.0], [4.0, 0.0]],
            dmu: array![[[0.0, 3.0]], [[0.0, -3.0]]],
            psi: array![0.0, 0.0],
            psi_in: array![[0.0, 0.0], [1.0, -1.0]],
        }
    }

    #[test]
    fn the_distance_is_that_of_the_class_s_own_mixture() {
        let z = Array3::from_shape_vec((2, 1, 1), vec![1.0, 2.0]).unwrap();
        // 1/2 exp(-|z - (0,0)|^2 / 2) + 1/2 exp(-|z - (0,3)|^2 / 2), squared distances 5 and 2; D = 2.
        let density = 0.5 * ((-2.5f64).exp() + (-1.0f64).exp());
        let of_first = distance(z.view(), &two_classes(), 0)[[0, 0]];
        assert!((f64::from(of_first) - (-density.ln()).sqrt()).abs() < 1e-6);
        // Of the other class the centers are (4,0) and (4,-3), with weights e/(e + 1/e) and 1/e/(e + 1/e).
        let (major, minor) = (1f64.exp() / (1f64.exp() + (-1f64).exp()), (-1f64).exp() / (1f64.exp() + (-1f64).exp()));
        let density = major * (-6.5f64).exp() + minor * (-17.0f64).exp();
        let of_second = distance(z.view(), &two_classes(), 1)[[0, 0]];
        assert!((f64::from(of_second) - (-density.ln()).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn one_center_gives_the_root_mean_square() {
        let centers = LevelCenters {
            mu: array![[1.0, 1.0]],
            dmu: Array3::zeros((1, 0, 2)),
            psi: array![0.0],
            psi_in: array![[3.0]],
        };
        let z = Array3::from_shape_vec((2, 1, 2), vec![1.0, 4.0, 1.0, 5.0]).unwrap();
        let distance = distance(z.view(), &centers, 0);
        assert!(distance[[0, 0]] < 1e-3, "rounding of the squares is all that is left");
        assert!((distance[[0, 1]] - 12.5f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn the_class_whose_center_is_near_has_the_evidence() {
        let z = Array3::from_shape_vec((2, 1, 2), vec![4.0, 2.0, 0.0, 0.0]).unwrap();
        let evidence = class_evidence(z.view(), &two_classes(), None);
        // Position 0 lies on the second center, 8 nats from the first; position 1 half way.
        let (far, near) = (-(1.0 + 8f32.exp()).ln(), -(1.0 + (-8f32).exp()).ln());
        let half = -std::f32::consts::LN_2;
        assert!((evidence[0] - (far + half) / 2.0).abs() < 1e-4 && (evidence[1] - (near + half) / 2.0).abs() < 1e-4);
    }

    #[test]
    fn latents_beyond_all_numbers_are_never_near() {
        for value in [1e30, f32::MAX, -f32::MAX] {
            let z = Array3::from_elem((2, 1, 1), value);
            let distance = distance(z.view(), &two_classes(), 0)[[0, 0]];
            assert!(distance.is_nan() || distance > 1e18, "{distance}");
        }
    }

    #[test]
    fn what_is_usual_at_a_position_is_not_far() {
        let mut map = array![[2.0, 2.0]];
        standardise(&mut map, array![[2.0, 1.0]].view(), array![[0.1, 0.5]].view());
        assert_eq!(map, array![[0.0, 2.0]]);
    }
}
