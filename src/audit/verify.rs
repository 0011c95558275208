//! Whether a file is what was written, line by line.

use std::io::BufRead;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::FORMAT_VERSION;
use super::chain::{Break, Envelope, Link};
use super::checkpoint::{self, Checkpoint};
use super::course::Falls;
use super::deciders::Deciders;
use super::harmless::{self, Undoing};
use super::interruption::Following;
use super::kind::Kind;
use super::read::{
    Gap, LogFile, Stranger, Told, cannot_be_read, damage, files, is_news, lines, missing_files, newest_of, next_line,
    open, renamed, strangers, told_of,
};
use super::rotation;
use super::signatures::{Doubt, Kept, Signatures, SignedBy, Trust};
use super::spot::{self, Spot};
use super::vouched::{Samples, Unvouched};
use crate::error::ErrorKind;
use crate::{Error, Result, print};

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
    /// The least and the greatest wall time of its lines.
    pub between: Option<(String, String)>,
    /// Signed checkpoints.
    pub checkpoints: u64,
    /// The newest of them.
    pub signed: Option<Checkpoint>,
    /// What each key was the first to sign, in the order of the log.
    pub keys: Vec<SignedBy>,
    /// Records at the log's beginning that are in files that are not here.
    pub absent: u64,
    /// Records, counted from 0, that nobody had signed when a run continued them, and those at the end that nobody has signed
    /// yet: who may write the file could have changed them. Empty where nothing is signed at all.
    pub unsigned: Vec<Range<u64>>,
    /// Which parts each run had to keep the pictures of, whatever became of them.
    pub samples: Samples,
    /// What a chain cannot rule out, or what a reader should know.
    pub warnings: Vec<String>,
}

impl Verified {
    /// Records that no checkpoint of their own run vouches for, and what is added to the log from now on.
    pub fn unvouched(&self) -> Unvouched {
        Unvouched::new(&self.unsigned, self.absent + self.lines)
    }
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
    running: Option<Spot>,
    /// Lines that were read of the file that is read.
    line: u64,
    /// The newest run.
    pub(super) newest: Following,
    /// The newest picture that a record names, and that record, if no record behind it tells of pictures that were removed.
    pub(super) picture: Option<(u64, String)>,
    /// Where their times fall.
    falls: Falls,
    /// The first compressed file whose index is not of its lines.
    misdated: Option<PathBuf>,
    /// Whether the file that is read counts how often times fall: its first line says so.
    counts_falls: bool,
    /// The first record that counts them wrong.
    miscounted: Option<Spot>,
    /// The run that was begun or continued last, by its name, and the last of those that a checkpoint signed.
    runs: [Option<String>; 2],
    /// What is undone to the files before they are read.
    undone: Option<Undoing>,
}

/// What every record begins with.
const RECORD: &[u8] = b"{\"seq\":";
/// So often a log is read anew whose files change their names meanwhile.
pub(super) const READINGS: usize = 5;
/// What to do about a file that is missing between others.
const BRING_BACK: &str = "look for what is missing where closed files are carried to (an archive, a backup, the job that moves them), and put \
                          it back beside the others under its name, compressed or not; if it is nowhere, keep the others as evidence";
/// What to do about two files that begin with the same record and go on otherwise.
const TWO_HISTORIES: &str = "keep both as evidence; each of them alone, moved to a folder of its own, is checked by its own hashes and, with --key, \
                             by its signatures, and a backup or a checkpoint that was kept (--checkpoint) says which was written";
/// What to do about a record that is not as it was written.
const EVIDENCE: &str = "put the file back from a copy that is whole, and find out who or what changed this one; if there is none, keep it as \
                        evidence: move it away, and the pictures with it, and begin a new one";

/// Checks the audit in `path`, and the files of the same log that were closed before: its chain, its checkpoints, and what `trust` says of it from outside.
///
/// # Errors
///
/// The file cannot be read, or is not what was written; the error names the line and says what happened to it.
pub fn verify(path: &Path, trust: &Trust) -> Result<Verified> {
    let verified = verify_as_it_stands(path, trust).map_err(|error| with_twin(path, error));
    let verified = verified.and_then(|verified| no_twin_differs(path).map(|()| verified));
    verified.map_err(|error| {
        let error = explained(path, trust, error);
        match strangers(path).ok().and_then(|strangers| told_of(&strangers)) {
            Some(told) => {
                let why = std::error::Error::source(&error).map_or_else(String::new, |why| format!("{why}; "));
                if why.contains(&told) {
                    return error;
                }
                error.because(format!("{why}{told}"))
            }
            None => error,
        }
    })
}

