//! How long closed files of the log itself are kept: by age, in days, and by space. The oldest go first, and none before the log tells of it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::chain::Envelope;
use super::desk::Desk;
use super::is_synchronised;
use super::read::{self, LogFile};
use super::record::Body;
use super::signatures::Trust;
use super::verify;
use crate::config::RetentionConfig;
use crate::digest::Digest;
use crate::draft::sync_folder;
use crate::time::Monotonic;
use crate::{Result, print};

/// Tells what files the log has; asked again, it may have closed some, or compressed them.
pub(super) type List<'l> = &'l dyn Fn() -> Result<Vec<LogFile>>;

/// Removes closed files that need not be kept any longer.
pub(super) struct Retention {
    /// The hash of the log's first line: a file of another log is nobody's to remove.
    log: Option<Digest>,
    config: RetentionConfig,
    /// Who signs the log; `None`: nobody.
    trust: Option<Trust>,
    desk: Arc<Desk>,
    /// Held while files are judged and removed.
    told: Mutex<Told>,
    /// The notes that the log took.
    noted: Mutex<BTreeSet<String>>,
}

/// What the log tells of removals.
#[derive(Default)]
struct Told {
    /// Files that it told of and that could not be removed, the oldest first.
    left: Vec<PathBuf>,
    /// The records that the newest removal tells of, once this run looked for it or told of one; none where nobody tells of any.
    newest: Option<Range<u64>>,
}

impl Retention {
    /// For the log that begins with the line of the hash `log` and is signed by those of `trust`, where `config` asks for it. What is removed
    /// is told to `desk` before.
    pub(super) fn of(
        log: Option<Digest>,
        config: RetentionConfig,
        trust: Option<Trust>,
        desk: Arc<Desk>,
    ) -> Option<Arc<Self>> {
        let (told, noted) = Default::default();
        let retention = Retention { log, config, trust, desk, told, noted };
        config.is_on().then(|| Arc::new(retention))
    }

