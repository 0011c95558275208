use image::{Rgb, RgbImage};
use serde_json::Value;

use super::*;
use crate::audit::looks::Looks;
use crate::audit::tests::{Folder, run_start, settled};
use crate::audit::{AuditLog, Body, Entry, PartContext};
use crate::camera::{Frame, Original};
use crate::config::{AuditConfig, RotationConfig};
use crate::line::{Counters, Unknown};
use crate::time::Monotonic;

struct Bench {
    folder: Folder,
    log: AuditLog,
}

fn frame(number: u64, original: Option<&[u8]>) -> Arc<Frame> {
    let original = original.map(|bytes| Original { bytes: bytes.to_vec(), ending: "jpg".into() });
    Arc::new(Frame { original, ..crate::audit::tests::frame(number) })
}

impl Bench {
    fn new(change: impl FnOnce(&mut PicturesConfig)) -> Self {
        let folder = Folder::new();
        let mut pictures = PicturesConfig::in_folder(folder.path("pictures"));
        change(&mut pictures);
        let config = AuditConfig { pictures: Some(pictures), ..AuditConfig::in_file(folder.file()) };
        let log = AuditLog::open(&config, &run_start()).unwrap();
        Bench { folder, log }
    }

    fn part(&self, number: u64, verdict: Verdict, frame: Option<&Arc<Frame>>) {
        let mut record = settled(number);
        record.ticket = Some(Ticket(number));
        record.verdict = verdict;
        if let Some(frame) = frame {
            self.log.saw(Ticket(number), true, frame);
        }
        self.log.part(&record, PartContext { bundle: Digest::zero(), dry_run: false }).unwrap();
    }

    /// Ends the run; gives what is said of each part's picture, in the order of the records, and the last record.
    fn close(self) -> (Folder, Vec<(u64, Value)>, Value) {
        self.log.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
        self.log.close().unwrap();
        let records = self.folder.lines();
        let records = records.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
        let pictures = records.iter().filter(|record| record["kind"] == "part" || record["kind"] == "picture");
        let pictures = pictures.map(|record| (record["part"].as_u64().unwrap(), record["picture"].clone())).collect();
        (self.folder, pictures, records.last().unwrap().clone())
    }
}

#[test]
fn rejects_and_parts_without_verdict_keep_their_pictures_as_they_came() {
    let bench = Bench::new(|_| {});
    let jpeg: &[u8] = b"what the camera sent";
    let (raw, mjpg) = (frame(0, None), frame(1, Some(jpeg)));
    bench.part(0, Verdict::Reject, Some(&raw));
    bench.part(1, Verdict::Unknown(Unknown::Faulted("x".into())), Some(&mjpg));
    bench.part(2, Verdict::Pass, Some(&raw));
    bench.part(3, Verdict::Unknown(Unknown::Lost), None);
    let (folder, pictures, stop) = bench.close();
    assert_eq!(pictures.iter().map(|(part, _)| *part).collect::<Vec<_>>(), [0, 1, 2, 3], "in the order of their fates");
    let read =
        |picture: &Value| std::fs::read(folder.path("pictures").join(picture["file"].as_str().unwrap())).unwrap();
    let (first, second) = (&pictures[0].1, &pictures[1].1);
    let file = read(first);
    assert_eq!(first["sha256"], Digest::of(&file).to_string());
    assert_eq!(first["pixels_sha256"], Digest::of(raw.image.as_raw()).to_string());
    assert_eq!(image::load_from_memory(&file).unwrap().to_rgb8(), raw.image);
    assert!(first["file"].as_str().unwrap().ends_with("/00000000-reject.png"), "{first}");
    assert_eq!((read(second).as_slice(), &second["why"]), (jpeg, &"unknown".into()));
    assert!(pictures[2].1.is_null());
    assert_eq!(pictures[3].1["missing"], "there was none");
    assert_eq!(stop["pictures"], serde_json::json!({ "kept": 2, "missing": 1 }));
}

