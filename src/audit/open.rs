//! Opening an audit file: continuing what stands there, or refusing it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::astray::{self, is_at};
use super::clock::Clock;
use super::copier::{self, Copier};
use super::deciders::Deciders;
use super::desk::Refused;
use super::looks::{Line, Looks, Settled};
use super::past::{self, Past, Signing};
use super::pictures::{Album, First, Shelf};
use super::place::Place;
use super::record::{Body, PartContext, RunStart, Setting};
use super::rotation::{self, Rotation};
use super::tail::{End, Notary, Tail};
use super::writer::Writer;
use super::{read, readiness, runs};
use crate::camera::Shot;
use crate::config::{AuditConfig, FullPolicy, SigningConfig};
use crate::line::{Counters, PartRecord, Ticket};
use crate::time::Monotonic;
use crate::{Error, Result, draft};

/// A record that is not on disk after so long is a fault: a disk may hang without ever failing.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is said of a model or a calibration that nobody signed for.
const UNNAMED: &str = "nobody's name and reason are on record, since [line] approved_by names no key (hgad sign)";

/// What is said of a last line that lacks nothing but its line feed.
const UNENDED: &str = "the last line was whole, and the line feed behind it was missing, which was put back (the machine lost power, or an \
                       editor changed the file)";

/// What to do about pictures that are gone.
pub(super) const FIND_PICTURES: &str =
    "mount their disk, or put their folder back; hgad audit verify --pictures names all that are gone";

/// Where lines end up: a file, or something that fails on demand.
pub trait Store: Send {
    /// Appends all of `bytes`, or an unknown part of them and an error.
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()>;

    /// Removes what follows the first `length` bytes.
    fn truncate(&mut self, length: u64) -> std::io::Result<()>;

    /// Forces what was appended onto the disk.
    fn sync(&mut self) -> std::io::Result<()>;

    /// Puts what was appended, all of which is on the disk, aside as `closed`, and goes on with `header` alone, which is on the
    /// disk for certain after the next [`Store::sync`]. After an error it goes on as before.
    fn rotate(&mut self, closed: &Path, header: &[u8]) -> std::io::Result<()>;

    /// Bytes that are free where it is; `None` where nobody knows.
    fn free(&self) -> Option<u64>;

    /// What is to be said where what is appended is not found under its name any more, since somebody moved or removed it.
    fn astray(&self) -> Option<String> {
        None
    }

    /// The same when nothing more comes, after what would be gone then was kept under another name; `progress` is told that that goes on.
    fn left(&self, _progress: &mut dyn FnMut()) -> Option<String> {
        None
    }
}

/// Where the log's newest file is, or will be: a run that is refused before it begins leaves no file that would look like a log whose
/// records were all removed.
struct Found {
    path: PathBuf,
    /// Held against other runs; `None` where there is none yet.
    file: Option<File>,
    /// Whether it is a file: a device or a pipe has no past, and nothing can be forced onto its disk.
    is_regular: bool,
}

/// So often the newest file is looked for while other runs close it.
const LOOKS: usize = 10;

impl Found {
    /// Looks for the file, holds it against other runs, and reads what stands in it.
    fn at(path: &Path, signing: Option<&Signing>) -> Result<(Self, Past)> {
        let failed = |error| cannot_be_written(path, error);
        let file = newest(path, || OpenOptions::new().append(true).open(path))?;
        if file.is_some() {
            rotation::tidy(path).map_err(failed)?;
        }
        let is_regular = match &file {
            Some(file) => file.metadata().map_err(failed)?.is_file(),
            None => true,
        };
        let past = match is_regular {
            true => past::past(path, signing)?,
            false if signing.is_none() => Past::NONE,
            false => {
                return Err(Error::usage(format!("{} is no file: what is signed must have a past", path.display()))
                    .advise("name a file, or leave [audit] key out"));
            }
        };
        Ok((Found { path: path.to_owned(), file, is_regular }, past))
    }

