//! `hgad sign`.

use std::path::PathBuf;

use crate::approval::Approval;
use crate::audit::Signer;
use crate::{Result, print};

/// Approve of a calibration or a model: sign it, with your name and a reason
///
/// The note FILE.sig (of a bundle: manifest.sig in it) says who approved of these bytes, when and why. A line whose
/// configuration names public keys ([line] approved_by) loads what one of them signed and nothing else, and writes name and
/// reason into its audit at every start. `hgad audit keygen` makes keys.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  hgad sign calibration/cap.toml --key quality.key --by A.Smith \\\n    --reason new-lamp-after-shift-2\n  hgad sign models/line3 --key quality.key --by A.Smith --reason first-model\n\n  # The calibration of one lane alone\n  hgad sign calibration/left.toml --key quality.key --by A.Smith \\\n    --reason new-lamp --lane left"
)]
pub struct SignArgs {
    /// A calibration, or a bundle's folder
    file: PathBuf,
    /// The private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Who approves
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Why it takes the place of what was there
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The lane whose own calibration it is ([[lane]] calibration); may be given more than once
    #[arg(long, value_name = "NAME")]
    lane: Vec<String>,
}

pub fn run(args: &SignArgs) -> Result<()> {
    let signer = Signer::open(&args.key)?;
    let note = Approval::sign(&args.file, &signer, &args.by, &args.reason, &args.lane)?;
    print::line(format_args!("{} is signed by {} in {}", args.file.display(), signer.name(), note.display()))
}
