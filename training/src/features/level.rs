//! The features of one tap.

use std::ops::Range;
use std::sync::Arc;

use hgad::{Error, Result};
use memmap2::Mmap;
use ndarray::{Array1, ArrayView2, Axis};
use rayon::prelude::*;

use crate::backbone::Tap;

/// The smallest deviation that a channel is divided by: one that is constant over the training set stays small.
const LEAST_STD: f32 = 1e-6;

/// The features of every image on one tap, with the channels' statistics over all of them.
#[derive(Debug)]
pub struct LevelFeatures {
    /// The name of the backbone's tensor.
    pub tap: String,
    /// Rows and columns of the grid.
    pub grid: (usize, usize),
    /// Mean of every channel `(D)`.
    pub mean: Array1<f32>,
    /// Standard deviation of every channel `(D)`, above 0.
    pub std: Array1<f32>,
    map: Arc<Mmap>,
    bytes: Range<usize>,
}

impl LevelFeatures {
    pub(super) fn new(tap: &Tap, images: usize, map: Arc<Mmap>, bytes: Range<usize>) -> Result<Self> {
        let mut level = LevelFeatures {
            tap: tap.name.clone(),
            grid: (tap.height, tap.width),
            mean: Array1::zeros(tap.channels),
            std: Array1::ones(tap.channels),
            map,
            bytes,
        };
        let (mean, std) = level.statistics(images);
        if mean.iter().chain(&std).any(|value| !value.is_finite()) {
            return Err(Error::device(format!("the cached features of tensor {} are damaged", level.tap))
                .advise("delete the cache folder's files and start again"));
        }
        (level.mean, level.std) = (mean, std);
        Ok(level)
    }

    /// Features that lie in memory, `(image, position, channel)`.
    #[cfg(test)]
    pub(crate) fn in_memory(tap: &str, grid: (usize, usize), values: &ndarray::Array3<f32>) -> Self {
        let (images, _, channels) = values.dim();
        let bytes = values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<_>>();
        let mut map = memmap2::MmapMut::map_anon(bytes.len()).unwrap();
        map.copy_from_slice(&bytes);
        let tap = Tap { name: tap.into(), tensor: tap.into(), channels, height: grid.0, width: grid.1, stride: 8 };
        Self::new(&tap, images, Arc::new(map.make_read_only().unwrap()), 0..bytes.len()).unwrap()
    }

    /// The raw features of one image `(h * w, D)`.
    ///
    /// # Panics
    ///
    /// There are not so many images.
    pub fn image(&self, image: usize) -> ArrayView2<'_, f32> {
        let (positions, channels) = (self.grid.0 * self.grid.1, self.mean.len());
        let values = bytemuck::cast_slice::<u8, f32>(&self.map[self.bytes.clone()]);
        let one = &values[image * positions * channels..][..positions * channels];
        ArrayView2::from_shape((positions, channels), one).expect("the slice has as many values as the shape")
    }

    /// Mean and standard deviation per channel, in f64 and in an order that does not depend on the threads.
    fn statistics(&self, images: usize) -> (Array1<f32>, Array1<f32>) {
        let count = (images * self.grid.0 * self.grid.1) as f64;
        let total = |of: &(dyn Fn(usize) -> Array1<f64> + Sync)| -> Array1<f64> {
            let parts = (0..images).into_par_iter().map(of).collect::<Vec<_>>();
            parts.into_iter().fold(Array1::zeros(self.mean.len()), |sum, part| sum + part) / count
        };
        let mean = total(&|i| self.image(i).mapv(f64::from).sum_axis(Axis(0)));
        let variance = total(&|i| {
            let centred = self.image(i).mapv(f64::from) - &mean;
            (&centred * &centred).sum_axis(Axis(0))
        });
        (mean.mapv(|value| value as f32), variance.mapv(|value| (value.sqrt() as f32).max(LEAST_STD)))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn statistics_are_those_of_all_images_and_positions() {
        let values = array![[[1.0, 5.0], [2.0, 5.0]], [[3.0, 5.0], [4.0, 5.0]]];
        let level = LevelFeatures::in_memory("t", (1, 2), &values);
        assert_eq!(level.mean, array![2.5, 5.0]);
        assert_eq!(level.std, array![1.25f32.sqrt(), LEAST_STD]);
        assert_eq!(level.image(1), array![[3.0, 5.0], [4.0, 5.0]]);
    }
}
