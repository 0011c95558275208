//! An input that is a bit of a Modbus TCP server, which is asked for it at a period.
//!
//! What is shorter than the period can be missed, and an edge is known only so exactly: a photo-eye that rejects are timed by
//! belongs on a GPIO line. A server that is lost ends the wait with an error; each further one asks it anew, and a level that
//! has changed meanwhile is an edge then.

use std::fmt;
use std::time::Duration;

use super::edges::EdgeDecoder;
use super::{Edge, Edges, Input, Sense};
use crate::Result;
use crate::modbus::{Bits, Client, Registers, Server};
use crate::time::Monotonic;

/// Where the bit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A bit in one of the tables of bits.
    Bit(Bits, u16),
    /// A bit of a register, counted from 0, the lowest.
    OfRegister(Registers, u16, u8),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Bit(Bits::Coils, address) => write!(f, "coil {address}"),
            Source::Bit(Bits::DiscreteInputs, address) => write!(f, "discrete input {address}"),
            Source::OfRegister(Registers::Holding, address, bit) => write!(f, "holding register {address} bit {bit}"),
            Source::OfRegister(Registers::Input, address, bit) => write!(f, "input register {address} bit {bit}"),
        }
    }
}

/// What the configuration asks of an input over Modbus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The server.
    pub server: Server,
    /// The bit.
    pub source: Source,
    /// How often it is asked for.
    pub period: Duration,
    /// Whether the sensor is active while the bit is 0.
    pub active_low: bool,
    /// For how long a level must last to count; zero: what one answer says counts.
    pub debounce: Duration,
    /// Which edges are told.
    pub edges: Edges,
}

/// An input over Modbus.
pub struct ModbusInput {
    name: String,
    settings: Settings,
    client: Client,
    decoder: EdgeDecoder,
    level: bool,
    /// Edges so far.
    number: u32,
    next: Monotonic,
}

impl ModbusInput {
    /// Connects and reads the level. `name` is the configuration's.
    ///
    /// # Errors
    ///
    /// The server is not there, does not answer in time, or refuses.
    pub fn open(name: &str, settings: Settings) -> Result<Self> {
        let mut client = Client::open(settings.server.clone())?;
        let level = read(&mut client, &settings)?;
        let decoder = EdgeDecoder::new(settings.edges, settings.debounce, level);
        let next = Monotonic::now() + settings.period;
        Ok(ModbusInput { name: name.to_owned(), settings, client, decoder, level, number: 0, next })
    }

    fn poll(&mut self) -> Result<()> {
        let asked = Monotonic::now();
        // Answers that were late are not made up for.
        self.next = asked.max(self.next) + self.settings.period;
        let level = read(&mut self.client, &self.settings)?;
        let answered = Monotonic::now();
        if level != std::mem::replace(&mut self.level, level) {
            self.number = self.number.wrapping_add(1);
            let at = asked + answered.saturating_since(asked) / 2;
            self.decoder.take(Edge { at, active: level }, self.number);
        }
        self.decoder.settle(answered);
        Ok(())
    }
}

fn read(client: &mut Client, settings: &Settings) -> Result<bool> {
    let bit = match settings.source {
        Source::Bit(table, address) => client.read_bits(table, address, 1)?[0],
        Source::OfRegister(table, address, bit) => client.read_registers(table, address, 1)?[0] >> bit & 1 == 1,
    };
    Ok(bit != settings.active_low)
}

impl Input for ModbusInput {
    fn name(&self) -> &str {
        &self.name
    }

    fn wait(&mut self, patience: Duration) -> Result<Sense> {
        let end = Monotonic::now() + patience;
        loop {
            if let Some(sense) = self.decoder.next() {
                return Ok(sense);
            }
            if end < self.next {
                end.sleep_until();
                return Ok(Sense::Nothing);
            }
            self.next.sleep_until();
            self.poll()?;
        }
    }

    fn level(&mut self) -> Result<bool> {
        read(&mut self.client, &self.settings)
    }
}
