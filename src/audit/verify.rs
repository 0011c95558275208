//! Whether a file is what was written, line by line.

use std::io::BufRead;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::FORMAT_VERSION;
use super::chain::{Break, Envelope, Link};
use super::checkpoint::{self, Checkpoint};
use super::deciders::Deciders;
use super::harmless::{self, Undone};
use super::interruption::Following;
use super::kind::Kind;
use super::read::{LogFile, Member, cannot_be_read, files, members, open, strangers, told_of};
use super::signatures::{Doubt, Signatures, Trust};
use crate::error::ErrorKind;
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
    /// What decided about parts in the newest run.
    pub(super) deciders: Option<Deciders>,
    /// Lines of the log in files that are not here.
    pub(super) first: u64,
    /// Bytes of whole lines in the last file.
    pub(super) whole: u64,
    /// What follows the last line feed: an unfinished line.
    pub(super) tail: Vec<u8>,
    /// Whether the last line is whole but for its line feed, and counts.
    pub(super) unended: bool,
    /// Whether such a line counts in the file that is read.
    ends: bool,
    running: Option<u64>,
    /// The newest run.
    pub(super) newest: Following,
    /// The first compressed file that says other times of its lines than they have.
    misdated: Option<PathBuf>,
    /// What is undone to the files before they are read.
    undone: Option<Rc<Undone>>,
}

/// Checks the audit in `path`, and the files of the same log that were closed before: its chain, its checkpoints, and what `trust` says of it from outside.
///
/// # Errors
///
/// The file cannot be read, or is not what was written; the error names the line and says what happened to it.
pub fn verify(path: &Path, trust: &Trust) -> Result<Verified> {
    verify_as_it_stands(path, trust).map_err(|error| explained(path, trust, error))
}

/// Says of a log that is not what was written by which harmless cause, where that is certain: undone, every hash and signature fits.
pub(super) fn explained(path: &Path, trust: &Trust, error: Error) -> Error {
    if error.kind() != ErrorKind::Check {
        return error;
    }
    let undone = Rc::<Undone>::default();
    let whole = files(path).and_then(|files| read_files(&files, trust, Some(undone.clone()), false));
    let is_whole = whole.is_ok_and(|reading| reading.tail.is_empty() && concluded(path, trust, reading).is_ok());
    match undone.told().filter(|_| is_whole) {
        None => error,
        Some(what) => Error::check(error.to_string())
            .because(format!(
                "this looks like {what}, as an editor or a transfer does: with that undone every line is as it was written (no record's \
                 content differs)"
            ))
            .advise(
                "bring the file back byte for byte as the line wrote it, and find out what changed it; of the newest file a run puts a line \
                 feed back that is gone at the end, and continues it with nothing else of this",
            ),
    }
}

fn verify_as_it_stands(path: &Path, trust: &Trust) -> Result<Verified> {
    let reading = read(path, trust)?;
    let line = reading.link.seq() + 1;
    let verified = &reading.verified;
    if !reading.tail.is_empty() {
        let cut =
            format!("{}: line {line} is cut off: the file was truncated, or its machine lost power", path.display());
        return Err(Error::check(cut)
            .because(format!("the {} lines before it are as they were written", verified.lines))
            .advise("the next run on this file cuts the unfinished line off and writes that down"));
    }
    concluded(path, trust, reading)
}

/// The same of a log that a run may be writing: its last line need not be whole.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_while_written(path: &Path, trust: &Trust) -> Result<Verified> {
    concluded(path, trust, read(path, trust)?)
}

