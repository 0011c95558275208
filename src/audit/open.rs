//! An audit that a run writes: opened, given records, and closed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::clock::Clock;
use super::copier::{self, Copier};
use super::deciders::Deciders;
use super::desk::Refused;
use super::interruption::Interruption;
use super::looks::{Line, Looks, Settled};
use super::newest::Found;
use super::past::{self, Past, Signing};
use super::pictures::{Album, First, Shelf};
use super::place::Place;
use super::record::{Body, PartContext, RunStart, Setting};
use super::retention::Retention;
use super::rotation::Rotation;
use super::seen::Seen;
use super::signatures::Trust;
use super::tail::{Notary, Tail};
use super::writer::Writer;
use super::{read, runs};
use crate::camera::Shot;
use crate::config::{AuditConfig, FullPolicy, SigningConfig};
use crate::digest::Digest;
use crate::line::{Counters, PartId, PartRecord, Ticket};
use crate::time::Monotonic;
use crate::{Error, Result, print};

/// A record that is not on disk after so long is a fault: a disk may hang without ever failing.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to do about pictures that are gone.
pub(super) const FIND_PICTURES: &str =
    "mount their disk, or put their folder back; hgad audit verify --pictures names all that are gone";

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
    is_closed: bool,
    interruption: Option<String>,
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
        tell_of_files(path)?;
        let signing = config.signing.as_ref().map(Signing::open).transpose()?;
        let (found, past) = Found::at(path, signing.as_ref())?;
        if let Some((told, advice)) = signing.as_ref().and_then(Signing::homeless) {
            log::warn!("{told}; {advice}");
        }
        let started = Monotonic::now();
        let name = runs::name(started);
        let (shelf, doubts) = shelf_and_doubts(config, path, &past, found.is_regular, &name)?;
        let setting = setting(config, run, signing.as_ref(), &name);
        let interruption = past.interrupted.as_ref().map(Interruption::told);
        // All that may be refused comes before the run's start, which would have no stop.
        let mut threads = Threads::start(config, shelf, &name)?;
        let files = read::files(path)?;
        let mut file = found.take()?;
        let is_regular = file.is_regular;
        let end = file.begin(past, started, run, &setting, &doubts)?;
        let first_line = end.link.log().filter(|_| is_regular);
        let trust = signing.as_ref().map(|signing| Trust { kept: Vec::new(), ..signing.trust.clone() });
        let notary = signing.map(|Signing { signer, .. }| Notary { signer, copiers: threads.copiers.clone() });
        let rotates = is_regular && config.rotation.is_on();
        let retention = Retention::of(first_line, config.retention, trust, threads.writer.desk());
        let rotation = rotates.then(|| Rotation::new(path, config.rotation, &files, setting, retention));
        threads.writer.begin(Tail::new(Box::new(file), end, notary, rotation));
        let Threads { looks, album, writer, copiers } = threads;
        let (path, run, when_full, clock) = (path.clone(), name, config.when_full, Mutex::default());
        let copy = config.signing.as_ref().and_then(|places| places.checkpoint_copy.clone());
        let is_closed = false;
        AuditLog { path, run, writer, copiers, copy, looks, album, when_full, clock, is_closed, interruption }
            .owns_pictures(first_line)
    }

    /// The pictures' folder is this log's from now on: of that which begins with the line of the hash `first_line`.
    fn owns_pictures(mut self, first_line: Option<Digest>) -> Result<Self> {
        match self.album.as_mut().zip(first_line).map_or(Ok(()), |(album, log)| album.belongs_to(log)) {
            Ok(()) => Ok(self),
            Err(error) => Err(self.never_began(of_pictures(error))),
        }
    }

    /// What is to be told of the run before, if it ended without a word: the program was killed, or the machine lost power.
    pub fn interruption(&self) -> Option<&str> {
        self.interruption.as_deref()
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
        let frame = Seen::new(shot.into());
        if is_open {
            self.looks.saw(ticket, &frame);
        }
        if let Some(album) = self.album.as_ref().filter(|_| frame.shot().size() > 0) {
            album.saw(ticket, is_open, frame);
        }
    }

    /// A frame that shows no part after all.
    pub fn forget(&self, ticket: Ticket) {
        if let Some(album) = &self.album {
            album.forget(ticket);
        }
    }

    /// Of these parts that passed, and of no others, the pictures are held in memory until they are asked for or others are named; as long as
    /// there is room.
    pub fn hold(&self, parts: BTreeSet<PartId>) {
        if let Some(album) = &self.album {
            album.hold_back(parts);
        }
    }

    /// The picture of a part that passed, or will, and whose picture is held, is kept.
    pub fn keep(&self, part: PartId) {
        if let Some(album) = &self.album {
            album.keep(part);
        }
    }

    /// Something happened around which pictures are kept: an alarm was raised, a challenge is over.
    pub fn keep_around(&self) {
        if let Some(album) = &self.album {
            album.keep_around();
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
        if step.is_some() {
            self.keep_around();
        }
        self.write_all(finished.into_iter().chain(step).collect())
    }

    /// Writes down that the run ended, after the last part and its picture; no record comes behind it.
    ///
    /// # Errors
    ///
    /// As [`AuditLog::write`].
    pub fn stop(&self, at: Monotonic, reason: &str, counters: &Counters) -> std::result::Result<(), Refused> {
        let written = self.settle();
        let pictures = self.album.as_ref().map(Album::tally);
        self.writer.write_last(Body::stop(at, reason, counters, pictures)).and(written)
    }

    /// Writes down that the run ended before its first part, since `why`; gives that back. Where the run before ended without a word this one
    /// has no end either: nobody was told yet, and the next one has to.
    pub fn never_began(self, why: Error) -> Error {
        let reason = format!("the line could not start: {}", why.line());
        // What finds no room is told of when the log is closed.
        let _ = match self.interruption {
            Some(_) => self.write(Body::note(Monotonic::now(), &reason)),
            None => self.stop(Monotonic::now(), &reason, &Counters::default()),
        };
        if let Err(error) = self.close() {
            log::error!("{}", error.report());
        }
        why
    }

    /// Writes down the parts that wait, each no longer than it would have waited.
    fn settle(&self) -> std::result::Result<(), Refused> {
        self.looks.put(self.album.as_ref().map_or_else(Vec::new, |album| album.flush(PATIENCE)));
        self.write_all(self.looks.flush())
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
        self.writer.health().map_err(|why| self.of_log(why))?;
        self.copiers.iter().try_for_each(|copier| copier.health(PATIENCE))?;
        self.looks.health()?;
        self.album.as_ref().map_or(Ok(()), Album::health)
    }

    /// What is wrong with the log, with its name: pictures and copies may be on other disks.
    fn of_log(&self, why: String) -> String {
        let path = print::name(self.path.display());
        if why.contains(&path) { why } else { format!("{path}: {why}") }
    }

    /// Writes what waits, forces it onto the disk, and ends. A disk that takes nothing for 5 seconds is not waited for.
    ///
    /// # Errors
    ///
    /// Records could not be written, and are lost now, or were lost before; or the last checkpoint could not be copied.
    pub fn close(mut self) -> Result<()> {
        self.end()
    }

    /// As [`AuditLog::close`]; a second call does nothing.
    fn end(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.is_closed, true) {
            return Ok(());
        }
        // What finds no room is counted by the writer. Behind the stop nothing comes: what was late by then was told of as that.
        if !self.writer.is_closing() {
            let _ = self.settle();
        }
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

impl Drop for AuditLog {
    /// However a run ends, by a panic too: what waits for a digest or a picture is written down.
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            log::error!("{}", error.report());
        }
    }
}