    /// Removes what need not be kept any longer of the log whose files `list` tells. This waits until the log tells of it: a slow disk holds up
    /// the thread that it is on.
    pub(super) fn look(&self, list: List) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // What stands before must go first: a file that is missing between others is told as that.
        if !self.remove(&mut told.left) {
            return;
        }
        match self.doomed(&mut told.newest, list) {
            Ok(Some(doomed)) if self.desk.tell(&doomed.record()) => {
                told.newest = Some(doomed.from..doomed.cut.records);
                told.left = doomed.files.into_iter().map(|file| file.path).collect();
                self.remove(&mut told.left);
            }
            Ok(_) => {}
            Err(error) => self.note(&format!("closed files of the log are not removed: {}", error.line())),
        }
    }

    /// What is to go now, where `newest` are the records that the newest removal tells of, if that is known. `None` also where somebody carried
    /// some of it away meanwhile: that was not the line.
    fn doomed(&self, newest: &mut Option<Range<u64>>, list: List) -> Result<Option<Doomed>> {
        let stock = Stock::of(list()?, self.log);
        if let Some(stopped) = &stock.stopped {
            self.note(stopped);
        }
        let now = is_synchronised().then(Timestamp::now);
        let is_believed = |file: &LogFile| self.trust.as_ref().is_none_or(|trust| verify::is_signed(file, trust));
        let Some((most, why)) = stock.choose(self.config, now, is_believed) else { return Ok(None) };
        // One of another time that somebody put in the place of a file has the line tell of what is between as removed by itself.
        let whole = verify::continued(&stock.files[..=most]);
        // The last one may have been compressed meanwhile, and be whole.
        if whole < most && !stock.files[whole..=whole + 1].iter().any(is_gone) {
            self.note(&stopped(&stock.files[whole], Some(&stock.files[whole + 1])));
        }
        let Some(place) = whole.checked_sub(1) else { return Ok(None) };
        let from = self.goes_on_from(&stock, newest, list)?;
        let doomed = stock.doomed(place, from, why);
        Ok(list()?.starts_with(&doomed.files).then_some(doomed))
    }

    /// The first record of all that the line removed, with what goes now. Records of earlier removals go with the files that they are in: the
    /// next one tells of as much, unless somebody else took what is between.
    fn goes_on_from(&self, stock: &Stock, newest: &mut Option<Range<u64>>, list: List) -> Result<u64> {
        if stock.from == 0 {
            return Ok(0);
        }
        let told = match newest.take().filter(|told| stock.goes_on(told)) {
            Some(told) => told,
            None => self.told_before(stock, list)?.unwrap_or(stock.from..stock.from),
        };
        Ok(newest.insert(told).start)
    }

    /// The records that the newest removal tells of that this stock goes on from. A file that is not as it was written tells of none, and is an
    /// error where no other one does.
    fn told_before(&self, stock: &Stock, list: List) -> Result<Option<Range<u64>>> {
        let mut unread = None;
        for place in (0..stock.files.len()).rev() {
            match self.told_in(&stock.files, place, list) {
                Ok(told) => {
                    let newest = told.into_iter().rfind(|told| stock.goes_on(told));
                    if newest.is_some() {
                        return Ok(newest);
                    }
                }
                Err(error) => unread = unread.or(Some(error)),
            }
        }
        unread.map_or(Ok(None), Err)
    }

    /// The records that the file in this place of `files` tells of as removed. It is the first behind the one before it, whatever its name is by
    /// now: the newest gets another one when it is closed, and so does that when it is compressed.
    fn told_in(&self, files: &[LogFile], place: usize, list: List) -> Result<Vec<Range<u64>>> {
        let nobody = Trust::default();
        let trust = self.trust.as_ref().unwrap_or(&nobody);
        let before = place.checked_sub(1).and_then(|before| files[before].number);
        let mut file = files[place].clone();
        loop {
            let told = verify::removals(&file, trust);
            if told.is_ok() && file.number.is_some() {
                return told;
            }
            match list()?.into_iter().find(|now| now.number.is_none_or(|number| Some(number) > before)) {
                Some(now) if now != file => file = now,
                _ => return told,
            }
        }
    }

    /// Removes files that the log told of, and takes them out of `left`; says whether all are gone. That each is gone is on disk before the
    /// next one goes: after a power cut none is missing between others.
    fn remove(&self, left: &mut Vec<PathBuf>) -> bool {
        while let Some(file) = left.first() {
            let removed = match std::fs::remove_file(file) {
                // An earlier attempt, or somebody else, did.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            };
            if let Err(error) = removed.and_then(|()| sync_folder(file)) {
                let name = print::name(file.file_name().unwrap_or_default().to_string_lossy());
                self.note(&format!("{name} was to be removed, and could not be: {error}"));
                return false;
            }
            left.remove(0);
        }
        true
    }

    /// Tells once what keeps closed files from being removed, also in the log.
    pub(super) fn note(&self, told: &str) {
        if read::is_news(told) {
            log::warn!("{told}");
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        // While the log takes no records it waits.
        if !noted.contains(told) && self.desk.offer(Body::note(Monotonic::now(), told)).is_some() {
            noted.insert(told.to_owned());
        }
    }
}

/// What is to be said where a closed file of the log in `path`, which begins with the line of the hash `log`, keeps all from it on from being
/// removed; `None` where none does, as far as their first lines tell.
///
/// # Errors
///
/// The log's folder cannot be read.
pub(super) fn stopped_by(path: &Path, log: Option<Digest>) -> Result<Option<String>> {
    Ok(Stock::of(read::files(path)?, log).stopped)
}

/// The closed files of a log that may be removed.
struct Stock {
    files: Vec<LogFile>,
    cuts: Vec<Cut>,
    /// The first record that is here.
    from: u64,
    /// What is to be said where a file is not what must come there: it stays, and so does the one before it, and all behind.
    stopped: Option<String>,
    /// Bytes of the whole log.
    bytes: u64,
}

/// A place between two closed files, up to which the log may be removed.
struct Cut {
    /// So many files are before it.
    files: usize,
    /// So many records.
    records: u64,
    /// So many bytes.
    bytes: u64,
    /// When the file behind it began, as its first record says: all that is before was written by then.
    time: String,
    /// Whether others kept the clock right then.
    synchronised: bool,
}

impl Stock {
    /// What these files are of the log that begins with the line of the hash `log`.
    fn of(files: Vec<LogFile>, log: Option<Digest>) -> Self {
        let sizes = files.iter().map(|file| file.path.metadata().map_or(0, |found| found.len())).collect::<Vec<_>>();
        let mut stock = Stock { cuts: Vec::new(), from: 0, stopped: None, bytes: sizes.iter().sum(), files };
        let Some(first) = stock.files.first().filter(|first| first.number.is_some()) else { return stock };
        match own_beginning(first, log) {
            Some(begins) => stock.cut(begins.seq, &sizes, log),
            None if is_gone(first) => {}
            None => stock.stopped = Some(stopped(first, None)),
        }
        stock
    }

    /// Finds where it may be cut, from its record `from` on, as far as one file continues another.
    fn cut(&mut self, from: u64, sizes: &[u64], log: Option<Digest>) {
        self.from = from;
        let (mut records, mut bytes) = (from, 0);
        for (place, pair) in self.files.windows(2).enumerate() {
            // The newest closed file stays, and so does what is not compressed yet, with all behind it.
            if pair[1].number.is_none() || !pair[0].is_compressed() || !pair[0].path.is_file() {
                break;
            }
            let Some(begins) = next_beginning(pair, records, log) else {
                // Whoever carries files away may do so now.
                self.stopped = (!is_gone(&pair[1])).then(|| stopped(&pair[0], Some(&pair[1])));
                break;
            };
            (records, bytes) = (begins.seq, bytes + sizes[place]);
            let synchronised = begins.synchronised == Some(true);
            self.cuts.push(Cut { files: place + 1, records, bytes, time: begins.time, synchronised });
        }
    }

    /// Whether it begins within the records that a removal tells of, or right behind them: some that were told of may not be gone.
    fn goes_on(&self, told: &Range<u64>) -> bool {
        told.start <= self.from && self.from <= told.end
    }

    /// So many cuts take what is too old at `now`, and as much as is too much; `None`: nothing goes. While nobody keeps the clock right there is no `now`, and nothing is too old:
    /// somebody may have set it to another year. Of a file that is not believed to be what was written nobody knows when it began: who made it
    /// older would have the line remove what was before it.
    fn choose(
        &self,
        config: RetentionConfig,
        now: Option<Timestamp>,
        is_believed: impl Fn(&LogFile) -> bool,
    ) -> Option<(usize, Why)> {
        let old = config.days.zip(now).and_then(|(days, now)| {
            let old = self.old(days, now).into_iter().rev();
            old.into_iter().find(|place| is_believed(&self.files[self.cuts[*place].files]))
        });
        let much = config.bytes.filter(|most| self.bytes > *most).and_then(|most| {
            let enough = self.cuts.iter().position(|cut| self.bytes - cut.bytes <= most);
            enough.or(self.cuts.len().checked_sub(1))
        });
        let why = if old >= much { Why::Age } else { Why::Space };
        Some((old.max(much)? + 1, why))
    }

    /// The places of the cuts of which what is before was written more than so many days before `now`. A time that was written while nobody
    /// kept the clock right may be of another year, and so is one that is still to come; and a clock that was set back was not right before,
    /// or is not now.
    fn old(&self, days: u32, now: Timestamp) -> Vec<usize> {
        let kept = SignedDuration::from_hours(24 * i64::from(days));
        let (mut newest, mut old) = (Timestamp::MIN, Vec::new());
        for (place, cut) in self.cuts.iter().enumerate().filter(|(_, cut)| cut.synchronised) {
            let Ok(time) = cut.time.parse::<Timestamp>() else { continue };
            if newest < time && time <= now {
                newest = time;
                old.extend((now.duration_since(time) > kept).then_some(place));
            }
        }
        old
    }

    /// What goes with the cut in `place`, where the line removed all from record `from` on.
    fn doomed(mut self, place: usize, from: u64, why: Why) -> Doomed {
        let cut = self.cuts.swap_remove(place);
        self.files.truncate(cut.files);
        Doomed { files: self.files, from, cut, why }
    }
}

/// The file's first record, where it is as it was written and of the log that begins with the line of the hash `log`: what tells no log may be
/// anybody's. Where nobody knows that hash any more each file is believed.
fn own_beginning(file: &LogFile, log: Option<Digest>) -> Option<Envelope> {
    file.beginning().filter(|begins| log.is_none_or(|log| begins.own_log() == Some(log)))
}

/// The first record of the second of two files, where it is what comes behind the first one and its first `records` records. Else who moves an
/// old file behind newer ones has the line remove those as old, and sign that.
fn next_beginning(pair: &[LogFile], records: u64, log: Option<Digest>) -> Option<Envelope> {
    let begins = own_beginning(&pair[1], log).filter(|begins| begins.continues().is_some() && begins.seq > records);
    begins.filter(|_| pair[1].continued() == pair[0].number)
}

/// Whether the file does not bear its name any more.
fn is_gone(file: &LogFile) -> bool {
    !file.path.is_file()
}

/// That nothing from `file` on is removed, because of its own beginning, or since it is not what `next` continues.
fn stopped(file: &LogFile, next: Option<&LogFile>) -> String {
    let name = |file: &LogFile| print::name(file.path.display());
    let what = next.map_or("it does not begin as a file of this log does".to_owned(), |next| {
        format!("it is not what {} continues", name(next))
    });
    format!(
        "from {} on no closed file of the log is removed: {what} (changed, damaged or cut off, of another log or of a program that did not say of \
         which, under another name than its own, or with one missing beside it); hgad audit verify says what it is",
        name(file)
    )
}

/// Why files are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Why {
    Age,
    Space,
}

