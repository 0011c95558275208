//! The calibrations that a command about several products is given: files, and folders of such.

use std::path::{Path, PathBuf};

use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::{Error, Result};

/// The calibration of `class` among `given`, with its file. Of a folder that is CLASS.toml, and where there is none the TOML file that is
/// a calibration of the class, whatever its name.
///
/// # Errors
///
/// There is none or more than one, a file cannot be read, or it is not of this bundle.
pub fn of_class(class: &str, given: &[PathBuf], bundle: &Bundle) -> Result<(PathBuf, Calibration)> {
    let mut found = Vec::new();
    for path in given {
        match path.is_dir() {
            true => found.extend(in_folder(path, class)?),
            // What is no calibration is told of.
            false if Calibration::read(path)?.0.class == class => found.push(path.clone()),
            false => {}
        }
    }
    let names = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    match found.as_slice() {
        [path] => {
            let (calibration, _) = Calibration::open(path)?;
            calibration.check_bundle(bundle)?;
            Ok((path.clone(), calibration))
        }
        [] => Err(Error::device(format!("there is no calibration of '{class}' in {}", names(given))).advise(
            "make one with: hgad calibrate --model BUNDLE --class NAME --images DIR --out FILE; or name the products that there are \
             calibrations of with --classes",
        )),
        several => Err(Error::usage(format!("there are several calibrations of '{class}': {}", names(several)))
            .advise("name the one that counts: --calibration FILE")),
    }
}

/// The files in `folder` that may be the calibration of `class`.
fn in_folder(folder: &Path, class: &str) -> Result<Vec<PathBuf>> {
    let named = folder.join(format!("{class}.toml"));
    if named.exists() {
        let other = Calibration::read(&named)?.0.class;
        return match other == class {
            true => Ok(vec![named]),
            false => Err(Error::usage(format!("{} is a calibration of '{other}'", named.display()))
                .advise(format!("name the calibration of every class after it: {class}.toml is to be of '{class}'"))),
        };
    }
    let failed = |error| Error::device(format!("folder {} cannot be read", folder.display())).because(error);
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(failed)?;
    let mut files = entries.into_iter().map(|entry| entry.path()).collect::<Vec<_>>();
    // Other files of a folder are none of this command's business.
    let is_of_class = |path: &PathBuf| Calibration::read(path).is_ok_and(|(found, _)| found.class == class);
    files.retain(|path| path.extension().is_some_and(|end| end == "toml") && is_of_class(path));
    files.sort();
    Ok(files)
}
