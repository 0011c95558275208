//! Ablations: trainings that fail, and runs that end early.

use super::*;

#[test]
fn an_ablation_notes_trainings_that_diverge_and_goes_on() {
    let line = masked();
    let ablate = |more: &[&str]| {
        let common = ["ablate", "--data", "parts", "--backbone", "small.onnx", "--taps", "fine,coarse", "--size", "32"];
        let rest = ["--normalize", "unit", "--hold-out", "4", "--blocks", "2", "--epochs", "4", "--cache", "cache"];
        program(&line, &[&common[..], &rest, &["--tables", "b", "--seeds", "1", "--out", "cells"], more].concat())
    };
    let read = |file: &str| std::fs::read_to_string(line.path("cells").join(file)).unwrap();
    let (status, text, errors) = ablate(&["--learning-rate", "1e20"]);
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("5 of 5 trainings diverged") && errors.contains("--seeds"), "{errors}");
    assert_eq!((text.matches("0, 1 diverged").count(), &text), (5, &read("ablation.txt")), "{text}");
    let json: serde_json::Value = serde_json::from_str(&read("ablation.json")).unwrap();
    let why = json["tables"][0]["rows"][0]["cells"][0]["diverged"].as_str().unwrap();
    assert!(why.contains("diverged"), "{why}");
    // It is known: nothing is trained again.
    let (status, _, errors) = ablate(&["--learning-rate", "1e20"]);
    assert!(status.code() == Some(1) && !errors.contains("training 1 of"), "{errors}");

    // Other settings beside it leave its tables, and a cell that is cut short is computed again.
    let (status, good, errors) = ablate(&[]);
    assert!(status.success() && !good.contains("diverged"), "{good}{errors}");
    let kept = format!("ablation-{}.txt", &json["settings"].as_str().unwrap()[..8]);
    assert_eq!(read(&kept), text);
    let json: serde_json::Value = serde_json::from_str(&read("ablation.json")).unwrap();
    let settings = json["tables"][0]["rows"][2]["cells"][0]["settings"].as_str().unwrap();
    let cell = line.path("cells").join(format!("cell-{}.json", &settings[..8]));
    std::fs::write(&cell, "").unwrap();
    let (status, again, errors) = ablate(&[]);
    assert!(
        status.success() && errors.contains("will be computed again") && errors.contains("training 5 of 5"),
        "{errors}"
    );
    assert_eq!(again, good);

    let lock = std::fs::File::open(line.path("cells/ablation.lock")).unwrap();
    lock.lock().unwrap();
    let (status, _, errors) = ablate(&[]);
    assert!(status.code() == Some(2) && errors.contains("another ablation is computing"), "{errors}");
}

