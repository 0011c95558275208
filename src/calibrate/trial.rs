//! Whether thresholds keep what they promise: many calibrations, each on some normal parts of a product, each tried on the
//! rest of them.
//!
//! Were scores not to depend on the split, the share of rejects among the rest would have a known distribution, whatever the
//! scores are: parts are exchangeable when they are split at random. What differs from it is the part that the score's
//! constants play.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::Array2;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::fitting::Fitting;
use super::threshold::{self, Aim};
use super::{Grouping, normals};
use crate::bundle::{Bundle, ScoreReference};
use crate::inspect::{Inspector, batch};
use crate::{Error, Result, panic_text, print};

/// What is tried.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The thresholds that are set on each split.
    pub aims: Vec<Aim>,
    /// The ways to get the constants.
    pub fittings: Vec<Fitting>,
    /// How often the parts are split.
    pub splits: usize,
    /// How many of the parts calibrate, as a share.
    pub share: f64,
    /// Where chance starts.
    pub seed: u64,
}

/// What came of one aim and one way to get constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// What was asked for.
    pub aim: Aim,
    /// Where the constants came from.
    pub fitting: Fitting,
    /// Parts that set the threshold.
    pub calibrated: usize,
    /// Parts that it was tried on.
    pub tried: usize,
    /// The rate that so many parts can set on average.
    pub promised: f64,
    /// The share of rejects among the parts that it was tried on: the mean over splits.
    pub realised: f64,
    /// The share of splits in which no more were rejected than asked for.
    pub kept: f64,
    /// The same as it is to be: of a threshold of this rank, tried on so many exchangeable parts.
    pub kept_expected: f64,
}

/// One split: which parts calibrate, and which are tried.
struct Split {
    calibrate: Vec<usize>,
    test: Vec<usize>,
}

/// What is known of the parts' images.
struct Pool {
    maps: Vec<Vec<Array2<f32>>>,
    /// The images of each part.
    images: Vec<Vec<usize>>,
    elsewhere: ScoreReference,
}

/// Tries the plan on normal parts of `class`.
///
/// # Errors
///
/// As [`super::calibrate`]; or there are too few parts for an aim.
pub fn trial(
    bundle: &Bundle,
    class: &str,
    images: &[PathBuf],
    grouping: Option<&Grouping>,
    plan: &Plan,
) -> Result<Vec<Trial>> {
    plan.aims.iter().try_for_each(Aim::check)?;
    let index = bundle.manifest.class_index(class)?;
    let samples = normals::examine(bundle, class, images, grouping, None)?;
    let parts = normals::parts_of(samples.iter().map(|sample| sample.group.as_ref()));
    let mut pool = Pool {
        maps: samples.into_iter().map(|sample| sample.maps).collect(),
        images: vec![Vec::new(); parts.iter().max().map_or(0, |last| last + 1)],
        elsewhere: bundle.centers.references[index].clone(),
    };
    parts.iter().enumerate().for_each(|(image, part)| pool.images[*part].push(image));
    let count = (pool.images.len() as f64 * plan.share).round() as usize;
    if count < 2 || count >= pool.images.len() {
        return Err(Error::usage(format!("{} parts of '{class}' cannot be split", pool.images.len()))
            .advise("give more images of normal parts, or another share"));
    }
    let tried = pool.images.len() - count;
    log::info!(
        "{} of '{class}' are {}: {}, each of {count} that calibrate and {tried} that are tried",
        print::counted(parts.len() as u64, "image"),
        print::counted(pool.images.len() as u64, "part"),
        print::counted(plan.splits as u64, "split")
    );
    let rejects = run(bundle, &pool, plan, count)?;
    let mut trials = Vec::new();
    for (f, fitting) in plan.fittings.iter().enumerate() {
        let calibrated = if *fitting == Fitting::Halved { count / 2 } else { count };
        for (a, aim) in plan.aims.iter().enumerate() {
            let rank = aim.rank(calibrated)?;
            let most = (aim.frr * tried as f64 + 1e-9).floor() as usize;
            let counts = rejects.iter().map(|split| split[f * plan.aims.len() + a]);
            let share = |count: usize| count as f64 / plan.splits as f64;
            trials.push(Trial {
                aim: *aim,
                fitting: *fitting,
                calibrated,
                tried,
                promised: (calibrated + 1 - rank) as f64 / (calibrated + 1) as f64,
                realised: share(counts.clone().sum()) / tried as f64,
                kept: share(counts.filter(|count| *count <= most).count()),
                kept_expected: threshold::at_most(calibrated, rank, tried, most),
            });
        }
    }
    Ok(trials)
}

/// How many of the tried parts each threshold rejects: `[split][fitting * aims + aim]`.
fn run(bundle: &Bundle, pool: &Pool, plan: &Plan, count: usize) -> Result<Vec<Vec<usize>>> {
    let bar = batch::progress_bar("splits", plan.splits);
    let next = AtomicUsize::new(0);
    let results = Mutex::new(vec![Vec::new(); plan.splits]);
    let lane = || -> Result<()> {
        let inspector = Inspector::new(bundle)?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= plan.splits {
                return Ok(());
            }
            let rejects = rejects(&inspector, pool, plan, &split(pool.images.len(), count, plan.seed, number))?;
            results.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[number] = rejects;
            bar.inc(1);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let lanes = (0..cores).map(|_| scope.spawn(lane)).collect::<Vec<_>>();
        lanes.into_iter().try_for_each(|lane| {
            lane.join().unwrap_or_else(|panic| {
                Err(Error::device("a trial panicked").because(panic_text(panic.as_ref()).to_owned()))
            })
        })
    })?;
    bar.finish_and_clear();
    Ok(results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// The same number gives the same split, whatever the others do.
fn split(parts: usize, count: usize, seed: u64, number: usize) -> Split {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(number as u64);
    let mut order = (0..parts).collect::<Vec<_>>();
    order.shuffle(&mut random);
    let test = order.split_off(count);
    Split { calibrate: order, test }
}

fn rejects(inspector: &Inspector, pool: &Pool, plan: &Plan, split: &Split) -> Result<Vec<usize>> {
    let (mut maps, mut parts) = (Vec::new(), Vec::new());
    for (part, images) in split.calibrate.iter().map(|part| &pool.images[*part]).enumerate() {
        maps.extend(images.iter().map(|image| &pool.maps[*image][..]));
        parts.extend(images.iter().map(|_| part));
    }
    let mut rejects = Vec::new();
    for fitting in &plan.fittings {
        let fitted = fitting.fit(inspector, &maps, &parts, &pool.elsewhere);
        let normal = normals::highest(&fitted.scores, &parts);
        let score = |image: &usize| inspector.score_maps(&pool.maps[*image], &fitted.reference).0;
        let tried = split.test.iter().map(|part| pool.images[*part].iter().map(score).max_by(f32::total_cmp));
        let tried = tried.flatten().collect::<Vec<_>>();
        for aim in &plan.aims {
            let threshold = aim.threshold(&normal)?.value;
            rejects.push(tried.iter().filter(|score| score.is_nan() || **score > threshold).count());
        }
    }
    Ok(rejects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_is_a_partition_that_its_number_gives() {
        let first = split(10, 6, 1, 3);
        let mut all = [first.calibrate.clone(), first.test.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_eq!((first.calibrate.len(), first.test.len()), (6, 4));
        assert_eq!(split(10, 6, 1, 3).test, first.test);
        assert_ne!(split(10, 6, 1, 4).calibrate, first.calibrate);
    }
}
