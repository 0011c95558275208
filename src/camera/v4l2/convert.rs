//! From what a camera sends to 8-bit RGB.
//!
//! The layouts are those of the kernel's "Video for Linux API", chapter "Image Formats". Y'CbCr becomes R'G'B' by the
//! matrix of ITU-R BT.601-7 with the quantization of its section 2.5.3 ("limited range": luma 16..235, chroma
//! 16..240), which is what V4L2 prescribes for cameras that do not say otherwise
//! (`V4L2_YCBCR_ENC_601`, `V4L2_QUANTIZATION_LIM_RANGE`).

use std::fmt;
use std::io::Cursor;
use std::str::FromStr;

use image::codecs::jpeg::JpegDecoder;
use image::{DynamicImage, ImageDecoder, RgbImage};

use crate::jpeg::{SOI, has_its_end};
use crate::{Error, Result};

/// The pixel formats that can be converted, named by their V4L2 four-character codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PixelFormat {
    /// Y'CbCr 4:2:2, packed as Y0 Cb Y1 Cr: what most USB cameras send.
    Yuyv,
    /// Y'CbCr 4:2:2, packed as Cb Y0 Cr Y1.
    Uyvy,
    /// Y'CbCr 4:2:0: a plane of luma, then a plane of interleaved Cb Cr at half the resolution.
    Nv12,
    /// One JPEG picture per frame.
    Mjpg,
    /// 8-bit luma.
    Grey,
    /// 16-bit luma, little-endian; the upper byte is used.
    Y16,
    /// 8-bit R, G, B.
    Rgb3,
    /// 8-bit B, G, R.
    Bgr3,
}

impl PixelFormat {
    /// Every format, the preferred first: colour before grey, uncompressed before JPEG (whose artefacts a model would have
    /// to learn), the cheapest to convert first.
    pub const ALL: [PixelFormat; 8] = [
        PixelFormat::Rgb3,
        PixelFormat::Bgr3,
        PixelFormat::Yuyv,
        PixelFormat::Uyvy,
        PixelFormat::Nv12,
        PixelFormat::Mjpg,
        PixelFormat::Grey,
        PixelFormat::Y16,
    ];

    /// The V4L2 four-character code.
    pub const fn fourcc(self) -> [u8; 4] {
        *match self {
            PixelFormat::Yuyv => b"YUYV",
            PixelFormat::Uyvy => b"UYVY",
            PixelFormat::Nv12 => b"NV12",
            PixelFormat::Mjpg => b"MJPG",
            PixelFormat::Grey => b"GREY",
            PixelFormat::Y16 => b"Y16 ",
            PixelFormat::Rgb3 => b"RGB3",
            PixelFormat::Bgr3 => b"BGR3",
        }
    }

    /// Bytes that one row of `width` pixels takes at least; in a 4:2:2 format, pixels come in pairs. `None` for JPEG.
    fn row_bytes(self, width: usize) -> Option<usize> {
        match self {
            PixelFormat::Yuyv | PixelFormat::Uyvy => Some(width.div_ceil(2) * 4),
            PixelFormat::Nv12 => Some(width.next_multiple_of(2)),
            PixelFormat::Grey => Some(width),
            PixelFormat::Y16 => Some(width * 2),
            PixelFormat::Rgb3 | PixelFormat::Bgr3 => Some(width * 3),
            PixelFormat::Mjpg => None,
        }
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The codes are ASCII.
        f.write_str(String::from_utf8_lossy(&self.fourcc()).trim_end())
    }
}

impl FromStr for PixelFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        PixelFormat::ALL.into_iter().find(|format| format.to_string().eq_ignore_ascii_case(name)).ok_or_else(|| {
            let known: Vec<String> = PixelFormat::ALL.iter().map(PixelFormat::to_string).collect();
            Error::usage(format!("pixel format \"{name}\" is not one of {}", known.join(", ")))
        })
    }
}

/// The APP0 segment that marks a picture of a Motion-JPEG stream (OpenDML AVI 1.02, "Motion JPEG DIB Format").
const AVI1: &[u8] = b"\xff\xe0\x00\x09AVI1\0\0\0";

/// How a picture lies in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The pixel format.
    pub format: PixelFormat,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row's start to the next; it may exceed what the pixels take. Of no meaning for JPEG.
    pub stride: u32,
}

