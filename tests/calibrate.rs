//! Which images set a threshold: through the real program.

mod common;

use common::{Bench, normal_part, run};
use hgad::bundle::{Bundle, Draft};

/// Calibrates `class` on a folder; the exit code, what was printed, and what was said.
fn calibrate(bench: &Bench, class: &str, images: &str, out: &str) -> (i32, String, String) {
    let (model, images, out) = (bench.text("bundle"), bench.text(images), bench.text(out));
    let base = ["calibrate", "--model", &model, "--target-frr", "0.05", "--images", &images];
    run(&[&base[..], &["--class", class, "--out", &out]].concat())
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
fn a_few_copies_of_training_images_are_told_from_a_wrong_choice_of_images() {
    let bench = Bench::new();
    (0..4).for_each(|seed| bench.save(&format!("copies/{seed:03}.png"), &normal_part(0, seed)));
    bench.save("copies/004.png", &normal_part(0, 104));
    let (code, _, err) = calibrate(&bench, "red", "copies", "refused.toml");
    assert!(code == 2 && err.contains("1 of 5 images") && err.contains("004.png"), "{err}");
    assert!(err.contains("copies of such, byte for byte") && !err.contains("--hold-out 5"), "{err}");
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
    assert!(out.contains("30 of 30 parts"), "{out}");
    // Groups follow: the stray is the only image of its own, and the last of the folder.
    let (model, images, grouped) = (bench.text("bundle"), bench.text("data/red/train/good"), bench.text("group.toml"));
    let base = ["calibrate", "--model", &model, "--class", "red", "--images", &images, "--out", &grouped];
    let (code, out, err) = run(&[&base[..], &["--group", r"^(\d\d|stray)"]].concat());
    assert!(code == 0 && out.contains("30 of 3 parts"), "{out}{err}");
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
    // Known before the first image is looked at.
    let (code, _, err) =
        calibrate(&bench, "no-such-class", "data/red/train/good", "data/red/train/good/000.png/red.toml");
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
    let (code, out_text, err) = asked(&["--target-frr", "0.1", "--confidence", "0.95"]);
    assert!(code == 0 && out_text.contains("at most 10.00% false rejects with 95% confidence"), "{out_text}{err}");
    // Tens of images: three parts.
    let (code, _, err) = asked(&["--target-frr", "0.1", "--confidence", "0.95", "--group", r"(\d)\d\.png"]);
    assert!(code == 2 && err.contains("3 normal parts are too few"), "{err}");
    let (code, _, err) = asked(&["--group", "part-"]);
    assert!(code == 2 && err.contains("finds nothing in the name '000.png'"), "{err}");
    let (code, out_text, err) = asked(&["--group", r"(\d)\d\.png"]);
    assert!(code == 0 && out_text.contains("30 of 3 parts"), "{out_text}{err}");
    let file = std::fs::read_to_string(&out).unwrap();
    assert!(file.contains("group = \"2\"") && file.contains("realised_frr"), "{file}");
}