/// The threads of an audit, in the order in which they end where a run is refused: those that give records to the writer before it.
struct Threads {
    looks: Looks,
    album: Option<Album>,
    writer: Writer,
    copiers: Vec<Copier>,
}

impl Threads {
    /// `shelf`: where the pictures of the run `name` go.
    fn start(config: &AuditConfig, shelf: Option<Shelf>, name: &str) -> Result<Self> {
        let copiers = config.signing.as_ref().map(places_of).unwrap_or_default().into_iter().map(Copier::start);
        let copiers = copiers.collect::<Result<Vec<_>>>()?;
        let writer = Writer::start(config.sync, config.keep_records, PATIENCE)?;
        let album = config.pictures.as_ref().zip(shelf);
        let album = album.map(|(pictures, shelf)| Album::start(shelf, pictures, name, writer.desk())).transpose()?;
        Ok(Threads { looks: Looks::start()?, album, writer, copiers })
    }
}

/// Says of the log's files what is amiss and keeps no run from going on.
fn tell_of_files(path: &Path) -> Result<()> {
    read::told_of(&read::strangers(path)?).iter().for_each(|told| log::warn!("{told}"));
    read::missing_told(path)?.iter().for_each(|told| log::warn!("{told}"));
    Ok(())
}

fn of_pictures(error: Error) -> Error {
    error.of_key("audit.pictures")
}

