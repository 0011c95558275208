//! Layers in 8-bit numbers by our own kernels, inside tract's graph.
//!
//! A quantised network is written as layers in floats between `DequantizeLinear` and `QuantizeLinear`, and tract computes it so: slower
//! than the network in floats. [`replace`] puts one [`Operator`] that computes in whole numbers in the place of each layer with its
//! codes around it. The pattern is the one of `docs/bundle.md`, "Arithmetic in 8 bits"; a layer that does not fit it stays in floats.

use std::collections::HashMap;
use std::ops::Range;

use hgad_kernels::quantized::{
    Addition, Convolution, Depthwise, Output, Pointwise, Quantization, Sum, Weights, dequantize, quantize,
};
use hgad_kernels::{Clamp, Scratch, Tier};
use tract_onnx::data_resolver::FopenDataResolver;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};
use tract_onnx::tensor::load_tensor;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::Conv;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearU8};

use super::convolutions::{Form, Shape, constant, follower, narrowed};
use super::operator::{Kernel, Machine, Operator, Part};

/// Replaces layers in 8 bits, and what is left of codes around layers in floats. Constants have been folded.
pub(super) fn replace(
    model: &mut TypedModel,
    constants: &HashMap<String, Constants>,
    machine: Machine,
) -> TractResult<()> {
    let tier = machine.tier;
    // Convolutions before sums, for they take the sum behind them along.
    each_node(model, |model, id| codes(model, id, tier))?;
    each_node(model, |model, id| match constants.get(&model.node(id).name) {
        Some(constants) => convolution(model, id, constants, machine),
        None => Ok(None),
    })?;
    each_node(model, |model, id| addition(model, id, tier))?;
    each_node(model, |model, id| numbers(model, id, tier))
}

fn each_node(
    model: &mut TypedModel,
    found: impl Fn(&TypedModel, usize) -> TractResult<Option<TypedModelPatch>>,
) -> TractResult<()> {
    for id in 0..model.nodes.len() {
        if let Some(patch) = found(model, id)? {
            patch.apply(model)?;
        }
    }
    model.compact()
}

/// The patch for node `id`, if that is a convolution of codes.
fn convolution(
    model: &TypedModel,
    id: usize,
    constants: &Constants,
    machine: Machine,
) -> TractResult<Option<TypedModelPatch>> {
    let node = model.node(id);
    let Some(shape) = node.op_as::<Conv>().map(|conv| Shape::of(model, node, conv)).transpose()?.flatten() else {
        return Ok(None);
    };
    let Some((image, input)) = coded(model, node.inputs[0])? else { return Ok(None) };
    let Some(own) = Coding::behind(model, id.into())? else { return Ok(None) };
    if !constants.are_of(model, node, input)? {
        return Ok(None);
    }

    let mut output = Output { quantization: own.code, clamp: own.clamp, sum: None };
    let (mut inputs, mut last) = (tvec!(image), own.codes);
    if let Some((residual, sum, codes)) = sum_behind(model, own.codes)? {
        output.sum = Some(sum);
        inputs.push(residual);
        last = codes;
    }
    let layer = |channels| Layer::convolution(machine.tier, &shape, channels, constants, input, output);
    match shape.parts(machine, layer) {
        Ok(parts) => patch(model, shape.multiply_adds()?, &inputs, last, |_| parts).map(Some),
        Err(error) => {
            log::debug!("{} stays in floats: {error}", node.name);
            Ok(None)
        }
    }
}

/// The patch for node `id`, if that is a sum of codes.
fn addition(model: &TypedModel, id: usize, tier: Tier) -> TractResult<Option<TypedModelPatch>> {
    let node = model.node(id);
    let Some([left, right]) = summands(model, node)? else { return Ok(None) };
    let Some(Coding { clamp, code, codes }) = Coding::behind(model, id.into())? else { return Ok(None) };
    match Addition::new(tier, (left.1, right.1), code, clamp) {
        Ok(layer) => {
            patch(model, 0, &[left.0, right.0], codes, |elements| whole(Layer::Sum(layer), elements)).map(Some)
        }
        Err(error) => {
            log::debug!("{} stays in floats: {error}", node.name);
            Ok(None)
        }
    }
}

