//! The true belt: how it moves and which parts lie on it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::line::{Lane, Length};
use crate::time::Monotonic;

use super::trouble::Trouble;

/// So many stretches of time are remembered.
const PAST: usize = 64;

/// The pitch of parts, at least: so many times what their lane needs.
const LEAST: f64 = 1.02;
/// And at most, for this share of them.
const CLOSE: f64 = 1.5;
const CROWDED: f64 = 0.1;
/// And for the others, where nobody says how many come.
pub(super) const SPREAD: f64 = 20.0;

/// How many times that parts are apart on average where they come as close as can be.
pub(super) fn closest_average() -> f64 {
    CROWDED * (LEAST + CLOSE) / 2.0 + (1.0 - CROWDED) * LEAST
}

/// Up to how many times the least pitch parts are to be apart, that they are so many times apart on average, or as close as can be.
pub(super) fn spread(average: f64) -> f64 {
    let others = (average - CROWDED * (LEAST + CLOSE) / 2.0) / (1.0 - CROWDED);
    (2.0 * others - LEAST).max(LEAST)
}

/// A part on the belt.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Names it among those of all lanes.
    pub(super) number: u64,
    pub(super) lane: Lane,
    /// Where the belt is when its leading edge is before the eye, or before the camera where there is no eye.
    pub(super) lead: Length,
    pub(super) length: Length,
    pub(super) is_bad: bool,
}

/// A stretch of time in which the belt has one speed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) begins: Monotonic,
    pub(super) ends: Monotonic,
    from: Length,
    /// Nanometres per second.
    speed: u64,
}

impl Stretch {
    /// Where the belt was at `at`, which lies within.
    pub(super) fn position(&self, at: Monotonic) -> Length {
        let moved =
            i128::from(at.saturating_since(self.begins).as_nanos() as u64) * i128::from(self.speed) / 1_000_000_000;
        self.from + Length::from_nm(moved as i64)
    }

    /// How long the belt takes for so much of its way.
    pub(super) fn takes(&self, way: Length) -> Duration {
        Duration::from_nanos((i128::from(way.as_nm()) * 1_000_000_000 / i128::from(self.speed.max(1))) as u64)
    }

    /// When the belt is at `place`, if it is within.
    pub(super) fn when(&self, place: Length) -> Option<Monotonic> {
        if place < self.from || place >= self.position(self.ends) {
            return None;
        }
        let nanos = i128::from((place - self.from).as_nm()) * 1_000_000_000 / i128::from(self.speed.max(1));
        Some(self.begins + Duration::from_nanos(nanos as u64))
    }
}

/// The belt and its parts.
pub(super) struct TrueBelt {
    speed: u64,
    /// Whether it stops and changes its speed now and then.
    is_measured: bool,
    pub(super) now: Stretch,
    /// Those before, the newest last.
    past: VecDeque<Stretch>,
    next_number: u64,
    lanes: Vec<TrueLane>,
    /// Lanes whose parts come in rows, side by side.
    rows: Vec<Vec<Lane>>,
}

/// What is to lie in one lane.
pub(super) struct LanePlan {
    /// Two parts are at least so far apart.
    pub(super) pitch: Length,
    /// Mostly they are farther apart, up to so many times that.
    pub(super) spread: f64,
    /// None of them is as long as this.
    pub(super) longest: Length,
    /// Whether one may lie against the other all the same.
    pub(super) may_touch: bool,
    /// How far behind the first one each station lies.
    pub(super) stations: Vec<Length>,
}

/// What lies in one lane.
struct TrueLane {
    /// Two parts are at least so far apart.
    pitch: Length,
    spread: f64,
    longest: Length,
    /// Whether one may lie against the other all the same.
    may_touch: bool,
    pieces: VecDeque<Piece>,
    last_lead: Length,
    /// How far behind the first one each station lies, and the first part that has still to pass it.
    stations: Vec<(Length, u64)>,
}

impl TrueBelt {
    /// A belt with what is to lie in each lane; parts of lanes in one row lie side by side.
    pub(super) fn new(
        begins: Monotonic,
        speed: u64,
        is_measured: bool,
        lanes: &[LanePlan],
        rows: Vec<Vec<Lane>>,
    ) -> Self {
        // A belt of constant speed is where the clock says.
        let from = match is_measured {
            true => Length::default(),
            false => Length::from_nm((i128::from(begins.as_nanos()) * i128::from(speed) / 1_000_000_000) as i64),
        };
        let lane = |LanePlan { pitch, spread, longest, may_touch, stations }: &LanePlan| TrueLane {
            pitch: *pitch,
            spread: *spread,
            longest: *longest,
            may_touch: *may_touch,
            pieces: VecDeque::new(),
            last_lead: from,
            stations: stations.iter().map(|station| (*station, 0)).collect(),
        };
        TrueBelt {
            speed,
            is_measured,
            now: Stretch { begins, ends: begins, from, speed },
            past: VecDeque::new(),
            next_number: 0,
            lanes: lanes.iter().map(lane).collect(),
            rows,
        }
    }

