//! How the times of a file's lines go: they rise, but where the clock was set back.
//!
//! Whoever looks for a time in a file that was not compressed yet can search it by halves only if times rise over all of it, which nobody
//! sees without reading all of it: a run of a few seconds with a wrong clock would be missed. So whoever writes the file counts in it how
//! often times fell, from 0 on its first line: where neither the first line nor the last one tells of a fall, there is none in between.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::spot::Spot;

/// A part's record bears the time of its capture and is written when its fate is settled: so far behind at most.
pub(super) const DISORDER: Duration = Duration::from_secs(2 * 3600);

/// The times of the lines of one file so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Course {
    /// The greatest one since the last fall.
    greatest: Option<String>,
    falls: u64,
}

impl Course {
    pub(super) const START: Course = Course { greatest: None, falls: 0 };

    /// How often times fell so far.
    pub(super) fn falls(&self) -> u64 {
        self.falls
    }

    /// That line comes, or its body.
    pub(super) fn follow(&mut self, line: &[u8]) {
        self.note(time_of(line).unwrap_or_default());
    }

    /// A line of that time comes.
    pub(super) fn note(&mut self, time: &str) {
        match &self.greatest {
            Some(greatest) if time < greatest.as_str() => {
                if is_further_back(time, greatest, DISORDER) {
                    self.falls += 1;
                    self.greatest = Some(time.to_owned());
                }
            }
            _ => self.greatest = Some(time.to_owned()),
        }
    }
}

/// A run's start bears the time at which it is written; a clock that is kept right goes back by less.
const SLACK: Duration = Duration::from_secs(60);
/// So many places are named where times fall.
const NAMED: usize = 3;

/// Where the times of a log's records fall, over all of its files and runs.
#[derive(Debug, Default)]
pub(super) struct Falls {
    /// The greatest time since the last fall.
    greatest: String,
    count: usize,
    most: SignedDuration,
    places: Vec<String>,
}

impl Falls {
    /// The next record; `run`: the name of the run that begins with it.
    pub(super) fn note(&mut self, time: &str, is_start: bool, run: Option<&str>, spot: impl FnOnce() -> Spot) {
        if time >= self.greatest.as_str() {
            time.clone_into(&mut self.greatest);
            return;
        }
        if !is_further_back(time, &self.greatest, if is_start { SLACK } else { DISORDER }) {
            return;
        }
        self.count += 1;
        self.most = self.most.max(back(time, &self.greatest).unwrap_or_default());
        if self.places.len() < NAMED {
            let begins = match (is_start, run) {
                (true, Some(run)) => format!(", where the run {run} begins"),
                (true, None) => ", where a run begins".to_owned(),
                (false, _) => String::new(),
            };
            self.places.push(format!("{}{begins}", spot()));
        }
        time.clone_into(&mut self.greatest);
    }

    /// For people; `None` where times rise.
    pub(super) fn told(&self) -> Option<String> {
        let more = match self.count - self.places.len() {
            0 => String::new(),
            more => format!("; and at {more} more"),
        };
        let hours = self.most.as_secs_f64() / 3600.0;
        (self.count > 0).then(|| {
            format!(
                "times fall back by up to {hours:.1} h at {}{more}: the machine's clock was set back there, or was ahead before. Records stand in \
                 the order in which they were written, and are found by their own times, which do not tell there which came first",
                self.places.join("; at ")
            )
        })
    }
}

/// Whether `time` is more than `by` before `than`. Of what is no time nothing else is known.
pub(super) fn is_further_back(time: &str, than: &str, by: Duration) -> bool {
    back(time, than).is_none_or(|back| back.unsigned_abs() > by && back.is_positive())
}

/// By how much `time` is before `than`; `None` where one of them is no time.
pub(super) fn back(time: &str, than: &str) -> Option<SignedDuration> {
    let moment = |text: &str| text.parse::<Timestamp>().ok();
    Some(moment(than)?.duration_since(moment(time)?))
}

/// The `time` of a line, without parsing the rest.
pub(super) fn time_of(line: &[u8]) -> Option<&str> {
    const FIELD: &[u8] = b"\",\"time\":\"";
    // It is the fourth field: `seq` has 20 digits at most, `prev` 64, and a kind is a word.
    let head = &line[..line.len().min(256)];
    let at = head.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
    let rest = line.get(at..)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&rest[..end]).ok().filter(|time| time.len() >= 20 && time.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_written_late_are_no_fall_and_a_clock_that_was_set_back_is_one() {
        let mut course = Course::START;
        let falls = ["10:00", "12:00", "10:30", "12:01", "09:00", "09:30", "13:00", "10:59", "11:00"].map(|time| {
            course.note(&format!("2026-11-24T{time}:00.000000Z"));
            course.falls()
        });
        assert_eq!(falls, [0, 0, 0, 0, 1, 1, 1, 2, 2]);
        course.note("2025-11-24T10:00:00.000000Z");
        course.note("no time at all");
        course.note("2026-11-24T11:00:00.000000Z");
        assert_eq!(course.falls(), 4);
    }
}
