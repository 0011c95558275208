//! A picture of what the model saw: the frame with its anomaly map in colour, and a bar that says the verdict.

use image::imageops::replace;
use image::{Rgb, RgbImage};
use ndarray::Array2;

/// How a frame is painted.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    /// The map's value that is painted as fully anomalous: twice the threshold is a good choice, since then the middle
    /// of the colours is the threshold.
    pub full: f32,
    /// The verdict: a red or green frame around the picture, none if it is not known.
    pub rejected: Option<bool>,
}

/// Paints the map over the image (any size; the map is stretched to it). Normal regions keep their colours; what is ignored, where
/// the map is no number, is hatched.
pub fn overlay(image: &RgbImage, map: &Array2<f32>, paint: Paint) -> RgbImage {
    let (width, height) = image.dimensions();
    let border = (width.min(height) / 64).max(2);
    RgbImage::from_fn(width, height, |x, y| {
        let at_edge = x < border || y < border || x >= width - border || y >= height - border;
        if let (true, Some(rejected)) = (at_edge, paint.rejected) {
            return if rejected { Rgb([220, 38, 38]) } else { Rgb([22, 163, 74]) };
        }
        let row = (y as usize * map.nrows() / height as usize).min(map.nrows() - 1);
        let column = (x as usize * map.ncols() / width as usize).min(map.ncols() - 1);
        let (pixel, value) = (*image.get_pixel(x, y), map[[row, column]]);
        if value.is_nan() {
            return hatched(pixel, (x + y) / border);
        }
        let heat = (value / paint.full.max(f32::MIN_POSITIVE)).clamp(0.0, 1.0);
        blend(pixel, colour(heat), (heat * 1.4).min(0.65))
    })
}

/// The image and, to its right, its overlay.
pub fn beside(image: &RgbImage, map: &Array2<f32>, paint: Paint) -> RgbImage {
    let mut pair = RgbImage::new(2 * image.width(), image.height());
    replace(&mut pair, image, 0, 0);
    replace(&mut pair, &overlay(image, map, paint), i64::from(image.width()), 0);
    pair
}

/// A pixel of stripe `stripe`: grey and dark in turns, with the picture still to be seen below.
fn hatched(pixel: Rgb<u8>, stripe: u32) -> Rgb<u8> {
    let grey = if stripe.is_multiple_of(2) { 150 } else { 60 };
    blend(pixel, Rgb([grey; 3]), 0.7)
}

fn blend(under: Rgb<u8>, over: Rgb<u8>, opacity: f32) -> Rgb<u8> {
    let mix = |a: u8, b: u8| (f32::from(a) * (1.0 - opacity) + f32::from(b) * opacity).round() as u8;
    Rgb([mix(under.0[0], over.0[0]), mix(under.0[1], over.0[1]), mix(under.0[2], over.0[2])])
}

/// Blue over yellow to red, lightness rising then falling, so that the order can be told without colour vision too.
fn colour(heat: f32) -> Rgb<u8> {
    const STOPS: [(f32, [f32; 3]); 4] = [
        (0.0, [40.0, 60.0, 160.0]),
        (0.35, [40.0, 170.0, 200.0]),
        (0.6, [250.0, 220.0, 60.0]),
        (1.0, [215.0, 25.0, 30.0]),
    ];
    let upper = STOPS.iter().position(|(stop, _)| heat <= *stop).unwrap_or(STOPS.len() - 1).max(1);
    let ((low, from), (high, to)) = (STOPS[upper - 1], STOPS[upper]);
    let share = ((heat - low) / (high - low)).clamp(0.0, 1.0);
    Rgb(std::array::from_fn(|c| (from[c] + (to[c] - from[c]) * share) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_pixels_stay_and_hot_ones_turn_red() {
        let image = RgbImage::from_pixel(64, 64, Rgb([100, 100, 100]));
        let mut map = Array2::zeros((32, 32));
        map[[16, 16]] = 5.0;
        let picture = overlay(&image, &map, Paint { full: 5.0, rejected: Some(true) });
        assert_eq!(picture.get_pixel(0, 0), &Rgb([220, 38, 38]));
        assert_eq!(picture.get_pixel(10, 10), &Rgb([100, 100, 100]));
        let hot = picture.get_pixel(33, 33).0;
        assert!(hot[0] > 150 && hot[1] < 100 && hot[2] < 100, "{hot:?}");
        map[[8, 8]] = f32::NAN;
        let ignored = overlay(&image, &map, Paint { full: 5.0, rejected: None });
        let shades = (16..18).flat_map(|y| (16..18).map(move |x| (x, y))).map(|(x, y)| ignored.get_pixel(x, y).0);
        assert!(shades.clone().all(|shade| shade == [135; 3] || shade == [72; 3]), "{:?}", shades.collect::<Vec<_>>());
        let pair = beside(&image, &map, Paint { full: 5.0, rejected: Some(true) });
        assert_eq!(pair.dimensions(), (128, 64));
        assert_eq!((pair.get_pixel(33, 33).0, pair.get_pixel(64 + 33, 33).0), ([100; 3], hot));
    }
}
