//! Parts that travel through the camera's picture, through the real program: a rendered belt comes through a pipe, and a PLC counts
//! how far it has moved.

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::plc::Plc;
use common::{parts, records, run};
use hgad::synthetic::{DefectKind, Product, Strip, Truth};
use rmodbus::server::context::ModbusContext;
use serde_json::Value;

/// Pixels of the camera's picture: 160 mm of belt, and a part's own picture is 64 mm of it.
const WIDTH: u32 = 640;
const HEIGHT: usize = 256;
/// Pixels that the belt moves from one frame to the next.
const STEP: i64 = 20;
const SEED: u64 = 21;
/// Between two frames, at the least.
const BETWEEN: Duration = Duration::from_millis(25);
/// So long a busy machine may take to ask for the count.
const PATIENCE: Duration = Duration::from_secs(2);
/// What lies on the belt: where, and what is wrong with it.
const PARTS: [(i64, Option<DefectKind>); 6] = [
    (700, None),
    (1150, Some(DefectKind::Missing)),
    (1500, None),
    (1800, Some(DefectKind::Stain)),
    (2250, None),
    (2600, Some(DefectKind::BrokenEdge)),
];

fn belt() -> Strip {
    let parts = PARTS.iter().zip(0..);
    parts.fold(Strip::empty(Product::Gear, SEED), |belt, ((at, defect), number)| {
        belt.with(*at, Truth { product: Product::Gear, defect: *defect }, SEED, number)
    })
}

/// A line whose camera is a pipe that the test feeds.
struct Line {
    folder: tempfile::TempDir,
    plc: Plc,
}

