//! Several levels as one: their latents side by side on one grid, so that it counts how they go together.

use hgad::Result;
use hgad::bundle::{Bundle, Level, LevelCenters, parse_graph};
use ndarray::{Array1, Array2, ArrayView, Axis, RemoveAxis, concatenate};
use tract_onnx::pb::ModelProto;

use super::grid::ToGrid;
use crate::onnx::{GraphWriter, encode, float_value, int};

/// The names of the matrices that change a grid's columns end so: they are products' second factors, as weights are.
pub(super) const COLUMNS: &str = ".columns";

/// How levels are joined.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// Whether each position first gets the mean of the 3x3 positions around it.
    pub averaged: bool,
    /// The mixture in the space of all channels; `None` for the levels' own mixtures, side by side.
    pub centers: Option<LevelCenters>,
}

/// Joins the levels of a bundle whose statistics are still to be measured, on the last one's grid: the coarsest, as a rule, where a
/// position takes in most of the image and there are fewest cells. What has one level stays as it is, unless it is averaged.
///
/// # Errors
///
/// The bundle's graph is none.
pub(crate) fn join(bundle: &mut Bundle, join: &Join) -> Result<()> {
    let levels = &bundle.manifest.levels;
    if levels.len() < 2 && !join.averaged {
        return Ok(());
    }
    let mut graph = parse_graph("the bundle's model.onnx", &bundle.model)?;
    let last = &levels[levels.len() - 1];
    let joined = Level {
        tap: levels.iter().map(|level| level.tap.as_str()).collect::<Vec<_>>().join("+"),
        channels: levels.iter().map(|level| level.channels).sum(),
        height: last.height,
        width: last.width,
    };
    join_graph(&mut graph, levels, &joined, join.averaged);
    bundle.model = encode(&graph);
    bundle.centers.levels = vec![join.centers.clone().unwrap_or_else(|| side_by_side(&bundle.centers.levels))];
    bundle.manifest.levels = vec![joined];
    Ok(())
}

/// Whether the levels of a bundle were joined.
///
/// # Errors
///
/// The bundle's graph is none.
pub(crate) fn is_joined(bundle: &Bundle) -> Result<bool> {
    let graph = parse_graph("the bundle's model.onnx", &bundle.model)?.graph.unwrap_or_default();
    Ok(graph.node.iter().flat_map(|node| &node.output).any(|output| *output == own_name("z", 0)))
}

/// What output `output` of level `l` is called where the level is joined with others.
fn own_name(output: &str, l: usize) -> String {
    format!("level.{l}.{output}")
}

fn join_graph(model: &mut ModelProto, levels: &[Level], joined: &Level, averaged: bool) {
    let Some(graph) = &mut model.graph else { return };
    let mut writer =
        GraphWriter { nodes: std::mem::take(&mut graph.node), constants: std::mem::take(&mut graph.initializer) };
    let to = (joined.height, joined.width);
    let mut on_grid = |output: &str, l: usize, level: &Level| {
        // The names of the outputs are those of the joined level from now on.
        let own = own_name(output, l);
        rename(&mut writer, &format!("{output}.{l}"), &own);
        to_grid(&mut writer, &own, ToGrid::new((level.height, level.width), to, averaged))
    };
    let mut of_levels = |output: &str| -> Vec<String> {
        levels.iter().enumerate().map(|(l, level)| on_grid(output, l, level)).collect()
    };
    let (z, log_dets) = (of_levels("z"), of_levels("logdet"));
    let z = z.iter().map(String::as_str).collect::<Vec<_>>();
    writer.op_with("Concat", &z, "z.0", vec![int("axis", 1)]);
    let sum = log_dets[1..]
        .iter()
        .enumerate()
        .fold(log_dets[0].clone(), |sum, (l, log_det)| writer.op("Add", &[&sum, log_det], format!("logdet.0.sum.{l}")));
    writer.op("Identity", &[&sum], "logdet.0");
    graph.node = writer.nodes;
    graph.initializer = writer.constants;
    graph.output =
        vec![float_value("z.0", &[1, joined.channels, to.0, to.1]), float_value("logdet.0", &[1, 1, to.0, to.1])];
}

/// Gives a tensor that one node writes and none reads another name.
fn rename(graph: &mut GraphWriter, from: &str, to: &str) {
    for node in graph.nodes.iter_mut().filter(|node| node.output.iter().any(|output| output == from)) {
        node.name = to.to_owned();
        node.output.iter_mut().filter(|output| *output == from).for_each(|output| *output = to.to_owned());
    }
}

/// Brings `tensor` `[1, D, h, w]` to another grid.
fn to_grid(graph: &mut GraphWriter, tensor: &str, way: Option<ToGrid>) -> String {
    let Some(ToGrid { rows, columns }) = way else { return tensor.to_owned() };
    let rows = graph.f32(format!("{tensor}.rows"), rows.shape(), &rows);
    let columns = graph.f32(format!("{tensor}{COLUMNS}"), columns.shape(), &columns);
    let wide = graph.op("MatMul", &[tensor, &columns], format!("{tensor}.wide"));
    graph.op("MatMul", &[&rows, &wide], format!("{tensor}.on_grid"))
}

/// The mixtures of several levels as that of their latents side by side: the centers of the same number belong together, and a weight
/// is the geometric mean of theirs.
fn side_by_side(levels: &[LevelCenters]) -> LevelCenters {
    let count = levels.len() as f32;
    let psi = levels.iter().fold(Array1::zeros(levels[0].psi.len()), |sum, level| sum + &level.psi);
    let psi_in = levels.iter().fold(Array2::zeros(levels[0].psi_in.dim()), |sum, level| sum + &level.psi_in);
    LevelCenters {
        mu: beside(levels.iter().map(|level| level.mu.view())),
        dmu: beside(levels.iter().map(|level| level.dmu.view())),
        psi: psi / count,
        psi_in: psi_in / count,
    }
}

fn beside<'v, D: RemoveAxis + 'v>(parts: impl Iterator<Item = ArrayView<'v, f32, D>>) -> ndarray::Array<f32, D> {
    let parts = parts.collect::<Vec<_>>();
    let last = Axis(parts[0].ndim() - 1);
    concatenate(last, &parts).expect("all levels have the same classes and numbers of centers")
}
