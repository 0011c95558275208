use super::*;
use std::time::Duration;

use crate::camera::pixels::PixelFormat;
use crate::camera::v4l2::ControlValue;
use crate::camera::v4l2::Memory;
use crate::line::{Consequence, SkippedPolicy};

pub(super) const WHOLE: &str = r#"format_version = 1

[line]
name = "line 3"
class = "washer"
model = "models/demo"
calibration = "washer.toml"
travel_ms = 400
pulse_ms = 30.5
late = "stop-line"

[camera]
kind = "folder"
path = "frames"
rate = 10

[output]
kind = "serial"
port = "/dev/ttyUSB0"
message = "REJECT\r\n"

[audit]
file = "/var/log/audit.jsonl"
"#;

fn parse(text: &str) -> Result<LineConfig> {
    LineConfig::parse(Path::new("etc/line.toml"), text)
}

#[test]
fn a_whole_file_is_read() {
    let config = parse(WHOLE).unwrap();
    assert_eq!(config.model, Path::new("etc/models/demo"), "paths start from the file");
    assert_eq!(config.threads, 1);
    assert_eq!(config.calibrations, [Path::new("etc/washer.toml")]);
    assert_eq!(config.audit.file, Path::new("/var/log/audit.jsonl"));
    assert_eq!(config.rules.lanes[0].ejector.dwell, Duration::from_micros(30_500));
    assert_eq!(config.rules.lanes[0].ejector.tolerance, config.rules.lanes[0].ejector.dwell / 2);
    assert_eq!((config.rules.late, config.rules.skipped), (Consequence::StopLine, SkippedPolicy::Reject));
    let CameraConfig::Folder(folder) = config.camera else { panic!("not a folder") };
    assert_eq!((folder.rate, folder.repeat), (10.0, Some(1)));
    let OutputConfig::Serial(serial) = config.lanes[0].output.clone() else { panic!("not serial") };
    let message = Template::parse("REJECT\r\n").unwrap();
    assert_eq!((serial.baud, serial.message, serial.release, serial.ack), (115_200, message, None, None));
}

#[test]
fn other_kinds_and_forms_are_read() {
    let text = WHOLE
        .replace("\"washer.toml\"", "[\"a.toml\", \"b.toml\"]")
        .replace("\"REJECT\\r\\n\"", "[2, 255, 3]\nrelease = \"\\x02OFF\"")
        .replace("rate = 10", "rate = 0.5\nrepeat = \"forever\"")
        .replace("travel_ms", "threads = 3\ntravel_ms");
    let config = parse(&text).unwrap();
    assert_eq!((config.calibrations.len(), config.threads), (2, 3));
    let OutputConfig::Serial(serial) = config.lanes[0].output.clone() else { panic!("not serial") };
    let release = Template::parse("\x02OFF").unwrap();
    assert_eq!((serial.message, serial.release), (Template::verbatim(&[2, 255, 3]), Some(release)));
    let CameraConfig::Folder(folder) = config.camera else { panic!("not a folder") };
    assert_eq!(folder.repeat, None);

    let (head, _) = WHOLE.split_once("[camera]").unwrap();
    let other = format!(
        "{head}[camera]\nkind = \"v4l2\"\ndevice = \"/dev/video2\"\nwidth = 640\nheight = 480\nformat = \"MJPG\"\n\
         buffers = \"own\"\n[output]\nkind = \"gpio\"\nchip = \"gpiochip0\"\nline = \"GPIO17\"\nactive_low = true\n\
         [audit]\nfile = \"a\"\nfsync = \"every-record\"\n"
    );
    let config = parse(&other).unwrap();
    let CameraConfig::V4l2(camera) = config.camera else { panic!("not v4l2") };
    assert_eq!((camera.format, camera.fps, camera.silence.as_millis()), (Some(PixelFormat::Mjpg), None, 2000));
    assert_eq!(camera.memory, Memory::Own);
    let OutputConfig::Gpio(gpio) = config.lanes[0].output.clone() else { panic!("not gpio") };
    assert!(gpio.active_low && gpio.line == "GPIO17");
    assert_eq!(config.audit.sync, SyncPolicy::EveryRecord);
}

