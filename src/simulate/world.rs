//! The line under simulation: one queue of what is to happen, and the core in its midst.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use crate::line::{
    Action, Challenge, Combine, Device, Drive, Event, Fate, Find, FreeRun, Happening, Lane, LaneRules, Length,
    LineCore, PartRecord, Showing, Sighting, Span, Ticket, Unknown, Verdict,
};
use crate::time::{Monotonic, StampSource};

use super::belt::{LanePlan, Piece, Stretch, TrueBelt};
use super::lines::gate;
use super::network::Network;
use super::promises::{Promises, Violation};
use super::shortest::{shortest, tick};
use super::trouble::{Spell, Trouble};
use super::valve::Valve;
use super::{Plan, Report};

/// The belt moves so far between two counts of the encoder, in nanometres: coarser than real ones, so that years pass fast.
const STEP: i64 = 4_000_000;
/// How far a belt moves that stops just after an order was given: the time for which the core gives orders in advance, and
/// what it hears late.
const UNFORESEEN: Duration = Duration::from_millis(40);
/// A camera that runs freely gives a frame every so often.
const FRAME: Duration = Duration::from_millis(20);
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
/// A thread that sleeps until a moment is woken so long after it.
const WAKING: Duration = Duration::from_millis(3);
/// So many of the newest frames are remembered.
const REMEMBERED_FRAMES: usize = 20_000;
/// What an ejector did is known so long after it at the latest: reports get lost, and are waited for.
const REPORTED: Duration = Duration::from_secs(3);
/// How long a part falls until the sensor in the chute sees it.
const FALL: Duration = Duration::from_millis(60);

/// What is to happen, and to which of the cores; an event of an earlier one is void.
struct Due {
    at: Monotonic,
    sequence: u64,
    life: u64,
    what: What,
}

