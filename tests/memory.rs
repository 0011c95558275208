//! What the line holds of the system's memory with a model as large as `hgad-train train` writes by default: five products, whose
//! Gaussians of 16 x 16 cells with 192 channels are nearly all of it.

mod common;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::{axes, hgad, ints, node, parts, png, scalar, value};
use hgad::bundle::{
    Arithmetic, CellGaussians, Centers, Distance, Draft, FORMAT_VERSION, Golden, GoldenFrame, InputSize, Level,
    LevelCenters, Manifest, ParityBound, Precision,
};
use hgad::inspect::{Inspector, score};
use image::{Rgb, RgbImage};
use ndarray::{Array1, Array2, Array3};
use prost::Message;
use tract_onnx::pb;

const SIZE: usize = 256;
const GRID: usize = 16;
const CHANNELS: usize = 192;
/// What the whole program may hold with five products, in bytes.
const MOST: u64 = 100_000_000;
/// What a product may take of memory, in what it takes of the bundle: means and scales are there twice, the rest once.
const MOST_GROWTH: f64 = 1.2;

fn part(seed: u32) -> RgbImage {
    let noise =
        |x: u32, y: u32| (x.wrapping_mul(7919) ^ y.wrapping_mul(104_729) ^ seed.wrapping_mul(2_654_435_761)) % 97;
    RgbImage::from_fn(SIZE as u32, SIZE as u32, |x, y| Rgb([80, 120, 160].map(|c| c + noise(x, y) as u8 % 64)))
}

