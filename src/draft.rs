//! How files are made and replaced. One takes another's place in one step: a reader, and a power cut, find the old one or the new one, never
//! a part. And where others may write the folder too, a name may lead elsewhere, or to a pipe: nothing is written through a link, and no pipe
//! is waited for.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::digest::Digest;
use crate::regular;

/// How the names of drafts begin that [`replace`] writes. A kill leaves one behind: [`sweep`] and [`sweep_of`] take it away.
pub const DRAFT: &str = ".hgad-draft-";
/// So many letters and digits at the end of a draft's name are drawn.
const DRAWN: usize = 6;

/// Puts `bytes` in the place of the file `path`, which others may read, in one step that also a power cut leaves whole: once this returns,
/// the file and its name are on the disk.
///
/// # Errors
///
/// It cannot be written; what stood there stays.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    swap(path, bytes, Permissions::from_mode(0o644))
}

/// The same, with these permissions.
pub(crate) fn swap(path: &Path, bytes: &[u8], permissions: Permissions) -> io::Result<()> {
    let mut file = draft_of(path, permissions)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(path)
}

/// A draft of the file `path`, which nobody sweeps away while this process holds it.
pub(crate) fn draft_of(path: &Path, permissions: Permissions) -> io::Result<NamedTempFile> {
    let prefix = prefix(path);
    let mut draft = tempfile::Builder::new();
    let draft = draft.prefix(&prefix).rand_bytes(DRAWN).permissions(permissions).tempfile_in(folder_of(path))?;
    // Where the file system has no locks, nothing is swept either.
    let _ = draft.as_file().try_lock();
    Ok(draft)
}

/// How the names of drafts of this very file begin: other files of the folder have their own. (A digest, since a name may be as long as names
/// can be.)
fn prefix(path: &Path) -> String {
    let name = Digest::of(path.file_name().unwrap_or_default().as_bytes()).to_string();
    format!("{DRAFT}{}-", &name[..16])
}

/// Makes the file `path` anew, for what is appended to it, under a name that anybody can guess. What stands there, whatever it is, goes.
///
/// # Errors
///
/// It cannot be made; a folder is in its place; or somebody put something there at this moment.
pub(crate) fn anew(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // What has to be new is neither the file that a link names nor a pipe.
    File::options().append(true).create_new(true).open(path)
}

/// Forces onto the disk that the file `path` has its name. The name is the folder's: without this a power cut may bring the file before it
/// back, or none.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(folder_of(path))?.sync_all() {
        // Some network file systems know no such thing.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        synced => synced,
    }
}

/// Takes drafts away from `folder` that a killed process left behind. Nobody else may be writing there.
pub fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(DRAFT) {
            let path = entry.path();
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            if let Err(error) = removed {
                log::warn!("the leftover {} cannot be removed: {error}", path.display());
            }
        }
    }
}

/// Takes away drafts of the file `path` that killed processes left behind, in a folder that others may write too: of regular files of this
/// user alone, with a name as a draft of that file has, and none that a process holds, on whichever machine.
pub(crate) fn sweep_of(path: &Path) {
    let prefix = prefix(path);
    for entry in std::fs::read_dir(folder_of(path)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let drawn = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        let is_draft =
            drawn.is_some_and(|drawn| drawn.len() == DRAWN && drawn.bytes().all(|c| c.is_ascii_alphanumeric()));
        if is_draft && let Err(error) = remove_left(&entry.path()) {
            log::warn!("the leftover {} cannot be removed: {error}", entry.path().display());
        }
    }
}

/// Removes a draft that is this user's and that nobody holds. One that is held from now on, by who made it a moment ago, cannot take its
/// file's place, of which that process tells.
fn remove_left(draft: &Path) -> io::Result<()> {
    let Some(file) = regular::open_own(File::options().write(true), draft)? else { return Ok(()) };
    // SAFETY: no preconditions.
    let is_own = file.metadata()?.uid() == unsafe { libc::geteuid() };
    if is_own && file.try_lock().is_ok() { std::fs::remove_file(draft) } else { Ok(()) }
}

/// The folder in which a file lies, or will.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether both are names of one file, which need not be there yet: `a`, `./a`, and one behind a link.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    real(one) == real(other)
}

