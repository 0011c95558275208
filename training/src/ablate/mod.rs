//! The slides' ablation tables for other images: the same training with its parts switched on one after the other.
//!
//! A cell is one training with one seed. It is judged from cached features by the slides' own criterion ([`criterion`]), without a bundle, and
//! kept in a file that is named after the digest of all that decides it: a run that is started again has only the missing ones to compute.

mod cell;
pub mod criterion;
pub mod table;
pub mod told;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hgad::bundle::InputSize;
use hgad::digest::Digest;
use hgad::draft;
use hgad::evaluate::regions::Regions;
use hgad::{Error, ErrorKind, Result};

use crate::features::Features;
use crate::fit::{Device, Outcome, Recipe, Task};
pub use cell::{Cell, Figures};
use table::{Row, Table};

/// The images of an ablation, as features.
pub struct Ground<'g> {
    /// The products' names.
    pub classes: &'g [String],
    /// What is learned from.
    pub train: Sample<'g>,
    /// Normal images that are not learned from: they fix the score's constants.
    pub held: Sample<'g>,
    /// Images of good and of defective parts.
    pub test: Sample<'g>,
    /// What is known of the defects in each test image, on the grid of the maps; none where it is not known.
    pub regions: &'g [Option<Regions>],
    /// Whether each test image is defective.
    pub defective: &'g [bool],
    /// The network's input.
    pub size: InputSize,
}

/// Images with their classes.
#[derive(Clone, Copy)]
pub struct Sample<'g> {
    /// Their features.
    pub features: &'g Features,
    /// Their classes.
    pub labels: &'g [usize],
}

/// What is to be computed.
pub struct Plan {
    /// The tables, each with its rows.
    pub tables: Vec<(Table, Vec<Row>)>,
    /// The seeds of each row.
    pub seeds: Vec<u64>,
    /// The trainings, each once, in the order in which they are first wanted.
    pub trainings: Vec<Recipe>,
}

impl Plan {
    /// The cells of `tables` about `whole`, HGAD with all its parts.
    ///
    /// # Errors
    ///
    /// Parts that are to be switched off are not there, or hyperparameters that make no sense (usage errors).
    pub fn new(tables: &[Table], whole: &Recipe, seeds: &[u64]) -> Result<Self> {
        if !whole.losses.counted().iter().all(|counted| *counted) || whole.prior != Default::default() {
            return Err(Error::usage("an ablation starts from HGAD with all its parts")
                .advise("leave --without and --prior away, and give lambda1 and lambda2 weights above 0: the tables switch them off"));
        }
        let (mut tables, mut seeds) = (tables.to_vec(), seeds.to_vec());
        tables.sort_unstable();
        tables.dedup();
        seeds.sort_unstable();
        seeds.dedup();
        let tables = tables.into_iter().map(|table| (table, table.rows(whole))).collect::<Vec<_>>();
        let mut trainings = Vec::new();
        // Seed by seed, so that a run that is stopped has whole tables of fewer seeds.
        for seed in &seeds {
            for row in tables.iter().flat_map(|(_, rows)| rows) {
                let recipe = Recipe { seed: *seed, ..row.recipe };
                recipe.check()?;
                if !trainings.contains(&recipe) {
                    trainings.push(recipe);
                }
            }
        }
        Ok(Plan { tables, seeds, trainings })
    }

    /// The digest of all that decides the tables.
    ///
    /// # Errors
    ///
    /// A hyperparameter is not a finite number.
    pub fn settings(&self, ground: &Ground) -> Result<Digest> {
        let mut text = self.tables.iter().map(|(table, _)| table.title()).collect::<String>();
        for recipe in &self.trainings {
            text += &cell::settings(recipe, ground)?.to_string();
        }
        Ok(Digest::of(text))
    }

    /// Where the cells stand: those in `folder` that are finished, in the order of the trainings.
    ///
    /// # Errors
    ///
    /// A hyperparameter is not a finite number.
    pub fn standing(&self, ground: &Ground, folder: &Path) -> Result<Vec<Option<Cell>>> {
        self.trainings.iter().map(|recipe| Cell::read(folder, recipe, ground)).collect()
    }
}

/// How long cells take, by how much there is to compute: positions that go through the flows.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Seconds for one position forward through one block of one channel.
    seconds: f64,
}

impl Pace {
    /// From cells that are finished, else by `trial`, a training of some steps.
    ///
    /// # Errors
    ///
    /// As training.
    pub fn measure(
        plan: &Plan,
        cells: &[Option<Cell>],
        ground: &Ground,
        device: Device,
        folder: &Path,
    ) -> Result<Self> {
        let timed =
            cells.iter().zip(&plan.trainings).filter_map(|(cell, recipe)| Some((cell.as_ref()?.seconds?, recipe)));
        let (seconds, work) =
            timed.fold((0.0, 0.0), |(all, work), (seconds, recipe)| (all + seconds, work + work_of(recipe, ground)));
        if work > 0.0 {
            return Ok(Pace { seconds: seconds / work });
        }
        Self::trial(&plan.trainings[0], ground, device, folder)
    }

