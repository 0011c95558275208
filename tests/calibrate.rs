//! Which images set a threshold: through the real program.

mod common;

use std::path::Path;

use common::{Bench, defective_part, normal_part, run};
use hgad::bundle::{Bundle, Draft};
use hgad::calibrate::Calibration;
use hgad::inspect::{Inspector, score};

/// Calibrates `class` on a folder; the exit code, what was printed, and what was said.
fn calibrate(bench: &Bench, class: &str, images: &str, out: &str) -> (i32, String, String) {
    let (model, images, out) = (bench.text("bundle"), bench.text(images), bench.text(out));
    let base = ["calibrate", "--model", &model, "--target-frr", "0.05", "--images", &images];
    // A few images show which ones are taken.
    run(&[&base[..], &["--class", class, "--out", &out, "--few-parts"]].concat())
}

/// Writes the bench's bundle again, changed.
fn rewrite(bench: &Bench, change: impl FnOnce(&mut Draft)) {
    let Bundle { manifest, model, centers, golden, trained_on, .. } = Bundle::open(&bench.path("bundle")).unwrap();
    let mut draft = Draft { manifest, model, centers, golden, trained_on };
    change(&mut draft);
    draft.write(&bench.path("bundle")).unwrap();
}

#[test]
fn images_that_the_model_was_trained_on_are_refused_where_that_is_known() {
    let bench = Bench::new();
    // The tiny bundle's profile was fitted to what lies in red/test/good; one such image among others is one too many.
    bench.save("mixed/000.png", &normal_part(0, 3));
    bench.save("mixed/001.png", &normal_part(0, 104));
    let cases = [("data/red/test/good", "8 of 8 images", "and 5 more"), ("mixed", "1 of 2 images", "001.png")];
    for (images, says, names) in cases {
        let (code, _, err) = calibrate(&bench, "red", images, "refused.toml");
        assert_eq!(code, 2, "{err}");
        assert!(err.contains(says) && err.contains(names) && err.contains("--hold-out 5"), "{err}");
        assert!(!bench.path("refused.toml").exists());
    }
    rewrite(&bench, |draft| {
        draft.manifest.training.insert("hold_out".into(), 7.into());
    });
    let (_, _, err) = calibrate(&bench, "red", "mixed", "refused.toml");
    assert!(err.contains("with --hold-out 7"), "{err}");
    rewrite(&bench, |draft| draft.trained_on = None);
    let (code, _, err) = calibrate(&bench, "red", "data/red/test/good", "unknown.toml");
    assert_eq!(code, 0, "{err}");
    assert_eq!(err.matches("does not tell which images it was trained on").count(), 1, "{err}");
}

#[test]
fn a_few_copies_of_training_images_are_left_out_and_count_for_nothing() {
    let bench = Bench::new();
    (0..4).for_each(|seed| bench.save(&format!("with/{seed:03}.png"), &normal_part(0, seed)));
    (0..4).for_each(|seed| bench.save(&format!("without/{seed:03}.png"), &normal_part(0, seed)));
    bench.save("with/004.png", &normal_part(0, 104));
    let threshold = |images: &str| {
        let (code, _, err) = calibrate(&bench, "red", images, &format!("{images}.toml"));
        assert_eq!(code, 0, "{err}");
        let file = std::fs::read_to_string(bench.path(&format!("{images}.toml"))).unwrap();
        let reference = file.find("[reference]").unwrap();
        (file.lines().find(|line| line.starts_with("threshold")).unwrap().to_owned() + &file[reference..], err)
    };
    let (with, err) = threshold("with");
    assert!(err.contains("training saw 1 of 5 images, or copies of such") && err.contains("004.png"), "{err}");
    assert_eq!(with, threshold("without").0);
}

#[test]
fn a_list_of_training_images_is_part_of_the_bundle() {
    let bench = Bench::new();
    let path = bench.path("bundle/trained-on.txt");
    let list = std::fs::read_to_string(&path).unwrap();
    assert_eq!(list.lines().count(), 80);
    std::fs::write(&path, &list[65..]).unwrap();
    let (code, _, err) = calibrate(&bench, "red", "data/red/train/good", "c.toml");
    assert!(code == 3 && err.contains("trained-on.txt is not the file that the manifest names"), "{err}");
}

#[test]
fn images_of_another_product_are_refused_and_single_ones_left_out() {
    let bench = Bench::new();
    let (code, _, err) = calibrate(&bench, "red", "data/blue/train/good", "refused.toml");
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("30 of 30 images clearly not 'red'"), "{err}");
    assert!(err.contains("000.png") && err.contains("looks like 'blue'"), "{err}");
    assert!(!bench.path("refused.toml").exists());

    let stray = |number: u32| bench.save(&format!("data/red/train/good/stray{number}.png"), &normal_part(1, number));
    let without = std::fs::read_to_string(bench.path("calibration/red.toml")).unwrap();
    stray(1);
    let (code, out, err) = calibrate(&bench, "red", "data/red/train/good", "one.toml");
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("1 of 31 images clearly not 'red' and left out") && err.contains("stray1.png"), "{err}");
    // Constants, threshold, rates and images are those of the folder without it.
    let with = std::fs::read_to_string(bench.path("one.toml")).unwrap();
    let but_for_date = |text: &str| text.lines().filter(|line| !line.starts_with("created")).collect::<String>();
    assert_eq!(but_for_date(&with), but_for_date(&without));
    let created = with.lines().find_map(|line| line.strip_prefix("created = ")).unwrap();
    assert_eq!(created.len(), "\"2026-01-02T03:04:05Z\"".len(), "whole seconds: {created}");
    assert!(out.contains("30 images of 30 parts"), "{out}");
    // Groups follow: the stray is the only image of its own, and the last of the folder.
    let (model, images, grouped) = (bench.text("bundle"), bench.text("data/red/train/good"), bench.text("group.toml"));
    let base = ["calibrate", "--model", &model, "--class", "red", "--images", &images, "--out", &grouped];
    let (code, out, err) = run(&[&base[..], &["--group", r"^(\d\d|stray)", "--few-parts"]].concat());
    assert!(code == 0 && out.contains("30 images of 3 parts"), "{out}{err}");
    assert!(!std::fs::read_to_string(&grouped).unwrap().contains("stray"));
    stray(2);
    let (code, _, err) = calibrate(&bench, "red", "data/red/train/good", "two.toml");
    assert_eq!(code, 2, "{err}");
}

