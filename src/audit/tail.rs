//! The end of the file: what is on disk for certain, and what was written behind it.

use std::io::Result;
use std::time::Instant;

use super::chain::Link;
use super::open::Store;
use super::record::Body;

/// A place in the file, and what a line there continues.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) link: Link,
    /// Bytes of whole lines.
    pub(super) length: u64,
}

pub(super) struct Tail {
    store: Box<dyn Store>,
    /// Up to here all is on disk.
    synced: End,
    /// Up to here whole lines were written.
    written: End,
    /// Since when something waits to be forced onto the disk.
    unsynced: Option<Instant>,
    /// What follows `written` does not count: a part of a line, or lines that may not have reached the disk.
    torn: bool,
}

impl Tail {
    pub(super) fn new(store: Box<dyn Store>, end: End) -> Self {
        Tail { store, synced: end, written: end, unsynced: None, torn: false }
    }

    pub(super) fn unsynced(&self) -> Option<Instant> {
        self.unsynced
    }

    /// Chains all of `bodies` to what was written. After an error none of them was.
    pub(super) fn append<'a>(&mut self, bodies: impl Iterator<Item = &'a Body>) -> Result<()> {
        if self.torn {
            self.store.truncate(self.written.length)?;
            self.torn = false;
        }
        let mut link = self.written.link;
        let lines = bodies.map(|body| link.seal(&body.0)).collect::<String>();
        self.store.append(lines.as_bytes()).inspect_err(|_| self.torn = true)?;
        self.written = End { link, length: self.written.length + lines.len() as u64 };
        self.unsynced.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Forces what was written onto the disk. After an error all that was written since the last success has to be written
    /// again: Linux drops pages that it could not write, and the next sync succeeds without them.
    pub(super) fn sync(&mut self) -> Result<()> {
        match self.store.sync() {
            // A pipe or a device has no disk below it.
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => {
                self.written = self.synced;
                self.torn = true;
                self.unsynced = None;
                Err(error)
            }
            _ => {
                self.synced = self.written;
                self.unsynced = None;
                Ok(())
            }
        }
    }
}
