//! Files of a log that are closed when they are long enough or a day is over, and compressed then.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::open::sync_folder;
use super::read::{self, LogFile};
use super::record::{Setting, wall_time};
use super::tail::End;
use crate::config::RotationConfig;
use crate::digest::Digest;
use crate::time::Monotonic;
use crate::{Error, Result};

/// How nice the thread is that compresses: whoever decides about parts comes first.
const NICE: libc::c_int = 10;

/// When the file that is written is closed.
pub(super) struct Rotation {
    path: PathBuf,
    config: RotationConfig,
    /// The number of the file that is closed next.
    next: u64,
    /// The day on which the file that is written began.
    day: String,
    pub(super) setting: Setting,
}

impl Rotation {
    /// For the log in `path`, whose files are `files`; those that are not compressed yet are from now on.
    pub(super) fn new(path: &Path, config: RotationConfig, files: &[LogFile], setting: Setting) -> Self {
        let next = files.iter().filter_map(|file| file.number).max().unwrap_or(0) + 1;
        let first = files.iter().find(|file| file.number.is_none()).and_then(|file| file.first_time().ok().flatten());
        let day = first.map_or_else(today, |time| time[..10].to_owned());
        let closed = files.iter().filter(|file| file.number.is_some()).map(|file| file.path.clone());
        compress(closed.filter(|path| path.extension().is_none_or(|ending| ending != "gz")).collect());
        Rotation { path: path.to_owned(), config, next, day, setting }
    }

    /// Whether the file that ends with `end` is to be closed.
    pub(super) fn is_due(&self, end: &End) -> bool {
        self.config.bytes.is_some_and(|bytes| end.length >= bytes) || self.config.daily && self.day != today()
    }

    /// Where the file goes that is closed next.
    pub(super) fn closed(&self) -> PathBuf {
        read::closed_name(&self.path, self.next)
    }

    /// The file was closed, and another one begun.
    pub(super) fn done(&mut self) {
        compress(vec![self.closed()]);
        self.next += 1;
        self.day = today();
    }
}

fn today() -> String {
    wall_time(Monotonic::now())[..10].to_owned()
}

/// Where the next file lies until the one before it is closed.
fn upcoming(path: &Path) -> PathBuf {
    path.with_added_extension("next")
}

/// Closes the file `path` as `closed`, and puts another one in its place that begins with `header` and is locked. After a power
/// cut at any moment [`recover`] finds the one or the other.
pub(super) fn rotate(path: &Path, closed: &Path, header: &[u8]) -> std::io::Result<File> {
    let upcoming = upcoming(path);
    let mut file = File::create(&upcoming)?;
    file.write_all(header)?;
    file.sync_all()?;
    drop(file);
    let file = File::options().append(true).open(&upcoming)?;
    // A file system without locks has none to give.
    let _ = file.try_lock();
    std::fs::rename(path, closed)?;
    std::fs::rename(&upcoming, path).inspect_err(|_| {
        if !path.exists() {
            let _ = std::fs::rename(closed, path);
        }
    })?;
    sync_folder(path)?;
    Ok(file)
}

/// Ends what a power cut interrupted: the file before was closed, and the next one does not bear the log's name yet.
///
/// # Errors
///
/// The file cannot be moved; or the newest file of the log is gone.
pub(super) fn recover(path: &Path, files: &[LogFile]) -> Result<()> {
    let was_closed = files.iter().any(|file| file.number.is_some());
    if path.exists() || !was_closed {
        return Ok(());
    }
    let upcoming = upcoming(path);
    if upcoming.exists() {
        return std::fs::rename(&upcoming, path).and_then(|()| sync_folder(path)).map_err(|error| {
            Error::device(format!("audit file {} cannot be put in its place", path.display()))
                .because(error)
                .advise("check that this user may write its folder")
        });
    }
    check(path, files)
}

/// Whether a log can be continued, or what a power cut interrupted be ended.
///
/// # Errors
///
/// The newest file of the log is gone.
pub(super) fn check(path: &Path, files: &[LogFile]) -> Result<()> {
    let was_closed = files.iter().any(|file| file.number.is_some());
    match path.exists() || !was_closed || upcoming(path).exists() {
        true => Ok(()),
        false => Err(Error::device(format!("audit file {} is gone", path.display()))
            .because("older files of the same log are there, and nothing can continue them")
            .advise("put it back; if it is lost, keep the others as evidence: move them away")),
    }
}

/// Removes what a power cut left of a file that was to be the next: the one before was not closed. For who holds its lock.
pub(super) fn tidy(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(upcoming(path)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Compresses closed files, one after the other, on a thread of its own.
fn compress(files: Vec<PathBuf>) {
    if files.is_empty() {
        return;
    }
    let work = move || {
        // SAFETY: no memory is involved. On Linux this is the calling thread alone; a refusal does no harm.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
        for file in &files {
            if let Err(error) = compress_one(file) {
                log::warn!("{} stays as it is: it cannot be compressed: {error}", file.display());
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("compress".into()).spawn(work) {
        log::warn!("the system gives no thread to compress closed files of the audit: {error}");
    }
}

/// The file is removed once another was read back that holds the same.
pub(super) fn compress_one(path: &Path) -> std::io::Result<()> {
    let (whole, partial) = (path.with_added_extension("gz"), path.with_added_extension("gz.partial"));
    let mut out = File::create(&partial)?;
    read::pack(BufReader::new(File::open(path)?), &mut out)?;
    out.sync_all()?;
    let packed = BufReader::new(File::open(&partial)?);
    if Digest::of_all(MultiGzDecoder::new(packed))? != Digest::of_all(File::open(path)?)? {
        return Err(std::io::Error::other("what was written is not what was read"));
    }
    std::fs::rename(&partial, &whole)?;
    sync_folder(path)?;
    std::fs::remove_file(path)
}
