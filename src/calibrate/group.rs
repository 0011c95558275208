//! Which images count as one part: pictures of the same part, or of the same minute, are no independent evidence.

use std::path::Path;

use regex::Regex;

use crate::{Error, Result};

/// Names an image's group by its file name.
#[derive(Debug, Clone)]
pub struct Grouping(Regex);

impl Grouping {
    /// Images belong together when `pattern` finds the same in their names: its first group in brackets, or all of it
    /// where it has none. `part-(\d+)` takes all pictures of a part together, `\d{8}-\d{4}` those of a minute.
    ///
    /// # Errors
    ///
    /// The pattern is no regular expression.
    pub fn new(pattern: &str) -> Result<Self> {
        let regex = Regex::new(pattern).map_err(|error| {
            Error::usage(format!("the group pattern '{pattern}' is no regular expression"))
                .because(error)
                .advise(r"write it like 'part-(\d+)', in single quotes")
        })?;
        Ok(Grouping(regex))
    }

    /// The group of the image at `path`.
    ///
    /// # Errors
    ///
    /// The pattern finds nothing in its name.
    pub fn of(&self, path: &Path) -> Result<String> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let found = self.0.captures(&name).and_then(|captures| captures.get(1).or(captures.get(0)));
        found.map(|found| found.as_str().to_owned()).ok_or_else(|| {
            Error::usage(format!("the group pattern '{}' finds nothing in the name '{name}'", self.0))
                .advise("every image must belong to a group: change the pattern, or take the image away")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_what_the_pattern_finds_in_the_name_alone() {
        let group = |pattern: &str, path: &str| Grouping::new(pattern).unwrap().of(Path::new(path));
        assert_eq!(group(r"part-(\d+)", "part-1/part-22-b.png").unwrap(), "22");
        assert_eq!(group(r"\d{8}-\d{4}", "20261124-141502-007.png").unwrap(), "20261124-1415");
        assert!(group("x", "x/a.png").unwrap_err().report().contains("finds nothing in the name 'a.png'"));
        assert!(Grouping::new("(").unwrap_err().report().contains("no regular expression"));
    }
}
