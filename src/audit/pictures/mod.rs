//! The pictures that decisions were made from: which are kept, and what their parts' records say of them.
//!
//! A thread of its own encodes and writes them. The line never waits for it: there is room for so many bytes of pictures, and
//! a part whose picture finds none, or is not on disk in time, is written down without it.

mod days;
mod desk;
mod owner;
mod retention;
mod shelf;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use self::desk::{Desk, Job};
use self::owner::Hold;
pub(super) use self::owner::{First, Owner, owner_of};
pub(super) use self::retention::{is_grave, rank};
pub(super) use self::shelf::Shelf;
use super::desk::Desk as Log;
use super::looks::{Line, Settled};
use super::seen::Seen;
use crate::Result;
use crate::config::PicturesConfig;
use crate::digest::Digest;
use crate::line::{PartId, PartRecord, Ticket, Verdict};

/// Bytes of pictures that may lie in memory: those of open parts, those that wait, and those of passed parts that an alarm may keep.
const ROOM: usize = 128 << 20;
/// So many parts that were settled before their frame came are remembered.
const AWAITED: usize = 256;

/// What is said of a picture that never was, or has not come yet.
const NONE: &str = "there was none";
const NO_ROOM: &str = "there was no room for it in memory";

/// Why a part's picture is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The part is bad.
    Reject,
    /// The part has no verdict.
    Unknown,
    /// The part passed just before or after an alarm, a challenge's end or a step of the clock; shows a change that an alarm is about; or
    /// is a known bad piece.
    Around,
    /// The part passed, and is of the share that is kept.
    Sample,
}

impl Why {
    /// The reason as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Reject => "reject",
            Why::Unknown => "unknown",
            Why::Around => "around",
            Why::Sample => "sample",
        }
    }
}

/// Why a part's picture is kept, and what it may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Claim {
    why: Why,
    /// Whether the part is of the share that is kept whatever becomes of it: those parts are a fair sample of all.
    sampled: bool,
}

/// What a record says of a part's picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Pictured {
    #[serde(flatten)]
    claim: Claim,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Outcome {
    /// It is on disk.
    Kept(Kept),
    /// It is not.
    Missing { missing: String },
}

/// A picture on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Kept {
    /// The file, below the pictures' folder.
    file: String,
    /// Of the file's bytes.
    sha256: Digest,
    /// Of its 8-bit RGB pixels, which are those that were scored, row by row; none of what cannot be read.
    pixels_sha256: Option<Digest>,
}

impl Pictured {
    fn missing(claim: Claim, reason: impl Into<String>) -> Self {
        Pictured { claim, outcome: Outcome::Missing { missing: reason.into() } }
    }
}

/// A frame that takes of the room.
#[derive(Debug)]
struct Held {
    frame: Seen,
    taken: Arc<AtomicUsize>,
    size: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.size, Ordering::Relaxed);
    }
}

/// A part that passed, and whose picture may be kept yet.
#[derive(Debug)]
struct Passed {
    part: PartId,
    held: Held,
    /// How many passed up to it.
    number: usize,
}

/// What is known of pictures before their parts' fates.
#[derive(Debug, Default)]
struct Front {
    /// The frames of open parts; `None` for one that found no room.
    seen: BTreeMap<Ticket, Option<Held>>,
    /// Parts that passed and whose pictures are not kept, the oldest first: the last ones, and those that are held back.
    before: VecDeque<Passed>,
    /// So many such parts there were.
    passed: usize,
    /// Parts whose pictures are held back however many passed since.
    held_back: BTreeSet<PartId>,
    /// Parts without a fate whose pictures will be kept.
    named: BTreeSet<PartId>,
    /// So many more parts after an alarm keep their pictures.
    after: usize,
    /// Parts that were settled before their frame came.
    awaited: VecDeque<(Ticket, PartId)>,
}

impl Front {
    fn keep_before(&mut self, part: PartId, held: Held, around: usize) {
        self.passed += 1;
        self.before.push_back(Passed { part, held, number: self.passed });
        self.trim(around);
    }

    /// Lets go of what is neither held back nor of the last `around` parts.
    fn trim(&mut self, around: usize) {
        let (held_back, passed) = (&self.held_back, self.passed);
        self.before.retain(|part| part.number + around > passed || held_back.contains(&part.part));
    }

