//! The backbone, run one layer at a time: in floats, or as 8-bit arithmetic would compute it.

use std::sync::Arc;

use hgad::bundle::InputSize;
use hgad::{Error, Result};
use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::prelude::*;

use super::code::Code;
use super::layers::{Conv, Kind, Layers};
use crate::backbone::IMAGE;
use crate::onnx::{GraphWriter, float_value};

/// The backbone's layers, each with a plan of its own.
pub(super) struct Network {
    pub layers: Layers,
    /// The shape of every tensor.
    pub shapes: Vec<Vec<usize>>,
    opset: i64,
    plans: Vec<Plan>,
}

/// The tensors of one image in floats, by number.
pub(super) type Frame = Vec<Arc<Tensor>>;

type Plan = Arc<TypedRunnableModel>;

impl Network {
    /// Prepares every layer for one input size.
    ///
    /// # Errors
    ///
    /// A layer that tract cannot run.
    pub fn new(layers: Layers, size: InputSize, opset: i64) -> Result<Self> {
        let image = Tensor::zero::<f32>(&[1, 3, size.height, size.width]).map_err(|e| failed(IMAGE, e))?;
        let mut network = Network { layers, shapes: vec![image.shape().to_vec()], opset, plans: Vec::new() };
        let mut probe = vec![Arc::new(image)];
        for l in 0..network.layers.layers.len() {
            let layer = &network.layers.layers[l];
            let constants = layer.nodes.iter().flat_map(|node| &node.input);
            let constants = constants.filter_map(|name| network.layers.constants.get(name)).cloned().collect();
            let plan = network.plan(l, layer.nodes.clone(), constants)?;
            network.plans.push(plan);
            let output = network.run_layer(l, &probe)?;
            network.shapes.push(output.shape().to_vec());
            probe.push(output);
            network.leave_broadcasts(l);
        }
        Ok(network)
    }

    /// A sum that repeats one side over positions or channels has no code: the 8-bit sum adds two images of one shape.
    fn leave_broadcasts(&mut self, l: usize) {
        let layer = &mut self.layers.layers[l];
        let one_shape = layer.inputs.iter().all(|&input| self.shapes[input] == self.shapes[l + 1]);
        if matches!(layer.kind, Kind::Add { .. }) && !one_shape {
            layer.kind = Kind::Other;
        }
    }

    /// The plan of some nodes that read what layer `l` reads and write what it writes.
    fn plan(&self, l: usize, nodes: Vec<NodeProto>, mut constants: Vec<TensorProto>) -> Result<Plan> {
        let layer = &self.layers.layers[l];
        constants.sort_by(|a, b| a.name.cmp(&b.name));
        constants.dedup_by(|a, b| a.name == b.name);
        let mut inputs = layer.inputs.clone();
        inputs.dedup();
        let inputs = inputs.iter().map(|&t| float_value(self.layers.tensor(t), &self.shapes[t])).collect();
        let output = nodes.last().and_then(|node| node.output.first()).cloned().unwrap_or_default();
        let graph = GraphWriter { nodes, constants }.finish(self.opset, inputs, vec![float_value(output, &[])]);
        tract_onnx::onnx()
            .with_ignore_output_shapes(true)
            .model_for_proto_model(&graph)
            .and_then(|model| model.into_optimized())
            .and_then(|model| model.into_runnable())
            .map_err(|error| failed(&layer.output, error))
    }

    fn run_layer(&self, l: usize, tensors: &[Arc<Tensor>]) -> Result<Arc<Tensor>> {
        let mut inputs = self.layers.layers[l].inputs.clone();
        inputs.dedup();
        self.run_plan(l, &self.plans[l], inputs.iter().map(|&t| tensors[t].clone()).collect())
    }

    fn run_plan(&self, l: usize, plan: &Plan, inputs: Vec<Arc<Tensor>>) -> Result<Arc<Tensor>> {
        let inputs = inputs.into_iter().map(|tensor| tensor.into_tvalue()).collect();
        let outputs = plan.run(inputs).map_err(|error| failed(&self.layers.layers[l].output, error))?;
        let output = outputs.into_iter().next().map(TValue::into_tensor);
        output.map(Arc::new).ok_or_else(|| Error::device("a layer without an output"))
    }

    /// What convolution `l` makes of its input in each of the frames, before its activation.
    pub fn convolved(&self, l: usize, frames: &[Frame]) -> Result<Vec<Arc<Tensor>>> {
        let layer = &self.layers.layers[l];
        let constants = layer.nodes[0].input.iter().filter_map(|name| self.layers.constants.get(name)).cloned();
        let plan = self.plan(l, vec![layer.nodes[0].clone()], constants.collect())?;
        frames.iter().map(|frame| self.run_plan(l, &plan, vec![frame[layer.inputs[0]].clone()])).collect()
    }

