//! A camera's controls: exposure, gain, white balance and whatever else its driver lets one set.
//!
//! A picture that is to be compared with learned ones must not depend on what a camera thinks is a good exposure today. What
//! the configuration asks for is set whenever the device is opened, the automatic mode that would change it again is
//! switched off, and every value is read back.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use v4l::Device;
use v4l::v4l_sys as sys;

use super::ioctl;
use crate::{Error, Result};

/// What the configuration asks of controls, by their names.
pub type Controls = BTreeMap<String, ControlValue>;

/// A value as a person writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlValue {
    /// On or off.
    Switch(bool),
    /// A number; of a menu, the number of a choice.
    Number(i64),
    /// A choice of a menu, by its name.
    Choice(String),
}

impl fmt::Display for ControlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlValue::Switch(on) => write!(f, "{on}"),
            ControlValue::Number(number) => write!(f, "{number}"),
            ControlValue::Choice(name) => write!(f, "\"{name}\""),
        }
    }
}

impl From<&str> for ControlValue {
    /// As in `exposure_us=2000`, `autogain=false`, `power_line=50 Hz`.
    fn from(text: &str) -> Self {
        match (text.parse(), text.parse()) {
            (Ok(on), _) => ControlValue::Switch(on),
            (_, Ok(number)) => ControlValue::Number(number),
            _ => ControlValue::Choice(text.to_owned()),
        }
    }
}

/// A name of ours for controls that cameras have under several names or in units of their own.
struct Friendly {
    name: &'static str,
    /// The first of these that the camera has is meant.
    ids: &'static [u32],
    /// How many of our units one of V4L2's is.
    unit: i64,
}

/// The units are those of the "Video for Linux API", chapter "Controls": exposure times are in 100 µs, the white balance is in
/// kelvin.
const FRIENDLY: &[Friendly] = &[
    Friendly { name: "exposure_us", ids: &[sys::V4L2_CID_EXPOSURE_ABSOLUTE], unit: 100 },
    Friendly { name: "gain", ids: &[sys::V4L2_CID_GAIN, sys::V4L2_CID_ANALOGUE_GAIN], unit: 1 },
    Friendly { name: "white_balance_k", ids: &[sys::V4L2_CID_WHITE_BALANCE_TEMPERATURE], unit: 1 },
    Friendly { name: "focus", ids: &[sys::V4L2_CID_FOCUS_ABSOLUTE], unit: 1 },
    Friendly { name: "zoom", ids: &[sys::V4L2_CID_ZOOM_ABSOLUTE], unit: 1 },
    Friendly { name: "iris", ids: &[sys::V4L2_CID_IRIS_ABSOLUTE], unit: 1 },
    Friendly { name: "power_line", ids: &[sys::V4L2_CID_POWER_LINE_FREQUENCY], unit: 1 },
    Friendly { name: "brightness", ids: &[sys::V4L2_CID_BRIGHTNESS], unit: 1 },
    Friendly { name: "contrast", ids: &[sys::V4L2_CID_CONTRAST], unit: 1 },
    Friendly { name: "saturation", ids: &[sys::V4L2_CID_SATURATION], unit: 1 },
    Friendly { name: "hue", ids: &[sys::V4L2_CID_HUE], unit: 1 },
    Friendly { name: "gamma", ids: &[sys::V4L2_CID_GAMMA], unit: 1 },
    Friendly { name: "sharpness", ids: &[sys::V4L2_CID_SHARPNESS], unit: 1 },
];

/// The control that lets the camera change control `id` by itself, and the values that forbid it, the best first.
fn automatic(id: u32) -> Option<(u32, &'static [i64])> {
    // V4L2_EXPOSURE_MANUAL, V4L2_EXPOSURE_SHUTTER_PRIORITY.
    const BY_HAND: &[i64] = &[1, 2];
    match id {
        sys::V4L2_CID_EXPOSURE | sys::V4L2_CID_EXPOSURE_ABSOLUTE => Some((sys::V4L2_CID_EXPOSURE_AUTO, BY_HAND)),
        sys::V4L2_CID_GAIN => Some((sys::V4L2_CID_AUTOGAIN, &[0])),
        sys::V4L2_CID_WHITE_BALANCE_TEMPERATURE | sys::V4L2_CID_RED_BALANCE | sys::V4L2_CID_BLUE_BALANCE => {
            Some((sys::V4L2_CID_AUTO_WHITE_BALANCE, &[0]))
        }
        sys::V4L2_CID_FOCUS_ABSOLUTE => Some((sys::V4L2_CID_FOCUS_AUTO, &[0])),
        sys::V4L2_CID_BRIGHTNESS => Some((sys::V4L2_CID_AUTOBRIGHTNESS, &[0])),
        sys::V4L2_CID_HUE => Some((sys::V4L2_CID_HUE_AUTO, &[0])),
        sys::V4L2_CID_ISO_SENSITIVITY => Some((sys::V4L2_CID_ISO_SENSITIVITY_AUTO, &[0])),
        _ => None,
    }
}

