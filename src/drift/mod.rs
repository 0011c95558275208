//! Whether what the line sees is still like what it was calibrated on.
//!
//! Scores and picture statistics of accepted parts go in, alarms come out; there is no clock, thread or file in here, and no
//! threshold is ever moved.
//!
//! Each number that is followed has a conformal test martingale (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random
//! World", 2nd edition, 2022, chapter 8): a part's number is ranked among those of the calibration's parts and of all parts
//! accepted since, which gives a p-value that is uniform and independent of the others while all of them are exchangeable,
//! whatever their distribution and however few parts the calibration has. Bets against its being uniform multiply a capital
//! (the *simple jumper* of Vovk et al., "Retrain or not retrain: conformal test martingales for change-point detection", 2021).
//! A new martingale begins with every part, and their sum is what is watched, as in the Shiryaev-Roberts procedure: without a
//! change the sum after t parts is t on average, so that, by optional stopping, the first alarm comes after no fewer than
//! `c` parts on average if it is raised at a sum of `c` (an *e-detector*; Shin, Ramdas and Rinaldo, "E-detectors", 2024).

mod bag;
mod jumper;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::calibrate::{Calibration, CalibrationImage};
use crate::picture::Statistics;
use bag::Bag;
use jumper::Jumper;

/// Without drift, a false alarm comes after so many accepted parts on average, or later: a month of four parts a second.
pub const PARTS_PER_FALSE_ALARM: f64 = 1e7;
/// The last parts, of which an alarm names those that show it best.
const RECENT: usize = 64;
/// So many are named.
const NAMED: usize = 5;

/// A number that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// The score.
    Score,
    /// See [`Statistics::brightness`].
    Brightness,
    /// See [`Statistics::sharpness`].
    Sharpness,
    /// See [`Statistics::red`].
    Red,
    /// See [`Statistics::blue`].
    Blue,
}

impl Quantity {
    const ALL: [Quantity; 5] =
        [Quantity::Score, Quantity::Brightness, Quantity::Sharpness, Quantity::Red, Quantity::Blue];

    fn of(self, score: f32, picture: Option<&Statistics>) -> Option<f32> {
        Some(match self {
            Quantity::Score => score,
            Quantity::Brightness => picture?.brightness,
            Quantity::Sharpness => picture?.sharpness,
            Quantity::Red => picture?.red,
            Quantity::Blue => picture?.blue,
        })
    }

    /// Where the number lies on a scale from 0 to 1 that has nothing to do with the parts: ranks along it are as good as ranks
    /// of the numbers.
    fn scale(self, value: f32) -> f32 {
        match self {
            Quantity::Score => (value + 5.0) / 40.0,
            Quantity::Brightness => value / 256.0,
            // From 2^-20 to 2^4.
            Quantity::Sharpness => (value.max(f32::MIN_POSITIVE).log2() + 20.0) / 24.0,
            Quantity::Red | Quantity::Blue => value,
        }
    }

    /// What a person should do when it has risen or fallen.
    fn advice(self, rises: bool) -> &'static str {
        match (self, rises) {
            (Quantity::Score, true) => {
                "look at these parts and at the lens, light and camera; if all is well, calibrate again"
            }
            (Quantity::Score, false) => "is another product or part of it seen? if all is well, calibrate again",
            (Quantity::Brightness, _) => {
                "look at the lamp, at light from elsewhere, and the camera's exposure and gain"
            }
            (Quantity::Sharpness, true) => "look at the camera's gain (noise) and distance",
            (Quantity::Sharpness, false) => {
                "clean the lens; look at the focus, and whether the camera or the belt moved"
            }
            (Quantity::Red | Quantity::Blue, _) => "look at the lamp's colour and the camera's white balance",
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Quantity::Score => "score",
            Quantity::Brightness => "brightness",
            Quantity::Sharpness => "sharpness",
            Quantity::Red => "share of red",
            Quantity::Blue => "share of blue",
        })
    }
}

