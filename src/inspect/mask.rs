//! Where a picture is looked at: a clamp, a chain or a neighbouring part beside it is no part of the product.

use std::ops::Range;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use image::{GrayImage, ImageFormat, Luma, Rgba};
use ndarray::{Array2, s};
use serde::{Deserialize, Serialize};

use crate::bundle::InputSize;
use crate::digest::Digest;
use crate::{Error, Result, dataset};

/// A mask that leaves less than this to look at is a slip of the brush.
const MOST_IGNORED: f64 = 0.999;

const WHITE: u16 = u16::MAX;
/// A mask whose aspect ratio differs from the pictures' by no more than this is of their shape.
const ASPECT_TOLERANCE: f64 = 0.01;

/// Which pixels `(H, W)` of the network's input are looked at. In files it is a PNG picture in base64, white where they are.
///
/// On any coarser grid a cell is ignored only where the mask covers all of it. A defect that lies on the border of what is looked at
/// would otherwise be seen by no cell; what this costs is that the rim of an ignored area still counts a little, by which the
/// threshold rises for good parts and bad ones alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mask(Array2<bool>);

impl Mask {
    /// Reads a picture of a frame's shape: white is looked at, black is ignored.
    ///
    /// # Errors
    ///
    /// It cannot be read, has other colours, is all white, or leaves next to nothing to look at.
    pub fn open(path: &Path) -> Result<Self> {
        let refused = |why: String| {
            Error::usage(format!("the mask {} {why}", path.display())).advise(
                "paint white what is looked at and black what is ignored, without smooth edges, and save it as PNG",
            )
        };
        let picture = dataset::read_picture(path)?.to_rgba16();
        let is_looked_at = |pixel: &Rgba<u16>| match pixel.0 {
            [WHITE, WHITE, WHITE, WHITE] => Some(true),
            [0, 0, 0, WHITE] => Some(false),
            _ => None,
        };
        let mut looked_at = Array2::from_elem((picture.height() as usize, picture.width() as usize), false);
        for (x, y, pixel) in picture.enumerate_pixels() {
            looked_at[[y as usize, x as usize]] = is_looked_at(pixel).ok_or_else(|| {
                let [red, green, blue, alpha] = pixel.0.map(|value| value >> 8);
                refused(format!(
                    "is neither black nor white in column {x}, row {y} (red {red}, green {green}, blue {blue}, alpha {alpha} of 255)"
                ))
            })?;
        }
        let mask = Mask(looked_at);
        match mask.ignored_share() {
            0.0 => Err(refused("is white: everything is looked at, so leave it out".into())),
            ignored if ignored > MOST_IGNORED => Err(refused(format!(
                "ignores {:.2}% of the picture: next to nothing is left to look at",
                100.0 * ignored
            ))),
            _ => Ok(mask),
        }
    }

    /// Refuses the picture `path` of `width` by `height` pixels if it has not the mask's shape.
    ///
    /// # Errors
    ///
    /// The aspect ratios differ.
    pub fn check_shape(&self, path: &Path, (width, height): (u32, u32)) -> Result<()> {
        let (rows, columns) = self.0.dim();
        let ratio = (f64::from(width) * rows as f64) / (f64::from(height) * columns as f64);
        match (ratio - 1.0).abs() <= ASPECT_TOLERANCE {
            true => Ok(()),
            false => Err(Error::usage(format!(
                "the mask is {columns}x{rows}, and {} is {width}x{height}: the aspect ratio is another",
                path.display()
            ))
            .advise("paint the mask over one of the images; with a mask all of them have one shape")),
        }
    }

    /// The same for the network's input.
    #[must_use]
    pub fn resized(&self, size: InputSize) -> Self {
        Mask(self.on((size.height, size.width)))
    }

    /// Which cells of a grid `(h, w)` over the picture count: those that are not ignored as a whole.
    pub fn on(&self, (h, w): (usize, usize)) -> Array2<bool> {
        let (rows, columns) = self.0.dim();
        let span = |cell: usize, cells: usize, pixels: usize| {
            let first = cell * pixels / cells;
            first..((cell + 1) * pixels).div_ceil(cells).max(first + 1)
        };
        Array2::from_shape_fn((h, w), |(y, x)| {
            self.0.slice(s![span(y, h, rows), span(x, w, columns)]).iter().any(|is_looked_at| *is_looked_at)
        })
    }

