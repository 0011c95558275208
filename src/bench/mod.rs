//! What a frame costs on this machine: every stage, every operator of the network, the memory, one core and all of them.

pub mod allocation;
pub mod board;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use hgad_kernels::{Clamp, Pointwise, Scratch, Tier};
use image::RgbImage;
use image::imageops::FilterType;
use serde::Serialize;

use crate::bundle::Bundle;
use crate::camera::pixels::{Layout, PixelFormat};
use crate::heap::Starting;
use crate::inspect::{Inspection, Inspector, Layer, Timings};
use crate::{Error, Result, panic_text};
use allocation::Allocations;
use board::{Board, Condition};

/// Frames that are not counted: caches, page tables and clocks settle.
const WARM_UP: usize = 5;
/// The side of the matrices whose product shows what a core can do.
const PEAK_SIDE: usize = 512;
/// How often it is computed; the fastest counts.
const PEAK_ROUNDS: usize = 20;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Frames of every measurement.
    pub frames: usize,
    /// The camera's width and height in pixels.
    pub camera: (u32, u32),
    /// How many frames are inspected at once, and how many threads share each of them.
    pub shares: Vec<(usize, usize)>,
}

/// All that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The machine.
    pub board: Board,
    /// What it was like when all was done.
    pub condition: Condition,
    /// From the bundle's bytes to the first score.
    pub start: Start,
    /// The stages of one frame, in their order, and at last the whole.
    pub stages: Vec<Stage>,
    /// What one frame asks of the allocator.
    pub allocations: Allocations,
    /// Multiply-adds of a frame's network.
    pub multiply_adds: u64,
    /// Multiply-adds a second that one core reaches in a product of large matrices of floats.
    pub peak: f64,
    /// The network's operators, the longest first.
    pub layers: Vec<Operator>,
    /// The cores in use, in several ways.
    pub shares: Vec<Share>,
}

/// How long a start takes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Start {
    /// Admitting, loading and optimising the network, in ms.
    pub load_ms: f64,
    /// The parity gate over the bundle's golden frames, in ms.
    pub parity_ms: f64,
    /// The first frame, in ms.
    pub first_ms: f64,
}

/// The times of one stage.
#[derive(Debug, Clone, Serialize)]
pub struct Stage {
    /// What it does.
    pub name: &'static str,
    /// Half of the frames took no longer, in ms.
    pub p50_ms: f64,
    /// 99 of 100 frames took no longer, in ms.
    pub p99_ms: f64,
    /// The slowest frame, in ms.
    pub max_ms: f64,
}

/// One operator of the network.
#[derive(Debug, Clone, Serialize)]
pub struct Operator {
    /// Its name in the graph.
    pub name: String,
    /// What computes it.
    pub operator: String,
    /// The shape of its output.
    pub shape: Vec<usize>,
    /// The median, in ms.
    pub ms: f64,
    /// Its share of all operators' time.
    pub share: f64,
    /// Multiply-adds of a frame.
    pub multiply_adds: u64,
}

/// Several frames at once, and several threads for each.
#[derive(Debug, Clone, Serialize)]
pub struct Share {
    /// How many frames at once.
    pub frames: usize,
    /// How many threads share each of them.
    pub threads: usize,
    /// Frames a minute, all together.
    pub per_minute: f64,
    /// What each frame takes of the processor's time, on all cores together, in ms.
    pub cpu_ms: f64,
    /// What each of them took, from its pixels to its score.
    pub frame: Stage,
}

/// Measures `bundle` on `picture` (a frame of the bundle's first golden class, of any size).
///
/// # Errors
///
/// The bundle does not load, does not pass its parity gate, or fails on the picture.
pub fn measure(bundle: &Bundle, picture: &RgbImage, plan: &Plan) -> Result<Report> {
    let (width, height) = plan.camera;
    let camera = image::imageops::resize(picture, width, height, FilterType::Triangle);
    let class = bundle.golden.frames[0].class;
    let reference = &bundle.centers.references[class];
    let (mut inspector, start) = start(bundle, &camera)?;
    let inspect = |inspector: &mut Inspector| inspector.inspect(&camera, class, reference);
    for _ in 0..WARM_UP {
        inspect(&mut inspector)?;
    }
    let before = Allocations::now();
    let times = (0..plan.frames).map(|_| timed(|| inspect(&mut inspector))).collect::<Result<Vec<_>>>()?;
    let allocations = before.until_now(plan.frames as u64);
    // Before several networks are loaded, and large matrices multiplied: what one line holds.
    let peak_memory = Condition::now().peak_memory;
    let mut stages = vec![decode(&camera, plan.frames)?, convert(&camera, plan.frames)?];
    stages.extend(of_inspections(&times));
    let (layers, multiply_adds) = operators(&mut inspector, &camera, plan.frames)?;
    let shares = plan.shares.iter().map(|share| shared(bundle, &camera, *share, plan.frames)).collect::<Result<_>>()?;
    Ok(Report {
        board: Board::look(),
        condition: Condition { peak_memory, ..Condition::now() },
        start,
        stages,
        allocations,
        multiply_adds,
        peak: peak()?,
        layers,
        shares,
    })
}

