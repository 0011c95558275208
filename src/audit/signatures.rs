//! What a log's checkpoints are worth: whether they are of this log, who signed them, and what they leave out.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::chain::{Envelope, Link};
use super::checkpoint::Checkpoint;
use super::harmless::{self, Undone};
use super::key::{Note, Verifier};
use super::kind::Kind;
use super::spot;
use super::tree::Tree;
use crate::print::counted;
use crate::{Error, Result, regular};

/// Bytes of a checkpoint that is kept, at most.
const LONGEST: u64 = 1 << 20;

/// What a log is held against that does not come from the log itself.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The public key that signs the log now.
    pub key: Option<Verifier>,
    /// Public keys that signed it before.
    pub former: Vec<Verifier>,
    /// Checkpoints that were kept elsewhere: the log still holds what was signed then.
    pub kept: Vec<Kept>,
}

/// What was kept elsewhere as a checkpoint, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    bytes: Vec<u8>,
    file: Option<PathBuf>,
}

impl Kept {
    /// Reads the file that keeps it.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read(file: &Path) -> std::io::Result<Self> {
        Ok(Kept { bytes: std::fs::read(file)?, file: Some(file.to_owned()) })
    }

    /// The same of the file that a configuration names: no pipe there is waited for.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is no file.
    pub(super) fn copy(file: &Path) -> std::io::Result<Self> {
        Ok(Kept { bytes: regular::read(file, LONGEST)?, file: Some(file.to_owned()) })
    }

    /// The command that undoes in its file what means no harm; `None` where there is nothing of it.
    pub(super) fn command(&self) -> Option<String> {
        let undone = Undone::default();
        harmless::undo_text(&self.bytes, &undone)?;
        undone.command(self.file.as_deref()?)
    }

    /// For people.
    fn told(&self) -> String {
        let file = self.file.as_ref().map_or_else(String::new, |file| format!(" in {}", file.display()));
        format!("the checkpoint that was kept{file}")
    }
}

impl From<String> for Kept {
    fn from(note: String) -> Self {
        Kept { bytes: note.into_bytes(), file: None }
    }
}

impl Trust {
    fn knows(&self, key: &Verifier) -> bool {
        self.key.is_none() || self.key.as_ref() == Some(key) || self.former.contains(key)
    }
}

/// Why a log is not believed, and what to do.
#[derive(Debug)]
pub(super) struct Doubt {
    /// Of a record: what it is, or does.
    pub(super) why: String,
    pub(super) advice: Cow<'static, str>,
    /// Whether it is about the record that was looked at, and not about the whole log.
    pub(super) is_of_record: bool,
}

impl Doubt {
    fn of_record(why: impl Into<String>, advice: impl Into<Cow<'static, str>>) -> Self {
        Doubt { why: why.into(), advice: advice.into(), is_of_record: true }
    }

    fn of_log(why: impl Into<String>, advice: impl Into<Cow<'static, str>>) -> Self {
        Doubt { why: why.into(), advice: advice.into(), is_of_record: false }
    }
}

const TAMPERED: &str = "put the file back from a copy that is whole, and find out who or what changed this one; if there is none, keep it as \
                        evidence: move it away, and the pictures with it, and begin a new one, with a new key and another checkpoint_copy";
/// Why a checkpoint that was kept and a log that does not hold it accuse neither, without a key.
const UNDECIDED: &str =
    "the log was changed, or that checkpoint, and without a key neither is to be believed more than the other";
const ASK_FOR_KEY: &str =
    "give the public key of the line with --key: then it is known whether the checkpoint is what was signed";
const CUT: &str = "put the whole file back; if it is lost, keep this one as evidence, and the pictures with it, and begin a new one with a \
                   new key and another checkpoint_copy";
const OTHER_LOG: &str = "give one of this log (--checkpoint, [audit] checkpoint_copy); a key signs one log. If it was taken from this very \
                         log, its first line was replaced: keep the file as evidence";
const NO_COPY: &str =
    "give the file that checkpoint_copy names, or what the witness kept, byte for byte as it was written";
const NEW_LOG: &str = "a copy is one log's: for a new log name another checkpoint_copy, and a new key, or move the old copy away with the \
                       log that it is of; if the log was here before, put it back";
const UNSIGNED: &str = "if the line's configuration names no key ([audit] key), check it without --key: nothing but the chain stands for \
                        it; if it names one, keep the file as evidence: move it away, and the pictures with it, and begin a new one, with \
                        a new key and another checkpoint_copy";
