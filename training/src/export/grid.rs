//! How a part's values come from its tap's grid to its level's: the same for every channel, and for rows and columns by
//! themselves, so that a graph needs two products with constants.

use ndarray::{Array2, ArrayView2};

/// Values `(h, w)` become `rows values columns`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToGrid {
    /// `(rows of the level's grid, rows of the tap's)`.
    pub rows: Array2<f32>,
    /// `(columns of the tap's grid, columns of the level's)`.
    pub columns: Array2<f32>,
}

impl ToGrid {
    /// From one grid (rows, columns) to another: bilinearly to a finer one, by weighted means to a coarser one. With `averaged`
    /// each value first becomes the mean of the 3x3 around it, of those that there are. `None` where nothing changes.
    pub fn new(from: (usize, usize), to: (usize, usize), averaged: bool) -> Option<Self> {
        if from == to && !averaged {
            return None;
        }
        let side = |to: usize, from: usize| {
            let matrix = resampling(to, from);
            let matrix = if averaged { matrix.dot(&neighbours(from)) } else { matrix };
            matrix.mapv(|weight| weight as f32)
        };
        Some(ToGrid { rows: side(to.0, from.0), columns: side(to.1, from.1).reversed_axes() })
    }

    /// The values of one channel on the level's grid.
    pub fn apply(&self, values: ArrayView2<f32>) -> Array2<f32> {
        self.rows.dot(&values).dot(&self.columns)
    }
}

/// The `(to, from)` matrix whose rows are triangles as wide as the step of the coarser of the two grids.
fn resampling(to: usize, from: usize) -> Array2<f64> {
    let step = from as f64 / to as f64;
    let reach = step.max(1.0);
    let mut matrix = Array2::<f64>::zeros((to, from));
    for i in 0..to {
        let center = (i as f64 + 0.5) * step - 0.5;
        for j in (center - reach).floor() as i64..=(center + reach).ceil() as i64 {
            // What lies beyond an edge is as what lies on it.
            let place = j.clamp(0, from as i64 - 1) as usize;
            matrix[[i, place]] += (1.0 - (j as f64 - center).abs() / reach).max(0.0);
        }
    }
    summing_to_one(matrix)
}

/// The `(n, n)` matrix of means over a value and its neighbours.
fn neighbours(n: usize) -> Array2<f64> {
    summing_to_one(Array2::from_shape_fn((n, n), |(i, j)| if i.abs_diff(j) <= 1 { 1.0 } else { 0.0 }))
}

fn summing_to_one(mut matrix: Array2<f64>) -> Array2<f64> {
    for mut row in matrix.rows_mut() {
        let sum = row.sum();
        row /= sum;
    }
    matrix
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, array};

    use super::*;

    #[test]
    fn finer_grids_are_interpolated_and_coarser_ones_are_means() {
        assert_eq!(resampling(3, 3), Array2::<f64>::eye(3));
        assert_eq!(resampling(4, 2), array![[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]);
        assert_eq!(resampling(2, 4).row(0), array![0.5, 0.375, 0.125, 0.0]);
        for (to, from) in [(5, 3), (3, 7), (32, 16), (1, 6)] {
            assert!(resampling(to, from).sum_axis(Axis(1)).iter().all(|sum| (sum - 1.0).abs() < 1e-12));
        }
    }

    #[test]
    fn a_mean_is_that_of_the_neighbours_that_there_are() {
        assert_eq!(ToGrid::new((4, 5), (4, 5), false), None);
        let mut values = Array2::zeros((3, 4));
        values[[0, 0]] = 36.0;
        let averaged = ToGrid::new((3, 4), (3, 4), true).unwrap().apply(values.view());
        let expected = array![[9.0f32, 6.0, 0.0, 0.0], [6.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]];
        assert!((averaged - expected).iter().all(|difference| difference.abs() < 1e-5));
        let finer = ToGrid::new((3, 4), (6, 8), true).unwrap();
        let constant = finer.apply(Array2::from_elem((3, 4), 5.0).view());
        assert!(constant.dim() == (6, 8) && constant.iter().all(|value| (value - 5.0).abs() < 1e-5));
    }
}
