//! Where in a stream of bytes one picture ends and the next one begins.

use std::ops::Range;

use super::Format;
use crate::camera::pixels::{Layout, PixelFormat};
use crate::jpeg::{End, SOI, Walk};

/// How many bytes a JPEG picture or a header may take at most, in pixels of the picture: noise at the best quality takes less.
const JPEG_BYTES_PER_PIXEL: usize = 4;
/// What tables, Exif data and a thumbnail may take beside.
const JPEG_EXTRA: usize = 1 << 17;
/// The longest line of a Y4M header, and the longest header of a PNM picture.
const HEADER: usize = 4096;

/// A piece of the stream.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// A picture and how it lies in these bytes.
    Picture(Layout, Vec<u8>),
    /// A picture was here that is not whole; why, and what there is of it.
    Broken(String, Vec<u8>),
}

/// What the bytes in hand begin with.
enum Step {
    /// More are needed to tell.
    More,
    /// So many that belong to no picture.
    Skip(usize),
    /// A picture in this range, and nothing before its end that is of use.
    Picture(Layout, Range<usize>),
    /// So many bytes of a picture that is not whole.
    Broken(usize, String),
}

/// Cuts a stream into pictures.
pub(super) struct Splitter {
    kind: Kind,
    /// How a picture of this camera lies, and how large it is.
    expected: Layout,
    waiting: Vec<u8>,
}

enum Kind {
    Jpeg(Walk),
    Raw,
    /// The format that the stream's header named.
    Y4m(Option<Layout>),
    Pnm,
}

impl Splitter {
    pub(super) fn new(format: Format, expected: Layout) -> Self {
        let kind = match format {
            Format::Pixels(PixelFormat::Mjpg) => Kind::Jpeg(Walk::default()),
            Format::Pixels(_) => Kind::Raw,
            Format::Y4m => Kind::Y4m(None),
            Format::Pnm => Kind::Pnm,
        };
        Splitter { kind, expected, waiting: Vec::new() }
    }

    /// Takes bytes in, and hands the pieces that are complete with them to `take`.
    ///
    /// # Errors
    ///
    /// The stream is not what it should be, so where pictures begin cannot be told.
    pub(super) fn push(&mut self, bytes: &[u8], mut take: impl FnMut(Piece)) -> Result<(), String> {
        self.waiting.extend_from_slice(bytes);
        let mut done = 0;
        loop {
            let rest = &self.waiting[done..];
            let step = match &mut self.kind {
                Kind::Jpeg(walk) => jpeg(walk, &self.expected, rest),
                Kind::Raw => raw(self.expected, rest),
                Kind::Y4m(layout) => y4m(layout, &self.expected, rest)?,
                Kind::Pnm => pnm(&self.expected, rest)?,
            };
            done += match step {
                Step::More => break,
                Step::Skip(count) => count,
                Step::Picture(layout, range) => {
                    take(Piece::Picture(layout, rest[range.clone()].to_vec()));
                    range.end
                }
                Step::Broken(count, why) => {
                    take(Piece::Broken(why, rest[..count].to_vec()));
                    count
                }
            };
        }
        self.waiting.drain(..done);
        Ok(())
    }

    /// What is wrong with the stream if it ends here.
    pub(super) fn cut_off(&self) -> Option<String> {
        let count = self.waiting.len();
        let whole = self.expected.bytes().filter(|_| matches!(self.kind, Kind::Raw));
        (count > 0).then(|| match whole {
            Some(whole) => format!(
                "it ended within a picture, {count} bytes after the last one; a {} takes {whole}: is its size right?",
                self.expected
            ),
            None => format!("it ended within a picture, {count} bytes after the last one"),
        })
    }
}

/// Pictures of a known length, one after the other.
fn raw(expected: Layout, bytes: &[u8]) -> Step {
    match expected.bytes() {
        Some(length) if length > 0 && bytes.len() >= length => Step::Picture(expected, 0..length),
        _ => Step::More,
    }
}

