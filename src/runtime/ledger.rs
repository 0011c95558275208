//! The audit as the conductor sees it: it takes records, and has to be looked after.

use crate::Result;
use crate::audit::{AuditLog, Body};
use crate::line::{Device, Happening};

pub(super) struct Ledger {
    audit: AuditLog,
    /// Whether it worked when it was last looked at.
    works: bool,
    /// Whether a record was ever refused.
    refused: bool,
    /// Whether the core knows that.
    told: bool,
}

impl Ledger {
    pub(super) fn new(audit: AuditLog) -> Self {
        Ledger { audit, works: true, refused: false, told: false }
    }

    pub(super) fn write(&mut self, body: Body) {
        self.refused |= self.audit.write(body).is_err();
    }

    /// What happened to the audit since the last call. A thread that hangs on a disk cannot tell, so it is looked at.
    pub(super) fn news(&mut self) -> impl Iterator<Item = Happening> + use<> {
        let health = self.audit.health();
        let changed = health.is_ok() != self.works;
        self.works = health.is_ok();
        let change = changed.then_some(match health {
            Ok(()) => Happening::Recovered(Device::Audit),
            Err(why) => Happening::Fault(Device::Audit, why),
        });
        let lost = (self.refused && !self.told).then_some(Happening::AuditLost);
        self.told = self.refused;
        change.into_iter().chain(lost)
    }

    pub(super) fn close(self) -> Result<()> {
        self.audit.close()
    }
}
