//! Normal images of a bundle that stands already: those that training saw, and the others.

use std::path::{Path, PathBuf};

use hgad::bundle::Bundle;
use hgad::dataset::{HoldOut, products};
use hgad::{Error, Result};
use rayon::prelude::*;

use crate::features::ImageFile;

/// The normal images of every class of a bundle.
#[derive(Debug, Clone)]
pub struct Split {
    /// Per class, images that training saw.
    pub trained: Vec<Vec<ImageFile>>,
    /// Per class, images that it did not see.
    pub held: Vec<Vec<PathBuf>>,
    /// Whether the first are all that training saw.
    pub all_trained: bool,
}

impl Split {
    /// Divides `root/NAME/train/good` of every class. A bundle that lists what it was trained on decides; else every
    /// `hold_out`-th image is one that training did not see.
    ///
    /// # Errors
    ///
    /// A class has no folder, or no image of either kind; neither the bundle nor `hold_out` says which is which.
    pub fn of(bundle: &Bundle, root: &Path, hold_out: Option<usize>) -> Result<Self> {
        let seen = bundle.trained_on.as_ref();
        let told = bundle.manifest.training.get("hold_out").and_then(toml::Value::as_integer);
        let hold_out = hold_out.or_else(|| told.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 1));
        let mut split = Split { trained: Vec::new(), held: Vec::new(), all_trained: true };
        for product in products(root, Some(&bundle.manifest.classes))? {
            let images = product.train()?;
            let (trained, held) = match (seen, hold_out) {
                (Some(seen), _) => {
                    let files = images.into_par_iter().map(ImageFile::open).collect::<Result<Vec<_>>>()?;
                    let (trained, held): (Vec<_>, Vec<_>) =
                        files.into_iter().partition(|file| seen.contains(&file.digest));
                    (trained, held.into_iter().map(|file| file.path).collect())
                }
                (None, Some(n)) => {
                    let kept = HoldOut::Kept(n).select(images.clone()).into_par_iter().map(ImageFile::open);
                    (kept.collect::<Result<Vec<_>>>()?, HoldOut::Held(n).select(images))
                }
                (None, None) => {
                    return Err(Error::usage("the model does not tell which images it was trained on")
                        .advise("say with --hold-out N that every N-th image of its folders was left out"));
                }
            };
            for (what, count) in [("saw", trained.len()), ("did not see", held.len())] {
                if count == 0 {
                    return Err(Error::usage(format!("'{}' has no image that training {what}", product.name))
                        .advise("give the folder that hgad-train train had as --data, as it was then"));
                }
            }
            split.trained.push(trained);
            split.held.push(held);
        }
        if let Some(seen) = seen {
            let found =
                split.trained.iter().flatten().map(|file| file.digest).collect::<std::collections::BTreeSet<_>>();
            split.all_trained = found.len() == seen.len();
        }
        Ok(split)
    }

    /// Some images of every class that training saw, evenly from the whole list.
    pub(crate) fn sample(&self, count: usize) -> Vec<PathBuf> {
        let some = |images: &Vec<ImageFile>| {
            let stride = images.len().div_ceil(count).max(1);
            images.iter().step_by(stride).map(|image| image.path.clone()).collect::<Vec<_>>()
        };
        self.trained.iter().flat_map(some).collect()
    }
}

/// At most so many of a list, evenly taken from the whole of it.
pub(crate) fn evenly<T>(list: Vec<T>, most: usize) -> Vec<T> {
    let (all, count) = (list.len(), list.len().min(most));
    let wanted = (0..count).map(|i| i * all / count).collect::<std::collections::BTreeSet<_>>();
    list.into_iter().enumerate().filter(|(place, _)| wanted.contains(place)).map(|(_, item)| item).collect()
}
