//! A line, as far as readers look at it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::approval::Approval;
use crate::audit::chain;
use crate::audit::kind::Kind;
use crate::digest::Digest;
use crate::picture::Statistics;
use crate::print;

/// What readers look at. A kind of record has some of the fields; what a newer program added is left out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of docs/audit.md")]
pub struct Entry {
    #[serde(deserialize_with = "chain::number")]
    pub seq: u64,
    pub kind: String,
    pub time: String,
    #[serde(default)]
    pub monotonic_ns: u64,
    // A start.
    pub run: Option<String>,
    #[serde(default, deserialize_with = "fitting")]
    pub line: Option<String>,
    pub program: Option<String>,
    /// What ejects, in words; of a `continued` too, but for older logs.
    #[serde(default, deserialize_with = "fitting")]
    pub output: Option<String>,
    /// Of parts, whose pictures are kept whatever becomes of them; of a `continued` too. `None` where no pictures are kept, and in
    /// logs of before this was written.
    #[serde(default, deserialize_with = "fitting")]
    pub sample: Option<f64>,
    /// Of a `continued` too: who let what decides into production.
    #[serde(default, deserialize_with = "fitting")]
    pub approvals: Option<Vec<Approval>>,
    // A part.
    pub part: Option<u64>,
    pub lane: Option<String>,
    pub frame: Option<u64>,
    pub pixels_sha256: Option<Digest>,
    pub origin: Option<String>,
    pub class: Option<String>,
    pub score: Option<f32>,
    pub threshold: Option<f32>,
    pub place: Option<[f64; 2]>,
    pub verdict: Option<String>,
    pub reason: Option<String>,
    pub detail: Option<String>,
    pub fate: Option<String>,
    pub fate_reason: Option<String>,
    pub planned_ns: Option<u64>,
    pub fired_ns: Option<u64>,
    pub slack_ms: Option<f64>,
    pub latency_ms: Option<LatencyEntry>,
    pub frames: Option<Vec<FrameEntry>>,
    pub bundle: Option<Digest>,
    pub calibration: Option<Digest>,
    /// `None` too in logs of before this was written.
    pub picture_fault: Option<PictureFaultEntry>,
    pub picture: Option<PictureEntry>,
    pub challenge: Option<bool>,
    /// Also of a start.
    #[serde(default, deserialize_with = "fitting")]
    pub dry_run: Option<bool>,
    // Events.
    pub device: Option<String>,
    pub alarm: Option<String>,
    pub raised: Option<bool>,
    pub why: Option<String>,
    pub text: Option<String>,
    pub records: Option<u64>,
    // Pictures, or files of the log itself, that were removed.
    #[serde(default, deserialize_with = "fitting")]
    pub files: Option<u64>,
    #[serde(default, deserialize_with = "fitting")]
    pub of: Option<String>,
    #[serde(default, deserialize_with = "fitting")]
    pub until: Option<String>,
    #[serde(default, deserialize_with = "fitting")]
    pub last: Option<String>,
    #[serde(default, deserialize_with = "fitting")]
    pub pictures: Option<u64>,
    #[serde(default, deserialize_with = "fitting")]
    pub bytes: Option<u64>,
    // The disk's room.
    #[serde(default, deserialize_with = "fitting")]
    pub low: Option<bool>,
    #[serde(default, deserialize_with = "fitting")]
    pub free_bytes: Option<u64>,
    // An acknowledgement.
    #[serde(default, deserialize_with = "fitting")]
    pub alarms: Option<Vec<SeenAlarm>>,
    #[serde(default, deserialize_with = "fitting")]
    pub remark: Option<String>,
    // A challenge; other kinds may have other things of these names.
    #[serde(default, deserialize_with = "fitting")]
    pub by: Option<String>,
    #[serde(default, deserialize_with = "fitting")]
    pub pieces: Option<u64>,
    #[serde(default, deserialize_with = "fitting")]
    pub passed: Option<bool>,
    #[serde(default, deserialize_with = "fitting")]
    pub caught: Option<Vec<u64>>,
    #[serde(default, deserialize_with = "fitting")]
    pub missed: Option<Vec<serde_json::Value>>,
    #[serde(default, deserialize_with = "fitting")]
    pub absent: Option<u64>,
    // What decides is another.
    #[serde(default, deserialize_with = "fitting")]
    pub what: Option<String>,
    #[serde(default, deserialize_with = "fitting")]
    pub from: Option<String>,
    #[serde(default, deserialize_with = "fitting")]
    pub to: Option<String>,
    // Drift: a change, or that the test for it began.
    #[serde(default, deserialize_with = "fitting")]
    pub named: Option<Vec<NamedPart>>,
    #[serde(default, deserialize_with = "fitting")]
    pub parts: Option<u64>,
    #[serde(default, deserialize_with = "fitting")]
    pub restarted: Option<bool>,
    // The clock on the wall was set.
    #[serde(default, deserialize_with = "fitting")]
    pub by_ms: Option<f64>,
}

