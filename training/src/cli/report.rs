//! `hgad-train report`.

use std::path::PathBuf;

use hgad::Result;
use hgad::cli::target::{self, Content};

use super::train::stop_flag;
use crate::features::default_folder;
use crate::report::{Request, page};

const EXAMPLES: &str = r"Examples:
  # How did the training go, and how good is the model on these parts?
  hgad-train report models/line1 --test parts --out line1.html

  # Why does one center for all products not do? Train once with it, and look
  # at both beside each other
  hgad-train train --data parts --backbone mobilenet_v2.onnx --hold-out 5 \
    --prior single --out models/single
  hgad-train report models/single models/line1 --test parts --out why.html

  # A training that still goes on: losses and normal likelihoods up to now
  hgad-train report models/line1 --out now.html

Exit codes: 0 done, 2 wrong use, 3 a device or file failed.";

/// Show why a model is as it is, on one page that needs nothing else.
///
/// Training keeps how it went beside the bundle, in BUNDLE.history (.history.new until the bundle is written): losses, weights of some moments, and how likely the features of normal
/// images are which it did not learn from. The page shows these; with --test also how likely features of defects were at the same moments (a
/// flow that finds both equally likely has mapped all to one place), the verdicts on test images with their figures, ROC curves, overlays and
/// confusions, and where latents and centers lie. Several runs stand beside each other. What is not known is named, with the reason. Nothing
/// that is shown here goes back into a training: but whoever picks a run by its test images has chosen by them, and should look at fresh ones.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ReportArgs {
    /// The runs' folders: bundles that hgad-train wrote (--out), of the same products.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The page to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A folder with one folder per product, each with test/good and test/KIND-OF-DEFECT.
    #[arg(long, value_name = "DIR")]
    test: Option<PathBuf>,
    /// The folder that the models were trained from, for thresholds [default: that of --test].
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// The classifier that training took features from [default: where it was then].
    #[arg(long, value_name = "FILE")]
    backbone: Option<PathBuf>,
    /// The folder that keeps features between runs [default: $XDG_CACHE_HOME/hgad or ~/.cache/hgad].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// The false-reject rate that thresholds are calibrated for.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    target_frr: f64,
    /// Every N-th normal image was left out of training, where a bundle does not tell.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    hold_out: Option<u16>,
}

pub fn run(args: &ReportArgs) -> Result<()> {
    target::file(&args.out, Content::Page)?;
    let cache = args.cache.clone().map_or_else(default_folder, Ok)?;
    let stop = stop_flag()?;
    let html = page(&Request {
        runs: &args.runs,
        test: args.test.as_deref(),
        images: args.images.as_deref(),
        backbone: args.backbone.as_deref(),
        cache: &cache,
        hold_out: args.hold_out.map(usize::from),
        frr: args.target_frr,
        stop: &stop,
    })?;
    target::write(&args.out, &html)?;
    hgad::print::line(format_args!("the report is in {}", args.out.display()))
}
