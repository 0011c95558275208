//! `hgad-train ablate`.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use hgad::cli::target;
use hgad::dataset::{TestImage, products, read_mask, sample_mask};
use hgad::draft;
use hgad::evaluate::regions::Regions;
use hgad::{Error, Result};
use indicatif::HumanDuration;
use ndarray::Array2;
use rayon::prelude::*;

use super::train::recipe::RecipeArgs;
use super::train::source::SourceArgs;
use super::train::task::Dataset;
use super::train::{INTERRUPTED, positive, stop_flag};
use crate::ablate::criterion::grid;
use crate::ablate::table::Table;
use crate::ablate::{self, Cell, Ground, Pace, Plan, Sample, Standing, told};
use crate::features::{Features, ImageFile, default_folder};
use crate::fit::{Device, Recipe};
use crate::split::evenly;

const EXAMPLES: &str = r"Examples:
  # What would table (a) take on these images? Nothing is trained but a trial
  hgad-train ablate --data parts --backbone mobilenet_v2.onnx \
    --tables a --seeds 1,2 --epochs 4 --out ablation --list

  # Compute it; the same command again after Ctrl-C, a kill or a power cut goes
  # on where it was
  hgad-train ablate --data parts --backbone mobilenet_v2.onnx \
    --tables a --seeds 1,2 --epochs 4 --out ablation

  # All four tables with the slides' widths and epochs, on a GPU. (a) to (c)
  # have --lambda2 10; (d) goes through the slides' weights, whatever is given
  hgad-train ablate --data parts --backbone efficientnet.onnx \
    --lambda2 10 --hidden paper --epochs 200 --device cuda --out ablation

Exit codes: 0 done, 1 a training diverged, 2 wrong use or configuration,
3 a device or file failed, 130 interrupted.";

/// Compute the ablation tables of the HGAD slides (ECCV 2024) for your own images.
///
/// (a) what each part of the hierarchical mixture brings: a single center (SGC), fixed centers (FMC) or learned ones (ICG) of the products, with
/// mutual information and entropy (MIM), with centers within the products (Intra); (b) the number of these; (c) the criterion: likelihood,
/// entropy, or both; (d) the weights lambda1 and lambda2. Every cell is the training of `hgad-train train` with parts switched off, once
/// for each seed; the hyperparameters below are those of the whole of it. Images are judged from cached features by the slides' own criterion,
/// not by the score that a bundle has: its constants are fixed on the normal images that are held out, and test images choose nothing. DATA
/// holds, for each product, train/good, test/good, test/KIND-OF-DEFECT and ground_truth.
///
/// The folder --out keeps each finished cell under the digest of all that decides it, the checkpoint of the one that is computed, and the
/// tables as ablation.txt, .csv, .json and .html.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct AblateArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Leave every N-th normal image (sorted by name) out of training, for the score's constants.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..))]
    hold_out: u16,
    /// The folder of the cells and tables.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Which tables.
    #[arg(long, value_name = "TABLE,...", value_enum, value_delimiter = ',', default_value = "a,b,c,d")]
    tables: Vec<Table>,
    /// Every row is trained once with each of these; the tables have mean and deviation over them.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Learn from so many normal images of each product at most, evenly taken.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", value_parser = positive)]
    images: Option<usize>,
    /// Judge so many good and so many defective images of each product at most, evenly taken.
    #[arg(allow_negative_numbers = true)]
    #[arg(long, value_name = "N", value_parser = positive)]
    test_images: Option<usize>,
    /// Say which cells there are, which are finished and how long the others will take, and stop.
    #[arg(long)]
    list: bool,
    /// Where training runs.
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,
    /// The folder that keeps features between runs [default: $XDG_CACHE_HOME/hgad or ~/.cache/hgad].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    #[command(flatten)]
    recipe: RecipeArgs,
}