/// What is not as the log has it, for people, and what to do.
type Doubt = (String, &'static str);

/// Where the pictures of the run `name` go, and what is to be said of pictures and of a copy that are not where the log has them, each with
/// what to do.
fn shelf_and_doubts(
    config: &AuditConfig,
    path: &Path,
    past: &Past,
    is_regular: bool,
    name: &str,
) -> Result<(Option<Shelf>, Vec<Doubt>)> {
    let pictures = config.pictures.as_ref();
    let gone = pictures.and_then(|pictures| past.gone(&pictures.folder)).map(|told| (told, FIND_PICTURES));
    let first = First::of(&past.link, is_regular);
    let shelf = pictures.map(|pictures| Shelf::open(pictures, path, first, name));
    let shelf = shelf.transpose().map_err(of_pictures)?;
    let startless = shelf.as_ref().filter(|_| is_regular).and_then(|shelf| startless(path, past, shelf));
    let uncopied = past.uncopied.clone().map(|told| (told, past::FIRST_COPY));
    Ok((shelf, [gone, startless, uncopied].into_iter().flatten().collect()))
}

/// What is to be said of pictures of runs that the log does not know, and done.
fn startless(path: &Path, past: &Past, shelf: &Shelf) -> Option<Doubt> {
    // A log that the run can go on with is not refused for what it warns of.
    runs::told_of_startless(path, past.last_run.as_deref(), &shelf.runs()).unwrap_or_else(|error| {
        log::warn!("whether pictures are there of runs that the log does not know is not known: {}", error.line());
        None
    })
}

/// What a run's start says of what decides about its parts, and of the log itself.
fn setting(config: &AuditConfig, run: &RunStart, signing: Option<&Signing>, name: &str) -> Setting {
    let places = config.signing.as_ref();
    Setting {
        deciders: Deciders::of(run, signing.map(|signing| signing.signer.verifier().to_string())),
        run: name.to_owned(),
        output: run.output.clone(),
        checkpoint_copy: places.is_some_and(|places| places.checkpoint_copy.is_some()),
        witness: places.and_then(|places| places.witness.as_ref()).map(ToString::to_string),
        sample: config.pictures.as_ref().map(|pictures| pictures.sample),
    }
}

/// Where checkpoints are kept.
fn places_of(config: &SigningConfig) -> Vec<Place> {
    let file = config.checkpoint_copy.clone().map(Place::File);
    file.into_iter().chain(config.witness.clone().map(Place::Witness)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audit::tests::{Folder, frame, run_start, settled};
    use crate::config::PicturesConfig;
    use crate::line::Verdict;

    #[test]
    fn pictures_around_a_clock_that_was_set_are_kept() {
        let folder = Folder::new();
        let pictures = PicturesConfig { around: 1, ..PicturesConfig::in_folder(folder.path("pictures")) };
        let config = AuditConfig { pictures: Some(pictures), ..AuditConfig::in_file(folder.file()) };
        let log = AuditLog::open(&config, &run_start()).unwrap();
        let passes = |number: u64, log: &AuditLog| {
            let record = PartRecord { ticket: Some(Ticket(number)), verdict: Verdict::Pass, ..settled(number) };
            log.saw(Ticket(number), true, &Arc::new(frame(number)));
            log.part(&record, PartContext { bundle: Digest::zero(), dry_run: false }).unwrap();
        };
        (0..3).for_each(|number| passes(number, &log));
        // By so much the clock on the wall was ahead, or so it seems now.
        log.clock.lock().unwrap().step(0);
        (3..6).for_each(|number| passes(number, &log));
        log.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
        log.close().unwrap();
        let kept = folder.lines().iter().filter(|line| line.contains("-around.png")).count();
        assert_eq!(kept, 2, "{:?}", folder.lines());
    }
}