const FIRST_MOMENT: &str = "if this line was killed or lost its power as soon as it began, start it again: the next run goes on in this log, \
                            and signs it. If there was more in it, put the file back from a copy that is whole; if there is none, keep it as \
                            evidence: move it away, and the pictures with it, and begin a new one, with a new key";
const NOT_YET: &str = "wait for the next checkpoint, which a run makes every minute and at its end, and check again; of a run that was \
                       killed before it, the next run signs what follows. If older files of the log were carried away, bring the newest \
                       of them back beside it: it ends with a checkpoint. If there was a checkpoint in this file, it was removed: keep it as \
                       evidence";

/// Follows a log line by line.
#[derive(Debug)]
pub(super) struct Signatures<'t> {
    trust: &'t Trust,
    /// The checkpoints that were kept, until the log was seen to hold them.
    kept: Vec<Claim>,
    /// Those that were kept and stand in files that are not here.
    elsewhere: Vec<Claim>,
    /// The key of the run at this place.
    run: Option<Verifier>,
    /// Keys that were in use before another one was. Whoever steals one must not sign any more.
    retired: Vec<Verifier>,
    /// Whether the newest run keeps a copy of its checkpoints.
    pub(super) keeps_copy: bool,
    /// Checkpoints so far.
    pub(super) count: u64,
    /// Those of the run that was read last, and of the run that has most.
    in_run: u64,
    most_in_a_run: u64,
    pub(super) newest: Option<Signed>,
    /// What each key was the first to sign, in the order of the log.
    pub(super) keys: Vec<SignedBy>,
    /// What was seen of the end of the run at this place.
    end: RunEnd,
    /// Lines that a run found and continued, though nobody had signed them.
    pub(super) adopted: Vec<Range<u64>>,
    /// Up to here lines are signed, or are known to be adopted, or are in files that are not here.
    settled: u64,
    /// Lines of the log in files that are not here.
    absent: u64,
    /// When the newest checkpoint of the run was made, or its start (monotonic).
    latest_ns: u64,
}

/// How far a run is at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunEnd {
    /// It goes on.
    None,
    /// Its `stop` is there.
    Stopped,
    /// And a checkpoint of its own signs that: it writes nothing more.
    Signed,
    /// This record stands behind that. An older program could write down something in the moment in which it closed its log, and signed it too.
    Behind(u64),
}

impl RunEnd {
    /// After the next line.
    fn then(self, line: &Envelope) -> Result<Self, Doubt> {
        match (self, line.kind) {
            (RunEnd::Behind(record), Some(Kind::Start)) => Err(put_in_behind_end(record)),
            (_, Some(Kind::Start)) => Ok(RunEnd::None),
            (RunEnd::None, Some(Kind::Stop)) => Ok(RunEnd::Stopped),
            (RunEnd::Stopped | RunEnd::Behind(_), Some(Kind::Checkpoint)) => Ok(RunEnd::Signed),
            // The next run puts the first two before its start where it repairs the end; the last one stands where records were lost, whenever
            // there is room for it.
            (_, Some(Kind::Repaired | Kind::Note | Kind::Lost)) => Ok(self),
            (RunEnd::Signed, kind) if kind != Some(Kind::Checkpoint) => Ok(RunEnd::Behind(line.seq)),
            _ => Ok(self),
        }
    }
}

fn put_in_behind_end(record: u64) -> Doubt {
    let why = format!(
        "record {record} stands behind the end of a run, which had signed its stop and writes nothing more: it was put in, or the start of the \
         next run was removed"
    );
    Doubt::of_log(why, TAMPERED)
}

/// What a checkpoint that was kept says of the log.
#[derive(Debug)]
struct Claim {
    checkpoint: Checkpoint,
    /// What keeps it, for people.
    told: String,
}

/// What a key was the first to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// The key's name and id.
    pub key: String,
    /// The records, counted from 0; a later key's checkpoints sign them again.
    pub records: Range<u64>,
    /// Its checkpoints.
    pub checkpoints: u64,
}

/// A checkpoint, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) checkpoint: Checkpoint,
    pub(super) note: String,
    key: Verifier,
}

