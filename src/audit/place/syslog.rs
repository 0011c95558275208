//! A witness that is a syslog server: RFC 5424 over TCP, each message after its length (RFC 6587, 3.4.1).

use std::io::{Error, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::ffi::OsStrExt;

use jiff::Timestamp;

/// Facility 13 (log audit), severity 6 (informational): RFC 5424, 6.2.1.
const PRIORITY: u32 = 13 * 8 + 6;
/// Whatever a server says before it closes is not read beyond this.
const LONGEST: u64 = 1024;

/// Sends `note`. Syslog knows no acknowledgement: a server that closes the connection in good order after us has read
/// the message, and that is all that can be known.
pub(super) fn send(mut server: &TcpStream, note: &str) -> Result<()> {
    let message = message(note, &host_name(), Timestamp::now());
    server.write_all(format!("{} {message}", message.len()).as_bytes())?;
    server.flush()?;
    server.shutdown(Shutdown::Write)?;
    match server.take(LONGEST).read_to_end(&mut Vec::new()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::other(format!("the server did not close the connection in good order: {error}"))),
    }
}

/// The message: the note is the text of a JSON string, in ASCII, since servers write others than the first line's characters each in a
/// way of its own. `jq -r .checkpoint` gives it back.
fn message(note: &str, host: &str, at: Timestamp) -> String {
    let json = serde_json::json!({ "checkpoint": note }).to_string();
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        match character.is_ascii() {
            true => ascii.push(character),
            false => character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| ascii += &format!("\\u{unit:04x}")),
        }
    }
    format!("<{PRIORITY}>1 {at:.6} {host} hgad {} checkpoint - {ascii}", std::process::id())
}

/// This machine's name, as far as it is made of printable ASCII; RFC 5424, 6.2.4.
fn host_name() -> String {
    let mut name = [0_u8; 256];
    // SAFETY: the buffer is as long as is said, and its last byte, which stays 0, is beyond what may be written.
    unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let name = std::ffi::OsStr::from_bytes(&name[..end]).to_string_lossy();
    match !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => name.into_owned(),
        false => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_ascii_that_holds_the_note() {
        let note = "line-3\n4\nroot=\n\n\u{2014} line-3 \u{1f512}\n";
        let message = message(note, "board", "2026-11-24T06:00:00.5Z".parse().unwrap());
        let head = format!("<110>1 2026-11-24T06:00:00.500000Z board hgad {} checkpoint - ", std::process::id());
        let json = message.strip_prefix(&head).unwrap();
        assert!(message.is_ascii() && !message.contains('\n'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(json).unwrap()["checkpoint"], note);
    }
}
