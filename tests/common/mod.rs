//! A real bundle that is small enough to be made in a test: the "backbone" is an average pool, the "flow" a shift and a
//! scale, so a part is normal when its colours are those of its class.
#![allow(dead_code, reason = "every test program uses its own part of this")]

pub mod beside;
pub mod line;
pub mod plc;
pub mod terminal;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hgad::bundle::{
    Arithmetic, Bundle, CellGaussians, Centers, Distance, Draft, FORMAT_VERSION, Golden, GoldenFrame, InputSize, Level,
    LevelCenters, Manifest, ParityBound, Precision,
};
use hgad::digest::Digest;
use hgad::inspect::{Inspector, cells, mixture, score};
use image::{Rgb, RgbImage};
use ndarray::{Array1, Array2, Array3};
use prost::Message;
use serde_json::Value;
use tract_onnx::pb;

/// The classes of the tiny bundle.
pub const CLASSES: [&str; 2] = ["red", "blue"];
const SIZE: usize = 64;
const GRID: usize = 8;

/// A normal part of a class, with a little noise that depends on `seed`.
pub fn normal_part(class: usize, seed: u32) -> RgbImage {
    let colour = if class == 0 { [180, 60, 60] } else { [60, 60, 180] };
    RgbImage::from_fn(SIZE as u32, SIZE as u32, |x, y| {
        let noise = (x.wrapping_mul(7919) ^ y.wrapping_mul(104_729) ^ seed.wrapping_mul(2_654_435_761)) % 23;
        Rgb(colour.map(|c: i32| (c + noise as i32 - 11) as u8))
    })
}

/// The same part with a green stain.
pub fn defective_part(class: usize, seed: u32) -> RgbImage {
    let mut part = normal_part(class, seed);
    let (left, top) = (seed % 40, (seed / 3) % 40);
    for (x, y) in (left..left + 20).flat_map(|x| (top..top + 20).map(move |y| (x, y))) {
        part.put_pixel(x, y, Rgb([40, 220, 40]));
    }
    part
}

/// Writes the tiny bundle as `directory`, whose distances are those from centers.
pub fn write_bundle(directory: &Path) -> Bundle {
    write_bundle_of(directory, Distance::Centers)
}

/// Writes the tiny bundle as `directory`.
pub fn write_bundle_of(directory: &Path, distance: Distance) -> Bundle {
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        arithmetic: Arithmetic::Float,
        distance,
        created: "2026-01-01T00:00:00Z".into(),
        written_by: "test".into(),
        classes: CLASSES.map(str::to_owned).to_vec(),
        precision: Precision::F32,
        input: InputSize { width: SIZE, height: SIZE },
        parity: ParityBound::default(),
        levels: vec![Level { tap: "pool".into(), channels: 3, height: GRID, width: GRID }],
        training: toml::Table::new(),
        files: Default::default(),
    };
    let model = onnx().encode_to_vec();
    let mut centers = Centers { levels: vec![centers()], cells: None, profiles: Vec::new(), references: Vec::new() };
    let mut inspector = Inspector::from_parts(&manifest, &model, &centers).unwrap();
    let mut latents = |class: usize| -> Vec<_> {
        (100..140).map(|seed| inspector.latents(&normal_part(class, seed)).unwrap().z.remove(0)).collect()
    };
    let latents = [0, 1].map(&mut latents);
    let distances = match distance {
        Distance::Centers => [0, 1].map(|class: usize| {
            let centers = &centers.levels[0];
            latents[class].iter().map(|z| mixture::distance(z.view(), centers, class)).collect()
        }),
        Distance::Map => panic!("the tiny network gives latents, no map"),
        Distance::Cells => {
            let views = latents.each_ref().map(|class| class.iter().map(|z| z.view()).collect::<Vec<_>>());
            let [(red, of_red), (blue, of_blue)] = views.map(|class| cells::fit(&class));
            centers.cells = Some([CellGaussians::join(&[red, blue])].into());
            [of_red, of_blue]
        }
    };
    centers.profiles = vec![score::fit_profile(&distances)];
    let mut inspector = Inspector::from_parts(&manifest, &model, &centers).unwrap();
    let reference = |class: usize| {
        let maps = (0..20).map(|seed| inspector.level_maps(&normal_part(class, seed), class).unwrap());
        score::fit_reference(&maps.collect::<Vec<_>>(), None)
    };
    centers.references = [0, 1].map(reference).to_vec();
    let mut inspector = Inspector::from_parts(&manifest, &model, &centers).unwrap();
    let frames = (0..CLASSES.len())
        .map(|class| {
            let image = normal_part(class, 77);
            let latents = inspector.latents(&image).unwrap();
            let score = inspector.inspect(&image, class, &centers.references[class]).unwrap().score;
            GoldenFrame { class, image, z: latents.z, logdet: latents.logdet, score }
        })
        .collect();
    let draft = Draft { manifest, model, centers, golden: Golden { frames }, trained_on: Some(trained_on()) };
    draft.write(directory).unwrap()
}

