//! How long pictures are kept: by age, in whole days, and by space. Those of rejected parts, and of parts without a verdict,
//! outlive those of passed ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use super::Why;
use crate::audit::record::Body;
use crate::config::PicturesConfig;
use crate::time::Monotonic;

/// A day's pictures of one kind in one run. The order is that in which they are removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Lot {
    /// Of parts that did not pass.
    grave: bool,
    /// RFC 3339.
    day: String,
    run: String,
}

#[derive(Debug, Clone, Copy, Default)]
struct Amount {
    files: u64,
    bytes: u64,
}

impl Amount {
    fn count(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// What lies in the pictures' folder.
#[derive(Debug)]
pub(super) struct Stock {
    lots: BTreeMap<Lot, Amount>,
    bytes: u64,
    keep_days: Option<u32>,
    keep_rejects_days: Option<u32>,
    keep_bytes: Option<u64>,
}

/// Pictures that were removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) grave: bool,
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// The newest day that they are of.
    pub(super) until: String,
}

impl Removed {
    pub(super) fn record(&self) -> Body {
        let of = if self.grave { "rejects" } else { "passes" };
        Body::pictures_removed(Monotonic::now(), of, self.files, self.bytes, &self.until)
    }
}

fn is_grave(why: &str) -> bool {
    [Why::Reject, Why::Unknown].iter().any(|grave| grave.as_str() == why)
}

/// `00000012-reject.png` is a picture of a reject.
fn why_of(name: &str) -> Option<&str> {
    let (part, rest) = name.split_once('-')?;
    let (why, _) = rest.split_once('.')?;
    let known = [Why::Reject, Why::Unknown, Why::Around, Why::Sample];
    (part.bytes().all(|digit| digit.is_ascii_digit()) && known.iter().any(|known| known.as_str() == why)).then_some(why)
}

impl Stock {
    /// Looks at what there is.
    pub(super) fn take(config: &PicturesConfig) -> std::io::Result<Self> {
        let PicturesConfig { keep_days, keep_rejects_days, keep_bytes, .. } = *config;
        let mut stock = Stock { lots: BTreeMap::new(), bytes: 0, keep_days, keep_rejects_days, keep_bytes };
        for run in folders(&config.folder)? {
            for day in folders(&run)? {
                let (name, day_name) = (name_of(&run), name_of(&day));
                for (why, _, bytes) in pictures(&day)? {
                    stock.count(is_grave(&why), &day_name, &name, bytes);
                }
            }
        }
        Ok(stock)
    }

    pub(super) fn add(&mut self, why: Why, day: &str, run: &str, bytes: u64) {
        self.count(is_grave(why.as_str()), day, run, bytes);
    }

    fn count(&mut self, grave: bool, day: &str, run: &str, bytes: u64) {
        let amount = self.lots.entry(Lot { grave, day: day.to_owned(), run: run.to_owned() }).or_default();
        amount.count(bytes);
        self.bytes += bytes;
    }

    /// Of all pictures.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_over_full(&self) -> bool {
        self.keep_bytes.is_some_and(|most| self.bytes > most)
    }

    /// Removes what is too old on the day `today`, and as much as is too much. While nobody keeps the clock right (`synchronised`), it
    /// alone makes nothing old: somebody may have set it to another year.
    pub(super) fn sweep(&mut self, folder: &Path, today: &str, synchronised: bool) -> Vec<Removed> {
        let mut removed = Vec::new();
        let days = self.lots.keys().map(|lot| lot.day.clone()).collect::<BTreeSet<_>>();
        let old = self.lots.keys().filter(|lot| self.is_old(lot, today, (!synchronised).then_some(&days)));
        for lot in old.cloned().collect::<Vec<_>>() {
            self.remove(folder, &lot, u64::MAX, &mut removed);
        }
        while let (true, Some(most)) = (self.is_over_full(), self.keep_bytes) {
            let Some(lot) = self.lots.keys().next().cloned() else { break };
            self.remove(folder, &lot, self.bytes - most, &mut removed);
        }
        removed
    }

