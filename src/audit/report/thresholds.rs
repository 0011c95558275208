//! Changes of what decides, and of a calibration which threshold it has and the one before had: as the parts say that were judged by them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::listing::{Happened, Listing};
use crate::Result;
use crate::approval::Approval;
use crate::audit::deciders::approval_of;
use crate::audit::doubtful::Doubtful;
use crate::audit::kind::Kind;
use crate::audit::query::Query;
use crate::audit::read::{Entry, Range};
use crate::digest::Digest;

/// So many hours before the first change parts are looked for that calibrations before had judged, one after the other: a log may be long.
const BACK: [i64; 5] = [1, 6, 24, 7 * 24, 30 * 24];

/// Another program, configuration, model, calibration or key decides.
#[derive(Debug, Clone)]
pub(super) struct Changed {
    pub(super) happened: Happened,
    /// Of a calibration, the one before and this one.
    calibrations: Option<[Option<Digest>; 2]>,
}

impl Changed {
    /// `approvals`: of the run that begins with it.
    pub(super) fn of(entry: &Entry, approvals: &[Approval]) -> Self {
        let digest = |told: &Option<String>| told.as_deref().and_then(|told| told.parse::<Digest>().ok());
        let what = entry.what.as_deref().unwrap_or_default();
        let is_told = entry.kind() == Some(Kind::Changed) && what.starts_with("calibration of ");
        let calibrations = is_told.then(|| [digest(&entry.from), digest(&entry.to)]);
        let approval = calibrations.and_then(|[_, to]| approval_of(what, to?, approvals));
        let unproven = approval.and_then(|approval| approval.unproven.as_ref());
        let unproven = unproven.map_or_else(String::new, |unproven| format!("; its threshold was set {unproven}"));
        let told = format!("{}: {}{unproven}", entry.kind, entry.change_told().unwrap_or_default());
        Changed { happened: Happened::now(entry, told), calibrations }
    }
}

/// The thresholds of calibrations.
#[derive(Debug, Clone, Default)]
pub(super) struct Thresholds(BTreeMap<Digest, f32>);

impl Thresholds {
    /// What a part tells.
    pub(super) fn note(&mut self, part: &Entry) {
        self.0.extend(part.calibration.zip(part.threshold));
    }

    /// Looks in the log in `path` before these changes for the calibrations that no part told of so far; which of the parts that do are not as
    /// they were written.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub(super) fn look_back(&mut self, path: &Path, changes: &Listing<Changed>) -> Result<Doubtful> {
        let mut doubtful = Doubtful::default();
        let before = changes.listed().filter_map(|change| Some((change.calibrations?[0]?, &change.happened.time)));
        let (mut sought, times) =
            before.filter(|(from, _)| !self.0.contains_key(from)).unzip::<_, _, BTreeSet<_>, Vec<_>>();
        // What came behind the first of them is of the time that the page is of: that was read.
        let Some(first) = times.into_iter().min().and_then(|time| time.parse::<Timestamp>().ok()) else {
            return Ok(doubtful);
        };
        let mut range = Range { from: None, to: Some(first) };
        for hours in BACK {
            range.from = first.checked_sub(SignedDuration::from_hours(hours)).ok();
            Query { range, ..Query::of_kind(Kind::Part.as_str()) }.each(path, |line, part, _| {
                if part.threshold.is_some() && part.calibration.is_some_and(|calibration| sought.remove(&calibration)) {
                    doubtful.look(line, part);
                    self.note(part);
                }
                Ok(!sought.is_empty())
            })?;
            if sought.is_empty() {
                break;
            }
            range.to = range.from;
        }
        Ok(doubtful)
    }

    /// Those of a change of calibration, for people; `None` of another change.
    pub(super) fn told(&self, change: &Changed) -> Option<String> {
        let [from, to] = change.calibrations?;
        let known = |calibration: Option<Digest>| calibration.and_then(|calibration| self.0.get(&calibration));
        Some(match (known(from), known(to)) {
            (Some(before), Some(now)) if before == now => format!("threshold {now}, as before"),
            (Some(before), Some(now)) => format!("threshold {now}, and it was {before}"),
            (None, Some(now)) if from.is_none() => format!("threshold {now}"),
            (None, Some(now)) => {
                format!("threshold {now}; no part of the {} days before tells which it was", BACK[4] / 24)
            }
            (Some(before), None) if to.is_none() => format!("its threshold was {before}"),
            (Some(before), None) => format!("no part of this time tells its threshold; it was {before}"),
            (None, None) => return None,
        })
    }
}
