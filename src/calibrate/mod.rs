//! The threshold, set on normal parts only.

use serde::{Deserialize, Serialize};
use std::path::Path;

use crate::Result;
use crate::bundle::{Bundle, ScoreReference};
use crate::digest::Digest;

/// One class's calibration file: the score's constants and a threshold, and what they were made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The format's version.
    pub format_version: u32,
    /// The class.
    pub class: String,
    /// The digest of the bundle that the scores come from.
    pub bundle: Digest,
    /// When it was made (RFC 3339).
    pub created: String,
    /// A part is rejected when its score is greater than this.
    pub threshold: f32,
    /// The score's constants.
    pub reference: ScoreReference,
}

impl Calibration {
    /// Reads a calibration file; its digest comes with it.
    pub fn open(_path: &Path) -> Result<(Self, Digest)> {
        todo!()
    }

    /// Reads a calibration from text; `origin` is named in errors.
    pub fn parse(_origin: &str, _text: &str) -> Result<Self> {
        todo!()
    }

    /// Refuses a calibration that was not made with `bundle`.
    pub fn check_bundle(&self, _bundle: &Bundle) -> Result<()> {
        todo!()
    }

    /// Whether a part with `score` is rejected. What is not a number is rejected.
    pub fn rejects(&self, score: f32) -> bool {
        !(score <= self.threshold)
    }
}
