//! The exported graph against the formulas, on synthetic levels and a synthetic backbone.

use hgad::bundle::{Distance, InputSize, LevelCenters};
use hgad::dataset::HoldOut;
use ndarray::{Array1, Array2, Array3, Array4, Axis, concatenate, s};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::backbone::{Normalise, Plan, Taps};
use crate::flow::{BlockWeights, LevelWeights, PositionCode};
use crate::onnx::{GraphWriter, encode, float_value, int, ints};

/// Numbers of zero mean and unit variance.
pub(crate) struct Random(StdRng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(StdRng::seed_from_u64(seed))
    }

    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        self.0.random_range(low..high)
    }

    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform(-0.5, 0.5)).sum()
    }

    pub fn matrix(&mut self, rows: usize, columns: usize, scale: f32) -> Array2<f32> {
        Array2::from_shape_simple_fn((rows, columns), || scale * self.normal())
    }

    pub fn vector(&mut self, len: usize, mean: f32, scale: f32) -> Array1<f32> {
        Array1::from_shape_simple_fn(len, || mean + scale * self.normal())
    }

    /// Gram-Schmidt on a random matrix.
    pub fn orthogonal(&mut self, n: usize) -> Array2<f32> {
        let mut q = self.matrix(n, n, 1.0);
        for i in 0..n {
            for j in 0..i {
                let projection = q.row(i).dot(&q.row(j));
                let other = q.row(j).to_owned();
                q.row_mut(i).scaled_add(-projection, &other);
            }
            let norm = q.row(i).dot(&q.row(i)).sqrt();
            q.row_mut(i).mapv_inplace(|value| value / norm);
        }
        q
    }
}

/// The sizes of a synthetic level.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub channels: usize,
    pub grid: (usize, usize),
    pub hidden: usize,
    pub code: usize,
    pub blocks: usize,
    pub classes: usize,
}

/// A level with weights of about the size that training ends with.
pub(crate) fn random_level(tap: &str, sizes: Sizes, seed: u64) -> LevelWeights {
    let mut random = Random::new(seed);
    let Sizes { channels: d, grid, hidden, code, blocks, classes } = sizes;
    let (d1, d2) = (d - d / 2, d / 2);
    let block = |random: &mut Random| BlockWeights {
        side: 1,
        w1: random.matrix(d1 + code, hidden, 1.0 / ((d1 + code) as f32).sqrt()),
        b1: random.vector(hidden, 0.0, 0.3),
        w2: random.matrix(hidden, 2 * d2, 1.0 / (hidden as f32).sqrt()),
        b2: random.vector(2 * d2, 0.0, 0.3),
        scale: Array1::from_shape_simple_fn(d, || random.uniform(0.8, 1.2)),
        offset: random.vector(d, 0.0, 0.2),
        mix: random.orthogonal(d),
    };
    LevelWeights {
        tap: tap.to_owned(),
        grid,
        mean: random.vector(d, 0.5, 1.0),
        std: Array1::from_shape_simple_fn(d, || random.uniform(0.5, 2.0)),
        clamp: 1.9,
        blocks: (0..blocks).map(|_| block(&mut random)).collect(),
        centers: LevelCenters {
            mu: random.matrix(classes, d, 1.0),
            dmu: Array3::from_shape_simple_fn((classes, 9, d), || random.normal()),
            psi: random.vector(classes, 0.0, 0.1),
            psi_in: random.matrix(classes, 10, 0.1),
        },
    }
}

/// A level for each of the flows.
fn of_flows(levels: &[LevelWeights]) -> Vec<NetworkLevel> {
    levels.iter().cloned().map(NetworkLevel::from).collect()
}