/// JPEG pictures, with anything between them.
fn jpeg(walk: &mut Walk, expected: &Layout, bytes: &[u8]) -> Step {
    // A marker follows the start of an image at once.
    match bytes.windows(3).position(|three| three[..2] == SOI && three[2] == 0xff) {
        Some(0) => {}
        Some(start) => return Step::Skip(start),
        // The last two bytes may be the beginning of it.
        None if bytes.len() > 2 => return Step::Skip(bytes.len() - 2),
        None => return Step::More,
    }
    let most = expected.width as usize * expected.height as usize * JPEG_BYTES_PER_PIXEL + JPEG_EXTRA;
    let step = match walk.find_end(bytes) {
        Some(End::Marked(end)) => Step::Picture(*expected, 0..end),
        Some(End::CutOff(end)) => {
            Step::Broken(end, format!("a JPEG picture of {end} bytes ends where the next one begins"))
        }
        None if bytes.len() > most => {
            Step::Broken(SOI.len(), format!("a JPEG picture of {expected} has no end within {most} bytes"))
        }
        None => return Step::More,
    };
    *walk = Walk::default();
    step
}

/// YUV4MPEG2 as the man page yuv4mpeg(5) of mjpegtools describes it: a line that says what follows, and before each picture
/// a line that begins with FRAME.
fn y4m(layout: &mut Option<Layout>, expected: &Layout, bytes: &[u8]) -> Result<Step, String> {
    let Some(line) = line(bytes, "Y4M")? else { return Ok(Step::More) };
    let Some(layout) = layout else {
        *layout = Some(y4m_header(line, expected)?);
        return Ok(Step::Skip(line.len() + 1));
    };
    if line.split(|byte| *byte == b' ').next() != Some(b"FRAME") {
        return Err("no FRAME where one should begin: this is no Y4M stream, or bytes of it are lost".into());
    }
    let start = line.len() + 1;
    let end = start + layout.bytes().unwrap_or_default();
    Ok(if bytes.len() >= end { Step::Picture(*layout, start..end) } else { Step::More })
}

fn y4m_header(line: &[u8], expected: &Layout) -> Result<Layout, String> {
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    if words.next() != Some("YUV4MPEG2") {
        return Err("the stream does not begin with YUV4MPEG2: this is no Y4M stream".into());
    }
    let (mut width, mut height, mut colour) = (0, 0, "420");
    for word in words.filter(|word| word.is_ascii()) {
        let (tag, value) = word.split_at(word.len().min(1));
        match tag {
            "W" => width = value.parse().unwrap_or(0),
            "H" => height = value.parse().unwrap_or(0),
            "C" => colour = value,
            _ => {}
        }
    }
    let format = match colour {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => PixelFormat::Yu12,
        "mono" => PixelFormat::Grey,
        other => return Err(format!("the stream's colours are C{other}: they have to be C420 or Cmono, of 8 bits")),
    };
    right_size(Layout::unpadded(format, width, height), expected)
}

/// PGM and PPM pictures, binary and of 8 bits (netpbm's pages pgm(5) and ppm(5)).
fn pnm(expected: &Layout, bytes: &[u8]) -> Result<Step, String> {
    let format = match bytes {
        [b'P', b'5', ..] => PixelFormat::Grey,
        [b'P', b'6', ..] => PixelFormat::Rgb3,
        [] | [b'P'] => return Ok(Step::More),
        _ => return Err("no P5 or P6 where a picture should begin: this is no stream of PGM or PPM pictures".into()),
    };
    let mut numbers = [0u32; 3];
    let mut at = 2;
    for number in &mut numbers {
        let Some(digits) = header_number(bytes, &mut at) else {
            let too_long = bytes.len() > HEADER;
            return if too_long { Err("a picture's header has no end".into()) } else { Ok(Step::More) };
        };
        *number = digits.parse().map_err(|_| format!("a picture's header says {digits:?} where a number belongs"))?;
    }
    let [width, height, white] = numbers;
    if white != 255 {
        return Err(format!("white is {white} in a picture: it has to be 255"));
    }
    let layout = right_size(Layout::unpadded(format, width, height), expected)?;
    // One blank ends the header.
    let start = at + 1;
    let end = start + layout.bytes().unwrap_or_default();
    Ok(if bytes.len() >= end { Step::Picture(layout, start..end) } else { Step::More })
}

