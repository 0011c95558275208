//! What is wrong with a configuration, and where.

use std::ops::Range;
use std::path::Path;

use crate::Error;

/// Something that is wrong at a place (a range of bytes) of the file.
#[derive(Debug)]
pub(super) struct Complaint {
    what: String,
    advice: Option<String>,
    place: Option<Range<usize>>,
}

impl Complaint {
    pub(super) fn new(place: Range<usize>, what: impl Into<String>) -> Self {
        Complaint { what: what.into(), advice: None, place: Some(place) }
    }

    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// A key that is not `known` here.
    pub(super) fn unknown_key(place: Range<usize>, key: &str, known: &[&str]) -> Self {
        let mut what = format!("unknown key '{key}'");
        if let Some(near) = nearest(key, known) {
            what.push_str(&format!("; did you mean '{near}'?"));
        }
        Complaint::new(place, what).advise(format!("the keys that are known here: {}", known.join(", ")))
    }

    /// What the TOML reader says, in this program's words where they are clearer.
    pub(super) fn from_toml(error: &toml::de::Error, section: Option<&str>, section_place: Range<usize>) -> Self {
        let place = error.span().unwrap_or(section_place);
        let quoted = error.message().split('`').skip(1).step_by(2).collect::<Vec<_>>();
        let within = section.map(|s| format!(" in [{s}]")).unwrap_or_default();
        match quoted.as_slice() {
            [key, known @ ..] if error.message().starts_with("unknown field") => {
                let mut complaint = Complaint::unknown_key(place, key, known);
                complaint.what.push_str(&within);
                complaint
            }
            [key] if error.message().starts_with("missing field") => {
                Complaint::new(place, format!("the key '{key}' is missing{within}"))
            }
            [key] if error.message().starts_with("duplicate field") => {
                Complaint::new(place, format!("the key '{key}' is given twice{within}"))
            }
            _ => Complaint::new(place, error.message().replace('\n', ", ")),
        }
    }

    /// The error that a person sees: `line.toml:12:3: ...`.
    pub(super) fn at(self, path: &Path, text: &str) -> Error {
        let position = self.place.map(|place| position(text, place.start)).unwrap_or_default();
        let error = Error::usage(format!("{}{position}: {}", path.display(), self.what));
        match self.advice {
            Some(advice) => error.advise(advice),
            None => error,
        }
    }
}

/// `:line:column` of the byte at `offset`, both from 1, columns in characters.
fn position(text: &str, offset: usize) -> String {
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