/// The forward pass as `flow::weights` writes it down, nothing folded: features `(P, D)` to `(z (P, D), log|det| (P))`.
fn reference_forward(level: &LevelWeights, features: &Array2<f32>) -> (Array2<f32>, Array1<f32>) {
    let code_width = level.blocks[0].w1.nrows() - (features.ncols() - features.ncols() / 2);
    let code = PositionCode::new(level.grid.0, level.grid.1, code_width).grid();
    let mut x = (features - &level.mean) / &level.std;
    let mut log_det = Array1::zeros(features.nrows());
    for block in &level.blocks {
        let d2 = x.ncols() / 2;
        let (x1, x2) = x.view().split_at(Axis(1), x.ncols() - d2);
        let conditioned = concatenate![Axis(1), x1, code];
        let hidden = (conditioned.dot(&block.w1) + &block.b1).mapv(|value| value.max(0.0));
        let a = (hidden.dot(&block.w2) + &block.b2) * 0.1;
        let s = a.slice(s![.., ..d2]).mapv(|value| level.clamp * value.tanh());
        let moved = &x2 * &s.mapv(f32::exp) + a.slice(s![.., d2..]);
        log_det = log_det + s.sum_axis(Axis(1)) + block.scale.mapv(f32::ln).sum();
        x = (concatenate![Axis(1), x1, moved] * &block.scale + &block.offset).dot(&block.mix);
    }
    (x, log_det)
}

/// A classifier of one strided convolution per tap, written to `folder`; taps `tap.0`, `tap.1`, ...
fn small_backbone(folder: &Path, size: InputSize, taps: &[(usize, usize)]) -> Backbone {
    let mut random = Random::new(7);
    let mut graph = GraphWriter::default();
    for (l, &(channels, stride)) in taps.iter().enumerate() {
        let kernel = random.matrix(channels, 3 * stride * stride, 1.0 / stride as f32);
        let kernel = graph.f32(format!("w.{l}"), &[channels, 3, stride, stride], &kernel);
        let bias = graph.f32(format!("b.{l}"), &[channels], &random.vector(channels, 0.0, 1.0));
        let shape = [stride as i64; 2];
        let attributes = vec![ints("kernel_shape", &shape), ints("strides", &shape), int("group", 1)];
        graph.op_with("Conv", &["rgb", &kernel, &bias], format!("tap.{l}"), attributes);
    }
    let last = float_value(format!("tap.{}", taps.len() - 1), &[]);
    let image = float_value("rgb", &[1, 3, size.height, size.width]);
    let path = folder.join("small.onnx");
    std::fs::write(&path, encode(&graph.finish(13, vec![image], vec![last]))).unwrap();
    let names = (0..taps.len()).map(|l| format!("tap.{l}")).collect();
    Backbone::open(&path, size, &Taps::Named(names), Normalise::Signed).unwrap()
}

fn random_image(size: InputSize, seed: u64) -> Array4<f32> {
    let mut random = Random::new(seed);
    Array4::from_shape_simple_fn((1, 3, size.height, size.width), || random.uniform(0.0, 255.0))
}

/// `(D, h, w)` as one row per position.
fn rows(features: &Array3<f32>) -> Array2<f32> {
    let (d, h, w) = features.dim();
    features.to_shape((d, h * w)).unwrap().t().to_owned()
}

fn largest_difference<'v>(a: impl IntoIterator<Item = &'v f32>, b: impl IntoIterator<Item = &'v f32>) -> f32 {
    a.into_iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn the_exported_graph_computes_the_trained_flow() {
    struct Case {
        size: InputSize,
        taps: &'static [(usize, usize)],
        blocks: usize,
        hidden: usize,
        code: usize,
    }
    let square = InputSize { width: 64, height: 64 };
    let cases = [
        Case { size: square, taps: &[(8, 8), (12, 16)], blocks: 12, hidden: 24, code: 256 },
        Case { size: square, taps: &[(2, 8), (3, 16), (7, 32)], blocks: 3, hidden: 5, code: 8 },
        Case { size: InputSize { width: 96, height: 32 }, taps: &[(9, 8)], blocks: 12, hidden: 18, code: 16 },
        Case { size: InputSize { width: 32, height: 64 }, taps: &[(33, 16), (64, 32)], blocks: 1, hidden: 64, code: 4 },
    ];
    let folder = tempfile::tempdir().unwrap();
    for (i, case) in cases.iter().enumerate() {
        let backbone = small_backbone(folder.path(), case.size, case.taps);
        let sizes = |(channels, stride): (usize, usize)| Sizes {
            channels,
            grid: (case.size.height / stride, case.size.width / stride),
            hidden: case.hidden,
            code: case.code,
            blocks: case.blocks,
            classes: 3,
        };
        let levels =
            case.taps.iter().enumerate().map(|(l, &tap)| random_level(&format!("tap.{l}"), sizes(tap), l as u64));
        let levels = levels.collect::<Vec<_>>();
        let graph = graph::assemble(&backbone, &of_flows(&levels)).unwrap();
        hgad::bundle::admit_graph("exported", &graph).unwrap();

        let image = random_image(case.size, 3);
        let features = backbone.runner().unwrap().run(image.clone()).unwrap();
        let outputs = Plan::new("exported", &graph, case.size).unwrap().runner().unwrap().run(image).unwrap();
        for (l, level) in levels.iter().enumerate() {
            let (z, log_det) = reference_forward(level, &rows(&features[l]));
            let (out, out_log_det) = (rows(&outputs[2 * l]), &outputs[2 * l + 1]);
            assert_eq!(out_log_det.dim(), (1, level.grid.0, level.grid.1));
            let differences = (largest_difference(&out, &z), largest_difference(out_log_det, &log_det));
            assert!(differences.0 < 1e-4 && differences.1 < 1e-4, "case {i}, level {l}: {differences:?}");
            assert!(z.std(0.0) > 0.1, "case {i}: the outputs are all the same");
        }
    }
}

