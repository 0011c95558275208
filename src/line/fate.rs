//! From a part's frame to its verdict, and from its verdict to its fate.

use std::time::Duration;

use super::alarms::Alarm;
use super::core::LineCore;
use super::open::{OpenPart, Wait};
use super::{
    Action, Ejector, Fate, Judgement, Lane, LaneRules, Latency, PartId, SkippedPolicy, Ticket, Uninspected, Unknown,
    Verdict,
};
use crate::time::{Monotonic, StampSource};

/// How long after its latest moment a report of an ejector or a sensor is waited for.
const REPORT_PATIENCE: Duration = Duration::from_secs(1);

/// Where a part is whose ejection is not in time any more, as its fate says it; the simulation holds such fates against where parts lie.
pub(crate) const PAST: &str = "past the ejector";

/// What an inspection came to.
pub(super) type Outcome = Result<(Judgement, Latency), Uninspected>;

/// Adds an order to those of late, unless the ejector would act more often than it can. One that merges with the pulse before, or closes the
/// gap between two, is no further act: refused, it would let a bad part go by an ejector that is open.
fn has_room(orders: &mut Vec<Monotonic>, planned: Monotonic, ejector: &Ejector, most: u32) -> bool {
    orders.retain(|order| planned.saturating_since(*order) < Duration::from_secs(1));
    let place = orders.partition_point(|order| *order <= planned);
    orders.insert(place, planned);
    let reach = if ejector.pulses_merge { ejector.dwell + ejector.gap } else { Duration::ZERO };
    let is_another = |pair: &&[Monotonic]| pair[1].saturating_since(pair[0]) >= reach;
    let has_room = orders.windows(2).filter(is_another).count() < most as usize;
    if !has_room {
        orders.remove(place);
    }
    has_room
}

impl LineCore {
    pub(super) fn skipped(&mut self, ticket: Ticket, at: Monotonic, actions: &mut Vec<Action>) {
        if let Some(part) = self.viewed(ticket) {
            // Where the core chooses among a part's frames, none gives way to a newer one.
            let why =
                "so many pictures of its lane waited that the oldest was given up: the inspection is too slow".into();
            return self.view_inspected(part, ticket, Err(why), at, actions);
        }
        for part in self.waiting_for(ticket) {
            self.without_verdict(part, Unknown::Skipped, at, actions);
        }
    }

    pub(super) fn inspected(&mut self, ticket: Ticket, outcome: Outcome, at: Monotonic, actions: &mut Vec<Action>) {
        if let Some(part) = self.viewed(ticket) {
            return self.view_inspected(part, ticket, outcome, at, actions);
        }
        // Also of parts that were given up on: the record says what came too late to count. A part that is closed already has
        // its record.
        for record in self.open.records().filter(|record| record.ticket == Some(ticket)) {
            match &outcome {
                Ok((judgement, latency)) => {
                    (record.judgement, record.latency) = (Some(judgement.clone()), Some(*latency));
                }
                Err(Uninspected { picture, .. }) => record.picture_fault = *picture,
            }
        }
        for part in self.waiting_for(ticket) {
            let is_in_time = self.open.get(part).is_some_and(|open| self.is_in_time(open, at));
            match &outcome {
                Ok((judgement, _)) if judgement.rejects => {
                    self.decide(part, Verdict::Reject, at);
                    self.eject(part, at, actions);
                }
                Ok(_) if is_in_time => {
                    self.decide(part, Verdict::Pass, at);
                    self.close(part, Fate::Passed, at, actions);
                }
                Ok(_) => self.without_verdict(part, Unknown::Late, at, actions),
                Err(Uninspected { why, .. }) => {
                    self.without_verdict(part, Unknown::Faulted(why.clone()), at, actions);
                }
            }
        }
    }

    pub(super) fn lane_of(&self, open: &OpenPart) -> &LaneRules {
        &self.rules.lanes[open.lane().0]
    }

    /// The parts of a frame that have no verdict yet.
    fn waiting_for(&self, ticket: Ticket) -> Vec<PartId> {
        let of_ticket = self.open.iter().filter(|(_, open)| open.record.ticket == Some(ticket));
        of_ticket.filter(|(_, open)| open.wait() == Wait::Verdict).map(|(part, _)| part).collect()
    }