/// The digests of the images that the tiny bundle was "trained" on: those of its profile.
fn trained_on() -> std::collections::BTreeSet<Digest> {
    let parts = CLASSES.iter().enumerate().flat_map(|(class, _)| (100..140).map(move |seed| normal_part(class, seed)));
    parts.map(|part| Digest::of(png(&part))).collect()
}

/// The image as a file.
pub fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn centers() -> LevelCenters {
    // The pooled colours, shifted by 128 and divided by 8, are the latents.
    let mu = Array2::from_shape_vec((2, 3), vec![6.5, -8.5, -8.5, -8.5, -8.5, 6.5]).unwrap();
    LevelCenters { mu, dmu: Array3::zeros((2, 1, 3)), psi: Array1::zeros(2), psi_in: Array2::zeros((2, 2)) }
}

/// An attribute.
pub fn ints(name: &str, ints: &[i64]) -> pb::AttributeProto {
    let r#type = pb::attribute_proto::AttributeType::Ints as i32;
    pb::AttributeProto { name: name.into(), r#type, ints: ints.to_vec(), ..Default::default() }
}

/// A node, named as its output.
pub fn node(op: &str, input: &[&str], output: &str, attribute: Vec<pb::AttributeProto>) -> pb::NodeProto {
    pb::NodeProto {
        op_type: op.into(),
        name: output.into(),
        input: input.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.into()],
        attribute,
        ..Default::default()
    }
}

/// A constant of one value.
pub fn scalar(name: &str, value: f32) -> pb::TensorProto {
    pb::TensorProto {
        name: name.into(),
        dims: vec![1],
        data_type: pb::tensor_proto::DataType::Float as i32,
        raw_data: value.to_le_bytes().to_vec(),
        ..Default::default()
    }
}

/// The axis of channels, as a constant.
pub fn axes() -> pb::TensorProto {
    pb::TensorProto {
        name: "axes".into(),
        dims: vec![1],
        data_type: pb::tensor_proto::DataType::Int64 as i32,
        raw_data: 1i64.to_le_bytes().to_vec(),
        ..Default::default()
    }
}

