//! Logs that are signed, and those who change them.

use std::path::{Path, PathBuf};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::checkpoint::Checkpoint;
use super::super::tree::Tree;
use super::*;
use crate::config::SigningConfig;

/// A line that signs its audit.
struct Signed {
    folder: Folder,
    key: PathBuf,
    copy: PathBuf,
}

impl Signed {
    fn new() -> Self {
        let folder = Folder::new();
        let key = folder.0.path().join("line.key");
        Signer::generate("factory.example/line-3").unwrap().write(&key).unwrap();
        let copy = folder.0.path().join("checkpoint");
        Signed { folder, key, copy }
    }

    fn open(&self) -> crate::Result<AuditLog> {
        let (key, former_keys) = (self.key.clone(), Vec::new());
        let signing = Some(SigningConfig { key, former_keys, checkpoint_copy: Some(self.copy.clone()) });
        let config = AuditConfig { file: self.folder.file(), sync: SyncPolicy::Group, signing };
        AuditLog::open(&config, &run_start())
    }

    fn run(&self, parts: u64) {
        let log = self.open().unwrap();
        (0..parts).for_each(|number| log.write(part(number)).unwrap());
        log.write(Body::stop(Monotonic::now(), "end", &Counters::default())).unwrap();
        log.close().unwrap();
    }

    /// What somebody knows who has the public key and a copy of the last checkpoint.
    fn trust(&self) -> Trust {
        Trust {
            keys: vec![Verifier::open(&self.key.with_added_extension("pub")).unwrap()],
            kept: Some(std::fs::read_to_string(&self.copy).unwrap()),
        }
    }

    fn verify(&self, trust: &Trust) -> crate::Result<Verified> {
        verify(&self.folder.file(), trust)
    }
}

#[test]
fn a_run_is_signed_from_its_start_to_its_stop() {
    let line = Signed::new();
    line.run(5);
    line.run(3);
    let verified = line.verify(&line.trust()).unwrap();
    assert!(verified.warnings.is_empty(), "{:?}", verified.warnings);
    assert_eq!((verified.runs, verified.parts), (2, 8));
    let signed = verified.signed.as_ref().unwrap();
    assert_eq!((signed.origin.as_str(), signed.size), ("factory.example/line-3", verified.lines - 1));
    assert!(verified.checkpoints >= 2, "{verified:?}");
    let warned = line.verify(&Trust::default()).unwrap().warnings;
    assert!(warned.iter().any(|warning| warning.contains("--key")), "{warned:?}");
}

/// Whoever may write the file and has no key: makes a whole new chain of what is left of the lines.
fn reseal(lines: &[String]) -> Vec<String> {
    let mut link = Link::START;
    let bodies = lines.iter().map(|line| {
        let mut record: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        ["seq", "prev", "hash"].iter().for_each(|field| drop(record.shift_remove(*field)));
        serde_json::to_string(&record).unwrap()
    });
    bodies.map(|body| link.seal(&body).trim_end().to_owned()).collect()
}

#[test]
fn no_new_chain_stands_without_the_key() {
    let line = Signed::new();
    line.run(5);
    line.run(5);
    let lines = line.folder.lines();
    assert_eq!(reseal(&lines), lines, "the forger's chain is as good as ours");
    let trust = Trust { kept: None, ..line.trust() };
    let refused = |lines: Vec<String>, says: &str| {
        line.folder.replace(&reseal(&lines));
        let error = line.verify(&trust).expect_err(says);
        assert_eq!(error.kind().exit_code(), 1);
        assert!(error.report().contains(says), "{says}: {}", error.report());
        assert!(line.open().is_err(), "no run continues it");
    };
    let part = lines.iter().position(|line| line.contains("\"part\":2,")).unwrap();
    let change = |from: &str, to: &str| {
        let mut lines = lines.clone();
        lines[part] = lines[part].replace(from, to);
        lines
    };
    refused(change("\"fate\":\"rejected\"", "\"fate\":\"passed\""), "some were changed, removed or put in");
    let mut without = lines.clone();
    without.remove(part);
    refused(without, "some were changed, removed or put in");
    let is_checkpoint = |line: &&String| line.contains("\"kind\":\"checkpoint\"");
    refused(lines.iter().filter(|line| !is_checkpoint(line)).cloned().collect(), "nothing in it is signed");
    let mut forged = Tree::EMPTY;
    let other = Signer::generate("factory.example/line-3").unwrap();
    let mut link = Link::START;
    let forged = lines
        .iter()
        .map(|line| {
            let mut record: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
            ["seq", "prev", "hash"].iter().for_each(|field| drop(record.shift_remove(*field)));
            if record.contains_key("note") {
                record["note"] = Checkpoint::sign(&forged, &other).into();
            }
            let line = link.seal(&serde_json::to_string(&record).unwrap()).trim_end().to_owned();
            forged.push(line.as_bytes());
            line
        })
        .collect();
    refused(forged, "not signed by a key that was given");
}

