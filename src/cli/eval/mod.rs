//! `hgad eval`.

mod json;
mod table;

use std::path::{Path, PathBuf};

use super::calibrations;
use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::calibrate::defects::clopper_pearson;
use crate::dataset::{self, ProductData, TestImage};
use crate::evaluate::bootstrap::{Resamples, Resampling};
use crate::evaluate::figures::{Figure, Values, mean};
use crate::evaluate::{Evidence, evaluate};
use crate::{Result, print};

const EXAMPLES: &str = r"Examples:
  # All products; DATA/NAME/test/good and DATA/NAME/test/KIND-OF-DEFECT
  hgad eval --model models/line3 --calibration calibration --data DATA

  # Two of them, for scripts
  hgad eval --model models/line3 --calibration calibration --data DATA \
    --classes cap,gear --json

  # Is the new model better on these images, or was it luck?
  hgad eval --model models/new --calibration new --data DATA \
    --against models/line3 --against-calibration calibration

docs/evaluation.md defines every figure and every key of the JSON.";

/// From so many defective images with a mask on, figures of pixels say something of defects that are not among them.
const ENOUGH_MASKS: usize = 10;

/// Measure a calibrated model on test images with known defects
///
/// Prints, per class and in the mean: the area under the ROC, average precision and the largest F1 score of images and of pixels, the
/// area under the per-region overlap (up to 30% false positives), how many defects are missed when so many good parts may be
/// rejected, and what happens at the calibrated threshold. An interval in brackets is where the figure could lie with other images
/// of the same kind. Then come the images that are judged wrongly.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct EvalArgs {
    /// The bundle: a folder that hgad-train wrote
    #[arg(long, value_name = "BUNDLE")]
    model: PathBuf,
    /// A calibration, or a folder of such; may be given more than once. Of a folder, NAME.toml is that of a product, or else the only one
    /// that is of it
    #[arg(long, value_name = "PATH", required = true)]
    calibration: Vec<PathBuf>,
    /// A folder with one folder per class in the MVTec AD layout
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The classes to evaluate; all that the model knows otherwise
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    classes: Option<Vec<String>>,
    /// Shares of the good parts that may be rejected: what is missed then
    #[arg(long, value_name = "RATE,..", value_delimiter = ',', default_value = "0.001,0.01,0.05", value_parser = rate)]
    misses_at: Vec<f64>,
    /// How often the images are resampled for the intervals; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    resamples: u64,
    /// Where the resamples' chance starts
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How many wrongly judged images of either kind to name per class; the JSON names all
    #[arg(long, value_name = "N", default_value_t = 5)]
    list: usize,
    /// Another bundle, to be compared on the same images
    #[arg(long, value_name = "BUNDLE", requires = "against_calibration")]
    against: Option<PathBuf>,
    /// Its calibrations, as with --calibration
    #[arg(long, value_name = "PATH", requires = "against")]
    against_calibration: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A bundle's figures on all classes, with their intervals.
struct Report {
    classes: Vec<Evidence>,
    /// Of each class, and of their mean behind the last one.
    values: Vec<Values>,
    resamples: Resamples,
}

/// Another bundle's report, and the resamples of how much greater the first one's figures are.
struct Against {
    model: PathBuf,
    report: Report,
    differences: Resamples,
}

pub fn run(args: EvalArgs) -> Result<()> {
    let figures = Figure::all(&args.misses_at);
    let resampling = Resampling { count: args.resamples, seed: args.seed };
    // All bundles, calibrations and folders before the first image is looked at.
    let (bundle, calibrations) = open(&args.model, &args.calibration, args.classes.as_deref())?;
    let classes = calibrations.iter().map(|calibration| calibration.class.clone()).collect::<Vec<_>>();
    let other = args.against.as_ref().map(|model| open(model, &args.against_calibration, Some(&classes)));
    let other = other.transpose()?;
    let products = dataset::products(&args.data, Some(&classes))?;
    let tests = products.iter().map(ProductData::test).collect::<Result<Vec<_>>>()?;
    let report = Report::new(&bundle, &calibrations, &tests, &figures, resampling)?;
    report.classes.iter().for_each(warn_of_few_masks);
    let against = match (args.against, other) {
        (Some(model), Some((bundle, calibrations))) => {
            let other = Report::new(&bundle, &calibrations, &tests, &figures, resampling)?;
            Some(Against { model, differences: report.resamples.minus(&other.resamples), report: other })
        }
        _ => None,
    };
    if args.json {
        return print::line(format_args!("{:#}", json::report(&figures, &report, against.as_ref(), resampling)));
    }
    table::print(&figures, &report, resampling)?;
    table::print_mistakes(&report, args.list)?;
    against.map_or(Ok(()), |against| table::print_difference(&figures, &report, &against))
}

impl Report {
    fn new(
        bundle: &Bundle,
        calibrations: &[Calibration],
        tests: &[Vec<TestImage>],
        figures: &[Figure],
        resampling: Resampling,
    ) -> Result<Self> {
        let classes = calibrations.iter().zip(tests).map(|(calibration, test)| evaluate(bundle, calibration, test));
        let classes = classes.collect::<Result<Vec<_>>>()?;
        let mut values = classes.iter().map(|class| class.figures(figures)).collect::<Vec<_>>();
        values.push(mean(&values));
        let resamples = Resamples::draw(&classes, figures, resampling)?;
        Ok(Report { classes, values, resamples })
    }

    /// Where a figure could lie with other images, if intervals are wanted at all. Of how many images of a class are judged wrongly at
    /// the threshold the exact interval is known; a bootstrap of none in 150 would say that there is never one.
    fn interval(&self, row: usize, place: usize, figure: Figure) -> Option<(f64, f64)> {
        let resampled = self.resamples.interval(row, place)?;
        let class = self.classes.get(row);
        let label = match figure {
            Figure::FalseRejects => false,
            Figure::Misses => true,
            _ => return Some(resampled),
        };
        Some(class.map_or(resampled, |class| {
            let (good, defective) = class.counts();
            clopper_pearson(class.mistakes(label).count(), if label { defective } else { good })
        }))
    }

    /// The names of the rows of values.
    fn names(&self) -> Vec<&str> {
        self.classes.iter().map(|class| class.class.as_str()).chain(["mean"]).collect()
    }
}

/// A bundle and its calibrations of `classes`, or of all that it knows.
fn open(model: &Path, given: &[PathBuf], classes: Option<&[String]>) -> Result<(Bundle, Vec<Calibration>)> {
    let bundle = Bundle::open(model)?;
    let classes = classes.unwrap_or(&bundle.manifest.classes);
    let calibrations = classes.iter().map(|class| Ok(calibrations::of_class(class, given, &bundle)?.1));
    let calibrations = calibrations.collect::<Result<_>>()?;
    Ok((bundle, calibrations))
}

fn warn_of_few_masks(class: &Evidence) {
    let (name, masks, defective) = (&class.class, class.masks, class.counts().1);
    if masks.empty > 0 {
        let empty = print::counted(masks.empty as u64, "mask");
        log::warn!("{name}: {empty} without a defect at the network's input size: not in the figures of pixels");
    }
    if masks.used > 0 && (masks.used < ENOUGH_MASKS || 2 * masks.used < defective) {
        log::warn!(
            "{name}: the figures of pixels rest on {} of {}: they say little of the others",
            print::counted(masks.used as u64, "mask"),
            print::counted(defective as u64, "defective image"),
        );
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..1.0).contains(&rate) => Ok(rate),
        _ => Err(format!("'{text}' is not a share of the good parts: give 0.01 for 1%")),
    }
}
