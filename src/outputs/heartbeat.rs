//! An output that shows by its changes that the line is inspected.
//!
//! It changes only while it is fed: by whoever decides about parts, with word that the line is well. Without food it comes to
//! rest at its safe level after [`HUNGER`]. A program that is killed, stopped or hangs changes nothing any more, and then the
//! level may be either: what watches the heartbeat must stop the belt when the *changes* stay out, at both levels, and allow
//! for twice the period at least.

use std::time::Duration;

use super::Output;
use super::driver::{Driven, Driver};
use crate::time::Monotonic;

/// After so long without food the heart stands. Feed it at least twice as often.
pub const HUNGER: Duration = Duration::from_millis(100);

/// Which level the output has when: pure.
#[derive(Debug, Clone)]
pub struct Rhythm {
    period: Duration,
    active: Duration,
    fed: Option<Fed>,
}

#[derive(Debug, Clone, Copy)]
struct Fed {
    /// When it began to beat.
    since: Monotonic,
    last: Monotonic,
}

impl Rhythm {
    /// Active for `active` at the beginning of each `period`, which is longer.
    pub fn new(period: Duration, active: Duration) -> Self {
        Rhythm { period, active, fed: None }
    }

    /// Feeds it, or, when the line is not well, stops it at once.
    pub fn feed(&mut self, now: Monotonic, is_well: bool) {
        self.fed = is_well.then(|| {
            let since = self.beats(now).map_or(now, |fed| fed.since);
            Fed { since, last: now }
        });
    }

    /// Whether the output is active at `now`, and when that is to be asked again.
    pub fn level(&self, now: Monotonic) -> (bool, Option<Monotonic>) {
        let Some(fed) = self.beats(now) else { return (false, None) };
        let period = self.period.as_nanos().max(1);
        let into = Duration::from_nanos((now.saturating_since(fed.since).as_nanos() % period) as u64);
        let is_active = into < self.active;
        let changes = now - into + if is_active { self.active } else { self.period };
        (is_active, Some(changes.min(fed.last + HUNGER)))
    }

    fn beats(&self, now: Monotonic) -> Option<Fed> {
        self.fed.filter(|fed| now < fed.last + HUNGER)
    }
}

/// The thread that beats. Dropping it brings the output to its safe level and ends the thread.
#[derive(Debug)]
pub struct Heartbeat(Driven<Rhythm>);

impl Heartbeat {
    /// Starts the thread, which rests until it is fed. `prepare` runs first on it (to ask for real-time scheduling).
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(
        output: Box<dyn Output>,
        rhythm: Rhythm,
        prepare: impl FnOnce() + Send + 'static,
    ) -> crate::Result<Self> {
        let thread = Driven::start(
            ("heartbeat", "the heartbeat"),
            output,
            rhythm,
            |_| None,
            move |driver| {
                prepare();
                Heart { driver, told: None }.work();
            },
        );
        thread.map(Heartbeat)
    }

    /// Feeds it, at least every 50 ms: the caller lives, and the line is well or not.
    pub fn beat(&self, line_is_well: bool) {
        let now = Monotonic::now();
        self.0.change(|rhythm| rhythm.feed(now, line_is_well));
    }

    /// Looks how the output does.
    ///
    /// # Errors
    ///
    /// It fails or failed since the last look, its driver hangs, or its thread panicked.
    pub fn health(&self, now: Monotonic) -> Result<(), String> {
        self.0.health(now)
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

struct Heart<'d> {
    driver: &'d mut Driver<Rhythm>,
    /// The level that the output has; `None` where nobody knows.
    told: Option<bool>,
}

impl Heart<'_> {
    fn work(&mut self) {
        let desk = self.driver.desk();
        let mut state = desk.state();
        while !state.stop {
            let now = Monotonic::now();
            let (level, until) = state.orders.level(now);
            let retry = self.driver.retry();
            let is_due = self.told != Some(level) && retry.is_none_or(|retry| retry <= now);
            if is_due {
                drop(state);
                self.tell(level);
                state = desk.state();
                continue;
            }
            let next = until.into_iter().chain(retry).min();
            state = desk.wait(state, next.map(|at| at.saturating_since(now)));
        }
    }

    fn tell(&mut self, active: bool) {
        let result = self.driver.switch(active);
        self.driver.note(&result);
        self.told = result.ok().map(|()| active);
    }
}

#[cfg(test)]
mod tests {
    use super::super::serial::SerialOutput;
    use super::super::{Role, Template};
    use super::*;
    use crate::config::SerialConfig;
    use serialport::{SerialPort, TTYPort};
    use std::io::Read;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(ms * MS)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// When the level changes, in milliseconds, if it is fed at those of `food`, and asked when it says, until 1000.
    fn changes(rhythm: &mut Rhythm, food: &[(u64, bool)]) -> Vec<(u64, bool)> {
        let (mut changes, mut level, mut now) = (Vec::new(), false, at(0));
        while now < at(1000) {
            let (active, until) = rhythm.level(now);
            if active != std::mem::replace(&mut level, active) {
                changes.push((now.as_nanos() / MS, active));
            }
            let meal = food.iter().find(|(ms, _)| at(*ms) > now);
            let next = until.into_iter().chain(meal.map(|(ms, _)| at(*ms))).min().unwrap_or(at(1000));
            assert!(next > now, "it asks to be asked at once");
            now = next;
            if let Some((_, is_well)) = meal.filter(|(ms, _)| at(*ms) == now) {
                rhythm.feed(now, *is_well);
            }
        }
        changes
    }

