//! Logs whose oldest files the line itself removes.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use super::disks::setting;
use super::rotated::{Rotated, resealed};
use super::signed::add;
use super::*;
use crate::audit::desk::Desk;
use crate::audit::read::{closed_name, files, lines, open};
use crate::audit::retention::{List, Retention};
use crate::audit::rotation::Rotation;
use crate::audit::verify::{is_signed, removals};
use crate::config::RetentionConfig;

/// Files of some kilobytes, of which there is room for a few once they are compressed.
const FEW: RetentionConfig = RetentionConfig { days: None, bytes: Some(8_000) };

fn names(log: &Rotated) -> Vec<String> {
    log.closed().iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

fn lines_of(file: &Path) -> Vec<String> {
    lines(open(file).unwrap()).map(|line| String::from_utf8(line.unwrap()).unwrap()).collect()
}

/// Puts these lines in the place of a closed file's, under its name.
fn rewrite(file: &Path, lines: &[String]) {
    std::fs::write(file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

/// What the newest record of a removal tells.
fn newest_told(log: &Rotated) -> Option<serde_json::Value> {
    let mut found = None;
    let each = Query::of_kind("log-removed").each(&log.folder.file(), |line, _, _| {
        found = Some(serde_json::from_slice(line).unwrap());
        Ok(true)
    });
    each.unwrap();
    found
}

/// What the notes say that are in the log.
fn notes(log: &Rotated) -> Vec<String> {
    let mut notes = Vec::new();
    let each = Query::of_kind("note").each(&log.folder.file(), |line, _, _| {
        notes.push(String::from_utf8_lossy(line).into_owned());
        Ok(true)
    });
    each.map(|_| notes).unwrap()
}

/// Waits until the line has removed what it tells of, if that is another removal than the one `before`.
fn wait_for_removal(log: &Rotated, before: Option<&serde_json::Value>) -> serde_json::Value {
    let begun = Instant::now();
    loop {
        let last = newest_told(log);
        let is_gone = |told: &serde_json::Value| names(log)[0].as_str() > told["last"].as_str().unwrap();
        if let Some(told) = last.filter(|told| Some(told) != before && is_gone(told)) {
            return told;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", names(log));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A run that goes on until what is too much is gone; what it told of that.
fn run_until_removed(log: &Rotated, parts: u64) -> serde_json::Value {
    let before = log.folder.file().exists().then(|| newest_told(log)).flatten();
    let open = AuditLog::open(&log.config, &run_start()).unwrap();
    (0..parts).for_each(|number| open.write(part(number)).unwrap());
    wait_for_removal(log, before.as_ref());
    log.wait_for_compression();
    open.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
    open.close().unwrap();
    // Another one may have been told of, and is done by whoever tells of it.
    wait_for_removal(log, before.as_ref())
}

#[test]
fn what_is_too_much_goes_as_files_are_closed_and_a_signed_record_tells_of_it() {
    let mut log = Rotated::new(4_000);
    log.config.retention = FEW;
    let told = run_until_removed(&log, 60);
    assert_eq!(notes(&log), [""; 0], "what is closed or compressed meanwhile is no news");
    let verified = log.verify().unwrap();
    assert!(verified.absent > 0 && verified.warnings.is_empty(), "{verified:?}");
    let said = verified.removed.unwrap();
    let words = format!("records 0 to {} were removed by the line, the last of them on ", verified.absent - 1);
    assert!(said.starts_with(&words) && said.contains(", as keep_log_gb says (record "), "{said}");
    assert_eq!((told["why"].as_str(), told["records"].as_u64()), (Some("space"), Some(verified.absent)));
    assert!(told["until"].as_str().unwrap() < told["time"].as_str().unwrap(), "{told}");
    // The page of a time from before names who removed them too, whether it goes by a check with a key or not.
    let at = |time: &str| time.parse().unwrap();
    let shift =
        Shift { from: at("2020-01-01T00:00:00Z"), to: at("2200-01-01T00:00:00Z"), zone: jiff::tz::TimeZone::UTC };
    let gallery = Gallery { folder: log.folder.0.path().join("pictures"), most: 0 };
    let removed = |removed: Option<&String>| {
        Some(Checked { told: String::new(), warnings: Vec::new(), removed: removed.cloned() })
    };
    let says =
        format!("record {} says that records 0 to {} were removed by the line", told["seq"], verified.absent - 1);
    for (checked, who) in [(None, Some(&says)), (removed(Some(&said)), Some(&said)), (removed(None), None)] {
        let page = report(&log.folder.file(), &shift, &Origin { checked, ..Origin::default() }, &gallery).unwrap();
        let above = page.html.split_once("<div class=\"tiles\">").unwrap().0;
        assert!(above.contains("Not all of the log was there"), "{above}");
        assert_eq!(above.contains("removed by the line"), who.is_some(), "{above}");
        assert!(who.is_none_or(|who| above.contains(who)), "{above}");
        assert_eq!(page.doubtful.told(), None);
    }
    // A run goes on with it, and takes nothing for missing.
    log.config.retention = RetentionConfig::default();
    log.run(5);
    assert!(log.verify().unwrap().warnings.is_empty() && readiness(&log.config).unwrap().missing.is_none());
    // Any record that is here is proved without those that are not, and of the others it is said who took them.
    let newest = log.verify().unwrap();
    let proof = prove(&log.folder.file(), newest.absent).unwrap();
    assert_eq!(check(&proof, &log.trust().key.unwrap()).unwrap().index, newest.absent);
    let error = prove(&log.folder.file(), 0).unwrap_err();
    let report = error.report();
    assert!(error.kind().exit_code() == 2 && report.contains(&format!("before {}, which", names(&log)[0])), "{report}");
    assert!(
        report.contains("removed by the line") && report.contains("try: copy the log into another folder"),
        "{report}"
    );
}

#[test]
fn what_is_too_much_goes_when_a_run_starts_and_the_newest_closed_file_stays() {
    let mut log = Rotated::new(4_000);
    log.run(40);
    let before = names(&log);
    assert!(before.len() > 5 && log.verify().unwrap().removed.is_none());
    log.config.retention = RetentionConfig { days: None, bytes: Some(1) };
    log.config.rotation.bytes = Some(1 << 20);
    let open = AuditLog::open(&log.config, &run_start()).unwrap();
    let told = wait_for_removal(&log, None);
    assert_eq!(names(&log), before[before.len() - 1..], "the newest one stays, however little is to be kept");
    assert_eq!((told["files"].as_u64(), told["first"].as_str()), (Some(before.len() as u64 - 1), Some(&*before[0])));
    open.close().unwrap();
    let verified = log.verify().unwrap();
    assert!(verified.removed.is_some() && verified.warnings.iter().all(|told| !told.contains("not here")));
    // Nothing more is to be removed, and nothing more is told.
    log.run(1);
    assert_eq!(newest_told(&log).unwrap()["seq"], told["seq"]);
}

#[test]
fn nothing_goes_before_the_record_that_tells_of_it_is_on_disk_and_signed() {
    let log = Rotated::new(4_000);
    log.run(40);
    let (before, path) = (names(&log), log.folder.file());
    let desk = std::sync::Arc::new(Desk::new(10));
    let retention = Retention::of(None, FEW, None, desk.clone()).unwrap();
    let looking = std::thread::spawn(move || retention.look(&|| files(&path)));
    let mut taken = std::collections::VecDeque::new();
    while taken.is_empty() {
        std::thread::sleep(Duration::from_millis(1));
        desk.queue().take_into(&mut taken);
    }
    let waits = |what: &str| {
        std::thread::sleep(Duration::from_millis(50));
        assert!(names(&log) == before && !looking.is_finished(), "{what}");
    };
    waits("written, and not on disk");
    taken.clear();
    desk.settle(&taken, false);
    waits("on disk, and not signed");
    assert!(desk.queue().awaits_signature());
    desk.settle(&taken, true);
    looking.join().unwrap();
    assert!(names(&log).len() < before.len() && !desk.queue().awaits_signature());
}

#[test]
fn a_log_that_ends_before_it_tells_of_a_removal_loses_nothing() {
    let log = Rotated::new(4_000);
    log.run(40);
    let before = names(&log);
    let desk = std::sync::Arc::new(Desk::new(10));
    desk.queue().ended = true;
    Retention::of(None, FEW, None, desk).unwrap().look(&|| files(&log.folder.file()));
    assert_eq!(names(&log), before);
}

#[test]
fn a_file_of_another_log_is_not_removed() {
    let log = Rotated::new(4_000);
    log.run(40);
    let before = names(&log);
    let desk = std::sync::Arc::new(Desk::new(10));
    Retention::of(Some(Digest::of("another")), FEW, None, desk).unwrap().look(&|| files(&log.folder.file()));
    assert_eq!(names(&log), before);
}

#[test]
fn of_more_that_is_missing_than_was_told_of_it_is_said() {
    let mut log = Rotated::new(4_000);
    log.config.retention = FEW;
    let told = run_until_removed(&log, 60)["records"].as_u64().unwrap();
    std::fs::remove_file(&log.closed()[0]).unwrap();
    let verified = log.verify().unwrap();
    assert!(verified.removed.is_none() && verified.absent > told, "{verified:?}");
    let more = format!(
        "records 0 to {} are in files that are not here: what is here continues them, and says nothing of them; the line removed \
         records 0 to {}, and who took records {told} to {} is told nowhere",
        verified.absent - 1,
        told - 1,
        verified.absent - 1
    );
    assert_eq!((&verified.warnings[0], ends(&verified.unexplained)), (&more, vec![(told, verified.absent)]));
}

/// Records of removals are records of the log, and go with it.
#[test]
fn what_the_line_removed_stays_explained_once_the_records_of_earlier_removals_are_gone() {
    let mut log = Rotated::new(4_000);
    log.config.retention = FEW;
    let first = run_until_removed(&log, 40)["seq"].as_u64().unwrap();
    let mut last = serde_json::Value::Null;
    while log.verify().unwrap().absent <= first {
        last = run_until_removed(&log, 40);
    }
    let verified = log.verify().unwrap();
    assert_eq!((last["from"].as_u64(), verified.warnings), (Some(0), Vec::<String>::new()));
    assert!(verified.removed.unwrap().starts_with(&format!("records 0 to {} were removed", verified.absent - 1)));
}

/// An honest removal behind what somebody else took does not sign that away.
#[test]
fn what_somebody_else_took_is_not_explained_by_the_removal_that_comes_after_it() {
    let mut log = Rotated::new(4_000);
    log.run(40);
    std::fs::remove_file(&log.closed()[0]).unwrap();
    let taken = log.verify().unwrap().absent;
    log.config.retention = FEW;
    let first = run_until_removed(&log, 40);
    assert!(first["from"].as_u64().unwrap() >= taken, "{first}");
    let verified = log.verify().unwrap();
    assert!(verified.removed.is_none() && verified.absent > taken, "{verified:?}");
    let says = format!(
        "; the line removed records {taken} to {}, and who took records 0 to {} is told nowhere",
        verified.absent - 1,
        taken - 1
    );
    assert!(verified.warnings[0].ends_with(&says), "{says}: {:?}", verified.warnings);
}

/// A record behind the line `last`, which nobody signed: the line removed the first `records` records. With its number.
fn forged(last: &str, records: u64) -> (u64, String) {
    let last = serde_json::from_str::<serde_json::Value>(last).unwrap();
    let (seq, prev) = (last["seq"].as_u64().unwrap() + 1, last["hash"].as_str().unwrap());
    let (time, monotonic_ns) = (last["time"].as_str().unwrap(), last["monotonic_ns"].as_u64().unwrap() + 1);
    let forged = format!(
        "{{\"seq\":{seq},\"prev\":\"{prev}\",\"kind\":\"log-removed\",\"time\":\"{time}\",\"monotonic_ns\":{monotonic_ns},\"synchronised\":true,\
         \"files\":2,\"first\":\"audit.000001.jsonl.gz\",\"last\":\"audit.000002.jsonl.gz\",\"from\":0,\"records\":{records},\"bytes\":9,\"until\":\"{time}\",\
         \"why\":\"age\",\"hash\":\"\"}}"
    );
    (seq, resealed(&forged))
}

/// What is told in a file that holds no checkpoint has none that signs it: a removal that comes later does not take it over.
#[test]
fn a_removal_that_nobody_signed_is_none_where_its_file_holds_no_signature_at_all() {
    let log = Rotated::new(4_000);
    log.run(40);
    let file = files(&log.folder.file()).unwrap()[2].clone();
    let first = lines_of(&file.path).swap_remove(0);
    let (_, forged) = forged(&first, 12);
    std::fs::write(&file.path, format!("{first}\n{forged}\n")).unwrap();
    assert_eq!(removals(&file, &Trust::default()).unwrap(), vec![0..12]);
    assert_eq!(removals(&file, &Trust { kept: Vec::new(), ..log.trust() }).unwrap(), Vec::new());
}

#[test]
fn a_removal_that_nobody_signed_explains_nothing_to_whoever_has_the_key() {
    let mut log = Rotated::new(4_000);
    log.config.signing.as_mut().unwrap().checkpoint_copy = None;
    let key = Verifier::open(&log.folder.path("line.key.pub")).unwrap();
    let trust = Trust { key: Some(key), ..Trust::default() };
    log.run(40);
    let closed = log.closed();
    closed[..2].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let absent = verify(&log.folder.file(), &trust).unwrap().absent;
    let mut lines = log.folder.lines();
    let behind_end = forged(lines.last().unwrap(), absent).1;
    log.folder.replace(&[lines.clone(), vec![behind_end]].concat());
    let error = verify(&log.folder.file(), &trust).unwrap_err().report();
    assert!(error.contains("stands behind the end of a run, which had signed its stop"), "{error}");
    // The run was killed: its `stop` and its last checkpoint are not there.
    lines.truncate(lines.len() - 2);
    let (seq, forged) = forged(lines.last().unwrap(), absent);
    log.folder.replace(&[lines, vec![forged]].concat());
    let check = |what: &str| {
        let verified = verify(&log.folder.file(), &trust).unwrap();
        assert_eq!((verified.removed, ends(&verified.unexplained)), (None, vec![(0, absent)]), "{what}");
        let says = format!(
            "record {seq} says that the line removed records 0 to {}, and explains nothing, since nobody signed it",
            absent - 1
        );
        // What said so may have gone with its own file, and who took the first ones is told nowhere all the same.
        let is_gone = verified.absent > seq;
        assert!(is_gone || verified.warnings[0].contains(&says), "{what}: {:?}", verified.warnings);
    };
    let unchecked = || {
        let unsigned = verify(&log.folder.file(), &Trust::default()).unwrap().removed.unwrap();
        let says = format!("record {seq} says that records 0 to {} were removed by the line", absent - 1);
        assert!(unsigned.starts_with(&says) && unsigned.contains("who wrote it was not checked"), "{unsigned}");
    };
    check("at the end");
    unchecked();
    // The next run signs over it.
    log.run(1);
    check("once a run went on");
    unchecked();
    // Nor does what the line itself removes later sign it away.
    log.config.retention = RetentionConfig { days: None, bytes: Some(14_000) };
    run_until_removed(&log, 5);
    check("once the line removed more");
}

/// The hash of the log's first line.
fn own_hash(log: &Rotated) -> Digest {
    files(&log.folder.file()).unwrap()[0].log().unwrap()
}

/// The notes that a look at the log leaves on its desk, and that nothing is told of or removed.
fn stopped(log: &Rotated, hash: Digest) -> String {
    let before = names(log);
    let desk = std::sync::Arc::new(Desk::new(10));
    let retention = Retention::of(Some(hash), FEW, None, desk.clone()).unwrap();
    retention.look(&|| files(&log.folder.file()));
    let mut taken = std::collections::VecDeque::new();
    desk.queue().take_into(&mut taken);
    assert!(names(log) == before && taken.len() == 1, "{taken:?}");
    taken[0].body.0.clone()
}

/// The log's second file is not what must come there: nothing goes, and that is noted.
fn stays(spoil: impl Fn(&Rotated, &[PathBuf])) {
    let log = Rotated::new(4_000);
    log.run(60);
    let (closed, hash) = (log.closed(), own_hash(&log));
    spoil(&log, &closed);
    let note = stopped(&log, hash);
    assert!(note.contains("on no closed file of the log is removed") && note.contains("verify"), "{note}");
}

#[test]
fn nothing_goes_from_a_file_on_that_is_not_what_must_come_there() {
    // Between others one is missing.
    stays(|_, closed| std::fs::remove_file(&closed[1]).unwrap());
    // It says nothing of its log.
    stays(|_, closed| std::fs::write(&closed[0], "notes\n").unwrap());
    stays(|_, closed| std::fs::write(&closed[1], "notes\n").unwrap());
    // Its first record was changed.
    stays(|_, closed| {
        let mut changed = lines_of(&closed[1]);
        changed[0] = changed[0].replacen("\"time\":\"2", "\"time\":\"1", 1);
        rewrite(&closed[1], &changed);
    });
    // It is another log's.
    stays(|_, closed| {
        let other = Rotated::new(4_000);
        other.run(40);
        std::fs::copy(&other.closed()[1], &closed[1]).unwrap();
    });
    // Two have each other's names.
    stays(|log, closed| {
        let aside = log.folder.path("aside");
        std::fs::rename(&closed[1], &aside).unwrap();
        std::fs::rename(&closed[2], &closed[1]).unwrap();
        std::fs::rename(&aside, &closed[2]).unwrap();
    });
    // What is between its first line and its last one is gone.
    stays(|_, closed| {
        let whole = lines_of(&closed[0]);
        rewrite(&closed[0], &[whole[0].clone(), whole[whole.len() - 1].clone()]);
    });
    // A file of this log, of another time: what is between would be told as removed by the line.
    stays(|_, closed| {
        std::fs::rename(&closed[0], &closed[2]).unwrap();
        std::fs::remove_file(&closed[1]).unwrap();
    });
    // It cannot be read to its end.
    stays(|_, closed| damage(&closed[0]));
    // What tells a query where its lines are is not of them: the century of both times.
    stays(|_, closed| {
        let mut bytes = std::fs::read(&closed[0]).unwrap();
        (bytes[24], bytes[51]) = (b'1', b'1');
        std::fs::write(&closed[0], bytes).unwrap();
    });
}

/// Verify tells it as a change, and nobody is to lose what shows it.
#[test]
fn nothing_goes_from_a_file_on_in_which_a_record_says_wrong_how_often_times_fell() {
    let log = Rotated::new(4_000);
    log.run(2);
    let old = "2020-01-01T00:00:00.000000Z";
    add(&log.folder, &format!("\"kind\":\"note\",\"time\":\"{old}\",\"monotonic_ns\":1,\"text\":\"x\""));
    log.run(60);
    let note = stopped(&log, own_hash(&log));
    let first = format!("it is not what {} continues", log.closed()[1].display());
    assert!(note.contains(&first), "{note}");
}

/// Cuts off the end of a compressed file.
fn damage(file: &Path) {
    let whole = std::fs::read(file).unwrap();
    std::fs::write(file, &whole[..whole.len() - 20]).unwrap();
}

/// What a look at the log whose files `list` tells has the log take, and removes.
fn look(log: &Rotated, list: List) -> Vec<String> {
    let (desk, hash) = (std::sync::Arc::new(Desk::new(10)), own_hash(log));
    let retention = Retention::of(Some(hash), FEW, None, desk.clone()).unwrap();
    let take = || {
        let (mut told, mut taken) = (Vec::new(), std::collections::VecDeque::new());
        loop {
            let has_ended = desk.queue().ended;
            desk.queue().take_into(&mut taken);
            told.extend(taken.drain(..).map(|waiting| waiting.body.0));
            desk.settle(&taken, true);
            if has_ended {
                return told;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    std::thread::scope(|scope| {
        let taking = scope.spawn(take);
        retention.look(list);
        desk.queue().ended = true;
        taking.join().unwrap()
    })
}

/// That one removal was told of, and nothing else, with the first record that the line removed.
fn is_removed_from(told: &[String], from: u64) {
    let is_told = |told: &String| told.contains("\"log-removed\"") && told.contains(&format!("\"from\":{from},"));
    assert!(told.len() == 1 && is_told(&told[0]), "{from}: {told:?}");
}

/// Files may be closed faster than the log can be read.
#[test]
fn what_is_too_much_goes_while_files_are_closed() {
    let log = Rotated::new(4_000);
    log.run(60);
    std::fs::remove_file(&log.closed()[0]).unwrap();
    let (taken, before) = (log.verify().unwrap().absent, names(&log));
    let list = || {
        let listed = files(&log.folder.file());
        log.run(10);
        listed
    };
    is_removed_from(&look(&log, &list), taken);
    assert!(names(&log)[0] > before[0] && names(&log).last() > before.last());
}

/// A log that removed what was too much at a start: what it told of that is in its newest file, and more is too much by now.
fn told_in_newest() -> Rotated {
    let mut log = Rotated::new(4_000);
    log.run(100);
    log.config.retention = RetentionConfig { days: None, bytes: Some(30_000) };
    log.config.rotation.bytes = Some(1 << 20);
    run_until_removed(&log, 10);
    log.config.retention = RetentionConfig::default();
    log.config.rotation.bytes = Some(4_000);
    log
}

/// The newest file is another one once it is closed, or none.
#[test]
fn what_the_newest_file_tells_of_a_removal_is_found_when_it_is_closed_meanwhile() {
    let rename = |log: &Rotated, next: &Path| std::fs::rename(log.folder.file(), next).unwrap();
    let go_on = |log: &Rotated, _: &Path| log.run(1);
    for close in [rename as fn(&Rotated, &Path), go_on] {
        let log = told_in_newest();
        let path = log.folder.file();
        let last = files(&path).unwrap().into_iter().filter_map(|file| file.number).max().unwrap();
        let has_listed = Cell::new(false);
        let list = || {
            let listed = files(&path);
            if !has_listed.replace(true) {
                close(&log, &closed_name(&path, last + 1));
            }
            listed
        };
        is_removed_from(&look(&log, &list), 0);
    }
}

/// A file that is damaged keeps those that are newer, and none that is older.
#[test]
fn what_an_older_file_tells_of_a_removal_is_found_behind_a_damaged_one() {
    let log = told_in_newest();
    log.run(40);
    damage(log.closed().last().unwrap());
    is_removed_from(&look(&log, &|| files(&log.folder.file())), 0);
    // Where none tells of it nobody knows what the damaged one told.
    let log = Rotated::new(4_000);
    log.run(60);
    std::fs::remove_file(&log.closed()[0]).unwrap();
    damage(log.closed().last().unwrap());
    let before = names(&log);
    let told = look(&log, &|| files(&log.folder.file()));
    let name = before.last().unwrap();
    let says = told[0].contains("closed files of the log are not removed: ") && told[0].contains(name);
    assert!(says && told.len() == 1 && names(&log) == before, "{told:?}");
}

#[test]
fn what_somebody_carries_away_meanwhile_the_line_does_not_say_that_it_removed() {
    let log = Rotated::new(4_000);
    log.run(60);
    let (oldest, listed) = (log.closed().remove(0), Cell::new(0));
    let list = || {
        if listed.replace(listed.get() + 1) == 1 {
            std::fs::remove_file(&oldest).unwrap();
        }
        files(&log.folder.file())
    };
    assert_eq!((look(&log, &list), listed.get()), (Vec::<String>::new(), 2));
}

/// Until they are compressed, files that are closed meanwhile take a multiple of the room.
#[test]
fn files_are_compressed_while_the_record_of_a_removal_waits_for_the_disk() {
    let log = Rotated::new(4_000);
    log.run(60);
    let (path, desk) = (log.folder.file(), std::sync::Arc::new(Desk::new(10)));
    let retention = Retention::of(Some(own_hash(&log)), FEW, None, desk.clone());
    let mut rotation = Rotation::new(&path, log.config.rotation, &files(&path).unwrap(), setting(), retention);
    let begun = Instant::now();
    while desk.queue().open() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    let packed = log.closed().pop().unwrap();
    rewrite(&packed.with_extension(""), &lines_of(&packed));
    std::fs::remove_file(&packed).unwrap();
    rotation.done();
    log.wait_for_compression();
    let mut queue = desk.queue();
    assert_eq!((queue.open(), queue.on_disk), (1, 0));
    queue.ended = true;
}

/// What is signed in a file that lost its name meanwhile may be lost with it.
#[test]
fn nothing_goes_while_the_record_that_tells_of_it_is_in_a_file_without_its_name() {
    let desk = std::sync::Arc::new(Desk::new(10));
    let (telling, mut taken) = (desk.clone(), std::collections::VecDeque::new());
    let told = std::thread::spawn(move || telling.tell(&Body::note(Monotonic::now(), "n")));
    while taken.is_empty() {
        std::thread::sleep(Duration::from_millis(1));
        desk.queue().take_into(&mut taken);
    }
    taken.clear();
    desk.queue().astray = Some("moved".to_owned());
    desk.settle(&taken, true);
    std::thread::sleep(Duration::from_millis(50));
    assert!(!told.is_finished());
    desk.queue().ended = true;
    desk.settle(&taken, true);
    assert!(!told.join().unwrap());
}

/// Who makes a file older would have the line remove what was before it, and sign that.
#[test]
fn a_file_that_was_made_older_is_not_believed() {
    let log = Rotated::new(4_000);
    log.run(40);
    let trust = Trust { kept: Vec::new(), ..log.trust() };
    let file = files(&log.folder.file()).unwrap()[3].clone();
    assert!(is_signed(&file, &trust));
    let mut edited = lines_of(&file.path);
    edited[0] = resealed(&edited[0].replacen("\"time\":\"2", "\"time\":\"1", 1));
    rewrite(&file.path, &edited);
    assert!(!is_signed(&file, &trust) && file.beginning().unwrap().time.starts_with('1'));
}

/// A file that could not be compressed is once that is possible, and nothing behind it waits for the next start.
#[test]
fn a_file_that_could_not_be_compressed_holds_nothing_up_once_it_can_be() {
    let mut log = Rotated::new(4_000);
    log.config.retention = FEW;
    let in_the_way = log.folder.path("audit.000001.jsonl.gz.partial");
    std::fs::create_dir(&in_the_way).unwrap();
    std::fs::write(in_the_way.join("notes"), "").unwrap();
    let open = AuditLog::open(&log.config, &run_start()).unwrap();
    let write = |parts: u64| (0..parts).for_each(|number| open.write(part(number)).unwrap());
    write(40);
    let begun = Instant::now();
    while names(&log).get(1).is_none_or(|second| !second.ends_with(".gz")) || notes(&log).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", names(&log));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(names(&log)[0] == "audit.000001.jsonl" && newest_told(&log).is_none());
    let notes = notes(&log);
    assert!(notes.len() == 1 && notes[0].contains("it cannot be compressed"), "{notes:?}");
    std::fs::remove_dir_all(&in_the_way).unwrap();
    write(40);
    let told = wait_for_removal(&log, None);
    assert_eq!(told["from"], 0);
    open.close().unwrap();
}

/// Its first record that is here names it, and its key.
#[test]
fn a_run_whose_start_the_line_removed_is_told_of_as_any_other_that_has_no_end() {
    let mut log = Rotated::new(4_000);
    log.config.retention = FEW;
    log.config.signing.as_mut().unwrap().checkpoint_copy = None;
    run_until_removed(&log, 60);
    let key = Verifier::open(&log.folder.path("line.key.pub")).unwrap();
    let trust = Trust { key: Some(key), ..Trust::default() };
    let whole = verify(&log.folder.file(), &trust).unwrap();
    assert_eq!((whole.runs, whole.warnings), (0, Vec::<String>::new()));
    // Killed before it signed its end.
    let lines = log.folder.lines();
    log.folder.replace(&lines[..lines.len() - 2]);
    let killed = verify(&log.folder.file(), &trust).unwrap();
    let (is_signed, killed) = (killed.unsigned.is_empty(), killed.warnings);
    let says = format!("the run that goes on with record {} (line 1 of ", whole.absent);
    assert!(killed.iter().any(|told| told.starts_with(&says) && told.contains("has no stop record")), "{killed:?}");
    assert!(killed.iter().all(|told| !told.contains("though their run has ended")), "{killed:?}");
    assert!(is_signed || killed.iter().any(|told| told.contains("not signed yet")), "{killed:?}");
}
