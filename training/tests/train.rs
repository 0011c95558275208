//! Training end to end on a small synthetic line: a backbone of three convolutions, two products of sixteen images.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use burn::backend::Flex;
use hgad::bundle::{Distance, InputSize, Precision};
use hgad::dataset::{self, HoldOut};
use hgad::inspect::Inspector;
use hgad_train::backbone::{Backbone, Normalise, Taps};
use hgad_train::export::{ExportRequest, NetworkLevel, export_bundle};
use hgad_train::features::{Features, ImageFile};
use hgad_train::fit::{
    About, Checkpoint, Device, Fitted, HiddenWidth, History, Likelihoods, Outcome, Recipe, Task, Watch, likelihoods,
};
use hgad_train::latents::Latents;
use hgad_train::onnx::{GraphWriter, encode, float_value, ints};
use image::{Rgb, RgbImage};

const SIZE: InputSize = InputSize { width: 32, height: 32 };
const PRODUCTS: [&str; 2] = ["nut", "washer"];

/// A folder with a backbone, two products, and room for what training leaves.
struct Line {
    folder: tempfile::TempDir,
}

impl Line {
    fn new() -> Self {
        let line = Line { folder: tempfile::tempdir().unwrap() };
        std::fs::write(line.path("small.onnx"), small_classifier()).unwrap();
        for (class, product) in PRODUCTS.iter().enumerate() {
            let good = line.path("parts").join(product).join("train/good");
            std::fs::create_dir_all(&good).unwrap();
            (0..16).for_each(|i| picture(class as u32, i).save(good.join(format!("{i:03}.png"))).unwrap());
        }
        line
    }

    /// A line whose parts all lie alike; some good and some stained ones are test images.
    fn steady() -> Self {
        let line = Line::new();
        for (class, product) in PRODUCTS.iter().enumerate() {
            let folder = |kind: &str| line.path("parts").join(product).join(kind);
            let save = |kind: &str, numbers: std::ops::Range<u32>, image: &dyn Fn(u32) -> RgbImage| {
                std::fs::create_dir_all(folder(kind)).unwrap();
                numbers.for_each(|i| image(i).save(folder(kind).join(format!("{i:03}.png"))).unwrap());
            };
            save("train/good", 0..48, &|i| steady(class as u32, i));
            save("test/good", 50..56, &|i| steady(class as u32, i));
            save("test/stain", 60..66, &|i| stained(steady(class as u32, i)));
        }
        line
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn good(&self, product: &str, part: HoldOut) -> Vec<PathBuf> {
        part.select(dataset::images(&self.path("parts").join(product).join("train/good")).unwrap())
    }

    fn backbone(&self) -> Backbone {
        let taps = Taps::Named(vec!["fine".into(), "coarse".into()]);
        Backbone::open(&self.path("small.onnx"), SIZE, &taps, Normalise::Unit).unwrap()
    }

    fn features(&self, backbone: &Backbone) -> Features {
        let images = images(PRODUCTS.iter().flat_map(|product| self.good(product, HoldOut::Kept(4))));
        Features::of(backbone, &images, &self.path("cache"), &AtomicBool::new(false)).unwrap()
    }

    /// The command, without what a test varies.
    fn command(&self, epochs: usize) -> Command {
        self.command_to(epochs, "model")
    }

    /// The same for a bundle of that name.
    fn command_to(&self, epochs: usize, out: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
        let arguments = ["train", "--taps", "fine,coarse", "--size", "32", "--normalize", "unit", "--hold-out", "4"];
        command.args(arguments).args(["--blocks", "2", "--epochs", &epochs.to_string(), "--checkpoint-every", "0"]);
        for (flag, file) in [("--data", "parts"), ("--backbone", "small.onnx"), ("--cache", "cache"), ("--out", out)] {
            command.arg(flag).arg(self.path(file));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn images(paths: impl IntoIterator<Item = PathBuf>) -> Vec<ImageFile> {
    paths.into_iter().map(|path| ImageFile::open(path).unwrap()).collect()
}

/// Stripes or checks, shifted and of varying brightness.
fn picture(class: u32, i: u32) -> RgbImage {
    RgbImage::from_fn(40, 36, |x, y| {
        let stripe = (x + i) / 4 + class * (y / 4);
        let light = 60 + 100 * (stripe % 2) as u8 + 5 * (i % 8) as u8;
        Rgb([light, light / 2 + (7 * x % 11) as u8, 200 - light])
    })
}

/// The same part at the same place, with the noise of a camera: what is held out is as what is learned from.
fn steady(class: u32, i: u32) -> RgbImage {
    let mut image = picture(class, 0);
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let mixed = (x + 41 * y + 1681 * i + 7 * class).wrapping_mul(2_654_435_761);
        pixel.0 = std::array::from_fn(|c| pixel.0[c].saturating_add((mixed >> (8 * c)) as u8 % 23));
    }
    image
}

/// A stain that no part has.
fn stained(mut image: RgbImage) -> RgbImage {
    (12..22).for_each(|x| (10..20).for_each(|y| image.put_pixel(x, y, Rgb([255, 0, 255]))));
    image
}

/// 3 -> 6 channels at stride 4, then 6 -> 8 at stride 8, and a layer behind them that training must cut off.
fn small_classifier() -> Vec<u8> {
    let mut graph = GraphWriter::default();
    let mut conv = |input: &str, output: &str, shape: [usize; 4]| {
        let fan_in = shape[1..].iter().product::<usize>() as f32;
        let values = (0..shape.iter().product()).map(|i: usize| (i as f32 * 12.9898).sin() * 1.7 / fan_in.sqrt());
        let weights = graph.f32(format!("{output}.w"), &shape, &values.collect::<Vec<_>>());
        let side = shape[2] as i64;
        let attributes = vec![ints("kernel_shape", &[side, side]), ints("strides", &[side, side])];
        let sum = graph.op_with("Conv", &[input, &weights], format!("{output}.sum"), attributes);
        graph.op("Relu", &[&sum], output)
    };
    conv("pixels", "fine", [6, 3, 4, 4]);
    conv("fine", "coarse", [8, 6, 2, 2]);
    conv("coarse", "rest", [4, 8, 1, 1]);
    let input = float_value("pixels", &[1, 3, SIZE.height, SIZE.width]);
    encode(&graph.finish(13, vec![input], vec![float_value("rest", &[1, 4, 4, 4])]))
}

fn task<'t>(features: &'t Features, checkpoint: PathBuf, resume: bool) -> Task<'t> {
    task_of(Recipe::default(), features, checkpoint, resume)
}

/// HGAD's flows, CFLOW's and FastFlow's, which see neighbouring positions.
fn recipes() -> [(&'static str, Recipe); 3] {
    [("hgad", Recipe::default()), ("cflow", Recipe::cflow()), ("fastflow", Recipe::fastflow())]
}

fn task_of<'t>(recipe: Recipe, features: &'t Features, checkpoint: PathBuf, resume: bool) -> Task<'t> {
    let recipe = Recipe { seed: 5, epochs: 10, blocks: 3, hidden: HiddenWidth::Fixed(10), ..recipe };
    let labels = (0..2).flat_map(|class| std::iter::repeat_n(class, 12)).collect();
    let checkpoint_every = Duration::from_secs(3600);
    Task { recipe, features, labels, classes: 2, checkpoint, checkpoint_every, resume, watch: None }
}