pub fn run(args: &AblateArgs) -> Result<ExitCode> {
    let whole = args.recipe.recipe(Recipe::default(), 0)?;
    let plan = Plan::new(&args.tables, &whole, &args.seeds)?;
    args.device.check()?;
    target::folder(&args.out)?;
    let _alone = lock(&args.out)?;
    draft::sweep(&args.out);
    let cache = args.cache.clone().map_or_else(default_folder, Ok)?;
    let stop = stop_flag()?;
    let mut data = Dataset::open(&args.source.data, args.source.classes.as_deref(), Some(usize::from(args.hold_out)))?;
    data.keep(args.images);
    let (tests, test_labels) = tests(&args.source.data, &data.classes, args.test_images)?;
    let (held, held_labels) = held_out(&data)?;
    let backbone = args.source.backbone()?;
    let of = |images: &[ImageFile]| Features::of(&backbone, images, &cache, &stop);
    let files = tests.par_iter().map(|test| ImageFile::open(test.image.clone())).collect::<Result<Vec<_>>>()?;
    let (train, held, test) = (of(&data.images)?, of(&held)?, of(&files)?);
    let ground = Ground {
        classes: &data.classes,
        train: Sample { features: &train, labels: &data.labels },
        held: Sample { features: &held, labels: &held_labels },
        test: Sample { features: &test, labels: &test_labels },
        regions: &tests.par_iter().map(|test| regions(test, grid(backbone.size))).collect::<Result<Vec<_>>>()?,
        defective: &tests.iter().map(TestImage::is_defective).collect::<Vec<_>>(),
        size: backbone.size,
    };

    let cells = plan.standing(&ground, &args.out)?;
    let pace = Pace::measure(&plan, &cells, &ground, args.device, &args.out)?;
    let listed = list(&plan, &cells, pace.left(&plan, &cells, &ground));
    if args.list {
        hgad::print::line(listed)?;
        return Ok(ExitCode::SUCCESS);
    }
    log::info!("{listed}");
    let all = plan.trainings.len();
    keep_others(&plan, &ground, &args.out)?;
    // What is finished is in the tables at any time, whatever comes next.
    let write = |cells: &[Option<Cell>]| -> Result<Vec<Cell>> {
        let finished = cells.iter().flatten().cloned().collect::<Vec<_>>();
        write(&plan, &ground, &finished, &args.out)?;
        Ok(finished)
    };
    let mut before = |cells: &[Option<Cell>], recipe: &Recipe, left: Duration| {
        let finished = write(cells)?.len();
        let rows = rows_of(&plan, recipe).join(", ");
        log::info!(
            "training {} of {all}: {rows}, seed {}; about {} left",
            finished + 1,
            recipe.seed,
            HumanDuration(left)
        );
        Ok(())
    };
    let done = ablate::run(&plan, &ground, args.device, &args.out, &stop, Standing { cells, pace }, &mut before)?;
    let cells = done.is_none().then(|| plan.standing(&ground, &args.out)).transpose()?;
    let finished = match &done {
        Some(cells) => write(&cells.iter().cloned().map(Some).collect::<Vec<_>>())?,
        None => write(&cells.unwrap_or_default())?,
    };
    hgad::print::line(told::text(&plan, &finished).trim_end())?;
    if done.is_none() {
        log::warn!(
            "interrupted: {} of {all} trainings are finished; to go on, give the same command again",
            finished.len()
        );
        return Ok(ExitCode::from(INTERRUPTED));
    }
    match finished.iter().filter(|cell| cell.diverged.is_some()).count() {
        0 => Ok(ExitCode::SUCCESS),
        diverged => {
            Err(Error::check(format!("{diverged} of {all} trainings diverged; the tables are there without them"))
                .advise("lower --learning-rate, which makes all cells anew, or give other --seeds"))
        }
    }
}

/// Makes sure that nobody else computes in `folder` while the file lives: two would overwrite each other's checkpoints.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("ablation.lock");
    let failed = |error: std::io::Error| Error::device(format!("{} cannot be written", path.display())).because(error);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::usage(format!("another ablation is computing in {}", folder.display()))
                .advise("wait until it is over, or name another --out"))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The test images of all products with their classes.
fn tests(root: &Path, classes: &[String], most: Option<usize>) -> Result<(Vec<TestImage>, Vec<usize>)> {
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for (class, product) in products(root, Some(classes))?.iter().enumerate() {
        let (defective, good): (Vec<_>, Vec<_>) = product.test()?.into_iter().partition(TestImage::is_defective);
        if good.is_empty() || defective.is_empty() {
            return Err(Error::usage(format!("product {} has no good or no defective test images", product.name))
                .advise("a table needs NAME/test/good and NAME/test/KIND-OF-DEFECT of every product; name others with --classes"));
        }
        for kind in [good, defective] {
            let some = evenly(kind, most.unwrap_or(usize::MAX));
            labels.extend(std::iter::repeat_n(class, some.len()));
            images.extend(some);
        }
    }
    Ok((images, labels))
}

