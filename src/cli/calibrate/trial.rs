//! `hgad calibrate trial`.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, ValueEnum};

use crate::bundle::Bundle;
use crate::calibrate::trial::{Plan, Trial, trial};
use crate::calibrate::{Aim, Fitting, Grouping, percent};
use crate::dataset::{self, HoldOut, ProductData};
use crate::{Error, Result, print};

/// Try what thresholds are worth: calibrate on random halves of your normal parts, and test on the rest
///
/// Splits images of normal parts at random many times, sets a threshold on one side and counts rejects on the other. It takes no
/// images of defects, and refuses those that training saw, as far as the bundle names them: of one that does not, see to it that
/// they are others, or the rates come out too good. Either --images names a folder of normal parts of one --class, as hgad
/// calibrate takes it, or --data a data set in one of the layouts that hgad-train reads, with one folder per class: of that the
/// normal parts for training are taken that --hold-out left out, and those for testing where there are any. A bundle that does
/// not name its images needs --hold-out for --data.
///
/// `set to` is the mean rate that
/// such a threshold promises, `realised` the one that came out; `kept` is the share of splits in which no more were
/// rejected than asked for, beside the share that exchangeable parts give (the tried parts are few, so that it lies below
/// the confidence that holds for a long run). A product, or a rate with a confidence, that cannot be tried is told of in the log,
/// and the others are tried: the exit code is that of the error then.
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("source").required(true).args(["images", "data"]),
    after_long_help = "Examples:\n  # Of one product, from the folder that hgad calibrate was given\n  hgad calibrate trial --model models/line3 --class cap --images good-parts\n\n  # Of all products of a data set\n  hgad calibrate trial --model models/line3 --data DATA --hold-out 5 \\\n    --target-frr 0.05,0.1 --confidence 0.9 --splits 1000"
)]
pub struct TrialArgs {
    /// The bundle: a folder that hgad-train wrote
    #[arg(long, value_name = "BUNDLE")]
    model: PathBuf,
    /// A folder of images of normal parts of one product
    #[arg(long, value_name = "DIR", requires = "class")]
    images: Option<PathBuf>,
    /// Which product those are of
    #[arg(long, value_name = "NAME", requires = "images")]
    class: Option<String>,
    /// A data set with one folder per class, such as CLASS/train/good (the MVTec AD layout) or as its authors distribute it
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// With --data: the classes; all of them that the model knows otherwise
    #[arg(long, value_name = "A,B", value_delimiter = ',', requires = "data")]
    classes: Option<Vec<String>>,
    /// Use only every N-th image of the sorted folder (of --data: of those for training): those that training with the same value
    /// left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    hold_out: Option<u64>,
    /// Count images as one part when this regular expression finds the same in their names, such as 'part-(\d+)', as hgad calibrate
    /// takes it: all images of a part are on one side of a split
    #[arg(long, value_name = "PATTERN")]
    group: Option<String>,
    /// Shares of normal parts that may be rejected
    #[arg(long, value_name = "RATE", value_delimiter = ',', default_value = "0.05", value_parser = super::rate)]
    target_frr: Vec<f64>,
    /// Try each rate with this confidence too, beside on average
    #[arg(long, value_name = "PROBABILITY", value_parser = super::rate)]
    confidence: Option<f64>,
    /// Where the constants come from that the calibrating parts are measured with
    #[arg(long, value_name = "WAY", value_delimiter = ',', default_value = "crossed")]
    fitting: Vec<Fitting>,
    /// How often the parts are split
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    splits: u64,
    /// The share of parts that calibrate
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share)]
    share: f64,
    /// Where chance starts: the same seed gives the same splits
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| *share > 0.0 && *share < 1.0).ok_or_else(|| "give a share between 0 and 1".into())
}

pub fn run(args: &TrialArgs) -> Result<()> {
    let bundle = Bundle::open(&args.model)?;
    let confidences = std::iter::once(None).chain(args.confidence.map(Some));
    let aims = confidences.flat_map(|confidence| args.target_frr.iter().map(move |frr| Aim { frr: *frr, confidence }));
    let (splits, share, seed) = (args.splits as usize, args.share, args.seed);
    let plan = Plan { aims: aims.collect(), fittings: args.fitting.clone(), splits, share, seed };
    let grouping = args.group.as_deref().map(Grouping::new).transpose()?;
    let products = products(args, &bundle)?;
    let width = products.iter().map(|(class, _)| class.chars().count()).max().unwrap_or(0).max(5);
    let (mut has_table, mut refused, mut too_few) = (false, Vec::new(), 0);
    for (class, images) in &products {
        let trials = match trial(&bundle, class, images, grouping.as_ref(), &plan) {
            Ok(trials) => trials,
            Err(error) if products.len() == 1 => return Err(error),
            // What is wrong with one product says nothing of the others.
            Err(error) => {
                log::error!("{class} is not tried: {}", error.report());
                refused.push((class.as_str(), error));
                continue;
            }
        };
        // Not before: what cannot be tried has no table.
        if !std::mem::replace(&mut has_table, true) {
            print::line(format_args!(
                "{:width$}  constants  calibrated  tried  asked for    set to  realised    kept  expected",
                "class"
            ))?;
        }
        trials.tried.iter().try_for_each(|trial| print_row(class, width, trial))?;
        trials.tried.iter().filter_map(unkept).for_each(|told| log::warn!("{class}: {told}"));
        for error in &trials.refused {
            log::error!("{class}: {}", error.report());
        }
        too_few += trials.refused.len() as u64;
    }
    not_tried(refused, products.len())?;
    match too_few {
        0 => Ok(()),
        rates => Err(Error::usage(format!("{} could not be tried", print::counted(rates, "rate")))
            .advise("what each takes is told above")),
    }
}

