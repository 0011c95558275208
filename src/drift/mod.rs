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
use crate::line::{PartId, Ticket};
use crate::picture::Statistics;
use bag::Bag;
use jumper::Jumper;

/// Without drift, a false alarm comes after so many accepted parts on average, or later: a month of four parts a second.
pub const PARTS_PER_FALSE_ALARM: f64 = 1e7;
/// The last parts, of which an alarm names some that show it best.
const RECENT: usize = 64;
/// So many are named. Of these, and of no more, pictures have to be held back until it is known whether there is an alarm.
pub const NAMED: usize = 5;

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
    /// Some parts among them that show it best, the best first, by their frames, with their numbers.
    pub parts: Vec<(Ticket, f32)>,
}

impl Alarm {
    /// For people: what has changed in the parts `of` a product and lane, by which parts that is seen, and what to do.
    pub fn told(&self, of: &str, parts: &[(PartId, f32)]) -> String {
        let parts = parts.iter().map(|(part, value)| format!("part {part} ({value:.3})"));
        let see =
            parts.reduce(|all, part| format!("{all}, {part}")).map_or_else(String::new, |all| format!("; see {all}"));
        format!(
            "the {} of accepted parts of {of} {}: its median is {:.3} over the last {}, and was {:.3} at the calibration{see}: {}",
            self.quantity,
            if self.rises { "rises" } else { "falls" },
            self.recent,
            self.count,
            self.normal,
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
    /// The numbers of the last parts.
    recent: VecDeque<f32>,
    /// Parts among them that would show an alarm best, the best first; [`NAMED`] at most.
    examples: Vec<Example>,
    /// So many parts were seen.
    seen: usize,
    alarmed: bool,
}

/// A part that an alarm would name.
#[derive(Debug, Clone)]
struct Example {
    ticket: Ticket,
    value: f32,
    p: f64,
    /// How many parts of the stream came before.
    number: usize,
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
            let (jumper, recent, examples) = (Jumper::default(), VecDeque::with_capacity(RECENT), Vec::new());
            Some(Stream { quantity, normal, bag, jumper, recent, examples, seen: 0, alarmed: false })
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

    /// The parts that would be named if the number that has changed most by now raised an alarm: [`NAMED`] at most.
    pub fn examples(&self) -> impl Iterator<Item = Ticket> {
        let streams = self.streams.iter().filter(|stream| !stream.alarmed);
        let first = streams.max_by(|a, b| a.jumper.capital().total_cmp(&b.jumper.capital()));
        first.into_iter().flat_map(|stream| &stream.examples).map(|example| example.ticket)
    }

    /// Takes note of an accepted part, which was seen in this frame. Each number raises an alarm once.
    pub fn accepted(&mut self, ticket: Ticket, score: f32, picture: Option<&Statistics>) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        for stream in self.streams.iter_mut().filter(|stream| !stream.alarmed) {
            let Some(value) = stream.quantity.of(score, picture).filter(|value| value.is_finite()) else { continue };
            let p = stream.bag.rank(stream.quantity.scale(value), self.random.random());
            stream.jumper.bet(p);
            stream.remember(ticket, value, p);
            if stream.jumper.capital() >= self.enough {
                stream.alarmed = true;
                alarms.push(stream.alarm());
            }
        }
        alarms
    }
}

impl Stream {
    /// An example that others displaced does not come back when these have become old: its picture is gone by then.
    fn remember(&mut self, ticket: Ticket, value: f32, p: f64) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(value);
        self.examples.retain(|example| example.number + RECENT > self.seen);
        self.examples.push(Example { ticket, value, p, number: self.seen });
        let rises = self.jumper.favours_small();
        self.examples.sort_by(|a, b| if rises { a.p.total_cmp(&b.p) } else { b.p.total_cmp(&a.p) });
        self.examples.truncate(NAMED);
        self.seen += 1;
    }

    fn alarm(&self) -> Alarm {
        Alarm {
            quantity: self.quantity,
            rises: self.jumper.favours_small(),
            normal: self.normal,
            recent: median(self.recent.iter().copied().collect()).unwrap_or(f32::NAN),
            count: self.recent.len(),
            parts: self.examples.iter().map(|example| (example.ticket, example.value)).collect(),
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
            let alarm = drift.accepted(Ticket(number as u64), part.0, part.1.as_ref()).into_iter().next();
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
        assert!(found.quantity == Quantity::Score && found.rises && found.parts.len() == NAMED, "{found:?}");
        assert!(found.recent > found.normal && found.parts.iter().all(|(_, value)| *value > 1.0), "{found:?}");
        let says = found.told("lid, lane left", &[(PartId(83), 1.25), (PartId(7), 1.5)]);
        let begins = "the score of accepted parts of lid, lane left rises: its median is ";
        assert!(says.starts_with(begins) && says.contains("; see part 83 (1.250), part 7 (1.500): look at"), "{says}");
        assert_eq!(alarm(&mut drift, &mut random, 1000, |_, part| part.0 += 0.5), None, "it is told once");
    }

    #[test]
    fn what_changes_slowly_is_found_too_in_either_direction() {
        let (mut drift, mut random) = drift(100, 1);
        let dim = |number: usize, part: &mut (f32, Option<Statistics>)| {
            part.1.as_mut().unwrap().brightness *= 0.999f32.powi(number as i32);
        };
        let (after, found) = alarm(&mut drift, &mut random, 1000, dim).unwrap();
        assert!(found.quantity == Quantity::Brightness && !found.rises && after < 60, "{after}: {found:?}");
    }

    #[test]
    fn numbers_that_are_none_are_left_out() {
        let (mut drift, _) = drift(10, 1);
        assert_eq!(drift.accepted(Ticket(0), f32::NAN, None), []);
        assert_eq!(Drift::from_parts(&[], 0).accepted(Ticket(0), 1.0, None), []);
    }

    #[test]
    fn an_alarm_names_parts_that_were_examples_ever_since_they_came_and_few_are() {
        let (mut drift, mut random) = drift(100, 1);
        let mut held = BTreeSet::new();
        for number in 0..1000 {
            let mut part = part(&mut random);
            part.1.as_mut().unwrap().brightness -= if number < 300 { 0.0 } else { 0.8 };
            let found = drift.accepted(Ticket(number), part.0, part.1.as_ref());
            if let Some(found) = found.first() {
                // The last one comes with the alarm itself.
                held.insert(Ticket(number));
                assert!(found.parts.len() == NAMED && found.parts.iter().all(|(ticket, _)| held.contains(ticket)));
                assert!(found.parts.iter().all(|(ticket, value)| ticket.0 >= 300 && *value < 100.2), "{found:?}");
                return;
            }
            let examples = drift.examples().collect::<BTreeSet<_>>();
            assert!(examples.len() <= NAMED && examples.iter().all(|ticket| ticket.0 + RECENT as u64 > number));
            held.retain(|ticket| examples.contains(ticket));
            held.extend(examples.into_iter().filter(|ticket| ticket.0 == number));
        }
        panic!("no alarm");
    }
}
