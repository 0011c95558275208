//! What a running line is told from outside, through a Unix socket beside its audit.
//!
//! Who may connect is what the socket's permissions say; who did is what the kernel says (`SO_PEERCRED`). One request is one
//! line of JSON, and is answered with lines of JSON until what was asked for is over.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::conductor::Message;
use super::stage::{Stage, outcome};
use crate::line::{Challenge, ChallengeNews};
use crate::{Error, Result};

/// How often the end of the run is looked for.
const GLANCE: Duration = Duration::from_millis(50);
/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(2);
/// No request is longer, in bytes.
const LONGEST: u64 = 4096;
/// News that may wait to be sent.
const ROOM: usize = 1024;

/// What is asked of a running line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "ask")]
pub(crate) enum Request {
    /// The next parts are known to be bad.
    Challenge {
        /// How many.
        pieces: u32,
        /// How long they are waited for, in seconds.
        within_s: u32,
        /// Who sends them, as they say themselves.
        by: String,
    },
}

/// What the line answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "news")]
pub(crate) enum Answer {
    /// The next parts are the pieces.
    Begun,
    /// It cannot be done now.
    Refused {
        /// Why.
        why: String,
    },
    /// A piece has its fate.
    Piece {
        /// Its number.
        part: u64,
        /// Why it was not caught, if it was not.
        missed: Option<String>,
    },
    /// It is over.
    Ended {
        /// Pieces that were caught.
        caught: usize,
        /// Pieces that were not.
        missed: usize,
        /// Pieces that were not seen.
        absent: u32,
    },
}

impl Answer {
    fn of(news: &ChallengeNews) -> Self {
        match news {
            ChallengeNews::Begun(_) => Answer::Begun,
            ChallengeNews::Refused(_, why) => Answer::Refused { why: why.clone() },
            ChallengeNews::Piece(part, caught) => Answer::Piece { part: part.0, missed: caught.clone().err() },
            ChallengeNews::Ended(_, outcome) => {
                let (caught, missed) = (outcome.caught.len(), outcome.missed.len());
                Answer::Ended { caught, missed, absent: outcome.absent }
            }
        }
    }

    fn is_last(&self) -> bool {
        matches!(self, Answer::Refused { .. } | Answer::Ended { .. })
    }
}

/// Where a line that writes this audit listens.
pub(crate) fn socket(audit: &Path) -> PathBuf {
    let mut name = audit.as_os_str().to_owned();
    name.push(".socket");
    name.into()
}

/// Asks the line that writes this audit, and hands on what it answers until it has no more to say.
///
/// # Errors
///
/// No such line runs, it may not be asked, or it ends first.
pub(crate) fn ask(audit: &Path, request: &Request, mut answered: impl FnMut(Answer) -> Result<()>) -> Result<()> {
    let path = socket(audit);
    let ended = |error| Error::device("the line has no more to say: it ended").because(error);
    let mut stream = UnixStream::connect(&path).map_err(|error| {
        Error::device(format!("no line can be asked through {}", path.display()))
            .because(error)
            .advise("start it: hgad run --config FILE; as another user, ask for the right to write that file")
    })?;
    let line = serde_json::to_string(request).map_err(|error| Error::usage("nothing to ask").because(error))?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(ended)?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(ended)?;
        let answer: Answer = serde_json::from_str(&line)
            .map_err(|error| Error::device("the line speaks another version of hgad").because(error))?;
        let is_last = answer.is_last();
        answered(answer)?;
        if is_last {
            return Ok(());
        }
    }
    Err(ended(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)))
}

/// The thread that listens. Dropping it removes the socket.
pub(super) struct Control {
    stage: Stage,
    path: PathBuf,
}

/// What somebody asked for, and where news of it go.
pub(super) struct Asked {
    pub(super) challenge: Challenge,
    pub(super) news: SyncSender<ChallengeNews>,
}

impl Control {
    /// Listens beside `audit` until `stop`. A line that cannot listen runs all the same.
    pub(super) fn start(audit: &Path, messages: &SyncSender<Message>, stop: &Arc<AtomicBool>) -> Option<Self> {
        match Self::listen(audit, messages, stop) {
            Ok(control) => control,
            Err(error) => {
                log::warn!("{}", error.report());
                None
            }
        }
    }

    fn listen(audit: &Path, messages: &SyncSender<Message>, stop: &Arc<AtomicBool>) -> Result<Option<Self>> {
        // Beside a device or a pipe there is no place for a socket.
        if !audit.is_file() {
            return Ok(None);
        }
        let path = socket(audit);
        let failed = |error| {
            Error::device(format!("the line cannot listen at {}", path.display()))
                .because(error)
                .advise("it runs all the same; for `hgad challenge` give [audit] file a shorter path on a local disk")
        };
        // What a killed run left behind: this run holds the audit's lock, so nobody listens there.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let (messages, stop) = (messages.clone(), stop.clone());
        let stage = Stage::start("control", move || {
            if let Err(why) = outcome(|| serve(&listener, &messages, &stop)) {
                log::error!("the thread that is told from outside panicked: {why}");
            }
        })?;
        Ok(Some(Control { stage, path }))
    }

    /// Waits for the end of its thread.
    pub(super) fn leave(self) {
        let _ = std::fs::remove_file(&self.path);
        self.stage.leave("the control socket's thread does not end");
    }
}

fn serve(listener: &UnixListener, messages: &SyncSender<Message>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Err(error) = converse(stream, messages, stop) {
                    log::info!("who asked at the control socket: {error}");
                }
            }
            // Nobody is there, or this one is gone already.
            Err(_) => std::thread::sleep(GLANCE),
        }
    }
}

fn converse(mut stream: UnixStream, messages: &SyncSender<Message>, stop: &AtomicBool) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let user = user(&stream)?;
    let mut line = String::new();
    BufReader::new(stream.try_clone()?).take(LONGEST).read_line(&mut line)?;
    let Request::Challenge { pieces, within_s, by } = serde_json::from_str(&line)?;
    let (news, received) = sync_channel(ROOM);
    let within = Duration::from_secs(u64::from(within_s));
    let challenge = Challenge { pieces: pieces.max(1), within, by: format!("{by} (user id {user})") };
    if messages.send(Message::Asked(Asked { challenge, news })).is_err() {
        return Ok(());
    }
    hand_on(&received, &mut stream, stop)
}

fn hand_on(news: &Receiver<ChallengeNews>, stream: &mut UnixStream, stop: &AtomicBool) -> std::io::Result<()> {
    loop {
        match news.recv_timeout(GLANCE) {
            Ok(news) => {
                let answer = Answer::of(&news);
                stream.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes())?;
                if answer.is_last() {
                    return Ok(());
                }
            }
            Err(RecvTimeoutError::Timeout) if !stop.load(Ordering::Relaxed) => {}
            Err(_) => return Ok(()),
        }
    }
}

/// The user who connected, as the kernel says.
fn user(stream: &UnixStream) -> std::io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let place = (&raw mut peer).cast();
    // SAFETY: `peer` and `length` are valid and writable, and `length` is the size of `peer`; the descriptor is open.
    let result =
        unsafe { libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, place, &mut length) };
    if result == 0 { Ok(peer.uid) } else { Err(std::io::Error::last_os_error()) }
}
