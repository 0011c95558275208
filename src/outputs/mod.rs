//! What the line acts on: an ejector over serial or GPIO.

pub mod gpio;

use crate::Result;

/// Something that can be switched on for a while: an ejector, a lamp, a stop-line relay.
///
/// The firing thread calls [`Output::activate`] at a part's deadline and [`Output::release`] at the pulse's end. Released
/// is the safe level: an output is released when it is opened, when the program ends, and when it panics.
pub trait Output: Send {
    /// The name from the configuration.
    fn name(&self) -> &str;

    /// Switches on: raises the line, sends the reject message.
    fn activate(&mut self) -> Result<()>;

    /// Switches off, to the safe level. Calling it twice does no harm.
    fn release(&mut self) -> Result<()>;
}
