//! An incremental encoder whose channels are two GPIO lines of one chip.
//!
//! Every edge costs an interrupt: some ten thousand edges per second are what a small board has time for. A hardware counter
//! that is read over Modbus goes on where this ends.

use std::time::Duration;

use gpiocdev::Request;
use gpiocdev::line::{EdgeDetection, EdgeKind, EventClock, Offset, Value};

use super::{Channel, Count, Encoder, Quadrature, Resolution};
use crate::Result;
use crate::gpio::{self, Bias, EdgeLines};
use crate::inputs::gpio::gone;
use crate::time::Monotonic;

/// Edges of so long a time become one count: at a meter per second the belt moves 2 mm meanwhile, and the count's stamp is
/// that of its last edge.
const BATCH: Duration = Duration::from_millis(2);

/// What the configuration asks of an encoder's lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The chip: a path (`/dev/gpiochip0`), a name (`gpiochip0`) or a label (`pinctrl-bcm2711`).
    pub chip: String,
    /// The line of the channel that leads on the way forward: its name, or its offset where it has none.
    pub a: String,
    /// The line of the channel that follows. An encoder that counts backward has its channels swapped.
    pub b: String,
    /// The chip's own resistors; `None` leaves them as the board has them.
    pub bias: Option<Bias>,
    /// Counts per period.
    pub resolution: Resolution,
}

/// An encoder on two GPIO lines.
pub struct GpioEncoder {
    name: String,
    settings: Settings,
    /// `None` after a failure, until the lines could be requested again.
    lines: Option<Lines>,
    decoder: Quadrature,
    /// The last edge's stamp.
    moved: Monotonic,
    told: Option<Count>,
}

struct Lines {
    edges: EdgeLines,
    a: Offset,
}

impl GpioEncoder {
    /// Requests the lines. `name` is the configuration's.
    ///
    /// # Errors
    ///
    /// The chip or a line is not there, may not be used, or is held by somebody else.
    pub fn open(name: &str, settings: Settings) -> Result<Self> {
        let (lines, (a, b)) = open(&settings)?;
        let decoder = Quadrature::new(settings.resolution, a, b);
        let (name, moved) = (name.to_owned(), Monotonic::now());
        Ok(GpioEncoder { name, settings, lines: Some(lines), decoder, moved, told: None })
    }

    /// What was not told yet.
    fn news(&mut self) -> Option<Count> {
        let news = Count { at: self.moved, count: self.decoder.count(), doubts: self.decoder.doubts() };
        let is_new = self.told.is_none_or(|told| (told.count, told.doubts) != (news.count, news.doubts));
        is_new.then(|| *self.told.insert(news))
    }

    fn read(&mut self, lines: &mut Lines, end: Monotonic) -> Result<Option<Count>, gpiocdev::Error> {
        loop {
            if let Some(news) = self.news() {
                return Ok(Some(news));
            }
            let now = Monotonic::now();
            if !lines.edges.wait(end.saturating_since(now))? {
                if end <= Monotonic::now() {
                    return Ok(None);
                }
                continue;
            }
            (Monotonic::now() + BATCH).sleep_until();
            let a = lines.a;
            lines.edges.read(|event| {
                let channel = if event.offset == a { Channel::A } else { Channel::B };
                self.decoder.edge(channel, event.kind == EdgeKind::Rising, event.seqno);
                self.moved = Monotonic::from_nanos(event.timestamp_ns);
            })?;
        }
    }
}

fn open(settings: &Settings) -> Result<(Lines, (bool, bool))> {
    let (request, offsets) = gpio::request(&settings.chip, &[&settings.a, &settings.b], |lines| {
        lines.as_input().with_edge_detection(EdgeDetection::BothEdges).with_event_clock(EventClock::Monotonic);
        lines.with_bias(settings.bias.map(gpiocdev::line::Bias::from));
    })?;
    let (a, b) = (offsets[0], offsets[1]);
    let levels = levels(&request, a, b).map_err(|error| settings.gone(error))?;
    Ok((Lines { edges: EdgeLines::new(request), a }, levels))
}

fn levels(request: &Request, a: Offset, b: Offset) -> Result<(bool, bool), gpiocdev::Error> {
    Ok((request.value(a)? == Value::Active, request.value(b)? == Value::Active))
}

impl Settings {
    fn gone(&self, error: gpiocdev::Error) -> crate::Error {
        gone(&self.chip, &format!("{} or {}", self.a, self.b), error)
    }
}

impl Encoder for GpioEncoder {
    fn name(&self) -> &str {
        &self.name
    }

    fn wait(&mut self, patience: Duration) -> Result<Option<Count>> {
        let end = Monotonic::now() + patience;
        let mut lines = match self.lines.take() {
            Some(lines) => lines,
            None => {
                let (lines, (a, b)) = open(&self.settings)?;
                self.decoder.resume(a, b);
                self.moved = Monotonic::now();
                lines
            }
        };
        let news = self.read(&mut lines, end).map_err(|error| self.settings.gone(error))?;
        self.lines = Some(lines);
        Ok(news)
    }
}
