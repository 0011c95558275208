//! Files of a log that are closed when they are long enough or a day is over, and compressed then.

use std::ffi::CString;
use std::fs::File;
use std::io::{BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flate2::bufread::MultiGzDecoder;

use super::astray::is_at;
use super::background;
use super::read::{self, LogFile};
use super::record::{Setting, wall_time};
use super::retention::Retention;
use super::tail::End;
use super::verify;
use crate::config::RotationConfig;
use crate::digest::Digest;
use crate::draft::{self, sync_folder};
use crate::time::Monotonic;
use crate::{Error, Result, print, regular};

/// So long after the first failure a file that cannot be closed is tried again; after each further one twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// It is tried again at least so often.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// When the file that is written is closed.
pub(super) struct Rotation {
    path: PathBuf,
    config: RotationConfig,
    /// The number of the file that is closed next.
    next: u64,
    /// The day on which the file that is written began.
    day: String,
    pub(super) setting: Setting,
    tender: Arc<Tender>,
    failing: Option<Failing>,
}

/// A file that cannot be closed.
struct Failing {
    why: String,
    pause: Duration,
    next: Instant,
}

impl Rotation {
    /// For the log in `path`, whose files are `files`; those that are not compressed yet are from now on, and those that need not be kept are
    /// removed.
    pub(super) fn new(
        path: &Path,
        config: RotationConfig,
        files: &[LogFile],
        setting: Setting,
        retention: Option<Arc<Retention>>,
    ) -> Self {
        let next = next_number(files);
        let first = files.iter().find(|file| file.number.is_none()).and_then(|file| file.first_time().ok().flatten());
        let day = first.map_or_else(today, |time| time[..10].to_owned());
        let (asked, compressed, looked) = Default::default();
        let tender = Arc::new(Tender { path: path.to_owned(), retention, asked, compressed, looked });
        tend(&tender, next);
        Rotation { path: path.to_owned(), config, next, day, setting, tender, failing: None }
    }

    /// Whether the file that ends with `end` is to be closed now, on the day `today`. One that could not be closed and need not be any
    /// more, since the clock was set back to its day, fails no longer.
    pub(super) fn is_due(&mut self, end: &End, today: &str) -> bool {
        let is_over =
            self.config.bytes.is_some_and(|bytes| end.length >= bytes) || self.config.daily && self.day != today;
        if !is_over {
            self.failing = None;
        }
        is_over && self.again().is_none_or(|next| next <= Instant::now())
    }

    /// When one that could not be closed is tried again.
    pub(super) fn again(&self) -> Option<Instant> {
        self.failing.as_ref().map(|failing| failing.next)
    }

    /// Why the file could not be closed, until it was.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failing.as_ref().map(|failing| failing.why.as_str())
    }

    /// The file could not be closed: it grows on, and is tried again, less and less often.
    pub(super) fn failed(&mut self, error: &std::io::Error) {
        let pause = self.failing.take().map_or(FIRST_PAUSE, |failing| (2 * failing.pause).min(LONGEST_PAUSE));
        self.failing = Some(Failing { why: error.to_string(), pause, next: Instant::now() + pause });
    }

    /// Whether the name is free under which the file is closed; to be asked before anything else is done for it.
    ///
    /// # Errors
    ///
    /// It is another file's, compressed or not; or it would be no name of the log's.
    pub(super) fn is_free(&mut self) -> std::io::Result<()> {
        if self.next > read::LAST_NUMBER {
            // Whoever gave a file that number may have taken it back since.
            let files = read::files(&self.path).map_err(|error| std::io::Error::other(error.line()))?;
            self.next = next_number(&files);
            if self.next > read::LAST_NUMBER {
                return Err(no_next(&self.path, &files));
            }
        }
        // Without the newest file it is that which bears the name: an earlier attempt came to half its end.
        if !self.path.try_exists()? {
            return Ok(());
        }
        let closed = self.closed();
        for name in [closed.with_added_extension("gz"), closed] {
            if name.try_exists()? {
                return Err(taken(&name));
            }
        }
        Ok(())
    }

    /// Where the file goes that is closed next.
    pub(super) fn closed(&self) -> PathBuf {
        read::closed_name(&self.path, self.next)
    }

    /// The file was closed, and another one begun.
    pub(super) fn done(&mut self) {
        self.failing = None;
        self.next += 1;
        self.day = today();
        tend(&self.tender, self.next);
    }
}

