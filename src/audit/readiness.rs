//! Whether an audit could be written: looked at without writing a record.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::interruption::Interruption;
use super::open::FIND_PICTURES;
use super::past::{self, Past, Signing};
use super::pictures::First;
use super::{pictures, read, retention, rotation, runs};
use crate::config::AuditConfig;
use crate::{Error, Result};

/// What was found where the audit is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Lines of the log that a run would continue; 0 where it would begin one.
    pub lines: u64,
    /// So many of them are in older files, which were not read: a run reads the newest alone.
    pub unread: u64,
    /// What is to be said of older files that are not here, though others before them are.
    pub missing: Option<String>,
    /// What is to be said where closed files are to be removed, and one of them holds that up.
    pub stopped: Option<String>,
    /// What a run would mend in it first.
    pub unfinished: Option<String>,
    /// What a run would say of the one before, if that ended without a word.
    pub interrupted: Option<String>,
    /// What is to be said of a checkpoint's copy that could not be made, and what to do.
    pub homeless: Option<(String, String)>,
    /// How long it takes until a few bytes are on the disk for certain.
    pub sync: Duration,
    /// Bytes that are free there; `None` where nobody knows.
    pub free: Option<u64>,
    /// Bytes of the log's files.
    pub log: u64,
    /// Bytes of the pictures that are kept.
    pub pictures: u64,
    /// What is to be said of files that bear names of the log and are no part of it.
    pub strangers: Option<String>,
    /// What is to be said of pictures that are gone, and what to do.
    pub gone: Option<(String, &'static str)>,
    /// What is to be said of pictures of runs that the log has no start of, and what to do.
    pub startless: Option<(String, &'static str)>,
    /// What is to be said of a log whose first checkpoint was never copied, and what to do.
    pub uncopied: Option<(String, &'static str)>,
    /// Whether they are on the log's disk.
    pub shares_disk: bool,
}

/// Looks whether a run could write the audit that `config` names.
///
/// # Errors
///
/// Its folder cannot be written, another run writes it, it is not what was written, its pictures' folder is another log's, or a key or a
/// copy of the newest checkpoint is missing.
pub fn readiness(config: &AuditConfig) -> Result<Readiness> {
    let path = &read::real(&config.file);
    let signing = config.signing.as_ref().map(Signing::open).transpose()?;
    let mut past = continued(path, signing.as_ref())?;
    let uncopied = past.uncopied.take().map(|told| (told, past::FIRST_COPY));
    let link = &past.link;
    let gone = config.pictures.as_ref().and_then(|settings| past.gone(&settings.folder));
    let gone = gone.map(|told| (told, FIND_PICTURES));
    let strangers = read::told_of(&read::strangers(path)?);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let sync = try_out(folder)?;
    let (pictures, runs) = match &config.pictures {
        None => Default::default(),
        Some(settings) => {
            std::fs::create_dir_all(&settings.folder).map_err(|error| cannot_be_written(&settings.folder, error))?;
            let first = First::of(link, path.is_file() || !path.exists());
            let (kept, runs) = pictures::kept(settings).map_err(|error| cannot_be_written(&settings.folder, error))?;
            pictures::check_owner(&settings.folder, path, first, kept > 0)?;
            try_out(&settings.folder)?;
            (kept, runs)
        }
    };
    let startless = startless(path, past.last_run.as_deref(), &runs);
    let (lines, unread, missing) = (link.seq(), past.unread, read::missing_told(path)?);
    let removes = config.retention.is_on();
    let stopped = removes.then(|| retention::stopped_by(path, link.log())).transpose()?.flatten();
    let free = File::open(folder).ok().and_then(|folder| free(&folder));
    let log = read::files(path)?.iter().filter_map(|file| file.path.metadata().ok()).map(|found| found.len()).sum();
    let disk = |folder: &Path| folder.metadata().ok().map(|found| found.dev());
    let shares_disk = config.pictures.as_ref().is_some_and(|settings| disk(&settings.folder) == disk(folder));
    let interrupted = past.interrupted.as_ref().map(Interruption::told);
    let (unfinished, homeless) = (past.unfinished(), signing.as_ref().and_then(Signing::homeless));
    Ok(Readiness {
        lines,
        unread,
        missing,
        stopped,
        unfinished,
        interrupted,
        homeless,
        sync,
        free,
        log,
        pictures,
        strangers,
        gone,
        startless,
        uncopied,
        shares_disk,
    })
}

/// What a run would say of pictures of these runs that the log has no start of. It begins where that is not known either, and says so.
fn startless(path: &Path, last: Option<&str>, runs: &BTreeSet<String>) -> Option<(String, &'static str)> {
    if !path.is_file() {
        return None;
    }
    runs::told_of_startless(path, last, &runs.iter().map(String::as_str).collect()).unwrap_or_else(|error| {
        let told = "whether pictures are there of runs that the log does not know is not known";
        Some((format!("{told}: {}", error.line()), "hgad audit verify says what is wrong with the log's older files"))
    })
}

fn cannot_be_written(folder: &Path, error: std::io::Error) -> Error {
    Error::device(format!("folder {} cannot be written", folder.display()))
        .because(error)
        .advise("make it, let this user write there, and see that the disk has room")
}

/// What a run would continue, as it would.
fn continued(path: &Path, signing: Option<&Signing>) -> Result<Past> {
    rotation::check(path, &read::files(path)?)?;
    if !path.exists() {
        return past::past(path, signing);
    }
    if !path.is_file() {
        return Ok(Past::NONE);
    }
    let file = OpenOptions::new().append(true).open(path).map_err(|error| {
        Error::device(format!("audit file {} cannot be written", path.display()))
            .because(error)
            .advise("let this user write it")
    })?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(Error::device(format!("audit file {} is being written", path.display()))
            .because("another run holds its lock")
            .advise("a line that runs holds its devices too: stop it, then check"));
    }
    past::past(path, signing)
}

/// Writes a few bytes onto the disk, and removes them.
fn try_out(folder: &Path) -> Result<Duration> {
    let path = folder.join(format!(".hgad-check-{}", std::process::id()));
    let begun = Instant::now();
    let written = File::create_new(&path).and_then(|mut file| {
        file.write_all(b"whether this folder can be written\n")?;
        file.sync_data()
    });
    let took = begun.elapsed();
    // What was never made cannot be removed.
    let _ = std::fs::remove_file(&path);
    written.map(|()| took).map_err(|error| cannot_be_written(folder, error))
}

/// Bytes that are free on the disk where `file` is; `None` where nobody knows.
#[allow(clippy::unnecessary_cast, reason = "on 32-bit machines these have 32 bits")]
pub(super) fn free(file: &File) -> Option<u64> {
    file_system(file).map(|found| (found.f_bavail as u64).saturating_mul(found.f_frsize as u64))
}

/// Whether the disk where `file` is is known to have become read-only.
pub(super) fn is_read_only(file: &File) -> bool {
    file_system(file).is_some_and(|found| found.f_flag & libc::ST_RDONLY != 0)
}

fn file_system(file: &File) -> Option<libc::statvfs> {
    // SAFETY: all zeros are a valid `statvfs`, which the call fills; the descriptor is open as long as `file` is.
    let (code, found) = unsafe {
        let mut found = std::mem::zeroed::<libc::statvfs>();
        (libc::fstatvfs(file.as_raw_fd(), &mut found), found)
    };
    (code == 0).then_some(found)
}