fn start(bundle: &Bundle, camera: &RgbImage) -> Result<(Inspector, Start)> {
    let _starting = Starting::begin();
    let begun = Instant::now();
    let mut inspector = Inspector::new(bundle)?;
    let loaded = Instant::now();
    inspector.check_parity(bundle)?;
    let checked = Instant::now();
    let class = bundle.golden.frames[0].class;
    inspector.inspect(camera, class, &bundle.centers.references[class])?;
    let start = Start { load_ms: ms(loaded - begun), parity_ms: ms(checked - loaded), first_ms: ms(checked.elapsed()) };
    Ok((inspector, start))
}

/// How long an inspection's stages took, and it in all.
fn timed(inspect: impl FnOnce() -> Result<Inspection>) -> Result<(Timings, Duration)> {
    let begun = Instant::now();
    let inspection = inspect()?;
    Ok((inspection.timings, begun.elapsed()))
}

/// What a camera that sends JPEG costs before all else.
fn decode(camera: &RgbImage, frames: usize) -> Result<Stage> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90);
    camera
        .write_with_encoder(encoder)
        .map_err(|error| Error::device("the picture cannot be encoded").because(error))?;
    let layout = Layout::unpadded(PixelFormat::Mjpg, camera.width(), camera.height());
    Ok(Stage::of("decode MJPG", conversions(layout, &bytes, frames)?))
}

/// What one that sends bare pixels costs instead. It takes as long whatever they show.
fn convert(camera: &RgbImage, frames: usize) -> Result<Stage> {
    let layout = Layout::unpadded(PixelFormat::Yuyv, camera.width(), camera.height());
    let bytes = vec![128; layout.bytes().unwrap_or_default()];
    Ok(Stage::of("convert YUYV", conversions(layout, &bytes, frames)?))
}

fn conversions(layout: Layout, bytes: &[u8], frames: usize) -> Result<Vec<Duration>> {
    let converted = || -> Result<Duration> {
        let begun = Instant::now();
        layout.to_rgb(&[bytes])?;
        Ok(begun.elapsed())
    };
    (0..frames).map(|_| converted()).collect()
}

fn of_inspections(times: &[(Timings, Duration)]) -> [Stage; 4] {
    let stage = |name, of: fn(&(Timings, Duration)) -> Duration| Stage::of(name, times.iter().map(of).collect());
    [
        stage("preprocess", |(stages, _)| stages.preprocess),
        stage("network", |(stages, _)| stages.network),
        stage("score", |(stages, _)| stages.score),
        stage("pixels to score", |(_, whole)| *whole),
    ]
}

fn operators(inspector: &mut Inspector, camera: &RgbImage, frames: usize) -> Result<(Vec<Operator>, u64)> {
    let layers = inspector.profile(camera, frames)?;
    let whole = layers.iter().map(|layer| layer.time).sum::<Duration>();
    let multiply_adds = layers.iter().map(|layer| layer.multiply_adds).sum();
    let operator = |layer: Layer| Operator {
        ms: ms(layer.time),
        share: layer.time.as_secs_f64() / whole.as_secs_f64(),
        name: layer.name,
        operator: layer.operator,
        shape: layer.shape,
        multiply_adds: layer.multiply_adds,
    };
    let mut operators = layers.into_iter().map(operator).collect::<Vec<_>>();
    operators.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    Ok((operators, multiply_adds))
}

