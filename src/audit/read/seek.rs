//! Where in a log a moment is, so that what lies outside a range need not be read.
//!
//! A compressed file tells the times of its pieces ([`index`]). Of another one it is known whether times rise, since whoever
//! writes it counts their falls ([`crate::audit::course`]): then it can be searched by halves. But whoever may write the file can add lines
//! to its end that say anything of that. So what a checkpoint signs is searched, by the key that the file's first line names, and what
//! follows the newest one is read, however long it is. What tells neither is read.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use jiff::{SignedDuration, Timestamp};

use super::files::{LogFile, open};
use super::index::{self, Member};
use super::line::next_line;
use super::{cannot_be_read, text};
use crate::Result;
use crate::audit::checkpoint::Checkpoint;
use crate::audit::course::{DISORDER, time_of};
use crate::audit::key::{Note, Verifier};
use crate::audit::kind::Kind;
use crate::digest::Digest;

/// The search ends when so few bytes are left; they are read.
const NEAR: u64 = 1 << 16;

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
    /// Times rise, but for [`DISORDER`], up to this place, behind the newest checkpoint. What follows may be anything.
    Rising(u64),
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
        let Some(seal) = Seal::of(&file.first_line()?) else { return Ok(Map::Unknown) };
        Ok(rising(file, &seal).map_err(failed)?.map_or(Map::Unknown, Map::Rising))
    }

    /// The least and the greatest time of the file's lines, where it tells them.
    fn times(&self) -> Option<(&str, &str)> {
        let Map::Pieces(pieces) = self else { return None };
        let least = pieces.iter().map(|piece| piece.times().0).min()?;
        Some((least, pieces.iter().map(|piece| piece.times().1).max()?))
    }

    /// Whether no line of the file lies from `from` on, and before `to`.
    pub(super) fn is_outside(&self, from: Option<&str>, to: Option<&str>) -> bool {
        self.times().is_some_and(|(least, greatest)| {
            from.is_some_and(|from| greatest < from) || to.is_some_and(|to| least >= to)
        })
    }
}

/// A time as records have it, and so much more as lines may be out of order, in that direction.
fn shifted(time: &str, direction: i32) -> String {
    let by = SignedDuration::try_from(DISORDER).unwrap_or(SignedDuration::ZERO) * direction;
    let moment = time.parse::<Timestamp>().ok().and_then(|time| time.checked_add(by).ok());
    moment.map_or_else(|| time.to_owned(), text)
}

/// How often times fell so far in a line's file, as the line says it.
fn falls(line: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Told {
        falls: Option<u64>,
    }
    serde_json::from_slice::<Told>(line).ok()?.falls
}

/// By what a checkpoint of a file is known from one that somebody wrote who has no key.
struct Seal {
    key: Verifier,
    log: Option<Digest>,
    /// The number of the file's first line.
    first: u64,
}

impl Seal {
    /// By a file's first line, which nobody can add: `None` where it names no key, or where nobody counts how often times fall.
    fn of(first: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct First {
            seq: u64,
            key: Option<String>,
            log: Option<Digest>,
            hash: Option<Digest>,
        }
        let told = serde_json::from_slice::<First>(first).ok().filter(|_| falls(first) == Some(0))?;
        let log = if told.seq == 0 { told.hash } else { told.log };
        Some(Seal { key: told.key?.parse().ok()?, log, first: told.seq })
    }

    /// The number of a line that is a checkpoint of this log. It may be a copy of one, which anybody can add ([`Seal::reaches`]).
    fn is_on(&self, line: &[u8]) -> Option<u64> {
        #[derive(serde::Deserialize)]
        struct Signed {
            seq: u64,
            note: String,
        }
        let Signed { seq, note } = serde_json::from_slice(line).ok()?;
        let note = Note::parse(&note).filter(|note| self.key.signed(note));
        let checkpoint = note.as_ref().and_then(Checkpoint::of)?;
        let is_of_log = checkpoint.log.zip(self.log).is_none_or(|(signed, log)| signed == log);
        (checkpoint.origin == self.key.name() && checkpoint.size == seq && is_of_log).then_some(seq)
    }

    /// Whether as many lines end before `place` in `file` as there are up to the one of this number: then that one stands where it was
    /// written, and nothing was added before it.
    fn reaches(&self, file: &File, place: u64, seq: u64) -> std::io::Result<bool> {
        let (mut file, mut buffer, mut lines) = (file.take(place), vec![0; 1 << 20], 0);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(seq.checked_sub(self.first).and_then(|last| last.checked_add(1)) == Some(lines)),
                read => lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64,
            }
        }
    }
}

