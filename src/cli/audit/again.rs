//! Judging a stored picture again, with what judged it then.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;

use crate::audit::Entry;
use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::digest::Digest;
use crate::inspect::{Inspection, Inspector};
use crate::picture::{Fault, Statistics};
use crate::{Error, Result};

/// What judged, loaded again.
pub(super) struct Again {
    bundle: Digest,
    inspector: Inspector,
    /// By the digests of their files.
    calibrations: BTreeMap<Digest, Known>,
}

/// A calibration and its class's index.
type Known = (Calibration, usize);

/// Where they are.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Sources {
    /// The bundle that judged
    #[arg(long, value_name = "BUNDLE")]
    pub(super) model: PathBuf,
    /// A calibration that judged; may be given more than once
    #[arg(long, value_name = "FILE", required = true)]
    pub(super) calibration: Vec<PathBuf>,
}

impl Again {
    /// Loads them, and proves that this machine computes what the training host did.
    ///
    /// # Errors
    ///
    /// They cannot be loaded, do not belong together, or come out different here.
    pub(super) fn open(sources: &Sources) -> Result<Self> {
        let bundle = Bundle::open(&sources.model)?;
        let mut calibrations = BTreeMap::new();
        for path in &sources.calibration {
            let (calibration, digest) = Calibration::open(path)?;
            calibration.check_bundle(&bundle)?;
            let class = bundle.manifest.class_index(&calibration.class)?;
            calibrations.insert(digest, (calibration, class));
        }
        let mut inspector = Inspector::new(&bundle)?;
        inspector.check_parity(&bundle)?;
        Ok(Again { bundle: bundle.digest, inspector, calibrations })
    }

    /// Whether it was these that judged the part of `entry`.
    ///
    /// # Errors
    ///
    /// Which others it was.
    pub(super) fn is_of(&self, entry: &Entry) -> Result<()> {
        let named = |digest: Option<Digest>| digest.map_or_else(|| "none".to_owned(), |digest| digest.short());
        if entry.bundle != Some(self.bundle) {
            return Err(Error::usage(format!("record {} was judged by another model", entry.seq))
                .because(format!("by bundle {}, and this is bundle {}", named(entry.bundle), self.bundle.short()))
                .advise("give the bundle that was in use then (--model)"));
        }
        match entry.deciding_calibration().filter(|calibration| self.calibrations.contains_key(calibration)) {
            Some(_) => Ok(()),
            None => Err(Error::usage(format!("record {} was judged by another calibration", entry.seq))
                .because(format!("by the one whose SHA-256 begins with {}", named(entry.deciding_calibration())))
                .advise(format!(
                    "give the calibration of '{}' that was in use then; --calibration may be given more than once",
                    entry.class.as_deref().unwrap_or_default()
                ))),
        }
    }

    /// Looks at `image` as it was before the part of `entry` was to be judged: what it is like, and what is wrong with that.
    ///
    /// # Errors
    ///
    /// As [`Again::is_of`].
    pub(super) fn look(&self, entry: &Entry, image: &RgbImage) -> Result<(Statistics, Option<Fault>)> {
        self.is_of(entry)?;
        let (calibration, _) = named(&self.calibrations, entry)?;
        let statistics = Statistics::of(image, calibration.reference.mask.as_ref());
        Ok((statistics, calibration.picture.and_then(|limits| limits.fault(&statistics))))
    }

    /// Judges `image` as the part of `entry`: the inspection, and whether it is rejected.
    ///
    /// # Errors
    ///
    /// As [`Again::is_of`], or the network fails.
    pub(super) fn judge(&mut self, entry: &Entry, image: &RgbImage) -> Result<(Inspection, bool)> {
        self.is_of(entry)?;
        let (calibration, class) = named(&self.calibrations, entry)?;
        let inspection = self.inspector.inspect(image, *class, &calibration.reference)?;
        let rejects = calibration.rejects(inspection.score);
        Ok((inspection, rejects))
    }
}

/// The calibration that decided about the part of `entry`.
fn named<'a>(known: &'a BTreeMap<Digest, Known>, entry: &Entry) -> Result<&'a Known> {
    let decided = entry.deciding_calibration().and_then(|digest| known.get(&digest));
    decided.ok_or_else(|| Error::usage(format!("record {} names no calibration", entry.seq)))
}

/// The pictures' folder: the one that was given, or `pictures` beside the log.
pub(in crate::cli) fn pictures_folder(given: Option<&Path>, log: &Path) -> PathBuf {
    given.map_or_else(|| log.with_file_name("pictures"), Path::to_owned)
}
