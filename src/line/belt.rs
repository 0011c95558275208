//! Where the belt is, and when a place on it will be somewhere.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use crate::time::Monotonic;

/// A length along the belt, or a place on it as its distance from where the run began, in nanometres.
///
/// Whole nanometres, so that a belt of 1 m/s moves 1 nm in 1 ns: a line that is configured in milliseconds is one on such a
/// belt, and loses nothing by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Length(i64);

impl Length {
    /// From nanometres.
    pub const fn from_nm(nanometres: i64) -> Self {
        Length(nanometres)
    }

    /// In nanometres.
    pub const fn as_nm(self) -> i64 {
        self.0
    }

    /// From millimetres, to the nearest nanometre.
    pub fn from_mm(millimetres: f64) -> Self {
        Length((millimetres * 1e6).round() as i64)
    }

    /// In millimetres.
    pub fn as_mm(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// How far a belt of 1 m/s moves in `duration`.
    pub fn at_one_metre_per_second(duration: Duration) -> Self {
        Length(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Add for Length {
    type Output = Length;
    fn add(self, other: Length) -> Length {
        Length(self.0.saturating_add(other.0))
    }
}

impl Sub for Length {
    type Output = Length;
    fn sub(self, other: Length) -> Length {
        Length(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} mm", self.as_mm())
    }
}

/// What tells how the belt moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drive {
    /// It always has this speed, in nanometres per second.
    Constant(u64),
    /// An encoder measures it ([`super::Happening::Moved`]).
    Encoder,
}

impl Drive {
    /// A belt of 1 m/s, on which milliseconds and millimetres are the same number.
    pub const ONE_METRE_PER_SECOND: Drive = Drive::Constant(NANO as u64);
}

const NANO: i128 = 1_000_000_000;

/// The belt as it moved so far, and how it goes on if nothing changes.
#[derive(Debug)]
pub(super) enum Belt {
    Constant(i128),
    Measured(Track),
}

impl Belt {
    pub(super) fn new(drive: Drive) -> Self {
        match drive {
            Drive::Constant(speed) => Belt::Constant(i128::from(speed.max(1))),
            Drive::Encoder => Belt::Measured(Track::default()),
        }
    }

    /// Whether an encoder measures it.
    pub(super) fn is_measured(&self) -> bool {
        matches!(self, Belt::Measured(_))
    }

    /// How far it goes in that time at the least: one that is measured may stand still.
    pub(super) fn least_way(&self, time: Duration) -> Length {
        match self {
            Belt::Constant(speed) => Length((time.as_nanos() as i128 * speed / NANO) as i64),
            Belt::Measured(_) => Length::default(),
        }
    }

    /// Where it was at `at`; `None` where nobody knows.
    pub(super) fn position(&self, at: Monotonic) -> Option<Length> {
        match self {
            Belt::Constant(speed) => {
                let moved = i128::from(at.as_nanos()) * speed / NANO;
                Some(Length(i64::try_from(moved).unwrap_or(i64::MAX)))
            }
            Belt::Measured(track) => track.position(at),
        }
    }

    /// When it was or will be at `place`, as seen at `now`; `None` while it stands still before it, or nobody knows.
    pub(super) fn when(&self, place: Length, now: Monotonic) -> Option<Monotonic> {
        match self {
            Belt::Constant(speed) => {
                // Rounded up: never early.
                let nanos = (i128::from(place.0.max(0)) * NANO + speed - 1) / speed;
                Some(Monotonic::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
            }
            Belt::Measured(track) => track.when(place, now),
        }
    }
}

/// What an encoder told.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// The newest last; its times only rise.
    samples: VecDeque<Sample>,
    /// Nobody knows where the belt is; samples count anew once it is known again.
    is_lost: bool,
    /// The farthest place that was ever reached.
    farthest: Option<Length>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Monotonic,
    place: Length,
}

impl Track {
    /// So many samples are kept: at one every 2 ms those of the last 16 seconds.
    const KEPT: usize = 8192;
    /// The speed is that of the samples of so long.
    const RECENT: Duration = Duration::from_millis(20);
    /// An encoder that has been silent for so long beyond its last two intervals belongs to a belt that stands still.
    const STILL: Duration = Duration::from_millis(10);

    /// The belt is at `place` since `at`.
    pub(super) fn moved(&mut self, at: Monotonic, place: Length) {
        if self.samples.back().is_some_and(|last| at <= last.at) {
            // Two batches that crossed on their way: the place is right, the newest time stands.
            if let Some(last) = self.samples.back_mut() {
                last.place = place;
            }
        } else {
            self.samples.push_back(Sample { at, place });
        }
        if self.samples.len() > Self::KEPT {
            self.samples.pop_front();
        }
        self.farthest = self.farthest.max(Some(place));
    }

    /// Whether the belt lies behind a place where it once was.
    pub(super) fn is_reversed(&self) -> bool {
        self.samples.back().is_some_and(|last| Some(last.place) < self.farthest)
    }

    /// Nobody knows any more where the belt is.
    pub(super) fn lose(&mut self) {
        self.is_lost = true;
        self.samples.clear();
        self.farthest = None;
    }

    /// It is known again.
    pub(super) fn find(&mut self) {
        self.is_lost = false;
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    fn position(&self, at: Monotonic) -> Option<Length> {
        if self.is_lost {
            return None;
        }
        let last = self.samples.back()?;
        if at >= last.at {
            return Some(self.beyond(*last, at));
        }
        let after = self.samples.partition_point(|sample| sample.at <= at);
        let before = self.samples.get(after.checked_sub(1)?)?;
        let after = self.samples.get(after)?;
        Some(between(*before, *after, at))
    }

    /// At most one more step of the encoder: had there been two, it would have told.
    fn beyond(&self, last: Sample, at: Monotonic) -> Length {
        let Some(speed) = self.speed(at) else { return last.place };
        let step = self.samples.iter().rev().nth(1).map_or(0, |before| last.place.0 - before.place.0);
        let moved = i128::from(at.as_nanos() - last.at.as_nanos()) * i128::from(speed) / NANO;
        last.place + Length(i64::try_from(moved).unwrap_or(i64::MAX).min(step))
    }

    fn when(&self, place: Length, now: Monotonic) -> Option<Monotonic> {
        if self.is_lost {
            return None;
        }
        let last = self.samples.back()?;
        if place <= last.place {
            return Some(self.reached(place, *last));
        }
        let speed = i128::from(self.speed(now)?);
        let nanos = (i128::from(place.0 - last.place.0) * NANO + speed - 1) / speed;
        Some(last.at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// When the belt reached `place`, which lies behind it, for the last time.
    fn reached(&self, place: Length, last: Sample) -> Monotonic {
        let mut later = last;
        for sample in self.samples.iter().rev().skip(1) {
            if sample.place < place {
                let part =
                    i128::from(place.0 - sample.place.0) * i128::from(later.at.as_nanos() - sample.at.as_nanos());
                let nanos = part / i128::from((later.place.0 - sample.place.0).max(1));
                return sample.at + Duration::from_nanos(nanos as u64);
            }
            later = *sample;
        }
        later.at
    }

    /// In nanometres per second; `None` when the belt stands still or goes backwards.
    fn speed(&self, now: Monotonic) -> Option<i64> {
        let mut newest_first = self.samples.iter().rev();
        let (last, before) = (newest_first.next()?, newest_first.next()?);
        let interval = last.at.saturating_since(before.at);
        if last.place <= before.place {
            return None;
        }
        if now.saturating_since(last.at) > interval * 2 + Self::STILL {
            return None;
        }
        let recent = newest_first.take_while(|sample| last.at.saturating_since(sample.at) <= Self::RECENT).last();
        let from = recent.unwrap_or(before);
        let nanos = i128::from(last.at.as_nanos() - from.at.as_nanos());
        let speed = i128::from(last.place.0 - from.place.0) * NANO / nanos.max(1);
        i64::try_from(speed).ok().filter(|speed| *speed > 0)
    }
}

fn between(before: Sample, after: Sample, at: Monotonic) -> Length {
    let (whole, part) = (after.at.as_nanos() - before.at.as_nanos(), at.as_nanos() - before.at.as_nanos());
    let moved = i128::from(after.place.0 - before.place.0) * i128::from(part) / i128::from(whole.max(1));
    before.place + Length(moved as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Monotonic {
        Monotonic::from_nanos(ms * 1_000_000)
    }

    fn track(samples: &[(u64, f64)]) -> Track {
        let mut track = Track::default();
        samples.iter().for_each(|(at, mm)| track.moved(ms(*at), Length::from_mm(*mm)));
        track
    }

    #[test]
    fn a_belt_of_one_metre_per_second_moves_a_millimetre_in_a_millisecond() {
        let belt = Belt::new(Drive::ONE_METRE_PER_SECOND);
        let at = Monotonic::from_nanos(123_456_789_012_345);
        let place = belt.position(at).unwrap();
        assert_eq!(belt.when(place + Length::from_mm(150.0), at), Some(at + Duration::from_millis(150)));
    }

    #[test]
    fn no_place_is_reached_early() {
        for speed in [1, 7, 333_333_333, 1_500_000_001] {
            let belt = Belt::new(Drive::Constant(speed));
            for nanos in [1, 999, 123_456_789] {
                let place = Length::from_nm(nanos);
                let when = belt.when(place, Monotonic::default()).unwrap();
                assert!(belt.position(when).unwrap() >= place, "{speed} nm/s, {nanos} nm");
            }
        }
    }

    #[test]
    fn an_encoder_tells_where_the_belt_was_and_when_it_will_be() {
        // 0.5 mm in 1 ms.
        let track = track(&[(1000, 0.0), (1010, 5.0), (1020, 10.0)]);
        assert_eq!(track.position(ms(1015)), Some(Length::from_mm(7.5)));
        assert_eq!(track.position(ms(1024)), Some(Length::from_mm(12.0)));
        assert_eq!(track.position(ms(1035)), Some(Length::from_mm(15.0)), "at most one more step");
        assert_eq!(track.position(ms(999)), None, "before the first sample nobody knows");
        assert_eq!(track.when(Length::from_mm(30.0), ms(1021)), Some(ms(1060)));
        assert_eq!(track.when(Length::from_mm(7.5), ms(1021)), Some(ms(1015)));
    }

    #[test]
    fn a_belt_that_stands_still_reaches_nothing_until_it_moves_again() {
        let mut track = track(&[(1000, 0.0), (1010, 5.0)]);
        assert_eq!(track.when(Length::from_mm(50.0), ms(1030)), Some(ms(1100)));
        assert_eq!(track.when(Length::from_mm(50.0), ms(1041)), None);
        assert_eq!(track.position(ms(9000)), Some(Length::from_mm(5.0)));
        track.moved(ms(9000), Length::from_mm(5.0));
        track.moved(ms(9010), Length::from_mm(7.0));
        assert_eq!(track.when(Length::from_mm(9.0), ms(9011)), Some(ms(9020)));
    }

    #[test]
    fn a_belt_that_went_back_reaches_a_place_again() {
        let mut track = track(&[(0, 0.0), (10, 10.0), (20, 5.0)]);
        assert!(track.is_reversed());
        assert_eq!(track.when(Length::from_mm(8.0), ms(21)), None);
        track.moved(ms(30), Length::from_mm(10.0));
        assert_eq!(track.when(Length::from_mm(7.5), ms(31)), Some(ms(25)), "the last time counts");
    }

    #[test]
    fn a_lost_belt_is_nowhere() {
        let mut track = track(&[(0, 0.0), (10, 10.0)]);
        track.lose();
        assert_eq!((track.position(ms(20)), track.when(Length::from_mm(1.0), ms(20))), (None, None));
    }
}
