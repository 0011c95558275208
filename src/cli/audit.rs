//! `hgad audit`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::{Result, audit, print};

/// Check what a line wrote down
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check that no line was changed, removed or put in (exit code 1 if one was)
    #[command(after_long_help = "Examples:\n  hgad audit verify audit.jsonl")]
    Verify {
        /// The audit file
        file: PathBuf,
    },
}

pub fn run(args: AuditArgs) -> Result<()> {
    match args.command {
        AuditCommand::Verify { file } => {
            let verified = audit::verify(&file)?;
            let (first, last) = verified.between.unwrap_or_default();
            print::line(format_args!(
                "OK {}: {}, {}, {}, {} lost, {first} to {last}",
                file.display(),
                print::counted(verified.lines, "line"),
                print::counted(verified.parts, "part"),
                print::counted(verified.runs, "run"),
                print::counted(verified.lost, "record")
            ))?;
            verified.warnings.iter().try_for_each(|warning| print::line(format_args!("warning: {warning}")))
        }
    }
}