fn real(path: &Path) -> PathBuf {
    let in_folder = || Ok(folder_of(path).canonicalize()?.join(path.file_name().unwrap_or_default()));
    let real = path.canonicalize().or_else(|_: io::Error| in_folder());
    real.or_else(|_: io::Error| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_for_all_to_read_and_leftovers_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::write(at(".hgad-draft-1"), "half").unwrap();
        std::fs::create_dir(at(".hgad-draft-2")).unwrap();
        for bytes in [b"one", b"two"] {
            replace(&at("file"), bytes).unwrap();
            assert_eq!(std::fs::read(at("file")).unwrap(), bytes);
            assert_eq!(at("file").metadata().unwrap().permissions().mode() & 0o777, 0o644);
        }
        sweep(root.path());
        let names = std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["file"]);
        assert!(replace(&at("none/file"), b"three").is_err());
    }

    #[test]
    fn what_is_swept_of_a_file_are_its_own_drafts_that_nobody_writes() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let open_to_read = || Permissions::from_mode(0o644);
        let leave = |name: &str| {
            let (file, path) = draft_of(&at(name), open_to_read()).unwrap().keep().unwrap();
            drop(file);
            path
        };
        let like = |path: &Path, ending: &str| PathBuf::from(format!("{}{ending}", path.display()));
        let lefts = [leave("copy"), leave("copy")];
        let held = draft_of(&at("copy"), open_to_read()).unwrap();
        let (longer, link, folder, pipe) = (like(&lefts[0], "x"), leave("copy"), leave("copy"), leave("copy"));
        let others = [leave("copy-2"), at(".hgad-draft-AbCd12"), longer, at("victim")];
        others[1..].iter().for_each(|path| std::fs::write(path, "a stranger's").unwrap());
        [&link, &folder, &pipe].into_iter().for_each(|path| std::fs::remove_file(path).unwrap());
        std::os::unix::fs::symlink("victim", &link).unwrap();
        std::fs::create_dir(&folder).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let foreign = leave("copy");
        let is_foreign = std::os::unix::fs::chown(&foreign, Some(54321), None).is_ok();
        sweep_of(&at("copy"));
        assert!(lefts.iter().all(|left| !left.exists()));
        for path in others.iter().chain([&link, &folder, &pipe]).map(PathBuf::as_path).chain([held.path()]) {
            assert!(path.symlink_metadata().is_ok(), "{}", path.display());
        }
        assert_eq!(foreign.exists(), is_foreign);
        held.persist(at("copy")).unwrap();
        // Who was killed holds nothing.
        let long = "n".repeat(255);
        let left = leave(&long);
        replace(&at(&long), b"new").unwrap();
        assert!(left.exists());
        sweep_of(&at(&long));
        assert!(!left.exists() && at(&long).exists() && at("copy").exists());
    }

    #[test]
    fn one_file_is_known_by_all_its_names_also_before_it_is_there() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir(at("b")).unwrap();
        std::os::unix::fs::symlink("b", at("c")).unwrap();
        for is_there in [false, true] {
            assert!(is_same(&at("b/a"), &at("./c/../b/a")) && is_same(&at("c/a"), &at("b/a")), "{is_there}");
            assert!(!is_same(&at("b/a"), &at("a")) && !is_same(&at("b/a"), &at("b")), "{is_there}");
            std::fs::write(at("b/a"), "").unwrap();
        }
        assert!(is_same(Path::new("a.jsonl"), Path::new("./a.jsonl")));
        assert!(is_same(Path::new("no/such/folder/a"), Path::new("./no/such/folder/a")));
    }

    #[test]
    fn nothing_is_written_through_a_link_and_no_pipe_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let put = |kind: &str| match kind {
            "link" => std::os::unix::fs::symlink("victim", at("file")).unwrap(),
            "dangling" => std::os::unix::fs::symlink("none", at("file")).unwrap(),
            "pipe" => assert!(std::process::Command::new("mkfifo").arg(at("file")).status().unwrap().success()),
            _ => std::fs::write(at("file"), "old").unwrap(),
        };
        std::fs::write(at("victim"), "precious").unwrap();
        for kind in ["link", "dangling", "pipe", "file"] {
            for is_anew in [true, false] {
                put(kind);
                match is_anew {
                    true => anew(&at("file")).unwrap().write_all(b"new").unwrap(),
                    false => replace(&at("file"), b"new").unwrap(),
                }
                assert!(at("file").symlink_metadata().unwrap().is_file(), "{kind}");
                assert_eq!(std::fs::read(at("file")).unwrap(), b"new", "{kind}");
                assert!(std::fs::read(at("victim")).unwrap() == b"precious" && !at("none").exists(), "{kind}");
                std::fs::remove_file(at("file")).unwrap();
            }
        }
        std::fs::create_dir(at("file")).unwrap();
        assert!(anew(&at("file")).is_err());
    }
}
