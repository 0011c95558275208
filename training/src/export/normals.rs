//! What the exported graph makes of normal parts: the distance profiles, the score's reference constants, and the golden
//! frames.

use std::path::PathBuf;

use hgad::Result;
use hgad::bundle::{Bundle, DistanceProfile, Golden, GoldenFrame, ScoreReference};
use hgad::dataset::read_rgb;
use hgad::inspect::batch::for_each_image;
use hgad::inspect::{Inspector, preprocess, score};
use ndarray::Array2;

use crate::features::ImageFile;

/// Images of each class that the profiles are fitted from, at most: more would not change them.
const PROFILE_IMAGES: usize = 400;

/// Golden frames are kept for this many classes at most: the gate runs at every start.
const GOLDEN_CLASSES: usize = 3;

/// What is usual at every position, one profile per level, from the images that every class was trained on.
pub(crate) fn fit_profiles(bundle: &Bundle, trained_on: &[Vec<ImageFile>]) -> Result<Vec<DistanceProfile>> {
    let distances_of = |(class, images): (usize, &Vec<ImageFile>)| {
        let stride = images.len().div_ceil(PROFILE_IMAGES).max(1);
        let some = images.iter().step_by(stride).map(|image| image.path.clone()).collect::<Vec<_>>();
        for_each_image(bundle, "profiles", &some, |inspector, _, _, image| inspector.distances(&image, class))
    };
    let frames = trained_on.iter().enumerate().map(distances_of).collect::<Result<Vec<_>>>()?;
    let of_level = |l: usize| -> Vec<Vec<Array2<f32>>> {
        frames.iter().map(|class| class.iter().map(|levels| levels[l].clone()).collect()).collect()
    };
    Ok((0..bundle.manifest.levels.len()).map(|l| score::fit_profile(&of_level(l))).collect())
}

/// The reference constants of every class, from its normal images.
pub(crate) fn fit_references(bundle: &Bundle, normals: &[Vec<PathBuf>]) -> Result<Vec<ScoreReference>> {
    let fit = |(class, images): (usize, &Vec<PathBuf>)| {
        let maps =
            for_each_image(bundle, "references", images, |inspector, _, _, image| inspector.level_maps(&image, class))?;
        Ok(score::fit_reference(&maps, None))
    };
    normals.iter().enumerate().map(fit).collect()
}

/// The first normal image of up to three classes, with what this host computes for it.
pub(crate) fn golden(bundle: &Bundle, normals: &[Vec<PathBuf>]) -> Result<Golden> {
    let mut inspector = Inspector::new(bundle)?;
    let mut frame = |(class, images): (usize, &Vec<PathBuf>)| {
        let image = preprocess::resize(&read_rgb(&images[0])?, bundle.manifest.input)?;
        let latents = inspector.latents(&image)?;
        let score = inspector.inspect(&image, class, &bundle.centers.references[class])?.score;
        Ok(GoldenFrame { class, image, z: latents.z, logdet: latents.logdet, score })
    };
    Ok(Golden { frames: normals.iter().enumerate().take(GOLDEN_CLASSES).map(&mut frame).collect::<Result<_>>()? })
}
