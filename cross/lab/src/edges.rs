//! When the kernel set the levels of the chip's lines, by the stamps of its own trace: who drives a line holds it, so nobody else
//! could ask for its edges.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use hgad::outputs::gpio::{Drive, GpioOutput, Settings};
use hgad::outputs::{Occasion, Output, Role};
use hgad::time::Monotonic;

use crate::hold;
use crate::sim::{CHIP, Line};

type Failure = Box<dyn std::error::Error>;

const TRACING: &str = "/sys/kernel/tracing";
/// A line that nothing else of the lab drives while edges are recorded.
const LAMP: Line = Line(1);

/// A level that was set, and differs from the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    pub at: Monotonic,
    pub up: bool,
}

/// What the trace told: the kernel's number of a line, when it was set, and to what.
type Trace = Mutex<Vec<(u32, Edge)>>;

/// All levels that are set while the lab runs.
pub struct Edges {
    trace: &'static Trace,
    /// The kernel's number of the chip's first line.
    first: u32,
}

impl Edges {
    pub fn record() -> Result<Self, Failure> {
        // The trace gives each line to one reader only.
        static TRACE: OnceLock<Trace> = OnceLock::new();
        let trace = match TRACE.get() {
            Some(trace) => trace,
            None => {
                let pipe = open()?;
                let trace = TRACE.get_or_init(Trace::default);
                std::thread::spawn(move || {
                    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                        if let (Some(level), Ok(mut told)) = (parse(&line), trace.lock()) {
                            told.push(level);
                        }
                    }
                });
                trace
            }
        };
        let mut edges = Edges { trace, first: 0 };
        edges.first = edges.number_of_lamp()? - LAMP.0;
        Ok(edges)
    }

    /// Learns how the kernel counts lines: it lights the lamp, and looks which number that was.
    fn number_of_lamp(&self) -> Result<u32, Failure> {
        let (chip, line, drive) = (CHIP.into(), "LAMP".into(), Drive::PushPull);
        let settings = Settings { chip, line, active_low: false, bias: None, drive };
        let mut lamp = GpioOutput::open("lamp", settings, Role::Reject)?;
        let since = Monotonic::now();
        lamp.activate(&Occasion::default())?;
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(10));
            let set = self.trace.lock().map_err(|_| "the trace's reader panicked")?;
            if let Some((number, _)) =
                set.iter().find(|(_, edge)| edge.up && edge.at >= since - Duration::from_millis(1))
            {
                return Ok(*number);
            }
        }
        Err("the kernel's trace does not tell of a line that was set".into())
    }

    /// The edges of a line since `since`, the oldest first; the first one is the first level that was set at all.
    pub fn of(&self, line: Line, since: Monotonic) -> Result<Vec<Edge>, Failure> {
        let trace = self.trace.lock().map_err(|_| "the trace's reader panicked")?;
        let set = trace.iter().filter(|(number, edge)| *number == self.first + line.0 && edge.at >= since);
        let mut edges = set.map(|(_, edge)| *edge).collect::<Vec<_>>();
        edges.dedup_by_key(|edge| edge.up);
        Ok(edges)
    }

    /// Waits for an edge of a line since `since`.
    pub fn wait(&self, line: Line, up: bool, since: Monotonic, patience: Duration) -> Result<Monotonic, Failure> {
        let end = Monotonic::now() + patience;
        loop {
            if let Some(edge) = self.of(line, since)?.iter().find(|edge| edge.up == up) {
                return Ok(edge.at);
            }
            let level = if up { "up" } else { "down" };
            hold!(Monotonic::now() < end, "line {} was not set {level} within {patience:?}", line.0);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The trace of GPIO lines, by the clock that cameras and inputs are stamped by.
fn open() -> Result<File, Failure> {
    for (file, text) in [("trace_clock", "mono"), ("trace", ""), ("events/gpio/gpio_value/enable", "1")] {
        fs::write(format!("{TRACING}/{file}"), text).map_err(|error| format!("{TRACING}/{file}: {error}"))?;
    }
    Ok(File::open(format!("{TRACING}/trace_pipe"))?)
}

/// A line of the trace, such as `hgad-fire-83  [000] .....    12.345678: gpio_value: 512 set 1`.
fn parse(line: &str) -> Option<(u32, Edge)> {
    let (before, what) = line.split_once(": gpio_value: ")?;
    let (seconds, micros) = before.rsplit(' ').next()?.split_once('.')?;
    let micros = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    match what.split_whitespace().collect::<Vec<_>>().as_slice() {
        [number, "set", level] => {
            Some((number.parse().ok()?, Edge { at: Monotonic::from_nanos(1000 * micros), up: *level != "0" }))
        }
        _ => None,
    }
}
