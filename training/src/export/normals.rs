//! What the exported graph makes of normal parts: the score's reference constants, and the golden frames.

use std::path::PathBuf;

use hgad::Result;
use hgad::bundle::{Bundle, Golden, GoldenFrame, ScoreReference};
use hgad::dataset::read_rgb;
use hgad::inspect::{Inspector, preprocess, score};
use rayon::prelude::*;

/// Golden frames are kept for this many classes at most: the gate runs at every start.
const GOLDEN_CLASSES: usize = 3;

/// Applies `measure` to every image, in order, with an inspector of `bundle` for each thread.
pub(super) fn for_each_image<T: Send>(
    bundle: &Bundle,
    images: &[PathBuf],
    measure: impl Fn(&mut Inspector, &PathBuf) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let share = images.len().div_ceil(rayon::current_num_threads()).max(1);
    let parts = images.par_chunks(share).map(|part| {
        let mut inspector = Inspector::new(bundle)?;
        part.iter().map(|path| measure(&mut inspector, path)).collect::<Result<Vec<_>>>()
    });
    Ok(parts.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// The reference constants of every class, from its normal images.
pub(super) fn fit_references(bundle: &Bundle, normals: &[Vec<PathBuf>]) -> Result<Vec<ScoreReference>> {
    let fit = |(class, images): (usize, &Vec<PathBuf>)| {
        let maps = for_each_image(bundle, images, |inspector, path| inspector.level_maps(&read_rgb(path)?, class))?;
        Ok(score::fit_reference(&maps, bundle.manifest.input))
    };
    normals.iter().enumerate().map(fit).collect()
}

/// The first normal image of up to three classes, with what this host computes for it.
pub(super) fn golden(bundle: &Bundle, normals: &[Vec<PathBuf>]) -> Result<Golden> {
    let mut inspector = Inspector::new(bundle)?;
    let mut frame = |(class, images): (usize, &Vec<PathBuf>)| {
        let image = preprocess::resize(&read_rgb(&images[0])?, bundle.manifest.input)?;
        let latents = inspector.latents(&image)?;
        let score = inspector.inspect(&image, class, &bundle.centers.references[class])?.score;
        Ok(GoldenFrame { class, image, z: latents.z, logdet: latents.logdet, score })
    };
    Ok(Golden { frames: normals.iter().enumerate().take(GOLDEN_CLASSES).map(&mut frame).collect::<Result<_>>()? })
}
