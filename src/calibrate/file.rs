//! The calibration file (`docs/calibration.md`): TOML, one per class.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::defects::{Costs, Detection};
use super::from_audit::FromAudit;
use super::normals;
use super::suitable;
use super::threshold::{Aim, percent};
use crate::bundle::{Bundle, ScoreReference};
use crate::digest::Digest;
use crate::draft;
use crate::picture::{Limits, Statistics};
use crate::{Error, Result, print, regular};

/// The newest calibration format; this program reads all up to it, and writes the oldest that can hold a calibration.
pub const FORMAT_VERSION: u32 = 4;
/// The format with a mask, of a threshold that a rate set.
const MASKED: u32 = 3;
/// The same without a mask.
const UNMASKED: u32 = 2;

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

/// Fewer parts set a threshold only for who wants to try how things work: of so many, all of which pass, a line that rejects a third of its
/// good parts is within the interval of 95%.
pub(crate) const FEWEST_PARTS: usize = 10;
/// Bytes of a calibration at most: a large one tells of some thousand parts.
const LONGEST: u64 = 64 << 20;
/// Frames whose aspect ratio differs by no more than this are alike: sizes are rounded to what a sensor can do.
const ASPECT_TOLERANCE: f64 = 0.01;

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

/// A threshold that nobody can work out again from the calibration's own scores, and what it is, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unproven {
    /// Somebody wrote it by hand.
    #[serde(rename = "threshold_by_hand")]
    ByHand(String),
    /// It is the cheapest for its costs, which the scores of defects made that are not in the file.
    #[serde(rename = "threshold_from_costs")]
    FromCosts(String),
}

impl Unproven {
    /// What it is.
    pub fn told(&self) -> &str {
        let (Unproven::ByHand(told) | Unproven::FromCosts(told)) = self;
        told
    }
}

/// What is wrong, and on which line: without the line itself, which of a file of another kind may be long.
fn complaint(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    line.map_or_else(|| error.message().to_owned(), |line| format!("line {line}: {}", error.message()))
}

impl Calibration {
    /// The class that the calibration in `path` names, whatever its format; `None` where there is none, or nobody can read it.
    pub(crate) fn class_in(path: &Path) -> Option<String> {
        let table = regular::read_text(path, LONGEST).ok()?.parse::<toml::Table>().ok()?;
        Some(table.get("class")?.as_str()?.to_owned())
    }

    /// Reads a calibration file; the digest of its bytes comes with it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not a calibration of this format.
    pub fn open(path: &Path) -> Result<(Self, Digest)> {
        let (calibration, digest) = Self::read(path)?;
        if let Some(told) = calibration.foreign_threshold() {
            log::warn!("{}: {told}: nothing is promised of it", path.display());
        }
        Ok((calibration, digest))
    }

    /// The same without a word about a threshold that its scores do not give.
    ///
    /// # Errors
    ///
    /// As [`Calibration::open`].
    pub(crate) fn read(path: &Path) -> Result<(Self, Digest)> {
        let text = regular::read_text(path, LONGEST).map_err(|error| {
            let advice = match path.is_dir() {
                true => "it is a folder: name a file in it, such as CLASS.toml",
                false => "make one with: hgad calibrate --model BUNDLE --class NAME --images DIR --out FILE",
            };
            Error::device(format!("calibration {} cannot be read", path.display())).unread(error, advice)
        })?;
        Ok((Self::parse(&path.display().to_string(), &text)?, Digest::of(&text)))
    }

    /// What the threshold is where it is not one that the file's own scores give: then somebody has written it by hand. Of one that costs
    /// set, the scores tell only how many normal parts it rejects ([`Calibration::unproven_threshold`]).
    pub fn foreign_threshold(&self) -> Option<String> {
        let parts = self.scores_of_parts();
        let threshold = self.threshold;
        if parts.is_empty() {
            return Some(format!("the threshold {threshold} has no scores of normal parts that it could come from"));
        }
        if self.costs.is_some() {
            return self.foreign_count(&parts);
        }
        // A file without costs has a rate: it is not read otherwise.
        let aim = Aim { frr: self.target_frr.unwrap_or(f64::NAN), confidence: self.confidence };
        // No calibration is written with an aim that its parts cannot reach.
        match aim.check().and_then(|()| aim.threshold(&parts)) {
            Ok(own) if own.value == threshold => None,
            Ok(own) => Some(format!("the threshold {threshold} is not the one that its scores give ({})", own.value)),
            Err(error) => Some(format!("the threshold {threshold} is not one that its scores give: {}", error.line())),
        }
    }

