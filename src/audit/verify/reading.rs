//! A log that is read line by line, and what is known of it so far.

use std::io::BufRead;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Verified;
use super::absence::{Absence, Removal};
use super::beginning::Beginning;
use super::broken::{EVIDENCE, broken_at, doubted, gap, if_damaged, unreadable};
use super::sequence::opened;
use crate::audit::FORMAT_VERSION;
use crate::audit::chain::{Break, Envelope, Link};
use crate::audit::checkpoint;
use crate::audit::course::Falls;
use crate::audit::deciders::Deciders;
use crate::audit::harmless::Undoing;
use crate::audit::interruption::Following;
use crate::audit::kind::Kind;
use crate::audit::read::{LogFile, Told, cannot_be_read, next_line};
use crate::audit::signatures::{Signatures, Trust};
use crate::audit::spot::Spot;
use crate::audit::tree::Tree;
use crate::{Error, Result, print};

/// What every record begins with.
const RECORD: &[u8] = b"{\"seq\":";

/// A run that has not stopped so far.
#[derive(Debug)]
pub(super) struct Running {
    at: Spot,
    /// Whether it began there; else it goes on there, and its start is not here.
    is_start: bool,
}

impl std::fmt::Display for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let does = if self.is_start { "began" } else { "goes on" };
        write!(f, "the run that {does} with {}", self.at)
    }
}

/// A log read up to its end, or to an unfinished line there.
#[derive(Debug)]
pub(in crate::audit) struct Reading<'t> {
    /// What comes next.
    pub(in crate::audit) link: Link,
    pub(in crate::audit) signatures: Signatures<'t>,
    pub(super) verified: Verified,
    /// The tree over the records that are in files that are not here.
    pub(in crate::audit) before: Tree,
    /// What the line removed of the log, as its records tell.
    pub(super) removals: Vec<Removal>,
    /// What decided about parts in the newest run.
    pub(in crate::audit) deciders: Option<Deciders>,
    /// Bytes of whole lines in the last file.
    pub(in crate::audit) whole: u64,
    /// What follows the last line feed: an unfinished line.
    pub(in crate::audit) tail: Vec<u8>,
    /// Whether the last line is whole but for its line feed, and counts.
    pub(in crate::audit) unended: bool,
    /// Whether such a line counts in the file that is read.
    pub(super) ends: bool,
    /// Of a run that has not stopped so far its start, or the first record that is here.
    pub(super) running: Option<Running>,
    /// Lines that were read of the file that is read.
    line: u64,
    /// The newest run.
    pub(in crate::audit) newest: Following,
    /// The newest picture that a record names, and that record, if no record behind it tells of pictures that were removed.
    pub(in crate::audit) picture: Option<(u64, String)>,
    /// Where times fall.
    pub(super) falls: Falls,
    /// The first compressed file whose index is not of its lines.
    pub(super) misdated: Option<PathBuf>,
    /// Whether the file that is read counts how often times fall: its first line says so.
    counts_falls: bool,
    /// The first record that counts them wrong.
    pub(super) miscounted: Option<Spot>,
    /// The run that was begun or continued last, by its name, and the last of those that a checkpoint signed.
    runs: [Option<String>; 2],
    /// What is undone to the files before they are read.
    undone: Option<Undoing>,
}

impl<'t> Reading<'t> {
    /// Of a log before its first line that is here. `continued`: what that says that it continues, where the log begins in files that are
    /// not here.
    ///
    /// # Errors
    ///
    /// A checkpoint that was kept is none, or none of a key that was given.
    pub(super) fn begin(trust: &'t Trust, continued: Option<Link>, undone: Option<Undoing>) -> Result<Self> {
        let absent = continued.as_ref().map_or(0, Link::seq);
        let verified = Verified { absent, ..Verified::default() };
        let link = continued.filter(|_| absent > 0).unwrap_or(Link::START);
        Ok(Reading {
            before: link.tree().clone(),
            removals: Vec::new(),
            link,
            signatures: Signatures::new(trust, absent, undone.as_ref().map(|undone| &undone.kept))?,
            verified,
            deciders: None,
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
        })
    }

