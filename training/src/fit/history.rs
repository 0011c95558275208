//! How a run went, for people who want to know why it ended as it did: `BUNDLE.history`, a folder beside the bundle.
//!
//! Until the bundle is written that is `BUNDLE.history.new`: what stands there is replaced, as its history is, by what is finished.
//!
//! `history.json` has the losses and, at some moments, how likely the features of normal images are that were not learned from;
//! beside it lie the weights of these moments. All of it follows from the run's settings alone: a run that was interrupted and
//! resumed leaves the same as one that was not. Nothing of it goes back into the training.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hgad::bundle::InputSize;
use hgad::digest::Digest;
use hgad::draft;
use hgad::{Error, Result};
use ndarray::Array1;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::device::Processor;
use super::recipe::Recipe;
use super::snapshot;
use crate::features::{Features, LevelFeatures};
use crate::flow::LevelWeights;
use crate::latents::Latents;
use crate::split::evenly;

/// The newest format of `history.json`.
const FORMAT: u32 = 1;
/// Losses are kept of about so many moments.
const MOMENTS: usize = 100;
/// Weights and likelihoods are kept after these shares of the epochs, in 32nds, and before the first step.
const SHARES: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// What all these likelihoods may cost: so much of the training's own work ...
const SHARE: f64 = 0.02;
/// ... in which a step back takes about twice a step forward; but in short trainings so many positions of a level are looked at each time.
const FORTH_AND_BACK: f64 = 3.0;
const FEWEST: f64 = 10_000.0;

/// Log-likelihoods are counted in so many bins ...
const BINS: usize = 320;
/// ... of this many nats per channel ...
const WIDTH: f32 = 0.05;
/// ... from here on; what lies below or above all of them counts in the first or last one.
const FIRST: f32 = -8.0;

/// What is watched of a run beside its losses, and where that is kept.
pub struct Watch<'t> {
    /// The folder.
    pub folder: PathBuf,
    /// What to say of the run.
    pub about: About,
    /// The features of normal images.
    pub normals: &'t Features,
    /// The class of each of these.
    pub labels: &'t [usize],
}

/// What a history says of its run's images and features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The products' names.
    pub classes: Vec<String>,
    /// Whether the watched images were held out of training.
    pub held_out: bool,
    /// The classifier's file.
    pub backbone: PathBuf,
    /// Its SHA-256.
    pub backbone_sha256: Digest,
    /// What its pixels are made to be.
    pub normalise: String,
    /// The tensors that features are taken from.
    pub taps: Vec<String>,
    /// The network's input.
    pub size: InputSize,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    format: u32,
    /// The digest of all that decides the run's result.
    pub run: Digest,
    /// The hyperparameters.
    pub recipe: Recipe,
    /// Steps in all.
    pub steps: usize,
    /// Steps of one epoch.
    pub steps_per_epoch: usize,
    /// Its images and features.
    pub about: About,
    /// The moments, in their order.
    pub records: Vec<Record>,
}

/// A moment of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Steps taken.
    pub step: usize,
    /// Running means of every level's losses, in the order of [`Losses::NAMES`](super::Losses::NAMES); none before the first step.
    pub losses: Vec<[f32; 5]>,
    /// Of every level and class, how likely the features of its normal images are; empty where the weights were not kept.
    pub likelihoods: Vec<Vec<Likelihoods>>,
}

/// How many features have which log-likelihood per channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Likelihoods {
    /// The first bin that holds one.
    first: usize,
    /// The counts from there to the last bin that holds one.
    counts: Vec<u64>,
}

impl Likelihoods {
    /// Counts values, in nats per channel. What is not a number is as unlikely as can be.
    pub fn of(values: impl IntoIterator<Item = f32>) -> Self {
        let mut counts = vec![0; BINS];
        for value in values {
            let bin = ((value - FIRST) / WIDTH).floor();
            // A cast takes what is not a number, or below 0, for 0.
            counts[(bin as usize).min(BINS - 1)] += 1;
        }
        Self::trimmed(&counts)
    }