impl Entry {
    /// Its kind; `None` for one of a newer program.
    pub fn kind(&self) -> Option<Kind> {
        Kind::of(&self.kind)
    }

    /// Whether it names the run that it and what follows are of: a start does, and the first line of a later file, which may be all that is
    /// here of the run's beginning.
    pub fn names_run(&self) -> bool {
        matches!(self.kind(), Some(Kind::Start | Kind::Continued))
    }

    /// Whether the part was a known bad piece of a challenge: it says nothing of what the process makes.
    pub fn is_known_bad(&self) -> bool {
        self.challenge == Some(true)
    }

    /// Whether it is of a run that drove no output: what is called rejected went on with the belt.
    pub fn is_of_dry_run(&self) -> bool {
        self.dry_run == Some(true)
    }

    /// Of a record that names a run: what ejects in that, in words, becomes `output`. An older `continued` says nothing of it, and goes on with the
    /// run before it.
    pub fn keep_output(&self, output: &mut Option<String>) {
        if self.kind() == Some(Kind::Start) || self.output.is_some() {
            output.clone_from(&self.output);
        }
    }

    /// Whether the part is of a lane without an output, as its run says: `output` is what ejects, in words. What is called rejected went on with
    /// the belt.
    pub fn is_without(&self, output: Option<&str>) -> bool {
        const NONE: &str = "none";
        let is_lane_s =
            |lane: &str, told: &str| told.split_once(' ').is_some_and(|(_, told)| told == format!("{lane}: {NONE}"));
        let lane_has_none =
            |output: &str| self.lane.as_ref().is_some_and(|lane| output.split("; ").any(|told| is_lane_s(lane, told)));
        output.is_some_and(|output| output == NONE || lane_has_none(output))
    }

    /// Digests of all pixels that the record names.
    pub fn pixels(&self) -> impl Iterator<Item = Digest> {
        let frames = self.frames.iter().flatten().filter_map(|frame| frame.pixels_sha256);
        let picture = self.picture.as_ref().and_then(|picture| picture.pixels_sha256);
        self.pixels_sha256.into_iter().chain(frames).chain(picture)
    }

    /// What the part's picture scored: the part's score, or that of the frame that the picture is of, where it was judged by several.
    pub fn picture_score(&self) -> Option<f32> {
        match &self.frames {
            None => self.score,
            Some(frames) => frames.iter().find(|frame| frame.monotonic_ns == self.monotonic_ns)?.score,
        }
    }

    /// Whether several frames made the part's score together (their mean): then that of its picture is another.
    pub fn is_score_of_several(&self) -> bool {
        self.frames.is_some() && self.picture_score() != self.score
    }

    /// Whether the part's picture was judged. A score that was no number is not written down, but for what calibration it was.
    pub fn is_picture_judged(&self) -> bool {
        self.calibration.is_some() && (self.frames.is_none() || self.picture_score().is_some())
    }

