//! An ejector (or a PLC in front of it) that is told over a serial port.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serialport::{ClearBuffer, SerialPort, TTYPort};

use super::{Occasion, Output, Role, is_hung_up};
use crate::config::{Ack, SerialConfig};
use crate::{Error, Result};

/// A message that has not left so long after the time that it takes has failed: the part is past the ejector soon.
const WRITE_TIMEOUT: Duration = Duration::from_millis(50);
/// How often it is looked whether the message has left.
const LOOK: Duration = Duration::from_micros(200);

/// Sends one message per rejected part.
#[derive(Debug)]
pub struct SerialOutput {
    config: SerialConfig,
    name: String,
    role: Role,
    /// `None` after a failure, until the port could be opened again.
    port: Option<TTYPort>,
    /// The level that the device was told last; `None` where nobody knows what it heard.
    told: Option<bool>,
}

impl SerialOutput {
    /// Opens the port and sends the message for the safe level of `role`, if there is one.
    ///
    /// # Errors
    ///
    /// The port does not exist, is used by another program, or the device does not take the message.
    pub fn open(config: &SerialConfig, role: Role) -> Result<Self> {
        let name = config.port.display().to_string();
        let mut output = SerialOutput { config: config.clone(), name, role, port: None, told: None };
        match role.is_active_when_safe() {
            true => output.hold()?,
            false => output.release()?,
        }
        Ok(output)
    }

    fn connect(&self) -> Result<TTYPort> {
        let builder = serialport::new(&*self.name, self.config.baud).timeout(WRITE_TIMEOUT);
        let port = TTYPort::open(&builder).map_err(io::Error::from);
        port.and_then(|port| never_waits(&port).map(|()| port)).map_err(|error| {
            Error::device(format!("serial port {} cannot be opened", self.name)).because(error).advise(
                "is the adapter plugged in and the path right (ls /dev/serial/by-id)? May this user use it (group dialout)? \
                 Is no other program using it?",
            )
        })
    }

    /// Opens a port that was lost.
    fn reopen(&mut self) -> Result<()> {
        if self.port.is_none() {
            self.port = Some(self.connect()?);
        }
        Ok(())
    }

    /// A port that was hung up takes nothing any more. It is let go: while somebody has it open, the adapter gets another name when
    /// it is plugged in again (`/dev/ttyACM1`).
    fn lose(&mut self) -> Error {
        (self.port, self.told) = (None, None);
        Error::device(format!("serial port {} was hung up", self.name))
            .advise("is the adapter still plugged in? It is opened again when it is back")
    }

    fn unanswered(&self, said: &[u8]) -> Error {
        let said = String::from_utf8_lossy(said);
        Error::device(format!("the device at serial port {} did not acknowledge the message", self.name))
            .because(if said.is_empty() { "it said nothing".into() } else { format!("it said {said:?}") })
            .advise("check the device's answer against ack, and how long it takes against ack_timeout_ms")
    }

    /// Sends `message`. A port that takes none of it is opened anew once, at once, since the part does not wait; a message
    /// of which a part has left is not sent again: the device would see two, or none that it understands.
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let mut failure = None;
        for _ in 0..2 {
            let mut port = match self.port.take() {
                Some(port) => port,
                None => self.connect()?,
            };
            // What the device said before the message answers something else. That this fails on a port that is gone shows
            // when the message is sent.
            let _ = port.clear(ClearBuffer::Input);
            match transmit(&mut port, message, self.config.sending(message) + WRITE_TIMEOUT) {
                Ok(()) => {
                    let answered = self.config.ack.as_ref().map_or(Ok(()), |ack| await_ack(&mut port, ack));
                    self.port = Some(port);
                    return answered.map_err(|said| self.unanswered(&said));
                }
                Err(Stuck { taken, error }) => {
                    // Closing waits for what the device did not take, and it must not take it later, for another part.
                    // That this fails on a port that is gone changes nothing.
                    let _ = port.clear(ClearBuffer::Output);
                    failure = Some(error);
                    if taken > 0 {
                        break;
                    }
                }
            }
        }
        let error = Error::device(format!("serial port {} does not take the message", self.name));
        let error = failure.into_iter().fold(error, Error::because);
        Err(error.advise("check the cable and that the other end is switched on"))
    }
}

