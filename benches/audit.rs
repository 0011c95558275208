//! What it costs to write decisions down, check them and find them again: `cargo bench --bench audit`.
//!
//! The log is signed, and each record has the digest of its frame. `HGAD_RECORDS` says how many records the log gets that is checked and
//! searched (200,000). It is made in the folder `HGAD_FOLDER`, which must be there, and kept with its key (`bench.key.pub`), so that the commands can
//! be measured on it; or in a folder that is removed again. Ratios are of one run, beside a plain `write` of the same lines.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hgad::audit::{AuditLog, PartContext, Query, Range, RunStart, Signer, Trust, files, verify};
use hgad::camera::Frame;
use hgad::config::{AuditConfig, RotationConfig, SigningConfig, SyncPolicy};
use hgad::digest::Digest;
use hgad::line::{Evidence, Fate, Judgement, Latency, PartId, PartRecord, Ticket, Verdict};
use hgad::time::{Monotonic, StampSource};
use image::{Rgb, RgbImage};

/// The key's file, in the folder.
const KEY: &str = "bench.key";
const CONTEXT: PartContext = PartContext { bundle: Digest::zero(), dry_run: false };
/// Records that are written with a sync each.
const SYNCED: u64 = 2_000;
/// So many frames wait for their digests at most: beyond those that a log remembers, records would be without one.
const AHEAD: usize = 1024;
/// Parts a second of the line whose records are timed.
const RATE: f64 = 200.0;

fn part(number: u64) -> PartRecord {
    let (captured, ms) = (Monotonic::now(), Duration::from_millis);
    let score = (number.wrapping_mul(2_654_435_761) % 10_000) as f32 / 1_234.5;
    let rejects = number.is_multiple_of(100);
    let evidence = Evidence { levels: vec![score, score * 1.1, score * 0.7], place: Some((0.25, 0.75)) };
    PartRecord {
        part: PartId(number),
        lane: None,
        ticket: Some(Ticket(number)),
        seen: None,
        frame: Some(number),
        origin: "/dev/video0".into(),
        class: "product".into(),
        captured,
        stamp: StampSource::EndOfFrame,
        planned: captured + ms(350),
        judgement: Some(Judgement { score, threshold: 7.5, rejects, calibration: Digest::of("calibration"), evidence }),
        picture_fault: None,
        latency: Some(Latency { wait: ms(1), preprocess: ms(2), network: ms(13), score: ms(4), total: ms(20) }),
        views: Vec::new(),
        verdict: if rejects { Verdict::Reject } else { Verdict::Pass },
        slack_ms: 330.0 + f64::from(score),
        fired: rejects.then_some(captured + ms(350)),
        confirmed: None,
        challenge: false,
        fate: if rejects { Fate::Rejected } else { Fate::Passed },
    }
}

/// A frame that is no other one, of so many rows.
fn frame(number: u64, rows: u32) -> Arc<Frame> {
    let (captured, stamp, origin) = (Monotonic::now(), StampSource::EndOfFrame, String::new());
    let mut image = RgbImage::new(rows * 4 / 3, rows);
    image.put_pixel(0, 0, Rgb([number as u8, (number >> 8) as u8, (number >> 16) as u8]));
    Arc::new(Frame { number, captured, stamp, origin, product: None, image, original: None })
}

fn open(folder: &Path, change: impl FnOnce(&mut AuditConfig)) -> (AuditLog, PathBuf) {
    let run = RunStart {
        line: "bench".into(),
        dry_run: false,
        config: None,
        camera: "bench".into(),
        output: "none".into(),
        bundle: Digest::zero(),
        approvals: Vec::new(),
        drift: Default::default(),
        calibrations: Default::default(),
    };
    let mut config = AuditConfig::in_file(folder.join("audit.jsonl"));
    config.keep_records = 1 << 18;
    let (key, former_keys) = (folder.join(KEY), Vec::new());
    config.signing = Some(SigningConfig { key, former_keys, checkpoint_copy: None, witness: None });
    change(&mut config);
    (AuditLog::open(&config, &run).expect("the audit can be written"), config.file)
}

