//! The process that makes the frames: started, read, watched, ended with all that it started.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::framing::{Piece, Splitter};
use crate::time::Monotonic;

/// What is asked of the kernel as the pipe's size: a process that writes a whole frame need not wait for its reader.
const PIPE: libc::c_int = 1 << 20;
/// How long a process may take to end by itself, and how long after it was asked to.
const GRACE: Duration = Duration::from_secs(1);
/// How late the end of the camera is noticed.
const LOOK: Duration = Duration::from_millis(50);
/// How many of its last words are kept, and how long they may be.
const LAST_LINES: usize = 6;
const LINE: u64 = 400;

/// The newest piece of the stream.
#[derive(Debug)]
pub(super) struct Arrived {
    /// Counts this process's pictures.
    pub(super) sequence: u32,
    /// When its last byte was read.
    pub(super) received: Monotonic,
    /// The picture, or that it is broken.
    pub(super) piece: Piece,
}

/// What came of waiting for a piece.
pub(super) enum News {
    /// The newest piece; those before it are gone.
    Arrived(Arrived),
    /// Nothing within the time.
    Nothing,
    /// The process has ended, for the reason given, and all that it sent was taken.
    Ended(String),
}

/// A running process.
pub(super) struct Process {
    mailbox: Arc<Mailbox>,
    stop: Arc<AtomicBool>,
    /// The thread that started the process, reads from it and sees its end.
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Mailbox {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Default)]
struct Content {
    newest: Option<Arrived>,
    ended: Option<String>,
    sequence: u32,
}

impl Mailbox {
    /// Every statement leaves the content whole, also when a thread panicked while it held it.
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, piece: Piece, received: Monotonic) {
        let mut content = self.content();
        let sequence = content.sequence;
        content.sequence = sequence.wrapping_add(1);
        content.newest = Some(Arrived { sequence, received, piece });
        self.changed.notify_all();
    }

    fn end(&self, why: String) {
        self.content().ended = Some(why);
        self.changed.notify_all();
    }
}

impl Process {
    /// Starts `command`, whose first word is the program. What it writes goes through `splitter`.
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    pub(super) fn start(command: &[String], splitter: Splitter) -> io::Result<Self> {
        let (mailbox, stop) = (Arc::new(Mailbox::default()), Arc::new(AtomicBool::new(false)));
        let (started, has_started) = channel();
        let supervision = Supervision { mailbox: mailbox.clone(), stop: stop.clone() };
        let command = command.to_vec();
        let thread = std::thread::Builder::new()
            .name("pipe".into())
            .spawn(move || supervision.run(&command, splitter, &started))?;
        // The thread tells in any case, unless it panics.
        has_started.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
        Ok(Process { mailbox, stop, thread: Some(thread) })
    }

    /// Waits for a piece, for `patience` at most, and takes it.
    pub(super) fn next(&self, patience: Duration) -> News {
        let mut content = self.await_news(patience);
        match (content.newest.take(), &content.ended) {
            (Some(arrived), _) => News::Arrived(arrived),
            (None, Some(why)) => News::Ended(why.clone()),
            (None, None) => News::Nothing,
        }
    }

    /// Waits for the first piece, for `patience` at most, and leaves it for [`Process::next`]: whether it came, or why none
    /// ever will.
    pub(super) fn first(&self, patience: Duration) -> Result<bool, String> {
        let content = self.await_news(patience);
        match (&content.newest, &content.ended) {
            (Some(_), _) => Ok(true),
            (None, Some(why)) => Err(why.clone()),
            (None, None) => Ok(false),
        }
    }

    fn await_news(&self, patience: Duration) -> MutexGuard<'_, Content> {
        let is_quiet = |content: &mut Content| content.newest.is_none() && content.ended.is_none();
        let waited = self.mailbox.changed.wait_timeout_while(self.mailbox.content(), patience, is_quiet);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Ends the process and tells how it went, with its last words.
    pub(super) fn end(mut self) -> String {
        self.join();
        self.mailbox.content().ended.clone().unwrap_or_default()
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread that reads from a camera's process panicked");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.join();
    }
}

/// The process as its own thread sees it. It is this thread that starts it, since the kernel ends the process when the thread
/// that started it is gone.
struct Supervision {
    mailbox: Arc<Mailbox>,
    stop: Arc<AtomicBool>,
}

