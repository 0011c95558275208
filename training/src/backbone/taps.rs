//! Where features are taken from a classifier: by tensor name, or by stride.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use hgad::bundle::InputSize;
use hgad::{Error, Result};
use ndarray::Array3;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;

use super::runner::guarded;
use super::source::Source;
use super::{IMAGE, Normalise, cut, opset, unusable};

/// Which tensors of a classifier to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taps {
    /// The last tensor at each of these strides.
    Auto(Vec<usize>),
    /// These tensors, finest first.
    Named(Vec<String>),
}

/// One tap of a backbone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// What the classifier's file calls the tensor.
    pub name: String,
    /// What the cut graph calls it.
    pub tensor: String,
    /// Channels D.
    pub channels: usize,
    /// Rows of the grid.
    pub height: usize,
    /// Columns of the grid.
    pub width: usize,
    /// Pixels per grid step: the power of two that is nearest.
    pub stride: usize,
}

impl FromStr for Taps {
    type Err = String;

    /// `auto` (strides 8 and 16), `auto:8,16,32`, or tensor names with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        let items = |list: &str| list.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>();
        if text == "auto" {
            return Ok(Taps::Auto(vec![8, 16]));
        }
        if let Some(list) = text.strip_prefix("auto:") {
            let strides = items(list).iter().map(|stride| stride.parse().ok()).collect::<Option<Vec<usize>>>();
            return strides
                .filter(|strides| strides.iter().all(|stride| stride.is_power_of_two()))
                .map(Taps::Auto)
                .ok_or_else(|| format!("'{text}': strides are powers of two, such as auto:8,16,32"));
        }
        let names = items(text);
        match names.iter().any(String::is_empty) {
            true => Err(format!("'{text}' is not a list of tensor names")),
            false => Ok(Taps::Named(names)),
        }
    }
}

impl fmt::Display for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Taps::Named(names) => f.write_str(&names.join(",")),
            Taps::Auto(strides) => {
                write!(f, "auto:{}", strides.iter().map(usize::to_string).collect::<Vec<_>>().join(","))
            }
        }
    }
}

/// The tensors that `taps` asks for.
pub(super) fn find(source: &Source, size: InputSize, taps: &Taps) -> Result<Vec<String>> {
    match taps {
        Taps::Named(names) => names.iter().map(|name| named(source, name)).collect(),
        Taps::Auto(strides) => {
            let shapes = Shapes::infer(source, size)?;
            strides.iter().map(|&stride| shapes.last_at(stride)).collect()
        }
    }
}

fn named(source: &Source, name: &str) -> Result<String> {
    let tensor = Source::tensor(name);
    if source.writer(&tensor).is_some() {
        return Ok(tensor);
    }
    let outputs = source.nodes.iter().flat_map(|node| &node.output).filter(|output| !output.is_empty());
    let mut near = outputs.map(|output| Source::original(output)).collect::<Vec<_>>();
    near.sort_by_key(|known| distance(name, known));
    near.truncate(8);
    Err(Error::usage(format!("{} has no tensor '{name}'", source.origin))
        .advise(format!("use auto, or tensor names such as: {}", near.join(", "))))
}

/// The number of edits between two names (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b = b.chars().collect::<Vec<_>>();
    let mut row = (0..=b.len()).collect::<Vec<_>>();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// What the taps turned out to be when the cut graph ran.
pub(super) fn measure(origin: &str, size: InputSize, tensors: &[String], outputs: &[Array3<f32>]) -> Result<Vec<Tap>> {
    let tap = |(tensor, output): (&String, &Array3<f32>)| {
        let (channels, height, width) = output.dim();
        let name = Source::original(tensor).to_owned();
        let grid = [height, width];
        let stride = stride(size, grid).filter(|_| channels >= 2).ok_or_else(|| {
            Error::usage(format!("{origin}: tensor {name} is {channels} x {height} x {width}: no feature grid"))
                .advise("take a tensor with at least 2 channels, whose grid is the image's size over a power of two")
        })?;
        if output.iter().any(|value| !value.is_finite()) {
            return Err(unusable(origin, format!("tensor {name} is not finite for a grey image: the file is damaged")));
        }
        Ok(Tap { name, tensor: tensor.clone(), channels, height, width, stride })
    };
    let taps = tensors.iter().zip(outputs).map(tap).collect::<Result<Vec<_>>>()?;
    divides(origin, size, &taps)?;
    Ok(taps)
}

