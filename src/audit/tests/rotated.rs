//! Logs of several files.

use std::io::BufRead;
use std::path::Path;

use super::*;
use crate::audit::read::{self, files};
use crate::audit::rotation::{compress_one, recover, rotate};
use crate::config::{RotationConfig, SigningConfig};

pub(super) struct Rotated {
    pub(super) folder: Folder,
    pub(super) config: AuditConfig,
}

impl Rotated {
    /// A signed log whose files are closed at so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let folder = Folder::new();
        let key = folder.path("line.key");
        Signer::generate("line-3").unwrap().write(&key).unwrap();
        let signing = SigningConfig {
            key,
            former_keys: Vec::new(),
            checkpoint_copy: Some(folder.path("checkpoint")),
            witness: None,
        };
        let rotation = RotationConfig { bytes: Some(bytes), daily: false };
        // Each record is forced onto the disk, so that files are closed where they are long enough.
        let sync = SyncPolicy::EveryRecord;
        let config = AuditConfig { signing: Some(signing), rotation, sync, ..AuditConfig::in_file(folder.file()) };
        Rotated { folder, config }
    }

    pub(super) fn run(&self, parts: u64) {
        let log = AuditLog::open(&self.config, &run_start()).unwrap();
        (0..parts).for_each(|number| log.write(part(number)).unwrap());
        log.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
        log.close().unwrap();
        self.wait_for_compression();
    }

    pub(super) fn closed(&self) -> Vec<PathBuf> {
        let files = files(&self.folder.file()).unwrap();
        files.into_iter().filter(|file| file.number.is_some()).map(|file| file.path).collect()
    }

    pub(super) fn wait_for_compression(&self) {
        let is_compressed = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "gz");
        let begun = std::time::Instant::now();
        while !self.closed().iter().all(is_compressed) {
            assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", self.closed());
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    pub(super) fn trust(&self) -> Trust {
        Trust {
            key: Some(Verifier::open(&self.folder.path("line.key.pub")).unwrap()),
            former: Vec::new(),
            kept: vec![Kept::read(&self.folder.path("checkpoint")).unwrap()],
        }
    }

    pub(super) fn verify(&self) -> crate::Result<Verified> {
        verify(&self.folder.file(), &self.trust())
    }
}

#[test]
fn the_chain_and_the_tree_go_on_over_files() {
    let log = Rotated::new(4_000);
    log.run(20);
    log.run(10);
    assert!(log.closed().len() >= 3, "{:?}", log.closed());
    let verified = log.verify().unwrap();
    assert_eq!((verified.parts, verified.runs), (30, 2));
    assert!(verified.warnings.is_empty(), "{:?}", verified.warnings);
    // A proof of a record in the first file needs all of them, and is as good as any.
    let proof = prove(&log.folder.file(), 3).unwrap();
    let proved = check(&proof, &log.trust().key.unwrap()).unwrap();
    assert_eq!(proved.index, 3);
    assert!(proved.line.contains("\"seq\":3,"));
}

#[test]
fn a_run_reads_the_newest_file_alone_and_verify_all() {
    let log = Rotated::new(4_000);
    log.run(20);
    std::fs::write(&log.closed()[0], "somebody's work").unwrap();
    log.run(1);
    let error = log.verify().unwrap_err();
    assert!(error.kind().exit_code() == 1 && error.to_string().contains("audit.000001.jsonl.gz"), "{error}");
}

#[test]
fn a_stranger_under_the_next_file_s_name_is_told_of_and_left_alone() {
    let log = Rotated::new(4_000);
    log.run(20);
    let closed = log.closed();
    let stranger = read::closed_name(&log.folder.file(), closed.len() as u64 + 1);
    std::fs::write(&stranger, "my notes\n").unwrap();
    log.run(20);
    log.run(1);
    let verified = log.verify().unwrap();
    assert_eq!((verified.parts, verified.runs), (41, 3));
    assert!(verified.warnings[0].contains("is no part of it: move it away"), "{:?}", verified.warnings);
    assert_eq!((log.closed(), std::fs::read_to_string(&stranger).unwrap()), (closed.clone(), "my notes\n".to_owned()));
    std::fs::remove_file(&stranger).unwrap();
    log.run(20);
    assert!(log.closed().len() > closed.len() && log.verify().unwrap().warnings.is_empty());
}

#[test]
fn that_the_newest_file_is_not_here_is_told_and_no_other_way_to_write_a_number_stands_before_a_closed_file() {
    let log = Rotated::new(4_000);
    log.run(20);
    let (newest, closed) = (log.folder.file(), log.closed());
    assert!(log.verify().unwrap().warnings.is_empty());
    // Of the same number, with another count of digits.
    let mut text = String::new();
    std::io::Read::read_to_string(&mut read::open(&closed[0]).unwrap(), &mut text).unwrap();
    let shadow = newest.with_file_name("audit.0000001.jsonl");
    std::fs::write(&shadow, &text).unwrap();
    log.verify().unwrap();
    let whole = std::fs::read(&closed[0]).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.replace("\"verdict\":\"", "\"verdict\":\"un").as_bytes()).unwrap();
    std::fs::write(&closed[0], packed.finish().unwrap()).unwrap();
    assert_eq!(log.verify().unwrap_err().kind().exit_code(), 1, "the true one was changed");
    std::fs::write(&closed[0], whole).unwrap();
    std::fs::remove_file(shadow).unwrap();
    let told = |path: &Path, says: &str| {
        let warnings = verify(path, &Trust::default()).unwrap().warnings;
        assert!(warnings.iter().any(|warning| warning.contains(says)), "{warnings:?}");
        assert!(warnings.iter().any(|warning| warning.contains("what was written behind record")), "{warnings:?}");
    };
    told(&closed[0], "is a file that was closed, checked alone");
    std::fs::remove_file(&newest).unwrap();
    told(&newest, "the newest file of the log, is not here");
}