/// The word of a PNM header behind `at`, once it has its end; comments are left out.
fn header_number(bytes: &[u8], at: &mut usize) -> Option<String> {
    loop {
        match bytes.get(*at)? {
            b'#' => *at += bytes[*at..].iter().position(|byte| *byte == b'\n')?,
            byte if byte.is_ascii_whitespace() => *at += 1,
            _ => break,
        }
    }
    let length = bytes[*at..].iter().position(u8::is_ascii_whitespace)?;
    let word = &bytes[*at..*at + length];
    *at += length;
    Some(String::from_utf8_lossy(word).into_owned())
}

/// The first line without its end, once it has come.
fn line<'b>(bytes: &'b [u8], what: &str) -> Result<Option<&'b [u8]>, String> {
    match bytes.iter().take(HEADER).position(|byte| *byte == b'\n') {
        Some(end) => Ok(Some(&bytes[..end])),
        None if bytes.len() >= HEADER => Err(format!("a line of {HEADER} bytes: this is no {what} stream")),
        None => Ok(None),
    }
}

/// A stream that says itself how large its pictures are must agree with the configuration, by which thresholds were set.
fn right_size(layout: Layout, expected: &Layout) -> Result<Layout, String> {
    match (layout.width, layout.height) == (expected.width, expected.height) {
        true => Ok(layout),
        false => Err(format!(
            "its pictures are {}x{}, the configuration says {}x{}",
            layout.width, layout.height, expected.width, expected.height
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out when `stream` comes in pieces of `step` bytes.
    fn split(format: Format, expected: Layout, stream: &[u8], step: usize) -> Result<Vec<Piece>, String> {
        let mut splitter = Splitter::new(format, expected);
        let mut pieces = Vec::new();
        for bytes in stream.chunks(step) {
            splitter.push(bytes, |piece| pieces.push(piece))?;
        }
        Ok(pieces)
    }

    fn jpeg_picture(width: u32, height: u32, quality: u8) -> Vec<u8> {
        let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 7) as u8, (y * 11) as u8, 9]));
        let mut bytes = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(&picture).unwrap();
        bytes
    }

    /// The picture with a whole other one in an Exif segment.
    fn with_thumbnail(picture: &[u8]) -> Vec<u8> {
        let exif = [b"Exif\0\0".as_slice(), &jpeg_picture(16, 16, 50)].concat();
        let length = (exif.len() as u16 + 2).to_be_bytes();
        [&SOI, [0xff, 0xe1].as_slice(), &length, &exif, &picture[2..]].concat()
    }

    #[test]
    fn jpeg_pictures_are_cut_at_their_ends_whatever_lies_between_and_within_them() {
        let layout = Layout::unpadded(PixelFormat::Mjpg, 40, 24);
        let (first, second) = (jpeg_picture(40, 24, 90), with_thumbnail(&jpeg_picture(40, 24, 40)));
        let cut_off = &first[..first.len() - 30];
        let noise = b"\xff\xd8 \xff\xff\xd9--boundary\r\n\xff";
        let stream = [noise.as_slice(), &first, &second, noise, cut_off, &second, &first].concat();
        for step in [1, 2, 3, 17, 100, 1000, stream.len()] {
            let pieces = split(Format::Pixels(PixelFormat::Mjpg), layout, &stream, step).unwrap();
            let whole = |bytes: &Vec<u8>| Piece::Picture(layout, bytes.clone());
            assert_eq!(pieces.len(), 5, "in steps of {step}");
            assert_eq!([&pieces[0], &pieces[1]], [&whole(&first), &whole(&second)], "in steps of {step}");
            assert!(
                matches!(&pieces[2], Piece::Broken(why, bytes) if why.contains("next one begins") && bytes == cut_off),
                "{:?}",
                pieces[2]
            );
            assert_eq!([&pieces[3], &pieces[4]], [&whole(&second), &whole(&first)], "in steps of {step}");
        }
    }

    #[test]
    fn a_jpeg_picture_without_an_end_is_given_up_and_the_stream_goes_on() {
        let layout = Layout::unpadded(PixelFormat::Mjpg, 8, 8);
        let picture = jpeg_picture(8, 8, 90);
        let endless = vec![7; 4 * JPEG_EXTRA];
        let stream = [&picture[..picture.len() - 2], &endless, &picture].concat();
        let pieces = split(Format::Pixels(PixelFormat::Mjpg), layout, &stream, 65_536).unwrap();
        assert!(matches!(&pieces[0], Piece::Broken(why, _) if why.contains("no end")), "{:?}", pieces[0]);
        assert_eq!(pieces[1..], [Piece::Picture(layout, picture)]);
    }

    #[test]
    fn raw_pictures_are_cut_by_their_length() {
        let layout = Layout::new(PixelFormat::Grey, 3, 2, 4);
        let stream: Vec<u8> = (0..20).collect();
        for step in [1, 5, 8, 20] {
            let format = Format::Pixels(PixelFormat::Grey);
            let pieces = split(format, layout, &stream, step).unwrap();
            let expected = [0..8, 8..16].map(|range| Piece::Picture(layout, range.collect()));
            assert_eq!(pieces, expected, "in steps of {step}");
        }
        let mut splitter = Splitter::new(Format::Pixels(PixelFormat::Grey), layout);
        splitter.push(&stream, |_| {}).unwrap();
        let why = splitter.cut_off().unwrap();
        assert!(why.contains("4 bytes after the last one; a 3x2 GREY takes 8"), "{why}");
        splitter.push(&stream[..4], |_| {}).unwrap();
        assert_eq!(splitter.cut_off(), None);
    }

    #[test]
    fn streams_that_describe_themselves_are_read_and_held_against_the_configuration() {
        let expected = Layout::unpadded(PixelFormat::Yu12, 4, 2);
        let pixels: Vec<u8> = (0..24).collect();
        let y4m = [b"YUV4MPEG2 W4 H2 F25:1 C420jpeg\nFRAME\n".as_slice(), &pixels[..12], b"FRAME X1\n", &pixels[12..]]
            .concat();
        let mono = [b"YUV4MPEG2 W4 H2 Cmono\nFRAME\n".as_slice(), &pixels[..8]].concat();
        let pnm = [b"P5 4 2 255\n".as_slice(), &pixels[..8], b"P6\n# by hand\n4 2\n255\n", &pixels].concat();
        let picture =
            |format, range: Range<usize>| Piece::Picture(Layout::unpadded(format, 4, 2), pixels[range].to_vec());
        for step in [1, 7, 1000] {
            let halves = [picture(PixelFormat::Yu12, 0..12), picture(PixelFormat::Yu12, 12..24)];
            assert_eq!(split(Format::Y4m, expected, &y4m, step).unwrap(), halves);
            assert_eq!(split(Format::Y4m, expected, &mono, step).unwrap(), [picture(PixelFormat::Grey, 0..8)]);
            let both = [picture(PixelFormat::Grey, 0..8), picture(PixelFormat::Rgb3, 0..24)];
            assert_eq!(split(Format::Pnm, expected, &pnm, step).unwrap(), both);
        }
        let refused = [
            (Format::Y4m, "YUV4MPEG2 W8 H2\nFRAME\n", "its pictures are 8x2, the configuration says 4x2"),
            (Format::Y4m, "YUV4MPEG2 W4 H2 C444\n", "the stream's colours are C444"),
            (Format::Y4m, "RIFF\n", "does not begin with YUV4MPEG2"),
            (Format::Y4m, "YUV4MPEG2 W4 H2\nFRANE\n", "no FRAME"),
            (Format::Pnm, "P5 4 2 65535\n", "white is 65535"),
            (Format::Pnm, "P5 4 x 255\n", "\"x\" where a number belongs"),
            (Format::Pnm, "P3 4 2 255\n", "no P5 or P6"),
        ];
        for (format, stream, why) in refused {
            let error = split(format, expected, stream.as_bytes(), 1).unwrap_err();
            assert!(error.contains(why), "{stream:?}: {error}");
        }
        let endless = vec![b'1'; 2 * HEADER];
        assert!(split(Format::Y4m, expected, &endless, 100).is_err());
        assert!(split(Format::Pnm, expected, &[b"P5 ".as_slice(), &endless].concat(), 100).is_err());
    }
}