    /// Reads the file in this place of `files`: up to its end, or to an unfinished line, which is the `tail` then.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is not what was written behind the files before it.
    pub(super) fn file(&mut self, files: &[LogFile], place: usize) -> Result<()> {
        let path = files[place].path.as_path();
        let (mut index, mut lines) = self.open(path)?;
        let mut line = Vec::new();
        (self.whole, self.line) = (0, 0);
        self.link.begin_file();
        while self.next_line(path, &mut lines, &mut line)? {
            let Some(content) = line.strip_suffix(b"\n") else {
                self.tail = line;
                return Ok(());
            };
            let envelope = self.open_record(content, (files, place), &mut lines)?;
            self.check(path, content, &envelope)?;
            self.link.advance(envelope.hash, content);
            self.count_falls(path, &envelope);
            if let Some(index) = &mut index {
                index.line(self.whole, &envelope.time);
            }
            self.whole += line.len() as u64 - u64::from(self.unended);
            self.note_deciders(content, envelope.kind);
            self.note(path, envelope)?;
        }
        let is_right = index.map_or(Ok(true), |index| index.is_right());
        if !is_right.map_err(|error| cannot_be_read(path, error))? {
            self.misdated.get_or_insert_with(|| path.to_owned());
        }
        Ok(())
    }

    /// The lines of a file, and of a compressed one what its index is held against.
    fn open(&self, path: &Path) -> Result<(Option<Told>, Box<dyn BufRead>)> {
        // The index is not of what is there once something is undone.
        if self.undone.is_none()
            && let Some((index, lines)) = Told::of(path).map_err(|error| cannot_be_read(path, error))?
        {
            return Ok((Some(index), Box::new(lines)));
        }
        Ok((None, opened(path, self.undone.as_ref())?))
    }