#[test]
fn a_copy_of_a_closed_file_is_told_as_that_and_a_number_that_was_left_out_accuses_nobody() {
    let log = Rotated::new(4_000);
    log.run(20);
    let closed = log.closed();
    let next = read::closed_name(&log.folder.file(), closed.len() as u64 + 1);
    let copy = next.with_added_extension("gz");
    std::fs::copy(closed.last().unwrap(), &copy).unwrap();
    let told = format!("a copy of {}, whose records it repeats", closed.last().unwrap().display());
    let verified = log.verify().unwrap();
    assert!(verified.parts == 20 && verified.warnings[0].contains(&told), "{:?}", verified.warnings);
    let ready = readiness(&log.config).unwrap();
    assert!(ready.strangers.is_some_and(|strangers| strangers.contains(&told)) && ready.missing.is_none());
    assert!(ready.unread > 0 && ready.unread < ready.lines);
    // What begins as it does and goes on otherwise is no copy: one of both is not what was written, and nobody knows which.
    let mut text = String::new();
    std::io::Read::read_to_string(&mut read::open(&copy).unwrap(), &mut text).unwrap();
    std::fs::remove_file(&copy).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    for other in
        [format!("{first}\n{}", rest.replace("\"verdict\":\"", "\"verdict\":\"un")), format!("{text}{first}\n")]
    {
        assert_ne!(other, text);
        std::fs::write(&next, other).unwrap();
        let error = log.verify().unwrap_err();
        let report = error.report();
        assert_eq!(
            (error.kind().exit_code(), report.matches("one of both is not what was written").count()),
            (1, 1),
            "{report}"
        );
        assert!(readiness(&log.config).unwrap().strangers.is_some_and(|told| told.contains("goes on otherwise")));
    }
    // Unpacked it is the same, and so are its first lines and a copy of the newest.
    for same in [text.as_str(), &text[..text.len() / 2]] {
        std::fs::write(&next, same).unwrap();
        assert!(log.verify().unwrap().warnings[0].contains(&told));
    }
    std::fs::copy(log.folder.file(), &next).unwrap();
    assert!(log.verify().unwrap().warnings[0].contains("a copy of"));
    // An older program left out its number: what is there continues what is there.
    std::fs::remove_file(&next).unwrap();
    log.run(20);
    let more = log.closed();
    assert!(more.len() > closed.len() + 1);
    for (place, file) in more.iter().enumerate().skip(closed.len()).rev() {
        let later = read::closed_name(&log.folder.file(), place as u64 + 2).with_added_extension("gz");
        std::fs::rename(file, later).unwrap();
    }
    let first = closed.len() + 1;
    let left_out = files(&log.folder.file()).unwrap();
    assert_eq!(left_out[first - 1].number, Some(first as u64 + 1), "{left_out:?}");
    assert_eq!(read::missing_files(&left_out[..=first]), [""; 0]);
    // One that is missing is named to whoever continues the log.
    std::fs::remove_file(&closed[1]).unwrap();
    let missing = readiness(&log.config).unwrap().missing.unwrap();
    assert!(missing.contains("the file audit.000002.jsonl, between"), "{missing}");
}

#[test]
fn files_that_are_missing_are_named() {
    let log = Rotated::new(4_000);
    log.run(40);
    let closed = log.closed();
    let first = read::open(&closed[0]).unwrap().split(b'\n').count();
    std::fs::remove_file(&closed[0]).unwrap();
    let verified = log.verify().unwrap();
    assert!(verified.warnings[0].contains("are in files that are not here"), "{:?}", verified.warnings);
    let error = prove(&log.folder.file(), 3).unwrap_err().report();
    assert!(
        error.contains("record 3 is in a file of the log before audit.000002.jsonl.gz, which is not here"),
        "{error}"
    );
    assert!(!error.contains("removed by the line"), "{error}");
    prove(&log.folder.file(), verified.absent).unwrap();
    std::fs::remove_file(&closed[2]).unwrap();
    let error = log.verify().unwrap_err();
    let told = error.report();
    let between = format!("are missing between {} and {}\n", closed[1].display(), closed[3].display());
    assert!(error.kind().exit_code() == 1 && told.starts_with("records ") && told.contains(&between), "{told}");
    // Nothing is said of records that are not here.
    let as_written = format!("; records {first} to ");
    assert!(told.contains(&as_written), "{told}");
    let named = "the file audit.000003.jsonl, between audit.000002.jsonl.gz and audit.000004.jsonl.gz, is not here";
    assert!(
        told.contains(named) && told.contains("try: look for what is missing where closed files are carried to"),
        "{told}"
    );
    // Without the last one that was closed the newest says which that was.
    let newest = closed.len();
    closed[3..].iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let told = log.verify().unwrap_err().report();
    let named = format!(
        "the files audit.000003.jsonl to audit.{newest:06}.jsonl, between audit.000002.jsonl.gz and audit.jsonl, are"
    );
    assert!(told.contains(&named) && told.contains(&as_written), "{told}");
    // Without its newest file a log is not continued: the run would begin another one.
    std::fs::remove_file(log.folder.file()).unwrap();
    let error = AuditLog::open(&log.config, &run_start()).unwrap_err();
    assert!(error.kind().exit_code() == 3 && error.to_string().contains("is gone"), "{error}");
}

