//! From a frame of any size to the network's input. The trainer calls the same functions.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use ndarray::Array4;

use crate::bundle::InputSize;
use crate::{Error, Result};

/// Resizes `image` to `size`: bilinear, antialiased when it shrinks, without regard to the aspect ratio. An image that
/// has the size is returned as it is.
///
/// # Errors
///
/// The image has no pixels.
pub fn resize(image: &RgbImage, size: InputSize) -> Result<RgbImage> {
    let (width, height) = (size.width as u32, size.height as u32);
    if image.dimensions() == (width, height) {
        return Ok(image.clone());
    }
    let failed = |error: String| Error::device("the frame cannot be resized").because(error);
    if image.width() == 0 || image.height() == 0 {
        return Err(failed("it has no pixels".into()));
    }
    let source = ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3)
        .map_err(|error| failed(error.to_string()))?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut target, &options).map_err(|error| failed(error.to_string()))?;
    RgbImage::from_raw(width, height, target.into_vec()).ok_or_else(|| failed("its size is wrong".into()))
}

/// The network's input `[1, 3, H, W]`, RGB, 0..255, of an image that has the right size.
pub fn to_tensor(image: &RgbImage) -> Array4<f32> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let plane = width * height;
    let mut values = vec![0f32; 3 * plane];
    let (red, rest) = values.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    for (p, pixel) in image.as_raw().chunks_exact(3).enumerate() {
        red[p] = f32::from(pixel[0]);
        green[p] = f32::from(pixel[1]);
        blue[p] = f32::from(pixel[2]);
    }
    Array4::from_shape_vec((1, 3, height, width), values).expect("three planes of the image's size were filled")
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
}