fn finished(outcome: Outcome) -> Fitted {
    match outcome {
        Outcome::Finished(fitted) => fitted,
        Outcome::Interrupted { step, steps } => panic!("interrupted at {step} of {steps}"),
    }
}

fn largest_difference<'v>(a: impl IntoIterator<Item = &'v f32>, b: impl IntoIterator<Item = &'v f32>) -> f32 {
    a.into_iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn the_bundle_under_tract_computes_what_the_trainer_computes() {
    let line = Line::new();
    let backbone = line.backbone();
    let features = line.features(&backbone);
    for (name, recipe) in recipes() {
        let task = task_of(recipe, &features, line.path(&format!("{name}.checkpoint")), false);
        let fitted = finished(Device::Cpu.fit(&task, &AtomicBool::new(false)).unwrap());
        assert_eq!(fitted.steps, 30);
        let exported = export_bundle(ExportRequest {
            backbone: &backbone,
            levels: &fitted.levels.iter().cloned().map(NetworkLevel::from).collect::<Vec<_>>(),
            join: None,
            classes: &PRODUCTS.map(str::to_owned),
            trained_on: &PRODUCTS.map(|product| images(line.good(product, HoldOut::Kept(4)))),
            normals: &PRODUCTS.map(|product| line.good(product, HoldOut::Held(4))),
            precision: Precision::F32,
            distance: Distance::Centers,
            training: &toml::Table::new(),
            out: &line.path("model"),
        })
        .unwrap();

        let mut inspector = Inspector::new(&exported.bundle).unwrap();
        let trained = PRODUCTS.iter().flat_map(|product| line.good(product, HoldOut::Kept(4)));
        for (i, path) in trained.enumerate() {
            let latents = inspector.latents(&dataset::read_rgb(&path).unwrap()).unwrap();
            for (l, level) in fitted.levels.iter().enumerate() {
                let Latents { z, logdet } =
                    level.on::<Flex>(&Default::default()).latents(features.levels[l].image(i)).unwrap();
                let (d, h, w) = latents.z[l].dim();
                let by_position = latents.z[l].view().into_shape_with_order((d, h * w)).unwrap();
                let z_error = largest_difference(by_position.t(), &z);
                let logdet_error = largest_difference(&latents.logdet[l], &logdet);
                let tap = &level.tap;
                assert!(z_error < 1e-4 && logdet_error < 1e-4, "{name}, {tap}: z {z_error}, log-det {logdet_error}");
            }
        }
    }
}

#[test]
fn a_run_that_was_interrupted_ends_as_one_that_was_not() {
    let line = Line::new();
    let backbone = line.backbone();
    let features = line.features(&backbone);
    let quiet = AtomicBool::new(false);
    for (name, recipe) in recipes() {
        let (at_once, in_pieces) = (line.path(&format!("{name}-whole")), line.path(&format!("{name}-pieces")));
        let task = |place: &Path, resume| task_of(recipe, &features, place.to_owned(), resume);
        let whole = finished(Device::Cpu.fit(&task(&at_once, false), &quiet).unwrap());

        // A raised flag ends each run after one step; the stages change after the third.
        let raised = AtomicBool::new(true);
        for expected in 1..=5 {
            match Device::Cpu.fit(&task(&in_pieces, expected > 1), &raised).unwrap() {
                Outcome::Interrupted { step, steps } => assert_eq!((step, steps), (expected, 30), "{name}"),
                Outcome::Finished(_) => panic!("{name} finished although it was asked to stop"),
            }
        }
        let pieces = finished(Device::Cpu.fit(&task(&in_pieces, true), &quiet).unwrap());
        assert_eq!(whole.levels, pieces.levels, "{name}");
        assert_eq!(whole.losses, pieces.losses, "{name}");

        let mut other = task(&in_pieces, true);
        other.recipe.seed += 1;
        let refused = Device::Cpu.fit(&other, &quiet).err().unwrap();
        assert_eq!(refused.kind().exit_code(), 2);
        assert!(refused.to_string().contains("another run"), "{refused}");
    }
}

/// Every file in a folder with its bytes.
fn files(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
}

