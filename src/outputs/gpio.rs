//! A GPIO line of the kernel's character device (`/dev/gpiochip*`): a relay, an opto-coupler, a valve driver.
//!
//! | situation | what happens |
//! |---|---|
//! | no such chip or line | [`GpioOutput::open`] fails and lists the lines that are there, by name |
//! | the line is in use | it fails and says who holds it |
//! | a set fails | this call fails; the line is given back, and the next call asks for it anew, released |
//! | shut down | the line is set to its released level, then given back; what it does then is the chip's affair |
//!
//! The kernel gives a line's level no promise once nobody holds it: wire the ejector so that an undriven line is safe (a
//! pull resistor to the released level).

use gpiocdev::Request;
use gpiocdev::line::Value;

use super::Output;
use crate::gpio;
use crate::{Error, Result};

/// What the configuration asks of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The chip: a path (`/dev/gpiochip0`), a name (`gpiochip0`) or a label (`pinctrl-bcm2711`).
    pub chip: String,
    /// The line: its name (`GPIO17`), or its offset on the chip where it has none.
    pub line: String,
    /// Whether the line is at its low level while the output is active.
    pub active_low: bool,
}

/// An output on one GPIO line.
pub struct GpioOutput {
    name: String,
    settings: Settings,
    /// `None` after a failure, until the line could be requested again.
    request: Option<Request>,
}

impl GpioOutput {
    /// Requests the line and drives it to its released level. `name` is the configuration's.
    ///
    /// # Errors
    ///
    /// The chip or the line is not there, may not be used, or is held by somebody else.
    pub fn open(name: &str, settings: Settings) -> Result<Self> {
        let request = Some(request(&settings)?);
        Ok(GpioOutput { name: name.to_owned(), settings, request })
    }

    fn set(&mut self, value: Value) -> Result<()> {
        let held = match self.request.take() {
            Some(held) => held,
            None => request(&self.settings)?,
        };
        held.set_lone_value(value).map_err(|error| {
            Error::device(format!("GPIO line {} of {} cannot be set", self.settings.line, self.settings.chip))
                .because(error)
                .advise("check that the chip is still there (gpiodetect); the line is requested anew at the next pulse")
        })?;
        self.request = Some(held);
        Ok(())
    }
}

impl Output for GpioOutput {
    fn name(&self) -> &str {
        &self.name
    }

    fn activate(&mut self) -> Result<()> {
        self.set(Value::Active)
    }

    fn release(&mut self) -> Result<()> {
        self.set(Value::Inactive)
    }
}

impl Drop for GpioOutput {
    fn drop(&mut self) {
        // Not through `set`: a line that was lost is not requested once more only to be let go.
        if let Some(Err(error)) = self.request.as_ref().map(|held| held.set_lone_value(Value::Inactive)) {
            log::error!("output {} could not be released at shut-down: {error}", self.name);
        }
    }
}

fn request(settings: &Settings) -> Result<Request> {
    let (request, _) = gpio::request(&settings.chip, &[&settings.line], |lines| {
        lines.as_output(Value::Inactive);
        if settings.active_low {
            lines.as_active_low();
        }
    })?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn an_absent_chip_and_a_file_that_is_none_are_device_errors_with_advice() {
        for (chip, says) in [("gpiochip-of-nobody", "there is no GPIO chip"), ("/dev/null", "cannot be opened")] {
            let settings = Settings { chip: chip.into(), line: "REJECT".into(), active_low: false };
            let error = GpioOutput::open("ejector", settings).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Device);
            assert!(error.to_string().contains(chip) && error.to_string().contains(says), "{error}");
            assert!(error.report().contains("\n  try: "), "{}", error.report());
        }
    }
}
