//! Which records somebody asks for.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;

use jiff::Timestamp;

use super::kind::Kind;
use super::read::{self, Entry, Range};
use crate::Result;

/// What a record must be; what is `None` or empty does not matter.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// When it was; for a part, when it was captured.
    pub range: Range,
    /// The kind; `None` asks for all of them.
    pub kind: Option<String>,
    /// The name of the run that it is of.
    pub run: Option<String>,
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
            && self.parts.as_ref().is_none_or(|parts| entry.part.is_some_and(|part| parts.contains(&part)))
            && self.scores.as_ref().is_none_or(|scores| entry.score.is_some_and(|score| scores.contains(&score)))
    }

    /// From when on the log is read: a run's records are those from its start on, which may lie before the range.
    pub(super) fn begins(&self) -> Option<Timestamp> {
        self.range.from.filter(|_| self.run.is_none())
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
    /// name of its run where its start was read. `look` says whether to go on. However long the log is, the memory that this
    /// takes is bounded. Gives how many records of that time and run were looked through, those that are not asked for as well.
    ///
    /// # Errors
    ///
    /// The log cannot be read, or `look` fails.
    pub fn each(&self, path: &Path, mut look: impl FnMut(&[u8], &Entry, Option<&str>) -> Result<bool>) -> Result<u64> {
        let range = Range { from: self.begins(), ..self.range };
        let (mut run, mut looked_through) = (None::<String>, 0);
        read::each(path, &range, |line, entry| {
            if entry.kind() == Some(Kind::Start) {
                run = entry.run.clone();
            }
            let is_before = self.run.is_some() && self.range.from.is_some_and(|from| entry.time < read::text(from));
            let is_of_run = self.run.is_none() || run == self.run;
            looked_through += u64::from(is_of_run && !is_before);
            match is_of_run && !is_before && self.wants(entry) {
                true => look(line, entry, run.as_deref()),
                false => Ok(true),
            }
        })?;
        Ok(looked_through)
    }
}
