//! Opening an audit file: continuing what stands there, or refusing it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::chain::Link;
use super::clock::Clock;
use super::copier::Copier;
use super::desk::Refused;
use super::key::{Signer, Verifier};
use super::pictures::Album;
use super::record::{Body, Deciders, PartContext, RunStart, Setting, wall_time};
use super::rotation::{self, Rotation};
use super::signatures::Trust;
use super::tail::{End, Notary, Tail};
use super::verify::Reading;
use super::writer::Writer;
use super::{read, verify};
use crate::camera::Frame;
use crate::config::{AuditConfig, FullPolicy, SigningConfig};
use crate::line::{Counters, PartRecord, Ticket};
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

    /// Puts what was appended, all of which is on the disk, aside as `closed`, and goes on with `header` alone.
    fn rotate(&mut self, closed: &Path, header: &[u8]) -> std::io::Result<()>;

    /// Bytes that are free where it is; `None` where nobody knows.
    fn free(&self) -> Option<u64>;
}

/// The log's newest file.
struct Newest {
    file: File,
    path: PathBuf,
}

impl Store for Newest {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)
    }

    fn truncate(&mut self, length: u64) -> std::io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    fn rotate(&mut self, closed: &Path, header: &[u8]) -> std::io::Result<()> {
        self.file = rotation::rotate(&self.path, closed, header)?;
        Ok(())
    }

    #[allow(clippy::unnecessary_cast, reason = "on 32-bit machines these have 32 bits")]
    fn free(&self) -> Option<u64> {
        // SAFETY: all zeros are a valid `statvfs`, which the call fills; the descriptor is open as long as `self.file` is.
        let (code, found) = unsafe {
            let mut found = std::mem::zeroed::<libc::statvfs>();
            (libc::fstatvfs(self.file.as_raw_fd(), &mut found), found)
        };
        (code == 0).then(|| (found.f_bavail as u64).saturating_mul(found.f_frsize as u64))
    }
}

