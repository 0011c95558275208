//! Checks of GPIO inputs and the encoder on gpio-sim.

use std::fs;
use std::time::Duration;

use hgad::gpio::Bias;
use hgad::inputs::encoder::{Encoder, GpioEncoder, Resolution};
use hgad::inputs::gpio::{GpioInput, Settings};
use hgad::inputs::{Edge, Edges, Input, Sense, encoder};
use hgad::time::Monotonic;

use crate::sim::{CHIP, ENCODER, EYE, SIM, Sensor};
use crate::{Check, Outcome, hold};

pub const CHECKS: &[Check] = &[
    ("input edges with the kernel's stamps", stamped),
    ("input active low, one kind of edges", one_kind),
    ("input bias", bias),
    ("input debounced", debounced),
    ("input slow reader", overflown),
    ("input chip lost and back", chip_lost),
    ("encoder on two lines", counted),
    ("encoder slow reader", count_overflown),
    ("encoder chip lost and back", encoder_lost),
];

type Failure = Box<dyn std::error::Error>;

const PATIENCE: Duration = Duration::from_secs(2);
const SHORT: Duration = Duration::from_millis(50);
/// A guest on a busy machine stands still for some hundred milliseconds now and then.
const STILL: Duration = Duration::from_millis(400);
/// The simulator's interrupt has a thread of its own, which must get its turn before the next edge.
const TURN: Duration = Duration::from_micros(200);

fn settings(edges: Edges) -> Settings {
    let (chip, line) = (CHIP.into(), "EYE".into());
    Settings { chip, line, active_low: false, bias: None, debounce: Duration::ZERO, edges }
}

/// The eye, dark at first.
fn eye(settings: Settings) -> Result<(GpioInput, Sensor), Failure> {
    let sensor = EYE.sensor()?;
    sensor.pull(false)?;
    Ok((GpioInput::open("eye", settings)?, sensor))
}

fn edge(input: &mut GpioInput) -> Result<Edge, Failure> {
    match input.wait(PATIENCE)? {
        Sense::Edge(edge) => Ok(edge),
        other => Err(format!("no edge within {PATIENCE:?}: {other:?}").into()),
    }
}

/// Milliseconds at the median and at most.
fn spread(mut delays: Vec<f64>) -> String {
    delays.sort_by(f64::total_cmp);
    format!("{:.3} ms at the median, {:.3} at most", delays[delays.len() / 2], delays[delays.len() - 1])
}

fn stamped() -> Outcome {
    let (mut input, sensor) = eye(settings(Edges::Both))?;
    let (mut stamping, mut reading) = (Vec::new(), Vec::new());
    for active in [true, false].repeat(100) {
        std::thread::sleep(Duration::from_millis(2));
        let before = Monotonic::now();
        sensor.pull(active)?;
        let Edge { at, active: told } = edge(&mut input)?;
        let after = Monotonic::now();
        hold!(told == active && input.level()? == active, "told {told}, is {active}");
        hold!(before <= at && at <= after, "stamped {at}, but it was from {before} to {after}");
        stamping.push(at.millis_since(before));
        reading.push(after.millis_since(at));
    }
    hold!(input.wait(SHORT)? == Sense::Nothing, "an edge that was not there");
    Ok(format!("200 edges; change to stamp {}; stamp to reader {}", spread(stamping), spread(reading)))
}

fn one_kind() -> Outcome {
    let (mut input, sensor) = eye(Settings { active_low: true, ..settings(Edges::Active) })?;
    hold!(input.level()?, "low is active");
    for _ in 0..3 {
        sensor.pull(true)?;
        hold!(input.wait(SHORT)? == Sense::Nothing, "an edge to the inactive level");
        sensor.pull(false)?;
        hold!(edge(&mut input)?.active, "not active");
    }
    Ok("low is active; the other edges are not told".into())
}