    /// Takes what is there of the last `around` parts.
    fn take_last(&mut self, around: usize) -> VecDeque<Passed> {
        let first = self.before.partition_point(|part| part.number + around <= self.passed);
        self.before.split_off(first)
    }

    fn await_frame(&mut self, record: &PartRecord) {
        self.awaited.extend(record.ticket.map(|ticket| (ticket, record.part)));
        while self.awaited.len() > AWAITED {
            self.awaited.pop_front();
        }
    }
}

/// How many pictures were wanted, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Tally {
    /// On disk.
    kept: u64,
    /// Not on disk.
    missing: u64,
}

/// The run's pictures.
#[derive(Debug)]
pub(super) struct Album {
    run: String,
    sample: f64,
    around: usize,
    taken: Arc<AtomicUsize>,
    front: Mutex<Front>,
    desk: Arc<Desk>,
    /// Dropped with the run, also where a disk that hangs keeps the thread.
    hold: Option<Hold>,
}

/// Bytes of the pictures that lie in the folder, and the runs that they are of.
pub(super) fn kept(config: &PicturesConfig) -> std::io::Result<(u64, BTreeSet<String>)> {
    let stock = retention::Stock::take(config)?;
    Ok((stock.bytes(), stock.runs().into_iter().map(str::to_owned).collect()))
}

/// Whether a run of the log `log`, which begins so, could keep its pictures in `folder`, where there are some or not.
///
/// # Errors
///
/// The folder, or what is in it, is another log's, or another run holds it.
pub(super) fn check_owner(folder: &Path, log: &Path, first: First, holds_pictures: bool) -> Result<()> {
    owner::check(folder, log, first, holds_pictures)
}

/// Whether `folder` says that its pictures are of the log `log`, whose first line has this hash.
pub(super) fn is_of(folder: &Path, log: &Path, hash: Digest) -> bool {
    owner::is_of(folder, log, hash)
}

