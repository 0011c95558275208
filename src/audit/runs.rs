//! The runs that a log tells of, and what it means where it has no start of one of which pictures are there.

use std::collections::BTreeSet;
use std::path::Path;

use super::kind::Kind;
use super::query::Query;
use super::read::{self, Entry};
use super::record::wall_time;
use crate::time::Monotonic;
use crate::{Result, print};

/// A run's name: when it began, in a form that file names may have.
pub(super) fn name(started: Monotonic) -> String {
    wall_time(started).chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

/// Whether a run may be called so; other folders among the pictures are a file system's, or a person's.
fn is_name(name: &str) -> bool {
    const FORM: &str = "00000000T000000.000000Z";
    let fits = |(c, form): (char, char)| if form == '0' { c.is_ascii_digit() } else { c == form };
    name.len() == FORM.len() && name.chars().zip(FORM.chars()).all(fits)
}

/// Why a log may have no start of a run of which pictures are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Startless {
    /// It would have one, had it not been cut or put back.
    CutOff,
    /// Its first files are not here: the run may have been in them.
    Doubtful,
}

impl Startless {
    /// Of how much of the log that is said.
    fn log(self) -> &'static str {
        match self {
            Startless::CutOff => "the log",
            Startless::Doubtful => "what is here of the log",
        }
    }

    /// That there is none, for people: `the log has no start of`.
    pub fn told(self) -> String {
        format!("{} has no start of", self.log())
    }

    /// Why that may be.
    pub fn why(self) -> &'static str {
        match self {
            Startless::CutOff => {
                "the log's end was cut off, or an older copy of it was put back: a run's start is on disk before its first picture"
            }
            Startless::Doubtful => {
                "that is in an earlier file which was carried away, or removed by the line (log-removed), if the machine's clock was ahead then, \
                 or else the log's end was cut off"
            }
        }
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Startless::CutOff => {
                "hgad audit verify --checkpoint FILE, with the newest checkpoint that a copy or a witness kept, says whether records are \
                 missing. If a backup of the log was put back, put the newest one back; if the pictures were put there from another folder, \
                 take them away. If neither is so, keep log and pictures as evidence"
            }
            Startless::Doubtful => {
                "with all files in one folder it is known; hgad audit verify --checkpoint FILE says whether the end is there"
            }
        }
    }
}

/// The runs that a log tells of.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Whether the log's first line is here; `None` before a line was seen.
    has_first: Option<bool>,
    /// Whether its newest file is: nothing comes after what is read.
    has_newest: bool,
    /// Those whose start is here.
    begun: BTreeSet<String>,
    /// The first that a line is of, and the last.
    ends: Option<[String; 2]>,
}

impl Runs {
    /// Those of the log in `path`, of which no line was seen so far.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let has_newest = read::files(path)?.last().is_some_and(|last| last.number.is_none());
        Ok(Runs { has_newest: has_newest && read::newest_of(path).is_none(), ..Runs::default() })
    }

    pub(super) fn see(&mut self, entry: &Entry) {
        self.has_first.get_or_insert(entry.seq == 0);
        let (kind, Some(run)) = (entry.kind(), &entry.run) else { return };
        if matches!(kind, Some(Kind::Start | Kind::Continued)) {
            self.ends.get_or_insert_with(|| [run.clone(), run.clone()])[1].clone_from(run);
        }
        if kind == Some(Kind::Start) {
            self.begun.insert(run.clone());
        }
    }

    /// Whether each record of the run of this name is here, if there ever was one. Runs are named by when they began, as their machine's
    /// clock said it: also one that is named as later may be in files that were carried away.
    pub(super) fn are_all_here(&self, run: &str) -> bool {
        let (is_begun, ends) = (self.begun.contains(run), self.ends.as_ref());
        let may_be_before = self.has_first != Some(true)
            && !is_begun
            && (is_name(run) || ends.is_none_or(|[first, _]| run <= first.as_str()));
        let may_be_behind =
            !self.has_newest && ends.is_none_or(|[_, last]| run == last.as_str() || !is_begun && run > last.as_str());
        !may_be_before && !may_be_behind
    }

    /// Whether the run of this name began after all that the log tells of.
    pub(super) fn is_later(&self, run: &str) -> bool {
        self.ends.as_ref().is_some_and(|[_, last]| run > last.as_str())
    }

    /// What it means that pictures of the run of this name are there; `None` where its start is here, or may well be elsewhere.
    pub(super) fn startless(&self, run: &str) -> Option<Startless> {
        if !is_name(run) || self.begun.contains(run) {
            return None;
        }
        let is_behind_the_first = self.ends.as_ref().is_some_and(|[first, _]| run > first.as_str());
        match self.are_all_here(run) {
            true => Some(Startless::CutOff),
            false if self.has_first != Some(true) && self.has_newest && is_behind_the_first => {
                Some(Startless::Doubtful)
            }
            false => None,
        }
    }
}

/// What is to be said of pictures of runs that the log in `path` has no start of, though they are later than `last`, the last run of its newest
/// file, and what to do. What records say of the time besides is not believed, since anybody can add one. The whole log is read only where there
/// are such.
///
/// # Errors
///
/// The log cannot be read.
pub(super) fn told_of_startless(
    path: &Path,
    last: Option<&str>,
    pictured: &BTreeSet<&str>,
) -> Result<Option<(String, &'static str)>> {
    let Some(last) = last else { return Ok(None) };
    let later = pictured.iter().copied().filter(|run| is_name(run) && *run > last).collect::<Vec<_>>();
    if later.is_empty() {
        return Ok(None);
    }
    let mut runs = Runs::of(path)?;
    Query::default().each(path, |_, entry, _| {
        runs.see(entry);
        Ok(true)
    })?;
    let startless = later.iter().filter_map(|run| runs.startless(run).map(|lack| (*run, lack))).collect::<Vec<_>>();
    Ok(startless.last().map(|(newest, lack)| {
        let count = print::counted(startless.len() as u64, "run");
        let told =
            format!("pictures of {count} are there that {}, the newest of {newest}: {}", lack.told(), lack.why());
        (told, lack.advice())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_accuses_nobody_of_runs_that_may_be_in_files_that_were_carried_away() {
        let (ahead, own) = ("20270101T000000.000000Z", "20261124T060000.000000Z");
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.jsonl");
        let told = |seq: u64, pictured: &[&str]| {
            let start = format!(
                "{{\"seq\":{seq},\"kind\":\"start\",\"time\":\"2026-11-24T06:00:00.000000Z\",\"run\":\"{own}\"}}\n"
            );
            std::fs::write(&log, start).unwrap();
            told_of_startless(&log, Some(own), &pictured.iter().copied().collect()).unwrap()
        };
        let (whole, advice) = told(0, &[own, ahead, "lost+found"]).unwrap();
        assert!(
            whole.starts_with("pictures of 1 run are there that the log has no start of, the newest of 2027"),
            "{whole}"
        );
        assert!(whole.contains("the log's end was cut off, or an older copy of it was put back"), "{whole}");
        assert!(advice.contains("--checkpoint") && advice.contains("as evidence"), "{advice}");
        // The same log without its first files.
        let (part, advice) = told(7, &[own, ahead, "lost+found"]).unwrap();
        assert!(
            part.contains("that what is here of the log has no start of") && part.contains("clock was ahead"),
            "{part}"
        );
        assert!(advice.contains("--checkpoint") && !advice.contains("evidence"), "{advice}");
        assert_eq!(told(7, &[own, "20261123T060000.000000Z"]), None);
    }
}
