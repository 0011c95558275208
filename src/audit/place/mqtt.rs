//! A witness behind a broker of MQTT 3.1.1.
//!
//! One connection for each checkpoint: there is one a minute, and a broker that went away in between is seen at once.

use std::io::{Error, Read, Result, Write};
use std::net::TcpStream;

use mqtt::control::ConnectReturnCode;
use mqtt::packet::{
    ConnectPacket, DisconnectPacket, PublishPacket, QoSWithPacketIdentifier, VariablePacket, VariablePacketError,
};
use mqtt::{Decodable, Encodable, TopicName};

/// The broker's answers are a few bytes; nothing longer is read from it.
const LONGEST: u64 = 1024;
/// The only message of a connection.
const ID: u16 = 1;

/// Publishes `note` under `topic`, retained, so that who subscribes later gets the newest; the broker's acknowledgement (quality
/// of service 1, section 4.3.2) takes it.
pub(super) fn publish(mut broker: &TcpStream, topic: &str, login: Option<&(String, String)>, note: &str) -> Result<()> {
    // Names of 23 letters and digits are known to every broker (section 3.1.3.1).
    let mut hello = ConnectPacket::new(format!("hgad{:016x}", rand::random::<u64>()));
    hello.set_clean_session(true);
    if let Some((name, password)) = login {
        hello.set_user_name(Some(name.clone()));
        hello.set_password(Some(password.clone()));
    }
    hello.encode(&mut broker)?;
    match answer(broker)? {
        VariablePacket::ConnackPacket(told) if told.connect_return_code() == ConnectReturnCode::ConnectionAccepted => {}
        VariablePacket::ConnackPacket(told) => {
            return Err(Error::other(format!("the broker refuses the line: {:?}", told.connect_return_code())));
        }
        other => return Err(out_of_turn(&other)),
    }
    let topic = TopicName::new(topic).map_err(Error::other)?;
    let mut message = PublishPacket::new(topic, QoSWithPacketIdentifier::Level1(ID), note);
    message.set_retain(true);
    message.encode(&mut broker)?;
    match answer(broker)? {
        VariablePacket::PubackPacket(told) if told.packet_identifier() == ID => {}
        other => return Err(out_of_turn(&other)),
    }
    // It has the note: what becomes of the farewell does not matter.
    let _ = DisconnectPacket::new().encode(&mut broker).and_then(|()| broker.flush());
    Ok(())
}

fn answer(broker: &TcpStream) -> Result<VariablePacket> {
    VariablePacket::decode(&mut broker.take(LONGEST)).map_err(|error| match error {
        VariablePacketError::IoError(error) => error,
        other => Error::other(format!("what the broker answers is no MQTT: {other}")),
    })
}

fn out_of_turn(packet: &VariablePacket) -> Error {
    Error::other(format!("the broker answers out of turn: {packet:?}"))
}
