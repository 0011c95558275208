//! What is signed: how many lines there are and the root of their tree (C2SP tlog-checkpoint); and, as extension lines, which log it is
//! and when that was.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use serde::{Deserialize, Serialize};

use super::chain::Link;
use super::clock::is_synchronised;
use super::key::{Note, Signer};
use super::record::wall_time;
use super::spot;
use crate::digest::Digest;
use crate::time::Monotonic;

/// What the extension lines begin with.
const LOG: &str = "log ";
const MADE: &str = "made ";

/// What a log was when somebody signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name: that of the key.
    pub origin: String,
    /// How many lines it had.
    pub size: u64,
    /// The root of the Merkle tree over them.
    pub root: Digest,
    /// Which log it is of: the hash of its first line, since one key may sign two; `None` where nobody knows.
    pub log: Option<Digest>,
    /// When it was made, as the record says that holds it; `None` from an older program.
    pub made: Option<Made>,
}

/// When a checkpoint was made. Nothing signs the newest one's own record, so that its note has to say this too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// The wall time, as records have it.
    pub time: String,
    /// CLOCK_MONOTONIC.
    pub monotonic_ns: u64,
    /// Whether others kept the clock right.
    pub synchronised: bool,
}

impl Made {
    pub(super) fn now() -> Self {
        let now = Monotonic::now();
        Made { time: wall_time(now), monotonic_ns: now.as_nanos(), synchronised: is_synchronised() }
    }

    fn parse(text: &str) -> Option<Self> {
        let (time, rest) = text.split_once(' ')?;
        let (monotonic_ns, synchronised) = rest.split_once(' ')?;
        let synchronised = synchronised.parse().ok()?;
        Some(Made { time: time.to_owned(), monotonic_ns: canonical(monotonic_ns)?, synchronised })
    }
}

/// The record that holds a checkpoint: these fields and no other, in this order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    seq: u64,
    prev: Digest,
    kind: String,
    time: String,
    monotonic_ns: u64,
    /// Not in format 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    synchronised: Option<bool>,
    note: String,
    hash: Digest,
}

/// Whether a checkpoint's record is one that this program could have written: nothing signs the newest one, so there is to be no room in
/// it for what nobody signed.
pub(super) fn is_plain(line: &[u8]) -> bool {
    let read = serde_json::from_slice::<Line>(line).ok();
    read.and_then(|read| serde_json::to_vec(&read).ok()).is_some_and(|written| written == line)
}

impl Checkpoint {
    /// The records that it signs, for people: `records 0 to 41`; but for the first `absent` ones, which nobody looked at.
    pub fn records(&self, absent: u64) -> String {
        spot::records(&(absent..self.size))
    }

    /// Signs all lines before the one that `link` says comes next.
    pub(super) fn sign(link: &Link, made: &Made, signer: &Signer) -> String {
        let (name, tree) = (signer.name(), link.tree());
        let log = link.log().map_or_else(String::new, |log| format!("{LOG}{log}\n"));
        let Made { time, monotonic_ns, synchronised } = made;
        let made = format!("{MADE}{time} {monotonic_ns} {synchronised}\n");
        signer.sign(&format!("{name}\n{}\n{}\n{log}{made}", tree.size(), base64(tree.root())))
    }

    /// Reads a note's text; `None` for what is not a checkpoint. Extension lines of others say nothing here.
    pub(super) fn of(note: &Note<'_>) -> Option<Self> {
        let mut lines = note.text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        // Sizes that no log reaches would be arithmetic's undoing.
        let size = canonical(size).filter(|size| *size <= i64::MAX as u64)?;
        if origin.is_empty() {
            return None;
        }
        let root = from_base64(root)?;
        let mut checkpoint = Checkpoint { origin: origin.to_owned(), size, root, log: None, made: None };
        for line in lines {
            if let Some(log) = line.strip_prefix(LOG) {
                checkpoint.log = Some(log.parse().ok()?);
            } else if let Some(made) = line.strip_prefix(MADE) {
                checkpoint.made = Some(Made::parse(made)?);
            }
        }
        Some(checkpoint)
    }
}

/// A number that is written in the one way that counts: digits, and no zero before another.
pub(super) fn canonical(digits: &str) -> Option<u64> {
    digits.parse::<u64>().ok().filter(|number| number.to_string() == digits)
}

/// A hash as transparency logs write it.
pub(super) fn base64(hash: Digest) -> String {
    BASE64.encode(hash.as_bytes())
}

pub(super) fn from_base64(text: &str) -> Option<Digest> {
    Some(Digest::from_bytes(BASE64.decode(text).ok()?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_says_what_the_tree_is_and_another_implementation_agrees() {
        let signer = Signer::generate("factory.example/line-3").unwrap();
        let mut link = Link::START;
        let hashes = ["a", "b", "c"].map(|entry| {
            link.advance(Digest::of(entry), entry.as_bytes());
            Digest::of(entry)
        });
        let (tree, made) = (link.tree(), Made { time: "then".into(), monotonic_ns: 7, synchronised: true });
        let note = Checkpoint::sign(&link, &made, &signer);
        let note = Note::parse(&note).unwrap();
        let checkpoint = Checkpoint::of(&note).unwrap();
        let (origin, log, made) = ("factory.example/line-3".into(), Some(hashes[0]), Some(made));
        assert_eq!(checkpoint, Checkpoint { origin, size: 3, root: tree.root(), log, made });
        let theirs = tlog_tiles::Checkpoint::from_bytes(note.text.as_bytes()).unwrap();
        assert_eq!((theirs.origin(), theirs.size()), ("factory.example/line-3", 3));
        assert_eq!(&theirs.hash().0, tree.root().as_bytes());
    }

    #[test]
    fn what_is_no_checkpoint_is_none() {
        let root = base64(Digest::of("x"));
        for text in [
            "",
            "a\n",
            "a\n1\n",
            "a\n01\nR\n",
            "a\n+1\nR\n",
            "a\n-1\nR\n",
            "a\n18446744073709551615\nR\n",
            "\n1\nR\n",
            "a\n1\nshort\n",
            "a\n1\nR\nlog 123\n",
            "a\n1\nR\nmade then 01 true\n",
            "a\n1\nR\nmade then 1 perhaps\n",
        ] {
            let text = format!("{}\n\u{2014} a AAAA\n", text.replace('R', &root));
            assert_eq!(Note::parse(&text).and_then(|note| Checkpoint::of(&note)), None, "{text:?}");
        }
    }
}
