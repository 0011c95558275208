//! The line's configuration: one TOML file that says which model judges which camera and what ejects a bad part.
//!
//! A file is read as typed and then validated once into what the program runs on; every complaint names file, line and
//! column. `docs/configuration.md` is the format's reference.

mod audit;
mod belt;
mod cameras;
mod complaint;
mod devices;
mod free_run;
mod lanes;
mod shared;
mod typed;
mod witness;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::audit::{
    AuditConfig, FullPolicy, PicturesConfig, RetentionConfig, RotationConfig, SigningConfig, SyncPolicy,
};
pub use self::free_run::GateConfig;
pub use self::lanes::LaneConfig;
pub use self::witness::{Login, Protocol, Witness};

use crate::camera::{pipe, v4l2};
use crate::digest::Digest;
use crate::inputs;
use crate::inputs::encoder;
use crate::line::{Consequence, Length, Rules};
use crate::outputs::{Template, gpio, modbus};
use crate::{Error, Result};

/// The newest configuration format that this program reads.
pub const FORMAT_VERSION: i64 = 1;

/// A validated configuration. Paths are absolute or relative to the working directory, no longer to the file.
#[derive(Debug, Clone, PartialEq)]
pub struct LineConfig {
    /// The file that it was read from.
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// The line's name, for people and records.
    pub name: String,
    /// The bundle's directory.
    pub model: PathBuf,
    /// Calibration files for every lane; each names its class.
    pub calibrations: Vec<PathBuf>,
    /// Public keys, of which one must have signed the bundle and each calibration; any are loaded where there is none.
    pub approved_by: Vec<PathBuf>,
    /// How many threads share each frame's network; one at least.
    pub threads: usize,
    /// When a reject fires and what is bad.
    pub rules: Rules,
    /// Where frames come from.
    pub camera: CameraConfig,
    /// The lanes of the belt, as many as the rules have: at least one.
    pub lanes: Vec<LaneConfig>,
    /// What senses and signals beside camera and ejectors.
    pub devices: Devices,
    /// Where decisions are written down.
    pub audit: AuditConfig,
    /// Whether no output is driven, in a run that only watches.
    pub dry_run: bool,
    /// Where every section begins, and where every key has its value: `line` at `:3:1`, `line.model` at `:6:9`.
    places: BTreeMap<String, String>,
}

/// What senses and signals beside camera and ejectors; none of it must be there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Devices {
    /// What measures the belt.
    pub encoder: Option<EncoderSetting>,
    /// What sees parts before the camera does, in every lane that has no photo-eye of its own.
    pub photo_eye: Option<InputConfig>,
    /// What sees that the bin is full.
    pub bin: Option<InputConfig>,
    /// What stops the belt.
    pub stop_line: Option<OutputConfig>,
    /// What calls a person.
    pub alarm: Option<OutputConfig>,
    /// What shows that the line is inspected.
    pub heartbeat: Option<HeartbeatSetting>,
}

/// What measures the belt, and by how much.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderSetting {
    /// The device.
    pub config: EncoderConfig,
    /// How far the belt moves from one count to the next.
    pub per_count: Length,
}

/// What shows that the line is inspected.
#[derive(Debug, Clone, PartialEq)]
pub struct HeartbeatSetting {
    /// The device.
    pub output: OutputConfig,
    /// From one beat to the next; the output is active for half of it.
    pub period: Duration,
}

/// Where frames come from.
#[derive(Debug, Clone, PartialEq)]
pub enum CameraConfig {
    /// A folder of images that is replayed.
    Folder(FolderConfig),
    /// A camera that Linux knows.
    V4l2(v4l2::Settings),
    /// A program that sends frames through a pipe.
    Pipe(pipe::Settings),
    /// The synthetic conveyor.
    Synthetic(SyntheticConfig),
}

impl CameraConfig {
    /// Pixels per row and rows of its frames, where the configuration sets them.
    pub fn frame(&self) -> Option<(u32, u32)> {
        match self {
            CameraConfig::V4l2(settings) => Some((settings.width, settings.height)),
            CameraConfig::Pipe(settings) => Some((settings.width, settings.height)),
            CameraConfig::Folder(_) | CameraConfig::Synthetic(_) => None,
        }
    }
}

impl fmt::Display for CameraConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CameraConfig::Folder(folder) => write!(f, "folder {}", folder.path.display()),
            CameraConfig::V4l2(settings) => write!(f, "v4l2 {}", settings.device.display()),
            CameraConfig::Pipe(settings) => write!(f, "pipe {}", settings.command.join(" ")),
            CameraConfig::Synthetic(synthetic) => write!(f, "synthetic, seed {}", synthetic.seed),
        }
    }
}

impl fmt::Display for OutputConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputConfig::Serial(serial) => write!(f, "serial {}", serial.port.display()),
            OutputConfig::Gpio(settings) => write!(f, "gpio {} {}", settings.chip, settings.line),
            OutputConfig::Modbus(settings) => write!(f, "modbus {} {}", settings.server, settings.target),
            OutputConfig::None => f.write_str("none"),
        }
    }
}

impl fmt::Display for InputConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputConfig::Gpio(settings) => write!(f, "gpio {} {}", settings.chip, settings.line),
            InputConfig::Modbus(settings) => write!(f, "modbus {} {}", settings.server, settings.source),
        }
    }
}

/// A folder of images that is replayed in the order of their names.
#[derive(Debug, Clone, PartialEq)]
pub struct FolderConfig {
    /// The folder.
    pub path: PathBuf,
    /// Frames per second.
    pub rate: f64,
    /// How often the folder is replayed; `None` without end.
    pub repeat: Option<u64>,
}

