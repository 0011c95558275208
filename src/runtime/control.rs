//! What a running line is told from outside, through a Unix socket beside its audit.
//!
//! Who may connect is what the socket's permissions say; who did is what the kernel says (`SO_PEERCRED`). One request is one
//! line of JSON, and is answered with lines of JSON until what was asked for is over, or until who asked is gone: nobody would
//! know then that the line still takes parts for known bad ones.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
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
use super::standing::Acknowledgement;
use crate::line::{Challenge, ChallengeNews};
use crate::{Error, Result, audit};

/// How often the end of the run is looked for.
const GLANCE: Duration = Duration::from_millis(50);
/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(2);
/// No request is longer, in bytes.
const LONGEST: u64 = 4096;
/// News that may wait to be sent.
const ROOM: usize = 1024;
/// A challenge has no more pieces, and lasts no longer: its pieces are not counted as what the process makes.
const MOST_PIECES: u32 = 1000;
/// One day.
const LONGEST_CHALLENGE_S: u32 = 24 * 3600;
/// Letters of a name.
const LONGEST_NAME: usize = 100;
/// Letters of a note: with everything else it still is one request.
const LONGEST_NOTE: usize = 500;

/// What is asked of a running line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "ask")]
pub(crate) enum Request {
    /// The next parts are known to be bad.
    Challenge {
        /// How many.
        pieces: u32,
        /// The lane in which they are sent, if it is to be one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lane: Option<String>,
        /// How long they are waited for, in seconds.
        within_s: u32,
        /// Who sends them, as they say themselves.
        by: String,
    },
    /// A person has seen alarms that stand.
    Acknowledge {
        /// The name of one; all, where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alarm: Option<String>,
        /// Who, as they say themselves.
        by: String,
        /// What they say of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
}

impl Request {
    /// What is wrong with it: not only our own command can ask.
    fn refusal(&self) -> Option<String> {
        match self {
            Request::Challenge { pieces, within_s, by, .. } => {
                if !(1..=MOST_PIECES).contains(pieces) || !(1..=LONGEST_CHALLENGE_S).contains(within_s) {
                    return Some(format!("a challenge has 1 to {MOST_PIECES} pieces, and lasts a day at most"));
                }
                person(by).err()
            }
            Request::Acknowledge { by, note: text, .. } => {
                person(by).err().or_else(|| text.as_deref().and_then(|text| note(text).err()))
            }
        }
    }
}

/// The name of who asks, as it goes on record.
pub(crate) fn person(name: &str) -> std::result::Result<String, String> {
    fitting(name, LONGEST_NAME).ok_or_else(|| {
        format!("who does it goes on record: give a name of at most {LONGEST_NAME} letters, on one line")
    })
}

/// What a person says, as it goes on record.
pub(crate) fn note(text: &str) -> std::result::Result<String, String> {
    fitting(text, LONGEST_NOTE).ok_or_else(|| {
        format!("a note goes on record: give one of at most {LONGEST_NOTE} letters, on one line, or none")
    })
}

/// A text that is not empty, not too long, and cannot play tricks with the terminal that shows it.
fn fitting(text: &str, longest: usize) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= longest && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
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
    /// These alarms are acknowledged.
    Acknowledged {
        /// Their names.
        alarms: Vec<String>,
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
        matches!(self, Answer::Refused { .. } | Answer::Ended { .. } | Answer::Acknowledged { .. })
    }
}

/// Where a line that writes this audit listens.
fn socket(audit: &Path) -> PathBuf {
    audit::real(audit).with_added_extension("socket")
}

/// Whether a line listens at `socket`; what a killed one left behind says nothing.
///
/// # Errors
///
/// This user may not ask.
fn is_heard(socket: &Path) -> std::io::Result<bool> {
    match UnixStream::connect(socket) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        Err(_) => Ok(false),
    }
}

