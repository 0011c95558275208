//! Who let a model or a calibration into production, and why: a signed note beside the file.
//!
//! `FILE.sig` (of a bundle: `manifest.sig` in it) is a C2SP signed note whose text names the file's SHA-256, a person and a reason:
//!
//! ```text
//! hgad approval 1
//! sha256 9f86d0...
//! by A. Smith
//! reason new lamp after shift 2
//! lane left
//! threshold by hand: the threshold 9.5 is not the one that its scores give (2.5)
//! time 2026-11-24T15:04:05Z
//!
//! — factory.example/quality BASE64
//! ```
//!
//! A calibration that one lane alone goes by is approved for that lane, whose name has a line (of several lanes each its own): what is
//! right on the left may be wrong on the right. A threshold that the calibration's own scores do not give is named as what somebody wrote by
//! hand, or as what costs gave (`threshold from costs: ...`); other approvals have no such line.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::audit::harmless::{Undone, undo_text};
use crate::audit::{Signer, Verifier, signers};
use crate::calibrate::Unproven;
use crate::digest::Digest;
use crate::draft;
use crate::{Error, Result, regular, time};

/// Bytes of an approval at most.
const LONGEST: u64 = 1 << 20;
const TITLE: &str = "hgad approval 1";
/// Makes of a line's text what is said of a threshold.
type Named = fn(String) -> Unproven;
/// What the lines begin with that say what a threshold is which the calibration's own scores do not give. Older programs called also one that
/// costs gave written by hand.
const UNPROVEN: [(&str, Named); 2] =
    [("threshold by hand: ", Unproven::ByHand), ("threshold from costs: ", Unproven::FromCosts)];

/// What somebody signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The file, of a bundle its manifest.
    pub sha256: Digest,
    /// Who approved of it.
    pub by: String,
    /// Why it takes the place of what was there.
    pub reason: String,
    /// The lanes whose own calibration it is; none for what all lanes go by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<String>,
    /// What the threshold is that was approved though the calibration's own scores do not give it; `None` where they do.
    #[serde(flatten)]
    pub unproven: Option<Unproven>,
    /// When (RFC 3339).
    pub time: String,
    /// The key that signed.
    pub key: String,
}

impl Approval {
    /// Signs the file at `path` (a bundle's folder stands for its manifest), whose bytes have this digest, as approved `by` somebody for a
    /// `reason`, and for these lanes where it is a calibration of their own; `unproven` says of a threshold that its scores do not give what
    /// it is. Gives the note's file.
    ///
    /// # Errors
    ///
    /// A text is empty or has more than one line, or the note cannot be written.
    pub fn sign(
        path: &Path,
        digest: Digest,
        signer: &Signer,
        by: &str,
        reason: &str,
        lanes: &[String],
        unproven: Option<&Unproven>,
    ) -> Result<PathBuf> {
        let lanes_named = lanes.iter().map(|lane| ("a lane", lane.as_str()));
        for (what, text) in [("the name", by), ("the reason", reason)].into_iter().chain(lanes_named) {
            if text.trim().is_empty() || text.chars().any(char::is_control) {
                return Err(Error::usage(format!("{what} is empty, or has more than one line"))
                    .advise("give who approves and why, as in: --by 'A. Smith' --reason 'new lamp after shift 2'"));
            }
        }
        let lanes = lanes.iter().map(|lane| format!("lane {lane}\n")).collect::<String>();
        let (by, reason) = (by.trim(), reason.trim());
        let unproven = unproven.map_or_else(String::new, line_of);
        let time = time::stamp();
        let text = format!("{TITLE}\nsha256 {digest}\nby {by}\nreason {reason}\n{lanes}{unproven}time {time}\n");
        let note = note_of(path);
        // In one step: a crash leaves the approval that stood there, or this one, and the line starts.
        draft::replace(&note, signer.sign(&text).as_bytes()).map_err(|error| {
            Error::device(format!("{} cannot be written", note.display()))
                .because(error)
                .advise("check that the folder can be written and the disk is not full")
        })?;
        Ok(note)
    }