impl Line {
    fn new() -> Self {
        let line = Line { folder: tempfile::tempdir().unwrap(), plc: Plc::start() };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(Command::new("mkfifo").arg(line.path("frames")).status().unwrap().success());
        let text = format!(
            "format_version = 1\n[line]\nname = \"gears\"\nclass = \"gear\"\nmodel = \"{root}/models/demo\"\n\
             calibration = \"{root}/calibration/demo-gear.toml\"\ntravel_mm = 160\npulse_ms = 40\ntolerance_ms = 2000\n\
             [camera]\nkind = \"pipe\"\nformat = \"PNM\"\nwidth = {WIDTH}\nheight = {HEIGHT}\ntimeout_ms = 60000\n\
             command = [\"cat\", \"{}\"]\n\
             [belt]\nkind = \"modbus\"\nserver = \"{}\"\nholding_register = 0\nmm_per_count = 0.25\nperiod_ms = 5\n\
             [free_run]\nempty_belt = \"empty-belt.toml\"\ndirection = \"right\"\nmm_per_pixel = 0.25\n\
             crop_mm = 64\nlongest_mm = 60\n\
             [output]\nkind = \"none\"\n[audit]\nfile = \"audit.jsonl\"\npictures = \"pictures\"\nsample = 1.0\n",
            line.path("frames").display(),
            line.plc.address,
            root = root.display(),
        );
        fs::write(line.path("line.toml"), text).unwrap();
        line
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    fn config(&self) -> String {
        self.path("line.toml").display().to_string()
    }

    /// Sends a frame of the belt at each of these places, until nobody reads any more.
    fn feed(&self, belt: Strip, places: Vec<i64>) -> Feed {
        let (path, plc, stop) = (self.path("frames"), self.plc.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let Some(mut pipe) = pipe(&path, || stopped.load(Ordering::Relaxed)) else { return };
            let unasked = plc.reads();
            for (k, place) in places.into_iter().enumerate() {
                let frame = belt.noisy(place, WIDTH, k as u32);
                plc.tables(|tables| tables.set_holding(0, place as u16).unwrap());
                let set = plc.reads();
                // The count is told before the frame comes: who asks for the next one has heard the one before. A program that only looks at
                // pictures asks for none.
                let begun = Instant::now();
                let patience = if set > unasked { PATIENCE } else { BETWEEN };
                while plc.reads() < set + 2 && begun.elapsed() < patience && !stopped.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                std::thread::sleep(BETWEEN.saturating_sub(begun.elapsed()));
                let bytes = [format!("P6\n{WIDTH} {HEIGHT}\n255\n").as_bytes(), frame.as_raw()].concat();
                if stopped.load(Ordering::Relaxed) || pipe.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        Feed { stop, thread }
    }

    fn learn(&self) {
        let feed = self.feed(Strip::empty(Product::Gear, SEED), (0..60).map(|k| k * 37).collect());
        let (code, stdout, stderr) = run(&["camera", "empty-belt", "--config", &self.config(), "--frames", "40"]);
        assert!(code == 0 && stdout.contains("learned from 40 frames of 640x256"), "{stdout}{stderr}");
        feed.end();
    }
}

struct Feed {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Feed {
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// The end of a pipe that a program reads from, once it does, or none once it `is_over`: opening it would wait for ever for a program that did
/// not start.
fn pipe(path: &Path, mut is_over: impl FnMut() -> bool) -> Option<File> {
    loop {
        match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path) {
            // The first one stays open until then: else the program would read the end of its pipe.
            Ok(first) => {
                let pipe = OpenOptions::new().write(true).open(path).unwrap();
                drop(first);
                return Some(pipe);
            }
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENXIO), "{}: {error}", path.display()),
        }
        if is_over() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The program while it runs; it ends with the test, however that ends.
struct Running(Child);

impl Running {
    /// The end of the pipe that it reads from, once it does.
    fn pipe(&mut self, path: &Path) -> File {
        let begun = Instant::now();
        let is_over = || {
            assert!(begun.elapsed() < Duration::from_secs(60), "it reads no frame");
            self.0.try_wait().unwrap().is_some()
        };
        pipe(path, is_over).expect("it ended before it read a frame")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_part_on_a_moving_belt_is_found_once_and_has_the_fate_that_it_should() {
    let line = Line::new();
    line.learn();
    // The belt stands for a while with a part in the middle of the picture and another one entering.
    let stop = 1500 + 448 + 10;
    let places = (500..stop).step_by(STEP as usize).chain([stop; 40]).chain((stop..6000).step_by(STEP as usize));
    let feed = line.feed(belt(), places.collect());
    let (summary, wanted) = (line.path("summary.json"), PARTS.len().to_string());
    let args = ["run", "--config", &line.config(), "--max-parts", &wanted, "--json", summary.to_str().unwrap()];
    let (code, stdout, stderr) = run(&args);
    feed.end();
    assert_eq!(code, 0, "{stdout}{stderr}");
    let parts = parts(&line.path("audit.jsonl"));
    assert_eq!(parts.len(), PARTS.len(), "{parts:#?}");
    for (part, (_, defect)) in parts.iter().zip(PARTS) {
        let (verdict, fate) = if defect.is_some() { ("reject", "rejected") } else { ("pass", "passed") };
        assert_eq!(
            (&part["verdict"], &part["fate"]),
            (&verdict.into(), &fate.into()),
            "{defect:?}, {}: {part:#}",
            part["detail"]
        );
        let frames = part["frames"].as_array().unwrap();
        assert!((1..=3).contains(&frames.len()), "{part:#}");
        let worst = frames.iter().filter_map(|frame| frame["score"].as_f64()).fold(f64::MIN, f64::max);
        assert!((part["score"].as_f64().unwrap() - worst).abs() < 1e-6, "the worst frame counts: {part:#}");
        assert!(frames.iter().any(|frame| frame["frame"] == part["frame"]), "{part:#}");
        let nearest = frames.iter().map(|frame| frame["offset_mm"].as_f64().unwrap().abs()).fold(f64::MAX, f64::min);
        assert!(nearest < 10.0, "it is inspected in the middle: {part:#}");
    }
    let alarms = records(&line.path("audit.jsonl")).into_iter().filter(|record| record["kind"] == "alarm");
    assert_eq!(alarms.collect::<Vec<_>>(), [] as [Value; 0]);

    // Each was kept as it was judged, and scores the same again.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (model, calibration) = (root.join("models/demo"), root.join("calibration/demo-gear.toml"));
    let audit = line.path("audit.jsonl").display().to_string();
    let again = ["--model", model.to_str().unwrap(), "--calibration", calibration.to_str().unwrap()];
    let (code, stdout, stderr) = run(&[&["audit", "replay", &audit], &again[..]].concat());
    assert!(code == 0 && stdout.contains(&format!("{:>8}", PARTS.len())), "{stdout}{stderr}");
    let (code, stdout, stderr) = run(&["audit", "verify", &audit]);
    assert_eq!(code, 0, "{stdout}{stderr}");
}

#[test]
fn the_gate_can_be_looked_at_and_parts_be_taken_for_a_calibration() {
    let line = Line::new();
    let config = line.config();
    // Before the belt is learned it says so.
    let feed = line.feed(belt(), (1300..3000).step_by(STEP as usize).collect());
    let snap = line.path("snap.png").display().to_string();
    let (code, stdout, stderr) = run(&["camera", "snap", "--config", &config, "--frames", "1", "--out", &snap]);
    feed.end();
    assert!(code == 0 && stdout.contains("the empty belt is not learned yet"), "{stdout}{stderr}");
    let (code, _, stderr) = run(&["run", "--config", &config]);
    assert!(
        code == 2 && stderr.contains("free_run.empty_belt: the empty belt") && stderr.contains("empty-belt --config"),
        "{stderr}"
    );

    // A belt with parts on it is not learned.
    let one = Truth { product: Product::Gear, defect: None };
    let one = Strip::empty(Product::Gear, SEED).with(1000, one, SEED, 0);
    let feed = line.feed(one, (0..60).map(|k| k * 37).collect());
    let (code, _, stderr) = run(&["camera", "empty-belt", "--config", &config, "--frames", "40"]);
    feed.end();
    // Which of both is found first depends on which frames a busy machine lost.
    let refusals = ["show something on the belt", "of the picture is never the same"];
    assert!(code == 1 && refusals.iter().any(|refusal| stderr.contains(refusal)), "{stderr}");
    assert!(!line.path("empty-belt.toml").exists());
    line.learn();

    // One part is whole in the gate, and a second one enters.
    let feed = line.feed(belt(), vec![1150 + 448 + 64; 60]);
    let (code, stdout, stderr) = run(&["camera", "snap", "--config", &config, "--frames", "1", "--out", &snap]);
    feed.end();
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("the gate shows 160.0 mm of the belt, which moves right"), "{stdout}");
    assert!(stdout.contains("part 1: ") && stdout.contains("snap.part-1.png, 256x256"), "{stdout}");
    assert!(stdout.contains("part 2: ") && stdout.contains("; it enters"), "{stdout}");
    assert_eq!(image::open(line.path("snap.part-1.png")).unwrap().to_rgb8().dimensions(), (256, 256));

    let feed = line.feed(belt(), (900..6000).step_by(STEP as usize).collect());
    let taken = line.path("taken").display().to_string();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo").display().to_string();
    let out = line.path("gear.toml").display().to_string();
    let live = ["--live", "3", "--config", &config, "--images", &taken, "--out", &out, "--few-parts"];
    let (_, stdout, _) = run(&[&["calibrate", "--model", &model, "--class", "gear"], &live[..]].concat());
    feed.end();
    assert!(stdout.contains("taken       3 pictures into"), "{stdout}");
    let pictures = fs::read_dir(&taken).unwrap().map(|entry| image::open(entry.unwrap().path()).unwrap().to_rgb8());
    assert!(pictures.map(|picture| picture.dimensions()).all(|size| size == (256, 256)));

    let feed = line.feed(Strip::empty(Product::Gear, SEED), (0..2000).map(|k| k * STEP).collect());
    let (_, stdout, stderr) = run(&["check", "--config", &config, "--seconds", "1"]);
    feed.end();
    let row = stdout.lines().find(|row| row.starts_with("gate")).unwrap_or_default();
    assert!(
        row.contains("ok") && row.contains("160.0 mm of the belt") && row.contains("0 show something"),
        "{stdout}{stderr}"
    );
    assert!(stdout.contains("a part is inspected up to 3 times"), "{stdout}");
}

#[test]
fn such_a_line_is_simulated_as_its_file_says() {
    let line = Line::new();
    let (code, stdout, stderr) = run(&["simulate", "--config", &line.config(), "--hours", "1", "--seeds", "2"]);
    assert!(code == 0 && stdout.contains("promises  all kept") && stdout.contains(" unfollowed"), "{stdout}{stderr}");
    let (code, stdout, stderr) =
        run(&["simulate", "--config", &line.config(), "--hours", "1", "--parts-per-minute", "1e5"]);
    assert!(code == 2 && stderr.contains("the simulation has room for"), "{stdout}{stderr}");
    let (code, stdout, stderr) =
        run(&["simulate", "--config", &line.config(), "--hours", "1", "--inspection-ms", "60..10"]);
    assert!(code == 2 && stderr.contains("the shorter time first"), "{stdout}{stderr}");
}

#[test]
fn images_of_a_folder_may_be_shown_again_and_those_of_a_device_may_not() {
    let line = Line::new();
    line.learn();
    let images = line.path("images");
    fs::create_dir(&images).unwrap();
    let empty = Strip::empty(Product::Gear, SEED);
    (0..8).for_each(|k: u32| empty.noisy(0, WIDTH, k).save(images.join(format!("{k}.png"))).unwrap());
    let piped = fs::read_to_string(line.path("line.toml")).unwrap();
    let (before, behind) = (piped.find("[camera]").unwrap(), piped.find("[belt]").unwrap());
    let folder = "[camera]\nkind = \"folder\"\npath = \"images\"\nrate = 50\nrepeat = 4\n";
    fs::write(line.path("line.toml"), [&piped[..before], folder, &piped[behind..]].concat()).unwrap();
    let (code, stdout, stderr) = run(&["run", "--config", &line.config()]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let alarms = |audit: &str| {
        let records = records(&line.path(audit)).into_iter();
        records.filter_map(|record| record["alarm"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert!(alarms("audit.jsonl").is_empty(), "{:?}", alarms("audit.jsonl"));

    // The same from a program that stands for a device.
    fs::write(
        line.path("line.toml"),
        piped.replace("audit.jsonl", "piped.jsonl").replace("\"pictures\"", "\"others\""),
    )
    .unwrap();
    let mut child =
        Running(Command::new(env!("CARGO_BIN_EXE_hgad")).args(["run", "--config", &line.config()]).spawn().unwrap());
    let mut pipe = child.pipe(&line.path("frames"));
    let pictures =
        (0..8).map(|k| [format!("P6\n{WIDTH} {HEIGHT}\n255\n").as_bytes(), empty.noisy(0, WIDTH, k).as_raw()].concat());
    let pictures = pictures.collect::<Vec<_>>();
    let sent = pictures.iter().cycle().take(100).find(|picture| {
        pipe.write_all(picture).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        line.path("piped.jsonl").exists() && alarms("piped.jsonl").contains(&"gate-fault".to_owned())
    });
    drop(child);
    assert!(sent.is_some(), "a device's are not told of: {:?}", alarms("piped.jsonl"));
}
