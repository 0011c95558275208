//! What is wrong with a log that is not what was written: where, how it came about as far as that shows, and what to do.

use std::io::BufRead;
use std::ops::Range;
use std::path::Path;

use crate::Error;
use crate::audit::chain::{Break, Envelope};
use crate::audit::read::{Gap, LogFile, cannot_be_read, damage, lines, missing_files};
use crate::audit::signatures::Doubt;
use crate::audit::spot::{self, Spot};
use crate::error::ErrorKind;

/// What to do about a file that is missing between others.
const BRING_BACK: &str = "look for what is missing where closed files are carried to (an archive, a backup, the job that moves them), and put \
                          it back beside the others under its name, compressed or not; if it is nowhere, keep the others as evidence";
/// What to do about a record that is not as it was written.
pub(super) const EVIDENCE: &str = "put the file back from a copy that is whole, and find out who or what changed this one; if there is none, keep it as \
                        evidence: move it away, and the pictures with it, and begin a new one";

/// What is wrong with what is found in the place of the record `spot`, behind those `before`.
pub(super) fn broken_at(spot: &Spot, broken: Break, before: Range<u64>, rest: &mut impl BufRead) -> Error {
    let Spot { record, line, file } = spot;
    let (line, place) = (*line, format!("line {line} of {}", file.display()));
    let what = match broken {
        Break::Changed => format!("{spot} was changed: its hash does not fit its content"),
        Break::Foreign(why) if *record == 0 => {
            return foreign(file, why);
        }
        Break::Foreign(why) => format!("{spot} is not an audit line: {why}"),
        Break::Previous if *record == 0 => format!("{spot} follows another record, and is the first: it was replaced"),
        Break::Previous => {
            let what = format!("{spot} does not follow record {}: one of them was replaced", record - 1);
            return as_written_before(Error::check(what), before.start..record - 1).advise(EVIDENCE);
        }
        Break::Sequence { found, expected } if found < expected => {
            format!("record {found} ({place}) is out of order: record {expected} must come here")
        }
        Break::Sequence { found, expected } => match find(rest, expected, line) {
            Some(elsewhere) => {
                format!("records are out of order: record {expected} must be on {place}, and is on line {elsewhere}")
            }
            None => format!("{} before record {found} ({place})", spot::missing(&(expected..found))),
        },
    };
    as_written_before(Error::check(what), before).advise(EVIDENCE)
}

/// The first line of what is to be a log is none.
pub(super) fn foreign(file: &Path, why: impl std::fmt::Display) -> Error {
    Error::check(format!("{}: its first line is not one of an audit: {why}", file.display()))
        .advise("name an audit file; if this was one, somebody replaced its beginning: keep it as evidence")
}

/// The records `absent` are missing behind those that were `read`, between the file in this place of the files, which begins with the
/// record `first`, and the one before.
pub(super) fn gap(
    absent: Range<u64>,
    read: Range<u64>,
    (files, place): (&[LogFile], usize),
    first: &Envelope,
) -> Error {
    let (before, next) = (&files[place - 1], &files[place]);
    let (gap, others) = (Gap::between(before, next, first.file.as_deref()), missing_files(&files[place..]));
    let because = match &gap {
        Gap::Files(names) => names.clone(),
        Gap::None if before.beginning().is_none() => format!("{} holds no record any more", before.path.display()),
        Gap::None => format!("the end of {} was removed", before.path.display()),
        Gap::Renamed(own) => format!("{} was written as {own}", next.path.display()),
        Gap::Unknown => {
            "a file between them is not here, or the end of the one or the beginning of the other was removed"
                .to_owned()
        }
    };
    let others = others.iter().map(|other| format!("; {other}")).collect::<String>();
    let missing = spot::missing(&absent);
    Error::check(format!("{missing} between {} and {}", before.path.display(), next.path.display()))
        .because(match read.is_empty() {
            true => format!("{because}{others}; nothing is known of the records after"),
            false => format!("{because}{others}; {}, and nothing is known of those after", as_written(&read)),
        })
        .advise(match gap {
            Gap::None => EVIDENCE,
            Gap::Renamed(_) => "give the files the names back under which they were written",
            Gap::Files(_) | Gap::Unknown => BRING_BACK,
        })
}

/// The file cannot be read on behind the records `before`.
pub(super) fn unreadable(path: &Path, error: std::io::Error, before: &Range<u64>) -> Error {
    let text = error.to_string();
    match cannot_be_read(path, error) {
        broken if broken.kind() == ErrorKind::Check && !before.is_empty() => {
            broken.because(format!("{text}; {}", as_written(before)))
        }
        other => other,
    }
}

/// What is broken in a compressed file that fails its own checksum may be a disk's doing: not that a record was changed, as the line says
/// that came out of damaged data.
pub(super) fn if_damaged(path: &Path, before: &Range<u64>, error: Error) -> Error {
    match damage(path) {
        Some(damage) => unreadable(path, damage, before),
        None => error,
    }
}

/// The line after `line` that holds record `seq`.
fn find(rest: &mut impl BufRead, seq: u64, line: u64) -> Option<u64> {
    let lines = lines(rest).map_while(std::result::Result::ok);
    let holds = |content: &Vec<u8>| Envelope::open(content).is_ok_and(|envelope| envelope.seq == seq);
    lines.zip(line + 1..).find(|(content, _)| holds(content)).map(|(_, number)| number)
}

/// The chain is whole, and what is signed is something else.
pub(super) fn doubted(path: &Path, doubt: Doubt) -> Error {
    Error::check(format!("{}: {}", path.display(), doubt.why)).advise(doubt.advice)
}

/// Says of which records, those `before`, nothing is wrong.
pub(super) fn as_written_before(error: Error, before: Range<u64>) -> Error {
    match before.is_empty() {
        true => error,
        false => error.because(format!("{}; nothing is known of those after", as_written(&before))),
    }
}

fn as_written(before: &Range<u64>) -> String {
    let are = if before.end - before.start == 1 { "is as it was" } else { "are as they were" };
    format!("{} {are} written", spot::records(before))
}
