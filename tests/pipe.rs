//! Frames of another program through the real program.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Bench, defective_part, hgad, normal_part, parts, records, run};
use serde_json::Value;

/// A line over the tiny bundle whose camera is a program of a shell, and pictures for it, so many that none comes again too soon: every
/// third is defective.
struct Line(Bench);

impl Line {
    fn new() -> Self {
        let line = Line(Bench::new());
        for number in 0..40 {
            let picture = if number % 3 == 1 { defective_part(0, 300 + number) } else { normal_part(0, 300 + number) };
            let bytes = [b"P6\n64 64\n255\n".as_slice(), picture.as_raw()].concat();
            fs::write(line.0.path(&format!("{number:02}.ppm")), bytes).unwrap();
        }
        line
    }

    /// Writes the configuration; `script` runs with the pictures in its folder, and its number stands in `pid`.
    fn config(&self, script: &str) -> String {
        let text = format!(
            "format_version = 1\n[line]\nname = \"bench\"\nclass = \"red\"\nmodel = \"bundle\"\n\
             calibration = \"calibration/red.toml\"\ntravel_ms = 300\npulse_ms = 20\ntolerance_ms = 2000\n\
             [camera]\nkind = \"pipe\"\nformat = \"PNM\"\nwidth = 64\nheight = 64\ntimeout_ms = 60000\n\
             command = [\"sh\", \"-c\", '''cd {}; echo $$ > pid; {script}''']\n\
             [output]\nkind = \"none\"\n[audit]\nfile = \"audit.jsonl\"\n",
            self.0.path("").display()
        );
        fs::write(self.0.path("line.toml"), text).unwrap();
        self.0.text("line.toml")
    }

    fn assert_program_goes(&self) {
        let number = fs::read_to_string(self.0.path("pid")).unwrap();
        let status = format!("/proc/{}/stat", number.trim());
        let start = Instant::now();
        // One that nobody has waited for is gone too.
        while fs::read_to_string(&status).is_ok_and(|status| !status.contains(") Z ")) {
            assert!(start.elapsed() < Duration::from_secs(60), "the camera's program goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

const ENDLESS: &str = "while :; do for picture in ??.ppm; do cat $picture; sleep 0.15; done; done";

#[test]
fn a_program_s_pictures_are_judged_and_it_ends_with_the_run() {
    let line = Line::new();
    let config = line.config(ENDLESS);
    let json = line.0.text("summary.json");
    let (code, _, stderr) = run(&["run", "--config", &config, "--max-parts", "9", "--json", &json]);
    assert_eq!(code, 0, "{stderr}");
    let parts = parts(&line.0.path("audit.jsonl"));
    assert_eq!(parts.len(), 9);
    for part in &parts {
        assert_eq!((&part["stamp"], &part["origin"]), (&"received".into(), &"sh".into()), "{part}");
    }
    // On a busy machine pictures are passed over; those that are judged are as good as they are.
    let count = |verdict: &str| parts.iter().filter(|part| part["verdict"] == verdict).count();
    assert!(count("pass") > 0 && count("reject") > 0, "{parts:?}");
    let summary: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert!(summary["camera"]["frames"].as_u64() >= Some(9) && summary["camera"]["failures"] == 0, "{summary}");
    line.assert_program_goes();
}

#[test]
fn a_program_that_dies_raises_an_alarm_until_it_is_back() {
    let line = Line::new();
    let config =
        line.config("for picture in 0[0-5].ppm; do cat $picture; sleep 0.1; done; echo 'sensor lost' >&2; exit 7");
    let json = line.0.text("summary.json");
    let (code, _, stderr) = run(&["run", "--config", &config, "--max-parts", "10", "--json", &json]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("it ended (exit status: 7); its last words: sensor lost"), "{stderr}");
    let summary: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert!(summary["camera"]["failures"].as_u64() >= Some(1), "{summary}");
    let alarm = |record: &Value| record["alarm"] == "camera-fault" && record["raised"] == true;
    let records = records(&line.0.path("audit.jsonl"));
    assert!(records.iter().any(alarm), "{records:?}");
    line.assert_program_goes();
}

#[test]
fn a_camera_that_gives_two_old_pictures_in_turn_is_at_fault() {
    let line = Line::new();
    let config = line.config("while :; do cat 00.ppm; sleep 0.15; cat 02.ppm; sleep 0.15; done");
    let (code, _, stderr) = run(&["run", "--config", &config, "--max-parts", "8"]);
    assert_eq!(code, 0, "{stderr}");
    let parts = parts(&line.0.path("audit.jsonl"));
    assert!(parts.iter().filter(|part| part["verdict"] == "pass").count() <= 2, "{parts:?}");
    // On a busy machine parts are skipped: that is another reason not to pass.
    let came_before = |part: &&Value| part["detail"].as_str().is_some_and(|detail| detail.contains("came before"));
    assert!(parts.iter().any(|part| came_before(&part)), "{parts:?}");
    let is_raised = |record: &Value| record["alarm"] == "picture-fault" && record["raised"] == true;
    assert!(records(&line.0.path("audit.jsonl")).iter().any(is_raised), "no alarm");
}

#[test]
fn a_program_that_cannot_be_read_from_ends_the_start_with_its_last_words() {
    let line = Line::new();
    let config = line.config("echo 'no cameras available' >&2; exit 255");
    let (code, _, stderr) = run(&["run", "--config", &config]);
    assert_eq!(code, 3, "{stderr}");
    let place = format!("{config}:16:11: camera.command: camera sh stopped: it ended (exit status: 255)");
    assert!(stderr.contains(&place) && stderr.contains("no cameras available"), "{stderr}");
    assert!(!Path::new(&line.0.path("audit.jsonl")).exists());
}

#[test]
fn the_program_does_not_outlive_a_line_that_is_killed() {
    let line = Line::new();
    let config = line.config(ENDLESS);
    let mut child = hgad(&["run", "--config", &config]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while parts(&line.0.path("audit.jsonl")).is_empty() {
        assert_eq!(child.try_wait().unwrap(), None, "the line ended by itself");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    line.assert_program_goes();
}

#[test]
fn a_picture_of_the_line_s_camera_can_be_taken() {
    let line = Line::new();
    let config = line.config(ENDLESS);
    let picture = line.0.text("snap.png");
    let (code, stdout, stderr) = run(&["camera", "snap", "--config", &config, "--frames", "2", "--out", &picture]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("of sh, 64x64") && stdout.contains("2 frames"), "{stdout}");
    assert!(stdout.contains("\nbrightness ") && stdout.contains("% saturated, sharpness 0."), "{stdout}");
    let (code, stdout, stderr) = run(&["camera", "snap", "--config", &config, "--watch", "--frames", "3"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("of the best"), "{stdout}");
    assert_eq!(image::open(&picture).unwrap().to_rgb8().dimensions(), (64, 64));
    line.assert_program_goes();
}