#[test]
fn of_a_closed_file_whose_end_is_gone_no_file_is_missed() {
    let log = Rotated::new(4_000);
    log.run(40);
    let closed = log.closed();
    let mut lines = read::open(&closed[1]).unwrap().lines().map(Result::unwrap).collect::<Vec<_>>();
    let last = lines.pop().unwrap();
    std::fs::write(&closed[1], lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let told = log.verify().unwrap_err().report();
    assert!(
        told.contains(&format!("because: the end of {} was removed; records 0 to ", closed[1].display())),
        "{told}"
    );
    assert!(!told.contains("not here") && told.contains("try: put the file back"), "{told}");
    // Two that changed their names.
    let spare = log.folder.path("spare");
    for (from, to) in [(&closed[2], &spare), (&closed[3], &closed[2]), (&spare, &closed[3])] {
        std::fs::rename(from, to).unwrap();
    }
    lines.push(last);
    std::fs::write(&closed[1], lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let told = log.verify().unwrap_err().report();
    assert!(told.contains("audit.000003.jsonl.gz was written as audit.000004.jsonl; "), "{told}");
    // What is changed in a file is told by its own lines.
    let changed = lines[2].replacen("washer", "nut", 1);
    assert_ne!(changed, lines[2]);
    lines[2] = changed;
    std::fs::write(&closed[1], lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let record = serde_json::from_str::<serde_json::Value>(&lines[2]).unwrap()["seq"].to_string();
    let told = log.verify().unwrap_err().to_string();
    assert!(told.starts_with(&format!("record {record} (line 3 of {}) was changed", closed[1].display())), "{told}");
}

#[test]
fn of_a_file_whose_first_line_is_gone_or_another_no_file_is_missed_and_no_other_is_a_stranger() {
    let mut log = Rotated::new(4_000);
    log.run(40);
    // So that the newest file has more than a few lines.
    log.config.rotation.bytes = None;
    log.run(5);
    let (newest, closed) = (log.folder.file(), log.closed());
    let lines = log.folder.lines();
    let of = |file: &Path| read::lines(read::open(file).unwrap()).map(|line| String::from_utf8(line.unwrap()).unwrap());
    let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap();
    let first = number(&lines[0]);
    assert!(closed.len() > 3 && lines.len() > 3 && lines[0].contains("\"kind\":\"continued\""), "{lines:?}");
    let (start, older) = (of(&closed[0]).next().unwrap(), of(&closed[2]).collect::<Vec<_>>());
    let ahead = resealed(&lines[0].replacen(&format!("\"seq\":{first}"), "\"seq\":9999", 1));
    let unknown = resealed(&lines[0].replacen("\"continued\"", "\"renewed\"", 1));
    let replaced = "was put in the place of the file's first line: ";
    let put_first = |line: &str| [&[line.to_owned()], &lines[1..]].concat();
    for (what, edited, says) in [
        ("the one behind it", put_first(&lines[1]), replaced),
        ("one from below", put_first(&lines[3]), replaced),
        ("an older one", put_first(&older[1]), replaced),
        ("the beginning of an older file", put_first(&older[0]), replaced),
        ("the start", put_first(&start), replaced),
        ("one with another number", put_first(&ahead), replaced),
        ("one of a kind that is none", put_first(&unknown), replaced),
        ("gone", lines[1..].to_vec(), "begins no file, and the lines before it were removed: "),
    ] {
        log.folder.replace(&edited);
        let error = log.verify().unwrap_err();
        let report = error.report();
        let found = format!("record {} (line 1 of {}, of kind ", number(&edited[0]), newest.display());
        let must = format!("record {first}, which continues {}, must be there", closed.last().unwrap().display());
        let as_written = format!("records 0 to {} are as they were written", first - 1);
        assert!(error.to_string().starts_with(&found), "{what}: {report}");
        assert!(
            [says, &must, &as_written, "try: put the file back"].iter().all(|says| report.contains(*says)),
            "{report}"
        );
        for misleading in ["missing", "is no part of it", "move them away", "archive"] {
            assert!(!report.contains(misleading), "{what}: {report}");
        }
        // A run is refused, and warns of no stranger.
        let refused = AuditLog::open(&log.config, &run_start()).unwrap_err();
        assert_eq!((refused.kind().exit_code(), read::strangers(&newest).unwrap()), (3, Vec::new()), "{what}");
        if edited[0] == older[0] || edited[0] == start {
            // A file may begin so: of it alone no more is known than that the next line does not follow.
            log.folder.replace(&lines);
            continue;
        }
        assert!(refused.report().contains(&must), "{what}: {}", refused.report());
        // Where the older files were carried away it is as plain that this begins none.
        let alone = log.folder.path("alone");
        std::fs::create_dir_all(&alone).unwrap();
        std::fs::copy(&newest, alone.join("audit.jsonl")).unwrap();
        let alone = verify(&alone.join("audit.jsonl"), &Trust::default());
        let told = alone.map_or_else(|error| error.report(), |verified| panic!("{what}: {verified:?}"));
        assert!(!told.contains(" missing"), "{what}: {told}");
        log.folder.replace(&lines);
    }
    // The same of a file that was closed, whose first line is newer than the newest file's.
    let text = [&lines[2]].into_iter().chain(&older[1..]).map(|line| format!("{line}\n")).collect::<String>();
    std::fs::remove_file(&closed[2]).unwrap();
    let plain = closed[2].with_extension("");
    std::fs::write(&plain, text).unwrap();
    let report = log.verify().unwrap_err().report();
    let must = format!("record {}, which continues {}, must be there", number(&older[0]), closed[1].display());
    assert!(report.contains(replaced) && report.contains(&must) && !report.contains("no part of it"), "{report}");
}

/// A line whose hash fits what was made of it.
pub(super) fn resealed(line: &str) -> String {
    let (content, _) = line.rsplit_once(",\"hash\":").unwrap();
    format!("{content},\"hash\":\"{}\"}}", Digest::of(content))
}

/// The chain says that one of two was replaced: neither is said to be as it was written.
#[test]
fn of_two_records_that_do_not_follow_each_other_neither_is_believed() {
    let log = Rotated::new(1 << 20);
    log.run(5);
    let mut lines = log.folder.lines();
    let place = lines.iter().position(|line| line.contains("\"part\":2,")).unwrap();
    lines[place] = resealed(&lines[place].replacen("washer", "nut", 1));
    log.folder.replace(&lines);
    let report = log.verify().unwrap_err().report();
    let says = [
        format!("record {} (line {} of ", place + 1, place + 2),
        format!("does not follow record {place}: one of them"),
        format!("records 0 to {} are as they were", place - 1),
    ];
    assert!(says.iter().all(|says| report.contains(says)), "{report}");
}

#[test]
fn a_newest_file_that_nobody_has_signed_yet_is_told_as_that_and_believed_no_more() {
    let mut log = Rotated::new(4_000);
    log.run(20);
    let lines = log.folder.lines();
    assert!(lines[0].contains("\"continued\""), "{}", lines[0]);
    // The older files were carried away, and the program was killed before it signed the new one.
    let older = log.closed();
    let carried = log.folder.path("carried");
    std::fs::create_dir(&carried).unwrap();
    older.iter().for_each(|file| std::fs::rename(file, carried.join(file.file_name().unwrap())).unwrap());
    log.folder.replace(&lines[..1]);
    let trust = Trust { kept: Vec::new(), ..log.trust() };
    let error = verify(&log.folder.file(), &trust).unwrap_err();
    let told = error.report();
    assert!(error.kind().exit_code() == 1 && told.contains("nothing of what is here is signed yet"), "{told}");
    assert!(told.contains("wait for the next checkpoint") && told.contains("bring the newest of them back"), "{told}");
    assert!(!told.contains("begin a new one"), "{told}");
    // With the newest of the older ones it stands.
    let newest = older.last().unwrap();
    std::fs::copy(carried.join(newest.file_name().unwrap()), newest).unwrap();
    verify(&log.folder.file(), &trust).unwrap();
    // A line that has no key signs nothing ever.
    log.config.signing = None;
    log.run(20);
    log.closed().iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let told = verify(&log.folder.file(), &trust).unwrap_err().report();
    assert!(told.contains("its last run says that it has no key") && told.contains("check it without --key"), "{told}");
}

#[test]
fn a_checkpoint_that_was_kept_of_files_that_were_carried_away_accuses_nobody() {
    let log = Rotated::new(4_000);
    log.run(20);
    let older = log.trust().kept;
    log.run(20);
    // The last line of the newest closed file is a checkpoint; one was killed before it had made another.
    let (closed, lines) = (log.closed(), log.folder.lines());
    let mut last = String::new();
    let unpacked = read::open(closed.last().unwrap()).unwrap().lines();
    unpacked.for_each(|line| last = line.unwrap());
    let note = serde_json::from_str::<serde_json::Value>(&last).unwrap()["note"].as_str().unwrap().to_owned();
    let both = Trust { kept: [older, log.trust().kept].concat(), ..log.trust() };
    verify(&log.folder.file(), &both).unwrap();
    closed.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let warned = verify(&log.folder.file(), &both).unwrap().warnings;
    assert!(warned.iter().any(|warning| warning.contains("stands in files that are not here")), "{warned:?}");
    // What it is of counts as before: another log's is refused, and a newer one whose line is gone as well.
    let other = Rotated::new(1_000_000);
    std::fs::copy(log.folder.path("line.key"), other.folder.path("line.key")).unwrap();
    other.run(1);
    let mixed = Trust { kept: other.trust().kept, ..log.trust() };
    assert!(verify(&log.folder.file(), &mixed).unwrap_err().report().contains("of another log"));
    log.folder.replace(&lines[..lines.len() - 2]);
    assert!(verify(&log.folder.file(), &both).unwrap_err().report().contains("its end was removed"));
    // The run goes on.
    let copy = log.folder.path("checkpoint");
    log.folder.replace(&lines[..1]);
    std::fs::write(&copy, note).unwrap();
    log.run(1);
    assert_eq!(log.verify().unwrap().runs, 1);
    let interrupted = log.folder.lines().into_iter().find(|line| line.contains("\"interrupted\"")).unwrap();
    assert!(interrupted.contains("\"from_line\":1,"), "in this file: {interrupted}");
}

#[test]
fn a_power_cut_while_a_file_is_closed_leaves_one_that_can_be_continued() {
    let log = Rotated::new(4_000);
    log.run(20);
    let (file, next) = (log.folder.file(), log.folder.path("audit.jsonl.next"));
    // Before the file was closed.
    std::fs::write(&next, "the beginning of a hea").unwrap();
    log.run(1);
    assert!(!next.exists());
    // After it was closed, and before the next one had its name.
    std::fs::rename(&file, &next).unwrap();
    log.run(1);
    assert_eq!(log.verify().unwrap().runs, 3);
}

#[test]
fn lines_that_nobody_signed_are_named_over_files_too() {
    let mut log = Rotated::new(4_000);
    let signing = log.config.signing.take();
    log.run(20);
    let unsigned = verify(&log.folder.file(), &Trust::default()).unwrap().lines;
    assert!(log.closed().len() >= 2, "{:?}", log.closed());
    log.config.signing = signing;
    log.run(1);
    assert_eq!(spans(&log.verify().unwrap()), [(0, unsigned)]);
    // Nothing is said of what is not here.
    let first = log.closed().remove(0);
    let absent = read::open(&first).unwrap().split(b'\n').count() as u64;
    std::fs::remove_file(first).unwrap();
    assert_eq!(spans(&log.verify().unwrap()), [(absent, unsigned)]);
}

#[test]
fn a_closed_file_is_never_replaced() {
    let folder = Folder::new();
    let (file, closed) = (folder.file(), folder.path("audit.000001.jsonl"));
    std::fs::write(&file, "new\n").unwrap();
    std::fs::write(&closed, "old\n").unwrap();
    let own = std::fs::File::open(&file).unwrap();
    let error = rotate(&own, &file, &closed, b"header\n").unwrap_err();
    assert!(error.to_string().contains("audit.000001.jsonl") && error.to_string().contains("not replaced"), "{error}");
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    assert_eq!((read(&file).as_str(), read(&closed).as_str()), ("new\n", "old\n"));
    // Nor is a compressed one.
    let packed = folder.path("audit.000001.jsonl.gz");
    compress_one(&closed).unwrap();
    std::fs::write(&closed, "other\n").unwrap();
    let error = compress_one(&closed).unwrap_err();
    assert!(error.to_string().contains("holds something else"), "{error}");
    assert!(closed.exists() && packed.exists());
    // One that was compressed just before the end is removed by the next run.
    std::fs::write(&closed, "old\n").unwrap();
    compress_one(&closed).unwrap();
    assert!(!closed.exists() && packed.exists());
}

#[test]
fn a_file_that_cannot_be_closed_grows_on_and_is_one_fault_and_no_flood_of_checkpoints() {
    for stray in ["audit.000001.jsonl", "audit.000001.jsonl.gz"] {
        let rotated = Rotated::new(4_000);
        let log = AuditLog::open(&rotated.config, &run_start()).unwrap();
        std::fs::write(rotated.folder.path(stray), "a stranger's").unwrap();
        let (begun, mut said, mut written) = (std::time::Instant::now(), Vec::new(), 0);
        for number in 0.. {
            log.write(part(number)).unwrap();
            while log.on_disk() <= number {
                std::thread::yield_now();
            }
            written = number;
            said.extend(log.health().err());
            said.dedup();
            if begun.elapsed() > std::time::Duration::from_millis(2_200) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(said.len() == 1 && said[0].contains(stray) && said[0].contains("grows on"), "{said:?}");
        let checkpoints = rotated.folder.lines().iter().filter(|line| line.contains("\"checkpoint\"")).count();
        assert_eq!(checkpoints, 1, "that of the start: a file that is not closed is not signed for it");
        std::fs::remove_file(rotated.folder.path(stray)).unwrap();
        // It is tried again also when nothing more comes.
        while log.health().is_err() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        log.close().unwrap();
        rotated.wait_for_compression();
        assert_eq!(rotated.closed().len(), 1);
        rotated.verify().unwrap();
        assert!(written > 15, "records do not wait for the next attempt as for that of a disk that fails: {written}");
    }
}

#[test]
fn of_a_compression_that_fails_nothing_is_left() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("audit.000001.jsonl")).unwrap();
    assert!(compress_one(&folder.path("audit.000001.jsonl")).is_err());
    assert!(!folder.path("audit.000001.jsonl.gz.partial").exists());
}

#[test]
fn a_compressed_file_beside_the_plain_one_of_its_number_is_held_against_it() {
    let log = Rotated::new(2_000);
    log.run(30);
    let packed = log.closed()[0].clone();
    let plain = packed.with_extension("");
    let (mut lines, compressed) = (String::new(), std::fs::read(&packed).unwrap());
    std::io::Read::read_to_string(&mut read::open(&packed).unwrap(), &mut lines).unwrap();
    let found = |error: crate::Result<Verified>| {
        let error = error.unwrap_err();
        assert_eq!(error.kind().exit_code(), 1, "{}", error.report());
        error.report()
    };
    // As it is for a moment in a run that has compressed it.
    std::fs::write(&plain, &lines).unwrap();
    std::fs::write(packed.with_added_extension("partial"), &compressed[..compressed.len() / 2]).unwrap();
    assert!(log.verify().is_ok());
    for changed in [compressed[..compressed.len() / 2].to_vec(), b"another".to_vec()] {
        std::fs::write(&packed, changed).unwrap();
        let told = found(log.verify());
        assert!(told.contains(".gz is not what was written, and ") && told.contains("beside it is"), "{told}");
    }
    std::fs::write(&packed, &compressed).unwrap();
    std::fs::write(&plain, lines.replace("\"verdict\":\"pass\"", "\"verdict\":\"PASS\"").replacen("2026", "2027", 1))
        .unwrap();
    let told = found(log.verify());
    assert!(told.contains(".gz holds something else than ") && told.contains("check again"), "{told}");
}

#[test]
fn a_file_that_was_written_on_after_half_its_end_goes_on() {
    let log = Rotated::new(1_000_000);
    log.run(5);
    let (file, closed) = (log.folder.file(), log.folder.path("audit.000001.jsonl"));
    let lines = log.folder.lines();
    // The next file has no name of its own yet, and continues less than what was written on.
    let mut link = Link::START;
    let mut header = |number: usize| {
        lines[link.seq() as usize..number]
            .iter()
            .for_each(|line| link.advance(line[line.len() - 66..line.len() - 2].parse().unwrap(), line.as_bytes()));
        let body = format!(r#"{{"kind":"continued","time":"2026-11-24T16:22:31.137055Z","peaks":{:?}}}"#, {
            use crate::audit::checkpoint::base64;
            link.tree().peaks().iter().map(|peak| base64(*peak)).collect::<Vec<_>>()
        });
        link.clone().seal(&body)
    };
    let (stale, right) = (header(4), header(lines.len()));
    for (header, is_written_on) in [(stale.as_str(), true), ("{ torn", true), (right.as_str(), false)] {
        std::fs::rename(&file, &closed).unwrap();
        std::fs::write(log.folder.path("audit.jsonl.next"), header).unwrap();
        recover(&file, &files(&file).unwrap()).unwrap();
        assert_eq!(
            (closed.exists(), log.folder.lines().len() == lines.len()),
            (!is_written_on, is_written_on),
            "{header}"
        );
    }
}

#[test]
fn a_file_is_compressed_only_if_it_can_be_read_back() {
    let folder = Folder::new();
    folder.run(50);
    let text = std::fs::read(folder.file()).unwrap();
    compress_one(&folder.file()).unwrap();
    assert!(!folder.file().exists());
    let gzip = std::process::Command::new("gzip").arg("-dc").arg(folder.path("audit.jsonl.gz")).output().unwrap();
    assert!(gzip.stdout == text, "any gzip reads it");
}

#[test]
fn a_compressed_file_that_was_cut_short_or_damaged_is_told_as_that() {
    let log = Rotated::new(4_000);
    log.run(20);
    let first = log.closed().remove(0);
    let whole = std::fs::read(&first).unwrap();
    // A file ends with the checksum of what is packed, and its length.
    let damaged = [whole.len() / 3, whole.len() / 2, whole.len() - 6].map(|place| {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x55;
        (damaged, "is damaged")
    });
    let half = whole[..whole.len() / 2].to_vec();
    let cut = (half, "is cut short, as by a copy that was broken off");
    for (bytes, says) in std::iter::once(cut).chain(damaged) {
        std::fs::write(&first, bytes).unwrap();
        let error = log.verify().unwrap_err();
        let report = error.report();
        assert!(error.kind().exit_code() == 1 && report.contains(says), "{report}");
        assert!(!report.contains("permissions") && !report.contains("was changed"), "{report}");
        // Whoever reads it says the same, whether by the index or from end to end.
        for from in [None, Some("2000-01-01T00:00:00Z".parse().unwrap())] {
            let range = crate::audit::Range { from, to: None };
            let seen = crate::audit::read::each(&log.folder.file(), &range, |_, _| Ok(true)).unwrap_err();
            assert_eq!(seen.to_string(), error.to_string(), "{}", seen.report());
        }
    }
    // A tool's line ends in a packed file can be undone there.
    let packed =
        |command: &str| assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success());
    std::fs::write(&first, &whole).unwrap();
    packed(&format!("gzip -dc {0} | sed 's/$/\\r/' | gzip > {0}.new && mv {0}.new {0}", first.display()));
    let report = log.verify().unwrap_err().report();
    let command = report.rsplit_once("as FILE.changed: ").unwrap_or_else(|| panic!("{report}")).1;
    packed(command);
    std::fs::remove_file(first.with_added_extension("changed")).unwrap();
    log.verify().unwrap();
    // The same lines, packed anew or not at all, are the same log.
    std::fs::write(&first, whole).unwrap();
    assert!(std::process::Command::new("gzip").arg("-d").arg(&first).status().unwrap().success());
    log.verify().unwrap();
}

