//! `hgad check` through the real program: a folder or a pipe as the camera, a pseudo-terminal and a Modbus server as devices.

mod common;

use common::plc::Plc;
use common::terminal::Terminal;
use common::{Bench, hgad, normal_part, parts, run};

/// A line over the tiny bundle; `camera` and `rest` are whole sections.
fn config(bench: &Bench, camera: &str, rest: &str) -> String {
    let text = format!(
        "format_version = 1\n[line]\nname = \"bench\"\nclass = \"red\"\nmodel = \"bundle\"\n\
         calibration = \"calibration/red.toml\"\ntravel_ms = 3000\npulse_ms = 20\ntolerance_ms = 2000\n\
         [camera]\n{camera}\n{rest}\n"
    );
    let path = bench.path("line.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// So slow that a loaded machine keeps up.
const FOLDER: &str = "kind = \"folder\"\npath = \"frames\"\nrate = 8\nrepeat = \"forever\"";
const AUDIT: &str = "[audit]\nfile = \"audit.jsonl\"";

fn bench() -> Bench {
    let bench = Bench::new();
    for number in 0..8 {
        bench.save(&format!("frames/{number:03}.png"), &normal_part(0, 300 + number));
    }
    bench
}

/// The row of what was checked: its state, and what was measured, with the advice below.
fn row(table: &str, what: &str) -> (String, String) {
    let mut lines = table.lines().skip_while(|line| !line.starts_with(&format!("{what:<14} ")));
    let first = lines.next().unwrap_or_else(|| panic!("no row '{what}' in:\n{table}"));
    let advice = lines.next().filter(|line| line.starts_with(' ')).unwrap_or_default();
    (first[15..23].trim().to_owned(), format!("{} {}", &first[24..], advice.trim()))
}

/// What has a problem. How much room the machine has is not for a test to judge.
fn problems(table: &str) -> Vec<&str> {
    let rows = table.lines().filter(|line| !line.starts_with(' ') && line[15..].starts_with("problem"));
    rows.map(|line| line[..14].trim()).filter(|what| *what != "disk").collect()
}

fn state(table: &str, what: &str) -> String {
    row(table, what).0
}

#[test]
fn a_line_that_can_run_is_measured_and_nothing_is_fired_or_written() {
    let bench = bench();
    let (terminal, plc) = (Terminal::open(), Plc::start());
    let rest = format!(
        "[output]\nkind = \"serial\"\nport = \"{}\"\nmessage = \"R\"\nrelease = \"-\"\n\
         [stop_line]\nkind = \"modbus\"\nserver = \"{plc}\"\ncoil = 3\ntimeout_ms = 5000\n\
         [bin]\nkind = \"modbus\"\nserver = \"{plc}\"\ndiscrete_input = 1\ntimeout_ms = 5000\n{AUDIT}",
        terminal.path,
        plc = plc.address
    );
    let config = config(&bench, FOLDER, &rest);
    let (_, table, stderr) = run(&["check", "--config", &config, "--seconds", "1"]);
    assert_eq!(problems(&table), [""; 0], "{table}{stderr}");
    for what in ["model", "picture", "stop line", "bin switch", "audit"] {
        assert_eq!(state(&table, what), "ok", "{table}");
    }
    for (what, advice) in [
        ("signing", "hgad audit keygen --name"),
        ("pictures", "pictures = "),
        ("limits", "in_a_row = 5"),
        ("approval", "approved_by = ["),
    ] {
        let (state, told) = row(&table, what);
        assert!(state == "note" && told.contains(advice), "{what}: {told}");
    }
    let (_, camera) = row(&table, "camera");
    assert!(camera.contains("folder") && camera.contains("per second") && camera.contains("p99"), "{camera}");
    let (state, ejector) = row(&table, "ejector");
    assert!(state == "note" && ejector.contains("nobody answers on this port"), "{ejector}");
    assert!(plc.writes().iter().all(|write| *write == (5, 3, 1)), "the belt is stopped, as before a run");
    assert!(!plc.writes().is_empty() && !bench.path("audit.jsonl").exists());
    let said = terminal.received().iter().map(|(_, byte)| char::from(*byte)).collect::<String>();
    assert!(said.chars().all(|byte| byte == '-'), "nothing is fired: {said}");
    let left = std::fs::read_dir(bench.path(".")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with(".hgad")), "nothing is left behind");
}

#[test]
fn the_ejector_fires_once_when_it_is_asked_for() {
    let bench = bench();
    let plc = Plc::start();
    let rest =
        format!("[output]\nkind = \"modbus\"\nserver = \"{}\"\ncoil = 7\ntimeout_ms = 5000\n{AUDIT}", plc.address);
    let config = config(&bench, FOLDER, &rest);
    let (_, table, stderr) = run(&["check", "--config", &config, "--seconds", "0.5", "--fire"]);
    assert_eq!(problems(&table), [""; 0], "{table}{stderr}");
    assert_eq!(state(&table, "ejector"), "ok", "{table}");
    assert_eq!(state(&table, "ejector fires"), "note", "{table}");
    let levels = plc.writes().into_iter().map(|(_, _, level)| level).collect::<Vec<_>>();
    assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1, "{levels:?}");
    assert_eq!(levels.last(), Some(&0), "{levels:?}");
}

