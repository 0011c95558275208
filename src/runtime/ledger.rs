//! The audit as the conductor sees it: it takes records, and has to be looked after.

use std::time::Duration;

use crate::Result;
use crate::audit::{AuditLog, Body};
use crate::line::{Device, Happening};
use crate::time::Monotonic;

/// How long the audit has to work before it counts as working again: a slow disk does now and then.
const CONVALESCENCE: Duration = Duration::from_secs(5);

pub(super) struct Ledger {
    audit: AuditLog,
    condition: Condition,
    /// Whether a record was ever refused.
    refused: bool,
    /// Whether the core knows that.
    told: bool,
}

impl Ledger {
    pub(super) fn new(audit: AuditLog) -> Self {
        Ledger { audit, condition: Condition::default(), refused: false, told: false }
    }

    pub(super) fn write(&mut self, body: Body) {
        self.refused |= self.audit.write(body).is_err();
    }

    /// What happened to the audit since the last call. A thread that hangs on a disk cannot tell, so it is looked at.
    pub(super) fn news(&mut self) -> impl Iterator<Item = Happening> + use<> {
        let change = self.condition.follow(self.audit.health(), Monotonic::now());
        let lost = (self.refused && !self.told).then_some(Happening::AuditLost);
        self.told = self.refused;
        change.into_iter().chain(lost)
    }

    pub(super) fn close(self) -> Result<()> {
        self.audit.close()
    }
}

/// A device's condition by what is seen of it: ill at once, well after a while.
#[derive(Debug, Default)]
struct Condition {
    ill: bool,
    /// Since when an ill one has looked well.
    well_since: Option<Monotonic>,
}

impl Condition {
    fn follow(&mut self, health: Result<(), String>, now: Monotonic) -> Option<Happening> {
        match health {
            Err(why) => {
                self.well_since = None;
                (!std::mem::replace(&mut self.ill, true)).then_some(Happening::Fault(Device::Audit, why))
            }
            Ok(()) if self.ill => {
                let since = *self.well_since.get_or_insert(now);
                (now >= since + CONVALESCENCE).then(|| {
                    *self = Condition::default();
                    Happening::Recovered(Device::Audit)
                })
            }
            Ok(()) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_works_now_and_then_is_one_fault() {
        let mut condition = Condition::default();
        let mut follow = |works: bool, second: u64| {
            let health = if works { Ok(()) } else { Err("full".to_owned()) };
            condition.follow(health, Monotonic::from_nanos(second * 1_000_000_000))
        };
        let fault = Some(Happening::Fault(Device::Audit, "full".into()));
        assert_eq!(follow(true, 0), None);
        assert_eq!(follow(false, 1), fault);
        for (works, second) in [(true, 2), (true, 6), (false, 7), (true, 8), (true, 12)] {
            assert_eq!(follow(works, second), None, "at {second} s");
        }
        assert_eq!(follow(true, 13), Some(Happening::Recovered(Device::Audit)));
        assert_eq!(follow(true, 14), None);
        assert_eq!(follow(false, 15), fault, "a new fault");
    }
}