    /// Goes on for a while, at another speed if it can have one and something goes wrong. `stands` for as long as the line is stopped.
    pub(super) fn go_on(&mut self, trouble: &mut Trouble, stands: bool) -> Stretch {
        let (begins, from) = (self.now.ends, self.now.position(self.now.ends));
        let (speed, time) = match self.is_measured {
            false => (self.speed, Duration::from_secs(30)),
            true if stands => (0, Duration::from_secs(2)),
            true if !trouble.is_on() => (self.speed, Duration::from_secs(30)),
            true if trouble.chance(0.1) => (0, trouble.between(0.1, 20.0)),
            true => ((self.speed as f64 * trouble.number(0.3, 1.0)) as u64, trouble.between(2.0, 40.0)),
        };
        // A belt of constant speed must not drift from the clock by what whole nanometres lose.
        let from = match self.is_measured {
            true => from,
            false => Length::from_nm((i128::from(begins.as_nanos()) * i128::from(speed) / 1_000_000_000) as i64),
        };
        self.past.push_back(std::mem::replace(&mut self.now, Stretch { begins, ends: begins + time, from, speed }));
        if self.past.len() > PAST {
            self.past.pop_front();
        }
        self.lay(trouble);
        self.now
    }

    /// Where it was at `at`, as far back as stretches are remembered.
    pub(super) fn position(&self, at: Monotonic) -> Option<Length> {
        let stretches = self.past.iter().chain([&self.now]);
        stretches.rev().find(|stretch| stretch.begins <= at).map(|stretch| stretch.position(at.min(stretch.ends)))
    }

    /// Lays parts on it as far as it will move.
    fn lay(&mut self, trouble: &mut Trouble) {
        let end = self.now.position(self.now.ends);
        for row in self.rows.clone() {
            let Some(first) = row.first() else { continue };
            while self.lanes[first.0].last_lead <= end {
                let (last, pitch) = (self.lanes[first.0].last_lead, self.lanes[first.0].pitch.as_nm() as f64);
                // Now and then as close as can be.
                let most = if trouble.chance(CROWDED) { CLOSE } else { self.lanes[first.0].spread };
                let against = self.lanes[first.0].pieces.back().filter(|_| self.lanes[first.0].may_touch);
                let against =
                    against.map(|piece| piece.lead + piece.length).filter(|_| trouble.strikes("touching parts"));
                let apart = Length::from_nm((pitch * trouble.number(LEAST, most)) as i64);
                let lead = against.unwrap_or(last + apart);
                let longest = self.lanes[first.0].longest.as_nm() as f64;
                let length = Length::from_nm((longest * trouble.number(0.2, 0.9)) as i64);
                row.iter().for_each(|lane| self.lay_piece(*lane, lead, length, trouble));
            }
        }
    }

    fn lay_piece(&mut self, lane: Lane, lead: Length, length: Length, trouble: &mut Trouble) {
        let piece = Piece { number: self.next_number, lane, lead, length, is_bad: trouble.chance(0.05) };
        self.next_number += 1;
        let lane = &mut self.lanes[lane.0];
        lane.last_lead = lead;
        lane.pieces.push_back(piece);
    }

    /// The parts of a lane that pass a station within this stretch, with the moment at which they do.
    pub(super) fn passing(&mut self, lane: Lane, station: usize) -> Vec<(Monotonic, Piece)> {
        let lane = &mut self.lanes[lane.0];
        let (behind, next) = lane.stations[station];
        let first = lane.pieces.partition_point(|piece| piece.number < next);
        let mut passing = Vec::new();
        for piece in lane.pieces.iter().skip(first) {
            let place = piece.lead + behind;
            if place < self.now.from {
                continue;
            }
            let Some(at) = self.now.when(place) else { break };
            passing.push((at, piece.clone()));
        }
        if let Some((_, last)) = passing.last() {
            lane.stations[station].1 = last.number + 1;
        }
        passing
    }

    /// The parts of a lane of which the leading edge lies between two places.
    pub(super) fn between(&self, lane: Lane, from: Length, to: Length) -> impl Iterator<Item = &Piece> {
        let pieces = &self.lanes[lane.0].pieces;
        let first = pieces.partition_point(|piece| piece.lead < from);
        pieces.iter().skip(first).take_while(move |piece| piece.lead <= to)
    }

    /// A part lies elsewhere on the belt from now on, or is of another length along it, as far as its neighbours let it and the last station is
    /// still to come; gives what came of it.
    pub(super) fn shift(&mut self, piece: &Piece, lead: Length, length: Length, place: Length) -> Option<Piece> {
        let lane = &mut self.lanes[piece.lane.0];
        let k = lane.pieces.binary_search_by_key(&piece.number, |piece| piece.number).ok()?;
        let least = k.checked_sub(1).map(|ahead| lane.pieces[ahead].lead + lane.pieces[ahead].length);
        let most = lane.pieces.get(k + 1).map(|behind| behind.lead);
        let lead = least.map_or(lead, |least| lead.max(least)).min(place);
        let lead = most.map_or(lead, |most| lead.min(most - length));
        let fits = least.is_none_or(|least| least <= lead);
        let behind = lane.stations.last().map_or(Length::default(), |(behind, _)| *behind);
        (fits && lead + behind > place).then(|| {
            (lane.pieces[k].lead, lane.pieces[k].length) = (lead, length);
            lane.pieces[k].clone()
        })
    }

    /// Forgets the parts that have passed every station.
    pub(super) fn forget(&mut self) {
        for lane in &mut self.lanes {
            let passed = lane.stations.iter().map(|(_, next)| *next).min().unwrap_or_default();
            while lane.pieces.front().is_some_and(|piece| piece.number < passed) {
                lane.pieces.pop_front();
            }
        }
    }

    /// A person takes all parts off the belt.
    pub(super) fn clear(&mut self, at: Monotonic) {
        let end = self.now.position(self.now.ends.min(at.max(self.now.begins)));
        for lane in &mut self.lanes {
            let beyond = lane.pieces.iter().find(|piece| piece.lead > end);
            let beyond = beyond.map_or(self.next_number, |piece| piece.number);
            for (_, next) in &mut lane.stations {
                *next = (*next).max(beyond);
            }
        }
    }
}
