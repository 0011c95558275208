//! An ejector (or a PLC in front of it) that is told over a serial port.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use serialport::{ClearBuffer, SerialPort, TTYPort};

use super::Output;
use crate::config::SerialConfig;
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
    /// `None` after a failure, until the port could be opened again.
    port: Option<TTYPort>,
    active: bool,
}

impl SerialOutput {
    /// Opens the port and sends the release message, if there is one.
    ///
    /// # Errors
    ///
    /// The port does not exist, is used by another program, or does not take the message.
    pub fn open(config: &SerialConfig) -> Result<Self> {
        let name = config.port.display().to_string();
        let mut output = SerialOutput { config: config.clone(), name, port: None, active: true };
        output.release()?;
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

    /// Sends `message`. A port that takes none of it is opened anew once, at once, since the part does not wait; a message
    /// of which a part has left is not sent again: the device would see two, or none that it understands.
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let mut failure = None;
        for _ in 0..2 {
            let mut port = match self.port.take() {
                Some(port) => port,
                None => self.connect()?,
            };
            match transmit(&mut port, message, self.config.sending(message) + WRITE_TIMEOUT) {
                Ok(()) => {
                    self.port = Some(port);
                    return Ok(());
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

    fn activate(&mut self) -> Result<()> {
        self.active = true;
        let message = self.config.message.clone();
        self.send(&message)
    }

    fn release(&mut self) -> Result<()> {
        if self.port.is_none() {
            self.port = Some(self.connect()?);
        }
        // A PLC that counts messages must not see one for every time that the program makes sure.
        if let Some(message) = self.config.release.clone().filter(|_| self.active) {
            self.send(&message)?;
        }
        self.active = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serialport::SerialPort;
    use std::io::Read;

    fn config(port: &str) -> SerialConfig {
        SerialConfig { port: port.into(), baud: 9600, message: b"R\r\n".to_vec(), release: Some(b"off".to_vec()) }
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
        let mut output = SerialOutput::open(&config(&path)).unwrap();
        output.activate().unwrap();
        output.activate().unwrap();
        output.release().unwrap();
        output.release().unwrap();
        output.activate().unwrap();
        assert_eq!(received(&mut far, 15), "offR\r\nR\r\noffR\r\n", "nothing is repeated");
    }

    #[test]
    fn a_port_that_is_gone_fails_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("port");
        let (far, path) = terminal();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut output = SerialOutput::open(&config(link.to_str().unwrap())).unwrap();
        drop(far);
        std::fs::remove_file(&link).unwrap();
        let error = output.activate().expect_err("unplugged");
        assert_eq!(error.kind().exit_code(), 3);
        assert!(error.report().contains("cannot be opened"), "{}", error.report());

        let (mut far, path) = terminal();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        output.release().unwrap();
        output.activate().unwrap();
        assert_eq!(received(&mut far, 6), "offR\r\n");
    }

    #[test]
    fn a_device_that_takes_nothing_fails_and_does_not_hold_the_line() {
        let (_far, path) = terminal();
        let config = SerialConfig { message: vec![b'R'; 1 << 20], release: None, ..config(&path) };
        let mut output = SerialOutput::open(&config).unwrap();
        let error = output.activate().expect_err("nobody reads so much");
        assert_eq!(error.kind().exit_code(), 3);
        assert!(error.report().contains("does not take"), "{}", error.report());
    }

    #[test]
    fn a_port_that_does_not_exist_is_a_device_error() {
        let error = SerialOutput::open(&config("/nowhere/ttyUSB7")).expect_err("no such port");
        assert_eq!(error.kind().exit_code(), 3);
        assert!(error.to_string().contains("/nowhere/ttyUSB7"));
    }
}
