//! What truly became of the parts, and whether the records say so.

use std::time::Duration;

use crate::line::{
    Combine, Event, Fate, Find, FreeRun, Happening, Lane, LaneRules, Length, PAST, PartRecord, Unknown, Verdict,
};
use crate::simulate::belt::Piece;
use crate::simulate::lines::gate;
use crate::simulate::trouble::Spell;
use crate::time::Monotonic;

use super::due::What;
use super::layout::{free_run, half, to_camera};
use super::slides::visible;
use super::{STEP, World};

/// How far a belt moves that stops just after an order was given: the time for which the core gives orders in advance, and
/// what it hears late.
const UNFORESEEN: Duration = Duration::from_millis(40);
/// What an ejector did is known so long after it at the latest: reports get lost, and are waited for.
const REPORTED: Duration = Duration::from_secs(3);
/// What becomes of a part whose place nobody knows is known so much later.
const UNLOCATED: Duration = Duration::from_secs(11);
/// An eye that is dark over more of the belt than a part is long is found to be blocked when the belt went so much farther: it is coarse, and
/// edges are told late.
const FOUND_BLOCKED: Duration = Duration::from_millis(100);
/// Where a part lies that is past the ejector is known so well: edges are seen to so much, and an encoder is coarse.
const PLACED_TO: Length = Length::from_nm(2 * STEP + 1_000_000);
/// How long a part falls until the sensor in the chute sees it.
const FALL: Duration = Duration::from_millis(60);

// Why a promise is not held for a piece, or a weaker one: what the report counts.

/// It touched another that slid or turned, or is about as long as a part may be with it, and no frame shows more than that.
const TOUCHED: &str = "touched without showing it";
/// It lies elsewhere than where it was decided about, and no frame shows it.
const SLID: &str = "slid without showing it";
/// The encoder missed some of the belt while it was on it.
const SLIPPED: &str = "on a belt that slipped";
/// It was in view with what slid, turned, was not shown or is too long, or while an alarm said that nobody knows what passes: any number of
/// records may begin then.
pub(super) const DISTURBED: &str = "in view when it was not clear which record is whose";

/// It came while something else kept its photo-eye dark, or so close behind it that the two are one to the eye: it has no record, and an alarm tells
/// of it once that is dark over more of the belt than a part is long.
const HIDDEN: &str = "behind what blocked the photo-eye for a while";
/// Its frame was lost, and no count tells of it: the camera counted anew, or the run had seen none before.
const UNCOUNTED: &str = "in a lost frame that was not counted";

/// What truly became of a part, and what is on record.
#[derive(Default)]
pub(super) struct Truth {
    pub(super) seen: Monotonic,
    /// The core that is told of it.
    pub(super) life: u64,
    /// When the piece before it was: where the encoder misses some of the belt between them, they seem to be one.
    pub(super) since: Monotonic,
    /// Whether the core is told of it, by an edge or a frame of its own: then it has a record.
    pub(super) is_told: bool,
    /// Why no part can be told from it, if so.
    pub(super) unseen: Option<Unseen>,
    pub(super) was_blown: Option<bool>,
    pub(super) fate: Option<Fate>,
}