#[test]
fn frames_of_another_program_are_measured_too() {
    let bench = bench();
    let program = "for round in 1 2 3 4 5 6 7 8 9; do for file in frames/*.png; do cat $file; done; sleep 0.1; done";
    let frame = normal_part(0, 1);
    let ppm = |seed: u32| {
        let image = normal_part(0, seed);
        [format!("P6 {} {} 255\n", frame.width(), frame.height()).as_bytes(), image.as_raw()].concat()
    };
    for number in 0..8 {
        std::fs::write(bench.path(&format!("frames/{number:03}.png")), ppm(300 + number)).unwrap();
    }
    let folder = bench.text("frames");
    let camera = format!(
        "kind = \"pipe\"\ncommand = [\"/bin/sh\", \"-c\", \"{}\"]\nformat = \"PNM\"\nwidth = {}\nheight = {}",
        program.replace("frames/", &format!("{folder}/")),
        frame.width(),
        frame.height()
    );
    let limits = "[limits]\nin_a_row = 5\nexceeded = \"stop-line\"\n";
    let config = config(&bench, &camera, &format!("[output]\nkind = \"none\"\n{limits}{AUDIT}"));
    let (_, table, stderr) = run(&["check", "--config", &config, "--seconds", "0.6"]);
    let (state, camera) = row(&table, "camera");
    assert!(["ok", "note"].contains(&state.as_str()) && camera.contains("pipe /bin/sh"), "{table}{stderr}");
    assert_eq!(row(&table, "ejector").0, "note", "{table}");
    let (state, stop) = row(&table, "stop line");
    assert!(state == "note" && stop.contains("nothing stops the belt, and limits.exceeded asks for it"), "{table}");
    let (state, silence) = row(&table, "silence");
    assert!(state == "note" && silence.contains("after 5000.0 ms") && silence.contains("timeout_ms = 0"), "{table}");
}

