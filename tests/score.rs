//! Calibrate, score and eval through the real program.

mod common;

use common::{Bench, run};
use hgad::bundle::Distance;
use serde_json::Value;

fn scores(json_lines: &str) -> Vec<(String, f64, Option<String>)> {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| row[key].as_str().map(str::to_owned);
        (text("image").unwrap(), row["score"].as_f64().unwrap(), text("verdict"))
    };
    json_lines.lines().map(row).collect()
}

#[test]
fn good_parts_pass_stained_ones_are_rejected_and_the_map_shows_where() {
    for distance in [Distance::Centers, Distance::Cells] {
        shows_stains(&Bench::with(distance));
    }
}

fn shows_stains(bench: &Bench) {
    let (model, calibration) = (bench.text("bundle"), bench.text("calibration/red.toml"));
    let stained = bench.text("data/red/test/stain");
    let heat = bench.text("heat");
    let base = ["score", "--model", &model, "--calibration", &calibration, "--class", "red", "--json"];
    let (code, out, err) = run(&[&base[..], &["--heatmap", &heat, &stained]].concat());
    assert_eq!(code, 0, "{err}");
    let rows = scores(&out);
    assert_eq!(rows.len(), 8);
    assert!(rows.iter().all(|(_, _, verdict)| verdict.as_deref() == Some("reject")), "{rows:?}");
    let picture = image::open(bench.path("heat/000.png.png")).unwrap().to_rgb8();
    assert_eq!(picture.dimensions(), (128, 64), "the image, and beside it the overlay");
    let image = image::open(bench.path("data/red/test/stain/000.png")).unwrap().to_rgb8();
    assert!(image.enumerate_pixels().all(|(x, y, pixel)| picture.get_pixel(x, y) == pixel));
    assert_ne!(picture.get_pixel(64 + 32, 0), image.get_pixel(32, 0), "a frame says the verdict");

    let (code, _, _) = run(&[&base[..], &["--fail-on-reject", &stained]].concat());
    assert_eq!(code, 1);
    let (code, out, _) = run(&[&base[..], &["--fail-on-reject", &bench.text("data/red/train/good/000.png")]].concat());
    assert_eq!((code, scores(&out)[0].2.as_deref()), (0, Some("pass")));
}

#[test]
fn a_part_of_another_product_is_bad_whatever_its_score() {
    let bench = Bench::new();
    let (model, calibration) = (bench.text("bundle"), bench.text("calibration/red.toml"));
    let lenient = bench.path("calibration/lenient.toml");
    let strict = std::fs::read_to_string(&calibration).unwrap();
    let threshold = strict.lines().find(|line| line.starts_with("threshold")).unwrap();
    std::fs::write(&lenient, strict.replace(threshold, "threshold = 1e9")).unwrap();
    let base = ["score", "--model", &model, "--calibration", lenient.to_str().unwrap(), "--class", "red", "--json"];
    let (code, out, err) = run(&[&base[..], &[&bench.text("data/blue/train/good")]].concat());
    assert_eq!(code, 0, "{err}");
    for row in out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        assert!(row["score"].as_f64() < row["threshold"].as_f64(), "{row}");
        assert_eq!((&row["verdict"], &row["resembles"]), (&"reject".into(), &"blue".into()), "{row}");
    }
    let (_, out, _) = run(&[&base[..], &[&bench.text("data/red/test/stain")]].concat());
    for row in out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        assert_eq!((&row["verdict"], &row["resembles"]), (&"pass".into(), &Value::Null), "{row}");
    }
}

#[test]
fn a_score_is_the_same_everywhere_and_does_not_depend_on_other_frames() {
    for distance in [Distance::Centers, Distance::Cells] {
        scores_alike(&Bench::with(distance));
    }
}