impl Supervision {
    fn run(&self, command: &[String], splitter: Splitter, started: &Sender<io::Result<()>>) {
        let mut child = match spawn(command) {
            Ok(child) => Group(child),
            Err(error) => {
                // Who waits for this is there until it is told.
                let _ = started.send(Err(error));
                return;
            }
        };
        let _ = started.send(Ok(()));
        let words = child.0.stderr.take().map(LastWords::listen);
        let broke_off = self.read(&mut child.0, splitter);
        let wait = if broke_off.is_none() && !self.stop.load(Ordering::Relaxed) { GRACE } else { Duration::ZERO };
        let status = child.end(wait);
        let mut why = broke_off.unwrap_or_else(|| "it ended".into());
        match status {
            Ok(status) => why.push_str(&format!(" ({status})")),
            Err(error) => why.push_str(&format!(" (how, nobody knows: {error})")),
        }
        if let Some(words) = words.map(LastWords::told).filter(|words| !words.is_empty()) {
            why.push_str(&format!("; its last words: {}", words.join(" | ")));
        }
        self.mailbox.end(why);
    }

    /// Reads until the stream's end, or until there is no more use in it: then it says why.
    fn read(&self, child: &mut Child, mut splitter: Splitter) -> Option<String> {
        let Some(mut out) = child.stdout.take() else { return Some("it has no standard output".into()) };
        // SAFETY: the descriptor is open; where the kernel grants no larger pipe, the usual one does.
        unsafe { libc::fcntl(out.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE) };
        let mut chunk = vec![0; 1 << 16];
        while !self.stop.load(Ordering::Relaxed) {
            if !is_readable(out.as_raw_fd()) {
                continue;
            }
            let count = match out.read(&mut chunk) {
                Ok(0) => return splitter.cut_off(),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Some(format!("its output cannot be read: {error}")),
            };
            let received = Monotonic::now();
            if let Err(why) = splitter.push(&chunk[..count], |piece| self.mailbox.put(piece, received)) {
                return Some(why);
            }
        }
        None
    }
}

/// Whether a read would not wait, seen within [`LOOK`].
fn is_readable(descriptor: RawFd) -> bool {
    let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    // SAFETY: `poll` is one valid pollfd.
    unsafe { libc::poll(&mut poll, 1, LOOK.as_millis() as libc::c_int) > 0 }
}

fn spawn(command: &[String]) -> io::Result<Child> {
    let (program, words) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // In a group of its own, Ctrl-C reaches this program alone, which then ends the whole group.
    command.process_group(0);
    let parent = std::process::id();
    // SAFETY: between fork and exec these calls alone are made; they are async-signal-safe and touch no memory.
    unsafe {
        command.pre_exec(move || {
            // Also when this program is killed, and cannot end anybody.
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
                return Err(io::Error::last_os_error());
            }
            // It may have been killed before that call.
            if libc::getppid() as u32 == parent { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
        });
    }
    command.spawn()
}

/// A process that leads a group, and its group.
struct Group(Child);

impl Group {
    /// Waits for the process's end, asks it to end after `patience`, kills it after [`GRACE`], and kills what is left of its
    /// group.
    fn end(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        if !self.has_ended_within(patience) {
            self.signal(libc::SIGTERM);
            self.has_ended_within(GRACE);
        }
        // The leader was not waited for, so the group's number cannot be another's.
        self.signal(libc::SIGKILL);
        self.0.wait()
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: a call without pointers. A group without processes is no failure.
        unsafe { libc::kill(-(self.0.id() as libc::pid_t), signal) };
    }

    /// Looks without taking the process's status, which would free its number.
    fn has_ended_within(&self, patience: Duration) -> bool {
        let start = Instant::now();
        loop {
            // SAFETY: a siginfo_t of zeros is valid.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            // SAFETY: `info` is valid and writable.
            let asked = unsafe { libc::waitid(libc::P_PID, self.0.id(), &mut info, how) };
            // SAFETY: the kernel filled in the fields of a child's end, or left zeros.
            if asked != 0 || unsafe { info.si_pid() } != 0 {
                return true;
            }
            if start.elapsed() >= patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What a process said last on its standard error.
struct LastWords {
    lines: Arc<Mutex<VecDeque<String>>>,
    thread: JoinHandle<()>,
}

impl LastWords {
    fn listen(from: ChildStderr) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let kept = lines.clone();
        let thread = std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            // A line that is too long counts as several.
            while matches!(from.by_ref().take(LINE).read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                line.clear();
                if !text.is_empty() {
                    log::debug!("the camera's process says: {text}");
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push_back(text);
                    if kept.len() > LAST_LINES {
                        kept.pop_front();
                    }
                }
            }
        });
        LastWords { lines, thread }
    }

    /// The last lines. Somebody outside the process's group may keep its standard error open; nobody waits for that.
    fn told(self) -> Vec<String> {
        let start = Instant::now();
        while !self.thread.is_finished() && start.elapsed() < Duration::from_millis(200) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}