    /// The file that was found, or a new one, in which nobody has written since.
    fn take(self) -> Result<Newest> {
        let Found { path, file, is_regular } = self;
        let (file, is_made) = match file {
            Some(file) if is_regular && !is_at(&file, &path).map_err(|error| cannot_be_written(&path, error))? => {
                return Err(was_exchanged(&path));
            }
            Some(file) => (file, false),
            None => {
                let made = made(&path)?;
                rotation::tidy(&path).map_err(|error| cannot_be_written(&path, error))?;
                made
            }
        };
        Ok(Newest { file, path, is_regular, is_made, owes_folder: is_regular })
    }
}

/// The log's newest file as `open` finds it, held against other runs; `None` where no log is. Where it is gone and older ones are there,
/// another run is closing it at this moment, and the next one is there soon: a new log beside those would destroy them.
fn newest(path: &Path, mut open: impl FnMut() -> std::io::Result<File>) -> Result<Option<File>> {
    for _ in 0..LOOKS {
        rotation::recover(path, &read::files(path)?)?;
        match open() {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(cannot_be_written(path, error)),
            Err(_) if has_closed(path)? => {}
            Err(_) => return Ok(None),
            Ok(file) => return hold(&file, path).map(|()| Some(file)),
        }
    }
    Err(was_exchanged(path))
}

fn has_closed(path: &Path) -> Result<bool> {
    Ok(read::files(path)?.iter().any(|file| file.number.is_some()))
}

/// Makes the file, and holds it against other runs; also says whether it was made here for certain.
fn made(path: &Path) -> Result<(File, bool)> {
    let failed = |error| cannot_be_written(path, error);
    let open = |options: &mut OpenOptions| options.append(true).open(path);
    let (file, is_made) = match open(OpenOptions::new().create_new(true)) {
        Ok(file) => (file, true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            (open(OpenOptions::new().create(true)).map_err(failed)?, false)
        }
        Err(error) => return Err(failed(error)),
    };
    hold(&file, path)?;
    let is_empty = file.metadata().map_err(failed)?.len() == 0;
    match has_closed(path)? {
        false if is_empty => return Ok((file, is_made)),
        // Another run began the log meanwhile, and is closing its first file: its name is left to the next one.
        true if is_empty => std::fs::remove_file(path).map_err(failed)?,
        _ => {}
    }
    Err(was_exchanged(path))
}

/// Holds the file against other runs, as long as it bears the log's name still.
fn hold(file: &File, path: &Path) -> Result<()> {
    past::lock(file, path)?;
    match is_at(file, path).map_err(|error| cannot_be_written(path, error))? {
        true => Ok(()),
        false => Err(was_exchanged(path)),
    }
}

fn was_exchanged(path: &Path) -> Error {
    Error::device(format!("audit file {} was made or exchanged while the run began", path.display()))
        .because("another run, or a person, put a file there at the same moment")
        .advise("see that no other run writes there, and start again")
}

/// The log's newest file, in which a run writes.
struct Newest {
    file: File,
    path: PathBuf,
    /// As [`Found::is_regular`].
    is_regular: bool,
    /// Whether this run made it: it was not there before.
    is_made: bool,
    /// Whether its folder has to be forced onto the disk, without which the file is not there after a power cut.
    owes_folder: bool,
}

