//! What decides about parts, and what of it is another than in the run before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::record::RunStart;
use crate::approval::Approval;
use crate::digest::Digest;

const MODEL: &str = "model";
const CALIBRATION: &str = "calibration";

/// What decides about parts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Deciders {
    /// The program's file.
    pub(super) program_sha256: Option<Digest>,
    pub(super) config: Option<Digest>,
    pub(super) bundle: Option<Digest>,
    #[serde(default)]
    pub(super) calibrations: BTreeMap<String, Digest>,
}

/// What is another than in the run before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// `program`, `configuration`, `model`, or `calibration of CLASS`.
    what: String,
    from: Option<Digest>,
    to: Option<Digest>,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |digest: Option<Digest>| digest.map_or_else(|| "none".to_owned(), |digest| digest.short());
        write!(f, "another {} ({}, and it was {})", self.what, short(self.to), short(self.from))
    }
}

impl Change {
    /// Whether a person is to answer for it: for a model or a calibration that decides from now on.
    pub(super) fn wants_a_name(&self) -> bool {
        self.to.is_some() && (self.what == MODEL || self.what.starts_with(CALIBRATION))
    }

    /// Who did.
    pub(super) fn approval<'a>(&self, approvals: &'a [Approval]) -> Option<&'a Approval> {
        approvals.iter().filter(|_| self.wants_a_name()).find(|approval| Some(approval.sha256) == self.to)
    }
}

impl Deciders {
    /// Those of a run.
    pub(super) fn of(run: &RunStart) -> Self {
        let (config, bundle, calibrations) = (run.config, Some(run.bundle), run.calibrations.clone());
        Deciders { program_sha256: own_digest(), config, bundle, calibrations }
    }

    /// What is another here than in `before`. Logs of format 1 do not say which program it was.
    pub(super) fn changes(&self, before: &Deciders) -> Vec<Change> {
        let classes = self.calibrations.keys().chain(before.calibrations.keys()).collect::<BTreeSet<_>>();
        let calibrations = classes.into_iter().map(|class| {
            let of = |deciders: &Deciders| deciders.calibrations.get(class).copied();
            (format!("{CALIBRATION} of {class}"), of(before), of(self))
        });
        let program = before.program_sha256.map(|from| ("program".into(), Some(from), self.program_sha256));
        let fixed = [("configuration".into(), before.config, self.config), (MODEL.into(), before.bundle, self.bundle)];
        let all = program.into_iter().chain(fixed).chain(calibrations);
        all.filter(|(_, from, to)| from != to).map(|(what, from, to)| Change { what, from, to }).collect()
    }
}

/// The SHA-256 of the program's own file; `None` where it cannot be read.
fn own_digest() -> Option<Digest> {
    static OWN: OnceLock<Option<Digest>> = OnceLock::new();
    *OWN.get_or_init(|| {
        let file = std::fs::File::open("/proc/self/exe").ok()?;
        Digest::of_all(file).ok()
    })
}
