//! The thread that acts on the ejector at the right moment.
//!
//! It sleeps on CLOCK_MONOTONIC to each deadline, and wakes early for a nearer one. What is due when is decided by
//! [`Schedule`], which has neither clock nor thread.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Occasion, Output};
use crate::health::{self, Health};
use crate::line::{Order, PartId};
use crate::panic_text;
use crate::time::Monotonic;

/// The last stretch before a deadline is slept without listening for new orders: waking twice costs more than it brings.
const LAST_STRETCH: Duration = Duration::from_millis(2);
/// How often a device that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What the output must do, and when: parts that are to be rejected, and the end of the pulse that lasts.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    parts: BTreeMap<(Monotonic, PartId), Order>,
    /// When the pulse that lasts is over.
    release: Option<Monotonic>,
    /// A pulse that would begin so soon after the end of the one before is one with it.
    gap: Duration,
}

/// One step of the output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Activate(Order),
    /// It is too late for this order.
    Void(Order),
    Release,
}

impl Schedule {
    /// With nothing to do.
    pub(crate) fn new(gap: Duration) -> Self {
        Schedule { gap, ..Schedule::default() }
    }

    pub(crate) fn add(&mut self, order: Order) {
        self.parts.insert((order.at, order.part), order);
    }

    pub(crate) fn next(&self) -> Option<Monotonic> {
        let part = self.parts.first_key_value().map(|((at, _), _)| *at);
        part.into_iter().chain(self.release).min()
    }

    /// A pulse lasts until `ends` at least.
    pub(crate) fn hold(&mut self, ends: Monotonic) {
        self.release = self.release.max(Some(ends));
    }

    /// Takes the next step that is due at `now`. A part that is due before the pulse ends comes before its end.
    pub(crate) fn take(&mut self, now: Monotonic) -> Option<Step> {
        if let Some(entry) = self.parts.first_entry()
            && entry.key().0 <= now
        {
            let order = entry.remove();
            if order.latest < now {
                return Some(Step::Void(order));
            }
            return Some(Step::Activate(order));
        }
        let ends = self.release.filter(|ends| *ends <= now)?;
        if let Some(((next, _), _)) = self.parts.first_key_value()
            && *next < ends + self.gap
        {
            self.release = Some(*next);
            return None;
        }
        self.release = None;
        Some(Step::Release)
    }
}

/// What became of an order: the output acted on the part at that moment, or failed to.
pub type Outcome = (PartId, Result<Monotonic, String>);

#[derive(Debug, Default)]
struct Orders {
    schedule: Schedule,
    /// The level to go to, unless that was done: active or not.
    level: Option<bool>,
    set_safe: bool,
    stop: bool,
    /// How the last release went, once the thread has made it.
    ended: Option<Result<(), String>>,
}

#[derive(Debug, Default)]
struct Desk {
    orders: Mutex<Orders>,
    changed: Condvar,
    health: Health,
}

impl Desk {
    /// The orders stay usable when a thread panicked while it held them: they are whole after every statement.
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders());
        self.changed.notify_all();
    }
}

/// The firing thread. Dropping it lets the pulse that lasts have its length, drops orders that are not due yet, brings the
/// output to its role's safe level and ends the thread.
#[derive(Debug)]
pub struct Firing {
    desk: Arc<Desk>,
    is_ended: bool,
}