#[test]
fn what_was_asked_for_and_what_the_images_can_set_are_told_apart() {
    let bench = Bench::new();
    let (code, out, err) = calibrate(&bench, "red", "data/red/train/good", "red.toml");
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("at most 5.00% false rejects on average") && out.contains("set to      3.23%"), "{out}");
    // The distribution function of the largest of 30: 1 - (1 - x)^30 is 0.025 and 0.975.
    assert!(out.contains("0.08% to 11.57%, with 95% probability"), "{out}");
    let (code, _, err) = asked(&bench, &["--confidence", "95%"]);
    assert!(code == 2 && err.contains("0.01 for 1%"), "{err}");
    // Known before the first image is looked at.
    let (code, _, err) = calibrate(&bench, "red", "no-such-folder", "data/red/train/good/000.png/red.toml");
    assert!(code == 3 && err.contains("cannot be written"), "{err}");
}

#[test]
fn a_confidence_that_so_few_parts_cannot_give_is_refused_with_the_number_that_can() {
    let bench = Bench::new();
    let (model, images, out) = (bench.text("bundle"), bench.text("data/red/train/good"), bench.text("red.toml"));
    let asked = |extra: &[&str]| {
        let base = ["calibrate", "--model", &model, "--class", "red", "--images", &images, "--out", &out];
        run(&[&base[..], extra].concat())
    };
    let (code, _, err) = asked(&["--target-frr", "0.05", "--confidence", "0.95"]);
    assert!(code == 2 && err.contains("30 normal parts are too few") && err.contains("59 are needed"), "{err}");
    // No flag makes 30 parts keep it.
    for flag in ["--few-parts", "--review"] {
        let (code, _, err) = asked(&["--target-frr", "0.05", "--confidence", "0.95", flag]);
        let told = "too few for at most 5% false rejects with 95% confidence";
        assert!(code == 2 && err.contains(told) && err.contains("--target-frr 0.096"), "{err}");
        assert!(!err.contains("--few-parts") && !bench.path("red.review.html").exists(), "{err}");
    }
    let (code, out_text, err) = asked(&["--target-frr", "0.1", "--confidence", "0.95"]);
    assert!(code == 0 && out_text.contains("at most 10.00% false rejects with 95% confidence"), "{out_text}{err}");
    // Tens of images: three parts.
    let (code, _, err) = asked(&["--target-frr", "0.1", "--confidence", "0.95", "--group", r"(\d)\d\.png"]);
    assert!(code == 2 && err.contains("3 normal parts are too few"), "{err}");
    let (code, _, err) = asked(&[]);
    assert!(code == 2 && err.contains("30 normal parts are too few to promise 1%"), "{err}");
    assert!(err.contains("99 are needed: give some more than that"), "{err}");
    assert!(err.contains("ask for a rate that 30 can keep (--target-frr 0.033); --few-parts"), "{err}");
    let (code, out_text, err) = asked(&["--target-frr", "0.033"]);
    assert!(code == 0 && !out_text.contains("not kept"), "{out_text}{err}");
    let (code, _, err) = asked(&["--target-frr", "0.033", "--group", "part-"]);
    assert!(code == 2 && err.contains("finds nothing in the name '000.png'"), "{err}");
    let (code, _, err) = asked(&["--target-frr", "0.033", "--group", r"(\d)\d\.png"]);
    // 0.025^(1/3) is 0.29.
    assert!(code == 2 && err.contains("3 normal parts are too few to set a threshold") && err.contains("71%"), "{err}");
    let (code, out_text, err) = asked(&["--group", r"(\d)\d\.png", "--few-parts"]);
    assert!(out_text.contains("not kept    3 parts cannot set 1% false rejects, which 99 can"), "{out_text}");
    assert!(code == 0 && out_text.contains("30 images of 3 parts"), "{out_text}{err}");
    let file = std::fs::read_to_string(&out).unwrap();
    assert!(file.contains("group = \"2\"") && file.contains("realised_frr"), "{file}");
}

#[test]
fn what_stands_where_a_calibration_goes_is_not_lost_unseen() {
    let bench = Bench::new();
    let images = "data/red/train/good";
    // The report would be written over by the calibration.
    let (code, _, err) = calibrate(&bench, "red", images, "red.html");
    assert!(code == 2 && err.contains("red.html is where the report goes") && err.contains("red.toml"), "{err}");
    assert!(!bench.path("red.html").exists());
    let blue = std::fs::read(bench.path("calibration/blue.toml")).unwrap();
    let (code, _, err) = calibrate(&bench, "red", images, "calibration/blue.toml");
    assert!(code == 2 && err.contains("is the calibration of 'blue'") && err.contains("not overwritten"), "{err}");
    assert_eq!(std::fs::read(bench.path("calibration/blue.toml")).unwrap(), blue);
    // A slip in the product's name is told as that.
    let (code, _, err) = calibrate(&bench, "bleu", images, "calibration/blue.toml");
    assert!(
        code == 2 && err.contains("bleu") && err.contains("red") && !err.contains("is the calibration of"),
        "{err}"
    );
    // Nor is one that this program cannot read.
    let newer = String::from_utf8(blue).unwrap().replacen("format_version = 2", "format_version = 99", 1);
    std::fs::write(bench.path("newer.toml"), newer).unwrap();
    let (code, _, err) = calibrate(&bench, "red", images, "newer.toml");
    assert!(code == 2 && err.contains("is the calibration of 'blue'"), "{err}");
    let (red, key) = (bench.text("calibration/red.toml"), bench.text("quality.key"));
    assert_eq!(run(&["audit", "keygen", "--name", "example/quality", "--out", &key]).0, 0);
    let (code, _, err) = run(&["sign", &red, "--key", &key, "--by", "A. Smith", "--reason", "first"]);
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = calibrate(&bench, "red", images, "calibration/red.toml");
    assert!(code == 0 && err.contains("red.toml.sig is of the calibration that stood there before"), "{err}");
    assert!(err.contains("A. Smith") && err.contains("hgad sign"), "{err}");
}

