//! The backbone of a bundle's graph, layer by layer.

use std::collections::{HashMap, HashSet};

use hgad::{Error, Result};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use crate::backbone::IMAGE;
use crate::onnx::{floats, shape};

/// The names of everything that belongs to a flow begin so (`docs/bundle.md`).
const FLOW: &str = "level.";

/// A float constant, whichever way the graph stores it.
#[derive(Debug, Clone)]
pub(super) struct Constant {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// A part of the backbone that becomes one operation, or that is left as it is.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// The tensor that it writes, behind its activation.
    pub output: String,
    /// The tensors that it reads, by their numbers: 0 is the image, `i + 1` the output of layer i.
    pub inputs: Vec<usize>,
    /// Its nodes, as they stand in the graph: one, and perhaps an activation.
    pub nodes: Vec<NodeProto>,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A convolution.
    Conv(Conv),
    /// A sum of two tensors of the same shape.
    Add {
        /// Where its activation cuts off.
        bounds: (f32, f32),
    },
    /// What is computed in floats: normalisation, pooling, concatenation.
    Other,
}

/// The constants of a convolution.
#[derive(Debug, Clone)]
pub(super) struct Conv {
    /// `[O, I / groups, kh, kw]`
    pub weights: Constant,
    /// `[O]`
    pub bias: Vec<f32>,
    /// Where its activation cuts off: `(0, 6)` for a ReLU6; infinite without one.
    pub bounds: (f32, f32),
}

/// The layers of a backbone in an order in which they can run.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    pub layers: Vec<Layer>,
    /// The numbers of the tensors that the flows read.
    pub taps: Vec<usize>,
    /// The constants that layers in floats need, by name.
    pub constants: HashMap<String, TensorProto>,
}

impl Layers {
    /// Finds the layers of a bundle's graph.
    ///
    /// # Errors
    ///
    /// There is no backbone that a flow reads, or a node of it has several outputs.
    pub fn of(graph: &GraphProto) -> Result<Self> {
        let reader = Reader::of(graph);
        let taps = reader.taps();
        let wanted = reader.ancestors(&taps);
        let mut found = Layers { layers: Vec::new(), taps: Vec::new(), constants: HashMap::new() };
        let mut numbers = HashMap::from([(IMAGE.to_owned(), 0)]);
        let mut fused = HashSet::new();
        for node in graph.node.iter().filter(|node| node.output.iter().any(|o| wanted.contains(o.as_str()))) {
            if fused.contains(node.output[0].as_str()) || reader.is_constant(&node.output[0]) {
                continue;
            }
            if node.output.len() > 1 {
                return Err(foreign(format!("node {} has several outputs", node.name)));
            }
            let (kind, activation) = reader.kind(node, &taps);
            let nodes = [Some(node), activation].into_iter().flatten().cloned().collect::<Vec<_>>();
            let output = nodes[nodes.len() - 1].output[0].clone();
            let mut inputs = Vec::new();
            for input in nodes.iter().flat_map(|node| &node.input).filter(|input| !input.is_empty()) {
                match (reader.constant_tensor(input), numbers.get(input)) {
                    (Some(tensor), _) => _ = found.constants.insert(input.clone(), tensor),
                    (None, Some(&number)) => inputs.push(number),
                    (None, None) if *input == nodes[0].output[0] => {}
                    (None, None) => {
                        return Err(foreign(format!("{input}, which {} reads, is computed from constants", node.name)));
                    }
                }
            }
            if let Some(activation) = activation {
                fused.insert(activation.output[0].as_str());
            }
            numbers.insert(output.clone(), found.layers.len() + 1);
            found.layers.push(Layer { output, inputs, nodes, kind });
        }
        found.taps = taps.iter().filter_map(|tap| numbers.get(*tap).copied()).collect();
        match found.taps.is_empty() {
            true => Err(foreign("no flow reads a tensor of a backbone".to_owned())),
            false => Ok(found),
        }
    }

    /// The name of a tensor.
    pub fn tensor(&self, number: usize) -> &str {
        match number.checked_sub(1) {
            Some(layer) => &self.layers[layer].output,
            None => IMAGE,
        }
    }

    /// The layer that writes a tensor; none writes the image.
    pub fn writer(&self, tensor: usize) -> Option<usize> {
        tensor.checked_sub(1)
    }
}

fn foreign(why: String) -> Error {
    Error::usage("the bundle's model.onnx is not one whose backbone can be quantised")
        .because(why)
        .advise("give a bundle that hgad-train train wrote")
}

/// A graph's tensors by their names.
struct Reader<'g> {
    graph: &'g GraphProto,
    stored: HashMap<&'g str, &'g TensorProto>,
    writers: HashMap<&'g str, &'g NodeProto>,
    readers: HashMap<&'g str, Vec<&'g NodeProto>>,
}

impl<'g> Reader<'g> {
    fn of(graph: &'g GraphProto) -> Self {
        let stored = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let (mut writers, mut readers) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        for node in &graph.node {
            writers.extend(node.output.iter().map(|output| (output.as_str(), node)));
            node.input.iter().for_each(|input| readers.entry(input.as_str()).or_default().push(node));
        }
        Reader { graph, stored, writers, readers }
    }

