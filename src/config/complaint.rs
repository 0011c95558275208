//! What is wrong with a configuration, and where.

use std::ops::Range;
use std::path::Path;

use crate::Error;

/// Something that is wrong at a place (a range of bytes) of the file, and what to do about it.
#[derive(Debug)]
pub(super) struct Complaint {
    what: String,
    advice: String,
    place: Range<usize>,
}

impl Complaint {
    pub(super) fn new(place: Range<usize>, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Complaint { what: what.into(), advice: advice.into(), place }
    }

    /// A key that is not `known` here.
    pub(super) fn unknown_key(place: Range<usize>, key: &str, known: &[&str]) -> Self {
        let what = format!("unknown key '{key}'{}", did_you_mean(key, known));
        Complaint::new(place, what, format!("the keys that are known here: {}", known.join(", ")))
    }

    /// Text that is no TOML.
    pub(super) fn syntax(error: &toml::de::Error, text: &str) -> Self {
        let place = error.span().unwrap_or(0..0);
        if error.message() == "duplicate key" {
            let key = text.get(place.clone()).unwrap_or_default();
            return Complaint::new(place, format!("'{key}' is given twice"), "keep one of the two");
        }
        let advice =
            "a line is a [section], or KEY = VALUE with texts in \"quotes\"; docs/configuration.md has a complete file";
        Complaint::new(place, error.message().replace('\n', ", ").replace('`', "'"), advice)
    }

    /// What the TOML reader says of the section `section`, in this program's words. `values` are the places of its values.
    pub(super) fn of_section(error: &toml::de::Error, section: &str, place: Range<usize>, values: &Values) -> Self {
        let message = error.message();
        let place = error.span().unwrap_or(place);
        let key = values.iter().find(|(_, value)| value.start <= place.start && place.end <= value.end);
        let key = key.map_or("this value", |(key, _)| key);
        let quoted = message.split('`').skip(1).step_by(2).collect::<Vec<_>>();
        match quoted.as_slice() {
            [unknown, known @ ..] if message.starts_with("unknown field") => {
                let mut complaint = Complaint::unknown_key(place, unknown, known);
                complaint.what.push_str(&format!(" in [{section}]"));
                complaint
            }
            [missing] if message.starts_with("missing field") => Complaint::new(
                place,
                format!("the key '{missing}' is missing in [{section}]"),
                format!("add a line such as: {}", example(missing)),
            ),
            [choice, known @ ..] if message.starts_with("unknown variant") => Complaint::new(
                place,
                format!("{key} cannot be '{choice}'{}", did_you_mean(choice, known)),
                format!("choose one of: {}", known.iter().map(|k| format!("\"{k}\"")).collect::<Vec<_>>().join(", ")),
            ),
            _ => Complaint::new(place, mismatch(key, message), format!("write it as in: {}", example(key))),
        }
    }

    /// The error that a person sees: `line.toml:12:3: ...`.
    pub(super) fn at(self, path: &Path, text: &str) -> Error {
        let position = position(text, self.place.start);
        Error::usage(format!("{}{position}: {}", path.display(), self.what)).advise(self.advice)
    }
}

/// The keys of a section and where their values stand.
pub(super) type Values = [(String, Range<usize>)];

/// `invalid type: string "400", expected f64` in words.
fn mismatch(key: &str, message: &str) -> String {
    let parts = message.split_once(": ").and_then(|(_, rest)| rest.rsplit_once(", expected "));
    let Some((found, expected)) = parts else { return format!("{key}: {message}").replace('\n', ", ") };
    let kinds = [
        ("string ", "the text "),
        ("integer ", "the number "),
        ("floating point ", "the number "),
        ("boolean ", ""),
        ("sequence", "a list"),
        ("map", "a section"),
        ("datetime", "a date"),
    ];
    let kind = kinds.iter().find_map(|(kind, word)| Some((word, found.strip_prefix(kind)?)));
    let found = kind.map_or_else(|| found.to_owned(), |(word, rest)| format!("{word}{rest}")).replace('`', "");
    let expected = match expected {
        "f64" => "a number",
        "u32" | "u64" => "a whole number from 0",
        "u8" => "a whole number from 0 to 255",
        "a string" => "a text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a section",
        other => other,
    };
    format!("{key} is to be {expected}, and is {found}")
}

