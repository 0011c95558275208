//! `hgad-train render`.

use std::path::PathBuf;

use hgad::Result;

use crate::render::{Request, render_dataset};

const EXAMPLES: &str = r"Examples:
  # Parts to train on and to evaluate with
  hgad-train render --out parts --train 400 --test 60

  # Other good parts, to calibrate on
  hgad-train render --out normals --seed 1002 --train 1000 --test 1";

/// Render a data set of synthetic parts, to try out training and calibration without a camera.
///
/// Writes good and defective parts of the three products of `hgad demo` in the MVTec AD layout, with a mask for every
/// defect.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RenderArgs {
    /// The folder to write; it must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Decides every part: the same seed gives the same images.
    #[arg(long, value_name = "N", default_value_t = 1001)]
    seed: u64,
    /// Good parts per product to train on.
    #[arg(long, value_name = "N", default_value_t = 300)]
    train: u64,
    /// Good parts per product to test on, and as many defective ones.
    #[arg(long, value_name = "N", default_value_t = 60)]
    test: u64,
}

pub fn run(args: RenderArgs) -> Result<()> {
    let request = Request { out: args.out, seed: args.seed, train: args.train, test: args.test };
    let images = render_dataset(&request)?;
    hgad::print::line(format_args!("{}: {}", request.out.display(), hgad::print::counted(images as u64, "image")))
}