/// The normal images that are not learned from, with their classes.
fn held_out(data: &Dataset) -> Result<(Vec<ImageFile>, Vec<usize>)> {
    let labels = data.normals.iter().enumerate().flat_map(|(class, images)| std::iter::repeat_n(class, images.len()));
    let files = data.normals.par_iter().flatten().map(|path| ImageFile::open(path.clone()));
    Ok((files.collect::<Result<_>>()?, labels.collect()))
}

/// The defects on the maps' grid; none where they are not known, or their mask is empty there.
fn regions(test: &TestImage, grid: (usize, usize)) -> Result<Option<Regions>> {
    let Some(path) = &test.mask else {
        return Ok((!test.is_defective()).then(|| Regions::of(&Array2::from_elem(grid, false))));
    };
    let regions = Regions::of(&sample_mask(&read_mask(path)?, grid));
    Ok((!test.is_defective() || !regions.sizes.is_empty()).then_some(regions))
}

/// The rows that a training is for.
fn rows_of(plan: &Plan, recipe: &Recipe) -> Vec<String> {
    let rows = plan.tables.iter().flat_map(|(table, rows)| rows.iter().map(move |row| (*table, row)));
    let wanted = rows.filter(|(_, row)| Recipe { seed: recipe.seed, ..row.recipe } == *recipe);
    wanted.map(|(table, row)| told::label(table, row)).collect()
}

fn list(plan: &Plan, standing: &[Option<Cell>], left: Duration) -> String {
    let mut text = String::from("training  seed  state     for\n");
    for (place, (recipe, cell)) in plan.trainings.iter().zip(standing).enumerate() {
        let state = match cell {
            None => "to do",
            Some(Cell { diverged: Some(_), .. }) => "diverged",
            Some(_) => "finished",
        };
        let rows = rows_of(plan, recipe).join(", ");
        text += &format!("{:>8}  {:>4}  {state:<8}  {rows}\n", place + 1, recipe.seed);
    }
    let finished = standing.iter().flatten().count();
    let all = plan.trainings.len();
    text + &format!("{all} trainings, {finished} finished; the others take about {} here", HumanDuration(left))
}

/// Where the tables are written.
fn tables(folder: &Path, ending: &str) -> PathBuf {
    folder.join(format!("ablation.{ending}"))
}

const ENDINGS: [&str; 4] = ["txt", "csv", "json", "html"];

/// Puts the tables of other settings out of the way, named after the digest of theirs.
fn keep_others(plan: &Plan, ground: &Ground, folder: &Path) -> Result<()> {
    let Ok(text) = std::fs::read(tables(folder, "json")) else { return Ok(()) };
    let before = serde_json::from_slice::<serde_json::Value>(&text).unwrap_or_default();
    let before = before.get("settings").and_then(serde_json::Value::as_str).unwrap_or("of-others");
    if before == plan.settings(ground)?.to_string() {
        return Ok(());
    }
    let short = before.get(..8).unwrap_or("others");
    for ending in ENDINGS {
        let (from, to) = (tables(folder, ending), folder.join(format!("ablation-{short}.{ending}")));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::device(format!("{} cannot be renamed", from.display())).because(error));
            }
            _ => {}
        }
    }
    log::info!("the tables of other settings are now {}", folder.join(format!("ablation-{short}.*")).display());
    Ok(())
}

fn write(plan: &Plan, ground: &Ground, finished: &[Cell], folder: &Path) -> Result<()> {
    let settings = plan.settings(ground)?;
    let json = serde_json::to_string_pretty(&told::json(plan, settings, finished))
        .map_err(|error| Error::device("the tables cannot be told as JSON").because(error))?;
    let texts = [told::text(plan, finished), told::csv(plan, finished), json + "\n", told::html(plan, finished)];
    ENDINGS.iter().zip(&texts).try_for_each(|(ending, text)| target::write(&tables(folder, ending), text))
}
