use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use image::RgbImage;
use ndarray::Array2;

use super::*;
use crate::audit::{self, RunStart};
use crate::camera::{BrokenFrame, Flaw, Frame, Grab, Original, Remains};
use crate::config::{AuditConfig, PicturesConfig};
use crate::digest::Digest;
use crate::drift;
use crate::health;
use crate::inspect::{Inspection, Timings};
use crate::line::{Alarm, Consequence, Device, Evidence, Fate, Judgement, Length, Ticket, Unknown, Verdict};
use crate::outputs::{Occasion, Role};
use crate::time::{Monotonic, StampSource};
use crate::{Error, Result};

type Script = Vec<Box<dyn FnMut(u64) -> Result<Grab> + Send>>;

/// A camera that does what a test says, step by step.
struct ScriptedCamera {
    script: Script,
    number: u64,
    interval: Duration,
}

impl Camera for ScriptedCamera {
    fn name(&self) -> &str {
        "scripted"
    }

    fn is_live(&self) -> bool {
        true
    }

    fn grab(&mut self, _patience: Duration) -> Result<Grab> {
        if self.script.is_empty() {
            return Ok(Grab::End);
        }
        std::thread::sleep(self.interval);
        let mut step = self.script.remove(0);
        let grabbed = step(self.number);
        if matches!(grabbed, Ok(Grab::Frame(_) | Grab::Broken(_))) {
            self.number += 1;
        }
        grabbed
    }
}

/// What a frame's red channel asks of the inspector.
mod part {
    pub const GOOD: u8 = 0;
    pub const BAD: u8 = 1;
    pub const FAULT: u8 = 2;
    pub const PANIC: u8 = 3;
    pub const SLOW: u8 = 4;
    /// Its inspection does not come back before a fault is on record.
    pub const HANGS: u8 = 5;
}

fn frame(kind: u8) -> Box<dyn FnMut(u64) -> Result<Grab> + Send> {
    Box::new(move |number| {
        Ok(Grab::Frame(Frame {
            number,
            captured: Monotonic::now(),
            stamp: StampSource::EndOfFrame,
            origin: format!("kind {kind}"),
            product: None,
            image: RgbImage::from_pixel(1, 1, image::Rgb([kind, 0, 0])),
            original: None,
        }))
    })
}

fn broken() -> Box<dyn FnMut(u64) -> Result<Grab> + Send> {
    Box::new(|number| {
        let (captured, origin) = (Monotonic::now(), "damaged".to_owned());
        Ok(Grab::Broken(BrokenFrame {
            number,
            captured,
            stamp: StampSource::Received,
            origin,
            flaw: Flaw::Damaged,
            why: "no picture".into(),
            remains: Remains {
                image: None,
                original: Some(Original { bytes: b"half a picture".to_vec(), ending: "jpg".into() }),
            },
        }))
    })
}

fn failure() -> Box<dyn FnMut(u64) -> Result<Grab> + Send> {
    Box::new(|_| Err(Error::device("unplugged")))
}

fn driver_panic() -> Box<dyn FnMut(u64) -> Result<Grab> + Send> {
    Box::new(|_| panic!("a bug in a driver"))
}

#[derive(Default)]
struct ScriptedInspector {
    /// Becomes true when the first inspection begins.
    begun: Arc<AtomicBool>,
    /// The audit.
    log: PathBuf,
}

impl Inspect for ScriptedInspector {
    fn inspect(&mut self, _ticket: Ticket, frame: &Frame, _lane: Lane, _class: &str) -> Result<Judged> {
        self.begun.store(true, Ordering::Relaxed);
        let kind = frame.image.get_pixel(0, 0).0[0];
        match kind {
            part::FAULT => return Err(Error::device("the network failed")),
            part::PANIC => panic!("a bug in an operator"),
            part::SLOW => std::thread::sleep(Duration::from_millis(400)),
            part::HANGS => wait_for(&self.log, "fault"),
            _ => {}
        }
        let score = f32::from(kind);
        let (calibration, evidence) = (Digest::zero(), Evidence::default());
        let judgement = Judgement { score, threshold: 0.5, rejects: score > 0.5, calibration, evidence };
        let (levels, map, timings) = (Vec::new(), Array2::zeros((1, 1)), Timings::default());
        let inspection = Inspection { score, levels, resembles: None, map, timings };
        Ok(Judged { judgement, inspection })
    }
}

