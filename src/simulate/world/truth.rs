//! What truly became of the parts, and whether the records say so.

use std::time::Duration;

use crate::line::{Combine, Event, Fate, Find, FreeRun, Happening, LaneRules, Length, PartRecord, Unknown, Verdict};
use crate::simulate::belt::Piece;
use crate::simulate::lines::gate;
use crate::simulate::trouble::Spell;
use crate::time::Monotonic;

use super::due::What;
use super::{STEP, World, free_run, half, to_camera};

/// How far a belt moves that stops just after an order was given: the time for which the core gives orders in advance, and
/// what it hears late.
const UNFORESEEN: Duration = Duration::from_millis(40);
/// What an ejector did is known so long after it at the latest: reports get lost, and are waited for.
const REPORTED: Duration = Duration::from_secs(3);
/// How long a part falls until the sensor in the chute sees it.
const FALL: Duration = Duration::from_millis(60);

/// What truly became of a part, and what is on record.
#[derive(Default)]
pub(super) struct Truth {
    pub(super) seen: Monotonic,
    pub(super) was_blown: Option<bool>,
    pub(super) fate: Option<Fate>,
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

impl World {
    /// The piece that a part's frames show, where it was followed as one.
    pub(super) fn shown_in(&self, record: &PartRecord) -> Option<u64> {
        let is_one = !matches!(record.verdict, Verdict::Unknown(Unknown::Unfollowed(_)));
        let mut shown = record.views.iter().filter_map(|view| self.pictures.shown(view.ticket));
        let first = shown.next().filter(|first| is_one && !self.touched.contains(first))?;
        shown.all(|number| number == first).then_some(first)
    }

    /// Where the worst frame counts, no piece passes of which a frame was found bad.
    pub(super) fn hold_against_frames(
        &self,
        record: &PartRecord,
        run: FreeRun,
        number: Option<u64>,
    ) -> Result<(), String> {
        let said_bad = number.is_some_and(|number| self.said_bad.contains(&number));
        match said_bad && run.combine == Combine::Max && record.verdict == Verdict::Pass {
            true => Err(format!("part {} was passed, and one of its frames was found bad", record.part)),
            false => Ok(()),
        }
    }

    /// A part that is on record as rejected was before the ejector while it blew. Where an encoder missed some of the belt,
    /// only the sensor in the chute could know.
    pub(super) fn hold_against_truth(&mut self, number: u64) -> Result<(), String> {
        let Some(truth) = self.truths.get(&number) else { return Ok(()) };
        let (Some(was_blown), Some(fate)) = (truth.was_blown, &truth.fate) else { return Ok(()) };
        let is_right = was_blown || *fate != Fate::Rejected || self.slipped(truth.seen);
        self.truths.remove(&number);
        match is_right {
            true => Ok(()),
            false => Err(format!("piece {number} is on record as rejected, and air never hit it")),
        }
    }

    pub(super) fn passes(&mut self, piece: Piece) -> Result<(), String> {
        let lane = &self.plan.rules.lanes[piece.lane.0];
        let is_found_in_picture = free_run(lane).is_some();
        let before_ejector = piece.lead + to_middle(lane, &piece) + lane.ejector.distance;
        // One that is seen to change is hit where it was seen last; another may lie so far from where it was decided about.
        let slid = self.slid.get(&piece.number).filter(|_| !self.changed.contains(&piece.number));
        let margin = self.margin(lane) + slid.copied().unwrap_or_default();
        let was_blown = self.valves[piece.lane.0].blew(before_ejector, margin);
        if was_blown && lane.confirm.is_some() && !self.is_in(Spell::ChuteBlind, piece.lane, self.now) {
            let at = self.now + FALL;
            self.tell_at(at, Event { at, what: Happening::Confirmed(piece.lane) });
        }
        if let Some(truth) = self.truths.get_mut(&piece.number) {
            truth.was_blown = Some(was_blown);
        }
        let number = piece.number;
        if is_found_in_picture && !was_blown {
            self.push(self.now + REPORTED, What::Missed(Box::new(piece)));
        }
        self.hold_against_truth(number)
    }

    /// A bad piece that goes on was found good in all frames that counted, or an alarm stood while it was on the belt. One that was
    /// seen as one with others that is too long, or of which frames showed that it attached itself to another, parted from it, slid or
    /// turned, does not go on, whether it is bad or not, but for what an alarm told of.
    pub(super) fn told_of(&self, piece: &Piece) -> Result<(), String> {
        let Some(truth) = self.truths.get(&piece.number).filter(|_| self.is_armed) else { return Ok(()) };
        if self.slipped(truth.seen) {
            return Ok(());
        }
        let (is_too_long, is_changed) = (self.too_long.contains(&piece.number), self.changed.contains(&piece.number));
        if is_too_long || is_changed {
            let what = if is_too_long {
                "touched others, and was not rejected with them"
            } else {
                "was seen to change, and not rejected"
            };
            return match self.promises.is_warned() || self.warned >= truth.seen {
                true => Ok(()),
                false => Err(format!("piece {} {what}", piece.number)),
            };
        }
        let is_to_go = piece.is_bad && !self.touched.contains(&piece.number);
        let is_alarmed = self.promises.is_alarmed() || self.alarmed >= truth.seen;
        match !is_to_go || truth.fate == Some(Fate::Passed) || is_alarmed {
            true => Ok(()),
            false => Err(format!("bad piece {} passed the ejector, and nobody was told", piece.number)),
        }
    }

    /// As far as the ejector may be late, and a belt that is measured surprise.
    fn margin(&self, lane: &LaneRules) -> Length {
        let time = lane.ejector.tolerance + UNFORESEEN;
        Length::from_nm((self.plan.speed as f64 * time.as_secs_f64()) as i64 + 2 * STEP)
    }

    pub(super) fn open_parts(&self) -> u64 {
        self.truths.values().filter(|truth| truth.fate.is_none() && truth.seen != Monotonic::default()).count() as u64
    }
}
