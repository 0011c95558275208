//! A network's file, read and reduced to the plain case: one image input, constants as initializers, names with a
//! prefix.

use std::collections::HashSet;
use std::path::Path;

use hgad::Result;
use hgad::digest::Digest;
use prost::Message;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

use super::{IMAGE, unusable};
use crate::onnx::floats;

const PREFIX: &str = "backbone/";

/// A network whose image input is called `image` and whose other tensors carry the prefix `backbone/`.
pub(crate) struct Source {
    /// The path, for errors.
    pub origin: String,
    pub name: String,
    pub digest: Digest,
    pub opset: i64,
    pub input: ImageInput,
    /// The file's outputs, as it calls them.
    pub outputs: Vec<String>,
    /// The nodes, in the file's order.
    pub nodes: Vec<NodeProto>,
    pub constants: Vec<TensorProto>,
}

/// What a file says of its one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageInput {
    /// What the file calls it.
    pub name: String,
    pub layout: Layout,
    /// Rows and columns, where they are fixed.
    pub size: (Option<usize>, Option<usize>),
}

/// The order of an image's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[1, 3, H, W]`
    ChannelsFirst,
    /// `[1, H, W, 3]`
    ChannelsLast,
}

impl Source {
    pub fn read(path: &Path) -> Result<Self> {
        let origin = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| {
            hgad::Error::device(format!("{origin} cannot be read"))
                .because(error)
                .advise("name an ONNX file of a network for images")
        })?;
        let name = path.file_name().map_or_else(|| origin.clone(), |name| name.to_string_lossy().into_owned());
        let model = ModelProto::decode(bytes.as_slice()).map_err(|error| {
            unusable(&origin, "it is not an ONNX file, or it was cut off")
                .because(error)
                .advise("copy or download the file again, and compare its SHA-256 with the publisher's")
        })?;
        Self::from_model(origin, name, Digest::of(&bytes), model)
    }

    fn from_model(origin: String, name: String, digest: Digest, model: ModelProto) -> Result<Self> {
        let opset = opset(&origin, &model)?;
        let graph = model.graph.ok_or_else(|| unusable(&origin, "it is not an ONNX file: it holds no graph"))?;
        let input = image_input(&origin, &graph)?;
        let image = input.name.clone();
        let outputs = graph.output.iter().map(|output| output.name.clone()).collect();
        let nodes = Vec::with_capacity(graph.node.len());
        let mut source = Source { origin, name, digest, opset, input, outputs, nodes, constants: graph.initializer };
        for node in graph.node {
            match constant(&node) {
                Some(tensor) => source.constants.push(tensor),
                None => source.nodes.push(node),
            }
        }
        source.check()?;
        source.rename(&image);
        Ok(source)
    }

    /// The same, of a classifier: with channels first, as all that looks for taps wants it.
    pub fn read_classifier(path: &Path) -> Result<Self> {
        let source = Self::read(path)?;
        match source.input.layout {
            Layout::ChannelsFirst => Ok(source),
            Layout::ChannelsLast => Err(no_image(&source.origin, &source.input.name, "1, H, W, 3")),
        }
    }

    /// The tensor that the file calls `name`.
    pub fn tensor(name: &str) -> String {
        format!("{PREFIX}{name}")
    }

    /// What the file calls the tensor `name`.
    pub fn original(name: &str) -> &str {
        name.strip_prefix(PREFIX).unwrap_or(name)
    }

    /// The nodes that read `tensor`.
    pub fn readers<'s>(&'s self, tensor: &'s str) -> impl Iterator<Item = &'s NodeProto> {
        self.nodes.iter().filter(move |node| node.input.iter().any(|input| input == tensor))
    }

    /// The node that writes `tensor`.
    pub fn writer(&self, tensor: &str) -> Option<&NodeProto> {
        self.nodes.iter().find(|node| node.output.iter().any(|output| output == tensor))
    }

    fn check(&self) -> Result<()> {
        const EXTERNAL: i32 = 1;
        if let Some(tensor) = self.constants.iter().find(|t| t.data_location.unwrap_or(0) == EXTERNAL) {
            return Err(unusable(&self.origin, format!("its weights lie in another file (tensor {})", tensor.name))
                .advise("export it again with the weights inside (PyTorch: external_data=False)"));
        }
        let damaged =
            |tensor: &&TensorProto| floats(tensor).is_some_and(|values| values.iter().any(|v| !v.is_finite()));
        if let Some(tensor) = self.constants.iter().find(damaged) {
            return Err(unusable(&self.origin, format!("tensor {} is not finite: the file is damaged", tensor.name)));
        }
        let mut written = HashSet::new();
        for node in &self.nodes {
            if !matches!(node.domain.as_str(), "" | "ai.onnx") {
                return Err(unusable(
                    &self.origin,
                    format!("operator {}.{} is not a standard one", node.domain, node.op_type),
                ));
            }
            if node.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty()) {
                return Err(unusable(&self.origin, format!("operator {} holds a graph of its own", node.op_type))
                    .advise("export it with fixed control flow"));
            }
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                if !written.insert(output.as_str()) {
                    return Err(unusable(&self.origin, format!("two nodes write the tensor {output}")));
                }
            }
        }
        Ok(())
    }

    fn rename(&mut self, image: &str) {
        let renamed = |name: &String| match name.as_str() {
            "" => String::new(),
            name if name == image => IMAGE.to_owned(),
            name => Self::tensor(name),
        };
        for node in &mut self.nodes {
            node.input = node.input.iter().map(renamed).collect();
            node.output = node.output.iter().map(renamed).collect();
            node.name = node.output.first().cloned().unwrap_or_default();
            node.doc_string.clear();
        }
        for constant in &mut self.constants {
            constant.name = renamed(&constant.name);
            constant.doc_string.clear();
        }
    }
}

