//! How far figures could be off because the test images are a sample: the bootstrap.
//!
//! Each resample draws, with replacement, as many good and as many defective images of every class as there are, and computes every
//! figure from these. The interval of a figure is where the middle 95% of its resamples lie (percentile bootstrap; Efron and
//! Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). Two models that were measured on the same images are
//! compared by the differences within each resample.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Evidence;
use super::figures::{Figure, Values, difference, mean};
use crate::progress::Progress;
use crate::{Error, Result, panic_text};

/// What share of the resamples an interval holds.
pub const CONFIDENCE: f64 = 0.95;

/// How images are resampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resampling {
    /// How often; 0 for no intervals.
    pub count: u64,
    /// Where chance starts.
    pub seed: u64,
}

/// The figures of every resample: of each class, and of their mean behind the last one.
pub struct Resamples {
    rows: Vec<Vec<Values>>,
}

impl Resamples {
    /// Resamples the images of `classes`. A draw depends on the seed, its number, and how many good and defective images
    /// there are, not on scores.
    ///
    /// # Errors
    ///
    /// A computation panicked.
    pub fn draw(classes: &[Evidence], figures: &[Figure], resampling: Resampling) -> Result<Self> {
        let progress = Progress::start("resampling", resampling.count as usize);
        let next = AtomicU64::new(0);
        let lane = || {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= resampling.count {
                    return done;
                }
                done.push((number, resample(classes, figures, resampling.seed, number)));
                progress.step();
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut all = std::thread::scope(|scope| -> Result<Vec<_>> {
            let lanes = (0..cores).map(|_| scope.spawn(lane)).collect::<Vec<_>>();
            let lanes = lanes.into_iter().map(|lane| {
                lane.join().map_err(|panic| {
                    Error::device("resampling panicked").because(panic_text(panic.as_ref()).to_owned())
                })
            });
            Ok(lanes.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        })?;
        progress.finish();
        all.sort_by_key(|(number, _)| *number);
        let row = |row: usize| all.iter().map(|(_, rows)| rows[row].clone()).collect();
        Ok(Resamples { rows: (0..=classes.len()).map(row).collect() })
    }

    /// How much greater the figures are than those of `other`, in each of the resamples, which are of the same images.
    pub fn minus(&self, other: &Resamples) -> Resamples {
        let row = |(a, b): (&Vec<Values>, &Vec<Values>)| a.iter().zip(b).map(|(a, b)| difference(a, b)).collect();
        Resamples { rows: self.rows.iter().zip(&other.rows).map(row).collect() }
    }

    /// Where the middle 95% of a figure's resamples lie; none where most resamples do not have it. `row` is a class, or the
    /// mean behind the last class.
    pub fn interval(&self, row: usize, figure: usize) -> Option<(f64, f64)> {
        let mut known = self.rows[row].iter().filter_map(|values| values[figure]).collect::<Vec<_>>();
        if known.is_empty() || known.len() * 2 < self.rows[row].len() {
            return None;
        }
        known.sort_by(f64::total_cmp);
        let tail = (1.0 - CONFIDENCE) / 2.0;
        Some((quantile(&known, tail), quantile(&known, 1.0 - tail)))
    }
}

/// The figures of one resample.
fn resample(classes: &[Evidence], figures: &[Figure], seed: u64, number: u64) -> Vec<Values> {
    let class = |(class, evidence): (usize, &Evidence)| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream((class as u64) << 32 | number);
        let times = times(&evidence.labels(), &mut rng);
        evidence.resampled(figures, &|image| times[image])
    };
    let mut rows = classes.iter().enumerate().map(class).collect::<Vec<_>>();
    let mean = mean(&rows);
    // A mean without a class that has the figure otherwise would be the mean of something else.
    let whole = |figure: usize| {
        classes.iter().zip(&rows).all(|(class, row)| row[figure].is_some() || !class.has(figures[figure]))
    };
    let mean = mean.into_iter().enumerate().map(|(figure, value)| value.filter(|_| whole(figure))).collect();
    rows.push(mean);
    rows
}

/// How often each image is drawn, when as many of either label are drawn as there are.
fn times(labels: &[bool], rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut times = vec![0.0; labels.len()];
    for label in [false, true] {
        let of_it = (0..labels.len()).filter(|image| labels[*image] == label).collect::<Vec<_>>();
        for _ in 0..of_it.len() {
            times[of_it[rng.random_range(0..of_it.len())]] += 1.0;
        }
    }
    times
}

/// The quantile of sorted values, between two of them on a straight line.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + place.fract() * (above - below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::tests::evidence;

    const RESAMPLING: Resampling = Resampling { count: 400, seed: 7 };

    #[test]
    fn as_many_of_either_label_are_drawn() {
        let labels = (0..50).map(|image| image % 5 == 0).collect::<Vec<_>>();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn = times(&labels, &mut rng);
        let of = |label: bool| labels.iter().zip(&drawn).filter(|(l, _)| **l == label).map(|(_, n)| n).sum::<f64>();
        assert_eq!((of(false), of(true)), (40.0, 10.0));
        assert_ne!(drawn, times(&labels, &mut rng));
    }

    #[test]
    fn an_interval_is_as_wide_as_the_sample_is_small() {
        let figures = [Figure::Misses, Figure::ImageAuroc];
        let width = |count: usize| {
            let class = evidence("cap", count, count, |image| image % 4 == 0);
            let draws = Resamples::draw(&[class], &figures, RESAMPLING).unwrap();
            let (low, high) = draws.interval(0, 0).unwrap();
            assert!(low < 0.25 && 0.25 < high, "{low} {high}");
            assert_eq!(draws.interval(0, 0), draws.interval(1, 0), "the mean of one class is that class");
            high - low
        };
        // A quarter is missed; the standard error of a share is known: 1.96 * 2 * sqrt(.25 * .75 / n).
        for count in [40, 160] {
            let expected = 2.0 * 1.96 * (0.25f64 * 0.75 / count as f64).sqrt();
            assert!((width(count) / expected - 1.0).abs() < 0.2, "{} {expected}", width(count));
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_and_pairs_cancel_what_is_common() {
        let figures = [Figure::Misses, Figure::PixelAuroc];
        let draw = |seed, missed: fn(usize) -> bool| {
            let class = evidence("cap", 30, 60, missed);
            Resamples::draw(&[class], &figures, Resampling { count: 200, seed }).unwrap()
        };
        let (first, again, other) = (draw(1, |i| i % 3 == 0), draw(1, |i| i % 3 == 0), draw(2, |i| i % 3 == 0));
        assert_eq!(first.interval(0, 0), again.interval(0, 0));
        assert_ne!(first.interval(0, 0), other.interval(0, 0));
        assert_eq!(first.interval(0, 1), None, "there are no masks");
        assert_eq!(first.minus(&again).interval(0, 0), Some((0.0, 0.0)));
        // Two images more are missed: far less than either interval's width, and yet certain.
        let worse = draw(1, |i| i % 3 == 0 || i == 1 || i == 2 || i == 4 || i == 5 || i == 7);
        let (low, high) = worse.minus(&first).interval(0, 0).unwrap();
        assert!(low > 0.0 && high < 0.2, "{low} {high}");
    }

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        assert_eq!([0.0, 0.5, 0.75, 1.0].map(|share| quantile(&[1.0, 2.0, 4.0], share)), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(quantile(&[3.0], 0.975), 3.0);
    }
}