fn scores_alike(bench: &Bench) {
    let (model, calibration) = (bench.text("bundle"), bench.text("calibration/blue.toml"));
    let base = ["score", "--model", &model, "--calibration", &calibration, "--class", "blue", "--json"];
    let folder = bench.text("data/blue/train/good");
    let (_, together, _) = run(&[&base[..], &[&folder]].concat());
    let together = scores(&together);
    for (image, score, _) in &together[..5] {
        let (_, alone, _) = run(&[&base[..], &[image]].concat());
        assert_eq!(scores(&alone)[0].1.to_bits(), score.to_bits(), "{image}");
    }
    // The calibration file holds each part's score under constants from other parts (docs/calibration.md): nearly the same.
    let file: toml::Table = std::fs::read_to_string(bench.path("calibration/blue.toml")).unwrap().parse().unwrap();
    let calibrated = file["images"].as_array().unwrap();
    assert_eq!(calibrated.len(), together.len());
    for (entry, (image, score, _)) in calibrated.iter().zip(&together) {
        assert!(image.ends_with(entry["file"].as_str().unwrap()));
        let honest = entry["score"].as_float().unwrap();
        assert!((honest - score).abs() < 0.1 * score.abs().max(1.0), "{honest} {score}");
    }
}

#[test]
fn eval_tells_areas_and_rates_per_class_and_in_the_mean() {
    let bench = Bench::new();
    let (model, calibration, data) = (bench.text("bundle"), bench.text("calibration"), bench.text("data"));
    let (code, out, err) = run(&["eval", "--model", &model, "--calibration", &calibration, "--data", &data, "--json"]);
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    for figures in [&report["classes"]["red"], &report["classes"]["blue"], &report["mean"]] {
        assert_eq!(figures["image_auroc"], 1.0);
        assert!(figures["pixel_auroc"].as_f64().unwrap() > 0.9);
        assert_eq!(figures["miss_rate"], 0.0);
        assert!(figures["false_reject_rate"].as_f64().is_some());
    }
    let counts = |figures: &Value| (figures["good"].as_u64(), figures["defective"].as_u64());
    assert_eq!(counts(&report["classes"]["blue"]), (Some(8), Some(8)));
    assert_eq!(counts(&report["mean"]), (Some(16), Some(16)));
    for figures in [&report["classes"]["red"], &report["mean"]] {
        for key in
            ["image_ap", "image_f1_max", "miss_rate_at_frr_0.001", "miss_rate_at_frr_0.05", "pixel_ap", "pixel_aupro"]
        {
            let (value, interval) = (figures[key].as_f64().unwrap(), &figures["intervals"][key]);
            let (low, high) = (interval[0].as_f64().unwrap(), interval[1].as_f64().unwrap());
            assert!(low <= value + 1e-9 && value <= high + 1e-9, "{key}: {value} {interval}");
        }
    }
    let (least, most) = (&report["classes"]["red"]["intervals"]["miss_rate"][0], 1.0 - 0.025_f64.powf(1.0 / 8.0));
    let told = report["classes"]["red"]["intervals"]["miss_rate"][1].as_f64().unwrap();
    assert!(*least == 0.0 && (told - most).abs() < 1e-6, "none of 8 may be {most}: {told}");
    assert_eq!((&report["classes"]["red"]["masks"], &report["mean"]["regions"]), (&8.into(), &16.into()));
    assert_eq!(report["resamples"]["count"], 1000);
    assert!(err.contains("rest on 8 masks of 8 defective images"), "{err}");
    let (code, out, _) = run(&["eval", "--model", &model, "--calibration", &calibration, "--data", &data]);
    assert_eq!(code, 0);
    assert!(out.lines().all(|line| line.contains(".png") || line.chars().count() <= 80), "{out}");
    let rows = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect::<Vec<_>>();
    assert_eq!(rows[0], ["images", "good", "defective", "AUROC", "AP", "F1-max"]);
    assert_eq!(rows[1][..6], ["red", "8", "8", "1.0000", "[1.000,", "1.000]"]);
    assert_eq!(rows[3][..3], ["mean", "16", "16"]);
    assert!(out.contains("0.1% false rejects") && out.contains("AUPRO"), "{out}");
}