    fn trimmed(counts: &[u64]) -> Self {
        let first = counts.iter().position(|count| *count > 0).unwrap_or(0);
        let end = counts.iter().rposition(|count| *count > 0).map_or(first, |last| last + 1);
        Likelihoods { first, counts: counts[first..end].to_vec() }
    }

    /// Both together.
    pub fn with(&self, other: &Self) -> Self {
        Self::trimmed(&self.all().iter().zip(other.all()).map(|(a, b)| a + b).collect::<Vec<_>>())
    }

    /// The counts of all bins.
    pub fn all(&self) -> Vec<u64> {
        let mut all = vec![0; BINS];
        // A file may say anything.
        all.iter_mut().skip(self.first).zip(&self.counts).for_each(|(bin, count)| *bin = *count);
        all
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The middle of bin number `bin`, in nats per channel.
    pub fn middle(bin: usize) -> f32 {
        FIRST + WIDTH * (bin as f32 + 0.5)
    }

    /// The mean, as the bins tell it; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        let sum = self.all().into_iter().enumerate().map(|(bin, count)| count as f64 * f64::from(Self::middle(bin)));
        let sum = sum.sum::<f64>();
        (self.total() > 0).then(|| sum / self.total() as f64)
    }

    /// The probability that one of these is likelier than one of `others`, those of one bin counting half: 1/2 where they cannot be
    /// told apart. `None` where one of both has none.
    pub fn above(&self, others: &Self) -> Option<f64> {
        let (mut below, mut wins) = (0.0, 0.0);
        for (own, other) in self.all().into_iter().zip(others.all()) {
            wins += own as f64 * (below + other as f64 / 2.0);
            below += other as f64;
        }
        (self.total() > 0 && others.total() > 0).then(|| wins / (self.total() as f64 * others.total() as f64))
    }
}

impl History {
    /// Where the history of a run that writes the bundle `out` lies: beside it.
    pub fn path_for(out: &Path) -> PathBuf {
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(".history");
        out.with_file_name(name)
    }

    /// Where it lies until that bundle is written.
    pub fn draft_for(out: &Path) -> PathBuf {
        let mut path = Self::path_for(out).into_os_string();
        path.push(".new");
        path.into()
    }

    /// Makes the draft the history of the bundle `out`, which was just written; without a draft, as other methods keep none, it has none.
    ///
    /// # Errors
    ///
    /// What stood there cannot be removed, or the draft not be renamed.
    pub fn adopt(out: &Path) -> Result<()> {
        let (draft, place) = (Self::draft_for(out), Self::path_for(out));
        let failed = |error: std::io::Error| {
            Error::device(format!("the history {} cannot be replaced", place.display()))
                .because(error)
                .advise("delete it: it is not that of the bundle")
        };
        for attempt in [std::fs::remove_dir_all(&place), std::fs::rename(&draft, &place)] {
            match attempt {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the history of the bundle `out`, which was replaced by one that was not trained. A draft stays: it is that of a training to
    /// come.
    ///
    /// # Errors
    ///
    /// It cannot be removed.
    pub fn forget(out: &Path) -> Result<()> {
        let place = Self::path_for(out);
        match std::fs::remove_dir_all(&place) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::device(format!("the history {} cannot be removed", place.display()))
                    .because(error)
                    .advise("delete it: it is not that of the bundle"))
            }
            _ => Ok(()),
        }
    }

    /// Reads the history in `folder`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// It cannot be read, is of another format, or contradicts itself.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("history.json");
        let unusable = || Error::device(format!("the history {} cannot be read", path.display()));
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable().because(error)),
        };
        let history: History = serde_json::from_slice(&bytes).map_err(|error| unusable().because(error))?;
        match history.format {
            FORMAT if history.is_whole() => Ok(Some(history)),
            FORMAT => Err(unusable().because("its moments are not of its taps and products")),
            other => Err(unusable().because(format!("its format is {other}, this program reads {FORMAT}"))),
        }
    }

    /// Whether every moment is of all taps and products.
    fn is_whole(&self) -> bool {
        let (taps, classes) = (self.about.taps.len(), self.about.classes.len());
        let of_taps = |count: usize| count == 0 || count == taps;
        self.records.iter().all(|record| {
            let of_classes = record.likelihoods.iter().all(|of_level| of_level.len() == classes);
            of_taps(record.losses.len()) && of_taps(record.likelihoods.len()) && of_classes
        })
    }

    /// The moments of which the weights were kept.
    pub fn kept(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| !record.likelihoods.is_empty())
    }

    /// What was learned by the moment of `record`, in the history's `folder`.
    ///
    /// # Errors
    ///
    /// Its file cannot be read.
    pub fn weights(folder: &Path, record: &Record) -> Result<Vec<LevelWeights>> {
        snapshot::read(&weights_file(folder, record.step))
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let text =
            serde_json::to_vec(self).map_err(|error| Error::device("the history cannot be told").because(error))?;
        snapshot::replace(&folder.join("history.json"), &text)
    }
}

