//! The graph with pairs of `QuantizeLinear` and `DequantizeLinear` around what is computed in 8 bits.
//!
//! `docs/bundle.md` promises the pattern; runtimes that compute in whole numbers look for exactly it.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{ModelProto, NodeProto};

use super::code::Code;
use super::layers::{Kind, Layer};
use super::network::{Coded, Int8, Int8Conv};
use crate::onnx::{GraphWriter, int};

/// `model` with the coded layers in 8 bits. Flows and layers in floats stay as they are.
pub(super) fn write(model: &ModelProto, coded: &Coded) -> ModelProto {
    let mut model = model.clone();
    let Some(graph) = &mut model.graph else { return model };
    let layers = &coded.network.layers.layers;
    let int8 = |l: usize| coded.layers[l].as_ref();
    let (mut first, mut last) = (HashMap::new(), HashMap::new());
    for (l, layer) in layers.iter().enumerate() {
        first.insert(layer.nodes[0].output[0].as_str(), l);
        last.insert(layer.output.as_str(), l);
    }
    let inside = layers.iter().enumerate().filter(|(l, _)| int8(*l).is_some()).flat_map(|(_, layer)| &layer.nodes);
    let inside = inside.map(|node| node.output[0].as_str()).collect::<HashSet<_>>();

    let mut writer = Writer { coded, graph: GraphWriter::default(), values: HashMap::new() };
    writer.code(0, false);
    for node in std::mem::take(&mut graph.node) {
        let output = node.output[0].as_str();
        match first.get(output).and_then(|&l| Some((l, int8(l)?))) {
            Some((l, computed)) => {
                writer.int8(l, &layers[l], computed);
                writer.code(l + 1, true);
            }
            None if inside.contains(output) => {}
            None => {
                writer.float(&node);
                if let Some(&l) = last.get(output) {
                    writer.code(l + 1, false);
                }
            }
        }
    }
    let outputs = graph.output.iter().map(|output| output.name.clone()).collect();
    graph.node = needed(writer.graph.nodes, outputs);
    let read = graph.node.iter().flat_map(|node| &node.input).collect::<HashSet<_>>();
    graph.initializer.append(&mut writer.graph.constants);
    graph.initializer.retain(|tensor| read.contains(&tensor.name));
    model
}

/// The nodes that `outputs` depend on: weights in floats are read no more where they are stored as whole numbers.
fn needed(nodes: Vec<NodeProto>, mut wanted: HashSet<String>) -> Vec<NodeProto> {
    let mut kept = Vec::new();
    for node in nodes.into_iter().rev() {
        if node.output.iter().any(|output| wanted.contains(output)) {
            wanted.extend(node.input.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    kept
}

struct Writer<'c> {
    coded: &'c Coded<'c>,
    graph: GraphWriter,
    /// Tensors of which readers in floats see the code's value, and what that is called.
    values: HashMap<String, String>,
}

impl Writer<'_> {
    /// Writes a tensor's code and the code's value, if it has one. `by_int8`: readers in floats see it, too.
    fn code(&mut self, tensor: usize, by_int8: bool) {
        let Some(Code { scale, zero }) = self.coded.codes[tensor] else { return };
        let name = self.coded.network.layers.tensor(tensor).to_owned();
        let scale = self.graph.f32(format!("{name}.scale"), &[], &[scale]);
        let zero = self.graph.u8(format!("{name}.zero"), &[], &[zero]);
        let codes = self.graph.op("QuantizeLinear", &[&name, &scale, &zero], format!("{name}.quantised"));
        let value = self.graph.op("DequantizeLinear", &[&codes, &scale, &zero], dequantised(&name));
        if by_int8 {
            self.values.insert(name, value);
        }
    }

    /// Copies a node that computes in floats.
    fn float(&mut self, node: &NodeProto) {
        let mut node = node.clone();
        for input in &mut node.input {
            if let Some(value) = self.values.get(input) {
                input.clone_from(value);
            }
        }
        self.graph.nodes.push(node);
    }

    /// Writes a layer between the codes that it reads and the one that it writes.
    fn int8(&mut self, l: usize, layer: &Layer, computed: &Int8) {
        let mut node = layer.nodes[0].clone();
        let inputs = layer.inputs.iter().map(|&t| dequantised(self.coded.network.layers.tensor(t)));
        match computed {
            Int8::Conv(conv) => {
                let weights = self.weights(layer, conv);
                let bias = self.bias(&layer.output, layer.inputs[0], conv);
                node.input = inputs.chain([weights, bias]).collect();
            }
            Int8::Add => node.input = inputs.collect(),
        }
        let cut = match &layer.kind {
            Kind::Conv(conv) => conv.bounds,
            Kind::Add { bounds } => *bounds,
            Kind::Other => (f32::NEG_INFINITY, f32::INFINITY),
        };
        // Codes saturate at the ends of their range: where that lies within the activation's, the activation changes nothing.
        let saturates = self.coded.codes[l + 1].is_some_and(|code| {
            let ((low, high), half) = (code.range(), 0.5 * code.scale);
            low >= cut.0 && high <= cut.1 + 1e-3 * half
        });
        if saturates || layer.nodes.len() == 1 {
            node.output = vec![layer.output.clone()];
            node.name.clone_from(&layer.output);
            self.graph.nodes.push(node);
        } else {
            self.graph.nodes.push(node);
            self.graph.nodes.extend(layer.nodes[1..].iter().cloned());
        }
    }

    /// Writes one code per weight and one scale per output channel, named after the layer: two layers may share a kernel in
    /// floats.
    fn weights(&mut self, layer: &Layer, conv: &Int8Conv) -> String {
        let (name, channels) = (format!("{}.weights", layer.output), conv.scales.len());
        let codes = self.graph.i8(format!("{name}.int8"), &conv.shape, &conv.weights);
        let scales = self.graph.f32(format!("{name}.scale"), &[channels], &conv.scales);
        let zeros = self.graph.i8(format!("{name}.zero"), &[channels], &vec![0; channels]);
        self.graph.op_with("DequantizeLinear", &[&codes, &scales, &zeros], name, vec![int("axis", 0)])
    }

    /// Writes a bias in units of what the sums of products are in.
    fn bias(&mut self, output: &str, input: usize, conv: &Int8Conv) -> String {
        let unit = self.coded.codes[input].map_or(1.0, |code| code.scale);
        let name = format!("{output}.bias");
        let codes = self.graph.i32(format!("{name}.int32"), &[conv.bias.len()], &conv.bias);
        let scales = conv.scales.iter().map(|scale| unit * scale).collect::<Vec<_>>();
        let scales = self.graph.f32(format!("{name}.scale"), &[scales.len()], &scales);
        // Without a zero point: for int32 the standard has none but 0.
        self.graph.op_with("DequantizeLinear", &[&codes, &scales], name, vec![int("axis", 0)])
    }
}

fn dequantised(tensor: &str) -> String {
    format!("{tensor}.dequantised")
}
