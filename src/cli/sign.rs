//! `hgad sign`.

use std::path::{Path, PathBuf};

use crate::approval::Approval;
use crate::audit::Signer;
use crate::bundle::Bundle;
use crate::calibrate::{Calibration, Unproven};
use crate::digest::Digest;
use crate::{Error, Result, print};

/// Approve of a calibration or a model: sign it, with your name and a reason
///
/// The note FILE.sig (of a bundle: manifest.sig in it) says who approved of these bytes, when and why. A line whose
/// configuration names public keys ([line] approved_by) loads what one of them signed and nothing else, and writes name and
/// reason into its audit at every start. Nothing is signed but a calibration that can be read as one, or a bundle whose files are
/// whole. `hgad audit keygen` makes keys.
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
    /// Sign a calibration whose threshold its own scores do not give: somebody wrote it, or it comes from costs (--set-cheapest), and
    /// nothing is promised of it
    #[arg(long)]
    by_hand: bool,
}

pub fn run(args: &SignArgs) -> Result<()> {
    let Looked { digest, unproven, doubts } = check(&args.file, args.by_hand)?;
    let signer = Signer::open(&args.key)?;
    let replaced = Approval::standing(&args.file);
    let is_own = Approval::stands_by(&args.file, &signer.verifier());
    let note = Approval::sign(&args.file, digest, &signer, &args.by, &args.reason, &args.lane, unproven.as_ref())?;
    doubts.iter().for_each(|doubt| log::warn!("{doubt}"));
    print::line(format_args!("{} is signed by {} in {}", args.file.display(), signer.name(), note.display()))?;
    match replaced {
        Some(replaced) => {
            let signed = if is_own { "which this key signed too" } else { "which this key did not sign" };
            print::line(format_args!("it takes the place of what stood there, {signed}: {replaced}"))
        }
        None => Ok(()),
    }
}

/// What is approved of.
struct Looked {
    /// Of what was looked at here.
    digest: Digest,
    /// What a threshold is that its scores do not give.
    unproven: Option<Unproven>,
    /// What a person should know who answers for the threshold.
    doubts: Vec<String>,
}

impl Looked {
    fn bundle(bundle: &Bundle) -> Self {
        Looked { digest: bundle.digest, unproven: None, doubts: Vec::new() }
    }
}

fn doubts(calibration: &Calibration) -> Vec<String> {
    let unkept =
        calibration.unkept_rate().map(|told| format!("what was signed is no threshold that keeps a rate: {told}"));
    let unlike =
        calibration.unlike_training().map(|told| format!("what was signed may let defective parts pass: {told}"));
    unkept.into_iter().chain(unlike).collect()
}

/// Refuses what no line could load: an approval of it would be asked for by nobody, and read as if somebody had looked at it.
fn check(path: &Path, by_hand: bool) -> Result<Looked> {
    none_that_waits(path)?;
    let (is_folder, is_manifest) = (path.is_dir(), path.file_name().is_some_and(|name| name == "manifest.toml"));
    if by_hand && (is_folder || is_manifest) {
        return Err(Error::usage(format!("{} is a bundle, which has no threshold", path.display()))
            .advise("leave --by-hand out: it is for a calibration whose threshold somebody wrote"));
    }
    let opened = match (is_folder, is_manifest) {
        (true, _) => Bundle::open(path).map(|bundle| Looked::bundle(&bundle)),
        (false, true) => Bundle::open(path.parent().unwrap_or(Path::new(""))).map(|bundle| Looked::bundle(&bundle)),
        (false, false) => match Calibration::open(path) {
            Ok((calibration, digest)) => {
                let unproven = calibration.unproven_threshold();
                refuse_unproven(path, unproven.as_ref().filter(|_| !by_hand))?;
                return Ok(Looked { digest, unproven, doubts: doubts(&calibration) });
            }
            Err(error) => Err(error),
        },
    };
    opened.map_err(|error| match !path.exists() || is_of_the_disk(&error) {
        true => error,
        false => Error::usage(format!("{} is not signed: no line could load it", path.display()))
            .because(error.line())
            .advise("what is signed is a calibration that hgad calibrate wrote, or the folder of a bundle that hgad-train wrote"),
    })
}

/// Whether the system could not read a file that is there: then nobody knows what is in it.
fn is_of_the_disk(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.raw_os_error().is_some() && cause.kind() != std::io::ErrorKind::NotFound)
}

/// Refuses a pipe or a device: to read one waits for who writes it, and what it gave is not there when the line starts.
fn none_that_waits(path: &Path) -> Result<()> {
    let file = if path.is_dir() { path.join("manifest.toml") } else { path.to_owned() };
    match file.metadata() {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            Err(Error::usage(format!("{} is not signed: it is a pipe or a device, and no file", file.display()))
                .advise("name the calibration's own file, or the folder of a bundle"))
        }
        // What is not there, or is a folder, is told by who reads it.
        _ => Ok(()),
    }
}

/// A threshold that is a slip of the hand passes all parts, or none.
fn refuse_unproven(path: &Path, unproven: Option<&Unproven>) -> Result<()> {
    match unproven {
        None => Ok(()),
        Some(unproven) => {
            let advice = match unproven {
                Unproven::ByHand(_) => {
                    "calibrate again with another --target-frr or --confidence; if that threshold is meant, say so with --by-hand, and in \
                     --reason why"
                }
                Unproven::FromCosts(_) => "if these costs are meant, say so with --by-hand, and in --reason why",
            };
            Err(Error::usage(format!("{} is not signed: {}", path.display(), unproven.told())).advise(advice))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_not_waited_for_and_a_bundle_has_no_threshold_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(check(&pipe, false)));
        let refused =
            receive.recv_timeout(std::time::Duration::from_secs(20)).expect("it is waited for").err().unwrap();
        assert!(refused.kind().exit_code() == 2 && refused.report().contains("is a pipe"), "{}", refused.report());
        let bundle = check(folder.path(), true).err().unwrap();
        assert!(
            bundle.kind().exit_code() == 2 && bundle.report().contains("leave --by-hand out"),
            "{}",
            bundle.report()
        );
    }
}
