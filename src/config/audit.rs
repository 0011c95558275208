//! `[audit]`: where decisions, and the pictures that they were made from, are kept.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::complaint::{self, Complaint};
use super::typed::{Checked, Document, at_most, positive};
use super::witness::{self, Witness};
use crate::draft::is_same;

/// How many records are kept until they are on disk, where the configuration does not say.
const KEPT: usize = 4096;

/// Where decisions are written down.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditConfig {
    /// The file; an existing one is continued.
    pub file: PathBuf,
    /// When records are forced onto the disk.
    pub sync: SyncPolicy,
    /// So many records are kept in memory while the disk takes none.
    pub keep_records: usize,
    /// What follows when there are more.
    pub when_full: FullPolicy,
    /// What the audit is signed with; `None`: it is not.
    pub signing: Option<SigningConfig>,
    /// Which pictures are kept; `None`: none.
    pub pictures: Option<PicturesConfig>,
    /// When the file is closed, and another one begun.
    pub rotation: RotationConfig,
    /// How long closed files are kept.
    pub retention: RetentionConfig,
}

impl AuditConfig {
    /// An audit in `file` alone: not signed, and without pictures.
    pub fn in_file(file: PathBuf) -> Self {
        AuditConfig {
            file,
            sync: SyncPolicy::default(),
            keep_records: KEPT,
            when_full: FullPolicy::default(),
            signing: None,
            pictures: None,
            rotation: RotationConfig::default(),
            retention: RetentionConfig::default(),
        }
    }
}

/// When an audit's file is closed, and another one begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RotationConfig {
    /// When it has so many bytes.
    pub bytes: Option<u64>,
    /// When a day is over, in UTC.
    pub daily: bool,
}

impl RotationConfig {
    /// Whether it is ever closed.
    pub fn is_on(&self) -> bool {
        self.daily || self.bytes.is_some()
    }
}

/// How long an audit's closed files are kept; for ever where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetentionConfig {
    /// Those that were closed more than so many days ago are removed.
    pub days: Option<u32>,
    /// No more than so many bytes are kept of the whole log: the oldest files go first.
    pub bytes: Option<u64>,
}

impl RetentionConfig {
    /// Whether any is ever removed.
    pub fn is_on(&self) -> bool {
        self.days.is_some() || self.bytes.is_some()
    }
}

/// What an audit is signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningConfig {
    /// The private key (`hgad audit keygen`).
    pub key: PathBuf,
    /// Public keys that signed the file before this one.
    pub former_keys: Vec<PathBuf>,
    /// Where the newest checkpoint is copied to, out of reach of who may write the audit.
    pub checkpoint_copy: Option<PathBuf>,
    /// Another machine that gets every checkpoint.
    pub witness: Option<Witness>,
}

/// What follows when the disk takes no records, and memory is full of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FullPolicy {
    /// The line stops: what cannot be written down is not decided.
    #[default]
    StopLine,
    /// The line goes on. What is lost is counted, and the log says how much it is once there is room again.
    Count,
}

/// When records are forced onto the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncPolicy {
    /// At least every 200 ms: a power cut loses at most that.
    #[default]
    Group,
    /// After every record.
    EveryRecord,
}

/// Which pictures are kept, and for how long. Those of rejected parts and of parts without a verdict always are.
#[derive(Debug, Clone, PartialEq)]
pub struct PicturesConfig {
    /// The folder.
    pub folder: PathBuf,
    /// The share of passed parts whose picture is kept, 0..=1.
    pub sample: f64,
    /// So many parts before and after an alarm keep their pictures.
    pub around: usize,
    /// Pictures of passed parts are removed after so many days.
    pub keep_days: Option<u32>,
    /// Those of rejected parts, and of parts without a verdict, after so many.
    pub keep_rejects_days: Option<u32>,
    /// No more than so many bytes are kept: passed parts' pictures go first, the oldest first.
    pub keep_bytes: Option<u64>,
}

