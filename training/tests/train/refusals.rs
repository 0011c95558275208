//! What stands in the way is found before anything is computed.

use super::*;

#[test]
fn an_option_of_another_method_is_refused() {
    let line = Line::new();
    let cases: [(&str, &[&str], &str); 14] = [
        ("cflow", &["--prior", "single"], "--prior would change nothing with --method cflow"),
        ("hgad", &["--prior", "single", "--centers", "3"], "would change nothing with --prior single"),
        ("cflow", &["--lambda2", "3"], "a hyperparameter of the mixture would change nothing with --method cflow"),
        ("fastflow", &["--positions-per-side", "3"], "leave it away, or give --method hgad or cflow"),
        ("fastflow", &["--remember", "3"], "--remember would change nothing with --method fastflow"),
        ("hgad", &["--channels", "9"], "--channels would change nothing with --method hgad"),
        ("hgad", &["--remember", "9"], "give --method memory"),
        ("padim", &["--remember", "9"], "--remember would change nothing with --method padim"),
        ("padim", &["--epochs", "3"], "hyperparameters would change nothing with --method padim"),
        ("memory", &["--distance", "cells"], "leave it away, or give --method hgad or cflow or fastflow"),
        ("memory", &["--resume"], "--resume would change nothing"),
        ("padim", &["--channels", "0"], "whole number from 1"),
        ("memory", &["--remember", "193"], "192 feature vectors, fewer than the 193 to remember"),
        ("patchcore", &[], "possible values: hgad, padim, memory, cflow, fastflow"),
    ];
    for (name, more, said) in cases {
        let (status, _, errors) = method(&line, name, more);
        assert_eq!(status.code(), Some(2), "{name} {more:?}: {errors}");
        assert!(errors.contains(said), "{name} {more:?}: {errors}");
        assert!(!line.path(name).exists());
    }
}

#[test]
fn what_stands_in_the_way_is_found_before_features_are_computed() {
    let line = Line::new();
    std::fs::write(line.path("cache"), "no folder").unwrap();
    let (status, _, errors) = wait(line.command(1).spawn().unwrap());
    assert_eq!(status.code(), Some(3), "{errors}");
    assert!(errors.contains("cannot be written") && errors.contains("a place with --cache"), "{errors}");
    std::fs::remove_file(line.path("cache")).unwrap();
    std::fs::write(line.path("model.checkpoint"), "of an earlier run").unwrap();
    let (status, _, errors) = wait(line.command(1).spawn().unwrap());
    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(errors.contains("of an earlier run stands here") && !line.path("cache").exists(), "{errors}");
}

#[test]
fn a_fit_that_is_of_no_use_is_told_in_the_table_and_at_the_end() {
    let line = Line::new();
    // All that is learned from is one and the same; what was held out differs a little, and so without measure.
    for (class, product) in PRODUCTS.iter().enumerate() {
        for i in 0..16 {
            let grey = 80 + 60 * class as u8 + 30 * u8::from(i % 4 == 3);
            let path = line.path(&format!("parts/{product}/train/good/{i:03}.png"));
            RgbImage::from_pixel(40, 36, Rgb([grey; 3])).save(path).unwrap();
        }
    }
    let (status, out, errors) = wait(line.command(3).spawn().unwrap());
    assert_eq!(status.code(), Some(1), "{errors}");
    assert_eq!(out.matches("USELESS").count(), 2, "{out}");
    assert!(
        errors.contains("levels fine, coarse are of no use") && errors.contains("try: take other taps"),
        "{errors}"
    );
    assert!(!out.contains("hgad calibrate"), "{out}");
    hgad::bundle::Bundle::open(&line.path("model")).unwrap();
}

#[test]
fn an_image_that_cannot_be_read_is_found_before_anything_is_computed() {
    // One is learned from, one is held out.
    for spoilt in ["nut/train/good/005.png", "washer/train/good/007.png"] {
        let line = Line::new();
        let path = line.path("parts").join(spoilt);
        let whole = std::fs::read(&path).unwrap();
        let cases = [b"no image".to_vec(), whole[..20].to_vec()];
        for bytes in cases {
            std::fs::write(&path, bytes).unwrap();
            let (status, _, errors) = wait(line.command(1).spawn().unwrap());
            assert_eq!(status.code(), Some(3), "{errors}");
            assert!(errors.contains(spoilt) && errors.contains("leave it out"), "{errors}");
            assert!(!line.path("cache").exists(), "{errors}");
        }
    }
}

