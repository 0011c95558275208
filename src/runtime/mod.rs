//! The line at work: threads, queues, and the wiring of the stages, which know nothing of each other.
//!
//! ```text
//! camera thread --slot--> inspection thread --+
//!       |                                     |            +--> firing thread --> output
//!       +-------------- messages ------------>+-> run() ---+--> audit thread ---> file
//!                                                (core)    +--> observer thread
//! ```
//!
//! Between camera and inspection lies a slot of one frame for each lane, in which the newest wins. All other queues are bounded and
//! drained by threads that never wait for a device.

mod condition;
mod conductor;
pub(crate) mod control;
mod grabbing;
mod histogram;
mod inspection;
mod journal;
mod lately;
mod ledger;
mod observer;
pub(crate) mod realtime;
mod sensing;
mod signals;
mod slot;
mod stage;
mod standing;
mod summary;
mod threads;
mod wiring;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use conductor::run;
pub use inspection::{Change, Inspect, Judged, ModelInspector};
pub use observer::{Finished, Observer, Picture};
pub use signals::Signals;
pub use summary::{Ending, Percentiles, Summary};
pub(crate) use wiring::{Judges, camera_of, open_camera, open_encoder, open_input, open_output};

use crate::audit::{AuditLog, PartContext};
use crate::camera::{Camera, Region};
use crate::inputs::Input;
use crate::inputs::encoder::Encoder;
use crate::line::{Lane, Length, Rules};
use crate::outputs::Output;
use crate::presence::Gate;

/// What happens to a frame that arrives while the inspection is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// It takes the place of one that waits, which is skipped: the belt does not wait.
    NewestWins,
    /// The camera waits, so that every frame is inspected: for cameras that can wait.
    EveryFrame,
}

/// What senses parts and belt beside the camera.
#[derive(Default)]
pub struct Sensors {
    /// See parts before the camera does: those of a lane, and that of all lanes (`None`).
    pub photo_eyes: Vec<(Option<Lane>, Box<dyn Input>)>,
    /// Measures the belt.
    pub encoder: Option<Measure>,
    /// See ejected parts of a lane.
    pub confirms: Vec<(Lane, Box<dyn Input>)>,
    /// Sees that the bin is full.
    pub bin: Option<Box<dyn Input>>,
}

/// What measures the belt.
pub struct Measure {
    /// Counts.
    pub encoder: Box<dyn Encoder>,
    /// How far the belt moves from one count to the next.
    pub per_count: Length,
}

/// What a lane sees of a frame.
#[derive(Debug, Clone)]
pub struct LaneView {
    /// Its region of the picture; `None`: all of it.
    pub region: Option<Region>,
    /// Where its parts are found in the picture, if they are.
    pub gate: Option<Gate>,
    /// The product of a frame that does not say what it is.
    pub class: String,
}

/// Everything that a run needs, opened and ready.
pub struct Wiring {
    /// When a reject fires, and what counts as bad.
    pub rules: Rules,
    /// What each lane sees of a frame.
    pub views: Vec<LaneView>,
    /// Where frames come from.
    pub camera: Box<dyn Camera>,
    /// What judges them.
    pub inspector: Box<dyn Inspect>,
    /// Each lane's ejector.
    pub outputs: Vec<Box<dyn Output>>,
    /// What senses parts and belt beside the camera.
    pub sensors: Sensors,
    /// What the line is told beside rejects.
    pub signals: Signals,
    /// Where decisions are written down; it was opened last, since its start record says that the line is armed.
    pub audit: AuditLog,
    /// What the records of parts say beside what the line core knows.
    pub context: PartContext,
    /// What happens to a frame that arrives while the inspection is busy.
    pub pace: Pace,
    /// The run ends after so many parts.
    pub max_parts: Option<u64>,
    /// The run ends in good order when this becomes true.
    pub stop: Arc<AtomicBool>,
    /// Whether the log tells of each part that did not pass, and every minute of how the line does.
    pub journal: bool,
    /// Who looks at finished parts.
    pub observer: Option<Observer>,
    /// Whether real-time scheduling and locked memory are asked for.
    pub realtime: bool,
}

#[cfg(test)]
mod tests;
