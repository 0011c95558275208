//! Where checkpoints are kept, out of reach of who may write the log.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A witness that has not answered after so long is away.
const ANSWER: Duration = Duration::from_secs(10);

/// A place that takes the newest checkpoint. It may be slow, away or hung.
#[derive(Debug)]
pub(super) enum Place {
    /// A file, which holds nothing else.
    File(PathBuf),
    /// Another machine, which gets each by HTTP.
    Witness { url: String, agent: ureq::Agent },
}

impl Place {
    pub(super) fn witness(url: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER)).max_redirects(0).proxy(None).build();
        Place::Witness { url: url.to_owned(), agent: config.into() }
    }

    /// Puts `note` there. A witness gets it as the body of a POST request, and takes it by an answer of 200 to 299.
    pub(super) fn put(&self, note: &str) -> std::io::Result<()> {
        match self {
            Place::File(path) => replace(path, note),
            Place::Witness { url, agent } => {
                let sent = agent.post(url).content_type("text/plain; charset=utf-8").send(note);
                let answer = sent.map_err(std::io::Error::other)?;
                match answer.status().is_success() {
                    true => Ok(()),
                    // Without redirects what is left is 100 to 399.
                    false => Err(std::io::Error::other(format!("it answered {}", answer.status()))),
                }
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Witness { url, .. } => f.write_str(url),
        }
    }
}

/// Puts `text` in the place of the file at `path` in one step. Others may read it: it is what they check a log by.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_added_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(new, path)
}
