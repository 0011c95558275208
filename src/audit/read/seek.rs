//! Where in a file a moment is: lines are in the order of time, so it can be searched for by halves.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use super::files::{LogFile, open};
use super::{cannot_be_read, index};
use crate::Result;

/// The search ends when so few bytes are left; they are read.
const NEAR: u64 = 1 << 16;
/// So many places are looked at to see whether times rise at all.
const PROBES: u64 = 64;

/// Lines from some place in a file on.
pub(super) struct Place {
    pub(super) lines: Box<dyn BufRead>,
    /// Lines that were read.
    pub(super) number: u64,
    /// Whether times are known to rise.
    pub(super) rises: bool,
}

/// Which lines somebody wants.
pub(super) struct Wanted<'a> {
    /// From this time on.
    pub(super) from: Option<&'a str>,
    /// Before this one.
    pub(super) to: Option<&'a str>,
    /// And all that follow the first of them.
    pub(super) whatever_time: bool,
}

/// The lines of `file` from a place on that lies before the first one of the moment `from` (`None`: from its beginning). A file whose
/// times do not rise is read from its beginning: the clock was set back. Of a compressed one that tells its times those pieces are
/// read that may hold lines that are `wanted`, and otherwise all.
pub(super) fn from(file: &LogFile, from: Option<&str>, wanted: Wanted) -> Result<Place> {
    let failed = |error| cannot_be_read(&file.path, error);
    let whole = || Ok(Place { lines: open(&file.path)?, number: 0, rises: false });
    if !file.path.is_file() {
        return whole();
    }
    if file.is_compressed() {
        let Some(members) = index::members(&file.path).map_err(failed)? else { return whole() };
        let lines = index::within(&file.path, members, wanted).map_err(failed)?;
        return Ok(Place { lines: Box::new(lines), number: 0, rises: false });
    }
    let length = file.path.metadata().map_err(failed)?.len();
    let mut lines = BufReader::new(File::open(&file.path).map_err(failed)?);
    let mut time_at = |place: u64| time_after(&mut lines, place).map_err(failed);
    let mut last = None;
    for probe in 0..PROBES {
        let time = time_at(length / PROBES * probe)?;
        // Parts come a little out of order: what counts is a day that comes back.
        let hour = |time: &Option<String>| time.as_ref().map(|time| time[..13].to_owned());
        if time.is_some() && hour(&time) < hour(&last) {
            log::warn!("{}: its times do not always rise; it is read as a whole", file.path.display());
            return whole();
        }
        last = time.or(last);
    }
    let (mut low, mut high) = (0, length);
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        match time_at(middle)? {
            Some(time) if from.is_some_and(|from| time.as_str() < from) => low = middle,
            _ => high = middle,
        }
    }
    start_of_line(&mut lines, low).map_err(failed)?;
    Ok(Place { lines: Box::new(lines), number: 0, rises: true })
}

/// The time of the last whole line of `file`; `None` when it has none.
pub(super) fn last_time(file: &LogFile) -> Result<Option<String>> {
    let failed = |error| cannot_be_read(&file.path, error);
    if !file.path.is_file() {
        return Ok(None);
    }
    if file.is_compressed() {
        let lines: Box<dyn BufRead> = match index::members(&file.path).map_err(failed)? {
            Some(mut members) => {
                let last = members.split_off(members.len().saturating_sub(1));
                let all = Wanted { from: None, to: None, whatever_time: false };
                Box::new(index::within(&file.path, last, all).map_err(failed)?)
            }
            None => open(&file.path)?,
        };
        return last_of(lines).map_err(failed);
    }
    let length = file.path.metadata().map_err(failed)?.len();
    let mut lines = BufReader::new(File::open(&file.path).map_err(failed)?);
    let mut back = NEAR;
    loop {
        start_of_line(&mut lines, length.saturating_sub(back)).map_err(failed)?;
        let time = last_of(&mut lines).map_err(failed)?;
        if time.is_some() || back >= length {
            return Ok(time);
        }
        back *= 2;
    }
}

fn last_of(mut lines: impl BufRead) -> std::io::Result<Option<String>> {
    let (mut line, mut last) = (Vec::new(), None);
    while lines.read_until(b'\n', &mut line)? > 0 {
        last = time_of(&line).filter(|_| line.ends_with(b"\n")).map(str::to_owned).or(last);
        line.clear();
    }
    Ok(last)
}

/// Moves to the first line that begins at `place` or after it.
fn start_of_line(lines: &mut BufReader<File>, place: u64) -> std::io::Result<()> {
    lines.seek(SeekFrom::Start(place.saturating_sub(1)))?;
    if place > 0 {
        lines.skip_until(b'\n')?;
    }
    Ok(())
}

fn time_after(lines: &mut BufReader<File>, place: u64) -> std::io::Result<Option<String>> {
    start_of_line(lines, place)?;
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line)?;
    Ok(time_of(&line).map(str::to_owned))
}

/// The `time` of a line, without parsing the rest.
pub(super) fn time_of(line: &[u8]) -> Option<&str> {
    const FIELD: &[u8] = b"\",\"time\":\"";
    // It is the fourth field: `seq` has 20 digits at most, `prev` 64, and a kind is a word.
    let head = &line[..line.len().min(256)];
    let at = head.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
    let rest = line.get(at..)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&rest[..end]).ok().filter(|time| time.len() >= 20 && time.is_ascii())
}
