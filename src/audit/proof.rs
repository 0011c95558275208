//! Proofs that a line is in a signed log, which need neither the log nor this program (C2SP tlog-proof).

use std::ops::Range;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::checkpoint::{Checkpoint, base64, canonical, from_base64};
use super::key::{Note, Verifier};
use super::read;
use super::signatures::Trust;
use super::tree::{self, Tree};
use super::verify::{self, READINGS, Reading};
use crate::{Error, Result, print};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A line that is proved to be in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// The line, without its line feed.
    pub line: String,
    /// Its number in the log, from 0.
    pub index: u64,
    /// The log that it is in.
    pub checkpoint: Checkpoint,
}

/// Proves record `index` of the audit in `path` by the newest checkpoint. The proof carries the line itself as its `extra`
/// data.
///
/// # Errors
///
/// The file cannot be read, is not what was written, holds no such record, or no checkpoint after it.
pub fn prove(path: &Path, index: u64) -> Result<String> {
    // A run may close or compress a file before it is read.
    for _ in 1..READINGS {
        let listed = read::files(path)?;
        let proved = prove_as_it_stands(path, index);
        if proved.is_ok() || read::files(path)? == listed {
            return proved;
        }
    }
    prove_as_it_stands(path, index)
}

fn prove_as_it_stands(path: &Path, index: u64) -> Result<String> {
    let trust = Trust::default();
    let reading = verify::read(path, &trust)?;
    let lines = reading.link.seq();
    if index < reading.absent() {
        return Err(not_here(path, index, &reading));
    }
    if index >= lines {
        return Err(Error::usage(format!("{} has no record {index}: it has {lines}, counted from 0", path.display()))
            .advise("the number is the field `seq` of the record's line"));
    }
    let Reading { before, signatures, .. } = reading;
    if signatures.adopted.iter().any(|records| records.contains(&index)) {
        return Err(not_signed_in_time(path, index));
    }
    let Some(newest) = signatures.newest.filter(|newest| index < newest.checkpoint.size) else {
        return Err(Error::check(format!("{}: no checkpoint covers record {index}", path.display())).advise(
            "a line whose configuration names a key ([audit] key) signs every minute, at its end, and where the next run begins: prove it once that is done",
        ));
    };
    let size = newest.checkpoint.size;
    // Of records that are in files that are not here the first that is here tells as much as is needed.
    let siblings = tree::path(index, size).into_iter().map(|range| Sibling { tree: before.within(&range), range });
    let mut siblings = siblings.collect::<Vec<_>>();
    let mut proved = None;
    for (number, line) in (before.size()..size).zip(whole_lines(path)?) {
        let line = line?;
        match siblings.iter_mut().find(|sibling| sibling.range.contains(&number)) {
            Some(sibling) => sibling.tree.push(&line),
            None => proved = Some(line),
        }
    }
    let roots = siblings.iter().map(|sibling| sibling.tree.root()).collect::<Vec<_>>();
    let proved =
        proved.filter(|line| tree::root_by(&roots, tree::leaf(line), index, size) == Some(newest.checkpoint.root));
    let line = proved.ok_or_else(|| Error::check(format!("{} was changed meanwhile", path.display())))?;
    let path = roots.into_iter().map(|root| base64(root) + "\n").collect::<String>();
    Ok(format!("{HEADER}\nextra {}\nindex {index}\n{path}\n{}", BASE64.encode(line), newest.note))
}

/// A proof says that a record is what a line wrote, and of such a one its line said no more than that it found it there.
fn not_signed_in_time(path: &Path, index: u64) -> Error {
    Error::check(format!("{}: record {index} was not signed when the run after signed all", path.display()))
        .because(
            "whoever may write the file could have made or changed it until then: the run before was killed, it had no key, or the record was \
             put in behind its end",
        )
        .advise(
            "nothing can prove it to somebody who has no log; what stands for it is the chain alone, with what a witness or a copy of the log \
             kept. hgad audit verify says which records are so",
        )
}

/// What is to be said of a record that is in a file that is not here.
fn not_here(path: &Path, index: u64, reading: &Reading) -> Error {
    let first = read::files(path).ok().and_then(|files| files.first()?.path.file_name().map(ToOwned::to_owned));
    let first = print::name(first.unwrap_or_default().to_string_lossy());
    let error = Error::usage(format!("record {index} is in a file of the log before {first}, which is not here"));
    let error = match reading.removed_by_line() {
        Some(told) => error.because(told),
        None => error,
    };
    error.advise(format!(
        "copy the log into another folder, and into that, from where closed files are carried to, the file that holds the record and all between \
         that and {first}: a proof needs the files from the record's own to the newest. (Beside a log whose line removes files they would be \
         removed again)"
    ))
}

/// The leaves under one node of the audit path.
struct Sibling {
    range: Range<u64>,
    tree: Tree,
}

/// All lines of the log, of one file after the other.
fn whole_lines(path: &Path) -> Result<impl Iterator<Item = Result<Vec<u8>>>> {
    Ok(read::files(path)?.into_iter().flat_map(|file| {
        let (lines, failed) = match read::open(&file.path) {
            Ok(lines) => (Some(read::lines(lines)), None),
            Err(error) => (None, Some(Err(error))),
        };
        let lines = lines.into_iter().flatten();
        lines.map(move |line| line.map_err(|error| read::cannot_be_read(&file.path, error))).chain(failed)
    }))
}

/// Checks a proof's text against a public key.
///
/// # Errors
///
/// It is no such proof, it is not signed by `key`, or its line is not in the log that was signed.
pub fn check(proof: &str, key: &Verifier) -> Result<Proved> {
    let malformed = || {
        Error::usage("this is not a proof of an audit's line")
            .advise("give a file that `hgad audit prove` wrote, unchanged")
    };
    let (statement, note) = proof.split_once("\n\n").ok_or_else(malformed)?;
    let mut rows = statement.lines();
    let mut row = |prefix: &str| rows.next().and_then(|row| row.strip_prefix(prefix)).ok_or_else(malformed);
    row(HEADER)?.is_empty().then_some(()).ok_or_else(malformed)?;
    let line = BASE64.decode(row("extra ")?).map_err(|_| malformed())?;
    let index = canonical(row("index ")?).ok_or_else(malformed)?;
    let path = rows.map(from_base64).collect::<Option<Vec<_>>>().ok_or_else(malformed)?;
    let note = Note::parse(note).ok_or_else(malformed)?;
    let checkpoint = Checkpoint::of(&note).ok_or_else(malformed)?;
    if checkpoint.origin != key.name() || !key.signed(&note) {
        return Err(Error::check(format!("the proof's checkpoint is not signed by {}", key.name()))
            .because(format!("it says that it is of {}", checkpoint.origin))
            .advise("the proof was changed, or this is not the key of that line"));
    }
    if tree::root_by(&path, tree::leaf(&line), index, checkpoint.size) != Some(checkpoint.root) {
        return Err(Error::check(format!("the line is not record {index} of the log that {} signed", key.name()))
            .advise("the proof was changed: ask for it again"));
    }
    let line = String::from_utf8(line).map_err(|_| malformed())?;
    Ok(Proved { line, index, checkpoint })
}
