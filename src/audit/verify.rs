//! Whether a file is what was written, line by line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::RangeInclusive;
use std::path::Path;

use super::FORMAT_VERSION;
use super::chain::{Break, Envelope, Link};
use super::checkpoint::Checkpoint;
use super::signatures::{Doubt, Signatures, Trust};
use crate::{Error, Result};

/// What a whole chain holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Lines.
    pub lines: u64,
    /// Records of parts.
    pub parts: u64,
    /// Starts of the program.
    pub runs: u64,
    /// Records that found no room when they had to be written, by the `lost` records that stand for them.
    pub lost: u64,
    /// The wall time of the first and the last line.
    pub between: Option<(String, String)>,
    /// Signed checkpoints.
    pub checkpoints: u64,
    /// The newest of them.
    pub signed: Option<Checkpoint>,
    /// Lines, counted from 1, that nobody had signed when a run continued them, and those at the end that nobody has signed
    /// yet: who may write the file could have changed them. Empty where nothing is signed at all.
    pub unsigned: Vec<RangeInclusive<u64>>,
    /// What a chain cannot rule out, or what a reader should know.
    pub warnings: Vec<String>,
}

/// A file read up to its end or to the first thing that is wrong with it.
#[derive(Debug)]
pub(super) struct Reading<'t> {
    pub(super) link: Link,
    pub(super) signatures: Signatures<'t>,
    pub(super) verified: Verified,
    /// Bytes of whole lines.
    pub(super) whole: u64,
    /// What follows the last line feed: an unfinished line.
    pub(super) tail: Vec<u8>,
    running: Option<u64>,
}

/// Checks the audit in `path`: its chain, its checkpoints, and what `trust` says of it from outside.
///
/// # Errors
///
/// The file cannot be read, or is not what was written; the error names the line and says what happened to it.
pub fn verify(path: &Path, trust: &Trust) -> Result<Verified> {
    let reading = read(path, trust)?;
    let mut verified = reading.verified;
    let line = verified.lines + 1;
    if !reading.tail.is_empty() {
        let cut =
            format!("{}: line {line} is cut off: the file was truncated, or its machine lost power", path.display());
        return Err(Error::check(cut)
            .because(format!("the {} lines before it are as they were written", verified.lines))
            .advise("the next run on this file cuts the unfinished line off and writes that down"));
    }
    if verified.lines == 0 {
        return Err(Error::check(format!("{} holds no record", path.display()))
            .advise("is it the right file? A file whose every line was removed looks the same"));
    }
    reading.signatures.is_of_key().map_err(|doubt| doubted(path, doubt))?;
    if verified.checkpoints > 0 && trust.key.is_none() {
        verified.warnings.push(format!(
            "its checkpoints are those of the lines before them, and whose keys signed them is not known: give the public key \
             with --key ({} checkpoints)",
            verified.checkpoints
        ));
    }
    for lines in &verified.unsigned {
        let end = *lines.end() == verified.lines;
        verified.warnings.push(format!(
            "lines {} to {} {}: who may write the file could have changed them",
            lines.start(),
            lines.end(),
            if end { "are not signed yet" } else { "were not signed when the run after them signed all" }
        ));
    }
    if let Some(start) = reading.running {
        verified.warnings.push(format!(
            "the run that started on line {start} has no stop record: it goes on, it was killed, or the end of the file \
             was removed, which a chain cannot show without a witness (compare the number of lines with a copy)"
        ));
    }
    Ok(verified)
}

pub(super) fn read<'t>(path: &Path, trust: &'t Trust) -> Result<Reading<'t>> {
    let failed = |error| {
        Error::device(format!("audit file {} cannot be read", path.display()))
            .because(error)
            .advise("check the path ([audit] file in the line's configuration names it) and its permissions")
    };
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let signatures = Signatures::new(trust).map_err(|doubt| Error::usage(doubt.why).advise(doubt.advice))?;
    let mut reading = Reading {
        link: Link::START,
        signatures,
        verified: Verified::default(),
        whole: 0,
        tail: Vec::new(),
        running: None,
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        file.read_until(b'\n', &mut line).map_err(failed)?;
        match line.split_last() {
            None => break,
            Some((b'\n', content)) => {
                let envelope = Envelope::open(content)
                    .and_then(|envelope| reading.link.check(&envelope).map(|()| envelope))
                    .map_err(|broken| broken_at(path, &reading.link, broken, &mut file))?;
                let signed = reading.signatures.follow(reading.link.tree(), &envelope);
                signed.map_err(|doubt| doubted(path, doubt))?;
                reading.link.advance(envelope.hash, content);
                reading.whole += line.len() as u64;
                reading.note(path, envelope)?;
            }
            Some(_) => {
                reading.tail = line;
                break;
            }
        }
    }
    reading.signatures.end(reading.link.tree()).map_err(|doubt| doubted(path, doubt))?;
    reading.verified.checkpoints = reading.signatures.count;
    reading.verified.signed = reading.signatures.newest.as_ref().map(|newest| newest.checkpoint.clone());
    if reading.signatures.count > 0 {
        let end = reading.signatures.unsigned_end(reading.link.seq());
        let ranges = reading.signatures.adopted.iter().cloned().chain(Some(end));
        reading.verified.unsigned =
            ranges.filter(|lines| !lines.is_empty()).map(|lines| lines.start + 1..=lines.end).collect();
    }
    Ok(reading)
}

