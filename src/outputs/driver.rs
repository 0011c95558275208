//! The thread that drives an output: what it shares with those who give it orders, and how it ends.
//!
//! A driver may fail, hang or panic. A failure is tried again, a hang is a fault and holds nobody up, and whatever happened,
//! the last call is the one that brings the output to its role's safe level.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Output;
use crate::health::{self, Health};
use crate::time::Monotonic;
use crate::{Error, panic_text};

/// How often a device that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How long after its last call it is looked whether a device is still there.
const LOOK: Duration = Duration::from_millis(250);

/// What the thread is to do.
#[derive(Debug)]
pub(super) struct State<O> {
    pub(super) orders: O,
    /// It is to end.
    pub(super) stop: bool,
    /// How the last change to the safe level went, once the thread has made it.
    ended: Option<Result<(), String>>,
}

/// Where orders are laid down and taken.
#[derive(Debug)]
pub(super) struct Desk<O> {
    state: Mutex<State<O>>,
    changed: Condvar,
    health: Health,
}

impl<O> Desk<O> {
    /// The state stays usable when a thread panicked while it held it: it is whole after every statement.
    pub(super) fn state(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut O)) {
        self.set(|state| change(&mut state.orders));
    }

    fn set(&self, change: impl FnOnce(&mut State<O>)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits for a change, for `patience` at most.
    pub(super) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State<O>>,
        patience: Option<Duration>,
    ) -> MutexGuard<'a, State<O>> {
        match patience {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0,
        }
    }
}

/// The output, as its thread sees it.
pub(super) struct Driver<O> {
    output: Box<dyn Output>,
    desk: Arc<Desk<O>>,
    retry: Option<Monotonic>,
    called: Monotonic,
}

impl<O> Driver<O> {
    pub(super) fn desk(&self) -> Arc<Desk<O>> {
        self.desk.clone()
    }

    /// When the output, which failed, is tried again.
    pub(super) fn retry(&self) -> Option<Monotonic> {
        self.retry
    }

    /// When it is looked whether the output, which works, is still there.
    pub(super) fn look(&self) -> Option<Monotonic> {
        self.retry.is_none().then(|| self.called + LOOK)
    }

    /// Whether the output is active at its role's safe level.
    pub(super) fn is_active_when_safe(&self) -> bool {
        self.output.role().is_active_when_safe()
    }

    /// Makes a call into the driver, which may never come back.
    pub(super) fn call(&mut self, call: impl FnOnce(&mut dyn Output) -> crate::Result<()>) -> crate::Result<()> {
        self.desk.health.watch(|| call(&mut *self.output))
    }

    /// Switches on or off, until further notice.
    pub(super) fn switch(&mut self, active: bool) -> crate::Result<()> {
        self.call(|output| if active { output.hold() } else { output.release() })
    }

    /// Tells how a call went.
    pub(super) fn note(&mut self, result: &crate::Result<()>) {
        self.called = Monotonic::now();
        match result {
            Ok(()) => {
                self.retry = None;
                self.desk.health.works();
            }
            Err(error) => {
                self.retry = Some(self.called + RETRY);
                if self.desk.health.failed(error.line()) {
                    log::error!("{}", error.report());
                }
            }
        }
    }

    /// The safe level, also after a panic.
    fn last_rest(&mut self) -> Result<(), String> {
        let safe = self.is_active_when_safe();
        match catch_unwind(AssertUnwindSafe(|| self.switch(safe))) {
            Ok(result) => result.map_err(|error| error.line()),
            Err(panic) => Err(format!("it panicked: {}", panic_text(&*panic))),
        }
    }
}

/// The thread, as the rest of the program sees it. Dropping it ends it as [`Driven::end`] does.
#[derive(Debug)]
pub(super) struct Driven<O> {
    desk: Arc<Desk<O>>,
    what: &'static str,
    /// Until when orders keep it from ending.
    busy_until: fn(&O) -> Option<Monotonic>,
    is_ended: bool,
}

impl<O: Send + 'static> Driven<O> {
    /// Starts the thread `name`, which does `work` until it returns. `what` is the output in messages: `the heartbeat`.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(
        (name, what): (&str, &'static str),
        output: Box<dyn Output>,
        orders: O,
        busy_until: fn(&O) -> Option<Monotonic>,
        work: impl FnOnce(&mut Driver<O>) + Send + 'static,
    ) -> crate::Result<Self> {
        let state = Mutex::new(State { orders, stop: false, ended: None });
        let desk = Arc::new(Desk { state, changed: Condvar::new(), health: Health::default() });
        let mut driver = Driver { output, desk: desk.clone(), retry: None, called: Monotonic::now() };
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(&mut driver))) {
                driver.desk.health.failed(format!("its thread panicked: {}", panic_text(&*panic)));
            }
            let ended = driver.last_rest();
            driver.desk.set(|state| state.ended = Some(ended));
        });
        thread.map_err(|error| Error::device(format!("the system gives no thread for {what}")).because(error))?;
        Ok(Driven { desk, what, busy_until, is_ended: false })
    }
}

impl<O> Driven<O> {
    pub(super) fn change(&self, change: impl FnOnce(&mut O)) {
        self.desk.change(change);
    }

    pub(super) fn health(&self, now: Monotonic) -> Result<(), String> {
        self.desk.health.look(now)
    }

    /// Whether the thread has ended, though nobody ended it.
    pub(super) fn is_dead(&self) -> bool {
        let state = self.desk.state();
        state.ended.is_some() && !state.stop
    }

    /// Ends the thread, and waits for it.
    ///
    /// # Errors
    ///
    /// Nobody knows whether the output is safe: that failed, or its driver does not come back.
    pub(super) fn end(mut self) -> Result<(), String> {
        self.is_ended = true;
        self.stop()
    }

    /// A driver that hangs must not keep the rest of the program from ending in good order.
    fn stop(&self) -> Result<(), String> {
        self.desk.set(|state| state.stop = true);
        let mut state = self.desk.state();
        let mut patience = Monotonic::now() + health::PATIENCE;
        loop {
            if let Some(ended) = &state.ended {
                return ended.clone().map_err(|why| format!("{} could not be made safe: {why}", self.what));
            }
            // What keeps it busy may begin only now.
            let busy_until = (self.busy_until)(&state.orders);
            patience = busy_until.map_or(patience, |until| patience.max(until + health::PATIENCE));
            let left = patience.saturating_since(Monotonic::now());
            if left.is_zero() {
                return Err(format!("{}'s driver does not come back: nobody knows whether it is safe", self.what));
            }
            state = self.desk.wait(state, Some(left));
        }
    }
}

impl<O> Drop for Driven<O> {
    fn drop(&mut self) {
        if !self.is_ended
            && let Err(why) = self.stop()
        {
            log::error!("{why}");
        }
    }
}
