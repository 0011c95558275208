//! One image file.

use std::path::Path;

use hgad::Result;
use hgad::dataset;
use hgad::digest::Digest;
use image::{ImageDecoder, ImageFormat, ImageReader};

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Width and height.
    pub size: (u32, u32),
    /// Channels and bits, as `Rgb8`.
    pub pixels: String,
    /// Of its bytes.
    pub digest: Digest,
    /// Whether its name's ending says another format than its content.
    pub misnamed: bool,
}

/// Looks at the image file `path`, and decodes it to the last pixel unless `quick`.
///
/// # Errors
///
/// It cannot be read or is not an image.
pub fn look(path: &Path, quick: bool) -> Result<Seen> {
    let bytes = dataset::read_bytes(path)?;
    dataset::check_header(path, &bytes)?;
    if !quick {
        dataset::decode_rgb(path, &bytes)?;
    }
    let reader = ImageReader::new(std::io::Cursor::new(&bytes)).with_guessed_format();
    let format = reader.as_ref().ok().and_then(ImageReader::format);
    let decoder = reader.map_err(image::ImageError::from).and_then(ImageReader::into_decoder);
    let (size, pixels) = decoder.map_or_else(
        // The header was read a moment ago; what a decoder cannot say besides is not known.
        |_| ((0, 0), "unknown".to_owned()),
        |decoder| (decoder.dimensions(), format!("{:?}", decoder.original_color_type())),
    );
    let misnamed = ImageFormat::from_path(path).ok() != format;
    Ok(Seen { size, pixels, digest: Digest::of(&bytes), misnamed })
}
