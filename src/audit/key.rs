//! Keys, and the notes that they sign (C2SP signed-note, as Go's `sumdb/note` reads and writes them; Ed25519 alone).
//!
//! A private key is `PRIVATE+KEY+NAME+ID+BASE64(1, seed)`, a public one `NAME+ID+BASE64(1, key)`; the ID is eight hexadecimal
//! digits of SHA-256(NAME, line feed, 1, key). A signed note is a text of whole lines, an empty line, and lines
//! `— NAME BASE64(ID, signature)`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use super::harmless::{Undone, undo_text};
use crate::digest::Digest;
use crate::draft::sync_folder;
use crate::{Error, Result};

/// Ed25519, in the encoding of keys.
const ALGORITHM: u8 = 1;
/// More signatures than a line and its witnesses make are somebody's attempt to keep a verifier busy.
const MOST_SIGNATURES: usize = 16;
const PRIVATE: &str = "PRIVATE+KEY+";

/// Signs notes under a name.
#[derive(Debug, Clone)]
pub struct Signer {
    name: String,
    id: [u8; 4],
    key: SigningKey,
}

/// Checks the notes that are signed under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl Signer {
    /// A new key.
    ///
    /// # Errors
    ///
    /// The name is empty, or holds a space or a plus.
    pub fn generate(name: &str) -> Result<Self> {
        if !is_name(name) {
            return Err(Error::usage(format!("'{name}' cannot name a key"))
                .advise("give a name without spaces and pluses, such as factory.example/line-3"));
        }
        let key = SigningKey::from_bytes(&rand::random());
        Ok(Signer { name: name.to_owned(), id: key_id(name, key.verifying_key().as_bytes()), key })
    }

    /// Reads a private key file, which nobody else may read.
    ///
    /// # Errors
    ///
    /// The file cannot be read, others may read it, or it is no private key.
    pub fn open(path: &Path) -> Result<Self> {
        let place = path.display();
        let signer = read(path, "private", "make one with: hgad audit keygen --name NAME --out FILE", Self::parse)?;
        let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode());
        match mode & 0o077 {
            0 => Ok(signer),
            _ => Err(Error::usage(format!("others may read the audit's private key {place}"))
                .advise(format!("chmod 600 {place}; if others had access, make a new key"))),
        }
    }

    fn parse(text: &str) -> Result<Self, NoKey> {
        let fields_of = |text| fields(text).ok_or_else(|| NoKey::damaged("it does not go on with NAME+ID+KEY"));
        let other = || {
            NoKey(
                "it does not begin as one".into(),
                "name the file that `hgad audit keygen` wrote with --out, not its .pub",
            )
        };
        let (name, id, bytes) = text.strip_prefix(PRIVATE).ok_or_else(other).and_then(fields_of)?;
        let key = SigningKey::from_bytes(&bytes);
        match id == key_id(name, key.verifying_key().as_bytes()) {
            true => Ok(Signer { name: name.to_owned(), id, key }),
            false => Err(NoKey::damaged("its ID is not that of its name and key")),
        }
    }

    /// Writes the private key to `path`, for this user alone, and the public one beside it with `.pub` added.
    ///
    /// # Errors
    ///
    /// One of the files is there already, or cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let public = path.with_added_extension("pub");
        let private_text = format!("{PRIVATE}{}\n", encode(&self.name, self.id, self.key.as_bytes()));
        write_new(path, 0o600, &private_text)?;
        // Half a pair is of no use, and would stand in the way of the next try.
        write_new(&public, 0o644, &format!("{}\n", self.verifier())).inspect_err(|_| drop(std::fs::remove_file(path)))
    }

    /// The name, which is also the origin of the checkpoints that it signs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    pub fn verifier(&self) -> Verifier {
        Verifier { name: self.name.clone(), id: self.id, key: self.key.verifying_key() }
    }

    /// Signs `text`, which ends with a line feed and has no empty line.
    pub(crate) fn sign(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        let bytes = [&self.id[..], &signature].concat();
        format!("{text}\n\u{2014} {} {}\n", self.name, BASE64.encode(bytes))
    }
}

impl Verifier {
    /// Reads a public key file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no public key.
    pub fn open(path: &Path) -> Result<Self> {
        let advice = "a public key is one line, NAME+ID+KEY: the file that ends with .pub";
        read(path, "public", "`hgad audit keygen` wrote it beside the private key, with .pub added", |text| {
            text.parse().map_err(|why| NoKey(why, advice))
        })
    }