/// What stands apart from the rest is seen; where a third of them is defective, nothing does.
#[test]
fn images_that_are_unlike_the_model_s_normal_parts_are_looked_at_before_anything_is_written() {
    let bench = Bench::new();
    for seed in 0..30 {
        let (mut image, defective) = (normal_part(0, 900 + seed), defective_part(0, 900 + seed));
        // Faint: what is plainly another thing is refused at once.
        let share = if seed % 3 == 0 { 0.15 } else { 0.0 };
        let blend = |own: u8, other: u8| (f32::from(own) + share * (f32::from(other) - f32::from(own))) as u8;
        image.iter_mut().zip(defective.iter()).for_each(|(own, other)| *own = blend(*own, *other));
        bench.save(&format!("mixed/{seed:03}.png"), &image);
    }
    let says = "not like the normal parts of 'red' that the model knows";
    let (code, out, err) = calibrate(&bench, "red", "mixed", "mixed.toml");
    assert!(code == 2 && err.contains(says) && err.contains("--unlike"), "{out}{err}");
    assert!(!bench.path("mixed.toml").exists() && !bench.path("mixed.html").exists());
    let page = std::fs::read_to_string(bench.path("mixed.review.html")).unwrap();
    assert!(page.contains("a threshold set on defective parts lets such pass"), "{page}");

    let [model, images, out] = ["bundle", "mixed", "mixed.toml"].map(|name| bench.text(name));
    let base = ["calibrate", "--model", &model, "--class", "red", "--target-frr", "0.05", "--images", &images];
    let (code, printed, err) = run(&[&base[..], &["--out", &out, "--unlike"]].concat());
    assert_eq!(code, 0, "{printed}{err}");
    // Whoever answers for it later is told still.
    let key = bench.text("quality.key");
    assert_eq!(run(&["audit", "keygen", "--name", "example/quality", "--out", &key]).0, 0);
    let (code, _, err) = run(&["sign", &out, "--key", &key, "--by", "A. Smith", "--reason", "a new camera"]);
    assert!(code == 0 && err.contains("may let defective parts pass") && err.contains(says), "{err}");
}

#[test]
fn who_signs_a_calibration_of_too_few_parts_is_told() {
    let bench = Bench::new();
    let key = bench.text("quality.key");
    assert_eq!(run(&["audit", "keygen", "--name", "example/quality", "--out", &key]).0, 0);
    let images = (0..4).map(|seed| normal_part(0, 900 + seed)).collect::<Vec<_>>();
    images.iter().enumerate().for_each(|(i, image)| bench.save(&format!("four/{i}.png"), image));
    let (code, _, err) = calibrate(&bench, "red", "four", "few.toml");
    assert_eq!(code, 0, "{err}");
    let signed = ["sign", &bench.text("few.toml"), "--key", &key, "--by", "A. Smith", "--reason", "a trial"];
    let (code, _, err) = run(&signed);
    assert!(code == 0 && err.contains("what was signed is no threshold that keeps a rate: 4 parts cannot"), "{err}");
}

#[test]
fn no_part_has_a_share_in_the_constants_that_it_is_measured_with() {
    let bench = Bench::new();
    let images = (0..3).map(|seed| normal_part(0, 104 + 40 * seed)).collect::<Vec<_>>();
    images.iter().enumerate().for_each(|(i, image)| bench.save(&format!("three/{i}.png"), image));
    rewrite(&bench, |draft| draft.trained_on = None);
    let (code, _, err) = calibrate(&bench, "red", "three", "three.toml");
    assert_eq!(code, 0, "{err}");
    let (calibration, _) = Calibration::open(&bench.path("three.toml")).unwrap();
    assert_eq!((calibration.format_version, calibration.folds), (2, Some(3)));
    let bundle = Bundle::open(&bench.path("bundle")).unwrap();
    let mut inspector = Inspector::new(&bundle).unwrap();
    let maps = images.iter().map(|image| inspector.level_maps(image, 0).unwrap()).collect::<Vec<_>>();
    let others = score::fit_reference(&[&maps[0][..], &maps[2][..]], None);
    assert_eq!(calibration.images[1].score, inspector.score_maps(&maps[1], &others).0);
    // What is to come is measured with constants from all.
    assert_eq!(calibration.reference, score::fit_reference(&maps, None));
}

#[test]
fn a_trial_counts_the_rejects_of_many_splits() {
    let bench = Bench::new();
    rewrite(&bench, |draft| draft.trained_on = None);
    let (model, data) = (bench.text("bundle"), bench.text("data"));
    let base = ["calibrate", "trial", "--model", &model, "--data", &data, "--classes", "red", "--hold-out", "2"];
    let tried = |extra: &[&str]| run(&[&base[..], extra].concat());
    let (code, out, err) = tried(&["--splits", "300", "--target-frr", "0.1,0.2", "--confidence", "0.7"]);
    assert_eq!(code, 0, "{err}");
    // 15 + 8 normals: 12 calibrate, 11 are tried.
    let rows = out.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>()).collect::<Vec<_>>();
    assert_eq!(rows.len(), 4, "{out}");
    for row in &rows {
        let percent = |text: &str| text.trim_end_matches('%').parse::<f64>().unwrap();
        let (calibrated, tried) = (row[2], row[3]);
        assert_eq!((calibrated, tried), ("12", "11"));
        let [promised, realised, kept, expected] = row[row.len() - 4..] else { panic!("{row:?}") };
        // Rates of 300 splits, 11 parts each.
        assert!((percent(promised) - percent(realised)).abs() < 3.0, "{out}");
        assert!((percent(kept) - percent(expected)).abs() < 12.0, "{out}");
    }
    assert_eq!(tried(&["--splits", "300", "--target-frr", "0.1,0.2", "--confidence", "0.7"]).1, out, "by its seed");
    // What can be tried is tried, and the rest is told with what it takes.
    let (code, out, err) = tried(&["--splits", "3", "--target-frr", "0.01,0.2", "--confidence", "0.7"]);
    assert!(code == 2 && out.lines().count() == 4, "{out}{err}");
    assert!(err.contains("12 calibrating parts cannot set 1% false rejects, which 99 can"), "{err}");
    // 0.99^119 is above 0.3, 0.99^120 below it.
    assert!(
        err.contains("12 of 23 parts calibrate")
            && err.contains("120 calibrating parts are needed: 239 normal parts in all"),
        "{err}"
    );
    // A product that cannot be tried keeps none of the others from it.
    let broken = std::fs::read_dir(bench.path("data/blue/train/good")).unwrap().map(|entry| entry.unwrap().path());
    broken.for_each(|image| std::fs::write(image, "no picture").unwrap());
    let all = ["calibrate", "trial", "--model", &model, "--data", &data, "--hold-out", "2", "--splits", "20"];
    let (code, out, err) = run(&[&all[..], &["--target-frr", "0.2", "--classes", "blue,red"]].concat());
    let rows = out.lines().skip(1).map(|row| row.split_whitespace().next().unwrap()).collect::<Vec<_>>();
    assert!(code != 0 && rows == ["red"] && out.starts_with("class"), "{code} {out}{err}");
    assert!(err.contains("blue is not tried: ") && err.contains("1 of 2 products not tried (blue)"), "{err}");
    // Without a subcommand the arguments are asked for.
    let (code, _, err) = run(&["calibrate", "--class", "red"]);
    assert!(code == 2 && err.contains("--model") && err.contains("--out"), "{err}");
}

