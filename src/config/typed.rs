//! The configuration as it is typed, and its validation.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::audit::AuditTyped;
use super::belt;
use super::cameras::{PipeTyped, V4l2Typed};
use super::complaint::{self, Complaint};
use super::lanes::Lanes;
use super::{CameraConfig, Devices, FORMAT_VERSION, FolderConfig, LineConfig, SyntheticConfig};
use crate::digest::Digest;
use crate::line::{Consequence, Drive, Ejector, LaneRules, Length, Rules, SkippedPolicy};

pub(super) type Checked<T> = Result<T, Complaint>;

const SECTIONS: [&str; 15] = [
    "format_version",
    "line",
    "camera",
    "output",
    "lane",
    "audit",
    "belt",
    "photo_eye",
    "free_run",
    "confirm",
    "bin",
    "limits",
    "stop_line",
    "alarm",
    "heartbeat",
];

/// More cores than this have no board that stands beside a belt.
const MOST_THREADS: u32 = 64;

pub(super) fn read(path: &Path, text: &str) -> Checked<LineConfig> {
    let mut document = Document::parse(path, text)?;
    let places = document.places(text);
    document.check_version()?;
    if let Some((key, _)) = document.root.iter().find(|(key, _)| !SECTIONS.contains(&key.get_ref().as_ref())) {
        return Err(Complaint::unknown_key(key.span(), key.get_ref(), &SECTIONS));
    }
    let line: LineTyped = document.section("line")?;
    let camera = document.camera()?;
    let (belt, encoder) = document.belt()?.map_or((None, None), |belt| (Some(belt.drive), belt.encoder));
    let Lanes { rules, configs: lanes, photo_eye } = document.lanes(&line, belt, &camera)?;
    let mut rules = line.rules(belt.unwrap_or(Drive::ONE_METRE_PER_SECOND), rules);
    let devices = Devices { photo_eye, encoder, ..document.beside(&mut rules)? };
    let audit: AuditTyped = document.section("audit")?;
    Ok(LineConfig {
        path: path.to_owned(),
        digest: Digest::of(text),
        name: not_empty("name", &line.name)?,
        model: document.path("model", &line.model)?,
        calibrations: document.calibrations(&line.calibration)?,
        approved_by: document.keys("approved_by", line.approved_by.as_ref())?,
        threads: line.threads()?,
        rules,
        camera,
        lanes,
        devices,
        audit: audit.validate(&document)?,
        dry_run: false,
        places,
    })
}

fn base_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// The file's top level, and what relative paths in it start from.
pub(super) struct Document<'t> {
    root: DeTable<'t>,
    pub(super) base: PathBuf,
}

impl<'t> Document<'t> {
    pub(super) fn parse(path: &Path, text: &'t str) -> Checked<Self> {
        let root = DeTable::parse(text).map_err(|error| Complaint::syntax(&error, text))?;
        Ok(Document { root: root.into_inner(), base: base_of(path) })
    }

    /// The version is looked at first: a newer format may have keys that this program does not know.
    fn check_version(&self) -> Checked<()> {
        let first_line = format!("begin the file with: format_version = {FORMAT_VERSION}");
        let Some(found) = self.root.get("format_version") else {
            return Err(Complaint::new(0..0, "format_version is missing", first_line));
        };
        let version = found.get_ref().as_integer().and_then(|integer| integer.as_str().parse::<i64>().ok());
        match version {
            Some(FORMAT_VERSION) => Ok(()),
            Some(other) => {
                let what = format!("configuration format {other} is unknown to this program");
                let advice =
                    format!("this program reads format {FORMAT_VERSION}: update hgad, or write the older format");
                Err(Complaint::new(found.span(), what, advice))
            }
            None => Err(Complaint::new(found.span(), "format_version is not a whole number", first_line)),
        }
    }

    /// Where every section begins, and where every key of one has its value: `line` at `:3:1`, `line.model` at `:6:9`,
    /// `lane.2.output` at `:30:1`.
    fn places(&self, text: &str) -> BTreeMap<String, String> {
        let mut places = BTreeMap::new();
        note_places("", &self.root, text, &mut places);
        places
    }

