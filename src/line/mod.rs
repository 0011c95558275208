//! What happens to every part: the line's pure core.
//!
//! [`LineCore`] has no clock, thread, file or device. Events with their time stamps go in, actions with deadlines come
//! out, so the same core runs under the real devices and in a simulation in virtual time. Here each frame is a part.
//!
//! A part has one identity, exactly one [`Verdict`] and exactly one [`Fate`]. A verdict that is missing, late or faulted
//! counts as bad: such a part is rejected, or, where that cannot be done, written down as unaccounted and alarmed. It is
//! never passed in silence.

mod core;
mod record;
#[cfg(test)]
mod simulation;

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

pub use self::core::LineCore;
pub use record::{Counters, Fate, Judgement, Latency, PartRecord, Unknown, Verdict};

use crate::time::{Monotonic, StampSource};

/// When a reject fires, and what counts as bad.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// From a part's capture to the moment at which the ejector must act on it.
    pub travel: Duration,
    /// How long the ejector acts.
    pub pulse: Duration,
    /// An activation that has not taken effect this long after its deadline has missed its part.
    pub tolerance: Duration,
    /// An alarm is over when its cause did not come again for so long.
    pub quiet: Duration,
    /// What follows when a bad part cannot be rejected.
    pub late: LatePolicy,
    /// What follows when a frame was not inspected because the inspection was busy, or never arrived.
    pub skipped: SkippedPolicy,
}

/// What follows when a bad part cannot be rejected in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatePolicy {
    /// The part is counted as unaccounted, with an alarm.
    #[default]
    Count,
    /// In addition the run ends.
    StopLine,
}

/// What follows when a frame was not inspected. Each frame is a part, so this is a part that nobody looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkippedPolicy {
    /// The part is rejected.
    #[default]
    Reject,
    /// The part stays on the belt and is counted as unaccounted, with an alarm.
    Count,
}

/// A part's identity; it counts the parts of one run from 0 in the order in which they were captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId(pub u64);

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one arrival of a frame within a run. Frame numbers do not: a camera that was reopened may count from 0 again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A frame that the camera delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// What later events call this frame.
    pub ticket: Ticket,
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

/// A device whose health the line follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    /// Where frames come from.
    Camera,
    /// What ejects.
    Output,
    /// Where decisions are written down.
    Audit,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Device::Camera => "camera",
            Device::Output => "output",
            Device::Audit => "audit",
        })
    }
}

/// What a person must know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// Parts went by without a verdict.
    Uninspected,
    /// Bad parts were not rejected.
    MissedReject,
    /// A device does not work.
    Faulty(Device),
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Alarm::Uninspected => f.write_str("uninspected"),
            Alarm::MissedReject => f.write_str("missed-reject"),
            Alarm::Faulty(device) => write!(f, "{device}-fault"),
        }
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
    /// A frame arrived that cannot be read.
    Broken(Sighting, String),
    /// A newer frame took the place of this one before it was inspected.
    Skipped(Ticket),
    /// An inspection ended, or failed for the reason given.
    Inspected(Ticket, Result<(Judgement, Latency), String>),
    /// The ejector acted on the part at that moment, or failed to.
    Fired(PartId, Result<Monotonic, String>),
    /// A device failed, or fails for another reason than before.
    Fault(Device, String),
    /// A device works again. Its alarm ends when it has for [`Rules::quiet`].
    Recovered(Device),
    /// The decisions can no longer be written down, and no more of them can be kept.
    AuditLost,
    /// Time passed; see [`LineCore::next_wakeup`].
    Tick,
    /// Nothing is left to wait for: whatever is still open is closed as unaccounted.
    Halt,
}

/// What must be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Activate the ejector at `at` for `pulse`. A pulse that overlaps another extends it.
    Fire {
        /// The part that is rejected.
        part: PartId,
        /// When; it may just have passed.
        at: Monotonic,
        /// After this moment another part is before the ejector: the order is void.
        latest: Monotonic,
        /// For how long.
        pulse: Duration,
    },
    /// Drop all that was to fire, and bring the output to its safe level.
    SetSafe,
    /// Tell a person.
    RaiseAlarm(Alarm, String),
    /// The cause is gone.
    ClearAlarm(Alarm),
    /// A device's health changed: it fails for the reason given, or has worked again for a while.
    Health(Device, Result<(), String>),
    /// Something else to write down.
    Note(String),
    /// Write down what became of a part. Each part has exactly one such record.
    Record(Box<PartRecord>),
    /// End the run: what the configuration asks for cannot be kept up.
    StopLine(String),
}
