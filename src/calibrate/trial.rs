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
use crate::inspect::Inspector;
use crate::progress::Progress;
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

/// What came of a plan.
#[derive(Debug)]
pub struct Trials {
    /// Of every aim that so many parts can be tried for.
    pub tried: Vec<Trial>,
    /// Why the others cannot be tried, and what that would take.
    pub refused: Vec<Error>,
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
/// As [`super::calibrate`]; or there are too few parts to be split, or for any of the aims.
pub fn trial(
    bundle: &Bundle,
    class: &str,
    images: &[PathBuf],
    grouping: Option<&Grouping>,
    plan: &Plan,
) -> Result<Trials> {
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
        let parts = print::counted(pool.images.len() as u64, "part");
        return Err(Error::usage(format!("{parts} of '{class}' cannot be split"))
            .advise("give more images of normal parts, or another share"));
    }
    let tried = pool.images.len() - count;
    let (pairs, mut refused) = possible(plan, pool.images.len(), count);
    if pairs.is_empty() {
        return Err(refused.swap_remove(0));
    }
    log::info!(
        "{} of '{class}' are {}: {}, each with {count} to calibrate and {tried} to try",
        print::counted(parts.len() as u64, "image"),
        print::counted(pool.images.len() as u64, "part"),
        print::counted(plan.splits as u64, "split")
    );
    let rejects = run(bundle, &pool, plan, &pairs, count)?;
    let trial = |(place, (fitting, aim)): (usize, &(Fitting, Aim))| -> Result<Trial> {
        let calibrated = fitting.calibrating(count);
        let rank = aim.rank(calibrated)?;
        let most = (aim.frr * tried as f64 + 1e-9).floor() as usize;
        let counts = rejects.iter().map(|split| split[place]);
        let share = |count: usize| count as f64 / plan.splits as f64;
        Ok(Trial {
            aim: *aim,
            fitting: *fitting,
            calibrated,
            tried,
            promised: (calibrated + 1 - rank) as f64 / (calibrated + 1) as f64,
            realised: share(counts.clone().sum()) / tried as f64,
            kept: share(counts.filter(|count| *count <= most).count()),
            kept_expected: threshold::at_most(calibrated, rank, tried, most),
        })
    };
    Ok(Trials { tried: pairs.iter().enumerate().map(trial).collect::<Result<_>>()?, refused })
}

/// The ways to get constants and the aims that `count` of `parts` can set a threshold for, and why not the others.
fn possible(plan: &Plan, parts: usize, count: usize) -> (Vec<(Fitting, Aim)>, Vec<Error>) {
    let (mut pairs, mut refused) = (Vec::new(), Vec::new());
    for fitting in &plan.fittings {
        for aim in &plan.aims {
            match aim.rank(fitting.calibrating(count)) {
                Ok(_) => pairs.push((*fitting, *aim)),
                Err(error) => refused.push(
                    error
                        .within(&format!("{count} of {parts} parts calibrate"))
                        .advise(needed(plan, *fitting, *aim, parts)),
                ),
            }
        }
    }
    (pairs, refused)
}

/// What it takes to try an aim.
fn needed(plan: &Plan, fitting: Fitting, aim: Aim, parts: usize) -> String {
    let calibrates = |parts: usize, share: f64| fitting.calibrating((parts as f64 * share).round() as usize);
    let enough = |parts: &usize| calibrates(*parts, plan.share) >= aim.parts_needed();
    // However small the rate is: about so many, of which rounding makes one or two more or less.
    let wanted = aim.parts_needed().saturating_mul(if fitting == Fitting::Halved { 2 } else { 1 });
    let about = ((wanted as f64 - 1.0) / plan.share) as usize;
    let first = parts.max(about.min(usize::MAX / 2));
    let most = (2.0 / plan.share).ceil() as usize + 2;
    let least = (first..).take(most).find(enough).unwrap_or(first);
    let shares = (1..100).map(|percent| f64::from(percent) / 100.0);
    let mut fits = shares.filter(|share| calibrates(parts, *share) >= aim.parts_needed());
    let instead = match fits.next() {
        // Nothing would be left to be tried.
        Some(share) if ((parts as f64 * share).round() as usize) < parts => format!(", or --share {share}"),
        _ => String::new(),
    };
    format!(
        "{} calibrating parts are needed: {least} normal parts in all with --share {}{instead}",
        aim.parts_needed(),
        plan.share
    )
}

/// How many of the tried parts each threshold rejects: `[split][pair]`.
fn run(bundle: &Bundle, pool: &Pool, plan: &Plan, pairs: &[(Fitting, Aim)], count: usize) -> Result<Vec<Vec<usize>>> {
    let progress = Progress::start("splits", plan.splits);
    let next = AtomicUsize::new(0);
    let results = Mutex::new(vec![Vec::new(); plan.splits]);
    let lane = || -> Result<()> {
        let inspector = Inspector::new(bundle)?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= plan.splits {
                return Ok(());
            }
            let rejects = rejects(&inspector, pool, pairs, &split(pool.images.len(), count, plan.seed, number))?;
            results.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[number] = rejects;
            progress.step();
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
    progress.finish();
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

fn rejects(inspector: &Inspector, pool: &Pool, pairs: &[(Fitting, Aim)], split: &Split) -> Result<Vec<usize>> {
    let (mut maps, mut parts) = (Vec::new(), Vec::new());
    for (part, images) in split.calibrate.iter().map(|part| &pool.images[*part]).enumerate() {
        maps.extend(images.iter().map(|image| &pool.maps[*image][..]));
        parts.extend(images.iter().map(|_| part));
    }
    let mut rejects = Vec::new();
    // Pairs of one way to get constants stand one after the other.
    for same in pairs.chunk_by(|(a, _), (b, _)| a == b) {
        let fitting = same[0].0;
        let fitted = fitting.fit(inspector, &maps, &parts, &pool.elsewhere);
        let normal = normals::highest(&fitted.scores, &parts);
        let score = |image: &usize| inspector.score_maps(&pool.maps[*image], &fitted.reference).0;
        let tried = split.test.iter().map(|part| pool.images[*part].iter().map(score).max_by(f32::total_cmp));
        let tried = tried.flatten().collect::<Vec<_>>();
        for (_, aim) in same {
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
    fn what_cannot_be_tried_is_told_with_the_parts_that_it_takes_and_keeps_nothing_else_from_it() {
        let aims = [(0.05, None), (0.05, Some(0.9)), (0.1, Some(0.9))].map(|(frr, confidence)| Aim { frr, confidence });
        let plan = Plan { aims: aims.to_vec(), fittings: vec![Fitting::Crossed], splits: 1, share: 0.5, seed: 1 };
        let (pairs, refused) = possible(&plan, 80, 40);
        assert_eq!(pairs, [(Fitting::Crossed, aims[0]), (Fitting::Crossed, aims[2])]);
        let told = refused[0].report();
        assert!(told.contains("40 of 80 parts calibrate") && told.contains("90% confidence"), "{told}");
        // 0.95^44 is above 0.1, 0.95^45 below it; 0.56 of 80 are 45, and 89 / 2 are rounded to 45.
        assert!(
            told.contains("45 calibrating parts are needed: 89 normal parts in all with --share 0.5, or --share 0.56"),
            "{told}"
        );
        // A half of them gives the constants.
        let halved = Plan { fittings: vec![Fitting::Halved], ..plan };
        let told = possible(&halved, 80, 40).1[0].report();
        assert!(told.contains("179 normal parts in all") && !told.contains("or --share"), "{told}");
    }

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
