//! One folder of real pictures before three outputs at once: a GPIO line, a Modbus server and a serial port must be told to eject the
//! same parts, in the same order, at the same time.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hgad::time::Monotonic;
use serde_json::Value;
use serialport::{SerialPort, TTYPort};

use crate::belt::moment;
use crate::edges::Edges;
use crate::line::{EJECTOR, hgad, records};
use crate::plc::Plc;
use crate::sim::REJECT;
use crate::{Check, Outcome, hold};

pub const CHECKS: &[Check] = &[("rejects of real pictures on three outputs", alike)];

type Failure = Box<dyn std::error::Error>;

/// Where `run` lays real pictures: a belt of good and bad parts, with a model and a calibration.
pub const PICTURES: &str = "/real";
const CLASS: &str = "commutator";
const FOLDER: &str = "/tmp/rejects";
const COIL: u16 = 3;
/// A terminal that is opened does not become this program's own.
const O_NOCTTY: i32 = 0o400;
/// An order that has not had its effect so long after its time has missed its part.
const TOLERANCE_MS: f64 = 400.0;

/// What an output was told, and when.
struct Told {
    output: &'static str,
    at: Vec<Monotonic>,
    /// The parts' pictures, as far as the output itself says which part it is for, or else as the audit has them.
    parts: Vec<String>,
}

fn alike() -> Outcome {
    fs::create_dir_all(FOLDER)?;
    let (verdicts, took) = scored()?;
    let (edges, plc, terminal) = (Edges::record()?, Plc::start(), Terminal::open()?);
    let interval = (4 * took).max(Duration::from_secs(2));
    let config = Path::new(FOLDER).join("line.toml");
    fs::write(&config, configuration(interval, plc.address, &terminal.path))?;
    let began = Monotonic::now();
    hgad(&["run", "--config", &config.display().to_string()])?;
    let messages = terminal.received()?;
    let parts = records(&Path::new(FOLDER).join("audit.jsonl"), "part")?;
    let count = verdicts.len();
    hold!(parts.len() == 3 * count, "{count} pictures before three lanes have {} records", parts.len());
    for part in &parts {
        let is_alike = part["origin"].as_str().is_some_and(|picture| verdicts.get(picture) == Some(&part["verdict"]));
        hold!(is_alike, "`hgad score` judges otherwise: {part}");
    }

    let rejected = |lane| rejected(&parts, lane);
    let gpio = edges.of(REJECT, began)?.iter().filter(|edge| edge.up).map(|edge| edge.at).collect();
    let coil = plc.written().into_iter().filter(|(_, write)| *write == (5, COIL, 1)).map(|(at, _)| at).collect();
    let numbers = messages.iter().map(|(_, number)| origin(&parts, *number)).collect::<Result<_, _>>()?;
    let told = [
        Told { output: "gpio", at: gpio, parts: origins(&rejected("gpio")) },
        Told { output: "modbus", at: coil, parts: origins(&rejected("modbus")) },
        Told { output: "serial", at: messages.iter().map(|(at, _)| *at).collect(), parts: numbers },
    ];
    for Told { output, at, parts } in &told {
        hold!(at.len() == parts.len(), "{output}: {} orders for {} rejected parts", at.len(), parts.len());
        hold!(*parts == told[0].parts, "{output} was told to eject {parts:?}, and gpio {:?}", told[0].parts);
        for (at, record) in at.iter().zip(rejected(output)) {
            let late = at.millis_since(moment(record, "planned_ns")?);
            hold!((-1.0..TOLERANCE_MS).contains(&late), "{output}: {late:.1} ms after its time: {record}");
        }
    }
    let ejected = told[0].parts.len();
    hold!(ejected > 2 && ejected + 2 < count, "{ejected} of {count} parts are rejected");
    let apart =
        told.iter().flat_map(|other| told[0].at.iter().zip(&other.at).map(|(gpio, at)| at.millis_since(*gpio).abs()));
    let apart = apart.fold(0.0, f64::max);
    let since = |at: &Monotonic, told: &Told| format!("{:.2}", at.millis_since(told.at[0]) / 1e3);
    let rows = told[0].parts.iter().enumerate().map(|(row, part)| {
        let times = told.iter().map(|told| since(&told.at[row], told)).collect::<Vec<_>>();
        format!("{part} {}", times.join("/"))
    });
    Ok(format!(
        "{ejected} of {count} parts were ejected, by all three outputs in the same order, at most {apart:.1} ms apart; s after the first \
         (gpio/modbus/serial): {}",
        rows.collect::<Vec<_>>().join(", ")
    ))
}

