//! `hgad calibrate`.

use std::path::PathBuf;

use super::target;
use crate::bundle::Bundle;
use crate::calibrate::{calibrate, parts_needed};
use crate::dataset::{self, HoldOut};
use crate::{Error, Result, print};

const EXAMPLES: &str = r"Examples:
  # From the images that training with --hold-out 5 left out
  hgad calibrate --model models/line3 --class cap \
    --images DATA/cap/train/good --hold-out 5 --out calibration/cap.toml

  # From pictures that the line itself has taken of good parts
  hgad calibrate --model models/line3 --class cap --images good-parts \
    --target-frr 0.01 --out calibration/cap.toml";

/// Set a class's threshold from images of normal parts
///
/// Scores the images, fits the score's constants to them, and takes as threshold the smallest score that keeps the
/// expected false-reject rate at what was asked for. Use normal parts that training did not see: of the training
/// folder, those that `hgad-train train --hold-out N` left out.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct CalibrateArgs {
    /// The bundle: a folder that hgad-train wrote
    #[arg(long, value_name = "BUNDLE")]
    model: PathBuf,
    /// The product
    #[arg(long, value_name = "NAME")]
    class: String,
    /// A folder of images of normal parts
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Use only every N-th image of the sorted folder: those that training with the same value left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    hold_out: Option<u64>,
    /// Share of normal parts that may be rejected
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    target_frr: f64,
    /// Where to write the calibration
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: CalibrateArgs) -> Result<()> {
    target::file(&args.out)?;
    let bundle = Bundle::open(&args.model)?;
    let selection = args.hold_out.map_or(HoldOut::All, |n| HoldOut::Held(n as usize));
    let images = selection.select(dataset::images(&args.images)?);
    if images.is_empty() {
        return Err(Error::usage(format!("{} has too few images to hold any out", args.images.display())));
    }
    let calibration = calibrate(&bundle, &args.class, &images, args.target_frr)?;
    calibration.write(&args.out)?;
    if calibration.promised_frr > calibration.target_frr {
        log::warn!(
            "{} images are too few to set a false-reject rate of {}: {} are needed; the largest of their scores is the threshold",
            calibration.images.len(),
            args.target_frr,
            parts_needed(args.target_frr)
        );
    }
    print::line(format_args!("class       {}", calibration.class))?;
    print::line(format_args!("images      {}", calibration.images.len()))?;
    print::line(format_args!("threshold   {}", calibration.threshold))?;
    print::line(format_args!("asked for   {:.2}% false rejects", 100.0 * calibration.target_frr))?;
    print::line(format_args!(
        "set to      {:.2}%, as near as {} can; the line's own rate may differ (docs/calibration.md)",
        100.0 * calibration.promised_frr,
        print::counted(calibration.images.len() as u64, "image")
    ))?;
    print::line(format_args!("written to  {}", args.out.display()))
}
