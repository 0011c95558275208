//! The written graph against the quantiser's own arithmetic and against onnxruntime, and the command's refusals.

use std::path::Path;

use hgad::bundle::{Distance, InputSize, Manifest, ParityBound, Precision};
use hgad::dataset::GOOD;

use super::*;
use crate::backbone::{Backbone, Normalise, Plan, Taps};
use crate::export::tests::{Random, export_backbone};
use crate::onnx::{GraphWriter, encode, float_value, int, ints};
use crate::refit::{self, refit_bundle};

const SIZE: InputSize = InputSize { width: 64, height: 48 };

/// What real backbones are made of: a strided convolution with ReLU6, an inverted residual (pointwise, depthwise, pointwise,
/// sum), a pooling, a ReLU, and taps that are and are not behind an activation.
fn backbone(folder: &Path) -> Backbone {
    let mut random = Random::new(21);
    let mut graph = GraphWriter::default();
    let [zero, six] = [("zero", 0.0), ("six", 6.0)].map(|(name, value)| graph.f32(name, &[], &[value]));
    let mut conv = |graph: &mut GraphWriter, x: &str, name: &str, [i, o, k, stride, group]: [usize; 5]| {
        let fan_in = (i / group * k * k) as f32;
        let weights = random.matrix(o, i / group * k * k, 1.6 / fan_in.sqrt());
        let w = graph.f32(format!("{name}.w"), &[o, i / group, k, k], &weights);
        let b = graph.f32(format!("{name}.b"), &[o], &random.vector(o, 0.3, 0.4));
        let attributes = vec![
            ints("kernel_shape", &[k as i64; 2]),
            ints("strides", &[stride as i64; 2]),
            ints("pads", &[(k / 2) as i64; 4]),
            int("group", group as i64),
        ];
        graph.op_with("Conv", &[x, &w, &b], name, attributes)
    };
    let stem = conv(&mut graph, "rgb", "stem", [3, 16, 3, 2, 1]);
    let stem = graph.op("Clip", &[&stem, &zero, &six], "stem.relu6");
    let narrow = conv(&mut graph, &stem, "narrow", [16, 12, 1, 2, 1]);
    let wide = conv(&mut graph, &narrow, "wide", [12, 48, 1, 1, 1]);
    let wide = graph.op("Clip", &[&wide, &zero, &six], "wide.relu6");
    let depthwise = conv(&mut graph, &wide, "depthwise", [48, 48, 3, 1, 48]);
    let depthwise = graph.op("Clip", &[&depthwise, &zero, &six], "depthwise.relu6");
    let project = conv(&mut graph, &depthwise, "project", [48, 12, 1, 1, 1]);
    let sum = graph.op("Add", &[&narrow, &project], "fine");
    let pooled =
        graph.op_with("MaxPool", &[&sum], "pool", vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]);
    let next = conv(&mut graph, &pooled, "next", [12, 24, 3, 1, 1]);
    let next = graph.op("Relu", &[&next], "next.relu");
    conv(&mut graph, &next, "coarse", [24, 20, 1, 2, 1]);
    let image = float_value("rgb", &[1, 3, SIZE.height, SIZE.width]);
    let path = folder.join("small.onnx");
    std::fs::write(&path, encode(&graph.finish(13, vec![image], vec![float_value("coarse", &[])]))).unwrap();
    let taps = Taps::Named(["fine", "coarse"].map(str::to_owned).to_vec());
    Backbone::open(&path, SIZE, &taps, Normalise::Signed).unwrap()
}

/// Two products in the MVTec AD layout, of which every fourth image is held out.
fn products(folder: &Path) {
    let mut random = Random::new(22);
    let mut image = |path: &Path, class: u32, hole: bool| {
        let (x0, y0) = (32.0 + random.uniform(-2.0, 2.0), 24.0 + random.uniform(-2.0, 2.0));
        let picture = image::RgbImage::from_fn(SIZE.width as u32, SIZE.height as u32, |x, y| {
            let from = (x as f32 - x0).hypot(y as f32 - y0);
            let light = if from < 15.0 { 90 + 60 * class } else { 30 + 7 * ((x / 4 + y / 4) % 2) };
            let light = if hole && from < 5.0 { 10 } else { light };
            image::Rgb([0, 1, 2].map(|c| (light + 10 * c) as u8 + random.uniform(0.0, 12.0) as u8))
        });
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture.save(path).unwrap();
    };
    for (class, name) in ["nut", "ring"].iter().enumerate() {
        let folder = folder.join(name);
        (0..12).for_each(|i| image(&folder.join(format!("train/{GOOD}/{i:02}.png")), class as u32, false));
        (0..3).for_each(|i| image(&folder.join(format!("test/{GOOD}/{i}.png")), class as u32, false));
        (0..3).for_each(|i| image(&folder.join(format!("test/hole/{i}.png")), class as u32, true));
    }
}