#[test]
fn every_byte_of_an_index_is_held_against_what_it_tells_of() {
    let log = Rotated::new(4_000);
    log.run(20);
    let first = log.closed().remove(0);
    let whole = std::fs::read(&first).unwrap();
    // The name of the field, its length, two lengths and two times.
    for place in 12..78 {
        let mut bytes = whole.clone();
        bytes[place] = if bytes[place] == b'U' { b'V' } else { b'U' };
        std::fs::write(&first, bytes).unwrap();
        let error = log.verify().expect_err(&format!("byte {place}"));
        assert!(error.to_string().contains("an index that is not of its lines"), "byte {place}: {error}");
    }
}

#[test]
fn a_header_that_lies_about_the_files_before_it_is_found() {
    let log = Rotated::new(4_000);
    log.run(20);
    let lines = log.folder.lines();
    assert!(lines[0].contains("\"kind\":\"continued\""), "{}", lines[0]);
    let mut header: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let (seq, prev) = (header["seq"].as_u64().unwrap(), header["prev"].as_str().unwrap().parse().unwrap());
    header["peaks"][0] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into();
    let peaks = (0..seq.count_ones()).map(|_| Digest::zero()).collect();
    let mut forged = Link::after(prev, Tree::of(seq, peaks).unwrap(), None);
    let body = |record: &serde_json::Value| {
        let mut record = record.as_object().unwrap().clone();
        ["seq", "prev", "falls", "hash"].iter().for_each(|field| drop(record.shift_remove(*field)));
        serde_json::to_string(&record).unwrap()
    };
    let mut resealed = vec![forged.seal(&body(&header)).trim_end().to_owned()];
    for line in &lines[1..] {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        resealed.push(forged.seal(&body(&record)).trim_end().to_owned());
    }
    log.folder.replace(&resealed);
    let error = log.verify().unwrap_err();
    assert!(error.to_string().contains("does not continue the files before it"), "{error}");
    // Alone it is found too: the checkpoint in it is of another tree.
    log.closed().iter().for_each(|file| std::fs::remove_file(file).unwrap());
    assert!(log.verify().is_err());
}