/// Why a trial's threshold is not one for the rate that was asked for.
fn unkept(trial: &Trial) -> Option<String> {
    (trial.promised > trial.aim.frr).then(|| {
        format!(
            "{} cannot set {} false rejects, which {} can: the highest score is the threshold, {:.2}% on average",
            print::counted(trial.calibrated as u64, "calibrating part"),
            percent(trial.aim.frr),
            trial.aim.parts_needed(),
            100.0 * trial.promised
        )
    })
}

/// The error of the first of the products that could not be tried, of so many.
fn not_tried(mut refused: Vec<(&str, Error)>, of: usize) -> Result<()> {
    let names = refused.iter().map(|(class, _)| *class).collect::<Vec<_>>().join(", ");
    let told = format!("{} of {of} products not tried ({names}), the first since", refused.len());
    match refused.is_empty() {
        true => Ok(()),
        false => Err(refused.swap_remove(0).1.within(&told)),
    }
}

/// The classes that are tried, each with the images of its normal parts.
fn products(args: &TrialArgs, bundle: &Bundle) -> Result<Vec<(String, Vec<PathBuf>)>> {
    let selection = args.hold_out.map_or(HoldOut::All, |n| HoldOut::Held(n as usize));
    if let (Some(images), Some(class)) = (&args.images, &args.class) {
        return Ok(vec![(class.clone(), selection.select(dataset::images(images)?))]);
    }
    // Cannot fail: clap asks for one of the two.
    let data = args.data.as_deref().expect("there are --images or --data");
    if args.hold_out.is_none() && bundle.trained_on.is_none() {
        return Err(unknown_images(data, bundle));
    }
    let found = match &args.classes {
        Some(classes) => dataset::products(data, Some(classes)),
        None => known_products(data, bundle),
    };
    let found = found.map_err(|error| of_one_product(data, error))?;
    let normal = |product: &ProductData| -> Result<(String, Vec<PathBuf>)> {
        let mut images = selection.select(product.train()?);
        images.extend(product.normal_test()?);
        Ok((product.name.clone(), images))
    };
    found.iter().map(normal).collect()
}

/// The images for training of a data set are those that the model saw, as far as anybody knows.
fn unknown_images(data: &Path, bundle: &Bundle) -> Error {
    let left_out = bundle.manifest.training.get("hold_out").and_then(toml::Value::as_integer);
    let hold_out = left_out.map_or("N".to_owned(), |n| n.to_string());
    Error::usage("this model does not tell which images it was trained on")
        .because(format!("those for training in {} may be these: thresholds would look better than they are", data.display()))
        .advise(format!(
            "give --hold-out {hold_out}, as hgad-train train was given it, or images that training did not see with --images DIR --class NAME"
        ))
}

/// The products of a data set that the model knows.
fn known_products(data: &Path, bundle: &Bundle) -> Result<Vec<ProductData>> {
    let classes = &bundle.manifest.classes;
    let (known, others): (Vec<_>, Vec<_>) =
        dataset::products(data, None)?.into_iter().partition(|product| classes.contains(&product.name));
    let others = others.iter().map(|product| product.name.as_str()).collect::<Vec<_>>().join(", ");
    match (known.is_empty(), others.is_empty()) {
        (true, _) => Err(Error::usage(format!("the model knows no product in {}", data.display()))
            .because(format!("there are: {others}; it knows: {}", classes.join(", ")))
            .advise("give the data set that it was trained on, or one product with --images DIR --class NAME")),
        (false, true) => Ok(known),
        (false, false) => {
            log::info!("products that the model does not know are left out: {others}");
            Ok(known)
        }
    }
}

/// Somebody who names the folder of one product, or of its images, is told of the other way.
fn of_one_product(data: &Path, error: Error) -> Error {
    let is_one = data.join("train").is_dir() || dataset::images(data).is_ok_and(|images| !images.is_empty());
    match is_one {
        false => error,
        true => Error::usage(format!("{} is no data set of several products", data.display())).because(error.line()).advise(
            "give the folder of normal images of one product with --images DIR --class NAME, or the folder above with --data",
        ),
    }
}

fn print_row(class: &str, width: usize, trial: &Trial) -> Result<()> {
    let rounded = |share: f64| format!("{:.2}%", 100.0 * share);
    let fitting = trial.fitting.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let asked = match trial.aim.confidence {
        None => percent(trial.aim.frr),
        Some(confidence) => format!("{}, {}", percent(trial.aim.frr), percent(confidence)),
    };
    print::line(format_args!(
        "{class:width$}  {fitting:9}  {:>10}  {:>5}  {asked:>9}  {:>8}  {:>8}  {:>6}  {:>8}",
        trial.calibrated,
        trial.tried,
        rounded(trial.promised),
        rounded(trial.realised),
        format!("{:.1}%", 100.0 * trial.kept),
        format!("{:.1}%", 100.0 * trial.kept_expected),
    ))
}