fn with_camera(camera: &str) -> Result<LineConfig> {
    let (head, rest) = WHOLE.split_once("[camera]").unwrap();
    let (_, tail) = rest.split_once("[output]").unwrap();
    parse(&format!("{head}[camera]\n{camera}\n[output]{tail}"))
}

const CAMERA: &str = "kind = \"v4l2\"\ndevice = \"/dev/video2\"\nwidth = 640\nheight = 480\n";
const PIPE: &str =
    "kind = \"pipe\"\ncommand = [\"bin/grab\", \"-o\", \"a b\"]\nwidth = 64\nheight = 48\nformat = \"YU12\"\n";

#[test]
fn controls_are_numbers_switches_and_choices() {
    let text = format!("{CAMERA}[camera.controls]\nexposure_us = 2000\nautogain = false\npower_line = \"50 Hz\"");
    let CameraConfig::V4l2(camera) = with_camera(&text).unwrap().camera else { panic!("not v4l2") };
    let expected = [
        ("autogain", ControlValue::Switch(false)),
        ("exposure_us", ControlValue::Number(2000)),
        ("power_line", ControlValue::Choice("50 Hz".into())),
    ];
    assert_eq!(camera.controls, expected.map(|(name, value)| (name.to_owned(), value)).into());
    let error = with_camera(&format!("{CAMERA}controls = {{ gain = 1.5 }}")).unwrap_err();
    let says = "line.toml:17:21: gain is to be a whole number, true or false, or a choice's name in quotes, and is 1.5";
    assert!(error.report().contains(says), "{}", error.report());
}

#[test]
fn a_pipe_is_a_command_and_what_it_writes() {
    let config = with_camera(PIPE).unwrap();
    assert_eq!(config.camera.frame(), Some((64, 48)));
    let CameraConfig::Pipe(pipe) = config.camera else { panic!("not a pipe") };
    assert_eq!(pipe.command, ["etc/bin/grab", "-o", "a b"], "a path starts from the file");
    assert_eq!((pipe.layout().bytes(), pipe.silence.as_millis()), (Some(64 * 48 * 3 / 2), 5000));
    let padded = with_camera(&format!("{PIPE}stride = 96\ntimeout_ms = 0")).unwrap();
    let CameraConfig::Pipe(pipe) = padded.camera else { panic!("not a pipe") };
    assert_eq!((pipe.layout().bytes(), pipe.silence.as_millis()), (Some(96 * 48 * 3 / 2), 0));

    let cases = [
        ("[\"bin/grab\", \"-o\", \"a b\"]", "[]", ":14:11: command names no program"),
        ("[\"bin/grab\", \"-o\", \"a b\"]", "[\"grab -o -\"]", ":14:11: command is one word, 'grab -o -'"),
        ("[\"bin/grab\", \"-o\", \"a b\"]", "\"grab\"", ":14:11: command is to be a list, and is the text \"grab\""),
        ("\"YU12\"", "\"NM12\"", ":17:10: format \"NM12\" is not one of RGB3"),
        ("\"YU12\"", "\"YU12\"\nstride = 63", ":18:10: stride is 63, and the pixels of a row alone take 64 bytes"),
        ("\"YU12\"", "\"MJPG\"\nstride = 64", ":18:10: stride has no meaning for MJPG"),
    ];
    for (from, to, says) in cases {
        let error = with_camera(&PIPE.replace(from, to)).unwrap_err();
        assert!(error.report().contains(says), "{to}: {}", error.report());
    }
}

