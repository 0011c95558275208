//! Every stage of a frame, and the whole frame, beside onnxruntime on the same graph, one thread each.
//!
//! `cargo bench` measures the embedded model; `HGAD_BENCH_MODEL=BUNDLE` another one. The peer runs in a Python process
//! (`HGAD_PYTHON`, or `python3`) with onnxruntime and numpy; where that is missing, its part says that it is skipped.
//! The ratio at the end alternates between the two, so that a machine whose speed drifts favours neither.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use hgad::bundle::Bundle;
use hgad::inspect::overlay::{Paint, overlay};
use hgad::inspect::{Inspector, mixture, preprocess};
use image::imageops::FilterType;

/// How often the two runtimes take turns for the ratio.
const ROUNDS: usize = 15;
/// Frames per turn.
const FRAMES_PER_ROUND: u64 = 10;

fn model() -> PathBuf {
    let embedded = || Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    std::env::var_os("HGAD_BENCH_MODEL").map_or_else(embedded, PathBuf::from)
}

fn stages(criterion: &mut Criterion) {
    let bundle = Bundle::open(&model()).expect("the bundle can be read");
    let mut inspector = Inspector::new(&bundle).expect("the bundle can be loaded");
    let golden = &bundle.golden.frames[0];
    let reference = &bundle.centers.references[golden.class];
    let camera = image::imageops::resize(&golden.image, 640, 480, FilterType::Triangle);
    let distances = || -> Vec<_> {
        let levels = golden.z.iter().zip(&bundle.centers.levels);
        levels.map(|(z, centers)| mixture::distance(z.view(), centers, golden.class)).collect()
    };
    let maps = inspector.level_maps(&golden.image, golden.class).expect("the golden frame can be inspected");
    let (_, map) = inspector.score_maps(&maps, reference);

    let mut group = criterion.benchmark_group("frame");
    group.sample_size(30);
    group.bench_function("preprocess (640x480 to input)", |b| {
        b.iter(|| preprocess::to_tensor(&preprocess::resize(black_box(&camera), bundle.manifest.input).unwrap()))
    });
    group.bench_function("network", |b| b.iter(|| inspector.latents(black_box(&golden.image)).unwrap()));
    group.bench_function("mixture", |b| b.iter(distances));
    group.bench_function("map and score", |b| b.iter(|| inspector.score_maps(black_box(&maps), reference)));
    group.bench_function("overlay", |b| {
        b.iter(|| overlay(black_box(&golden.image), &map, Paint { full: 1.0, rejected: Some(true) }))
    });
    group.bench_function("whole frame", |b| {
        b.iter(|| inspector.inspect(black_box(&camera), golden.class, reference).unwrap())
    });
    group.finish();
}

fn beside_onnxruntime(criterion: &mut Criterion) {
    let Some(mut peer) = Peer::start(&model().join("model.onnx")) else {
        println!("skipped: no Python with onnxruntime and numpy (set HGAD_PYTHON)");
        return;
    };
    let bundle = Bundle::open(&model()).expect("the bundle can be read");
    let mut inspector = Inspector::new(&bundle).expect("the bundle can be loaded");
    let image = &bundle.golden.frames[0].image;
    let mut group = criterion.benchmark_group("network beside onnxruntime");
    group.sample_size(20);
    group.bench_function("onnxruntime", |b| b.iter_custom(|frames| peer.run(frames)));
    group.finish();

    let mut ratios = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..FRAMES_PER_ROUND).for_each(|_| drop(black_box(inspector.latents(image).unwrap())));
            start.elapsed().as_secs_f64() / peer.run(FRAMES_PER_ROUND).as_secs_f64()
        })
        .collect::<Vec<_>>();
    ratios.sort_by(f64::total_cmp);
    println!(
        "network, tract / onnxruntime, one thread, {ROUNDS} alternating rounds: median {:.2} (min {:.2}, max {:.2})",
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );
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

criterion_group!(benches, stages, beside_onnxruntime);
criterion_main!(benches);