/// Refuses a second run beside a line that writes `audit` and whose file was moved, removed or exchanged meanwhile: the lock that keeps second
/// runs away is on that file. To be asked before the audit is opened, which itself refuses a run where the lock is where it should be.
///
/// # Errors
///
/// Such a line lives, or nobody knows whether it does.
pub(crate) fn refuse_beside_another(audit: &Path) -> Result<()> {
    let socket = socket(audit);
    match is_heard(&socket) {
        Ok(false) => Ok(()),
        Ok(true) if audit::is_held(audit) => Ok(()),
        Ok(true) => Err(Error::device(format!("a line runs that writes {}, whose file is not there any more", audit.display()))
            .because(format!("it answers at {}, and no run holds a file of that name: it was moved, removed or exchanged", socket.display()))
            .advise(
                "end that line (SIGTERM): it says where its file is and how to give it its name back; do so before the next run, and find out \
                 who took the name away",
            )),
        Err(error) => Err(Error::device(format!("whether a line runs that writes {} is not known", audit.display()))
            .because(format!("{} cannot be asked: {error}", socket.display()))
            .advise("run as the user whose file that is; or remove it, if no line runs")),
    }
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
    Err(ended(ErrorKind::UnexpectedEof.into()))
}

/// The thread that listens.
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
                .advise("it runs all the same; for `hgad challenge` and `hgad acknowledge` give [audit] file a shorter path on a local disk")
        };
        if is_heard(&path).map_err(failed)? {
            return Err(Error::device(format!("the line cannot listen at {}", path.display()))
                .because("another line is heard there")
                .advise("it runs all the same, and hgad challenge and hgad acknowledge reach the other one: end that one first"));
        }
        // What a killed run left behind.
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

    /// Removes the socket and waits for the end of its thread.
    pub(super) fn leave(self) {
        let _ = std::fs::remove_file(&self.path);
        self.stage.leave("the control socket's thread does not end");
    }
}

fn serve(listener: &UnixListener, messages: &SyncSender<Message>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let conversation = Conversation { listener, messages, stop };
                if let Err(error) = conversation.hold(stream, None) {
                    log::info!("who asked at the control socket: {error}");
                }
            }
            // Nobody is there, or this one is gone already.
            Err(_) => std::thread::sleep(GLANCE),
        }
    }
}

/// With one who asks; others have no challenge meanwhile.
struct Conversation<'a> {
    listener: &'a UnixListener,
    messages: &'a SyncSender<Message>,
    stop: &'a AtomicBool,
}

