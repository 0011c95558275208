//! Where in a log a moment is, so that what lies outside a range need not be read.
//!
//! A compressed file tells the times of its pieces ([`index`]). Of another one it is known whether times rise over all of it, since whoever
//! writes it counts their falls ([`crate::audit::course`]): then it can be searched by halves. What tells neither is read.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use jiff::{SignedDuration, Timestamp};

use super::files::{LogFile, open};
use super::index::{self, Member};
use super::line::next_line;
use super::{cannot_be_read, text};
use crate::Result;
use crate::audit::course::{DISORDER, time_of};
use crate::audit::kind::Kind;

/// The search ends when so few bytes are left; they are read.
const NEAR: u64 = 1 << 16;

/// Lines from some place in a file on.
pub(super) struct Place {
    pub(super) lines: Box<dyn BufRead>,
    /// Lines that were read.
    pub(super) number: u64,
    /// Whether times are known to rise.
    pub(super) rises: bool,
}

/// Which lines somebody wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// From this time on.
    pub(super) from: Option<&'a str>,
    /// Before this one.
    pub(super) to: Option<&'a str>,
    /// And all that follow the first of them.
    pub(super) whatever_time: bool,
}

/// What is known of where in a file which times lie.
pub(super) enum Map {
    /// It is compressed, and tells the times of each of its pieces.
    Pieces(Vec<Member>),
    /// Times rise, but for [`DISORDER`]; the least and the greatest one that may be in it.
    Rising(String, String),
    /// Nothing: any time may be anywhere.
    Unknown,
}

impl Map {
    /// # Errors
    ///
    /// The file cannot be read.
    pub(super) fn of(file: &LogFile) -> Result<Self> {
        let failed = |error| cannot_be_read(&file.path, error);
        if !file.path.is_file() {
            return Ok(Map::Unknown);
        }
        if file.is_compressed() {
            return Ok(index::members(&file.path).map_err(failed)?.map_or(Map::Unknown, Map::Pieces));
        }
        let first = file.first_line()?;
        let is_counted = told(&first).is_some_and(|told| told.falls == Some(0));
        let Some(first) = time_of(&first).filter(|_| is_counted) else { return Ok(Map::Unknown) };
        let last = last_rising(file).map_err(failed)?;
        Ok(last.map_or(Map::Unknown, |last| Map::Rising(shifted(first, -1), shifted(&last, 1))))
    }

    /// The least and the greatest time that may be in the file, where that is known.
    pub(super) fn times(&self) -> Option<(&str, &str)> {
        match self {
            Map::Pieces(pieces) => {
                let least = pieces.iter().map(|piece| piece.times().0).min()?;
                Some((least, pieces.iter().map(|piece| piece.times().1).max()?))
            }
            Map::Rising(least, greatest) => Some((least, greatest)),
            Map::Unknown => None,
        }
    }

    /// Whether no line of the file lies from `from` on, and before `to`.
    pub(super) fn is_outside(&self, from: Option<&str>, to: Option<&str>) -> bool {
        self.times().is_some_and(|(least, greatest)| {
            from.is_some_and(|from| greatest < from) || to.is_some_and(|to| least >= to)
        })
    }
}

/// A time as records have it, and so much more as lines may be out of order, in that direction.
pub(super) fn shifted(time: &str, direction: i32) -> String {
    let by = SignedDuration::try_from(DISORDER).unwrap_or(SignedDuration::ZERO) * direction;
    let moment = time.parse::<Timestamp>().ok().and_then(|time| time.checked_add(by).ok());
    moment.map_or_else(|| time.to_owned(), text)
}

/// What a line says of the times of its file.
#[derive(serde::Deserialize)]
struct Told {
    kind: String,
    #[serde(default)]
    falls: Option<u64>,
}

fn told(line: &[u8]) -> Option<Told> {
    serde_json::from_slice(line).ok()
}

