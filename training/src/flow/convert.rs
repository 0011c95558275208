//! Between what is trained and what is handed on: [`LevelWeights`] from parameters and back.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use hgad::Result;
use hgad::bundle::LevelCenters;
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};

use super::forward::{FixedParts, GridPositions, array2, forward, gain_of, scale_of, tensor2};
use super::parameters::{BlockParameters, LevelParameters, MixtureParameters};
use super::weights::{BlockWeights, LevelWeights};
use crate::latents::Latents;

/// What a level's weights are made of besides the learned parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelFrame {
    /// The name of the backbone's tensor.
    pub tap: String,
    /// Rows and columns of the feature grid.
    pub grid: (usize, usize),
    /// Mean of every channel over the training set `(D)`.
    pub mean: Array1<f32>,
    /// Standard deviation of every channel over the training set `(D)`.
    pub std: Array1<f32>,
    /// The clamp alpha of the log-scales.
    pub clamp: f32,
    /// The blocks' orthogonal matrices `(D, D)`.
    pub mixes: Vec<Array2<f32>>,
}

impl LevelWeights {
    /// Joins learned parameters and their frame.
    pub fn new(frame: LevelFrame, parameters: LevelParameters<Array2<f32>>) -> Self {
        let blocks = parameters.blocks.into_iter().zip(frame.mixes).map(|(block, mix)| block_weights(block, mix));
        LevelWeights {
            tap: frame.tap,
            grid: frame.grid,
            mean: frame.mean,
            std: frame.std,
            clamp: frame.clamp,
            blocks: blocks.collect(),
            centers: level_centers(parameters.mixture),
        }
    }

    /// The flow on a device.
    pub fn on<B: Backend>(&self, device: &B::Device) -> Flow<B> {
        let code = self.code();
        let mixes = self.blocks.iter().map(|block| block.mix.clone()).collect::<Vec<_>>();
        let fixed = FixedParts::<B>::new(self.clamp, self.grid, code, &mixes, device);
        let blocks = self
            .blocks
            .iter()
            .map(|block| block_parameters(block, code).map(|array| tensor2::<B>(&array, device)))
            .collect::<Vec<_>>();
        let (mean, std) = (self.mean.clone(), self.std.clone());
        Flow { mean, std, width: self.grid.1, blocks, fixed, device: device.clone() }
    }
}

/// A level's flow on a device, ready for features.
pub struct Flow<B: Backend> {
    mean: Array1<f32>,
    std: Array1<f32>,
    width: usize,
    blocks: Vec<BlockParameters<Tensor<B, 2>>>,
    fixed: FixedParts<B>,
    device: B::Device,
}

impl<B: Backend> Flow<B> {
    /// The latents of one image by the trainer's own forward pass: z `(h * w, D)` and `log|det J|` `(h * w)`.
    /// `features` are the tap's raw values `(h * w, D)`, not yet standardised.
    ///
    /// # Errors
    ///
    /// The device failed.
    pub fn latents(&self, features: ArrayView2<f32>) -> Result<Latents> {
        let standardised = (&features - &self.mean) / &self.std;
        let d1 = self.mean.len().div_ceil(2);
        let half = |range: std::ops::Range<usize>| tensor2(&standardised.slice(s![.., range]).to_owned(), &self.device);
        let positions = GridPositions::new(&(0..features.nrows()).collect::<Vec<_>>(), self.width, &self.device);
        let halves = [half(0..d1), half(d1..self.mean.len())];
        let ([z1, z2], logdet) = forward(&self.blocks, &self.fixed, halves, &positions);
        Ok(Latents { z: concatenate![Axis(1), array2(z1)?, array2(z2)?], logdet: array2(logdet)?.column(0).to_owned() })
    }
}

fn block_weights(block: BlockParameters<Array2<f32>>, mix: Array2<f32>) -> BlockWeights {
    let row =
        |left: &Array2<f32>, right: &Array2<f32>| concatenate![Axis(1), left.view(), right.view()].row(0).to_owned();
    let kept = block.gain1.ncols();
    let side = if block.w1_features.nrows() == kept { 1 } else { 3 };
    let code = block.w1_code.iter().flatten();
    let first = std::iter::once(&block.w1_features).chain(code).map(|part| part.view()).collect::<Vec<_>>();
    BlockWeights {
        side,
        w1: concatenate(Axis(0), &first).expect("all parts lead to the hidden width"),
        b1: block.b1.row(0).to_owned(),
        w2: concatenate![Axis(1), block.w2_scale, block.w2_shift],
        b2: row(&block.b2_scale, &block.b2_shift),
        scale: row(&block.gain1, &block.gain2).mapv(scale_of),
        offset: row(&block.offset1, &block.offset2),
        mix,
    }
}

fn block_parameters(block: &BlockWeights, code: usize) -> BlockParameters<Array2<f32>> {
    let d = block.scale.len();
    let (d1, d2) = (d.div_ceil(2), d / 2);
    let seen = block.w1.nrows() - code;
    let middle = seen + code / 2;
    let row =
        |values: &Array1<f32>, range: std::ops::Range<usize>| values.slice(s![range]).to_owned().insert_axis(Axis(0));
    let gains = block.scale.mapv(gain_of);
    BlockParameters {
        w1_features: block.w1.slice(s![..seen, ..]).to_owned(),
        w1_code: (code > 0)
            .then(|| [block.w1.slice(s![seen..middle, ..]).to_owned(), block.w1.slice(s![middle.., ..]).to_owned()]),
        b1: row(&block.b1, 0..block.b1.len()),
        w2_scale: block.w2.slice(s![.., ..d2]).to_owned(),
        b2_scale: row(&block.b2, 0..d2),
        w2_shift: block.w2.slice(s![.., d2..]).to_owned(),
        b2_shift: row(&block.b2, d2..2 * d2),
        gain1: row(&gains, 0..d1),
        gain2: row(&gains, d1..d),
        offset1: row(&block.offset, 0..d1),
        offset2: row(&block.offset, d1..d),
    }
}

fn level_centers(mixture: MixtureParameters<Array2<f32>>) -> LevelCenters {
    let (classes, d) = mixture.mu.dim();
    let others = mixture.psi_in.ncols() - 1;
    LevelCenters {
        dmu: mixture
            .dmu
            .into_shape_with_order((classes, others, d))
            .expect("the offsets of a class are M - 1 rows of D values"),
        mu: mixture.mu,
        psi: mixture.psi.row(0).to_owned(),
        psi_in: mixture.psi_in,
    }
}