/// What kind of value a control has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlKind {
    /// A whole number, also one of 64 bits or a set of bits.
    Number,
    /// On or off.
    Switch,
    /// One of several choices.
    Menu,
    /// Something that happens when it is written to.
    Button,
    /// A text or an array, which cannot be set here.
    Other,
}

/// A control that a camera has.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Control {
    /// The driver's name as the configuration writes it: `white_balance_temperature`.
    pub name: String,
    /// The name to set it by in units of the world (`white_balance_k`), where there is one.
    pub friendly: Option<&'static str>,
    /// What kind of value it has.
    pub kind: ControlKind,
    /// Its value in the driver's units; `None` where it cannot be read.
    pub value: Option<i64>,
    /// The least value.
    pub least: i64,
    /// The greatest value.
    pub most: i64,
    /// The distance between values.
    pub step: u64,
    /// The value that it has at first.
    pub default: i64,
    /// The choices of a menu by their numbers.
    pub choices: BTreeMap<i64, String>,
    /// Something else rules it now, such as an automatic mode.
    pub inactive: bool,
    /// Nobody can set it.
    pub read_only: bool,
    /// Who streams holds it; it cannot be set now.
    pub busy: bool,
    /// `V4L2_CID_*`.
    #[serde(skip)]
    id: u32,
    /// `V4L2_CTRL_TYPE_*`.
    #[serde(skip)]
    v4l2_type: u32,
    /// How many of a person's units one of the driver's is.
    #[serde(skip)]
    unit: i64,
}

/// The controls of the camera at `path`, in the driver's order.
///
/// # Errors
///
/// The camera is absent, or may not be opened, or is no camera.
pub fn controls(path: &Path) -> Result<Vec<Control>> {
    Ok(offered(super::open_camera(path)?.device()))
}

fn offered(device: &Device) -> Vec<Control> {
    let wanted = |flags: u32| flags & sys::V4L2_CTRL_FLAG_DISABLED == 0;
    let found = ioctl::controls(device).into_iter();
    found
        .filter(|(control, _)| wanted(control.flags) && control.type_ != sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_CTRL_CLASS)
        .map(|(control, name)| described(device, &control, &name))
        .collect()
}

fn described(device: &Device, control: &sys::v4l2_query_ext_ctrl, label: &str) -> Control {
    let is = |flag: u32| control.flags & flag != 0;
    let kind = match control.type_ {
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER
        | sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER64
        | sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BITMASK
            if !is(sys::V4L2_CTRL_FLAG_HAS_PAYLOAD) =>
        {
            ControlKind::Number
        }
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BOOLEAN => ControlKind::Switch,
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_MENU | sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU => ControlKind::Menu,
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BUTTON => ControlKind::Button,
        _ => ControlKind::Other,
    };
    let is_readable = !matches!(kind, ControlKind::Button | ControlKind::Other) && !is(sys::V4L2_CTRL_FLAG_WRITE_ONLY);
    let friendly = FRIENDLY.iter().find(|friendly| friendly.ids.contains(&control.id));
    // A bit mask's greatest value is all of its bits, which may look negative.
    let is_mask = control.type_ == sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_BITMASK;
    Control {
        name: written(label),
        friendly: friendly.map(|friendly| friendly.name),
        kind,
        value: is_readable.then(|| ioctl::control(device, control.id, control.type_).ok()).flatten(),
        least: control.minimum,
        most: if is_mask { control.maximum & 0xffff_ffff } else { control.maximum },
        step: control.step,
        default: control.default_value,
        choices: choices(device, control),
        inactive: is(sys::V4L2_CTRL_FLAG_INACTIVE),
        read_only: is(sys::V4L2_CTRL_FLAG_READ_ONLY),
        busy: is(sys::V4L2_CTRL_FLAG_GRABBED),
        id: control.id,
        v4l2_type: control.type_,
        unit: friendly.map_or(1, |friendly| friendly.unit),
    }
}

