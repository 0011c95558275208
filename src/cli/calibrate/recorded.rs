//! What the line's audit has to say about a calibration that is being made.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use crate::audit::Range;
use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::calibrate::what_if::{Question, WhatIf, ask};
use crate::cli::audit::pictures_folder;
use crate::digest::Digest;
use crate::{Result, print};

/// The report tells of so much time.
const LAST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The line's audit.
pub(super) struct Recorded {
    log: PathBuf,
    pictures: PathBuf,
}

impl Recorded {
    /// The audit in `log`, and its pictures in `pictures` or beside it.
    pub(super) fn new(log: Option<PathBuf>, pictures: Option<PathBuf>) -> Option<Self> {
        let log = log?;
        let pictures = pictures_folder(pictures.as_deref(), &log);
        Some(Recorded { log, pictures })
    }

    /// What the calibration would have done lately; `previous` is the one whose place it takes. `None` where the audit
    /// tells nothing.
    ///
    /// # Errors
    ///
    /// The audit or a picture cannot be read.
    pub(super) fn what_if(
        &self,
        bundle: &Bundle,
        calibration: &Calibration,
        previous: Option<&(Calibration, Digest)>,
    ) -> Result<Option<WhatIf>> {
        let was = previous.map(|(calibration, digest)| (*digest, calibration.clone())).into_iter().collect::<Vec<_>>();
        let from = Timestamp::now().checked_sub(LAST).ok();
        let question = Question {
            calibration,
            was: &was,
            bundle: Some(bundle),
            log: &self.log,
            pictures: &self.pictures,
            range: Range { from, to: None },
        };
        match ask(&question) {
            // A line that has not run, or keeps no pictures, is no reason not to calibrate.
            Err(error) if error.kind() == crate::ErrorKind::Usage => {
                log::warn!("{}: {}", self.log.display(), error.line());
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }
}

/// Says what became of the parts of the last days.
pub(super) fn tell(what_if: &WhatIf) -> Result<()> {
    let ([[_, caught], [released, _]], (then, now)) = (what_if.counts, what_if.reject_rates());
    print::line(format_args!(
        "last 7 days {} with a known verdict: {:.2}% rejected then, {:.2}% with this; {caught} more rejected, {released} fewer",
        print::counted(what_if.known(), "part"),
        100.0 * then,
        100.0 * now
    ))
}
