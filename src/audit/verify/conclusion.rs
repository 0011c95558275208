//! What is to be said of a log once all of it was read: whether it is believed, and what a chain cannot rule out.

use std::ops::Range;
use std::path::Path;

use super::Verified;
use super::absence::Absence;
use super::broken::{EVIDENCE, doubted};
use super::reading::{Reading, Running};
use crate::audit::read::{Stranger, files, is_news, misnamed_told, newest_of, renamed, strangers, told_of};
use crate::audit::signatures::Trust;
use crate::audit::spot;
use crate::{Error, Result};

/// What to do about two files that begin with the same record and go on otherwise.
const TWO_HISTORIES: &str = "keep both as evidence; each of them alone, moved to a folder of its own, is checked by its own hashes and, with --key, \
                             by its signatures, and a backup or a checkpoint that was kept (--checkpoint) says which was written";

/// What a reading of all files of the log in `path` says.
///
/// # Errors
///
/// What was read is whole, and not to be believed all the same; or the log's folder cannot be read.
pub(super) fn concluded(path: &Path, trust: &Trust, reading: Reading) -> Result<Verified> {
    let mut warnings = misplaced(path)?;
    is_believed(path, &reading)?;
    warnings.extend(unread_end(path, reading.link.seq())?);
    warnings.extend(unchecked(trust, &reading.verified));
    warnings.extend(reading.verified.unsigned.iter().map(|records| unsigned(records, &reading)));
    warnings.extend(reading.running.as_ref().map(endless));
    let absence = Absence::of(&reading, trust);
    let mut verified = reading.verified;
    match absence {
        Some(Absence::Removed(told)) => verified.removed = Some(told),
        Some(Absence::Unexplained(taken, told)) => {
            verified.unexplained = taken;
            verified.warnings.insert(0, told);
        }
        None => {}
    }
    verified.warnings.append(&mut warnings);
    Ok(verified)
}

/// What is to be said of files beside the log that bear names of it and should not, or another name than their own.
///
/// # Errors
///
/// One of them is another history of the log's records.
fn misplaced(path: &Path) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let strangers = strangers(path)?;
    if let Some(told) = told_of(&strangers) {
        // Told here: whoever reads the log for the same command after this does not say it again.
        is_news(&told);
        if strangers.iter().any(Stranger::contradicts) {
            return Err(Error::check(format!("beside {} is another history of its records", path.display()))
                .because(told)
                .advise(TWO_HISTORIES));
        }
        warnings.push(told);
    }
    let renamed = renamed(&files(path)?);
    if !renamed.is_empty() {
        warnings.push(format!("{} (the next file that is closed goes behind its number)", renamed.join("; ")));
    }
    if let Some(told) = misnamed_told(path)? {
        is_news(&told);
        warnings.push(told);
    }
    Ok(warnings)
}

/// Whether what was read, whose every line continues the one before, is what was written.
fn is_believed(path: &Path, reading: &Reading) -> Result<()> {
    if reading.verified.lines == 0 {
        return Err(Error::check(format!("{} holds no record", path.display()))
            .advise("is it the right file? A file whose every line was removed looks the same"));
    }
    reading.signatures.is_of_key().map_err(|doubt| doubted(path, doubt))?;
    if let Some(file) = &reading.misdated {
        return Err(Error::check(format!("{} has an index that is not of its lines", file.display()))
            .because(
                "its lines are as they were written, and what tells a query where they are is not: it was damaged, as by a disk or a transfer, \
                 or changed",
            )
            .advise("keep a copy as evidence; unpacked with gunzip, and packed by the next run, it tells the times that its lines have"));
    }
    if let Some(spot) = &reading.miscounted {
        return Err(Error::check(format!("{spot} says wrong how often times fell before it"))
            .because("whoever writes a log counts that (falls), and searches go by it: it was added by somebody who has no key, or a clock that \
                      was set back is hidden")
            .advise(EVIDENCE));
    }
    Ok(())
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

/// What is to be said of signatures that no key was given for.
fn unchecked(trust: &Trust, verified: &Verified) -> Vec<String> {
    let mut warnings = Vec::new();
    if trust.key.is_some() {
        return warnings;
    }
    if verified.checkpoints > 0 {
        warnings.push(format!(
            "its checkpoints are those of the lines before them, and whose keys signed them is not known: give the public key \
             with --key ({} checkpoints)",
            verified.checkpoints
        ));
    }
    if !trust.kept.is_empty() {
        warnings.push(
            "the checkpoint that was kept is one of the log's, and its signature was not checked: give the public key with --key".to_owned(),
        );
    }
    warnings
}

/// What is to be said of `records` that nobody signed when a run continued them, or yet.
fn unsigned(records: &Range<u64>, reading: &Reading) -> String {
    let is_end = records.end == reading.link.seq();
    let (are, were) = if records.end - records.start == 1 { ("is", "was") } else { ("are", "were") };
    let told = match (is_end, &reading.running) {
        (false, _) => format!("{were} not signed when the run after signed all"),
        (true, Some(_)) => format!("{are} not signed yet"),
        (true, None) => {
            format!("{are} not signed, though their run has ended: it had no key, or its last checkpoint is missing")
        }
    };
    format!("{} {told}: who may write the file could have changed that", spot::records(records))
}

/// What is to be said of a run that has no end.
fn endless(run: &Running) -> String {
    format!(
        "{run} has no stop record: it goes on, it was killed, its disk took no more, or the end of the file \
         was removed, which a chain cannot show without a witness (hold it against a checkpoint that was kept elsewhere, --checkpoint, or compare the number of records \
         with a copy)"
    )
}
