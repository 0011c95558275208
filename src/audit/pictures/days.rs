//! Days on which a run was going on, by the clock on the wall. While nobody keeps that clock right, so many of them make a picture
//! old, and not what the clock says alone: one that leaps to another year makes one day more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use crate::{draft, regular};

/// Where they are written down, in the pictures' folder: a day a line, so that the next run knows them too.
const NAME: &str = "days.txt";
/// So much is read of it: the days of some two hundred years.
const LONGEST: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Days {
    file: PathBuf,
    /// RFC 3339: texts compare as days do.
    known: BTreeSet<String>,
}

impl Days {
    /// Those that are known in a pictures' folder. Where they cannot be read they begin anew: pictures stay for longer then.
    pub(super) fn open(folder: &Path) -> Self {
        let file = folder.join(NAME);
        // What a kill left behind: the folder is held for this log.
        draft::sweep(folder);
        let text = regular::read_text(&file, LONGEST).unwrap_or_default();
        let known = text.lines().filter(|line| line.parse::<Date>().is_ok()).map(str::to_owned).collect();
        Days { file, known }
    }

    /// A run is going on on this day. Those before `oldest`, the day of the oldest picture, count for nothing any more.
    pub(super) fn note(&mut self, today: &str, oldest: Option<&str>) {
        if !self.known.insert(today.to_owned()) {
            return;
        }
        self.known.retain(|day| day == today || oldest.is_some_and(|oldest| day.as_str() >= oldest));
        if let Err(error) = self.write() {
            log::warn!(
                "{} cannot be written: without NTP or PTP pictures stay for longer: {error}",
                self.file.display()
            );
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let text = self.known.iter().map(|day| format!("{day}\n")).collect::<String>();
        draft::replace(&self.file, text.as_bytes())
    }

    /// How many came after `day`; `pictured` are days of which there are pictures.
    pub(super) fn after(&self, day: &str, pictured: &BTreeSet<String>) -> usize {
        self.known.union(pictured).filter(|other| other.as_str() > day).count()
    }
}
