//! One training with one seed, judged by every criterion.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use hgad::digest::Digest;
use hgad::draft;
use hgad::evaluate::curve::Curve;
use hgad::evaluate::pixels::Spool;
use hgad::evaluate::regions::Regions;
use hgad::{Error, ErrorKind, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::criterion::{Composer, Constants, Values};
use super::table::Criterion;
use super::{Ground, Sample, task};
use crate::fit::{Device, Outcome, Processor, Recipe};
use crate::flow::{Flow, LevelWeights};

/// The format of a cell's file, and the way in which it is judged: a change of either changes it.
const FORMAT: u32 = 2;

/// A training's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The digest of all that decides it.
    pub settings: Digest,
    /// The hyperparameters.
    pub recipe: Recipe,
    /// The products.
    pub classes: Vec<String>,
    /// How many images were learned from, and how many judged.
    pub images: [usize; 2],
    /// How long it takes whole, on the machine that computed it; none where that took no step of it, or it diverged.
    pub seconds: Option<f64>,
    /// Why there are no figures: what of the training was no longer finite. It would be the same again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<String>,
    /// The figures of each product by each criterion.
    pub figures: BTreeMap<Criterion, Vec<Figures>>,
}

/// The slides' two figures of one product.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Area under the ROC of the images' scores; none without a good and a defective image.
    pub image: Option<f64>,
    /// That of the maps' pixels; none without a mask.
    pub pixel: Option<f64>,
}

impl Cell {
    /// The means over the products by a criterion: of images and of pixels.
    pub fn mean(&self, criterion: Criterion) -> Figures {
        let classes = self.figures.get(&criterion).map_or(&[][..], Vec::as_slice);
        let mean = |of: fn(&Figures) -> Option<f64>| {
            let known = classes.iter().filter_map(of).collect::<Vec<_>>();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        Figures { image: mean(|figures| figures.image), pixel: mean(|figures| figures.pixel) }
    }

    /// The finished cell of a training, if there is one in `folder`; one that cannot be read is missing, and told of.
    ///
    /// # Errors
    ///
    /// As training.
    pub(super) fn read(folder: &Path, recipe: &Recipe, ground: &Ground) -> Result<Option<Self>> {
        let settings = settings(recipe, ground)?;
        let path = file(folder, settings, "json");
        let parsed = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error.to_string()),
            Ok(bytes) => serde_json::from_slice::<Cell>(&bytes).map_err(|error| error.to_string()),
        };
        match parsed {
            Ok(cell) if cell.settings == settings => {
                // A kill may have come between the cell and the end of its checkpoint.
                let _ = std::fs::remove_file(file(folder, settings, "checkpoint"));
                Ok(Some(cell))
            }
            other => {
                let why = other.err().unwrap_or_else(|| "it is of other settings".to_owned());
                log::warn!("the cell {} cannot be used and will be computed again: {why}", path.display());
                Ok(None)
            }
        }
    }

    /// Trains, goes on from a checkpoint if there is one, judges, and writes the file; `None` where it was asked to stop.
    pub(super) fn compute(
        folder: &Path,
        recipe: &Recipe,
        ground: &Ground,
        device: Device,
        stop: &AtomicBool,
    ) -> Result<Option<Self>> {
        let settings = settings(recipe, ground)?;
        let started = Instant::now();
        let checkpoint = file(folder, settings, "checkpoint");
        let resume = checkpoint.exists();
        let (figures, seconds, diverged) = match device.fit(&task(recipe, ground, checkpoint.clone(), resume), stop) {
            Ok(Outcome::Interrupted { .. }) => return Ok(None),
            Ok(Outcome::Finished(fitted)) => {
                // Steps that an earlier process took are counted at the pace of these.
                let pace = started.elapsed().as_secs_f64() / fitted.own_steps.max(1) as f64;
                let (training, judging) = (pace * fitted.steps as f64, Instant::now());
                let figures = judge(&fitted.levels, recipe, ground)?;
                let seconds = (fitted.own_steps > 0).then(|| training + judging.elapsed().as_secs_f64());
                (figures, seconds, None)
            }
            // The same settings would diverge again: that is their result.
            Err(error) if error.kind() == ErrorKind::Check => (BTreeMap::new(), None, Some(error.to_string())),
            Err(error) => return Err(error),
        };
        if let Some(why) = &diverged {
            log::warn!("{why}: it has no figures");
        }
        let cell = Cell {
            settings,
            recipe: *recipe,
            classes: ground.classes.to_vec(),
            images: [ground.train.labels.len(), ground.test.labels.len()],
            seconds,
            diverged,
            figures,
        };
        let path = file(folder, settings, "json");
        let failed = |error: std::io::Error| {
            Error::device(format!("the cell {} cannot be written", path.display())).because(error)
        };
        let text = serde_json::to_vec(&cell).map_err(|error| failed(error.into()))?;
        draft::replace(&path, &text).map_err(failed)?;
        // The cell is kept; a checkpoint that could not be deleted would be found finished.
        let _ = std::fs::remove_file(&checkpoint);
        Ok(Some(cell))
    }
}

fn file(folder: &Path, settings: Digest, ending: &str) -> PathBuf {
    folder.join(format!("cell-{}.{ending}", settings.short()))
}