/// A folder with images, a float bundle of them, and what quantising it takes.
struct Bench {
    folder: tempfile::TempDir,
    float: Bundle,
    images: Split,
}

impl Bench {
    fn new(precision: Precision) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().join("parts");
        products(&parts);
        let float = export_backbone(
            &backbone(folder.path()),
            &parts,
            ["nut", "ring"],
            4,
            precision,
            &folder.path().join("float"),
        );
        let images = Split::of(&float, &parts, None).unwrap();
        assert_eq!(images.trained.iter().map(Vec::len).collect::<Vec<_>>(), [9, 9]);
        assert_eq!(images.held.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3]);
        assert!(images.all_trained);
        Bench { folder, float, images }
    }

    fn tests(&self) -> Vec<Vec<TestImage>> {
        let products = hgad::dataset::products(&self.folder.path().join("parts"), None).unwrap();
        products.iter().map(|product| product.test().unwrap()).collect()
    }

    fn quantise(&self, float_share: f64, bounds: Bounds, anyway: Option<&str>) -> Quantised {
        self.to_form(Form::Int8 { frames: 6, float_share }, bounds, anyway).unwrap()
    }

    fn to_form(&self, form: Form, bounds: Bounds, anyway: Option<&str>) -> Result<Quantised> {
        quantise_bundle(&Request {
            bundle: &self.float,
            images: &self.images,
            tests: &self.tests(),
            form,
            frr: 0.1,
            bounds,
            anyway,
            out: &self.folder.path().join("int8"),
        })
    }
}

impl Quantised {
    fn layers(self) -> Table {
        match self.told {
            Told::Layers(table) => table,
            Told::Weights(_) => panic!("asked for 8-bit arithmetic"),
        }
    }
}

const ANY: Bounds = Bounds { auroc: 1.0, flips: 1.0 };

fn graph_of(bundle: &Bundle) -> ModelProto {
    parse_graph("test", &bundle.model).unwrap()
}

/// Named tensors of a bundle's graph for an image, under tract: not by the quantiser's own arithmetic.
fn tensors_of(bundle: &Bundle, names: &[String], image: &Tensor) -> Vec<Vec<f32>> {
    let mut graph = graph_of(bundle);
    graph.graph.as_mut().unwrap().output = names.iter().map(|name| float_value(name, &[])).collect();
    let plan = Plan::new("test", &graph, bundle.manifest.input).unwrap();
    let image = image.clone().into_plain_array::<f32>().unwrap().into_dimensionality().unwrap();
    plan.runner().unwrap().run(image).unwrap().into_iter().map(|tensor| tensor.into_iter().collect()).collect()
}

