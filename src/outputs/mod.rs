//! What the line acts on: ejectors, stop-line relays, heartbeats and lamps, over GPIO, serial or Modbus TCP.

mod driver;
pub mod firing;
pub mod gpio;
pub mod heartbeat;
pub mod modbus;
pub(crate) mod schedule;
pub mod serial;
mod template;

pub use template::Template;

use std::os::fd::AsRawFd;

use serde::Deserialize;

use crate::Result;
use crate::config::OutputConfig;
use crate::line::PartId;

/// What an output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Throws bad parts off the belt.
    Reject,
    /// Stops the belt while it is active.
    StopLine,
    /// Shows by its changes that the program lives.
    Heartbeat,
    /// Calls a person while it is active.
    Alarm,
}

impl Role {
    /// Whether the output is active at its safe level, which it has from the moment it is opened until it is told otherwise,
    /// and when the program ends or panics. A belt that nobody watches must stand, and people must hear of it; an ejector
    /// must rest, and a heart must not seem to beat.
    pub fn is_active_when_safe(self) -> bool {
        match self {
            Role::StopLine | Role::Alarm => true,
            Role::Reject | Role::Heartbeat => false,
        }
    }
}

/// What an output acts for, as far as it is known: what a message may say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Occasion {
    /// The part that is rejected.
    pub part: Option<PartId>,
    /// The product that it was inspected as.
    pub class: Option<String>,
    /// What the inspection found.
    pub score: Option<f32>,
}

/// Something that can be switched on: an ejector, a lamp, a stop-line relay.
///
/// The firing thread calls [`Output::activate`] at a part's deadline and [`Output::release`] at the pulse's end. An output is
/// at its role's safe level when it was opened, and is brought there when the program ends and when it panics.
///
/// A part whose pulse begins while the one before it still lasts calls `activate` again: a level stays where it is, a
/// message is sent for each part. After a failure `hold` or `release` is called from time to time: it tries to bring the
/// device back. While nothing is to do, [`Output::look`] is called now and then.
pub trait Output: Send {
    /// The name from the configuration.
    fn name(&self) -> &str;

    /// What it is for.
    fn role(&self) -> Role;

    /// Switches on for a part: raises the line, sends the message.
    fn activate(&mut self, occasion: &Occasion) -> Result<()>;

    /// Switches on, until further notice. Calling it twice does no harm.
    fn hold(&mut self) -> Result<()>;

    /// Switches off. Calling it twice does no harm.
    fn release(&mut self) -> Result<()>;

    /// Looks whether the device is still there, without waiting for it or saying anything to it: one that goes away between two
    /// parts should be missed before the second one comes. One that is seen to be gone may be brought back. An output that cannot see
    /// that from here has nothing to tell.
    fn look(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Opens the output that `config` names, for `role`; it is at that role's safe level then.
///
/// # Errors
///
/// The device is not there, may not be used, or does not take its safe level.
pub fn open(config: &OutputConfig, role: Role) -> Result<Box<dyn Output>> {
    let name = config.to_string();
    Ok(match config {
        OutputConfig::Serial(serial) => Box::new(serial::SerialOutput::open(serial, role)?),
        OutputConfig::Gpio(settings) => Box::new(gpio::GpioOutput::open(&name, settings.clone(), role)?),
        OutputConfig::Modbus(settings) => Box::new(modbus::ModbusOutput::open(&name, settings.clone(), role)?),
        OutputConfig::None => Box::new(NoOutput),
    })
}

/// No output: what it would do is only written down.
#[derive(Debug, Default)]
pub struct NoOutput;

impl Output for NoOutput {
    fn name(&self) -> &str {
        "none"
    }

    /// Nothing comes of it, whatever it is for.
    fn role(&self) -> Role {
        Role::Reject
    }

    fn activate(&mut self, _: &Occasion) -> Result<()> {
        Ok(())
    }

    fn hold(&mut self) -> Result<()> {
        Ok(())
    }

    fn release(&mut self) -> Result<()> {
        Ok(())
    }
}
/// Whether what stands behind an open device is gone, as the kernel knows it. The device itself is not asked: that may take long, or fail
/// for a moment.
fn is_hung_up(device: &impl AsRawFd) -> bool {
    let mut asked = libc::pollfd { fd: device.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one descriptor, which `device` keeps open, is looked at without waiting.
    let answered = unsafe { libc::poll(&mut asked, 1, 0) };
    answered > 0 && asked.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
}