    /// The backbone's tensors that flows read.
    fn taps(&self) -> Vec<&'g str> {
        let flows = self.graph.node.iter().filter(|node| node.output.iter().any(|output| output.starts_with(FLOW)));
        let mut taps = Vec::new();
        for input in flows.flat_map(|node| &node.input) {
            let of_backbone = !input.starts_with(FLOW) && self.writers.contains_key(input.as_str());
            if of_backbone && !self.is_constant(input) && !taps.contains(&input.as_str()) {
                taps.push(input.as_str());
            }
        }
        taps
    }

    fn ancestors(&self, tensors: &[&'g str]) -> HashSet<&'g str> {
        let mut wanted = tensors.iter().copied().collect::<HashSet<_>>();
        let mut open = tensors.to_vec();
        while let Some(tensor) = open.pop() {
            let inputs = self.writers.get(tensor).into_iter().flat_map(|node| &node.input);
            open.extend(inputs.map(String::as_str).filter(|input| wanted.insert(input)));
        }
        wanted
    }

    fn is_constant(&self, tensor: &str) -> bool {
        match self.writers.get(tensor) {
            Some(node) => node.input.iter().all(|input| self.is_constant(input)),
            None => self.stored.contains_key(tensor),
        }
    }

    /// What a node is, and the activation behind it.
    fn kind(&self, node: &'g NodeProto, taps: &[&str]) -> (Kind, Option<&'g NodeProto>) {
        let activation = self.activation(node, taps);
        let bounds = activation.map_or((f32::NEG_INFINITY, f32::INFINITY), |(_, bounds)| bounds);
        let activation = activation.map(|(node, _)| node);
        let constant = |input: usize| node.input.get(input).and_then(|name| self.constant(name));
        match node.op_type.as_str() {
            "Conv" => match constant(1).filter(|weights| weights.shape.len() == 4) {
                Some(weights) => match node.input.get(2).filter(|name| !name.is_empty()) {
                    None => {
                        let bias = vec![0.0; weights.shape[0]];
                        (Kind::Conv(Conv { weights, bias, bounds }), activation)
                    }
                    Some(_) => match constant(2) {
                        Some(Constant { values: bias, .. }) => (Kind::Conv(Conv { weights, bias, bounds }), activation),
                        None => (Kind::Other, None),
                    },
                },
                None => (Kind::Other, None),
            },
            "Add" if !node.input.iter().any(|input| self.is_constant(input)) => (Kind::Add { bounds }, activation),
            _ => (Kind::Other, None),
        }
    }

    /// The ReLU or Clip behind a node, if nothing else reads the node's output.
    fn activation(&self, node: &NodeProto, taps: &[&str]) -> Option<(&'g NodeProto, (f32, f32))> {
        let output = node.output[0].as_str();
        let [reader] = self.readers.get(output)?.as_slice() else { return None };
        let bound = |input: usize, none: f32| match reader.input.get(input).filter(|name| !name.is_empty()) {
            Some(name) => self.constant(name)?.values.first().copied(),
            None => Some(none),
        };
        let bounds = match reader.op_type.as_str() {
            "Relu" => (0.0, f32::INFINITY),
            "Clip" => (bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?),
            _ => return None,
        };
        // Padding and dead channels are 0: an activation that moves it would need a code of its own for that.
        let keeps_zero = bounds.0 <= 0.0 && bounds.1 >= 0.0;
        (keeps_zero && !taps.contains(&output)).then_some((*reader, bounds))
    }

    /// A constant as the layers' own graphs hold it; `None` for what is computed from the image.
    fn constant_tensor(&self, name: &str) -> Option<TensorProto> {
        if let Some(&stored) = self.stored.get(name) {
            return Some(stored.clone());
        }
        let Constant { shape, values } = self.constant(name)?;
        Some(TensorProto {
            dims: shape.iter().map(|&dim| dim as i64).collect(),
            data_type: DataType::Float as i32,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ..TensorProto::default()
        })
    }

    /// A constant's floats: stored ones, or the one or two 8-bit codes that bundles store weights in.
    fn constant(&self, name: &str) -> Option<Constant> {
        if let Some(tensor) = self.stored.get(name) {
            return Some(Constant { shape: shape(tensor), values: floats(tensor)? });
        }
        let node = self.writers.get(name)?;
        match node.op_type.as_str() {
            "DequantizeLinear" => {
                let codes = self.stored.get(node.input.first()?.as_str())?;
                let scales = floats(self.stored.get(node.input.get(1)?.as_str())?)?;
                (codes.data_type == DataType::Int8 as i32)
                    .then(|| dequantised(codes, &scales, axis(&node.attribute)))?
            }
            "Add" => {
                let (a, b) = (self.constant(node.input.first()?)?, self.constant(node.input.get(1)?)?);
                let values = a.values.iter().zip(&b.values).map(|(a, b)| a + b).collect();
                (a.shape == b.shape).then_some(Constant { shape: a.shape, values })
            }
            "Identity" => self.constant(node.input.first()?),
            _ => None,
        }
    }
}

fn axis(attributes: &[AttributeProto]) -> i64 {
    attributes.iter().find(|attribute| attribute.name == "axis").map_or(1, |attribute| attribute.i)
}

/// The values of symmetric codes, whose zero points are all 0.
fn dequantised(codes: &TensorProto, scales: &[f32], axis: i64) -> Option<Constant> {
    let shape = shape(codes);
    let axis = usize::try_from(axis).ok().filter(|axis| *axis < shape.len())?;
    let inner = shape[axis + 1..].iter().product::<usize>().max(1);
    let fits = scales.len() == shape[axis] && codes.raw_data.len() == shape.iter().product::<usize>();
    let value = |(i, &code): (usize, &u8)| f32::from(code as i8) * scales[i / inner % shape[axis]];
    fits.then(|| Constant { values: codes.raw_data.iter().enumerate().map(value).collect(), shape: shape.clone() })
}