/// A line that gives `key` a value of its type.
pub(super) fn example(key: &str) -> String {
    let value = match key {
        "name" => "\"line 3\"",
        "class" => "\"lid\"",
        "model" => "\"models/lids\"",
        "calibration" => "\"calibration/lid.toml\"",
        "threads" => "2",
        "travel_ms" => "400",
        "pulse_ms" | "tolerance_ms" => "30",
        "late" => "\"count\"",
        "skipped" => "\"reject\"",
        "path" => "\"frames\"",
        "rate" => "10",
        "repeat" => "\"forever\"",
        "device" => "\"/dev/video0\"",
        "width" => "640",
        "height" => "480",
        "format" => "\"MJPG\"",
        "command" => "[\"rpicam-vid\", \"-t\", \"0\", \"-o\", \"-\"]",
        "stride" => "1280",
        "controls" => "{ exposure_us = 2000, gain = 20 }",
        "fps" => "15",
        "timeout_ms" => "2000",
        "buffers" => "\"own\"",
        "seed" => "1",
        "parts" => "1000",
        "defect_share" => "0.1",
        "port" => "\"/dev/ttyUSB0\"",
        "baud" => "115200",
        "message" => r#""REJECT\r\n""#,
        "release" => r#""RELEASE\r\n""#,
        "ack" => r#""OK\r\n""#,
        "ack_timeout_ms" => "50",
        "bias" => "\"pull-up\"",
        "drive" => "\"open-drain\"",
        "server" => "\"192.168.0.10:502\"",
        "unit" | "active" => "1",
        "released" | "bit" => "0",
        "coil" | "discrete_input" | "holding_register" | "input_register" => "16",
        "write" => "\"multiple\"",
        "debounce_ms" => "5",
        "period_ms" => "10",
        "empty_belt" => "\"empty-belt.toml\"",
        "direction" => "\"right\"",
        "mm_per_pixel" => "0.25",
        "crop_mm" => "120",
        "longest_mm" => "80",
        "a" => "\"ENCODER_A\"",
        "b" => "\"ENCODER_B\"",
        "resolution" => "\"x4\"",
        "bits" => "32",
        "word_order" => "\"low-first\"",
        "chip" => "\"gpiochip0\"",
        "line" => "\"GPIO17\"",
        "active_low" => "true",
        "file" => "\"audit.jsonl\"",
        "key" => "\"line-3.key\"",
        "approved_by" => "[\"quality.key.pub\"]",
        "former_keys" => "[\"line-3.former.key.pub\"]",
        "checkpoint_copy" => "\"/mnt/usb/line-3.checkpoint\"",
        "witness" => "\"http://logs.factory.example:8080/line-3\"",
        "fsync" => "\"group\"",
        "pictures" => "\"pictures\"",
        "sample" => "0.01",
        "around" => "2",
        "keep_days" => "30",
        "keep_rejects_days" => "365",
        "keep_gb" => "20",
        "keep_records" => "4096",
        "when_full" => "\"stop-line\"",
        "rotate_mb" => "64",
        "rotate_daily" => "true",
        "keep_log_days" => "3650",
        "keep_log_gb" => "4",
        _ => "VALUE (docs/configuration.md has every key)",
    };
    format!("{key} = {value}")
}

pub(super) fn did_you_mean(name: &str, known: &[&str]) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!("; did you mean '{near}'?"))
}

/// `:line:column` of the byte at `offset`, both from 1, columns in characters.
pub(super) fn position(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!(":{line}:{column}")
}

/// The known name that is most like `name`, if any is like it at all.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |candidate: &&str| strsim::jaro_winkler(name, candidate);
    known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|best| likeness(best) > 0.75)
}