/// The end of the newest checkpoint of `file`, if times never fell before it, as the last line says that it signs.
fn rising(file: &LogFile, seal: &Seal) -> std::io::Result<Option<u64>> {
    let kind = format!("\"kind\":\"{}\"", Kind::Checkpoint.as_str());
    let is_checkpoint =
        |line: &[u8]| line[..line.len().min(256)].windows(kind.len()).any(|word| word == kind.as_bytes());
    let length = file.path.metadata()?.len();
    let mut lines = BufReader::new(File::open(&file.path)?);
    let mut back = NEAR;
    loop {
        let mut place = start_of_line(&mut lines, length.saturating_sub(back))?;
        // In a checkpoint's line is no room for what the one before it says.
        let (mut line, mut before, mut later) = (Vec::new(), None::<Vec<u8>>, String::new());
        let mut newest = None;
        while next_line(&mut lines, &mut line)? > 0 && line.ends_with(b"\n") {
            place += line.len() as u64;
            match (is_checkpoint(&line), &before) {
                (false, _) => {
                    later.clear();
                    before.get_or_insert_default().clone_from(&line);
                }
                (true, Some(before)) => {
                    let Some(seq) = seal.is_on(&line) else {
                        line.clear();
                        continue;
                    };
                    let (last, time) = (time_of(before).unwrap_or_default(), time_of(&line).unwrap_or_default());
                    let rises = falls(before).unwrap_or_default() == 0 && time >= last.max(later.as_str());
                    newest = Some(rises.then_some((place, seq)));
                    time.clone_into(&mut later);
                }
                (true, _) => {}
            }
            line.clear();
        }
        if newest.is_some() || back >= length {
            let Some((place, seq)) = newest.flatten() else { return Ok(None) };
            return Ok(seal.reaches(&File::open(&file.path)?, place, seq)?.then_some(place));
        }
        back *= 2;
    }
}

/// Lines of a file that may be wanted.
pub(super) struct Found {
    pub(super) lines: Box<dyn BufRead>,
    /// The places in them before which some were left out.
    pub(super) skips: Vec<u64>,
    /// Whether the file's last line is the last of them.
    pub(super) is_to_end: bool,
}

/// The lines of `file`, of which `map` is known, from a place on that lies before the first one of those that are `wanted`. Of one that
/// tells where its times are those are read that may be such lines, and some beside them.
pub(super) fn from(file: &LogFile, map: &Map, wanted: Wanted) -> Result<Found> {
    let failed = |error| cannot_be_read(&file.path, error);
    Ok(match map {
        Map::Unknown => Found { lines: open(&file.path)?, skips: Vec::new(), is_to_end: true },
        Map::Pieces(pieces) => {
            let (lines, skips, is_to_end) = index::within(&file.path, pieces, wanted).map_err(failed)?;
            Found { lines: Box::new(lines), skips, is_to_end }
        }
        Map::Rising(signed) => {
            let (lines, skips) = by_halves(file, *signed, wanted).map_err(failed)?;
            Found { lines: Box::new(lines), skips, is_to_end: true }
        }
    })
}

/// Those lines of a file whose times rise up to the place `signed`, and all behind that; and the places in both before which some were left out.
fn by_halves(file: &LogFile, signed: u64, wanted: Wanted) -> std::io::Result<(impl BufRead + use<>, Vec<u64>)> {
    let (early, late) = (wanted.from.map(|from| shifted(from, -1)), wanted.to.map(|to| shifted(to, 1)));
    let mut lines = BufReader::new(File::open(&file.path)?);
    let begin = match early {
        Some(early) => halved(&mut lines, signed, |time| time.is_some_and(|time| time < early.as_str()))?.0,
        None => 0,
    };
    let end = match late.filter(|_| !wanted.whatever_time) {
        Some(late) => halved(&mut lines, signed, |time| time.is_none_or(|time| time <= late.as_str()))?.1,
        None => signed,
    };
    let end = start_of_line(&mut lines, end)?.min(signed);
    let begin = start_of_line(&mut lines, begin)?;
    let mut rest = BufReader::new(File::open(&file.path)?);
    rest.seek(SeekFrom::Start(signed))?;
    let near = end.saturating_sub(begin);
    let skips = [(0, begin > 0), (near, end < signed)]
        .into_iter()
        .filter_map(|(place, is_left_out)| is_left_out.then_some(place));
    Ok((lines.take(near).chain(rest), skips.collect()))
}

/// Two places before `end`, near each other: `is_early` says yes of the time of the first line behind the first of them, or that is where the
/// file begins; and no of the second, or that is `end`.
fn halved(
    lines: &mut BufReader<File>,
    end: u64,
    is_early: impl Fn(Option<&str>) -> bool,
) -> std::io::Result<(u64, u64)> {
    let (mut low, mut high) = (0, end);
    let mut line = Vec::new();
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        line.clear();
        if start_of_line(lines, middle)? < end {
            next_line(lines, &mut line)?;
        }
        match is_early(time_of(&line)) {
            true => low = middle,
            false => high = middle,
        }
    }
    Ok((low, high))
}

/// The least and the greatest time of the lines of `file`; `None` when it has none.
pub(in crate::audit) fn span(file: &LogFile) -> Result<Option<(String, String)>> {
    let failed = |error| cannot_be_read(&file.path, error);
    if !file.path.is_file() {
        return Ok(None);
    }
    let map = Map::of(file)?;
    if let Map::Rising(signed) = map {
        let mut lines = BufReader::new(File::open(&file.path).map_err(failed)?);
        let begins = between((&mut lines).take(NEAR)).map_err(failed)?;
        start_of_line(&mut lines, signed.saturating_sub(NEAR)).map_err(failed)?;
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

/// Moves to the first line that begins at `place` or after it, and gives where that is.
fn start_of_line(lines: &mut BufReader<File>, place: u64) -> std::io::Result<u64> {
    lines.seek(SeekFrom::Start(place.saturating_sub(1)))?;
    if place > 0 {
        lines.skip_until(b'\n')?;
    }
    lines.stream_position()
}