#[derive(Default)]
struct Calls {
    activated: usize,
    /// The levels that it had, one after the other.
    levels: Vec<bool>,
    mood: Mood,
}

impl Calls {
    fn is_active(&self) -> bool {
        self.levels.last() == Some(&true)
    }

    fn level(&mut self, active: bool) {
        if self.levels.last() != Some(&active) {
            self.levels.push(active);
        }
    }
}

/// What an output does when it is activated.
#[derive(Clone, Copy, Default, PartialEq)]
enum Mood {
    #[default]
    Acts,
    Fails,
    Panics,
    /// Comes back long after the end of the test.
    Hangs,
}

struct ScriptedOutput(Role, Arc<Mutex<Calls>>);

impl Output for ScriptedOutput {
    fn name(&self) -> &str {
        "scripted"
    }

    fn role(&self) -> Role {
        self.0
    }

    fn activate(&mut self, _: &Occasion) -> Result<()> {
        let mood = self.1.lock().unwrap().mood;
        match mood {
            Mood::Acts => {}
            Mood::Fails => return Err(Error::device("the ejector is gone")),
            Mood::Panics => panic!("a bug in an output"),
            Mood::Hangs => std::thread::sleep(Duration::from_secs(3600)),
        }
        let mut calls = self.1.lock().unwrap();
        calls.activated += 1;
        calls.level(true);
        Ok(())
    }

    fn hold(&mut self) -> Result<()> {
        self.activate(&Occasion::default())
    }

    fn release(&mut self) -> Result<()> {
        self.1.lock().unwrap().level(false);
        Ok(())
    }
}

fn open_audit(config: &AuditConfig) -> AuditLog {
    let start = RunStart {
        line: "bench".into(),
        dry_run: false,
        config: None,
        camera: "scripted".into(),
        output: "scripted".into(),
        bundle: Digest::zero(),
        approvals: Vec::new(),
        drift: Default::default(),
        calibrations: BTreeMap::new(),
    };
    AuditLog::open(config, &start).unwrap()
}

struct Bench {
    folder: tempfile::TempDir,
    calls: Arc<Mutex<Calls>>,
    seen: Arc<Mutex<Vec<Finished>>>,
    stop: Arc<AtomicBool>,
}

impl Bench {
    fn new() -> Self {
        Bench {
            folder: tempfile::tempdir().unwrap(),
            calls: Arc::default(),
            seen: Arc::default(),
            stop: Arc::default(),
        }
    }