#[test]
fn a_run_that_was_killed_and_resumed_leaves_the_history_of_one_that_was_not() {
    let line = Line::new();
    let backbone = line.backbone();
    let features = line.features(&backbone);
    let held = images(PRODUCTS.iter().flat_map(|product| line.good(product, HoldOut::Held(4))));
    let normals = Features::of(&backbone, &held, &line.path("cache"), &AtomicBool::new(false)).unwrap();
    let labels = [0, 0, 0, 0, 1, 1, 1, 1];
    let about = About {
        classes: PRODUCTS.map(str::to_owned).to_vec(),
        held_out: true,
        backbone: line.path("small.onnx"),
        backbone_sha256: backbone.digest,
        normalise: backbone.normalise.to_string(),
        taps: vec!["fine".into(), "coarse".into()],
        size: SIZE,
    };
    let watch =
        |name: &str| Watch { folder: line.path(name), about: about.clone(), normals: &normals, labels: &labels };
    let (whole, pieces) = (watch("whole.history"), watch("pieces.history"));
    let quiet = AtomicBool::new(false);
    let run = |watch, name: &str, resume, stop: &AtomicBool| {
        let task = task(&features, line.path(name), resume);
        Device::Cpu.fit(&Task { watch: Some(watch), ..task }, stop).unwrap()
    };
    let fitted = finished(run(&whole, "whole", false, &quiet));
    // Each run ends after one step. The checkpoint of the fourth comes back, as if a kill had come after the history of the sixth.
    let raised = AtomicBool::new(true);
    for step in 1..=6 {
        run(&pieces, "pieces", step > 1, &raised);
        if step == 4 {
            std::fs::copy(line.path("pieces"), line.path("earlier")).unwrap();
        }
    }
    std::fs::rename(line.path("earlier"), line.path("pieces")).unwrap();
    finished(run(&pieces, "pieces", true, &quiet));
    assert_eq!(files(&whole.folder), files(&pieces.folder));

    let history = History::read(&whole.folder).unwrap().unwrap();
    let steps = history.records.iter().map(|record| record.step).collect::<Vec<_>>();
    assert_eq!(steps, (0..=10).map(|epoch| 3 * epoch).collect::<Vec<_>>());
    let kept = history.kept().map(|record| record.step).collect::<Vec<_>>();
    assert_eq!(kept, [0, 3, 6, 9, 15, 30]);
    let last = history.records.last().unwrap();
    assert_eq!(last.losses, fitted.losses);
    assert_eq!(History::weights(&whole.folder, last).unwrap(), fitted.levels);
    // The mean of the counted likelihoods is that of the definition, computed from the exported mixture.
    for (l, level) in fitted.levels.iter().enumerate() {
        let flow = level.on::<Flex>(&Default::default());
        for class in 0..2 {
            let of_class = (0..8).filter(|image| labels[*image] == class);
            let values = of_class.flat_map(|image| {
                let Latents { z, logdet } = flow.latents(normals.levels[l].image(image)).unwrap();
                let (rows, d) = z.dim();
                let grid = z.t().to_shape((d, rows, 1)).unwrap().to_owned();
                let distances = hgad::inspect::mixture::distance(grid.view(), &level.centers, class);
                let density = move |p: usize| {
                    let latent = -0.5 * distances[[p, 0]].powi(2) - 0.5 * std::f32::consts::TAU.ln();
                    f64::from(latent + logdet[p] / d as f32)
                };
                (0..rows).map(density).collect::<Vec<_>>()
            });
            let values = values.collect::<Vec<_>>();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let counted = &last.likelihoods[l][class];
            assert_eq!(counted.total() as usize, values.len());
            assert!((counted.mean().unwrap() - mean).abs() < 0.025, "{:?} of {mean}", counted.mean());
        }
    }

    // What a run of other settings left is not taken for one's own.
    let mut other = task(&features, line.path("other"), false);
    other.recipe.seed += 1;
    finished(Device::Cpu.fit(&Task { watch: Some(&pieces), ..other }, &quiet).unwrap());
    assert_ne!(History::read(&pieces.folder).unwrap().unwrap().run, history.run);
}

#[test]
fn a_last_step_that_breaks_the_weights_ends_the_run_and_leaves_no_checkpoint() {
    let line = Line::new();
    let features = line.features(&line.backbone());
    let mut task = task(&features, line.path("checkpoint"), false);
    // One step over all images: its losses are those of the start, its gradients overflow.
    task.recipe = Recipe { epochs: 1, batch: 24, weight_decay: f32::MAX, ..task.recipe };
    let error = Device::Cpu.fit(&task, &AtomicBool::new(false)).err().unwrap();
    assert_eq!(error.kind().exit_code(), 1);
    assert!(error.report().contains("diverged") && error.report().contains("parameter block"), "{}", error.report());
    assert!(!task.checkpoint.exists());
}

#[test]
fn features_come_from_the_cache_the_second_time_and_change_with_the_images() {
    let line = Line::new();
    let backbone = line.backbone();
    let first = line.features(&backbone);
    let cached = || std::fs::read_dir(line.path("cache")).unwrap().count();
    assert_eq!(cached(), 1);
    let again = line.features(&backbone);
    assert_eq!((cached(), again.key), (1, first.key));
    assert_eq!(first.levels[1].image(23), again.levels[1].image(23));
    picture(1, 40).save(line.path("parts/nut/train/good/000.png")).unwrap();
    assert_ne!(line.features(&backbone).key, first.key);
    assert_eq!(cached(), 2);
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn wait(child: Child) -> (ExitStatus, String, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status, text(output.stdout), text(output.stderr))
}

