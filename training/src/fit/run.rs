//! The training loop.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::backend::AutodiffBackend;
use hgad::digest::Digest;
use hgad::{Error, ErrorKind, Result};
use rayon::prelude::*;
use serde::Serialize;

use super::checkpoint::Checkpoint;
use super::draw::Batches;
use super::history::{Recorder, Watch};
use super::level::LevelTrainer;
use super::losses::Losses;
use super::recipe::Recipe;
use super::schedule::Schedule;
use crate::features::Features;
use crate::flow::LevelWeights;
use crate::progress::Progress;

/// What is to be learned, and where the run keeps its checkpoints.
pub struct Task<'t> {
    /// The hyperparameters.
    pub recipe: Recipe,
    /// The training images' features.
    pub features: &'t Features,
    /// The class of every image.
    pub labels: Vec<usize>,
    /// The number of classes.
    pub classes: usize,
    /// The checkpoint's file.
    pub checkpoint: PathBuf,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Whether to go on from the checkpoint.
    pub resume: bool,
    /// What is kept of how it goes, if anything is.
    pub watch: Option<&'t Watch<'t>>,
}

/// How a run ended.
pub enum Outcome {
    /// All steps were taken.
    Finished(Fitted),
    /// It was asked to stop; the checkpoint holds this many steps of so many.
    Interrupted {
        /// Steps taken.
        step: usize,
        /// Steps in all.
        steps: usize,
    },
}

/// A finished run.
pub struct Fitted {
    /// What was learned, level by level.
    pub levels: Vec<LevelWeights>,
    /// Running means of every level's losses, in the order of [`Losses::NAMES`].
    pub losses: Vec<[f32; 5]>,
    /// The digest of all that decided this.
    pub run: Digest,
    /// Steps taken, by this run and those that it resumed.
    pub steps: usize,
    /// Steps taken by this run alone.
    pub own_steps: usize,
}

impl Task<'_> {
    /// Images per step: the recipe's, or all when there are fewer.
    fn batches(&self) -> Batches {
        let images = self.labels.len();
        Batches { seed: self.recipe.seed, images, batch: self.recipe.batch.min(images) }
    }

    fn schedule(&self) -> Schedule {
        Schedule {
            steps: self.recipe.epochs * self.batches().steps_per_epoch(),
            learning_rate: self.recipe.learning_rate,
            losses: self.recipe.losses,
        }
    }

    /// The digest of all that decides the result.
    fn digest(&self) -> Result<Digest> {
        #[derive(Serialize)]
        struct Identity<'t> {
            features: Digest,
            labels: &'t [usize],
            classes: usize,
            recipe: Recipe,
        }
        let identity =
            Identity { features: self.features.key, labels: &self.labels, classes: self.classes, recipe: self.recipe };
        let text = serde_json::to_vec(&identity)
            .map_err(|error| Error::usage("a hyperparameter is not a finite number").because(error))?;
        Ok(Digest::of(text))
    }
}

