//! What the line acts on: an ejector over serial or GPIO.

pub mod firing;
pub mod gpio;
pub mod serial;

use crate::Result;

/// Something that can be switched on for a while: an ejector, a lamp, a stop-line relay.
///
/// The firing thread calls [`Output::activate`] at a part's deadline and [`Output::release`] at the pulse's end. Released
/// is the safe level: an output is released when it is opened, when the program ends, and when it panics.
///
/// A part whose pulse begins while the one before it still lasts calls `activate` again: a level stays where it is, a
/// message is sent for each part. After a failure `release` is called from time to time: it tries to bring the device back.
pub trait Output: Send {
    /// The name from the configuration.
    fn name(&self) -> &str;

    /// Switches on: raises the line, sends the reject message.
    fn activate(&mut self) -> Result<()>;

    /// Switches off, to the safe level. Calling it twice does no harm.
    fn release(&mut self) -> Result<()>;
}

/// No ejector: decisions are only written down.
#[derive(Debug, Default)]
pub struct NoOutput;

impl Output for NoOutput {
    fn name(&self) -> &str {
        "none"
    }

    fn activate(&mut self) -> Result<()> {
        Ok(())
    }

    fn release(&mut self) -> Result<()> {
        Ok(())
    }
}
