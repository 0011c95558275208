//! How parts are found: each frame is one, or a photo-eye sees each and a frame is found for it. (In the picture: [`super::gate`].)

use std::collections::VecDeque;
use std::time::Duration;

use super::alarms::Alarm;
use super::belt::{Belt, Length};
use super::core::{LineCore, NewPart};
use super::open::Wait;
use super::{Action, Device, Find, Lane, PartId, PhotoEye, Sighting, Ticket, Unknown};
use crate::time::{Monotonic, StampSource};

/// So many frames that were lost at once get a record each; more are not a belt that goes on.
const LARGEST_GAP: u64 = 10_000;
/// An edge of the photo-eye is told at most so long after it.
const EDGE_DELAY: Duration = Duration::from_millis(20);
/// So many frames are kept for parts that the eye has not told of yet.
const SHELF: usize = 8;
/// A belt that moved by less than this fraction of the parts' pitch from one edge to the next stood still between them.
const STANDSTILL: i64 = 10;

/// A lane's frames for which no part is known yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Shelf(VecDeque<Shelved>);

#[derive(Debug)]
struct Shelved {
    sighting: Sighting,
    /// Why it cannot be read.
    broken: Option<String>,
    /// Where the belt was.
    place: Length,
}

/// What the photo-eye saw last in a lane.
#[derive(Debug, Default)]
pub(super) struct Eye {
    /// Where the belt was when the part before came.
    newest: Option<Length>,
    /// Where the belt was at the edge before, of that part or of a hole in it.
    edge: Option<Length>,
    /// Where the belt was when it became dark, while it is.
    dark_since: Option<Length>,
    /// Since when it seems to be dark over more of the belt than a part is long.
    seems_blocked: Option<Monotonic>,
    pitch: Length,
}

impl Eye {
    /// Two of the parts that it saw are at least so far apart.
    pub(super) fn pitch(&self) -> Length {
        self.pitch
    }

    pub(super) fn forget_place(&mut self) {
        (self.newest, self.edge, self.dark_since, self.seems_blocked) = (None, None, None, None);
    }
}

impl LineCore {
    pub(super) fn captured(&mut self, sighting: Sighting, at: Monotonic, actions: &mut Vec<Action>) {
        match self.rules.lanes[sighting.lane.0].find {
            Find::EveryFrame => {
                self.close_gap(&sighting, at, actions);
                let ticket = sighting.ticket;
                self.open_frame(sighting, at, actions);
                actions.push(Action::Inspect(ticket));
            }
            Find::PhotoEye(eye) => self.shelve(sighting, None, eye, at, actions),
            // Where parts are found in the picture, it is told what it shows.
            Find::FreeRun(_) => actions.push(Action::Forget(sighting.ticket)),
        }
    }

    pub(super) fn broken(&mut self, sighting: Sighting, why: String, at: Monotonic, actions: &mut Vec<Action>) {
        match self.rules.lanes[sighting.lane.0].find {
            Find::EveryFrame => {
                self.close_gap(&sighting, at, actions);
                let part = self.open_frame(sighting, at, actions);
                self.without_verdict(part, Unknown::Broken(why), at, actions);
            }
            Find::PhotoEye(eye) => self.shelve(sighting, Some(why), eye, at, actions),
            Find::FreeRun(_) => self.showed_nothing(&sighting, at, actions),
        }
    }

    /// A part that is its frame.
    fn open_frame(&mut self, sighting: Sighting, at: Monotonic, actions: &mut Vec<Action>) -> PartId {
        self.lanes[sighting.lane.0].newest = Some((sighting.frame, sighting.captured, sighting.stamp));
        let ticket = sighting.ticket;
        self.found(sighting, Some(ticket), at, actions)
    }

    fn found(
        &mut self,
        sighting: Sighting,
        ticket: Option<Ticket>,
        at: Monotonic,
        actions: &mut Vec<Action>,
    ) -> PartId {
        let Sighting { lane, frame, captured, stamp, origin, class, .. } = sighting;
        let at_camera = (stamp != StampSource::Doubtful).then(|| self.belt.position(captured)).flatten();
        if let (Belt::Measured(_), Some(place)) = (&self.belt, at_camera) {
            self.hold_against_encoder(lane, place, "the camera", at, actions);
        }
        // An encoder that was just found to be at fault does not tell this part's place either.
        let at_camera = at_camera.filter(|_| self.belt.position(captured).is_some());
        let (frame, seen, wait) = (Some(frame), None, Wait::Verdict);
        self.add(NewPart { lane, ticket, frame, origin, class, seen, captured, stamp, at_camera, wait }, at)
    }

