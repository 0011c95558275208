//! The core itself: open parts, what they wait for, and what ends the wait.

use std::sync::Arc;

use super::alarms::{Alarm, Alarms};
use super::belt::{Belt, Length};
use super::challenge::Trial;
use super::finding::{Eye, Shelf};
use super::gate::Procession;
use super::limits::Watch;
use super::open::{COMMIT, LEAD, OpenPart, OpenParts, UNLOCATED_PATIENCE, Wait};
use super::{
    Action, Counters, Device, Event, Find, Happening, Lane, LaneRules, Limits, PartId, PartRecord, Rules, Ticket,
};
use crate::time::{Monotonic, StampSource};

/// Decides what happens to every part.
#[derive(Debug)]
pub struct LineCore {
    pub(super) rules: Rules,
    pub(super) belt: Belt,
    pub(super) next: u64,
    pub(super) open: OpenParts,
    /// As many as the rules have.
    pub(super) lanes: Vec<LaneState>,
    /// The first place that an encoder told after it was found to be at fault.
    pub(super) moving_from: Option<Length>,
    pub(super) alarms: Alarms,
    pub(super) trial: Option<Trial>,
    /// Whether no further part will be found.
    pub(super) is_closing: bool,
    /// The latest moment of which the core was told.
    now: Monotonic,
    /// When the first open part is due, as seen then.
    next_due: Option<Monotonic>,
    pub(super) counters: Counters,
}

/// What is known of one lane.
#[derive(Debug)]
pub(super) struct LaneState {
    /// Its newest frame.
    pub(super) newest: Option<(u64, Monotonic, StampSource)>,
    pub(super) shelf: Shelf,
    pub(super) eye: Eye,
    /// What travels through its gate.
    pub(super) procession: Procession,
    pub(super) watch: Watch,
    /// When its ejector is told to act, of late, in the order of time.
    pub(super) orders: Vec<Monotonic>,
}

impl LaneState {
    fn new(limits: Limits) -> Self {
        let (shelf, eye, procession) = (Shelf::default(), Eye::default(), Procession::default());
        LaneState { newest: None, shelf, eye, procession, watch: Watch::new(limits), orders: Vec::new() }
    }
}

impl LineCore {
    /// A core with no part on the belt.
    pub fn new(rules: Rules) -> Self {
        LineCore {
            belt: Belt::new(rules.drive),
            next: 0,
            open: OpenParts::default(),
            lanes: rules.lanes.iter().map(|_| LaneState::new(rules.limits)).collect(),
            moving_from: None,
            alarms: Alarms::new(rules.quiet),
            trial: None,
            is_closing: false,
            now: Monotonic::default(),
            next_due: None,
            counters: Counters::default(),
            rules,
        }
    }

    /// Takes note of `event` and appends to `actions` what must be done.
    pub fn handle(&mut self, event: Event, actions: &mut Vec<Action>) {
        let at = event.at;
        self.now = self.now.max(at);
        match event.what {
            Happening::Captured(sighting) => self.captured(sighting, at, actions),
            Happening::Showed(sighting, showing) => self.showed(&sighting, &showing, at, actions),
            Happening::Broken(sighting, why) => self.broken(sighting, why, at, actions),
            Happening::Eye(lane, is_dark) => self.eye(lane, is_dark, at, actions),
            Happening::FoundDark(lane) => self.found_dark(lane, at, actions),
            Happening::Moved(place) => self.moved(place, at, actions),
            Happening::Skipped(ticket) => self.skipped(ticket, at, actions),
            Happening::Inspected(ticket, outcome) => self.inspected(ticket, outcome, at, actions),
            Happening::Fired(part, result) => self.fired(part, result, at, actions),
            Happening::Confirmed(lane) => self.confirmed(lane, at, actions),
            Happening::Bin(is_full) => self.bin(is_full, at, actions),
            Happening::Fault(device, why) => self.fault(device, why, at, actions),
            Happening::Recovered(device) => self.recovered(device, at),
            Happening::Drift(why) => {
                // It stands until the run ends: only a person can say what is normal now.
                self.alarms.begins(Alarm::Drift, why, actions);
            }
            Happening::Interrupted(why) => {
                self.alarms.happened(Alarm::MissedReject, why.clone(), at, actions);
                self.follow(self.rules.late, why, actions);
            }
            Happening::AuditLost => {
                actions.push(Action::StopLine("decisions can no longer be written down".into()));
            }
            Happening::Challenged(challenge) => self.challenge(challenge, at, actions),
            Happening::Withdrawn => self.expect_no_more_pieces(at, actions),
            Happening::NoMoreParts => {
                self.is_closing = true;
                self.expect_no_more_pieces(at, actions);
            }
            Happening::Tick => {}
            Happening::Halt => self.halt(at, actions),
        }
        self.expire(self.now, actions);
    }