    /// What the note says that signing the file at `path` would replace, whoever made it; `None` where there is none.
    pub fn standing(path: &Path) -> Option<String> {
        let note = regular::read(&note_of(path), LONGEST).ok()?;
        let text = String::from_utf8_lossy(&note);
        let by = signers(&text).join(", ");
        let said = text.split_once("\n\n").and_then(|(said, _)| Self::parse(&format!("{said}\n"), &by));
        Some(said.map_or_else(|| "something that is no approval".to_owned(), |said| said.to_string()))
    }

    /// Whether `key` signed that note.
    pub fn stands_by(path: &Path, key: &Verifier) -> bool {
        let note = regular::read(&note_of(path), LONGEST);
        note.is_ok_and(|note| opened(&note, std::slice::from_ref(key)).is_some())
    }

    /// The approval of the file at `path`, whose bytes have this digest, if one of `keys` signed it; for each of `lanes` where these go
    /// by it alone, and for the whole line without any.
    ///
    /// # Errors
    ///
    /// There is no note, none of the keys signed it, or it is of another file, or for other lanes.
    pub fn check(path: &Path, digest: Digest, lanes: &[&str], keys: &[Verifier]) -> Result<Approval> {
        let (note, place) = (note_of(path), path.display());
        let for_lanes = lanes.iter().map(|lane| format!(" --lane {lane}")).collect::<String>();
        let advice =
            format!("whoever may approve signs it: hgad sign {place} --key KEY --by NAME --reason TEXT{for_lanes}");
        let refused =
            |why: String| Error::usage(format!("{place} is not approved")).because(why).advise(advice.clone());
        let bytes = regular::read(&note, LONGEST).map_err(|error| {
            Error::usage(format!("{place} is not approved: {} cannot be read", note.display())).unread(error, &advice)
        })?;
        let Some((key, text)) = opened(&bytes, keys) else {
            let undone = Undone::default();
            let is_signed = undo_text(&bytes, &undone).is_some_and(|text| opened(text.as_bytes(), keys).is_some());
            return Err(match undone.told().filter(|_| is_signed) {
                Some(_) => rewritten(path, &note, &undone, "one of them signed it"),
                None => refused(unsigned(&note, &bytes, keys)),
            });
        };
        let approval = Self::parse(text, key.name())
            .ok_or_else(|| refused(format!("{} is signed, and is no approval", note.display())))?;
        if approval.sha256 != digest {
            let (file, undone) = (signed_file(path), Undone::default());
            let text = regular::read(&file, u64::MAX).ok().and_then(|bytes| undo_text(&bytes, &undone));
            if undone.told().is_some() && text.is_some_and(|text| Digest::of(text) == approval.sha256) {
                return Err(rewritten(path, &file, &undone, "it is what was approved"));
            }
            return Err(refused(format!("{} is of another file, or the file was changed since", note.display())));
        }
        let named = if approval.lanes.is_empty() { "no lane".to_owned() } else { approval.lanes.join(", ") };
        if lanes.is_empty() && !approval.lanes.is_empty() {
            return Err(refused(format!("every lane goes by it, and it is approved for {named} alone")));
        }
        match lanes.iter().find(|lane| !approval.lanes.iter().any(|named| named == *lane)) {
            Some(lane) => Err(refused(format!("lane {lane} goes by it alone, and it is approved for {named}"))),
            None => Ok(approval),
        }
    }

    fn parse(text: &str, key: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n').peekable();
        let mut field = |name: &str| Some(lines.next_if(|line| line.starts_with(name))?[name.len()..].to_owned());
        field(TITLE)?.is_empty().then_some(())?;
        let (sha256, by, reason) = (field("sha256 ")?.parse().ok()?, field("by ")?, field("reason ")?);
        let lanes = std::iter::from_fn(|| field("lane ")).collect();
        let unproven = UNPROVEN.into_iter().find_map(|(what, of)| field(what).map(of));
        let (time, key) = (field("time ")?, key.to_owned());
        let approval = Approval { sha256, by, reason, lanes, unproven, time, key };
        lines.next().is_none().then_some(approval)
    }
}