/// An audit that is being written, by a thread of its own.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    run: String,
    writer: Writer,
    copier: Option<Copier>,
    album: Option<Album>,
    when_full: FullPolicy,
    clock: Mutex<Clock>,
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
        rotation::recover(path, &read::files(path)?)?;
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(failed)?;
        lock(&file, path)?;
        rotation::tidy(path).map_err(failed)?;
        let mut file = Newest { file, path: path.clone() };
        let is_regular = file.file.metadata().map_err(failed)?.is_file();
        // A device or a pipe has no past that could be continued.
        let Past { mut link, whole, tail, deciders: before } = match is_regular {
            true => past(path, signing.as_ref())?,
            false if signing.is_none() => Past { link: Link::START, whole: 0, tail: Vec::new(), deciders: None },
            false => {
                return Err(Error::usage(format!("{} is no file: what is signed must have a past", path.display()))
                    .advise("name a file, or leave [audit] key out"));
            }
        };
        let started = Monotonic::now();
        let name = run_name(started);
        let album = config.pictures.as_ref().map(|pictures| Album::open(pictures, &name)).transpose()?;
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
        let setting = Setting {
            deciders: Deciders::of(run),
            run: name.clone(),
            key: public,
            checkpoint_copy: copy.is_some(),
            pictures: config.pictures.is_some(),
        };
        lines.push_str(&link.seal(&Body::start(started, run, setting.clone()).0));
        for change in before.iter().flat_map(|before| setting.deciders.changes(before)) {
            log::warn!("since the run before: {change}");
            lines.push_str(&link.seal(&Body::changed(Monotonic::now(), &change).0));
        }
        file.append(lines.as_bytes()).map_err(failed)?;
        if is_regular {
            file.sync().map_err(failed)?;
            sync_folder(path).map_err(failed)?;
        }
        let copier = copy.map(Copier::start).transpose()?;
        let notary = signing.map(|Signing { signer, .. }| Notary { signer, copier: copier.clone() });
        let end = End { link, length: whole + lines.len() as u64, signed: 0, signed_at: None };
        let rotation = match is_regular && config.rotation.is_on() {
            true => Some(Rotation::new(path, config.rotation, &read::files(path)?, setting)),
            false => None,
        };
        let writer = Writer::start(
            Tail::new(Box::new(file), end, notary, rotation),
            config.sync,
            config.keep_records,
            PATIENCE,
        )?;
        Ok(AuditLog {
            path: path.clone(),
            run: name,
            writer,
            copier,
            album,
            when_full: config.when_full,
            clock: Mutex::default(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's name, which its pictures' folder has too.
    pub fn run_name(&self) -> &str {
        &self.run
    }

    /// So many of the records that were given are on disk by now; the run's start is not counted.
    pub fn on_disk(&self) -> u64 {
        self.writer.on_disk()
    }

    /// Whether the line has to stop when a record found no room.
    pub fn stops_line(&self) -> bool {
        self.when_full == FullPolicy::StopLine
    }

    /// Puts a record into the queue; never waits for the disk.
    ///
    /// # Errors
    ///
    /// The queue is full, since the disk takes nothing, or the writer died: this record is lost. When there is room again, a
    /// `lost` record says how many were.
    pub fn write(&self, body: Body) -> std::result::Result<(), Refused> {
        // What was settled before comes before.
        let tended = self.tend();
        self.writer.write(body).and(tended)
    }

    /// Writes down what became of a part. Where pictures are kept, that waits until its own is on disk, for 2 seconds at most:
    /// until [`AuditLog::tend`] finds it there.
    ///
    /// # Errors
    ///
    /// As [`AuditLog::write`].
    pub fn part(&self, record: &PartRecord, context: PartContext) -> std::result::Result<(), Refused> {
        match &self.album {
            Some(album) => album.settle(record, context),
            None => return self.writer.write(Body::part(record, context, None)),
        }
        self.tend()
    }

    /// A frame that is, or was, inspected: its picture may have to be kept. `is_open` says whether its part has no fate yet.
    pub fn saw(&self, ticket: Ticket, is_open: bool, frame: &Arc<Frame>) {
        if let Some(album) = &self.album {
            album.saw(ticket, is_open, frame);
        }
    }

    /// An alarm was raised: the pictures around it are kept.
    pub fn alarmed(&self) {
        if let Some(album) = &self.album {
            album.alarmed();
        }
    }

    /// Writes down the parts whose pictures are on disk by now.
    ///
    /// # Errors
    ///
    /// As [`AuditLog::write`].
    pub fn tend(&self) -> std::result::Result<(), Refused> {
        let finished = self.album.as_ref().map_or_else(Vec::new, Album::finished);
        let step = self.clock.lock().unwrap_or_else(PoisonError::into_inner).look();
        self.write_all(finished.into_iter().chain(step).collect())
    }

    /// Writes down that the run ended, after the last part and its picture.
    ///
    /// # Errors
    ///
    /// As [`AuditLog::write`].
    pub fn stop(&self, at: Monotonic, reason: &str, counters: &Counters) -> std::result::Result<(), Refused> {
        let last = self.album.as_ref().map_or_else(Vec::new, |album| album.flush(PATIENCE));
        let written = self.write_all(last);
        let pictures = self.album.as_ref().map(Album::tally);
        self.writer.write(Body::stop(at, reason, counters, pictures)).and(written)
    }

    fn write_all(&self, bodies: Vec<Body>) -> std::result::Result<(), Refused> {
        let mut result = Ok(());
        for body in bodies {
            result = self.writer.write(body).and(result);
        }
        result
    }

    /// Whether the disk takes what is written; never waits for it.
    ///
    /// # Errors
    ///
    /// Why not: it fails, it has not taken a record for 5 seconds, or records were lost and that is not written down yet. Or
    /// the newest checkpoint cannot be copied, or a picture was not kept.
    pub fn health(&self) -> std::result::Result<(), String> {
        self.writer.health()?;
        self.copier.as_ref().map_or(Ok(()), |copier| copier.health(PATIENCE))?;
        self.album.as_ref().map_or(Ok(()), Album::health)
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

/// A run's name: when it began, in a form that file names may have.
fn run_name(started: Monotonic) -> String {
    wall_time(started).chars().filter(|c| !matches!(c, '-' | ':')).collect()
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

/// What stands in the newest file.
struct Past {
    /// What is continued.
    link: Link,
    /// Bytes of whole lines.
    whole: u64,
    /// An unfinished line.
    tail: Vec<u8>,
    /// What decided about parts in the run before.
    deciders: Option<Deciders>,
}

fn past(path: &Path, signing: Option<&Signing>) -> Result<Past> {
    let unsigned = Trust::default();
    let reading = verify::read_newest(path, signing.map_or(&unsigned, |signing| &signing.trust)).map_err(|error| {
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
    let Reading { link, whole, tail, deciders, .. } = reading;
    Ok(Past { link, whole, tail, deciders })
}

/// A new file's name is on disk only when its folder is.
pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
