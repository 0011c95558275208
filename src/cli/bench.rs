//! `hgad bench`.

use std::path::PathBuf;

use crate::bench::board::{Board, Condition};
use crate::bench::{Operator, Plan, Report, Share, Stage, measure};
use crate::bundle::Bundle;
use crate::{Error, Result, dataset, demo, print};

const EXAMPLES: &str = r"Examples:
  # The first thing to run on a new board: the embedded model
  hgad bench

  # The line's own model, as a camera of 1280 x 720 feeds it
  hgad bench --model models/line3 --camera 1280x720

  # For scripts; all figures in ms, multiply-adds and bytes
  hgad bench --model models/line3 --json";

/// How many of the network's operators are shown.
const SHOWN: usize = 10;
/// Threads that make a frame less than so many times as fast are not worth the cores.
const WORTH: f64 = 1.15;
/// The longest bar of the table, in characters.
const BAR: f64 = 24.0;

/// Measure what a frame costs on this board
///
/// Runs a golden frame of the model (or --image) through every stage, again and again: how long each stage takes, which
/// operators of the network take longest and how near they come to what a core can do, what a frame asks of the allocator,
/// and how many parts a minute one core and all cores inspect. Nothing else should run meanwhile.
///
/// The network's kernels use the best instructions that the processor has; the variable HGAD_KERNELS chooses others
/// (portable, avx2, avxvnni, avx512, vnni; on ARM neon, dotprod).
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct BenchArgs {
    /// The bundle: a folder that hgad-train wrote; the embedded demo model otherwise
    #[arg(long, value_name = "BUNDLE")]
    model: Option<PathBuf>,
    /// A picture to measure with; a golden frame of the model otherwise
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// The camera's size in pixels
    #[arg(long, value_name = "WxH", default_value = "640x480", value_parser = size)]
    camera: (u32, u32),
    /// Frames of every measurement
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    frames: u32,
    /// How many cores to use: each number is tried as so many frames at once, one core each, and as one frame that so many
    /// threads share; 1 and all cores otherwise
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<Vec<u16>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn size(text: &str) -> std::result::Result<(u32, u32), String> {
    let parsed = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    parsed
        .filter(|(width, height)| (1..=16_384).contains(width) && (1..=16_384).contains(height))
        .ok_or_else(|| "write width x height in pixels, like 1280x720".to_owned())
}

pub fn run(args: &BenchArgs) -> Result<()> {
    let bundle = args.model.as_deref().map_or_else(demo::bundle, Bundle::open)?;
    let picture = match &args.image {
        Some(path) => dataset::read_rgb(path)?,
        None => bundle.golden.frames[0].image.clone(),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts = args.threads.as_ref().map_or(vec![1, cores], |n| n.iter().map(|n| usize::from(*n)).collect());
    counts.dedup();
    let mut shares = counts.into_iter().flat_map(|count| [(1, count), (count, 1)]).collect::<Vec<_>>();
    shares.dedup();
    let plan = Plan { frames: args.frames as usize, camera: args.camera, shares };
    let report = measure(&bundle, &picture, &plan)?;
    if args.json {
        let json = serde_json::to_string_pretty(&report);
        return print::line(json.map_err(|error| Error::device("the figures cannot be written").because(error))?);
    }
    print::line(text(args, &report, &bundle))
}

fn text(args: &BenchArgs, report: &Report, bundle: &Bundle) -> String {
    let model = args.model.as_ref().map_or("the embedded demo model".to_owned(), |path| path.display().to_string());
    let input = bundle.manifest.input;
    let (width, height) = args.camera;
    let mut lines = vec![
        board(&report.board),
        format!(
            "{model}, {} x {}, {:.0} million multiply-adds; a camera of {width} x {height}; {} frames",
            input.width,
            input.height,
            report.multiply_adds as f64 * 1e-6,
            args.frames
        ),
        String::new(),
        format!("{:<18} {:>9} {:>9} {:>9}", "ms per frame", "p50", "p99", "max"),
    ];
    let whole = report.stages.last().map_or(1.0, |stage| stage.p50_ms);
    lines.extend(report.stages.iter().map(|stage| stage_line(stage, whole)));
    lines.push(String::new());
    lines.push(format!("{:<34} {:>8} {:>6} {:>9} {:>7}", "longest operators", "ms", "share", "GMAC/s", "of peak"));
    lines.extend(report.layers.iter().take(SHOWN).map(|layer| operator_line(layer, report.peak)));
    let network = report.multiply_adds as f64 / report.layers.iter().map(|layer| layer.ms * 1e-3).sum::<f64>();
    lines.push(format!(
        "all {} of them: {:.1} GMAC/s, {:.0}% of the {:.1} that one core reaches in a product of large matrices of floats",
        report.layers.len(),
        network * 1e-9,
        100.0 * network / report.peak,
        report.peak * 1e-9
    ));
    lines.push(String::new());
    lines.extend(report.shares.iter().map(share_line));
    lines.push(advice(&report.shares));
    lines.push(format!(
        "start: network {:.0} ms, golden frames {:.0} ms, first frame {:.1} ms",
        report.start.load_ms, report.start.parity_ms, report.start.first_ms
    ));
    lines.push(memory(report));
    lines.join("\n")
}

fn board(board: &Board) -> String {
    let mut parts = vec![board.name.clone().unwrap_or_else(|| "a machine without a name".to_owned())];
    parts.push(format!("{}, {}", board.architecture, print::counted(board.cores as u64, "core")));
    if !board.features.is_empty() {
        parts.push(board.features.join(" "));
    }
    parts.extend(board.kernels.map(|kernels| format!("{kernels} kernels")));
    parts.extend(board.memory.map(print::bytes));
    parts.join("; ")
}

fn stage_line(stage: &Stage, whole: f64) -> String {
    let bar = "█".repeat((stage.p50_ms / whole * BAR).round().min(2.0 * BAR) as usize);
    format!("{:<18} {:>9.2} {:>9.2} {:>9.2}  {bar}", stage.name, stage.p50_ms, stage.p99_ms, stage.max_ms)
        .trim_end()
        .to_owned()
}

fn operator_line(layer: &Operator, peak: f64) -> String {
    let shape = layer.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
    let what = format!("{} {shape}", layer.operator);
    let rate = layer.multiply_adds as f64 / (layer.ms * 1e-3);
    let speed = match layer.multiply_adds {
        0 => format!("{:>9} {:>7}", "-", "-"),
        _ => format!("{:>9.1} {:>6.0}%", rate * 1e-9, 100.0 * rate / peak),
    };
    format!("{what:<34} {:>8.3} {:>5.1}% {speed}  {}", layer.ms, 100.0 * layer.share, layer.name)
}

fn share_line(share: &Share) -> String {
    let what = match (share.frames, share.threads) {
        (1, 1) => "1 frame, 1 thread".to_owned(),
        (1, threads) => format!("1 frame, {threads} threads"),
        (frames, _) => format!("{frames} frames at once"),
    };
    format!(
        "{what:<18} {:>8.0} parts a minute, each in {:.1} ms (99% in {:.1} ms); {:.1} ms of the processor",
        share.per_minute, share.frame.p50_ms, share.frame.p99_ms, share.cpu_ms
    )
}

/// Which number of threads serves the line best, and what more cameras would bring: they never make one part's answer come earlier.
fn advice(shares: &[Share]) -> String {
    let alone = shares.iter().find(|share| (share.frames, share.threads) == (1, 1));
    let one = shares.iter().filter(|share| share.frames == 1);
    let fastest = one.min_by(|a, b| a.frame.p50_ms.total_cmp(&b.frame.p50_ms));
    let most = shares.iter().max_by(|a, b| a.per_minute.total_cmp(&b.per_minute));
    let (Some(alone), Some(fastest), Some(most)) = (alone, fastest, most) else { return String::new() };
    let gain = alone.frame.p50_ms / fastest.frame.p50_ms;
    let mut text = format!(
        "hgad run inspects one frame at a time: it keeps up with {:.0} parts a minute on one core.",
        alone.per_minute
    );
    if gain >= WORTH {
        text.push_str(&format!(
            " With `threads = {}` in [line] a frame takes {:.1} ms less, and it keeps up with {:.0}.",
            fastest.threads,
            alone.frame.p50_ms - fastest.frame.p50_ms,
            fastest.per_minute
        ));
    }
    if most.frames > 1 {
        text.push_str(&format!(
            " Another camera with a process of its own, one core each, brings {:.1} times as many at most.",
            most.per_minute / alone.per_minute
        ));
    }
    text
}

fn memory(report: &Report) -> String {
    let Condition { celsius, megahertz, peak_memory } = report.condition;
    let mut parts = vec![format!(
        "a frame asks for memory {} times, {} in all",
        report.allocations.count,
        print::bytes(report.allocations.bytes)
    )];
    parts.extend(peak_memory.map(|bytes| format!("at most {} held", print::bytes(bytes))));
    parts.extend(celsius.map(|celsius| format!("{celsius:.0} degrees C")));
    parts.extend(megahertz.map(|megahertz| format!("{megahertz} MHz")));
    parts.join("; ")
}
