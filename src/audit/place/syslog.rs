//! A witness that is a syslog server: RFC 5424 over TCP, each message after its length (RFC 6587, 3.4.1).

use std::io::{Error, Read, Result, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;

use jiff::Timestamp;

use super::Connection;

/// Facility 13 (log audit), severity 6 (informational): RFC 5424, 6.2.1.
const PRIORITY: u32 = 13 * 8 + 6;
/// Sends `note`. Syslog knows no acknowledgement: what can be seen is that somebody took the connection, said nothing, and closed it
/// in good order after us.
pub(super) fn send(server: &mut Connection, note: &str) -> Result<()> {
    let message = message(note, &host_name(), Timestamp::now());
    server.write_all(format!("{} {message}", message.len()).as_bytes())?;
    server.stream.shutdown(Shutdown::Write)?;
    match server.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(Error::other("it is no syslog server: these say nothing")),
    }
}

/// The message: the note is the text of a JSON string, in ASCII: servers write line feeds and other characters down in many ways, and a signature holds for the bytes
/// alone. `jq -r .checkpoint` gives it back.
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