#[test]
fn joined_levels_are_those_that_were_learned_side_by_side_on_one_grid() {
    let folder = tempfile::tempdir().unwrap();
    let size = InputSize { width: 96, height: 64 };
    let backbone = small_backbone(folder.path(), size, &[(6, 8), (9, 16)]);
    let mut random = Random::new(9);
    let sizes = Sizes { channels: 9, grid: (4, 6), hidden: 12, code: 8, blocks: 3, classes: 2 };
    let flow = random_level("tap.1", sizes, 4);
    let centers = random_level("", Sizes { channels: 5, ..sizes }, 5).centers;
    let (weights, offset) = (random.matrix(5, 6, 1.0), random.vector(5, 0.0, 1.0));
    let features = FeatureLevel { tap: "tap.0".to_owned(), weights, offset, centers };
    let levels = [NetworkLevel::Features(features.clone()), NetworkLevel::Flow(flow.clone())];
    let normals = normal_images(folder.path(), 2, 2);
    let image = random_image(size, 3);
    let taps = backbone.runner().unwrap().run(image.clone()).unwrap();
    let mapped = rows(&taps[0]).dot(&features.weights.t()) + &features.offset;
    let (z, log_det) = reference_forward(&flow, &rows(&taps[1]));
    for averaged in [false, true] {
        let how = Join { averaged, centers: None };
        let exported = export_bundle(ExportRequest {
            backbone: &backbone,
            levels: &levels,
            join: Some(&how),
            classes: &["a", "b"].map(str::to_owned),
            trained_on: &files(&normals),
            normals: &normals,
            precision: Precision::F32,
            distance: Distance::Cells,
            training: &toml::Table::new(),
            out: &folder.path().join("bundle"),
        })
        .unwrap();
        assert_eq!(exported.from_centers.len(), 2, "one for each that was learned");
        let Bundle { manifest, centers, model, .. } = &exported.bundle;
        let joined = &manifest.levels[0];
        assert_eq!((manifest.levels.len(), joined.tap.as_str(), joined.channels), (1, "tap.0+tap.1", 14));
        assert_eq!(centers.levels[0].mu.row(1).as_slice().unwrap()[5..], *flow.centers.mu.row(1).as_slice().unwrap());
        hgad::inspect::Inspector::new(&exported.bundle).unwrap().check_parity(&exported.bundle).unwrap();

        let graph = hgad::bundle::parse_graph("exported", model).unwrap();
        let outputs = Plan::new("exported", &graph, size).unwrap().runner().unwrap().run(image.clone()).unwrap();
        let moved = |values: ndarray::ArrayView1<f32>, grid| {
            let values = values.to_shape(grid).unwrap().to_owned();
            ToGrid::new(grid, (4, 6), averaged).map_or(values.clone(), |way| way.apply(values.view()))
        };
        for channel in 0..14 {
            let expected = match channel {
                0..5 => moved(mapped.column(channel), (8, 12)),
                _ => moved(z.column(channel - 5), (4, 6)),
            };
            assert!(largest_difference(outputs[0].index_axis(Axis(0), channel), &expected) < 1e-4, "{channel}");
        }
        assert!(largest_difference(&outputs[1], &moved(log_det.view(), (4, 6))) < 1e-4);
    }
}

