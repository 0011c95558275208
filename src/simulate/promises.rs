//! What must hold, looked at after every event.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use crate::line::{
    Action, Alarm, Challenge, ChallengeNews, Combine, Consequence, Device, Drive, Event, Fate, Find, FreeRun,
    Happening, Lane, Order, PartId, PartRecord, Rules, Ticket, Unknown, Verdict,
};
use crate::time::{Monotonic, StampSource};

/// What must hold and did not.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// The seed that shows it.
    pub seed: u64,
    /// When, on the simulated clock.
    pub at: Monotonic,
    /// What does not hold.
    pub what: String,
    /// The events that lead to it, the last one last.
    pub events: Vec<Event>,
    /// Whether these alone break the promise, and are as few as could be found. Else only the true belt shows that it is broken,
    /// and they are the last ones of which the core was told.
    pub are_enough: bool,
    /// What did not work shortly before.
    pub spells: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} at {}: {}", self.seed, self.at, self.what)?;
        writeln!(
            f,
            "{}",
            match (self.are_enough, self.events.is_empty()) {
                (true, _) => "events that lead to it:",
                (false, true) => "no event leads to it: the core was told of nothing since it began",
                (false, false) =>
                    "only the belt shows it, so no fewer events are looked for; the last of what the core was told:",
            }
        )?;
        for event in &self.events {
            writeln!(f, "  {}  {:?}", event.at, event.what)?;
        }
        self.spells.iter().try_for_each(|spell| writeln!(f, "what did not work: {spell}"))
    }
}

/// Follows one core from its first event to its last.
pub(super) struct Promises {
    rules: Rules,
    alarms: BTreeSet<Alarm>,
    /// The lane that the frame shows.
    shows: HashMap<Ticket, Lane>,
    /// What the inspection said of the frame: its score, and whether it is rejected.
    said: HashMap<Ticket, (f32, bool)>,
    orders: HashMap<PartId, Vec<Order>>,
    fired: HashMap<PartId, Vec<Monotonic>>,
    recorded: HashSet<PartId>,
    /// The challenge that is under way.
    challenge: Option<Challenge>,
    /// Known bad pieces that are on record as found bad and ejected.
    caught: HashSet<PartId>,
}

type Held = Result<(), String>;

/// What of an event matters when the core has acted upon it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// The sensor in that lane's chute saw something fall.
    Confirmed(Lane),
    Interrupted,
    Halt,
    Other,
}

impl Promises {
    pub(super) fn new(rules: &Rules) -> Self {
        Promises {
            rules: rules.clone(),
            alarms: BTreeSet::new(),
            shows: HashMap::new(),
            said: HashMap::new(),
            orders: HashMap::new(),
            fired: HashMap::new(),
            recorded: HashSet::new(),
            challenge: None,
            caught: HashSet::new(),
        }
    }

    /// What the core is told next.
    pub(super) fn hear(&mut self, event: &Event) -> Heard {
        match &event.what {
            Happening::Captured(sighting) | Happening::Broken(sighting, _) => {
                self.shows.insert(sighting.ticket, sighting.lane);
            }
            Happening::Showed(sighting, showing) => {
                let views = showing.spans.iter().filter_map(|span| span.view);
                self.shows.extend(views.map(|view| (view, sighting.lane)));
            }
            Happening::Inspected(ticket, Ok((judgement, _))) => {
                self.said.insert(*ticket, (judgement.score, judgement.rejects));
            }
            Happening::Fired(part, result) => {
                self.fired.entry(*part).or_default().extend(result.as_ref().ok());
            }
            Happening::Confirmed(lane) => return Heard::Confirmed(*lane),
            Happening::Interrupted(_) => return Heard::Interrupted,
            Happening::Halt => return Heard::Halt,
            _ => {}
        }
        Heard::Other
    }

