//! The belt: parts pass the photo-eye, the camera sees each of them, and afterwards what became of each is held against what it was.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hgad::time::Monotonic;
use serde_json::Value;

use crate::edges::{Edge, Edges};
use crate::line::{EJECTOR, Line, Setting};
use crate::process::Process;
use crate::sim::{EYE, HEARTBEAT, REJECT, STOP_LINE, Sensor};
use crate::vivid::{self, Control};
use crate::{Check, Outcome, hold};

pub const CHECKS: &[Check] = &[("belt of parts", idle), ("belt beside busy programs", busy)];

/// What of them goes with a quick look.
pub const QUICK: &[Check] = &[("belt of parts", few)];

type Failure = Box<dyn std::error::Error>;

/// How many parts pass in each of these checks (`--parts`).
pub static PARTS: AtomicUsize = AtomicUsize::new(30);
/// Good parts come in so many shades.
pub const SHADES: usize = 12;
/// And each of these in so many contrasts: a live camera's picture is never one of the last 32.
const CONTRASTS: [i64; 3] = [128, 127, 129];
/// And so many in the quick one: two of them are bad.
const FEW: usize = 10;
/// How long a part is before the eye.
const DARK: Duration = Duration::from_millis(60);
const PULSE_MS: u32 = 100;
/// ENODEV.
const NO_DEVICE: i32 = 19;

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    Good,
    /// Something lies on it, which may hide so much that the picture counts as out of focus.
    Foreign,
    /// It has an edge that it should not have.
    Edged,
    /// It is another product.
    Other,
    /// The lamp is out: it cannot be judged.
    Dark,
}

/// What the camera sees of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    pattern: i64,
    brightness: i64,
    contrast: i64,
    square: bool,
    border: bool,
}

impl Truth {
    /// Of the belt's part of that number: one in five is bad, in no order that comes twice.
    fn of(part: usize) -> Self {
        let chance = (part as u32 + 1).wrapping_mul(2_654_435_761) >> 8;
        match chance % 100 {
            0..7 => Truth::Foreign,
            7..13 => Truth::Edged,
            13..18 => Truth::Other,
            18..20 => Truth::Dark,
            _ => Truth::Good,
        }
    }

    pub fn is_good(self) -> bool {
        self == Truth::Good
    }
}

impl Picture {
    /// Of a good part.
    pub fn good(part: usize) -> Self {
        let (brightness, contrast) = (98 + 2 * (part % SHADES) as i64, CONTRASTS[part / SHADES % CONTRASTS.len()]);
        Picture { pattern: 4, brightness, contrast, square: false, border: false }
    }

    /// Of a good part in a shade that no part on the belt has.
    pub fn between(part: usize) -> Self {
        let good = Picture::good(part);
        Picture { brightness: good.brightness + 1, ..good }
    }

    fn of(truth: Truth, part: usize) -> Self {
        let good = Picture::good(part);
        match truth {
            Truth::Good => good,
            Truth::Foreign => Picture { square: true, ..good },
            Truth::Edged => Picture { border: true, ..good },
            Truth::Other => Picture { pattern: 10, ..good },
            Truth::Dark => Picture { brightness: 0, ..good },
        }
    }

    /// Lays it before the camera.
    pub fn show(self) -> Result<(), Failure> {
        let controls = [
            (Control::TestPattern, self.pattern),
            (Control::Brightness, self.brightness),
            (Control::Contrast, self.contrast),
            (Control::ShowSquare, self.square.into()),
            (Control::ShowBorder, self.border.into()),
        ];
        controls.into_iter().try_for_each(|(control, value)| vivid::set(control, value))
    }
}

/// A part that passed the eye.
#[derive(Debug, Clone, Copy)]
pub struct Fed {
    pub truth: Truth,
    /// Just before the eye saw it.
    pub at: Monotonic,
}

/// Lays parts on the belt.
pub struct Belt {
    eye: Sensor,
    spacing: Duration,
    next: Monotonic,
    pub fed: Vec<Fed>,
}

