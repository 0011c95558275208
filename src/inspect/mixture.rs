//! Densities of latents under the hierarchical mixture.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayView3, Zip};

use crate::bundle::LevelCenters;

/// The two maps of one level, each `(h, w)`; larger is more normal.
#[derive(Debug, Clone)]
pub struct LevelMaps {
    /// `log p(x | y) / D` under the class's own intra-class mixture, `log |det J|` included.
    pub log_likelihood: Array2<f32>,
    /// The negative entropy of the inter-class posterior: 0 where one class is certain, `-ln Y` where all are alike.
    pub negentropy: Array2<f32>,
}

/// The maps of one level for class `class` (HGAD, ECCV 2024: the anomaly criterion of the likelihood and of the
/// inter-class entropy).
///
/// `z` is `(D, h, w)`, `logdet` is `(h, w)`.
pub fn level_maps(z: ArrayView3<f32>, logdet: ArrayView2<f32>, centers: &LevelCenters, class: usize) -> LevelMaps {
    LevelMaps {
        log_likelihood: log_likelihood(z, logdet, centers, class),
        negentropy: negentropy(&class_energies(z, centers)),
    }
}

/// `log p(x | y) / D = (logsumexp_i(c_i - |z - mu_i|^2 / 2) - D/2 ln 2 pi + log|det J|) / D`.
fn log_likelihood(z: ArrayView3<f32>, logdet: ArrayView2<f32>, centers: &LevelCenters, class: usize) -> Array2<f32> {
    let weights = log_softmax(centers.psi_in.row(class));
    let main = centers.mu.row(class);
    let energies = weights.iter().enumerate().map(|(i, weight)| {
        let center = match i {
            0 => main.to_owned(),
            i => &main + &centers.dmu.slice(ndarray::s![class, i - 1, ..]),
        };
        energy(z, center.view()) + *weight
    });
    let mut total = log_sum_exp(energies.collect());
    let d = z.dim().0 as f32;
    let normalisation = 0.5 * d * std::f32::consts::TAU.ln();
    Zip::from(&mut total).and(logdet).for_each(|value, logdet| *value = (*value - normalisation + logdet) / d);
    total
}

/// `-|z - mu_y|^2 / 2` of every class.
fn class_energies(z: ArrayView3<f32>, centers: &LevelCenters) -> Vec<Array2<f32>> {
    centers.mu.rows().into_iter().map(|center| energy(z, center)).collect()
}

/// `sum_y p_y ln p_y` with `p = softmax(energies)`.
fn negentropy(energies: &[Array2<f32>]) -> Array2<f32> {
    let total = log_sum_exp(energies.to_vec());
    let mut sum = Array2::zeros(total.raw_dim());
    for energy in energies {
        Zip::from(&mut sum).and(energy).and(&total).for_each(|sum, energy, total| {
            let log_p = energy - total;
            *sum += log_p.exp() * log_p;
        });
    }
    sum
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
    fn the_likelihood_is_the_mixture_s_density() {
        let z = Array3::from_shape_vec((2, 1, 1), vec![1.0, 2.0]).unwrap();
        let maps = level_maps(z.view(), array![[0.7]].view(), &two_classes(), 0);
        // 1/2 N(z; (0,0), I) + 1/2 N(z; (0,3), I), squared distances 5 and 2.
        let density = 0.5 / std::f64::consts::TAU * ((-2.5f64).exp() + (-1.0f64).exp());
        assert!((f64::from(maps.log_likelihood[[0, 0]]) - (density.ln() + 0.7) / 2.0).abs() < 1e-6);
    }

    #[test]
    fn the_entropy_is_zero_at_a_center_and_ln_2_between_two() {
        let at = |x: f32| {
            let z = Array3::from_shape_vec((2, 1, 1), vec![x, 0.0]).unwrap();
            level_maps(z.view(), array![[0.0]].view(), &two_classes(), 1).negentropy[[0, 0]]
        };
        assert!((at(2.0) + std::f32::consts::LN_2).abs() < 1e-6);
        assert!(at(0.0) > -0.01 && at(0.0) <= 0.0);
        assert!((at(-100.0)).abs() < 1e-6, "far from all centers the nearest one is still certain");
    }
}
