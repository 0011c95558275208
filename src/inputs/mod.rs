//! What the line senses: photo-eyes, confirmation sensors, bin-full switches, encoders.
//!
//! An input tells each edge with the moment at which it happened, on the clock on which frames are stamped. What it cannot
//! tell is said as well: edges that were lost are counted, a device that is gone is an error.

mod edges;
pub mod encoder;
pub mod gpio;
pub mod modbus;

use std::time::Duration;

use serde::Deserialize;

use crate::Result;
use crate::config::InputConfig;
use crate::time::Monotonic;

/// A change of an input's level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// When the level changed.
    pub at: Monotonic,
    /// The level since then: a part before the eye, a full bin.
    pub active: bool,
}

/// What an input has to say when it is asked for the next edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// An edge.
    Edge(Edge),
    /// So many edges were lost before the next one: they came faster than they were read.
    Lost(u64),
    /// No edge came within the time given.
    Nothing,
}

/// Which changes of the level are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edges {
    /// Those to the active level: a part arrives.
    #[default]
    Active,
    /// Those to the inactive level: a part leaves.
    Inactive,
    /// All.
    Both,
}

impl Edges {
    /// Whether an edge to this level is one of them.
    pub fn include(self, active: bool) -> bool {
        match self {
            Edges::Active => active,
            Edges::Inactive => !active,
            Edges::Both => true,
        }
    }
}

/// A sensor that is on or off.
///
/// An `Err` means that the device failed, not that it is lost for good: the caller reports the fault and asks again after a
/// pause, upon which the input tries to come back by itself. Edges while it was away are not known; ask for the
/// [`level`](Input::level) then.
pub trait Input: Send {
    /// The name from the configuration.
    fn name(&self) -> &str;

    /// Waits for the next edge, at most for `patience`.
    ///
    /// # Errors
    ///
    /// The device is lost, or not there again yet.
    fn wait(&mut self, patience: Duration) -> Result<Sense>;

    /// Whether it is active now; not debounced.
    ///
    /// # Errors
    ///
    /// As [`Input::wait`].
    fn level(&mut self) -> Result<bool>;
}

/// Opens the input that `config` names; `name` is what it is for.
///
/// # Errors
///
/// The device is not there, may not be used, or cannot be read.
pub fn open(name: &str, config: &InputConfig) -> Result<Box<dyn Input>> {
    Ok(match config {
        InputConfig::Gpio(settings) => Box::new(gpio::GpioInput::open(name, settings.clone())?),
        InputConfig::Modbus(settings) => Box::new(modbus::ModbusInput::open(name, settings.clone())?),
    })
}
