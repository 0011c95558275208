//! The bundle and the calibrations.

use super::Finding;
use crate::audit;
use crate::config::LineConfig;
use crate::runtime::{Judges, ModelInspector};

const UNKEPT: &str = "calibrate on more parts: the rate of false rejects that was asked for is not promised";
const FOREIGN: &str = "see who set the threshold, and why, or calibrate again";
const UNLIKE: &str = "look whether defective parts are among the images (hgad calibrate --review), or the camera or the light is another";

/// Loads them as a run does; the inspector is there where that went well, and so is who let into production what it goes by, where that is asked.
pub(super) fn load(config: &LineConfig) -> (Option<ModelInspector>, Finding, Vec<Finding>) {
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
            let approved = approved(&judges);
            (Some(judges.inspector), finding, approved)
        }
        Err(error) => (None, Finding::failed("model", &error), Vec::new()),
    }
}

/// Who let each file into production; nothing where nobody is asked. A run loads none that nobody let.
fn approved(judges: &Judges) -> Vec<Finding> {
    let calibrations = judges.inspector.calibrations().into_iter();
    let calibrations = calibrations.map(|(class, file)| (format!("calibration of {class}"), file));
    let files = std::iter::once(("model".to_owned(), judges.bundle)).chain(calibrations);
    let told = files.filter_map(|(what, file)| {
        let approval = audit::approval_of(&what, file, &judges.approvals)?;
        Some(Finding::ok("approval", format!("{what}: approved by {approval}")))
    });
    told.collect()
}
