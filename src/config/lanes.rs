//! The lanes of the belt: the sections `[[lane]]`, or the one lane that the file describes without them.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::DeValue;

use super::complaint::Complaint;
use super::typed::{Checked, Document, EjectorTyped, LineTyped, OneOrMore, not_empty, typed};
use super::{CameraConfig, GateConfig, InputConfig, OutputConfig};
use crate::camera::Region;
use crate::line::{Drive, Ejector, Find, FreeRun, LaneRules, PhotoEye};

/// What a lane's parts are seen, judged and ejected by.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneConfig {
    /// Its name; `None` where the file has no lanes: then the belt is one.
    pub name: Option<String>,
    /// Where the camera's picture shows it; `None`: all of the picture.
    pub region: Option<Region>,
    /// The product of a frame that does not say what it is.
    pub class: String,
    /// Calibration files that are for this lane alone, and come before those that are for all.
    pub calibrations: Vec<PathBuf>,
    /// What ejects.
    pub output: OutputConfig,
    /// What sees its parts, and no other lane's, before the camera does.
    pub photo_eye: Option<InputConfig>,
    /// Where its parts are found in the picture, if they are.
    pub gate: Option<GateConfig>,
    /// What sees its ejected parts.
    pub confirm: Option<InputConfig>,
    /// Its place among the file's lanes, from 1.
    number: Option<usize>,
}

impl LaneConfig {
    /// What the lane's section is called in the file: `output`, or `lane.2.output`.
    pub fn key(&self, section: &str) -> String {
        self.number.map_or_else(|| section.to_owned(), |number| format!("lane.{number}.{section}"))
    }

    /// A thing of the lane, for people: `ejector`, or `ejector, left`.
    pub fn thing(&self, thing: &str) -> String {
        self.name.as_ref().map_or_else(|| thing.to_owned(), |name| format!("{thing}, {name}"))
    }
}

/// A file's lanes.
pub(super) struct Lanes {
    pub(super) rules: Vec<LaneRules>,
    pub(super) configs: Vec<LaneConfig>,
    /// The photo-eye of all lanes that have none of their own.
    pub(super) photo_eye: Option<InputConfig>,
}

/// What lanes begin with.
struct Common<'a> {
    line: &'a LineTyped,
    belt: Option<Drive>,
    camera: &'a CameraConfig,
    eye: Option<PhotoEye>,
    gate: Option<(FreeRun, GateConfig)>,
}

impl Common<'_> {
    /// How the parts of a lane are found that has that eye or that gate of its own, and that region of the picture.
    fn find(
        &self,
        eye: Option<PhotoEye>,
        gate: Option<(FreeRun, GateConfig)>,
        region: Option<Region>,
    ) -> (Find, Option<GateConfig>) {
        let common = (self.eye, &self.gate);
        let (eye, gate) = if eye.is_some() || gate.is_some() { (eye, gate) } else { (common.0, common.1.clone()) };
        match (eye, gate) {
            (Some(eye), _) => (Find::PhotoEye(eye), None),
            (None, Some((rules, mut gate))) => {
                gate.looks.region = region.or(gate.looks.region);
                (Find::FreeRun(rules), Some(gate))
            }
            (None, None) => (Find::EveryFrame, None),
        }
    }
}