    #[test]
    fn it_beats_while_it_is_fed_and_stands_released_when_it_is_not() {
        let food = |from: u64, to: u64| (from..=to).step_by(40).map(|ms| (ms, true)).collect::<Vec<_>>();
        let mut whole = Rhythm::new(ms(100), ms(50));
        let beats = [(10, true), (60, false), (110, true), (160, false), (210, true), (260, false), (310, true)];
        // The last meal is at 210 ms: the beat that is due at 310 ms does not come.
        assert_eq!(changes(&mut whole, &food(10, 210)), beats[..6]);
        // The meal is at 250 ms: hunger ends the beat of 310 ms early.
        assert_eq!(changes(&mut Rhythm::new(ms(100), ms(50)), &food(10, 250)), [&beats[..], &[(350, false)]].concat());
    }

    #[test]
    fn a_line_that_is_not_well_stops_it_at_once_and_a_well_one_begins_anew() {
        let food = [(10, true), (25, false), (30, false), (70, true), (200, true)];
        let beats =
            [(10, true), (25, false), (70, true), (90, false), (110, true), (130, false), (150, true), (170, false)];
        let begun_anew = [(200, true), (220, false), (240, true), (260, false), (280, true), (300, false)];
        let seen = changes(&mut Rhythm::new(ms(40), ms(20)), &food);
        assert_eq!(seen, [&beats[..], &begun_anew[..]].concat());
    }

    #[test]
    fn it_never_stays_active_longer_than_its_hunger() {
        let mut slow = Rhythm::new(ms(5000), ms(2500));
        assert_eq!(changes(&mut slow, &[(10, true)]), [(10, true), (110, false)]);
    }

    #[test]
    fn short_pulses_keep_their_length() {
        let food = (0..20).map(|meal| (10 + 40 * meal, true)).collect::<Vec<_>>();
        let seen = changes(&mut Rhythm::new(ms(300), ms(5)), &food);
        assert_eq!(seen, [(10, true), (15, false), (310, true), (315, false), (610, true), (615, false)]);
    }

    /// What a heart of 20 ms on a pseudo-terminal says (`+` active, `-` released) while `feed` has it.
    fn said(feed: impl FnOnce(&Heartbeat, &mut dyn FnMut() -> Option<char>)) -> String {
        let (mut far, near) = TTYPort::pair().unwrap();
        let [message, release] = ["+", "-"].map(|text| Template::parse(text).unwrap());
        let port = near.name().unwrap().into();
        let config = SerialConfig { port, baud: 115_200, message, release: Some(release), ack: None };
        let output = Box::new(SerialOutput::open(&config, Role::Heartbeat).unwrap());
        let heartbeat = Heartbeat::start(output, Rhythm::new(ms(20), ms(10)), || {}).unwrap();
        let mut said = String::new();
        let mut hear = |patience: Duration| {
            far.set_timeout(patience).unwrap();
            let mut byte = [0];
            let heard = far.read_exact(&mut byte).ok().map(|()| char::from(byte[0]));
            said.extend(heard);
            heard
        };
        feed(&heartbeat, &mut || hear(ms(500)));
        assert_eq!(heartbeat.end(), Ok(()));
        while hear(ms(300)).is_some() {}
        said
    }

    /// Feeds until some beats were heard.
    fn live(heartbeat: &Heartbeat, hear: &mut dyn FnMut() -> Option<char>) {
        let mut beats = 0;
        while beats < 3 {
            heartbeat.beat(true);
            beats += u32::from(hear() == Some('+'));
        }
    }

    #[test]
    fn on_a_terminal_it_says_nothing_without_food() {
        assert_eq!(said(|_, hear| while hear().is_some() {}), "-", "but that it rests");
    }

    #[test]
    fn on_a_terminal_it_stops_released_when_food_stays_out() {
        let said = said(|heartbeat, hear| {
            live(heartbeat, hear);
            while hear().is_some() {}
            heartbeat.health(Monotonic::now()).unwrap();
        });
        assert!(said.starts_with("-+-+-+") && said.ends_with("+-") && !said.contains("++"), "{said}");
    }

    #[test]
    fn on_a_terminal_it_stops_released_when_the_line_is_not_well() {
        let mut last = None;
        said(|heartbeat, hear| {
            live(heartbeat, hear);
            heartbeat.beat(false);
            while let Some(heard) = hear() {
                last = Some(heard);
                heartbeat.beat(false);
            }
        });
        assert_eq!(last, Some('-'));
    }
}
