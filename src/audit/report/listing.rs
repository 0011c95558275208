//! What is listed row by row. Of what comes again and again the first and the last are, so that it crowds out nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::audit::read::{Entry, SeenAlarm};
use crate::print;

/// So many of a sort are listed from its beginning, and so many from its end.
pub(super) const ENDS: usize = 10;

/// Rows in their order, of several sorts.
#[derive(Debug, Clone)]
pub(super) struct Listing<T> {
    sorts: BTreeMap<String, Sort<T>>,
    /// The sort of the row that was added last.
    newest: Option<String>,
    /// So many were added.
    count: u64,
}

/// Rows of one sort, each with its place among those of all sorts.
#[derive(Debug, Clone)]
struct Sort<T> {
    first: Vec<(u64, T)>,
    last: VecDeque<(u64, T)>,
    /// So many between these are not listed.
    between: u64,
}

/// A row of a list.
#[derive(Debug, PartialEq)]
pub(super) enum Row<'l, T> {
    Listed(&'l T),
    /// So many more of this sort come here.
    Between(&'l str, u64),
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Listing { sorts: BTreeMap::new(), newest: None, count: 0 }
    }
}

impl<T> Listing<T> {
    pub(super) fn add(&mut self, sort: &str, row: T) {
        let row = (self.count, row);
        self.count += 1;
        self.newest = Some(sort.to_owned());
        let empty = || Sort { first: Vec::new(), last: VecDeque::new(), between: 0 };
        let sort = self.sorts.entry(sort.to_owned()).or_insert_with(empty);
        if sort.first.len() < ENDS {
            return sort.first.push(row);
        }
        sort.last.push_back(row);
        if sort.last.len() > ENDS {
            sort.last.pop_front();
            sort.between += 1;
        }
    }

    /// The last row of a sort.
    pub(super) fn latest(&mut self, sort: &str) -> Option<&mut T> {
        let sort = self.sorts.get_mut(sort)?;
        sort.last.back_mut().or(sort.first.last_mut()).map(|(_, row)| row)
    }

    /// The last row of all.
    pub(super) fn newest(&mut self) -> Option<&mut T> {
        let sort = self.newest.clone()?;
        self.latest(&sort)
    }

    /// How many there were, listed or not.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How many of a sort there were.
    pub(super) fn count_of(&self, sort: &str) -> u64 {
        self.sorts.get(sort).map_or(0, |sort| (sort.first.len() + sort.last.len()) as u64 + sort.between)
    }

    /// The rows in the order in which they were added.
    pub(super) fn rows(&self) -> Vec<Row<'_, T>> {
        let mut rows = Vec::new();
        for (name, sort) in &self.sorts {
            rows.extend(sort.first.iter().chain(&sort.last).map(|(place, row)| ((*place, 1), Row::Listed(row))));
            let after = sort.last.front().filter(|_| sort.between > 0);
            rows.extend(after.map(|(place, _)| ((*place, 0), Row::Between(name.as_str(), sort.between))));
        }
        rows.sort_by_key(|(place, _)| *place);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// The rows that are listed.
    pub(super) fn listed(&self) -> impl Iterator<Item = &T> {
        self.rows().into_iter().filter_map(|row| if let Row::Listed(row) = row { Some(row) } else { None })
    }
}

/// Something that happened at a time.
#[derive(Debug, Clone)]
pub(super) struct Happened {
    pub(super) time: String,
    pub(super) what: String,
    /// When it was over; `None` when it was not, or is a moment.
    pub(super) over: Option<String>,
    /// Of an alarm that a person has seen: who first, and after how long.
    pub(super) acknowledged: Option<String>,
    /// So often it happened.
    pub(super) times: u64,
}

impl Happened {
    pub(super) fn now(entry: &Entry, what: String) -> Self {
        Happened { time: entry.time.clone(), what, over: None, acknowledged: None, times: 1 }
    }

    pub(super) fn alarm(entry: &Entry) -> Self {
        let (name, why) = (entry.alarm.as_deref().unwrap_or_default(), entry.why.as_deref().unwrap_or_default());
        Happened::now(entry, format!("{name}: {why}"))
    }

    /// Somebody acknowledges the alarm.
    pub(super) fn seen(&mut self, entry: &Entry, seen: &SeenAlarm) {
        let after = Duration::from_nanos(entry.monotonic_ns.saturating_sub(seen.raised_ns)).as_secs_f64();
        let by = entry.by.as_deref().unwrap_or("somebody");
        let remark = entry.remark.as_ref().map_or_else(String::new, |remark| format!(": {remark}"));
        self.acknowledged.get_or_insert_with(|| format!("acknowledged by {by} after {after:.1} s{remark}"));
    }
}

/// A challenge: known bad pieces that somebody sent.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    /// When it began; `None` where that was before the shift.
    pub(super) begun: Option<String>,
    /// When its result was there; `None`: the run or the shift ended before.
    pub(super) ended: Option<String>,
    pub(super) by: String,
    /// `None` where any would do.
    pub(super) lane: Option<String>,
    pub(super) pieces: u64,
    pub(super) outcome: Option<Outcome>,
}

