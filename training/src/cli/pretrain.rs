//! `hgad-train pretrain`.

use std::path::PathBuf;

use hgad::Result;

use crate::pretrain::{Request, pretrain};

const EXAMPLES: &str = r"Examples:
  # The demo's backbone, and a model on it
  hgad-train pretrain --out backbone.onnx --steps 3500
  hgad-train train --data parts --backbone backbone.onnx \
    --taps conv2,conv4,conv6 --normalize none --hold-out 5 --out models/mine";

/// Train a small backbone from scratch, without any data set.
///
/// The network of seven plain convolutions learns to name textures, shapes and colours that are drawn on the fly. The
/// last convolution of each stride, before its ReLU, is what a flow can be fitted to: `hgad-train train --taps
/// conv2,conv4,conv6` (strides 4, 8, 16). Pixels are normalised inside (--normalize none).
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PretrainArgs {
    /// The ONNX file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What all randomness derives from.
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Updates.
    #[arg(long, value_name = "N", default_value_t = 1200)]
    steps: usize,
    /// Patches per update.
    #[arg(long, value_name = "N", default_value_t = 48)]
    batch: usize,
    /// The learning rate after the warm-up.
    #[arg(long, value_name = "RATE", default_value_t = 2e-3)]
    learning_rate: f64,
}

pub fn run(args: PretrainArgs) -> Result<()> {
    let request = Request { seed: args.seed, steps: args.steps, batch: args.batch, learning_rate: args.learning_rate };
    hgad::cli::target::folder_for(&args.out)?;
    let accuracy = pretrain(&request, &args.out)?;
    hgad::print::line(format_args!(
        "{}: names {:.1}% of unseen patterns and {:.1}% of their colours",
        args.out.display(),
        100.0 * accuracy.family,
        100.0 * accuracy.colour
    ))
}
