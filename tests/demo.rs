//! The demo through the real program, on parts that its training did not see.

mod common;

use common::run;
use serde_json::Value;

#[test]
fn the_demo_runs_the_whole_line_and_its_audit_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (out, json) = (folder.path().join("out"), folder.path().join("summary.json"));
    let (out_text, json_text) = (out.display().to_string(), json.display().to_string());
    let args = ["demo", "--parts", "200", "--seed", "31", "--max-speed", "--out", &out_text, "--json", &json_text];
    let (code, stdout, stderr) = run(&args);
    assert_eq!(code, 0, "{stderr}");
    let summary: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let count = |key: &str| summary[key].as_u64().unwrap_or_else(|| panic!("{key} is missing: {summary}"));
    assert_eq!(count("parts"), 200);
    assert!(count("defective") > 5);
    assert_eq!(count("rejected") - count("false_rejects"), count("defective") - count("missed"));
    assert!(summary["p50_ms"].as_f64().unwrap() > 0.0 && summary["p99_ms"].is_number());
    // One part in fifty may be rejected without reason; a few more in so small a sample.
    let good = count("parts") - count("defective");
    assert!(count("false_rejects") <= good / 25, "{stdout}");
    assert!(count("missed") <= count("defective") / 2, "{stdout}");

    let audit = summary["audit"].as_str().unwrap();
    let (code, stdout, stderr) = run(&["audit", "verify", audit]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("200 parts"), "{stdout}");
    let pictures = hgad::dataset::images(&out.join("overlays")).unwrap();
    assert!(!pictures.is_empty());
    assert!(image::open(&pictures[0]).is_ok());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let out = file.join("out").display().to_string();
    let (code, _, stderr) = run(&["demo", "--parts", "3", "--max-speed", "--out", &out]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains(&out), "{stderr}");
}