impl Newest {
    /// Repairs what a power cut left, and puts the run's start on disk, with what is another than in the run before, and what is told of
    /// pictures, each with what to do.
    fn begin(
        &mut self,
        past: Past,
        started: Monotonic,
        run: &RunStart,
        setting: &Setting,
        doubts: &[(String, &str)],
    ) -> Result<End> {
        let Past { mut link, whole, tail, unended, deciders: before, interrupted, .. } = past;
        let path = self.path.clone();
        let failed = |error| cannot_be_written(&path, error);
        let mut lines = String::new();
        if unended {
            log::warn!("audit file {}: {UNENDED}", path.display());
            lines.push('\n');
            lines.push_str(&link.seal(&Body::note(Monotonic::now(), UNENDED).0));
        }
        if !tail.is_empty() {
            log::warn!(
                "audit file {}: the last line was unfinished (the machine lost power, or the program was killed); \
                 its {} bytes are cut off",
                path.display(),
                tail.len()
            );
            self.truncate(whole).map_err(failed)?;
            lines.push_str(&link.seal(&Body::repaired(Monotonic::now(), &tail).0));
        }
        lines.push_str(&link.seal(&Body::start(started, run, setting.clone()).0));
        if let Some(interruption) = &interrupted {
            log::warn!("{}", interruption.told());
            lines.push_str(&link.seal(&Body::interrupted(Monotonic::now(), interruption).0));
        }
        for (doubt, advice) in doubts {
            log::warn!("{doubt}: {advice}");
            lines.push_str(&link.seal(&Body::note(Monotonic::now(), doubt).0));
        }
        for change in before.iter().flat_map(|before| setting.deciders.changes(before)) {
            log::warn!("since the run before: {change}");
            let approval = change.approval(&run.approvals);
            lines.push_str(&link.seal(&Body::changed(Monotonic::now(), &change, approval).0));
            if change.wants_a_name() && approval.is_none() {
                log::warn!("that is a change without a name: {UNNAMED}");
                lines.push_str(&link.seal(&Body::unnamed_change(Monotonic::now(), &change, UNNAMED).0));
            }
        }
        for (class, parts) in &run.drift {
            let restarted = before.is_some();
            if restarted {
                log::info!("the test for drift of '{class}' begins anew, with {parts} parts of its calibration");
            }
            lines.push_str(&link.seal(&Body::drift_begun(Monotonic::now(), class, *parts, restarted).0));
        }
        let forced = match self.append(lines.as_bytes()) {
            Ok(()) if self.is_regular => self.sync(),
            appended => appended,
        };
        if let Err(error) = forced {
            // What is there is left as it was found: the next run has to see, and to tell of, the same unfinished line. An empty file that
            // was not there before would look like a log whose records were all removed.
            let put_back = match self.is_made {
                true => is_at(&self.file, &path)
                    .and_then(|is_own| if is_own { std::fs::remove_file(&path) } else { Ok(()) }),
                false if self.is_regular => self.truncate(whole).and_then(|()| self.append(&tail)),
                false => Ok(()),
            };
            if let Err(error) = put_back {
                log::error!("audit file {} cannot be put back as it was either: {error}", path.display());
            }
            return Err(failed(error));
        }
        Ok(End { link, length: whole + lines.len() as u64, signed: 0, signed_at: None })
    }
}

fn cannot_be_written(path: &Path, error: std::io::Error) -> Error {
    Error::device(format!("audit file {} cannot be written", path.display()))
        .because(error)
        .advise("check that its folder exists, that this user may write there, and that the disk has room")
        .of_key("audit.file")
}

/// Where checkpoints are kept.
fn places_of(config: &SigningConfig) -> Vec<Place> {
    let file = config.checkpoint_copy.clone().map(Place::File);
    file.into_iter().chain(config.witness.clone().map(Place::Witness)).collect()
}

impl Store for Newest {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)
    }

    fn truncate(&mut self, length: u64) -> std::io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.file.sync_data()?;
        if self.owes_folder {
            draft::sync_folder(&self.path)?;
            self.owes_folder = false;
        }
        Ok(())
    }

    fn rotate(&mut self, closed: &Path, header: &[u8]) -> std::io::Result<()> {
        self.file = rotation::rotate(&self.file, &self.path, closed, header)?;
        self.owes_folder = true;
        Ok(())
    }

    fn free(&self) -> Option<u64> {
        readiness::free(&self.file)
    }

    fn astray(&self) -> Option<String> {
        astray::told(&self.file, &self.path).filter(|_| self.is_regular)
    }

    fn left(&self, progress: &mut dyn FnMut()) -> Option<String> {
        astray::left(&self.file, &self.path, progress).filter(|_| self.is_regular)
    }
}

