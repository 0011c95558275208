//! `hgad-train backbone`.

use std::path::PathBuf;

use clap::Subcommand;
use hgad::Result;
use hgad::bundle::InputSize;
use hgad::print;

use super::train::source::parse_size;
use crate::backbone::{Cost, inspect};

const EXAMPLES: &str = r"Examples:
  # Where does training take features from this classifier by itself?
  hgad-train backbone inspect mobilenet_v2.onnx

  # Every tensor that --taps may name, at the size that the line will use
  hgad-train backbone inspect mobilenet_v2.onnx --size 384 --all";

/// Look at the classifiers that features are taken from.
#[derive(Debug, Subcommand)]
pub enum BackboneCommand {
    Inspect(InspectArgs),
}

/// Say which tensors of a classifier can be taps, and what each costs.
///
/// Per stride, which is the pixels per step of the tensor's grid, the one that `train --taps auto:STRIDE` takes: shape,
/// numbers in the weights before it, and millions of multiplications (MMAC) per image, which decide how long a frame takes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct InspectArgs {
    /// The classifier, as an ONNX file with one RGB image as input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The network's input: SIZE x SIZE pixels, or WIDTHxHEIGHT.
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = parse_size, allow_negative_numbers = true)]
    size: InputSize,
    /// All tensors that can be taps, not only those that auto takes.
    #[arg(long)]
    all: bool,
}

pub fn run(command: BackboneCommand) -> Result<()> {
    match command {
        BackboneCommand::Inspect(args) => print_overview(&args),
    }
}

fn print_overview(args: &InspectArgs) -> Result<()> {
    let overview = inspect(&args.file, args.size)?;
    print::line(format_args!(
        "{}: {} parameters, operator set {}, normalisation {}\nSHA-256 {}\n",
        args.file.display(),
        millions(overview.parameters),
        overview.opset,
        overview.normalise,
        overview.digest
    ))?;
    let offers = overview.offers.iter().filter(|offer| args.all || offer.automatic).collect::<Vec<_>>();
    let width = offers.iter().map(|offer| offer.name.chars().count()).max().unwrap_or(0).max(6);
    print::line(format_args!("  stride  {:width$}  channels       grid  parameters      MMAC", "tensor"))?;
    for offer in offers {
        let [channels, height, width_of_grid] = offer.shape;
        let mark = if offer.automatic { '*' } else { ' ' };
        print::line(format_args!(
            "{mark} {:>6}  {:width$}  {channels:>8}  {:>9}  {:>10}  {:>8.1}",
            offer.stride,
            offer.name,
            format!("{width_of_grid}x{height}"),
            millions(offer.cost.parameters),
            offer.cost.macs as f64 / 1e6,
        ))?;
    }
    let InputSize { width, height } = args.size;
    print::line(format_args!("\n* taken by auto; costs up to each tensor alone, at {width}x{height} pixels"))?;
    match overview.default_taps {
        Some(Cost { parameters, macs }) => print::line(format_args!(
            "both default taps (strides 8 and 16) together: {} parameters, {:.1} MMAC",
            millions(parameters),
            macs as f64 / 1e6
        )),
        None => print::line("there are no default taps: strides 8 and 16 are not both there; name others with --taps"),
    }
}

fn millions(count: u64) -> String {
    format!("{:.3} M", count as f64 / 1e6)
}