#[test]
fn a_file_that_does_not_say_which_log_it_is_of_is_followed_by_one_that_does() {
    let mut log = Rotated::new(4_000);
    log.config.signing = None;
    log.run(20);
    // An older program began the last closed file, a newer one that read all files before the newest; then those before went.
    let mut closed = log.closed();
    let older = closed.pop().unwrap();
    closed.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let of_older = read::open(&older).unwrap().lines().map(Result::unwrap).collect::<Vec<_>>();
    let parse = |line: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line).unwrap();
    let header = parse(&of_older[0]);
    let peaks = header["peaks"].as_array().unwrap().iter();
    let peaks = peaks.map(|peak| crate::audit::checkpoint::from_base64(peak.as_str().unwrap()).unwrap()).collect();
    let tree = Tree::of(header["seq"].as_u64().unwrap(), peaks).unwrap();
    let mut link = Link::after(header["prev"].as_str().unwrap().parse().unwrap(), tree, None);
    let mut resealed = |lines: &[String], of_log: Option<&str>| {
        let mut file = String::new();
        for line in lines {
            let mut record = parse(line);
            ["seq", "prev", "falls", "hash", "log"].iter().for_each(|field| drop(record.shift_remove(*field)));
            if record["kind"] == "continued" {
                let peaks = link.tree().peaks().iter().map(|peak| crate::audit::checkpoint::base64(*peak));
                record.insert("peaks".into(), peaks.collect::<Vec<_>>().into());
                of_log.into_iter().for_each(|log| drop(record.insert("log".into(), log.into())));
            }
            file.push_str(&link.seal(&serde_json::to_string(&record).unwrap()));
        }
        file
    };
    std::fs::write(log.folder.path("audit.000099.jsonl"), resealed(&of_older, None)).unwrap();
    std::fs::remove_file(older).unwrap();
    let of_log = header["log"].as_str().unwrap();
    let newest = resealed(&log.folder.lines(), Some(of_log));
    std::fs::write(log.folder.file(), newest).unwrap();
    verify(&log.folder.file(), &Trust::default()).unwrap();
    // From there on it is known which log it is.
    let trust = Trust::default();
    let reading = crate::audit::verify::read(&log.folder.file(), &trust).unwrap();
    assert_eq!(reading.link.log().map(|log| log.to_string()).as_deref(), Some(of_log));
}

