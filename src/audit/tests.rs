use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use image::{Rgb, RgbImage};

use super::chain::Link;
use super::tree::Tree;
use super::*;
use crate::Error;
use crate::approval::Approval;
use crate::camera::Frame;
use crate::config::{AuditConfig, PicturesConfig, SyncPolicy};
use crate::digest::Digest;
use crate::line::{Counters, Evidence, Fate, Judgement, Latency, PartId, PartRecord, Verdict};
use crate::time::{Monotonic, StampSource};

pub(super) fn run_start() -> RunStart {
    let calibrations = BTreeMap::from([("washer".to_owned(), Digest::of("calibration"))]);
    RunStart {
        line: "line 3".into(),
        dry_run: false,
        config: None,
        camera: "folder parts".into(),
        output: "none".into(),
        bundle: Digest::of("bundle"),
        approvals: Vec::new(),
        drift: Default::default(),
        calibrations,
    }
}

/// A small picture that no other number has.
pub(super) fn frame(number: u64) -> Frame {
    let image = RgbImage::from_fn(20, 10, |x, y| Rgb([x as u8, y as u8, number as u8]));
    let (captured, stamp, origin) = (Monotonic::now(), StampSource::Received, "camera".into());
    Frame { number, captured, stamp, origin, product: None, image, original: None }
}

/// A part whose fate is settled.
pub(super) fn settled(number: u64) -> PartRecord {
    let captured = Monotonic::now();
    let evidence = Evidence { levels: vec![1.5, 2.0], place: Some((0.25, 0.33333)) };
    PartRecord {
        part: PartId(number),
        lane: None,
        ticket: None,
        frame: Some(number),
        seen: None,
        origin: "a \"quoted\" name\n".into(),
        class: "washer".into(),
        captured,
        stamp: StampSource::EndOfFrame,
        planned: Monotonic::from_nanos(captured.as_nanos() + 1_000),
        judgement: Some(Judgement {
            score: f32::NAN,
            threshold: 1.5,
            rejects: true,
            calibration: Digest::zero(),
            evidence,
        }),
        picture_fault: None,
        latency: Some(Latency::default()),
        views: Vec::new(),
        verdict: Verdict::Reject,
        slack_ms: 1.23456,
        fired: Some(Monotonic::from_nanos(captured.as_nanos() + 1_100)),
        confirmed: None,
        challenge: false,
        fate: Fate::Rejected,
    }
}

fn part(number: u64) -> Body {
    Body::part(&settled(number), PartContext { bundle: Digest::zero(), dry_run: false }, None, |_| None)
}

/// Where records begin, and before which they end, that nobody signed in time.
fn spans(verified: &Verified) -> Vec<(u64, u64)> {
    ends(&verified.unsigned)
}

/// Where these ranges begin, and before which records they end.
fn ends(ranges: &[std::ops::Range<u64>]) -> Vec<(u64, u64)> {
    ranges.iter().map(|records| (records.start, records.end)).collect()
}

mod disks;
mod edited;
mod exchanged;
mod misplaced;
mod retained;
mod rotated;
mod signed;

pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.path().join("audit.jsonl")
    }

    fn open(&self) -> crate::Result<AuditLog> {
        let config = AuditConfig::in_file(self.file());
        AuditLog::open(&config, &run_start())
    }

    /// A run of `parts` parts that ends in good order.
    fn run(&self, parts: u64) {
        let log = self.open().unwrap();
        (0..parts).for_each(|number| log.write(part(number)).unwrap());
        log.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
        log.close().unwrap();
    }

    pub(super) fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(self.file()).unwrap().lines().map(str::to_owned).collect()
    }

    fn replace(&self, lines: &[String]) {
        std::fs::write(self.file(), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
}

#[test]
fn a_chain_goes_on_over_runs_and_verifies() {
    let folder = Folder::new();
    folder.run(3);
    folder.run(2);
    let verified = verify(&folder.file(), &Trust::default()).unwrap();
    assert_eq!((verified.lines, verified.parts, verified.runs), (9, 5, 2));
    assert!(verified.warnings.is_empty(), "{:?}", verified.warnings);
    let lines = folder.lines();
    assert!(lines[0].starts_with(&format!(r#"{{"seq":0,"prev":"{}","kind":"start","#, Digest::zero())), "{}", lines[0]);
    let record: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(record["origin"], "a \"quoted\" name\n");
    assert_eq!(record["slack_ms"], 1.235);
    assert!(record["score"].is_null(), "JSON has no NaN");
    let keys = record.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(
        keys,
        [
            "seq",
            "prev",
            "kind",
            "time",
            "monotonic_ns",
            "synchronised",
            "stamp",
            "part",
            "frame",
            "pixels_sha256",
            "origin",
            "class",
            "score",
            "threshold",
            "levels",
            "place",
            "verdict",
            "reason",
            "detail",
            "fate",
            "fate_reason",
            "planned_ns",
            "fired_ns",
            "slack_ms",
            "latency_ms",
            "bundle",
            "calibration",
            "picture",
            "hash"
        ],
        "the fields and their order are the format"
    );
}

#[test]
fn a_change_that_somebody_answers_for_has_name_and_reason() {
    let folder = Folder::new();
    folder.run(1);
    let mut run = run_start();
    run.calibrations.insert("nut".into(), Digest::of("new"));
    let signed = |sha256| Approval {
        unproven: None,
        sha256,
        by: "A. Smith".into(),
        reason: "new lamp".into(),
        lanes: Vec::new(),
        time: "2026-11-24T15:04:05Z".into(),
        key: "quality".into(),
    };
    run.approvals = vec![signed(run.bundle), signed(Digest::of("new"))];
    AuditLog::open(&AuditConfig::in_file(folder.file()), &run).unwrap().close().unwrap();
    let lines = folder.lines();
    let changed = lines.iter().find(|line| line.contains("\"kind\":\"changed\"")).unwrap();
    assert!(
        changed.contains("\"what\":\"calibration of nut\"")
            && changed.contains(
                "\"by\":\"A. Smith\",\"reason\":\"new lamp\",\"approved\":\"2026-11-24T15:04:05Z\",\"approval_key\":\"quality\""
            ),
        "{changed}"
    );
    assert!(!lines.iter().any(|line| line.contains("unnamed-change")));
    // The model is the same, and was approved of for the first time; then a calibration is again, at another time.
    let changes = || {
        let lines = folder.lines();
        let records = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let changed = records.filter(|record| record["kind"] == "changed");
        changed
            .map(|record| ["what", "from", "to"].map(|field| record[field].as_str().unwrap_or("-").to_owned()))
            .collect::<Vec<_>>()
    };
    let told = "A. Smith, 2026-11-24T15:04:05Z: new lamp (key quality)";
    assert_eq!(changes()[1], ["approval of model", "-", told]);
    assert_eq!(changes().len(), 2);
    run.approvals[1].time = "2026-11-25T15:04:05Z".into();
    AuditLog::open(&AuditConfig::in_file(folder.file()), &run).unwrap().close().unwrap();
    let again = told.replace("-24T", "-25T");
    assert_eq!(changes()[2..], [["approval of calibration of nut", told, again.as_str()]]);
}

#[test]
fn of_two_lanes_with_the_same_calibration_each_has_its_own_approval() {
    let folder = Folder::new();
    let same = Digest::of("the same in both files");
    let signed = |by: &str, lanes: &[&str]| Approval {
        unproven: None,
        sha256: same,
        by: by.into(),
        reason: "new lamp".into(),
        lanes: lanes.iter().map(|lane| (*lane).to_owned()).collect(),
        time: "2026-11-24T15:04:05Z".into(),
        key: "quality".into(),
    };
    let start = |approvals: Vec<Approval>| {
        let names = ["red", "red in lane left", "red in lane right"];
        let calibrations = names.map(|name| (name.to_owned(), same)).into();
        let run = RunStart { calibrations, approvals, ..run_start() };
        AuditLog::open(&AuditConfig::in_file(folder.file()), &run).unwrap().close().unwrap();
    };
    folder.run(1);
    start(vec![signed("A. Smith", &["left"]), signed("B. Jones", &["right"]), signed("C. Brown", &[])]);
    let changes = || {
        let lines = folder.lines();
        let records = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let changed = records.filter(|record| record["kind"] == "changed");
        let told =
            changed.map(|record| ["what", "by", "to"].map(|field| record[field].as_str().unwrap_or("-").to_owned()));
        told.collect::<Vec<_>>()
    };
    let by = |what: &str| changes().iter().find(|[of, ..]| of == what).unwrap()[1].clone();
    assert_eq!(by("calibration of red in lane left"), "A. Smith");
    assert_eq!(by("calibration of red in lane right"), "B. Jones");
    assert_eq!(by("calibration of red"), "C. Brown");
    let before = changes().len();
    start(vec![signed("A. Smith", &["left"]), signed("D. White", &["right"]), signed("C. Brown", &[])]);
    let again = changes().split_off(before);
    assert!(again.len() == 1 && again[0][0] == "approval of calibration of red in lane right", "{again:?}");
    assert!(again[0][2].starts_with("D. White"), "{again:?}");
}

#[test]
fn every_start_says_that_the_test_for_drift_begins_anew() {
    let folder = Folder::new();
    let run = RunStart { drift: [("nut".to_owned(), 95)].into(), ..run_start() };
    (0..2).for_each(|_| AuditLog::open(&AuditConfig::in_file(folder.file()), &run).unwrap().close().unwrap());
    let lines = folder.lines();
    let begun = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let begun = begun.filter(|record| record["kind"] == "drift-begun").collect::<Vec<_>>();
    let said =
        begun.iter().map(|record| (&record["class"], &record["parts"], &record["restarted"])).collect::<Vec<_>>();
    assert_eq!(said, [(&"nut".into(), &95.into(), &false.into()), (&"nut".into(), &95.into(), &true.into())]);
    assert!(begun[0]["why"].is_null() && begun[1]["why"].as_str().unwrap().contains("does not count any more"));
}

#[test]
fn what_decides_otherwise_than_in_the_run_before_is_written_down() {
    let folder = Folder::new();
    folder.run(1);
    let mut run = run_start();
    run.config = Some(Digest::of("edited"));
    run.calibrations.insert("nut".into(), Digest::of("new"));
    AuditLog::open(&AuditConfig::in_file(folder.file()), &run).unwrap().close().unwrap();
    folder.run(1);
    let lines = folder.lines();
    let records = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect::<Vec<_>>();
    let changed = records.iter().filter(|record| record["kind"] == "changed").collect::<Vec<_>>();
    let what = changed.iter().map(|record| record["what"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(what, ["configuration", "calibration of nut", "configuration", "calibration of nut"]);
    assert_eq!((&changed[1]["from"], &changed[3]["to"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert_eq!(changed[0]["to"], Digest::of("edited").to_string());
    // Nobody asked for names: what decides from now on was changed without one. What is gone decides nothing.
    let unnamed = records.iter().filter(|record| record["kind"] == "unnamed-change").collect::<Vec<_>>();
    assert_eq!(unnamed.iter().map(|record| &record["what"]).collect::<Vec<_>>(), ["calibration of nut"]);
    assert!(unnamed[0]["to"] == changed[1]["to"] && unnamed[0]["why"].as_str().unwrap().contains("approved_by"));
    let own = records[0]["program_sha256"].as_str().unwrap();
    assert_eq!(own, Digest::of(std::fs::read("/proc/self/exe").unwrap()).to_string());
}

#[test]
fn a_number_at_the_end_of_all_numbers_is_told_as_no_line_of_an_audit() {
    let folder = Folder::new();
    folder.run(3);
    let lines = folder.lines();
    let prev = lines[1].rsplit('"').nth(1).unwrap().to_owned();
    let told = |number: u64| {
        let content = format!("{{\"seq\":{number},\"prev\":\"{prev}\",\"kind\":\"note\",\"time\":\"\",\"text\":\"x\"");
        let mut edited = lines.clone();
        edited[2] = format!("{content},\"hash\":\"{}\"}}", Digest::of(&content));
        folder.replace(&edited);
        assert_eq!(folder.open().expect_err("a broken chain is refused").kind().exit_code(), 3);
        verify(&folder.file(), &Trust::default()).expect_err("a broken chain").report()
    };
    for number in [u64::MAX, 1 << 63] {
        let told = told(number);
        assert!(told.contains(&format!("is not an audit line: no log has {number} records before one")), "{told}");
    }
    let last = i64::MAX as u64;
    let told = told(last);
    assert!(told.contains(&format!("records 2 to {} are missing before record {last}", last - 1)), "{told}");
}

#[test]
fn more_lost_records_than_numbers_go_are_as_many_as_they_go() {
    let folder = Folder::new();
    folder.run(3);
    let mut lines = folder.lines();
    for records in [u64::MAX, 1] {
        let last: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
        let (seq, prev, time) = (lines.len(), &last["hash"], &last["time"]);
        let content =
            format!("{{\"seq\":{seq},\"prev\":{prev},\"kind\":\"lost\",\"time\":{time},\"records\":{records}");
        lines.push(format!("{content},\"hash\":\"{}\"}}", Digest::of(&content)));
    }
    folder.replace(&lines);
    assert_eq!(verify(&folder.file(), &Trust::default()).unwrap().lost, u64::MAX);
}

#[test]
fn every_change_is_found_and_named() {
    let folder = Folder::new();
    folder.run(5);
    let lines = folder.lines();
    type Edit = fn(&mut Vec<String>);
    let cases: [(Edit, &str); 10] = [
        (|l| l[2] = l[2].replace("\"reject\"", "\"pass\""), "record 2 (line 3 of audit.jsonl) was changed"),
        (|l| drop(l.remove(2)), "record 2 is missing before record 3 (line 3 of audit.jsonl)"),
        (|l| drop(l.drain(2..4)), "records 2 to 3 are missing before record 4 (line 3 of audit.jsonl)"),
        (|l| drop(l.remove(0)), "record 1 (line 1 of audit.jsonl, of kind part) begins no file, and the lines before"),
        (|l| l[0] = l[2].clone(), "of kind part) was put in the place of the file's first line: record 0, or one"),
        (|l| l.swap(2, 4), "record 2 must be on line 3 of audit.jsonl, and is on line 5"),
        (|l| l.insert(3, l[2].clone()), "record 2 (line 4 of audit.jsonl) is out of order: record 3 must come here"),
        (|l| l[3] = "{}".into(), "record 3 (line 4 of audit.jsonl) is not an audit line: it is too short"),
        (|l| l[3] = "x".repeat(100), "(line 4 of audit.jsonl) is not an audit line: it does not end with a hash"),
        (
            |l| {
                let mut forged = Link::START;
                (0..3).for_each(|_| drop(forged.seal("{}")));
                l[3] = forged.seal(r#"{"kind":"note","time":"","text":"forged"}"#).trim_end().to_owned();
            },
            "record 3 (line 4 of audit.jsonl) does not follow record 2: one of them was replaced",
        ),
    ];
    for (edit, says) in cases {
        let mut edited = lines.clone();
        edit(&mut edited);
        folder.replace(&edited);
        let error = verify(&folder.file(), &Trust::default()).expect_err(says);
        assert_eq!(error.kind().exit_code(), 1);
        let told = error.report().replace(&folder.file().display().to_string(), "audit.jsonl");
        assert!(told.contains(says), "{says}\n  is not\n{told}");
        assert!(told.contains("\n  try: "), "what is to be done: {told}");
        assert_eq!(folder.open().expect_err("a broken chain is refused").kind().exit_code(), 3);
    }
}

#[test]
fn a_removed_tail_is_a_warning_and_a_torn_one_is_repaired() {
    let folder = Folder::new();
    folder.run(5);
    let lines = folder.lines();
    folder.replace(&lines[..4]);
    let verified = verify(&folder.file(), &Trust::default()).unwrap();
    assert!(verified.lines == 4 && verified.endless);
    let began = format!("began with record 0 (line 1 of {}) has no stop record", folder.file().display());
    assert!(verified.warnings[0].contains(&began), "{:?}", verified.warnings);

    let mut file = std::fs::OpenOptions::new().append(true).open(folder.file()).unwrap();
    file.write_all(&lines[4].as_bytes()[..40]).unwrap();
    let error = verify(&folder.file(), &Trust::default()).expect_err("torn");
    assert!(
        error.to_string().starts_with("record 4 (line 5 of ") && error.to_string().contains(" is cut off"),
        "{error}"
    );
    let found = readiness(&AuditConfig::in_file(folder.file())).unwrap();
    assert_eq!(found.lines, 4);
    let mends = found.unfinished.unwrap();
    assert!(mends.contains("unfinished: the next run cuts its 40 bytes off"), "{mends}");

    folder.run(1);
    assert_eq!(readiness(&AuditConfig::in_file(folder.file())).unwrap().unfinished, None);
    let verified = verify(&folder.file(), &Trust::default()).unwrap();
    assert_eq!((verified.lines, verified.runs), (9, 2));
    assert!(verified.endless, "the first run has no end, though the second one has");
    let repaired: serde_json::Value = serde_json::from_str(&folder.lines()[4]).unwrap();
    assert_eq!((&repaired["kind"], &repaired["cut_bytes"]), (&"repaired".into(), &40.into()));
    assert_eq!(repaired["cut_sha256"], Digest::of(&lines[4].as_bytes()[..40]).to_string());
    let interrupted: serde_json::Value = serde_json::from_str(&folder.lines()[6]).unwrap();
    assert_eq!((&interrupted["kind"], &interrupted["from_line"]), (&"interrupted".into(), &1.into()));
    let last: serde_json::Value = serde_json::from_str(&lines[3]).unwrap();
    assert_eq!(interrupted["last"], last["time"], "the last record before");
}

#[test]
fn a_file_of_one_line_without_a_line_feed_is_cut_off_only_where_it_begins_as_a_record_does() {
    let folder = Folder::new();
    folder.run(1);
    let record = folder.lines()[0][..30].to_owned();
    let texts = [
        ("secret-token-abc", false),
        ("{\"a\":1}", false),
        ("x", false),
        (&record, true),
        ("{\"se", true),
        ("\0\0", true),
    ];
    for (text, is_torn) in texts {
        std::fs::write(folder.file(), text).unwrap();
        let looked = readiness(&AuditConfig::in_file(folder.file()));
        if is_torn {
            assert!(looked.unwrap().unfinished.is_some(), "{text}");
            folder.run(1);
            assert!(folder.lines()[0].contains("\"kind\":\"repaired\""), "{text}");
            continue;
        }
        for refused in [looked.expect_err(text), folder.open().expect_err(text)] {
            let report = refused.report();
            assert!(refused.kind().exit_code() == 2 && report.contains("move that one away"), "{text}: {report}");
        }
        let error = verify(&folder.file(), &Trust::default()).expect_err(text);
        assert!(error.kind().exit_code() == 1 && error.to_string().contains("not one of an audit"), "{text}: {error}");
        assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), text, "it is left as it is");
    }
}

#[test]
fn harmless_causes_of_a_broken_file_are_named_where_they_are_certain() {
    let folder = Folder::new();
    folder.run(5);
    let whole = std::fs::read_to_string(folder.file()).unwrap();
    let crlf = whole.replace('\n', "\r\n");
    let utf16 = |text: &str, order: fn(u16) -> [u8; 2]| {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(order).collect::<Vec<_>>()
    };
    let bytes = |text: &str| text.as_bytes().to_vec();
    for (changed, says) in [
        (bytes(&crlf), "line ends that were changed to CRLF, as"),
        (bytes(&format!("\u{feff}{crlf}")), "a byte order mark that was put before the text, and line ends"),
        (bytes(&format!("\u{feff}{whole}")), "a byte order mark that was put before the text, as"),
        (utf16(&crlf, u16::to_le_bytes), "encoded anew (UTF-16), and line ends"),
        (utf16(&whole, u16::to_be_bytes), "encoded anew (UTF-16), as"),
        (bytes(whole.trim_end()), "a line feed at the end that is gone"),
        (bytes(&format!("{whole}\n")), "empty lines that were put in"),
    ] {
        std::fs::write(folder.file(), &changed).unwrap();
        let error = verify(&folder.file(), &Trust::default()).expect_err(says);
        let report = error.report();
        assert!(error.kind().exit_code() == 1 && report.contains(says), "{says}\n  is not\n{report}");
        assert!(report.contains("no record's content differs"), "{report}");
        let command = report.rsplit_once("as FILE.changed: ").unwrap().1;
        assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success());
        assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), whole, "{command}");
        assert_eq!(verify(&folder.file(), &Trust::default()).unwrap().warnings, Vec::<String>::new());
        std::fs::write(folder.file(), &changed).unwrap();
        match changed.ends_with(b"}") {
            false => assert!(folder.open().unwrap_err().report().contains(says), "a run refuses it, and says so too"),
            true => {
                folder.run(1);
                let now = std::fs::read_to_string(folder.file()).unwrap();
                assert!(now.starts_with(&whole), "nothing is cut off");
                assert!(verify(&folder.file(), &Trust::default()).unwrap().runs == 2 && now.contains("was put back"));
            }
        }
    }
    // Where a record differs too, nothing is made better.
    for edit in [crlf.replace("\"part\":2,", "\"part\":3,"), crlf.replacen("washer", "wash\u{2014}er", 1)] {
        for changed in [edit.clone(), edit.trim_end().to_owned()] {
            std::fs::write(folder.file(), changed).unwrap();
            let report = verify(&folder.file(), &Trust::default()).unwrap_err().report();
            assert!(!report.contains("looks like") && !report.contains("differs"), "{report}");
        }
    }
    let cut = &whole[..whole.len() - 3];
    std::fs::write(folder.file(), cut).unwrap();
    assert!(!verify(&folder.file(), &Trust::default()).unwrap_err().report().contains("looks like"));
}

#[test]
fn a_file_is_written_by_one_run_at_a_time() {
    let folder = Folder::new();
    let _first = folder.open().unwrap();
    let error = folder.open().expect_err("locked");
    assert!(error.to_string().contains("is being written"), "{error}");
}

#[test]
fn a_start_that_is_refused_leaves_no_log_behind_and_says_by_whom() {
    let (folder, other) = (Folder::new(), Folder::new());
    let pictures = Some(PicturesConfig::in_folder(folder.path("pictures")));
    let config = |file: PathBuf| AuditConfig { pictures: pictures.clone(), ..AuditConfig::in_file(file) };
    AuditLog::open(&config(folder.file()), &run_start()).unwrap().close().unwrap();
    let error = AuditLog::open(&config(other.file()), &run_start()).unwrap_err();
    assert_eq!(error.key(), Some("audit.pictures"), "{}", error.report());
    assert!(!other.file().exists());
    // Nor where a link names one that is not there yet, which is followed.
    let link = other.path("link.jsonl");
    std::os::unix::fs::symlink(other.path("elsewhere.jsonl"), &link).unwrap();
    assert!(AuditLog::open(&config(link.clone()), &run_start()).is_err() && !other.path("elsewhere.jsonl").exists());
    AuditLog::open(&AuditConfig::in_file(link), &run_start()).unwrap().close().unwrap();
    assert_eq!(verify(&other.path("elsewhere.jsonl"), &Trust::default()).unwrap().runs, 1);
    // What was there stays, though it be empty.
    std::fs::write(other.file(), "").unwrap();
    assert!(AuditLog::open(&config(other.file()), &run_start()).is_err() && other.file().exists());
}

#[test]
fn a_disk_that_is_full_at_the_start_is_a_device_error() {
    let config = AuditConfig::in_file("/dev/full".into());
    let error = AuditLog::open(&config, &run_start()).expect_err("full");
    assert_eq!(error.kind().exit_code(), 3);
    assert!(error.report().contains("No space left"), "{}", error.report());
}

#[test]
fn an_empty_or_absent_file_does_not_verify() {
    let folder = Folder::new();
    assert_eq!(verify(&folder.file(), &Trust::default()).unwrap_err().kind().exit_code(), 3);
    std::fs::write(folder.file(), "").unwrap();
    assert!(verify(&folder.file(), &Trust::default()).unwrap_err().to_string().contains("holds no record"));
}

#[test]
fn what_a_run_without_an_end_left_is_told_until_a_line_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = AuditConfig::in_file(folder.path().join("audit.jsonl"));
    let open = |dry_run: bool| AuditLog::open(&config, &RunStart { dry_run, ..run_start() }).unwrap();
    let stop = |log: AuditLog| {
        log.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
        log.close().unwrap();
    };
    drop(open(false));
    let failed = open(false);
    assert!(failed.interruption().is_some());
    failed.never_began(Error::device("no thread"));
    let dry = open(true);
    assert!(dry.interruption().is_some());
    stop(dry);
    let line = open(false);
    assert!(line.interruption().is_some());
    stop(line);
    assert_eq!(open(false).interruption(), None);
}
