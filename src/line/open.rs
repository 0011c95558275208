//! The parts whose fate is not settled, what they wait for, and which of them must be looked at next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::belt::{Belt, Length};
use super::{Ejector, Lane, PartId, PartRecord};
use crate::time::Monotonic;

/// How long before its moment a part needs its verdict, so that the ejector can still be armed.
pub(super) const LEAD: Duration = Duration::from_millis(5);
/// On a belt that is measured an order is given so long before its moment: what the belt does until then is not foreseen.
pub(super) const COMMIT: Duration = Duration::from_millis(20);
/// How long a part is open whose place nobody knows: then it is late.
pub(super) const UNLOCATED_PATIENCE: Duration = Duration::from_secs(10);

/// What an open part waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Its frame.
    Frame,
    /// Its inspection.
    Verdict,
    /// The belt, which has to bring it before the ejector.
    Place,
    /// The report that the ejector acted, until this moment.
    Firing(Monotonic),
    /// The sensor that sees what was ejected, until this moment.
    Confirmation(Monotonic),
}

/// A part on the belt.
#[derive(Debug)]
pub(super) struct OpenPart {
    pub(super) record: PartRecord,
    lane: Lane,
    /// From the command to the moment at which its lane's ejector acts.
    delay: Duration,
    wait: Wait,
    /// Where the belt is when the part is before the camera; `None` where nobody knows.
    at_camera: Option<Length>,
    /// Where the belt is when the part is before the ejector; `None` where nobody knows.
    at_ejector: Option<Length>,
    opened: Monotonic,
    /// What of it is known, where it is found in the picture, that its record does not say.
    followed: Followed,
    pulses: Pulses,
}

/// How the ejector acts on a part that may lie anywhere in a stretch of the belt: several times, and it is one part all the same.
#[derive(Debug, Default)]
pub(super) struct Pulses {
    /// Where the belt is when the ejector must act again, after the place that the part waits for.
    pub(super) further: VecDeque<Length>,
    /// When the ejector was told to act, as far as it has not reported.
    pub(super) unreported: Vec<Monotonic>,
    /// Until then at the latest it does what it was told last.
    pub(super) latest: Monotonic,
    /// When it acted in time.
    pub(super) acted: Vec<Monotonic>,
    /// Why one of its acts failed; the first reason counts.
    pub(super) failed: Option<String>,
}

/// How a part travels through the picture.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Why it is not one part on a belt that moves as it is said to; the first reason counts.
    pub(super) doubt: Option<String>,
    /// Whether no further frame will be chosen for it.
    pub(super) is_past: bool,
    /// Where its middle may be.
    pub(super) middles: Option<Middles>,
}

/// Where on the belt the middle of a part may be, or those of several that are taken for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Middles {
    pub(super) first: Length,
    pub(super) last: Length,
    /// No part there is shorter.
    pub(super) least: Length,
}

impl OpenPart {
    pub(super) fn lane(&self) -> Lane {
        self.lane
    }

    pub(super) fn wait(&self) -> Wait {
        self.wait
    }

    pub(super) fn at_camera(&self) -> Option<Length> {
        self.at_camera
    }

    pub(super) fn at_ejector(&self) -> Option<Length> {
        self.at_ejector
    }

    pub(super) fn opened(&self) -> Monotonic {
        self.opened
    }

    pub(super) fn followed(&self) -> &Followed {
        &self.followed
    }

    pub(super) fn pulses(&self) -> &Pulses {
        &self.pulses
    }

    /// When something must follow although nothing happened to it.
    fn due(&self) -> Option<Due> {
        match (self.wait, self.at_ejector) {
            (Wait::Firing(until) | Wait::Confirmation(until), _) => Some(Due::At(until)),
            (Wait::Frame | Wait::Verdict, None) => Some(Due::At(self.opened + UNLOCATED_PATIENCE)),
            (Wait::Frame | Wait::Verdict, Some(place)) => Some(Due::Before(self.delay + LEAD, place)),
            (Wait::Place, place) => Some(Due::Before(self.delay + COMMIT, place?)),
        }
    }
}

/// A moment that is known, or so long before the belt brings what is on it to a place.
enum Due {
    At(Monotonic),
    Before(Duration, Length),
}

/// The parts whose fate is not settled.
///
/// At each event the core asks which part is due next. A belt reaches places in their order, so of the parts that are due
/// equally long before the belt reaches them, the one whose place comes first is the first: only that one's moment is computed.
#[derive(Debug, Default)]
pub(super) struct OpenParts {
    parts: BTreeMap<PartId, OpenPart>,
    times: BTreeSet<(Monotonic, PartId)>,
    places: BTreeMap<Duration, BTreeSet<(Length, PartId)>>,
    /// So often did it change what is due.
    changes: u64,
}

impl OpenParts {
    /// Opens a part of a lane with that ejector at `at`; it was or will be before the camera when the belt is at `at_camera`.
    pub(super) fn insert(
        &mut self,
        record: PartRecord,
        (lane, ejector): (Lane, &Ejector),
        wait: Wait,
        at_camera: Option<Length>,
        at: Monotonic,
    ) {
        let (part, delay) = (record.part, ejector.delay);
        let at_ejector = at_camera.map(|place| place + ejector.distance);
        let (followed, pulses) = (Followed::default(), Pulses::default());
        let open = OpenPart { record, lane, delay, wait, at_camera, at_ejector, opened: at, followed, pulses };
        self.parts.insert(part, open);
        self.note(part);
    }