impl<'t> Signatures<'t> {
    /// Of a log whose first `absent` lines are in files that are not here. `undone`: what means no harm is undone to the checkpoints that
    /// were kept.
    ///
    /// # Errors
    ///
    /// What was kept is no checkpoint, or no key signed it that was given.
    pub(super) fn new(trust: &'t Trust, absent: u64, undone: Option<&Rc<Undone>>) -> Result<Self> {
        let claims = trust.kept.iter().map(|kept| claim(kept, trust, undone)).collect::<Result<Vec<_>>>()?;
        // A checkpoint's own line comes after those that it signs.
        let (elsewhere, kept) = claims.into_iter().partition(|claim| claim.checkpoint.size < absent);
        Ok(Signatures {
            trust,
            kept,
            elsewhere,
            run: None,
            retired: Vec::new(),
            keeps_copy: false,
            count: 0,
            in_run: 0,
            most_in_a_run: 0,
            newest: None,
            keys: Vec::new(),
            end: RunEnd::None,
            adopted: Vec::new(),
            settled: absent,
            absent,
            latest_ns: 0,
        })
    }

    /// Takes note of a line, which comes after those of `link`.
    pub(super) fn follow(&mut self, link: &Link, line: &Envelope) -> Result<(), Doubt> {
        let before = link.tree();
        while let Some(place) = self.kept.iter().position(|claim| claim.checkpoint.size == before.size()) {
            let kept = self.kept.swap_remove(place);
            is_of_log(&kept, link)?;
            if kept.checkpoint.root != before.root() || line.kind != Some(Kind::Checkpoint) {
                let why = match line.kind {
                    Some(Kind::Checkpoint) => {
                        let from = self.newest.as_ref().map_or(self.absent, |newest| newest.checkpoint.size);
                        let records = spot::records(&(from..before.size()));
                        format!("is not {}: of {records} some were changed, removed or put in", kept.told)
                    }
                    _ => format!("stands where {} was", kept.told),
                };
                return Err(match self.trust.key {
                    Some(_) => Doubt::of_record(why, TAMPERED),
                    None => Doubt::of_record(format!("{why}: {UNDECIDED}"), ASK_FOR_KEY),
                });
            }
        }
        self.end = self.end.then(line)?;
        match (line.kind, &line.note) {
            (Some(Kind::Start), None) => self.start(before, line),
            (Some(Kind::Continued), None) => self.continued(before, line),
            (Some(Kind::Checkpoint), Some(note)) => self.checkpoint(link, line, note),
            (Some(Kind::Checkpoint), None) => Err(Doubt::of_record("is a checkpoint without a note", TAMPERED)),
            (_, Some(_)) => Err(Doubt::of_record("holds a note, and is no checkpoint", TAMPERED)),
            (_, None) => Ok(()),
        }
    }

    fn start(&mut self, before: &Tree, line: &Envelope) -> Result<(), Doubt> {
        if self.settled < before.size() {
            match self.adopted.last_mut().filter(|last| last.end == self.settled) {
                Some(last) => last.end = before.size(),
                None => self.adopted.push(self.settled..before.size()),
            }
            self.settled = before.size();
        }
        self.keeps_copy = line.checkpoint_copy.unwrap_or_default();
        self.in_run = 0;
        self.latest_ns = line.monotonic_ns;
        let Some(key) = key_of(line)? else {
            self.run = None;
            return Ok(());
        };
        if !self.trust.knows(&key) {
            return Err(Doubt::of_record(
                format!("begins a run that another key signs: {key}"),
                not_given(&key.label()),
            ));
        }
        if self.retired.contains(&key) {
            let why = format!("begins a run that a key signs which was replaced before: {key}");
            return Err(Doubt::of_record(why, TAMPERED));
        }
        let last = self.run.take().or_else(|| self.newest.as_ref().map(|newest| newest.key.clone()));
        self.retired.extend(last.filter(|last| *last != key));
        self.run = Some(key);
        Ok(())
    }

    /// A file begins in the middle of a run, whose key it names again. Who reads it alone knows nothing of what was signed
    /// before, which its first checkpoint signs again.
    fn continued(&mut self, before: &Tree, line: &Envelope) -> Result<(), Doubt> {
        let key = key_of(line)?;
        if self.absent > 0 && before.size() == self.absent {
            self.keeps_copy = line.checkpoint_copy.unwrap_or_default();
            if let Some(key) = key.as_ref().filter(|key| !self.trust.knows(key)) {
                let why = format!("is of a run that another key signs: {key}");
                return Err(Doubt::of_record(why, not_given(&key.label())));
            }
            self.run = key;
            return Ok(());
        }
        match self.run == key {
            true => Ok(()),
            false => Err(Doubt::of_record("names another key than its run began with", TAMPERED)),
        }
    }