/// The number of the file that is closed behind these: more than any that is here, or that the newest says was closed before it.
fn next_number(files: &[LogFile]) -> u64 {
    let told = files.iter().filter(|file| file.number.is_none()).filter_map(LogFile::continued);
    files.iter().filter_map(|file| file.number).chain(told).max().unwrap_or(0).saturating_add(1)
}

/// What is to be said where a file has the last number, so that no file can be closed behind it.
fn no_next(path: &Path, files: &[LogFile]) -> std::io::Error {
    let name = |path: &Path| print::name(path.file_name().unwrap_or_default().to_string_lossy());
    let last = files.iter().rfind(|file| file.number.is_some());
    let last = last.map_or_else(|| name(&read::closed_name(path, read::LAST_NUMBER)), |file| name(&file.path));
    let told = files.iter().find(|file| file.number.is_none()).and_then(LogFile::continued);
    let was = told.map_or_else(String::new, |told| format!(" ({})", name(&read::closed_name(path, told))));
    std::io::Error::other(format!(
        "{last} has the last number that there is, and no file can be closed behind it: give it back the name under which it was closed{was}"
    ))
}

/// The day of now (UTC), as records write it.
pub(super) fn today() -> String {
    wall_time(Monotonic::now())[..10].to_owned()
}

/// Where the next file lies until the one before it is closed.
fn upcoming(path: &Path) -> PathBuf {
    path.with_added_extension("next")
}

/// Closes the file `own`, whose name is `path`, as `closed`, and puts another one in its place that begins with `header` and is locked. When this
/// fails the old one goes on, whatever its name is by then, and it may be tried again. That the new one bears its name is on
/// disk once the folder was forced there, which is left to the caller: after a power cut at any moment before that [`recover`]
/// finds the one or the other.
///
/// # Errors
///
/// The new file cannot be written, or a file cannot be given its name: one that has it already is never replaced. Or another file has the
/// name `path`, which is left alone: it is somebody's, and no part of the log.
pub(super) fn rotate(own: &File, path: &Path, closed: &Path, header: &[u8]) -> std::io::Result<File> {
    let upcoming = upcoming(path);
    if !is_at(own, path)? {
        // Unless an earlier attempt came to half its end, and could not go back then.
        if !is_at(own, closed)? {
            return Err(exchanged(path));
        }
        rename(closed, path)?;
    }
    tidy(path)?;
    let mut file = draft::anew(&upcoming)?;
    file.write_all(header)?;
    file.sync_all()?;
    // Its name must be there before the other file gives up its own.
    sync_folder(path)?;
    // A file system without locks has none to give.
    let _ = file.try_lock();
    rename(path, closed)?;
    // Somebody may have put another one there at this very moment.
    if !is_at(own, closed)? {
        rename(closed, path)?;
        return Err(exchanged(path));
    }
    let renamed = rename(&upcoming, path);
    // Over a network what was done may be told as a failure; and who starts at this moment may do it for this run.
    if is_at(&file, path)? {
        return Ok(file);
    }
    if renamed.is_ok() {
        let _ = rename(path, &upcoming);
    }
    let _ = rename(closed, path);
    Err(renamed.err().unwrap_or_else(|| exchanged(&upcoming)))
}

fn exchanged(path: &Path) -> std::io::Error {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    std::io::Error::other(format!("another file than the run's own has the name {name}, or none: it is left alone"))
}

