//! The core itself: open parts, what they wait for, and what ends the wait.

use super::alarms::{Alarm, Alarms};
use super::belt::{Belt, Length};
use super::challenge::Trial;
use super::finding::Shelf;
use super::limits::Watch;
use super::open::{COMMIT, LEAD, OpenPart, OpenParts, UNLOCATED_PATIENCE, Wait};
use super::{Action, Counters, Device, Event, Happening, PartId, PartRecord, Rules, Ticket};
use crate::time::{Monotonic, StampSource};

/// Decides what happens to every part.
#[derive(Debug)]
pub struct LineCore {
    pub(super) rules: Rules,
    pub(super) belt: Belt,
    pub(super) next: u64,
    pub(super) open: OpenParts,
    pub(super) newest: Option<(u64, Monotonic, StampSource)>,
    pub(super) shelf: Shelf,
    pub(super) eye: super::finding::Eye,
    pub(super) alarms: Alarms,
    pub(super) watch: Watch,
    pub(super) trial: Option<Trial>,
    /// Whether no further part will be found.
    pub(super) is_closing: bool,
    /// When the ejector was told to act, of late.
    pub(super) orders: std::collections::VecDeque<Monotonic>,
    /// The latest moment of which the core was told.
    now: Monotonic,
    pub(super) counters: Counters,
}

impl LineCore {
    /// A core with no part on the belt.
    pub fn new(rules: Rules) -> Self {
        LineCore {
            belt: Belt::new(rules.drive),
            next: 0,
            open: OpenParts::new(rules.ejector.delay),
            newest: None,
            shelf: Shelf::default(),
            eye: super::finding::Eye::default(),
            alarms: Alarms::new(rules.quiet),
            watch: Watch::new(rules.limits),
            trial: None,
            is_closing: false,
            orders: std::collections::VecDeque::new(),
            now: Monotonic::default(),
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
            Happening::Broken(sighting, why) => self.broken(sighting, why, at, actions),
            Happening::Eye(is_dark) => self.eye(is_dark, at, actions),
            Happening::Moved(place) => self.moved(place, at, actions),
            Happening::Skipped(ticket) => self.skipped(ticket, at, actions),
            Happening::Inspected(ticket, outcome) => self.inspected(ticket, outcome, at, actions),
            Happening::Fired(part, result) => self.fired(part, result, at, actions),
            Happening::Confirmed => self.confirmed(at, actions),
            Happening::Bin(is_full) => self.bin(is_full, at, actions),
            Happening::Fault(device, why) => self.fault(device, why, at, actions),
            Happening::Recovered(device) => self.recovered(device, at),
            Happening::Drift(why) => {
                // It stands until the run ends: only a person can say what is normal now.
                if !self.alarms.begins(Alarm::Drift, why.clone(), actions) {
                    actions.push(Action::Note(why));
                }
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
        self.open.next_due(&self.belt, self.now).into_iter().chain(others).min()
    }

    /// Whether the fate of a part of this frame is not settled yet.
    pub fn is_open(&self, ticket: Ticket) -> bool {
        self.open.iter().any(|(_, open)| open.record.ticket == Some(ticket))
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
        let (wait, at_camera) = (part.wait, part.at_camera);
        let at_ejector = at_camera.map(|place| place + self.rules.ejector.distance);
        let mut record = part.record(id);
        record.challenge = self.trial.as_mut().is_some_and(Trial::takes);
        record.planned = at_ejector.and_then(|place| self.planned(place, at)).unwrap_or(record.captured);
        record.slack_ms = record.planned.millis_since(at);
        self.open.insert(record, wait, at_camera, at_ejector, at);
        id
    }

    /// When the ejector must be told to act on what is before it when the belt is at `place`, as seen at `at`: `None` while
    /// the belt stands still before that, or when nobody knows.
    fn planned(&self, place: Length, at: Monotonic) -> Option<Monotonic> {
        Some(self.belt.when(place, at)? - self.rules.ejector.delay)
    }

    /// When the ejector must be told to act on the part: `None` also where nobody knows where it is.
    pub(super) fn planned_for(&self, open: &OpenPart, at: Monotonic) -> Option<Monotonic> {
        self.planned(open.at_ejector()?, at)
    }

    /// Whether the ejector can be told now: the part is near enough that the belt cannot surprise.
    pub(super) fn is_near(&self, planned: Monotonic, at: Monotonic) -> bool {
        !self.belt.is_measured() || planned - COMMIT <= at
    }

    /// Whether a verdict at `at` leaves time to arm the ejector.
    pub(super) fn is_in_time(&self, open: &OpenPart, at: Monotonic) -> bool {
        match open.at_ejector() {
            None => at <= open.opened() + UNLOCATED_PATIENCE,
            Some(place) => self.planned(place, at).is_none_or(|planned| at <= planned - LEAD),
        }
    }

    fn expire(&mut self, at: Monotonic, actions: &mut Vec<Action>) {
        for (part, wait) in self.open.due(&self.belt, at) {
            self.waited_in_vain(part, wait, at, actions);
        }
        if self.trial.as_ref().is_some_and(|trial| trial.until() <= at) {
            self.end_challenge(at, actions);
        }
        self.forget_frames(at, actions);
        self.alarms.expire(at, actions);
    }

    fn moved(&mut self, place: Length, at: Monotonic, actions: &mut Vec<Action>) {
        let Belt::Measured(track) = &mut self.belt else {
            return actions.push(Action::Note("an encoder counts, though the belt's speed is configured".into()));
        };
        if track.is_lost() && self.eye.moved_again(place) {
            track.find();
            self.alarms.is_over(Alarm::Faulty(Device::Encoder), at);
        }
        let Belt::Measured(track) = &mut self.belt else { return };
        if !track.is_lost() {
            track.moved(at, place);
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
            self.eye.forget_place();
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
    fn record(self, part: PartId) -> PartRecord {
        PartRecord {
            part,
            ticket: self.ticket,
            frame: self.frame,
            origin: self.origin,
            class: self.class,
            seen: self.seen,
            captured: self.captured,
            stamp: self.stamp,
            planned: self.captured,
            judgement: None,
            latency: None,
            verdict: super::Verdict::Unknown(super::Unknown::Stopped),
            slack_ms: 0.0,
            fired: None,
            confirmed: None,
            challenge: false,
            fate: super::Fate::Passed,
        }
    }
}