impl Layout {
    /// Converts the picture in `bytes`.
    ///
    /// # Errors
    ///
    /// `bytes` is shorter than the layout asks for, or is not the JPEG picture that it should be.
    pub fn to_rgb(&self, bytes: &[u8]) -> Result<RgbImage> {
        match self.format {
            PixelFormat::Mjpg => self.decode_jpeg(bytes),
            PixelFormat::Yuyv => {
                self.convert_rows(bytes, |row, rgb| packed_422(row, rgb, |q| [q[0], q[2], q[1], q[3]]))
            }
            PixelFormat::Uyvy => {
                self.convert_rows(bytes, |row, rgb| packed_422(row, rgb, |q| [q[1], q[3], q[0], q[2]]))
            }
            PixelFormat::Nv12 => self.convert_nv12(bytes),
            PixelFormat::Grey => {
                self.convert_rows(bytes, |row, rgb| each_pixel(row.iter(), rgb, |luma| [*luma, *luma, *luma]))
            }
            PixelFormat::Y16 => self.convert_rows(bytes, |row, rgb| {
                each_pixel(row.chunks_exact(2), rgb, |luma| [luma[1], luma[1], luma[1]])
            }),
            PixelFormat::Rgb3 => self.convert_rows(bytes, |row, rgb| rgb.copy_from_slice(&row[..rgb.len()])),
            PixelFormat::Bgr3 => self
                .convert_rows(bytes, |row, rgb| each_pixel(row.chunks_exact(3), rgb, |bgr| [bgr[2], bgr[1], bgr[0]])),
        }
    }

    /// Bytes that `rows` rows take: the last one need not be padded to the stride.
    fn plane_bytes(&self, rows: usize) -> Result<usize> {
        let row = self.format.row_bytes(self.width as usize).unwrap_or(0);
        let stride = self.stride as usize;
        if stride < row {
            return Err(Error::device(format!(
                "a row of {self} takes {row} bytes, but the driver's stride is {stride}"
            )));
        }
        Ok(if rows == 0 { 0 } else { (rows - 1) * stride + row })
    }

    fn require(&self, bytes: &[u8], wanted: usize) -> Result<()> {
        if bytes.len() < wanted {
            return Err(Error::device(format!("a frame of {self} takes {wanted} bytes, {} came", bytes.len()))
                .advise("a USB camera that loses data needs a shorter cable, a port of its own or a lower rate"));
        }
        Ok(())
    }

    /// Runs `convert` over every row of the buffer and the row of RGB pixels that it becomes.
    fn convert_rows(&self, bytes: &[u8], convert: impl Fn(&[u8], &mut [u8])) -> Result<RgbImage> {
        self.require(bytes, self.plane_bytes(self.height as usize)?)?;
        let mut image = RgbImage::new(self.width, self.height);
        if self.width == 0 {
            return Ok(image);
        }
        let rows = bytes.chunks(self.stride as usize);
        for (row, rgb) in rows.zip(image.chunks_exact_mut(self.width as usize * 3)) {
            convert(row, rgb);
        }
        Ok(image)
    }

    fn convert_nv12(&self, bytes: &[u8]) -> Result<RgbImage> {
        let (height, stride) = (self.height as usize, self.stride as usize);
        let chroma_starts = height * stride;
        self.require(bytes, chroma_starts + self.plane_bytes(height.div_ceil(2))?)?;
        let mut image = RgbImage::new(self.width, self.height);
        if self.width == 0 {
            return Ok(image);
        }
        for (y, rgb) in image.chunks_exact_mut(self.width as usize * 3).enumerate() {
            let luma = &bytes[y * stride..];
            let chroma = &bytes[chroma_starts + y / 2 * stride..];
            for (x, pixel) in rgb.chunks_exact_mut(3).enumerate() {
                let pair = x & !1;
                pixel.copy_from_slice(&Chroma::new(chroma[pair], chroma[pair + 1]).with_luma(luma[x]));
            }
        }
        Ok(image)
    }

