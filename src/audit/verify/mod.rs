//! Whether a log is what was written, line by line.
//!
//! [`sequence`] says which files are read, [`Reading`] follows their lines, [`conclusion`] what is to be said of all of them, [`broken`] of
//! what is wrong with one, [`beginning`] of a file that does not begin as one, and [`absence`] of files at the log's beginning that are gone.

mod absence;
mod beginning;
mod broken;
mod conclusion;
mod reading;
mod sequence;
mod twins;

use std::ops::Range;
use std::path::Path;

pub(super) use self::absence::removals;
use self::broken::{as_written_before, foreign};
use self::conclusion::concluded;
pub(super) use self::reading::Reading;
#[cfg(test)]
pub(super) use self::sequence::read_listed;
pub(super) use self::sequence::{READINGS, continued, follows, is_signed, read, read_newest};
use self::sequence::{broken_newest, read_files};
use self::twins::{no_twin_differs, with_twin};
use super::checkpoint::Checkpoint;
use super::harmless::{self, Undoing};
use super::read::{files, misnamed_told, open, strangers, told_of};
use super::signatures::{Kept, SignedBy, Trust};
use super::vouched::{Samples, Unvouched};
use crate::error::ErrorKind;
use crate::{Error, Result};

/// What a whole chain holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Lines.
    pub lines: u64,
    /// Records of parts.
    pub parts: u64,
    /// Those of them that are of dry runs: no output was driven.
    pub dry: u64,
    /// Starts of the program.
    pub runs: u64,
    /// Records that found no room when they had to be written, by the `lost` records that stand for them.
    pub lost: u64,
    /// Whether a run has no stop record: what such a one could not write at its end, if there was anything, is told nowhere.
    pub endless: bool,
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
    /// That the line itself removed these, as a record tells, for people; `None` where none does, or all are here.
    pub removed: Option<String>,
    /// Those of which no record tells that, or none that counts: somebody else carried them away.
    pub unexplained: Vec<Range<u64>>,
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

///
/// # Errors
///
/// The file cannot be read, or is not what was written; the error names the line and says what happened to it.
pub fn verify(path: &Path, trust: &Trust) -> Result<Verified> {
    let verified = verify_as_it_stands(path, trust).map_err(|error| with_twin(path, error));
    let verified = verified.and_then(|verified| no_twin_differs(path).map(|()| verified));
    verified.map_err(|error| with_neighbours(path, explained(path, trust, error)))
}

/// Says of a log that is not what was written what lies beside it and bears names of it, or nearly so: what is missing may be in that.
fn with_neighbours(path: &Path, error: Error) -> Error {
    let strangers = strangers(path).ok().and_then(|strangers| told_of(&strangers));
    let misnamed = misnamed_told(path).ok().flatten();
    let told = strangers.into_iter().chain(misnamed).filter(|told| !because(&error).contains(told)).collect::<Vec<_>>();
    told.iter().fold(error, |error, told| also(error, told))
}

/// Why it is, as far as that was said.
fn because(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(String::new, ToString::to_string)
}

/// The same error, of whose cause this is to be said too.
fn also(error: Error, told: &str) -> Error {
    let why = because(&error);
    error.because(if why.is_empty() { told.to_owned() } else { format!("{why}; {told}") })
}

/// Says what [`verify`] does of a log whose newest file, read alone, is not what was written.
pub(super) fn refused(path: &Path, trust: &Trust, error: Error) -> Error {
    explained(path, trust, broken_newest(path, trust).unwrap_or(error))
}

/// Says of a log that is not what was written by which harmless cause, where that is certain: undone, every hash and signature fits.
fn explained(path: &Path, trust: &Trust, error: Error) -> Error {
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
        let cut = format!("{} is cut off: the file was truncated, or its machine lost power", reading.here(path));
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