#[test]
fn the_written_bundle_opens_everywhere_and_its_table_is_what_the_graphs_give() {
    for precision in [Precision::F32, Precision::WeightsInt8] {
        let bench = Bench::new(precision);
        let Quantised { written, told, verdict } = bench.quantise(0.0, ANY, None);
        let (written, Told::Layers(table)) = (written.unwrap(), told) else { panic!("asked for 8-bit arithmetic") };
        assert_eq!((written.manifest.arithmetic, written.manifest.format_version), (Arithmetic::Int8, 2));
        assert_eq!(written.digest, Bundle::open(&bench.folder.path().join("int8")).unwrap().digest);
        assert_ne!(written.digest, bench.float.digest);
        hgad::bundle::admit_graph("int8", &graph_of(&written)).unwrap();
        let mut inspector = Inspector::new(&written).unwrap();
        inspector.check_parity(&written).unwrap();
        let operators = inspector.profile(&written.golden.frames[0].image, 1).unwrap();
        let in_8_bits = operators.iter().filter(|operator| operator.operator.ends_with("8-bit")).count();
        // All layers; the sum is one operator with the convolution before it.
        assert_eq!(in_8_bits, 7, "{operators:?}");
        let from = written.manifest.training["quantised"]["from"].as_str();
        assert_eq!(from, Some(&*bench.float.digest.to_string()));
        assert!(verdict.classes.iter().all(|class| class.images == 9 && class.figures.is_some()));

        let kinds = table.layers.iter().map(|layer| layer.kind.as_str()).collect::<Vec<_>>();
        let expected = ["conv 3x3", "conv 1x1", "conv 1x1", "depthwise 3x3", "conv 1x1", "add", "conv 3x3", "conv 1x1"];
        assert_eq!(kinds, expected);
        // The table again, from the two files.
        let images = tensors(&bench.float, &bench.images.sample(MEASURED)).unwrap();
        let float_names = table.layers.iter().map(|layer| layer.tensor.clone()).collect::<Vec<_>>();
        let int8_names = float_names.iter().map(|name| format!("{name}.dequantised")).collect::<Vec<_>>();
        let mut powers = vec![[0f64; 2]; table.layers.len()];
        for image in &images {
            let float = tensors_of(&bench.float, &float_names, image);
            let int8 = tensors_of(&written, &int8_names, image);
            for ((float, int8), power) in float.iter().zip(&int8).zip(&mut powers) {
                power[0] += float.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
                power[1] += float.iter().zip(int8).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            }
        }
        for (layer, [signal, noise]) in table.layers.iter().zip(powers) {
            let sqnr = 10.0 * (signal / noise).log10();
            assert!((layer.sqnr - sqnr).abs() < 0.1, "{}: {} and {sqnr}", layer.tensor, layer.sqnr);
            assert!(layer.sqnr > 20.0 && layer.alone > 20.0 && !layer.in_floats, "{table}");
        }
    }
}

#[test]
fn every_layer_in_8_bits_stands_between_the_promised_pairs() {
    let bench = Bench::new(Precision::WeightsInt8);
    let graph = graph_of(&bench.quantise(0.0, ANY, None).written.unwrap()).graph.unwrap();
    let writer = |name: &str| graph.node.iter().find(|node| node.output[0] == name);
    let readers =
        |name: &str| graph.node.iter().filter(|node| node.input.iter().any(|i| i == name)).collect::<Vec<_>>();
    let op = |name: &str| writer(name).map_or("", |node| node.op_type.as_str());
    let convolutions = graph.node.iter().filter(|node| node.op_type == "Conv");
    for conv in convolutions {
        assert!(conv.input.len() == 3 && conv.input.iter().all(|input| op(input) == "DequantizeLinear"), "{conv:?}");
        let [after] = readers(&conv.output[0])[..] else { panic!("{} has several readers", conv.name) };
        // ReLU6 is part of the range; a ReLU's range begins at 0.
        assert_eq!(after.op_type, "QuantizeLinear");
    }
    assert!(!graph.node.iter().any(|node| node.op_type == "Clip"));
    let sum = writer("backbone/fine").unwrap();
    assert!(sum.op_type == "Add" && sum.input.iter().all(|input| op(input) == "DequantizeLinear"));
    // The pooling between two coded layers reads a code's value, and its own output gets a code.
    assert_eq!(writer("backbone/pool").unwrap().input, ["backbone/fine.dequantised"]);
    assert_eq!(readers("backbone/pool")[0].op_type, "QuantizeLinear");
    let constant = |name: &str| graph.initializer.iter().find(|tensor| tensor.name == name).unwrap();
    let scale = |name: &str| onnx::floats(constant(name)).unwrap();
    let unit = scale("backbone/stem.relu6.scale")[0];
    for (bias, weight) in scale("backbone/narrow.bias.scale").iter().zip(scale("backbone/narrow.weights.scale")) {
        assert_eq!(*bias, unit * weight);
    }
    assert!(
        !graph.initializer.iter().any(|tensor| tensor.name.contains(".coarse") && tensor.name.starts_with("backbone/"))
    );
}

#[test]
fn layers_that_hurt_most_stay_in_floats() {
    let bench = Bench::new(Precision::F32);
    let all = bench.quantise(0.0, ANY, None).layers();
    let some = bench.quantise(0.5, ANY, None).layers();
    let kept = some.layers.iter().filter(|layer| layer.in_floats).collect::<Vec<_>>();
    assert!(!kept.is_empty() && kept.iter().map(|layer| layer.share).sum::<f64>() <= 0.5);
    let least_hurt = kept.iter().map(|layer| layer.alone).fold(f64::MIN, f64::max);
    let next = some.layers.iter().filter(|layer| !layer.in_floats).map(|layer| layer.alone).fold(f64::MAX, f64::min);
    assert!(least_hurt <= next);
    assert!(some.taps > all.taps, "{} and {} dB", some.taps, all.taps);
    let none = bench.quantise(1.0, ANY, None).layers();
    assert!(none.layers.iter().all(|layer| layer.in_floats && layer.sqnr == f64::INFINITY));
}

