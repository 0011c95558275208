//! Between those who settle parts and the thread that writes their pictures.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::retention::{Batch, Left};
use super::shelf::Shelf;
use super::{Claim, Held, NO_ROOM, NONE, Outcome, Pictured, Tally};
use crate::Result;
use crate::audit::background;
use crate::audit::desk::Desk as Log;
use crate::audit::looks::{Line, PATIENCE, Settled};
use crate::audit::record::Body;
use crate::line::PartId;
use crate::print::were;
use crate::time::Monotonic;

/// A picture that is not on disk after so long is a fault.
const HANGS: Duration = Duration::from_secs(5);
/// So long a picture that is missing is a fault.
const TOLD: Duration = Duration::from_secs(1);
/// How often old pictures are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// How often it is looked whether the log tells of a removal.
const TELLING: Duration = Duration::from_millis(50);
/// How often the log signs for a removal what it would sign within a minute: a line whose pictures take all the room that they may removes
/// one for each that it stores. Where one finds no room on the disk it is signed for at once.
const SIGNING: Duration = Duration::from_secs(10);
/// So many pictures are removed before the next one is written, and before it shows that the disk works.
const SLICE: usize = 256;

/// A part on its way to the log.
pub(super) struct Job {
    part: PartId,
    /// What is written once the picture is on disk; `None` when it was written without.
    record: Option<Box<Settled>>,
    picture: Wanted,
    since: Instant,
}

enum Wanted {
    Nothing,
    Frame(Claim, Held),
    Missing(Pictured),
}

impl Job {
    pub(super) fn of(settled: Settled, picture: Option<std::result::Result<(Claim, Held), Pictured>>) -> Self {
        let picture = match picture {
            None => Wanted::Nothing,
            Some(Ok((claim, held))) => Wanted::Frame(claim, held),
            Some(Err(missing)) => Wanted::Missing(missing),
        };
        let (part, since) = (settled.record.part, settled.at);
        Job { part, record: Some(Box::new(settled)), picture, since }
    }

    /// A picture whose part's record is written already.
    pub(super) fn later(part: PartId, claim: Claim, held: Option<Held>) -> Self {
        let picture = match held {
            Some(held) => Wanted::Frame(claim, held),
            None => Wanted::Missing(Pictured::missing(claim, NO_ROOM)),
        };
        Job { part, record: None, picture, since: Instant::now() }
    }
}

/// The job that the thread has in hand.
#[derive(Debug)]
struct InHand {
    part: PartId,
    record: Option<Box<Settled>>,
    claim: Claim,
    since: Instant,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    in_hand: Option<InHand>,
    /// Records that can be written, in their order.
    finished: Vec<Line>,
    /// Why the last picture is not on disk.
    failure: Option<String>,
    /// When the last picture went missing, and why.
    missed: Option<(Instant, String)>,
    tally: Tally,
    /// Pictures that got to an end, and slices of those that went: a disk that works makes this rise.
    done: u64,
    /// Pictures may have to be removed, or are to be once the log tells of it.
    removing: bool,
    /// Somebody waits for what is left to be done.
    awaited: bool,
    /// The run has ended: nothing more is removed than the log tells of already.
    leaving: bool,
    closing: bool,
    ended: bool,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("part", &self.part).finish_non_exhaustive()
    }
}

impl State {
    fn tell(&mut self, part: PartId, record: Option<Box<Settled>>, picture: Option<Pictured>) {
        if let Some(picture) = &picture {
            match &picture.outcome {
                Outcome::Kept(_) => self.tally.kept += 1,
                Outcome::Missing { missing } => {
                    self.tally.missing += 1;
                    // A part that nobody photographed is no fault of the pictures.
                    let is_fault = missing != NONE;
                    self.missed = is_fault.then(|| (Instant::now(), missing.clone())).or(self.missed.take());
                }
            }
        }
        self.finished.extend(match (record, picture) {
            (Some(settled), picture) => Some(Line::Part(settled, picture)),
            (None, Some(picture)) => Some(Line::Other(Body::picture(Monotonic::now(), part, &picture))),
            (None, None) => None,
        });
    }

