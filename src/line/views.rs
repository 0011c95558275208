//! From the frames of one part to its one verdict, where parts are found in the picture.

use super::core::LineCore;
use super::fate::Outcome;
use super::open::{Middles, Wait};
use super::{Action, Combine, Fate, Find, FreeRun, Judgement, Length, PartId, PartRecord, Ticket, Unknown, Verdict};
use crate::time::Monotonic;

impl PartRecord {
    fn view(&mut self, ticket: Ticket) -> Option<&mut super::View> {
        self.views.iter_mut().find(|view| view.ticket == ticket)
    }

    fn is_judged(&self, ticket: Ticket) -> bool {
        self.views.iter().any(|view| view.ticket == ticket && view.outcome.is_some())
    }

    /// Whether an inspection has not ended.
    fn awaits_views(&self) -> bool {
        self.views.iter().any(|view| view.outcome.is_none())
    }

    /// The scores of the frames that were judged.
    fn scores(&self) -> impl Iterator<Item = f32> {
        self.views.iter().filter_map(|view| view.outcome.as_ref()?.as_ref().ok().copied())
    }

    /// Views that wait for their inspection, other than the one that shows what the part was like.
    pub(super) fn unneeded_views(&self) -> impl Iterator<Item = Ticket> {
        let waiting = self.views.iter().filter(|view| view.outcome.is_none() && Some(view.ticket) != self.ticket);
        waiting.map(|view| view.ticket)
    }
}

/// A score that is not a number is worse than any other.
fn is_worse(score: f32, than: f32) -> bool {
    !than.is_nan() && (score.is_nan() || score > than)
}

impl LineCore {
    /// The open part that has that picture among several.
    pub(super) fn viewed(&self, ticket: Ticket) -> Option<PartId> {
        let has = |record: &PartRecord| record.views.iter().any(|view| view.ticket == ticket);
        self.open.iter().find(|(_, open)| has(&open.record)).map(|(part, _)| part)
    }

    fn free_run(&self, part: PartId) -> Option<FreeRun> {
        match self.lane_of(self.open.get(part)?).find {
            Find::FreeRun(rules) => Some(rules),
            Find::EveryFrame | Find::PhotoEye(_) => None,
        }
    }

    /// Whether the part was found in the picture.
    pub(super) fn is_free_running(&self, part: PartId) -> bool {
        self.free_run(part).is_some()
    }

    /// One of the part's frames was judged, or could not be.
    pub(super) fn view_inspected(
        &mut self,
        part: PartId,
        ticket: Ticket,
        outcome: Outcome,
        at: Monotonic,
        actions: &mut Vec<Action>,
    ) {
        let is_decided = self.open.get(part).is_some_and(|open| open.wait() != Wait::Verdict);
        let Some(record) = self.open.record(part) else { return };
        let Some(view) = record.view(ticket) else { return };
        let (frame, captured) = (view.frame, view.captured);
        view.outcome = Some(outcome.as_ref().map(|(judgement, _)| judgement.score).map_err(Clone::clone));
        // The part's record shows it as it was worst; what comes too late to count changes nothing but where there was nothing.
        let is_shown = match &outcome {
            Ok(_) if is_decided && record.judgement.is_some() => false,
            Ok((judgement, latency)) => {
                let is_first = record.judgement.is_none();
                let worst = record.judgement.get_or_insert_with(|| judgement.clone());
                let is_shown = is_first || is_worse(judgement.score, worst.score);
                if is_shown {
                    *worst = judgement.clone();
                    record.latency = Some(*latency);
                }
                is_shown
            }
            Err(_) => false,
        };
        // It is told of the frame that the record shows alone; each frame has its own beside it.
        if is_shown || record.ticket == Some(ticket) {
            record.picture_fault = outcome.as_ref().err().and_then(|uninspected| uninspected.picture);
        }
        let shown = record.ticket;
        match (is_shown, shown) {
            // One that waits for its inspection still may be the worst.
            (true, Some(before)) if before != ticket && record.is_judged(before) => {
                actions.push(Action::Forget(before))
            }
            (false, Some(shown)) if shown != ticket => actions.push(Action::Forget(ticket)),
            _ => {}
        }
        if is_shown {
            (record.ticket, record.frame, record.captured) = (Some(ticket), Some(frame), captured);
        }
        self.conclude(part, at, actions);
    }

    /// What was chosen of a part that is decided, and nobody will look at.
    pub(super) fn forget_unneeded(&self, part: PartId, actions: &mut Vec<Action>) {
        let unneeded = self.open.get(part).into_iter().flat_map(|open| open.record.unneeded_views());
        actions.extend(unneeded.map(Action::Forget));
    }

