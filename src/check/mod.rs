//! Whether a line can run: everything that its configuration names is opened and measured, and a person is told what to do.
//!
//! ```text
//! model (bundle, calibration, golden frames) --+
//! camera (rate, jitter, faults) ---------------+--> inference against the way to the ejector and the parts' spacing
//! outputs, inputs, encoder          machine (disk, clock, scheduling)
//! ```
//!
//! Nothing is fired unless that is asked for, and nothing is written into the audit.

mod audit;
mod camera;
mod devices;
mod machine;
mod model;
mod spread;

use std::path::PathBuf;
use std::time::Duration;

use crate::Error;
use crate::audit::Verifier;
use crate::config::LineConfig;
use crate::line::Limits;

/// How to check.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// For how long the camera and the encoder are watched.
    pub watch: Duration,
    /// Whether the ejector acts once.
    pub fire: bool,
}

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The thing: `camera`, `ejector`.
    pub what: String,
    /// What was measured, or why that was not possible.
    pub measured: String,
    /// What follows.
    pub state: State,
}

/// What follows from a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is as it should be.
    Ok,
    /// The line can run, and a person should know of this.
    Note(String),
    /// The line cannot run as it should, for as long as this is not done.
    Problem(String),
}

impl State {
    /// The state as one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Note(_) => "note",
            State::Problem(_) => "problem",
        }
    }

    /// What to do, or to know.
    pub fn advice(&self) -> Option<&str> {
        match self {
            State::Ok => None,
            State::Note(advice) | State::Problem(advice) => Some(advice),
        }
    }
}

impl Finding {
    fn ok(what: &str, measured: impl Into<String>) -> Self {
        Finding { what: what.into(), measured: measured.into(), state: State::Ok }
    }

    fn note(what: &str, measured: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { what: what.into(), measured: measured.into(), state: State::Note(advice.into()) }
    }

    fn problem(what: &str, measured: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding { what: what.into(), measured: measured.into(), state: State::Problem(advice.into()) }
    }

    fn failed(what: &str, error: &Error) -> Self {
        Self::problem(what, error.line(), error.advice().unwrap_or("mend this first, then check again"))
    }

    /// Whether the line cannot run as it should.
    pub fn is_problem(&self) -> bool {
        matches!(self.state, State::Problem(_))
    }
}

/// Opens and measures all that `config` names, one thing after the other, and tells of each when it is known.
pub fn check(config: &LineConfig, plan: Plan, mut tell: impl FnMut(Finding)) {
    let (inspector, model, approved) = model::load(config);
    tell(model);
    let view = camera::watch(config, plan.watch, &mut tell);
    if let Some(view) = &view {
        camera::inspect(config, view, inspector, &mut tell);
    }
    devices::outputs(config, plan.fire, &mut tell);
    devices::inputs(config, plan.watch, &mut tell);
    unlimited(&config.rules.limits).into_iter().for_each(&mut tell);
    approvers(&config.approved_by).into_iter().chain(approved).for_each(&mut tell);
    audit::check(config, view.as_ref(), &mut tell);
    machine::check(&mut tell);
}

/// Of a line that goes on whatever share of its parts it rejects: where the camera was pushed or the lens smeared, nearly every part is
/// rejected, and the test for drift looks at accepted ones.
fn unlimited(limits: &Limits) -> Option<Finding> {
    let is_limited = limits.in_a_row.is_some() || limits.share.is_some();
    (!is_limited).then(|| {
        Finding::note(
            "limits",
            "no alarm is raised however many parts in a row, or of all, do not pass, as after the camera was pushed or its lens smeared",
            "set one, as below [limits]: in_a_row = 5, or share = 0.2 with last = 100",
        )
    })
}

/// Who may let models and calibrations into production; of a line that asks nobody to answer for what it inspects by, how that is mended. `None` where a
/// key cannot be read: the model's finding says that.
fn approvers(approved_by: &[PathBuf]) -> Option<Finding> {
    if approved_by.is_empty() {
        return Some(Finding::note(
            "approval",
            "any model and calibration is loaded: whoever may write these files can change a threshold, and give no name and no reason",
            "let somebody answer for them: hgad audit keygen --name factory.example/quality --out quality.key, then hgad sign FILE --key \
             quality.key --by NAME --reason TEXT for the model and for each calibration, and below [line]: approved_by = [\"quality.key.pub\"]",
        ));
    }
    let named = |path: &PathBuf| Some(format!("{} ({})", Verifier::open(path).ok()?.label(), path.display()));
    let named = approved_by.iter().map(named).collect::<Option<Vec<_>>>()?.join(", ");
    Some(Finding::ok(
        "approval",
        format!("what is signed by {named} is loaded, and no other model or calibration (approved_by)"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_loads_anything_is_noted() {
        let told = approvers(&[]).unwrap();
        assert!(told.state.as_str() == "note" && told.state.advice().unwrap().contains("approved_by = ["), "{told:?}");
        assert_eq!(approvers(&["not-there.pub".into()]), None);
    }

    #[test]
    fn a_line_without_limits_is_noted_and_one_with_any_is_not() {
        let told = unlimited(&Limits::default()).unwrap();
        assert!(told.state.as_str() == "note" && told.state.advice().unwrap().contains("in_a_row = 5"), "{told:?}");
        assert_eq!(unlimited(&Limits { in_a_row: Some(5), ..Limits::default() }), None);
    }
}
