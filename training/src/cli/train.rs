//! `hgad-train train`.

mod fitness;
mod ready;
pub(super) mod recipe;
pub(super) mod report;
pub(super) mod source;
pub(super) mod task;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::ValueEnum;
use hgad::bundle::{Distance, Precision};
use hgad::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::export::{ExportRequest, export_bundle};
use crate::features::{Features, default_folder};
use crate::fit::{Checkpoint, Device, History, Recipe, Watch};
use crate::methods::{Hgad, Lesson, Memory, Method, OneGaussian, Outcome, Padim};

use recipe::RecipeArgs;
use source::SourceArgs;
use task::Dataset;

/// The exit code of a run that was interrupted: what shells use for SIGINT.
pub(super) const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = r"Examples:
  # Two products, every fifth normal image kept for calibration
  hgad-train train --data parts --classes bolt,washer \
    --backbone mobilenet_v2.onnx --hold-out 5 --out models/line1

  # A longer run with the paper's wide flows, on a GPU
  hgad-train train --data parts --backbone efficientnet.onnx --hold-out 5 \
    --hidden paper --epochs 200 --device cuda --out models/wide

  # The other methods, from the same features: which is best on these parts?
  hgad-train train --data parts --backbone mobilenet_v2.onnx --hold-out 5 \
    --method padim --out models/padim
  hgad-train train --data parts --backbone mobilenet_v2.onnx --hold-out 5 \
    --method memory --out models/memory

  # Go on after Ctrl-C or a power cut: the same command, with --resume
  hgad-train train --data parts --classes bolt,washer \
    --backbone mobilenet_v2.onnx --hold-out 5 --out models/line1 --resume

  # Afterwards, for each product, a threshold from the images held out: 99
  # of them for 1% (the run prints the commands, with a rate that they keep)
  hgad calibrate --model models/line1 --class bolt \
    --images parts/bolt/train/good --hold-out 5 --target-frr 0.01 \
    --out calibration/bolt.toml

Exit codes: 0 done, 1 training diverged or its model is of no use, 2 wrong use
or configuration, 3 a device or file failed, 130 interrupted.";

/// Learn what normal parts look like, and write a model bundle.
///
/// One model covers all products of a line. Only normal images are needed: DATA holds one folder per product, each with
/// train/good (the MVTec AD layout). A classifier that was trained elsewhere (--backbone, any ONNX file) gives the
/// features; they are computed once and cached. What is learned on top is, for every tap of the backbone, a normalizing
/// flow and a mixture of normal appearances (HGAD, ECCV 2024), or what another --method makes of the same features.
///
/// How the training of flows goes is kept in BUNDLE.history (BUNDLE.history.new until the bundle is written), some tens of MB that may be
/// deleted: hgad-train report shows it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct TrainArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Leave every N-th normal image (sorted by name) out of training, for calibration.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    hold_out: Option<u16>,
    /// The bundle to write: a directory; one that stands there is replaced.
    #[arg(long, value_name = "BUNDLE")]
    out: PathBuf,
    /// How it is told what is normal.
    #[arg(long, value_enum, default_value_t = MethodArg::Hgad)]
    method: MethodArg,
    /// How the bundle stores its weights: 8 bits are about a third of the size at the same speed.
    #[arg(long, value_enum, default_value_t = PrecisionArg::WeightsInt8)]
    precision: PrecisionArg,
    /// What a score's distances are measured from: a Gaussian for each product and cell of the grid, or, as before there were
    /// these, the learned centers alone: for comparison, or for a smaller bundle [default: cells, of cflow and fastflow centers].
    /// The other methods are one of the two each.
    #[arg(long, value_enum)]
    distance: Option<Distance>,
    /// With --method padim: how many of the taps' channels are kept, chosen by chance (--seed) [default: all]. Size of the
    /// bundle and time of a score grow with the square.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", value_parser = positive)]
    channels: Option<usize>,
    /// With --method memory: how many feature vectors of each product are kept [default: 1000]. Size of the bundle and time of
    /// a score grow with it.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", value_parser = positive)]
    remember: Option<usize>,
    /// Where training runs.
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,
    /// The folder that keeps features between runs [default: $XDG_CACHE_HOME/hgad or ~/.cache/hgad].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Go on from the checkpoint of an interrupted run of the same command (it lies at BUNDLE.checkpoint).
    #[arg(long)]
    resume: bool,
    /// Keep nothing of how training went: no BUNDLE.history.
    #[arg(long)]
    no_history: bool,
    /// Seconds between checkpoints.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    checkpoint_every: u64,

    /// What all randomness derives from: the same seed on the same machine gives the same model.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    recipe: RecipeArgs,
}