impl Document<'_> {
    /// The lanes of a belt of which the file says how it moves, or nothing.
    pub(super) fn lanes(&mut self, line: &LineTyped, belt: Option<Drive>, camera: &CameraConfig) -> Checked<Lanes> {
        let gate = self.free_run(belt, camera, "free_run")?;
        let (eye, photo_eye) = self.photo_eye(belt, false)?.unzip();
        let common = Common { line, belt, camera, eye, gate };
        let lanes = match self.has("lane") {
            false => vec![self.only_lane(&common)?],
            true => self.each_lane(&common)?,
        };
        let (rules, configs) = lanes.into_iter().unzip();
        Ok(Lanes { rules, configs, photo_eye })
    }

    /// The belt as one lane.
    fn only_lane(&mut self, common: &Common) -> Checked<(LaneRules, LaneConfig)> {
        let ejector = common.line.ejector().validate(common.belt)?;
        let (confirm, sensor) = self.confirm()?.unzip();
        let (find, gate) = common.find(None, None, None);
        let output = self.output("output", ejector.tolerance)?;
        let ejector = acting_by(&output, ejector);
        let config = LaneConfig {
            name: None,
            region: None,
            class: not_empty("class", &common.line.class)?,
            calibrations: Vec::new(),
            output,
            photo_eye: None,
            gate,
            confirm: sensor,
            number: None,
        };
        Ok((LaneRules { name: None, find, ejector, confirm }, config))
    }

    fn each_lane(&mut self, common: &Common) -> Checked<Vec<(LaneRules, LaneConfig)>> {
        for section in ["output", "confirm"] {
            if let Some(place) = self.place(section) {
                let what = format!("[{section}] is of no lane, and this belt has lanes");
                let advice = format!("each lane has its own: write [lane.{section}] below its [[lane]]");
                return Err(Complaint::new(place, what, advice));
            }
        }
        let mut lanes = Vec::new();
        for (k, (mut document, place)) in self.lane_documents()?.into_iter().enumerate() {
            lanes.push((document.lane(k + 1, place.clone(), common)?, place));
        }
        apart(&lanes)?;
        Ok(lanes.into_iter().map(|(lane, _)| lane).collect())
    }

    /// Each `[[lane]]` as a file of its own.
    fn lane_documents(&mut self) -> Checked<Vec<(Self, Range<usize>)>> {
        let advice = "write [[lane]], in two brackets, on a line of its own, and its keys below";
        let Some(value) = self.take("lane") else { return Ok(Vec::new()) };
        let place = value.span();
        let DeValue::Array(lanes) = value.into_inner() else {
            return Err(Complaint::new(place, "a lane is one of several", advice));
        };
        let mut documents = Vec::new();
        for lane in lanes {
            let place = lane.span();
            match lane.into_inner() {
                DeValue::Table(table) => documents.push((self.part(table), place)),
                _ => return Err(Complaint::new(place, "lane is not a list of sections", advice)),
            }
        }
        if documents.is_empty() {
            return Err(Complaint::new(place, "lane names no lane", advice));
        }
        Ok(documents)
    }

    /// One lane, of which this document holds the section.
    fn lane(&mut self, number: usize, place: Range<usize>, common: &Common) -> Checked<(LaneRules, LaneConfig)> {
        let own_gate = self.free_run(common.belt, common.camera, &format!("lane.{number}.free_run"))?;
        let (own_eye, photo_eye) = self.photo_eye(common.belt, true)?.unzip();
        let (confirm, sensor) = self.confirm()?.unzip();
        // The output is read when its lane's tolerance is known.
        let output = self.take("output");
        let own: LaneTyped = typed("lane", self.take_all(), place.clone())?;
        let name = not_empty("name", &own.name)?;
        let ejector = own.ejector().or(common.line.ejector()).validate(common.belt)?;
        let output = match output {
            Some(output) => self.put("output", output).output("output", ejector.tolerance)?,
            None => {
                let what = format!("the lane '{name}' has no ejector");
                return Err(Complaint::new(place, what, "write [lane.output] below it, with kind = \"none\" for none"));
            }
        };
        let ejector = acting_by(&output, ejector);
        let class = own.class.as_ref().unwrap_or(&common.line.class);
        let region = region([&own.x, &own.y, &own.width, &own.height], common.camera)?;
        let (find, gate) = common.find(own_eye, own_gate, region);
        let config = LaneConfig {
            name: Some(name.clone()),
            region,
            class: not_empty("class", class)?,
            calibrations: own.calibration.as_ref().map_or(Ok(Vec::new()), |typed| self.calibrations(typed))?,
            output,
            photo_eye,
            gate,
            confirm: sensor,
            number: Some(number),
        };
        Ok((LaneRules { name: Some(name.into()), find, ejector, confirm }, config))
    }
}

/// An ejector that is told by messages has one for each part, also where pulses overlap.
fn acting_by(output: &OutputConfig, ejector: Ejector) -> Ejector {
    Ejector { pulses_merge: !matches!(output, OutputConfig::Serial(_)), ..ejector }
}

