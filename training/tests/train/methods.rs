//! The other methods, and networks that were trained elsewhere.

use super::*;

#[test]
fn every_method_writes_a_bundle_that_scores_what_it_has_not_seen() {
    let line = Line::new();
    let short = ["--blocks", "2", "--epochs", "40"];
    let joined = [&short[..], &["--distance", "cells"]].concat();
    let cases: [(&str, &[&str], Distance, Option<usize>); 6] = [
        ("padim", &[], Distance::Cells, Some(14)),
        ("padim", &["--channels", "9"], Distance::Cells, Some(9)),
        ("memory", &["--remember", "40"], Distance::Centers, Some(14)),
        ("cflow", &joined, Distance::Cells, Some(14)),
        ("cflow", &short, Distance::Centers, None),
        ("fastflow", &short, Distance::Centers, None),
    ];
    for (name, more, distance, joined) in cases {
        let (status, out, errors) = method(&line, name, more);
        assert!(status.success(), "{name}: {errors}");
        assert_eq!(out.contains("fine+coarse on 4x4"), joined.is_some(), "{out}");
        assert!(out.contains("hgad calibrate"), "{out}");
        let bundle = hgad::bundle::Bundle::open(&line.path(name)).unwrap();
        assert_eq!(bundle.manifest.training["method"].as_str(), Some(name));
        assert_eq!(bundle.manifest.distance, distance);
        match (joined, bundle.manifest.levels.as_slice()) {
            (Some(channels), [level]) => assert_eq!((level.channels, level.height, level.width), (channels, 4, 4)),
            (joined, levels) => assert_eq!((joined, levels.len()), (None, 2)),
        }
        let mut inspector = Inspector::new(&bundle).unwrap();
        inspector.check_parity(&bundle).unwrap();
        let mut score = |class: usize, image: &RgbImage| {
            let inspection = inspector.inspect(image, class, &bundle.centers.references[class]).unwrap();
            (inspection.score, inspection.resembles)
        };
        for (class, product) in PRODUCTS.iter().enumerate() {
            for path in line.good(product, HoldOut::Held(4)) {
                let good = dataset::read_rgb(&path).unwrap();
                let bad = stained(good.clone());
                let (of_good, of_bad) = (score(class, &good), score(class, &bad));
                assert!(of_bad.0 > of_good.0 + 2.0, "{name} {more:?}, {product}: {of_good:?} and {of_bad:?}");
                assert_eq!(of_good.1, None, "{name} {more:?}, {product}");
            }
        }
    }
}

