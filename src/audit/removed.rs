//! Which pictures the log says were removed: of others nobody may be missing one.

use std::path::{Path, PathBuf};

use super::kind::Kind;
use super::pictures;
use super::query::Query;
use super::read::{self, Entry};
use crate::Result;
use crate::digest::Digest;

/// So many records at most come between the removal of a picture that has just been stored and its part's record, which goes another way
/// to the log. Where the clock was set back the newest picture counts as the oldest, and may be the next that goes.
const AHEAD: u64 = 1024;

/// Up to which pictures retention removed them, as far as a log tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    folder: PathBuf,
    /// Whether the folder says that it is this log's: then a run's pictures are nowhere else.
    is_own: bool,
    passes: Upto,
    rejects: Upto,
    /// The same, as records say it that nobody vouches for: that explains nothing.
    claimed: [Upto; 2],
}

/// Up to which picture those of one kind were removed, with the number of the record that says so. What a later record says of as much
/// stands for both: numbers rise, and places fall.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Upto(Vec<(u64, Place)>);

impl Upto {
    fn note(&mut self, seq: u64, place: Place) {
        while self.0.pop_if(|(_, before)| *before <= place).is_some() {}
        self.0.push((seq, place));
    }

    /// Whether the picture of the part in record `seq` was removed. A record says nothing of pictures that were taken after it.
    fn covers(&self, seq: u64, place: &Place) -> bool {
        let first = self.0.partition_point(|(told, _)| told.saturating_add(AHEAD) < seq);
        self.0.get(first).is_some_and(|(_, upto)| place <= upto)
    }
}

/// Where a picture is in the order in which those of one kind are removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Days are written so that texts compare as they do.
    day: String,
    file: Last,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Last {
    /// Of a run, of this rank.
    File(String, (Option<u64>, String)),
    /// All of the day: an older program did not say more.
    Day,
}

impl Place {
    /// Of `RUN/DAY/NAME`.
    fn of(file: &str) -> Option<Self> {
        let (run, rest) = file.split_once('/')?;
        let (day, name) = rest.split_once('/')?;
        Some(Place { day: day.to_owned(), file: Last::File(run.to_owned(), pictures::rank(name)) })
    }
}

impl Removed {
    /// What the log in `path`, or that it is a closed file of, says of the pictures in `folder` of the parts that `query` asks for.
    /// Pictures are removed after their parts are written down: what says so stands behind them in the log, whatever its time, which a
    /// clock that was set back or is not set yet makes an earlier one. Records that the query leaves out explain nothing.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn of(path: &Path, folder: &Path, query: &Query) -> Result<Self> {
        let newest = read::newest_of(path).filter(|newest| newest.is_file());
        let path = newest.as_deref().unwrap_or(path);
        let is_own = first_hash(path)?.is_some_and(|hash| pictures::is_of(folder, path, hash));
        let mut removed = Removed { folder: folder.to_owned(), is_own, ..Removed::default() };
        read::each_behind(path, query.begins(), |_, entry| {
            let [passes, rejects] = match query.unvouched.holds(entry.seq) {
                true => removed.claimed.each_mut(),
                false => [&mut removed.passes, &mut removed.rejects],
            };
            let upto = match (entry.kind(), entry.of.as_deref()) {
                (Some(Kind::PicturesRemoved), Some("passes")) => passes,
                (Some(Kind::PicturesRemoved), Some("rejects")) => rejects,
                _ => return Ok(true),
            };
            let day = || entry.until.clone().map(|day| Place { day, file: Last::Day });
            if let Some(place) = entry.last.as_deref().and_then(Place::of).or_else(day) {
                upto.note(entry.seq, place);
            }
            Ok(true)
        })?;
        Ok(removed)
    }

    /// Why a picture that a record names is not there; the record is the part's, or the picture's own one.
    pub fn absence(&self, record: &Entry) -> Absence {
        let named = record.picture.as_ref().and_then(|picture| Some((picture.file.as_deref()?, &picture.why)));
        named.map_or(Absence::Told, |(file, why)| self.absence_of(record.seq, file, pictures::is_grave(why)))
    }

    /// The same of the picture `file`, which record `seq` names; `is_grave`: of a part that did not pass.
    pub(super) fn absence_of(&self, seq: u64, file: &str, is_grave: bool) -> Absence {
        let upto = if is_grave { &self.rejects } else { &self.passes };
        if Place::of(file).is_some_and(|place| upto.covers(seq, &place)) {
            return Absence::Told;
        }
        match file.split('/').next() {
            Some(run) if !self.is_own && !self.folder.join(run).is_dir() => Absence::Elsewhere,
            _ => Absence::Unexplained,
        }
    }

    /// Whether a record says that the picture was removed, and nobody vouches for it; as [`Removed::absence_of`].
    pub(super) fn is_claimed(&self, seq: u64, file: &str, is_grave: bool) -> bool {
        Place::of(file).is_some_and(|place| self.claimed[usize::from(is_grave)].covers(seq, &place))
    }

    /// Whether nobody is to be accused of a picture that is not there.
    pub fn explains(&self, record: &Entry) -> bool {
        self.absence(record) != Absence::Unexplained
    }
}

