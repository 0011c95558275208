//! The bundle and the calibrations.

use super::Finding;
use crate::config::LineConfig;
use crate::runtime::{Judges, ModelInspector};

const UNKEPT: &str = "calibrate on more parts: the rate of false rejects that was asked for is not promised";
const FOREIGN: &str = "see who set the threshold, and why, or calibrate again";
const UNLIKE: &str = "look whether defective parts are among the images (hgad calibrate --review), or the camera or the light is another";

/// Loads them as a run does; the inspector is there where that went well.
pub(super) fn load(config: &LineConfig) -> (Option<ModelInspector>, Finding) {
    match Judges::open(config) {
        Ok(judges) => {
            let classes = judges.inspector.calibrations().into_keys().collect::<Vec<_>>().join(", ");
            let measured = format!(
                "bundle {} with calibrations of {classes}: the golden frames come out as on the training host",
                judges.bundle.short()
            );
            let inspector = &judges.inspector;
            let doubts = [
                (UNKEPT, inspector.unkept_rates()),
                (FOREIGN, inspector.foreign_thresholds()),
                (UNLIKE, inspector.unlike_training()),
            ];
            let doubts = doubts.iter().filter(|(_, told)| !told.is_empty());
            let doubts = doubts.map(|(advice, told)| format!("{advice}. {}", told.join("; "))).collect::<Vec<_>>();
            let finding = match doubts.is_empty() {
                true => Finding::ok("model", measured),
                // As to the machine the line can run; whether it may is for whoever answers for the rejects.
                false => Finding::note("model", measured, doubts.join("; ")),
            };
            (Some(judges.inspector), finding)
        }
        Err(error) => (None, Finding::failed("model", &error)),
    }
}
