//! From a backbone and trained levels to a bundle.
//!
//! The network is one ONNX graph from `image` `[1, 3, H, W]`, RGB, 0..255, to `z.l` `[1, D, h, w]` and `logdet.l`
//! `[1, 1, h, w]` of every level.

mod convolutional;
mod fidelity;
mod fold;
mod graph;
mod grid;
pub(crate) mod int8;
mod join;
mod level;
pub(crate) mod normals;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hgad::bundle::{
    Arithmetic, Bundle, Centers, Distance, DistanceProfile, Draft, FORMAT_VERSION, Golden, Level, Manifest,
    ParityBound, Precision,
};
use hgad::digest::Digest;
use hgad::time::stamp;
use hgad::{Error, Result};

use crate::backbone::Backbone;
use crate::features::ImageFile;
use crate::onnx;

pub use fidelity::{LevelError, WeightError};
pub(crate) use grid::ToGrid;
pub use int8::StoredWeights;
pub use join::Join;
pub(crate) use join::{is_joined, join};
pub use level::{FeatureLevel, NetworkLevel};

/// What manifests say of this program.
pub(crate) const WRITTEN_BY: &str = concat!("hgad-train ", env!("CARGO_PKG_VERSION"));

/// What goes into a bundle.
#[derive(Debug, Clone, Copy)]
pub struct ExportRequest<'a> {
    /// The frozen feature extractor.
    pub backbone: &'a Backbone,
    /// The levels, finest first.
    pub levels: &'a [NetworkLevel],
    /// Whether and how they become one.
    pub join: Option<&'a Join>,
    /// The products, in the order of the mixture's classes.
    pub classes: &'a [String],
    /// The images of every class that training saw: they fix what is usual at each position, and the bundle tells their
    /// digests.
    pub trained_on: &'a [Vec<ImageFile>],
    /// Normal images of every class that training did not see: they fix the score's reference constants, and the first of
    /// up to three classes become the golden frames.
    pub normals: &'a [Vec<PathBuf>],
    /// How the weights are stored.
    pub precision: Precision,
    /// What distances are measured from.
    pub distance: Distance,
    /// What else to say in the manifest of how it was trained: data digests, hyperparameters, metrics.
    pub training: &'a toml::Table,
    /// The bundle's directory; one that stands there is replaced.
    pub out: &'a Path,
}

/// A bundle on disk.
#[derive(Debug)]
pub struct Exported {
    /// The bundle, as read back.
    pub bundle: Bundle,
    /// One per level, before they are joined: how far the training images lie from their centers.
    pub from_centers: Vec<DistanceProfile>,
    /// What storing the weights in 8 bits changed; `None` for float weights.
    pub weight_error: Option<WeightError>,
}

/// Writes the bundle: the graph with all constants folded, the mixture with the score's reference constants, golden frames
/// as this host computes them, and the manifest.
///
/// # Errors
///
/// Levels that do not fit the backbone's taps or the classes, weights that are not finite, a class without normal images
/// (usage errors); an image that cannot be read or a bundle that cannot be written (device errors).
pub fn export_bundle(request: ExportRequest) -> Result<Exported> {
    check(&request)?;
    log::info!("folding the levels into one graph");
    let graph = graph::assemble(request.backbone, request.levels)?;
    let mut float = in_memory(&request, onnx::encode(&graph))?;
    let mut bundle = match request.precision {
        Precision::F32 => float.clone(),
        Precision::WeightsInt8 => Bundle { model: onnx::encode(&int8::quantise_weights(graph)?.0), ..float.clone() },
    };
    if let Some(how) = request.join {
        join(&mut float, how)?;
        join(&mut bundle, how)?;
    }
    log::info!("measuring what is usual of the training images, then of the other normal ones");
    // From the graph that will run on the boards, so that its own rounding is in them.
    let learned = request.levels.iter().map(NetworkLevel::centers).collect::<Vec<_>>();
    let from_centers = normals::fit_usual(&mut bundle, request.trained_on, request.distance, &learned)?;
    bundle.centers.references = normals::fit_references(&bundle, request.normals)?;
    let weight_error = match request.precision {
        Precision::F32 => None,
        Precision::WeightsInt8 => Some(tell_weight_error(float, &mut bundle, request.normals)?),
    };
    log::info!("computing the golden frames");
    bundle.golden = normals::golden(&bundle, request.normals)?;
    let Bundle { manifest, model, centers, golden, trained_on, .. } = bundle;
    log::info!("writing the bundle {}", request.out.display());
    let bundle = Draft { manifest, model, centers, golden, trained_on }.write(request.out)?;
    Ok(Exported { bundle, from_centers, weight_error })
}

