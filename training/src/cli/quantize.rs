//! `hgad-train quantize`.

use std::path::PathBuf;

use hgad::bundle::{Bundle, Draft};
use hgad::dataset::products;
use hgad::{Error, Result};

use crate::quantize::{Bounds, Figures, Form, Quantised, Request, Told, Verdict, quantise_bundle};
use crate::split::Split;

const EXAMPLES: &str = r"Examples:
  # With the data that the model was trained on, judged on its test images, too
  hgad-train quantize models/line1 --images parts --test parts \
    --out models/line1-int8

  # A model that was trained with --precision f32, to the form that train
  # writes by itself: a third of the size, at the same speed
  hgad-train quantize models/line1-f32 --images parts --test parts \
    --form weights-int8 --out models/line1

  # Nothing kept in floats; written although it may be worse
  hgad-train quantize models/line1 --images parts --float-share 0 \
    --anyway new-board --out models/trial

Exit codes: 0 done, 1 worse than the bounds and not written, 2 wrong use, 3 a
device or file failed.";

/// Turn a model bundle into one in 8 bits: its backbone's arithmetic, or its stored weights alone.
///
/// With --form int8, normal images show which values every tensor of the backbone takes; weights, activations and biases become whole
/// numbers, written as standard ONNX (QuantizeLinear and DequantizeLinear), while the flows stay in floats. The layers that hurt
/// most are kept in floats, too. With --form weights-int8 the weights of backbone and flows are stored in 8 bits, and everything is
/// computed in floats. A table tells of every layer or tensor; then both models are calibrated on the normal images that training did
/// not see, and their verdicts compared. A model that is worse than the bounds is not written. The new bundle has a digest of its
/// own: calibrate every product again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct QuantizeArgs {
    /// The bundle in float arithmetic: a folder that hgad-train train wrote.
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// The folder that the model was trained from: one folder per product, each with train/good.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// A folder with one folder per product, each with test/good and test/KIND-OF-DEFECT: then AUROCs are compared, too.
    #[arg(long, value_name = "DIR")]
    test: Option<PathBuf>,
    /// The bundle to write: a directory; one that stands there is replaced.
    #[arg(long, value_name = "BUNDLE")]
    out: PathBuf,
    /// Every N-th normal image was left out of training, where the bundle itself does not tell.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    hold_out: Option<u16>,
    /// What is to be in 8 bits.
    #[arg(long, value_enum, default_value_t = FormArg::Int8)]
    form: FormArg,
    /// With --form int8: images per product that ranges are taken from [default: 32].
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    frames: Option<u16>,
    /// With --form int8: layers with at most this share of the backbone's multiplications stay in floats, those that hurt most first
    /// [default: 0.1].
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    float_share: Option<f64>,
    /// The false-reject rate of the thresholds at which verdicts are compared.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    target_frr: f64,
    /// How much image and pixel AUROC may lose, mean over the products.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "LOSS", default_value_t = 0.002, value_parser = share)]
    max_auroc_loss: f64,
    /// Share of the images whose verdict may flip.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "SHARE", default_value_t = 0.002, value_parser = share)]
    max_flips: f64,
    /// Write the bundle although it is worse than that; the reason goes into its manifest.
    #[arg(long, value_name = "REASON", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    anyway: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum FormArg {
    /// The backbone's arithmetic and weights: for boards that compute faster so (`hgad bench`).
    Int8,
    /// The stored weights alone: a third of the size at the same speed. For a bundle that was trained with --precision f32.
    WeightsInt8,
}

impl QuantizeArgs {
    fn form(&self) -> Result<Form> {
        let ignored = [("--frames", self.frames.is_some()), ("--float-share", self.float_share.is_some())];
        match (self.form, ignored.into_iter().find(|(_, given)| *given)) {
            (FormArg::Int8, _) => Ok(Form::Int8 {
                frames: self.frames.map_or(32, usize::from),
                float_share: self.float_share.unwrap_or(0.1),
            }),
            (FormArg::WeightsInt8, None) => Ok(Form::Weights),
            (FormArg::WeightsInt8, Some((option, _))) => {
                Err(Error::usage(format!("{option} would change nothing with --form weights-int8"))
                    .advise("leave it away, or give --form int8"))
            }
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("'{text}' is not a number from 0 to 1")),
    }
}

pub fn run(args: &QuantizeArgs) -> Result<()> {
    let form = args.form()?;
    Draft::check_place(&args.out)?;
    if args.out.canonicalize().is_ok_and(|out| args.bundle.canonicalize().is_ok_and(|bundle| out == bundle)) {
        return Err(Error::usage("--out is the bundle that is quantised: its floats would be lost")
            .advise("name another folder; calibrations belong to one bundle"));
    }
    let bundle = Bundle::open(&args.bundle)?;
    let images = Split::of(&bundle, &args.images, args.hold_out.map(usize::from))?;
    let tests = match &args.test {
        Some(root) => {
            let products = products(root, Some(&bundle.manifest.classes))?;
            products.iter().map(|product| product.test()).collect::<Result<Vec<_>>>()?
        }
        None => vec![Vec::new(); bundle.manifest.classes.len()],
    };
    let Quantised { written, told, verdict } = quantise_bundle(&Request {
        bundle: &bundle,
        images: &images,
        tests: &tests,
        form,
        frr: args.target_frr,
        bounds: Bounds { auroc: args.max_auroc_loss, flips: args.max_flips },
        anyway: args.anyway.as_deref(),
        out: &args.out,
    })?;
    match told {
        Told::Layers(table) => hgad::print::line(format_args!("{table}\n"))?,
        Told::Weights(table) => hgad::print::line(format_args!("{table}\n"))?,
    }
    print(&verdict)?;
    let written = written?;
    hgad::print::line(format_args!(
        "\n{}: bundle {}, model.onnx {}; calibrate every product with it",
        args.out.display(),
        written.digest.short(),
        hgad::print::bytes(written.model.len() as u64)
    ))
}

fn print(verdict: &Verdict) -> Result<()> {
    let width = verdict.classes.iter().map(|class| class.class.chars().count()).max().unwrap_or(0).max(5);
    hgad::print::line(format_args!(
        "{:width$}  images  flips  correlation  image AUROC        pixel AUROC        misses",
        "class"
    ))?;
    for class in &verdict.classes {
        let counts = format!("{:6}  {:5}  {:11.5}", class.images, class.flips, class.correlation);
        hgad::print::line(format_args!("{:width$}  {counts}  {}", class.class, pairs(class.figures)))?;
    }
    let (flips, images) = verdict.flips();
    hgad::print::line(format_args!("{:width$}  {images:6}  {flips:5}  {:11}  {}", "all", "", pairs(verdict.mean())))
}

/// Figures in floats and in 8 bits.
fn pairs(figures: Option<[Figures; 2]>) -> String {
    let Some([float, int8]) = figures else { return String::new() };
    let pair = |of: fn(&Figures) -> Option<f64>| match (of(&float), of(&int8)) {
        (Some(float), Some(int8)) => format!("{float:.4} -> {int8:.4}"),
        _ => format!("{:16}", "-"),
    };
    let misses = |figures: &Figures| figures.misses.map_or("-".to_owned(), |rate| format!("{:.1}%", 100.0 * rate));
    let misses = format!("{} -> {}", misses(&float), misses(&int8));
    format!("{}   {}   {misses}", pair(|f| f.image_auroc), pair(|f| f.pixel_auroc))
}
