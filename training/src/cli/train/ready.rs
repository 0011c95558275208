//! What can be seen to stand in a training's way before anything is computed.

use std::path::Path;

use hgad::bundle::{Bundle, Draft};
use hgad::{Error, Result};

use crate::fit::Checkpoint;

/// Makes sure that a training may start or go on beside what stands at `out`.
///
/// # Errors
///
/// Something that is no bundle, a checkpoint that the user does not want to go on from, or a finished bundle where an
/// interrupted training was to go on.
pub fn check_place(out: &Path, resume: bool) -> Result<()> {
    Draft::check_place(out)?;
    let checkpoint = Checkpoint::path_for(out)?;
    if checkpoint.exists() {
        return if resume { Ok(()) } else { Err(Checkpoint::in_the_way(&checkpoint)) };
    }
    match (Bundle::open(out).is_ok(), resume) {
        (false, _) => Ok(()),
        (true, false) => {
            log::warn!("the bundle {} will be replaced, and its calibrations will be void", out.display());
            Ok(())
        }
        (true, true) => Err(Error::usage("there is nothing to resume")
            .because(format!("{} is a finished bundle, and no checkpoint lies beside it", out.display()))
            .advise(
                "drop --resume to train anew, which makes the calibrations of that bundle void; or give another --out",
            )),
    }
}

/// Makes sure that checkpoints, the bundle and features can be written, and makes their folders.
///
/// # Errors
///
/// One of the folders cannot be made or written.
pub fn check_folders(out: &Path, cache: &Path) -> Result<()> {
    let parent = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for (folder, flag) in [(parent, "--out"), (cache, "--cache")] {
        let probe = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder).map(drop));
        probe.map_err(|error| {
            Error::device(format!("folder {} cannot be written", folder.display()))
                .because(error)
                .advise(format!("name a place with {flag} that you may write, on a disk that is not full"))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_cannot_be_written_are_told_with_their_flag() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "no folder").unwrap();
        let (good, bad) = (folder.path().join("new/model"), file.join("model"));
        for (out, cache, flag) in [(&bad, &good, "--out"), (&good, &bad, "--cache")] {
            let error = check_folders(out, cache).unwrap_err();
            assert!(error.kind().exit_code() == 3 && error.report().contains(flag), "{}", error.report());
        }
        check_folders(&good, &good).unwrap();
    }
}
