//! `hgad simulate`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use crate::config::LineConfig;
use crate::line::{Drive, Rules};
use crate::progress::Progress;
use crate::simulate::{self, Pace, Plan, Report};
use crate::{Error, Result, print};

const EXAMPLES: &str = r"Examples:
  # A thousand hours of this line with every fault
  hgad simulate --config line3.toml --hours 1000

  # A hundred lines drawn from seeds 1 to 100, half of them with lanes, ten
  # hours of each
  hgad simulate --seed 1 --seeds 100 --hours 10

  # Whether this line keeps up with 240 parts a minute on a board that takes 90
  # to 140 ms for a frame: if it does not, parts are `late` or `skipped`
  hgad simulate --config line3.toml --hours 10 --no-faults \
    --parts-per-minute 240 --inspection-ms 90..140

  # With nothing going wrong
  hgad simulate --config line3.toml --hours 100 --no-faults";

/// Try a line in virtual time: belt, parts, sensors, ejector and every fault
///
/// The line core and the ejector's schedule are those of `hgad run`; belt, camera, network and sensors are simulated, years in
/// minutes. After every event it is checked that no bad or unknown part was passed in silence, that every part has one record,
/// that a part on record as rejected was hit, by its own lane's ejector, that no output stays on for more than 10 ms longer than it was told to,
/// and that the line stops for what it is to stop for. Each piece on the belt is followed, too: no bad one passes its ejector in silence, or by
/// a frame that does not show it; each that is seen begins exactly one record, and no record begins where none came; a piece lay
/// where a reject came too late. Pieces for which this cannot be held are counted (`weaker`). The first breach ends the simulation with its seed
/// and the shortest list of events that shows it, or, where only the belt shows it, with the last events (exit code 1).
///
/// Faults: lost, broken and doubtful frames, a lost camera, failed, slow and hung inspections, an ejector that fails, is late or
/// does not report, an encoder that slips, jitters or is gone, a blocked photo-eye, a blind chute sensor, a full bin, a busy
/// machine, a killed process, a belt that stops and starts; where parts are found in the picture, also such that touch, slide by up to 0.7 of the
/// longest one's length, against their neighbours at most, or turn (up to 0.4 longer or shorter along the belt), each once in the first 0.6 of the
/// gate, and segments that are missed or none. There is no step of the clock: a line goes by the machine's monotonic clock, which nobody sets;
/// a camera's stamp that cannot be right is the doubtful frame, and the wall clock dates the audit's records alone, which note its steps.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct SimulateArgs {
    /// The line to simulate; without it, each seed draws another line
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Belt hours for each seed
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = positive)]
    hours: f64,
    /// The first seed; the same seed gives the same run
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// How fast the belt of a line with an encoder moves, in mm/s
    #[arg(long, value_name = "MM_PER_S", default_value_t = 200.0, value_parser = positive)]
    speed: f64,
    /// How many parts of each lane come in a minute of full speed, on average; without
    /// it, as many as the distances of parts allow, and down to a tenth of that. With
    /// faults, a belt with an encoder slows down and stands now and then
    #[arg(long, value_name = "N", value_parser = positive)]
    parts_per_minute: Option<f64>,
    /// How long the inspection of a frame takes, in milliseconds, all lanes of it
    /// together: from A to B, all alike likely (`hgad check` measures it)
    #[arg(long, value_name = "A..B", default_value = "10..60", value_parser = range)]
    inspection_ms: Range,
    /// Nothing goes wrong
    #[arg(long)]
    no_faults: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// From so many milliseconds to so many.
#[derive(Debug, Clone, Copy)]
struct Range(f64, f64);

fn range(text: &str) -> std::result::Result<Range, String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    match (positive(least)?, positive(most)?) {
        (least, most) if least <= most => Ok(Range(least, most)),
        _ => Err("give the shorter time first, as in 20..45".into()),
    }
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 && number <= 1e6 => Ok(number),
        _ => Err("give a number greater than 0, at most a million".into()),
    }
}

pub fn run(args: SimulateArgs) -> Result<()> {
    let rules = args.config.as_deref().map(LineConfig::open).transpose()?.map(|config| config.rules);
    if let Some(parts) = args.parts_per_minute {
        has_room(&args, rules.as_ref(), parts)?;
    }
    let begun = Instant::now();
    let report = all(&args, rules.as_ref());
    let took = begun.elapsed();
    let printed = match args.json {
        true => print::line(format_args!("{:#}", to_json(&report, took))),
        false => print::line(told(&report, took)),
    };
    match report.violation {
        None => printed,
        Some(violation) => Err(Error::check("a promise is broken")
            .because(violation.to_string())
            .advise("the same --seed shows it again")),
    }
}