/// Why the core cannot know that a piece is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Unseen {
    /// The photo-eye was dark from then on until then.
    Hidden(Monotonic, Monotonic),
    /// It came nearer to where the photo-eye became dark than parts are apart, and what made it dark was no part.
    Behind,
    /// Its frame was lost: the next one says so by its number.
    FrameLost,
    /// The camera was gone.
    CameraLost,
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
        let first = shown.next().filter(|_| is_one)?;
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

    /// Takes note of what is on record of the pieces that a part is.
    pub(super) fn settle(&mut self, record: PartRecord, lane: Lane, run: &FreeRun) -> Result<(), String> {
        let number = self.shown_in(&record);
        self.hold_against_frames(&record, *run, number)?;
        let part = number.and_then(|number| self.part_of(lane, number, run));
        for number in part.into_iter().flat_map(|part| part.pieces) {
            if let Some(truth) = self.truths.get_mut(&number) {
                truth.fate = Some(record.fate.clone());
            }
            self.hold_against_truth(number)?;
        }
        Ok(())
    }

    /// Where a part is on record as one that was found bad too late, a piece lay: where an edge of it was not seen, as far from there as a
    /// part may reach.
    pub(super) fn hold_lateness(&self, record: &PartRecord, lane: Lane, run: &FreeRun) -> Result<(), String> {
        let Fate::Unaccounted(why) = &record.fate else { return Ok(()) };
        let slips = record.seen.is_some_and(|seen| self.slipped(seen));
        if !why.contains(PAST) || slips {
            return Ok(());
        }
        let rules = &self.plan.rules.lanes[lane.0];
        let Some(belt) = self.belt.position(record.planned + rules.ejector.delay) else { return Ok(()) };
        let place = belt - half(gate(run)) - rules.ejector.distance;
        let unseen = match &record.verdict {
            Verdict::Unknown(Unknown::Unfollowed(_)) => run.longest,
            // As far as half the longest part is longer than what was seen.
            _ if record.views.is_empty() => half(run.longest) - run.shortest,
            _ => Length::default(),
        };
        let reach = PLACED_TO + unseen;
        let lies = |lead: Length, trail: Length| lead - reach <= place && place <= trail + reach;
        let is_piece = self
            .lain
            .range((lane, 0)..=(lane, u64::MAX))
            .any(|(_, (_, piece))| lies(piece.lead, piece.lead + piece.length));
        let is_mirage = || self.mirages.iter().any(|(_, of, lead, trail)| *of == lane && lies(*lead, *trail));
        match is_piece || is_mirage() {
            true => Ok(()),
            false => Err(format!(
                "part {} is on record as one that was not rejected in time, and no piece lay there",
                record.part
            )),
        }
    }

    /// A part that is on record as rejected was before the ejector while it blew. Where an encoder missed some of the belt,
    /// only the sensor in the chute could know.
    pub(super) fn hold_against_truth(&mut self, number: u64) -> Result<(), String> {
        let Some(truth) = self.truths.get(&number) else { return Ok(()) };
        let (Some(was_blown), Some(fate)) = (truth.was_blown, &truth.fate) else { return Ok(()) };
        let is_right = was_blown || *fate != Fate::Rejected || self.slipped(truth.seen);
        // Of one that goes on it is asked still whether somebody was told.
        if was_blown {
            self.truths.remove(&number);
        }
        match is_right {
            true => Ok(()),
            false => Err(format!("piece {number} is on record as rejected, and air never hit it")),
        }
    }

    pub(super) fn passes(&mut self, piece: Piece) -> Result<(), String> {
        let lane = &self.plan.rules.lanes[piece.lane.0];
        let run = free_run(lane);
        let mut margin = self.margin(lane);
        let mut before_ejector = piece.lead + to_middle(lane, &piece) + lane.ejector.distance;
        let mut weaker = None;
        if let Some(run) = &run {
            if let Some(part) = self.part_of(piece.lane, piece.number, run) {
                before_ejector = part.middle() + half(gate(run)) + lane.ejector.distance;
            } else if !self.is_to_be_rejected(piece.number) {
                weaker = Some(TOUCHED);
            }
            // One that is seen to change is hit where it was seen last; another may lie so far from where it was decided about.
            let slid = self.slid.get(&piece.number).filter(|_| !self.changed.contains(&piece.number));
            let slid = slid.copied().unwrap_or_default().min(visible(run));
            if slid > Length::default() {
                weaker = Some(SLID);
            }
            margin = margin + slid;
        }
        let was_blown = self.valves[piece.lane.0].blew(before_ejector, margin);
        if was_blown && lane.confirm.is_some() && !self.is_in(Spell::ChuteBlind, piece.lane, self.now) {
            let at = self.now + FALL;
            self.tell_at(at, Event { at, what: Happening::Confirmed(piece.lane) });
        }
        let slips = self.truths.get(&piece.number).is_some_and(|truth| self.slipped(truth.seen));
        self.report.pieces += 1;
        let unseen = self.truths.get(&piece.number).and_then(|truth| truth.unseen);
        let weaker = match unseen {
            _ if slips => Some(SLIPPED),
            Some(Unseen::Hidden(..) | Unseen::Behind) => Some(HIDDEN),
            _ => weaker,
        };
        weaker.into_iter().for_each(|why| self.exempt(why, 1));
        if let Some(truth) = self.truths.get_mut(&piece.number) {
            truth.was_blown = Some(was_blown);
        }
        let number = piece.number;
        if !was_blown {
            // Of a part whose place nobody knows the verdict is waited for.
            let known = if run.is_some() { REPORTED } else { REPORTED + UNLOCATED };
            self.push(self.now + known, What::Missed(Box::new(piece)));
        }
        self.hold_against_truth(number)
    }

    /// Whether frames showed of a piece that it attached itself to another, parted from it, slid or turned, or that it is one with others that
    /// is too long.
    fn is_to_be_rejected(&self, number: u64) -> bool {
        self.too_long.contains(&number) || self.changed.contains(&number)
    }

    /// A bad piece that goes on was found good in all frames that counted, or an alarm stood while it was on the belt; so was the part that
    /// it is with those that lie against it. One that is to be rejected does not go on, whether it is bad or not, but for what an alarm told
    /// of.
    pub(super) fn told_of(&mut self, piece: &Piece) -> Result<(), String> {
        let Some(truth) = self.truths.get(&piece.number).filter(|_| self.is_armed) else { return Ok(()) };
        if self.slipped(truth.since) {
            return Ok(());
        }
        if free_run(&self.plan.rules.lanes[piece.lane.0]).is_none() {
            return self.told_of_by_itself(piece);
        }
        if self.is_to_be_rejected(piece.number) {
            let what = if self.too_long.contains(&piece.number) {
                "touched others, and was not rejected with them"
            } else {
                "was seen to change, and not rejected"
            };
            return match self.promises.is_warned() || self.warned >= truth.seen {
                true => Ok(()),
                false => Err(format!("piece {} {what}", piece.number)),
            };
        }
        let run = free_run(&self.plan.rules.lanes[piece.lane.0]);
        let part = run.and_then(|run| self.part_of(piece.lane, piece.number, &run));
        let is_to_go = part.is_some_and(|part| part.is_bad);
        let is_alarmed = self.promises.is_alarmed() || self.alarmed >= truth.seen;
        match !is_to_go || truth.fate == Some(Fate::Passed) || is_alarmed {
            true => Ok(()),
            false => Err(format!("bad piece {} passed the ejector, and nobody was told", piece.number)),
        }
    }

    /// The same where each piece is told by a photo-eye, or by its frame. What a frame shows is plain there: a bad piece is never found good.
    fn told_of_by_itself(&mut self, piece: &Piece) -> Result<(), String> {
        let Some(truth) = self.truths.get(&piece.number).filter(|_| piece.is_bad) else { return Ok(()) };
        if truth.fate == Some(Fate::Passed) {
            return Err(format!("bad piece {} was passed by a frame that does not show it", piece.number));
        }
        if self.promises.is_alarmed() || self.alarmed >= truth.seen {
            return Ok(());
        }
        let seen = truth.seen;
        match truth.unseen {
            Some(Unseen::Hidden(from, until)) if !self.shows_blocked(piece, from, until) => {}
            Some(Unseen::Behind) => {}
            Some(Unseen::FrameLost) if self.frames_told.is_none_or(|(first, _)| first > seen) => {
                self.exempt(UNCOUNTED, 1)
            }
            Some(Unseen::FrameLost) if self.frames_told.is_some_and(|(_, newest)| newest < seen) => {
                self.push(self.now + REPORTED, What::Missed(Box::new(piece.clone())));
            }
            Some(Unseen::FrameLost) if self.counted_anew >= seen => self.exempt(UNCOUNTED, 1),
            _ => return Err(format!("bad piece {} passed the ejector, and nobody was told", piece.number)),
        }
        Ok(())
    }

    /// Whether an eye that was dark for so long shows that no part is before it.
    fn shows_blocked(&self, piece: &Piece, from: Monotonic, until: Monotonic) -> bool {
        let Find::PhotoEye(eye) = self.plan.rules.lanes[piece.lane.0].find else { return false };
        let way = self.belt.position(until.min(self.now)).zip(self.belt.position(from));
        let spare = Length::from_nm((self.plan.speed as f64 * FOUND_BLOCKED.as_secs_f64()) as i64 + 2 * STEP);
        way.is_some_and(|(there, here)| there - here > eye.longest + spare)
    }

    /// What the core was told of for so long has a record.
    pub(super) fn hold_records(&self, told: Monotonic) -> Result<(), String> {
        let is_due = |truth: &Truth| truth.is_told && truth.fate.is_none() && truth.seen < told;
        match self.truths.iter().find(|(_, truth)| is_due(truth) && !self.slipped(truth.since)) {
            Some((number, Truth { seen, .. })) => Err(format!("piece {number} was seen at {seen}, and has no record")),
            None => Ok(()),
        }
    }

    /// A promise is not held, or a weaker one, for so many pieces.
    pub(super) fn exempt(&mut self, why: &'static str, pieces: u64) {
        if pieces > 0 {
            *self.report.weaker.entry(why).or_default() += pieces;
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
