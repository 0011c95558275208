//! The folder of overlays: what was rejected, and what was wrong about it.

use std::path::{Path, PathBuf};

use image::RgbImage;

use super::tally::Outcome;
use crate::inspect::overlay::{Paint, beside};
use crate::runtime::Finished;
use crate::synthetic::{DefectKind, Product, Truth};
use crate::{Error, Result};

/// Pictures of one kind of outcome that are kept; misses and false rejects are kept all.
const MOST_REJECTED: usize = 60;
const MOST_PASSED: usize = 6;
/// What stands in a name for the kind of defect of a part without one.
const GOOD: &str = "good";

/// Writes overlays as parts come.
pub(super) struct Gallery {
    folder: PathBuf,
    rejected: usize,
    passed: usize,
    written: usize,
    failure: Option<Error>,
}

impl Gallery {
    pub(super) fn new(folder: PathBuf) -> Self {
        Gallery { folder, rejected: 0, passed: 0, written: 0, failure: None }
    }

    /// Keeps a part's picture, if it is one of those that are kept.
    pub(super) fn keep(&mut self, finished: &Finished, truth: Truth, outcome: Outcome) {
        let room = match outcome {
            Outcome::Missed | Outcome::FalseReject => true,
            Outcome::Rejected => next_below(&mut self.rejected, MOST_REJECTED),
            Outcome::Passed => next_below(&mut self.passed, MOST_PASSED),
        };
        if !room || self.failure.is_some() {
            return;
        }
        let Some(picture) = painted(finished, outcome) else { return };
        let kind = truth.defect.map_or(GOOD, DefectKind::name);
        let name = format!("{}-{:05}-{}-{kind}.png", prefix(outcome), finished.record.part.0, truth.product.name());
        let path = self.folder.join(name);
        match picture.save(&path) {
            Ok(()) => self.written += 1,
            Err(error) => {
                let failed = Error::device(format!("overlay {} cannot be written", path.display())).because(error);
                self.failure = Some(failed.advise("is the disk full?"));
            }
        }
    }

    /// How many were written.
    ///
    /// # Errors
    ///
    /// One could not be written.
    pub(super) fn close(&mut self) -> Result<usize> {
        self.failure.take().map_or(Ok(self.written), Err)
    }
}

fn next_below(count: &mut usize, most: usize) -> bool {
    *count += 1;
    *count <= most
}

/// What a file's name begins with: in a listing, what went wrong comes first.
fn prefix(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Missed => "1-missed",
        Outcome::FalseReject => "2-false-reject",
        Outcome::Rejected => "3-rejected",
        Outcome::Passed => "4-passed",
    }
}

/// Whether `path` bears a name that a gallery gives, such as `3-rejected-00017-cap-dent.png`: files that are named in another way are others'.
pub(super) fn is_overlay(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let outcomes = [Outcome::Missed, Outcome::FalseReject, Outcome::Rejected, Outcome::Passed];
    outcomes.iter().any(|outcome| name.strip_prefix(prefix(*outcome)).is_some_and(is_of_part))
}

/// Whether this is what such a name has behind its outcome.
fn is_of_part(rest: &str) -> bool {
    let fields = rest.strip_prefix('-').and_then(|rest| rest.strip_suffix(".png")).unwrap_or_default();
    let mut fields = fields.splitn(3, '-');
    let (Some(number), Some(product), Some(kind)) =
        (fields.next(), fields.next().and_then(Product::named), fields.next())
    else {
        return false;
    };
    let is_kind = kind == GOOD || product.defects().iter().any(|known| known.name() == kind);
    is_kind && number.len() >= 5 && number.bytes().all(|digit| digit.is_ascii_digit())
}

/// The camera's picture and, to its right, what the model saw in it.
fn painted(finished: &Finished, outcome: Outcome) -> Option<RgbImage> {
    let picture = finished.picture.as_ref()?;
    let (image, map) = (&picture.frame.image, &picture.inspection.as_ref()?.map);
    let threshold = finished.record.judgement.as_ref()?.threshold;
    let rejected = matches!(outcome, Outcome::Rejected | Outcome::FalseReject);
    Some(beside(image, map, Paint { full: 2.0 * threshold, rejected: Some(rejected) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_demo_s_overlays_are_known_by_their_whole_names() {
        let is = |name: &str| is_overlay(Path::new(name));
        assert!(is("d/3-rejected-00017-cap-foreign-body.png") && is("1-missed-123456-gear-missing.png"));
        assert!(is("2-false-reject-00003-blister-good.png") && is("4-passed-00000-gear-good.png"));
        for others in [
            "3-rejected-17-cap-dent.png",
            "3-rejected-00017-nut-dent.png",
            "3-rejected-00017-gear-misprint.png",
            "1-missed-by-the-night-shift.png",
            "3-rejected.png",
            "3-rejected-00017-cap-dent.jpg",
        ] {
            assert!(!is(others), "{others}");
        }
    }
}