#[test]
fn a_score_that_is_no_number_fails_the_comparison_of_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let backbone = small_backbone(folder.path(), InputSize { width: 32, height: 32 }, &[(8, 8), (9, 16)]);
    let normals = normal_images(folder.path(), 1, 2);
    let mut bundle = export_random(&backbone, &normals, Precision::F32, &folder.path().join("bundle")).bundle;
    let error = fidelity::compare(&bundle, &bundle, &normals).unwrap();
    assert_eq!((error.frames, error.score), (2, 0.0));
    bundle.centers.references[0].mean[0] = f32::NAN;
    let report = fidelity::compare(&bundle, &bundle, &normals).unwrap_err().report();
    assert!(report.contains("0-0.png") && report.contains("NaN"), "{report}");
}

/// Noisy pictures of a disc, `count` for each of `classes` classes, each class with a brightness of its own.
fn normal_images(folder: &Path, classes: usize, count: usize) -> Vec<Vec<PathBuf>> {
    let mut random = Random::new(11);
    let mut image = |class: usize, i: usize| {
        let path = folder.join(format!("{class}-{i}.png"));
        let picture = image::RgbImage::from_fn(80, 60, |x, y| {
            let inside = (f64::from(x) - 40.0).hypot(f64::from(y) - 30.0) < 20.0;
            let level = if inside { 90 + 60 * class as u32 } else { 30 };
            image::Rgb([0, 1, 2].map(|c| (level + 10 * c) as u8 + random.uniform(0.0, 12.0) as u8))
        });
        picture.save(&path).unwrap();
        path
    };
    (0..classes).map(|class| (0..count).map(|i| image(class, i)).collect()).collect()
}

fn files(images: &[Vec<PathBuf>]) -> Vec<Vec<ImageFile>> {
    let open = |path: &PathBuf| ImageFile::open(path.clone()).unwrap();
    images.iter().map(|class| class.iter().map(open).collect()).collect()
}

#[test]
fn a_bundle_is_written_whole_and_passes_its_own_parity_gate() {
    let folder = tempfile::tempdir().unwrap();
    let size = InputSize { width: 64, height: 64 };
    let backbone = small_backbone(folder.path(), size, &[(16, 8), (24, 16)]);
    let classes = ["ring", "disc"].map(str::to_owned);
    let sizes = |channels, side| Sizes { channels, grid: (side, side), hidden: 48, code: 32, blocks: 4, classes: 2 };
    let levels = [random_level("tap.0", sizes(16, 8), 1), random_level("tap.1", sizes(24, 4), 2)];
    let normals = normal_images(folder.path(), 2, 5);
    let training = toml::Table::from_iter([("epochs".to_owned(), 3.into())]);
    for precision in [Precision::F32, Precision::WeightsInt8] {
        let out = folder.path().join("bundle");
        let request = ExportRequest {
            backbone: &backbone,
            levels: &of_flows(&levels),
            join: None,
            classes: &classes,
            trained_on: &files(&normals),
            normals: &normals,
            precision,
            distance: Distance::Cells,
            training: &training,
            out: &out,
        };
        let exported = export_bundle(request).unwrap();
        let bundle = hgad::bundle::Bundle::open(&out).unwrap();
        assert_eq!(bundle.digest, exported.bundle.digest);
        assert_eq!(bundle.manifest.precision, precision);
        assert_eq!(bundle.manifest.training["epochs"].as_integer(), Some(3));
        assert_eq!(bundle.manifest.training["backbone"]["sha256"].as_str(), Some(&*backbone.digest.to_string()));
        assert_eq!(bundle.golden.frames.len(), 2);
        let trained_on = files(&normals).concat().iter().map(|image| image.digest).collect();
        assert_eq!(bundle.trained_on, Some(trained_on));
        hgad::inspect::Inspector::new(&bundle).unwrap().check_parity(&bundle).unwrap();
        match (precision, exported.weight_error) {
            (Precision::F32, error) => assert_eq!(error, None),
            (Precision::WeightsInt8, error) => {
                let error = error.unwrap();
                assert_eq!(error.frames, 10);
                for level in &error.levels {
                    assert!(level.z > 0.0 && level.z < 0.1 && level.logdet < 0.1, "{error}");
                }
                assert!(bundle.manifest.training["weight_error"]["levels"].as_array().unwrap().len() == 2);
            }
        }
    }
}