/// The line that says what a threshold is.
fn line_of(unproven: &Unproven) -> String {
    let [(by_hand, _), (from_costs, _)] = UNPROVEN;
    let what = if matches!(unproven, Unproven::ByHand(_)) { by_hand } else { from_costs };
    format!("{what}{}\n", unproven.told())
}

/// The text of a note that one of the keys signed.
fn opened<'n, 'k>(note: &'n [u8], keys: &'k [Verifier]) -> Option<(&'k Verifier, &'n str)> {
    let note = std::str::from_utf8(note).ok()?;
    keys.iter().find_map(|key| Some((key, key.open_note(note)?)))
}

/// Says of a file that a tool wrote anew what that was, and how to undo it.
fn rewritten(path: &Path, file: &Path, undone: &Undone, then: &str) -> Error {
    let (told, command) = (undone.told().unwrap_or_default(), undone.command(file).unwrap_or_default());
    let why = format!("{} looks like {told}, as an editor or a transfer does: with that undone {then}", file.display());
    Error::usage(format!("{} is not approved", path.display()))
        .because(why)
        .advise(format!("bring it back byte for byte as it was, or undo that: {command}"))
}

/// Why a note is believed by none of these keys.
fn unsigned(note: &Path, bytes: &[u8], keys: &[Verifier]) -> String {
    let place = note.display();
    let known = keys.iter().map(Verifier::label).collect::<Vec<_>>();
    let signers = std::str::from_utf8(bytes).ok().map(signers).unwrap_or_default();
    let names = |labels: &[String]| labels.join(", ");
    let is_named =
        |signer: &&String| keys.iter().any(|key| signer.strip_prefix(key.name()).is_some_and(|id| id.starts_with('+')));
    if signers.is_empty() {
        return format!("{place} is no signed note: it was cut off, or is another file");
    }
    match (signers.iter().find(|signer| known.contains(signer)), signers.iter().find(is_named)) {
        (Some(own), _) => format!("{place} is not what {own} signed: its text or its signature was changed since"),
        (None, Some(other)) => format!(
            "{place} is signed by {other}, which is another key of the same name, and not by {}: somebody else may have made it",
            names(&known)
        ),
        (None, None) => format!("{place} is signed by {}, and not by {}", names(&signers), names(&known)),
    }
}

impl std::fmt::Display for Approval {
    /// Who, when, why, for which lanes, by which key, and what the threshold is where its scores do not give it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Approval { by, time, reason, key, .. } = self;
        write!(f, "{by}, {time}: {reason} (key {key}")?;
        self.lanes.iter().try_for_each(|lane| write!(f, ", lane {lane}"))?;
        self.unproven.iter().try_for_each(|unproven| write!(f, ", {unproven}"))?;
        f.write_str(")")
    }
}

fn signed_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("manifest.toml") } else { path.to_owned() }
}

