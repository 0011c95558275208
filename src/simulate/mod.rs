//! The line core against a simulated belt, in virtual time: years of it in minutes, with every fault, from a seed.
//!
//! ```text
//! belt (moves, stops, carries parts) --edges, frames, counts--> core --orders--> valve (the real schedule)
//!        ^ trouble (what goes wrong, and when)                   |
//!                                                            promises (what must hold, at every step)
//! ```
//!
//! The core and the schedule of the ejector are those that `hgad run` uses. All else is simulated: no clock, thread or device
//! takes part, and the same seed gives the same run. What must hold is looked at after every event ([`promises`]); of a run
//! in which it does not, the shortest list of events that shows it is searched ([`shortest`]).

mod belt;
mod lines;
mod network;
mod promises;
mod shortest;
mod trouble;
mod valve;
mod world;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use lines::drawn;
pub use promises::Violation;
pub use world::layout::most_per_minute;

use crate::line::{Counters, Rules};

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The line's rules.
    pub rules: Rules,
    /// Nanometres per second at which the belt moves when nothing is wrong.
    pub speed: u64,
    /// For how long.
    pub belt_time: Duration,
    /// The same seed gives the same run.
    pub seed: u64,
    /// Whether anything goes wrong.
    pub with_faults: bool,
    /// How fast all of it goes.
    pub pace: Pace,
}

impl Plan {
    /// Ten hours with all faults, at the usual pace.
    pub fn new(rules: Rules, speed: u64, seed: u64) -> Self {
        let belt_time = Duration::from_secs(10 * 3600);
        Plan { rules, speed, belt_time, seed, with_faults: true, pace: Pace::default() }
    }
}

/// How fast parts come, and how long an inspection of theirs takes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// So many milliseconds at least and at most for a frame of all lanes, where nothing is wrong.
    pub inspection_ms: (f64, f64),
    /// So many parts of a lane come in a minute of full speed, on average; `None`: as the distances of parts allow, from as close as can be to
    /// twenty times as far.
    pub parts_per_minute: Option<f64>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { inspection_ms: (10.0, 60.0), parts_per_minute: None }
    }
}

/// What a simulation came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How long the belt ran.
    pub belt_time: Duration,
    /// What became of the parts.
    pub counters: Counters,
    /// Parts that were on the belt when the process was killed: no core is left to write of them.
    pub interrupted: u64,
    /// How often the line began anew.
    pub restarts: u64,
    /// How often the line was stopped.
    pub stops: u64,
    /// Events that the core took.
    pub events: u64,
    /// What went wrong, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// Why parts that were found in the picture were not followed, and how many records say so.
    pub doubts: BTreeMap<String, u64>,
    /// Pieces that passed an ejector.
    pub pieces: u64,
    /// For so many pieces a promise was not held, or a weaker one, and why; one may count for several reasons.
    pub weaker: BTreeMap<&'static str, u64>,
    /// What must hold and did not; the simulation ended there.
    pub violation: Option<Violation>,
}

impl Report {
    /// Adds another simulation's report; the first violation stays.
    pub fn add(&mut self, other: Report) {
        self.belt_time += other.belt_time;
        self.counters.add(&other.counters);
        self.interrupted += other.interrupted;
        self.restarts += other.restarts;
        self.stops += other.stops;
        self.events += other.events;
        for (fault, times) in other.faults {
            *self.faults.entry(fault).or_default() += times;
        }
        for (doubt, times) in other.doubts {
            *self.doubts.entry(doubt).or_default() += times;
        }
        self.pieces += other.pieces;
        for (why, pieces) in other.weaker {
            *self.weaker.entry(why).or_default() += pieces;
        }
        self.violation = self.violation.take().or(other.violation);
    }
}

/// Simulates until the time is over or a promise is broken.
pub fn run(plan: &Plan) -> Report {
    let report = world::World::new(plan).run();
    if report.violation.is_none() {
        return report;
    }
    // The same run again, since the same seed gives the same: now with the events that lead there.
    let again = world::World::remembering(plan).run();
    if again.violation.is_some() { again } else { report }
}