    /// The pixels of row `row`, of a picture of `width` by `height`, whose centers are looked at, from left to right.
    pub fn runs(&self, row: usize, (width, height): (usize, usize)) -> Vec<Range<usize>> {
        let (rows, columns) = self.0.dim();
        let cells = self.0.row((2 * row + 1) * rows / (2 * height));
        // The first pixel whose center does not lie left of a cell.
        let first = |cell: usize| (2 * cell * width).saturating_sub(columns).div_ceil(2 * columns);
        let mut runs = Vec::<Range<usize>>::new();
        for cell in (0..columns).filter(|cell| cells[*cell]) {
            let (start, end) = (first(cell), first(cell + 1));
            match runs.last_mut() {
                Some(run) if run.end == start => run.end = end,
                _ => runs.push(start..end),
            }
        }
        runs.retain(|run| !run.is_empty());
        runs
    }

    /// The share of the picture that is ignored.
    pub fn ignored_share(&self) -> f64 {
        self.0.iter().filter(|is_looked_at| !**is_looked_at).count() as f64 / self.0.len().max(1) as f64
    }

    /// What tells it from other masks: the SHA-256 of its pixels, a byte each, row by row, 1 where the picture is looked at.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.iter().map(|is_looked_at| u8::from(*is_looked_at)).collect::<Vec<_>>())
    }

    /// Whether it is for this size, and leaves something to look at.
    pub fn fits(&self, size: InputSize) -> bool {
        self.0.dim() == (size.height, size.width) && self.0.iter().any(|is_looked_at| *is_looked_at)
    }

    /// Takes what is ignored out of a map, where it is no number from now on, and adds the values elsewhere to `counted`.
    pub(super) fn apply(&self, map: &mut Array2<f32>, counted: &mut Vec<f32>) {
        for (value, is_looked_at) in map.iter_mut().zip(&self.0) {
            match is_looked_at {
                true => counted.push(*value),
                false => *value = f32::NAN,
            }
        }
    }
}

impl From<Mask> for String {
    fn from(mask: Mask) -> String {
        let (height, width) = mask.0.dim();
        let picture = GrayImage::from_fn(width as u32, height as u32, |x, y| {
            Luma([if mask.0[[y as usize, x as usize]] { 255 } else { 0 }])
        });
        let mut bytes = std::io::Cursor::new(Vec::new());
        // Writing to memory has nothing to fail on; what came of it is read back by who opens the file.
        let written = picture.write_to(&mut bytes, ImageFormat::Png);
        written.map_or_else(|_| String::new(), |()| BASE64.encode(bytes.into_inner()))
    }
}

