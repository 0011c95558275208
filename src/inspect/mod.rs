//! From a frame to a score: resize, network, distances, anomaly map.
//!
//! A frame's score depends on that frame, the bundle and the score's constants alone; every command gets it from
//! [`Inspector::inspect`], so it is the same everywhere, bit for bit.

mod anomaly_map;
pub mod batch;
pub mod cells;
mod mask;
pub mod mixture;
mod network;
pub mod overlay;
mod parity;
pub mod preprocess;
pub mod score;

use std::sync::Arc;
use std::time::{Duration, Instant};

use image::RgbImage;
use ndarray::{Array2, Array3, Axis};

use crate::Result;
use crate::bundle::{Bundle, Centers, Distance, InputSize, LevelCenters, Manifest, ScoreReference};
use anomaly_map::MapComposer;
pub use anomaly_map::{bilinear, gaussian};
pub use mask::Mask;
#[cfg(test)]
pub(crate) use mask::tests;
pub use network::Layer;
use network::Network;

/// Nats per position by which another class must be likelier before a frame counts as showing it. Variants of one product,
/// which the model can hardly tell apart, stay far below.
const CLEARLY: f32 = 1.0;

/// What the network says of one frame: per level, latents and log-determinants.
#[derive(Debug, Clone)]
pub struct Latents {
    /// `(D, h, w)` of every level.
    pub z: Vec<Array3<f32>>,
    /// `(h, w)` of every level, the sum over channels (not divided by D).
    pub logdet: Vec<Array2<f32>>,
}

/// How long each stage of one inspection took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// Resize and conversion.
    pub preprocess: Duration,
    /// The network.
    pub network: Duration,
    /// Distances from the centers, anomaly map and score.
    pub score: Duration,
}

/// The result of one inspection.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// How unlike a normal part the frame is, in standard deviations; larger is worse. Compared with the calibrated
    /// threshold.
    pub score: f32,
    /// The highest value of every level where the part is looked at, in standard deviations of normal parts on this line.
    pub levels: Vec<f32>,
    /// Another class, if the frame clearly shows one: then the score says nothing about the part.
    pub resembles: Option<usize>,
    /// The anomaly map at the network's input size `(H, W)`; larger is worse, and what is ignored is no number.
    pub map: Array2<f32>,
    /// Where the time went.
    pub timings: Timings,
}

/// A bundle that is loaded and ready to inspect frames.
pub struct Inspector {
    size: InputSize,
    /// `(h, w)` of every level.
    grids: Vec<(usize, usize)>,
    /// The last mask that was used, and where every level counts by it. Lanes whose masks differ lay theirs once a frame.
    laid: Option<(Mask, Arc<[Array2<bool>]>)>,
    network: Network,
    centers: Centers,
    distance: Distance,
    composer: MapComposer,
    /// The first so many levels make the anomaly map.
    mapped: usize,
    /// The level that is the score, where the network gives one itself.
    score_level: Option<usize>,
}

impl Inspector {
    /// Loads the bundle's network and prepares all that does not depend on the frame.
    ///
    /// # Errors
    ///
    /// The network is not let in, cannot be loaded, or does not have the manifest's outputs.
    pub fn new(bundle: &Bundle) -> Result<Self> {
        Self::with_threads(bundle, 1)
    }

    /// The same with `threads` (one at least) that share every frame's network: it takes less time then, and every result stays the same,
    /// bit for bit.
    ///
    /// # Errors
    ///
    /// As [`Inspector::new`], or the system has no more threads.
    pub fn with_threads(bundle: &Bundle, threads: usize) -> Result<Self> {
        Self::load(&bundle.manifest, &bundle.model, &bundle.centers, threads)
    }

    /// The same for a bundle in the making: the trainer fits profiles and reference constants with it.
    pub fn from_parts(manifest: &Manifest, model: &[u8], centers: &Centers) -> Result<Self> {
        Self::load(manifest, model, centers, 1)
    }

