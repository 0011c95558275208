//! A memory of normal features: how far a position lies from the nearest of them.

use hgad::bundle::{Distance, LevelCenters};
use hgad::{Error, Result};
use ndarray::{Array1, Array2, Array3, ArrayView1, Axis, concatenate, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::joined::Joined;
use super::{Learned, Lesson, Method, Outcome, told};
use crate::flow::gaussian;
use crate::progress::Progress;

/// The logit of a center that never counts: a product's mean stands first in the mixture, but is no feature that was seen.
const NEVER: f32 = -1e6;

/// Vectors are compared by so many random projections while those to remember are chosen.
const PROJECTIONS: usize = 32;

/// A nearest-neighbour memory, as in PatchCore (Roth et al., CVPR 2022): means of features over 3x3 positions on the coarsest tap's
/// grid, of which a few stand for all.
pub struct Memory {
    /// How many vectors of each product are remembered.
    pub size: usize,
    /// Where the choice begins.
    pub seed: u64,
}

impl Method for Memory {
    /// Chooses what to remember: again and again the vector that lies farthest from those that were chosen.
    ///
    /// # Errors
    ///
    /// A product has fewer vectors than are to be remembered (a usage error); the user wants to stop.
    fn learn(&self, lesson: &Lesson) -> Result<Outcome> {
        let joined = Joined::new(lesson);
        self.check(lesson, joined.positions())?;
        let mu = joined.class_means();
        let (classes, channels) = mu.dim();
        let mut dmu = Array3::zeros((classes, self.size, channels));
        let mut farthest = 0f32;
        for class in 0..classes {
            let images = (0..lesson.labels.len()).filter(|&image| lesson.labels[image] == class).collect::<Vec<_>>();
            let vectors = images.par_iter().map(|&image| joined.vectors(image)).collect::<Vec<_>>();
            let vectors = vectors.iter().map(|vectors| vectors.view()).collect::<Vec<_>>();
            let vectors = concatenate(Axis(0), &vectors).expect("all images have the level's channels");
            let (chosen, reach) = self.choose(&vectors, class, lesson)?;
            farthest = farthest.max(reach);
            dmu.slice_mut(s![class, .., ..]).assign(&(vectors.select(Axis(0), &chosen) - mu.row(class)));
        }
        let mut psi_in = Array2::zeros((classes, self.size + 1));
        psi_in.column_mut(0).fill(NEVER);
        let centers = LevelCenters { mu, dmu, psi: Array1::zeros(classes), psi_in };
        let table = toml::Table::from_iter([
            ("method".to_owned(), "memory".into()),
            ("remembered".to_owned(), (self.size as i64).into()),
            ("seed".to_owned(), told(self.seed)?),
            // How far a vector lies from the nearest that is remembered at most, per channel.
            ("reach".to_owned(), f64::from(farthest).into()),
        ]);
        let (levels, join) = joined.levels(Some(centers));
        Ok(Outcome::Learned(Box::new(Learned {
            levels,
            join: Some(join),
            distance: Distance::Centers,
            told: table,
            figures: Vec::new(),
            likelihoods: None,
        })))
    }
}

impl Memory {
    /// Every product must have so many vectors, of `positions` an image.
    fn check(&self, lesson: &Lesson, positions: usize) -> Result<()> {
        let images = |class: usize| lesson.labels.iter().filter(|&&label| label == class).count();
        let fewest = (0..lesson.classes).map(images).min().unwrap_or(0) * positions;
        match fewest < self.size {
            false => Ok(()),
            true => Err(Error::usage(format!(
                "a product has {fewest} feature vectors, fewer than the {} to remember",
                self.size
            ))
            .advise("remember fewer (--remember), or add normal images")),
        }
    }

    /// The rows of `vectors` to remember, and how far, per channel, the others lie from the nearest of these at most.
    fn choose(&self, vectors: &Array2<f32>, class: usize, lesson: &Lesson) -> Result<(Vec<usize>, f32)> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed.wrapping_add(class as u64));
        let width = PROJECTIONS.min(vectors.ncols());
        let scale = (width as f32).sqrt().recip();
        let projection =
            Array2::from_shape_simple_fn((vectors.ncols(), width), || scale * gaussian(&mut random) as f32);
        let projected = vectors.dot(&projection);
        let mut distances = vec![f32::INFINITY; projected.nrows()];
        let mut chosen = vec![random.random_range(0..projected.nrows())];
        let mut progress = Progress::start("memory", "vectors", 1, self.size);
        loop {
            if lesson.stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(
                    Error::device("interrupted while the memory was chosen").advise("start again: it is soon done")
                );
            }
            let farthest = approach(&mut distances, &projected, projected.row(chosen[chosen.len() - 1]));
            progress.at(chosen.len(), String::new);
            if chosen.len() == self.size {
                progress.finish();
                return Ok((chosen, (distances[farthest] / vectors.ncols() as f32).sqrt()));
            }
            chosen.push(farthest);
        }
    }
}

/// Takes `center` into account in every vector's squared `distance` from the nearest center, and gives the vector that is the
/// farthest then, the first of those that are equally far.
fn approach(distances: &mut [f32], vectors: &Array2<f32>, center: ArrayView1<f32>) -> usize {
    let width = vectors.ncols();
    let (values, center) = (vectors.as_slice().expect("products are in rows"), center.to_vec());
    let rows = values.par_chunks_exact(width).zip(distances.par_iter_mut()).enumerate();
    let farthest = rows.map(|(row, (vector, distance))| {
        let square = vector.iter().zip(&center).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        *distance = distance.min(square);
        (*distance, row)
    });
    farthest.reduce(|| (f32::NEG_INFINITY, 0), |a, b| if b.0 > a.0 || (b.0 == a.0 && b.1 < a.1) { b } else { a }).1
}
