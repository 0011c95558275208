//! The line under simulation: one queue of what is to happen, and the core in its midst.

mod company;
mod due;
pub(super) mod layout;
mod lives;
mod pictures;
mod records;
mod senses;
mod slides;
mod spells;
mod truth;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::line::{
    Action, Challenge, Drive, Event, Find, Happening, Lane, LaneRules, Length, LineCore, Unknown, Verdict,
};
use crate::time::Monotonic;

use self::due::{Queue, What};
use self::layout::{free_run, give_way, half, has_own_eye, longest, pitch, spread_of, to_camera};
use self::pictures::Pictures;
use self::records::Records;
use self::slides::Looks;
use self::truth::{DISTURBED, Truth};
use super::belt::{LanePlan, Piece, TrueBelt};
use super::lines::gate;
use super::network::Network;
use super::promises::{Promises, Violation};
use super::shortest::{shortest, tick};
use super::trouble::{Spell, Trouble};
use super::valve::Valve;
use super::{Plan, Report};

/// The belt moves so far between two counts of the encoder, in nanometres: coarser than real ones, so that years pass fast.
const STEP: i64 = 4_000_000;
/// An output may stay active for so long beyond what was ordered.
const OVERDUE: Duration = Duration::from_millis(10);
/// So many events of a core are remembered, to be searched when a promise is broken.
const REMEMBERED: usize = 20_000;
/// How often a person sends known bad pieces in a stretch of the belt; those that follow are bad now and then.
const CHALLENGES: f64 = 0.02;
/// Those who announced so many pieces go away before all came.
const WITHDRAWN: u32 = 3;
/// After this share of the time that they gave.
const WITHDRAWN_AFTER: f64 = 0.3;
/// Of what did not work, a broken promise tells what did not so long before.
const RECALLED: Duration = Duration::from_secs(30);
/// Of a frame the core was told so long after it at the latest, also by a busy machine.
const TOLD: Duration = Duration::from_secs(2);
/// A thread that sleeps until a moment is woken so long after it.
const WAKING: Duration = Duration::from_millis(3);