/// Closed files that are to be removed, at least one.
struct Doomed {
    files: Vec<LogFile>,
    /// The first record that the line removed, now or before. What was before it somebody else took.
    from: u64,
    cut: Cut,
    why: Why,
}

impl Doomed {
    /// What the log tells of it.
    fn record(&self) -> Body {
        #[derive(Serialize)]
        struct Removed {
            files: usize,
            first: String,
            last: String,
            from: u64,
            records: u64,
            bytes: u64,
            until: String,
            why: Why,
        }
        let name = |file: Option<&LogFile>| {
            let name = file.and_then(|file| file.path.file_name());
            name.unwrap_or_default().to_string_lossy().into_owned()
        };
        let last = self.files.last();
        // Of one that cannot be read the next one tells by when it was written.
        let span = last.and_then(|last| read::span_of(last).ok().flatten());
        let removed = Removed {
            files: self.files.len(),
            first: name(self.files.first()),
            last: name(last),
            from: self.from,
            records: self.cut.records,
            bytes: self.cut.bytes,
            until: span.map_or_else(|| self.cut.time.clone(), |(_, greatest)| greatest),
            why: self.why,
        };
        Body::log_removed(Monotonic::now(), removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that closed a compressed file of 100 bytes a day from 2026-11-01 on, and has more that stays. `wrong`: those whose first records say
    /// something else, and whether the clock was kept right by then.
    fn stock(days: usize, wrong: &[(usize, &str, bool)]) -> Stock {
        let name = |number: usize| PathBuf::from(format!("audit.{number:06}.jsonl.gz"));
        let files = (1..=days + 1).map(|number| LogFile { path: name(number), number: Some(number as u64) }).collect();
        let cuts = (1..=days).map(|place| {
            let right = format!("2026-11-{place:02}T12:00:00.000000Z");
            let said = wrong.iter().find(|(other, ..)| *other == place);
            let (time, synchronised) =
                said.map_or((right.as_str(), true), |(_, time, synchronised)| (time, *synchronised));
            let (records, bytes) = (10 * place as u64, 100 * place as u64);
            Cut { files: place, records, bytes, time: time.to_owned(), synchronised }
        });
        Stock { cuts: cuts.collect(), files, from: 0, stopped: None, bytes: 100 * days as u64 + 50 }
    }

    /// This file is not what was written.
    const FORGED: u64 = 21;

    /// How many of 20 files go, and why.
    fn gone(
        config: (Option<u32>, Option<u64>),
        now: &str,
        synchronised: bool,
        wrong: &[(usize, &str, bool)],
    ) -> Option<(usize, Why)> {
        let config = RetentionConfig { days: config.0, bytes: config.1 };
        let now = synchronised.then(|| now.parse().unwrap());
        let stock = stock(20, wrong);
        let (cuts, why) = stock.choose(config, now, |file| file.number != Some(FORGED))?;
        let doomed = stock.doomed(cuts - 1, 0, why);
        assert_eq!((doomed.files.len(), doomed.cut.records), (cuts, 10 * cuts as u64));
        Some((cuts, doomed.why))
    }

    #[test]
    fn the_oldest_files_go_by_age_and_by_space_and_the_clock_alone_makes_nothing_old() {
        let (noon, year) = ("2026-11-20T12:00:00Z", "2027-11-20T12:00:00Z");
        assert_eq!(gone((None, None), year, true, &[]), None);
        assert_eq!(gone((Some(10), None), noon, true, &[]), Some((9, Why::Age)), "that of the tenth is ten days old");
        assert_eq!(
            gone((Some(10), None), year, true, &[]),
            Some((19, Why::Age)),
            "whoever keeps it right has said that"
        );
        assert_eq!(gone((Some(10), None), year, false, &[]), None, "somebody set it to another year");
        assert_eq!(
            gone((Some(10), Some(1_000)), year, false, &[]),
            Some((11, Why::Space)),
            "which space does not ask for"
        );
        assert_eq!(gone((Some(10), Some(2_050)), noon, true, &[]), Some((9, Why::Age)));
        assert_eq!(gone((Some(10), Some(550)), noon, true, &[]), Some((15, Why::Space)));
        assert_eq!(gone((Some(30), Some(2_050)), noon, true, &[]), None);
        assert_eq!(
            gone((None, Some(1)), noon, true, &[]),
            Some((20, Why::Space)),
            "all that may go, if it is too little"
        );
    }

    #[test]
    fn a_file_of_a_wrong_year_is_as_old_as_those_behind_it() {
        let now = "2026-11-20T12:00:00Z";
        let (ahead, long_ago) = ("2099-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.000000Z");
        let wrong = [(1, ahead, false), (15, long_ago, false), (16, "no time", false)];
        assert_eq!(gone((Some(10), None), now, true, &wrong), Some((9, Why::Age)));
        assert_eq!(gone((Some(10), None), now, true, &[(9, long_ago, false)]), Some((8, Why::Age)));
        // Whoever kept the clock "right" was wrong for a while.
        assert_eq!(gone((Some(10), None), now, true, &[(1, ahead, true)]), Some((9, Why::Age)), "holds nothing back");
        assert_eq!(
            gone((Some(10), None), now, true, &[(15, long_ago, true)]),
            Some((9, Why::Age)),
            "takes nothing along"
        );
    }
}