fn weights_file(folder: &Path, step: usize) -> PathBuf {
    folder.join(format!("weights-{step}.safetensors"))
}

/// How likely the features of `images` are on one level, by `labels`' classes: what [`Record::likelihoods`] holds of a level.
///
/// # Errors
///
/// The processor failed.
pub fn likelihoods(
    level: &LevelWeights,
    recipe: &Recipe,
    features: &LevelFeatures,
    labels: &[usize],
    classes: usize,
    counts: impl Fn(usize, usize) -> bool + Sync,
) -> Result<Vec<Likelihoods>> {
    of_images(level, recipe, features, labels, classes, &(0..labels.len()).collect::<Vec<_>>(), counts)
}

/// The same of some of the images.
fn of_images(
    level: &LevelWeights,
    recipe: &Recipe,
    features: &LevelFeatures,
    labels: &[usize],
    classes: usize,
    images: &[usize],
    counts: impl Fn(usize, usize) -> bool + Sync,
) -> Result<Vec<Likelihoods>> {
    let flow = level.on::<Processor>(&Default::default());
    let of_image = |image: usize| -> Result<Array1<f32>> {
        let class = labels[image];
        let latents: Latents = flow.latents(features.image(image))?;
        let values = latents.log_likelihood(&level.centers, recipe.knows_labels().then_some(class));
        Ok(values.indexed_iter().filter(|(position, _)| counts(image, *position)).map(|(_, value)| *value).collect())
    };
    let values = images.par_iter().map(|image| of_image(*image)).collect::<Result<Vec<_>>>()?;
    let of_class = |class: usize| {
        let images = values.iter().zip(images).filter(|(_, image)| labels[**image] == class);
        Likelihoods::of(images.flat_map(|(values, _)| values.iter().copied()))
    };
    Ok((0..classes).map(of_class).collect())
}

/// Of each class so many images, evenly taken, that all moments together cost about [`SHARE`] of the training on a level, or
/// [`FEWEST`] positions.
fn watched(watch: &Watch, recipe: &Recipe, level: &LevelFeatures, steps: usize) -> Vec<usize> {
    let classes = watch.about.classes.len().max(1);
    let (all, per_image) = (level.grid.0 * level.grid.1, recipe.positions(level.grid));
    let trained = FORTH_AND_BACK * (steps * recipe.batch * per_image) as f64;
    let positions = (SHARE * trained / (SHARES.len() + 1) as f64).max(FEWEST);
    let of_class = (positions / (all * classes) as f64).floor().max(1.0) as usize;
    let images = |class: usize| {
        let images = (0..watch.labels.len()).filter(|image| watch.labels[*image] == class);
        evenly(images.collect(), of_class)
    };
    (0..classes).flat_map(images).collect()
}

/// Writes a run's history as it goes.
pub struct Recorder<'t> {
    watch: &'t Watch<'t>,
    history: History,
    /// After which steps losses are kept, and after which weights too.
    losses: BTreeSet<usize>,
    weights: BTreeSet<usize>,
    /// Of every level, the images whose likelihoods are kept.
    images: Vec<Vec<usize>>,
}

