//! `hgad-train extend`.

use std::path::PathBuf;

use hgad::bundle::{Bundle, Draft};
use hgad::{Result, print};

use super::train::{report, task::Dataset};
use crate::extend::{Request, check, extend_bundle};
use crate::fit::History;

const EXAMPLES: &str = r"Examples:
  # The line gets a third product
  hgad-train extend models/line1 --data parts --product nut --hold-out 5 \
    --out models/line1-nut

  # Its threshold, of 99 images held out at least (the run prints the
  # command, with a rate that they keep). The others keep their scores, but a
  # calibration names its bundle: make theirs anew, too
  hgad calibrate --model models/line1-nut --class nut \
    --images parts/nut/train/good --hold-out 5 --target-frr 0.01 \
    --out calibration/nut.toml

Exit codes: 0 done, 1 the model does not tell the product from the others,
2 wrong use, 3 a device or file failed.";

/// Add a product to a model, without training it again.
///
/// The network stays as it is; what is usual of the new product is measured from its normal images. The other
/// products keep their scores to the last bit; a frame of theirs that clearly looks like the new product is rejected as that, whatever its
/// score, and calibrations that are made anew count such frames. It needs the model and the new product's images, and neither the backbone nor
/// the others' images. Where the model does not tell the product from the others it says so and writes nothing: train with all then.
/// A model that was trained on all judges the new product better (docs/methods.md has figures; hgad-train compare tells of your parts).
/// The new bundle has a digest of its own, and says from which it came: calibrate every product again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ExtendArgs {
    /// The bundle: a folder that hgad-train train wrote.
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// The folder with the product's folder, which has train/good.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The product: its folder's name.
    #[arg(long, value_name = "NAME")]
    product: String,
    /// Leave every N-th normal image (sorted by name) out, for calibration.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    hold_out: u16,
    /// The bundle to write: a directory; one that stands there is replaced.
    #[arg(long, value_name = "BUNDLE")]
    out: PathBuf,
}

pub fn run(args: &ExtendArgs) -> Result<()> {
    Draft::check_place(&args.out)?;
    let bundle = Bundle::open(&args.bundle)?;
    check(&bundle, &args.product)?;
    let product = [args.product.clone()];
    let data = Dataset::open(&args.data, Some(&product), Some(usize::from(args.hold_out)))?;
    let normals = data.normals.concat();
    let request =
        Request { bundle: &bundle, product: &args.product, images: &data.images, normals: &normals, out: &args.out };
    let written = extend_bundle(&request)?;
    // What stands beside a bundle that was replaced tells of that one.
    History::forget(&args.out)?;
    print::line(format_args!(
        "{}: {} learned from {}, {} held out; products {}\nbundle {}, from {}",
        args.out.display(),
        args.product,
        print::counted(data.images.len() as u64, "image"),
        normals.len(),
        written.manifest.classes.join(", "),
        written.digest.short(),
        bundle.digest.short()
    ))?;
    print::line(format_args!(
        "{}\nand likewise for {}",
        report::next(&args.data, &data, &args.out),
        bundle.manifest.classes.join(", ")
    ))
}