/// The methods, as the command line names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodArg {
    /// Flows behind the taps, trained for some minutes to hours.
    Hgad,
    /// A Gaussian of the features themselves for each product and cell of the grid: nothing is trained. For products that lie
    /// always alike; the measure to beat for any other method.
    Padim,
    /// The nearest of a number of remembered features, wherever on the grid: nothing is trained. For parts that lie anyhow, and
    /// for few images; a smaller bundle.
    Memory,
    /// Flows behind the taps that are told the position, to one Gaussian for all products (CFLOW): trained like hgad.
    Cflow,
    /// Flows over each tap's whole grid, of 3x3 and 1x1 convolutions, to one Gaussian for all products (FastFlow): trained like hgad.
    Fastflow,
}

impl MethodArg {
    fn trains_flows(self) -> bool {
        matches!(self, MethodArg::Hgad | MethodArg::Cflow | MethodArg::Fastflow)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PrecisionArg {
    WeightsInt8,
    F32,
}

pub(super) fn at_least(text: &str, least: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(format!("'{text}' is not a whole number from {least}")),
    }
}

pub(super) fn positive(text: &str) -> Result<usize, String> {
    at_least(text, 1)
}

/// What --remember is where it is not given.
const REMEMBER: usize = 1000;

impl TrainArgs {
    /// The method that is asked for.
    ///
    /// # Errors
    ///
    /// An option is given that is none of this method's, or hyperparameters that make no sense.
    fn method(&self) -> Result<Box<dyn Method>> {
        self.check_options()?;
        let seed = self.seed;
        Ok(match self.method {
            MethodArg::Hgad => Box::new(self.flows(Recipe::default(), Distance::Cells)?),
            MethodArg::Cflow => Box::new(self.one_gaussian("cflow", Recipe::cflow())?),
            MethodArg::Fastflow => Box::new(self.one_gaussian("fastflow", Recipe::fastflow())?),
            MethodArg::Padim => Box::new(Padim { channels: self.channels, seed }),
            MethodArg::Memory => Box::new(Memory { size: self.remember.unwrap_or(REMEMBER), seed }),
        })
    }

    /// Flows by `recipe` and what the user changed of it.
    fn flows(&self, recipe: Recipe, distance: Distance) -> Result<Hgad> {
        Ok(Hgad {
            recipe: self.recipe.recipe(recipe, self.seed)?,
            device: self.device,
            distance: self.distance.unwrap_or(distance),
            checkpoint: Checkpoint::path_for(&self.out)?,
            checkpoint_every: Duration::from_secs(self.checkpoint_every),
            resume: self.resume,
        })
    }

    fn one_gaussian(&self, name: &'static str, recipe: Recipe) -> Result<OneGaussian> {
        Ok(OneGaussian { name, flows: self.flows(recipe, OneGaussian::DISTANCE)? })
    }

