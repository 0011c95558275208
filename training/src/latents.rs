//! What latents say of features: how likely they are, and how sure it is of which class.

use hgad::bundle::LevelCenters;
use hgad::inspect::mixture;
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};

/// The latents of positions: z `(P, D)` and `log|det J|` `(P)`.
#[derive(Debug, Clone)]
pub struct Latents {
    /// z `(P, D)`.
    pub z: Array2<f32>,
    /// `log|det J|` `(P)`, the sum over channels.
    pub logdet: Array1<f32>,
}

impl Latents {
    /// `log p(x) / D` at every position, in nats per channel: under the intra-class mixture of `class`, or, where the label was
    /// not learned with, under the mixture of all classes' main centers.
    pub fn log_likelihood(&self, centers: &LevelCenters, class: Option<usize>) -> Array1<f32> {
        let d = self.z.ncols() as f32;
        // Positions in a row are a grid of one column.
        let z = self.z.t().insert_axis(Axis(2));
        let distance = match class {
            Some(class) => mixture::distance(z, centers, class),
            None => mixture::distance(z, &of_all_classes(centers), 0),
        };
        let constant = 0.5 * std::f32::consts::TAU.ln();
        let log_density = distance.column(0).mapv(|distance| -0.5 * distance * distance - constant);
        log_density + &self.logdet / d
    }

    /// The entropy of `softmax_y(-|z - mu_y|^2 / 2)` at every position, in nats: high where no class fits better than others.
    pub fn entropy(&self, centers: &LevelCenters) -> Array1<f32> {
        let norms = centers.mu.map_axis(Axis(1), |mu| mu.dot(&mu));
        let logits = self.z.dot(&centers.mu.t()) - 0.5 * norms;
        logits.map_axis(Axis(1), |logits| {
            let most = logits.fold(f32::NEG_INFINITY, |most, value| most.max(*value));
            let total = logits.fold(0.0, |sum, value| sum + (value - most).exp()).ln() + most;
            -logits.fold(0.0, |sum, value| sum + (value - total).exp() * (value - total))
        })
    }
}

/// The main centers with the classes' weights, as the mixture of one class.
fn of_all_classes(centers: &LevelCenters) -> LevelCenters {
    let first = centers.mu.slice(s![0..1, ..]).to_owned();
    let offsets = &centers.mu.slice(s![1.., ..]) - &first;
    LevelCenters {
        mu: first,
        dmu: offsets.insert_axis(Axis(0)),
        psi: Array1::zeros(1),
        psi_in: centers.psi.clone().insert_axis(Axis(0)),
    }
}

/// All centers of a level, class by class, the main one of each first `(Y * M, D)`.
pub fn all_centers(centers: &LevelCenters) -> Array2<f32> {
    let of_class = |(mu, dmu): (ndarray::ArrayView1<f32>, ArrayView2<f32>)| {
        concatenate![Axis(0), mu.insert_axis(Axis(0)), &dmu + &mu]
    };
    let rows = centers.mu.outer_iter().zip(centers.dmu.outer_iter()).map(of_class).collect::<Vec<_>>();
    let rows = rows.iter().map(|rows| rows.view()).collect::<Vec<_>>();
    concatenate(Axis(0), &rows).expect("all centers have the level's channels")
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn centers() -> LevelCenters {
        LevelCenters {
            mu: array![[0.0, 0.0], [4.0, 0.0]],
            dmu: array![[[0.0, 3.0]], [[0.0, -3.0]]],
            psi: array![0.0, 3f32.ln()],
            psi_in: array![[0.0, 0.0], [0.0, 0.0]],
        }
    }

    #[test]
    fn likelihood_and_entropy_are_those_of_the_definitions() {
        let latents = Latents { z: array![[2.0, 0.0]], logdet: array![0.5] };
        let normal = |square: f64| (-square / 2.0).exp() / std::f64::consts::TAU;
        let expected = |density: f64| ((density.ln() + 0.5) / 2.0) as f32;
        let close = |value: f32, expected: f32| assert!((value - expected).abs() < 1e-5, "{value}, not {expected}");
        close(latents.log_likelihood(&centers(), Some(0))[0], expected(0.5 * normal(4.0) + 0.5 * normal(13.0)));
        close(latents.log_likelihood(&centers(), None)[0], expected(0.25 * normal(4.0) + 0.75 * normal(4.0)));
        // Half way between the two main centers.
        close(latents.entropy(&centers())[0], 2f32.ln());
        let sure = Latents { z: array![[0.0, 0.0]], logdet: array![0.0] };
        let p = 1.0 / (1.0 + (-8f32).exp());
        close(sure.entropy(&centers())[0], -p * p.ln() - (1.0 - p) * (1.0 - p).ln());
    }

    #[test]
    fn centers_stand_class_by_class() {
        assert_eq!(all_centers(&centers()), array![[0.0, 0.0], [0.0, 3.0], [4.0, 0.0], [4.0, -3.0]]);
    }
}
