//! Distances of latents from what is usual at their cell: a Gaussian for every class, level and cell of the grid.
//!
//! The learned mixture has the same centers everywhere, and the identity as covariance. A flow brings latents near that, not
//! to it: at one cell of one product they spread less, and in directions of their own. Normal images tell where and how
//! ([`fit`]), and the distance from there is Mahalanobis's ([`distance`]). Gaussians by position are those of PaDiM (Defard
//! et al., 2021), which has them of a classifier's features.

use std::panic::resume_unwind;

use hgad_kernels::multiply_triangle;
use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut1, Axis, s};

use crate::bundle::CellGaussians;

/// So many groups of images are measured by the Gaussians of the others.
const FOLDS: usize = 5;

/// The variance that every cell gets on top of its own, as a share of the whole level's: where all images were alike, as on
/// a bare background, the next one need not be.
const LEAST_VARIANCE: f64 = 0.05;

/// Where all images are equal everywhere, a variance is this: a frame that differs stands out, and nothing is divided by 0.
const NO_VARIANCE: f64 = 1e-6;

/// How far every position `(h, w)` lies from what is usual at its cell for class `class`, per channel: Mahalanobis's distance
/// over the square root of D, about 1 for what is usual. `z` is `(D, h, w)`.
pub fn distance(z: ArrayView3<f32>, gaussians: &CellGaussians, class: usize) -> Array2<f32> {
    let (_, h, w) = z.dim();
    let mut map = Array2::zeros((h, w));
    measure(z, gaussians, class, &mut Vec::new(), &mut map);
    map
}

/// [`distance`], in `map`; `room` is working memory.
pub(super) fn measure(
    z: ArrayView3<f32>,
    gaussians: &CellGaussians,
    class: usize,
    room: &mut Vec<f32>,
    map: &mut Array2<f32>,
) {
    let (d, _, w) = z.dim();
    let of_cells = z.permuted_axes([1, 2, 0]);
    let of_class = gaussians.of_class(class);
    room.resize(room.len().max(2 * d), 0.0);
    let (centred, whitened) = room[..2 * d].split_at_mut(d);
    let mut square = |cell: usize, z: ArrayView1<f32>| -> f32 {
        let (mean, scale, weights) = of_class.at(cell);
        centred.iter_mut().zip(z).zip(mean).for_each(|((centred, z), mean)| *centred = z - mean);
        multiply_triangle(weights, centred, whitened).expect("the bundle's triangles have the level's channels");
        whitened.iter().zip(scale).map(|(sum, scale)| (sum * scale).powi(2)).sum()
    };
    for ((y, x), distance) in map.indexed_iter_mut() {
        *distance = (square(y * w + x, of_cells.slice(s![y, x, ..])) / d as f32).sqrt();
    }
}

/// What is usual at every cell of one level for one class, from the latents `(D, h, w)` of its normal images, of which there
/// is one at least; and how far each image lies, `(h, w)`, from what is usual of the others: an image has a share in its own
/// Gaussians, and lies nearer to these than one to come.
///
/// The covariance is shrunk towards a multiple of the identity by as much as "oracle approximating shrinkage" says (Chen,
/// Wiesel, Eldar and Hero, *Shrinkage algorithms for MMSE covariance estimation*, 2010): of a cell there are hardly more
/// images than channels.
pub fn fit(images: &[ArrayView3<f32>]) -> (CellGaussians, Vec<Array2<f32>>) {
    let latents = Latents::new(images);
    let all = (0..images.len()).collect::<Vec<_>>();
    let gaussians = latents.gaussians(&all);
    let folds = FOLDS.min(images.len());
    if folds < 2 {
        let distances = images.iter().map(|z| distance(z.view(), &gaussians, 0)).collect();
        return (gaussians, distances);
    }
    let of_others = (0..folds).map(|fold| {
        let others = all.iter().copied().filter(|image| image % folds != fold);
        latents.gaussians(&others.collect::<Vec<_>>())
    });
    let of_others = of_others.collect::<Vec<_>>();
    let crossed = images.iter().enumerate().map(|(image, z)| distance(z.view(), &of_others[image % folds], 0));
    let crossed = crossed.collect();
    (gaussians, crossed)
}

/// The latents of one class's images at one level, cell by cell.
struct Latents {
    /// `(h * w, images, D)`.
    of_cells: Array3<f32>,
    grid: (usize, usize),
}