    /// Frames that the camera counted and never delivered are parts too: their captures lie evenly between those of
    /// their neighbours; nobody knows when they were where that is not known of a neighbour.
    fn close_gap(&mut self, sighting: &Sighting, at: Monotonic, actions: &mut Vec<Action>) {
        let Some((newest, captured, stamp)) = self.lanes[sighting.lane.0].newest else { return };
        let Some(missing) = sighting.frame.checked_sub(newest + 1) else {
            let text = format!("the camera counts anew: frame {} follows frame {newest}", sighting.frame);
            return actions.push(Action::Note(text));
        };
        if missing > LARGEST_GAP {
            let text =
                format!("{missing} frames were lost before frame {}: their parts went on unseen", sighting.frame);
            self.alarms.happened(Alarm::MissedReject, text.clone(), at, actions);
            return actions.push(Action::StopLine(text));
        }
        let step = sighting.captured.saturating_since(captured) / (missing as u32 + 1);
        let stamp = match [stamp, sighting.stamp].contains(&StampSource::Doubtful) {
            true => StampSource::Doubtful,
            false => StampSource::Interpolated,
        };
        for k in 1..=missing {
            let (frame, captured, origin) = (newest + k, captured + step * k as u32, String::new());
            let part = self.found(Sighting { frame, captured, stamp, origin, ..sighting.clone() }, None, at, actions);
            self.without_verdict(part, Unknown::Lost, at, actions);
        }
    }

    /// An edge of the lane's photo-eye, or that of all lanes, at `at`: it is dark while a part is before it.
    pub(super) fn eye(&mut self, owner: Option<Lane>, is_dark: bool, at: Monotonic, actions: &mut Vec<Action>) {
        if !is_dark {
            self.alarms.is_over(Alarm::Faulty(Device::PhotoEye(owner)), at);
        }
        let seen = self.rules.each_lane().filter_map(|(lane, rules)| match rules.find {
            Find::PhotoEye(eye) if eye.own.then_some(lane) == owner => Some((lane, eye)),
            _ => None,
        });
        let seen = seen.collect::<Vec<_>>();
        if seen.is_empty() {
            actions.push(Action::Note("a photo-eye tells of a part, though none is configured".into()));
        }
        for (lane, eye) in seen {
            self.eye_of(lane, eye, is_dark, at, actions);
        }
    }

    /// An eye is found dark: a part like any other, but its leading edge has gone by before. So the one behind it may come sooner from here
    /// than parts are apart, and is no hole in it: held for one, it would pass uninspected.
    pub(super) fn found_dark(&mut self, owner: Option<Lane>, at: Monotonic, actions: &mut Vec<Action>) {
        let known = self.lanes.iter().map(|lane| lane.eye.newest).collect::<Vec<_>>();
        self.eye(owner, true, at, actions);
        for (state, known) in self.lanes.iter_mut().zip(known) {
            // What is too near to the part before to be another is that one, and where that begins is known.
            state.eye.newest = state.eye.newest.filter(|newest| Some(*newest) == known);
        }
    }

    fn eye_of(&mut self, lane: Lane, eye: PhotoEye, is_dark: bool, at: Monotonic, actions: &mut Vec<Action>) {
        let place = self.belt.position(at);
        let state = &mut self.lanes[lane.0].eye;
        (state.pitch, state.dark_since, state.seems_blocked) = (eye.pitch, place.filter(|_| is_dark), None);
        if !is_dark {
            return;
        }
        if let Some(place) = place
            && self.is_same_part(lane, place, eye.pitch, at, actions)
        {
            return;
        }
        let place = self.belt.position(at);
        self.lanes[lane.0].eye.newest = place;
        let at_camera = place.map(|place| place + eye.to_camera);
        let captured = at_camera.and_then(|place| self.belt.when(place, at)).unwrap_or(at);
        let (ticket, frame, origin, class) = (None, None, String::new(), String::new());
        let (seen, stamp, wait) = (Some(at), StampSource::Interpolated, Wait::Frame);
        let part = self.add(NewPart { lane, ticket, frame, origin, class, seen, captured, stamp, at_camera, wait }, at);
        match at_camera {
            Some(place) => self.find_on_shelf(lane, part, place, eye, at, actions),
            None => self.without_verdict(part, Unknown::Unlocated, at, actions),
        }
    }

