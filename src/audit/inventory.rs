//! Whether the pictures that a log's records name are those that were written: every one of them, whatever became of its part.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use indicatif::ProgressBar;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::kind::Kind;
use super::pictures::{Owner, owner_of};
use super::query::Query;
use super::read;
use super::read::Entry;
use super::removed::{Absence, Removed, first_hash};
use super::stored::{Found, find};
use crate::inspect::batch;
use crate::{Error, Result};

/// So many pictures are read between two looks at the log, so that memory does not grow with it.
const BATCH: usize = 4096;

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
    /// It is another file.
    Changed,
    /// It is gone, and no record tells of that.
    Missing,
    /// It is there and cannot be read.
    Unread,
}

/// Files that no record names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unnamed {
    /// Of runs whose records are all here; in a folder of another log, none.
    pub files: Vec<String>,
    /// Of runs that the log has no start of, though the folder is this log's and earlier runs are here: by run. Its end was cut off, or an
    /// older copy of it was put back, since a run's start is on disk before its first picture.
    pub of_unknown_runs: BTreeMap<String, u64>,
    /// So many are of runs whose records are not, or not all, here: in files of the log that were carried away.
    pub of_others: u64,
    /// So many are in a folder that names another log.
    pub of_another_log: u64,
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
}

/// Reads every picture below `folder` that the log in `path`, and the files that were closed before, name, on all cores, and looks for
/// files that none of them names. A progress bar is shown on a terminal. A run may be writing the log. Memory grows with the files in the
/// folder, by some hundred bytes each, and not with the log.
///
/// # Errors
///
/// The log or the folder cannot be read.
pub fn inventory(path: &Path, folder: &Path) -> Result<Inventory> {
    // Before the log is read: what a run stores meanwhile has a record by then or is not listed.
    let mut listing = Listing::of(folder)?;
    let bar = batch::progress_bar("pictures", listing.named.len());
    let removed = Removed::of(path, folder, &Query::default())?;
    let mut count = Count { folder, removed, bar, inventory: Inventory::default(), missing: Vec::new() };
    let (mut waiting, mut runs) = (Vec::new(), Runs::default());
    Query::default().each(path, |_, entry, _| {
        runs.see(entry);
        if let Some(file) = entry.picture.as_ref().and_then(|picture| picture.file.as_deref()) {
            listing.is_named(file);
            waiting.push(entry.clone());
        }
        if waiting.len() == BATCH {
            count.all(&std::mem::take(&mut waiting));
        }
        Ok(true)
    })?;
    count.all(&waiting);
    count.bar.finish_and_clear();
    let mut inventory = count.conclude(path)?;
    let newest = read::newest_of(path).filter(|newest| newest.is_file());
    let log = newest.as_deref().unwrap_or(path);
    let owner = owner_of(folder, log, first_hash(log)?);
    inventory.unnamed = listing.unnamed(&runs, &owner, inventory.whole > 0);
    if let Owner::Other(other) = owner {
        inventory.owner = Some(other);
    }
    Ok(inventory)
}

/// Pictures that are being counted.
struct Count<'f> {
    folder: &'f Path,
    removed: Removed,
    bar: ProgressBar,
    inventory: Inventory,
    /// Those that are gone, of which nobody has told so far, and that they are gone in words.
    missing: Vec<(Entry, String)>,
}

impl Count<'_> {
    fn all(&mut self, records: &[Entry]) {
        let look = |record: &Entry| {
            // Cannot fail: records that name none are not among them.
            let found = find(self.folder, record.picture.as_ref().expect("the record names a picture"));
            self.bar.inc(1);
            // The bytes go at once: a batch of them would not fit into memory.
            match found {
                Ok(Found::Whole { bytes, .. }) => Ok(bytes.len() as u64),
                Ok(Found::Changed(why)) => Err((Some(Fault::Changed), why)),
                Ok(Found::Gone(why)) => Err((None, why)),
                Err(error) => Err((Some(Fault::Unread), error.line())),
            }
        };
        let found = records.par_iter().map(look).collect::<Vec<_>>();
        for (record, found) in records.iter().zip(found) {
            match found {
                Ok(bytes) => {
                    (self.inventory.whole, self.inventory.bytes) =
                        (self.inventory.whole + 1, self.inventory.bytes + bytes)
                }
                Err((Some(fault), why)) => self.inventory.amiss.push(amiss(record, fault, why)),
                Err((None, why)) => self.gone(record, why),
            }
        }
    }

    fn gone(&mut self, record: &Entry, why: String) {
        match self.removed.absence(record) {
            Absence::Told => self.inventory.removed += 1,
            Absence::Elsewhere | Absence::Unexplained => self.missing.push((record.clone(), why)),
        }
    }

    /// A run that goes on tells of pictures before it removes them: what it has told of since is looked at before anybody is accused.
    fn conclude(mut self, path: &Path) -> Result<Inventory> {
        if !self.missing.is_empty() {
            self.removed = Removed::of(path, self.folder, &Query::default())?;
        }
        for (record, why) in std::mem::take(&mut self.missing) {
            match self.removed.absence(&record) {
                Absence::Told => self.inventory.removed += 1,
                Absence::Elsewhere => *self.inventory.elsewhere.entry(run_of(&record)).or_default() += 1,
                Absence::Unexplained => {
                    let why = format!("{why}, and no record says that it was removed");
                    self.inventory.amiss.push(amiss(&record, Fault::Missing, why));
                }
            }
        }
        self.inventory.amiss.sort_by_key(|amiss| amiss.record);
        Ok(self.inventory)
    }
}

