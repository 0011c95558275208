//! Every picture that a record names, looked for where it was put, and what the log tells of those that are gone.

use std::path::Path;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::{Amiss, Fault, Inventory, run_of};
use crate::audit::pictures::is_grave;
use crate::audit::query::Query;
use crate::audit::read::{Entry, PictureEntry};
use crate::audit::removed::{Absence, Removed};
use crate::audit::stored::{Found, find};
use crate::audit::vouched::Unvouched;
use crate::progress::Progress;
use crate::{Result, print};

/// So many pictures are read between two looks at the log, so that memory does not grow with it.
pub(super) const BATCH: usize = 4096;

/// Pictures that are being counted.
pub(super) struct Count<'f> {
    folder: &'f Path,
    /// Which records of the log say what was removed.
    query: Query,
    removed: Removed,
    progress: Progress,
    inventory: Inventory,
    /// Those that are gone, of which nobody has told so far.
    missing: Vec<Missing>,
}

/// A picture that a record names.
#[derive(Debug)]
pub(super) struct Named {
    record: u64,
    part: Option<u64>,
    picture: PictureEntry,
}

impl Named {
    /// `None` where the record names no file of a picture.
    pub(super) fn by(entry: &Entry) -> Option<Self> {
        let picture = entry.picture.as_ref().filter(|picture| picture.file.is_some())?;
        Some(Named { record: entry.seq, part: entry.part, picture: picture.clone() })
    }

    /// The file, as seen from the pictures' folder.
    pub(super) fn file(&self) -> &str {
        // Cannot be missing: records that name none are not among them.
        self.picture.file.as_deref().unwrap_or_default()
    }
}

/// What is found in a picture's place, without the file, which stays open in [`Found`]: a batch has more of them than a process may open.
enum Seen {
    /// The picture, of so many bytes.
    Whole(u64),
    Gone,
    Amiss(Fault, String),
}

impl Seen {
    fn of(folder: &Path, picture: &PictureEntry) -> Self {
        match find(folder, picture) {
            Ok(Found::Whole { bytes, .. }) => Seen::Whole(bytes),
            Ok(Found::Changed(why)) => Seen::Amiss(Fault::Changed, why),
            Ok(Found::Gone(_)) => Seen::Gone,
            Err(error) => Seen::Amiss(Fault::Unread, error.line()),
        }
    }
}

/// One that is gone: as little as tells whose it was, since all of a log may be.
#[derive(Debug)]
struct Missing {
    record: u64,
    part: Option<u64>,
    file: String,
    is_grave: bool,
}

impl<'f> Count<'f> {
    /// Before the first picture of the log in `path`. `expected`: about so many are named, for people who wait.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub(super) fn begin(path: &Path, folder: &'f Path, unvouched: Unvouched, expected: usize) -> Result<Self> {
        let progress = Progress::start("pictures", expected);
        let query = Query { unvouched, ..Query::default() };
        let removed = Removed::of(path, folder, &query)?;
        Ok(Count { folder, query, removed, progress, inventory: Inventory::default(), missing: Vec::new() })
    }

    /// Reads these pictures, on all cores.
    pub(super) fn look_at(&mut self, pictures: &[Named]) {
        let look = |named: &Named| {
            let seen = Seen::of(self.folder, &named.picture);
            self.progress.step();
            seen
        };
        let seen = pictures.par_iter().map(look).collect::<Vec<_>>();
        for (named, seen) in pictures.iter().zip(seen) {
            match seen {
                Seen::Whole(bytes) => {
                    self.inventory.whole += 1;
                    self.inventory.bytes += bytes;
                }
                Seen::Gone => self.gone(named),
                Seen::Amiss(fault, why) => self.accuse(named, fault, why),
            }
        }
    }

    fn accuse(&mut self, named: &Named, fault: Fault, why: String) {
        self.inventory.amiss.push(amiss(named.record, named.part, named.picture.run(), fault, why));
    }

    fn gone(&mut self, named: &Named) {
        let (record, part, file) = (named.record, named.part, named.file().to_owned());
        self.look_up(Missing { record, part, file, is_grave: is_grave(&named.picture.why) });
    }

    /// Counts one that is gone by what the log tells of it.
    fn look_up(&mut self, missing: Missing) {
        match self.removed.absence_of(missing.record, &missing.file, missing.is_grave) {
            Absence::Told => self.inventory.removed += 1,
            // No run that goes on keeps its pictures there: nothing more will be told of them.
            Absence::Elsewhere => *self.inventory.elsewhere.entry(run_of(&missing.file).to_owned()).or_default() += 1,
            Absence::Unexplained => self.missing.push(missing),
        }
    }

    /// Looks up those that are gone by what the log tells now.
    fn look_up_anew(&mut self, path: &Path) -> Result<()> {
        self.removed = Removed::of(path, self.folder, &self.query)?;
        std::mem::take(&mut self.missing).into_iter().for_each(|missing| self.look_up(missing));
        Ok(())
    }

    /// A run that goes on tells of pictures, and signs that, before it removes them: what it has told of since is looked at before anybody is
    /// accused.
    ///
    /// # Errors
    ///
    /// The log cannot be read, or `by_now` fails.
    pub(super) fn conclude(mut self, path: &Path, by_now: impl FnOnce() -> Result<Unvouched>) -> Result<Inventory> {
        self.progress.finish();
        if !self.missing.is_empty() {
            self.look_up_anew(path)?;
        }
        let is_claimed = |missing: &Missing| self.removed.is_claimed(missing.record, &missing.file, missing.is_grave);
        if self.missing.iter().any(is_claimed) {
            self.query.unvouched = by_now()?;
            self.look_up_anew(path)?;
        }
        std::mem::take(&mut self.missing).into_iter().for_each(|missing| self.miss(missing));
        self.inventory.amiss.sort_by_key(|amiss| amiss.record);
        Ok(self.inventory)
    }

    /// Nobody tells of the removal of that one whose word counts.
    fn miss(&mut self, Missing { record, part, file, is_grave }: Missing) {
        let place = print::name(self.folder.join(&file).display());
        let told = match self.removed.is_claimed(record, &file, is_grave) {
            true => "records alone say that it was removed that no checkpoint of their run vouches for",
            false => "no record says that it was removed",
        };
        let why = format!("{place} is not there, and {told}");
        self.inventory.amiss.push(amiss(record, part, Some(run_of(&file)), Fault::Missing, why));
    }
}

fn amiss(record: u64, part: Option<u64>, run: Option<&str>, fault: Fault, why: String) -> Amiss {
    let part = format!("{}/{}", print::name(run.unwrap_or_default()), part.unwrap_or_default());
    Amiss { record, part, fault, why }
}
