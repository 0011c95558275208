//! The core in virtual time: a belt with every fault, from a seed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::digest::Digest;
use crate::time::StampSource;

/// How often what goes wrong, as probabilities per part.
#[derive(Clone, Copy)]
struct Faults {
    lost: f64,
    skipped: f64,
    broken: f64,
    failed: f64,
    hung: f64,
    slow: f64,
    misfire: f64,
    late_fire: f64,
    no_report: f64,
    renumbered: f64,
    device: f64,
}

const NONE: Faults = Faults {
    lost: 0.0,
    skipped: 0.0,
    broken: 0.0,
    failed: 0.0,
    hung: 0.0,
    slow: 0.0,
    misfire: 0.0,
    late_fire: 0.0,
    no_report: 0.0,
    renumbered: 0.0,
    device: 0.0,
};
const ALL: Faults = Faults {
    lost: 0.02,
    skipped: 0.05,
    broken: 0.01,
    failed: 0.02,
    hung: 0.005,
    slow: 0.05,
    misfire: 0.02,
    late_fire: 0.02,
    no_report: 0.005,
    renumbered: 0.001,
    device: 0.002,
};

fn rules(skipped: SkippedPolicy, late: LatePolicy) -> Rules {
    let ms = Duration::from_millis;
    Rules { travel: ms(150), pulse: ms(30), tolerance: ms(20), quiet: Duration::from_secs(10), late, skipped }
}

/// An event in the future; the queue gives the earliest first, and equal ones in the order in which they were put in.
struct Due(Monotonic, u64, Happening);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

struct Simulation {
    core: LineCore,
    faults: Faults,
    random: ChaCha8Rng,
    queue: BinaryHeap<Reverse<Due>>,
    queued: u64,
    fired: HashMap<PartId, u32>,
    /// Parts whose firing was reported in time.
    confirmed: HashSet<PartId>,
    records: Vec<PartRecord>,
    alarms: HashSet<Alarm>,
    stops: usize,
    /// Records of bad parts that were closed while no alarm was raised.
    silent: usize,
}