#[test]
fn bundles_of_the_other_methods_can_be_quantised() {
    let line = Line::steady();
    for (name, more) in [("padim", &[][..]), ("memory", &["--remember", "40"])] {
        let (status, _, errors) = method(&line, name, more);
        assert!(status.success(), "{name}: {errors}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
        command.arg("quantize").arg(line.path(name)).arg("--images").arg(line.path("parts"));
        command.arg("--out").arg(line.path("int8")).args([
            "--frames",
            "6",
            "--float-share",
            "0",
            "--anyway",
            "a trial",
        ]);
        let (status, _, errors) = wait(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        assert!(status.success(), "{name}: {errors}");
        let bundle = hgad::bundle::Bundle::open(&line.path("int8")).unwrap();
        assert_eq!((bundle.manifest.format_version > 1, bundle.manifest.levels.len()), (true, 1));
        Inspector::new(&bundle).unwrap().check_parity(&bundle).unwrap();

        let stored = |more: &[&str], out: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
            command.arg("quantize").arg(line.path(name)).arg("--images").arg(line.path("parts"));
            command.args(["--form", "weights-int8", "--anyway", "a trial"]).args(more).arg("--out").arg(line.path(out));
            wait(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        };
        let (status, _, errors) = stored(&[], "stored");
        assert!(status.code() == Some(2) && errors.contains("stored in 8 bits already"), "{name}: {errors}");
        let (status, _, errors) = method(&line, name, &[more, &["--precision", "f32"]].concat());
        assert!(status.success(), "{name}: {errors}");
        let (status, _, errors) = stored(&["--frames", "6"], "stored");
        assert!(status.code() == Some(2) && errors.contains("--frames would change nothing"), "{name}: {errors}");
        let (status, table, errors) = stored(&[], "stored");
        assert!(status.success(), "{name}: {errors}");
        assert!(table.contains("codes  SQNR dB") && table.contains("largest difference of a score"), "{table}");
        let bundle = hgad::bundle::Bundle::open(&line.path("stored")).unwrap();
        assert_eq!(bundle.manifest.precision, Precision::WeightsInt8);
        Inspector::new(&bundle).unwrap().check_parity(&bundle).unwrap();
    }
}

#[test]
fn methods_are_compared_on_the_same_parts() {
    let line = Line::steady();
    for (name, more) in [("padim", &[][..]), ("memory", &["--remember", "40"])] {
        let (status, _, errors) = method(&line, name, more);
        assert!(status.success(), "{errors}");
    }
    let compare = |bundles: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
        command.arg("compare").args(bundles.iter().map(|name| line.path(name)));
        for flag in ["--images", "--test"] {
            command.arg(flag).arg(line.path("parts"));
        }
        wait(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let (status, out, errors) = compare(&["padim", "memory"]);
    assert!(status.success(), "{errors}");
    let rows = out.lines().filter(|row| row.starts_with("padim") || row.starts_with("memory")).collect::<Vec<_>>();
    assert_eq!(rows.len(), 6, "{out}");
    for row in rows {
        // Every stain has a higher score than any good part.
        assert_eq!(row.split_whitespace().nth(1), Some("1.0000"), "{out}");
    }

    let (status, _, errors) = method(&line, "padim", &["--classes", "nut"]);
    assert!(status.success(), "{errors}");
    let (status, _, errors) = compare(&["memory", "padim"]);
    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(errors.contains("of other products") && errors.contains("nut instead of nut, washer"), "{errors}");
}

/// A network that was trained nowhere, and knows that parts are not magenta: the map is `red + blue - 2 green` where it is highest in
/// 2x2 pixels, the score is that of the whole picture.
fn foreign_network() -> Vec<u8> {
    let mut graph = GraphWriter::default();
    let weights = graph.f32("colours", &[1, 3, 1, 1], &[1.0, -2.0, 1.0]);
    let attributes = vec![ints("kernel_shape", &[1, 1])];
    graph.op_with("Conv", &["pixels", &weights], "magenta", attributes);
    let attributes = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    graph.op_with("MaxPool", &["magenta"], "map", attributes);
    graph.op_with("ReduceMax", &["map"], "score", vec![ints("axes", &[1, 2, 3])]);
    let input = float_value("pixels", &[1, 3, SIZE.height, SIZE.width]);
    encode(&graph.finish(13, vec![input], vec![float_value("map", &[]), float_value("score", &[])]))
}

#[test]
fn a_network_that_was_trained_elsewhere_is_judged_like_any_other() {
    let line = Line::steady();
    std::fs::write(line.path("foreign.onnx"), foreign_network()).unwrap();
    let run = |command: &str, arguments: &[&str]| {
        let mut process = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
        process.arg(command).args(arguments).current_dir(line.folder.path());
        wait(process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let import = |outputs: &[&str], out: &str| {
        let common = ["foreign.onnx", "--data", "parts", "--hold-out", "4", "--normalize", "none", "--out", out];
        run("import", &[&common, outputs].concat())
    };
    for (outputs, out, levels) in [
        (&["--map", "map"][..], "map", 1),
        (&["--score", "score"], "score", 1),
        (&["--map", "map", "--score", "score"], "both", 2),
    ] {
        let (status, said, errors) = import(outputs, out);
        assert_eq!(status.code(), Some(0), "{errors}");
        assert!(said.contains("pixels, RGB, channels first, 32x32 pixels, normalisation none"), "{said}");
        assert!(said.contains("hgad calibrate") && !errors.contains("WARN"), "{said}{errors}");
        let bundle = hgad::bundle::Bundle::open(&line.path(out)).unwrap();
        let manifest = &bundle.manifest;
        assert_eq!((manifest.format_version, manifest.distance, manifest.levels.len()), (4, Distance::Map, levels));
        let mut inspector = Inspector::new(&bundle).unwrap();
        inspector.check_parity(&bundle).unwrap();
        // The score is the network's own where it gives one; another product is never seen.
        let inspection = inspector.inspect(&stained(steady(0, 70)), 1, &bundle.centers.references[1]).unwrap();
        assert_eq!(inspection.resembles, None);
        assert_eq!(inspection.score == inspection.levels[levels - 1], out != "map");
        let highest = inspection.map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(inspection.score == highest, out != "both", "{} of {highest}", inspection.score);
    }
    let (status, table, errors) = run("compare", &["map", "score", "both", "--images", "parts", "--test", "parts"]);
    assert_eq!(status.code(), Some(0), "{errors}");
    let row =
        |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().nth(1).unwrap();
    assert_eq!(["map ", "score ", "both "].map(row), ["1.0000"; 3], "{table}");

    RgbImage::from_fn(40, 36, |x, _| Rgb([if x < 20 { 255 } else { 0 }; 3])).save(line.path("mask.png")).unwrap();
    let mask = hgad::inspect::Mask::open(&line.path("mask.png")).unwrap();
    let images = line.good("nut", HoldOut::Held(4));
    let aim = hgad::calibrate::Aim { frr: 0.1, confidence: None };
    let request = hgad::calibrate::Request { mask: Some(&mask), ..hgad::calibrate::Request::new("nut", &images, aim) };
    for (name, maskable) in [("map", true), ("score", false), ("both", false)] {
        let bundle = hgad::bundle::Bundle::open(&line.path(name)).unwrap();
        let outcome = hgad::calibrate::calibrate(&bundle, &request);
        assert_eq!(outcome.is_ok(), maskable, "{name}");
        let refused = outcome.err().is_some_and(|error| error.report().contains("a mask would change nothing"));
        assert_eq!(refused, !maskable, "{name}");
    }
    for command in ["refit", "quantize"] {
        let (status, _, errors) = run(command, &["map", "--images", "parts", "--out", "again"]);
        assert_eq!(status.code(), Some(2), "{errors}");
        assert!(errors.contains("imported network") && !line.path("again").exists(), "{errors}");
    }
    let (status, _, errors) = import(&["--map", "heat"], "none");
    assert!(status.code() == Some(2) && errors.contains("its outputs are: map, score"), "{errors}");
}
