//! The flow's forward pass on burn tensors.

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData, activation};
use ndarray::{Array2, s};

use super::PositionCode;
use super::parameters::BlockParameters;

/// The factor on the subnet's output and inside the global affine's scale.
pub const DAMPING: f64 = 0.1;
/// The sharpness of the global affine's softplus.
const BETA: f64 = 0.5;

/// What of a level's flow is not learned.
#[derive(Debug, Clone)]
pub struct FixedParts<B: Backend> {
    /// The clamp alpha of the log-scales.
    pub clamp: f32,
    /// Rows and columns of the grid.
    grid: (usize, usize),
    /// Code of every column `(w, C / 2)` and of every row `(h, C / 2)`, where the flow is told the position.
    code: Option<[Tensor<B, 2>; 2]>,
    /// One orthogonal matrix per block, cut where the split cuts the channels.
    mixes: Vec<[[Tensor<B, 2>; 2]; 2]>,
}

impl<B: Backend> FixedParts<B> {
    /// Moves the position code of a `grid` (rows, columns) and the blocks' orthogonal matrices `(D, D)` to the device.
    pub fn new(clamp: f32, grid: (usize, usize), code: usize, mixes: &[Array2<f32>], device: &B::Device) -> Self {
        let coded = |code| {
            let PositionCode { columns, rows } = PositionCode::new(grid.0, grid.1, code);
            [columns, rows].map(|code| tensor2(&code, device))
        };
        let quarters = |mix: &Array2<f32>| {
            let d1 = mix.nrows().div_ceil(2);
            let part = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
                tensor2(&mix.slice(s![rows, columns]).to_owned(), device)
            };
            let d = mix.nrows();
            [[part(0..d1, 0..d1), part(0..d1, d1..d)], [part(d1..d, 0..d1), part(d1..d, d1..d)]]
        };
        FixedParts { clamp, grid, code: (code > 0).then(|| coded(code)), mixes: mixes.iter().map(quarters).collect() }
    }
}

/// Where on the grid each row of a feature matrix lies.
#[derive(Debug, Clone)]
pub struct GridPositions<B: Backend> {
    columns: Tensor<B, 1, Int>,
    rows: Tensor<B, 1, Int>,
}

impl<B: Backend> GridPositions<B> {
    /// From row-major positions on a grid that is `width` columns wide.
    pub fn new(positions: &[usize], width: usize, device: &B::Device) -> Self {
        let indices = |index: &dyn Fn(usize) -> usize| {
            let values = positions.iter().map(|&p| index(p) as i32).collect::<Vec<_>>();
            Tensor::from_data(TensorData::new(values, [positions.len()]), device)
        };
        GridPositions { columns: indices(&|p| p % width), rows: indices(&|p| p / width) }
    }
}

/// Rows of `D` channels as the split sees them: `(N, D1)` and `(N, D2)`.
pub type Halves<B> = [Tensor<B, 2>; 2];

/// Takes features to latents, those of all positions of each image in order where the subnets see neighbours: the halves of z, and `log|det J|` `(N, 1)` summed over the channels.
pub fn forward<B: Backend>(
    blocks: &[BlockParameters<Tensor<B, 2>>],
    fixed: &FixedParts<B>,
    features: Halves<B>,
    positions: &GridPositions<B>,
) -> (Halves<B>, Tensor<B, 2>) {
    let mut halves = features;
    let mut log_scales = None;
    let mut constant = None;
    for (block, mix) in blocks.iter().zip(&fixed.mixes) {
        let [x1, x2] = halves;
        let (saturation, shift) = subnet(block, fixed, x1.clone(), positions);
        let moved = x2 * (saturation.clone() * fixed.clamp).exp() + shift;
        let (scale1, scale2) = (effective_scale(&block.gain1), effective_scale(&block.gain2));
        let logs = scale1.clone().log().sum_dim(1) + scale2.clone().log().sum_dim(1);
        halves = mixed(x1, moved, [scale1, scale2], [&block.offset1, &block.offset2], mix);
        log_scales = plus(log_scales, saturation);
        constant = plus(constant, logs);
    }
    let [z1, z2] = halves;
    let logdet = match (log_scales, constant) {
        (Some(saturation), Some(constant)) => saturation.sum_dim(1) * fixed.clamp + constant,
        // A flow without blocks is the identity.
        _ => Tensor::zeros([z1.dims()[0], 1], &z1.device()),
    };
    ([z1, z2], logdet)
}

fn plus<B: Backend>(sum: Option<Tensor<B, 2>>, term: Tensor<B, 2>) -> Option<Tensor<B, 2>> {
    Some(match sum {
        Some(sum) => sum + term,
        None => term,
    })
}