    /// Whether something is left to be done.
    fn is_busy(&self) -> bool {
        self.in_hand.is_some() || !self.jobs.is_empty() || self.removing
    }

    /// Jobs at the front that need no disk.
    fn pass_on(&mut self) {
        while self.in_hand.is_none() {
            match self.jobs.pop_front() {
                Some(Job { part, record, picture: Wanted::Nothing, .. }) => self.tell(part, record, None),
                Some(Job { part, record, picture: Wanted::Missing(missing), .. }) => {
                    self.tell(part, record, Some(missing));
                }
                Some(job) => return self.jobs.push_front(job),
                None => return,
            }
        }
    }

    /// Takes the records of all jobs when the oldest has waited for too long, and leaves their pictures.
    fn overtake(&mut self, patience: Duration) {
        let oldest = self.in_hand.as_ref().filter(|job| job.record.is_some()).map(|job| job.since);
        let oldest = oldest.or_else(|| self.jobs.iter().find(|job| job.record.is_some()).map(|job| job.since));
        if oldest.is_none_or(|since| since.elapsed() < patience) {
            return;
        }
        let late = |claim| Some(Pictured::missing(claim, "it is not on disk yet"));
        if let Some(job) = &mut self.in_hand
            && let Some(record) = job.record.take()
        {
            let (part, claim) = (job.part, job.claim);
            self.tell_late(part, record, late(claim));
        }
        for mut job in std::mem::take(&mut self.jobs) {
            match (job.record.take(), &job.picture) {
                (Some(record), Wanted::Frame(claim, _)) => {
                    self.tell_late(job.part, record, late(*claim));
                    self.jobs.push_back(job);
                }
                (None, Wanted::Frame(..)) => self.jobs.push_back(job),
                (record, Wanted::Nothing) => self.tell(job.part, record, None),
                (record, Wanted::Missing(missing)) => self.tell(job.part, record, Some(missing.clone())),
            }
        }
    }

    /// A record without its picture, which is counted when it has got to its own end.
    fn tell_late(&mut self, part: PartId, record: Box<Settled>, picture: Option<Pictured>) {
        let tally = self.tally;
        self.tell(part, Some(record), picture);
        self.tally = tally;
    }
}

#[derive(Debug, Default)]
pub(super) struct Desk {
    state: Mutex<State>,
    work: Condvar,
    settled: Condvar,
}

