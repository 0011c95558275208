//! The five losses of HGAD (ECCV 2024), on latents of one level.
//!
//! Unit covariances throughout; `c_y = logsoftmax(psi)`, `c_i^y = logsoftmax(psi_in[y])`; the first intra-class center of
//! a class is its main center. Each loss is the mean over positions.

use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::recipe::Prior;
use crate::flow::MixtureParameters;

/// Which share of a label goes to all classes alike in the mutual-information loss.
const LABEL_SMOOTHING: f32 = 0.02;

/// What each loss counts in the sum; 0 switches it off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossWeights {
    /// Inter-class likelihood (the paper's lambda1).
    pub likelihood: f32,
    /// Mutual information (the paper's lambda2).
    pub information: f32,
    /// Entropy of the posterior.
    pub entropy: f32,
    /// Intra-class likelihood.
    pub intra: f32,
    /// `-logsigmoid` of the intra-class log-likelihood per channel.
    pub sigmoid: f32,
}

impl LossWeights {
    /// Which losses count, in the order of [`Losses::NAMES`].
    pub fn counted(&self) -> [bool; 5] {
        [self.likelihood, self.information, self.entropy, self.intra, self.sigmoid].map(|weight| weight != 0.0)
    }

    /// The weights of the first stage, in which the intra-class mixture does not take part.
    pub fn without_intra(self) -> Self {
        LossWeights { intra: 0.0, sigmoid: 0.0, ..self }
    }
}

impl Default for LossWeights {
    /// The paper's, but for lambda2: its 100 spends the training on telling products apart, which they soon are, and
    /// leaves the likelihood unfitted.
    fn default() -> Self {
        LossWeights { likelihood: 1.0, information: 5.0, entropy: 1.0, intra: 1.0, sigmoid: 1.0 }
    }
}

/// The labels of a batch in the forms in which the losses need them.
#[derive(Debug, Clone)]
pub struct Labels<B: Backend> {
    /// The class of every image `(I)`.
    images: Tensor<B, 1, Int>,
    /// The smoothed label of every position `(N, Y)`, grouped by image.
    smoothed: Tensor<B, 2>,
}

impl<B: Backend> Labels<B> {
    /// For images of the classes `labels`, each with `positions` rows, one after the other.
    pub fn new(labels: &[usize], positions: usize, classes: usize, device: &B::Device) -> Self {
        let rest = LABEL_SMOOTHING / classes as f32;
        let smoothed = labels
            .iter()
            .flat_map(|&label| std::iter::repeat_n(label, positions))
            .flat_map(|label| (0..classes).map(move |y| if y == label { 1.0 - LABEL_SMOOTHING + rest } else { rest }))
            .collect::<Vec<f32>>();
        let images = labels.iter().map(|&label| label as i32).collect::<Vec<_>>();
        Labels {
            images: Tensor::from_data(TensorData::new(images, [labels.len()]), device),
            smoothed: Tensor::from_data(TensorData::new(smoothed, [labels.len() * positions, classes]), device),
        }
    }
}

/// The value of every loss, before its weight.
#[derive(Debug, Clone)]
pub struct Losses<T> {
    /// `L_g = (-logsumexp_y(-|z - mu_y|^2 / 2 + c_y) - log|det J|) / D`; with fixed centers `(|z - mu_y|^2 / 2 - log|det J|) / D`, `y` the
    /// label
    pub likelihood: T,
    /// `L_mi = -sum_y t_y (logsoftmax_y(-|z - mu_y|^2 / 2 + SG[c_y]) - SG[c_y])`
    pub information: T,
    /// `L_e = -sum_y p_y log p_y`, `p = softmax_y(-|z - mu_y|^2 / 2)`
    pub entropy: T,
    /// `L_in = (-logsumexp_i(-|z - (SG[mu_y] + dmu_i^y)|^2 / 2 + c_i^y) - log|det J|) / D`, `y` the label
    pub intra: T,
    /// `L_z = -logsigmoid(log p(x|y) / D)`, `log p(x|y)` being `-D L_in - D / 2 log(2 pi)`
    pub sigmoid: T,
}

impl<T> Losses<T> {
    /// The losses' names as people read them.
    pub const NAMES: [&str; 5] = ["L_g", "L_mi", "L_e", "L_in", "L_z"];

    /// In the order of [`Losses::NAMES`].
    pub fn into_parts(self) -> [T; 5] {
        [self.likelihood, self.information, self.entropy, self.intra, self.sigmoid]
    }
}