pub(super) struct World {
    plan: Plan,
    trouble: Trouble,
    queue: Queue,
    now: Monotonic,
    belt: TrueBelt,
    /// Each lane's ejector.
    valves: Vec<Valve>,
    network: Network,
    core: LineCore,
    promises: Promises,
    /// Counts the cores.
    life: u64,
    /// Whether cameras and sensors are listened to.
    is_armed: bool,
    /// When the core before had ended.
    ended: Monotonic,
    /// When a new core begins, once the one before has ended.
    begins_again: Option<Monotonic>,
    /// What the core was told, where it is remembered.
    heard: Option<VecDeque<Event>>,
    spells: Vec<(Spell, Monotonic, Monotonic)>,
    frame: u64,
    /// When the newest frame was captured.
    last_exposed: Monotonic,
    /// When frames are captured that the belt's next stretch shows.
    to_expose: BTreeSet<Monotonic>,
    /// When a camera counted its frames anew last.
    counted_anew: Monotonic,
    /// When the first and the newest frame were captured that the core was told of.
    frames_told: Option<(Monotonic, Monotonic)>,
    /// When each lane's photo-eye saw a piece last.
    last_dark: Vec<Monotonic>,
    /// Of each eye, when its edges are told.
    edges_told: BTreeMap<Option<Lane>, BTreeMap<Monotonic, Monotonic>>,
    /// When the core was told last that something else came before it.
    last_blocked: Vec<Option<Monotonic>>,
    /// Whether the core before was killed with parts on the belt.
    is_interrupted: bool,
    pictures: Pictures,
    /// Distance that the encoder did not count, up to the end of the stretch.
    uncounted: Length,
    /// What it counted so far.
    counted: Length,
    truths: BTreeMap<u64, Truth>,
    /// By the photo-eye's stamp.
    by_edge: BTreeMap<(Monotonic, Lane), u64>,
    /// What travels through each lane's gate.
    in_gate: Vec<Vec<Piece>>,
    /// Where the pieces lie that came into a gate, and since when.
    lain: BTreeMap<(Lane, u64), (Monotonic, Piece)>,
    /// Stretches of the belt in which frames showed something that is not there, or lies elsewhere since.
    mirages: Vec<(Monotonic, Lane, Length, Length)>,
    records: Records,
    /// Pieces that were seen as one with others.
    touched: BTreeSet<u64>,
    /// Parts that were seen as one that is too long: all of them are rejected, wherever they begin and end.
    too_long: BTreeSet<u64>,
    /// How the pieces in the gates looked so far.
    looks: BTreeMap<u64, Looks>,
    /// Pieces that slid or turned, by how much.
    slid: BTreeMap<u64, Length>,
    /// Pieces of which frames show that they are no parts that move as the belt does: they are rejected.
    changed: BTreeSet<u64>,
    /// Parts of which a frame was judged to be bad.
    said_bad: BTreeSet<u64>,
    /// When an alarm stood last.
    alarmed: Monotonic,
    /// And one that says that rejects may be missed.
    warned: Monotonic,
    actions: Vec<Action>,
    report: Report,
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let begins = Monotonic::from_nanos(1_000_000_000_000);
        let lane = |lane: &LaneRules| {
            let (pitch, spread) = (pitch(plan, lane), spread_of(plan, lane));
            // The last station is where every part has passed the ejector.
            let last = match lane.find {
                Find::FreeRun(run) => half(gate(&run)) + half(run.longest),
                Find::EveryFrame | Find::PhotoEye(_) => to_camera(lane),
            };
            let stations = vec![Length::default(), to_camera(lane), last + lane.ejector.distance];
            let longest = pitch.min(longest(plan, lane));
            LanePlan { pitch, spread, longest, may_touch: free_run(lane).is_some(), stations }
        };
        let lanes = plan.rules.lanes.iter().map(lane).collect::<Vec<_>>();
        // What triggers for all lanes at once sees rows of parts.
        let is_alone = |lane: &LaneRules| has_own_eye(lane) || free_run(lane).is_some();
        let (alone, in_row) = plan.rules.each_lane().partition::<Vec<_>, _>(|(_, lane)| is_alone(lane));
        let rows = alone.iter().map(|(lane, _)| vec![*lane]);
        let rows = rows.chain([in_row.iter().map(|(lane, _)| *lane).collect()]).collect::<Vec<_>>();
        let core = LineCore::new(plan.rules.clone());
        let is_measured = plan.rules.drive == Drive::Encoder;
        World {
            trouble: Trouble::new(plan.seed, plan.with_faults),
            queue: Queue::default(),
            now: begins,
            belt: TrueBelt::new(begins, plan.speed, is_measured, &lanes, rows),
            valves: plan.rules.lanes.iter().map(|lane| Valve::new(lane.ejector)).collect(),
            network: Network::new(give_way(&plan.rules.lanes), plan.pace.inspection_ms),
            core,
            promises: Promises::new(&plan.rules),
            life: 0,
            is_armed: true,
            ended: Monotonic::default(),
            begins_again: None,
            heard: None,
            spells: Vec::new(),
            frame: 0,
            last_exposed: Monotonic::default(),
            to_expose: BTreeSet::new(),
            counted_anew: Monotonic::default(),
            frames_told: None,
            last_dark: vec![Monotonic::default(); lanes.len()],
            edges_told: BTreeMap::new(),
            last_blocked: vec![None; lanes.len()],
            is_interrupted: false,
            pictures: Pictures::default(),
            uncounted: Length::default(),
            counted: Length::default(),
            truths: BTreeMap::new(),
            by_edge: BTreeMap::new(),
            in_gate: vec![Vec::new(); lanes.len()],
            lain: BTreeMap::new(),
            mirages: Vec::new(),
            records: Records::default(),
            touched: BTreeSet::new(),
            too_long: BTreeSet::new(),
            looks: BTreeMap::new(),
            slid: BTreeMap::new(),
            changed: BTreeSet::new(),
            said_bad: BTreeSet::new(),
            alarmed: Monotonic::default(),
            warned: Monotonic::default(),
            actions: Vec::new(),
            report: Report::default(),
            plan: plan.clone(),
        }
    }

    /// The same, but it remembers what a core was told: that takes a while, and only one that breaks a promise is asked for it.
    pub(super) fn remembering(plan: &Plan) -> Self {
        World { heard: Some(VecDeque::new()), ..World::new(plan) }
    }

    pub(super) fn run(mut self) -> Report {
        let begins = self.now;
        let ends = begins + self.plan.belt_time;
        if let Err(what) = self.run_until(ends) {
            self.report.violation = Some(self.violation(what));
        }
        self.report.belt_time = self.now.saturating_since(begins).min(self.plan.belt_time);
        self.report.counters.add(self.core.counters());
        self.report.faults = std::mem::take(&mut self.trouble.met);
        self.report
    }

    fn run_until(&mut self, ends: Monotonic) -> Result<(), String> {
        self.tell_place()?;
        while self.now < ends {
            self.step()?;
        }
        if self.begins_again.is_none() {
            self.halt()?;
        }
        Ok(())
    }

    /// The next thing that happens: the belt's next stretch, the core's wake-up, the valve, the network, or what is queued.
    fn step(&mut self) -> Result<(), String> {
        let wakeup = self.core.next_wakeup().filter(|_| self.begins_again.is_none());
        let wakeup = wakeup.map(|at| self.after_stall((at + WAKING).max(self.now)));
        let queued = self.queue.next();
        let times =
            [Some(self.belt.now.ends), self.begins_again, self.next_valve(), self.network.next(), queued, wakeup];
        let Some(at) = times.iter().flatten().min().copied() else { return Ok(()) };
        self.now = self.now.max(at);
        let which = times.iter().position(|time| *time == Some(at));
        match which {
            Some(0) => self.next_stretch()?,
            Some(1) => self.begin_again()?,
            Some(2) => self.step_valves(),
            Some(3) => {
                let next = self.network.go_on(self.now, &mut self.trouble);
                self.tell_all(next);
            }
            // As in a run: what was told is heard before the core is woken.
            Some(4) => self.take_from_queue()?,
            _ => self.tell(tick(self.now))?,
        }
        match self.valves.iter().map(|valve| valve.overdue(self.now)).max().unwrap_or_default() {
            overdue if overdue > OVERDUE => Err(format!("an ejector blows {overdue:?} longer than it was told to")),
            _ => Ok(()),
        }
    }

    fn next_valve(&self) -> Option<Monotonic> {
        self.valves.iter().filter_map(Valve::next).min()
    }

    /// The ejector whose step is due makes it.
    fn step_valves(&mut self) {
        let Some(lane) = (0..self.valves.len()).min_by_key(|lane| {
            let next = self.valves[*lane].next();
            (next.is_none(), next)
        }) else {
            return;
        };
        let stretch = self.belt.now;
        let place = |at: Monotonic| stretch.position(at.min(stretch.ends));
        self.valves[lane].is_lost = self.is_in(Spell::OutputLost, Lane(lane), self.now);
        if let Some((part, result)) = self.valves[lane].step(self.now, place, &mut self.trouble)
            && !self.trouble.strikes("lost report")
        {
            let at = result.as_ref().copied().unwrap_or(self.now).max(self.now);
            self.tell_at(at, Event { at, what: Happening::Fired(part, result) });
        }
    }

    fn take_from_queue(&mut self) -> Result<(), String> {
        let Some(due) = self.queue.pop() else { return Ok(()) };
        if due.life != self.life && !due.what.is_for_any_core() && !matches!(due.what, What::Passes(_)) {
            return Ok(());
        }
        if matches!(due.what, What::Tell(_) | What::Count(..)) {
            let after = self.after_stall(self.now);
            if after > self.now {
                self.queue.put_off(due, after);
                return Ok(());
            }
        }
        match due.what {
            What::Tell(event) => self.tell(*event),
            What::Count(at, place) => {
                self.counted = place;
                self.tell(Event { at, what: Happening::Moved(place) })
            }
            What::Passes(piece) => self.passes(*piece),
            What::Kill => {
                let open = self.open_parts();
                self.report.interrupted += open;
                self.is_interrupted = open > 0;
                self.end_life(Duration::from_secs(5));
                Ok(())
            }
            What::Halt => self.halt(),
            What::Missed(piece) => self.told_of(&piece),
        }
    }

    fn push(&mut self, at: Monotonic, what: What) {
        self.queue.push(at, self.life, what);
    }

    fn tell_at(&mut self, at: Monotonic, event: Event) {
        self.push(at, What::Tell(Box::new(event)));
    }

    fn tell_all(&mut self, events: impl IntoIterator<Item = (Monotonic, Happening)>) {
        for (at, what) in events {
            self.tell_at(at, Event { at, what });
        }
    }

    /// The core hears of an event.
    fn tell(&mut self, event: Event) -> Result<(), String> {
        if self.begins_again.is_some() {
            return Ok(());
        }
        self.report.events += 1;
        if let Some(heard) = &mut self.heard {
            if heard.len() == REMEMBERED {
                heard.pop_front();
            }
            heard.push_back(event.clone());
        }
        let said_bad = match &event.what {
            Happening::Inspected(ticket, Ok((judgement, _))) if judgement.rejects => self.pictures.shown(*ticket),
            _ => None,
        };
        let shown = match &event.what {
            Happening::Showed(sighting, _) => Some((sighting.captured, sighting.lane)),
            _ => None,
        };
        if let Happening::Eye(owner, true) = event.what {
            self.note_dark(owner, event.at);
        }
        if let Happening::Captured(sighting) | Happening::Broken(sighting, _) = &event.what {
            let (first, newest) = self.frames_told.unwrap_or((sighting.captured, sighting.captured));
            self.frames_told = Some((first, newest.max(sighting.captured)));
        }
        let heard = self.promises.hear(&event);
        let mut actions = std::mem::take(&mut self.actions);
        self.core.handle(event, &mut actions);
        self.promises.look(heard, &actions)?;
        if self.promises.is_alarmed() {
            self.alarmed = self.now;
        }
        if self.promises.is_warned() {
            self.warned = self.now;
        }
        if let Some(frame) = shown {
            let pieces = self.records.told(frame, self.promises.is_lost());
            self.exempt(DISTURBED, pieces);
        }
        self.said_bad.extend(said_bad);
        for action in actions.drain(..) {
            self.act(action)?;
        }
        self.actions = actions;
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Inspect(ticket) => {
                let picture = self.pictures.get(ticket);
                let is_bad = picture.and_then(|picture| picture.shows).is_some_and(|(_, is_bad)| is_bad);
                let lane = picture.map_or_else(Lane::default, |picture| picture.lane);
                let told = self.network.inspect(lane, ticket, is_bad, self.now, &mut self.trouble);
                self.tell_all(told);
            }
            Action::Forget(ticket) => self.network.forget(ticket),
            Action::Fire(order) => self.valves[order.lane.0].order(order),
            Action::SetSafe => self.close_valves(),
            Action::StopLine(_) if self.is_armed => {
                self.report.stops += 1;
                self.is_armed = false;
                let halts = self.now + self.plan.rules.longest_way() + Duration::from_secs(3);
                self.push(halts, What::Halt);
            }
            Action::Record(record) => {
                if let Verdict::Unknown(Unknown::Unfollowed(why)) = &record.verdict {
                    let why = why.split("; part ").next().unwrap_or_default();
                    *self.report.doubts.entry(why.to_owned()).or_default() += 1;
                }
                let by_frame = record.ticket.and_then(|ticket| self.pictures.shown(ticket));
                let lane = self.plan.rules.each_lane().find(|(_, rules)| rules.name == record.lane);
                let lane = lane.map_or_else(Lane::default, |(lane, _)| lane);
                let number = match (free_run(&self.plan.rules.lanes[lane.0]), record.seen) {
                    (Some(run), _) => {
                        if let Some(seen) = record.seen {
                            self.records
                                .begins(seen, lane)
                                .map_err(|what| format!("part {}, {}: {what}", record.part, record.fate.as_str()))?;
                        }
                        self.hold_lateness(&record, lane, &run)?;
                        return self.settle(*record, lane, &run);
                    }
                    (None, Some(seen)) => {
                        let number = self.by_edge.remove(&(seen, lane));
                        Some(number.ok_or_else(|| format!("part {} begins where no piece came", record.part))?)
                    }
                    (None, None) => by_frame,
                };
                if let Some(truth) = number.and_then(|number| self.truths.get_mut(&number))
                    && truth.fate.replace(record.fate).is_some()
                {
                    return Err(format!("part {} is of a piece that has a record", record.part));
                }
                return number.map_or(Ok(()), |number| self.hold_against_truth(number));
            }
            _ => {}
        }
        Ok(())
    }

    fn close_valves(&mut self) {
        let place = self.place();
        self.valves.iter_mut().for_each(|valve| valve.set_safe(place));
    }

    fn place(&self) -> Length {
        self.belt.now.position(self.now.min(self.belt.now.ends))
    }

    /// The belt goes on: all that it brings before a station is queued.
    fn next_stretch(&mut self) -> Result<(), String> {
        let stretch = self.belt.go_on(&mut self.trouble, false);
        let old = stretch.begins - Duration::from_secs(600);
        // What came just behind a spell is asked about as late as that.
        self.spells.retain(|(_, _, until)| *until > old - Duration::from_secs(600));
        self.hold_records(old)?;
        self.truths.retain(|_, truth| truth.seen > old);
        self.by_edge = self.by_edge.split_off(&(old, Lane::default()));
        self.edges_told.values_mut().for_each(|edges| *edges = edges.split_off(&old));
        self.forget_pieces();
        self.pictures.forget_old();
        self.lain.retain(|_, (since, _)| *since > old);
        self.mirages.retain(|(since, ..)| *since > old);
        self.records.forget_before(self.lain.keys().map(|(_, number)| *number).min().unwrap_or_default());
        self.records.forget_old(old)?;
        for (spell, begins, lasts) in self.trouble.spells(stretch.ends.saturating_since(stretch.begins)) {
            let from = stretch.begins + begins;
            self.spells.push((spell, from, from + lasts));
            self.begin_spell(spell, from, from + lasts);
        }
        self.counts(stretch);
        if self.trouble.chance(CHALLENGES) {
            let (pieces, within) = (1 + self.trouble.number(0.0, 4.0) as u32, self.trouble.between(10.0, 300.0));
            let lane = &self.plan.rules.lanes[self.trouble.number(0.0, self.valves.len() as f64) as usize];
            let lane = lane.name.clone().filter(|_| self.trouble.chance(0.5));
            let challenge = Challenge { pieces, lane, within, by: "somebody".into() };
            let at = stretch.begins + self.trouble.between(0.0, 1.0);
            self.tell_at(at, Event { at, what: Happening::Challenged(challenge) });
            if pieces == WITHDRAWN {
                let at = at + within.mul_f64(WITHDRAWN_AFTER);
                self.tell_at(at, Event { at, what: Happening::Withdrawn });
            }
        }
        let lanes = (0..self.valves.len()).map(Lane);
        for lane in lanes.clone() {
            self.edges(lane);
        }
        self.expose();
        for lane in lanes {
            // As late as the ejector may be, and as far as the encoder is coarse: on a slow belt that takes long.
            let late = self.plan.rules.lanes[lane.0].ejector.tolerance + Duration::from_millis(60);
            let late = late + stretch.takes(Length::from_nm(2 * STEP));
            for (at, piece) in self.belt.passing(lane, 2) {
                self.push(at + late, What::Passes(Box::new(piece)));
            }
        }
        self.belt.forget();
        Ok(())
    }

    fn violation(&self, what: String) -> Violation {
        let (events, are_enough) = shortest(&self.plan.rules, self.heard.iter().flatten().cloned().collect());
        let spells = self.lately(RECALLED);
        Violation { seed: self.plan.seed, at: self.now, what, events, are_enough, spells }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{Device, Rules};

    #[test]
    fn a_core_that_begins_while_the_camera_is_gone_is_told_so() {
        let seconds = Duration::from_secs;
        let (rules, speed) = super::super::drawn(0);
        let mut world =
            World::remembering(&Plan { belt_time: seconds(600), with_faults: false, ..Plan::new(rules, speed, 0) });
        let (from, until) = (world.now + seconds(2), world.now + seconds(30));
        world.spells.push((Spell::CameraLost, from, until));
        world.begin_spell(Spell::CameraLost, from, until);
        world.halt().unwrap();
        while world.now < until - seconds(1) {
            world.step().unwrap();
        }
        let is_told = |event: &Event| matches!(event.what, Happening::Fault(Device::Camera, _));
        assert!(world.life > 0 && world.heard.iter().flatten().any(is_told), "it was told to no core that lives");
    }

    /// An undisturbed world with a photo-eye and an encoder.
    fn with_eye() -> World {
        let is_meant = |(rules, _): &(Rules, u64)| {
            rules.drive == Drive::Encoder && matches!(rules.lanes[..], [LaneRules { find: Find::PhotoEye(_), .. }])
        };
        let drawn = (0..).map(super::super::drawn).find(is_meant);
        let (rules, speed) = drawn.unwrap();
        World::remembering(&Plan { with_faults: false, ..Plan::new(rules, speed, 0) })
    }

    #[test]
    fn a_core_that_begins_while_the_eye_is_blocked_is_told_that_it_is_found_dark() {
        let mut world = with_eye();
        let (from, until) = (world.now + Duration::from_secs(2), world.now + Duration::from_secs(30));
        world.spells.push((Spell::EyeBlocked, from, until));
        while world.now < from + Duration::from_secs(1) {
            world.step().unwrap();
        }
        world.halt().unwrap();
        while world.life == 0 || world.begins_again.is_some() {
            world.step().unwrap();
        }
        let begun = world.now;
        while world.now < begun + Duration::from_secs(1) {
            world.step().unwrap();
        }
        let found = world.heard.iter().flatten().filter(|event| event.what == Happening::FoundDark(None));
        assert_eq!(found.map(|event| event.at).collect::<Vec<_>>(), [begun]);
    }

    #[test]
    fn a_piece_close_behind_what_was_before_the_eye_needs_no_record_of_its_own() {
        let mut world = with_eye();
        // As a belt that stands still has it: none that moves brings so little while something blocks the eye.
        let blinks = (1..700).map(|second| world.now + Duration::from_secs(second));
        let blinks = blinks.map(|from| (Spell::EyeBlocked, from, from + Duration::from_millis(5)));
        world.spells.extend(blinks.collect::<Vec<_>>());
        let ends = world.now + Duration::from_secs(1400);
        assert_eq!(world.run_until(ends), Ok(()));
        assert!(
            world.report.weaker.get("behind what blocked the photo-eye for a while").is_some_and(|pieces| *pieces > 10)
        );
    }

    #[test]
    fn of_a_promise_that_only_the_belt_shows_broken_it_is_told_what_the_core_heard_last() {
        let (rules, speed) = super::super::drawn(0);
        let plan = Plan { belt_time: Duration::from_secs(600), with_faults: false, ..Plan::new(rules, speed, 0) };
        let unheard = World::remembering(&plan).violation("a part went by".into());
        assert!(!unheard.are_enough && unheard.to_string().contains("told of nothing since it began"), "{unheard}");

        let mut world = World::remembering(&plan);
        let from = world.now + Duration::from_secs(20);
        world.spells.push((Spell::CameraLost, from, from + Duration::from_secs(5)));
        while world.now < from + Duration::from_secs(10) {
            world.step().unwrap();
        }
        let told = world.violation("a part went by".into());
        assert_eq!(told.events.last(), world.heard.as_ref().unwrap().back());
        assert!((1..=60).contains(&told.events.len()) && !told.are_enough);
        assert!(told.spells.len() == 1 && told.to_string().contains("what did not work: camera lost"), "{told}");
    }
}