impl Conversation<'_> {
    /// Hears one request and answers it; `under_way`: who has a challenge go on meanwhile.
    fn hold(&self, mut stream: UnixStream, under_way: Option<&str>) -> std::io::Result<()> {
        let user = user(&stream)?;
        // Read before it is answered: what lies unread at the end would reach the other side as an error.
        let Some(request) = heard(&stream)? else { return Ok(()) };
        if let Some(why) = request.refusal() {
            return say(&mut stream, &Answer::Refused { why });
        }
        // Who asked and did not wait for the answer wants none.
        if is_gone(&stream)? {
            return Ok(());
        }
        match (request, under_way) {
            (Request::Acknowledge { alarm, by, note }, _) => {
                self.acknowledge(&mut stream, Acknowledgement { by: recorded(&by, user), alarm, note })
            }
            (Request::Challenge { .. }, Some(by)) => {
                say(&mut stream, &Answer::Refused { why: format!("one by {by} is under way") })
            }
            (Request::Challenge { pieces, lane, within_s, by }, None) => {
                let within = Duration::from_secs(u64::from(within_s));
                let challenge = Challenge { pieces, lane: lane.map(Into::into), within, by: recorded(&by, user) };
                self.challenge(&mut stream, challenge, &by)
            }
        }
    }

    fn challenge(&self, stream: &mut UnixStream, challenge: Challenge, by: &str) -> std::io::Result<()> {
        let (news, received) = sync_channel(ROOM);
        if self.messages.send(Message::Asked(Asked { challenge, news })).is_err() {
            return Ok(());
        }
        let handed_on = self.hand_on(&received, stream, by);
        if !matches!(handed_on, Ok(true)) && !self.stop.load(Ordering::Relaxed) {
            log::warn!("{by}, who sends known bad pieces, went away: the challenge ends");
            let _ = self.messages.send(Message::Left);
        }
        handed_on.map(drop)
    }

    /// Whether the last news came, and was sent.
    fn hand_on(&self, news: &Receiver<ChallengeNews>, stream: &mut UnixStream, by: &str) -> std::io::Result<bool> {
        loop {
            match news.recv_timeout(GLANCE) {
                Ok(news) => {
                    let answer = Answer::of(&news);
                    say(stream, &answer)?;
                    if answer.is_last() {
                        return Ok(true);
                    }
                }
                Err(RecvTimeoutError::Timeout) if !self.stop.load(Ordering::Relaxed) => {
                    if is_gone(stream)? {
                        return Ok(false);
                    }
                    self.answer_others(by);
                }
                Err(_) => return Ok(false),
            }
        }
    }

    /// A second challenge has to wait for the first; an alarm has not.
    fn answer_others(&self, by: &str) {
        while let Ok((other, _)) = self.listener.accept() {
            if let Err(error) = self.hold(other, Some(by)) {
                log::info!("who asked at the control socket: {error}");
            }
        }
    }

    /// Tells the run that alarms are acknowledged, and who asked what came of it.
    fn acknowledge(&self, stream: &mut UnixStream, who: Acknowledgement) -> std::io::Result<()> {
        let (news, received) = sync_channel(1);
        if self.messages.send(Message::Acknowledged(who, news)).is_err() {
            return Ok(());
        }
        let answer = match received.recv_timeout(PATIENCE) {
            Ok(Ok(alarms)) => Answer::Acknowledged { alarms: alarms.iter().map(ToString::to_string).collect() },
            Ok(Err(why)) => Answer::Refused { why },
            Err(_) => {
                Answer::Refused { why: "the line gave no answer in time; its audit says whether it was done".into() }
            }
        };
        say(stream, &answer)
    }
}

/// Who asks: as they say, and as the kernel does.
fn recorded(by: &str, user: u32) -> String {
    format!("{by} (user id {user})")
}

/// What is asked; `None` where nothing is, by who only looks whether a line listens.
fn heard(stream: &UnixStream) -> std::io::Result<Option<Request>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    match BufReader::new(stream.try_clone()?).take(LONGEST).read_line(&mut line)? {
        0 => Ok(None),
        _ => Ok(Some(serde_json::from_str(&line)?)),
    }
}

fn say(stream: &mut UnixStream, answer: &Answer) -> std::io::Result<()> {
    stream.write_all(format!("{}\n", serde_json::to_string(answer)?).as_bytes())
}

/// Whether the other side has closed the connection, or died.
fn is_gone(stream: &UnixStream) -> std::io::Result<bool> {
    let mut poll = libc::pollfd { fd: stream.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: `poll` is one valid and writable entry, and the descriptor is open.
    match unsafe { libc::poll(&mut poll, 1, 0) } {
        -1 => Err(std::io::Error::last_os_error()),
        found => Ok(found > 0),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_another_line_is_heard_a_second_one_leaves_it_the_socket_and_says_whom_commands_reach() {
        let folder = tempfile::tempdir().unwrap();
        let audit = folder.path().join("audit.jsonl");
        std::fs::write(&audit, "").unwrap();
        let (messages, _received) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let listen = || Control::listen(&audit, &messages, &stop);
        let first = listen().unwrap().unwrap();
        let report = listen().err().expect("another one is heard there").report();
        for says in ["cannot listen at", "another line is heard there", "reach the other one: end that one first"] {
            assert!(report.contains(says), "{report}");
        }
        assert!(!report.contains("shorter path"), "{report}");
        assert!(is_heard(&socket(&audit)).unwrap(), "the first one is asked still");
        stop.store(true, Ordering::Relaxed);
        first.leave();
        // What a killed line leaves is nobody's.
        drop(UnixListener::bind(socket(&audit)).unwrap());
        assert!(socket(&audit).exists());
        listen().unwrap().unwrap().leave();
    }
}
