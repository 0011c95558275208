//! The thread that acts on the ejector at the right moment.
//!
//! It sleeps on CLOCK_MONOTONIC to each deadline, and wakes early for a nearer one. What is due when is decided by
//! [`Schedule`], which has neither clock nor thread.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Output;
use crate::line::PartId;
use crate::panic_text;
use crate::time::Monotonic;
use crate::watchdog::{self, Watchdog};

/// The last stretch before a deadline is slept without listening for new orders: waking twice costs more than it brings.
const LAST_STRETCH: Duration = Duration::from_millis(2);
/// How often a device that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How often the thread's end is looked for.
const GLANCE: Duration = Duration::from_millis(2);

/// An order to reject a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The part.
    pub part: PartId,
    /// When the output acts; at once if that has passed.
    pub at: Monotonic,
    /// After this moment the order is void: another part would be hit.
    pub latest: Monotonic,
    /// For how long the output acts.
    pub pulse: Duration,
}

/// What the output must do, and when: parts that are to be rejected, and the end of the pulse that lasts.
#[derive(Debug, Default)]
struct Schedule {
    parts: BTreeMap<(Monotonic, PartId), Order>,
    /// When the pulse that lasts is over.
    release: Option<Monotonic>,
}

/// One step of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Activate(PartId),
    /// It is too late for this order.
    Void(Order),
    Release,
}

impl Schedule {
    fn add(&mut self, order: Order) {
        self.parts.insert((order.at, order.part), order);
    }

    fn next(&self) -> Option<Monotonic> {
        let part = self.parts.first_key_value().map(|((at, _), _)| *at);
        part.into_iter().chain(self.release).min()
    }

    /// Takes the next step that is due at `now`. A part that is due before the pulse ends extends it.
    fn take(&mut self, now: Monotonic) -> Option<Step> {
        if let Some(entry) = self.parts.first_entry()
            && entry.key().0 <= now
        {
            let order = entry.remove();
            if order.latest < now {
                return Some(Step::Void(order));
            }
            // The pulse keeps its length even when it begins late.
            let ends = order.at.max(now) + order.pulse;
            self.release = self.release.max(Some(ends));
            return Some(Step::Activate(order.part));
        }
        self.release.take_if(|ends| *ends <= now).map(|_| Step::Release)
    }
}

/// What the firing thread reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The output acted on the part at that moment, or failed to.
    Fired(PartId, Result<Monotonic, String>),
    /// The output failed.
    Fault(String),
    /// The output works again.
    Recovered,
    /// The thread panicked, for the reason given: nothing will act any more.
    Died(String),
}

#[derive(Debug, Default)]
struct Orders {
    schedule: Schedule,
    set_safe: bool,
    stop: bool,
}

#[derive(Debug, Default)]
struct Desk {
    orders: Mutex<Orders>,
    changed: Condvar,
    /// Is shown every call into the output's driver.
    watchdog: Watchdog,
}

impl Desk {
    /// The orders stay usable when a thread panicked while it held them: they are whole after every statement.
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders());
        self.changed.notify_one();
    }
}

/// The firing thread. Dropping it lets the pulse that lasts have its length, drops orders that are not due yet, releases the
/// output and ends the thread.
#[derive(Debug)]
pub struct Firing {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Firing {
    /// Starts the thread. `prepare` runs first on it (to ask for real-time scheduling); `report` is called on it.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(
        output: Box<dyn Output>,
        prepare: impl FnOnce() + Send + 'static,
        mut report: impl FnMut(Report) + Send + 'static,
    ) -> crate::Result<Self> {
        let desk = Arc::new(Desk::default());
        let shared = desk.clone();
        let thread = std::thread::Builder::new().name("firing".into()).spawn(move || {
            let output = Released(output);
            let work = AssertUnwindSafe(|| {
                prepare();
                Worker { output, report: &mut report, failed: None }.work(&shared);
            });
            if let Err(panic) = catch_unwind(work) {
                report(Report::Died(panic_text(&*panic).to_owned()));
            }
        });
        let thread =
            thread.map_err(|error| crate::Error::device("the system gives no thread for the output").because(error))?;
        Ok(Firing { desk, thread: Some(thread) })
    }

    /// Takes an order; what became of it is reported.
    pub fn fire(&self, order: Order) {
        self.desk.change(|orders| orders.schedule.add(order));
    }

    /// Whether the output's driver has not come back for a while; says so once per call into it.
    pub fn hangs(&self, now: Monotonic) -> bool {
        self.desk.watchdog.barks(now)
    }

    /// Forgets all that was to fire and releases the output.
    pub fn set_safe(&self) {
        self.desk.change(|orders| {
            orders.schedule = Schedule::default();
            orders.set_safe = true;
        });
    }
}

