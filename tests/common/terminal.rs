//! A real pseudo-terminal in place of the ejector's serial port, and what must have arrived there.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use hgad::time::Monotonic;
use serde_json::Value;

use super::beside::say;

/// What every rejected part sends.
pub const MESSAGE: &str = "R\n";

/// The far end of a pseudo-terminal, read as it arrives.
pub struct Terminal {
    /// What a program opens as its serial port.
    pub path: String,
    /// Held open, so that the far end does not hang up when the program closes the port.
    _near: OwnedFd,
    stop: Arc<AtomicBool>,
    reader: JoinHandle<Vec<(Monotonic, u8)>>,
}

impl Terminal {
    /// A new one.
    pub fn open() -> Self {
        let (mut far, mut near) = (0, 0);
        let mut name = [0; 128];
        // SAFETY: the three pointers are valid and writable, and 128 bytes are room for "/dev/pts/N".
        let result =
            unsafe { libc::openpty(&mut far, &mut near, name.as_mut_ptr(), std::ptr::null(), std::ptr::null()) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: both were just opened, and nobody else owns them; the name is terminated by a zero.
        let (far, near, name) =
            unsafe { (OwnedFd::from_raw_fd(far), OwnedFd::from_raw_fd(near), std::ffi::CStr::from_ptr(name.as_ptr())) };
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let reader = std::thread::spawn(move || read_until(&told, File::from(far)));
        Terminal { path: name.to_str().unwrap().to_owned(), _near: near, stop, reader }
    }

    /// All that came, byte by byte with the moment of its arrival.
    pub fn received(self) -> Vec<(Monotonic, u8)> {
        self.stop.store(true, Ordering::Relaxed);
        self.reader.join().unwrap()
    }
}

fn read_until(stop: &AtomicBool, mut far: File) -> Vec<(Monotonic, u8)> {
    let mut received = Vec::new();
    loop {
        let mut wait = libc::pollfd { fd: far.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: `wait` is one valid pollfd.
        if unsafe { libc::poll(&mut wait, 1, 20) } == 0 {
            if stop.load(Ordering::Relaxed) {
                return received;
            }
            continue;
        }
        let mut bytes = [0; 64];
        let count = far.read(&mut bytes).unwrap();
        let now = Monotonic::now();
        received.extend(bytes[..count].iter().map(|byte| (now, *byte)));
    }
}

/// One message per rejected part, in the order of the parts, none before capture + travel. Says how long after that they
/// came: how punctual a busy machine is, is not for a test to judge.
pub fn assert_one_message_per_reject(received: &[(Monotonic, u8)], parts: &[Value], travel_ms: u64) {
    let text = received.iter().map(|(_, byte)| *byte as char).collect::<String>();
    let rejected = parts.iter().filter(|part| part["fate"] == "rejected").collect::<Vec<_>>();
    assert_eq!(text, MESSAGE.repeat(rejected.len()), "one message per rejected frame");
    let mut delays = Vec::new();
    for (part, message) in rejected.iter().zip(received.chunks(MESSAGE.len())) {
        let [captured, planned] = ["monotonic_ns", "planned_ns"].map(|key| part[key].as_u64().unwrap());
        assert_eq!(planned - captured, travel_ms * 1_000_000);
        let delay = message[0].0.millis_since(Monotonic::from_nanos(planned));
        assert!(delay >= 0.0, "a message came {delay} ms after capture + travel: {part}");
        delays.push(delay);
    }
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share).round() as usize];
    let [median, p99, max] = [0.5, 0.99, 1.0].map(at);
    say(&format!(
        "{} messages, after capture + travel: p50 {median:.2} ms, p99 {p99:.2} ms, max {max:.2} ms",
        delays.len()
    ));
}