/// `lanes` inspectors, each with a network of its own that `threads` share, inspect `frames` frames each, all at the same time.
fn shared(bundle: &Bundle, camera: &RgbImage, (lanes, threads): (usize, usize), frames: usize) -> Result<Share> {
    let class = bundle.golden.frames[0].class;
    let reference = &bundle.centers.references[class];
    let ready = Barrier::new(lanes);
    let lane = || -> Result<([Duration; 2], Instant, Vec<Duration>)> {
        let warm = || -> Result<Inspector> {
            let mut inspector = Inspector::with_threads(bundle, threads)?;
            (0..WARM_UP).try_for_each(|_| inspector.inspect(camera, class, reference).map(drop))?;
            Ok(inspector)
        };
        let (mut inspector, used, begun) = (begin_together(&ready, warm)?, processor_time()?, Instant::now());
        let times = (0..frames).map(|_| timed(|| inspector.inspect(camera, class, reference)).map(|(_, time)| time));
        let times = times.collect::<Result<Vec<_>>>()?;
        Ok(([used, processor_time()?], begun, times))
    };
    let (mut used, mut begun, mut times) = (Vec::new(), Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let lanes = (0..lanes).map(|_| scope.spawn(lane)).collect::<Vec<_>>();
        lanes.into_iter().try_for_each(|thread| {
            let panicked = |_| Err(Error::device("an inspection panicked"));
            let (processor, start, of_lane) = thread.join().unwrap_or_else(panicked)?;
            used.extend(processor);
            begun.push(start);
            times.extend(of_lane);
            Ok::<_, Error>(())
        })
    })?;
    let took = begun.iter().min().map_or(0.0, |start| start.elapsed().as_secs_f64());
    let per_minute = (lanes * frames) as f64 / took * 60.0;
    let used = used.iter().max().zip(used.iter().min()).map_or(Duration::ZERO, |(after, before)| *after - *before);
    let cpu_ms = ms(used) / (lanes * frames) as f64;
    Ok(Share { frames: lanes, threads, per_minute, cpu_ms, frame: Stage::of("pixels to score", times) })
}

/// What `prepare` gives, when all have been so far that wait at `ready`: also those that failed or panicked, or the rest would wait for
/// them for ever.
fn begin_together<T>(ready: &Barrier, prepare: impl FnOnce() -> Result<T>) -> Result<T> {
    let panicked = |panic: Box<dyn std::any::Any + Send>| {
        Err(Error::device("an inspection panicked").because(panic_text(panic.as_ref()).to_owned()))
    };
    let prepared = catch_unwind(AssertUnwindSafe(prepare)).unwrap_or_else(panicked);
    ready.wait();
    prepared
}

/// What all of this process's threads have taken of the processor so far.
fn processor_time() -> Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) } != 0 {
        return Err(Error::device("the processor's time is not known").because(std::io::Error::last_os_error()));
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Multiply-adds a second of the fastest of several products of large matrices of floats, on one core, by our own kernels.
fn peak() -> Result<f64> {
    let failed = |error| Error::device("the kernels fail").because(error);
    let values = |scale: f32| (0..PEAK_SIDE * PEAK_SIDE).map(|i| (i % 7) as f32 * scale).collect::<Vec<_>>();
    let (weights, image, bias) = (values(0.1), values(0.2), vec![0.0; PEAK_SIDE]);
    let tier = Tier::detect().map_err(failed)?;
    let shape = (PEAK_SIDE, PEAK_SIDE, PEAK_SIDE);
    let product = Pointwise::new(tier, shape, &weights, &bias, Clamp::NONE).map_err(failed)?;
    let (mut output, mut scratch) = (vec![0.0; product.output_len()], Scratch::new());
    let mut fastest = Duration::MAX;
    for _ in 0..PEAK_ROUNDS {
        let begun = Instant::now();
        product.run(std::hint::black_box(&image), None, &mut output, &mut scratch).map_err(failed)?;
        fastest = fastest.min(begun.elapsed());
    }
    Ok((PEAK_SIDE as f64).powi(3) / fastest.as_secs_f64())
}

impl Stage {
    /// From the times of one frame at least.
    fn of(name: &'static str, mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |share: f64| ms(times[((times.len() - 1) as f64 * share).ceil() as usize]);
        Stage { name, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_told_by_its_slow_frames_too() {
        let stage = Stage::of("network", (1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!((stage.p50_ms, stage.p99_ms, stage.max_ms), (101.0, 199.0, 200.0));
        let one = Stage::of("network", vec![Duration::from_millis(3)]);
        assert_eq!((one.p50_ms, one.p99_ms, one.max_ms), (3.0, 3.0, 3.0));
    }

    #[test]
    fn who_panics_before_the_start_keeps_nobody_waiting() {
        let ready = Barrier::new(2);
        std::thread::scope(|scope| {
            let sound = scope.spawn(|| begin_together(&ready, || Ok(7)));
            let error = begin_together(&ready, || -> Result<()> { panic!("no such layer") }).unwrap_err();
            assert!(
                error.to_string().contains("panicked") && format!("{error:?}").contains("no such layer"),
                "{error:?}"
            );
            assert_eq!(sound.join().unwrap().unwrap(), 7);
        });
    }

    #[test]
    fn a_core_multiplies_and_adds() {
        assert!(peak().unwrap() > 1e6);
    }
}