/// A closed file that is there twice, plain and compressed, which do not hold the same: both names. Between the moment in which a run
/// gives the compressed one its name and that in which it removes the other, both are there and hold the same.
fn different_twins(path: &Path) -> Result<Option<[PathBuf; 2]>> {
    for file in files(path)?.into_iter().filter(|file| file.number.is_some() && !file.is_compressed()) {
        let packed = file.path.with_added_extension("gz");
        if !packed.is_file() {
            continue;
        }
        match rotation::holds(&packed, &file.path) {
            Ok(true) => {}
            // The run that compressed it has removed the plain one by now.
            Err(_) if !file.path.exists() => {}
            Err(error) if error.raw_os_error().is_some() => return Err(cannot_be_read(&packed, error)),
            Ok(false) | Err(_) => return Ok(Some([file.path, packed])),
        }
    }
    Ok(None)
}

/// What is read of a file that is there twice is the plain one, which is as it was written: the other one is not.
fn no_twin_differs(path: &Path) -> Result<()> {
    let Some([plain, packed]) = different_twins(path)? else { return Ok(()) };
    let [plain, packed] = [plain, packed].map(|twin| print::name(twin.display()));
    Err(Error::check(format!("{packed} is not what was written, and {plain} beside it is"))
        .because("both stand for the same closed file, and do not hold the same")
        .advise(
            "find out who put the compressed one there, keep it as evidence and move it away: it would be read once the plain one is gone",
        ))
}

/// Says of a log that is not what was written where what was written may be in a compressed file beside the plain one that was read.
fn with_twin(path: &Path, error: Error) -> Error {
    let Ok(Some([plain, packed])) = different_twins(path) else { return error };
    let [plain, packed] = [plain, packed].map(|twin| print::name(twin.display()));
    let why = std::error::Error::source(&error).map_or_else(String::new, |why| format!("{why}; "));
    error.because(format!(
        "{why}{packed} holds something else than {plain}, which was read: move {plain} away, keep it, and check again whether the other one is \
         what was written"
    ))
}

/// Says of a log that is not what was written by which harmless cause, where that is certain: undone, every hash and signature fits.
pub(super) fn explained(path: &Path, trust: &Trust, error: Error) -> Error {
    // What was kept elsewhere and is no checkpoint is wrong use.
    if error.kind() == ErrorKind::Device {
        return error;
    }
    let undone = Undoing::default();
    let whole = files(path).and_then(|files| read_files(path, &files, trust, Some(undone.clone()), false));
    let is_whole = whole.is_ok_and(|reading| {
        // A checkpoint that is held against nothing is not known to be one of this log.
        let is_compared = undone.kept.told().is_none() || reading.signatures.not_compared().is_none();
        is_compared && reading.tail.is_empty() && concluded(path, trust, reading).is_ok()
    });
    let Some(what) = undone.told().filter(|_| is_whole) else { return error };
    let commands = files(path).unwrap_or_default().into_iter();
    let commands = commands.filter_map(|file| harmless::command(&file.path, open(&file.path).ok()?));
    let commands = commands.chain(trust.kept.iter().filter_map(Kept::command)).collect::<Vec<_>>().join("; ");
    let other = if undone.kept.told().is_some() { ", or give another copy of the checkpoint" } else { "" };
    let advice = format!(
        "bring back byte for byte what was written, or undo that{other}, check again, and find out what changed it. This undoes it, and \
         keeps what was there as FILE.changed: {commands}"
    );
    error
        .because(format!(
            "this looks like {what}, as an editor or a transfer does: with that undone every line is as it was written (no record's \
             content differs)"
        ))
        .advise(advice)
}

