//! The sections that say how parts are found and followed along the belt, and what is done beside rejecting them.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::complaint::{self, Complaint};
use super::typed::{Checked, Document, at_most, milliseconds, positive, typed};
use super::{Devices, EncoderSetting, HeartbeatSetting, InputConfig, OutputConfig};
use crate::inputs::Edges;
use crate::line::{Confirm, Consequence, Drive, Length, Limits, PhotoEye, Rules, Share};

/// No belt that this is for is faster, in mm/s; and none is longer, in mm.
const MOST: f64 = 1e6;

/// How the belt moves, as the section `[belt]` says.
pub(super) struct BeltSection {
    pub(super) drive: Drive,
    pub(super) encoder: Option<EncoderSetting>,
}

impl Document<'_> {
    /// The section `[belt]`; without it the line is timed.
    pub(super) fn belt(&mut self) -> Checked<Option<BeltSection>> {
        if !self.has("belt") {
            return Ok(None);
        }
        if self.kind_is("belt", "speed") {
            let (_, table, place) = self.kind("belt", &["speed", "gpio", "modbus"])?;
            let belt: SpeedTyped = typed("belt", table, place)?;
            let speed = millimetres("speed_mm_s", &belt.speed_mm_s)?;
            return Ok(Some(BeltSection { drive: Drive::Constant(speed.as_nm().unsigned_abs()), encoder: None }));
        }
        let own: EncoderTyped = self.pick("belt", &["mm_per_count"])?;
        let config = self.encoder("belt")?;
        let per_count = millimetres("mm_per_count", &own.mm_per_count)?;
        Ok(Some(BeltSection { drive: Drive::Encoder, encoder: Some(EncoderSetting { config, per_count }) }))
    }

    /// The other sections about the belt, all of which may be missing: devices, and what of the rules they say.
    pub(super) fn beside(&mut self, rules: &mut Rules) -> Checked<Devices> {
        let mut devices = Devices::default();
        if self.has("bin") {
            let bin: BinTyped = self.pick("bin", &["full"])?;
            rules.bin_full = bin.full.unwrap_or_default();
            devices.bin = Some(self.input("bin", Edges::Both)?);
        }
        if self.has("limits") {
            rules.limits = self.section::<LimitsTyped>("limits")?.validate()?;
        }
        devices.stop_line = self.signal("stop_line", rules)?;
        devices.alarm = self.signal("alarm", rules)?;
        devices.heartbeat = self.heartbeat(rules)?;
        Ok(devices)
    }

    /// The section `[photo_eye]`, of a lane where the eye is its own.
    pub(super) fn photo_eye(&mut self, belt: Option<Drive>, own: bool) -> Checked<Option<(PhotoEye, InputConfig)>> {
        if !self.has("photo_eye") {
            return Ok(None);
        }
        let eye: EyeTyped = self.pick("photo_eye", &["to_camera_mm", "window_mm", "pitch_mm", "longest_mm"])?;
        Ok(Some((eye.validate(belt, own)?, self.input("photo_eye", Edges::Both)?)))
    }

    /// The section `[confirm]`.
    pub(super) fn confirm(&mut self) -> Checked<Option<(Confirm, InputConfig)>> {
        if !self.has("confirm") {
            return Ok(None);
        }
        let confirm: ConfirmTyped = self.pick("confirm", &["from_ms", "until_ms", "missing"])?;
        Ok(Some((confirm.validate()?, self.input("confirm", Edges::Active)?)))
    }

    /// An output with a level that lasts.
    fn signal(&mut self, section: &str, rules: &Rules) -> Checked<Option<OutputConfig>> {
        let Some(place) = self.place(section) else { return Ok(None) };
        let output = self.output(section, rules.lanes[0].ejector.tolerance)?;
        match &output {
            OutputConfig::Serial(serial) if serial.release.is_none() => {
                let what = format!(
                    "[{section}] has no release: the device would hear when it begins, and never that it is over"
                );
                Err(Complaint::new(place, what, format!("say what is sent then: {}", complaint::example("release"))))
            }
            _ => Ok(Some(output)),
        }
    }

    fn heartbeat(&mut self, rules: &Rules) -> Checked<Option<HeartbeatSetting>> {
        if !self.has("heartbeat") {
            return Ok(None);
        }
        let own: HeartbeatTyped = self.pick("heartbeat", &["period_ms"])?;
        let period =
            own.period_ms.as_ref().map_or(Ok(HeartbeatTyped::PERIOD), |typed| milliseconds("period_ms", typed))?;
        Ok(Some(HeartbeatSetting { output: self.output("heartbeat", rules.lanes[0].ejector.tolerance)?, period }))
    }
}