#[test]
fn eval_names_what_is_judged_wrongly_and_compares_two_bundles() {
    let bench = Bench::new();
    let (model, calibration, data) = (bench.text("bundle"), bench.text("calibration"), bench.text("data"));
    // A threshold that lets all stains pass, and a stain called good that is rejected.
    std::fs::create_dir(bench.path("lenient")).unwrap();
    for class in ["red", "blue"] {
        let strict = std::fs::read_to_string(bench.path("calibration").join(format!("{class}.toml"))).unwrap();
        let threshold = strict.lines().find(|line| line.starts_with("threshold")).unwrap();
        std::fs::write(bench.path(&format!("lenient/{class}.toml")), strict.replace(threshold, "threshold = 1e9"))
            .unwrap();
    }
    std::fs::copy(bench.path("data/red/test/stain/003.png"), bench.path("data/red/test/good/odd.png")).unwrap();
    let base =
        ["eval", "--model", &model, "--data", &data, "--resamples", "200", "--misses-at", "0,0.2", "--calibration"];
    let (code, out, err) = run(&[&base[..], &[&calibration]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("red: rejected 1 of 9 good images") && out.contains("good/odd.png"), "{out}");
    assert!(!out.contains("missed") && !out.contains("blue:"), "{out}");
    let (_, out, _) = run(&[&base[..], &[&bench.text("lenient"), "--list", "2"]].concat());
    assert!(out.contains("blue: missed 8 of 8 defective images") && out.contains("and 6 more (--list 8)"), "{out}");
    assert_eq!(out.matches("test/stain/").count(), 4, "{out}");

    let lenient = bench.text("lenient");
    let against = ["--against", &model, "--against-calibration", &lenient];
    let (code, out, err) = run(&[&base[..], &[&calibration], &against, &["--json"]].concat());
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        report["classes"]["red"]["rejected"][0]["image"].as_str().unwrap(),
        bench.text("data/red/test/good/odd.png")
    );
    let difference = &report["against"]["mean"]["difference"];
    assert_eq!((&report["against"]["mean"]["miss_rate"], &difference["miss_rate"]), (&1.0.into(), &(-1.0).into()));
    assert_eq!(difference["intervals"]["miss_rate"], serde_json::json!([-1.0, -1.0]));
    assert_eq!(
        difference["intervals"]["image_auroc"],
        serde_json::json!([0.0, 0.0]),
        "the same images, resampled alike"
    );
    assert_eq!(report["against"]["classes"]["blue"]["missed"].as_array().unwrap().len(), 8);
    let (_, out, _) = run(&[&base[..], &[&calibration], &against].concat());
    let misses = out.lines().find(|line| line.starts_with("misses, %  ") && line.contains("100.0")).unwrap();
    assert!(misses.ends_with("better"), "{out}");
    let (code, _, err) = run(&[&base[..], &[&calibration, "--against", &model]].concat());
    assert!(code == 2 && err.contains("--against-calibration"), "{err}");
}

