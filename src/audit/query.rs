//! Which records somebody asks for.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::path::Path;

use jiff::Timestamp;

use super::chain;
use super::doubtful::Doubtful;
use super::kind::Kind;
use super::read::{self, Entry, Range};
use super::vouched::Unvouched;
use crate::digest::Digest;
use crate::{Error, Result, print};

/// So many runs are named to who asks for one that is not there.
const RUNS_TOLD: usize = 5;

/// What a record must be; what is `None` or empty does not matter.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// When it was; for a part, when it was captured.
    pub range: Range,
    /// The kind; `None` asks for all of them.
    pub kind: Option<String>,
    /// The name of the run that it is of.
    pub run: Option<String>,
    /// Numbers of records.
    pub records: Option<RangeInclusive<u64>>,
    /// Part numbers.
    pub parts: Option<RangeInclusive<u64>>,
    /// The name of the lane.
    pub lane: Option<String>,
    /// The class.
    pub class: Option<String>,
    /// The verdict.
    pub verdict: Option<String>,
    /// Why there is none.
    pub reason: Option<String>,
    /// The fate.
    pub fate: Option<String>,
    /// Scores.
    pub scores: Option<RangeInclusive<f32>>,
    /// The pixels that were looked at, by one of these digests.
    pub pixels: Vec<Digest>,
    /// Records that are left out, as if they were not there: a check of the log does not stand for them.
    pub unvouched: Unvouched,
}

impl Query {
    /// All records of one kind.
    pub fn of_kind(kind: &str) -> Self {
        Query { kind: Some(kind.to_owned()), ..Query::default() }
    }

    pub(super) fn wants(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        self.kind.as_ref().is_none_or(|kind| *kind == entry.kind)
            && is(&self.lane, &entry.lane)
            && is(&self.class, &entry.class)
            && is(&self.verdict, &entry.verdict)
            && is(&self.reason, &entry.reason)
            && is(&self.fate, &entry.fate)
            && self.records.as_ref().is_none_or(|records| records.contains(&entry.seq))
            && self.parts.as_ref().is_none_or(|parts| entry.part.is_some_and(|part| parts.contains(&part)))
            && self.scores.as_ref().is_none_or(|scores| entry.score.is_some_and(|score| scores.contains(&score)))
            && (self.pixels.is_empty() || entry.pixels().any(|pixels| self.pixels.contains(&pixels)))
    }

    /// From when on the log is read: a run's records are those from where it is named on, which may lie before the range.
    pub(super) fn begins(&self) -> Option<Timestamp> {
        self.range.from.filter(|_| self.run.is_none())
    }

    /// Whether there is the run that is asked for: a name that no run of the log has is a slip, and no answer.
    ///
    /// # Errors
    ///
    /// No start of it is in the log, nor a file that goes on with it, or the log cannot be read.
    pub fn check_run(&self, path: &Path) -> Result<()> {
        let Some(asked) = &self.run else { return Ok(()) };
        let (mut last, mut is_here) = (VecDeque::new(), false);
        Query::default().each(path, |_, entry, _| {
            // A run is named again by each file that goes on with it.
            let Some(run) = entry.run.as_ref().filter(|run| entry.names_run() && last.back() != Some(*run)) else {
                return Ok(true);
            };
            is_here = run == asked;
            last.push_back(run.clone());
            if last.len() > RUNS_TOLD {
                last.pop_front();
            }
            Ok(!is_here)
        })?;
        if is_here {
            return Ok(());
        }
        let names = last.iter().map(print::name).collect::<Vec<_>>().join(", ");
        let asked = print::name(asked);
        let unknown = Error::usage(format!("no run '{asked}' is in {}", print::name(path.display())));
        let unknown = match read::may_be_missing(path, None)? {
            Some(missing) => unknown.because(missing),
            None => unknown,
        };
        Err(unknown.advise(match names.is_empty() {
            true => "no run is named in the files that are here: copy the log into another folder, and its older files with it".to_owned(),
            false => format!("the last ones are: {names}; hgad audit query --kind start lists all that began in the files that are here"),
        }))
    }