    /// Whether an edge belongs to the part that came before: to a hole in it, or to a belt that went back and forth.
    fn is_same_part(
        &mut self,
        lane: Lane,
        place: Length,
        pitch: Length,
        at: Monotonic,
        actions: &mut Vec<Action>,
    ) -> bool {
        let eye = &mut self.lanes[lane.0].eye;
        let edge = eye.edge.replace(place);
        let Some(newest) = eye.newest else { return false };
        if place - newest >= pitch {
            return false;
        }
        // A hole does not begin where its part does. Behind that, teeth may lie near each other, but no two edges in one place: an encoder
        // that stopped to count there would make all that follow holes.
        let moved = match edge {
            Some(edge) if edge != newest => place > edge,
            _ => place - newest > Length::from_nm(pitch.as_nm() / STANDSTILL),
        };
        match &self.belt {
            Belt::Constant(_) => true,
            Belt::Measured(track) if moved || track.is_reversed() => true,
            Belt::Measured(_) => {
                self.hold_against_encoder(lane, place, "the photo-eye", at, actions);
                false
            }
        }
    }

    /// Two parts of a lane are not in one place: whoever saw them says that the encoder stands still though the belt does not.
    fn hold_against_encoder(&mut self, lane: Lane, place: Length, who: &str, at: Monotonic, actions: &mut Vec<Action>) {
        let pitch = match self.rules.lanes[lane.0].find {
            Find::PhotoEye(eye) => eye.pitch,
            Find::EveryFrame | Find::FreeRun(_) => Length::from_nm(1),
        };
        if let Some(newest) = self.lanes[lane.0].eye.newest.replace(place)
            && place - newest < pitch
        {
            let why = format!("{who} saw another part, though the belt did not move by a part's length ({pitch})");
            actions.push(Action::Health(Device::Encoder, Err(why.clone())));
            self.alarms.begins(Alarm::Faulty(Device::Encoder), why.clone(), actions);
            self.lose_belt(&why, at, actions);
        }
    }

    /// Nobody knows any more where the parts on the belt are.
    pub(super) fn lose_belt(&mut self, why: &str, at: Monotonic, actions: &mut Vec<Action>) {
        if let Belt::Measured(track) = &mut self.belt {
            track.lose();
        }
        self.forget_places();
        let shelved = self.lanes.iter_mut().flat_map(|lane| lane.shelf.0.drain(..));
        actions.extend(shelved.map(|shelved| Action::Forget(shelved.sighting.ticket)));
        let is_lost = |wait: Wait| matches!(wait, Wait::Frame | Wait::Verdict | Wait::Place);
        let lost = self.open.iter().filter(|(_, open)| is_lost(open.wait()) && open.at_ejector().is_some());
        let lost = lost.map(|(part, open)| (part, open.wait())).collect::<Vec<_>>();
        lost.iter().for_each(|(part, _)| self.open.lose_place(*part));
        for (part, wait) in lost {
            match wait {
                Wait::Place => self.missed(part, format!("nobody knows where it is: {why}"), at, actions),
                _ => self.without_verdict(part, Unknown::Unlocated, at, actions),
            }
        }
    }

    /// A frame of a camera that runs freely: the part whose first one it is gets it.
    fn shelve(
        &mut self,
        sighting: Sighting,
        broken: Option<String>,
        eye: PhotoEye,
        at: Monotonic,
        actions: &mut Vec<Action>,
    ) {
        let place = match sighting.stamp {
            StampSource::Doubtful => None,
            _ => self.belt.position(sighting.captured),
        };
        let Some(place) = place else {
            return actions.push(Action::Forget(sighting.ticket));
        };
        let lane = sighting.lane;
        let waiting = self.open.iter().filter(|(_, open)| open.lane() == lane && open.wait() == Wait::Frame);
        let waiting = waiting.filter_map(|(part, open)| Some((part, open.at_camera()?))).collect::<Vec<_>>();
        let shelved = Shelved { sighting, broken, place };
        let mut is_taken = false;
        for (part, at_camera) in waiting {
            if place < at_camera {
                break;
            }
            if place - at_camera > eye.window {
                self.without_verdict(part, Unknown::Lost, at, actions);
            } else {
                self.take(part, &shelved, &mut is_taken, at, actions);
            }
        }
        if is_taken {
            return;
        }
        let shelf = &mut self.lanes[lane.0].shelf.0;
        if shelf.len() == SHELF
            && let Some(oldest) = shelf.pop_front()
        {
            actions.push(Action::Forget(oldest.sighting.ticket));
        }
        shelf.push_back(shelved);
    }

