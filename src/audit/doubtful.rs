//! Records that are not as they were written, as far as each of them and the one behind it tell that, and places where some are missing, as far as the log
//! was read.

use super::chain;
use super::read::Entry;
use crate::print;

/// So many of them are named.
const NAMED: usize = 8;

/// Those of the records that were looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doubtful {
    records: u64,
    first: Vec<Named>,
    places: u64,
    first_places: Vec<String>,
}

/// A record that is not as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// This one.
    One(u64),
    /// One of these two.
    Either(u64, u64),
}

impl Named {
    /// Whether what is wrong with this one is what is wrong with the other.
    fn is(self, other: Named) -> bool {
        match (self, other) {
            (Named::One(one), Named::Either(before, behind)) | (Named::Either(before, behind), Named::One(one)) => {
                [before, behind].contains(&one)
            }
            _ => self == other,
        }
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Named::One(record) => write!(f, "{record}"),
            Named::Either(before, behind) => write!(f, "{before} or {behind}"),
        }
    }
}

impl Doubtful {
    /// What to do where there are records that are not as they were written.
    pub const ADVICE: &str =
        "believe nothing that they say; hgad audit verify, with --key and --checkpoint, says what happened to the log";
    const MISSING_ADVICE: &str = "hgad audit verify, with --key and --checkpoint, says what happened to the log";

    /// Whether there are any: else some are missing at most.
    pub(super) fn is_changed(&self) -> bool {
        self.records > 0
    }

    /// What to do.
    pub fn advice(&self) -> &'static str {
        if self.is_changed() { Self::ADVICE } else { Self::MISSING_ADVICE }
    }

    /// Holds a record against its own hash, and what it says against itself.
    pub fn look(&mut self, line: &[u8], entry: &Entry) {
        if chain::fits(line).is_err() || entry.contradiction().is_some() {
            self.name(Named::One(entry.seq));
        }
    }

    /// One more, but for one that is named already: for another reason, or as one of two.
    fn name(&mut self, named: Named) {
        let known = self.first.iter_mut().find(|known| known.is(named));
        match (known, named) {
            (Some(known), Named::One(_)) => *known = named,
            (Some(_), Named::Either(..)) => {}
            (None, _) => {
                self.records += 1;
                self.first.extend((self.first.len() < NAMED).then_some(named));
            }
        }
    }

    /// Two records that stand one behind the other do not hang together, though nothing is missing between them: one of both, whichever, was changed
    /// together with its hash.
    pub(super) fn apart(&mut self, before: u64, behind: u64) {
        self.name(Named::Either(before, behind));
    }

    /// Something is missing in the log, as is told here.
    pub(super) fn missing(&mut self, told: String) {
        self.places += 1;
        if self.first_places.len() < NAMED {
            self.first_places.push(told);
        }
    }

    /// Those that were found for another reason are more of them, but for those that are named by both.
    pub fn join(&mut self, other: Doubtful) {
        self.records += other.records - other.first.len() as u64;
        other.first.into_iter().for_each(|named| self.name(named));
        self.places += other.places;
        self.first_places.extend(other.first_places);
        self.first_places.truncate(NAMED);
    }

    /// Which they are, for people; `None` where all are as they were written, and none is missing.
    pub fn told(&self) -> Option<String> {
        let and_more = |count: u64, named: usize| if count > named as u64 { ", ..." } else { "" };
        let are = (self.records > 0).then(|| {
            let more = and_more(self.records, self.first.len());
            let first = self.first.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("{} not as written: {first}{more}", print::are(self.records, "record"))
        });
        let missing = (self.places > 0)
            .then(|| format!("{}{}", self.first_places.join(", "), and_more(self.places, self.first_places.len())));
        are.into_iter().chain(missing).reduce(|are, missing| format!("{are}; {missing}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_looked_at_for_two_reasons_is_one() {
        let of = |pairs: &[(u64, u64)]| {
            let mut doubtful = Doubtful::default();
            pairs.iter().for_each(|(before, behind)| doubtful.apart(*before, *behind));
            doubtful
        };
        let mut all = of(&[(1, 2), (5, 6)]);
        all.join(of(&[(5, 6), (8, 9)]));
        assert_eq!(all.told().unwrap(), "3 records are not as written: 1 or 2, 5 or 6, 8 or 9");
        all.name(Named::One(6));
        all.apart(6, 7);
        all.name(Named::One(7));
        assert_eq!(all.told().unwrap(), "4 records are not as written: 1 or 2, 6, 8 or 9, 7");
    }
}
