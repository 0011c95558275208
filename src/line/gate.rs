//! Parts that travel through the camera's picture: each is one from where it enters the gate to where it leaves it.
//!
//! A place on the belt is told by where the belt is when that place is in the middle of the gate. A part keeps the places of its
//! edges however the belt moves, so a frame's spans are held against those that are known by their edges alone:
//!
//! ```text
//! a span whose edge is where a part's is   it is that part
//! a part without a span, a span without    it vanished, it appeared: in the middle of the gate, which no part does
//! a span over two parts, two over one      they touch
//! both edges elsewhere                     it slid, or the belt does not move as it is said to
//! ```
//!
//! What is not one part on a belt that moves as it is said to is never passed: it is rejected where it was seen.
mod track;

use self::track::{Decided, Edges, Ejected, Seen, Track, bound, half, is_accounted_for, link, stretched};
use super::alarms::Alarm;
use super::belt::{Belt, Length};
use super::core::{LineCore, NewPart};
use super::open::Wait;
use super::{Action, Device, Find, FreeRun, Lane, PartId, Showing, Sighting, SkippedPolicy, Unknown, View};
use crate::time::{Monotonic, StampSource};

/// So many parts one after the other that are not where the belt says they are: it is the belt.
const ASTRAY: u32 = 2;

/// Why a part is doubted of which one edge alone moves.
const CHANGED: &str = "its edges are not where they were: it touches another part, or turned";

/// What travels through a lane's gate.
#[derive(Debug, Default)]
pub(super) struct Procession {
    /// The first one is farthest along the belt.
    tracks: Vec<Track>,
    /// Where the belt was in the frame before.
    last: Option<Length>,
    /// Up to where it is told that the belt went by unseen.
    told: Option<Length>,
    /// How far it moves from one frame to the next.
    step: Length,
    /// How long the gate is, and to so much edges are seen in it, once a frame told.
    size: Option<(Length, Length)>,
    /// So many parts in a row were not where the belt says they are.
    astray: u32,
}

impl Procession {
    /// Where parts were seen last says nothing any more; the gate is what it was.
    pub(super) fn forget_places(&mut self) {
        *self = Procession { size: self.size, ..Procession::default() };
    }
}

/// What a frame is held against.
#[derive(Clone, Copy)]
struct Frame<'a> {
    lane: Lane,
    rules: FreeRun,
    sighting: &'a Sighting,
    /// Where the belt was.
    belt: Length,
    /// How long the gate is.
    length: Length,
    /// To so much edges are seen.
    cell: Length,
    at: Monotonic,
}

impl Frame<'_> {
    /// How much of a stretch of the belt a gate shows when the belt is at `belt`.
    fn visible(&self, lo: Length, hi: Length, belt: Length) -> Length {
        hi.min(belt + half(self.length)) - lo.max(belt - half(self.length))
    }

    /// Whether what lies there cannot be missed, although it may lie somewhat before or behind that.
    fn is_plain(&self, lo: Length, hi: Length, belt: Length) -> bool {
        let window = self.rules.window;
        let [before, behind] = [Length::default() - window, window].map(|off| self.visible(lo + off, hi + off, belt));
        before.min(behind) > self.least()
    }

    /// What is longer is seen.
    fn least(&self) -> Length {
        self.rules.shortest + self.cell + self.cell
    }
}

impl LineCore {
    /// A frame in whose picture parts are found.
    pub(super) fn showed(&mut self, sighting: &Sighting, showing: &Showing, at: Monotonic, actions: &mut Vec<Action>) {
        let lane = sighting.lane;
        let views = showing.spans.iter().filter_map(|span| span.view);
        let Find::FreeRun(rules) = self.rules.lanes[lane.0].find else {
            return actions.extend(views.map(Action::Forget));
        };
        let Some(belt) = self.place_of(sighting) else {
            actions.extend(views.map(Action::Forget));
            return self.unplaced(showing, at, actions);
        };
        let frame = Frame { lane, rules, sighting, belt, length: showing.length, cell: showing.cell, at };
        self.lanes[lane.0].procession.size = Some((showing.length, showing.cell));
        self.look_for_unseen(&frame, actions);
        if showing.spans.iter().any(|span| span.enters && span.leaves) {
            actions.extend(views.map(Action::Forget));
            let why = "something lies on the belt from one end of the gate to the other, or the light is another: parts pass unseen";
            return self.gate_failed(lane, why, actions);
        }
        self.alarms.is_over(Alarm::Faulty(self.gate_of(lane)), at);
        let seen = showing.spans.iter().map(|span| Seen::of(*span, belt, showing.length)).collect::<Vec<_>>();
        self.follow_parts(&frame, &seen, actions);
    }

