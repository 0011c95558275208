//! `hgad-train refit`.

use std::path::PathBuf;

use hgad::Result;
use hgad::bundle::{Bundle, Distance, Draft};

use crate::refit::{Request, refit_bundle};
use crate::split::Split;

const EXAMPLES: &str = r"Examples:
  # A model that was trained before there were Gaussians of cells
  hgad-train refit models/line1 --images parts --out models/line1-cells

  # The score as it was, to compare the two on the same images
  hgad-train refit models/line1-cells --images parts --distance centers \
    --out models/line1-centers

Exit codes: 0 done, 2 wrong use, 3 a device or file failed.";

/// Measure anew what is usual of a model's normal images, without training it again.
///
/// A score says how far a part lies from what is usual. It is measured from a Gaussian for each product and cell of the
/// feature grid (cells) or from the learned centers alone (centers, as before there were Gaussians). The images that the model was
/// trained on tell what is usual, the others what a score means; network and centers stay as they are. It takes some minutes.
/// The new bundle has a digest of its own: calibrate every product again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RefitArgs {
    /// The bundle: a folder that hgad-train train wrote.
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// The folder that the model was trained from: one folder per product, each with train/good.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// The bundle to write: a directory; one that stands there is replaced.
    #[arg(long, value_name = "BUNDLE")]
    out: PathBuf,
    /// What distances are measured from.
    #[arg(long, value_enum, default_value_t = Distance::Cells)]
    distance: Distance,
    /// Every N-th normal image was left out of training, where the bundle itself does not tell.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    hold_out: Option<u16>,
}

pub fn run(args: &RefitArgs) -> Result<()> {
    Draft::check_place(&args.out)?;
    let bundle = Bundle::open(&args.bundle)?;
    let images = Split::of(&bundle, &args.images, args.hold_out.map(usize::from))?;
    let written = refit_bundle(&Request { bundle: &bundle, images: &images, distance: args.distance, out: &args.out })?;
    let width = written.manifest.classes.iter().map(|class| class.chars().count()).max().unwrap_or(0).max(5);
    hgad::print::line(format_args!("{:width$}  trained on  others", "class"))?;
    for (class, (trained, held)) in written.manifest.classes.iter().zip(images.trained.iter().zip(&images.held)) {
        hgad::print::line(format_args!("{class:width$}  {:10}  {:6}", trained.len(), held.len()))?;
    }
    hgad::print::line(format_args!(
        "\n{}: bundle {}, format {}; calibrate every product with it",
        args.out.display(),
        written.digest.short(),
        written.manifest.format_version
    ))
}