    fn audit_file(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    fn wiring(&self, script: Script) -> Wiring {
        let ms = Duration::from_millis;
        let seen = self.seen.clone();
        Wiring {
            // Generous, since the machine that runs tests is busy.
            rules: Rules { quiet: ms(50), ..Rules::timed(ms(300), ms(20), ms(2000)) },
            views: vec![LaneView { region: None, gate: None, class: "washer".into() }],
            camera: Box::new(ScriptedCamera { script, number: 0, interval: ms(5) }),
            inspector: Box::new(ScriptedInspector { log: self.audit_file(), ..ScriptedInspector::default() }),
            outputs: vec![Box::new(ScriptedOutput(Role::Reject, self.calls.clone()))],
            sensors: Sensors::default(),
            signals: Signals::default(),
            audit: open_audit(&AuditConfig::in_file(self.audit_file())),
            context: PartContext { bundle: Digest::zero(), dry_run: false },
            pace: Pace::EveryFrame,
            max_parts: None,
            stop: self.stop.clone(),
            journal: true,
            observer: Some(Box::new(move |finished| seen.lock().unwrap().push(finished))),
            realtime: false,
        }
    }

    fn run(&self, script: Script) -> Summary {
        self.finish(self.wiring(script))
    }

    /// Runs, and checks what must hold at the end of any run.
    fn finish(&self, wiring: Wiring) -> Summary {
        let summary = run(wiring).unwrap();
        assert!(!self.calls.lock().unwrap().is_active(), "the output is released at the end");
        let verified = audit::verify(&self.audit_file(), &audit::Trust::default()).unwrap();
        assert!(verified.warnings.is_empty(), "{:?}", verified.warnings);
        assert_eq!(verified.parts, summary.counters.parts);
        summary
    }

    fn fates(&self) -> Vec<(Verdict, Fate)> {
        let mut seen = self.seen.lock().unwrap().drain(..).collect::<Vec<_>>();
        seen.sort_by_key(|finished| finished.record.part);
        seen.into_iter().map(|finished| (finished.record.verdict, finished.record.fate)).collect()
    }
}

#[test]
fn good_parts_pass_and_everything_else_is_rejected() {
    let bench = Bench::new();
    let summary = bench.run(vec![
        frame(part::GOOD),
        frame(part::BAD),
        frame(part::FAULT),
        frame(part::PANIC),
        broken(),
        frame(part::GOOD),
    ]);
    let unknown = |why| (Verdict::Unknown(why), Fate::Rejected);
    assert_eq!(
        bench.fates(),
        [
            (Verdict::Pass, Fate::Passed),
            (Verdict::Reject, Fate::Rejected),
            unknown(Unknown::Faulted("the network failed".into())),
            unknown(Unknown::Faulted("the inspection panicked: a bug in an operator".into())),
            unknown(Unknown::Broken("no picture".into())),
            (Verdict::Pass, Fate::Passed),
        ]
    );
    assert_eq!(bench.calls.lock().unwrap().activated, 4);
    assert_eq!((summary.ending, summary.lateness_ms.count), (Ending::CameraEnded, 4));
}

/// A frame that comes as soon as an inspection has begun.
fn frame_once(begun: Arc<AtomicBool>) -> Box<dyn FnMut(u64) -> Result<Grab> + Send> {
    let mut frame = frame(part::GOOD);
    Box::new(move |number| {
        while !begun.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        frame(number)
    })
}

#[test]
fn an_inspection_that_is_too_slow_is_a_reject_and_frames_behind_it_are_skipped() {
    let bench = Bench::new();
    let mut wiring = bench.wiring((0..10).map(|_| frame(part::GOOD)).collect());
    let begun = Arc::new(AtomicBool::new(false));
    wiring.inspector = Box::new(ScriptedInspector { begun: begun.clone(), ..ScriptedInspector::default() });
    let behind = frame_once(begun);
    let script = std::iter::once(frame(part::SLOW)).chain([behind]).chain((0..9).map(|_| frame(part::GOOD)));
    wiring.camera =
        Box::new(ScriptedCamera { script: script.collect(), number: 0, interval: Duration::from_millis(5) });
    wiring.pace = Pace::NewestWins;
    let summary = bench.finish(wiring);
    let fates = bench.fates();
    assert_eq!(fates[0], (Verdict::Unknown(Unknown::Late), Fate::Rejected));
    assert_eq!(fates[1], (Verdict::Unknown(Unknown::Skipped), Fate::Rejected));
    assert_eq!(summary.counters.parts, 11);
    assert_eq!(bench.calls.lock().unwrap().activated as u64, summary.counters.rejected);
    assert_eq!(summary.counters.unaccounted, 0);
}

/// What became of the pictures of parts without a verdict, by the reason: the files' bytes.
fn pictures_of_unknown(folder: &Path, log: &Path) -> Vec<(String, Vec<u8>)> {
    let records = events(log, &["part", "picture"]);
    let unknown = records.iter().filter(|record| record["verdict"] == "unknown");
    let picture = |part: &serde_json::Value| {
        let of_part = records.iter().filter(|record| record["part"] == part["part"]);
        let file = of_part.filter_map(|record| record["picture"]["file"].as_str()).next();
        file.map(|file| std::fs::read(folder.join("pictures").join(file)).unwrap()).unwrap_or_default()
    };
    unknown.map(|part| (part["reason"].as_str().unwrap().to_owned(), picture(part))).collect()
}

#[test]
fn what_nobody_could_judge_keeps_what_picture_there_is() {
    let bench = Bench::new();
    let begun = Arc::new(AtomicBool::new(false));
    let mut wiring = bench.wiring(Vec::new());
    let log = bench.folder.path().join("kept.jsonl");
    let pictures = PicturesConfig::in_folder(bench.folder.path().join("pictures"));
    wiring.audit = open_audit(&AuditConfig { pictures: Some(pictures), ..AuditConfig::in_file(log.clone()) });
    wiring.inspector = Box::new(ScriptedInspector { begun: begun.clone(), ..ScriptedInspector::default() });
    let behind = frame_once(begun);
    let until_told = nothing_until(log.clone(), "picture");
    let script = [frame(part::SLOW), behind, frame(part::GOOD), broken(), frame(part::GOOD), until_told];
    wiring.camera = Box::new(ScriptedCamera {
        script: script.into_iter().collect(),
        number: 0,
        interval: Duration::from_millis(5),
    });
    wiring.pace = Pace::NewestWins;
    run(wiring).unwrap();
    let pictures = pictures_of_unknown(bench.folder.path(), &log);
    let mut reasons = pictures.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>();
    reasons.sort_unstable();
    assert_eq!(reasons, ["broken", "late", "late", "skipped", "skipped"], "{pictures:?}");
    for (reason, bytes) in &pictures {
        match reason.as_str() {
            "broken" => assert_eq!(bytes, b"half a picture", "as it came"),
            reason => {
                let image =
                    image::load_from_memory(bytes).unwrap_or_else(|error| panic!("{reason}: {error}")).to_rgb8();
                let kind = image.get_pixel(0, 0).0[0];
                let expected = [("late", part::SLOW), ("late", part::GOOD), ("skipped", part::GOOD)];
                assert!(expected.contains(&(reason, kind)), "{reason}: {kind}");
            }
        }
    }
    let unreadable = events(&log, &["part"]).into_iter().find(|part| part["reason"] == "broken").unwrap();
    assert!(unreadable["picture"]["pixels_sha256"].is_null(), "{unreadable}");
}

/// Finds that accepted parts have changed when it has judged so many.
struct Drifting {
    inspector: ScriptedInspector,
    accepted: Vec<Ticket>,
    after: usize,
}

impl Inspect for Drifting {
    fn inspect(&mut self, ticket: Ticket, frame: &Frame, lane: Lane, class: &str) -> Result<Judged> {
        self.accepted.push(ticket);
        self.inspector.inspect(ticket, frame, lane, class)
    }

