//! Where others may write the log's folder too: names that lead elsewhere, and files that are exchanged, moved or removed under a running line.

use std::path::Path;
use std::time::{Duration, Instant};

use super::rotated::Rotated;
use super::*;
use crate::audit::read;

/// Waits until the health of the log is as wanted, and gives what it says.
fn wait_for(log: &AuditLog, wanted: impl Fn(&str) -> bool) -> String {
    let begun = Instant::now();
    loop {
        let told = log.health().err().unwrap_or_default();
        if wanted(&told) {
            return told;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it says: {told}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn write(log: &AuditLog, parts: std::ops::Range<u64>) {
    let before = log.on_disk();
    let count = parts.end - parts.start;
    parts.for_each(|number| log.write(part(number)).unwrap());
    while log.on_disk() < before + count {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn end(log: AuditLog) -> crate::Result<()> {
    log.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
    log.close()
}

fn is_plain(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file())
}

#[test]
fn no_name_that_can_be_guessed_leads_the_log_elsewhere_or_stops_it() {
    for kind in ["link", "pipe"] {
        let log = Rotated::new(4_000);
        let victim = log.folder.path("victim");
        std::fs::write(&victim, "precious").unwrap();
        let run = AuditLog::open(&log.config, &run_start()).unwrap();
        for name in ["audit.jsonl.next", "audit.000001.jsonl.gz.partial", "checkpoint.new"] {
            let path = log.folder.path(name);
            match kind {
                "link" => std::os::unix::fs::symlink(&victim, &path).unwrap(),
                _ => assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()),
            }
        }
        write(&run, 0..20);
        end(run).unwrap();
        log.wait_for_compression();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious", "{kind}");
        let closed = log.closed();
        assert!(closed.len() > 1 && closed.iter().chain([&log.folder.file()]).all(|path| is_plain(path)), "{kind}");
        assert_eq!(log.verify().unwrap().parts, 20);
    }
}

#[test]
fn a_log_that_is_removed_or_replaced_under_a_running_line_is_told_of_and_kept() {
    for is_removed in [true, false] {
        let log = Rotated::new(4_000);
        let file = log.folder.file();
        let run = AuditLog::open(&log.config, &run_start()).unwrap();
        write(&run, 0..1);
        match is_removed {
            true => std::fs::remove_file(&file).unwrap(),
            // As sed -i, editors and synchronising programs do.
            false => {
                let copy = log.folder.path("copy");
                std::fs::copy(&file, &copy).unwrap();
                std::fs::rename(&copy, &file).unwrap();
            }
        }
        let stranger = std::fs::read(&file).ok();
        // So many that the file is to be closed.
        write(&run, 1..20);
        let told = wait_for(&run, |told| told.contains("was removed, or another file put in its place"));
        assert!(told.contains("audit.jsonl.kept") && told.contains("cp /proc/"), "{told}");
        let error = end(run).unwrap_err();
        let (report, kept) = (error.report(), log.folder.path("audit.jsonl.kept"));
        let command = format!("mv {} {}", kept.display(), file.display());
        assert!(error.kind().exit_code() == 3 && report.contains(&command), "{report}");
        assert!(report.contains("what this run wrote is not in the file of that name"), "{report}");
        assert_eq!((log.closed(), std::fs::read(&file).ok()), (Vec::new(), stranger), "what is not the run's stays");
        // What it says is what to do.
        std::fs::rename(&kept, &file).unwrap();
        assert_eq!(log.verify().unwrap().parts, 20);
        log.run(1);
        assert_eq!(log.verify().unwrap().parts, 21);
    }
}

#[test]
fn what_was_kept_of_one_log_is_not_replaced_by_the_next() {
    let folder = Folder::new();
    for name in ["audit.jsonl.kept", "audit.jsonl.kept-2"] {
        let log = folder.open().unwrap();
        write(&log, 0..2);
        std::fs::remove_file(folder.file()).unwrap();
        assert!(end(log).unwrap_err().report().contains(name));
        assert_eq!(verify(&folder.path(name), &Trust::default()).unwrap().parts, 2);
    }
}

#[test]
fn a_log_that_is_moved_and_put_back_under_a_running_line_is_whole() {
    let folder = Folder::new();
    let (file, aside) = (folder.file(), folder.path("aside"));
    for is_put_back in [true, false] {
        let log = folder.open().unwrap();
        std::fs::rename(&file, &aside).unwrap();
        write(&log, 0..1);
        let told = wait_for(&log, |told| told.contains("which was moved to"));
        assert!(told.contains(&aside.display().to_string()) && told.contains("give that file its name back"), "{told}");
        if is_put_back {
            std::fs::rename(&aside, &file).unwrap();
            write(&log, 1..2);
            wait_for(&log, str::is_empty);
            end(log).unwrap();
        } else {
            let error = end(log).unwrap_err();
            assert!(error.kind().exit_code() == 3 && error.report().contains("aside"), "{}", error.report());
            std::fs::rename(&aside, &file).unwrap();
        }
    }
    let verified = verify(&file, &Trust::default()).unwrap();
    assert_eq!((verified.parts, verified.runs, verified.warnings), (3, 2, Vec::new()));
}

#[test]
fn behind_the_last_number_nothing_is_closed_and_whoever_gave_it_to_a_file_is_told() {
    let log = Rotated::new(4_000);
    log.run(20);
    let closed = log.closed();
    let (own, last) = (closed.last().unwrap(), log.folder.path("audit.999999999999999999.jsonl.gz"));
    std::fs::rename(own, &last).unwrap();
    let name = format!("audit.{:06}.jsonl", closed.len());
    let told = format!("audit.999999999999999999.jsonl.gz was closed as {name}: give it that name back");
    let warnings = log.verify().unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains(&told)), "{warnings:?}");
    assert!(readiness(&log.config).unwrap().missing.is_some_and(|missing| missing.contains(&told)));
    let run = AuditLog::open(&log.config, &run_start()).unwrap();
    write(&run, 0..20);
    let fault = wait_for(&run, |told| told.contains("has the last number that there is"));
    assert!(fault.contains(&format!("give it back the name under which it was closed ({name})")), "{fault}");
    assert_eq!(log.closed().last(), Some(&last), "the file grows on");
    assert_eq!(log.verify().unwrap().parts, 40);
    // Done, and the line goes on with it.
    std::fs::rename(&last, own).unwrap();
    wait_for(&run, str::is_empty);
    end(run).unwrap();
    log.wait_for_compression();
    let verified = log.verify().unwrap();
    assert!(verified.parts == 40 && verified.warnings.is_empty(), "{:?}", verified.warnings);
    assert_eq!(log.closed()[closed.len()], log.folder.path(&format!("audit.{:06}.jsonl.gz", closed.len() + 1)));
}

#[test]
fn files_that_were_carried_away_are_counted_on_from() {
    let log = Rotated::new(4_000);
    log.run(20);
    let carried = log.closed();
    carried.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    log.run(20);
    let next = log.folder.path(&format!("audit.{:06}.jsonl.gz", carried.len() + 1));
    assert_eq!(log.closed()[0], next, "an archive has those of the same numbers already");
}

#[test]
fn a_log_behind_a_link_stays_where_the_link_leads_to() {
    let log = Rotated::new(4_000);
    let (link, data) = (log.folder.file(), log.folder.path("data"));
    std::fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink("data/audit.jsonl", &link).unwrap();
    log.run(20);
    log.run(20);
    assert!(link.is_symlink() && is_plain(&data.join("audit.jsonl")));
    let closed = log.closed();
    assert!(closed.len() > 2 && closed.iter().all(|file| file.parent() == Some(&data)), "{closed:?}");
    // By the link and by its own name it is the same.
    let verified = log.verify().unwrap();
    assert!(verified.parts == 40 && verified.absent == 0 && verified.warnings.is_empty(), "{:?}", verified.warnings);
    assert_eq!(verify(&data.join("audit.jsonl"), &Trust::default()).unwrap().parts, 40);
    assert_eq!(readiness(&log.config).unwrap().lines, verified.lines);
}

#[test]
fn what_was_kept_of_a_removed_log_is_named_before_another_begins() {
    let log = Rotated::new(1_000_000);
    log.run(3);
    let (file, kept) = (log.config.file.clone(), log.folder.path("audit.jsonl.kept"));
    // Where no copy of a checkpoint forbids another log.
    let missing = || read::missing_told(&file).unwrap();
    assert_eq!(missing(), None);
    std::fs::rename(&file, &kept).unwrap();
    let advice = format!("mv {} {}", kept.display(), file.display());
    assert!(missing().is_some_and(|told| told.contains(&advice)));
    std::fs::rename(&kept, &file).unwrap();
    assert_eq!(missing(), None);
}
