//! Between those who have something to write down and the thread that writes: room for so many records.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::record::Body;
use crate::health::{LOOK, Silence};
use crate::time::Monotonic;

/// How often a record is offered again that the log did not take.
const AGAIN: Duration = Duration::from_millis(500);

/// A record that is not on disk yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) body: Body,
    pub(super) since: Monotonic,
}

impl Waiting {
    fn new(body: Body) -> Self {
        Waiting { body, since: Monotonic::now() }
    }
}

/// A record was not taken: there is no room for it. It is counted, and lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// How many records are kept until they are on disk.
    room: usize,
    /// Not taken by the writer yet; a `lost` record among them stands where the lost ones would.
    pub(super) waiting: VecDeque<Waiting>,
    /// Taken by the writer and not yet on disk.
    in_hand: usize,
    /// When the oldest of them came.
    in_hand_since: Option<Monotonic>,
    /// For how long it was seen that the oldest is not on disk.
    silence: Silence,
    /// Refused, and not written down as lost so far.
    lost: usize,
    /// When the first of them was.
    lost_since: Option<Monotonic>,
    /// All that were ever refused.
    pub(super) refused: usize,
    /// All that are on disk.
    pub(super) on_disk: u64,
    /// Those of them that the newest checkpoint on disk signs, as far as that is known; all where nothing is signed.
    signed: u64,
    /// So many are to be signed at once: somebody waits for it.
    to_sign: u64,
    /// Why the last attempt to write failed, while it lasts.
    pub(super) failure: Option<String>,
    /// Why the log's file could not be closed when it was time to; what is written goes on in it.
    pub(super) unclosed: Option<String>,
    /// What is to be said where the log's file does not bear its name any more; what is written goes on in it.
    pub(super) astray: Option<String>,
    /// Pieces of a file without a name that are kept by now.
    pub(super) kept: u64,
    /// Nothing more comes.
    pub(super) closing: bool,
    /// Somebody waited for that.
    awaited: bool,
    /// The writer's thread has ended.
    pub(super) ended: bool,
}

impl Queue {
    /// Records that were accepted and are not on disk.
    pub(super) fn open(&self) -> usize {
        self.waiting.len() + self.in_hand
    }

    pub(super) fn has_room(&self) -> bool {
        !self.ended && self.open() < self.room
    }

    fn put(&mut self, body: Body) -> Result<(), Refused> {
        if self.closing || !self.has_room() {
            self.refused += 1;
            self.lost += 1;
            self.lost_since.get_or_insert_with(Monotonic::now);
            return Err(Refused);
        }
        self.waiting.push_back(Waiting::new(body));
        Ok(())
    }

    /// Takes a record that may as well come later, or never: half of the room is for others. Gives its number among all that were taken, or
    /// `None` for one that was not.
    fn offer(&mut self, body: Body) -> Option<u64> {
        let is_open = !self.closing && !self.ended && self.failure.is_none() && 2 * self.open() < self.room;
        is_open.then(|| self.waiting.push_back(Waiting::new(body)))?;
        Some(self.on_disk + self.open() as u64)
    }

    /// Whether somebody waits for a checkpoint that is not on disk yet.
    pub(super) fn awaits_signature(&self) -> bool {
        self.to_sign > self.signed
    }

    /// Moves what waits to the end of `batch`, which the writer has in hand from now on.
    pub(super) fn take_into(&mut self, batch: &mut VecDeque<Waiting>) {
        batch.append(&mut self.waiting);
        self.hold(batch);
    }

    fn hold(&mut self, batch: &VecDeque<Waiting>) {
        self.in_hand = batch.len();
        self.in_hand_since = batch.front().map(|oldest| oldest.since);
    }

    fn oldest(&self) -> Option<Monotonic> {
        self.in_hand_since.or_else(|| self.waiting.front().map(|oldest| oldest.since))
    }

    fn health(&mut self, patience: Duration, now: Monotonic) -> Result<(), String> {
        let silent = self.oldest().map(|since| self.silence.look(since, now));
        if let Some(why) = &self.failure {
            return Err(why.clone());
        }
        if self.lost > 0 {
            // How many is for the `lost` record: here it would be news with every further one.
            return Err("records found no room".into());
        }
        if silent.is_some_and(|silent| silent >= patience) {
            return Err(silence(patience));
        }
        match (&self.astray, &self.unclosed) {
            (Some(told), _) => Err(told.clone()),
            (None, Some(why)) => Err(format!("the file cannot be closed, and grows on: {why}")),
            (None, None) => Ok(()),
        }
    }
}

/// What is wrong with a disk that neither writes nor fails.
pub(super) fn silence(patience: Duration) -> String {
    format!("for {} s the disk has neither taken what was written nor failed", patience.as_secs_f64())
}

#[derive(Debug)]
pub(super) struct Desk {
    queue: Mutex<Queue>,
    /// Something waits, or the queue was closed.
    pub(super) work: Condvar,
    /// Records reached the disk, or the writer's thread ended.
    pub(super) settled: Condvar,
}

impl Desk {
    /// With room for so many records.
    pub(super) fn new(room: usize) -> Self {
        let queue = Mutex::new(Queue { room, ..Queue::default() });
        Desk { queue, work: Condvar::new(), settled: Condvar::new() }
    }