#[test]
fn parts_that_wait_for_a_digest_or_a_picture_when_a_run_panics_are_on_disk_and_none_twice() {
    let large = |number: u64| {
        let image = RgbImage::from_fn(3000, 2000, |x, y| Rgb([x as u8, y as u8, number as u8]));
        Arc::new(Frame { image, ..Frame::clone(&frame(number, None)) })
    };
    let frames = (0..4).map(large).collect::<Vec<_>>();
    for keeps_pictures in [true, false] {
        let folder = Folder::new();
        let pictures = keeps_pictures.then(|| PicturesConfig::in_folder(folder.path("pictures")));
        let config = AuditConfig { pictures, ..AuditConfig::in_file(folder.file()) };
        let run = || {
            let bench = Bench { folder: Folder::new(), log: AuditLog::open(&config, &run_start()).unwrap() };
            for (number, frame) in frames.iter().enumerate() {
                let verdict = if number % 2 == 0 { Verdict::Reject } else { Verdict::Pass };
                bench.part(number as u64, verdict, Some(frame));
            }
            panic!("a bug in the conductor");
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
        let records = folder.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
        let parts = records.iter().filter(|record| record["kind"] == "part").collect::<Vec<_>>();
        assert_eq!(parts.iter().map(|part| part["part"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(parts.iter().all(|part| part["pixels_sha256"].is_string()), "{parts:?}");
        assert_eq!(
            parts.iter().filter(|part| part["picture"]["file"].is_string()).count(),
            2 * usize::from(keeps_pictures)
        );
        assert!(records.iter().all(|record| record["kind"] != "stop"), "the next run asks what lay on the belt");
    }
}

#[test]
fn the_digest_of_a_kept_picture_s_pixels_is_computed_once() {
    let folder = Folder::new();
    let config = PicturesConfig::in_folder(folder.path("pictures"));
    std::fs::write(folder.file(), "").unwrap();
    let mut shelf = Shelf::open(&config, &folder.file(), First::New, "run").unwrap();
    let (known, looks) = (Seen::known((&frame(0, None)).into(), Digest::of("known")), Looks::start().unwrap());
    looks.saw(Ticket(0), &known);
    let mut record = settled(0);
    record.ticket = Some(Ticket(0));
    let settled = Settled::new(&record, PartContext { bundle: Digest::zero(), dry_run: false });
    looks.put([Line::Part(Box::new(settled), None)]);
    let written = serde_json::from_str::<Value>(&looks.flush()[0].0).unwrap();
    assert_eq!(written["pixels_sha256"], Digest::of("known").to_string());
    let kept = shelf.store(PartId(0), Why::Reject, &known).unwrap();
    assert_eq!(kept.pixels_sha256, Some(Digest::of("known")));
}

#[test]
fn a_share_of_the_passes_is_kept_and_anybody_can_tell_which() {
    let bench = Bench::new(|pictures| pictures.sample = 0.25);
    (0..80).for_each(|number| bench.part(number, Verdict::Pass, Some(&frame(number, None))));
    let run = bench.log.run_name().to_owned();
    let (folder, pictures, _) = bench.close();
    // Who has the log alone knows the share, too.
    let start: Entry = serde_json::from_str(&folder.lines()[0]).unwrap();
    assert_eq!((start.run.as_deref(), start.sample), (Some(run.as_str()), Some(0.25)));
    let kept = pictures.iter().filter(|(_, picture)| picture["why"] == "sample").map(|(part, _)| *part);
    let kept = kept.collect::<Vec<_>>();
    assert_eq!(kept, (0..80).filter(|part| is_sample(&run, PartId(*part), 0.25)).collect::<Vec<_>>());
    assert!(!is_sample(&run, PartId(0), 0.0) && is_sample(&run, PartId(0), 1.0));
    assert!(pictures.iter().all(|(_, picture)| picture.is_null() || picture["sampled"] == true));
    let of_many = (0..10_000).filter(|part| is_sample("20261124T162231.137055Z", PartId(*part), 0.01)).count();
    assert!((70..130).contains(&of_many), "{of_many}");
}

#[test]
fn a_file_that_goes_on_says_the_share_and_a_log_without_pictures_says_none() {
    let folder = Folder::new();
    let pictures = PicturesConfig { sample: 0.5, ..PicturesConfig::in_folder(folder.path("pictures")) };
    let rotation = RotationConfig { bytes: Some(1), daily: false };
    let config = AuditConfig { pictures: Some(pictures), rotation, ..AuditConfig::in_file(folder.file()) };
    for (pictures, share) in [(config.pictures.clone(), Some(0.5)), (None, None)] {
        let log = AuditLog::open(&AuditConfig { pictures, ..config.clone() }, &run_start()).unwrap();
        while log.on_disk() == 0 {
            log.write(Body::note(Monotonic::now(), "news")).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        log.close().unwrap();
        let first = folder.lines().remove(0);
        let continued: Entry = serde_json::from_str(&first).unwrap();
        assert_eq!((continued.kind.as_str(), continued.sample), ("continued", share), "{first}");
        assert_eq!(first.contains("sample"), share.is_some());
    }
}

#[test]
fn of_rejected_parts_too_it_is_said_whether_they_are_of_the_share() {
    let bench = Bench::new(|pictures| pictures.sample = 0.25);
    (0..80).for_each(|number| bench.part(number, Verdict::Reject, Some(&frame(number, None))));
    let run = bench.log.run_name().to_owned();
    let (_, pictures, _) = bench.close();
    for (part, picture) in &pictures {
        assert_eq!(
            (&picture["why"], picture["sampled"].as_bool()),
            (&"reject".into(), Some(is_sample(&run, PartId(*part), 0.25)))
        );
    }
    assert!(pictures.len() == 80 && pictures.iter().any(|(_, picture)| picture["sampled"] == true));
}

#[test]
fn pictures_around_an_alarm_are_kept() {
    let bench = Bench::new(|pictures| pictures.around = 2);
    (0..5).for_each(|number| bench.part(number, Verdict::Pass, Some(&frame(number, None))));
    bench.log.keep_around();
    (5..10).for_each(|number| bench.part(number, Verdict::Pass, Some(&frame(number, None))));
    let (folder, pictures, _) = bench.close();
    let mut kept = pictures.iter().filter(|(_, picture)| !picture.is_null()).collect::<Vec<_>>();
    kept.sort_by_key(|(part, _)| *part);
    assert_eq!(kept.iter().map(|(part, _)| *part).collect::<Vec<_>>(), [3, 4, 5, 6]);
    for (_, picture) in kept {
        assert_eq!(picture["why"], "around");
        assert!(folder.path("pictures").join(picture["file"].as_str().unwrap()).exists());
    }
}

#[test]
fn after_an_event_passed_parts_alone_count_whatever_comes_in_between() {
    let bench = Bench::new(|pictures| pictures.around = 2);
    bench.log.keep_around();
    let part = |number: u64, verdict| bench.part(number, verdict, Some(&frame(number, None)));
    part(0, Verdict::Reject);
    part(1, Verdict::Pass);
    part(2, Verdict::Unknown(Unknown::Late));
    part(3, Verdict::Reject);
    part(4, Verdict::Pass);
    part(5, Verdict::Pass);
    let (_, mut pictures, _) = bench.close();
    pictures.sort_by_key(|(part, _)| *part);
    let why = pictures.iter().map(|(_, picture)| picture["why"].as_str()).collect::<Vec<_>>();
    let [reject, around, unknown] = ["reject", "around", "unknown"].map(Some);
    assert_eq!(why, [reject, around, unknown, reject, around, None]);
}

#[test]
fn a_known_bad_piece_that_passes_keeps_its_picture() {
    let bench = Bench::new(|_| {});
    let mut record = settled(0);
    (record.ticket, record.verdict, record.challenge) = (Some(Ticket(0)), Verdict::Pass, true);
    bench.log.saw(Ticket(0), true, &frame(0, None));
    bench.log.part(&record, PartContext { bundle: Digest::zero(), dry_run: false }).unwrap();
    let (_, pictures, _) = bench.close();
    assert!(pictures[0].1["file"].as_str().unwrap().ends_with("/00000000-around.png"), "{pictures:?}");
}

#[test]
fn pictures_that_are_held_back_are_kept_however_many_parts_passed_since() {
    let bench = Bench::new(|pictures| pictures.around = 1);
    bench.log.hold(BTreeSet::from([PartId(0), PartId(1)]));
    (0..50).for_each(|number| bench.part(number, Verdict::Pass, Some(&frame(number, None))));
    // Another takes the place of one, which is let go.
    bench.log.hold(BTreeSet::from([PartId(1), PartId(50)]));
    bench.log.saw(Ticket(50), true, &frame(50, None));
    [0, 1, 50].into_iter().for_each(|part| bench.log.keep(PartId(part)));
    bench.log.keep_around();
    (50..53).for_each(|number| bench.part(number, Verdict::Pass, Some(&frame(number, None))));
    let (_, pictures, _) = bench.close();
    let kept = pictures.iter().filter(|(_, picture)| picture["file"].is_string()).map(|(part, _)| *part);
    assert_eq!(kept.collect::<BTreeSet<_>>(), BTreeSet::from([1, 49, 50]), "{pictures:?}");
}

#[test]
fn a_part_that_will_pass_keeps_its_picture_where_it_is_named_before() {
    let bench = Bench::new(|_| {});
    bench.log.keep(PartId(1));
    (0..3).for_each(|number| bench.part(number, Verdict::Pass, Some(&frame(number, None))));
    let (_, pictures, _) = bench.close();
    let why = pictures.iter().map(|(_, picture)| picture["why"].as_str()).collect::<Vec<_>>();
    assert_eq!(why, [None, Some("around"), None]);
}

#[test]
fn a_frame_that_comes_after_its_part_s_fate_has_a_record_of_its_own() {
    let bench = Bench::new(|_| {});
    bench.part(7, Verdict::Unknown(Unknown::Late), None);
    bench.log.saw(Ticket(7), false, &frame(7, None));
    bench.log.saw(Ticket(8), false, &frame(8, None));
    let (_, pictures, _) = bench.close();
    assert_eq!(pictures.len(), 2, "nobody waits for part 8: {pictures:?}");
    assert_eq!((pictures[0].0, &pictures[0].1["missing"]), (7, &"there was none".into()));
    assert_eq!((pictures[1].0, &pictures[1].1["why"]), (7, &"unknown".into()));
    assert!(pictures[1].1["file"].is_string());
}

#[test]
fn what_finds_no_room_is_counted_and_told() {
    let bench = Bench::new(|_| {});
    let mut huge = frame(0, None);
    Arc::get_mut(&mut huge).unwrap().original = Some(Original { bytes: vec![0; ROOM], ending: "jpg".into() });
    bench.part(0, Verdict::Reject, Some(&huge));
    assert!(bench.log.health().unwrap_err().contains("no room for it in memory"));
    bench.part(1, Verdict::Reject, Some(&frame(1, None)));
    let (_, pictures, stop) = bench.close();
    assert_eq!(pictures[0].1["missing"], "there was no room for it in memory");
    assert!(pictures[1].1["file"].is_string(), "there is room again");
    assert_eq!(stop["pictures"], serde_json::json!({ "kept": 1, "missing": 1 }));
}

#[test]
fn passes_that_only_an_alarm_would_keep_make_way_for_others() {
    let bench = Bench::new(|pictures| pictures.around = 3);
    let mut large = frame(0, None);
    let bytes = vec![0; ROOM / 3 - 1_000];
    Arc::get_mut(&mut large).unwrap().original = Some(Original { bytes, ending: "jpg".into() });
    (0..3).for_each(|number| bench.part(number, Verdict::Pass, Some(&large)));
    let mut small = frame(3, None);
    Arc::get_mut(&mut small).unwrap().original = Some(Original { bytes: vec![0; 3_000], ending: "jpg".into() });
    // What is held back makes way as well.
    bench.log.hold(BTreeSet::from([PartId(0)]));
    bench.part(3, Verdict::Reject, Some(&small));
    bench.log.keep_around();
    let (_, pictures, stop) = bench.close();
    let kept = |part| pictures.iter().any(|(of, picture)| *of == part && picture["file"].is_string());
    assert_eq!([0, 1, 2, 3].map(kept), [false, true, true, true], "the oldest makes way");
    assert_eq!(stop["pictures"], serde_json::json!({ "kept": 3, "missing": 0 }));
}

#[test]
fn a_folder_that_fails_is_a_fault_and_every_part_has_its_record() {
    let bench = Bench::new(|_| {});
    let run = bench.log.run_name().to_owned();
    let place = bench.folder.path("pictures").join(&run);
    std::fs::remove_dir(&place).unwrap();
    std::fs::write(&place, "a file where the run's folder must be").unwrap();
    bench.part(0, Verdict::Reject, Some(&frame(0, None)));
    while bench.log.health().is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::fs::remove_file(&place).unwrap();
    bench.part(1, Verdict::Reject, Some(&frame(1, None)));
    let (_, pictures, _) = bench.close();
    assert!(pictures[0].1["missing"].as_str().unwrap().contains("cannot be written"), "{pictures:?}");
    assert!(pictures[1].1["file"].is_string(), "{pictures:?}");
}

#[test]
fn a_folder_that_cannot_be_made_is_found_at_the_start() {
    let folder = Folder::new();
    std::fs::write(folder.path("pictures"), "a file").unwrap();
    let pictures = Some(PicturesConfig::in_folder(folder.path("pictures")));
    let config = AuditConfig { pictures, ..AuditConfig::in_file(folder.file()) };
    let error = AuditLog::open(&config, &run_start()).unwrap_err();
    assert_eq!(error.kind().exit_code(), 3);
    assert!(error.report().contains("pictures cannot be kept"), "{}", error.report());
}

#[test]
fn a_folder_of_pictures_is_one_log_s_and_may_be_moved_with_it() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("line-1")).unwrap();
    let config = |log: &str, pictures: &str| AuditConfig {
        pictures: Some(PicturesConfig::in_folder(folder.path(pictures))),
        ..AuditConfig::in_file(folder.path(log))
    };
    let run = |log: &str, pictures: &str| AuditLog::open(&config(log, pictures), &run_start())?.close();
    let ready = |log: &str, pictures: &str| crate::audit::readiness(&config(log, pictures));
    run("line-1/audit.jsonl", "line-1/pictures").unwrap();
    run("line-1/audit.jsonl", "line-1/pictures").unwrap();
    for refused in [
        run("line-2.jsonl", "line-1/pictures").unwrap_err(),
        run("line-1/other.jsonl", "line-1/pictures").unwrap_err(),
        ready("line-2.jsonl", "line-1/pictures").unwrap_err(),
        ready("not-there-yet.jsonl", "line-1/pictures").unwrap_err(),
    ] {
        let report = refused.report();
        assert!(refused.kind().exit_code() == 2 && report.contains("those of ../audit.jsonl"), "{report}");
        assert!(report.contains("a folder of its own") && report.contains("owner.txt"), "{report}");
    }
    ready("line-1/audit.jsonl", "line-1/pictures").unwrap();
    std::fs::rename(folder.path("line-1"), folder.path("carried")).unwrap();
    run("carried/audit.jsonl", "carried/pictures").unwrap();
    // What a power cut left of the owner's name is none.
    std::fs::write(folder.path("carried/pictures/owner.txt"), "../aud").unwrap();
    run("line-2.jsonl", "carried/pictures").unwrap();
    run("carried/audit.jsonl", "carried/pictures").unwrap_err();
    // What is no file is not waited for.
    let owner = folder.path("carried/pictures/owner.txt");
    std::fs::remove_file(&owner).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&owner).status().unwrap().success());
    for refused in [run("line-2.jsonl", "carried/pictures"), ready("line-2.jsonl", "carried/pictures").map(drop)] {
        let report = refused.unwrap_err().report();
        assert!(report.contains("owner.txt in it is no file") && report.contains("move it away"), "{report}");
    }
    // Nor is anything written where a link leads to.
    let victim = folder.path("victim");
    std::fs::write(&victim, "precious").unwrap();
    std::fs::remove_file(&owner).unwrap();
    std::os::unix::fs::symlink(&victim, &owner).unwrap();
    for refused in [run("line-2.jsonl", "carried/pictures"), ready("line-2.jsonl", "carried/pictures").map(drop)] {
        assert!(refused.unwrap_err().report().contains("owner.txt in it is no file"));
    }
    std::fs::remove_file(&owner).unwrap();
    let [new, days] = ["days.txt.new", "days.txt"].map(|name| folder.path("carried/pictures").join(name));
    let _ = std::fs::remove_file(&days);
    std::os::unix::fs::symlink(&victim, &new).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&days).status().unwrap().success());
    // The thread that replaces it looks for what is old as long as the run goes on.
    let log = AuditLog::open(&config("line-2.jsonl", "carried/pictures"), &run_start()).unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while !days.symlink_metadata().unwrap().is_file() {
        assert!(std::time::Instant::now() < until, "it is replaced");
        std::thread::sleep(Duration::from_millis(5));
    }
    log.close().unwrap();
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
}