    /// What the record of removed pictures, of removed files of the log, or of the disk's room, says, for people.
    pub fn room_told(&self) -> Option<String> {
        match self.kind()? {
            Kind::PicturesRemoved => {
                let (pictures, of) = (print::counted(self.pictures?, "picture"), self.of.as_deref()?);
                let until = self.until.as_deref().map_or_else(String::new, |until| format!(", up to {until}"));
                Some(format!("{pictures} of {of}, {}{until}", print::bytes(self.bytes?)))
            }
            Kind::LogRemoved => {
                let (files, upto) = (print::counted(self.files?, "closed file"), self.records?.checked_sub(1)?);
                let why = match self.why.as_deref()? {
                    "age" => "keep_log_days",
                    "space" => "keep_log_gb",
                    other => other,
                };
                let until = self.until.as_deref().map_or_else(String::new, |until| format!(", up to {until}"));
                Some(format!("{files}, {}, with the records to {upto}{until} ({why})", print::bytes(self.bytes?)))
            }
            Kind::DiskPressure => {
                let free = print::bytes(self.free_bytes?);
                Some(format!("{free} free, which is {}", if self.low? { "little" } else { "enough again" }))
            }
            _ => None,
        }
    }

    /// The alarms that the record of an acknowledgement names; of another record none.
    pub fn acknowledged(&self) -> &[SeenAlarm] {
        let alarms = self.alarms.as_deref().filter(|_| self.kind() == Some(Kind::Acknowledgement));
        alarms.unwrap_or_default()
    }

    /// What the record of an acknowledgement says, for people.
    pub fn acknowledgement_told(&self) -> Option<String> {
        let by = self.by.as_deref()?;
        let seen = self.acknowledged().iter().map(|seen| {
            let after = self.monotonic_ns.saturating_sub(seen.raised_ns) as f64 / 1e9;
            format!("{} after {after:.1} s", seen.alarm)
        });
        let seen = seen.reduce(|all, seen| format!("{all}, {seen}"))?;
        let remark = self.remark.as_ref().map_or_else(String::new, |remark| format!(": {remark}"));
        Some(format!("{by} acknowledges {seen}{remark}"))
    }

    /// What the record of a change of what decides says, for people.
    pub fn change_told(&self) -> Option<String> {
        let short = |told: &Option<String>| match told {
            Some(told) => told.parse::<Digest>().map_or_else(|_| told.clone(), |digest| digest.short()),
            None => "none".to_owned(),
        };
        let (what, by) = (self.what.as_deref()?, self.by.as_deref());
        let reason = self.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        let who = match (self.kind()?, by) {
            (Kind::Changed, Some(by)) => format!("; by {by}{reason}"),
            // It says itself whose it is; who took one away is not known.
            (Kind::Changed, None) if what.starts_with("approval of ") && self.to.is_some() => String::new(),
            (Kind::Changed, None) => "; no name and no reason are on record".to_owned(),
            (Kind::UnnamedChange, _) => self.why.as_ref().map_or_else(String::new, |why| format!("; {why}")),
            _ => return None,
        };
        Some(format!("another {what} ({}, and it was {}){who}", short(&self.to), short(&self.from)))
    }

    /// What the record of a clock that was set says, for people.
    pub fn step_told(&self) -> Option<String> {
        let by = self.by_ms?;
        let direction = if by < 0.0 { "back" } else { "forward" };
        Some(format!("the clock was set {direction} by {:.3} s", by.abs() / 1e3))
    }

    /// What the record of a challenge says, for people.
    pub fn challenge_told(&self) -> Option<String> {
        let (by, pieces) = (self.by.as_deref()?, self.pieces?);
        let count = |found: usize, what: &str| (found > 0).then(|| format!("{found} {what}"));
        match (self.kind(), self.passed) {
            (Some(Kind::ChallengeBegun), _) => Some(format!("{by} sends {pieces} known bad pieces")),
            (Some(Kind::Challenge), Some(passed)) => {
                let missed = self.missed.as_ref().map_or(0, Vec::len);
                let caught = format!("{} caught", self.caught.as_ref().map_or(0, Vec::len));
                let others = [count(missed, "MISSED"), count(self.absent.unwrap_or(0) as usize, "not seen")];
                let counts = std::iter::once(caught).chain(others.into_iter().flatten()).collect::<Vec<_>>().join(", ");
                let verdict = if passed { "passed" } else { "NOT PASSED" };
                Some(format!("{verdict}: of {pieces} known bad pieces that {by} sent {counts}"))
            }
            _ => None,
        }
    }

