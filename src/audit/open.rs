//! Opening an audit file: continuing what stands there, or refusing it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chain::Link;
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
        let notary = config.signing.as_ref().map(notary).transpose()?;
        let trust = match (&config.signing, &notary) {
            (Some(signing), Some(notary)) => trust(signing, &notary.signer)?,
            _ => Trust::default(),
        };
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
        let (mut link, whole, tail) = if is_regular { past(path, &trust)? } else { (Link::START, 0, Vec::new()) };
        let public = notary.as_ref().map(|notary| notary.signer.verifier().to_string());
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
        lines.push_str(&link.seal(&Body::start(Monotonic::now(), run, public).0));
        file.append(lines.as_bytes()).map_err(failed)?;
        if is_regular {
            file.sync().map_err(failed)?;
            sync_folder(path).map_err(failed)?;
        }
        let tail = Tail::new(Box::new(file), End { link, length: whole + lines.len() as u64, signed: 0 }, notary);
        let writer = Writer::start(tail, config.sync, PATIENCE)?;
        Ok(AuditLog { path: path.clone(), writer })
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
    /// Why not: it fails, it has not taken a record for 5 seconds, or records were lost and that is not written down yet.
    pub fn health(&self) -> std::result::Result<(), String> {
        self.writer.health()
    }

    /// Writes what waits, forces it onto the disk, and ends. A disk that takes nothing for 5 seconds is not waited for.
    ///
    /// # Errors
    ///
    /// Records could not be written, and are lost now, or were lost before.
    pub fn close(self) -> Result<()> {
        self.writer.close().map_err(|lost| {
            Error::device(format!("audit file {}: {} records could not be written", self.path.display(), lost.records))
                .because(lost.why)
                .advise("check the disk and make room on it; the records that are missing are not in the file")
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

fn notary(signing: &SigningConfig) -> Result<Notary> {
    Ok(Notary { signer: Signer::open(&signing.key)?, copy: signing.checkpoint_copy.clone() })
}

/// What a file must hold to be continued with this key. A file that was never signed is signed from now on.
fn trust(signing: &SigningConfig, signer: &Signer) -> Result<Trust> {
    let former = signing.former_keys.iter().map(|path| Verifier::open(path));
    let keys = std::iter::once(Ok(signer.verifier())).chain(former).collect::<Result<Vec<_>>>()?;
    let kept = match signing.checkpoint_copy.as_deref().map(std::fs::read_to_string) {
        Some(Ok(note)) => Some(note),
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::device("the copy of the newest checkpoint cannot be read").because(error));
        }
        // The first run with a copy.
        _ => None,
    };
    Ok(Trust { keys, kept })
}

fn past(path: &Path, trust: &Trust) -> Result<(Link, u64, Vec<u8>)> {
    let reading = verify::read(path, trust).map_err(|error| {
        let kind_of = Error::device(format!("audit file {} cannot be continued", path.display()));
        kind_of.because(error).advise("keep it as evidence: move it away, and the next run begins a new file")
    })?;
    Ok((reading.link, reading.whole, reading.tail))
}

/// A new file's name is on disk only when its folder is.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
