//! What is known of a part when its fate is settled.

use std::sync::Arc;
use std::time::Duration;

use super::{Length, PartId, Ticket};
use crate::digest::Digest;
use crate::picture::{Fault, Statistics};
use crate::time::{Monotonic, StampSource};

/// What the inspection found.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// How unlike a normal part it is.
    pub score: f32,
    /// The calibrated threshold.
    pub threshold: f32,
    /// Whether the calibration rejects the score.
    pub rejects: bool,
    /// The calibration that says so.
    pub calibration: Digest,
    /// What the score was made of, for people and reports.
    pub evidence: Evidence,
}

/// What a score was made of.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// The highest value of every level, in standard deviations of normal parts on this line.
    pub levels: Vec<f32>,
    /// Where the part is most unlike a normal one: columns and rows of the frame, each from 0 to 1.
    pub place: Option<(f32, f32)>,
}

/// Why an inspection came to nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Uninspected {
    /// The failure, in words.
    pub why: String,
    /// Where the picture was refused before it was judged: what decided that.
    pub picture: Option<PictureFault>,
}

/// What decided that a picture is none to judge a part by; enough to compute that again from the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PictureFault {
    /// What is wrong with it.
    pub fault: Fault,
    /// What it was like.
    pub statistics: Statistics,
    /// The calibration whose limits and mask these were held against; `None` where no limits were known.
    pub calibration: Option<Digest>,
}

impl From<String> for Uninspected {
    fn from(why: String) -> Self {
        Uninspected { why, picture: None }
    }
}

impl From<&str> for Uninspected {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

/// Where a part's time went between its capture and its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Latency {
    /// From the capture to the beginning of the inspection.
    pub wait: Duration,
    /// Resize and conversion.
    pub preprocess: Duration,
    /// The network.
    pub network: Duration,
    /// Mixture densities, anomaly map and score.
    pub score: Duration,
    /// From the capture to the verdict.
    pub total: Duration,
}

/// What a part is held to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Good.
    Pass,
    /// Bad.
    Reject,
    /// Not known in time, so treated as bad.
    Unknown(Unknown),
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// A newer frame took its place before it was inspected.
    Skipped,
    /// The camera says that a frame was captured and never delivered.
    Lost,
    /// The frame cannot be read.
    Broken(String),
    /// The inspection failed.
    Faulted(String),
    /// The inspection had not ended when the ejector had to be armed.
    Late,
    /// Nobody knows where the belt, and so the part, is.
    Unlocated,
    /// It did not travel through the picture as one part on a belt does.
    Unfollowed(String),
    /// The run ended first.
    Stopped,
}

impl Verdict {
    /// The verdict as one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Reject => "reject",
            Verdict::Unknown(_) => "unknown",
        }
    }
}

impl Unknown {
    /// The words of all reasons.
    pub const WORDS: [&str; 8] = ["skipped", "lost", "broken", "faulted", "late", "unlocated", "unfollowed", "stopped"];

    /// The reason as one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Unknown::Skipped => "skipped",
            Unknown::Lost => "lost",
            Unknown::Broken(_) => "broken",
            Unknown::Faulted(_) => "faulted",
            Unknown::Late => "late",
            Unknown::Unlocated => "unlocated",
            Unknown::Unfollowed(_) => "unfollowed",
            Unknown::Stopped => "stopped",
        }
    }

    /// The failure underneath, where there is one.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Unknown::Broken(why) | Unknown::Faulted(why) | Unknown::Unfollowed(why) => Some(why),
            Unknown::Skipped | Unknown::Lost | Unknown::Late | Unknown::Unlocated | Unknown::Stopped => None,
        }
    }
}

/// What became of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It went on as a good part.
    Passed,
    /// The ejector acted on it in time.
    Rejected,
    /// It is bad or unknown and nobody can say that it left the belt, for the reason given.
    Unaccounted(String),
}

impl Fate {
    /// The fate as one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Fate::Passed => "passed",
            Fate::Rejected => "rejected",
            Fate::Unaccounted(_) => "unaccounted",
        }
    }
}

/// One of the frames that a part was inspected in, where it is found in the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// What the part's picture of this frame is called.
    pub ticket: Ticket,
    /// The camera's number of the frame.
    pub frame: u64,
    /// When it was captured.
    pub captured: Monotonic,
    /// How far beyond the middle of the gate the part was; negative before it.
    pub offset: Length,
    /// Its score, or why there is none; `None` while its inspection has not ended.
    pub outcome: Option<Result<f32, Uninspected>>,
}

