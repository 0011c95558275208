//! What lies in the place of a closed file and is none, and closed files under names that no run gives them.

use std::path::Path;

use super::rotated::Rotated;
use super::*;
use crate::audit::read;

/// Puts something that is no regular file there.
fn put(kind: &str, path: &Path) {
    match kind {
        "a pipe" => assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success()),
        "a folder" => std::fs::create_dir(path).unwrap(),
        "a socket" => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        "a device" => std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
        _ => std::os::unix::fs::symlink(path, path).unwrap(),
    }
}

#[test]
fn what_is_no_file_in_a_closed_file_s_place_is_named_with_how_to_get_the_file_back() {
    let log = Rotated::new(4_000);
    log.run(40);
    let closed = log.closed();
    assert!(closed.len() > 2, "{closed:?}");
    let spare = log.folder.path("spare");
    let plain = closed[1].with_extension("");
    std::fs::rename(&closed[1], &spare).unwrap();
    for kind in ["a pipe", "a folder", "a socket", "a device", "a link that leads nowhere"] {
        for place in [&closed[1], &plain] {
            put(kind, place);
            let error = log.verify().unwrap_err();
            let (report, code) = (error.report(), error.kind().exit_code());
            let says = [
                &format!("{} bears the name of a closed file of the log", place.display()),
                &format!("because: it is {kind}"),
                "move it away; put the closed file back under that name",
            ];
            assert!(code == 3 && says.iter().all(|says| report.contains(*says)), "{kind}: {report}");
            // With the compressed file beside it nothing is to be fetched.
            if place == &plain {
                std::fs::rename(&spare, &closed[1]).unwrap();
                let report = log.verify().unwrap_err().report();
                let says = format!("move it away; {} beside it is of the same number", closed[1].display());
                assert!(report.contains(&says) && !report.contains("holds something else"), "{kind}: {report}");
                std::fs::rename(&closed[1], &spare).unwrap();
            }
            if kind == "a folder" { std::fs::remove_dir(place) } else { std::fs::remove_file(place) }.unwrap();
        }
    }
    std::fs::rename(&spare, &closed[1]).unwrap();
    log.verify().unwrap();
    // Behind the last file that holds something of the log it may be anybody's, and records are missing.
    let last = closed.last().unwrap();
    std::fs::remove_file(last).unwrap();
    put("a pipe", last);
    let error = log.verify().unwrap_err();
    let says = format!("{} bears a name of this log and is no part of it: move it away", last.display());
    assert!(error.kind().exit_code() == 1 && error.report().contains(&says), "{}", error.report());
}

#[test]
fn what_looks_like_a_closed_file_and_is_not_read_is_named_with_what_to_do() {
    let log = Rotated::new(4_000);
    log.run(40);
    let closed = log.closed();
    assert!(closed.len() > 2 && log.verify().unwrap().warnings.is_empty(), "{closed:?}");
    let at = |name: &str| log.folder.path(name);
    // Of a number that is here, and of one that no file has; what runs and their advice keep for a while is told by nobody.
    for (name, says) in [
        ("audit.00001.jsonl", "audit.000001.jsonl.gz has its number; move it away"),
        ("audit.0000002.jsonl.zst", "audit.000002.jsonl.gz has its number; move it away"),
        ("audit.000099.jsonl.xz", "audit.000099.jsonl (gzip alone is read)"),
        ("audit.99.jsonl", "rename it to "),
        ("audit.1000000000000000000.jsonl", "no file of a log has such a number; move it away"),
    ] {
        std::fs::write(at(name), "").unwrap();
        let verified = log.verify().unwrap();
        let [told] = verified.warnings.as_slice() else { panic!("{name}: {:?}", verified.warnings) };
        let looks = format!("{} looks like a closed file of this log and is not read", at(name).display());
        assert!(told.starts_with(&looks) && told.contains(says), "{name}: {told}");
        assert_eq!(readiness(&log.config).unwrap().missing.as_ref(), Some(told), "{name}");
        std::fs::remove_file(at(name)).unwrap();
    }
    for name in ["audit.00001.jsonl.partial", "audit.000001.jsonl.gz.changed", "audit.one.jsonl", "other.00001.jsonl"] {
        std::fs::write(at(name), "").unwrap();
        assert!(log.verify().unwrap().warnings.is_empty(), "{name}");
        assert_eq!(readiness(&log.config).unwrap().missing, None, "{name}");
    }
    // The first file, and one between others, under such a name: what is done as told brings them back.
    for (file, wrong) in [(&closed[0], "audit.01.jsonl.gz"), (&closed[1], "audit.0000002.jsonl.gz")] {
        std::fs::rename(file, at(wrong)).unwrap();
        let told = match log.verify() {
            Ok(verified) => verified.warnings.join("\n"),
            Err(error) => error.report(),
        };
        let says = format!(
            "{} looks like a closed file of this log and is not read: if it is one, rename it to {}",
            at(wrong).display(),
            file.display()
        );
        assert!(told.contains(&says) && told.contains("records "), "{told}");
        // Also where something else is in its place by now.
        put("a pipe", &file.with_extension(""));
        let report = log.verify().unwrap_err().report();
        assert!(report.contains(&says) && report.contains("it is a pipe"), "{report}");
        std::fs::remove_file(file.with_extension("")).unwrap();
        std::fs::rename(at(wrong), file).unwrap();
        assert!(log.verify().unwrap().warnings.is_empty());
    }
}

