//! Which pixels decisions were made from: the digest of each frame that was looked at, whether its picture is kept or not.
//!
//! A thread of its own computes them after the verdict, since SHA-256 of a large picture takes as long as a part of its inspection where
//! the processor has no instructions for it. Parts' records wait here for theirs, in the order of their fates.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::background;
use super::pictures::Pictured;
use super::record::{Body, PartContext};
use super::seen::Seen;
use crate::Result;
use crate::digest::Digest;
use crate::line::{PartRecord, Ticket};

/// A record waits so long after its part's fate; then it is written without what is not there.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of pixels that may wait for their digest, beside a burst of frames of any size.
const ROOM: usize = 64 << 20;
/// So many frames: several cameras may be triggered at once.
const BURST: usize = 16;
/// So many frames' digests are remembered, of 32 bytes each: more than wait between a camera and its ejector.
const REMEMBERED: usize = 4096;
/// So long a digest that is missing is a fault.
const TOLD: Duration = Duration::from_secs(1);

/// A part whose fate is settled.
#[derive(Debug, Clone)]
pub(super) struct Settled {
    pub(super) record: PartRecord,
    pub(super) context: PartContext,
    /// When it was.
    pub(super) at: Instant,
}

impl Settled {
    pub(super) fn new(record: &PartRecord, context: PartContext) -> Self {
        Settled { record: record.clone(), context, at: Instant::now() }
    }
}

/// What is to be written, in its order.
#[derive(Debug)]
pub(super) enum Line {
    /// A part, and what is said of its picture.
    Part(Box<Settled>, Option<Pictured>),
    /// Something that needs no digest.
    Other(Body),
}

#[derive(Debug, Default)]
struct State {
    /// Frames without their digest so far; the first of them may be in the thread's hands.
    jobs: VecDeque<(Ticket, Seen)>,
    /// Bytes of their pixels.
    bytes: usize,
    /// `None` for those that wait.
    digests: BTreeMap<Ticket, Option<Digest>>,
    lines: VecDeque<Line>,
    /// When a frame last found no room.
    missed: Option<Instant>,
    closing: bool,
    ended: bool,
}

impl State {
    fn take(&mut self, ticket: Ticket, frame: Seen, size: usize) {
        if self.ended || (self.jobs.len() >= BURST && self.bytes + size > ROOM) {
            self.missed = Some(Instant::now());
            return;
        }
        self.bytes += size;
        self.jobs.push_back((ticket, frame));
        self.digests.insert(ticket, None);
        // Tickets rise with time.
        while self.digests.len() > REMEMBERED {
            self.digests.pop_first();
        }
    }

    fn awaits(&self, line: &Line) -> bool {
        let waits = |ticket| matches!(self.digests.get(&ticket), Some(None));
        match line {
            Line::Part(settled, _) if settled.at.elapsed() < PATIENCE && !self.ended => {
                let record = &settled.record;
                record.ticket.into_iter().chain(record.views.iter().map(|view| view.ticket)).any(waits)
            }
            Line::Part(..) | Line::Other(_) => false,
        }
    }

    fn next(&mut self) -> Option<Body> {
        if self.awaits(self.lines.front()?) {
            return None;
        }
        let line = self.lines.pop_front()?;
        Some(self.body(line))
    }

    fn body(&self, line: Line) -> Body {
        match line {
            Line::Part(settled, picture) => {
                let digest = |ticket| self.digests.get(&ticket).copied().flatten();
                Body::part(&settled.record, settled.context, picture.as_ref(), digest)
            }
            Line::Other(body) => body,
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    settled: Condvar,
}

impl Shared {
    /// It is whole after every statement, also when a thread panicked while it held it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes digests until the run has ended; then those that nobody waits for are left.
    fn work(&self) {
        let mut state = self.state();
        while !state.closing {
            let Some((ticket, frame)) = state.jobs.front().cloned() else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let digest = frame.pixels_sha256();
            state = self.state();
            state.jobs.pop_front();
            state.bytes -= size(&frame);
            if let Some(known) = state.digests.get_mut(&ticket) {
                *known = digest;
            }
            self.settled.notify_all();
        }
    }
}

/// Bytes of the pixels; 0 where there are none.
fn size(frame: &Seen) -> usize {
    frame.shot().image().map_or(0, |image| image.as_raw().len())
}

/// Tells that the thread has ended, also when it panicked.
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.settled.notify_all();
    }
}

/// The run's frames, and the records that wait for their digests.
#[derive(Debug)]
pub(super) struct Looks(Arc<Shared>);

