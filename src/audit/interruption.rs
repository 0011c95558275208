//! A run that ended without a word: the program was killed, or the machine lost power.

use std::collections::BTreeSet;

use serde::Serialize;

/// So many parts without a record are kept in mind: a number that leaps, in a log that somebody wrote, makes no list without end.
const MOST_MISSING: usize = 1000;

/// What the log knows of such a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Interruption {
    /// The run's first line in the file, counted from 1. (`line` is the name of a production line in a record.)
    from_line: u64,
    /// The wall time of its last record.
    last: String,
    /// Parts that were on the belt for certain: one that was captured after each of them has a record, and they have none.
    /// Nobody knows how many came after those. At most [`MOST_MISSING`] are told of.
    open_parts: Vec<u64>,
}

impl Interruption {
    /// For people.
    pub(super) fn told(&self) -> String {
        let parts = match self.open_parts.len() {
            0 => String::new(),
            count => format!(" ({count} for certain)"),
        };
        format!(
            "the run before ended without a word, after {}: parts that were on the belt then{parts} have no record, and nobody \
             knows whether they were rejected; look at what lay between camera and ejector",
            self.last
        )
    }
}

/// Follows the newest run of a log from record to record.
#[derive(Debug, Default)]
pub(super) struct Following {
    line: Option<u64>,
    last: String,
    /// The part that comes next if all come in their order; `None` before the first of a run whose beginning is elsewhere.
    next: Option<u64>,
    /// Parts before that one whose records did not come.
    missing: BTreeSet<u64>,
    /// The run before, where that had no end and this one is a dry run, which tells nobody at the line of it.
    before: Option<Box<Following>>,
}

impl Following {
    /// A run begins on this line.
    pub(super) fn start(&mut self, line: u64, is_dry: bool) {
        let mut last = std::mem::take(self);
        let untold = last.before.take().or_else(|| last.line.map(|_| Box::new(last)));
        *self =
            Following { line: Some(line), next: Some(0), before: untold.filter(|_| is_dry), ..Following::default() };
    }

    /// The file begins in the midst of a run, on this line.
    pub(super) fn go_on(&mut self, line: u64) {
        self.line = Some(line);
    }

    /// A part's record.
    pub(super) fn part(&mut self, part: u64) {
        let next = self.next.unwrap_or(part);
        self.missing.remove(&part);
        self.missing.extend((next..part).take(MOST_MISSING.saturating_sub(self.missing.len())));
        self.next = Some(next.max(part.saturating_add(1)));
    }

    /// Any record.
    pub(super) fn record(&mut self, time: &str) {
        time.clone_into(&mut self.last);
    }

    /// The run ended in good order.
    pub(super) fn stop(&mut self) {
        *self = self.before.take().map_or_else(Following::default, |before| *before);
    }

    /// Whether there is a run that has no end so far.
    pub(super) fn is_endless(&self) -> bool {
        self.line.is_some()
    }

    /// What is known of the run, if it has no end.
    pub(super) fn interruption(self) -> Option<Interruption> {
        let open_parts = self.missing.into_iter().collect();
        Some(Interruption { from_line: self.line?, last: self.last, open_parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(parts: &[u64]) -> Following {
        let mut following = Following::default();
        following.start(7, false);
        parts.iter().for_each(|part| following.part(*part));
        following.record("then");
        following
    }

    #[test]
    fn parts_without_a_record_before_others_with_one_were_on_the_belt() {
        let found = followed(&[0, 2, 1, 5, 3]).interruption().unwrap();
        assert_eq!(found, Interruption { from_line: 7, last: "then".into(), open_parts: vec![4] });
        assert!(found.told().contains("after then: parts that were on the belt then (1 for certain) have no record"));
        let mut ended = followed(&[0, 2]);
        ended.stop();
        assert_eq!(ended.interruption(), None);
    }

    #[test]
    fn a_dry_run_leaves_it_to_the_next_one_to_tell_of_the_run_before() {
        let mut following = followed(&[0, 2]);
        let untold = followed(&[0, 2]).interruption();
        following.start(20, true);
        following.stop();
        assert_eq!(following.interruption(), untold);
        let mut following = followed(&[0, 2]);
        following.start(20, true);
        following.start(30, true);
        following.stop();
        assert_eq!(following.interruption(), untold);
        let mut following = followed(&[0, 2]);
        following.start(20, false);
        following.stop();
        assert_eq!(following.interruption(), None);
    }

    #[test]
    fn a_number_that_leaps_makes_no_endless_list() {
        let found = followed(&[0, u64::MAX, 3]).interruption().unwrap();
        assert_eq!((found.open_parts.len(), found.open_parts[0], found.open_parts[1]), (MOST_MISSING - 1, 1, 2));
    }

    #[test]
    fn a_file_that_begins_in_the_midst_of_a_run_says_nothing_of_the_parts_before() {
        let mut following = Following::default();
        following.go_on(1);
        [500, 499, 502].into_iter().for_each(|part| following.part(part));
        assert_eq!(following.interruption().unwrap().open_parts, [501]);
    }
}