/// The verdict on each picture of the belt, and how long one took.
fn scored() -> Result<(BTreeMap<String, Value>, Duration), Failure> {
    let began = Instant::now();
    let [model, calibration, belt] = ["model", "part.toml", "belt"].map(|inside| format!("{PICTURES}/{inside}"));
    let rows = hgad(&["score", "--model", &model, "--calibration", &calibration, "--class", CLASS, "--json", &belt])?;
    let verdict = |row: &str| -> Result<_, Failure> {
        let row: Value = serde_json::from_str(row)?;
        let picture = row["image"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        Ok((picture.to_owned(), row["verdict"].clone()))
    };
    let verdicts = rows.lines().map(verdict).collect::<Result<BTreeMap<_, _>, _>>()?;
    hold!(!verdicts.is_empty(), "{belt} holds no pictures");
    let took = began.elapsed() / u32::try_from(verdicts.len())?;
    Ok((verdicts, took))
}

/// Three lanes that see the same, each with its output.
fn configuration(interval: Duration, plc: std::net::SocketAddr, port: &str) -> String {
    let modbus = format!("kind = \"modbus\"\nserver = \"{plc}\"\ncoil = {COIL}\ntimeout_ms = 1000");
    let serial = format!("kind = \"serial\"\nport = \"{port}\"\nmessage = \"{{part}};\"");
    let lanes = [("gpio", EJECTOR), ("modbus", &modbus), ("serial", &serial)]
        .map(|(name, output)| format!("[[lane]]\nname = \"{name}\"\n[lane.output]\n{output}\n"));
    format!(
        "format_version = 1\n\
         [line]\nname = \"rejects\"\nclass = \"{CLASS}\"\nmodel = \"{PICTURES}/model\"\ncalibration = \"{PICTURES}/part.toml\"\n\
         travel_ms = {}\npulse_ms = 100\ntolerance_ms = {TOLERANCE_MS}\n\
         [camera]\nkind = \"folder\"\npath = \"{PICTURES}/belt\"\nrate = {}\n\
         [audit]\nfile = \"audit.jsonl\"\n{}",
        2 * interval.as_millis(),
        1.0 / interval.as_secs_f64(),
        lanes.concat(),
    )
}

/// A lane's rejected parts in the order of their moments.
fn rejected<'a>(parts: &'a [Value], lane: &str) -> Vec<&'a Value> {
    let is_it = |part: &&Value| part["lane"] == lane && part["fate"] == "rejected";
    let mut rejected = parts.iter().filter(is_it).collect::<Vec<_>>();
    rejected.sort_by_key(|part| part["planned_ns"].as_u64());
    rejected
}

fn origins(parts: &[&Value]) -> Vec<String> {
    parts.iter().map(|part| part["origin"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The picture of the part of that number.
fn origin(parts: &[Value], number: u64) -> Result<String, Failure> {
    let part = parts.iter().find(|part| part["part"] == number && part["lane"] == "serial");
    Ok(origins(&[part.ok_or_else(|| format!("the serial port was told of part {number}, which is none of its lane"))?])
        .remove(0))
}

/// A pseudo-terminal, read as it arrives.
struct Terminal {
    path: String,
    /// Held open, so that the far end does not hang up when the program closes the port.
    _near: fs::File,
    stop: Arc<AtomicBool>,
    reader: JoinHandle<Vec<(Monotonic, String)>>,
}

impl Terminal {
    fn open() -> Result<Self, Failure> {
        let (mut far, near) = TTYPort::pair()?;
        far.set_timeout(Duration::from_millis(50))?;
        let path = near.name().ok_or("a pseudo-terminal without a name")?;
        // The crate's own handle keeps everybody else out.
        let held = fs::File::options().read(true).write(true).custom_flags(O_NOCTTY).open(&path)?;
        drop(near);
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let reader = std::thread::spawn(move || {
            let (mut messages, mut message, mut byte) = (Vec::new(), String::new(), [0]);
            loop {
                match far.read_exact(&mut byte) {
                    Ok(()) if byte == *b";" => messages.push((Monotonic::now(), std::mem::take(&mut message))),
                    Ok(()) => message.push(byte[0].into()),
                    Err(_) if told.load(Ordering::Relaxed) => return messages,
                    Err(_) => {}
                }
            }
        });
        Ok(Terminal { path, _near: held, stop, reader })
    }

    /// The parts' numbers that came, each with its moment.
    fn received(self) -> Result<Vec<(Monotonic, u64)>, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let messages = self.reader.join().map_err(|_| "the terminal's reader panicked")?;
        messages.into_iter().map(|(at, number)| Ok((at, number.parse()?))).collect()
    }
}
