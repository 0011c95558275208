//! The bundle and the calibrations.

use super::Finding;
use crate::config::LineConfig;
use crate::runtime::{Judges, ModelInspector};

const UNKEPT: &str = "calibrate on more parts: the rate of false rejects that was asked for is not promised. ";

/// Loads them as a run does; the inspector is there where that went well.
pub(super) fn load(config: &LineConfig) -> (Option<ModelInspector>, Finding) {
    match Judges::open(config) {
        Ok(judges) => {
            let classes = judges.inspector.calibrations().into_keys().collect::<Vec<_>>().join(", ");
            let measured = format!(
                "bundle {} with calibrations of {classes}: the golden frames come out as on the training host",
                judges.bundle.short()
            );
            let unkept = judges.inspector.unkept_rates();
            let finding = match unkept.is_empty() {
                true => Finding::ok("model", measured),
                // As to the machine the line can run; whether it may is for whoever answers for the rejects.
                false => Finding::note("model", measured, format!("{UNKEPT}{}", unkept.join("; "))),
            };
            (Some(judges.inspector), finding)
        }
        Err(error) => (None, Finding::failed("model", &error)),
    }
}