#[test]
fn an_older_log_does_not_pass_for_the_newest() {
    let line = Signed::new();
    line.run(5);
    let old = line.folder.lines();
    let old_checkpoint = line.trust().kept;
    line.run(5);
    line.folder.replace(&old);
    let error = line.verify(&line.trust()).unwrap_err();
    assert!(error.report().contains("its end was removed"), "{}", error.report());
    assert!(line.open().is_err(), "no run continues it");
    // Who kept only the older checkpoint cannot know.
    line.verify(&Trust { kept: old_checkpoint, ..line.trust() }).unwrap();
}

#[test]
fn every_one_of_ten_thousand_random_edits_is_found() {
    let line = Signed::new();
    line.run(6);
    line.run(6);
    let (whole, trust) = (std::fs::read(line.folder.file()).unwrap(), line.trust());
    let lines = whole.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut edits = 0;
    while edits < 10_000 {
        let edited = edit(&lines, &mut random);
        if edited == whole {
            continue;
        }
        edits += 1;
        std::fs::write(line.folder.file(), &edited).unwrap();
        assert!(line.verify(&trust).is_err(), "edit {edits} was not found:\n{}", String::from_utf8_lossy(&edited));
    }
    std::fs::write(line.folder.file(), &whole).unwrap();
    line.verify(&trust).unwrap();
}

/// Flips bits, or deletes, doubles, swaps, inserts or cuts off lines.
fn edit(lines: &[Vec<u8>], random: &mut impl Rng) -> Vec<u8> {
    let mut lines = lines.to_vec();
    let (a, b) = (random.random_range(0..lines.len()), random.random_range(0..lines.len()));
    match random.random_range(0..7) {
        0 => {
            let place = random.random_range(0..lines[a].len());
            lines[a][place] ^= 1 << random.random_range(0..8);
        }
        1 => drop(lines.remove(a)),
        2 => lines.swap(a, b),
        3 => {
            let copy = lines[a].clone();
            lines.insert(b, copy);
        }
        4 => lines.truncate(a),
        5 => {
            let length = random.random_range(0..lines[a].len());
            lines[a].truncate(length);
        }
        _ => {
            lines.truncate(a + 1);
            let length = random.random_range(0..lines[a].len());
            lines[a].truncate(length);
        }
    }
    lines.concat()
}

#[test]
fn a_line_is_proved_and_another_implementation_agrees() {
    let line = Signed::new();
    line.run(40);
    let key = &line.trust().keys[0];
    let lines = line.folder.lines();
    for index in 0..lines.len() as u64 - 1 {
        let text = prove(&line.folder.file(), index).unwrap();
        let proved = check(&text, key).unwrap();
        assert_eq!((proved.index, &proved.line), (index, &lines[index as usize]));
        check_elsewhere(&text, &line.key, &lines[index as usize]);
        let changed = lines[index as usize].replace("passed", "rejected").replace("reject", "pass");
        if changed != lines[index as usize] {
            let forged = text.replace(&base64_of(&lines[index as usize]), &base64_of(&changed));
            assert!(check(&forged, key).unwrap_err().report().contains("is not record"));
        }
    }
    let beyond = prove(&line.folder.file(), lines.len() as u64).unwrap_err();
    assert!(beyond.report().contains("has no record"), "{}", beyond.report());
    let uncovered = prove(&line.folder.file(), lines.len() as u64 - 1).unwrap_err();
    assert!(uncovered.report().contains("no checkpoint covers"), "{}", uncovered.report());
    let other = Signer::generate("factory.example/line-3").unwrap().verifier();
    let foreign = check(&prove(&line.folder.file(), 0).unwrap(), &other).unwrap_err();
    assert!(foreign.report().contains("not signed by"), "{}", foreign.report());
}

fn base64_of(line: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(line)
}

/// Checks a proof with the code of others alone: Cloudflare's `signed_note` and `tlog_tiles`.
fn check_elsewhere(proof: &str, key: &Path, line: &str) {
    use signed_note::{Note, StandardVerifier, VerifierList};
    use tlog_tiles::tlog::{Hash, check_record, record_hash};
    let (statement, note) = proof.split_once("\n\n").unwrap();
    let public = std::fs::read_to_string(key.with_added_extension("pub")).unwrap();
    let verifier = StandardVerifier::new(public.trim()).unwrap();
    let note = Note::from_bytes(note.as_bytes()).unwrap();
    note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    let rows = statement.lines().collect::<Vec<_>>();
    let index = rows[2].strip_prefix("index ").unwrap().parse().unwrap();
    let path = rows[3..].iter().map(|hash| Hash::parse_hash(hash).unwrap()).collect::<Vec<_>>();
    check_record(&path, checkpoint.size(), *checkpoint.hash(), index, record_hash(line.as_bytes())).unwrap();
}
