//! Areas of the picture that do not count: a clamp, a chain, a neighbouring part.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use image::{GrayImage, ImageFormat, Luma};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::bundle::InputSize;
use crate::{Error, Result, dataset};

/// Which pixels `(H, W)` of the network's input do not count. In files it is a PNG picture in base64, white where nothing counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mask(Array2<bool>);

impl Mask {
    /// Reads a picture of a frame's shape, of any size: what is not black does not count.
    ///
    /// # Errors
    ///
    /// It cannot be read, is all black, or leaves nothing that counts.
    pub fn open(path: &Path, size: InputSize) -> Result<Self> {
        let mask = Mask(dataset::sample_mask(&dataset::read_mask(path)?, (size.height, size.width)));
        let refused = |why: &str| {
            Error::usage(format!("the mask {} {why}", path.display()))
                .advise("paint white what does not count, and leave the rest black")
        };
        match mask.share() {
            0.0 => Err(refused("is black: everything counts")),
            1.0 => Err(refused("leaves nothing that counts")),
            _ => Ok(mask),
        }
    }

    /// The share of the picture that does not count.
    pub fn share(&self) -> f64 {
        self.0.iter().filter(|ignored| **ignored).count() as f64 / self.0.len().max(1) as f64
    }

    /// Whether it is for this size.
    pub fn fits(&self, size: InputSize) -> bool {
        self.0.dim() == (size.height, size.width)
    }

    /// Makes a map as usual as can be where nothing counts, and gives the values elsewhere.
    pub(super) fn apply(&self, map: &mut Array2<f32>) -> Vec<f32> {
        let mut counted = Vec::with_capacity(map.len());
        for (value, ignored) in map.iter_mut().zip(&self.0) {
            match ignored {
                true => *value = 0.0,
                false => counted.push(*value),
            }
        }
        counted
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
        let ignored = |(y, x): (usize, usize)| picture.get_pixel(x as u32, y as u32).0[0] > 0;
        Ok(Mask(Array2::from_shape_fn((height as usize, width as usize), ignored)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: InputSize = InputSize { width: 8, height: 4 };

    fn left_half(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("mask.png");
        GrayImage::from_fn(32, 16, |x, _| Luma([if x < 16 { 200 } else { 0 }])).save(&path).unwrap();
        path
    }

    #[test]
    fn a_mask_of_any_size_is_brought_to_the_networks_and_survives_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let mask = Mask::open(&left_half(folder.path()), SIZE).unwrap();
        assert!(mask.share() == 0.5 && mask.fits(SIZE) && mask.0[[2, 3]] && !mask.0[[2, 4]]);
        assert_eq!(Mask::try_from(String::from(mask.clone())).unwrap(), mask);
        assert!(Mask::try_from("AAAA".to_owned()).unwrap_err().contains("no PNG"));
        for (value, says) in [(0, "everything counts"), (255, "nothing that counts")] {
            let path = folder.path().join("all.png");
            GrayImage::from_pixel(5, 5, Luma([value])).save(&path).unwrap();
            assert!(Mask::open(&path, SIZE).unwrap_err().report().contains(says));
        }
    }

    #[test]
    fn what_does_not_count_is_as_usual_as_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let mask = Mask::open(&left_half(folder.path()), SIZE).unwrap();
        let mut map = Array2::from_shape_fn((4, 8), |(_, x)| 8.0 - x as f32);
        let counted = mask.apply(&mut map);
        assert!(counted.len() == 16 && counted.iter().all(|value| *value <= 4.0));
        assert_eq!((map[[1, 0]], map[[1, 7]]), (0.0, 1.0));
    }
}
