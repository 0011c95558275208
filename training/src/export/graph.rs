//! One graph from the image to the latents and log-determinants of every level.

use hgad::Result;
use ndarray::{Array1, Array2};
use tract_onnx::pb::{ModelProto, ValueInfoProto};

use super::convolutional;
use super::fold::{FoldedBlock, FoldedLevel};
use super::level::{FeatureLevel, NetworkLevel};
use crate::backbone::{Backbone, Tap};
use crate::onnx::{GraphWriter, float_value, int, ints};

/// What the output of a block is called behind the block's name; its weights are the matrix that mixes the channels.
const MIX: &str = "out";
/// How the names of those weights end.
pub(super) const MIX_WEIGHTS: &str = "/out.weights";
/// The backbone followed by `levels`, which read its taps.
///
/// # Errors
///
/// The backbone has no tap of a level's name.
pub(super) fn assemble(backbone: &Backbone, levels: &[NetworkLevel]) -> Result<ModelProto> {
    let mut cut = backbone.graph.clone().graph.unwrap_or_default();
    let mut graph =
        GraphWriter { nodes: std::mem::take(&mut cut.node), constants: std::mem::take(&mut cut.initializer) };
    let mut outputs = Vec::new();
    for (l, level) in levels.iter().enumerate() {
        let tap = level.tap_of(backbone)?;
        outputs.extend(match level {
            NetworkLevel::Flow(flow) if flow.code() == 0 => convolutional::write(&mut graph, l, tap, flow),
            NetworkLevel::Flow(flow) => Flow::write(&mut graph, l, tap, &FoldedLevel::new(flow)),
            NetworkLevel::Features(features) => write_features(&mut graph, l, tap, features),
        });
    }
    let opset = backbone.graph.opset_import.first().map_or(crate::onnx::OPSET, |set| set.version);
    Ok(graph.finish(opset, cut.input, outputs))
}

/// Appends level `l`, a map of a tap's features, and returns its two outputs. It keeps volumes as they are.
fn write_features(graph: &mut GraphWriter, l: usize, tap: &Tap, features: &FeatureLevel) -> [ValueInfoProto; 2] {
    let Tap { height, width, .. } = *tap;
    let (rows, columns) = features.weights.dim();
    let weights = graph.f32(format!("level.{l}/weights"), &[rows, columns, 1, 1], &features.weights);
    let offset = graph.f32(format!("level.{l}/offset"), &[rows], &features.offset);
    let zeros = graph.f32(format!("level.{l}/zeros"), &[1, 1, height, width], &vec![0.0; height * width]);
    let mapped = vec![ints("kernel_shape", &[1, 1])];
    let mapped = graph.op_with("Conv", &[&tap.tensor, &weights, &offset], format!("level.{l}/mapped"), mapped);
    let z = graph.op("Identity", &[&mapped], format!("z.{l}"));
    let logdet = graph.op("Identity", &[&zeros], format!("logdet.{l}"));
    [float_value(z, &[1, rows, height, width]), float_value(logdet, &[1, 1, height, width])]
}

/// The flow of one level, being written on `[positions, channels]` matrices.
struct Flow<'g> {
    graph: &'g mut GraphWriter,
    /// Prefix of all its tensors.
    level: String,
    height: usize,
    width: usize,
    /// Channels D.
    d: usize,
}

impl<'g> Flow<'g> {
    /// Appends the flow of level `l` behind `tap`, and returns its two outputs.
    fn write(graph: &'g mut GraphWriter, l: usize, tap: &Tap, level: &FoldedLevel) -> [ValueInfoProto; 2] {
        let Tap { height, width, channels: d, .. } = *tap;
        let mut flow = Flow { graph, level: format!("level.{l}"), height, width, d };
        flow.bounds();
        let clamp = flow.graph.f32(flow.name("clamp"), &[1, 1], &[level.clamp]);
        let mut x = flow.standardised(&tap.tensor, level);
        let mut log_scales = Vec::new();
        for (k, block) in level.blocks.iter().enumerate() {
            let (out, s) = flow.block(&flow.name(&format!("block.{k}")), &x, block, &clamp);
            x = out;
            log_scales.push(s);
        }
        let (z, logdet) = (format!("z.{l}"), format!("logdet.{l}"));
        flow.write_z(&x, &z);
        flow.write_logdet(&log_scales, level.log_det, &logdet);
        [float_value(z, &[1, d, height, width]), float_value(logdet, &[1, 1, height, width])]
    }

    fn name(&self, of: &str) -> String {
        format!("{}/{of}", self.level)
    }

    /// The bounds at which the blocks split, and the shape that their tables take.
    fn bounds(&mut self) {
        let (d1, d2) = (self.d - self.d / 2, self.d / 2);
        for (name, bound) in [("axis", 1), ("0", 0), ("d1", d1), ("d", self.d), ("d2", d2), ("2*d2", 2 * d2)] {
            self.graph.i64(self.name(name), &[bound as i64]);
        }
        self.graph.i64(self.name("matrix"), &[(self.height * self.width) as i64, -1]);
    }

