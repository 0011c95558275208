//! What a person must know of, for as long as it is so.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Action, Device};
use crate::time::Monotonic;

/// What a person must know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// Parts went by without a verdict.
    Uninspected,
    /// Bad parts were not rejected.
    MissedReject,
    /// Rejected parts did not come by the sensor that should see them.
    Unconfirmed,
    /// More parts are rejected than the configuration finds likely.
    ManyRejects,
    /// The bin for rejected parts is full.
    BinFull,
    /// A device does not work.
    Faulty(Device),
    /// A known bad piece was not caught, and no challenge was passed since.
    Challenge,
    /// What is seen is no longer like what the line was calibrated on.
    Drift,
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Alarm::Uninspected => f.write_str("uninspected"),
            Alarm::MissedReject => f.write_str("missed-reject"),
            Alarm::Unconfirmed => f.write_str("unconfirmed-reject"),
            Alarm::ManyRejects => f.write_str("many-rejects"),
            Alarm::BinFull => f.write_str("bin-full"),
            Alarm::Faulty(device) => write!(f, "{device}-fault"),
            Alarm::Challenge => f.write_str("challenge-failed"),
            Alarm::Drift => f.write_str("drift"),
        }
    }
}

/// The alarms that are raised. What comes and goes is one alarm, which ends when its cause stayed away for a while.
#[derive(Debug)]
pub(super) struct Alarms {
    quiet: Duration,
    /// Those whose cause is gone carry the moment at which they end.
    raised: BTreeMap<Alarm, Option<Monotonic>>,
}

impl Alarms {
    pub(super) fn new(quiet: Duration) -> Self {
        Alarms { quiet, raised: BTreeMap::new() }
    }

    /// For something that happened.
    pub(super) fn happened(&mut self, alarm: Alarm, text: String, at: Monotonic, actions: &mut Vec<Action>) {
        if self.raised.insert(alarm, Some(at + self.quiet)).is_none() {
            actions.push(Action::RaiseAlarm(alarm, text));
        }
    }

    /// For something that lasts. Says whether it is new.
    pub(super) fn begins(&mut self, alarm: Alarm, text: String, actions: &mut Vec<Action>) -> bool {
        let is_new = self.raised.insert(alarm, None).is_none();
        if is_new {
            actions.push(Action::RaiseAlarm(alarm, text));
        }
        is_new
    }

    /// What lasted is over; the alarm is when it has been for a while.
    pub(super) fn is_over(&mut self, alarm: Alarm, at: Monotonic) {
        if let Some(ends) = self.raised.get_mut(&alarm) {
            ends.get_or_insert(at + self.quiet);
        }
    }

    /// Whether that alarm is raised and its cause lasts.
    pub(super) fn lasts(&self, alarm: Alarm) -> bool {
        self.raised.get(&alarm) == Some(&None)
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Option<Monotonic> {
        self.raised.values().filter_map(|ends| *ends).min()
    }

    /// Ends those that have been quiet for long enough.
    pub(super) fn expire(&mut self, at: Monotonic, actions: &mut Vec<Action>) {
        self.raised.retain(|alarm, ends| {
            let goes_on = ends.is_none_or(|ends| ends > at);
            if !goes_on {
                if let Alarm::Faulty(device) = alarm {
                    actions.push(Action::Health(*device, Ok(())));
                }
                actions.push(Action::ClearAlarm(*alarm));
            }
            goes_on
        });
    }
}
