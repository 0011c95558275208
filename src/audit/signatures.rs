//! What a log's checkpoints are worth: whether they are of this log, who signed them, and what they leave out.

use std::ops::Range;

use super::chain::{Envelope, Link};
use super::checkpoint::Checkpoint;
use super::key::{Note, Verifier};
use super::kind::Kind;
use super::tree::Tree;

/// What a log is held against that does not come from the log itself.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The public key that signs the log now.
    pub key: Option<Verifier>,
    /// Public keys that signed it before.
    pub former: Vec<Verifier>,
    /// Checkpoints that were kept elsewhere: the log still holds what was signed then.
    pub kept: Vec<String>,
}

impl Trust {
    fn knows(&self, key: &Verifier) -> bool {
        self.key.is_none() || self.key.as_ref() == Some(key) || self.former.contains(key)
    }
}

/// Why a log is not believed, and what to do.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) why: String,
    pub(super) advice: &'static str,
}

const TAMPERED: &str = "keep the file as evidence: move it away, and the pictures with it, and begin a new one, with a new key and \
                        another checkpoint_copy";
const CUT: &str = "put the whole file back; if it is lost, keep this one as evidence, and the pictures with it, and begin a new one with a \
                   new key and another checkpoint_copy";
const FOREIGN: &str = "if the key was changed, name the old public key too (--former-key, [audit] former_keys); if not, \
                       somebody else signed this: keep the file as evidence";
const OTHER_LOG: &str = "give one of this log (--checkpoint, [audit] checkpoint_copy); a key signs one log. If it was taken from this very \
                         log, its first line was replaced: keep the file as evidence";
const NO_COPY: &str = "give the file that checkpoint_copy names, unchanged";

/// Follows a log line by line.
#[derive(Debug)]
pub(super) struct Signatures<'t> {
    trust: &'t Trust,
    /// The checkpoints that were kept, until the log was seen to hold them.
    kept: Vec<Checkpoint>,
    /// Those that were kept and stand in files that are not here.
    elsewhere: Vec<Checkpoint>,
    /// The key of the run at this place.
    run: Option<Verifier>,
    /// Keys that were in use before another one was. Whoever steals one must not sign any more.
    retired: Vec<Verifier>,
    /// Whether the newest run keeps a copy of its checkpoints.
    pub(super) keeps_copy: bool,
    /// Checkpoints so far.
    pub(super) count: u64,
    pub(super) newest: Option<Signed>,
    /// Lines that a run found and continued, though nobody had signed them.
    pub(super) adopted: Vec<Range<u64>>,
    /// Up to here lines are signed, or are known to be adopted, or are in files that are not here.
    settled: u64,
    /// Lines of the log in files that are not here.
    absent: u64,
    /// When the newest checkpoint of the run was made, or its start (monotonic).
    latest_ns: u64,
}

/// A checkpoint, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) checkpoint: Checkpoint,
    pub(super) note: String,
    key: Verifier,
}

impl<'t> Signatures<'t> {
    /// Of a log whose first `absent` lines are in files that are not here.
    pub(super) fn new(trust: &'t Trust, absent: u64) -> Result<Self, Doubt> {
        let kept = trust.kept.iter().map(|note| kept(note, trust)).collect::<Result<Vec<_>, _>>()?;
        // A checkpoint's own line comes after those that it signs.
        let (elsewhere, kept) = kept.into_iter().partition(|kept| kept.size < absent);
        Ok(Signatures {
            trust,
            kept,
            elsewhere,
            run: None,
            retired: Vec::new(),
            keeps_copy: false,
            count: 0,
            newest: None,
            adopted: Vec::new(),
            settled: absent,
            absent,
            latest_ns: 0,
        })
    }

