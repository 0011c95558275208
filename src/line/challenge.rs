//! Known bad pieces that a person sends past the camera, to see whether the line still rejects them.

use std::sync::Arc;
use std::time::Duration;

use super::alarms::Alarm;
use super::core::LineCore;
use super::{Action, Fate, PartId, PartRecord, Verdict};
use crate::time::Monotonic;

/// What a person announces: the next parts are known to be bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// How many.
    pub pieces: u32,
    /// The lane in which they are sent; `None`: whichever they come in.
    pub lane: Option<Arc<str>>,
    /// Those that did not come within this time were not seen.
    pub within: Duration,
    /// Who says so.
    pub by: String,
}

/// How a challenge goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChallengeNews {
    /// The next parts that are found are its pieces.
    Begun(Challenge),
    /// It cannot begin, for the reason given.
    Refused(Challenge, String),
    /// A piece has its fate: the inspection found it bad and it left the belt, or not, for the reason given.
    Piece(PartId, Result<(), String>),
    /// It is over.
    Ended(Challenge, Outcome),
}

/// What a challenge came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Pieces that were found bad and left the belt.
    pub caught: Vec<PartId>,
    /// Pieces that were not, and why.
    pub missed: Vec<(PartId, String)>,
    /// Pieces that never came, or have no fate yet.
    pub absent: u32,
}

impl Outcome {
    /// Whether every piece was caught.
    pub fn is_passed(&self) -> bool {
        self.missed.is_empty() && self.absent == 0
    }
}

/// A challenge that is under way.
#[derive(Debug)]
pub(super) struct Trial {
    challenge: Challenge,
    until: Monotonic,
    /// Parts before this one are none of its pieces.
    first: PartId,
    /// Pieces that may still be found.
    awaited: u32,
    outcome: Outcome,
}

impl Trial {
    pub(super) fn until(&self) -> Monotonic {
        self.until
    }

    /// Whether a part that is found now in that lane is one of its pieces.
    pub(super) fn takes(&mut self, lane: Option<&Arc<str>>) -> bool {
        let takes = self.awaited > 0 && self.challenge.lane.as_ref().is_none_or(|own| Some(own) == lane);
        self.awaited -= u32::from(takes);
        takes
    }

    fn settled(&self) -> u32 {
        (self.outcome.caught.len() + self.outcome.missed.len()) as u32
    }

    /// Whether every piece has its fate, or is known not to come.
    fn is_over(&self) -> bool {
        self.settled() + self.outcome.absent == self.challenge.pieces
    }
}

/// Whether the line did with a bad piece what it is there for. A piece that was rejected without a verdict was not recognised.
fn caught(record: &PartRecord) -> Result<(), String> {
    match (&record.verdict, &record.fate) {
        (Verdict::Reject, Fate::Rejected) => Ok(()),
        (Verdict::Pass, _) => Err("it was found good, and passed".into()),
        (_, Fate::Unaccounted(why)) => Err(why.clone()),
        (verdict, fate) => Err(format!("it is {}, though its verdict was {}", fate.as_str(), verdict.as_str())),
    }
}

impl LineCore {
    /// A person announces bad pieces.
    pub(super) fn challenge(&mut self, challenge: Challenge, at: Monotonic, actions: &mut Vec<Action>) {
        if let Some(why) = self.refuses_challenge() {
            return actions.push(Action::Challenge(ChallengeNews::Refused(challenge, why)));
        }
        let names = self.rules.lanes.iter().filter_map(|lane| lane.name.as_ref()).collect::<Vec<_>>();
        if let Some(lane) = challenge.lane.as_ref().filter(|lane| !names.contains(lane)) {
            let known = names.iter().map(|name| &***name).collect::<Vec<_>>().join(", ");
            let why = match known.as_str() {
                "" => format!("there is no lane '{lane}': this belt has none"),
                known => format!("there is no lane '{lane}', only: {known}"),
            };
            return actions.push(Action::Challenge(ChallengeNews::Refused(challenge, why)));
        }
        actions.push(Action::Challenge(ChallengeNews::Begun(challenge.clone())));
        let until = at + challenge.within;
        let (first, awaited) = (PartId(self.next), challenge.pieces);
        self.trial = Some(Trial { challenge, until, first, awaited, outcome: Outcome::default() });
    }