/// Refuses a size that does not divide into every tap's stride. They are powers of two: the largest decides.
fn divides(origin: &str, size: InputSize, taps: &[Tap]) -> Result<()> {
    let Some(coarsest) = taps.iter().max_by_key(|tap| tap.stride) else { return Ok(()) };
    let (InputSize { width, height }, stride) = (size, coarsest.stride);
    if width.is_multiple_of(stride) && height.is_multiple_of(stride) {
        return Ok(());
    }
    // The nearest multiple of the stride, then the next one on the other side.
    let near = |pixels: usize| {
        let (down, up) = ((pixels / stride * stride).max(stride), pixels.next_multiple_of(stride));
        if up - pixels < pixels.abs_diff(down) { [up, down] } else { [down, up] }
    };
    let mut sizes = near(width).into_iter().zip(near(height)).map(|(w, h)| format!("{w} x {h}")).collect::<Vec<_>>();
    sizes.dedup();
    Err(Error::usage(format!(
        "{origin}: {width} x {height} pixels do not divide into the stride {stride} of tensor {}",
        coarsest.name
    ))
    .advise(format!("use {}", sizes.join(" or "))))
}

/// The power of two that the grid's step is nearest to, the same along both axes.
fn stride(size: InputSize, [height, width]: [usize; 2]) -> Option<usize> {
    let nearest = |pixels: usize, cells: usize| {
        let step = pixels as f64 / cells.max(1) as f64;
        let stride = step.log2().round().exp2();
        // Pooling without padding loses an edge cell or two: a 15-cell row of a 256-pixel image has stride 16.
        ((step / stride - 1.0).abs() < 0.25 && stride >= 1.0).then_some(stride as usize)
    };
    let along_height = nearest(size.height, height)?;
    (nearest(size.width, width)? == along_height).then_some(along_height)
}

/// The shapes of a classifier's tensors at one input size, where they can be told.
pub(super) struct Shapes<'s> {
    source: &'s Source,
    size: InputSize,
    /// `[channels, height, width]`
    pub known: HashMap<String, [usize; 3]>,
}