/// The patch for node `id`, if that makes codes of numbers: tract does so one by one, and multiplies where the standard divides.
/// It keeps the inverse of the scale alone; the scale is that of the numbers made of the codes again.
fn codes(model: &TypedModel, id: usize, tier: Tier) -> TractResult<Option<TypedModelPatch>> {
    let node = model.node(id);
    let Some(operator) = node.op_as::<ElementWiseOp>().and_then(|op| op.0.downcast_ref::<QuantizeLinearU8>()) else {
        return Ok(None);
    };
    let readers = model.outlet_successors(id.into());
    let codes = readers.iter().map(|reader| coded(model, reader.node.into())).collect::<TractResult<Vec<_>>>()?;
    let Some((_, code)) = codes.first().copied().flatten() else { return Ok(None) };
    let agreed = codes.iter().all(|other| other.is_some_and(|(_, other)| other == code));
    let same = code.scale.recip() == operator.scale && code.zero == operator.zero_point;
    let floats = model.outlet_fact(node.inputs[0])?.datum_type == f32::datum_type();
    let quantise = || patch(model, 0, &node.inputs, id.into(), |elements| whole(Quantise { tier, code }, elements));
    (agreed && same && floats).then(quantise).transpose()
}

/// The patch for node `id`, if that makes numbers of codes: tract does so one by one.
fn numbers(model: &TypedModel, id: usize, tier: Tier) -> TractResult<Option<TypedModelPatch>> {
    let Some((codes, code)) = coded(model, id.into())? else { return Ok(None) };
    patch(model, 0, &[codes], id.into(), |elements| whole(Dequantise { tier, code }, elements)).map(Some)
}

/// One kernel that reads as many elements as it writes.
fn whole<K>(kernel: K, elements: usize) -> Vec<Part<K>> {
    vec![Part { kernel, image: 0..elements, output: 0..elements }]
}

/// Puts the parts, which are told of how many elements the layer's output is, in the place of all between `inputs` and `last`.
fn patch<K: Kernel>(
    model: &TypedModel,
    multiply_adds: usize,
    inputs: &[OutletId],
    last: OutletId,
    parts: impl FnOnce(usize) -> Vec<Part<K>>,
) -> TractResult<TypedModelPatch> {
    let shape = model.outlet_fact(last)?.shape.as_concrete().context("the shape is fixed")?;
    let operator = Operator::new(parts(shape.iter().product()), shape, multiply_adds);
    let mut patch = TypedModelPatch::new("a layer in 8 bits by our own kernels");
    let taps = patch.taps(model, inputs)?;
    let output = patch.wire_node(&model.node(last.node).name, operator, &taps)?;
    patch.shunt_outside(model, last, output[0])?;
    Ok(patch)
}

/// The codes that `outlet` gives the numbers of, and what they mean.
fn coded(model: &TypedModel, outlet: OutletId) -> TractResult<Option<(OutletId, Quantization)>> {
    let node = model.node(outlet.node);
    let Some(operator) = node.op_as::<DequantizeLinearF32>() else { return Ok(None) };
    let codes = node.inputs[0];
    let fact = model.outlet_fact(codes)?;
    let (Ok(zero), u8) = (u8::try_from(operator.zero_point), u8::datum_type()) else { return Ok(None) };
    let variable = fact.datum_type == u8 && fact.konst.is_none();
    Ok(variable.then_some((codes, Quantization { scale: operator.scale, zero })))
}

/// What becomes of a layer's numbers.
struct Coding {
    clamp: Clamp,
    code: Quantization,
    codes: OutletId,
}

impl Coding {
    /// The clamp and the code behind `last`, where nobody else reads what lies between.
    fn behind(model: &TypedModel, mut last: OutletId) -> TractResult<Option<Self>> {
        let mut clamp = Clamp::NONE;
        while let Some(next) = follower(model, last) {
            if let Some(quantise) = next.op_as::<Operator<Quantise>>() {
                return Ok(Some(Coding { clamp, code: quantise.parts[0].kernel.code, codes: next.id.into() }));
            }
            match narrowed(clamp, model, next, last)? {
                Some(narrower) => clamp = narrower,
                None => break,
            }
            last = next.id.into();
        }
        Ok(None)
    }
}

/// The summands of a sum of codes of one shape.
fn summands(model: &TypedModel, node: &TypedNode) -> TractResult<Option<[(OutletId, Quantization); 2]>> {
    if node.op_as::<TypedBinOp>().is_none_or(|operator| operator.0.name() != "Add") {
        return Ok(None);
    }
    let (Some(left), Some(right)) = (coded(model, node.inputs[0])?, coded(model, node.inputs[1])?) else {
        return Ok(None);
    };
    let same = model.outlet_fact(left.0)?.shape == model.outlet_fact(right.0)?.shape;
    Ok(same.then_some([left, right]))
}

