//! What a classifier's file offers: where features can be taken, and what they cost.

use std::collections::BTreeMap;
use std::path::Path;

use hgad::Result;
use hgad::bundle::InputSize;
use hgad::digest::Digest;
use tract_onnx::pb::NodeProto;

use super::source::Source;
use super::taps::Shapes;
use super::{Normalise, cut};

/// A classifier's file at one input size.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// The digest of the whole file.
    pub digest: Digest,
    /// The operator set.
    pub opset: i64,
    /// The normalisation that `auto` chooses.
    pub normalise: Normalise,
    /// Numbers in all weights, the head's among them.
    pub parameters: u64,
    /// What the taps that training takes by default, those at strides 8 and 16, cost together; none without them.
    pub default_taps: Option<Cost>,
    /// The tensors that can be taps, in the file's order.
    pub offers: Vec<Offer>,
}

/// A tensor that can be a tap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What the file calls it.
    pub name: String,
    /// `[channels, height, width]`
    pub shape: [usize; 3],
    /// Pixels per grid step.
    pub stride: usize,
    /// Whether `auto` takes it for its stride.
    pub automatic: bool,
    /// What it takes to compute this tap alone.
    pub cost: Cost,
}

/// What it takes to compute some taps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Numbers in the weights.
    pub parameters: u64,
    /// Multiplications with an addition, of convolutions and matrix products, for one image.
    pub macs: u64,
}

/// Looks into the classifier in `path`.
///
/// # Errors
///
/// A file that is not ONNX or is damaged (a device error), an input that is not one RGB image, or a size that the network
/// does not take (usage errors).
pub fn inspect(path: &Path, size: InputSize) -> Result<Overview> {
    let source = Source::read_classifier(path)?;
    let shapes = Shapes::infer(&source, size)?;
    let mut last = BTreeMap::new();
    for (_, stride) in shapes.features() {
        if let std::collections::btree_map::Entry::Vacant(entry) = last.entry(stride) {
            entry.insert(shapes.last_at(stride)?);
        }
    }
    let offer = |(tensor, stride): (&str, usize)| {
        let shape = *shapes.known.get(tensor)?;
        Some(Offer {
            name: Source::original(tensor).to_owned(),
            shape,
            stride,
            automatic: last.get(&stride).is_some_and(|name| name == tensor),
            cost: cost(&source, &shapes, &[tensor.to_owned()]),
        })
    };
    // A flow needs two channels to split, and a map of defects more than one cell.
    let fits = |offer: &Offer| offer.shape.iter().all(|side| *side >= 2);
    let offers = shapes.features().filter_map(offer).filter(fits).collect();
    let default_taps = [8, 16].map(|stride| last.get(&stride).cloned());
    Ok(Overview {
        digest: source.digest,
        opset: source.opset,
        normalise: Normalise::Auto.chosen_for(&source),
        parameters: source.constants.iter().map(|constant| numbers(&constant.dims)).sum(),
        default_taps: default_taps.into_iter().collect::<Option<Vec<_>>>().map(|taps| cost(&source, &shapes, &taps)),
        offers,
    })
}

/// The cost of computing all of `tensors` at once.
fn cost(source: &Source, shapes: &Shapes, tensors: &[String]) -> Cost {
    let (nodes, needed) = cut::ancestors(source, tensors);
    let weights = source.constants.iter().filter(|constant| needed.contains(constant.name.as_str()));
    Cost {
        parameters: weights.map(|constant| numbers(&constant.dims)).sum(),
        macs: nodes.into_iter().filter_map(|node| macs(source, shapes, node)).sum(),
    }
}

/// The multiplications of a convolution or of a product with a constant matrix; other operators have none to speak of.
fn macs(source: &Source, shapes: &Shapes, node: &NodeProto) -> Option<u64> {
    let weights = source.constants.iter().find(|constant| Some(&constant.name) == node.input.get(1))?;
    let [channels, height, width] = shapes.known.get(node.output.first()?)?.map(|side| side as u64);
    match node.op_type.as_str() {
        // [M, C / groups, kH, kW]: every output is a sum over all but the first.
        "Conv" => Some(channels * height * width * numbers(weights.dims.get(1..)?)),
        "MatMul" => Some(channels * height * numbers(&weights.dims)),
        _ => None,
    }
}

fn numbers(dims: &[i64]) -> u64 {
    dims.iter().map(|side| u64::try_from(*side).unwrap_or(0)).product()
}