    /// A frame that shows nothing, since it cannot be read: what the belt brings meanwhile may pass unseen.
    pub(super) fn showed_nothing(&mut self, sighting: &Sighting, at: Monotonic, actions: &mut Vec<Action>) {
        actions.push(Action::Forget(sighting.ticket));
        let Find::FreeRun(rules) = self.rules.lanes[sighting.lane.0].find else { return };
        let Some(belt) = self.place_of(sighting) else { return };
        let procession = &mut self.lanes[sighting.lane.0].procession;
        // What goes by from the first frame on counts, also when none of them could be read.
        procession.last.get_or_insert(belt);
        // Before any frame told how long the gate is, only what goes by farther than a part is long is surely told of; the first one that
        // can be read is held against the same place again.
        let unknown = (rules.longest + rules.shortest + rules.shortest, Length::default());
        let (length, cell) = procession.size.unwrap_or(unknown);
        let frame = Frame { lane: sighting.lane, rules, sighting, belt, length, cell, at };
        self.look_for_unseen(&frame, actions);
    }

    /// Parts come, and nobody knows where the belt is: they go by without a record of their own.
    fn unplaced(&mut self, showing: &Showing, at: Monotonic, actions: &mut Vec<Action>) {
        if !showing.spans.is_empty() {
            let text = "something lies in the gate while nobody knows where the belt is: parts pass unseen";
            self.alarms.happened(Alarm::MissedReject, text.to_owned(), at, actions);
        }
    }

    fn place_of(&self, sighting: &Sighting) -> Option<Length> {
        match sighting.stamp {
            StampSource::Doubtful => None,
            _ => self.belt.position(sighting.captured),
        }
    }

    fn gate_of(&self, lane: Lane) -> Device {
        Device::Gate(self.rules.own(lane))
    }

    /// Nobody can say any more what comes through the gate.
    fn gate_failed(&mut self, lane: Lane, why: &str, actions: &mut Vec<Action>) {
        let device = self.gate_of(lane);
        if !self.alarms.lasts(Alarm::Faulty(device)) {
            actions.push(Action::Health(device, Err(why.to_owned())));
            self.alarms.begins(Alarm::Faulty(device), why.to_owned(), actions);
            actions.push(Action::StopLine(why.to_owned()));
        }
    }

    /// Whether so much of the belt went by between two frames that a part may have done so unseen.
    fn look_for_unseen(&mut self, frame: &Frame, actions: &mut Vec<Action>) {
        let procession = &mut self.lanes[frame.lane.0].procession;
        let Some(last) = procession.last.max(procession.told) else { return };
        // At either end of the gate a part may lie of which too little is in it to be seen.
        let unseen = frame.belt - last - frame.length + frame.least() + frame.least();
        if unseen <= Length::default() {
            return;
        }
        procession.told = Some(frame.belt);
        let text = format!(
            "{unseen} of the belt went by without a frame that would show what lies on it: parts may have passed unseen"
        );
        self.alarms.happened(Alarm::MissedReject, text.clone(), frame.at, actions);
        self.follow(self.rules.late, text, actions);
    }

    fn follow_parts(&mut self, frame: &Frame, seen: &[Seen], actions: &mut Vec<Action>) {
        let mut procession = std::mem::take(&mut self.lanes[frame.lane.0].procession);
        for track in procession.tracks.iter_mut().filter(|track| !self.is_undecided(track.part)) {
            // What is lost may only be counted, and what is doubted never is.
            let ejected = match track.doubt {
                Some(_) => track.ejected(),
                None if !track.is_whole() && self.rules.skipped != SkippedPolicy::Count => Ejected::One,
                None => Ejected::Itself,
            };
            let (lo, hi) = track.stretch(&frame.rules);
            track.decided.get_or_insert(Decided { lo, hi, ejected });
        }
        let links = link(&procession.tracks, seen, &frame.rules);
        let is_lost = self.update(frame, seen, &links, &mut procession, actions);
        if procession.last.is_some_and(|last| frame.belt > last) {
            procession.step = procession.last.map_or(Length::default(), |last| frame.belt - last);
        }
        procession.last = Some(frame.belt);
        let is_gone = |track: &Track| track.hi + half(frame.length) + frame.rules.longest < frame.belt;
        for track in procession.tracks.extract_if(.., |track| is_gone(track)) {
            self.leaves(track.part, frame.at, actions);
        }
        procession.tracks.sort_by_key(|track| track.lo);
        self.lanes[frame.lane.0].procession = procession;
        if is_lost {
            self.belt_astray(frame.lane, frame.at, actions);
        }
    }