/// Lanes are told apart by their names; a camera is triggered by parts, or runs freely.
fn apart(lanes: &[((LaneRules, LaneConfig), Range<usize>)]) -> Checked<()> {
    let mut names = BTreeSet::new();
    let has_eye = |rules: &LaneRules| rules.find != Find::EveryFrame;
    let some_have_eyes = lanes.iter().any(|((rules, _), _)| has_eye(rules));
    for ((rules, config), place) in lanes {
        let complaint = |what: String, advice: &str| Err(Complaint::new(place.clone(), what, advice));
        let name = config.name.as_deref().unwrap_or_default();
        if !names.insert(name) {
            return complaint(format!("two lanes are called '{name}'"), "records tell lanes by their names");
        }
        if some_have_eyes && !has_eye(rules) {
            let what = format!("the lane '{name}' has no photo-eye, and others have one or find parts in the picture");
            return complaint(
                what,
                "give it a [lane.photo_eye] or [lane.free_run], or one that is for all lanes without their own",
            );
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LaneTyped {
    name: Spanned<String>,
    x: Option<Spanned<Coordinate>>,
    y: Option<Spanned<Coordinate>>,
    width: Option<Spanned<Coordinate>>,
    height: Option<Spanned<Coordinate>>,
    class: Option<Spanned<String>>,
    calibration: Option<Spanned<OneOrMore>>,
    travel_ms: Option<Spanned<f64>>,
    travel_mm: Option<Spanned<f64>>,
    pulse_ms: Option<Spanned<f64>>,
    tolerance_ms: Option<Spanned<f64>>,
    delay_ms: Option<Spanned<f64>>,
    gap_ms: Option<Spanned<f64>>,
    most_per_second: Option<Spanned<u32>>,
}

/// Pixels, or a share of the picture.
#[derive(Clone, Copy)]
pub(super) enum Coordinate {
    Pixels(u32),
    Share(f64),
}

impl LaneTyped {
    fn ejector(&self) -> EjectorTyped {
        EjectorTyped {
            travel_ms: self.travel_ms.clone(),
            travel_mm: self.travel_mm.clone(),
            pulse_ms: self.pulse_ms.clone(),
            tolerance_ms: self.tolerance_ms.clone(),
            delay_ms: self.delay_ms.clone(),
            gap_ms: self.gap_ms.clone(),
            most_per_second: self.most_per_second.clone(),
        }
    }
}

/// Fewer pixels are no picture of a part, but a share that was written without its point.
const LEAST: u32 = 8;

/// A region by its typed x, y, width and height: all four, or none.
pub(super) fn region(
    [x, y, width, height]: [&Option<Spanned<Coordinate>>; 4],
    camera: &CameraConfig,
) -> Checked<Option<Region>> {
    let [x, y, width, height] = match (x, y, width, height) {
        (None, None, None, None) => return Ok(None),
        (Some(x), Some(y), Some(width), Some(height)) => [x, y, width, height],
        (x, y, width, height) => {
            let place = [x, y, width, height].into_iter().flatten().next().map(Spanned::span);
            let advice =
                "give all four in pixels, or as shares of the picture: x = 0.5, y = 0.0, width = 0.5, height = 1.0";
            return Err(Complaint::new(place.unwrap_or_default(), "x, y, width and height belong together", advice));
        }
    };
    let region = match [x, y, width, height].map(|typed| *typed.get_ref()) {
        [Coordinate::Pixels(x), Coordinate::Pixels(y), Coordinate::Pixels(width), Coordinate::Pixels(height)] => {
            Region::Pixels { x, y, width, height }
        }
        _ => {
            let [x, y, width, height] = [("x", x), ("y", y), ("width", width), ("height", height)].map(share);
            Region::Shares { x: x?, y: y?, width: width?, height: height? }
        }
    };
    check(region, [width.span(), height.span()])?;
    if let Some(frame) = camera.frame() {
        region.edges(frame).map_err(|why| {
            Complaint::new(width.span(), why, "hgad camera snap --config FILE --lane NAME shows what a lane sees")
        })?;
    }
    Ok(Some(region))
}

fn check(region: Region, [width_at, height_at]: [Range<usize>; 2]) -> Checked<()> {
    match region {
        Region::Pixels { width, height, .. } => {
            for (key, size, place) in [("width", width, width_at), ("height", height, height_at)] {
                if size < LEAST {
                    let advice = format!("a share of the picture has a point: {key} = 1.0 is all of it");
                    return Err(Complaint::new(place, format!("{key} is {size} pixels"), advice));
                }
            }
        }
        Region::Shares { x, y, width, height } => {
            // Thirds do not add up to 1 to the last bit.
            const SLACK: f64 = 1e-9;
            let advice = "shares count from the left and the upper edge, and 1.0 is the whole picture";
            for (key, from, size, place) in [("width", x, width, width_at), ("height", y, height, height_at)] {
                if size <= 0.0 || from + size > 1.0 + SLACK {
                    let what = format!("{key} is {size}, from {from} on: that is not within the picture");
                    return Err(Complaint::new(place, what, advice));
                }
            }
        }
    }
    Ok(())
}

/// A share that may be written as 0 or 1.
fn share((key, typed): (&str, &Spanned<Coordinate>)) -> Checked<f64> {
    let value = match *typed.get_ref() {
        Coordinate::Pixels(whole) => f64::from(whole),
        Coordinate::Share(share) => share,
    };
    match (0.0..=1.0).contains(&value) {
        true => Ok(value),
        false => Err(Complaint::new(
            typed.span(),
            format!("{key} is {value}, and others are shares of the picture, from 0.0 to 1.0"),
            "give all four of x, y, width and height in whole pixels, or all as shares",
        )),
    }
}

impl<'de> Deserialize<'de> for Coordinate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Coordinate;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a whole number of pixels, or a share of the picture such as 0.5")
            }
            fn visit_i64<E: serde::de::Error>(self, pixels: i64) -> Result<Coordinate, E> {
                let unexpected = serde::de::Unexpected::Signed(pixels);
                u32::try_from(pixels).map(Coordinate::Pixels).map_err(|_| E::invalid_value(unexpected, &self))
            }
            fn visit_f64<E>(self, share: f64) -> Result<Coordinate, E> {
                Ok(Coordinate::Share(share))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests;
