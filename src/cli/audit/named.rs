//! How a record and a part are named on the command line, in one way everywhere: a record by its number in the log, a part by its run and
//! its number in that, as tables, pages and calibrations tell it.

use std::path::Path;
use std::str::FromStr;

use super::query::Between;
use crate::audit::{Kind, Query};
use crate::{Error, Result, print};

/// A part of a run: `20261124T162231.137055Z/12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartName {
    pub(super) run: String,
    pub(super) number: u64,
}

impl FromStr for PartName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let name = text.rsplit_once('/').and_then(|(run, number)| Some((run, number.parse().ok()?)));
        let (run, number) = name.ok_or("write it as RUN/PART, such as 20261124T162231.137055Z/12")?;
        Ok(PartName { run: run.to_owned(), number })
    }
}

impl PartName {
    /// The number of its record in the log at `path`.
    ///
    /// # Errors
    ///
    /// There is no such part, or the log cannot be read.
    pub(super) fn record(&self, path: &Path) -> Result<u64> {
        let mut record = None;
        let parts = Some(self.number..=self.number);
        let query = Query { run: Some(self.run.clone()), parts, ..Query::of_kind(Kind::Part.as_str()) };
        query.each(path, |_, entry, _| {
            record = Some(entry.seq);
            Ok(false)
        })?;
        if let Some(record) = record {
            return Ok(record);
        }
        query.check_run(path)?;
        let (run, number, path) = (print::name(&self.run), self.number, print::name(path.display()));
        Err(Error::usage(format!("the run {run} has no part {number} in {path}"))
            .advise(format!("hgad audit query {path} --run {run} lists its parts")))
    }
}

/// A record, or a part.
#[derive(Debug, Clone)]
pub(super) enum Id {
    Record(u64),
    Part(PartName),
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let id = if text.contains('/') { text.parse().map(Id::Part).ok() } else { text.parse().map(Id::Record).ok() };
        id.ok_or_else(|| {
            "give the number of a record, such as 4711, or RUN/PART, such as 20261124T162231.137055Z/12".into()
        })
    }
}

impl Id {
    /// The number of its record, where that is what was given.
    pub(super) fn record(&self) -> Option<u64> {
        match self {
            Id::Record(seq) => Some(*seq),
            Id::Part(_) => None,
        }
    }

    /// What finds all records of its run; of a record, all of the log.
    pub(super) fn of_run(&self) -> Query {
        let run = if let Id::Part(PartName { run, .. }) = self { Some(run.clone()) } else { None };
        Query { run, ..Query::default() }
    }
}

/// Parts of any run by their numbers, or one part.
#[derive(Debug, Clone)]
pub(super) enum Parts {
    Numbers(Between<u64>),
    One(PartName),
}

impl FromStr for Parts {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text.contains('/') { text.parse().map(Parts::One) } else { text.parse().map(Parts::Numbers) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_named_by_its_number_and_a_part_by_its_run_too() {
        assert!(matches!("4711".parse(), Ok(Id::Record(4711))));
        let part = PartName { run: "20261124T162231.137055Z".into(), number: 12 };
        assert!(matches!("20261124T162231.137055Z/12".parse(), Ok(Id::Part(name)) if name == part));
        assert!(matches!("20261124T162231.137055Z/12".parse(), Ok(Parts::One(name)) if name == part));
        assert!(matches!("17".parse(), Ok(Parts::Numbers(Between(range))) if range == (17..=17)));
        for wrong in ["x", "R/", "R/x", ""] {
            assert!(wrong.parse::<Id>().is_err() && wrong.parse::<PartName>().is_err(), "{wrong}");
        }
        assert!("R/x".parse::<Parts>().unwrap_err().contains("RUN/PART"));
    }
}