    /// Holds what is seen against what is known; says whether the belt is not believed any more.
    fn update(
        &mut self,
        frame: &Frame,
        seen: &[Seen],
        links: &[Option<usize>],
        procession: &mut Procession,
        actions: &mut Vec<Action>,
    ) -> bool {
        let known = procession.tracks.clone();
        let mut strays = 0;
        for (track, link) in procession.tracks.iter_mut().zip(links) {
            strays += u32::from(self.hold(frame, track, link.map(|k| &seen[k]), actions));
        }
        for (t, k) in links.iter().enumerate().filter_map(|(t, link)| Some((t, (*link)?))) {
            if !known[t].keeps_its_shape(&seen[k], frame.rules.window) {
                let others = known.iter().enumerate().filter(|(other, _)| *other != t).map(|(_, track)| track);
                procession.tracks[t].widen(&seen[k], &others.collect::<Vec<_>>(), frame.rules.window);
            }
        }
        let mut appeared = 0;
        for (k, seen) in seen.iter().enumerate() {
            let beneath = (0..known.len()).filter(|t| known[*t].overlaps(seen, frame.rules.window)).collect::<Vec<_>>();
            if links.contains(&Some(k)) {
                // A part that is not seen, though what is seen where it is was held for another one: it touches that.
                let hidden = beneath.into_iter().filter(|t| links[*t].is_none());
                for t in hidden {
                    procession.tracks[t].is_touching = true;
                    procession.tracks[t].within = seen.edges;
                    self.doubt(&mut procession.tracks[t], "it touches another part");
                }
                continue;
            }
            if is_accounted_for(seen, &procession.tracks[..known.len()], links, frame.rules.window) {
                continue;
            }
            let mut doubt = self.first_doubt(frame, seen, procession.last);
            for t in beneath {
                let why = match links[t] {
                    Some(_) => "it parted from another part",
                    None => "it lies elsewhere than the belt says",
                };
                self.doubt(&mut procession.tracks[t], why);
                doubt = doubt.or(Some(why));
            }
            appeared += u32::from(doubt.is_some());
            let track = self.enter(frame, seen, doubt);
            procession.tracks.push(track);
        }
        let is_missing = |track: &Track| frame.is_plain(track.lo, track.hi, frame.belt);
        let missing = known.iter().zip(links).filter(|(track, link)| link.is_none() && is_missing(track)).count();
        // One that vanished and one that appeared in one frame are the same one, elsewhere.
        procession.astray += strays + appeared.min(missing as u32);
        self.look_at(frame, seen, procession, actions);
        procession.astray >= ASTRAY
    }

    /// Holds a part against the span that it is, if there is one; says whether it is elsewhere than it was.
    fn hold(&mut self, frame: &Frame, track: &mut Track, seen: Option<&Seen>, actions: &mut Vec<Action>) -> bool {
        let Frame { rules: FreeRun { window, longest, .. }, belt, .. } = *frame;
        match seen {
            Some(seen) if track.keeps_its_shape(seen, window) => track.follow(seen),
            Some(_) => {
                track.is_touching = true;
                self.doubt(track, CHANGED);
            }
            None if frame.is_plain(track.lo, track.hi, belt) => {
                self.doubt(track, "it was not seen where the belt says it is");
            }
            None => {}
        }
        if seen.is_some() && belt - track.since > frame.length + longest + window {
            let why = "something does not move with the belt, before the lens or beside the belt: parts behind it pass unseen";
            self.gate_failed(frame.lane, why, actions);
        }
        if track.changed(window) && !track.strayed(window) {
            self.doubt(track, CHANGED);
        }
        let strays = !track.is_astray && track.strayed(window);
        if strays {
            track.is_astray = true;
            self.doubt(track, "it does not move as the belt does");
        }
        strays
    }