/// What a reading of all files says.
fn concluded(path: &Path, trust: &Trust, reading: Reading) -> Result<Verified> {
    let mut verified = reading.verified;
    verified.warnings.extend(told_of(&strangers(path)?));
    if verified.lines == 0 {
        return Err(Error::check(format!("{} holds no record", path.display()))
            .advise("is it the right file? A file whose every line was removed looks the same"));
    }
    reading.signatures.is_of_key().map_err(|doubt| doubted(path, doubt))?;
    if let Some(file) = reading.misdated {
        return Err(Error::check(format!("{} says other times of its lines than they have", file.display()))
            .because("its lines are as they were written, and somebody changed what tells a query where they are")
            .advise("keep it as evidence; --scan finds all lines, and packing its lines with gzip again mends it"));
    }
    if verified.checkpoints > 0 && trust.key.is_none() {
        verified.warnings.push(format!(
            "its checkpoints are those of the lines before them, and whose keys signed them is not known: give the public key \
             with --key ({} checkpoints)",
            verified.checkpoints
        ));
    }
    for lines in &verified.unsigned {
        let end = *lines.end() == reading.link.seq();
        let (named, are, were) = match lines.end() - lines.start() {
            0 => (format!("line {}", lines.start()), "is", "was"),
            _ => (format!("lines {} to {}", lines.start(), lines.end()), "are", "were"),
        };
        let unsigned = match (end, reading.running) {
            (false, _) => format!("{were} not signed when the run after signed all"),
            (true, Some(_)) => format!("{are} not signed yet"),
            (true, None) => format!(
                "{are} not signed, though their run has ended: it had no key, or its last checkpoint is missing"
            ),
        };
        verified.warnings.push(format!("{named} {unsigned}: who may write the file could have changed that"));
    }
    if let Some(start) = reading.running {
        verified.warnings.push(format!(
            "the run that started on line {start} has no stop record: it goes on, it was killed, or the end of the file \
             was removed, which a chain cannot show without a witness (compare the number of lines with a copy)"
        ));
    }
    Ok(verified)
}

/// Reads all files of the log in `path`.
pub(super) fn read<'t>(path: &Path, trust: &'t Trust) -> Result<Reading<'t>> {
    read_files(&files(path)?, trust, None, false)
}

/// Reads the newest file of the log in `path` alone where that is enough to continue it: it says what it continues, and holds
/// the checkpoint that was kept. A last line that lacks its line feed and nothing else counts: who continues the log puts that back.
pub(super) fn read_newest<'t>(path: &Path, trust: &'t Trust) -> Result<Reading<'t>> {
    let files = files(path)?;
    if let [.., _, newest] = files.as_slice() {
        let kept = new_signatures(trust, 0)?.kept_size();
        let first = first_link(&newest.path, None)?;
        if first.is_some_and(|first| kept.is_none_or(|kept| first.seq() <= kept)) {
            return read_files(std::slice::from_ref(newest), trust, None, true);
        }
    }
    read_files(&files, trust, None, true)
}

fn new_signatures(trust: &Trust, absent: u64) -> Result<Signatures<'_>> {
    Signatures::new(trust, absent).map_err(|doubt| Error::usage(doubt.why).advise(doubt.advice))
}

/// What a file's first line says that it continues; `None` where it is no beginning in the middle of a log.
fn first_link(file: &Path, undone: Option<&Rc<Undone>>) -> Result<Option<Link>> {
    let mut line = Vec::new();
    opened(file, undone)?.read_until(b'\n', &mut line).map_err(|error| cannot_be_read(file, error))?;
    let envelope = line.strip_suffix(b"\n").and_then(|content| Envelope::open(content).ok());
    Ok(envelope.and_then(|envelope| envelope.continues()))
}

/// A file's lines, or what they are once that is undone which means no harm.
fn opened(file: &Path, undone: Option<&Rc<Undone>>) -> Result<Box<dyn BufRead>> {
    match undone {
        None => open(file),
        Some(undone) => harmless::undo(open(file)?, undone.clone()).map_err(|error| cannot_be_read(file, error)),
    }
}

/// Whether the file `next` begins with a line that continues the last one of the file `before`.
///
/// # Errors
///
/// One of them cannot be read.
pub(super) fn follows(next: &Path, before: &Path) -> Result<bool> {
    let mut last = None;
    for line in open(before)?.split(b'\n') {
        last = Some(line.map_err(|error| cannot_be_read(before, error))?);
    }
    let last = last.and_then(|line| Envelope::open(&line).ok()).map(|last| last.hash);
    let first = first_link(next, None)?;
    Ok(first.zip(last).is_some_and(|(first, last)| first.follows(&last)))
}