/// Writes `count` records as fast as the log takes them; gives how long it took until all were on disk.
fn fill(log: &AuditLog, count: u64) -> Duration {
    let start = Instant::now();
    let mut looked_at = VecDeque::new();
    for number in 0..count {
        while number - log.on_disk() > 1 << 17 {
            std::thread::sleep(Duration::from_micros(200));
            log.tend().expect("there is room");
        }
        let frame = frame(number, 8);
        log.saw(Ticket(number), true, &frame);
        looked_at.push_back(frame);
        // The log lets go of a frame when it has the digest.
        while looked_at.len() > AHEAD && looked_at.pop_front_if(|frame| Arc::strong_count(frame) == 1).is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        log.part(&part(number), CONTEXT).expect("there is room");
    }
    while log.on_disk() < count {
        std::thread::sleep(Duration::from_micros(200));
        log.tend().expect("there is room");
    }
    start.elapsed()
}

fn plain(folder: &Path, lines: &[String], sync: bool) -> Duration {
    let mut file = File::create(folder.join("plain")).expect("a file can be made");
    let start = Instant::now();
    for line in lines {
        file.write_all(line.as_bytes()).expect("the disk has room");
        if sync {
            file.sync_data().expect("the disk works");
        }
    }
    file.sync_data().expect("the disk works");
    start.elapsed()
}

fn throughput(folder: &Path, count: u64) {
    let (log, file) = open(folder, |_| {});
    let grouped = fill(&log, count);
    log.close().expect("all was written");
    let text = std::fs::read_to_string(&file).expect("the audit can be read");
    assert!(!text.contains("\"pixels_sha256\":null"), "each record has its digest");
    let lines = text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
    let beside = plain(folder, &lines, false);
    let rate = |count: u64, took: Duration| count as f64 / took.as_secs_f64();
    println!("bytes per part            {}", text.len() as u64 / lines.len() as u64);
    println!("{:<26}{:>10} records/s", "audit, sync every 200 ms", rate(count, grouped) as u64);
    println!("{:<26}{:>10} records/s", "plain write, one sync", rate(count, beside) as u64);
    println!("  the audit takes {:.1} times as long", grouped.as_secs_f64() / beside.as_secs_f64());
    std::fs::remove_file(&file).expect("it is there");
    let (log, file) = open(folder, |config| config.sync = SyncPolicy::EveryRecord);
    let synced = fill(&log, SYNCED);
    log.close().expect("all was written");
    let beside = plain(folder, &lines[..SYNCED as usize], true);
    println!("{:<26}{:>10} records/s", "audit, sync every record", rate(SYNCED, synced) as u64);
    println!("{:<26}{:>10} records/s", "plain write, sync each", rate(SYNCED, beside) as u64);
    println!("  the audit takes {:.2} times as long", synced.as_secs_f64() / beside.as_secs_f64());
    std::fs::remove_file(&file).expect("it is there");
}

