//! A picture in three numbers, by which a person sets up light and lens.

use image::RgbImage;

/// From this luma on a pixel tells nothing any more.
const SATURATED: u8 = 250;

/// Light and focus of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Mean luma (BT.601), 0 to 255.
    pub brightness: f32,
    /// Share of pixels with a luma of 250 or more.
    pub saturated: f32,
    /// Mean square of the luma's differences between neighbours, over twice its variance: 0 for a picture without detail, about 1
    /// for noise. It does not change with brightness or contrast, and falls when the picture loses its focus.
    pub sharpness: f32,
}

impl Figures {
    /// Of a picture; of one without pixels all are 0.
    pub fn of(image: &RgbImage) -> Self {
        let luma: Vec<u8> = image.pixels().map(|pixel| luma(pixel.0)).collect();
        let width = (image.width() as usize).max(1);
        let mean = |sum: f64, count: usize| if count == 0 { 0.0 } else { sum / count as f64 };
        let brightness = mean(luma.iter().map(|luma| f64::from(*luma)).sum(), luma.len());
        let variance = mean(luma.iter().map(|luma| (f64::from(*luma) - brightness).powi(2)).sum(), luma.len());
        let beside = luma.chunks_exact(width).flat_map(|row| row.windows(2).map(|pair| (pair[0], pair[1])));
        let below = luma.iter().copied().zip(luma.iter().copied().skip(width));
        let (sum, count) = beside
            .chain(below)
            .fold((0.0, 0), |(sum, count), (a, b)| (sum + (f64::from(a) - f64::from(b)).powi(2), count + 1));
        Figures {
            brightness: brightness as f32,
            saturated: mean(luma.iter().filter(|luma| **luma >= SATURATED).count() as f64, luma.len()) as f32,
            sharpness: if variance > 0.0 { (mean(sum, count) / (2.0 * variance)) as f32 } else { 0.0 },
        }
    }
}

fn luma(pixel: [u8; 3]) -> u8 {
    let [r, g, b] = pixel.map(u32::from);
    ((77 * r + 150 * g + 29 * b) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use image::{Rgb, imageops};

    use super::*;

    #[test]
    fn figures_are_those_of_the_picture() {
        let checks = RgbImage::from_fn(64, 64, |x, y| Rgb([255 * ((x + y) % 2) as u8; 3]));
        assert_eq!(Figures::of(&checks), Figures { brightness: 127.5, saturated: 0.5, sharpness: 2.0 });
        let even = Figures::of(&RgbImage::from_pixel(8, 8, Rgb([10; 3])));
        assert_eq!(even, Figures { brightness: 10.0, saturated: 0.0, sharpness: 0.0 });
        assert_eq!(Figures::of(&RgbImage::new(0, 5)).brightness, 0.0);
        assert_eq!(Figures::of(&RgbImage::new(1, 1)).sharpness, 0.0);
    }

    #[test]
    fn sharpness_falls_with_the_focus_and_not_with_the_light() {
        let stripes = RgbImage::from_fn(90, 60, |x, y| Rgb([((x / 5 + y / 7) % 2 * 200) as u8; 3]));
        let dim = RgbImage::from_fn(90, 60, |x, y| Rgb(stripes.get_pixel(x, y).0.map(|value| value / 2)));
        let of = |image: &RgbImage| Figures::of(image).sharpness;
        assert!(of(&imageops::blur(&stripes, 2.0)) < 0.7 * of(&stripes));
        assert!((of(&dim) / of(&stripes) - 1.0).abs() < 0.1);
    }
}