impl Album {
    /// Starts the thread that writes pictures of the run of this name onto `shelf`, and tells `log` before it removes any.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(mut shelf: Shelf, config: &PicturesConfig, run: &str, log: Arc<Log>) -> Result<Self> {
        let hold = shelf.take_hold();
        let desk = Desk::start(shelf, log)?;
        let (front, taken) = (Mutex::default(), Arc::default());
        let (sample, around) = (config.sample, config.around);
        Ok(Album { run: run.to_owned(), sample, around, taken, front, desk, hold })
    }

    /// The log's first line, which has this hash, is on disk.
    ///
    /// # Errors
    ///
    /// It cannot be written down.
    pub(super) fn belongs_to(&mut self, log: Digest) -> Result<()> {
        self.hold.as_mut().map_or(Ok(()), |hold| hold.name(log))
    }

    /// It is whole after every statement, also when a thread panicked while it held it.
    fn front(&self) -> MutexGuard<'_, Front> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for a frame. Pictures that only an alarm would keep make way, the oldest first.
    fn hold(&self, front: &mut Front, frame: Seen) -> Option<Held> {
        let size = frame.shot().size();
        while self.taken.load(Ordering::Relaxed) + size > ROOM && front.before.pop_front().is_some() {}
        let before = self.taken.fetch_add(size, Ordering::Relaxed);
        let held = Held { frame, taken: self.taken.clone(), size };
        (before + size <= ROOM).then_some(held)
    }

    /// The frame of a part came, which is still open or not.
    pub(super) fn saw(&self, ticket: Ticket, is_open: bool, frame: Seen) {
        let mut front = self.front();
        if is_open {
            let held = self.hold(&mut front, frame);
            front.seen.insert(ticket, held);
            return;
        }
        let Some(place) = front.awaited.iter().position(|(awaited, _)| *awaited == ticket) else { return };
        if let Some((_, part)) = front.awaited.remove(place) {
            let held = self.hold(&mut front, frame);
            self.desk.put(Job::later(part, self.claim(part, Why::Unknown), held));
        }
    }

    /// The frame shows no part.
    pub(super) fn forget(&self, ticket: Ticket) {
        self.front().seen.remove(&ticket);
    }

    /// A part's fate is settled. Its record comes out of [`Album::finished`], in the order in which parts are given here.
    pub(super) fn settle(&self, settled: Settled) {
        let record = &settled.record;
        let mut front = self.front();
        let seen = record.ticket.and_then(|ticket| front.seen.remove(&ticket));
        let is_after = front.after > 0;
        let is_named = front.named.remove(&record.part);
        if record.verdict == Verdict::Pass {
            front.after = front.after.saturating_sub(1);
        }
        let why = match &record.verdict {
            Verdict::Reject => Some(Why::Reject),
            Verdict::Unknown(_) => Some(Why::Unknown),
            // A known bad piece that passes is what a challenge is for.
            Verdict::Pass if is_after || is_named || record.challenge => Some(Why::Around),
            Verdict::Pass => self.is_sample(record.part).then_some(Why::Sample),
        };
        let claim = why.map(|why| self.claim(record.part, why));
        let picture = match (claim, seen) {
            (Some(claim), Some(Some(held))) => Some(Ok((claim, held))),
            (Some(claim), Some(None)) => Some(Err(Pictured::missing(claim, NO_ROOM))),
            (Some(claim), None) => {
                front.await_frame(record);
                Some(Err(Pictured::missing(claim, NONE)))
            }
            (None, Some(Some(held))) => {
                front.keep_before(record.part, held, self.around);
                None
            }
            (None, _) => None,
        };
        self.desk.put(Job::of(settled, picture));
    }

    /// Something happened around which pictures are kept.
    pub(super) fn keep_around(&self) {
        let mut front = self.front();
        front.after = self.around;
        for Passed { part, held, .. } in front.take_last(self.around) {
            self.desk.put(Job::later(part, self.claim(part, Why::Around), Some(held)));
        }
    }

    /// The pictures of these parts, and of no others, are held back once the parts have passed.
    pub(super) fn hold_back(&self, parts: BTreeSet<PartId>) {
        let mut front = self.front();
        front.held_back = parts;
        front.trim(self.around);
    }

    /// The picture of a part is kept that is held, or will be: the part has no fate yet.
    pub(super) fn keep(&self, part: PartId) {
        let mut front = self.front();
        match front.before.iter().position(|held| held.part == part).and_then(|place| front.before.remove(place)) {
            Some(Passed { held, .. }) => self.desk.put(Job::later(part, self.claim(part, Why::Around), Some(held))),
            // One that has its fate was kept, or found no room.
            None => drop((!front.held_back.contains(&part)).then(|| front.named.insert(part))),
        }
    }

    fn claim(&self, part: PartId, why: Why) -> Claim {
        Claim { why, sampled: self.is_sample(part) }
    }

    /// Whether a part is of the share that is kept: the same for everybody who knows the run and the part.
    fn is_sample(&self, part: PartId) -> bool {
        is_sample(&self.run, part, self.sample)
    }

    /// Records that can be written now, and waits for nothing.
    pub(super) fn finished(&self) -> Vec<Line> {
        self.desk.finished()
    }

    /// # Errors
    ///
    /// Why pictures are not kept: the disk fails or hangs, or there was no room for one.
    pub(super) fn health(&self) -> std::result::Result<(), String> {
        self.desk.health()
    }

    /// Waits until all that was given is on disk, and what the log tells of as removed is, as long as something gets there at least every
    /// `patience`. The records of the rest come without their pictures, and nothing more is removed.
    pub(super) fn flush(&self, patience: Duration) -> Vec<Line> {
        self.desk.flush(patience)
    }

    pub(super) fn tally(&self) -> Tally {
        self.desk.tally()
    }
}

impl Drop for Album {
    fn drop(&mut self) {
        self.desk.close();
    }
}

/// Whether SHA-256 of `RUN/PART`, read as a fraction by its first 8 bytes, is below `share`.
pub(super) fn is_sample(run: &str, part: PartId, share: f64) -> bool {
    let digest = Digest::of(format!("{run}/{part}"));
    // Cannot fail: the digest is an array of 32 bytes, of which 8 are taken.
    let bytes = digest.as_bytes().first_chunk::<8>().expect("a SHA-256 has 32 bytes");
    // 53 bits are what a 64-bit float holds: 1 keeps every part, 0 none.
    ((u64::from_be_bytes(*bytes) >> 11) as f64 / (1u64 << 53) as f64) < share
}

#[cfg(test)]
mod tests;
