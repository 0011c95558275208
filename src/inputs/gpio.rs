//! An input on a GPIO line of the kernel's character device (`/dev/gpiochip*`): Linux 5.10 or newer.
//!
//! | situation | what happens |
//! |---|---|
//! | no such chip or line | [`GpioInput::open`] fails and lists the lines that are there, by name |
//! | the line is in use | it fails and says who holds it |
//! | the chip is lost | the wait ends with an error; each further one asks for the line anew |
//! | edges come faster than they are read | the kernel keeps the newest 1024, and the number of those that it dropped is told |
//!
//! Edges carry the kernel's stamp, taken in the interrupt. Debouncing does not move it: an edge that has proved to last is
//! stamped when it happened, and told when it has lasted.

use std::time::Duration;

use gpiocdev::line::{EdgeDetection, EdgeEvent, EdgeKind, EventClock, Value};

use super::edges::EdgeDecoder;
use super::{Edge, Edges, Input, Sense};
use crate::gpio::{self, Bias, EdgeLines};
use crate::time::Monotonic;
use crate::{Error, Result};

/// What the configuration asks of an input's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The chip: a path (`/dev/gpiochip0`), a name (`gpiochip0`) or a label (`pinctrl-bcm2711`).
    pub chip: String,
    /// The line: its name (`GPIO17`), or its offset on the chip where it has none.
    pub line: String,
    /// Whether the sensor is active while the line is low.
    pub active_low: bool,
    /// The chip's own resistor; `None` leaves it as the board has it.
    pub bias: Option<Bias>,
    /// For how long a level must last to count; zero: every edge counts.
    pub debounce: Duration,
    /// Which edges are told.
    pub edges: Edges,
}

/// An input on one GPIO line.
pub struct GpioInput {
    name: String,
    settings: Settings,
    /// `None` after a failure, until the line could be requested again.
    line: Option<Line>,
}

struct Line {
    lines: EdgeLines,
    decoder: EdgeDecoder,
}

impl GpioInput {
    /// Requests the line. `name` is the configuration's.
    ///
    /// # Errors
    ///
    /// The chip or the line is not there, may not be used, or is held by somebody else.
    pub fn open(name: &str, settings: Settings) -> Result<Self> {
        let line = Some(Line::open(&settings)?);
        Ok(GpioInput { name: name.to_owned(), settings, line })
    }

    /// Uses the line, which is requested again after a failure.
    fn with_line<T>(&mut self, using: impl FnOnce(&mut Line) -> Result<T, gpiocdev::Error>) -> Result<T> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => Line::open(&self.settings)?,
        };
        let used = using(&mut line).map_err(|error| gone(&self.settings.chip, &self.settings.line, error))?;
        self.line = Some(line);
        Ok(used)
    }
}

/// A line that was requested cannot be read.
pub(super) fn gone(chip: &str, line: &str, error: gpiocdev::Error) -> Error {
    Error::device(format!("GPIO line {line} of {chip} cannot be read"))
        .because(error)
        .advise("check that the chip is still there (gpiodetect); the line is requested anew by itself")
}

impl Line {
    fn open(settings: &Settings) -> Result<Self> {
        // A pulse that is over before the kernel reads the level is still an edge when only its kind is listened to.
        let detection = match settings.edges {
            _ if !settings.debounce.is_zero() => EdgeDetection::BothEdges,
            Edges::Active => EdgeDetection::RisingEdge,
            Edges::Inactive => EdgeDetection::FallingEdge,
            Edges::Both => EdgeDetection::BothEdges,
        };
        let (request, _) = gpio::request(&settings.chip, &[&settings.line], |lines| {
            lines.as_input().with_edge_detection(detection).with_event_clock(EventClock::Monotonic);
            lines.with_bias(settings.bias.map(gpiocdev::line::Bias::from));
            if settings.active_low {
                lines.as_active_low();
            }
        })?;
        let level = request.lone_value().map_err(|error| gone(&settings.chip, &settings.line, error))?;
        let decoder = EdgeDecoder::new(settings.edges, settings.debounce, level == Value::Active);
        Ok(Line { lines: EdgeLines::new(request), decoder })
    }

    fn wait(&mut self, end: Monotonic) -> Result<Sense, gpiocdev::Error> {
        loop {
            // What has lasted long enough is known only once all edges until then are.
            let now = Monotonic::now();
            self.lines.read(|event| self.decoder.take(edge(&event), event.seqno))?;
            self.decoder.settle(now);
            if let Some(sense) = self.decoder.next() {
                return Ok(sense);
            }
            if end <= now {
                return Ok(Sense::Nothing);
            }
            let until = self.decoder.settles().map_or(end, |settles| settles.min(end));
            self.lines.wait(until.saturating_since(now))?;
        }
    }
}

fn edge(event: &EdgeEvent) -> Edge {
    Edge { at: Monotonic::from_nanos(event.timestamp_ns), active: event.kind == EdgeKind::Rising }
}

impl Input for GpioInput {
    fn name(&self) -> &str {
        &self.name
    }

    fn wait(&mut self, patience: Duration) -> Result<Sense> {
        let end = Monotonic::now() + patience;
        self.with_line(|line| line.wait(end))
    }

    fn level(&mut self) -> Result<bool> {
        self.with_line(|line| line.lines.request.lone_value()).map(|level| level == Value::Active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn an_event_of_the_kernel_is_an_edge_on_the_lines_clock() {
        let event = |kind| EdgeEvent { timestamp_ns: 12_345_678_901, kind, offset: 3, seqno: 7, line_seqno: 7 };
        let at = Monotonic::from_nanos(12_345_678_901);
        assert_eq!(edge(&event(EdgeKind::Rising)), Edge { at, active: true });
        assert_eq!(edge(&event(EdgeKind::Falling)), Edge { at, active: false });
    }

    #[test]
    fn an_absent_chip_is_a_device_error_with_advice() {
        let settings = Settings {
            chip: "gpiochip-of-nobody".into(),
            line: "EYE".into(),
            active_low: false,
            bias: None,
            debounce: Duration::ZERO,
            edges: Edges::Active,
        };
        let error = GpioInput::open("photo-eye", settings).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Device);
        assert!(error.report().contains("gpiochip-of-nobody") && error.report().contains("\n  try: "), "{error}");
    }
}
