//! Records at a log's beginning that are in files that are not here: whether the line itself removed them, as a record tells.

use super::Reading;
use crate::audit::chain::Envelope;
use crate::audit::signatures::Trust;
use crate::audit::spot;
use crate::audit::vouched::Unvouched;

/// What a record tells of files of the log that the line removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Removal {
    record: u64,
    /// So many records, from the first of the log on.
    upto: u64,
    time: String,
    why: Option<String>,
}

impl Removal {
    /// `None` for a record that tells of more than there was before it.
    pub(super) fn of(record: &Envelope) -> Option<Self> {
        let upto = record.records.filter(|upto| *upto <= record.seq)?;
        Some(Removal { record: record.seq, upto, time: record.time.clone(), why: record.why.clone() })
    }

    /// That the first `absent` records were removed, for people.
    fn told(&self, absent: u64) -> String {
        let key = match self.why.as_deref() {
            Some("age") => ", as keep_log_days says",
            Some("space") => ", as keep_log_gb says",
            _ => "",
        };
        let day = self.time.get(..10).unwrap_or(&self.time);
        let were = if absent == 1 { "was" } else { "were" };
        format!(
            "{} {were} removed by the line on {day}{key} (record {} tells of it): what is here continues them, and says nothing of them",
            spot::records(&(0..absent)),
            self.record
        )
    }
}

/// What is to be said of records that are not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absence {
    /// The line removed them.
    Removed(String),
    /// Nobody knows who carried them away, or some of them.
    Unexplained(String),
}

impl Absence {
    /// What is to be said where the line removed them.
    pub(super) fn removed(self) -> Option<String> {
        match self {
            Absence::Removed(told) => Some(told),
            Absence::Unexplained(_) => None,
        }
    }

    /// Of the first records of the log that was read; `None` where all are here. Where a key was given a record explains nothing that no
    /// checkpoint of its own run vouches for: who takes files away can add one.
    pub(super) fn of(reading: &Reading, trust: &Trust) -> Option<Self> {
        let absent = Some(reading.absent()).filter(|absent| *absent > 0)?;
        let unvouched = if trust.key.is_some() { reading.verified.unvouched() } else { Unvouched::default() };
        let (claimed, told) = reading.removals.iter().partition::<Vec<_>, _>(|removal| unvouched.holds(removal.record));
        // A later removal may have been told of and not be done.
        let explains = told.iter().filter(|removal| removal.upto >= absent).min_by_key(|removal| removal.upto);
        if let Some(removal) = explains {
            return Some(Absence::Removed(removal.told(absent)));
        }
        let records = spot::records(&(0..absent));
        let are = if absent == 1 { "is in a file that is" } else { "are in files that are" };
        let more = told.iter().map(|removal| removal.upto).max().map_or_else(String::new, |upto| {
            format!("; the line tells of {} alone that it removed", spot::records(&(0..upto)))
        });
        let forged = claimed.iter().find(|removal| removal.upto >= absent).map_or_else(String::new, |removal| {
            format!(
                "; record {} says that the line removed them, and explains nothing, since nobody signed it: who may write the file could have \
                 added it",
                removal.record
            )
        });
        Some(Absence::Unexplained(format!(
            "{records} {are} not here: what is here continues them, and says nothing of them{more}{forged}"
        )))
    }
}
