//! ONNX graphs, written node by node into tract's protobuf types.

use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};

/// The first operator set in which all that we write exists (`DequantizeLinear` per axis, axes of `ReduceSum` as an
/// input).
pub const OPSET: i64 = 13;

/// The file format's version: the one that came with opset 15, which every runtime of the last years reads.
const IR_VERSION: i64 = 8;

/// A graph under construction. Tensor names are the caller's and must be unique.
#[derive(Debug, Clone, Default)]
pub struct GraphWriter {
    /// The nodes, in an order in which they can run.
    pub nodes: Vec<NodeProto>,
    /// The constants.
    pub constants: Vec<TensorProto>,
}

impl GraphWriter {
    /// Appends a node with one output, and returns the output's name.
    pub fn op(&mut self, op_type: &str, inputs: &[&str], output: impl Into<String>) -> String {
        self.op_with(op_type, inputs, output, Vec::new())
    }

    /// Appends a node with one output and attributes, and returns the output's name.
    pub fn op_with(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        output: impl Into<String>,
        attributes: Vec<AttributeProto>,
    ) -> String {
        let output = output.into();
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.clone()],
            name: output.clone(),
            op_type: op_type.to_owned(),
            attribute: attributes,
            ..NodeProto::default()
        });
        output
    }

    /// Adds a float constant, and returns its name.
    pub fn f32<'v>(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        values: impl IntoIterator<Item = &'v f32>,
    ) -> String {
        let bytes = values.into_iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Float, shape, bytes)
    }

    /// Adds an int8 constant, and returns its name.
    pub fn i8(&mut self, name: impl Into<String>, shape: &[usize], values: &[i8]) -> String {
        let bytes = values.iter().map(|&value| value as u8).collect();
        self.constant(name, DataType::Int8, shape, bytes)
    }

    /// Adds a uint8 constant, and returns its name.
    pub fn u8(&mut self, name: impl Into<String>, shape: &[usize], values: &[u8]) -> String {
        self.constant(name, DataType::Uint8, shape, values.to_vec())
    }

    /// Adds an int32 constant, and returns its name.
    pub fn i32(&mut self, name: impl Into<String>, shape: &[usize], values: &[i32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Int32, shape, bytes)
    }

    /// Adds a vector of integers (a shape, axes, bounds), and returns its name.
    pub fn i64(&mut self, name: impl Into<String>, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Int64, &[values.len()], bytes)
    }

    fn constant(&mut self, name: impl Into<String>, kind: DataType, shape: &[usize], bytes: Vec<u8>) -> String {
        let name = name.into();
        self.constants.push(TensorProto {
            dims: shape.iter().map(|&dim| dim as i64).collect(),
            data_type: kind as i32,
            name: name.clone(),
            raw_data: bytes,
            ..TensorProto::default()
        });
        name
    }

    /// The finished model with the given inputs and outputs, for operator set `opset`.
    pub fn finish(self, opset: i64, inputs: Vec<ValueInfoProto>, outputs: Vec<ValueInfoProto>) -> ModelProto {
        ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: opset }],
            producer_name: "hgad-train".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(GraphProto {
                name: "hgad".to_owned(),
                node: self.nodes,
                initializer: self.constants,
                input: inputs,
                output: outputs,
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
    }
}

/// The declaration of a float tensor: an input or output of a graph.
pub fn float_value(name: impl Into<String>, shape: &[usize]) -> ValueInfoProto {
    free_value(name, &shape.iter().map(|&side| Some(side)).collect::<Vec<_>>())
}

/// The same, with sides that the graph leaves open.
pub fn free_value(name: impl Into<String>, shape: &[Option<usize>]) -> ValueInfoProto {
    let dim = |dim: &Option<usize>| Dimension {
        value: dim.map(|side| dimension::Value::DimValue(side as i64)),
        ..Dimension::default()
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: DataType::Float as i32,
                shape: Some(TensorShapeProto { dim: shape.iter().map(dim).collect() }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// An integer attribute.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Int as i32, i: value, ..AttributeProto::default() }
}

/// An attribute that is a list of integers.
pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

/// The bytes of an ONNX file that holds `model`.
pub fn encode(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// The dimensions of a tensor.
pub fn shape(tensor: &TensorProto) -> Vec<usize> {
    tensor.dims.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect()
}

/// The values of a float tensor, in whichever of the two fields they are; `None` for other types, and where they do not
/// fill the shape.
pub fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    let raw = tensor.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let values = if tensor.raw_data.is_empty() { tensor.float_data.clone() } else { raw.collect() };
    let fills = values.len() == shape(tensor).iter().product::<usize>();
    (tensor.data_type == DataType::Float as i32 && fills).then_some(values)
}