/// Trains every level on the autodiff backend `A`, level beside level on the cores that there are.
///
/// # Errors
///
/// A recipe that makes no sense, a checkpoint that cannot be written or does not belong to this run, a device that fails, a loss or a
/// parameter that is not finite.
pub fn fit<A: AutodiffBackend>(task: &Task, device: &A::Device, stop: &AtomicBool) -> Result<Outcome> {
    task.recipe.check()?;
    let (batches, schedule, run) = (task.batches(), task.schedule(), task.digest()?);
    let levels = &task.features.levels;
    let mut trainers = levels
        .iter()
        .enumerate()
        .map(|(l, features)| LevelTrainer::<A>::new(l, &task.recipe, features, task.classes, device))
        .collect::<Vec<_>>();
    let first = match standing(&task.checkpoint, run, task.resume)? {
        Some(checkpoint) => restore(&mut trainers, checkpoint)?,
        None => 0,
    };

    // What is told of a training must not end it: one whose history cannot be written goes on without.
    let recorder = task.watch.map(|watch| Recorder::start(watch, &task.recipe, run, batches.steps_per_epoch(), first));
    let mut recorder = recorder.and_then(unless_unwritten);
    let mut record = |step: usize, trainers: &[LevelTrainer<A>]| {
        let Some(mut open) = recorder.take() else { return Ok(()) };
        let kept = open.after(step, || losses_of(trainers), || weights_of(trainers));
        match kept {
            Err(error) if error.kind() == ErrorKind::Check => return Err(error),
            kept => recorder = unless_unwritten(kept.map(|()| open)),
        }
        Ok(())
    };
    if first == 0 {
        record(0, &trainers)?;
    }
    let mut progress = Progress::start("training", "steps", first, schedule.steps);
    let mut saved = Instant::now();
    for step in first..schedule.steps {
        let images = batches.images(step);
        let labels = images.iter().map(|&image| task.labels[image]).collect::<Vec<_>>();
        trainers
            .par_iter_mut()
            .zip(levels)
            .try_for_each(|(trainer, features)| trainer.step(step, &schedule, features, &images, &labels))?;
        progress.at(step + 1, || summary(&trainers, &task.recipe));
        record(step + 1, &trainers)?;
        let stopped = stop.load(Ordering::Relaxed) && step + 1 < schedule.steps;
        if stopped || saved.elapsed() >= task.checkpoint_every {
            snapshot(&trainers, run, step + 1)?.write(&task.checkpoint)?;
            saved = Instant::now();
        }
        if stopped {
            progress.finish();
            return Ok(Outcome::Interrupted { step: step + 1, steps: schedule.steps });
        }
    }
    progress.finish();
    // Should the export fail, the training need not be repeated.
    snapshot(&trainers, run, schedule.steps)?.write(&task.checkpoint)?;
    Ok(Outcome::Finished(Fitted {
        levels: weights_of(&trainers)?,
        losses: losses_of(&trainers),
        run,
        steps: schedule.steps,
        own_steps: schedule.steps - first,
    }))
}

fn unless_unwritten<R>(kept: Result<R>) -> Option<R> {
    kept.inspect_err(|error| log::warn!("the training goes on without its history: {}", error.report())).ok()
}

/// The checkpoint to go on from, if the user wants to and there is one.
fn standing(path: &Path, run: Digest, resume: bool) -> Result<Option<Checkpoint>> {
    match (Checkpoint::read(path)?, resume) {
        (None, false) => Ok(None),
        (None, true) => {
            log::warn!("there is no checkpoint {}: training starts from the beginning", path.display());
            Ok(None)
        }
        (Some(_), false) => Err(Checkpoint::in_the_way(path)),
        (Some(checkpoint), true) if checkpoint.run == run => {
            log::info!("resuming after step {} from {}", checkpoint.step, path.display());
            Ok(Some(checkpoint))
        }
        (Some(_), true) => Err(Error::usage(format!("checkpoint {} is of another run", path.display()))
            .because("its images, backbone, classes, seed or hyperparameters differ from what this command asks for")
            .advise("repeat the command of the run that was interrupted, or delete the checkpoint to start anew")),
    }
}

fn restore<A: AutodiffBackend>(trainers: &mut [LevelTrainer<A>], checkpoint: Checkpoint) -> Result<usize> {
    if trainers.len() != checkpoint.levels.len() {
        return Err(Error::device("the checkpoint has another number of levels").advise("delete it and start anew"));
    }
    trainers.iter_mut().zip(checkpoint.levels).try_for_each(|(trainer, state)| trainer.restore(state))?;
    Ok(checkpoint.step)
}

fn snapshot<A: AutodiffBackend>(trainers: &[LevelTrainer<A>], run: Digest, step: usize) -> Result<Checkpoint> {
    Ok(Checkpoint { run, step, levels: trainers.iter().map(LevelTrainer::state).collect::<Result<_>>()? })
}

fn weights_of<A: AutodiffBackend>(trainers: &[LevelTrainer<A>]) -> Result<Vec<LevelWeights>> {
    trainers.iter().map(LevelTrainer::weights).collect()
}

fn losses_of<A: AutodiffBackend>(trainers: &[LevelTrainer<A>]) -> Vec<[f32; 5]> {
    trainers.iter().map(LevelTrainer::losses).collect()
}

/// The means over the levels of those losses that count.
fn summary<A: AutodiffBackend>(trainers: &[LevelTrainer<A>], recipe: &Recipe) -> String {
    let mean = |i: usize| trainers.iter().map(|trainer| trainer.losses()[i]).sum::<f32>() / trainers.len() as f32;
    let counted = recipe.losses.counted().into_iter().enumerate().filter(|(_, counts)| *counts);
    let parts = counted.map(|(i, _)| format!("{} {:.3}", Losses::<f32>::NAMES[i], mean(i)));
    parts.collect::<Vec<_>>().join("  ")
}