/// A driver's name of a control as it is written in configurations and by `v4l2-ctl`: `White Balance, Auto` becomes
/// `white_balance_auto`.
fn written(label: &str) -> String {
    let words = label.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_")
}

/// A menu may lack some of the choices between its ends.
fn choices(device: &Device, control: &sys::v4l2_query_ext_ctrl) -> BTreeMap<i64, String> {
    let ends = u32::try_from(control.minimum).ok().zip(u32::try_from(control.maximum).ok());
    // No menu is longer than the bits of its mask.
    let indices = ends.map_or(0..0, |(least, most)| least..most.min(least + 63) + 1);
    let name = |index| match control.type_ {
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_MENU => ioctl::choice(device, control.id, index).ok(),
        sys::v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU => {
            ioctl::numeric_choice(device, control.id, index).ok().map(|number| number.to_string())
        }
        _ => None,
    };
    indices.filter_map(|index| Some((i64::from(index), name(index)?))).collect()
}

impl Control {
    /// The values that it takes, for people: `0 to 255, by default 128`.
    pub fn range(&self) -> String {
        match self.kind {
            ControlKind::Switch => format!("false or true, by default {}", self.default != 0),
            ControlKind::Menu => {
                let choices: Vec<String> = self.choices.keys().map(|value| self.told(*value, 1)).collect();
                format!("{}; by default {}", choices.join(", "), self.default)
            }
            ControlKind::Button => "nothing: it is pressed".into(),
            ControlKind::Other => "what cannot be set here".into(),
            ControlKind::Number => {
                let steps = if self.step > 1 { format!(" in steps of {}", self.step) } else { String::new() };
                format!("{} to {}{steps}, by default {}", self.least, self.most, self.default)
            }
        }
    }

    /// How many of the units of its [friendly name](Control::friendly) one of the driver's is.
    pub fn unit(&self) -> i64 {
        self.unit
    }

    /// A value for people, in units of which `unit` are one of the driver's.
    fn told(&self, value: i64, unit: i64) -> String {
        match (self.kind, self.choices.get(&value)) {
            (ControlKind::Switch, _) => (value != 0).to_string(),
            (_, Some(name)) => format!("{value} (\"{name}\")"),
            _ => value.saturating_mul(unit).to_string(),
        }
    }

    /// Its value for people, in the driver's units.
    pub fn shown(&self) -> String {
        self.value.map_or_else(|| "-".into(), |value| self.told(value, 1))
    }
}

/// A control and the value that it is to have.
struct Setting<'c> {
    /// The name that the configuration uses.
    name: &'c str,
    control: &'c Control,
    value: i64,
    /// How many of the configuration's units one of the driver's is.
    unit: i64,
}

/// Sets what `wanted` asks for and reads it back.
///
/// # Errors
///
/// The camera has no such control, or refuses a value, or takes another one in its place.
pub(super) fn apply(camera: &ioctl::Camera, path: &Path, wanted: &Controls) -> Result<()> {
    let device = camera.device();
    if wanted.is_empty() {
        return Ok(());
    }
    let at_camera = |error: Error| error.within(&format!("camera {}", path.display()));
    let offered = offered(device);
    let mut settings = resolve(&offered, wanted, path).map_err(at_camera)?;
    // An automatic mode, or whatever a menu chooses, decides which of the other controls can be set.
    settings.sort_by_key(|setting| setting.control.kind == ControlKind::Number);
    for setting in &settings {
        switch_to_manual(device, &offered, &settings, setting).map_err(at_camera)?;
    }
    settings.iter().try_for_each(|setting| set(device, setting)).map_err(at_camera)?;
    // Only now: one control may change another.
    settings.iter().try_for_each(|setting| read_back(device, setting)).map_err(at_camera)
}

fn resolve<'c>(offered: &'c [Control], wanted: &'c Controls, path: &Path) -> Result<Vec<Setting<'c>>> {
    let mut settings: Vec<Setting> = Vec::new();
    for (name, value) in wanted {
        let setting = find(offered, name, value, path)?;
        if let Some(other) = settings.iter().find(|other| other.control.id == setting.control.id) {
            let what = format!("{} and {name} are two names of one control, {}", other.name, setting.control.name);
            return Err(Error::usage(what).advise("keep one of the two"));
        }
        settings.push(setting);
    }
    Ok(settings)
}