#[test]
fn complaints_say_where_and_what() {
    struct Case {
        replace: (&'static str, &'static str),
        says: &'static str,
    }
    let cases = [
        Case {
            replace: ("pulse_ms", "pulse_mss"),
            says: "line.toml:9:1: unknown key 'pulse_mss'; did you mean 'pulse_ms'? in [line]",
        },
        Case { replace: ("[audit]", "[audti]"), says: "line.toml:22:2: unknown key 'audti'; did you mean 'audit'?" },
        Case {
            replace: ("rate = 10", "rate = 10\ncolour = 1"),
            says: "line.toml:16:1: unknown key 'colour' in [camera]",
        },
        Case {
            replace: ("travel_ms = 400", "travel_ms = \"400\""),
            says: "line.toml:8:13: travel_ms is to be a number, and is the text \"400\"",
        },
        Case {
            replace: ("travel_ms = 400", "travel_ms = 30"),
            says: "line.toml:8:13: travel_ms (30) is not longer than pulse_ms (30.5)",
        },
        Case {
            replace: ("travel_ms", "threads = 0\ntravel_ms"),
            says: "line.toml:8:11: threads must be greater than 0, and is 0",
        },
        Case {
            replace: ("travel_ms", "threads = 65\ntravel_ms"),
            says: "line.toml:8:11: threads must be at most 64, and is 65",
        },
        Case { replace: ("rate = 10", "rate = 0"), says: "line.toml:15:8: rate must be greater than 0, and is 0" },
        Case { replace: ("rate = 10", "rate = nan"), says: "line.toml:15:8: rate must be greater than 0, and is NaN" },
        Case { replace: ("rate = 10\n", ""), says: "line.toml:12:1: the key 'rate' is missing in [camera]" },
        Case { replace: ("rate = 10", "rate = 10\nrepeat = 0"), says: "line.toml:16:10: repeat is 0" },
        Case { replace: ("\"folder\"", "\"gige\""), says: "line.toml:13:8: there is no camera of kind 'gige'" },
        Case { replace: ("\"folder\"", "\"foldr\""), says: "of kind 'foldr'; did you mean 'folder'?" },
        Case {
            replace: ("\"stop-line\"", "\"stop\""),
            says: "line.toml:10:8: late cannot be 'stop'; did you mean 'stop-line'?",
        },
        Case { replace: ("\"REJECT\\r\\n\"", "'REJECT\\r\\n'"), says: "line.toml:20:11: message holds a backslash" },
        Case {
            replace: ("REJECT\\r\\n", "R {id}"),
            says: "line.toml:20:11: message holds a place that there is not: {id}",
        },
        Case {
            replace: ("REJECT\\r\\n\"", "R {part}\"\nbaud = 4800"),
            says: "line.toml:20:11: the message takes 25.0 ms at 4800 baud",
        },
        Case {
            replace: ("message = \"REJECT\\r\\n\"", "message = \"R\"\nack_timeout_ms = 20"),
            says: "line.toml:21:18: nothing is waited for without ack",
        },
        Case {
            replace: ("\"REJECT\\r\\n\"", "[1, 256]"),
            says: "line.toml:20:15: message is to be a whole number from 0 to 255, and is the number 256",
        },
        Case {
            replace: ("\"REJECT\\r\\n\"", "true"),
            says: "line.toml:20:11: message is to be a text or a list of bytes (0 to 255), and is true",
        },
        Case { replace: ("rate = 10", "rate = 10\nrate = 11"), says: "line.toml:16:1: 'rate' is given twice" },
        Case { replace: ("rate = 10", "rate = 10\nrepeat = \"often\""), says: "repeat is to be how often the folder" },
        Case {
            replace: ("message = \"REJECT\\r\\n\"", "baud = 1200\nmessage = \"REJECT\\r\\n\""),
            says: "the message takes 66.7 ms at 1200 baud, and after 15.2 ms",
        },
        Case {
            replace: ("name = \"line 3\"", "name = 3"),
            says: "line.toml:4:8: name is to be a text in quotes, and is the number 3",
        },
        Case { replace: ("\"washer.toml\"", "[1]"), says: "line.toml:7:16: calibration is to be a text in quotes" },
        Case { replace: ("pulse_ms = 30.5\n", ""), says: "line.toml:3:1: the key 'pulse_ms' is missing in [line]" },
        Case {
            replace: ("format_version = 1", "format_version = 2"),
            says: "line.toml:1:18: configuration format 2 is unknown",
        },
        Case { replace: ("format_version = 1", ""), says: "format_version is missing" },
        Case { replace: ("class = \"washer\"", "class = \"\""), says: "line.toml:5:9: class is empty" },
        Case { replace: ("name = \"line 3\"", "name = \"line 3"), says: "line.toml:4:" },
        Case { replace: ("[output]\n", ""), says: "line.toml:17:1: " },
    ];
    for case in cases {
        let text = WHOLE.replacen(case.replace.0, case.replace.1, 1);
        assert_ne!(text, WHOLE, "{} does not occur", case.replace.0);
        let error = parse(&text).expect_err(case.says);
        assert_eq!(error.kind().exit_code(), 2);
        assert!(error.to_string().contains(case.says), "{}\n  is not\n{error}", case.says);
        assert!(error.report().contains("\n  try: "), "{}", error.report());
        assert!(!error.report().contains('`'), "{}", error.report());
    }
}