/// The synthetic conveyor: products that the program renders itself.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticConfig {
    /// The same seed gives the same parts.
    pub seed: u64,
    /// Parts per second.
    pub rate: f64,
    /// How many parts pass; `None` without end.
    pub parts: Option<u64>,
    /// The share of parts that has a defect, 0..=1.
    pub defect_share: f64,
}

/// What ejects.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputConfig {
    /// A message over a serial port.
    Serial(SerialConfig),
    /// A GPIO line.
    Gpio(gpio::Settings),
    /// A coil or a register of a Modbus TCP server.
    Modbus(modbus::Settings),
    /// Nothing: decisions are only written down.
    None,
}

/// A sensor that is on or off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputConfig {
    /// A GPIO line.
    Gpio(inputs::gpio::Settings),
    /// A bit of a Modbus TCP server.
    Modbus(inputs::modbus::Settings),
}

/// What measures how far the belt moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncoderConfig {
    /// Two channels on GPIO lines.
    Gpio(encoder::Settings),
    /// A count in registers of a Modbus TCP server.
    Modbus(encoder::RegisterSettings),
}

/// A message over a serial port.
#[derive(Debug, Clone, PartialEq)]
pub struct SerialConfig {
    /// The device file, such as `/dev/ttyUSB0` or a link below `/dev/serial/by-id`.
    pub port: PathBuf,
    /// Bits per second.
    pub baud: u32,
    /// What is sent for every rejected part.
    pub message: Template,
    /// What is sent when the pulse ends, at the start and at the end of the program.
    pub release: Option<Template>,
    /// What the device says to each message; `None`: it says nothing.
    pub ack: Option<Ack>,
}

/// A device's acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// What it says.
    pub answer: Vec<u8>,
    /// How long after a message it says so at the latest.
    pub timeout: Duration,
}

impl SerialConfig {
    /// How long `message` is on the wire: start bit, 8 data bits, stop bit.
    pub fn sending(&self, message: &[u8]) -> Duration {
        Duration::from_secs_f64(message.len() as f64 * 10.0 / f64::from(self.baud))
    }
}

impl LineConfig {
    /// Reads and validates the configuration in `path`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is of a newer format, has an unknown key, a wrong type, or a value that makes no sense.
    pub fn open(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::usage(format!("configuration {} cannot be read", path.display()))
                .because(error)
                .advise("name an existing TOML file; docs/configuration.md has a complete one")
        })?;
        Self::parse(path, &text)
    }

    /// Validates `text`; `path` is named in errors and is what relative paths start from.
    ///
    /// # Errors
    ///
    /// As [`LineConfig::open`].
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let config = typed::read(path, text).map_err(|complaint| complaint.at(path, text))?;
        shared::check(&config)?;
        Ok(config)
    }

    /// Whether something stops the belt: a relay, or who watches the heartbeat.
    pub fn can_stop_belt(&self) -> bool {
        let heartbeat = self.devices.heartbeat.as_ref().map(|heartbeat| &heartbeat.output);
        [self.devices.stop_line.as_ref(), heartbeat].into_iter().flatten().any(|output| *output != OutputConfig::None)
    }

    /// The keys by which a line that has to stop is asked for.
    pub fn stops_asked_for(&self) -> Vec<String> {
        let rules = &self.rules;
        let common =
            [("line.late", rules.late), ("bin.full", rules.bin_full), ("limits.exceeded", rules.limits.exceeded)];
        let common = common.map(|(key, follows)| (key.to_owned(), Some(follows)));
        let missing =
            self.lanes.iter().zip(&rules.lanes).map(|(lane, rules)| {
                (lane.key("confirm.missing"), rules.confirm.as_ref().map(|confirm| confirm.missing))
            });
        let asked = common.into_iter().chain(missing);
        asked.filter_map(|(key, follows)| (follows == Some(Consequence::StopLine)).then_some(key)).collect()
    }

    /// Takes away every output, for a run that only watches, and what sees ejected parts: none will be.
    pub fn leave_outputs_alone(&mut self) {
        self.dry_run = true;
        self.lanes.iter_mut().for_each(|lane| (lane.output, lane.confirm) = (OutputConfig::None, None));
        self.rules.lanes.iter_mut().for_each(|lane| lane.confirm = None);
        (self.devices.stop_line, self.devices.alarm, self.devices.heartbeat) = (None, None, None);
    }

    /// The lane of that name.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn lane(&self, name: &str) -> Result<&LaneConfig> {
        let named = |lane: &&LaneConfig| lane.name.as_deref() == Some(name);
        self.lanes.iter().find(named).ok_or_else(|| {
            let known = self.lanes.iter().filter_map(|lane| lane.name.as_deref()).collect::<Vec<_>>();
            let advice = match known.is_empty() {
                true => "it has no section [[lane]]: leave --lane out".to_owned(),
                false => format!("its lanes are: {}", known.join(", ")),
            };
            Error::usage(format!("{} has no lane '{name}'", self.path.display())).advise(advice)
        })
    }

    /// Says of an error that comes from what `key` (as in `line.model`), or one of a section's keys (`line`), names where in
    /// the file that is. An error that knows its key itself is told by that one.
    pub fn blame(&self, key: &str, error: Error) -> Error {
        let key = error.key().unwrap_or(key);
        let place = self.places.get(key).map_or("", String::as_str);
        error.within(&format!("{}{place}: {key}", self.path.display()))
    }
}

#[cfg(test)]
mod tests;
