//! What the report of a training tells.

use super::*;

#[test]
fn the_report_tells_what_other_ways_to_compute_it_tell() {
    let line = masked();
    for (name, more) in [("model", &[][..]), ("single", &["--prior", "single"])] {
        let (status, _, errors) = wait(line.command_to(8, name).args(more).spawn().unwrap());
        assert!(status.success(), "{errors}");
    }
    let (status, said, errors) =
        program(&line, &["report", "single", "model", "--test", "parts", "--out", "page.html", "--cache", "cache"]);
    assert!(status.success() && said.contains("page.html"), "{said}{errors}");
    let page = std::fs::read_to_string(line.path("page.html")).unwrap();
    assert!(!page.contains("Not shown"), "nothing is missing");
    assert!(!page.contains("://") && page.matches("src=\"").count() == page.matches("src=\"data:image/").count());
    let words = page.split("base64,").map(|part| part.split_once('"').map_or(part, |(_, after)| after));
    assert!(words.into_iter().skip(1).all(|part| !part.contains("NaN")), "every number is one");

    // The table of figures is that of compare.
    let (_, table, errors) = program(&line, &["compare", "single", "model", "--images", "parts", "--test", "parts"]);
    let rows = table.lines().filter(|row| row.starts_with("single ") || row.starts_with("model ")).collect::<Vec<_>>();
    assert_eq!(rows.len(), 6, "{table}{errors}");
    for (place, row) in rows.iter().enumerate() {
        let words = row.split_whitespace().collect::<Vec<_>>();
        let percent = |word: &str| format!("<td class=\"n\">{word}%");
        let cell = |word: &str| format!("<td class=\"n\">{word}");
        let cells = words[1..5].iter().map(|word| cell(word)).chain(words[5..7].iter().map(|word| percent(word)));
        let head = if place < 2 { "mean".to_owned() } else { format!("<td>{}", PRODUCTS[place / 2 - 1]) };
        let expected = format!("{head}<td>{}{}", words[0], cells.collect::<String>());
        assert!(page.contains(&expected), "{expected} is not in the page");
    }

    // Distances between centers are those of the bundle.
    let bundle = hgad::bundle::Bundle::open(&line.path("model")).unwrap();
    let mu = &bundle.centers.levels[0].mu;
    let apart = (&mu.row(0) - &mu.row(1)).mapv(|d| d * d).sum().sqrt();
    assert!(page.contains(&format!("<td class=\"n\">{apart:.3}<td>washer")), "{apart}");

    // How likely defects are at the end is that of the final weights at the masked positions.
    let backbone = line.backbone();
    let stained =
        PRODUCTS.iter().flat_map(|p| dataset::images(&line.path("parts").join(p).join("test/stain")).unwrap());
    let features = Features::of(&backbone, &images(stained), &line.path("cache"), &AtomicBool::new(false)).unwrap();
    let labels = [[0; 6], [1; 6]].concat();
    let history = History::read(&line.path("model.history")).unwrap().unwrap();
    let last = history.records.last().unwrap();
    let weights = History::weights(&line.path("model.history"), last).unwrap();
    for (l, level) in weights.iter().enumerate() {
        // Cell centers of the grid on a mask of 40 x 36 pixels.
        let (h, w) = level.grid;
        let in_stain = |position: usize| {
            let (y, x) = (position / w, position % w);
            (12..22).contains(&((2 * x + 1) * 40 / (2 * w))) && (10..20).contains(&((2 * y + 1) * 36 / (2 * h)))
        };
        let of_classes =
            likelihoods(level, &history.recipe, &features.levels[l], &labels, 2, |_, p| in_stain(p)).unwrap();
        let defects = of_classes.iter().fold(Likelihoods::default(), |all, class| all.with(class));
        let normal = last.likelihoods[l].iter().fold(Likelihoods::default(), |all, class| all.with(class));
        let expected = format!(
            "<td class=\"n\">{:.3}<td class=\"n\">{:.3}<td class=\"n\">{:.3}",
            normal.mean().unwrap(),
            defects.mean().unwrap(),
            normal.above(&defects).unwrap()
        );
        assert!(normal.above(&defects).unwrap() > 0.6, "stains are unlike: {expected}");
        assert!(page.contains(&format!("<td>model<td>{}<td>8 epochs{expected}", level.tap)), "{expected}");
    }
    // Good parts are taken for the product whose main centers are nearest, over all positions.
    let mut inspector = Inspector::new(&bundle).unwrap();
    let centers = &bundle.centers.levels[0].mu;
    let mut right = 0;
    for (class, product) in PRODUCTS.iter().enumerate() {
        for path in dataset::images(&line.path("parts").join(product).join("test/good")).unwrap() {
            let z = &inspector.latents(&dataset::read_rgb(&path).unwrap()).unwrap().z[0];
            let mut evidence = [0.0; 2];
            for position in z.lanes(ndarray::Axis(0)) {
                let logits = [0, 1].map(|y| {
                    let apart = &position - &centers.row(y);
                    -0.5 * f64::from(apart.dot(&apart))
                });
                let most = logits[0].max(logits[1]);
                let total = most + logits.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln();
                (0..2).for_each(|y| evidence[y] += logits[y] - total);
            }
            right += usize::from(evidence[class] > evidence[1 - class]);
        }
    }
    assert!(page.contains(&format!("<p>good: {right} of 12 right</p>")), "{right}");
}