#[test]
fn whoever_changes_what_a_compressed_file_tells_of_its_times_is_found_out() {
    let rotated = Rotated::new(10_000);
    rotated.run(60);
    rotated.verify().unwrap();
    let seen = || {
        let mut seen = 0;
        let range = Range { from: Some("2000-01-01T00:00:00Z".parse().unwrap()), to: None };
        let query = Query { range, ..Query::of_kind("part") };
        let read = query.each(&rotated.folder.file(), |_, _, _| {
            seen += 1;
            Ok(true)
        });
        read.map(|_| seen)
    };
    assert_eq!(seen().unwrap(), 60);
    let first = rotated.closed().remove(0);
    let mut bytes = std::fs::read(&first).unwrap();
    // Both times, of which each begins with its year: another century.
    assert_eq!((&bytes[24..26], &bytes[51..53]), (&b"20"[..], &b"20"[..]));
    (bytes[24], bytes[51]) = (b'1', b'1');
    std::fs::write(&first, bytes).unwrap();
    // What it would leave out begins with a line of another time than it tells: that is no answer.
    let refused = seen().unwrap_err();
    assert!(refused.kind().exit_code() == 1 && refused.report().contains("its index"), "{}", refused.report());
    let accused = rotated.verify().unwrap_err();
    assert!(
        accused.to_string().contains("an index that is not of its lines")
            && accused.advice().unwrap().contains("gunzip"),
        "{accused}"
    );
    // What is advised helps.
    let mut lines = Vec::new();
    std::io::Read::read_to_end(&mut crate::audit::read::open(&first).unwrap(), &mut lines).unwrap();
    std::fs::write(first.with_extension(""), lines).unwrap();
    std::fs::remove_file(&first).unwrap();
    assert_eq!(seen().unwrap(), 60);
    rotated.verify().unwrap();
}

