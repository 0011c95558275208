//! The audit as the conductor sees it: it takes records, and has to be looked after.

use std::path::Path;

use super::condition::Condition;
use crate::Result;
use crate::audit::{AuditLog, Body};
use crate::line::{Device, Happening};

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
        Ledger { audit, condition: Condition::of(Device::Audit), refused: false, told: false }
    }

    pub(super) fn write(&mut self, body: Body) {
        self.refused |= self.audit.write(body).is_err();
    }

    /// What happened to the audit since the last call. A thread that hangs on a disk cannot tell, so it is looked at.
    pub(super) fn news(&mut self) -> impl Iterator<Item = Happening> + use<> {
        let change = self.condition.follow(self.audit.health());
        let lost = (self.refused && !self.told).then_some(Happening::AuditLost);
        self.told = self.refused;
        change.into_iter().chain(lost)
    }

    pub(super) fn path(&self) -> &Path {
        self.audit.path()
    }

    pub(super) fn close(self) -> Result<()> {
        self.audit.close()
    }
}
