//! Faults while the whole program runs: what the line does, what its audit says, and how long that takes.

use std::path::Path;
use std::time::Duration;

use hgad::time::Monotonic;
use serde_json::Value;

use crate::belt::{Belt, Fed, Truth, moment};
use crate::edges::Edges;
use crate::line::{EJECTOR, Line, Setting};
use crate::serial::{Gadget, PLUG, PORT};
use crate::sim::{ALARM, HEARTBEAT, REJECT, STOP_LINE};
use crate::vivid::{self, Control};
use crate::{Check, Outcome, hold};

pub const CHECKS: &[Check] = &[
    ("line camera unplugged", camera_unplugged),
    ("line camera's driver gives up", camera_gives_up),
    ("line camera silent", camera_silent),
    ("line camera drops frames", camera_drops),
    ("line serial adapter unplugged", adapter_unplugged),
    ("line killed while it ejects", killed),
    ("line stopped for a while", stopped),
    ("line audit's disk full", disk_full),
    ("line audit's disk read-only", disk_read_only),
];

/// Those of them that go with a quick look.
pub const QUICK: &[Check] = &[
    ("line serial adapter unplugged", adapter_unplugged),
    ("line killed while it ejects", killed),
    ("line stopped for a while", stopped),
];

type Failure = Box<dyn std::error::Error>;

/// Two parts are at least so far apart.
const SPACING: Duration = Duration::from_millis(1200);
/// How long parts pass before a fault, and after it.
const PASSING: Duration = Duration::from_secs(4);
/// How long a fault lasts at least.
const FAULT: Duration = Duration::from_secs(4);
/// An alarm is over 10 seconds after its cause; a guest takes its time.
const PATIENCE: Duration = Duration::from_secs(40);
/// What the product promises of its heartbeat.
const PROMISE_MS: f64 = 200.0;
/// The product misses an output after half a second; a guest takes its time, and a busy host's guest twice that. What waits for the
/// next bad part to miss it takes longer still.
const MISSED_MS: f64 = 2000.0;

/// A fault that passes: how it comes and how it goes.
struct Trouble<'a> {
    /// The device that the audit names.
    device: &'a str,
    begin: &'a mut dyn FnMut() -> Result<(), Failure>,
    end: &'a mut dyn FnMut() -> Result<(), Failure>,
}

/// What was seen of a trouble.
struct Seen {
    parts: Vec<(Fed, Value)>,
    /// How long after it began the audit has it.
    noticed_ms: f64,
    told: String,
}

fn setting<'a>(output: &'a str, audit: &'a Path) -> Setting<'a> {
    Setting { output, pulse_ms: 100, audit, camera: "" }
}

/// Two parts of the line are so far apart, so that this guest can inspect both.
fn spacing(line: &Line) -> Duration {
    SPACING.max(2 * line.pace)
}

/// Long enough that a part which the eye saw before the fault has its fate, and its record, while it lasts.
fn fault(line: &Line) -> Duration {
    FAULT.max(line.way() + spacing(line))
}

/// Parts pass before, during and after the fault; the line must go on by itself, and end in good order.
fn pass_through(line: &Line, trouble: Trouble) -> Result<Seen, Failure> {
    let edges = Edges::record()?;
    let run = line.start()?;
    let mut belt = Belt::new(spacing(line))?;
    belt.feed_until(Monotonic::now() + PASSING)?;
    let began = Monotonic::now();
    (trouble.begin)()?;
    belt.feed_until(began + fault(line))?;
    let over = Monotonic::now();
    (trouble.end)()?;
    belt.feed_until(over + PASSING)?;
    wait_for_calm(line, &edges, began)?;
    // Whether all is well again, a good part that passes says.
    belt.feed(Truth::Good)?;
    belt.clear(line);
    let ending = Monotonic::now();
    run.end()?;
    let parts = belt.recorded(line.records("part")?)?;
    hold!(parts.last().is_some_and(|(_, record)| record["fate"] == "passed"), "the last part: {:?}", parts.last());
    let (noticed, recorded) = recorded(line, trouble.device, began)?;
    let told = [
        format!("the fault lasts {:.1} s", over.millis_since(began) / 1e3),
        recorded,
        lamp(&edges, began, ending)?,
        match trouble.device {
            "audit" => goes_on(&edges, began, ending)?,
            _ => [heartbeat(&edges, began, noticed, ending)?, stop_line(&edges, began, noticed, ending)?].join("; "),
        },
        safe(&parts)?,
        line.verify()?,
    ];
    Ok(Seen { parts, noticed_ms: noticed.millis_since(began), told: told.join("; ") })
}

