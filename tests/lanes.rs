//! A belt with lanes through the real program: one camera, a pseudo-terminal or a PLC's coil as each lane's ejector.

mod common;

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use common::plc::Plc;
use common::terminal::{Terminal, assert_one_message_per_reject};
use common::{Bench, defective_part, hgad, normal_part, parts, records, run};
use image::RgbImage;
use image::imageops::replace;
use rmodbus::server::context::ModbusContext;
use serde_json::Value;

/// Red parts lie on the left, blue ones on the right, 64 pixels wide each.
fn frame(number: u32) -> RgbImage {
    let mut frame = RgbImage::new(128, 64);
    for (lane, is_bad) in [is_bad_left(number), is_bad_right(number)].into_iter().enumerate() {
        let part = if is_bad { defective_part(lane, 300 + number) } else { normal_part(lane, 300 + number) };
        replace(&mut frame, &part, 64 * lane as i64, 0);
    }
    frame
}

fn is_bad_left(number: u32) -> bool {
    number % 3 == 1
}

fn is_bad_right(number: u32) -> bool {
    number % 4 == 2
}

struct Line {
    bench: Bench,
}

impl Line {
    fn with_frames(frames: u32) -> Self {
        let line = Line { bench: Bench::new() };
        (0..frames).for_each(|number| line.bench.save(&format!("frames/{number:03}.png"), &frame(number)));
        line
    }

    /// Writes the configuration: `camera` is what follows the folder's path, `lanes` what follows the audit's file.
    fn config(&self, line: &str, camera: &str, lanes: &str) -> String {
        let text = format!(
            "format_version = 1\n[line]\nname = \"bench\"\nclass = \"red\"\nmodel = \"bundle\"\n\
             calibration = [\"calibration/red.toml\", \"calibration/blue.toml\"]\n{line}\npulse_ms = 20\n\
             tolerance_ms = 2000\n[camera]\nkind = \"folder\"\npath = \"frames\"\n{camera}\n\
             [audit]\nfile = \"audit.jsonl\"\n{lanes}\n"
        );
        std::fs::write(self.bench.path("line.toml"), text).unwrap();
        self.bench.text("line.toml")
    }

    fn audit(&self) -> PathBuf {
        self.bench.path("audit.jsonl")
    }

    fn parts_of(&self, lane: &str) -> Vec<Value> {
        let mut parts = parts(&self.audit());
        parts.retain(|part| part["lane"] == lane);
        parts
    }
}

/// The two lanes, the left one in pixels and the right one as a share; `left` and `right` are further keys and sections.
fn lanes(left: &str, right: &str) -> String {
    format!(
        "[[lane]]\nname = \"left\"\nx = 0\ny = 0\nwidth = 64\nheight = 64\n{left}\n\
         [[lane]]\nname = \"right\"\nclass = \"blue\"\nx = 0.5\ny = 0.0\nwidth = 0.5\nheight = 1.0\n{right}\n"
    )
}

fn serial(terminal: &Terminal) -> String {
    format!("[lane.output]\nkind = \"serial\"\nport = \"{}\"\nmessage = \"R\\n\"", terminal.path)
}

const NO_OUTPUT: &str = "[lane.output]\nkind = \"none\"";

