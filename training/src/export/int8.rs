//! Weights as symmetric 8-bit integers with one scale per output channel.
//!
//! Runtimes turn them back into floats when they load the graph, so the file shrinks to about a third and the arithmetic
//! stays as it was.
//!
//! Two kinds of weights take two codes, the second for what the first leaves, since with one code they are nearly the whole
//! error of the latents: the matrices that mix a block's channels, because the latents themselves go through all of them one
//! after the other; and the small kernels of the backbone, because they stand early, and few bytes make them exact.

use std::collections::HashMap;

use hgad::{Error, Result};
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};

use super::graph::MIX_WEIGHTS;
use super::join::COLUMNS;
use crate::onnx::{GraphWriter, floats, int, shape};

/// Tensors with fewer elements stay floats: a scale per channel would eat what they save.
const SMALLEST: usize = 512;

/// Kernels with fewer elements take two codes.
const SMALL_KERNEL: usize = 1 << 15;

/// What the first code leaves is left alone where it is less than this share of the values.
const NEGLIGIBLE: f32 = 1e-4;

/// A matrix or kernel in 8 bits: `value = code * scale` of its channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quantised {
    pub codes: Vec<i8>,
    pub scales: Vec<f32>,
}

impl Quantised {
    /// What the codes leave of `values`.
    fn rest(&self, values: &[f32], shape: &[usize], axis: usize) -> Vec<f32> {
        let inner = shape[axis + 1..].iter().product::<usize>();
        let coded =
            self.codes.iter().enumerate().map(|(i, code)| f32::from(*code) * self.scales[i / inner % shape[axis]]);
        values.iter().zip(coded).map(|(value, coded)| value - coded).collect()
    }
}

/// A tensor of weights that is stored in 8 bits.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredWeights {
    /// Its name in the graph.
    pub tensor: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// 8-bit codes for each of its values: 1 or 2.
    pub codes: usize,
    /// Power of the values over that of what storing them changes, in decibels.
    pub sqnr: f64,
}

/// Replaces the weights of convolutions and matrix products, and the position tables, by 8-bit integers. What joins levels stays in floats.
///
/// # Errors
///
/// One of the weights is not finite.
pub(crate) fn quantise_weights(mut model: ModelProto) -> Result<(ModelProto, Vec<StoredWeights>)> {
    let mut stored = Vec::new();
    let Some(graph) = &mut model.graph else { return Ok((model, stored)) };
    let codings = codings(&graph.node, &graph.initializer);
    let mut written = GraphWriter::default();
    for tensor in std::mem::take(&mut graph.initializer) {
        match codings.get(&tensor.name).zip(floats(&tensor)) {
            Some((&coding, values)) => stored.push(write(&mut written, &tensor, coding, &values)?),
            None => written.constants.push(tensor),
        }
    }
    // The conversions read constants alone, so they may all stand in front.
    written.nodes.append(&mut graph.node);
    graph.node = written.nodes;
    graph.initializer = written.constants;
    Ok((model, stored))
}

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Coding {
    /// The axis of its output channels.
    axis: usize,
    /// Whether a second code holds what the first leaves.
    twice: bool,
}

fn write(
    graph: &mut GraphWriter,
    tensor: &TensorProto,
    Coding { axis, twice }: Coding,
    values: &[f32],
) -> Result<StoredWeights> {
    let (name, shape) = (&tensor.name, shape(tensor));
    if !values.iter().all(|value| value.is_finite()) {
        return Err(Error::usage(format!("the weights {name} cannot be stored in 8 bits"))
            .because("they are not all finite")
            .advise("check the backbone: such a network computes nothing"));
    }
    let told = |codes: usize, rest: &[f32]| {
        let sqnr = 20.0 * (f64::from(norm(values)) / f64::from(norm(rest))).log10();
        StoredWeights { tensor: name.clone(), shape: shape.clone(), codes, sqnr }
    };
    let coded = quantise(values, &shape, axis);
    let rest = coded.rest(values, &shape, axis);
    // A classifier that was itself trained in 8 bits loses nothing by the first code.
    if !twice || norm(&rest) < NEGLIGIBLE * norm(values) {
        dequantised(graph, name, &coded, &shape, axis);
        return Ok(told(1, &rest));
    }
    let second = quantise(&rest, &shape, axis);
    let coarse = dequantised(graph, &format!("{name}.coarse"), &coded, &shape, axis);
    let fine = dequantised(graph, &format!("{name}.fine"), &second, &shape, axis);
    graph.op("Add", &[&coarse, &fine], name.clone());
    Ok(told(2, &second.rest(&rest, &shape, axis)))
}

