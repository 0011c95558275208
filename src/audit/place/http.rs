//! A witness that speaks HTTP: any server that keeps what it is sent.

use std::io::{Error, Result};

use super::ANSWER;
use crate::config::Witness;

/// Sends `note` as the body of a POST request; an answer of 200 to 299 takes it.
pub(super) fn post(witness: &Witness, note: &str) -> Result<()> {
    let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER)).max_redirects(0).proxy(None).build();
    let agent = ureq::Agent::from(config);
    let sent = agent.post(witness.url()).content_type("text/plain; charset=utf-8").send(note);
    let answer = sent.map_err(Error::other)?;
    match answer.status().is_success() {
        true => Ok(()),
        // Without redirects what is left is 100 to 399.
        false => Err(Error::other(format!("it answered {}", answer.status()))),
    }
}