/// An audit that is being written, by a thread of its own.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    run: String,
    writer: Writer,
    copiers: Vec<Copier>,
    /// The file that one of them keeps.
    copy: Option<PathBuf>,
    looks: Looks,
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
        let path = &read::real(&config.file);
        log::info!("opening the audit {}", path.display());
        read::told_of(&read::strangers(path)?).iter().for_each(|told| log::warn!("{told}"));
        if let Some(missing) = read::missing_told(path)? {
            log::warn!("{missing}");
        }
        let signing = config.signing.as_ref().map(Signing::open).transpose()?;
        let (found, mut past) = Found::at(path, signing.as_ref())?;
        if let Some((told, advice)) = signing.as_ref().and_then(Signing::homeless) {
            log::warn!("{told}; {advice}");
        }
        let started = Monotonic::now();
        let name = runs::name(started);
        let first = First::of(&past.link, found.is_regular);
        let of_pictures = |error: Error| error.of_key("audit.pictures");
        let gone = config.pictures.as_ref().and_then(|pictures| past.gone(&pictures.folder));
        let shelf = config.pictures.as_ref().map(|pictures| Shelf::open(pictures, path, first, &name));
        let mut shelf = shelf.transpose().map_err(of_pictures)?;
        let places = config.signing.as_ref();
        let setting = Setting {
            deciders: Deciders::of(run, signing.as_ref().map(|signing| signing.signer.verifier().to_string())),
            run: name.clone(),
            checkpoint_copy: places.is_some_and(|places| places.checkpoint_copy.is_some()),
            witness: places.and_then(|places| places.witness.as_ref()).map(ToString::to_string),
            sample: config.pictures.as_ref().map(|pictures| pictures.sample),
        };
        let mut file = found.take()?;
        let startless = match (&shelf, file.is_regular) {
            // A log that the run can go on with is not refused for what it warns of.
            (Some(shelf), true) => runs::told_of_startless(path, past.last_run.as_deref(), &shelf.runs())
                .unwrap_or_else(|error| {
                    log::warn!(
                        "whether pictures are there of runs that the log does not know is not known: {}",
                        error.line()
                    );
                    None
                }),
            _ => None,
        };
        let uncopied = past.uncopied.take().map(|told| (told, past::FIRST_COPY));
        let doubts = [gone.map(|told| (told, FIND_PICTURES)), startless, uncopied];
        let doubts = doubts.into_iter().flatten().collect::<Vec<_>>();
        let end = file.begin(past, started, run, &setting, &doubts)?;
        if let (Some(shelf), Some(log), true) = (&mut shelf, end.link.log(), file.is_regular) {
            shelf.belongs_to(log).map_err(of_pictures)?;
        }
        let copiers = places.map(places_of).unwrap_or_default().into_iter().map(Copier::start);
        let copiers = copiers.collect::<Result<Vec<_>>>()?;
        let notary = signing.map(|Signing { signer, .. }| Notary { signer, copiers: copiers.clone() });
        let rotation = match file.is_regular && config.rotation.is_on() {
            true => Some(Rotation::new(path, config.rotation, &read::files(path)?, setting)),
            false => None,
        };
        let tail = Tail::new(Box::new(file), end, notary, rotation);
        let writer = Writer::start(tail, config.sync, config.keep_records, PATIENCE)?;
        let album = config
            .pictures
            .as_ref()
            .zip(shelf)
            .map(|(pictures, shelf)| Album::start(shelf, pictures, &name, writer.desk()));
        let album = album.transpose()?;
        let (path, when_full) = (path.clone(), config.when_full);
        let copy = places.and_then(|places| places.checkpoint_copy.clone());
        let looks = Looks::start()?;
        Ok(AuditLog { path, run: name, writer, copiers, copy, looks, album, when_full, clock: Mutex::default() })
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

    /// Whether a record that came now would find room.
    pub fn has_room(&self) -> bool {
        self.writer.has_room()
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
        self.put(body).and(tended)
    }

    /// Puts this record alone into the queue, after [`AuditLog::tend`].
    ///
    /// # Errors
    ///
    /// As [`AuditLog::write`], of this record.
    pub fn put(&self, body: Body) -> std::result::Result<(), Refused> {
        self.writer.write(body)
    }

    /// Writes down what became of a part. That waits until the digests of its frames are known and its picture, where it is kept, is on
    /// disk, for 2 seconds at most: until [`AuditLog::tend`] finds them there.
    ///
    /// # Errors
    ///
    /// As [`AuditLog::write`].
    pub fn part(&self, record: &PartRecord, context: PartContext) -> std::result::Result<(), Refused> {
        let settled = Settled::new(record, context);
        match &self.album {
            Some(album) => album.settle(settled),
            None => self.looks.put([Line::Part(Box::new(settled), None)]),
        }
        self.tend()
    }

    /// A frame whose digest is written down, and whose picture may have to be kept: it was inspected, lost its place to another, or cannot
    /// be judged. `is_open` says whether its part has no fate yet. One of which there is nothing is none.
    pub fn saw(&self, ticket: Ticket, is_open: bool, shot: impl Into<Shot>) {
        let shot = shot.into();
        if is_open {
            self.looks.saw(ticket, &shot);
        }
        if let Some(album) = self.album.as_ref().filter(|_| shot.size() > 0) {
            album.saw(ticket, is_open, shot);
        }
    }

    /// A frame that shows no part after all.
    pub fn forget(&self, ticket: Ticket) {
        if let Some(album) = &self.album {
            album.forget(ticket);
        }
    }

    /// An alarm was raised: the pictures around it are kept.
    pub fn alarmed(&self) {
        if let Some(album) = &self.album {
            album.alarmed();
        }
    }

    /// Writes down the parts of whose frames all is known by now.
    ///
    /// # Errors
    ///
    /// As [`AuditLog::write`].
    pub fn tend(&self) -> std::result::Result<(), Refused> {
        self.looks.put(self.album.as_ref().map_or_else(Vec::new, Album::finished));
        let finished = self.looks.finished();
        let step = self.clock.lock().unwrap_or_else(PoisonError::into_inner).look();
        self.write_all(finished.into_iter().chain(step).collect())
    }

    /// Writes down that the run ended, after the last part and its picture.
    ///
    /// # Errors
    ///
    /// As [`AuditLog::write`].
    pub fn stop(&self, at: Monotonic, reason: &str, counters: &Counters) -> std::result::Result<(), Refused> {
        self.looks.put(self.album.as_ref().map_or_else(Vec::new, |album| album.flush(PATIENCE)));
        let written = self.write_all(self.looks.flush());
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
    /// the newest checkpoint cannot be copied, or a frame's digest or picture is missing.
    pub fn health(&self) -> std::result::Result<(), String> {
        self.writer.health()?;
        self.copiers.iter().try_for_each(|copier| copier.health(PATIENCE))?;
        self.looks.health()?;
        self.album.as_ref().map_or(Ok(()), Album::health)
    }

    /// Writes what waits, forces it onto the disk, and ends. A disk that takes nothing for 5 seconds is not waited for.
    ///
    /// # Errors
    ///
    /// Records could not be written, and are lost now, or were lost before; or the last checkpoint could not be copied.
    pub fn close(self) -> Result<()> {
        // What finds no room is counted by the writer.
        let _ = self.write_all(self.looks.flush());
        let written = self.writer.close();
        // Whatever became of the records: the last checkpoint is for those who want to know how the log ended.
        let copied = copier::close(&self.copiers, PATIENCE);
        if let Err(lost) = written {
            let (what, advice) = match lost.records {
                0 => (
                    "what this run wrote is not in the file of that name".to_owned(),
                    "give the file its name back, and see that nobody edits, moves or removes it while a line runs",
                ),
                records => (
                    format!("{records} records could not be written"),
                    "check the disk and make room on it; the records that are missing are not in the file",
                ),
            };
            let why = [Some(lost.why), copied.err()].into_iter().flatten().collect::<Vec<_>>().join("; ");
            return Err(Error::device(format!("audit file {}: {what}", self.path.display()))
                .because(why)
                .advise(advice));
        }
        copied.map_err(|why| {
            let what = "is whole, and its newest checkpoint is not everywhere where it is kept";
            let error = Error::device(format!("audit file {} {what}", self.path.display())).because(why);
            match self.copy.as_ref().is_some_and(|copy| !copy.exists()) {
                true => error.advise(format!("no run continues a log whose copy is missing: {}", past::LOST_COPY)),
                false => error.advise(
                    "mount the disk of [audit] checkpoint_copy, or bring its witness back; the next run brings them up to date",
                ),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_put_back_while_a_run_begins_is_neither_removed_nor_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (refused, _) = Found::at(&path, None).unwrap();
        let (begun, _) = Found::at(&path, None).unwrap();
        std::fs::write(&path, "a log\n").unwrap();
        drop(refused);
        let Err(error) = begun.take() else { panic!("another's file was taken") };
        assert!(error.kind().exit_code() == 3 && error.report().contains("while the run began"), "{}", error.report());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a log\n");
        // Nor is a file written to that does not bear the log's name any more.
        let file = newest(&path, || OpenOptions::new().append(true).open(&path)).unwrap();
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        assert!(Found { path: path.clone(), file, is_regular: true }.take().is_err());
        std::fs::rename(folder.path().join("moved"), &path).unwrap();
        // What was found and is another by now is not held for the log.
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        std::fs::rename(&path, folder.path().join("aside")).unwrap();
        std::fs::write(&path, "another\n").unwrap();
        assert!(hold(&file, &path).is_err());
    }

    #[test]
    fn of_a_start_that_finds_no_room_no_log_is_left_that_was_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let deciders = Deciders::default();
        let setting = Setting { deciders, run: String::new(), checkpoint_copy: false, witness: None, sample: None };
        let fails = |newest: &mut Newest| {
            // Nothing can be written by it, as on a full disk.
            newest.file = File::open(&path).unwrap();
            let run = crate::audit::tests::run_start();
            newest.begin(Past::NONE, Monotonic::now(), &run, &setting, &[]).is_err()
        };
        let mut newest = Found::at(&path, None).unwrap().0.take().unwrap();
        assert!(path.exists() && fails(&mut newest) && !path.exists());
        drop(newest);
        // What was there stays, though it be empty.
        std::fs::write(&path, "").unwrap();
        let mut newest = Found::at(&path, None).unwrap().0.take().unwrap();
        assert!(fails(&mut newest) && path.exists());
    }

    /// A run that closes its file between the look and the opening of another run.
    fn closes(path: &Path, closed: &Path) -> std::io::Result<File> {
        std::fs::rename(path, closed)?;
        Err(std::io::ErrorKind::NotFound.into())
    }

    #[test]
    fn a_run_that_begins_while_another_closes_its_file_begins_no_log_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (path, closed) = (folder.path().join("audit.jsonl"), folder.path().join("audit.000001.jsonl"));
        let upcoming = folder.path().join("audit.jsonl.next");
        std::fs::write(&path, "{\"seq\":0,\"hash\":\"0\"}\n").unwrap();
        let running = OpenOptions::new().append(true).open(&path).unwrap();
        running.try_lock().unwrap();
        std::fs::write(&upcoming, "what the other run goes on with\n").unwrap();
        let mut looks = 0;
        let found = newest(&path, || {
            looks += 1;
            if looks == 1 { closes(&path, &closed) } else { OpenOptions::new().append(true).open(&path) }
        });
        assert!(found.is_err() && looks > 1, "{looks} looks");
        assert!(upcoming.exists(), "it is the other run's");
        // Nor where the other one began the log and closed its first file since this one looked.
        let (path, closed) = (folder.path().join("b.jsonl"), folder.path().join("b.000001.jsonl"));
        let (begun, _) = Found::at(&path, None).unwrap_or_else(|_| panic!("no log"));
        std::fs::write(&closed, "{\"seq\":0,\"hash\":\"0\"}\n").unwrap();
        assert!(begun.take().is_err() && !path.exists());
    }

    #[test]
    fn a_run_goes_on_in_the_file_that_bears_the_log_s_name_or_in_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, closed) = (folder.path().join("audit.jsonl"), folder.path().join("audit.000001.jsonl"));
        for round in 0..3 {
            std::fs::write(&path, format!("old {round}\n")).unwrap();
            // Somebody takes away what was to be the next, as soon as it is there.
            let upcoming = folder.path().join("audit.jsonl.next");
            let thief = std::thread::spawn(move || while std::fs::remove_file(&upcoming).is_err() {});
            let own = File::open(&path).unwrap();
            let rotated = rotation::rotate(&own, &path, &closed, b"next\n");
            let is_at = rotated.as_ref().is_ok_and(|file| is_at(file, &path).unwrap());
            assert!(is_at || rotated.is_err() && std::fs::read_to_string(&path).unwrap() == format!("old {round}\n"));
            if is_at {
                // It came too late; there may be nothing for it any more.
                std::fs::write(folder.path().join("audit.jsonl.next"), "").unwrap();
                std::fs::remove_file(&closed).unwrap();
            }
            thief.join().unwrap();
        }
    }
}
