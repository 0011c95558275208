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
    /// The public key that signs the log; its records have a place of their own for it.
    #[serde(default, skip_serializing)]
    pub(super) key: Option<String>,
    /// Who let model and calibrations into production, likewise; `None` where a file begins that an older program wrote.
    #[serde(default, skip_serializing)]
    pub(super) approvals: Option<Vec<Approval>>,
}

/// What is another than in the run before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// `program`, `configuration`, `model`, `calibration of CLASS`, `approval of` one of these two, or `signing key`.
    what: String,
    /// A SHA-256; of an approval what it says, and of a key the public one.
    from: Option<String>,
    to: Option<String>,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |told: &Option<String>| match told {
            Some(told) => told.parse::<Digest>().map_or_else(|_| told.clone(), |digest| digest.short()),
            None => "none".to_owned(),
        };
        write!(f, "another {} ({}, and it was {})", self.what, short(&self.to), short(&self.from))
    }
}

impl Change {
    /// Whether a person is to answer for it: for a model or a calibration that decides from now on.
    pub(super) fn wants_a_name(&self) -> bool {
        self.to.is_some() && (self.what == MODEL || self.what.starts_with(CALIBRATION))
    }

    /// Who did.
    pub(super) fn approval<'a>(&self, approvals: &'a [Approval]) -> Option<&'a Approval> {
        let file = self.to.as_deref().filter(|_| self.wants_a_name())?.parse().ok()?;
        approval_of(&self.what, file, approvals)
    }
}

impl Deciders {
    /// Those of a run, whose log this public key signs.
    pub(super) fn of(run: &RunStart, key: Option<String>) -> Self {
        let (config, bundle, calibrations) = (run.config, Some(run.bundle), run.calibrations.clone());
        let (program_sha256, approvals) = (own_digest(), Some(run.approvals.clone()));
        Deciders { program_sha256, config, bundle, calibrations, key, approvals }
    }

    /// What is another here than in `before`. Logs of format 1 do not say which program it was.
    pub(super) fn changes(&self, before: &Deciders) -> Vec<Change> {
        let program = before.program_sha256.map(|from| ("program".into(), Some(from), self.program_sha256));
        let fixed = [("configuration".to_owned(), before.config, self.config)];
        let files = self.files(before);
        let digests = program.into_iter().chain(fixed).chain(files.clone());
        let digests = digests.map(|(what, from, to)| {
            let told = |digest: Option<Digest>| digest.map(|digest| digest.to_string());
            (what, told(from), told(to))
        });
        // Of another file its own change says who approved of it.
        let approvals = files.into_iter().filter(|(_, from, to)| from == to && before.approvals.is_some());
        let approvals = approvals.filter_map(|(what, _, file)| {
            let told = |deciders: &Deciders| {
                approval_of(&what, file?, deciders.approvals.as_deref()?).map(Approval::to_string)
            };
            file.map(|_| (format!("approval of {what}"), told(before), told(self)))
        });
        let key = ("signing key".to_owned(), before.key.clone(), self.key.clone());
        let all = digests.chain(approvals).chain([key]);
        all.filter(|(_, from, to)| from != to).map(|(what, from, to)| Change { what, from, to }).collect()
    }

    /// The model and every calibration, before and now.
    fn files(&self, before: &Deciders) -> Vec<(String, Option<Digest>, Option<Digest>)> {
        let classes = self.calibrations.keys().chain(before.calibrations.keys()).collect::<BTreeSet<_>>();
        let calibrations = classes.into_iter().map(|class| {
            let of = |deciders: &Deciders| deciders.calibrations.get(class).copied();
            (format!("{CALIBRATION} of {class}"), of(before), of(self))
        });
        std::iter::once((MODEL.into(), before.bundle, self.bundle)).chain(calibrations).collect()
    }
}

/// Who let the file into production as this: two lanes may have the same calibration, and each its own approval.
pub(crate) fn approval_of<'a>(what: &str, file: Digest, approvals: &'a [Approval]) -> Option<&'a Approval> {
    let of_file = || approvals.iter().filter(|approval| approval.sha256 == file);
    let is_lane_s = |approval: &&Approval| approval.lanes.iter().any(|lane| what.ends_with(&in_lane(lane)));
    of_file().find(is_lane_s).or_else(|| of_file().find(|approval| approval.lanes.is_empty()))
}

/// How the name of a lane's own calibration ends.
pub(crate) fn in_lane(lane: &str) -> String {
    format!(" in lane {lane}")
}

/// The SHA-256 of the program's own file; `None` where it cannot be read.
fn own_digest() -> Option<Digest> {
    static OWN: OnceLock<Option<Digest>> = OnceLock::new();
    *OWN.get_or_init(|| {
        let file = std::fs::File::open("/proc/self/exe").ok()?;
        Digest::of_all(file).ok()
    })
}
