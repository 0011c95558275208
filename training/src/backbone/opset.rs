//! Files of older operator sets, rewritten into the one that bundles are written in.
//!
//! Zoo models of 2018 to 2020 use operator sets 7 to 12. Of the operators that a feature extractor is made of, few
//! changed since; the others mean the same in both.

use hgad::Result;
use tract_onnx::pb::NodeProto;

use super::source::Source;
use super::unusable;
use crate::onnx::{GraphWriter, OPSET};

/// The oldest set whose convolutions, poolings and broadcasts mean what they mean today.
const OLDEST: i64 = 7;

/// Operators that mean the same in sets 7 to 13.
const UNCHANGED: [&str; 23] = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Concat",
    "Conv",
    "Div",
    "Exp",
    "Gemm",
    "GlobalAveragePool",
    "HardSigmoid",
    "Identity",
    "LeakyRelu",
    "MatMul",
    "MaxPool",
    "Mul",
    "PRelu",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Sqrt",
    "Sub",
    "Tanh",
    "Transpose",
];

/// `nodes`, which use `source`'s operator set, in set [`OPSET`] or in their own when that is newer. Constants that a newer
/// form needs go to `graph`.
pub(super) fn upgraded(source: &Source, nodes: Vec<NodeProto>, graph: &mut GraphWriter) -> Result<Vec<NodeProto>> {
    if source.opset < OLDEST {
        return Err(unusable(&source.origin, format!("its operator set {} is older than {OLDEST}", source.opset))
            .advise("export it again with operator set 13 or newer"));
    }
    let upgrade = |node: NodeProto| match node.op_type.as_str() {
        // In inference a dropout passes its input on; the mask is never read.
        "Dropout" => Ok(NodeProto {
            op_type: "Identity".to_owned(),
            input: node.input.into_iter().take(1).collect(),
            output: node.output.into_iter().take(1).collect(),
            attribute: Vec::new(),
            ..node
        }),
        "Clip" if source.opset < 11 => Ok(clip_with_inputs(node, graph)),
        op if source.opset >= OPSET || op == "Clip" || UNCHANGED.contains(&op) => Ok(node),
        op => {
            Err(unusable(&source.origin, format!("{op} changed its meaning since its operator set {}", source.opset))
                .advise("export it again with operator set 13 or newer"))
        }
    };
    nodes.into_iter().map(upgrade).collect()
}

/// Whether a bundle may hold `node` as it becomes.
pub(super) fn admits(source: &Source, node: &NodeProto) -> bool {
    let mut graph = GraphWriter::default();
    upgraded(source, vec![node.clone()], &mut graph).is_ok_and(|nodes| {
        graph.nodes = nodes;
        hgad::bundle::admit_graph(&source.origin, &graph.finish(OPSET, Vec::new(), Vec::new())).is_ok()
    })
}

/// Before set 11 the bounds of a `Clip` were attributes.
fn clip_with_inputs(mut node: NodeProto, graph: &mut GraphWriter) -> NodeProto {
    let bounds = std::mem::take(&mut node.attribute);
    for name in ["min", "max"] {
        let bound = bounds.iter().find(|attribute| attribute.name == name);
        node.input.push(bound.map_or_else(String::new, |b| graph.f32(format!("{}.{name}", node.name), &[], &[b.f])));
    }
    node
}