impl Simulation {
    fn new(rules: Rules, faults: Faults, seed: u64) -> Self {
        Simulation {
            core: LineCore::new(rules),
            faults,
            random: ChaCha8Rng::seed_from_u64(seed),
            queue: BinaryHeap::new(),
            queued: 0,
            fired: HashMap::new(),
            confirmed: HashSet::new(),
            records: Vec::new(),
            alarms: HashSet::new(),
            stops: 0,
            silent: 0,
        }
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    fn push(&mut self, at: Monotonic, what: Happening) {
        self.queued += 1;
        self.queue.push(Reverse(Due(at, self.queued, what)));
    }

    fn millis(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(self.random.random_range(from..to) / 1e3)
    }

    /// Puts a belt of `frames` frames into the queue; gives how many parts that are.
    fn belt(&mut self, frames: u64) -> u64 {
        let mut now = Monotonic::from_nanos(1_000_000_000);
        let (mut number, mut parts) = (self.random.next_u64() % 100, 0);
        for ticket in 0..frames {
            now = now + self.millis(15.0, 45.0);
            if self.chance(self.faults.renumbered) {
                number = self.random.random_range(0..=number.saturating_sub(1));
            } else if ticket > 0 && self.chance(self.faults.lost) {
                let lost = self.random.random_range(1..4);
                number += lost;
                parts += lost;
            }
            self.frame(Ticket(ticket), number, now);
            number += 1;
            parts += 1;
            if self.chance(self.faults.device) {
                let device = [Device::Camera, Device::Output, Device::Audit][ticket as usize % 3];
                self.push(now, Happening::Fault(device, "unplugged".into()));
                let back = now + self.millis(1.0, 500.0);
                self.push(back, Happening::Recovered(device));
            }
        }
        parts
    }

    fn frame(&mut self, ticket: Ticket, frame: u64, captured: Monotonic) {
        let sighting = Sighting {
            ticket,
            frame,
            captured,
            stamp: StampSource::EndOfFrame,
            origin: "belt".into(),
            class: "washer".into(),
        };
        let arrived = captured + self.millis(0.1, 10.0);
        if self.chance(self.faults.broken) {
            return self.push(arrived, Happening::Broken(sighting, "not a picture".into()));
        }
        self.push(arrived, Happening::Captured(sighting));
        if self.chance(self.faults.skipped) {
            let skipped = arrived + self.millis(1.0, 60.0);
            return self.push(skipped, Happening::Skipped(ticket));
        }
        if self.chance(self.faults.hung) {
            return;
        }
        let took = if self.chance(self.faults.slow) { self.millis(100.0, 400.0) } else { self.millis(5.0, 60.0) };
        let outcome = if self.chance(self.faults.failed) {
            Err("the network failed".into())
        } else {
            let score = self.random.random_range(0.0..1.0);
            let rejects = score > 0.8;
            let judgement = Judgement { score, threshold: 0.8, rejects, calibration: Digest::zero() };
            Ok((judgement, Latency { total: took, ..Latency::default() }))
        };
        self.push(arrived + took, Happening::Inspected(ticket, outcome));
    }

    fn run(&mut self) {
        while let Some(due) = self.next_event() {
            let mut actions = Vec::new();
            self.core.handle(Event { at: due.0, what: due.2 }, &mut actions);
            actions.into_iter().for_each(|action| self.act(action, due.0));
        }
    }

    /// The next event, or the core's own wake-up where that comes first.
    fn next_event(&mut self) -> Option<Due> {
        let queued = self.queue.peek().map(|due| due.0.0);
        match (queued, self.core.next_wakeup()) {
            (Some(at), Some(wakeup)) if wakeup < at => Some(Due(wakeup, 0, Happening::Tick)),
            (None, Some(wakeup)) => Some(Due(wakeup, 0, Happening::Tick)),
            _ => self.queue.pop().map(|Reverse(due)| due),
        }
    }

    fn act(&mut self, action: Action, now: Monotonic) {
        match action {
            Action::Fire { part, at, .. } => self.fire(part, at, now),
            Action::RaiseAlarm(alarm, _) => assert!(self.alarms.insert(alarm), "{alarm} was raised twice"),
            Action::ClearAlarm(alarm) => assert!(self.alarms.remove(&alarm), "{alarm} was not raised"),
            Action::Record(record) => {
                if matches!(record.fate, Fate::Unaccounted(_))
                    && !self.alarms.contains(&Alarm::MissedReject)
                    && !self.alarms.contains(&Alarm::Uninspected)
                {
                    self.silent += 1;
                }
                self.records.push(*record);
            }
            Action::StopLine(_) => self.stops += 1,
            Action::SetSafe | Action::Health(..) | Action::Note(_) => {}
        }
    }

    fn fire(&mut self, part: PartId, at: Monotonic, now: Monotonic) {
        *self.fired.entry(part).or_default() += 1;
        if self.chance(self.faults.no_report) {
            return;
        }
        if self.chance(self.faults.misfire) {
            return self.push(at.max(now), Happening::Fired(part, Err("no port".into())));
        }
        let late = if self.chance(self.faults.late_fire) { self.millis(15.0, 60.0) } else { self.millis(0.0, 1.0) };
        let acted = at.max(now) + late;
        if acted <= at + self.core.rules().tolerance {
            self.confirmed.insert(part);
        }
        self.push(acted, Happening::Fired(part, Ok(acted)));
    }
}

/// What must hold for every part, whatever went wrong.
fn check(simulation: &Simulation, parts: u64) {
    let mut seen = HashSet::new();
    for record in &simulation.records {
        let part = record.part;
        assert!(seen.insert(part), "part {part} has two records");
        let fired = simulation.fired.get(&part).copied().unwrap_or(0);
        assert!(fired <= 1, "part {part} was fired {fired} times");
        assert_eq!(record.deadline, record.captured + simulation.core.rules().travel);
        match (&record.verdict, &record.fate) {
            (Verdict::Pass, Fate::Passed) => assert_eq!(fired, 0, "good part {part} was fired"),
            (Verdict::Pass, other) => panic!("good part {part} is {other:?}"),
            (bad, Fate::Passed) => panic!("part {part} is {bad:?} and was passed"),
            (_, Fate::Rejected) => {
                assert_eq!(fired, 1);
                assert!(simulation.confirmed.contains(&part), "part {part} is held to be rejected, and was not");
            }
            (_, Fate::Unaccounted(why)) => {
                assert!(!simulation.confirmed.contains(&part), "part {part} was rejected, but: {why}");
            }
        }
    }
    assert_eq!(seen.len() as u64, parts, "every part has a record");
    assert_eq!(simulation.silent, 0, "unaccounted parts without an alarm");
    assert!(simulation.core.is_idle() && simulation.core.next_wakeup().is_none());
    assert!(simulation.alarms.is_empty(), "alarms are over when the belt is quiet");
    let counters = simulation.core.counters();
    assert_eq!(counters.parts, parts);
    assert_eq!(counters.passed + counters.rejected + counters.unaccounted, parts);
    assert_eq!(counters.named()[4..].iter().map(|(_, count)| count).sum::<u64>(), parts, "one verdict per part");
}

#[test]
fn every_part_has_one_verdict_and_one_fate_whatever_goes_wrong() {
    for (seed, skipped, late) in [
        (1, SkippedPolicy::Reject, LatePolicy::Count),
        (2, SkippedPolicy::Count, LatePolicy::Count),
        (3, SkippedPolicy::Reject, LatePolicy::StopLine),
    ] {
        let mut simulation = Simulation::new(rules(skipped, late), ALL, seed);
        let parts = simulation.belt(50_000);
        simulation.run();
        check(&simulation, parts);
        let counters = simulation.core.counters();
        let each = counters.named();
        let met = each.iter().filter(|(name, _)| *name != "stopped").all(|(_, count)| *count > 0);
        assert!(met, "the simulation met every end: {each:?}");
        assert_eq!(simulation.stops > 0, late == LatePolicy::StopLine);
    }
}

#[test]
fn without_faults_nothing_is_unaccounted() {
    let mut simulation = Simulation::new(rules(SkippedPolicy::Reject, LatePolicy::StopLine), NONE, 7);
    let parts = simulation.belt(20_000);
    simulation.run();
    check(&simulation, parts);
    let counters = simulation.core.counters();
    assert_eq!((counters.unaccounted, simulation.stops), (0, 0));
    assert_eq!((counters.passed, counters.rejected), (counters.good, counters.bad));
}

#[test]
fn a_halt_at_any_moment_closes_every_part() {
    for seed in 0..200 {
        let mut simulation = Simulation::new(rules(SkippedPolicy::Reject, LatePolicy::Count), ALL, seed);
        simulation.belt(60);
        for _ in 0..seed {
            let Some(due) = simulation.next_event() else { break };
            let mut actions = Vec::new();
            simulation.core.handle(Event { at: due.0, what: due.2 }, &mut actions);
            actions.into_iter().for_each(|action| simulation.act(action, due.0));
        }
        let mut actions = Vec::new();
        let now = simulation.queue.peek().map_or(Monotonic::default(), |due| due.0.0);
        simulation.core.handle(Event { at: now, what: Happening::Halt }, &mut actions);
        assert!(actions.contains(&Action::SetSafe) && simulation.core.is_idle());
        actions.into_iter().for_each(|action| simulation.act(action, now));
        assert!(simulation.records.iter().all(|r| r.fate != Fate::Passed || r.verdict == Verdict::Pass));
        assert_eq!(simulation.records.len() as u64, simulation.core.counters().parts);
        assert_eq!(simulation.silent, 0);
    }
}

/// A frame that is captured and arrives at `ms`.
fn captured(core: &mut LineCore, frame: u64, ms: u64, actions: &mut Vec<Action>) {
    let captured = Monotonic::from_nanos(ms * 1_000_000);
    let (stamp, origin, class) = (StampSource::EndOfFrame, "belt".into(), "washer".into());
    let sighting = Sighting { ticket: Ticket(ms), frame, captured, stamp, origin, class };
    core.handle(Event { at: captured, what: Happening::Captured(sighting) }, actions);
}

#[test]
fn a_part_passes_only_by_a_verdict_that_left_time_to_arm_the_ejector() {
    // Captured at 1000 ms, at the ejector at 1150 ms.
    for (verdict_ms, passes) in [(1144, true), (1146, false)] {
        let mut core = LineCore::new(rules(SkippedPolicy::Reject, LatePolicy::Count));
        let mut actions = Vec::new();
        captured(&mut core, 0, 1000, &mut actions);
        let judgement = Judgement { score: 0.0, threshold: 1.0, rejects: false, calibration: Digest::zero() };
        let what = Happening::Inspected(Ticket(1000), Ok((judgement, Latency::default())));
        // No tick came in between: the rule does not depend on when somebody looked at the clock.
        core.handle(Event { at: Monotonic::from_nanos(verdict_ms * 1_000_000), what }, &mut actions);
        let fires = actions.iter().any(|action| matches!(action, Action::Fire { .. }));
        assert_eq!((fires, core.is_idle()), (!passes, passes), "at {verdict_ms} ms: {actions:?}");
    }
}

#[test]
fn a_part_of_unknown_time_is_not_rejected_at_a_guess() {
    let mut core = LineCore::new(rules(SkippedPolicy::Reject, LatePolicy::Count));
    let mut actions = Vec::new();
    let at = Monotonic::from_nanos(1_000_000_000);
    let (stamp, origin, class) = (StampSource::Doubtful, "belt".into(), "washer".into());
    let sighting = Sighting { ticket: Ticket(0), frame: 0, captured: at, stamp, origin, class };
    core.handle(Event { at, what: Happening::Broken(sighting, "its stamp lies in the future".into()) }, &mut actions);
    let alarms = |alarm| actions.iter().any(|a| matches!(a, Action::RaiseAlarm(raised, _) if *raised == alarm));
    assert!(alarms(Alarm::MissedReject) && alarms(Alarm::Uninspected));
    assert!(!actions.iter().any(|action| matches!(action, Action::Fire { .. })), "another part would be hit");
    assert_eq!(core.counters().unaccounted, 1);
}

#[test]
fn parts_that_were_lost_beside_one_of_unknown_time_are_not_rejected_at_a_guess_either() {
    for doubtful in [0, 3] {
        let mut core = LineCore::new(rules(SkippedPolicy::Reject, LatePolicy::Count));
        let mut actions = Vec::new();
        for frame in [0, 3] {
            let at = Monotonic::from_nanos(1_000_000_000 + frame * 20_000_000);
            let stamp = if frame == doubtful { StampSource::Doubtful } else { StampSource::EndOfFrame };
            let (ticket, origin, class) = (Ticket(frame), "belt".into(), "washer".into());
            let sighting = Sighting { ticket, frame, captured: at, stamp, origin, class };
            core.handle(Event { at, what: Happening::Captured(sighting) }, &mut actions);
        }
        assert!(!actions.iter().any(|action| matches!(action, Action::Fire { .. })), "{actions:?}");
        assert_eq!(core.counters().lost, 2);
    }
}

#[test]
fn a_device_that_works_now_and_then_is_one_alarm() {
    let mut core = LineCore::new(rules(SkippedPolicy::Reject, LatePolicy::Count));
    let mut actions = Vec::new();
    let mut at = |second: u64, what, actions: &mut Vec<Action>| {
        core.handle(Event { at: Monotonic::from_nanos(second * 1_000_000_000), what }, actions);
    };
    let fault = || Happening::Fault(Device::Output, "unplugged".into());
    for second in [0, 5, 14] {
        at(second, fault(), &mut actions);
        at(second + 1, Happening::Recovered(Device::Output), &mut actions);
    }
    let raised = actions.iter().filter(|action| matches!(action, Action::RaiseAlarm(..))).count();
    let cleared = |actions: &[Action]| actions.contains(&Action::ClearAlarm(Alarm::Faulty(Device::Output)));
    assert!(raised == 1 && !cleared(&actions), "{actions:?}");
    at(26, Happening::Tick, &mut actions);
    assert!(cleared(&actions) && actions.contains(&Action::Health(Device::Output, Ok(()))), "{actions:?}");
}

#[test]
fn a_gap_is_filled_with_parts_between_their_neighbours() {
    let mut core = LineCore::new(rules(SkippedPolicy::Reject, LatePolicy::Count));
    let mut actions = Vec::new();
    captured(&mut core, 5, 1000, &mut actions);
    captured(&mut core, 8, 1090, &mut actions);
    let fires = actions
        .iter()
        .filter_map(|action| match action {
            Action::Fire { part, at, .. } => Some((part.0, at.as_nanos() / 1_000_000)),
            _ => None,
        })
        .collect::<Vec<_>>();
    assert_eq!(fires, [(1, 1180), (2, 1210)], "captured at 1030 and 1060 ms, travel 150 ms");

    actions.clear();
    captured(&mut core, 2, 1100, &mut actions);
    assert!(matches!(actions.as_slice(), [Action::Note(_)]), "a camera that counts anew lost nothing: {actions:?}");

    actions.clear();
    captured(&mut core, 20_000, 60_000, &mut actions);
    let alarmed = actions.iter().any(|action| matches!(action, Action::RaiseAlarm(Alarm::MissedReject, _)));
    let stopped = actions.iter().any(|action| matches!(action, Action::StopLine(why) if why.contains("19997 frames")));
    assert!(alarmed && stopped, "so many parts do not go on unseen: {actions:?}");
}