    /// Decides about the part once no further frame can.
    pub(super) fn conclude(&mut self, part: PartId, at: Monotonic, actions: &mut Vec<Action>) {
        let Some(open) = self.open.get(part) else { return };
        // What is doubted is rejected whatever its frames show.
        let is_known = open.followed().doubt.is_some() || !open.record.awaits_views();
        if open.wait() == Wait::Verdict && open.followed().is_past && is_known {
            self.judge_followed(part, at, actions);
        }
    }

    /// Decides about the part by what is known of it now.
    pub(super) fn judge_followed(&mut self, part: PartId, at: Monotonic, actions: &mut Vec<Action>) {
        let (Some(rules), Some(open)) = (self.free_run(part), self.open.get(part)) else { return };
        let is_in_time = self.is_in_time(open, at);
        if let Some(why) = open.followed().doubt.clone() {
            return self.reject_stretch(part, Unknown::Unfollowed(why), at, actions);
        }
        match combined(&open.record, rules) {
            Some(judgement) => {
                // What one of its frames could not tell nobody knows of the part.
                let has_failed = open.record.views.iter().any(|view| matches!(view.outcome, Some(Err(_))));
                let is_enough = open.record.scores().count() >= rules.frames as usize && !has_failed;
                let rejects = judgement.rejects;
                let why = uninspected(&open.record);
                if let Some(record) = self.open.record(part) {
                    record.judgement = Some(judgement);
                }
                match (rejects, is_enough, is_in_time) {
                    // That a part is bad needs no further frames.
                    (true, ..) => {
                        self.decide(part, Verdict::Reject, at);
                        self.forget_unneeded(part, actions);
                        self.eject(part, at, actions);
                    }
                    (false, false, _) => self.without_verdict(part, why, at, actions),
                    (false, true, false) => self.without_verdict(part, Unknown::Late, at, actions),
                    (false, true, true) => {
                        self.decide(part, Verdict::Pass, at);
                        self.close(part, Fate::Passed, at, actions);
                    }
                }
            }
            // It may be that no frame showed it whole.
            None => {
                let why = uninspected(&open.record);
                self.reject_stretch(part, why, at, actions);
            }
        }
    }

    /// Nobody can say whether it is good, nor always where it begins and ends: it is rejected wherever it may lie.
    pub(super) fn reject_stretch(&mut self, part: PartId, why: Unknown, at: Monotonic, actions: &mut Vec<Action>) {
        let places = self.places_to_hit(part);
        self.open.spread(part, &places);
        self.without_verdict(part, why, at, actions);
    }

    /// Where the ejector must act so that it hits each part whose middle may be there: the next pulse begins when the one before ends.
    /// How far the belt goes in one is only known where its speed is; else none is farther from the middle of a part than that is long.
    fn places_to_hit(&self, part: PartId) -> Vec<Length> {
        let (Some(rules), Some(open)) = (self.free_run(part), self.open.get(part)) else { return Vec::new() };
        let Some(Middles { first, last, least }) = open.followed().middles else { return Vec::new() };
        let reach = self.belt.least_way(self.lane_of(open).ejector.dwell).min(rules.longest);
        let step = rules.shortest.max(reach).max(Length::from_nm(least.as_nm() / 2)).as_nm().max(1);
        let way = (last - first).as_nm().max(0);
        let pulses = (way + step - 1).div_euclid(step).max(1);
        (0..pulses).map(|k| first + Length::from_nm(way / pulses * k)).collect()
    }
}

/// Why a part was judged by too few frames.
fn uninspected(record: &PartRecord) -> Unknown {
    if record.awaits_views() {
        return Unknown::Late;
    }
    let failed = record.views.iter().rev().find_map(|view| view.outcome.as_ref()?.as_ref().err());
    failed.map_or(Unknown::Lost, |uninspected| Unknown::Faulted(uninspected.why.clone()))
}

/// What its frames come to together: the evidence is that of the worst.
fn combined(record: &PartRecord, rules: FreeRun) -> Option<Judgement> {
    let worst = record.judgement.clone()?;
    match rules.combine {
        Combine::Max => Some(worst),
        Combine::Mean => {
            let (sum, count) =
                record.scores().fold((0.0, 0.0), |(sum, count), score| (sum + f64::from(score), count + 1.0));
            let score = (sum / count) as f32;
            // A score that is not a number rejects.
            let rejects = score.is_nan() || score > worst.threshold;
            Some(Judgement { score, rejects, ..worst })
        }
    }
}
