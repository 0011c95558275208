//! Files that take another's place in one step: a reader, and a power cut, find the old one or the new one, never a part.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How the names of drafts begin that [`replace`] writes. A kill leaves one behind: [`sweep`] takes it away.
pub const DRAFT: &str = ".hgad-draft-";

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
    let folder = folder_of(path);
    let mut file = tempfile::Builder::new().prefix(DRAFT).permissions(permissions).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The name is the folder's: without this a power cut may bring the file before it back, or none.
    File::open(folder)?.sync_all()
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
}