    /// Whether the log may be that of a line whose runs all ended before their first checkpoint was copied: none has another one.
    pub(super) fn may_lack_copy(&self) -> bool {
        self.absent == 0 && self.most_in_a_run <= 1
    }

    /// Lines of the oldest checkpoint that was kept, until the log was seen to hold it.
    pub(super) fn kept_size(&self) -> Option<u64> {
        self.kept.iter().map(|claim| claim.checkpoint.size).min()
    }

    fn checkpoint(&mut self, link: &Link, line: &Envelope, text: &str) -> Result<(), Doubt> {
        let before = link.tree();
        let doubt = |why: &str| Doubt::of_record(why, TAMPERED);
        let note = Note::parse(text).ok_or_else(|| doubt("is not a signed note"))?;
        let checkpoint = Checkpoint::of(&note).ok_or_else(|| doubt("is not a checkpoint"))?;
        let by_run = |key: &&Verifier| key.name() == checkpoint.origin && key.signed(&note);
        let Some(key) = self.run.as_ref().filter(by_run) else {
            return Err(doubt("is a checkpoint that the key of its run did not sign"));
        };
        if checkpoint.log.zip(link.log()).is_some_and(|(signed, log)| signed != log) {
            return Err(doubt("is a checkpoint of another log, or the first record of this one was replaced"));
        }
        if !note.is_signed_once() {
            return Err(doubt("is a checkpoint with signatures that no run makes"));
        }
        let is_time_signed = checkpoint.made.as_ref().map(|made| {
            (made.time.as_str(), made.monotonic_ns, Some(made.synchronised))
                == (line.time.as_str(), line.monotonic_ns, line.synchronised)
        });
        // What an older program signed says no time: that one comes after the other is all that is known.
        if !is_time_signed.unwrap_or(line.monotonic_ns >= self.latest_ns) {
            return Err(doubt("is a checkpoint that says another time than was signed"));
        }
        self.latest_ns = line.monotonic_ns;
        if checkpoint.size != before.size() || checkpoint.root != before.root() {
            let from = self.newest.as_ref().map_or(self.absent, |newest| newest.checkpoint.size);
            return Err(doubt(&format!(
                "is a checkpoint of other records than those before it: of {} some were changed, removed or put in",
                spot::records(&(from..before.size()))
            )));
        }
        self.count += 1;
        self.in_run += 1;
        self.most_in_a_run = self.most_in_a_run.max(self.in_run);
        let (label, size) = (key.label(), checkpoint.size);
        match self.keys.last_mut() {
            Some(last) if last.key == label => (last.records.end, last.checkpoints) = (size, last.checkpoints + 1),
            last => {
                let records = last.map_or(self.absent, |last| last.records.end)..size;
                self.keys.push(SignedBy { key: label, records, checkpoints: 1 });
            }
        }
        self.newest = Some(Signed { checkpoint, note: text.to_owned(), key: key.clone() });
        self.settled = before.size() + 1;
        Ok(())
    }

    /// Whether the log still holds what was kept when it ends with `link`.
    pub(super) fn end(&self, link: &Link) -> Result<(), Doubt> {
        if let RunEnd::Behind(record) = self.end {
            return Err(put_in_behind_end(record));
        }
        self.elsewhere.iter().try_for_each(|kept| is_of_log(kept, link))?;
        let Some(kept) = self.kept.first() else { return Ok(()) };
        is_of_log(kept, link)?;
        let (size, told) = (kept.checkpoint.size, &kept.told);
        Err(match link.seq() {
            // Which log it is stands in its first record.
            0 => Doubt::of_log(
                format!(
                    "it holds no whole record, and {told} is of a log of {}: of another one, or all of this one was removed",
                    counted(size, "record")
                ),
                NEW_LOG,
            ),
            lines if self.trust.key.is_none() => {
                let why = format!(
                    "it has {}, and had {} with {told}, if that is as it was written",
                    counted(lines, "record"),
                    size + 1
                );
                Doubt::of_log(format!("{why}: {UNDECIDED}"), ASK_FOR_KEY)
            }
            lines => Doubt::of_log(
                format!(
                    "it has {}, and had {} with {told}: its end was removed, or an older backup was put in its place",
                    counted(lines, "record"),
                    size + 1
                ),
                CUT,
            ),
        })
    }

    /// What is to be said of the checkpoints that were kept and cannot be held against what is here.
    pub(super) fn not_compared(&self) -> Option<String> {
        let newest = self.elsewhere.iter().map(|claim| claim.checkpoint.size).max()?;
        Some(format!(
            "a checkpoint that was kept, of {}, stands in files that are not here: it says nothing of the records that are; keep a newer one \
             too",
            counted(newest, "record")
        ))
    }