impl<'t> Recorder<'t> {
    /// Of a run of so many epochs that goes on after step `first`: what an earlier process kept of later steps is forgotten.
    ///
    /// # Errors
    ///
    /// The folder cannot be written.
    pub fn start(
        watch: &'t Watch<'t>,
        recipe: &Recipe,
        run: Digest,
        steps_per_epoch: usize,
        first: usize,
    ) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::device(format!("the run's history {} cannot be made", watch.folder.display()))
                .because(error)
                .advise("see that you may write there, or name another --out")
        };
        std::fs::create_dir_all(&watch.folder).map_err(failed)?;
        draft::sweep(&watch.folder);
        let before = History::read(&watch.folder).unwrap_or_else(|error| {
            log::warn!("{}: what it told of earlier steps is lost", error.report());
            None
        });
        let before = before.filter(|history| history.run == run && first > 0);
        let mut records = before.map_or_else(Vec::new, |history| history.records);
        records.retain(|record| record.step <= first);
        let stays = records.iter().map(|record| weights_file(&watch.folder, record.step)).collect::<BTreeSet<_>>();
        for entry in std::fs::read_dir(&watch.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("weights-") && name.ends_with(".safetensors") && !stays.contains(&path) {
                std::fs::remove_file(&path).map_err(failed)?;
            }
        }
        let epochs = recipe.epochs;
        let every = epochs.div_ceil(MOMENTS);
        let weights = SHARES
            .iter()
            .map(|share| (epochs * share).div_ceil(32) * steps_per_epoch)
            .chain([0])
            .collect::<BTreeSet<_>>();
        let losses = (every..=epochs).step_by(every).map(|epoch| epoch * steps_per_epoch).collect();
        let history = History {
            format: FORMAT,
            run,
            recipe: *recipe,
            steps: epochs * steps_per_epoch,
            steps_per_epoch,
            about: watch.about.clone(),
            records,
        };
        let levels = watch.normals.levels.iter();
        let images = levels.map(|level| watched(watch, recipe, level, history.steps)).collect();
        let recorder = Recorder { watch, history, losses, weights, images };
        recorder.history.write(&watch.folder)?;
        Ok(recorder)
    }

    /// Keeps what there is to keep after `step`. `losses` are those of every level; `weights` are asked for where they are wanted.
    ///
    /// # Errors
    ///
    /// The folder cannot be written, or the weights are not finite.
    pub fn after(
        &mut self,
        step: usize,
        losses: impl FnOnce() -> Vec<[f32; 5]>,
        weights: impl FnOnce() -> Result<Vec<LevelWeights>>,
    ) -> Result<()> {
        if !self.losses.contains(&step) && !self.weights.contains(&step) {
            return Ok(());
        }
        let mut likely = Vec::new();
        if self.weights.contains(&step) {
            let weights = weights()?;
            let Watch { folder, about, normals, labels } = self.watch;
            let levels = weights.iter().zip(&normals.levels).zip(&self.images);
            let of_level = |((level, features), images): ((_, _), &Vec<usize>)| {
                of_images(level, &self.history.recipe, features, labels, about.classes.len(), images, |_, _| true)
            };
            likely = levels.map(of_level).collect::<Result<_>>()?;
            snapshot::write(&weights, &weights_file(folder, step))?;
        }
        let losses = if step == 0 { Vec::new() } else { losses() };
        self.history.records.push(Record { step, losses, likelihoods: likely });
        self.history.write(&self.watch.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihoods_are_counted_and_compared() {
        let few = Likelihoods::of([-9.0, f32::NAN, 0.01, 0.02, 99.0]);
        assert_eq!((few.total(), few.first, few.counts.len()), (5, 0, BINS));
        assert_eq!((few.all()[0], few.all()[160], few.all()[BINS - 1]), (2, 2, 1));
        assert!((Likelihoods::middle(160) - 0.025).abs() < 1e-5);
        let (low, high) = (Likelihoods::of([-1.0, -1.0, 0.5]), Likelihoods::of([0.5, 1.0]));
        assert_eq!((low.first, low.counts.len()), (140, 31));
        // Of six pairs four are lower, one is even, one is lower too.
        assert_eq!(high.above(&low), Some(5.5 / 6.0));
        assert_eq!(low.above(&Likelihoods::default()), None);
        assert_eq!(low.with(&high).total(), 5);
        assert!((high.mean().unwrap() - 0.775).abs() < 1e-5);
    }
}
