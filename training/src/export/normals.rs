//! What the exported graph makes of normal parts: what is usual at every position, the score's reference constants, and the
//! golden frames.

use std::path::PathBuf;

use hgad::Result;
use hgad::bundle::{Bundle, CellGaussians, Distance, DistanceProfile, Golden, GoldenFrame, ScoreReference};
use hgad::dataset::read_rgb;
use hgad::inspect::batch::for_each_image;
use hgad::inspect::{Inspector, cells, mixture, preprocess, score};
use ndarray::Array3;

use crate::features::ImageFile;

/// Images of each class that tell what is usual, at most: their latents are kept in memory, and more would hardly change it.
const USUAL_IMAGES: usize = 800;

/// Golden frames are kept for this many classes at most: the gate runs at every start.
const GOLDEN_CLASSES: usize = 3;

/// Tells the bundle what is usual at every position, from the images that every class was trained on: the cells' Gaussians
/// if distances are to be measured from these, and which distances are usual. Gives the profiles, one for each level, of
/// distances from the centers, whatever the bundle measures: they tell how well the flow was fitted.
///
/// # Errors
///
/// An image cannot be read, or the network fails.
pub(crate) fn fit_usual(
    bundle: &mut Bundle,
    trained_on: &[Vec<ImageFile>],
    distance: Distance,
) -> Result<Vec<DistanceProfile>> {
    let levels = bundle.manifest.levels.len();
    let (mut from_centers, mut from_cells) = (vec![Vec::new(); levels], vec![Vec::new(); levels]);
    let mut gaussians = vec![Vec::new(); levels];
    for (class, images) in trained_on.iter().enumerate() {
        for (l, latents) in latents_of(bundle, images)?.into_iter().enumerate() {
            let latents = latents.iter().map(|z| z.view()).collect::<Vec<_>>();
            let centers = &bundle.centers.levels[l];
            from_centers[l]
                .push(latents.iter().map(|z| mixture::distance(z.view(), centers, class)).collect::<Vec<_>>());
            if distance == Distance::Cells {
                let (of_class, distances) = cells::fit(&latents);
                gaussians[l].push(of_class);
                from_cells[l].push(distances);
            }
        }
    }
    let profiles = |distances: &[Vec<_>]| distances.iter().map(|level| score::fit_profile(level)).collect::<Vec<_>>();
    let of_centers = profiles(&from_centers);
    (bundle.centers.cells, bundle.centers.profiles) = match distance {
        Distance::Centers => (None, of_centers.clone()),
        Distance::Cells => (Some(gaussians.iter().map(|l| CellGaussians::join(l)).collect()), profiles(&from_cells)),
    };
    Ok(of_centers)
}

/// The latents `(D, h, w)` of some of the images, level by level.
fn latents_of(bundle: &Bundle, images: &[ImageFile]) -> Result<Vec<Vec<Array3<f32>>>> {
    let stride = images.len().div_ceil(USUAL_IMAGES).max(1);
    let some = images.iter().step_by(stride).map(|image| image.path.clone()).collect::<Vec<_>>();
    let latents =
        for_each_image(bundle, "what is usual", &some, |inspector, _, _, image| Ok(inspector.latents(&image)?.z))?;
    let mut levels = vec![Vec::with_capacity(latents.len()); bundle.manifest.levels.len()];
    for of_image in latents {
        levels.iter_mut().zip(of_image).for_each(|(level, z)| level.push(z));
    }
    Ok(levels)
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