/// A bundle's manifest and its folder have one note.
fn note_of(path: &Path) -> PathBuf {
    match signed_file(path) {
        manifest if manifest.file_name().is_some_and(|name| name == "manifest.toml") => manifest.with_extension("sig"),
        file => file.with_added_extension("sig"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_known_key_signed_for_these_bytes_is_approved() {
        let folder = tempfile::tempdir().unwrap();
        let (path, bundle) = (folder.path().join("cap.toml"), folder.path().join("bundle"));
        std::fs::create_dir(&bundle).unwrap();
        for file in [&path, &bundle.join("manifest.toml")] {
            std::fs::write(file, "content").unwrap();
        }
        let (signer, other) = (Signer::generate("quality").unwrap(), Signer::generate("quality").unwrap());
        let keys = [other.verifier(), signer.verifier()];
        let digest = Digest::of("content");
        let report = |result: Result<Approval>| result.unwrap_err().report();
        assert!(report(Approval::check(&path, digest, &[], &keys)).contains("hgad sign"));
        for path in [&path, &bundle] {
            Approval::sign(path, digest, &signer, " A. Smith ", "new lamp", &[], None).unwrap();
            let approval = Approval::check(path, digest, &[], &keys).unwrap();
            assert_eq!((approval.by.as_str(), approval.reason.as_str()), ("A. Smith", "new lamp"));
        }
        let stranger = report(Approval::check(&path, digest, &[], &keys[..1]));
        assert!(stranger.contains("another key of the same name"), "{stranger}");
        let elsewhere = [Signer::generate("elsewhere").unwrap().verifier()];
        let unknown = report(Approval::check(&path, digest, &[], &elsewhere));
        assert!(unknown.contains("is signed by quality+") && unknown.contains("not by elsewhere+"), "{unknown}");
        assert!(report(Approval::check(&path, Digest::of("other"), &[], &keys)).contains("changed since"));
        let note = std::fs::read_to_string(note_of(&path)).unwrap();
        std::fs::write(note_of(&path), note.replace("Smith", "Smyth")).unwrap();
        let edited = report(Approval::check(&path, digest, &[], &keys));
        assert!(edited.contains("is not what quality+") && edited.contains("was changed since"), "{edited}");
        std::fs::write(note_of(&path), "a note").unwrap();
        assert!(report(Approval::check(&path, digest, &[], &keys)).contains("no signed note"));
        for (by, reason) in [("", "x"), ("x", " "), ("x\nreason y", "z")] {
            assert_eq!(
                Approval::sign(&path, digest, &signer, by, reason, &[], None).unwrap_err().kind().exit_code(),
                2
            );
        }
    }

    #[test]
    fn line_ends_of_a_tool_are_told_from_an_edit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cap.toml");
        let content = "a = 1\nb = 2\n";
        std::fs::write(&path, content).unwrap();
        let signer = Signer::generate("quality").unwrap();
        assert_eq!(Approval::standing(&path), None);
        let note = Approval::sign(&path, Digest::of(content), &signer, "A. Smith", "new lamp", &[], None).unwrap();
        let standing = Approval::standing(&path).unwrap();
        assert!(standing.contains("A. Smith, 20") && standing.contains(": new lamp (key quality+"), "{standing}");
        let others = Signer::generate("quality").unwrap();
        assert!(Approval::stands_by(&path, &signer.verifier()) && !Approval::stands_by(&path, &others.verifier()));
        let check = || {
            let digest = Digest::of(std::fs::read(&path).unwrap());
            Approval::check(&path, digest, &[], &[signer.verifier()]).map_err(|error| error.report())
        };
        for file in [&path, &note] {
            let whole = std::fs::read_to_string(file).unwrap();
            std::fs::write(file, whole.replace('\n', "\r\n")).unwrap();
            let told = check().unwrap_err();
            assert!(told.contains("line ends that were changed to CRLF") && !told.contains("hgad sign"), "{told}");
            let command = told.rsplit_once("undo that: ").unwrap().1;
            assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success());
            assert!(check().is_ok(), "{command}");
        }
        std::fs::write(&path, content.replace('\n', "\r\n").replace('1', "9")).unwrap();
        assert!(check().unwrap_err().contains("changed since"));
    }

    #[test]
    fn an_approval_takes_the_place_of_the_one_before_in_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cap.toml");
        let signer = Signer::generate("quality").unwrap();
        let sign = |reason: &str| {
            Approval::sign(&path, Digest::of("content"), &signer, "A. Smith", reason, &[], None).unwrap()
        };
        let note = sign("first");
        // Whoever opened the old one still has all of it: a crash between two writes cannot leave a part of either.
        let kept = folder.path().join("kept");
        std::fs::hard_link(&note, &kept).unwrap();
        sign("second");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert!(read(&kept).contains("reason first") && read(&note).contains("reason second"));
        std::fs::remove_file(&kept).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_lane_s_own_calibration_is_approved_for_that_lane() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("left.toml");
        std::fs::write(&path, "content").unwrap();
        let signer = Signer::generate("quality").unwrap();
        let lanes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let check = |signed: &[&str], by: &[&str]| {
            Approval::sign(&path, Digest::of("content"), &signer, "A. Smith", "new lamp", &lanes(signed), None)
                .unwrap();
            Approval::check(&path, Digest::of("content"), by, &[signer.verifier()]).map_err(|error| error.report())
        };
        assert_eq!(check(&["left", "middle lane"], &["middle lane"]).unwrap().lanes, ["left", "middle lane"]);
        let told = check(&["left"], &["left"]).unwrap().to_string();
        assert!(told.starts_with("A. Smith, 20") && told.ends_with(": new lamp (key quality, lane left)"), "{told}");
        let other = check(&["left"], &["right"]).unwrap_err();
        assert!(other.contains("approved for left") && other.contains("--lane right"), "{other}");
        // One note is for all of them: to sign for one lane after the other would only change which is missing.
        let both = check(&["left"], &["left", "right"]).unwrap_err();
        assert!(both.contains("lane right goes") && both.contains("--lane left --lane right"), "{both}");
        assert_eq!(check(&["left", "right"], &["right", "left"]).unwrap().lanes, ["left", "right"]);
        assert!(check(&[], &["right"]).unwrap_err().contains("approved for no lane"));
        assert!(check(&["left"], &[]).unwrap_err().contains("approved for left alone"));
        assert!(
            Approval::sign(&path, Digest::of("content"), &signer, "x", "y", &lanes(&["left\ntime z"]), None).is_err()
        );
    }

    #[test]
    fn what_a_threshold_is_that_its_scores_do_not_give_is_signed_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cap.toml");
        std::fs::write(&path, "content").unwrap();
        let signer = Signer::generate("quality").unwrap();
        let digest = Digest::of("content");
        let signed = |unproven: Option<&Unproven>| {
            Approval::sign(&path, digest, &signer, "A. Smith", "trial", &["left".to_owned()], unproven).unwrap();
            Approval::check(&path, digest, &["left"], &[signer.verifier()]).unwrap()
        };
        let of_costs = Unproven::FromCosts("the threshold 9 comes from costs".to_owned());
        let unproven = Unproven::ByHand("the threshold 9 is not 2".to_owned());
        let (own, by_hand) = (signed(None), signed(Some(&unproven)));
        assert!(
            std::fs::read_to_string(note_of(&path))
                .unwrap()
                .contains("\nthreshold by hand: the threshold 9 is not 2\n")
        );
        let from_costs = signed(Some(&of_costs));
        assert!(
            std::fs::read_to_string(note_of(&path)).unwrap().contains("\nthreshold from costs: the threshold 9 comes")
        );
        assert_eq!([&own.unproven, &by_hand.unproven, &from_costs.unproven], [&None, &Some(unproven), &Some(of_costs)]);
        assert!(
            from_costs.to_string().ends_with("lane left, from costs: the threshold 9 comes from costs)"),
            "{from_costs}"
        );
        assert!(by_hand.to_string().ends_with("lane left, by hand: the threshold 9 is not 2)"), "{by_hand}");
        let json = |approval: &Approval| serde_json::to_string(approval).unwrap();
        assert!(
            json(&by_hand).contains("\"threshold_by_hand\":\"the threshold 9") && !json(&own).contains("threshold_")
        );
        assert!(json(&from_costs).contains("\"threshold_from_costs\":\"the threshold 9"));
        for approval in [own, by_hand, from_costs] {
            assert_eq!(serde_json::from_str::<Approval>(&json(&approval)).unwrap(), approval);
        }
    }
}