impl Desk {
    /// What is removed is told to `log` before.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(shelf: Shelf, log: Arc<Log>) -> Result<Arc<Self>> {
        let desk = Arc::new(Desk::default());
        // What runs before left is looked at first.
        desk.state().removing = true;
        let ends = Ends(desk.clone());
        background::spawn("pictures", move || work(&ends.0, shelf, &log))?;
        Ok(desk)
    }

    /// It is whole after every statement, also when a thread panicked while it held it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, job: Job) {
        let mut state = self.state();
        state.jobs.push_back(job);
        state.pass_on();
        drop(state);
        self.work.notify_one();
    }

    pub(super) fn finished(&self) -> Vec<Line> {
        let mut state = self.state();
        let patience = if state.ended { Duration::ZERO } else { PATIENCE };
        state.overtake(patience);
        std::mem::take(&mut state.finished)
    }

    pub(super) fn health(&self) -> std::result::Result<(), String> {
        let state = self.state();
        if state.ended {
            return Err("the thread that writes pictures died".into());
        }
        if state.in_hand.as_ref().is_some_and(|job| job.since.elapsed() >= HANGS) {
            return Err("for 5 s the disk has neither taken a picture nor failed".into());
        }
        if let Some(why) = &state.failure {
            return Err(format!("pictures cannot be kept: {why}"));
        }
        match &state.missed {
            Some((when, why)) if when.elapsed() < TOLD => Err(format!("a picture was not kept: {why}")),
            _ => Ok(()),
        }
    }

    pub(super) fn flush(&self, patience: Duration) -> Vec<Line> {
        let mut state = self.state();
        // What did not get to the disk when it was waited for is not waited for again.
        let patience = if state.leaving { Duration::ZERO } else { patience };
        state.awaited = true;
        loop {
            let before = state.done;
            let waits = |state: &mut State| !state.ended && state.done == before && state.is_busy();
            let waited = self.settled.wait_timeout_while(state, patience, waits);
            let (after, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = after;
            if state.ended || waited.timed_out() || !state.is_busy() {
                state.leaving = true;
                state.overtake(Duration::ZERO);
                return std::mem::take(&mut state.finished);
            }
        }
    }

    /// Whether room is needed now, or somebody waits for what is left to be done.
    fn is_urgent(&self) -> bool {
        let state = self.state();
        state.awaited || state.failure.is_some()
    }

    /// Whether something may be removed; then it is waited for at the end.
    fn may_remove(&self) -> bool {
        let mut state = self.state();
        state.removing = !state.leaving && !state.closing;
        state.removing
    }

    /// A slice of what was to be removed is, and all of it or not; as far as `notes` do not tell otherwise.
    fn removed(&self, is_all: bool, notes: Vec<Body>) {
        let mut state = self.state();
        state.removing = !is_all;
        state.done += 1;
        state.finished.extend(notes.into_iter().map(Line::Other));
        drop(state);
        self.settled.notify_all();
    }

    pub(super) fn tally(&self) -> Tally {
        self.state().tally
    }

    pub(super) fn close(&self) {
        self.state().closing = true;
        self.work.notify_one();
    }
}

/// Tells the desk that the thread has ended, also when it panicked.
struct Ends(Arc<Desk>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.settled.notify_all();
    }
}

/// Pictures that go once the log tells of it.
struct Removal {
    batches: Vec<Batch>,
    /// So many records are on disk then, and signed: who finds a picture gone believes no record that nobody signed.
    told: u64,
    /// What could not be removed so far.
    left: Option<Left>,
}

impl Removal {
    /// Tells the log what is to be removed; `None` where that is nothing, or the log takes no records.
    fn announce(batches: Vec<Batch>, log: &Log) -> Option<Self> {
        let mut removal = None::<Removal>;
        for batch in batches {
            let Some(told) = log.offer(batch.record()) else { break };
            let removal = removal.get_or_insert_with(|| Removal { batches: Vec::new(), told, left: None });
            removal.batches.push(batch);
            removal.told = told;
        }
        removal
    }

    fn is_told(&self, log: &Log) -> bool {
        log.signed() >= self.told
    }

    /// Removes a slice of them; gives what is to be said once all were tried.
    fn go_on(&mut self, shelf: &mut Shelf) -> Option<Vec<Body>> {
        let slice = self.batches.iter_mut().find_map(|batch| batch.split_off(SLICE));
        if let Some(left) = slice.and_then(|slice| shelf.remove(&slice)) {
            let files = left.files + self.left.take().map_or(0, |before| before.files);
            self.left = Some(Left { files, ..left });
        }
        if self.batches.iter().any(|batch| !batch.is_empty()) {
            return None;
        }
        let note = self.left.take().map(|left| {
            let text = format!("{} to be removed, and could not be: {}", were(left.files, "picture"), left.why);
            Body::note(Monotonic::now(), &text)
        });
        Some(note.into_iter().collect())
    }
}

