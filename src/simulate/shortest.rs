//! Of a run that breaks a promise, the fewest events that do (delta debugging: Zeller and Hildebrandt, "Simplifying and
//! isolating failure-inducing input", 2002).

use crate::line::{Event, Happening, LineCore, Rules};
use crate::time::Monotonic;

use super::promises::Promises;

/// So many of the last events are shown where no fewer can be found.
const SHOWN: usize = 60;

/// What does not hold when a fresh core takes these events, and after how many of them.
pub(super) fn broken(rules: &Rules, events: &[Event]) -> Option<(usize, String)> {
    let (mut core, mut promises) = (LineCore::new(rules.clone()), Promises::new(rules));
    let mut actions = Vec::new();
    for (k, event) in events.iter().enumerate() {
        actions.clear();
        let heard = promises.hear(event);
        core.handle(event.clone(), &mut actions);
        if let Err(what) = promises.look(heard, &actions) {
            return Some((k + 1, what));
        }
    }
    None
}

/// The events without those that are not needed to break a promise, and `true`. A promise that only the world can see broken (air
/// that hit nothing, a part that no event tells of) is not found again in events alone: then the last ones, and `false`.
pub(super) fn shortest(rules: &Rules, mut events: Vec<Event>) -> (Vec<Event>, bool) {
    let Some((needed, _)) = broken(rules, &events) else {
        let last = events.len().saturating_sub(SHOWN);
        return (events.split_off(last), false);
    };
    events.truncate(needed);
    let mut chunk = (events.len() / 2).max(1);
    loop {
        let before = events.len();
        let mut start = 0;
        while start < events.len() {
            let mut fewer = events.clone();
            fewer.drain(start..(start + chunk).min(events.len()));
            match broken(rules, &fewer) {
                Some((needed, _)) => {
                    fewer.truncate(needed);
                    events = fewer;
                }
                None => start += chunk,
            }
        }
        if chunk == 1 && events.len() == before {
            return (events, true);
        }
        chunk = (chunk / 2).max(1);
    }
}

/// So that the time that passes between events is not lost with the events that are left out.
pub(super) fn tick(at: Monotonic) -> Event {
    Event { at, what: Happening::Tick }
}
