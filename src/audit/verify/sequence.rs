//! Which files of a log are read, in which order, and what a reading of all of them says.

use std::io::BufRead;
use std::path::Path;

use super::broken::{EVIDENCE, doubted};
use super::reading::Reading;
use crate::audit::chain::{Envelope, Link};
use crate::audit::harmless::{self, Undoing};
use crate::audit::read::{LogFile, cannot_be_read, files, lines, next_line, open};
use crate::audit::signatures::{Signatures, Trust};
use crate::{Error, Result};

/// So often a log is read anew whose files change their names meanwhile.
pub(in crate::audit) const READINGS: usize = 5;

/// Reads all files of the log in `path`, and again when a run closed or compressed one before it was reached: what bears its name then is
/// another one, or none.
pub(in crate::audit) fn read<'t>(path: &Path, trust: &'t Trust) -> Result<Reading<'t>> {
    read_listed(path, trust, || files(path))
}

/// The same of those files that are there whenever `list` is asked.
pub(in crate::audit) fn read_listed<'t>(
    path: &Path,
    trust: &'t Trust,
    mut list: impl FnMut() -> Result<Vec<LogFile>>,
) -> Result<Reading<'t>> {
    for _ in 0..READINGS {
        let listed = list()?;
        let read = read_files(path, &listed, trust, None, false);
        // The newest file is a beginning too, whose log has lost what is before it, once it is another's.
        let is_in_doubt = read.as_ref().map_or(true, |reading| reading.absent() > 0);
        if !is_in_doubt {
            return read;
        }
        let now = list()?;
        if now == listed || read.is_ok() && begin_alike(&now, &listed) {
            return read;
        }
    }
    Err(Error::device(format!("{} cannot be read in peace", path.display()))
        .because(format!("its line closed, compressed or removed files during each of {READINGS} readings"))
        .advise("give a copy of the log, or wait until the line closes files less often ([audit] rotate_mb)"))
}

/// Whether the oldest file is the same closed one: then what is before it is not here, whatever was closed or compressed behind it.
fn begin_alike(now: &[LogFile], listed: &[LogFile]) -> bool {
    let oldest = |files: &[LogFile]| files.first().and_then(|file| file.number);
    oldest(now).is_some() && oldest(now) == oldest(listed)
}

/// Reads the newest file of the log in `path` alone where that is enough to continue it: it says what it continues, and holds
/// the checkpoint that was kept. A last line that lacks its line feed and nothing else counts: who continues the log puts that back.
pub(in crate::audit) fn read_newest<'t>(path: &Path, trust: &'t Trust) -> Result<Reading<'t>> {
    // A log that nobody has begun yet has no line.
    if !path.exists() {
        return read_files(path, &[], trust, None, true);
    }
    let files = files(path)?;
    if let [.., _, newest] = files.as_slice() {
        let kept = Signatures::new(trust, 0, None)?.kept_size();
        let first = first_link(&newest.path, None)?;
        if first.is_some_and(|first| kept.is_none_or(|kept| first.seq() <= kept)) {
            return read_files(path, std::slice::from_ref(newest), trust, None, true);
        }
    }
    read_files(path, &files, trust, None, true)
}

/// What is wrong with the newest file of the log in `path`, which was read alone and is not as it was written, in the words of who reads all
/// files: they know more of what is before. `None` where something else is wrong with the older ones, or some are missing between others.
pub(super) fn broken_newest(path: &Path, trust: &Trust) -> Option<Error> {
    let files = files(path).ok().filter(|files| files.len() > 1)?;
    let first = first_link(&files.last()?.path, None).ok()??.seq();
    let mut reading = begin(&files, trust, None).ok()?;
    let error = follow(&mut reading, path, &files, true).err()?;
    (reading.link.seq() >= first).then_some(error)
}

/// Whether a file of a log, read alone, is as it was written: a checkpoint in it signs all that it holds up to there, from its first line on.
pub(in crate::audit) fn is_signed(file: &LogFile, trust: &Trust) -> bool {
    let read = read_files(&file.path, std::slice::from_ref(file), trust, None, false);
    read.is_ok_and(|reading| reading.signatures.newest.is_some())
}

