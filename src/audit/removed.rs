//! Which pictures the log says were removed: of others nobody may be missing one.

use std::path::{Path, PathBuf};

use super::kind::Kind;
use super::query::Query;
use super::read::{self, PictureEntry, Range};
use crate::Result;

/// Up to which pictures retention removed them, as far as a log tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    folder: PathBuf,
    passes: Option<Place>,
    rejects: Option<Place>,
}

/// Where a picture is in the order in which those of one kind are removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Days are written so that texts compare as they do.
    day: String,
    file: Last,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Last {
    /// Of a run, of this name.
    File(String, String),
    /// All of the day: an older program did not say more.
    Day,
}

impl Place {
    /// Of `RUN/DAY/NAME`.
    fn of(file: &str) -> Option<Self> {
        let (run, rest) = file.split_once('/')?;
        let (day, name) = rest.split_once('/')?;
        Some(Place { day: day.to_owned(), file: Last::File(run.to_owned(), name.to_owned()) })
    }
}

impl Removed {
    /// What the log in `path`, or that it is a closed file of, says of the pictures in `folder` from the beginning of `range` on:
    /// pictures are removed after their parts.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn of(path: &Path, folder: &Path, range: Range) -> Result<Self> {
        let range = Range { to: None, ..range };
        let newest = read::newest_of(path).filter(|newest| newest.is_file());
        let path = newest.as_deref().unwrap_or(path);
        let mut removed = Removed { folder: folder.to_owned(), ..Removed::default() };
        Query { range, ..Query::of_kind(Kind::PicturesRemoved.as_str()) }.each(path, |_, entry, _| {
            let upto = match entry.of.as_deref() {
                Some("passes") => &mut removed.passes,
                Some("rejects") => &mut removed.rejects,
                _ => return Ok(true),
            };
            let day = || entry.until.clone().map(|day| Place { day, file: Last::Day });
            *upto = upto.take().max(entry.last.as_deref().and_then(Place::of).or_else(day));
            Ok(true)
        })?;
        Ok(removed)
    }

    /// Whether that is why a picture of a part with this verdict is not there. Where nothing of its run is, the pictures are
    /// somewhere else, and nobody is to be accused.
    pub fn explains(&self, picture: &PictureEntry, verdict: Option<&str>) -> bool {
        if picture.run().is_none_or(|run| !self.folder.join(run).is_dir()) {
            return true;
        }
        let place = picture.file.as_deref().and_then(Place::of);
        let upto = if verdict == Some("pass") { &self.passes } else { &self.rejects };
        place.is_some_and(|place| upto.as_ref().is_some_and(|upto| place <= *upto))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_explains_older_pictures_of_its_kind_alone() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.jsonl");
        let record = |seq: u64, of: &str, until: &str| {
            format!(
                "{{\"seq\":{seq},\"kind\":\"pictures-removed\",\"time\":\"2026-11-24T06:00:0{seq}.000000Z\",\"of\":\"{of}\",\
                 \"until\":\"{until}\"}}\n"
            )
        };
        let lines =
            [record(0, "passes", "2026-11-20"), record(1, "rejects", "2026-11-02"), record(2, "passes", "2026-11-19")];
        std::fs::write(&log, lines.concat()).unwrap();
        let closed = folder.path().join("audit.000001.jsonl");
        std::fs::write(&closed, "").unwrap();
        let removed = Removed::of(&closed, folder.path(), Range::default()).unwrap();
        let picture = "{\"why\":\"sample\",\"file\":\"run/2026-11-21/00000012-sample.jpg\"}";
        assert!(removed.explains(&serde_json::from_str(picture).unwrap(), Some("pass")), "nothing of the run is here");
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let explains = |day: &str, verdict: &str| {
            let json = format!("{{\"why\":\"sample\",\"file\":\"run/{day}/00000012-sample.jpg\"}}");
            removed.explains(&serde_json::from_str(&json).unwrap(), Some(verdict))
        };
        assert!(explains("2026-11-20", "pass") && !explains("2026-11-21", "pass"));
        assert!(explains("2026-11-02", "reject") && !explains("2026-11-20", "unknown"));
        // A newer program says which picture of the day was the last.
        let last = "\"last\":\"run/2026-11-02/00000011-reject.jpg\",\"until\"";
        let newer = record(3, "rejects", "2026-11-02").replace("\"until\"", last);
        std::fs::write(&log, newer).unwrap();
        let removed = Removed::of(&log, folder.path(), Range::default()).unwrap();
        let explains = |file: &str| {
            let json = format!("{{\"why\":\"reject\",\"file\":\"run/{file}\"}}");
            removed.explains(&serde_json::from_str(&json).unwrap(), Some("reject"))
        };
        assert!(explains("2026-11-01/00000012-reject.jpg") && explains("2026-11-02/00000011-reject.jpg"));
        assert!(!explains("2026-11-02/00000012-reject.jpg"), "of the same day, and nobody said so");
    }
}
