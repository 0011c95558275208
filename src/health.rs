//! How a device does: what the thread that drives it says, and what is seen when that thread does not come back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::Monotonic;

/// How long a call into a driver may take. Those that wait for something wait for much less.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// How long an inspection may take: a large network needs seconds on a small board, and parts that it is too late for are rejected.
const INSPECTION_PATIENCE: Duration = Duration::from_secs(10);
/// A look counts for so long at most. Whoever looks does so every few milliseconds: what is longer, the whole program stood still
/// (SIGSTOP, a starved machine), and the driver's thread with it.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// A device's health, told by its thread and read by whoever wants to know.
#[derive(Debug)]
pub struct Health {
    told: Mutex<Told>,
    patience: Duration,
    /// What is said of a call that does not come back for so long.
    hangs: &'static str,
    /// When the call into the driver began that the thread makes now, in nanoseconds; 0 between calls.
    calling_since: AtomicU64,
}

#[derive(Debug, Default)]
struct Told {
    failure: Option<String>,
    /// A failure that nobody has looked at, which may be over.
    unseen: Option<String>,
    silence: Silence,
}

/// For how long it was seen that something does not come back: a call into a driver, or what was given to a disk.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    since: Monotonic,
    looked: Monotonic,
    seen: Duration,
}

impl Silence {
    /// Looks at `now` at what has been awaited `since` then.
    pub(crate) fn look(&mut self, since: Monotonic, now: Monotonic) -> Duration {
        if since != self.since {
            *self = Silence { since, looked: since, seen: Duration::ZERO };
        }
        self.seen += now.saturating_since(self.looked).min(LOOK);
        self.looked = now;
        self.seen
    }
}

impl Default for Health {
    /// Of a device behind a driver.
    fn default() -> Self {
        Health::new(PATIENCE, "its driver has not come back for 3 s")
    }
}

impl Health {
    fn new(patience: Duration, hangs: &'static str) -> Self {
        Health { told: Mutex::default(), patience, hangs, calling_since: AtomicU64::new(0) }
    }

    /// Of what judges parts.
    pub(crate) fn of_inspection() -> Self {
        Health::new(
            INSPECTION_PATIENCE,
            "it has not come back for 10 s: look at the machine's memory and temperature, and start the program again if it does not",
        )
    }

    /// Makes a call into the driver, which may never come back.
    pub fn watch<T>(&self, call: impl FnOnce() -> T) -> T {
        /// A call that panics has come back too.
        struct Call<'h>(&'h AtomicU64);
        impl Drop for Call<'_> {
            fn drop(&mut self) {
                self.0.store(0, Ordering::Relaxed);
            }
        }
        self.calling_since.store(Monotonic::now().as_nanos(), Ordering::Relaxed);
        let _call = Call(&self.calling_since);
        call()
    }

    /// The device failed for the reason given. Says whether it worked before.
    pub fn failed(&self, why: String) -> bool {
        let mut told = self.told();
        told.unseen = Some(why.clone());
        told.failure.replace(why).is_none()
    }

    /// The device works.
    pub fn works(&self) {
        self.told().failure = None;
    }

    /// Looks how the device does at `now`.
    ///
    /// # Errors
    ///
    /// Why it does not work, or did not since the last look.
    pub fn look(&self, now: Monotonic) -> Result<(), String> {
        let call = self.calling_since.load(Ordering::Relaxed);
        let mut told = self.told();
        if call != 0 && told.silence.look(Monotonic::from_nanos(call), now) >= self.patience {
            return Err(self.hangs.to_owned());
        }
        let unseen = told.unseen.take();
        told.failure.clone().or(unseen).map_or(Ok(()), Err)
    }

    /// What was told is whole after every statement, also when a thread panicked while it held it.
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_does_not_come_back_is_a_failure_until_it_does() {
        let health = Health::default();
        let later = || Monotonic::now() + PATIENCE;
        let hangs = Err("its driver has not come back for 3 s".to_owned());
        assert_eq!(health.look(later()), Ok(()), "no call is made");
        health.watch(|| {
            let began = Monotonic::now();
            let look = |ms| health.look(began + Duration::from_millis(ms));
            (0..2950).step_by(25).for_each(|ms| assert_eq!(look(ms), Ok(()), "after {ms} ms"));
            assert_eq!(look(3025), hangs);
            assert_eq!(look(3050), hangs, "as long as it does");
        });
        assert_eq!(health.look(later()), Ok(()));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| health.watch(|| panic!("a bug"))));
        assert!(panicked.is_err());
        assert_eq!(health.look(later()), Ok(()), "a panic came back");
    }

    #[test]
    fn a_driver_is_not_blamed_for_the_time_in_which_nobody_looked() {
        let health = Health::default();
        let [first, second, third] = health.watch(|| {
            let began = Monotonic::now();
            [60, 120, 180].map(|seconds| health.look(began + Duration::from_secs(seconds)))
        });
        assert_eq!((first, second), (Ok(()), Ok(())), "the program stood still, twice");
        assert!(third.is_err(), "also who looks seldom notices it in the end");
    }

    #[test]
    fn what_the_thread_says_holds_until_it_says_otherwise() {
        let health = Health::default();
        assert!(health.failed("unplugged".into()) && !health.failed("still unplugged".into()));
        assert_eq!(health.look(Monotonic::now()), Err("still unplugged".into()));
        health.works();
        assert_eq!(health.look(Monotonic::now()), Ok(()));
        health.failed("for a moment".into());
        health.works();
        assert_eq!(health.look(Monotonic::now()), Err("for a moment".into()), "a failure that is over is told once");
        assert_eq!(health.look(Monotonic::now()), Ok(()));
    }
}
