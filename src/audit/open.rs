//! Opening an audit file: continuing what stands there, or refusing it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chain::Link;
use super::copier::Copier;
use super::desk::Refused;
use super::key::{Signer, Verifier};
use super::record::{Body, RunStart};
use super::signatures::Trust;
use super::tail::{End, Notary, Tail};
use super::verify;
use super::writer::Writer;
use crate::config::{AuditConfig, SigningConfig};
use crate::time::Monotonic;
use crate::{Error, Result};

/// A record that is not on disk after so long is a fault: a disk may hang without ever failing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where lines end up: a file, or something that fails on demand.
pub trait Store: Send {
    /// Appends all of `bytes`, or an unknown part of them and an error.
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()>;

    /// Removes what follows the first `length` bytes.
    fn truncate(&mut self, length: u64) -> std::io::Result<()>;

    /// Forces what was appended onto the disk.
    fn sync(&mut self) -> std::io::Result<()>;
}

impl Store for File {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.write_all(bytes)
    }

    fn truncate(&mut self, length: u64) -> std::io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.sync_data()
    }
}

/// An audit that is being written, by a thread of its own.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    writer: Writer,
    copier: Option<Copier>,
}

impl AuditLog {
    /// Continues the file that `config` names, or begins it, and puts `run`'s start record on disk. Later failures are
    /// told by [`AuditLog::health`].
    ///
    /// # Errors
    ///
    /// The file cannot be read or written, is used by another run, or is not what was written: then it is refused, since
    /// whatever was appended could not be trusted either.
    pub fn open(config: &AuditConfig, run: &RunStart) -> Result<Self> {
        let path = &config.file;
        let signing = config.signing.as_ref().map(Signing::open).transpose()?;
        let failed = |error| {
            Error::device(format!("audit file {} cannot be written", path.display()))
                .because(error)
                .advise("check that its folder exists, that this user may write there, and that the disk has room")
        };
        log::info!("opening the audit {}", path.display());
        let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(failed)?;
        lock(&file, path)?;
        let is_regular = file.metadata().map_err(failed)?.is_file();
        // A device or a pipe has no past that could be continued.
        let (mut link, whole, tail) = match is_regular {
            true => past(path, signing.as_ref())?,
            false if signing.is_none() => (Link::START, 0, Vec::new()),
            false => {
                return Err(Error::usage(format!("{} is no file: what is signed must have a past", path.display()))
                    .advise("name a file, or leave [audit] key out"));
            }
        };
        let public = signing.as_ref().map(|signing| signing.signer.verifier().to_string());
        let copy = config.signing.as_ref().and_then(|signing| signing.checkpoint_copy.as_deref());
        let mut lines = String::new();
        if !tail.is_empty() {
            log::warn!(
                "audit file {}: the last line was unfinished (the machine lost power, or the program was killed); \
                 its {} bytes are cut off",
                path.display(),
                tail.len()
            );
            file.truncate(whole).map_err(failed)?;
            lines.push_str(&link.seal(&Body::repaired(Monotonic::now(), &tail).0));
        }
        lines.push_str(&link.seal(&Body::start(Monotonic::now(), run, public, copy.is_some()).0));
        file.append(lines.as_bytes()).map_err(failed)?;
        if is_regular {
            file.sync().map_err(failed)?;
            sync_folder(path).map_err(failed)?;
        }
        let copier = copy.map(Copier::start).transpose()?;
        let notary = signing.map(|Signing { signer, .. }| Notary { signer, copier: copier.clone() });
        let end = End { link, length: whole + lines.len() as u64, signed: 0, signed_at: None };
        let writer = Writer::start(Tail::new(Box::new(file), end, notary), config.sync, PATIENCE)?;
        Ok(AuditLog { path: path.clone(), writer, copier })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a record into the queue; never waits for the disk.
    ///
    /// # Errors
    ///
    /// The queue is full, since the disk takes nothing, or the writer died: this record is lost. When there is room again, a
    /// `lost` record says how many were.
    pub fn write(&self, body: Body) -> std::result::Result<(), Refused> {
        self.writer.write(body)
    }

    /// Whether the disk takes what is written; never waits for it.
    ///
    /// # Errors
    ///
    /// Why not: it fails, it has not taken a record for 5 seconds, or records were lost and that is not written down yet. Or
    /// the newest checkpoint cannot be copied.
    pub fn health(&self) -> std::result::Result<(), String> {
        self.writer.health()?;
        self.copier.as_ref().map_or(Ok(()), |copier| copier.health(PATIENCE))
    }

    /// Writes what waits, forces it onto the disk, and ends. A disk that takes nothing for 5 seconds is not waited for.
    ///
    /// # Errors
    ///
    /// Records could not be written, and are lost now, or were lost before; or the last checkpoint could not be copied.
    pub fn close(self) -> Result<()> {
        self.writer.close().map_err(|lost| {
            Error::device(format!("audit file {}: {} records could not be written", self.path.display(), lost.records))
                .because(lost.why)
                .advise("check the disk and make room on it; the records that are missing are not in the file")
        })?;
        self.copier.map_or(Ok(()), |copier| copier.close(PATIENCE)).map_err(|why| {
            Error::device(format!("audit file {} is whole, and its copy is not the newest", self.path.display()))
                .because(why)
                .advise("mount the disk of [audit] checkpoint_copy; the next run brings the copy up to date")
        })
    }
}

fn lock(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::device(format!("audit file {} is being written", path.display()))
            .because("another run holds its lock")
            .advise("stop the other run, or give this line an audit file of its own")),
        // File systems without locks (some network ones) are no reason not to run.
        Err(TryLockError::Error(error)) => {
            log::warn!("audit file {} cannot be locked against a second run: {error}", path.display());
            Ok(())
        }
    }
}