    /// The text of a note, with its last line feed, if this key signed it.
    pub(crate) fn open_note<'n>(&self, note: &'n str) -> Option<&'n str> {
        let note = Note::parse(note)?;
        self.signed(&note).then_some(note.text)
    }

    /// Whether `note` holds signatures by this key, and all of them fit its text.
    pub(super) fn signed(&self, note: &Note<'_>) -> bool {
        let own = note.signatures.iter().filter(|(name, bytes)| *name == self.name && bytes.starts_with(&self.id));
        let fits = |(_, bytes): &(&str, Vec<u8>)| {
            let signature = Signature::from_slice(&bytes[self.id.len()..]);
            signature.is_ok_and(|signature| self.key.verify_strict(note.text.as_bytes(), &signature).is_ok())
        };
        own.clone().count() > 0 && own.clone().all(fits)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its file begins with, and what signatures tell of it: `NAME+ID`.
    pub(crate) fn label(&self) -> String {
        label(&self.name, self.id)
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&encode(&self.name, self.id, self.key.as_bytes()))
    }
}

impl std::str::FromStr for Verifier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, id, bytes) = fields(text).ok_or("it does not read NAME+ID+KEY")?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|error| error.to_string())?;
        if id != key_id(name, &bytes) {
            return Err("its ID is not that of its name and key: it was damaged".into());
        }
        Ok(Verifier { name: name.to_owned(), id, key })
    }
}

/// A text and its signatures, none of them checked.
#[derive(Debug)]
pub(super) struct Note<'n> {
    /// With its last line feed.
    pub(super) text: &'n str,
    signatures: Vec<(&'n str, Vec<u8>)>,
}

impl<'n> Note<'n> {
    /// Whether it has one signature alone.
    pub(super) fn is_signed_once(&self) -> bool {
        self.signatures.len() == 1
    }

    /// The keys that are said to have signed it, as [`Verifier::label`] tells them.
    pub(super) fn signers(&self) -> impl Iterator<Item = String> {
        let ids = self.signatures.iter().filter_map(|(name, bytes)| Some((*name, *bytes.first_chunk::<4>()?)));
        ids.map(|(name, id)| label(name, id))
    }

    /// Takes a note apart; `None` for what is not one.
    pub(super) fn parse(note: &'n str) -> Option<Self> {
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return None;
        }
        let (text, signatures) = note.rsplit_once("\n\n")?;
        let text = &note[..text.len() + 1];
        let signatures = signatures.strip_suffix('\n')?.lines().map(|line| {
            let (name, bytes) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
            Some((name, BASE64.decode(bytes).ok()?))
        });
        let signatures = signatures.take(MOST_SIGNATURES + 1).collect::<Option<Vec<_>>>()?;
        (signatures.len() <= MOST_SIGNATURES).then_some(Note { text, signatures })
    }
}