/// Gives a file another name, which no other file has.
fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    let [old, new] = [from, to].map(|path| CString::new(path.as_os_str().as_bytes()));
    let (old, new) = (old?, new?);
    // SAFETY: both are texts that end with a zero, and are only read.
    let result =
        unsafe { libc::renameat2(libc::AT_FDCWD, old.as_ptr(), libc::AT_FDCWD, new.as_ptr(), libc::RENAME_NOREPLACE) };
    let error = match result {
        0 => return Ok(()),
        _ => std::io::Error::last_os_error(),
    };
    match error.raw_os_error() {
        // Some file systems, those of networks above all, do not know how to do that in one step.
        Some(libc::EINVAL | libc::ENOSYS) if !to.try_exists()? => std::fs::rename(from, to),
        Some(libc::EEXIST | libc::EINVAL | libc::ENOSYS) => Err(taken(to)),
        _ => Err(error),
    }
}

fn taken(path: &Path) -> std::io::Error {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    std::io::Error::new(
        std::io::ErrorKind::AlreadyExists,
        format!("there is a file {name} that this run did not close, and it is not replaced: move it away"),
    )
}

/// Ends what a power cut interrupted: the file before was closed, and the next one does not bear the log's name yet. Where the
/// next one does not continue it, since the file was written on, that goes on under its own name.
///
/// # Errors
///
/// A file cannot be read or moved; or the newest file of the log is gone.
pub(super) fn recover(path: &Path, files: &[LogFile]) -> Result<()> {
    let Some(next) = continuation(path, files)? else { return Ok(()) };
    rename(&next, path).and_then(|()| sync_folder(path)).map_err(|error| {
        Error::device(format!("audit file {} cannot be put in its place", path.display()))
            .because(error)
            .advise("check that this user may write its folder")
    })
}

/// Whether a log can be continued, or what a power cut interrupted be ended.
///
/// # Errors
///
/// A file cannot be read; or the newest file of the log is gone.
pub(super) fn check(path: &Path, files: &[LogFile]) -> Result<()> {
    continuation(path, files).map(drop)
}

/// The file that is to be continued and does not bear the log's name since a power cut; `None` where one does, or none was begun.
fn continuation(path: &Path, files: &[LogFile]) -> Result<Option<PathBuf>> {
    let Some(newest) = files.iter().rfind(|file| file.number.is_some()).filter(|_| !path.exists()) else {
        return Ok(None);
    };
    let upcoming = upcoming(path);
    // What is no file there no run began.
    match upcoming.symlink_metadata().is_ok_and(|found| found.is_file()) {
        true if verify::follows(&upcoming, &newest.path)? => Ok(Some(upcoming)),
        true if !newest.is_compressed() => Ok(Some(newest.path.clone())),
        _ => Err(Error::device(format!("audit file {} is gone", path.display()))
            .because("older files of the same log are there, and nothing can continue them")
            .advise("put it back; if it is lost, keep the others as evidence: move them away")),
    }
}

/// Removes what a power cut or a failed attempt left of a file that was to be the next: the one before was not closed. For who holds its lock.
///
/// That one may have given up its name for a while, and it must be on disk first that it has it again: after a power cut there would else be
/// a closed file, and none that continues it.
pub(super) fn tidy(path: &Path) -> std::io::Result<()> {
    let upcoming = upcoming(path);
    match upcoming.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(_) => sync_folder(path)?,
    }
    std::fs::remove_file(upcoming)
}

/// Looks after the closed files of a log.
struct Tender {
    path: PathBuf,
    /// What removes them, where any are.
    retention: Option<Arc<Retention>>,
    /// How often it was asked to.
    asked: AtomicU64,
    /// How often by when it compressed them last. Held while they are compressed, and while it is listed what is there: the one would take for
    /// missing what the other gives another name.
    compressed: Mutex<u64>,
    /// How often by when it looked last for what need not be kept. Held meanwhile: that may wait for the disk, and nothing that is to be
    /// compressed waits for it.
    looked: Mutex<u64>,
}