    fn table(&mut self, name: &str) -> Checked<(DeTable<'t>, Range<usize>)> {
        let value = self.root.remove(name).ok_or_else(|| {
            let advice = "docs/configuration.md has a complete file";
            Complaint::new(0..0, format!("the section [{name}] is missing"), advice)
        })?;
        let place = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Ok((table, place)),
            _ => Err(Complaint::new(
                place,
                format!("{name} is not a section"),
                format!("write [{name}] on a line of its own, and its keys below"),
            )),
        }
    }

    /// Part of this file, as one of its own.
    pub(super) fn part(&self, root: DeTable<'t>) -> Self {
        Document { root, base: self.base.clone() }
    }

    /// Takes out what stands under that name.
    pub(super) fn take(&mut self, name: &str) -> Option<Spanned<DeValue<'t>>> {
        self.root.remove(name)
    }

    /// Takes out all that is still there.
    pub(super) fn take_all(&mut self) -> DeTable<'t> {
        std::mem::take(&mut self.root)
    }

    /// Puts back what was taken out.
    pub(super) fn put(&mut self, name: &'static str, value: Spanned<DeValue<'t>>) -> &mut Self {
        self.root.insert(Spanned::new(value.span(), name.into()), value);
        self
    }

    /// Where what has that name begins, if it is there.
    pub(super) fn place(&self, name: &str) -> Option<Range<usize>> {
        self.root.get(name).map(Spanned::span)
    }

    /// Whether the file has that section.
    pub(super) fn has(&self, name: &str) -> bool {
        self.root.get(name).is_some()
    }

    /// Whether that section is of that kind.
    pub(super) fn kind_is(&self, name: &str, kind: &str) -> bool {
        let table = self.root.get(name).and_then(|value| value.get_ref().as_table());
        table.and_then(|table| table.get("kind")).and_then(|value| value.get_ref().as_str()) == Some(kind)
    }

    /// Takes keys out of a section that say something beside the device that the others describe.
    pub(super) fn pick<T: DeserializeOwned>(&mut self, name: &str, keys: &[&str]) -> Checked<T> {
        let (mut table, place) = self.table(name)?;
        let mut picked = DeTable::new();
        for key in keys {
            if let Some((key, value)) = table.remove_entry(*key) {
                picked.insert(key, value);
            }
        }
        let own = typed(name, picked, place.clone());
        let name = Spanned::new(place.clone(), name.to_owned().into());
        self.root.insert(name, Spanned::new(place, DeValue::Table(table)));
        own
    }

    pub(super) fn section<T: DeserializeOwned>(&mut self, name: &str) -> Checked<T> {
        let (table, place) = self.table(name)?;
        typed(name, table, place)
    }

    /// A section whose `kind` decides which other keys it has.
    pub(super) fn kind(&mut self, name: &str, kinds: &[&str]) -> Checked<(String, DeTable<'t>, Range<usize>)> {
        let (mut table, place) = self.table(name)?;
        let known = kinds.iter().map(|kind| format!("kind = \"{kind}\"")).collect::<Vec<_>>();
        let choice = format!("choose one of: {}", known.join(", "));
        let kind = table.remove("kind").ok_or_else(|| {
            Complaint::new(place.clone(), format!("the key 'kind' is missing in [{name}]"), choice.clone())
        })?;
        match kind.get_ref().as_str() {
            Some(known) if kinds.contains(&known) => Ok((known.to_owned(), table, place)),
            Some(other) => {
                let near = complaint::did_you_mean(other, kinds);
                Err(Complaint::new(kind.span(), format!("there is no {name} of kind '{other}'{near}"), choice))
            }
            None => Err(Complaint::new(kind.span(), "kind is not a text in quotes", choice)),
        }
    }

    fn camera(&mut self) -> Checked<CameraConfig> {
        let (kind, table, place) = self.kind("camera", &["folder", "v4l2", "pipe", "synthetic"])?;
        match kind.as_str() {
            "folder" => typed::<FolderTyped>("camera", table, place)?.validate(self).map(CameraConfig::Folder),
            "v4l2" => typed::<V4l2Typed>("camera", table, place)?.validate(self).map(CameraConfig::V4l2),
            "pipe" => typed::<PipeTyped>("camera", table, place)?.validate(self).map(CameraConfig::Pipe),
            _ => typed::<SyntheticTyped>("camera", table, place)?.validate().map(CameraConfig::Synthetic),
        }
    }

    pub(super) fn path(&self, key: &str, typed: &Spanned<String>) -> Checked<PathBuf> {
        Ok(self.base.join(not_empty(key, typed)?))
    }

    fn keys(&self, key: &str, typed: Option<&Spanned<Vec<Spanned<String>>>>) -> Checked<Vec<PathBuf>> {
        if let Some(typed) = typed.filter(|typed| typed.get_ref().is_empty()) {
            let advice = format!("name the public keys, or leave {key} out: then anything is loaded");
            return Err(Complaint::new(typed.span(), format!("{key} names no key"), advice));
        }
        typed.iter().flat_map(|keys| keys.get_ref()).map(|path| self.path(key, path)).collect()
    }

    pub(super) fn calibrations(&self, typed: &Spanned<OneOrMore>) -> Checked<Vec<PathBuf>> {
        let files = &typed.get_ref().0;
        if files.is_empty() || files.iter().any(String::is_empty) {
            let advice = "make one with: hgad calibrate --model BUNDLE --class NAME --images DIR --out FILE";
            return Err(Complaint::new(typed.span(), "calibration names no file", advice));
        }
        Ok(files.iter().map(|file| self.base.join(file)).collect())
    }
}