/// Waits for the acknowledgement, or gives what came instead of it.
fn await_ack(port: &mut TTYPort, ack: &Ack) -> Result<(), Vec<u8>> {
    let end = Instant::now() + ack.timeout;
    let mut said = Vec::new();
    let mut space = [0; 64];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || port.set_timeout(left).is_err() {
            return Err(said);
        }
        match port.read(&mut space) {
            Ok(count) => said.extend_from_slice(&space[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            // A port that is gone shows with the next message.
            Err(_) => return Err(said),
        }
        if said.windows(ack.answer.len()).any(|window| window == ack.answer) {
            return Ok(());
        }
        // A device that does not stop talking must not fill the memory; the answer's first half may just have come.
        let surplus = said.len().saturating_sub(ack.answer.len().max(space.len()));
        said.drain(..surplus);
    }
}

/// How a transmission failed.
struct Stuck {
    /// Bytes that the port had taken.
    taken: usize,
    error: io::Error,
}

/// Hands `message` to the port and waits until it has left: what only lies in the kernel's buffer has rejected nothing.
fn transmit(port: &mut TTYPort, message: &[u8], timeout: Duration) -> Result<(), Stuck> {
    let end = Instant::now() + timeout;
    let timed_out = || io::Error::new(ErrorKind::TimedOut, "the device does not take it");
    let mut taken = 0;
    while taken < message.len() {
        match port.write(&message[taken..]) {
            Ok(0) => return Err(Stuck { taken, error: ErrorKind::WriteZero.into() }),
            Ok(count) => taken += count,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => return Err(Stuck { taken, error }),
        }
        if taken < message.len() && Instant::now() >= end {
            return Err(Stuck { taken, error: timed_out() });
        }
    }
    loop {
        match port.bytes_to_write() {
            Ok(0) => return Ok(()),
            Ok(_) if Instant::now() >= end => return Err(Stuck { taken, error: timed_out() }),
            Ok(_) => std::thread::sleep(LOOK),
            Err(error) => return Err(Stuck { taken, error: error.into() }),
        }
    }
}

/// Lets no write to the port wait in the kernel: a device that takes nothing would hold the thread for good.
fn never_waits(port: &TTYPort) -> io::Result<()> {
    let fd = port.as_raw_fd();
    // SAFETY: both calls only read and set the flags of a descriptor that `port` keeps open.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 || unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl Output for SerialOutput {
    fn name(&self) -> &str {
        &self.name
    }

    fn role(&self) -> Role {
        self.role
    }

    fn activate(&mut self, occasion: &Occasion) -> Result<()> {
        self.told = None;
        self.send(&self.config.message.fill(occasion, Timestamp::now()))?;
        self.told = Some(true);
        Ok(())
    }

    // A PLC that counts messages must not see one for every time that the program makes sure of a level.

    fn hold(&mut self) -> Result<()> {
        self.reopen()?;
        if self.told == Some(true) { Ok(()) } else { self.activate(&Occasion::default()) }
    }

    fn release(&mut self) -> Result<()> {
        self.reopen()?;
        if self.told == Some(false) {
            return Ok(());
        }
        self.told = None;
        if let Some(message) = &self.config.release {
            self.send(&message.fill(&Occasion::default(), Timestamp::now()))?;
        }
        self.told = Some(false);
        Ok(())
    }

    fn look(&mut self) -> Result<()> {
        if self.port.as_ref().is_some_and(is_hung_up) { Err(self.lose()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Template;
    use super::*;
    use crate::line::PartId;

    fn config(port: &str) -> SerialConfig {
        let [message, release] = ["R\r\n", "off"].map(|text| Template::parse(text).unwrap());
        SerialConfig { port: port.into(), baud: 9600, message, release: Some(release), ack: None }
    }

    /// A pseudo-terminal: the far end, and the path of the near one.
    fn terminal() -> (TTYPort, String) {
        let (mut far, near) = TTYPort::pair().unwrap();
        far.set_timeout(Duration::from_millis(200)).unwrap();
        let path = near.name().unwrap();
        (far, path)
    }

    fn received(far: &mut TTYPort, length: usize) -> String {
        let mut bytes = vec![0; length];
        far.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn each_part_is_one_message_and_each_release_one() {
        let (mut far, path) = terminal();
        let mut output = SerialOutput::open(&config(&path), Role::Reject).unwrap();
        output.activate(&Occasion::default()).unwrap();
        output.activate(&Occasion::default()).unwrap();
        output.release().unwrap();
        output.release().unwrap();
        output.activate(&Occasion::default()).unwrap();
        assert_eq!(received(&mut far, 15), "offR\r\nR\r\noffR\r\n", "nothing is repeated");
    }

    #[test]
    fn a_port_that_is_gone_fails_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("port");
        let (far, path) = terminal();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut output = SerialOutput::open(&config(link.to_str().unwrap()), Role::Reject).unwrap();
        drop(far);
        std::fs::remove_file(&link).unwrap();
        let error = output.activate(&Occasion::default()).expect_err("unplugged");
        assert_eq!(error.kind().exit_code(), 3);
        assert!(error.report().contains("cannot be opened"), "{}", error.report());

        let (mut far, path) = terminal();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        output.release().unwrap();
        output.activate(&Occasion::default()).unwrap();
        assert_eq!(received(&mut far, 6), "offR\r\n");
    }

    #[test]
    fn a_port_that_goes_away_between_two_parts_is_missed_and_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("port");
        let (far, path) = terminal();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut output = SerialOutput::open(&config(link.to_str().unwrap()), Role::Reject).unwrap();
        output.look().expect("it is there");
        drop(far);
        let error = output.look().expect_err("hung up");
        assert_eq!(error.kind().exit_code(), 3);
        assert!(error.to_string().contains("was hung up"), "{error}");
        assert!(output.port.is_none(), "somebody who holds it keeps its name");

        std::fs::remove_file(&link).unwrap();
        let (mut far, path) = terminal();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        output.release().unwrap();
        output.look().expect("it is there again");
        assert_eq!(received(&mut far, 3), "off", "nobody knows what the other one was told");
    }

    #[test]
    fn a_device_that_takes_nothing_fails_and_does_not_hold_the_line() {
        let (_far, path) = terminal();
        let config = SerialConfig { message: Template::verbatim(&vec![b'R'; 1 << 20]), release: None, ..config(&path) };
        let mut output = SerialOutput::open(&config, Role::Reject).unwrap();
        let error = output.activate(&Occasion::default()).expect_err("nobody reads so much");
        assert_eq!(error.kind().exit_code(), 3);
        assert!(error.report().contains("does not take"), "{}", error.report());
    }

    #[test]
    fn a_port_that_does_not_exist_is_a_device_error() {
        let error = SerialOutput::open(&config("/nowhere/ttyUSB7"), Role::Reject).expect_err("no such port");
        assert_eq!(error.kind().exit_code(), 3);
        assert!(error.to_string().contains("/nowhere/ttyUSB7"));
    }

    #[test]
    fn an_alarm_is_active_from_the_start_and_says_each_change_once() {
        let (mut far, path) = terminal();
        let mut output = SerialOutput::open(&config(&path), Role::Alarm).unwrap();
        output.hold().unwrap();
        output.release().unwrap();
        output.release().unwrap();
        output.hold().unwrap();
        assert_eq!(received(&mut far, 9), "R\r\noffR\r\n");
    }

    #[test]
    fn a_message_says_which_part_it_is_for() {
        let (mut far, path) = terminal();
        let message = Template::parse("{part} {class} {score}\n").unwrap();
        let mut output =
            SerialOutput::open(&SerialConfig { message, release: None, ..config(&path) }, Role::Reject).unwrap();
        let class = Some("lid".to_owned());
        output.activate(&Occasion { part: Some(PartId(4)), class, score: Some(2.5) }).unwrap();
        assert_eq!(received(&mut far, 12), "4 lid 2.500\n");
    }

    /// A device that answers each message, which ends with a line feed, with the next of `answers`.
    fn device(answers: &'static [&'static str]) -> (std::thread::JoinHandle<String>, String) {
        let (mut far, path) = terminal();
        far.set_timeout(Duration::from_secs(5)).unwrap();
        let answering = std::thread::spawn(move || {
            let mut heard = String::new();
            // A line that nobody has opened yet reads as one that was hung up.
            while far.bytes_to_read().is_err() || far.bytes_to_read().is_ok_and(|waiting| waiting == 0) {
                std::thread::sleep(Duration::from_millis(2));
            }
            for answer in answers {
                while !heard.ends_with('\n') || heard.matches('\n').count() == 0 {
                    heard += &received(&mut far, 1);
                }
                far.write_all(answer.as_bytes()).unwrap();
                heard += "|";
            }
            // What was answered last is read before the line goes dead.
            std::thread::sleep(Duration::from_millis(300));
            heard
        });
        (answering, path)
    }

    #[test]
    fn a_message_counts_once_it_is_acknowledged() {
        let (answering, path) = device(&["OK\r\n", "?", "noise OK\r\n", ""]);
        let ack = Some(Ack { answer: b"OK\r\n".to_vec(), timeout: Duration::from_millis(200) });
        let mut output =
            SerialOutput::open(&SerialConfig { release: None, ack, ..config(&path) }, Role::Reject).unwrap();
        let mut say = || output.activate(&Occasion::default()).map_err(|error| error.line());
        assert_eq!(say(), Ok(()));
        let why = say().expect_err("a question mark is no answer");
        assert!(why.contains("did not acknowledge the message: it said \"?\""), "{why}");
        assert_eq!(say(), Ok(()), "among other words");
        let why = say().expect_err("silence");
        assert!(why.contains("it said nothing"), "{why}");
        assert_eq!(answering.join().unwrap(), "R\r\n|".repeat(4), "nothing is sent twice");
    }
}
