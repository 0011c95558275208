//! From a part's frame to its verdict, and from its verdict to its fate.

use std::time::Duration;

use super::alarms::Alarm;
use super::core::LineCore;
use super::open::{OpenPart, Wait};
use super::{Action, Fate, Judgement, Lane, LaneRules, Latency, PartId, SkippedPolicy, Ticket, Unknown, Verdict};
use crate::time::{Monotonic, StampSource};

/// How long after its latest moment a report of an ejector or a sensor is waited for.
const REPORT_PATIENCE: Duration = Duration::from_secs(1);

/// What an inspection came to.
pub(super) type Outcome = Result<(Judgement, Latency), String>;

impl LineCore {
    pub(super) fn skipped(&mut self, ticket: Ticket, at: Monotonic, actions: &mut Vec<Action>) {
        if let Some(part) = self.viewed(ticket) {
            // Where the core chooses among a part's frames, none gives way to a newer one.
            let why = "so many pictures of its lane waited that the oldest was given up: the inspection is too slow"
                .to_owned();
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
        if let Ok((judgement, latency)) = &outcome {
            for record in self.open.records().filter(|record| record.ticket == Some(ticket)) {
                (record.judgement, record.latency) = (Some(judgement.clone()), Some(*latency));
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
                Err(why) => self.without_verdict(part, Unknown::Faulted(why.clone()), at, actions),
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

    /// Lets the ejector act when the part is before it, or says that this cannot be done any more.
    pub(super) fn eject(&mut self, part: PartId, at: Monotonic, actions: &mut Vec<Action>) {
        let Some(open) = self.open.get(part) else { return };
        let (planned, tolerance) = (self.planned_for(open, at), self.lane_of(open).ejector.tolerance);
        if open.record.stamp == StampSource::Doubtful || open.at_ejector().is_none() {
            let why = "nobody knows when it is before the ejector";
            return self.missed(part, why.into(), at, actions);
        }
        self.open.wait_for(part, Wait::Place);
        let Some(planned) = planned else {
            // The belt stands still, and brings it there when it moves again.
            return;
        };
        if at > planned + tolerance {
            let late = at.millis_since(planned);
            return self.missed(
                part,
                format!("it was {late:.1} ms past the ejector when it was found bad"),
                at,
                actions,
            );
        }
        if self.is_near(planned, at) {
            self.order(part, planned, at, actions);
        }
    }

    fn order(&mut self, part: PartId, planned: Monotonic, at: Monotonic, actions: &mut Vec<Action>) {
        let Some(open) = self.open.get(part) else { return };
        let (lane, ejector) = (open.lane(), self.lane_of(open).ejector);
        if let Some(most) = ejector.most_per_second {
            let orders = &mut self.lanes[lane.0].orders;
            orders.retain(|order| planned.saturating_since(*order) < Duration::from_secs(1));
            if orders.len() >= most as usize {
                return self.missed(part, format!("the ejector acts at most {most} times in a second"), at, actions);
            }
            orders.push_back(planned);
        }
        let Some(record) = self.open.record(part) else { return };
        let latest = planned + ejector.tolerance;
        record.planned = planned;
        let class = record.class.clone();
        let score = record.judgement.as_ref().map(|judgement| judgement.score);
        self.open.wait_for(part, Wait::Firing(latest.max(at) + REPORT_PATIENCE));
        let pulse = ejector.dwell;
        actions.push(Action::Fire(super::Order { part, lane, class, score, at: planned, latest, pulse }));
    }

    pub(super) fn fired(
        &mut self,
        part: PartId,
        result: Result<Monotonic, String>,
        at: Monotonic,
        actions: &mut Vec<Action>,
    ) {
        // A report after the patience has ended cannot change a fate that is written down.
        let awaited = self.open.get(part).filter(|open| matches!(open.wait(), Wait::Firing(_)));
        let rules = awaited.map(|open| (self.lane_of(open).ejector.tolerance, self.lane_of(open).confirm));
        let (Some(record), Some((tolerance, confirm))) = (self.open.record(part), rules) else {
            return actions.push(Action::Note(format!("a report about part {part} came after its fate was settled")));
        };
        let fired = match result {
            Ok(fired) => fired,
            Err(why) => return self.missed(part, format!("the ejector did not act: {why}"), at, actions),
        };
        record.fired = Some(fired);
        let late = fired.millis_since(record.planned);
        if fired > record.planned + tolerance {
            return self.missed(part, format!("the ejector acted {late:.1} ms late"), at, actions);
        }
        match confirm {
            Some(confirm) => {
                self.open.wait_for(part, Wait::Confirmation(fired + confirm.until + REPORT_PATIENCE / 10));
            }
            None => self.close(part, Fate::Rejected, at, actions),
        }
    }

    /// The sensor in the lane's chute saw something at `at`.
    pub(super) fn confirmed(&mut self, lane: Lane, at: Monotonic, actions: &mut Vec<Action>) {
        let Some(confirm) = self.rules.lanes[lane.0].confirm else {
            return actions.push(Action::Note("a sensor confirms a reject, though none is configured".into()));
        };
        let fits = |fired: Monotonic| fired + confirm.from <= at && at <= fired + confirm.until;
        let waits = |open: &OpenPart| open.lane() == lane && matches!(open.wait(), Wait::Confirmation(_));
        let waiting = self.open.iter().filter(|(_, open)| waits(open));
        let first =
            waiting.filter_map(|(part, open)| Some((open.record.fired?, part))).filter(|(fired, _)| fits(*fired));
        let Some((_, part)) = first.min() else {
            return actions.push(Action::Note("something fell into the chute that was not ejected".into()));
        };
        if let Some(record) = self.open.record(part) {
            record.confirmed = Some(at);
        }
        self.close(part, Fate::Rejected, at, actions);
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
        let text = format!("{} was not rejected: {why}", self.named(part));
        self.alarms.happened(Alarm::MissedReject, text.clone(), at, actions);
        self.close(part, Fate::Unaccounted(why), at, actions);
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