#[test]
fn a_file_that_was_closed_between_the_look_and_the_reading_is_read_too() {
    let rotated = Rotated::new(10_000);
    rotated.run(60);
    let (path, trust) = (rotated.folder.file(), rotated.trust());
    let all = files(&path).unwrap();
    assert!(all.len() > 2);
    // The newest file alone was there when it was looked for: it is another one by now.
    let mut looks = 0;
    let list = || {
        looks += 1;
        Ok(if looks == 1 { all[all.len() - 1..].to_vec() } else { all.clone() })
    };
    let reading = crate::audit::verify::read_listed(&path, &trust, list).unwrap();
    assert_eq!((reading.absent(), looks), (0, 3));
    // Whatever comes behind the oldest, what is before that is not here.
    let mut looks = 0;
    let list = || {
        looks += 1;
        Ok(all[1..all.len() + 1 - looks].to_vec())
    };
    let reading = crate::audit::verify::read_listed(&path, &trust, list).unwrap();
    assert!(reading.absent() > 0 && looks == 2, "{looks}");
    // A line that never leaves them alone is told of, and accused of nothing.
    let mut looks = 0;
    let list = || {
        looks += 1;
        Ok(all[all.len() - 1 - looks % 2..].to_vec())
    };
    let error = crate::audit::verify::read_listed(&path, &trust, list).unwrap_err();
    assert!(
        error.kind().exit_code() == 3 && error.report().contains("closed, compressed or removed files"),
        "{}",
        error.report()
    );
}

#[test]
fn a_run_that_is_refused_says_of_a_break_what_verify_says() {
    let mut log = Rotated::new(4_000);
    log.run(20);
    // All that follows is in the newest file.
    log.config.rotation.bytes = None;
    log.run(5);
    log.run(5);
    let newest = log.folder.file();
    let whole = std::fs::read_to_string(&newest).unwrap();
    let lines = whole.split_inclusive('\n').collect::<Vec<_>>();
    let first = files(&newest).unwrap().last().unwrap().beginning().unwrap();
    // Its chain and its tree made anew, from a changed record on.
    let forged = || {
        let mut link = first.continues().unwrap();
        let bodies = lines.iter().map(|line| {
            let body = &line[line.find("\"kind\"").unwrap()..line.rfind(",\"hash\"").unwrap()];
            format!("{{{}}}", body.split(",\"falls\"").next().unwrap().replace("\"part\":2,", "\"part\":9,"))
        });
        bodies.map(|body| link.seal(&body)).collect::<String>()
    };
    let without = |place: usize| [&lines[..place], &lines[place + 1..]].concat().concat();
    let changed = whole.replacen("\"part\":2,", "\"part\":9,", 1);
    let refused = || {
        let refused = AuditLog::open(&log.config, &run_start()).unwrap_err().report();
        refused.split_once("cannot be continued\n  because: ").unwrap().1.to_owned()
    };
    for text in [without(4), without(0), changed.clone(), lines[..9].concat(), forged()] {
        std::fs::write(&newest, text).unwrap();
        assert_eq!(refused(), log.verify().unwrap_err().report());
    }
    std::fs::write(&newest, changed).unwrap();
    assert!(refused().contains("because: records 0 to "), "{}", refused());
    // Something else is wrong with the older files, with which the run would go on: it says what it is refused for.
    std::fs::remove_file(&log.closed()[1]).unwrap();
    let from = format!("because: records {} to ", first.seq);
    assert!(refused().contains(" was changed: ") && refused().contains(&from), "{}", refused());
}

/// A file that is there and holds less than it did is as one that is missing: who searches the log is told.
#[test]
fn a_closed_file_that_was_emptied_or_shortened_is_told_by_a_search() {
    let log = Rotated::new(2_000);
    log.run(30);
    let (path, closed) = (log.folder.file(), log.closed());
    let whole = std::fs::read(&closed[1]).unwrap();
    let lines = read::lines(read::open(&closed[1]).unwrap()).map(Result::unwrap).collect::<Vec<_>>();
    let search = |query: &Query| {
        let mut doubtful = Doubtful::default();
        query.each_or_missing(&path, &mut doubtful, |_, _, _| Ok(true)).unwrap();
        doubtful.told()
    };
    let (all, name) = (Query::default(), closed[1].display().to_string());
    assert_eq!(search(&all), None);
    let first = crate::audit::chain::Envelope::open(&lines[0]).unwrap().seq;
    let behind = first + lines.len() as u64;
    let shortened = |lines: &[Vec<u8>]| {
        let text = lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect::<Vec<_>>();
        let mut packed = Vec::new();
        read::pack(text.as_slice(), &mut packed).unwrap();
        std::fs::write(&closed[1], packed).unwrap();
    };
    shortened(&lines[..2]);
    let told = search(&all).unwrap();
    let missing = format!("records {} to {} are missing before record {behind}", first + 2, behind - 1);
    assert_eq!(told, format!("{missing}, behind the last one in {name}"));
    // Also where the time that is asked for ends with what is there.
    let time = |line: &[u8]| crate::audit::chain::Envelope::open(line).unwrap().time.parse().unwrap();
    let range = read::Range { from: Some(time(&lines[1])), to: Some(time(&lines[2])) };
    assert_eq!(search(&Query { range, ..Query::default() }), Some(told));
    shortened(&[]);
    assert_eq!(search(&all).unwrap(), format!("no record is in {name}"));
    std::fs::write(&closed[1], whole).unwrap();
    assert_eq!(search(&all), None);
}

