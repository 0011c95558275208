//! How far the belt has moved: an incremental encoder on two GPIO lines, or a count read over Modbus.

mod gpio;
mod quadrature;
mod register;

pub use gpio::{GpioEncoder, Settings};
pub use quadrature::{Channel, Quadrature, Resolution};
pub use register::{RegisterEncoder, RegisterSettings, Width};

use std::time::Duration;

use crate::Result;
use crate::config::EncoderConfig;
use crate::time::Monotonic;

/// How far the belt had moved at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// When it was there.
    pub at: Monotonic,
    /// Counts since the start, forward less backward.
    pub count: i64,
    /// What must make a person doubt the count.
    pub doubts: Doubts,
}

/// What must make a person doubt an encoder's count. All numbers only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Doubts {
    /// Edges to the level that the channel had already: noise on the lines, or an encoder that is too fast.
    pub noise: u64,
    /// How often the direction turned. Many turns without a way are a channel that is broken off, or an edge that trembles.
    pub turns: u64,
    /// How often a stretch was not seen whole. The count holds an estimate where edges were lost, and nothing where the
    /// device was away.
    pub gaps: u64,
}

/// A source of counts.
///
/// An `Err` means that the device failed, not that it is lost for good: the caller reports the fault and asks again after a
/// pause, upon which it tries to come back by itself. Its count then goes on from where it was, with one gap more.
pub trait Encoder: Send {
    /// The name from the configuration.
    fn name(&self) -> &str;

    /// Waits until the count or its doubts have changed, at most for `patience`; `None` where they have not: the belt stands.
    ///
    /// # Errors
    ///
    /// The device is lost, or not there again yet.
    fn wait(&mut self, patience: Duration) -> Result<Option<Count>>;
}

/// Opens the encoder that `config` names; `name` is what it is for.
///
/// # Errors
///
/// The device is not there, may not be used, or cannot be read.
pub fn open(name: &str, config: &EncoderConfig) -> Result<Box<dyn Encoder>> {
    Ok(match config {
        EncoderConfig::Gpio(settings) => Box::new(GpioEncoder::open(name, settings.clone())?),
        EncoderConfig::Modbus(settings) => Box::new(RegisterEncoder::open(name, settings.clone())?),
    })
}
