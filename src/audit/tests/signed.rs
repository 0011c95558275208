//! Logs that are signed, and those who change them.

use std::path::{Path, PathBuf};

use super::super::checkpoint::{Checkpoint, Made};
use super::*;
use crate::config::SigningConfig;

/// A line that signs its audit.
pub(super) struct Signed {
    pub(super) folder: Folder,
    key: PathBuf,
    copy: PathBuf,
}

impl Signed {
    pub(super) fn new() -> Self {
        let folder = Folder::new();
        let key = folder.0.path().join("line.key");
        Signer::generate("factory.example/line-3").unwrap().write(&key).unwrap();
        let copy = folder.0.path().join("checkpoint");
        Signed { folder, key, copy }
    }

    fn signing(&self) -> SigningConfig {
        let (key, former_keys) = (self.key.clone(), Vec::new());
        SigningConfig { key, former_keys, checkpoint_copy: Some(self.copy.clone()), witness: None }
    }

    fn open(&self, signing: Option<SigningConfig>) -> crate::Result<AuditLog> {
        AuditLog::open(&AuditConfig { signing, ..AuditConfig::in_file(self.folder.file()) }, &run_start())
    }

    pub(super) fn run(&self, parts: u64) {
        self.run_with(parts, Some(self.signing()));
    }

    fn run_with(&self, parts: u64, signing: Option<SigningConfig>) {
        let log = self.open(signing).unwrap();
        (0..parts).for_each(|number| log.write(part(number)).unwrap());
        log.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
        log.close().unwrap();
    }

    /// What somebody knows who has the public key and a copy of the last checkpoint.
    pub(super) fn trust(&self) -> Trust {
        Trust {
            key: Some(Verifier::open(&self.key.with_added_extension("pub")).unwrap()),
            former: Vec::new(),
            kept: vec![Kept::read(&self.copy).unwrap()],
        }
    }

    /// The newest checkpoint, as its copy has it.
    fn note(&self) -> String {
        std::fs::read_to_string(&self.copy).unwrap()
    }