fn find<'c>(offered: &'c [Control], name: &'c str, value: &ControlValue, path: &Path) -> Result<Setting<'c>> {
    let friendly = FRIENDLY.iter().find(|friendly| friendly.name == name);
    let meant = friendly.and_then(|friendly| {
        let by_id = |id: &u32| offered.iter().find(|control| control.id == *id);
        Some((friendly.ids.iter().find_map(by_id)?, friendly.unit))
    });
    let named = || offered.iter().find(|control| control.name == name).map(|control| (control, 1));
    let Some((control, unit)) = meant.or_else(named) else {
        let known = offered.iter().flat_map(|control| [Some(control.name.as_str()), control.friendly]).flatten();
        let likeness = |known: &&str| strsim::jaro_winkler(name, known);
        let near = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|near| likeness(near) > 0.75);
        let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        return Err(Error::usage(format!("it has no control {name}{near}"))
            .advise(format!("list its controls with: hgad camera controls {}", path.display())));
    };
    Ok(Setting { name, control, value: numeric(name, control, value, unit)?, unit })
}

/// The driver's number for a value.
fn numeric(name: &str, control: &Control, value: &ControlValue, unit: i64) -> Result<i64> {
    let takes = |what: String| Error::usage(format!("{name} {what}; {} takes {}", control.name, control.range()));
    if control.read_only {
        return Err(Error::usage(format!("{name} can only be read")));
    }
    match (control.kind, value) {
        (ControlKind::Switch, ControlValue::Switch(on)) => Ok(i64::from(*on)),
        (ControlKind::Switch | ControlKind::Menu, ControlValue::Number(number)) => Ok(*number),
        (ControlKind::Number, ControlValue::Number(number)) if number % unit == 0 => Ok(number / unit),
        (ControlKind::Number, ControlValue::Number(_)) => {
            Err(takes(format!("is set in steps of {unit}, not to {value}")))
        }
        (ControlKind::Menu, ControlValue::Choice(name)) => {
            let chosen = control.choices.iter().find(|(_, choice)| choice.eq_ignore_ascii_case(name));
            chosen.map(|(number, _)| *number).ok_or_else(|| takes(format!("cannot be {value}")))
        }
        _ => Err(takes(format!("cannot be {value}"))),
    }
}

/// Takes the control out of the camera's own hands, unless the configuration itself says whose it is to be.
fn switch_to_manual(device: &Device, offered: &[Control], settings: &[Setting], setting: &Setting) -> Result<()> {
    let Some((id, values)) = automatic(setting.control.id) else { return Ok(()) };
    let Some(mode) = offered.iter().find(|control| control.id == id) else { return Ok(()) };
    if settings.iter().any(|setting| setting.control.id == id) {
        return Ok(());
    }
    let is_manual = || ioctl::control(device, id, mode.v4l2_type).is_ok_and(|value| values.contains(&value));
    let set = |value: &i64| ioctl::set_control(device, id, mode.v4l2_type, *value).is_ok() && is_manual();
    if is_manual() || values.iter().any(set) {
        return Ok(());
    }
    let (name, mode) = (setting.name, &mode.name);
    Err(Error::usage(format!("{name} cannot be set by hand: {mode} does not leave its automatic mode")))
}

fn set(device: &Device, setting: &Setting) -> Result<()> {
    let Setting { name, control, value, unit } = setting;
    ioctl::set_control(device, control.id, control.v4l2_type, *value).map_err(|error| {
        let what = format!("{name} cannot be set to {}", control.told(*value, *unit));
        if error.raw_os_error() == Some(libc::ENODEV) {
            return Error::device(what).because(error).advise("check the camera's cable and power");
        }
        Error::usage(format!("{what}; {}", takes(setting))).because(error)
    })
}

fn read_back(device: &Device, setting: &Setting) -> Result<()> {
    let Setting { name, control, value, unit } = setting;
    // A control that can only be written has nothing to read.
    let Some(_) = control.value else { return Ok(()) };
    let took = ioctl::control(device, control.id, control.v4l2_type)
        .map_err(|error| Error::device(format!("{name} cannot be read back")).because(error))?;
    if took == *value {
        return Ok(());
    }
    let (took, value) = (control.told(took, *unit), control.told(*value, *unit));
    Err(Error::usage(format!("{name} took {took} instead of {value}; {}", takes(setting))))
}

/// What a control takes, in the configuration's units and in the driver's where they differ.
fn takes(Setting { control, unit, .. }: &Setting) -> String {
    match unit {
        1 => format!("{} takes {}", control.name, control.range()),
        _ => format!("{} takes {}, of which each is {unit}", control.name, control.range()),
    }
}
