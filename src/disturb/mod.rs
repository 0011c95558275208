//! What a line would notice: real pictures of good parts, disturbed as lamps, lenses and cameras are, before the limits of the
//! pictures, the threshold and the test for drift. And what these say when nothing is disturbed.

mod optics;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use optics::{Disturbance, defocus, dim};

use crate::Result;
use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::drift::{Drift, Quantity};
use crate::inspect::batch;
use crate::line::Ticket;
use crate::picture::Statistics;

/// A part as the line sees it.
type Seen = (f32, Option<Statistics>);

/// So many parts in a row that did not pass are told of, as with `[limits] in_a_row = 5`.
pub const IN_A_ROW: usize = 5;

/// What was noticed of one disturbance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noticed {
    /// What was disturbed.
    pub disturbance: Disturbance,
    /// The drift's alarm: after how many disturbed parts, and of which number.
    pub alarm: Option<(usize, Quantity)>,
    /// The first picture that counts as a fault of the camera, whatever came before.
    pub fault: Option<usize>,
    /// The part at which [`IN_A_ROW`] in a row had not passed, whether their scores or their pictures were refused.
    pub in_a_row: Option<usize>,
    /// How many parts of those before the alarm were rejected by their scores.
    pub rejected: usize,
}

/// How many pictures count as a fault of the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Pictures.
    pub of: usize,
    /// Undisturbed.
    pub normal: usize,
    /// With half of the light.
    pub half_light: usize,
    /// With twice the light.
    pub twice_light: usize,
    /// Blurred by 1% of the width.
    pub blurred: usize,
    /// How long a look at a picture took: the median.
    pub look: Duration,
}

/// How many pictures of `images` the calibration's limits refuse, undisturbed and with real faults.
///
/// # Errors
///
/// An image cannot be read.
pub fn faults(bundle: &Bundle, calibration: &Calibration, images: &[PathBuf]) -> Result<Option<Faults>> {
    let Some(limits) = calibration.picture else { return Ok(None) };
    let found = batch::for_each_image(bundle, &calibration.class, images, |_, _, _, image| {
        let mask = calibration.reference.mask.as_ref();
        let refused = |image: &image::RgbImage| usize::from(limits.fault(&Statistics::of(image, mask)).is_some());
        let begun = Instant::now();
        let normal = refused(&image);
        let look = begun.elapsed();
        let blurred = defocus(&image, 0.01 * image.width() as f32);
        Ok((look, [normal, refused(&dim(&image, 0.5)), refused(&dim(&image, 2.0)), refused(&blurred)]))
    })?;
    let count = |kind: usize| found.iter().map(|(_, refused)| refused[kind]).sum();
    let mut looks = found.iter().map(|(look, _)| *look).collect::<Vec<_>>();
    looks.sort_unstable();
    let look = looks.get(looks.len() / 2).copied().unwrap_or_default();
    let (normal, half_light, twice_light, blurred) = (count(0), count(1), count(2), count(3));
    Ok(Some(Faults { of: images.len(), normal, half_light, twice_light, blurred, look }))
}

/// Shows a line at most `most` disturbed parts after `before` undisturbed ones, and what it notices. Pictures of
/// `images` come in random order, over and over.
///
/// # Errors
///
/// An image cannot be read, or the network fails.
pub fn notice(
    bundle: &Bundle,
    calibration: &Calibration,
    images: &[PathBuf],
    disturbance: Disturbance,
    before: usize,
    most: usize,
    seed: u64,
) -> Result<Noticed> {
    let class = bundle.manifest.class_index(&calibration.class)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut order = images.to_vec();
    order.shuffle(&mut random);
    let shown = order.iter().cycle().take(most).cloned().collect::<Vec<_>>();
    let undisturbed = see(bundle, calibration, images)?;
    let mut drift = Drift::new(calibration);
    for number in 0..before {
        let Some((score, picture)) = undisturbed.choose(&mut random) else { break };
        if !calibration.rejects(*score) {
            drift.accepted(Ticket(number as u64), *score, picture.as_ref());
        }
    }
    let seen = batch::for_each_image(bundle, disturbance.name(), &shown, |inspector, index, _, image| {
        let image = disturbance.of(&image, index + 1);
        let inspection = inspector.inspect(&image, class, &calibration.reference)?;
        Ok((inspection.score, Some(Statistics::of(&image, calibration.reference.mask.as_ref()))))
    })?;
    let refused = |picture: &Option<Statistics>| calibration.picture.zip(*picture).and_then(|(l, p)| l.fault(&p));
    let is_refused = seen.iter().map(|(_, picture)| refused(picture).is_some()).collect::<Vec<_>>();
    let passes = seen.iter().zip(&is_refused).map(|((score, _), refused)| !refused && !calibration.rejects(*score));
    let mut noticed = Noticed {
        disturbance,
        alarm: None,
        fault: is_refused.iter().position(|refused| *refused).map(|index| index + 1),
        in_a_row: row_of_failures(passes),
        rejected: 0,
    };
    for (index, (score, picture)) in seen.iter().enumerate() {
        if is_refused[index] {
            continue;
        }
        if calibration.rejects(*score) {
            noticed.rejected += 1;
        } else if let Some(alarm) = drift.accepted(Ticket(index as u64), *score, picture.as_ref()).first() {
            noticed.alarm = Some((index + 1, alarm.quantity));
            break;
        }
    }
    Ok(noticed)
}