/// The time of the last line that says it, if it says too that times never fell, and none of those behind it is earlier.
fn last_rising(file: &LogFile) -> std::io::Result<Option<String>> {
    let length = file.path.metadata()?.len();
    let mut lines = BufReader::new(File::open(&file.path)?);
    let mut back = NEAR;
    loop {
        start_of_line(&mut lines, length.saturating_sub(back))?;
        let (mut line, mut last) = (Vec::new(), None::<(String, bool)>);
        while next_line(&mut lines, &mut line)? > 0 {
            if let (Some(told), Some(time)) = (told(&line), time_of(&line).filter(|_| line.ends_with(b"\n"))) {
                // In a checkpoint's line is no room for it.
                match &mut last {
                    Some((last, rises)) if told.kind == Kind::Checkpoint.as_str() => *rises &= time >= last.as_str(),
                    None if told.kind == Kind::Checkpoint.as_str() => {}
                    _ => last = Some((time.to_owned(), told.falls.unwrap_or_default() == 0)),
                }
            }
            line.clear();
        }
        if last.is_some() || back >= length {
            return Ok(last.filter(|(_, rises)| *rises).map(|(time, _)| time));
        }
        back *= 2;
    }
}

/// The lines of `file`, of which `map` is known, from a place on that lies before the first one of those that are `wanted`. Of a compressed
/// one that tells its times those pieces are read that may hold such lines.
pub(super) fn from(file: &LogFile, map: &Map, wanted: Wanted) -> Result<Place> {
    let failed = |error| cannot_be_read(&file.path, error);
    match map {
        Map::Unknown => Ok(Place { lines: open(&file.path)?, number: 0, rises: false }),
        Map::Pieces(pieces) => {
            let lines = index::within(&file.path, pieces, wanted).map_err(failed)?;
            Ok(Place { lines: Box::new(lines), number: 0, rises: false })
        }
        Map::Rising(..) => {
            let early = wanted.from.map(|from| shifted(from, -1));
            let lines = by_halves(file, early.as_deref()).map_err(failed)?;
            Ok(Place { lines: Box::new(lines), number: 0, rises: true })
        }
    }
}

/// The lines of a file whose times rise from a place on that lies before the first one of the moment `from` (`None`: from its beginning).
fn by_halves(file: &LogFile, from: Option<&str>) -> std::io::Result<BufReader<File>> {
    let mut lines = BufReader::new(File::open(&file.path)?);
    let (mut low, mut high) = (0, file.path.metadata()?.len());
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        match time_after(&mut lines, middle)? {
            Some(time) if from.is_some_and(|from| time.as_str() < from) => low = middle,
            _ => high = middle,
        }
    }
    start_of_line(&mut lines, low)?;
    Ok(lines)
}

/// The least and the greatest time of the lines of `file`; `None` when it has none.
pub(super) fn span(file: &LogFile) -> Result<Option<(String, String)>> {
    let failed = |error| cannot_be_read(&file.path, error);
    if !file.path.is_file() {
        return Ok(None);
    }
    let map = Map::of(file)?;
    if let Map::Rising(..) = map {
        let length = file.path.metadata().map_err(failed)?.len();
        let mut lines = by_halves(file, None).map_err(failed)?;
        let begins = between((&mut lines).take(NEAR)).map_err(failed)?;
        start_of_line(&mut lines, length.saturating_sub(NEAR)).map_err(failed)?;
        let ends = between(lines).map_err(failed)?;
        return Ok(begins.into_iter().chain(ends).reduce(joined));
    }
    match map.times() {
        Some((least, greatest)) => Ok(Some((least.to_owned(), greatest.to_owned()))),
        None => between(open(&file.path)?).map_err(failed),
    }
}

/// The lesser and the greater ends of two spans.
pub(super) fn joined(one: (String, String), other: (String, String)) -> (String, String) {
    (one.0.min(other.0), one.1.max(other.1))
}

/// The least and the greatest time of whole lines.
fn between(mut lines: impl BufRead) -> std::io::Result<Option<(String, String)>> {
    let (mut line, mut between) = (Vec::new(), None);
    while next_line(&mut lines, &mut line)? > 0 {
        if let Some(time) = time_of(&line).filter(|_| line.ends_with(b"\n")) {
            let time = (time.to_owned(), time.to_owned());
            between = Some(between.map_or_else(|| time.clone(), |between| joined(between, time.clone())));
        }
        line.clear();
    }
    Ok(between)
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
    next_line(lines, &mut line)?;
    Ok(time_of(&line).map(str::to_owned))
}
