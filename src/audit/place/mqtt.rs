//! A witness behind a broker of MQTT 3.1.1.
//!
//! One connection for each checkpoint: there is one a minute, and a broker that went away in between is seen at once.

use std::io::{Error, Read, Result, Write};

use mqtt::control::ConnectReturnCode;
use mqtt::packet::{ConnectPacket, DisconnectPacket, PublishPacket, QoSWithPacketIdentifier};
use mqtt::{Encodable, TopicName};

use super::Connection;
use crate::config::Login;

/// The only message of a connection.
const ID: u16 = 1;
/// The first four bits of a PUBLISH (section 2.2.1).
const PUBLISH: u8 = 0x30;
/// So many bytes of other messages are passed over.
const LONGEST: u64 = 1 << 20;

/// Says who the line is, and hears that the broker knows it.
pub(super) fn greet(broker: &mut Connection, login: Option<&Login>) -> Result<()> {
    // Names of 23 letters and digits are known to every broker (section 3.1.3.1).
    let mut hello = ConnectPacket::new(format!("hgad{:016x}", rand::random::<u64>()));
    hello.set_clean_session(true);
    if let Some(login) = login {
        hello.set_user_name(Some(login.name.clone()));
        hello.set_password(Some(login.password.clone()));
    }
    send(broker, &hello)?;
    match answer(broker)? {
        // CONNACK (section 3.2): flags, and 0 for a connection that is accepted.
        [0x20, 2, _, 0] => Ok(()),
        [0x20, 2, _, code] => {
            Err(Error::other(format!("the broker refuses the line: {:?}", ConnectReturnCode::from_u8(code))))
        }
        _ => Err(no_acknowledgement()),
    }
}

/// Publishes `note` under `topic`, retained, so that who subscribes later gets the newest; the broker's acknowledgement (quality
/// of service 1, section 4.3.2) takes it.
pub(super) fn publish(broker: &mut Connection, topic: &str, login: Option<&Login>, note: &str) -> Result<()> {
    greet(broker, login)?;
    let topic = TopicName::new(topic).map_err(Error::other)?;
    let mut message = PublishPacket::new(topic, QoSWithPacketIdentifier::Level1(ID), note);
    message.set_retain(true);
    send(broker, &message)?;
    let [high, low] = ID.to_be_bytes();
    // PUBACK (section 3.4).
    if answer(broker)? != [0x40, 2, high, low] {
        return Err(no_acknowledgement());
    }
    // It has the note: what becomes of the farewell does not matter.
    let _ = send(broker, &DisconnectPacket::new());
    Ok(())
}

/// A packet goes out in one piece.
fn send(broker: &mut Connection, packet: &impl Encodable) -> Result<()> {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes)?;
    broker.write_all(&bytes)
}

/// The next acknowledgement: each has four bytes. What others publish, or the broker sends back, is passed over. What a broker says
/// is put into no message: it would end in a signed log.
fn answer(broker: &mut Connection) -> Result<[u8; 4]> {
    let mut passed_over = 0;
    loop {
        let [kind] = bytes(broker)?;
        let length = remaining_length(broker)?;
        if kind & 0xf0 == PUBLISH && passed_over + length <= LONGEST {
            passed_over += length;
            std::io::copy(&mut broker.take(length), &mut std::io::sink())?;
            continue;
        }
        if length != 2 {
            return Err(no_acknowledgement());
        }
        let [a, b] = bytes(broker)?;
        return Ok([kind, 2, a, b]);
    }
}

fn bytes<const N: usize>(broker: &mut Connection) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    broker.read_exact(&mut bytes).map(|()| bytes)
}

/// How many bytes of a packet follow (section 2.2.3): seven bits a byte, the lowest first, four bytes at most.
fn remaining_length(broker: &mut Connection) -> Result<u64> {
    let mut length = 0;
    for place in 0..4 {
        let [byte] = bytes(broker)?;
        length |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(length);
        }
    }
    Err(no_acknowledgement())
}

fn no_acknowledgement() -> Error {
    Error::other("what it answers is no acknowledgement of MQTT 3.1.1")
}
