//! What of a graph does not depend on the image, once the image's size is known.
//!
//! Exporters write sizes as computations (`Shape`, `Gather`, `Concat`), so that a file fits any batch. A bundle's network has one size:
//! all of that is a constant, and operators that a bundle may not hold are gone with it.

use std::collections::{HashMap, HashSet};

use hgad::Result;
use hgad::bundle::InputSize;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;

use crate::backbone::guarded;

/// What is known of a graph's tensors before it has seen an image, by their names.
pub(super) struct Known {
    pub shapes: HashMap<String, Vec<usize>>,
    /// Those that are the same for all images.
    pub values: HashMap<String, TensorProto>,
}

impl Known {
    /// Asks tract. `origin` is named in errors.
    ///
    /// # Errors
    ///
    /// tract cannot follow the graph at this size.
    pub fn of(origin: &str, graph: &ModelProto, size: InputSize) -> Result<Self> {
        guarded(origin, || {
            let parsed =
                tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true).parse(graph, None)?;
            let mut model = parsed.model.with_input_fact(0, f32::fact([1, 3, size.height, size.width]).into())?;
            model.analyse(false)?;
            let mut known = Known { shapes: HashMap::new(), values: HashMap::new() };
            for (name, outlet) in parsed.outlets_by_name {
                let fact = model.outlet_fact(outlet)?;
                if let Some(shape) = fact.shape.as_concrete_finite()? {
                    known.shapes.insert(name.clone(), shape.to_vec());
                }
                if let Some(value) = fact.value.concretize().and_then(|value| constant(&name, &value)) {
                    known.values.insert(name, value);
                }
            }
            Ok(known)
        })
    }

    /// The values of a constant of whole numbers.
    pub fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let tensor = self.values.get(name).filter(|tensor| tensor.data_type == DataType::Int64 as i32)?;
        Some(tensor.raw_data.chunks_exact(8).filter_map(|b| b.try_into().ok().map(i64::from_le_bytes)).collect())
    }

    /// The values of a constant of floats.
    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        self.values.get(name).and_then(crate::onnx::floats)
    }
}

/// A value as an initializer; `None` for types that no graph needs.
fn constant(name: &str, value: &Tensor) -> Option<TensorProto> {
    fn bytes<T: Datum + Copy, const N: usize>(value: &Tensor, of: fn(T) -> [u8; N]) -> Option<Vec<u8>> {
        Some(value.to_plain_array_view::<T>().ok()?.iter().flat_map(|element| of(*element)).collect())
    }
    let (kind, raw_data) = match value.datum_type() {
        DatumType::F32 => (DataType::Float, bytes(value, f32::to_le_bytes)?),
        DatumType::I32 => (DataType::Int32, bytes(value, i32::to_le_bytes)?),
        DatumType::Bool => (DataType::Bool, bytes(value, |element: bool| [u8::from(element)])?),
        DatumType::I64 | DatumType::TDim => {
            (DataType::Int64, bytes(value.cast_to::<i64>().ok()?.as_ref(), i64::to_le_bytes)?)
        }
        _ => return None,
    };
    let dims = value.shape().iter().map(|&dim| dim as i64).collect();
    Some(TensorProto { name: name.to_owned(), dims, data_type: kind as i32, raw_data, ..TensorProto::default() })
}

/// Puts constants in the place of what computes them, and leaves out what `outputs` do not need.
pub(super) fn fold(graph: &mut GraphProto, known: &Known, outputs: &[String]) {
    let writers = graph.node.iter().enumerate();
    let writers = writers.flat_map(|(n, node)| node.output.iter().map(move |output| (output.clone(), n)));
    let writers = writers.collect::<HashMap<_, _>>();
    let (mut nodes, mut constants) = (HashSet::new(), Vec::new());
    let mut seen = HashSet::new();
    let mut open = outputs.to_vec();
    while let Some(tensor) = open.pop() {
        if tensor.is_empty() || !seen.insert(tensor.clone()) {
            continue;
        }
        let Some(&n) = writers.get(&tensor) else { continue };
        // Weights in 8 bits stay in 8 bits.
        let stored = graph.node[n].op_type == "DequantizeLinear";
        match known.values.get(&tensor).filter(|_| !stored) {
            Some(value) => constants.push(value.clone()),
            None if nodes.insert(n) => open.extend(graph.node[n].input.iter().cloned()),
            None => {}
        }
    }
    let mut number = 0..;
    graph.node.retain(|_| number.next().is_some_and(|n| nodes.contains(&n)));
    graph.initializer.retain(|constant| seen.contains(&constant.name));
    graph.initializer.extend(constants);
}
