//! Where checkpoints are kept, out of reach of who may write the log.

mod http;
mod mqtt;
mod syslog;

use std::fmt;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::{Protocol, Witness};
use crate::draft;

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
    /// Takes away what killed runs left there.
    pub(super) fn tidy(&self) {
        match self {
            Place::File(path) => draft::sweep_of(path),
            Place::Witness(_) => {}
        }
    }

    /// Puts `note` there, and waits until it is taken.
    pub(super) fn put(&self, note: &str) -> Result<()> {
        match self {
            Place::File(path) => replace(path, note),
            Place::Witness(witness) => match &witness.protocol {
                Protocol::Http { .. } => http::post(witness, note),
                Protocol::Mqtt { topic, login } => {
                    mqtt::publish(&mut Connection::open(witness)?, topic, login.as_ref(), note)
                }
                Protocol::Syslog => syslog::send(&mut Connection::open(witness)?, note),
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

/// How long a witness takes to answer a call. A broker also says whether it knows the line; what others say to a checkpoint is seen
/// only when they get one.
///
/// # Errors
///
/// It is not known, does not answer, or refuses the line.
pub fn reach(witness: &Witness) -> Result<Duration> {
    let begun = Instant::now();
    let mut connection = Connection::open(witness)?;
    if let Protocol::Mqtt { login, .. } = &witness.protocol {
        mqtt::greet(&mut connection, login.as_ref())?;
    }
    Ok(begun.elapsed())
}

/// A connection to a witness, which has [`ANSWER`] for all that is said over it.
struct Connection {
    stream: TcpStream,
    end: Instant,
}

impl Connection {
    /// To the first of the witness's addresses that answers.
    fn open(witness: &Witness) -> Result<Self> {
        let end = Instant::now() + ANSWER;
        let mut failure = Error::new(ErrorKind::NotFound, format!("no address is known of {}", witness.host));
        for address in (witness.host.as_str(), witness.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, left(end)?) {
                Ok(stream) => return Ok(Connection { stream, end }),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// The time until `end`, of which there is some.
fn left(end: Instant) -> Result<Duration> {
    match end.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(no_answer()),
        left => Ok(left),
    }
}

fn no_answer() -> Error {
    Error::new(ErrorKind::TimedOut, format!("it did not answer within {} s", ANSWER.as_secs()))
}

/// A wait that ended without an answer is told as such, and not by the system's words for it.
fn told(result: Result<usize>) -> Result<usize> {
    result.map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => no_answer(),
        _ => error,
    })
}

impl Read for Connection {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        self.stream.set_read_timeout(Some(left(self.end)?))?;
        told(self.stream.read(bytes))
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.stream.set_write_timeout(Some(left(self.end)?))?;
        told(self.stream.write(bytes))
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.flush()
    }
}

/// Puts `text` in the place of the file at `path`. Others may read it: it is what they check a log by.
fn replace(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = missing_folder(path) {
        return Err(Error::new(ErrorKind::NotFound, format!("{}; {}", homeless(path, folder), home(folder))));
    }
    draft::replace(path, text.as_bytes())
}

/// The folder of a checkpoint's copy, where it is not there, as that of a disk which is not mounted.
pub(super) fn missing_folder(copy: &Path) -> Option<&Path> {
    // Where nobody may look, nobody knows: what is written there says so.
    let is_missing = |folder: &&Path| folder.try_exists().is_ok_and(|exists| !exists);
    copy.parent().filter(|folder| !folder.as_os_str().is_empty()).filter(is_missing)
}

/// What it means that the folder of a checkpoint's copy is not there.
pub(super) fn homeless(copy: &Path, folder: &Path) -> String {
    let name = copy.file_name().unwrap_or_default().to_string_lossy();
    format!(
        "there is no folder {} for the checkpoint's copy {name}: until it comes checkpoints are in the log alone, and nobody outside \
         knows how long it was",
        folder.display()
    )
}

/// What to do about it. A folder in the place of a disk that is not mounted would keep the copy where the log is: nobody makes it unasked.
pub(super) fn home(folder: &Path) -> String {
    format!("mount the disk that is to keep it, or make the folder: mkdir -p {}", folder.display())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that reads all, says `answers` one after the other as often as it is asked, and closes; and its address.
    fn server(scheme: &str, path: &str, answers: &[&'static [u8]]) -> Place {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("{scheme}://{}{path}", listener.local_addr().unwrap());
        let answers = answers.to_vec();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in &answers {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer);
            }
            if answers.is_empty() {
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        Place::Witness(address.parse().unwrap())
    }

    #[test]
    fn a_folder_of_which_nobody_knows_is_not_one_to_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let (there, gone, file) = (folder.path(), folder.path().join("gone"), folder.path().join("file"));
        std::fs::write(&file, "").unwrap();
        assert_eq!(missing_folder(&gone.join("copy")), Some(gone.as_path()));
        assert_eq!([missing_folder(&there.join("copy")), missing_folder(Path::new("copy"))], [None, None]);
        assert_eq!(missing_folder(&file.join("folder/copy")), None, "no folder can be made in a file");
    }

    #[test]
    fn what_is_no_acknowledgement_takes_no_checkpoint() {
        const WELCOME: &[u8] = &[0x20, 2, 0, 0];
        let says = |place: Place| place.put("note\n").map_err(|error| error.to_string());
        assert_eq!(says(server("mqtt", "/t", &[WELCOME, &[0x40, 2, 0, 1]])), Ok(()));
        // Some brokers send a publisher what it publishes, before they acknowledge it.
        assert_eq!(says(server("mqtt", "/t", &[WELCOME, b"\x31\x05\0\x01tno\x40\x02\0\x01"])), Ok(()));
        for (answers, told) in [
            (&[&[0x20, 2, 0, 4][..]][..], "the broker refuses the line"),
            (&[WELCOME, &[0x40, 2, 0, 9]], "no acknowledgement"),
            (&[b"SSH-2.0-OpenSSH\r\n"], "no acknowledgement"),
            // A length of 256 MiB, which must not be believed.
            (&[&[0x20, 0xff, 0xff, 0xff, 0x7f]], "no acknowledgement"),
            (&[WELCOME, &[0x30, 0xff, 0xff, 0xff, 0x7f]], "no acknowledgement"),
            // Whatever the system says of a connection that ends.
            (&[WELCOME, &[0x40, 2]], ""),
        ] {
            let refused = says(server("mqtt", "/t", answers)).unwrap_err();
            assert!(refused.contains(told), "{answers:?}: {refused}");
        }
        assert_eq!(says(server("syslog", "", &[])), Ok(()));
        let refused = says(server("syslog", "", &[b"SSH-2.0-OpenSSH\r\n"])).unwrap_err();
        assert!(refused.contains("no syslog server"), "{refused}");
    }
}