    /// All tensors of an image `[1, 3, H, W]`, RGB, 0..255.
    pub fn run(&self, image: Tensor) -> Result<Frame> {
        let mut frame = vec![Arc::new(image)];
        for l in 0..self.layers.layers.len() {
            let output = self.run_layer(l, &frame)?;
            frame.push(output);
        }
        Ok(frame)
    }

    /// Multiplications of layer `l`.
    pub fn multiplications(&self, l: usize) -> usize {
        match &self.layers.layers[l].kind {
            Kind::Conv(conv) => {
                let positions = self.shapes[l + 1][2..].iter().product::<usize>();
                positions * conv.weights.values.len()
            }
            _ => 0,
        }
    }
}

fn failed(tensor: &str, error: TractError) -> Error {
    Error::device(format!("layer {tensor} cannot be run by itself")).because(format!("{error:#}"))
}

/// The floats of a tensor.
pub(super) fn values(tensor: &Tensor) -> Result<&[f32]> {
    // Dense tensors of floats are all that a backbone has.
    tensor
        .try_as_plain_ram()
        .and_then(|plain| plain.as_slice::<f32>())
        .map_err(|error| Error::device("a tensor of the backbone is not one of floats").because(format!("{error:#}")))
}

/// A tensor of the same shape, value by value.
pub(super) fn mapped(tensor: &Tensor, f: impl Fn(f32) -> f32) -> Result<Arc<Tensor>> {
    let values = values(tensor)?.iter().map(|&value| f(value)).collect::<Vec<_>>();
    tensor_of(tensor.shape(), &values)
}

fn tensor_of(shape: &[usize], values: &[f32]) -> Result<Arc<Tensor>> {
    Tensor::from_shape(shape, values)
        .map(Arc::new)
        .map_err(|error| Error::device("a tensor of the backbone has another shape").because(format!("{error:#}")))
}

/// A layer in 8-bit arithmetic.
#[derive(Clone)]
pub(super) enum Int8 {
    /// Whole numbers all the way to the sum, which has the scale of the input times that of the channel's weights.
    Conv(Box<Int8Conv>),
    /// Two codes, each times its scale.
    Add,
}

/// The whole numbers of a convolution.
#[derive(Clone)]
pub(super) struct Int8Conv {
    /// `[O, I / groups, kh, kw]`
    pub shape: Vec<usize>,
    pub weights: Vec<i8>,
    /// Of the weights, one per output channel.
    pub scales: Vec<f32>,
    /// In units of the input's scale times the channel's.
    pub bias: Vec<i32>,
    plan: Plan,
}

impl Int8Conv {
    /// Prepares a convolution with these whole numbers. Its plan computes with them as floats, which is exact as long as
    /// sums stay below 2^24.
    pub fn new(
        network: &Network,
        l: usize,
        conv: &Conv,
        weights: Vec<i8>,
        scales: Vec<f32>,
        bias: Vec<i32>,
    ) -> Result<Self> {
        let layer = &network.layers.layers[l];
        let mut node = layer.nodes[0].clone();
        node.input.truncate(2);
        let mut constants = GraphWriter::default();
        let name = constants.f32(
            node.input[1].clone(),
            &conv.weights.shape,
            &weights.iter().map(|&code| f32::from(code)).collect::<Vec<_>>(),
        );
        node.input[1] = name;
        let plan = network.plan(l, vec![node], constants.constants)?;
        Ok(Int8Conv { shape: conv.weights.shape.clone(), weights, scales, bias, plan })
    }

    /// What it makes of a tensor's codes less their zero point, before its activation; `scale` is the tensor's.
    pub fn run(&self, network: &Network, l: usize, levels: Arc<Tensor>, scale: f32) -> Result<Arc<Tensor>> {
        let sums = network.run_plan(l, &self.plan, vec![levels])?;
        let inner = sums.shape()[2..].iter().product::<usize>().max(1);
        let planes = values(&sums)?.chunks_exact(inner).zip(self.scales.iter().zip(&self.bias));
        let numbers = planes.flat_map(|(plane, (weights, &bias))| {
            let (unit, bias) = (scale * weights, bias as f32);
            plane.iter().map(move |sum| (sum + bias) * unit)
        });
        tensor_of(sums.shape(), &numbers.collect::<Vec<_>>())
    }
}

