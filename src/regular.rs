//! Files that are files: where others may write, a name may also be a pipe that nobody writes to, or a device without an end.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens what is at `path`; `None` where that is no regular file. A pipe is not waited for, and a device, which may have no end, is not
/// read.
pub(crate) fn open(path: &Path) -> Result<Option<File>> {
    open_by(File::options().read(true), 0, path)
}

/// The same of a file that is written too: where others may write its folder, a link there would lead to any file, and is none either.
pub(crate) fn open_own(options: &mut OpenOptions, path: &Path) -> Result<Option<File>> {
    open_by(options, libc::O_NOFOLLOW, path)
}

fn open_by(options: &mut OpenOptions, flags: i32, path: &Path) -> Result<Option<File>> {
    match options.custom_flags(flags | libc::O_NONBLOCK | libc::O_NOCTTY).open(path) {
        Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Ok(None),
        // A socket, or a device that this user may not open.
        Err(_) if path.metadata().is_ok_and(|found| !found.is_file()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is at `path` where [`open`] finds no regular file, for people.
pub(crate) fn what_is(path: &Path) -> &'static str {
    // A link to itself, or a name that is gone by now.
    let Ok(kind) = path.metadata().map(|found| found.file_type()) else { return "a link that leads nowhere" };
    match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_file() => "a file by now",
        () => "a device",
    }
}

/// What is in the file, of which there are `most` bytes at most.
///
/// # Errors
///
/// It cannot be read, is longer, or is no regular file.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let refused = |what: String| Error::new(ErrorKind::InvalidData, what);
    let file = match open(path)? {
        Some(file) => file,
        None if path.metadata()?.is_dir() => return Err(Error::from_raw_os_error(libc::EISDIR)),
        None => return Err(refused("it is a pipe or a device, and no file".to_owned())),
    };
    // As long as it says that it is: a vector that grows while it is read takes up to twice as much.
    let mut bytes = Vec::new();
    bytes.try_reserve_exact((file.metadata()?.len().min(most) as usize).saturating_add(1))?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(refused(format!("it has more than {most} bytes, as no such file has"))),
        false => Ok(bytes),
    }
}

/// The same for a text.
///
/// # Errors
///
/// As [`read`], or it is no text.
pub(crate) fn read_text(path: &Path, most: u64) -> Result<String> {
    String::from_utf8(read(path, most)?).map_err(|error| Error::new(ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        assert_eq!(read_text(&at("file"), 4).unwrap(), "text");
        assert!(read(&at("file"), 3).unwrap_err().to_string().contains("more than 3 bytes"));
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        for name in ["pipe", "endless"] {
            assert!(read(&at(name), 4).unwrap_err().to_string().contains("and no file"), "{name}");
        }
        assert_eq!(read(folder.path(), 4).unwrap_err().kind(), ErrorKind::IsADirectory);
        std::os::unix::fs::symlink("circle", at("circle")).unwrap();
        assert_eq!(read(&at("circle"), 4).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(read(&at("none"), 4).unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::write(at("bytes"), [0xff]).unwrap();
        assert_eq!(read_text(&at("bytes"), 4).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
