//! `hgad calibrate`.

use std::path::PathBuf;

use super::target;
use crate::bundle::Bundle;
use crate::calibrate::{Aim, Calibration, Grouping, INTERVAL, calibrate};
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
#[command(after_long_help = EXAMPLES, allow_negative_numbers = true)]
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
    /// Keep that rate with this probability, whichever normal parts the images happen to show; without it the rate is kept
    /// on average. Refused when there are too few parts
    #[arg(long, value_name = "PROBABILITY")]
    confidence: Option<f64>,
    /// Count images as one part when this regular expression finds the same in their names, such as 'part-(\d+)': pictures
    /// of one part, or of one minute, are no independent evidence
    #[arg(long, value_name = "PATTERN")]
    group: Option<String>,
    /// Where to write the calibration
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: CalibrateArgs) -> Result<()> {
    target::replaced_file(&args.out)?;
    let bundle = Bundle::open(&args.model)?;
    let selection = args.hold_out.map_or(HoldOut::All, |n| HoldOut::Held(n as usize));
    let images = selection.select(dataset::images(&args.images)?);
    if images.is_empty() {
        return Err(Error::usage(format!("{} has too few images to hold any out", args.images.display())));
    }
    let aim = Aim { frr: args.target_frr, confidence: args.confidence };
    let grouping = args.group.as_deref().map(Grouping::new).transpose()?;
    let calibration = calibrate(&bundle, &args.class, &images, &aim, grouping.as_ref())?;
    calibration.write(&args.out)?;
    let parts = calibration.parts();
    if calibration.promised_frr > calibration.target_frr {
        log::warn!(
            "{} are too few to set a false-reject rate of {}: {} are needed; the largest of their scores is the threshold",
            print::counted(parts as u64, "part"),
            args.target_frr,
            aim.parts_needed()
        );
    }
    tell(&calibration)?;
    print::line(format_args!("written to  {}", args.out.display()))
}

/// So many of the most unusual images are shown: what does not belong among normal parts is among them.
const SHOWN: usize = 5;

fn tell(calibration: &Calibration) -> Result<()> {
    print::line(format_args!("class       {}", calibration.class))?;
    print::line(format_args!(
        "images      {} of {}",
        calibration.images.len(),
        print::counted(calibration.parts() as u64, "part")
    ))?;
    print::line(format_args!("threshold   {}", calibration.threshold))?;
    let confidence = calibration.confidence.map(|share| format!(" with {}% confidence", 100.0 * share));
    print::line(format_args!(
        "asked for   at most {:.2}% false rejects{}",
        100.0 * calibration.target_frr,
        confidence.as_deref().unwrap_or(" on average")
    ))?;
    print::line(format_args!("set to      {:.2}% on average", 100.0 * calibration.promised_frr))?;
    if let Some((low, high)) = calibration.realised_frr {
        print::line(format_args!(
            "the line's  {:.2}% to {:.2}%, with {}% probability, if its parts are like these (docs/calibration.md)",
            100.0 * low,
            100.0 * high,
            100.0 * INTERVAL
        ))?;
    }
    let mut images = calibration.images.iter().collect::<Vec<_>>();
    images.sort_by(|a, b| b.score.total_cmp(&a.score));
    let most = images.iter().take(SHOWN).map(|image| format!("{} {:.3}", image.file, image.score)).collect::<Vec<_>>();
    print::line(format_args!("look at     {} (the highest scores: are these parts normal?)", most.join(", ")))
}
