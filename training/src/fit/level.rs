//! Training of one level.

use std::collections::HashMap;

use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use hgad::bundle::LevelCenters;
use hgad::{Error, Result};
use ndarray::{Array1, Array2, Array3, s};
use rand::Rng;
use rand::seq::index::sample;

use super::adam::{Adam, Rates};
use super::checkpoint::{LevelState, ParameterState};
use super::draw::{Purpose, stream};
use super::losses::{Labels, Losses};
use super::recipe::{Prior, Recipe};
use super::schedule::Schedule;
use crate::features::LevelFeatures;
use crate::flow::{
    FixedParts, FlowShape, GridPositions, Halves, LevelFrame, LevelParameters, LevelWeights, MixtureParameters, array2,
    forward, gaussian, initial_blocks, orthogonal_matrices, tensor2,
};

/// One level's flow and mixture in training, on the autodiff backend `A`.
pub struct LevelTrainer<A: AutodiffBackend> {
    level: usize,
    classes: usize,
    recipe: Recipe,
    shape: FlowShape,
    frame: LevelFrame,
    fixed: FixedParts<A>,
    parameters: LevelParameters<Tensor<A::InnerBackend, 2>>,
    optimizer: Vec<Adam<A::InnerBackend>>,
    /// Running means, once there was a step.
    losses: Option<[f32; 5]>,
    device: A::Device,
}

/// What a step's losses count in the running means.
const LOSS_MEMORY: f32 = 0.02;

impl<A: AutodiffBackend> LevelTrainer<A> {
    /// Draws the start of level number `level` for `classes` classes.
    pub fn new(level: usize, recipe: &Recipe, features: &LevelFeatures, classes: usize, device: &A::Device) -> Self {
        let shape = recipe.flow_shape(features.mean.len());
        let mixes = orthogonal_matrices(&shape, &mut stream(recipe.seed, Purpose::Mixes, 0, level));
        let frame = LevelFrame {
            tap: features.tap.clone(),
            grid: features.grid,
            mean: features.mean.clone(),
            std: features.std.clone(),
            clamp: recipe.clamp,
            mixes,
        };
        let start = LevelParameters {
            blocks: initial_blocks(&shape, &mut stream(recipe.seed, Purpose::Flow, 0, level)),
            mixture: initial_mixture(recipe, level, classes, shape.channels),
        };
        let parameters = start.map(|array| tensor2::<A::InnerBackend>(&array, device));
        let optimizer = parameters.clone().into_parts().iter().map(Adam::new).collect();
        LevelTrainer {
            level,
            classes,
            recipe: *recipe,
            shape,
            fixed: FixedParts::new(recipe.clamp, frame.grid, recipe.code, &frame.mixes, device),
            frame,
            parameters,
            optimizer,
            losses: None,
            device: device.clone(),
        }
    }

    /// Takes step number `step` on `images`, whose classes are `labels`.
    ///
    /// # Errors
    ///
    /// The device failed, or a loss is not finite.
    pub fn step(
        &mut self,
        step: usize,
        schedule: &Schedule,
        features: &LevelFeatures,
        images: &[usize],
        labels: &[usize],
    ) -> Result<()> {
        let (batch, positions) = self.batch(step, features, images);
        let tracked = self.parameters.clone().map(|value| Tensor::<A, 2>::from_inner(value).require_grad());
        let (z, logdet) = forward(&tracked.blocks, &self.fixed, batch, &positions);
        let classes = tracked.mixture.mu.dims()[0];
        let rows = z[0].dims()[0];
        let one = vec![0; labels.len()];
        let labels = if self.recipe.prior == Prior::Standard { &one } else { labels };
        let labels = Labels::new(labels, rows / images.len(), classes, &self.device);
        let losses = Losses::new(self.recipe.prior, &tracked.mixture, Tensor::cat(z.into(), 1), logdet, &labels);
        let mut gradients = losses.total(&schedule.losses(step)).backward();
        self.update(tracked, &mut gradients, schedule.learning_rate(step));
        self.note(step, read(losses)?)
    }

    /// Takes the losses of `step` into the running means.
    fn note(&mut self, step: usize, losses: [f32; 5]) -> Result<()> {
        if losses.iter().any(|loss| !loss.is_finite()) {
            let named = Losses::<f32>::NAMES.iter().zip(losses).map(|(name, loss)| format!("{name} {loss}"));
            return Err(self.diverged(&format!(" in step {}", step + 1), named.collect::<Vec<_>>().join(", ")));
        }
        let running = self.losses.get_or_insert(losses);
        running.iter_mut().zip(losses).for_each(|(mean, loss)| *mean += LOSS_MEMORY * (loss - *mean));
        Ok(())
    }

