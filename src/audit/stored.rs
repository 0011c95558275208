//! The pictures that records name, read again.

use std::path::{Path, PathBuf};

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
    /// It is the file that was written, and this program's decoder reads it otherwise: what was scored is not there to be compared, and
    /// nobody is to be accused.
    Redecoded {
        /// What this program reads; `None` where it can read nothing.
        image: Option<RgbImage>,
        /// That it is so, in words.
        why: String,
    },
    /// It is another file than the record says.
    Changed(String),
}

/// The file that a record names, before anybody looks at what it shows.
#[derive(Debug)]
pub(super) enum Found {
    /// It is what was written, byte for byte.
    Whole { path: PathBuf, bytes: Vec<u8> },
    /// As [`Stored::Gone`].
    Gone(String),
    /// As [`Stored::Changed`].
    Changed(String),
}

/// Reads the picture that `picture` tells of, below the pictures' folder.
///
/// # Errors
///
/// The file is there and cannot be read.
pub fn read_picture(folder: &Path, picture: &PictureEntry) -> Result<Stored> {
    let (path, bytes) = match find(folder, picture)? {
        Found::Whole { path, bytes } => (path, bytes),
        Found::Gone(why) => return Ok(Stored::Gone(why)),
        Found::Changed(why) => return Ok(Stored::Changed(why)),
    };
    if picture.pixels_sha256.is_none() {
        return Ok(Stored::Unreadable(format!("{} is kept as it came, and could not be read then", path.display())));
    }
    Ok(decode(&path, &bytes, picture.pixels_sha256))
}

/// Reads the file that `picture` names, and compares it with its digest.
///
/// # Errors
///
/// As [`read_picture`].
pub(super) fn find(folder: &Path, picture: &PictureEntry) -> Result<Found> {
    let Some(file) = &picture.file else {
        return Ok(Found::Gone(picture.missing.clone().unwrap_or_else(|| "it was not kept".into())));
    };
    // A record is not trusted to name files elsewhere.
    if Path::new(file).components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Ok(Found::Changed(format!("{file} does not lie in the pictures' folder")));
    }
    let path = folder.join(file);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Found::Gone(format!("{} is not there", path.display())));
        }
        Err(error) => {
            return Err(Error::device(format!("picture {} cannot be read", path.display()))
                .because(error)
                .advise("check its permissions"));
        }
    };
    match Some(Digest::of(&bytes)) == picture.sha256 {
        true => Ok(Found::Whole { path, bytes }),
        false => Ok(Found::Changed(format!("{} is not the file that was written", path.display()))),
    }
}

impl Stored {
    /// What this program reads, if that is of the file that was written.
    pub fn image(self) -> Option<RgbImage> {
        match self {
            Stored::Whole(image) => Some(image),
            Stored::Redecoded { image, .. } => image,
            Stored::Gone(_) | Stored::Unreadable(_) | Stored::Changed(_) => None,
        }
    }
}

/// The pixels as they were scored. Pictures of a Motion-JPEG stream lack what every other JPEG file has, so there are two ways
/// to read one; the digest says which was taken.
fn decode(path: &Path, bytes: &[u8], pixels: Option<Digest>) -> Stored {
    let is_it = |image: &RgbImage| Some(Digest::of(image.as_raw())) == pixels;
    let plain = dataset::decode_rgb(path, bytes);
    if let Ok(image) = &plain
        && is_it(image)
    {
        return Stored::Whole(image.clone());
    }
    let marked = jpeg::of_stream(bytes).and_then(|marked| dataset::decode_rgb(path, &marked).ok());
    if let Some(image) = marked.clone().filter(is_it) {
        return Stored::Whole(image);
    }
    let told = format!("{} is the file that was recorded", path.display());
    match (plain, marked) {
        (Ok(image), _) | (Err(_), Some(image)) => {
            let why = format!("{told}; this program's decoder reads it otherwise than the one that judged it");
            Stored::Redecoded { image: Some(image), why }
        }
        (Err(error), None) => {
            Stored::Redecoded { image: None, why: format!("{told}; this program cannot read it: {}", error.line()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of which a record says that other pixels were scored than this program reads.
    fn read(bytes: &[u8]) -> Stored {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("part.png"), bytes).unwrap();
        let picture = PictureEntry {
            why: "reject".into(),
            sampled: None,
            file: Some("part.png".into()),
            sha256: Some(Digest::of(bytes)),
            pixels_sha256: Some(Digest::of("what another decoder made of it")),
            missing: None,
        };
        read_picture(folder.path(), &picture).unwrap()
    }

    #[test]
    fn the_file_that_was_recorded_is_not_a_changed_one_because_another_decoder_reads_it() {
        let image = RgbImage::from_pixel(4, 4, image::Rgb([1, 2, 3]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        let stored = read(bytes.get_ref());
        assert!(matches!(&stored, Stored::Redecoded { why, .. } if why.contains("is the file that was recorded")));
        assert_eq!(stored.image(), Some(image));
        let unreadable = read(b"a format that only the other knew");
        assert!(matches!(&unreadable, Stored::Redecoded { image: None, why } if why.contains("cannot read it")));
    }
}