fn opset(origin: &str, model: &ModelProto) -> Result<i64> {
    let imported = model.opset_import.iter().find(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
    imported
        .map(|set| set.version)
        .filter(|&version| version > 0)
        .ok_or_else(|| unusable(origin, "it is not an ONNX file: it names no operator set"))
}

/// The graph's one input that is not a constant, which must be able to be `[1, 3, H, W]` or `[1, H, W, 3]` floats.
fn image_input(origin: &str, graph: &GraphProto) -> Result<ImageInput> {
    let constants = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect::<HashSet<_>>();
    let inputs = graph.input.iter().filter(|input| !constants.contains(input.name.as_str())).collect::<Vec<_>>();
    let [input] = inputs.as_slice() else {
        let names = inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>();
        return Err(unusable(origin, format!("it has {} inputs ({}), not one image", names.len(), names.join(", "))));
    };
    let dims = declared_dims(input);
    let side = |dim: Option<i64>| dim.and_then(|side| usize::try_from(side).ok());
    let (layout, size) = match dims.as_slice() {
        [] => (Layout::ChannelsFirst, (None, None)),
        [None | Some(1), Some(3), height, width] => (Layout::ChannelsFirst, (side(*height), side(*width))),
        [None | Some(1), height, width, Some(3)] => (Layout::ChannelsLast, (side(*height), side(*width))),
        [None | Some(1), None, height, width] => (Layout::ChannelsFirst, (side(*height), side(*width))),
        _ => {
            let dims = dims.iter().map(|dim| dim.map_or("?".to_owned(), |dim| dim.to_string())).collect::<Vec<_>>();
            return Err(no_image(origin, &input.name, &dims.join(", ")));
        }
    };
    Ok(ImageInput { name: input.name.clone(), layout, size })
}

fn no_image(origin: &str, input: &str, dims: &str) -> hgad::Error {
    unusable(origin, format!("its input {input} is [{dims}], not [1, 3, H, W]"))
        .advise("export it for one RGB image in channels-first order")
}

/// The declared dimensions of a value; `None` where one is free. Empty when no shape is declared.
fn declared_dims(value: &ValueInfoProto) -> Vec<Option<i64>> {
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Vec::new();
    };
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    dims.map(|dim| match dim.value {
        Some(dimension::Value::DimValue(value)) if value > 0 => Some(value),
        _ => None,
    })
    .collect()
}

/// The tensor of a `Constant` node.
fn constant(node: &NodeProto) -> Option<TensorProto> {
    if node.op_type != "Constant" {
        return None;
    }
    let value = node.attribute.iter().find(|attribute| attribute.name == "value")?.t.clone()?;
    Some(TensorProto { name: node.output.first()?.clone(), ..value })
}