/// `tanh(a_s)` and `a_t`, `(N, D2)` each.
///
/// The code's part of the first layer is computed once per column and once per row of the grid and then picked for each
/// position; concatenating code and features gives the same sums for many times the work. The damping goes to the
/// weights, which are fewer than the activations.
fn subnet<B: Backend>(
    block: &BlockParameters<Tensor<B, 2>>,
    fixed: &FixedParts<B>,
    x1: Tensor<B, 2>,
    positions: &GridPositions<B>,
) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let bias = match (&fixed.code, &block.w1_code) {
        (Some([columns, rows]), Some([w_columns, w_rows])) => {
            let by_column = columns.clone().matmul(w_columns.clone()) + block.b1.clone();
            let by_row = rows.clone().matmul(w_rows.clone());
            by_column.select(0, positions.columns.clone()) + by_row.select(0, positions.rows.clone())
        }
        _ => block.b1.clone(),
    };
    let hidden = activation::relu(seen_by(&block.w1_features, x1, fixed.grid).matmul(block.w1_features.clone()) + bias);
    let hidden = seen_by(&block.w2_scale, hidden, fixed.grid);
    let layer = |w: &Tensor<B, 2>, b: &Tensor<B, 2>| hidden.clone().matmul(w.clone() * DAMPING) + b.clone() * DAMPING;
    (layer(&block.w2_scale, &block.b2_scale).tanh(), layer(&block.w2_shift, &block.b2_shift))
}

/// What a layer with `weights` `(S * D, H)` sees at every position of `x` `(N, D)`: itself, or the 3x3 of its image's grid, with 0 beyond
/// the edges.
fn seen_by<B: Backend>(weights: &Tensor<B, 2>, x: Tensor<B, 2>, grid: (usize, usize)) -> Tensor<B, 2> {
    if weights.dims()[0] == x.dims()[1] { x } else { neighbours(x, grid) }
}

/// The 3x3 positions around each, side by side and row by row `(N, 9 * D)`.
fn neighbours<B: Backend>(x: Tensor<B, 2>, (h, w): (usize, usize)) -> Tensor<B, 2> {
    let ([n, d], device) = (x.dims(), x.device());
    let images = n / (h * w);
    let row = Tensor::<B, 4>::zeros([images, 1, w, d], &device);
    let column = Tensor::<B, 4>::zeros([images, h + 2, 1, d], &device);
    let padded = Tensor::cat(vec![row.clone(), x.reshape([images, h, w, d]), row], 1);
    let padded = Tensor::cat(vec![column.clone(), padded, column], 2);
    let shifted = |(y, x): (usize, usize)| padded.clone().slice([0..images, y..y + h, x..x + w, 0..d]).reshape([n, d]);
    Tensor::cat((0..9).map(|place| shifted((place / 3, place % 3))).collect(), 1)
}

/// `0.1 * softplus(gain)`: the scale that the global affine multiplies by.
fn effective_scale<B: Backend>(gain: &Tensor<B, 2>) -> Tensor<B, 2> {
    (gain.clone() * BETA).exp().log1p() * (DAMPING / BETA)
}

/// The gain whose effective scale is `scale` (above 0).
pub fn gain_of(scale: f32) -> f32 {
    ((f64::from(scale) * BETA / DAMPING).exp_m1().ln() / BETA) as f32
}

/// The effective scale of `gain`, as the forward pass computes it.
pub fn scale_of(gain: f32) -> f32 {
    (f64::from(gain) * BETA).exp().ln_1p() as f32 * (DAMPING / BETA) as f32
}

/// `([x1, x2] * scale + offset) mix` with the scale and offset applied to the matrix instead of to every row, in halves.
fn mixed<B: Backend>(
    x1: Tensor<B, 2>,
    x2: Tensor<B, 2>,
    scales: [Tensor<B, 2>; 2],
    offset: [&Tensor<B, 2>; 2],
    mix: &[[Tensor<B, 2>; 2]; 2],
) -> Halves<B> {
    let [scale1, scale2] = scales.map(Tensor::transpose);
    [0, 1].map(|half| {
        let (top, bottom) = (mix[0][half].clone(), mix[1][half].clone());
        let constant = offset[0].clone().matmul(top.clone()) + offset[1].clone().matmul(bottom.clone());
        x1.clone().matmul(top * scale1.clone()) + x2.clone().matmul(bottom * scale2.clone()) + constant
    })
}

/// A matrix on the device.
pub fn tensor2<B: Backend>(values: &Array2<f32>, device: &B::Device) -> Tensor<B, 2> {
    let data = TensorData::new(values.iter().copied().collect::<Vec<f32>>(), [values.nrows(), values.ncols()]);
    Tensor::from_data(data, device)
}

/// A matrix back from the device.
///
/// # Errors
///
/// The device failed.
pub fn array2<B: Backend>(tensor: Tensor<B, 2>) -> hgad::Result<Array2<f32>> {
    let [rows, columns] = tensor.dims();
    let failed = |why: String| hgad::Error::device("the training device gave no values back").because(why);
    let values = tensor.into_data().convert::<f32>().to_vec::<f32>().map_err(|error| failed(format!("{error:?}")))?;
    Array2::from_shape_vec((rows, columns), values).map_err(|error| failed(error.to_string()))
}
