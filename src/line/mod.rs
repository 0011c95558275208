//! What happens to every part: the line's pure core.
//!
//! [`LineCore`] has no clock, thread, file or device. Events with their time stamps go in, actions with deadlines come
//! out, so the same core runs under the real devices and in a simulation in virtual time ([`crate::simulate`]).
//!
//! ```text
//! event ---> finding   frames and edges become parts      \
//!            gate      parts travel through the picture   |
//!            belt      where a part is, when it is where   > core: open parts, what they wait for ---> actions
//!            fate      verdict, ejection, confirmation    /
//!            alarms, limits    what a person must know
//! ```
//!
//! Several lanes may lie side by side on the belt. Each finds its parts, ejects and confirms for itself; belt, alarms and the
//! numbers of parts are common.
//!
//! A part has one identity, exactly one [`Verdict`] and exactly one [`Fate`]. A verdict that is missing, late or faulted
//! counts as bad: such a part is rejected, or, where that cannot be done, written down as unaccounted and alarmed. It is
//! never passed in silence.

mod alarms;
mod belt;
mod challenge;
mod core;
mod fate;
pub(crate) use fate::PAST;
mod finding;
mod gate;
mod limits;
mod open;
mod record;
mod rules;
#[cfg(test)]
mod tests;
mod views;

use std::fmt;
use std::time::Duration;

pub use self::core::LineCore;
pub use alarms::Alarm;
pub use belt::{Drive, Length};
pub use challenge::{Challenge, ChallengeNews, Outcome};
pub use record::{
    Counters, Evidence, Fate, Judgement, Latency, PartRecord, PictureFault, Uninspected, Unknown, Verdict, View,
};
pub use rules::{
    Combine, Confirm, Consequence, Ejector, Find, FreeRun, LaneRules, Limits, PhotoEye, Rules, Share, SkippedPolicy,
};

use crate::time::{Monotonic, StampSource};

/// A part's identity; it counts the parts of one run from 0 in the order in which they were captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId(pub u64);

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One of the lanes that lie side by side on the belt, counted from 0 in their order; a belt without lanes is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lane(pub usize);

/// Names one arrival of a frame within a run. Frame numbers do not: a camera that was reopened may count from 0 again,
/// and on a belt with lanes each sees its own part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A frame that the camera delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// What later events call this frame.
    pub ticket: Ticket,
    /// The lane that it shows.
    pub lane: Lane,
    /// The camera's number of the frame; a gap is a frame that never arrived.
    pub frame: u64,
    /// When it was captured.
    pub captured: Monotonic,
    /// Which moment `captured` is.
    pub stamp: StampSource,
    /// Where the picture came from.
    pub origin: String,
    /// The product that it is inspected as.
    pub class: String,
}

/// What a frame shows of the belt, where parts are found in the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Showing {
    /// How much of the belt it shows: the gate's length.
    pub length: Length,
    /// To so much the edges of what lies there are seen.
    pub cell: Length,
    /// What lies there, in the order in which it leaves the gate.
    pub spans: Vec<Span>,
}

/// A stretch of the belt that is not empty. Its edges count from where parts enter the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its trailing edge.
    pub from: Length,
    /// Its leading edge.
    pub to: Length,
    /// Whether it reaches beyond the border at which parts enter: its trailing edge is not in the picture.
    pub enters: bool,
    /// Whether it reaches beyond the border at which they leave.
    pub leaves: bool,
    /// What its own picture is called, where it is whole: it can be inspected.
    pub view: Option<Ticket>,
}

/// A device whose health the line follows. Of what each lane may have its own, it says whose it is; `None`: the whole belt's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    /// Where frames come from.
    Camera,
    /// What ejects.
    Output(Option<Lane>),
    /// What sees parts before the camera does.
    PhotoEye(Option<Lane>),
    /// The part of the picture in which parts are found.
    Gate(Option<Lane>),
    /// What measures the belt.
    Encoder,
    /// What sees ejected parts.
    ConfirmSensor(Option<Lane>),
    /// What sees that the bin is full.
    BinSensor,
    /// What stops the line.
    StopOutput,
    /// What tells the line that this program lives.
    Heartbeat,
    /// What tells people of alarms.
    AlarmOutput,
    /// Where decisions are written down.
    Audit,
    /// The pictures themselves: light, focus, or a camera that sends the same one for ever.
    Picture(Option<Lane>),
    /// What judges parts.
    Inspection,
}

