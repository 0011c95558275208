//! `Resize` and `Pad` as products with constant matrices, and `Expand` as what it does.
//!
//! The first two are linear along rows and columns, and so they are two matrix products, which all runtimes compute alike: of `Resize` they know
//! different coordinates. The operators themselves are not let into a bundle, since their output's size is a value of the file.

use hgad::{Error, Result};
use ndarray::Array2;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto};

use super::fixed::Known;
use crate::onnx::{GraphWriter, int};

/// A side that is longer than this is no image.
const LONGEST: usize = 8192;

/// Replaces every `Resize`, `Pad` and `Expand` of `graph`.
///
/// # Errors
///
/// One of them does what no matrix can say, or its sizes are not known before there is an image.
pub(super) fn replace(origin: &str, graph: &mut GraphProto, known: &Known) -> Result<()> {
    let mut written = GraphWriter::default();
    let nodes = std::mem::take(&mut graph.node);
    for node in nodes.iter().cloned() {
        let matrices = match node.op_type.as_str() {
            "Resize" => Sides::of(&node, known).and_then(|sides| resized(&node, known, sides)),
            "Pad" => Sides::of(&node, known).and_then(|sides| padded(&node, known, sides)),
            "Expand" => match expand(&mut written, &node, &nodes, known) {
                Ok(()) => continue,
                Err(why) => Err(why),
            },
            _ => {
                written.nodes.push(node);
                continue;
            }
        };
        let [rows, columns] = matrices.map_err(|why| {
            Error::usage(format!("{origin}: operator {} '{}' cannot be imported", node.op_type, node.name))
                .because(why)
                .advise("export the network for images of one size, with linear or nearest interpolation")
        })?;
        multiply(&mut written, &node.input[0], &node.output[0], rows, columns);
    }
    graph.node = written.nodes;
    graph.initializer.append(&mut written.constants);
    Ok(())
}

/// Writes `output = rows input columns`. What is `None` changes nothing.
fn multiply(
    graph: &mut GraphWriter,
    input: &str,
    output: &str,
    rows: Option<Array2<f32>>,
    columns: Option<Array2<f32>>,
) {
    let rows = rows.map(|rows| graph.f32(format!("{output}.rows"), rows.shape(), &rows));
    let columns = columns.map(|columns| graph.f32(format!("{output}.columns"), columns.shape(), columns.iter()));
    match (rows, columns) {
        (Some(rows), Some(columns)) => {
            let wide = graph.op("MatMul", &[input, &columns], format!("{output}.wide"));
            graph.op("MatMul", &[&rows, &wide], output)
        }
        (Some(rows), None) => graph.op("MatMul", &[&rows, input], output),
        (None, Some(columns)) => graph.op("MatMul", &[input, &columns], output),
        (None, None) => graph.op("Identity", &[input], output),
    };
}

/// Operators that broadcast what they read by themselves.
const BROADCASTING: [&str; 6] = ["Add", "Sub", "Mul", "Div", "Max", "Min"];

/// Writes an `Expand` as copies side by side, or as nothing where all that read it broadcast by themselves.
fn expand(graph: &mut GraphWriter, node: &NodeProto, readers: &[NodeProto], known: &Known) -> Result<(), String> {
    let shape = |name: Option<&String>| {
        let shape = name.and_then(|name| known.shapes.get(name));
        shape.ok_or_else(|| "its sizes are not known before there is an image".to_owned())
    };
    let (from, to) = (shape(node.input.first())?, shape(node.output.first())?);
    let output = &node.output[0];
    let broadcasts = |reader: &NodeProto| {
        let others = reader.input.iter().filter(|input| *input != output);
        BROADCASTING.contains(&reader.op_type.as_str())
            && others.clone().any(|other| known.shapes.get(other) == Some(to))
    };
    if readers.iter().filter(|reader| reader.input.contains(output)).all(broadcasts) {
        graph.op("Identity", &[&node.input[0]], output.clone());
        return Ok(());
    }
    // Shapes are aligned at their ends.
    let new = to.len().saturating_sub(from.len());
    let mut sides = vec![1; new];
    sides.extend(from);
    let shape = graph.i64(format!("{output}.sides"), &sides.iter().map(|&side| side as i64).collect::<Vec<_>>());
    let mut tensor = graph.op("Reshape", &[&node.input[0], &shape], format!("{output}.axes"));
    for axis in (0..to.len()).filter(|&axis| sides[axis] != to[axis]) {
        if to[axis] > LONGEST {
            return Err(format!("it takes {from:?} to {to:?}: that is too far"));
        }
        let copies = vec![tensor.as_str(); to[axis]];
        tensor = graph.op_with("Concat", &copies, format!("{output}.along.{axis}"), vec![int("axis", axis as i64)]);
    }
    graph.op("Identity", &[&tensor], output.clone());
    Ok(())
}

/// The last two axes of what a node reads and of what it writes.
#[derive(Debug, Clone, Copy)]
struct Sides {
    rank: usize,
    from: [usize; 2],
    to: [usize; 2],
}

impl Sides {
    fn of(node: &NodeProto, known: &Known) -> Result<Self, String> {
        let shape = |name: Option<&String>| {
            let shape = name.and_then(|name| known.shapes.get(name));
            shape.ok_or_else(|| "its sizes are not known before there is an image".to_owned())
        };
        let (from, to) = (shape(node.input.first())?, shape(node.output.first())?);
        let rank = from.len();
        if rank < 2 || to.len() != rank || from[..rank - 2] != to[..rank - 2] {
            return Err(format!("it takes {from:?} to {to:?}: only rows and columns may change"));
        }
        if to.iter().any(|&side| side == 0 || side > LONGEST) {
            return Err(format!("it gives {to:?}: sides go from 1 to {LONGEST}"));
        }
        let last = |shape: &[usize]| [shape[rank - 2], shape[rank - 1]];
        Ok(Sides { rank, from: last(from), to: last(to) })
    }

