//! What a command will write when its work is done: whether that can be is asked before the work begins.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use crate::{Error, Result};

/// Makes sure that `path` can become a folder with files in it; makes the folder.
///
/// # Errors
///
/// It cannot be made or written.
pub fn folder(path: &Path) -> Result<()> {
    let probe = std::fs::create_dir_all(path).and_then(|()| tempfile::tempfile_in(path).map(drop));
    probe.map_err(|error| {
        Error::device(format!("folder {} cannot be written", path.display()))
            .because(error)
            .advise("name a folder that you may write, on a disk that is not full")
    })
}

/// What the first line of every audit begins with.
const AUDIT: &[u8] = b"{\"seq\":";

/// Makes sure that nothing is lost that cannot be made again when `path` is replaced: a slip of the hand puts the log where the report
/// belongs.
///
/// # Errors
///
/// It is an audit, or a file of a bundle.
pub fn no_evidence(path: &Path) -> Result<()> {
    let mut start = [0; AUDIT.len()];
    let is_audit = path.is_file()
        && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok_and(|()| start == *AUDIT);
    let folder = folder_of(path);
    let is_of_bundle = path.is_file() && ["manifest.toml", "model.onnx"].iter().all(|name| folder.join(name).is_file());
    let what = match (is_audit, is_of_bundle) {
        (true, _) => "an audit",
        (_, true) => "a file of a bundle",
        _ => return Ok(()),
    };
    Err(Error::usage(format!("{} is {what}: it is not overwritten", path.display()))
        .advise("name another file to write"))
}

/// Makes sure that `path` can be written, and makes its folder; a file that stands there is left as it is.
///
/// # Errors
///
/// It cannot be written, or must not ([`no_evidence`]).
pub fn file(path: &Path) -> Result<()> {
    no_evidence(path)?;
    match path.metadata() {
        Ok(found) if found.is_dir() => Err(failed(path, io::ErrorKind::IsADirectory.into())),
        Ok(found) if found.is_file() => {
            OpenOptions::new().write(true).open(path).map(drop).map_err(|error| failed(path, error))
        }
        // A pipe or a device: to open one does more than to ask.
        Ok(_) => Ok(()),
        Err(_) => folder(folder_of(path)),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes sure that a new file can take the place of `path` (as [`crate::calibrate::Calibration::write`] does it: by a rename,
/// which asks for the right to write the folder and not the file), and makes its folder.
///
/// # Errors
///
/// The folder cannot be written, or what stands there is no file that could be replaced, or must not be ([`no_evidence`]).
pub fn replaced_file(path: &Path) -> Result<()> {
    no_evidence(path)?;
    match path.metadata() {
        Ok(found) if found.is_dir() => Err(failed(path, io::ErrorKind::IsADirectory.into())),
        Ok(found) if !found.is_file() => Err(failed(path, io::Error::other("it is a pipe or a device, and no file"))),
        _ => folder(folder_of(path)),
    }
}

/// Writes a file that [`file`] has found writable.
///
/// # Errors
///
/// It cannot be written any more.
pub fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::device(format!("{} cannot be written", path.display()))
        .because(error)
        .advise("name a file that you may write, on a disk that is not full")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_written_is_known_before_and_nothing_is_changed() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::write(at("there"), "kept").unwrap();
        file(&at("there")).unwrap();
        assert_eq!(std::fs::read_to_string(at("there")).unwrap(), "kept");
        file(&at("new/summary.json")).unwrap();
        assert!(at("new").is_dir() && !at("new/summary.json").exists());
        file(Path::new("/dev/null")).unwrap();
        for refused in [root.path().to_owned(), at("there/below.json"), "/proc/none.json".into()] {
            let error = file(&refused).unwrap_err();
            assert!(error.kind().exit_code() == 3 && error.report().contains("try: "), "{}", error.report());
        }
        assert!(folder(&at("there")).is_err());
    }

    #[test]
    fn audits_and_bundles_are_not_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::write(at("audit.jsonl"), "{\"seq\":0,\"prev\":\"00\"}\n").unwrap();
        std::fs::create_dir(at("bundle")).unwrap();
        ["bundle/manifest.toml", "bundle/model.onnx"].iter().for_each(|name| std::fs::write(at(name), "x").unwrap());
        for name in ["audit.jsonl", "bundle/manifest.toml", "bundle/model.onnx"] {
            for refused in [file(&at(name)), replaced_file(&at(name))] {
                let error = refused.unwrap_err();
                assert!(error.kind().exit_code() == 2 && error.report().contains("not overwritten"), "{name}");
            }
        }
        std::fs::write(at("summary.json"), "{}").unwrap();
        file(&at("summary.json")).unwrap();
        replaced_file(&at("bundle/new.toml")).unwrap();
    }

    #[test]
    fn a_file_that_is_replaced_needs_a_folder_that_can_be_written_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::write(at("mine"), "kept").unwrap();
        std::fs::set_permissions(at("mine"), std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
        replaced_file(&at("mine")).unwrap();
        assert_eq!(std::fs::read_to_string(at("mine")).unwrap(), "kept");
        replaced_file(&at("new/cap.toml")).unwrap();
        assert!(at("new").is_dir() && !at("new/cap.toml").exists());
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        // The last is a file that this process may write, in a folder that nobody may.
        for refused in [root.path().to_owned(), at("pipe"), "/dev/null".into(), "/proc/self/comm".into()] {
            let error = replaced_file(&refused).unwrap_err();
            assert!(error.kind().exit_code() == 3 && error.report().contains("try: "), "{}", error.report());
        }
        file(Path::new("/proc/self/comm")).unwrap();
    }
}
