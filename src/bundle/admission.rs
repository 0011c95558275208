//! Which networks are let in: an allow-list of operators with bounds on what they may ask for.
//!
//! A runtime is not written for hostile files: a convolution with huge padding aborts the process, a `Tile` asks for
//! hundreds of gigabytes. So a graph is read, and every node looked at, before tract builds anything from it.

use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataLocation};
use tract_onnx::prelude::Framework;

use crate::{Error, Result};

/// What a backbone, an exported flow and networks that give anomaly maps are made of. Operators whose output size is a value in the file
/// (`ConstantOfShape`, `Expand`, `Tile`, `Range`, `Resize`, `Pad`) are left out on purpose.
const ALLOWED_OPS: &[&str] = &[
    "Abs",
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "DequantizeLinear",
    "Div",
    "Elu",
    "Erf",
    "Exp",
    "Flatten",
    "Gather",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "Greater",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "InstanceNormalization",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "Log",
    "MatMul",
    "Max",
    "MaxPool",
    "Min",
    "Mul",
    "Neg",
    "PRelu",
    "Pow",
    "QuantizeLinear",
    "Reciprocal",
    "ReduceL2",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Softplus",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// Smallest and largest value that each number of an attribute may have.
const BOUNDS: &[(&str, i64, i64)] = &[
    ("kernel_shape", 1, 63),
    ("strides", 1, 32),
    ("dilations", 1, 32),
    ("pads", 0, 63),
    ("group", 1, 8192),
    ("axis", -8, 8),
    ("perm", 0, 8),
];

const MOST_NODES: usize = 20_000;

/// Reads ONNX bytes as a graph, without building anything from it.
///
/// # Errors
///
/// The bytes are not an ONNX model, or are cut off. `origin` is named.
pub fn parse_graph(origin: &str, bytes: &[u8]) -> Result<ModelProto> {
    let not_onnx = || {
        Error::device(format!("{origin} is not an ONNX model"))
            .advise("is the file complete? compare its size and digest with the original")
    };
    let graph = tract_onnx::onnx().proto_model_for_read(&mut &bytes[..]).map_err(|error| not_onnx().because(error))?;
    match &graph.graph {
        Some(inner) if !inner.node.is_empty() => Ok(graph),
        _ => Err(not_onnx().because("it holds no graph")),
    }
}

/// Lets a graph in, or says which of its nodes is out of bounds.
///
/// # Errors
///
/// An operator that is not on the list, an attribute out of bounds, a tensor whose bytes do not fill its shape or lie
/// in another file.
pub fn admit_graph(origin: &str, graph: &ModelProto) -> Result<()> {
    let refuse = |why: String| {
        Error::device(format!("{origin} is not let in"))
            .because(why)
            .advise("export the model with plain convolutions, activations and matrix products at fixed shapes")
    };
    let Some(inner) = &graph.graph else { return Err(refuse("it holds no graph".into())) };
    if inner.node.len() > MOST_NODES {
        return Err(refuse(format!("it has {} nodes, more than {MOST_NODES}", inner.node.len())));
    }
    for node in &inner.node {
        admit_node(node).map_err(|why| refuse(format!("node '{}' ({}): {why}", node_name(node), node.op_type)))?;
    }
    for tensor in &inner.initializer {
        admit_tensor(tensor).map_err(|why| refuse(format!("tensor '{}': {why}", tensor.name)))?;
    }
    Ok(())
}

fn node_name(node: &NodeProto) -> &str {
    if node.name.is_empty() { node.output.first().map_or("?", String::as_str) } else { &node.name }
}

fn admit_node(node: &NodeProto) -> Result<(), String> {
    if !matches!(node.domain.as_str(), "" | "ai.onnx") || !ALLOWED_OPS.contains(&node.op_type.as_str()) {
        return Err("this operator is not on the list of those that are let in".into());
    }
    node.attribute.iter().try_for_each(admit_attribute)
}

fn admit_attribute(attribute: &AttributeProto) -> Result<(), String> {
    if attribute.g.is_some() || !attribute.graphs.is_empty() {
        return Err(format!("attribute {} holds a graph", attribute.name));
    }
    if let Some(tensor) = &attribute.t {
        admit_tensor(tensor)?;
    }
    let Some((name, least, most)) = BOUNDS.iter().find(|(name, ..)| *name == attribute.name) else { return Ok(()) };
    // Whether `i` or `ints` is meant depends on a type field that hostile files set as they like: both are checked, and
    // an unset `i` is 0, which only the lists' names would refuse.
    let single = (attribute.ints.is_empty()).then_some(attribute.i);
    match attribute.ints.iter().copied().chain(single).find(|value| !(*least..=*most).contains(value)) {
        Some(value) => Err(format!("{name} = {value} is not within {least}..={most}")),
        None => Ok(()),
    }
}

fn admit_tensor(tensor: &TensorProto) -> Result<(), String> {
    if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
        return Err("its values lie in another file".into());
    }
    let elements =
        tensor.dims.iter().try_fold(1i64, |product, dim| if *dim < 0 { None } else { product.checked_mul(*dim) });
    let held = [
        tensor.raw_data.len(),
        tensor.float_data.len(),
        tensor.int32_data.len(),
        tensor.int64_data.len(),
        tensor.double_data.len(),
        tensor.uint64_data.len(),
    ];
    // More than an address can count, on a 32-bit board, is more than it has.
    match elements.and_then(|elements| usize::try_from(elements).ok()) {
        // One byte is the smallest element; a tensor that claims more elements than it has bytes would be read past its end.
        Some(elements) if elements <= held.into_iter().max().unwrap_or(0) => Ok(()),
        _ => Err(format!("its shape {:?} asks for more values than it has", tensor.dims)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::GraphProto;

    fn graph(node: NodeProto, initializer: Vec<TensorProto>) -> ModelProto {
        ModelProto {
            graph: Some(GraphProto { node: vec![node], initializer, ..Default::default() }),
            ..Default::default()
        }
    }

    fn node(op: &str, attribute: &str, ints: &[i64]) -> NodeProto {
        let attribute = AttributeProto { name: attribute.into(), ints: ints.to_vec(), ..Default::default() };
        NodeProto { op_type: op.into(), name: "n".into(), attribute: vec![attribute], ..Default::default() }
    }

    #[test]
    fn what_could_hurt_is_refused_by_name() {
        struct Case {
            node: NodeProto,
            tensors: Vec<TensorProto>,
            says: Option<&'static str>,
        }
        let tensor = |dims: &[i64], bytes: usize| TensorProto {
            name: "w".into(),
            dims: dims.to_vec(),
            raw_data: vec![0; bytes],
            ..Default::default()
        };
        let ok = || node("Conv", "kernel_shape", &[3, 3]);
        let cases = [
            Case { node: ok(), tensors: vec![tensor(&[2, 2], 16)], says: None },
            Case { node: node("Tile", "x", &[]), tensors: vec![], says: Some("not on the list") },
            Case { node: node("ConstantOfShape", "x", &[]), tensors: vec![], says: Some("not on the list") },
            Case { node: node("Conv", "pads", &[1 << 40, 0]), tensors: vec![], says: Some("pads = 1099511627776") },
            Case { node: node("Conv", "strides", &[0, 1]), tensors: vec![], says: Some("strides = 0") },
            Case { node: ok(), tensors: vec![tensor(&[1 << 40, 1 << 40], 4)], says: Some("more values") },
            // Whose product is 0 in 32 bits.
            Case { node: ok(), tensors: vec![tensor(&[1 << 16, 1 << 16], 4)], says: Some("more values") },
            Case { node: ok(), tensors: vec![tensor(&[-1], 4)], says: Some("more values") },
        ];
        for case in cases {
            let verdict = admit_graph("m.onnx", &graph(case.node, case.tensors));
            match (case.says, verdict) {
                (None, verdict) => verdict.unwrap(),
                (Some(words), Err(error)) => assert!(error.report().contains(words), "{}", error.report()),
                (Some(words), Ok(())) => panic!("let in, expected: {words}"),
            }
        }
    }

    #[test]
    fn bytes_that_are_no_model_are_refused() {
        for bytes in [&b""[..], b"hello", &[0xff; 64]] {
            assert!(parse_graph("m.onnx", bytes).unwrap_err().to_string().contains("not an ONNX model"));
        }
    }
}