/// `z.0` is the mean colour of each of 16 x 16 cells, mixed into 192 channels.
fn onnx() -> pb::ModelProto {
    let weights = (0..CHANNELS * 3).map(|i| ((i * 37 % 101) as f32 - 50.0) / 1000.0);
    let weights = pb::TensorProto {
        name: "weights".into(),
        dims: vec![CHANNELS as i64, 3, 1, 1],
        data_type: pb::tensor_proto::DataType::Float as i32,
        raw_data: weights.flat_map(f32::to_le_bytes).collect(),
        ..Default::default()
    };
    let pool = vec![ints("kernel_shape", &[16, 16]), ints("strides", &[16, 16])];
    pb::ModelProto {
        ir_version: 8,
        opset_import: vec![pb::OperatorSetIdProto { domain: String::new(), version: 13 }],
        graph: Some(pb::GraphProto {
            name: "large".into(),
            node: vec![
                node("AveragePool", &["image"], "pool", pool),
                node("Sub", &["pool", "shift"], "shifted", vec![]),
                node("Conv", &["shifted", "weights"], "z.0", vec![ints("kernel_shape", &[1, 1])]),
                node("ReduceSum", &["z.0", "axes"], "sum", vec![]),
                node("Mul", &["sum", "zero"], "logdet.0", vec![]),
            ],
            initializer: vec![weights, scalar("shift", 150.0), scalar("zero", 0.0), axes()],
            input: vec![value("image", [1, 3, SIZE, SIZE])],
            output: vec![value("z.0", [1, CHANNELS, GRID, GRID]), value("logdet.0", [1, 1, GRID, GRID])],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Every product's Gaussians are the same ones, with the identity as covariance.
fn gaussians(products: usize) -> CellGaussians {
    let mut gaussians = CellGaussians::zeros(products, (GRID, GRID), CHANNELS);
    gaussians.scale.fill(1.0 / 127.0);
    for mut codes in gaussians.weights.rows_mut() {
        // Column j of the triangle begins with its diagonal, and has CHANNELS - j rows.
        let mut diagonal = 0;
        for column in 0..CHANNELS {
            codes[diagonal] = 127;
            diagonal += CHANNELS - column;
        }
    }
    gaussians
}

/// Writes the bundle of so many products as `directory`, and gives its size in bytes.
fn write_bundle(directory: &Path, products: usize) -> u64 {
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        arithmetic: Arithmetic::Float,
        distance: Distance::Cells,
        created: "2026-01-01T00:00:00Z".into(),
        written_by: "test".into(),
        classes: (0..products).map(|product| format!("product-{product}")).collect(),
        precision: Precision::F32,
        input: InputSize { width: SIZE, height: SIZE },
        parity: ParityBound::default(),
        levels: vec![Level { tap: "pool".into(), channels: CHANNELS, height: GRID, width: GRID }],
        training: toml::Table::new(),
        files: Default::default(),
    };
    let model = onnx().encode_to_vec();
    let level = LevelCenters {
        mu: Array2::zeros((products, CHANNELS)),
        dmu: Array3::zeros((products, 1, CHANNELS)),
        psi: Array1::zeros(products),
        psi_in: Array2::zeros((products, 2)),
    };
    let cells = Some([gaussians(products)].into());
    let mut centers = Centers { levels: vec![level], cells, profiles: Vec::new(), references: Vec::new() };
    let images = (100..120).map(part).collect::<Vec<_>>();
    let mut inspector = Inspector::from_parts(&manifest, &model, &centers).unwrap();
    let distances = images.iter().map(|image| inspector.distances(image, 0).unwrap().remove(0)).collect::<Vec<_>>();
    centers.profiles = vec![score::fit_profile(&vec![distances; products])];
    let mut inspector = Inspector::from_parts(&manifest, &model, &centers).unwrap();
    let maps = images.iter().map(|image| inspector.level_maps(image, 0).unwrap()).collect::<Vec<_>>();
    centers.references = vec![score::fit_reference(&maps, None); products];
    let latents = inspector.latents(&images[0]).unwrap();
    let score = inspector.inspect(&images[0], 0, &centers.references[0]).unwrap().score;
    let image = images[0].clone();
    let golden = Golden { frames: vec![GoldenFrame { class: 0, image, z: latents.z, logdet: latents.logdet, score }] };
    Draft { manifest, model, centers, golden, trained_on: None }.write(directory).unwrap();
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// The size of a bundle of so many products, and what a line with it has held at most, behind its first frames; both in bytes.
fn held(products: usize) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let size = write_bundle(&at("bundle"), products);
    std::fs::create_dir(at("frames")).unwrap();
    (0..60).for_each(|seed| std::fs::write(at(&format!("frames/{seed:03}.png")), png(&part(seed))).unwrap());
    let [bundle, frames, calibration, config] =
        ["bundle", "frames", "calibration.toml", "line.toml"].map(|name| at(name).display().to_string());
    let calibrate = ["calibrate", "--model", &bundle, "--class", "product-0", "--images", &frames];
    let calibrated = hgad(&[&calibrate[..], &["--target-frr=0.05", "--out", &calibration]].concat()).output().unwrap();
    assert!(calibrated.status.success(), "{}", common::stderr(&calibrated));
    let text = "format_version = 1\n[line]\nname = \"bench\"\nclass = \"product-0\"\nmodel = \"bundle\"\n\
                calibration = \"calibration.toml\"\ntravel_ms = 2000\npulse_ms = 20\n\
                [camera]\nkind = \"folder\"\npath = \"frames\"\nrate = 10\n\
                [output]\nkind = \"none\"\n[audit]\nfile = \"audit.jsonl\"\n";
    std::fs::write(at("line.toml"), text).unwrap();
    let mut line = hgad(&["run", "--config", &config]);
    let mut line = line.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !parts(&at("audit.jsonl")).iter().any(|part| part["score"].is_number() && part["part"].as_u64() > Some(10)) {
        assert_eq!(line.try_wait().unwrap(), None, "the program ended by itself");
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", line.id())).unwrap();
    line.kill().unwrap();
    line.wait().unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    (size, peak.map(|kibibytes: u64| kibibytes << 10).expect("Linux tells the peak"))
}

#[test]
fn a_line_holds_its_model_once_and_stays_small() {
    let [(small, of_one), (large, of_five)] = [1, 5].map(held);
    let growth = of_five.saturating_sub(of_one) as f64 / (large - small) as f64;
    println!(
        "bundles of {small} and {large} bytes: {of_one} and {of_five} bytes held, {growth:.2} of what the bundle grew by"
    );
    assert!(large > 25_000_000, "as large as what is trained: {large}");
    assert!(of_five < MOST, "{of_five}");
    assert!(growth < MOST_GROWTH, "{growth}");
}
