//! From a bundle in floats to one in 8 bits: a backbone that computes in them, or weights that are stored so.
//!
//! ```text
//! layers --> ranges (histograms, methods) --> plan (layers kept in floats) --> qdq (graph) --+--> verdict --> bundle
//!                                                    weights (as the export stores them) ---'
//! ```
//!
//! What the backbone computes in is chosen by what it changes at the tensors that the flows read, on frames of normal parts; whether
//! either result is written depends on what it changes of decisions about parts that training did not see.

mod code;
mod gauge;
mod layers;
mod network;
mod plan;
mod qdq;
mod range;
mod table;
mod verdict;
mod weights;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hgad::bundle::{Arithmetic, Bundle, Distance, Draft, ParityBound, Precision, parse_graph};
use hgad::dataset::{TestImage, read_rgb};
use hgad::inspect::{Inspector, preprocess};
use hgad::time::stamp;
use hgad::{Error, Result};
use rayon::prelude::*;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::Tensor;

use crate::export::{WRITTEN_BY, int8, normals, tell_weight_error};
use crate::onnx;
use crate::split::Split;
use gauge::Gauge;
use layers::{Kind, Layers};
use network::{Coded, Frame, Network};

pub use code::Code;
pub use gauge::decibels;
pub use range::Method;
pub use table::{LayerRow, Table, WeightTable};
pub use verdict::{Bounds, ClassVerdict, Figures, Verdict};

/// Frames per class that errors are measured on: their tensors are kept in memory.
const MEASURED: usize = 4;

/// The parity gate's bounds are so many times what the last bits of sums change on the golden frames.
const PARITY_MARGIN: f32 = 4.0;
/// The largest bound that a manifest may have.
const LARGEST_PARITY: f32 = 1.0;
/// By so much sums of floats differ, relative to their own size, when they are added up in another order.
const ROUNDING: f32 = 1e-6;

/// What is to be in 8 bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// The backbone's arithmetic.
    Int8 {
        /// Images of every class that ranges are taken from.
        frames: usize,
        /// Share of the multiplications that layers kept in floats may have, those that hurt most first.
        float_share: f64,
    },
    /// The stored weights alone, as [`crate::export::export_bundle`] stores them; all arithmetic is in floats.
    Weights,
}

/// What to quantise, and how far it may go.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The bundle in floats.
    pub bundle: &'a Bundle,
    /// Its normal images.
    pub images: &'a Split,
    /// Test images of every class; empty lists where there are none.
    pub tests: &'a [Vec<TestImage>],
    /// What is to be in 8 bits.
    pub form: Form,
    /// The false-reject rate that thresholds are compared at.
    pub frr: f64,
    /// How much worse the result may be.
    pub bounds: Bounds,
    /// Why it is to be written although it is worse.
    pub anyway: Option<&'a str>,
    /// The bundle's directory; one that stands there is replaced.
    pub out: &'a Path,
}

/// A bundle in 8 bits, and what was measured of it.
#[derive(Debug)]
pub struct Quantised {
    /// The bundle, as read back; the failed check where it is worse than the bounds.
    pub written: Result<Bundle>,
    /// What became of every layer, or of the stored weights.
    pub told: Told,
    /// What became of decisions.
    pub verdict: Verdict,
}

/// What became of the network, by its form.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Of the layers that compute in 8 bits or could.
    Layers(Table),
    /// Of the weights.
    Weights(WeightTable),
}

/// Quantises the bundle, measures what that changes, and writes the result if it is within the bounds.
///
/// # Errors
///
/// A bundle that is in 8 bits already, or whose graph has no backbone that can be quantised, a class without images (usage errors);
/// images that cannot be read, a bundle that cannot be written (device errors).
pub fn quantise_bundle(request: &Request) -> Result<Quantised> {
    check(request)?;
    let model = parse_graph("the bundle's model.onnx", &request.bundle.model)?;
    let (mut bundle, told) = match request.form {
        Form::Int8 { frames, float_share } => computing_in_8_bits(request, &model, frames, float_share)?,
        Form::Weights => stored_in_8_bits(request, model)?,
    };
    log::info!("comparing decisions with those in floats");
    let verdict = verdict::compare([request.bundle, &bundle], &request.images.held, request.tests, request.frr)?;
    let checked = verdict.check(request.bounds, request.form);
    bundle.manifest.training.insert("quantised".to_owned(), record(request, &told, &verdict, checked.is_err()).into());
    let written = match (checked, request.anyway) {
        (Err(error), None) => Err(error),
        _ => {
            let Bundle { manifest, model, centers, golden, trained_on, .. } = bundle;
            Ok(Draft { manifest, model, centers, golden, trained_on }.write(request.out)?)
        }
    };
    Ok(Quantised { written, told, verdict })
}

