//! `hgad challenge`.

use std::path::PathBuf;

use crate::config::LineConfig;
use crate::runtime::control::{self, Answer, Request};
use crate::{Error, Result, print};

const EXAMPLES: &str = r"Examples:
  # At the beginning of a shift: five pieces with known defects
  hgad challenge --config line3.toml --parts 5 --by Anna

  # In one lane of a belt with several
  hgad challenge --config line3.toml --parts 5 --lane left

  # Ten pieces, for which the line waits for half an hour
  hgad challenge --config line3.toml --parts 10 --within 30";

/// Send known bad pieces past the camera of a running line, and put on record whether each was rejected
///
/// Stop feeding parts, give this command, and lay the bad pieces on the belt: the next parts that the line finds are the pieces. Each
/// must be found bad and ejected, and seen by the sensor in the chute where there is one ([confirm]). The running line writes
/// who did it and what came of it into its audit, and marks the pieces' records (`challenge`). A piece that is missed, or does not
/// come in time, raises the alarm `challenge-failed`, which stands until a challenge is passed (exit code 1).
///
/// Ctrl-C ends the challenge: the pieces that have not come count as not seen. The line is asked through a socket beside its
/// audit: who may write that file may ask.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ChallengeArgs {
    /// The line's configuration, with which it runs
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How many bad pieces
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    parts: u32,
    /// The lane in which they are laid; left out: parts of all lanes count
    #[arg(long, value_name = "NAME")]
    lane: Option<String>,
    /// Who sends them; left out: the variable USER. The record also has the user id that the kernel tells
    #[arg(long, value_name = "NAME", value_parser = control::person)]
    by: Option<String>,
    /// How long the pieces are waited for
    #[arg(long, value_name = "MINUTES", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1440))]
    within: u32,
}

pub fn run(args: &ChallengeArgs) -> Result<()> {
    let config = LineConfig::open(&args.config)?;
    args.lane.as_deref().map_or(Ok(()), |lane| config.lane(lane).map(drop))?;
    let user = || std::env::var("USER").ok().and_then(|user| control::person(&user).ok());
    let by = args.by.clone().or_else(user).unwrap_or_else(|| "somebody".into());
    let request = Request::Challenge { pieces: args.parts, lane: args.lane.clone(), within_s: 60 * args.within, by };
    let (mut settled, mut refused, mut failed) = (0, None, None);
    control::ask(&config.audit.file, &request, |answer| match answer {
        Answer::Begun => {
            let pieces = print::counted(u64::from(args.parts), "bad piece");
            print::line(format_args!("the line waits for {pieces}: send nothing else past the camera"))
        }
        Answer::Piece { part, missed } => {
            settled += 1;
            let what = missed.map_or("caught".to_owned(), |why| format!("MISSED: {why}"));
            print::line(format_args!("piece {settled} of {}: part {part}, {what}", args.parts))
        }
        Answer::Refused { why } => {
            refused = Some(why);
            Ok(())
        }
        Answer::Ended { caught, missed, absent } => {
            failed = (missed > 0 || absent > 0).then(|| format!("{caught} caught, {missed} missed, {absent} not seen"));
            Ok(())
        }
        Answer::Acknowledged { .. } => Err(Error::device("the line speaks another version of hgad")),
    })?;
    if let Some(why) = refused {
        return Err(Error::device("the line takes no challenge now").because(why).advise("wait for its end"));
    }
    match failed {
        None => print::line(format_args!(
            "passed: every piece was caught; the audit {} says so",
            config.audit.file.display()
        )),
        Some(counts) => Err(Error::check("the challenge was not passed")
            .because(counts)
            .advise("look at light, lens, threshold and ejector; until a challenge is passed, the alarm stands")),
    }
}