#[test]
fn of_two_logs_of_one_name_one_has_the_pictures() {
    let folder = Folder::new();
    let pictures = folder.path("pictures");
    let config = AuditConfig {
        pictures: Some(PicturesConfig::in_folder(pictures.clone())),
        ..AuditConfig::in_file(folder.file())
    };
    let open = || AuditLog::open(&config, &run_start());
    let run = |folder: Folder, log: AuditLog| {
        let bench = Bench { folder, log };
        bench.part(0, Verdict::Reject, Some(&frame(0, None)));
        bench.log.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
        bench.log.close().unwrap();
    };
    // Another machine sees its own log where this one has its: both go on at once, or one after the other.
    let (mine, theirs) = (folder.path("mine.jsonl"), folder.path("theirs.jsonl"));
    AuditLog::open(&AuditConfig::in_file(theirs.clone()), &run_start()).unwrap().close().unwrap();
    let swap = |away: &std::path::Path, here: &std::path::Path| {
        std::fs::rename(folder.file(), away).unwrap();
        std::fs::rename(here, folder.file()).unwrap();
    };
    let first = open().unwrap();
    swap(&mine, &theirs);
    let ready = || crate::audit::readiness(&config);
    for refused in [open().unwrap_err(), ready().unwrap_err()] {
        let report = refused.report();
        assert!(refused.kind().exit_code() == 2 && report.contains("another run keeps its pictures there"), "{report}");
    }
    swap(&theirs, &mine);
    run(Folder::new(), first);
    ready().unwrap();
    open().unwrap().close().unwrap();
    swap(&mine, &theirs);
    for refused in [open().unwrap_err(), ready().unwrap_err()] {
        let report = refused.report();
        assert!(refused.kind().exit_code() == 2 && report.contains("another first line"), "{report}");
        assert!(report.contains("move them to where that log is, with owner.txt"), "{report}");
    }
    // Who moves the log away and leaves its pictures, is told, and the old pictures stay; without them the folder is free.
    std::fs::remove_file(folder.file()).unwrap();
    for refused in [open().unwrap_err(), ready().unwrap_err()] {
        assert!(refused.report().contains("pictures of an older log are there"), "{}", refused.report());
        // The run that is refused has begun nothing but an empty file.
        assert_eq!(std::fs::metadata(folder.file()).map_or(0, |found| found.len()), 0);
    }
    assert_eq!(kept_in(&pictures).len(), 1);
    for run in std::fs::read_dir(&pictures).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        std::fs::remove_dir_all(run).unwrap();
    }
    ready().unwrap();
    run(Folder::new(), open().unwrap());
    open().unwrap().close().unwrap();
    std::fs::remove_file(folder.file()).unwrap();
    std::fs::rename(&mine, folder.file()).unwrap();
    assert!(open().unwrap_err().report().contains("another first line"), "it is the newer one's now");
}

