//! Convolutions by our own kernels, inside tract's graph.
//!
//! tract runs a convolution, the clamp behind it and the sum with a skip connection as operators of their own, each of which reads and
//! writes the whole image; its depthwise convolutions are scalar where the stride is 2. [`replace`] puts one [`Operator`] in the place
//! of all three. What it does not recognise stays tract's.

use std::ops::Range;
use std::sync::Arc;

use hgad_kernels::{Clamp, Convolution, Depthwise, Padding, Pointwise, Scratch, Tier, Window};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat};
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::operator::{Kernel, Machine, Operator, Part};

/// Replaces every convolution of a fixed size with constant weights, and the clamp and sum behind it, in a model that has not been
/// optimised yet: tract turns 1x1 convolutions into matrix products of any layout later on.
pub(super) fn replace(model: &mut TypedModel, machine: Machine) -> TractResult<()> {
    for id in 0..model.nodes.len() {
        if let Some(found) = Found::at(model, id)? {
            found.patch(model, machine)?.apply(model)?;
        }
    }
    model.compact()
}

/// A convolution and what comes directly behind it.
struct Found {
    node: usize,
    /// The last operator that is replaced.
    last: OutletId,
    shape: Shape,
    clamp: Clamp,
    /// What is added before the clamp.
    residual: Option<OutletId>,
}

/// What a convolution is.
pub(super) struct Shape {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    groups: usize,
    pub(super) window: Window,
}

/// Which kernel computes a convolution.
pub(super) enum Form {
    Depthwise,
    Pointwise { positions: usize },
    Dense,
}

impl Found {
    fn at(model: &TypedModel, id: usize) -> TractResult<Option<Self>> {
        let node = model.node(id);
        let Some(shape) = node.op_as::<Conv>().map(|conv| Shape::of(model, node, conv)).transpose()?.flatten() else {
            return Ok(None);
        };
        if node.inputs[1..].iter().any(|input| constant(model, *input).is_none()) {
            return Ok(None);
        }
        let mut found = Found { node: id, last: id.into(), shape, clamp: Clamp::NONE, residual: None };
        while let Some(next) = follower(model, found.last) {
            if !found.takes(model, next)? {
                break;
            }
            found.last = next.id.into();
        }
        Ok(Some(found))
    }

