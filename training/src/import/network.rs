//! A network that was trained elsewhere, as the graph of a bundle.

use std::collections::HashSet;
use std::path::Path;

use hgad::bundle::{InputSize, Level, admit_graph, parse_graph};
use hgad::digest::Digest;
use hgad::{Error, Result};
use tract_onnx::pb::{ModelProto, NodeProto};

use super::fixed::{Known, fold};
use super::resample;
use crate::backbone::{Layout, Normalise, Source, cut, unusable};
use crate::onnx::{GraphWriter, encode, float_value, int};

/// The size of networks whose files leave it open.
const USUAL_SIZE: InputSize = InputSize { width: 256, height: 256 };

/// What is taken of a file, and how it is to be read.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The output that is an anomaly map.
    pub map: Option<String>,
    /// The output that is a score of the whole image.
    pub score: Option<String>,
    /// Whether low values are anomalous.
    pub invert: bool,
    /// The input's size where the file leaves it open, or another one that it takes, too.
    pub size: Option<InputSize>,
    /// What the network wants its pixels to be; `None`: what the file suggests.
    pub normalise: Option<Normalise>,
}

/// A network whose graph may stand in a bundle.
#[derive(Debug, Clone)]
pub struct Network {
    /// The file's name, without its folder.
    pub name: String,
    /// The digest of the file.
    pub digest: Digest,
    /// What the file calls its input.
    pub input: String,
    /// Whether the file has its channels last.
    pub channels_last: bool,
    /// What stands in front, as chosen: never [`Normalise::Auto`].
    pub normalise: Normalise,
    /// The input's size.
    pub size: InputSize,
    /// The outputs, the map first.
    pub levels: Vec<Level>,
    /// From `image` to the raw outputs, whose tensors `outputs` names.
    graph: ModelProto,
    outputs: Vec<String>,
    invert: bool,
}

impl Network {
    /// Reads the file in `path` and makes of it what a bundle may hold: sizes are fixed, what is constant is folded, and
    /// resampling becomes matrix products.
    ///
    /// # Errors
    ///
    /// No ONNX file, or a damaged one (device errors); no such output, none that is a map or a score, an input that is not one
    /// image, an operator that a bundle may not hold (usage errors, which name it).
    pub fn open(path: &Path, wanted: &Wanted) -> Result<Self> {
        let source = Source::read(path)?;
        let size = size(&source, wanted.size)?;
        let normalise = wanted.normalise.clone().unwrap_or(Normalise::Auto);
        let normalise = if normalise == Normalise::Auto { suggested(&source)? } else { normalise };
        let names = outputs(&source, wanted)?;
        let outputs = names.iter().map(|name| Source::tensor(name)).collect::<Vec<_>>();
        let mut graph = cut(&source, size, &normalise, &outputs)?;
        let known = Known::of(&source.origin, &graph, size).map_err(|error| blamed(&source, &graph, error))?;
        if let Some(inner) = &mut graph.graph {
            fold(inner, &known, &outputs);
            resample::replace(&source.origin, inner, &known)?;
            // What only said how to resample is read by nobody now.
            fold(inner, &known, &outputs);
        }
        admit_graph(&source.origin, &graph)?;
        let levels = names.iter().zip(&outputs).map(|(name, tensor)| level(&source, name, known.shapes.get(tensor)));
        let levels = levels.collect::<Result<Vec<_>>>()?;
        check_kinds(&source, wanted, &levels, size)?;
        Ok(Network {
            input: source.input.name.clone(),
            channels_last: source.input.layout == Layout::ChannelsLast,
            name: source.name,
            digest: source.digest,
            normalise,
            size,
            levels,
            graph,
            outputs,
            invert: wanted.invert,
        })
    }