/// Measures how far the outputs lie from those of the same network with `float` weights, and has the manifest tell it.
///
/// # Errors
///
/// A score that is not a number (a failed check); an image that cannot be read.
pub(crate) fn tell_weight_error(float: Bundle, bundle: &mut Bundle, normals: &[Vec<PathBuf>]) -> Result<WeightError> {
    log::info!("measuring the error of 8-bit weights");
    let float = Bundle { centers: bundle.centers.clone(), ..float };
    let error = fidelity::compare(&float, bundle, normals)?;
    bundle.manifest.training.insert("weight_error".to_owned(), error.to_toml().into());
    Ok(error)
}

/// Everything that can be wrong about a request before an image is looked at.
fn check(request: &ExportRequest) -> Result<()> {
    let ExportRequest { backbone, levels, classes, trained_on, normals, .. } = request;
    if levels.is_empty() {
        return Err(Error::usage("the model cannot be exported: it has no levels"));
    }
    levels.iter().try_for_each(|level| level.check(backbone, classes.len()))?;
    if let Some(class) = lacking(trained_on, classes.len()) {
        return Err(Error::usage(format!(
            "the model cannot be exported: class {} has no training image",
            classes[class]
        )));
    }
    match lacking(normals, classes.len()) {
        Some(class) => {
            Err(Error::usage(format!("class {} has no normal image left to fix its score with", classes[class]))
                .advise("hold images out of training (--hold-out 5)"))
        }
        None => Ok(()),
    }
}

/// The first of so many classes that has no image.
fn lacking<T>(images: &[Vec<T>], classes: usize) -> Option<usize> {
    (0..classes).find(|&class| images.get(class).is_none_or(Vec::is_empty))
}

/// The bundle before anything was measured on it: no reference constants, no golden frames, no digests.
fn in_memory(request: &ExportRequest, model: Vec<u8>) -> Result<Bundle> {
    let taps = request.levels.iter().map(|level| level.tap_of(request.backbone)).collect::<Result<Vec<_>>>()?;
    let levels = request.levels.iter().zip(taps).map(|(level, tap)| Level {
        tap: tap.name.clone(),
        channels: level.channels(),
        height: tap.height,
        width: tap.width,
    });
    let mut training = request.training.clone();
    training.insert("backbone".to_owned(), provenance(request.backbone).into());
    Ok(Bundle {
        manifest: Manifest {
            format_version: FORMAT_VERSION,
            created: stamp(),
            written_by: WRITTEN_BY.to_owned(),
            classes: request.classes.to_vec(),
            precision: request.precision,
            arithmetic: Arithmetic::Float,
            distance: request.distance,
            input: request.backbone.size,
            parity: ParityBound::default(),
            levels: levels.collect(),
            training,
            files: Default::default(),
        },
        digest: Digest::zero(),
        model,
        centers: Centers {
            levels: request.levels.iter().map(|level| level.centers().clone()).collect(),
            cells: None,
            profiles: Vec::new(),
            references: Vec::new(),
        },
        golden: Golden::default(),
        trained_on: Some(request.trained_on.iter().flatten().map(|image| image.digest).collect::<BTreeSet<_>>()),
    })
}

fn provenance(backbone: &Backbone) -> toml::Table {
    toml::Table::from_iter([
        ("file".to_owned(), backbone.name.clone().into()),
        ("sha256".to_owned(), backbone.digest.to_string().into()),
        ("normalise".to_owned(), backbone.normalise.to_string().into()),
    ])
}

#[cfg(test)]
pub(crate) mod tests;
