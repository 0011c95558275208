//! Frames from another program, through a pipe: cameras that Linux shows only to the maker's own software (CSI cameras behind
//! libcamera or libargus), network cameras, whatever GStreamer can read. `docs/cameras.md` has lines that work.
//!
//! | situation | what happens |
//! |---|---|
//! | the program is not there, dies or sends nothing at start | [`PipeCamera::open`] fails and tells its last words |
//! | it dies, or its stream makes no sense | this grab fails; it is started again after a pause, which grows |
//! | silent for longer than [`Settings::silence`] | it is ended, and started again |
//! | a picture that is damaged or cut off | [`Grab::Broken`]; the stream goes on |
//! | this process is slow | of the frames that came, the newest is taken, and the numbers show the gap |
//! | shut down | the program and all that it started are ended |

mod framing;
mod process;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use self::framing::{Piece, Splitter};
use self::process::{Arrived, News, Process};
use super::numbers::Numbers;
use super::pixels::{Layout, PixelFormat};
use super::{BrokenFrame, Camera, Flaw, Frame, Grab, Remains};
use crate::time::StampSource;
use crate::{Error, Result};

/// The pause before a program that died is started again; it doubles with every time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A program that has run for so long is well: the next pause is a short one again.
const WELL: Duration = Duration::from_secs(10);

/// What a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The pixels of one picture after the other; for [`PixelFormat::Mjpg`] JPEG pictures, each with its end.
    Pixels(PixelFormat),
    /// YUV4MPEG2: 4:2:0 or grey, with headers.
    Y4m,
    /// Binary PGM or PPM pictures, with headers.
    Pnm,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Format::Pixels(format) => write!(f, "{format}"),
            Format::Y4m => f.write_str("Y4M"),
            Format::Pnm => f.write_str("PNM"),
        }
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let in_one_buffer = PixelFormat::ALL.into_iter().filter(|format| format.buffers() == 1);
        let known: Vec<Format> = in_one_buffer.map(Format::Pixels).chain([Format::Y4m, Format::Pnm]).collect();
        known.iter().find(|format| format.to_string().eq_ignore_ascii_case(name)).copied().ok_or_else(|| {
            let names: Vec<String> = known.iter().map(Format::to_string).collect();
            Error::usage(format!("format \"{name}\" is not one of {}", names.join(", ")))
        })
    }
}

/// What the configuration asks of a program that sends frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The program and its arguments, each a word; no shell reads them.
    pub command: Vec<String>,
    /// What it writes to its standard output.
    pub format: Format,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row's start to the next, for pixels that are padded; `None`: they are not.
    pub stride: Option<u32>,
    /// After this long without a frame the program counts as stuck and is started anew; zero: never, for one that waits for a
    /// trigger.
    pub silence: Duration,
}

impl Settings {
    /// How a picture lies in the stream; of one that describes itself, its size alone holds.
    pub fn layout(&self) -> Layout {
        let format = if let Format::Pixels(format) = self.format { format } else { PixelFormat::Rgb3 };
        match self.stride {
            Some(stride) => Layout::new(format, self.width, self.height, stride),
            None => Layout::unpadded(format, self.width, self.height),
        }
    }

    /// The program's own name.
    pub fn program(&self) -> &str {
        let program = self.command.first().map_or("", String::as_str);
        Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or(program)
    }
}

/// A program that sends frames.
pub struct PipeCamera {
    name: String,
    settings: Settings,
    state: State,
    /// Before it is started again after its next end.
    pause: Duration,
    numbers: Numbers,
}

enum State {
    Running {
        process: Process,
        since: Instant,
        last_frame: Instant,
    },
    /// It is not started again before this moment, for the reason given.
    Resting {
        until: Instant,
        why: String,
    },
}

impl PipeCamera {
    /// Starts the program and waits for its first frame, as long as frames may take at all.
    ///
    /// # Errors
    ///
    /// It cannot be started, ends, or sends nothing; the error tells what it said last.
    pub fn open(settings: Settings) -> Result<Self> {
        let process = start(&settings)?;
        if !settings.silence.is_zero() {
            match process.first(settings.silence) {
                Ok(true) => {}
                Ok(false) => return Err(silent(&settings, process)),
                Err(why) => return Err(died(&settings, &why)),
            }
        }
        let now = Instant::now();
        Ok(PipeCamera {
            name: settings.program().to_owned(),
            settings,
            state: State::Running { process, since: now, last_frame: now },
            pause: FIRST_PAUSE,
            numbers: Numbers::default(),
        })
    }