    /// Looks at what the core did upon what it was told.
    pub(super) fn look(&mut self, heard: Heard, actions: &[Action]) -> Held {
        let stops = actions.iter().any(|action| matches!(action, Action::StopLine(_)));
        let must_stop = self.rules.late == Consequence::StopLine && heard != Heard::Halt;
        if heard == Heard::Interrupted && (!actions.iter().any(tells_of_missed) || must_stop && !stops) {
            return Err("the run before ended without a word, and nothing follows".into());
        }
        for action in actions {
            match action {
                Action::RaiseAlarm(alarm, _) if !self.alarms.insert(*alarm) => {
                    return Err(format!("alarm {alarm} is raised twice"));
                }
                Action::RaiseAlarm(alarm, _) if self.stops_for(*alarm) && !stops => {
                    return Err(format!("alarm {alarm} is raised, and the line does not stop"));
                }
                Action::ClearAlarm(alarm) if !self.alarms.remove(alarm) => {
                    return Err(format!("alarm {alarm} ends, and was not raised"));
                }
                Action::Forget(ticket) => drop(self.shows.remove(ticket)),
                Action::Fire(order) => self.ordered(order)?,
                Action::Challenge(news) => self.challenged(news)?,
                Action::Record(record) => {
                    self.recorded(record, heard)?;
                    if is_missed(record) && must_stop && !stops {
                        return Err(format!("part {} was missed, and the line does not stop", record.part));
                    }
                    if self.stops_for_unseen(record) && heard != Heard::Halt && !stops {
                        let part = record.part;
                        return Err(format!("no sensor saw part {part} in the chute, and the line does not stop"));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the line stops with that alarm.
    fn stops_for(&self, alarm: Alarm) -> bool {
        let consequence = match alarm {
            Alarm::BinFull => self.rules.bin_full,
            Alarm::ManyRejects => self.rules.limits.exceeded,
            _ => Consequence::Count,
        };
        consequence == Consequence::StopLine
    }

    /// Whether the line stops because the sensor in the chute did not see this part.
    fn stops_for_unseen(&self, record: &PartRecord) -> bool {
        let lane = self.rules.lanes.iter().find(|lane| lane.name == record.lane);
        let missing = lane.and_then(|lane| lane.confirm).map(|confirm| confirm.missing);
        missing == Some(Consequence::StopLine) && matches!(&record.fate, Fate::Unaccounted(why) if why.contains(UNSEEN))
    }

    fn ordered(&mut self, order: &Order) -> Held {
        if self.recorded.contains(&order.part) {
            return Err(format!("part {} is to be rejected after its fate was written down", order.part));
        }
        self.orders.entry(order.part).or_default().push(order.clone());
        Ok(())
    }

    fn recorded(&mut self, record: &PartRecord, heard: Heard) -> Held {
        let part = record.part;
        if !self.recorded.insert(part) {
            return Err(format!("part {part} has two records"));
        }
        let asked = self.challenge.as_ref().and_then(|challenge| challenge.lane.as_ref());
        if record.challenge && asked.is_some_and(|lane| Some(lane) != record.lane.as_ref()) {
            return Err(format!("part {part} is a piece of a challenge of another lane"));
        }
        if record.challenge && (&record.verdict, &record.fate) == (&Verdict::Reject, &Fate::Rejected) {
            self.caught.insert(part);
        }
        let orders = self.orders.remove(&part).unwrap_or_default();
        let shown = record.ticket.and_then(|ticket| self.shows.remove(&ticket));
        self.of_its_lane(record, shown, orders.first())?;
        // What no frame showed whole may lie anywhere in a stretch of the belt: all of that is hit.
        let may_be_anywhere = matches!(record.verdict, Verdict::Unknown(_)) && self.free_run(record).is_some();
        if orders.len() > 1 && !may_be_anywhere {
            return Err(format!("part {part} is rejected twice"));
        }
        let fired = self.fired.remove(&part).unwrap_or_default();
        let said = match self.free_run(record) {
            None => record.ticket.and_then(|ticket| Some(self.said.get(&ticket)?.1)),
            Some(rules) => self.said_together(record, rules),
        };
        match (&record.verdict, &record.fate) {
            (Verdict::Pass, Fate::Passed) => self.passed(record, &orders, said),
            (Verdict::Pass, fate) => Err(format!("good part {part} is {}", fate.as_str())),
            (verdict, Fate::Passed) => Err(format!("part {part}, {}, was passed", verdict.as_str())),
            (_, Fate::Rejected) => self.rejected(record, &orders, &fired, heard),
            (_, Fate::Unaccounted(_)) => self.unaccounted(record),
        }
    }

    fn free_run(&self, record: &PartRecord) -> Option<FreeRun> {
        match self.rules.lanes.iter().find(|lane| lane.name == record.lane)?.find {
            Find::FreeRun(rules) => Some(rules),
            Find::EveryFrame | Find::PhotoEye(_) => None,
        }
    }

    /// What the frames of a part come to, by what was said of each; `None` where too few were judged.
    fn said_together(&self, record: &PartRecord, rules: FreeRun) -> Option<bool> {
        let said = record.views.iter().filter_map(|view| self.said.get(&view.ticket)).collect::<Vec<_>>();
        if said.len() < rules.frames as usize {
            return None;
        }
        let mean = said.iter().map(|(score, _)| score).sum::<f32>() / said.len() as f32;
        let threshold = record.judgement.as_ref()?.threshold;
        match rules.combine {
            Combine::Max => Some(said.iter().any(|(_, rejects)| *rejects)),
            Combine::Mean => Some(mean > threshold),
        }
    }

    /// Whether any alarm stands.
    pub(super) fn is_alarmed(&self) -> bool {
        !self.alarms.is_empty()
    }

    /// Whether an alarm says that nobody knows what passes a gate, or where the belt is.
    pub(super) fn is_lost(&self) -> bool {
        let is_lost = |alarm: &Alarm| matches!(alarm, Alarm::Faulty(Device::Gate(_) | Device::Encoder));
        self.alarms.iter().any(is_lost)
    }

    /// Whether an alarm stands that says more than that parts without a verdict are rejected.
    pub(super) fn is_warned(&self) -> bool {
        let warns = |alarm: &Alarm| matches!(alarm, Alarm::MissedReject | Alarm::Unconfirmed | Alarm::Faulty(_));
        self.alarms.iter().any(warns)
    }

    /// A part is of the lane that its frame shows, and no other lane's ejector is told to act on it.
    fn of_its_lane(&self, record: &PartRecord, shown: Option<Lane>, order: Option<&Order>) -> Held {
        for (what, lane) in [("its frame shows", shown), ("it fired the ejector of", order.map(|order| order.lane))] {
            if let Some(lane) = lane
                && self.rules.lanes[lane.0].name != record.lane
            {
                let (part, own) = (record.part, record.lane.as_deref().unwrap_or_default());
                return Err(format!("part {part} is on record as one of lane {own}, and {what} lane {}", lane.0 + 1));
            }
        }
        Ok(())
    }

    /// A challenge has one end, which says of each piece what its record does, or an alarm stands.
    fn challenged(&mut self, news: &ChallengeNews) -> Held {
        match news {
            ChallengeNews::Begun(challenge) => match self.challenge.replace(challenge.clone()) {
                Some(_) => Err("a challenge begins while another is under way".into()),
                None => Ok(()),
            },
            ChallengeNews::Ended(challenge, outcome) => {
                if self.challenge.take().as_ref() != Some(challenge) {
                    return Err("a challenge ends that did not begin".into());
                }
                let pieces = outcome.caught.len() + outcome.missed.len() + outcome.absent as usize;
                if pieces != challenge.pieces as usize || outcome.caught.iter().any(|part| !self.caught.contains(part))
                {
                    return Err("a challenge does not end as its pieces' records say".into());
                }
                match outcome.is_passed() || self.alarms.contains(&Alarm::Challenge) {
                    true => Ok(()),
                    false => Err("a challenge is not passed, and no alarm stands".into()),
                }
            }
            ChallengeNews::Refused(..) | ChallengeNews::Piece(..) => Ok(()),
        }
    }

    fn passed(&self, record: &PartRecord, orders: &[Order], said: Option<bool>) -> Held {
        let part = record.part;
        if !orders.is_empty() {
            return Err(format!("good part {part} is to be rejected"));
        }
        if said != Some(false) {
            return Err(format!("part {part} was passed, and no inspection found it good"));
        }
        // On a belt that may stand still, or without a stamp, nobody knows when it is too late.
        let is_foreseen = matches!(self.rules.drive, Drive::Constant(_)) && record.stamp != StampSource::Doubtful;
        if is_foreseen && record.slack_ms < 5.0 {
            return Err(format!("part {part} was passed {:.1} ms before the ejector", record.slack_ms));
        }
        Ok(())
    }

    fn rejected(&self, record: &PartRecord, orders: &[Order], fired: &[Monotonic], heard: Heard) -> Held {
        let part = record.part;
        let Some(order) = orders.first() else {
            return Err(format!("part {part} is rejected, and was never ordered to be"));
        };
        let is_done = |order: &&Order| fired.iter().any(|fired| (order.at..=order.latest).contains(fired));
        if let Some(order) = orders.iter().find(|order| !is_done(order)) {
            return Err(format!("part {part} is rejected, and the ejector did not act as planned for {}", order.at));
        }
        let Some(confirm) = self.rules.lanes[order.lane.0].confirm else { return Ok(()) };
        // What several acts are to hit may fall before the last of them.
        if orders.len() == 1 && heard != Heard::Confirmed(order.lane) {
            return Err(format!("part {part} is rejected, and it was not the sensor in its lane's chute that saw it"));
        }
        let is_seen =
            |seen: Monotonic| fired.iter().any(|fired| *fired + confirm.from <= seen && seen <= *fired + confirm.until);
        match record.confirmed.is_some_and(is_seen) {
            true => Ok(()),
            false => Err(format!("part {part} is rejected, and the sensor in the chute did not see it")),
        }
    }

    fn unaccounted(&self, record: &PartRecord) -> Held {
        let told = [Alarm::MissedReject, Alarm::Uninspected, Alarm::Unconfirmed];
        match told.iter().any(|alarm| self.alarms.contains(alarm)) {
            true => Ok(()),
            false => Err(format!("part {} is unaccounted, and no alarm stands", record.part)),
        }
    }

    /// Nothing is left to happen.
    pub(super) fn ended(&self, is_idle: bool) -> Held {
        match is_idle {
            true if self.challenge.is_some() => Err("a challenge has no end".into()),
            true => Ok(()),
            false => Err("parts are left without a fate".into()),
        }
    }
}

fn tells_of_missed(action: &Action) -> bool {
    matches!(action, Action::RaiseAlarm(Alarm::MissedReject, _))
}

/// What the fate says of a part that the sensor did not see.
const UNSEEN: &str = "sensor in the chute";

/// Whether a part that should have been ejected was not, other than by a policy that only counts, or a silent sensor.
fn is_missed(record: &PartRecord) -> bool {
    let Fate::Unaccounted(why) = &record.fate else { return false };
    let is_counted =
        matches!(record.verdict, Verdict::Unknown(Unknown::Skipped | Unknown::Lost)) && why.contains("only counted");
    !is_counted && !why.contains(UNSEEN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::digest::Digest;
    use crate::line::{Evidence, Judgement, LaneRules, Latency, LineCore, Sighting};

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(ms * 1_000_000)
    }

    /// What is said of a bad part in the first of two lanes, by a core that does not do all that it should.
    fn told_of(sabotage: impl Fn(&mut Action)) -> Held {
        let ms = Duration::from_millis;
        let mut rules = Rules::timed(ms(150), ms(30), ms(20));
        let lane = rules.lanes.remove(0);
        rules.lanes = ["left", "right"].map(|name| LaneRules { name: Some(name.into()), ..lane.clone() }).to_vec();
        let (mut core, mut promises) = (LineCore::new(rules.clone()), Promises::new(&rules));
        let (ticket, lane, stamp) = (Ticket(0), Lane(0), StampSource::EndOfFrame);
        let (origin, class) = (String::new(), "washer".into());
        let sighting = Sighting { ticket, lane, frame: 0, captured: at(1000), stamp, origin, class };
        let (calibration, evidence) = (Digest::zero(), Evidence::default());
        let judgement = Judgement { score: 2.0, threshold: 1.0, rejects: true, calibration, evidence };
        let happenings = [
            (1000, Happening::Captured(sighting)),
            (1050, Happening::Inspected(ticket, Ok((judgement, Latency::default())))),
            (1150, Happening::Fired(PartId(0), Ok(at(1150)))),
        ];
        for (ms, what) in happenings {
            let (event, mut actions) = (Event { at: at(ms), what }, Vec::new());
            let heard = promises.hear(&event);
            core.handle(event, &mut actions);
            actions.iter_mut().for_each(&sabotage);
            promises.look(heard, &actions)?;
        }
        promises.ended(core.is_idle())
    }

    #[test]
    fn a_core_that_fires_another_lanes_ejector_breaks_a_promise() {
        assert_eq!(told_of(|_| {}), Ok(()));
        let fires_beside = told_of(|action| {
            if let Action::Fire(order) = action {
                order.lane = Lane(1);
            }
        });
        let told = "part 0 is on record as one of lane left, and it fired the ejector of lane 2";
        assert_eq!(fires_beside, Err(told.to_owned()));
        let writes_beside = told_of(|action| {
            if let Action::Record(record) = action {
                record.lane = Some("right".into());
            }
        });
        assert_eq!(
            writes_beside,
            Err("part 0 is on record as one of lane right, and its frame shows lane 1".to_owned())
        );
    }
}