impl Belt {
    pub fn new(spacing: Duration) -> Result<Self, Failure> {
        let eye = EYE.sensor()?;
        eye.pull(false)?;
        Ok(Belt { eye, spacing, next: Monotonic::now() + spacing, fed: Vec::new() })
    }

    /// Lays a part on the belt when its turn has come. It is what the camera sees until the next one comes.
    pub fn feed(&mut self, truth: Truth) -> Result<(), Failure> {
        self.next.sleep_until();
        match Picture::of(truth, self.fed.len()).show() {
            // While the camera is unplugged it sees nothing.
            Err(error) if error.downcast_ref().and_then(std::io::Error::raw_os_error) == Some(NO_DEVICE) => {}
            shown => shown?,
        }
        let at = Monotonic::now();
        self.eye.pull(true)?;
        std::thread::sleep(DARK);
        self.eye.pull(false)?;
        self.fed.push(Fed { truth, at });
        // A guest that stood still does not let parts lie closer together.
        self.next = Monotonic::now().max(self.next) + self.spacing - DARK;
        Ok(())
    }

    /// Lays good and bad parts on the belt in turns until `end`.
    pub fn feed_until(&mut self, end: Monotonic) -> Result<(), Failure> {
        while Monotonic::now() < end {
            self.feed(if self.fed.len() % 3 == 2 { Truth::Edged } else { Truth::Good })?;
        }
        Ok(())
    }

    /// Waits until the last part has passed the line's ejector.
    pub fn clear(&self, line: &Line) {
        std::thread::sleep(line.way() + Duration::from_millis(1500));
    }

    /// Each part with its one record, in the order in which the eye saw them.
    pub fn recorded(&self, mut records: Vec<Value>) -> Result<Vec<(Fed, Value)>, Failure> {
        hold!(records.len() == self.fed.len(), "{} parts have {} records", self.fed.len(), records.len());
        records.sort_by_key(|record| record["seen_ns"].as_u64());
        let pairs = self.fed.iter().copied().zip(records).collect::<Vec<_>>();
        for (fed, record) in &pairs {
            let late = moment(record, "seen_ns")?.millis_since(fed.at);
            let is_it = late >= 0.0 && late < self.spacing.as_secs_f64() * 1e3;
            hold!(is_it, "the eye saw a part {late:.1} ms after it was there: {record}");
        }
        Ok(pairs)
    }
}

/// A record's moment of that name.
pub fn moment(record: &Value, key: &str) -> Result<Monotonic, Failure> {
    Ok(Monotonic::from_nanos(record[key].as_u64().ok_or_else(|| format!("no {key} in {record}"))?))
}

/// Numbers in the order of their size, for quantiles.
pub struct Spread(Vec<f64>);

impl Spread {
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers = numbers.into_iter().collect::<Vec<_>>();
        numbers.sort_by(f64::total_cmp);
        Spread(numbers)
    }

    /// The smallest number that so large a share of them does not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.clamp(1, self.0.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| self.quantile(share));
        write!(f, "p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms")
    }
}

fn idle() -> Outcome {
    passing("belt", PARTS.load(Ordering::Relaxed), 2, 0.2)
}

fn few() -> Outcome {
    passing("belt", FEW, 2, 0.2)
}

fn busy() -> Outcome {
    let mut busy = Command::new("sh");
    busy.args(["-c", "while :; do :; done"]);
    let _busy = [Process::start(&mut busy)?, Process::start(&mut busy)?];
    passing("busy-belt", PARTS.load(Ordering::Relaxed), 5, 0.5)
}