impl Latents {
    fn new(images: &[ArrayView3<f32>]) -> Self {
        let (d, h, w) = images[0].dim();
        let mut of_cells = Array3::zeros((h * w, images.len(), d));
        for (image, z) in images.iter().enumerate() {
            let z = z.to_shape((d, h * w)).expect("a grid's rows follow one another");
            of_cells.index_axis_mut(Axis(1), image).assign(&z.t());
        }
        Latents { of_cells, grid: (h, w) }
    }

    fn gaussians(&self, images: &[usize]) -> CellGaussians {
        let (cells, _, d) = self.of_cells.dim();
        let moments = on_all_cores(cells, |cell| {
            let values = self.of_cells.index_axis(Axis(0), cell).select(Axis(0), images).mapv(f64::from);
            moments(values)
        });
        let variance = moments.iter().map(|(_, covariance)| covariance.diag().sum()).sum::<f64>() / (cells * d) as f64;
        let least = (LEAST_VARIANCE * variance).max(NO_VARIANCE);
        let whitenings = on_all_cores(cells, |cell| {
            whitening(&(shrunk(&moments[cell].1, images.len()) + Array2::<f64>::eye(d) * least))
        });
        let mut gaussians = CellGaussians::zeros(1, self.grid, d);
        for (cell, ((mean, _), whitening)) in moments.iter().zip(&whitenings).enumerate() {
            let place = s![0, cell / self.grid.1, cell % self.grid.1, ..];
            gaussians.mean.slice_mut(place).assign(&mean.mapv(|value| value as f32));
            encode(whitening, gaussians.scale.slice_mut(place), gaussians.weights.slice_mut(place));
        }
        gaussians
    }
}

