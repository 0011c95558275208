//! `hgad acknowledge`.

use std::path::PathBuf;

use crate::config::LineConfig;
use crate::runtime::control::{self, Answer, Request};
use crate::{Error, Result, print};

const EXAMPLES: &str = r#"Examples:
  # Anna has seen all alarms that stand
  hgad acknowledge --config line3.toml --by Anna

  # One of them, and what is done about it
  hgad acknowledge --config line3.toml --by Anna --alarm bin-full \
    --note emptied

  # Which alarms were acknowledged by whom
  hgad audit query audit.jsonl --kind acknowledgement"#;

/// Put on record that a person has seen the alarms of a running line
///
/// The running line writes who it was, which alarms, and the note into its audit (`acknowledgement`), and its log and the page of the shift
/// (`hgad audit report`) say so. Nothing is silenced: an alarm stands, and its output stays active, until its cause is gone. One that is
/// raised again after that is a new one, which nobody has seen yet.
///
/// The line is asked through a socket beside its audit: who may write that file may ask. No alarm of that name stands: exit
/// code 1, and those that do are named.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct AcknowledgeArgs {
    /// The line's configuration, with which it runs
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Who has seen them. The record also has the user id that the kernel tells
    #[arg(long, value_name = "NAME", value_parser = control::person)]
    by: String,
    /// The alarm, or all that stand
    #[arg(long, value_name = "NAME|all", default_value = "all")]
    alarm: String,
    /// What is to go on record with it, such as what is done about it
    #[arg(long, value_name = "TEXT", value_parser = control::note)]
    note: Option<String>,
}

pub fn run(args: &AcknowledgeArgs) -> Result<()> {
    let config = LineConfig::open(&args.config)?;
    let alarm = (args.alarm != "all").then(|| args.alarm.clone());
    let request = Request::Acknowledge { alarm, by: args.by.clone(), note: args.note.clone() };
    control::ask(&config.audit.file, &request, |answer| match answer {
        Answer::Acknowledged { alarms } => print::line(format_args!(
            "acknowledged by {}: {}; an alarm stands until its cause is gone",
            args.by,
            alarms.join(", ")
        )),
        Answer::Refused { why } => Err(Error::check("nothing was acknowledged")
            .because(why)
            .advise("give --alarm the name of one that stands, or all; `hgad audit query --kind alarm` lists them")),
        Answer::Begun | Answer::Piece { .. } | Answer::Ended { .. } => {
            Err(Error::device("the line speaks another version of hgad"))
        }
    })
}