/// What a line pays for each part, and how long it is until the record is on disk.
fn latency(folder: &Path, name: &str, sync: SyncPolicy) {
    let (log, file) = open(folder, |config| config.sync = sync);
    let (mut calls, mut durable) = (Vec::new(), Vec::new());
    let count = 1_000;
    let begun = Instant::now();
    for number in 0..count {
        let due = begun + Duration::from_secs_f64(number as f64 / RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (record, frame) = (part(number), frame(number, 480));
        let start = Instant::now();
        log.saw(Ticket(number), true, &frame);
        log.part(&record, CONTEXT).expect("there is room");
        calls.push(start.elapsed());
        if number % 10 == 0 {
            while log.on_disk() <= number {
                std::thread::sleep(Duration::from_micros(50));
                log.tend().expect("there is room");
            }
            durable.push(start.elapsed());
        }
    }
    let at = |times: &mut Vec<Duration>, q: f64| {
        times.sort();
        times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3
    };
    println!(
        "{name:<26}a part pays p50 {:.4} ms, p99 {:.4} ms; on disk after p50 {:.2} ms, p99 {:.2} ms",
        at(&mut calls, 0.5),
        at(&mut calls, 0.99),
        at(&mut durable, 0.5),
        at(&mut durable, 0.99)
    );
    log.close().expect("all was written");
    std::fs::remove_file(&file).expect("it is there");
}

/// From now on the peak of memory is that of what follows (proc(5), `clear_refs`).
fn forget_peak_memory() {
    std::fs::write("/proc/self/clear_refs", "5").expect("a process may reset its own peak");
}

/// Bytes of memory that this process has had at most, since that was reset.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn search(folder: &Path, count: u64) {
    let (log, file) = open(folder, |config| config.rotation = RotationConfig { bytes: Some(64_000_000), daily: false });
    let took = fill(&log, count);
    log.close().expect("all was written");
    println!("{count} records written in {:.1} s, closed files compressed beside it", took.as_secs_f64());
    let is_closed = |path: &Path| path.to_string_lossy().ends_with(".gz");
    while files(&file).expect("they can be listed").iter().any(|log| log.number.is_some() && !is_closed(&log.path)) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let files = files(&file).expect("they can be listed");
    let bytes = files.iter().map(|file| file.path.metadata().map_or(0, |found| found.len())).sum::<u64>();
    println!("  {} files, {:.1} MB, {} bytes per part", files.len(), bytes as f64 / 1e6, bytes / count);
    let key = Signer::open(&folder.join(KEY)).expect("it was made").verifier();
    let trust = Trust { key: Some(key), ..Trust::default() };
    forget_peak_memory();
    let before = peak_memory();
    let start = Instant::now();
    let verified = verify(&file, &trust).expect("it is whole");
    let rate = verified.lines as f64 / start.elapsed().as_secs_f64();
    println!("verify: {rate:.0} records/s, {:.1} s", start.elapsed().as_secs_f64());
    println!("  memory: {:.1} MB at most, {:.1} MB before", peak_memory() as f64 / 1e6, before as f64 / 1e6);
    forget_peak_memory();
    let timed = |name: &str, query: &Query| {
        let (mut found, start) = (0, Instant::now());
        let looked = query.each(&file, |_, _, _| {
            found += 1;
            Ok(true)
        });
        looked.expect("it can be read");
        println!("query {name}: {found} records in {:.3} s", start.elapsed().as_secs_f64());
    };
    let (mut first, mut last) = (None, None);
    for (which, place) in [(0, &mut first), (files.len() - 1, &mut last)] {
        let one = files[which].path.clone();
        let seen = Query::of_kind("part").each(&one, |_, entry, _| {
            *place = entry.time.parse::<jiff::Timestamp>().ok();
            Ok(which != 0)
        });
        seen.expect("it can be read");
    }
    let (first, last) = (first.expect("there is a part"), last.expect("there is a part"));
    timed("all rejects", &Query { verdict: Some("reject".into()), ..Query::of_kind("part") });
    let length = last.duration_since(first);
    let middle = first + length / 2;
    let range = Range { from: Some(middle), to: Some(middle + length / 1000) };
    timed("a thousandth of the time", &Query { range, ..Query::of_kind("part") });
    println!("  memory: {:.1} MB at most", peak_memory() as f64 / 1e6);
}

fn main() {
    let count = std::env::var("HGAD_RECORDS").ok().and_then(|count| count.parse().ok()).unwrap_or(200_000);
    let temporary = tempfile::tempdir().expect("a folder can be made");
    let folder = std::env::var_os("HGAD_FOLDER").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    Signer::generate("bench").and_then(|key| key.write(&folder.join(KEY))).expect("a key can be made");
    throughput(&folder, 100_000);
    latency(&folder, "sync every 200 ms", SyncPolicy::Group);
    latency(&folder, "sync every record", SyncPolicy::EveryRecord);
    search(&folder, count);
}