#[test]
fn eval_wants_test_images_alone_and_each_class_once() {
    let bench = Bench::new();
    let (model, calibration, data) = (bench.text("bundle"), bench.text("calibration"), bench.text("data"));
    std::fs::remove_dir_all(bench.path("data/red/train")).unwrap();
    let eval = |classes: &str| {
        let base = ["eval", "--model", &model, "--calibration", &calibration, "--data", &data, "--classes", classes];
        run(&base)
    };
    let (code, _, err) = eval("red");
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = eval("red,blue,red");
    assert!(code == 2 && err.contains("'red' is named twice"), "{err}");
    // The second class's test folder and calibration are looked at before the first class's images.
    std::fs::write(bench.path("data/red/test/good/000.png"), "not an image").unwrap();
    std::fs::rename(bench.path("data/blue/test"), bench.path("data/blue/elsewhere")).unwrap();
    let (code, _, err) = eval("red,blue");
    assert!(code == 2 && err.contains("'blue' has no test images"), "{err}");
    std::fs::rename(bench.path("data/blue/elsewhere"), bench.path("data/blue/test")).unwrap();
    let path = bench.path("calibration/blue.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let digest = text.lines().find(|line| line.starts_with("bundle = ")).unwrap();
    std::fs::write(&path, text.replace(digest, &format!("bundle = \"{}\"", "0".repeat(64)))).unwrap();
    let (code, _, err) = eval("red,blue");
    assert!(code == 2 && err.contains("calibration of 'blue' is not of this model"), "{err}");
    std::fs::rename(bench.path("calibration/blue.toml"), bench.path("calibration/red.toml")).unwrap();
    let (code, _, err) = eval("red");
    assert!(code == 2 && err.contains("red.toml is a calibration of 'blue'"), "{err}");
}

#[test]
fn heat_maps_are_told_apart_and_their_folder_is_tried_first() {
    let bench = Bench::new();
    let (model, heat) = (bench.text("bundle"), bench.text("heat"));
    common::normal_part(0, 9).save(bench.path("data/red/test/good/000.bmp")).unwrap();
    let base = ["score", "--model", &model, "--class", "red", "--heatmap"];
    let folders = [bench.text("data/red/test/good"), bench.text("data/red/test/stain")];
    let (code, _, err) = run(&[&base[..], &[&heat, &folders[0], &folders[1]]].concat());
    assert_eq!(code, 0, "{err}");
    for picture in ["good/000.png.png", "good/000.bmp.png", "stain/000.png.png"] {
        assert!(bench.path("heat").join(picture).is_file(), "{picture}");
    }
    let (code, out, err) = run(&[&base[..], &[&folders[0], &folders[0]]].concat());
    assert!(code == 2 && out.is_empty() && err.contains("would lie among the images"), "{err}");
    assert!(!bench.path("data/red/test/good/000.png.png").exists());
    let file = bench.text("data/red/test/good/000.png");
    let (code, out, err) = run(&[&base[..], &[&file, &folders[0]]].concat());
    assert!(code == 3 && out.is_empty() && err.contains("000.png cannot be written"), "{err}");
}

#[test]
fn images_of_another_shape_than_the_calibration_s_are_scored_with_one_warning() {
    let bench = Bench::new();
    for class in ["red", "blue"] {
        let path = bench.path(&format!("calibration/{class}.toml"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text.replace("width = 64", "width = 96")).unwrap();
    }
    let (model, calibration) = (bench.text("bundle"), bench.text("calibration/red.toml"));
    let good = bench.text("data/red/test/good");
    let (code, out, err) =
        run(&["score", "--model", &model, "--calibration", &calibration, "--class", "red", "--json", &good]);
    assert_eq!((code, scores(&out).len()), (0, 8), "{err}");
    assert_eq!(err.matches("not for frames of 64x64").count(), 1, "{err}");
    let (calibration, data) = (bench.text("calibration"), bench.text("data"));
    let (code, _, err) = run(&["eval", "--model", &model, "--calibration", &calibration, "--data", &data]);
    assert_eq!(code, 0, "{err}");
    for class in ["red", "blue"] {
        assert_eq!(err.matches(&format!("calibration of '{class}' is not for frames of 64x64")).count(), 1, "{err}");
    }
}

#[test]
fn without_a_calibration_there_is_a_score_but_no_verdict() {
    let bench = Bench::new();
    let image = bench.text("data/red/test/good/000.png");
    let (code, out, _) = run(&["score", "--model", &bench.text("bundle"), "--class", "red", "--json", &image]);
    let row: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    assert!(row["threshold"].is_null() && row["verdict"].is_null() && row["score"].is_number());
}

#[test]
fn the_cost_of_a_frame_is_told_by_stage_operator_and_core() {
    let bench = Bench::new();
    let model = bench.text("bundle");
    let base = ["bench", "--model", &model, "--frames", "10", "--camera", "320x240"];
    let (code, out, err) = run(&[&base[..], &["--threads", "1,2", "--json"]].concat());
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let stages = report["stages"].as_array().unwrap();
    let names = stages.iter().map(|stage| stage["name"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(names, ["decode MJPG", "convert YUYV", "preprocess", "network", "score", "pixels to score"]);
    for stage in stages {
        let [p50, p99, max] = ["p50_ms", "p99_ms", "max_ms"].map(|key| stage[key].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p99 && p99 <= max, "{stage}");
    }
    assert!(report["allocations"]["count"].as_u64() > Some(0), "the program counts what it asks for");
    let layers = report["layers"].as_array().unwrap();
    let all = layers.iter().map(|layer| layer["multiply_adds"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(report["multiply_adds"].as_u64(), Some(all));
    let shares = layers.iter().map(|layer| layer["share"].as_f64().unwrap()).sum::<f64>();
    assert!((shares - 1.0).abs() < 1e-6, "{shares}");
    let shares = report["shares"].as_array().unwrap();
    let used = |share: &Value| [&share["frames"], &share["threads"]].map(|count| count.as_u64().unwrap());
    assert_eq!(shares.iter().map(used).collect::<Vec<_>>(), [[1, 1], [1, 2], [2, 1]]);
    assert!(shares.iter().all(|share| share["cpu_ms"].as_f64() > Some(0.0)), "{shares:?}");

    let (code, out, err) = run(&base);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("longest operators") && out.contains("parts a minute"), "{out}");
    let (code, _, err) = run(&["bench", "--camera", "640"]);
    assert_eq!((code, err.contains("like 1280x720")), (2, true), "{err}");
}
