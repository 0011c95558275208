//! A closed file that is there twice, plain and compressed.

use std::path::{Path, PathBuf};

use super::also;
use crate::audit::read::{LogFile, cannot_be_read, files};
use crate::audit::rotation;
use crate::{Error, Result, print};

/// A closed file that is there twice, plain and compressed, which do not hold the same: both names. Between the moment in which a run
/// gives the compressed one its name and that in which it removes the other, both are there and hold the same. What is no file holds nothing,
/// and is told as that by whoever reads it.
fn different_twins(path: &Path) -> Result<Option<[PathBuf; 2]>> {
    let is_plain = |file: &LogFile| file.number.is_some() && !file.is_compressed() && file.path.is_file();
    for file in files(path)?.into_iter().filter(is_plain) {
        let packed = file.path.with_added_extension("gz");
        if !packed.is_file() {
            continue;
        }
        match rotation::holds(&packed, &file.path) {
            Ok(true) => {}
            // The run that compressed it has removed the plain one by now.
            Err(_) if !file.path.exists() => {}
            Err(error) if error.raw_os_error().is_some() => return Err(cannot_be_read(&packed, error)),
            Ok(false) | Err(_) => return Ok(Some([file.path, packed])),
        }
    }
    Ok(None)
}

/// What is read of a file that is there twice is the plain one, which is as it was written: the other one is not.
pub(super) fn no_twin_differs(path: &Path) -> Result<()> {
    let Some([plain, packed]) = different_twins(path)? else { return Ok(()) };
    let [plain, packed] = [plain, packed].map(|twin| print::name(twin.display()));
    Err(Error::check(format!("{packed} is not what was written, and {plain} beside it is"))
        .because("both stand for the same closed file, and do not hold the same")
        .advise(
            "find out who put the compressed one there, keep it as evidence and move it away: it would be read once the plain one is gone",
        ))
}

/// Says of a log that is not what was written where what was written may be in a compressed file beside the plain one that was read.
pub(super) fn with_twin(path: &Path, error: Error) -> Error {
    let Ok(Some([plain, packed])) = different_twins(path) else { return error };
    let [plain, packed] = [plain, packed].map(|twin| print::name(twin.display()));
    let told = format!(
        "{packed} holds something else than {plain}, which was read: move {plain} away, keep it, and check again whether the other one is what \
         was written"
    );
    also(error, &told)
}
