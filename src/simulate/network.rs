//! The inspection: one frame at a time, the newest of each lane waits, and lanes take turns.

use std::collections::VecDeque;
use std::time::Duration;

use crate::digest::Digest;
use crate::line::{Evidence, Happening, Judgement, Lane, Latency, Ticket};
use crate::time::Monotonic;

use super::trouble::Trouble;

/// So many parts' own pictures of each lane wait at most, as in a run.
const MOST_KEPT: usize = 32;

/// The inspection's thread and the frames that wait for it.
pub(super) struct Network {
    busy_until: Monotonic,
    /// One of a lane at most, but those that are kept; the one that has waited longest, or took the place of such a one, is the
    /// first.
    waits: VecDeque<(Lane, Ticket, bool)>,
    /// When each lane had its last turn, in turns.
    served: Vec<u64>,
    turns: u64,
    /// Whether a newer frame of a lane takes the place of an older one: not where the core chooses among a part's frames.
    gives_way: Vec<bool>,
    /// A lane's share of a frame takes its share of the time.
    lanes: usize,
    /// How long a frame of all lanes takes, at least and at most.
    takes_ms: (f64, f64),
}

impl Network {
    pub(super) fn new(gives_way: Vec<bool>, takes_ms: (f64, f64)) -> Self {
        let lanes = gives_way.len();
        let (busy_until, waits, served) = (Monotonic::default(), VecDeque::new(), vec![0; lanes]);
        Network { busy_until, waits, served, turns: 0, gives_way, lanes, takes_ms }
    }

    /// Nobody needs the frame any more.
    pub(super) fn forget(&mut self, ticket: Ticket) {
        self.waits.retain(|(_, waits, _)| *waits != ticket);
    }

    /// The lane's frame is to be inspected: what that leads to, and when.
    pub(super) fn inspect(
        &mut self,
        lane: Lane,
        ticket: Ticket,
        is_bad: bool,
        now: Monotonic,
        trouble: &mut Trouble,
    ) -> Vec<(Monotonic, Happening)> {
        if now < self.busy_until || !self.waits.is_empty() {
            let gives_way = self.gives_way[lane.0];
            if let Some(older) = self.waits.iter_mut().find(|(other, ..)| gives_way && *other == lane) {
                let (_, skipped, _) = std::mem::replace(older, (lane, ticket, is_bad));
                return vec![(now, Happening::Skipped(skipped))];
            }
            self.waits.push_back((lane, ticket, is_bad));
            let kept = |(other, ..): &(Lane, Ticket, bool)| !gives_way && *other == lane;
            let are_too_many = self.waits.iter().filter(|waits| kept(waits)).count() > MOST_KEPT;
            let oldest = self.waits.iter().position(kept).filter(|_| are_too_many);
            let skipped = oldest.and_then(|oldest| self.waits.remove(oldest));
            return skipped.map(|(_, skipped, _)| (now, Happening::Skipped(skipped))).into_iter().collect();
        }
        self.begin(lane, ticket, is_bad, now, trouble).into_iter().collect()
    }

    /// Takes the first frame of the lane that has waited longest for its turn, if the one before it is done.
    pub(super) fn go_on(&mut self, now: Monotonic, trouble: &mut Trouble) -> Option<(Monotonic, Happening)> {
        if now < self.busy_until {
            return None;
        }
        let served = |(lane, ..): &(Lane, Ticket, bool)| self.served[lane.0];
        let (place, _) = self.waits.iter().enumerate().min_by_key(|(place, waits)| (served(waits), *place))?;
        let (lane, ticket, is_bad) = self.waits.remove(place)?;
        self.begin(lane, ticket, is_bad, now, trouble)
    }

    /// When it looks for the frame that waits.
    pub(super) fn next(&self) -> Option<Monotonic> {
        (!self.waits.is_empty()).then_some(self.busy_until)
    }

    fn begin(
        &mut self,
        lane: Lane,
        ticket: Ticket,
        is_bad: bool,
        now: Monotonic,
        trouble: &mut Trouble,
    ) -> Option<(Monotonic, Happening)> {
        self.turns += 1;
        self.served[lane.0] = self.turns;
        let took = match trouble.strikes("slow inspection") {
            true => trouble.millis(200.0, 2500.0),
            false => trouble.millis(self.takes_ms.0, self.takes_ms.1) / self.lanes as u32,
        };
        self.busy_until = now + took;
        if trouble.strikes("hung inspection") {
            self.busy_until = now + Duration::from_secs(20);
            return None;
        }
        if trouble.strikes("failed inspection") {
            return Some((self.busy_until, Happening::Inspected(ticket, Err("the network failed".into()))));
        }
        let (score, threshold) = (if is_bad { 2.0 } else { 0.5 }, 1.0);
        let judgement =
            Judgement { score, threshold, rejects: is_bad, calibration: Digest::zero(), evidence: Evidence::default() };
        let latency = Latency { total: took, ..Latency::default() };
        Some((self.busy_until, Happening::Inspected(ticket, Ok((judgement, latency)))))
    }
}