/// An input or output of floats.
pub fn value(name: &str, shape: [usize; 4]) -> pb::ValueInfoProto {
    pb::ValueInfoProto {
        name: name.into(),
        r#type: Some(pb::TypeProto {
            value: Some(pb::type_proto::Value::TensorType(pb::type_proto::Tensor {
                elem_type: pb::tensor_proto::DataType::Float as i32,
                shape: Some(pb::TensorShapeProto {
                    dim: shape
                        .map(|dim| pb::tensor_shape_proto::Dimension {
                            value: Some(pb::tensor_shape_proto::dimension::Value::DimValue(dim as i64)),
                            ..Default::default()
                        })
                        .to_vec(),
                }),
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The tiny graph with a detour of `rounds` matrix products, 26 billion multiplications each. What they give is added to
/// the tiny graph's first tensor, scaled until it changes no bit of it.
pub fn slow_onnx(rounds: usize) -> pb::ModelProto {
    let axis = |axis: i64| {
        let r#type = pb::attribute_proto::AttributeType::Int as i32;
        vec![pb::AttributeProto { name: "axis".into(), r#type, i: axis, ..Default::default() }]
    };
    let pool = |side: i64| vec![ints("kernel_shape", &[side; 2]), ints("strides", &[side; 2])];
    let mut detour =
        vec![node("Concat", &["image"; 32], "wide", axis(3)), node("Concat", &["wide"; 32], "large", axis(2))];
    let mut last = "large".to_owned();
    for round in 0..rounds {
        let (product, mean) = (format!("product.{round}"), format!("mean.{round}"));
        detour.push(node("MatMul", &[&last, "large"], &product, vec![]));
        detour.push(node("Mul", &[&product, "one of all"], &mean, vec![]));
        last = mean;
    }
    detour.extend([
        node("AveragePool", &[&last], "small", pool(32)),
        node("AveragePool", &["small"], "tiny", pool(8)),
        node("Mul", &["tiny", "nearly nothing"], "trace", vec![]),
        node("Add", &["pool", "trace"], "traced", vec![]),
    ]);
    let mut model = onnx();
    let graph = model.graph.as_mut().unwrap();
    graph.node[1].input[0] = "traced".into();
    graph.node.splice(1..1, detour);
    graph.initializer.extend([scalar("one of all", 1.0 / (2048.0 * 255.0)), scalar("nearly nothing", 1e-30)]);
    model
}

/// `z.0 = (AveragePool_8(image) - 128) / 8`, `logdet.0 = 0`.
pub fn onnx() -> pb::ModelProto {
    let pool = vec![ints("kernel_shape", &[8, 8]), ints("strides", &[8, 8])];
    pb::ModelProto {
        ir_version: 8,
        opset_import: vec![pb::OperatorSetIdProto { domain: String::new(), version: 13 }],
        graph: Some(pb::GraphProto {
            name: "tiny".into(),
            node: vec![
                node("AveragePool", &["image"], "pool", pool),
                node("Sub", &["pool", "shift"], "shifted", vec![]),
                node("Div", &["shifted", "scale"], "z.0", vec![]),
                node("ReduceSum", &["z.0", "axes"], "sum", vec![]),
                node("Mul", &["sum", "zero"], "logdet.0", vec![]),
            ],
            initializer: vec![scalar("shift", 128.0), scalar("scale", 8.0), scalar("zero", 0.0), axes()],
            input: vec![value("image", [1, 3, SIZE, SIZE])],
            output: vec![value("z.0", [1, 3, GRID, GRID]), value("logdet.0", [1, 1, GRID, GRID])],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A folder with the tiny bundle, images and calibrations: `bundle/`, `data/CLASS/{train,test,ground_truth}`,
/// `calibration/CLASS.toml`.
pub struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// Makes it, calibrations through the real program.
    pub fn new() -> Self {
        Self::with(Distance::Centers)
    }

    /// The same with a bundle that measures distances from there.
    pub fn with(distance: Distance) -> Self {
        let bench = Bench { folder: tempfile::tempdir().unwrap() };
        write_bundle_of(&bench.path("bundle"), distance);
        for (class, name) in CLASSES.iter().enumerate() {
            for seed in 0..30 {
                bench.save(&format!("data/{name}/train/good/{seed:03}.png"), &normal_part(class, seed));
            }
            for seed in 0..8 {
                bench.save(&format!("data/{name}/test/good/{seed:03}.png"), &normal_part(class, 100 + seed));
                let stain = defective_part(class, 200 + seed);
                bench.save(&format!("data/{name}/test/stain/{seed:03}.png"), &stain);
                let mask = RgbImage::from_fn(SIZE as u32, SIZE as u32, |x, y| {
                    let stained = stain.get_pixel(x, y) == &Rgb([40, 220, 40]);
                    Rgb([if stained { 255 } else { 0 }; 3])
                });
                bench.save(&format!("data/{name}/ground_truth/stain/{seed:03}_mask.png"), &mask);
            }
            bench.calibrate(name, &format!("calibration/{name}.toml"));
        }
        bench
    }

    /// A path inside the folder.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    /// The same as text.
    pub fn text(&self, inside: &str) -> String {
        self.path(inside).display().to_string()
    }

    /// Writes an image as a PNG file.
    pub fn save(&self, inside: &str, image: &RgbImage) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, png(image)).unwrap();
    }

    /// Calibrates a class on its training images.
    pub fn calibrate(&self, class: &str, out: &str) {
        let images = self.text(&format!("data/{class}/train/good"));
        let output = hgad(&["calibrate", "--model", &self.text("bundle"), "--class", class, "--images", &images])
            .arg("--target-frr=0.05")
            .arg("--out")
            .arg(self.path(out))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

/// The real program with these arguments.
pub fn hgad(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hgad"));
    command.args(args);
    command
}

/// Runs the program and gives its exit code, stdout and stderr.
pub fn run(args: &[&str]) -> (i32, String, String) {
    let output = hgad(args).output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output))
}

/// What the program said on stderr.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An audit's whole lines.
pub fn records(audit: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(audit).unwrap_or_default();
    text.split_inclusive('\n').filter_map(|line| serde_json::from_str(line.strip_suffix('\n')?).ok()).collect()
}

/// An audit's parts in the order of their captures.
pub fn parts(audit: &Path) -> Vec<Value> {
    let mut parts = records(audit);
    parts.retain(|record| record["kind"] == "part");
    parts.sort_by_key(|record| record["part"].as_u64());
    parts
}