    /// Trains for some seconds and forgets it.
    fn trial(recipe: &Recipe, ground: &Ground, device: Device, folder: &Path) -> Result<Self> {
        const LONG: Duration = Duration::from_secs(4);
        let place = tempfile::Builder::new()
            .prefix(draft::DRAFT)
            .tempdir_in(folder)
            .map_err(|error| Error::device(format!("{} cannot be written", folder.display())).because(error))?;
        let task = task(recipe, ground, place.path().join("trial"), false);
        let (stop, started) = (AtomicBool::new(false), Instant::now());
        let outcome = std::thread::scope(|scope| {
            let alarm = scope.spawn(|| {
                std::thread::park_timeout(LONG);
                stop.store(true, Ordering::Relaxed);
            });
            let outcome = device.fit(&task, &stop);
            alarm.thread().unpark();
            outcome
        });
        let (step, steps) = match outcome {
            Ok(Outcome::Interrupted { step, steps }) => (step, steps),
            Ok(Outcome::Finished(fitted)) => (fitted.steps, fitted.steps),
            // How far it came is not known: what is said is too short until a training is finished.
            Err(error) if error.kind() == ErrorKind::Check => (1, 1),
            Err(error) => return Err(error),
        };
        let share = step as f64 / steps.max(1) as f64;
        Ok(Pace { seconds: started.elapsed().as_secs_f64() / (share * training_work(recipe, ground)) })
    }

    /// How long cells will take that are not finished.
    pub fn left(&self, plan: &Plan, cells: &[Option<Cell>], ground: &Ground) -> Duration {
        let open = cells.iter().zip(&plan.trainings).filter(|(cell, _)| cell.is_none());
        Duration::from_secs_f64(self.seconds * open.map(|(_, recipe)| work_of(recipe, ground)).sum::<f64>())
    }
}

/// How far an ablation has come.
pub struct Standing {
    /// The finished cells, in the order of the trainings.
    pub cells: Vec<Option<Cell>>,
    /// How long the others take.
    pub pace: Pace,
}

/// A step back takes about twice a step forward.
const FORTH_AND_BACK: f64 = 3.0;

fn training_work(recipe: &Recipe, ground: &Ground) -> f64 {
    let per_image = sum_of_levels(ground, |grid| recipe.positions(grid));
    FORTH_AND_BACK * per_image * (recipe.epochs * ground.train.labels.len()) as f64
}

fn work_of(recipe: &Recipe, ground: &Ground) -> f64 {
    let judged = ground.held.labels.len() + ground.test.labels.len();
    training_work(recipe, ground) + judged as f64 * sum_of_levels(ground, |(rows, columns)| rows * columns)
}

/// Positions, each with what its level costs: about the square of its channels.
fn sum_of_levels(ground: &Ground, positions: impl Fn((usize, usize)) -> usize) -> f64 {
    let levels = ground.train.features.levels.iter();
    levels.map(|level| positions(level.grid) as f64 * (level.mean.len() as f64).powi(2)).sum()
}

fn task<'t>(recipe: &Recipe, ground: &Ground<'t>, checkpoint: std::path::PathBuf, resume: bool) -> Task<'t> {
    Task {
        recipe: *recipe,
        features: ground.train.features,
        labels: ground.train.labels.to_vec(),
        classes: ground.classes.len(),
        checkpoint,
        checkpoint_every: Duration::from_secs(30),
        resume,
        watch: None,
    }
}

/// What is done before a training: it is told the cells that there are, the training, and how long that and the others will take.
pub type Before<'b> = dyn FnMut(&[Option<Cell>], &Recipe, Duration) -> Result<()> + 'b;

/// Computes those cells that are missing. Before each `before` is told which there are, and how long the others will take;
/// `stop` ends it after a step, whose checkpoint stays: `None`.
///
/// # Errors
///
/// As training, but that one which diverges has that for its result; a cell's file that cannot be written.
pub fn run(
    plan: &Plan,
    ground: &Ground,
    device: Device,
    folder: &Path,
    stop: &AtomicBool,
    standing: Standing,
    before: &mut Before,
) -> Result<Option<Vec<Cell>>> {
    let Standing { mut cells, mut pace } = standing;
    for (place, recipe) in plan.trainings.iter().enumerate() {
        if cells[place].is_some() {
            continue;
        }
        before(&cells, recipe, pace.left(plan, &cells, ground))?;
        match Cell::compute(folder, recipe, ground, device, stop)? {
            None => return Ok(None),
            Some(cell) => cells[place] = Some(cell),
        }
        pace = Pace::measure(plan, &cells, ground, device, folder)?;
    }
    Ok(Some(cells.into_iter().flatten().collect()))
}
