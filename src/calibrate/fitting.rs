//! From the level maps of normal parts to the scores that set the threshold.
//!
//! A score needs constants, and these come from normal parts too. Had a part a share in the constants that it is measured
//! with, its score would be a little smaller than that of a part to come, and the threshold too low. So each part is
//! measured with constants from the others: the parts are dealt into folds, and a fold's parts get the constants of all
//! other folds (cross-fitting, as in cross-conformal prediction; Vovk, "Cross-conformal predictors", 2015).

use std::borrow::Borrow;

use ndarray::Array2;

use crate::bundle::ScoreReference;
use crate::inspect::{Inspector, score};

/// So many folds: each part's constants come from 95% of the others at least.
pub const FOLDS: usize = 20;

/// Where the constants come from that the threshold's own parts are measured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fitting {
    /// From the other parts, fold by fold; what is to come is measured with constants from all. What `calibrate` does.
    Crossed,
    /// One half gives the constants and the other the threshold.
    Halved,
    /// From all parts, each part itself among them: what the first format did.
    Shared,
}

/// Constants, and scores that a threshold can be set from.
pub(super) struct Fitted {
    /// What parts to come are measured with.
    pub(super) reference: ScoreReference,
    /// Images by their index, with their scores. With [`Fitting::Halved`] only those of one half have one.
    pub(super) scores: Vec<(usize, f32)>,
    /// The folds of [`Fitting::Crossed`].
    pub(super) folds: Option<usize>,
}

impl Fitting {
    /// How many of `count` calibrating parts set the threshold.
    pub(super) fn calibrating(self, count: usize) -> usize {
        match self {
            Fitting::Halved => count / 2,
            Fitting::Crossed | Fitting::Shared => count,
        }
    }

    /// Fits constants to `maps[i][l]`, level l of image i, and scores the images. `parts[i]` numbers the part that image i
    /// shows, from 0 and without gaps; a part alone is measured with `elsewhere`, the constants of other parts. Where its mask says
    /// so the pictures are looked at.
    pub(super) fn fit<M: Borrow<[Array2<f32>]>>(
        self,
        inspector: &Inspector,
        maps: &[M],
        parts: &[usize],
        elsewhere: &ScoreReference,
    ) -> Fitted {
        let count = parts.iter().max().map_or(0, |last| last + 1);
        let of = |keep: &dyn Fn(usize) -> bool| {
            let kept = maps.iter().zip(parts).filter(|(_, part)| keep(**part)).map(|(maps, _)| maps.borrow());
            match kept.collect::<Vec<_>>() {
                none if none.is_empty() => elsewhere.clone(),
                kept => score::fit_reference(&kept, elsewhere.mask.as_ref()),
            }
        };
        let score =
            |image: usize, reference: &ScoreReference| (image, inspector.score_maps(maps[image].borrow(), reference).0);
        let reference = match self {
            Fitting::Halved => of(&|part| part % 2 == 0),
            Fitting::Crossed | Fitting::Shared => of(&|_| true),
        };
        let images = 0..maps.len();
        match self {
            Fitting::Shared => {
                let scores = images.map(|image| score(image, &reference)).collect();
                Fitted { reference, scores, folds: None }
            }
            Fitting::Halved => {
                let scores = images.filter(|image| parts[*image] % 2 == 1).map(|image| score(image, &reference));
                Fitted { scores: scores.collect(), reference, folds: None }
            }
            Fitting::Crossed => {
                let folds = FOLDS.min(count).max(1);
                let of_others = (0..folds).map(|fold| of(&|part| part % folds != fold)).collect::<Vec<_>>();
                let scores = images.map(|image| score(image, &of_others[parts[image] % folds])).collect();
                Fitted { reference, scores, folds: Some(folds) }
            }
        }
    }
}
