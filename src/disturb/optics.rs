//! What goes wrong in front of a camera, done to a picture.

use image::{Rgb, RgbImage, imageops};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// Nothing does: what is noticed here too is no sign of a disturbance.
    Nothing,
    /// The lamp grows dim, by 0.1% of its light per part.
    Dimming,
    /// The lens loses its focus: a blur that grows by 0.5% of a pixel (of 256 over the width) per part.
    Defocus,
    /// The camera was moved, at once, by 3% of the picture's width.
    Shift,
    /// A smear lies on a sixth of the lens, at once: there the picture is blurred and veiled.
    Smear,
}

impl Disturbance {
    /// All of them.
    pub const ALL: [Disturbance; 5] =
        [Disturbance::Nothing, Disturbance::Dimming, Disturbance::Defocus, Disturbance::Shift, Disturbance::Smear];

    /// The picture of the `number`-th disturbed part, from 1.
    pub fn of(self, image: &RgbImage, number: usize) -> RgbImage {
        let pixel = image.width() as f32 / 256.0;
        match self {
            Disturbance::Nothing => image.clone(),
            Disturbance::Dimming => dim(image, 0.999f32.powi(number as i32)),
            Disturbance::Defocus => defocus(image, 0.005 * number as f32 * pixel),
            Disturbance::Shift => shift(image, (0.03 * image.width() as f32).round() as u32),
            Disturbance::Smear => smear(image, 4.0 * pixel),
        }
    }

    /// In a few words.
    pub fn name(self) -> &'static str {
        match self {
            Disturbance::Nothing => "nothing",
            Disturbance::Dimming => "lamp -0.1% per part",
            Disturbance::Defocus => "defocus +0.005 px per part",
            Disturbance::Shift => "camera moved by 3%",
            Disturbance::Smear => "smear on the lens",
        }
    }
}

/// The picture with this share of its light.
pub fn dim(image: &RgbImage, share: f32) -> RgbImage {
    let table: [u8; 256] = std::array::from_fn(|value| (value as f32 * share).round() as u8);
    let mut dimmed = image.clone();
    dimmed.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
    dimmed
}

/// The picture under a Gaussian blur of `sigma` pixels.
pub fn defocus(image: &RgbImage, sigma: f32) -> RgbImage {
    if sigma < 0.05 { image.clone() } else { imageops::blur(image, sigma) }
}

fn shift(image: &RgbImage, pixels: u32) -> RgbImage {
    // What was outside of the picture looks like its edge.
    RgbImage::from_fn(image.width(), image.height(), |x, y| *image.get_pixel(x.saturating_sub(pixels), y))
}

fn smear(image: &RgbImage, sigma: f32) -> RgbImage {
    let blurred = imageops::blur(image, sigma);
    let (width, height) = (image.width() as f32, image.height() as f32);
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let (sharp, soft) = (image.get_pixel(x, y), blurred.get_pixel(x, y));
        // An ellipse around a point left of the middle; its edge is soft.
        let (across, down) = ((x as f32 / width - 0.4) / 0.25, (y as f32 / height - 0.45) / 0.22);
        let share = (1.5 - (across * across + down * down)).clamp(0.0, 1.0);
        Rgb(std::array::from_fn(|channel| {
            let veiled = 0.85 * f32::from(soft.0[channel]) + 0.15 * 160.0;
            (f32::from(sharp.0[channel]) * (1.0 - share) + veiled * share).round() as u8
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Statistics;

    #[test]
    fn each_does_what_it_says() {
        let image = RgbImage::from_fn(64, 48, |x, y| Rgb([if (x / 2 + y / 2) % 2 == 0 { 200 } else { 40 }; 3]));
        let before = Statistics::of(&image, None);
        let after = |disturbance: Disturbance, number| Statistics::of(&disturbance.of(&image, number), None);
        let dimmed = after(Disturbance::Dimming, 100);
        assert!((dimmed.brightness / before.brightness - 0.905).abs() < 0.01);
        assert!(after(Disturbance::Defocus, 800).sharpness < 0.8 * before.sharpness);
        let moved = Disturbance::Shift.of(&image, 1);
        assert_eq!(moved.get_pixel(40, 7), image.get_pixel(38, 7));
        let smeared = Disturbance::Smear.of(&image, 1);
        assert_eq!(smeared.get_pixel(63, 47), image.get_pixel(63, 47));
        assert_ne!(smeared.get_pixel(26, 22), image.get_pixel(26, 22));
    }
}