fn verify_as_it_stands(path: &Path, trust: &Trust) -> Result<Verified> {
    let reading = read(path, trust)?;
    if let Some(why) = reading.strange_tail() {
        return Err(foreign(path, why));
    }
    if !reading.tail.is_empty() {
        let cut = format!("{} is cut off: the file was truncated, or its machine lost power", reading.unfinished(path));
        return Err(as_written_before(Error::check(cut), reading.read())
            .advise(
                "the next run on this file cuts the unfinished line off and writes that down, unless a copy of a checkpoint ([audit] \
                 checkpoint_copy) says that more was there: then it is refused until the whole file is put back",
            ));
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
    let strangers = strangers(path)?;
    if let Some(told) = told_of(&strangers) {
        is_news(&told);
        if strangers.iter().any(Stranger::contradicts) {
            return Err(Error::check(format!("beside {} is another history of its records", path.display()))
                .because(told)
                .advise(TWO_HISTORIES));
        }
        verified.warnings.push(told);
    }
    let renamed = renamed(&files(path)?);
    if !renamed.is_empty() {
        verified.warnings.push(format!("{} (the next file that is closed goes behind its number)", renamed.join("; ")));
    }
    if verified.lines == 0 {
        return Err(Error::check(format!("{} holds no record", path.display()))
            .advise("is it the right file? A file whose every line was removed looks the same"));
    }
    reading.signatures.is_of_key().map_err(|doubt| doubted(path, doubt))?;
    if let Some(file) = reading.misdated {
        return Err(Error::check(format!("{} has an index that is not of its lines", file.display()))
            .because(
                "its lines are as they were written, and what tells a query where they are is not: it was damaged, as by a disk or a transfer, \
                 or changed",
            )
            .advise("keep a copy as evidence; unpacked with gunzip, and packed by the next run, it tells the times that its lines have"));
    }
    if let Some(spot) = reading.miscounted {
        return Err(Error::check(format!("{spot} says wrong how often times fell before it"))
            .because("whoever writes a log counts that (falls), and searches go by it: it was added by somebody who has no key, or a clock that \
                      was set back is hidden")
            .advise(EVIDENCE));
    }
    verified.warnings.extend(unread_end(path, reading.link.seq())?);
    if verified.checkpoints > 0 && trust.key.is_none() {
        verified.warnings.push(format!(
            "its checkpoints are those of the lines before them, and whose keys signed them is not known: give the public key \
             with --key ({} checkpoints)",
            verified.checkpoints
        ));
    }
    if trust.key.is_none() && !trust.kept.is_empty() {
        verified.warnings.push(
            "the checkpoint that was kept is one of the log's, and its signature was not checked: give the public key with --key".to_owned(),
        );
    }
    for unsigned in &verified.unsigned {
        let is_end = unsigned.end == reading.link.seq();
        let (are, were) = if unsigned.end - unsigned.start == 1 { ("is", "was") } else { ("are", "were") };
        let told = match (is_end, &reading.running) {
            (false, _) => format!("{were} not signed when the run after signed all"),
            (true, Some(_)) => format!("{are} not signed yet"),
            (true, None) => format!(
                "{are} not signed, though their run has ended: it had no key, or its last checkpoint is missing"
            ),
        };
        let named = spot::records(unsigned);
        verified.warnings.push(format!("{named} {told}: who may write the file could have changed that"));
    }
    if let Some(start) = &reading.running {
        verified.warnings.push(format!(
            "the run that began with {start} has no stop record: it goes on, it was killed, or the end of the file \
             was removed, which a chain cannot show without a witness (hold it against a checkpoint that was kept elsewhere, --checkpoint, or compare the number of records \
             with a copy)"
        ));
    }
    Ok(verified)
}

/// What is to be said where records may come behind the `lines` that were read, in files that were not.
fn unread_end(path: &Path, lines: u64) -> Result<Option<String>> {
    let Some(last) = lines.checked_sub(1) else { return Ok(None) };
    let unknown = format!("what was written behind record {last} is not known");
    if !path.exists() {
        return Ok(Some(format!("{}, the newest file of the log, is not here: {unknown}", path.display())));
    }
    Ok(newest_of(path).map(|newest| {
        format!(
            "{} is a file that was closed, checked alone: {unknown}. Give {} for the whole log",
            path.display(),
            newest.display()
        )
    }))
}

/// Reads all files of the log in `path`, and again when a run closed or compressed one before it was reached: what bears its name then is
/// another one, or none.
pub(super) fn read<'t>(path: &Path, trust: &'t Trust) -> Result<Reading<'t>> {
    read_listed(path, trust, || files(path))
}