    fn drift(&mut self) -> Vec<Change> {
        let parts = [self.accepted[0], *self.accepted.last().unwrap()].map(|ticket| (ticket, 1.5)).to_vec();
        let (quantity, rises, normal, recent, count) = (drift::Quantity::Score, true, 0.5, 1.5, 64);
        let what = drift::Alarm { quantity, rises, normal, recent, count, parts };
        let change = Change { class: "washer".into(), lane: Some("left".into()), what };
        Vec::from_iter((self.accepted.len() == self.after).then_some(change))
    }

    fn examples(&self) -> BTreeSet<Ticket> {
        self.accepted.first().copied().into_iter().collect()
    }
}

#[test]
fn a_change_names_parts_that_the_audit_knows_and_their_pictures_are_kept() {
    let bench = Bench::new();
    let mut wiring = bench.wiring(Vec::new());
    let pictures = PicturesConfig::in_folder(bench.folder.path().join("pictures"));
    let log = bench.folder.path().join("drift.jsonl");
    wiring.audit = open_audit(&AuditConfig { pictures: Some(pictures), ..AuditConfig::in_file(log.clone()) });
    let inspector = ScriptedInspector::default();
    wiring.inspector = Box::new(Drifting { inspector, accepted: Vec::new(), after: 8 });
    // The first part has long had its fate when the change is found.
    wiring.rules.lanes[0].ejector.distance = Length::at_one_metre_per_second(Duration::from_millis(40));
    let script = (0..9).map(|_| frame(part::GOOD)).collect();
    // Frames have the camera's numbers, parts the run's.
    wiring.camera = Box::new(ScriptedCamera { script, number: 1000, interval: Duration::from_millis(30) });
    run(wiring).unwrap();
    let drift = events(&log, &["drift"]).remove(0);
    assert_eq!(drift["named"], serde_json::json!([{ "part": 0, "value": 1.5 }, { "part": 7, "value": 1.5 }]));
    let says = "the score of accepted parts of washer, lane left rises";
    let why = drift["why"].as_str().unwrap();
    assert!(why.starts_with(says) && why.contains("see part 0 (1.500), part 7 (1.500)"), "{why}");
    let alarm = events(&log, &["alarm"]).remove(0);
    assert_eq!((&alarm["alarm"], &alarm["why"]), (&"drift".into(), &drift["why"]));
    let told = events(&log, &["part", "picture"]);
    let kept = told.iter().filter(|record| record["picture"]["file"].is_string()).map(|record| record["part"].as_u64());
    assert_eq!(kept.collect::<BTreeSet<_>>(), BTreeSet::from([Some(0), Some(7)]), "{told:?}");
}

fn events(file: &Path, kinds: &[&str]) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(file).unwrap();
    // A run that goes on may be writing its last line.
    let records = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    records.filter(|record| kinds.contains(&record["kind"].as_str().unwrap())).collect()
}