    /// Takes `next`, which alone reads what came last, into the convolution, if it is a clamp or the sum with a skip connection.
    fn takes(&mut self, model: &TypedModel, next: &TypedNode) -> TractResult<bool> {
        if let Some(clamp) = narrowed(self.clamp, model, next, self.last)? {
            self.clamp = clamp;
            return Ok(true);
        }
        let adds = next.op_as::<TypedBinOp>().is_some_and(|operator| operator.0.name() == "Add");
        match next.inputs.iter().find(|input| **input != self.last) {
            Some(&other) if adds && self.may_add(model, next, other) => self.residual = Some(other),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Kernels of depthwise convolutions add nothing, and none repeats a summand over positions or channels.
    fn may_add(&self, model: &TypedModel, sum: &TypedNode, other: OutletId) -> bool {
        let unclamped = self.clamp == Clamp::NONE && self.residual.is_none();
        let adding = !matches!(self.shape.form(), Form::Depthwise);
        let whole = [other, self.last]
            .into_iter()
            .all(|summand| model.outlet_fact(summand).is_ok_and(|fact| fact.shape == sum.outputs[0].fact.shape));
        unclamped && adding && whole
    }

    fn patch(&self, model: &TypedModel, machine: Machine) -> TractResult<TypedModelPatch> {
        let node = model.node(self.node);
        let weights = constant(model, node.inputs[1]).context("the weights are constant")?;
        let bias = constant(model, node.inputs[2]).context("the bias is constant")?;
        let weights = weights.try_as_plain_ram()?.as_slice::<f32>()?;
        let bias = match bias.try_as_plain_ram()?.as_slice::<f32>()? {
            [one] => vec![*one; self.shape.outputs],
            bias => bias.to_vec(),
        };
        let output = model.outlet_fact(self.last)?.shape.as_concrete().context("the shape is fixed")?;
        let layer = |channels: Range<usize>| self.shape.layer(machine.tier, channels, weights, &bias, self.clamp);
        let operator = Operator::new(self.shape.parts(machine, layer)?, output, self.shape.multiply_adds()?);
        let inputs = std::iter::once(node.inputs[0]).chain(self.residual).collect::<TVec<_>>();
        let mut patch = TypedModelPatch::new("a convolution by our own kernels");
        let taps = patch.taps(model, &inputs)?;
        let output = patch.wire_node(&node.name, operator, &taps)?;
        patch.shunt_outside(model, self.last, output[0])?;
        Ok(patch)
    }
}

impl Shape {
    /// `None` for what the kernels cannot compute.
    pub(super) fn of(model: &TypedModel, node: &TypedNode, conv: &Conv) -> TractResult<Option<Self>> {
        let pool = &conv.pool_spec;
        let fact = model.outlet_fact(node.inputs[0])?;
        let Some(&[1, inputs, height, width]) = fact.shape.as_concrete() else { return Ok(None) };
        let plain = conv.q_params.is_none()
            && fact.datum_type == f32::datum_type()
            && pool.data_format == DataFormat::NCHW
            && conv.kernel_fmt == KernelFormat::OIHW
            && pool.dilations().iter().all(|dilation| *dilation == 1)
            && (conv.group == 1 || (conv.group == inputs && pool.output_channels == inputs));
        let &[kernel_height, kernel_width] = pool.kernel_shape.as_slice() else { return Ok(None) };
        if !plain {
            return Ok(None);
        }
        let [rows, columns] = &pool.computed_padding(&[height, width])[..] else { return Ok(None) };
        let window = Window {
            height,
            width,
            kernel: [kernel_height, kernel_width],
            stride: [pool.stride(0), pool.stride(1)],
            padding: Padding {
                top: rows.pad_before,
                left: columns.pad_before,
                bottom: rows.pad_after,
                right: columns.pad_after,
            },
        };
        Ok(Some(Shape { inputs, outputs: pool.output_channels, groups: conv.group, window }))
    }

    pub(super) fn form(&self) -> Form {
        let Window { height, width, kernel, stride, padding } = self.window;
        if self.groups > 1 || self.inputs == 1 && self.outputs == 1 {
            Form::Depthwise
        } else if kernel == [1, 1] && stride == [1, 1] && padding == Padding::all(0) {
            Form::Pointwise { positions: height * width }
        } else {
            Form::Dense
        }
    }

    /// The layer in the machine's parts; `kernel` makes the one that writes some of the output's channels.
    pub(super) fn parts<K>(
        &self,
        machine: Machine,
        kernel: impl Fn(Range<usize>) -> std::result::Result<K, hgad_kernels::Error>,
    ) -> std::result::Result<Vec<Part<K>>, hgad_kernels::Error> {
        let [height, width] = self.window.output()?;
        let (read, written) = (self.window.height * self.window.width, height * width);
        let part = |channels: Range<usize>| {
            let image = match self.form() {
                Form::Depthwise => channels.start * read..channels.end * read,
                Form::Pointwise { .. } | Form::Dense => 0..self.inputs * read,
            };
            let output = channels.start * written..channels.end * written;
            Ok(Part { kernel: kernel(channels)?, image, output })
        };
        machine.parts(self.outputs, self.multiply_adds()?).map(part).collect()
    }

    /// Where the weights of some of the output's channels lie.
    pub(super) fn weights_of(&self, channels: &Range<usize>) -> Range<usize> {
        let [height, width] = self.window.kernel;
        let each = self.inputs / self.groups * height * width;
        channels.start * each..channels.end * each
    }

    fn layer(
        &self,
        tier: Tier,
        channels: Range<usize>,
        weights: &[f32],
        bias: &[f32],
        clamp: Clamp,
    ) -> std::result::Result<Layer, hgad_kernels::Error> {
        let (inputs, outputs, window) = (self.inputs, channels.len(), self.window);
        let (weights, bias) = (&weights[self.weights_of(&channels)], &bias[channels]);
        Ok(match self.form() {
            Form::Depthwise => Layer::Depthwise(Depthwise::new(tier, outputs, window, weights, bias, clamp)?),
            Form::Pointwise { positions } => {
                Layer::Pointwise(Pointwise::new(tier, (inputs, outputs, positions), weights, bias, clamp)?)
            }
            Form::Dense => Layer::Dense(Convolution::new(tier, (inputs, outputs), window, weights, bias, clamp)?),
        })
    }

    pub(super) fn multiply_adds(&self) -> std::result::Result<usize, hgad_kernels::Error> {
        let [height, width] = self.window.output()?;
        let [kernel_height, kernel_width] = self.window.kernel;
        Ok(self.outputs * self.inputs / self.groups * kernel_height * kernel_width * height * width)
    }
}

/// The only reader of `outlet`, unless the model's user reads it too.
pub(super) fn follower(model: &TypedModel, outlet: OutletId) -> Option<&TypedNode> {
    match model.outlet_successors(outlet) {
        [one] if !model.outputs.contains(&outlet) => Some(model.node(one.node)),
        _ => None,
    }
}

pub(super) fn constant(model: &TypedModel, outlet: OutletId) -> Option<&Arc<Tensor>> {
    model.outlet_fact(outlet).ok().and_then(|fact| fact.konst.as_ref())
}

/// `clamp` narrowed by `next`, if that is a bound on what `last` gives.
pub(super) fn narrowed(
    clamp: Clamp,
    model: &TypedModel,
    next: &TypedNode,
    last: OutletId,
) -> TractResult<Option<Clamp>> {
    let Some(operator) = next.op_as::<TypedBinOp>() else { return Ok(None) };
    let other = next.inputs.iter().find(|input| **input != last);
    let bound = other.and_then(|other| constant(model, *other)).filter(|tensor| tensor.len() == 1);
    let bound = bound.map(|tensor| tensor.cast_to_scalar::<f32>()).transpose()?;
    let Clamp { low, high } = clamp;
    Ok(match (operator.0.name(), bound) {
        ("Max", Some(bound)) if bound <= high => Some(Clamp { low: low.max(bound), high }),
        ("Min", Some(bound)) if bound >= low => Some(Clamp { low, high: high.min(bound) }),
        _ => None,
    })
}

pub(super) enum Layer {
    Depthwise(Depthwise),
    Pointwise(Pointwise),
    Dense(Convolution),
}

impl Kernel for Layer {
    type Input = f32;
    type Output = f32;

    fn name(&self) -> &'static str {
        match self {
            Layer::Depthwise(_) => "depthwise",
            Layer::Pointwise(_) => "pointwise",
            Layer::Dense(_) => "convolution",
        }
    }

    fn run(
        &self,
        image: &[f32],
        residual: Option<&[f32]>,
        output: &mut [f32],
        scratch: &mut Scratch,
    ) -> std::result::Result<(), hgad_kernels::Error> {
        match self {
            Layer::Depthwise(kernel) => kernel.run(image, output, scratch),
            Layer::Pointwise(kernel) => kernel.run(image, residual, output, scratch),
            Layer::Dense(kernel) => kernel.run(image, residual, output, scratch),
        }
    }
}