/// Why a picture is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// The log tells that it was removed, or of none.
    Told,
    /// Nothing of its run is there, and the folder does not say that it is this log's: the pictures may be somewhere else.
    Elsewhere,
    /// Others of its run are there, or the folder says that it is this log's, and nobody says that it was removed.
    Unexplained,
}

/// The hash of the log's first line, as its oldest file that is here tells it.
pub(super) fn first_hash(path: &Path) -> Result<Option<Digest>> {
    /// A line that is the first, or the first of a file that goes on.
    #[derive(serde::Deserialize)]
    struct Opening {
        seq: u64,
        hash: Option<Digest>,
        log: Option<Digest>,
    }
    let Some(oldest) = read::files(path)?.into_iter().next() else { return Ok(None) };
    let mut line = Vec::new();
    read::next_line(&mut read::open(&oldest.path)?, &mut line)
        .map_err(|error| read::cannot_be_read(&oldest.path, error))?;
    let opening = serde_json::from_slice::<Opening>(&line).ok();
    Ok(opening.and_then(|opening| if opening.seq == 0 { opening.hash } else { opening.log }))
}

#[cfg(test)]
mod tests {
    use super::super::read::Range;
    use super::*;

    struct Bench(tempfile::TempDir);

    impl Bench {
        /// Beside the log lies the folder `run` of a run's pictures.
        fn new(lines: &[String]) -> Self {
            let bench = Bench(tempfile::tempdir().unwrap());
            std::fs::create_dir(bench.0.path().join("run")).unwrap();
            std::fs::write(bench.log(), lines.concat()).unwrap();
            bench
        }

        fn log(&self) -> PathBuf {
            self.0.path().join("audit.jsonl")
        }

        fn removed(&self, query: &Query) -> Removed {
            Removed::of(&self.log(), self.0.path(), query).unwrap()
        }
    }

    fn record(seq: u64, time: &str, rest: &str) -> String {
        format!("{{\"seq\":{seq},\"prev\":\"\",\"kind\":\"pictures-removed\",\"time\":\"{time}.000000Z\",{rest}}}\n")
    }

    /// That pictures of passes were removed, or of rejects.
    fn told(seq: u64, of: &str, until: &str) -> String {
        record(seq, &format!("2026-11-24T06:00:{seq:02}"), &format!("\"of\":\"{of}\",\"until\":\"{until}\""))
    }

