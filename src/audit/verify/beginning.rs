//! A file that does not begin as a run begins one: its first line was removed, or another one put in its place. No file is missing before it
//! then, and those before it are no strangers, whatever number the line there has.

use std::io::BufRead;
use std::ops::Range;

use super::broken::{EVIDENCE, as_written_before};
use crate::audit::chain::{Break, Envelope, Link};
use crate::audit::kind::Kind;
use crate::audit::read::{LogFile, lines};
use crate::audit::spot::Spot;
use crate::{Error, Result};

/// The first line of a file, where a run has not begun one with it.
pub(super) struct Beginning<'r> {
    /// Where it is, with the record that must be there.
    pub(super) here: Spot,
    /// What is on it.
    pub(super) first: &'r Envelope,
    /// The file before.
    pub(super) before: Option<&'r LogFile>,
}

impl Beginning<'_> {
    /// Whether it may be the beginning of a file, of this log or of another. `link`: what it must continue; `read`: the records before it;
    /// `rest`: the lines behind it, which are read on where it is in doubt.
    ///
    /// # Errors
    ///
    /// It is none, and what became of the file's first line.
    pub(super) fn holds(&self, link: &Link, read: Range<u64>, rest: &mut impl BufRead) -> Result<()> {
        let is_out_of_sequence = matches!(link.check(self.first), Err(Break::Sequence { .. }));
        if self.may_begin_a_file() && !is_out_of_sequence {
            return Ok(());
        }
        let behind = lines(rest).next().and_then(std::result::Result::ok);
        let behind = behind.and_then(|line| Envelope::open(&line).ok());
        let goes_on = behind.map(|behind| behind.follows(self.first));
        match self.may_begin_a_file() && goes_on != Some(false) {
            true => Ok(()),
            false => Err(as_written_before(self.told(goes_on), read)),
        }
    }

    /// A log begins with record 0, and each later file of it says what it continues.
    fn may_begin_a_file(&self) -> bool {
        match self.before {
            Some(_) => self.first.kind == Some(Kind::Continued),
            None => self.first.seq == 0 || self.first.continues().is_some(),
        }
    }

    /// `goes_on`: whether the line behind continues this one, where there is one.
    fn told(&self, goes_on: Option<bool>) -> Error {
        let Spot { record, line, file } = &self.here;
        let what = match (goes_on, self.first.kind) {
            (Some(true), Some(Kind::Continued)) => "was changed, and does not tell what it continues",
            (Some(true), _) => "begins no file, and the lines before it were removed",
            (Some(false), _) => "was put in the place of the file's first line",
            (None, _) => "begins no file, and the lines before it were removed, or it was put in their place",
        };
        let must = match self.before {
            Some(before) => format!("record {record}, which continues {}, must be there", before.path.display()),
            None => format!("record {record}, or one that continues files that are not here, must be there"),
        };
        let kind = self.first.kind.map_or("unknown", Kind::as_str);
        let found = format!("record {} (line {line} of {}, of kind {kind})", self.first.seq, file.display());
        Error::check(format!("{found} {what}: {must}")).advise(EVIDENCE)
    }
}
