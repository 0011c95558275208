//! What it is for: other calibrations whose scores are its own, the bundle that it was made with, and frames of its images' shape.

use super::Calibration;
use crate::bundle::Bundle;
use crate::calibrate::suitable;
use crate::{Error, Result, print};

/// Frames whose aspect ratio differs by no more than this are alike: sizes are rounded to what a sensor can do.
const ASPECT_TOLERANCE: f64 = 0.01;

impl Calibration {
    /// Whether a part has the same score under both: they are of the same model and have the same constants.
    pub fn same_scores(&self, other: &Calibration) -> bool {
        self.other_scores(other).is_none()
    }

    /// Why a part has another score under `other`, in words that go on after a name of this one; `None` where it has the same.
    pub fn other_scores(&self, other: &Calibration) -> Option<String> {
        if self.class != other.class {
            return Some(format!("is of '{}', and not of '{}'", self.class, other.class));
        }
        if self.bundle != other.bundle {
            return Some(format!(
                "is of another model: bundle {}, and not {}",
                self.bundle.short(),
                other.bundle.short()
            ));
        }
        (self.reference != other.reference).then(|| {
            "has other constants: it was fitted to other images, or with another mask, which makes other scores of the same part".into()
        })
    }

    /// Refuses a calibration that was not made with `bundle`.
    ///
    /// # Errors
    ///
    /// The bundle is another one, does not know the class, or has other levels.
    pub fn check_bundle(&self, bundle: &Bundle) -> Result<()> {
        if self.bundle != bundle.digest {
            return Err(Error::usage(format!("the calibration of '{}' is not of this model", self.class))
                .because(format!(
                    "it was made with bundle {}, the model is bundle {}",
                    self.bundle.short(),
                    bundle.digest.short()
                ))
                .advise("calibrate again with this model, or give the model that the calibration was made with"));
        }
        bundle.manifest.class_index(&self.class)?;
        let levels = bundle.manifest.levels.len();
        if !self.reference.fits(levels) {
            return Err(Error::usage(format!(
                "the calibration of '{}' does not have constants for the model's {}, all finite and every deviation above 0",
                self.class,
                print::counted(levels as u64, "level")
            ))
            .advise("calibrate again with this model"));
        }
        self.reference.mask.as_ref().map_or(Ok(()), |_| suitable::maskable(bundle))?;
        match &self.reference.mask {
            Some(mask) if !mask.fits(bundle.manifest.input) => Err(Error::usage(format!(
                "the mask in the calibration of '{}' is not of the size that the model sees, or ignores all of it",
                self.class
            ))
            .advise("calibrate again with this model")),
            _ => Ok(()),
        }
    }

    /// Refuses a frame of `width` by `height` pixels whose aspect ratio is not that of the calibration's images: stretched
    /// to the network's input, its parts have a shape that no normal part had.
    ///
    /// # Errors
    ///
    /// The aspect ratio is another.
    pub fn check_frame(&self, (width, height): (u32, u32)) -> Result<()> {
        let Some(frame) = self.frame else { return Ok(()) };
        let aspect = f64::from(width) / f64::from(height);
        let calibrated = f64::from(frame.width.get()) / f64::from(frame.height.get());
        if (aspect / calibrated - 1.0).abs() <= ASPECT_TOLERANCE {
            return Ok(());
        }
        Err(Error::usage(format!("the calibration of '{}' is not for frames of {width}x{height}", self.class))
            .because(format!("its images were {}x{}, of another aspect ratio", frame.width, frame.height))
            .advise("set the camera to that size, or calibrate again with images of this one"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::sample;
    use super::*;
    use crate::bundle::ScoreReference;
    use crate::digest::Digest;

    #[test]
    fn why_scores_are_others_is_told_and_a_threshold_makes_none() {
        let own = sample();
        let same = Calibration { threshold: 9.0, images: Vec::new(), ..sample() };
        assert!(same.same_scores(&own) && same.other_scores(&own).is_none());
        let reference = ScoreReference::new(vec![0.0], vec![1.0]);
        for (other, says) in [
            (Calibration { class: "nut".into(), ..sample() }, "is of 'nut', and not of"),
            (Calibration { bundle: Digest::of("other"), ..sample() }, "another model: bundle"),
            (Calibration { reference, ..sample() }, "other constants"),
        ] {
            let told = other.other_scores(&own).unwrap();
            assert!(told.contains(says) && !other.same_scores(&own), "{told}");
        }
    }

    #[test]
    fn frames_of_another_shape_are_refused() {
        let calibration = sample();
        for alike in [(640, 480), (320, 240), (1280, 960), (644, 480)] {
            assert!(calibration.check_frame(alike).is_ok(), "{alike:?}");
        }
        for other in [(1280, 720), (480, 640), (480, 480), (0, 480), (640, 0), (0, 0)] {
            let report = calibration.check_frame(other).unwrap_err().report();
            assert!(report.contains("640x480") && report.contains(&format!("{}x{}", other.0, other.1)), "{report}");
        }
        let any = Calibration { frame: None, ..sample() };
        assert!(any.check_frame((1280, 720)).is_ok());
        assert!(!toml::to_string_pretty(&any).unwrap().contains("frame"));
    }
}
