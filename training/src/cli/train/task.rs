//! The images of a training run.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use hgad::dataset::{HoldOut, decode_rgb, products, read_bytes};
use hgad::digest::Digest;
use hgad::print::counted;
use hgad::{Error, Result};
use rayon::prelude::*;

use crate::features::ImageFile;
use crate::split::evenly;

/// Without a hold-out, every this many-th training image fixes the score's reference constants.
const REFERENCE_SAMPLE: usize = 5;
/// So many pairs of copies are named.
const NAMED: usize = 3;

/// The products' images, divided into what is learned from and what fixes the score's reference constants.
pub struct Dataset {
    /// The products' names, in the order of the mixture's classes.
    pub classes: Vec<String>,
    /// The training images of all products, one product after the other.
    pub images: Vec<ImageFile>,
    /// The class of every training image.
    pub labels: Vec<usize>,
    /// Per class, the normal images that fix the score's reference constants.
    pub normals: Vec<Vec<PathBuf>>,
    /// Per class, how many of these count as parts of a calibration: different files, of which training sees none.
    pub parts: Vec<usize>,
    /// Every how many-th image is held out, if any is.
    pub hold_out: Option<usize>,
}

impl Dataset {
    /// Lists the images below `root`, reads the digests of those to learn from, and sees that all are images.
    pub fn open(root: &Path, only: Option<&[String]>, hold_out: Option<usize>) -> Result<Self> {
        let (kept, held) = match hold_out {
            Some(n) => (HoldOut::Kept(n), HoldOut::Held(n)),
            None => (HoldOut::All, HoldOut::Held(REFERENCE_SAMPLE)),
        };
        let (mut classes, mut paths, mut labels, mut normals) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (class, product) in products(root, only)?.into_iter().enumerate() {
            let train = product.train()?;
            enough(&product.name, train.len(), hold_out)?;
            let seen = kept.select(train.clone());
            labels.extend(std::iter::repeat_n(class, seen.len()));
            paths.extend(seen);
            // Fewer images than one sampled one in five leaves: take what there is.
            let reference = match held.select(train.clone()) {
                sample if sample.is_empty() && hold_out.is_none() => train,
                sample => sample,
            };
            normals.push(reference);
            classes.push(product.name);
        }
        let images = paths.into_par_iter().map(ImageFile::open).collect::<Result<Vec<_>>>()?;
        // They are few, and looked at when the training is over.
        let digests = normals.par_iter().flatten().map(|path| whole(path)).collect::<Result<Vec<_>>>()?;
        match hold_out {
            Some(_) => warn_of_copies(&images, &digests),
            None => log::warn!(
                "without --hold-out, training images fix the bundle's reference constants; calibrate from others"
            ),
        }
        let parts = parts(&images, &digests, &normals);
        Ok(Dataset { classes, images, labels, normals, parts, hold_out })
    }

    /// Keeps so many training images of each class at most, evenly taken.
    pub fn keep(&mut self, most: Option<usize>) {
        let Some(most) = most else { return };
        let of_class = self.trained_on().into_iter().map(|images| evenly(images, most)).collect::<Vec<_>>();
        self.labels =
            of_class.iter().enumerate().flat_map(|(y, images)| std::iter::repeat_n(y, images.len())).collect();
        self.images = of_class.into_iter().flatten().collect();
    }

    /// How many training images `class` has.
    pub fn count(&self, class: usize) -> usize {
        self.labels.iter().filter(|&&label| label == class).count()
    }

    /// The training images of every class.
    pub fn trained_on(&self) -> Vec<Vec<ImageFile>> {
        let mut of_class = vec![Vec::new(); self.classes.len()];
        self.images.iter().zip(&self.labels).for_each(|(image, &label)| of_class[label].push(image.clone()));
        of_class
    }
}

/// Refuses a class of which no image would be held out.
fn enough(class: &str, images: usize, hold_out: Option<usize>) -> Result<()> {
    match hold_out {
        Some(n) if images < n => {
            let has = hgad::print::counted(images as u64, "image");
            Err(Error::usage(format!("class {class} has {has}: with --hold-out {n} it needs at least {n}"))
                .advise("add normal images of it, or hold out more of them with a smaller --hold-out"))
        }
        _ => Ok(()),
    }
}

/// The digest of an image file that can be decoded to its last pixel.
fn whole(path: &PathBuf) -> Result<(&PathBuf, Digest)> {
    let bytes = read_bytes(path)?;
    decode_rgb(path, &bytes)?;
    Ok((path, Digest::of(&bytes)))
}

/// Of the `normals` of each class, whose digests `held` has in their order: how many are different files, and none of the `images` learned
/// from.
fn parts(images: &[ImageFile], held: &[(&PathBuf, Digest)], normals: &[Vec<PathBuf>]) -> Vec<usize> {
    let learned = images.iter().map(|image| image.digest).collect::<HashSet<_>>();
    let mut held = held.iter().map(|(_, digest)| *digest);
    let of_class = |normals: &Vec<PathBuf>| {
        let different = held.by_ref().take(normals.len()).collect::<HashSet<_>>();
        different.difference(&learned).count()
    };
    normals.iter().map(of_class).collect()
}

/// Warns of images that are `held` out of training and are yet part of it, as another file with the same bytes:
/// calibration would refuse them, when the training is over.
fn warn_of_copies(images: &[ImageFile], held: &[(&PathBuf, Digest)]) {
    let learned = images.iter().map(|image| (image.digest, &image.path)).collect::<HashMap<_, _>>();
    let pairs = held.iter().filter_map(|(path, digest)| Some((path, learned.get(digest)?))).collect::<Vec<_>>();
    if pairs.is_empty() {
        return;
    }
    let named = pairs.iter().take(NAMED).map(|(held, of)| format!("{} of {}", held.display(), of.display()));
    let more = match pairs.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    log::warn!(
        "{} held out, and learned from as a copy with the same bytes: {}{more}. hgad calibrate will refuse the folder: stop \
         here, delete one of each two, and train again",
        counted(pairs.len() as u64, "image"),
        named.collect::<Vec<_>>().join(", ")
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_held_out_different_files_that_training_does_not_see_are_parts() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("nut/train/good");
        std::fs::create_dir_all(&folder).unwrap();
        // Every second is held out: 1, 3, 5, 7 and 9. 5 is a copy of 3, and 9 of 0.
        for (number, shade) in [0, 1, 2, 3, 4, 3, 6, 7, 8, 0].into_iter().enumerate() {
            let image = image::RgbImage::from_pixel(8, 8, image::Rgb([20 * shade; 3]));
            image.save(folder.join(format!("{number}.png"))).unwrap();
        }
        let data = Dataset::open(root.path(), None, Some(2)).unwrap();
        assert_eq!((data.normals[0].len(), data.parts[0]), (5, 3));
    }
}
