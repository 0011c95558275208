//! How long closed files of the log itself are kept: by age, in days, and by space. The oldest go first, and none before the log tells of it.

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

/// Removes closed files that need not be kept any longer.
pub(super) struct Retention {
    path: PathBuf,
    /// The hash of the log's first line: a file of another log is nobody's to remove.
    log: Option<Digest>,
    config: RetentionConfig,
    /// Who signs the log; `None`: nobody.
    trust: Option<Trust>,
    desk: Arc<Desk>,
    /// Held while files are judged and removed.
    told: Mutex<Told>,
}

/// What the log tells of removals.
#[derive(Default)]
struct Told {
    /// Files that it told of and that could not be removed, the oldest first.
    left: Vec<PathBuf>,
    /// The records that the newest removal tells of, once this run told of one.
    newest: Option<Range<u64>>,
}

impl Retention {
    /// For the log in `path` that begins with the line of the hash `log` and is signed by those of `trust`, where `config` asks for it. What
    /// is removed is told to `desk` before.
    pub(super) fn of(
        path: &Path,
        log: Option<Digest>,
        config: RetentionConfig,
        trust: Option<Trust>,
        desk: Arc<Desk>,
    ) -> Option<Arc<Self>> {
        let retention = Retention { path: path.to_owned(), log, config, trust, desk, told: Mutex::default() };
        config.is_on().then(|| Arc::new(retention))
    }

    /// Removes what need not be kept any longer. This waits until the log tells of it: a slow disk holds up the thread that it is on.
    pub(super) fn look(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // What stands before must go first: a file that is missing between others is told as that.
        if !self.remove(&mut told.left) {
            return;
        }
        let now = is_synchronised().then(Timestamp::now);
        let is_believed = |file: &LogFile| self.trust.as_ref().is_none_or(|trust| verify::is_signed(file, trust));
        let stock = match Stock::of(&self.path, self.log) {
            Ok(stock) => stock,
            Err(error) => return log::warn!("closed files of the audit are not removed: {}", error.line()),
        };
        if let Some(stopped) = &stock.stopped {
            self.note(stopped);
        }
        let Some((most, why)) = stock.choose(self.config, now, is_believed) else { return };
        let whole = stock.whole_cuts(most);
        if whole < most {
            self.note(&stopped(&stock.files[whole], &stock.files[whole + 1]));
        }
        let Some(cut) = whole.checked_sub(1) else { return };
        let from = stock.from.map(|first| self.goes_on_from(first, told.newest.as_ref(), &stock.files));
        let doomed = stock.doomed(cut, from, why);
        if self.desk.tell(&doomed.record()) {
            told.newest = doomed.from.map(|from| from..doomed.cut.records);
            told.left = doomed.files.into_iter().map(|file| file.path).collect();
            self.remove(&mut told.left);
        }
    }

    /// The first record of all that the line removed, with what goes now, where what is here begins with record `first`. Records of earlier removals
    /// go with the files that they are in: the next one tells of as much, unless somebody else took what is between.
    fn goes_on_from(&self, first: u64, newest: Option<&Range<u64>>, files: &[LogFile]) -> u64 {
        if first == 0 {
            return first;
        }
        let nobody = Trust::default();
        let trust = self.trust.as_ref().unwrap_or(&nobody);
        let told = newest.cloned().or_else(|| files.iter().rev().find_map(|file| verify::removals(file, trust).pop()));
        told.filter(|told| told.start <= first && first <= told.end).map_or(first, |told| told.start)
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
            // Where the log takes no records there are graver news.
            let _ = self.desk.offer(Body::note(Monotonic::now(), told));
        }
    }
}

