//! The simulated GPIO chip of `init`, as its other side sees it: levels of outputs, pulls of inputs.

use std::fs;
use std::time::Duration;

use hgad::time::Monotonic;

/// Where the simulator is configured.
pub const SIM: &str = "/sys/kernel/config/gpio-sim/lab";
/// The chip's label.
pub const CHIP: &str = "lab-ejectors";

type Failure = Box<dyn std::error::Error>;

/// A line by its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line(pub u32);

/// An ejector.
pub const REJECT: Line = Line(0);
/// A photo-eye.
pub const EYE: Line = Line(3);
/// What shows that the line is inspected.
pub const HEARTBEAT: Line = Line(8);
/// What stops the belt.
pub const STOP_LINE: Line = Line(9);
/// A lamp.
pub const ALARM: Line = Line(10);
/// The encoder's channels.
pub const ENCODER: [Line; 2] = [Line(6), Line(7)];

/// A file's text without the spaces around it.
pub fn read(path: &str) -> Result<String, Failure> {
    Ok(fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?.trim().to_owned())
}

impl Line {
    fn path(self, file: &str) -> Result<String, Failure> {
        let chip = read(&format!("{SIM}/ejectors/chip_name"))?;
        Ok(format!("/sys/devices/platform/{}/{chip}/sim_gpio{}/{file}", read(&format!("{SIM}/dev_name"))?, self.0))
    }

    /// Its level, `0` or `1`.
    pub fn level(self) -> Result<String, Failure> {
        read(&self.path("value")?)
    }

    /// Something that pulls it up and down, as a sensor does.
    pub fn sensor(self) -> Result<Sensor, Failure> {
        Ok(Sensor(fs::OpenOptions::new().write(true).open(self.path("pull")?)?))
    }

    /// Its changes for `time`, looked for about every millisecond.
    pub fn changes(self, time: Duration) -> Result<Vec<(Monotonic, String)>, Failure> {
        let (path, end) = (self.path("value")?, Monotonic::now() + time);
        let mut changes: Vec<(Monotonic, String)> = vec![(Monotonic::now(), read(&path)?)];
        while Monotonic::now() < end {
            std::thread::sleep(Duration::from_millis(1));
            let level = read(&path)?;
            if changes.last().is_none_or(|(_, last)| *last != level) {
                changes.push((Monotonic::now(), level));
            }
        }
        changes.remove(0);
        Ok(changes)
    }
}

/// Pulls a line.
pub struct Sensor(fs::File);

impl Sensor {
    /// Up or down; the line has the level, and the kernel the edge, when it returns.
    pub fn pull(&self, up: bool) -> Result<(), Failure> {
        use std::os::unix::fs::FileExt;
        Ok(self.0.write_all_at(if up { b"pull-up" } else { b"pull-down" }, 0)?)
    }
}
