//! The log's newest file: found, taken, and begun on by a run, which puts its start there; or refused.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::astray::{self, is_at};
use super::past::{self, Past, Signing};
use super::record::{Body, RunStart, Setting};
use super::rotation;
use super::store::Store;
use super::tail::End;
use super::{read, readiness};
use crate::time::Monotonic;
use crate::{Error, Result, draft};

/// What is said of a model or a calibration that nobody signed for.
const UNNAMED: &str = "nobody's name and reason are on record, since [line] approved_by names no key (hgad sign)";

/// What is said of a last line that lacks nothing but its line feed.
const UNENDED: &str = "the last line was whole, and the line feed behind it was missing, which was put back (the machine lost power, or an \
                       editor changed the file)";

/// Where the log's newest file is, or will be: a run that is refused before it begins leaves no file that would look like a log whose
/// records were all removed.
pub(super) struct Found {
    path: PathBuf,
    /// Held against other runs; `None` where there is none yet.
    file: Option<File>,
    /// Whether it is a file: a device or a pipe has no past, and nothing can be forced onto its disk.
    pub(super) is_regular: bool,
}

/// So often the newest file is looked for while other runs close it.
const LOOKS: usize = 10;

impl Found {
    /// Looks for the file, holds it against other runs, and reads what stands in it.
    pub(super) fn at(path: &Path, signing: Option<&Signing>) -> Result<(Self, Past)> {
        let failed = |error| cannot_be_written(path, error);
        let file = newest(path, || OpenOptions::new().append(true).open(path))?;
        if file.is_some() {
            rotation::tidy(path).map_err(failed)?;
        }
        let is_regular = match &file {
            Some(file) => file.metadata().map_err(failed)?.is_file(),
            None => true,
        };
        let past = match is_regular {
            true => past::past(path, signing)?,
            false if signing.is_none() => Past::NONE,
            false => {
                return Err(Error::usage(format!("{} is no file: what is signed must have a past", path.display()))
                    .advise("name a file, or leave [audit] key out"));
            }
        };
        Ok((Found { path: path.to_owned(), file, is_regular }, past))
    }

    /// The file that was found, or a new one, in which nobody has written since.
    pub(super) fn take(self) -> Result<Newest> {
        let Found { path, file, is_regular } = self;
        let (file, is_made) = match file {
            Some(file) if is_regular && !is_at(&file, &path).map_err(|error| cannot_be_written(&path, error))? => {
                return Err(was_exchanged(&path));
            }
            Some(file) => (file, false),
            None => {
                let made = made(&path)?;
                rotation::tidy(&path).map_err(|error| cannot_be_written(&path, error))?;
                made
            }
        };
        Ok(Newest { file, path, is_regular, is_made, owes_folder: is_regular })
    }
}

/// The log's newest file as `open` finds it, held against other runs; `None` where no log is. Where it is gone and older ones are there,
/// another run is closing it at this moment, and the next one is there soon: a new log beside those would destroy them.
fn newest(path: &Path, mut open: impl FnMut() -> std::io::Result<File>) -> Result<Option<File>> {
    for _ in 0..LOOKS {
        rotation::recover(path, &read::files(path)?)?;
        match open() {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(cannot_be_written(path, error)),
            Err(_) if has_closed(path)? => {}
            Err(_) => return Ok(None),
            Ok(file) => return hold(&file, path).map(|()| Some(file)),
        }
    }
    Err(was_exchanged(path))
}

fn has_closed(path: &Path) -> Result<bool> {
    Ok(read::files(path)?.iter().any(|file| file.number.is_some()))
}

/// Makes the file, and holds it against other runs; also says whether it was made here for certain.
fn made(path: &Path) -> Result<(File, bool)> {
    let failed = |error| cannot_be_written(path, error);
    let open = |options: &mut OpenOptions| options.append(true).open(path);
    let (file, is_made) = match open(OpenOptions::new().create_new(true)) {
        Ok(file) => (file, true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            (open(OpenOptions::new().create(true)).map_err(failed)?, false)
        }
        Err(error) => return Err(failed(error)),
    };
    hold(&file, path)?;
    let is_empty = file.metadata().map_err(failed)?.len() == 0;
    match has_closed(path)? {
        false if is_empty => return Ok((file, is_made)),
        // Another run began the log meanwhile, and is closing its first file: its name is left to the next one.
        true if is_empty => std::fs::remove_file(path).map_err(failed)?,
        _ => {}
    }
    Err(was_exchanged(path))
}

/// Holds the file against other runs, as long as it bears the log's name still.
fn hold(file: &File, path: &Path) -> Result<()> {
    past::lock(file, path)?;
    match is_at(file, path).map_err(|error| cannot_be_written(path, error))? {
        true => Ok(()),
        false => Err(was_exchanged(path)),
    }
}

fn was_exchanged(path: &Path) -> Error {
    Error::device(format!("audit file {} was made or exchanged while the run began", path.display()))
        .because("another run, or a person, put a file there at the same moment")
        .advise("see that no other run writes there, and start again")
}

