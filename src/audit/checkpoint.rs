//! What is signed: how many lines there are and the root of their tree (C2SP tlog-checkpoint).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::key::{Note, Signer};
use super::tree::Tree;
use crate::digest::Digest;

/// What a log was when somebody signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name: that of the key.
    pub origin: String,
    /// How many lines it had.
    pub size: u64,
    /// The root of the Merkle tree over them.
    pub root: Digest,
}

impl Checkpoint {
    /// Signs what `tree` is.
    pub(super) fn sign(tree: &Tree, signer: &Signer) -> String {
        signer.sign(&format!("{}\n{}\n{}\n", signer.name(), tree.size(), base64(tree.root())))
    }

    /// Reads a note's text; `None` for what is not a checkpoint. Lines after the third are extensions, which say nothing here.
    pub(super) fn of(note: &Note<'_>) -> Option<Self> {
        let mut lines = note.text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        // Sizes that no log reaches would be arithmetic's undoing.
        let size = canonical(size).filter(|size| *size <= i64::MAX as u64)?;
        (!origin.is_empty()).then_some(Checkpoint { origin: origin.to_owned(), size, root: from_base64(root)? })
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
        let mut tree = Tree::EMPTY;
        [b"a", b"b", b"c"].iter().for_each(|entry| tree.push(*entry));
        let note = Checkpoint::sign(&tree, &signer);
        let note = Note::parse(&note).unwrap();
        let checkpoint = Checkpoint::of(&note).unwrap();
        assert_eq!(checkpoint, Checkpoint { origin: "factory.example/line-3".into(), size: 3, root: tree.root() });
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
        ] {
            let text = format!("{}\n\u{2014} a AAAA\n", text.replace('R', &root));
            assert_eq!(Note::parse(&text).and_then(|note| Checkpoint::of(&note)), None, "{text:?}");
        }
    }
}
