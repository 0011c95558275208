//! From what a camera sends to 8-bit RGB.
//!
//! The layouts are those of the kernel's "Video for Linux API", chapter "Image Formats"; other sources of frames name them
//! alike.

mod bayer;
mod format;
mod mjpeg;
mod ycc;

use std::fmt;

use image::RgbImage;

pub use format::PixelFormat;

use super::Original;
use crate::{Error, Result};

/// How a picture lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The pixel format.
    pub format: PixelFormat,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row's start to the next, of every plane that the format has; they may exceed what the pixels take. Of
    /// no meaning for JPEG.
    pub strides: [u32; 3],
}

/// One plane of a picture.
struct Plane<'b> {
    bytes: &'b [u8],
    stride: usize,
}

impl<'b> Plane<'b> {
    /// The bytes from the start of row `y` on.
    fn row(&self, y: usize) -> &'b [u8] {
        &self.bytes[y * self.stride..]
    }
}

impl Layout {
    /// A picture whose first plane has rows of `stride` bytes. The others' follow from it as V4L2 says: those of interleaved
    /// Cb Cr are as long, those of Cb or Cr alone half as long.
    pub fn new(format: PixelFormat, width: u32, height: u32, stride: u32) -> Self {
        let chroma = if format.planes(2, 2).len() == 3 { stride.div_ceil(2) } else { stride };
        Layout { format, width, height, strides: [stride, chroma, chroma] }
    }

    /// A picture whose rows follow each other without a gap.
    pub fn unpadded(format: PixelFormat, width: u32, height: u32) -> Self {
        let mut strides = [0; 3];
        for (stride, plane) in strides.iter_mut().zip(format.planes(width as usize, height as usize)) {
            *stride = plane.row as u32;
        }
        Layout { format, width, height, strides }
    }

    /// Bytes that a whole picture takes, with the padding of every row, the last one's too. `None` for JPEG, whose pictures
    /// are of any length.
    pub fn bytes(&self) -> Option<usize> {
        let shapes = self.format.planes(self.width as usize, self.height as usize);
        let sum = shapes.iter().zip(self.strides).map(|(shape, stride)| shape.rows * stride as usize).sum();
        (self.format != PixelFormat::Mjpg).then_some(sum)
    }

    /// The picture in `bytes` as the camera made it, where it made a file of its own.
    pub fn original(&self, bytes: &[u8]) -> Option<Original> {
        (self.format == PixelFormat::Mjpg).then(|| Original { bytes: bytes.to_vec(), ending: "jpg".into() })
    }

    /// Converts the picture in `buffers`: one, or one for each plane where the format says so ([`PixelFormat::buffers`]).
    ///
    /// # Errors
    ///
    /// A buffer is shorter than the layout asks for, or is not the JPEG picture that it should be.
    pub fn to_rgb(&self, buffers: &[&[u8]]) -> Result<RgbImage> {
        if buffers.len() != self.format.buffers() {
            let came = buffers.len();
            return Err(Error::device(format!(
                "a frame of {self} lies in {} buffers, not {came}",
                self.format.buffers()
            )));
        }
        if self.format == PixelFormat::Mjpg {
            return mjpeg::decode(self, buffers[0]);
        }
        let planes = self.planes(buffers)?;
        let mut image = RgbImage::new(self.width, self.height);
        if self.width > 0 {
            self.convert(&planes, &mut image)?;
        }
        Ok(image)
    }

