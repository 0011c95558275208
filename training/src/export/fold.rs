//! What is constant in a trained level is folded here: the graph that a board runs has no trace of how it was trained.

use ndarray::{Array1, Array2, Axis, s};

use crate::flow::{BlockWeights, LevelWeights, PositionCode};

/// The subnet's output is scaled by this in training.
const SUBNET_SCALE: f64 = 0.1;

/// A flow block with everything folded that does not depend on the features. With `[x1, x2] = x`:
///
/// ```text
/// [a_s, a_t] = relu(x1 w1 + columns[column] + rows[row]) w2 + b2
/// t = tanh(a_s)
/// out = [x1, x2 * exp(clamp * t) + a_t] mix + offset        log|det| = clamp * sum(t) + log_scale
/// ```
#[derive(Debug, Clone)]
pub(super) struct FoldedBlock {
    /// `(D1, H)`
    pub w1: Array2<f32>,
    /// `(w, H)`: what the position code of a column and the bias make of the first layer.
    pub columns: Array2<f32>,
    /// `(h, H)`: what the position code of a row makes of it.
    pub rows: Array2<f32>,
    /// `(H, 2 * D2)`
    pub w2: Array2<f32>,
    /// `(2 * D2)`
    pub b2: Array1<f32>,
    /// `(D, D)`: the global affine's scale, then the orthogonal matrix.
    pub mix: Array2<f32>,
    /// `(D)`
    pub offset: Array1<f32>,
    /// The sum of the global affine's log scales.
    pub log_scale: f64,
}

/// A level's standardisation and blocks.
#[derive(Debug, Clone)]
pub(super) struct FoldedLevel {
    /// `1 / std` `(D)`.
    pub factor: Array1<f32>,
    /// `-mean / std` `(D)`.
    pub shift: Array1<f32>,
    pub clamp: f32,
    pub blocks: Vec<FoldedBlock>,
    /// The log-determinant of all that does not depend on the features:.
    pub log_det: f64,
}

impl FoldedLevel {
    pub fn new(level: &LevelWeights) -> Self {
        let blocks = level.blocks.iter().map(|block| FoldedBlock::new(block, level.grid)).collect::<Vec<_>>();
        FoldedLevel {
            factor: level.std.mapv(f32::recip),
            shift: -&level.mean / &level.std,
            clamp: level.clamp,
            log_det: blocks.iter().map(|block| block.log_scale).sum::<f64>(),
            blocks,
        }
    }
}

impl FoldedBlock {
    fn new(block: &BlockWeights, (height, width): (usize, usize)) -> Self {
        let d = block.scale.len();
        let d1 = d - d / 2;
        let code = PositionCode::new(height, width, block.w1.nrows() - d1);
        let half = code.columns.ncols();
        let w1 = block.w1.mapv(f64::from);
        let columns = code.columns.mapv(f64::from).dot(&w1.slice(s![d1..d1 + half, ..])) + block.b1.mapv(f64::from);
        let rows = code.rows.mapv(f64::from).dot(&w1.slice(s![d1 + half.., ..]));
        let scale = block.scale.mapv(f64::from);
        let mix = block.mix.mapv(f64::from);
        FoldedBlock {
            w1: block.w1.slice(s![..d1, ..]).to_owned(),
            columns: single(columns),
            rows: single(rows),
            w2: single(block.w2.mapv(f64::from) * SUBNET_SCALE),
            b2: single(block.b2.mapv(f64::from) * SUBNET_SCALE),
            offset: single(block.offset.mapv(f64::from).dot(&mix)),
            mix: single(&scale.view().insert_axis(Axis(1)) * &mix),
            log_scale: scale.mapv(f64::ln).sum(),
        }
    }
}

fn single<D: ndarray::Dimension>(array: ndarray::Array<f64, D>) -> ndarray::Array<f32, D> {
    array.mapv(|value| value as f32)
}
