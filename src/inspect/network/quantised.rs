//! Layers in 8-bit numbers by our own kernels, inside tract's graph.
//!
//! A quantised network is written as layers in floats between `DequantizeLinear` and `QuantizeLinear`, and tract computes it so: slower
//! than the network in floats. [`replace`] puts one [`Operator`] that computes in whole numbers in the place of each layer with its
//! codes around it. The pattern is the one of `docs/bundle.md`, "Arithmetic in 8 bits"; a layer that does not fit it stays in floats.

use hgad_kernels::quantized::{
    Addition, Convolution, Depthwise, Output, Pointwise, Quantization, Sum, Weights, dequantize, quantize,
};
use hgad_kernels::{Clamp, Scratch, Tier};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::Conv;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearU8};

use super::convolutions::{Form, Shape, constant, follower, narrowed};
use super::operator::{Kernel, Operator};

/// Replaces layers in 8 bits, and what is left of codes around layers in floats, in a model whose constants have not been folded yet:
/// folding makes floats of the weights' codes.
pub(super) fn replace(model: &mut TypedModel, tier: Tier) -> TractResult<()> {
    // Convolutions before sums, for they take the sum behind them along.
    for found in [codes, convolution, addition, numbers] {
        for id in 0..model.nodes.len() {
            if let Some(patch) = found(model, id, tier)? {
                patch.apply(model)?;
            }
        }
        model.compact()?;
    }
    Ok(())
}

/// The patch for node `id`, if that is a convolution of codes.
fn convolution(model: &TypedModel, id: usize, tier: Tier) -> TractResult<Option<TypedModelPatch>> {
    let node = model.node(id);
    let Some(shape) = node.op_as::<Conv>().map(|conv| Shape::of(model, node, conv)).transpose()?.flatten() else {
        return Ok(None);
    };
    let Some((image, input)) = coded(model, node.inputs[0])? else { return Ok(None) };
    let Some(constants) = Constants::of(model, node, input)? else { return Ok(None) };
    let Some(own) = Coding::behind(model, id.into())? else { return Ok(None) };

    let mut output = Output { quantization: own.code, clamp: own.clamp, sum: None };
    let (mut inputs, mut last) = (tvec!(image), own.codes);
    if let Some((residual, sum, codes)) = sum_behind(model, own.codes)? {
        output.sum = Some(sum);
        inputs.push(residual);
        last = codes;
    }
    let layer = Layer::convolution(tier, &shape, constants.weights(), input, output)?;
    patch(model, layer, shape.multiply_adds()?, &inputs, last).map(Some)
}

/// The patch for node `id`, if that is a sum of codes.
fn addition(model: &TypedModel, id: usize, tier: Tier) -> TractResult<Option<TypedModelPatch>> {
    let node = model.node(id);
    let Some([left, right]) = summands(model, node)? else { return Ok(None) };
    let Some(Coding { clamp, code, codes }) = Coding::behind(model, id.into())? else { return Ok(None) };
    let layer = Layer::Sum(Addition::new(tier, (left.1, right.1), code, clamp)?);
    patch(model, layer, 0, &[left.0, right.0], codes).map(Some)
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
    let quantise = || patch(model, Quantise { tier, code }, 0, &node.inputs, id.into());
    (agreed && same && floats).then(quantise).transpose()
}

/// The patch for node `id`, if that makes numbers of codes: tract does so one by one.
fn numbers(model: &TypedModel, id: usize, tier: Tier) -> TractResult<Option<TypedModelPatch>> {
    let Some((codes, code)) = coded(model, id.into())? else { return Ok(None) };
    patch(model, Dequantise { tier, code }, 0, &[codes], id.into()).map(Some)
}