/// Writes codes, scales and zeros, and the node that makes the tensor `name` of them.
fn dequantised(graph: &mut GraphWriter, name: &str, coded: &Quantised, shape: &[usize], axis: usize) -> String {
    let channels = coded.scales.len();
    let codes = graph.i8(format!("{name}.int8"), shape, &coded.codes);
    let zeros = graph.i8(format!("{name}.zero"), &[channels], &vec![0; channels]);
    let scales = graph.f32(format!("{name}.scale"), &[channels], &coded.scales);
    graph.op_with("DequantizeLinear", &[&codes, &scales, &zeros], name, vec![int("axis", axis as i64)])
}

/// The weights that are worth it.
fn codings(nodes: &[NodeProto], constants: &[TensorProto]) -> HashMap<String, Coding> {
    let shapes = constants.iter().map(|tensor| (tensor.name.as_str(), shape(tensor))).collect::<HashMap<_, _>>();
    let mut codings = HashMap::new();
    for node in nodes {
        let mut mark = |input: usize, coding: fn(name: &str, shape: &[usize]) -> Coding| {
            let Some(name) = node.input.get(input).filter(|name| !name.ends_with(COLUMNS)) else { return };
            if let Some(shape) = shapes.get(name.as_str()).filter(|shape| elements(shape) >= SMALLEST) {
                codings.insert(name.clone(), coding(name, shape));
            }
        };
        match node.op_type.as_str() {
            "Conv" => mark(1, |_, shape| Coding { axis: 0, twice: elements(shape) < SMALL_KERNEL }),
            "MatMul" => mark(1, |name, shape| Coding { axis: shape.len() - 1, twice: name.ends_with(MIX_WEIGHTS) }),
            "Add" if node.input.iter().all(|input| shapes.contains_key(input.as_str())) => {
                for table in 0..2 {
                    mark(table, |_, shape| Coding { axis: shape.len() - 1, twice: false });
                }
            }
            _ => {}
        }
    }
    codings
}

fn norm(values: &[f32]) -> f32 {
    values.iter().map(|value| value * value).sum::<f32>().sqrt()
}

fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Codes and scales of `values`, which must be finite, with one scale for each index along `axis`: the largest magnitude becomes 127.
pub(crate) fn quantise(values: &[f32], shape: &[usize], axis: usize) -> Quantised {
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
    fn a_second_code_holds_what_the_first_leaves() {
        let mut random = Random::new(6);
        let values = (0..40 * 24).map(|_| random.normal()).collect::<Vec<_>>();
        let shape = [40, 24];
        let coarse = quantise(&values, &shape, 1);
        let rest = coarse.rest(&values, &shape, 1);
        let left = quantise(&rest, &shape, 1).rest(&rest, &shape, 1);
        assert!(norm(&rest) < 0.02 * norm(&values) && norm(&left) < 1e-4 * norm(&values));
    }

    #[test]
    fn weights_that_are_not_finite_are_refused() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let model = |weight: f32| {
                let mut weights = vec![0.5; SMALLEST];
                weights[7] = weight;
                let mut graph = GraphWriter::default();
                graph.f32("w", &[SMALLEST / 8, 8], &weights);
                graph.op("MatMul", &["x", "w"], "y");
                graph.finish(13, vec![], vec![])
            };
            let (_, stored) = quantise_weights(model(0.25)).unwrap();
            assert_eq!((stored[0].tensor.as_str(), stored[0].codes), ("w", 1));
            // All but one of its values are exact.
            assert!((45.0..200.0).contains(&stored[0].sqnr), "{stored:?}");
            let report = quantise_weights(model(value)).unwrap_err().report();
            assert!(report.contains("the weights w ") && report.contains("not all finite"), "{report}");
        }
    }

    #[test]
    fn what_joins_levels_stays_in_floats() {
        let mut graph = GraphWriter::default();
        for name in ["level.0.z.columns", "level.0/a.weights"] {
            graph.f32(name, &[32, SMALLEST / 32], &vec![0.3; SMALLEST]);
            graph.op("MatMul", &["x", name], format!("of {name}"));
        }
        let (model, stored) = quantise_weights(graph.finish(13, vec![], vec![])).unwrap();
        assert_eq!(stored.iter().map(|stored| stored.tensor.as_str()).collect::<Vec<_>>(), ["level.0/a.weights"]);
        let kept = model.graph.unwrap().initializer.into_iter().find(|tensor| tensor.name == "level.0.z.columns");
        assert_eq!(floats(&kept.unwrap()), Some(vec![0.3; SMALLEST]));
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
