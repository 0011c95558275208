//! `hgad run` and `hgad audit` through the real program.

mod common;

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::terminal::{Terminal, assert_one_message_per_reject};
use common::{Bench, defective_part, hgad, normal_part, parts, records, run, slow_onnx, write_bundle};
use prost::Message;
use serde_json::Value;

/// A line over the tiny bundle.
struct Line {
    bench: Bench,
}

impl Line {
    /// With a folder of `frames`, of which every third is defective.
    fn with_frames(frames: u32) -> Self {
        let line = Line { bench: Bench::new() };
        std::fs::create_dir(line.bench.path("frames")).unwrap();
        for number in 0..frames {
            let image =
                if is_defective(number) { defective_part(0, 300 + number) } else { normal_part(0, 300 + number) };
            image.save(line.bench.path(&format!("frames/{number:03}.png"))).unwrap();
        }
        line
    }

    /// Writes the configuration; `camera` is what follows the folder's path, `output` a whole section.
    fn config(&self, camera: &str, output: &str) -> String {
        let text = format!(
            "format_version = 1\n[line]\nname = \"bench\"\nclass = \"red\"\nmodel = \"bundle\"\n\
             calibration = \"calibration/red.toml\"\ntravel_ms = 300\npulse_ms = 20\ntolerance_ms = 2000\n\
             [camera]\nkind = \"folder\"\npath = \"frames\"\n{camera}\n[output]\n{output}\n\
             [audit]\nfile = \"audit.jsonl\"\n"
        );
        let path = self.bench.path("line.toml");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn edit_config(&self, from: &str, to: &str) {
        let path = self.bench.path("line.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    fn run(&self, config: &str) -> (i32, String, String) {
        run(&["run", "--config", config])
    }

    /// Starts the program and waits until it has written down a few parts.
    fn start(&self, config: &str) -> Child {
        let mut child = hgad(&["run", "--config", config]);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while self.parts().len() < 3 {
            assert_eq!(child.try_wait().unwrap(), None, "the program ended by itself");
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }

    fn audit(&self) -> PathBuf {
        self.bench.path("audit.jsonl")
    }

    fn records(&self) -> Vec<Value> {
        records(&self.audit())
    }

    fn parts(&self) -> Vec<Value> {
        parts(&self.audit())
    }

    fn verify(&self) -> (i32, String, String) {
        run(&["audit", "verify", &self.audit().display().to_string()])
    }
}

fn is_defective(number: u32) -> bool {
    number % 3 == 1
}

const NO_OUTPUT: &str = "kind = \"none\"";

/// How long the slow network's detour is: seconds on any machine.
const SLOW_ROUNDS: usize = 3;

fn terminate(child: &Child) {
    // SAFETY: no memory is involved; the child was not waited for, so its number is still its own.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
}

#[test]
fn a_terminal_receives_one_message_per_rejected_frame_and_none_early() {
    let line = Line::with_frames(60);
    let terminal = Terminal::open();
    let output = format!("kind = \"serial\"\nport = \"{}\"\nmessage = \"R\\n\"", terminal.path);
    let (code, stdout, stderr) = line.run(&line.config("rate = 20", &output));
    assert_eq!(code, 0, "{stderr}");
    let received = terminal.received();

    let parts = line.parts();
    assert_eq!(parts.len(), 60, "{stdout}");
    for (number, part) in parts.iter().enumerate() {
        assert_eq!(part["origin"], format!("{number:03}.png"));
        // On a busy machine a frame may be skipped: then it is rejected too. The threshold allows for a few false
        // rejects, so a normal part's verdict is what its score says.
        let verdict = part["verdict"].as_str().unwrap();
        let above = part["score"].as_f64() > part["threshold"].as_f64();
        assert!(verdict == if above { "reject" } else { "pass" } || verdict == "unknown", "{part}");
        assert!(verdict != "pass" || !is_defective(number as u32), "{part}");
        assert_eq!(part["fate"], if verdict == "pass" { "passed" } else { "rejected" }, "{part}");
        assert_eq!(part["fired_ns"].is_null(), verdict == "pass");
    }
    let with = |verdict: &str| parts.iter().filter(|part| part["verdict"] == verdict).count();
    assert!(with("reject") > 10 && with("pass") > 10, "{stdout}");

    assert_one_message_per_reject(&received, &parts, 300);
    let (code, stdout, stderr) = line.verify();
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.starts_with("OK ") && stdout.contains("60 parts, 1 run,") && !stdout.contains("warning"),
        "{stdout}"
    );
}

#[test]
fn scores_are_those_of_the_score_command_bit_for_bit() {
    let line = Line::with_frames(9);
    let json = line.bench.text("summary.json");
    let config = line.config("rate = 10", NO_OUTPUT);
    let (code, stdout, stderr) = run(&["run", "--config", &config, "--max-parts", "6", "--json", &json]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("parts         6"), "{stdout}");
    let summary: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(summary["parts"], 6);
    assert!(summary["latency_ms"]["p99"].as_f64().unwrap() > 0.0, "{summary}");

    let (model, calibration) = (line.bench.text("bundle"), line.bench.text("calibration/red.toml"));
    let images = line.bench.text("frames");
    let (code, scored, stderr) =
        run(&["score", "--model", &model, "--calibration", &calibration, "--class", "red", "--json", &images]);
    assert_eq!(code, 0, "{stderr}");
    let scored = scored.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    // A busy machine may not have inspected every part.
    let mut parts = line.parts().into_iter().zip(scored).collect::<Vec<_>>();
    parts.retain(|(part, _)| part["verdict"] != "unknown");
    assert!(!parts.is_empty());
    for (part, scored) in parts {
        assert!(scored["image"].as_str().unwrap().ends_with(part["origin"].as_str().unwrap()));
        assert_eq!((&part["score"], &part["threshold"]), (&scored["score"], &scored["threshold"]));
        assert!(part["score"].is_number() && part["bundle"].is_string() && part["calibration"].is_string(), "{part}");
    }
}

#[test]
fn a_signed_audit_is_checked_by_key_and_copy_and_proves_its_records() {
    let line = Line::with_frames(4);
    let path = |name: &str| line.bench.path(name).display().to_string();
    let (key, public, copy, proof) = (path("line.key"), path("line.key.pub"), path("copy"), path("part.tlog-proof"));
    let (code, _, stderr) = run(&["audit", "keygen", "--name", "bench.example/line", "--out", &key]);
    assert_eq!(code, 0, "{stderr}");
    let config = line.config("rate = 50", NO_OUTPUT);
    line.edit_config("\"audit.jsonl\"", "\"audit.jsonl\"\nkey = \"line.key\"\ncheckpoint_copy = \"copy\"");
    assert_eq!(line.run(&config).0, 0);

    let audit = path("audit.jsonl");
    let verify = || run(&["audit", "verify", &audit, "--key", &public, "--checkpoint", &copy]);
    let (code, stdout, stderr) = verify();
    assert!(
        code == 0 && stdout.contains("signed by bench.example/line") && !stdout.contains("warning"),
        "{stdout}{stderr}"
    );

    let seq = line.parts()[0]["seq"].to_string();
    assert_eq!(run(&["audit", "prove", &audit, "--record", &seq, "--out", &proof]).0, 0);
    let text = std::fs::read_to_string(&audit).unwrap();
    let start = serde_json::from_str::<serde_json::Value>(text.lines().next().unwrap()).unwrap();
    let part = format!("{}/{}", start["run"].as_str().unwrap(), line.parts()[0]["part"]);
    let (code, by_part, stderr) = run(&["audit", "prove", &audit, "--part", &part]);
    assert!(code == 0 && by_part == std::fs::read_to_string(&proof).unwrap(), "{stderr}");
    let (code, _, stderr) = run(&["audit", "prove", &audit, "--part", "another/0"]);
    assert!(code == 2 && stderr.contains("no run 'another'"), "{stderr}");
    let (code, stdout, stderr) = run(&["audit", "check", &proof, "--key", &public]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout.lines().nth(1), std::fs::read_to_string(&audit).unwrap().lines().nth(seq.parse().unwrap()));

    // The stop record and its checkpoint are cut off: the chain is whole, and the copy knows better.
    let text = std::fs::read_to_string(&audit).unwrap();
    let cut = text.lines().take_while(|line| !line.contains("\"kind\":\"stop\"")).map(|line| format!("{line}\n"));
    std::fs::write(&audit, cut.collect::<String>()).unwrap();
    assert_eq!(line.verify().0, 0);
    let (code, _, stderr) = verify();
    assert!(code == 1 && stderr.contains("its end was removed"), "{stderr}");
    let (code, _, stderr) = line.run(&config);
    assert!(code == 3 && stderr.contains("its end was removed"), "{stderr}");
}

#[test]
fn sigterm_ends_a_run_in_good_order() {
    let line = Line::with_frames(4);
    let config = line.config("rate = 20\nrepeat = \"forever\"", NO_OUTPUT);
    let mut child = line.start(&config);
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let records = line.records();
    let stop = records.last().unwrap();
    assert_eq!((&stop["kind"], &stop["reason"]), (&"stop".into(), &"told to stop".into()));
    assert_eq!(stop["counters"]["parts"], line.parts().len());
    assert_eq!(stop["counters"]["unaccounted"], 0, "parts on the belt got their fates");
    let (code, stdout, _) = line.verify();
    assert!(code == 0 && !stdout.contains("warning"), "{stdout}");
}

#[test]
fn sigterm_does_not_wait_for_a_network_that_takes_seconds() {
    let line = Line::with_frames(4);
    let mut bundle = hgad::bundle::Bundle::open(&line.bench.path("bundle")).unwrap();
    bundle.model = slow_onnx(SLOW_ROUNDS).encode_to_vec();
    bundle.golden.frames.truncate(1);
    calibrate_for(&line, rewrite(&line, bundle));
    let config = line.config("rate = 20\nrepeat = \"forever\"", NO_OUTPUT);

    let mut loading = hgad(&["run", "--config", &config]).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    terminate(&loading);
    assert_eq!(loading.wait().unwrap().signal(), Some(libc::SIGTERM), "the golden frames were waited for");
    assert!(line.records().is_empty());

    let child = line.start(&config);
    terminate(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = common::stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("the inspection still computes, in vain"), "{stderr}");
    assert!(stderr.contains("line.toml:7:13: line.travel_ms: ") && stderr.contains("raise travel_ms"), "{stderr}");
    let (parts, records) = (line.parts(), line.records());
    assert_eq!((&parts[0]["verdict"], &parts[0]["reason"]), (&"unknown".into(), &"late".into()));
    assert!(parts.iter().all(|part| part["verdict"] == "unknown" && part["fate"] == "rejected"), "{parts:?}");
    let stop = records.last().unwrap();
    assert_eq!((&stop["kind"], &stop["counters"]["rejected"]), (&"stop".into(), &parts.len().into()));
    let (code, stdout, _) = line.verify();
    assert!(code == 0 && !stdout.contains("warning"), "{stdout}");
}

#[test]
fn a_killed_run_leaves_an_audit_that_the_next_run_continues() {
    let line = Line::with_frames(4);
    let config = line.config("rate = 20\nrepeat = \"forever\"", NO_OUTPUT);
    let mut child = line.start(&config);
    child.kill().unwrap();
    child.wait().unwrap();
    // What a power cut leaves: the last line is there in part.
    let written = std::fs::read(line.audit()).unwrap();
    std::fs::write(line.audit(), &written[..written.len() - 20]).unwrap();
    let (code, _, stderr) = line.verify();
    assert!(code == 1 && stderr.contains("is cut off"), "{stderr}");

    line.edit_config("repeat = \"forever\"", "repeat = 1");
    let (code, _, stderr) = line.run(&config);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("the last line was unfinished"), "{stderr}");
    assert!(line.records().iter().any(|record| record["kind"] == "repaired"));
    let interrupted = line.records().into_iter().find(|record| record["kind"] == "interrupted").unwrap();
    assert!(
        interrupted["from_line"] == 1 && stderr.contains("look at what lay between camera and ejector"),
        "{stderr}"
    );
    let (code, stdout, stderr) = line.verify();
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("2 runs") && stdout.contains("it was killed"), "{stdout}");
    // It is no hindrance to readers.
    let audit = line.audit();
    let (code, stdout, stderr) = run(&["audit", "query", audit.to_str().unwrap(), "--kind", "interrupted"]);
    assert!(code == 0 && stdout.contains("interrupted"), "{stdout} {stderr}");
}

