//! By which keys a log is checked before it is believed.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::audit::{self, Trust, Unvouched, Verified, Verifier, Vouched};

/// The public keys of a log.
#[derive(Debug, Clone, Default, clap::Args)]
pub(in crate::cli) struct Keys {
    /// The public key that signs the audit
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) key: Option<PathBuf>,
    /// A public key that signed it before that one did; may be given more than once
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(in crate::cli) former_key: Vec<PathBuf>,
}

impl Keys {
    pub(in crate::cli) fn are_given(&self) -> bool {
        self.key.is_some()
    }

    /// # Errors
    ///
    /// A key cannot be read.
    pub(super) fn trust(&self) -> Result<Trust> {
        let former = self.former_key.iter().map(|path| Verifier::open(path)).collect::<Result<_>>()?;
        Ok(Trust { key: self.key.as_deref().map(Verifier::open).transpose()?, former, kept: Vec::new() })
    }

    /// Checks the log in `path`, which a run may be writing, and warns of what cannot be ruled out.
    ///
    /// # Errors
    ///
    /// It is not what was written.
    pub(in crate::cli) fn check(&self, path: &Path) -> Result<Verified> {
        let trust = self.trust()?;
        let verified = audit::verify_while_written(path, &trust)?;
        verified.warnings.iter().for_each(|warning| log::warn!("{}: {warning}", path.display()));
        Ok(verified)
    }

    /// The same, for those who go by the records of the log alone that a key stands for, where one is given.
    ///
    /// # Errors
    ///
    /// As [`Keys::check`].
    pub(in crate::cli) fn vouched(&self, path: &Path) -> Result<Vouched> {
        let verified = self.check(path)?;
        let unvouched = if self.are_given() { verified.unvouched() } else { Unvouched::default() };
        unvouched.told().into_iter().for_each(|told| log::warn!("{}: {told}", path.display()));
        Ok(Vouched { unvouched, samples: verified.samples })
    }
}