/// Waits until the audit holds a record of that kind.
fn wait_for(file: &Path, kind: &str) {
    while events(file, &[kind]).is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Nothing comes until the audit holds a record of that kind.
fn nothing_until(file: PathBuf, kind: &'static str) -> Box<dyn FnMut(u64) -> Result<Grab> + Send> {
    Box::new(move |_| {
        wait_for(&file, kind);
        Ok(Grab::Timeout)
    })
}

/// Nothing comes until that holds, or for so long that it never will.
fn nothing_while(mut lasts: impl FnMut() -> bool + Send + 'static) -> Box<dyn FnMut(u64) -> Result<Grab> + Send> {
    Box::new(move |_| {
        let end = Monotonic::now() + Duration::from_secs(30);
        while lasts() && Monotonic::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Grab::Timeout)
    })
}

#[test]
fn the_belt_stands_while_the_camera_is_gone_and_runs_again_by_itself() {
    let bench = Bench::new();
    let stop_line = Arc::new(Mutex::new(Calls::default()));
    let is_active = |active: bool| {
        let stop_line = stop_line.clone();
        move || stop_line.lock().unwrap().is_active() == active
    };
    let script = vec![
        frame(part::GOOD),
        nothing_while(is_active(true)),
        failure(),
        nothing_while(is_active(false)),
        frame(part::GOOD),
        nothing_while(is_active(true)),
    ];
    let mut wiring = bench.wiring(script);
    wiring.signals.stop_line = Some(Box::new(ScriptedOutput(Role::StopLine, stop_line.clone())));
    let summary = bench.finish(wiring);
    assert_eq!(summary.alarms.get(&Alarm::Faulty(Device::Camera)), Some(&1));
    let levels = &stop_line.lock().unwrap().levels;
    assert_eq!(*levels, [false, true, false, true], "armed, blind, inspected again, ended");
}

#[test]
fn a_camera_that_fails_comes_back_by_itself() {
    let bench = Bench::new();
    let recovered = nothing_until(bench.audit_file(), "recovery");
    bench.run(vec![frame(part::GOOD), failure(), driver_panic(), frame(part::BAD), recovered]);
    let seen = events(&bench.audit_file(), &["fault", "recovery"]);
    let seen = seen.iter().map(|event| (event["kind"].as_str().unwrap(), event["why"].as_str())).collect::<Vec<_>>();
    let panicked = Some("camera scripted panicked: a bug in a driver");
    assert_eq!(seen, [("fault", Some("unplugged")), ("fault", panicked), ("recovery", None)]);
    assert!(bench.fates().len() >= 2);
}

