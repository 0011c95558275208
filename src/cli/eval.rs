//! `hgad eval`.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::dataset::{self, ProductData};
use crate::evaluate::{Figures, evaluate};
use crate::{Error, Result, print};

const EXAMPLES: &str = r"Examples:
  # All products; DATA/NAME/test/good and DATA/NAME/test/KIND-OF-DEFECT
  hgad eval --model models/line3 --calibration calibration --data DATA

  # Two of them, for scripts
  hgad eval --model models/line3 --calibration calibration --data DATA \
    --classes cap,gear --json

The JSON has one object per class below classes.NAME and one below mean, each
with good and defective (numbers of images; of all classes below mean),
image_auroc, pixel_auroc, false_reject_rate and miss_rate; null where it is not
known, as pixel_auroc without masks.";

/// Measure a calibrated model on test images with known defects
///
/// Prints, per class and in the mean, the area under the ROC of images and of pixels, and what happens at the
/// calibrated threshold: how many good parts are rejected, how many defective ones pass. The last row's counts are those of
/// all images.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct EvalArgs {
    /// The bundle: a folder that hgad-train wrote
    #[arg(long, value_name = "BUNDLE")]
    model: PathBuf,
    /// A folder with one calibration per class, NAME.toml
    #[arg(long, value_name = "DIR")]
    calibration: PathBuf,
    /// A folder with one folder per class in the MVTec AD layout
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The classes to evaluate; all that the model knows otherwise
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    classes: Option<Vec<String>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: EvalArgs) -> Result<()> {
    let bundle = Bundle::open(&args.model)?;
    let classes = args.classes.unwrap_or_else(|| bundle.manifest.classes.clone());
    // All of them before the first image is looked at.
    let calibrations = classes.iter().map(|class| calibration_of(class, &args.calibration, &bundle));
    let calibrations = calibrations.collect::<Result<Vec<_>>>()?;
    let products = dataset::products(&args.data, Some(&classes))?;
    let tests = products.iter().map(ProductData::test).collect::<Result<Vec<_>>>()?;
    let figures = calibrations.iter().zip(&tests).map(|(calibration, test)| evaluate(&bundle, calibration, test));
    let figures = figures.collect::<Result<Vec<_>>>()?;
    let mean = Figures::mean(&figures);
    if args.json {
        let by_class = classes.iter().zip(&figures).map(|(name, figures)| (name.clone(), json!(figures)));
        let report = json!({ "classes": by_class.collect::<serde_json::Map<_, _>>(), "mean": mean });
        return print::line(format_args!("{report:#}"));
    }
    let width = classes.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
    print::line(format_args!(
        "{:width$}    good  defective  image AUROC  pixel AUROC  false rejects  misses",
        "class"
    ))?;
    for (name, figures) in classes.iter().zip(&figures) {
        print_row(name, figures, width)?;
    }
    print_row("mean", &mean, width)
}

fn calibration_of(class: &str, folder: &Path, bundle: &Bundle) -> Result<Calibration> {
    let path = folder.join(format!("{class}.toml"));
    let (calibration, _) = Calibration::open(&path)?;
    if calibration.class != class {
        return Err(Error::usage(format!("{} is a calibration of '{}'", path.display(), calibration.class))
            .advise(format!("name the calibration of every class after it: {class}.toml is to be of '{class}'")));
    }
    calibration.check_bundle(bundle)?;
    Ok(calibration)
}

fn print_row(name: &str, figures: &Figures, width: usize) -> Result<()> {
    let area = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    let rate = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{:.1}%", 100.0 * value));
    print::line(format_args!(
        "{name:width$}  {:>6}  {:>9}  {:>11}  {:>11}  {:>13}  {:>6}",
        figures.good,
        figures.defective,
        area(figures.image_auroc),
        area(figures.pixel_auroc),
        rate(figures.false_reject_rate),
        rate(figures.miss_rate)
    ))
}
