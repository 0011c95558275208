//! `hgad-train import`.

use std::path::PathBuf;

use hgad::Result;
use hgad::bundle::{Draft, InputSize};

use super::train::report;
use super::train::source::parse_size;
use super::train::task::Dataset;
use crate::backbone::Normalise;
use crate::compare::bytes;
use crate::import::{Network, Request, Wanted, import_bundle};

const EXAMPLES: &str = r"Examples:
  # PaDiM of anomalib, trained on four of five images of one product
  hgad-train import padim.onnx --map anomaly_map --data parts \
    --classes bolt --hold-out 5 --out models/anomalib-padim

  # A network for all products that gives a map and a score of its own
  hgad-train import uniad.onnx --map map --score score --data parts \
    --hold-out 5 --out models/uniad

  # How good is it beside ours?
  hgad-train compare models/bolt models/anomalib-padim --images parts \
    --test parts

Exit codes: 0 done, 1 an output tells nothing, 2 wrong use or a network that
cannot be imported, 3 a device or file failed.";

/// Make a bundle of a network that was trained elsewhere.
///
/// The network is an ONNX file that takes one RGB image and gives an anomaly map, a score of the whole image, or both. Its sizes are
/// fixed, what is constant in it is folded, and Resize and Pad become matrix products, so that a board needs few
/// operators; then it runs once on normal images. From there on it is treated like any other bundle: what is usual of the map at each
/// place of a product is measured on the normal images, the map is smoothed, and its maximum is the score of a frame, unless
/// the network gives one itself (--score). Calibrate every product with it.
///
/// Export without what normalises the map to 0..1, cuts it off or thresholds it (anomalib: post_processor=False).
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ImportArgs {
    /// The network, as an ONNX file with one RGB image as input, channels first or last.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The output that is an anomaly map: [1, 1, H, W], at most as fine as the image.
    #[arg(long, value_name = "NAME")]
    map: Option<String>,
    /// The output that is a score of the whole image: one number. With it, pictures cannot be masked.
    #[arg(long, value_name = "NAME")]
    score: Option<String>,
    /// Low values are anomalous, not high ones.
    #[arg(long)]
    invert: bool,
    /// The folder with one folder per product, each with train/good: the normal images that the network was trained on.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The products that the network was trained for [default: all in DATA, by name].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    classes: Option<Vec<String>>,
    /// Every N-th normal image (sorted by name) was left out of training.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    hold_out: Option<u16>,
    /// The network's input where its file leaves it open: SIZE x SIZE pixels, or WIDTHxHEIGHT [default: the file's, or 256].
    #[arg(long, value_name = "SIZE", value_parser = parse_size, allow_negative_numbers = true)]
    size: Option<InputSize>,
    /// What the network wants its pixels to be: auto, none (0..255), unit (0..1), signed (-1..1), imagenet, or means and
    /// deviations R,G,B/R,G,B on the scale 0..255. auto takes a network that begins with arithmetic for one that normalises by
    /// itself, and others for imagenet's.
    #[arg(long, value_name = "HOW", default_value = "auto", allow_hyphen_values = true)]
    normalize: Normalise,
    /// The bundle to write: a directory; one that stands there is replaced.
    #[arg(long, value_name = "BUNDLE")]
    out: PathBuf,
}

pub fn run(args: &ImportArgs) -> Result<()> {
    Draft::check_place(&args.out)?;
    let network = Network::open(
        &args.model,
        &Wanted {
            map: args.map.clone(),
            score: args.score.clone(),
            invert: args.invert,
            size: args.size,
            normalise: Some(args.normalize.clone()),
        },
    )?;
    hgad::print::line(about(&network))?;
    let data = Dataset::open(&args.data, args.classes.as_deref(), args.hold_out.map(usize::from))?;
    let bundle = import_bundle(&Request {
        network: &network,
        classes: &data.classes,
        trained_on: &data.trained_on(),
        normals: &data.normals,
        training: &report::provenance(&data, toml::Table::new()),
        out: &args.out,
    })?;
    let size = hgad::print::bytes(bytes(&args.out)?);
    hgad::print::line(format_args!("bundle  {} ({size})\ndigest  {}", args.out.display(), bundle.digest))?;
    hgad::print::line(report::next(&args.data, &data, &args.out))
}

/// How the file was read: what is told here is to be checked by whoever knows the network.
fn about(network: &Network) -> String {
    let InputSize { width, height } = network.size;
    let order = if network.channels_last { "channels last" } else { "channels first" };
    let outputs = network.levels.iter().map(|level| match level.is_whole() {
        true => format!("{} (a score)", level.tap),
        false => format!("{} (a map of {}x{})", level.tap, level.width, level.height),
    });
    format!(
        "input   {}, RGB, {order}, {width}x{height} pixels, normalisation {}\noutputs {}",
        network.input,
        network.normalise,
        outputs.collect::<Vec<_>>().join(", ")
    )
}