    /// Why nobody can work the threshold out again from what the file holds: it is another one, or the cheapest for its costs, which the
    /// scores of defects made, and those are not in the file. `None` where the scores give it.
    pub fn unproven_threshold(&self) -> Option<Unproven> {
        let from_costs = || {
            Unproven::FromCosts(format!(
                "the threshold {} comes from costs and from the scores of defects, and these are not in the file: nobody can work it out again",
                self.threshold
            ))
        };
        self.foreign_threshold().map(Unproven::ByHand).or_else(|| self.costs.map(|_| from_costs()))
    }

    /// What was asked for, and the nearest rate that its parts can set. `None` where costs set the threshold: then no rate is promised,
    /// whatever files of before format 4 say beside the costs.
    pub fn promise(&self) -> Option<(Aim, f64)> {
        let frr = self.target_frr.filter(|_| self.costs.is_none())?;
        Some((Aim { frr, confidence: self.confidence }, self.promised_frr?))
    }

    /// Why the rate that was asked for is not kept, in words, or why no line should inspect by its threshold; `None` where its parts can set
    /// it, or where none was asked for of enough of them.
    pub fn unkept_rate(&self) -> Option<String> {
        let Some((aim, promised)) = self.promise().filter(|(aim, promised)| *promised > aim.frr) else {
            let parts = print::counted(self.parts() as u64, "part");
            return (self.parts() < FEWEST_PARTS)
                .then(|| format!("it comes from {parts}, which is too few to inspect by"));
        };
        let range = self.realised_frr.map(|(low, high)| format!(" ({:.1}% to {:.1}%)", 100.0 * low, 100.0 * high));
        Some(format!(
            "{} cannot set {} false rejects, which {} can: the highest score is the threshold, {:.1}% on average{}",
            print::counted(self.parts() as u64, "part"),
            percent(aim.frr),
            aim.parts_needed(),
            100.0 * promised,
            range.unwrap_or_default()
        ))
    }

    /// How many of its normal parts the threshold rejects, and how many there are.
    pub fn rejected_of_own(&self) -> (usize, usize) {
        let parts = self.scores_of_parts();
        (parts.iter().filter(|score| self.rejects(**score)).count(), parts.len())
    }

    /// What is wrong with a threshold that costs are said to have set: how many of these scores are above it is told beside it.
    fn foreign_count(&self, parts: &[f32]) -> Option<String> {
        // Below it, more would be found at no cost.
        if parts.iter().all(|score| *score < self.threshold) {
            return Some(format!(
                "the threshold {} is not the one that costs gave: it is above every normal part",
                self.threshold
            ));
        }
        let ((rejected, of), told) = (self.rejected_of_own(), self.normal_rejected.map(|count| count as f64));
        // Before format 4 the file told the rate that such a count leads to.
        let told = told.or(self.promised_frr.map(|rate| rate * (of + 1) as f64 - 1.0)).unwrap_or(f64::NAN);
        // Also what is no number is another count.
        let is_own = (told - rejected as f64).abs() < 1e-6;
        (!is_own).then(|| {
            format!(
                "the threshold {} is not the one that costs gave: it rejects {rejected} of {}, and the file says {told:.0}",
                self.threshold,
                print::counted(of as u64, "normal part")
            )
        })
    }

    /// The highest score of each normal part.
    fn scores_of_parts(&self) -> Vec<f32> {
        let scores = self.images.iter().map(|image| image.score).enumerate().collect::<Vec<_>>();
        normals::highest(&scores, &normals::parts_of(self.images.iter().map(|image| image.group.as_ref())))
    }

