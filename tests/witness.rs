//! Checkpoints that another machine keeps, on a server that knows nothing of them.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::line::Line;
use common::{hgad, records, run, stderr};

/// Python's own HTTP server. It writes the body of every POST request to a file.
const SERVER: &str = r#"
import http.server, sys
class Keep(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open(sys.argv[1], "ab") as kept:
            kept.write(body + b"\0")
        self.send_response(int(sys.argv[2]))
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Keep)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// A broker of MQTT that knows one name and one password.
const BROKER: &str = r#"
import asyncio, logging, socket, sys
from amqtt.broker import Broker
from pwdlib import PasswordHash
logging.disable(logging.CRITICAL)
async def main():
    with open(sys.argv[1], "w") as names:
        names.write("line-3:" + PasswordHash.recommended().hash("secret") + "\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    plugins = {"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": sys.argv[1]}}
    await Broker({"listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}, "plugins": plugins}).start()
    print(port, flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"#;

/// What a broker has kept under a topic, for somebody who comes later.
const SUBSCRIBER: &str = r#"
import asyncio, logging, sys
from amqtt.client import MQTTClient
logging.disable(logging.CRITICAL)
async def main():
    client = MQTTClient(config={"auto_reconnect": False})
    await client.connect(f"mqtt://line-3:secret@127.0.0.1:{sys.argv[1]}/")
    await client.subscribe([(sys.argv[2], 1)])
    message = await client.deliver_message(timeout_duration=20)
    sys.stdout.buffer.write(bytes(message.data))
    await client.disconnect()
asyncio.run(main())
"#;

/// A syslog server: RFC 6587's lengths by hand, RFC 5424 by a parser that is not ours.
const SYSLOG: &str = r#"
import json, socketserver, sys
from syslog_rfc5424_parser import SyslogMessage
class Keep(socketserver.StreamRequestHandler):
    def handle(self):
        length = b""
        while (byte := self.rfile.read(1)) != b" ":
            length += byte
        message = SyslogMessage.parse(self.rfile.read(int(length)).decode("ascii"))
        assert (message.facility.name, message.severity.name) == ("audit", "info"), message
        assert (message.appname, message.msgid) == ("hgad", "checkpoint"), message
        with open(sys.argv[1], "ab") as kept:
            kept.write(json.loads(message.msg)["checkpoint"].encode() + b"\0")
        assert self.rfile.read(1) == b""
server = socketserver.TCPServer(("127.0.0.1", 0), Keep)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

struct Witness {
    server: Child,
    port: u16,
}

impl Witness {
    /// An HTTP server that answers with `status`; `None` where there is no Python.
    fn start(kept: &Path, status: &str) -> Option<Self> {
        Self::of("http.server", "an HTTP server", &["-c", SERVER, kept.to_str().unwrap(), status])
    }

    /// A program in Python that says its port; `None` where it has not the modules that it needs.
    fn of(modules: &str, what: &str, arguments: &[&str]) -> Option<Self> {
        let python = common::beside::python_with(modules, what)?;
        let mut server = Command::new(python).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Some(Witness { server, port: port.trim().parse().unwrap() })
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A line whose checkpoints go to this port, with a key.
fn line(port: u16) -> Line {
    line_with(&format!("http://127.0.0.1:{port}/line-3"))
}

/// A line whose checkpoints go to this address.
fn line_with(witness: &str) -> Line {
    let line = Line::new(&format!("key = \"line.key\"\nwitness = \"{witness}\"\n"));
    let (code, _, err) =
        run(&["audit", "keygen", "--name", "factory.example/line-3", "--out", &line.bench.text("line.key")]);
    assert_eq!(code, 0, "{err}");
    line
}

#[test]
fn a_witness_gets_every_checkpoint_and_convicts_who_cuts_the_end_off() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let Some(witness) = Witness::start(&kept, "200") else { return };
    let line = line(witness.port);
    line.run();
    let text = std::fs::read_to_string(&kept).unwrap();
    let notes = text.split_terminator('\0').collect::<Vec<_>>();
    let log = records(Path::new(&line.log()));
    let signed = log.iter().filter(|record| record["kind"] == "checkpoint").map(|record| &record["note"]);
    assert_eq!(notes.last(), signed.clone().next_back().map(|note| note.as_str().unwrap()).as_ref());
    assert!(notes.iter().all(|note| signed.clone().any(|signed| signed == note)), "{notes:?}");
    assert_eq!(log[0]["witness"], format!("http://127.0.0.1:{}/line-3", witness.port));

    let (note, key) = (line.bench.text("note"), line.bench.text("line.key.pub"));
    std::fs::write(&note, notes.last().unwrap()).unwrap();
    let verify = || run(&["audit", "verify", &line.log(), "--key", &key, "--checkpoint", &note]);
    assert_eq!(verify().0, 0);
    let whole = std::fs::read_to_string(line.log()).unwrap();
    let cut = whole.lines().take(log.len() - 3).map(|line| format!("{line}\n")).collect::<String>();
    std::fs::write(line.log(), cut).unwrap();
    let (code, _, err) = verify();
    assert!(code == 1 && err.contains("its end was removed"), "{err}");
}

#[test]
fn a_witness_that_is_away_or_refuses_is_an_alarm_and_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let Some(refuses) = Witness::start(&folder.path().join("kept"), "503") else { return };
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (port, says) in [(refuses.port, "503"), (away, "refused")] {
        let line = line(port);
        let output = hgad(&["run", "--config", &line.bench.text("line.toml")]).output().unwrap();
        let err = stderr(&output);
        assert!(
            output.status.code() == Some(3) && err.contains("not everywhere where it is kept") && err.contains(says),
            "{err}"
        );
        let log = records(Path::new(&line.log()));
        assert_eq!(line.parts().iter().filter(|part| part["verdict"] != "unknown").count(), 12, "{err}");
        let alarm = log.iter().find(|record| record["alarm"] == "audit-fault").unwrap();
        assert!(alarm["why"].as_str().unwrap().contains("line-3"), "{alarm}");
    }
}

/// The checkpoints in a line's log.
fn signed(line: &Line) -> Vec<String> {
    let log = records(Path::new(&line.log()));
    let notes = log.iter().filter(|record| record["kind"] == "checkpoint");
    notes.map(|record| record["note"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_broker_keeps_the_newest_checkpoint_for_who_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let names = folder.path().join("names");
    let modules = "amqtt.broker, pwdlib";
    let Some(broker) = Witness::of(modules, "amqtt", &["-c", BROKER, names.to_str().unwrap()]) else { return };
    let line = line_with(&format!("mqtt://line-3:secret@127.0.0.1:{}/hgad/line-3", broker.port));
    line.run();
    let python = common::beside::python_with(modules, "amqtt").unwrap();
    let arguments = ["-c", SUBSCRIBER, &broker.port.to_string(), "hgad/line-3"];
    let kept = Command::new(python).args(arguments).output().unwrap();
    assert!(kept.status.success(), "{}", stderr(&kept));
    assert_eq!(Some(String::from_utf8(kept.stdout).unwrap()), signed(&line).pop());
    let start = &records(Path::new(&line.log()))[0];
    assert_eq!(start["witness"], format!("mqtt://127.0.0.1:{}/hgad/line-3", broker.port), "without the password");

    let stranger = line_with(&format!("mqtt://line-3:wrong@127.0.0.1:{}/hgad/line-3", broker.port));
    let output = hgad(&["run", "--config", &stranger.bench.text("line.toml")]).output().unwrap();
    let err = stderr(&output);
    assert!(output.status.code() == Some(3) && err.contains("the broker refuses the line"), "{err}");
}

#[test]
fn a_syslog_server_gets_every_checkpoint_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let modules = "syslog_rfc5424_parser";
    let arguments = ["-c", SYSLOG, kept.to_str().unwrap()];
    let Some(server) = Witness::of(modules, "syslog-rfc5424-parser", &arguments) else { return };
    let line = line_with(&format!("syslog://127.0.0.1:{}", server.port));
    line.run();
    let text = std::fs::read_to_string(&kept).unwrap();
    let (notes, signed) = (text.split_terminator('\0').collect::<Vec<_>>(), signed(&line));
    assert_eq!(notes.last().copied(), signed.last().map(String::as_str));
    assert!(notes.iter().all(|note| signed.iter().any(|signed| signed == note)), "{notes:?}");
}
