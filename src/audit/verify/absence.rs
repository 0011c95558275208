//! Records at a log's beginning that are in files that are not here: whether the line itself removed them, as a record tells.

use std::ops::Range;

use super::Reading;
use super::sequence::read_files;
use crate::Result;
use crate::audit::chain::Envelope;
use crate::audit::read::LogFile;
use crate::audit::signatures::Trust;
use crate::audit::spot;
use crate::audit::vouched::Unvouched;

/// What a record tells of files of the log that the line removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Removal {
    record: u64,
    /// The records in them. What was before was not here any more by then.
    records: Range<u64>,
    time: String,
    why: Option<String>,
}

/// The records that a file of a log, read alone, tells of as removed, in their order; of a signed log as far as a checkpoint of their own run
/// vouches for that.
///
/// # Errors
///
/// The file cannot be read, or is not what was written.
pub(in crate::audit) fn removals(file: &LogFile, trust: &Trust) -> Result<Vec<Range<u64>>> {
    let reading = read_files(&file.path, std::slice::from_ref(file), trust, None, false)?;
    // Of a file without a checkpoint nothing is said about what none vouches for: that is all of it.
    if trust.key.is_some() && reading.signatures.newest.is_none() {
        return Ok(Vec::new());
    }
    let unvouched = if trust.key.is_some() { reading.verified.unvouched() } else { Unvouched::default() };
    let vouched = reading.removals.iter().filter(|removal| !unvouched.holds(removal.record));
    Ok(vouched.map(|removal| removal.records.clone()).collect())
}

impl Removal {
    /// `None` for a record that tells of more than there was before it, or does not say of which.
    pub(super) fn of(record: &Envelope) -> Option<Self> {
        let records = record.from?..record.records.filter(|upto| *upto <= record.seq)?;
        let (time, why) = (record.time.clone(), record.why.clone());
        (!records.is_empty()).then_some(Removal { record: record.seq, records, time, why })
    }

    /// That the first `absent` records were removed, and this the last of them, for people. `is_checked`: whether somebody knows that it is the
    /// line's own record.
    fn told(&self, absent: u64, is_checked: bool) -> String {
        let key = match self.why.as_deref() {
            Some("age") => ", as keep_log_days says",
            Some("space") => ", as keep_log_gb says",
            _ => "",
        };
        let (day, record) = (self.time.get(..10).unwrap_or(&self.time), self.record);
        let records = spot::records(&(0..absent));
        let were = if absent == 1 { "was" } else { "were" };
        let last = format!("the last of them on {day}{key}");
        match is_checked {
            true => {
                format!("{records} {were} removed by the line, {last} (record {record} tells of it): {SAYS_NOTHING}")
            }
            false => {
                format!(
                    "record {record} says that {records} {were} removed by the line, {last}, and who wrote it was not checked: {SAYS_NOTHING}"
                )
            }
        }
    }
}

/// What a log is worth for records that are in files before it.
const SAYS_NOTHING: &str = "what is here continues them, and says nothing of them";

/// Which of the first `absent` records these removals tell of, in their order. A later one may have been told of and not be done.
fn removed(told: &[&Removal], absent: u64) -> Vec<Range<u64>> {
    let mut ranges =
        told.iter().map(|removal| removal.records.start..removal.records.end.min(absent)).collect::<Vec<_>>();
    ranges.retain(|records| !records.is_empty());
    ranges.sort_by_key(|records| records.start);
    let mut joined = Vec::<Range<u64>>::new();
    for records in ranges {
        match joined.last_mut().filter(|last| records.start <= last.end) {
            Some(last) => last.end = last.end.max(records.end),
            None => joined.push(records),
        }
    }
    joined
}

/// What is to be said of records that are not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absence {
    /// The line removed them.
    Removed(String),
    /// Nobody knows who carried these away; and what is to be said.
    Unexplained(Vec<Range<u64>>, String),
}

impl Absence {
    /// What is to be said where the line removed them.
    pub(super) fn removed(self) -> Option<String> {
        match self {
            Absence::Removed(told) => Some(told),
            Absence::Unexplained(..) => None,
        }
    }

    /// Of the first records of the log that was read; `None` where all are here. Where a key was given a record explains nothing that no
    /// checkpoint of its own run vouches for: who takes files away can add one.
    pub(super) fn of(reading: &Reading, trust: &Trust) -> Option<Self> {
        let absent = Some(reading.absent()).filter(|absent| *absent > 0)?;
        let is_checked = trust.key.is_some();
        let unvouched = if is_checked { reading.verified.unvouched() } else { Unvouched::default() };
        let (claimed, told) = reading.removals.iter().partition::<Vec<_>, _>(|removal| unvouched.holds(removal.record));
        let removed = removed(&told, absent);
        let taken = between(&removed, absent);
        if taken.is_empty() {
            let last =
                told.iter().filter(|removal| removal.records.end >= absent).min_by_key(|removal| removal.records.end);
            return last.map(|removal| Absence::Removed(removal.told(absent, is_checked)));
        }
        let records = spot::records(&(0..absent));
        let are = if absent == 1 { "is in a file that is" } else { "are in files that are" };
        let more = match removed.is_empty() {
            true => String::new(),
            false => format!("; the line removed {}, and who took {} is told nowhere", all(&removed), all(&taken)),
        };
        let forged = claimed.iter().find(|removal| taken.iter().any(|taken| overlap(taken, &removal.records)));
        let forged = forged.map_or_else(String::new, |removal| {
            format!(
                "; record {} says that the line removed {}, and explains nothing, since nobody signed it: who may write the file could have \
                 added it",
                removal.record,
                spot::records(&removal.records)
            )
        });
        let told = format!("{records} {are} not here: {SAYS_NOTHING}{more}{forged}");
        Some(Absence::Unexplained(taken, told))
    }
}

fn all(ranges: &[Range<u64>]) -> String {
    ranges.iter().map(spot::records).collect::<Vec<_>>().join(", ")
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// What of the first `absent` records is in none of these ranges, which come in their order.
fn between(ranges: &[Range<u64>], absent: u64) -> Vec<Range<u64>> {
    let ends = std::iter::once(0).chain(ranges.iter().map(|records| records.end));
    let starts = ranges.iter().map(|records| records.start).chain(Some(absent));
    ends.zip(starts).map(|(end, start)| end..start).filter(|records| !records.is_empty()).collect()
}