    /// Reads a calibration from text; `origin` is named in errors.
    ///
    /// # Errors
    ///
    /// The text is not a calibration of this format.
    pub fn parse(origin: &str, text: &str) -> Result<Self> {
        let malformed = |why: String| {
            Error::usage(format!("{origin} is not a calibration file"))
                .because(why)
                .advise("name a file that hgad calibrate wrote, or make it again")
        };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| malformed(complaint(&error, text)))?;
        match table.get("format_version").and_then(toml::Value::as_integer) {
            Some(version) if (1..=i64::from(FORMAT_VERSION)).contains(&version) => {}
            Some(version) => {
                return Err(Error::usage(format!("{origin}: calibration format {version} is unknown to this program"))
                    .advise(format!(
                        "this program reads formats up to {FORMAT_VERSION}: update hgad, or calibrate again"
                    )));
            }
            None => return Err(malformed("format_version is missing".into())),
        }
        let reference = table.get("reference").and_then(toml::Value::as_table);
        if reference.is_some_and(|reference| reference.contains_key("ignored")) {
            return Err(Error::usage(format!(
                "{origin}: its mask is of another kind: it was applied to the map alone"
            ))
            .advise("calibrate again, with a --mask that is white where the part is looked at"));
        }
        let calibration: Calibration = toml::from_str(text).map_err(|error| malformed(complaint(&error, text)))?;
        if !calibration.threshold.is_finite() {
            return Err(malformed(format!("its threshold is {}", calibration.threshold)));
        }
        if calibration.costs.is_none() && calibration.promise().is_none() {
            return Err(malformed("neither costs nor target_frr and promised_frr say what set its threshold".into()));
        }
        Ok(calibration)
    }

    /// Writes the file in one step: a reader sees the old one or the new one, never a part, also after a power cut.
    ///
    /// # Errors
    ///
    /// The folder or file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string_pretty(self).expect("a calibration holds only numbers, strings and tables");
        let failed = |error: std::io::Error| {
            Error::device(format!("calibration {} cannot be written", path.display()))
                .because(error)
                .advise("check that the folder can be written and the disk is not full")
        };
        std::fs::create_dir_all(draft::folder_of(path)).map_err(failed)?;
        draft::replace(path, text.as_bytes()).map_err(failed)
    }

    /// The oldest format that can hold a calibration with these constants, whose threshold costs set or a rate.
    pub(super) fn format_of(reference: &ScoreReference, by_costs: bool) -> u32 {
        match (by_costs, &reference.mask) {
            (true, _) => FORMAT_VERSION,
            (false, Some(_)) => MASKED,
            (false, None) => UNMASKED,
        }
    }

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

    /// Whether a part has the same score under both: they are of the same model and have the same constants.
    pub fn same_scores(&self, other: &Calibration) -> bool {
        self.other_scores(other).is_none()
    }

    /// Why a part has another score under `other`, in words that go on after a name of this one; `None` where it has the same.
    pub fn other_scores(&self, other: &Calibration) -> Option<String> {
        if self.class != other.class {
            return Some(format!("is of '{}', and not of '{}'", self.class, other.class));
        }
        if self.bundle != other.bundle {
            return Some(format!(
                "is of another model: bundle {}, and not {}",
                self.bundle.short(),
                other.bundle.short()
            ));
        }
        (self.reference != other.reference).then(|| {
            "has other constants: it was fitted to other images, or with another mask, which makes other scores of the same part".into()
        })
    }

    /// Refuses a calibration that was not made with `bundle`.
    ///
    /// # Errors
    ///
    /// The bundle is another one, does not know the class, or has other levels.
    pub fn check_bundle(&self, bundle: &Bundle) -> Result<()> {
        if self.bundle != bundle.digest {
            return Err(Error::usage(format!("the calibration of '{}' is not of this model", self.class))
                .because(format!(
                    "it was made with bundle {}, the model is bundle {}",
                    self.bundle.short(),
                    bundle.digest.short()
                ))
                .advise("calibrate again with this model, or give the model that the calibration was made with"));
        }
        bundle.manifest.class_index(&self.class)?;
        let levels = bundle.manifest.levels.len();
        if !self.reference.fits(levels) {
            return Err(Error::usage(format!(
                "the calibration of '{}' does not have constants for the model's {}, all finite and every deviation above 0",
                self.class,
                print::counted(levels as u64, "level")
            ))
            .advise("calibrate again with this model"));
        }
        self.reference.mask.as_ref().map_or(Ok(()), |_| suitable::maskable(bundle))?;
        match &self.reference.mask {
            Some(mask) if !mask.fits(bundle.manifest.input) => Err(Error::usage(format!(
                "the mask in the calibration of '{}' is not of the size that the model sees, or ignores all of it",
                self.class
            ))
            .advise("calibrate again with this model")),
            _ => Ok(()),
        }
    }

    /// Refuses a frame of `width` by `height` pixels whose aspect ratio is not that of the calibration's images: stretched
    /// to the network's input, its parts have a shape that no normal part had.
    ///
    /// # Errors
    ///
    /// The aspect ratio is another.
    pub fn check_frame(&self, (width, height): (u32, u32)) -> Result<()> {
        let Some(frame) = self.frame else { return Ok(()) };
        let aspect = f64::from(width) / f64::from(height);
        let calibrated = f64::from(frame.width.get()) / f64::from(frame.height.get());
        if (aspect / calibrated - 1.0).abs() <= ASPECT_TOLERANCE {
            return Ok(());
        }
        Err(Error::usage(format!("the calibration of '{}' is not for frames of {width}x{height}", self.class))
            .because(format!("its images were {}x{}, of another aspect ratio", frame.width, frame.height))
            .advise("set the camera to that size, or calibrate again with images of this one"))
    }

    /// Whether a part with `score` is rejected. What is not a number is rejected.
    pub fn rejects(&self, score: f32) -> bool {
        score.is_nan() || score > self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::from_audit::Said;

    const PICTURE: Statistics =
        Statistics { brightness: 97.3, saturated: 0.001, sharpness: 0.123_456_7, red: 0.35, blue: 0.3 };

    pub(crate) fn sample() -> Calibration {
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

    #[test]
    fn a_file_read_back_is_the_same_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/cap.toml");
        sample().write(&path).unwrap();
        let (read, digest) = Calibration::open(&path).unwrap();
        assert_eq!(read, sample());
        assert_eq!(digest, Digest::of(std::fs::read(&path).unwrap()));
    }

    #[test]
    fn a_file_that_tells_parts_of_a_second_is_read_and_written_as_it_stands() {
        let older = Calibration { created: "2026-01-02T03:04:05.123456789Z".into(), ..sample() };
        let text = toml::to_string_pretty(&older).unwrap();
        let read = Calibration::parse("f.toml", &text).unwrap();
        assert_eq!(toml::to_string_pretty(&read).unwrap(), text, "its digest, and so its approval, is of these bytes");
    }

    #[test]
    fn other_formats_unknown_keys_and_odd_thresholds_are_refused() {
        let text = toml::to_string_pretty(&sample()).unwrap();
        let cases = [
            (text.replace("format_version = 4", "format_version = 5"), "format 5"),
            (text.replace("format_version = 4", ""), "format_version is missing"),
            (text.replace("target_frr", "target_fr"), "target_fr"),
            (text.replace("threshold = 0.12345679", "threshold = nan"), "threshold is NaN"),
            (text.replace("height = 480", "height = 0"), "nonzero"),
            ("x".into(), "not a calibration"),
        ];
        for (text, says) in cases {
            let error = Calibration::parse("f.toml", &text).unwrap_err();
            assert!(error.report().contains(says), "{}", error.report());
        }
    }

    #[test]
    fn why_scores_are_others_is_told_and_a_threshold_makes_none() {
        let own = sample();
        let same = Calibration { threshold: 9.0, images: Vec::new(), ..sample() };
        assert!(same.same_scores(&own) && same.other_scores(&own).is_none());
        let reference = ScoreReference::new(vec![0.0], vec![1.0]);
        for (other, says) in [
            (Calibration { class: "nut".into(), ..sample() }, "is of 'nut', and not of"),
            (Calibration { bundle: Digest::of("other"), ..sample() }, "another model: bundle"),
            (Calibration { reference, ..sample() }, "other constants"),
        ] {
            let told = other.other_scores(&own).unwrap();
            assert!(told.contains(says) && !other.same_scores(&own), "{told}");
        }
    }

    #[test]
    fn a_threshold_that_costs_set_promises_no_rate_and_one_without_costs_has_one() {
        let text = toml::to_string_pretty(&of_ten(|_| {})).unwrap();
        assert_eq!(Calibration::parse("f.toml", &text).unwrap().promise(), of_ten(|_| {}).promise());
        let error =
            Calibration::parse("f.toml", &text.replace("promised_frr = 0.18181818181818182\n", "")).unwrap_err();
        assert!(error.report().contains("say what set its threshold"), "{}", error.report());
        // Files of before have rates beside the costs.
        assert_eq!((sample().promise(), sample().rejected_of_own()), (None, (0, 1)));
    }

    #[test]
    fn the_first_format_is_still_read() {
        let mut first = Calibration {
            format_version: 1,
            folds: None,
            costs: None,
            normal_rejected: None,
            defects: None,
            picture: None,
            audit: None,
            dropped: Vec::new(),
            ..sample()
        };
        first.images.iter_mut().for_each(|image| image.picture = None);
        let first = toml::to_string_pretty(&first).unwrap();
        assert!(
            ["folds", "picture", "brightness", "costs", "defects", "dropped", "audit"]
                .iter()
                .all(|key| !first.contains(key)),
            "{first}"
        );
        assert_eq!(Calibration::parse("f.toml", &first).unwrap().threshold, sample().threshold);
    }

    #[test]
    fn frames_of_another_shape_are_refused() {
        let calibration = sample();
        for alike in [(640, 480), (320, 240), (1280, 960), (644, 480)] {
            assert!(calibration.check_frame(alike).is_ok(), "{alike:?}");
        }
        for other in [(1280, 720), (480, 640), (480, 480), (0, 480), (640, 0), (0, 0)] {
            let report = calibration.check_frame(other).unwrap_err().report();
            assert!(report.contains("640x480") && report.contains(&format!("{}x{}", other.0, other.1)), "{report}");
        }
        let any = Calibration { frame: None, ..sample() };
        assert!(any.check_frame((1280, 720)).is_ok());
        assert!(!toml::to_string_pretty(&any).unwrap().contains("frame"));
    }

    /// Ten parts with the scores 1 to 10, and the threshold that is set on them on average.
    fn of_ten(change: impl FnOnce(&mut Calibration)) -> Calibration {
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

    #[test]
    fn nothing_that_is_written_beside_a_threshold_makes_a_foreign_one_its_own() {
        let costs = Some(Costs { miss: 50.0, false_reject: 1.0, defect_rate: 0.01 });
        assert_eq!(of_ten(|_| {}).unproven_threshold(), None);
        let set_by_costs = of_ten(|own| own.costs = costs);
        assert_eq!(set_by_costs.foreign_threshold(), None);
        let unproven = set_by_costs.unproven_threshold();
        assert!(
            matches!(&unproven, Some(Unproven::FromCosts(told)) if told.contains("comes from costs")),
            "{unproven:?}"
        );
        let told = |own: &mut Calibration, count| {
            (own.costs, own.target_frr, own.promised_frr, own.normal_rejected) = (costs, None, None, count);
        };
        assert_eq!(of_ten(|own| told(own, Some(1))).foreign_threshold(), None);
        for count in [None, Some(0), Some(2)] {
            let foreign = of_ten(|own| told(own, count)).foreign_threshold().unwrap();
            assert!(foreign.contains("it rejects 1 of 10 normal parts"), "{foreign}");
        }
        let changes: [fn(&mut Calibration); 7] = [
            |_| {},
            |own| own.confidence = Some(0.999_999),
            |own| own.confidence = Some(f64::NAN),
            |own| own.target_frr = Some(2.0),
            |own| own.target_frr = Some(f64::NAN),
            |own| own.images.clear(),
            |own| own.images[..2].iter_mut().for_each(|image| image.score = f32::NAN),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            for costs in [None, costs] {
                let foreign = of_ten(|own| {
                    (own.threshold, own.costs) = (1000.0, costs);
                    change(own);
                });
                let told = foreign.foreign_threshold().unwrap_or_else(|| panic!("change {number}, {costs:?}"));
                assert!(
                    told.contains("the threshold 1000") && foreign.unproven_threshold() == Some(Unproven::ByHand(told))
                );
            }
        }
    }

    #[test]
    fn what_is_not_a_number_is_rejected() {
        let calibration = sample();
        assert!(calibration.rejects(f32::NAN) && calibration.rejects(1.0));
        assert!(!calibration.rejects(calibration.threshold) && !calibration.rejects(0.0));
    }
}
