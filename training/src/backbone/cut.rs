//! The part of a network that some of its tensors need.

use std::collections::HashSet;

use hgad::Result;
use hgad::bundle::InputSize;
use tract_onnx::pb::{ModelProto, NodeProto};

use super::source::{Layout, Source};
use super::{IMAGE, Normalise, Tap, opset};
use crate::onnx::{GraphWriter, OPSET, float_value, ints};

/// The ancestors of `tensors` behind `normalise`, with `tensors` as outputs whose shapes are not yet declared.
///
/// # Errors
///
/// Operators of an old set that mean something else today.
pub(crate) fn cut(source: &Source, size: InputSize, normalise: &Normalise, tensors: &[String]) -> Result<ModelProto> {
    let mut graph = GraphWriter::default();
    let mut normalised = normalise.write(&mut graph);
    if source.input.layout == Layout::ChannelsLast {
        let last = vec![ints("perm", &[0, 2, 3, 1])];
        normalised = graph.op_with("Transpose", &[&normalised], "normalise/channels_last", last);
    }
    let (nodes, needed) = ancestors(source, tensors);
    let mut nodes = opset::upgraded(source, nodes.into_iter().cloned().collect(), &mut graph)?;
    for input in nodes.iter_mut().flat_map(|node| &mut node.input).filter(|input| *input == IMAGE) {
        input.clone_from(&normalised);
    }
    graph.nodes.append(&mut nodes);
    graph.constants.extend(source.constants.iter().filter(|constant| needed.contains(constant.name.as_str())).cloned());
    let image = float_value(IMAGE, &[1, 3, size.height, size.width]);
    let outputs = tensors.iter().map(|tensor| float_value(tensor, &[])).collect();
    Ok(graph.finish(source.opset.max(OPSET), vec![image], outputs))
}

/// Declares the shapes of the outputs, which are known once the graph has run.
pub(super) fn declare_outputs(graph: &mut ModelProto, taps: &[Tap]) {
    if let Some(graph) = &mut graph.graph {
        graph.output =
            taps.iter().map(|tap| float_value(&tap.tensor, &[1, tap.channels, tap.height, tap.width])).collect();
    }
}

/// The nodes that `tensors` depend on, in the file's order, and the names of all tensors that these read.
pub(super) fn ancestors<'s>(source: &'s Source, tensors: &'s [String]) -> (Vec<&'s NodeProto>, HashSet<&'s str>) {
    let mut needed = tensors.iter().map(String::as_str).collect::<HashSet<_>>();
    let mut open = tensors.iter().map(String::as_str).collect::<Vec<_>>();
    while let Some(tensor) = open.pop() {
        let inputs = source.writer(tensor).into_iter().flat_map(|node| &node.input);
        open.extend(inputs.map(String::as_str).filter(|input| !input.is_empty() && needed.insert(input)));
    }
    let wanted = |node: &&NodeProto| node.output.iter().any(|output| needed.contains(output.as_str()));
    (source.nodes.iter().filter(wanted).collect(), needed)
}