fn patch<K: Kernel>(
    model: &TypedModel,
    kernel: K,
    multiply_adds: usize,
    inputs: &[OutletId],
    last: OutletId,
) -> TractResult<TypedModelPatch> {
    let shape = model.outlet_fact(last)?.shape.as_concrete().context("the shape is fixed")?;
    let mut patch = TypedModelPatch::new("a layer in 8 bits by our own kernels");
    let taps = patch.taps(model, inputs)?;
    let output = patch.wire_node(&model.node(last.node).name, Operator::new(kernel, shape, multiply_adds), &taps)?;
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
                return Ok(Some(Coding { clamp, code: quantise.kernel.code, codes: next.id.into() }));
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

/// The constants of a convolution of codes.
struct Constants {
    values: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<i32>,
}

impl Constants {
    /// `None` where they are not whole numbers, in units that fit together.
    fn of(model: &TypedModel, node: &TypedNode, input: Quantization) -> TractResult<Option<Self>> {
        let Some(Whole { values, scales }) = Whole::of(model, node.inputs[1])? else { return Ok(None) };
        let Some(values) = values.iter().map(|value| i8::try_from(*value).ok()).collect() else { return Ok(None) };
        let units = scales.iter().map(|scale| input.scale * scale).collect::<Vec<_>>();
        let bias = match constant(model, node.inputs[2]) {
            Some(folded) => multiples(folded, &units)?,
            None => Whole::of(model, node.inputs[2])?.filter(|bias| bias.scales == units).map(|bias| bias.values),
        };
        Ok(bias.map(|bias| Constants { values, scales, bias }))
    }

    fn weights(&self) -> Weights<'_> {
        Weights { values: &self.values, scales: &self.scales, bias: &self.bias }
    }
}

/// Whole numbers with a scale per channel: what a `DequantizeLinear` along the first axis reads.
struct Whole {
    values: Vec<i32>,
    scales: Vec<f32>,
}

impl Whole {
    /// tract writes it as `(cast(values) - zeros) * scales`, small constants already computed.
    fn of(model: &TypedModel, mut outlet: OutletId) -> TractResult<Option<Self>> {
        let mut scales = None;
        loop {
            let node = model.node(outlet.node);
            if let Some(values) = constant(model, outlet) {
                return Ok(scales.zip(integers(values)?).map(|(scales, values)| Whole { values, scales }));
            }
            let factor = node.inputs.get(1).and_then(|input| constant(model, *input));
            let along_first = factor.is_some_and(|factor| factor.shape().first() == Some(&factor.len()));
            let operator = node.op_as::<TypedBinOp>().map(|operator| operator.0.name());
            match (operator, factor) {
                (Some("Mul"), Some(factor)) if scales.is_none() && along_first => {
                    scales = Some(factor.cast_to::<f32>()?.try_as_plain_ram()?.as_slice::<f32>()?.to_vec());
                }
                (Some("Sub"), Some(zeros)) if integers(zeros)?.is_some_and(|zeros| zeros.iter().all(|z| *z == 0)) => {}
                _ if node.op_is::<Cast>() => {}
                _ => return Ok(None),
            }
            outlet = node.inputs[0];
        }
    }
}

/// Which multiples of `units` the values are, if they are just that: tract makes floats of a bias of few channels when it reads it.
fn multiples(values: &Tensor, units: &[f32]) -> TractResult<Option<Vec<i32>>> {
    let values = values.cast_to::<f32>()?;
    let values = values.try_as_plain_ram()?;
    let values = values.as_slice::<f32>()?;
    let multiple = |(value, unit): (&f32, &f32)| {
        let times = (value / unit).round();
        (times * unit == *value).then_some(times as i32)
    };
    Ok(if values.len() == units.len() { values.iter().zip(units).map(multiple).collect() } else { None })
}

/// The values, if all are whole.
fn integers(tensor: &Tensor) -> TractResult<Option<Vec<i32>>> {
    if !tensor.datum_type().is_float() {
        return Ok(Some(tensor.cast_to::<i32>()?.try_as_plain_ram()?.as_slice::<i32>()?.to_vec()));
    }
    let floats = tensor.cast_to::<f32>()?;
    let floats = floats.try_as_plain_ram()?;
    Ok(floats.as_slice::<f32>()?.iter().map(|float| (float.fract() == 0.0).then_some(*float as i32)).collect())
}

enum Layer {
    Depthwise(Depthwise),
    Pointwise(Pointwise),
    Dense(Convolution),
    Sum(Addition),
}

impl Layer {
    fn convolution(
        tier: Tier,
        shape: &Shape,
        weights: Weights,
        input: Quantization,
        output: Output,
    ) -> TractResult<Self> {
        let (inputs, outputs, window) = (shape.inputs, shape.outputs, shape.window);
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
