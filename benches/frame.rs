//! Every stage of a frame, and the whole frame, beside onnxruntime on the same graph, one thread each; and the load.
//!
//! `cargo bench` measures the embedded model; `HGAD_BENCH_MODEL=BUNDLE` another one. The peer runs in a Python process
//! (`HGAD_PYTHON`, or `python3`) with onnxruntime and numpy; where that is missing, its part says that it is skipped.
//! The ratios at the end alternate between the two, so that a machine whose speed drifts favours neither.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use hgad::audit::{AuditLog, PartContext, RunStart};
use hgad::bundle::Bundle;
use hgad::config::AuditConfig;
use hgad::digest::Digest;
use hgad::inspect::{Inspector, mixture, preprocess};
use hgad::line::{Evidence, Fate, Judgement, Latency, PartId, PartRecord, Verdict};
use hgad::time::{Monotonic, StampSource};
use image::RgbImage;
use image::imageops::FilterType;
use ndarray::Array2;

/// How often the two runtimes take turns for the ratios.
const ROUNDS: usize = 15;
/// Frames per turn.
const FRAMES_PER_ROUND: u64 = 10;

fn model() -> PathBuf {
    let embedded = || Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    std::env::var_os("HGAD_BENCH_MODEL").map_or_else(embedded, PathBuf::from)
}