    /// The ONNX bytes of a bundle's network: output `z.l` is the file's in units of `spreads[l]`, higher for what is more
    /// anomalous; `logdet.l` is 0.
    pub fn encode(&self, spreads: &[f32]) -> Vec<u8> {
        let mut model = self.graph.clone();
        let Some(inner) = &mut model.graph else { return encode(&model) };
        let mut graph =
            GraphWriter { nodes: std::mem::take(&mut inner.node), constants: std::mem::take(&mut inner.initializer) };
        inner.output.clear();
        let doubt = doubt(&mut graph);
        for (l, ((level, output), spread)) in self.levels.iter().zip(&self.outputs).zip(spreads).enumerate() {
            let shape = [1, 1, level.height, level.width];
            let sign = if self.invert { -1.0 } else { 1.0 };
            let factor = graph.f32(format!("level.{l}/factor"), &[1, 1, 1, 1], &[sign / spread]);
            let sides = graph.i64(format!("level.{l}/shape"), &shape.map(|side| side as i64));
            let zeros = graph.f32(format!("level.{l}/zeros"), &shape, &vec![0.0; shape.iter().product()]);
            let map = graph.op("Reshape", &[output, &sides], format!("level.{l}/map"));
            let z = match &doubt {
                None => graph.op("Mul", &[&map, &factor], format!("z.{l}")),
                Some(doubt) => {
                    let scaled = graph.op("Mul", &[&map, &factor], format!("level.{l}/scaled"));
                    graph.op("Add", &[&scaled, doubt], format!("z.{l}"))
                }
            };
            let logdet = graph.op("Identity", &[&zeros], format!("logdet.{l}"));
            inner.output.extend([float_value(z, &shape), float_value(logdet, &shape)]);
        }
        inner.node = graph.nodes;
        inner.initializer = graph.constants;
        encode(&model)
    }
}

/// What chooses among values, and so may lose one that is no number.
const CHOOSING: [&str; 7] = ["Max", "Min", "ReduceMax", "ReduceMin", "Where", "Greater", "Less"];

/// Adds a number that is 0 where all values are numbers that an operator may choose among, and no number otherwise: a frame on which the
/// network fails must not look like any other. `None` where nothing chooses.
fn doubt(graph: &mut GraphWriter) -> Option<String> {
    let constants = graph.constants.iter().map(|constant| constant.name.clone()).collect::<HashSet<_>>();
    let mut chosen = Vec::new();
    for node in graph.nodes.iter().filter(|node| CHOOSING.contains(&node.op_type.as_str())) {
        // A condition is true or false.
        let values = if node.op_type == "Where" { &node.input[1..] } else { &node.input[..] };
        chosen.extend(values.iter().filter(|name| !name.is_empty() && !constants.contains(*name)).cloned());
    }
    chosen.sort();
    chosen.dedup();
    let mut total = None::<String>;
    for (i, name) in chosen.iter().enumerate() {
        let of = |what: &str| format!("doubt.{i}/{what}");
        let sum = graph.op_with("ReduceSum", &[name], of("sum"), vec![int("keepdims", 0)]);
        // A product with 0 would do, but runtimes take it for 0.
        let zero = graph.op("Sub", &[&sum, &sum], of("zero"));
        total = Some(match total {
            None => zero,
            Some(before) => graph.op("Add", &[&before, &zero], of("total")),
        });
    }
    total
}

/// The size that is asked for, or the file's own, or the usual one.
fn size(source: &Source, wanted: Option<InputSize>) -> Result<InputSize> {
    let (height, width) = source.input.size;
    let own = InputSize { width: width.unwrap_or(USUAL_SIZE.width), height: height.unwrap_or(USUAL_SIZE.height) };
    let Some(wanted) = wanted else { return Ok(own) };
    let fits = height.is_none_or(|height| height == wanted.height) && width.is_none_or(|width| width == wanted.width);
    match fits {
        true => Ok(wanted),
        false => Err(Error::usage(format!(
            "{} takes images of {}x{}, not of {}x{}",
            source.origin, own.width, own.height, wanted.width, wanted.height
        ))
        .advise("leave --size out, or export the network for that size")),
    }
}

/// What only moves pixels.
const MOVING: [&str; 8] = ["Transpose", "Resize", "Upsample", "Cast", "Pad", "Identity", "Slice", "Reshape"];