#[test]
fn a_bad_part_fires_its_own_lanes_ejector_alone() {
    let line = Line::with_frames(30);
    let (left, right) = (Terminal::open(), Terminal::open());
    let lanes = lanes(&serial(&left), &format!("travel_ms = 450\n{}", serial(&right)));
    let config = line.config("travel_ms = 300", "rate = 10", &format!("pictures = \"pictures\"\n{lanes}"));
    let json = line.bench.text("summary.json");
    let (code, stdout, stderr) = run(&["run", "--config", &config, "--json", &json]);
    assert_eq!(code, 0, "{stderr}");
    let (left, right) = (left.received(), right.received());

    assert_eq!(parts(&line.audit()).len(), 60, "a part of each lane for each frame: {stdout}");
    for (lane, class, is_bad, received, travel) in
        [("left", "red", is_bad_left as fn(u32) -> bool, left, 300), ("right", "blue", is_bad_right, right, 450)]
    {
        let parts = line.parts_of(lane);
        assert_eq!(parts.len(), 30);
        for (number, part) in parts.iter().enumerate() {
            assert_eq!((&part["frame"], &part["class"]), (&number.into(), &class.into()), "{part}");
            let verdict = part["verdict"].as_str().unwrap();
            // A busy machine may skip a part, which is then rejected; the threshold allows for a few false rejects.
            assert!(verdict != "pass" || !is_bad(number as u32), "{part}");
            assert_eq!(part["fate"], if verdict == "pass" { "passed" } else { "rejected" }, "{part}");
        }
        let with = |verdict: &str| parts.iter().filter(|part| part["verdict"] == verdict).count();
        assert!(with("reject") >= 5 && with("pass") >= 10, "{stdout}");
        assert_one_message_per_reject(&received, &parts, travel);
        let rejected = parts.iter().filter(|part| part["fate"] == "rejected").count();
        let summary: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
        assert_eq!(
            (&summary["lanes"][lane]["parts"], &summary["lanes"][lane]["rejected"]),
            (&30.into(), &rejected.into())
        );
        assert!(stdout.contains(&format!("lane {lane:<9}30: ")), "{stdout}");

        let audit = line.audit().display().to_string();
        let (code, found, _) =
            run(&["audit", "query", &audit, "--lane", lane, "--fate", "rejected", "--format", "csv"]);
        assert_eq!((code, found.lines().count()), (0, rejected + 1), "{found}");
    }
    let start = &records(&line.audit())[0];
    assert!(start["output"].as_str().unwrap().starts_with("1 left: serial /dev/pts/"), "{start}");
    let (code, stdout, _) = run(&["audit", "verify", &line.audit().display().to_string()]);
    assert!(code == 0 && stdout.contains("60 parts, 1 run,") && !stdout.contains("warning"), "{stdout}");
}

#[test]
fn a_lanes_picture_is_kept_as_it_was_judged() {
    let line = Line::with_frames(8);
    let lanes = lanes(NO_OUTPUT, NO_OUTPUT);
    let config =
        line.config("travel_ms = 3000", "rate = 5", &format!("pictures = \"pictures\"\nsample = 1.0\n{lanes}"));
    let (code, _, stderr) = run(&["run", "--config", &config]);
    assert_eq!(code, 0, "{stderr}");
    let mut compared = 0;
    for part in parts(&line.audit()) {
        let Some(file) = part["picture"]["file"].as_str() else { continue };
        let kept = image::open(line.bench.path("pictures").join(file)).unwrap().to_rgb8();
        let whole = frame(part["frame"].as_u64().unwrap() as u32);
        let x = if part["lane"] == "left" { 0 } else { 64 };
        assert!(kept == image::imageops::crop_imm(&whole, x, 0, 64, 64).to_image(), "{part}");
        compared += 1;
    }
    assert!(compared >= 8, "{compared} pictures");
    let (audit, model) = (line.audit().display().to_string(), line.bench.text("bundle"));
    let [red, blue] = ["red", "blue"].map(|class| line.bench.text(&format!("calibration/{class}.toml")));
    let pictures = line.bench.text("pictures");
    let again = ["audit", "replay", &audit, "--model", &model, "--calibration", &red, "--calibration", &blue];
    let (code, stdout, stderr) = run(&[&again[..], &["--pictures", &pictures]].concat());
    assert_eq!(code, 0, "{stdout}{stderr}");
}