impl Looks {
    /// Starts the thread that computes digests.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start() -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let ends = Ends(shared.clone());
        background::spawn("digests", move || ends.0.work())?;
        Ok(Looks(shared))
    }

    /// A frame came, of a part that is still open.
    pub(super) fn saw(&self, ticket: Ticket, frame: &Seen) {
        let size = size(frame);
        if size > 0 {
            self.0.state().take(ticket, frame.clone(), size);
            self.0.work.notify_one();
        }
    }

    /// What comes next, after all that was given before.
    pub(super) fn put(&self, lines: impl IntoIterator<Item = Line>) {
        self.0.state().lines.extend(lines);
    }

    /// Records that can be written now; waits for nothing.
    pub(super) fn finished(&self) -> Vec<Body> {
        let mut state = self.0.state();
        std::iter::from_fn(|| state.next()).collect()
    }

    /// All records: each waits no longer than it would have.
    pub(super) fn flush(&self) -> Vec<Body> {
        let mut state = self.0.state();
        let mut bodies = Vec::new();
        loop {
            bodies.extend(std::iter::from_fn(|| state.next()));
            let Some(Line::Part(settled, _)) = state.lines.front() else { return bodies };
            let left = PATIENCE.saturating_sub(settled.at.elapsed());
            (state, _) = self.0.settled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// # Errors
    ///
    /// Why there are frames whose digest is on no record.
    pub(super) fn health(&self) -> std::result::Result<(), String> {
        let state = self.0.state();
        match state.missed {
            _ if state.ended => Err("the thread that computes the digests of frames died".into()),
            Some(when) if when.elapsed() < TOLD => {
                Err("a part's record has no digest of its frame: frames come faster than digests are computed".into())
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        self.0.state().closing = true;
        self.0.work.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;
    use crate::audit::tests::settled;
    use crate::camera::{BrokenFrame, Flaw, Frame, Remains, Shot};
    use crate::line::{Length, View};
    use crate::time::{Monotonic, StampSource};

    fn shot(image: RgbImage) -> Seen {
        let (captured, stamp, origin) = (Monotonic::now(), StampSource::Received, String::new());
        let frame = Frame { number: 0, captured, stamp, origin, product: None, image, original: None };
        Seen::new(Shot::Whole(Arc::new(frame)))
    }

    fn part(number: u64, views: &[u64]) -> Line {
        let (captured, offset) = (Monotonic::now(), Length::from_mm(0.0));
        let view =
            |ticket: &u64| View { ticket: Ticket(*ticket), frame: *ticket, captured, offset, outcome: Some(Ok(1.0)) };
        let mut record = settled(number);
        record.ticket = Some(Ticket(number));
        record.views = views.iter().map(view).collect();
        Line::Part(Box::new(Settled::new(&record, PartContext { bundle: Digest::zero(), dry_run: false })), None)
    }

    fn record(body: &Body) -> serde_json::Value {
        serde_json::from_str(&body.0).unwrap()
    }

    #[test]
    fn records_wait_for_the_digests_of_all_their_frames_and_keep_their_order() {
        let looks = Looks::start().unwrap();
        let large = RgbImage::from_fn(3000, 2000, |x, y| image::Rgb([x as u8, y as u8, 1]));
        let small = RgbImage::from_pixel(4, 3, image::Rgb([1, 2, 3]));
        looks.saw(Ticket(1), &shot(large.clone()));
        looks.saw(Ticket(2), &shot(small.clone()));
        looks.put([part(1, &[1, 2, 3]), Line::Other(Body::note(Monotonic::now(), "news")), part(9, &[])]);
        let bodies = looks.flush();
        let records = bodies.iter().map(record).collect::<Vec<_>>();
        assert_eq!(records.iter().map(|record| &record["kind"]).collect::<Vec<_>>(), ["part", "note", "part"]);
        let digest = |image: &RgbImage| serde_json::Value::from(Digest::of(image.as_raw()).to_string());
        assert_eq!(records[0]["pixels_sha256"], digest(&large));
        assert_eq!(records[0]["frames"][0]["pixels_sha256"], digest(&large));
        assert_eq!(records[0]["frames"][1]["pixels_sha256"], digest(&small));
        assert!(records[0]["frames"][2]["pixels_sha256"].is_null(), "nobody saw that frame");
        assert!(records[2].as_object().unwrap().contains_key("pixels_sha256") && records[2]["pixels_sha256"].is_null());
        looks.health().unwrap();
    }

    #[test]
    fn a_frame_that_finds_no_room_or_has_no_pixels_is_written_down_without_its_digest() {
        let looks = Looks::start().unwrap();
        // Whoever holds the state keeps the thread from it, so that all of these frames wait.
        let mut state = looks.0.state();
        let pixels = RgbImage::new(1, 1);
        let burst = BURST as u64;
        (100..100 + burst).for_each(|ticket| state.take(Ticket(ticket), shot(pixels.clone()), ROOM));
        assert!(state.missed.is_none(), "a burst of any size is taken");
        state.take(Ticket(1), shot(pixels.clone()), 3);
        assert!(state.missed.is_some() && !state.digests.contains_key(&Ticket(1)));
        // What they really take.
        state.bytes = 3 * BURST;
        drop(state);
        assert!(looks.health().is_err_and(|why| why.contains("has no digest")));
        let (remains, captured, stamp) = (Remains::default(), Monotonic::now(), StampSource::Received);
        let (origin, why) = (String::new(), String::new());
        let broken = BrokenFrame { number: 2, captured, stamp, origin, flaw: Flaw::Damaged, why, remains };
        looks.saw(Ticket(2), &Seen::new(Shot::Broken(Arc::new(broken))));
        looks.put([part(1, &[]), part(2, &[])]);
        assert!(looks.flush().iter().all(|body| record(body)["pixels_sha256"].is_null()));
    }

    #[test]
    fn a_digest_that_does_not_come_is_waited_for_no_longer_than_said() {
        let looks = Looks::start().unwrap();
        looks.0.state().digests.insert(Ticket(5), None);
        looks.put([part(5, &[])]);
        assert!(looks.finished().is_empty());
        let Line::Part(mut late, picture) = looks.0.state().lines.pop_front().unwrap() else { panic!("a part") };
        late.at -= PATIENCE;
        looks.put([Line::Part(late, picture)]);
        assert_eq!(looks.finished().len(), 1);
    }
}