/// Refuses more parts than fit on the belt.
fn has_room(args: &SimulateArgs, rules: Option<&Rules>, parts: f64) -> Result<()> {
    let most = (0..args.seeds).map(|k| simulate::most_per_minute(&plan(args, rules, args.seed.wrapping_add(k))));
    let most = most.fold(f64::INFINITY, f64::min);
    match parts <= most {
        true => Ok(()),
        false => Err(Error::usage(format!("--parts-per-minute {parts} are too many"))
            .because(format!(
                "the simulation has room for {} a minute in each lane, at the belt's speed and the distances of parts, which are seldom the least",
                most.floor()
            ))
            .advise("give fewer, a faster belt, or a shorter pitch_mm or longest_mm")),
    }
}

/// Seeds side by side on all processors; the result does not depend on how many there are.
fn all(args: &SimulateArgs, rules: Option<&Rules>) -> Report {
    let progress = Progress::start("seeds", args.seeds as usize);
    let next = AtomicU64::new(0);
    let reports = Mutex::new(Vec::new());
    let threads = available_parallelism().map_or(1, usize::from).min(args.seeds as usize);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let k = next.fetch_add(1, Ordering::Relaxed);
                    if k >= args.seeds {
                        return;
                    }
                    let report = simulate::run(&plan(args, rules, args.seed.wrapping_add(k)));
                    progress.step();
                    if report.violation.is_some() {
                        // The others end after the seeds that they are at.
                        next.fetch_add(args.seeds, Ordering::Relaxed);
                    }
                    reports.lock().unwrap_or_else(PoisonError::into_inner).push((k, report));
                }
            });
        }
    });
    progress.finish();
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by_key(|(k, _)| *k);
    reports.into_iter().fold(Report::default(), |mut sum, (_, report)| {
        sum.add(report);
        sum
    })
}

fn plan(args: &SimulateArgs, rules: Option<&Rules>, seed: u64) -> Plan {
    let (rules, speed) = match rules {
        None => simulate::drawn(seed),
        Some(rules) => match rules.drive {
            Drive::Constant(speed) => (rules.clone(), speed),
            Drive::Encoder => (rules.clone(), (args.speed * 1e6) as u64),
        },
    };
    let belt_time = Duration::from_secs_f64(args.hours * 3600.0);
    let Range(least, most) = args.inspection_ms;
    let pace = Pace { inspection_ms: (least, most), parts_per_minute: args.parts_per_minute };
    Plan { rules, speed, belt_time, seed, with_faults: !args.no_faults, pace }
}

fn told(report: &Report, took: Duration) -> String {
    let hours = report.belt_time.as_secs_f64() / 3600.0;
    let mut text = format!(
        "{hours:.0} belt hours, {} events in {:.1} s: {:.0} belt hours per second\n",
        report.events,
        took.as_secs_f64(),
        hours / took.as_secs_f64()
    );
    let list = |pairs: &mut dyn Iterator<Item = (&str, u64)>| {
        pairs
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let counters = report.counters.named();
    text.push_str(&format!("fates     {}\n", list(&mut counters[..4].iter().copied())));
    text.push_str(&format!("verdicts  {}\n", list(&mut counters[4..].iter().copied())));
    text.push_str(&format!("faults    {}\n", list(&mut report.faults.iter().map(|(name, count)| (*name, *count)))));
    if !report.doubts.is_empty() {
        let doubts = report.doubts.iter().map(|(why, count)| (why.as_str(), *count));
        text.push_str(&format!("doubts    {}\n", list(&mut { doubts })));
    }
    if report.pieces > 0 {
        let weaker = report.weaker.iter().map(|(why, count)| (*why, *count));
        let weaker = Some(list(&mut { weaker })).filter(|weaker| !weaker.is_empty()).unwrap_or_else(|| "none".into());
        text.push_str(&format!("weaker    of {} pieces: {weaker}\n", report.pieces));
    }
    text.push_str(&format!(
        "line      {} stops, {} starts, {} parts on the belt when the process was killed\n",
        report.stops, report.restarts, report.interrupted
    ));
    text.push_str(match report.violation {
        None => "promises  all kept",
        Some(_) => "promises  broken",
    });
    text
}

fn to_json(report: &Report, took: Duration) -> serde_json::Value {
    serde_json::json!({
        "belt_hours": report.belt_time.as_secs_f64() / 3600.0,
        "seconds": took.as_secs_f64(),
        "events": report.events,
        "counters": report.counters.named().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "faults": report.faults,
        "doubts": report.doubts,
        "pieces": report.pieces,
        "weaker": report.weaker,
        "stops": report.stops,
        "restarts": report.restarts,
        "interrupted": report.interrupted,
        "violation": report.violation.as_ref().map(ToString::to_string),
    })
}
