//! Our operators against tract's own, on the same graph.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::math::{add, max, min};
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, quantize_linear_u8};

use super::quantised::Whole;
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
    /// Of the code that was written last.
    scale: f32,
    /// Of the convolutions of codes.
    constants: HashMap<String, Constants>,
}

impl Chain {
    fn new(shape: [usize; 4]) -> Self {
        let mut model = TypedModel::default();
        let last = model.add_source("image", f32::fact(shape)).unwrap();
        Chain { model, last, scale: 0.0, constants: HashMap::new() }
    }

    fn name(&self) -> String {
        format!("n{}", self.model.nodes.len())
    }

    fn convolution(&self, outputs: usize, group: usize, kernel: usize, stride: usize) -> Conv {
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
        Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group, q_params: None }
    }

    fn convolve(&mut self, outputs: usize, group: usize, kernel: usize, stride: usize) {
        let conv = self.convolution(outputs, group, kernel, stride);
        let shape = [outputs, conv.pool_spec.input_channels / group, kernel, kernel];
        let weights = self.model.add_const(self.name(), numbers(&shape, self.model.nodes.len())).unwrap();
        let bias = self.model.add_const(self.name(), numbers(&[outputs], 7)).unwrap();
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

    /// Puts a code behind what came last, and gives the numbers that it stands for.
    fn code(&mut self, scale: f32, zero: u8) {
        let shape = self.model.outlet_fact(self.last).unwrap().shape.to_tvec();
        self.last =
            self.model.wire_node(self.name(), quantize_linear_u8(scale.recip(), zero), &[self.last]).unwrap()[0];
        let numbers = DequantizeLinearF32::new(scale, zero.into());
        self.last = self.model.wire_node(self.name(), numbers, &[self.last]).unwrap()[0];
        assert_eq!(self.model.outlet_fact(self.last).unwrap().shape.to_tvec(), shape);
        self.scale = scale;
    }

    /// Adds a constant that stands for whole numbers, as tract reads it.
    fn whole(&mut self, shape: &[usize], whole: &Whole) -> OutletId {
        let numbers = Tensor::from_shape(shape, &whole.numbers().collect::<Vec<_>>()).unwrap();
        self.model.add_const(self.name(), numbers).unwrap()
    }

    /// A convolution of codes, which has no code of its own yet.
    fn convolve_codes(&mut self, outputs: usize, group: usize, kernel: usize, stride: usize) {
        let conv = self.convolution(outputs, group, kernel, stride);
        let shape = [outputs, conv.pool_spec.input_channels / group, kernel, kernel];
        let inner = shape[1..].iter().product::<usize>();
        let weights = numbers(&shape, self.model.nodes.len());
        let weights = weights.to_plain_array_view::<f32>().unwrap().mapv(|weight| (127.0 * weight) as i32);
        let scale = |o: usize| (1.0 + o as f32 / 10.0) / (127.0 * (inner as f32).sqrt());
        let weights = Whole { values: weights.into_iter().collect(), scales: (0..outputs).map(scale).collect() };
        let bias = Whole {
            values: (0..outputs).map(|o| o as i32 * 37 - 100).collect(),
            scales: weights.scales.iter().map(|scale| self.scale * scale).collect(),
        };
        let inputs = [self.last, self.whole(&shape, &weights), self.whole(&[outputs], &bias)];
        let name = self.name();
        self.constants.insert(name.clone(), Constants { weights, bias });
        self.last = self.model.wire_node(name, conv, &inputs).unwrap()[0];
    }

    fn finish(mut self) -> TypedModel {
        self.model.select_output_outlets(&[self.last]).unwrap();
        self.model
    }

    /// The model, of which `outputs` are read, and the whole numbers of its convolutions.
    fn coded(mut self, outputs: &[OutletId]) -> (TypedModel, HashMap<String, Constants>) {
        self.model.select_output_outlets(outputs).unwrap();
        (self.model, self.constants)
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

fn machine(tier: Tier) -> Machine {
    Machine::new(tier, 1)
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
        convolutions::replace(&mut model, machine(tier)).unwrap();
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
    convolutions::replace(&mut model, machine(Tier::Portable)).unwrap();
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
        replace(&mut model, &HashMap::new(), machine(tier)).unwrap();
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

#[test]
fn flows_whose_results_are_joined_are_one_operator_each_too() {
    let bundle = demo::bundle().unwrap();
    let proto = parse_graph("the demo's model", &bundle.model).unwrap();
    let mut model = typed(&bundle.manifest, &proto).unwrap();
    let doubled = |model: &mut TypedModel, (i, output): (usize, OutletId)| {
        model.wire_node(format!("joined.{i}"), tract_onnx::tract_core::ops::math::add(), &[output, output]).unwrap()[0]
    };
    let outputs = model.outputs.clone().into_iter().enumerate();
    model.outputs = outputs.map(|output| doubled(&mut model, output)).collect();
    let before = operators(&model).len();
    replace(&mut model, &HashMap::new(), machine(Tier::Portable)).unwrap();
    let found = operators(&model);
    assert_eq!(found.iter().filter(|found| *found == "flow").count(), 3, "{found:?}");
    assert!(found.len() < before);
}

#[test]
fn threads_share_a_frame_and_give_the_same_bits() {
    let bundle = demo::bundle().unwrap();
    let proto = parse_graph("the demo's model", &bundle.model).unwrap();
    let InputSize { width, height } = bundle.manifest.input;
    let (coded, constants) = coded_backbone();
    let models = [
        (typed(&bundle.manifest, &proto).unwrap(), HashMap::new(), numbers(&[1, 3, height, width], 7)),
        (backbone(), HashMap::new(), numbers(&[1, 3, 37, 50], 8)),
        (coded, constants, numbers(&[1, 3, 37, 50], 9)),
    ];
    for tier in Tier::available() {
        for (model, constants, input) in &models {
            let of = |threads: usize| {
                let mut model = model.clone();
                replace(&mut model, constants, Machine { tier, threads, least_part: 1 }).unwrap();
                let shared = model.nodes.iter().filter(|node| parts(node) > 1).count();
                let outputs = Team::new(threads).unwrap().run(|| run(model, input));
                (shared, outputs.iter().map(|output| output.as_bytes().to_vec()).collect::<Vec<_>>())
            };
            let (shared, alone) = of(1);
            assert_eq!(shared, 0);
            for threads in [2, 3, 8] {
                let (shared, together) = of(threads);
                assert!(shared > 0 && together == alone, "{tier:?}: {threads} threads, {shared} layers are shared");
            }
        }
    }
}

fn parts(node: &TypedNode) -> usize {
    let floats = node.op_as::<operator::Operator<convolutions::Layer>>().map(|layer| layer.parts.len());
    let codes = node.op_as::<operator::Operator<quantised::Layer>>().map(|layer| layer.parts.len());
    floats.or(codes).unwrap_or(1)
}

/// [`backbone`] in 8 bits but for its last layer, with a sum of two tensors that others read, too.
fn coded_backbone() -> (TypedModel, HashMap<String, Constants>) {
    let mut chain = Chain::new([1, 3, 37, 50]);
    chain.code(2.0 / 255.0, 128);
    chain.convolve_codes(8, 1, 3, 2);
    chain.relu6();
    chain.code(3.0 / 255.0, 0);
    let (skipped, scale) = (chain.last, chain.scale);
    chain.convolve_codes(24, 1, 1, 1);
    chain.relu6();
    chain.code(3.0 / 255.0, 0);
    chain.convolve_codes(24, 24, 3, 1);
    chain.code(8.0 / 255.0, 100);
    chain.convolve_codes(8, 1, 1, 1);
    chain.code(6.0 / 255.0, 120);
    chain.add(skipped);
    chain.bound(max(), -0.5);
    chain.code(7.0 / 255.0, 60);
    let fine = chain.last;
    chain.scale = scale;
    chain.last = skipped;
    chain.convolve_codes(8, 1, 3, 1);
    chain.code(5.0 / 255.0, 110);
    let other = chain.last;
    chain.add(fine);
    chain.code(9.0 / 255.0, 90);
    chain.convolve(8, 8, 5, 2);
    let last = chain.last;
    chain.coded(&[fine, other, last])
}

#[test]
fn layers_in_8_bits_compute_in_8_bits_and_give_what_the_written_graph_says() {
    let input = numbers(&[1, 3, 37, 50], 1);
    let before = run(coded_backbone().0, &input);
    let mut first: Option<TVec<TValue>> = None;
    for tier in Tier::available() {
        let (mut model, constants) = coded_backbone();
        replace(&mut model, &constants, machine(tier)).unwrap();
        let mut found = operators(&model);
        found.sort();
        let coded = ["convolution 8-bit", "convolution 8-bit", "depthwise", "depthwise 8-bit"];
        let around = ["dequantise", "dequantise", "dequantise", "pointwise 8-bit", "pointwise 8-bit", "quantise"];
        let expected = coded.into_iter().chain(around).chain(["sum 8-bit"]).collect::<Vec<_>>();
        assert_eq!(found, expected, "{tier:?}");
        let outputs = run(model, &input);
        for ((ours, tracts), step) in outputs.iter().zip(&before).zip([7.0 / 255.0, 5.0 / 255.0]) {
            let (ours, tracts) =
                (ours.to_plain_array_view::<f32>().unwrap(), tracts.to_plain_array_view::<f32>().unwrap());
            let off = ours.iter().zip(&tracts).map(|(ours, tracts)| ((ours - tracts) / step).abs().round());
            let off = off.filter(|steps| *steps > 0.0).collect::<Vec<_>>();
            // A sum that lies halfway between two codes may become the one or the other.
            assert!(off.iter().all(|steps| *steps == 1.0) && off.len() * 50 < ours.len(), "{tier:?}: {off:?}");
            assert!(tracts.iter().any(|value| *value != tracts[[0, 0, 0, 0]]));
        }
        // What is behind a layer in floats may differ by rounding.
        let coded = |outputs: &TVec<TValue>| outputs[..2].iter().map(|o| o.clone().into_tensor()).collect::<Vec<_>>();
        assert!(first.as_ref().is_none_or(|first| coded(first) == coded(&outputs)), "{tier:?} differs from another");
        first = Some(outputs);
    }
}

#[test]
fn codes_that_do_not_fit_the_pattern_stay_in_floats() {
    // The convolution's own numbers are read beside their code; the bias is not in units of the products.
    let mut seen = Chain::new([1, 4, 9, 9]);
    seen.code(0.01, 128);
    seen.convolve_codes(16, 1, 3, 1);
    let plain = seen.last;
    seen.code(0.02, 128);
    let last = seen.last;
    let mut odd = Chain::new([1, 4, 9, 9]);
    odd.code(0.01, 128);
    odd.scale *= 1.25;
    odd.convolve_codes(16, 1, 3, 1);
    odd.code(0.02, 128);
    let odd_last = odd.last;
    // The constants of another convolution.
    let mut other = Chain::new([1, 4, 9, 9]);
    other.code(0.01, 128);
    other.convolve_codes(16, 1, 3, 1);
    other.constants.values_mut().for_each(|constants| constants.weights.values[5] += 1);
    other.code(0.02, 128);
    let other_last = other.last;
    let input = numbers(&[1, 4, 9, 9], 3);
    for (mut ours, constants) in [seen.coded(&[plain, last]), odd.coded(&[odd_last]), other.coded(&[other_last])] {
        let before = run(ours.clone(), &input);
        replace(&mut ours, &constants, machine(Tier::Portable)).unwrap();
        assert!(operators(&ours).contains(&"convolution".to_owned()), "{:?}", operators(&ours));
        for (ours, tracts) in run(ours, &input).iter().zip(&before) {
            assert!(largest_difference(ours, tracts) < 0.03);
        }
    }
}

#[test]
fn a_frame_on_which_a_layer_in_floats_fails_is_not_hidden_by_a_code() {
    let (mut model, constants) = coded_backbone();
    replace(&mut model, &constants, machine(Tier::Portable)).unwrap();
    let mut input = numbers(&[1, 3, 37, 50], 1);
    input.try_as_plain_ram_mut().unwrap().as_slice_mut::<f32>().unwrap()[100] = f32::NAN;
    let plan = model.into_optimized().unwrap().into_runnable().unwrap();
    let failed = plan.run(tvec!(input.into_tvalue())).unwrap_err();
    assert!(format!("{failed:#}").contains("not finite"), "{failed:#}");
}

#[test]
fn a_sum_that_no_kernel_adds_stays_tracts() {
    // One channel is a depthwise convolution; a value per channel is repeated over the positions.
    let mut single = Chain::new([1, 1, 9, 9]);
    let skipped = single.last;
    single.convolve(1, 1, 3, 1);
    single.add(skipped);
    let mut pooled = Chain::new([1, 4, 1, 1]);
    pooled.convolve(4, 1, 1, 1);
    let whole = pooled.model.add_const("whole", numbers(&[1, 4, 9, 9], 2)).unwrap();
    pooled.add(whole);
    for (chain, input) in [(single, numbers(&[1, 1, 9, 9], 3)), (pooled, numbers(&[1, 4, 1, 1], 3))] {
        let mut model = chain.finish();
        let before = run(model.clone(), &input);
        convolutions::replace(&mut model, machine(Tier::Portable)).unwrap();
        assert!(operators(&model).contains(&"Add".to_owned()), "{:?}", operators(&model));
        assert!(largest_difference(&run(model, &input)[0], &before[0]) < 1e-6);
    }
}