#[test]
fn a_trial_takes_a_folder_of_normal_parts_or_a_data_set_and_needs_no_test_images() {
    let bench = Bench::new();
    rewrite(&bench, |draft| draft.trained_on = None);
    let (model, data, one) = (bench.text("bundle"), bench.text("data"), bench.text("data/red"));
    let good = bench.text("data/red/train/good");
    let tried = |extra: &[&str]| {
        let splits = if extra.contains(&"--splits") { &[][..] } else { &["--splits", "20"] };
        run(&[&["calibrate", "trial", "--model", &model, "--target-frr", "0.2"][..], splits, extra].concat())
    };
    // Calibrated and tried of each class.
    let counts = |out: &str| {
        let rows = out.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
        rows.map(|row| format!("{} {} {}", row[0], row[2], row[3])).collect::<Vec<_>>()
    };
    let (code, out, err) = tried(&["--class", "red", "--images", &good]);
    assert_eq!((code, counts(&out)), (0, vec!["red 15 15".to_owned()]), "{out}{err}");
    assert!(err.contains("WARN") && err.contains("does not tell which images it was trained on"), "{err}");
    // All that a data set has for training are those that training saw, as far as anybody knows.
    let (code, out, err) = tried(&["--data", &data, "--classes", "red"]);
    assert!(code == 2 && out.is_empty() && err.contains("--hold-out N") && err.contains("--images DIR"), "{out}{err}");
    rewrite(&bench, |draft| {
        draft.manifest.training.insert("hold_out".into(), 7.into());
    });
    let (_, _, err) = tried(&["--data", &data, "--classes", "red"]);
    assert!(err.contains("--hold-out 7"), "{err}");
    let (code, out, err) = tried(&["--class", "red", "--images", &good, "--hold-out", "2"]);
    assert_eq!((code, counts(&out)), (0, vec!["red 8 7".to_owned()]), "{out}{err}");
    // Images of a part are on one side.
    let (code, out, err) = tried(&["--class", "red", "--images", &good, "--group", r"(\d)\.png"]);
    assert_eq!((code, counts(&out)), (0, vec!["red 5 5".to_owned()]), "{out}{err}");
    assert!(err.contains("30 images of 'red' are 10 parts: 20 splits, each with 5 to calibrate and 5 to try"), "{err}");
    let (code, _, err) = tried(&["--class", "red", "--images", &good, "--group", "nothing"]);
    assert!(code == 2 && err.contains("finds nothing in the name"), "{err}");
    std::fs::remove_dir_all(bench.path("data/red/test")).unwrap();
    let (code, out, err) = tried(&["--data", &data, "--classes", "red", "--hold-out", "2"]);
    assert_eq!((code, counts(&out)), (0, vec!["red 8 7".to_owned()]), "{out}{err}");
    // Of a data set that has one of the model's products those are taken that are there.
    let others = std::fs::read_dir(bench.path("data")).unwrap().map(|entry| entry.unwrap().path());
    others.filter(|path| !path.ends_with("red")).for_each(|path| std::fs::remove_dir_all(path).unwrap());
    // A model that names what it saw needs nobody to say so: what training is told to have seen is no image of these.
    rewrite(&bench, |draft| draft.trained_on = Some(std::iter::once(hgad::digest::Digest::of("another")).collect()));
    let (code, out, err) = tried(&["--data", &data]);
    assert_eq!((code, counts(&out)), (0, vec!["red 15 15".to_owned()]), "{out}{err}");
    assert!(!err.contains("does not tell which images"), "{err}");
    for folder in [&one, &good] {
        let (code, _, err) = tried(&["--data", folder]);
        assert!(code == 2 && err.contains("--images DIR --class NAME"), "{err}");
    }
    let (code, _, err) = tried(&[]);
    assert!(code == 2 && err.contains("--images") && err.contains("--data"), "{err}");
    assert_eq!(tried(&["--images", &good]).0, 2, "of which class?");
    for wrong in [["--splits", "0"], ["--share", "2"]] {
        let (code, out, err) = tried(&[&["--class", "red", "--images", &good], &wrong[..]].concat());
        assert!(code == 2 && out.is_empty() && err.contains(wrong[0]), "{wrong:?}: {out}{err}");
    }
}

/// The bench with 40 normal images whose names are numbers and one that is none of them, `odd.png`.
fn with_an_odd_one() -> Bench {
    let bench = Bench::new();
    (0..40).for_each(|seed| bench.save(&format!("normals/{seed:03}.png"), &normal_part(0, 500 + seed)));
    let mut odd = normal_part(0, 999);
    (8..24).for_each(|x| (8..12).for_each(|y| odd.put_pixel(x, y, image::Rgb([60, 60, 60]))));
    bench.save("normals/odd.png", &odd);
    (0..12).for_each(|seed| bench.save(&format!("bad/{seed:03}.png"), &common::defective_part(0, 700 + seed)));
    bench
}

fn asked(bench: &Bench, extra: &[&str]) -> (i32, String, String) {
    asked_for_no_rate(bench, &[&["--target-frr", "0.05"], extra].concat())
}

/// The same, where somebody says that the odd one is a good part.
fn kept(bench: &Bench, extra: &[&str]) -> (i32, String, String) {
    asked(bench, &[&["--keep", "odd.png", "--unlike"], extra].concat())
}

fn asked_for_no_rate(bench: &Bench, extra: &[&str]) -> (i32, String, String) {
    let (model, images, out) = (bench.text("bundle"), bench.text("normals"), bench.text("red.toml"));
    let base = ["calibrate", "--model", &model, "--class", "red", "--images", &images, "--out", &out];
    run(&[&base[..], extra].concat())
}

