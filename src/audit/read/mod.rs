//! Reading a log without checking it: line by line, whatever its length, from a moment on.

mod entry;
mod files;
mod index;
mod line;
mod misnamed;
mod order;
mod seek;

pub use entry::{Entry, FrameEntry, LatencyEntry, PictureEntry, PictureFaultEntry, SeenAlarm};
pub(crate) use files::real;
pub(super) use files::{
    Gap, LAST_NUMBER, closed_name, missing as missing_files, missing_told, newest_of, open, renamed, told_of,
};
pub use files::{LogFile, Stranger, files, may_be_missing, strangers};
pub(super) use index::{Told, pack};
pub(super) use line::{lines, next_line};
pub(super) use misnamed::misnamed_told;
pub(super) use seek::span as span_of;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use self::order::{Order, Side};
use self::seek::{Found, Map, Wanted};
use super::course::time_of;
use super::doubtful::Doubtful;
use crate::{Error, Result, print};

/// A part of a log: from one moment up to, and without, another.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    /// The first moment; `None`: from the log's beginning.
    pub from: Option<Timestamp>,
    /// The moment after the last; `None`: to its end.
    pub to: Option<Timestamp>,
}

/// A part's record bears the time of its capture: so far before the end of a file may be what the next one holds.
const IN_FLIGHT: SignedDuration = SignedDuration::from_mins(1);

