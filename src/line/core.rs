//! The core itself: open parts, what they wait for, and what ends the wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::{
    Action, Alarm, Counters, Device, Event, Fate, Happening, Judgement, LatePolicy, Latency, PartId, PartRecord, Rules,
    Sighting, SkippedPolicy, Ticket, Unknown, Verdict,
};
use crate::time::{Monotonic, StampSource};

/// How long before its deadline a part needs its verdict, so that the ejector can still be armed.
const LEAD: Duration = Duration::from_millis(5);
/// How long after its latest moment a firing report is waited for.
const REPORT_PATIENCE: Duration = Duration::from_secs(1);
/// So many frames that were lost at once get a record each; more are not a belt that goes on.
const LARGEST_GAP: u64 = 10_000;

/// What an open part waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Its inspection.
    Verdict,
    /// The report that the ejector acted.
    Firing,
}

#[derive(Debug)]
struct OpenPart {
    record: PartRecord,
    wait: Wait,
    wakeup: Monotonic,
}

/// Decides what happens to every part.
#[derive(Debug)]
pub struct LineCore {
    rules: Rules,
    next: u64,
    open: BTreeMap<PartId, OpenPart>,
    tickets: HashMap<Ticket, PartId>,
    wakeups: BTreeSet<(Monotonic, PartId)>,
    newest: Option<(u64, Monotonic, StampSource)>,
    /// Alarms that are raised; those whose cause is gone carry the moment at which they end.
    alarms: BTreeMap<Alarm, Option<Monotonic>>,
    counters: Counters,
}

impl LineCore {
    /// A core with no part on the belt.
    pub fn new(rules: Rules) -> Self {
        LineCore {
            rules,
            next: 0,
            open: BTreeMap::new(),
            tickets: HashMap::new(),
            wakeups: BTreeSet::new(),
            newest: None,
            alarms: BTreeMap::new(),
            counters: Counters::default(),
        }
    }

    /// Takes note of `event` and appends to `actions` what must be done.
    pub fn handle(&mut self, event: Event, actions: &mut Vec<Action>) {
        let at = event.at;
        match event.what {
            Happening::Captured(sighting) => {
                self.close_gap(&sighting, at, actions);
                self.open(sighting, at);
            }
            Happening::Broken(sighting, why) => {
                self.close_gap(&sighting, at, actions);
                let part = self.open(sighting, at);
                self.without_verdict(part, Unknown::Broken(why), at, actions);
            }
            Happening::Skipped(ticket) => {
                if let Some(part) = self.undecided(ticket) {
                    self.without_verdict(part, Unknown::Skipped, at, actions);
                }
            }
            Happening::Inspected(ticket, outcome) => self.inspected(ticket, outcome, at, actions),
            Happening::Fired(part, result) => self.fired(part, result, at, actions),
            Happening::Fault(device, why) => self.fault(device, why, actions),
            Happening::Recovered(device) => self.recovered(device, at),
            Happening::AuditLost => {
                actions.push(Action::StopLine("decisions can no longer be written down".into()));
            }
            Happening::Tick => {}
            Happening::Halt => self.halt(at, actions),
        }
        self.expire(at, actions);
    }

    /// When [`Happening::Tick`] is due at the latest; `None` when the core waits for nothing.
    pub fn next_wakeup(&self) -> Option<Monotonic> {
        let part = self.wakeups.first().map(|(at, _)| *at);
        let alarm = self.alarms.values().filter_map(|ends| *ends).min();
        part.into_iter().chain(alarm).min()
    }

