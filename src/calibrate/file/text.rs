//! Its text: which formats there are, reading with all that makes a file none, and writing.

use std::path::Path;

use super::Calibration;
use crate::bundle::ScoreReference;
use crate::digest::Digest;
use crate::{Error, Result, draft, regular};

/// The newest calibration format; this program reads all up to it, and writes the oldest that can hold a calibration.
pub const FORMAT_VERSION: u32 = 4;
/// The format with a mask, of a threshold that a rate set.
const MASKED: u32 = 3;
/// The same without a mask.
const UNMASKED: u32 = 2;

/// Bytes of a calibration at most: a large one tells of some thousand parts.
const LONGEST: u64 = 64 << 20;

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
    pub(in crate::calibrate) fn format_of(reference: &ScoreReference, by_costs: bool) -> u32 {
        match (by_costs, &reference.mask) {
            (true, _) => FORMAT_VERSION,
            (false, Some(_)) => MASKED,
            (false, None) => UNMASKED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{of_ten, sample};
    use super::*;

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
}