/// Which tensors have codes and which layers compute with them.
#[derive(Clone)]
pub(super) struct Coded<'n> {
    pub network: &'n Network,
    /// By tensor.
    pub codes: Vec<Option<Code>>,
    /// By layer; `None` for those in floats.
    pub layers: Vec<Option<Int8>>,
    /// Tensors of which all readers see the code's value, also where a layer in floats wrote them.
    pub forced: Option<usize>,
}

/// A tensor as its readers see it.
#[derive(Clone)]
struct Seen {
    /// As its layer wrote it.
    raw: Arc<Tensor>,
    /// The codes less their zero point.
    levels: Option<Arc<Tensor>>,
    /// Whether it is another than the float network's.
    changed: bool,
}

impl<'n> Coded<'n> {
    /// The network in floats.
    pub fn floats(network: &'n Network) -> Self {
        let (tensors, layers) = (network.shapes.len(), network.layers.layers.len());
        Coded { network, codes: vec![None; tensors], layers: vec![None; layers], forced: None }
    }

    /// The same with every convolution's scales a share larger and smaller, by turns.
    pub fn shifted(&self, share: f32) -> Self {
        let mut shifted = self.clone();
        for layer in shifted.layers.iter_mut().flatten() {
            if let Int8::Conv(conv) = layer {
                let signs = [1.0 + share, 1.0 - share];
                conv.scales.iter_mut().enumerate().for_each(|(c, scale)| *scale *= signs[c % 2]);
            }
        }
        shifted
    }

    /// Whether readers in floats see a tensor's code.
    fn is_read_as_code(&self, tensor: usize) -> bool {
        let by_int8 = self.network.layers.writer(tensor).is_some_and(|l| self.layers[l].is_some());
        self.codes[tensor].is_some() && (by_int8 || self.forced == Some(tensor))
    }

    /// The tensors of one image as readers in floats see them, from what the float network made of it: what no code has
    /// touched is not computed again.
    pub fn run(&self, frame: &Frame) -> Result<Frame> {
        let mut seen = Vec::<Seen>::with_capacity(frame.len());
        for (t, float) in frame.iter().enumerate() {
            let (raw, changed) = match self.network.layers.writer(t) {
                Some(l) if self.is_touched(l, &seen) => (self.layer(l, &seen)?, true),
                _ => (float.clone(), false),
            };
            let levels = self.codes[t].map(|code| mapped(&raw, |value| code.level(value))).transpose()?;
            seen.push(Seen { raw, levels, changed });
        }
        (0..frame.len()).map(|t| self.as_floats(t, &seen)).collect()
    }

    fn is_touched(&self, l: usize, seen: &[Seen]) -> bool {
        let inputs = &self.network.layers.layers[l].inputs;
        self.layers[l].is_some() || inputs.iter().any(|&t| seen[t].changed || self.is_read_as_code(t))
    }

    fn as_floats(&self, t: usize, seen: &[Seen]) -> Result<Arc<Tensor>> {
        match (&seen[t].levels, self.codes[t]) {
            (Some(levels), Some(code)) if self.is_read_as_code(t) => mapped(levels, |level| level * code.scale),
            _ => Ok(seen[t].raw.clone()),
        }
    }

    fn layer(&self, l: usize, seen: &[Seen]) -> Result<Arc<Tensor>> {
        let layer = &self.network.layers.layers[l];
        let level = |input: usize| {
            let t = layer.inputs[input];
            let missing = || Error::usage(format!("tensor {} has no code", self.network.layers.tensor(t)));
            let levels = seen[t].levels.clone().ok_or_else(missing)?;
            Ok::<_, Error>((levels, self.codes[t].map_or(1.0, |code| code.scale)))
        };
        match (&self.layers[l], &layer.kind) {
            (Some(Int8::Conv(int8)), Kind::Conv(conv)) => {
                let (levels, scale) = level(0)?;
                let numbers = int8.run(self.network, l, levels, scale)?;
                mapped(&numbers, |number| number.clamp(conv.bounds.0, conv.bounds.1))
            }
            (Some(Int8::Add), Kind::Add { bounds }) => {
                let ((a, a_scale), (b, b_scale)) = (level(0)?, level(1)?);
                let sum = |(a, b): (&f32, &f32)| (a * a_scale + b * b_scale).clamp(bounds.0, bounds.1);
                tensor_of(a.shape(), &values(&a)?.iter().zip(values(&b)?).map(sum).collect::<Vec<_>>())
            }
            _ => {
                let mut inputs = layer.inputs.clone();
                inputs.dedup();
                let inputs = inputs.iter().map(|&t| self.as_floats(t, seen)).collect::<Result<Vec<_>>>()?;
                self.network.run_plan(l, &self.network.plans[l], inputs)
            }
        }
    }
}
