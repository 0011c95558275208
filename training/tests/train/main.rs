//! Training end to end on a small synthetic line: a backbone of three convolutions, two products of sixteen images.

mod ablations;
mod again;
mod interruptions;
mod methods;
mod refusals;
mod reports;

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

/// Every file in a folder with its bytes.
fn files(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect()
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
