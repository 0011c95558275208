//! Proofs of `hgad audit prove` in the hands of somebody who has neither this program nor its code: Cloudflare's `signed_note` and
//! `tlog_tiles` check them.

mod common;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use common::line::Line;
use common::run;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::Checkpoint;
use tlog_tiles::tlog::{Hash, check_record, record_hash};

/// A proof, taken apart as <https://c2sp.org/tlog-proof> says.
#[derive(Clone)]
struct Proof {
    /// The record, as it stands in the log, without its line feed.
    line: Vec<u8>,
    /// Its number.
    index: u64,
    /// The hashes beside its way to the root of the tree.
    path: Vec<Hash>,
    /// The signed checkpoint.
    note: String,
}

impl Proof {
    fn parse(text: &str) -> Self {
        let (statement, note) = text.split_once("\n\n").unwrap();
        let mut rows = statement.lines();
        assert_eq!(rows.next(), Some("c2sp.org/tlog-proof@v1"));
        let line = BASE64.decode(rows.next().unwrap().strip_prefix("extra ").unwrap()).unwrap();
        let index = rows.next().unwrap().strip_prefix("index ").unwrap().parse().unwrap();
        let path = rows.map(|hash| Hash::parse_hash(hash).unwrap()).collect();
        Proof { line, index, path, note: note.to_owned() }
    }

    /// What the public `key` signed.
    fn checkpoint(&self, key: &str) -> Result<Checkpoint, String> {
        let key = StandardVerifier::new(key).map_err(|error| format!("key: {error}"))?;
        let note = Note::from_bytes(self.note.as_bytes()).map_err(|error| format!("note: {error}"))?;
        let signatures = note.verify(&VerifierList::new(vec![Box::new(key)]));
        let (valid, _) = signatures.map_err(|error| format!("note: {error}"))?;
        assert_eq!(valid.len(), 1);
        Checkpoint::from_bytes(note.text()).map_err(|error| format!("checkpoint: {error:?}"))
    }

    /// Whether the line is the record of that number among those that `key` signed.
    fn check(&self, key: &str) -> Result<(), String> {
        let signed = self.checkpoint(key)?;
        self.is_below(*signed.hash(), signed.size())
    }

    /// Whether it is that below this root of a tree of `size` records.
    fn is_below(&self, root: Hash, size: u64) -> Result<(), String> {
        let record = record_hash(&self.line);
        check_record(&self.path, size, root, self.index, record).map_err(|error| format!("record: {error:?}"))
    }
}

fn done(args: &[&str]) {
    let (code, stdout, stderr) = run(args);
    assert_eq!(code, 0, "{args:?}: {stdout}{stderr}");
}

/// A key of this name, as `FILE`: what is in `FILE.pub`.
fn keygen(file: &str) -> String {
    done(&["audit", "keygen", "--name", "factory.example/line-3", "--out", file]);
    std::fs::read_to_string(format!("{file}.pub")).unwrap().trim().to_owned()
}

/// The records of a signed log, and a proof of each that is signed.
fn proofs(line: &Line) -> (Vec<String>, Vec<Proof>) {
    let lines = std::fs::read_to_string(line.log()).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let prove = |record: usize| {
        let out = line.bench.text(&format!("{record}.tlog-proof"));
        done(&["audit", "prove", &line.log(), "--record", &record.to_string(), "--out", &out]);
        Proof::parse(&std::fs::read_to_string(out).unwrap())
    };
    // The last one is the checkpoint that signs those before it.
    let proofs = (0..lines.len() - 1).map(prove).collect();
    (lines, proofs)
}

#[test]
fn a_public_library_accepts_what_was_proved_and_nothing_else() {
    let line = Line::new("key = \"line.key\"\n");
    let key = keygen(&line.bench.text("line.key"));
    line.run();
    let (lines, proofs) = proofs(&line);
    assert!(proofs.len() > 12, "a record of every part: {lines:?}");
    let other_key = keygen(&line.bench.text("other.key"));
    for (record, proof) in proofs.iter().enumerate() {
        assert_eq!((proof.index, proof.line.as_slice()), (record as u64, lines[record].as_bytes()));
        assert_eq!(proof.check(&key), Ok(()), "record {record}");
        let signed = proof.checkpoint(&key).unwrap();
        assert_eq!((signed.origin(), signed.size()), ("factory.example/line-3", proofs.len() as u64));
        refused_elsewhere(proof, &lines, &key);
        refused_below_another_root(proof, &key, *signed.hash());
        assert_eq!(proof.check(&other_key), Err("note: note has no verifiable signatures".to_owned()));
    }
}

