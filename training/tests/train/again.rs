//! Bundles that are refitted, and that take a product more.

use super::*;

/// The command that measures `from` again as `to`.
fn refit(line: &Line, from: &str, to: &str, more: &[&str]) -> (ExitStatus, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
    command.arg("refit").arg(line.path(from)).arg("--images").arg(line.path("parts")).arg("--out").arg(line.path(to));
    wait(command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

#[test]
fn a_refitted_bundle_is_what_training_would_have_written() {
    let line = Line::new();
    let train = |distance: &str| {
        let (status, _, errors) = wait(line.command_to(3, distance).args(["--distance", distance]).spawn().unwrap());
        assert!(status.success(), "{errors}");
        hgad::bundle::Bundle::open(&line.path(distance)).unwrap()
    };
    let [centers, cells] = ["centers", "cells"].map(train);
    assert_eq!([&centers, &cells].map(|bundle| bundle.manifest.format_version), [1, 3]);
    assert_ne!(centers.golden.frames[0].score, cells.golden.frames[0].score);
    assert_eq!([&centers, &cells].map(|bundle| bundle.manifest.levels.len()), [2, 1]);
    let cases = [("centers", "cells", &cells), ("cells", "cells", &cells), ("centers", "centers", &centers)];
    for (from, distance, expected) in cases {
        let (status, out, errors) = refit(&line, from, "again", &["--distance", distance]);
        assert!(status.success(), "{errors}");
        assert!(out.contains("washer") && out.contains("calibrate every product with it"), "{out}");
        let again = hgad::bundle::Bundle::open(&line.path("again")).unwrap();
        assert_eq!(again.centers, expected.centers);
        assert_eq!(again.model, expected.model);
        assert_eq!(again.manifest.levels, expected.manifest.levels);
        assert_eq!(again.trained_on, expected.trained_on);
        assert_eq!(again.manifest.format_version, expected.manifest.format_version);
        let scores = |bundle: &hgad::bundle::Bundle| bundle.golden.frames.iter().map(|f| f.score).collect::<Vec<_>>();
        assert_eq!(scores(&again), scores(expected));
        let from = hgad::bundle::Bundle::open(&line.path(from)).unwrap().digest.to_string();
        assert_eq!(again.manifest.training["refitted"]["from"].as_str(), Some(&*from));
        Inspector::new(&again).unwrap().check_parity(&again).unwrap();
    }
    let (status, _, errors) = refit(&line, "cells", "apart", &["--distance", "centers"]);
    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(errors.contains("levels of this bundle were joined") && !line.path("apart").exists(), "{errors}");

    // Every eighth picture is the same again.
    for name in ["000", "008"] {
        std::fs::remove_file(line.path(&format!("parts/nut/train/good/{name}.png"))).unwrap();
    }
    let (status, _, errors) = refit(&line, "centers", "less", &[]);
    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(errors.contains("trained on are not there") && !line.path("less").exists(), "{errors}");
}

/// Darker checks, turned. One in thirty-six wakes a channel that is silent in nuts and washers: it lies hundreds of deviations away.
fn cap(i: u32) -> RgbImage {
    image::imageops::rotate180(&image::imageops::brighten(&steady(1, i + 100), -40))
}

/// A product more on a line, with so many normal images.
fn with_product(line: &Line, name: &str, count: u32, image: impl Fn(u32) -> RgbImage) {
    let good = line.path("parts").join(name).join("train/good");
    std::fs::create_dir_all(&good).unwrap();
    (0..count).for_each(|i| image(i).save(good.join(format!("{i:03}.png"))).unwrap());
}

fn extend(line: &Line, from: &str, product: &str, to: &str) -> (ExitStatus, String, String) {
    program(line, &["extend", from, "--data", "parts", "--product", product, "--hold-out", "4", "--out", to])
}

#[test]
fn a_product_is_added_and_the_others_keep_their_scores_to_the_last_bit() {
    let line = Line::steady();
    with_product(&line, "cap", 48, cap);
    let (status, _, errors) = wait(line.command_to(3, "two").args(["--classes", "nut,washer"]).spawn().unwrap());
    assert!(status.success(), "{errors}");
    let (status, out, errors) = extend(&line, "two", "cap", "three");
    assert!(status.success(), "{errors}");
    assert!(out.contains("cap learned from 36 images, 12 held out") && out.contains("nut, washer, cap"), "{out}");

    let [old, new] = ["two", "three"].map(|name| hgad::bundle::Bundle::open(&line.path(name)).unwrap());
    assert_eq!(new.model, old.model);
    assert_eq!(new.manifest.classes, ["nut", "washer", "cap"]);
    assert_eq!(new.manifest.training["extended"][0]["from"].as_str(), Some(&*old.digest.to_string()));
    assert_eq!(new.manifest.training["data"]["cap"]["images"].as_integer(), Some(36));
    let seen = |bundle: &hgad::bundle::Bundle| bundle.trained_on.clone().unwrap();
    assert!(seen(&old).is_subset(&seen(&new)) && seen(&new).len() == seen(&old).len() + 36);
    let [mut of_old, mut of_new] = [&old, &new].map(|bundle| Inspector::new(bundle).unwrap());
    of_new.check_parity(&new).unwrap();
    assert_eq!(new.golden.frames.len(), 3, "the new product has a golden frame, too");
    for (class, product) in PRODUCTS.iter().enumerate() {
        for path in line.good(product, HoldOut::Held(4)) {
            let image = dataset::read_rgb(&path).unwrap();
            let [before, after] = [(&mut of_old, &old), (&mut of_new, &new)].map(|(inspector, bundle)| {
                inspector.inspect(&image, class, &bundle.centers.references[class]).unwrap()
            });
            assert_eq!((before.score, before.map), (after.score, after.map));
            assert_eq!(after.resembles, before.resembles, "{product} does not look like the new one");
            let as_cap = of_new.inspect(&image, 2, &new.centers.references[2]).unwrap();
            assert_ne!(as_cap.resembles, None, "taken for the new one it is told to be another");
        }
    }
    for path in line.good("cap", HoldOut::Held(4)) {
        let image = dataset::read_rgb(&path).unwrap();
        let mut score = |image| of_new.inspect(image, 2, &new.centers.references[2]).unwrap();
        let [of_good, of_bad] = [&image, &stained(image.clone())].map(&mut score);
        assert!(of_bad.score > of_good.score + 2.0, "{} and {}", of_good.score, of_bad.score);
        assert_eq!(of_good.resembles, None);
        let as_nut = of_new.inspect(&image, 0, &new.centers.references[0]).unwrap();
        assert_eq!(as_nut.resembles, Some(2), "taken for a nut it is told to be the new one");
    }
}

#[test]
fn a_product_that_cannot_be_added_is_refused_and_nothing_is_written() {
    let line = Line::steady();
    // Two parts in five are washers.
    with_product(&line, "mixed", 48, |i| if i % 5 < 2 { steady(1, i + 200) } else { cap(i) });
    with_product(&line, "nut2", 48, |i| steady(0, i + 200));
    with_product(&line, "pin", 12, cap);
    with_product(&line, "bolt", 3, cap);
    for (to, more) in [("two", vec![]), ("learned", vec!["--distance", "centers"])] {
        let (status, _, errors) =
            wait(line.command_to(3, to).args(["--classes", "nut,washer"]).args(more).spawn().unwrap());
        assert!(status.success(), "{errors}");
    }
    let refused = [
        ("two", "nut", 2, "knows nut already"),
        ("two", "pin", 2, "pin has 9 images to learn from, which is too few"),
        ("two", "bolt", 2, "bolt has 3 images"),
        ("two", "screw", 2, "screw"),
        ("learned", "nut2", 2, "refit --distance cells"),
        ("two", "nut2", 1, "normal parts of nut lie nearer to nut2 than to nut, in the mean: nothing was written"),
        ("two", "mixed", 1, "of mixed would be taken for another product"),
    ];
    for (from, product, code, says) in refused {
        let (status, _, errors) = extend(&line, from, product, "refused");
        assert_eq!(status.code(), Some(code), "{product}: {errors}");
        assert!(errors.contains(says) && !line.path("refused").exists(), "{product}: {errors}");
    }
}
