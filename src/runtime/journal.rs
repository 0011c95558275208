//! What the operator's log says of a run: each part that did not pass, and now and then how the line does.

use std::time::Duration;

use super::standing::Standing;
use super::summary::Tally;
use crate::line::{Counters, Fate, PartRecord, Verdict};
use crate::time::Monotonic;

/// From one line about the state to the next.
const INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Journal {
    /// When the state is told next; `None`: the log tells neither of parts nor of the state.
    due: Option<Monotonic>,
    /// The parts when it was told last.
    parts: u64,
}

impl Journal {
    pub(super) fn new(enabled: bool) -> Self {
        Journal { due: enabled.then(|| Monotonic::now() + INTERVAL), parts: 0 }
    }

    pub(super) fn part(&self, record: &PartRecord) {
        let level = match (self.due, &record.fate) {
            (None, _) | (_, Fate::Passed) => log::Level::Debug,
            _ => log::Level::Info,
        };
        log::log!(level, "{}", told(record));
    }

    /// Tells how the line does, when it is time to.
    pub(super) fn state(&mut self, now: Monotonic, counters: &Counters, tally: &Tally, standing: &Standing) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        self.due = Some(now + INTERVAL);
        let Counters { parts, passed, rejected, unaccounted, .. } = *counters;
        let new = parts - std::mem::replace(&mut self.parts, parts);
        log::info!(
            "{new} parts in the last minute; {parts} in all: {passed} passed, {rejected} rejected, {unaccounted} \
             unaccounted; verdict after {}",
            tally.latency()
        );
        if !standing.is_empty() {
            log::warn!("alarms that stand: {standing}");
        }
    }
}

fn told(record: &PartRecord) -> String {
    let mut text = format!("part {}", record.part);
    text.extend(record.lane.as_ref().map(|lane| format!(" of lane {lane}")));
    if !record.origin.is_empty() {
        text.push_str(&format!(" ({})", record.origin));
    }
    text.push_str(&format!(": {}", record.verdict.as_str()));
    if let Verdict::Unknown(why) = &record.verdict {
        text.push_str(&format!(", {}", why.as_str()));
        text.extend(why.detail().map(|detail| format!(" ({detail})")));
    }
    if let Some(judgement) = &record.judgement {
        text.push_str(&format!(", score {:.3} (threshold {:.3})", judgement.score, judgement.threshold));
    }
    text.push_str(&format!(" -> {}", record.fate.as_str()));
    if let Fate::Unaccounted(why) = &record.fate {
        text.push_str(&format!(": {why}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::line::{Evidence, Judgement, PartId, Unknown};
    use crate::time::StampSource;

    #[test]
    fn a_part_is_told_with_what_decided_it() {
        let mut record = PartRecord {
            part: PartId(7),
            lane: None,
            ticket: None,
            frame: Some(9),
            seen: None,
            origin: "lid.png".into(),
            class: "lid".into(),
            captured: Monotonic::default(),
            stamp: StampSource::Received,
            planned: Monotonic::default(),
            judgement: Some(Judgement {
                score: 1.5,
                threshold: 1.25,
                rejects: true,
                calibration: Digest::zero(),
                evidence: Evidence::default(),
            }),
            picture_fault: None,
            latency: None,
            views: Vec::new(),
            verdict: Verdict::Reject,
            slack_ms: 0.0,
            fired: None,
            confirmed: None,
            challenge: false,
            fate: Fate::Rejected,
        };
        assert_eq!(told(&record), "part 7 (lid.png): reject, score 1.500 (threshold 1.250) -> rejected");
        record.verdict = Verdict::Unknown(Unknown::Broken("cut off".into()));
        record.judgement = None;
        record.lane = Some("left".into());
        record.fate = Fate::Unaccounted("the ejector gave no report".into());
        assert_eq!(
            told(&record),
            "part 7 of lane left (lid.png): unknown, broken (cut off) -> unaccounted: the ejector gave no report"
        );
    }
}