enum What {
    /// Boxed, since the queue moves what it holds, and is long.
    Tell(Box<Event>),
    /// The part is before the ejector, as far as it depends on the belt.
    Passes(Piece),
    /// A bad part has passed the ejector, and air did not hit it: by now somebody is told.
    Missed(Piece),
    /// A spell begins for the process itself.
    Kill,
    Halt,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// An encoder counts, and devices fail and work again, for whoever listens: a new core would else take the belt to stand still,
/// and a camera that failed before it began to work.
fn is_for_any_core(what: &What) -> bool {
    let What::Tell(event) = what else { return false };
    matches!(event.what, Happening::Moved(_) | Happening::Fault(..) | Happening::Recovered(_) | Happening::Bin(_))
}

/// From where a lane's photo-eye is, if there is one, to where the camera looks.
fn to_camera(lane: &LaneRules) -> Length {
    match lane.find {
        Find::PhotoEye(eye) => eye.to_camera,
        Find::EveryFrame | Find::FreeRun(_) => Length::default(),
    }
}

fn has_own_eye(lane: &LaneRules) -> bool {
    matches!(lane.find, Find::PhotoEye(eye) if eye.own)
}

fn free_run(lane: &LaneRules) -> Option<FreeRun> {
    match lane.find {
        Find::FreeRun(run) => Some(run),
        Find::EveryFrame | Find::PhotoEye(_) => None,
    }
}

/// How far a belt has still to go when a part's leading edge is before the first station, until the middle of the part is where
/// the camera looks.
fn to_middle(lane: &LaneRules, piece: &Piece) -> Length {
    match lane.find {
        // The first station is the border of the gate, and the camera looks at its middle.
        Find::FreeRun(run) => half(gate(&run)) + half(piece.length),
        Find::EveryFrame | Find::PhotoEye(_) => to_camera(lane),
    }
}

fn half(length: Length) -> Length {
    Length::from_nm(length.as_nm() / 2)
}

/// How much of the belt a part's own picture shows.
fn crop(run: &FreeRun) -> Length {
    Length::from_nm(run.longest.as_nm() * 5 / 4)
}

/// A camera that shows parts on their way gives a frame whenever the belt has moved by about so much of the longest part.
const FRAMES_PER_PART: i64 = 4;
/// A bad part shows that it is in such a share of its frames.
const SHOWS: f64 = 0.7;
/// Edges are seen to so many millimetres.
const SEEN_TO: f64 = 0.5;

/// Whether a newer frame of each lane takes the place of one that waits.
fn give_way(lanes: &[LaneRules]) -> Vec<bool> {
    lanes.iter().map(|lane| free_run(lane).is_none()).collect()
}

/// What truly became of a part, and what is on record.
#[derive(Default)]
struct Truth {
    seen: Monotonic,
    was_blown: Option<bool>,
    fate: Option<Fate>,
}

pub(super) struct World {
    plan: Plan,
    trouble: Trouble,
    queue: BinaryHeap<Reverse<Due>>,
    sequence: u64,
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
    /// When a new core begins, once the one before has ended.
    begins_again: Option<Monotonic>,
    heard: VecDeque<Event>,
    spells: Vec<(Spell, Monotonic, Monotonic)>,
    frame: u64,
    /// When the newest frame was captured.
    last_exposed: Monotonic,
    next_ticket: u64,
    /// The lane that a frame shows.
    lanes: BTreeMap<Ticket, Lane>,
    /// Which frames show a bad part, and which part.
    shown: BTreeMap<Ticket, (u64, bool)>,
    /// Distance that the encoder did not count.
    uncounted: Length,
    truths: BTreeMap<u64, Truth>,
    /// By the photo-eye's stamp.
    by_edge: BTreeMap<(Monotonic, Lane), u64>,
    /// What travels through each lane's gate.
    in_gate: Vec<Vec<Piece>>,
    /// Parts that were seen as one with others: what is on record of one of them, no frame tells.
    touched: BTreeSet<u64>,
    /// Parts of which a frame was judged to be bad.
    said_bad: BTreeSet<u64>,
    /// When an alarm stood last.
    alarmed: Monotonic,
    actions: Vec<Action>,
    report: Report,
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let begins = Monotonic::from_nanos(1_000_000_000_000);
        let lane = |lane: &LaneRules| {
            let pitch = match lane.find {
                Find::PhotoEye(eye) => eye.pitch,
                Find::EveryFrame => Length::from_nm(plan.speed as i64 / 10),
                Find::FreeRun(run) => run.longest,
            };
            // The last station is where every part has passed the ejector.
            let last = match lane.find {
                Find::FreeRun(run) => half(gate(&run)) + half(run.longest),
                Find::EveryFrame | Find::PhotoEye(_) => to_camera(lane),
            };
            let stations = vec![Length::default(), to_camera(lane), last + lane.ejector.distance];
            LanePlan { pitch, may_touch: free_run(lane).is_some(), stations }
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
            queue: BinaryHeap::new(),
            sequence: 0,
            now: begins,
            belt: TrueBelt::new(begins, plan.speed, is_measured, &lanes, rows),
            valves: plan.rules.lanes.iter().map(|lane| Valve::new(lane.ejector)).collect(),
            network: Network::new(give_way(&plan.rules.lanes)),
            core,
            promises: Promises::new(&plan.rules),
            life: 0,
            is_armed: true,
            begins_again: None,
            heard: VecDeque::new(),
            spells: Vec::new(),
            frame: 0,
            last_exposed: Monotonic::default(),
            next_ticket: 0,
            lanes: BTreeMap::new(),
            shown: BTreeMap::new(),
            uncounted: Length::default(),
            truths: BTreeMap::new(),
            by_edge: BTreeMap::new(),
            in_gate: vec![Vec::new(); lanes.len()],
            touched: BTreeSet::new(),
            said_bad: BTreeSet::new(),
            alarmed: Monotonic::default(),
            actions: Vec::new(),
            report: Report::default(),
            plan: plan.clone(),
        }
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
        let queued = self.queue.peek().map(|due| due.0.at);
        let times =
            [Some(self.belt.now.ends), self.begins_again, self.next_valve(), self.network.next(), queued, wakeup];
        let Some(at) = times.iter().flatten().min().copied() else { return Ok(()) };
        self.now = self.now.max(at);
        let which = times.iter().position(|time| *time == Some(at));
        match which {
            Some(0) => self.next_stretch(),
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
        let Some(Reverse(due)) = self.queue.pop() else { return Ok(()) };
        if let What::Passes(piece) = due.what {
            return self.passes(&piece);
        }
        if due.life != self.life && !is_for_any_core(&due.what) {
            return Ok(());
        }
        match due.what {
            What::Tell(event) => {
                let after = self.after_stall(self.now);
                if after > self.now {
                    self.queue.push(Reverse(Due { at: after, what: What::Tell(event), ..due }));
                    return Ok(());
                }
                self.tell(*event)
            }
            What::Kill => {
                self.report.interrupted += self.open_parts();
                self.end_life(Duration::from_secs(5));
                Ok(())
            }
            What::Halt => self.halt(),
            What::Missed(piece) => self.told_of(&piece),
            What::Passes(_) => Ok(()),
        }
    }