/// Whether a line that runs is heard; no alarm of that name stands.
fn is_heard(config: &str) -> bool {
    let (code, _, stderr) = run(&["acknowledge", "--config", config, "--alarm", "audit-fault", "--by", "Anna"]);
    match stderr.contains("no line can be asked") {
        true => false,
        false => {
            assert_eq!(code, 1, "{stderr}");
            true
        }
    }
}

#[test]
fn no_second_run_begins_beside_a_line_whose_log_was_removed_or_exchanged() {
    for is_removed in [true, false] {
        let line = Line::with_frames(4);
        let config = line.config("rate = 20\nrepeat = \"forever\"", NO_OUTPUT);
        let mut child = line.start(&config);
        let second = || run(&["run", "--config", &config, "--max-parts", "3"]);
        let (code, _, stderr) = second();
        assert!(code == 3 && stderr.contains("another run holds its lock"), "{stderr}");
        match is_removed {
            true => std::fs::remove_file(line.audit()).unwrap(),
            // As sed -i, editors and synchronising programs do.
            false => {
                std::fs::copy(line.audit(), line.bench.path("copy")).unwrap();
                std::fs::rename(line.bench.path("copy"), line.audit()).unwrap();
            }
        }
        let found = std::fs::read(line.audit()).ok();
        let (code, _, stderr) = second();
        assert!(code == 3 && stderr.contains("whose file is not there any more"), "{stderr}");
        assert!(stderr.contains("audit.jsonl.socket") && stderr.contains("end that line"), "{stderr}");
        let (code, stdout, stderr) = run(&["check", "--config", &config, "--seconds", "0.1"]);
        assert!(code == 1 && stdout.contains("whose file is not there any more"), "{stdout} {stderr}");
        assert_eq!(std::fs::read(line.audit()).ok(), found, "nothing is begun, and nothing written");
        assert!(child.try_wait().unwrap().is_none());
        // What a killed line leaves of its socket refuses nobody.
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(line.bench.path("audit.jsonl.socket").exists());
        let (code, _, stderr) = second();
        assert_eq!(code, 0, "{stderr}");
    }
}

