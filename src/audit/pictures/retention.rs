//! How long pictures are kept: by age, in whole days, and by space. Those of rejected parts, and of parts without a verdict,
//! outlive those of passed ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use super::Why;
use super::days::Days;
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

impl Lot {
    fn folder(&self, pictures: &Path) -> PathBuf {
        pictures.join(&self.run).join(&self.day)
    }
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
    days: Days,
    bytes: u64,
    keep_days: Option<u32>,
    keep_rejects_days: Option<u32>,
    keep_bytes: Option<u64>,
    /// Those that cannot be listed.
    unread: BTreeSet<Lot>,
}

/// A picture that is to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Doomed {
    lot: Lot,
    path: PathBuf,
    bytes: u64,
}

/// Pictures of passes or of rejects that are to be removed, at least one. The log tells of them before the first of them goes: whoever
/// finds one gone finds out there who removed it, whatever moment the program is killed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch(Vec<Doomed>);

impl Batch {
    pub(super) fn record(&self) -> Body {
        let bytes = self.0.iter().map(|doomed| doomed.bytes).sum();
        // Cannot fail: a batch is made of pictures.
        let last = self.0.iter().max_by(|a, b| a.place().cmp(&b.place())).expect("a batch holds pictures");
        let (of, count) = (if last.lot.grave { "rejects" } else { "passes" }, self.0.len() as u64);
        let file = format!("{}/{}/{}", last.lot.run, last.lot.day, name_of(&last.path));
        Body::pictures_removed(Monotonic::now(), of, count, bytes, &last.lot.day, &file)
    }

    /// Takes so many of the pictures out, the first of them; `None` where there are none any more.
    pub(super) fn split_off(&mut self, most: usize) -> Option<Batch> {
        let slice = self.0.drain(..most.min(self.0.len())).collect::<Vec<_>>();
        (!slice.is_empty()).then_some(Batch(slice))
    }

    /// Whether all were taken out.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Doomed {
    /// The order in which pictures of one kind are removed.
    fn place(&self) -> (&str, &str, (Option<u64>, String)) {
        (&self.lot.day, &self.lot.run, rank(&name_of(&self.path)))
    }
}

/// The order of the pictures of a run and day, by their files' names: that of their parts, which are many digits after some months.
pub(in crate::audit) fn rank(name: &str) -> (Option<u64>, String) {
    let part = name.split('-').next().and_then(|digits| digits.parse().ok());
    (part, name.to_owned())
}

/// What could not be removed, though the log says that it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) files: u64,
    /// Why, of the first of them.
    pub(super) why: String,
}