    fn load(manifest: &Manifest, model: &[u8], centers: &Centers, threads: usize) -> Result<Self> {
        // A score that the network itself gives comes last, and says nothing of places unless there is nothing else.
        let score_level = manifest.score_level();
        let mapped = score_level.unwrap_or(manifest.levels.len()).max(1);
        let grids = manifest.levels.iter().map(|level| (level.height, level.width)).collect::<Vec<_>>();
        Ok(Inspector {
            size: manifest.input,
            network: Network::load(manifest, model, threads)?,
            centers: centers.clone(),
            distance: centers.distance(manifest.distance),
            composer: MapComposer::new(manifest.input, &grids[..mapped]),
            grids,
            laid: None,
            mapped,
            score_level,
        })
    }

    /// Runs the network on one frame of any size.
    ///
    /// # Errors
    ///
    /// The frame has no pixels, or the network fails or gives values that are not finite.
    pub fn latents(&mut self, image: &RgbImage) -> Result<Latents> {
        let image = preprocess::resize(image, self.size)?;
        self.network.run(preprocess::to_tensor(&image))
    }

    /// Runs the network on one frame of any size `frames` times and tells how long each of its operators takes.
    ///
    /// # Errors
    ///
    /// As [`Inspector::latents`].
    pub fn profile(&mut self, image: &RgbImage, frames: usize) -> Result<Vec<Layer>> {
        let image = preprocess::resize(image, self.size)?;
        self.network.profile(&preprocess::to_tensor(&image), frames)
    }

    /// How far one frame lies from what is usual of class `class` at every position, `(h, w)` per level: from the mixture's
    /// centers, from the cells' Gaussians where the bundle has them, or as a network says that gives maps itself.
    ///
    /// # Errors
    ///
    /// As [`Inspector::latents`].
    pub fn distances(&mut self, image: &RgbImage, class: usize) -> Result<Vec<Array2<f32>>> {
        let latents = self.latents(image)?;
        Ok(self.distances_of(&latents, class))
    }

    /// The same in standard deviations from what is usual at each position: what [`score::fit_reference`] is fitted from.
    ///
    /// # Errors
    ///
    /// As [`Inspector::latents`].
    pub fn level_maps(&mut self, image: &RgbImage, class: usize) -> Result<Vec<Array2<f32>>> {
        let latents = self.latents(image)?;
        Ok(self.level_maps_of(&latents, class))
    }

    /// The same, and the other class that the frame clearly shows where it is looked at, if it does.
    ///
    /// # Errors
    ///
    /// As [`Inspector::latents`].
    pub fn examine(
        &mut self,
        image: &RgbImage,
        class: usize,
        mask: Option<&Mask>,
    ) -> Result<(Vec<Array2<f32>>, Option<usize>)> {
        let latents = self.latents(image)?;
        let counts = mask.map(|mask| self.lay(mask));
        Ok((self.level_maps_of(&latents, class), self.resembles(&latents, class, counts.as_deref())))
    }

    /// Scores one frame of any size as class `class` (an index into the manifest's classes) against `reference`.
    ///
    /// # Errors
    ///
    /// As [`Inspector::latents`].
    pub fn inspect(&mut self, image: &RgbImage, class: usize, reference: &ScoreReference) -> Result<Inspection> {
        let start = Instant::now();
        let input = preprocess::to_tensor(&preprocess::resize(image, self.size)?);
        let preprocessed = Instant::now();
        let latents = self.network.run(input)?;
        let run = Instant::now();
        let maps = self.level_maps_of(&latents, class);
        let counts = reference.mask.as_ref().map(|mask| self.lay(mask));
        let counts = counts.as_deref();
        let levels = score::levels(&maps, reference, counts);
        let (score, map) = self.scored(&maps, reference, counts);
        let resembles = self.resembles(&latents, class, counts);
        let timings = Timings { preprocess: preprocessed - start, network: run - preprocessed, score: run.elapsed() };
        Ok(Inspection { score, levels, resembles, map, timings })
    }

