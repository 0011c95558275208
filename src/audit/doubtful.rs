//! Records that are not as they were written, as far as each of them tells that by itself.

use super::chain;
use super::read::Entry;
use crate::print;

/// So many of them are named.
const NAMED: usize = 8;

/// Those of the records that were looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doubtful {
    records: u64,
    first: Vec<String>,
}

impl Doubtful {
    /// What to do where there are any.
    pub const ADVICE: &str =
        "believe nothing that they say; hgad audit verify, with --key and --checkpoint, says what happened to the log";

    /// Holds a record against its own hash, and what it says against itself.
    pub fn look(&mut self, line: &[u8], entry: &Entry) {
        if chain::fits(None, line).is_err() || entry.contradiction().is_some() {
            self.records += 1;
            if self.first.len() < NAMED {
                self.first.push(entry.seq.to_string());
            }
        }
    }

    /// Those of other records are more of them.
    pub(super) fn join(&mut self, other: Doubtful) {
        self.records += other.records;
        self.first.extend(other.first);
        self.first.truncate(NAMED);
    }

    /// Which they are, for people; `None` where all are as they were written.
    pub fn told(&self) -> Option<String> {
        let more = if self.records > self.first.len() as u64 { ", ..." } else { "" };
        let are = print::are(self.records, "record");
        (self.records > 0).then(|| format!("{are} not as written: {}{more}", self.first.join(", ")))
    }
}
