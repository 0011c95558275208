//! The end of the file: what is on disk for certain, and what was written behind it.

use std::io::Result;
use std::time::{Duration, Instant};

use super::chain::Link;
use super::checkpoint::{Checkpoint, Made};
use super::copier::Copier;
use super::key::Signer;
use super::record::Body;
use super::rotation::{Rotation, today};
use super::store::Store;
use crate::time::Monotonic;

/// How often what is written is signed.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);

/// A place in the file, and what a line there continues.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) link: Link,
    /// Bytes of whole lines.
    pub(super) length: u64,
    /// Lines up to and with the newest checkpoint, and when that was made by this run.
    pub(super) signed: u64,
    pub(super) signed_at: Option<Instant>,
}

/// Signs what is written, and tells somebody outside.
pub(super) struct Notary {
    pub(super) signer: Signer,
    /// Who copies the newest checkpoint elsewhere.
    pub(super) copiers: Vec<Copier>,
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
    notary: Option<Notary>,
    /// When the file is closed and another one begun; `None`: never.
    rotation: Option<Rotation>,
    /// The newest checkpoint, while it may not be on disk yet. What nobody outside has seen can still be signed otherwise.
    unpublished: Option<String>,
}

impl Tail {
    pub(super) fn new(store: Box<dyn Store>, end: End, notary: Option<Notary>, rotation: Option<Rotation>) -> Self {
        let (synced, written) = (end.clone(), end);
        Tail { store, synced, written, unsynced: None, torn: false, notary, rotation, unpublished: None }
    }

    /// Closes the file and begins another one, if it is time to and all is on disk. The last line of a file is signed. One that cannot be
    /// closed grows on, and [`Tail::unclosed`] says why.
    ///
    /// # Errors
    ///
    /// The last checkpoint cannot be written.
    pub(super) fn rotate(&mut self) -> Result<()> {
        let is_due = self.rotation.as_mut().is_some_and(|rotation| rotation.is_due(&self.written, &today()));
        if !is_due || self.unsynced.is_some() || self.torn {
            return Ok(());
        }
        if let Some(rotation) = &mut self.rotation
            && let Err(error) = rotation.is_free()
        {
            rotation.failed(&error);
            return Ok(());
        }
        if self.checkpoint_due().is_some()
            && let Err(error) = self.checkpoint().and_then(|()| self.sync())
        {
            // Nothing else tells of it once the disk takes records again, and the file is as long as before.
            if let Some(rotation) = &mut self.rotation {
                rotation.failed(&error);
            }
            return Err(error);
        }
        let Some(rotation) = &mut self.rotation else { return Ok(()) };
        let closed = rotation.closed();
        let name = closed.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut link = self.written.link.clone();
        link.begin_file();
        let header = link.seal(&Body::continued(Monotonic::now(), &rotation.setting, &name, &link).0);
        if let Err(error) = self.store.rotate(&closed, header.as_bytes()) {
            rotation.failed(&error);
            return Ok(());
        }
        rotation.done();
        self.written = End { link, length: header.len() as u64, ..self.written };
        self.synced = self.written.clone();
        // The file bears its name only when its folder is on disk too.
        self.unsynced = Some(Instant::now());
        Ok(())
    }

    /// Why the file could not be closed when it was time to.
    pub(super) fn unclosed(&self) -> Option<&str> {
        self.rotation.as_ref()?.failure()
    }

    /// When a file that could not be closed is tried again; `None` also while [`Tail::rotate`] has to wait for something else.
    pub(super) fn rotation_due(&self) -> Option<Instant> {
        self.rotation.as_ref()?.again().filter(|_| self.unsynced.is_none() && !self.torn)
    }

    /// Bytes that are free where the log is; `None` where nobody knows.
    pub(super) fn free(&self) -> Option<u64> {
        self.store.free()
    }

    /// As [`Store::astray`].
    pub(super) fn astray(&self) -> Option<String> {
        self.store.astray()
    }

    /// As [`Store::left`].
    pub(super) fn left(&self, progress: &mut dyn FnMut()) -> Option<String> {
        self.store.left(progress)
    }

    /// When the next checkpoint is due: at once for the first, and never while there is nothing new to sign.
    pub(super) fn checkpoint_due(&self) -> Option<Instant> {
        let has_news = self.notary.is_some() && self.written.link.seq() > self.written.signed;
        has_news.then(|| self.written.signed_at.map_or_else(Instant::now, |last| last + CHECKPOINT_EVERY))
    }

    /// Whether all that is on disk is signed, as far as anything is.
    pub(super) fn is_signed(&self) -> bool {
        self.notary.is_none() || self.synced.signed == self.synced.link.seq()
    }

    /// Signs all that was written, if something came since the last checkpoint.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        if self.checkpoint_due().is_none() {
            return Ok(());
        }
        let Some(notary) = &self.notary else { return Ok(()) };
        let made = Made::now();
        let note = Checkpoint::sign(&self.written.link, &made, &notary.signer);
        self.append(std::iter::once(&Body::checkpoint(&made, &note)))?;
        self.written.signed = self.written.link.seq();
        self.written.signed_at = Some(Instant::now());
        self.unpublished = Some(note);
        Ok(())
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
        let mut link = self.written.link.clone();
        let lines = bodies.map(|body| link.seal(&body.0)).collect::<String>();
        if let Err(error) = self.store.append(lines.as_bytes()) {
            self.torn = true;
            // What is left of it would be a torn line to whoever reads the log now; to cut it off needs no room. Where that fails too, the
            // next attempt does it.
            let _ = self.store.truncate(self.written.length);
            return Err(error);
        }
        self.written = End { link, length: self.written.length + lines.len() as u64, ..self.written };
        self.unsynced.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Forces what was written onto the disk. After an error all that was written since the last success has to be written
    /// again: Linux drops pages that it could not write, and the next sync succeeds without them.
    pub(super) fn sync(&mut self) -> Result<()> {
        match self.store.sync() {
            // A pipe or a device has no disk below it.
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => {
                self.written = self.synced.clone();
                self.unpublished = None;
                self.torn = true;
                // It is tried again, also when nothing more comes.
                self.unsynced = Some(Instant::now());
                Err(error)
            }
            _ => {
                self.synced = self.written.clone();
                self.unsynced = None;
                self.publish();
                Ok(())
            }
        }
    }

    fn publish(&mut self) {
        if let (Some(note), Some(notary)) = (self.unpublished.take(), &self.notary) {
            notary.copiers.iter().for_each(|copier| copier.copy(note.clone()));
        }
    }
}
