//! What stands in a log that is continued: held against other runs, and believed only if it is what was written.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::chain::Link;
use super::deciders::Deciders;
use super::interruption::Interruption;
use super::key::{Signer, Verifier};
use super::signatures::{Kept, Trust};
use super::verify::{self, Reading};
use super::{place, read};
use crate::config::SigningConfig;
use crate::{Error, Result, print, regular};

/// What to do where a log's copy of its newest checkpoint is not there.
pub(super) const LOST_COPY: &str = "mount its disk; if it is lost for good, or was never made, run once without checkpoint_copy, which the \
                                    audit then says";

/// What to do where a log that has just begun has no copy of its newest checkpoint.
pub(super) const FIRST_COPY: &str = "if the log is older than that, keep it as evidence, and the pictures with it";

/// Holds the file against a second run.
///
/// # Errors
///
/// Another run holds it.
pub(super) fn lock(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::device(format!("audit file {} is being written", path.display()))
            .because("another run holds its lock")
            .advise("stop the other run, or give this line an audit file of its own")),
        // File systems without locks (some network ones) are no reason not to run.
        Err(TryLockError::Error(error)) => {
            log::warn!("audit file {} cannot be locked against a second run: {error}", path.display());
            Ok(())
        }
    }
}

/// Whether a run holds the file of this name. One that this user may not open is held by nobody, as far as is known.
pub(crate) fn is_held(path: &Path) -> bool {
    let file = regular::open_own(File::options().append(true), &read::real(path));
    file.ok().flatten().is_some_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// What a log is continued with.
pub(super) struct Signing {
    pub(super) signer: Signer,
    pub(super) trust: Trust,
    /// The copy that checkpoints are kept in, where it is missing.
    missing_copy: Option<PathBuf>,
}

/// A key is never replaced, and what it signed is believed by its public one alone, which stays.
fn lost(key: &Path, error: Error) -> Error {
    let public = key.with_added_extension("pub");
    match !key.exists() && public.exists() {
        false => error,
        true => error.advise(format!(
            "put it back; if it is lost, make another one with: hgad audit keygen --name NAME --out OTHER, name that in [audit] key, and {} in \
             former_keys",
            public.display()
        )),
    }
}

impl Signing {
    /// # Errors
    ///
    /// A key, or the copy of the newest checkpoint, is there and cannot be read, or is none.
    pub(super) fn open(config: &SigningConfig) -> Result<Self> {
        let signer = Signer::open(&config.key).map_err(|error| lost(&config.key, error).of_key("audit.key"))?;
        let former = config.former_keys.iter().map(|path| Verifier::open(path)).collect::<Result<Vec<_>>>();
        let former = former.map_err(|error| error.of_key("audit.former_keys"))?;
        let copy = config.checkpoint_copy.as_ref();
        let (kept, missing_copy) = match copy.map(|copy| Kept::copy(copy)) {
            Some(Ok(kept)) => (Some(kept), None),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => (None, copy.cloned()),
            Some(Err(error)) => {
                return Err(Error::device("the copy of the newest checkpoint cannot be read")
                    .because(error)
                    .advise("[audit] checkpoint_copy names it: mount its disk, or let this user read it")
                    .of_key("audit.checkpoint_copy"));
            }
            None => (None, None),
        };
        let trust = Trust { key: Some(signer.verifier()), former, kept: kept.into_iter().collect() };
        Ok(Signing { signer, trust, missing_copy })
    }

    /// What is to be said of a copy that could not be made, and to be done: its folder is not there.
    pub(super) fn homeless(&self) -> Option<(String, String)> {
        let copy = self.missing_copy.as_ref()?;
        let folder = place::missing_folder(copy)?;
        Some((place::homeless(copy, folder), place::home(folder)))
    }
}

/// What stands in the newest file.
pub(super) struct Past {
    /// What is continued.
    pub(super) link: Link,
    /// Lines of the log that were not read: those of its older files.
    pub(super) unread: u64,
    /// Bytes of whole lines.
    pub(super) whole: u64,
    /// An unfinished line.
    pub(super) tail: Vec<u8>,
    /// Whether the last of the whole lines lacks its line feed.
    pub(super) unended: bool,
    /// What decided about parts in the run before.
    pub(super) deciders: Option<Deciders>,
    /// The newest picture that the log names and no record tells to be removed, and the record that names it.
    pub(super) picture: Option<(u64, String)>,
    /// What is to be said of a copy of the newest checkpoint that is missing, and may never have been made.
    pub(super) uncopied: Option<String>,
    /// The last run of the file whose records are signed, or in it if none are.
    pub(super) last_run: Option<String>,
    /// The run before, if it ended without a word.
    pub(super) interrupted: Option<Interruption>,
}

impl Past {
    /// Of a file that begins, or of what is no file.
    pub(super) const NONE: Past = Past {
        link: Link::START,
        unread: 0,
        whole: 0,
        tail: Vec::new(),
        unended: false,
        deciders: None,
        picture: None,
        uncopied: None,
        last_run: None,
        interrupted: None,
    };

    /// What is to be said of pictures that the log names and that are not in `folder`, though nobody tells that they were removed: looked
    /// for is the newest one alone, since what is removed begins with the oldest.
    pub(super) fn gone(&self, folder: &Path) -> Option<String> {
        let (record, file) = self.picture.as_ref()?;
        // A record is not trusted to name files elsewhere.
        let is_inside = Path::new(file).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        (is_inside && !folder.join(file).exists()).then(|| {
            format!(
                "pictures that the log names are gone: {file}, the newest one (record {record}), is not in {}, and no record tells that it was \
                 removed",
                folder.display()
            )
        })
    }

    /// What the next run mends in the file first, for people; `None` where all is whole.
    pub(super) fn unfinished(&self) -> Option<String> {
        match self.tail.len() {
            0 if !self.unended => None,
            0 => Some("its last line lacks its line feed: the next run puts that back".to_owned()),
            bytes => Some(format!(
                "its last line is unfinished: the next run cuts its {} off, and writes that down (repaired)",
                print::counted(bytes as u64, "byte")
            )),
        }
    }
}

/// Reads and checks the newest file of the log.
///
/// # Errors
///
/// It is not what was written, or its copy of the newest checkpoint is missing.
pub(super) fn past(path: &Path, signing: Option<&Signing>) -> Result<Past> {
    let unsigned = Trust::default();
    let trust = signing.map_or(&unsigned, |signing| &signing.trust);
    let reading = verify::read_newest(path, trust).map_err(|error| {
        let error = verify::refused(path, trust, error);
        let (advice, key) = (error.advice().map(str::to_owned), error.key());
        let mut refused = Error::device(format!("audit file {} cannot be continued", path.display())).because(error);
        if let Some(advice) = advice {
            refused = refused.advise(advice);
        }
        match key {
            Some(key) => refused.of_key(key),
            None => refused,
        }
    })?;
    if let Some(why) = reading.strange_tail() {
        return Err(Error::usage(format!("{} is there and no audit: it is left as it is", path.display()))
            .because(why)
            .advise("name another file, or move that one away; if it was an audit, somebody replaced it: keep it as evidence")
            .of_key("audit.file"));
    }
    let missing = signing.and_then(|signing| signing.missing_copy.as_ref()).filter(|_| reading.signatures.keeps_copy);
    if let Some(copy) = missing.filter(|_| !reading.signatures.may_lack_copy()) {
        let missing = Error::device(format!("the copy of the newest checkpoint is missing: {}", copy.display()));
        let because = match place::missing_folder(copy) {
            Some(folder) => format!("its folder {} is not there", folder.display()),
            None => "the run before kept one, or was to".to_owned(),
        };
        return Err(missing.because(because).advise(LOST_COPY).of_key("audit.checkpoint_copy"));
    }
    if let Some(outdated) = reading.signatures.not_compared() {
        log::warn!("audit file {} is continued, and {outdated}", path.display());
    }
    let uncopied = missing.map(|copy| {
        format!(
            "the copy of the newest checkpoint is not there ({}), and no run of the log has more than its first one: the runs before ended \
             in their first moment, before it was made, or the copy was removed and the log cut off",
            copy.display()
        )
    });
    let last_run = reading.last_run().map(str::to_owned);
    let unread = reading.absent();
    let Reading { link, whole, tail, unended, deciders, picture, newest, .. } = reading;
    Ok(Past {
        link,
        unread,
        whole,
        tail,
        unended,
        deciders,
        picture,
        uncopied,
        last_run,
        interrupted: newest.interruption(),
    })
}