/// Waits until the alarm lamp has been lit since `began`, and is off.
fn wait_for_calm(line: &Line, edges: &Edges, began: Monotonic) -> Result<(), Failure> {
    edges.wait(ALARM, true, began, PATIENCE)?;
    let end = Monotonic::now() + PATIENCE;
    while edges.of(ALARM, began)?.last().is_some_and(|edge| edge.up) {
        hold!(Monotonic::now() < end, "the alarm lamp does not go out: {}", line.log()?);
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// When the audit says that the device failed; that moment, and when its alarm was raised and it had recovered, in words.
fn recorded(line: &Line, device: &str, began: Monotonic) -> Result<(Monotonic, String), Failure> {
    let find = |kind: &str, key: &str, value: String| -> Result<Monotonic, Failure> {
        let records = line.records(kind)?;
        let found = records.iter().find(|record| record[key] == value.as_str());
        moment(found.ok_or_else(|| format!("no {kind} record of {value}: {records:?}"))?, "monotonic_ns")
    };
    let fault = find("fault", "device", device.into())?;
    let [fault_ms, alarm_ms, recovery_ms] =
        [fault, find("alarm", "alarm", format!("{device}-fault"))?, find("recovery", "device", device.into())?]
            .map(|at| at.millis_since(began));
    let told = format!(
        "audit: fault after {fault_ms:.0} ms, alarm {device}-fault after {alarm_ms:.0} ms, recovery after {recovery_ms:.0} ms"
    );
    Ok((fault, told))
}

fn lamp(edges: &Edges, began: Monotonic, ending: Monotonic) -> Result<String, Failure> {
    let edges = edges.of(ALARM, began)?;
    let on = edges.iter().find(|edge| edge.up);
    // The end of the program lights it again.
    let off = edges.iter().rfind(|edge| !edge.up && edge.at < ending);
    let (Some(up), Some(down)) = (on, off) else { return Err(format!("the alarm lamp: {edges:?}").into()) };
    Ok(format!(
        "alarm lamp on after {:.0} ms, off after {:.0} ms",
        up.at.millis_since(began),
        down.at.millis_since(began)
    ))
}

/// Where the heartbeat stood for longest between the fault and the end: it has to stand soon after the fault was noticed.
fn heartbeat(edges: &Edges, began: Monotonic, noticed: Monotonic, ending: Monotonic) -> Result<String, Failure> {
    let beats = edges.of(HEARTBEAT, began - Duration::from_secs(1))?;
    let gaps = beats.windows(2).filter(|pair| pair[1].at < ending);
    let gap = gaps.max_by_key(|pair| pair[1].at.saturating_since(pair[0].at));
    let Some([last, next]) = gap else { return Err(format!("the heartbeat stood still: {beats:?}").into()) };
    let (late, length) = (last.at.millis_since(noticed), next.at.millis_since(last.at));
    hold!(
        late < PROMISE_MS,
        "the heartbeat changed {late:.1} ms after the fault was noticed, and stood for {length:.1} ms"
    );
    Ok(format!("heartbeat stood from {:.0} ms on, for {length:.0} ms", last.at.millis_since(began)))
}

/// What is kept in memory stops no belt.
fn goes_on(edges: &Edges, began: Monotonic, ending: Monotonic) -> Result<String, Failure> {
    let held = edges.of(STOP_LINE, began)?.into_iter().find(|edge| edge.up && edge.at < ending);
    hold!(held.is_none(), "the stop-line output: {held:?}");
    let beats = edges.of(HEARTBEAT, began)?;
    let gaps = beats.windows(2).filter(|pair| pair[1].at < ending).map(|pair| pair[1].at.millis_since(pair[0].at));
    let longest = gaps.fold(0.0, f64::max);
    hold!(!beats.is_empty() && longest < MISSED_MS, "the heartbeat stood for {longest:.0} ms");
    Ok(format!("the belt goes on; heartbeat's changes {longest:.0} ms apart at most"))
}

/// How long the stop-line output held the belt: from soon after the fault was noticed until the line was inspected again. (This belt goes on.)
fn stop_line(edges: &Edges, began: Monotonic, noticed: Monotonic, ending: Monotonic) -> Result<String, Failure> {
    let edges = edges.of(STOP_LINE, began)?;
    let held = edges.iter().find(|edge| edge.up && edge.at < ending);
    let free = edges.iter().rfind(|edge| !edge.up && edge.at < ending);
    let (Some(up), Some(down)) = (held, free) else { return Err(format!("the stop-line output: {edges:?}").into()) };
    let (late, length) = (up.at.millis_since(noticed), down.at.millis_since(up.at));
    hold!(
        late < MISSED_MS && length > 0.0,
        "the belt was held {late:.1} ms after the fault was noticed, for {length:.1} ms"
    );
    Ok(format!("belt held from {:.0} ms on, for {length:.0} ms", up.at.millis_since(began)))
}

/// Whether no bad part passed, and no part that nobody had judged; what became of them.
fn safe(parts: &[(Fed, Value)]) -> Result<String, Failure> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for (fed, record) in parts {
        let text = |key: &str| record[key].as_str().unwrap_or_default();
        let passed = text("fate") == "passed";
        hold!(!passed || (fed.truth.is_good() && text("verdict") == "pass"), "a part was {:?}: {record}", fed.truth);
        let why = if text("verdict") == "unknown" { text("reason") } else { text("verdict") };
        *counts.entry(format!("{} ({why})", text("fate"))).or_default() += 1;
    }
    let counts = counts.iter().map(|(fate, count)| format!("{count} {fate}")).collect::<Vec<_>>();
    Ok(format!("{} parts: {}", parts.len(), counts.join(", ")))
}

fn camera_trouble(
    name: &str,
    begin: &mut dyn FnMut() -> Result<(), Failure>,
    end: &mut dyn FnMut() -> Result<(), Failure>,
) -> Outcome {
    let audit = Path::new("/tmp").join(name).join("audit.jsonl");
    let line = Line::new(name, &setting(EJECTOR, &audit))?;
    Ok(pass_through(&line, Trouble { device: "camera", begin, end })?.told)
}

fn camera_unplugged() -> Outcome {
    // vivid connects its camera again when the last program has closed it: this one holds it off.
    let holdout = std::cell::RefCell::new(None);
    let begin = &mut || {
        *holdout.borrow_mut() = Some(v4l::Device::with_path(vivid::NODE)?);
        vivid::set(Control::Disconnect, 1)
    };
    let end = &mut || {
        drop(holdout.borrow_mut().take());
        Ok(())
    };
    camera_trouble("camera-unplugged", begin, end)
}

fn camera_gives_up() -> Outcome {
    camera_trouble("camera-gives-up", &mut || vivid::set(Control::FatalStreamingError, 1), &mut || Ok(()))
}

fn camera_silent() -> Outcome {
    let drop = |percent| move || vivid::set(Control::DroppedBuffers, percent);
    camera_trouble("camera-silent", &mut drop(100), &mut drop(0))
}

fn camera_drops() -> Outcome {
    let audit = Path::new("/tmp/camera-drops/audit.jsonl");
    // The driver's frames come into the program's own memory here.
    let line = Line::new("camera-drops", &Setting { camera: "buffers = \"own\"\n", ..setting(EJECTOR, audit) })?;
    let run = line.start()?;
    let mut belt = Belt::new(spacing(&line))?;
    vivid::set(Control::DroppedBuffers, 70)?;
    belt.feed_until(Monotonic::now() + 3 * PASSING)?;
    belt.clear(&line);
    vivid::set(Control::DroppedBuffers, 0)?;
    run.end()?;
    let parts = belt.recorded(line.records("part")?)?;
    let stop = line.records("stop")?;
    Ok(format!("of 70% of its frames dropped: {}; {}; {}", safe(&parts)?, stop[0]["counters"], line.verify()?))
}

fn adapter_unplugged() -> Outcome {
    let device = Gadget::answering(b"")?;
    let output = format!("kind = \"serial\"\nport = \"{PORT}\"\nmessage = \"R{{part}};\"\nrelease = \"-;\"");
    let audit = Path::new("/tmp/adapter/audit.jsonl");
    let line = Line::new("adapter", &setting(&output, audit))?;
    let mut heard = Vec::new();
    let begin = &mut || Ok(std::fs::write(PLUG, "0")?);
    let end = &mut || {
        heard.extend(device.heard_so_far()?);
        std::fs::write(PLUG, "1")?;
        Gadget::answering(b"").map(|_| ())
    };
    let seen = pass_through(&line, Trouble { device: "output", begin, end })?;
    // Before the next bad part needs it.
    hold!(
        seen.noticed_ms < MISSED_MS,
        "it was missed {:.0} ms after it was pulled out; {}",
        seen.noticed_ms,
        seen.told
    );
    heard.extend(device.heard_so_far()?);
    for (_, record) in &seen.parts {
        let is_heard = heard.contains(&format!("R{};", record["part"]));
        hold!(is_heard == (record["fate"] == "rejected"), "the device heard of it: {is_heard}; {record}; {heard:?}");
    }
    Ok(format!("{}; the device heard of each rejected part, and of no other", seen.told))
}

fn killed() -> Outcome {
    let audit = Path::new("/tmp/killed/audit.jsonl");
    let line = Line::new("killed", &Setting { output: EJECTOR, pulse_ms: 2000, audit, camera: "" })?;
    let edges = Edges::record()?;
    let run = line.start()?;
    // When the first bad part is ejected the second one is on its way, and the good one behind it is written down already.
    let mut belt = Belt::new(Duration::from_millis(700).max(line.pace))?;
    let since = Monotonic::now();
    [Truth::Edged, Truth::Edged, Truth::Good].into_iter().try_for_each(|part| belt.feed(part))?;
    edges.wait(REJECT, true, since, 2 * line.way())?;
    let before = REJECT.level()?;
    let at = run.program.signal("KILL")?;
    std::thread::sleep(Duration::from_millis(500));
    let beats = edges.of(HEARTBEAT, at)?;
    hold!(beats.last().is_none_or(|beat| beat.at.millis_since(at) < PROMISE_MS), "it beats on: {beats:?}");
    let levels = [REJECT, STOP_LINE, ALARM, HEARTBEAT].map(|line| line.level());
    let levels = levels.into_iter().collect::<Result<Vec<_>, _>>()?.join(", ");
    drop(run);
    let killed = line.verify()?;
    line.start()?.end()?;
    let [record] = &line.records("interrupted")?[..] else { return Err("no interrupted record".into()) };
    let open = record["open_parts"].as_array().ok_or("no open parts")?;
    hold!(open.contains(&1.into()), "the part on its way to the ejector is not told of: {record}");
    Ok(format!(
        "reject at {before} when killed; levels of reject, stop line, alarm, heartbeat afterwards, with gpio-sim's pulls: \
         {levels}; audit then: {killed}; the next run wrote: interrupted, open_parts {open:?}; {}",
        line.verify()?
    ))
}

fn stopped() -> Outcome {
    let audit = Path::new("/tmp/stopped/audit.jsonl");
    let line = Line::new("stopped", &setting(EJECTOR, audit))?;
    let edges = Edges::record()?;
    let run = line.start()?;
    let mut belt = Belt::new(spacing(&line))?;
    belt.feed_until(Monotonic::now() + PASSING)?;
    let at = run.program.signal("STOP")?;
    belt.feed_until(at + fault(&line))?;
    let last = edges.of(HEARTBEAT, at)?.last().map_or(0.0, |beat| beat.at.millis_since(at));
    hold!(last < PROMISE_MS, "the heartbeat changed {last:.1} ms after SIGSTOP");
    let on = run.program.signal("CONT")?;
    let beats = |since| Ok::<_, Failure>(edges.of(HEARTBEAT, since)?.first().map(|beat| beat.at));
    belt.feed_until(on + PASSING)?;
    let again = beats(on)?.ok_or("the heartbeat does not come back")?.millis_since(on);
    belt.feed(Truth::Good)?;
    belt.clear(&line);
    run.end()?;
    let parts = belt.recorded(line.records("part")?)?;
    hold!(parts.last().is_some_and(|(_, record)| record["fate"] == "passed"), "the last part: {:?}", parts.last());
    let raised = line.records("alarm")?;
    let faults = raised.iter().filter_map(|alarm| alarm["alarm"].as_str()).filter(|alarm| alarm.ends_with("-fault"));
    let faults = faults.collect::<Vec<_>>();
    hold!(faults.is_empty(), "a device is blamed: {raised:?}");
    Ok(format!(
        "heartbeat's last change {last:.1} ms after SIGSTOP, its next one {again:.0} ms after SIGCONT; no device is blamed; {}; {}",
        safe(&parts)?,
        line.verify()?
    ))
}

fn disk_full() -> Outcome {
    const DISK: &str = "/tmp/disk";
    let filling = Path::new(DISK).join("filling");
    shell(&format!("mkdir -p {DISK} && mount -t tmpfs -o size=256k small {DISK}"))?;
    let audit = Path::new(DISK).join("audit.jsonl");
    let line = Line::new("disk-full", &setting(EJECTOR, &audit))?;
    let begin = &mut || {
        let mut file = std::fs::File::create(&filling)?;
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        Ok(())
    };
    let end = &mut || Ok(std::fs::remove_file(&filling)?);
    Ok(pass_through(&line, Trouble { device: "audit", begin, end })?.told)
}

/// A file system of a block device is made read-only under open files, as the kernel does in an emergency, and is a person's to
/// write to again.
fn disk_read_only() -> Outcome {
    const DISK: &str = "/tmp/card";
    const DEVICE: &str = "/dev/ram0";
    shell(&format!("mkdir -p {DISK} && mke2fs {DEVICE} > /dev/null && mount -t ext4 {DEVICE} {DISK}"))?;
    let audit = Path::new(DISK).join("audit.jsonl");
    let line = Line::new("disk-read-only", &setting(EJECTOR, &audit))?;
    let options = || std::fs::read_to_string("/proc/mounts").map(|mounts| mounts.contains(&format!("{DISK} ext4 ro")));
    let begin = &mut || {
        std::fs::write("/proc/sysrq-trigger", "u")?;
        let end = Monotonic::now() + FAULT;
        while !options()? {
            hold!(Monotonic::now() < end, "{DISK} does not become read-only");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    };
    let end = &mut || shell(&format!("mount -o remount,rw {DISK}"));
    let seen = pass_through(&line, Trouble { device: "audit", begin, end })?;
    let faults = line.records("fault")?;
    let why = faults.iter().filter_map(|fault| fault["why"].as_str()).find(|why| why.contains("Read-only"));
    hold!(why.is_some(), "no fault tells of a disk that is read-only: {faults:?}");
    Ok(format!("{}; every part has its record", seen.told))
}

fn shell(command: &str) -> Result<(), Failure> {
    let status = std::process::Command::new("sh").args(["-c", command]).status()?;
    hold!(status.success(), "{command}: {status}");
    Ok(())
}