impl PicturesConfig {
    /// Pictures of rejected parts and of those without a verdict, in `folder`, for ever.
    pub fn in_folder(folder: PathBuf) -> Self {
        PicturesConfig { folder, sample: 0.0, around: 0, keep_days: None, keep_rejects_days: None, keep_bytes: None }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditTyped {
    file: Spanned<String>,
    fsync: Option<SyncPolicy>,
    key: Option<Spanned<String>>,
    former_keys: Option<Spanned<Vec<Spanned<String>>>>,
    checkpoint_copy: Option<Spanned<String>>,
    witness: Option<Spanned<String>>,
    pictures: Option<Spanned<String>>,
    sample: Option<Spanned<f64>>,
    around: Option<Spanned<u32>>,
    keep_days: Option<Spanned<u32>>,
    keep_rejects_days: Option<Spanned<u32>>,
    keep_gb: Option<Spanned<f64>>,
    rotate_mb: Option<Spanned<f64>>,
    rotate_daily: Option<bool>,
    keep_log_days: Option<Spanned<u32>>,
    keep_log_gb: Option<Spanned<f64>>,
    keep_records: Option<Spanned<u32>>,
    when_full: Option<FullPolicy>,
}

impl AuditTyped {
    pub(super) fn validate(&self, document: &Document) -> Checked<AuditConfig> {
        let file = document.path("file", &self.file)?;
        let signing = self.signing(document, &file)?;
        let pictures = self.pictures(document)?;
        let bytes = self.rotate_mb.as_ref().map(|typed| {
            let megabytes = at_most("rotate_mb", typed, positive("rotate_mb", typed)?, 1e6)?;
            Ok((megabytes * 1e6) as u64)
        });
        let rotation = RotationConfig { bytes: bytes.transpose()?, daily: self.rotate_daily.unwrap_or_default() };
        let retention = self.retention(rotation)?;
        let keep_records = match &self.keep_records {
            Some(typed) => at_most("keep_records", typed, positive("keep_records", typed)?, 1 << 20)? as usize,
            None => KEPT,
        };
        let (sync, when_full) = (self.fsync.unwrap_or_default(), self.when_full.unwrap_or_default());
        Ok(AuditConfig { file, sync, keep_records, when_full, signing, pictures, rotation, retention })
    }

    /// How long files are kept that are closed as `rotation` says.
    fn retention(&self, rotation: RotationConfig) -> Checked<RetentionConfig> {
        let days = self.keep_log_days.as_ref().map(|typed| Ok((positive("keep_log_days", typed)?, typed)));
        let days = days.transpose()?;
        let gigabytes = self.keep_log_gb.as_ref().map(|typed| gigabytes("keep_log_gb", typed)).transpose()?;
        let given = (self.keep_log_days.as_ref().map(|typed| ("keep_log_days", typed.span())))
            .or(self.keep_log_gb.as_ref().map(|typed| ("keep_log_gb", typed.span())));
        if let Some((key, place)) = given.filter(|_| !rotation.is_on()) {
            let what =
                format!("{key} is of no use, since the audit's file is never closed: closed files alone are removed");
            return Err(Complaint::new(
                place,
                what,
                "let it be closed, in [audit]: rotate_mb = 64, or rotate_daily = true",
            ));
        }
        if let Some((days, typed)) = days {
            self.outlives_pictures(days, typed)?;
        }
        self.holds_two_files(gigabytes, rotation)?;
        Ok(RetentionConfig { days: days.map(|(days, _)| days), bytes: gigabytes })
    }

    /// Whether `most` bytes of a log are two of its files at least: the one that grows would else have all that was closed removed.
    fn holds_two_files(&self, most: Option<u64>, rotation: RotationConfig) -> Checked<()> {
        let Some((((most, file), typed), longest)) =
            most.zip(rotation.bytes).zip(self.keep_log_gb.as_ref()).zip(self.rotate_mb.as_ref())
        else {
            return Ok(());
        };
        if most >= file.saturating_mul(2) {
            return Ok(());
        }
        let (kept, longest) = (typed.get_ref(), longest.get_ref());
        let what = format!("keep_log_gb ({kept}) is less than two files of rotate_mb ({longest})");
        let least = 2.0 * longest / 1e3;
        let advice = format!("the file that grows would leave no room for closed ones: keep_log_gb = {least}, or more");
        Err(Complaint::new(typed.span(), what, advice))
    }

    /// Whether records stay for as long as the pictures that they name, as far as days say how long these stay.
    fn outlives_pictures(&self, days: u32, typed: &Spanned<u32>) -> Checked<()> {
        if self.pictures.is_none() {
            return Ok(());
        }
        let pictured = [("keep_rejects_days", &self.keep_rejects_days), ("keep_days", &self.keep_days)];
        let kept = pictured.map(|(key, kept)| (key, kept.as_ref().map(|kept| *kept.get_ref())));
        let longer = kept.iter().find_map(|(key, kept)| Some((key, kept.filter(|kept| days < *kept)?)));
        let (key, told, advice) = match longer {
            Some((key, kept)) => (key, kept.to_string(), format!("keep_log_days = {kept}, or more")),
            // Of pictures that go for room nobody can say how old they become.
            None => match kept.iter().find(|(_, kept)| kept.is_none()).filter(|_| self.keep_gb.is_none()) {
                Some((key, _)) => (key, "for ever".to_owned(), format!("{key} = {days}, or less, or keep_gb")),
                None => return Ok(()),
            },
        };
        let what = format!("keep_log_days ({days}) is less than {key} ({told})");
        Err(Complaint::new(typed.span(), what, format!("pictures without their records prove nothing: {advice}")))
    }

    fn signing(&self, document: &Document, file: &Path) -> Checked<Option<SigningConfig>> {
        let Some(key) = &self.key else {
            let typed = |name, typed: &Option<Spanned<String>>| typed.as_ref().map(|typed| (name, typed.span()));
            let former = self.former_keys.as_ref().map(|typed| ("former_keys", typed.span()));
            let without = former
                .or_else(|| typed("checkpoint_copy", &self.checkpoint_copy))
                .or_else(|| typed("witness", &self.witness));
            return match without {
                Some((name, place)) => Err(Complaint::new(
                    place,
                    format!(
                        "{name} is of no use, since the key 'key' is missing in [audit]: nothing is signed without one"
                    ),
                    "make one with `hgad audit keygen`, and add a line to [audit]: key = \"FILE\"",
                )),
                None => Ok(None),
            };
        };
        let former_keys = self.former_keys.iter().flat_map(|keys| keys.get_ref());
        let signing = SigningConfig {
            key: document.path("key", key)?,
            former_keys: former_keys.map(|key| document.path("former_keys", key)).collect::<Checked<_>>()?,
            checkpoint_copy: self
                .checkpoint_copy
                .as_ref()
                .map(|typed| document.path("checkpoint_copy", typed))
                .transpose()?,
            witness: self.witness.as_ref().map(witness).transpose()?,
        };
        apart("key", key.span(), &signing.key, &[("file", file)])?;
        if let (Some(typed), Some(copy)) = (&self.checkpoint_copy, &signing.checkpoint_copy) {
            apart("checkpoint_copy", typed.span(), copy, &[("file", file), ("key", &signing.key)])?;
        }
        Ok(Some(signing))
    }

    fn pictures(&self, document: &Document) -> Checked<Option<PicturesConfig>> {
        let Some(folder) = &self.pictures else {
            let place = (self.sample.as_ref().map(Spanned::span))
                .or(self.around.as_ref().map(Spanned::span))
                .or(self.keep_days.as_ref().map(Spanned::span))
                .or(self.keep_rejects_days.as_ref().map(Spanned::span))
                .or(self.keep_gb.as_ref().map(Spanned::span));
            return match place {
                Some(place) => {
                    let advice = "name the folder that they are kept in: pictures = \"DIR\"";
                    Err(Complaint::new(place, "no pictures are kept", advice))
                }
                None => Ok(None),
            };
        };
        let mut pictures = PicturesConfig::in_folder(document.path("pictures", folder)?);
        if let Some(typed) = &self.sample {
            pictures.sample = share(typed)?;
        }
        if let Some(typed) = &self.around {
            pictures.around = at_most("around", typed, *typed.get_ref(), 100)? as usize;
        }
        pictures.keep_days = self.keep_days.as_ref().map(|typed| positive("keep_days", typed)).transpose()?;
        pictures.keep_rejects_days =
            self.keep_rejects_days.as_ref().map(|typed| positive("keep_rejects_days", typed)).transpose()?;
        if let (Some(passes), Some(rejects), Some(typed)) =
            (pictures.keep_days, pictures.keep_rejects_days, &self.keep_rejects_days)
            && rejects < passes
        {
            let what = format!("keep_rejects_days ({rejects}) is less than keep_days ({passes})");
            return Err(Complaint::new(typed.span(), what, "rejected parts' pictures outlive those of passed ones"));
        }
        pictures.keep_bytes = self.keep_gb.as_ref().map(|typed| gigabytes("keep_gb", typed)).transpose()?;
        Ok(Some(pictures))
    }
}

fn witness(typed: &Spanned<String>) -> Checked<Witness> {
    typed.get_ref().parse().map_err(|why| Complaint::new(typed.span(), format!("witness {why}"), witness::ADVICE))
}

/// So many bytes (10^9 a gigabyte).
fn gigabytes(key: &str, typed: &Spanned<f64>) -> Checked<u64> {
    Ok((at_most(key, typed, positive(key, typed)?, 1e6)? * 1e9) as u64)
}

fn share(typed: &Spanned<f64>) -> Checked<f64> {
    match *typed.get_ref() {
        share if (0.0..=1.0).contains(&share) => Ok(share),
        share => {
            let what = format!("sample is {share}, not between 0 and 1");
            Err(Complaint::new(typed.span(), what, "0.01 keeps the pictures of one passed part in a hundred"))
        }
    }
}

/// One would be written over the other.
fn apart(key: &str, place: Range<usize>, path: &Path, others: &[(&str, &Path)]) -> Checked<()> {
    let Some((other, _)) = others.iter().find(|(_, other)| is_same(other, path)) else { return Ok(()) };
    let advice = format!("name a file of its own, such as: {}", complaint::example(key));
    Err(Complaint::new(place, format!("{key} is the same file as {other}"), advice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LineConfig;

    fn audit(keys: &str) -> Result<AuditConfig, String> {
        let text = format!(
            "format_version = 1\n[line]\nname = \"l\"\nclass = \"c\"\nmodel = \"m\"\ncalibration = \"c.toml\"\ntravel_ms = 100\n\
             pulse_ms = 20\n[camera]\nkind = \"synthetic\"\nseed = 1\nrate = 2\n[output]\nkind = \"none\"\n[audit]\n\
             file = \"a.jsonl\"\n{keys}"
        );
        LineConfig::parse(Path::new("line.toml"), &text).map(|config| config.audit).map_err(|error| error.report())
    }

    #[test]
    fn what_is_kept_and_for_how_long_is_read() {
        let keys = "pictures = \"p\"\nsample = 0.01\naround = 2\nkeep_days = 30\nkeep_rejects_days = 365\nkeep_gb = 1.5\n\
                    rotate_mb = 64\nrotate_daily = true\nkeep_log_days = 3650\nkeep_log_gb = 2.5\nkeep_records = 100\n\
                    when_full = \"count\"\n";
        let found = audit(keys).unwrap();
        let pictures = PicturesConfig {
            sample: 0.01,
            around: 2,
            keep_days: Some(30),
            keep_rejects_days: Some(365),
            keep_bytes: Some(1_500_000_000),
            ..PicturesConfig::in_folder("p".into())
        };
        assert_eq!(found.pictures, Some(pictures));
        assert_eq!(found.rotation, RotationConfig { bytes: Some(64_000_000), daily: true });
        assert_eq!((found.keep_records, found.when_full), (100, FullPolicy::Count));
        assert_eq!(found.retention, RetentionConfig { days: Some(3650), bytes: Some(2_500_000_000) });
        assert_eq!(
            audit(""),
            Ok(AuditConfig::in_file("a.jsonl".into())),
            "without keys nothing more is kept or closed"
        );
    }

    #[test]
    fn a_witness_is_an_address_and_wants_something_signed() {
        let found = audit("key = \"line.key\"\nwitness = \"http://logs.example:8080/line-3\"\n").unwrap();
        assert_eq!(found.signing.unwrap().witness.unwrap().to_string(), "http://logs.example:8080/line-3");
        for (keys, says) in [
            (
                "witness = \"http://logs.example\"\n",
                ":17:11: witness is of no use, since the key 'key' is missing in [audit]",
            ),
            ("checkpoint_copy = \"c\"\n", "checkpoint_copy is of no use, since the key 'key' is missing in [audit]"),
            ("key = \"line.key\"\nwitness = \"https://logs.example\"\n", "does not begin with http://"),
            ("key = \"line.key\"\nwitness = \"logs.example:80\"\n", "does not begin with http://"),
        ] {
            let report = audit(keys).unwrap_err();
            assert!(report.contains(says) && report.contains("try: "), "{report}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_with_what_to_write_instead() {
        for (keys, says) in [
            ("sample = 0.5\n", "pictures = \"DIR\""),
            ("pictures = \"p\"\nsample = 2\n", "not between 0 and 1"),
            ("pictures = \"p\"\nkeep_days = 9\nkeep_rejects_days = 3\n", "outlive those of passed ones"),
            ("pictures = \"p\"\nkeep_gb = -1\n", "keep_gb must be greater than 0"),
            ("keep_records = 0\n", "keep_records must be greater than 0"),
            ("rotate_mb = 0\n", "rotate_mb must be greater than 0"),
            ("keep_log_days = 9\n", ":17:17: keep_log_days is of no use, since the audit's file is never closed"),
            ("keep_log_gb = 9\nrotate_daily = false\n", "keep_log_gb is of no use"),
            ("rotate_mb = 1\nkeep_log_days = 0\n", "keep_log_days must be greater than 0"),
            ("rotate_mb = 1\nkeep_log_days = -1\n", "keep_log_days is to be a whole number from 0"),
            ("rotate_mb = 1\nkeep_log_days = \"a year\"\n", "keep_log_days is to be a whole number from 0"),
            ("rotate_mb = 1\nkeep_log_gb = -0.5\n", "keep_log_gb must be greater than 0"),
            ("rotate_mb = 1\nkeep_log_gb = nan\n", "keep_log_gb must be greater than 0"),
            ("rotate_mb = 1\nkeep_log_gb = inf\n", "keep_log_gb must be at most"),
            ("rotate_mb = 64\nkeep_log_gb = 0.1\n", "keep_log_gb (0.1) is less than two files of rotate_mb (64)"),
            (
                "pictures = \"p\"\nkeep_days = 3\nkeep_rejects_days = 9\nrotate_mb = 1\nkeep_log_days = 8\n",
                "keep_log_days (8) is less than keep_rejects_days (9)",
            ),
            (
                "pictures = \"p\"\nkeep_days = 9\nrotate_mb = 1\nkeep_log_days = 8\n",
                "keep_log_days (8) is less than keep_days (9)",
            ),
            (
                "pictures = \"p\"\nkeep_days = 3\nrotate_mb = 1\nkeep_log_days = 8\n",
                "keep_log_days (8) is less than keep_rejects_days (for ever)",
            ),
        ] {
            let report = audit(keys).unwrap_err();
            assert!(report.contains(says) && report.contains("try: "), "{report}");
        }
    }
}
