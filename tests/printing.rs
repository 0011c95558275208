//! Standard output that nobody reads any more, or that is full: through the real program.

mod common;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};

use common::{Bench, hgad, parts, records, stderr};

/// Runs the program into a pipe whose reader is gone.
fn into_a_closed_pipe(args: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = hgad(args).stdout(OwnedFd::from(writer)).stderr(Stdio::piped()).spawn().unwrap();
    child.wait_with_output().unwrap()
}

fn onto_a_full_disk(args: &[&str]) -> Output {
    let full = File::options().write(true).open("/dev/full").unwrap();
    hgad(args).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
}

/// Commands that do nothing but print, and a line to run; all succeed where their output is read.
struct Commands {
    bench: Bench,
}

impl Commands {
    fn new() -> Self {
        let commands = Commands { bench: Bench::new() };
        let line = "format_version = 1\n[line]\nname = \"bench\"\nclass = \"red\"\nmodel = \"bundle\"\n\
                    calibration = \"calibration/red.toml\"\ntravel_ms = 300\npulse_ms = 20\ntolerance_ms = 2000\n\
                    [camera]\nkind = \"folder\"\npath = \"data/red/test/good\"\nrate = 20\n[output]\nkind = \"none\"\n\
                    [audit]\nfile = \"audit.jsonl\"\n";
        std::fs::write(commands.bench.path("line.toml"), line).unwrap();
        let (code, _, stderr) = common::run(&["run", "--config", &commands.bench.text("line.toml")]);
        assert_eq!(code, 0, "{stderr}");
        commands
    }

    fn tables(&self) -> Vec<Vec<String>> {
        let text = |inside: &str| self.bench.text(inside);
        let (model, data) = (text("bundle"), text("data"));
        let tables: [&[&str]; 5] = [
            &["score", "--model", &model, "--class", "red", &text("data/red/test/good")],
            &["score", "--model", &model, "--class", "red", "--json", &text("data/red/test/good")],
            &["eval", "--model", &model, "--calibration", &text("calibration"), "--data", &data],
            &["eval", "--model", &model, "--calibration", &text("calibration"), "--data", &data, "--json"],
            &["audit", "verify", &text("audit.jsonl")],
        ];
        tables.iter().map(|args| args.iter().map(|arg| (*arg).to_owned()).collect()).collect()
    }
}

#[test]
fn a_table_ends_with_its_reader_and_says_when_it_cannot_be_written() {
    let commands = Commands::new();
    for args in commands.tables() {
        let args = args.iter().map(String::as_str).collect::<Vec<_>>();
        let closed = into_a_closed_pipe(&args);
        // The bench has few masks, of which eval warns before it prints.
        let quiet = stderr(&closed).lines().all(|line| line.contains("WARN") && line.contains("8 masks"));
        assert!(closed.status.signal() == Some(libc::SIGPIPE) && quiet, "{args:?}: {}", stderr(&closed));
        let full = onto_a_full_disk(&args);
        assert_eq!(full.status.code(), Some(3), "{args:?}");
        assert!(stderr(&full).contains("error: standard output cannot be written"), "{args:?}: {}", stderr(&full));
    }
}

#[test]
fn a_line_runs_on_when_nobody_reads_what_it_prints() {
    let commands = Commands::new();
    let (audit, config) = (commands.bench.path("audit.jsonl"), commands.bench.text("line.toml"));
    let line = ["run", "--config", &config];
    let before = parts(&audit).len();
    let closed = into_a_closed_pipe(&line);
    assert_eq!(closed.status.code(), Some(0), "{}", stderr(&closed));
    assert_eq!(parts(&audit).len(), 2 * before);
    // The parts are on record; that their summary could not be written is still said.
    let full = onto_a_full_disk(&line);
    assert_eq!(full.status.code(), Some(3), "{}", stderr(&full));
    assert_eq!(records(&audit).last().unwrap()["kind"], "stop");
    assert_eq!(parts(&audit).len(), 3 * before);
}

#[test]
fn a_line_runs_on_when_nobody_reads_its_log() {
    let commands = Commands::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let log = OwnedFd::from(writer);
    let config = commands.bench.text("line.toml");
    let status = hgad(&["run", "--config", &config]).stdout(log.try_clone().unwrap()).stderr(log).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(records(&commands.bench.path("audit.jsonl")).last().unwrap()["kind"], "stop");
}

#[test]
fn a_demo_runs_on_when_nobody_watches() {
    let folder = tempfile::tempdir().unwrap();
    let [out, json] = ["out", "summary.json"].map(|inside| folder.path().join(inside).display().to_string());
    let closed = into_a_closed_pipe(&["demo", "--parts", "12", "--max-speed", "--out", &out, "--json", &json]);
    assert_eq!(closed.status.code(), Some(0), "{}", stderr(&closed));
    assert_eq!(parts(&folder.path().join("out/audit.jsonl")).len(), 12);
    assert!(std::fs::read_to_string(json).unwrap().contains("\"parts\": 12"));
}