impl Firing {
    /// As dropping it does.
    ///
    /// # Errors
    ///
    /// The output's driver does not come back; nobody knows whether the output is released.
    pub fn end(mut self) -> Result<(), String> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), String> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let mut lasts = None;
        self.desk.change(|orders| {
            orders.stop = true;
            lasts = orders.schedule.release;
        });
        // A driver that hangs must not keep the rest of the program from ending in good order.
        let now = Monotonic::now();
        let patience = lasts.map_or(now, |ends| ends.max(now)) + watchdog::PATIENCE;
        while !thread.is_finished() {
            if Monotonic::now() > patience {
                return Err(
                    "the output's driver does not come back: whether the output is released is not known".into()
                );
            }
            std::thread::sleep(GLANCE);
        }
        // A panic was reported by the thread itself.
        let _ = thread.join();
        Ok(())
    }
}

impl Drop for Firing {
    fn drop(&mut self) {
        if let Err(why) = self.stop() {
            log::error!("{why}");
        }
    }
}

/// An output that is released when it goes out of scope, also by a panic.
struct Released(Box<dyn Output>);

impl Drop for Released {
    fn drop(&mut self) {
        if let Err(error) = self.0.release() {
            log::error!("output {} could not be released: {}", self.0.name(), error.report());
        }
    }
}

struct Worker<'a, R> {
    output: Released,
    report: &'a mut R,
    /// When the failed output is tried again.
    failed: Option<Monotonic>,
}

