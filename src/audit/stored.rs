//! The pictures that records name, read again.

use std::path::Path;

use image::RgbImage;

use super::read::PictureEntry;
use crate::digest::Digest;
use crate::jpeg;
use crate::{Error, Result, dataset};

/// What became of a picture.
#[derive(Debug)]
pub enum Stored {
    /// It is what was written, and its pixels are those that were scored.
    Whole(RgbImage),
    /// There is no such file: it was removed since, or never written.
    Gone(String),
    /// It is the file that was written, of which the line could make no picture either.
    Unreadable(String),
    /// It is the file that was written, and this program makes other pixels of it than were scored.
    Redecoded(String),
    /// It is another file than the record says.
    Changed(String),
}

/// Reads the picture that `picture` tells of, below the pictures' folder.
///
/// # Errors
///
/// The file is there and cannot be read.
pub fn read_picture(folder: &Path, picture: &PictureEntry) -> Result<Stored> {
    let Some(file) = &picture.file else {
        return Ok(Stored::Gone(picture.missing.clone().unwrap_or_else(|| "it was not kept".into())));
    };
    // A record is not trusted to name files elsewhere.
    if Path::new(file).components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Ok(Stored::Changed(format!("{file} does not lie in the pictures' folder")));
    }
    let path = folder.join(file);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Stored::Gone(format!("{} is not there", path.display())));
        }
        Err(error) => {
            return Err(Error::device(format!("picture {} cannot be read", path.display()))
                .because(error)
                .advise("check its permissions"));
        }
    };
    if Some(Digest::of(&bytes)) != picture.sha256 {
        return Ok(Stored::Changed(format!("{} is not the file that was written", path.display())));
    }
    if picture.pixels_sha256.is_none() {
        return Ok(Stored::Unreadable(format!("{} is kept as it came, and could not be read then", path.display())));
    }
    Ok(match decode(&path, &bytes, picture.pixels_sha256) {
        Ok(image) => Stored::Whole(image),
        Err(error) => Stored::Redecoded(error.line()),
    })
}

/// The pixels as they were scored. Pictures of a Motion-JPEG stream lack what every other JPEG file has, so there are two ways
/// to read one; the digest says which was taken.
fn decode(path: &Path, bytes: &[u8], pixels: Option<Digest>) -> Result<RgbImage> {
    let is_it = |image: &RgbImage| Some(Digest::of(image.as_raw())) == pixels;
    let plain = dataset::decode_rgb(path, bytes);
    if plain.as_ref().is_ok_and(is_it) {
        return plain;
    }
    let marked = jpeg::of_stream(bytes).map(|marked| dataset::decode_rgb(path, &marked));
    match marked {
        Some(Ok(image)) if is_it(&image) => Ok(image),
        _ => plain.and_then(|_| {
            Err(Error::check(format!("{} shows other pixels than were scored", path.display()))
                .because("this program decodes it in another way than the one that wrote it"))
        }),
    }
}