    /// Takes note of a line, which comes after those of `link`.
    pub(super) fn follow(&mut self, link: &Link, line: &Envelope) -> Result<(), Doubt> {
        let before = link.tree();
        let doubt = |why: &str, advice| Doubt { why: format!("line {} {why}", before.size() + 1), advice };
        while let Some(place) = self.kept.iter().position(|kept| kept.size == before.size()) {
            let kept = self.kept.swap_remove(place);
            is_of_log(&kept, link)?;
            if kept.root != before.root() || line.kind != Some(Kind::Checkpoint) {
                return Err(doubt(
                    "is not the checkpoint that was kept, or does not follow the lines that it signs",
                    TAMPERED,
                ));
            }
        }
        match (line.kind, &line.note) {
            (Some(Kind::Start), None) => self.start(before, line),
            (Some(Kind::Continued), None) => self.continued(before, line),
            (Some(Kind::Checkpoint), Some(note)) => self.checkpoint(link, line, note),
            (Some(Kind::Checkpoint), None) => Err(doubt("is a checkpoint without a note", TAMPERED)),
            (_, Some(_)) => Err(doubt("holds a note, and is no checkpoint", TAMPERED)),
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
        self.latest_ns = line.monotonic_ns;
        let place = before.size() + 1;
        let key = line.key.as_deref().map(str::parse::<Verifier>).transpose();
        let key = key
            .map_err(|why| Doubt { why: format!("line {place} names a key that is none: {why}"), advice: TAMPERED })?;
        let Some(key) = key else {
            self.run = None;
            return Ok(());
        };
        if !self.trust.knows(&key) {
            let why = format!("line {place} begins a run that another key signs: {key}");
            return Err(Doubt { why, advice: FOREIGN });
        }
        if self.retired.contains(&key) {
            let why = format!("line {place} begins a run that a key signs which was replaced before: {key}");
            return Err(Doubt { why, advice: TAMPERED });
        }
        let last = self.run.take().or_else(|| self.newest.as_ref().map(|newest| newest.key.clone()));
        self.retired.extend(last.filter(|last| *last != key));
        self.run = Some(key);
        Ok(())
    }

    /// A file begins in the middle of a run, whose key it names again. Who reads it alone knows nothing of what was signed
    /// before, which its first checkpoint signs again.
    fn continued(&mut self, before: &Tree, line: &Envelope) -> Result<(), Doubt> {
        let key = line.key.as_deref().map(str::parse::<Verifier>).transpose();
        let doubt = |why: String, advice| Doubt { why: format!("line {} {why}", before.size() + 1), advice };
        let key = key.map_err(|why| doubt(format!("names a key that is none: {why}"), TAMPERED))?;
        if self.absent > 0 && before.size() == self.absent {
            self.keeps_copy = line.checkpoint_copy.unwrap_or_default();
            if let Some(key) = key.as_ref().filter(|key| !self.trust.knows(key)) {
                return Err(doubt(format!("is of a run that another key signs: {key}"), FOREIGN));
            }
            self.run = key;
            return Ok(());
        }
        match self.run == key {
            true => Ok(()),
            false => Err(doubt("names another key than its run began with".into(), TAMPERED)),
        }
    }

    /// Lines of the oldest checkpoint that was kept, until the log was seen to hold it.
    pub(super) fn kept_size(&self) -> Option<u64> {
        self.kept.iter().map(|kept| kept.size).min()
    }

    fn checkpoint(&mut self, link: &Link, line: &Envelope, text: &str) -> Result<(), Doubt> {
        let before = link.tree();
        let doubt = |why: &str, advice| Doubt { why: format!("line {} {why}", before.size() + 1), advice };
        let note = Note::parse(text).ok_or_else(|| doubt("is not a signed note", TAMPERED))?;
        let checkpoint = Checkpoint::of(&note).ok_or_else(|| doubt("is not a checkpoint", TAMPERED))?;
        let by_run = |key: &&Verifier| key.name() == checkpoint.origin && key.signed(&note);
        let Some(key) = self.run.as_ref().filter(by_run) else {
            return Err(doubt("is a checkpoint that the key of its run did not sign", TAMPERED));
        };
        if checkpoint.log.zip(link.log()).is_some_and(|(signed, log)| signed != log) {
            return Err(doubt("is a checkpoint of another log, or the first line of this one was replaced", TAMPERED));
        }
        if !note.is_signed_once() {
            return Err(doubt("is a checkpoint with signatures that no run makes", TAMPERED));
        }
        let is_time_signed = checkpoint.made.as_ref().map(|made| {
            (made.time.as_str(), made.monotonic_ns, Some(made.synchronised))
                == (line.time.as_str(), line.monotonic_ns, line.synchronised)
        });
        // What an older program signed says no time: that one comes after the other is all that is known.
        if !is_time_signed.unwrap_or(line.monotonic_ns >= self.latest_ns) {
            return Err(doubt("is a checkpoint that says another time than was signed", TAMPERED));
        }
        self.latest_ns = line.monotonic_ns;
        if checkpoint.size != before.size() || checkpoint.root != before.root() {
            let from = self.newest.as_ref().map_or(1, |newest| newest.checkpoint.size + 1);
            return Err(Doubt {
                why: format!(
                    "line {} is a checkpoint of other lines than those before it: of lines {from} to {} some were changed, \
                     removed or put in",
                    before.size() + 1,
                    before.size()
                ),
                advice: TAMPERED,
            });
        }
        self.count += 1;
        self.newest = Some(Signed { checkpoint, note: text.to_owned(), key: key.clone() });
        self.settled = before.size() + 1;
        Ok(())
    }

    /// Whether the log still holds what was kept when it ends with `link`.
    pub(super) fn end(&self, link: &Link) -> Result<(), Doubt> {
        self.elsewhere.iter().try_for_each(|kept| is_of_log(kept, link))?;
        let Some(kept) = self.kept.first() else { return Ok(()) };
        is_of_log(kept, link)?;
        Err(Doubt {
            why: format!(
                "it has {} lines, and had {} with the checkpoint that was kept: its end was removed",
                link.seq(),
                kept.size + 1
            ),
            advice: CUT,
        })
    }

    /// What is to be said of the checkpoints that were kept and cannot be held against what is here.
    pub(super) fn not_compared(&self) -> Option<String> {
        let newest = self.elsewhere.iter().map(|kept| kept.size).max()?;
        Some(format!(
            "a checkpoint that was kept, of {newest} lines, stands in files that are not here: it says nothing of the lines that are"
        ))
    }

    /// Whether the key that signs now signed the newest checkpoint.
    pub(super) fn is_of_key(&self) -> Result<(), Doubt> {
        let Some(key) = &self.trust.key else { return Ok(()) };
        match &self.newest {
            Some(newest) if newest.key == *key => Ok(()),
            Some(newest) => Err(Doubt {
                why: format!("its newest checkpoint is signed by a former key: {}", newest.key),
                advice: "if that key signs the log now, give it as --key",
            }),
            None => Err(Doubt { why: "nothing in it is signed".into(), advice: TAMPERED }),
        }
    }

    /// Lines at the end of a log of `size` lines that nobody has signed yet.
    pub(super) fn unsigned_end(&self, size: u64) -> Range<u64> {
        self.settled..size
    }
}

/// A checkpoint of another log says nothing of this one.
fn is_of_log(kept: &Checkpoint, link: &Link) -> Result<(), Doubt> {
    match kept.log.zip(link.log()).is_none_or(|(kept, log)| kept == log) {
        true => Ok(()),
        false => {
            let why = format!(
                "the checkpoint that was kept, of {} lines, is of another log of {}: that begins with another line",
                kept.size, kept.origin
            );
            Err(Doubt { why, advice: OTHER_LOG })
        }
    }
}

fn kept(note: &str, trust: &Trust) -> Result<Checkpoint, Doubt> {
    let doubt = |why: &str| Doubt { why: format!("the checkpoint that was kept {why}"), advice: NO_COPY };
    // Many a tool that keeps a text gives it back with a line feed more.
    let note = format!("{}\n", note.trim_end_matches(['\r', '\n']));
    let note = Note::parse(&note).ok_or_else(|| doubt("is not a signed note"))?;
    let checkpoint = Checkpoint::of(&note).ok_or_else(|| doubt("is not a checkpoint"))?;
    let mut keys = trust.key.iter().chain(&trust.former);
    let is_signed = trust.key.is_none() || keys.any(|key| key.name() == checkpoint.origin && key.signed(&note));
    is_signed.then_some(checkpoint).ok_or_else(|| doubt("is not signed by a key that was given"))
}
