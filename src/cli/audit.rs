//! `hgad audit`.

mod again;
mod keys;
mod named;
mod pictures;
mod query;
mod replay;
mod report;
mod show;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;

pub(super) use self::again::pictures_folder;
pub(super) use self::keys::Keys;
use self::named::PartName;
pub(super) use self::query::{Moment, Span};
use super::target;
use crate::audit::harmless::{Undone, undo_text};
use crate::audit::{self, Kept, Signer, Trust, Unvouched, Verifier};
use crate::print::{self, name};
use crate::{Error, ErrorKind, Result};

/// Check, search and explain what a line wrote down, and prove it to others
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    Verify(VerifyArgs),
    Keygen(KeygenArgs),
    Prove(ProveArgs),
    Check(CheckArgs),
    Query(query::QueryArgs),
    Show(show::ShowArgs),
    Replay(replay::ReplayArgs),
    Report(report::ReportArgs),
}

/// Check that no line was changed, removed or put in (exit code 1 if one was)
///
/// With --pictures the stored pictures are checked too: each that a record names, whatever became of its part, must be there byte for
/// byte as it was written, or a record must say that it was removed. Those that are not are named with their record and part. A file
/// among them that no record names is a warning.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  hgad audit verify audit.jsonl\n  hgad audit verify audit.jsonl --key line-3.key.pub \\\n    --checkpoint /mnt/usb/line-3.checkpoint\n\n  # And every stored picture, in the folder pictures beside the log\n  hgad audit verify audit.jsonl --key line-3.key.pub --pictures"
)]
struct VerifyArgs {
    /// The audit file
    file: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// A checkpoint that was kept elsewhere: the file must still hold what was signed then; may be given more than once
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Fail when there are lines that are not signed, or were not when a later run signed all (the warnings name them)
    #[arg(long, requires = "key")]
    all_signed: bool,
    /// Fail when records at the beginning are in files that are not here, and not by the line's own doing (a warning names them)
    #[arg(long)]
    all_here: bool,
    /// Check the pictures too, in this folder ([audit] pictures); without a folder, pictures beside the audit file
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    pictures: Option<Option<PathBuf>>,
}