/// The same of those files that are there whenever `list` is asked.
pub(super) fn read_listed<'t>(
    path: &Path,
    trust: &'t Trust,
    mut list: impl FnMut() -> Result<Vec<LogFile>>,
) -> Result<Reading<'t>> {
    for _ in 0..READINGS {
        let listed = list()?;
        let read = read_files(path, &listed, trust, None, false);
        // The newest file is a beginning too, whose log has lost what is before it, once it is another's.
        let is_in_doubt = read.as_ref().map_or(true, |reading| reading.first > 0);
        if !is_in_doubt || list()? == listed {
            return read;
        }
    }
    Err(Error::device(format!("{} cannot be read in peace", path.display()))
        .because(format!("its line closed or compressed files during each of {READINGS} readings"))
        .advise("give a copy of the log, or wait until the line closes files less often ([audit] rotate_mb)"))
}

/// Reads the newest file of the log in `path` alone where that is enough to continue it: it says what it continues, and holds
/// the checkpoint that was kept. A last line that lacks its line feed and nothing else counts: who continues the log puts that back.
pub(super) fn read_newest<'t>(path: &Path, trust: &'t Trust) -> Result<Reading<'t>> {
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

/// What a file's first line says that it continues; `None` where it is no beginning in the middle of a log.
fn first_link(file: &Path, undone: Option<&Undoing>) -> Result<Option<Link>> {
    let mut line = Vec::new();
    next_line(&mut opened(file, undone)?, &mut line).map_err(|error| cannot_be_read(file, error))?;
    let envelope = line.strip_suffix(b"\n").and_then(|content| Envelope::open(content).ok());
    Ok(envelope.and_then(|envelope| envelope.continues()))
}

/// A file's lines, or what they are once that is undone which means no harm.
fn opened(file: &Path, undone: Option<&Undoing>) -> Result<Box<dyn BufRead>> {
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
pub(super) fn follows(next: &Path, before: &Path) -> Result<bool> {
    let mut last = None;
    for line in lines(open(before)?) {
        last = Some(line.map_err(|error| cannot_be_read(before, error))?);
    }
    let last = last.and_then(|line| Envelope::open(&line).ok()).map(|last| last.hash);
    let first = first_link(next, None)?;
    Ok(first.zip(last).is_some_and(|(first, last)| first.follows(&last)))
}

/// Reads these files of the log in `path`. `ends` says whether a last line counts that lacks its line feed and nothing else.
fn read_files<'t>(
    path: &Path,
    files: &[LogFile],
    trust: &'t Trust,
    undone: Option<Undoing>,
    ends: bool,
) -> Result<Reading<'t>> {
    let first = files.first().map(|file| first_link(&file.path, undone.as_ref())).transpose()?.flatten();
    let mut reading = Reading {
        link: Link::START,
        signatures: Signatures::new(
            trust,
            first.as_ref().map_or(0, Link::seq),
            undone.as_ref().map(|undone| &undone.kept),
        )?,
        verified: Verified::default(),
        deciders: None,
        first: 0,
        whole: 0,
        tail: Vec::new(),
        unended: false,
        ends: false,
        running: None,
        line: 0,
        newest: Following::default(),
        picture: None,
        falls: Falls::default(),
        misdated: None,
        counts_falls: false,
        miscounted: None,
        runs: [None, None],
        undone,
    };
    if let Some(link) = first.filter(|link| link.seq() > 0) {
        reading.verified.warnings.push(format!(
            "{} are in files that are not here: what is here continues them, and says nothing of them",
            spot::records(&(0..link.seq()))
        ));
        reading.first = link.seq();
        reading.verified.absent = link.seq();
        reading.link = link;
    }
    for (i, file) in files.iter().enumerate() {
        reading.ends = ends && i + 1 == files.len();
        reading.file(files, i)?;
        if !reading.tail.is_empty() && i + 1 < files.len() {
            let unfinished = reading.unfinished(&file.path);
            return Err(Error::check(format!("{unfinished} is cut off, and another file follows it"))
                .because("a file is closed with its last line whole: this one was changed")
                .advise(EVIDENCE));
        }
    }
    reading.signatures.end(&reading.link).map_err(|doubt| doubted(path, doubt))?;
    reading.verified.warnings.extend(reading.signatures.not_compared());
    reading.verified.warnings.extend(reading.falls.told());
    reading.verified.checkpoints = reading.signatures.count;
    reading.verified.keys = reading.signatures.keys.clone();
    reading.verified.signed = reading.signatures.newest.as_ref().map(|newest| newest.checkpoint.clone());
    if reading.signatures.count > 0 {
        let end = reading.signatures.unsigned_end(reading.link.seq());
        let ranges = reading.signatures.adopted.iter().cloned().chain(Some(end));
        reading.verified.unsigned = ranges.filter(|records| !records.is_empty()).collect();
    }
    Ok(reading)
}

