//! `hgad run`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::target::{self, Content};
use crate::config::{AuditConfig, LaneConfig, LineConfig};
use crate::draft;
use crate::runtime::{self, Summary, Wiring};
use crate::{Error, Result, print};

const EXAMPLES: &str = r"Examples:
  # Until the camera ends, SIGTERM or Ctrl-C
  hgad run --config line3.toml

  # A trial with 100 parts, its summary in a file
  hgad run --config line3.toml --max-parts 100 --json summary.json

  # Without touching the ejector
  hgad run --config line3.toml --dry-run

  # With nothing in the log but what needs attention
  RUST_LOG=warn hgad run --config line3.toml";

/// Inspect a line: grab, judge, eject, write down
///
/// SIGTERM and Ctrl-C end the run in good order: parts that were captured get their fates (without a verdict in time: a
/// reject), the ejector is released, the audit is on disk. Before the line is armed they end the program at once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RunArgs {
    /// The line's configuration (docs/configuration.md)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// End after so many parts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_parts: Option<u64>,
    /// Drive no output: rejects, stops and alarms are only written down; the run's start and the records of its parts say so (dry_run)
    #[arg(long)]
    dry_run: bool,
    /// Write the summary as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(args: RunArgs) -> Result<()> {
    args.json.as_deref().map_or(Ok(()), |path| target::file(path, Content::Json))?;
    let mut config = LineConfig::open(&args.config)?;
    args.json.as_deref().map_or(Ok(()), |json| is_nothing_of_the_audit(json, &config.audit))?;
    if args.dry_run {
        config.leave_outputs_alone();
        log::warn!("this is a dry run: no output is driven, and bad parts stay on the belt");
    }
    // Until all is open a signal ends the program at once: loading the model may take long on a small board, and a disk or a
    // device may hang.
    let opened = Wiring::open(&config)?;
    let stop = match stop_on_signals() {
        Ok(stop) => stop,
        Err(error) => return Err(opened.audit.never_began(error)),
    };
    let wiring = Wiring { max_parts: args.max_parts, stop, ..opened };
    log::info!("line '{}' is armed; {}", config.name, inspected(&config));
    let summary = runtime::run(wiring)?;
    let printed = print::line(&summary);
    if let Some(error) = hurried(&config, &summary) {
        log::warn!("{}", error.report());
    }
    let written = args.json.as_deref().map(|path| target::write(path, format!("{:#}\n", summary.to_json())));
    // What the machine is like comes before what became of the summary.
    summary.check()?;
    written.unwrap_or(Ok(())).and(printed)
}

/// Refuses a summary in the place of a file that the run itself makes, which would be lost when the run ends.
fn is_nothing_of_the_audit(json: &Path, audit: &AuditConfig) -> Result<()> {
    let signing = audit.signing.as_ref();
    let files = [
        ("audit", Some(&audit.file)),
        ("audit's key", signing.map(|signing| &signing.key)),
        ("copy of the audit's checkpoints", signing.and_then(|signing| signing.checkpoint_copy.as_ref())),
    ];
    match files.into_iter().find(|(_, file)| file.is_some_and(|file| draft::is_same(file, json))) {
        Some((what, _)) => {
            Err(Error::usage(format!("--json names the line's {what}")).advise("name another file for the summary"))
        }
        None => Ok(()),
    }
}

/// As what parts are inspected.
fn inspected(config: &LineConfig) -> String {
    let of_lane = |lane: &LaneConfig| match &lane.name {
        Some(name) => format!("parts of lane {name} are inspected as '{}'", lane.class),
        None => format!("parts are inspected as '{}'", lane.class),
    };
    config.lanes.iter().map(of_lane).collect::<Vec<_>>().join(", ")
}

/// What to do about a belt that is faster than the inspections.
fn hurried(config: &LineConfig, summary: &Summary) -> Option<Error> {
    let late = summary.counters.late;
    let measured = match summary.latency_ms.count {
        0 => "none came while its part was on the belt".to_owned(),
        _ => format!("those that came took {}", summary.latency_ms),
    };
    let error = || {
        let parts = print::counted(summary.counters.parts, "part");
        Error::check(format!("{late} of {parts} had no verdict 5 ms before the ejector")).because(measured).advise(
            "raise travel_ms and move the ejector as far, or train a smaller model (--size, --blocks, --hidden)",
        )
    };
    (late > 0).then(|| config.blame("line.travel_ms", error()))
}

/// A flag that the signals that ask a program to end set.
pub(super) fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, stop.clone())
            .map_err(|error| Error::device("the system does not let signals be caught").because(error))?;
    }
    Ok(stop)
}