/// What `of` gives for each of `0..count`, in their order, a share of them on every core.
fn on_all_cores<T: Send>(count: usize, of: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let of = &of;
    let share = count.div_ceil(std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    std::thread::scope(|scope| {
        let some = |from: usize| scope.spawn(move || (from..count.min(from + share)).map(of).collect::<Vec<_>>());
        let threads = (0..count).step_by(share).map(some).collect::<Vec<_>>();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Mean `(D)` and covariance `(D, D)` of `(n, D)` values.
fn moments(values: Array2<f64>) -> (Array1<f64>, Array2<f64>) {
    let n = values.nrows() as f64;
    let mean = values.sum_axis(Axis(0)) / n;
    let centred = values - &mean;
    (mean, centred.t().dot(&centred) / (n - 1.0).max(1.0))
}

/// The covariance of `n` vectors, shrunk towards its mean variance: Chen et al., equation 23, with one vector less for the
/// mean.
fn shrunk(covariance: &Array2<f64>, n: usize) -> Array2<f64> {
    let (d, n) = (covariance.nrows() as f64, n as f64 - 1.0);
    let (trace, squares) = (covariance.diag().sum(), covariance.iter().map(|value| value * value).sum::<f64>());
    let share = ((1.0 - 2.0 / d) * squares + trace * trace) / ((n + 1.0 - 2.0 / d) * (squares - trace * trace / d));
    // Where the covariance is a multiple of the identity already, the share is infinite or, of no variance at all, no number.
    let share = if share < 1.0 { share.max(0.0) } else { 1.0 };
    (1.0 - share) * covariance + Array2::<f64>::eye(covariance.nrows()) * (share * trace / d)
}

/// The inverse of the lower Cholesky factor of `covariance`, which is positive definite: its product with a vector has as
/// its square Mahalanobis's.
fn whitening(covariance: &Array2<f64>) -> Array2<f64> {
    let d = covariance.nrows();
    let mut factor = Array2::<f64>::zeros((d, d));
    for i in 0..d {
        for j in 0..=i {
            let rest = covariance[[i, j]] - factor.slice(s![i, ..j]).dot(&factor.slice(s![j, ..j]));
            factor[[i, j]] = if i == j { rest.sqrt() } else { rest / factor[[j, j]] };
        }
    }
    invert(factor.view())
}

/// The inverse of a lower triangle.
fn invert(factor: ArrayView2<f64>) -> Array2<f64> {
    let d = factor.nrows();
    let mut inverse = Array2::<f64>::zeros((d, d));
    for i in 0..d {
        let (above, mut rest) = inverse.view_mut().split_at(Axis(0), i);
        let mut row = rest.row_mut(0);
        row.slice_mut(s![..i]).assign(&-factor.slice(s![i, ..i]).dot(&above.slice(s![.., ..i])));
        row[i] = 1.0;
        row /= factor[[i, i]];
    }
    inverse
}

/// Writes the lower triangle in 8 bits, its columns one after the other, with a scale for each row.
fn encode(whitening: &Array2<f64>, mut scales: ArrayViewMut1<f32>, mut codes: ArrayViewMut1<i8>) {
    for (scale, row) in scales.iter_mut().zip(whitening.rows()) {
        *scale = (row.fold(0.0, |most: f64, weight| most.max(weight.abs())) / f64::from(i8::MAX)) as f32;
    }
    let d = whitening.nrows();
    let places = (0..d).flat_map(|column| (column..d).map(move |row| (row, column)));
    for (code, place) in codes.iter_mut().zip(places) {
        *code = (whitening[place] / f64::from(scales[place.0])).round() as i8;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{array, stack};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const CHANNELS: usize = 7;

    /// Latents `(D, 2, 3)` whose channels depend on each other, and on the cell how far they spread.
    fn latents(count: usize, seed: u64) -> Vec<Array3<f32>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut image = || {
            let mut z = Array3::from_shape_simple_fn((CHANNELS, 2, 3), || random.random_range(-1.0..1.0f32));
            for channel in 1..CHANNELS {
                let before = z.index_axis(Axis(0), channel - 1).to_owned();
                z.index_axis_mut(Axis(0), channel).scaled_add(0.8, &before);
            }
            z.indexed_iter_mut().for_each(|((_, y, x), value)| *value = *value * (1 + y + 2 * x) as f32 + x as f32);
            z
        };
        (0..count).map(|_| image()).collect()
    }

    fn views(images: &[Array3<f32>]) -> Vec<ArrayView3<'_, f32>> {
        images.iter().map(|z| z.view()).collect()
    }

    /// The solution of `matrix x = right`, by Gauss and Jordan.
    fn solve(mut matrix: Array2<f64>, mut right: Array1<f64>) -> Array1<f64> {
        let d = right.len();
        for i in 0..d {
            let pivot = matrix[[i, i]];
            matrix.row_mut(i).mapv_inplace(|value| value / pivot);
            right[i] /= pivot;
            for other in (0..d).filter(|other| *other != i) {
                let factor = matrix[[other, i]];
                let row = matrix.row(i).to_owned();
                matrix.row_mut(other).scaled_add(-factor, &row);
                right[other] -= factor * right[i];
            }
        }
        right
    }

    #[test]
    fn the_distance_is_mahalanobis_s_of_the_cell_s_shrunk_covariance() {
        let (images, new) = (latents(40, 1), latents(5, 2));
        let (gaussians, _) = fit(&views(&images));
        let of_cell = |z: &Array3<f32>, y: usize, x: usize| -> Array1<f64> { z.slice(s![.., y, x]).mapv(f64::from) };
        let (d, n) = (CHANNELS as f64, images.len() as f64);
        let cells = (0..2).flat_map(|y| (0..3).map(move |x| (y, x))).collect::<Vec<_>>();
        let moments = cells.iter().map(|&(y, x)| {
            let mean = images.iter().fold(Array1::<f64>::zeros(CHANNELS), |sum, z| sum + &of_cell(z, y, x)) / n;
            let mut covariance = Array2::<f64>::zeros((CHANNELS, CHANNELS));
            for z in &images {
                let centred = of_cell(z, y, x) - &mean;
                covariance.indexed_iter_mut().for_each(|((i, j), value)| *value += centred[i] * centred[j] / (n - 1.0));
            }
            (mean, covariance)
        });
        let moments = moments.collect::<Vec<_>>();
        let variance = moments.iter().map(|(_, c)| c.diag().sum() / d).sum::<f64>() / cells.len() as f64;
        for z in &new {
            let distances = distance(z.view(), &gaussians, 0);
            for (&(y, x), (mean, covariance)) in cells.iter().zip(&moments) {
                let (trace, squares) = (covariance.diag().sum(), covariance.mapv(|value| value * value).sum());
                let share =
                    ((1.0 - 2.0 / d) * squares + trace * trace) / ((n - 2.0 / d) * (squares - trace * trace / d));
                assert!(share > 0.02 && share < 0.5, "{share}");
                let identity = Array2::<f64>::eye(CHANNELS);
                let shrunk =
                    covariance * (1.0 - share) + &identity * (share * trace / d) + &identity * (0.05 * variance);
                let centred: Array1<f64> = of_cell(z, y, x) - mean;
                let expected = (centred.dot(&solve(shrunk, centred.clone())) / d).sqrt();
                let seen = f64::from(distances[[y, x]]);
                assert!((seen / expected - 1.0).abs() < 0.01, "{y}, {x}: {seen} and {expected}");
            }
        }
    }

    #[test]
    fn a_covariance_of_few_vectors_is_shrunk_more() {
        // trace 4, squares 10: (0 * 10 + 16) / ((10 + 1 - 1) * (10 - 8)) = 0.8.
        let seen = shrunk(&array![[3.0, 0.0], [0.0, 1.0]], 11);
        let expected = array![[2.2, 0.0], [0.0, 1.8]];
        assert!((seen - expected).iter().all(|difference| difference.abs() < 1e-12));
        assert_eq!(
            shrunk(&array![[3.0, 0.0], [0.0, 1.0]], 2),
            array![[2.0, 0.0], [0.0, 2.0]],
            "of two nothing is known"
        );
        assert_eq!(shrunk(&Array2::zeros((3, 3)), 9), Array2::<f64>::zeros((3, 3)));
        assert_eq!(shrunk(&Array2::eye(3), 9), Array2::<f64>::eye(3));
    }

    #[test]
    fn normal_images_lie_at_one_from_what_is_usual_of_the_others_and_nearer_to_their_own() {
        let images = latents(60, 3);
        let (gaussians, crossed) = fit(&views(&images));
        let own = images.iter().map(|z| distance(z.view(), &gaussians, 0)).collect::<Vec<_>>();
        let new = latents(200, 4).iter().map(|z| distance(z.view(), &gaussians, 0)).collect::<Vec<_>>();
        let mean = |maps: &[Array2<f32>]| {
            let maps = maps.iter().map(|map| map.view()).collect::<Vec<_>>();
            stack(Axis(0), &maps).unwrap().mean().unwrap()
        };
        let [own, crossed, new] = [&own, &crossed, &new].map(|maps| mean(maps));
        assert!(own + 0.03 < new, "{own} and {new}");
        assert!((crossed / new - 1.0).abs() < 0.03 && (new - 1.0).abs() < 0.2, "{crossed} and {new}");
    }

    #[test]
    fn classes_are_measured_by_their_own_gaussians() {
        let (first, second) = (latents(30, 5), latents(30, 6).iter().map(|z| z + 90.0).collect::<Vec<_>>());
        let alone = [&first, &second].map(|images| fit(&views(images)).0);
        let joined = CellGaussians::join(&alone);
        for (class, gaussians) in alone.iter().enumerate() {
            let z = second[3].view();
            assert_eq!(distance(z, &joined, class), distance(z, gaussians, 0));
        }
        let far = distance(second[3].view(), &joined, 0);
        assert!(far.iter().zip(distance(second[3].view(), &joined, 1)).all(|(far, near)| *far > 2.0 * near));
    }

    #[test]
    fn few_and_equal_images_make_what_differs_stand_out() {
        let one = latents(1, 7);
        for images in [vec![one[0].clone()], vec![one[0].clone(); 6]] {
            let (gaussians, crossed) = fit(&views(&images));
            assert!(crossed.iter().all(|map| map.iter().all(|distance| *distance == 0.0)));
            let other = distance((&one[0] + 0.1).view(), &gaussians, 0);
            assert!(other.iter().all(|distance| distance.is_finite() && *distance > 50.0), "{other}");
        }
    }

    #[test]
    fn latents_beyond_all_numbers_are_never_near() {
        let (gaussians, _) = fit(&views(&latents(9, 8)));
        for value in [1e30, f32::MAX, f32::INFINITY, f32::NAN] {
            let far = distance(Array3::from_elem((CHANNELS, 2, 3), value).view(), &gaussians, 0);
            assert!(far.iter().all(|distance| distance.is_nan() || *distance > 1e18), "{far}");
        }
    }
}