    fn convert(&self, planes: &[Plane], image: &mut RgbImage) -> Result<()> {
        let first = &planes[0];
        match self.format {
            PixelFormat::Rgb3 => each_row(first, image, |row, rgb| rgb.copy_from_slice(&row[..rgb.len()])),
            PixelFormat::Bgr3 => each_row(first, image, |row, rgb| {
                each_pixel(row.chunks_exact(3), rgb, |bgr| [bgr[2], bgr[1], bgr[0]]);
            }),
            PixelFormat::Grey => each_row(first, image, |row, rgb| each_pixel(row.iter(), rgb, |luma| [*luma; 3])),
            PixelFormat::Y16 => {
                each_row(first, image, |row, rgb| each_pixel(row.chunks_exact(2), rgb, |luma| [luma[1]; 3]));
            }
            PixelFormat::Yuyv => each_row(first, image, |row, rgb| ycc::packed(row, rgb, [0, 2, 1, 3])),
            PixelFormat::Uyvy => each_row(first, image, |row, rgb| ycc::packed(row, rgb, [1, 3, 0, 2])),
            PixelFormat::Nv16 | PixelFormat::Nm16 => ycc::semi_planar(planes, 1, image),
            PixelFormat::Nv12 | PixelFormat::Nm12 => ycc::semi_planar(planes, 2, image),
            PixelFormat::Ym16 => ycc::planar(planes, 1, image),
            PixelFormat::Yu12 | PixelFormat::Ym12 => ycc::planar(planes, 2, image),
            PixelFormat::Rggb => return bayer::demosaic(first, (0, 0), image),
            PixelFormat::Grbg => return bayer::demosaic(first, (1, 0), image),
            PixelFormat::Gbrg => return bayer::demosaic(first, (0, 1), image),
            PixelFormat::Ba81 => return bayer::demosaic(first, (1, 1), image),
            // It has no rows; `to_rgb` decodes it.
            PixelFormat::Mjpg => {}
        }
        Ok(())
    }

    /// Cuts `buffers` into the format's planes. The last row of a buffer need not be padded to the stride.
    fn planes<'b>(&self, buffers: &[&'b [u8]]) -> Result<Vec<Plane<'b>>> {
        let shapes = self.format.planes(self.width as usize, self.height as usize);
        let strides = self.strides.map(|stride| stride as usize);
        if let Some((shape, stride)) = shapes.iter().zip(strides).find(|(shape, stride)| *stride < shape.row) {
            let row = shape.row;
            return Err(Error::device(format!("a row of {self} takes {row} bytes, but its stride is {stride}")));
        }
        let last_row = |index: usize| match shapes[index].rows {
            0 => 0,
            rows => (rows - 1) * strides[index] + shapes[index].row,
        };
        if let [bytes] = *buffers {
            let starts = shapes.iter().zip(strides).scan(0, |next, (shape, stride)| {
                let start = *next;
                *next += shape.rows * stride;
                Some(start)
            });
            let starts = starts.collect::<Vec<_>>();
            let last = starts.len() - 1;
            self.require(bytes, starts[last] + last_row(last))?;
            return Ok(starts
                .iter()
                .zip(strides)
                .map(|(start, stride)| Plane { bytes: &bytes[*start..], stride })
                .collect());
        }
        let plane = |(index, bytes): (usize, &&'b [u8])| {
            self.require(bytes, last_row(index))?;
            Ok(Plane { bytes, stride: strides[index] })
        };
        buffers.iter().enumerate().map(plane).collect()
    }

    fn require(&self, bytes: &[u8], wanted: usize) -> Result<()> {
        if bytes.len() < wanted {
            let buffer = if self.format.buffers() > 1 { "a buffer" } else { "a frame" };
            return Err(Error::device(format!("{buffer} of {self} takes {wanted} bytes, {} came", bytes.len()))
                .advise("a USB camera that loses data needs a shorter cable, a port of its own or a lower rate"));
        }
        Ok(())
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} {}", self.width, self.height, self.format)
    }
}

/// Runs `convert` over every row of a plane and the row of RGB pixels that it becomes.
fn each_row(plane: &Plane, image: &mut RgbImage, convert: impl Fn(&[u8], &mut [u8])) {
    let width = image.width() as usize;
    for (y, rgb) in image.chunks_exact_mut(width * 3).enumerate() {
        convert(plane.row(y), rgb);
    }
}

/// Converts pixel by pixel; `rgb` ends where the row's pixels do, its padding is not looked at.
fn each_pixel<T>(pixels: impl Iterator<Item = T>, rgb: &mut [u8], convert: impl Fn(T) -> [u8; 3]) {
    for (pixel, rgb) in pixels.zip(rgb.chunks_exact_mut(3)) {
        rgb.copy_from_slice(&convert(pixel));
    }
}

#[cfg(test)]
mod tests;