    /// The record `seq`, of a part or of its picture alone, which is this one of the run and was kept for this reason.
    fn part(seq: u64, file: &str, why: &str) -> Entry {
        let json = format!(
            "{{\"seq\":{seq},\"kind\":\"picture\",\"time\":\"\",\
             \"picture\":{{\"why\":\"{why}\",\"file\":\"run/{file}\"}}}}"
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn what_was_removed_explains_older_pictures_of_its_kind_alone() {
        let lines =
            [told(0, "passes", "2026-11-20"), told(1, "rejects", "2026-11-02"), told(2, "passes", "2026-11-19")];
        let bench = Bench::new(&lines);
        let closed = bench.0.path().join("audit.000001.jsonl");
        std::fs::write(&closed, "").unwrap();
        let removed = Removed::of(&closed, bench.0.path(), &Query::default()).unwrap();
        let explains = |day: &str, why: &str| removed.explains(&part(0, &format!("{day}/00000012-{why}.jpg"), why));
        assert!(explains("2026-11-20", "sample") && !explains("2026-11-21", "sample"));
        assert!(explains("2026-11-20", "around") && !explains("2026-11-21", "around"));
        assert!(explains("2026-11-02", "reject") && !explains("2026-11-20", "unknown"));
        std::fs::remove_dir(bench.0.path().join("run")).unwrap();
        assert!(explains("2026-11-21", "sample"), "nothing of the run is here");
        let absence = |day: &str| removed.absence(&part(0, &format!("{day}/00000012-sample.jpg"), "sample"));
        assert_eq!([absence("2026-11-20"), absence("2026-11-21")], [Absence::Told, Absence::Elsewhere]);
        // A newer program says which picture of the day was the last.
        let last = "\"last\":\"run/2026-11-02/00000011-reject.jpg\",\"until\"";
        let bench = Bench::new(&[told(3, "rejects", "2026-11-02").replace("\"until\"", last)]);
        let removed = bench.removed(&Query::default());
        let explains = |file: &str| removed.explains(&part(0, file, "reject"));
        assert!(explains("2026-11-01/00000012-reject.jpg") && explains("2026-11-02/00000011-reject.jpg"));
        assert!(!explains("2026-11-02/00000012-reject.jpg"), "of the same day, and nobody said so");
        assert!(!explains("2026-11-02/100000000-reject.jpg"), "many digits later");
    }

    #[test]
    fn a_removal_is_found_whatever_the_clock_says_and_explains_no_picture_that_was_taken_after_it() {
        let rest = |of: &str, day: &str| format!("\"of\":\"{of}\",\"until\":\"{day}\"");
        let note = "\"text\":\"n\"";
        let lines = [
            // The clock was years ahead.
            record(10, "2030-01-01T00:00:00", &rest("rejects", "2029-12-31")),
            record(5_000, "2026-11-23T12:00:00", note),
            // The machine begins without a clock, and its disk is full: yesterday's pictures go.
            record(5_001, "2000-01-01T00:00:07", &rest("passes", "2026-11-23")),
            record(5_002, "2026-11-24T12:00:00", note),
        ];
        let bench = Bench::new(&lines);
        let yesterday = Range { from: "2026-11-23T00:00:00Z".parse().ok(), to: "2026-11-24T00:00:00Z".parse().ok() };
        let closed = |lines: &[String], number: u64| {
            std::fs::write(bench.0.path().join(format!("audit.{number:06}.jsonl")), lines.concat()).unwrap();
        };
        let check = |query: &Query| {
            let removed = bench.removed(query);
            assert!(removed.explains(&part(4_000, "2026-11-23/00000012-sample.jpg", "sample")), "{query:?}");
            assert!(
                !removed.explains(&part(4_000, "2026-11-23/00000013-reject.jpg", "reject")),
                "taken after it: {query:?}"
            );
            assert!(!removed.explains(&part(4_000, "2026-11-24/00000014-sample.jpg", "sample")));
        };
        let query = Query { range: yesterday, ..Query::default() };
        check(&query);
        // It is the same where each is in a file of its own, and compressed.
        (0..3).for_each(|i| closed(&lines[i..=i], i as u64 + 1));
        std::fs::write(bench.log(), &lines[3]).unwrap();
        check(&query);
        for number in 1..=3 {
            let plain = bench.0.path().join(format!("audit.{number:06}.jsonl"));
            let mut packed = std::fs::File::create(plain.with_added_extension("gz")).unwrap();
            read::pack(read::open(&plain).unwrap(), &mut packed).unwrap();
            std::fs::remove_file(plain).unwrap();
        }
        check(&query);
        let all = bench.removed(&Query::default());
        assert!(all.explains(&part(9, "2026-11-23/00000013-reject.jpg", "reject")), "the one that was taken before");
    }
}