/// `ends` says whether a last line counts that lacks its line feed and nothing else.
fn read_files<'t>(files: &[LogFile], trust: &'t Trust, undone: Option<Rc<Undone>>, ends: bool) -> Result<Reading<'t>> {
    let first = files.first().map(|file| first_link(&file.path, undone.as_ref())).transpose()?.flatten();
    let mut reading = Reading {
        link: Link::START,
        signatures: new_signatures(trust, first.as_ref().map_or(0, Link::seq))?,
        verified: Verified::default(),
        deciders: None,
        first: 0,
        whole: 0,
        tail: Vec::new(),
        unended: false,
        ends: false,
        running: None,
        newest: Following::default(),
        misdated: None,
        undone,
    };
    if let Some(link) = first.filter(|link| link.seq() > 0) {
        reading.verified.warnings.push(format!(
            "lines 1 to {} are in files that are not here: what is here continues them, and says nothing of them",
            link.seq()
        ));
        reading.first = link.seq();
        reading.link = link;
    }
    for (i, file) in files.iter().enumerate() {
        reading.ends = ends && i + 1 == files.len();
        reading.file(&file.path)?;
        if !reading.tail.is_empty() && i + 1 < files.len() {
            let line = reading.link.seq() + 1;
            return Err(Error::check(format!(
                "{}: line {line} is cut off, and another file follows it",
                file.path.display()
            ))
            .because("a file is closed with its last line whole: this one was changed"));
        }
    }
    let path = files.last().map_or(Path::new(""), |file| &file.path);
    reading.signatures.end(&reading.link).map_err(|doubt| doubted(path, doubt))?;
    reading.verified.warnings.extend(reading.signatures.not_compared());
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

/// What a compressed file tells of the times of its lines, held against them.
struct Told {
    members: std::iter::Peekable<std::vec::IntoIter<Member>>,
    /// Where the first one that is left ends among the lines.
    end: u64,
    is_wrong: bool,
}

impl Told {
    fn of(path: &Path) -> Result<Self> {
        let told = if path.is_file() { members(path).map_err(|error| cannot_be_read(path, error))? } else { None };
        let mut members = told.unwrap_or_default().into_iter().peekable();
        let end = members.peek().map_or(0, |member| u64::from(member.length));
        Ok(Told { members, end, is_wrong: false })
    }

    /// The line that begins at `place`.
    fn line(&mut self, place: u64, time: &str) {
        if place >= self.end && self.members.next().is_some() {
            self.end += self.members.peek().map_or(0, |member| u64::from(member.length));
        }
        self.is_wrong |= self.members.peek().is_some_and(|member| place >= self.end || !member.may_hold(time));
    }

    /// Whether it says what is true of a file whose lines end at `end`.
    fn is_right(&self, end: u64) -> bool {
        !self.is_wrong && (self.end == 0 || self.end == end)
    }
}

