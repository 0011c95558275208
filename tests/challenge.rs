//! `hgad challenge` and `hgad acknowledge` against a running line, whose frames come one by one from this test through a pipe.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use common::{Bench, defective_part, hgad, normal_part, records, run};
use image::RgbImage;
use serde_json::Value;

/// A line that runs, and the belt before its camera.
struct Line {
    bench: Bench,
    config: String,
    child: Child,
    belt: File,
    sent: u32,
}

impl Line {
    fn start() -> Self {
        Line::start_with(&[])
    }

    fn start_with(options: &[&str]) -> Self {
        let bench = Bench::new();
        let pipe = bench.path("belt");
        let name = std::ffi::CString::new(bench.text("belt")).unwrap();
        // SAFETY: the name is a valid C string.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let text = format!(
            "format_version = 1\n[line]\nname = \"bench\"\nclass = \"red\"\nmodel = \"bundle\"\n\
             calibration = \"calibration/red.toml\"\ntravel_ms = 3000\npulse_ms = 20\ntolerance_ms = 3000\n\
             [camera]\nkind = \"pipe\"\ncommand = [\"/bin/cat\", \"{}\"]\nformat = \"PNM\"\nwidth = 64\nheight = 64\n\
             timeout_ms = 0\n[output]\nkind = \"none\"\n[audit]\nfile = \"audit.jsonl\"\n\
             pictures = \"pictures\"\naround = 1\n",
            pipe.display()
        );
        std::fs::write(bench.path("line.toml"), text).unwrap();
        let config = bench.text("line.toml");
        let run = [&["run", "--config", &config], options].concat();
        let child = hgad(&run).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let belt = File::options().write(true).open(&pipe).unwrap();
        let mut line = Line { bench, config, child, belt, sent: 0 };
        line.send(false);
        line.wait_for(|records| of_kind(records, "part").len() == 1);
        line
    }

    fn send(&mut self, is_bad: bool) {
        self.sent += 1;
        let part: RgbImage = if is_bad { defective_part(0, 400 + self.sent) } else { normal_part(0, 400 + self.sent) };
        self.belt.write_all(b"P6 64 64 255\n").unwrap();
        self.belt.write_all(part.as_raw()).unwrap();
    }

    /// Sends these pieces as soon as the line waits for them, one when the one before has its place in the queue.
    fn challenge(&mut self, pieces: &[bool]) -> (i32, String) {
        let mut asking = self.ask(pieces.len());
        let mut told = BufReader::new(asking.stdout.take().unwrap());
        let mut said = String::new();
        told.read_line(&mut said).unwrap();
        assert!(said.contains("the line waits for"), "{said}");
        for is_bad in pieces {
            self.send(*is_bad);
            std::thread::sleep(Duration::from_millis(300));
        }
        std::io::Read::read_to_string(&mut told, &mut said).unwrap();
        (asking.wait().unwrap().code().unwrap(), said)
    }

    fn ask(&self, pieces: usize) -> Child {
        let pieces = pieces.to_string();
        let mut ask = hgad(&["challenge", "--config", &self.config, "--parts", &pieces, "--by", "Anna"]);
        ask.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn wait_for(&self, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        loop {
            let records = records(&self.bench.path("audit.jsonl"));
            if holds(&records) {
                return records;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn of_kind(records: &[Value], kind: &str) -> Vec<Value> {
    records.iter().filter(|record| record["kind"] == kind).cloned().collect()
}

#[test]
fn known_bad_pieces_are_rejected_and_who_sent_them_is_on_record() {
    let mut line = Line::start();
    let (code, said) = line.challenge(&[true, true, true]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("piece 3 of 3") && said.contains("passed"), "{said}");
    line.send(false);
    let records = line.wait_for(|records| of_kind(records, "part").len() == 5);

    let [begun, ended] = ["challenge-begun", "challenge"].map(|kind| of_kind(&records, kind).remove(0));
    // SAFETY: no preconditions.
    let by = format!("Anna (user id {})", unsafe { libc::geteuid() });
    assert_eq!((&begun["by"], &begun["pieces"]), (&Value::from(by.clone()), &Value::from(3)));
    assert_eq!((&ended["by"], &ended["passed"]), (&Value::from(by), &Value::from(true)));
    let pieces = of_kind(&records, "part").into_iter().filter(|part| part["challenge"] == true);
    let pieces = pieces.map(|part| (part["part"].clone(), part["fate"].clone())).collect::<Vec<_>>();
    assert_eq!(pieces, [1, 2, 3].map(|part| (Value::from(part), Value::from("rejected"))), "and no other part");
    assert_eq!(ended["caught"], serde_json::json!([1, 2, 3]));
    let around =
        records.iter().filter(|record| record["picture"]["why"] == "around").map(|record| record["part"].as_u64());
    assert_eq!(around.collect::<Vec<_>>(), [Some(0), Some(4)], "no alarm was raised");
}

#[test]
fn a_dry_run_takes_no_challenge() {
    let line = Line::start_with(&["--dry-run"]);
    let (code, _, stderr) = run(&["challenge", "--config", &line.config, "--parts", "2", "--by", "Bob"]);
    assert!(code == 3 && stderr.contains("no piece would be ejected"), "{stderr}");
    let (code, _, stderr) = run(&["challenge", "--config", &line.config, "--parts", "2", "--lane", "left"]);
    assert!(code == 2 && stderr.contains("no lane 'left'") && stderr.contains("leave --lane out"), "{stderr}");
    let records = records(&line.bench.path("audit.jsonl"));
    assert!(of_kind(&records, "challenge-begun").is_empty(), "{records:?}");
}

#[test]
fn a_piece_that_passes_is_an_alarm() {
    let mut line = Line::start();
    let (code, said) = line.challenge(&[true, false]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("MISSED: it was found good, and passed"), "{said}");
    let records = line.wait_for(|records| !of_kind(records, "challenge").is_empty());
    assert!(of_kind(&records, "alarm").iter().any(|alarm| alarm["alarm"] == "challenge-failed"));
    assert_eq!(of_kind(&records, "challenge")[0]["missed"][0]["part"], 2);
}

#[test]
fn who_goes_away_ends_the_challenge_and_a_second_one_is_refused_meanwhile() {
    let mut line = Line::start();
    let mut first = line.ask(3);
    line.wait_for(|records| !of_kind(records, "challenge-begun").is_empty());
    let (code, _, stderr) = run(&["challenge", "--config", &line.config, "--parts", "2", "--by", "Bob"]);
    assert!(code == 3 && stderr.contains("one by Anna is under way"), "{stderr}");
    first.kill().unwrap();
    first.wait().unwrap();
    let records = line.wait_for(|records| !of_kind(records, "challenge").is_empty());
    assert_eq!(of_kind(&records, "challenge")[0]["absent"], 3);
    line.send(false);
    let records = line.wait_for(|records| of_kind(records, "part").len() == 2);
    assert!(of_kind(&records, "part")[1].get("challenge").is_none(), "what comes then is no piece");
    let (code, said) = line.challenge(&[true]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_line_that_ends_says_that_pieces_were_not_seen_and_one_that_does_not_run_cannot_be_asked() {
    let mut line = Line::start();
    let mut asking = line.ask(2);
    line.wait_for(|records| !of_kind(records, "challenge-begun").is_empty());
    // SAFETY: no memory is involved; the child was not waited for, so its number is still its own.
    unsafe { libc::kill(line.child.id() as i32, libc::SIGTERM) };
    assert_eq!(asking.wait().unwrap().code(), Some(1));
    let _ = line.child.wait();
    let records = records(&line.bench.path("audit.jsonl"));
    assert_eq!(of_kind(&records, "challenge")[0]["absent"], 2);
    assert!(!line.bench.path("audit.jsonl.socket").exists(), "it leaves no socket behind");

    let (code, _, stderr) = run(&["challenge", "--config", &line.config, "--parts", "2"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("hgad run --config"), "{stderr}");
}

#[test]
fn an_acknowledged_alarm_is_on_record_in_the_report_and_stands_all_the_same() {
    let mut line = Line::start();
    let audit = line.bench.text("audit.jsonl");
    let acknowledge = |config: &str, more: &[&str]| run(&[&["acknowledge", "--config", config, "--by"], more].concat());
    let (code, _, stderr) = acknowledge(&line.config, &["Bob"]);
    assert!(code == 1 && stderr.contains("no alarm stands"), "{stderr}");

    line.challenge(&[false]);
    line.wait_for(|records| !of_kind(records, "alarm").is_empty());
    let (code, _, stderr) = acknowledge(&line.config, &["Bob", "--alarm", "drift"]);
    assert!(code == 1 && stderr.contains("challenge-failed (not acknowledged)"), "{stderr}");
    for name in ["", " ", "An\nna"] {
        assert_eq!(acknowledge(&line.config, &[name]).0, 2, "{name:?}");
    }
    // It needs not wait for a challenge that goes on.
    let mut asking = line.ask(1);
    line.wait_for(|records| of_kind(records, "challenge-begun").len() == 2);
    let (code, said, stderr) =
        acknowledge(&line.config, &["Anna", "--alarm", "challenge-failed", "--note", "a lamp is out"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(said.contains("acknowledged by Anna: challenge-failed"), "{said}");
    asking.kill().unwrap();
    asking.wait().unwrap();

    let records = line.wait_for(|records| !of_kind(records, "acknowledgement").is_empty());
    let (alarms, seen) = (of_kind(&records, "alarm"), of_kind(&records, "acknowledgement"));
    // SAFETY: no preconditions.
    let by = format!("Anna (user id {})", unsafe { libc::geteuid() });
    assert_eq!(
        (seen.len(), &seen[0]["by"], &seen[0]["remark"]),
        (1, &Value::from(by.clone()), &"a lamp is out".into())
    );
    let raised = serde_json::json!([{"alarm": "challenge-failed", "raised_ns": alarms[0]["monotonic_ns"]}]);
    assert_eq!(seen[0]["alarms"], raised);
    assert!(alarms.iter().all(|alarm| alarm["raised"] == true), "it stands: {alarms:?}");

    // SAFETY: no memory is involved; the child was not waited for, so its number is still its own.
    unsafe { libc::kill(line.child.id() as i32, libc::SIGTERM) };
    let _ = line.child.wait();
    let (code, said, stderr) = run(&["audit", "verify", &audit]);
    assert_eq!(code, 0, "{said}{stderr}");
    let (code, table, stderr) = run(&["audit", "query", &audit, "--kind", "acknowledgement"]);
    assert!(code == 0 && table.contains(&format!("{by} acknowledges challenge-failed after")), "{table}{stderr}");
    let page = line.bench.text("shift.html");
    let (code, _, stderr) = run(&["audit", "report", &audit, "--out", &page]);
    assert_eq!(code, 0, "{stderr}");
    let page = std::fs::read_to_string(page).unwrap();
    let cell = page.split("challenge-failed: ").nth(1).and_then(|rest| rest.split("</tr>").next()).unwrap_or_default();
    assert!(cell.contains(&format!("acknowledged by {by} after")) && cell.contains("a lamp is out"), "{cell}");
}