    pub(super) fn verify(&self, trust: &Trust) -> crate::Result<Verified> {
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
        ["seq", "prev", "falls", "hash"].iter().for_each(|field| drop(record.shift_remove(*field)));
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
    let trust = Trust { kept: Vec::new(), ..line.trust() };
    let refused = |lines: Vec<String>, says: &str| {
        line.folder.replace(&reseal(&lines));
        let error = line.verify(&trust).expect_err(says);
        assert_eq!(error.kind().exit_code(), 1);
        assert!(error.report().contains(says), "{says}: {}", error.report());
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
    let unsigned = lines.iter().filter(|line| !is_checkpoint(line)).cloned().collect::<Vec<_>>();
    refused(unsigned.clone(), "nothing in it is signed");
    // Not even when a run with the key continues it: that says what it found.
    line.folder.replace(&reseal(&unsigned));
    line.run_with(1, Some(SigningConfig { checkpoint_copy: None, ..line.signing() }));
    let adopted = line.verify(&trust).unwrap();
    assert_eq!(spans(&adopted), [(0, unsigned.len() as u64)], "{:?}", adopted.warnings);
    let other = Signer::generate("factory.example/line-3").unwrap();
    let mut link = Link::START;
    let forged = lines
        .iter()
        .map(|line| {
            let mut record: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
            ["seq", "prev", "falls", "hash"].iter().for_each(|field| drop(record.shift_remove(*field)));
            if record.contains_key("note") {
                let made = Made {
                    time: record["time"].as_str().unwrap().into(),
                    monotonic_ns: record["monotonic_ns"].as_u64().unwrap(),
                    synchronised: record["synchronised"].as_bool().unwrap(),
                };
                record["note"] = Checkpoint::sign(&link, &made, &other).into();
            }
            link.seal(&serde_json::to_string(&record).unwrap()).trim_end().to_owned()
        })
        .collect();
    refused(forged, "the key of its run did not sign");
    let mut smuggled = lines.clone();
    let last = smuggled.len() - 1;
    smuggled[last] = smuggled[last].replace("\"kind\":\"checkpoint\"", "\"kind\":\"part\"");
    refused(smuggled, "holds a note, and is no checkpoint");
}

#[test]
fn in_the_newest_checkpoint_s_own_line_nothing_is_free() {
    let line = Signed::new();
    line.run(5);
    let lines = line.folder.lines();
    let trust = Trust { kept: Vec::new(), ..line.trust() };
    let last = lines.last().unwrap();
    assert!(last.contains("\"kind\":\"checkpoint\""), "{last}");
    let record: serde_json::Value = serde_json::from_str(last).unwrap();
    let time = record["time"].as_str().unwrap();
    // Whoever may write the file makes the chain whole again behind each of these.
    let monotonic = format!("\"monotonic_ns\":{}", record["monotonic_ns"]);
    let synchronised = format!("\"synchronised\":{}", record["synchronised"]);
    let other = format!("\"synchronised\":{}", record["synchronised"] == false);
    for (from, to, says) in [
        (format!("\"time\":\"{time}\""), "\"time\":\"2026-11-24T16:22:31.137055Z\"".into(), "another time"),
        (monotonic.clone(), format!("{monotonic}1"), "another time"),
        (synchronised.clone(), other, "another time"),
        (synchronised.clone(), format!("{synchronised},\"text\":\"all is well\""), "is not written as one"),
        (synchronised.clone(), format!("{synchronised},\"synchronised\":true"), "not an audit line"),
        (format!("{synchronised},"), String::new(), "another time"),
        (monotonic, "\"monotonic_ns\": 7".into(), "is not written as one"),
        ("\u{2014}".into(), "\\u2014".into(), "is not written as one"),
    ] {
        let content = last[..last.len() - 75].replacen(&from, &to, 1);
        assert_ne!(content, last[..last.len() - 75], "{from}");
        let forged = format!("{content},\"hash\":\"{}\"}}", Digest::of(&content));
        line.folder.replace(&[&lines[..lines.len() - 1], &[forged]].concat());
        let error = line.verify(&trust).expect_err(says);
        assert!(error.kind().exit_code() == 1 && error.report().contains(says), "{to}: {}", error.report());
    }
    let note = record["note"].as_str().unwrap();
    let witness = Signer::generate("witness.example").unwrap().sign("x\n");
    let cosigned = format!("{note}{}", witness.split_once("\n\n").unwrap().1);
    let in_json = |note: &str| serde_json::to_string(note).unwrap();
    line.folder
        .replace(&reseal(&[&lines[..lines.len() - 1], &[last.replace(&in_json(note), &in_json(&cosigned))]].concat()));
    assert!(line.verify(&trust).unwrap_err().report().contains("signatures that no run makes"));
}

#[test]
fn a_checkpoint_of_another_log_with_the_same_key_is_refused_and_told_as_that() {
    let (line, other) = (Signed::new(), Signed::new());
    let signing = SigningConfig { key: line.key.clone(), ..other.signing() };
    line.run(5);
    for parts in [3, 20] {
        other.run_with(parts, Some(signing.clone()));
        // Of fewer lines than the log has, and of more.
        let mixed = Trust { kept: other.trust().kept, ..line.trust() };
        let error = line.verify(&mixed).unwrap_err().report();
        assert!(error.contains("is of another log of factory.example/line-3"), "{error}");
        assert!(error.contains("a key signs one log") && !error.contains("removed"), "{error}");
        // Nor does one among others pass.
        let both = Trust { kept: [line.trust().kept, other.trust().kept].concat(), ..line.trust() };
        assert_eq!(line.verify(&both).unwrap_err().report(), error);
    }
    // A run does not go on with the copy of another log either.
    let mixed = SigningConfig { checkpoint_copy: Some(other.copy.clone()), ..line.signing() };
    assert!(line.open(Some(mixed)).unwrap_err().report().contains("is of another log"));
    // Its checkpoint is none in this log, where the lines are as many.
    let (lines, theirs) = (line.folder.lines(), other.folder.lines());
    let place = lines.iter().rposition(|line| line.contains("\"checkpoint\"")).unwrap();
    let note = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["note"].to_string();
    let foreign = theirs.iter().find(|line| line.contains("\"kind\":\"checkpoint\"")).unwrap();
    let mut swapped = lines.clone();
    swapped[place] = swapped[place].replace(&note(&lines[place]), &note(foreign));
    line.folder.replace(&reseal(&swapped));
    let error = line.verify(&Trust { kept: Vec::new(), ..line.trust() }).unwrap_err().report();
    assert!(error.contains("a checkpoint of another log, or the first record"), "{error}");
}

#[test]
fn several_checkpoints_that_were_kept_are_all_held_against_the_log() {
    let line = Signed::new();
    let mut kept = Vec::new();
    for _ in 0..3 {
        line.run(3);
        kept.extend(line.trust().kept);
    }
    kept.push(kept[1].clone());
    let trust = Trust { kept, ..line.trust() };
    line.verify(&trust).unwrap();
    let lines = line.folder.lines();
    line.folder.replace(&lines[..lines.len() - 2]);
    assert!(line.verify(&trust).unwrap_err().report().contains("its end was removed"));
    // Of the last checkpoint only the end is gone.
    let whole = std::fs::read_to_string(line.folder.file()).unwrap() + &lines[lines.len() - 2..].join("\n");
    std::fs::write(line.folder.file(), &whole[..whole.len() - 40]).unwrap();
    let cut = line.verify(&trust).unwrap_err().report();
    let says = format!("record {} (line {} of ", lines.len() - 1, lines.len());
    assert!(
        cut.contains("its end was removed") && cut.contains(&says) && cut.contains("is there, and cut off"),
        "{cut}"
    );
}

#[test]
fn without_a_key_neither_a_kept_checkpoint_nor_the_log_is_believed_more_than_the_other() {
    let line = Signed::new();
    line.run(3);
    let whole = line.note();
    let nobody = |kept: String| Trust { key: None, former: Vec::new(), kept: vec![kept.into()] };
    let warned = line.verify(&nobody(whole.clone())).unwrap().warnings;
    assert!(warned.iter().any(|warning| warning.contains("its signature was not checked")), "{warned:?}");
    let root = whole.lines().nth(2).unwrap();
    let size = whole.lines().nth(1).unwrap();
    let other_root = whole.replacen(root, "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=", 1);
    let larger = whole.replacen(&format!("\n{size}\n"), "\n4711\n", 1);
    for changed in [other_root, larger] {
        let told = line.verify(&nobody(changed)).unwrap_err().report();
        assert!(told.contains("the log was changed, or that checkpoint") && told.contains("with --key"), "{told}");
        assert!(!told.contains("new key"), "{told}");
    }
}

#[test]
fn a_last_checkpoint_whose_line_feed_is_gone_stays() {
    let line = Signed::new();
    line.run(3);
    let (whole, kept) = (std::fs::read_to_string(line.folder.file()).unwrap(), line.note());
    assert!(whole.lines().last().unwrap().contains("\"kind\":\"checkpoint\""));
    for copy in [None, Some(line.copy.clone())] {
        std::fs::write(line.folder.file(), whole.trim_end()).unwrap();
        std::fs::write(&line.copy, &kept).unwrap();
        let trust = line.trust();
        assert_eq!(line.verify(&trust).unwrap_err().kind().exit_code(), 1);
        line.run_with(1, Some(SigningConfig { checkpoint_copy: copy, ..line.signing() }));
        assert_eq!(line.verify(&trust).unwrap().runs, 2);
    }
}

#[test]
fn what_was_not_signed_in_time_is_named() {
    let line = Signed::new();
    line.run(3);
    let signed = line.folder.lines().len() as u64;
    line.run_with(3, None);
    let without = line.folder.lines().len() as u64;
    let end = line.verify(&line.trust()).unwrap();
    assert_eq!(spans(&end), [(signed, without)]);
    assert!(
        end.warnings.iter().any(|warning| warning.contains("not signed, though their run has ended")),
        "{:?}",
        end.warnings
    );
    line.run(3);
    let adopted = line.verify(&line.trust()).unwrap();
    assert_eq!(spans(&adopted), [(signed, without)], "the key's next run does not make them better");
}

/// Adds a line to the end as anybody can who may write the file.
pub(super) fn add(folder: &Folder, inner: &str) {
    let last: serde_json::Value = serde_json::from_str(folder.lines().last().unwrap()).unwrap();
    let content = format!("{{\"seq\":{},\"prev\":{},{inner}", last["seq"].as_u64().unwrap() + 1, last["hash"]);
    let mut file = std::fs::OpenOptions::new().append(true).open(folder.file()).unwrap();
    writeln!(file, "{content},\"hash\":\"{}\"}}", Digest::of(&content)).unwrap();
}

#[test]
fn what_a_line_says_of_falling_times_is_held_against_what_they_did() {
    let note = |time: &str, rest: &str| {
        format!("\"kind\":\"note\",\"time\":\"{time}\",\"monotonic_ns\":1,\"synchronised\":false,\"text\":\"x\"{rest}")
    };
    let (old, ahead) = ("2020-01-01T00:00:00.000000Z", "9999-01-01T00:00:00.000000Z");
    for (time, said, is_right) in [
        (old, "", false),
        (old, ",\"falls\":1", true),
        (old, ",\"falls\":2", false),
        (ahead, "", true),
        (ahead, ",\"falls\":1", false),
    ] {
        let line = Signed::new();
        line.run(3);
        add(&line.folder, &note(time, said));
        let trust = line.trust();
        let check = |of: &str| match line.verify(&trust) {
            Ok(verified) => assert!(is_right && verified.unsigned.len() == 1, "{of}: {time}{said}"),
            Err(error) => {
                let told = error.report();
                assert!(!is_right && error.kind().exit_code() == 1, "{of}: {time}{said}: {told}");
                assert!(told.contains("says wrong how often times fell before it"), "{told}");
            }
        };
        check("at the end");
        line.run(2);
        check("after a run went on with it");
    }
}

#[test]
fn the_last_run_is_the_last_that_was_signed_whatever_anybody_added() {
    let line = Signed::new();
    line.run(1);
    let past = || {
        let signing = super::super::past::Signing::open(&line.signing()).unwrap();
        super::super::past::past(&line.folder.file(), Some(&signing)).unwrap().last_run.unwrap()
    };
    let run = past();
    assert!(run.starts_with("20") && line.folder.lines()[0].contains(&format!("\"run\":\"{run}\"")), "{run}");
    let lines = line.folder.lines();
    let start = serde_json::from_str::<serde_json::Value>(&lines[0]).unwrap();
    for key in [start["key"].to_string(), "null".into()] {
        line.folder.replace(&lines);
        add(
            &line.folder,
            &format!(
                "\"kind\":\"start\",\"time\":\"9999-01-01T00:00:00.000000Z\",\"monotonic_ns\":1,\"format_version\":2,\
                 \"run\":\"99990101T000000.000000Z\",\"key\":{key}"
            ),
        );
        assert_eq!(past(), run);
    }
    line.folder.replace(&lines);
    line.run(1);
    assert!(past() > run);
}

#[test]
fn a_key_is_replaced_for_good() {
    let line = Signed::new();
    line.run(2);
    let (old, new) = (line.key.clone(), line.folder.0.path().join("new.key"));
    let public = |key: &Path| key.with_added_extension("pub");
    Signer::generate("factory.example/line-3").unwrap().write(&new).unwrap();
    let with = |key: &Path, former: &[&Path]| {
        let former_keys = former.iter().map(|key| public(key)).collect();
        Some(SigningConfig { key: key.to_owned(), former_keys, ..line.signing() })
    };
    assert!(line.open(with(&new, &[])).is_err(), "an unknown key has signed it");
    line.run_with(2, with(&new, &[&old]));
    let key = |path: &Path| Verifier::open(&public(path)).unwrap();
    let changed =
        line.folder.lines().into_iter().filter(|line| line.contains("\"kind\":\"changed\"")).collect::<Vec<_>>();
    let told = format!("\"what\":\"signing key\",\"from\":\"{}\",\"to\":\"{}\"", key(&old), key(&new));
    assert!(changed.len() == 1 && changed[0].contains(&told), "{changed:?}");
    let trust = |now: &Path, former: &[&Path]| Trust {
        key: Some(key(now)),
        former: former.iter().map(|path| key(path)).collect(),
        kept: vec![Kept::read(&line.copy).unwrap()],
    };
    let verified = line.verify(&trust(&new, &[&old])).unwrap();
    assert_eq!(verified.runs, 2);
    let [first, second] = verified.keys.as_slice() else { panic!("{:?}", verified.keys) };
    assert_eq!([&first.key, &second.key], [&key(&old).label(), &key(&new).label()]);
    assert_eq!((first.records.start, first.records.end), (0, second.records.start));
    assert_eq!(second.records.end, verified.signed.unwrap().size);
    assert_eq!(first.checkpoints + second.checkpoints, verified.checkpoints);
    for (trust, says) in [
        (trust(&new, &[]), "another key signs"),
        (trust(&old, &[]), "is signed by a key that was not given: factory.example/line-3+"),
        (Trust { kept: Vec::new(), ..trust(&old, &[&new]) }, "signed by a former key"),
    ] {
        let error = line.verify(&trust).unwrap_err();
        assert!(error.report().contains(says), "{says}: {}", error.report());
    }
    // The thief of the old key cannot go on with it.
    let log = line.open(with(&old, &[&new])).unwrap();
    log.close().unwrap();
    let error = line.verify(&trust(&new, &[&old])).unwrap_err();
    assert!(error.report().contains("which was replaced before"), "{}", error.report());
}

#[test]
fn a_line_that_was_killed_in_its_first_moment_starts_again_and_says_that_no_copy_was_made() {
    // As after SIGKILL once the start, or the first checkpoint too, is on disk, and before the copy is.
    for checkpoints in [0, 1] {
        let line = Signed::new();
        line.run(1);
        let lines = line.folder.lines();
        let first = lines.iter().position(|line| line.contains(r#""kind":"checkpoint""#)).unwrap();
        line.folder.replace(&lines[..first + checkpoints]);
        std::fs::remove_file(&line.copy).unwrap();
        if checkpoints == 0 {
            let key = Verifier::open(&line.key.with_added_extension("pub")).unwrap();
            let trust = Trust { key: Some(key), ..Trust::default() };
            let error = line.verify(&trust).unwrap_err();
            assert!(error.advice().is_some_and(|advice| advice.contains("start it again")), "{}", error.report());
        }
        let config = AuditConfig { signing: Some(line.signing()), ..AuditConfig::in_file(line.folder.file()) };
        let (told, advice) = readiness(&config).unwrap().uncopied.unwrap();
        assert!(told.contains("before it was made") && advice.contains("as evidence"), "{told}: {advice}");
        // A second time, as where a supervisor starts it again and again.
        line.run(1);
        assert_eq!(readiness(&config).unwrap().uncopied, None);
        let lines = line.folder.lines();
        let starts = lines.iter().enumerate().filter(|(_, line)| line.contains(r#""kind":"start""#));
        let second = starts.map(|(at, _)| at).nth(1).unwrap();
        let first = lines[second..].iter().position(|line| line.contains(r#""kind":"checkpoint""#)).unwrap();
        line.folder.replace(&lines[..second + first + checkpoints]);
        std::fs::remove_file(&line.copy).unwrap();
        line.run(1);
        assert!(line.copy.exists());
        let notes = line.folder.lines().iter().filter(|line| line.contains("before it was made")).count();
        assert_eq!(notes, 2, "{:?}", line.folder.lines());
        line.verify(&line.trust()).unwrap();
    }
}

#[test]
fn a_copy_that_is_missing_or_a_log_without_a_past_is_refused() {
    let line = Signed::new();
    // A run whose first checkpoint was copied, and that made another one.
    let log = line.open(Some(line.signing())).unwrap();
    log.write(part(0)).unwrap();
    while !line.copy.exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    log.write(part(1)).unwrap();
    log.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
    log.close().unwrap();
    std::fs::remove_file(&line.copy).unwrap();
    let error = line.open(Some(line.signing())).unwrap_err();
    assert!(error.report().contains("copy of the newest checkpoint is missing"), "{}", error.report());
    line.run_with(1, Some(SigningConfig { checkpoint_copy: None, ..line.signing() }));
    line.run(1);
    assert!(line.copy.exists(), "a run without it says that it is no longer kept");

    let pipe = line.folder.0.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _reader = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let config = AuditConfig { signing: Some(line.signing()), ..AuditConfig::in_file(pipe) };
    let error = AuditLog::open(&config, &run_start()).unwrap_err();
    assert!(error.report().contains("must have a past"), "{}", error.report());
}

/// A witness that takes its time to answer; gives its address and what it has got.
fn slow_witness() -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use std::io::{BufRead, BufReader, Read};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let notes = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
    let got = notes.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map(Result::unwrap) {
            let mut request = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while request.read_line(&mut head).unwrap() > 2 {
                length =
                    head.to_lowercase().strip_prefix("content-length:").map_or(length, |l| l.trim().parse().unwrap());
                head.clear();
            }
            let mut note = vec![0; length];
            request.read_exact(&mut note).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(300));
            got.lock().unwrap().push(String::from_utf8(note).unwrap());
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        }
    });
    (address, notes)
}

#[test]
fn a_copy_s_disk_that_is_gone_does_not_keep_the_last_checkpoint_from_the_witness() {
    let line = Signed::new();
    let (address, notes) = slow_witness();
    let witness = Some(address.parse().unwrap());
    let copy = line.folder.path("not-mounted/checkpoint");
    let log = line.open(Some(SigningConfig { checkpoint_copy: Some(copy), witness, ..line.signing() })).unwrap();
    log.write(part(0)).unwrap();
    log.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
    let error = log.close().unwrap_err().report();
    assert!(error.contains("not-mounted/checkpoint") && !error.contains("127.0.0.1"), "{error}");
    assert!(error.contains("no run continues a log whose copy is missing"), "{error}");
    let last: serde_json::Value = serde_json::from_str(line.folder.lines().last().unwrap()).unwrap();
    assert_eq!(notes.lock().unwrap().last().map(String::as_str), last["note"].as_str());
}

#[test]
fn before_the_first_run_and_in_it_the_missing_folder_of_the_copy_is_told_in_the_same_words() {
    let line = Signed::new();
    let folder = line.folder.path("not-mounted");
    let signing = SigningConfig { checkpoint_copy: Some(folder.join("checkpoint")), ..line.signing() };
    let config = AuditConfig { signing: Some(signing), ..AuditConfig::in_file(line.folder.file()) };
    let (told, advice) = readiness(&config).unwrap().homeless.unwrap();
    assert!(told.contains(&format!("there is no folder {}", folder.display())), "{told}");
    assert!(told.contains("checkpoints are in the log alone") && advice.contains("mkdir -p"), "{told}: {advice}");
    let log = AuditLog::open(&config, &run_start()).unwrap();
    let health = loop {
        if let Err(health) = log.health() {
            break health;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    };
    assert!(health.contains(&told) && health.contains(&advice), "{health}");
    assert!(!folder.exists(), "nobody makes it where a disk is to be");
    // It comes while the run goes on, and all is well.
    std::fs::create_dir(&folder).unwrap();
    log.close().unwrap();
    assert!(folder.join("checkpoint").exists() && readiness(&config).unwrap().homeless.is_none());
}

#[test]
fn a_checkpoint_that_was_kept_and_changed_by_a_tool_is_told_as_that_where_it_is_certain() {
    let line = Signed::new();
    line.run(3);
    line.run(3);
    let (whole, lines) = (line.note(), line.folder.lines());
    let crlf = whole.replace('\n', "\r\n");
    let wide = |text: &str, order: fn(u16) -> [u8; 2]| {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(order).collect::<Vec<_>>()
    };
    let changes = [
        (crlf.clone().into_bytes(), "line ends that were changed to CRLF (in the checkpoint that was kept), as"),
        (
            format!("\u{feff}{whole}").into_bytes(),
            "a byte order mark that was put before the text (in the checkpoint that was kept), as",
        ),
        (wide(&crlf, u16::to_le_bytes), "encoded anew (UTF-16), and line ends"),
        (wide(&whole, u16::to_be_bytes), "encoded anew (UTF-16) (in the checkpoint that was kept), as"),
    ];
    for (changed, says) in &changes {
        std::fs::write(&line.copy, changed).unwrap();
        let error = line.verify(&line.trust()).expect_err(says);
        let told = error.report();
        assert!(error.kind().exit_code() == 2 && told.starts_with("the checkpoint that was kept in"), "{told}");
        assert!(told.contains(says) && told.contains("no record's content differs"), "{says}\n  is not\n{told}");
        assert!(told.contains(&line.copy.display().to_string()), "{told}");
        let refused = line.open(Some(line.signing())).unwrap_err();
        assert!(refused.report().contains(says), "a run refuses it, and says so too: {}", refused.report());
        assert_eq!(refused.key(), Some("audit.checkpoint_copy"));
        // Where the log has less or other than that, nothing is made better, nor where the checkpoint itself is another.
        line.folder.replace(&lines[..lines.len() - 2]);
        let told = line.verify(&line.trust()).unwrap_err().report();
        assert!(!told.contains("looks like"), "{told}");
        line.folder.replace(&lines);
    }
    let size = whole.lines().nth(1).unwrap();
    std::fs::write(&line.copy, crlf.replacen(&format!("\n{size}\r"), "\n3\r", 1)).unwrap();
    assert!(!line.verify(&line.trust()).unwrap_err().report().contains("looks like"));
    // Both may be changed.
    std::fs::write(&line.copy, &crlf).unwrap();
    let text = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
    std::fs::write(line.folder.file(), text).unwrap();
    let told = line.verify(&line.trust()).unwrap_err().report();
    assert!(
        told.contains("changed to CRLF, and line ends that were changed to CRLF (in the checkpoint that was kept)"),
        "{told}"
    );
}

#[test]
fn a_key_that_was_not_given_is_named() {
    let line = Signed::new();
    line.run(2);
    let (old, before) = (line.trust().key.unwrap(), line.trust().kept);
    let new = line.folder.path("new.key");
    Signer::generate("factory.example/line-3").unwrap().write(&new).unwrap();
    let former_keys = vec![line.key.with_added_extension("pub")];
    line.run_with(2, Some(SigningConfig { key: new.clone(), former_keys, ..line.signing() }));
    let key = Some(Verifier::open(&new.with_added_extension("pub")).unwrap());
    // A checkpoint of before the key was changed, and the log alone, and one that was changed.
    for kept in [before.clone(), Vec::new()] {
        let told = line.verify(&Trust { key: key.clone(), former: Vec::new(), kept }).unwrap_err().report();
        let advice = told.lines().last().unwrap();
        assert!(advice.contains(&format!("begins with {}+", old.label())) && advice.contains("--former-key"), "{told}");
        assert!(!told.contains("byte for byte"), "{told}");
    }
    line.verify(&Trust { key: key.clone(), former: vec![old.clone()], kept: before }).unwrap();
    let size = line.note().lines().nth(1).unwrap().to_owned();
    let changed = vec![line.note().replacen(&format!("\n{size}\n"), "\n1\n", 1).into()];
    let told = line.verify(&Trust { key, former: vec![old], kept: changed }).unwrap_err().report();
    assert!(told.contains("it was changed") && told.contains("byte for byte"), "{told}");
}

#[test]
fn a_new_log_with_the_copy_of_another_is_not_taken_for_one_that_was_cut() {
    let line = Signed::new();
    line.run(5);
    let kept = std::fs::read(line.folder.file()).unwrap();
    std::fs::remove_file(line.folder.file()).unwrap();
    let told = line.open(Some(line.signing())).unwrap_err().report();
    assert!(told.contains("of another one, or all of this one was removed"), "{told}");
    assert!(told.contains("for a new log name another checkpoint_copy") && !told.contains("its end was"), "{told}");
    assert!(!line.folder.file().exists(), "nothing is left that looks like an empty log");
    let refused = line.verify(&line.trust()).unwrap_err();
    assert_eq!(refused.kind().exit_code(), 3);
    std::fs::write(line.folder.file(), kept).unwrap();
    line.run(1);
    // One that was begun says which it is.
    let other = Signed::new();
    other.run_with(1, Some(SigningConfig { key: line.key.clone(), ..other.signing() }));
    let told = other.verify(&Trust { kept: line.trust().kept, ..line.trust() }).unwrap_err().report();
    assert!(told.contains("is of another log") && !told.contains("removed"), "{told}");
}

#[test]
fn an_older_log_does_not_pass_for_the_newest() {
    let line = Signed::new();
    line.run(5);
    let old = line.folder.lines();
    let old_checkpoint = line.note();
    line.run(5);
    line.folder.replace(&old);
    let error = line.verify(&line.trust()).unwrap_err();
    assert!(error.report().contains("its end was removed"), "{}", error.report());
    assert!(line.open(Some(line.signing())).is_err(), "no run continues it");
    // Who kept only the older checkpoint cannot know.
    line.verify(&Trust { kept: vec![old_checkpoint.clone().into()], ..line.trust() }).unwrap();
    // A witness's signature added makes it no other checkpoint.
    let witness = Signer::generate("witness.example").unwrap().sign("x\n");
    let cosigned = format!("{old_checkpoint}{}", witness.split_once("\n\n").unwrap().1);
    line.verify(&Trust { kept: vec![cosigned.into()], ..line.trust() }).unwrap();
}

#[test]
fn a_line_is_proved_and_another_implementation_agrees() {
    let line = Signed::new();
    line.run(40);
    let key = &line.trust().key.unwrap();
    let lines = line.folder.lines();
    for index in 0..lines.len() as u64 - 1 {
        let text = prove(&line.folder.file(), index).unwrap();
        let proved = check(&text, key).unwrap();
        assert_eq!((proved.index, &proved.line), (index, &lines[index as usize]));
        check_elsewhere(&text, &line.key, &lines[index as usize]);
        assert!(check(&text.replacen("@v1", "@v10", 1), key).is_err());
        assert!(check(&text.replacen("\nindex ", "\nindex 0", 1), key).is_err());
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

/// A run signs its end, and writes nothing behind that.
#[test]
fn nothing_is_put_in_behind_the_end_of_a_run() {
    let line = Signed::new();
    line.run(5);
    let (lines, copy) = (line.folder.lines(), line.note());
    let kind = |line: &&String| serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].clone();
    for (put_in, is_refused) in
        [("part", true), ("alarm", true), ("log-removed", true), ("note", false), ("repaired", false)]
    {
        let part = lines.iter().find(|line| kind(line) == "part").unwrap();
        let forged = part.replace("\"kind\":\"part\"", &format!("\"kind\":\"{put_in}\""));
        line.folder.replace(&reseal(&[lines.clone(), vec![forged]].concat()));
        std::fs::write(&line.copy, &copy).unwrap();
        for trust in [line.trust(), Trust::default()] {
            match line.verify(&trust) {
                Err(error) if is_refused => {
                    let says = format!("record {} stands behind the end of a run", lines.len());
                    assert!(error.to_string().contains(&says), "{put_in}: {}", error.report());
                }
                // The next run repairs the end of the one before, and says so before its start.
                Ok(verified) if !is_refused => {
                    assert_eq!(spans(&verified), [(lines.len() as u64, lines.len() as u64 + 1)])
                }
                other => panic!("{put_in}: {other:?}"),
            }
        }
        assert_eq!(line.open(Some(line.signing())).is_err(), is_refused, "{put_in}");
    }
}

#[test]
fn what_was_not_signed_when_the_run_after_signed_all_is_proved_to_nobody() {
    let line = Signed::new();
    line.run(5);
    // Killed before it signed anything.
    let lines = line.folder.lines();
    let is_checkpoint = |line: &String| line.contains("\"kind\":\"checkpoint\"");
    let killed = &lines[..lines.iter().position(is_checkpoint).unwrap()];
    line.folder.replace(killed);
    line.run_with(3, Some(SigningConfig { checkpoint_copy: None, ..line.signing() }));
    for record in 0..line.folder.lines().len() as u64 - 1 {
        let proved = prove(&line.folder.file(), record);
        match record < killed.len() as u64 {
            true => {
                let error = proved.unwrap_err();
                assert_eq!(error.kind().exit_code(), 1);
                let says = format!("record {record} was not signed when the run after signed all");
                assert!(error.report().contains(&says), "{}", error.report());
            }
            false => drop(proved.unwrap()),
        }
    }
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
