//! The sections `[camera]` of cameras that are read live.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use toml::{Spanned, Value};

use super::complaint::Complaint;
use super::typed::{Checked, Document, at_most, milliseconds, pixels, positive};
use crate::Error;
use crate::camera::pipe;
use crate::camera::v4l2::{self, ControlValue, Controls, Memory};

const OFFERED: &str = "hgad camera formats DEVICE lists what the camera offers";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct V4l2Typed {
    device: Spanned<String>,
    width: Spanned<u32>,
    height: Spanned<u32>,
    format: Option<Spanned<String>>,
    fps: Option<Spanned<f64>>,
    timeout_ms: Option<Spanned<f64>>,
    buffers: Option<BuffersTyped>,
    controls: Option<BTreeMap<String, Spanned<Value>>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BuffersTyped {
    Driver,
    Own,
}

impl V4l2Typed {
    const SILENCE: Duration = Duration::from_secs(2);

    pub(super) fn validate(&self, document: &Document) -> Checked<v4l2::Settings> {
        Ok(v4l2::Settings {
            device: document.path("device", &self.device)?,
            width: pixels("width", &self.width)?,
            height: pixels("height", &self.height)?,
            format: self.format.as_ref().map(|typed| format(typed, OFFERED)).transpose()?,
            fps: self.fps.as_ref().map(|fps| at_most("fps", fps, positive("fps", fps)?, 10_000.0)).transpose()?,
            silence: silence(self.timeout_ms.as_ref(), Self::SILENCE)?,
            memory: match self.buffers {
                None | Some(BuffersTyped::Driver) => Memory::Driver,
                Some(BuffersTyped::Own) => Memory::Own,
            },
            controls: self.controls()?,
        })
    }

    fn controls(&self) -> Checked<Controls> {
        let controls = self.controls.iter().flatten();
        controls.map(|(name, typed)| Ok((name.clone(), control_value(name, typed)?))).collect()
    }
}

fn control_value(name: &str, typed: &Spanned<Value>) -> Checked<ControlValue> {
    match typed.get_ref() {
        Value::Boolean(on) => Ok(ControlValue::Switch(*on)),
        Value::Integer(number) => Ok(ControlValue::Number(*number)),
        Value::String(choice) => Ok(ControlValue::Choice(choice.clone())),
        other => Err(Complaint::new(
            typed.span(),
            format!("{name} is to be a whole number, true or false, or a choice's name in quotes, and is {other}"),
            "hgad camera controls DEVICE lists what each control takes",
        )),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PipeTyped {
    command: Spanned<Vec<String>>,
    format: Spanned<String>,
    width: Spanned<u32>,
    height: Spanned<u32>,
    stride: Option<Spanned<u32>>,
    timeout_ms: Option<Spanned<f64>>,
}

impl PipeTyped {
    /// Programs take a while to find their camera.
    const SILENCE: Duration = Duration::from_secs(5);

    pub(super) fn validate(&self, document: &Document) -> Checked<pipe::Settings> {
        let settings = pipe::Settings {
            command: self.command(document)?,
            format: format(&self.format, "docs/cameras.md says what is what in GStreamer and libcamera")?,
            width: pixels("width", &self.width)?,
            height: pixels("height", &self.height)?,
            stride: self.stride.as_ref().map(|typed| *typed.get_ref()),
            silence: silence(self.timeout_ms.as_ref(), Self::SILENCE)?,
        };
        self.check_stride(&settings)?;
        Ok(settings)
    }

    fn command(&self, document: &Document) -> Checked<Vec<String>> {
        let mut words = self.command.get_ref().clone();
        let advice = "the program, then each argument: command = [\"rpicam-vid\", \"-t\", \"0\", \"-o\", \"-\"]";
        match words.as_mut_slice() {
            [] => return Err(Complaint::new(self.command.span(), "command names no program", advice)),
            [program, ..] if program.trim().is_empty() => {
                return Err(Complaint::new(self.command.span(), "command names no program", advice));
            }
            [line] if line.contains(char::is_whitespace) => {
                let what = format!("command is one word, '{line}': no shell takes it apart");
                return Err(Complaint::new(self.command.span(), what, advice));
            }
            // A name alone is searched for; a path starts where all others of the file do.
            [program, ..] if program.contains('/') => {
                *program = document.base.join(&*program).to_string_lossy().into_owned();
            }
            _ => {}
        }
        Ok(words)
    }

    fn check_stride(&self, settings: &pipe::Settings) -> Checked<()> {
        let Some(typed) = &self.stride else { return Ok(()) };
        let unpadded = pipe::Settings { stride: None, ..settings.clone() }.layout();
        let is_raw = matches!(settings.format, pipe::Format::Pixels(_)) && unpadded.bytes().is_some();
        let (stride, row) = (*typed.get_ref(), unpadded.strides[0]);
        let what = match is_raw {
            false => format!("stride has no meaning for {}", settings.format),
            true if stride < row => format!("stride is {stride}, and the pixels of a row alone take {row} bytes"),
            true if stride > 16 * row => format!("stride is {stride}, and the pixels of a row take {row} bytes"),
            true => return Ok(()),
        };
        Err(Complaint::new(typed.span(), what, "stride is the bytes from one row to the next; left out: no padding"))
    }
}

/// How long a camera may be silent; 0 in the file is without end, for a camera that waits for a trigger.
fn silence(typed: Option<&Spanned<f64>>, default: Duration) -> Checked<Duration> {
    match typed {
        Some(typed) if *typed.get_ref() == 0.0 => Ok(Duration::ZERO),
        Some(typed) => milliseconds("timeout_ms", typed),
        None => Ok(default),
    }
}

fn format<T: FromStr<Err = Error>>(typed: &Spanned<String>, advice: &str) -> Checked<T> {
    typed.get_ref().parse().map_err(|error: Error| Complaint::new(typed.span(), error.to_string(), advice))
}