impl<B: Backend> Losses<Tensor<B, 1>> {
    /// Computes all five for latents `z` `(N, D)` with log-determinants `logdet` `(N, 1)`.
    pub fn new(
        prior: Prior,
        mixture: &MixtureParameters<Tensor<B, 2>>,
        z: Tensor<B, 2>,
        logdet: Tensor<B, 2>,
        labels: &Labels<B>,
    ) -> Self {
        let d = z.dims()[1] as f32;
        let norms = z.clone().powi_scalar(2).sum_dim(1);
        let density = main_densities(mixture, z.clone(), norms.clone());
        let class_weights = log_softmax(mixture.psi.clone(), 1);
        let latent = match prior {
            Prior::FixedCenters => own_log_density(mixture, z.clone(), &labels.images),
            Prior::Classes | Prior::Standard => log_sum_exp(density.clone() + class_weights.clone()),
        };
        let likelihood = (-latent - logdet.clone()) / d;

        let constant = class_weights.detach();
        let posterior = log_softmax(density.clone() + constant.clone(), 1) - constant;
        let information = -(labels.smoothed.clone() * posterior).sum_dim(1);

        let log_p = log_softmax(density, 1);
        let entropy = -(log_p.clone().exp() * log_p).sum_dim(1);

        let intra = (-intra_log_density(mixture, z, norms, &labels.images) - logdet) / d;
        let sigmoid = -log_sigmoid(-intra.clone() - 0.5 * std::f32::consts::TAU.ln());
        Losses {
            likelihood: likelihood.mean(),
            information: information.mean(),
            entropy: entropy.mean(),
            intra: intra.mean(),
            sigmoid: sigmoid.mean(),
        }
    }

    /// The weighted sum; a loss of weight 0 is left out, so that nothing flows back through it.
    pub fn total(&self, weights: &LossWeights) -> Tensor<B, 1> {
        let LossWeights { likelihood, information, entropy, intra, sigmoid } = *weights;
        let weights = [likelihood, information, entropy, intra, sigmoid];
        let terms = self.clone().into_parts().into_iter().zip(weights);
        terms
            .filter(|(_, weight)| *weight != 0.0)
            .map(|(loss, weight)| loss * weight)
            .reduce(|sum, term| sum + term)
            .unwrap_or_else(|| Tensor::zeros([1], &self.likelihood.device()))
    }
}

/// `-|z - mu_y|^2 / 2` `(N, Y)`, by the binomial formula: it needs no `(N, Y, D)` tensor.
fn main_densities<B: Backend>(
    mixture: &MixtureParameters<Tensor<B, 2>>,
    z: Tensor<B, 2>,
    norms: Tensor<B, 2>,
) -> Tensor<B, 2> {
    let center_norms = mixture.mu.clone().powi_scalar(2).sum_dim(1).transpose();
    z.matmul(mixture.mu.clone().transpose()) - (norms + center_norms) * 0.5
}

/// `-|z - mu_y|^2 / 2` `(N, 1)` of each image's own class.
fn own_log_density<B: Backend>(
    mixture: &MixtureParameters<Tensor<B, 2>>,
    z: Tensor<B, 2>,
    labels: &Tensor<B, 1, Int>,
) -> Tensor<B, 2> {
    let [n, d] = z.dims();
    let [images] = labels.dims();
    let centers = mixture.mu.clone().detach().select(0, labels.clone()).reshape([images, 1, d]);
    let apart = z.reshape([images, n / images, d]) - centers;
    apart.powi_scalar(2).sum_dim(2).reshape([n, 1]) * -0.5
}

/// `logsumexp_i(-|z - (SG[mu_y] + dmu_i^y)|^2 / 2 + c_i^y)` `(N, 1)` under each image's own class.
fn intra_log_density<B: Backend>(
    mixture: &MixtureParameters<Tensor<B, 2>>,
    z: Tensor<B, 2>,
    norms: Tensor<B, 2>,
    labels: &Tensor<B, 1, Int>,
) -> Tensor<B, 2> {
    let [n, d] = z.dims();
    let [images] = labels.dims();
    let others = mixture.psi_in.dims()[1] - 1;
    let main = mixture.mu.clone().detach().select(0, labels.clone()).reshape([images, 1, d]);
    let offsets = mixture.dmu.clone().select(0, labels.clone()).reshape([images, others, d]);
    let centers = Tensor::cat(vec![main.clone(), main + offsets], 1);
    let center_norms = centers.clone().powi_scalar(2).sum_dim(2).reshape([images, 1, others + 1]);
    let weights = log_softmax(mixture.psi_in.clone(), 1).select(0, labels.clone()).reshape([images, 1, others + 1]);

    let along = z.reshape([images, n / images, d]).matmul(centers.swap_dims(1, 2));
    let density = along - norms.reshape([images, n / images, 1]) * 0.5 + (weights - center_norms * 0.5);
    log_sum_exp(density.reshape([n, others + 1]))
}

/// `log(sum(exp(x)))` over each row, `(N, 1)`.
fn log_sum_exp<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    // The largest value is a constant of the computation: its gradient cancels.
    let most = x.clone().detach().max_dim(1);
    (x - most.clone()).exp().sum_dim(1).log() + most
}

#[cfg(test)]
mod tests;