    /// Puts the next line in the place of `line`, and says whether there was one.
    fn next_line(&mut self, path: &Path, lines: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool> {
        line.clear();
        next_line(lines, line).map_err(|error| unreadable(path, error, &self.read()))?;
        self.line += 1;
        if self.ends && self.lacks_only_line_feed(line) {
            self.unended = true;
            line.push(b'\n');
        }
        Ok(!line.is_empty())
    }

    /// Whether `line` is the next one, and ends too early by its line feed.
    fn lacks_only_line_feed(&self, line: &[u8]) -> bool {
        !line.ends_with(b"\n") && Envelope::open(line).is_ok_and(|envelope| self.link.check(&envelope).is_ok())
    }

    /// The record that is the `content` of the line that was read, if it is the one that must come here. `rest`: the lines behind it, where
    /// one that is not here is looked for.
    fn open_record(
        &self,
        content: &[u8],
        (files, place): (&[LogFile], usize),
        rest: &mut impl BufRead,
    ) -> Result<Envelope> {
        let path = files[place].path.as_path();
        let opened = Envelope::open(content).map_err(|broken| broken_at(&self.here(path), broken, self.read(), rest));
        let continues = opened.and_then(|envelope| self.continues(&envelope, (files, place), rest).map(|()| envelope));
        continues.map_err(|error| if_damaged(path, &self.read(), error))
    }

    /// Whether a record is the one that must come here.
    fn continues(
        &self,
        envelope: &Envelope,
        (files, place): (&[LogFile], usize),
        rest: &mut impl BufRead,
    ) -> Result<()> {
        let (here, is_first) = (self.here(&files[place].path), self.line == 1);
        if is_first {
            let before = place.checked_sub(1).map(|before| &files[before]);
            Beginning { here: here.clone(), first: envelope, before }.holds(&self.link, self.read(), rest)?;
        }
        self.link.check(envelope).map_err(|broken| match broken {
            Break::Sequence { found, expected } if found > expected && is_first && place > 0 => {
                gap(expected..found, self.read(), (files, place), envelope)
            }
            broken => broken_at(&here, broken, self.read(), rest),
        })
    }

    /// Holds what a record says of the log, of its tree, or as a checkpoint, against the lines before it.
    fn check(&mut self, path: &Path, content: &[u8], envelope: &Envelope) -> Result<()> {
        if envelope.kind == Some(Kind::Continued) && !envelope.continues().is_some_and(|told| self.link.meet(&told)) {
            let what = format!("{} does not continue the files before it: it tells of another tree", self.here(path));
            return Err(Error::check(what).advise(EVIDENCE));
        }
        if envelope.kind == Some(Kind::Checkpoint) && !checkpoint::is_plain(content) {
            return Err(Error::check(format!("{} is a checkpoint that is not written as one", self.here(path)))
                .because(
                    "it has another field, or one in another way: nothing signs the newest checkpoint's own line, so that there is to be no \
                     room in it",
                )
                .advise(EVIDENCE));
        }
        let signed = self.signatures.follow(&self.link, envelope);
        signed.map_err(|doubt| match doubt.is_of_record {
            true => Error::check(format!("{} {}", self.here(path), doubt.why)).advise(doubt.advice),
            false => doubted(path, doubt),
        })
    }

    /// Holds what a line says of how often times fell in its file against what they did.
    fn count_falls(&mut self, path: &Path, line: &Envelope) {
        if self.line == 1 {
            self.counts_falls = line.falls == Some(0);
        }
        // In a checkpoint's line is no room for it.
        let is_wrong = line.kind != Some(Kind::Checkpoint) && line.falls.unwrap_or_default() != self.link.fallen();
        if self.counts_falls && is_wrong && self.miscounted.is_none() {
            self.miscounted = Some(self.last(path));
        }
    }

    /// Keeps what decides about parts from a record on that tells it.
    fn note_deciders(&mut self, content: &[u8], kind: Option<Kind>) {
        if !matches!(kind, Some(Kind::Start | Kind::Continued)) {
            return;
        }
        self.deciders = serde_json::from_slice(content).ok();
        // Where nobody is asked a start says nothing of approvals.
        if let Some(deciders) = self.deciders.as_mut().filter(|_| kind == Some(Kind::Start)) {
            deciders.approvals.get_or_insert_default();
        }
    }

    /// Counts the record that was read last, and keeps what it says.
    fn note(&mut self, path: &Path, envelope: Envelope) -> Result<()> {
        self.verified.lines += 1;
        if let (Some(Kind::Start | Kind::Continued), Some(run)) = (envelope.kind, &envelope.run) {
            self.runs[0] = Some(run.clone());
            self.verified.samples.begin(run, envelope.sample);
        }
        self.note_kind(path, &envelope)?;
        let (record, line) = (self.link.seq() - 1, self.line);
        if let Some(file) = envelope.picture {
            self.picture = Some((record, file));
        }
        self.newest.record(&envelope.time);
        let is_start = envelope.kind == Some(Kind::Start);
        let spot = || Spot { record, line, file: path.to_owned() };
        self.falls.note(&envelope.time, is_start, envelope.run.as_deref(), spot);
        self.widen(envelope.time);
        Ok(())
    }

    fn note_kind(&mut self, path: &Path, envelope: &Envelope) -> Result<()> {
        match envelope.kind {
            Some(Kind::Part) => {
                self.verified.parts += 1;
                self.verified.dry += u64::from(envelope.dry_run == Some(true));
                envelope.part.into_iter().for_each(|part| self.newest.part(part));
            }
            Some(Kind::Start) => self.start(self.last(path), envelope)?,
            Some(Kind::Continued) => {
                known_version(&self.last(path), envelope.format_version)?;
                self.newest.go_on(self.line);
                // Its start is in a file that is not here.
                if self.absent() > 0 && self.verified.lines == 1 {
                    self.running = Some(Running { at: self.last(path), is_start: false });
                }
            }
            Some(Kind::Stop) => {
                self.running = None;
                self.newest.stop();
            }
            Some(Kind::PicturesRemoved) => self.picture = None,
            Some(Kind::LogRemoved) => self.removals.extend(Removal::of(envelope)),
            Some(Kind::Checkpoint) => {
                let [begun, signed] = &mut self.runs;
                signed.clone_from(begun);
            }
            Some(Kind::Lost) => self.lose(&self.last(path), envelope.records.unwrap_or_default()),
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, spot: Spot, envelope: &Envelope) -> Result<()> {
        known_version(&spot, envelope.format_version)?;
        self.verified.runs += 1;
        self.verified.endless |= self.newest.is_endless();
        self.newest.start(spot.line, envelope.dry_run == Some(true));
        if let Some(before) = self.running.replace(Running { at: spot, is_start: true }) {
            self.verified.warnings.push(format!(
                "{before} has no stop record: it was killed, its disk took no more, or its end was removed"
            ));
        }
        Ok(())
    }

    fn lose(&mut self, spot: &Spot, records: u64) {
        // Whoever writes the file writes any number.
        self.verified.lost = self.verified.lost.saturating_add(records);
        let lost = if records == 1 { "1 record was".to_owned() } else { format!("{records} records were") };
        self.verified.warnings.push(format!(
            "before {spot} {lost} lost: the disk took none, and memory was full (make room, or raise [audit] keep_records)"
        ));
    }

    /// Times do not rise everywhere: a line's may lie outside of those before it on either side.
    fn widen(&mut self, time: String) {
        match &mut self.verified.between {
            Some((least, _)) if time < *least => *least = time,
            Some((_, greatest)) if time > *greatest => *greatest = time,
            Some(_) => {}
            None => self.verified.between = Some((time.clone(), time)),
        }
    }

    /// Takes what was learnt over all lines into what the log is said to hold.
    pub(super) fn sum_up(&mut self) {
        let (verified, signatures) = (&mut self.verified, &self.signatures);
        verified.warnings.extend(signatures.not_compared());
        verified.warnings.extend(self.falls.told());
        verified.warnings.extend((verified.dry > 0).then(|| {
            let parts = print::counted(verified.parts, "part record");
            format!("{} of {parts} are of dry runs: no output was driven, whatever fates they tell of", verified.dry)
        }));
        verified.endless |= self.newest.is_endless();
        verified.checkpoints = signatures.count;
        verified.keys = signatures.keys.clone();
        verified.signed = signatures.newest.as_ref().map(|newest| newest.checkpoint.clone());
        if signatures.count > 0 {
            let end = signatures.unsigned_end(self.link.seq());
            let ranges = signatures.adopted.iter().cloned().chain(Some(end));
            verified.unsigned = ranges.filter(|records| !records.is_empty()).collect();
        }
    }

    /// The last run that a checkpoint signed; of a file without checkpoints the last one that is in it.
    pub(in crate::audit) fn last_run(&self) -> Option<&str> {
        let [begun, signed] = &self.runs;
        signed.as_deref().or(begun.as_deref())
    }

    /// Records at the log's beginning that are in files that are not here.
    pub(in crate::audit) fn absent(&self) -> u64 {
        self.verified.absent
    }

    /// That the line itself removed those, as a record tells, for people: where nobody looked at signatures.
    pub(in crate::audit) fn removed_by_line(&self) -> Option<String> {
        Absence::of(self, &Trust::default()).and_then(Absence::removed)
    }

    /// The records that were read.
    pub(super) fn read(&self) -> Range<u64> {
        self.absent()..self.link.seq()
    }

    /// The record that must come next, on the line of the file `path` that was read: that is it, or is unfinished, or something else.
    pub(super) fn here(&self, path: &Path) -> Spot {
        Spot { record: self.link.seq(), line: self.line, file: path.to_owned() }
    }

    /// The record that came last, once the link has moved on over its line.
    fn last(&self, path: &Path) -> Spot {
        Spot { record: self.link.seq() - 1, ..self.here(path) }
    }

    /// Why the unfinished line is hardly the beginning of a record, where nothing but that line is in the file: then it is somebody's file
    /// that was named by mistake, and nothing of it may be cut off. What a disk left of a record begins as one does, or is zeros.
    pub(in crate::audit) fn strange_tail(&self) -> Option<&'static str> {
        let is_alone = self.whole == 0 && !self.tail.is_empty() && !self.unended;
        let is_record = self.tail.starts_with(RECORD) || RECORD.starts_with(&self.tail);
        let is_blank = self.tail.iter().all(|byte| *byte == 0);
        (is_alone && !is_record && !is_blank)
            .then_some("it does not begin with {\"seq\": as a record does, and no line feed is in it")
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
