//! A small backbone, trained from scratch on patterns that are drawn on the fly.
//!
//! It learns to name the family of a texture or shape and the colours in it; what it must see for that (edges, strokes,
//! grain, colours at several scales) is what tells a normal surface from an abnormal one.

mod network;
mod pattern;

use std::path::Path;

use burn::backend::{Autodiff, Flex};
use burn::module::AutodiffModule;
use burn::optim::{AdamConfig, GradientsParams, Optimizer};
use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use hgad::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;

use crate::onnx::encode;
use network::Network;
use pattern::{COLOURS, PATCH, Patch};

/// The input size that the written file declares; a trainer may cut it at any other.
const DECLARED_SIZE: usize = 256;

/// How long and from which seed to train.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// All randomness derives from it.
    pub seed: u64,
    /// Updates.
    pub steps: usize,
    /// Patches per update.
    pub batch: usize,
    /// The learning rate after the warm-up.
    pub learning_rate: f64,
}

/// How well the pretext task was learnt, on patches that training did not see.
#[derive(Debug, Clone, Copy)]
pub struct Accuracy {
    /// The share of patches whose family was named.
    pub family: f64,
    /// The share of colours that were rightly called present or absent.
    pub colour: f64,
}

/// A batch on the device.
struct Batch<B: Backend> {
    images: Tensor<B, 4>,
    families: Tensor<B, 2, Int>,
    colours: Tensor<B, 2>,
}

impl<B: Backend> Batch<B> {
    fn draw(seed: u64, first: u64, count: usize, device: &B::Device) -> Self {
        let patches =
            (first..first + count as u64).into_par_iter().map(|index| Patch::sample(seed, index)).collect::<Vec<_>>();
        let pixels = patches.iter().flat_map(|patch| patch.pixels.iter().copied()).collect::<Vec<f32>>();
        let families = patches.iter().map(|patch| patch.family as i64).collect::<Vec<_>>();
        let shown = |patch: &Patch, colour: usize| if patch.colours.contains(&colour) { 1f32 } else { 0.0 };
        let colours = patches.iter().flat_map(|p| (0..COLOURS.len()).map(move |c| shown(p, c))).collect::<Vec<f32>>();
        Batch {
            images: Tensor::from_data(TensorData::new(pixels, [count, 3, PATCH, PATCH]), device),
            families: Tensor::from_data(TensorData::new(families, [count, 1]), device),
            colours: Tensor::from_data(TensorData::new(colours, [count, COLOURS.len()]), device),
        }
    }
}

/// Trains a backbone and writes it to `out` as ONNX.
///
/// # Errors
///
/// The file cannot be written, or training diverged.
pub fn pretrain(request: &Request, out: &Path) -> Result<Accuracy> {
    type B = Autodiff<Flex>;
    let device = Default::default();
    let mut network = Network::<B>::new(request.seed, &device);
    let mut optimizer = AdamConfig::new().init();
    let bar = progress_bar(request.steps);
    for step in 0..request.steps {
        let batch = Batch::<B>::draw(request.seed, (step * request.batch) as u64, request.batch, &device);
        let loss = loss(&network, batch);
        if step % 20 == 0 {
            let value = loss.clone().into_scalar();
            if !value.is_finite() {
                return Err(Error::check(format!("training diverged in step {step}"))
                    .advise("try a lower --learning-rate or another --seed"));
            }
            bar.set_message(format!("loss {value:.3}"));
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(rate_at(request, step), network, gradients);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let network = network.valid();
    let accuracy = measure(&network, request.seed);
    std::fs::write(out, encode(&network.to_onnx(DECLARED_SIZE)?))
        .map_err(|error| Error::device(format!("backbone {} cannot be written", out.display())).because(error))?;
    Ok(accuracy)
}

/// Cross-entropy of the family plus that of each colour's presence.
fn loss(network: &Network<Autodiff<Flex>>, batch: Batch<Autodiff<Flex>>) -> Tensor<Autodiff<Flex>, 1> {
    let (family, colour) = network.forward(batch.images);
    let family = -log_softmax(family, 1).gather(1, batch.families).mean();
    let absent = batch.colours.clone().neg() + 1.0;
    let colour = -(batch.colours * log_sigmoid(colour.clone()) + absent * log_sigmoid(-colour)).mean();
    family + colour * 2.0
}

/// A linear warm-up, then half a cosine.
fn rate_at(request: &Request, step: usize) -> f64 {
    let warm_up = (step + 1) as f64 / (0.03 * request.steps as f64).max(1.0);
    let cosine = 0.5 + 0.5 * (std::f64::consts::PI * step as f64 / request.steps as f64).cos();
    request.learning_rate * warm_up.min(1.0) * cosine.max(0.01)
}

fn measure(network: &Network<Flex>, seed: u64) -> Accuracy {
    const PATCHES: usize = 512;
    // Training counts its patches from 0 and never comes this far.
    let batch = Batch::<Flex>::draw(seed, 1 << 63, PATCHES, &Default::default());
    let (family, colour) = network.forward(batch.images);
    let share = |right: Tensor<Flex, 2>| f64::from(right.mean().into_scalar());
    Accuracy {
        family: share(family.argmax(1).equal(batch.families).float()),
        colour: share(colour.greater_elem(0.0).equal(batch.colours.greater_elem(0.5)).float()),
    }
}

fn progress_bar(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    // The template is a constant of this program; should it ever not parse, the default bar serves as well.
    if let Ok(style) = ProgressStyle::with_template("pretrain [{bar:30}] {pos}/{len} steps, {eta} left  {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_file_is_a_backbone_with_three_stages_and_repeats() {
        let folder = tempfile::tempdir().unwrap();
        let request = Request { seed: 4, steps: 2, batch: 4, learning_rate: 1e-3 };
        let train = |name: &str| {
            let path = folder.path().join(name);
            let accuracy = pretrain(&request, &path).unwrap();
            assert!((0.0..=1.0).contains(&accuracy.family) && (0.0..=1.0).contains(&accuracy.colour));
            path
        };
        let (first, again) = (train("a.onnx"), train("b.onnx"));
        assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(again).unwrap());
        let size = hgad::bundle::InputSize { width: 96, height: 96 };
        let taps = "stage4,stage8,stage16".parse().unwrap();
        let backbone = crate::backbone::Backbone::open(&first, size, &taps, crate::backbone::Normalise::None).unwrap();
        let shapes = backbone.taps.iter().map(|tap| (tap.channels, tap.height, tap.width)).collect::<Vec<_>>();
        assert_eq!(shapes, [(32, 24, 24), (48, 12, 12), (64, 6, 6)]);
    }
}
