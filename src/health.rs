//! How a device does: what the thread that drives it says, and what is seen when that thread does not come back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::Monotonic;

/// How long a call into a driver may take. Those that wait for something wait for much less.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// A device's health, told by its thread and read by whoever wants to know.
#[derive(Debug, Default)]
pub struct Health {
    told: Mutex<Told>,
    /// When the call into the driver began that the thread makes now, in nanoseconds; 0 between calls.
    calling_since: AtomicU64,
}

#[derive(Debug, Default)]
struct Told {
    failure: Option<String>,
    /// A failure that nobody has looked at, which may be over.
    unseen: Option<String>,
}

impl Health {
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
        let since = self.calling_since.load(Ordering::Relaxed);
        if since != 0 && now.saturating_since(Monotonic::from_nanos(since)) >= PATIENCE {
            return Err(format!("its driver has not come back for {} s", PATIENCE.as_secs()));
        }
        let mut told = self.told();
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
        assert_eq!(health.look(later()), Ok(()), "no call is made");
        let during = health.watch(|| [health.look(Monotonic::now()), health.look(later())]);
        assert_eq!(during, [Ok(()), Err("its driver has not come back for 3 s".into())]);
        assert_eq!(health.look(later()), Ok(()));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| health.watch(|| panic!("a bug"))));
        assert!(panicked.is_err());
        assert_eq!(health.look(later()), Ok(()), "a panic came back");
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
