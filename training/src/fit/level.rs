//! Training of one level.

use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use ndarray::{Array1, Array2, ArrayView2, s};
use rand::Rng;
use rand::seq::index::sample;

use hgad::Result;

use super::adam::{Adam, Rates};
use super::draw::{Purpose, stream};
use super::losses::{Labels, Losses};
use super::recipe::Recipe;
use super::schedule::Schedule;
use crate::flow::{
    FixedParts, FlowShape, GridPositions, Halves, LevelFrame, LevelParameters, LevelWeights, MixtureParameters, array2,
    forward, gaussian, initial_blocks, orthogonal_matrices, tensor2,
};

/// One level's features, as the trainer reads them.
pub trait LevelData: Sync {
    /// The tap's name.
    fn tap(&self) -> &str;
    /// Rows and columns of the grid.
    fn grid(&self) -> (usize, usize);
    /// Mean and standard deviation of every channel `(D)`.
    fn statistics(&self) -> (&Array1<f32>, &Array1<f32>);
    /// The raw features of one image `(h * w, D)`.
    fn image(&self, image: usize) -> ArrayView2<'_, f32>;
}

/// One level's flow and mixture in training, on the autodiff backend `A`.
pub struct LevelTrainer<A: AutodiffBackend> {
    level: usize,
    recipe: Recipe,
    shape: FlowShape,
    frame: LevelFrame,
    fixed: FixedParts<A>,
    parameters: LevelParameters<Tensor<A::InnerBackend, 2>>,
    optimizer: Vec<Adam<A::InnerBackend>>,
    device: A::Device,
}

impl<A: AutodiffBackend> LevelTrainer<A> {
    /// Draws the start of level number `level` for `classes` classes.
    pub fn new(level: usize, recipe: &Recipe, levels: &dyn LevelData, classes: usize, device: &A::Device) -> Self {
        let (mean, std) = levels.statistics();
        let shape = recipe.flow_shape(mean.len());
        let mixes = orthogonal_matrices(&shape, &mut stream(recipe.seed, Purpose::Mixes, 0, level));
        let frame = LevelFrame {
            tap: levels.tap().to_owned(),
            grid: levels.grid(),
            mean: mean.clone(),
            std: std.clone(),
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
            recipe: *recipe,
            shape,
            fixed: FixedParts::new(recipe.clamp, frame.grid, recipe.code, &frame.mixes, device),
            frame,
            parameters,
            optimizer,
            device: device.clone(),
        }
    }

    /// Takes step number `step` on `images`, whose classes are `labels`, and gives the losses before it.
    ///
    /// # Errors
    ///
    /// The device failed, or a loss is not finite.
    pub fn step(
        &mut self,
        step: usize,
        schedule: &Schedule,
        levels: &dyn LevelData,
        images: &[usize],
        labels: &[usize],
    ) -> Result<Losses<f32>> {
        let (features, positions) = self.batch(step, levels, images);
        let tracked = self.parameters.clone().map(|value| Tensor::<A, 2>::from_inner(value).require_grad());
        let (z, logdet) = forward(&tracked.blocks, &self.fixed, features, &positions);
        let classes = tracked.mixture.mu.dims()[0];
        let rows = z[0].dims()[0];
        let labels = Labels::new(labels, rows / images.len(), classes, &self.device);
        let losses = Losses::new(&tracked.mixture, Tensor::cat(z.into(), 1), logdet, &labels);
        let mut gradients = losses.total(&schedule.losses(step)).backward();
        self.update(tracked, &mut gradients, schedule.learning_rate(step));
        read(losses)
    }

    /// The standardised features of this step's positions, and where they lie.
    fn batch(&self, step: usize, levels: &dyn LevelData, images: &[usize]) -> (Halves<A>, GridPositions<A>) {
        let (rows, columns) = self.frame.grid;
        let per_image = self.recipe.positions(self.frame.grid);
        let mut rng = stream(self.recipe.seed, Purpose::Positions, step, self.level);
        let (d1, d2) = (self.shape.kept(), self.shape.moved());
        let n = images.len() * per_image;
        let mut halves = [Array2::zeros((n, d1)), Array2::zeros((n, d2))];
        let mut positions = Vec::with_capacity(n);
        for &image in images {
            let features = levels.image(image);
            for position in sample(&mut rng, rows * columns, per_image) {
                let row = positions.len();
                let standard = |d: usize| (features[[position, d]] - self.frame.mean[d]) / self.frame.std[d];
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
                let weight_decay = if i < mixture_from { self.recipe.weight_decay } else { 0.0 };
                let rates = Rates { learning_rate, betas: self.recipe.betas, weight_decay };
                match value.grad_remove(gradients) {
                    Some(gradient) => adam.update(value.inner(), gradient, &rates),
                    None => value.inner(),
                }
            });
        self.parameters = LevelParameters::from_parts(self.shape.blocks, updated);
    }

    /// What was learned so far, for the exporter.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub fn weights(&self) -> Result<LevelWeights> {
        let parts = self.parameters.clone().into_parts().into_iter().map(array2).collect::<Result<Vec<_>>>()?;
        Ok(LevelWeights::new(self.frame.clone(), LevelParameters::from_parts(self.shape.blocks, parts)))
    }
}

/// Main centers apart from each other, offsets drawn at random, equal weights.
fn initial_mixture(recipe: &Recipe, level: usize, classes: usize, d: usize) -> MixtureParameters<Array2<f32>> {
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

fn read<A: AutodiffBackend>(losses: Losses<Tensor<A, 1>>) -> Result<Losses<f32>> {
    let joined = Tensor::cat(losses.into_parts().map(|loss| loss.inner().reshape([1, 1])).to_vec(), 1);
    let values = array2(joined)?;
    let [likelihood, information, entropy, intra, sigmoid] = std::array::from_fn(|i| values[[0, i]]);
    Ok(Losses { likelihood, information, entropy, intra, sigmoid })
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
