//! The pictures that a page shows, small enough to be in it.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, RgbImage};

use super::Bad;
use crate::audit::removed::Removed;
use crate::audit::stored::{Stored, read_picture};
use crate::{Error, Result};

/// The longer side of a small picture, in pixels.
const SIDE: u32 = 240;
const QUALITY: u8 = 80;

/// Which pictures a page shows.
#[derive(Debug, Clone)]
pub struct Gallery {
    /// The pictures' folder.
    pub folder: PathBuf,
    /// So many at most, evenly taken from all.
    pub most: usize,
}

/// A part in the gallery.
#[derive(Debug)]
pub(super) struct Shown<'b> {
    pub(super) bad: &'b Bad,
    /// A JPEG file in base64, or why there is none.
    pub(super) picture: std::result::Result<String, String>,
    /// Whether there is one in its place that nobody scored, or none and nobody removed it.
    pub(super) is_suspect: bool,
}

impl Gallery {
    /// Of the parts in `bad` that have pictures; `removed` are those that the log says were removed.
    pub(super) fn pictures<'b>(&self, bad: &'b [Bad], removed: &Removed) -> Result<Vec<Shown<'b>>> {
        let with_picture = |bad: &&Bad| bad.entry.picture.as_ref().is_some_and(|picture| picture.file.is_some());
        let all = bad.iter().filter(with_picture).collect::<Vec<_>>();
        let count = all.len().min(self.most);
        (0..count).map(|i| self.show(all[i * all.len() / count], removed)).collect()
    }

    /// A part with its picture, or why there is none.
    pub(super) fn show<'b>(&self, bad: &'b Bad, removed: &Removed) -> Result<Shown<'b>> {
        let Some(picture) = &bad.entry.picture else {
            return Ok(Shown { bad, picture: Err("it was not kept".to_owned()), is_suspect: false });
        };
        let stored = read_picture(&self.folder, picture)?;
        let is_suspect = match &stored {
            Stored::Changed(_) => true,
            Stored::Gone(_) => !removed.explains(&bad.entry),
            Stored::Whole(_) | Stored::Unreadable(_) | Stored::Redecoded { .. } => false,
        };
        let picture = match stored {
            Stored::Whole(image) | Stored::Redecoded { image: Some(image), .. } => Ok(small(image)?),
            Stored::Gone(why)
            | Stored::Unreadable(why)
            | Stored::Redecoded { image: None, why }
            | Stored::Changed(why) => Err(why),
        };
        Ok(Shown { bad, picture, is_suspect })
    }
}

fn small(image: RgbImage) -> Result<String> {
    let image = DynamicImage::from(image);
    let image = match image.width().max(image.height()) > SIDE {
        true => image.resize(SIDE, SIDE, FilterType::Triangle),
        false => image,
    };
    let mut bytes = Vec::new();
    let encoded = JpegEncoder::new_with_quality(&mut bytes, QUALITY).encode_image(&image);
    encoded.map_err(|error| Error::device("a picture cannot be encoded").because(error))?;
    Ok(BASE64.encode(bytes))
}