/// What can be wrong about a request before the network is looked at.
fn check(request: &Request) -> Result<()> {
    let manifest = &request.bundle.manifest;
    if manifest.arithmetic != Arithmetic::Float {
        return Err(
            Error::usage("the bundle already computes in 8 bits").advise("give the bundle that it was made from")
        );
    }
    if manifest.distance == Distance::Map {
        return Err(Error::usage("an imported network is not quantised here")
            .advise("quantise it where it was trained, and import that"));
    }
    if request.form == Form::Weights && manifest.precision == Precision::WeightsInt8 {
        return Err(Error::usage("the bundle's weights are stored in 8 bits already").advise(
            "give one that was trained with --precision f32, or --form int8 to have it compute in 8 bits, too",
        ));
    }
    Ok(())
}

/// The bundle with a backbone that computes in 8 bits, measured.
fn computing_in_8_bits(
    request: &Request,
    model: &ModelProto,
    images: usize,
    float_share: f64,
) -> Result<(Bundle, Told)> {
    let float = request.bundle;
    let network = network_of(float, model)?;
    let frames = frames(float, &network, &request.images.sample(MEASURED))?;
    let gauge = Gauge::new(&network, &frames)?;
    log::info!("looking for the range of every tensor");
    let histograms = plan::histograms(&network, &tensors(float, &request.images.sample(images))?)?;
    let ranges = plan::ranges(&network, &gauge, &histograms)?;
    log::info!("measuring every layer by itself");
    let alone = plan::alone(&network, &gauge, &ranges)?;
    let kept = kept_in_floats(&network, &alone, float_share);
    let int8 = |l: usize| alone[l].is_some() && !kept.contains(&l);
    let coded = least_shifted(&network, &gauge, &frames, &ranges, int8)?;
    let table = Table::new(&coded, &gauge, &ranges, &alone)?;
    let mut bundle = measured(request, onnx::encode(&qdq::write(model, &coded)))?;
    bundle.manifest.arithmetic = Arithmetic::Int8;
    bundle.manifest.parity = parity(&bundle, model, &coded)?;
    Ok((bundle, Told::Layers(table)))
}

/// The bundle with weights that are stored in 8 bits, measured.
fn stored_in_8_bits(request: &Request, model: ModelProto) -> Result<(Bundle, Told)> {
    let (model, tensors) = int8::quantise_weights(model)?;
    let mut bundle = measured(request, onnx::encode(&model))?;
    bundle.manifest.precision = Precision::WeightsInt8;
    let error = tell_weight_error(request.bundle.clone(), &mut bundle, &request.images.held)?;
    Ok((bundle, Told::Weights(WeightTable { tensors, error })))
}

/// The bundle with another graph, and what that makes of normal parts: parity bounds are still those in floats.
fn measured(request: &Request, model: Vec<u8>) -> Result<Bundle> {
    let Request { bundle: float, images, .. } = *request;
    let mut bundle = Bundle { model, ..float.clone() };
    bundle.manifest.created = stamp();
    bundle.manifest.written_by = WRITTEN_BY.to_owned();
    log::info!("measuring what is usual of normal parts");
    if images.all_trained {
        normals::fit_usual(&mut bundle, &images.trained, float.manifest.distance, &[])?;
    } else {
        log::warn!(
            "some images that the model was trained on are not there: what is usual at each position is left as it is"
        );
    }
    bundle.centers.references = normals::fit_references(&bundle, &images.held)?;
    bundle.golden = normals::golden(&bundle, &images.held)?;
    Ok(bundle)
}

/// The network with some layers in 8 bits, with biases corrected or as they are: whatever disturbs the taps less.
fn least_shifted<'n>(
    network: &'n Network,
    gauge: &Gauge,
    frames: &[Frame],
    ranges: &[Option<plan::Range>],
    int8: impl Fn(usize) -> bool,
) -> Result<Coded<'n>> {
    let plain = plan::coded(network, ranges, &[], &int8)?;
    let corrected = plan::coded(network, ranges, &plan::corrections(network, frames, ranges)?, &int8)?;
    let [without, with] = [gauge.error(&plain)?, gauge.error(&corrected)?];
    log::info!(
        "with corrected biases the taps are {:.2} dB above the noise, without {:.2} dB",
        decibels(with),
        decibels(without)
    );
    Ok(if with < without { corrected } else { plain })
}

