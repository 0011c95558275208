//! Runs the backbone over images, one image at a time on every core.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use hgad::inspect::preprocess;
use hgad::{Error, Result, dataset};
use ndarray::Array3;
use rayon::prelude::*;

use super::ImageFile;
use super::cache::CacheFile;
use crate::backbone::{Backbone, Runner};
use crate::progress::Progress;

pub(super) fn extract(backbone: &Backbone, images: &[ImageFile], file: &CacheFile, stop: &AtomicBool) -> Result<()> {
    let draft = file.draft()?;
    let progress = Mutex::new((0, Progress::start("features", "images", 0, images.len())));
    images.par_iter().enumerate().try_for_each_init(
        || None,
        |runner: &mut Option<Runner>, (i, image)| {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::device("interrupted while features were computed")
                    .advise("start again: nothing that was computed so far is kept before all of it is"));
            }
            let runner = match runner {
                Some(runner) => runner,
                None => runner.insert(backbone.runner()?),
            };
            for (l, features) in features_of(backbone, runner, image)?.iter().enumerate() {
                draft.write(l, i, &by_position(features))?;
            }
            // A thread that panicked has ended the program's hope anyway; the count is all that the lock guards.
            let mut progress = progress.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            progress.0 += 1;
            let done = progress.0;
            progress.1.at(done, String::new);
            Ok(())
        },
    )?;
    draft.finish()
}

/// The taps of one image file, of the shapes that the backbone promises.
fn features_of(backbone: &Backbone, runner: &mut Runner, image: &ImageFile) -> Result<Vec<Array3<f32>>> {
    let picture = preprocess::resize(&dataset::read_rgb(&image.path)?, backbone.size)?;
    let outputs = runner.run(preprocess::to_tensor(&picture))?;
    for (tap, features) in backbone.taps.iter().zip(&outputs) {
        if features.dim() != (tap.channels, tap.height, tap.width) {
            return Err(Error::device(format!(
                "backbone {}: tensor {} became {:?} for {}, expected {} x {} x {}",
                backbone.name,
                tap.name,
                features.shape(),
                image.path.display(),
                tap.channels,
                tap.height,
                tap.width
            )));
        }
        if features.iter().any(|value| !value.is_finite()) {
            return Err(Error::device(format!(
                "backbone {}: tensor {} is not finite for {}",
                backbone.name,
                tap.name,
                image.path.display()
            ))
            .advise("is --normalize what this backbone was trained with?"));
        }
    }
    Ok(outputs)
}

/// `(D, h, w)` as `(h * w, D)`.
fn by_position(features: &Array3<f32>) -> Vec<f32> {
    features.view().permuted_axes([1, 2, 0]).iter().copied().collect()
}
