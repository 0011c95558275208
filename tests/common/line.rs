//! A line that keeps pictures, after a run.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Bench, CLASSES, defective_part, normal_part, parts, run};

/// A line over the tiny bundle that keeps pictures, after a run of 12 frames of which every third is defective.
pub struct Line {
    /// Where it stands.
    pub bench: Bench,
}

impl Line {
    pub fn after_a_run(audit: &str) -> Self {
        let line = Line::new(audit);
        line.run();
        line
    }

    /// The same before its run; `audit` is added to its section of that name.
    pub fn new(audit: &str) -> Self {
        let line = Line { bench: Bench::new() };
        std::fs::create_dir(line.bench.path("frames")).unwrap();
        for number in 0..12 {
            let image = if number % 3 == 1 { defective_part(0, number) } else { normal_part(0, number) };
            image.save(line.bench.path(&format!("frames/{number:03}.png"))).unwrap();
        }
        let text = format!(
            "format_version = 1\n[line]\nname = \"bench\"\nclass = \"{}\"\nmodel = \"bundle\"\n\
             calibration = \"calibration/red.toml\"\ntravel_ms = 300\npulse_ms = 20\ntolerance_ms = 2000\n\
             [camera]\nkind = \"folder\"\npath = \"frames\"\nrate = 20\n[output]\nkind = \"none\"\n\
             [audit]\nfile = \"audit.jsonl\"\npictures = \"pictures\"\n{audit}",
            CLASSES[0]
        );
        std::fs::write(line.bench.path("line.toml"), text).unwrap();
        line
    }

    pub fn run(&self) {
        let (code, _, stderr) = run(&["run", "--config", &self.bench.text("line.toml")]);
        assert_eq!(code, 0, "{stderr}");
    }

    pub fn log(&self) -> String {
        self.bench.text("audit.jsonl")
    }

    pub fn parts(&self) -> Vec<Value> {
        parts(Path::new(&self.log()))
    }

    /// A part's picture. On a busy machine it has a record of its own, after the part's.
    pub fn kept(&self, part: &Value) -> Option<Value> {
        let is_it = |record: &Value| record["kind"] == "picture" && record["part"] == part["part"];
        let later = self.query(&["--kind", "picture"]).into_iter().find(is_it);
        let picture = later.as_ref().unwrap_or(part)["picture"].clone();
        picture["file"].is_string().then_some(picture)
    }

    pub fn picture(&self, part: &Value) -> PathBuf {
        self.bench.path("pictures").join(self.kept(part).unwrap()["file"].as_str().unwrap())
    }

    /// `hgad audit COMMAND LOG` with these and what judged.
    pub fn judged(&self, command: &str, args: &[&str]) -> (i32, String, String) {
        let (model, calibration) = (self.bench.text("bundle"), self.bench.text("calibration/red.toml"));
        let log = self.log();
        let whole = [&["audit", command, &log][..], args, &["--model", &model, "--calibration", &calibration]].concat();
        run(&whole)
    }

    pub fn query(&self, args: &[&str]) -> Vec<Value> {
        let (code, stdout, stderr) = run(&[&["audit", "query", &self.log(), "--format", "json"], args].concat());
        assert_eq!(code, 0, "{stderr}");
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
