//! From a frame of any size to the network's input. The trainer calls the same function.
use crate::bundle::InputSize;
use image::RgbImage;
use ndarray::Array4;

/// Resizes `image` to `size` (bilinear with antialiasing, ignoring the aspect ratio).
pub fn resize(_image: &RgbImage, _size: InputSize) -> RgbImage {
    todo!()
}

/// The network's input `[1, 3, H, W]`, RGB, 0..255, of an image that has the right size.
pub fn to_tensor(_image: &RgbImage) -> Array4<f32> {
    todo!()
}
