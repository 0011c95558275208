//! What the line's audit has to say about a calibration that is being made.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::live;
use crate::audit::{Range, Vouched};
use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::calibrate::from_audit::{FromAudit, Judged, Sample};
use crate::calibrate::what_if::{Question, WhatIf, ask};
use crate::cli::audit::{Span, pictures_folder};
use crate::digest::Digest;
use crate::{Error, Result, print};

/// The report tells of so much time.
const LAST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Whose pictures are taken out of an audit.
pub(super) struct Wanted<'a> {
    /// The product.
    pub(super) class: &'a str,
    /// One lane's parts alone.
    pub(super) lane: Option<&'a str>,
    /// Of this time.
    pub(super) span: Span,
}

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

    /// The audit's newest file.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Copies pictures of the good parts that are wanted into the new folder `folder`; gives them, and where they come from, as far as a
    /// check of the audit `vouched` for it. `judged` is the file in which a person says which rejected parts were good. The folder has all
    /// of them, or none. Whether so many parts could be enough is asked of `enough` before any is judged or copied.
    ///
    /// # Errors
    ///
    /// As [`Sample::draw`], [`Sample::leave_out_unseen`] and [`Sample::copy`]; the folder is not new; nobody has said it of a rejected part; or there are too few.
    pub(super) fn take(
        &self,
        wanted: &Wanted,
        vouched: &Vouched,
        judged: &Path,
        folder: &Path,
        enough: &dyn Fn(usize) -> Result<()>,
    ) -> Result<(Vec<PathBuf>, FromAudit)> {
        let mut sample = Sample::draw(&self.log, wanted.class, wanted.lane, wanted.span.range(), vouched)?;
        let said = Judged::open(judged)?;
        sample.leave_out_unseen(&said, &self.pictures)?;
        // Before a person looks at its rejects for nothing.
        enough(sample.most(&said))?;
        said.check(&sample, judged, &self.pictures)?;
        live::new_folder(folder)?;
        let begun = begin(folder)?;
        let copied = sample.copy(&self.pictures, &said, &begun);
        let (images, from) = copied.inspect_err(|_| drop(std::fs::remove_dir_all(&begun)))?;
        std::fs::rename(&begun, folder).map_err(|error| {
            Error::device(format!("{} cannot become {}", begun.display(), folder.display())).because(error)
        })?;
        let images = images.iter().filter_map(|image| Some(folder.join(image.file_name()?))).collect::<Vec<_>>();
        print::line(format_args!(
            "taken       {} of passed parts, {} of rejected ones that were good; {} bad, {} not there",
            print::counted(from.passed as u64, "picture"),
            from.rejected_good.len(),
            from.rejected_bad,
            from.gone
        ))?;
        Ok((images, from))
    }

    /// What the calibration would have done lately, to the parts of one lane or of all; `previous` is the one whose place it takes. `None` where the audit
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
        lane: Option<&str>,
        vouched: &Vouched,
    ) -> Result<Option<WhatIf>> {
        let was = previous.map(|(calibration, digest)| (*digest, calibration.clone())).into_iter().collect::<Vec<_>>();
        let from = Timestamp::now().checked_sub(LAST).ok();
        let question = Question {
            calibration,
            was: &was,
            bundle: Some(bundle),
            log: &self.log,
            vouched,
            pictures: &self.pictures,
            range: Range { from, to: None },
            lane,
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

/// Makes the folder in which a sample is begun that becomes `folder`: what was begun and not ended would look like a whole one. What bears
/// its name is left as it is, since nobody can tell whether a command left it, or copies into it at this moment.
fn begin(folder: &Path) -> Result<PathBuf> {
    let begun = folder.with_added_extension("unfinished");
    std::fs::create_dir(&begun).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::usage(format!("{} is there already", begun.display()))
            .because("pictures are copied into a new folder of that name, which has its own once all are there")
            .advise(
                "look at what is in it: if a command that was stopped left it, remove it; if one copies at this moment, wait for that; else name \
                 another folder (--images)",
            ),
        _ => Error::device(format!("folder {} cannot be made", begun.display()))
            .because(error)
            .advise("name a folder beside which you may write, on a disk that is not full"),
    })?;
    Ok(begun)
}

/// Says what became of the parts of the last days.
pub(super) fn tell(what_if: &WhatIf) -> Result<()> {
    let [[_, caught], [released, _]] = what_if.counts;
    print::line(format_args!(
        "last 7 days {}; of {} known {caught} more rejected, {released} fewer",
        what_if.rates(),
        print::counted(what_if.known(), "part"),
    ))
}
