//! A log's file that does not bear its name any more: somebody moved or removed it while a run writes it, or put another file in its place, as
//! `sed -i`, editors and synchronising programs do. What is written goes on into the open file, wherever that is.

use std::fs::File;
use std::io::{Read, Result};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::{draft, print};

/// Bytes that are kept between two signs of progress.
const PIECE: u64 = 8 << 20;

/// Whether `path` is the name of what was opened as `file`. A link to a file is not that file's name.
pub(super) fn is_at(file: &File, path: &Path) -> Result<bool> {
    let opened = file.metadata()?;
    let named = if opened.is_file() { path.symlink_metadata() } else { path.metadata() };
    match named {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        named => {
            let named = named?;
            Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino()))
        }
    }
}

/// What is to be said of the log's file, and to be done, while `path` is its name no more.
pub(super) fn told(file: &File, path: &Path) -> Option<String> {
    let name = print::name(path.display());
    match is_at(file, path) {
        Ok(true) => None,
        Ok(false) if is_nameless(file) => Some(format!(
            "{name} was removed, or another file put in its place, while the line runs: its records go on into the file that has no name any \
             more, which the end of the run keeps as {} or a name beside it, and a kill or a power cut loses. Keep what is there now (cp {} FILE), end the run, \
             and find out who did it",
            print::name(kept_as(path, 1).display()),
            descriptor(file).display(),
        )),
        Ok(false) => Some(format!(
            "{name} is not the line's file any more, which was moved to {}: its records go on there. Move what bears the name away, give that \
             file its name back, and find out who did it",
            place_of(file),
        )),
        Err(error) => Some(format!("whether {name} is still the line's file is not known: {error}")),
    }
}

/// What is to be said at the end of a run; a file without a name is kept under another one, that no file has.
///
/// `progress` is told now and then that it goes on: a log may have gigabytes.
pub(super) fn left(file: &File, path: &Path, progress: &mut dyn FnMut()) -> Option<String> {
    let told = told(file, path)?;
    if !is_nameless(file) {
        return Some(told);
    }
    let name = print::name(path.display());
    Some(match keep(file, path, progress).map(|kept| print::name(kept.display())) {
        Ok(kept) => format!(
            "{name} was removed, or another file put in its place, while the line ran: all that was written is in {kept}. Move what bears the \
             name away, and give that file the name: mv {kept} {name}"
        ),
        Err(error) => format!(
            "{name} was removed, or another file put in its place, while the line ran, and what was written since is lost, for it cannot be \
             kept beside it: {error}"
        ),
    })
}

/// Keeps what is in the file, which was opened to be appended to, beside what bears its name.
fn keep(file: &File, path: &Path, progress: &mut dyn FnMut()) -> Result<PathBuf> {
    let mut from = File::open(descriptor(file))?;
    let (kept, mut to) = free_name(path)?;
    while std::io::copy(&mut (&mut from).take(PIECE), &mut to)? > 0 {
        progress();
    }
    to.sync_all()?;
    draft::sync_folder(&kept)?;
    Ok(kept)
}

/// What was kept before is never replaced.
fn free_name(path: &Path) -> Result<(PathBuf, File)> {
    let mut number = 1;
    loop {
        let kept = kept_as(path, number);
        match File::create_new(&kept) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            file => return Ok((kept, file?)),
        }
    }
}

fn is_nameless(file: &File) -> bool {
    file.metadata().is_ok_and(|found| found.nlink() == 0)
}

fn kept_as(path: &Path, number: u32) -> PathBuf {
    match number {
        1 => path.with_added_extension("kept"),
        _ => path.with_added_extension(format!("kept-{number}")),
    }
}

/// What is to be said where a log is to begin beside what was kept of one that was removed. `None` where there is none, or a log is here.
pub(super) fn kept_told(path: &Path) -> Option<String> {
    let kept = kept_as(path, 1);
    let [name, kept_name] = [path, &kept].map(|path| print::name(path.display()));
    (!path.exists() && kept.is_file()).then(|| {
        format!(
            "{kept_name} is what a run wrote whose {name} was removed or exchanged: before another log begins here, give it the name: \
             mv {kept_name} {name}"
        )
    })
}

fn place_of(file: &File) -> String {
    std::fs::read_link(descriptor(file)).map_or_else(|_| "another place".to_owned(), |at| print::name(at.display()))
}

/// The open file, for whoever may read it, as long as this program runs.
fn descriptor(file: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into()
}