/// What is known of a part when its fate is settled.
#[derive(Debug, Clone, PartialEq)]
pub struct PartRecord {
    /// The part.
    pub part: PartId,
    /// The name of its lane, on a belt with lanes.
    pub lane: Option<Arc<str>>,
    /// What the caller calls its frame; `None` for a frame that never arrived. Of a part with several, the one with the highest
    /// score, and the first one while none has any.
    pub ticket: Option<Ticket>,
    /// The camera's number of its frame; `None` where no frame shows the part.
    pub frame: Option<u64>,
    /// Where the picture came from; empty for a frame that never arrived.
    pub origin: String,
    /// The product that it was inspected as.
    pub class: String,
    /// When it came before the photo-eye, where there is one; or when it was captured first, where it is found in the picture.
    pub seen: Option<Monotonic>,
    /// When it was captured; interpolated for a frame that never arrived.
    pub captured: Monotonic,
    /// Which moment `captured` is; for a frame that never arrived, that of the frame after it.
    pub stamp: StampSource,
    /// When the ejector has to be told to act on it, if it is bad: as far as is known, when the belt may still stop.
    pub planned: Monotonic,
    /// What the inspection found, even when that came too late to count.
    pub judgement: Option<Judgement>,
    /// Why the picture of its `ticket` was refused before it was judged, even when that came too late to count.
    pub picture_fault: Option<PictureFault>,
    /// Where the time went.
    pub latency: Option<Latency>,
    /// The frames that it was inspected in, where it is found in the picture.
    pub views: Vec<View>,
    /// The one verdict.
    pub verdict: Verdict,
    /// How long before `planned` the verdict was there, in milliseconds; negative when it came after it.
    pub slack_ms: f64,
    /// When the ejector had been told to act, if it was; where it had to several times, the first time.
    pub fired: Option<Monotonic>,
    /// When the sensor in the chute saw it, where there is one.
    pub confirmed: Option<Monotonic>,
    /// Whether it is a known bad piece, which a person sent to see whether it is rejected.
    pub challenge: bool,
    /// The one fate.
    pub fate: Fate,
}

/// How many parts met which end; all of them only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Parts whose fate is settled.
    pub parts: u64,
    /// Fates: went on as good.
    pub passed: u64,
    /// Fates: ejected in time.
    pub rejected: u64,
    /// Fates: bad or unknown, and not known to be ejected.
    pub unaccounted: u64,
    /// Verdicts: good.
    pub good: u64,
    /// Verdicts: bad.
    pub bad: u64,
    /// No verdict: a newer frame took the place.
    pub skipped: u64,
    /// No verdict: the frame never arrived.
    pub lost: u64,
    /// No verdict: the frame cannot be read.
    pub broken: u64,
    /// No verdict: the inspection failed.
    pub faulted: u64,
    /// No verdict: the inspection had not ended in time.
    pub late: u64,
    /// No verdict: nobody knows where the part is.
    pub unlocated: u64,
    /// No verdict: it did not travel through the picture as one part does.
    pub unfollowed: u64,
    /// No verdict: the run ended first.
    pub stopped: u64,
}

impl Counters {
    pub(crate) fn count(&mut self, record: &PartRecord) {
        self.parts += 1;
        let fate = match record.fate {
            Fate::Passed => &mut self.passed,
            Fate::Rejected => &mut self.rejected,
            Fate::Unaccounted(_) => &mut self.unaccounted,
        };
        *fate += 1;
        let verdict = match &record.verdict {
            Verdict::Pass => &mut self.good,
            Verdict::Reject => &mut self.bad,
            Verdict::Unknown(Unknown::Skipped) => &mut self.skipped,
            Verdict::Unknown(Unknown::Lost) => &mut self.lost,
            Verdict::Unknown(Unknown::Broken(_)) => &mut self.broken,
            Verdict::Unknown(Unknown::Faulted(_)) => &mut self.faulted,
            Verdict::Unknown(Unknown::Late) => &mut self.late,
            Verdict::Unknown(Unknown::Unlocated) => &mut self.unlocated,
            Verdict::Unknown(Unknown::Unfollowed(_)) => &mut self.unfollowed,
            Verdict::Unknown(Unknown::Stopped) => &mut self.stopped,
        };
        *verdict += 1;
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Counters) {
        let pairs = [
            (&mut self.parts, other.parts),
            (&mut self.passed, other.passed),
            (&mut self.rejected, other.rejected),
            (&mut self.unaccounted, other.unaccounted),
            (&mut self.good, other.good),
            (&mut self.bad, other.bad),
            (&mut self.skipped, other.skipped),
            (&mut self.lost, other.lost),
            (&mut self.broken, other.broken),
            (&mut self.faulted, other.faulted),
            (&mut self.late, other.late),
            (&mut self.unlocated, other.unlocated),
            (&mut self.unfollowed, other.unfollowed),
            (&mut self.stopped, other.stopped),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
    }

    /// The counters with their names, in a fixed order.
    pub fn named(&self) -> [(&'static str, u64); 14] {
        [
            ("parts", self.parts),
            ("passed", self.passed),
            ("rejected", self.rejected),
            ("unaccounted", self.unaccounted),
            ("good", self.good),
            ("bad", self.bad),
            ("skipped", self.skipped),
            ("lost", self.lost),
            ("broken", self.broken),
            ("faulted", self.faulted),
            ("late", self.late),
            ("unlocated", self.unlocated),
            ("unfollowed", self.unfollowed),
            ("stopped", self.stopped),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_all_reasons() {
        let why = String::new;
        let reasons = [
            Unknown::Skipped,
            Unknown::Lost,
            Unknown::Broken(why()),
            Unknown::Faulted(why()),
            Unknown::Late,
            Unknown::Unlocated,
            Unknown::Unfollowed(why()),
            Unknown::Stopped,
        ];
        assert_eq!(reasons.map(|reason| reason.as_str()), Unknown::WORDS);
    }
}