fn run_of(record: &Entry) -> String {
    record.picture.as_ref().and_then(|picture| picture.run()).unwrap_or_default().to_owned()
}

fn amiss(record: &Entry, fault: Fault, why: String) -> Amiss {
    let part = format!("{}/{}", run_of(record), record.part.unwrap_or_default());
    Amiss { record: record.seq, part, fault, why }
}

/// The runs that a log tells of.
#[derive(Debug, Default)]
struct Runs {
    /// Whether the log's first line is here; `None` before a line was seen.
    has_first: Option<bool>,
    /// Those whose start is here.
    begun: BTreeSet<String>,
}

impl Runs {
    fn see(&mut self, entry: &Entry) {
        self.has_first.get_or_insert(entry.seq == 0);
        if let (Some(Kind::Start), Some(run)) = (entry.kind(), &entry.run) {
            self.begun.insert(run.clone());
        }
    }

    /// Whether each record of the run of this name is here, if there ever was one.
    fn are_all_here(&self, run: &str) -> bool {
        self.has_first == Some(true) || self.begun.contains(run)
    }

    /// Whether the log would have the start of the run of this name, had it not been cut or put back. Runs are named by when they began.
    fn is_unknown(&self, run: &str) -> bool {
        let is_later = || self.begun.last().is_some_and(|newest| run > newest.as_str());
        !self.begun.contains(run) && (self.has_first == Some(true) || is_later())
    }
}

/// The files in the folders of runs, `RUN/...`, in their order, and which of them a record named.
#[derive(Debug)]
struct Listing {
    files: Vec<String>,
    named: Vec<bool>,
}

impl Listing {
    fn of(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        if folder.is_dir() {
            list(folder, "", &mut files).map_err(|error| {
                Error::device(format!("the pictures' folder {} cannot be listed", folder.display()))
                    .because(error)
                    .advise("check its permissions, and those of the folders in it")
            })?;
        }
        files.sort_unstable();
        Ok(Listing { named: vec![false; files.len()], files })
    }

    fn is_named(&mut self, file: &str) {
        if let Ok(place) = self.files.binary_search_by(|other| other.as_str().cmp(file)) {
            self.named[place] = true;
        }
    }

    /// `holds_own` says whether pictures of this log are in the folder, whatever it says.
    fn unnamed(self, runs: &Runs, owner: &Owner, holds_own: bool) -> Unnamed {
        let mut unnamed = Unnamed::default();
        for (file, _) in self.files.into_iter().zip(self.named).filter(|(_, named)| !named) {
            let run = file.split_once('/').map_or("", |(run, _)| run);
            match owner {
                Owner::Other(_) if !holds_own => unnamed.of_another_log += 1,
                // Somebody's edit of the owner hides nothing.
                Owner::This | Owner::Other(_) if runs.is_unknown(run) => {
                    *unnamed.of_unknown_runs.entry(run.to_owned()).or_default() += 1;
                }
                _ if runs.are_all_here(run) => unnamed.files.push(file),
                _ => unnamed.of_others += 1,
            }
        }
        unnamed
    }
}