/// The keys that are said to have signed a note, as [`Verifier::label`] tells them; none of what is no note.
pub(crate) fn signers(note: &str) -> Vec<String> {
    Note::parse(note).map(|note| note.signers().collect()).unwrap_or_default()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

fn key_id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let digest = Digest::of_pieces([name.as_bytes(), b"\n", &[ALGORITHM], public]);
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

fn encode(name: &str, id: [u8; 4], key: &[u8; 32]) -> String {
    format!("{}+{}", label(name, id), BASE64.encode([&[ALGORITHM][..], key].concat()))
}

fn label(name: &str, id: [u8; 4]) -> String {
    format!("{name}+{:08x}", u32::from_be_bytes(id))
}

fn fields(text: &str) -> Option<(&str, [u8; 4], [u8; 32])> {
    let (name, rest) = text.split_once('+')?;
    let (id, key) = rest.split_once('+')?;
    let id = (id.len() == 8).then(|| u32::from_str_radix(id, 16).ok())??.to_be_bytes();
    let bytes = BASE64.decode(key).ok()?;
    let (algorithm, key) = bytes.split_first()?;
    (is_name(name) && *algorithm == ALGORITHM).then_some((name, id, key.try_into().ok()?))
}

/// Why a text is no key, and what to do.
struct NoKey(String, &'static str);

impl NoKey {
    fn damaged(why: &str) -> Self {
        NoKey(
            format!("{why}: it was damaged, or somebody edited it"),
            "bring it back from a copy; if there is none, make a new key (hgad audit keygen), and name the public key of the old one in \
             [audit] former_keys",
        )
    }
}

/// Reads the key in a file; `missing` says what to do where there is none. A file that a tool wrote anew is refused, and named as that.
fn read<T>(path: &Path, which: &str, missing: &str, parse: impl Fn(&str) -> Result<T, NoKey>) -> Result<T> {
    let place = path.display();
    let bytes = std::fs::read(path)
        .map_err(|error| Error::usage(format!("key {place} cannot be read")).unread(error, missing))?;
    let text = String::from_utf8_lossy(&bytes);
    parse(text.trim()).map_err(|NoKey(why, advice)| {
        let refused = Error::usage(format!("{place} is not a {which} key of an audit"));
        let undone = Undone::default();
        let is_one = undo_text(&bytes, &undone).is_some_and(|text| parse(text.trim()).is_ok());
        match undone.told().zip(undone.command(path)).filter(|_| is_one) {
            None => refused.because(why).advise(advice),
            Some((told, command)) => refused
                .because(format!("this looks like {told}, as an editor or a transfer does: with that undone it is one"))
                .advise(format!("give it byte for byte as it was written, or undo that: {command}")),
        }
    })
}

fn write_new(path: &Path, mode: u32, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| {
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync_folder(path));
        // A part of a key would only stand in the way of the next try.
        written.inspect_err(|_| drop(std::fs::remove_file(path)))
    })
    .map_err(|error| {
        let new = if error.kind() == std::io::ErrorKind::AlreadyExists { Error::usage } else { Error::device };
        new(format!("key {} cannot be written", path.display()))
            .because(error)
            .advise("a key is never replaced: give another --out")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_written_for_one_user_read_again_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("line-3.key");
        let signer = Signer::generate("factory.example/line-3").unwrap();
        signer.write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let verifier = Verifier::open(&folder.path().join("line-3.key.pub")).unwrap();
        assert_eq!(verifier, Signer::open(&path).unwrap().verifier());
        assert_eq!(Signer::generate("other").unwrap().write(&path).unwrap_err().kind().exit_code(), 2);

        let public = Signer::open(&folder.path().join("line-3.key.pub")).unwrap_err();
        assert!(public.report().contains("not its .pub"), "{}", public.report());
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        assert!(Signer::open(&path).unwrap_err().report().contains("chmod 600"));
        assert!(Signer::generate("line 3").is_err());
    }

    #[test]
    fn a_key_that_a_tool_wrote_anew_is_told_from_one_that_was_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("line 3.key");
        Signer::generate("line-3").unwrap().write(&path).unwrap();
        let public = path.with_added_extension("pub");
        let utf16 = |text: &str| {
            std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect::<Vec<_>>()
        };
        for path in [&path, &public] {
            let whole = std::fs::read_to_string(path).unwrap();
            let report = || match path == &public {
                true => Verifier::open(path).unwrap_err().report(),
                false => Signer::open(path).unwrap_err().report(),
            };
            let crlf = whole.replace('\n', "\r\n");
            for (changed, says) in [
                (
                    format!("\u{feff}{crlf}").into_bytes(),
                    "a byte order mark that was put before the text, and line ends",
                ),
                (utf16(&crlf), "encoded anew (UTF-16), and line ends"),
            ] {
                std::fs::write(path, changed).unwrap();
                let told = report();
                assert!(told.contains(says), "{says}\n is not\n{told}");
                let command = told.rsplit_once("undo that: ").unwrap().1;
                assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success());
                assert_eq!(std::fs::read_to_string(path).unwrap(), whole, "{command}");
                std::fs::remove_file(path.with_added_extension("changed")).unwrap();
            }
            std::fs::write(path, format!("\u{feff}{}", whole.replace("line", "lime"))).unwrap();
            assert!(!report().contains("looks like"), "{}", report());
            std::fs::write(path, whole.replace("line", "lime")).unwrap();
            assert!(report().contains("damaged"), "{}", report());
        }
    }

    #[test]
    fn a_note_is_signed_by_its_key_alone_and_holds_every_byte() {
        let (signer, other) = (Signer::generate("a").unwrap(), Signer::generate("a").unwrap());
        let note = signer.sign("one\ntwo\n");
        let signed = |note: &str, by: &Signer| Note::parse(note).is_some_and(|note| by.verifier().signed(&note));
        assert!(signed(&note, &signer) && !signed(&note, &other));
        for place in (0..note.len()).filter(|place| note.is_char_boundary(*place)) {
            let mut bytes = note.clone().into_bytes();
            bytes[place] ^= 1;
            let changed = String::from_utf8_lossy(&bytes).into_owned();
            assert!(!signed(&changed, &signer), "byte {place}");
        }
    }

    #[test]
    fn another_implementation_reads_our_keys_and_notes() {
        use signed_note::{Note as TheirNote, StandardVerifier, VerifierList};
        let signer = Signer::generate("factory.example/line-3").unwrap();
        let theirs = StandardVerifier::new(&signer.verifier().to_string()).unwrap();
        let note = TheirNote::from_bytes(signer.sign("text\n").as_bytes()).unwrap();
        let (valid, unknown) = note.verify(&VerifierList::new(vec![Box::new(theirs)])).unwrap();
        assert_eq!((valid.len(), unknown.len()), (1, 0));
        let private = format!("{PRIVATE}{}", encode(&signer.name, signer.id, signer.key.as_bytes()));
        signed_note::StandardSigner::new(&private).unwrap();
    }
}