/// What the file suggests that its pixels are: a graph that begins with arithmetic normalises by itself, from 0..1 if it subtracts
/// or divides by something small; others want what torchvision's classifiers do.
///
/// # Errors
///
/// It begins with what moves pixels, so that arithmetic may come behind it, or with arithmetic whose numbers are not in the file: a guess
/// would normalise twice or not at all, and nobody would see it.
fn suggested(source: &Source) -> Result<Normalise> {
    let unclear = |node: &NodeProto| {
        let what = format!("{} begins with {}: what its pixels are to be is not seen", source.origin, node.op_type);
        Error::usage(what).advise("say it: --normalize unit, imagenet, signed or none")
    };
    let moves = |op: &str| MOVING.contains(&op);
    if let Some(node) = source.readers(crate::backbone::IMAGE).find(|node| moves(&node.op_type)) {
        return Err(unclear(node));
    }
    if Normalise::Auto.chosen_for(source) != Normalise::None {
        return Ok(Normalise::ImageNet);
    }
    let operands = source.readers(crate::backbone::IMAGE).flat_map(|node| &node.input).collect::<Vec<_>>();
    let constants = source.constants.iter().filter(|constant| operands.contains(&&constant.name));
    let largest = constants.filter_map(crate::onnx::floats).flatten().fold(0f32, |most, value| most.max(value.abs()));
    // Means of 0..255 are about a hundred; a factor of 1/255 in front comes from there, too.
    let hidden = |node: &&NodeProto| largest == 0.0 || node.op_type == "BatchNormalization";
    if let Some(node) = source.readers(crate::backbone::IMAGE).find(hidden) {
        return Err(unclear(node));
    }
    Ok(if (0.01..=2.0).contains(&largest) { Normalise::Unit } else { Normalise::None })
}

/// The names of the outputs to take, the map first.
fn outputs(source: &Source, wanted: &Wanted) -> Result<Vec<String>> {
    let there_are = || format!("its outputs are: {}", source.outputs.join(", "));
    let names = wanted.map.iter().chain(&wanted.score).cloned().collect::<Vec<_>>();
    if names.is_empty() {
        return Err(Error::usage(format!("nothing is to be taken of {}", source.origin))
            .advise(format!("name its anomaly map (--map) or its score (--score), or both; {}", there_are())));
    }
    match names.iter().find(|name| source.writer(&Source::tensor(name)).is_none()) {
        None => Ok(names),
        Some(missing) => Err(Error::usage(format!("{} has no output '{missing}'", source.origin)).advise(there_are())),
    }
}

/// The level that an output is: a map of one channel, whatever axes of length 1 stand before or behind, or one number.
fn level(source: &Source, name: &str, shape: Option<&Vec<usize>>) -> Result<Level> {
    let refused = |what: String| {
        Error::usage(format!("{}: output {name} {what}", source.origin))
            .advise("take an output of shape [1, 1, H, W], or of one number; export the network for one image")
    };
    let shape = shape.ok_or_else(|| refused("has a shape that is not known before there is an image".into()))?;
    let mut sides = shape.iter().copied().skip_while(|&side| side == 1).collect::<Vec<_>>();
    while sides.last() == Some(&1) {
        sides.pop();
    }
    let (height, width) = match sides.as_slice() {
        [] => (1, 1),
        [height, width] => (*height, *width),
        _ => return Err(refused(format!("is {shape:?}: neither a map of one channel nor one number"))),
    };
    Ok(Level { tap: name.to_owned(), channels: 1, height, width })
}

/// The map must have places, the score none.
fn check_kinds(source: &Source, wanted: &Wanted, levels: &[Level], size: InputSize) -> Result<()> {
    let wrong = |name: &str, what: String| Err(Error::usage(format!("{}: output {name} {what}", source.origin)));
    for level in levels {
        let (name, is_score) = (&level.tap, wanted.score.as_ref() == Some(&level.tap));
        if level.is_whole() && !is_score {
            return wrong(name, "is one number: it is a score, not a map (--score)".into());
        }
        if !level.is_whole() && is_score {
            return wrong(name, format!("is a map of {}x{}, not a score (--map)", level.width, level.height));
        }
        if level.height > size.height || level.width > size.width {
            return wrong(name, format!("is {}x{}, finer than the image", level.width, level.height));
        }
    }
    Ok(())
}

/// An error of tract's, which may not name what a bundle may not hold either.
fn blamed(source: &Source, graph: &ModelProto, error: Error) -> Error {
    let Err(refused) =
        parse_graph(&source.origin, &encode(graph)).and_then(|graph| admit_graph(&source.origin, &graph))
    else {
        return error;
    };
    unusable(&source.origin, "tract cannot follow it").because(format!("{}; {}", error.report(), refused.report()))
}
