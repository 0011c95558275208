//! `hgad-train ablate`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use hgad::cli::target;
use hgad::dataset::{TestImage, products, read_mask, sample_mask};
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

  # All four tables with the slides' weights, on a GPU
  hgad-train ablate --data parts --backbone efficientnet.onnx \
    --lambda2 100 --hidden paper --epochs 200 --device cuda --out ablation

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
    let mut before = |finished: usize, recipe: &Recipe, left: Duration| {
        let rows = rows_of(&plan, recipe).join(", ");
        log::info!(
            "training {} of {all}: {rows}, seed {}; about {} left",
            finished + 1,
            recipe.seed,
            HumanDuration(left)
        );
    };
    let done = ablate::run(&plan, &ground, args.device, &args.out, &stop, Standing { cells, pace }, &mut before)?;
    let finished = match &done {
        Some(cells) => cells.clone(),
        None => plan.standing(&ground, &args.out)?.into_iter().flatten().collect(),
    };
    write(&plan, &finished, &args.out)?;
    hgad::print::line(told::text(&plan, &finished).trim_end())?;
    if done.is_none() {
        log::warn!(
            "interrupted: {} of {all} trainings are finished; to go on, give the same command again",
            finished.len()
        );
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(ExitCode::SUCCESS)
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
        let state = if cell.is_some() { "finished" } else { "to do" };
        let rows = rows_of(plan, recipe).join(", ");
        text += &format!("{:>8}  {:>4}  {state:<8}  {rows}\n", place + 1, recipe.seed);
    }
    let finished = standing.iter().flatten().count();
    let all = plan.trainings.len();
    text + &format!("{all} trainings, {finished} finished; the others take about {} here", HumanDuration(left))
}

fn write(plan: &Plan, finished: &[Cell], folder: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(&told::json(plan, finished))
        .map_err(|error| Error::device("the tables cannot be told as JSON").because(error))?;
    let files = [
        ("txt", told::text(plan, finished)),
        ("csv", told::csv(plan, finished)),
        ("json", json + "\n"),
        ("html", told::html(plan, finished)),
    ];
    files.iter().try_for_each(|(ending, text)| target::write(&folder.join(format!("ablation.{ending}")), text))
}