    /// The calibration that decided about the part: it judged the part's picture, or refused it.
    pub fn deciding_calibration(&self) -> Option<Digest> {
        self.calibration.or(self.picture_fault.as_ref().and_then(|fault| fault.calibration))
    }

    /// How a part's verdict, score and threshold, or its fate and its ejection, contradict each other; `None` where they do not.
    pub fn contradiction(&self) -> Option<String> {
        if self.fate.as_deref() == Some("passed") && self.fired_ns.is_some() {
            return Some(
                "its fate is passed, and an output was told to reject it, which contradict each other".to_owned(),
            );
        }
        let (verdict, threshold) = (self.verdict.as_deref()?, self.threshold?);
        let is_above = self.score.map(|score| score > threshold);
        let fits = match verdict {
            "pass" => is_above == Some(false),
            // A score that is not a number is null, and rejected.
            "reject" => is_above != Some(false),
            _ => true,
        };
        let score = self.score.map_or_else(|| "no number".to_owned(), |score| score.to_string());
        (!fits).then(|| {
            format!(
                "its verdict is {verdict}, its score {score} and its threshold {threshold}, which contradict each other"
            )
        })
    }
}

/// What has another type is left out: names mean other things in records of other kinds.
fn fitting<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(serde_json::Value::deserialize(deserializer)?).ok())
}

/// One of the frames that a part was judged by, where it was found in the picture.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of docs/audit.md")]
pub struct FrameEntry {
    pub frame: u64,
    pub pixels_sha256: Option<Digest>,
    pub monotonic_ns: u64,
    pub offset_mm: f64,
    pub score: Option<f32>,
    pub detail: Option<String>,
}

/// An alarm that a person has seen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of docs/audit.md")]
pub struct SeenAlarm {
    pub alarm: String,
    pub raised_ns: u64,
}

/// A part that shows what has changed, with its number of that.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of docs/audit.md")]
pub struct NamedPart {
    pub part: u64,
    pub value: f32,
}

/// Where a part's time went, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of docs/audit.md")]
pub struct LatencyEntry {
    pub wait: f64,
    pub preprocess: f64,
    pub network: f64,
    pub score: f64,
    pub total: f64,
}

/// What decided that a part's picture is none to judge it by.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of docs/audit.md")]
pub struct PictureFaultEntry {
    pub fault: String,
    pub calibration: Option<Digest>,
    pub brightness: f32,
    pub saturated: f32,
    pub sharpness: f32,
    pub red: f32,
    pub blue: f32,
}

impl PictureFaultEntry {
    /// What the picture was like.
    pub fn statistics(&self) -> Statistics {
        let PictureFaultEntry { brightness, saturated, sharpness, red, blue, .. } = *self;
        Statistics { brightness, saturated, sharpness, red, blue }
    }
}

/// What a record says of a part's picture.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of docs/audit.md")]
pub struct PictureEntry {
    pub why: String,
    /// `None` in logs of before this was written.
    pub sampled: Option<bool>,
    pub file: Option<String>,
    pub sha256: Option<Digest>,
    pub pixels_sha256: Option<Digest>,
    pub missing: Option<String>,
}

impl PictureEntry {
    /// Whether the part belongs to the share of all parts whose pictures are kept, whatever their verdicts; `None` where
    /// nobody knows any more.
    pub fn is_sampled(&self) -> Option<bool> {
        self.sampled.or((self.why == "sample").then_some(true))
    }

    /// The run that the part is of, which its file's name begins with.
    pub fn run(&self) -> Option<&str> {
        self.file.as_deref()?.split('/').next()
    }
}
