//! Convolutions by our own kernels, inside tract's graph.
//!
//! tract runs a convolution, the clamp behind it and the sum with a skip connection as operators of their own, each of which reads and
//! writes the whole image; its depthwise convolutions are scalar where the stride is 2. [`replace`] puts [`Convolved`] in the place of
//! all three. What it does not recognise stays tract's.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use hgad_kernels::{Clamp, Convolution, Depthwise, Padding, Pointwise, Scratch, Tier, Window};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat};
use tract_onnx::tract_core::ops::nn::DataFormat;

thread_local! {
    /// The kernels' working memory, which all networks of a thread share.
    pub(super) static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// Replaces every convolution of a fixed size with constant weights, and the clamp and sum behind it, in a model that has not been
/// optimised yet: tract turns 1x1 convolutions into matrix products of any layout later on.
pub(super) fn replace(model: &mut TypedModel, tier: Tier) -> TractResult<()> {
    for id in 0..model.nodes.len() {
        if let Some(found) = Found::at(model, id)? {
            found.patch(model, tier)?.apply(model)?;
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
struct Shape {
    inputs: usize,
    outputs: usize,
    groups: usize,
    window: Window,
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
        let Some(operator) = next.op_as::<TypedBinOp>() else { return Ok(false) };
        let Some(&other) = next.inputs.iter().find(|input| **input != self.last) else { return Ok(false) };
        let bound = constant(model, other).filter(|tensor| tensor.len() == 1);
        let bound = bound.map(|tensor| tensor.cast_to_scalar::<f32>()).transpose()?;
        match (operator.0.name(), bound) {
            ("Max", Some(low)) if low <= self.clamp.high => self.clamp.low = self.clamp.low.max(low),
            ("Min", Some(high)) if high >= self.clamp.low => self.clamp.high = self.clamp.high.min(high),
            ("Add", None) if self.may_add(model, next, other)? => self.residual = Some(other),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn may_add(&self, model: &TypedModel, sum: &TypedNode, other: OutletId) -> TractResult<bool> {
        let unclamped = self.clamp == Clamp::NONE && self.residual.is_none() && self.shape.groups == 1;
        let whole = model.outlet_fact(other)?.shape == sum.outputs[0].fact.shape;
        Ok(unclamped && whole)
    }

    fn patch(&self, model: &TypedModel, tier: Tier) -> TractResult<TypedModelPatch> {
        let node = model.node(self.node);
        let weights = constant(model, node.inputs[1]).context("the weights are constant")?;
        let bias = constant(model, node.inputs[2]).context("the bias is constant")?;
        let weights = weights.try_as_plain_ram()?.as_slice::<f32>()?;
        let bias = match bias.try_as_plain_ram()?.as_slice::<f32>()? {
            [one] => vec![*one; self.shape.outputs],
            bias => bias.to_vec(),
        };
        let operator = Convolved {
            kernel: Arc::new(self.shape.kernel(tier, weights, &bias, self.clamp)?),
            output: model.outlet_fact(self.last)?.shape.as_concrete().context("the shape is fixed")?.into(),
            multiply_adds: self.shape.multiply_adds()?,
        };
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
    fn of(model: &TypedModel, node: &TypedNode, conv: &Conv) -> TractResult<Option<Self>> {
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

    fn kernel(&self, tier: Tier, weights: &[f32], bias: &[f32], clamp: Clamp) -> TractResult<Kernel> {
        let Window { height, width, kernel, stride, padding } = self.window;
        Ok(if self.groups > 1 || self.inputs == 1 && self.outputs == 1 {
            Kernel::Depthwise(Depthwise::new(tier, self.outputs, self.window, weights, bias, clamp)?)
        } else if kernel == [1, 1] && stride == [1, 1] && padding == Padding::all(0) {
            Kernel::Pointwise(Pointwise::new(tier, (self.inputs, self.outputs, height * width), weights, bias, clamp)?)
        } else {
            let channels = (self.inputs, self.outputs);
            Kernel::Dense(Convolution::new(tier, channels, self.window, weights, bias, clamp)?)
        })
    }

    fn multiply_adds(&self) -> TractResult<usize> {
        let [height, width] = self.window.output()?;
        let [kernel_height, kernel_width] = self.window.kernel;
        Ok(self.outputs * self.inputs / self.groups * kernel_height * kernel_width * height * width)
    }
}

/// The only reader of `outlet`, unless the model's user reads it too.
fn follower(model: &TypedModel, outlet: OutletId) -> Option<&TypedNode> {
    match model.outlet_successors(outlet) {
        [one] if !model.outputs.contains(&outlet) => Some(model.node(one.node)),
        _ => None,
    }
}

pub(super) fn constant(model: &TypedModel, outlet: OutletId) -> Option<&Arc<Tensor>> {
    model.outlet_fact(outlet).ok().and_then(|fact| fact.konst.as_ref())
}

enum Kernel {
    Depthwise(Depthwise),
    Pointwise(Pointwise),
    Dense(Convolution),
}

/// A convolution with bias, clamp and, where it has a second input, what is added before the clamp.
#[derive(Clone)]
struct Convolved {
    kernel: Arc<Kernel>,
    /// `[1, channels, height, width]`.
    output: TVec<usize>,
    multiply_adds: usize,
}

impl fmt::Debug for Convolved {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} to {:?}", self.name(), self.output)
    }
}

/// The same one: kernels are not compared, as no two nodes share one.
impl PartialEq for Convolved {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kernel, &other.kernel)
    }
}

impl Eq for Convolved {}

impl Op for Convolved {
    fn name(&self) -> StaticName {
        match *self.kernel {
            Kernel::Depthwise(_) => "depthwise",
            Kernel::Pointwise(_) => "pointwise",
            Kernel::Dense(_) => "convolution",
        }
        .into()
    }

    op_as_typed_op!();
}

impl EvalOp for Convolved {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let image = inputs[0].try_as_plain_ram()?.as_slice::<f32>()?;
        let residual = inputs.get(1).map(|value| value.try_as_plain_ram()?.as_slice::<f32>()).transpose()?;
        // SAFETY: the kernels write every element, and read none of them before.
        let mut output = unsafe { Tensor::uninitialized::<f32>(&self.output)? };
        let mut plain = output.try_as_plain_ram_mut()?;
        let values = plain.as_slice_mut::<f32>()?;
        SCRATCH.with_borrow_mut(|scratch| match &*self.kernel {
            Kernel::Depthwise(kernel) => kernel.run(image, values, scratch),
            Kernel::Pointwise(kernel) => kernel.run(image, residual, values, scratch),
            Kernel::Dense(kernel) => kernel.run(image, residual, values, scratch),
        })?;
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for Convolved {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&self.output)))
    }

    fn cost(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        Ok(tvec!((Cost::FMA(f32::datum_type()), self.multiply_adds.to_dim())))
    }

    as_op!();
}