/// Writes pictures until the desk is closed and none waits.
fn work(desk: &Desk, mut shelf: Shelf, log: &Log) {
    let (mut swept, mut signed) = (None::<Instant>, None::<Instant>);
    let mut removal = None::<Removal>;
    loop {
        if let Some(going) = removal.as_mut().filter(|removal| removal.is_told(log)) {
            let end = going.go_on(&mut shelf);
            let is_all = end.is_some();
            if is_all {
                removal = None;
            }
            desk.removed(is_all, end.unwrap_or_default());
        }
        let is_time = || shelf.is_over_full() || swept.is_none_or(|swept| swept.elapsed() >= SWEEP);
        if removal.is_none() && is_time() {
            swept = Some(Instant::now());
            removal = if desk.may_remove() { Removal::announce(shelf.doomed(), log) } else { None };
            if removal.is_none() {
                desk.removed(true, Vec::new());
            }
        }
        let patience = match &removal {
            Some(removal) if removal.is_told(log) => Duration::ZERO,
            Some(removal) => {
                if desk.is_urgent() || signed.is_none_or(|signed| signed.elapsed() >= SIGNING) {
                    signed = Some(Instant::now());
                    log.sign(removal.told);
                }
                TELLING
            }
            None => SWEEP,
        };
        let (part, claim, held) = match next(desk, patience) {
            Next::Picture(part, claim, held) => (part, claim, held),
            Next::Look => continue,
            Next::End => return,
        };
        let stored = shelf.store(part, claim.why, &held.frame);
        drop(held);
        let mut state = desk.state();
        state.failure = stored.as_ref().err().map(|error| error.line());
        let picture = match stored {
            Ok(kept) => Pictured { claim, outcome: Outcome::Kept(kept) },
            Err(error) => Pictured::missing(claim, error.line()),
        };
        state.done += 1;
        state.removing |= shelf.is_over_full();
        if let Some(InHand { part, record, .. }) = state.in_hand.take() {
            state.tell(part, record, Some(picture));
        }
        state.pass_on();
        drop(state);
        desk.settled.notify_all();
    }
}

/// What the thread does next.
enum Next {
    /// It writes a picture.
    Picture(PartId, Claim, Held),
    /// It looks for old ones, or whether it may remove them.
    Look,
    End,
}

/// Waits for something to do, for `patience` at most.
fn next(desk: &Desk, patience: Duration) -> Next {
    let mut state = desk.state();
    loop {
        state.pass_on();
        if let Some(Job { part, record, picture: Wanted::Frame(claim, held), since }) = state.jobs.pop_front() {
            state.in_hand = Some(InHand { part, record, claim, since });
            return Next::Picture(part, claim, held);
        }
        if state.closing {
            return Next::End;
        }
        let (after, waited) = desk.work.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
        state = after;
        if waited.timed_out() {
            return Next::Look;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::pictures::owner::First;
    use crate::config::PicturesConfig;

    #[test]
    fn a_large_removal_shows_that_the_disk_works_before_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let config =
            PicturesConfig { keep_bytes: Some(0), ..PicturesConfig::in_folder(folder.path().join("pictures")) };
        let day = config.folder.join("old/2026-11-01");
        std::fs::create_dir_all(&day).unwrap();
        let pictures = 2 * SLICE + 1;
        (0..pictures).for_each(|part| std::fs::write(day.join(format!("{part:08}-reject.png")), "p").unwrap());
        // A folder of a picture's name is none that can be removed as a file, in the first slice and in another one.
        let stuck = [0, 2 * SLICE - 1].map(|part| day.join(format!("{part:08}-reject.png")));
        for path in &stuck {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        }
        let file = folder.path().join("audit.jsonl");
        std::fs::write(&file, "").unwrap();
        let log = Arc::new(Log::new(10));
        let desk = Desk::start(Shelf::open(&config, &file, First::Unknown, "run").unwrap(), log.clone()).unwrap();
        let mut taken = VecDeque::new();
        while taken.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
            log.queue().take_into(&mut taken);
        }
        let before = desk.state().done;
        taken.clear();
        log.settle(&taken, true);
        let said = desk.flush(Duration::from_secs(60));
        assert_eq!(std::fs::read_dir(&day).unwrap().count(), stuck.len());
        assert!(desk.state().done >= before + 3, "{} slices", desk.state().done - before);
        assert!(
            said.len() == 1 && format!("{said:?}").contains("2 pictures were to be removed, and could not be"),
            "{said:?}"
        );
        desk.close();
    }
}
