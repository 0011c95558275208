//! The demo through the real program, on parts that its training did not see.

mod common;

use std::path::Path;

use common::{parts, run};
use hgad::synthetic::Conveyor;
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
    let audit = summary["audit"].as_str().unwrap();
    // The same seed gives the same parts again; what became of them stands in the audit.
    let conveyor = Conveyor { seed: 31, defect_share: 0.1 };
    let parts = parts(Path::new(audit));
    let fates = parts.iter().map(|part| {
        let truth = conveyor.truth(part["frame"].as_u64().unwrap());
        assert_eq!(part["class"], truth.product.name());
        (truth.defect.is_some(), part["fate"] == "rejected")
    });
    let fates = fates.collect::<Vec<_>>();
    let among = |fate: (bool, bool)| fates.iter().filter(|found| **found == fate).count() as u64;
    assert_eq!((count("missed"), count("false_rejects")), (among((true, false)), among((false, true))));
    assert_eq!(count("defective"), among((true, true)) + among((true, false)));
    assert_eq!(count("rejected"), among((true, true)) + among((false, true)));
    assert!(count("defective") > 5);
    let [median, p99] = ["p50_ms", "p99_ms"].map(|key| summary[key].as_f64().unwrap());
    assert!(0.0 < median && median <= p99, "{summary}");
    // One part in fifty may be rejected without reason, and as many defects missed; a few more in so small a sample.
    let good = count("parts") - count("defective");
    assert!(count("false_rejects") <= good / 25, "{stdout}");
    assert!(count("missed") <= 1 + count("defective") / 10, "{stdout}");

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
