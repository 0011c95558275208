//! What the exported graph makes of normal parts: what is usual at every position, the score's reference constants, and the
//! golden frames.

use std::ops::Range;
use std::path::PathBuf;

use hgad::Result;
use hgad::bundle::{
    Bundle, CellGaussians, Distance, DistanceProfile, Golden, GoldenFrame, LevelCenters, ScoreReference,
};
use hgad::dataset::read_rgb;
use hgad::inspect::batch::for_each_image;
use hgad::inspect::{Inspector, cells, mixture, preprocess, score};
use ndarray::{Array3, Axis, s};

use crate::features::ImageFile;

/// Images of each class that tell what is usual, at most: their latents are kept in memory, and more would hardly change it.
const USUAL_IMAGES: usize = 800;

/// Golden frames are kept for this many classes at most: the gate runs at every start.
pub(crate) const GOLDEN_CLASSES: usize = 3;

/// Tells the bundle what is usual at every position, from the images that every class was trained on: the cells' Gaussians
/// if distances are to be measured from these, and which distances are usual.
///
/// Gives the profiles of distances from the `learned` mixtures, whatever the bundle measures: they tell how well flows were fitted.
/// The mixtures are those of the bundle's channels, one after the other; several may share a level that was joined.
///
/// # Errors
///
/// An image cannot be read, or the network fails.
pub(crate) fn fit_usual(
    bundle: &mut Bundle,
    trained_on: &[Vec<ImageFile>],
    distance: Distance,
    learned: &[&LevelCenters],
) -> Result<Vec<DistanceProfile>> {
    let levels = bundle.manifest.levels.len();
    let places = places(bundle, learned);
    let mut from_learned = vec![Vec::new(); learned.len()];
    let (mut distances, mut gaussians) = (vec![Vec::new(); levels], vec![Vec::new(); levels]);
    for (class, images) in trained_on.iter().enumerate() {
        let latents = latents_of(bundle, images)?;
        for ((of_mixture, centers), (l, channels)) in from_learned.iter_mut().zip(learned).zip(&places) {
            let part = |z: &Array3<f32>| mixture::distance(z.slice(s![channels.clone(), .., ..]), centers, class);
            of_mixture.push(latents[*l].iter().map(part).collect::<Vec<_>>());
        }
        for (l, latents) in latents.iter().enumerate() {
            distances[l].push(match distance {
                Distance::Centers => {
                    let centers = &bundle.centers.levels[l];
                    latents.iter().map(|z| mixture::distance(z.view(), centers, class)).collect::<Vec<_>>()
                }
                Distance::Map => latents.iter().map(|map| map.index_axis(Axis(0), 0).to_owned()).collect(),
                Distance::Cells => {
                    let (of_class, distances) = cells::fit(&latents.iter().map(|z| z.view()).collect::<Vec<_>>());
                    gaussians[l].push(of_class);
                    distances
                }
            });
        }
    }
    let profiles = |distances: &[Vec<_>]| distances.iter().map(|level| score::fit_profile(level)).collect::<Vec<_>>();
    bundle.centers.profiles = profiles(&distances);
    bundle.centers.cells = match distance {
        Distance::Centers | Distance::Map => None,
        Distance::Cells => Some(gaussians.iter().map(|l| CellGaussians::join(l)).collect()),
    };
    Ok(profiles(&from_learned))
}

/// Level and channels of every mixture's latents in the bundle.
fn places(bundle: &Bundle, mixtures: &[&LevelCenters]) -> Vec<(usize, Range<usize>)> {
    let (mut level, mut first) = (0, 0);
    let place = |mixture: &&LevelCenters| {
        if first == bundle.manifest.levels[level].channels {
            (level, first) = (level + 1, 0);
        }
        let from = first;
        first += mixture.mu.ncols();
        (level, from..first)
    };
    mixtures.iter().map(place).collect()
}

/// The latents `(D, h, w)` of some of the images, level by level.
pub(crate) fn latents_of(bundle: &Bundle, images: &[ImageFile]) -> Result<Vec<Vec<Array3<f32>>>> {
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
    let classes = normals.iter().map(Vec::as_slice).enumerate().take(GOLDEN_CLASSES);
    Ok(Golden { frames: golden_frames(bundle, classes)? })
}

/// The first image of each of these classes, with what this host computes for it.
pub(crate) fn golden_frames<'n>(
    bundle: &Bundle,
    classes: impl IntoIterator<Item = (usize, &'n [PathBuf])>,
) -> Result<Vec<GoldenFrame>> {
    let mut inspector = Inspector::new(bundle)?;
    let mut frame = |(class, images): (usize, &[PathBuf])| {
        let image = preprocess::resize(&read_rgb(&images[0])?, bundle.manifest.input)?;
        let latents = inspector.latents(&image)?;
        let score = inspector.inspect(&image, class, &bundle.centers.references[class])?.score;
        Ok(GoldenFrame { class, image, z: latents.z, logdet: latents.logdet, score })
    };
    classes.into_iter().map(&mut frame).collect()
}