    /// The tap as a matrix of standardised rows, one per position.
    fn standardised(&mut self, tap: &str, level: &FoldedLevel) -> String {
        let shape = self.graph.i64(self.name("channels_first"), &[self.d as i64, -1]);
        let flat = self.graph.op("Reshape", &[tap, &shape], self.name("flat"));
        let rows = self.graph.op_with("Transpose", &[&flat], self.name("rows"), vec![ints("perm", &[1, 0])]);
        let factor = self.graph.f32(self.name("factor"), &[1, self.d], &level.factor);
        let shift = self.graph.f32(self.name("shift"), &[1, self.d], &level.shift);
        let scaled = self.graph.op("Mul", &[&rows, &factor], self.name("scaled"));
        self.graph.op("Add", &[&scaled, &shift], self.name("standardised"))
    }

    /// One block; returns its output and its log-scales s.
    fn block(&mut self, block: &str, x: &str, weights: &FoldedBlock, clamp: &str) -> (String, String) {
        let name = |of: &str| format!("{block}/{of}");
        let x1 = self.columns(x, ["0", "d1"], name("x1"));
        let x2 = self.columns(x, ["d1", "d"], name("x2"));
        let hidden = self.hidden(block, &x1, weights);
        let a = self.linear(&hidden, &weights.w2, &weights.b2, name("a"));
        let a_s = self.columns(&a, ["0", "d2"], name("a_s"));
        let a_t = self.columns(&a, ["d2", "2*d2"], name("a_t"));
        let tanh = self.graph.op("Tanh", &[&a_s], name("tanh"));
        let s = self.graph.op("Mul", &[&tanh, clamp], name("s"));
        let scale = self.graph.op("Exp", &[&s], name("exp_s"));
        let scaled = self.graph.op("Mul", &[&x2, &scale], name("scaled"));
        let moved = self.graph.op("Add", &[&scaled, &a_t], name("moved"));
        let joined = self.graph.op_with("Concat", &[&x1, &moved], name("joined"), vec![int("axis", 1)]);
        (self.linear(&joined, &weights.mix, &weights.offset, name(MIX)), s)
    }

    /// The subnet's hidden layer. The table over the grid is the sum of one per column and one per row; runtimes add them
    /// up when they load the graph, so the file holds `(w + h) * H` numbers instead of `w * h * H`.
    fn hidden(&mut self, block: &str, x1: &str, weights: &FoldedBlock) -> String {
        let name = |of: &str| format!("{block}/{of}");
        let h = weights.w1.ncols();
        let columns = self.graph.f32(name("columns"), &[1, self.width, h], &weights.columns);
        let rows = self.graph.f32(name("rows"), &[self.height, 1, h], &weights.rows);
        let grid = self.graph.op("Add", &[&columns, &rows], name("grid"));
        let table = self.graph.op("Reshape", &[&grid, &self.name("matrix")], name("table"));
        let w1 = self.graph.f32(name("w1"), weights.w1.shape(), &weights.w1);
        let product = self.graph.op("MatMul", &[x1, &w1], name("product"));
        let sum = self.graph.op("Add", &[&product, &table], name("sum"));
        self.graph.op("Relu", &[&sum], name("hidden"))
    }

    /// `x weights + bias`; the constants are named after `output`.
    fn linear(&mut self, x: &str, weights: &Array2<f32>, bias: &Array1<f32>, output: String) -> String {
        let bias = self.graph.f32(format!("{output}.bias"), &[1, bias.len()], bias);
        let weights = self.graph.f32(format!("{output}.weights"), weights.shape(), weights);
        let product = self.graph.op("MatMul", &[x, &weights], format!("{output}.product"));
        self.graph.op("Add", &[&product, &bias], output)
    }

    /// Columns `from..to` of a matrix, the bounds by name.
    fn columns(&mut self, matrix: &str, [from, to]: [&str; 2], output: String) -> String {
        let bounds = [from, to, "axis"].map(|name| self.name(name));
        self.graph.op("Slice", &[matrix, &bounds[0], &bounds[1], &bounds[2]], output)
    }

    fn write_z(&mut self, x: &str, z: &str) {
        let channels = self.graph.op_with("Transpose", &[x], self.name("channels"), vec![ints("perm", &[1, 0])]);
        self.reshape(&channels, self.d, z);
    }

    /// The sum over all blocks of the log-scales, which are added up before they are reduced: one reduction per level.
    fn write_logdet(&mut self, log_scales: &[String], constant: f64, logdet: &str) {
        let mut sum = log_scales[0].clone();
        for (k, s) in log_scales.iter().enumerate().skip(1) {
            sum = self.graph.op("Add", &[&sum, s], self.name(&format!("block.{k}/s_sum")));
        }
        let axis = self.name("axis");
        let reduced = self.graph.op_with("ReduceSum", &[&sum, &axis], self.name("s_sum"), vec![int("keepdims", 1)]);
        let constant = self.graph.f32(self.name("log_det"), &[1, 1], &[constant as f32]);
        let whole = self.graph.op("Add", &[&reduced, &constant], self.name("logdet"));
        self.reshape(&whole, 1, logdet);
    }

    fn reshape(&mut self, flat: &str, channels: usize, output: &str) {
        let shape = [1, channels as i64, self.height as i64, self.width as i64];
        let shape = self.graph.i64(format!("{output}.shape"), &shape);
        self.graph.op("Reshape", &[flat, &shape], output);
    }
}