/// Lists the files below `folder`, which is `name` as seen from the pictures' folder. What lies in that itself is no run's.
fn list(folder: &Path, name: &str, files: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let below = match name {
            "" => entry.file_name().to_string_lossy().into_owned(),
            name => format!("{name}/{}", entry.file_name().to_string_lossy()),
        };
        match entry.file_type()?.is_dir() {
            // A run that goes on removes folders with the last picture in them.
            true => match list(&entry.path(), &below, files) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
            false if !name.is_empty() => files.push(below),
            false => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::digest::Digest;

    /// A log with its pictures beside it. A picture's content is its file's name.
    struct Bench(tempfile::TempDir);

    impl Bench {
        fn new(lines: &[String]) -> Self {
            let bench = Bench(tempfile::tempdir().unwrap());
            std::fs::write(bench.log(), lines.concat()).unwrap();
            std::fs::create_dir(bench.folder()).unwrap();
            bench
        }

        fn log(&self) -> PathBuf {
            self.0.path().join("audit.jsonl")
        }

        fn folder(&self) -> PathBuf {
            self.0.path().join("pictures")
        }

        fn put(&self, file: &str, content: &str) {
            let path = self.folder().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }

        fn inventory(&self) -> Inventory {
            inventory(&self.log(), &self.folder()).unwrap()
        }
    }

    fn line(seq: u64, kind: &str, rest: &str) -> String {
        format!(
            "{{\"seq\":{seq},\"prev\":\"\",\"kind\":\"{kind}\",\"time\":\"2026-11-24T06:00:{:02}.000000Z\",{rest}}}\n",
            seq % 60
        )
    }

    /// The record `seq`, of this kind, of a picture of the run `r`.
    fn named(seq: u64, kind: &str, file: &str, why: &str) -> String {
        let file = format!("r/2026-11-24/{file}");
        let digest = Digest::of(&file);
        let picture =
            format!("{{\"why\":\"{why}\",\"file\":\"{file}\",\"sha256\":\"{digest}\",\"pixels_sha256\":null}}");
        line(seq, kind, &format!("\"part\":{seq},\"picture\":{picture}"))
    }

    /// More pictures than are looked at between two looks at the log.
    #[test]
    fn every_picture_is_looked_at_whatever_the_record_is_and_in_the_order_of_records() {
        let count = BATCH as u64 + 10;
        let mut lines = vec![line(0, "start", "\"run\":\"r\"")];
        lines.extend((1..=count).map(|seq| {
            let (kind, why) = if seq % 2 == 0 { ("part", "reject") } else { ("picture", "around") };
            named(seq, kind, &format!("{seq:08}-{why}.png"), why)
        }));
        let bench = Bench::new(&lines);
        for seq in 1..=count {
            let why = if seq % 2 == 0 { "reject" } else { "around" };
            let file = format!("r/2026-11-24/{seq:08}-{why}.png");
            bench.put(&file, &file);
        }
        let found = bench.inventory();
        assert_eq!((found.whole, found.removed, found.amiss.len()), (count, 0, 0));
        assert!(found.bytes > 20 * count && found.unnamed == Unnamed::default() && found.elsewhere.is_empty());
        for (seq, why) in [(count - 1, "around"), (2, "reject")] {
            bench.put(&format!("r/2026-11-24/{seq:08}-{why}.png"), "another picture");
        }
        std::fs::remove_file(bench.folder().join("r/2026-11-24/00000005-around.png")).unwrap();
        let found = bench.inventory();
        let told = found.amiss.iter().map(|amiss| (amiss.record, amiss.fault, amiss.part.as_str())).collect::<Vec<_>>();
        let newest = format!("r/{}", count - 1);
        let expected =
            [(2, Fault::Changed, "r/2"), (5, Fault::Missing, "r/5"), (count - 1, Fault::Changed, newest.as_str())];
        assert_eq!((found.whole, told.as_slice()), (count - 3, &expected[..]));
    }

    #[test]
    fn what_no_record_names_is_told_of_where_all_records_of_its_run_are_here() {
        let files = ["00000001-reject.png", "00000002-reject.png"];
        let whole = vec![line(0, "start", "\"run\":\"r\""), named(1, "part", files[0], "reject")];
        let bench = Bench::new(&whole);
        files.iter().for_each(|file| bench.put(&format!("r/2026-11-24/{file}"), &format!("r/2026-11-24/{file}")));
        bench.put("s/2026-11-24/00000001-reject.png", "of no run");
        let found = bench.inventory();
        let unnamed = ["r/2026-11-24/00000002-reject.png", "s/2026-11-24/00000001-reject.png"].map(str::to_owned);
        assert_eq!(found.unnamed, Unnamed { files: unnamed.to_vec(), ..Unnamed::default() });
        // Files of the log were carried away: of what was in them nobody can say anything.
        let later = [
            line(7, "continued", "\"run\":\"r\""),
            named(8, "part", files[0], "reject"),
            line(9, "start", "\"run\":\"t\""),
        ];
        std::fs::write(bench.log(), later.concat()).unwrap();
        bench.put("t/2026-11-24/00000001-reject.png", "put there");
        let found = bench.inventory();
        let files = vec!["t/2026-11-24/00000001-reject.png".to_owned()];
        assert_eq!((found.whole, found.unnamed), (1, Unnamed { files, of_others: 2, ..Unnamed::default() }));
    }

    /// In the folder that names this log a run without a start is one that was cut off; in one that names another it is none of this log's.
    #[test]
    fn runs_that_the_log_does_not_know_are_told_by_whose_the_folder_is() {
        let file = "r/2026-11-24/00000001-reject.png";
        let hash = Digest::of("the first line");
        let start = line(0, "start", &format!("\"run\":\"r\",\"hash\":\"{hash}\""));
        let bench = Bench::new(&[start, named(1, "part", "00000001-reject.png", "reject")]);
        for file in [
            file,
            "r/2026-11-24/00000002-reject.png",
            "s/2026-11-24/00000001-reject.png",
            "s/2026-11-24/00000002-reject.png",
        ] {
            bench.put(file, file);
        }
        let owned =
            |name: &str, first: &Digest| bench.put("owner.txt", &format!("{name}\nwords\nfirst line {first}\n"));
        let cut = Unnamed {
            files: vec!["r/2026-11-24/00000002-reject.png".to_owned()],
            of_unknown_runs: BTreeMap::from([("s".to_owned(), 2)]),
            ..Unnamed::default()
        };
        // A log and its pictures may have been moved, each to somewhere else.
        for name in ["../audit.jsonl", "../../elsewhere.jsonl"] {
            owned(name, &hash);
            let found = bench.inventory();
            assert_eq!((found.whole, &found.unnamed, &found.owner), (1, &cut, &None));
        }
        let other = Digest::of("another first line");
        owned("../audit.jsonl", &other);
        let found = bench.inventory();
        assert!(found.is_owner_edited() && found.unnamed == cut, "{found:?}");
        // None of this log's pictures is there: it is that log's folder.
        owned("../other.jsonl", &other);
        std::fs::remove_file(bench.folder().join(file)).unwrap();
        let found = bench.inventory();
        let unnamed = Unnamed { of_another_log: 3, ..Unnamed::default() };
        assert_eq!((found.is_owner_edited(), found.unnamed), (false, unnamed));
        assert_eq!(found.owner.as_deref(), Some("../other.jsonl"));
    }

    #[test]
    fn a_picture_that_was_removed_accuses_nobody_and_a_run_that_is_gone_is_told_of_as_a_whole() {
        let told = "\"of\":\"passes\",\"pictures\":1,\"bytes\":1,\"until\":\"2026-11-24\",\"last\":\"r/2026-11-24/00000002-around.png\"";
        let lines = [
            line(0, "start", "\"run\":\"r\""),
            named(1, "part", "00000001-reject.png", "reject"),
            // Its own record has no verdict.
            named(2, "picture", "00000002-around.png", "around"),
            named(3, "picture", "00000003-around.png", "around"),
            line(4, "pictures-removed", told),
        ];
        let bench = Bench::new(&lines);
        let found = bench.inventory();
        assert_eq!((found.removed, found.elsewhere.get("r")), (1, Some(&2)), "{found:?}");
        assert!(found.amiss.is_empty());
        bench.put("r/2026-11-24/00000001-reject.png", "r/2026-11-24/00000001-reject.png");
        let found = bench.inventory();
        let missing = found.amiss.iter().map(|amiss| (amiss.record, amiss.fault)).collect::<Vec<_>>();
        assert_eq!((found.whole, found.removed, missing), (1, 1, vec![(3, Fault::Missing)]), "{found:?}");
        // What stands in its place and cannot be read is told apart, and the rest is looked at.
        bench.put("r/2026-11-24/00000003-around.png/x", "a folder of that name");
        let found = bench.inventory();
        assert_eq!((found.whole, found.amiss[0].record, found.amiss[0].fault), (1, 3, Fault::Unread), "{found:?}");
        // No folder at all is a run that is gone, and no error of a disk.
        std::fs::remove_dir_all(bench.folder()).unwrap();
        assert_eq!(bench.inventory().elsewhere.get("r"), Some(&2));
    }
}