    /// Its fate is settled.
    pub(super) fn remove(&mut self, part: PartId) -> Option<OpenPart> {
        self.strike(part);
        self.parts.remove(&part)
    }

    pub(super) fn wait_for(&mut self, part: PartId, wait: Wait) {
        self.change(part, |open| open.wait = wait);
    }

    /// Nobody knows any more where it is.
    pub(super) fn lose_place(&mut self, part: PartId) {
        self.change(part, |open| open.at_ejector = None);
    }

    /// Where it is before the camera is known better.
    pub(super) fn relocate(&mut self, part: PartId, at_camera: Length) {
        self.change(part, |open| {
            open.at_ejector = open.at_ejector.zip(open.at_camera).map(|(there, here)| at_camera + (there - here));
            open.at_camera = Some(at_camera);
        });
    }

    /// It is before the ejector at the first of these places, and maybe at the others: there the ejector acts on it too.
    pub(super) fn spread(&mut self, part: PartId, at_camera: &[Length]) {
        let [first, further @ ..] = at_camera else { return };
        self.relocate(part, *first);
        self.change(part, |open| {
            let to_ejector = open.at_ejector.zip(open.at_camera).map(|(there, here)| there - here);
            open.pulses.further = to_ejector.iter().flat_map(|way| further.iter().map(|place| *place + *way)).collect();
        });
    }

    /// Whether there is a further place where the ejector must act on it; then it waits for that one.
    pub(super) fn goes_on(&mut self, part: PartId) -> bool {
        let Some(next) = self.pulses(part).and_then(|pulses| pulses.further.pop_front()) else { return false };
        self.change(part, |open| open.at_ejector = Some(next));
        true
    }

    pub(super) fn pulses(&mut self, part: PartId) -> Option<&mut Pulses> {
        self.parts.get_mut(&part).map(|open| &mut open.pulses)
    }

    /// What of a part that is found in the picture is known beside its record.
    pub(super) fn followed(&mut self, part: PartId) -> Option<&mut Followed> {
        self.parts.get_mut(&part).map(|open| &mut open.followed)
    }

    pub(super) fn get(&self, part: PartId) -> Option<&OpenPart> {
        self.parts.get(&part)
    }

    pub(super) fn record(&mut self, part: PartId) -> Option<&mut PartRecord> {
        self.parts.get_mut(&part).map(|open| &mut open.record)
    }

    pub(super) fn records(&mut self) -> impl Iterator<Item = &mut PartRecord> {
        self.parts.values_mut().map(|open| &mut open.record)
    }

    /// In the order in which they were found.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PartId, &OpenPart)> {
        self.parts.iter().map(|(part, open)| (*part, open))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// When the first of them is due, as seen at `now`.
    pub(super) fn next_due(&self, belt: &Belt, now: Monotonic) -> Option<Monotonic> {
        let time = self.times.first().map(|(at, _)| *at);
        let places = self.places.iter().filter_map(|(ahead, places)| {
            let (place, _) = places.first()?;
            Some(belt.when(*place, now)? - *ahead)
        });
        places.chain(time).min()
    }

    /// Those that are due at `now`, with what they wait for, in the order in which they were found.
    pub(super) fn due(&self, belt: &Belt, now: Monotonic) -> Vec<(PartId, Wait)> {
        let times = self.times.iter().take_while(|(at, _)| *at <= now).map(|(_, part)| *part);
        let places = self.places.iter().flat_map(|(ahead, places)| {
            let is_due = |place| belt.when(place, now).is_some_and(|when| when - *ahead <= now);
            places.iter().take_while(move |(place, _)| is_due(*place)).map(|(_, part)| *part)
        });
        let mut due = times.chain(places).filter_map(|part| Some((part, self.get(part)?.wait))).collect::<Vec<_>>();
        due.sort_unstable_by_key(|(part, _)| *part);
        due
    }

    fn change(&mut self, part: PartId, change: impl FnOnce(&mut OpenPart)) {
        self.strike(part);
        if let Some(open) = self.parts.get_mut(&part) {
            change(open);
        }
        self.note(part);
    }

    /// Another number once what is due may be another.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    fn note(&mut self, part: PartId) {
        self.changes += 1;
        match self.get(part).and_then(OpenPart::due) {
            Some(Due::At(at)) => drop(self.times.insert((at, part))),
            Some(Due::Before(ahead, place)) => drop(self.places.entry(ahead).or_default().insert((place, part))),
            None => {}
        }
    }

    fn strike(&mut self, part: PartId) {
        self.changes += 1;
        match self.get(part).and_then(OpenPart::due) {
            Some(Due::At(at)) => drop(self.times.remove(&(at, part))),
            Some(Due::Before(ahead, place)) => {
                self.places.get_mut(&ahead).map(|places| places.remove(&(place, part)));
            }
            None => {}
        }
    }
}
