//! What storing the weights in 8 bits changes, on real frames.

use std::fmt;
use std::path::PathBuf;

use hgad::bundle::Bundle;
use hgad::inspect::Latents;
use hgad::inspect::batch::for_each_image;
use hgad::{Error, Result};

/// Frames per class that the comparison looks at.
const FRAMES: usize = 16;

/// How far the outputs with 8-bit weights lie from those with float weights.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightError {
    /// Frames compared.
    pub frames: usize,
    /// Per level, in the bundle's order.
    pub levels: Vec<LevelError>,
    /// The largest difference of a frame's score, in the score's unit: standard deviations of normal parts.
    pub score: f32,
}

/// The error of one level, as root mean square over all frames, relative to the output's own root mean square.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelError {
    /// The backbone's tensor.
    pub tap: String,
    /// Of the latents.
    pub z: f32,
    /// Of the log-determinant.
    pub logdet: f32,
}

impl WeightError {
    pub(super) fn to_toml(&self) -> toml::Table {
        let level = |level: &LevelError| {
            toml::Table::from_iter([
                ("tap".to_owned(), level.tap.clone().into()),
                ("z".to_owned(), f64::from(level.z).into()),
                ("logdet".to_owned(), f64::from(level.logdet).into()),
            ])
        };
        toml::Table::from_iter([
            ("frames".to_owned(), (self.frames as i64).into()),
            ("score".to_owned(), f64::from(self.score).into()),
            ("levels".to_owned(), toml::Value::Array(self.levels.iter().map(|l| level(l).into()).collect())),
        ])
    }
}

impl fmt::Display for WeightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "8-bit weights against float weights, {} normal frames (root mean square, relative):",
            self.frames
        )?;
        for level in &self.levels {
            writeln!(f, "  {:<24} z {:.4}   log-determinant {:.4}", level.tap, level.z, level.logdet)?;
        }
        write!(f, "  largest difference of a score {:.4} standard deviations", self.score)
    }
}

/// Compares both bundles, which hold the same mixture and constants, on some normal images of every class.
pub(super) fn compare(float: &Bundle, int8: &Bundle, normals: &[Vec<PathBuf>]) -> Result<WeightError> {
    let mut sums = vec![Squares::default(); float.manifest.levels.len()];
    let mut error = WeightError { frames: 0, levels: Vec::new(), score: 0.0 };
    for (class, images) in normals.iter().enumerate() {
        let images = &images[..images.len().min(FRAMES)];
        let reference = &int8.centers.references[class];
        let outputs = |bundle| {
            for_each_image(bundle, "8-bit weights", images, |inspector, _, _, image| {
                Ok((inspector.latents(&image)?, inspector.inspect(&image, class, reference)?.score))
            })
        };
        let (exact, stored) = (outputs(float)?, outputs(int8)?);
        for (((exact, exact_score), (stored, stored_score)), path) in exact.iter().zip(&stored).zip(images) {
            sums.iter_mut().enumerate().for_each(|(l, sum)| sum.add(exact, stored, l));
            error.frames += 1;
            let difference = (exact_score - stored_score).abs();
            // `max` would pass over what is not a number.
            if !difference.is_finite() {
                return Err(Error::check(format!("the scores of {} cannot be compared", path.display()))
                    .because(format!("{exact_score} with float weights, {stored_score} with 8-bit weights")));
            }
            error.score = error.score.max(difference);
        }
    }
    error.levels = float.manifest.levels.iter().zip(&sums).map(|(level, sum)| sum.relative(&level.tap)).collect();
    Ok(error)
}

/// Sums of squares of one level: `[of the error, of the output]`.
#[derive(Debug, Clone, Copy, Default)]
struct Squares {
    z: [f64; 2],
    logdet: [f64; 2],
}

impl Squares {
    fn add(&mut self, exact: &Latents, stored: &Latents, level: usize) {
        accumulate(&mut self.z, exact.z[level].iter().zip(&stored.z[level]));
        accumulate(&mut self.logdet, exact.logdet[level].iter().zip(&stored.logdet[level]));
    }

    fn relative(&self, tap: &str) -> LevelError {
        let ratio = |[error, output]: [f64; 2]| (error / output.max(f64::MIN_POSITIVE)).sqrt() as f32;
        LevelError { tap: tap.to_owned(), z: ratio(self.z), logdet: ratio(self.logdet) }
    }
}

fn accumulate<'v>([error, output]: &mut [f64; 2], pairs: impl Iterator<Item = (&'v f32, &'v f32)>) {
    for (&exact, &stored) in pairs {
        *error += f64::from(exact - stored).powi(2);
        *output += f64::from(exact).powi(2);
    }
}