    fn diverged(&self, when: &str, because: String) -> Error {
        Error::check(format!("training level {} diverged{when}", self.frame.tap))
            .because(because)
            .advise("lower --learning-rate, or give another --seed")
    }

    /// Brings a `tensor` that belongs to the parameter `name` back from the device. A step's losses are those from before
    /// its update: a gradient that is not finite shows in no loss, but here.
    fn read_back(&self, name: &str, tensor: Tensor<A::InnerBackend, 2>) -> Result<Array2<f32>> {
        let values = array2(tensor)?;
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(self.diverged("", format!("parameter {name} or a mean of its gradients is not finite"))),
        }
    }

    /// Running means of the losses, in the order of [`Losses::NAMES`].
    pub fn losses(&self) -> [f32; 5] {
        self.losses.unwrap_or_default()
    }

    /// The standardised features of this step's positions, and where they lie.
    fn batch(&self, step: usize, features: &LevelFeatures, images: &[usize]) -> (Halves<A>, GridPositions<A>) {
        let (rows, columns) = self.frame.grid;
        let per_image = self.recipe.positions(self.frame.grid);
        let mut rng = stream(self.recipe.seed, Purpose::Positions, step, self.level);
        let (d1, d2) = (self.shape.kept(), self.shape.moved());
        let n = images.len() * per_image;
        let mut halves = [Array2::zeros((n, d1)), Array2::zeros((n, d2))];
        let mut positions = Vec::with_capacity(n);
        for &image in images {
            let image = features.image(image);
            let chosen = match self.shape.convolutional {
                // Neighbours are neighbours only where all are there, in their order.
                true => (0..per_image).collect(),
                false => sample(&mut rng, rows * columns, per_image).into_vec(),
            };
            for position in chosen {
                let row = positions.len();
                let standard = |d: usize| (image[[position, d]] - self.frame.mean[d]) / self.frame.std[d];
                (0..d1).for_each(|d| halves[0][[row, d]] = standard(d));
                (0..d2).for_each(|d| halves[1][[row, d]] = standard(d1 + d));
                positions.push(position);
            }
        }
        (halves.map(|half| tensor2(&half, &self.device)), GridPositions::new(&positions, columns, &self.device))
    }

    fn update(&mut self, tracked: LevelParameters<Tensor<A, 2>>, gradients: &mut A::Gradients, learning_rate: f32) {
        let mixture_from = self.optimizer.len() - MixtureParameters::<()>::NAMES.len();
        let updated =
            tracked.into_parts().into_iter().zip(&mut self.optimizer).enumerate().map(|(i, (value, adam))| {
                let of_mixture = i.checked_sub(mixture_from).map(|i| MixtureParameters::<()>::NAMES[i]);
                let weight_decay = if of_mixture.is_none() { self.recipe.weight_decay } else { 0.0 };
                let rates = Rates { learning_rate, betas: self.recipe.betas, weight_decay };
                let fixed = of_mixture.is_some_and(|name| !self.recipe.prior.learns(name));
                match value.grad_remove(gradients).filter(|_| !fixed) {
                    Some(gradient) => adam.update(value.inner(), gradient, &rates),
                    None => value.inner(),
                }
            });
        self.parameters = LevelParameters::from_parts(&self.shape, updated);
    }

    /// What was learned so far, for the exporter.
    ///
    /// # Errors
    ///
    /// The device failed, or a parameter is not finite.
    pub fn weights(&self) -> Result<LevelWeights> {
        let names = LevelParameters::<()>::names(&self.shape);
        let parts = names.iter().zip(self.parameters.clone().into_parts());
        let parts = parts.map(|(name, value)| self.read_back(name, value)).collect::<Result<Vec<_>>>()?;
        let mut weights = LevelWeights::new(self.frame.clone(), LevelParameters::from_parts(&self.shape, parts));
        if self.recipe.prior == Prior::Standard {
            weights.centers = one_gaussian(self.classes, self.shape.channels);
        } else if !self.recipe.learns_offsets() {
            // Centers that were drawn and never learned are no centers.
            weights.centers.dmu = Array3::zeros((self.classes, 0, self.shape.channels));
            weights.centers.psi_in = Array2::zeros((self.classes, 1));
        }
        Ok(weights)
    }

    /// Everything that the next step depends on.
    ///
    /// # Errors
    ///
    /// The device failed, or something of it is not finite: no later step could mend that.
    pub fn state(&self) -> Result<LevelState> {
        let values = self.parameters.clone().into_parts().into_iter().zip(&self.optimizer);
        let parameters = LevelParameters::<()>::names(&self.shape)
            .into_iter()
            .zip(values)
            .map(|(name, (value, adam))| {
                let [value, first, second] =
                    [value, adam.first.clone(), adam.second.clone()].map(|tensor| self.read_back(&name, tensor));
                let state = ParameterState { value: value?, first: first?, second: second?, updates: adam.updates };
                Ok((name, state))
            })
            .collect::<Result<_>>()?;
        Ok(LevelState { parameters, losses: self.losses })
    }

    /// Goes back to `state`.
    ///
    /// # Errors
    ///
    /// It is not a state of this level.
    pub fn restore(&mut self, state: LevelState) -> Result<()> {
        let mut states = state.parameters.into_iter().collect::<HashMap<_, _>>();
        let mut optimizer = Vec::with_capacity(self.optimizer.len());
        let mut values = Vec::with_capacity(self.optimizer.len());
        let present = self.parameters.clone().into_parts();
        for (name, present) in LevelParameters::<()>::names(&self.shape).into_iter().zip(present) {
            let fits = |state: &ParameterState| state.value.shape() == present.dims();
            let state = states.remove(&name).filter(fits).ok_or_else(|| {
                Error::device(format!("the checkpoint has no parameter {name} of level {}", self.frame.tap))
                    .advise("delete it and train from the start")
            })?;
            let tensor = |values: &Array2<f32>| tensor2::<A::InnerBackend>(values, &self.device);
            optimizer.push(Adam { first: tensor(&state.first), second: tensor(&state.second), updates: state.updates });
            values.push(tensor(&state.value));
        }
        self.parameters = LevelParameters::from_parts(&self.shape, values);
        self.optimizer = optimizer;
        self.losses = state.losses;
        Ok(())
    }
}