impl<R: FnMut(Report)> Worker<'_, R> {
    fn work(mut self, desk: &Desk) {
        let mut orders = desk.orders();
        loop {
            if orders.stop {
                orders.schedule.parts.clear();
                // A pulse that is cut short moves nothing, though its part is on record as rejected.
                if orders.schedule.release.is_none() {
                    return;
                }
            }
            let now = Monotonic::now();
            if std::mem::take(&mut orders.set_safe) {
                drop(orders);
                self.release(desk);
                orders = desk.orders();
                continue;
            }
            if let Some(step) = orders.schedule.take(now) {
                drop(orders);
                self.step(step, desk);
                orders = desk.orders();
                continue;
            }
            if self.failed.is_some_and(|retry| retry <= now) {
                drop(orders);
                self.release(desk);
                orders = desk.orders();
                continue;
            }
            let next = orders.schedule.next().into_iter().chain(self.failed).min();
            orders = match next.map(|at| (at, at.saturating_since(now))) {
                Some((at, left)) if left <= LAST_STRETCH => {
                    drop(orders);
                    at.sleep_until();
                    desk.orders()
                }
                Some((_, left)) => {
                    let waited = desk.changed.wait_timeout(orders, left - LAST_STRETCH);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => desk.changed.wait(orders).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn step(&mut self, step: Step, desk: &Desk) {
        match step {
            Step::Release => self.release(desk),
            Step::Void(order) => {
                let late = Monotonic::now().millis_since(order.at);
                (self.report)(Report::Fired(
                    order.part,
                    Err(format!("the order was {late:.1} ms old when its turn came")),
                ));
            }
            Step::Activate(part) => {
                let (result, hung) = desk.watchdog.watch(|| self.output.0.activate());
                let fired = Monotonic::now();
                let outcome = result.as_ref().map(|()| fired).map_err(|error| error.line());
                (self.report)(Report::Fired(part, outcome));
                self.note(result, hung);
            }
        }
    }

    fn release(&mut self, desk: &Desk) {
        let (result, hung) = desk.watchdog.watch(|| self.output.0.release());
        self.note(result, hung);
    }

    /// Follows the output's health: each change is reported once. A call that `hung` was told of while it did.
    fn note(&mut self, result: crate::Result<()>, hung: bool) {
        match (result, self.failed.take()) {
            (Ok(()), None) if !hung => {}
            (Ok(()), _) => (self.report)(Report::Recovered),
            (Err(error), before) => {
                self.failed = Some(Monotonic::now() + RETRY);
                if before.is_none() {
                    log::error!("{}", error.report());
                    (self.report)(Report::Fault(error.line()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use std::sync::mpsc;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(ms * MS)
    }

    #[test]
    fn overlapping_pulses_become_one_longer_pulse() {
        let mut schedule = Schedule::default();
        let pulse = Duration::from_millis(30);
        for (part, ms) in [(0, 100), (1, 120), (2, 200), (3, 200)] {
            schedule.add(Order { part: PartId(part), at: at(ms), latest: at(ms), pulse });
        }
        let mut steps = Vec::new();
        while let Some(next) = schedule.next() {
            let step = schedule.take(next).expect("it is due");
            steps.push((next.as_nanos() / MS, step));
        }
        let activate = |part| Step::Activate(PartId(part));
        assert_eq!(
            steps,
            [
                (100, activate(0)),
                (120, activate(1)),
                (150, Step::Release),
                (200, activate(2)),
                (200, activate(3)),
                (230, Step::Release)
            ]
        );
    }

    #[test]
    fn an_order_that_is_too_old_is_void_and_does_not_move_the_output() {
        let mut schedule = Schedule::default();
        let order =
            |part, ms| Order { part: PartId(part), at: at(ms), latest: at(ms + 10), pulse: Duration::from_millis(5) };
        schedule.add(order(0, 100));
        schedule.add(order(1, 120));
        assert_eq!(schedule.take(at(125)), Some(Step::Void(order(0, 100))));
        assert_eq!(schedule.take(at(125)), Some(Step::Activate(PartId(1))));
        assert_eq!(schedule.next(), Some(at(130)));
    }

    /// An order at `at` that is not void for a minute.
    fn order(part: u64, at: Monotonic, pulse_ms: u64) -> Order {
        let latest = at + Duration::from_secs(60);
        Order { part: PartId(part), at, latest, pulse: Duration::from_millis(pulse_ms) }
    }

    /// An output that fails when told to, and says what it was asked for.
    struct Scripted {
        calls: mpsc::Sender<&'static str>,
        fails: Arc<Mutex<bool>>,
        panics: bool,
    }

    impl Scripted {
        fn answer(&self, call: &'static str) -> crate::Result<()> {
            self.calls.send(call).unwrap();
            match *self.fails.lock().unwrap() {
                true => Err(Error::device("unplugged")),
                false => Ok(()),
            }
        }
    }

    impl Output for Scripted {
        fn name(&self) -> &str {
            "scripted"
        }
        fn activate(&mut self) -> crate::Result<()> {
            assert!(!self.panics, "a bug in an output");
            self.answer("activate")
        }
        fn release(&mut self) -> crate::Result<()> {
            self.answer("release")
        }
    }

    struct Rig {
        firing: Option<Firing>,
        calls: mpsc::Receiver<&'static str>,
        reports: mpsc::Receiver<Report>,
        fails: Arc<Mutex<bool>>,
    }

    fn rig(panics: bool) -> Rig {
        let (calls_in, calls) = mpsc::channel();
        let (reports_in, reports) = mpsc::channel();
        let fails = Arc::new(Mutex::new(false));
        let output = Scripted { calls: calls_in, fails: fails.clone(), panics };
        let firing = Firing::start(
            Box::new(output),
            || {},
            move |report| {
                let _ = reports_in.send(report);
            },
        );
        Rig { firing: Some(firing.unwrap()), calls, reports, fails }
    }

    #[test]
    fn parts_fire_in_the_order_of_their_deadlines_and_never_early() {
        let mut rig = rig(false);
        let firing = rig.firing.as_ref().unwrap();
        let now = Monotonic::now();
        let deadlines = [60, 20, 40, 0].map(|ms| now + Duration::from_millis(ms));
        for (part, at) in deadlines.iter().enumerate() {
            firing.fire(order(part as u64, *at, 1));
        }
        let mut order = Vec::new();
        for _ in 0..4 {
            let Ok(Report::Fired(part, Ok(fired))) = rig.reports.recv() else { panic!("not fired") };
            assert!(fired >= deadlines[part.0 as usize], "part {part} fired early");
            order.push(part.0);
        }
        assert_eq!(order, [3, 1, 2, 0]);
        rig.firing = None;
        assert_eq!(rig.calls.iter().last(), Some("release"), "released at the end");
    }

    #[test]
    fn a_failure_is_reported_once_and_the_device_is_tried_again() {
        let rig = rig(false);
        *rig.fails.lock().unwrap() = true;
        let firing = rig.firing.as_ref().unwrap();
        firing.fire(order(1, Monotonic::now(), 1));
        assert_eq!(rig.reports.recv(), Ok(Report::Fired(PartId(1), Err("unplugged".into()))));
        assert_eq!(rig.reports.recv(), Ok(Report::Fault("unplugged".into())));
        *rig.fails.lock().unwrap() = false;
        assert_eq!(rig.reports.recv(), Ok(Report::Recovered));
    }

    #[test]
    fn an_end_lets_the_last_pulse_have_its_length() {
        let mut rig = rig(false);
        let firing = rig.firing.as_ref().unwrap();
        firing.fire(order(1, Monotonic::now(), 80));
        firing.fire(order(2, Monotonic::now() + Duration::from_secs(3600), 80));
        let Ok(Report::Fired(_, Ok(fired))) = rig.reports.recv() else { panic!("not fired") };
        rig.firing = None;
        assert!(Monotonic::now().saturating_since(fired) >= Duration::from_millis(79), "the pulse was cut short");
        assert_eq!(rig.calls.iter().collect::<Vec<_>>(), ["activate", "release", "release"]);
        assert!(rig.reports.recv().is_err(), "what was not due did not fire");
    }

    #[test]
    fn a_panic_releases_the_output() {
        let mut rig = rig(true);
        rig.firing.as_ref().unwrap().fire(order(1, Monotonic::now(), 1));
        assert_eq!(rig.calls.recv(), Ok("release"));
        assert_eq!(rig.reports.recv(), Ok(Report::Died("a bug in an output".into())));
        rig.firing = None;
    }

    #[test]
    fn set_safe_forgets_what_was_to_fire() {
        let mut rig = rig(false);
        let firing = rig.firing.as_ref().unwrap();
        firing.fire(order(1, Monotonic::now() + Duration::from_secs(3600), 1));
        firing.set_safe();
        assert_eq!(rig.calls.recv(), Ok("release"));
        rig.firing = None;
        assert!(rig.reports.recv().is_err(), "nothing fired");
    }
}
