//! Reading a log without checking it: line by line, whatever its length, from a moment on.

mod entry;
mod files;
mod index;
mod seek;

pub use entry::{Entry, FrameEntry, LatencyEntry, PictureEntry};
pub(super) use files::{Gap, closed_name, missing as missing_files, newest_of, open, told_of};
pub use files::{LogFile, files, strangers};
pub(super) use index::{Member, members, pack};

use std::io::BufRead;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use self::seek::{Place, Wanted};
use crate::{Error, Result};

/// A part's record bears the time of its capture and is written when its fate is settled: so far behind at most.
const DISORDER: Duration = Duration::from_secs(2 * 3600);

/// A part of a log: from one moment up to, and without, another.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    /// The first moment; `None`: from the log's beginning.
    pub from: Option<Timestamp>,
    /// The moment after the last; `None`: to its end.
    pub to: Option<Timestamp>,
}

/// A moment as records write it, so that texts compare as moments do.
pub(super) fn text(at: Timestamp) -> String {
    format!("{at:.6}")
}

fn shifted(at: Timestamp, by: SignedDuration) -> String {
    text(at.checked_add(by).unwrap_or(at))
}

/// Shows `look` every line of the log in `path` whose time is in `range`, in the order in which they were written. `look` says
/// whether to go on.
///
/// What lies outside the range is not read: files of the log, and parts of a file, are left out by the times of their lines. Where the
/// machine's clock was set back by more than two hours, or somebody changed what a compressed file says of its own times, `scan`
/// finds what that misses.
///
/// # Errors
///
/// A file cannot be read, holds what is no line of an audit, or `look` fails.
pub fn each(path: &Path, range: &Range, scan: bool, look: impl FnMut(&[u8], &Entry) -> Result<bool>) -> Result<()> {
    walk(path, range, scan, false, look)
}

/// Shows `look` every line of the log in `path` from the place on at which [`each`] begins to look for lines of `from` on, whatever its
/// time: what follows a line in the log is found even where the clock was set back in between.
///
/// # Errors
///
/// As [`each`].
pub(super) fn each_behind(
    path: &Path,
    from: Option<Timestamp>,
    scan: bool,
    look: impl FnMut(&[u8], &Entry) -> Result<bool>,
) -> Result<()> {
    walk(path, &Range { from, to: None }, scan, true, look)
}

/// `whatever_time`: a line that follows the place where lines of the range may begin is of it.
fn walk(
    path: &Path,
    range: &Range,
    scan: bool,
    whatever_time: bool,
    mut look: impl FnMut(&[u8], &Entry) -> Result<bool>,
) -> Result<()> {
    let slack = SignedDuration::try_from(DISORDER).unwrap_or(SignedDuration::ZERO);
    let early = range.from.filter(|_| !scan).map(|from| shifted(from, -slack));
    let late = range.to.filter(|_| !scan).map(|to| shifted(to, slack));
    let (from, to) = (range.from.map(text), range.to.map(text));
    let files = files(path)?;
    told_of(&strangers(path)?).iter().for_each(|told| log::warn!("{told}"));
    files::missing(&files).iter().for_each(|missing| log::warn!("{missing}: what is told leaves out what was in it"));
    let firsts = files.iter().map(LogFile::first_time).collect::<Result<Vec<_>>>()?;
    let mut has_begun = false;
    for (i, file) in files.iter().enumerate() {
        // A file ends where the next one begins.
        let ends_early =
            early.as_ref().zip(firsts.get(i + 1).and_then(Option::as_ref)).is_some_and(|(e, next)| next < e);
        let begins_late = late.as_ref().zip(firsts[i].as_ref()).is_some_and(|(late, first)| first > late);
        let is_behind = whatever_time && has_begun;
        if ends_early && !is_behind || begins_late {
            continue;
        }
        has_begun = true;
        let failed = |error| cannot_be_read(&file.path, error);
        let mut lines = match (early.is_some() || late.is_some()) && !is_behind {
            true => {
                seek::from(file, early.as_deref(), Wanted { from: from.as_deref(), to: to.as_deref(), whatever_time })?
            }
            false => Place { lines: open(&file.path)?, number: 0, rises: false },
        };
        let mut line = Vec::new();
        loop {
            line.clear();
            lines.number += 1;
            if lines.lines.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                break;
            }
            // An unfinished last line is being written, or its machine lost power.
            let Some(content) = line.strip_suffix(b"\n") else { break };
            let Some(time) = seek::time_of(content) else { return Err(no_line(file, lines.number)) };
            if lines.rises && late.as_deref().is_some_and(|late| time > late) {
                break;
            }
            let is_outside =
                from.as_deref().is_some_and(|from| time < from) || to.as_deref().is_some_and(|to| time >= to);
            if is_outside && !whatever_time {
                continue;
            }
            let entry = serde_json::from_slice(content).map_err(|error| no_line(file, lines.number).because(error))?;
            if !look(content, &entry)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// When the first and the last line of the log in `path` were written, as they say; `None` where it has no line.
///
/// # Errors
///
/// A file cannot be read.
pub fn span(path: &Path) -> Result<Option<(String, String)>> {
    let files = files(path)?;
    let first = files.iter().map(LogFile::first_time).find_map(Result::transpose).transpose()?;
    let last = files.iter().rev().map(seek::last_time).find_map(Result::transpose).transpose()?;
    Ok(first.zip(last))
}

fn no_line(file: &LogFile, number: u64) -> Error {
    Error::check(format!("{}: there is something that is no line of an audit", file.path.display()))
        .because(format!("line {number} of what was read of it"))
        .advise("hgad audit verify says what happened to the log")
}

pub(super) fn cannot_be_read(path: &Path, error: std::io::Error) -> Error {
    // What gzip says of data that is not as it was packed. The system's own errors may be of the same kind, and say nothing of the data.
    let broken = match error.kind() {
        _ if error.raw_os_error().is_some() => None,
        std::io::ErrorKind::UnexpectedEof => Some("is cut short, as by a copy that was broken off"),
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => Some("is damaged"),
        _ => None,
    };
    if let Some(broken) = broken {
        return Error::check(format!("{}: its compressed data {broken}", path.display()))
            .because(error)
            .advise("bring it from where it is whole; nothing is known of the lines behind that place");
    }
    Error::device(format!("audit file {} cannot be read", path.display()))
        .because(error)
        .advise("check the path ([audit] file in the line's configuration names it) and its permissions")
}

#[cfg(test)]
mod tests;