/// The digest of all that decides a cell.
pub(super) fn settings(recipe: &Recipe, ground: &Ground) -> Result<Digest> {
    #[derive(Serialize)]
    struct Settings<'s> {
        format: u32,
        recipe: &'s Recipe,
        classes: &'s [String],
        train: (Digest, &'s [usize]),
        held: (Digest, &'s [usize]),
        test: (Digest, &'s [usize]),
        defective: &'s [bool],
        /// Which pixel of each image belongs to which defect.
        regions: Vec<Option<Digest>>,
    }
    let sample = |sample: &Sample<'_>| sample.features.key;
    let settings = Settings {
        format: FORMAT,
        recipe,
        classes: ground.classes,
        train: (sample(&ground.train), ground.train.labels),
        held: (sample(&ground.held), ground.held.labels),
        test: (sample(&ground.test), ground.test.labels),
        defective: ground.defective,
        regions: ground.regions.iter().map(|regions| regions.as_ref().map(of_regions)).collect(),
    };
    let text = serde_json::to_vec(&settings)
        .map_err(|error| Error::usage("a hyperparameter is not a finite number").because(error))?;
    Ok(Digest::of(text))
}

fn of_regions(regions: &Regions) -> Digest {
    let (rows, columns) = regions.labels.dim();
    let numbers = [rows as u32, columns as u32].into_iter().chain(regions.labels.iter().copied());
    Digest::of(numbers.flat_map(u32::to_le_bytes).collect::<Vec<_>>())
}

/// Takes the normal images that were held out for constants, and judges the test images by every criterion that the recipe has.
fn judge(levels: &[LevelWeights], recipe: &Recipe, ground: &Ground) -> Result<BTreeMap<Criterion, Vec<Figures>>> {
    let flows = levels.iter().map(|level| level.on::<Processor>(&Default::default())).collect::<Vec<_>>();
    let composer = Composer::new(levels, ground.size);
    let one_center = recipe.prior == crate::fit::Prior::Standard;
    let criteria = Criterion::ALL.into_iter().filter(|criterion| !one_center || *criterion == Criterion::Logps);
    let criteria = criteria.collect::<Vec<_>>();
    let mut figures = criteria.iter().map(|criterion| (*criterion, Vec::new())).collect::<BTreeMap<_, _>>();
    for class in 0..ground.classes.len() {
        let values = |sample: &Sample, image: usize| values(levels, &flows, recipe, sample, image);
        let of_class =
            |sample: &Sample| (0..sample.labels.len()).filter(|i| sample.labels[*i] == class).collect::<Vec<_>>();
        let held = of_class(&ground.held).into_par_iter().map(|image| values(&ground.held, image));
        let constants = composer.constants(&held.collect::<Result<Vec<_>>>()?);
        let images = of_class(&ground.test);
        let seen = images.par_iter().map(|image| values(&ground.test, *image)).collect::<Result<Vec<_>>>()?;
        for criterion in &criteria {
            let of_class = of_maps(&composer, &constants, *criterion, &images, &seen, ground)?;
            figures.entry(*criterion).or_default().push(of_class);
        }
    }
    Ok(figures)
}

fn values(
    levels: &[LevelWeights],
    flows: &[Flow<Processor>],
    recipe: &Recipe,
    sample: &Sample,
    image: usize,
) -> Result<Values> {
    let of_levels = flows.iter().zip(&sample.features.levels);
    let latents = of_levels.map(|(flow, features)| flow.latents(features.image(image))).collect::<Result<Vec<_>>>()?;
    Ok(Values::of(levels, &latents, recipe.knows_labels().then_some(sample.labels[image])))
}

fn of_maps(
    composer: &Composer,
    constants: &Constants,
    criterion: Criterion,
    images: &[usize],
    seen: &[Values],
    ground: &Ground,
) -> Result<Figures> {
    let maps = seen.par_iter().map(|values| composer.map(values, constants, criterion)).collect::<Vec<_>>();
    let (mut spool, mut scores) = (Spool::new()?, Vec::with_capacity(maps.len()));
    for (place, (image, map)) in images.iter().zip(&maps).enumerate() {
        // What is not a number is the worst.
        scores.push((map.iter().copied().fold(0f32, worst), ground.defective[*image]));
        if let Some(regions) = &ground.regions[*image] {
            spool.push(place, map, regions)?;
        }
    }
    let pixels = spool.finish()?.and_then(|pixels| pixels.resampled(&|_| 1.0));
    Ok(Figures { image: Curve::of(scores).map(|curve| curve.auroc()), pixel: pixels.map(|pixels| pixels[0]) })
}

/// The larger one; what is not a number is larger than any, whatever comes after it.
fn worst(most: f32, value: f32) -> f32 {
    if most.is_nan() || value.is_nan() { f32::NAN } else { most.max(value) }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn what_is_not_a_number_stays_the_worst() {
        assert!([1.0, f32::NAN, 2.0].into_iter().fold(0.0, worst).is_nan());
        assert_eq!([1.0, 3.0, 2.0].into_iter().fold(0.0, worst), 3.0);
    }

    #[test]
    fn a_mask_that_is_moved_or_of_another_size_is_another() {
        let of = |grid, at: (usize, usize)| {
            let mask = Array2::from_shape_fn(grid, |place| place == at || place == (at.0, at.1 + 1));
            let regions = Regions::of(&mask);
            (regions.sizes.clone(), of_regions(&regions))
        };
        let (sizes, digest) = of((4, 4), (1, 1));
        assert_eq!((sizes.clone(), digest), of((4, 4), (1, 1)));
        // The same numbers in a row, on another grid.
        for (grid, at) in [((4, 4), (2, 1)), ((2, 8), (0, 5))] {
            let (other_sizes, other) = of(grid, at);
            assert!(other_sizes == sizes && other != digest);
        }
    }
}
