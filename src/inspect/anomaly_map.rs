//! From per-level maps on the feature grids to one anomaly map at the input's size.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, Axis, Zip, concatenate, s};

use crate::bundle::{InputSize, ScoreReference};

/// The Gaussian's standard deviation is this share of the input's width and height: the authors' 4 pixels at 256.
const BLUR: f64 = 4.0 / 256.0;

/// Working memory of a [`MapComposer`], which every map is composed in.
pub(crate) struct Canvas {
    /// Each level's map `(h, w)`, in standard deviations.
    standardised: Vec<Array2<f32>>,
    /// The levels' maps with the input's columns, one below the other `(sum of h, W)`.
    stacked: Array2<f32>,
}

/// Brings the levels' maps to the input's size and joins them.
///
/// Bilinear upsampling and the Gaussian are linear and separable, and so is their sum over levels: for every axis they
/// are one matrix, made once per network, and a map is two matrix products.
pub(crate) struct MapComposer {
    /// `(H, sum of h)`: every level's rows to the input's rows.
    rows: Array2<f32>,
    /// Per level `(w, W)`: its columns to the input's columns.
    columns: Vec<Array2<f32>>,
    /// Per level `h`.
    heights: Vec<usize>,
}

impl MapComposer {
    /// For levels with these `(h, w)` grids.
    pub(crate) fn new(size: InputSize, grids: &[(usize, usize)]) -> Self {
        let blur_rows = gaussian(size.height, BLUR * size.height as f64);
        let blur_columns = gaussian(size.width, BLUR * size.width as f64);
        let rows = grids.iter().map(|(h, _)| blur_rows.dot(&bilinear(size.height, *h))).collect::<Vec<_>>();
        let columns = grids.iter().map(|(_, w)| blur_columns.dot(&bilinear(size.width, *w)).reversed_axes()).collect();
        let rows = rows.iter().map(|matrix| matrix.view()).collect::<Vec<_>>();
        let rows = concatenate(Axis(1), &rows).expect("every level's matrix has the input's height");
        MapComposer { rows, columns, heights: grids.iter().map(|(h, _)| *h).collect() }
    }

    /// What it composes maps in.
    pub(crate) fn canvas(&self) -> Canvas {
        let heights = self.heights.iter().zip(&self.columns);
        Canvas {
            standardised: heights.map(|(h, columns)| Array2::zeros((*h, columns.nrows()))).collect(),
            stacked: Array2::zeros((self.rows.ncols(), self.columns[0].ncols())),
        }
    }

    /// The anomaly map `(H, W)`: the mean over levels of `(v - mean) / deviation`, in standard deviations of normal parts
    /// on this line, upsampled and smoothed. `levels[l]` is `(h, w)`, and `counts[l]` says where it counts; without, everywhere.
    ///
    /// The authors take `exp` of each map first, which is nearly 0 for everything that is a few nats off: a hair in a
    /// blister then counts no more than a highlight.
    pub(crate) fn compose(
        &self,
        levels: &[Array2<f32>],
        reference: &ScoreReference,
        counts: Option<&[Array2<bool>]>,
        canvas: &mut Canvas,
    ) -> Array2<f32> {
        let Canvas { standardised, stacked } = canvas;
        let constants = reference.mean.iter().zip(&reference.deviation);
        let each = standardised.iter_mut().zip(levels).zip(&self.columns).zip(constants);
        let mut row = 0;
        for (l, (((standardised, map), columns), (mean, deviation))) in each.enumerate() {
            let share = 1.0 / (deviation * levels.len() as f32);
            Zip::from(&mut *standardised).and(map).for_each(|value, distance| *value = (distance - mean) * share);
            if let Some(counts) = counts {
                // What is ignored is as usual as can be, or it would reach over the edge of the ignored area when it is smoothed.
                Zip::from(&mut *standardised).and(&counts[l]).for_each(|value, counts| {
                    if !counts {
                        *value = 0.0;
                    }
                });
            }
            let mut rows = stacked.slice_mut(s![row..row + map.nrows(), ..]);
            general_mat_mul(1.0, standardised, columns, 0.0, &mut rows);
            row += map.nrows();
        }
        self.rows.dot(stacked)
    }
}