#[test]
fn a_lane_has_a_calibration_of_its_own() {
    let line = Line::with_frames(4);
    // Everything is rejected by this one: no normal part has so low a score.
    let red = std::fs::read_to_string(line.bench.path("calibration/red.toml")).unwrap();
    let threshold = red.lines().find(|line| line.starts_with("threshold = ")).unwrap();
    std::fs::write(line.bench.path("strict.toml"), red.replace(threshold, "threshold = -1000.0")).unwrap();
    let lanes = format!(
        "[[lane]]\nname = \"left\"\nx = 0\ny = 0\nwidth = 64\nheight = 64\ncalibration = \"strict.toml\"\n{NO_OUTPUT}\n\
         [[lane]]\nname = \"same\"\nx = 0\ny = 0\nwidth = 64\nheight = 64\n{NO_OUTPUT}\n"
    );
    let config = line.config("travel_ms = 3000", "rate = 5", &lanes);
    let (code, _, stderr) = run(&["run", "--config", &config]);
    assert_eq!(code, 0, "{stderr}");
    assert!(line.parts_of("left").iter().all(|part| part["fate"] == "rejected"));
    assert!(line.parts_of("same").iter().any(|part| part["fate"] == "passed"));
    let calibrations = &records(&line.audit())[0]["calibrations"];
    let names = calibrations.as_object().unwrap().keys().collect::<Vec<_>>();
    assert_eq!(names, ["blue", "red", "red in lane left"]);
    assert_ne!(calibrations["red"], calibrations["red in lane left"]);
}

#[test]
fn a_lane_s_own_calibration_is_loaded_only_where_it_is_approved_for_that_lane() {
    let line = Line::with_frames(1);
    std::fs::copy(line.bench.path("calibration/red.toml"), line.bench.path("own.toml")).unwrap();
    let lanes = format!(
        "[[lane]]\nname = \"left\"\nx = 0\ny = 0\nwidth = 64\nheight = 64\ncalibration = \"own.toml\"\n{NO_OUTPUT}\n\
         [[lane]]\nname = \"same\"\nx = 0\ny = 0\nwidth = 64\nheight = 64\n{NO_OUTPUT}\n"
    );
    let config = line.config("approved_by = [\"quality.key.pub\"]\ntravel_ms = 1000", "rate = 5", &lanes);
    let key = line.bench.text("quality.key");
    assert_eq!(run(&["audit", "keygen", "--name", "quality", "--out", &key]).0, 0);
    let sign = |file: &str, lane: &[&str]| {
        let file = line.bench.text(file);
        let base = ["sign", &file, "--key", &key, "--by", "A. Smith", "--reason", "first"];
        let (code, _, err) = run(&[&base[..], lane].concat());
        assert_eq!(code, 0, "{err}");
    };
    ["bundle", "calibration/red.toml", "calibration/blue.toml", "own.toml"].iter().for_each(|file| sign(file, &[]));
    let refused = |says: &str| {
        let (code, _, err) = run(&["run", "--config", &config]);
        assert!(code == 2 && err.contains("own.toml is not approved") && err.contains(says), "{err}");
    };
    refused("approved for no lane");
    sign("own.toml", &["--lane", "same"]);
    refused("approved for same");
    sign("own.toml", &["--lane", "left"]);
    let (code, _, err) = run(&["run", "--config", &config]);
    assert_eq!(code, 0, "{err}");
    let approvals = &records(&line.audit())[0]["approvals"];
    assert_eq!(approvals.as_array().unwrap().last().unwrap()["lanes"], serde_json::json!(["left"]));
}

#[test]
fn a_lane_that_the_picture_does_not_show_is_rejected_and_the_other_is_inspected() {
    let line = Line::with_frames(6);
    let lanes = lanes(NO_OUTPUT, NO_OUTPUT).replace("x = 0\ny = 0\nwidth = 64", "x = 100\ny = 0\nwidth = 64");
    let config = line.config("travel_ms = 3000", "rate = 5", &lanes);
    let (code, _, stderr) = run(&["run", "--config", &config]);
    assert_eq!(code, 0, "{stderr}");
    let left = line.parts_of("left");
    assert_eq!(left.len(), 6);
    for part in left {
        assert_eq!((&part["reason"], &part["fate"]), (&"broken".into(), &"rejected".into()), "{part}");
        assert!(part["detail"].as_str().unwrap().contains("is not within the picture, 128x64 pixels"), "{part}");
    }
    assert!(line.parts_of("right").iter().any(|part| part["fate"] == "passed"));
}

