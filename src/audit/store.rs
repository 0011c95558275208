//! What a log is written to.

use std::path::Path;

/// Where lines end up: a file, or something that fails on demand.
pub trait Store: Send {
    /// Appends all of `bytes`, or an unknown part of them and an error.
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()>;

    /// Removes what follows the first `length` bytes.
    fn truncate(&mut self, length: u64) -> std::io::Result<()>;

    /// Forces what was appended onto the disk.
    fn sync(&mut self) -> std::io::Result<()>;

    /// Puts what was appended, all of which is on the disk, aside as `closed`, and goes on with `header` alone, which is on the
    /// disk for certain after the next [`Store::sync`]. After an error it goes on as before.
    fn rotate(&mut self, closed: &Path, header: &[u8]) -> std::io::Result<()>;

    /// Bytes that are free where it is; `None` where nobody knows.
    fn free(&self) -> Option<u64>;

    /// What is to be said where what is appended is not found under its name any more, since somebody moved or removed it.
    fn astray(&self) -> Option<String> {
        None
    }

    /// The same when nothing more comes, after what would be gone then was kept under another name; `progress` is told that that goes on.
    fn left(&self, _progress: &mut dyn FnMut()) -> Option<String> {
        None
    }
}