    /// When [`Happening::Tick`] is due at the latest; `None` when the core waits for nothing but events.
    pub fn next_wakeup(&self) -> Option<Monotonic> {
        let others = self.alarms.next_end().into_iter().chain(self.trial.as_ref().map(Trial::until));
        self.next_due.into_iter().chain(others).min()
    }

    /// Whether the fate of a part of this frame is not settled yet.
    pub fn is_open(&self, ticket: Ticket) -> bool {
        self.part_of(ticket).is_some()
    }

    /// The part of this frame whose fate is not settled yet.
    pub fn part_of(&self, ticket: Ticket) -> Option<PartId> {
        let found = self.open.iter().find(|(_, open)| open.record.ticket == Some(ticket));
        found.map(|(part, _)| part).or_else(|| self.viewed(ticket))
    }

    /// Whether the fate of every part is settled.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// The rules that it goes by.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How many parts met which end so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// A part's place among the others, with a record that fills as more becomes known.
    pub(super) fn add(&mut self, part: NewPart, at: Monotonic) -> PartId {
        let id = PartId(self.next);
        self.next += 1;
        let (lane, wait, at_camera) = (part.lane, part.wait, part.at_camera);
        let LaneRules { name, ejector, .. } = &self.rules.lanes[lane.0];
        let mut record = part.record(id, name.clone());
        record.challenge = self.trial.as_mut().is_some_and(|trial| trial.takes(name.as_ref()));
        self.open.insert(record, (lane, ejector), wait, at_camera, at);
        let planned = self.open.get(id).and_then(|open| self.planned_for(open, at));
        if let Some(record) = self.open.record(id) {
            record.planned = planned.unwrap_or(record.captured);
            record.slack_ms = record.planned.millis_since(at);
        }
        id
    }

    /// When its lane's ejector must be told to act on the part, as seen at `at`: `None` while the belt stands still before that,
    /// or when nobody knows where belt or part are.
    pub(super) fn planned_for(&self, open: &OpenPart, at: Monotonic) -> Option<Monotonic> {
        Some(self.belt.when(open.at_ejector()?, at)? - self.rules.lanes[open.lane().0].ejector.delay)
    }

    /// The part as alarms name it.
    pub(super) fn named(&self, part: PartId) -> String {
        match self.open.get(part).and_then(|open| open.record.lane.as_deref()) {
            Some(lane) => format!("part {part} of lane {lane}"),
            None => format!("part {part}"),
        }
    }

    /// Whether the ejector can be told now: the part is near enough that the belt cannot surprise.
    pub(super) fn is_near(&self, planned: Monotonic, at: Monotonic) -> bool {
        !self.belt.is_measured() || planned - COMMIT <= at
    }

    /// Whether a verdict at `at` leaves time to arm the ejector.
    pub(super) fn is_in_time(&self, open: &OpenPart, at: Monotonic) -> bool {
        match open.at_ejector() {
            None => at <= open.opened() + UNLOCATED_PATIENCE,
            Some(_) => self.planned_for(open, at).is_none_or(|planned| at <= planned - LEAD),
        }
    }

    fn expire(&mut self, at: Monotonic, actions: &mut Vec<Action>) {
        // Most events make nothing due: then nothing is looked for twice.
        let (next_due, changes) = (self.open.next_due(&self.belt, at), self.open.changes());
        if next_due.is_some_and(|due| due <= at) {
            for (part, wait) in self.open.due(&self.belt, at) {
                self.waited_in_vain(part, wait, at, actions);
            }
        }
        if self.trial.as_ref().is_some_and(|trial| trial.until() <= at) {
            self.end_challenge(at, actions);
        }
        self.forget_frames(at, actions);
        self.alarms.expire(at, actions);
        let is_so_still = self.open.changes() == changes;
        self.next_due = if is_so_still { next_due } else { self.open.next_due(&self.belt, at) };
    }