#[test]
fn what_does_not_belong_is_shown_before_anything_is_written_and_left_out_for_a_reason() {
    let bench = with_an_odd_one();
    let (code, out, err) = asked(&bench, &["--review"]);
    assert!(code == 0 && out.contains("look at     odd.png"), "{out}{err}");
    assert!(!bench.path("red.toml").exists());
    let page = std::fs::read_to_string(bench.path("red.review.html")).unwrap();
    assert!(page.contains("has not been written") && page.contains("odd.png"), "it says what it is");
    assert_eq!(page.matches("data:image/jpeg;base64,").count(), 10);
    assert!(!page.contains("http") && !page.contains("<script"), "the page needs nothing else");

    for (drop, says) in
        [("odd.png", "write it as in"), ("odd.png=", "write it as in"), ("no.png=x", "none of the images")]
    {
        let (code, _, err) = asked(&bench, &["--drop", drop]);
        assert!(code == 2 && err.contains(says), "{drop}: {err}");
    }
    let (code, out, err) = asked(&bench, &["--drop", "odd.png=a <dark> bar"]);
    assert!(code == 0 && out.contains("40 images of 40 parts") && !out.contains("odd.png"), "{out}{err}");
    let (calibration, _) = Calibration::open(&bench.path("red.toml")).unwrap();
    let dropped = &calibration.dropped[0];
    assert_eq!((dropped.file.as_str(), dropped.reason.as_str()), ("odd.png", "a <dark> bar"));
    assert!(dropped.score > calibration.threshold && calibration.images.len() == 40);
    let page = std::fs::read_to_string(bench.path("red.html")).unwrap();
    assert!(page.contains("a &lt;dark&gt; bar") && !page.contains("Against the calibration before"));

    // The next one is held against this one.
    std::fs::copy(bench.path("red.toml"), bench.path("older.toml")).unwrap();
    let (code, _, err) = kept(&bench, &[]);
    assert_eq!(code, 0, "{err}");
    let page = std::fs::read_to_string(bench.path("red.html")).unwrap();
    assert!(page.contains("Against the calibration before") && page.contains("40 images are part of both"));
    let (code, out, _) = run(&["calibrate", "diff", &bench.text("older.toml"), &bench.text("red.toml")]);
    assert!(code == 0 && out.contains("* threshold") && out.contains("  bundle"), "{out}");
    let head = out.lines().next().unwrap();
    assert!(
        head.find("older.toml").is_some_and(|older| head.find("red.toml").is_some_and(|newer| older < newer)),
        "{head}"
    );
    let blue = bench.text("calibration/blue.toml");
    let (code, _, err) = run(&["calibrate", "diff", &bench.text("older.toml"), &blue]);
    assert!(code == 2 && err.contains("'red'") && err.contains("'blue'"), "{err}");
}

#[test]
fn a_threshold_that_somebody_wrote_is_compared_with_no_rate_beside_it() {
    let bench = Bench::new();
    let was = bench.text("calibration/red.toml");
    let (calibration, _) = Calibration::open(&bench.path("calibration/red.toml")).unwrap();
    let by_hand = Calibration { threshold: calibration.threshold + 1.0, ..calibration };
    by_hand.write(&bench.path("by-hand.toml")).unwrap();
    let (code, out, err) = run(&["calibrate", "diff", &was, &bench.text("by-hand.toml")]);
    let row = |name: &str| out.lines().find(|line| line[2..].starts_with(name)).unwrap_or_else(|| panic!("{out}{err}"));
    assert!(code == 0 && row("set by").ends_with(" hand"), "{out}");
    assert!(row("set to").contains("3.23%") && row("set to").ends_with(" no rate"), "{out}");
}

#[test]
fn of_what_stands_apart_a_person_says_what_it_is_before_anything_is_written() {
    let bench = with_an_odd_one();
    let says = "1 image stands apart from the rest, and nobody has said whether that is a good part: odd.png";
    let (code, out, err) = asked(&bench, &[]);
    assert!(code == 2 && err.contains(says) && !out.contains("written to"), "{out}{err}");
    assert!(
        err.contains("--drop FILE=REASON") && err.contains("--keep FILE") && err.contains("red.review.html"),
        "{err}"
    );
    // The one makes all of them so, and both are asked about at once.
    assert!(err.contains("not like the normal parts") && err.contains("--unlike"), "{err}");
    let (code, _, alone) = asked(&bench, &["--keep", "odd.png"]);
    assert!(code == 2 && alone.contains("--unlike") && !bench.path("red.toml").exists(), "{alone}");
    assert!(!bench.path("red.toml").exists() && !bench.path("red.html").exists());
    let page = std::fs::read_to_string(bench.path("red.review.html")).unwrap();
    assert!(page.contains("has not been written") && page.contains("odd.png") && page.contains("--keep FILE"));
    // What stands there stays as it is.
    std::fs::copy(bench.path("calibration/red.toml"), bench.path("red.toml")).unwrap();
    let (code, _, err) = asked(&bench, &["--few-parts"]);
    assert!(code == 2 && err.contains(says), "{err}");
    assert_eq!(
        std::fs::read(bench.path("red.toml")).unwrap(),
        std::fs::read(bench.path("calibration/red.toml")).unwrap()
    );
    let (code, _, err) = asked(&bench, &["--review"]);
    assert!(code == 0 && err.contains("WARN") && err.contains(says), "{err}");
    // The name of another image says nothing of this one, and one of no image is a slip.
    let (code, _, err) = asked(&bench, &["--keep", "000.png"]);
    assert!(code == 2 && err.contains(says), "{err}");
    let (code, _, err) = asked(&bench, &["--keep", "no.png"]);
    assert!(code == 2 && err.contains("cannot be kept: it is none of the images"), "{err}");
    let (code, _, err) = asked(&bench, &["--keep", "odd.png", "--drop", "odd.png=a dark bar"]);
    assert!(code == 2 && err.contains("'odd.png' is to be left out and to be kept"), "{err}");
    let (code, out, err) = kept(&bench, &[]);
    assert!(code == 0 && out.contains("41 images of 41 parts") && !err.contains("apart from the rest"), "{out}{err}");
    let (code, _, err) = asked(&bench, &["--drop", "odd.png=a dark bar"]);
    assert!(code == 0 && !err.contains("apart from the rest"), "{err}");
}

#[test]
fn what_would_be_noticed_is_told_of_each_disturbance_and_of_none() {
    let bench = Bench::new();
    let (model, calibration, data) = (bench.text("bundle"), bench.text("calibration"), bench.text("data"));
    let base = ["disturb", "--model", &model, "--calibration", &calibration, "--data", &data, "--classes", "red"];
    let (code, out, err) =
        run(&[&base[..], &["--before", "10", "--most", "60", "--parts", "200", "--orders", "7"]].concat());
    assert_eq!(code, 0, "{out}{err}");
    let disturbed = out.lines().filter(|line| line.contains("first fault of the camera: ")).collect::<Vec<_>>();
    assert!(disturbed.len() >= 4 && disturbed.iter().all(|line| line.contains("5 in a row not passed: ")), "{out}");
    assert!(out.contains(" of 7 random orders of the undisturbed pictures"), "{out}");
    assert!(out.contains("in 200 undisturbed parts, drawn from these pictures"), "{out}");
}

