//! An output that is a coil or a register of a Modbus TCP server.
//!
//! A write is awaited: the output has acted when the server says so. One that is not answered within the server's time-out
//! has failed, and holds up the output's other orders for so long. A connection that is lost while nothing is to do is opened anew, and
//! the level that the output has to have is written again: the server may have been restarted, or close what is idle. Where that level is
//! the active one, it may have been off meanwhile: that counts as one failure. What the server does when this program is gone is its own
//! affair: let it watch a heartbeat.

use std::fmt;

use super::{Occasion, Output, Role};
use crate::modbus::{Client, Server};
use crate::{Error, Result};

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A coil.
    Coil {
        /// Its address, from 0.
        address: u16,
        /// Whether it is off while the output is active.
        active_low: bool,
    },
    /// A holding register.
    Register {
        /// Its address, from 0.
        address: u16,
        /// Its value while the output is active.
        active: u16,
        /// Its value otherwise.
        released: u16,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Coil { address, .. } => write!(f, "coil {address}"),
            Target::Register { address, .. } => write!(f, "holding register {address}"),
        }
    }
}

/// What the configuration asks of an output over Modbus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The server.
    pub server: Server,
    /// What is written there.
    pub target: Target,
    /// Whether it is written with the function codes for many (15 and 16), which some servers have alone.
    pub multiple: bool,
}

/// An output over Modbus.
pub struct ModbusOutput {
    name: String,
    settings: Settings,
    role: Role,
    client: Client,
    /// What was written last, or was to be.
    is_active: bool,
}

impl ModbusOutput {
    /// Connects and writes the safe level of `role`. `name` is the configuration's.
    ///
    /// # Errors
    ///
    /// The server is not there, does not answer in time, or refuses.
    pub fn open(name: &str, settings: Settings, role: Role) -> Result<Self> {
        let client = Client::open(settings.server.clone())?;
        let is_active = role.is_active_when_safe();
        let mut output = ModbusOutput { name: name.to_owned(), settings, role, client, is_active };
        output.write(is_active)?;
        Ok(output)
    }

    fn write(&mut self, active: bool) -> Result<()> {
        self.is_active = active;
        match self.settings.target {
            Target::Coil { address, active_low } => {
                let on = active != active_low;
                match self.settings.multiple {
                    true => self.client.write_coils(address, &[on]),
                    false => self.client.write_coil(address, on),
                }
            }
            Target::Register { address, active: on, released } => {
                let value = if active { on } else { released };
                match self.settings.multiple {
                    true => self.client.write_registers(address, &[value]),
                    false => self.client.write_register(address, value),
                }
            }
        }
    }
}

impl Output for ModbusOutput {
    fn name(&self) -> &str {
        &self.name
    }

    fn role(&self) -> Role {
        self.role
    }

    fn activate(&mut self, _: &Occasion) -> Result<()> {
        self.write(true)
    }

    fn hold(&mut self) -> Result<()> {
        self.write(true)
    }

    fn release(&mut self) -> Result<()> {
        self.write(false)
    }

    fn look(&mut self) -> Result<()> {
        if self.client.is_connected() {
            return Ok(());
        }
        self.client.disconnect();
        self.write(self.is_active)?;
        match self.is_active {
            // A server that was restarted meanwhile had let go what was to stand.
            true => Err(Error::device(
                "the connection to the server was lost while the output was active: it may have been off",
            )
            .advise("it is written again; where the server only closes idle connections, let it wait for longer")),
            false => Ok(()),
        }
    }
}
