//! `hgad calibrate diff`.

use std::path::PathBuf;

use crate::calibrate::Calibration;
use crate::calibrate::comparison::Comparison;
use crate::{Error, Result, print};

/// Tell how one calibration differs from another of the same product
///
/// What is another has a star before it. Thresholds are held against each other's images where both measure scores alike.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  hgad calibrate diff before.toml calibration/cap.toml")]
pub struct DiffArgs {
    /// The older calibration
    older: PathBuf,
    /// The newer one
    newer: PathBuf,
}

pub fn run(args: &DiffArgs) -> Result<()> {
    let (older, _) = Calibration::open(&args.older)?;
    let (newer, _) = Calibration::open(&args.newer)?;
    if older.class != newer.class {
        return Err(Error::usage(format!("one is of '{}', the other of '{}'", older.class, newer.class))
            .advise("compare calibrations of the same product"));
    }
    print::line(format_args!("{:24}  {:>34}  {:>34}", "", args.older.display(), args.newer.display()))?;
    print::line(Comparison::new(&older, &newer))
}