/// So many parts pass, so many pictures' time apart; of the good ones no more than the share `unknown` may have got no verdict in time.
fn passing(name: &str, parts: usize, apart: u32, unknown: f64) -> Outcome {
    let setting = Setting {
        output: EJECTOR,
        pulse_ms: PULSE_MS,
        audit: &Path::new("/tmp").join(name).join("audit.jsonl"),
        camera: "",
    };
    let (line, edges, since) = (Line::new(name, &setting)?, Edges::record()?, Monotonic::now());
    let run = line.start()?;
    let armed = Monotonic::now();
    let mut belt = Belt::new((apart * line.pace).max(Duration::from_secs(1)))?;
    for part in 0..parts {
        belt.feed(Truth::of(part))?;
    }
    belt.clear(&line);
    let ending = Monotonic::now();
    run.end()?;
    let parts = belt.recorded(line.records("part")?)?;
    let fates = fates(&parts, unknown)?;
    let ejected = ejected(&parts, &edges.of(REJECT, since)?)?;
    let stop_line = edges.of(STOP_LINE, since)?;
    let levels = stop_line.iter().map(|edge| (edge.up, edge.at < ending)).collect::<Vec<_>>();
    let held = [(true, true), (false, true), (true, false)];
    hold!(levels == held, "the stop-line output (level, before the end): {levels:?}");
    let beats = edges.of(HEARTBEAT, armed)?;
    let beats = Spread::of(beats.windows(2).map(|pair| pair[1].at.millis_since(pair[0].at)));
    let spacing = belt.spacing.as_secs_f64();
    Ok(format!(
        "{fates}, {spacing:.1} s apart; {ejected}; heartbeat's changes apart: {beats}; stop line: up, armed, up; {}",
        line.verify()?
    ))
}

/// Whether each part met its fate: a bad one in the bin, a good one not, but for those that nobody could judge in time.
fn fates(parts: &[(Fed, Value)], unknown: f64) -> Result<String, Failure> {
    let (mut passed, mut bad, mut unjudged) = (0, 0, 0);
    for (fed, record) in parts {
        let [verdict, fate] = ["verdict", "fate"].map(|key| record[key].as_str().unwrap_or_default());
        match (fed.truth.is_good(), verdict, fate) {
            (true, "pass", "passed") => passed += 1,
            (true, "unknown", "rejected") => unjudged += 1,
            (false, "reject" | "unknown", "rejected") => bad += 1,
            _ => return Err(format!("a part was {:?}: {record}", fed.truth).into()),
        }
    }
    let good = passed + unjudged;
    hold!(f64::from(unjudged) <= unknown * f64::from(good), "{unjudged} of {good} good parts were not judged in time");
    let kinds = [Truth::Foreign, Truth::Edged, Truth::Other, Truth::Dark].map(|kind| {
        let count = parts.iter().filter(|(fed, _)| fed.truth == kind).count();
        format!("{count} {kind:?}").to_lowercase()
    });
    let latency = Spread::of(parts.iter().filter_map(|(_, record)| record["latency_ms"]["total"].as_f64()));
    Ok(format!(
        "{} parts, every fate right: {passed} of {good} good ones passed, {unjudged} were rejected unjudged, all {bad} bad \
         ones ({}) were rejected; verdict after capture: {latency}",
        parts.len(),
        kinds.join(", ")
    ))
}

/// Holds what the reject line did against what the records say that it did: each rejected part has its own pulse.
fn ejected(parts: &[(Fed, Value)], edges: &[Edge]) -> Result<String, Failure> {
    let mut rejected = parts.iter().map(|(_, record)| record).filter(|record| record["fate"] == "rejected");
    let mut planned = Vec::new();
    rejected.try_for_each(|record| moment(record, "planned_ns").map(|at| planned.push(at)))?;
    planned.sort();
    let [up, down] =
        [true, false].map(|up| edges.iter().filter(|edge| edge.up == up).map(|edge| edge.at).collect::<Vec<_>>());
    // The first level is set, released, when the line is opened.
    let down = down.into_iter().filter(|at| up.first().is_some_and(|first| at > first)).collect::<Vec<_>>();
    let count = (up.len(), down.len());
    hold!(
        count == (planned.len(), planned.len()),
        "{} rejected parts, and edges up and down: {count:?}",
        planned.len()
    );
    let delays = Spread::of(up.iter().zip(&planned).map(|(at, planned)| at.millis_since(*planned)));
    let pulses = Spread::of(up.iter().zip(&down).map(|(up, down)| down.millis_since(*up) - f64::from(PULSE_MS)));
    hold!(delays.quantile(0.0) > -1.0, "the ejector acted {:.1} ms too early", -delays.quantile(0.0));
    Ok(format!("reject edge minus planned time: {delays}; pulse minus {PULSE_MS} ms: {pulses}"))
}