/// The chain is whole, and what is signed is something else.
fn doubted(path: &Path, doubt: Doubt) -> Error {
    Error::check(format!("{}: {}", path.display(), doubt.why)).advise(doubt.advice)
}

impl Reading<'_> {
    fn note(&mut self, path: &Path, envelope: Envelope) -> Result<()> {
        self.verified.lines += 1;
        let line = self.verified.lines;
        match envelope.kind.as_str() {
            "part" => self.verified.parts += 1,
            "start" => self.start(path, line, envelope.format_version)?,
            "stop" => self.running = None,
            "lost" => self.lose(line, envelope.records.unwrap_or_default()),
            _ => {}
        }
        self.verified.between = Some(match self.verified.between.take() {
            Some((first, _)) => (first, envelope.time),
            None => (envelope.time.clone(), envelope.time),
        });
        Ok(())
    }

    fn lose(&mut self, line: u64, records: u64) {
        self.verified.lost += records;
        self.verified
            .warnings
            .push(format!("before line {line} {records} records were lost: the disk took none, and memory was full"));
    }

    fn start(&mut self, path: &Path, line: u64, version: Option<u32>) -> Result<()> {
        if version != Some(FORMAT_VERSION) {
            let version = version.map_or("without a number".to_owned(), |version| version.to_string());
            return Err(Error::device(format!(
                "{}:{line}: audit format {version} is unknown to this program",
                path.display()
            ))
            .advise(format!("this program reads format {FORMAT_VERSION}: update hgad")));
        }
        self.verified.runs += 1;
        if let Some(before) = self.running.replace(line) {
            self.verified.warnings.push(format!(
                "the run that started on line {before} has no stop record: it was killed, or its end was removed"
            ));
        }
        Ok(())
    }
}

fn broken_at(path: &Path, link: &Link, broken: Break, rest: &mut impl BufRead) -> Error {
    let line = link.seq() + 1;
    let what = match broken {
        Break::Changed => format!("line {line} was changed: its hash does not fit its content"),
        Break::Foreign(why) if line == 1 => {
            return Error::check(format!("{}: its first line is not one of an audit: {why}", path.display()))
                .advise("name an audit file; if this was one, somebody replaced its beginning: keep it as evidence");
        }
        Break::Foreign(why) => format!("line {line} is not an audit line: {why}"),
        Break::Previous => format!("line {line} does not follow line {}: one of them was replaced", line - 1),
        Break::Sequence { found, expected } if found < expected => {
            format!("line {line} is out of order: it is record {found}, and record {expected} must come here")
        }
        Break::Sequence { found, expected } => match find(rest, expected, line) {
            Some(elsewhere) => {
                format!("lines are out of order: record {expected} must be on line {line}, and is on line {elsewhere}")
            }
            None if found == expected + 1 => format!("before line {line} a record is missing: number {expected}"),
            None => format!("before line {line} records are missing: numbers {expected} to {}", found - 1),
        },
    };
    let error = Error::check(format!("{}: {what}", path.display()));
    match link.seq() {
        0 => error,
        lines => error.because(format!("lines 1 to {lines} are as they were written; nothing is known of those after")),
    }
}

/// The line after `line` that holds record `seq`.
fn find(rest: &mut impl BufRead, seq: u64, line: u64) -> Option<u64> {
    let lines = rest.split(b'\n').map_while(std::result::Result::ok);
    let holds = |content: &Vec<u8>| Envelope::open(content).is_ok_and(|envelope| envelope.seq == seq);
    lines.zip(line + 1..).find(|(content, _)| holds(content)).map(|(_, number)| number)
}
