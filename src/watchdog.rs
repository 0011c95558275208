//! Whether a thread has come back from a device's driver: a call into the kernel may never return.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Monotonic;

/// How long a call into a driver may take. Those that wait for something wait for much less.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Marks a call that somebody was told of. Nanoseconds since the machine's start do not reach this bit for 292 years.
const TOLD: u64 = 1 << 63;

/// Holds when the call into a driver began that a thread makes now; 0 between calls.
#[derive(Debug, Default)]
pub struct Watchdog(AtomicU64);

impl Watchdog {
    /// Makes a call into a driver; the second value is whether [`Watchdog::barks`] took it for hung meanwhile.
    pub fn watch<T>(&self, call: impl FnOnce() -> T) -> (T, bool) {
        self.0.store(Monotonic::now().as_nanos(), Ordering::SeqCst);
        let result = call();
        (result, self.0.swap(0, Ordering::SeqCst) & TOLD != 0)
    }

    /// Whether a call has not come back for [`PATIENCE`]; says so once per call.
    pub fn barks(&self, now: Monotonic) -> bool {
        let since = self.0.load(Ordering::SeqCst);
        let is_quiet = since == 0 || since & TOLD != 0;
        if is_quiet || now.saturating_since(Monotonic::from_nanos(since)) < PATIENCE {
            return false;
        }
        // The thread that comes back right now either sees the mark, or has come back before there was one.
        self.0.compare_exchange(since, since | TOLD, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_come_back_is_told_of_once_and_knows_it() {
        let dog = Watchdog::default();
        let later = Monotonic::now() + PATIENCE * 2;
        assert!(!dog.barks(later), "no call is made");
        let (barks, told) = dog.watch(|| [dog.barks(Monotonic::now()), dog.barks(later), dog.barks(later)]);
        assert_eq!(barks, [false, true, false]);
        assert!(told);
        assert_eq!(dog.watch(|| ()), ((), false), "the next call begins anew");
    }
}