impl Tender {
    /// Compresses what was closed before the file of the number `next`, and removes what need not be kept. A thread that was asked later, and was
    /// sooner, did all that this one was asked for in its `turn`.
    fn tend(&self, turn: u64, next: u64) {
        let mut compressed = self.compressed();
        if turn > *compressed {
            *compressed = turn;
            self.compress(next);
        }
        drop(compressed);
        let Some(retention) = &self.retention else { return };
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if turn > *looked {
            *looked = *self.compressed();
            retention.look(&|| self.files());
        }
    }

    fn compressed(&self) -> MutexGuard<'_, u64> {
        self.compressed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log's files, while none of them is being compressed.
    fn files(&self) -> Result<Vec<LogFile>> {
        let _compressed = self.compressed();
        read::files(&self.path)
    }

    /// Compresses all whose number is less than `next` and that are not yet, the oldest first: one that could not be before may be now, and keeps
    /// those behind it from being removed until then. One that is just being closed may get its old name back, and is left alone.
    fn compress(&self, next: u64) {
        let files = match read::files(&self.path) {
            Ok(files) => files,
            Err(error) => return log::warn!("closed files of the audit are not compressed: {}", error.line()),
        };
        let is_closed = |file: &&LogFile| file.number.is_some_and(|number| number < next);
        for file in files.iter().filter(is_closed).filter(|file| !file.is_compressed()) {
            if let Err(error) = compress_one(&file.path) {
                self.stays(file, &error);
            }
        }
    }

    /// Tells once that the file cannot be compressed; also in the log, where nothing is removed for that reason.
    fn stays(&self, file: &LogFile, error: &std::io::Error) {
        let told = format!("{} stays as it is: it cannot be compressed: {error}", print::name(file.path.display()));
        match &self.retention {
            Some(retention) => retention.note(&format!("{told}; from it on no closed file of the log is removed")),
            None if read::is_news(&told) => log::warn!("{told}"),
            None => {}
        }
    }
}

/// Compresses the files that were closed before the one of the number `next`, on a thread of its own, and removes those then that need not
/// be kept.
fn tend(tender: &Arc<Tender>, next: u64) {
    let tender = tender.clone();
    let turn = tender.asked.fetch_add(1, Ordering::Relaxed) + 1;
    if let Err(error) = background::spawn("compress", move || tender.tend(turn, next)) {
        log::warn!("closed files of the audit are neither compressed nor removed: {}", error.line());
    }
}

/// The file is removed once another was read back that holds the same. Of an attempt that fails nothing is left.
pub(super) fn compress_one(path: &Path) -> std::io::Result<()> {
    let (whole, partial) = (path.with_added_extension("gz"), path.with_added_extension("gz.partial"));
    match whole.try_exists()? {
        // The end came before the file was removed.
        true if holds(&whole, path)? => {}
        true => {
            let name = whole.file_name().unwrap_or_default().to_string_lossy();
            return Err(std::io::Error::other(format!("there is a file {name}, which holds something else")));
        }
        false => {
            let packed = pack(path, &partial).and_then(|()| rename(&partial, &whole));
            packed.inspect_err(|_| drop(std::fs::remove_file(&partial)))?;
        }
    }
    sync_folder(path)?;
    std::fs::remove_file(path)
}

fn pack(path: &Path, packed: &Path) -> std::io::Result<()> {
    let mut out = draft::anew(packed)?;
    read::pack(BufReader::new(plain(path)?), &mut out)?;
    out.sync_all()?;
    match holds(packed, path)? {
        true => Ok(()),
        false => Err(std::io::Error::other("what was written is not what was read")),
    }
}

/// Whether the compressed file `packed` holds what `path` does.
pub(super) fn holds(packed: &Path, path: &Path) -> std::io::Result<bool> {
    let packed = MultiGzDecoder::new(BufReader::new(plain(packed)?));
    Ok(Digest::of_all(packed)? == Digest::of_all(plain(path)?)?)
}

/// A file that somebody may have put something else in the place of, as a pipe, for which no thread is to wait.
fn plain(path: &Path) -> std::io::Result<File> {
    regular::open(path)?.ok_or_else(|| std::io::Error::other(format!("{} is no file", path.display())))
}