/// What else is added to the codes `own`, if a sum is all that reads them: the other codes, the sum, and its codes.
fn sum_behind(model: &TypedModel, own: OutletId) -> TractResult<Option<(OutletId, Sum, OutletId)>> {
    let Some(adder) = follower(model, own).and_then(|numbers| follower(model, numbers.id.into())) else {
        return Ok(None);
    };
    let Some(summands) = summands(model, adder)? else { return Ok(None) };
    let Some(Coding { clamp, code, codes }) = Coding::behind(model, adder.id.into())? else { return Ok(None) };
    let other = summands.into_iter().find(|(codes, _)| *codes != own);
    Ok(other.map(|(residual, quantization)| (residual, Sum { residual: quantization, output: code, clamp }, codes)))
}

/// The whole numbers of a convolution of codes.
#[derive(Clone)]
pub(super) struct Constants {
    pub(super) weights: Whole,
    pub(super) bias: Whole,
}

impl Constants {
    /// Those of every convolution that has them, by its name. tract has made floats of them when it gives its graph.
    pub(super) fn read(proto: &ModelProto) -> TractResult<HashMap<String, Self>> {
        let Some(graph) = &proto.graph else { return Ok(HashMap::new()) };
        let constants = Stored::of(graph);
        let mut found = HashMap::new();
        for node in graph.node.iter().filter(|node| node.op_type == "Conv" && !node.name.is_empty()) {
            let [_, weights, bias] = &node.input[..] else { continue };
            if let (Some(weights), Some(bias)) = (constants.whole(weights)?, constants.whole(bias)?)
                && weights.values.iter().all(|value| i8::try_from(*value).is_ok())
            {
                found.insert(node.name.clone(), Constants { weights, bias });
            }
        }
        Ok(found)
    }

    /// Whether they are what the convolution `node` computes with, and the bias is in units of the products.
    fn are_of(&self, model: &TypedModel, node: &TypedNode, input: Quantization) -> TractResult<bool> {
        let units = self.weights.scales.iter().map(|scale| input.scale * scale);
        Ok(units.eq(self.bias.scales.iter().copied())
            && self.weights.is(constant(model, node.inputs[1]))?
            && self.bias.is(constant(model, node.inputs[2]))?)
    }
}

/// Whole numbers with a scale per channel: what a `DequantizeLinear` along the first axis reads.
#[derive(Clone)]
pub(super) struct Whole {
    pub(super) values: Vec<i32>,
    pub(super) scales: Vec<f32>,
}

impl Whole {
    /// The numbers that they stand for.
    pub(super) fn numbers(&self) -> impl Iterator<Item = f32> {
        let inner = self.values.len() / self.scales.len().max(1);
        let scales = self.scales.iter().flat_map(move |scale| std::iter::repeat_n(scale, inner));
        self.values.iter().zip(scales).map(|(value, scale)| *value as f32 * scale)
    }

    /// Whether `floats` are their numbers.
    fn is(&self, floats: Option<&Arc<Tensor>>) -> TractResult<bool> {
        let Some(floats) = floats else { return Ok(false) };
        let floats = floats.cast_to::<f32>()?;
        let floats = floats.try_as_plain_ram()?;
        Ok(self.numbers().eq(floats.as_slice::<f32>()?.iter().copied()))
    }
}

/// A graph's constants.
struct Stored<'g> {
    tensors: HashMap<&'g str, &'g TensorProto>,
    numbers: HashMap<&'g str, &'g NodeProto>,
}

impl<'g> Stored<'g> {
    fn of(graph: &'g GraphProto) -> Self {
        let numbers = graph.node.iter().filter(|node| node.op_type == "DequantizeLinear" && !node.output.is_empty());
        Stored {
            tensors: graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(),
            numbers: numbers.map(|node| (node.output[0].as_str(), node)).collect(),
        }
    }