#[test]
fn what_does_not_fit_together_is_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let size = InputSize { width: 32, height: 32 };
    let backbone = small_backbone(folder.path(), size, &[(4, 8)]);
    let sizes = Sizes { channels: 4, grid: (4, 4), hidden: 8, code: 8, blocks: 2, classes: 2 };
    let good = random_level("tap.0", sizes, 1);
    let classes = ["a", "b"].map(str::to_owned);
    let normals = normal_images(folder.path(), 2, 1);
    let request = |levels: &[LevelWeights], trained_on: &[Vec<PathBuf>], normals: &[Vec<PathBuf>]| {
        let training = toml::Table::new();
        let out = folder.path().join("bundle");
        let request = ExportRequest {
            backbone: &backbone,
            levels: &of_flows(levels),
            join: None,
            classes: &classes,
            trained_on: &files(trained_on),
            normals,
            precision: Precision::F32,
            distance: Distance::Cells,
            training: &training,
            out: &out,
        };
        export_bundle(request).unwrap_err().report()
    };
    let other = |change: fn(&mut LevelWeights)| {
        let mut level = good.clone();
        change(&mut level);
        vec![level]
    };
    let cases = [
        (request(&[], &normals, &normals), "it has no levels"),
        (request(&other(|level| level.tap = "tap.1".to_owned()), &normals, &normals), "tap.1"),
        (request(&other(|level| level.grid = (4, 5)), &normals, &normals), "(4, 5)"),
        (request(&other(|level| level.blocks.clear()), &normals, &normals), "has no blocks"),
        (request(&other(|level| level.blocks[1].w2[[3, 2]] = f32::NAN), &normals, &normals), "w2 of level tap.0"),
        (request(&other(|level| level.std[3] = f32::INFINITY), &normals, &normals), "std of level tap.0"),
        (request(&other(|level| level.centers.psi[1] = f32::NAN), &normals, &normals), "psi of level tap.0"),
        (request(&other(|level| level.centers.mu = Array2::zeros((3, 4))), &normals, &normals), "(3, 4)"),
        (request(std::slice::from_ref(&good), &normals[..1], &normals), "class b has no training image"),
        (request(std::slice::from_ref(&good), &normals, &normals[..1]), "class b has no normal image"),
        (request(std::slice::from_ref(&good), &normals, &[vec![], vec![]]), "class a has no normal image"),
        (
            request(std::slice::from_ref(&good), &normals, &[vec!["/nowhere.png".into()], normals[1].clone()]),
            "/nowhere.png",
        ),
    ];
    for (report, says) in cases {
        assert!(report.contains(says), "{report} does not say: {says}");
    }
    assert!(!folder.path().join("bundle").exists());
}

#[test]
fn onnxruntime_computes_what_tract_computes() {
    let Some(python) = crate::beside::python_with_onnxruntime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let size = InputSize { width: 128, height: 128 };
    let mut backbones = vec![small_backbone(folder.path(), size, &[(16, 8), (25, 16)])];
    let real = ["mobilenet_v2_features.onnx", "efficientnet_lite0.onnx", "squeezenet_v1.0.onnx"];
    backbones.extend(real.iter().filter_map(|file| {
        let path = crate::backbone::tests::real_backbone(file)?;
        Some(Backbone::open(&path, size, &Taps::Auto(vec![8, 16]), Normalise::Auto).unwrap())
    }));
    let normals = normal_images(folder.path(), 2, 2);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnxruntime_parity.py");
    for backbone in &backbones {
        for precision in [Precision::F32, Precision::WeightsInt8] {
            let out = folder.path().join("bundle");
            export_random(backbone, &normals, precision, &out);
            let check = std::process::Command::new(&python).arg(&script).args([&out]).output().unwrap();
            let [said, failed] = [&check.stdout, &check.stderr].map(|bytes| String::from_utf8_lossy(bytes));
            assert!(check.status.success(), "{} {precision:?}: {said} {failed}", backbone.name);
            crate::beside::say(&format!("{} {precision:?}: {}", backbone.name, said.trim()));
        }
    }
}

