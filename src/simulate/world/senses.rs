//! What encoder, photo-eyes and camera tell of the belt.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::line::{Drive, Event, Find, FreeRun, Happening, Lane, LaneRules, Length, PhotoEye, Showing, Sighting, Span};
use crate::simulate::belt::{Piece, Stretch};
use crate::simulate::lines::gate;
use crate::simulate::trouble::Spell;
use crate::time::{Monotonic, StampSource};

use super::due::What;
use super::layout::{free_run, half, has_own_eye};
use super::slides::visible;
use super::truth::{Truth, Unseen};
use super::{STEP, World};

/// A camera that runs freely gives a frame every so often.
const FRAME: Duration = Duration::from_millis(20);
/// A camera that shows parts on their way gives a frame whenever the belt has moved by about so much of the longest part.
const FRAMES_PER_PART: i64 = 4;
/// What keeps an eye dark and is no piece.
const NO_PIECE: u64 = u64::MAX;
/// A bad part shows that it is in such a share of its frames.
const SHOWS: f64 = 0.7;
/// Edges are seen to so many millimetres.
pub(super) const SEEN_TO: f64 = 0.5;

/// How much of the belt a part's own picture shows.
fn crop(run: &FreeRun) -> Length {
    Length::from_nm(run.longest.as_nm() * 5 / 4)
}

/// What a frame shows as one: where it begins and ends in the gate, and the pieces that it is.
struct Group {
    from: Length,
    to: Length,
    pieces: Vec<Shown>,
    is_bad: bool,
}

/// When an eye's edge is told, where that would be at `told`: the system tells the edges of one input in their order. `edges`: when those are
/// told that were known before, which may be later ones.
fn in_order(edges: &mut BTreeMap<Monotonic, Monotonic>, at: Monotonic, told: Monotonic) -> Monotonic {
    let moment = Duration::from_nanos(1);
    let told = edges.range(..at).next_back().map_or(told, |(_, before)| told.max(*before + moment));
    let told = edges.range(at..).next().map_or(told, |(_, behind)| told.min(*behind - moment));
    edges.insert(at, told);
    told
}

/// A piece of a group, by its number, whether much of it lies in the gate, and whether it lies far from the gate's borders.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    pub(super) number: u64,
    pub(super) is_long: bool,
    pub(super) is_inside: bool,
}

