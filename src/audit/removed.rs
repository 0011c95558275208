//! Which pictures the log says were removed: of others nobody may be missing one.

use std::path::{Path, PathBuf};

use super::kind::Kind;
use super::query::Query;
use super::read::{self, PictureEntry, Range};
use crate::Result;

/// Until which days retention removed pictures, as far as a log tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    folder: PathBuf,
    passes: Option<String>,
    rejects: Option<String>,
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
            let until = match entry.of.as_deref() {
                Some("passes") => &mut removed.passes,
                Some("rejects") => &mut removed.rejects,
                _ => return Ok(true),
            };
            // Days are written so that texts compare as they do.
            *until = until.take().max(entry.until.clone());
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
        let day = picture.file.as_deref().and_then(|file| file.split('/').nth(1));
        let until = if verdict == Some("pass") { &self.passes } else { &self.rejects };
        day.is_some_and(|day| until.as_deref().is_some_and(|until| day <= until))
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
    }
}