    pub(super) fn without_verdict(&mut self, part: PartId, why: Unknown, at: Monotonic, actions: &mut Vec<Action>) {
        let uninspected = matches!(why, Unknown::Skipped | Unknown::Lost);
        let named = self.named(part);
        let text = match why.detail() {
            Some(detail) => format!("{named} has no verdict: {} ({detail})", why.as_str()),
            None => format!("{named} has no verdict: {}", why.as_str()),
        };
        self.alarms.happened(Alarm::Uninspected, text, at, actions);
        self.decide(part, Verdict::Unknown(why), at);
        self.forget_unneeded(part, actions);
        if uninspected && self.rules.skipped == SkippedPolicy::Count {
            self.close(part, Fate::Unaccounted("it was not inspected, and is only counted".into()), at, actions);
        } else {
            self.eject(part, at, actions);
        }
    }

    pub(super) fn decide(&mut self, part: PartId, verdict: Verdict, at: Monotonic) {
        let planned = self.open.get(part).and_then(|open| self.planned_for(open, at));
        if let Some(record) = self.open.record(part) {
            record.verdict = verdict;
            record.planned = planned.unwrap_or(record.planned);
            record.slack_ms = record.planned.millis_since(at);
        }
    }

    /// Lets the ejector act when the part is before it, wherever it may lie, or says that this cannot be done any more.
    pub(super) fn eject(&mut self, part: PartId, at: Monotonic, actions: &mut Vec<Action>) {
        while self.eject_here(part, at, actions) {
            if !self.open.goes_on(part) {
                return self.settle(part, at, actions);
            }
        }
    }

    /// The same at the place that the part waits for; says whether nothing is left to do about that one.
    fn eject_here(&mut self, part: PartId, at: Monotonic, actions: &mut Vec<Action>) -> bool {
        let Some(open) = self.open.get(part) else { return false };
        let (planned, tolerance) = (self.planned_for(open, at), self.lane_of(open).ejector.tolerance);
        if open.record.stamp == StampSource::Doubtful || open.at_ejector().is_none() {
            let why = "nobody knows when it is before the ejector";
            self.missed(part, why.into(), at, actions);
            return false;
        }
        self.open.wait_for(part, Wait::Place);
        // The belt stands still, and brings it there when it moves again.
        let Some(planned) = planned else { return false };
        if at > planned + tolerance {
            let late = at.millis_since(planned);
            self.missed_at(part, planned);
            self.fails(part, format!("it was {late:.1} ms {PAST} when it was found bad"), at, actions);
            return true;
        }
        let is_near = self.is_near(planned, at);
        if is_near {
            self.order(part, planned, at, actions);
        }
        is_near
    }

    fn order(&mut self, part: PartId, planned: Monotonic, at: Monotonic, actions: &mut Vec<Action>) {
        let Some(open) = self.open.get(part) else { return };
        let (lane, ejector) = (open.lane(), self.lane_of(open).ejector);
        // Where the belt jumped over both of two places, one act is all that can be done.
        if open.pulses().unreported.contains(&planned) {
            return;
        }
        if let Some(most) = ejector.most_per_second
            && !has_room(&mut self.lanes[lane.0].orders, planned, &ejector, most)
        {
            let why = format!("the ejector acts at most {most} times in a second");
            return self.fails(part, why, at, actions);
        }
        let latest = planned + ejector.tolerance;
        let Some(pulses) = self.open.pulses(part) else { return };
        let is_first = pulses.unreported.is_empty() && pulses.acted.is_empty() && pulses.failed.is_none();
        pulses.unreported.push(planned);
        pulses.latest = latest;
        let Some(record) = self.open.record(part) else { return };
        if is_first {
            record.planned = planned;
        }
        let class = record.class.clone();
        let score = record.judgement.as_ref().map(|judgement| judgement.score);
        let pulse = ejector.dwell;
        actions.push(Action::Fire(super::Order { part, lane, class, score, at: planned, latest, pulse }));
    }