/// The chain is whole, and what is signed is something else.
fn doubted(path: &Path, doubt: Doubt) -> Error {
    Error::check(format!("{}: {}", path.display(), doubt.why)).advise(doubt.advice)
}

/// Says of which records, those `before`, nothing is wrong.
fn as_written_before(error: Error, before: Range<u64>) -> Error {
    match before.is_empty() {
        true => error,
        false => error.because(format!("{}; nothing is known of those after", as_written(&before))),
    }
}

fn as_written(before: &Range<u64>) -> String {
    let are = if before.end - before.start == 1 { "is as it was" } else { "are as they were" };
    format!("{} {are} written", spot::records(before))
}

impl Reading<'_> {
    /// Reads the file in this place of `files`.
    fn file(&mut self, files: &[LogFile], place: usize) -> Result<()> {
        let path = files[place].path.as_path();
        // What is undone is not what is there.
        let told =
            if self.undone.is_none() { Told::of(path).map_err(|error| cannot_be_read(path, error))? } else { None };
        let (mut told, mut lines) = match told {
            Some((told, lines)) => (Some(told), Box::new(lines) as Box<dyn BufRead>),
            None => (None, opened(path, self.undone.as_ref())?),
        };
        let mut line = Vec::new();
        (self.whole, self.line) = (0, 0);
        self.link.begin_file();
        loop {
            line.clear();
            let read = next_line(&mut lines, &mut line);
            read.map_err(|error| unreadable(path, error, &self.read()))?;
            self.line += 1;
            if self.ends && self.lacks_only_line_feed(&line) {
                self.unended = true;
                line.push(b'\n');
            }
            match line.split_last() {
                None => {
                    let is_right = told.map_or(Ok(true), |told| told.is_right());
                    if !is_right.map_err(|error| cannot_be_read(path, error))? {
                        self.misdated.get_or_insert_with(|| path.to_owned());
                    }
                    return Ok(());
                }
                Some((b'\n', content)) => {
                    let spot =
                        |reading: &Self| Spot { record: reading.link.seq(), line: reading.line, file: path.to_owned() };
                    let envelope = Envelope::open(content)
                        .map_err(|broken| broken_at(&spot(self), broken, self.read(), &mut lines))
                        .and_then(|envelope| match self.link.check(&envelope) {
                            Ok(()) => Ok(envelope),
                            Err(Break::Sequence { found, expected })
                                if found > expected && self.line == 1 && place > 0 =>
                            {
                                Err(gap(expected..found, self.read(), (files, place), &envelope))
                            }
                            Err(broken) => Err(broken_at(&spot(self), broken, self.read(), &mut lines)),
                        })
                        .map_err(|error| if_damaged(path, &self.read(), error))?;
                    if envelope.kind == Some(Kind::Continued)
                        && !envelope.continues().is_some_and(|told| self.link.meet(&told))
                    {
                        let what =
                            format!("{} does not continue the files before it: it tells of another tree", spot(self));
                        return Err(Error::check(what).advise(EVIDENCE));
                    }
                    if envelope.kind == Some(Kind::Checkpoint) && !checkpoint::is_plain(content) {
                        let what = format!("{} is a checkpoint that is not written as one", spot(self));
                        return Err(Error::check(what)
                            .because(
                                "it has another field, or one in another way: nothing signs the newest checkpoint's own line, so that \
                                 there is to be no room in it",
                            )
                            .advise(EVIDENCE));
                    }
                    let signed = self.signatures.follow(&self.link, &envelope);
                    signed.map_err(|doubt| match doubt.is_of_record {
                        true => Error::check(format!("{} {}", spot(self), doubt.why)).advise(doubt.advice),
                        false => doubted(path, doubt),
                    })?;
                    self.link.advance(envelope.hash, content);
                    self.count_falls(&envelope, |reading| Spot { record: reading.link.seq() - 1, ..spot(reading) });
                    if let Some(told) = &mut told {
                        told.line(self.whole, &envelope.time);
                    }
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

    /// Holds what a line says of how often times fell in its file against what they did.
    fn count_falls(&mut self, line: &Envelope, spot: impl Fn(&Self) -> Spot) {
        if self.line == 1 {
            self.counts_falls = line.falls == Some(0);
        }
        // In a checkpoint's line is no room for it.
        let is_wrong = line.kind != Some(Kind::Checkpoint) && line.falls.unwrap_or_default() != self.link.fallen();
        if self.counts_falls && is_wrong && self.miscounted.is_none() {
            self.miscounted = Some(spot(self));
        }
    }

    /// The last run that a checkpoint signed; of a file without checkpoints the last one that is in it.
    pub(super) fn last_run(&self) -> Option<&str> {
        let [begun, signed] = &self.runs;
        signed.as_deref().or(begun.as_deref())
    }

    /// The records that were read.
    fn read(&self) -> Range<u64> {
        self.first..self.link.seq()
    }

    /// The unfinished line at the end of the file `path`.
    fn unfinished(&self, path: &Path) -> Spot {
        Spot { record: self.link.seq(), line: self.line, file: path.to_owned() }
    }

    /// Why the unfinished line is hardly the beginning of a record, where nothing but that line is in the file: then it is somebody's file
    /// that was named by mistake, and nothing of it may be cut off. What a disk left of a record begins as one does, or is zeros.
    pub(super) fn strange_tail(&self) -> Option<&'static str> {
        let is_alone = self.whole == 0 && !self.tail.is_empty() && !self.unended;
        let is_record = self.tail.starts_with(RECORD) || RECORD.starts_with(&self.tail);
        let is_blank = self.tail.iter().all(|byte| *byte == 0);
        (is_alone && !is_record && !is_blank)
            .then_some("it does not begin with {\"seq\": as a record does, and no line feed is in it")
    }

    /// Whether `line` is the next one, and ends too early by its line feed.
    fn lacks_only_line_feed(&self, line: &[u8]) -> bool {
        !line.ends_with(b"\n") && Envelope::open(line).is_ok_and(|envelope| self.link.check(&envelope).is_ok())
    }

    fn note(&mut self, path: &Path, envelope: Envelope) -> Result<()> {
        self.verified.lines += 1;
        let (record, line) = (self.link.seq() - 1, self.line);
        let spot = || Spot { record, line, file: path.to_owned() };
        if let (Some(Kind::Start | Kind::Continued), Some(run)) = (envelope.kind, &envelope.run) {
            self.runs[0] = Some(run.clone());
            self.verified.samples.begin(run, envelope.sample);
        }
        match envelope.kind {
            Some(Kind::Part) => {
                self.verified.parts += 1;
                envelope.part.into_iter().for_each(|part| self.newest.part(part));
            }
            Some(Kind::Start) => self.start(spot(), envelope.format_version)?,
            Some(Kind::Continued) => {
                known_version(&spot(), envelope.format_version)?;
                self.newest.go_on(self.line);
            }
            Some(Kind::Stop) => {
                self.running = None;
                self.newest.stop();
            }
            Some(Kind::PicturesRemoved) => self.picture = None,
            Some(Kind::Checkpoint) => {
                let [begun, signed] = &mut self.runs;
                signed.clone_from(begun);
            }
            Some(Kind::Lost) => self.lose(&spot(), envelope.records.unwrap_or_default()),
            _ => {}
        }
        if let Some(file) = envelope.picture {
            self.picture = Some((record, file));
        }
        self.newest.record(&envelope.time);
        let is_start = envelope.kind == Some(Kind::Start);
        self.falls.note(&envelope.time, is_start, envelope.run.as_deref(), spot);
        match &mut self.verified.between {
            Some((least, _)) if envelope.time < *least => *least = envelope.time,
            Some((_, greatest)) if envelope.time > *greatest => *greatest = envelope.time,
            Some(_) => {}
            None => self.verified.between = Some((envelope.time.clone(), envelope.time)),
        }
        Ok(())
    }

    fn lose(&mut self, spot: &Spot, records: u64) {
        self.verified.lost += records;
        let lost = if records == 1 { "1 record was".to_owned() } else { format!("{records} records were") };
        self.verified.warnings.push(format!(
            "before {spot} {lost} lost: the disk took none, and memory was full (make room, or raise [audit] keep_records)"
        ));
    }

    fn start(&mut self, spot: Spot, version: Option<u32>) -> Result<()> {
        known_version(&spot, version)?;
        self.verified.runs += 1;
        self.newest.start(spot.line);
        if let Some(before) = self.running.replace(spot) {
            self.verified.warnings.push(format!(
                "the run that began with {before} has no stop record: it was killed, or its end was removed"
            ));
        }
        Ok(())
    }
}

fn known_version(spot: &Spot, version: Option<u32>) -> Result<()> {
    if !version.is_some_and(|version| (1..=FORMAT_VERSION).contains(&version)) {
        let version = version.map_or("without a number".to_owned(), |version| version.to_string());
        return Err(Error::device(format!("{spot} is of audit format {version}, which is unknown to this program"))
            .advise(format!("this program reads formats 1 to {FORMAT_VERSION}: update hgad")));
    }
    Ok(())
}

/// What is wrong with what is found in the place of the record `spot`, behind those `before`.
fn broken_at(spot: &Spot, broken: Break, before: Range<u64>, rest: &mut impl BufRead) -> Error {
    let Spot { record, line, file } = spot;
    let (line, place) = (*line, format!("line {line} of {}", file.display()));
    let what = match broken {
        Break::Changed => format!("{spot} was changed: its hash does not fit its content"),
        Break::Foreign(why) if *record == 0 => {
            return foreign(file, why);
        }
        Break::Foreign(why) => format!("{spot} is not an audit line: {why}"),
        Break::Previous if *record == 0 => format!("{spot} follows another record, and is the first: it was replaced"),
        Break::Previous => format!("{spot} does not follow record {}: one of them was replaced", record - 1),
        Break::Sequence { found, expected } if found < expected => {
            format!("record {found} ({place}) is out of order: record {expected} must come here")
        }
        Break::Sequence { found, expected } => match find(rest, expected, line) {
            Some(elsewhere) => {
                format!("records are out of order: record {expected} must be on {place}, and is on line {elsewhere}")
            }
            None => format!("{} before record {found} ({place})", missing(&(expected..found))),
        },
    };
    as_written_before(Error::check(what), before).advise(EVIDENCE)
}

/// The first line of what is to be a log is none.
fn foreign(file: &Path, why: impl std::fmt::Display) -> Error {
    Error::check(format!("{}: its first line is not one of an audit: {why}", file.display()))
        .advise("name an audit file; if this was one, somebody replaced its beginning: keep it as evidence")
}

fn missing(absent: &Range<u64>) -> String {
    format!("{} {} missing", spot::records(absent), if absent.end - absent.start == 1 { "is" } else { "are" })
}

/// The records `absent` are missing behind those that were `read`, between the file in this place of the files, which begins with the
/// record `first`, and the one before.
fn gap(absent: Range<u64>, read: Range<u64>, (files, place): (&[LogFile], usize), first: &Envelope) -> Error {
    let (before, next) = (&files[place - 1], &files[place]);
    let (gap, others) = (Gap::between(before, next, first.file.as_deref()), missing_files(&files[place..]));
    let because = match &gap {
        Gap::Files(names) => names.clone(),
        Gap::None => format!("the end of {} was removed", before.path.display()),
        Gap::Renamed(own) => format!("{} was written as {own}", next.path.display()),
        Gap::Unknown => {
            "a file between them is not here, or the end of the one or the beginning of the other was removed"
                .to_owned()
        }
    };
    let others = others.iter().map(|other| format!("; {other}")).collect::<String>();
    let missing = missing(&absent);
    Error::check(format!("{missing} between {} and {}", before.path.display(), next.path.display()))
        .because(format!("{because}{others}; {}, and nothing is known of those after", as_written(&read)))
        .advise(match gap {
            Gap::None => EVIDENCE,
            Gap::Renamed(_) => "give the files the names back under which they were written",
            Gap::Files(_) | Gap::Unknown => BRING_BACK,
        })
}

/// The file cannot be read on behind the records `before`.
fn unreadable(path: &Path, error: std::io::Error, before: &Range<u64>) -> Error {
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
fn if_damaged(path: &Path, before: &Range<u64>, error: Error) -> Error {
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
