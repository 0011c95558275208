//! The pixel formats and how their pictures lie in memory.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// The pixel formats that can be converted, named by their V4L2 four-character codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PixelFormat {
    /// 8-bit R, G, B.
    Rgb3,
    /// 8-bit B, G, R.
    Bgr3,
    /// Y'CbCr 4:2:2, packed as Y0 Cb Y1 Cr: what most USB cameras send.
    Yuyv,
    /// Y'CbCr 4:2:2, packed as Cb Y0 Cr Y1.
    Uyvy,
    /// Y'CbCr 4:2:2: a plane of luma, then a plane of interleaved Cb Cr at half the width.
    Nv16,
    /// As NV16, each plane in a buffer of its own (`V4L2_PIX_FMT_NV16M`).
    Nm16,
    /// Y'CbCr 4:2:2: planes of luma, of Cb and of Cr, each in a buffer of its own (`V4L2_PIX_FMT_YUV422M`).
    Ym16,
    /// Y'CbCr 4:2:0: a plane of luma, then a plane of interleaved Cb Cr at half the resolution.
    Nv12,
    /// As NV12, each plane in a buffer of its own (`V4L2_PIX_FMT_NV12M`).
    Nm12,
    /// Y'CbCr 4:2:0: planes of luma, of Cb and of Cr (I420, "YUV420").
    Yu12,
    /// As YU12, each plane in a buffer of its own (`V4L2_PIX_FMT_YUV420M`).
    Ym12,
    /// One JPEG picture per frame.
    Mjpg,
    /// An 8-bit Bayer mosaic whose first rows are B G B G, G R G R (`V4L2_PIX_FMT_SBGGR8`).
    Ba81,
    /// An 8-bit Bayer mosaic whose first rows are G B G B, R G R G.
    Gbrg,
    /// An 8-bit Bayer mosaic whose first rows are G R G R, B G B G.
    Grbg,
    /// An 8-bit Bayer mosaic whose first rows are R G R G, G B G B.
    Rggb,
    /// 8-bit luma.
    Grey,
    /// 16-bit luma, little-endian; the upper byte is used.
    Y16,
}

/// The size of a plane in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Bytes that the pixels of a row take.
    pub(super) row: usize,
    /// Rows.
    pub(super) rows: usize,
}

impl PixelFormat {
    /// Every format, the preferred first: colour before grey, uncompressed before JPEG (whose artefacts a model would have
    /// to learn), that before the raw mosaic of a sensor (nobody has balanced its colours), full colour before half, the
    /// cheapest to convert first.
    pub const ALL: [PixelFormat; 18] = [
        PixelFormat::Rgb3,
        PixelFormat::Bgr3,
        PixelFormat::Yuyv,
        PixelFormat::Uyvy,
        PixelFormat::Nv16,
        PixelFormat::Nm16,
        PixelFormat::Ym16,
        PixelFormat::Nv12,
        PixelFormat::Nm12,
        PixelFormat::Yu12,
        PixelFormat::Ym12,
        PixelFormat::Mjpg,
        PixelFormat::Ba81,
        PixelFormat::Gbrg,
        PixelFormat::Grbg,
        PixelFormat::Rggb,
        PixelFormat::Grey,
        PixelFormat::Y16,
    ];

    /// The V4L2 four-character code.
    pub const fn fourcc(self) -> [u8; 4] {
        *match self {
            PixelFormat::Rgb3 => b"RGB3",
            PixelFormat::Bgr3 => b"BGR3",
            PixelFormat::Yuyv => b"YUYV",
            PixelFormat::Uyvy => b"UYVY",
            PixelFormat::Nv16 => b"NV16",
            PixelFormat::Nm16 => b"NM16",
            PixelFormat::Ym16 => b"YM16",
            PixelFormat::Nv12 => b"NV12",
            PixelFormat::Nm12 => b"NM12",
            PixelFormat::Yu12 => b"YU12",
            PixelFormat::Ym12 => b"YM12",
            PixelFormat::Mjpg => b"MJPG",
            PixelFormat::Ba81 => b"BA81",
            PixelFormat::Gbrg => b"GBRG",
            PixelFormat::Grbg => b"GRBG",
            PixelFormat::Rggb => b"RGGB",
            PixelFormat::Grey => b"GREY",
            PixelFormat::Y16 => b"Y16 ",
        }
    }

    /// In how many buffers a picture lies: one, unless each plane has a buffer of its own.
    pub fn buffers(self) -> usize {
        match self {
            PixelFormat::Nm12 | PixelFormat::Nm16 => 2,
            PixelFormat::Ym12 | PixelFormat::Ym16 => 3,
            _ => 1,
        }
    }

    /// Whether the pixels are luma and colour differences, whose range a camera may choose.
    pub fn is_ycc(self) -> bool {
        matches!(self, PixelFormat::Yuyv | PixelFormat::Uyvy) || self.planes(2, 2).len() > 1
    }

    /// The planes of a picture, at least one. Where colour is sampled more coarsely than luma, half a sample is a whole one.
    /// A JPEG picture has rows of no length.
    pub(super) fn planes(self, width: usize, height: usize) -> Vec<Shape> {
        let packed = |row| vec![Shape { row, rows: height }];
        let pairs = width.div_ceil(2);
        // Luma, then `planes` of colour whose rows hold `row` bytes and stand for `lines` rows of luma.
        let planar = |planes: usize, row, lines| {
            let mut shapes = vec![Shape { row, rows: height.div_ceil(lines) }; 1 + planes];
            shapes[0] = Shape { row: width, rows: height };
            shapes
        };
        match self {
            PixelFormat::Rgb3 | PixelFormat::Bgr3 => packed(width * 3),
            PixelFormat::Yuyv | PixelFormat::Uyvy => packed(pairs * 4),
            PixelFormat::Y16 => packed(width * 2),
            PixelFormat::Grey => packed(width),
            PixelFormat::Ba81 | PixelFormat::Gbrg | PixelFormat::Grbg | PixelFormat::Rggb => packed(width),
            PixelFormat::Nv16 | PixelFormat::Nm16 => planar(1, pairs * 2, 1),
            PixelFormat::Nv12 | PixelFormat::Nm12 => planar(1, pairs * 2, 2),
            PixelFormat::Ym16 => planar(2, pairs, 1),
            PixelFormat::Yu12 | PixelFormat::Ym12 => planar(2, pairs, 2),
            PixelFormat::Mjpg => packed(0),
        }
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The codes are ASCII.
        f.pad(String::from_utf8_lossy(&self.fourcc()).trim_end())
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