    /// The first of the acts on the part that fails is the one of which its record tells when it was due.
    fn missed_at(&mut self, part: PartId, planned: Monotonic) {
        let is_first = self.open.pulses(part).is_some_and(|pulses| pulses.failed.is_none());
        if let Some(record) = self.open.record(part).filter(|_| is_first) {
            record.planned = planned;
        }
    }

    /// One of the acts on the part cannot be done, or failed. The others are done before its fate is settled; that it is missed is told
    /// at once.
    fn fails(&mut self, part: PartId, why: String, at: Monotonic, actions: &mut Vec<Action>) {
        let Some(pulses) = self.open.pulses(part).filter(|pulses| pulses.failed.is_none()) else { return };
        pulses.failed = Some(why.clone());
        if !pulses.further.is_empty() || !pulses.unreported.is_empty() {
            self.tell_missed(part, &why, at, actions);
        }
    }

    /// All that can be ordered for the part is: its fate, or what is waited for.
    fn settle(&mut self, part: PartId, at: Monotonic, actions: &mut Vec<Action>) {
        let Some(open) = self.open.get(part) else { return };
        let (pulses, confirm) = (open.pulses(), self.lane_of(open).confirm);
        if !pulses.unreported.is_empty() {
            let until = pulses.latest.max(at) + REPORT_PATIENCE;
            return self.open.wait_for(part, Wait::Firing(until));
        }
        match (pulses.failed.clone(), pulses.acted.last(), confirm) {
            (Some(why), ..) => self.missed(part, why, at, actions),
            (None, Some(last), Some(confirm)) if open.record.confirmed.is_none() => {
                let until = *last + confirm.until + REPORT_PATIENCE / 10;
                self.open.wait_for(part, Wait::Confirmation(until));
            }
            _ => self.close(part, Fate::Rejected, at, actions),
        }
    }

    pub(super) fn fired(
        &mut self,
        part: PartId,
        result: Result<Monotonic, String>,
        at: Monotonic,
        actions: &mut Vec<Action>,
    ) {
        let tolerance = self.open.get(part).map(|open| self.lane_of(open).ejector.tolerance);
        // A report after the patience has ended cannot change a fate that is written down.
        let awaited = self.open.pulses(part).filter(|pulses| !pulses.unreported.is_empty());
        let (Some(pulses), Some(tolerance)) = (awaited, tolerance) else {
            return actions.push(Action::Note(format!("a report about part {part} came after its fate was settled")));
        };
        // Reports may be lost: one is about the last act that was due by then.
        let due = |fired: &Monotonic| {
            let due = pulses.unreported.iter().enumerate().filter(|(_, planned)| *planned <= fired);
            due.max_by_key(|(_, planned)| **planned).map(|(which, _)| which)
        };
        let which = result.as_ref().ok().and_then(due).unwrap_or_default();
        let planned = pulses.unreported.remove(which);
        if let Some(fired) = result.as_ref().ok().filter(|fired| **fired <= planned + tolerance) {
            pulses.acted.push(*fired);
        }
        if let Some(record) = self.open.record(part) {
            record.fired = record.fired.or(result.clone().ok());
        }
        match result {
            Ok(fired) if fired <= planned + tolerance => {}
            Ok(fired) => {
                let late = fired.millis_since(planned);
                self.fails(part, format!("the ejector acted {late:.1} ms late"), at, actions);
            }
            Err(why) => self.fails(part, format!("the ejector did not act: {why}"), at, actions),
        }
        if self.open.get(part).is_some_and(|open| matches!(open.wait(), Wait::Firing(_))) {
            self.settle(part, at, actions);
        }
    }

    /// The sensor in the lane's chute saw something at `at`.
    pub(super) fn confirmed(&mut self, lane: Lane, at: Monotonic, actions: &mut Vec<Action>) {
        let Some(confirm) = self.rules.lanes[lane.0].confirm else {
            return actions.push(Action::Note("a sensor confirms a reject, though none is configured".into()));
        };
        let fits = |fired: &&Monotonic| **fired + confirm.from <= at && at <= **fired + confirm.until;
        let waiting = self.open.iter().filter(|(_, open)| open.lane() == lane && open.record.confirmed.is_none());
        let first = waiting.filter_map(|(part, open)| Some((open.pulses().acted.iter().find(fits)?, part)));
        let Some((_, part)) = first.min() else {
            return actions.push(Action::Note("something fell into the chute that was not ejected".into()));
        };
        if let Some(record) = self.open.record(part) {
            record.confirmed = Some(at);
        }
        if self.open.get(part).is_some_and(|open| matches!(open.wait(), Wait::Confirmation(_))) {
            self.settle(part, at, actions);
        }
    }

