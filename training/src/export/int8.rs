//! Weights as symmetric 8-bit integers with one scale per output channel.
//!
//! Runtimes turn them back into floats when they load the graph, so the file shrinks to about a quarter and the arithmetic
//! stays as it was.

use std::collections::HashMap;

use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};

use crate::onnx::{GraphWriter, floats, int, shape};

/// Tensors with fewer elements stay floats: a scale per channel would eat what they save.
const SMALLEST: usize = 512;

/// A matrix or kernel in 8 bits: `value = code * scale` of its channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantised {
    pub codes: Vec<i8>,
    pub scales: Vec<f32>,
}

/// Replaces the weights of convolutions and matrix products, and the position tables, by 8-bit integers.
pub(super) fn quantise_weights(mut model: ModelProto) -> ModelProto {
    let Some(graph) = &mut model.graph else { return model };
    let axes = weight_axes(&graph.node, &graph.initializer);
    let mut written = GraphWriter::default();
    for tensor in std::mem::take(&mut graph.initializer) {
        match axes.get(&tensor.name).zip(floats(&tensor)) {
            Some((&axis, values)) => write(&mut written, &tensor, axis, &values),
            None => written.constants.push(tensor),
        }
    }
    // The conversions read constants alone, so they may all stand in front.
    written.nodes.append(&mut graph.node);
    graph.node = written.nodes;
    graph.initializer = written.constants;
    model
}

fn write(graph: &mut GraphWriter, tensor: &TensorProto, axis: usize, values: &[f32]) {
    let shape = shape(tensor);
    let Quantised { codes, scales } = quantise(values, &shape, axis);
    let codes = graph.i8(format!("{}.int8", tensor.name), &shape, &codes);
    let zeros = graph.i8(format!("{}.zero", tensor.name), &[scales.len()], &vec![0; scales.len()]);
    let scales = graph.f32(format!("{}.scale", tensor.name), &[scales.len()], &scales);
    let attributes = vec![int("axis", axis as i64)];
    graph.op_with("DequantizeLinear", &[&codes, &scales, &zeros], tensor.name.clone(), attributes);
}

/// The weights that are worth it, each with the axis of its output channels.
fn weight_axes(nodes: &[NodeProto], constants: &[TensorProto]) -> HashMap<String, usize> {
    let sizes = constants.iter().map(|tensor| (tensor.name.as_str(), shape(tensor))).collect::<HashMap<_, _>>();
    let mut axes = HashMap::new();
    for node in nodes {
        let mut mark = |input: usize, axis: fn(rank: usize) -> usize| {
            let Some(name) = node.input.get(input) else { return };
            if let Some(shape) = sizes.get(name.as_str()).filter(|shape| shape.iter().product::<usize>() >= SMALLEST) {
                axes.insert(name.clone(), axis(shape.len()));
            }
        };
        match node.op_type.as_str() {
            "Conv" => mark(1, |_| 0),
            "MatMul" => mark(1, |rank| rank - 1),
            "Add" if node.input.iter().all(|input| sizes.contains_key(input.as_str())) => {
                mark(0, |rank| rank - 1);
                mark(1, |rank| rank - 1);
            }
            _ => {}
        }
    }
    axes
}

/// Codes and scales of `values`, with one scale for each index along `axis`: the largest magnitude becomes 127.
pub(super) fn quantise(values: &[f32], shape: &[usize], axis: usize) -> Quantised {
    let inner = shape[axis + 1..].iter().product::<usize>();
    let channel = |i: usize| i / inner % shape[axis];
    let mut largest = vec![0f32; shape[axis]];
    for (i, value) in values.iter().enumerate() {
        let most = &mut largest[channel(i)];
        *most = most.max(value.abs());
    }
    // A channel of zeros has any scale; so small a channel that its scale is no normal number is one, too.
    let scales = largest.iter().map(|&most| most / 127.0).map(|s| if s.is_normal() { s } else { 1.0 });
    let scales = scales.collect::<Vec<_>>();
    let codes = values.iter().enumerate().map(|(i, value)| (value / scales[channel(i)]).round() as i8).collect();
    Quantised { codes, scales }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::Random;

    #[test]
    fn every_value_comes_back_within_half_a_step_of_its_channel() {
        for (shape, axis) in [(vec![8, 3, 3, 3], 0), (vec![16, 1, 3, 3], 0), (vec![24, 10], 1), (vec![1, 6, 5], 2)] {
            let mut random = Random::new(5);
            let count = shape.iter().product::<usize>();
            let inner = shape[axis + 1..].iter().product::<usize>();
            // Channels of very different size: a scale per tensor would lose the small ones.
            let values = (0..count).map(|i| random.normal() * 10f32.powi(-((i / inner % shape[axis]) as i32 % 4)));
            let values = values.collect::<Vec<_>>();
            let Quantised { codes, scales } = quantise(&values, &shape, axis);
            assert_eq!(scales.len(), shape[axis]);
            for (i, (value, code)) in values.iter().zip(&codes).enumerate() {
                let scale = scales[i / inner % shape[axis]];
                let error = (value - f32::from(*code) * scale).abs();
                assert!(error <= 0.5001 * scale, "{value} became {code} x {scale}");
                assert!(*code >= -127);
            }
        }
    }

    #[test]
    fn channels_of_nothing_stay_nothing() {
        let values = [0.0, 1e-44, 0.0, -127.0];
        let Quantised { codes, scales } = quantise(&values, &[2, 2], 1);
        assert_eq!(codes, [0, 0, 0, -127]);
        assert_eq!(scales[1], 1.0);
        assert!(scales[0].is_normal());
    }
}