    /// The matrices for rows and, transposed, for columns, of a matrix `(to, from)` for each of the two axes.
    fn matrices(&self, of_axis: impl Fn(usize) -> Option<Array2<f32>>) -> [Option<Array2<f32>>; 2] {
        [of_axis(0), of_axis(1).map(|columns| columns.t().as_standard_layout().into_owned())]
    }
}

fn text<'n>(node: &'n NodeProto, attribute: &str, default: &'static str) -> &'n str {
    let found = attribute_of(node, attribute).and_then(|attribute| std::str::from_utf8(&attribute.s).ok());
    found.unwrap_or(default)
}

fn attribute_of<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// How `Resize` finds the place in the input that belongs to a place in the output.
#[derive(Debug, Clone, Copy)]
struct Axis {
    from: usize,
    to: usize,
    /// Output places for each input place.
    scale: f64,
}

fn resized(node: &NodeProto, known: &Known, sides: Sides) -> Result<[Option<Array2<f32>>; 2], String> {
    let flag = |name: &str| attribute_of(node, name).is_some_and(|attribute| attribute.i != 0);
    let shrinks = sides.to[0] < sides.from[0] || sides.to[1] < sides.from[1];
    if attribute_of(node, "axes").is_some() || (flag("antialias") && shrinks) {
        return Err("it names its axes, or shrinks with antialiasing".into());
    }
    let coordinates = text(node, "coordinate_transformation_mode", "half_pixel");
    let place: fn(usize, Axis) -> f64 = match coordinates {
        "half_pixel" => |i, axis| (i as f64 + 0.5) / axis.scale - 0.5,
        "pytorch_half_pixel" => |i, axis| if axis.to > 1 { (i as f64 + 0.5) / axis.scale - 0.5 } else { 0.0 },
        "asymmetric" => |i, axis| i as f64 / axis.scale,
        "align_corners" => |i, axis| match axis.to {
            1 => 0.0,
            to => i as f64 * (axis.from - 1) as f64 / (to - 1) as f64,
        },
        other => return Err(format!("it takes the coordinates {other}")),
    };
    let round: fn(f64) -> f64 = match text(node, "nearest_mode", "round_prefer_floor") {
        "round_prefer_floor" => |x| (x - 0.5).ceil(),
        "round_prefer_ceil" => |x| (x + 0.5).floor(),
        "floor" => f64::floor,
        "ceil" => f64::ceil,
        other => return Err(format!("it rounds by {other}")),
    };
    let linear = match text(node, "mode", "nearest") {
        "linear" => true,
        "nearest" => false,
        other => return Err(format!("it interpolates by {other}")),
    };
    // With sizes the scale follows from them; with scales the size does, rounded down, and they need not be the same.
    let scales = node.input.get(2).and_then(|scales| known.floats(scales)).filter(|scales| scales.len() == sides.rank);
    let of_axis = |a: usize| {
        let (from, to) = (sides.from[a], sides.to[a]);
        let stated = scales.as_ref().map(|scales| f64::from(scales[sides.rank - 2 + a]));
        let axis = Axis { from, to, scale: stated.unwrap_or(to as f64 / from as f64) };
        if from == to && (axis.scale - 1.0).abs() < 1e-6 {
            return None;
        }
        let mut matrix = Array2::zeros((to, from));
        for i in 0..to {
            let place = place(i, axis);
            let place = if linear { place } else { round(place) }.clamp(0.0, (from - 1) as f64);
            let (low, share) = (place.floor() as usize, place.fract() as f32);
            matrix[[i, low]] += 1.0 - share;
            matrix[[i, (low + 1).min(from - 1)]] += share;
        }
        Some(matrix)
    };
    Ok(sides.matrices(of_axis))
}

fn padded(node: &NodeProto, known: &Known, sides: Sides) -> Result<[Option<Array2<f32>>; 2], String> {
    let pads = node.input.get(1).and_then(|pads| known.integers(pads));
    let pads = pads.filter(|pads| pads.len() == 2 * sides.rank && node.input.get(3).is_none_or(String::is_empty));
    let pads = pads.ok_or("its pads are not known before there is an image, or it names its axes")?;
    let value = node.input.get(2).filter(|value| !value.is_empty()).map_or(Some(vec![0.0]), |v| known.floats(v));
    let mode = text(node, "mode", "constant");
    if mode == "constant" && value.is_none_or(|value| value != [0.0]) {
        return Err("it pads with another constant than 0".into());
    }
    // The place in the input; none is 0.
    let source: fn(i64, i64) -> Option<i64> = match mode {
        "constant" => |i, n| (0..n).contains(&i).then_some(i),
        "edge" => |i, n| Some(i.clamp(0, n - 1)),
        "wrap" => |i, n| Some(i.rem_euclid(n)),
        "reflect" => |i, n| match n {
            1 => Some(0),
            n => {
                let i = i.rem_euclid(2 * (n - 1));
                Some(i.min(2 * (n - 1) - i))
            }
        },
        other => return Err(format!("it pads by {other}")),
    };
    let of_axis = |a: usize| {
        let before = pads[sides.rank - 2 + a];
        let (from, to) = (sides.from[a], sides.to[a]);
        if before == 0 && from == to {
            return None;
        }
        let mut matrix = Array2::zeros((to, from));
        for i in 0..to {
            if let Some(j) = source(i as i64 - before, from as i64) {
                matrix[[i, j as usize]] = 1.0;
            }
        }
        Some(matrix)
    };
    Ok(sides.matrices(of_axis))
}
