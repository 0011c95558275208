//! Any ONNX classifier as a frozen feature extractor: cut at its taps, with the normalisation in front.
//!
//! The cut graph takes `image`, RGB, float, 0..255, `[1, 3, H, W]`; its outputs are the taps in the order asked for.
//! Every other tensor of the file keeps its name behind the prefix `backbone/`, so that nothing that is added to the
//! graph later can collide with it.

mod cut;
mod inspect;
mod known;
mod lite;
mod normalise;
mod opset;
mod runner;
mod source;
mod state_dict;
mod taps;

use std::path::Path;
use std::sync::Arc;

use hgad::bundle::InputSize;
use hgad::digest::Digest;
use hgad::{Error, Result};
use tract_onnx::pb::ModelProto;

pub use inspect::{Cost, Offer, Overview, inspect};
pub use known::{Known, known};
pub use lite::{Lite, Padding};
pub use normalise::Normalise;
pub use runner::Runner;
pub use taps::{Tap, Taps};

pub(crate) use cut::cut;
pub(crate) use runner::{Plan, guarded};
pub(crate) use source::{Layout, Source};

/// The name of a cut graph's input.
pub const IMAGE: &str = "image";

/// A classifier's ONNX file, cut at its taps and proven to run at one input size.
#[derive(Debug, Clone)]
pub struct Backbone {
    /// The file's name, without its folder.
    pub name: String,
    /// The digest of the whole file.
    pub digest: Digest,
    /// The input size that the taps' shapes are for.
    pub size: InputSize,
    /// The normalisation that stands in front, as chosen: never [`Normalise::Auto`].
    pub normalise: Normalise,
    /// The taps, in the order of the graph's outputs.
    pub taps: Vec<Tap>,
    /// From `image` to the taps.
    pub graph: ModelProto,
    plan: Arc<Plan>,
}

impl Backbone {
    /// Reads the classifier in `path`, finds the taps, cuts, and runs the result once on a grey image.
    ///
    /// # Errors
    ///
    /// A file that is not ONNX or is damaged (a device error); taps that it does not have, an input that is not one
    /// RGB image, operators that a bundle may not hold, or a size that does not suit it (usage errors).
    pub fn open(path: &Path, size: InputSize, taps: &Taps, normalise: Normalise) -> Result<Self> {
        let source = Source::read_classifier(path)?;
        let tensors = taps::find(&source, size, taps)?;
        let normalise = normalise.chosen_for(&source);
        log::info!("backbone {}: normalisation {normalise}, taps {}", source.name, tensors.join(", "));
        let mut graph = cut(&source, size, &normalise, &tensors)?;
        hgad::bundle::admit_graph(&source.origin, &graph)?;
        let plan = Plan::new(&source.origin, &graph, size)?;
        let taps = taps::measure(&source.origin, size, &tensors, &plan.probe()?)?;
        cut::declare_outputs(&mut graph, &taps);
        Ok(Backbone { name: source.name, digest: source.digest, size, normalise, taps, graph, plan: Arc::new(plan) })
    }

    /// A runner of the cut graph; each thread takes one of its own.
    pub fn runner(&self) -> Result<Runner> {
        self.plan.runner()
    }
}

/// A file that cannot be used as it is.
pub(crate) fn unusable(origin: &str, why: impl Into<String>) -> Error {
    Error::device(format!("{origin} cannot be used: {}", why.into()))
}

#[cfg(test)]
pub(crate) mod tests;
