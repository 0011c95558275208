//! `hgad calibrate what-if`.

use std::path::PathBuf;

use crate::audit::Range;
use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::calibrate::report;
use crate::calibrate::what_if::{Question, WhatIf, ask};
use crate::cli::audit::{Keys, Moment, can_be_read_again, pictures_folder};
use crate::cli::target::{self, Content};
use crate::{Error, Result, print};

const EXAMPLES: &str = r"Examples:
  # Another threshold on the same images: recorded scores tell
  hgad calibrate what-if new.toml --audit audit.jsonl \
    --was calibration/cap.toml

  # Other images or another model: stored pictures are scored again
  hgad calibrate what-if new.toml --audit audit.jsonl \
    --model models/line3 --from 2026-11-17 --out what-if.html";

/// Tell what a calibration would have done to parts that are on record
///
/// A recorded score counts where the same model and the same constants gave it: name the calibrations that were in use then with
/// --was. Other parts are scored again from their stored pictures, with --model. Rejected parts keep these; of passed ones those
/// that [audit] sample chose stand for all, and an interval says what they tell. What nobody knows is counted.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct WhatIfArgs {
    /// The calibration that is asked about
    calibration: PathBuf,
    /// The audit file; files of the same log that were closed lie beside it
    #[arg(long, value_name = "LOG")]
    audit: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// A calibration that was in use then; may be given more than once
    #[arg(long, value_name = "FILE")]
    was: Vec<PathBuf>,
    /// The bundle of the calibration that is asked about, to score stored pictures again
    #[arg(long, value_name = "BUNDLE")]
    model: Option<PathBuf>,
    /// The pictures' folder ([audit] pictures); without it, pictures beside the audit file
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// Parts of this lane alone
    #[arg(long, value_name = "NAME")]
    lane: Option<String>,
    /// Parts from this moment on: 2026-11-24, 2026-11-24T06:00 (by this machine's time zone), 2026-11-24T05:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Parts up to this moment
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// List so many of the parts whose verdict changes
    #[arg(long, value_name = "N", default_value_t = 20)]
    list: usize,
    /// Write all of that as one HTML page, with pictures
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(args: &WhatIfArgs) -> Result<()> {
    can_be_read_again(&args.audit)?;
    args.out.as_deref().map_or(Ok(()), |path| target::file(path, Content::Page))?;
    let vouched = args.keys.vouched(&args.audit)?;
    let (calibration, digest) = Calibration::open(&args.calibration)?;
    let was = args.was.iter().map(|path| Calibration::open(path).map(|(was, digest)| (digest, was)));
    let mut was = was.collect::<Result<Vec<_>>>()?;
    was.push((digest, calibration.clone()));
    let bundle = args.model.as_deref().map(Bundle::open).transpose()?;
    let answer = ask(&Question {
        calibration: &calibration,
        was: &was,
        bundle: bundle.as_ref(),
        log: &args.audit,
        vouched: &vouched,
        pictures: &pictures_folder(args.pictures.as_deref(), &args.audit),
        range: Range { from: args.from.map(|moment| moment.0), to: args.to.map(|moment| moment.0) },
        lane: args.lane.as_deref(),
    })?;
    print::line(&answer)?;
    list(&answer, args.list)?;
    if let Some(out) = &args.out {
        target::write(out, report::what_if::page(&calibration, &answer))?;
        print::line(format_args!("the page is {}", out.display()))?;
    }
    match answer.exchanged {
        0 => Ok(()),
        exchanged => Err(Error::check(format!("{} not what was written", print::are(exchanged, "picture")))
            .advise("keep log and pictures as evidence; hgad audit verify says whether the log is whole")),
    }
}

fn list(answer: &WhatIf, most: usize) -> Result<()> {
    if answer.changed.is_empty() {
        return print::line(answer.unchanged_told());
    }
    print::line(format_args!("{:<38}  {:<27}  {:>9}  {:>9}  now", "part", "captured", "score was", "is"))?;
    answer.changed.iter().take(most).try_for_each(print::line)?;
    match answer.more + answer.changed.len().saturating_sub(most) as u64 {
        0 => Ok(()),
        more => print::line(format_args!("and {more} more")),
    }
}