#[test]
fn known_defects_tell_how_many_are_found_and_move_nothing_unless_asked() {
    let bench = with_an_odd_one();
    let (_, _, err) = kept(&bench, &[]);
    let threshold = || Calibration::open(&bench.path("red.toml")).unwrap().0.threshold;
    let without = threshold();
    let bad = bench.text("bad");
    let (code, out, err2) = kept(&bench, &["--bad", &bad, "--costs", "50,1,0.01"]);
    // The lower bound of 12 of 12 is 0.025^(1/12).
    assert!(
        code == 0 && out.contains("12 of 12 found; 73.5% to 100.0%") && out.contains("cheapest"),
        "{out}{err}{err2}"
    );
    assert!(!err2.contains("nobody knows what it costs"), "{err2}");
    assert_eq!(threshold(), without);
    // Of one defect nobody knows whether half of them are found.
    std::fs::create_dir(bench.path("one")).unwrap();
    let first = std::fs::read_dir(&bad).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(first, bench.path("one/defect.png")).unwrap();
    let (code, _, one) = kept(&bench, &["--bad", &bench.text("one"), "--costs", "50,1,0.01"]);
    assert!(
        code == 0 && one.contains("goes by 1 defect of which it finds 1") && one.contains("between 3% and 100%"),
        "{one}"
    );
    assert_eq!(kept(&bench, &["--bad", &bad, "--costs", "50,1,0.01"]).0, 0);
    let page = std::fs::read_to_string(bench.path("red.html")).unwrap();
    assert!(page.contains("aria-label=\"ROC\"") && page.contains("is the cheapest"));
    std::fs::copy(bench.path("red.toml"), bench.path("by-rate.toml")).unwrap();
    // A rate that is asked for and not kept would be a promise to whoever reads the file.
    let cheapest = ["--bad", &bad, "--costs", "50,1,0.01", "--set-cheapest", "--keep", "odd.png", "--unlike"];
    let (code, _, err) = asked(&bench, &cheapest);
    assert!(code == 2 && err.contains("--target-frr"), "{err}");
    let (code, _, err) = asked_for_no_rate(&bench, &[&cheapest[..], &["--confidence", "0.95"]].concat());
    assert!(code == 2 && err.contains("--confidence"), "{err}");
    let (code, out, err) = asked_for_no_rate(&bench, &cheapest);
    assert!(code == 0 && out.contains("rejects     0 of 41 normal parts"), "{out}{err}");
    let text = std::fs::read_to_string(bench.path("red.toml")).unwrap();
    assert!(text.starts_with("format_version = 4\n") && text.contains("normal_rejected = 0"), "{text}");
    assert!(
        ["target_frr", "promised_frr", "realised_frr", "confidence"].iter().all(|key| !text.contains(key)),
        "{text}"
    );
    let (code, out, err) = run(&["calibrate", "diff", &bench.text("by-rate.toml"), &bench.text("red.toml")]);
    let row = |name: &str| out.lines().find(|line| line[2..].starts_with(name)).unwrap_or_else(|| panic!("{out}{err}"));
    assert!(
        code == 0
            && row("set by").contains("a rate of false rejects")
            && row("set by").ends_with("costs 50, 1, 1% defective")
    );
    assert!(row("asked for").contains("5.00%") && row("asked for").ends_with(" no rate"), "{out}");
    assert!(row("set to").contains("4.76%") && row("set to").ends_with(" no rate"), "{out}");
    assert!(
        row("normal parts rejected").contains("1 of 41") && row("normal parts rejected").ends_with(" 0 of 41"),
        "{out}"
    );
    assert!(row("defects found").ends_with("12 of 12 (73.5% to 100.0%)"), "{out}");
    // What clearly shows another product praises no threshold.
    let mixed = bench.text("mixed");
    bench.save("mixed/blue&1.png", &normal_part(1, 1));
    let (code, _, err) = kept(&bench, &["--bad", &mixed]);
    assert!(
        code == 2
            && err.contains("1 of 1 image of known defects clearly shows another product")
            && err.contains("looks like 'blue'"),
        "{err}"
    );
    (2..9).for_each(|seed| bench.save(&format!("mixed/blue{seed}.png"), &common::defective_part(1, seed)));
    (0..3).for_each(|seed| bench.save(&format!("mixed/red{seed}.png"), &common::defective_part(0, 700 + seed)));
    bench.save("mixed/unseen.png", &normal_part(0, 9000));
    let (code, out, err) = kept(&bench, &["--bad", &mixed, "--costs", "50,1,0.01"]);
    assert!(code == 0 && out.contains("defects     3 of 4 found; 19.4% to 99.4%"), "{out}{err}");
    let told = "8 of 12 images of known defects clearly show another product than 'red'";
    assert!(out.contains(&format!("left out    {told}")) && out.contains("farthest    red"), "{out}");
    assert!(
        err.contains(&format!("{told}; left out: ")) && err.contains("blue&1.png, blue2.png, blue3.png and 5 more"),
        "{err}"
    );
    let page = std::fs::read_to_string(bench.path("red.html")).unwrap();
    let names = (2..9).map(|seed| format!("<td>blue{seed}.png<td>blue")).chain(["<td>blue&amp;1.png<td>blue".into()]);
    assert!(
        page.contains("Found: 3 of 4, 75.0%") && page.contains("Left out of these figures: 8 of 12 images"),
        "{page}"
    );
    assert!(names.into_iter().all(|name| page.contains(&name)) && page.contains("<td>unseen.png<td class=\"n\">"));
    let (calibration, _) = Calibration::open(&bench.path("red.toml")).unwrap();
    assert_eq!(calibration.defects.map(|found| (found.images, found.detected)), Some((4, 3)));
    // It is written over as any calibration.
    assert_eq!(asked_for_no_rate(&bench, &cheapest).0, 0);
    let (calibration, _) = Calibration::open(&bench.path("red.toml")).unwrap();
    assert!(calibration.costs.is_some() && calibration.realised_frr.is_none());
    assert!(calibration.images.iter().all(|image| !calibration.rejects(image.score)), "no reject pays here");
    for extra in
        [&["--costs", "50,1,0.01"][..], &["--bad", &bad, "--costs", "50,1"], &["--bad", &bad, "--set-cheapest"]]
    {
        assert_eq!(kept(&bench, extra).0, 2, "{extra:?}");
    }
}

/// A mask of the bench's pictures, twice their size: black, so ignored, above row 64.
fn lower_half(bench: &Bench) -> String {
    let mask = image::GrayImage::from_fn(128, 128, |_, y| image::Luma([if y < 64 { 0 } else { 255 }]));
    mask.save(bench.path("mask.png")).unwrap();
    bench.text("mask.png")
}

