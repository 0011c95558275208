//! A frame that was looked at, and which pixels it has.

use std::sync::{Arc, OnceLock};

use crate::camera::Shot;
use crate::digest::Digest;

/// A frame whose digest is computed once, by the first that wants it: who writes a part's record, or who keeps its picture.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    shot: Shot,
    pixels: Arc<OnceLock<Option<Digest>>>,
}

impl Seen {
    pub(super) fn new(shot: Shot) -> Self {
        Seen { shot, pixels: Arc::default() }
    }

    pub(super) fn shot(&self) -> &Shot {
        &self.shot
    }

    /// SHA-256 of the 8-bit RGB pixels, row by row; `None` where there are none. It takes as long as a part of an inspection where the
    /// processor has no instructions for it.
    pub(super) fn pixels_sha256(&self) -> Option<Digest> {
        *self.pixels.get_or_init(|| self.shot.image().map(|image| Digest::of(image.as_raw())))
    }

    /// One whose digest is said to be another than it is, by which a test knows that nobody computes it again.
    #[cfg(test)]
    pub(super) fn known(shot: Shot, pixels: Digest) -> Self {
        Seen { shot, pixels: Arc::new(OnceLock::from(Some(pixels))) }
    }
}
