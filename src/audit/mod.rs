//! The line's memory: one JSON line per part and per event, chained by hash and signed, so that a change shows years later.
//!
//! `docs/audit.md` is the format's reference. [`AuditLog`] writes, [`verify`] checks a file, [`prove`] and [`check`] a line.

mod astray;
mod background;
mod chain;
mod checkpoint;
mod clock;
mod copier;
mod course;
mod deciders;
mod desk;
mod doubtful;
pub(crate) mod harmless;
mod interruption;
mod inventory;
mod key;
mod kind;
mod looks;
mod newest;
mod open;
mod parts;
mod past;
mod pictures;
mod place;
mod pressure;
mod proof;
mod query;
mod read;
mod readiness;
mod record;
mod removed;
mod report;
mod retention;
mod rotation;
mod runs;
mod seen;
mod signatures;
mod spot;
mod store;
mod stored;
mod tail;
mod tree;
mod verify;
mod vouched;
mod writer;

pub use chain::{Rift, fits};
pub use checkpoint::{Checkpoint, Made};
pub(crate) use clock::is_synchronised;
pub(crate) use deciders::{approval_of, in_lane};
pub use desk::Refused;
pub use doubtful::Doubtful;
pub use inventory::{Amiss, Fault, Inventory, Unnamed, inventory};
pub(crate) use key::signers;
pub use key::{Signer, Verifier};
pub use kind::Kind;
pub use open::AuditLog;
pub(crate) use past::is_held;
pub use place::reach;
pub use proof::{Proved, check, prove};
pub use query::Query;
pub(crate) use read::real;
pub use read::{
    Entry, FrameEntry, LatencyEntry, LogFile, PictureEntry, PictureFaultEntry, Range, absent, files, may_be_missing,
    span,
};
pub use readiness::{Readiness, readiness};
pub use record::{Body, PartContext, RunStart, wall_time};
pub use removed::Removed;
pub use report::{Checked, Gallery, Origin, Shift, ShiftPage, report};
pub use runs::Startless;
pub use signatures::{Kept, SignedBy, Trust};
pub use store::Store;
pub use stored::{Stored, pixels_of, read_picture};
pub use verify::{Verified, verify, verify_while_written};
pub use vouched::{Samples, Unvouched, Vouched};

/// The newest audit format, and the one that is written.
pub const FORMAT_VERSION: u32 = 2;

#[cfg(test)]
mod tests;
