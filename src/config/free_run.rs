//! The sections that say how parts are found in the picture.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::CameraConfig;
use super::belt::millimetres;
use super::complaint::Complaint;
use super::lanes::{Coordinate, region};
use super::typed::{Checked, Document, at_most, positive};
use crate::camera::Region;
use crate::line::{Combine, Drive, FreeRun, Length};
use crate::presence::{Direction, Looks};

/// Where a lane's parts are found in the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct GateConfig {
    /// What the belt looks like when nothing lies on it.
    pub empty_belt: PathBuf,
    /// How it is looked at.
    pub looks: Looks,
    /// What its section is called in the file.
    pub section: String,
}

impl Document<'_> {
    /// The section `[free_run]`: of the whole belt, or of a lane, which has its region of the picture.
    pub(super) fn free_run(
        &mut self,
        belt: Option<Drive>,
        camera: &CameraConfig,
        section: &str,
    ) -> Checked<Option<(FreeRun, GateConfig)>> {
        let Some(place) = self.place("free_run") else { return Ok(None) };
        if let Some(eye) = self.place("photo_eye") {
            let what = "parts are found by a photo-eye or in the picture, and not by both";
            return Err(Complaint::new(eye, what, "keep [photo_eye] or [free_run]"));
        }
        let typed: FreeRunTyped = self.section("free_run")?;
        if belt.is_none() {
            let advice = "say how the belt moves in a section [belt]: kind = \"speed\" or an encoder";
            return Err(Complaint::new(place, "parts cannot be followed without knowing how the belt moves", advice));
        }
        let silence = match camera {
            CameraConfig::V4l2(settings) => settings.silence,
            CameraConfig::Pipe(settings) => settings.silence,
            CameraConfig::Folder(_) | CameraConfig::Synthetic(_) => Duration::MAX,
        };
        if silence.is_zero() {
            let what = "a camera that may be silent for ever (timeout_ms = 0) would let parts pass unseen";
            return Err(Complaint::new(place, what, "give timeout_ms below [camera] a time, such as 500"));
        }
        let own = [&typed.x, &typed.y, &typed.width, &typed.height];
        if let (true, Some(x)) = (section != "free_run" || self.has("lane"), own.into_iter().flatten().next()) {
            let what = "a lane's gate is its region of the picture";
            return Err(Complaint::new(x.span(), what, "leave x, y, width and height out below free_run"));
        }
        let region = region(own, camera)?;
        let empty_belt = self.path("empty_belt", &typed.empty_belt)?;
        let (rules, looks) = typed.validate(region)?;
        Ok(Some((rules, GateConfig { empty_belt, looks, section: section.to_owned() })))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FreeRunTyped {
    empty_belt: Spanned<String>,
    direction: Direction,
    mm_per_pixel: Spanned<f64>,
    x: Option<Spanned<Coordinate>>,
    y: Option<Spanned<Coordinate>>,
    width: Option<Spanned<Coordinate>>,
    height: Option<Spanned<Coordinate>>,
    crop_mm: Spanned<f64>,
    longest_mm: Spanned<f64>,
    shortest_mm: Option<Spanned<f64>>,
    window_mm: Option<Spanned<f64>>,
    combine: Option<Combine>,
    frames: Option<Spanned<u32>>,
    most_frames: Option<Spanned<u32>>,
}

impl FreeRunTyped {
    /// So many frames of a part are inspected where the file does not say it.
    const MOST_FRAMES: u32 = 3;
    /// More are a slip of the unit.
    const MOST: u32 = 100;

    fn validate(&self, region: Option<Region>) -> Checked<(FreeRun, Looks)> {
        let longest = millimetres("longest_mm", &self.longest_mm)?;
        let share = |of: i64| Length::from_nm((longest.as_nm() / of).max(1));
        let shortest = self.shortest_mm.as_ref().map_or(Ok(share(10)), |typed| millimetres("shortest_mm", typed))?;
        if let Some(typed) = self.shortest_mm.as_ref().filter(|_| shortest >= longest) {
            let what = "shortest_mm is not less than longest_mm";
            return Err(Complaint::new(
                typed.span(),
                what,
                "what is shorter than shortest_mm is no part, but noise or dirt",
            ));
        }
        let window = self.window_mm.as_ref().map_or(Ok(share(4)), |typed| millimetres("window_mm", typed))?;
        let crop = millimetres("crop_mm", &self.crop_mm)?;
        if crop < longest {
            let what =
                format!("crop_mm ({crop}) is less than longest_mm ({longest}): such a part would never be inspected");
            return Err(Complaint::new(
                self.crop_mm.span(),
                what,
                "crop_mm is how much of the belt a part's picture shows",
            ));
        }
        let count = |key, typed: &Spanned<u32>| at_most(key, typed, positive(key, typed)?, Self::MOST);
        let frames = self.frames.as_ref().map_or(Ok(1), |typed| count("frames", typed))?;
        let most = Self::MOST_FRAMES.max(frames);
        let most_frames = self.most_frames.as_ref().map_or(Ok(most), |typed| count("most_frames", typed))?;
        if let Some(typed) = self.most_frames.as_ref().filter(|_| most_frames < frames) {
            let what = format!("most_frames is {most_frames}, and a part needs {frames} to pass");
            return Err(Complaint::new(typed.span(), what, "most_frames is not less than frames"));
        }
        let mm_per_pixel = millimetres("mm_per_pixel", &self.mm_per_pixel)?.as_mm();
        let looks = Looks {
            region,
            direction: self.direction,
            mm_per_pixel,
            crop_mm: crop.as_mm(),
            shortest_mm: shortest.as_mm(),
        };
        let combine = self.combine.unwrap_or_default();
        Ok((FreeRun { window, shortest, longest, combine, frames, most_frames }, looks))
    }
}

#[cfg(test)]
mod tests;