    /// What would change nothing is a mistake: a run that looks as if it had been heard would be compared with others.
    fn check_options(&self) -> Result<()> {
        use MethodArg::{Cflow, Fastflow, Hgad, Memory, Padim};
        let (flows, sampled) = (&[Hgad, Cflow, Fastflow][..], &[Hgad, Cflow][..]);
        let (given, usual) = (&self.recipe, RecipeArgs::default());
        let options = [
            ("--channels", self.channels.is_some(), &[Padim][..]),
            ("--remember", self.remember.is_some(), &[Memory]),
            ("--distance", self.distance.is_some(), flows),
            ("--device", self.device != Device::Cpu, flows),
            ("--resume", self.resume, flows),
            ("--no-history", self.no_history, flows),
            ("--positions-per-side", given.positions_per_side != usual.positions_per_side, sampled),
            ("--prior", given.prior != usual.prior, &[Hgad]),
            ("a hyperparameter of the mixture", given.of_mixture() != usual.of_mixture(), &[Hgad]),
            ("hyperparameters", *given != usual, flows),
        ];
        if given.is_lost_on_single() {
            return Err(Error::usage("a hyperparameter of the mixture would change nothing with --prior single")
                .advise("leave it away, or give another --prior"));
        }
        let name = |method: MethodArg| method.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        match options.into_iter().find(|(_, given, of)| *given && !of.contains(&self.method)) {
            None => Ok(()),
            Some((option, _, of)) => {
                let of = of.iter().map(|method| name(*method)).collect::<Vec<_>>().join(" or ");
                Err(Error::usage(format!("{option} would change nothing with --method {}", name(self.method)))
                    .advise(format!("leave it away, or give --method {of}")))
            }
        }
    }
}

pub fn run(args: TrainArgs) -> Result<ExitCode> {
    let method = args.method()?;
    args.device.check()?;
    ready::check_place(&args.out, args.resume)?;
    let cache = args.cache.clone().map_or_else(default_folder, Ok)?;
    let stop = stop_flag()?;
    let data = Dataset::open(&args.source.data, args.source.classes.as_deref(), args.hold_out.map(usize::from))?;
    let backbone = args.source.backbone()?;
    ready::check_folders(&args.out, &cache)?;
    let features = Features::of(&backbone, &data.images, &cache, &stop)?;

    let watched = (args.method.trains_flows() && !args.no_history).then(|| watch::normals(&data)).transpose()?;
    let watched = watched.map(|(images, labels)| Ok((Features::of(&backbone, &images, &cache, &stop)?, labels)));
    let watched = watched.transpose()?;
    let watch = watched.as_ref().map(|(normals, labels)| {
        let about = watch::about(&data, &backbone, &args.source.backbone)?;
        Ok(Watch { folder: History::draft_for(&args.out), about, normals, labels })
    });
    let watch = watch.transpose()?;
    let lesson = Lesson {
        features: &features,
        labels: &data.labels,
        classes: data.classes.len(),
        watch: watch.as_ref(),
        stop: &stop,
    };
    let checkpoint = Checkpoint::path_for(&args.out)?;
    let learned = match method.learn(&lesson)? {
        Outcome::Learned(learned) => learned,
        Outcome::Interrupted { step, steps } => {
            log::warn!("interrupted after step {step} of {steps}; the checkpoint is {}", checkpoint.display());
            log::warn!("to go on, give the same command with --resume");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    let precision = match args.precision {
        PrecisionArg::WeightsInt8 => Precision::WeightsInt8,
        PrecisionArg::F32 => Precision::F32,
    };
    let exported = export_bundle(ExportRequest {
        backbone: &backbone,
        levels: &learned.levels,
        join: learned.join.as_ref(),
        classes: &data.classes,
        trained_on: &data.trained_on(),
        normals: &data.normals,
        precision,
        distance: learned.distance,
        training: &report::provenance(&data, learned.told.clone()),
        out: &args.out,
    })?;
    if watch.is_none() {
        // What an interrupted training of before left is not that of this bundle.
        let _ = std::fs::remove_dir_all(History::draft_for(&args.out));
    }
    History::adopt(&args.out)?;
    // The bundle holds the result; a checkpoint would only stand in the next run's way.
    match std::fs::remove_file(&checkpoint) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::device(format!("checkpoint {} cannot be removed", checkpoint.display())).because(error));
        }
        _ => {}
    }
    hgad::print::line(report::table(&data, &learned, &exported, &args.out)?.trim_end())?;
    report::check_use(&learned, &exported)?;
    hgad::print::line(report::next(&args.source.data, &data, &args.out))?;
    Ok(ExitCode::SUCCESS)
}

/// Raised by SIGINT and SIGTERM; a second signal ends the program at once.
pub(super) fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), stop.clone())
            .and_then(|_| flag::register(signal, stop.clone()))
            .map_err(|error| Error::device("signals cannot be caught").because(error))?;
    }
    Ok(stop)
}
