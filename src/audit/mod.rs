//! The line's memory: one JSON line per part and per event, chained by hash, so that a change shows years later.
//!
//! `docs/audit.md` is the format's reference. [`AuditLog`] writes, [`verify`] checks.

mod chain;
mod desk;
mod open;
mod record;
mod tail;
mod verify;
mod writer;

pub use desk::Refused;
pub use open::{AuditLog, Store};
pub use record::{Body, PartContext, RunStart, wall_time};
pub use verify::{Verified, verify};

/// The newest audit format, and the one that is written.
pub const FORMAT_VERSION: u32 = 1;

#[cfg(test)]
mod tests;