    fn refuses_challenge(&self) -> Option<String> {
        let under_way = |trial: &Trial| {
            let (by, pieces) = (&trial.challenge.by, trial.challenge.pieces);
            format!("one by {by} is under way: {} of its {pieces} pieces have their fate", trial.settled())
        };
        self.trial.as_ref().map(under_way).or_else(|| self.is_closing.then(|| "the run ends".into()))
    }

    /// A piece has its fate.
    pub(super) fn challenged(&mut self, record: &PartRecord, at: Monotonic, actions: &mut Vec<Action>) {
        // A piece of a challenge that is over may have its fate later.
        let Some(trial) = self.trial.as_mut().filter(|trial| trial.first <= record.part) else { return };
        let caught = caught(record);
        match &caught {
            Ok(()) => trial.outcome.caught.push(record.part),
            Err(why) => trial.outcome.missed.push((record.part, why.clone())),
        }
        let is_last = trial.is_over();
        if let Err(why) = &caught {
            let text = format!("a known bad piece was not caught: part {}: {why}", record.part);
            self.alarms.begins(Alarm::Challenge, text, actions);
        }
        actions.push(Action::Challenge(ChallengeNews::Piece(record.part, caught)));
        if is_last {
            self.end_challenge(at, actions);
        }
    }

    /// Pieces that did not come so far never will.
    pub(super) fn expect_no_more_pieces(&mut self, at: Monotonic, actions: &mut Vec<Action>) {
        let Some(trial) = &mut self.trial else { return };
        trial.outcome.absent += std::mem::take(&mut trial.awaited);
        if trial.is_over() {
            self.end_challenge(at, actions);
        }
    }