    /// Whether the fate of this frame's part is not settled yet.
    pub fn is_open(&self, ticket: Ticket) -> bool {
        self.tickets.contains_key(&ticket)
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

    fn open(&mut self, sighting: Sighting, at: Monotonic) -> PartId {
        let ticket = sighting.ticket;
        self.newest = Some((sighting.frame, sighting.captured, sighting.stamp));
        let part = self.add(sighting, at);
        self.tickets.insert(ticket, part);
        if let Some(open) = self.open.get_mut(&part) {
            open.record.ticket = Some(ticket);
        }
        part
    }

    /// A new part, which no ticket leads to yet.
    fn add(&mut self, sighting: Sighting, at: Monotonic) -> PartId {
        let Sighting { frame, captured, stamp, origin, class, .. } = sighting;
        let part = PartId(self.next);
        self.next += 1;
        let deadline = captured + self.rules.travel;
        let record = PartRecord {
            part,
            ticket: None,
            frame,
            origin,
            class,
            captured,
            stamp,
            deadline,
            judgement: None,
            latency: None,
            verdict: Verdict::Unknown(Unknown::Stopped),
            slack_ms: deadline.millis_since(at),
            fired: None,
            fate: Fate::Passed,
        };
        let wakeup = deadline - LEAD;
        self.wakeups.insert((wakeup, part));
        self.open.insert(part, OpenPart { record, wait: Wait::Verdict, wakeup });
        part
    }

    /// Frames that the camera counted and never delivered are parts too: their captures lie evenly between those of
    /// their neighbours; nobody knows when they were where that is not known of a neighbour.
    fn close_gap(&mut self, sighting: &Sighting, at: Monotonic, actions: &mut Vec<Action>) {
        let Some((newest, captured, stamp)) = self.newest else { return };
        let Some(missing) = sighting.frame.checked_sub(newest + 1) else {
            let text = format!("the camera counts anew: frame {} follows frame {newest}", sighting.frame);
            return actions.push(Action::Note(text));
        };
        if missing > LARGEST_GAP {
            let text =
                format!("{missing} frames were lost before frame {}: their parts went on unseen", sighting.frame);
            self.raise_for_a_while(Alarm::MissedReject, text.clone(), at, actions);
            return actions.push(Action::StopLine(text));
        }
        let step = sighting.captured.saturating_since(captured) / (missing as u32 + 1);
        let stamp = match [stamp, sighting.stamp].contains(&StampSource::Doubtful) {
            true => StampSource::Doubtful,
            false => StampSource::Interpolated,
        };
        for k in 1..=missing {
            let (frame, captured, origin) = (newest + k, captured + step * k as u32, String::new());
            let part = self.add(Sighting { frame, captured, stamp, origin, ..sighting.clone() }, at);
            self.without_verdict(part, Unknown::Lost, at, actions);
        }
    }

    fn undecided(&self, ticket: Ticket) -> Option<PartId> {
        let part = *self.tickets.get(&ticket)?;
        (self.open.get(&part)?.wait == Wait::Verdict).then_some(part)
    }

    fn inspected(
        &mut self,
        ticket: Ticket,
        outcome: Result<(Judgement, Latency), String>,
        at: Monotonic,
        actions: &mut Vec<Action>,
    ) {
        // A part that is closed already has its record: the result came too late even to be written down.
        let Some(open) = self.tickets.get(&ticket).and_then(|part| self.open.get_mut(part)) else { return };
        let (part, wait) = (open.record.part, open.wait);
        let in_time = at <= open.record.deadline - LEAD;
        let rejects = match outcome {
            Ok((judgement, latency)) => {
                let rejects = judgement.rejects;
                open.record.judgement = Some(judgement);
                open.record.latency = Some(latency);
                Ok(rejects)
            }
            Err(why) => Err(why),
        };
        if wait == Wait::Firing {
            return;
        }
        match rejects {
            Ok(true) => {
                self.decide(part, Verdict::Reject, at);
                self.eject(part, at, actions);
            }
            Ok(false) if in_time => {
                self.decide(part, Verdict::Pass, at);
                self.close(part, Fate::Passed, actions);
            }
            Ok(false) => self.without_verdict(part, Unknown::Late, at, actions),
            Err(why) => self.without_verdict(part, Unknown::Faulted(why), at, actions),
        }
    }

    fn without_verdict(&mut self, part: PartId, why: Unknown, at: Monotonic, actions: &mut Vec<Action>) {
        let uninspected = matches!(why, Unknown::Skipped | Unknown::Lost);
        let text = match why.detail() {
            Some(detail) => format!("part {part} has no verdict: {} ({detail})", why.as_str()),
            None => format!("part {part} has no verdict: {}", why.as_str()),
        };
        self.raise_for_a_while(Alarm::Uninspected, text, at, actions);
        self.decide(part, Verdict::Unknown(why), at);
        if uninspected && self.rules.skipped == SkippedPolicy::Count {
            self.close(part, Fate::Unaccounted("it was not inspected, and is only counted".into()), actions);
        } else {
            self.eject(part, at, actions);
        }
    }

    fn decide(&mut self, part: PartId, verdict: Verdict, at: Monotonic) {
        if let Some(open) = self.open.get_mut(&part) {
            open.record.verdict = verdict;
            open.record.slack_ms = open.record.deadline.millis_since(at);
        }
    }

    /// Fires the ejector at the part's deadline, or says that this cannot be done any more.
    fn eject(&mut self, part: PartId, at: Monotonic, actions: &mut Vec<Action>) {
        let Some(open) = self.open.get_mut(&part) else { return };
        if open.record.stamp == StampSource::Doubtful {
            let why = "nobody knows when it was captured, so when it is before the ejector";
            return self.missed(part, why.into(), at, actions);
        }
        let deadline = open.record.deadline;
        if at > deadline + self.rules.tolerance {
            let late = at.millis_since(deadline);
            return self.missed(
                part,
                format!("it was {late:.1} ms past the ejector when it was found bad"),
                at,
                actions,
            );
        }
        self.wakeups.remove(&(open.wakeup, part));
        open.wait = Wait::Firing;
        open.wakeup = deadline.max(at) + self.rules.tolerance + REPORT_PATIENCE;
        self.wakeups.insert((open.wakeup, part));
        let latest = deadline + self.rules.tolerance;
        actions.push(Action::Fire { part, at: deadline, latest, pulse: self.rules.pulse });
    }

    fn fired(&mut self, part: PartId, result: Result<Monotonic, String>, at: Monotonic, actions: &mut Vec<Action>) {
        // A report after the patience has ended cannot change a fate that is written down.
        let Some(open) = self.open.get_mut(&part).filter(|open| open.wait == Wait::Firing) else {
            return actions.push(Action::Note(format!("a report about part {part} came after its fate was settled")));
        };
        match result {
            Ok(fired) => {
                open.record.fired = Some(fired);
                let deadline = open.record.deadline;
                if fired <= deadline + self.rules.tolerance {
                    self.close(part, Fate::Rejected, actions);
                } else {
                    let late = fired.millis_since(deadline);
                    self.missed(part, format!("the ejector acted {late:.1} ms late"), at, actions);
                }
            }
            Err(why) => self.missed(part, format!("the ejector did not act: {why}"), at, actions),
        }
    }

    fn missed(&mut self, part: PartId, why: String, at: Monotonic, actions: &mut Vec<Action>) {
        let text = format!("part {part} was not rejected: {why}");
        self.raise_for_a_while(Alarm::MissedReject, text.clone(), at, actions);
        self.close(part, Fate::Unaccounted(why), actions);
        if self.rules.late == LatePolicy::StopLine {
            actions.push(Action::StopLine(text));
        }
    }

    fn close(&mut self, part: PartId, fate: Fate, actions: &mut Vec<Action>) {
        let Some(mut open) = self.open.remove(&part) else { return };
        self.wakeups.remove(&(open.wakeup, part));
        if let Some(ticket) = open.record.ticket {
            self.tickets.remove(&ticket);
        }
        open.record.fate = fate;
        self.counters.count(&open.record);
        actions.push(Action::Record(Box::new(open.record)));
    }

    fn expire(&mut self, at: Monotonic, actions: &mut Vec<Action>) {
        while let Some(&(wakeup, part)) = self.wakeups.first() {
            if wakeup > at {
                break;
            }
            match self.open.get(&part).map(|open| open.wait) {
                Some(Wait::Verdict) => self.without_verdict(part, Unknown::Late, at, actions),
                Some(Wait::Firing) => self.missed(part, "the ejector gave no report".into(), at, actions),
                None => drop(self.wakeups.pop_first()),
            }
        }
        let over = self.alarms.iter().filter(|(_, ends)| ends.is_some_and(|ends| ends <= at));
        for alarm in over.map(|(alarm, _)| *alarm).collect::<Vec<_>>() {
            self.alarms.remove(&alarm);
            if let Alarm::Faulty(device) = alarm {
                actions.push(Action::Health(device, Ok(())));
            }
            actions.push(Action::ClearAlarm(alarm));
        }
    }

    fn raise_for_a_while(&mut self, alarm: Alarm, text: String, at: Monotonic, actions: &mut Vec<Action>) {
        if self.alarms.insert(alarm, Some(at + self.rules.quiet)).is_none() {
            actions.push(Action::RaiseAlarm(alarm, text));
        }
    }

    fn fault(&mut self, device: Device, why: String, actions: &mut Vec<Action>) {
        actions.push(Action::Health(device, Err(why.clone())));
        if self.alarms.insert(Alarm::Faulty(device), None).is_none() {
            actions.push(Action::RaiseAlarm(Alarm::Faulty(device), why));
        }
    }

    /// A device that works now and then does not work: the alarm ends when it has for a while.
    fn recovered(&mut self, device: Device, at: Monotonic) {
        if let Some(ends) = self.alarms.get_mut(&Alarm::Faulty(device)) {
            ends.get_or_insert(at + self.rules.quiet);
        }
    }

    fn halt(&mut self, at: Monotonic, actions: &mut Vec<Action>) {
        actions.push(Action::SetSafe);
        for part in self.open.keys().copied().collect::<Vec<_>>() {
            if self.open.get(&part).is_some_and(|open| open.wait == Wait::Verdict) {
                self.decide(part, Verdict::Unknown(Unknown::Stopped), at);
            }
            let why = "the run ended before the ejector could act on it";
            self.raise_for_a_while(Alarm::MissedReject, format!("part {part} was not rejected: {why}"), at, actions);
            self.close(part, Fate::Unaccounted(why.into()), actions);
        }
    }
}
