//! From a frame of any size to the network's input. The trainer calls the same functions.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use ndarray::Array4;

use crate::bundle::InputSize;
use crate::{Error, Result};

/// Brings frames to the network's size. What it works in is made once and serves every frame.
pub struct Preparer {
    options: ResizeOptions,
    resizer: Resizer,
    /// The last frame that had another size.
    resized: Image<'static>,
}

impl Preparer {
    /// For a network of this input size.
    pub fn new(size: InputSize) -> Self {
        Preparer {
            options: ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)),
            resizer: Resizer::new(),
            resized: Image::new(size.width as u32, size.height as u32, PixelType::U8x3),
        }
    }

    /// Writes `image` as the network's input `[3, H, W]`, RGB, 0..255: resized as by [`resize`].
    ///
    /// # Errors
    ///
    /// The image has no pixels.
    pub fn prepare(&mut self, image: &RgbImage, input: &mut [f32]) -> Result<()> {
        planes(self.resize(image)?, input);
        Ok(())
    }

    /// The pixels `[H, W, 3]` of `image` at the network's size.
    fn resize<'i>(&'i mut self, image: &'i RgbImage) -> Result<&'i [u8]> {
        let (width, height) = image.dimensions();
        if (width, height) == (self.resized.width(), self.resized.height()) {
            return Ok(image.as_raw());
        }
        let failed = |error: String| Error::device("the frame cannot be resized").because(error);
        if width == 0 || height == 0 {
            return Err(failed("it has no pixels".into()));
        }
        let source = ImageRef::new(width, height, image.as_raw(), PixelType::U8x3);
        let source = source.map_err(|error| failed(error.to_string()))?;
        let resized = self.resizer.resize(&source, &mut self.resized, &self.options);
        resized.map_err(|error| failed(error.to_string()))?;
        Ok(self.resized.buffer())
    }
}

/// Resizes one image to `size`: bilinear, antialiased when it shrinks, without regard to the aspect ratio. An image that
/// has the size is returned as it is.
///
/// # Errors
///
/// The image has no pixels.
pub fn resize(image: &RgbImage, size: InputSize) -> Result<RgbImage> {
    let pixels = Preparer::new(size).resize(image)?.to_vec();
    Ok(RgbImage::from_raw(size.width as u32, size.height as u32, pixels).expect("it was resized to that size"))
}

/// The network's input `[1, 3, H, W]`, RGB, 0..255, of one image that has the right size.
pub fn to_tensor(image: &RgbImage) -> Array4<f32> {
    let mut tensor = Array4::zeros((1, 3, image.height() as usize, image.width() as usize));
    planes(image.as_raw(), tensor.as_slice_mut().expect("a new tensor is one piece"));
    tensor
}

/// Pixels `[H, W, 3]` as planes `[3, H, W]`.
fn planes(pixels: &[u8], values: &mut [f32]) {
    let plane = values.len() / 3;
    let (red, rest) = values.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    for (pixel, ((red, green), blue)) in pixels.chunks_exact(3).zip(red.iter_mut().zip(green).zip(blue)) {
        *red = f32::from(pixel[0]);
        *green = f32::from(pixel[1]);
        *blue = f32::from(pixel[2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn planes_are_red_green_blue_in_row_order() {
        let image = RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, 10 + y as u8, 200]));
        let tensor = to_tensor(&image);
        assert_eq!(tensor.dim(), (1, 3, 2, 3));
        assert_eq!((tensor[[0, 0, 1, 2]], tensor[[0, 1, 1, 2]], tensor[[0, 2, 0, 0]]), (2.0, 11.0, 200.0));
    }

    #[test]
    fn shrinking_averages_and_an_empty_image_is_an_error() {
        let checks = RgbImage::from_fn(64, 64, |x, y| Rgb([255 * ((x + y) % 2) as u8; 3]));
        let small = resize(&checks, InputSize { width: 16, height: 16 }).unwrap();
        assert!(small.pixels().all(|pixel| (126..=129).contains(&pixel.0[0])));
        assert!(resize(&RgbImage::new(0, 5), InputSize { width: 8, height: 8 }).is_err());
    }
    #[test]
    fn what_was_prepared_before_leaves_no_trace() {
        let size = InputSize { width: 48, height: 32 };
        let mut used = Preparer::new(size);
        for (n, (width, height)) in [(64, 48), (48, 32), (640, 480), (20, 90), (64, 48)].into_iter().enumerate() {
            let image =
                RgbImage::from_fn(width, height, |x, y| Rgb([x, y, x * y].map(|v| (v as usize * (n + 3)) as u8)));
            let mut input = vec![f32::NAN; 3 * 48 * 32];
            used.prepare(&image, &mut input).unwrap();
            assert_eq!(input, to_tensor(&resize(&image, size).unwrap()).into_raw_vec_and_offset().0, "{n}");
        }
    }
}
