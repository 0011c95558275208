//! What is wrong with a file is said, and the exit code says whose fault it is.

mod common;

use std::path::Path;

use common::{Bench, onnx, run, write_bundle_of};
use hgad::bundle::{Bundle, Distance};
use hgad::digest::Digest;
use prost::Message;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// Scores one image and gives the exit code and what was said.
fn score(bench: &Bench, calibration: &str, image: &str) -> (i32, String) {
    let (model, calibration) = (bench.text("bundle"), bench.text(calibration));
    let image = bench.text(image);
    let (code, _, err) = run(&["score", "--model", &model, "--calibration", &calibration, "--class", "red", &image]);
    (code, err)
}

const IMAGE: &str = "data/red/test/good/000.png";
const CALIBRATION: &str = "calibration/red.toml";

/// Replaces the bundle's model by other bytes and makes the manifest's digest fit, as a forger would.
fn replace_model(bench: &Bench, bytes: &[u8]) {
    replace(&bench.path("bundle"), "model.onnx", bytes);
}

fn replace(bundle: &Path, name: &str, bytes: &[u8]) {
    let old = std::fs::read(bundle.join(name)).unwrap();
    let manifest = std::fs::read_to_string(bundle.join("manifest.toml")).unwrap();
    let manifest = manifest.replace(&Digest::of(old).to_string(), &Digest::of(bytes).to_string());
    std::fs::write(bundle.join("manifest.toml"), manifest).unwrap();
    std::fs::write(bundle.join(name), bytes).unwrap();
}

#[test]
fn gaussians_of_cells_that_are_missing_odd_or_without_spread_are_named() {
    type Change = fn(&mut Vec<(String, Dtype, Vec<usize>, Vec<u8>)>);
    struct Case {
        change: Change,
        says: &'static str,
    }
    let cases = [
        Case {
            change: |tensors| tensors.retain(|(name, ..)| name != "cells.scale.0"),
            says: "cells.scale.0 is missing",
        },
        Case {
            change: |tensors| named(tensors, "cells.weights.0").2 = vec![2, 8, 8, 6, 1],
            says: "tensor cells.weights.0 is I8 [2, 8, 8, 6, 1], expected I8 [2, 8, 8, 6]",
        },
        Case {
            change: |tensors| named(tensors, "cells.weights.0").1 = Dtype::U8,
            says: "tensor cells.weights.0 is U8 [2, 8, 8, 6], expected I8",
        },
        Case {
            change: |tensors| named(tensors, "cells.scale.0").3[4..8].fill(0),
            says: "a scale in cells.scale.0 is not above 0",
        },
        Case {
            change: |tensors| named(tensors, "cells.mean.0").3[..4].copy_from_slice(&f32::NAN.to_le_bytes()),
            says: "tensor cells.mean.0 holds values that are not finite",
        },
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    for Case { change, says } in cases {
        write_bundle_of(&path, Distance::Cells);
        let bytes = std::fs::read(path.join("centers.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors = tensors
            .iter()
            .map(|(name, of)| (name.to_owned(), of.dtype(), of.shape().to_vec(), of.data().to_vec()))
            .collect();
        change(&mut tensors);
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, data)| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
        replace(&path, "centers.safetensors", &safetensors::serialize(views, None).unwrap());
        let error = Bundle::open(&path).unwrap_err();
        assert!(error.report().contains(says), "{}", error.report());
        assert_eq!(error.kind().exit_code(), 3);
    }
    write_bundle_of(&path, Distance::Cells);
    let bytes = std::fs::read(path.join("centers.safetensors")).unwrap();
    replace(&path, "centers.safetensors", &bytes[..bytes.len() - 1]);
    assert!(Bundle::open(&path).unwrap_err().report().contains("centers.safetensors is not a safetensors file"));
}

fn named<'t>(
    tensors: &'t mut [(String, Dtype, Vec<usize>, Vec<u8>)],
    name: &str,
) -> &'t mut (String, Dtype, Vec<usize>, Vec<u8>) {
    tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap()
}

#[test]
fn a_format_that_cannot_say_what_a_bundle_says_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    let manifest = || std::fs::read_to_string(path.join("manifest.toml")).unwrap();
    write_bundle_of(&path, Distance::Centers);
    assert!(manifest().contains("format_version = 1") && !manifest().contains("distance"), "{}", manifest());
    assert_eq!(Bundle::open(&path).unwrap().manifest.distance, Distance::Centers);
    write_bundle_of(&path, Distance::Cells);
    assert!(manifest().contains("format_version = 3") && manifest().contains("distance = \"cells\""), "{}", manifest());
    assert!(Bundle::open(&path).unwrap().centers.cells.is_some());
    std::fs::write(path.join("manifest.toml"), manifest().replace("format_version = 3", "format_version = 2")).unwrap();
    let error = Bundle::open(&path).unwrap_err().report();
    assert!(error.contains("format 2 does not know the distance cells"), "{error}");
}