impl Device {
    /// The lane that it is of, where it is not the whole belt's.
    pub fn lane(self) -> Option<Lane> {
        match self {
            Device::Output(lane)
            | Device::PhotoEye(lane)
            | Device::Gate(lane)
            | Device::ConfirmSensor(lane)
            | Device::Picture(lane) => lane,
            _ => None,
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(lane) = self.lane() {
            write!(f, "lane-{}-", lane.0 + 1)?;
        }
        f.write_str(match self {
            Device::Camera => "camera",
            Device::Output(_) => "output",
            Device::PhotoEye(_) => "photo-eye",
            Device::Gate(_) => "gate",
            Device::Encoder => "encoder",
            Device::ConfirmSensor(_) => "confirm-sensor",
            Device::BinSensor => "bin-sensor",
            Device::StopOutput => "stop-output",
            Device::Heartbeat => "heartbeat",
            Device::AlarmOutput => "alarm-output",
            Device::Audit => "audit",
            Device::Picture(_) => "picture",
            Device::Inspection => "inspection",
        })
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When it happened. Events of different threads may arrive slightly out of order.
    pub at: Monotonic,
    /// What it was.
    pub what: Happening,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// A frame arrived and waits for its inspection.
    Captured(Sighting),
    /// A frame arrived in whose picture parts are found.
    Showed(Sighting, Showing),
    /// A frame arrived that cannot be read.
    Broken(Sighting, String),
    /// A lane's photo-eye, or that of all lanes, became dark (`true`: a part begins) or light at [`Event::at`].
    Eye(Option<Lane>, bool),
    /// That photo-eye is found dark at [`Event::at`], and nobody saw where that began: before the run, or while its device was away.
    FoundDark(Option<Lane>),
    /// The belt is at that place since [`Event::at`].
    Moved(Length),
    /// A newer frame took the place of this one before it was inspected.
    Skipped(Ticket),
    /// An inspection ended, or failed for the reason given.
    Inspected(Ticket, Result<(Judgement, Latency), Uninspected>),
    /// The ejector acted on the part at that moment, or failed to: once for each [`Order`].
    Fired(PartId, Result<Monotonic, String>),
    /// The sensor in the lane's chute saw something fall at [`Event::at`].
    Confirmed(Lane),
    /// The bin for rejected parts is full, or no longer.
    Bin(bool),
    /// A device failed, or fails for another reason than before.
    Fault(Device, String),
    /// A device works again. Its alarm ends when it has for [`Rules::quiet`].
    Recovered(Device),
    /// What is seen has changed, as the text says.
    Drift(String),
    /// The run before ended without a word, and nobody knows what became of the parts that were on the belt then, as the text says.
    Interrupted(String),
    /// The decisions can no longer be written down, and no more of them can be kept.
    AuditLost,
    /// A person announces known bad pieces: the next parts that are found.
    Challenged(Challenge),
    /// Who announced the pieces of the challenge that is under way has gone away: no more of them come.
    Withdrawn,
    /// The run ends: no further part will be found, and those on the belt still get their fates.
    NoMoreParts,
    /// Time passed; see [`LineCore::next_wakeup`].
    Tick,
    /// Nothing is left to wait for: whatever is still open is closed as unaccounted.
    Halt,
}

/// An order to reject a part: activate the ejector at `at` for `pulse`. A pulse that overlaps another extends it. There are several for a
/// part that may lie anywhere in a stretch of the belt.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The part.
    pub part: PartId,
    /// The lane whose ejector is to act.
    pub lane: Lane,
    /// The product that it was inspected as.
    pub class: String,
    /// What the inspection found, if it did.
    pub score: Option<f32>,
    /// When the ejector must be told to act; at once if that has just passed.
    pub at: Monotonic,
    /// After this moment the order is void: another part would be hit.
    pub latest: Monotonic,
    /// For how long it is told to act.
    pub pulse: Duration,
}

/// What must be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Inspect that frame, or that part's picture: it shows a part.
    Inspect(Ticket),
    /// That frame shows no part, or no part needs it any more.
    Forget(Ticket),
    /// Reject a part.
    Fire(Order),
    /// Drop all that was to fire, and bring the output to its safe level.
    SetSafe,
    /// Tell a person.
    RaiseAlarm(Alarm, String),
    /// The cause is gone.
    ClearAlarm(Alarm),
    /// A device's health changed: it fails for the reason given, or has worked again for a while.
    Health(Device, Result<(), String>),
    /// How a challenge goes.
    Challenge(ChallengeNews),
    /// Something else to write down.
    Note(String),
    /// Write down what became of a part. Each part has exactly one such record.
    Record(Box<PartRecord>),
    /// Stop the line, for this reason: what the configuration asks for cannot be kept up.
    StopLine(String),
}