/// Notes where each value stands whose name begins with `prefix`; of a list of sections, by the number of each, from 1.
fn note_places(prefix: &str, table: &DeTable, text: &str, places: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(table) => note_places(&format!("{name}."), table, text, places),
            DeValue::Array(list) => {
                let tables =
                    list.iter().enumerate().filter_map(|(k, value)| Some((k + 1, value.get_ref().as_table()?)));
                tables.for_each(|(k, table)| note_places(&format!("{name}.{k}."), table, text, places));
            }
            _ => {}
        }
        places.insert(name, complaint::position(text, value.span().start));
    }
}

pub(super) fn typed<'t, T: DeserializeOwned>(section: &str, table: DeTable<'t>, place: Range<usize>) -> Checked<T> {
    let values = table.iter().map(|(key, value)| (key.get_ref().to_string(), value.span())).collect::<Vec<_>>();
    T::deserialize(ValueDeserializer::from(Spanned::new(place.clone(), DeValue::Table(table))))
        .map_err(|error| Complaint::of_section(&error, section, place, &values))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LineTyped {
    name: Spanned<String>,
    pub(super) class: Spanned<String>,
    model: Spanned<String>,
    calibration: Spanned<OneOrMore>,
    approved_by: Option<Spanned<Vec<Spanned<String>>>>,
    threads: Option<Spanned<u32>>,
    travel_ms: Option<Spanned<f64>>,
    travel_mm: Option<Spanned<f64>>,
    pulse_ms: Spanned<f64>,
    tolerance_ms: Option<Spanned<f64>>,
    delay_ms: Option<Spanned<f64>>,
    gap_ms: Option<Spanned<f64>>,
    most_per_second: Option<Spanned<u32>>,
    late: Option<Consequence>,
    skipped: Option<SkippedPolicy>,
}

impl LineTyped {
    /// How many threads share a frame: its own one alone, where nothing is said.
    fn threads(&self) -> Checked<usize> {
        let Some(threads) = &self.threads else { return Ok(1) };
        Ok(at_most("threads", threads, positive("threads", threads)?, MOST_THREADS)? as usize)
    }

    fn rules(&self, drive: Drive, lanes: Vec<LaneRules>) -> Rules {
        let (late, skipped) = (self.late.unwrap_or_default(), self.skipped.unwrap_or_default());
        Rules { lanes, drive, late, skipped, ..Rules::timed(Duration::ZERO, Duration::ZERO, Duration::ZERO) }
    }

    pub(super) fn ejector(&self) -> EjectorTyped {
        EjectorTyped {
            travel_ms: self.travel_ms.clone(),
            travel_mm: self.travel_mm.clone(),
            pulse_ms: Some(self.pulse_ms.clone()),
            tolerance_ms: self.tolerance_ms.clone(),
            delay_ms: self.delay_ms.clone(),
            gap_ms: self.gap_ms.clone(),
            most_per_second: self.most_per_second.clone(),
        }
    }
}

/// What a section says of an ejector.
pub(super) struct EjectorTyped {
    pub(super) travel_ms: Option<Spanned<f64>>,
    pub(super) travel_mm: Option<Spanned<f64>>,
    pub(super) pulse_ms: Option<Spanned<f64>>,
    pub(super) tolerance_ms: Option<Spanned<f64>>,
    pub(super) delay_ms: Option<Spanned<f64>>,
    pub(super) gap_ms: Option<Spanned<f64>>,
    pub(super) most_per_second: Option<Spanned<u32>>,
}

impl EjectorTyped {
    /// What this section does not say, `other` does.
    pub(super) fn or(self, other: EjectorTyped) -> Self {
        EjectorTyped {
            travel_ms: self.travel_ms.or(other.travel_ms),
            travel_mm: self.travel_mm.or(other.travel_mm),
            pulse_ms: self.pulse_ms.or(other.pulse_ms),
            tolerance_ms: self.tolerance_ms.or(other.tolerance_ms),
            delay_ms: self.delay_ms.or(other.delay_ms),
            gap_ms: self.gap_ms.or(other.gap_ms),
            most_per_second: self.most_per_second.or(other.most_per_second),
        }
    }

    /// The ejector beside a belt of which the file says how it moves, or nothing.
    pub(super) fn validate(&self, belt: Option<Drive>) -> Checked<Ejector> {
        let spare = |key, typed: &Option<Spanned<f64>>| {
            typed.as_ref().map_or(Ok(Duration::ZERO), |typed| milliseconds(key, typed))
        };
        let pulse = spare("pulse_ms", &self.pulse_ms)?;
        let tolerance =
            self.tolerance_ms.as_ref().map_or(Ok(pulse / 2), |typed| milliseconds("tolerance_ms", typed))?;
        let most = self.most_per_second.as_ref().map(|typed| positive("most_per_second", typed)).transpose()?;
        Ok(Ejector {
            distance: self.distance(belt.is_some(), pulse)?,
            delay: spare("delay_ms", &self.delay_ms)?,
            dwell: pulse,
            gap: spare("gap_ms", &self.gap_ms)?,
            tolerance,
            pulses_merge: true,
            most_per_second: most,
        })
    }

    /// From the camera to the ejector: in millimetres along a belt that the file knows, or in milliseconds.
    fn distance(&self, has_belt: bool, pulse: Duration) -> Checked<Length> {
        match (&self.travel_ms, &self.travel_mm, has_belt) {
            (None, Some(travel), true) => belt::millimetres("travel_mm", travel),
            (Some(typed), None, false) => {
                let travel = milliseconds("travel_ms", typed)?;
                if travel <= pulse {
                    return Err(Complaint::new(
                        typed.span(),
                        format!(
                            "travel_ms ({}) is not longer than pulse_ms ({})",
                            typed.get_ref(),
                            self.pulse_ms.as_ref().map_or(0.0, |typed| *typed.get_ref())
                        ),
                        "travel_ms is the time from the exposure to the ejector, pulse_ms how long the ejector acts",
                    ));
                }
                Ok(Length::at_one_metre_per_second(travel))
            }
            (Some(typed), _, true) => Err(Complaint::new(
                typed.span(),
                "travel_ms is for a line without a section [belt]",
                "give the distance from the camera to the ejector instead: travel_mm",
            )),
            (_, Some(typed), false) => Err(Complaint::new(
                typed.span(),
                "travel_mm needs a section [belt], which says how the belt moves",
                "add [belt] with kind = \"speed\" or an encoder, or give travel_ms instead",
            )),
            (None, None, _) => Err(Complaint::new(
                self.pulse_ms.as_ref().map(Spanned::span).unwrap_or_default(),
                "the key 'travel_ms' (or travel_mm, with a section [belt]) is missing in [line]",
                format!("add a line such as: {}", complaint::example("travel_ms")),
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FolderTyped {
    path: Spanned<String>,
    rate: Spanned<f64>,
    repeat: Option<Spanned<Repeat>>,
}

impl FolderTyped {
    fn validate(&self, document: &Document) -> Checked<FolderConfig> {
        let repeat = match &self.repeat {
            None => Some(1),
            Some(repeat) => match repeat.get_ref() {
                Repeat::Times(0) => {
                    let advice = "give how often, or \"forever\"; without the key it is once";
                    return Err(Complaint::new(repeat.span(), "repeat is 0: nothing would be replayed", advice));
                }
                Repeat::Times(times) => Some(*times),
                Repeat::Forever => None,
            },
        };
        Ok(FolderConfig { path: document.path("path", &self.path)?, rate: rate(&self.rate)?, repeat })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SyntheticTyped {
    seed: u64,
    rate: Spanned<f64>,
    parts: Option<Spanned<u64>>,
    defect_share: Option<Spanned<f64>>,
}

impl SyntheticTyped {
    const DEFECT_SHARE: f64 = 0.1;

    fn validate(&self) -> Checked<SyntheticConfig> {
        let defect_share = self.defect_share.as_ref().map_or(Self::DEFECT_SHARE, |typed| *typed.get_ref());
        if let Some(typed) = &self.defect_share
            && !(0.0..=1.0).contains(&defect_share)
        {
            let what = format!("defect_share is {defect_share}, not between 0 and 1");
            return Err(Complaint::new(typed.span(), what, "0.1 makes one part in ten defective"));
        }
        let parts = self.parts.as_ref().map(|parts| positive("parts", parts)).transpose()?;
        Ok(SyntheticConfig { seed: self.seed, rate: rate(&self.rate)?, parts, defect_share })
    }
}

pub(super) fn not_empty(key: &str, typed: &Spanned<String>) -> Checked<String> {
    match typed.get_ref().as_str() {
        "" => Err(empty(key, typed.span())),
        text => Ok(text.to_owned()),
    }
}

pub(super) fn empty(key: &str, place: Range<usize>) -> Complaint {
    Complaint::new(place, format!("{key} is empty"), format!("write it as in: {}", complaint::example(key)))
}

pub(super) fn positive<T: Copy + Default + PartialOrd + fmt::Display>(key: &str, typed: &Spanned<T>) -> Checked<T> {
    match *typed.get_ref() {
        value if value > T::default() => Ok(value),
        value => Err(Complaint::new(
            typed.span(),
            format!("{key} must be greater than 0, and is {value}"),
            format!("write it as in: {}", complaint::example(key)),
        )),
    }
}

pub(super) fn at_most<T: Copy + PartialOrd + fmt::Display>(
    key: &str,
    typed: &Spanned<T>,
    value: T,
    most: T,
) -> Checked<T> {
    if value <= most {
        return Ok(value);
    }
    let what = format!("{key} must be at most {most}, and is {value}");
    Err(Complaint::new(typed.span(), what, "check the unit, and that no digit is too many"))
}

pub(super) fn pixels(key: &str, typed: &Spanned<u32>) -> Checked<u32> {
    at_most(key, typed, positive(key, typed)?, 16_384)
}

/// Frames or parts per second.
fn rate(typed: &Spanned<f64>) -> Checked<f64> {
    at_most("rate", typed, positive("rate", typed)?, 10_000.0)
}

/// A time span of at most an hour: longer ones are a slip of the unit.
pub(super) fn milliseconds(key: &str, typed: &Spanned<f64>) -> Checked<Duration> {
    let value = at_most(key, typed, positive(key, typed)?, 3_600_000.0)?;
    Ok(Duration::from_secs_f64(value / 1e3))
}

/// One text or a list of them.
pub(super) struct OneOrMore(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMore;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }
            fn visit_str<E>(self, text: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![text.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMore, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMore)
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

/// How often a folder is replayed.
enum Repeat {
    Times(u64),
    Forever,
}

impl<'de> Deserialize<'de> for Repeat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl Visitor<'_> for Count {
            type Value = Repeat;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("how often the folder is replayed, or \"forever\"")
            }
            fn visit_i64<E: serde::de::Error>(self, times: i64) -> Result<Repeat, E> {
                u64::try_from(times)
                    .map(Repeat::Times)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(times), &self))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Repeat, E> {
                match text {
                    "forever" => Ok(Repeat::Forever),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Count)
    }
}
