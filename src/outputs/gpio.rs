//! A GPIO line of the kernel's character device (`/dev/gpiochip*`): a relay, an opto-coupler, a valve driver.
//!
//! | situation | what happens |
//! |---|---|
//! | no such chip or line | [`GpioOutput::open`] fails and lists the lines that are there, by name |
//! | the line is in use | it fails and says who holds it |
//! | the chip goes away | the next set, or the next look at an idle line, fails |
//! | a set fails | this call fails; the line is given back, and the next call asks for it anew |
//! | shut down | the line is set to its safe level, then given back; what it does then is the chip's affair |
//!
//! The kernel gives a line's level no promise once nobody holds it: wire what hangs on it so that an undriven line is safe (a
//! pull resistor to the safe level).

use gpiocdev::Request;
use gpiocdev::line::Value;
use serde::Deserialize;

use super::{Occasion, Output, Role, is_hung_up};
use crate::gpio::{self, Bias};
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
    /// The chip's own resistor; `None` leaves it as the board has it.
    pub bias: Option<Bias>,
    /// Which levels are driven.
    pub drive: Drive,
}

/// Which levels of a line the chip drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drive {
    /// Both.
    #[default]
    PushPull,
    /// The low one: a resistor pulls the line up.
    OpenDrain,
    /// The high one: a resistor pulls the line down.
    OpenSource,
}

impl From<Drive> for gpiocdev::line::Drive {
    fn from(drive: Drive) -> Self {
        match drive {
            Drive::PushPull => gpiocdev::line::Drive::PushPull,
            Drive::OpenDrain => gpiocdev::line::Drive::OpenDrain,
            Drive::OpenSource => gpiocdev::line::Drive::OpenSource,
        }
    }
}

/// An output on one GPIO line.
pub struct GpioOutput {
    name: String,
    settings: Settings,
    role: Role,
    /// `None` after a failure, until the line could be requested again.
    request: Option<Request>,
}

impl GpioOutput {
    /// Requests the line and drives it to the safe level of `role`. `name` is the configuration's.
    ///
    /// # Errors
    ///
    /// The chip or the line is not there, may not be used, or is held by somebody else.
    pub fn open(name: &str, settings: Settings, role: Role) -> Result<Self> {
        let request = Some(request(&settings, safe(role))?);
        Ok(GpioOutput { name: name.to_owned(), settings, role, request })
    }

    fn set(&mut self, value: Value) -> Result<()> {
        let held = match self.request.take() {
            Some(held) => held,
            None => request(&self.settings, value)?,
        };
        held.set_lone_value(value).map_err(|error| self.lost("set", error))?;
        self.request = Some(held);
        Ok(())
    }

    fn lost(&self, what: &str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::device(format!("GPIO line {} of {} cannot be {what}", self.settings.line, self.settings.chip))
            .because(why)
            .advise("check that the chip is still there (gpiodetect); the line is requested anew until it is")
    }
}

impl Output for GpioOutput {
    fn name(&self) -> &str {
        &self.name
    }

    fn role(&self) -> Role {
        self.role
    }

    fn activate(&mut self, _: &Occasion) -> Result<()> {
        self.set(Value::Active)
    }

    fn hold(&mut self) -> Result<()> {
        self.set(Value::Active)
    }

    fn release(&mut self) -> Result<()> {
        self.set(Value::Inactive)
    }

    fn look(&mut self) -> Result<()> {
        // The level is not read: there are chips that cannot tell it, and a bus that stumbles is no reason to let a line go.
        if self.request.take_if(|held| is_hung_up(held)).is_some() {
            return Err(self.lost("driven", "its chip is gone"));
        }
        Ok(())
    }
}

impl Drop for GpioOutput {
    fn drop(&mut self) {
        // Not through `set`: a line that was lost is not requested once more only to be let go.
        if let Some(Err(error)) = self.request.as_ref().map(|held| held.set_lone_value(safe(self.role))) {
            log::error!("output {} could not be made safe at shut-down: {error}", self.name);
        }
    }
}

fn safe(role: Role) -> Value {
    if role.is_active_when_safe() { Value::Active } else { Value::Inactive }
}

/// The line is driven to `value` from the first moment on.
fn request(settings: &Settings, value: Value) -> Result<Request> {
    let (request, _) = gpio::request(&settings.chip, &[&settings.line], |lines| {
        lines.as_output(value).with_drive(settings.drive.into());
        lines.with_bias(settings.bias.map(gpiocdev::line::Bias::from));
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
            let (line, drive) = ("REJECT".into(), Drive::PushPull);
            let settings = Settings { chip: chip.into(), line, active_low: false, bias: None, drive };
            let error = GpioOutput::open("ejector", settings, Role::Reject).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Device);
            assert!(error.to_string().contains(chip) && error.to_string().contains(says), "{error}");
            assert!(error.report().contains("\n  try: "), "{}", error.report());
        }
    }
}
