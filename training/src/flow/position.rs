//! The 2-D sine/cosine code of a grid position.

use ndarray::{Array2, s};

/// The position code of an `(height, width)` grid: half of its channels tell the column, the other half the row.
///
/// Because the two halves are independent, what a linear layer makes of the code is the sum of a part per column and a
/// part per row; the exporter stores these two small tables instead of one entry per position.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionCode {
    /// `(width, channels / 2)`: the first half of a position's code, by its column.
    pub columns: Array2<f32>,
    /// `(height, channels / 2)`: the second half of a position's code, by its row.
    pub rows: Array2<f32>,
}

impl PositionCode {
    /// The code with `channels` channels (a multiple of 4; the paper's models use 256).
    pub fn new(height: usize, width: usize, channels: usize) -> Self {
        assert_eq!(channels % 4, 0, "the position code needs a multiple of 4 channels, not {channels}");
        PositionCode { columns: axis_code(width, channels / 2), rows: axis_code(height, channels / 2) }
    }

    /// The code of every position in row-major order, `(height * width, channels)`.
    pub fn grid(&self) -> Array2<f32> {
        let (height, width, half) = (self.rows.nrows(), self.columns.nrows(), self.rows.ncols());
        let mut grid = Array2::zeros((height * width, 2 * half));
        for (p, mut code) in grid.rows_mut().into_iter().enumerate() {
            code.slice_mut(s![..half]).assign(&self.columns.row(p % width));
            code.slice_mut(s![half..]).assign(&self.rows.row(p / width));
        }
        grid
    }
}

/// Interleaved sines and cosines of falling frequency: `sin(i * 10000^(-2k / n)), cos(...)` ("Attention is all you
/// need", section 3.5), `(length, n)`.
fn axis_code(length: usize, n: usize) -> Array2<f32> {
    Array2::from_shape_fn((length, n), |(i, channel)| {
        let frequency = (-(10_000f64.ln()) * (channel / 2 * 2) as f64 / n as f64).exp();
        let angle = i as f64 * frequency;
        (if channel % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_holds_column_then_row() {
        let code = PositionCode::new(3, 5, 8);
        let grid = code.grid();
        assert_eq!(grid.dim(), (15, 8));
        assert_eq!(grid[[0, 1]], 1.0);
        assert_eq!(grid[[2 * 5 + 3, 0]], 3f32.sin());
        assert_eq!(grid[[2 * 5 + 3, 4]], 2f32.sin());
    }
}
