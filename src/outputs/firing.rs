//! The thread that acts on the ejector at the right moment.
//!
//! It sleeps on CLOCK_MONOTONIC to each deadline, and wakes early for a nearer one. What is due when is decided by
//! [`Schedule`].

use std::time::Duration;

use super::driver::{Driven, Driver};
use super::schedule::{Schedule, Step};
use super::{Occasion, Output};
use crate::line::{Order, PartId};
use crate::time::Monotonic;

/// The last stretch before a deadline is slept without listening for new orders: waking twice costs more than it brings. What can wait,
/// as a look at an idle output, is waited for with open ears: an order may come that is due before it.
const LAST_STRETCH: Duration = Duration::from_millis(2);
/// So shortly before a deadline nobody looks whether the output is still there: a chip behind a slow bus takes its time to answer. A server
/// that was lost, and does not take a new connection either, takes its whole time-out: an order that falls into that is late, and told of.
const UNDISTURBED: Duration = Duration::from_millis(20);

/// What became of an order: the output acted on the part at that moment, or failed to.
pub type Outcome = (PartId, Result<Monotonic, String>);

#[derive(Debug, Default)]
struct Orders {
    schedule: Schedule,
    /// The level to go to, unless that was done: active or not.
    level: Option<bool>,
    set_safe: bool,
}

/// The firing thread. Dropping it lets the pulse that lasts have its length, drops orders that are not due yet, brings the
/// output to its role's safe level and ends the thread.
#[derive(Debug)]
pub struct Firing(Driven<Orders>);

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
        let orders = Orders { schedule: Schedule::new(gap), ..Orders::default() };
        let pulse_ends = |orders: &Orders| orders.schedule.pulse_ends();
        let thread = Driven::start(("firing", "the output"), output, orders, pulse_ends, move |driver| {
            prepare();
            let rests_active = driver.is_active_when_safe();
            Worker { driver, report, rests_active }.work();
        });
        thread.map(Firing)
    }

    /// Takes an order; what became of it is reported.
    pub fn fire(&self, order: Order) {
        self.0.change(|orders| orders.schedule.add(order));
    }

    /// Switches on or off until further notice.
    pub fn hold(&self, active: bool) {
        self.0.change(|orders| orders.level = Some(active));
    }

    /// Forgets all that was to fire and brings the output to its safe level.
    pub fn set_safe(&self) {
        self.0.change(|orders| {
            orders.schedule.clear();
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
        self.0.health(now)
    }

    /// Whether the thread has ended, though nobody ended it: nothing will act any more.
    pub fn is_dead(&self) -> bool {
        self.0.is_dead()
    }

    /// As dropping it does.
    ///
    /// # Errors
    ///
    /// Nobody knows whether the output is safe: that failed, or its driver does not come back.
    pub fn end(self) -> Result<(), String> {
        self.0.end()
    }
}

/// How the thread spends the time in which nothing is due.
#[derive(Debug, PartialEq, Eq)]
enum Rest {
    /// Until that moment it hears of nothing.
    Asleep(Monotonic),
    /// It wakes for a new order, and after so long at most.
    Listening(Option<Duration>),
}

impl Rest {
    /// Before the next deadline of an order, and the next chore.
    fn before(deadline: Option<Monotonic>, chore: Option<Monotonic>, now: Monotonic) -> Self {
        let left = |at: Monotonic| at.saturating_since(now);
        match deadline {
            Some(at) if left(at) <= LAST_STRETCH => Rest::Asleep(at),
            _ => {
                let wakes = deadline.map(|at| left(at) - LAST_STRETCH);
                Rest::Listening(wakes.into_iter().chain(chore.map(left)).min())
            }
        }
    }
}

struct Worker<'d, R> {
    driver: &'d mut Driver<Orders>,
    report: R,
    /// Whether the output is active between pulses.
    rests_active: bool,
}