#[test]
fn what_a_mask_ignores_counts_nowhere() {
    let bench = with_an_odd_one();
    let mask = lower_half(&bench);
    let mut stained = normal_part(0, 998);
    (20..44).for_each(|x| (2..12).for_each(|y| stained.put_pixel(x, y, image::Rgb([40, 220, 40]))));
    bench.save("new/000.png", &stained);
    let (model, red, new) = (bench.text("bundle"), bench.text("red.toml"), bench.text("new"));
    let score = |pictures: &str| {
        let base = ["score", "--model", &model, "--calibration", &red, "--class", "red", "--json"];
        let (_, out, err) = run(&[&base[..], &["--heatmap", &bench.text(pictures), &new]].concat());
        assert!(out.contains("verdict"), "{err}");
        out
    };
    assert_eq!(kept(&bench, &[]).0, 0);
    std::fs::copy(&red, bench.path("whole.toml")).unwrap();
    assert!(std::fs::read_to_string(&red).unwrap().contains("format_version = 2\n"), "as older programs read it");
    assert!(score("whole").contains("\"reject\""), "{}", score("whole"));
    let (code, out, err) = kept(&bench, &["--mask", &mask]);
    assert!(code == 0 && out.contains("50.0% of the picture is ignored"), "{out}{err}");
    // The odd one is so in the upper half.
    assert!(!out.contains("look at     odd.png"), "{out}");
    assert!(score("half").contains("\"pass\""), "{}", score("half"));
    let painted = image::open(bench.path("half/000.png.png")).unwrap().to_rgb8();
    let is_grey = |x: u32, y: u32| {
        let [red, green, blue] = painted.get_pixel(x + 64, y).0.map(i32::from);
        (red - green).abs() < 60 && (green - blue).abs() < 60
    };
    assert!(is_grey(30, 6) && is_grey(30, 20) && !is_grey(30, 50), "hatched above, the part's red below");
    let page = std::fs::read_to_string(bench.path("red.html")).unwrap();
    assert!(page.contains("<th>Mask<td>50.0% of the picture is ignored"), "{page}");
    let (_, out, _) = run(&["calibrate", "diff", &bench.text("whole.toml"), &red]);
    let row = out.lines().find(|line| line.starts_with("* mask")).unwrap_or_else(|| panic!("{out}"));
    assert!(row.contains("none") && row.contains("50.0% ignored ("), "{row}");
}

#[test]
fn eval_counts_no_defect_where_nobody_looks() {
    let bench = with_an_odd_one();
    let mask = lower_half(&bench);
    assert_eq!(kept(&bench, &["--mask", &mask]).0, 0);
    std::fs::rename(bench.path("red.toml"), bench.path("calibration/red.toml")).unwrap();
    // One stain above, one below.
    for (seed, top) in [(0, 4), (1, 40)] {
        let (mut part, mut truth) = (normal_part(0, 501 + seed), image::RgbImage::new(64, 64));
        for (x, y) in (20..40).flat_map(|x| (top..top + 16).map(move |y| (x, y))) {
            part.put_pixel(x, y, image::Rgb([40, 220, 40]));
            truth.put_pixel(x, y, image::Rgb([255; 3]));
        }
        bench.save(&format!("masked/red/test/good/{seed:03}.png"), &normal_part(0, 503 + seed));
        bench.save(&format!("masked/red/test/stain/{seed:03}.png"), &part);
        bench.save(&format!("masked/red/ground_truth/stain/{seed:03}_mask.png"), &truth);
    }
    let (model, calibration, data) = (bench.text("bundle"), bench.text("calibration"), bench.text("masked"));
    let eval = |extra: &[&str]| {
        let base = ["eval", "--model", &model, "--calibration", &calibration, "--data", &data, "--classes", "red"];
        let (code, out, err) = run(&[&base[..], extra].concat());
        assert_eq!(code, 0, "{out}{err}");
        out
    };
    let report: serde_json::Value = serde_json::from_str(&eval(&["--json"])).unwrap();
    let red = &report["classes"]["red"];
    assert_eq!((&red["masks"], &red["empty_masks"], &red["regions"]), (&1.into(), &1.into(), &1.into()), "{red}");
    // A file counts by the product that it is of, and so does one of another name in a folder.
    std::fs::create_dir(bench.path("others")).unwrap();
    std::fs::copy(bench.path("calibration/red.toml"), bench.path("others/line-3.toml")).unwrap();
    std::fs::write(bench.path("others/line.toml"), "format_version = 1\n").unwrap();
    let given = |calibrations: &[&str]| {
        let paths =
            calibrations.iter().flat_map(|path| ["--calibration".to_owned(), bench.text(path)]).collect::<Vec<_>>();
        let paths = paths.iter().map(String::as_str).collect::<Vec<_>>();
        run(&[&["eval", "--model", &model, "--data", &data, "--classes", "red", "--json"][..], &paths].concat())
    };
    let expected = eval(&["--json"]);
    for calibrations in [&["others"][..], &["others/line-3.toml"], &["calibration/blue.toml", "others/line-3.toml"]] {
        let (code, out, err) = given(calibrations);
        assert!(code == 0 && out == expected, "{calibrations:?}: {err}");
    }
    let (code, _, err) = given(&["calibration", "others"]);
    assert!(code == 2 && err.contains("several calibrations of 'red'") && err.contains("line-3.toml"), "{err}");
    let (code, _, err) = given(&["calibration/blue.toml"]);
    assert!(code == 3 && err.contains("there is no calibration of 'red'") && err.contains("--classes"), "{err}");
    let (code, _, err) = given(&["others/line.toml"]);
    assert!(code == 2 && err.contains("line.toml is not a calibration file"), "{err}");
    let out = eval(&[]);
    assert!(out.contains("stain/000.png") && !out.contains("stain/001.png"), "the upper one is missed: {out}");
}

#[test]
fn a_mask_that_is_not_clear_or_of_another_shape_is_refused_before_anything_is_written() {
    let bench = with_an_odd_one();
    let refused = |width: u32, height: u32, value: &dyn Fn(u32) -> u8| {
        image::GrayImage::from_fn(width, height, |x, _| image::Luma([value(x)])).save(bench.path("bad.png")).unwrap();
        let (code, _, err) = kept(&bench, &["--mask", &bench.text("bad.png")]);
        assert!(code == 2 && !bench.path("red.toml").exists() && !bench.path("red.html").exists(), "{err}");
        err
    };
    let half = |x: u32| if x < 20 { 0 } else { 255 };
    assert!(refused(64, 64, &|x| if x == 9 { 128 } else { half(x) }).contains("column 9, row 0 (red 128"));
    assert!(refused(64, 64, &|_| 0).contains("nothing is left"));
    let shape = refused(64, 48, &half);
    assert!(shape.contains("64x48") && shape.contains(".png is 64x64"), "{shape}");
    let (code, _, err) = kept(&bench, &["--mask", &bench.text("gone.png")]);
    assert!(code == 3 && err.contains("gone.png"), "{err}");
}