    /// What `name` is made of, if that is a `DequantizeLinear` of signed constants along the first axis, with zero points of 0.
    fn whole(&self, name: &str) -> TractResult<Option<Whole>> {
        let Some(node) = self.numbers.get(name) else { return Ok(None) };
        let along_first = node.attribute.iter().any(|attribute| attribute.name == "axis" && attribute.i == 0);
        let inputs = node.input.iter().map(|input| self.tensors.get(input.as_str()));
        let Some(inputs) = inputs.collect::<Option<Vec<_>>>().filter(|_| along_first) else { return Ok(None) };
        let inputs = inputs.into_iter().map(|tensor| load_tensor(&FopenDataResolver, tensor, None));
        let inputs = inputs.collect::<TractResult<Vec<_>>>()?;
        let [values, scales, zeros @ ..] = &inputs[..] else { return Ok(None) };
        let signed = [i8::datum_type(), i32::datum_type()].contains(&values.datum_type());
        if !signed || scales.datum_type() != f32::datum_type() || values.shape().first() != Some(&scales.len()) {
            return Ok(None);
        }
        let centred = zeros.iter().map(|zeros| Ok(whole_numbers(zeros)?.iter().all(|zero| *zero == 0)));
        let whole =
            Whole { values: whole_numbers(values)?, scales: scales.try_as_plain_ram()?.as_slice::<f32>()?.to_vec() };
        Ok(centred.collect::<TractResult<Vec<_>>>()?.iter().all(|centred| *centred).then_some(whole))
    }
}

fn whole_numbers(tensor: &Tensor) -> TractResult<Vec<i32>> {
    Ok(tensor.cast_to::<i32>()?.try_as_plain_ram()?.as_slice::<i32>()?.to_vec())
}

pub(super) enum Layer {
    Depthwise(Depthwise),
    Pointwise(Pointwise),
    Dense(Convolution),
    Sum(Addition),
}

impl Layer {
    fn convolution(
        tier: Tier,
        shape: &Shape,
        channels: Range<usize>,
        constants: &Constants,
        input: Quantization,
        output: Output,
    ) -> std::result::Result<Self, hgad_kernels::Error> {
        let values = constants.weights.values[shape.weights_of(&channels)].iter().map(|value| *value as i8);
        let values = values.collect::<Vec<_>>();
        let (inputs, outputs, window) = (shape.inputs, channels.len(), shape.window);
        let scales = &constants.weights.scales[channels.clone()];
        let weights = Weights { values: &values, scales, bias: &constants.bias.values[channels] };
        Ok(match shape.form() {
            Form::Depthwise => Layer::Depthwise(Depthwise::new(tier, outputs, window, weights, input, output)?),
            Form::Pointwise { positions } => {
                Layer::Pointwise(Pointwise::new(tier, (inputs, outputs, positions), weights, input, output)?)
            }
            Form::Dense => Layer::Dense(Convolution::new(tier, (inputs, outputs), window, weights, input, output)?),
        })
    }
}

impl Kernel for Layer {
    type Input = u8;
    type Output = u8;

    fn name(&self) -> &'static str {
        match self {
            Layer::Depthwise(_) => "depthwise 8-bit",
            Layer::Pointwise(_) => "pointwise 8-bit",
            Layer::Dense(_) => "convolution 8-bit",
            Layer::Sum(_) => "sum 8-bit",
        }
    }

    fn run(
        &self,
        image: &[u8],
        second: Option<&[u8]>,
        output: &mut [u8],
        scratch: &mut Scratch,
    ) -> std::result::Result<(), hgad_kernels::Error> {
        match self {
            Layer::Depthwise(kernel) => kernel.run(image, second, output, scratch),
            Layer::Pointwise(kernel) => kernel.run(image, second, output, scratch),
            Layer::Dense(kernel) => kernel.run(image, second, output, scratch),
            Layer::Sum(kernel) => kernel.run(image, second.unwrap_or_default(), output),
        }
    }
}

struct Quantise {
    tier: Tier,
    code: Quantization,
}

impl Kernel for Quantise {
    type Input = f32;
    type Output = u8;

    fn name(&self) -> &'static str {
        "quantise"
    }

    fn run(
        &self,
        image: &[f32],
        _: Option<&[f32]>,
        output: &mut [u8],
        _: &mut Scratch,
    ) -> std::result::Result<(), hgad_kernels::Error> {
        // A code has no value for what is not finite: a frame on which the network fails would look like any other.
        if !image.iter().all(|value| value.is_finite()) {
            return Err(hgad_kernels::Error::Parameter("a layer in floats gave what is not finite"));
        }
        quantize(self.tier, self.code, image, output)
    }
}

struct Dequantise {
    tier: Tier,
    code: Quantization,
}

impl Kernel for Dequantise {
    type Input = u8;
    type Output = f32;

    fn name(&self) -> &'static str {
        "dequantise"
    }

    fn run(
        &self,
        image: &[u8],
        _: Option<&[u8]>,
        output: &mut [f32],
        _: &mut Scratch,
    ) -> std::result::Result<(), hgad_kernels::Error> {
        dequantize(self.tier, self.code, image, output)
    }
}