    /// The running program, started again when its time has come.
    ///
    /// # Errors
    ///
    /// Its pause is not over within `patience`, or it cannot be started.
    fn revive(&mut self, patience: Duration) -> Result<()> {
        let State::Resting { until, why } = &self.state else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(patience));
        if left > patience {
            return Err(Error::device(why.clone()));
        }
        self.numbers.restart();
        let process = start(&self.settings).inspect_err(|error| self.rest(error.line()))?;
        let now = Instant::now();
        self.state = State::Running { process, since: now, last_frame: now };
        Ok(())
    }

    /// Waits before the program is started again, twice as long as the last time.
    fn rest(&mut self, why: String) {
        if let State::Running { since, .. } = &self.state
            && since.elapsed() >= WELL
        {
            self.pause = FIRST_PAUSE;
        }
        log::debug!("{} is started again in {:?}", self.name, self.pause);
        // The old process, if there is one, is dropped here and so ended.
        self.state = State::Resting { until: Instant::now() + self.pause, why };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn grabbed(&mut self, Arrived { sequence, received, piece }: Arrived) -> Grab {
        let number = self.numbers.next(sequence);
        let (origin, captured, stamp) = (self.name.clone(), received, StampSource::Received);
        let (read, original) = match piece {
            Piece::Picture(layout, bytes) => {
                (layout.to_rgb(&[&bytes]).map_err(|error| error.line()), layout.original(&bytes))
            }
            Piece::Broken(why, bytes) => (Err(why), self.settings.layout().original(&bytes)),
        };
        match read {
            Ok(image) => Grab::Frame(Frame { number, captured, stamp, origin, product: None, image, original }),
            Err(why) => {
                let (flaw, remains) = (Flaw::Unreadable, Remains { image: None, original });
                Grab::Broken(BrokenFrame { number, captured, stamp, origin, flaw, why, remains })
            }
        }
    }
}

impl Camera for PipeCamera {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        true
    }

    fn grab(&mut self, patience: Duration) -> Result<Grab> {
        let deadline = Instant::now() + patience;
        self.revive(patience)?;
        let State::Running { process, last_frame, .. } = &mut self.state else { return Ok(Grab::Timeout) };
        match process.next(deadline.saturating_duration_since(Instant::now())) {
            News::Arrived(arrived) => {
                *last_frame = Instant::now();
                Ok(self.grabbed(arrived))
            }
            News::Ended(why) => {
                let error = died(&self.settings, &why);
                self.rest(error.line());
                Err(error)
            }
            News::Nothing if !self.settings.silence.is_zero() && last_frame.elapsed() >= self.settings.silence => {
                let why = format!("camera {} sent nothing for {:.1} s", self.name, self.settings.silence.as_secs_f64());
                self.rest(why.clone());
                Err(Error::device(why).advise("check the camera; it is started anew"))
            }
            News::Nothing => Ok(Grab::Timeout),
        }
    }
}

fn start(settings: &Settings) -> Result<Process> {
    let splitter = Splitter::new(settings.format, settings.layout());
    Process::start(&settings.command, splitter).map_err(|error| {
        Error::device(format!("{} cannot be started", settings.command.first().map_or("", String::as_str)))
            .because(error)
            .advise("the command is a list: the program, then each argument as a word of its own; no shell reads it")
    })
}

fn died(settings: &Settings, why: &str) -> Error {
    Error::device(format!("camera {} stopped: {why}", settings.program()))
        .advise(format!("run it by hand: {}", by_hand(settings)))
}

fn silent(settings: &Settings, process: Process) -> Error {
    let (program, silence) = (settings.program(), settings.silence.as_secs_f64());
    let why = process.end();
    Error::device(format!("camera {program} sent no {} within {silence:.1} s, and was ended: {why}", settings.format))
        .advise(format!("a longer timeout_ms, or see what it writes by hand: {}", by_hand(settings)))
}

/// The command as a shell wants it, its output counted instead of shown.
fn by_hand(settings: &Settings) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,+@%".contains(letter);
    let quoted = |word: &String| match !word.is_empty() && word.chars().all(is_plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    let words: Vec<String> = settings.command.iter().map(quoted).collect();
    format!("{} | wc -c", words.join(" "))
}

#[cfg(test)]
mod tests;