#[test]
fn a_report_says_what_is_missing_and_why() {
    let line = Line::new();
    let (status, _, errors) = method(&line, "padim", &[]);
    assert!(status.success(), "{errors}");
    let (status, _, errors) = wait(line.command(3).spawn().unwrap());
    assert!(status.success(), "{errors}");
    let report = |runs: &[&str]| {
        let (status, _, errors) = program(&line, &[&["report"], runs, &["--out", "page.html"]].concat());
        (status.code(), errors, std::fs::read_to_string(line.path("page.html")).unwrap_or_default())
    };
    let (code, errors, page) = report(&["padim", "model"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(page.contains("padim: there is no ") && page.contains("its method has no training"), "{page}");
    assert!(page.contains("give them with --test DIR"));
    // The run is trained again, and gets no further than its history.
    std::fs::remove_dir_all(line.path("model")).unwrap();
    let (code, errors, page) = report(&["model"]);
    assert!(code == Some(0) && page.contains("its training is not over"), "{errors}");
    assert!(page.contains("<title>L_g</title>"), "losses are shown all the same");
    // A bundle of another method takes its place; the history stays, and is not that of the bundle.
    std::fs::rename(line.path("padim"), line.path("model")).unwrap();
    let (code, errors, page) = report(&["model"]);
    assert!(code == Some(0) && page.contains("is of another run than the bundle"), "{errors}");
    let (code, errors, _) = report(&["gone"]);
    assert!(code == Some(2) && errors.contains("there is no bundle gone"), "{errors}");
}

#[test]
fn a_report_names_each_thing_that_is_missing_and_shows_the_rest() {
    let line = masked();
    let (status, _, errors) = wait(line.command(8).spawn().unwrap());
    assert!(status.success(), "{errors}");
    assert!(!line.path("model.history.new").exists(), "the draft has become the bundle's history");
    let report = |more: &[&str]| {
        let common = ["report", "model", "--test", "parts", "--out", "page.html", "--cache", "cache"];
        let (status, _, errors) = program(&line, &[&common[..], more].concat());
        assert!(status.success(), "{errors}");
        (errors, std::fs::read_to_string(line.path("page.html")).unwrap())
    };
    let (_, whole) = report(&[]);
    assert!(!whole.contains("Not shown") && !whole.contains("are not shown"));

    // From inside the bundle, whose name `.` does not tell; and two of one name.
    let mut inside = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
    inside.args(["report", ".", "--out", "../inside.html"]).current_dir(line.path("model"));
    let (status, _, errors) = wait(inside.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    assert!(status.success(), "{errors}");
    assert!(
        std::fs::read_to_string(line.path("inside.html")).unwrap().contains("<title>Training report: model</title>")
    );
    let (status, _, errors) = program(&line, &["report", "model", "./model", "--out", "two.html"]);
    assert!(status.success(), "{errors}");
    let two = std::fs::read_to_string(line.path("two.html")).unwrap();
    assert!(two.contains("<title>Training report: model, ./model</title>"));

    // The classifier is elsewhere; weights were deleted; the history was cut short.
    std::fs::rename(line.path("small.onnx"), line.path("moved.onnx")).unwrap();
    let (errors, page) = report(&[]);
    assert!(page.contains("anomalous ones are not shown") && errors.contains("--backbone FILE"), "{errors}");
    let (_, page) = report(&["--backbone", "moved.onnx"]);
    assert!(!page.contains("are not shown"));
    std::fs::remove_file(line.path("model.history/weights-0.safetensors")).unwrap();
    let (errors, page) = report(&["--backbone", "moved.onnx"]);
    assert!(page.contains("anomalous ones are not shown: ") && errors.contains("weights-0.safetensors"), "{errors}");
    assert!(page.contains("<title>L_g</title>"), "losses are shown all the same");
    let file = line.path("model.history/history.json");
    let mut history: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    history["about"]["taps"].as_array_mut().unwrap().pop();
    for (text, why) in [(history.to_string(), "are not of its taps"), ("{".to_owned(), "cannot be read")] {
        std::fs::write(&file, text).unwrap();
        let (_, page) = report(&[]);
        assert!(page.contains(why) && page.contains("Receiver operating characteristics"), "{why}");
    }

    // Another method takes the bundle's place, and the history is nobody's.
    let (status, _, errors) = program(
        &line,
        &[
            "train",
            "--data",
            "parts",
            "--backbone",
            "moved.onnx",
            "--taps",
            "fine,coarse",
            "--size",
            "32",
            "--normalize",
            "unit",
            "--hold-out",
            "4",
            "--method",
            "padim",
            "--cache",
            "cache",
            "--out",
            "model",
        ],
    );
    assert!(status.success(), "{errors}");
    assert!(!line.path("model.history").exists());
}

#[test]
fn a_report_of_many_centers_stays_small() {
    let line = masked();
    let (status, _, errors) = method(&line, "memory", &["--remember", "500"]);
    assert!(status.success(), "{errors}");
    let (status, _, errors) = wait(line.command(8).args(["--centers", "201", "--no-history"]).spawn().unwrap());
    assert!(status.success() && !line.path("model.history").exists(), "{errors}");
    for (run, said) in [("memory", "the method memory has no mixture of centers"), ("model", "the main ones alone")] {
        let (status, _, errors) = program(&line, &["report", run, "--test", "parts", "--out", "page.html"]);
        assert!(status.success(), "{errors}");
        let page = std::fs::read_to_string(line.path("page.html")).unwrap();
        assert!(page.contains(said), "{run}");
        assert!(page.len() < 2_000_000, "{run}: {} bytes", page.len());
    }
}
