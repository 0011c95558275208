//! From a frame to a score: resize, network, mixture, anomaly map.
//!
//! A frame's score depends on that frame, the bundle and the score's constants alone; every command gets it from
//! [`Inspector::inspect`], so it is the same everywhere, bit for bit.

pub mod mixture;
pub mod preprocess;
pub mod score;

use std::time::Duration;

use image::RgbImage;
use ndarray::{Array2, Array3};

use crate::Result;
use crate::bundle::{Bundle, ScoreReference};

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
    /// Mixture densities, anomaly map and score.
    pub score: Duration,
}

/// The result of one inspection.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// How unlike a normal part the frame is; larger is worse. Compared with the calibrated threshold.
    pub score: f32,
    /// The anomaly map at the network's input size `(H, W)`; larger is worse.
    pub map: Array2<f32>,
    /// Where the time went.
    pub timings: Timings,
}

/// A bundle that is loaded and ready to inspect frames.
pub struct Inspector {}

impl Inspector {
    /// Loads the bundle's network and prepares all that does not depend on the frame.
    pub fn new(_bundle: &Bundle) -> Result<Self> {
        todo!()
    }

    /// Runs the network on one frame of any size.
    pub fn latents(&mut self, _image: &RgbImage) -> Result<Latents> {
        todo!()
    }

    /// Scores one frame of any size as class `class` (an index into the manifest's classes) against `reference`.
    pub fn inspect(&mut self, _image: &RgbImage, _class: usize, _reference: &ScoreReference) -> Result<Inspection> {
        todo!()
    }

    /// The parity gate: scores the golden frames and compares them with what the training host computed.
    ///
    /// # Errors
    ///
    /// This machine computes something else than the training host: it must not arm.
    pub fn check_parity(&mut self, _bundle: &Bundle) -> Result<()> {
        todo!()
    }
}
