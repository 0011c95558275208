//! What a person said of rejected parts: one line each, `RUN/PART good|bad WHO: WHY`, and `?` where nobody has said it yet.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Sample;
use crate::{Error, Result, print};

/// A rejected part that somebody found good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// `RUN/PART`.
    pub part: String,
    /// Who says so, and why.
    pub by: String,
}

/// What was said of rejected parts.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// Parts that were good, with who says so; `None` for those that were not.
    parts: BTreeMap<String, Option<String>>,
    /// Parts in the file of which nobody has said it yet.
    open: Vec<String>,
}

impl Judged {
    /// Reads the file at `path`; of one that is not there nothing is known.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or has a line that says neither.
    pub fn open(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.map_err(|error| Error::device(format!("{} cannot be read", path.display())).because(error))?,
        };
        let mut judged = Judged::default();
        for (number, line) in text.lines().enumerate() {
            judged.take(line).map_err(|why| {
                Error::usage(format!("{}, line {}: {why}", path.display(), number + 1))
                    .advise("write it as in: 20261124T162231.137055Z/12 good A. Smith: only dust")
            })?;
        }
        Ok(judged)
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some((part, rest)) = line.split_once(char::is_whitespace) else {
            return if line.is_empty() { Ok(()) } else { Err(format!("'{line}' is not said to be good or bad")) };
        };
        let (word, by) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
        match (word, by.trim()) {
            ("?", _) => self.open.push(part.to_owned()),
            ("bad", _) => self.say(part, None)?,
            ("good", "") => return Err(format!("nobody is named who says that {part} is good")),
            ("good", by) => self.say(part, Some(by.to_owned()))?,
            (word, _) => return Err(format!("'{word}' is neither good nor bad")),
        }
        Ok(())
    }

    fn say(&mut self, part: &str, good: Option<String>) -> Result<(), String> {
        let before = self.parts.insert(part.to_owned(), good.clone());
        match before.is_some_and(|before| before.is_some() != good.is_some()) {
            true => Err(format!("{part} is said to be good and bad")),
            false => Ok(()),
        }
    }

    /// Who says that a part is good; `None` where nobody does.
    pub fn good(&self, part: &str) -> Option<&str> {
        self.parts.get(part)?.as_deref()
    }

    /// Whether somebody says of a part that it was good or bad.
    pub(super) fn is_said(&self, part: &str) -> bool {
        self.parts.contains_key(part)
    }

    /// Whether somebody says that a part was bad.
    pub(super) fn is_bad(&self, part: &str) -> bool {
        self.parts.get(part).is_some_and(Option::is_none)
    }

    /// Refuses a sample with rejected parts of which nobody has said whether they were good, and adds them to the file at `path`.
    ///
    /// # Errors
    ///
    /// There are such parts, or the file cannot be written.
    pub fn check(&self, sample: &Sample, path: &Path, pictures: &Path) -> Result<()> {
        let open = sample.rejected.iter().filter(|drawn| !self.is_said(&drawn.id)).collect::<Vec<_>>();
        let in_sample = |part: &String| sample.rejected.iter().any(|drawn| drawn.id == *part);
        for part in self.parts.keys().filter(|part| !in_sample(part)) {
            log::warn!(
                "{}: {part} is no rejected part of the sample, and what is said of it counts for nothing",
                path.display()
            );
        }
        if open.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        // Not every editor ends the last line.
        if std::fs::read(path).is_ok_and(|bytes| bytes.last().is_some_and(|byte| *byte != b'\n')) {
            text.push('\n');
        }
        if !path.exists() {
            text += "# Were these rejected parts good? Write good or bad in the place of the question mark; behind good, who says so and why.\n";
            let _ = writeln!(text, "# Their pictures are in {}", pictures.display());
        }
        for drawn in open.iter().filter(|drawn| !self.open.contains(&drawn.id)) {
            let _ = writeln!(text, "{} ?  # {}", drawn.id, drawn.file());
        }
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .map_err(|error| Error::device(format!("{} cannot be written", path.display())).because(error))?;
        Err(Error::usage(format!(
            "the sample has {} of which nobody has said whether good or bad",
            print::counted(open.len() as u64, "rejected part")
        ))
        .because("passed parts alone are censored at the threshold of then: a threshold set on them would reject more and more good parts")
        .advise(format!("look at the pictures, write good or bad into {}, and ask again", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_found_a_part_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judged.txt");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Judged::open(&path).map_err(|error| error.report())
        };
        let judged = read("# comment\n\nR/1 good A. Smith: dust # x\nR/2  bad\nR/3 ?\n").unwrap();
        assert_eq!((judged.good("R/1"), judged.good("R/2"), judged.good("R/3")), (Some("A. Smith: dust"), None, None));
        assert!(judged.parts.contains_key("R/2") && !judged.parts.contains_key("R/3"));
        for (text, says) in
            [("R/1 good", "line 1: nobody is named"), ("\nR/1 fine x", "line 2: 'fine'"), ("R/1", "not said")]
        {
            let report = read(text).unwrap_err();
            assert!(report.contains(says) && report.contains("try: "), "{report}");
        }
        assert!(Judged::open(&folder.path().join("none")).unwrap().parts.is_empty());
    }
}