#[test]
fn who_takes_all_pictures_of_a_run_is_found_out_where_the_folder_is_the_log_s() {
    let bench = Bench::new(|_| {});
    bench.part(0, Verdict::Reject, Some(&frame(0, None)));
    let (folder, _, _) = bench.close();
    let (file, pictures) = (folder.file(), folder.path("pictures"));
    let parts = || {
        let lines = folder.lines();
        let parts = lines.iter().map(|line| serde_json::from_str::<Entry>(line).unwrap());
        parts.filter(|entry| entry.kind == "part").collect::<Vec<_>>()
    };
    let is_explained = |file: &Path, pictures: &Path| {
        let removed = crate::audit::Removed::of(file, pictures, &Default::default()).unwrap();
        parts().iter().all(|part| removed.explains(part))
    };
    for run in std::fs::read_dir(&pictures).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        std::fs::remove_dir_all(run).unwrap();
    }
    assert!(!is_explained(&file, &pictures));
    // Somebody looks at a copy of the log, or at pictures of which some are somewhere else.
    std::fs::create_dir(folder.path("copy")).unwrap();
    let copy = folder.path("copy/audit.jsonl");
    std::fs::copy(&file, &copy).unwrap();
    assert!(is_explained(&copy, &pictures) && is_explained(&copy, &folder.path("copy/pictures")));
    std::fs::remove_file(pictures.join("owner.txt")).unwrap();
    assert!(is_explained(&file, &pictures));
}

