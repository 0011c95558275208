//! Pictures of a Motion-JPEG stream.

use std::io::Cursor;

use image::codecs::jpeg::JpegDecoder;
use image::{DynamicImage, ImageDecoder, RgbImage};

use super::Layout;
use crate::jpeg::{self, has_its_end};
use crate::{Error, Result};

/// Decodes a picture of the layout's size.
pub(super) fn decode(layout: &Layout, bytes: &[u8]) -> Result<RgbImage> {
    let broken = || Error::device(format!("a frame of {layout} is not a whole JPEG picture ({} bytes)", bytes.len()));
    // A decoder paints what is missing of a cut-off picture grey; only the end marker tells.
    if !has_its_end(bytes) {
        return Err(broken().advise("the camera or its cable loses data: try another port, cable or a lower rate"));
    }
    let marked = jpeg::of_stream(bytes).ok_or_else(broken)?;
    let decoder = JpegDecoder::new(Cursor::new(marked)).map_err(|error| broken().because(error))?;
    // Before decoding: a corrupt header may ask for gigabytes.
    let (width, height) = decoder.dimensions();
    if (width, height) != (layout.width, layout.height) {
        return Err(Error::device(format!("a frame of {layout} came as a JPEG picture of {width}x{height}")));
    }
    Ok(DynamicImage::from_decoder(decoder).map_err(|error| broken().because(error))?.into_rgb8())
}