#[test]
fn a_driver_that_does_not_come_back_is_a_fault_until_it_does() {
    let bench = Bench::new();
    let hangs = nothing_until(bench.audit_file(), "fault");
    let recovered = nothing_until(bench.audit_file(), "recovery");
    let summary = bench.run(vec![frame(part::GOOD), hangs, frame(part::GOOD), recovered]);
    let seen = events(&bench.audit_file(), &["fault", "recovery"]);
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen[0]["why"].as_str().unwrap().contains("not come back"), "{seen:?}");
    assert_eq!((&seen[1]["kind"], &seen[1]["device"]), (&"recovery".into(), &"camera".into()));
    assert_eq!(summary.alarms.get(&Alarm::Faulty(Device::Camera)), Some(&1));
}

#[test]
fn an_inspection_that_does_not_come_back_is_a_fault_and_the_belt_stands_until_it_does() {
    let bench = Bench::new();
    let stop_line = Arc::new(Mutex::new(Calls::default()));
    // A camera that shows nothing meanwhile, and does not hang itself.
    let (log, levels) = (bench.audit_file(), stop_line.clone());
    let shows_nothing = move |_: u64| -> Result<Grab> {
        let is_over = || !events(&log, &["recovery"]).is_empty() && !levels.lock().unwrap().is_active();
        let end = Monotonic::now() + Duration::from_secs(1);
        while !is_over() && Monotonic::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Grab::Timeout)
    };
    let nothing = (0..60).map(|_| Box::new(shows_nothing.clone()) as Box<dyn FnMut(u64) -> Result<Grab> + Send>);
    let script = std::iter::once(frame(part::HANGS)).chain(nothing).chain([frame(part::GOOD)]);
    let mut wiring = bench.wiring(script.collect());
    wiring.signals.stop_line = Some(Box::new(ScriptedOutput(Role::StopLine, stop_line.clone())));
    bench.finish(wiring);
    let seen = events(&bench.audit_file(), &["fault", "recovery"]);
    let seen = seen.iter().map(|event| (event["kind"].as_str().unwrap(), event["device"].as_str().unwrap()));
    assert_eq!(seen.collect::<Vec<_>>(), [("fault", "inspection"), ("recovery", "inspection")]);
    assert_eq!(stop_line.lock().unwrap().levels, [false, true, false, true], "armed, blind, inspected again, ended");
    assert_eq!(bench.fates(), [(Verdict::Unknown(Unknown::Late), Fate::Rejected), (Verdict::Pass, Fate::Passed)]);
}

#[test]
fn an_output_that_panics_stops_the_line_and_is_released() {
    let bench = Bench::new();
    bench.calls.lock().unwrap().mood = Mood::Panics;
    let summary = bench.finish(bench.wiring((0..500).map(|_| frame(part::BAD)).collect()));
    assert!(matches!(summary.ending, Ending::LineStopped(_)), "{:?}", summary.ending);
    assert_eq!((summary.counters.rejected, summary.counters.unaccounted), (0, summary.counters.parts));
    let faults = events(&bench.audit_file(), &["fault"]);
    assert_eq!(faults[0]["why"], "its thread panicked: a bug in an output");
    assert_eq!(summary.unreleased, None);
}

#[test]
fn an_output_that_hangs_is_a_fault_and_does_not_keep_the_run_from_ending() {
    let bench = Bench::new();
    bench.calls.lock().unwrap().mood = Mood::Hangs;
    let mut wiring = bench.wiring(vec![frame(part::BAD)]);
    // Longer than it takes until the driver counts as hung.
    wiring.rules.lanes[0].ejector.tolerance = health::PATIENCE * 2;
    let summary = run(wiring).unwrap();
    let faults = events(&bench.audit_file(), &["fault"]);
    assert!(faults[0]["why"].as_str().unwrap().contains("not come back"), "{faults:?}");
    assert!(faults[1]["why"].as_str().unwrap().contains("nobody knows whether it is safe"), "{faults:?}");
    assert!(summary.unreleased.is_some());
    assert_eq!(summary.counters.unaccounted, 1);
}

