//! What a log's checkpoints are worth: whether they are of this log, and who signed them.

use jiff::{SignedDuration, Timestamp};

use super::checkpoint::Checkpoint;
use super::key::{Note, Verifier};
use super::tree::Tree;

/// What a log is held against that does not come from the log itself.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Public keys. Where there are any, all checkpoints must be signed by one of them, and cover all but the last lines.
    pub keys: Vec<Verifier>,
    /// A checkpoint that was kept elsewhere: the log still begins with what was signed then.
    pub kept: Option<String>,
}

/// A log that is signed at least every minute has no more than this at its end that is not.
const LONGEST_UNSIGNED: SignedDuration = SignedDuration::from_secs(120);

/// Follows a log line by line.
#[derive(Debug)]
pub(super) struct Signatures<'t> {
    keys: &'t [Verifier],
    /// The checkpoint that was kept, until the log was seen to hold it.
    kept: Option<(Checkpoint, &'t str)>,
    /// Checkpoints so far.
    pub(super) count: u64,
    /// The newest one.
    pub(super) newest: Option<Checkpoint>,
    /// The wall time of the first line that no checkpoint covers.
    unsigned_since: Option<String>,
}

impl<'t> Signatures<'t> {
    /// # Errors
    ///
    /// The kept checkpoint is none, or is not signed by a key that is trusted.
    pub(super) fn new(trust: &'t Trust) -> Result<Self, String> {
        let kept = trust.kept.as_deref().map(|note| Ok((signed(note, &trust.keys)?, note))).transpose();
        let kept = kept.map_err(|why: String| format!("the checkpoint that was kept {why}"))?;
        Ok(Signatures { keys: &trust.keys, kept, count: 0, newest: None, unsigned_since: None })
    }

    /// Takes note of a line that was written at `time`; `before` is the tree over the lines before it, `note` the line's
    /// checkpoint.
    pub(super) fn follow(&mut self, before: &Tree, note: Option<&str>, time: &str) -> Result<(), String> {
        self.hold_against_kept(before, note)?;
        let Some(note) = note else {
            self.unsigned_since.get_or_insert_with(|| time.to_owned());
            return Ok(());
        };
        let checkpoint = signed(note, self.keys)?;
        if checkpoint.size != before.size() || checkpoint.root != before.root() {
            let from = self.newest.as_ref().map_or(1, |newest| newest.size + 1);
            return Err(format!(
                "is a checkpoint of other lines than those before it: of lines {from} to {} some were changed, removed or \
                 put in",
                before.size()
            ));
        }
        self.count += 1;
        self.newest = Some(checkpoint);
        self.unsigned_since = None;
        Ok(())
    }

    /// Whether the log still holds all that was signed when it ends with `tree`.
    pub(super) fn end(&self, tree: &Tree) -> Result<(), String> {
        match &self.kept {
            None => Ok(()),
            Some((kept, _)) => Err(format!(
                "it has {} lines, and had {} with the checkpoint that was kept: its end was removed",
                tree.size(),
                kept.size + 1
            )),
        }
    }

    /// Whether as much of the log is signed as is while it is written with a key; `last` is the time of its last line.
    pub(super) fn cover(&self, last: Option<&str>) -> Result<(), String> {
        if self.keys.is_empty() {
            return Ok(());
        }
        if self.newest.is_none() {
            return Err("nothing in it is signed".into());
        }
        let since = self.unsigned_since.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
        let last = last.and_then(|time| time.parse::<Timestamp>().ok());
        match (since, last) {
            (Some(since), Some(last)) if last.duration_since(since) > LONGEST_UNSIGNED => Err(format!(
                "its last lines, since {since}, are not signed, and a log is signed every minute while it is written"
            )),
            _ => Ok(()),
        }
    }

    /// A checkpoint is published when its record is on disk, behind the lines that it signs.
    fn hold_against_kept(&mut self, before: &Tree, note: Option<&str>) -> Result<(), String> {
        let Some((kept, text)) = self.kept.take_if(|(kept, _)| kept.size == before.size()) else { return Ok(()) };
        match kept.root == before.root() && note == Some(text) {
            true => Ok(()),
            false => Err("is not the checkpoint that was kept, or does not follow the lines that it signs".into()),
        }
    }
}

/// The checkpoint in `note`, by one of `keys` if there are any.
fn signed(note: &str, keys: &[Verifier]) -> Result<Checkpoint, String> {
    let note = Note::parse(note).ok_or("is not a signed note")?;
    let checkpoint = Checkpoint::of(&note).ok_or("is not a checkpoint")?;
    let by = |key: &&Verifier| key.name() == checkpoint.origin && key.signed(&note);
    if !keys.is_empty() && keys.iter().find(by).is_none() {
        return Err(format!("says that {} signed it, and is not signed by a key that was given", checkpoint.origin));
    }
    Ok(checkpoint)
}