/// Whether a picture that is kept for this reason is one of a reject, or of a part without a verdict: these outlive those of passes.
pub(in crate::audit) fn is_grave(why: &str) -> bool {
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
        let days = Days::open(&config.folder);
        let (lots, unread) = Default::default();
        let mut stock = Stock { lots, days, bytes: 0, keep_days, keep_rejects_days, keep_bytes, unread };
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

    /// The runs of which pictures are there.
    pub(super) fn runs(&self) -> BTreeSet<&str> {
        self.lots.keys().map(|lot| lot.run.as_str()).collect()
    }

    pub(super) fn is_over_full(&self) -> bool {
        self.keep_bytes.is_some_and(|most| self.bytes > most)
    }

    /// What is too old on the day `today`, and as much as is too much: passes, and then rejects. While nobody keeps the clock right
    /// (`synchronised`), it alone makes nothing old: somebody may have set it to another year.
    pub(super) fn doomed(&mut self, folder: &Path, today: &str, synchronised: bool) -> Vec<Batch> {
        let pictured = self.lots.keys().map(|lot| lot.day.clone()).collect::<BTreeSet<_>>();
        self.days.note(today, pictured.first().map(String::as_str));
        let is_old = |lot: &Lot| self.is_old(lot, today, (!synchronised).then_some(&pictured));
        let (old, young) = self.lots.keys().cloned().partition::<Vec<_>, _>(is_old);
        let mut doomed = Vec::new();
        let mut left = self.bytes;
        for lot in old {
            left -= self.take_of(folder, &lot, u64::MAX, &mut doomed).min(left);
        }
        for lot in young {
            let Some(more) = self.keep_bytes.and_then(|most| left.checked_sub(most)).filter(|more| *more > 0) else {
                break;
            };
            left -= self.take_of(folder, &lot, more, &mut doomed).min(left);
        }
        let (rejects, passes) = doomed.into_iter().partition::<Vec<_>, _>(|doomed| doomed.lot.grave);
        [passes, rejects].into_iter().filter(|files| !files.is_empty()).map(Batch).collect()
    }

    /// Dooms pictures of a lot, the oldest first, until so many bytes would be free; gives how many are. A lot that is not there any
    /// more is forgotten; one that cannot be listed takes its room for as long as that lasts.
    fn take_of(&mut self, folder: &Path, lot: &Lot, bytes: u64, doomed: &mut Vec<Doomed>) -> u64 {
        let place = lot.folder(folder);
        let mut files = match pictures(&place) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                if self.unread.insert(lot.clone()) {
                    log::warn!("pictures in {} cannot be listed, and stay for now: {error}", place.display());
                }
                return 0;
            }
            files => files.unwrap_or_default(),
        };
        self.unread.remove(lot);
        files.retain(|(why, ..)| is_grave(why) == lot.grave);
        files.sort_by_key(|(_, path, _)| rank(&name_of(path)));
        let all = self.lots.get(lot).map_or(0, |amount| amount.bytes);
        if files.is_empty() {
            self.lots.remove(lot);
            self.bytes = self.bytes.saturating_sub(all);
            return all;
        }
        let mut free = 0;
        for (_, path, size) in files {
            if free >= bytes {
                return free;
            }
            free += size;
            doomed.push(Doomed { lot: lot.clone(), path, bytes: size });
        }
        all
    }

    /// Whether a lot is too old on the day `today`. With `pictured`, the days of which there are pictures, as many days must have been
    /// seen after it as it is kept for.
    fn is_old(&self, lot: &Lot, today: &str, pictured: Option<&BTreeSet<String>>) -> bool {
        let keep = if lot.grave { self.keep_rejects_days } else { self.keep_days };
        let (Some(keep), Ok(day), Ok(today)) = (keep, lot.day.parse::<Date>(), today.parse::<Date>()) else {
            return false;
        };
        let keep = keep.min(i32::MAX as u32) as i32;
        today.since(day).is_ok_and(|age| age.get_days() > keep)
            && pictured.is_none_or(|pictured| self.days.after(&lot.day, pictured) > keep as usize)
    }

    /// Removes pictures of a batch that the log has told of. What cannot be removed is not counted any longer, since it must not be tried for
    /// ever; it is given back.
    pub(super) fn remove(&mut self, folder: &Path, batch: &Batch) -> Option<Left> {
        let mut left = None::<Left>;
        let mut tried = BTreeMap::<&Lot, Amount>::new();
        for doomed in &batch.0 {
            tried.entry(&doomed.lot).or_default().count(doomed.bytes);
            match std::fs::remove_file(&doomed.path) {
                Ok(()) => {}
                // Somebody else did.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    log::warn!("picture {} cannot be removed: {error}", doomed.path.display());
                    let why = format!("{}: {error}", doomed.path.display());
                    left.get_or_insert(Left { files: 0, why }).files += 1;
                }
            }
        }
        for (lot, tried) in tried {
            self.forget(lot, tried);
            // Other pictures of that day, or of another day, may be left: then they stay.
            let _ = std::fs::remove_dir(lot.folder(folder)).and_then(|()| std::fs::remove_dir(folder.join(&lot.run)));
        }
        left
    }

    /// So much of a lot is not there any more, or cannot be removed.
    fn forget(&mut self, lot: &Lot, tried: Amount) {
        let Some(amount) = self.lots.get_mut(lot) else { return };
        if amount.files <= tried.files {
            let bytes = amount.bytes;
            self.lots.remove(lot);
            self.bytes = self.bytes.saturating_sub(bytes);
        } else {
            amount.files -= tried.files;
            amount.bytes = amount.bytes.saturating_sub(tried.bytes);
            self.bytes = self.bytes.saturating_sub(tried.bytes);
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
            match entry.metadata() {
                Ok(metadata) => found.push((why.to_owned(), entry.path(), metadata.len())),
                // Somebody removed it meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    /// What a record says.
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Told {
        of: String,
        pictures: u64,
        bytes: u64,
        until: String,
        last: String,
    }

    impl Told {
        fn of(batch: &Batch) -> Self {
            serde_json::from_str(&batch.record().0).unwrap()
        }

        fn new(of: &str, pictures: u64, last: &str) -> Self {
            let until = last.split('/').nth(1).unwrap().into();
            Told { of: of.into(), pictures, bytes: 100 * pictures, until, last: last.into() }
        }
    }

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

        fn sweep(&self, change: impl FnOnce(&mut PicturesConfig)) -> (Vec<Told>, Vec<String>) {
            self.sweep_on("2026-11-24", true, change)
        }

        fn sweep_on(
            &self,
            today: &str,
            synchronised: bool,
            change: impl FnOnce(&mut PicturesConfig),
        ) -> (Vec<Told>, Vec<String>) {
            let mut config = PicturesConfig::in_folder(self.0.path().into());
            change(&mut config);
            let mut stock = Stock::take(&config).unwrap();
            let batches = stock.doomed(self.0.path(), today, synchronised);
            let before = stock.bytes();
            batches.iter().for_each(|batch| assert_eq!(stock.remove(self.0.path(), batch), None));
            let told = batches.iter().map(Told::of).collect::<Vec<_>>();
            assert_eq!(before - stock.bytes(), told.iter().map(|told| told.bytes).sum::<u64>());
            let days = folders(self.0.path()).unwrap().into_iter().flat_map(|run| folders(&run).unwrap());
            let left =
                days.flat_map(|day| std::fs::read_dir(day).unwrap().map(|entry| name_of(&entry.unwrap().path())));
            let mut left = left.collect::<Vec<_>>();
            left.sort();
            (told, left)
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
        assert_eq!(removed, [Told::new("passes", 1, files[0])]);
        assert_eq!(left.len(), 4);
        let by_space = |most| Folder::with(&files).sweep(|config| config.keep_bytes = Some(most));
        assert_eq!(by_space(500).0, []);
        let (removed, left) = by_space(250);
        assert_eq!(removed, [Told::new("passes", 3, files[3])]);
        assert_eq!(left, ["00000002-reject.jpg", "00000002-unknown.png"]);
        let (removed, left) = by_space(100);
        assert_eq!((removed.len(), &removed[1]), (2, &Told::new("rejects", 1, files[1])));
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
        assert_eq!(removed, [Told::new("passes", 1, "a/2026-11-01/00000001-sample.png")]);
        assert_eq!(left, ["00000010-sample.png", "notes-of-somebody.txt"]);
        let (_, left) = folder.sweep(|config| config.keep_days = Some(1));
        assert_eq!(left, ["notes-of-somebody.txt"]);
    }

    #[test]
    fn parts_of_many_digits_are_newer_than_those_of_few() {
        let files = ["a/2026-11-01/99999999-sample.png", "a/2026-11-01/100000000-sample.png"];
        let (removed, left) = Folder::with(&files).sweep(|config| config.keep_bytes = Some(150));
        assert_eq!((removed, left), (vec![Told::new("passes", 1, files[0])], vec!["100000000-sample.png".to_owned()]));
        let (removed, _) = Folder::with(&files).sweep(|config| config.keep_bytes = Some(0));
        assert_eq!(removed, [Told::new("passes", 2, files[1])]);
    }

    #[test]
    fn what_cannot_be_listed_is_there_still() {
        let folder = Folder::with(&["a/2026-11-01/00000001-sample.png", "a/2026-11-02/00000002-sample.png"]);
        let mut config = PicturesConfig::in_folder(folder.0.path().into());
        config.keep_bytes = Some(50);
        let mut stock = Stock::take(&config).unwrap();
        // As when the disk fails: what stands there is no folder that can be read.
        let (day, away) = (folder.0.path().join("a/2026-11-01"), folder.0.path().join("a/away"));
        std::fs::rename(&day, &away).unwrap();
        std::fs::write(&day, "no folder").unwrap();
        let batches = stock.doomed(folder.0.path(), "2026-11-24", true);
        assert_eq!(Told::of(&batches[0]).pictures, 1, "the other day's");
        assert_eq!(stock.remove(folder.0.path(), &batches[0]), None);
        assert!(stock.bytes() == 100 && stock.is_over_full());
        assert!(stock.doomed(folder.0.path(), "2026-11-24", true).is_empty());
        std::fs::remove_file(&day).unwrap();
        std::fs::rename(&away, &day).unwrap();
        let batches = stock.doomed(folder.0.path(), "2026-11-24", true);
        assert_eq!(Told::of(&batches[0]), Told::new("passes", 1, "a/2026-11-01/00000001-sample.png"));
        stock.remove(folder.0.path(), &batches[0]);
        assert!(stock.bytes() == 0 && !stock.is_over_full());
    }

    #[test]
    fn a_clock_that_nobody_keeps_right_makes_nothing_old_alone() {
        let days = (10..=24).map(|day| format!("a/2026-11-{day}/000000{day}-sample.png")).collect::<Vec<_>>();
        let days = days.iter().map(String::as_str).collect::<Vec<_>>();
        let keep = |config: &mut PicturesConfig| config.keep_days = Some(10);
        let left = |today: &str, synchronised: bool| Folder::with(&days).sweep_on(today, synchronised, keep).1.len();
        assert_eq!(left("2027-11-24", true), 0, "whoever keeps it right has said that a year is over");
        assert_eq!((left("2026-11-24", true), left("2026-11-24", false)), (11, 11));
        assert_eq!(left("2027-11-24", false), 10, "one day more, and not a year, whatever the clock says");
        // So is the picture that is taken then.
        let leapt = Folder::with(&[&days[..], &["a/2027-11-24/00000001-sample.png"]].concat());
        assert_eq!(leapt.sweep_on("2027-11-24", false, keep).1.len(), 11);
    }

    #[test]
    fn sparse_pictures_go_by_age_too_where_nobody_keeps_the_clock_right() {
        let folder = Folder::with(&["a/2026-11-01/00000001-reject.png", "a/2026-11-08/00000002-reject.png"]);
        let keep = |config: &mut PicturesConfig| config.keep_rejects_days = Some(10);
        // A run begins each day but for Sundays, on which nobody sees the clock; of the first there is a picture.
        let days = (1..=30).filter(|day| day % 7 != 1);
        let left = days.map(|day| (day, folder.sweep_on(&format!("2026-11-{day:02}"), false, keep).1.len()));
        let left = left.collect::<Vec<_>>();
        let fell = |to: usize| left.iter().find(|(_, left)| *left == to).map(|(day, _)| *day);
        assert_eq!((fell(1), fell(0)), (Some(12), Some(20)), "{left:?}");
        let known = std::fs::read_to_string(folder.0.path().join("days.txt")).unwrap();
        assert_eq!(known.lines().last(), Some("2026-11-30"));
        assert!(known.lines().count() < 12, "what is older than every picture is forgotten: {known}");
    }

    #[test]
    fn what_could_not_be_removed_is_told_of_and_not_tried_for_ever() {
        let folder = Folder::with(&["a/2026-11-01/00000001-sample.png", "a/2026-11-01/00000003-sample.png"]);
        // A folder of a picture's name is none that can be removed as a file.
        std::fs::create_dir(folder.0.path().join("a/2026-11-01/00000002-sample.png")).unwrap();
        let mut config = PicturesConfig::in_folder(folder.0.path().into());
        config.keep_days = Some(1);
        let mut stock = Stock::take(&config).unwrap();
        let batches = stock.doomed(folder.0.path(), "2026-11-24", true);
        assert_eq!(Told::of(&batches[0]).pictures, 3);
        let left = stock.remove(folder.0.path(), &batches[0]).unwrap();
        assert!(left.files == 1 && left.why.contains("00000002-sample.png"), "{left:?}");
        assert_eq!(std::fs::read_dir(folder.0.path().join("a/2026-11-01")).unwrap().count(), 1);
        assert!(stock.doomed(folder.0.path(), "2026-11-24", true).is_empty());
    }

    #[test]
    fn nothing_goes_before_it_is_told_of_and_what_goes_meanwhile_is_not_counted_for_ever() {
        let folder = Folder::with(&["a/2026-11-01/00000001-sample.png", "b/2026-11-02/00000001-sample.png"]);
        let mut config = PicturesConfig::in_folder(folder.0.path().into());
        config.keep_bytes = Some(100);
        let mut stock = Stock::take(&config).unwrap();
        let batches = stock.doomed(folder.0.path(), "2026-11-24", true);
        assert_eq!(Told::of(&batches[0]), Told::new("passes", 1, "a/2026-11-01/00000001-sample.png"));
        assert!(folder.0.path().join("a/2026-11-01/00000001-sample.png").exists() && stock.is_over_full());
        // Somebody removes it by hand, and the rest.
        std::fs::remove_dir_all(folder.0.path().join("a")).unwrap();
        assert_eq!(stock.remove(folder.0.path(), &batches[0]), None);
        assert!(!stock.is_over_full());
        std::fs::remove_dir_all(folder.0.path().join("b")).unwrap();
        stock.keep_bytes = Some(0);
        assert!(stock.doomed(folder.0.path(), "2026-11-24", true).is_empty());
        assert!(!stock.is_over_full());
    }
}
