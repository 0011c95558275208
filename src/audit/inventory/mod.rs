//! Whether the pictures that a log's records name are those that were written: every one of them, whatever became of its part.

mod count;
mod listing;

use std::collections::BTreeMap;
use std::path::Path;

use self::count::{BATCH, Count, Named};
use self::listing::Listing;
pub use self::listing::Unnamed;
use super::pictures::{Owner, owner_of};
use super::query::Query;
use super::read;
use super::removed::first_hash;
use super::runs::Runs;
use super::vouched::Unvouched;
use crate::Result;

/// What became of the pictures of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Pictures that are byte for byte what was written.
    pub whole: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Pictures that are gone, as a record tells.
    pub removed: u64,
    /// Pictures that are not as they were written, in the order of their records.
    pub amiss: Vec<Amiss>,
    /// Runs of which no picture at all is there, and how many records name one: where the folder does not say that it is this log's, they
    /// may be in another.
    pub elsewhere: BTreeMap<String, u64>,
    /// Files in the folders of runs that no record names.
    pub unnamed: Unnamed,
    /// The log that the folder names as its own, where that is another one.
    pub owner: Option<String>,
    /// Whether pictures of this log are in the folder, and nothing there says whose it is.
    pub is_owner_gone: bool,
}

/// A picture that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amiss {
    /// The record that names it.
    pub record: u64,
    /// Its part, as `RUN/PART`.
    pub part: String,
    /// What is the matter with it.
    pub fault: Fault,
    /// The same in words.
    pub why: String,
}

/// What can be the matter with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is another file, or no file at all.
    Changed,
    /// It is gone, and no record tells of that.
    Missing,
    /// It is there and cannot be read.
    Unread,
}

impl Inventory {
    /// How many pictures have this fault.
    pub fn count(&self, fault: Fault) -> u64 {
        self.amiss.iter().filter(|amiss| amiss.fault == fault).count() as u64
    }

    /// Whether the folder names another log, though pictures of this one are in it: then somebody wrote that.
    pub fn is_owner_edited(&self) -> bool {
        self.owner.is_some() && self.whole > 0
    }

    /// Holds what no record names, and whose the folder says that it is, against what is there of the log.
    fn take_stock(&mut self, path: &Path, folder: &Path, listing: Listing, runs: &Runs) -> Result<()> {
        let newest = read::newest_of(path).filter(|newest| newest.is_file());
        let log = newest.as_deref().unwrap_or(path);
        let (owner, holds_own) = (owner_of(folder, log, first_hash(log)?), self.whole > 0);
        self.unnamed = listing.unnamed(runs, &owner, holds_own);
        self.is_owner_gone = owner == Owner::Nobody && holds_own;
        if let Owner::Other(other) = owner {
            self.owner = Some(other);
        }
        Ok(())
    }
}

/// Reads every picture below `folder` that the log in `path`, and the files that were closed before, name, on all cores, and looks for
/// files that none of them names. How far it has come is shown. A run may be writing the log. Memory grows with the files in the
/// folder and with the pictures that are amiss, by some hundred bytes each, and not with the log.
///
/// `unvouched`: the records that say of a removal and that no checkpoint vouches for excuse nothing. Those of the log's end may have been signed
/// since they were looked at: where pictures are gone that they tell of, `by_now` is asked once, and gives what is not vouched for by then.
///
/// # Errors
///
/// The log cannot be read, or `by_now` fails.
pub fn inventory(
    path: &Path,
    folder: &Path,
    unvouched: Unvouched,
    by_now: impl FnOnce() -> Result<Unvouched>,
) -> Result<Inventory> {
    // Before the log is read: what a run stores meanwhile has a record by then or is not listed.
    let mut listing = Listing::of(folder);
    let mut count = Count::begin(path, folder, unvouched, listing.len())?;
    let mut runs = Runs::of(path)?;
    let mut waiting = Vec::new();
    Query::default().each(path, |_, entry, _| {
        runs.see(entry);
        if let Some(named) = Named::by(entry) {
            listing.mark(named.file());
            waiting.push(named);
        }
        if waiting.len() == BATCH {
            count.look_at(&std::mem::take(&mut waiting));
        }
        Ok(true)
    })?;
    count.look_at(&waiting);
    let mut inventory = count.conclude(path, by_now)?;
    inventory.take_stock(path, folder, listing, &runs)?;
    Ok(inventory)
}

/// The run that a picture is of, by its file, `RUN/DAY/NAME`.
fn run_of(file: &str) -> &str {
    file.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