    /// The score and the anomaly map `(H, W)` of a frame whose level maps are known: calibration has them already.
    pub fn score_maps(&self, levels: &[Array2<f32>], reference: &ScoreReference) -> (f32, Array2<f32>) {
        let counts = reference.mask.as_ref().map(|mask| self.counts(mask));
        self.scored(levels, reference, counts.as_deref())
    }

    /// The same where it is known which positions of every level count.
    fn scored(
        &self,
        levels: &[Array2<f32>],
        reference: &ScoreReference,
        counts: Option<&[Array2<bool>]>,
    ) -> (f32, Array2<f32>) {
        let mut map = self.composer.compose(&levels[..self.mapped], reference, counts);
        let counted = match &reference.mask {
            Some(mask) => mask.apply(&mut map),
            None => map.iter().copied().collect(),
        };
        let score = match self.score_level {
            Some(level) => {
                let counts = counts.map(|counts| &counts[level..=level]);
                score::levels(&levels[level..=level], &reference.of_level(level), counts)[0]
            }
            None => score::score(counted, self.distance),
        };
        (score, map)
    }

    /// Which positions of every level count by a mask.
    fn counts(&self, mask: &Mask) -> Arc<[Array2<bool>]> {
        self.grids.iter().map(|grid| mask.on(*grid)).collect()
    }

    /// The same, found anew only when the mask is another one.
    fn lay(&mut self, mask: &Mask) -> Arc<[Array2<bool>]> {
        if let Some((of, counts)) = &self.laid
            && of == mask
        {
            return Arc::clone(counts);
        }
        let counts = self.counts(mask);
        self.laid = Some((mask.clone(), Arc::clone(&counts)));
        counts
    }

    /// The likeliest class, if it is another one and clearly likelier. Evidence that is no number is evidence of nothing,
    /// and the score is none either then.
    fn resembles(&self, latents: &Latents, class: usize, counts: Option<&[Array2<bool>]>) -> Option<usize> {
        let levels = latents.z.iter().zip(&self.centers.levels).enumerate();
        let evidence = |(l, (z, centers)): (usize, (&Array3<f32>, &LevelCenters))| {
            mixture::class_evidence(z.view(), centers, counts.map(|counts| &counts[l]))
        };
        let levels = levels.map(evidence).collect::<Vec<_>>();
        let mean = |y: usize| levels.iter().map(|evidence| evidence[y]).sum::<f32>() / levels.len() as f32;
        let classes = 0..self.centers.references.len();
        let likeliest = classes.max_by(|a, b| mean(*a).total_cmp(&mean(*b)))?;
        (likeliest != class && mean(likeliest) - mean(class) > CLEARLY).then_some(likeliest)
    }

    fn distances_of(&self, latents: &Latents, class: usize) -> Vec<Array2<f32>> {
        match &self.centers.cells {
            Some(gaussians) => {
                let levels = latents.z.iter().zip(gaussians.iter());
                levels.map(|(z, gaussians)| cells::distance(z.view(), gaussians, class)).collect()
            }
            None if self.distance == Distance::Map => {
                latents.z.iter().map(|map| map.index_axis(Axis(0), 0).to_owned()).collect()
            }
            None => {
                let levels = latents.z.iter().zip(&self.centers.levels);
                levels.map(|(z, centers)| mixture::distance(z.view(), centers, class)).collect()
            }
        }
    }

    fn level_maps_of(&self, latents: &Latents, class: usize) -> Vec<Array2<f32>> {
        let mut maps = self.distances_of(latents, class);
        for (map, profile) in maps.iter_mut().zip(&self.centers.profiles) {
            let (mean, deviation) =
                (profile.mean.index_axis(Axis(0), class), profile.deviation.index_axis(Axis(0), class));
            mixture::standardise(map, mean, deviation);
        }
        maps
    }
}
