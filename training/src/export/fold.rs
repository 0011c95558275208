//! What is constant in a trained level is folded here: the graph that a board runs has no trace of how it was trained.

use ndarray::{Array1, Array2, Axis, s};

use crate::flow::{BlockWeights, DAMPING, LevelWeights, PositionCode};

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
    /// The log-determinant of all that does not depend on the features: the sum of the blocks' `log_scale`.
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
            w2: single(block.w2.mapv(f64::from) * DAMPING),
            b2: single(block.b2.mapv(f64::from) * DAMPING),
            offset: single(block.offset.mapv(f64::from).dot(&mix)),
            mix: single(&scale.view().insert_axis(Axis(1)) * &mix),
            log_scale: scale.mapv(f64::ln).sum(),
        }
    }
}

fn single<D: ndarray::Dimension>(array: ndarray::Array<f64, D>) -> ndarray::Array<f32, D> {
    array.mapv(|value| value as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::{Sizes, random_level};

    /// Odd channels, a grid that is not square, and as few numbers as possible.
    const SIZES: Sizes = Sizes { channels: 5, grid: (3, 4), hidden: 6, code: 8, blocks: 2, classes: 2 };

    fn assert_close<'v>(a: impl IntoIterator<Item = &'v f32>, b: impl IntoIterator<Item = &'v f32>) {
        for (a, b) in a.into_iter().zip(b) {
            assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} is not {b}");
        }
    }

    #[test]
    fn the_position_code_becomes_a_table_per_column_and_one_per_row() {
        let level = random_level("t", SIZES, 1);
        let (block, folded) = (&level.blocks[0], &FoldedLevel::new(&level).blocks[0]);
        let whole = PositionCode::new(3, 4, 8).grid().dot(&block.w1.slice(s![3.., ..])) + &block.b1;
        for (p, row) in whole.rows().into_iter().enumerate() {
            assert_close(&(&folded.columns.row(p % 4) + &folded.rows.row(p / 4)), row);
        }
    }

    #[test]
    fn the_affine_goes_into_the_orthogonal_matrix() {
        let level = random_level("t", SIZES, 2);
        let (block, folded) = (&level.blocks[1], &FoldedLevel::new(&level).blocks[1]);
        let u = random_level("t", SIZES, 3).mean.insert_axis(Axis(0));
        let plain = (&u * &block.scale + &block.offset).dot(&block.mix);
        assert_close(&(u.dot(&folded.mix) + &folded.offset), &plain);
        let log_scale = block.scale.mapv(|scale| f64::from(scale).ln()).sum();
        assert!((folded.log_scale - log_scale).abs() < 1e-9);
    }

    #[test]
    fn the_subnet_scale_goes_into_its_second_layer() {
        let level = random_level("t", SIZES, 4);
        let (block, folded) = (&level.blocks[0], &FoldedLevel::new(&level).blocks[0]);
        assert_close(&folded.w2, &(&block.w2 * 0.1));
        assert_close(&folded.b2, &(&block.b2 * 0.1));
    }

    #[test]
    fn the_standardisation_is_a_factor_and_a_shift() {
        let level = random_level("t", SIZES, 5);
        let folded = FoldedLevel::new(&level);
        let x = random_level("t", SIZES, 6).mean;
        assert_close(&(&x * &folded.factor + &folded.shift), &((&x - &level.mean) / &level.std));
    }

    #[test]
    fn the_constant_log_determinant_is_that_of_the_affines_of_all_blocks() {
        let level = random_level("t", SIZES, 7);
        let scales = level.blocks.iter().flat_map(|block| &block.scale).map(|scale| f64::from(*scale));
        let log_det = scales.map(f64::ln).sum::<f64>();
        assert!(log_det.abs() > 0.01 && (FoldedLevel::new(&level).log_det - log_det).abs() < 1e-9, "{log_det}");
    }
}