#[test]
fn a_line_whose_log_is_behind_a_link_is_asked_by_the_link() {
    let line = Line::with_frames(4);
    std::fs::create_dir(line.bench.path("disk")).unwrap();
    std::os::unix::fs::symlink("disk/audit.jsonl", line.audit()).unwrap();
    let config = line.config("rate = 20\nrepeat = \"forever\"", NO_OUTPUT);
    assert!(!is_heard(&config));
    let mut child = line.start(&config);
    assert!(is_heard(&config));
    terminate(&child);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_line_that_gets_no_thread_has_no_start_on_record_or_says_why_it_stopped() {
    const STACK: u64 = 1 << 30;
    let line = Line::with_frames(2);
    let config = line.config("rate = 20", NO_OUTPUT);
    let (mut threads, mut told) = (0, 0);
    loop {
        let before = line.records().len();
        // Room for so many threads and for all else; little of it is ever touched.
        let kilobytes = (threads * STACK + STACK / 8 * 7) >> 10;
        let script = format!("ulimit -v {kilobytes}; exec \"$0\" run --config \"$1\"");
        let mut limited = Command::new("sh");
        limited.args(["-c", &script, env!("CARGO_BIN_EXE_hgad"), &config]);
        let output = limited.env("RUST_MIN_STACK", STACK.to_string()).env("MALLOC_ARENA_MAX", "1").output().unwrap();
        let (stderr, records) = (common::stderr(&output), line.records());
        if output.status.success() {
            break;
        }
        let count = |kind: &str| records.iter().filter(|record| record["kind"] == kind).count();
        assert_eq!(count("start"), count("stop"), "{threads} threads: {stderr}");
        if records.len() > before {
            let reason = records.last().unwrap()["reason"].as_str().unwrap_or_default();
            assert!(reason.starts_with("the line could not start: the system gives no thread"), "{reason}: {stderr}");
            assert!(output.status.code() == Some(3) && stderr.contains("the system gives no thread"), "{stderr}");
            told += 1;
        }
        threads += 1;
        assert!(threads < 40, "it never starts: {stderr}");
    }
    assert!(told >= 2, "of {threads} tries {told} came to a start");
    assert!(line.records().iter().all(|record| record["kind"] != "interrupted"));
}

/// A killed line lets go of lamp and belt: the next one says that bad parts may lie behind the ejector.
#[test]
fn parts_that_were_on_the_belt_of_a_killed_run_raise_an_alarm_and_stop_the_line_where_it_shall() {
    for stops in [false, true] {
        let line = Line::with_frames(4);
        let config = line.config("rate = 20\nrepeat = \"forever\"", NO_OUTPUT);
        if stops {
            line.edit_config("pulse_ms = 20", "pulse_ms = 20\nlate = \"stop-line\"");
        }
        // Six of its parts are between camera and ejector at any time.
        let mut child = line.start(&config);
        child.kill().unwrap();
        child.wait().unwrap();

        line.edit_config("repeat = \"forever\"", "repeat = 1");
        let before = line.records().len();
        let (code, _, stderr) = line.run(&config);
        let next = line.records().split_off(before);
        let of_kind = |kind: &str| next.iter().find(|record| record["kind"] == kind).unwrap();
        assert_eq!(of_kind("alarm")["alarm"], "missed-reject", "{stderr}");
        for told in [of_kind("alarm")["why"].as_str().unwrap(), &stderr] {
            assert!(told.contains("nobody knows whether they were rejected; look at what lay between"), "{told}");
        }
        let stopped = of_kind("stop")["reason"].as_str().unwrap().contains("the run before ended without a word");
        assert_eq!((code, stopped), (i32::from(stops), stops), "{stderr}");
        // It is told once.
        line.edit_config("repeat = 1", "repeat = 2");
        let before = line.records().len();
        assert_eq!(line.run(&config).0, 0);
        assert!(line.records()[before..].iter().all(|record| record["alarm"] != "missed-reject"));
    }
}

#[test]
fn a_changed_line_is_named_and_no_run_continues_it() {
    let line = Line::with_frames(4);
    let config = line.config("rate = 20", NO_OUTPUT);
    assert_eq!(line.run(&config).0, 0);
    let text = std::fs::read_to_string(line.audit()).unwrap();
    std::fs::write(line.audit(), text.replacen("\"verdict\":\"reject\"", "\"verdict\":\"pass\"", 1)).unwrap();
    let (code, _, stderr) = line.verify();
    assert_eq!(code, 1);
    assert!(stderr.contains("was changed: its hash does not fit its content"), "{stderr}");
    let (code, _, stderr) = line.run(&config);
    assert!(code == 3 && stderr.contains("cannot be continued"), "{stderr}");
}

#[test]
fn frames_of_another_shape_than_the_calibration_s_are_faults_and_never_pass() {
    let line = Line::with_frames(4);
    let path = line.bench.path("calibration/red.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("[frame]\nwidth = 64\nheight = 64\n"), "{text}");
    std::fs::write(path, text.replace("width = 64", "width = 96")).unwrap();
    let (code, _, stderr) = line.run(&line.config("rate = 20", NO_OUTPUT));
    assert_eq!(code, 0, "{stderr}");
    let parts = line.parts();
    assert_eq!(parts.len(), 4);
    for part in &parts {
        assert_eq!((&part["verdict"], &part["reason"]), (&"unknown".into(), &"faulted".into()), "{part}");
        let detail = part["detail"].as_str().unwrap();
        assert!(detail.contains("64x64") && detail.contains("96x64"), "{detail}");
    }
}

#[test]
fn an_image_that_is_none_is_a_bad_part() {
    let line = Line::with_frames(3);
    std::fs::write(line.bench.path("frames/000.png"), "this is no image").unwrap();
    let (code, stdout, stderr) = line.run(&line.config("rate = 10", NO_OUTPUT));
    assert_eq!(code, 0, "{stderr}");
    let part = &line.parts()[0];
    assert_eq!((&part["verdict"], &part["reason"]), (&"unknown".into(), &"broken".into()));
    assert_eq!(part["fate"], "rejected");
    assert!(part["detail"].as_str().unwrap().contains("is not an image"), "{part}");
    assert!(stdout.contains("no verdict    1 broken"), "{stdout}");
}

#[test]
fn bad_input_ends_before_the_line_is_armed() {
    type Spoil = fn(&Line);
    struct Case {
        what: &'static str,
        spoil: Spoil,
        code: i32,
        says: &'static str,
    }
    let cases = [
        Case {
            what: "unknown key",
            spoil: |line| line.edit_config("pulse_ms", "pulse_mss"),
            code: 2,
            says: "line.toml:8:1: unknown key 'pulse_mss'; did you mean 'pulse_ms'?",
        },
        Case {
            what: "no such serial port",
            spoil: |line| line.edit_config(NO_OUTPUT, "kind = \"serial\"\nport = \"/dev/ttyNOWHERE\"\nmessage = \"R\""),
            code: 3,
            says: "line.toml:16:8: output.port: serial port /dev/ttyNOWHERE cannot be opened",
        },
        Case {
            what: "no such camera",
            spoil: |line| {
                line.edit_config(
                    "kind = \"folder\"\npath = \"frames\"\nrate = 10",
                    "kind = \"v4l2\"\ndevice = \"/dev/video99\"\nwidth = 64\nheight = 64",
                );
            },
            code: 3,
            says: "line.toml:12:10: camera.device: camera /dev/video99 cannot be opened",
        },
        Case {
            what: "a camera of another shape than the calibration",
            spoil: |line| {
                line.edit_config(
                    "kind = \"folder\"\npath = \"frames\"\nrate = 10",
                    "kind = \"v4l2\"\ndevice = \"/dev/video99\"\nwidth = 640\nheight = 480",
                );
            },
            code: 2,
            says: "is not for frames of 640x480",
        },
        Case {
            what: "empty folder",
            spoil: |line| {
                std::fs::create_dir(line.bench.path("nothing")).unwrap();
                line.edit_config("path = \"frames\"", "path = \"nothing\"");
            },
            code: 2,
            says: "line.toml:12:8: camera.path: folder",
        },
        Case {
            what: "calibration of another class",
            spoil: |line| line.edit_config("calibration/red.toml", "calibration/blue.toml"),
            code: 2,
            says: "line.toml:6:15: line.calibration: no calibration is of the class 'red'",
        },
        Case {
            what: "no such calibration",
            spoil: |line| line.edit_config("calibration/red.toml", "calibration/gone.toml"),
            code: 3,
            says: "line.toml:6:15: line.calibration: calibration",
        },
        Case {
            what: "no such model",
            spoil: |line| line.edit_config("\"bundle\"", "\"gone\""),
            code: 3,
            says: "line.toml:5:9: line.model: bundle file",
        },
        Case {
            what: "a class that the model does not know",
            spoil: |line| line.edit_config("\"red\"", "\"green\""),
            code: 2,
            says: "line.toml:4:9: line.class: the model does not know the class 'green'",
        },
        Case {
            what: "calibration of another bundle",
            spoil: |line| {
                let mut bundle = write_bundle(&line.bench.path("bundle"));
                bundle.manifest.written_by = "another test".into();
                rewrite(line, bundle);
            },
            code: 2,
            says: "line.toml:6:15: line.calibration: the calibration of 'red' is not of this model",
        },
        Case {
            what: "a device that is no camera",
            spoil: |line| {
                line.edit_config(
                    "kind = \"folder\"\npath = \"frames\"\nrate = 10",
                    "kind = \"v4l2\"\ndevice = \"/dev/null\"\nwidth = 64\nheight = 64",
                );
            },
            code: 3,
            says: "line.toml:10:1: camera: /dev/null is not a camera",
        },
        Case {
            what: "no such GPIO chip",
            spoil: |line| line.edit_config(NO_OUTPUT, "kind = \"gpio\"\nchip = \"nowhere\"\nline = \"X\""),
            code: 3,
            says: "line.toml:14:1: output: ",
        },
        Case {
            what: "no such key",
            spoil: |line| line.edit_config("\"audit.jsonl\"", "\"audit.jsonl\"\nkey = \"gone.key\""),
            code: 2,
            says: "line.toml:18:7: audit.key: ",
        },
        Case {
            what: "a copy of the checkpoint that cannot be read",
            spoil: |line| {
                let key = line.bench.text("line.key");
                let (code, _, err) = run(&["audit", "keygen", "--name", "line-3", "--out", &key]);
                assert_eq!(code, 0, "{err}");
                line.edit_config(
                    "\"audit.jsonl\"",
                    "\"audit.jsonl\"\nkey = \"line.key\"\ncheckpoint_copy = \"frames\"",
                );
            },
            code: 3,
            says: "line.toml:19:19: audit.checkpoint_copy: the copy of the newest checkpoint",
        },
        Case {
            what: "golden frames that come out different",
            spoil: |line| {
                let mut bundle = write_bundle(&line.bench.path("bundle"));
                bundle.golden.frames[0].z[0] += 0.5;
                let digest = rewrite(line, bundle);
                calibrate_for(line, digest);
            },
            code: 1,
            says: "golden frame",
        },
        Case {
            what: "an audit on a full disk",
            spoil: |line| line.edit_config("\"audit.jsonl\"", "\"/dev/full\""),
            code: 3,
            says: "No space left on device",
        },
    ];
    for case in cases {
        let line = Line::with_frames(2);
        let config = line.config("rate = 10", NO_OUTPUT);
        (case.spoil)(&line);
        let (code, _, stderr) = line.run(&config);
        assert_eq!(code, case.code, "{}: {stderr}", case.what);
        assert!(stderr.contains(case.says), "{}: {stderr}", case.what);
        assert!(line.records().is_empty(), "{}: nothing was written down", case.what);
    }
}

/// Writes `bundle` in place of the line's; gives its digest.
fn rewrite(line: &Line, bundle: hgad::bundle::Bundle) -> hgad::digest::Digest {
    let hgad::bundle::Bundle { manifest, model, centers, golden, trained_on, .. } = bundle;
    let draft = hgad::bundle::Draft { manifest, model, centers, golden, trained_on };
    draft.write(&line.bench.path("bundle")).unwrap().digest
}

/// Makes the line's calibration one of the bundle with this digest.
fn calibrate_for(line: &Line, digest: hgad::digest::Digest) {
    let path = line.bench.path("calibration/red.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let of = text.lines().find(|text| text.starts_with("bundle = ")).unwrap();
    std::fs::write(path, text.replace(of, &format!("bundle = \"{digest}\""))).unwrap();
}

#[test]
fn a_dry_run_awaits_no_confirmation_and_nobody_takes_its_records_for_real_ones() {
    let line = Line::with_frames(6);
    let config = line.config("rate = 20", "kind = \"gpio\"\nchip = \"no-such-chip\"\nline = \"REJECT\"");
    // A sensor that is not there, and would have stopped the line at the first reject.
    let confirm =
        "[confirm]\nkind = \"modbus\"\nserver = \"127.0.0.1:1\"\ncoil = 0\nuntil_ms = 200\nmissing = \"stop-line\"\n";
    line.edit_config("[audit]", &format!("{confirm}[audit]"));
    let (code, _, stderr) = run(&["run", "--config", &config, "--dry-run"]);
    assert_eq!(code, 0, "{stderr}");
    let (records, parts) = (line.records(), line.parts());
    assert!(records[0]["kind"] == "start" && records[0]["dry_run"] == true, "{}", records[0]);
    assert!(parts.len() == 6 && parts.iter().any(|part| part["fate"] == "rejected"), "{parts:?}");
    assert!(parts.iter().all(|part| part["dry_run"] == true), "{parts:?}");
    assert!(!records.iter().any(|record| record["alarm"] == "unconfirmed-reject"), "{records:?}");

    let audit = line.audit().display().to_string();
    let (_, table, _) = run(&["audit", "query", &audit, "--fate", "rejected"]);
    assert!(table.lines().skip(1).all(|row| row.contains("a dry run")) && table.lines().count() > 1, "{table}");
    let record = table.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    let (code, told, stderr) = run(&["audit", "show", &audit, record]);
    assert!(code == 0 && told.contains("no output was driven, and the part went on with the belt"), "{told}{stderr}");
    let (_, csv, _) = run(&["audit", "query", &audit, "--format", "csv"]);
    assert!(csv.lines().skip(1).all(|row| row.ends_with(",true")), "{csv}");
    let (code, told, _) = line.verify();
    assert!(code == 0 && told.contains("6 of 6 part records are of dry runs"), "{told}");
    let page = line.bench.text("shift.html");
    let (code, _, stderr) = run(&["audit", "report", &audit, "--out", &page]);
    assert_eq!(code, 0, "{stderr}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("6 of these 6 parts are of a dry run") && page.contains("dry run "), "the page");
}

#[test]
fn a_file_that_is_no_audit_does_not_verify() {
    let line = Line { bench: Bench::new() };
    File::create(line.audit()).unwrap().write_all(b"{\"hello\": \"world\"}\n").unwrap();
    let (code, _, stderr) = line.verify();
    assert!(code == 1 && stderr.contains("its first line is not one of an audit"), "{stderr}");
}

#[test]
fn a_picture_that_cannot_be_judged_is_a_fault_of_the_camera_and_its_part_is_rejected() {
    let line = Line::with_frames(8);
    let dim = |image: &image::RgbImage| {
        let mut dark = image.clone();
        dark.iter_mut().for_each(|value| *value /= 3);
        dark
    };
    let frame = |number: u32| line.bench.path(&format!("frames/{number:03}.png"));
    dim(&normal_part(0, 304)).save(frame(4)).unwrap();
    // The same picture twice.
    std::fs::copy(frame(6), frame(7)).unwrap();
    let config = line.config("rate = 20", NO_OUTPUT);
    let (code, _, err) = line.run(&config);
    assert_eq!(code, 0, "{err}");
    let parts = line.parts();
    let found = |number: usize| (parts[number]["verdict"].as_str(), parts[number]["fate"].as_str());
    assert_eq!((found(4), found(7)), ((Some("unknown"), Some("rejected")), (Some("unknown"), Some("rejected"))));
    assert!(parts[4]["detail"].as_str().unwrap().contains("too dark: its mean is"), "{}", parts[4]);
    assert!(parts[7]["detail"].as_str().unwrap().contains("the picture came before"), "{}", parts[7]);
    assert!(parts[4]["score"].is_null(), "it has no score");
    assert!(
        (0..8).filter(|number| ![4, 7].contains(number)).all(|number| found(number).0 != Some("unknown")),
        "{parts:?}"
    );
    let alarm = line.records().into_iter().find(|record| record["alarm"] == "picture-fault").unwrap();
    assert!(alarm["why"].as_str().unwrap().contains("look at the lamp"), "{alarm}");
}

#[test]
fn a_calibration_without_statistics_refuses_no_picture() {
    let line = Line::with_frames(3);
    let path = line.bench.path("calibration/red.toml");
    let mut first = hgad::calibrate::Calibration::open(&path).unwrap().0;
    (first.format_version, first.folds, first.picture) = (1, None, None);
    first.images.iter_mut().for_each(|image| image.picture = None);
    first.write(&path).unwrap();
    std::fs::copy(line.bench.path("frames/001.png"), line.bench.path("frames/002.png")).unwrap();
    let (code, _, err) = line.run(&line.config("rate = 20", NO_OUTPUT));
    assert_eq!(code, 0, "{err}");
    assert!(line.parts().iter().all(|part| part["verdict"] != "unknown"), "{:?}", line.parts());
}

#[test]
fn nothing_is_loaded_that_nobody_approved_and_the_audit_says_who_did() {
    let line = Line::with_frames(2);
    let config = line.config("rate = 20", NO_OUTPUT);
    line.edit_config("travel_ms", "approved_by = [\"quality.key.pub\"]\ntravel_ms");
    let key = line.bench.text("quality.key");
    assert_eq!(run(&["audit", "keygen", "--name", "quality", "--out", &key]).0, 0);
    let sign = |file: &str, reason: &str| {
        let (code, _, err) =
            run(&["sign", &line.bench.text(file), "--key", &key, "--by", "A. Smith", "--reason", reason]);
        assert_eq!(code, 0, "{err}");
    };
    let refused = |file: &str| {
        let (code, _, err) = line.run(&config);
        assert!(code == 2 && err.contains("line.approved_by") && err.contains(file), "{err}");
    };
    refused("bundle is not approved");
    sign("bundle", "first model");
    refused("red.toml is not approved");
    sign("calibration/red.toml", "first");
    assert_eq!(line.run(&config).0, 0);
    // Another calibration in its place is another file.
    let path = line.bench.path("calibration/red.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("target_frr = 0.05", "target_frr = 0.06")).unwrap();
    refused("changed since");
    sign("calibration/red.toml", "new lamp");
    assert_eq!(line.run(&config).0, 0);
    let starts = line.records().into_iter().filter(|record| record["kind"] == "start").collect::<Vec<_>>();
    let reasons = starts.iter().map(|start| start["approvals"][1]["reason"].as_str()).collect::<Vec<_>>();
    assert_eq!(reasons, [Some("first"), Some("new lamp")]);
    assert_eq!(starts[1]["approvals"][1]["sha256"], starts[1]["calibrations"]["red"]);
    assert_eq!(starts[1]["approvals"][0]["by"], "A. Smith");
    // A bundle that is signed can still be replaced by a training.
    hgad::bundle::Draft::check_place(&line.bench.path("bundle")).unwrap();
    // A bundle that was changed is told as that, and not as one that the calibrations are not of.
    let manifest = line.bench.path("bundle/manifest.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text + " \n").unwrap();
    refused("bundle is not approved");
}
