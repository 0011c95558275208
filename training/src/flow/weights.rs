//! A trained level as plain arrays: what the trainer hands to the exporter.

use hgad::bundle::LevelCenters;
use ndarray::{Array1, Array2};

/// One level's flow and mixture. Features are row vectors; `C` is the position code's width, `H` the hidden width,
/// `D1 = D - D / 2` and `D2 = D / 2` the halves of the split.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelWeights {
    /// The name of the backbone's tensor.
    pub tap: String,
    /// Rows and columns of the feature grid.
    pub grid: (usize, usize),
    /// Mean of every channel over the training set `(D)`.
    pub mean: Array1<f32>,
    /// Standard deviation of every channel over the training set `(D)`, above 0.
    pub std: Array1<f32>,
    /// The clamp alpha of the log-scales.
    pub clamp: f32,
    /// The flow's blocks in forward order.
    pub blocks: Vec<BlockWeights>,
    /// The mixture.
    pub centers: LevelCenters,
}

impl LevelWeights {
    /// The width C of the position code; 0 where the flow is not told the position.
    pub fn code(&self) -> usize {
        self.blocks.first().map_or(0, |block| block.w1.nrows() - block.side.pow(2) * self.mean.len().div_ceil(2))
    }

    /// The name of a part in which a value is NaN or infinite.
    pub fn not_finite(&self) -> Option<&'static str> {
        let of_blocks = self.blocks.iter().flat_map(|block| {
            let BlockWeights { w1, b1, w2, b2, scale, offset, mix, .. } = block;
            [
                ("w1", all_finite(w1)),
                ("b1", all_finite(b1)),
                ("w2", all_finite(w2)),
                ("b2", all_finite(b2)),
                ("scale", all_finite(scale)),
                ("offset", all_finite(offset)),
                ("mix", all_finite(mix)),
            ]
        });
        let LevelCenters { mu, dmu, psi, psi_in } = &self.centers;
        let others = [
            ("mean", all_finite(&self.mean)),
            ("std", all_finite(&self.std)),
            ("clamp", self.clamp.is_finite()),
            ("mu", all_finite(mu)),
            ("dmu", all_finite(dmu)),
            ("psi", all_finite(psi)),
            ("psi_in", all_finite(psi_in)),
        ];
        of_blocks.chain(others).find(|(_, finite)| !finite).map(|(name, _)| name)
    }
}

/// Whether no value is NaN or infinite.
pub(crate) fn all_finite<'v>(values: impl IntoIterator<Item = &'v f32>) -> bool {
    values.into_iter().all(|value| value.is_finite())
}

/// One flow block. With `[x1, x2] = x`, `c` the position code and
///
/// ```text
/// [a_s, a_t] = 0.1 * (relu([x1, c] w1 + b1) w2 + b2)
/// s = clamp * tanh(a_s)
/// u = [x1, x2 * exp(s) + a_t]
/// out = (u * scale + offset) mix          log|det| = sum(s) + sum(log(scale))
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BlockWeights {
    /// The side of the square of positions that both layers see, 1 or 3: beyond the grid's edges all is 0.
    pub side: usize,
    /// `(S * D1 + C, H)`, `S = side * side` positions row by row; of the last `C` rows the first half takes the code's columns half, the
    /// rest its rows half.
    pub w1: Array2<f32>,
    /// `(H)`
    pub b1: Array1<f32>,
    /// `(S * H, 2 * D2)`; columns `..D2` give `a_s`, the rest `a_t`.
    pub w2: Array2<f32>,
    /// `(2 * D2)`
    pub b2: Array1<f32>,
    /// The global affine's effective scale `(D)`, above 0.
    pub scale: Array1<f32>,
    /// The global affine's offset `(D)`.
    pub offset: Array1<f32>,
    /// The fixed random orthogonal matrix `(D, D)`.
    pub mix: Array2<f32>,
}
