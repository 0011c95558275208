//! Where checkpoints are kept, out of reach of who may write the log.

mod http;
mod mqtt;
mod syslog;

use std::fmt;
use std::io::{Error, ErrorKind, Result, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::{Protocol, Witness};

/// A witness that has not answered after so long is away.
const ANSWER: Duration = Duration::from_secs(10);

/// A place that takes the newest checkpoint. It may be slow, away or hung.
#[derive(Debug)]
pub(super) enum Place {
    /// A file, which holds nothing else.
    File(PathBuf),
    /// Another machine, which gets each.
    Witness(Witness),
}

impl Place {
    /// Puts `note` there, and waits until it is taken.
    pub(super) fn put(&self, note: &str) -> Result<()> {
        match self {
            Place::File(path) => replace(path, note),
            Place::Witness(witness) => match &witness.protocol {
                Protocol::Http { .. } => http::post(witness, note),
                Protocol::Mqtt { topic, login } => mqtt::publish(&connect(witness)?, topic, login.as_ref(), note),
                Protocol::Syslog => syslog::send(&connect(witness)?, note),
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Witness(witness) => write!(f, "{witness}"),
        }
    }
}

/// How long a witness takes to answer the telephone. What it says to a checkpoint is seen only when it gets one.
///
/// # Errors
///
/// It is not known, or does not answer.
pub fn reach(witness: &Witness) -> Result<Duration> {
    let begun = Instant::now();
    connect(witness).map(|_| begun.elapsed())
}

/// Opens a connection to a witness: to the first of its addresses that answers.
fn connect(witness: &Witness) -> Result<TcpStream> {
    let mut failure = Error::new(ErrorKind::NotFound, format!("no address is known of {}", witness.host));
    for address in (witness.host.as_str(), witness.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER) {
            Ok(stream) => {
                stream.set_read_timeout(Some(ANSWER))?;
                stream.set_write_timeout(Some(ANSWER))?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Puts `text` in the place of the file at `path` in one step. Others may read it: it is what they check a log by.
fn replace(path: &Path, text: &str) -> Result<()> {
    let new = path.with_added_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(new, path)
}
