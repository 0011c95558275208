//! Distances of latents from the learned centers of the hierarchical mixture.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayView3, Zip};

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
    let weights = log_softmax(centers.psi_in.row(class));
    let main = centers.mu.row(class);
    let energies = weights.iter().enumerate().map(|(i, weight)| {
        let center = match i {
            0 => main.to_owned(),
            i => &main + &centers.dmu.slice(ndarray::s![class, i - 1, ..]),
        };
        energy(z, center.view()) + *weight
    });
    let d = z.dim().0 as f32;
    // The weights sum to 1, so the sum is at most 0 but for rounding.
    log_sum_exp(energies.collect()).mapv_into(|density| (-2.0 / d * density).max(0.0).sqrt())
}

/// In how many standard deviations `distance` exceeds what is usual at each position; both `(h, w)`.
pub(crate) fn standardise(distance: &mut Array2<f32>, mean: ArrayView2<f32>, deviation: ArrayView2<f32>) {
    Zip::from(distance).and(mean).and(deviation).for_each(|distance, mean, deviation| {
        *distance = (*distance - mean) / deviation;
    });
}

/// `-|z - center|^2 / 2` per position.
fn energy(z: ArrayView3<f32>, center: ArrayView1<f32>) -> Array2<f32> {
    let mut energy = Array2::zeros((z.dim().1, z.dim().2));
    // Channel by channel: the inner loop runs along a contiguous plane.
    for (plane, mean) in z.outer_iter().zip(center) {
        Zip::from(&mut energy).and(plane).for_each(|energy, value| {
            let distance = value - mean;
            *energy -= 0.5 * distance * distance;
        });
    }
    energy
}

fn log_sum_exp(terms: Vec<Array2<f32>>) -> Array2<f32> {
    let mut most = Array2::from_elem(terms[0].raw_dim(), f32::NEG_INFINITY);
    for term in &terms {
        Zip::from(&mut most).and(term).for_each(|most, value| *most = most.max(*value));
    }
    let mut sum = Array2::<f32>::zeros(most.raw_dim());
    for term in &terms {
        Zip::from(&mut sum).and(term).and(&most).for_each(|sum, value, most| *sum += (value - most).exp());
    }
    Zip::from(&mut most).and(&sum).for_each(|most, sum| *most += sum.ln());
    most
}

fn log_softmax(logits: ArrayView1<f32>) -> Vec<f32> {
    let most = logits.fold(f32::NEG_INFINITY, |most, value| most.max(*value));
    let total = most + logits.iter().map(|value| (value - most).exp()).sum::<f32>().ln();
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
        assert_eq!(distance[[0, 0]], 0.0);
        assert!((distance[[0, 1]] - 12.5f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn what_is_usual_at_a_position_is_not_far() {
        let mut map = array![[2.0, 2.0]];
        standardise(&mut map, array![[2.0, 1.0]].view(), array![[0.1, 0.5]].view());
        assert_eq!(map, array![[0.0, 2.0]]);
    }
}