    fn moved(&mut self, place: Length, at: Monotonic, actions: &mut Vec<Action>) {
        let is_lost = match &self.belt {
            Belt::Measured(track) => track.is_lost(),
            Belt::Constant(_) => {
                return actions.push(Action::Note("an encoder counts, though the belt's speed is configured".into()));
            }
        };
        let is_found = is_lost && self.moved_again(place);
        if is_found {
            self.alarms.is_over(Alarm::Faulty(Device::Encoder), at);
        }
        let Belt::Measured(track) = &mut self.belt else { return };
        if is_found {
            track.find();
        }
        if !track.is_lost() {
            track.moved(at, place);
        }
    }

    /// Whether an encoder that is not believed has moved by a part's length since.
    fn moved_again(&mut self, place: Length) -> bool {
        let from = *self.moving_from.get_or_insert(place);
        let pitch = |(state, rules): (&LaneState, &LaneRules)| match rules.find {
            Find::FreeRun(rules) => rules.longest,
            Find::EveryFrame | Find::PhotoEye(_) => state.eye.pitch(),
        };
        let pitch = self.lanes.iter().zip(&self.rules.lanes).map(pitch).max().unwrap_or_default();
        let moves = place - from > pitch;
        if moves {
            self.forget_places();
        }
        moves
    }

    /// Where parts were seen last says nothing any more.
    pub(super) fn forget_places(&mut self) {
        self.moving_from = None;
        for lane in &mut self.lanes {
            lane.eye.forget_place();
            lane.procession.forget_places();
        }
    }

    fn bin(&mut self, is_full: bool, at: Monotonic, actions: &mut Vec<Action>) {
        if !is_full {
            return self.alarms.is_over(Alarm::BinFull, at);
        }
        let text = "the bin for rejected parts is full: empty it".to_owned();
        if self.alarms.begins(Alarm::BinFull, text.clone(), actions) {
            self.follow(self.rules.bin_full, text, actions);
        }
    }

    fn fault(&mut self, device: Device, why: String, at: Monotonic, actions: &mut Vec<Action>) {
        actions.push(Action::Health(device, Err(why.clone())));
        self.alarms.begins(Alarm::Faulty(device), why.clone(), actions);
        if device == Device::Encoder {
            self.lose_belt(&why, at, actions);
        }
    }

    /// A device that works now and then does not work: the alarm ends when it has for a while.
    fn recovered(&mut self, device: Device, at: Monotonic) {
        self.alarms.is_over(Alarm::Faulty(device), at);
        if let (Device::Encoder, Belt::Measured(track)) = (device, &mut self.belt) {
            track.find();
            self.forget_places();
        }
    }

    /// What follows beside an alarm.
    pub(super) fn follow(&self, consequence: super::Consequence, why: String, actions: &mut Vec<Action>) {
        if consequence == super::Consequence::StopLine {
            actions.push(Action::StopLine(why));
        }
    }
}

/// What is known of a part when it is found.
pub(super) struct NewPart {
    pub(super) lane: Lane,
    pub(super) ticket: Option<Ticket>,
    pub(super) frame: Option<u64>,
    pub(super) origin: String,
    pub(super) class: String,
    pub(super) seen: Option<Monotonic>,
    pub(super) captured: Monotonic,
    pub(super) stamp: StampSource,
    pub(super) at_camera: Option<Length>,
    pub(super) wait: Wait,
}

impl NewPart {
    fn record(self, part: PartId, lane: Option<Arc<str>>) -> PartRecord {
        PartRecord {
            part,
            lane,
            ticket: self.ticket,
            frame: self.frame,
            origin: self.origin,
            class: self.class,
            seen: self.seen,
            captured: self.captured,
            stamp: self.stamp,
            planned: self.captured,
            judgement: None,
            picture_fault: None,
            latency: None,
            views: Vec::new(),
            verdict: super::Verdict::Unknown(super::Unknown::Stopped),
            slack_ms: 0.0,
            fired: None,
            confirmed: None,
            challenge: false,
            fate: super::Fate::Passed,
        }
    }
}