/// The part, counted from 1, at which so many in a row had not passed.
fn row_of_failures(passes: impl Iterator<Item = bool>) -> Option<usize> {
    let mut row = 0;
    let ends = passes.map(|passes| {
        row = if passes { 0 } else { row + 1 };
        row == IN_A_ROW
    });
    ends.collect::<Vec<_>>().iter().position(|ends| *ends).map(|index| index + 1)
}

/// In how many of `orders` random orders the test for drift claims some among the undisturbed pictures of `images`, each of which is shown
/// once, when it begins with the calibration itself. They are of other parts than the calibration's, and may be of another day.
///
/// # Errors
///
/// As [`notice`].
pub fn unseen_alarms(
    bundle: &Bundle,
    calibration: &Calibration,
    images: &[PathBuf],
    orders: u64,
    seed: u64,
) -> Result<u64> {
    let mut unseen = see(bundle, calibration, images)?;
    let limits = calibration.picture;
    let is_fault = |picture: &Option<Statistics>| limits.zip(*picture).is_some_and(|(l, p)| l.fault(&p).is_some());
    unseen.retain(|(score, picture)| !calibration.rejects(*score) && !is_fault(picture));
    let alarms = |order: u64| {
        let mut shown = unseen.clone();
        shown.shuffle(&mut ChaCha8Rng::seed_from_u64(seed + order));
        let mut drift = Drift::new(calibration);
        shown.iter().any(|(score, picture)| !drift.accepted(Ticket(0), *score, picture.as_ref()).is_empty())
    };
    Ok((0..orders).filter(|order| alarms(*order)).count() as u64)
}

/// How often drift was claimed where there is none, in `runs` runs of `parts` parts each: these, and as many parts as the
/// calibration has, are drawn from one pool, the pictures of `images`.
///
/// # Errors
///
/// As [`notice`].
pub fn false_alarms(
    bundle: &Bundle,
    calibration: &Calibration,
    images: &[PathBuf],
    parts: usize,
    runs: u64,
) -> Result<usize> {
    let mut pool = see(bundle, calibration, images)?;
    pool.retain(|(score, _)| !calibration.rejects(*score));
    let run = |seed: u64| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = || pool[random.random_range(0..pool.len())];
        let normal = (0..calibration.images.len()).map(|_| draw()).collect::<Vec<_>>();
        let mut drift = Drift::from_parts(&normal, seed);
        let alarms =
            (0..parts).map(|_| draw()).map(|(score, picture)| drift.accepted(Ticket(0), score, picture.as_ref()).len());
        alarms.sum::<usize>()
    };
    Ok(if pool.is_empty() { 0 } else { (0..runs).map(run).sum() })
}

fn see(bundle: &Bundle, calibration: &Calibration, images: &[PathBuf]) -> Result<Vec<Seen>> {
    let class = bundle.manifest.class_index(&calibration.class)?;
    batch::for_each_image(bundle, &calibration.class, images, |inspector, _, _, image| {
        let inspection = inspector.inspect(&image, class, &calibration.reference)?;
        Ok((inspection.score, Some(Statistics::of(&image, calibration.reference.mask.as_ref()))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_a_row_are_five_and_one_that_passes_begins_anew() {
        let of = |passes: &[bool]| row_of_failures(passes.iter().copied());
        assert_eq!(of(&[false; 4]), None);
        assert_eq!(of(&[true, false, false, false, false, false, false]), Some(6));
        assert_eq!(of(&[false, false, false, false, true, false, false, false, false]), None);
    }
}
