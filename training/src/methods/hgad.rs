//! HGAD: a normalizing flow behind every tap, and a hierarchical mixture in its latents.

use std::path::PathBuf;
use std::time::Duration;

use ::hgad::bundle::Distance;
use ::hgad::{Error, Result};

use super::{Learned, Lesson, Method, Outcome};
use crate::export::{Join, NetworkLevel};
use crate::fit::{self, Device, Fitted, Losses, Recipe, Task};

/// HGAD (Yao et al., ECCV 2024).
pub struct Hgad {
    /// The hyperparameters.
    pub recipe: Recipe,
    /// Where it trains.
    pub device: Device,
    /// What distances are measured from: the learned centers, or Gaussians of the latents of all levels together.
    pub distance: Distance,
    /// The checkpoint's file.
    pub checkpoint: PathBuf,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Whether to go on from the checkpoint.
    pub resume: bool,
}

impl Method for Hgad {
    /// Trains the flows.
    ///
    /// # Errors
    ///
    /// As [`Device::fit`].
    fn learn(&self, lesson: &Lesson) -> Result<Outcome> {
        let task = Task {
            recipe: self.recipe,
            features: lesson.features,
            labels: lesson.labels.to_vec(),
            classes: lesson.classes,
            checkpoint: self.checkpoint.clone(),
            checkpoint_every: self.checkpoint_every,
            resume: self.resume,
            watch: lesson.watch,
        };
        match self.device.fit(&task, lesson.stop)? {
            fit::Outcome::Interrupted { step, steps } => Ok(Outcome::Interrupted { step, steps }),
            fit::Outcome::Finished(fitted) => self.learned(fitted).map(|learned| Outcome::Learned(Box::new(learned))),
        }
    }
}

impl Hgad {
    fn learned(&self, Fitted { levels, losses, run, steps, .. }: Fitted) -> Result<Learned> {
        let recipe = toml::Table::try_from(self.recipe)
            .map_err(|error| Error::usage("a hyperparameter cannot be written into the manifest").because(error))?;
        let of_level = |losses: &[f32; 5]| {
            let named = Losses::<f32>::NAMES.iter().zip(losses);
            toml::Table::from_iter(named.map(|(name, loss)| ((*name).to_owned(), f64::from(*loss).into())))
        };
        let told = levels.iter().zip(&losses).map(|(level, losses)| (level.tap.clone(), of_level(losses).into()));
        let told = toml::Table::from_iter([
            ("method".to_owned(), "hgad".into()),
            ("run".to_owned(), run.to_string().into()),
            ("steps".to_owned(), toml::Value::from(steps as i64)),
            ("recipe".to_owned(), recipe.into()),
            ("losses".to_owned(), toml::Table::from_iter(told).into()),
        ]);
        let names = Losses::<f32>::NAMES.into_iter().enumerate();
        Ok(Learned {
            levels: levels.into_iter().map(NetworkLevel::from).collect(),
            join: (self.distance == Distance::Cells).then_some(Join { averaged: false, centers: None }),
            distance: self.distance,
            told,
            figures: names.map(|(i, name)| (name, losses.iter().map(|losses| losses[i]).collect())).collect(),
            likelihoods: Some(losses.iter().map(|[likelihood, _, _, intra, _]| [*likelihood, *intra]).collect()),
        })
    }
}