impl<'s> Shapes<'s> {
    pub fn infer(source: &'s Source, size: InputSize) -> Result<Self> {
        let graph = cut::cut(source, size, &Normalise::None, &admitted(source))?;
        let known = guarded(&source.origin, || {
            let parsed =
                tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true).parse(&graph, None)?;
            let mut model = parsed.model.with_input_fact(0, f32::fact([1, 3, size.height, size.width]).into())?;
            model.analyse(true)?;
            let shape = |(name, outlet): (String, OutletId)| {
                let shape = model.outlet_fact(outlet).ok()?.shape.as_concrete_finite().ok()??;
                match shape.as_slice() {
                    &[1, channels, height, width] => Some((name, [channels, height, width])),
                    _ => None,
                }
            };
            Ok(parsed.outlets_by_name.into_iter().filter_map(shape).collect())
        })?;
        Ok(Shapes { source, size, known })
    }

    /// The tensors that may be taken as features, in the file's order, with their strides.
    pub fn features(&self) -> impl DoubleEndedIterator<Item = (&'s str, usize)> {
        self.source.nodes.iter().filter(|node| is_feature(node)).filter_map(|node| {
            let output = node.output.first()?.as_str();
            Some((output, self.stride(output)?))
        })
    }

    /// The last tensor at `stride` that is not the start of the next stage.
    pub fn last_at(&self, wanted: usize) -> Result<String> {
        let scores = class_scores(self.source);
        let features = self.features().rev().filter(|(_, stride)| *stride == wanted).map(|(output, _)| output);
        let features = features.collect::<Vec<_>>();
        // A network without a head ends in a pooling, too: then what is pooled are its features.
        let last = features.iter().find(|output| !scores.contains(**output)).or(features.first()).copied();
        let last = last.ok_or_else(|| {
            Error::usage(format!("{}: no tensor has stride {wanted}", self.source.origin))
                .advise("name other strides (auto:8,16) or the tensors themselves")
        })?;
        Ok(self.before_rectifier(self.before_expansion(last)).to_owned())
    }

    fn stride(&self, tensor: &str) -> Option<usize> {
        let &[_, height, width] = self.known.get(tensor)?;
        stride(self.size, [height, width])
    }

    /// Inverted bottlenecks (MobileNetV2, EfficientNet) begin a stage with a 1x1 convolution that widens the last
    /// stage's output before the strided one: many more channels, no more content. The tensor before it is the feature.
    fn before_expansion<'t>(&self, tensor: &'t str) -> &'t str
    where
        's: 't,
    {
        let mut at = tensor;
        while let Some(node) = self.source.writer(at) {
            let Some(input) = node.input.first() else { break };
            match node.op_type.as_str() {
                "Relu" | "Clip" | "LeakyRelu" | "PRelu" | "HardSwish" | "BatchNormalization" => at = input,
                "Conv" if self.widens(input, at) => return input,
                _ => break,
            }
        }
        tensor
    }

    /// A normalizing flow cannot fit what a rectifier leaves: most channels are exactly 0 nearly everywhere, and no
    /// invertible map turns that into a Gaussian. What goes into the rectifier has the same content and a density.
    fn before_rectifier<'t>(&self, tensor: &'t str) -> &'t str
    where
        's: 't,
    {
        const PASSED: [&str; 4] = ["Relu", "Clip", "Dropout", "Identity"];
        let mut at = tensor;
        while let Some(node) = self.source.writer(at).filter(|node| PASSED.contains(&node.op_type.as_str())) {
            let Some(input) = node.input.first() else { break };
            at = input;
        }
        at
    }

    fn widens(&self, input: &str, output: &str) -> bool {
        match (self.known.get(input), self.known.get(output)) {
            (Some(before), Some(after)) => input != IMAGE && before[1..] == after[1..] && after[0] >= 2 * before[0],
            _ => false,
        }
    }
}

/// The tensors that can be computed with operators that a bundle may hold. A classifier's head often has others, and none
/// of them is a feature's ancestor.
fn admitted(source: &Source) -> Vec<String> {
    let mut known = source.constants.iter().map(|constant| constant.name.as_str()).collect::<HashSet<_>>();
    known.extend(["", IMAGE]);
    let mut tensors = Vec::new();
    for node in &source.nodes {
        let reachable = node.input.iter().all(|input| known.contains(input.as_str()));
        if reachable && opset::admits(source, node) {
            known.extend(node.output.iter().map(String::as_str));
            tensors.extend(node.output.iter().take(1).cloned());
        }
    }
    tensors
}

/// The tensors that a global pooling turns into the classifier's answer with no further layer of weights: they hold one
/// channel per ImageNet class (SqueezeNet), not features.
fn class_scores(source: &Source) -> HashSet<&str> {
    let (mut pooled, mut weighed) = (HashSet::new(), HashSet::new());
    for node in source.nodes.iter().rev() {
        let behind = |set: &HashSet<&str>| node.output.iter().any(|output| set.contains(output.as_str()));
        let inputs = || node.input.iter().map(String::as_str);
        if node.op_type == "GlobalAveragePool" || behind(&pooled) {
            pooled.extend(inputs());
        }
        if matches!(node.op_type.as_str(), "Conv" | "Gemm" | "MatMul") || behind(&weighed) {
            weighed.extend(inputs());
        }
    }
    pooled.difference(&weighed).copied().collect()
}

/// Whether a node's output may be taken as features: gates, shifted grids and views may not.
fn is_feature(node: &NodeProto) -> bool {
    const NO_FEATURES: [&str; 10] =
        ["Pad", "Sigmoid", "HardSigmoid", "Identity", "Dropout", "Cast", "Reshape", "Transpose", "Softmax", "Shape"];
    !NO_FEATURES.contains(&node.op_type.as_str())
}
