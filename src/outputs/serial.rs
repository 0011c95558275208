//! An ejector (or a PLC in front of it) that is told over a serial port.

use std::io::Write;
use std::time::Duration;

use serialport::TTYPort;

use super::Output;
use crate::config::SerialConfig;
use crate::{Error, Result};

/// A message that the device does not take within this time has failed: the part is past the ejector soon.
const WRITE_TIMEOUT: Duration = Duration::from_millis(50);

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
        TTYPort::open(&builder).map_err(|error| {
            Error::device(format!("serial port {} cannot be opened", self.name)).because(error).advise(
                "is the adapter plugged in and the path right (ls /dev/serial/by-id)? May this user use it (group dialout)? \
                 Is no other program using it?",
            )
        })
    }

    /// Sends `message`; a port that fails is opened anew once, at once, since the part does not wait.
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if let Some(port) = &mut self.port
            && port.write_all(message).is_ok()
        {
            return Ok(());
        }
        self.port = None;
        let mut port = self.connect()?;
        port.write_all(message).map_err(|error| {
            Error::device(format!("serial port {} does not take the message", self.name))
                .because(error)
                .advise("check the cable and that the other end is switched on")
        })?;
        self.port = Some(port);
        Ok(())
    }
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
    fn a_port_that_does_not_exist_is_a_device_error() {
        let error = SerialOutput::open(&config("/nowhere/ttyUSB7")).expect_err("no such port");
        assert_eq!(error.kind().exit_code(), 3);
        assert!(error.to_string().contains("/nowhere/ttyUSB7"));
    }
}