#[test]
fn what_is_worse_than_allowed_is_written_only_for_a_reason_that_is_told() {
    let bench = Bench::new(Precision::WeightsInt8);
    let none = Bounds { auroc: -1.0, flips: 0.0 };
    let refused = bench.quantise(0.0, none, None).written.unwrap_err();
    assert_eq!(refused.kind().exit_code(), 1);
    assert!(refused.report().contains("image AUROC"), "{}", refused.report());
    assert!(!bench.folder.path().join("int8").exists());
    let written = bench.quantise(0.0, none, Some("a trial")).written.unwrap();
    assert_eq!(written.manifest.training["quantised"]["worse_than_allowed"].as_str(), Some("a trial"));
    let good = bench.quantise(0.0, ANY, Some("a trial")).written.unwrap();
    assert!(good.manifest.training["quantised"].get("worse_than_allowed").is_none(), "it is not worse");
    let tests = bench.tests();
    let again = Request {
        bundle: &good,
        images: &bench.images,
        tests: &tests,
        form: Form::Int8 { frames: 2, float_share: 0.0 },
        frr: 0.1,
        bounds: ANY,
        anyway: None,
        out: &bench.folder.path().join("again"),
    };
    assert!(quantise_bundle(&again).unwrap_err().report().contains("already computes in 8 bits"));
}

/// A bundle in floats whose weights are then stored in 8 bits is the one that training would have written at once, and the table is
/// what the two files say.
#[test]
fn weights_stored_afterwards_are_those_that_training_stores() {
    for cells in [false, true] {
        let [mut bench, mut trained] = [Precision::F32, Precision::WeightsInt8].map(Bench::new);
        if cells {
            // Training joins levels whose weights are stored already; here they are joined when the weights come to be stored.
            for bench in [&mut bench, &mut trained] {
                let out = &bench.folder.path().join("cells");
                let request =
                    refit::Request { bundle: &bench.float, images: &bench.images, distance: Distance::Cells, out };
                bench.float = refit_bundle(&request).unwrap();
            }
        }
        let Quantised { written, told, verdict } = bench.to_form(Form::Weights, ANY, None).unwrap();
        let (written, Told::Weights(table)) = (written.unwrap(), told) else { panic!("asked for stored weights") };
        let trained = trained.float;
        assert_eq!(written.model, trained.model);
        assert_eq!(written.centers, trained.centers);
        let golden = |bundle: &Bundle| {
            bundle.golden.frames.iter().map(|f| (f.z.clone(), f.logdet.clone(), f.score)).collect::<Vec<_>>()
        };
        assert_eq!(golden(&written), golden(&trained));
        let Manifest { precision, arithmetic, parity, format_version, .. } = written.manifest;
        assert_eq!((precision, arithmetic), (Precision::WeightsInt8, Arithmetic::Float));
        assert_eq!((parity, format_version), (trained.manifest.parity, trained.manifest.format_version));
        let told = &written.manifest.training;
        assert!(cells || told["weight_error"] == trained.manifest.training["weight_error"]);
        assert_eq!(told["quantised"]["from"].as_str(), Some(&*bench.float.digest.to_string()));
        assert!(told["quantised"].get("in_floats").is_none() && told["quantised"]["images"].as_integer() == Some(18));
        Inspector::new(&written).unwrap().check_parity(&written).unwrap();
        assert!(verdict.classes.iter().all(|class| class.images == 9 && class.correlation > 0.99), "{verdict:?}");

        let floats = graph_of(&bench.float).graph.unwrap().initializer;
        let graph = graph_of(&written).graph.unwrap();
        let stored = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
        assert_eq!(table.tensors.len(), floats.iter().filter(|tensor| !stored(&tensor.name)).count());
        for row in &table.tensors {
            let float = floats.iter().find(|tensor| tensor.name == row.tensor).unwrap();
            assert_eq!(
                (&row.shape, stored(&format!("{}.fine.int8", row.tensor))),
                (&onnx::shape(float), row.codes == 2)
            );
            // A code of a magnitude that is drawn by chance is right to about 40 dB, and the rest of it in a second to as much again.
            let expected = if row.codes == 2 { 80.0..110.0 } else { 35.0..55.0 };
            assert!(expected.contains(&row.sqnr), "{table}");
        }
    }
}