/// What became of the pieces.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) is_passed: bool,
    pub(super) caught: usize,
    /// Which were not, and why.
    pub(super) missed: Vec<String>,
    pub(super) absent: u64,
}

/// The challenges of a shift.
#[derive(Debug, Clone, Default)]
pub(super) struct Challenges {
    under_way: Option<Trial>,
    pub(super) list: Listing<Trial>,
}

impl Challenges {
    const PASSED: &str = "passed";
    const FAILED: &str = "not passed";
    const UNENDED: &str = "without a result";

    pub(super) fn begun(&mut self, entry: &Entry) {
        self.given_up();
        self.under_way = Some(Trial { begun: Some(entry.time.clone()), ..Trial::of(entry) });
    }

    pub(super) fn ended(&mut self, entry: &Entry) {
        let begun = self.under_way.take().and_then(|trial| trial.begun);
        let missed = entry.missed.iter().flatten().map(|missed| match (&missed["part"], &missed["why"]) {
            (part, serde_json::Value::String(why)) => format!("part {part}: {why}"),
            (part, _) => format!("part {part}"),
        });
        let is_passed = entry.passed == Some(true);
        let caught = entry.caught.as_ref().map_or(0, Vec::len);
        let outcome = Outcome { is_passed, caught, missed: missed.collect(), absent: entry.absent.unwrap_or(0) };
        let sort = if is_passed { Self::PASSED } else { Self::FAILED };
        let (ended, outcome) = (Some(entry.time.clone()), Some(outcome));
        self.list.add(sort, Trial { begun, ended, outcome, ..Trial::of(entry) });
    }

    /// What is under way has no result.
    pub(super) fn given_up(&mut self) {
        self.under_way.take().into_iter().for_each(|trial| self.list.add(Self::UNENDED, trial));
    }

    pub(super) fn failed(&self) -> u64 {
        self.list.count_of(Self::FAILED)
    }
}

impl Trial {
    fn of(entry: &Entry) -> Self {
        let by = entry.by.clone().unwrap_or_else(|| "somebody".to_owned());
        let (lane, pieces) = (entry.lane.clone(), entry.pieces.unwrap_or(0));
        Trial { begun: None, ended: None, by, lane, pieces, outcome: None }
    }
}

/// What changed in accepted parts, or that a test for it began.
#[derive(Debug, Clone)]
pub(super) struct Drifted {
    pub(super) happened: Happened,
    pub(super) run: Option<String>,
    /// The parts that show it best, by their numbers in the run.
    pub(super) parts: Vec<u64>,
}

impl Drifted {
    pub(super) fn of(entry: &Entry, run: Option<&str>) -> Self {
        let happened = Happened::now(entry, entry.why.clone().unwrap_or_default());
        let parts = entry.named.iter().flatten().map(|named| named.part).collect();
        Drifted { happened, run: run.map(str::to_owned), parts }
    }

    pub(super) fn begun(entry: &Entry) -> Self {
        let parts = entry
            .parts
            .map_or_else(String::new, |parts| format!(", from {} of its calibration", print::counted(parts, "part")));
        let class = entry.class.as_deref().unwrap_or("-");
        let what = match entry.restarted {
            Some(true) => {
                format!("the test of {class} began anew{parts}: what the run before had seen does not count any more")
            }
            _ => format!("the test of {class} began{parts}"),
        };
        Drifted { happened: Happened::now(entry, what), run: None, parts: Vec::new() }
    }
}

impl Listing<Drifted> {
    const CHANGE: &str = "drift";

    pub(super) fn change(&mut self, drifted: Drifted) {
        self.add(Self::CHANGE, drifted);
    }

    /// An alarm. Older programs wrote nothing but that of a change; newer ones wrote down the change right before.
    pub(super) fn alarm(&mut self, entry: &Entry) {
        let is_raised = entry.alarm.as_deref() == Some("drift") && entry.raised == Some(true);
        let is_known = |change: &mut Drifted| Some(&change.happened.what) == entry.why.as_ref();
        if is_raised && !self.latest(Self::CHANGE).is_some_and(is_known) {
            self.change(Drifted::of(entry, None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_the_first_and_the_last_are_listed_and_everything_else_is() {
        let mut listing = Listing::default();
        for number in 0..500 {
            listing.add("flood", number);
            if number == 300 {
                listing.add("rare", 1000);
            }
        }
        let listed = listing.listed().copied().collect::<Vec<_>>();
        let (first, last) = (0..ENDS, 500 - ENDS..500);
        assert_eq!(listed, first.chain([1000]).chain(last).collect::<Vec<_>>());
        assert_eq!(listing.rows()[ENDS + 1], Row::Between("flood", 500 - 2 * ENDS as u64));
        assert_eq!((listing.count(), listing.count_of("flood"), listing.count_of("none")), (501, 500, 0));
        assert_eq!((listing.latest("rare").copied(), listing.newest().copied()), (Some(1000), Some(499)));
    }

    #[test]
    fn as_many_as_are_listed_leave_none_between() {
        let mut listing = Listing::default();
        (0..2 * ENDS).for_each(|number| listing.add("few", number));
        assert_eq!(listing.listed().count(), listing.rows().len());
        assert_eq!(listing.rows().len(), 2 * ENDS);
    }
}