fn network_of(bundle: &Bundle, model: &ModelProto) -> Result<Network> {
    let layers = Layers::of(&model.graph.clone().unwrap_or_default())?;
    if layers.layers.iter().all(|layer| matches!(layer.kind, Kind::Other)) {
        return Err(Error::usage("the bundle's backbone has no layer that can be quantised"));
    }
    let opset = model.opset_import.first().map_or(onnx::OPSET, |set| set.version);
    Network::new(layers, bundle.manifest.input, opset)
}

/// The network's input for every image.
fn tensors(bundle: &Bundle, images: &[PathBuf]) -> Result<Vec<Arc<Tensor>>> {
    let tensor = |path: &PathBuf| {
        let image = preprocess::resize(&read_rgb(path)?, bundle.manifest.input)?;
        Ok(Arc::new(Tensor::from(preprocess::to_tensor(&image))))
    };
    images.par_iter().map(tensor).collect()
}

fn frames(bundle: &Bundle, network: &Network, images: &[PathBuf]) -> Result<Vec<Frame>> {
    tensors(bundle, images)?.par_iter().map(|image| network.run(Tensor::clone(image))).collect()
}

/// The layers that disturb the taps most, as long as they have no more than `share` of all multiplications together.
fn kept_in_floats(network: &Network, alone: &[Option<f64>], share: f64) -> HashSet<usize> {
    let total = (0..alone.len()).map(|l| network.multiplications(l)).sum::<usize>() as f64;
    let mut order = (0..alone.len()).filter_map(|l| Some((alone[l]?, l))).collect::<Vec<_>>();
    order.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let mut spent = 0.0;
    let fits = order.into_iter().map(|(_, l)| l).take_while(|&l| {
        spent += network.multiplications(l) as f64 / total.max(1.0);
        spent <= share
    });
    if share > 0.0 { fits.collect() } else { HashSet::new() }
}

/// Bounds for boards that compute the backbone in whole numbers, for boards that round every product in floats, and all
/// between: a sum that lies halfway between two codes becomes either, and what is behind it differs by a step. How much that
/// is in the end is seen when the scales are shifted by as little as floats round.
fn parity(bundle: &Bundle, model: &ModelProto, coded: &Coded) -> Result<ParityBound> {
    let mut seen = ParityBound { z: 0.0, logdet: 0.0, score: 0.0 };
    for shifted in [coded.shifted(ROUNDING), coded.shifted(-ROUNDING)] {
        let mut shifted = Bundle { model: onnx::encode(&qdq::write(model, &shifted)), ..bundle.clone() };
        shifted.manifest.parity = ParityBound { z: f32::MAX, logdet: f32::MAX, score: f32::MAX };
        let other = Inspector::new(&shifted)?.check_parity(&shifted)?;
        seen = ParityBound {
            z: seen.z.max(other.z),
            logdet: seen.logdet.max(other.logdet),
            score: seen.score.max(other.score),
        };
    }
    log::info!("a last bit's difference moves latents by {:e}, a score by {:e}", seen.z, seen.score);
    let bound = |seen: f32, least: f32| (PARITY_MARGIN * seen).clamp(least, LARGEST_PARITY);
    let least = ParityBound::default();
    Ok(ParityBound {
        z: bound(seen.z, least.z),
        logdet: bound(seen.logdet, least.logdet),
        score: bound(seen.score, least.score),
    })
}

/// What the manifest tells of it.
fn record(request: &Request, told: &Told, verdict: &Verdict, worse: bool) -> toml::Table {
    let mut record = toml::Table::new();
    let mut tell = |key: &str, value: toml::Value| _ = record.insert(key.to_owned(), value);
    tell("from", request.bundle.digest.to_string().into());
    if let Told::Layers(table) = told {
        let in_floats = table.layers.iter().filter(|layer| layer.in_floats).map(|layer| layer.tensor.clone());
        tell("in_floats", in_floats.collect::<Vec<_>>().into());
        tell("taps_sqnr_db", table.taps.into());
    }
    let (flips, images) = verdict.flips();
    tell("images", (images as i64).into());
    tell("flips", (flips as i64).into());
    for (key, loss) in ["image_auroc_loss", "pixel_auroc_loss"].into_iter().zip(verdict.auroc_loss()) {
        if let Some(loss) = loss {
            tell(key, loss.into());
        }
    }
    if let Some(reason) = request.anyway.filter(|_| worse) {
        tell("worse_than_allowed", reason.into());
    }
    record
}

#[cfg(test)]
mod tests;
