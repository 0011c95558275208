//! `hgad calibrate trial`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::bundle::Bundle;
use crate::calibrate::trial::{Plan, Trial, trial};
use crate::calibrate::{Aim, Fitting};
use crate::dataset::{self, HoldOut};
use crate::{Result, print};

/// Try what thresholds are worth: calibrate on random halves of your normal parts, and test on the rest
///
/// Takes the normal parts that training did not see (of train/good those that were held out, and test/good), splits them
/// at random many times, sets a threshold on one side and counts rejects on the other. `set to` is the mean rate that
/// such a threshold promises, `realised` the one that came out; `kept` is the share of splits in which no more were
/// rejected than asked for, beside the share that exchangeable parts give (the tried parts are few, so that it lies below
/// the confidence that holds for a long run).
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  hgad calibrate trial --model models/line3 --data DATA --hold-out 5 \\\n    --target-frr 0.05,0.1 --confidence 0.9 --splits 1000"
)]
pub struct TrialArgs {
    /// The bundle: a folder that hgad-train wrote
    #[arg(long, value_name = "BUNDLE")]
    model: PathBuf,
    /// A folder with one folder per class in the MVTec AD layout
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The classes; all that the model knows otherwise
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    classes: Option<Vec<String>>,
    /// Training left out every N-th image
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    hold_out: u64,
    /// Shares of normal parts that may be rejected
    #[arg(long, value_name = "RATE", value_delimiter = ',', default_value = "0.05")]
    target_frr: Vec<f64>,
    /// Try each rate with this confidence too, beside on average
    #[arg(long, value_name = "PROBABILITY")]
    confidence: Option<f64>,
    /// Where the constants come from that the calibrating parts are measured with
    #[arg(long, value_name = "WAY", value_delimiter = ',', default_value = "crossed")]
    fitting: Vec<Fitting>,
    /// How often the parts are split
    #[arg(long, value_name = "N", default_value_t = 1000)]
    splits: usize,
    /// The share of parts that calibrate
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    share: f64,
    /// Where chance starts: the same seed gives the same splits
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub fn run(args: &TrialArgs) -> Result<()> {
    let bundle = Bundle::open(&args.model)?;
    let classes = args.classes.clone().unwrap_or_else(|| bundle.manifest.classes.clone());
    let confidences = std::iter::once(None).chain(args.confidence.map(Some));
    let aims = confidences.flat_map(|confidence| args.target_frr.iter().map(move |frr| Aim { frr: *frr, confidence }));
    let (splits, share, seed) = (args.splits, args.share, args.seed);
    let plan = Plan { aims: aims.collect(), fittings: args.fitting.clone(), splits, share, seed };
    let width = classes.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
    print::line(format_args!(
        "{:width$}  constants  calibrated  tried  asked for    set to  realised    kept  expected",
        "class"
    ))?;
    for product in dataset::products(&args.data, Some(&classes))? {
        let mut images = HoldOut::Held(args.hold_out as usize).select(product.train()?);
        images.extend(product.test()?.into_iter().filter(|test| !test.is_defective()).map(|test| test.image));
        let trials = trial(&bundle, &product.name, &images, None, &plan)?;
        trials.iter().try_for_each(|trial| print_row(&product.name, width, trial))?;
    }
    Ok(())
}

fn print_row(class: &str, width: usize, trial: &Trial) -> Result<()> {
    let percent = |share: f64| format!("{:.2}%", 100.0 * share);
    let fitting = trial.fitting.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let asked = match trial.aim.confidence {
        None => format!("{}%", 100.0 * trial.aim.frr),
        Some(confidence) => format!("{}%, {}%", 100.0 * trial.aim.frr, 100.0 * confidence),
    };
    print::line(format_args!(
        "{class:width$}  {fitting:9}  {:>10}  {:>5}  {asked:>9}  {:>8}  {:>8}  {:>6}  {:>8}",
        trial.calibrated,
        trial.tried,
        percent(trial.promised),
        percent(trial.realised),
        format!("{:.1}%", 100.0 * trial.kept),
        format!("{:.1}%", 100.0 * trial.kept_expected),
    ))
}