    fn decode_jpeg(&self, bytes: &[u8]) -> Result<RgbImage> {
        let broken = || Error::device(format!("a frame of {self} is not a whole JPEG picture ({} bytes)", bytes.len()));
        // A decoder paints what is missing of a cut-off picture grey; only the end marker tells.
        if !has_its_end(bytes) {
            return Err(broken().advise("the camera or its cable loses data: try another port, cable or a lower rate"));
        }
        // Cameras leave out the Huffman tables, as MJPG means those of ITU-T T.81, K.3. The decoder knows that, and fills in
        // what is missing, but only where this mark stands.
        let marked = [&SOI, AVI1, &bytes[SOI.len()..]].concat();
        let decoder = JpegDecoder::new(Cursor::new(marked)).map_err(|error| broken().because(error))?;
        // Before decoding: a corrupt header may ask for gigabytes.
        let (width, height) = decoder.dimensions();
        if (width, height) != (self.width, self.height) {
            return Err(Error::device(format!("a frame of {self} came as a JPEG picture of {width}x{height}")));
        }
        Ok(DynamicImage::from_decoder(decoder).map_err(|error| broken().because(error))?.into_rgb8())
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} {}", self.width, self.height, self.format)
    }
}

/// Converts pixel by pixel; `rgb` ends where the row's pixels do, its padding is not looked at.
fn each_pixel<T>(pixels: impl Iterator<Item = T>, rgb: &mut [u8], convert: impl Fn(T) -> [u8; 3]) {
    for (pixel, rgb) in pixels.zip(rgb.chunks_exact_mut(3)) {
        rgb.copy_from_slice(&convert(pixel));
    }
}

/// Converts a row of 4:2:2 pixel pairs; `order` picks Y0, Y1, Cb, Cr out of a pair's four bytes.
fn packed_422(row: &[u8], rgb: &mut [u8], order: impl Fn(&[u8]) -> [u8; 4]) {
    for (pair, rgb) in row.chunks_exact(4).zip(rgb.chunks_mut(6)) {
        let [y0, y1, cb, cr] = order(pair);
        let chroma = Chroma::new(cb, cr);
        rgb[..3].copy_from_slice(&chroma.with_luma(y0));
        // A row of odd width ends in half a pair.
        if let Some(second) = rgb.get_mut(3..6) {
            second.copy_from_slice(&chroma.with_luma(y1));
        }
    }
}

/// What a pair of chroma samples adds to red, green and blue, in 1/65536.
///
/// With Kr = 0.299, Kb = 0.114 (BT.601-7, 2.5.1) and the ranges of 2.5.3, the factors are
///
/// ```text
/// luma   255/219                                        = 1.164384
/// R, Cr  2 (1 - Kr) 255/224                             = 1.596027
/// G, Cb  2 (1 - Kb) Kb / (1 - Kr - Kb) 255/224          = 0.391762
/// G, Cr  2 (1 - Kr) Kr / (1 - Kr - Kb) 255/224          = 0.812968
/// B, Cb  2 (1 - Kb) 255/224                             = 2.017232
/// ```
struct Chroma {
    red: i32,
    green: i32,
    blue: i32,
}

impl Chroma {
    fn new(cb: u8, cr: u8) -> Self {
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        Chroma { red: 104_597 * cr, green: -25_675 * cb - 53_279 * cr, blue: 132_201 * cb }
    }