#[test]
fn what_is_missing_is_a_problem_each_with_its_place_in_the_file_and_what_to_do() {
    let bench = bench();
    std::fs::remove_dir_all(bench.path("bundle")).unwrap();
    let plc = Plc::start();
    plc.tables(|tables| rmodbus::server::context::ModbusContext::set_discrete(tables, 1, true).unwrap());
    let rest = format!(
        "[output]\nkind = \"serial\"\nport = \"/dev/nothing-here\"\nmessage = \"R\"\n\
         [alarm]\nkind = \"modbus\"\nserver = \"127.0.0.1:1\"\ncoil = 3\n\
         [bin]\nkind = \"modbus\"\nserver = \"{}\"\ndiscrete_input = 1\ntimeout_ms = 5000\n\
         [audit]\nfile = \"no-such-folder/audit.jsonl\"",
        plc.address
    );
    let config = config(&bench, "kind = \"v4l2\"\ndevice = \"/dev/no-camera\"\nwidth = 64\nheight = 64", &rest);
    let (code, table, stderr) = run(&["check", "--config", &config, "--seconds", "0.2"]);
    assert_eq!(code, 1, "{table}{stderr}");
    assert_eq!(problems(&table).len(), 6, "{table}{stderr}");
    for (what, told) in [
        ("model", "line.toml:"),
        ("camera", "line.toml:"),
        ("ejector", "/dev/nothing-here"),
        ("alarm", "127.0.0.1:1"),
        ("bin switch", "empty it"),
        ("audit", "no-such-folder"),
    ] {
        let (state, text) = row(&table, what);
        assert!(state == "problem" && text.contains(told) && text.contains("-> "), "{what}: {text}");
    }
}

#[test]
fn pictures_that_are_too_dark_and_a_log_that_was_changed_are_problems() {
    let bench = Bench::new();
    for number in 0..4 {
        let dark = image::RgbImage::from_fn(64, 64, |x, y| {
            image::Rgb(normal_part(0, number).get_pixel(x, y).0.map(|value| value / 8))
        });
        bench.save(&format!("frames/{number:03}.png"), &dark);
    }
    std::fs::write(bench.path("audit.jsonl"), "{\"seq\":0,\"kind\":\"start\"}\n").unwrap();
    let config = config(&bench, FOLDER, &format!("[output]\nkind = \"none\"\n{AUDIT}"));
    let (code, table, stderr) = run(&["check", "--config", &config, "--seconds", "0.3"]);
    assert_eq!(code, 1, "{table}{stderr}");
    let (picture, advice) = row(&table, "picture");
    assert!(picture == "problem" && advice.contains("too dark") && advice.contains("lamp"), "{table}");
    assert_eq!(state(&table, "audit"), "problem", "{table}");
}

#[test]
fn a_log_that_the_next_run_mends_and_a_copy_without_a_folder_are_told() {
    let bench = bench();
    assert_eq!(run(&["audit", "keygen", "--name", "line-3", "--out", &bench.text("line.key")]).0, 0);
    let audit = format!("{AUDIT}\nkey = \"line.key\"\ncheckpoint_copy = \"mounted/checkpoint\"");
    let folder = FOLDER.replace("\nrepeat = \"forever\"", "");
    let config = config(&bench, &folder, &format!("[output]\nkind = \"none\"\n{audit}"));
    let check = || run(&["check", "--config", &config, "--seconds", "0.3"]).1;
    let table = check();
    let (copy, told) = row(&table, "checkpoint");
    let folder = bench.text("mounted");
    assert!(copy == "problem" && told.contains(&format!("no folder {folder}")) && told.contains("mkdir -p"), "{table}");
    assert!(!bench.path("audit.jsonl").exists() && !bench.path("mounted").exists(), "nothing is made: {table}");
    std::fs::create_dir(bench.path("mounted")).unwrap();
    let (code, _, stderr) = run(&["run", "--config", &config]);
    assert_eq!(code, 0, "{stderr}");
    let mut log = std::fs::OpenOptions::new().append(true).open(bench.path("audit.jsonl")).unwrap();
    std::io::Write::write_all(&mut log, b"{\"seq\":1").unwrap();
    let table = check();
    let (audit, told) = row(&table, "audit");
    assert!(
        audit == "note" && told.contains("the next run cuts its 8 bytes off") && !told.contains("a whole log"),
        "{table}"
    );
}