    /// Whether the key that signs now signed the newest checkpoint.
    pub(super) fn is_of_key(&self) -> Result<(), Doubt> {
        let Some(key) = &self.trust.key else { return Ok(()) };
        match &self.newest {
            Some(newest) if newest.key == *key => Ok(()),
            Some(newest) => Err(Doubt::of_log(
                format!("its newest checkpoint is signed by a former key: {}", newest.key),
                "if that key signs the log now, give it as --key",
            )),
            None => Err(self.nothing_signed()),
        }
    }

    /// Why no checkpoint is in it, as far as its last run tells that.
    fn nothing_signed(&self) -> Doubt {
        match (&self.run, self.absent) {
            (None, _) => Doubt::of_log("nothing in it is signed, and its last run says that it has no key", UNSIGNED),
            (Some(key), 0) => Doubt::of_log(
                format!(
                    "nothing in it is signed, though its last run is signed by {} from its start on: it was killed in its first \
                     moment, or checkpoints were removed",
                    key.label()
                ),
                FIRST_MOMENT,
            ),
            (Some(key), _) => Doubt::of_log(
                format!("nothing of what is here is signed yet: its first record says that {} signs it", key.label()),
                NOT_YET,
            ),
        }
    }

    /// Lines at the end of a log of `size` lines that nobody has signed yet.
    pub(super) fn unsigned_end(&self, size: u64) -> Range<u64> {
        self.settled..size
    }
}

/// The key that a run's record says signs it.
fn key_of(line: &Envelope) -> Result<Option<Verifier>, Doubt> {
    let key = line.key.as_deref().map(str::parse::<Verifier>).transpose();
    key.map_err(|why| Doubt::of_record(format!("names a key that is none: {why}"), TAMPERED))
}

/// What to do about a signature by a key that was not given.
fn not_given(key: &str) -> String {
    format!(
        "give that key too: the public key file that begins with {key}+, as --key if it signs the log now, as --former-key \
         ([audit] former_keys) if it did before the key was changed; if it was never this line's, somebody else signed this: keep the \
         file as evidence"
    )
}

/// A checkpoint of another log says nothing of this one.
fn is_of_log(Claim { checkpoint, told }: &Claim, link: &Link) -> Result<(), Doubt> {
    match checkpoint.log.zip(link.log()).is_none_or(|(kept, log)| kept == log) {
        true => Ok(()),
        false => {
            let Checkpoint { size, origin, .. } = checkpoint;
            let why = format!(
                "{told}, of {}, is of another log of {origin}: that begins with another record",
                counted(*size, "record")
            );
            Err(Doubt::of_log(why, OTHER_LOG))
        }
    }
}

/// What `kept` says, if a key signed it that was given, or none was.
fn claim(kept: &Kept, trust: &Trust, undone: Option<&Rc<Undone>>) -> Result<Claim> {
    let told = kept.told();
    let refused = |why: String, advice: String| {
        Error::usage(format!("{told} {why}")).advise(advice).of_key("audit.checkpoint_copy")
    };
    let text = match undone {
        None => String::from_utf8(kept.bytes.clone()).ok(),
        Some(undone) => harmless::undo_text(&kept.bytes, undone),
    };
    // Many a tool that keeps a text gives it back with a line feed more.
    let text = text.map(|text| format!("{}\n", text.trim_end_matches(['\r', '\n'])));
    let note = text.as_deref().and_then(Note::parse);
    let note = note.ok_or_else(|| refused("is not a signed note".into(), NO_COPY.into()))?;
    let checkpoint = Checkpoint::of(&note).ok_or_else(|| refused("is not a checkpoint".into(), NO_COPY.into()))?;
    let mut given = trust.key.iter().chain(&trust.former);
    let is_signed = |key: &Verifier| key.name() == checkpoint.origin && key.signed(&note);
    if trust.key.is_none() || given.clone().any(is_signed) {
        return Ok(Claim { checkpoint, told });
    }
    let own = note.signers().find(|signer| signer.starts_with(&format!("{}+", checkpoint.origin)));
    let Some(signer) = own.filter(|signer| given.all(|key| key.label() != *signer)) else {
        return Err(refused("is not what a key that was given signed: it was changed".into(), NO_COPY.into()));
    };
    Err(refused(format!("is signed by a key that was not given: {signer}"), not_given(&signer)))
}