#[test]
fn a_key_that_is_missing_is_shown_with_a_value_that_would_do() {
    let (head, _) = WHOLE.split_once("[camera]").unwrap();
    let v4l2 = "[camera]\nkind = \"v4l2\"\ndevice = \"/dev/video2\"\nwidth = 640\nheight = 480\n\
                [output]\nkind = \"gpio\"\nchip = \"gpiochip0\"\nline = \"GPIO17\"\n[audit]\nfile = \"a\"\n";
    let synthetic =
        "[camera]\nkind = \"synthetic\"\nseed = 1\nrate = 2\n[output]\nkind = \"none\"\n[audit]\nfile = \"a\"\n";
    let mut missing = 0;
    for whole in [WHOLE.to_owned(), format!("{head}{v4l2}"), format!("{head}{synthetic}")] {
        parse(&whole).unwrap();
        for line in whole.lines().filter(|line| line.contains(" = ")) {
            let Err(error) = parse(&whole.replacen(&format!("{line}\n"), "", 1)) else { continue };
            let key = line.split_whitespace().next().unwrap();
            if ["format_version", "kind"].contains(&key) {
                continue;
            }
            let report = error.report();
            let (_, added) = report.split_once("add a line such as: ").expect(&report);
            parse(&whole.replacen(line, added, 1)).unwrap();
            missing += 1;
        }
    }
    assert_eq!(missing, 11 + 12 + 9);
}

#[test]
fn what_a_key_names_is_blamed_on_its_line() {
    let blamed = parse(WHOLE).unwrap().blame("line.model", Error::device("it is gone"));
    assert_eq!(blamed.to_string(), "etc/line.toml:6:9: line.model: it is gone");
    let blamed = parse(WHOLE).unwrap().blame("audit", Error::device("it is gone"));
    assert_eq!(blamed.to_string(), "etc/line.toml:22:1: audit: it is gone");
}

#[test]
fn an_audit_s_files_are_named_and_none_is_written_over_another() {
    let with = |keys: &str| parse(&WHOLE.replace("\"/var/log/audit.jsonl\"", &format!("\"a.jsonl\"\n{keys}")));
    let whole = "key = \"line.key\"\nformer_keys = [\"old.pub\"]\ncheckpoint_copy = \"copy\"";
    let signing = with(whole).unwrap().audit.signing.unwrap();
    assert_eq!((signing.key, signing.former_keys), ("etc/line.key".into(), vec!["etc/old.pub".into()]));
    let cases = [
        ("\"old.pub\"", "\"\"", ":25:16: former_keys is empty", "former_keys = ["),
        ("\"line.key\"", "\"\"", ":24:7: key is empty", "key = \"line-3.key\""),
        ("\"copy\"", "\"\"", ":26:19: checkpoint_copy is empty", "checkpoint_copy = \"/mnt"),
        ("\"copy\"", "\"./a.jsonl\"", ":26:19: checkpoint_copy is the same file as file", "of its own"),
        ("\"copy\"", "\"line.key\"", ":26:19: checkpoint_copy is the same file as key", "of its own"),
        ("\"line.key\"", "\"a.jsonl\"", ":24:7: key is the same file as file", "of its own"),
        ("[\"old.pub\"]", "3", ":25:15: former_keys is to be", "former_keys = ["),
    ];
    for (from, to, says, advice) in cases {
        let report = with(&whole.replace(from, to)).unwrap_err().report();
        assert!(report.contains(says) && report.contains(advice), "{says}\n  is not\n{report}");
    }
}

#[test]
fn an_unknown_key_lists_the_known_ones() {
    let report = parse(&WHOLE.replace("pulse_ms", "pulse_mss")).unwrap_err().report();
    assert!(report.contains("travel_ms, travel_mm, pulse_ms, tolerance_ms, delay_ms"), "{report}");
}
