//! To which log a pictures' folder belongs: two logs in one would remove each other's pictures, and each be accused of it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::audit::chain::Link;
use crate::digest::Digest;
use crate::{Error, Result, regular};

/// The file that names the log, in the pictures' folder.
const NAME: &str = "owner.txt";
/// What follows the log in it, for people.
const WORDS: &str = "The pictures in this folder are kept and removed for the log above, and for no other one.\n";
/// Two machines, or containers, may each have a log of the same name: what follows this is the hash of the first line.
const FIRST: &str = "first line ";
/// So much is read of it: a log's name, and a line for each log of that name that the folder was held for.
const LONGEST: u64 = 1 << 20;

/// What is known of the first line of the log that a run continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit) enum First {
    /// The log begins, and no picture that is there already is its own.
    New,
    /// Its hash.
    Is(Digest),
    /// An older program did not write it down, or the log is no file.
    Unknown,
}

impl First {
    /// Of the log that `link` continues, in a regular file or not: of what is no file nothing is there to continue.
    pub(in crate::audit) fn of(link: &Link, is_regular: bool) -> Self {
        match (link.seq(), link.log()) {
            (0, _) if is_regular => First::New,
            (_, Some(hash)) if is_regular => First::Is(hash),
            _ => First::Unknown,
        }
    }

    /// Whether the pictures of a folder are another log's, which is named there as `named`.
    fn is_other(self, named: Option<Digest>) -> bool {
        match self {
            First::New => true,
            First::Is(own) => named.is_some_and(|named| named != own),
            First::Unknown => false,
        }
    }
}

/// A folder that is held for a log: nobody else has it while this lives.
#[derive(Debug)]
pub(super) struct Hold {
    file: File,
    folder: PathBuf,
    /// The first line of the log that the folder was held for before.
    named: Option<Digest>,
}

impl Hold {
    /// Takes the folder for `log`, which is there already.
    ///
    /// # Errors
    ///
    /// It belongs to another log, another run holds it, or it cannot be written.
    pub(super) fn take(folder: &Path, log: &Path) -> Result<Self> {
        let failed = |error| unusable(folder, error);
        let own = named(folder, log).map_err(failed)?;
        let mut options = OpenOptions::new();
        let file =
            regular::open_own(options.read(true).append(true).create(true), &folder.join(NAME)).map_err(failed)?;
        let mut file = file.ok_or_else(|| no_file(folder))?;
        lock(&file, folder)?;
        let text = told_by(&file).map_err(failed)?;
        match owner(&text) {
            Some(other) => is_own(folder, &own, other)?,
            None => {
                let written = file.set_len(0).and_then(|()| file.write_all(format!("{own}\n{WORDS}").as_bytes()));
                written.and_then(|()| file.sync_all()).map_err(failed)?;
            }
        }
        Ok(Hold { file, folder: folder.to_owned(), named: first(&text) })
    }

    /// Whether the pictures that are there, if any, may be a log's of this first line.
    ///
    /// # Errors
    ///
    /// They are another log's.
    pub(super) fn suits(&self, log: First, holds_pictures: bool) -> Result<()> {
        suits(&self.folder, log, self.named, holds_pictures)
    }

    /// Writes down which the log's first line is, now that it is on disk.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn name(&mut self, log: Digest) -> Result<()> {
        if self.named == Some(log) {
            return Ok(());
        }
        let written = self.file.write_all(format!("{FIRST}{log}\n").as_bytes()).and_then(|()| self.file.sync_all());
        self.named = Some(log);
        written.map_err(|error| unusable(&self.folder, error))
    }
}

/// Whether `log`, which need not be there yet, could have the folder, in which pictures are or not.
///
/// # Errors
///
/// It, or what is in it, belongs to another log, or another run holds it.
pub(super) fn check(folder: &Path, log: &Path, begins: First, holds_pictures: bool) -> Result<()> {
    let failed = |error| unusable(folder, error);
    let mut text = String::new();
    match regular::open_own(File::options().read(true), &folder.join(NAME)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        file => {
            let file = file.map_err(failed)?.ok_or_else(|| no_file(folder))?;
            lock(&file, folder)?;
            text = told_by(&file).map_err(failed)?;
            let own = named(folder, log).map_err(failed)?;
            owner(&text).map_or(Ok(()), |other| is_own(folder, &own, other))?;
        }
    }
    suits(folder, begins, first(&text), holds_pictures)
}

/// Whether the folder says that it was kept for the log `log`, whose first line has this hash. A copy of the log or of the folder that is
/// somewhere else, and a folder that nobody named, are not.
pub(super) fn is_of(folder: &Path, log: &Path, hash: Digest) -> bool {
    let text = told(folder).unwrap_or_default();
    first(&text) == Some(hash) && named(folder, log).is_ok_and(|own| owner(&text) == Some(&own))
}

/// What the folder says of its owner; `None` where there is no such file. What somebody put in its place may be a pipe, or have no end.
fn told(folder: &Path) -> Option<String> {
    match regular::open_own(File::options().read(true), &folder.join(NAME)) {
        Ok(file) => Some(file.and_then(|file| told_by(&file).ok()).unwrap_or_default()),
        Err(_) => None,
    }
}

fn told_by(file: &File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whose pictures a folder says that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) enum Owner {
    /// It does not say so: it may be a copy of the pictures alone.
    Nobody,
    /// This log's, wherever both may be now.
    This,
    /// Another log's, which it names so.
    Other(String),
}

/// Whose pictures the folder says that it holds, for the log `log`, whose first line has this hash.
pub(in crate::audit) fn owner_of(folder: &Path, log: &Path, hash: Option<Digest>) -> Owner {
    let Some(text) = told(folder) else { return Owner::Nobody };
    let Some(other) = owner(&text) else { return Owner::Other("nobody, since it was cut off or edited".into()) };
    let is_this = match first(&text).zip(hash) {
        Some((named, hash)) => named == hash,
        // An older program did not write it down, or a run was killed before it could.
        None => named(folder, log).is_ok_and(|own| own == other),
    };
    if is_this { Owner::This } else { Owner::Other(other.to_owned()) }
}

fn lock(file: &File, folder: &Path) -> Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::usage(format!("pictures cannot be kept in {}", folder.display()))
            .because("another run keeps its pictures there, perhaps of another machine or in another container")
            .advise("give each line a folder of its own ([audit] pictures)")),
        // A file system without locks has none to give.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

fn suits(folder: &Path, log: First, named: Option<Digest>, holds_pictures: bool) -> Result<()> {
    if !(holds_pictures && log.is_other(named)) {
        return Ok(());
    }
    let why = match log {
        First::New => "pictures of an older log are there, and this one begins",
        _ => "pictures of another log are there, which had the same name and another first line",
    };
    Err(Error::usage(format!("pictures cannot be kept in {}", folder.display()))
        .because(format!("{why}: to remove them for this one would leave that one without its evidence"))
        .advise(format!(
            "move them to where that log is, with {NAME}, or give this line a folder of its own ([audit] pictures)"
        )))
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

fn no_file(folder: &Path) -> Error {
    Error::device(format!("pictures cannot be kept in {}", folder.display()))
        .because(format!("{NAME} in it is no file: a folder, a pipe, a device or a link is in its place"))
        .advise("find out who put it there, and move it away; hgad writes the file anew")
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

/// The newest first line that was written down to its end.
fn first(text: &str) -> Option<Digest> {
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole.filter_map(|line| line.strip_prefix(FIRST)?.parse().ok()).next_back()
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