/// Names of the pictures below `folder`.
fn kept_in(folder: &std::path::Path) -> Vec<String> {
    let entries = |path: std::path::PathBuf| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let days = entries(folder.into()).filter(|run| run.is_dir()).flat_map(entries);
    let mut names = days.flat_map(entries).map(|file| file.file_name().unwrap().to_string_lossy().into_owned());
    let mut names = names.by_ref().collect::<Vec<_>>();
    names.sort();
    names
}

/// Waits until all that was given is on disk or told of as missing; what is to be removed may still be there.
fn wait_for(album: &Album, pictures: u64) {
    while album.tally().kept < pictures {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn no_picture_is_removed_before_the_log_that_tells_of_it_is_on_disk() {
    let folder = Folder::new();
    let config = PicturesConfig { keep_bytes: Some(1), ..PicturesConfig::in_folder(folder.path("pictures")) };
    // Nobody writes what is told to this log: its disk hangs.
    let log = Arc::new(Log::new(10));
    let album =
        Album::start(Shelf::open(&config, &folder.file(), First::New, "run").unwrap(), &config, "run", log.clone())
            .unwrap();
    let settle = |number: u64| {
        let mut record = settled(number);
        (record.ticket, record.verdict) = (Some(Ticket(number)), Verdict::Reject);
        album.saw(Ticket(number), true, Seen::new((&frame(number, None)).into()));
        album.settle(Settled::new(&record, PartContext { bundle: Digest::zero(), dry_run: false }));
    };
    settle(0);
    wait_for(&album, 1);
    let told = || log.queue().waiting.iter().map(|waiting| waiting.body.0.clone()).collect::<Vec<_>>();
    while told().is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(
        told()[0].contains("\"kind\":\"pictures-removed\"") && told()[0].contains("00000000-reject.png"),
        "{:?}",
        told()
    );
    settle(1);
    wait_for(&album, 2);
    std::thread::sleep(3 * Duration::from_millis(50));
    // Here the machine may lose its power: nothing is gone, and nothing is told of twice.
    assert_eq!((kept_in(&config.folder).len(), told().len()), (2, 1));
    let mut taken = VecDeque::new();
    log.queue().take_into(&mut taken);
    assert_eq!(album.flush(Duration::from_millis(1)).len(), 2, "both parts");
    assert_eq!(kept_in(&config.folder).len(), 2, "taken, and not on disk");
    taken.clear();
    log.settle(&taken, true);
    while kept_in(&config.folder).len() > 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(kept_in(&config.folder), ["00000001-reject.png"], "the run ends, and nothing more is removed");
    assert!(log.queue().waiting.is_empty());
}

#[test]
fn what_a_run_removed_its_log_tells_of_and_what_stays_in_a_gap_goes_at_the_next_start() {
    let folder = Folder::new();
    let pictures = PicturesConfig { keep_bytes: Some(1), ..PicturesConfig::in_folder(folder.path("pictures")) };
    let keep_all = PicturesConfig { keep_bytes: None, ..pictures.clone() };
    let run = |pictures: PicturesConfig, parts: std::ops::Range<u64>| {
        let config = AuditConfig { pictures: Some(pictures), ..AuditConfig::in_file(folder.file()) };
        let log = AuditLog::open(&config, &run_start()).unwrap();
        let bench = Bench { folder: Folder::new(), log };
        parts.for_each(|number| bench.part(number, Verdict::Reject, Some(&frame(number, None))));
        bench.log.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
        bench.log.close().unwrap();
    };
    // As after a kill when the log told of the removal and no picture was gone: they stand, though their record says that they go.
    run(keep_all, 0..3);
    let (file, day) = (folder.file(), wall_day());
    let first: Entry = serde_json::from_str(&folder.lines()[0]).unwrap();
    let last = format!("{}/{day}/00000001-reject.png", first.run.unwrap());
    let told = AuditLog::open(&AuditConfig::in_file(file.clone()), &run_start()).unwrap();
    told.write(Body::pictures_removed(Monotonic::now(), "rejects", 2, 2, &day, &last)).unwrap();
    told.close().unwrap();
    assert_eq!(kept_in(&pictures.folder).len(), 3);
    run(pictures.clone(), 0..5);
    let lines = folder.lines();
    let parts = lines.iter().map(|line| serde_json::from_str::<Entry>(line).unwrap());
    let parts = parts.filter(|entry| entry.kind == "part").collect::<Vec<_>>();
    let removed = crate::audit::Removed::of(&file, &pictures.folder, &Default::default()).unwrap();
    let mut gone = 0;
    for part in &parts {
        let picture = part.picture.as_ref().unwrap();
        if !pictures.folder.join(picture.file.as_ref().unwrap()).exists() {
            gone += 1;
            // Of a run of which nothing is left nobody is accused either way.
            std::fs::create_dir_all(pictures.folder.join(picture.run().unwrap())).unwrap();
            assert!(removed.explains(part), "{picture:?}\n{}", lines.join("\n"));
        }
    }
    assert!(parts.len() == 8 && gone >= 3, "the three of the run before are gone: {gone}");
    assert_eq!(lines.last().map(|line| line.contains("\"kind\":\"stop\"")), Some(true), "the stop comes last");
}

fn wall_day() -> String {
    crate::audit::wall_time(Monotonic::now())[..10].to_owned()
}