/// The log's newest file, in which a run writes.
pub(super) struct Newest {
    file: File,
    path: PathBuf,
    /// As [`Found::is_regular`].
    pub(super) is_regular: bool,
    /// Whether this run made it: it was not there before.
    is_made: bool,
    /// Whether its folder has to be forced onto the disk, without which the file is not there after a power cut.
    owes_folder: bool,
}

impl Newest {
    /// Repairs what a power cut left, and puts the run's start on disk, with what is another than in the run before, and what is told of
    /// pictures, each with what to do.
    pub(super) fn begin(
        &mut self,
        past: Past,
        started: Monotonic,
        run: &RunStart,
        setting: &Setting,
        doubts: &[(String, &str)],
    ) -> Result<End> {
        let Past { mut link, whole, tail, unended, deciders: before, interrupted, .. } = past;
        let path = self.path.clone();
        let failed = |error| cannot_be_written(&path, error);
        let mut lines = String::new();
        if unended {
            log::warn!("audit file {}: {UNENDED}", path.display());
            lines.push('\n');
            lines.push_str(&link.seal(&Body::note(Monotonic::now(), UNENDED).0));
        }
        if !tail.is_empty() {
            log::warn!(
                "audit file {}: the last line was unfinished (the machine lost power, or the program was killed); \
                 its {} bytes are cut off",
                path.display(),
                tail.len()
            );
            self.truncate(whole).map_err(failed)?;
            lines.push_str(&link.seal(&Body::repaired(Monotonic::now(), &tail).0));
        }
        lines.push_str(&link.seal(&Body::start(started, run, setting.clone()).0));
        if let Some(interruption) = &interrupted {
            log::warn!("{}", interruption.told());
            lines.push_str(&link.seal(&Body::interrupted(Monotonic::now(), interruption).0));
        }
        for (doubt, advice) in doubts {
            log::warn!("{doubt}: {advice}");
            lines.push_str(&link.seal(&Body::note(Monotonic::now(), doubt).0));
        }
        for change in before.iter().flat_map(|before| setting.deciders.changes(before)) {
            log::warn!("since the run before: {change}");
            let approval = change.approval(&run.approvals);
            lines.push_str(&link.seal(&Body::changed(Monotonic::now(), &change, approval).0));
            if change.wants_a_name() && approval.is_none() {
                log::warn!("that is a change without a name: {UNNAMED}");
                lines.push_str(&link.seal(&Body::unnamed_change(Monotonic::now(), &change, UNNAMED).0));
            }
        }
        for (class, parts) in &run.drift {
            let restarted = before.is_some();
            if restarted {
                log::info!("the test for drift of '{class}' begins anew, with {parts} parts of its calibration");
            }
            lines.push_str(&link.seal(&Body::drift_begun(Monotonic::now(), class, *parts, restarted).0));
        }
        let forced = match self.append(lines.as_bytes()) {
            Ok(()) if self.is_regular => self.sync(),
            appended => appended,
        };
        if let Err(error) = forced {
            // What is there is left as it was found: the next run has to see, and to tell of, the same unfinished line. An empty file that
            // was not there before would look like a log whose records were all removed.
            let put_back = match self.is_made {
                true => is_at(&self.file, &path)
                    .and_then(|is_own| if is_own { std::fs::remove_file(&path) } else { Ok(()) }),
                false if self.is_regular => self.truncate(whole).and_then(|()| self.append(&tail)),
                false => Ok(()),
            };
            if let Err(error) = put_back {
                log::error!("audit file {} cannot be put back as it was either: {error}", path.display());
            }
            return Err(failed(error));
        }
        Ok(End { link, length: whole + lines.len() as u64, signed: 0, signed_at: None })
    }
}

fn cannot_be_written(path: &Path, error: std::io::Error) -> Error {
    Error::device(format!("audit file {} cannot be written", path.display()))
        .because(error)
        .advise("check that its folder exists, that this user may write there, and that the disk has room")
        .of_key("audit.file")
}

impl Store for Newest {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)
    }

    fn truncate(&mut self, length: u64) -> std::io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.file.sync_data()?;
        // One that has become so meanwhile may call forced what it took and never wrote (ext4 does).
        if readiness::is_read_only(&self.file) {
            return Err(std::io::Error::from_raw_os_error(libc::EROFS));
        }
        if self.owes_folder {
            draft::sync_folder(&self.path)?;
            self.owes_folder = false;
        }
        Ok(())
    }

    fn rotate(&mut self, closed: &Path, header: &[u8]) -> std::io::Result<()> {
        self.file = rotation::rotate(&self.file, &self.path, closed, header)?;
        self.owes_folder = true;
        Ok(())
    }

    fn free(&self) -> Option<u64> {
        readiness::free(&self.file)
    }

    fn astray(&self) -> Option<String> {
        astray::told(&self.file, &self.path).filter(|_| self.is_regular)
    }

    fn left(&self, progress: &mut dyn FnMut()) -> Option<String> {
        astray::left(&self.file, &self.path, progress).filter(|_| self.is_regular)
    }
}

#[cfg(test)]
mod tests;
