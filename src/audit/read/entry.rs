//! A line, as far as readers look at it.

use serde::{Deserialize, Deserializer};

use crate::digest::Digest;

/// What readers look at. A kind of record has some of the fields; what a newer program added is left out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of docs/audit.md")]
pub struct Entry {
    pub seq: u64,
    pub kind: String,
    pub time: String,
    #[serde(default)]
    pub monotonic_ns: u64,
    // A start.
    pub run: Option<String>,
    #[serde(default, deserialize_with = "name")]
    pub line: Option<String>,
    pub program: Option<String>,
    // A part.
    pub part: Option<u64>,
    pub frame: Option<u64>,
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
    pub bundle: Option<Digest>,
    pub calibration: Option<Digest>,
    pub picture: Option<PictureEntry>,
    // Events.
    pub device: Option<String>,
    pub alarm: Option<String>,
    pub raised: Option<bool>,
    pub why: Option<String>,
    pub text: Option<String>,
    pub records: Option<u64>,
}

/// The first programs that told of interrupted runs put a number there.
fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.as_str().map(str::to_owned))
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