    /// Whether a lot is too old on the day `today`. With `days`, those of which there are pictures, as many of them must have come after it
    /// as it is kept for: a clock that leaps makes one of them, and not a year.
    fn is_old(&self, lot: &Lot, today: &str, days: Option<&BTreeSet<String>>) -> bool {
        let keep = if lot.grave { self.keep_rejects_days } else { self.keep_days };
        let (Some(keep), Ok(day), Ok(today)) = (keep, lot.day.parse::<Date>(), today.parse::<Date>()) else {
            return false;
        };
        let keep = keep.min(i32::MAX as u32) as i32;
        let after = |days: &BTreeSet<String>| days.iter().filter(|other| **other > lot.day).count();
        today.since(day).is_ok_and(|age| age.get_days() > keep) && days.is_none_or(|days| after(days) > keep as usize)
    }

    /// Removes pictures of a lot, the oldest first, until so many bytes are free. What cannot be removed is not counted any
    /// longer, since it must not be tried for ever, and is not told of as removed either.
    fn remove(&mut self, folder: &Path, lot: &Lot, bytes: u64, removed: &mut Vec<Removed>) {
        let place = folder.join(&lot.run).join(&lot.day);
        let mut files = pictures(&place).unwrap_or_default();
        files.retain(|(why, ..)| is_grave(why) == lot.grave);
        files.sort_by(|a, b| a.1.cmp(&b.1));
        let (mut tried, mut gone) = (Amount::default(), Amount::default());
        let mut left = files.len();
        for (_, path, size) in files {
            if tried.bytes >= bytes {
                break;
            }
            left -= 1;
            tried.count(size);
            match std::fs::remove_file(&path) {
                Ok(()) => gone.count(size),
                Err(error) => log::warn!("picture {} cannot be removed: {error}", path.display()),
            }
        }
        let amount = self.lots.remove(lot).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(if left > 0 { tried.bytes } else { amount.bytes });
        if left > 0 {
            let (files, bytes) = (left as u64, amount.bytes.saturating_sub(tried.bytes));
            self.lots.insert(lot.clone(), Amount { files, bytes });
        } else {
            // Other pictures of that day, or of another day, may be left: then they stay.
            let _ = std::fs::remove_dir(&place).and_then(|()| std::fs::remove_dir(folder.join(&lot.run)));
        }
        if gone.files == 0 {
            return;
        }
        match removed.last_mut().filter(|last| last.grave == lot.grave) {
            Some(last) => {
                last.files += gone.files;
                last.bytes += gone.bytes;
                last.until = last.until.clone().max(lot.day.clone());
            }
            None => {
                let (files, bytes) = (gone.files, gone.bytes);
                removed.push(Removed { grave: lot.grave, files, bytes, until: lot.day.clone() });
            }
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn folders(of: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(of)?.collect::<std::io::Result<Vec<_>>>()?;
    Ok(entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}

/// The pictures in a folder: why, path, bytes. Other files are left alone.
fn pictures(of: &Path) -> std::io::Result<Vec<(String, PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(of)? {
        let entry = entry?;
        if let Some(why) = why_of(&entry.file_name().to_string_lossy()) {
            found.push((why.to_owned(), entry.path(), entry.metadata()?.len()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        /// With a picture of 100 bytes for each `RUN/DAY/NAME`.
        fn with(files: &[&str]) -> Self {
            let folder = Folder(tempfile::tempdir().unwrap());
            for file in files {
                let path = folder.0.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, [0; 100]).unwrap();
            }
            folder
        }

        fn sweep(&self, change: impl FnOnce(&mut PicturesConfig)) -> (Vec<Removed>, Vec<String>) {
            self.sweep_on("2026-11-24", true, change)
        }

        fn sweep_on(
            &self,
            today: &str,
            synchronised: bool,
            change: impl FnOnce(&mut PicturesConfig),
        ) -> (Vec<Removed>, Vec<String>) {
            let mut config = PicturesConfig::in_folder(self.0.path().into());
            change(&mut config);
            let removed = Stock::take(&config).unwrap().sweep(self.0.path(), today, synchronised);
            let days = folders(self.0.path()).unwrap().into_iter().flat_map(|run| folders(&run).unwrap());
            let left =
                days.flat_map(|day| std::fs::read_dir(day).unwrap().map(|entry| name_of(&entry.unwrap().path())));
            let mut left = left.collect::<Vec<_>>();
            left.sort();
            (removed, left)
        }
    }

    #[test]
    fn rejects_outlive_passes() {
        let files = [
            "a/2026-11-01/00000001-sample.png",
            "a/2026-11-01/00000002-reject.jpg",
            "a/2026-11-14/00000003-around.png",
            "b/2026-11-24/00000001-sample.png",
            "b/2026-11-24/00000002-unknown.png",
        ];
        let (removed, left) = Folder::with(&files).sweep(|config| config.keep_days = Some(10));
        assert_eq!(removed, [Removed { grave: false, files: 1, bytes: 100, until: "2026-11-01".into() }]);
        assert_eq!(left.len(), 4);
        let by_space = |most| Folder::with(&files).sweep(|config| config.keep_bytes = Some(most));
        assert_eq!(by_space(500).0, []);
        let (removed, left) = by_space(250);
        assert_eq!(removed, [Removed { grave: false, files: 3, bytes: 300, until: "2026-11-24".into() }]);
        assert_eq!(left, ["00000002-reject.jpg", "00000002-unknown.png"]);
        let (removed, left) = by_space(100);
        assert_eq!((removed.len(), removed[1].files), (2, 1));
        assert_eq!(left, ["00000002-unknown.png"], "the newest reject is the last to go");
        let (_, left) = Folder::with(&files).sweep(|config| {
            (config.keep_days, config.keep_rejects_days) = (Some(5), Some(20));
        });
        assert_eq!(left, ["00000001-sample.png", "00000002-unknown.png"]);
    }

    #[test]
    fn of_a_lot_the_oldest_go_first_and_strangers_stay() {
        let folder = Folder::with(&[
            "a/2026-11-01/00000001-sample.png",
            "a/2026-11-01/00000010-sample.png",
            "a/2026-11-01/notes-of-somebody.txt",
        ]);
        let (removed, left) = folder.sweep(|config| config.keep_bytes = Some(150));
        assert_eq!((removed[0].files, removed[0].bytes), (1, 100));
        assert_eq!(left, ["00000010-sample.png", "notes-of-somebody.txt"]);
        let (_, left) = folder.sweep(|config| config.keep_days = Some(1));
        assert_eq!(left, ["notes-of-somebody.txt"]);
    }

    #[test]
    fn a_clock_that_nobody_keeps_right_makes_nothing_old_alone() {
        let days = (10..=24).map(|day| format!("a/2026-11-{day}/000000{day}-sample.png")).collect::<Vec<_>>();
        let days = days.iter().map(String::as_str).collect::<Vec<_>>();
        let keep = |config: &mut PicturesConfig| config.keep_days = Some(10);
        let left = |today: &str, synchronised: bool| Folder::with(&days).sweep_on(today, synchronised, keep).1.len();
        assert_eq!(left("2027-11-24", true), 0, "whoever keeps it right has said that a year is over");
        assert_eq!((left("2026-11-24", true), left("2026-11-24", false)), (11, 11));
        assert_eq!(left("2027-11-24", false), 11, "those of the last days stay, whatever the clock says");
        // The picture that is taken then is one day more, and not a year.
        let leapt = Folder::with(&[&days[..], &["a/2027-11-24/00000001-sample.png"]].concat());
        assert_eq!(leapt.sweep_on("2027-11-24", false, keep).1.len(), 11);
    }

    #[test]
    fn what_could_not_be_removed_is_not_told_of_as_removed() {
        let folder = Folder::with(&["a/2026-11-01/00000001-sample.png", "a/2026-11-01/00000003-sample.png"]);
        // A folder of a picture's name is none that can be removed as a file.
        std::fs::create_dir(folder.0.path().join("a/2026-11-01/00000002-sample.png")).unwrap();
        let (removed, left) = folder.sweep(|config| config.keep_days = Some(1));
        assert_eq!(removed, [Removed { grave: false, files: 2, bytes: 200, until: "2026-11-01".into() }]);
        assert_eq!(left, ["00000002-sample.png"]);
        let (removed, _) = folder.sweep(|config| config.keep_days = Some(1));
        assert_eq!(removed, [], "nothing happened");
    }
}
