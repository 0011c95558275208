//! Whether a picture is one to judge a part by: its brightness, focus and colour, held against those of normal parts' pictures.
//!
//! A lamp that died, a lens that lost its focus or a camera that sends the same picture for ever is a fault of the line, and no
//! property of a part: no score can be trusted then.

mod limits;
mod statistics;

use std::ops::Range;

use image::RgbImage;

pub use limits::{Fault, Limits};
pub use statistics::Statistics;

use crate::inspect::Mask;

/// At most so many pixels are looked at, whatever the picture's size: in bands of whole rows, evenly over its height.
const MOST_PIXELS: usize = 1 << 16;
/// Rows of a band.
const BAND: usize = 8;
/// From this luma on a pixel tells nothing any more.
const SATURATED: u8 = 250;

impl Statistics {
    /// Of a picture, where `mask` says that it is looked at; without pixels all are 0.
    pub fn of(image: &RgbImage, mask: Option<&Mask>) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        if width == 0 || height == 0 {
            return Statistics { brightness: 0.0, saturated: 0.0, sharpness: 0.0, red: 0.0, blue: 0.0 };
        }
        let mut sums = Sums::default();
        let (mut above, mut luma) = (Row::new(width), Row::new(width));
        for (first, rows) in bands(width, height) {
            for row in first..first + rows {
                luma.runs.clear();
                match mask {
                    Some(mask) => luma.runs.extend(mask.runs(row, (width, height))),
                    None => luma.runs.push(0..width),
                }
                let pixels = &image.as_raw()[3 * width * row..3 * width * (row + 1)];
                for run in &luma.runs {
                    sums.colours(&pixels[3 * run.start..3 * run.end], &mut luma.luma[run.clone()]);
                    sums.differences(&luma.luma[run.start + 1..run.end], &luma.luma[run.start..run.end - 1]);
                }
                if row > first {
                    for both in common(&above.runs, &luma.runs) {
                        sums.differences(&luma.luma[both.clone()], &above.luma[both]);
                    }
                }
                std::mem::swap(&mut above, &mut luma);
            }
        }
        sums.finish()
    }
}

/// A row of a picture.
struct Row {
    luma: Vec<u8>,
    /// The pixels that are looked at.
    runs: Vec<Range<usize>>,
}

impl Row {
    fn new(width: usize) -> Self {
        Row { luma: vec![0; width], runs: Vec::new() }
    }
}

/// The pixels that are in both, each of which rises.
fn common<'a>(a: &'a [Range<usize>], b: &'a [Range<usize>]) -> impl Iterator<Item = Range<usize>> {
    let shared = |a: &Range<usize>, b: &Range<usize>| a.start.max(b.start)..a.end.min(b.end);
    a.iter().flat_map(move |a| b.iter().map(move |b| shared(a, b))).filter(|both| !both.is_empty())
}

/// All pixels of a picture in one number: pictures of which a byte differs have other numbers, but for one in 2^64.
pub fn fingerprint(image: &RgbImage) -> u64 {
    // FNV-1a on words, in four lanes so that a multiplication need not wait for the one before.
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut lanes = [0xcbf2_9ce4_8422_2325u64, 1, 2, 3];
    let (words, rest) = image.as_raw().as_chunks::<8>();
    let mix = |lane: &mut u64, word: u64| *lane = (*lane ^ word).wrapping_mul(PRIME).rotate_left(29);
    for (index, word) in words.iter().enumerate() {
        mix(&mut lanes[index % 4], u64::from_le_bytes(*word));
    }
    rest.iter().for_each(|byte| mix(&mut lanes[0], u64::from(*byte)));
    let mut whole = u64::from(image.width());
    lanes.into_iter().for_each(|lane| mix(&mut whole, lane));
    whole
}

/// First row and number of rows of each band.
fn bands(width: usize, height: usize) -> impl Iterator<Item = (usize, usize)> {
    let wanted = (MOST_PIXELS / width).clamp(1, height);
    let count = wanted.div_ceil(BAND);
    let rows = wanted / count;
    (0..count).map(move |band| (band * (height - rows) / (count - 1).max(1), rows))
}

/// What is added up over rows.
#[derive(Default)]
struct Sums {
    pixels: u64,
    channels: [u64; 3],
    luma: u64,
    saturated: u64,
    pairs: u64,
    difference_squares: u64,
}

impl Sums {
    /// Takes a row of RGB pixels; its luma is written to `luma`.
    fn colours(&mut self, pixels: &[u8], luma: &mut [u8]) {
        let mut channels = [0u32; 3];
        for (pixel, luma) in pixels.as_chunks::<3>().0.iter().zip(luma.iter_mut()) {
            let [r, g, b] = pixel.map(u32::from);
            channels = [channels[0] + r, channels[1] + g, channels[2] + b];
            *luma = ((77 * r + 150 * g + 29 * b) >> 8) as u8;
        }
        for (sum, channel) in self.channels.iter_mut().zip(channels) {
            *sum += u64::from(channel);
        }
        self.pixels += luma.len() as u64;
        self.luma += u64::from(luma.iter().map(|luma| u32::from(*luma)).sum::<u32>());
        self.saturated += u64::from(luma.iter().map(|luma| u32::from(*luma >= SATURATED)).sum::<u32>());
    }