    /// All pieces have their fates, or no more are waited for.
    pub(super) fn end_challenge(&mut self, at: Monotonic, actions: &mut Vec<Action>) {
        let Some(Trial { challenge, mut outcome, .. }) = self.trial.take() else { return };
        outcome.absent = challenge.pieces - (outcome.caught.len() + outcome.missed.len()) as u32;
        if outcome.absent > 0 {
            let text = format!("of {} known bad pieces {} were not seen", challenge.pieces, outcome.absent);
            self.alarms.begins(Alarm::Challenge, text, actions);
        }
        // It stands until a challenge is passed.
        if outcome.is_passed() {
            self.alarms.is_over(Alarm::Challenge, at);
        }
        actions.push(Action::Challenge(ChallengeNews::Ended(challenge, outcome)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::tests::{Bench, at_ms, rules};
    use crate::line::{Happening, Limits, Rules};

    fn bench() -> Bench {
        Bench::new(Rules { limits: Limits { in_a_row: Some(2), ..Limits::default() }, ..rules() })
    }

    fn begin(bench: &mut Bench, ms: u64, pieces: u32) -> Vec<ChallengeNews> {
        let within = Duration::from_secs(60);
        news(&bench.tell(ms, Happening::Challenged(Challenge { pieces, lane: None, within, by: "Anna".into() })))
    }

    fn news(actions: &[Action]) -> Vec<ChallengeNews> {
        let news = |action: &Action| match action {
            Action::Challenge(news) => Some(news.clone()),
            _ => None,
        };
        actions.iter().filter_map(news).collect()
    }

    /// A part from its frame to its fate: what follows from its last event.
    fn part(bench: &mut Bench, ticket: u64, ms: u64, is_bad: bool) -> Vec<Action> {
        bench.frame(ticket, ms);
        let judged = bench.judged(ticket, ms + 10, is_bad);
        match is_bad {
            false => judged,
            true => bench.tell(ms + 150, Happening::Fired(PartId(ticket), Ok(at_ms(ms + 150)))),
        }
    }

    fn alarms(actions: &[Action]) -> Vec<Alarm> {
        let alarm = |action: &Action| match action {
            Action::RaiseAlarm(alarm, _) => Some(*alarm),
            _ => None,
        };
        actions.iter().filter_map(alarm).collect()
    }

    #[test]
    fn a_challenge_is_passed_when_the_next_parts_are_all_found_bad_and_rejected() {
        let mut bench = bench();
        bench.frame(0, 0);
        assert!(matches!(begin(&mut bench, 0, 3)[..], [ChallengeNews::Begun(_)]));
        bench.judged(0, 10, false);
        let mut told = Vec::new();
        for (ticket, ms) in [(1, 200), (2, 400), (3, 600)] {
            told.extend(part(&mut bench, ticket, ms, true));
        }
        let Some(ChallengeNews::Ended(_, outcome)) = news(&told).pop() else { panic!("it has no end") };
        assert!(outcome.is_passed(), "{outcome:?}");
        assert_eq!(outcome.caught, [1, 2, 3].map(PartId), "the part that was on the belt before is none of them");
        assert_eq!(alarms(&told), [], "three rejects in a row say nothing of the process here");
        assert!(matches!(begin(&mut bench, 1000, 1)[..], [ChallengeNews::Begun(_)]), "another can follow");
    }

    #[test]
    fn a_missed_piece_is_an_alarm_until_a_challenge_is_passed() {
        let mut bench = bench();
        begin(&mut bench, 0, 2);
        let missed = part(&mut bench, 0, 200, false);
        assert_eq!(alarms(&missed), [Alarm::Challenge]);
        let Some(ChallengeNews::Ended(_, outcome)) = news(&part(&mut bench, 1, 400, true)).pop() else {
            panic!("it has no end")
        };
        assert_eq!((outcome.missed.len(), outcome.caught), (1, vec![PartId(1)]));
        let late = bench.tell(100_000, Happening::Tick);
        assert!(!late.contains(&Action::ClearAlarm(Alarm::Challenge)), "it stands");
        begin(&mut bench, 100_100, 1);
        part(&mut bench, 2, 100_200, true);
        assert!(bench.tell(120_000, Happening::Tick).contains(&Action::ClearAlarm(Alarm::Challenge)));
    }

    #[test]
    fn pieces_that_do_not_come_were_not_seen() {
        let mut bench = bench();
        begin(&mut bench, 0, 2);
        assert!(matches!(begin(&mut bench, 10, 1)[..], [ChallengeNews::Refused(..)]), "one at a time");
        part(&mut bench, 0, 200, true);
        assert_eq!(bench.core.next_wakeup(), Some(at_ms(60_000)));
        let told = bench.tell(60_000, Happening::Tick);
        let [ChallengeNews::Ended(_, outcome)] = &news(&told)[..] else { panic!("{told:?}") };
        assert_eq!((outcome.absent, outcome.is_passed(), alarms(&told)), (1, false, vec![Alarm::Challenge]));
    }

    #[test]
    fn a_run_that_ends_waits_for_the_pieces_that_are_on_the_belt_alone() {
        let mut bench = bench();
        begin(&mut bench, 0, 3);
        bench.frame(0, 200);
        assert_eq!(news(&bench.tell(210, Happening::NoMoreParts)), []);
        bench.judged(0, 220, true);
        let told = bench.tell(350, Happening::Fired(PartId(0), Ok(at_ms(350))));
        let Some(ChallengeNews::Ended(_, outcome)) = news(&told).pop() else { panic!("it has no end") };
        assert_eq!((outcome.caught.len(), outcome.absent), (1, 2));
        assert!(matches!(begin(&mut bench, 400, 1)[..], [ChallengeNews::Refused(..)]), "no part will come");
    }

    #[test]
    fn a_challenge_whose_sender_went_away_takes_no_further_part() {
        let mut bench = bench();
        begin(&mut bench, 0, 3);
        bench.frame(0, 200);
        bench.tell(210, Happening::Withdrawn);
        bench.frame(1, 220);
        bench.judged(0, 230, true);
        let told = bench.tell(350, Happening::Fired(PartId(0), Ok(at_ms(350))));
        let Some(ChallengeNews::Ended(_, outcome)) = news(&told).pop() else { panic!("it has no end") };
        assert_eq!((outcome.caught, outcome.absent), (vec![PartId(0)], 2));
        assert_eq!(alarms(&told), [Alarm::Challenge]);
        assert!(matches!(begin(&mut bench, 400, 1)[..], [ChallengeNews::Begun(_)]), "another can follow");
        assert_eq!(news(&bench.tell(500, Happening::Withdrawn)).len(), 1);
    }
}
