//! A flow whose subnets see neighbouring positions, on `[1, channels, h, w]`: convolutions all along.

use ndarray::{Array2, Axis};
use tract_onnx::pb::ValueInfoProto;

use crate::backbone::Tap;
use crate::flow::{BlockWeights, DAMPING, LevelWeights};
use crate::onnx::{GraphWriter, float_value, int, ints};

/// Appends the flow of level `l` behind `tap`, and returns its two outputs.
pub(super) fn write(graph: &mut GraphWriter, l: usize, tap: &Tap, level: &LevelWeights) -> [ValueInfoProto; 2] {
    let Tap { height, width, channels: d, .. } = *tap;
    let mut flow = Convolutional { graph, level: format!("level.{l}"), d };
    flow.bounds();
    let clamp = flow.graph.f32(flow.name("clamp"), &[1, 1, 1, 1], &[level.clamp]);
    let factor = flow.graph.f32(flow.name("factor"), &[1, d, 1, 1], &level.std.mapv(f32::recip));
    let shift = flow.graph.f32(flow.name("shift"), &[1, d, 1, 1], &(-&level.mean / &level.std));
    let scaled = flow.graph.op("Mul", &[&tap.tensor, &factor], flow.name("scaled"));
    let mut x = flow.graph.op("Add", &[&scaled, &shift], flow.name("standardised"));
    let mut log_scales = None::<String>;
    for (k, block) in level.blocks.iter().enumerate() {
        let (out, own) = flow.block(&flow.name(&format!("block.{k}")), &x, block, &clamp);
        x = out;
        log_scales = Some(match log_scales {
            None => own,
            Some(sum) => flow.graph.op("Add", &[&sum, &own], flow.name(&format!("block.{k}/s_sum"))),
        });
    }
    let (z, logdet) = (format!("z.{l}"), format!("logdet.{l}"));
    flow.graph.op("Identity", &[&x], z.clone());
    let constant = level.blocks.iter().flat_map(|block| &block.scale).map(|scale| f64::from(*scale).ln()).sum::<f64>();
    let constant = flow.graph.f32(flow.name("log_det"), &[1, 1, 1, 1], &[constant as f32]);
    let (sum, axis) = (log_scales.expect("a flow that is let in has blocks"), flow.name("axis"));
    let summed = flow.graph.op_with("ReduceSum", &[&sum, &axis], flow.name("s_sum"), vec![int("keepdims", 1)]);
    flow.graph.op("Add", &[&summed, &constant], logdet.clone());
    [float_value(z, &[1, d, height, width]), float_value(logdet, &[1, 1, height, width])]
}

struct Convolutional<'g> {
    graph: &'g mut GraphWriter,
    /// Prefix of all its tensors.
    level: String,
    /// Channels D.
    d: usize,
}

impl Convolutional<'_> {
    fn name(&self, of: &str) -> String {
        format!("{}/{of}", self.level)
    }

    /// The bounds of all slices of channels.
    fn bounds(&mut self) {
        let (d1, d2) = (self.d - self.d / 2, self.d / 2);
        for (name, bound) in [("axis", 1), ("0", 0), ("d1", d1), ("d", self.d), ("d2", d2), ("2*d2", 2 * d2)] {
            self.graph.i64(self.name(name), &[bound as i64]);
        }
    }

    /// One block; returns its output and its log-scales s.
    fn block(&mut self, block: &str, x: &str, weights: &BlockWeights, clamp: &str) -> (String, String) {
        let name = |of: &str| format!("{block}/{of}");
        let x1 = self.channels(x, ["0", "d1"], name("x1"));
        let x2 = self.channels(x, ["d1", "d"], name("x2"));
        let first = self.convolution(&x1, weights.side, &weights.w1, weights.b1.iter(), name("first"));
        let hidden = self.graph.op("Relu", &[&first], name("hidden"));
        let damped = |values: &Array2<f32>| values.mapv(|value| (f64::from(value) * DAMPING) as f32);
        let b2 = damped(&weights.b2.view().insert_axis(Axis(0)).to_owned());
        let a = self.convolution(&hidden, weights.side, &damped(&weights.w2), b2.iter(), name("a"));
        let a_s = self.channels(&a, ["0", "d2"], name("a_s"));
        let a_t = self.channels(&a, ["d2", "2*d2"], name("a_t"));
        let tanh = self.graph.op("Tanh", &[&a_s], name("tanh"));
        let s = self.graph.op("Mul", &[&tanh, clamp], name("s"));
        let scale = self.graph.op("Exp", &[&s], name("exp_s"));
        let scaled = self.graph.op("Mul", &[&x2, &scale], name("scaled"));
        let moved = self.graph.op("Add", &[&scaled, &a_t], name("moved"));
        let joined = self.graph.op_with("Concat", &[&x1, &moved], name("joined"), vec![int("axis", 1)]);
        // The global affine's scale goes into the matrix that mixes the channels, its offset into a bias.
        let mix = &weights.scale.view().insert_axis(Axis(1)) * &weights.mix;
        let offset = weights.offset.dot(&weights.mix);
        (self.convolution(&joined, 1, &mix, offset.iter(), name("out")), s)
    }

    /// A convolution with `weights` `(side * side * channels in, channels out)` that keeps the grid; the constants are named after
    /// `output`.
    fn convolution<'v>(
        &mut self,
        x: &str,
        side: usize,
        weights: &Array2<f32>,
        bias: impl IntoIterator<Item = &'v f32>,
        output: String,
    ) -> String {
        let (out, read) = (weights.ncols(), weights.nrows() / (side * side));
        let kernel = weights.to_shape((side, side, read, out)).expect("a row for every channel of every position");
        let kernel = kernel.permuted_axes([3, 2, 0, 1]);
        let kernel = self.graph.f32(format!("{output}.weights"), &[out, read, side, side], kernel.iter());
        let bias = self.graph.f32(format!("{output}.bias"), &[out], bias);
        let (side, pad) = (side as i64, (side / 2) as i64);
        let how = vec![ints("kernel_shape", &[side, side]), ints("pads", &[pad; 4])];
        self.graph.op_with("Conv", &[x, &kernel, &bias], output, how)
    }

    /// Channels `from..to`, the bounds by name.
    fn channels(&mut self, x: &str, [from, to]: [&str; 2], output: String) -> String {
        let bounds = [from, to, "axis"].map(|name| self.name(name));
        self.graph.op("Slice", &[x, &bounds[0], &bounds[1], &bounds[2]], output)
    }
}