    /// What to tell somebody who found nothing: of a class and a lane that no part of that time has, which there are.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn unknown_names(&self, path: &Path) -> Result<Vec<String>> {
        if self.class.is_none() && self.lane.is_none() {
            return Ok(Vec::new());
        }
        let (mut classes, mut lanes) = (BTreeSet::new(), BTreeSet::new());
        let all = Query { range: self.range, ..Query::of_kind(Kind::Part.as_str()) };
        all.each(path, |_, entry, _| {
            for (names, name) in [(&mut classes, &entry.class), (&mut lanes, &entry.lane)] {
                if let Some(name) = name.as_ref().filter(|name| !names.contains(*name)) {
                    names.insert(name.clone());
                }
            }
            Ok(true)
        })?;
        let told = [("class", &self.class, classes), ("lane", &self.lane, lanes)].into_iter().filter_map(
            |(what, asked, names)| {
                let asked = asked.as_ref().filter(|asked| !names.contains(*asked))?;
                let there_are = match names.is_empty() {
                    true => "there is none".to_owned(),
                    false => format!("there are: {}", names.into_iter().collect::<Vec<_>>().join(", ")),
                };
                Some(format!("no part of that time has the {what} '{asked}'; {there_are}"))
            },
        );
        Ok(told.collect())
    }

    /// Shows `look` every record of the log in `path` that is asked for: the line as it stands there, what is in it, and the
    /// name of its run where that was read: at its start, or where a later file begins. `look` says whether to go on. However long the log is, the memory that this
    /// takes is bounded. Gives how many records of that time and run were looked through, those that are not asked for as well.
    ///
    /// # Errors
    ///
    /// The log cannot be read, or `look` fails.
    pub fn each(&self, path: &Path, look: impl FnMut(&[u8], &Entry, Option<&str>) -> Result<bool>) -> Result<u64> {
        self.each_or_missing(path, &mut Doubtful::default(), look)
    }

    /// The same, and tells `doubtful` where records of that time are missing within what was read of a file.
    ///
    /// # Errors
    ///
    /// As [`Query::each`].
    pub fn each_or_missing(
        &self,
        path: &Path,
        doubtful: &mut Doubtful,
        mut look: impl FnMut(&[u8], &Entry, Option<&str>) -> Result<bool>,
    ) -> Result<u64> {
        let range = Range { from: self.begins(), ..self.range };
        let (mut run, mut looked_through) = (None::<String>, 0);
        let (mut is_behind_told, mut edited) = (false, Doubtful::default());
        read::each_or_missing(path, &range, doubtful, |line, entry| {
            if self.unvouched.holds(entry.seq) {
                return Ok(true);
            }
            if entry.names_run() {
                run.clone_from(&entry.run);
            }
            let is_before = self.run.is_some() && self.range.from.is_some_and(|from| entry.time < read::text(from));
            let is_of_run = self.run.is_none() || run == self.run;
            looked_through += u64::from(is_of_run && !is_before);
            let is_told = is_of_run && !is_before && self.wants(entry);
            // Whoever edits a record, and the hash of it that the next one says, leaves that one without its own hash.
            if !is_told && is_behind_told && chain::fits(line).is_err() {
                edited.apart(entry.seq.saturating_sub(1), entry.seq);
            }
            is_behind_told = is_told;
            if is_told { look(line, entry, run.as_deref()) } else { Ok(true) }
        })?;
        doubtful.join(edited);
        Ok(looked_through)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_not_in_the_log_is_a_slip_and_the_last_ones_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.jsonl");
        let start = |number: u64| {
            format!(
                "{{\"seq\":{number},\"kind\":\"start\",\"time\":\"2026-11-24T06:00:0{number}.000000Z\",\"run\":\"run-{number}\"}}\n"
            )
        };
        std::fs::write(&log, (0..8).map(start).collect::<String>()).unwrap();
        let check = |run: &str| Query { run: Some(run.to_owned()), ..Query::default() }.check_run(&log);
        assert!(check("run-0").is_ok() && check("run-7").is_ok() && Query::default().check_run(&log).is_ok());
        let error = check("nope").unwrap_err();
        let told = error.report();
        assert!(error.kind().exit_code() == 2 && told.contains("no run 'nope'"), "{told}");
        assert!(told.contains("run-3, run-4, run-5, run-6, run-7;") && !told.contains("run-2"), "{told}");
    }
}