/// The closed files of a log that may be removed.
struct Stock {
    files: Vec<LogFile>,
    cuts: Vec<Cut>,
    /// The first record that is here; `None` where nobody can read it.
    from: Option<u64>,
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
    /// What is there of the log that begins with the line of the hash `log`.
    fn of(path: &Path, log: Option<Digest>) -> Result<Self> {
        let files = read::files(path)?;
        let sizes = files.iter().map(|file| file.path.metadata().map_or(0, |found| found.len())).collect::<Vec<_>>();
        let mut stock = Stock { cuts: Vec::new(), from: None, stopped: None, bytes: sizes.iter().sum(), files };
        let Some(first) = stock.files.first().filter(|first| first.number.is_some()) else { return Ok(stock) };
        let Some(begins) = own_beginning(first, log) else {
            stock.stopped = Some(stopped(first, first));
            return Ok(stock);
        };
        stock.from = Some(begins.seq);
        let (mut records, mut bytes, mut newest) = (begins.seq, 0, String::new());
        for (place, pair) in stock.files.windows(2).enumerate() {
            // The newest closed file stays, and so does what is not compressed yet, with all behind it.
            if pair[1].number.is_none() || !pair[0].is_compressed() || !pair[0].path.is_file() {
                break;
            }
            // Else who moves an old file behind newer ones has the line remove those as old, and sign that.
            let follows = |begins: &Envelope| begins.continues().is_some() && begins.seq > records;
            let begins = own_beginning(&pair[1], log).filter(follows);
            let Some(begins) = begins.filter(|_| pair[1].continued() == pair[0].number) else {
                stock.stopped = Some(stopped(&pair[0], &pair[1]));
                break;
            };
            (records, bytes) = (begins.seq, bytes + sizes[place]);
            // A clock that was set back was not right before, or is not now.
            let synchronised = begins.synchronised == Some(true) && begins.time > newest;
            if synchronised {
                newest.clone_from(&begins.time);
            }
            stock.cuts.push(Cut { files: place + 1, records, bytes, time: begins.time, synchronised });
        }
        Ok(stock)
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
            self.cuts.iter().rposition(|cut| cut.is_old(days, now) && is_believed(&self.files[cut.files]))
        });
        let much = config.bytes.filter(|most| self.bytes > *most).and_then(|most| {
            let enough = self.cuts.iter().position(|cut| self.bytes - cut.bytes <= most);
            enough.or(self.cuts.len().checked_sub(1))
        });
        let why = if old >= much { Why::Age } else { Why::Space };
        Some((old.max(much)? + 1, why))
    }

    /// How many of the first `most` cuts are between files of which the one is what came before the other. One of another time that somebody put in
    /// the place of a file, and that begins as one of this log does, has the line say that it removed what is between. What cannot be
    /// read to its end may be one of these.
    fn whole_cuts(&self, most: usize) -> usize {
        let follows = |pair: &[LogFile]| verify::follows(&pair[1].path, &pair[0].path).unwrap_or(false);
        self.files.windows(2).take(most).take_while(|pair| follows(pair)).count()
    }

    /// What goes with the cut `cut`, where the line removed all from record `from` on.
    fn doomed(mut self, cut: usize, from: Option<u64>, why: Why) -> Doomed {
        let cut = self.cuts.swap_remove(cut);
        self.files.truncate(cut.files);
        Doomed { files: self.files, from, cut, why }
    }
}

/// The file's first record, where it is as it was written and of the log that begins with the line of the hash `log`: what tells no log may be
/// anybody's. Where nobody knows that hash any more each file is believed.
fn own_beginning(file: &LogFile, log: Option<Digest>) -> Option<Envelope> {
    file.beginning().filter(|begins| log.is_none_or(|log| begins.own_log() == Some(log)))
}

/// That nothing from the file `from` on is removed, because of the file `because_of`.
fn stopped(from: &LogFile, because_of: &LogFile) -> String {
    let [from, wrong] = [from, because_of].map(|file| print::name(file.path.display()));
    format!(
        "from {from} on no closed file of the log is removed: {wrong} does not begin as the log's next file does (it was changed, is another log's, bears \
         another name than its own, or one before it is missing); hgad audit verify says what it is"
    )
}

impl Cut {
    /// Whether what is before was written more than so many days before `now`. A time that was written while nobody kept the clock right may
    /// be of another year.
    fn is_old(&self, days: u32, now: Timestamp) -> bool {
        let kept = SignedDuration::from_hours(24 * i64::from(days));
        self.synchronised && self.time.parse::<Timestamp>().is_ok_and(|time| now.duration_since(time) > kept)
    }
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
    from: Option<u64>,
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
            #[serde(skip_serializing_if = "Option::is_none")]
            from: Option<u64>,
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

    /// A log that closed a compressed file of 100 bytes a day from 2026-11-01 on, and has more that stays. `wrong`: those that were closed
    /// while nobody kept the clock right, each with what it said.
    fn stock(days: usize, wrong: &[(usize, &str)]) -> Stock {
        let name = |number: usize| PathBuf::from(format!("audit.{number:06}.jsonl.gz"));
        let files = (1..=days + 1).map(|number| LogFile { path: name(number), number: Some(number as u64) }).collect();
        let cuts = (1..=days).map(|place| {
            let said = wrong.iter().find(|(other, _)| *other == place);
            let time =
                said.map_or_else(|| format!("2026-11-{place:02}T12:00:00.000000Z"), |(_, time)| (*time).to_owned());
            Cut {
                files: place,
                records: 10 * place as u64,
                bytes: 100 * place as u64,
                time,
                synchronised: said.is_none(),
            }
        });
        Stock { cuts: cuts.collect(), files, from: Some(0), stopped: None, bytes: 100 * days as u64 + 50 }
    }

    /// This file is not what was written.
    const FORGED: u64 = 21;

    /// How many of 20 files go, and why.
    fn gone(
        config: (Option<u32>, Option<u64>),
        now: &str,
        synchronised: bool,
        wrong: &[(usize, &str)],
    ) -> Option<(usize, Why)> {
        let config = RetentionConfig { days: config.0, bytes: config.1 };
        let now = synchronised.then(|| now.parse().unwrap());
        let stock = stock(20, wrong);
        let (cuts, why) = stock.choose(config, now, |file| file.number != Some(FORGED))?;
        let doomed = stock.doomed(cuts - 1, Some(0), why);
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
        let wrong = [(1, "2099-01-01T00:00:00.000000Z"), (15, "1970-01-01T00:00:00.000000Z"), (16, "no time")];
        assert_eq!(gone((Some(10), None), now, true, &wrong), Some((9, Why::Age)));
        let last = [(9, "1970-01-01T00:00:00.000000Z")];
        assert_eq!(gone((Some(10), None), now, true, &last), Some((8, Why::Age)));
    }
}