#[test]
fn without_lanes_a_record_has_the_fields_that_it_had() {
    let line = Line::with_frames(1);
    line.bench.save("frames/000.png", &normal_part(0, 300));
    let config = line.config("travel_ms = 3000", "rate = 5", "[output]\nkind = \"none\"");
    let (code, stdout, stderr) = run(&["run", "--config", &config]);
    assert_eq!(code, 0, "{stderr}");
    let part = parts(&line.audit()).remove(0);
    let fields = part.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ");
    assert_eq!(
        fields,
        "seq prev kind time monotonic_ns synchronised stamp part frame pixels_sha256 origin class score threshold levels place verdict \
         reason detail fate fate_reason planned_ns fired_ns slack_ms latency_ms bundle calibration picture hash"
    );
    let start = &records(&line.audit())[0];
    assert_eq!((&start["output"], &start["format_version"]), (&"none".into(), &2.into()));
    assert!(!stdout.contains("lane"), "{stdout}");
}

/// A program that runs, until the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn terminate(mut self) -> Option<i32> {
        // SAFETY: no memory is involved; the child was not waited for, so its number is still its own.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGTERM) };
        self.0.wait().unwrap().code()
    }
}

#[test]
fn each_lanes_own_photo_eye_finds_its_parts_alone() {
    let line = Line::with_frames(4);
    let plc = Plc::start();
    let modbus = |what: &str| format!("kind = \"modbus\"\nserver = \"{}\"\ntimeout_ms = 5000\n{what}", plc.address);
    let of_lane = |bit: u16| {
        let eye = "to_camera_mm = 0\nwindow_mm = 300\npitch_mm = 1\nlongest_mm = 100000";
        format!(
            "[lane.photo_eye]\n{}\n{eye}\n[lane.output]\n{}",
            modbus(&format!("discrete_input = {bit}")),
            modbus(&format!("coil = {bit}"))
        )
    };
    let belt = "[belt]\nkind = \"speed\"\nspeed_mm_s = 100";
    let config = line.config(
        "travel_mm = 500",
        "rate = 20\nrepeat = \"forever\"",
        &format!("{belt}\n{}", lanes(&of_lane(1), &of_lane(2))),
    );
    let child = hgad(&["run", "--config", &config]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running(child);
    let mut wait = |done: &dyn Fn() -> bool| {
        while !done() {
            assert_eq!(running.0.try_wait().unwrap(), None, "the program ended by itself");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait(&|| records(&line.audit()).iter().any(|record| record["kind"] == "start"));
    // Until the sensors' threads listen.
    std::thread::sleep(Duration::from_secs(1));
    let mut sent = [0, 0];
    for lane in [0, 1, 1, 0, 1] {
        // Each level lasts for longer than the eye's period.
        for is_dark in [true, false] {
            plc.tables(|tables| tables.set_discrete(1 + lane as u16, is_dark).unwrap());
            std::thread::sleep(Duration::from_millis(100));
        }
        sent[lane] += 1;
        wait(&|| line.parts_of("left").len() == sent[0] && line.parts_of("right").len() == sent[1]);
    }
    assert_eq!(running.terminate(), Some(0));
    for (lane, coil) in [("left", 1), ("right", 2)] {
        let parts = line.parts_of(lane);
        assert!(parts.iter().all(|part| part["seen_ns"].is_u64()), "{parts:?}");
        let rejected = parts.iter().filter(|part| part["fate"] == "rejected").count();
        let pulses = plc.writes().iter().filter(|write| **write == (5, coil, 1)).count();
        assert_eq!(pulses, rejected, "one pulse of the lane's own coil for each of its bad parts: {parts:?}");
    }
    assert_eq!(parts(&line.audit()).len(), 5);
}

#[test]
fn a_challenge_is_of_one_lane_where_it_is_named() {
    let line = Line::with_frames(0);
    for number in 0..4 {
        let mut frame = RgbImage::new(128, 64);
        replace(&mut frame, &normal_part(0, 300 + number), 0, 0);
        replace(&mut frame, &defective_part(1, 300 + number), 64, 0);
        line.bench.save(&format!("frames/{number:03}.png"), &frame);
    }
    let config = line.config("travel_ms = 1500", "rate = 4\nrepeat = \"forever\"", &lanes(NO_OUTPUT, NO_OUTPUT));
    let child = hgad(&["run", "--config", &config]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running(child);
    while parts(&line.audit()).is_empty() {
        assert_eq!(running.0.try_wait().unwrap(), None, "the program ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    let challenge =
        |lane: &str| run(&["challenge", "--config", &config, "--parts", "2", "--by", "Anna", "--lane", lane]);
    let (code, _, stderr) = challenge("middle");
    assert!(code == 2 && stderr.contains("no lane 'middle'") && stderr.contains("left, right"), "{stderr}");
    let (code, stdout, stderr) = challenge("right");
    assert!(code == 0 && stdout.contains("passed: every piece was caught"), "{stdout}{stderr}");
    assert_eq!(running.terminate(), Some(0));
    let of_kind = |kind: &str| records(&line.audit()).into_iter().find(|record| record["kind"] == kind).unwrap();
    assert_eq!(of_kind("challenge-begun")["lane"], "right");
    let ended = of_kind("challenge");
    assert_eq!((&ended["lane"], &ended["passed"]), (&"right".into(), &true.into()));
    let pieces = parts(&line.audit()).into_iter().filter(|part| part["challenge"] == true).collect::<Vec<_>>();
    assert_eq!(pieces.len(), 2);
    assert!(pieces.iter().all(|piece| piece["lane"] == "right"), "{pieces:?}");
}

#[test]
fn a_line_with_lanes_is_checked_tried_and_looked_at() {
    let line = Line::with_frames(8);
    let (left, right) = (Terminal::open(), Terminal::open());
    let config =
        line.config("travel_ms = 3000", "rate = 8\nrepeat = \"forever\"", &lanes(&serial(&left), &serial(&right)));
    let (_, table, stderr) = run(&["check", "--config", &config, "--seconds", "1"]);
    for what in ["ejector, left", "ejector, right", "picture, left", "picture, right"] {
        assert!(table.lines().any(|row| row.starts_with(&format!("{what:<14} "))), "{what}: {table}{stderr}");
    }
    assert!(table.contains("of 2 lanes, "), "{table}");
    let (code, stdout, stderr) = run(&["run", "--config", &config, "--dry-run", "--max-parts", "9"]);
    assert!(code == 0 && stdout.contains("parts         10 "), "whole frames: {stdout}{stderr}");
    assert_eq!((left.received(), right.received()), (vec![], vec![]), "no output was driven");

    let snap = line.bench.text("snap.png");
    let (code, _, stderr) =
        run(&["camera", "snap", "--config", &config, "--lane", "right", "--frames", "1", "--out", &snap]);
    assert_eq!(code, 0, "{stderr}");
    let seen = image::open(&snap).unwrap().to_rgb8();
    assert!(seen == image::imageops::crop_imm(&frame(0), 64, 0, 64, 64).to_image());
    let (code, _, stderr) = run(&["camera", "snap", "--config", &config, "--lane", "middle", "--out", &snap]);
    assert!(code == 2 && stderr.contains("its lanes are: left, right"), "{stderr}");
}

#[test]
fn a_line_with_lanes_is_simulated_as_its_file_says() {
    let line = Line::with_frames(1);
    let config = line.config("travel_ms = 700", "rate = 5", &lanes(NO_OUTPUT, NO_OUTPUT));
    let (code, stdout, stderr) = run(&["simulate", "--config", &config, "--hours", "2", "--seeds", "3"]);
    assert!(code == 0 && stdout.contains("promises  all kept"), "{stdout}{stderr}");
}
