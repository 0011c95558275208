//! Which images count as one part: pictures of the same part, or of the same minute, are no independent evidence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::{Error, Result, print, time};

/// So many minutes are few: what each of them has in common is in a good share of the pictures.
const FEW_MINUTES: usize = 9;

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

/// Warns of pictures that nobody groups, and most of which were captured within a few minutes, as far as names that begin with the time of a
/// capture tell: each counts as a part that is independent of the others.
pub(super) fn warn_of_neighbours(images: &[PathBuf]) {
    if let Some(told) = neighbours(images) {
        log::warn!("{told}");
    }
}

fn neighbours(images: &[PathBuf]) -> Option<String> {
    let mut minutes = BTreeMap::new();
    for image in images {
        let name = image.file_name()?.to_str()?;
        *minutes.entry(time::minute_in_name(name)?).or_insert(0) += 1;
    }
    let mut counts = minutes.into_values().collect::<Vec<usize>>();
    counts.sort_unstable_by(|one, other| other.cmp(one));
    let few = counts.len().min(FEW_MINUTES);
    let most = counts.iter().take(few).sum::<usize>();
    // Where hardly any two are of one minute, few pictures are of few minutes.
    (2 * most > images.len() && images.len() > 2 * counts.len()).then(|| {
        format!(
            "{most} of {} are of {}, and each counts as a part that is independent of the others: what parts of one minute share (a batch, the \
             lamp's warmth, a piece of dirt) is in all of them, and the rate may hold for these alone. Take pictures of hours or days; --group \
             '\\d{{8}}-\\d{{4}}' counts those of a minute as one part, and {} would be left",
            print::counted(images.len() as u64, "picture"),
            print::counted(few as u64, "minute"),
            print::counted(counts.len() as u64, "part")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_few_minutes_are_warned_of_where_their_names_have_the_time() {
        let told = |minutes: usize, of_each: usize| {
            let names = (0..minutes * of_each).map(|n| {
                format!("good/20261124-{:02}{:02}{:02}-{n:05}.png", n / of_each / 60, n / of_each % 60, n % 60)
            });
            neighbours(&names.map(PathBuf::from).collect::<Vec<_>>())
        };
        let two = told(2, 150).unwrap();
        assert!(
            two.starts_with("300 of 300 pictures are of 2 minutes") && two.contains("2 parts would be left"),
            "{two}"
        );
        assert!(two.contains(r"--group '\d{8}-\d{4}' counts"), "{two}");
        assert!(told(17, 10).unwrap().starts_with("90 of 170 pictures are of 9 minutes"));
        // Of many minutes; and few pictures, hardly two of a minute.
        assert_eq!((told(18, 10), told(300, 1), told(5, 2), told(0, 1)), (None, None, None, None));
        let names = ["20261124-162231-00000.png", "20261124-162232-00001.png", "041.png"].map(PathBuf::from);
        assert_eq!(neighbours(&names), None, "names of another kind tell of no time");
    }

    #[test]
    fn a_group_is_what_the_pattern_finds_in_the_name_alone() {
        let group = |pattern: &str, path: &str| Grouping::new(pattern).unwrap().of(Path::new(path));
        assert_eq!(group(r"part-(\d+)", "part-1/part-22-b.png").unwrap(), "22");
        assert_eq!(group(r"\d{8}-\d{4}", "20261124-141502-007.png").unwrap(), "20261124-1415");
        assert!(group("x", "x/a.png").unwrap_err().report().contains("finds nothing in the name 'a.png'"));
        assert!(Grouping::new("(").unwrap_err().report().contains("no regular expression"));
    }
}