/// Make the key that a line signs its audit with
///
/// Name the private key in the line's configuration ([audit] key), and give the public one to whoever is to check the audit.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  hgad audit keygen --name factory.example/line-3 --out line-3.key")]
struct KeygenArgs {
    /// The name under which it signs, such as factory.example/line-3
    #[arg(long)]
    name: String,
    /// Where to write the private key; the public one is written beside it, with .pub added
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Prove that a record is in a signed audit, to somebody who has neither the audit nor this program
///
/// The proof holds the record, the way from it to the root of the audit's Merkle tree, and the signed checkpoint (C2SP
/// tlog-proof). `hgad audit check` checks it, and so does any tool that knows the format.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  hgad audit prove audit.jsonl --record 4711 --out part.tlog-proof\n\n  # A part by the name of its run and its number in it\n  hgad audit prove audit.jsonl --part 20261124T162231.137055Z/12 \\\n    --out part.tlog-proof"
)]
struct ProveArgs {
    /// The audit file
    file: PathBuf,
    /// The record with this number (the field seq)
    #[arg(long, value_name = "N", required_unless_present = "part")]
    record: Option<u64>,
    /// The record of this part
    #[arg(long, value_name = "RUN/PART", conflicts_with = "record")]
    part: Option<PartName>,
    /// Where to write the proof; without it, the proof is printed
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Check a proof and print the record that it proves (exit code 1 if it does not)
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  hgad audit check part.tlog-proof --key line-3.key.pub")]
struct CheckArgs {
    /// The proof
    proof: PathBuf,
    /// The public key of the line that the record is of
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

impl AuditCommand {
    /// The log that it reads, if it reads one.
    fn log(&self) -> Option<&Path> {
        match self {
            AuditCommand::Verify(args) => Some(&args.file),
            AuditCommand::Prove(args) => Some(&args.file),
            AuditCommand::Query(args) => Some(&args.file),
            AuditCommand::Show(args) => Some(&args.file),
            AuditCommand::Replay(args) => Some(&args.file),
            AuditCommand::Report(args) => Some(&args.file),
            AuditCommand::Keygen(_) | AuditCommand::Check(_) => None,
        }
    }
}

/// Refuses what can be read only once: a log is read several times, and what is missing the second time would look like records that
/// were removed.
pub(super) fn can_be_read_again(log: &Path) -> Result<()> {
    let kind = log.metadata().map(|found| found.file_type());
    match kind.is_ok_and(|kind| !kind.is_file() && !kind.is_dir()) {
        false => Ok(()),
        true => Err(Error::usage(format!("{} is a pipe or a device, and a log is read more than once", log.display()))
            .advise("write it into a file first, and give that one: cat > copy.jsonl; the closed files of the log go beside it")),
    }
}

pub fn run(args: AuditArgs) -> Result<()> {
    args.command.log().map_or(Ok(()), can_be_read_again)?;
    match args.command {
        AuditCommand::Verify(args) => verify(&args),
        AuditCommand::Keygen(args) => keygen(&args),
        AuditCommand::Prove(args) => prove(&args),
        AuditCommand::Check(args) => check(&args),
        AuditCommand::Query(args) => query::run(args),
        AuditCommand::Show(args) => show::run(&args),
        AuditCommand::Replay(args) => replay::run(args),
        AuditCommand::Report(args) => report::run(&args),
    }
}

/// What no chain can say by itself.
const UNSIGNED: &str = "not signed: its lines continue each other, and whoever may write the file could have made all of them \
                        anew ([audit] key lets the line sign what it writes)";

fn verify(args: &VerifyArgs) -> Result<()> {
    let kept = args.checkpoint.iter().map(|path| kept(path)).collect::<Result<_>>()?;
    let trust = Trust { kept, ..args.keys.trust()? };
    let verified = audit::verify(&args.file, &trust)?;
    let unvouched = if args.keys.are_given() { verified.unvouched() } else { Unvouched::default() };
    // A run whose disk was full to its end said how many records are missing, and could not write it.
    let lost = if verified.endless { "known to be lost" } else { "lost" };
    // Who can write the log can have written anything in its place.
    let (first, last) = verified.between.map(|(first, last)| (name(first), name(last))).unwrap_or_default();
    print::line(format_args!(
        "OK {}: {}, {}, {}, {} {lost}, {first} to {last}",
        name(args.file.display()),
        print::counted(verified.lines, "line"),
        print::counted(verified.parts, "part"),
        print::counted(verified.runs, "run"),
        print::counted(verified.lost, "record")
    ))?;
    if let Some(signed) = verified.signed.filter(|_| trust.key.is_some()) {
        print::line(format_args!(
            "signed by {}: {}, {}",
            name(&signed.origin),
            signed.records(verified.absent),
            print::counted(verified.checkpoints, "checkpoint")
        ))?;
        for key in verified.keys.iter().filter(|_| verified.keys.len() > 1) {
            print::line(format_args!(
                "  records {} to {} first signed by {}: {}",
                key.records.start,
                key.records.end.saturating_sub(1),
                name(&key.key),
                print::counted(key.checkpoints, "checkpoint")
            ))?;
        }
    }
    verified.removed.iter().try_for_each(|removed| print::line(name(removed)))?;
    if verified.checkpoints == 0 {
        print::line(UNSIGNED)?;
    }
    verified.warnings.iter().try_for_each(|warning| print::line(format_args!("warning: {}", name(warning))))?;
    let pictures = match &args.pictures {
        Some(folder) => {
            pictures::verify(&args.file, &pictures_folder(folder.as_deref(), &args.file), unvouched, &args.keys)
        }
        None if pictures_folder(None, &args.file).is_dir() => {
            log::info!("the pictures beside the log were not looked at: --pictures checks them too");
            Ok(())
        }
        None => Ok(()),
    };
    let here = match args.all_here && !verified.unexplained.is_empty() {
        false => Ok(()),
        true => Err(Error::check(format!("{}: not all of its records are here", args.file.display())).advise(
            "the first warning says which, and what is known of them. Put the files back, or check a copy of the log beside all of those that \
             were carried away",
        )),
    };
    let signed = match args.all_signed && !verified.unsigned.is_empty() {
        false => Ok(()),
        true => Err(Error::check(format!("{}: not all of its lines are signed", args.file.display()))
            .advise(
                "the warnings name them. A run that was killed leaves up to a minute unsigned for ever: until the next run signed all, who may \
                 write the file could have changed it, and no later signature tells",
            )),
    };
    both(both(here, signed), pictures)
}

/// Tells of both failures where there are two: a check that did not hold decides about the exit code, whatever a device did.
fn both(one: Result<()>, other: Result<()>) -> Result<()> {
    match (one, other) {
        (Err(one), Err(other)) => {
            let (lesser, worse) = if other.kind() == ErrorKind::Check { (one, other) } else { (other, one) };
            print::failure(&lesser);
            Err(worse)
        }
        (one, other) => one.and(other),
    }
}

fn keygen(args: &KeygenArgs) -> Result<()> {
    let signer = Signer::generate(&args.name)?;
    target::folder_for(&args.out)?;
    signer.write(&args.out)?;
    print::line(format_args!("private key  {} (keep it secret; [audit] key names it)", args.out.display()))?;
    print::line(format_args!("public key   {}.pub", args.out.display()))?;
    print::line(signer.verifier())
}

fn prove(args: &ProveArgs) -> Result<()> {
    let record = match &args.part {
        Some(part) => part.record(&args.file)?,
        // clap asks for one of the two.
        None => args.record.unwrap_or_default(),
    };
    let proof = audit::prove(&args.file, record)?;
    let Some(out) = &args.out else { return print::line(proof.trim_end()) };
    target::folder_for(out)?;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(out);
    file.and_then(|mut file| file.write_all(proof.as_bytes())).map_err(|error| {
        let new = if error.kind() == std::io::ErrorKind::AlreadyExists { Error::usage } else { Error::device };
        new(format!("proof {} cannot be written", out.display()))
            .because(error)
            .advise("name a file that is not there yet")
    })?;
    print::line(format_args!("record {record} is proved in {}", out.display()))
}

fn check(args: &CheckArgs) -> Result<()> {
    let (bytes, key) =
        (std::fs::read(&args.proof).map_err(|error| cannot_be_read(&args.proof, error))?, Verifier::open(&args.key)?);
    let proved = audit::check(&String::from_utf8_lossy(&bytes), &key).map_err(|error| {
        let undone = Undone::default();
        let is_proof = undo_text(&bytes, &undone).is_some_and(|text| audit::check(&text, &key).is_ok());
        match undone.told().zip(undone.command(&args.proof)).filter(|_| is_proof) {
            None => error,
            Some((told, command)) => {
                Error::usage(format!("{} is not the proof that was written", args.proof.display()))
                    .because(format!(
                        "this looks like {told}, as an editor or a transfer does: with that undone it proves its record"
                    ))
                    .advise(format!("give it byte for byte as it was written, or undo that: {command}"))
            }
        }
    })?;
    let checkpoint = proved.checkpoint;
    print::line(format_args!(
        "OK {} signed: this is record {} of {}, counted from 0",
        name(&checkpoint.origin),
        proved.index,
        checkpoint.size
    ))?;
    print::line(proved.line)
}

fn kept(path: &Path) -> Result<Kept> {
    Kept::read(path).map_err(|error| cannot_be_read(path, error))
}

fn cannot_be_read(path: &Path, error: std::io::Error) -> Error {
    Error::usage(format!("{} cannot be read", path.display())).because(error).advise("check its path and permissions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_can_be_read_only_once_is_refused_before_anybody_is_accused() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, file] = ["pipe", "audit.jsonl"].map(|name| folder.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::write(&file, "").unwrap();
        let keys = || Keys { key: None, former_key: Vec::new() };
        let verify = |file: &Path| {
            let file = file.to_owned();
            let args = VerifyArgs {
                file,
                keys: keys(),
                checkpoint: Vec::new(),
                all_signed: false,
                all_here: false,
                pictures: None,
            };
            run(AuditArgs { command: AuditCommand::Verify(args) }).unwrap_err()
        };
        let refused = verify(&pipe);
        assert_eq!(refused.kind().exit_code(), 2, "{}", refused.report());
        assert!(refused.report().contains("write it into a file first"), "{}", refused.report());
        assert_eq!(verify(&file).kind().exit_code(), 1);
    }

    #[test]
    fn of_two_failures_a_check_that_did_not_hold_goes_before_a_device() {
        let (check, device) = (|| Err(Error::check("unsigned")), || Err(Error::device("a disk")));
        let code = |one, other| both(one, other).map_err(|error| error.kind().exit_code());
        assert_eq!([code(check(), device()), code(device(), check())], [Err(1), Err(1)]);
        assert_eq!([code(Ok(()), device()), code(check(), Ok(())), code(Ok(()), Ok(()))], [Err(3), Err(1), Ok(())]);
    }
}