fn bias() -> Outcome {
    let (mut input, _sensor) = eye(Settings { bias: Some(Bias::PullUp), ..settings(Edges::Both) })?;
    hold!(input.level()?, "the pull-up does not pull");
    drop(input);
    let (mut input, _sensor) = eye(Settings { bias: Some(Bias::PullDown), ..settings(Edges::Both) })?;
    hold!(!input.level()?, "the pull-down does not pull");
    Ok("the chip's resistors pull up and down".into())
}

fn debounced() -> Outcome {
    let debounce = STILL;
    let (mut input, sensor) = eye(Settings { debounce, ..settings(Edges::Both) })?;
    let mut waits = Vec::new();
    for active in [true, false].repeat(3) {
        let first = Monotonic::now();
        sensor.pull(active)?;
        let second = Monotonic::now();
        for bounce in [!active, active, !active, active] {
            std::thread::sleep(Duration::from_millis(1));
            sensor.pull(bounce)?;
        }
        let settled = Monotonic::now();
        let Edge { at, active: told } = edge(&mut input)?;
        hold!(told == active, "told {told}, is {active}");
        hold!(first <= at && at <= second, "stamped {at}: not the first edge, from {first} to {second}");
        waits.push(Monotonic::now().millis_since(settled));
    }
    for _ in 0..3 {
        sensor.pull(true)?;
        std::thread::sleep(Duration::from_millis(2));
        sensor.pull(false)?;
        hold!(input.wait(debounce * 2)? == Sense::Nothing, "a pulse of 2 ms was told");
    }
    Ok(format!(
        "6 bouncing edges have the stamp of the first, told {} after the last; short pulses are not told",
        spread(waits)
    ))
}

fn overflown() -> Outcome {
    let (mut input, sensor) = eye(settings(Edges::Both))?;
    const EDGES: u64 = 1500;
    for number in 0..EDGES {
        sensor.pull(number % 2 == 0)?;
        std::thread::sleep(TURN);
    }
    let Sense::Lost(lost) = input.wait(PATIENCE)? else { return Err("nothing was lost".into()) };
    let mut told = Vec::new();
    while let Sense::Edge(edge) = input.wait(SHORT)? {
        told.push(edge);
    }
    hold!(lost + told.len() as u64 == EDGES, "{lost} lost and {} told, of {EDGES}", told.len());
    hold!(told.last().is_some_and(|edge| !edge.active), "the newest edge is missing");
    Ok(format!("of {EDGES} edges the newest {} were told, and that {lost} were lost", told.len()))
}

fn chip_lost() -> Outcome {
    let (mut input, sensor) = eye(settings(Edges::Both))?;
    sensor.pull(true)?;
    edge(&mut input)?;
    drop(sensor);
    fs::write(format!("{SIM}/live"), "0")?;
    let began = Monotonic::now();
    let Err(lost) = input.wait(PATIENCE) else { return Err("no error for a chip that is gone".into()) };
    let noticed = Monotonic::now().millis_since(began);
    let Err(absent) = input.wait(SHORT) else { return Err("no error for a chip that is absent".into()) };
    fs::write(format!("{SIM}/live"), "1")?;
    let sensor = EYE.sensor()?;
    hold!(!input.level()?, "the level of the new chip");
    sensor.pull(true)?;
    hold!(edge(&mut input)?.active, "no edge of the new chip");
    Ok(format!("{} (noticed after {noticed:.1} ms); {absent}; back: edges again", lost.line()))
}

/// An encoder's disc on the two lines.
struct Disc {
    channels: [Sensor; 2],
    quarters: i64,
}

impl Disc {
    /// Both channels low, before A rises.
    fn new() -> Result<Self, Failure> {
        let channels = [ENCODER[0].sensor()?, ENCODER[1].sensor()?];
        channels.iter().try_for_each(|channel| channel.pull(false))?;
        Ok(Disc { channels, quarters: 0 })
    }

