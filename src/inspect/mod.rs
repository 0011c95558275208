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
mod scorer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use image::RgbImage;
use ndarray::{Array2, Array3};

use crate::Result;
use crate::bundle::{Bundle, Centers, Manifest, ScoreReference};
pub use anomaly_map::{bilinear, gaussian};
pub use mask::Mask;
#[cfg(test)]
pub(crate) use mask::tests;
pub use network::Layer;
use network::Network;
use preprocess::Preparer;
use scorer::{Room, Scorer};

/// What the network says of one frame: per level, latents and log-determinants.
#[derive(Debug, Clone)]
pub struct Latents {
    /// `(D, h, w)` of every level.
    pub z: Vec<Array3<f32>>,
    /// `(h, w)` of every level, the sum over channels (not divided by D).
    pub logdet: Vec<Array2<f32>>,
}

impl Latents {
    /// A place for those of the manifest's levels.
    fn zeros(manifest: &Manifest) -> Self {
        let levels = &manifest.levels;
        Latents {
            z: levels.iter().map(|level| Array3::zeros((level.channels, level.height, level.width))).collect(),
            logdet: levels.iter().map(|level| Array2::zeros((level.height, level.width))).collect(),
        }
    }
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

/// A bundle that is loaded and ready to inspect frames. A frame's stages write where those of the last one did: what is left of a frame
/// is its [`Inspection`].
pub struct Inspector {
    preparer: Preparer,
    network: Network,
    /// Of the last frame.
    latents: Latents,
    scorer: Scorer,
    room: Room,
    /// The last mask that was used, and where every level counts by it. Lanes whose masks differ lay theirs once a frame.
    laid: Option<(Mask, Arc<[Array2<bool>]>)>,
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
        let scorer = Scorer::new(manifest, centers);
        Ok(Inspector {
            preparer: Preparer::new(manifest.input),
            network: Network::load(manifest, model, threads)?,
            latents: Latents::zeros(manifest),
            room: scorer.room(),
            scorer,
            laid: None,
        })
    }

    /// Runs the network on one frame of any size.
    ///
    /// # Errors
    ///
    /// The frame has no pixels, or the network fails or gives values that are not finite.
    pub fn latents(&mut self, image: &RgbImage) -> Result<Latents> {
        self.look(image)?;
        Ok(self.latents.clone())
    }

    /// Runs the network on one frame of any size `frames` times and tells how long each of its operators takes.
    ///
    /// # Errors
    ///
    /// As [`Inspector::latents`].
    pub fn profile(&mut self, image: &RgbImage, frames: usize) -> Result<Vec<Layer>> {
        self.preparer.prepare(image, self.network.input()?)?;
        self.network.profile(frames)
    }

    /// How far one frame lies from what is usual of class `class` at every position, `(h, w)` per level: from the mixture's
    /// centers, from the cells' Gaussians where the bundle has them, or as a network says that gives maps itself.
    ///
    /// # Errors
    ///
    /// As [`Inspector::latents`].
    pub fn distances(&mut self, image: &RgbImage, class: usize) -> Result<Vec<Array2<f32>>> {
        self.look(image)?;
        Ok(self.scorer.distances(&self.latents, class, &mut self.room).to_vec())
    }

    /// The same in standard deviations from what is usual at each position: what [`score::fit_reference`] is fitted from.
    ///
    /// # Errors
    ///
    /// As [`Inspector::latents`].
    pub fn level_maps(&mut self, image: &RgbImage, class: usize) -> Result<Vec<Array2<f32>>> {
        self.look(image)?;
        Ok(self.scorer.level_maps(&self.latents, class, &mut self.room).to_vec())
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
        let maps = self.level_maps(image, class)?;
        let counts = mask.map(|mask| self.lay(mask));
        Ok((maps, self.scorer.resembles(&self.latents, class, counts.as_deref(), &mut self.room)))
    }

    /// Scores one frame of any size as class `class` (an index into the manifest's classes) against `reference`.
    ///
    /// # Errors
    ///
    /// As [`Inspector::latents`].
    pub fn inspect(&mut self, image: &RgbImage, class: usize, reference: &ScoreReference) -> Result<Inspection> {
        let start = Instant::now();
        self.preparer.prepare(image, self.network.input()?)?;
        let preprocessed = Instant::now();
        self.network.run(&mut self.latents)?;
        let run = Instant::now();
        let counts = reference.mask.as_ref().map(|mask| self.lay(mask));
        let (counts, room) = (counts.as_deref(), &mut self.room);
        self.scorer.level_maps(&self.latents, class, room);
        let (score, levels, map) = self.scorer.score(reference, counts, room);
        let resembles = self.scorer.resembles(&self.latents, class, counts, room);
        let timings = Timings { preprocess: preprocessed - start, network: run - preprocessed, score: run.elapsed() };
        Ok(Inspection { score, levels, resembles, map, timings })
    }

    /// The score and the anomaly map `(H, W)` of a frame whose level maps are known: calibration has them already.
    pub fn score_maps(&self, levels: &[Array2<f32>], reference: &ScoreReference) -> (f32, Array2<f32>) {
        let counts = reference.mask.as_ref().map(|mask| self.scorer.counts(mask));
        self.scorer.paint(levels, reference, counts.as_deref(), &mut self.scorer.painting())
    }

    /// Leaves the frame's latents in `self.latents`.
    fn look(&mut self, image: &RgbImage) -> Result<()> {
        self.preparer.prepare(image, self.network.input()?)?;
        self.network.run(&mut self.latents)
    }

    /// Which positions of every level count by a mask, found anew only when the mask is another one.
    fn lay(&mut self, mask: &Mask) -> Arc<[Array2<bool>]> {
        if let Some((of, counts)) = &self.laid
            && of == mask
        {
            return Arc::clone(counts);
        }
        let counts = self.scorer.counts(mask);
        self.laid = Some((mask.clone(), Arc::clone(&counts)));
        counts
    }
}
