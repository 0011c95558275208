//! How a record is told, in one way everywhere: by its number in the log, and by the line that it is on.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// A record, and where it is: `record 41 (line 42 of audit.jsonl)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    /// The field `seq`: from 0, over all files of the log.
    pub(super) record: u64,
    /// From 1, in its file alone, as editors and `sed -n 42p` count.
    pub(super) line: u64,
    /// The file, which may be compressed.
    pub(super) file: PathBuf,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} (line {} of {})", self.record, self.line, self.file.display())
    }
}

/// `record 3`, `records 3 to 5`, or `no record`.
pub(super) fn records(range: &Range<u64>) -> String {
    match range.end.saturating_sub(range.start) {
        0 => "no record".to_owned(),
        1 => format!("record {}", range.start),
        _ => format!("records {} to {}", range.start, range.end - 1),
    }
}

/// That these are not where they must be: `record 3 is missing`.
pub(super) fn missing(absent: &Range<u64>) -> String {
    format!("{} {} missing", records(absent), if absent.end - absent.start == 1 { "is" } else { "are" })
}