/// What has changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// Of which number.
    pub quantity: Quantity,
    /// Whether it is larger than it was.
    pub rises: bool,
    /// The median of the calibration's parts.
    pub normal: f32,
    /// The median of the last parts.
    pub recent: f32,
    /// How many these are.
    pub count: usize,
    /// The parts among them that show it best, by name, with their numbers.
    pub parts: Vec<(String, f32)>,
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter().map(|(name, value)| format!("{name} ({value:.3})")).collect::<Vec<_>>();
        write!(
            f,
            "the {} of accepted parts {}: its median is {:.3} over the last {}, and was {:.3} at the calibration; see {}: {}",
            self.quantity,
            if self.rises { "rises" } else { "falls" },
            self.recent,
            self.count,
            self.normal,
            parts.join(", "),
            self.quantity.advice(self.rises)
        )
    }
}

/// Follows one product's accepted parts.
#[derive(Debug, Clone)]
pub struct Drift {
    streams: Vec<Stream>,
    random: ChaCha8Rng,
    /// A stream's capital that raises an alarm.
    enough: f64,
    /// The calibration's parts.
    parts: usize,
}

/// One number that is followed.
#[derive(Debug, Clone)]
struct Stream {
    quantity: Quantity,
    normal: f32,
    bag: Bag,
    jumper: Jumper,
    recent: VecDeque<Recent>,
    alarmed: bool,
}

#[derive(Debug, Clone)]
struct Recent {
    name: String,
    value: f32,
    p: f64,
}

impl Drift {
    /// Follows what the calibration tells of its parts: scores, and statistics of their pictures where it has them.
    pub fn new(calibration: &Calibration) -> Self {
        // Of the pictures of one part, which are like each other, one: the parts to come are seen once each.
        let mut groups = BTreeSet::new();
        let is_another =
            |image: &&CalibrationImage| image.group.as_ref().is_none_or(|group| groups.insert(group.clone()));
        let parts = calibration.images.iter().filter(is_another);
        // The threshold is one of the scores; those below it are like the scores of accepted parts.
        let accepted = parts.filter(|image| image.score < calibration.threshold);
        Self::from_parts(&accepted.map(|image| (image.score, image.picture)).collect::<Vec<_>>(), 0)
    }

    /// The same from scores and statistics; `seed` decides ties.
    pub fn from_parts(normal: &[(f32, Option<Statistics>)], seed: u64) -> Self {
        let stream = |quantity: Quantity| {
            let values = normal.iter().filter_map(|(score, picture)| quantity.of(*score, picture.as_ref()));
            let values = values.filter(|value| value.is_finite()).collect::<Vec<_>>();
            let mut bag = Bag::default();
            values.iter().for_each(|value| bag.put(quantity.scale(*value)));
            let normal = median(values)?;
            let (jumper, recent) = (Jumper::default(), VecDeque::with_capacity(RECENT));
            Some(Stream { quantity, normal, bag, jumper, recent, alarmed: false })
        };
        let streams = Quantity::ALL.into_iter().filter_map(stream).collect::<Vec<_>>();
        // The mean of the streams' capitals is t on average, too, and is as large as is asked for when one of them is so many
        // times as large.
        let enough = PARTS_PER_FALSE_ALARM * streams.len() as f64;
        Drift { streams, random: ChaCha8Rng::seed_from_u64(seed), enough, parts: normal.len() }
    }

    /// Whether there is anything that it can follow: a calibration of a single part says nothing of others.
    pub fn follows(&self) -> bool {
        !self.streams.is_empty()
    }

    /// With so many parts of the calibration it began.
    pub fn begins_with(&self) -> usize {
        self.parts
    }

    /// Takes note of an accepted part, which is called `name`. Each number raises an alarm once.
    pub fn accepted(&mut self, name: &str, score: f32, picture: Option<&Statistics>) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        for stream in self.streams.iter_mut().filter(|stream| !stream.alarmed) {
            let Some(value) = stream.quantity.of(score, picture).filter(|value| value.is_finite()) else { continue };
            let p = stream.bag.rank(stream.quantity.scale(value), self.random.random());
            stream.jumper.bet(p);
            if stream.recent.len() == RECENT {
                stream.recent.pop_front();
            }
            stream.recent.push_back(Recent { name: name.to_owned(), value, p });
            if stream.jumper.capital() >= self.enough {
                stream.alarmed = true;
                alarms.push(stream.alarm());
            }
        }
        alarms
    }
}

