//! Parts with their pictures: one that was stored after its part's record was written has a record of its own.

use std::collections::VecDeque;
use std::path::Path;

use jiff::SignedDuration;

use super::kind::Kind;
use super::query::Query;
use super::read::{Entry, Range, text};
use crate::Result;

/// So many parts are remembered whose pictures may still come.
const REMEMBERED: usize = 4096;
/// So long after its part a picture may be written down.
const LATER: SignedDuration = SignedDuration::from_mins(1);

/// A part, and the name of its run where that is known.
type Part = (Entry, Option<String>);

impl Query {
    /// Shows `look` every part that is asked for, once, with what became of its picture in the end, and the name of its run
    /// where that was read. A part without a picture comes later than others: its picture might follow. The memory
    /// that this takes is bounded.
    ///
    /// # Errors
    ///
    /// As [`Query::each`].
    pub fn each_part(&self, path: &Path, mut look: impl FnMut(&Entry, Option<&str>) -> Result<()>) -> Result<()> {
        let end = self.range.to.map(text);
        let to = self.range.to.map(|to| to.checked_add(LATER).unwrap_or(to));
        // A picture's own record has neither class nor verdict.
        let around = Query {
            range: Range { to, ..self.range },
            run: self.run.clone(),
            parts: self.parts.clone(),
            unvouched: self.unvouched.clone(),
            ..Query::default()
        };
        let mut waiting = VecDeque::<Part>::new();
        around.each(path, |_, entry, run| {
            match (entry.kind(), &entry.picture) {
                (Some(Kind::Part), picture)
                    if self.wants(entry) && end.as_ref().is_none_or(|end| entry.time < *end) =>
                {
                    if picture.as_ref().is_some_and(|picture| picture.file.is_some()) {
                        look(entry, run)?;
                    } else {
                        waiting.push_back((entry.clone(), run.map(str::to_owned)));
                    }
                }
                (Some(Kind::Picture), Some(picture)) => {
                    let is_its = |(part, of): &Part| part.part == entry.part && (of.as_deref() == run || of.is_none());
                    let found = waiting.iter().rposition(is_its).and_then(|place| waiting.remove(place));
                    if let Some((part, run)) = found {
                        look(&Entry { picture: Some(picture.clone()), ..part }, run.as_deref())?;
                    }
                }
                _ => {}
            }
            match waiting.len() > REMEMBERED {
                true => waiting.pop_front().map_or(Ok(()), |(part, run)| look(&part, run.as_deref())),
                false => Ok(()),
            }?;
            Ok(true)
        })?;
        waiting.iter().try_for_each(|(part, run)| look(part, run.as_deref()))
    }
}
