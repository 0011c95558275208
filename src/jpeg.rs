//! Where a JPEG picture ends, and so whether it is whole. Decoders fill what a cut-off one lacks with grey, and a grey patch
//! may pass.

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

/// Where a picture ends in what follows its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Behind its end-of-image marker.
    Marked(usize),
    /// Where another picture starts, as the rest of this one never came.
    CutOff(usize),
}

/// Goes through a picture's segments as its bytes come in (ITU-T T.81, B.1), one by one: the thumbnail in an Exif segment is a
/// JPEG picture with an end of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Walk {
    /// What was looked at already.
    seen: usize,
    /// Whether a scan, the coded picture, has begun.
    scanned: bool,
}

impl Walk {
    /// Looks for the end in `bytes`: the start-of-image marker, and all that came behind it so far.
    pub(crate) fn find_end(&mut self, bytes: &[u8]) -> Option<End> {
        self.seen = self.seen.max(SOI.len());
        // Coded data stands between a scan's header and the next marker. In it, and before a marker, 0xff may be followed by
        // 0 (a coded 0xff), a restart marker, or another 0xff (a fill byte).
        let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff | 0xd0..=0xd7);
        loop {
            let rest = bytes.get(self.seen..)?;
            let Some(at) = rest.windows(2).position(is_marker) else {
                // The last byte may be the first half of a marker.
                self.seen += rest.len().saturating_sub(1);
                return None;
            };
            self.seen += at;
            match rest[at + 1] {
                0xd9 => return Some(End::Marked(self.seen + 2)),
                0xd8 => return Some(End::CutOff(self.seen)),
                marker => {
                    let length = rest[at + 2..].first_chunk::<2>()?;
                    self.scanned |= marker == 0xda;
                    self.seen += 2 + usize::from(u16::from_be_bytes(*length));
                }
            }
        }
    }
}

/// Whether a JPEG picture goes on to its end-of-image marker.
pub(crate) fn has_its_end(bytes: &[u8]) -> bool {
    let mut walk = Walk::default();
    bytes.starts_with(&SOI) && matches!(walk.find_end(bytes), Some(End::Marked(_))) && walk.scanned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([(x * 6) as u8, (y * 8) as u8, 90]))
            .write_to(&mut bytes, image::ImageFormat::Jpeg)
            .unwrap();
        bytes.into_inner()
    }

    #[test]
    fn only_a_whole_picture_has_its_end() {
        let bytes = picture();
        assert!(has_its_end(&bytes));
        assert!((0..bytes.len()).all(|length| !has_its_end(&bytes[..length])));
    }

    #[test]
    fn the_end_is_found_however_the_bytes_come() {
        let whole = picture();
        let two = [whole.clone(), whole.clone()].concat();
        for cut in (4..whole.len()).step_by(7) {
            let mut walk = Walk::default();
            let lengths = (2..).step_by(cut).take_while(|length| *length < whole.len());
            assert!(lengths.into_iter().all(|length| walk.find_end(&two[..length]).is_none()), "steps of {cut}");
            assert_eq!(walk.find_end(&two), Some(End::Marked(whole.len())));
        }
        // In the coded data, where the next picture's start is the first marker.
        let half = whole.len() - 40;
        let cut_off = [&whole[..half], &whole].concat();
        assert_eq!(Walk::default().find_end(&cut_off), Some(End::CutOff(half)));
    }
}