    fn with_luma(&self, y: u8) -> [u8; 3] {
        let luma = 76_309 * (i32::from(y) - 16) + (1 << 15);
        let level = |value: i32| (value >> 16).clamp(0, 255) as u8;
        [level(luma + self.red), level(luma + self.green), level(luma + self.blue)]
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;

    use super::*;

    /// The colours of 100% colour bars as Y'CbCr by BT.601-7, 2.5.3 (rounded to integers there) and as RGB.
    const BARS: [([u8; 3], [u8; 3]); 8] = [
        ([235, 128, 128], [255, 255, 255]),
        ([210, 16, 146], [255, 255, 0]),
        ([170, 166, 16], [0, 255, 255]),
        ([145, 54, 34], [0, 255, 0]),
        ([106, 202, 222], [255, 0, 255]),
        ([81, 90, 240], [255, 0, 0]),
        ([41, 240, 110], [0, 0, 255]),
        ([16, 128, 128], [0, 0, 0]),
    ];

    fn layout(format: PixelFormat, width: u32, height: u32, stride: u32) -> Layout {
        Layout { format, width, height, stride }
    }

    fn pixels(image: &RgbImage) -> Vec<[u8; 3]> {
        image.pixels().map(|pixel| pixel.0).collect()
    }

    #[test]
    fn limited_range_luma_and_chroma_become_the_reference_colours() {
        for (ycc, rgb) in BARS {
            let [y, cb, cr] = ycc;
            let image = layout(PixelFormat::Yuyv, 2, 1, 4).to_rgb(&[y, cb, y, cr]).unwrap();
            for pixel in pixels(&image) {
                let off = (0..3).map(|i| pixel[i].abs_diff(rgb[i])).max().unwrap();
                assert!(off <= 2, "{ycc:?} became {pixel:?}, which should be {rgb:?}");
            }
        }
    }

    #[test]
    fn values_worked_out_by_hand() {
        // R = 1.164384 (100 - 16) + 1.596027 (150 - 128) = 97.808 + 35.113 = 132.92
        // G = 97.808 - 0.391762 (90 - 128) - 0.812968 (150 - 128) = 97.808 + 14.887 - 17.885 = 94.81
        // B = 97.808 + 2.017232 (90 - 128) = 97.808 - 76.655 = 21.15
        assert_eq!(Chroma::new(90, 150).with_luma(100), [133, 95, 21]);
        // Blacker than black and whiter than white are clamped.
        assert_eq!(Chroma::new(128, 128).with_luma(0), [0, 0, 0]);
        assert_eq!(Chroma::new(128, 128).with_luma(255), [255, 255, 255]);
    }

    struct Case {
        layout: Layout,
        bytes: Vec<u8>,
        expected: Vec<[u8; 3]>,
    }

    /// Odd widths and heights, and strides that exceed the pixels (the padding is 255).
    fn cases() -> Vec<Case> {
        let grey = |y: u8| Chroma::new(128, 128).with_luma(y);
        vec![
            Case {
                layout: layout(PixelFormat::Yuyv, 3, 2, 10),
                bytes: vec![
                    50, 128, 60, 128, 70, 128, 255, 128, 255, 255, // row 1
                    80, 128, 90, 128, 100, 128, 255, 128, // the last row is not padded
                ],
                expected: [50, 60, 70, 80, 90, 100].map(grey).to_vec(),
            },
            Case {
                layout: layout(PixelFormat::Uyvy, 3, 1, 8),
                bytes: vec![90, 100, 150, 110, 128, 120, 128, 255],
                expected: vec![Chroma::new(90, 150).with_luma(100), Chroma::new(90, 150).with_luma(110), grey(120)],
            },
            Case {
                layout: layout(PixelFormat::Nv12, 3, 3, 5),
                bytes: vec![
                    50, 60, 70, 255, 255, // luma
                    80, 90, 100, 255, 255, //
                    110, 120, 130, 255, 255, //
                    90, 150, 128, 128, 255, // chroma of rows 1 and 2
                    128, 128, 90, 150, // chroma of row 3
                ],
                expected: vec![
                    Chroma::new(90, 150).with_luma(50),
                    Chroma::new(90, 150).with_luma(60),
                    grey(70),
                    Chroma::new(90, 150).with_luma(80),
                    Chroma::new(90, 150).with_luma(90),
                    grey(100),
                    grey(110),
                    grey(120),
                    Chroma::new(90, 150).with_luma(130),
                ],
            },
            Case {
                layout: layout(PixelFormat::Grey, 3, 2, 4),
                bytes: vec![1, 2, 3, 255, 4, 5, 6],
                expected: (1..=6).map(|y| [y; 3]).collect(),
            },
            Case {
                layout: layout(PixelFormat::Y16, 1, 2, 4),
                bytes: vec![0x34, 0x12, 255, 255, 0x78, 0x56],
                expected: vec![[0x12; 3], [0x56; 3]],
            },
            Case {
                layout: layout(PixelFormat::Rgb3, 1, 2, 4),
                bytes: vec![1, 2, 3, 255, 4, 5, 6],
                expected: vec![[1, 2, 3], [4, 5, 6]],
            },
            Case {
                layout: layout(PixelFormat::Bgr3, 1, 2, 4),
                bytes: vec![1, 2, 3, 255, 4, 5, 6],
                expected: vec![[3, 2, 1], [6, 5, 4]],
            },
        ]
    }

    #[test]
    fn odd_sizes_and_padded_rows_are_converted() {
        for Case { layout, bytes, expected } in cases() {
            let image = layout.to_rgb(&bytes).unwrap();
            assert_eq!(image.dimensions(), (layout.width, layout.height), "{layout}");
            assert_eq!(pixels(&image), expected, "{layout}");
        }
    }

    #[test]
    fn a_buffer_that_is_one_byte_short_is_refused() {
        for Case { layout, bytes, .. } in cases() {
            let error = layout.to_rgb(&bytes[..bytes.len() - 1]).unwrap_err();
            assert!(error.to_string().contains(&format!("{} came", bytes.len() - 1)), "{error}");
            assert!(layout.to_rgb(&[]).is_err(), "{layout}");
        }
    }

    #[test]
    fn a_stride_that_does_not_hold_a_row_is_refused() {
        for format in PixelFormat::ALL.into_iter().filter(|format| *format != PixelFormat::Mjpg) {
            let row = format.row_bytes(5).unwrap() as u32;
            let error = layout(format, 5, 2, row - 1).to_rgb(&[0; 1000]).unwrap_err();
            assert!(error.to_string().contains("stride"), "{error}");
        }
    }

    /// A picture with structure, as JPEG: `(decoded by the image crate, bytes)`.
    fn jpeg() -> (RgbImage, Vec<u8>) {
        let picture = RgbImage::from_fn(35, 21, |x, y| image::Rgb([(x * 7) as u8, (y * 11) as u8, (x * y) as u8]));
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&picture).unwrap();
        (image::load_from_memory(&bytes).unwrap().into_rgb8(), bytes)
    }

