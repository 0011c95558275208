//! `hgad check`.

use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressBar;

use crate::check::{self, Finding, Plan};
use crate::config::LineConfig;
use crate::{Error, Result, print};

const EXAMPLES: &str = r"Examples:
  # Before the first run, and after every change of the wiring
  hgad check --config line3.toml

  # With one shot of the ejector: keep your hands away from it
  hgad check --config line3.toml --fire

  # Watch the camera and the encoder for half a minute
  hgad check --config line3.toml --seconds 30";

/// Open and measure all that a line's configuration names, and say what to do about each problem
///
/// The model reproduces its golden frames; the camera's rate, jitter and faults; light and focus against the calibration; the time of
/// an inspection against the way to the ejector and the parts' spacing; how long an output takes to be told; the level of each sensor;
/// the encoder's count; the audit's log, keys and disk; clock, scheduling and memory.
///
/// The line must not run at the same time. Outputs are brought to their safe levels, as a run does at its start: a stop-line output
/// and an alarm are active then. Nothing is ejected without --fire, and nothing is written into the audit. The exit code is 1
/// when there is a problem; a note is no problem.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct CheckArgs {
    /// The line's configuration (docs/configuration.md)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// For how long camera and encoder are watched
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Let the ejector act once, for the length of its pulse
    #[arg(long)]
    fire: bool,
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.1..=3600.0).contains(&number) => Ok(number),
        _ => Err("give a number from 0.1 to 3600".into()),
    }
}

pub fn run(args: &CheckArgs) -> Result<()> {
    let config = LineConfig::open(&args.config)?;
    let plan = Plan { watch: Duration::from_secs_f64(args.seconds), fire: args.fire };
    let bar = ProgressBar::new_spinner().with_message("checking");
    bar.enable_steady_tick(Duration::from_millis(100));
    let (mut all, mut problems, mut printed) = (0, 0, Ok(()));
    check::check(&config, plan, |finding| {
        all += 1;
        problems += u64::from(finding.is_problem());
        if printed.is_ok() {
            printed = bar.suspend(|| print::line(told(&finding)));
        }
    });
    bar.finish_and_clear();
    printed?;
    match problems {
        0 => Ok(()),
        _ => Err(Error::check(format!("{} in {all} checks", print::counted(problems, "problem")))
            .advise("do what the table says, and check again")),
    }
}

/// A row of the table, with what to do below it.
fn told(finding: &Finding) -> String {
    let row = format!("{:<14} {:<8} {}", finding.what, finding.state.as_str(), finding.measured);
    match finding.state.advice() {
        None => row,
        Some(advice) => format!("{row}\n{:<14} {:<8} -> {advice}", "", ""),
    }
}
