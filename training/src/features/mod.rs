//! Features of a frozen backbone: computed once per set of images, kept on disk, read through a memory map.
//!
//! Backbones are frozen and nothing is augmented, so features are a pure function of the images. A cache file is named
//! after the SHA-256 of the cut graph, the input size and the images' digests: it can be stale in no way.

mod cache;
mod extract;
mod level;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hgad::digest::Digest;
use hgad::{Error, Result, dataset};

use crate::backbone::Backbone;

pub use cache::default_folder;
pub use level::LevelFeatures;

use cache::CacheFile;

/// The features of a list of images on every tap of a backbone.
pub struct Features {
    /// One per tap, in the backbone's order.
    pub levels: Vec<LevelFeatures>,
    /// The digest of the backbone's cut graph, the input size and all images: what the features depend on.
    pub key: Digest,
}

/// An image file and its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// Where it lies.
    pub path: PathBuf,
    /// The SHA-256 of its bytes.
    pub digest: Digest,
}

impl ImageFile {
    /// Reads the file's digest, and sees that it is an image.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is none (its pixels are not looked at).
    pub fn open(path: PathBuf) -> Result<Self> {
        let bytes = dataset::read_bytes(&path)?;
        dataset::check_header(&path, &bytes)?;
        Ok(ImageFile { digest: Digest::of(&bytes), path })
    }
}

impl Features {
    /// The features of `images`, from the cache in `folder` or, the first time, from the backbone.
    ///
    /// # Errors
    ///
    /// An image that cannot be read, a cache folder that cannot be written, features that are not finite or not of the
    /// shape that the backbone promised, or `stop` was raised.
    pub fn of(backbone: &Backbone, images: &[ImageFile], folder: &Path, stop: &AtomicBool) -> Result<Self> {
        let key = cache::key(backbone, images);
        let shapes = backbone.taps.iter().map(|tap| [images.len(), tap.height * tap.width, tap.channels]);
        let file = CacheFile::new(folder, key, shapes.collect());
        let map = match file.open()? {
            Some(map) => {
                let images = hgad::print::counted(images.len() as u64, "image");
                log::info!("the features of {images} come from {}", file.path().display());
                map
            }
            None => {
                extract::extract(backbone, images, &file, stop)?;
                file.open()?.ok_or_else(|| {
                    Error::device(format!("feature cache {} is not what was just written", file.path().display()))
                        .advise("does something else write there? choose another folder with --cache")
                })?
            }
        };
        let map = Arc::new(map);
        let levels = backbone
            .taps
            .iter()
            .enumerate()
            .map(|(l, tap)| LevelFeatures::new(tap, images.len(), map.clone(), file.range(l)));
        Ok(Features { levels: levels.collect::<Result<_>>()?, key })
    }
}