    fn turn(&mut self, quarters: i64) -> Result<(), Failure> {
        for _ in 0..quarters.abs() {
            self.quarters += quarters.signum();
            let (a, b) =
                [(false, false), (true, false), (true, true), (false, true)][self.quarters.rem_euclid(4) as usize];
            // One of the two stays as it is, which is no edge.
            self.channels[0].pull(a)?;
            self.channels[1].pull(b)?;
            std::thread::sleep(TURN);
        }
        Ok(())
    }
}

fn open(resolution: Resolution) -> Result<GpioEncoder, Failure> {
    let (chip, a, b) = (CHIP.into(), "ENCODER_A".into(), "ENCODER_B".into());
    Ok(GpioEncoder::open("belt", encoder::Settings { chip, a, b, bias: None, resolution })?)
}

/// What was counted once the belt stands, and in how many steps it was told.
fn standing(encoder: &mut GpioEncoder) -> Result<(encoder::Count, usize), Failure> {
    let mut last = encoder.wait(PATIENCE)?.ok_or("no count came")?;
    let mut steps = 1;
    while let Some(count) = encoder.wait(STILL)? {
        last = count;
        steps += 1;
    }
    Ok((last, steps))
}

fn counted() -> Outcome {
    let mut said = Vec::new();
    for (resolution, name, quarters) in
        [(Resolution::X1, "x1", 4), (Resolution::X2, "x2", 2), (Resolution::X4, "x4", 1)]
    {
        let mut disc = Disc::new()?;
        let mut encoder = open(resolution)?;
        let start = encoder.wait(SHORT)?.ok_or("it does not tell where it is")?;
        hold!(start.count == 0, "{name}: {start:?}");
        let began = Monotonic::now();
        let turning = std::thread::spawn(move || -> Result<Disc, String> {
            for (way, times) in [(1, 400), (-1, 120), (1, 80)] {
                for _ in 0..times {
                    disc.turn(way).map_err(|error| error.to_string())?;
                }
            }
            Ok(disc)
        });
        let counted = standing(&mut encoder);
        turning.join().map_err(|_| "the disc panicked")??;
        let (count, steps) = counted?;
        hold!(count.count == 360 / quarters, "{name}: {count:?}");
        let doubts = encoder::Doubts { noise: 0, turns: 2, gaps: 0 };
        hold!(count.doubts == doubts, "{name}: {count:?}");
        hold!(began < count.at && count.at < Monotonic::now(), "{name}: stamped {}", count.at);
        said.push(format!("{name} {} in {steps} steps", count.count));
    }
    Ok(format!("400 quarters forward, 120 back, 80 forward: {}", said.join(", ")))
}

fn count_overflown() -> Outcome {
    let mut disc = Disc::new()?;
    let mut encoder = open(Resolution::X4)?;
    disc.turn(10)?;
    let (count, _) = standing(&mut encoder)?;
    hold!(count.count == 10, "{count:?}");
    disc.turn(1500)?;
    let (count, _) = standing(&mut encoder)?;
    hold!(count.count == 1510 && count.doubts.gaps == 1, "{count:?}");
    Ok("of 1500 edges more than 1024 were unread: the count is right, and told to have a gap".into())
}

fn encoder_lost() -> Outcome {
    let mut disc = Disc::new()?;
    let mut encoder = open(Resolution::X4)?;
    disc.turn(7)?;
    standing(&mut encoder)?;
    drop(disc);
    fs::write(format!("{SIM}/live"), "0")?;
    let Err(lost) = encoder.wait(PATIENCE) else { return Err("no error for a chip that is gone".into()) };
    fs::write(format!("{SIM}/live"), "1")?;
    let mut disc = Disc::new()?;
    let back = encoder.wait(SHORT)?.ok_or("it is not told that it is back")?;
    hold!(back.count == 7 && back.doubts.gaps == 1, "{back:?}");
    disc.turn(5)?;
    let (count, _) = standing(&mut encoder)?;
    hold!(count.count == 12, "{count:?}");
    Ok(format!("{}; back: the count goes on, with a gap", lost.line()))
}