    /// Why something that was not there in the frame before cannot have come into the gate since.
    fn first_doubt(&self, frame: &Frame, seen: &Seen, last: Option<Length>) -> Option<&'static str> {
        let last = last?;
        if frame.is_plain(seen.lo, seen.hi, last) {
            return Some("it appeared in the middle of the gate");
        }
        (frame.belt + frame.rules.window < last).then_some("the belt went back, and brought it from where parts leave")
    }

    /// Something new in the gate is a part.
    fn enter(&mut self, frame: &Frame, seen: &Seen, doubt: Option<&'static str>) -> Track {
        let mut track = Track {
            part: PartId(0),
            first: seen.edges,
            now: seen.edges,
            between: Edges::default(),
            within: Edges::default(),
            lo: seen.lo,
            hi: seen.hi,
            since: frame.belt,
            viewed: None,
            is_astray: false,
            is_touching: false,
            is_several: false,
            doubt: None,
            decided: None,
        };
        track.part = self.add_seen(frame, track.middles(&frame.rules).first);
        doubt.into_iter().for_each(|why| self.doubt(&mut track, why));
        track
    }

    /// A part that this frame shows, which is before the camera when the belt is at `at_camera`.
    fn add_seen(&mut self, frame: &Frame, at_camera: Length) -> PartId {
        let Sighting { lane, frame: number, captured, stamp, origin, class, .. } = frame.sighting.clone();
        let (ticket, number, seen, at_camera) = (None, Some(number), Some(captured), Some(at_camera));
        let wait = Wait::Verdict;
        let new = NewPart { lane, ticket, frame: number, origin, class, seen, captured, stamp, at_camera, wait };
        self.add(new, frame.at)
    }

    fn is_undecided(&self, part: PartId) -> bool {
        self.open.get(part).is_some_and(|open| open.wait() == Wait::Verdict)
    }

    fn doubt(&mut self, track: &mut Track, why: &'static str) {
        track.doubt.get_or_insert(why);
        if let Some(followed) = self.open.followed(track.part) {
            followed.doubt.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Chooses which parts are inspected in this frame, and says where all of them are.
    fn look_at(&mut self, frame: &Frame, seen: &[Seen], procession: &mut Procession, actions: &mut Vec<Action>) {
        bound(&mut procession.tracks);
        let links = link(&procession.tracks, seen, &frame.rules);
        let unclaimed = seen.iter().enumerate().filter(|(k, _)| !links.contains(&Some(*k)));
        actions.extend(unclaimed.filter_map(|(_, seen)| seen.span.view).map(Action::Forget));
        let mut is_followed = false;
        for (track, link) in procession.tracks.iter_mut().zip(links) {
            let seen = link.map(|k| &seen[k]);
            let view = seen.and_then(|seen| seen.span.view);
            if track.is_too_long(seen, &frame.rules) {
                // Also when its edges, which are seen to so much only, lie nearer to each other in a later frame.
                track.is_several = true;
                self.doubt(track, "it is longer than a part: parts that touch, or something else");
            }
            self.decide_again(track, frame, actions);
            self.locate(track, frame);
            let beyond = frame.belt - track.middle(frame.rules.longest);
            let is_through = view.is_none() && track.is_whole() && beyond > Length::default();
            is_followed |= is_through && track.doubt.is_none();
            match view {
                Some(ticket) if self.wants(track, beyond, procession.step, frame) => {
                    track.viewed = Some(frame.belt);
                    self.choose(track.part, ticket, beyond, frame);
                    actions.push(Action::Inspect(ticket));
                }
                _ => actions.extend(view.map(Action::Forget)),
            }
            if is_through || self.is_seen_enough(track.part, frame) {
                self.leaves(track.part, frame.at, actions);
            }
        }
        // Where one part is where the belt says, it is not the belt that is wrong.
        if is_followed {
            procession.astray = 0;
        }
    }

    /// Whether a part that is so far beyond the middle of the gate is to be inspected in this frame: it is one of those nearest to
    /// the middle, as far as can be foreseen, and shows something else than the one before. One frame of what is doubted is enough to
    /// show what it was.
    fn wants(&self, track: &Track, beyond: Length, step: Length, frame: &Frame) -> bool {
        let open = self.open.get(track.part).filter(|open| open.wait() == Wait::Verdict);
        let Some(open) = open.filter(|open| !open.followed().is_past) else { return false };
        let most = if track.doubt.is_some() { 1 } else { frame.rules.most_frames };
        let begins = half(Length::from_nm(step.as_nm().saturating_mul(most.into())));
        let is_another = track.viewed.is_none_or(|viewed| frame.belt - viewed > half(step));
        open.record.views.len() < most as usize && beyond + begins >= Length::default() && is_another
    }

    fn is_seen_enough(&self, part: PartId, frame: &Frame) -> bool {
        let seen = self.open.get(part).map_or(0, |open| open.record.views.len());
        seen >= frame.rules.most_frames as usize
    }

    fn locate(&mut self, track: &Track, frame: &Frame) {
        let middles = track.middles(&frame.rules);
        // What lies elsewhere than it should, is hit where it was seen before that; unless nobody knows where it begins and ends.
        if track.is_astray && middles.first == middles.last {
            return;
        }
        if self.is_undecided(track.part) && !track.is_astray {
            self.open.relocate(track.part, middles.first);
        }
        if let Some(followed) = self.open.followed(track.part) {
            followed.middles = Some(middles);
        }
    }

    /// What turns out to be wrong with a part that is decided, or lies against it since, is rejected all the same: as further parts,
    /// since that one has its record.
    fn decide_again(&mut self, track: &mut Track, frame: &Frame, actions: &mut Vec<Action>) {
        for (lo, hi) in track.undecided(&frame.rules) {
            let why = format!("{}; part {} had been decided", track.doubt.unwrap_or_default(), track.part);
            let is_all = (lo, hi) == track.stretch(&frame.rules);
            let middles = if is_all { track.middles(&frame.rules) } else { stretched((lo, hi), &frame.rules) };
            let part = self.add_seen(frame, middles.first);
            if let Some(followed) = self.open.followed(part) {
                followed.middles = Some(middles);
            }
            self.reject_stretch(part, Unknown::Unfollowed(why), frame.at, actions);
            track.decided = track.decided.map(|decided| Decided {
                lo: decided.lo.min(lo),
                hi: decided.hi.max(hi),
                ejected: track.ejected(),
            });
        }
    }

    fn choose(&mut self, part: PartId, ticket: super::Ticket, offset: Length, frame: &Frame) {
        let Some(record) = self.open.record(part) else { return };
        let Sighting { frame: number, captured, stamp, origin, class, .. } = frame.sighting.clone();
        if record.ticket.is_none() {
            (record.ticket, record.frame, record.captured) = (Some(ticket), Some(number), captured);
        }
        (record.stamp, record.origin, record.class) = (stamp, origin, class);
        record.views.push(View { ticket, frame: number, captured, offset, outcome: None });
    }

    /// No further frame is chosen for the part.
    fn leaves(&mut self, part: PartId, at: Monotonic, actions: &mut Vec<Action>) {
        if let Some(followed) = self.open.followed(part) {
            followed.is_past = true;
        }
        self.conclude(part, at, actions);
    }

    /// Parts one after the other are not where the belt says: an encoder slips or counts nothing, or a belt whose speed is
    /// configured has another one.
    fn belt_astray(&mut self, lane: Lane, at: Monotonic, actions: &mut Vec<Action>) {
        let why = "parts lie elsewhere in the picture than the belt says";
        if let Belt::Measured(_) = &self.belt {
            let why = format!("{why}: the encoder slips, or mm_per_pixel or direction is not right");
            actions.push(Action::Health(Device::Encoder, Err(why.clone())));
            self.alarms.begins(Alarm::Faulty(Device::Encoder), why.clone(), actions);
            return self.lose_belt(&why, at, actions);
        }
        let why = format!("{why}: it stands or slips, or speed_mm_s, mm_per_pixel or direction is not right");
        for part in self.lanes[lane.0].procession.tracks.drain(..).map(|track| track.part).collect::<Vec<_>>() {
            if self.is_undecided(part) {
                self.reject_stretch(part, Unknown::Unfollowed(why.clone()), at, actions);
            }
        }
        self.gate_failed(lane, &why, actions);
    }
}

#[cfg(test)]
mod tests;
