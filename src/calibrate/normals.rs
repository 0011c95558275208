//! Images of normal parts, as the network sees them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ndarray::Array2;

use super::file::{CalibrationImage, FrameSize};
use super::{Grouping, group, suitable};
use crate::bundle::Bundle;
use crate::digest::Digest;
use crate::inspect::{Mask, batch};
use crate::picture::Statistics;
use crate::{Error, Result};

/// What calibration needs of one image.
pub(super) struct Sample {
    pub(super) path: PathBuf,
    pub(super) group: Option<String>,
    pub(super) size: (u32, u32),
    pub(super) picture: Statistics,
    pub(super) maps: Vec<Array2<f32>>,
    pub(super) digest: Digest,
    /// Another class that it clearly shows.
    pub(super) resembles: Option<usize>,
}

impl Sample {
    /// What a calibration tells of it.
    pub(super) fn entry(&self, score: f32) -> CalibrationImage {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let picture = Some(self.picture);
        CalibrationImage { file, sha256: self.digest, score, group: self.group.clone(), picture }
    }
}

/// Runs the network on `images`, which are looked at where `mask` says, and leaves out copies, and single ones that clearly show
/// another class.
///
/// # Errors
///
/// As [`super::calibrate`], but for what is said of the threshold.
pub(super) fn examine(
    bundle: &Bundle,
    class: &str,
    images: &[PathBuf],
    grouping: Option<&Grouping>,
    mask: Option<&Mask>,
) -> Result<Vec<Sample>> {
    let groups = grouping.map(|grouping| images.iter().map(|path| grouping.of(path)).collect::<Result<Vec<_>>>());
    let groups = groups.transpose()?;
    if groups.is_none() {
        group::warn_of_neighbours(images);
    }
    let index = bundle.manifest.class_index(class)?;
    if images.is_empty() {
        return Err(Error::usage(format!("no image to calibrate '{class}' on")));
    }
    let small = mask.map(|mask| mask.resized(bundle.manifest.input));
    let samples = batch::for_each_image(bundle, class, images, |inspector, number, bytes, image| {
        let digest = Digest::of(bytes);
        if bundle.trained_on.as_ref().is_some_and(|seen| seen.contains(&digest)) {
            return Ok(None);
        }
        mask.map_or(Ok(()), |mask| mask.check_shape(&images[number], image.dimensions()))?;
        let (maps, resembles) = inspector.examine(&image, index, small.as_ref())?;
        let (path, group) = (images[number].clone(), groups.as_ref().map(|groups| groups[number].clone()));
        let (size, picture) = (image.dimensions(), Statistics::of(&image, small.as_ref()));
        Ok(Some(Sample { path, group, size, picture, maps, digest, resembles }))
    })?;
    let samples = suitable::once(suitable::unseen(bundle, images, samples)?);
    suitable::of_product(bundle, class, samples)
}

/// The number of the part that each image shows, from 0 in the order of their first images. An image without a group is a
/// part.
pub(super) fn parts_of<'a>(groups: impl Iterator<Item = Option<&'a String>>) -> Vec<usize> {
    let mut known = BTreeMap::new();
    let mut number = |image: usize, group: Option<&'a String>| {
        let next = known.len();
        // A group's name is its own; where there is none, the image's number is.
        *known.entry((group, if group.is_some() { 0 } else { image })).or_insert(next)
    };
    groups.enumerate().map(|(image, group)| number(image, group)).collect()
}

/// The highest score of each part: one that any of its pictures rejects is rejected. `scores` are of images by their index.
pub(super) fn highest(scores: &[(usize, f32)], parts: &[usize]) -> Vec<f32> {
    let mut highest = BTreeMap::new();
    for (image, score) in scores {
        let entry = highest.entry(parts[*image]).or_insert(*score);
        // By the total order, in which what is not a number is the highest, as it is for the threshold.
        if entry.total_cmp(score).is_lt() {
            *entry = *score;
        }
    }
    highest.into_values().collect()
}

/// The size that all images have.
pub(super) fn common_size(samples: &[Sample]) -> Option<FrameSize> {
    let (first, rest) = samples.split_first()?;
    rest.iter().all(|sample| sample.size == first.size).then_some(first.size).and_then(FrameSize::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_counts_as_one_part_with_its_highest_score() {
        let groups = ["a", "b", "a", "c", "b"].map(str::to_owned);
        let parts = parts_of(groups.iter().map(Some));
        assert_eq!(parts, [0, 1, 0, 2, 1]);
        let found = highest(&[(0, 1.0), (1, 2.0), (2, 3.0), (3, f32::NAN), (4, 1.0)], &parts);
        assert_eq!(found[..2], [3.0, 2.0]);
        assert!(found.len() == 3 && found[2].is_nan());
        assert_eq!(parts_of([None, None, None].into_iter()), [0, 1, 2]);
    }

    #[test]
    fn only_a_size_that_all_images_have_is_theirs() {
        let of = |sizes: &[(u32, u32)]| {
            let sample = |size: &(u32, u32)| Sample {
                path: PathBuf::new(),
                group: None,
                size: *size,
                picture: Statistics::of(&image::RgbImage::new(0, 0), None),
                maps: vec![],
                digest: Digest::zero(),
                resembles: None,
            };
            common_size(&sizes.iter().map(sample).collect::<Vec<_>>())
        };
        assert_eq!(of(&[(640, 480); 3]), FrameSize::new((640, 480)));
        assert_eq!(of(&[(640, 480), (640, 480), (640, 481)]), None);
        assert_eq!(of(&[]), None);
    }
}