    /// What a part waited for did not come.
    pub(super) fn waited_in_vain(&mut self, part: PartId, wait: Wait, at: Monotonic, actions: &mut Vec<Action>) {
        match wait {
            Wait::Frame => self.without_verdict(part, Unknown::Lost, at, actions),
            Wait::Verdict if self.is_free_running(part) => self.judge_followed(part, at, actions),
            Wait::Verdict => self.without_verdict(part, Unknown::Late, at, actions),
            Wait::Place => self.eject(part, at, actions),
            Wait::Firing(_) => self.missed(part, "the ejector gave no report".into(), at, actions),
            Wait::Confirmation(_) => self.unconfirmed(part, at, actions),
        }
    }

    fn unconfirmed(&mut self, part: PartId, at: Monotonic, actions: &mut Vec<Action>) {
        let why = "the ejector acted, but the sensor in the chute saw nothing fall".to_owned();
        let text = format!("{}: {why}", self.named(part));
        self.alarms.happened(Alarm::Unconfirmed, text.clone(), at, actions);
        let confirm = self.open.get(part).and_then(|open| self.lane_of(open).confirm);
        let missing = confirm.map(|confirm| confirm.missing).unwrap_or_default();
        self.close(part, Fate::Unaccounted(why), at, actions);
        self.follow(missing, text, actions);
    }

    pub(super) fn missed(&mut self, part: PartId, why: String, at: Monotonic, actions: &mut Vec<Action>) {
        self.tell_missed(part, &why, at, actions);
        self.close(part, Fate::Unaccounted(why), at, actions);
    }

    fn tell_missed(&mut self, part: PartId, why: &str, at: Monotonic, actions: &mut Vec<Action>) {
        let text = format!("{} was not rejected: {why}", self.named(part));
        self.alarms.happened(Alarm::MissedReject, text.clone(), at, actions);
        self.follow(self.rules.late, text, actions);
    }

    pub(super) fn close(&mut self, part: PartId, fate: Fate, at: Monotonic, actions: &mut Vec<Action>) {
        let Some(mut open) = self.open.remove(part) else { return };
        actions.extend(open.record.unneeded_views().map(Action::Forget));
        let (lane, is_bad) = (open.lane(), fate != Fate::Passed);
        open.record.fate = fate;
        let record = open.record;
        self.counters.count(&record);
        actions.push(Action::Record(Box::new(record.clone())));
        if record.challenge {
            // That it is bad says nothing of the process.
            return self.challenged(&record, at, actions);
        }
        if let Some(text) = self.lanes[lane.0].watch.add(is_bad) {
            let text = record.lane.map_or_else(|| text.clone(), |lane| format!("lane {lane}: {text}"));
            self.alarms.happened(Alarm::ManyRejects, text.clone(), at, actions);
            self.follow(self.rules.limits.exceeded, text, actions);
        }
    }

    /// Closes what is open: see [`super::Happening::Halt`].
    pub(super) fn halt(&mut self, at: Monotonic, actions: &mut Vec<Action>) {
        actions.push(Action::SetSafe);
        for (part, wait) in self.open.iter().map(|(part, open)| (part, open.wait())).collect::<Vec<_>>() {
            if matches!(wait, Wait::Frame | Wait::Verdict) {
                self.decide(part, Verdict::Unknown(Unknown::Stopped), at);
            }
            let why = match wait {
                Wait::Confirmation(_) => "the run ended before the sensor in the chute saw it",
                _ => "the run ended before the ejector could act on it",
            };
            let text = format!("{} was not rejected: {why}", self.named(part));
            self.alarms.happened(Alarm::MissedReject, text, at, actions);
            self.close(part, Fate::Unaccounted(why.into()), at, actions);
        }
        self.end_challenge(at, actions);
    }
}
