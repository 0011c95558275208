//! Whether a JPEG picture is whole. Decoders fill what a cut-off one lacks with grey, and a grey patch may pass.

/// JPEG's start of image.
pub(crate) const SOI: [u8; 2] = [0xff, 0xd8];

/// The APP0 segment that marks a picture of a Motion-JPEG stream (OpenDML AVI 1.02, "Motion JPEG DIB Format").
const AVI1: &[u8] = b"\xff\xe0\x00\x09AVI1\0\0\0";

/// A picture of a Motion-JPEG stream as a file that decoders read; `None` for what is no JPEG picture. Cameras leave out the
/// Huffman tables, as MJPG means those of ITU-T T.81, K.3. The decoder knows that, and fills in what is missing, but only
/// where this mark stands.
pub(crate) fn of_stream(bytes: &[u8]) -> Option<Vec<u8>> {
    bytes.strip_prefix(&SOI).map(|rest| [&SOI, AVI1, rest].concat())
}

/// Whether a JPEG picture goes on to its end-of-image marker (ITU-T T.81, B.1). The segments are walked one by one: the
/// thumbnail in an Exif segment is a JPEG picture with an end of its own.
pub(crate) fn has_its_end(bytes: &[u8]) -> bool {
    let Some(mut rest) = bytes.strip_prefix(&SOI) else { return false };
    let mut scanned = false;
    // Coded data stands between a scan's header and the next marker. In it, and before a marker, 0xff may be followed by 0
    // (a coded 0xff), a restart marker, or another 0xff (a fill byte).
    let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff | 0xd0..=0xd7);
    while let Some(at) = rest.windows(2).position(is_marker) {
        let marker = rest[at + 1];
        rest = &rest[at + 2..];
        if marker == 0xd9 {
            return scanned;
        }
        scanned |= marker == 0xda;
        let Some(length) = rest.first_chunk::<2>() else { return false };
        let Some(behind) = rest.get(usize::from(u16::from_be_bytes(*length))..) else { return false };
        rest = behind;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_picture_has_its_end() {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([(x * 6) as u8, (y * 8) as u8, 90]))
            .write_to(&mut bytes, image::ImageFormat::Jpeg)
            .unwrap();
        let bytes = bytes.into_inner();
        assert!(has_its_end(&bytes));
        assert!((0..bytes.len()).all(|length| !has_its_end(&bytes[..length])));
    }
}