#[test]
fn the_last_part_can_stop_the_line_when_the_run_ends_already() {
    let bench = Bench::new();
    bench.calls.lock().unwrap().mood = Mood::Fails;
    let mut wiring = bench.wiring(vec![frame(part::BAD)]);
    wiring.rules.late = Consequence::StopLine;
    let summary = bench.finish(wiring);
    assert!(matches!(summary.ending, Ending::LineStopped(_)), "{:?}", summary.ending);
    assert!(!events(&bench.audit_file(), &["fault"]).is_empty(), "the output's fault is on record");
}

#[test]
fn an_ejector_that_fails_leaves_parts_unaccounted_and_can_stop_the_line() {
    for late in [Consequence::Count, Consequence::StopLine] {
        let bench = Bench::new();
        bench.calls.lock().unwrap().mood = Mood::Fails;
        let mut wiring = bench.wiring((0..200).map(|_| frame(part::BAD)).collect());
        wiring.rules.late = late;
        let summary = bench.finish(wiring);
        assert_eq!(summary.counters.rejected, 0);
        assert_eq!(summary.counters.unaccounted, summary.counters.parts);
        match late {
            Consequence::Count => assert_eq!((summary.counters.parts, summary.ending), (200, Ending::CameraEnded)),
            Consequence::StopLine => {
                assert!(matches!(summary.ending, Ending::LineStopped(_)), "{:?}", summary.ending);
                assert!(summary.counters.parts < 200);
            }
        }
    }
}

#[test]
fn stop_ends_a_camera_that_would_go_on_for_ever() {
    let bench = Bench::new();
    let stop = bench.stop.clone();
    let mut script: Script = (0..20).map(|_| frame(part::BAD)).collect();
    script.push(Box::new(move |_| {
        stop.store(true, Ordering::Relaxed);
        Ok(Grab::Timeout)
    }));
    script.extend((0..10_000).map(|_| frame(part::BAD)));
    let summary = bench.run(script);
    assert_eq!(summary.ending, Ending::Stopped);
    assert_eq!((summary.counters.unaccounted, summary.counters.parts), (0, summary.counters.rejected));
    assert!((20..10_000).contains(&summary.counters.parts));
}

#[test]
fn only_so_many_parts_as_are_wanted() {
    let bench = Bench::new();
    let wiring = Wiring { max_parts: Some(3), ..bench.wiring((0..10).map(|_| frame(part::GOOD)).collect()) };
    let summary = bench.finish(wiring);
    assert_eq!((summary.counters.parts, summary.ending), (3, Ending::Enough));
    let pictures = bench.seen.lock().unwrap().iter().filter(|finished| finished.picture.is_some()).count();
    assert_eq!(pictures, 3);
}

#[test]
fn an_audit_that_hangs_stops_the_line_and_does_not_keep_it() {
    let bench = Bench::new();
    // A pipe that nobody reads takes 64 KiB, and then hangs whoever writes, as a dying disk does.
    let pipe = bench.folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _reader = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    const FRAMES: usize = 30_000;
    let mut wiring = bench.wiring(Vec::new());
    wiring.audit = open_audit(&AuditConfig::in_file(pipe.clone()));
    wiring.rules.lanes[0].ejector.distance = Length::at_one_metre_per_second(Duration::from_millis(20));
    wiring.camera = Box::new(ScriptedCamera {
        script: (0..FRAMES).map(|_| frame(part::GOOD)).collect(),
        number: 0,
        interval: Duration::from_micros(50),
    });
    let error = run(wiring).unwrap().check().expect_err("the audit is not on disk");
    assert_eq!(error.kind().exit_code(), 3);
    assert!(error.report().contains("neither taken what was written nor failed"), "{}", error.report());
    let seen = bench.seen.lock().unwrap().len();
    assert!((4096..FRAMES).contains(&seen), "the line stopped after {seen} parts");
    assert!(!bench.calls.lock().unwrap().is_active());
}
