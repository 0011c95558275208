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
/// Displayed without passwords and without what stands behind a question mark, which may be one: the audit's first record says where
/// its checkpoints go.
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
    /// A POST request.
    Http {
        /// With its leading slash.
        path: String,
        /// What stands behind a question mark, with it; empty where there is none.
        query: String,
    },
    /// A retained message to a broker of MQTT 3.1.1.
    Mqtt {
        /// What it is published under.
        topic: String,
        /// By what the broker knows the line.
        login: Option<Login>,
    },
    /// A message of RFC 5424 over TCP.
    Syslog,
}

/// A name and a password. Nothing that is printed holds the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FromStr for Witness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = without_login(text);
        let uri = text.parse::<Uri>().map_err(|error| format!("'{shown}' is no address: {error}"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| format!("'{shown}' names no machine"))?;
        if text.contains('#') || uri.path().contains('@') {
            return Err(format!("'{shown}' holds a # or an @ where an address has none"));
        }
        let (path, query) = (uri.path(), uri.query().map_or_else(String::new, |query| format!("?{query}")));
        let login = login(&uri)?;
        let (protocol, port) = match uri.scheme_str() {
            Some("http") => (Protocol::Http { path: path.to_owned(), query }, HTTP),
            Some("mqtt") => (Protocol::Mqtt { topic: topic(&shown, path)?, login: login.clone() }, MQTT),
            Some("syslog") if path.trim_matches('/').is_empty() => (Protocol::Syslog, SYSLOG),
            Some("syslog") => return Err(format!("'{shown}': syslog knows no '{path}'")),
            _ => return Err(format!("'{shown}' does not begin with http://, mqtt:// or syslog://")),
        };
        if login.is_some() && !matches!(protocol, Protocol::Mqtt { .. }) {
            return Err(format!("'{shown}' takes no name and password"));
        }
        let port = match uri.authority().and_then(|authority| authority.as_str().rsplit_once(':')) {
            Some((_, port)) if !port.ends_with(']') && !port.contains('@') => {
                port.parse().map_err(|_| format!("'{shown}': '{port}' is no port"))?
            }
            _ => port,
        };
        Ok(Witness { protocol, host: host.trim_matches(['[', ']']).to_owned(), port })
    }
}

impl Witness {
    /// The address that an HTTP request goes to: all of it, which is for nobody's eyes.
    pub(crate) fn url(&self) -> String {
        match &self.protocol {
            Protocol::Http { query, .. } => format!("{self}{query}"),
            Protocol::Mqtt { .. } | Protocol::Syslog => self.to_string(),
        }
    }
}

/// An address as messages show it.
fn without_login(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://...@{rest}"),
        (None, Some((_, rest))) => format!("...@{rest}"),
        _ => text.to_owned(),
    }
}

/// `NAME:PASSWORD@` before the machine.
fn login(uri: &Uri) -> Result<Option<Login>, String> {
    let Some((login, _)) = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@')) else {
        return Ok(None);
    };
    match login.split_once(':') {
        Some((name, password)) if !name.is_empty() && !login.contains('%') => {
            Ok(Some(Login { name: name.to_owned(), password: password.to_owned() }))
        }
        _ => Err("what stands before @ is not NAME:PASSWORD, in letters that an address may hold".into()),
    }
}

/// What a broker is told: the path without its slash (MQTT 3.1.1, section 4.7: no wildcards, not empty).
fn topic(shown: &str, path: &str) -> Result<String, String> {
    match path.trim_start_matches('/') {
        "" => Err(format!("'{shown}' names no topic to publish under")),
        topic if topic.contains(['+', '%']) => Err(format!("'{topic}' is no topic to publish under")),
        topic => Ok(topic.to_owned()),
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match &self.protocol {
            Protocol::Http { path, .. } => write!(f, "http://{host}:{}{path}", self.port),
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
        let http = "http://logs.example:8080/line-3?token=secret".parse::<Witness>().unwrap();
        assert_eq!(http.to_string(), "http://logs.example:8080/line-3");
        assert_eq!(http.url(), "http://logs.example:8080/line-3?token=secret");
        assert_eq!(shown("http://logs.example"), Ok("http://logs.example:80/".into()));
        assert_eq!(shown("syslog://[fd00::1]"), Ok("syslog://[fd00::1]:514".into()));
        assert_eq!(shown("syslog://[fd00::1]:6514/"), Ok("syslog://[fd00::1]:6514".into()));
        let mqtt = "mqtt://line-3:secret@broker.example/hgad/line-3".parse::<Witness>().unwrap();
        let login = Some(Login { name: "line-3".to_owned(), password: "secret".to_owned() });
        assert_eq!(mqtt.protocol, Protocol::Mqtt { topic: "hgad/line-3".into(), login });
        assert_eq!(mqtt.port, MQTT);
        for told in [mqtt.to_string(), format!("{mqtt:?}")] {
            assert!(told.contains("broker.example") && !told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_password_is_told() {
        for (text, says) in [
            ("https://logs.example", "does not begin with"),
            ("logs.example:80", "does not begin with"),
            ("http:///line-3", "is no address"),
            ("http://logs.example:8O80/x", "'8O80' is no port"),
            ("http://logs.example:99999/x", "'99999' is no port"),
            ("mqtt://broker.example", "no topic"),
            ("mqtt://broker.example/line/+", "no topic to publish under"),
            ("mqtt://broker.example/line/#", "holds a #"),
            ("mqtt://line-3@broker.example/t", "NAME:PASSWORD"),
            ("mqtt://line-3:secret@broker.example", "no topic"),
            ("mqtts://line-3:secret@broker.example/t", "does not begin with"),
            ("mqtt://line-3:secr^secret@broker.example/t", "is no address"),
            ("mqtt://line-3:secret/secret@broker.example/t", "an @ where"),
            ("http://a:secret@logs.example/", "takes no name"),
            ("syslog://logs.example/line-3", "syslog knows no"),
        ] {
            let refused = text.parse::<Witness>().unwrap_err();
            assert!(refused.contains(says) && !refused.contains("secr"), "{text}: {refused}");
        }
    }
}
