//! The bundle and the calibrations.

use super::Finding;
use crate::config::LineConfig;
use crate::runtime::{Judges, ModelInspector};

/// Loads them as a run does; the inspector is there where that went well.
pub(super) fn load(config: &LineConfig) -> (Option<ModelInspector>, Finding) {
    match Judges::open(config) {
        Ok(judges) => {
            let classes = judges.inspector.calibrations().into_keys().collect::<Vec<_>>().join(", ");
            let measured = format!(
                "bundle {} with calibrations of {classes}: the golden frames come out as on the training host",
                judges.bundle.short()
            );
            (Some(judges.inspector), Finding::ok("model", measured))
        }
        Err(error) => (None, Finding::failed("model", &error)),
    }
}
