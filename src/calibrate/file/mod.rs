//! The calibration file (`docs/calibration.md`): TOML, one per class.
//!
//! Here is what stands in it; `text` reads and writes its formats, `worth` says what its threshold is worth, and `fit` for which models,
//! frames and other calibrations it is.

mod fit;
mod text;
mod worth;

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

pub use self::text::FORMAT_VERSION;
pub use self::worth::FEWEST_PARTS;
pub use self::worth::Unproven;
use super::defects::{Costs, Detection};
use super::from_audit::FromAudit;
use crate::bundle::ScoreReference;
use crate::digest::Digest;
use crate::picture::{Limits, Statistics};
use crate::print;

/// One class's calibration: the score's constants and a threshold, and what they were made from.
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
    /// The program that wrote it, with its version.
    pub written_by: String,
    /// The false-reject rate that was asked for; see [`Calibration::promise`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_frr: Option<f64>,
    /// With which probability the realised rate is no more than that; none when it is only kept on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// The nearest rate that so many images can set: what is expected of parts to come if they are like these and the
    /// constants are given. `docs/calibration.md` says how a line's own rate may differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promised_frr: Option<f64>,
    /// The realised rate lies between these with 95% probability; none in files of before this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realised_frr: Option<(f64, f64)>,
    /// A part is rejected when its score is greater than this.
    pub threshold: f32,
    /// The images were dealt into so many folds, and each scored with the constants of the other folds: image i, of part p in
    /// the order of the parts' first images, belongs to fold p modulo this. None in format 1, whose scores are under
    /// `reference`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folds: Option<usize>,
    /// The size of the frames that it is for; none when its images were of several sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<FrameSize>,
    /// What wrong decisions cost, if the threshold is the cheapest one; none where it was set on normal parts alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<Costs>,
    /// How many of its normal parts a threshold rejects that costs set: a count, and no promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal_rejected: Option<usize>,
    /// How many known defective parts it finds; none where none were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defects: Option<Detection>,
    /// What pictures may be like; none in format 1, and then no picture is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Limits>,
    /// Where its images come from, when that is the line's audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<FromAudit>,
    /// The score's constants.
    pub reference: ScoreReference,
    /// The normal images that it was made from.
    pub images: Vec<CalibrationImage>,
    /// Images that somebody left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Dropped>,
}

/// An image that somebody left out of a calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// The file's name.
    pub file: String,
    /// The file's digest.
    pub sha256: Digest,
    /// Its score.
    pub score: f32,
    /// Why it does not belong.
    pub reason: String,
}

/// Columns and rows of a frame, before it is brought to the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameSize {
    /// Columns.
    pub width: NonZeroU32,
    /// Rows.
    pub height: NonZeroU32,
}

impl FrameSize {
    /// Of an image's dimensions, unless one of them is 0.
    pub fn new((width, height): (u32, u32)) -> Option<Self> {
        Some(FrameSize { width: NonZeroU32::new(width)?, height: NonZeroU32::new(height)? })
    }
}

/// One normal image that a calibration was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationImage {
    /// The file's name.
    pub file: String,
    /// The file's digest.
    pub sha256: Digest,
    /// Its score, under the constants of the other folds.
    pub score: f32,
    /// The part, or minute, that it belongs to; none where each image is a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What its picture is like; none in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Statistics>,
}

impl Calibration {
    /// How many independent parts its images show.
    pub fn parts(&self) -> usize {
        let groups = self.images.iter().map(|image| image.group.as_ref());
        match groups.clone().collect::<Option<BTreeSet<_>>>() {
            Some(groups) => groups.len(),
            None => self.images.len(),
        }
    }

    /// Its images and the parts that they show, in words.
    pub fn images_told(&self) -> String {
        let [images, parts] = [(self.images.len(), "image"), (self.parts(), "part")]
            .map(|(count, noun)| print::counted(count as u64, noun));
        format!("{images} of {parts}")
    }
}

#[cfg(test)]
mod samples {
    use super::*;
    use crate::calibrate::from_audit::Said;

    const PICTURE: Statistics =
        Statistics { brightness: 97.3, saturated: 0.001, sharpness: 0.123_456_7, red: 0.35, blue: 0.3 };

    pub(super) fn sample() -> Calibration {
        Calibration {
            format_version: FORMAT_VERSION,
            class: "cap".into(),
            bundle: Digest::of("bundle"),
            created: "2026-01-02T03:04:05Z".into(),
            written_by: "test".into(),
            target_frr: Some(0.01),
            confidence: Some(0.95),
            promised_frr: Some(0.01),
            realised_frr: Some((0.001, 0.03)),
            threshold: 0.123_456_79,
            folds: Some(1),
            frame: FrameSize::new((640, 480)),
            costs: Some(Costs { miss: 50.0, false_reject: 1.0, defect_rate: 0.01 }),
            normal_rejected: Some(0),
            defects: Some(Detection::new(&[0.5], 0.1)),
            picture: Limits::fit(&[PICTURE]),
            audit: Some(FromAudit {
                log: "audit.jsonl".into(),
                from: Some("2026-11-01T00:00:00.000000Z".into()),
                to: None,
                passed: 1,
                rejected_bad: 0,
                gone: 0,
                lane: Some("left".into()),
                rejected_good: vec![Said { part: "run/1".into(), by: "A. Smith: dust".into() }],
            }),
            reference: ScoreReference::new(vec![-0.1, 1.0e-7], vec![1.5e-30, 1.999_999_9]),
            images: vec![CalibrationImage {
                file: "000.png".into(),
                sha256: Digest::of("0"),
                score: f32::MIN_POSITIVE,
                group: Some("part 1".into()),
                picture: Some(PICTURE),
            }],
            dropped: vec![Dropped {
                file: "1.png".into(),
                sha256: Digest::of("1"),
                score: 3.0,
                reason: "a \"hair\"".into(),
            }],
        }
    }

    /// Ten parts with the scores 1 to 10, and the threshold that is set on them on average.
    pub(super) fn of_ten(change: impl FnOnce(&mut Calibration)) -> Calibration {
        let image = |score: i16| CalibrationImage {
            file: format!("{score}.png"),
            sha256: Digest::of(score.to_string()),
            score: f32::from(score),
            group: None,
            picture: None,
        };
        let mut calibration = Calibration {
            target_frr: Some(0.2),
            confidence: None,
            promised_frr: Some(2.0 / 11.0),
            threshold: 9.0,
            costs: None,
            normal_rejected: None,
            images: (1..=10).map(image).collect(),
            ..sample()
        };
        change(&mut calibration);
        calibration
    }
}