/// A bundle of the products below `root` with random flows behind every tap; every `hold_out`-th image was held out.
pub(crate) fn export_backbone(
    backbone: &Backbone,
    root: &Path,
    classes: [&str; 2],
    hold_out: usize,
    precision: Precision,
    out: &Path,
) -> Bundle {
    let products = hgad::dataset::products(root, Some(&classes.map(str::to_owned))).unwrap();
    let images = |part: HoldOut| products.iter().map(|p| part.select(p.train().unwrap())).collect::<Vec<_>>();
    let (kept, held) = (images(HoldOut::Kept(hold_out)), images(HoldOut::Held(hold_out)));
    let mut levels = random_levels(backbone, &kept);
    // Both products lie around the same centers, so that no frame of one looks like the other.
    for centers in levels.iter_mut().map(|level| &mut level.centers) {
        for class in 1..classes.len() {
            let (first, dmu) = (centers.mu.row(0).to_owned(), centers.dmu.index_axis(Axis(0), 0).to_owned());
            centers.mu.row_mut(class).assign(&first);
            centers.dmu.index_axis_mut(Axis(0), class).assign(&dmu);
            centers.psi[class] = centers.psi[0];
            let psi_in = centers.psi_in.row(0).to_owned();
            centers.psi_in.row_mut(class).assign(&psi_in);
        }
    }
    export_bundle(ExportRequest {
        backbone,
        levels: &of_flows(&levels),
        join: None,
        classes: &classes.map(str::to_owned),
        trained_on: &files(&kept),
        normals: &held,
        precision,
        distance: Distance::Centers,
        training: &toml::Table::new(),
        out,
    })
    .unwrap()
    .bundle
}

/// A bundle with random flows of 12 blocks behind every tap of `backbone`, which see standardised features.
fn export_random(backbone: &Backbone, normals: &[Vec<PathBuf>], precision: Precision, out: &Path) -> Exported {
    let levels = random_levels(backbone, normals);
    let classes = (0..normals.len()).map(|class| class.to_string()).collect::<Vec<_>>();
    let training = toml::Table::new();
    export_bundle(ExportRequest {
        backbone,
        levels: &of_flows(&levels),
        join: None,
        classes: &classes,
        trained_on: &files(normals),
        normals,
        precision,
        distance: Distance::Centers,
        training: &training,
        out,
    })
    .unwrap()
}

fn random_levels(backbone: &Backbone, normals: &[Vec<PathBuf>]) -> Vec<LevelWeights> {
    let images = normals.iter().flatten().map(|path| {
        let image = hgad::dataset::read_rgb(path).unwrap();
        hgad::inspect::preprocess::to_tensor(&hgad::inspect::preprocess::resize(&image, backbone.size).unwrap())
    });
    let mut runner = backbone.runner().unwrap();
    let features = images.map(|image| runner.run(image).unwrap()).collect::<Vec<_>>();
    let level = |(l, tap): (usize, &crate::backbone::Tap)| {
        let (channels, grid) = (tap.channels, (tap.height, tap.width));
        let hidden = (2 * channels).min(128);
        let sizes = Sizes { channels, grid, hidden, code: 64, blocks: 12, classes: normals.len() };
        let frames = features.iter().map(|frame| rows(&frame[l])).collect::<Vec<_>>();
        let all = concatenate(Axis(0), &frames.iter().map(|frame| frame.view()).collect::<Vec<_>>()).unwrap();
        LevelWeights {
            mean: all.mean_axis(Axis(0)).unwrap(),
            std: all.std_axis(Axis(0), 0.0).mapv(|std| std.max(0.5)),
            ..random_level(&tap.name, sizes, l as u64)
        }
    };
    backbone.taps.iter().enumerate().map(level).collect()
}