#[test]
fn copies_across_the_hold_out_are_named_before_anything_is_computed() {
    let line = Line::new();
    let good = line.path("parts/nut/train/good");
    RgbImage::from_pixel(40, 36, Rgb([90; 3])).save(good.join("001.png")).unwrap();
    // The fourth of the sorted images is held out.
    std::fs::copy(good.join("001.png"), good.join("003.png")).unwrap();
    // Two copies on one side, such as 000.png and 008.png, are no reason to worry.
    assert_eq!(std::fs::read(good.join("000.png")).unwrap(), std::fs::read(good.join("008.png")).unwrap());
    std::fs::remove_file(line.path("small.onnx")).unwrap();
    let (status, _, said) = wait(line.command(1).spawn().unwrap());
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("1 image held out, and learned from as a copy"), "{said}");
    assert!(
        said.contains("003.png of ") && said.contains("nut/train/good/001.png. ") && !said.contains("000.png"),
        "{said}"
    );
    assert!(said.contains("delete one of each two"), "{said}");
}

#[test]
fn a_recipe_that_makes_no_sense_is_refused_whoever_asks() {
    let line = Line::new();
    let features = line.features(&line.backbone());
    let mut task = task(&features, line.path("checkpoint"), false);
    task.recipe.learning_rate = -1.0;
    let error = Device::Cpu.fit(&task, &AtomicBool::new(false)).err().unwrap();
    assert!(error.kind().exit_code() == 2 && error.to_string().contains("learning rate"), "{error}");
    assert!(!task.checkpoint.exists());
}

#[test]
fn wrong_use_is_told_before_anything_is_computed() {
    let line = Line::new();
    let cases: [(&[&str], &str); 9] = [
        (&["--classes", "gone"], "gone"),
        (&["--learning-rate", "-1"], "learning rate is -1"),
        (&["--batch", "-1"], "whole number from 1"),
        (&["--classes", "nut", "--seed", "-1"], "invalid value '-1'"),
        (&["--hidden", "wide"], "wide"),
        (&["--lambda1", "0", "--lambda2", "0", "--without", "entropy,intra,sigmoid"], "no loss is left"),
        (&["--lambda1", "0", "--lambda2", "0", "--without", "entropy"], "no loss is left"),
        (&["--centers", "1"], "whole number from 2"),
        (&["--device", "cuda", "--classes", "nut"], "without CUDA"),
    ];
    for (arguments, said) in cases {
        if cfg!(feature = "cuda") && said == "without CUDA" {
            continue;
        }
        let mut command = line.command(1);
        let (status, _, errors) = wait(command.args(arguments).spawn().unwrap());
        assert_eq!(status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(said), "{arguments:?}: {errors}");
    }
    let (status, _, errors) = wait(line.command(100_001).spawn().unwrap());
    assert!(status.code() == Some(2) && errors.contains("whole number from 1 to 100000"), "{errors}");
}

#[test]
fn a_class_too_small_for_its_hold_out_is_told_so() {
    let line = Line::new();
    (3..16).for_each(|i| std::fs::remove_file(line.path(&format!("parts/nut/train/good/{i:03}.png"))).unwrap());
    let (status, _, errors) = wait(line.command(1).spawn().unwrap());
    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(errors.contains("class nut has 3 images: with --hold-out 4 it needs at least 4"), "{errors}");
}

#[test]
fn a_folder_that_is_no_bundle_is_never_replaced() {
    let line = Line::new();
    let precious = line.path("model");
    std::fs::create_dir_all(precious.join("pictures")).unwrap();
    let (status, _, errors) = wait(line.command(1).spawn().unwrap());
    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(errors.contains("'pictures', which would be deleted"), "{errors}");
    assert!(precious.join("pictures").is_dir() && !line.path("model.checkpoint").exists(), "and nothing was computed");
}