impl Firing {
    /// Starts the thread. Pulses that are less than `gap` apart become one. `prepare` runs first on it (to ask for real-time scheduling); `report` is called on it.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(
        output: Box<dyn Output>,
        gap: Duration,
        prepare: impl FnOnce() + Send + 'static,
        report: impl FnMut(Outcome) + Send + 'static,
    ) -> crate::Result<Self> {
        let orders = Mutex::new(Orders { schedule: Schedule::new(gap), ..Orders::default() });
        let desk = Arc::new(Desk { orders, ..Desk::default() });
        let shared = desk.clone();
        let thread = std::thread::Builder::new().name("firing".into()).spawn(move || {
            let rests_active = output.role().is_active_when_safe();
            let mut worker = Worker { output, report, desk: &shared, rests_active, retry: None };
            let worked = catch_unwind(AssertUnwindSafe(|| {
                prepare();
                worker.work();
            }));
            if let Err(panic) = &worked {
                shared.health.failed(format!("its thread panicked: {}", panic_text(&**panic)));
            }
            let ended = worker.last_rest();
            shared.change(|orders| orders.ended = Some(ended));
        });
        thread.map_err(|error| crate::Error::device("the system gives no thread for the output").because(error))?;
        Ok(Firing { desk, is_ended: false })
    }

    /// Takes an order; what became of it is reported.
    pub fn fire(&self, order: Order) {
        self.desk.change(|orders| orders.schedule.add(order));
    }

    /// Switches on or off until further notice.
    pub fn hold(&self, active: bool) {
        self.desk.change(|orders| orders.level = Some(active));
    }

    /// Forgets all that was to fire and brings the output to its safe level.
    pub fn set_safe(&self) {
        self.desk.change(|orders| {
            orders.schedule = Schedule::new(orders.schedule.gap);
            orders.level = None;
            orders.set_safe = true;
        });
    }

    /// Looks how the output does.
    ///
    /// # Errors
    ///
    /// It fails or failed since the last look, its driver hangs, or its thread panicked.
    pub fn health(&self, now: Monotonic) -> Result<(), String> {
        self.desk.health.look(now)
    }

    /// Whether the thread has ended, though nobody ended it: nothing will act any more.
    pub fn is_dead(&self) -> bool {
        let orders = self.desk.orders();
        orders.ended.is_some() && !orders.stop
    }

    /// As dropping it does.
    ///
    /// # Errors
    ///
    /// Nobody knows whether the output is safe: that failed, or its driver does not come back.
    pub fn end(mut self) -> Result<(), String> {
        self.is_ended = true;
        self.stop()
    }

    /// A driver that hangs must not keep the rest of the program from ending in good order.
    fn stop(&self) -> Result<(), String> {
        self.desk.change(|orders| orders.stop = true);
        let mut orders = self.desk.orders();
        let mut patience = Monotonic::now() + health::PATIENCE;
        loop {
            if let Some(ended) = &orders.ended {
                return ended.clone().map_err(|why| format!("the output could not be made safe: {why}"));
            }
            // The pulse may begin only now.
            patience = orders.schedule.release.map_or(patience, |ends| patience.max(ends + health::PATIENCE));
            let left = patience.saturating_since(Monotonic::now());
            if left.is_zero() {
                return Err("the output's driver does not come back: nobody knows whether it is safe".into());
            }
            orders = self.desk.changed.wait_timeout(orders, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Firing {
    fn drop(&mut self) {
        if !self.is_ended
            && let Err(why) = self.stop()
        {
            log::error!("{why}");
        }
    }
}

struct Worker<'d, R> {
    output: Box<dyn Output>,
    report: R,
    desk: &'d Desk,
    /// Whether the output is active between pulses.
    rests_active: bool,
    /// When the failed output is tried again.
    retry: Option<Monotonic>,
}

impl<R: FnMut(Outcome)> Worker<'_, R> {
    fn work(&mut self) {
        let desk = self.desk;
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
            let safe = std::mem::take(&mut orders.set_safe).then(|| self.output.role().is_active_when_safe());
            if let Some(active) = orders.level.take().or(safe) {
                drop(orders);
                self.rests_active = active;
                self.rest();
                orders = desk.orders();
                continue;
            }
            if let Some(step) = orders.schedule.take(now) {
                drop(orders);
                self.step(step);
                orders = desk.orders();
                continue;
            }
            // A pulse that lasts is another part's, and a retry would end it.
            let retry = self.retry.filter(|_| orders.schedule.release.is_none());
            if retry.is_some_and(|retry| retry <= now) {
                drop(orders);
                self.rest();
                orders = desk.orders();
                continue;
            }
            let next = orders.schedule.next().into_iter().chain(retry).min();
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

    fn step(&mut self, step: Step) {
        match step {
            Step::Release => self.rest(),
            Step::Void(order) => {
                let late = Monotonic::now().millis_since(order.at);
                (self.report)((order.part, Err(format!("the order was {late:.1} ms old when its turn came"))));
            }
            Step::Activate(order) => self.activate(order),
        }
    }

    fn activate(&mut self, order: Order) {
        let (part, class) = (Some(order.part), Some(order.class.clone()));
        let occasion = Occasion { part, class, score: order.score };
        let result = self.desk.health.watch(|| self.output.activate(&occasion));
        let fired = Monotonic::now();
        // Also after a failure: part of a message, or a level, may have gone out.
        self.desk.change(|orders| orders.schedule.hold(fired + order.pulse));
        let outcome = result.as_ref().map(|()| fired).map_err(|error| error.line());
        // Who hears of the part may look at the output's health next.
        self.note(result);
        (self.report)((order.part, outcome));
    }

    /// Brings the output to the level that it has between pulses.
    fn rest(&mut self) {
        let result = self.come_to_rest();
        self.note(result);
    }

    fn come_to_rest(&mut self) -> crate::Result<()> {
        self.desk.health.watch(|| if self.rests_active { self.output.hold() } else { self.output.release() })
    }

    fn note(&mut self, result: crate::Result<()>) {
        match result {
            Ok(()) => {
                self.retry = None;
                self.desk.health.works();
            }
            Err(error) => {
                self.retry = Some(Monotonic::now() + RETRY);
                if self.desk.health.failed(error.line()) {
                    log::error!("{}", error.report());
                }
            }
        }
    }

    /// The safe level, also after a panic.
    fn last_rest(&mut self) -> Result<(), String> {
        self.rests_active = self.output.role().is_active_when_safe();
        match catch_unwind(AssertUnwindSafe(|| self.come_to_rest())) {
            Ok(result) => result.map_err(|error| error.line()),
            Err(panic) => Err(format!("it panicked: {}", panic_text(&*panic))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;
    use crate::Error;
    use crate::line::Lane;
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
            schedule.add(Order { latest: at(ms), pulse, ..order(part, at(ms), 0) });
        }
        let mut steps = Vec::new();
        while let Some(next) = schedule.next() {
            let part = match schedule.take(next).expect("it is due") {
                Step::Activate(order) => {
                    schedule.hold(next + order.pulse);
                    Some(order.part.0)
                }
                _ => None,
            };
            steps.push((next.as_nanos() / MS, part));
        }
        let release = None;
        assert_eq!(
            steps,
            [(100, Some(0)), (120, Some(1)), (150, release), (200, Some(2)), (200, Some(3)), (230, release)]
        );
    }

    #[test]
    fn pulses_that_are_closer_than_the_gap_become_one() {
        let mut schedule = Schedule::new(Duration::from_millis(10));
        for (part, ms) in [(0, 100), (1, 135), (2, 180)] {
            schedule.add(order(part, at(ms), 30));
        }
        let mut releases = Vec::new();
        while let Some(next) = schedule.next() {
            match schedule.take(next) {
                Some(Step::Activate(order)) => schedule.hold(next + order.pulse),
                Some(Step::Release) => releases.push(next.as_nanos() / MS),
                _ => {}
            }
        }
        assert_eq!(releases, [165, 210], "from 100 to 165 ms is one pulse");
    }

    #[test]
    fn an_order_that_is_too_old_is_void_and_does_not_move_the_output() {
        let mut schedule = Schedule::default();
        let order = |part, ms| Order { latest: at(ms + 10), ..order(part, at(ms), 5) };
        schedule.add(order(0, 100));
        schedule.add(order(1, 120));
        assert_eq!(schedule.take(at(125)), Some(Step::Void(order(0, 100))));
        assert_eq!(schedule.take(at(125)), Some(Step::Activate(order(1, 120))));
        assert_eq!(schedule.next(), None);
    }

    /// An order at `at` that is not void for a minute.
    fn order(part: u64, at: Monotonic, pulse_ms: u64) -> Order {
        let latest = at + Duration::from_secs(60);
        let (class, pulse) = ("washer".into(), Duration::from_millis(pulse_ms));
        Order { part: PartId(part), lane: Lane(0), class, score: None, at, latest, pulse }
    }

    /// An output that fails when told to, and says what it was asked for.
    struct Scripted {
        calls: mpsc::Sender<&'static str>,
        fails: Arc<Mutex<bool>>,
        panics: bool,
        role: Role,
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
        fn role(&self) -> Role {
            self.role
        }
        fn activate(&mut self, _: &Occasion) -> crate::Result<()> {
            assert!(!self.panics, "a bug in an output");
            self.answer("activate")
        }
        fn hold(&mut self) -> crate::Result<()> {
            self.answer("hold")
        }
        fn release(&mut self) -> crate::Result<()> {
            self.answer("release")
        }
    }

    struct Rig {
        firing: Option<Firing>,
        calls: mpsc::Receiver<&'static str>,
        reports: mpsc::Receiver<Outcome>,
        fails: Arc<Mutex<bool>>,
    }

    fn rig(panics: bool) -> Rig {
        rig_of(Role::Reject, panics)
    }

    fn rig_of(role: Role, panics: bool) -> Rig {
        let (calls_in, calls) = mpsc::channel();
        let (reports_in, reports) = mpsc::channel();
        let fails = Arc::new(Mutex::new(false));
        let output = Scripted { calls: calls_in, fails: fails.clone(), panics, role };
        let firing = Firing::start(
            Box::new(output),
            Duration::ZERO,
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
            let Ok((part, Ok(fired))) = rig.reports.recv() else { panic!("not fired") };
            assert!(fired >= deadlines[part.0 as usize], "part {part} fired early");
            order.push(part.0);
        }
        assert_eq!(order, [3, 1, 2, 0]);
        rig.firing = None;
        assert_eq!(rig.calls.iter().last(), Some("release"), "released at the end");
    }

    #[test]
    fn a_device_that_failed_is_tried_again() {
        let rig = rig(false);
        *rig.fails.lock().unwrap() = true;
        let firing = rig.firing.as_ref().unwrap();
        firing.fire(order(1, Monotonic::now(), 1));
        assert_eq!(rig.reports.recv(), Ok((PartId(1), Err("unplugged".into()))));
        wait_until(|| firing.health(Monotonic::now()) == Err("unplugged".into()));
        *rig.fails.lock().unwrap() = false;
        wait_until(|| firing.health(Monotonic::now()).is_ok());
    }

    #[test]
    fn an_end_lets_the_last_pulse_have_its_length() {
        let mut rig = rig(false);
        let firing = rig.firing.as_ref().unwrap();
        firing.fire(order(1, Monotonic::now(), 80));
        firing.fire(order(2, Monotonic::now() + Duration::from_secs(3600), 80));
        let Ok((_, Ok(fired))) = rig.reports.recv() else { panic!("not fired") };
        assert_eq!(rig.firing.take().unwrap().end(), Ok(()));
        assert!(Monotonic::now().saturating_since(fired) >= Duration::from_millis(80), "the pulse was cut short");
        assert_eq!(rig.calls.iter().collect::<Vec<_>>(), ["activate", "release", "release"]);
        assert!(rig.reports.recv().is_err(), "what was not due did not fire");
    }

    #[test]
    fn a_panic_releases_the_output() {
        let mut rig = rig(true);
        let firing = rig.firing.take().unwrap();
        firing.fire(order(1, Monotonic::now(), 1));
        assert_eq!(rig.calls.recv(), Ok("release"));
        wait_until(|| firing.is_dead());
        assert_eq!(firing.health(Monotonic::now()), Err("its thread panicked: a bug in an output".into()));
        assert_eq!(firing.end(), Ok(()), "it is released");
    }

    #[test]
    fn a_last_release_that_fails_is_told() {
        let mut rig = rig(false);
        *rig.fails.lock().unwrap() = true;
        let told = rig.firing.take().unwrap().end();
        assert_eq!(told, Err("the output could not be made safe: unplugged".into()));
    }

    fn wait_until(holds: impl Fn() -> bool) {
        while !holds() {
            std::thread::sleep(Duration::from_millis(1));
        }
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

    #[test]
    fn a_level_is_held_until_further_notice_and_the_end_is_safe_for_the_role() {
        let cases = [
            (Role::Alarm, &["release", "hold", "hold"][..]),
            (Role::StopLine, &["release", "hold", "hold"]),
            (Role::Reject, &["release", "hold", "release"]),
        ];
        for (role, calls) in cases {
            let mut rig = rig_of(role, false);
            let firing = rig.firing.take().unwrap();
            for (active, call) in [(false, calls[0]), (true, calls[1])] {
                firing.hold(active);
                assert_eq!(rig.calls.recv(), Ok(call), "{role:?}");
            }
            assert_eq!(firing.end(), Ok(()));
            assert_eq!(rig.calls.iter().collect::<Vec<_>>(), calls[2..], "{role:?} at the end");
        }
    }

    #[test]
    fn a_stop_line_output_is_active_after_a_panic() {
        let mut rig = rig_of(Role::StopLine, true);
        let firing = rig.firing.take().unwrap();
        firing.hold(false);
        firing.fire(order(1, Monotonic::now(), 1));
        wait_until(|| firing.is_dead());
        assert_eq!(firing.end(), Ok(()));
        assert_eq!(rig.calls.iter().last(), Some("hold"));
    }

    #[test]
    fn a_held_level_is_brought_back_after_a_failure_and_after_a_pulse() {
        let rig = rig_of(Role::Alarm, false);
        let firing = rig.firing.as_ref().unwrap();
        *rig.fails.lock().unwrap() = true;
        firing.hold(false);
        wait_until(|| firing.health(Monotonic::now()) == Err("unplugged".into()));
        *rig.fails.lock().unwrap() = false;
        wait_until(|| firing.health(Monotonic::now()).is_ok());
        firing.fire(order(1, Monotonic::now(), 1));
        let mut calls = rig.calls.iter().skip_while(|call| *call == "release");
        assert_eq!([calls.next(), calls.next()], [Some("activate"), Some("release")]);
    }
}