/// In any place: between others, as the one that was closed last, and as the newest.
#[test]
fn a_file_that_was_emptied_is_named_and_never_taken_for_a_stranger_or_for_the_end_of_a_whole_log() {
    let log = Rotated::new(4_000);
    log.run(40);
    let (closed, newest) = (log.closed(), log.folder.file());
    let first_of = |path: &PathBuf| files(path).unwrap().pop().unwrap().beginning().unwrap().seq;
    for (path, next) in [(&closed[0], &closed[1]), (&closed[2], &closed[3]), (closed.last().unwrap(), &newest)] {
        let (whole, missing) = (std::fs::read(path).unwrap(), first_of(next) - 1);
        std::fs::write(path, "").unwrap();
        let report = log.verify().unwrap_err().report();
        let says =
            [format!("{missing} are missing between"), format!("because: {} holds no record any more", path.display())];
        assert!(says.iter().all(|says| report.contains(says)), "{report}");
        assert!(!report.contains("move it away, or") && !report.contains("no record are"), "{report}");
        let told = may_be_missing(&newest, Some(missing)).unwrap().unwrap();
        assert!(told.ends_with(&format!("{} holds no record any more", path.display())), "{told}");
        std::fs::write(path, whole).unwrap();
        log.verify().unwrap();
    }
    // And where nothing but the beginning of its first line is left.
    for left in ["", "{\"seq\":"] {
        let whole = std::fs::read(&newest).unwrap();
        std::fs::write(&newest, left).unwrap();
        let trust = Trust { kept: Vec::new(), ..log.trust() };
        let report = verify(&newest, &trust).unwrap_err().report();
        assert!(report.contains("is missing: the file holds no whole record"), "{report}");
        let refused = AuditLog::open(&AuditConfig { signing: None, ..log.config.clone() }, &run_start()).unwrap_err();
        assert!(
            refused.kind().exit_code() == 3 && refused.report().contains("holds no whole record"),
            "{}",
            refused.report()
        );
        std::fs::write(&newest, whole).unwrap();
    }
}

/// What a search says of a time whose records were all removed, and of files whose beginning was.
#[test]
fn a_search_tells_of_records_that_are_missing_whichever_of_their_time_are_left() {
    let log = Rotated::new(4_000);
    log.run(60);
    let (closed, newest) = (log.closed(), log.folder.file());
    let lines_of = |path: &Path| {
        let lines = read::lines(read::open(path).unwrap());
        lines.map(|line| String::from_utf8(line.unwrap()).unwrap() + "\n").collect::<Vec<_>>()
    };
    let time =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["time"].as_str().unwrap().to_owned();
    let told = |from: Option<&str>, to: Option<&str>| {
        let (mut doubtful, parsed) = (Doubtful::default(), |time: &str| time.parse::<jiff::Timestamp>().unwrap());
        let query =
            Query { range: crate::audit::Range { from: from.map(parsed), to: to.map(parsed) }, ..Query::default() };
        query.each_or_missing(&newest, &mut doubtful, |_, _, _| Ok(true)).unwrap();
        doubtful.told().unwrap_or_default()
    };
    // With a file's lines without some of them in its place, packed as no run does, so that all of it is read.
    let with = |path: &Path, left: &[&[String]], look: &dyn Fn()| {
        let whole = std::fs::read(path).unwrap();
        std::fs::write(path, left.concat().concat()).unwrap();
        look();
        std::fs::write(path, whole).unwrap();
        assert_eq!(told(None, None), "");
    };
    let (file, whole) = (&closed[1], lines_of(&closed[1]));
    let (gone, behind) = (time(&whole[2]), time(&whole[4]));
    with(file, &[&whole[..2], &whole[4..]], &|| {
        assert!(told(Some(&gone), Some(&behind)).contains("are missing before record"), "all of that time are gone");
        assert_eq!(told(Some(&time(&whole[5])), None), "", "nobody asks for what is missing");
    });
    let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap();
    let beginning = format!("what was before record {} is missing", number(&whole[3]));
    with(file, &[&whole[3..]], &|| {
        for from in [None, Some(time(&whole[1])), Some(time(&whole[3]))] {
            assert!(told(from.as_deref(), None).contains(&beginning), "{from:?}: {}", told(from.as_deref(), None));
        }
        assert_eq!(told(Some(&time(&whole[5])), None), "");
    });
    let last = lines_of(&newest);
    assert!(last.len() > 1);
    with(&newest, &[&last[1..]], &|| {
        let beginning = format!("what was before record {} is missing", number(&last[1]));
        assert!(told(None, None).contains(&beginning), "{}", told(None, None));
    });
    for path in [&newest, file, closed.last().unwrap()] {
        with(path, &[], &|| {
            let says = format!("no record is in {}", path.display());
            assert!(told(None, None).contains(&says), "{says}: {}", told(None, None));
        });
    }
}

/// Who edits a record, its hash, and what the next one says of that, leaves that one without its own hash; a search tells of one of them alone.
#[test]
fn a_record_that_was_edited_with_what_the_next_one_says_of_it_is_told_of_by_a_search_for_its_kind_alone() {
    let log = Rotated::new(1 << 20);
    log.run(5);
    let mut lines = log.folder.lines();
    let (edited, next) = (lines.len() - 2, lines.len() - 1);
    let (old, new) =
        (lines[edited].clone(), resealed(&lines[edited].replacen("\"reason\":\"end\"", "\"reason\":\"END\"", 1)));
    assert_ne!(old, new);
    let hash = |line: &str| line.rsplit_once("\"hash\":\"").unwrap().1.trim_end_matches("\"}").to_owned();
    lines[next] = lines[next].replacen(&hash(&old), &hash(&new), 1);
    lines[edited] = new;
    log.folder.replace(&lines);
    let mut doubtful = Doubtful::default();
    Query::of_kind("stop").each_or_missing(&log.folder.file(), &mut doubtful, |_, _, _| Ok(true)).unwrap();
    assert_eq!(doubtful.told().unwrap(), format!("1 record is not as written: {edited} or {next}"));
}

/// Whoever finds nothing of the last minute is told where it would be.
#[test]
fn a_newest_file_that_was_removed_is_told_of_where_something_is_looked_for_in_it() {
    let log = Rotated::new(4_000);
    log.run(40);
    let newest = log.folder.file();
    let first = files(&newest).unwrap().pop().unwrap().beginning().unwrap().seq;
    assert_eq!(may_be_missing(&newest, Some(first)).unwrap(), None);
    std::fs::remove_file(&newest).unwrap();
    let told = may_be_missing(&newest, Some(first)).unwrap().unwrap();
    assert!(told.ends_with(&format!("{}, the newest file of the log, is not here", newest.display())), "{told}");
    assert_eq!(may_be_missing(&newest, Some(0)).unwrap(), None);
    let left_out = read::left_out(&newest, &files(&newest).unwrap()).unwrap();
    assert!(left_out.iter().any(|told| told.contains("the newest file of the log, is not here")), "{left_out:?}");
}
