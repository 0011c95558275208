//! Our operators against tract's own, on the same graph.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::math::{add, max, min};
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::*;
use crate::bundle::InputSize;
use crate::demo;

/// Numbers between -1 and 1 that repeat only after a long while.
fn numbers(shape: &[usize], seed: usize) -> Tensor {
    let count = shape.iter().product::<usize>();
    let value = |i: usize| ((i + seed).wrapping_mul(2_654_435_761) % 20_011) as f32 / 10_005.0 - 1.0;
    Tensor::from_shape(shape, &(0..count).map(value).collect::<Vec<_>>()).unwrap()
}

/// A graph in the making, one operator behind the other.
struct Chain {
    model: TypedModel,
    last: OutletId,
}

impl Chain {
    fn new(shape: [usize; 4]) -> Self {
        let mut model = TypedModel::default();
        let last = model.add_source("image", f32::fact(shape)).unwrap();
        Chain { model, last }
    }

    fn name(&self) -> String {
        format!("n{}", self.model.nodes.len())
    }

    fn convolve(&mut self, outputs: usize, group: usize, kernel: usize, stride: usize) {
        let inputs = self.model.outlet_fact(self.last).unwrap().shape.as_concrete().unwrap()[1];
        let pad = kernel / 2;
        let pool_spec = PoolSpec {
            data_format: DataFormat::NCHW,
            kernel_shape: tvec!(kernel, kernel),
            padding: PaddingSpec::Explicit(tvec!(pad, pad), tvec!(pad, pad)),
            dilations: None,
            strides: Some(tvec!(stride, stride)),
            input_channels: inputs,
            output_channels: outputs,
        };
        let weights = numbers(&[outputs, inputs / group, kernel, kernel], self.model.nodes.len());
        let weights = self.model.add_const(self.name(), weights).unwrap();
        let bias = self.model.add_const(self.name(), numbers(&[outputs], 7)).unwrap();
        let conv = Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group, q_params: None };
        self.last = self.model.wire_node(self.name(), conv, &[self.last, weights, bias]).unwrap()[0];
    }

    fn bound(&mut self, operator: TypedBinOp, bound: f32) {
        let bound = self.model.add_const(self.name(), Tensor::from_shape(&[1, 1, 1, 1], &[bound]).unwrap()).unwrap();
        self.last = self.model.wire_node(self.name(), operator, &[self.last, bound]).unwrap()[0];
    }

    fn relu6(&mut self) {
        self.bound(max(), 0.0);
        self.bound(min(), 6.0);
    }

    fn add(&mut self, other: OutletId) {
        self.last = self.model.wire_node(self.name(), add(), &[other, self.last]).unwrap()[0];
    }

    fn finish(mut self) -> TypedModel {
        self.model.select_output_outlets(&[self.last]).unwrap();
        self.model
    }
}

/// The block of a MobileNetV2 with a skip connection, between a first layer and a 5x5 one.
fn backbone() -> TypedModel {
    let mut chain = Chain::new([1, 3, 37, 50]);
    chain.convolve(8, 1, 3, 2);
    chain.relu6();
    let skipped = chain.last;
    chain.convolve(24, 1, 1, 1);
    chain.relu6();
    chain.convolve(24, 24, 3, 1);
    chain.relu6();
    chain.convolve(8, 1, 1, 1);
    chain.add(skipped);
    chain.convolve(8, 8, 5, 2);
    chain.bound(max(), -0.5);
    chain.finish()
}

fn run(model: TypedModel, input: &Tensor) -> TVec<TValue> {
    model.into_optimized().unwrap().into_runnable().unwrap().run(tvec!(input.clone().into_tvalue())).unwrap()
}

fn largest_difference(a: &TValue, b: &TValue) -> f32 {
    assert_eq!(a.shape(), b.shape());
    let (a, b) = (a.to_plain_array_view::<f32>().unwrap(), b.to_plain_array_view::<f32>().unwrap());
    let largest = b.iter().fold(1.0, |most: f32, value| most.max(value.abs()));
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

fn operators(model: &TypedModel) -> Vec<String> {
    let computing = model.nodes.iter().filter(|node| !node.inputs.is_empty() && node.op_as::<AxisOp>().is_none());
    computing.map(|node| node.op.name().into_owned()).collect()
}

#[test]
fn convolutions_with_clamps_and_skips_are_one_operator_each_and_give_what_tract_gives() {
    let input = numbers(&[1, 3, 37, 50], 1);
    let before = run(backbone(), &input);
    for tier in Tier::available() {
        let mut model = backbone();
        convolutions::replace(&mut model, tier).unwrap();
        let kinds = ["convolution", "pointwise", "depthwise", "pointwise", "depthwise"];
        assert_eq!(operators(&model), kinds, "{tier:?}");
        let difference = largest_difference(&run(model, &input)[0], &before[0]);
        assert!(difference < 1e-6, "{tier:?}: {difference}");
    }
}

#[test]
fn what_others_read_too_is_not_swallowed() {
    // The convolution's own values are an output beside the clamped ones.
    let mut chain = Chain::new([1, 4, 9, 9]);
    chain.convolve(4, 1, 3, 1);
    let plain = chain.last;
    chain.relu6();
    let last = chain.last;
    let mut model = chain.finish();
    model.select_output_outlets(&[plain, last]).unwrap();
    let input = numbers(&[1, 4, 9, 9], 3);
    let before = run(model.clone(), &input);
    convolutions::replace(&mut model, Tier::Portable).unwrap();
    assert_eq!(operators(&model), ["convolution", "Max", "Min"]);
    for (ours, tracts) in run(model, &input).iter().zip(&before) {
        assert!(largest_difference(ours, tracts) < 1e-6);
    }
}

#[test]
fn a_bundle_s_flows_are_one_operator_each_and_give_what_tract_gives() {
    let bundle = demo::bundle().unwrap();
    let proto = parse_graph("the demo's model", &bundle.model).unwrap();
    let InputSize { width, height } = bundle.manifest.input;
    let input = numbers(&[1, 3, height, width], 5);
    let before = run(typed(&bundle.manifest, &proto).unwrap(), &input);
    for tier in Tier::available() {
        let mut model = typed(&bundle.manifest, &proto).unwrap();
        replace(&mut model, tier).unwrap();
        let found = operators(&model);
        let count = |name: &str| found.iter().filter(|found| *found == name).count();
        let left = count("Conv") + count("EinSum") + count("Exp");
        assert_eq!((count("flow"), count("convolution"), left), (3, 7, 0), "{tier:?}: {found:?}");
        for (ours, tracts) in run(model, &input).iter().zip(&before) {
            let difference = largest_difference(ours, tracts);
            assert!(difference < 1e-4, "{tier:?}: {difference}");
        }
    }
}