/// A moment as records write it, so that texts compare as moments do.
pub(super) fn text(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// Whether this was not told yet: one command may read a log several times.
pub(super) fn is_news(told: &str) -> bool {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(told.to_owned())
}

/// So many records of the log in `path` are before the first that is here, as that tells: they are in files that were carried away, or removed.
///
/// # Errors
///
/// The log cannot be read.
pub fn absent(path: &Path) -> Result<u64> {
    let first = files(path)?.first().and_then(LogFile::beginning);
    Ok(first.map_or(0, |first| first.seq))
}

/// What is to be told of what lies beside the log in `path` and is not read, and of files between `files`, its own, that are not here.
pub(super) fn left_out(path: &Path, files: &[LogFile]) -> Result<Vec<String>> {
    let missing =
        files::missing(files).into_iter().map(|missing| format!("{missing}: what is told leaves out what was in it"));
    let newest = files::is_newest_gone(path).then(|| {
        format!(
            "{}, the newest file of the log, is not here: what is told leaves out what was in it",
            print::name(path.display())
        )
    });
    Ok(told_of(&strangers(path)?).into_iter().chain(missing).chain(newest).chain(misnamed_told(path)?).collect())
}

/// Shows `look` every line of the log in `path` whose time is in `range`, in the order in which they were written. `look` says
/// whether to go on.
///
/// What lies outside the range is not read, as far as the log tells where it is: a compressed file tells the least and the greatest time
/// of each of its pieces, and one that is not compressed whether its times rise up to its newest checkpoint. What tells neither is read, and so is what
/// follows that checkpoint. So every line of that time is found, however the machine's clock was set and whatever somebody added to the end,
/// unless what was there before was changed, or what a compressed file says of its own times was falsified so that the first line of each
/// piece fits it: that alone is looked at of what is left out ([`crate::audit::verify`] finds it).
///
/// # Errors
///
/// A file cannot be read, holds what is no line of an audit, or `look` fails.
pub fn each(path: &Path, range: &Range, look: impl FnMut(&[u8], &Entry) -> Result<bool>) -> Result<()> {
    each_or_missing(path, range, &mut Doubtful::default(), look)
}

/// The same, and tells `doubtful` where lines of `range` are missing within what was read of a file, or behind it: a gap in their numbers beside one of
/// them, up to the file that comes next, a last line that is cut off and that nobody is writing, and files that are not here and may be of that time. It
/// tells it too where one of them is not written behind the one before it: one of both was changed together with its hash.
///
/// # Errors
///
/// As [`each`].
pub(super) fn each_or_missing(
    path: &Path,
    range: &Range,
    doubtful: &mut Doubtful,
    look: impl FnMut(&[u8], &Entry) -> Result<bool>,
) -> Result<()> {
    walk(path, range, false, doubtful, look)
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
    look: impl FnMut(&[u8], &Entry) -> Result<bool>,
) -> Result<()> {
    walk(path, &Range { from, to: None }, true, &mut Doubtful::default(), look)
}

/// `whatever_time`: a line that follows the place where lines of the range may begin is of it.
fn walk(
    path: &Path,
    range: &Range,
    whatever_time: bool,
    doubtful: &mut Doubtful,
    mut look: impl FnMut(&[u8], &Entry) -> Result<bool>,
) -> Result<()> {
    let (from, to) = (range.from.map(text), range.to.map(text));
    let side = |time: &str| Side::of(time, from.as_deref(), to.as_deref());
    let name = |file: &LogFile| print::name(file.path.display());
    let wanted = Wanted { from: from.as_deref(), to: to.as_deref(), whatever_time };
    let files = files(path)?;
    left_out(path, &files)?.into_iter().filter(|told| is_news(told)).for_each(|told| log::warn!("{told}"));
    let (mut files, mut has_begun) = (Procession { path, files, next: 0 }, false);
    let open = |file: &LogFile, has_begun: bool| {
        let is_all = wanted.from.is_none() && wanted.to.is_none() || whatever_time && has_begun;
        let map = if is_all { Map::Unknown } else { Map::of(file)? };
        match map.is_outside(wanted.from, wanted.to) {
            true => Ok(None),
            false => seek::from(file, &map, wanted).map(Some),
        }
    };
    let mut last = None::<LogFile>;
    while let Some((file, lines)) = files.next(|file| open(file, has_begun))? {
        let before = last.replace(file.clone());
        let is_only = before.is_none();
        if let Some(before) = before {
            missing_of(range, [before, file.clone()])?.into_iter().for_each(|told| doubtful.missing(told));
        }
        let Some(Found { mut lines, skips, is_to_end }) = lines else { continue };
        has_begun = true;
        let failed = |error| cannot_be_read(&file.path, error);
        let (mut line, mut number, mut order) = (Vec::new(), 0, Order::behind(skips));
        loop {
            line.clear();
            number += 1;
            if next_line(&mut lines, &mut line).map_err(failed)? == 0 {
                let told = is_to_end.then(|| order.end(&file, is_only, files.coming(), side)).flatten();
                told.into_iter().for_each(|broken| broken.tell(doubtful, ""));
                break;
            }
            // An unfinished last line is being written, or its machine lost power.
            let Some(content) = line.strip_suffix(b"\n") else {
                if order.is_beside_asked() && order::is_cut_off(&file) {
                    doubtful.missing(format!("the last line of {} is cut off", name(&file)));
                }
                break;
            };
            let Some(time) = time_of(content) else { return Err(no_line_or_damage(&file, number)) };
            let side = side(time);
            if let Some(broken) = order.follow(&line, side) {
                broken.tell(doubtful, &format!(" in {}", name(&file)));
            }
            if side != Side::Within && !whatever_time {
                continue;
            }
            let entry = serde_json::from_slice(content).map_err(|error| {
                let told = no_line_or_damage(&file, number);
                if std::error::Error::source(&told).is_some() { told } else { told.because(error) }
            })?;
            if !look(content, &entry)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What is to be said of files that are missing between these two, for people; `None` where none are, or nobody asks for what is of their time. It is the
/// time between the two, unless the clock was wrong there.
///
/// # Errors
///
/// One of the two cannot be read.
fn missing_of(range: &Range, between: [LogFile; 2]) -> Result<Option<String>> {
    let Some(told) = files::missing(&between).pop() else { return Ok(None) };
    let [before, next] = &between;
    // The line removes its oldest files, and may do so while they are read.
    if !before.path.is_file() && !before.path.with_added_extension("gz").is_file() {
        return Ok(None);
    }
    let ended = seek::span(before)?.and_then(|(_, greatest)| greatest.parse::<Timestamp>().ok());
    let begun = next.first_time()?.and_then(|time| time.parse::<Timestamp>().ok());
    let is_outside = ended.zip(begun).filter(|(ended, begun)| ended <= begun).is_some_and(|(ended, begun)| {
        let ended = ended.checked_sub(IN_FLIGHT).unwrap_or(ended);
        range.from.is_some_and(|from| from > begun) || range.to.is_some_and(|to| to <= ended)
    });
    Ok((!is_outside).then_some(told))
}

/// The files of a log, one after the other, while a run may be closing and compressing them.
struct Procession<'p> {
    path: &'p Path,
    files: Vec<LogFile>,
    next: usize,
}

impl Procession<'_> {
    /// The next file, and what `open` gives for it; `None` behind the last.
    fn next<T>(&mut self, open: impl Fn(&LogFile) -> Result<T>) -> Result<Option<(LogFile, T)>> {
        loop {
            let Some(file) = self.files.get(self.next).cloned() else { return Ok(None) };
            let opened = open(&file);
            // What is closed keeps its content, and changes its name when it is compressed; the newest file's name goes to another one.
            if (file.number.is_none() || opened.is_err()) && self.has_changed()? {
                continue;
            }
            self.next += 1;
            return opened.map(|opened| Some((file, opened)));
        }
    }

    /// The file that was listed behind the one that was given last.
    fn coming(&self) -> Option<&LogFile> {
        self.files.get(self.next)
    }

    /// Whether other files come next than were listed; lists them.
    fn has_changed(&mut self) -> Result<bool> {
        let done = self.next.checked_sub(1).and_then(|last| self.files[last].number);
        let mut rest = files(self.path)?;
        rest.retain(|file| file.number.is_none() || file.number > done);
        let has_changed = rest != self.files[self.next..];
        self.files.truncate(self.next);
        self.files.append(&mut rest);
        Ok(has_changed)
    }
}

/// The least and the greatest time of the lines of the log in `path`; `None` where it has no line.
///
/// # Errors
///
/// A file cannot be read.
pub fn span(path: &Path) -> Result<Option<(String, String)>> {
    let spans = files(path)?.iter().map(seek::span).collect::<Result<Vec<_>>>()?;
    Ok(spans.into_iter().flatten().reduce(seek::joined))
}

fn no_line(file: &LogFile, number: u64) -> Error {
    Error::check(format!("{}: there is something that is no line of an audit", file.path.display()))
        .because(format!("line {number} of what was read of it"))
        .advise("hgad audit verify says what happened to the log")
}

/// What is wrong with a compressed file that fails its own checksum; `None` of one that does not, and of one that is not compressed.
pub(super) fn damage(path: &Path) -> Option<std::io::Error> {
    open(path).ok().and_then(|mut file| std::io::copy(&mut file, &mut std::io::sink()).err())
}

/// As [`no_line`], unless it came out of damaged data.
fn no_line_or_damage(file: &LogFile, number: u64) -> Error {
    match file.is_compressed().then(|| damage(&file.path)).flatten() {
        Some(damage) => cannot_be_read(&file.path, damage),
        None => no_line(file, number),
    }
}

pub(super) fn cannot_be_read(path: &Path, error: std::io::Error) -> Error {
    // What gzip says of data that is not as it was packed. The system's own errors may be of the same kind, and say nothing of the data.
    let broken = match error.kind() {
        _ if error.raw_os_error().is_some() => None,
        std::io::ErrorKind::UnexpectedEof => {
            Some("is cut short, as by a copy that was broken off, or some bytes were put behind it")
        }
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
            Some("is damaged, as by a disk or a transfer, or changed")
        }
        _ => None,
    };
    if error.kind() == std::io::ErrorKind::FileTooLarge && error.raw_os_error().is_none() {
        return Error::check(format!("{}: there is something that is no line of an audit", path.display()))
            .because(error)
            .advise("name an audit file; if this was one, it was changed: put it back from a copy that is whole, and keep it as evidence");
    }
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
