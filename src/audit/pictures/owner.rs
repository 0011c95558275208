//! To which log a pictures' folder belongs: two logs in one would remove each other's pictures, and each be accused of it.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The file that names the log, in the pictures' folder.
const NAME: &str = "owner.txt";
/// What follows the log in it, for people.
const WORDS: &str = "The pictures in this folder are kept and removed for the log above, and for no other one.\n";

/// Takes the folder for `log`, which is there already.
///
/// # Errors
///
/// It belongs to another log, or cannot be written.
pub(super) fn claim(folder: &Path, log: &Path) -> Result<()> {
    let own = named(folder, log).map_err(|error| unusable(folder, error))?;
    let opened = OpenOptions::new().read(true).append(true).create(true).open(folder.join(NAME));
    let mut file = opened.map_err(|error| unusable(folder, error))?;
    // Two lines may begin in one moment. A file system without locks has none to give.
    let _ = file.lock();
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| unusable(folder, error))?;
    match owner(&text) {
        Some(other) => is_own(folder, &own, other),
        None => {
            let written = file.set_len(0).and_then(|()| file.write_all(format!("{own}\n{WORDS}").as_bytes()));
            written.and_then(|()| file.sync_all()).map_err(|error| unusable(folder, error))
        }
    }
}

/// Whether `log`, which need not be there yet, could have the folder.
///
/// # Errors
///
/// It belongs to another log.
pub(super) fn check(folder: &Path, log: &Path) -> Result<()> {
    let text = match std::fs::read_to_string(folder.join(NAME)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(|error| unusable(folder, error))?,
    };
    let own = named(folder, log).map_err(|error| unusable(folder, error))?;
    owner(&text).map_or(Ok(()), |other| is_own(folder, &own, other))
}

fn is_own(folder: &Path, own: &str, other: &str) -> Result<()> {
    match own == other {
        true => Ok(()),
        false => Err(Error::usage(format!("pictures cannot be kept in {}", folder.display()))
            .because(format!("another log's pictures are there: those of {other}, as seen from that folder"))
            .advise(format!(
                "give this line a folder of its own ([audit] pictures); if it is that log under a new name, remove {}",
                folder.join(NAME).display()
            ))),
    }
}

pub(super) fn unusable(folder: &Path, error: std::io::Error) -> Error {
    Error::device(format!("pictures cannot be kept in {}", folder.display()))
        .because(error)
        .advise("[audit] pictures names a folder on a disk that is there, has room, and may be written")
}

/// A name that was not written to its end is none.
fn owner(text: &str) -> Option<&str> {
    text.split_once('\n').map(|(owner, _)| owner)
}

/// The log as seen from the folder, so that both may be moved together.
fn named(folder: &Path, log: &Path) -> std::io::Result<String> {
    let folder = folder.canonicalize()?;
    let name = log.file_name().unwrap_or_default();
    let beside = log.parent().filter(|beside| !beside.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let log = match log.canonicalize() {
        Ok(log) => log,
        Err(_) => beside.canonicalize()?.join(name),
    };
    let shared = folder.components().zip(log.components()).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(PathBuf::from(".."), folder.components().count() - shared);
    let down = log.components().skip(shared).collect::<PathBuf>();
    Ok(up.chain(Some(down)).collect::<PathBuf>().to_string_lossy().into_owned())
}
