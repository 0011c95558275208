//! Lines of the kernel's GPIO character device (`/dev/gpiochip*`): what inputs and outputs share. Lines are found by name.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gpiocdev::line::{Direction, EdgeEvent, Info, Offset};
use gpiocdev::request::Builder;
use gpiocdev::{Chip, Request};
use serde::Deserialize;

use crate::{Error, Result};

/// The name under which the kernel shows who holds a line (`gpioinfo`).
const CONSUMER: &str = "hgad";
/// Edges that the kernel keeps until they are read; more than this (64 lines of 16 edges) it never keeps.
const KEPT_EDGES: u32 = 1024;
/// Edges that one call into the kernel reads.
const READ_EDGES: usize = 64;

/// The resistor that the chip itself puts on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bias {
    /// To the supply.
    PullUp,
    /// To ground.
    PullDown,
    /// None: the line floats unless something drives it.
    None,
}

impl From<Bias> for gpiocdev::line::Bias {
    fn from(bias: Bias) -> Self {
        match bias {
            Bias::PullUp => gpiocdev::line::Bias::PullUp,
            Bias::PullDown => gpiocdev::line::Bias::PullDown,
            Bias::None => gpiocdev::line::Bias::Disabled,
        }
    }
}

/// Requests `lines` of `chip`, each by name or offset, as `configure` says. Gives their offsets in the same order.
///
/// # Errors
///
/// The chip or a line is not there, may not be used, or is held by somebody else.
pub(crate) fn request(
    chip: &str,
    lines: &[&str],
    configure: impl FnOnce(&mut Builder),
) -> Result<(Request, Vec<Offset>)> {
    let chip = find_chip(chip)?;
    let there = all_lines(&chip)?;
    let found = lines.iter().map(|line| find_line(&chip, &there, line)).collect::<Result<Vec<_>>>()?;
    let offsets = found.iter().map(|line| line.offset).collect::<Vec<_>>();
    let mut builder = Request::builder();
    builder.on_chip(chip.path()).with_consumer(CONSUMER).with_kernel_event_buffer_size(KEPT_EDGES).with_lines(&offsets);
    configure(&mut builder);
    let request = builder.request().map_err(|error| refused(&chip, &found, error))?;
    Ok((request, offsets))
}

/// Lines that were requested with edge detection, and the edges that the kernel stamps on them.
#[derive(Debug)]
pub(crate) struct EdgeLines {
    pub(crate) request: Request,
    buffer: Vec<u64>,
}

impl EdgeLines {
    pub(crate) fn new(request: Request) -> Self {
        let buffer = vec![0; READ_EDGES * request.edge_event_u64_size()];
        EdgeLines { request, buffer }
    }

    /// Whether an edge, or word that the chip is gone, comes within `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> io::Result<bool> {
        let mut poll = libc::pollfd { fd: self.request.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(patience.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: patience.subsec_nanos() as libc::c_long,
        };
        // SAFETY: one valid, writable pollfd, whose descriptor `self` keeps open, and a valid timespec; no signal mask.
        match unsafe { libc::ppoll(&mut poll, 1, &timeout, std::ptr::null()) } {
            -1 => match io::Error::last_os_error() {
                // As if the time were over: who waits looks at the clock.
                error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
                error => Err(error),
            },
            ready => Ok(ready > 0),
        }
    }

    /// Reads the edges that are there; does not wait.
    pub(crate) fn read(&mut self, mut take: impl FnMut(EdgeEvent)) -> Result<(), gpiocdev::Error> {
        while self.wait(Duration::ZERO)? {
            let filled = self.request.read_edge_events_into_slice(&mut self.buffer)?;
            for event in self.buffer[..filled].chunks_exact(self.request.edge_event_u64_size()) {
                take(self.request.edge_event_from_slice(event)?);
            }
        }
        Ok(())
    }
}

fn refused(chip: &Chip, lines: &[&Info], error: gpiocdev::Error) -> Error {
    let names = lines.iter().map(|line| describe_name(line)).collect::<Vec<_>>().join(" and ");
    let what = format!("GPIO line {names} of {} cannot be had", chip.path().display());
    if let Some(line) = lines.iter().find(|line| line.used) {
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

fn all_lines(chip: &Chip) -> Result<Vec<Info>> {
    let lines = chip.line_info_iter().map_err(|error| {
        Error::device(format!("the lines of GPIO chip {} cannot be read", chip.path().display())).because(error)
    })?;
    Ok(lines.filter_map(|line| line.ok()).collect())
}

/// The line named `wanted`; where no line has that name, the line of that offset.
fn find_line<'a>(chip: &Chip, lines: &'a [Info], wanted: &str) -> Result<&'a Info> {
    pick_line(lines, wanted).ok_or_else(|| {
        Error::device(format!("GPIO chip {} has no line \"{wanted}\"", chip.path().display()))
            .advise(format!("one of: {}", list_lines(lines)))
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
    fn a_missing_permission_names_the_group() {
        let error = gpiocdev::Error::from(io::Error::from_raw_os_error(libc::EACCES));
        assert!(unusable(Path::new("/dev/gpiochip0"), error).report().contains("usermod -aG gpio"));
    }
}