#[test]
fn a_run_that_was_killed_is_told_of_and_what_the_next_one_does() {
    let bench = bench();
    let config = config(&bench, FOLDER, &format!("[output]\nkind = \"none\"\n{AUDIT}"));
    let mut child = hgad(&["run", "--config", &config]).stderr(std::process::Stdio::null()).spawn().unwrap();
    while parts(&bench.path("audit.jsonl")).is_empty() {
        assert_eq!(child.try_wait().unwrap(), None, "the program ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    for (late, next) in [("count", "raises missed-reject, and goes on"), ("stop-line", "stops the line at once")] {
        std::fs::write(&config, text.replace("pulse_ms", &format!("late = \"{late}\"\npulse_ms"))).unwrap();
        let (_, table, stderr) = run(&["check", "--config", &config, "--seconds", "0.3"]);
        let (state, told) = row(&table, "run before");
        assert!(state == "note" && told.contains("look at what lay between camera and ejector"), "{table}{stderr}");
        assert!(told.contains(next), "{told}");
    }
}

#[test]
fn a_witness_is_called_before_the_first_checkpoint_needs_it() {
    let bench = bench();
    let keygen = ["audit", "keygen", "--name", "line-3", "--out", &bench.text("line.key")];
    assert_eq!(run(&keygen).0, 0);
    let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, wanted) in [(there.local_addr().unwrap(), "ok"), (away, "problem")] {
        let audit = format!("{AUDIT}\nkey = \"line.key\"\nwitness = \"syslog://{address}\"");
        let config = config(&bench, FOLDER, &format!("[output]\nkind = \"none\"\n{audit}"));
        let (_, table, stderr) = run(&["check", "--config", &config, "--seconds", "0.3"]);
        let (state, told) = row(&table, "witness");
        assert!(state == wanted && told.contains(&format!("syslog://{address}")), "{table}{stderr}");
    }
}

#[test]
fn who_approved_of_what_the_line_goes_by_and_who_signs_its_audit_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let bench = bench();
    for name in ["line-3", "quality"] {
        let keygen = ["audit", "keygen", "--name", name, "--out", &bench.text(&format!("{name}.key"))];
        assert_eq!(run(&keygen).0, 0);
    }
    let rest = format!("[output]\nkind = \"none\"\n{AUDIT}\nkey = \"line-3.key\"");
    let config = config(&bench, FOLDER, &rest);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("travel_ms", "approved_by = [\"quality.key.pub\"]\ntravel_ms")).unwrap();
    let check = || run(&["check", "--config", &config, "--seconds", "0.3"]).1;
    let sign = |file: &str, by: &str, reason: &str| {
        let (file, key) = (bench.text(file), bench.text("quality.key"));
        let (code, _, stderr) = run(&["sign", &file, "--key", &key, "--by", by, "--reason", reason]);
        assert_eq!(code, 0, "{stderr}");
    };
    sign("bundle", "A. Smith", "first");
    // What nobody approved of is told of as a run does, and who could.
    let table = check();
    let (state, told) = row(&table, "model");
    assert!(state == "problem" && told.contains("red.toml is not approved"), "{table}");
    assert!(
        row(&table, "approval").1.contains("signed by quality+") && !table.contains("approved by A. Smith"),
        "{table}"
    );
    sign("calibration/red.toml", "B. Jones", "new lamp");
    let table = check();
    assert!(problems(&table).is_empty() && row(&table, "approval").1.contains("quality.key.pub"), "{table}");
    for (what, by) in [("model", "A. Smith, 20"), ("calibration of red", "B. Jones, 20")] {
        let told = format!("{:<14} {:<8} {what}: approved by {by}", "approval", "ok");
        assert!(table.contains(&told), "{told}\n{table}");
    }
    assert!(table.contains(": new lamp (key quality)"), "{table}");
    let (state, told) = row(&table, "signing");
    assert!(state == "ok" && told.contains("line-3+") && told.contains("no other user may read"), "{table}");
    std::fs::set_permissions(bench.path("line-3.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let table = check();
    let (state, told) = row(&table, "audit");
    assert!(state == "problem" && told.contains("others may read the audit's private key"), "{table}");
}