/// Starts the command, waits until `ready`, and interrupts it.
fn interrupted(mut command: Command, ready: impl Fn() -> bool) -> String {
    let mut child = command.spawn().unwrap();
    while !ready() {
        assert!(child.try_wait().unwrap().is_none(), "the program ended by itself: {:?}", wait(child));
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    let (status, _, errors) = wait(child);
    assert_eq!(status.code(), Some(130), "{errors}");
    errors
}

fn step(checkpoint: &Path) -> usize {
    Checkpoint::read(checkpoint).unwrap().map_or(0, |checkpoint| checkpoint.step)
}

#[test]
fn an_interrupt_leaves_a_checkpoint_that_the_same_command_resumes_from() {
    const EPOCHS: usize = 100_000;
    let line = Line::new();
    let checkpoint = line.path("model.checkpoint");
    let errors = interrupted(line.command(EPOCHS), || step(&checkpoint) > 0);
    assert!(errors.contains("interrupted after step") && errors.contains("--resume"), "{errors}");
    let reached = step(&checkpoint);

    let (status, _, errors) = wait(line.command(EPOCHS).spawn().unwrap());
    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(errors.contains("of an earlier run stands here"), "{errors}");

    let mut resumed = line.command(EPOCHS);
    resumed.arg("--resume");
    let errors = interrupted(resumed, || step(&checkpoint) > reached);
    assert!(errors.contains(&format!("resuming after step {reached}")), "{errors}");
    assert!(!line.path("model").exists());
}

#[test]
fn the_command_trains_and_says_what_it_made() {
    let line = Line::new();
    let (status, out, errors) = wait(line.command(3).spawn().unwrap());
    assert!(status.success(), "{errors}");
    let bundle = hgad::bundle::Bundle::open(&line.path("model")).unwrap();
    for said in ["washer", "coarse", "L_mi", "8-bit weights", &bundle.digest.to_string()] {
        assert!(out.contains(said), "'{said}' is missing in:\n{out}");
    }
    assert_eq!(bundle.manifest.training["hold_out"].as_integer(), Some(4));
    assert!(!line.path("model.checkpoint").exists());
    assert!(!out.contains("USELESS") && !errors.contains("is of no use"), "{out}{errors}");
    let (nut, model) = (line.path("parts/nut/train/good"), line.path("model"));
    let next = format!(
        "hgad calibrate --model {} --class nut \\\n    --images {} --hold-out 4",
        model.display(),
        nut.display()
    );
    assert!(out.contains(&next), "'{next}' is missing in:\n{out}");
    assert!(out.contains(" --hold-out 4 --target-frr 0."), "a rate that so many can keep:\n{out}");
    assert!(out.lines().last().unwrap().ends_with("--out calibration/washer.toml"), "{out}");

    let mut resumed = line.command(3);
    let (status, _, errors) = wait(resumed.arg("--resume").spawn().unwrap());
    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(errors.contains("nothing to resume") && errors.contains("drop --resume"), "{errors}");
    assert_eq!(hgad::bundle::Bundle::open(&line.path("model")).unwrap().digest, bundle.digest);
    let (status, _, errors) = wait(line.command(1).spawn().unwrap());
    assert!(status.success() && errors.contains("its calibrations will be void"), "{errors}");
}

/// The command with another method, for a bundle of that name.
fn method(line: &Line, name: &str, more: &[&str]) -> (ExitStatus, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
    let arguments = ["train", "--taps", "fine,coarse", "--size", "32", "--normalize", "unit", "--hold-out", "4"];
    command.args(arguments).args(["--method", name]).args(more);
    for (flag, file) in [("--data", "parts"), ("--backbone", "small.onnx"), ("--cache", "cache"), ("--out", name)] {
        command.arg(flag).arg(line.path(file));
    }
    wait(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

#[test]
fn every_method_writes_a_bundle_that_scores_what_it_has_not_seen() {
    let line = Line::new();
    let short = ["--blocks", "2", "--epochs", "40"];
    let joined = [&short[..], &["--distance", "cells"]].concat();
    let cases: [(&str, &[&str], Distance, Option<usize>); 6] = [
        ("padim", &[], Distance::Cells, Some(14)),
        ("padim", &["--channels", "9"], Distance::Cells, Some(9)),
        ("memory", &["--remember", "40"], Distance::Centers, Some(14)),
        ("cflow", &joined, Distance::Cells, Some(14)),
        ("cflow", &short, Distance::Centers, None),
        ("fastflow", &short, Distance::Centers, None),
    ];
    for (name, more, distance, joined) in cases {
        let (status, out, errors) = method(&line, name, more);
        assert!(status.success(), "{name}: {errors}");
        assert_eq!(out.contains("fine+coarse on 4x4"), joined.is_some(), "{out}");
        assert!(out.contains("hgad calibrate"), "{out}");
        let bundle = hgad::bundle::Bundle::open(&line.path(name)).unwrap();
        assert_eq!(bundle.manifest.training["method"].as_str(), Some(name));
        assert_eq!(bundle.manifest.distance, distance);
        match (joined, bundle.manifest.levels.as_slice()) {
            (Some(channels), [level]) => assert_eq!((level.channels, level.height, level.width), (channels, 4, 4)),
            (joined, levels) => assert_eq!((joined, levels.len()), (None, 2)),
        }
        let mut inspector = Inspector::new(&bundle).unwrap();
        inspector.check_parity(&bundle).unwrap();
        let mut score = |class: usize, image: &RgbImage| {
            let inspection = inspector.inspect(image, class, &bundle.centers.references[class]).unwrap();
            (inspection.score, inspection.resembles)
        };
        for (class, product) in PRODUCTS.iter().enumerate() {
            for path in line.good(product, HoldOut::Held(4)) {
                let good = dataset::read_rgb(&path).unwrap();
                let bad = stained(good.clone());
                let (of_good, of_bad) = (score(class, &good), score(class, &bad));
                assert!(of_bad.0 > of_good.0 + 2.0, "{name} {more:?}, {product}: {of_good:?} and {of_bad:?}");
                assert_eq!(of_good.1, None, "{name} {more:?}, {product}");
            }
        }
    }
}

#[test]
fn bundles_of_the_other_methods_can_be_quantised() {
    let line = Line::steady();
    for (name, more) in [("padim", &[][..]), ("memory", &["--remember", "40"])] {
        let (status, _, errors) = method(&line, name, more);
        assert!(status.success(), "{name}: {errors}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
        command.arg("quantize").arg(line.path(name)).arg("--images").arg(line.path("parts"));
        command.arg("--out").arg(line.path("int8")).args([
            "--frames",
            "6",
            "--float-share",
            "0",
            "--anyway",
            "a trial",
        ]);
        let (status, _, errors) = wait(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        assert!(status.success(), "{name}: {errors}");
        let bundle = hgad::bundle::Bundle::open(&line.path("int8")).unwrap();
        assert_eq!((bundle.manifest.format_version > 1, bundle.manifest.levels.len()), (true, 1));
        Inspector::new(&bundle).unwrap().check_parity(&bundle).unwrap();

        let stored = |more: &[&str], out: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
            command.arg("quantize").arg(line.path(name)).arg("--images").arg(line.path("parts"));
            command.args(["--form", "weights-int8", "--anyway", "a trial"]).args(more).arg("--out").arg(line.path(out));
            wait(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        };
        let (status, _, errors) = stored(&[], "stored");
        assert!(status.code() == Some(2) && errors.contains("stored in 8 bits already"), "{name}: {errors}");
        let (status, _, errors) = method(&line, name, &[more, &["--precision", "f32"]].concat());
        assert!(status.success(), "{name}: {errors}");
        let (status, _, errors) = stored(&["--frames", "6"], "stored");
        assert!(status.code() == Some(2) && errors.contains("--frames would change nothing"), "{name}: {errors}");
        let (status, table, errors) = stored(&[], "stored");
        assert!(status.success(), "{name}: {errors}");
        assert!(table.contains("codes  SQNR dB") && table.contains("largest difference of a score"), "{table}");
        let bundle = hgad::bundle::Bundle::open(&line.path("stored")).unwrap();
        assert_eq!(bundle.manifest.precision, Precision::WeightsInt8);
        Inspector::new(&bundle).unwrap().check_parity(&bundle).unwrap();
    }
}

#[test]
fn methods_are_compared_on_the_same_parts() {
    let line = Line::steady();
    for (name, more) in [("padim", &[][..]), ("memory", &["--remember", "40"])] {
        let (status, _, errors) = method(&line, name, more);
        assert!(status.success(), "{errors}");
    }
    let compare = |bundles: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
        command.arg("compare").args(bundles.iter().map(|name| line.path(name)));
        for flag in ["--images", "--test"] {
            command.arg(flag).arg(line.path("parts"));
        }
        wait(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let (status, out, errors) = compare(&["padim", "memory"]);
    assert!(status.success(), "{errors}");
    let rows = out.lines().filter(|row| row.starts_with("padim") || row.starts_with("memory")).collect::<Vec<_>>();
    assert_eq!(rows.len(), 6, "{out}");
    for row in rows {
        // Every stain has a higher score than any good part.
        assert_eq!(row.split_whitespace().nth(1), Some("1.0000"), "{out}");
    }

    let (status, _, errors) = method(&line, "padim", &["--classes", "nut"]);
    assert!(status.success(), "{errors}");
    let (status, _, errors) = compare(&["memory", "padim"]);
    assert_eq!(status.code(), Some(2), "{errors}");
    assert!(errors.contains("of other products") && errors.contains("nut instead of nut, washer"), "{errors}");
}

/// A line whose stains are masked.
fn masked() -> Line {
    let line = Line::steady();
    for product in PRODUCTS {
        let folder = line.path("parts").join(product).join("ground_truth/stain");
        std::fs::create_dir_all(&folder).unwrap();
        let stain = |x, y| (12..22).contains(&x) && (10..20).contains(&y);
        let mask = image::GrayImage::from_fn(40, 36, |x, y| image::Luma([if stain(x, y) { 255 } else { 0 }]));
        (60..66).for_each(|i| mask.save(folder.join(format!("{i:03}_mask.png"))).unwrap());
    }
    line
}

/// What the program prints with these arguments, paths being below the line's folder.
fn program(line: &Line, arguments: &[&str]) -> (ExitStatus, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
    command.args(arguments).current_dir(line.folder.path()).env("XDG_CACHE_HOME", line.path("cache"));
    wait(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

#[test]
fn the_report_tells_what_other_ways_to_compute_it_tell() {
    let line = masked();
    for (name, more) in [("model", &[][..]), ("single", &["--prior", "single"])] {
        let (status, _, errors) = wait(line.command_to(8, name).args(more).spawn().unwrap());
        assert!(status.success(), "{errors}");
    }
    let (status, said, errors) =
        program(&line, &["report", "single", "model", "--test", "parts", "--out", "page.html", "--cache", "cache"]);
    assert!(status.success() && said.contains("page.html"), "{said}{errors}");
    let page = std::fs::read_to_string(line.path("page.html")).unwrap();
    assert!(!page.contains("Not shown"), "nothing is missing");
    assert!(!page.contains("://") && page.matches("src=\"").count() == page.matches("src=\"data:image/").count());
    let words = page.split("base64,").map(|part| part.split_once('"').map_or(part, |(_, after)| after));
    assert!(words.into_iter().skip(1).all(|part| !part.contains("NaN")), "every number is one");

    // The table of figures is that of compare.
    let (_, table, errors) = program(&line, &["compare", "single", "model", "--images", "parts", "--test", "parts"]);
    let rows = table.lines().filter(|row| row.starts_with("single ") || row.starts_with("model ")).collect::<Vec<_>>();
    assert_eq!(rows.len(), 6, "{table}{errors}");
    for (place, row) in rows.iter().enumerate() {
        let words = row.split_whitespace().collect::<Vec<_>>();
        let percent = |word: &str| format!("<td class=\"n\">{word}%");
        let cell = |word: &str| format!("<td class=\"n\">{word}");
        let cells = words[1..5].iter().map(|word| cell(word)).chain(words[5..7].iter().map(|word| percent(word)));
        let head = if place < 2 { "mean".to_owned() } else { format!("<td>{}", PRODUCTS[place / 2 - 1]) };
        let expected = format!("{head}<td>{}{}", words[0], cells.collect::<String>());
        assert!(page.contains(&expected), "{expected} is not in the page");
    }

    // Distances between centers are those of the bundle.
    let bundle = hgad::bundle::Bundle::open(&line.path("model")).unwrap();
    let mu = &bundle.centers.levels[0].mu;
    let apart = (&mu.row(0) - &mu.row(1)).mapv(|d| d * d).sum().sqrt();
    assert!(page.contains(&format!("<td class=\"n\">{apart:.3}<td>washer")), "{apart}");

    // How likely defects are at the end is that of the final weights at the masked positions.
    let backbone = line.backbone();
    let stained =
        PRODUCTS.iter().flat_map(|p| dataset::images(&line.path("parts").join(p).join("test/stain")).unwrap());
    let features = Features::of(&backbone, &images(stained), &line.path("cache"), &AtomicBool::new(false)).unwrap();
    let labels = [[0; 6], [1; 6]].concat();
    let history = History::read(&line.path("model.history")).unwrap().unwrap();
    let last = history.records.last().unwrap();
    let weights = History::weights(&line.path("model.history"), last).unwrap();
    for (l, level) in weights.iter().enumerate() {
        // Cell centers of the grid on a mask of 40 x 36 pixels.
        let (h, w) = level.grid;
        let in_stain = |position: usize| {
            let (y, x) = (position / w, position % w);
            (12..22).contains(&((2 * x + 1) * 40 / (2 * w))) && (10..20).contains(&((2 * y + 1) * 36 / (2 * h)))
        };
        let of_classes =
            likelihoods(level, &history.recipe, &features.levels[l], &labels, 2, |_, p| in_stain(p)).unwrap();
        let defects = of_classes.iter().fold(Likelihoods::default(), |all, class| all.with(class));
        let normal = last.likelihoods[l].iter().fold(Likelihoods::default(), |all, class| all.with(class));
        let expected = format!(
            "<td class=\"n\">{:.3}<td class=\"n\">{:.3}<td class=\"n\">{:.3}",
            normal.mean().unwrap(),
            defects.mean().unwrap(),
            normal.above(&defects).unwrap()
        );
        assert!(normal.above(&defects).unwrap() > 0.6, "stains are unlike: {expected}");
        assert!(page.contains(&format!("<td>model<td>{}<td>8 epochs{expected}", level.tap)), "{expected}");
    }
    // Good parts are taken for the product whose main centers are nearest, over all positions.
    let mut inspector = Inspector::new(&bundle).unwrap();
    let centers = &bundle.centers.levels[0].mu;
    let mut right = 0;
    for (class, product) in PRODUCTS.iter().enumerate() {
        for path in dataset::images(&line.path("parts").join(product).join("test/good")).unwrap() {
            let z = &inspector.latents(&dataset::read_rgb(&path).unwrap()).unwrap().z[0];
            let mut evidence = [0.0; 2];
            for position in z.lanes(ndarray::Axis(0)) {
                let logits = [0, 1].map(|y| {
                    let apart = &position - &centers.row(y);
                    -0.5 * f64::from(apart.dot(&apart))
                });
                let most = logits[0].max(logits[1]);
                let total = most + logits.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln();
                (0..2).for_each(|y| evidence[y] += logits[y] - total);
            }
            right += usize::from(evidence[class] > evidence[1 - class]);
        }
    }
    assert!(page.contains(&format!("<p>good: {right} of 12 right</p>")), "{right}");
}

#[test]
fn a_report_says_what_is_missing_and_why() {
    let line = Line::new();
    let (status, _, errors) = method(&line, "padim", &[]);
    assert!(status.success(), "{errors}");
    let (status, _, errors) = wait(line.command(3).spawn().unwrap());
    assert!(status.success(), "{errors}");
    let report = |runs: &[&str]| {
        let (status, _, errors) = program(&line, &[&["report"], runs, &["--out", "page.html"]].concat());
        (status.code(), errors, std::fs::read_to_string(line.path("page.html")).unwrap_or_default())
    };
    let (code, errors, page) = report(&["padim", "model"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(page.contains("padim: there is no ") && page.contains("its method has no training"), "{page}");
    assert!(page.contains("give them with --test DIR"));
    // The run is trained again, and gets no further than its history.
    std::fs::remove_dir_all(line.path("model")).unwrap();
    let (code, errors, page) = report(&["model"]);
    assert!(code == Some(0) && page.contains("its training is not over"), "{errors}");
    assert!(page.contains("<title>L_g</title>"), "losses are shown all the same");
    // A bundle of another method takes its place; the history stays, and is not that of the bundle.
    std::fs::rename(line.path("padim"), line.path("model")).unwrap();
    let (code, errors, page) = report(&["model"]);
    assert!(code == Some(0) && page.contains("is of another run than the bundle"), "{errors}");
    let (code, errors, _) = report(&["gone"]);
    assert!(code == Some(2) && errors.contains("there is no bundle gone"), "{errors}");
}

#[test]
fn a_report_names_each_thing_that_is_missing_and_shows_the_rest() {
    let line = masked();
    let (status, _, errors) = wait(line.command(8).spawn().unwrap());
    assert!(status.success(), "{errors}");
    assert!(!line.path("model.history.new").exists(), "the draft has become the bundle's history");
    let report = |more: &[&str]| {
        let common = ["report", "model", "--test", "parts", "--out", "page.html", "--cache", "cache"];
        let (status, _, errors) = program(&line, &[&common[..], more].concat());
        assert!(status.success(), "{errors}");
        (errors, std::fs::read_to_string(line.path("page.html")).unwrap())
    };
    let (_, whole) = report(&[]);
    assert!(!whole.contains("Not shown") && !whole.contains("are not shown"));

    // From inside the bundle, whose name `.` does not tell; and two of one name.
    let mut inside = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
    inside.args(["report", ".", "--out", "../inside.html"]).current_dir(line.path("model"));
    let (status, _, errors) = wait(inside.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    assert!(status.success(), "{errors}");
    assert!(
        std::fs::read_to_string(line.path("inside.html")).unwrap().contains("<title>Training report: model</title>")
    );
    let (status, _, errors) = program(&line, &["report", "model", "./model", "--out", "two.html"]);
    assert!(status.success(), "{errors}");
    let two = std::fs::read_to_string(line.path("two.html")).unwrap();
    assert!(two.contains("<title>Training report: model, ./model</title>"));

    // The classifier is elsewhere; weights were deleted; the history was cut short.
    std::fs::rename(line.path("small.onnx"), line.path("moved.onnx")).unwrap();
    let (errors, page) = report(&[]);
    assert!(page.contains("anomalous ones are not shown") && errors.contains("--backbone FILE"), "{errors}");
    let (_, page) = report(&["--backbone", "moved.onnx"]);
    assert!(!page.contains("are not shown"));
    std::fs::remove_file(line.path("model.history/weights-0.safetensors")).unwrap();
    let (errors, page) = report(&["--backbone", "moved.onnx"]);
    assert!(page.contains("anomalous ones are not shown: ") && errors.contains("weights-0.safetensors"), "{errors}");
    assert!(page.contains("<title>L_g</title>"), "losses are shown all the same");
    let file = line.path("model.history/history.json");
    let mut history: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    history["about"]["taps"].as_array_mut().unwrap().pop();
    for (text, why) in [(history.to_string(), "are not of its taps"), ("{".to_owned(), "cannot be read")] {
        std::fs::write(&file, text).unwrap();
        let (_, page) = report(&[]);
        assert!(page.contains(why) && page.contains("Receiver operating characteristics"), "{why}");
    }

    // Another method takes the bundle's place, and the history is nobody's.
    let (status, _, errors) = program(
        &line,
        &[
            "train",
            "--data",
            "parts",
            "--backbone",
            "moved.onnx",
            "--taps",
            "fine,coarse",
            "--size",
            "32",
            "--normalize",
            "unit",
            "--hold-out",
            "4",
            "--method",
            "padim",
            "--cache",
            "cache",
            "--out",
            "model",
        ],
    );
    assert!(status.success(), "{errors}");
    assert!(!line.path("model.history").exists());
}

#[test]
fn a_report_of_many_centers_stays_small() {
    let line = masked();
    let (status, _, errors) = method(&line, "memory", &["--remember", "500"]);
    assert!(status.success(), "{errors}");
    let (status, _, errors) = wait(line.command(8).args(["--centers", "201", "--no-history"]).spawn().unwrap());
    assert!(status.success() && !line.path("model.history").exists(), "{errors}");
    for (run, said) in [("memory", "the method memory has no mixture of centers"), ("model", "the main ones alone")] {
        let (status, _, errors) = program(&line, &["report", run, "--test", "parts", "--out", "page.html"]);
        assert!(status.success(), "{errors}");
        let page = std::fs::read_to_string(line.path("page.html")).unwrap();
        assert!(page.contains(said), "{run}");
        assert!(page.len() < 2_000_000, "{run}: {} bytes", page.len());
    }
}

#[test]
fn a_training_whose_history_cannot_be_written_goes_on() {
    let line = Line::new();
    std::fs::write(line.path("model.history.new"), "no folder").unwrap();
    let (status, _, errors) = wait(line.command(1).spawn().unwrap());
    assert!(errors.contains("the training goes on without its history"), "{errors}");
    assert!(status.success() && line.path("model/manifest.toml").exists(), "{errors}");
}

#[test]
fn an_ablation_notes_trainings_that_diverge_and_goes_on() {
    let line = masked();
    let ablate = |more: &[&str]| {
        let common = ["ablate", "--data", "parts", "--backbone", "small.onnx", "--taps", "fine,coarse", "--size", "32"];
        let rest = ["--normalize", "unit", "--hold-out", "4", "--blocks", "2", "--epochs", "4", "--cache", "cache"];
        program(&line, &[&common[..], &rest, &["--tables", "b", "--seeds", "1", "--out", "cells"], more].concat())
    };
    let read = |file: &str| std::fs::read_to_string(line.path("cells").join(file)).unwrap();
    let (status, text, errors) = ablate(&["--learning-rate", "1e20"]);
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(errors.contains("5 of 5 trainings diverged") && errors.contains("--seeds"), "{errors}");
    assert_eq!((text.matches("0, 1 diverged").count(), &text), (5, &read("ablation.txt")), "{text}");
    let json: serde_json::Value = serde_json::from_str(&read("ablation.json")).unwrap();
    let why = json["tables"][0]["rows"][0]["cells"][0]["diverged"].as_str().unwrap();
    assert!(why.contains("diverged"), "{why}");
    // It is known: nothing is trained again.
    let (status, _, errors) = ablate(&["--learning-rate", "1e20"]);
    assert!(status.code() == Some(1) && !errors.contains("training 1 of"), "{errors}");

    // Other settings beside it leave its tables, and a cell that is cut short is computed again.
    let (status, good, errors) = ablate(&[]);
    assert!(status.success() && !good.contains("diverged"), "{good}{errors}");
    let kept = format!("ablation-{}.txt", &json["settings"].as_str().unwrap()[..8]);
    assert_eq!(read(&kept), text);
    let json: serde_json::Value = serde_json::from_str(&read("ablation.json")).unwrap();
    let settings = json["tables"][0]["rows"][2]["cells"][0]["settings"].as_str().unwrap();
    let cell = line.path("cells").join(format!("cell-{}.json", &settings[..8]));
    std::fs::write(&cell, "").unwrap();
    let (status, again, errors) = ablate(&[]);
    assert!(
        status.success() && errors.contains("will be computed again") && errors.contains("training 5 of 5"),
        "{errors}"
    );
    assert_eq!(again, good);

    let lock = std::fs::File::open(line.path("cells/ablation.lock")).unwrap();
    lock.lock().unwrap();
    let (status, _, errors) = ablate(&[]);
    assert!(status.code() == Some(2) && errors.contains("another ablation is computing"), "{errors}");
}

#[test]
fn an_ablation_that_was_killed_ends_with_the_tables_of_one_that_was_not() {
    let line = masked();
    let arguments = |out: &'static str, more: &[&'static str]| {
        let common = ["ablate", "--data", "parts", "--backbone", "small.onnx", "--taps", "fine,coarse", "--size", "32"];
        let rest = ["--normalize", "unit", "--hold-out", "4", "--blocks", "2", "--epochs", "12", "--cache", "cache"];
        [&common[..], &rest, &["--tables", "a,c", "--seeds", "2,1", "--out", out], more].concat()
    };
    let (status, listed, errors) = program(&line, &arguments("whole", &["--list"]));
    assert!(status.success(), "{errors}");
    assert_eq!(
        listed.matches("to do").count(),
        12,
        "six trainings with two seeds, of which one is table (c)'s: {listed}"
    );
    assert!(listed.contains("a ICG+MIM+Intra, c logps, c entropy, c logps+entropy"), "{listed}");
    assert!(listed.contains("12 trainings, 0 finished; the others take about"), "{listed}");
    assert!(!line.path("whole/ablation.txt").exists());

    let (status, text, errors) = program(&line, &arguments("whole", &[]));
    assert!(status.success(), "{errors}");
    let read = |file: &str| std::fs::read_to_string(line.path(file)).unwrap();
    assert_eq!(text, read("whole/ablation.txt"));

    // Killed as soon as there is a cell, and so in another one.
    let mut command = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
    command.args(arguments("pieces", &[])).current_dir(line.folder.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let cells = |folder: &str| {
        let entries = std::fs::read_dir(line.path(folder)).into_iter().flatten().map(|e| e.unwrap().file_name());
        entries.filter(|n| n.to_string_lossy().starts_with("cell-") && n.to_string_lossy().ends_with(".json")).count()
    };
    while cells("pieces") == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let finished = cells("pieces");
    assert!((1..12).contains(&finished), "{finished} of 12 cells");
    let (_, listed, _) = program(&line, &arguments("pieces", &["--list"]));
    assert_eq!(listed.matches("finished").count(), finished + 1, "{listed}");
    let (status, again, errors) = program(&line, &arguments("pieces", &[]));
    assert!(status.success() && errors.contains(&format!("training {} of 12", finished + 1)), "{errors}");
    assert_eq!(again, text);
    for file in ["ablation.csv", "ablation.json", "ablation.html"] {
        assert_eq!(read(&format!("whole/{file}")), read(&format!("pieces/{file}")), "{file}");
    }

    // Means and deviations follow from the cells; the text has them in percent, and so has the page.
    let json: serde_json::Value = serde_json::from_str(&read("whole/ablation.json")).unwrap();
    let (csv, html) = (read("whole/ablation.csv"), read("whole/ablation.html"));
    let mut rows = 0;
    for table in json["tables"].as_array().unwrap() {
        for row in table["rows"].as_array().unwrap() {
            let of_seeds = |figure: &str| {
                let of_cell = |cell: &serde_json::Value| {
                    let classes = cell["classes"].as_object().unwrap();
                    let sum = classes.values().map(|class| class[figure].as_f64().unwrap()).sum::<f64>();
                    sum / classes.len() as f64
                };
                row["cells"].as_array().unwrap().iter().map(of_cell).collect::<Vec<_>>()
            };
            let mut told = Vec::new();
            for (name, figure) in [("image_auroc", "image"), ("pixel_auroc", "pixel")] {
                let [a, b] = of_seeds(figure)[..] else { panic!("two seeds") };
                let (mean, deviation) = ((a + b) / 2.0, (a - b).abs() / 2f64.sqrt());
                assert!((row[name]["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
                assert!((row[name]["deviation"].as_f64().unwrap() - deviation).abs() < 1e-12);
                // Latents so far away are sure of their class: entropy does not see these stains.
                assert!((0.0..=1.0).contains(&mean) && (mean > 0.9 || row["criterion"] != "logps"), "{row}");
                told.push(format!("{:.1} +- {:.1}", 100.0 * mean, 100.0 * deviation));
            }
            assert!(text.lines().any(|line| told.iter().all(|told| line.contains(told))), "{told:?} in {text}");
            assert!(told.iter().all(|told| html.contains(&told.replace("+-", "&plusmn;"))), "{told:?}");
            let criterion = row["criterion"].as_str().unwrap();
            let (letter, name) = (table["table"].as_str().unwrap(), row["row"].as_str().unwrap());
            let begins = format!("{letter},{name},{criterion},2,");
            let numbers =
                csv.lines().find_map(|line| line.strip_prefix(&begins)).unwrap_or_else(|| panic!("{begins}: {csv}"));
            let numbers = numbers.split(',').map(|number| number.parse().unwrap()).collect::<Vec<f64>>();
            let expected = [("image_auroc", "mean"), ("image_auroc", "deviation"), ("pixel_auroc", "mean")];
            let expected = expected.map(|(figure, what)| row[figure][what].as_f64().unwrap());
            assert_eq!(numbers[..3], expected, "{begins}");
            rows += 1;
        }
    }
    assert_eq!(rows, 9);

    // Other settings have cells of their own; parts that are off already cannot be switched off.
    let (_, listed, _) = program(&line, &arguments("whole", &["--images", "6", "--list"]));
    assert_eq!(listed.matches("to do").count(), 12, "{listed}");
    let (status, _, errors) = program(&line, &arguments("whole", &["--without", "entropy"]));
    assert!(status.code() == Some(2) && errors.contains("HGAD with all its parts"), "{errors}");
}

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

/// A network that was trained nowhere, and knows that parts are not magenta: the map is `red + blue - 2 green` where it is highest in
/// 2x2 pixels, the score is that of the whole picture.
fn foreign_network() -> Vec<u8> {
    let mut graph = GraphWriter::default();
    let weights = graph.f32("colours", &[1, 3, 1, 1], &[1.0, -2.0, 1.0]);
    let attributes = vec![ints("kernel_shape", &[1, 1])];
    graph.op_with("Conv", &["pixels", &weights], "magenta", attributes);
    let attributes = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    graph.op_with("MaxPool", &["magenta"], "map", attributes);
    graph.op_with("ReduceMax", &["map"], "score", vec![ints("axes", &[1, 2, 3])]);
    let input = float_value("pixels", &[1, 3, SIZE.height, SIZE.width]);
    encode(&graph.finish(13, vec![input], vec![float_value("map", &[]), float_value("score", &[])]))
}

#[test]
fn a_network_that_was_trained_elsewhere_is_judged_like_any_other() {
    let line = Line::steady();
    std::fs::write(line.path("foreign.onnx"), foreign_network()).unwrap();
    let run = |command: &str, arguments: &[&str]| {
        let mut process = Command::new(env!("CARGO_BIN_EXE_hgad-train"));
        process.arg(command).args(arguments).current_dir(line.folder.path());
        wait(process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let import = |outputs: &[&str], out: &str| {
        let common = ["foreign.onnx", "--data", "parts", "--hold-out", "4", "--normalize", "none", "--out", out];
        run("import", &[&common, outputs].concat())
    };
    for (outputs, out, levels) in [
        (&["--map", "map"][..], "map", 1),
        (&["--score", "score"], "score", 1),
        (&["--map", "map", "--score", "score"], "both", 2),
    ] {
        let (status, said, errors) = import(outputs, out);
        assert_eq!(status.code(), Some(0), "{errors}");
        assert!(said.contains("pixels, RGB, channels first, 32x32 pixels, normalisation none"), "{said}");
        assert!(said.contains("hgad calibrate") && !errors.contains("WARN"), "{said}{errors}");
        let bundle = hgad::bundle::Bundle::open(&line.path(out)).unwrap();
        let manifest = &bundle.manifest;
        assert_eq!((manifest.format_version, manifest.distance, manifest.levels.len()), (4, Distance::Map, levels));
        let mut inspector = Inspector::new(&bundle).unwrap();
        inspector.check_parity(&bundle).unwrap();
        // The score is the network's own where it gives one; another product is never seen.
        let inspection = inspector.inspect(&stained(steady(0, 70)), 1, &bundle.centers.references[1]).unwrap();
        assert_eq!(inspection.resembles, None);
        assert_eq!(inspection.score == inspection.levels[levels - 1], out != "map");
        let highest = inspection.map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(inspection.score == highest, out != "both", "{} of {highest}", inspection.score);
    }
    let (status, table, errors) = run("compare", &["map", "score", "both", "--images", "parts", "--test", "parts"]);
    assert_eq!(status.code(), Some(0), "{errors}");
    let row =
        |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().nth(1).unwrap();
    assert_eq!(["map ", "score ", "both "].map(row), ["1.0000"; 3], "{table}");

    RgbImage::from_fn(40, 36, |x, _| Rgb([if x < 20 { 255 } else { 0 }; 3])).save(line.path("mask.png")).unwrap();
    let mask = hgad::inspect::Mask::open(&line.path("mask.png")).unwrap();
    let images = line.good("nut", HoldOut::Held(4));
    let aim = hgad::calibrate::Aim { frr: 0.1, confidence: None };
    let request = hgad::calibrate::Request { mask: Some(&mask), ..hgad::calibrate::Request::new("nut", &images, aim) };
    for (name, maskable) in [("map", true), ("score", false), ("both", false)] {
        let bundle = hgad::bundle::Bundle::open(&line.path(name)).unwrap();
        let outcome = hgad::calibrate::calibrate(&bundle, &request);
        assert_eq!(outcome.is_ok(), maskable, "{name}");
        let refused = outcome.err().is_some_and(|error| error.report().contains("a mask would change nothing"));
        assert_eq!(refused, !maskable, "{name}");
    }
    for command in ["refit", "quantize"] {
        let (status, _, errors) = run(command, &["map", "--images", "parts", "--out", "again"]);
        assert_eq!(status.code(), Some(2), "{errors}");
        assert!(errors.contains("imported network") && !line.path("again").exists(), "{errors}");
    }
    let (status, _, errors) = import(&["--map", "heat"], "none");
    assert!(status.code() == Some(2) && errors.contains("its outputs are: map, score"), "{errors}");
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