impl Stream {
    fn alarm(&self) -> Alarm {
        let rises = self.jumper.favours_small();
        let mut parts = self.recent.iter().collect::<Vec<_>>();
        parts.sort_by(|a, b| if rises { a.p.total_cmp(&b.p) } else { b.p.total_cmp(&a.p) });
        Alarm {
            quantity: self.quantity,
            rises,
            normal: self.normal,
            recent: median(self.recent.iter().map(|part| part.value).collect()).unwrap_or(f32::NAN),
            count: self.recent.len(),
            parts: parts.into_iter().take(NAMED).map(|part| (part.name.clone(), part.value)).collect(),
        }
    }
}

fn median(mut values: Vec<f32>) -> Option<f32> {
    let middle = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores that are uniform on 0 to 1, and a grey picture whose brightness is 100 more.
    fn part(random: &mut ChaCha8Rng) -> (f32, Option<Statistics>) {
        let (score, light, focus) = (random.random::<f32>(), random.random::<f32>(), random.random::<f32>());
        let (red, blue) = (1.0 / 3.0, 1.0 / 3.0);
        let picture =
            Statistics { brightness: 100.0 + light, saturated: 0.0, sharpness: 0.1 + 0.01 * focus, red, blue };
        (score, Some(picture))
    }

    fn drift(parts: usize, seed: u64) -> (Drift, ChaCha8Rng) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let normal = (0..parts).map(|_| part(&mut random)).collect::<Vec<_>>();
        (Drift::from_parts(&normal, seed), random)
    }

    /// After how many parts there was an alarm.
    fn alarm(
        drift: &mut Drift,
        random: &mut ChaCha8Rng,
        most: usize,
        change: impl Fn(usize, &mut (f32, Option<Statistics>)),
    ) -> Option<(usize, Alarm)> {
        (1..=most).find_map(|number| {
            let mut part = part(random);
            change(number, &mut part);
            let alarm = drift.accepted(&format!("frame {number}"), part.0, part.1.as_ref()).into_iter().next();
            alarm.map(|alarm| (number, alarm))
        })
    }

    #[test]
    fn without_a_change_there_is_no_alarm_however_few_parts_were_calibrated_on() {
        for (parts, seed) in [(1, 1), (5, 2), (20, 3), (100, 4)] {
            let (mut drift, mut random) = drift(parts, seed);
            assert_eq!(alarm(&mut drift, &mut random, 20_000, |_, _| {}), None, "{parts} parts");
        }
    }

    #[test]
    fn a_change_is_found_named_and_told_once() {
        let (mut drift, mut random) = drift(100, 1);
        assert_eq!(alarm(&mut drift, &mut random, 1000, |_, _| {}), None);
        let (after, found) = alarm(&mut drift, &mut random, 1000, |_, part| part.0 += 0.5).unwrap();
        assert!(after < 100, "{after}");
        assert!(found.quantity == Quantity::Score && found.rises && found.parts.len() == NAMED, "{found}");
        assert!(found.recent > found.normal && found.parts.iter().all(|(_, value)| *value > 1.0), "{found}");
        let says = found.to_string();
        assert!(says.contains("score of accepted parts rises") && says.contains("see frame "), "{says}");
        assert_eq!(alarm(&mut drift, &mut random, 1000, |_, part| part.0 += 0.5), None, "it is told once");
    }

    #[test]
    fn what_changes_slowly_is_found_too_in_either_direction() {
        let (mut drift, mut random) = drift(100, 1);
        let dim = |number: usize, part: &mut (f32, Option<Statistics>)| {
            part.1.as_mut().unwrap().brightness *= 0.999f32.powi(number as i32);
        };
        let (after, found) = alarm(&mut drift, &mut random, 1000, dim).unwrap();
        assert!(found.quantity == Quantity::Brightness && !found.rises && after < 60, "{after}: {found}");
    }

    #[test]
    fn numbers_that_are_none_are_left_out() {
        let (mut drift, _) = drift(10, 1);
        assert_eq!(drift.accepted("frame 0", f32::NAN, None), []);
        assert_eq!(Drift::from_parts(&[], 0).accepted("frame 0", 1.0, None), []);
    }
}