#[test]
fn stored_weights_have_the_same_bounds_and_are_not_stored_again() {
    let mut bench = Bench::new(Precision::F32);
    let none = Bounds { auroc: -1.0, flips: 0.0 };
    let refused = bench.to_form(Form::Weights, none, None).unwrap().written.unwrap_err();
    assert_eq!(refused.kind().exit_code(), 1);
    assert!(
        refused.report().contains("image AUROC") && !refused.report().contains("--float-share"),
        "{}",
        refused.report()
    );
    assert!(!bench.folder.path().join("int8").exists());
    bench.float = bench.to_form(Form::Weights, none, Some("a trial")).unwrap().written.unwrap();
    assert_eq!(bench.float.manifest.training["quantised"]["worse_than_allowed"].as_str(), Some("a trial"));
    let again = bench.to_form(Form::Weights, ANY, None).unwrap_err().report();
    assert!(again.contains("stored in 8 bits already") && again.contains("--precision f32"), "{again}");
}

#[test]
fn gaussians_of_cells_are_those_of_the_network_in_8_bits() {
    let mut bench = Bench::new(Precision::F32);
    let out = &bench.folder.path().join("cells");
    let request = refit::Request { bundle: &bench.float, images: &bench.images, distance: Distance::Cells, out };
    bench.float = refit_bundle(&request).unwrap();
    let written = bench.quantise(0.0, ANY, None).written.unwrap();
    let Manifest { format_version, arithmetic, distance, .. } = written.manifest;
    assert_eq!((format_version, arithmetic, distance), (3, Arithmetic::Int8, Distance::Cells));
    let [float, int8] = [&bench.float, &written].map(|bundle| &bundle.centers.cells.as_ref().unwrap()[0].mean);
    let difference = float.iter().zip(int8).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference > 0.0 && difference < 0.5, "{difference}");
    Inspector::new(&written).unwrap().check_parity(&written).unwrap();
    let out = &bench.folder.path().join("no");
    let again = refit::Request { bundle: &written, images: &bench.images, distance: Distance::Centers, out };
    let refused = refit_bundle(&again).unwrap_err();
    assert!(refused.report().contains("quantise that again") && !out.exists(), "{}", refused.report());
}

#[test]
fn images_are_divided_by_the_digests_that_the_bundle_lists() {
    let bench = Bench::new(Precision::F32);
    let parts = bench.folder.path().join("parts");
    let mut bundle = bench.float.clone();
    let first = bench.images.trained[0][0].digest;
    bundle.trained_on.as_mut().unwrap().remove(&first);
    let split = Split::of(&bundle, &parts, Some(2)).unwrap();
    assert_eq!((split.trained[0].len(), split.held[0].len()), (8, 4));
    std::fs::remove_file(&bench.images.trained[0][1].path).unwrap();
    assert!(!Split::of(&bundle, &parts, None).unwrap().all_trained);
    bundle.trained_on = None;
    let refused = Split::of(&bundle, &parts, None).unwrap_err().report();
    assert!(refused.contains("--hold-out N"), "{refused}");
    let split = Split::of(&bundle, &parts, Some(4)).unwrap();
    assert_eq!((split.trained[1].len(), split.held[1].len()), (9, 3));
}

#[test]
fn onnxruntime_computes_the_same_codes_and_latents() {
    let Some(python) = crate::beside::python_with_onnxruntime() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnxruntime_parity.py");
    let int8 = Form::Int8 { frames: 6, float_share: 0.0 };
    for (precision, form) in [(Precision::WeightsInt8, int8), (Precision::F32, Form::Weights)] {
        let bench = Bench::new(precision);
        let written = bench.to_form(form, ANY, None).unwrap().written.unwrap();
        let bound = written.manifest.parity.z.max(1e-3).to_string();
        let check = std::process::Command::new(&python)
            .arg(&script)
            .arg(bench.folder.path().join("int8"))
            .args([&bound, "plain"])
            .output()
            .unwrap();
        let [said, failed] = [&check.stdout, &check.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(check.status.success(), "{said} {failed}");
        crate::beside::say(&format!("{form:?}, bound {bound}: {}", said.trim()));
        assert!(written.manifest.parity.z <= 1.0 && written.manifest.parity.score >= ParityBound::default().score);
    }
}