#[test]
fn an_ablation_that_was_killed_ends_with_the_tables_of_one_that_was_not() {
    let line = masked();
    let arguments = |out: &'static str, more: &[&'static str]| {
        let common = ["ablate", "--data", "parts", "--backbone", "small.onnx", "--taps", "fine,coarse", "--size", "32"];
        let rest = ["--normalize", "unit", "--hold-out", "4", "--blocks", "2", "--epochs", "12", "--cache", "cache"];
        [&common[..], &rest, &["--tables", "a,c", "--seeds", "2,1", "--out", out], more].concat()
    };
    let (status, listed, errors) = program(&line, &arguments("whole", &["--list"]));
    assert!(status.success(), "{errors}");
    assert_eq!(
        listed.matches("to do").count(),
        12,
        "six trainings with two seeds, of which one is table (c)'s: {listed}"
    );
    assert!(listed.contains("a ICG+MIM+Intra, c logps, c entropy, c logps+entropy"), "{listed}");
    assert!(listed.contains("12 trainings, 0 finished; the others take about"), "{listed}");
    assert!(!line.path("whole/ablation.txt").exists());

    let (status, text, errors) = program(&line, &arguments("whole", &[]));
    assert!(status.success(), "{errors}");
    let read = |file: &str| std::fs::read_to_string(line.path(file)).unwrap();
    assert_eq!(text, read("whole/ablation.txt"));

    // Killed as soon as there is a cell, and so in another one.
    let mut command = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
    command.args(arguments("pieces", &[])).current_dir(line.folder.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let cells = |folder: &str| {
        let entries = std::fs::read_dir(line.path(folder)).into_iter().flatten().map(|e| e.unwrap().file_name());
        entries.filter(|n| n.to_string_lossy().starts_with("cell-") && n.to_string_lossy().ends_with(".json")).count()
    };
    while cells("pieces") == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let finished = cells("pieces");
    assert!((1..12).contains(&finished), "{finished} of 12 cells");
    let (_, listed, _) = program(&line, &arguments("pieces", &["--list"]));
    assert_eq!(listed.matches("finished").count(), finished + 1, "{listed}");
    let (status, again, errors) = program(&line, &arguments("pieces", &[]));
    assert!(status.success() && errors.contains(&format!("training {} of 12", finished + 1)), "{errors}");
    assert_eq!(again, text);
    for file in ["ablation.csv", "ablation.json", "ablation.html"] {
        assert_eq!(read(&format!("whole/{file}")), read(&format!("pieces/{file}")), "{file}");
    }

    // Means and deviations follow from the cells; the text has them in percent, and so has the page.
    let json: serde_json::Value = serde_json::from_str(&read("whole/ablation.json")).unwrap();
    let (csv, html) = (read("whole/ablation.csv"), read("whole/ablation.html"));
    let mut rows = 0;
    for table in json["tables"].as_array().unwrap() {
        for row in table["rows"].as_array().unwrap() {
            let of_seeds = |figure: &str| {
                let of_cell = |cell: &serde_json::Value| {
                    let classes = cell["classes"].as_object().unwrap();
                    let sum = classes.values().map(|class| class[figure].as_f64().unwrap()).sum::<f64>();
                    sum / classes.len() as f64
                };
                row["cells"].as_array().unwrap().iter().map(of_cell).collect::<Vec<_>>()
            };
            let mut told = Vec::new();
            for (name, figure) in [("image_auroc", "image"), ("pixel_auroc", "pixel")] {
                let [a, b] = of_seeds(figure)[..] else { panic!("two seeds") };
                let (mean, deviation) = ((a + b) / 2.0, (a - b).abs() / 2f64.sqrt());
                assert!((row[name]["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
                assert!((row[name]["deviation"].as_f64().unwrap() - deviation).abs() < 1e-12);
                // Latents so far away are sure of their class: entropy does not see these stains.
                assert!((0.0..=1.0).contains(&mean) && (mean > 0.9 || row["criterion"] != "logps"), "{row}");
                told.push(format!("{:.1} +- {:.1}", 100.0 * mean, 100.0 * deviation));
            }
            assert!(text.lines().any(|line| told.iter().all(|told| line.contains(told))), "{told:?} in {text}");
            assert!(told.iter().all(|told| html.contains(&told.replace("+-", "&plusmn;"))), "{told:?}");
            let criterion = row["criterion"].as_str().unwrap();
            let (letter, name) = (table["table"].as_str().unwrap(), row["row"].as_str().unwrap());
            let begins = format!("{letter},{name},{criterion},2,");
            let numbers =
                csv.lines().find_map(|line| line.strip_prefix(&begins)).unwrap_or_else(|| panic!("{begins}: {csv}"));
            let numbers = numbers.split(',').map(|number| number.parse().unwrap()).collect::<Vec<f64>>();
            let expected = [("image_auroc", "mean"), ("image_auroc", "deviation"), ("pixel_auroc", "mean")];
            let expected = expected.map(|(figure, what)| row[figure][what].as_f64().unwrap());
            assert_eq!(numbers[..3], expected, "{begins}");
            rows += 1;
        }
    }
    assert_eq!(rows, 9);

    // Other settings have cells of their own; parts that are off already cannot be switched off.
    let (_, listed, _) = program(&line, &arguments("whole", &["--images", "6", "--list"]));
    assert_eq!(listed.matches("to do").count(), 12, "{listed}");
    let (status, _, errors) = program(&line, &arguments("whole", &["--without", "entropy"]));
    assert!(status.code() == Some(2) && errors.contains("HGAD with all its parts"), "{errors}");
}