#[test]
fn a_truncated_model_and_flipped_bytes_are_seen_by_the_digest() {
    let bench = Bench::new();
    let path = bench.path("bundle/model.onnx");
    let bytes = std::fs::read(&path).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 0x10;
    for damaged in [&bytes[..bytes.len() / 2], &flipped, b""] {
        std::fs::write(&path, damaged).unwrap();
        let (code, err) = score(&bench, CALIBRATION, IMAGE);
        assert_eq!(code, 3, "{err}");
        assert!(err.contains("model.onnx is not the file that the manifest names"), "{err}");
    }
}

#[test]
fn no_truncation_or_flip_of_a_model_whose_digest_was_forged_panics() {
    let bench = Bench::new();
    let bundle = hgad::bundle::Bundle::open(&bench.path("bundle")).unwrap();
    let bytes = onnx().encode_to_vec();
    let load = |bytes: &[u8]| hgad::inspect::Inspector::from_parts(&bundle.manifest, bytes, &bundle.centers).err();
    assert!(load(&bytes).is_none());
    for length in 0..bytes.len() {
        // A prefix that ends between two fields can be a whole message; it then lacks nodes or outputs.
        assert!(load(&bytes[..length]).is_some(), "{length} of {} bytes were let in", bytes.len());
    }
    let mut refused = 0;
    for bit in (0..bytes.len() * 8).step_by(5) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refused += usize::from(load(&flipped).is_some());
    }
    assert!(refused > 0);
}

#[test]
fn a_model_that_asks_for_too_much_is_refused() {
    let bench = Bench::new();
    let mut hostile = onnx();
    let graph = hostile.graph.as_mut().unwrap();
    graph.node[0].attribute[0].ints = vec![1 << 40, 8];
    replace_model(&bench, &hostile.encode_to_vec());
    let (code, err) = score(&bench, CALIBRATION, IMAGE);
    assert_eq!(code, 2, "the calibration is of the bundle before: {err}");
    let image = bench.text(IMAGE);
    let (code, _, err) = run(&["score", "--model", &bench.text("bundle"), "--class", "red", &image]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("is not let in") && err.contains("kernel_shape = 1099511627776"), "{err}");
}

#[test]
fn a_bundle_of_a_newer_format_and_one_without_files_are_named() {
    let bench = Bench::new();
    let path = bench.path("bundle/manifest.toml");
    let manifest = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, manifest.replace("format_version = 1", "format_version = 9\nfuture = true")).unwrap();
    let (code, err) = score(&bench, CALIBRATION, IMAGE);
    assert_eq!(code, 3);
    assert!(err.contains("bundle format 9 is unknown to this program"), "{err}");
    std::fs::remove_file(&path).unwrap();
    let (code, err) = score(&bench, CALIBRATION, IMAGE);
    assert_eq!(code, 3);
    assert!(err.contains("manifest.toml cannot be read"), "{err}");
}

#[test]
fn a_calibration_of_another_bundle_is_refused() {
    let bench = Bench::new();
    let path = bench.path(CALIBRATION);
    let text = std::fs::read_to_string(&path).unwrap();
    let bundle = hgad::bundle::Bundle::open(&bench.path("bundle")).unwrap();
    std::fs::write(&path, text.replace(&bundle.digest.to_string(), &Digest::of("another").to_string())).unwrap();
    let (code, err) = score(&bench, CALIBRATION, IMAGE);
    assert_eq!(code, 2);
    assert!(err.contains("is not of this model") && err.contains(&bundle.digest.short()), "{err}");
}

#[test]
fn an_unknown_class_an_image_that_is_none_and_an_empty_folder_are_named() {
    let bench = Bench::new();
    let model = bench.text("bundle");
    std::fs::write(bench.path("no.png"), b"not an image").unwrap();
    let mut whole = std::io::Cursor::new(Vec::new());
    common::normal_part(0, 1).write_to(&mut whole, image::ImageFormat::Jpeg).unwrap();
    let whole = whole.into_inner();
    std::fs::write(bench.path("cut.jpg"), &whole[..whole.len() / 2]).unwrap();
    let cut = bench.text("cut.jpg");
    std::fs::create_dir(bench.path("empty")).unwrap();
    let (no, empty) = (bench.text("no.png"), bench.text("empty"));
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--class", "green", &no], 2, "use one of: red, blue"),
        (&["--class", "red", &no], 3, "no.png is not an image that can be read"),
        (&["--class", "red", &cut], 3, "cut.jpg is a JPEG picture that was cut off"),
        (&["--class", "red", &empty], 2, "holds no image"),
        (&["--class", "red", "gone.png"], 3, "gone.png cannot be read"),
    ];
    for (args, expected, says) in cases {
        let (code, _, err) = run(&[&["score", "--model", &model], args].concat());
        assert_eq!(code, expected, "{err}");
        assert!(err.contains(says), "{err}");
    }
}