    /// The queue stays usable when a thread panicked while it held it: it is whole after every statement.
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, body: Body) -> Result<(), Refused> {
        let taken = self.queue().put(body);
        self.work.notify_one();
        taken
    }

    /// Takes the record behind which nothing comes: the queue is closed with it.
    pub(super) fn put_last(&self, body: Body) -> Result<(), Refused> {
        let mut queue = self.queue();
        let taken = queue.put(body);
        queue.closing = true;
        drop(queue);
        self.work.notify_one();
        taken
    }

    /// Takes a record, if the disk takes what is written; nothing is lost, and nobody told, if not. Once [`Desk::on_disk`] is as much as
    /// the number that is given back, the record is on disk; once [`Desk::signed`] is, it is signed as well.
    pub(super) fn offer(&self, body: Body) -> Option<u64> {
        let number = self.queue().offer(body);
        self.work.notify_one();
        number
    }

    /// Gives a record that nobody may miss who reads the log later, and waits until it is on disk and, in a log that is signed, so is a
    /// checkpoint that covers it, in the file that bears the log's name; `false` where the log ends before that. While the disk takes nothing it
    /// is not given.
    pub(super) fn tell(&self, body: &Body) -> bool {
        let mut queue = self.queue();
        let mut number = None;
        loop {
            // A file that lost its name may be lost with what it tells.
            if number.is_none() && queue.astray.is_none() {
                number = queue.offer(body.clone());
                queue.to_sign = queue.to_sign.max(number.unwrap_or_default());
                self.work.notify_one();
            }
            match number {
                Some(number) if queue.signed >= number && queue.astray.is_none() => return true,
                _ if queue.ended => return false,
                None if queue.closing => return false,
                _ => {}
            }
            queue = self.settled.wait_timeout(queue, AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Has so many of all records signed before the next minute is over: somebody waits for that.
    pub(super) fn sign(&self, records: u64) {
        let mut queue = self.queue();
        queue.to_sign = queue.to_sign.max(records);
        drop(queue);
        self.work.notify_one();
    }

    /// So many records are on disk, and a checkpoint there signs them; in a log that nobody signs, they are on disk.
    pub(super) fn signed(&self) -> u64 {
        self.queue().signed
    }

    /// So many records are on disk.
    pub(super) fn on_disk(&self) -> u64 {
        self.queue().on_disk
    }

    pub(super) fn health(&self, patience: Duration) -> Result<(), String> {
        self.queue().health(patience, Monotonic::now())
    }

    /// Of what the writer had in hand, only `batch` is not on disk yet. `is_signed`: nothing on disk is without a signature that is to have one.
    pub(super) fn settle(&self, batch: &VecDeque<Waiting>, is_signed: bool) {
        let mut queue = self.queue();
        queue.on_disk += (queue.in_hand - batch.len()) as u64;
        if is_signed {
            queue.signed = queue.on_disk;
        }
        queue.hold(batch);
        // There is room again for the first time since records were refused: this is their place in the chain.
        if queue.lost > 0 && queue.open() < queue.room {
            let since = queue.lost_since.take().unwrap_or_else(Monotonic::now);
            let lost = std::mem::take(&mut queue.lost);
            queue.waiting.push_back(Waiting::new(Body::lost(Monotonic::now(), lost, since)));
        }
        drop(queue);
        self.settled.notify_all();
    }

    /// Closes the queue and waits until the writer has ended, as long as records reach the disk at least every `patience`: a
    /// disk that hangs must not keep the program. Of a time in which the whole program stood still, little counts. A second call does nothing.
    pub(super) fn close(&self, patience: Duration) {
        let mut queue = self.queue();
        if std::mem::replace(&mut queue.awaited, true) {
            return;
        }
        queue.closing = true;
        self.work.notify_one();
        let mut silent = Duration::ZERO;
        while !queue.ended && silent < patience {
            let (before, look) = ((queue.open(), queue.kept), LOOK.min(patience - silent));
            let stands_still = |queue: &mut Queue| !queue.ended && (queue.open(), queue.kept) == before;
            let waited = self.settled.wait_timeout_while(queue, look, stands_still);
            let (after, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = after;
            silent = if waited.timed_out() { silent + look } else { Duration::ZERO };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_come_later_takes_no_room_from_what_may_not() {
        let desk = Desk::new(4);
        let body = || Body::note(Monotonic::now(), "n");
        assert_eq!([desk.offer(body()), desk.offer(body()), desk.offer(body())], [Some(1), Some(2), None]);
        assert_eq!([desk.put(body()), desk.put(body()), desk.put(body())], [Ok(()), Ok(()), Err(Refused)]);
        assert_eq!(Desk::new(1).offer(body()), Some(1), "and yet it comes at all");
    }

    #[test]
    fn nothing_comes_behind_the_last_record() {
        let desk = Desk::new(4);
        let body = || Body::note(Monotonic::now(), "n");
        assert_eq!([desk.put(body()), desk.put_last(body())], [Ok(()), Ok(())]);
        assert_eq!((desk.put(body()), desk.offer(body()), desk.tell(&body())), (Err(Refused), None, false));
        let queue = desk.queue();
        assert_eq!((queue.open(), queue.refused), (2, 1));
    }

    #[test]
    fn a_disk_is_not_blamed_for_the_time_in_which_the_program_stood_still() {
        let (desk, patience) = (Desk::new(4), Duration::from_secs(5));
        desk.put(Body::note(Monotonic::now(), "n")).unwrap();
        let since = desk.queue().oldest().unwrap();
        let look = |ms: u64| desk.queue().health(patience, since + Duration::from_millis(ms)).is_ok();
        assert!(look(25) && look(60_000), "it stood still for a minute");
        assert!((60_025..63_950).step_by(25).all(look), "a second of it counts, and what was looked at");
        assert!(!look(64_050), "a disk that hangs is found out all the same");
    }
}