#[test]
fn masks_of_the_format_before_are_refused_by_name() {
    let bench = with_an_odd_one();
    assert_eq!(kept(&bench, &["--mask", &lower_half(&bench)]).0, 0);
    let path = bench.path("red.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("format_version = 3\n"), "{text}");
    std::fs::write(&path, text.replace("format_version = 3", "format_version = 2").replace("mask =", "ignored ="))
        .unwrap();
    let report = Calibration::open(&path).unwrap_err().report();
    assert!(report.contains("its mask is of another kind") && report.contains("calibrate again"), "{report}");
}

#[test]
fn pictures_are_taken_with_the_line_s_own_camera() {
    let bench = with_an_odd_one();
    let config = "format_version = 1\n[line]\nname = \"x\"\nclass = \"red\"\nmodel = \"bundle\"\ncalibration = \"red.toml\"\n\
                  travel_ms = 300\npulse_ms = 20\n[camera]\nkind = \"folder\"\npath = \"normals\"\nrate = 1000\n\
                  [output]\nkind = \"none\"\n[audit]\nfile = \"audit.jsonl\"\n";
    std::fs::write(bench.path("line.toml"), config).unwrap();
    let (model, new, out, line) =
        (bench.text("bundle"), bench.text("new"), bench.text("red.toml"), bench.text("line.toml"));
    let base = ["calibrate", "--model", &model, "--class", "red", "--images", &new, "--out", &out, "--config", &line];
    let (code, _, err) = run(&[&base[..], &["--live", "30"]].concat());
    let advice = "ask for a rate that 30 can keep (--target-frr 0.033)";
    assert!(code == 2 && err.contains("too few to promise 1%") && err.contains(advice), "{err}");
    for flags in
        [&["--confidence", "0.95"][..], &["--confidence", "0.95", "--few-parts"], &["--confidence", "0.95", "--review"]]
    {
        let (code, _, err) = run(&[&base[..], &["--live", "30"], flags].concat());
        assert!(code == 2 && err.contains("299 are needed") && !err.contains("--few-parts"), "{flags:?}: {err}");
    }
    let (few, missing) = (["--live", "30", "--few-parts"], bench.text("missing"));
    for (flags, says) in [
        (["--group", "("], "no regular expression"),
        (["--group", r"part-(\d+)"], "pictures that --live takes have the time of their capture"),
        (["--group", "^(20)"], "finds the same, '20', in the name of every picture"),
        (["--group", "x*"], "finds the same, ''"),
        (["--mask", &missing], "missing"),
        (["--bad", &missing], "missing"),
    ] {
        let (code, _, err) = run(&[&base[..], &few, &flags].concat());
        assert!(code != 0 && err.contains(says), "{flags:?}: {err}");
    }
    assert!(!bench.path("new").exists(), "no picture is taken for nothing");
    let alone = bench.text("alone");
    let each = ["--group", ".*", "--images", &alone, "--live", "30", "--few-parts"];
    let base_but_images = [&base[..5], &base[7..]].concat();
    let (code, _, err) = run(&[&base_but_images[..], &each].concat());
    assert!(code == 0 && err.contains("each counts as a part of its own, as without --group"), "{err}");
    let live = |count: &str| run(&[&base[..], &["--target-frr", "0.033", "--live", count]].concat());
    let (code, text, err) = live("30");
    assert!(
        code == 0 && text.contains("taken       30 pictures") && text.contains("30 images of 30 parts"),
        "{text}{err}"
    );
    let mut taken =
        std::fs::read_dir(bench.path("new")).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    taken.sort();
    assert!(err.contains("30 of 30 pictures are of ") && err.contains(r"--group '\d{8}-\d{4}'"), "{err}");
    let same = |path: &Path| image::open(path).unwrap().to_rgb8();
    assert_eq!(same(&taken[29]), same(&bench.path("normals/029.png")));
    // So pictures of one minute count as one part where that is asked for; the minute may have turned meanwhile.
    let named = regex::Regex::new(r"^20\d{6}-\d{6}-000\d\d\.png$").unwrap();
    assert!(taken.iter().all(|path| named.is_match(path.file_name().unwrap().to_str().unwrap())), "{taken:?}");
    let grouped = ["--group", r"\d{8}-\d{4}", "--few-parts", "--out", &bench.text("minutes.toml")].map(str::to_owned);
    let grouped = grouped.iter().map(String::as_str).collect::<Vec<_>>();
    let again = ["calibrate", "--model", &model, "--class", "red", "--images", &new, "--target-frr", "0.6"];
    let (_, text, err) = run(&[&again[..], &grouped].concat());
    let of = ["30 images of 1 part", "30 images of 2 parts"];
    assert!(of.iter().any(|of| text.contains(of)) || err.contains("1 part"), "{text}{err}");
    assert!(!err.contains("30 of 30 pictures are of "), "{err}");
    let (code, _, err) = live("30");
    assert!(code == 2 && err.contains("holds files already"), "{err}");
    std::fs::remove_dir_all(bench.path("new")).unwrap();
    // What stands apart among them is looked at where they lie.
    let (code, _, err) = live("41");
    let again = format!("without --live, --config and --lane (the pictures stay in {new})");
    assert!(code == 2 && err.contains("-00040.png") && err.contains(&again), "{err}");
    std::fs::remove_dir_all(bench.path("new")).unwrap();
    let (code, _, err) = live("50");
    assert!(code == 3 && err.contains("no more pictures"), "{err}");
    // A camera that has stopped giving new pictures, and a belt on which that product never comes, are not watched for ever.
    std::fs::remove_dir_all(bench.path("new")).unwrap();
    std::fs::create_dir(bench.path("frozen")).unwrap();
    std::fs::copy(bench.path("normals/000.png"), bench.path("frozen/000.png")).unwrap();
    let frozen = config.replace("\"normals\"", "\"frozen\"\nrepeat = 1000");
    std::fs::write(bench.path("line.toml"), frozen).unwrap();
    let (code, _, err) = live("30");
    assert!(
        code == 3 && err.contains("gives the same picture again and again") && err.contains("the last 100"),
        "{err}"
    );
    std::fs::remove_dir_all(bench.path("new")).unwrap();
    let other = config.replace("kind = \"folder\"\npath = \"normals\"", "kind = \"synthetic\"\nseed = 1");
    std::fs::write(bench.path("line.toml"), other).unwrap();
    let (code, _, err) = live("30");
    assert!(code == 2 && err.contains("shows no 'red'"), "{err}");
}