    fn differences(&mut self, a: &[u8], b: &[u8]) {
        let squares = a.iter().zip(b).map(|(a, b)| {
            let difference = i32::from(*a) - i32::from(*b);
            (difference * difference) as u32
        });
        // Rows longer than 65,000 pixels do not exist; each square is below 2^16.
        self.difference_squares += u64::from(squares.sum::<u32>());
        self.pairs += a.len() as u64;
    }

    fn finish(&self) -> Statistics {
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let mean = share(self.luma, self.pixels);
        let differences = share(self.difference_squares, self.pairs);
        let sum = self.channels.iter().sum();
        Statistics {
            brightness: mean as f32,
            saturated: share(self.saturated, self.pixels) as f32,
            sharpness: if mean > 0.0 { (differences / (mean * mean)) as f32 } else { 0.0 },
            red: share(self.channels[0], sum) as f32,
            blue: share(self.channels[2], sum) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, imageops};

    use super::*;
    use crate::inspect::tests::mask;

    fn noise(width: u32, height: u32) -> RgbImage {
        let mut state = 1u32;
        RgbImage::from_fn(width, height, |_, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Rgb([(state >> 24) as u8 / 2; 3])
        })
    }

    #[test]
    fn numbers_are_those_of_the_picture() {
        let checks = RgbImage::from_fn(64, 64, |x, y| if (x + y) % 2 == 0 { Rgb([255; 3]) } else { Rgb([0; 3]) });
        let found = Statistics::of(&checks, None);
        assert_eq!((found.brightness, found.saturated, found.sharpness), (127.5, 0.5, 4.0));
        let colour = Statistics::of(&RgbImage::from_pixel(8, 8, Rgb([10, 20, 10])), None);
        assert_eq!((colour.red, colour.blue, colour.sharpness), (0.25, 0.25, 0.0));
        // Twice the variance of numbers from 0 to 127, over the square of their mean.
        assert!((Statistics::of(&noise(256, 256), None).sharpness - 0.677).abs() < 0.03);
        assert_eq!(Statistics::of(&RgbImage::new(0, 5), None).brightness, 0.0);
        assert_eq!(Statistics::of(&RgbImage::new(1, 1), None).sharpness, 0.0);
    }

    #[test]
    fn sharpness_falls_with_the_focus_and_not_with_the_light() {
        let sharp = imageops::blur(&noise(200, 150), 1.0);
        let dim = RgbImage::from_fn(200, 150, |x, y| Rgb(sharp.get_pixel(x, y).0.map(|value| value / 2)));
        let of = |image: &RgbImage| Statistics::of(image, None).sharpness;
        assert!(of(&imageops::blur(&sharp, 2.0)) < 0.5 * of(&sharp));
        assert!((of(&dim) / of(&sharp) - 1.0).abs() < 0.1);
    }

    #[test]
    fn what_is_ignored_counts_for_no_number() {
        let noise = noise(64, 64);
        let glare = |x: u32, y: u32| if x < 32 { *noise.get_pixel(x, y) } else { Rgb([255; 3]) };
        let image = RgbImage::from_fn(64, 64, glare);
        let left = imageops::crop_imm(&image, 0, 0, 32, 64).to_image();
        assert_eq!(Statistics::of(&image, Some(&mask((4, 4), |x, _| x < 2))), Statistics::of(&left, None));
        // Of neighbours one above the other both must count: here rows are looked at in turns.
        let stripes = RgbImage::from_fn(8, 8, |_, y| Rgb([if y % 2 == 0 { 200 } else { 0 }; 3]));
        let found = Statistics::of(&stripes, Some(&mask((8, 8), |_, y| y % 2 == 0)));
        assert_eq!((found.brightness, found.sharpness), (200.0, 0.0));
        let none = Statistics::of(&stripes, Some(&mask((1, 8), |x, _| x == 9)));
        assert_eq!((none.brightness, none.sharpness), (0.0, 0.0));
    }

    #[test]
    fn a_fingerprint_changes_with_every_byte() {
        let image = RgbImage::from_pixel(7, 5, Rgb([9, 9, 9]));
        let same = fingerprint(&image.clone());
        assert_eq!(fingerprint(&image), same);
        for byte in 0..image.as_raw().len() {
            let mut other = image.clone();
            other.get_pixel_mut(byte as u32 / 3 % 7, byte as u32 / 21).0[byte % 3] ^= 1;
            assert_ne!(fingerprint(&other), same, "byte {byte}");
        }
    }

    #[test]
    fn a_large_picture_is_looked_at_in_bands_from_top_to_bottom() {
        let bands = bands(2000, 1000).collect::<Vec<_>>();
        assert_eq!((bands.len(), bands[0], bands[bands.len() - 1]), (4, (0, 8), (992, 8)));
        assert_eq!(super::bands(256, 256).map(|(_, rows)| rows).sum::<usize>(), 256);
        for (width, height) in [(640, 260), (100_000, 3), (1, 70_000), (300, 301), (65_000, 5)] {
            let bands = super::bands(width, height).collect::<Vec<_>>();
            assert!(bands.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{width}x{height}: {bands:?}");
            assert!(bands.last().is_some_and(|(first, rows)| first + rows <= height), "{width}x{height}: {bands:?}");
        }
    }
}