#[test]
fn another_line_s_log_is_no_misnamed_file_of_this_one_and_a_misnamed_file_of_this_one_is() {
    let log = Rotated::new(4_000);
    let beside = log.folder.path("audit.2.jsonl");
    let own = AuditConfig { file: beside.clone(), signing: None, ..log.config.clone() };
    let told = || readiness(&log.config).unwrap().missing;
    let run = |parts: u64| {
        let run = AuditLog::open(&own, &run_start()).unwrap();
        (0..parts).for_each(|number| run.write(part(number)).unwrap());
        run.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
        assert_eq!(told(), None, "while it is held");
        run.close().unwrap();
    };
    // Nobody has begun this log yet: the other one is none of it.
    run(1);
    assert_eq!(told(), None);
    log.run(20);
    let closed = log.closed();
    assert_eq!((log.verify().unwrap().warnings, told()), (Vec::new(), None));
    // The other one goes on in a second file, which says whose it is.
    run(20);
    assert!(std::fs::read_to_string(&beside).unwrap().contains("\"kind\":\"continued\""));
    assert_eq!((log.verify().unwrap().warnings, told()), (Vec::new(), None));
    // The same name for a file of this log, the first or a later one, and for what nobody knows any more.
    let unpacked = |file: &Path| {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut read::open(file).unwrap(), &mut text).unwrap();
        text
    };
    let changed = String::from_utf8(unpacked(&beside)).unwrap().replacen("continued", "contained", 1);
    for text in [unpacked(&closed[0]), unpacked(&closed[1]), changed.into(), Vec::new()] {
        std::fs::write(&beside, text).unwrap();
        let says = format!("{} looks like a closed file of this log and is not read", beside.display());
        assert!(told().is_some_and(|told| told.starts_with(&says)), "{:?}", told());
    }
    // One that is about to begin there holds the file before anything is in it.
    let file = std::fs::File::options().append(true).open(&beside).unwrap();
    file.try_lock().unwrap();
    assert_eq!(told(), None);
    drop(file);
    assert!(told().is_some());
}

#[test]
fn a_newest_closed_file_that_is_missing_is_told_of_and_no_other_is_given_its_name() {
    let log = Rotated::new(4_000);
    log.run(40);
    let closed = log.closed();
    assert!(closed.len() > 2, "{closed:?}");
    let (before, last) = (&closed[closed.len() - 2], closed.last().unwrap());
    std::fs::remove_file(last).unwrap();
    let told = readiness(&log.config).unwrap().missing.unwrap();
    let is_not_here = format!("the file audit.{:06}.jsonl, between ", closed.len());
    assert!(told.contains(&is_not_here) && !told.contains("give it that name back"), "{told}");
    assert!(log.verify().unwrap_err().report().contains("missing"));
    // One that bears its number is told to be another's.
    std::fs::rename(before, last).unwrap();
    assert!(log.verify().is_err());
}

/// The first line of each file says behind which it was begun: so the copy is known, whatever its number.
#[test]
fn of_a_file_and_its_copy_under_a_lower_number_the_copy_is_the_stranger() {
    let log = Rotated::new(4_000);
    log.run(40);
    let closed = log.closed();
    closed[..2].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    std::fs::copy(&closed[2], &closed[0]).unwrap();
    let verified = log.verify().unwrap();
    let [copy, own] = [&closed[0], &closed[2]].map(|path| path.display());
    let says =
        format!("{copy} (a copy of {own}, whose records it repeats) bears a name of this log and is no part of it");
    assert!(verified.warnings.iter().any(|told| told.starts_with(&says)), "{:?}", verified.warnings);
    std::fs::remove_file(&closed[0]).unwrap();
    assert_eq!(log.verify().unwrap().warnings, verified.warnings[..1], "the files that were taken are told of still");
}