    fn open_parts(&self) -> u64 {
        self.truths.values().filter(|truth| truth.fate.is_none() && truth.seen != Monotonic::default()).count() as u64
    }

    /// A busy machine hears of nothing until it is over.
    fn after_stall(&self, at: Monotonic) -> Monotonic {
        let stall = |(spell, from, until): &(Spell, Monotonic, Monotonic)| {
            (*spell == Spell::Stall && *from <= at && at < *until).then_some(*until)
        };
        self.spells.iter().find_map(stall).unwrap_or(at)
    }

    fn is(&self, spell: Spell, at: Monotonic) -> bool {
        self.spells.iter().any(|(other, from, until)| *other == spell && *from <= at && at < *until)
    }

    /// Whether a spell that befalls one lane has befallen this one.
    fn is_in(&self, spell: Spell, lane: Lane, at: Monotonic) -> bool {
        let mut spells = self.spells.iter().filter(|(_, from, _)| self.befallen(*from) == lane);
        spells.any(|(other, from, until)| *other == spell && *from <= at && at < *until)
    }

    /// The lane that a spell befalls, if it befalls one alone.
    fn befallen(&self, from: Monotonic) -> Lane {
        Lane((from.as_nanos() / 1000 % self.valves.len() as u64) as usize)
    }

    fn push(&mut self, at: Monotonic, what: What) {
        self.sequence += 1;
        self.queue.push(Reverse(Due { at, sequence: self.sequence, life: self.life, what }));
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
        if self.heard.len() == REMEMBERED {
            self.heard.pop_front();
        }
        self.heard.push_back(event.clone());
        let mut actions = std::mem::take(&mut self.actions);
        self.core.handle(event.clone(), &mut actions);
        self.promises.look(&event, &actions)?;
        if self.promises.is_alarmed() {
            self.alarmed = self.now;
        }
        if let Happening::Inspected(ticket, Ok((judgement, _))) = &event.what
            && judgement.rejects
        {
            self.said_bad.extend(self.shown.get(ticket).map(|(number, _)| *number));
        }
        for action in actions.drain(..) {
            self.act(action)?;
        }
        self.actions = actions;
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Inspect(ticket) => {
                let is_bad = self.shown.get(&ticket).is_some_and(|(_, is_bad)| *is_bad);
                let lane = self.lanes.get(&ticket).copied().unwrap_or_default();
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
                let by_frame = record.ticket.and_then(|ticket| self.shown.get(&ticket)).map(|(number, _)| *number);
                let lane = self.plan.rules.each_lane().find(|(_, rules)| rules.name == record.lane);
                let lane = lane.map_or_else(Lane::default, |(lane, _)| lane);
                let number = match (free_run(&self.plan.rules.lanes[lane.0]), record.seen) {
                    (Some(run), _) => {
                        let number = self.shown_in(&record);
                        self.hold_against_frames(&record, run, number)?;
                        number
                    }
                    (None, Some(seen)) => self.by_edge.get(&(seen, lane)).copied(),
                    (None, None) => by_frame,
                };
                if let Some(truth) = number.and_then(|number| self.truths.get_mut(&number)) {
                    truth.fate = Some(record.fate);
                }
                return number.map_or(Ok(()), |number| self.hold_against_truth(number));
            }
            _ => {}
        }
        Ok(())
    }

