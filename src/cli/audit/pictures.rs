//! `hgad audit verify --pictures`.

use std::path::Path;

use super::Keys;
use crate::audit::{self, Fault, Inventory, Startless, Unnamed, Unvouched};
use crate::{Error, Result, print};

/// So many files that no record names, and folders that cannot be listed, are named.
const LISTED: usize = 50;

/// Checks the pictures in `folder` that the log in `log` names, and tells of each that is not as it was written. Records that are not
/// vouched for excuse nothing; `keys` say what is signed a moment later, where a run is writing the log.
///
/// # Errors
///
/// One is not, or cannot be read.
pub(super) fn verify(log: &Path, folder: &Path, unvouched: Unvouched, keys: &Keys) -> Result<()> {
    if folder.is_file() {
        return Err(Error::usage(format!("{} is a file, and the folder of pictures is asked for", folder.display()))
            .advise("put the audit file first: hgad audit verify FILE --pictures, or --pictures DIR"));
    }
    // A run signs that it removes a picture before that is gone.
    let by_now = || Ok(audit::verify_while_written(log, &keys.trust()?)?.unvouched());
    let inventory = audit::inventory(log, folder, unvouched, by_now)?;
    if !folder.is_dir() {
        print::line(format_args!("there is no folder {}", folder.display()))?;
    }
    for amiss in &inventory.amiss {
        print::line(format_args!("record {}, part {}: {}", amiss.record, amiss.part, amiss.why))?;
    }
    for (run, pictures) in &inventory.elsewhere {
        print::line(format_args!(
            "run {}: nothing of it is in {}, where {} named, and no record tells of a removal",
            print::name(run),
            folder.display(),
            print::are(*pictures, "picture")
        ))?;
    }
    tell_of_owner(log, folder, &inventory)?;
    let Unnamed { of_unknown_runs, of_doubtful_runs, .. } = &inventory.unnamed;
    for (run, pictures) in of_unknown_runs {
        print::line(startless(Startless::CutOff, run, *pictures, folder))?;
    }
    for (run, pictures) in of_doubtful_runs {
        let lack = Startless::Doubtful;
        let told = startless(lack, run, *pictures, folder);
        print::line(format_args!("warning: {told}: {}. {}", lack.why(), lack.advice()))?;
    }
    tell_of_unnamed(folder, &inventory)?;
    conclude(folder, &inventory)
}

/// That the log has no start of a run of which so many pictures are there.
fn startless(lack: Startless, run: &str, pictures: u64, folder: &Path) -> String {
    let pictures = print::are(pictures, "picture");
    format!("run {}: {pictures} in {}, and {} it", print::name(run), folder.display(), lack.told())
}

fn tell_of_owner(log: &Path, folder: &Path, inventory: &Inventory) -> Result<()> {
    let (log, folder) = (log.display(), folder.display());
    if inventory.is_owner_gone {
        return print::line(format_args!(
            "warning: owner.txt is not in {folder}, though pictures of {log} are: it was taken away, the pictures were copied without it, or an \
             older program stored them. Find out which"
        ));
    }
    let Some(owner) = inventory.owner.as_ref().map(print::name) else { return Ok(()) };
    match inventory.unnamed.of_another_log {
        _ if inventory.is_owner_edited() => print::line(format_args!(
            "owner.txt in {folder} names another log, {owner}, though pictures of {log} are in it: it was edited, or comes from elsewhere"
        )),
        others => print::line(format_args!(
            "warning: {folder} is another log's folder: owner.txt in it names {owner}, as seen from there. {} in it that {log} does not name",
            print::are(others, "picture")
        )),
    }
}

fn tell_of_unnamed(folder: &Path, inventory: &Inventory) -> Result<()> {
    let Unnamed { files, of_others, unlisted, .. } = &inventory.unnamed;
    let named = unlisted.iter().take(LISTED);
    named
        .map(print::name)
        .try_for_each(|folder| print::line(format_args!("warning: {folder}: it cannot be listed")))?;
    if !unlisted.is_empty() {
        print::line(format_args!(
            "warning: what lies in {} beside pictures that records name is not known: let this user read what cannot be listed",
            print::counted(unlisted.len() as u64, "folder")
        ))?;
    }
    for file in files.iter().take(LISTED) {
        print::line(format_args!("warning: {}: no record names it", print::name(folder.join(file).display())))?;
    }
    if files.len() > LISTED {
        print::line(format_args!("warning: and {} more that no record names", files.len() - LISTED))?;
    }
    if !files.is_empty() {
        print::line(
            "warning: of what no record names nothing is proved. A run that was killed leaves pictures of its last moment, one that goes on \
             has not written down its newest; look at who put the others there, and rely on none of them",
        )?;
    }
    match of_others {
        0 => Ok(()),
        count => print::line(format_args!(
            "warning: {} there whose records are in files of the log that were not read: with all of its files in one folder, and by the \
             name of the newest, all are checked. Of files that the line removed (log-removed) nothing is known any more",
            print::are(*count, "picture")
        )),
    }
}

fn conclude(folder: &Path, inventory: &Inventory) -> Result<()> {
    let [changed, missing, unread] =
        [Fault::Changed, Fault::Missing, Fault::Unread].map(|fault| inventory.count(fault));
    let elsewhere = inventory.elsewhere.values().sum::<u64>();
    let told = format!(
        "{}: {} as written ({}), {} removed as the log tells",
        folder.display(),
        print::are(inventory.whole, "picture"),
        print::bytes(inventory.bytes),
        inventory.removed
    );
    let unknown = inventory.unnamed.of_unknown_runs.values().sum::<u64>();
    let is_of_another_state = unknown > 0 || inventory.is_owner_edited();
    if changed + missing + elsewhere + unread == 0 && !is_of_another_state {
        return print::line(format_args!("OK {told}"));
    }
    print::line(told)?;
    // What cannot be read hides no finding.
    if changed + missing + elsewhere == 0 && is_of_another_state {
        return Err(of_another_state(folder, inventory));
    }
    let counts = [
        (changed, "exchanged"),
        (missing, "missing"),
        (elsewhere, "of runs of which nothing is there"),
        (unread, "that cannot be read"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let what = format!(
        "{}: not all pictures are as they were written: {}",
        folder.display(),
        counts.collect::<Vec<_>>().join(", ")
    );
    Err(match (changed + missing, elsewhere) {
        (0, 0) => Error::device(what).advise("check the permissions and the disk, and ask again: nothing is known of these"),
        (0, _) => Error::check(what).advise(
            "if they were moved, give the folder where they are now (--pictures DIR); if nobody moved them they were taken away: keep the log \
             as evidence",
        ),
        _ => Error::check(what).advise(
            "keep log and pictures as evidence; what a backup of the folder has in these places can be checked in the same way (--pictures DIR)",
        ),
    })
}

/// The log and the folder are not of one moment, or somebody edited whose the folder is.
fn of_another_state(folder: &Path, inventory: &Inventory) -> Error {
    let place = folder.display();
    if inventory.unnamed.of_unknown_runs.is_empty() {
        return Error::check(format!("{place}: owner.txt was edited: the pictures are those of this log, and it names another one")).advise(
            "keep it as evidence and find out who edited it; a run is refused there until it names this log again, as a backup has it",
        );
    }
    Error::check(format!("{place}: there are pictures of runs that the log knows nothing of"))
        .because(Startless::CutOff.why())
        .advise(Startless::CutOff.advice())
}