/// A length or a speed in millimetres, greater than 0.
pub(super) fn millimetres(key: &str, typed: &Spanned<f64>) -> Checked<Length> {
    let value = at_most(key, typed, positive(key, typed)?, MOST)?;
    let length = Length::from_mm(value);
    match length > Length::default() {
        true => Ok(length),
        false => Err(Complaint::new(typed.span(), format!("{key} is less than a nanometre"), "give millimetres")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpeedTyped {
    speed_mm_s: Spanned<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EncoderTyped {
    mm_per_count: Spanned<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EyeTyped {
    to_camera_mm: Spanned<f64>,
    window_mm: Option<Spanned<f64>>,
    pitch_mm: Spanned<f64>,
    longest_mm: Spanned<f64>,
}

impl EyeTyped {
    fn validate(&self, belt: Option<Drive>, own: bool) -> Checked<PhotoEye> {
        let pitch = millimetres("pitch_mm", &self.pitch_mm)?;
        let window = match &self.window_mm {
            Some(typed) => millimetres("window_mm", typed)?,
            None => Length::from_nm(pitch.as_nm() / 2),
        };
        if belt.is_none() {
            let advice = "say how the belt moves in a section [belt]: kind = \"speed\" or an encoder";
            let what = "a photo-eye's distances mean nothing without the belt's speed";
            return Err(Complaint::new(self.to_camera_mm.span(), what, advice));
        }
        let to_camera = match *self.to_camera_mm.get_ref() {
            0.0 => Length::default(),
            _ => millimetres("to_camera_mm", &self.to_camera_mm)?,
        };
        Ok(PhotoEye { own, to_camera, window, pitch, longest: millimetres("longest_mm", &self.longest_mm)? })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfirmTyped {
    from_ms: Option<Spanned<f64>>,
    until_ms: Spanned<f64>,
    missing: Option<Consequence>,
}

impl ConfirmTyped {
    fn validate(&self) -> Checked<Confirm> {
        let until = milliseconds("until_ms", &self.until_ms)?;
        let from = self.from_ms.as_ref().map_or(Ok(Duration::ZERO), |typed| milliseconds("from_ms", typed))?;
        match from < until {
            true => Ok(Confirm { from, until, missing: self.missing.unwrap_or_default() }),
            false => Err(Complaint::new(
                self.until_ms.span(),
                "until_ms is not later than from_ms",
                "both count from the moment at which the ejector is told to act",
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BinTyped {
    full: Option<Consequence>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeartbeatTyped {
    period_ms: Option<Spanned<f64>>,
}

impl HeartbeatTyped {
    const PERIOD: Duration = Duration::from_millis(100);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTyped {
    in_a_row: Option<Spanned<u32>>,
    share: Option<Spanned<f64>>,
    last: Option<Spanned<u32>>,
    exceeded: Option<Consequence>,
}

impl LimitsTyped {
    fn validate(&self) -> Checked<Limits> {
        let in_a_row = self.in_a_row.as_ref().map(|typed| positive("in_a_row", typed)).transpose()?;
        let share = match (&self.share, &self.last) {
            (None, None) => None,
            (Some(share), Some(last)) => Some(Share {
                of: at_most("share", share, positive("share", share)?, 1.0)?,
                last: at_most("last", last, positive("last", last)?, 1_000_000)?,
            }),
            (Some(alone), None) => return Err(apart(alone.span())),
            (None, Some(alone)) => return Err(apart(alone.span())),
        };
        Ok(Limits { in_a_row, share, exceeded: self.exceeded.unwrap_or_default() })
    }
}

fn apart(place: std::ops::Range<usize>) -> Complaint {
    Complaint::new(place, "share and last belong together", "share = 0.3 and last = 50: more than 15 of the last 50")
}

#[cfg(test)]
mod tests;