    /// A frame may have come before the edge was told.
    fn find_on_shelf(
        &mut self,
        lane: Lane,
        part: PartId,
        at_camera: Length,
        eye: PhotoEye,
        at: Monotonic,
        actions: &mut Vec<Action>,
    ) {
        let fits = |shelved: &Shelved| shelved.place >= at_camera && shelved.place - at_camera <= eye.window;
        let shelf = &mut self.lanes[lane.0].shelf.0;
        let Some(first) = shelf.iter().position(fits) else { return };
        let Some(shelved) = shelf.remove(first) else { return };
        self.take(part, &shelved, &mut false, at, actions);
    }

    /// The frame is the part's; it may be that of two parts that lie close together, and is inspected once.
    fn take(&mut self, part: PartId, shelved: &Shelved, is_taken: &mut bool, at: Monotonic, actions: &mut Vec<Action>) {
        let Some(record) = self.open.record(part) else { return };
        let Sighting { ticket, frame, captured, stamp, origin, class, .. } = shelved.sighting.clone();
        (record.ticket, record.frame, record.captured, record.stamp) = (Some(ticket), Some(frame), captured, stamp);
        (record.origin, record.class) = (origin, class);
        self.open.wait_for(part, Wait::Verdict);
        let is_first = !std::mem::replace(is_taken, true);
        match &shelved.broken {
            Some(why) => self.without_verdict(part, Unknown::Broken(why.clone()), at, actions),
            None if is_first => actions.push(Action::Inspect(ticket)),
            None => {}
        }
    }

    /// Frames that no part can claim any more: the eye would have told of it.
    pub(super) fn forget_frames(&mut self, at: Monotonic, actions: &mut Vec<Action>) {
        for lane in (0..self.lanes.len()).map(Lane) {
            if let Find::PhotoEye(eye) = self.rules.lanes[lane.0].find {
                self.look_for_blocked_eye(lane, eye, at, actions);
                self.forget_frames_of(lane, eye, at, actions);
            }
        }
    }

    fn forget_frames_of(&mut self, lane: Lane, eye: PhotoEye, at: Monotonic, actions: &mut Vec<Action>) {
        let shelf = &mut self.lanes[lane.0].shelf.0;
        if shelf.is_empty() {
            return;
        }
        let Some(told) = self.belt.position(at - EDGE_DELAY) else { return };
        while shelf.front().is_some_and(|shelved| shelved.place < told + eye.to_camera)
            && let Some(shelved) = shelf.pop_front()
        {
            actions.push(Action::Forget(shelved.sighting.ticket));
        }
    }

    /// An eye that seems to be dark for too long is believed when it had time to tell otherwise: after the whole program stood still,
    /// the edge at which it became light is told later than the one before.
    fn look_for_blocked_eye(&mut self, lane: Lane, eye: PhotoEye, at: Monotonic, actions: &mut Vec<Action>) {
        let device = Device::PhotoEye(eye.own.then_some(lane));
        let state = &mut self.lanes[lane.0].eye;
        let (Some(since), Some(place)) = (state.dark_since, self.belt.position(at)) else { return };
        if place - since <= eye.longest || self.alarms.lasts(Alarm::Faulty(device)) {
            return;
        }
        if at >= *state.seems_blocked.get_or_insert(at) + EDGE_DELAY {
            let why = format!(
                "the photo-eye is dark over more of the belt than a part is long ({}): parts pass unseen",
                eye.longest
            );
            actions.push(Action::Health(device, Err(why.clone())));
            self.alarms.begins(Alarm::Faulty(device), why.clone(), actions);
            actions.push(Action::StopLine(why));
        }
    }
}