impl TryFrom<String> for Mask {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = BASE64.decode(text).map_err(|error| format!("the mask is not base64: {error}"))?;
        let picture = image::load_from_memory_with_format(&bytes, ImageFormat::Png);
        let picture = picture.map_err(|error| format!("the mask is no PNG picture: {error}"))?.to_luma8();
        let (width, height) = picture.dimensions();
        let is_looked_at = |(y, x): (usize, usize)| picture.get_pixel(x as u32, y as u32).0[0] > 0;
        Ok(Mask(Array2::from_shape_fn((height as usize, width as usize), is_looked_at)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const SIZE: InputSize = InputSize { width: 8, height: 4 };

    /// A mask of `(H, W)` in which those pixels are looked at.
    pub(crate) fn mask(size: (usize, usize), is_looked_at: impl Fn(usize, usize) -> bool) -> Mask {
        Mask(Array2::from_shape_fn(size, |(y, x)| is_looked_at(x, y)))
    }

    fn opened(picture: impl Into<image::DynamicImage>) -> Result<Mask> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        picture.into().save(&path).unwrap();
        Mask::open(&path)
    }

    #[test]
    fn a_mask_of_any_size_is_brought_to_the_networks_and_survives_a_file() {
        let half = GrayImage::from_fn(32, 16, |x, _| Luma([if x < 16 { 0 } else { 255 }]));
        let mask = opened(half).unwrap();
        assert!(mask.ignored_share() == 0.5 && !mask.fits(SIZE));
        let small = mask.resized(SIZE);
        assert!(small.ignored_share() == 0.5 && small.fits(SIZE) && !small.0[[2, 3]] && small.0[[2, 4]]);
        assert_eq!(Mask::try_from(String::from(small.clone())).unwrap(), small);
        assert!(Mask::try_from("AAAA".to_owned()).unwrap_err().contains("no PNG"));
    }

    #[test]
    fn grey_and_masks_that_say_nothing_are_refused() {
        let says = |picture: GrayImage| opened(picture).unwrap_err().report();
        assert!(says(GrayImage::from_pixel(5, 5, Luma([255]))).contains("everything is looked at"));
        assert!(says(GrayImage::from_pixel(5, 5, Luma([0]))).contains("nothing is left"));
        let mut grey = GrayImage::from_fn(5, 5, |x, _| Luma([if x < 2 { 0 } else { 255 }]));
        grey.put_pixel(3, 4, Luma([254]));
        assert!(says(grey).contains("column 3, row 4 (red 254"));
        let clear = image::RgbaImage::from_fn(5, 5, |x, _| Rgba([255, 255, 255, if x < 2 { 0 } else { 255 }]));
        assert!(opened(clear).unwrap_err().report().contains("alpha 0"));
    }

    #[test]
    fn only_the_pictures_shape_will_do() {
        let mask = mask((240, 320), |x, _| x > 10);
        for alike in [(640, 480), (320, 240), (322, 240)] {
            assert!(mask.check_shape(Path::new("a.png"), alike).is_ok(), "{alike:?}");
        }
        for other in [(480, 640), (1280, 720), (0, 240), (320, 0), (0, 0)] {
            let report = mask.check_shape(Path::new("a.png"), other).unwrap_err().report();
            assert!(report.contains("320x240") && report.contains(&format!("{}x{}", other.0, other.1)), "{report}");
        }
    }

    #[test]
    fn a_cell_counts_unless_it_is_ignored_as_a_whole() {
        // The first nine of sixteen columns are ignored: two cells of four as a whole, of the third one column of four.
        let mask = mask((4, 16), |x, _| x >= 9);
        assert_eq!(mask.on((1, 4)).iter().copied().collect::<Vec<_>>(), [false, false, true, true]);
        // Cells that do not lie on whole pixels count all that they touch, also where they are finer than the mask.
        assert_eq!(mask.on((1, 3)).iter().copied().collect::<Vec<_>>(), [false, true, true]);
        let fine = mask.on((8, 32));
        assert!(fine.column(17).iter().all(|counts| !counts) && fine.column(18).iter().all(|counts| *counts));
    }

    #[test]
    fn runs_are_the_pixels_whose_centers_are_looked_at() {
        let mask = mask((2, 4), |x, y| y == 1 && x != 1);
        assert!(mask.runs(0, (8, 4)).is_empty());
        assert_eq!(mask.runs(3, (8, 4)), [0..2, 4..8]);
        // Finer, coarser and odd pictures: pixel by pixel the cell below its center.
        for (width, height) in [(8, 4), (4, 2), (3, 2), (7, 5), (1, 1), (400, 200)] {
            let (rows, columns) = mask.0.dim();
            for y in 0..height {
                let below = |x: usize| mask.0[[(2 * y + 1) * rows / (2 * height), (2 * x + 1) * columns / (2 * width)]];
                let expected = (0..width).filter(|x| below(*x)).collect::<Vec<_>>();
                assert_eq!(mask.runs(y, (width, height)).into_iter().flatten().collect::<Vec<_>>(), expected);
            }
        }
    }

    #[test]
    fn what_is_ignored_is_no_number() {
        let mask = mask((4, 8), |x, _| x >= 4);
        let mut map = Array2::from_shape_fn((4, 8), |(_, x)| 8.0 - x as f32);
        let mut counted = Vec::new();
        mask.apply(&mut map, &mut counted);
        assert!(counted.len() == 16 && counted.iter().all(|value| *value <= 4.0));
        assert!(map[[1, 0]].is_nan() && map[[1, 7]] == 1.0);
    }
}
