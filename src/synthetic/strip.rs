//! The conveyor as a camera sees it that does not wait for parts: they travel through its picture.

use image::RgbImage;
use image::imageops::replace;

use super::{PICTURE_SIZE, Part, Product, Truth, render, render_mat};

/// So many pictures of the mat lie one after the other until it repeats.
const TILES: u64 = 4;

/// A stretch of belt with parts of one product on it, which moves to the right.
#[derive(Debug, Clone)]
pub struct Strip {
    mat: RgbImage,
    /// Where each part's picture begins on the belt, in pixels, and the part.
    parts: Vec<(i64, Part)>,
}

impl Strip {
    /// An empty belt with the mat of that product.
    pub fn empty(product: Product, seed: u64) -> Self {
        let size = PICTURE_SIZE as u32;
        let mut mat = RgbImage::new(size * TILES as u32, size);
        for tile in 0..TILES {
            replace(&mut mat, &render_mat(product, seed, tile), tile as i64 * i64::from(size), 0);
        }
        Strip { mat, parts: Vec::new() }
    }

    /// Lays a part on it, as [`render`] makes it, so that its picture begins `at` pixels along the belt.
    #[must_use]
    pub fn with(mut self, at: i64, truth: Truth, seed: u64, number: u64) -> Self {
        self.parts.push((at, render(truth, seed, number)));
        self
    }

    /// The picture, `width` pixels wide, when the belt has moved so many pixels: then its place `moved` is at the left edge.
    pub fn picture(&self, moved: i64, width: u32) -> RgbImage {
        let size = PICTURE_SIZE as u32;
        let mut picture = RgbImage::new(width, size);
        let tiles = i64::from(self.mat.width());
        for x in 0..width {
            let place = moved - i64::from(x);
            let part = self.parts.iter().find(|(at, _)| (*at..*at + i64::from(size)).contains(&place));
            // What is farther along the belt lies farther left in the picture.
            let (image, column) = match part {
                Some((at, part)) => (&part.image, i64::from(size) - 1 - (place - at)),
                None => (&self.mat, tiles - 1 - place.rem_euclid(tiles)),
            };
            (0..size).for_each(|y| picture.put_pixel(x, y, *image.get_pixel(column as u32, y)));
        }
        picture
    }

    /// The same with the noise of a sensor, of which no two frames have the same.
    pub fn noisy(&self, moved: i64, width: u32, frame: u32) -> RgbImage {
        let mut picture = self.picture(moved, width);
        let mut state = frame.wrapping_mul(2_654_435_761) | 1;
        for value in picture.iter_mut() {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            *value = value.saturating_add_signed((state % 7) as i8 - 3);
        }
        picture
    }
}
