//! A folder of real images, replayed through the whole line to a real pseudo-terminal and to a real Modbus server.

mod common;

use std::path::Path;

use common::beside::shared;
use common::plc::Plc;
use common::terminal::{Terminal, assert_one_message_per_reject};
use common::{CLASSES, normal_part, parts, run, write_bundle};
use serde_json::Value;

/// The tiny bundle's product that stands in for the real one.
const CLASS: &str = CLASSES[0];
const TRAVEL_MS: u64 = 500;

/// Copies images into `folder`, named so that they sort in the order given.
fn collect(folder: &Path, images: &[std::path::PathBuf]) {
    std::fs::create_dir(folder).unwrap();
    for (i, image) in images.iter().enumerate() {
        let kind = image.parent().unwrap().file_name().unwrap().to_string_lossy();
        std::fs::copy(image, folder.join(format!("{i:03}-{kind}.jpg"))).unwrap();
    }
}

/// What `hgad score` says of every image: file name, score, verdict.
fn scored(model: &str, calibration: &str, folder: &str) -> Vec<(String, Value, Value)> {
    let args = ["score", "--model", model, "--calibration", calibration, "--class", CLASS, "--json", folder];
    let (code, stdout, stderr) = run(&args);
    assert_eq!(code, 0, "{stderr}");
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let name = Path::new(row["image"].as_str().unwrap()).file_name().unwrap().to_string_lossy().into_owned();
        (name, row["score"].clone(), row["verdict"].clone())
    };
    stdout.lines().map(row).collect()
}

/// The tiny model sees colours alone, and real parts are nothing like its own: its calibration gets a threshold by which half of
/// `frames` pass.
fn calibrate_to_reject_half(folder: &Path, model: &str, calibration: &str, frames: &str) {
    let normal = folder.join("normal");
    std::fs::create_dir(&normal).unwrap();
    (0..20).for_each(|seed| normal_part(0, seed + 1000).save(normal.join(format!("{seed:02}.png"))).unwrap());
    let args = ["--class", CLASS, "--images", normal.to_str().unwrap(), "--target-frr", "0.3", "--out", calibration];
    let (code, _, stderr) = run(&[&["calibrate", "--model", model], &args[..]].concat());
    assert_eq!(code, 0, "{stderr}");
    let mut scores = scored(model, calibration, frames).iter().map(|(_, s, _)| s.as_f64().unwrap()).collect::<Vec<_>>();
    scores.sort_by(f64::total_cmp);
    let text = std::fs::read_to_string(calibration).unwrap();
    let own = text.lines().find(|line| line.starts_with("threshold = ")).unwrap();
    // Nor do they look like its own: what pictures may be like is left out.
    let (before, limits) = text.split_once("[picture]").unwrap();
    let after = limits.find("\n[").map_or("", |next| &limits[next..]);
    let text = format!("{before}{after}");
    std::fs::write(calibration, text.replace(own, &format!("threshold = {}", scores[scores.len() / 2] as f32)))
        .unwrap();
}

/// Runs the line with an output, and gives the records of its parts, which are as they were scored, and what it printed.
fn replayed(folder: &Path, output: &str, scored: &[(String, Value, Value)]) -> (Vec<Value>, String) {
    let config = format!(
        "format_version = 1\n[line]\nname = \"replay\"\nclass = \"{CLASS}\"\nmodel = \"bundle\"\n\
         calibration = \"calibration.toml\"\ntravel_ms = {TRAVEL_MS}\npulse_ms = 20\ntolerance_ms = 2000\n\
         [camera]\nkind = \"folder\"\npath = \"frames\"\nrate = 10\n[output]\n{output}\n[audit]\nfile = \"audit.jsonl\"\n"
    );
    std::fs::write(folder.join("line.toml"), config).unwrap();
    let (code, stdout, stderr) = run(&["run", "--config", folder.join("line.toml").to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    let parts = parts(&folder.join("audit.jsonl"));
    std::fs::remove_file(folder.join("audit.jsonl")).unwrap();
    assert_eq!(parts.len(), scored.len(), "{stdout}");
    for (part, (name, score, verdict)) in parts.iter().zip(scored) {
        assert_eq!(part["origin"], **name);
        // A frame that a busy machine did not inspect in time has no verdict, and is rejected too.
        let judged = part["verdict"] != "unknown";
        assert!(!judged || (&part["score"], &part["verdict"]) == (score, verdict), "{part} {score} {verdict}");
        assert_eq!(part["fate"], if part["verdict"] == "pass" { "passed" } else { "rejected" }, "{part}");
    }
    (parts, stdout)
}

#[test]
fn a_terminal_and_a_modbus_server_receive_one_reject_per_rejected_frame_of_a_real_folder() {
    let Some(data) = shared("data/commutator") else { return };
    let images = |inside: &str| hgad::dataset::images(&data.join(inside)).unwrap();
    let (good, cracked) = (images("test/good"), images("test/crack"));
    let folder = tempfile::tempdir().unwrap();
    let path = |inside: &str| folder.path().join(inside).display().to_string();
    let belt = (0..48).map(|i| if i % 3 == 1 { &cracked[i / 3] } else { &good[i] }.clone()).collect::<Vec<_>>();
    collect(&folder.path().join("frames"), &belt);

    write_bundle(&folder.path().join("bundle"));
    let (model, calibration) = (path("bundle"), path("calibration.toml"));
    calibrate_to_reject_half(folder.path(), &model, &calibration, &path("frames"));
    let scored = scored(&model, &calibration, &path("frames"));

    let terminal = Terminal::open();
    let serial = format!("kind = \"serial\"\nport = \"{}\"\nmessage = \"R\\n\"", terminal.path);
    let (parts, stdout) = replayed(folder.path(), &serial, &scored);
    let received = terminal.received();
    let with = |verdict: &str| parts.iter().filter(|part| part["verdict"] == verdict).count();
    assert!(with("reject") >= 5 && with("pass") >= 5, "{stdout}");
    assert_one_message_per_reject(&received, &parts, TRAVEL_MS);

    let plc = Plc::start();
    let modbus = format!("kind = \"modbus\"\nserver = \"{}\"\ncoil = 3\ntimeout_ms = 1000", plc.address);
    let (parts, _) = replayed(folder.path(), &modbus, &scored);
    let rejected = parts.iter().filter(|part| part["fate"] == "rejected").count();
    let writes = plc.writes();
    assert!(writes.iter().all(|(code, address, _)| (*code, *address) == (5, 3)), "{writes:?}");
    assert_eq!(writes.iter().filter(|(.., value)| *value == 1).count(), rejected, "{writes:?}");
    assert_eq!([writes[0].2, writes[writes.len() - 1].2], [0, 0], "it is off at the start and at the end");
}
