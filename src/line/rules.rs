//! What the line goes by: how parts are found, where things are along the belt, and what follows from what.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::{Drive, Lane, Length};

/// What the line goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The lanes that lie side by side on the belt: at least one.
    pub lanes: Vec<LaneRules>,
    /// What tells how the belt moves.
    pub drive: Drive,
    /// How many rejects of a lane are too many.
    pub limits: Limits,
    /// An alarm is over when its cause did not come again for so long.
    pub quiet: Duration,
    /// What follows when a bad part cannot be rejected.
    pub late: Consequence,
    /// What follows when a part was not inspected because the inspection was busy, or its frame never arrived.
    pub skipped: SkippedPolicy,
    /// What follows when the bin for rejects is full.
    pub bin_full: Consequence,
}

impl Rules {
    /// An alarm is over when its cause did not come again for so long.
    pub const QUIET: Duration = Duration::from_secs(10);

    /// Every frame is a part, which is before the ejector `travel` after its capture; the ejector acts for `dwell`, and has
    /// missed its part when it acts more than `tolerance` late. All else is counted, not stopped for.
    pub fn timed(travel: Duration, dwell: Duration, tolerance: Duration) -> Self {
        let ejector = Ejector {
            distance: Length::at_one_metre_per_second(travel),
            delay: Duration::ZERO,
            dwell,
            gap: Duration::ZERO,
            tolerance,
            pulses_merge: true,
            most_per_second: None,
        };
        Rules {
            lanes: vec![LaneRules { name: None, find: Find::EveryFrame, ejector, confirm: None }],
            drive: Drive::ONE_METRE_PER_SECOND,
            limits: Limits::default(),
            quiet: Self::QUIET,
            late: Consequence::Count,
            skipped: SkippedPolicy::Reject,
            bin_full: Consequence::Count,
        }
    }

    /// How long a part needs from its capture to its fate, with all that may follow. A belt that an encoder measures may
    /// stand still for longer than anybody wants to wait.
    pub fn longest_way(&self) -> Duration {
        const MEASURED: Duration = Duration::from_secs(30);
        let of_lane = |lane: &LaneRules| {
            let travel = match self.drive {
                Drive::Constant(speed) => {
                    Duration::from_secs_f64(lane.ejector.distance.as_nm().max(0) as f64 / speed.max(1) as f64)
                }
                Drive::Encoder => MEASURED,
            };
            let confirmation = lane.confirm.map_or(Duration::ZERO, |confirm| confirm.until);
            travel + lane.ejector.dwell + lane.ejector.tolerance + confirmation
        };
        self.lanes.iter().map(of_lane).max().unwrap_or_default()
    }

    /// The lanes in their order.
    pub fn each_lane(&self) -> impl Iterator<Item = (Lane, &LaneRules)> {
        self.lanes.iter().enumerate().map(|(k, rules)| (Lane(k), rules))
    }

    /// How a device is told that belongs to this lane alone: on a belt without lanes it is simply the belt's.
    pub fn own(&self, lane: Lane) -> Option<Lane> {
        self.lanes[lane.0].name.is_some().then_some(lane)
    }

    /// Whether each frame of the camera is a part of every lane.
    pub fn finds_frames(&self) -> bool {
        self.lanes.iter().all(|lane| lane.find == Find::EveryFrame)
    }
}

/// What one lane goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneRules {
    /// Its name; `None` on a belt without lanes.
    pub name: Option<Arc<str>>,
    /// How its parts are found.
    pub find: Find,
    /// What takes its bad parts off the belt.
    pub ejector: Ejector,
    /// What tells that it did.
    pub confirm: Option<Confirm>,
}

/// How a part is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Find {
    /// Each frame is a part: the camera is triggered by it, or a folder is replayed.
    EveryFrame,
    /// A photo-eye before the camera sees each part, or each row of parts that lie side by side.
    PhotoEye(PhotoEye),
    /// Parts travel through the camera's picture and are found in it.
    FreeRun(FreeRun),
}

/// Parts that are found in the picture, and followed through it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FreeRun {
    /// A part may lie so far from where the belt says that it is.
    pub window: Length,
    /// What is shorter is no part.
    pub shortest: Length,
    /// What is longer is no single part.
    pub longest: Length,
    /// How its frames' scores become one.
    pub combine: Combine,
    /// A part passes by so many judged frames at least.
    pub frames: u32,
    /// And is inspected in so many at most: those in which it is nearest to the middle of the gate.
    pub most_frames: u32,
}

/// How the scores of a part's frames become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// The worst counts: a part is bad that any of its frames shows to be.
    #[default]
    Max,
    /// Their mean counts.
    Mean,
}

/// A photo-eye that sees each part before the camera does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PhotoEye {
    /// Whether it is the lane's alone, and not that of all lanes.
    pub own: bool,
    /// From the eye to where the camera looks.
    pub to_camera: Length,
    /// A part's frame is the first one that was captured when the part was at most so far past where the camera looks.
    pub window: Length,
    /// Two parts are at least so far apart.
    pub pitch: Length,
    /// No part is longer: an eye that is dark for longer is blocked.
    pub longest: Length,
}

/// What takes bad parts off the belt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ejector {
    /// From where the camera looks, the middle of the gate where parts are found in the picture, to where the ejector acts.
    pub distance: Length,
    /// From the command to the moment at which it acts: it is told so much earlier.
    pub delay: Duration,
    /// How long it is told to act.
    pub dwell: Duration,
    /// Between two pulses it needs so long: those that are closer become one.
    pub gap: Duration,
    /// An activation that has not taken effect this long after its moment has missed its part.
    pub tolerance: Duration,
    /// Whether pulses that overlap, or lie closer than that, are one act: not where each part is told to a device by a message of its own.
    pub pulses_merge: bool,
    /// It can act so many times in a second.
    pub most_per_second: Option<u32>,
}

/// A sensor in the chute sees what was ejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Confirm {
    /// It sees a part this long after the command at the earliest.
    pub from: Duration,
    /// And this long after it at the latest.
    pub until: Duration,
    /// What follows when it saw none.
    pub missing: Consequence,
}

/// How many rejects are too many: then the process, the light or the model is at fault rather than the part.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// So many parts in a row that did not pass.
    pub in_a_row: Option<u32>,
    /// This share of the last parts did not pass.
    pub share: Option<Share>,
    /// What follows.
    pub exceeded: Consequence,
}

/// A share of the last parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// 0..=1.
    pub of: f64,
    /// How many parts are looked back upon.
    pub last: u32,
}

/// What follows from what should not be, beside an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consequence {
    /// It is counted.
    #[default]
    Count,
    /// The line stops.
    StopLine,
}

/// What follows when a part was not inspected: nobody looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkippedPolicy {
    /// The part is rejected.
    #[default]
    Reject,
    /// The part stays on the belt and is counted as unaccounted, with an alarm.
    Count,
}
