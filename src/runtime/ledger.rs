//! The audit as the conductor sees it: it takes records, and has to be looked after.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::condition::Condition;
use crate::Result;
use crate::audit::{AuditLog, Body, PartContext};
use crate::camera::Shot;
use crate::line::{Alarm, Counters, Device, Happening, PartId, PartRecord, Ticket};
use crate::time::Monotonic;

/// What is said to somebody who asks for something that has to be on record.
const NO_ROOM: &str =
    "the audit takes no records now, so that it would not be on record: see to its disk first (audit-fault)";

pub(super) struct Ledger {
    audit: AuditLog,
    condition: Condition,
    /// What is to be told of the run before, if it ended without a word.
    interruption: Option<String>,
    /// Whether a record was ever refused.
    refused: bool,
    /// Whether the core knows that.
    told: bool,
    /// Frames by which a change in accepted parts would be shown.
    examples: BTreeSet<Ticket>,
    /// Their parts, as far as these have their fates.
    settled: BTreeMap<Ticket, PartId>,
}

impl Ledger {
    pub(super) fn new(audit: AuditLog) -> Self {
        let (condition, examples, settled) = (Condition::of(Device::Audit), BTreeSet::new(), BTreeMap::new());
        let interruption = audit.interruption().map(str::to_owned);
        Ledger { audit, condition, interruption, refused: false, told: false, examples, settled }
    }

    pub(super) fn write(&mut self, body: Body) {
        // Who asks nobody for an answer is told by the fault that this is.
        let _ = self.try_write(body);
    }

    /// The same for what somebody asks for.
    ///
    /// # Errors
    ///
    /// It will not be on record, in words.
    pub(super) fn try_write(&mut self, body: Body) -> std::result::Result<(), String> {
        // What came before may be refused, and this one find room a moment later.
        self.refused |= self.audit.tend().is_err();
        let written = self.audit.put(body);
        self.refused |= written.is_err();
        written.map_err(|_| NO_ROOM.to_owned())
    }

    /// Whether what is asked for now would be on record.
    ///
    /// # Errors
    ///
    /// It would not, in words.
    pub(super) fn has_room(&self) -> std::result::Result<(), String> {
        if self.audit.has_room() { Ok(()) } else { Err(NO_ROOM.to_owned()) }
    }

    /// A frame that was inspected, had to make room for another, or cannot be judged.
    pub(super) fn saw(&self, ticket: Ticket, is_open: bool, shot: impl Into<Shot>) {
        self.audit.saw(ticket, is_open, shot);
    }

    /// A frame that shows no part.
    pub(super) fn forget(&self, ticket: Ticket) {
        self.audit.forget(ticket);
    }

    /// The parts of these frames are remembered, with their pictures, and those of no others any more.
    pub(super) fn examples(&mut self, tickets: BTreeSet<Ticket>) {
        self.settled.retain(|ticket, _| tickets.contains(ticket));
        self.examples = tickets;
        self.hold_examples();
    }

    /// The part of such a frame, once it has its fate.
    pub(super) fn example(&self, ticket: Ticket) -> Option<PartId> {
        self.settled.get(&ticket).copied()
    }

    /// The pictures of these parts are kept: a change is shown by them.
    pub(super) fn keep(&self, parts: impl Iterator<Item = PartId>) {
        parts.for_each(|part| self.audit.keep(part));
    }

    fn hold_examples(&self) {
        self.audit.hold(self.settled.values().copied().collect());
    }

    pub(super) fn part(&mut self, record: &PartRecord, context: PartContext) {
        let tickets = record.ticket.into_iter().chain(record.views.iter().map(|view| view.ticket));
        let examples = tickets.filter(|ticket| self.examples.contains(ticket)).map(|ticket| (ticket, record.part));
        let before = self.settled.len();
        self.settled.extend(examples);
        if self.settled.len() > before {
            self.hold_examples();
        }
        self.refused |= self.audit.part(record, context).is_err();
    }

    /// An alarm was raised.
    pub(super) fn alarm(&mut self, at: Monotonic, alarm: Alarm, why: &str) {
        self.write(Body::alarm(at, alarm, Some(why)));
        self.audit.keep_around();
    }

    /// Something happened around which pictures are kept.
    pub(super) fn keep_around(&self) {
        self.audit.keep_around();
    }

    /// The run ends.
    pub(super) fn stop(&mut self, at: Monotonic, reason: &str, counters: &Counters) {
        self.refused |= self.audit.stop(at, reason, counters).is_err();
    }

    /// What happened to the audit since the last call. A thread that hangs on a disk cannot tell, so it is looked at.
    pub(super) fn news(&mut self) -> impl Iterator<Item = Happening> + use<> {
        self.refused |= self.audit.tend().is_err();
        let change = self.condition.follow(self.audit.health());
        let lost = (self.refused && !self.told && self.audit.stops_line()).then_some(Happening::AuditLost);
        self.told = self.refused;
        let interrupted = self.interruption.take().map(Happening::Interrupted);
        interrupted.into_iter().chain(change).chain(lost)
    }

    pub(super) fn path(&self) -> &Path {
        self.audit.path()
    }

    pub(super) fn close(self) -> Result<()> {
        self.audit.close()
    }
}
