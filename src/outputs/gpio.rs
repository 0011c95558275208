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

use std::io;
use std::path::{Path, PathBuf};

use gpiocdev::line::{Direction, Info, Value};
use gpiocdev::{Chip, Request};

use super::Output;
use crate::{Error, Result};

/// The name under which the kernel shows who holds the line (`gpioinfo`).
const CONSUMER: &str = "hgad";

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
    let chip = find_chip(&settings.chip)?;
    let line = find_line(&chip, &settings.line)?;
    let mut builder = Request::builder();
    builder.on_chip(chip.path()).with_consumer(CONSUMER).with_line(line.offset).as_output(Value::Inactive);
    if settings.active_low {
        builder.as_active_low();
    }
    builder.request().map_err(|error| refused(&chip, &line, error))
}

fn refused(chip: &Chip, line: &Info, error: gpiocdev::Error) -> Error {
    let what = format!("GPIO line {} of {} cannot be had", describe_name(line), chip.path().display());
    if line.used {
        let holder = if line.consumer.is_empty() { "the kernel" } else { line.consumer.as_str() };
        return Error::device(format!("{what}: it is held by \"{holder}\""))
            .because(error)
            .advise("stop that program, or free the line in the device tree, or use another line");
    }
    Error::device(what)
        .because(error)
        .advise("check that the pin is not taken by another function (gpioinfo, device tree)")
}

/// The chip with the path, name or label `wanted`.
fn find_chip(wanted: &str) -> Result<Chip> {
    let path = if wanted.contains('/') { PathBuf::from(wanted) } else { Path::new("/dev").join(wanted) };
    if path.exists() {
        return Chip::from_path(&path).map_err(|error| unusable(&path, error));
    }
    // A chip that may not be opened cannot be asked for its label.
    let mut there = Vec::new();
    let mut forbidden = None;
    for path in gpiocdev::chip::chips().unwrap_or_default() {
        match Chip::from_path(&path) {
            Ok(chip) => {
                let label = chip.info().map(|info| info.label).unwrap_or_default();
                if label == wanted {
                    return Ok(chip);
                }
                there.push(format!("{} ({label})", path.display()));
            }
            Err(error) => forbidden = Some((path, error)),
        }
    }
    if let Some((path, error)) = forbidden {
        return Err(unusable(&path, error));
    }
    let advice = match there.as_slice() {
        [] => "load the driver of the board's GPIO controller: there is no /dev/gpiochip*".to_owned(),
        _ => format!("one of the chips that are there: {}", there.join(", ")),
    };
    Err(Error::device(format!("there is no GPIO chip \"{wanted}\"")).advise(advice))
}

fn unusable(path: &Path, error: gpiocdev::Error) -> Error {
    let advice = if is_permission(&error) {
        "add this user to the group that owns the chip, usually \"gpio\" (sudo usermod -aG gpio $USER), then log in again"
    } else {
        "a GPIO chip is a character device named /dev/gpiochip0, /dev/gpiochip1, ..."
    };
    Error::device(format!("GPIO chip {} cannot be opened", path.display())).because(error).advise(advice)
}

fn is_permission(error: &gpiocdev::Error) -> bool {
    matches!(error, gpiocdev::Error::Os(errno)
        if io::Error::from_raw_os_error(errno.0).kind() == io::ErrorKind::PermissionDenied)
}

/// The line named `wanted`; where no line has that name, the line of that offset.
fn find_line(chip: &Chip, wanted: &str) -> Result<Info> {
    let unreadable = |error| {
        Error::device(format!("the lines of GPIO chip {} cannot be read", chip.path().display())).because(error)
    };
    let lines: Vec<Info> = chip.line_info_iter().map_err(unreadable)?.filter_map(|line| line.ok()).collect();
    pick_line(&lines, wanted).cloned().ok_or_else(|| {
        Error::device(format!("GPIO chip {} has no line \"{wanted}\"", chip.path().display()))
            .advise(format!("one of: {}", list_lines(&lines)))
    })
}

fn pick_line<'a>(lines: &'a [Info], wanted: &str) -> Option<&'a Info> {
    let by_name = lines.iter().find(|line| !line.name.is_empty() && line.name == wanted);
    by_name.or_else(|| {
        let offset = wanted.parse::<u32>().ok()?;
        lines.iter().find(|line| line.offset == offset)
    })
}

/// The lines by name, those without one by offset, each with its holder.
fn list_lines(lines: &[Info]) -> String {
    let describe = |line: &Info| match (line.used, line.direction) {
        (true, _) if line.consumer.is_empty() => format!("{} (held by the kernel)", describe_name(line)),
        (true, _) => format!("{} (held by \"{}\")", describe_name(line), line.consumer),
        (false, Direction::Output) => format!("{} (output)", describe_name(line)),
        (false, Direction::Input) => describe_name(line),
    };
    lines.iter().map(describe).collect::<Vec<_>>().join(", ")
}

fn describe_name(line: &Info) -> String {
    if line.name.is_empty() { line.offset.to_string() } else { line.name.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn line(offset: u32, name: &str, consumer: &str) -> Info {
        Info {
            offset,
            name: name.into(),
            consumer: consumer.into(),
            used: !consumer.is_empty(),
            direction: Direction::Input,
            ..Info::default()
        }
    }

    #[test]
    fn a_line_is_picked_by_its_name_and_else_by_its_offset() {
        // Line 2 is named as if it were line 0.
        let lines = [line(0, "GPIO17", ""), line(1, "", ""), line(2, "0", "")];
        let cases = [("GPIO17", Some(0)), ("1", Some(1)), ("0", Some(2)), ("3", None), ("", None), ("gpio17", None)];
        for (wanted, offset) in cases {
            assert_eq!(pick_line(&lines, wanted).map(|line| line.offset), offset, "{wanted:?}");
        }
    }

    #[test]
    fn lines_are_listed_by_name_with_their_holders() {
        let lines = [line(0, "GPIO17", ""), line(1, "", ""), line(2, "SDA1", "i2c")];
        assert_eq!(list_lines(&lines), "GPIO17, 1, SDA1 (held by \"i2c\")");
    }

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

    #[test]
    fn a_missing_permission_names_the_group() {
        let error = gpiocdev::Error::from(io::Error::from_raw_os_error(libc::EACCES));
        assert!(unusable(Path::new("/dev/gpiochip0"), error).report().contains("usermod -aG gpio"));
    }
}