/// Another place, another line, or another path is none of the log.
fn refused_elsewhere(proof: &Proof, lines: &[String], key: &str) {
    let is_refused = |other: Proof| other.check(key).is_err_and(|why| why.starts_with("record: "));
    for index in (0..=lines.len() as u64).filter(|index| *index != proof.index) {
        assert!(is_refused(Proof { index, ..proof.clone() }), "record {} as {index}", proof.index);
    }
    let changed = lines[proof.index as usize].replacen("\"time\":\"2", "\"time\":\"3", 1);
    let others = lines.iter().chain([&changed]).filter(|line| line.as_bytes() != proof.line);
    let mut count = 0;
    for other in others {
        count += 1;
        assert!(is_refused(Proof { line: other.clone().into_bytes(), ..proof.clone() }), "{other}");
    }
    assert_eq!(count, lines.len(), "every other line, and the line itself with another time");
    let shorter = Proof { path: proof.path[1..].to_vec(), ..proof.clone() };
    assert!(is_refused(shorter), "record {} by a shorter path", proof.index);
}

/// A root that nobody signed: as the library has it, and written into the note.
fn refused_below_another_root(proof: &Proof, key: &str, root: Hash) {
    let size = proof.checkpoint(key).unwrap().size();
    let other = record_hash(b"another tree");
    assert_eq!(proof.is_below(root, size), Ok(()));
    assert!(proof.is_below(other, size).is_err());
    let note = proof.note.replacen(&BASE64.encode(root.0), &BASE64.encode(other.0), 1);
    assert_ne!(note, proof.note);
    let why = Proof { note, ..proof.clone() }.check(key).unwrap_err();
    assert!(why.starts_with("note: invalid signature for key factory.example/line-3+"), "{why}");
}

/// The first record that is here holds what is needed of the tree before it.
#[test]
fn a_public_library_accepts_what_was_proved_without_the_log_s_older_files() {
    let line = Line::new("key = \"line.key\"\nrotate_mb = 0.003\n");
    let key = keygen(&line.bench.text("line.key"));
    (0..3).for_each(|_| line.run());
    let signed = |log: &str| {
        let (code, stdout, stderr) = run(&["audit", "verify", log, "--key", &line.bench.text("line.key.pub")]);
        assert_eq!(code, 0, "{stdout}{stderr}");
        let (_, records) = stdout.split_once(": records ").unwrap();
        let numbers = records.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).collect::<Vec<_>>();
        numbers[0]..=numbers[1]
    };
    let last = *signed(&line.log()).end();
    let mut tried = 0;
    while let [oldest, _, _, ..] = hgad::audit::files(line.log().as_ref()).unwrap().as_slice() {
        std::fs::remove_file(&oldest.path).unwrap();
        let here = signed(&line.log());
        let prove = |record: u64| run(&["audit", "prove", &line.log(), "--record", &record.to_string()]);
        let (code, _, stderr) = prove(here.start() - 1);
        assert!(code == 2 && stderr.contains("is in a file of the log before "), "{stderr}");
        // The first ones that are here, the last ones, and some between.
        for record in here.clone().filter(|record| record - here.start() < 3 || last - record < 2 || record % 11 == 0) {
            let (code, stdout, stderr) = prove(record);
            assert_eq!(code, 0, "{stderr}");
            let proof = Proof::parse(&stdout);
            assert_eq!((proof.index, proof.check(&key)), (record, Ok(())), "without those before {}", here.start());
            assert!(String::from_utf8_lossy(&proof.line).starts_with(&format!("{{\"seq\":{record},")));
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried} proofs");
}