/// The standard Gaussian as the mixture of every class.
fn one_gaussian(classes: usize, d: usize) -> LevelCenters {
    LevelCenters {
        mu: Array2::zeros((classes, d)),
        dmu: Array3::zeros((classes, 0, d)),
        psi: Array1::zeros(classes),
        psi_in: Array2::zeros((classes, 1)),
    }
}

/// Main centers apart from each other, offsets drawn at random, equal weights; or one center, which is 0.
fn initial_mixture(recipe: &Recipe, level: usize, classes: usize, d: usize) -> MixtureParameters<Array2<f32>> {
    if recipe.prior == Prior::Standard {
        let (mu, dmu) = (Array2::zeros((1, d)), Array2::zeros((1, (recipe.centers - 1) * d)));
        return MixtureParameters { mu, dmu, psi: Array2::zeros((1, 1)), psi_in: Array2::zeros((1, recipe.centers)) };
    }
    let mut rng = stream(recipe.seed, Purpose::Centers, 0, level);
    MixtureParameters {
        mu: main_centers(classes, d, &mut rng),
        dmu: Array2::from_shape_simple_fn((classes, (recipe.centers - 1) * d), || {
            recipe.intra_init * gaussian(&mut rng) as f32
        }),
        psi: Array2::zeros((1, classes)),
        psi_in: Array2::zeros((classes, recipe.centers)),
    }
}

/// Class y's main center is `5 / sqrt(2 k)` on its own block of `k = floor(D / Y)` channels and 0 elsewhere: all centers
/// lie 5 apart. More classes than channels leave no block for each; their centers are random directions of the same
/// length, which lie about 5 apart.
fn main_centers(classes: usize, d: usize, rng: &mut impl Rng) -> Array2<f32> {
    let length = 5.0 / 2f32.sqrt();
    let block = d / classes;
    if block == 0 {
        let mut mu = Array2::from_shape_simple_fn((classes, d), || gaussian(rng) as f32);
        mu.rows_mut().into_iter().for_each(|mut center| center *= length / center.dot(&center).sqrt());
        return mu;
    }
    let mut mu = Array2::zeros((classes, d));
    for (y, mut center) in mu.rows_mut().into_iter().enumerate() {
        center.slice_mut(s![y * block..(y + 1) * block]).fill(length / (block as f32).sqrt());
    }
    mu
}

fn read<A: AutodiffBackend>(losses: Losses<Tensor<A, 1>>) -> Result<[f32; 5]> {
    let joined = Tensor::cat(losses.into_parts().map(|loss| loss.inner().reshape([1, 1])).to_vec(), 1);
    let values = array2(joined)?;
    Ok(std::array::from_fn(|i| values[[0, i]]))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn main_centers_start_five_apart() {
        for (classes, d, tolerance) in [(5, 32, 1e-5), (3, 7, 1e-5), (40, 32, 3.0)] {
            let mu = main_centers(classes, d, &mut ChaCha8Rng::seed_from_u64(1));
            for (a, b) in (0..classes).flat_map(|a| (0..a).map(move |b| (a, b))) {
                let apart = &mu.row(a) - &mu.row(b);
                let distance = apart.dot(&apart).sqrt();
                assert!((distance - 5.0).abs() < tolerance, "{classes} classes, {d} channels: {distance}");
            }
        }
    }
}