type Stage = (&'static str, fn(&mut Line));

/// What the line does with each frame, in its order.
const STAGES: [Stage; 6] = [
    ("preprocess", Line::preprocess),
    ("network", Line::network),
    ("score", Line::score),
    ("map", Line::map),
    ("audit", Line::audit),
    ("whole frame", Line::whole_frame),
];

/// A golden frame, as a camera of 640 x 480 sees it, before every stage.
struct Line {
    bundle: Bundle,
    inspector: Inspector,
    camera: RgbImage,
    maps: Vec<Array2<f32>>,
    record: PartRecord,
    log: AuditLog,
    /// The audit, to see when a record is in it.
    written: File,
    length: u64,
    _folder: tempfile::TempDir,
}

impl Line {
    fn new() -> Self {
        let bundle = Bundle::open(&model()).expect("the bundle can be read");
        let mut inspector = Inspector::new(&bundle).expect("the bundle can be loaded");
        let golden = &bundle.golden.frames[0];
        let camera = image::imageops::resize(&golden.image, 640, 480, FilterType::Triangle);
        let maps = inspector.level_maps(&golden.image, golden.class).expect("the golden frame can be inspected");
        let folder = tempfile::tempdir().expect("a folder can be made");
        let config = AuditConfig::in_file(folder.path().join("audit.jsonl"));
        let calibrations = [("product".to_owned(), bundle.digest)].into();
        let start = RunStart {
            line: "bench".into(),
            dry_run: false,
            config: None,
            camera: "bench".into(),
            output: "none".into(),
            bundle: bundle.digest,
            approvals: Vec::new(),
            drift: Default::default(),
            calibrations,
        };
        let log = AuditLog::open(&config, &start).expect("the audit can be written");
        let written = File::open(&config.file).expect("the audit is there");
        let length = written.metadata().expect("a file has a length").len();
        let record = record(bundle.digest);
        Line { bundle, inspector, camera, maps, record, log, written, length, _folder: folder }
    }

    /// From the camera's size to the network's input.
    fn preprocess(&mut self) {
        let image = preprocess::resize(black_box(&self.camera), self.bundle.manifest.input);
        black_box(preprocess::to_tensor(&image.expect("the frame has pixels")));
    }

    /// The network on an image that has its size already.
    fn network(&mut self) {
        let image = &self.bundle.golden.frames[0].image;
        black_box(self.inspector.latents(black_box(image)).expect("the network runs"));
    }

    /// The distances from the learned centers.
    fn score(&mut self) {
        let golden = &self.bundle.golden.frames[0];
        for (z, centers) in golden.z.iter().zip(&self.bundle.centers.levels) {
            black_box(mixture::distance(black_box(z).view(), centers, golden.class));
        }
    }

    /// The anomaly map and its maximum, which the threshold is for.
    fn map(&mut self) {
        let reference = &self.bundle.centers.references[self.bundle.golden.frames[0].class];
        black_box(self.inspector.score_maps(black_box(&self.maps), reference));
    }

    /// A decision, from the line's core to its place in the file's chain; forced onto the disk every 200 ms, as in a run.
    fn audit(&mut self) {
        let context = PartContext { bundle: self.bundle.digest, dry_run: false };
        self.log.part(black_box(&self.record), context).expect("the disk keeps up");
        let before = self.length;
        while self.length == before {
            std::thread::yield_now();
            self.length = self.written.metadata().expect("a file has a length").len();
        }
    }

    fn whole_frame(&mut self) {
        let class = self.bundle.golden.frames[0].class;
        let reference = &self.bundle.centers.references[class];
        black_box(self.inspector.inspect(black_box(&self.camera), class, reference).expect("the network runs"));
        self.audit();
    }
}

fn record(calibration: Digest) -> PartRecord {
    let (captured, travel) = (Monotonic::now(), Duration::from_millis(350));
    let ms = Duration::from_millis;
    let evidence = Evidence { levels: vec![7.5, 8.25, 6.125], place: Some((0.25, 0.75)) };
    PartRecord {
        part: PartId(123_456),
        lane: None,
        ticket: None,
        frame: Some(123_456),
        seen: None,
        origin: "/dev/video0".into(),
        class: "product".into(),
        captured,
        stamp: StampSource::EndOfFrame,
        planned: captured + travel,
        judgement: Some(Judgement { score: 7.654_321, threshold: 3.456_789, rejects: true, calibration, evidence }),
        picture_fault: None,
        latency: Some(Latency { wait: ms(1), preprocess: ms(2), network: ms(13), score: ms(4), total: ms(20) }),
        views: Vec::new(),
        verdict: Verdict::Reject,
        slack_ms: 330.123,
        fired: Some(captured + travel),
        confirmed: None,
        challenge: false,
        fate: Fate::Rejected,
    }
}

fn stages(criterion: &mut Criterion) {
    let mut line = Line::new();
    let mut group = criterion.benchmark_group("frame");
    group.sample_size(30);
    for (name, stage) in STAGES {
        group.bench_function(name, |b| b.iter(|| stage(&mut line)));
    }
    group.finish();
}

fn load(criterion: &mut Criterion) {
    let bundle = Bundle::open(&model()).expect("the bundle can be read");
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    group.bench_function("read and verify the bundle", |b| b.iter(|| Bundle::open(black_box(&model())).unwrap()));
    group.bench_function("admit and optimise the network", |b| b.iter(|| Inspector::new(black_box(&bundle)).unwrap()));
    group.finish();
}

fn beside_onnxruntime(criterion: &mut Criterion) {
    let Some(mut peer) = Peer::start(&model().join("model.onnx")) else {
        println!("skipped: no Python with onnxruntime and numpy (set HGAD_PYTHON)");
        return;
    };
    let mut group = criterion.benchmark_group("network beside onnxruntime");
    group.sample_size(20);
    group.bench_function("onnxruntime", |b| b.iter_custom(|frames| peer.run(frames)));
    group.finish();

    let mut line = Line::new();
    let mut ratios = STAGES.map(|_| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        let spent = STAGES.map(|(_, stage)| {
            let start = Instant::now();
            (0..FRAMES_PER_ROUND).for_each(|_| stage(&mut line));
            start.elapsed()
        });
        let peer = peer.run(FRAMES_PER_ROUND);
        for (ratios, spent) in ratios.iter_mut().zip(spent) {
            ratios.push(spent.as_secs_f64() / peer.as_secs_f64());
        }
    }
    println!(
        "\nthe time of onnxruntime's network is 1; one thread, {ROUNDS} alternating rounds of {FRAMES_PER_ROUND} frames"
    );
    println!("{:<12} {:>8} {:>8} {:>8}", "stage", "median", "min", "max");
    for ((name, _), ratios) in STAGES.iter().zip(&mut ratios) {
        ratios.sort_by(f64::total_cmp);
        println!("{name:<12} {:>8.4} {:>8.4} {:>8.4}", ratios[ROUNDS / 2], ratios[0], ratios[ROUNDS - 1]);
    }
}

/// A Python process that runs the graph with onnxruntime as often as it is told and says how long that took.
struct Peer {
    process: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

const PEER: &str = "
import sys, time, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=['CPUExecutionProvider'])
feed = {i.name: numpy.full(i.shape, 117, numpy.float32) for i in session.get_inputs()}
session.run(None, feed)
print('ready', flush=True)
for line in sys.stdin:
    start = time.perf_counter_ns()
    for _ in range(int(line)): session.run(None, feed)
    print(time.perf_counter_ns() - start, flush=True)
";

impl Peer {
    fn start(model: &Path) -> Option<Self> {
        let python = std::env::var_os("HGAD_PYTHON").unwrap_or_else(|| "python3".into());
        let mut process = Command::new(python)
            .args(["-c", PEER])
            .arg(model)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let (ask, answer) = (process.stdin.take()?, BufReader::new(process.stdout.take()?));
        let mut peer = Peer { process, ask, answer };
        (peer.line()? == "ready").then_some(peer)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.answer.read_line(&mut line).ok()?;
        Some(line.trim().to_owned())
    }

    fn run(&mut self, frames: u64) -> Duration {
        writeln!(self.ask, "{frames}").expect("the peer reads");
        let answer = self.line().expect("the peer answers");
        Duration::from_nanos(answer.parse().expect("the peer answers with nanoseconds"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Nothing can be done about a process that is already gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

criterion_group!(benches, stages, load, beside_onnxruntime);
criterion_main!(benches);