impl World {
    /// What the encoder counts in the stretch.
    pub(super) fn counts(&mut self, stretch: Stretch) {
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
            self.push(at + Duration::from_millis(1), What::Count(at, place - self.uncounted + noise));
        }
    }

    /// What the lane's photo-eye, if it has one, sees of the parts that come.
    pub(super) fn edges(&mut self, lane: Lane) {
        let mut dark = Vec::new();
        for (at, piece) in self.belt.passing(lane, 0) {
            if free_run(&self.plan.rules.lanes[lane.0]).is_some() {
                self.truths.insert(piece.number, Truth { seen: at, since: at, life: self.life, ..Truth::default() });
                self.lain.insert((lane, piece.number), (at, piece.clone()));
                self.in_gate[lane.0].push(piece);
                continue;
            }
            if self.plan.rules.finds_frames() {
                continue;
            }
            // Where its end comes in a later stretch, only that matters: told at the end of this one.
            let ends = self.belt.now.when(piece.lead + piece.length).unwrap_or(self.belt.now.ends);
            self.edge(at, ends, &piece);
            dark.push((at, ends));
        }
        self.begin_blocked(lane, &dark);
    }

    /// Whose eye sees a lane: its own, or that of all.
    fn owner(&self, lane: Lane) -> Option<Lane> {
        has_own_eye(&self.plan.rules.lanes[lane.0]).then_some(lane)
    }

    /// Whether the lane is the first one that its eye sees: that eye tells of a row once.
    fn tells(&self, lane: Lane) -> bool {
        let mut in_row = self.plan.rules.each_lane().filter(|(_, rules)| !has_own_eye(rules));
        self.owner(lane).is_some() || in_row.next().is_some_and(|(first, _)| first == lane)
    }

    /// The spells in which something blocks the lane's eye: an eye of all lanes is blocked for all of them.
    fn blocked(&self, lane: Lane) -> impl Iterator<Item = (Monotonic, Monotonic)> {
        let owner = self.owner(lane);
        let befalls = move |from: Monotonic| owner.is_none_or(|lane| self.befallen(from) == lane);
        let blocked = self.spells.iter().filter(move |(spell, from, _)| *spell == Spell::EyeBlocked && befalls(*from));
        blocked.map(|(_, from, until)| (*from, *until))
    }

    /// What comes before the lane's eye and stays there is no piece; the eye tells of it unless a piece keeps it dark then.
    fn begin_blocked(&mut self, lane: Lane, dark: &[(Monotonic, Monotonic)]) {
        let is_eye = matches!(self.plan.rules.lanes[lane.0].find, Find::PhotoEye(_));
        let Stretch { begins, ends, .. } = self.belt.now;
        let begun = |(from, _): &(Monotonic, Monotonic)| {
            begins <= *from && *from < ends && !dark.iter().any(|(dark, light)| dark <= from && from < light)
        };
        for (from, until) in self.blocked(lane).filter(begun).filter(|_| is_eye).collect::<Vec<_>>() {
            let light = dark.iter().filter(|(dark, light)| *dark < until && until < *light).map(|(_, light)| *light);
            let until = light.max().unwrap_or(until);
            self.tell_blocked(lane, from, until, Happening::Eye(self.owner(lane), true));
        }
    }

    /// As in a run, a new core is told of an eye that is dark when it begins, and that nobody saw it become so; and of one that is blocked before
    /// the stretch ends, where that began while the core before lived, who was to hear of it.
    pub(super) fn tell_blocked_eyes(&mut self) {
        let (now, ends) = (self.now, self.belt.now.ends);
        for lane in (0..self.valves.len()).map(Lane) {
            let is_eye = matches!(self.plan.rules.lanes[lane.0].find, Find::PhotoEye(_));
            let is_untold = |from: Monotonic| from <= now || self.belt.now.begins < self.ended;
            let blocked = self.blocked(lane);
            let blocked = blocked.filter(|(from, until)| is_eye && *from < ends && now < *until && is_untold(*from));
            for (from, until) in blocked.collect::<Vec<_>>() {
                let owner = self.owner(lane);
                let dark = if from <= now { Happening::FoundDark(owner) } else { Happening::Eye(owner, true) };
                self.tell_blocked(lane, from.max(now), until, dark);
            }
        }
    }

    fn tell_blocked(&mut self, lane: Lane, from: Monotonic, until: Monotonic, dark: Happening) {
        self.by_edge.insert((from, lane), NO_PIECE);
        if self.tells(lane) {
            self.tell_edges(lane, (from, dark), until);
        }
    }

    fn tell_edges(&mut self, lane: Lane, (from, dark): (Monotonic, Happening), until: Monotonic) {
        let owner = self.owner(lane);
        for (at, what) in [(from, dark), (until, Happening::Eye(owner, false))] {
            let told = at + self.trouble.millis(0.1, 10.0);
            let told = in_order(self.edges_told.entry(owner).or_default(), at, told);
            self.tell_at(told, Event { at, what });
        }
    }

    /// The core hears that an eye became dark. What comes nearer behind that than parts are apart, it takes for the edge of a hole: also a piece,
    /// where the belt brought so little while something else was before the eye. No record of its own is promised for that one.
    pub(super) fn note_dark(&mut self, owner: Option<Lane>, at: Monotonic) {
        for lane in (0..self.valves.len()).map(Lane).filter(|lane| self.owner(*lane) == owner).collect::<Vec<_>>() {
            let Find::PhotoEye(eye) = self.plan.rules.lanes[lane.0].find else { continue };
            let Some(number) = self.by_edge.get(&(at, lane)) else { continue };
            if *number == NO_PIECE {
                self.last_blocked[lane.0] = Some(at);
                continue;
            }
            let blocked = self.last_blocked[lane.0].and_then(|blocked| self.belt.position(blocked));
            let way = self.belt.position(at).zip(blocked).map(|(here, there)| here - there);
            // An encoder is coarse.
            let is_behind = way.is_some_and(|way| way < eye.pitch + Length::from_nm(2 * STEP));
            if let Some(truth) = self.truths.get_mut(number).filter(|_| is_behind) {
                (truth.is_told, truth.unseen) = (false, Some(Unseen::Behind));
            }
        }
    }

    fn edge(&mut self, dark: Monotonic, light: Monotonic, piece: &Piece) {
        let lane = piece.lane;
        let blocked_at = |at: Monotonic| self.blocked(lane).find(|(from, until)| *from <= at && at < *until);
        let hidden = blocked_at(dark).map(|(from, until)| Unseen::Hidden(from, until));
        let light = blocked_at(light).map_or(light, |(_, until)| until);
        let since = std::mem::replace(&mut self.last_dark[lane.0], dark);
        let (life, is_told) = (self.life, hidden.is_none());
        let truth = Truth { seen: dark, life, since, is_told, unseen: hidden, ..Truth::default() };
        self.truths.insert(piece.number, truth);
        if hidden.is_none() {
            self.by_edge.insert((dark, lane), piece.number);
            if self.tells(lane) {
                self.tell_edges(lane, (dark, Happening::Eye(self.owner(lane), true)), light);
            }
        }
    }

    /// What a frame shows of the pieces that its lane's photo-eye told of, one of them by its number, and whether any is bad: all that are
    /// where a part's frame may show it, as well as that is known.
    fn in_view(&self, lane: Lane, eye: PhotoEye, captured: Monotonic) -> Option<(u64, bool)> {
        let belt = match captured < self.belt.now.begins {
            true => self.belt.position(captured)?,
            false => self.belt.now.position(captured),
        };
        let (margin, at_camera) = (Length::from_nm(2 * STEP + 2_000_000), belt - eye.to_camera);
        let in_view = self.belt.between(lane, at_camera - eye.window - margin, at_camera + margin);
        in_view.map(|piece| (piece.number, piece.is_bad)).reduce(|(first, bad), (_, other)| (first, bad || other))
    }

    /// The camera sees the parts that come before it.
    pub(super) fn expose(&mut self) {
        let lanes = self.plan.rules.lanes.clone();
        let mut triggered = BTreeMap::new();
        for (lane, rules) in lanes.iter().enumerate() {
            match rules.find {
                Find::EveryFrame => triggered.extend(self.triggered(Lane(lane))),
                Find::PhotoEye(_) => self.look_out(Lane(lane)),
                Find::FreeRun(_) => {}
            }
        }
        self.to_expose.extend(self.exposures());
        self.to_expose.extend(triggered.keys().map(|(captured, _)| *captured));
        let later = self.to_expose.split_off(&(self.belt.now.ends + Duration::from_nanos(1)));
        for captured in std::mem::replace(&mut self.to_expose, later) {
            if captured <= self.last_exposed {
                continue;
            }
            self.last_exposed = captured;
            self.slide(captured);
            // A frame that is taken for one lane shows what lies before the camera in all of them.
            let view = |(lane, rules): (usize, &LaneRules)| match rules.find {
                Find::EveryFrame => triggered.get(&(captured, Lane(lane))).copied(),
                Find::PhotoEye(eye) => self.in_view(Lane(lane), eye, captured),
                // It is looked up what lies in the gate.
                Find::FreeRun(_) => None,
            };
            let views = lanes.iter().enumerate().map(view).collect::<Vec<_>>();
            self.frame(captured, &views);
        }
    }

    /// The frames that are triggered by the pieces of a lane, and those.
    fn triggered(&mut self, lane: Lane) -> impl Iterator<Item = ((Monotonic, Lane), (u64, bool))> + use<> {
        let passing = self.belt.passing(lane, 1).into_iter();
        passing.map(move |(at, piece)| ((at, lane), (piece.number, piece.is_bad)))
    }

    /// Of a camera that runs freely, the frames are taken in which a piece of the lane may be that an eye told of.
    fn look_out(&mut self, lane: Lane) {
        for (at, _) in self.belt.passing(lane, 1) {
            let first = at.as_nanos().div_ceil(FRAME.as_nanos() as u64);
            let times = (first - 1..=first + 1).map(|number| Monotonic::from_nanos(number * FRAME.as_nanos() as u64));
            self.to_expose.extend(times);
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

    /// What lies in a lane's gate, as the picture of that moment shows it; `is_placed` where the core can say where the belt was.
    fn showing(&mut self, lane: Lane, run: &FreeRun, captured: Monotonic, is_placed: bool) -> Showing {
        let (length, cell, belt) = (gate(run), Length::from_mm(SEEN_TO), self.belt.now.position(captured));
        let zero = Length::default();
        self.in_gate[lane.0].retain(|piece| belt - piece.lead - piece.length < length);
        if self.is_in(Spell::EyeBlocked, lane, captured) {
            let whole = Span { from: zero, to: length, enters: true, leaves: true, view: None };
            return Showing { length, cell, spans: vec![whole] };
        }
        let plain = visible(run);
        // From the first to leave to the last; what lies against another is one with it.
        let mut seen = Vec::<Group>::new();
        for piece in &self.in_gate[lane.0] {
            let (from, to) = (belt - piece.lead - piece.length, belt - piece.lead);
            let (is_long, is_inside) = (to.min(length) - from.max(zero) > plain, from > plain && to + plain < length);
            let shown = Shown { number: piece.number, is_long, is_inside };
            match seen.last_mut() {
                Some(last) if last.from - to < run.shortest => {
                    last.pieces.push(shown);
                    (last.from, last.is_bad) = (from, last.is_bad | piece.is_bad);
                    self.touched.extend(last.pieces.iter().map(|shown| shown.number));
                }
                _ => seen.push(Group { from, to, pieces: vec![shown], is_bad: piece.is_bad }),
            }
        }
        if self.trouble.strikes("false segment") {
            let from = Length::from_mm(self.trouble.number(0.0, length.as_mm() * 0.8));
            let to = from + run.shortest + Length::from_mm(self.trouble.number(0.0, 20.0));
            if seen.iter().all(|other| to + run.shortest < other.from || other.to + run.shortest < from) {
                seen.push(Group { from, to, pieces: Vec::new(), is_bad: false });
                seen.sort_by_key(|group| std::cmp::Reverse(group.from));
            }
        }
        let (mut spans, mut shown) = (Vec::new(), Vec::new());
        if is_placed && self.has_slipped(self.records.last(lane), captured) {
            self.records.disturb(lane, belt + length + run.longest, run);
        }
        for Group { from, to, pieces, is_bad } in seen {
            let is_disturbed = self.is_disturbed(&pieces, to - from, run);
            let (place, whole) = (belt - from, (belt - to, belt - from));
            let mut edge = |at: Length| at + Length::from_mm(self.trouble.number(-SEEN_TO, SEEN_TO));
            let (from, to) = (edge(from).max(zero), edge(to).min(length));
            if to - from <= run.shortest {
                continue;
            }
            let is_missed = self.trouble.strikes("missed segment");
            if is_placed && (is_missed || is_disturbed) {
                self.records.disturb(lane, place, run);
            }
            if is_missed {
                continue;
            }
            if pieces.is_empty() {
                self.mirages.push((captured, lane, whole.0, whole.1));
            }
            shown.push(pieces.iter().map(|shown| shown.number).collect::<Vec<_>>());
            let (enters, leaves) = (from == zero, to == length);
            if is_placed {
                if !leaves && self.is_rest(lane, &pieces, run) {
                    self.records.disturb(lane, place, run);
                }
                if to - from > run.longest + Length::from_mm(2.0 * SEEN_TO) {
                    self.too_long.extend(pieces.iter().map(|shown| shown.number));
                }
                self.show(&pieces, run, (!leaves).then_some(belt - to), (!enters).then_some(belt - from));
            }
            let number = pieces.last().map_or(u64::MAX, |shown| shown.number);
            let (middle, reach) = (from + half(to - from), half(crop(run)));
            let fits = to - from <= crop(run) && middle >= reach && middle + reach <= length;
            let view = (fits && !enters && !leaves).then(|| {
                let shows_bad = is_bad && self.trouble.chance(SHOWS);
                self.pictures.add(lane, Some((number, shows_bad)))
            });
            spans.push(Span { from, to, enters, leaves, view });
        }
        if is_placed {
            self.records.add((captured, lane), belt, shown);
        }
        Showing { length, cell, spans }
    }

    fn frame(&mut self, captured: Monotonic, views: &[Option<(u64, bool)>]) {
        if self.is(Spell::CameraLost, captured) {
            return self.note_frames(captured, views, Some(Unseen::CameraLost));
        }
        self.frame += 1;
        if self.trouble.strikes("lost frame") {
            return self.note_frames(captured, views, Some(Unseen::FrameLost));
        }
        self.note_frames(captured, views, None);
        if self.trouble.strikes("camera counts anew") {
            self.frame = 0;
            self.counted_anew = captured;
        }
        let stamp = match self.trouble.strikes("doubtful stamp") {
            true => StampSource::Doubtful,
            false => StampSource::EndOfFrame,
        };
        let told = captured + self.trouble.millis(1.0, 15.0);
        let is_broken = self.trouble.strikes("broken frame");
        for lane in (0..self.valves.len()).map(Lane) {
            let ticket = self.pictures.add(lane, views.get(lane.0).copied().flatten());
            let (origin, class) = (String::new(), String::new());
            let sighting = Sighting { ticket, lane, frame: self.frame, captured, stamp, origin, class };
            let run = free_run(&self.plan.rules.lanes[lane.0]);
            let what = match (is_broken, run) {
                (true, _) => Happening::Broken(sighting, "not a picture".into()),
                (false, Some(run)) => {
                    Happening::Showed(sighting, self.showing(lane, &run, captured, stamp != StampSource::Doubtful))
                }
                (false, None) => Happening::Captured(sighting),
            };
            self.tell_at(told, Event { at: told, what });
        }
    }

    /// Where each frame is a part, the pieces of a frame are known by it.
    fn note_frames(&mut self, captured: Monotonic, views: &[Option<(u64, bool)>], unseen: Option<Unseen>) {
        for (number, _) in views.iter().flatten().filter(|_| self.plan.rules.finds_frames()) {
            let (seen, since, life, is_told) = (captured, captured, self.life, unseen.is_none());
            self.truths.insert(*number, Truth { seen, since, life, is_told, unseen, ..Truth::default() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_of_an_eye_are_told_in_their_order() {
        let ms = |ms: u64| Monotonic::from_nanos(ms * 1_000_000);
        let mut edges = BTreeMap::new();
        assert_eq!(in_order(&mut edges, ms(10), ms(12)), ms(12));
        assert_eq!(in_order(&mut edges, ms(100), ms(109)), ms(109));
        // What blocks the eye right behind a part, and leaves it right before another.
        let blocked = in_order(&mut edges, ms(11), ms(11));
        let free = in_order(&mut edges, ms(99), ms(110));
        assert!(ms(12) < blocked && blocked < free && free < ms(109), "{blocked} {free}");
        assert_eq!(in_order(&mut edges, ms(50), ms(55)), ms(55));
    }
}
