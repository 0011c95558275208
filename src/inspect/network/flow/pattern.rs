//! What a flow looks like in tract's graph before it is optimised.
//!
//! The graph is followed against the flow of data, from the latents to the tap: an operator's inputs are known, its readers may be
//! many. Every step says what must stand there; where something else does, it is no flow.

use ndarray::{Array1, Array2, Ix2};
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{StridedSlice, TypedConcat};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};

use super::super::convolutions::constant;

/// A flow that was found.
pub(super) struct FlowPattern {
    /// The name of its first operator.
    pub(super) name: String,
    /// The tap, `[D, P]`.
    pub(super) input: OutletId,
    /// The latents, `[D, P]`.
    pub(super) z: OutletId,
    /// The log-determinants, `[P, 1]`.
    pub(super) logdet: OutletId,
    /// Positions P.
    pub(super) positions: usize,
    /// `D`.
    pub(super) factor: Vec<f32>,
    /// `D`.
    pub(super) shift: Vec<f32>,
    pub(super) blocks: Vec<BlockWeights>,
    /// The constant part of the log-determinant.
    pub(super) log_det: f32,
}

/// What a block computes with; D1 is the first, D2 the second part of its channels.
pub(super) struct BlockWeights {
    /// `[D1, H]`.
    pub(super) w1: Array2<f32>,
    /// `[P, H]`.
    pub(super) table: Array2<f32>,
    /// `[H, 2 D2]`: scales, then shifts.
    pub(super) w2: Array2<f32>,
    /// `2 D2`.
    pub(super) b2: Vec<f32>,
    /// The bound of the log-scales.
    pub(super) clamp: f32,
    /// `[D, D]`.
    pub(super) mix: Array2<f32>,
    /// `D`.
    pub(super) offset: Vec<f32>,
}

/// The first flow of a model, whatever reads its results: outputs, or what joins several flows.
pub(super) fn find(model: &TypedModel) -> Option<FlowPattern> {
    let graph = Graph { model };
    let outlets = || (0..model.nodes.len()).map(|node| OutletId::new(node, 0));
    outlets().find_map(|z| graph.flow(z, outlets()))
}

impl BlockWeights {
    fn fits(&self, positions: usize, d: usize) -> bool {
        let ((d1, h), d2) = (self.w1.dim(), d / 2);
        d1 == d - d2 && self.table.dim() == (positions, h) && self.w2.dim() == (h, 2 * d2) && self.mix.dim() == (d, d)
    }
}

/// Steps against the flow of data.
struct Graph<'m> {
    model: &'m TypedModel,
}

impl<'m> Graph<'m> {
    /// The flow whose latents are `z` `[D, P]`, if it is one; its log-determinants are among `outlets`.
    fn flow(&self, z: OutletId, mut outlets: impl Iterator<Item = OutletId>) -> Option<FlowPattern> {
        let mut x = self.transposed(z)?;
        let &[positions, channels] = self.shape(x)? else { return None };
        let (mut blocks, mut log_scales) = (Vec::new(), Vec::new());
        while let Some((input, log_scale, weights)) = self.block(x, channels) {
            blocks.push(weights);
            log_scales.push(log_scale);
            x = input;
        }
        blocks.reverse();
        (!blocks.is_empty() && blocks.iter().all(|block| block.fits(positions, channels))).then_some(())?;
        let (scaled, shift) = self.with_constant(x, "Add")?;
        let (rows, factor) = self.with_constant(scaled, "Mul")?;
        let input = self.transposed(rows)?;
        let (logdet, log_det) = outlets.find_map(|outlet| {
            let (sum, log_det) = self.with_constant(outlet, "Add")?;
            self.sums_up(self.reduced(sum)?, &log_scales).then_some((outlet, log_det))
        })?;
        Some(FlowPattern {
            name: format!("{}.flow", self.node(rows).name),
            input,
            z,
            logdet,
            positions,
            factor: vector(factor, channels)?,
            shift: vector(shift, channels)?,
            blocks,
            log_det: scalar(log_det)?,
        })
    }