    /// The piece that a part's frames show, where it was followed as one.
    fn shown_in(&self, record: &PartRecord) -> Option<u64> {
        let is_one = !matches!(record.verdict, Verdict::Unknown(Unknown::Unfollowed(_)));
        let mut shown = record.views.iter().filter_map(|view| self.shown.get(&view.ticket)).map(|(number, _)| *number);
        let first = shown.next().filter(|first| is_one && !self.touched.contains(first))?;
        shown.all(|number| number == first).then_some(first)
    }

    /// Where the worst frame counts, no piece passes of which a frame was found bad.
    fn hold_against_frames(&self, record: &PartRecord, run: FreeRun, number: Option<u64>) -> Result<(), String> {
        let said_bad = number.is_some_and(|number| self.said_bad.contains(&number));
        match said_bad && run.combine == Combine::Max && record.verdict == Verdict::Pass {
            true => Err(format!("part {} was passed, and one of its frames was found bad", record.part)),
            false => Ok(()),
        }
    }

    /// A part that is on record as rejected was before the ejector while it blew. Where an encoder missed some of the belt,
    /// only the sensor in the chute could know.
    fn hold_against_truth(&mut self, number: u64) -> Result<(), String> {
        let Some(truth) = self.truths.get(&number) else { return Ok(()) };
        let (Some(was_blown), Some(fate)) = (truth.was_blown, &truth.fate) else { return Ok(()) };
        let is_right = was_blown || *fate != Fate::Rejected || self.slipped(truth.seen);
        self.truths.remove(&number);
        match is_right {
            true => Ok(()),
            false => Err(format!("piece {number} is on record as rejected, and air never hit it")),
        }
    }

    /// Whether the encoder missed some of the belt since.
    fn slipped(&self, since: Monotonic) -> bool {
        let misses = |spell: Spell| [Spell::EncoderStuck, Spell::EncoderLost].contains(&spell);
        self.spells.iter().any(|(spell, _, until)| misses(*spell) && *until > since)
    }

    fn passes(&mut self, piece: &Piece) -> Result<(), String> {
        let lane = &self.plan.rules.lanes[piece.lane.0];
        let is_found_in_picture = free_run(lane).is_some();
        let before_ejector = piece.lead + to_middle(lane, piece) + lane.ejector.distance;
        let was_blown = self.valves[piece.lane.0].blew(before_ejector, self.margin(lane));
        if was_blown && lane.confirm.is_some() && !self.is_in(Spell::ChuteBlind, piece.lane, self.now) {
            let at = self.now + FALL;
            self.tell_at(at, Event { at, what: Happening::Confirmed(piece.lane) });
        }
        if is_found_in_picture && !was_blown {
            self.push(self.now + REPORTED, What::Missed(piece.clone()));
        }
        if let Some(truth) = self.truths.get_mut(&piece.number) {
            truth.was_blown = Some(was_blown);
        }
        self.hold_against_truth(piece.number)
    }

    /// A bad piece that goes on was found good in all frames that counted, or an alarm stood while it was on the belt.
    fn told_of(&self, piece: &Piece) -> Result<(), String> {
        let is_to_go = piece.is_bad && self.is_armed && !self.touched.contains(&piece.number);
        let Some(truth) = self.truths.get(&piece.number).filter(|_| is_to_go) else { return Ok(()) };
        let is_alarmed = self.promises.is_alarmed() || self.alarmed >= truth.seen;
        let is_told = truth.fate == Some(Fate::Passed) || is_alarmed || self.slipped(truth.seen);
        match is_told {
            true => Ok(()),
            false => Err(format!("bad piece {} passed the ejector, and nobody was told", piece.number)),
        }
    }