impl Reading<'_> {
    fn file(&mut self, path: &Path) -> Result<()> {
        let mut file = opened(path, self.undone.as_ref())?;
        let mut told = Told::of(path)?;
        let mut line = Vec::new();
        self.whole = 0;
        loop {
            line.clear();
            let read = file.read_until(b'\n', &mut line);
            read.map_err(|error| {
                let told = format!("{error}; lines 1 to {} are as they were written", self.link.seq());
                match cannot_be_read(path, error) {
                    broken if broken.kind() == ErrorKind::Check => broken.because(told),
                    other => other,
                }
            })?;
            if self.ends && self.lacks_only_line_feed(&line) {
                self.unended = true;
                line.push(b'\n');
            }
            match line.split_last() {
                None => {
                    if !told.is_right(self.whole) {
                        self.misdated.get_or_insert_with(|| path.to_owned());
                    }
                    return Ok(());
                }
                Some((b'\n', content)) => {
                    let envelope = Envelope::open(content)
                        .and_then(|envelope| self.link.check(&envelope).map(|()| envelope))
                        .map_err(|broken| broken_at(path, &self.link, broken, &mut file))
                        .map_err(|error| if_damaged(path, &self.link, error))?;
                    if envelope.kind == Some(Kind::Continued)
                        && !envelope.continues().is_some_and(|told| self.link.meet(&told))
                    {
                        let line = self.link.seq() + 1;
                        return Err(Error::check(format!(
                            "{}: line {line} does not continue the files before it: it tells of another tree",
                            path.display()
                        )));
                    }
                    if envelope.kind == Some(Kind::Checkpoint) && !checkpoint::is_plain(content) {
                        let line = self.link.seq() + 1;
                        let what =
                            format!("{}: line {line} is a checkpoint that is not written as one", path.display());
                        return Err(Error::check(what).because(
                            "it has another field, or one in another way: nothing signs the newest checkpoint's own line, so that there \
                             is to be no room in it",
                        ));
                    }
                    let signed = self.signatures.follow(&self.link, &envelope);
                    signed.map_err(|doubt| doubted(path, doubt))?;
                    self.link.advance(envelope.hash, content);
                    told.line(self.whole, &envelope.time);
                    self.whole += line.len() as u64 - u64::from(self.unended);
                    if matches!(envelope.kind, Some(Kind::Start | Kind::Continued)) {
                        self.deciders = serde_json::from_slice(content).ok();
                        // Where nobody is asked a start says nothing of approvals.
                        if let Some(deciders) = self.deciders.as_mut().filter(|_| envelope.kind == Some(Kind::Start)) {
                            deciders.approvals.get_or_insert_default();
                        }
                    }
                    self.note(path, envelope)?;
                }
                Some(_) => {
                    self.tail = line;
                    return Ok(());
                }
            }
        }
    }

    /// Whether `line` is the next one, and ends too early by its line feed.
    fn lacks_only_line_feed(&self, line: &[u8]) -> bool {
        !line.ends_with(b"\n") && Envelope::open(line).is_ok_and(|envelope| self.link.check(&envelope).is_ok())
    }

    fn note(&mut self, path: &Path, envelope: Envelope) -> Result<()> {
        self.verified.lines += 1;
        let line = self.link.seq();
        match envelope.kind {
            Some(Kind::Part) => {
                self.verified.parts += 1;
                envelope.part.into_iter().for_each(|part| self.newest.part(part));
            }
            Some(Kind::Start) => self.start(path, line, envelope.format_version)?,
            Some(Kind::Continued) => {
                known_version(path, line, envelope.format_version)?;
                self.newest.go_on(line);
            }
            Some(Kind::Stop) => {
                self.running = None;
                self.newest.stop();
            }
            Some(Kind::Lost) => self.lose(line, envelope.records.unwrap_or_default()),
            _ => {}
        }
        self.newest.record(&envelope.time);
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
        known_version(path, line, version)?;
        self.verified.runs += 1;
        self.newest.start(line);
        if let Some(before) = self.running.replace(line) {
            self.verified.warnings.push(format!(
                "the run that started on line {before} has no stop record: it was killed, or its end was removed"
            ));
        }
        Ok(())
    }
}

fn known_version(path: &Path, line: u64, version: Option<u32>) -> Result<()> {
    if !version.is_some_and(|version| (1..=FORMAT_VERSION).contains(&version)) {
        let version = version.map_or("without a number".to_owned(), |version| version.to_string());
        return Err(Error::device(format!(
            "{}:{line}: audit format {version} is unknown to this program",
            path.display()
        ))
        .advise(format!("this program reads formats 1 to {FORMAT_VERSION}: update hgad")));
    }
    Ok(())
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

/// What is broken in a compressed file that fails its own checksum may be a disk's doing.
fn if_damaged(path: &Path, link: &Link, error: Error) -> Error {
    let unpacked = open(path).map(|mut file| std::io::copy(&mut file, &mut std::io::sink()));
    match unpacked {
        Ok(Err(damage)) => Error::check(error.to_string()).because(format!(
            "its compressed data is damaged, as by a disk or a transfer: {damage}; lines 1 to {} are as they were written",
            link.seq()
        )),
        _ => error,
    }
}

/// The line after `line` that holds record `seq`.
fn find(rest: &mut impl BufRead, seq: u64, line: u64) -> Option<u64> {
    let lines = rest.split(b'\n').map_while(std::result::Result::ok);
    let holds = |content: &Vec<u8>| Envelope::open(content).is_ok_and(|envelope| envelope.seq == seq);
    lines.zip(line + 1..).find(|(content, _)| holds(content)).map(|(_, number)| number)
}
