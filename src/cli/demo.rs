//! `hgad demo`.

use std::path::PathBuf;

use super::run::stop_on_signals;
use super::target::{self, Content};
use crate::demo::{self, FOLLOWABLE_RATE, Request};
use crate::{Result, print};

const EXAMPLES: &str = r"Examples:
  # 180 parts at a speed that can be followed
  hgad demo

  # What the model is worth: a thousand parts as fast as they can be inspected
  hgad demo --parts 1000 --max-speed --seed 7 --json summary.json";

/// See the whole line at work, with nothing at hand
///
/// Three rendered products with natural variation run over a synthetic conveyor; every tenth has a defect. A model that
/// the program carries judges them, and what it decides is held against the truth. The model was trained on none of
/// these parts.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DemoArgs {
    /// How many parts pass
    #[arg(long, value_name = "N", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..))]
    parts: u64,
    /// Which parts: the same seed gives the same ones
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// As fast as parts can be inspected, instead of 10 parts per second
    #[arg(long)]
    max_speed: bool,
    /// Write the summary as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The folder for the audit and the overlays; those of an earlier demo in it are replaced
    #[arg(long, value_name = "DIR", default_value = "hgad-demo")]
    out: PathBuf,
}

pub fn run(args: DemoArgs) -> Result<()> {
    args.json.as_deref().map_or(Ok(()), |path| target::file(path, Content::Json))?;
    // The log would tear the live view apart; who asks for it gets it.
    if std::env::var_os("RUST_LOG").is_none() {
        log::set_max_level(log::LevelFilter::Warn);
    }
    let rate = (!args.max_speed).then_some(FOLLOWABLE_RATE);
    let request = Request { parts: args.parts, seed: args.seed, rate, out: args.out };
    let report = demo::run(&request, stop_on_signals()?)?;
    if let Some(path) = &args.json {
        target::write(path, format!("{:#}\n", report.to_json()))?;
    }
    print::line(report)
}