/// What a file's first line says that it continues; `None` where it is no beginning in the middle of a log.
fn first_link(file: &Path, undone: Option<&Undoing>) -> Result<Option<Link>> {
    let mut line = Vec::new();
    next_line(&mut opened(file, undone)?, &mut line).map_err(|error| cannot_be_read(file, error))?;
    let envelope = line.strip_suffix(b"\n").and_then(|content| Envelope::open(content).ok());
    Ok(envelope.and_then(|envelope| envelope.continues()))
}

/// A file's lines, or what they are once that is undone which means no harm.
pub(super) fn opened(file: &Path, undone: Option<&Undoing>) -> Result<Box<dyn BufRead>> {
    match undone {
        None => open(file),
        Some(undone) => harmless::undo(open(file)?, undone.log.clone()).map_err(|error| cannot_be_read(file, error)),
    }
}

/// Whether the file `next` begins with a line that continues the last one of the file `before`.
///
/// # Errors
///
/// One of them cannot be read.
pub(in crate::audit) fn follows(next: &Path, before: &Path) -> Result<bool> {
    let mut last = None;
    for line in lines(open(before)?) {
        last = Some(line.map_err(|error| cannot_be_read(before, error))?);
    }
    let last = last.and_then(|line| Envelope::open(&line).ok()).map(|last| last.hash);
    let first = first_link(next, None)?;
    Ok(first.zip(last).is_some_and(|(first, last)| first.follows(&last)))
}

/// How many of these files of a log, from the first on, are as they were written, with what a query finds their lines by, and what the file
/// behind them continues. The last one has none behind it, and is no further read.
pub(in crate::audit) fn continued(files: &[LogFile]) -> usize {
    let nobody = Trust::default();
    let first = files.first().and_then(|file| first_link(&file.path, None).ok()).flatten();
    let Ok(mut reading) = Reading::begin(&nobody, first, None) else { return 0 };
    let is_continued = |place: &usize| {
        let is_read = reading.file(files, *place).is_ok() && reading.tail.is_empty();
        let is_whole = is_read && reading.misdated.is_none() && reading.miscounted.is_none();
        let next = is_whole.then(|| first_link(&files[place + 1].path, None).ok()).flatten().flatten();
        next.is_some_and(|next| reading.link.meet(&next))
    };
    (0..files.len().saturating_sub(1)).take_while(is_continued).count()
}

/// Reads these files of the log in `path`. `ends` says whether a last line counts that lacks its line feed and nothing else.
pub(super) fn read_files<'t>(
    path: &Path,
    files: &[LogFile],
    trust: &'t Trust,
    undone: Option<Undoing>,
    ends: bool,
) -> Result<Reading<'t>> {
    let mut reading = begin(files, trust, undone)?;
    follow(&mut reading, path, files, ends)?;
    reading.sum_up();
    Ok(reading)
}

/// Nothing of these files so far.
fn begin<'t>(files: &[LogFile], trust: &'t Trust, undone: Option<Undoing>) -> Result<Reading<'t>> {
    let continued = files.first().map(|file| first_link(&file.path, undone.as_ref())).transpose()?.flatten();
    Reading::begin(trust, continued, undone)
}

/// Reads one file after the other; after an error the reading is of what was read before.
fn follow(reading: &mut Reading, path: &Path, files: &[LogFile], ends: bool) -> Result<()> {
    for (place, file) in files.iter().enumerate() {
        let is_last = place + 1 == files.len();
        reading.ends = ends && is_last;
        reading.file(files, place)?;
        if !reading.tail.is_empty() && !is_last {
            return Err(Error::check(format!("{} is cut off, and another file follows it", reading.here(&file.path)))
                .because("a file is closed with its last line whole: this one was changed")
                .advise(EVIDENCE));
        }
        if is_last && file.number.is_none() && place > 0 && reading.whole == 0 {
            let before = files[place - 1].path.display();
            return Err(Error::check(format!("{} is missing: the file holds no whole record", reading.here(&file.path)))
                .because(format!(
                    "behind {before} it begins with one, which is on disk before it has that name: no power cut leaves it so, and what was there was \
                     removed"
                ))
                .advise(EVIDENCE));
        }
    }
    reading.signatures.end(&reading.link).map_err(|doubt| match reading.tail.is_empty() {
        true => doubted(path, doubt),
        false => doubted(path, doubt).because(format!("{} is there, and cut off", reading.here(path))),
    })
}