    fn node(&self, outlet: OutletId) -> &'m TypedNode {
        self.model.node(outlet.node)
    }

    fn shape(&self, outlet: OutletId) -> Option<&'m [usize]> {
        self.model.outlet_fact(outlet).ok()?.shape.as_concrete()
    }

    /// The matrix whose transposition `outlet` is.
    fn transposed(&self, outlet: OutletId) -> Option<OutletId> {
        let swaps = matches!(self.node(outlet).op_as()?, AxisOp::Move(0, 1) | AxisOp::Move(1, 0));
        (swaps && self.shape(outlet)?.len() == 2).then(|| self.node(outlet).inputs[0])
    }

    /// The two inputs of an operation of two tensors.
    fn binary(&self, outlet: OutletId, name: &str) -> Option<(OutletId, OutletId)> {
        let node = self.node(outlet);
        (node.op_as::<TypedBinOp>()?.0.name() == name).then(|| (node.inputs[0], node.inputs[1]))
    }

    /// The same where the second one is constant.
    fn with_constant(&self, outlet: OutletId, name: &str) -> Option<(OutletId, &'m Tensor)> {
        let (value, other) = self.binary(outlet, name)?;
        Some((value, constant(self.model, other)?))
    }

    fn unary(&self, outlet: OutletId, name: &str) -> Option<OutletId> {
        let node = self.node(outlet);
        (node.op_as::<ElementWiseOp>()?.0.name() == name).then(|| node.inputs[0])
    }

    /// A product with constant weights, `[inputs, outputs]`.
    fn product(&self, outlet: OutletId) -> Option<(OutletId, Array2<f32>)> {
        let node = self.node(outlet);
        let product = node.op_as::<EinSum>()?;
        let plain = product.q_params.is_none() && product.axes.to_string() == "mk,kn->mn";
        let weights = matrix(constant(self.model, node.inputs[1])?)?;
        plain.then(|| (node.inputs[0], weights))
    }

    /// A product with constant weights, and what is added to it: a row for all positions, or one for each.
    fn linear(&self, outlet: OutletId) -> Option<(OutletId, Array2<f32>, &'m Tensor)> {
        let (product, added) = self.with_constant(outlet, "Add")?;
        let (input, weights) = self.product(product)?;
        Some((input, weights, added))
    }

    /// The matrix of which `outlet` is columns `from..to`.
    fn columns(&self, outlet: OutletId, from: usize, to: usize) -> Option<OutletId> {
        let node = self.node(outlet);
        let slice = node.op_as::<StridedSlice>()?;
        let plain = slice.optional_axes_input == Some(3)
            && slice.optional_steps_input.is_none()
            && (slice.begin_mask, slice.end_mask, slice.shrink_axis_mask) == (0, 0, 0);
        let number = |input: usize| {
            let tensor = constant(self.model, *node.inputs.get(input)?)?;
            (tensor.len() == 1).then(|| tensor.cast_to_scalar::<i64>().ok())?
        };
        let says = [number(1)?, number(2)?, number(3)?];
        (plain && says == [from as i64, to as i64, 1]).then(|| node.inputs[0])
    }

    /// What was joined of two matrices side by side.
    fn joined(&self, outlet: OutletId) -> Option<(OutletId, OutletId)> {
        let node = self.node(outlet);
        let &[left, right] = node.inputs.as_slice() else { return None };
        (node.op_as::<TypedConcat>()?.axis == 1).then_some((left, right))
    }

    /// The block whose output is `output` `[P, D]`: its input, its log-scales and its weights.
    fn block(&self, output: OutletId, d: usize) -> Option<(OutletId, OutletId, BlockWeights)> {
        let (d1, d2) = (d - d / 2, d / 2);
        let (joined, mix, offset) = self.linear(output)?;
        let (x1, moved) = self.joined(joined)?;
        let x = self.columns(x1, 0, d1)?;
        let (scaled, a_t) = self.binary(moved, "Add")?;
        let (x2, scale) = self.binary(scaled, "Mul")?;
        let log_scale = self.unary(scale, "Exp")?;
        let (tanh, clamp) = self.with_constant(log_scale, "Mul")?;
        let a = self.columns(self.unary(tanh, "Tanh")?, 0, d2)?;
        let (hidden, w2, b2) = self.linear(a)?;
        let (sum, zero) = self.with_constant(hidden, "Max")?;
        let (input, w1, table) = self.linear(sum)?;
        let whole =
            input == x1 && self.columns(x2, d1, d)? == x && self.columns(a_t, d2, 2 * d2)? == a && scalar(zero)? == 0.0;
        let weights = BlockWeights {
            w1,
            table: matrix(table)?,
            w2,
            b2: vector(b2, 2 * d2)?,
            clamp: scalar(clamp)?,
            mix,
            offset: vector(offset, d)?,
        };
        whole.then_some((x, log_scale, weights))
    }

    /// The matrix `[P, channels]` of which `outlet` is the sum over channels.
    fn reduced(&self, outlet: OutletId) -> Option<OutletId> {
        let node = self.node(outlet);
        let reduce = node.op_as::<Reduce>()?;
        (reduce.axes.as_slice() == [1] && matches!(reduce.reducer, Reducer::Sum)).then(|| node.inputs[0])
    }

    /// Whether `outlet` is the sum of `terms`, each of them once.
    fn sums_up(&self, outlet: OutletId, terms: &[OutletId]) -> bool {
        let (mut open, mut seen) = (vec![outlet], Vec::new());
        while let Some(outlet) = open.pop() {
            if terms.contains(&outlet) {
                seen.push(outlet);
            } else {
                let Some((left, right)) = self.binary(outlet, "Add") else { return false };
                open.extend([left, right]);
            }
        }
        seen.len() == terms.len() && terms.iter().all(|term| seen.contains(term))
    }
}

fn matrix(tensor: &Tensor) -> Option<Array2<f32>> {
    let view = tensor.to_plain_array_view::<f32>().ok()?;
    Some(view.into_dimensionality::<Ix2>().ok()?.to_owned())
}

fn vector(tensor: &Tensor, length: usize) -> Option<Vec<f32>> {
    let values: Array1<f32> = tensor.to_plain_array_view::<f32>().ok()?.iter().copied().collect();
    (tensor.shape() == [1, length]).then(|| values.to_vec())
}

fn scalar(tensor: &Tensor) -> Option<f32> {
    (tensor.len() == 1).then(|| tensor.cast_to_scalar().ok())?
}
