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

struct Witness {
    server: Child,
    port: u16,
}

impl Witness {
    /// One that answers with `status`; `None` where there is no Python.
    fn start(kept: &Path, status: &str) -> Option<Self> {
        let python = common::beside::python_with("http.server", "an HTTP server")?;
        let mut command = Command::new(python);
        command.args(["-c", SERVER]).arg(kept).arg(status).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
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
    let line = Line::new(&format!("key = \"line.key\"\nwitness = \"http://127.0.0.1:{port}/line-3\"\n"));
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
