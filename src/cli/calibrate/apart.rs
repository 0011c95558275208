//! Images that stand apart from the rest: a person says what they are before a line goes by them.

use std::path::Path;

use crate::calibrate::{Apart, Calibrated};
use crate::{Error, Result, print};

/// Those that stand apart and of which nobody says that they show good parts, the highest score first: neither `keep`, files' names, nor
/// whoever looked at the rejected parts of an audit's sample.
///
/// # Errors
///
/// There is no such image among those that set the threshold.
pub(super) fn unnamed<'a>(calibrated: &'a Calibrated, keep: &[String]) -> Result<Vec<&'a str>> {
    let images = &calibrated.calibration.images;
    if let Some(dropped) = calibrated.calibration.dropped.iter().find(|dropped| keep.contains(&dropped.file)) {
        return Err(Error::usage(format!("'{}' is to be left out and to be kept", dropped.file))
            .advise("give --drop or --keep of it, and not both"));
    }
    if let Some(name) = keep.iter().find(|name| images.iter().all(|image| image.file != **name)) {
        return Err(Error::usage(format!("'{name}' cannot be kept: it is none of the images that set the threshold"))
            .advise("give the file's name as the list of the highest scores has it, and --keep or --drop it"));
    }
    let apart = calibrated.apart.iter().flat_map(|apart| &apart.files);
    let is_said_good = |file: &str| calibrated.calibration.audit.as_ref().is_some_and(|from| from.is_said_good(file));
    Ok(apart.filter(|file| !keep.contains(file) && !is_said_good(file)).map(String::as_str).collect())
}

/// Why nothing but the page was written: of `unnamed` nobody has said whether they show good parts, and perhaps all images are `unlike` the
/// model's normal parts. `how` is how the command is given again.
pub(super) fn refused(apart: &Apart, unnamed: &[&str], unlike: Option<&str>, page: &Path, how: &str) -> Error {
    let because = unlike.map_or_else(|| apart.told.clone(), |unlike| format!("{}; and {unlike}", apart.told));
    let also = unlike.map_or(
        "",
        |_| ", and --unlike where the images are still so without those and no defective part is among them",
    );
    Error::usage(told(unnamed)).because(because).advise(format!(
        "look at {} in {}, which is all that was written; {how}, with --drop FILE=REASON for each that shows no good part (what is left in, and \
         is defective, lets such parts pass), and --keep FILE for each that does{also}",
        if unnamed.len() == 1 { "it" } else { "them" },
        page.display()
    ))
}

/// What to ask of images that are unlike the model's normal parts.
pub(super) const UNLIKE: &str = "Are there defective parts among them (look at those with the highest scores)? Is the camera or the light \
                                 another? A threshold set on them lets through what is like them";

/// Why nothing but the page was written: defective parts may be among the images. `how` is how the command is given again.
pub(super) fn refused_as_unlike(unlike: String, page: &Path, how: &str) -> Error {
    Error::usage(unlike).because(UNLIKE).advise(format!(
        "look at them in {}, which is all that was written; {how}, with other images where defective parts are among these, or with --unlike \
         where none is",
        page.display()
    ))
}

/// Says the same where the page alone was asked for.
pub(super) fn warn(apart: &Apart, unnamed: &[&str]) {
    log::warn!(
        "{}: {}. Leave out what shows no good part (--drop FILE=REASON): what is left in, and is defective, lets such parts pass; and say \
         of what does that it stays (--keep FILE)",
        told(unnamed),
        apart.told
    );
}

/// All of them: each is to be looked at.
fn told(unnamed: &[&str]) -> String {
    let stand = if unnamed.len() == 1 { "stands" } else { "stand" };
    format!(
        "{} {stand} apart from the rest, and nobody has said whether that is a good part: {}",
        print::counted(unnamed.len() as u64, "image"),
        unnamed.join(", ")
    )
}
