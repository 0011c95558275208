//! The address of a machine that keeps checkpoints: `[audit] witness`.

use std::fmt;
use std::str::FromStr;

use ureq::http::Uri;

/// The ports that protocols have when an address names none.
const MQTT: u16 = 1883;
const SYSLOG: u16 = 514;
const HTTP: u16 = 80;

/// What to write instead of an address that cannot be used.
pub(super) const ADVICE: &str = "name the machine that keeps checkpoints: \"http://logs.factory.example:8080/line-3\", \
                                 \"mqtt://broker.factory.example/hgad/line-3\" or \"syslog://logs.factory.example\"";

/// Another machine that gets every checkpoint, and how. There is no TLS: what is sent is signed, and no secret.
///
/// Displayed without a password: the audit's first record says where its checkpoints go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// By what protocol.
    pub protocol: Protocol,
    /// The machine's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// How a witness is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// A POST request to this path.
    Http {
        /// With its leading slash, and the query.
        path: String,
    },
    /// A retained message to a broker of MQTT 3.1.1.
    Mqtt {
        /// What it is published under.
        topic: String,
        /// The name and the password by which the broker knows the line.
        login: Option<(String, String)>,
    },
    /// A message of RFC 5424 over TCP.
    Syslog,
}

impl FromStr for Witness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri = text.parse::<Uri>().map_err(|error| format!("'{text}' is no address: {error}"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| format!("'{text}' names no machine"))?;
        let login = login(&uri)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let (protocol, port) = match uri.scheme_str() {
            Some("http") => (Protocol::Http { path: path.to_owned() }, HTTP),
            Some("mqtt") => (Protocol::Mqtt { topic: topic(text, path)?, login: login.clone() }, MQTT),
            Some("syslog") if path == "/" => (Protocol::Syslog, SYSLOG),
            Some("syslog") => return Err(format!("'{text}': syslog knows no '{path}'")),
            _ => return Err(format!("'{text}' does not begin with http://, mqtt:// or syslog://")),
        };
        if login.is_some() && !matches!(protocol, Protocol::Mqtt { .. }) {
            return Err(format!("'{}' takes no name and password", text.split(':').next().unwrap_or_default()));
        }
        let port = uri.port_u16().unwrap_or(port);
        Ok(Witness { protocol, host: host.trim_matches(['[', ']']).to_owned(), port })
    }
}

/// `NAME:PASSWORD@` before the machine.
fn login(uri: &Uri) -> Result<Option<(String, String)>, String> {
    let Some((login, _)) = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@')) else {
        return Ok(None);
    };
    match login.split_once(':') {
        Some((name, password)) if !name.is_empty() && !login.contains('%') => {
            Ok(Some((name.to_owned(), password.to_owned())))
        }
        _ => Err("what stands before @ is not NAME:PASSWORD, in letters that an address may hold".into()),
    }
}

/// What a broker is told: the path without its slash (MQTT 3.1.1, section 4.7: no wildcards, not empty).
fn topic(text: &str, path: &str) -> Result<String, String> {
    match path.trim_start_matches('/') {
        "" => Err(format!("'{text}' names no topic to publish under")),
        topic if topic.contains(['+', '#', '%']) => Err(format!("'{topic}' is no topic to publish under")),
        topic => Ok(topic.to_owned()),
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match &self.protocol {
            Protocol::Http { path } => write!(f, "http://{host}:{}{path}", self.port),
            Protocol::Mqtt { topic, .. } => write!(f, "mqtt://{host}:{}/{topic}", self.port),
            Protocol::Syslog => write!(f, "syslog://{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_how_a_witness_is_reached() {
        let shown = |text: &str| text.parse::<Witness>().map(|witness| witness.to_string());
        assert_eq!(shown("http://logs.example:8080/line-3?x=1"), Ok("http://logs.example:8080/line-3?x=1".into()));
        assert_eq!(shown("http://logs.example"), Ok("http://logs.example:80/".into()));
        assert_eq!(shown("syslog://[fd00::1]"), Ok("syslog://[fd00::1]:514".into()));
        let mqtt = "mqtt://line-3:secret@broker.example/hgad/line-3".parse::<Witness>().unwrap();
        assert_eq!(mqtt.to_string(), "mqtt://broker.example:1883/hgad/line-3", "a password goes into no log");
        let login = Some(("line-3".to_owned(), "secret".to_owned()));
        assert_eq!(mqtt.protocol, Protocol::Mqtt { topic: "hgad/line-3".into(), login });
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, says) in [
            ("https://logs.example", "does not begin with"),
            ("logs.example:80", "does not begin with"),
            ("http:///line-3", "is no address"),
            ("mqtt://broker.example", "no topic"),
            ("mqtt://broker.example/line/+", "no topic to publish under"),
            ("mqtt://line-3@broker.example/t", "NAME:PASSWORD"),
            ("http://a:b@logs.example/", "takes no name"),
            ("syslog://logs.example/line-3", "syslog knows no"),
        ] {
            let refused = text.parse::<Witness>().unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }
}