/// The `(to, from)` matrix of bilinear interpolation with pixel centers at half-integers, edges repeated.
pub fn bilinear(to: usize, from: usize) -> Array2<f32> {
    let mut matrix = Array2::zeros((to, from));
    for i in 0..to {
        let position = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64);
        let (low, share) = (position.floor() as usize, position.fract() as f32);
        matrix[[i, low]] += 1.0 - share;
        matrix[[i, (low + 1).min(from - 1)]] += share;
    }
    matrix
}

/// The `(n, n)` matrix of a Gaussian filter, cut at 4 sigma, the signal mirrored at its ends.
pub fn gaussian(n: usize, sigma: f64) -> Array2<f32> {
    let radius = (4.0 * sigma).ceil() as i64;
    let kernel = Array1::from_iter((-radius..=radius).map(|x| (-0.5 * (x as f64 / sigma).powi(2)).exp()));
    let kernel = &kernel / kernel.sum();
    let mirrored = |x: i64| {
        let period = 2 * n as i64;
        let x = x.rem_euclid(period);
        (if x < n as i64 { x } else { period - 1 - x }) as usize
    };
    let mut matrix = Array2::zeros((n, n));
    for i in 0..n {
        for (x, weight) in (-radius..=radius).zip(&kernel) {
            matrix[[i, mirrored(i as i64 + x)]] += *weight as f32;
        }
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::mask::tests::mask;

    #[test]
    fn interpolation_and_blur_keep_constants() {
        for matrix in [bilinear(256, 16), bilinear(7, 7), bilinear(5, 1), gaussian(64, 1.0), gaussian(9, 4.0)] {
            for row in matrix.rows() {
                assert!((row.sum() - 1.0).abs() < 1e-5);
            }
        }
        assert_eq!(bilinear(3, 3), Array2::<f32>::eye(3));
        assert_eq!(bilinear(4, 2).row(1).to_vec(), [0.75, 0.25]);
    }

    #[test]
    fn a_position_that_no_level_finds_usual_stands_out_where_it_is() {
        let size = InputSize { width: 64, height: 32 };
        let composer = MapComposer::new(size, &[(8, 16), (4, 8)]);
        let level = |h: usize, w: usize, bad: (usize, usize)| {
            let mut map = Array2::from_elem((h, w), 1.0);
            map[bad] = 20.0;
            map
        };
        let reference = ScoreReference::new(vec![1.0; 2], vec![2.0; 2]);
        let levels = [level(8, 16, (2, 12)), level(4, 8, (1, 6))];
        let map = composer.compose(&levels, &reference, None, &mut composer.canvas());
        assert_eq!(map.dim(), (32, 64));
        let (peak, _) = map.indexed_iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
        assert!((8..16).contains(&peak.0) && (48..56).contains(&peak.1), "{peak:?}");
        assert!(map[[30, 2]].abs() < 1e-6);
    }

    #[test]
    fn what_is_ignored_does_not_reach_over_its_edge() {
        let composer = MapComposer::new(InputSize { width: 64, height: 32 }, &[(8, 16)]);
        // Column 7 of the level lies in the ignored half, one position from its edge.
        let mut level = Array2::from_elem((8, 16), 1.0);
        level[[4, 7]] = 1000.0;
        let reference = ScoreReference::new(vec![1.0], vec![1.0]);
        // One canvas for all: what was composed in it before leaves no trace.
        let mut canvas = composer.canvas();
        let mut seen = |counts: Option<&[Array2<bool>]>| {
            composer.compose(&[level.clone()], &reference, counts, &mut canvas)[[18, 33]]
        };
        let right_of = |first: usize| [mask((32, 64), |x, _| x >= first).on((8, 16))];
        let (whole, beyond, edge) = (seen(None), seen(Some(&right_of(32))), seen(Some(&right_of(31))));
        // What lies on the edge is looked at.
        assert!(whole > 10.0 && beyond == 0.0 && edge > 10.0, "{whole} {beyond} {edge}");
    }

    #[test]
    fn the_map_is_in_standard_deviations() {
        let composer = MapComposer::new(InputSize { width: 16, height: 16 }, &[(4, 4), (2, 2)]);
        let reference = ScoreReference::new(vec![1.0, -1.0], vec![0.5, 2.0]);
        // 2 deviations on the first level and 1 on the second: 1.5 in the mean.
        let levels = [Array2::from_elem((4, 4), 2.0), Array2::from_elem((2, 2), 1.0)];
        let map = composer.compose(&levels, &reference, None, &mut composer.canvas());
        assert!(map.iter().all(|value| (value - 1.5).abs() < 1e-5), "{map}");
    }
}