    /// The picture without its segments of kind `marker`.
    fn without_segments(bytes: &[u8], marker: u8) -> Vec<u8> {
        let (mut kept, mut rest) = (SOI.to_vec(), &bytes[2..]);
        while rest[1] != 0xda {
            let length = 2 + usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            if rest[1] != marker {
                kept.extend(&rest[..length]);
            }
            rest = &rest[length..];
        }
        [&kept, rest].concat()
    }

    #[test]
    fn jpeg_pictures_are_decoded_with_and_without_their_huffman_tables() {
        let (expected, bytes) = jpeg();
        let layout = layout(PixelFormat::Mjpg, 35, 21, 0);
        assert_eq!(layout.to_rgb(&bytes).unwrap(), expected);

        let bare = without_segments(&bytes, 0xc4);
        assert!(bare.len() + 400 < bytes.len(), "the tables take 420 bytes");
        assert!(image::load_from_memory(&bare).is_err(), "a plain JPEG decoder needs the tables");
        assert_eq!(layout.to_rgb(&bare).unwrap(), expected);

        // UVC cameras pad to a multiple of the packet size.
        assert_eq!(layout.to_rgb(&[bytes, vec![0; 100]].concat()).unwrap(), expected);
    }

    #[test]
    fn a_jpeg_picture_that_is_cut_off_corrupt_or_of_another_size_is_refused() {
        let (picture, bytes) = jpeg();
        let right = layout(PixelFormat::Mjpg, 35, 21, 0);
        for cut in 0..bytes.len() {
            assert!(right.to_rgb(&bytes[..cut]).is_err(), "{cut} of {} bytes", bytes.len());
        }
        // A thumbnail in an Exif segment has an end of its own.
        let exif = [b"Exif\0\0".as_slice(), &bytes].concat();
        let length = (exif.len() as u16 + 2).to_be_bytes();
        let with_thumbnail = [&SOI, [0xff, 0xe1].as_slice(), &length, &exif, &bytes[2..]].concat();
        assert_eq!(right.to_rgb(&with_thumbnail).unwrap(), picture);
        for cut in 0..with_thumbnail.len() {
            assert!(right.to_rgb(&with_thumbnail[..cut]).is_err(), "{cut} of {} bytes", with_thumbnail.len());
        }
        let error = layout(PixelFormat::Mjpg, 64, 48, 0).to_rgb(&bytes).unwrap_err();
        assert!(error.to_string().contains("35x21"), "{error}");
        // Flipped header bytes: an error or a picture, never a panic.
        for at in 2..bytes.len().min(700) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0xff;
            let _ = right.to_rgb(&flipped);
        }
    }

    #[test]
    fn formats_are_named_by_their_codes() {
        for format in PixelFormat::ALL {
            assert_eq!(format.to_string().parse::<PixelFormat>().unwrap(), format);
            assert_eq!(serde_json::to_string(&format).unwrap(), format!("\"{format}\""));
        }
        assert_eq!("mjpg".parse::<PixelFormat>().unwrap(), PixelFormat::Mjpg);
        let error = "H264".parse::<PixelFormat>().unwrap_err();
        assert!(error.to_string().contains("YUYV"), "{error}");
    }
}