/// What a log is continued with.
struct Signing {
    signer: Signer,
    trust: Trust,
    /// The copy that checkpoints are kept in, where it is missing.
    missing_copy: Option<PathBuf>,
}

impl Signing {
    fn open(config: &SigningConfig) -> Result<Self> {
        let signer = Signer::open(&config.key)?;
        let former = config.former_keys.iter().map(|path| Verifier::open(path)).collect::<Result<Vec<_>>>()?;
        let copy = config.checkpoint_copy.as_ref();
        let (kept, missing_copy) = match copy.map(std::fs::read_to_string) {
            Some(Ok(note)) => (Some(note), None),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => (None, copy.cloned()),
            Some(Err(error)) => {
                return Err(Error::device("the copy of the newest checkpoint cannot be read")
                    .because(error)
                    .advise("[audit] checkpoint_copy names it: mount its disk, or let this user read it"));
            }
            None => (None, None),
        };
        let trust = Trust { key: Some(signer.verifier()), former, kept };
        Ok(Signing { signer, trust, missing_copy })
    }
}

/// What stands in the file: the link that is continued, bytes of whole lines, and an unfinished line.
fn past(path: &Path, signing: Option<&Signing>) -> Result<(Link, u64, Vec<u8>)> {
    let unsigned = Trust::default();
    let reading = verify::read(path, signing.map_or(&unsigned, |signing| &signing.trust)).map_err(|error| {
        let advice = error.advice().unwrap_or("keep it as evidence: move it away, and the next run begins a new file");
        let advice = advice.to_owned();
        Error::device(format!("audit file {} cannot be continued", path.display())).because(error).advise(advice)
    })?;
    if let Some(copy) =
        signing.and_then(|signing| signing.missing_copy.as_ref()).filter(|_| reading.signatures.keeps_copy)
    {
        return Err(Error::device(format!("the copy of the newest checkpoint is missing: {}", copy.display())).advise(
            "mount its disk; if it is lost for good, run once without checkpoint_copy, which the audit then says",
        ));
    }
    Ok((reading.link, reading.whole, reading.tail))
}

/// A new file's name is on disk only when its folder is.
pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