    /// As far as the ejector may be late, and a belt that is measured surprise.
    fn margin(&self, lane: &LaneRules) -> Length {
        let time = lane.ejector.tolerance + UNFORESEEN;
        Length::from_nm((self.plan.speed as f64 * time.as_secs_f64()) as i64 + 2 * STEP)
    }

    fn close_valves(&mut self) {
        let place = self.place();
        self.valves.iter_mut().for_each(|valve| valve.set_safe(place));
    }

    fn place(&self) -> Length {
        self.belt.now.position(self.now.min(self.belt.now.ends))
    }

    /// The belt goes on: all that it brings before a station is queued.
    fn next_stretch(&mut self) {
        let stretch = self.belt.go_on(&mut self.trouble, false);
        let old = stretch.begins - Duration::from_secs(600);
        self.spells.retain(|(_, _, until)| *until > old);
        self.truths.retain(|_, truth| truth.seen > old);
        self.by_edge = self.by_edge.split_off(&(old, Lane::default()));
        self.touched.retain(|number| self.truths.contains_key(number));
        self.said_bad.retain(|number| self.truths.contains_key(number));
        if self.lanes.len() > REMEMBERED_FRAMES {
            let keep = Ticket(self.next_ticket.saturating_sub(REMEMBERED_FRAMES as u64));
            self.shown = self.shown.split_off(&keep);
            self.lanes = self.lanes.split_off(&keep);
        }
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
                self.push(at + late, What::Passes(piece));
            }
        }
        self.belt.forget();
    }

    fn begin_spell(&mut self, spell: Spell, from: Monotonic, until: Monotonic) {
        if spell == Spell::Killed {
            return self.push(from, What::Kill);
        }
        if let Some((begins, ends)) = self.told_at_its_ends(spell, from) {
            self.tell_all([(from, begins), (until, ends)]);
        }
    }

    /// What is told when a spell that is told of begins, and when it ends.
    fn told_at_its_ends(&self, spell: Spell, from: Monotonic) -> Option<(Happening, Happening)> {
        let device = match spell {
            Spell::CameraLost => Device::Camera,
            Spell::EncoderLost if self.plan.rules.drive == Drive::Encoder => Device::Encoder,
            Spell::OutputLost => Device::Output(self.plan.rules.own(self.befallen(from))),
            Spell::BinFull => return Some((Happening::Bin(true), Happening::Bin(false))),
            _ => return None,
        };
        Some((Happening::Fault(device, "gone".into()), Happening::Recovered(device)))
    }

    /// What the encoder counts in the stretch.
    fn counts(&mut self, stretch: Stretch) {
        if self.plan.rules.drive != Drive::Encoder {
            return;
        }
        let first = stretch.position(stretch.begins).as_nm().div_euclid(STEP) + 1;
        for count in first.. {
            let place = Length::from_nm(count * STEP);
            let Some(at) = stretch.when(place) else { break };
            if self.is(Spell::EncoderStuck, at) || self.is(Spell::EncoderLost, at) {
                self.uncounted = self.uncounted + Length::from_nm(STEP);
                continue;
            }
            let noise = match self.trouble.strikes("encoder noise") {
                true => Length::from_mm(self.trouble.number(-0.5, 0.5)),
                false => Length::default(),
            };
            let what = Happening::Moved(place - self.uncounted + noise);
            self.tell_at(at + Duration::from_millis(1), Event { at, what });
        }
    }

    /// What the lane's photo-eye, if it has one, sees of the parts that come.
    fn edges(&mut self, lane: Lane) {
        for (at, piece) in self.belt.passing(lane, 0) {
            if free_run(&self.plan.rules.lanes[lane.0]).is_some() {
                self.truths.insert(piece.number, Truth { seen: at, ..Truth::default() });
                self.in_gate[lane.0].push(piece);
                continue;
            }
            if self.plan.rules.finds_frames() {
                continue;
            }
            let Some(ends) = self.belt.now.when(piece.lead + piece.length) else {
                // Its end comes in a later stretch, in which only that matters; told at the end of this one.
                self.edge(at, self.belt.now.ends, &piece);
                continue;
            };
            self.edge(at, ends, &piece);
        }
    }

    fn edge(&mut self, dark: Monotonic, light: Monotonic, piece: &Piece) {
        // An eye of all lanes is blocked for all of them.
        let owner = has_own_eye(&self.plan.rules.lanes[piece.lane.0]).then_some(piece.lane);
        let befalls = |from: Monotonic| owner.is_none_or(|lane| self.befallen(from) == lane);
        let blocked_at = |at: Monotonic| {
            let blocked = |(spell, from, until): &(Spell, Monotonic, Monotonic)| {
                let is_it = *spell == Spell::EyeBlocked && befalls(*from) && *from <= at && at < *until;
                is_it.then_some(*until)
            };
            self.spells.iter().find_map(blocked)
        };
        if blocked_at(dark).is_some() {
            return;
        }
        let light = blocked_at(light).unwrap_or(light);
        self.truths.insert(piece.number, Truth { seen: dark, ..Truth::default() });
        self.by_edge.insert((dark, piece.lane), piece.number);
        let first_in_row = self.plan.rules.each_lane().find(|(_, lane)| !has_own_eye(lane)).map(|(lane, _)| lane);
        if owner.is_none() && first_in_row != Some(piece.lane) {
            // The eye of all lanes sees a row once.
            return;
        }
        for (at, is_dark) in [(dark, true), (light, false)] {
            let told = at + self.trouble.millis(0.1, 10.0);
            self.tell_at(told, Event { at, what: Happening::Eye(owner, is_dark) });
        }
    }

    /// The camera sees the parts that come before it: each frame shows one of a lane at most.
    fn expose(&mut self) {
        let is_triggered = self.plan.rules.finds_frames();
        let mut frames = BTreeMap::<Monotonic, Vec<Option<Piece>>>::new();
        for captured in self.exposures() {
            frames.insert(captured, vec![None; self.valves.len()]);
        }
        for lane in (0..self.valves.len()).map(Lane) {
            if free_run(&self.plan.rules.lanes[lane.0]).is_some() {
                continue;
            }
            for (at, piece) in self.belt.passing(lane, 1) {
                let first = at.as_nanos().div_ceil(FRAME.as_nanos() as u64);
                let time = |number: u64| Monotonic::from_nanos(number * FRAME.as_nanos() as u64);
                let exposed = match is_triggered {
                    true => vec![(at, true)],
                    false => (first - 1..=first + 1).map(|number| (time(number), number >= first)).collect(),
                };
                for (captured, shows) in exposed.into_iter().filter(|(captured, _)| *captured > self.last_exposed) {
                    let views = frames.entry(captured).or_insert_with(|| vec![None; self.valves.len()]);
                    let view = &mut views[lane.0];
                    *view = view.take().or(shows.then(|| piece.clone()));
                }
            }
        }
        for (captured, views) in frames {
            self.last_exposed = captured;
            self.frame(captured, &views);
        }
    }

    /// When a camera takes a picture that shows parts on their way.
    fn exposures(&self) -> Vec<Monotonic> {
        let longest = self.plan.rules.lanes.iter().filter_map(|lane| Some(free_run(lane)?.longest)).min();
        let Some(longest) = longest else { return Vec::new() };
        let takes = i128::from(longest.as_nm() / FRAMES_PER_PART) * 1_000_000_000 / i128::from(self.plan.speed.max(1));
        let every = (takes as u64).max(FRAME.as_nanos() as u64);
        let Stretch { begins, ends, .. } = self.belt.now;
        let first = begins.as_nanos().div_ceil(every);
        (first..ends.as_nanos().div_ceil(every)).map(|number| Monotonic::from_nanos(number * every)).collect()
    }

    /// What lies in a lane's gate, as the picture of that moment shows it.
    fn showing(&mut self, lane: Lane, run: &FreeRun, captured: Monotonic) -> Showing {
        let (length, belt) = (gate(run), self.belt.now.position(captured));
        let zero = Length::default();
        self.in_gate[lane.0].retain(|piece| belt - piece.lead - piece.length < length);
        if self.is_in(Spell::EyeBlocked, lane, captured) {
            let whole = Span { from: zero, to: length, enters: true, leaves: true, view: None };
            return Showing { length, spans: vec![whole] };
        }
        // From the first to leave to the last; what lies against another is one with it.
        let mut seen = Vec::<(Length, Length, u64, bool)>::new();
        for piece in &self.in_gate[lane.0] {
            let (from, to) = (belt - piece.lead - piece.length, belt - piece.lead);
            match seen.last_mut() {
                Some(last) if last.0 - to < run.shortest => {
                    self.touched.extend([last.2, piece.number]);
                    *last = (from, last.1, piece.number, last.3 | piece.is_bad);
                }
                _ => seen.push((from, to, piece.number, piece.is_bad)),
            }
        }
        if self.trouble.strikes("false segment") {
            let from = Length::from_mm(self.trouble.number(0.0, length.as_mm() * 0.8));
            let to = from + run.shortest + Length::from_mm(self.trouble.number(0.0, 20.0));
            if seen.iter().all(|(begins, ends, ..)| to + run.shortest < *begins || *ends + run.shortest < from) {
                seen.push((from, to, u64::MAX, false));
                seen.sort_by_key(|(from, ..)| std::cmp::Reverse(*from));
            }
        }
        let mut spans = Vec::new();
        for (from, to, number, is_bad) in seen {
            let mut edge = |at: Length| at + Length::from_mm(self.trouble.number(-SEEN_TO, SEEN_TO));
            let (from, to) = (edge(from).max(zero), edge(to).min(length));
            if to - from <= run.shortest || self.trouble.strikes("missed segment") {
                continue;
            }
            let (enters, leaves) = (from == zero, to == length);
            let (middle, reach) = (from + half(to - from), half(crop(run)));
            let fits = to - from <= crop(run) && middle >= reach && middle + reach <= length;
            let view = (fits && !enters && !leaves).then(|| {
                let shows_bad = is_bad && self.trouble.chance(SHOWS);
                let ticket = self.ticket(lane);
                self.shown.insert(ticket, (number, shows_bad));
                ticket
            });
            spans.push(Span { from, to, enters, leaves, view });
        }
        Showing { length, spans }
    }

    fn ticket(&mut self, lane: Lane) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.lanes.insert(ticket, lane);
        ticket
    }

    fn frame(&mut self, captured: Monotonic, views: &[Option<Piece>]) {
        if self.is(Spell::CameraLost, captured) {
            return;
        }
        self.frame += 1;
        if self.trouble.strikes("lost frame") {
            return;
        }
        if self.trouble.strikes("camera counts anew") {
            self.frame = 0;
        }
        let stamp = match self.trouble.strikes("doubtful stamp") {
            true => StampSource::Doubtful,
            false => StampSource::EndOfFrame,
        };
        let told = captured + self.trouble.millis(1.0, 15.0);
        let is_broken = self.trouble.strikes("broken frame");
        for (lane, piece) in views.iter().enumerate() {
            let lane = Lane(lane);
            let ticket = self.ticket(lane);
            if let Some(piece) = piece {
                self.shown.insert(ticket, (piece.number, piece.is_bad));
                if self.plan.rules.finds_frames() {
                    self.truths.insert(piece.number, Truth { seen: captured, ..Truth::default() });
                }
            }
            let (origin, class) = (String::new(), "washer".to_owned());
            let sighting = Sighting { ticket, lane, frame: self.frame, captured, stamp, origin, class };
            let run = free_run(&self.plan.rules.lanes[lane.0]);
            let what = match (is_broken, run) {
                (true, _) => Happening::Broken(sighting, "not a picture".into()),
                (false, Some(run)) => Happening::Showed(sighting, self.showing(lane, &run, captured)),
                (false, None) => Happening::Captured(sighting),
            };
            self.tell_at(told, Event { at: told, what });
        }
    }

    /// The core ends in good order.
    fn halt(&mut self) -> Result<(), String> {
        self.tell(Event { at: self.now, what: Happening::Halt })?;
        self.promises.ended(self.core.is_idle())?;
        self.end_life(Duration::from_secs(10));
        Ok(())
    }

    /// No core is left; a person clears the belt, and another begins after `pause`.
    fn end_life(&mut self, pause: Duration) {
        self.close_valves();
        self.life += 1;
        self.is_armed = false;
        self.begins_again = Some(self.now + pause);
    }

    fn begin_again(&mut self) -> Result<(), String> {
        self.begins_again = None;
        self.report.restarts += 1;
        self.report.counters.add(self.core.counters());
        self.core = LineCore::new(self.plan.rules.clone());
        self.promises = Promises::new(&self.plan.rules);
        self.network = Network::new(give_way(&self.plan.rules.lanes));
        self.valves = self.plan.rules.lanes.iter().map(|lane| Valve::new(lane.ejector)).collect();
        self.heard.clear();
        self.truths.clear();
        self.by_edge.clear();
        let place = self.place();
        self.in_gate.iter_mut().for_each(|gate| gate.retain(|piece| piece.lead > place));
        self.touched.clear();
        self.said_bad.clear();
        self.belt.clear(self.now);
        self.is_armed = true;
        self.tell_place()?;
        self.tell_what_fails()
    }

    /// As in a run, a new core is told of what does not work when it begins.
    fn tell_what_fails(&mut self) -> Result<(), String> {
        let now = self.now;
        let lasts = |(_, from, until): &&(Spell, Monotonic, Monotonic)| *from < now && now < *until;
        let lasting = self.spells.iter().filter(lasts);
        let begun = lasting.filter_map(|(spell, from, _)| Some(self.told_at_its_ends(*spell, *from)?.0));
        for what in begun.collect::<Vec<_>>() {
            self.tell(Event { at: now, what })?;
        }
        Ok(())
    }

    /// An encoder tells where it is when it is opened.
    fn tell_place(&mut self) -> Result<(), String> {
        if self.plan.rules.drive != Drive::Encoder {
            return Ok(());
        }
        let what = Happening::Moved(self.place() - self.uncounted);
        self.tell(Event { at: self.now, what })
    }

    fn violation(&self, what: String) -> Violation {
        let events = shortest(&self.plan.rules, self.heard.iter().cloned().collect());
        Violation { seed: self.plan.seed, at: self.now, what, events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_begins_while_the_camera_is_gone_is_told_so() {
        let seconds = Duration::from_secs;
        let (rules, speed) = super::super::drawn(0);
        let mut world = World::new(&Plan { rules, speed, belt_time: seconds(600), seed: 0, with_faults: false });
        let (from, until) = (world.now + seconds(2), world.now + seconds(30));
        world.spells.push((Spell::CameraLost, from, until));
        world.begin_spell(Spell::CameraLost, from, until);
        world.halt().unwrap();
        while world.now < until - seconds(1) {
            world.step().unwrap();
        }
        let is_told = |event: &Event| matches!(event.what, Happening::Fault(Device::Camera, _));
        assert!(world.life > 0 && world.heard.iter().any(is_told), "it was told to no core that lives");
    }
}
