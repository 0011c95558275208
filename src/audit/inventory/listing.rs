//! The files in the folder of a log's pictures, and what is to be said of those that no record names.

use std::collections::BTreeMap;
use std::path::Path;

use super::run_of;
use crate::audit::pictures::Owner;
use crate::audit::runs::{Runs, Startless};

/// Files that no record names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unnamed {
    /// Of runs whose records are all here; in a folder of another log, none.
    pub files: Vec<String>,
    /// Of runs that the log has no start of, though the folder is this log's ([`Startless::CutOff`]): by run.
    pub of_unknown_runs: BTreeMap<String, u64>,
    /// Of runs that what is here of the log has no start of ([`Startless::Doubtful`]): by run.
    pub of_doubtful_runs: BTreeMap<String, u64>,
    /// So many are of runs whose records are not, or not all, here: in files of the log that were carried away, or not read.
    pub of_others: u64,
    /// So many are in a folder that names another log.
    pub of_another_log: u64,
    /// Folders that cannot be listed, each with why: what lies in them beside the pictures that records name is not known.
    pub unlisted: Vec<String>,
}

/// The files in the folders of runs, `RUN/DAY/NAME`, in their order, and which of them a record named.
#[derive(Debug, Default)]
pub(super) struct Listing {
    files: Vec<String>,
    /// Which of them, by their place.
    named: Vec<bool>,
    /// As [`Unnamed::unlisted`].
    unlisted: Vec<String>,
}

impl Listing {
    /// What is in `folder` now.
    pub(super) fn of(folder: &Path) -> Self {
        let mut listing = Listing::default();
        listing.add(folder, "", 2);
        listing.files.sort_unstable();
        listing.unlisted.sort_unstable();
        listing.named = vec![false; listing.files.len()];
        listing
    }

    /// So many files.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Adds the files in `folder`, which is `name` as seen from the pictures' folder, and those in so many levels of folders below, also
    /// behind links. What lies in the pictures' folder itself is no run's; a folder below a day's is one entry.
    fn add(&mut self, folder: &Path, name: &str, levels: usize) {
        let entries = std::fs::read_dir(folder).and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>());
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.miss(folder, &error),
        };
        for entry in entries {
            let own = entry.file_name().to_string_lossy().into_owned();
            let below = if name.is_empty() { own } else { format!("{name}/{own}") };
            let path = entry.path();
            let is_folder = if levels > 0 { path.metadata().map(|found| found.is_dir()) } else { Ok(false) };
            match is_folder {
                Ok(true) => self.add(&path, &below, levels - 1),
                Ok(false) if name.is_empty() => {}
                Ok(false) => self.files.push(below),
                Err(error) => self.miss(&path, &error),
            }
        }
    }

    /// Remembers that a folder cannot be listed, unless it is not there: a run that goes on removes folders with the last picture in them.
    fn miss(&mut self, folder: &Path, error: &std::io::Error) {
        if error.kind() != std::io::ErrorKind::NotFound {
            self.unlisted.push(format!("{}: {error}", folder.display()));
        }
    }

    /// A record names the file, which need not be there.
    pub(super) fn mark(&mut self, file: &str) {
        if let Ok(place) = self.files.binary_search_by(|other| other.as_str().cmp(file)) {
            self.named[place] = true;
        }
    }

    /// What is to be said of the files that no record named. `holds_own` says whether pictures of this log are in the folder, whatever it
    /// says.
    pub(super) fn unnamed(self, runs: &Runs, owner: &Owner, holds_own: bool) -> Unnamed {
        let mut unnamed = Unnamed { unlisted: self.unlisted, ..Unnamed::default() };
        let files = self.files.into_iter().zip(self.named).filter(|(_, named)| !named).map(|(file, _)| file);
        if matches!(owner, Owner::Other(_)) && !holds_own {
            unnamed.of_another_log = files.count() as u64;
            return unnamed;
        }
        for file in files {
            let run = run_of(&file);
            match lack(run, runs, owner, holds_own) {
                Some(Startless::CutOff) => *unnamed.of_unknown_runs.entry(run.to_owned()).or_default() += 1,
                Some(Startless::Doubtful) => *unnamed.of_doubtful_runs.entry(run.to_owned()).or_default() += 1,
                None if runs.are_all_here(run) => unnamed.files.push(file),
                None => unnamed.of_others += 1,
            }
        }
        unnamed
    }
}

/// Why the log has no start of the run, where that says something: the folder is this log's, or is held to be.
fn lack(run: &str, runs: &Runs, owner: &Owner, holds_own: bool) -> Option<Startless> {
    match owner {
        // Who edits the owner's name hides nothing.
        Owner::This | Owner::Other(_) => runs.startless(run),
        // Nor does who takes it away. But an older program named none, and let a log begin beside the pictures of one before it: only a run
        // that is later than all of the log's was cut off for certain.
        Owner::Nobody => {
            runs.startless(run).filter(|lack| *lack == Startless::CutOff && holds_own && runs.is_later(run))
        }
    }
}