impl<R: FnMut(Outcome)> Worker<'_, R> {
    fn work(&mut self) {
        let desk = self.driver.desk();
        let mut state = desk.state();
        loop {
            if state.stop {
                state.orders.schedule.drop_parts();
                // A pulse that is cut short moves nothing, though its part is on record as rejected.
                if state.orders.schedule.pulse_ends().is_none() {
                    return;
                }
            }
            let orders = &mut state.orders;
            let now = Monotonic::now();
            let safe = std::mem::take(&mut orders.set_safe).then(|| self.driver.is_active_when_safe());
            if let Some(active) = orders.level.take().or(safe) {
                drop(state);
                self.rests_active = active;
                self.rest();
                state = desk.state();
                continue;
            }
            if let Some(step) = orders.schedule.take(now) {
                drop(state);
                self.step(step);
                state = desk.state();
                continue;
            }
            let is_near = |at: Monotonic| at <= now + UNDISTURBED;
            let look = self.driver.look().filter(|_| !orders.schedule.next().is_some_and(is_near));
            // A pulse that lasts is another part's, and a retry would end it.
            let chore = self.driver.retry().or(look).filter(|_| orders.schedule.pulse_ends().is_none());
            if chore.is_some_and(|chore| chore <= now) {
                drop(state);
                self.tend();
                state = desk.state();
                continue;
            }
            state = match Rest::before(orders.schedule.next(), chore, now) {
                Rest::Asleep(at) => {
                    drop(state);
                    at.sleep_until();
                    desk.state()
                }
                Rest::Listening(patience) => desk.wait(state, patience),
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
        let result = self.driver.call(|output| output.activate(&occasion));
        let fired = Monotonic::now();
        // Also after a failure: part of a message, or a level, may have gone out.
        self.driver.desk().change(|orders| orders.schedule.hold(fired + order.pulse));
        // Who hears of the part may look at the output's health next.
        self.driver.note(&result);
        let outcome = result.map(|()| fired).map_err(|error| error.line());
        (self.report)((order.part, outcome));
    }

    /// Tries to bring a device back that failed, or looks whether it is still there.
    fn tend(&mut self) {
        if self.driver.retry().is_some() {
            return self.rest();
        }
        let result = self.driver.call(|output| output.look());
        self.driver.note(&result);
    }

    /// Brings the output to the level that it has between pulses.
    fn rest(&mut self) {
        let result = self.driver.switch(self.rests_active);
        self.driver.note(&result);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use super::super::Role;
    use super::super::schedule::tests::order;
    use super::*;
    use crate::Error;

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
        fn look(&mut self) -> crate::Result<()> {
            if *self.fails.lock().unwrap() { Err(Error::device("gone")) } else { Ok(()) }
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
    fn nothing_but_a_deadline_makes_it_deaf_for_orders() {
        let now = Monotonic::now();
        let after = |ms: u64| Some(now + Duration::from_millis(ms));
        let listening = |ms: u64| Rest::Listening(Some(Duration::from_millis(ms)));
        assert_eq!(Rest::before(None, after(1), now), listening(1), "a look can wait, an order cannot");
        assert_eq!(Rest::before(None, None, now), Rest::Listening(None));
        assert_eq!(Rest::before(after(1), after(3), now), Rest::Asleep(now + Duration::from_millis(1)));
        assert_eq!(Rest::before(after(30), None, now), listening(28));
        assert_eq!(Rest::before(after(30), after(5), now), listening(5));
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
    fn a_device_that_goes_away_while_nothing_is_to_do_is_missed_and_brought_back() {
        let rig = rig(false);
        let firing = rig.firing.as_ref().unwrap();
        *rig.fails.lock().unwrap() = true;
        wait_until(|| firing.health(Monotonic::now()) == Err("gone".into()));
        *rig.fails.lock().unwrap() = false;
        wait_until(|| firing.health(Monotonic::now()).is_ok());
        assert_eq!(rig.calls.recv(), Ok("release"), "it is brought to the level that it has to have");
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
