//! What a check of a log by its key stands for, and what it does not: records that somebody may have added who has no key.

use std::collections::BTreeMap;
use std::ops::Range;

use super::pictures::is_sample;
use super::read::PictureEntry;
use super::spot;
use crate::line::PartId;
use crate::{Error, Result, print};

/// So many places of such records are named.
const NAMED: usize = 3;

/// Records that no checkpoint of their own run vouches for: whoever may write the file could have made them, and no later signature makes
/// them better.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unvouched(Vec<Range<u64>>);

impl Unvouched {
    /// Those of `unsigned`, and all from `end` on, which nobody has looked at.
    pub(crate) fn new(unsigned: &[Range<u64>], end: u64) -> Self {
        Unvouched(unsigned.iter().cloned().chain(Some(end..u64::MAX)).collect())
    }

    /// Whether the record of this number is one of them.
    pub fn holds(&self, record: u64) -> bool {
        // They come in their order.
        let next = self.0.partition_point(|records| records.end <= record);
        self.0.get(next).is_some_and(|records| records.contains(&record))
    }

    /// Which they are, for people; `None` where all are vouched for that were looked at.
    pub fn told(&self) -> Option<String> {
        let known = || self.0.iter().filter(|records| records.end < u64::MAX);
        let count = known().map(|records| records.end - records.start).sum::<u64>();
        let mut named = known().take(NAMED).map(spot::records).collect::<Vec<_>>().join(", ");
        let more = known().count().saturating_sub(NAMED);
        if more > 0 {
            named.push_str(&format!(" and in {}", print::counted(more as u64, "other place")));
        }
        (count > 0).then(|| {
            format!(
                "{} left out that no checkpoint of the run vouches for: whoever may write the log could have made them ({named})",
                print::are(count, "record")
            )
        })
    }
}

/// Of each run the share of its parts whose pictures are kept whatever becomes of them, as its first record says it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(BTreeMap<String, f64>);

/// A share is no more than that when it is compared.
impl Eq for Samples {}

impl Samples {
    /// A run begins, or goes on in another file.
    pub(super) fn begin(&mut self, run: &str, share: Option<f64>) {
        // What was said first stands: nobody else may begin a run of that name.
        if let Some(share) = share {
            self.0.entry(run.to_owned()).or_insert(share);
        }
    }

    /// Whether a part belongs to its run's sample, computed anew from the part's name and the run's share; as its picture's record says it
    /// where the log does not tell the share. `None` where nobody knows.
    ///
    /// # Errors
    ///
    /// The record says otherwise.
    pub fn holds(&self, record: u64, part: Option<u64>, picture: &PictureEntry) -> Result<Option<bool>> {
        let said = picture.is_sampled();
        let computed = picture
            .run()
            .zip(part)
            .and_then(|(run, part)| self.0.get(run).map(|share| is_sample(run, PartId(part), *share)));
        match (computed, said) {
            (Some(computed), Some(said)) if computed != said => {
                let (says, is) = if said { ("belongs", "does not") } else { ("does not belong", "does") };
                Err(Error::check(format!("record {record} says that its part {says} to the sample, and by its name and its run's share it {is}"))
                    .because("whether a part is drawn is known before it is judged, from SHA-256(RUN/PART): somebody made or changed the record")
                    .advise("hgad audit verify --key says which records nobody signed; keep the log as evidence"))
            }
            (computed, said) => Ok(computed.or(said)),
        }
    }
}

/// What a check of a log says to those who go by its records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vouched {
    /// Records that are left out; none where no key was given.
    pub unvouched: Unvouched,
    /// Which parts were drawn by chance.
    pub samples: Samples,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_part_is_drawn_is_computed_and_not_believed() {
        let picture = |run: &str, sampled: bool| {
            let json = format!("{{\"why\":\"reject\",\"sampled\":{sampled},\"file\":\"{run}/2026-11-24/1.png\"}}");
            serde_json::from_str::<PictureEntry>(&json).unwrap()
        };
        let mut samples = Samples::default();
        samples.begin("all", Some(1.0));
        samples.begin("none", Some(0.0));
        // Who adds another start of the run does not make it another share.
        samples.begin("none", Some(1.0));
        samples.begin("older", None);
        let holds = |run: &str, sampled: bool| samples.holds(7, Some(3), &picture(run, sampled));
        assert_eq!((holds("all", true).unwrap(), holds("none", false).unwrap()), (Some(true), Some(false)));
        assert_eq!((holds("older", true).unwrap(), holds("older", false).unwrap()), (Some(true), Some(false)));
        for (run, sampled) in [("all", false), ("none", true)] {
            let error = holds(run, sampled).unwrap_err();
            assert!(error.kind().exit_code() == 1 && error.report().contains("record 7"), "{}", error.report());
        }
    }

    #[test]
    fn what_is_added_after_the_check_is_vouched_for_by_nobody() {
        let unvouched = Unvouched::new(&[3..5, 9..10], 20);
        let held = (0..25).filter(|record| unvouched.holds(*record)).collect::<Vec<_>>();
        assert_eq!(held, [3, 4, 9, 20, 21, 22, 23, 24]);
        assert!(unvouched.told().unwrap().starts_with("3 records are left out"));
        assert_eq!((Unvouched::new(&[], 20).told(), Unvouched::default().holds(0)), (None, false));
    }
}
