//! The parts that changes in accepted parts are shown by, with what became of their pictures.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::listing::{Drifted, Listing};
use super::{Bad, Shift};
use crate::Result;
use crate::audit::doubtful::Doubtful;
use crate::audit::kind::Kind;
use crate::audit::query::Query;
use crate::audit::read::{self, Entry, Range};

/// So long after a change one of its parts may be written down: it was on the belt still.
const BEHIND: SignedDuration = SignedDuration::from_mins(1);

/// The parts of all changes that are listed. One whose record is not here is left out.
///
/// # Errors
///
/// The log in `path` cannot be read.
pub(super) fn parts(path: &Path, drift: &Listing<Drifted>) -> Result<Vec<Bad>> {
    let mut found = Vec::new();
    for change in drift.listed().filter(|change| !change.parts.is_empty()) {
        found.extend(parts_of(path, change)?);
    }
    Ok(found)
}

/// Which records of these parts, and of their pictures, are not as they were written: of those that are not of the shift, which is looked
/// at where it is told of.
///
/// # Errors
///
/// As [`parts`].
pub(super) fn doubtful(path: &Path, shift: &Shift, parts: &[Bad]) -> Result<Doubtful> {
    let (mut doubtful, mut seen) = (Doubtful::default(), BTreeSet::new());
    for Bad { entry: part, .. } in parts {
        let Ok(captured) = part.time.parse::<Timestamp>() else { continue };
        let range = Range { from: Some(captured), to: captured.checked_add(BEHIND).ok() };
        let query = Query { parts: part.part.map(|number| number..=number), range, ..Query::default() };
        let is_its = |entry: &Entry| match entry.kind() {
            Some(Kind::Picture) => entry.picture == part.picture,
            _ => entry.seq == part.seq,
        };
        query.each(path, |line, entry, _| {
            if is_its(entry) && !shift.holds(&entry.time) && seen.insert(entry.seq) {
                doubtful.look(line, entry);
            }
            Ok(true)
        })?;
    }
    Ok(doubtful)
}

/// The log is read back from the change in strides that grow, since nobody knows how far apart accepted parts of a product were.
fn parts_of(path: &Path, change: &Drifted) -> Result<Vec<Bad>> {
    let Ok(at) = change.happened.time.parse::<Timestamp>() else { return Ok(Vec::new()) };
    let begun = read::span(path)?.map(|(least, _)| least);
    let wanted = change.parts.iter().copied().collect::<BTreeSet<_>>();
    let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return Ok(Vec::new()) };
    let mut hours = 1;
    loop {
        let from = at.checked_sub(SignedDuration::from_hours(hours)).ok();
        let range = Range { from, to: at.checked_add(BEHIND).ok() };
        let query = Query { parts: Some(*first..=*last), range, ..Query::of_kind("part") };
        let mut found = Vec::<Bad>::new();
        query.each_part(path, |entry, run| {
            let is_other = run.is_some() && change.run.is_some() && run != change.run.as_deref();
            if !is_other && entry.part.is_some_and(|part| wanted.contains(&part)) {
                // Where the run is not known, the newest part of that number is it.
                found.retain(|other| other.entry.part != entry.part || other.entry.seq > entry.seq);
                let is_older = found.iter().any(|other| other.entry.part == entry.part);
                found.extend((!is_older).then(|| Bad { entry: entry.clone(), run: change.run.clone() }));
            }
            Ok(())
        })?;
        let is_all = begun.as_ref().is_none_or(|begun| from.is_none_or(|from| read::text(from) <= *begun));
        if found.len() == wanted.len() || is_all {
            let place = |part: &Bad| change.parts.iter().position(|number| Some(*number) == part.entry.part);
            found.sort_by_key(place);
            return Ok(found);
        }
        hours *= 4;
    }
}
