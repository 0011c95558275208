//! Checks of what happens to outputs when the program does not live: killed, stopped, hanging, starved. The program is this
//! one, started anew as a child.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use hgad::outputs::gpio::{Drive, GpioOutput, Settings};
use hgad::outputs::heartbeat::{Heartbeat, Rhythm};
use hgad::outputs::{Occasion, Output, Role};
use hgad::time::Monotonic;

use crate::process::Process;
use crate::sim::{CHIP, REJECT};
use crate::{Check, Outcome, hold};

pub const CHECKS: &[Check] = &[
    ("heartbeat beats", beats),
    ("heartbeat stops when the program is stopped", stopped),
    ("heartbeat stops when the program is killed", killed),
    ("heartbeat stops when its feeder hangs", starved),
    ("heartbeat stops when the line is not well", unwell),
    ("output active when the program is killed", killed_while_active),
    ("stop-line output active from start to end", stop_line),
];

type Failure = Box<dyn std::error::Error>;

/// What the product promises.
const PROMISE_MS: f64 = 200.0;
/// How often a check of that promise is tried: a guest on a busy machine stands still now and then.
const TRIES: usize = 3;
const PERIOD: Duration = Duration::from_millis(50);
/// How long the child's feeder lives in those modes in which it does not live on.
const LIFE: Duration = Duration::from_secs(2);

fn output(role: Role) -> Result<GpioOutput, hgad::Error> {
    let (chip, line, drive) = (CHIP.into(), "REJECT".into(), Drive::PushPull);
    GpioOutput::open("lab", Settings { chip, line, active_low: false, bias: None, drive }, role)
}

/// The child: does as `mode` says, for a minute at most.
pub fn child(mode: &str) -> ExitCode {
    let acted = match mode {
        "active" => output(Role::Reject).and_then(|mut output| {
            output.activate(&Occasion::default())?;
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }),
        _ => output(Role::Heartbeat).and_then(|output| {
            let heartbeat = Heartbeat::start(Box::new(output), Rhythm::new(PERIOD, PERIOD / 2), || {})?;
            let (started, ever) = (Monotonic::now(), Duration::from_secs(60));
            let life = if mode == "beat" { ever } else { LIFE };
            while Monotonic::now() < started + life {
                heartbeat.beat(true);
                std::thread::sleep(Duration::from_millis(20));
            }
            println!("{}", Monotonic::now().as_nanos());
            if mode == "unwell" {
                heartbeat.beat(false);
            }
            std::thread::sleep(ever);
            Ok(())
        }),
    };
    match acted {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.report());
            ExitCode::FAILURE
        }
    }
}

/// A child at work.
struct Program(Process);

impl Program {
    /// Starts it and waits until the line shows it.
    fn start(mode: &str) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?);
        let mut program = Program(Process::start(child.args(["--child", mode]).stdout(Stdio::piped()))?);
        let patience = Monotonic::now() + Duration::from_secs(10);
        while REJECT.level()? == "0" {
            let ended = program.0.try_wait()?;
            hold!(ended.is_none() && Monotonic::now() < patience, "the child does not come to life: {ended:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(program)
    }

    fn wait(&mut self) -> Result<Option<i32>, Failure> {
        Ok(self.0.wait()?.signal())
    }
}

/// How long after `since` the line was seen to change last, in milliseconds (0 if not at all), and its level at rest.
fn comes_to_rest(since: Monotonic, watched: Duration) -> Result<(f64, String), Failure> {
    let changes = REJECT.changes(watched)?;
    let last = changes.last().map_or(0.0, |(at, _)| at.millis_since(since));
    Ok((last, REJECT.level()?))
}

fn beats() -> Outcome {
    let _program = Program::start("beat")?;
    let changes = REJECT.changes(Duration::from_secs(2))?;
    let lengths = changes.windows(2).map(|pair| pair[1].0.millis_since(pair[0].0)).collect::<Vec<_>>();
    let longest = lengths.iter().copied().fold(0.0, f64::max);
    hold!(changes.len() >= 4, "{} changes in 2 s", changes.len());
    Ok(format!("{} changes in 2 s at a period of 50 ms, {longest:.1} ms apart at most", changes.len()))
}

fn stopped() -> Outcome {
    let program = Program::start("beat")?;
    let mut said = Vec::new();
    for _ in 0..5 {
        let since = program.0.signal("STOP")?;
        let (last, level) = comes_to_rest(since, Duration::from_millis(400))?;
        hold!(last < PROMISE_MS, "it changed {last:.1} ms after it was stopped");
        program.0.signal("CONT")?;
        hold!(!REJECT.changes(Duration::from_millis(300))?.is_empty(), "it does not go on");
        said.push(format!("{last:.1} ms at level {level}"));
    }
    Ok(format!("last change after SIGSTOP: {}; SIGCONT: it beats again", said.join(", ")))
}

fn killed() -> Outcome {
    let mut program = Program::start("beat")?;
    let since = program.0.signal("KILL")?;
    let (last, level) = comes_to_rest(since, Duration::from_millis(400))?;
    hold!(program.wait()? == Some(9), "it was not killed");
    hold!(last < PROMISE_MS, "it changed {last:.1} ms after it was killed");
    Ok(format!("last change {last:.1} ms after SIGKILL, then level {level}"))
}

/// Stops released, by itself, when its life is over.
fn stops(mode: &str) -> Outcome {
    let mut tried = Vec::new();
    for _ in 0..TRIES {
        let mut program = Program::start(mode)?;
        let (last, level) = comes_to_rest(Monotonic::from_nanos(0), LIFE + Duration::from_secs(1))?;
        let mut said = String::new();
        BufReader::new(program.0.stdout.take().ok_or("no pipe")?).read_line(&mut said)?;
        let late = last - Monotonic::from_nanos(said.trim().parse()?).millis_since(Monotonic::from_nanos(0));
        hold!(level == "0", "it rests at level {level}");
        tried.push(format!("{late:.1}"));
        if late < PROMISE_MS {
            let tried = tried.join(", ");
            return Ok(format!(
                "last change {tried} ms after its life, then level 0 (negative: it was released already)"
            ));
        }
    }
    Err(format!("last changes {} ms after its life", tried.join(", ")).into())
}

fn starved() -> Outcome {
    stops("starved")
}

fn unwell() -> Outcome {
    stops("unwell")
}

fn killed_while_active() -> Outcome {
    let mut program = Program::start("active")?;
    let since = program.0.signal("KILL")?;
    let changes = REJECT.changes(Duration::from_millis(500))?;
    hold!(program.wait()? == Some(9), "it was not killed");
    let level = REJECT.level()?;
    let after = changes.last().map_or("no change".into(), |(at, _)| format!("{:.1} ms later", at.millis_since(since)));
    // What the simulator does is measured, not asked for: a real chip may keep the level.
    Ok(format!("gpio-sim gives a line that nobody holds back to its pull: level {level}, {after}"))
}

fn stop_line() -> Outcome {
    let before = REJECT.level()?;
    let mut output = output(Role::StopLine)?;
    let opened = REJECT.level()?;
    output.release()?;
    let armed = REJECT.level()?;
    output.hold()?;
    let held = REJECT.level()?;
    output.release()?;
    drop(output);
    hold!((&*opened, &*armed, &*held) == ("1", "0", "1"), "levels {opened}, {armed}, {held}");
    Ok(format!("levels {before} before, 1 opened, 0 armed, 1 stopped"))
}
