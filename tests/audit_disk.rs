//! What an audit does when its program is killed, its machine loses power, its disk is full or becomes read-only.

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hgad::audit::{
    AuditLog, Kept, Kind, PartContext, Query, Removed, RunStart, Signer, Stored, Trust, Verified, Verifier, files,
    read_picture, verify,
};
use hgad::camera::Frame;
use hgad::config::{AuditConfig, PicturesConfig, RetentionConfig, RotationConfig, SigningConfig, SyncPolicy};
use hgad::digest::Digest;
use hgad::line::{Fate, PartId, PartRecord, Ticket, Verdict};
use hgad::time::{Monotonic, StampSource};
use image::{Rgb, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Names the folder that a child writes into.
const CHILD: &str = "HGAD_AUDIT_CHILD";
/// Names a file: while it is there, the shim fails.
const SICK: &str = "HGAD_SICK";

/// Says in words how a child keeps its log: see [`Mode`].
const MODE: &str = "HGAD_AUDIT_MODE";

/// A run has opened its log within so many microseconds, mostly.
const STARTING: u64 = 40_000;

/// How a log is kept.
#[derive(Debug, Clone, Copy, Default)]
struct Mode {
    /// Records are forced onto the disk in groups, as by default; else each at once.
    grouped: bool,
    /// By the key `key`.
    signed: bool,
    /// The pictures of all parts are kept, in the folder `pictures`, of which there is room for a few; and, of a signed log, a copy of each
    /// checkpoint in the file `copy`, as on another machine's disk: that loses no power.
    pictures: bool,
    /// Of its closed files there is room for a few.
    removed: bool,
}

/// So many logs are written in turns: see [`Log::all`].
const LOGS: usize = 3;

impl Mode {
    /// How one of many runs on each of those of [`Log::all`] keeps it: what a log is, it stays, and how it is forced onto the disk changes.
    fn of_run(number: usize, log: usize) -> Self {
        Mode { grouped: (number / LOGS).is_multiple_of(2), signed: log > 0, pictures: log == 1, removed: log == 2 }
    }

    fn words(self) -> String {
        let words = [
            ("grouped", self.grouped),
            ("signed", self.signed),
            ("pictures", self.pictures),
            ("removed", self.removed),
        ];
        words.iter().filter(|(_, is)| *is).map(|(word, _)| *word).collect::<Vec<_>>().join(" ")
    }

    fn read(words: &str) -> Self {
        let is = |word: &str| words.split(' ').any(|given| given == word);
        Mode { grouped: is("grouped"), signed: is("signed"), pictures: is("pictures"), removed: is("removed") }
    }

    fn config(self, folder: &Path) -> AuditConfig {
        AuditConfig {
            sync: if self.grouped { SyncPolicy::Group } else { SyncPolicy::EveryRecord },
            rotation: RotationConfig { bytes: Some(20_000), daily: false },
            retention: RetentionConfig { days: None, bytes: self.removed.then_some(30_000) },
            signing: self.signed.then(|| SigningConfig {
                key: folder.join("key"),
                former_keys: Vec::new(),
                checkpoint_copy: self.pictures.then(|| folder.join("copy")),
                witness: None,
            }),
            pictures: self.pictures.then(|| PicturesConfig {
                sample: 1.0,
                keep_bytes: Some(2_000),
                ..PicturesConfig::in_folder(folder.join("pictures"))
            }),
            ..AuditConfig::in_file(folder.join("audit.jsonl"))
        }
    }

    /// How long a run of this kind goes on at most before its end: a group is written every 200 ms.
    fn patience(self, random: &mut ChaCha8Rng) -> Duration {
        Duration::from_micros(random.random_range(0..if self.grouped { 700_000 } else { 30_000 }))
    }
}

/// A log that many runs write, each of which comes to a bad end.
struct Log {
    folder: tempfile::TempDir,
    /// The numbers of the records that were there when it was checked last and that a run was given, and how many records there were in all.
    known: Vec<u64>,
    end: u64,
    /// Records that are on the disk for certain.
    promised: u64,
    /// The same of each way to force them there: grouped, and each at once.
    by_way: [u64; 2],
}

impl Log {
    /// A plain log, a signed one with pictures, and a signed one whose oldest files the line removes.
    fn all() -> [Log; LOGS] {
        [(); LOGS].map(|()| {
            let folder = tempfile::tempdir().unwrap();
            Signer::generate("bench/line-1").unwrap().write(&folder.path().join("key")).unwrap();
            Log { folder, known: Vec::new(), end: 0, promised: 0, by_way: [0, 0] }
        })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// A run said that so many records were on disk when its end came.
    fn promise(&mut self, on_disk: u64, mode: Mode) {
        self.promised += on_disk;
        self.by_way[usize::from(mode.grouped)] += on_disk;
    }

    /// All that was promised is there, as it was written and, of a signed log, as it was signed.
    fn check(&mut self, mode: Mode, what: &str) {
        let file = self.file();
        let verified = check(&file, &trust(self.folder.path(), mode));
        let (found, promised) = (self.found(verified.absent), self.promised);
        assert!(found >= promised, "{what} ({}): {found} records are there, {promised} were promised", mode.words());
        match mode.removed {
            // Who took them is known, whatever moment the end came in.
            true => assert_eq!(verified.removed.is_some(), verified.absent > 0, "{what}: {verified:?}"),
            false => carry_away(&file),
        }
        (self.known, self.end) = (given(&file), verified.absent + verified.lines);
        self.promised = self.known.len() as u64;
    }

    /// How many records are there that a run was given, or were before the line removed them, which are the first `absent` ones. What came
    /// and went since the last check is taken for such.
    fn found(&self, absent: u64) -> u64 {
        let removed = self.known.iter().filter(|record| **record < absent).count() + given(&self.file()).len();
        removed as u64 + absent.saturating_sub(self.end)
    }

    /// The line removed some of its files.
    fn removes(&self, mode: Mode) {
        let verified = check(&self.file(), &trust(self.folder.path(), mode));
        assert_eq!(verified.removed.is_some(), mode.removed, "{verified:?}");
    }

    /// The test tried something: in each way records came onto the disk, and of a signed log some are signed.
    fn is_tried(&self, mode: Mode) {
        assert!(self.by_way.iter().all(|records| *records > 0), "{:?}", self.by_way);
        let verified = check(&self.file(), &trust(self.folder.path(), mode));
        assert_eq!(verified.signed.is_some(), mode.signed, "{verified:?}");
        assert_eq!(!given_of(&self.file(), &["pictures-removed"]).is_empty(), mode.pictures);
    }
}

/// What somebody knows who has the public key and the copy of the newest checkpoint.
fn trust(folder: &Path, mode: Mode) -> Trust {
    if !mode.signed {
        return Trust::default();
    }
    let key = Some(Verifier::open(&folder.join("key.pub")).unwrap());
    Trust { key, former: Vec::new(), kept: Kept::read(&folder.join("copy")).into_iter().collect() }
}

/// The numbers of the records that are there and that a run was given, other than those that it makes itself.
fn given(log: &Path) -> Vec<u64> {
    given_of(log, &["part", "picture", "pictures-removed", "log-removed", "note"])
}

/// What the notes say that a run is given by what looks after its closed files and its pictures.
const GIVEN: [&str; 4] = [
    "to be removed, and could not be",
    "it cannot be compressed",
    "no closed file of the log is removed",
    "closed files of the log are not removed",
];

/// Those of these kinds. Of notes those count that a run was given.
fn given_of(log: &Path, kinds: &[&str]) -> Vec<u64> {
    let mut found = Vec::new();
    let looked = Query::default().each(log, |_, entry, _| {
        let is_given = entry.text.as_ref().is_none_or(|text| GIVEN.iter().any(|told| text.contains(told)));
        found.extend((kinds.contains(&entry.kind.as_str()) && is_given).then_some(entry.seq));
        Ok(true)
    });
    looked.unwrap();
    found
}

/// How often a writer is killed; more often by hand.
fn kills() -> usize {
    std::env::var("HGAD_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(48)
}

fn run_start() -> RunStart {
    RunStart {
        line: "bench".into(),
        dry_run: false,
        config: None,
        camera: "none".into(),
        output: "none".into(),
        bundle: Digest::zero(),
        approvals: Vec::new(),
        drift: Default::default(),
        calibrations: Default::default(),
    }
}

fn part(number: u64) -> PartRecord {
    PartRecord {
        part: PartId(number),
        lane: None,
        ticket: Some(Ticket(number)),
        seen: None,
        frame: Some(number),
        origin: "camera".into(),
        class: "washer".into(),
        captured: Monotonic::now(),
        stamp: StampSource::Received,
        planned: Monotonic::now(),
        judgement: None,
        picture_fault: None,
        latency: None,
        views: Vec::new(),
        verdict: Verdict::Pass,
        slack_ms: 1.0,
        fired: None,
        confirmed: None,
        challenge: false,
        fate: Fate::Passed,
    }
}

/// A picture of some hundred bytes.
fn frame(number: u64) -> Arc<Frame> {
    Arc::new(Frame {
        number,
        captured: Monotonic::now(),
        stamp: StampSource::Received,
        origin: "camera".into(),
        product: None,
        image: RgbImage::from_pixel(8, 8, Rgb([number as u8, (number >> 8) as u8, 7])),
        original: None,
    })
}

/// Not a test: what a child of the tests below does, until it is killed. It says how many records are on disk.
#[test]
fn a_child_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let config = Mode::read(&std::env::var(MODE).unwrap_or_default()).config(Path::new(&folder));
    let log = AuditLog::open(&config, &run_start()).unwrap();
    if let Some(sick) = std::env::var_os(SICK) {
        std::fs::write(sick, "").unwrap();
    }
    for number in 0.. {
        if config.pictures.is_some() {
            log.saw(Ticket(number), true, &frame(number));
        }
        log.part(&part(number), PartContext { bundle: Digest::zero(), dry_run: false }).unwrap();
        // One write a line, so that the other side never reads a part of one.
        let told = format!("\nON DISK {}\n", log.on_disk());
        // SAFETY: the buffer is as long as is said; a pipe that nobody reads ends the child, which is what it is for.
        unsafe { libc::write(1, told.as_ptr().cast(), told.len()) };
        // A disk that fails takes nothing for half a second, and all must find room until then.
        if number % 8 == 0 || std::env::var_os(SICK).is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A writer that can be killed.
struct Writer {
    child: Child,
    /// What it says on standard error.
    told: PathBuf,
}

impl Writer {
    fn start(folder: &Path, mode: Mode, shim: Option<&Shim>) -> Self {
        Self::on_a_sick_disk(folder, mode, shim, None)
    }

    /// With `sick`, a seed, half of the steps in the folder fail once the log is open.
    fn on_a_sick_disk(folder: &Path, mode: Mode, shim: Option<&Shim>, sick: Option<usize>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_child_writes_until_it_is_killed", "--nocapture", "--test-threads=1"]);
        let told = folder.join("told");
        let stderr = std::fs::File::create(&told).unwrap();
        command.env(CHILD, folder).env(MODE, mode.words()).stdout(Stdio::piped()).stderr(stderr);
        if let Some(shim) = shim {
            shim.watch(&mut command, folder);
            if let Some(sick) = sick {
                let _ = std::fs::remove_file(&shim.sick);
                command.env(SICK, &shim.sick).env("HGAD_FAILS", sick.to_string());
            }
        }
        Writer { child: command.spawn().unwrap(), told }
    }

    /// Kills it after `patience`, once it has written at all; gives how many records it said were on disk.
    fn kill_after(mut self, patience: Duration) -> u64 {
        let mut out = BufReader::new(self.child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("ON DISK") {
            line.clear();
            let is_there = out.read_line(&mut line).unwrap() > 0;
            assert!(is_there, "the child ended by itself: {}", std::fs::read_to_string(&self.told).unwrap());
        }
        self.end_after(patience, out, line).unwrap()
    }

    /// Kills it so long after it was started, whether it has opened its log by then or not; gives the same.
    fn kill_in_its_start(mut self, patience: Duration) -> u64 {
        let out = BufReader::new(self.child.stdout.take().unwrap());
        self.end_after(patience, out, String::new()).unwrap_or_default()
    }

    fn end_after(mut self, patience: Duration, mut out: BufReader<ChildStdout>, said: String) -> Option<u64> {
        let reading = std::thread::spawn(move || {
            let mut said = said;
            out.read_to_string(&mut said).unwrap();
            said
        });
        std::thread::sleep(patience);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let said = reading.join().unwrap();
        // The last line may be there in part.
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().rev().find_map(|line| line.strip_prefix("ON DISK ")?.parse().ok())
    }

    /// The end of one of many runs: mostly while it writes, a quarter of them while it starts. Until there is a log the first ones write.
    fn kill(self, number: usize, mode: Mode, random: &mut ChaCha8Rng) -> u64 {
        match number % 16 {
            12.. => self.kill_in_its_start(Duration::from_micros(random.random_range(0..STARTING))),
            _ => self.kill_after(mode.patience(random)),
        }
    }
}

/// What stands in the log; an unfinished last line is what the next run repairs.
fn check(log: &Path, trust: &Trust) -> Verified {
    match verify(log, trust) {
        Ok(verified) => verified,
        Err(error) => {
            assert!(error.to_string().contains("is cut off"), "{}\n{:?}", error.report(), files(log).unwrap());
            // The newest one has a number of its own when the end came while the file was closed.
            let newest = files(log).unwrap().pop().unwrap().path;
            let text = std::fs::read(&newest).unwrap();
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            let copy = tempfile::tempdir().unwrap();
            for file in files(log).unwrap() {
                std::fs::copy(&file.path, copy.path().join(file.path.file_name().unwrap())).unwrap();
            }
            std::fs::write(copy.path().join(newest.file_name().unwrap()), &text[..whole]).unwrap();
            verify(&copy.path().join("audit.jsonl"), trust).unwrap()
        }
    }
}

#[test]
fn a_writer_that_is_killed_at_any_moment_loses_nothing_that_was_on_disk() {
    let mut logs = Log::all();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    for kill in 0..kills() {
        let mode = Mode::of_run(kill, kill % LOGS);
        let log = &mut logs[kill % LOGS];
        let writer = Writer::start(log.folder.path(), mode, None);
        log.promise(writer.kill(kill, mode, &mut random), mode);
        log.check(mode, &format!("kill {kill}"));
    }
    (0..LOGS).for_each(|log| logs[log].is_tried(Mode::of_run(0, log)));
    (0..LOGS).for_each(|log| logs[log].removes(Mode::of_run(0, log)));
}

#[test]
fn a_run_that_finds_no_room_leaves_the_unfinished_line_of_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let run = || AuditLog::open(&AuditConfig::in_file(log.clone()), &run_start()).unwrap().close().unwrap();
    run();
    let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    file.write_all(b"{\"seq\":1,\"prev\":\"and then the power").unwrap();
    let found = std::fs::read(&log).unwrap();
    // No file may become larger than so many blocks of 512 bytes, of which the last one has too little room for a run's start.
    let blocks = found.len().div_ceil(512);
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" --exact a_child_writes_until_it_is_killed");
    let mut child = Command::new("sh");
    child.arg("-c").arg(script).arg(std::env::current_exe().unwrap()).env(CHILD, folder.path());
    let output = child.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("File too large"), "{told}");
    assert!(std::fs::read(&log).unwrap() == found, "the file is as it was found");
    // So it is told of once there is room.
    run();
    let lines = std::fs::read_to_string(&log).unwrap();
    assert!(lines.lines().nth(1).unwrap().contains("\"kind\":\"repaired\""), "{lines}");
}

/// A log of thousands of runs is read again and again: its older files go. The newest one stays, which has a number of its own
/// when the end came while the file was closed, and the one before it, whose last line is a signed log's newest checkpoint.
fn carry_away(log: &Path) {
    let mut older = files(log).unwrap();
    older.truncate(older.len().saturating_sub(2));
    if older.len() > 6 {
        // One that was just compressed when the end came is there twice, and told of once.
        let twice = older.iter().flat_map(|file| [file.path.clone(), file.path.with_added_extension("gz")]);
        twice.for_each(|path| std::fs::remove_file(path).unwrap_or_default());
    }
}

/// What was forced onto the disk, as the shim saw it, or survived a power cut: length by file.
fn synced(notes: &Path) -> HashMap<u64, u64> {
    let bytes = std::fs::read(notes).unwrap_or_default();
    let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
    bytes.chunks_exact(16).map(|note| (number(&note[..8]), number(&note[8..]))).collect()
}

const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
enum { WELL, FAILS, FAILS_BUT_IS_DONE };
/* What becomes of this step: on a disk that is sick it fails half of the time, in one of these two ways. */
static int fails(void) {
    static unsigned int seed;
    char *sick = getenv("HGAD_SICK");
    if (!sick || access(sick, F_OK)) return WELL;
    if (!seed) seed = 1 + (unsigned int)atoi(getenv("HGAD_FAILS"));
    int chance = rand_r(&seed) % 4;
    return chance < 2 ? WELL : chance - 1;
}
/* Writes down how long a file was when it was forced onto the disk. */
static void note(int fd, off_t size) {
    struct stat found;
    if (fstat(fd, &found) || !S_ISREG(found.st_mode)) return;
    int notes = open(getenv("HGAD_SYNCED"), O_WRONLY | O_CREAT | O_APPEND, 0644);
    uint64_t pair[2] = { found.st_ino, (uint64_t)size };
    if (write(notes, pair, sizeof pair) != sizeof pair) abort();
    close(notes);
}
static off_t length(int fd) { struct stat found; return fstat(fd, &found) ? 0 : found.st_size; }
static int is_folder(int fd) { struct stat found; return !fstat(fd, &found) && S_ISDIR(found.st_mode); }
/* The files' names: a line for each, and an empty one. */
static size_t listing(char *text, size_t room) {
    size_t used = 0;
    DIR *folder = opendir(getenv("HGAD_FOLDER"));
    struct dirent *entry;
    while ((entry = readdir(folder))) {
        struct statx found;
        if (strncmp(entry->d_name, "audit", 5) || used + 300 > room) continue;
        if (statx(dirfd(folder), entry->d_name, 0, STATX_INO | STATX_BTIME, &found)) continue;
        used += (size_t)sprintf(text + used, "%llu.%lld %s\n", (unsigned long long)found.stx_ino,
                                found.stx_btime.tv_sec * 1000000000LL + found.stx_btime.tv_nsec, entry->d_name);
    }
    closedir(folder);
    text[used++] = '\n';
    return used;
}
static void keep(const char *text, size_t length, int only) {
    char *names = getenv("HGAD_NAMES"), new[4096];
    snprintf(new, sizeof new, "%s.new", names);
    int file = open(only ? new : names, O_WRONLY | O_CREAT | (only ? O_TRUNC : O_APPEND), 0644);
    if (write(file, text, length) != (ssize_t)length) abort();
    close(file);
    if (only && rename(new, names)) abort();
}
int fsync(int fd) {
    static char text[1 << 16];
    int (*really)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    off_t size = length(fd);
    if (!is_folder(fd)) {
        int result = really(fd);
        if (!result) note(fd, size);
        return result;
    }
    pthread_mutex_lock(&one);
    size_t used = listing(text, sizeof text);
    int failed = fails() != WELL, result = failed ? -1 : really(fd);
    if (!result) keep(text, used, 1);
    pthread_mutex_unlock(&one);
    if (failed) errno = EIO;
    return result;
}
int fdatasync(int fd) {
    off_t size = length(fd);
    int result = ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
    if (!result) note(fd, size);
    return result;
}
/* A file of the log keeps another name, under which it comes back where the power goes before the folder is forced onto the disk. */
int unlink(const char *path) {
    static char text[1 << 16];
    static int count;
    int (*really)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    const char *name = strrchr(path, '/'), *folder = getenv("HGAD_FOLDER");
    size_t length = strlen(folder);
    if (!name || (size_t)(name - path) != length || strncmp(path, folder, length) || strncmp(name + 1, "audit", 5)) return really(path);
    char aside[4096];
    pthread_mutex_lock(&one);
    snprintf(aside, sizeof aside, "%s/gone-%d-%d", folder, (int)getpid(), count++);
    int linked = link(path, aside), result = really(path), why = errno;
    if (!result && !linked) keep(text, listing(text, sizeof text), 0);
    pthread_mutex_unlock(&one);
    if (result) errno = why;
    return result;
}
int renameat2(int from, const char *old, int to, const char *new, unsigned int flags) {
    static char text[1 << 16];
    pthread_mutex_lock(&one);
    int fate = fails(), result = -1, why = EIO;
    if (fate != FAILS) {
        result = ((int (*)(int, const char *, int, const char *, unsigned int))dlsym(RTLD_NEXT, "renameat2"))(from, old, to, new, flags);
        why = result ? errno : EIO;
        if (!result) keep(text, listing(text, sizeof text), 0);
        if (fate != WELL) result = -1;
    }
    pthread_mutex_unlock(&one);
    if (result) errno = why;
    return result;
}
"#;

/// What sees all that is forced onto the disk, and may fail.
struct Shim {
    library: PathBuf,
    /// How long each file was when it was forced onto the disk.
    notes: PathBuf,
    /// The files' names when the folder was, and after each step since.
    names: PathBuf,
    sick: PathBuf,
}

impl Shim {
    /// Compiles it; `None` where there is no C compiler, which the test says.
    fn new(folder: &Path) -> Option<Self> {
        let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
        std::fs::write(&source, SHIM).unwrap();
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).status();
        match compiled {
            Ok(status) if status.success() => {
                let [notes, names, sick] = ["synced", "names", "sick"].map(|name| folder.join(name));
                Some(Shim { library, notes, names, sick })
            }
            _ => {
                eprintln!("skipped: there is no C compiler");
                None
            }
        }
    }
}

impl Shim {
    /// One for each of the logs, which sees what is forced onto the disk of it alone.
    fn of(logs: &[Log; LOGS]) -> Option<Vec<Shim>> {
        logs.iter().map(|log| Shim::new(log.folder.path())).collect()
    }

    /// Lets it see what the command forces onto the disk.
    fn watch(&self, command: &mut Command, folder: &Path) {
        command.env("LD_PRELOAD", &self.library).env("HGAD_SYNCED", &self.notes);
        command.env("HGAD_NAMES", &self.names).env("HGAD_FOLDER", folder);
    }
}

/// A file whatever its name, as the shim writes it: a number is given again, so the moment in which the file was made belongs to it.
fn which(path: &Path) -> String {
    let found = path.metadata().unwrap();
    let made = found.created().map_or(0, |made| made.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos());
    format!("{}.{made}", found.ino())
}

/// The machine loses its power: of the files' new names, and of those that are gone, some have reached the disk.
fn lose_names(folder: &Path, names: &Path, random: &mut ChaCha8Rng) {
    let text = std::fs::read_to_string(names).unwrap_or_default();
    let _ = std::fs::remove_file(names);
    let listings = text.split_inclusive("\n\n").filter(|listing| listing.ends_with("\n\n")).collect::<Vec<_>>();
    let chosen = listings.get(random.random_range(0..=listings.len()));
    let mut found = HashMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // What was removed comes back with its name or not at all; what has one has no other.
        if name.starts_with("gone-") && (chosen.is_none() || path.metadata().unwrap().nlink() > 1) {
            std::fs::remove_file(path).unwrap();
        } else if chosen.is_some() && (name.starts_with("audit") || name.starts_with("gone-")) {
            let (which, aside) = (which(&path), folder.join(format!("aside-{}", found.len())));
            std::fs::rename(&path, &aside).unwrap();
            found.insert(which, aside);
        }
    }
    for line in chosen.iter().flat_map(|chosen| chosen.lines()).filter(|line| !line.is_empty()) {
        let (which, name) = line.split_once(' ').unwrap();
        if let Some(aside) = found.remove(which) {
            std::fs::rename(aside, folder.join(name)).unwrap();
        }
    }
    found.values().for_each(|aside| std::fs::remove_file(aside).unwrap());
}

/// The machine loses its power: of what was not forced onto the disk some is there, some is zeros, and the rest is gone.
fn lose_power(folder: &Path, notes: &Path, random: &mut ChaCha8Rng) {
    let synced = synced(notes);
    // What is there once the power is back is on the disk.
    let _ = std::fs::remove_file(notes);
    let mut left = std::fs::OpenOptions::new().create(true).append(true).open(notes).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_string_lossy().starts_with("audit") {
            continue;
        }
        let found = path.metadata().unwrap();
        let safe = synced.get(&found.ino()).copied().unwrap_or(0).min(found.len());
        let kept = random.random_range(safe..=found.len());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(kept as usize);
        if kept > safe && random.random_bool(0.5) {
            let from = random.random_range(safe..kept) as usize;
            bytes[from..].fill(0);
        }
        // In its place: the file is the same one to who wrote down its number.
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        left.write_all(&[found.ino().to_ne_bytes(), kept.to_ne_bytes()].concat()).unwrap();
    }
}

#[test]
fn a_power_cut_loses_nothing_that_was_on_disk() {
    let mut logs = Log::all();
    let Some(shims) = Shim::of(&logs) else { return };
    let mut random = ChaCha8Rng::seed_from_u64(12);
    for cut in 0..kills() {
        let (mode, shim) = (Mode::of_run(cut, cut % LOGS), &shims[cut % LOGS]);
        let log = &mut logs[cut % LOGS];
        let writer = Writer::start(log.folder.path(), mode, Some(shim));
        log.promise(writer.kill(cut, mode, &mut random), mode);
        lose_names(log.folder.path(), &shim.names, &mut random);
        lose_power(log.folder.path(), &shim.notes, &mut random);
        log.check(mode, &format!("power cut {cut}"));
    }
    (0..LOGS).for_each(|log| logs[log].is_tried(Mode::of_run(0, log)));
    (0..LOGS).for_each(|log| logs[log].removes(Mode::of_run(0, log)));
}

/// Of what the log says, some is lost; what was removed is gone, as on a file system that brings that to the disk at once. Who has the key
/// believes no record that nobody signed.
#[test]
fn whatever_moment_the_power_goes_a_signed_record_tells_who_removed_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    Signer::generate("bench/line-1").unwrap().write(&folder.path().join("key")).unwrap();
    let Some(shim) = Shim::new(folder.path()) else { return };
    let (log, pictures) = (folder.path().join("audit.jsonl"), folder.path().join("pictures"));
    let mut random = ChaCha8Rng::seed_from_u64(14);
    let (mut gone, mut there) = (0, 0);
    for cut in 0..kills() {
        let mode = Mode { grouped: cut % 2 == 0, signed: true, pictures: true, ..Mode::default() };
        let writer = Writer::start(folder.path(), mode, Some(&shim));
        writer.kill_after(Duration::from_micros(random.random_range(0..300_000)));
        lose_names(folder.path(), &shim.names, &mut random);
        lose_power(folder.path(), &shim.notes, &mut random);
        let unvouched = check(&log, &trust(folder.path(), mode)).unvouched();
        let removed = Removed::of(&log, &pictures, &Query { unvouched, ..Query::default() }).unwrap();
        Query::of_kind(Kind::Part.as_str())
            .each_part(&log, |part, run| {
                let Some(picture) = part.picture.as_ref().filter(|picture| picture.file.is_some()) else {
                    return Ok(());
                };
                // Nobody is accused of a run of which nothing is left.
                std::fs::create_dir_all(pictures.join(picture.run().unwrap())).unwrap();
                match read_picture(&pictures, picture).unwrap() {
                    Stored::Whole(_) => there += 1,
                    Stored::Gone(why) => {
                        gone += 1;
                        let is_told = removed.explains(part);
                        assert!(is_told, "power cut {cut}: {why}, and the log does not tell who removed it ({run:?})");
                    }
                    other => panic!("power cut {cut}: {other:?}"),
                }
                Ok(())
            })
            .unwrap();
    }
    assert!(gone > 0 && there > 0, "{gone} gone, {there} there");
}

/// Files get no new names, and the folder is not forced onto the disk, now and then; the writer is killed in between, and every other time
/// the machine loses its power too.
#[test]
fn a_file_that_is_closed_on_a_sick_disk_loses_nothing_that_was_on_disk() {
    let mut logs = Log::all();
    let Some(shims) = Shim::of(&logs) else { return };
    let mut random = ChaCha8Rng::seed_from_u64(13);
    for kill in 0..kills() {
        let (mode, shim) = (Mode::of_run(kill, kill % LOGS), &shims[kill % LOGS]);
        let log = &mut logs[kill % LOGS];
        let writer = Writer::on_a_sick_disk(log.folder.path(), mode, Some(shim), Some(kill));
        log.promise(writer.kill_after(Duration::from_micros(random.random_range(0..1_500_000))), mode);
        // Each log and each way to force it onto the disk comes to both ends.
        if (kill / (2 * LOGS)).is_multiple_of(2) {
            lose_names(log.folder.path(), &shim.names, &mut random);
            lose_power(log.folder.path(), &shim.notes, &mut random);
        }
        log.check(mode, &format!("kill {kill}"));
    }
    (0..LOGS).for_each(|log| logs[log].is_tried(Mode::of_run(0, log)));
}

/// A file system on which a line keeps its audit.
struct Disk {
    /// Mounts it at `$D`; ends with 77 where that cannot be.
    mount: &'static str,
    /// How to be allowed to.
    unshare: &'static [&'static str],
}

/// Half a megabyte that is full but for a few kilobytes.
const FULL: Disk = Disk {
    mount: "mount -t tmpfs -o size=512k none $D || exit 77\nhead -c 480k /dev/zero > $D/ballast\n",
    unshare: &["--map-root-user", "--mount"],
};

/// An ext4 that becomes read-only at the first error, as that of a failing card does; `$SICK` is what brings it one.
const FAILING: Disk = Disk {
    mount: "head -c 8M /dev/zero > $D.img\nmkfs.ext4 -q $D.img || exit 77\n\
            mount -o loop,errors=remount-ro $D.img $D || exit 77\n\
            SICK=/sys/fs/ext4/$(basename $(findmnt -no SOURCE $D))/trigger_fs_error\n[ -w $SICK ] || exit 77\n",
    unshare: &["--mount"],
};

/// A line on such a disk; `script` runs beside it, with `$D` the file system and `$PID` the line. Gives the exit code, the log and
/// stderr; `None` where file systems cannot be mounted.
fn on_a_small_disk(
    disk: &Disk,
    audit: &str,
    frames: u32,
    script: &str,
) -> Option<(i32, Vec<serde_json::Value>, String)> {
    let bench = common::Bench::new();
    std::fs::create_dir(bench.path("frames")).unwrap();
    std::fs::create_dir(bench.path("disk")).unwrap();
    (0..4).for_each(|number| bench.save(&format!("frames/{number}.png"), &common::normal_part(0, number)));
    let config = format!(
        "format_version = 1\n[line]\nname = \"bench\"\nclass = \"red\"\nmodel = \"bundle\"\n\
         calibration = \"calibration/red.toml\"\ntravel_ms = 100\npulse_ms = 20\ntolerance_ms = 2000\n\
         [camera]\nkind = \"folder\"\npath = \"frames\"\nrate = 50\nrepeat = {}\n[output]\nkind = \"none\"\n\
         [audit]\nfile = \"disk/audit.jsonl\"\n{audit}",
        frames / 4
    );
    std::fs::write(bench.path("line.toml"), config).unwrap();
    let whole = format!(
        "D={0}/disk\n{2}\
         {1} run --config {0}/line.toml > {0}/out 2> {0}/err &\nPID=$!\n{script}\nwait $PID\nCODE=$?\n\
         cp $D/audit.jsonl {0}/copy.jsonl\nexit $CODE\n",
        bench.path("").display(),
        env!("CARGO_BIN_EXE_hgad"),
        disk.mount
    );
    let output = Command::new("unshare").args(disk.unshare).args(["sh", "-c", &whole]).output();
    let output = match output {
        Ok(output) if !matches!(output.status.code(), Some(77 | 1) if !bench.path("copy.jsonl").exists()) => output,
        _ => {
            eprintln!("skipped: no file system can be mounted here");
            return None;
        }
    };
    let stderr = std::fs::read_to_string(bench.path("err")).unwrap_or_default();
    Some((output.status.code().unwrap_or(-1), common::records(&bench.path("copy.jsonl")), stderr))
}

/// Waits for the alarm, or for the line's end.
const UNTIL_ALARMED: &str = "while kill -0 $PID && ! grep -q 'alarm audit-fault' $D/../err; do sleep 0.05; done\n";

fn count(records: &[serde_json::Value], kind: &str) -> usize {
    records.iter().filter(|record| record["kind"] == kind).count()
}

#[test]
fn a_full_disk_is_an_alarm_and_nothing_is_lost_once_there_is_room() {
    let script = format!("{UNTIL_ALARMED}sleep 0.5\nrm $D/ballast");
    let Some((code, records, stderr)) = on_a_small_disk(&FULL, "", 200, &script) else { return };
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("No space left"), "{stderr}");
    assert_eq!((count(&records, "part"), count(&records, "lost")), (200, 0));
    let alarms = records.iter().filter(|record| record["alarm"] == "audit-fault" && record["raised"] == true).count();
    assert!(alarms >= 1 && count(&records, "disk-pressure") >= 1, "the alarm is in the log too");
}

#[test]
fn a_disk_that_stays_full_stops_the_line_after_so_many_records() {
    let Some((code, records, stderr)) = on_a_small_disk(&FULL, "keep_records = 40\n", 2000, "") else { return };
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("the line stops: decisions can no longer be written down"), "{stderr}");
    let written = count(&records, "part");
    assert!(written > 0 && written < 1000, "{written}");
}

#[test]
fn a_line_that_may_go_on_counts_what_it_lost() {
    let script = format!("{UNTIL_ALARMED}sleep 2\nrm $D/ballast");
    let audit = "keep_records = 20\nwhen_full = \"count\"\n";
    let Some((code, records, stderr)) = on_a_small_disk(&FULL, audit, 400, &script) else { return };
    assert_eq!(code, 3, "records were lost: {stderr}");
    let lost =
        records.iter().filter(|record| record["kind"] == "lost").map(|record| record["records"].as_u64().unwrap());
    let lost = lost.sum::<u64>();
    assert!(lost > 0, "{stderr}");
    let parts = count(&records, "part") as u64;
    assert!(parts < 400 && parts + lost >= 400, "{parts} written, {lost} lost");
}

#[test]
fn a_disk_that_becomes_read_only_is_an_alarm_and_stops_the_line_after_so_many_records() {
    let script = "while kill -0 $PID && ! tail -n +24 $D/audit.jsonl 2> $D.none | grep -q .; do sleep 0.05; done\n\
                  echo 1 > $SICK\n";
    let Some((code, records, stderr)) = on_a_small_disk(&FAILING, "keep_records = 40\n", 2000, script) else { return };
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("Read-only file system") && stderr.contains("alarm audit-fault"), "{stderr}");
    assert!(stderr.contains("the line stops: decisions can no longer be written down"), "{stderr}");
    // What was on disk is there, line by line; what came after it was kept in memory, and is counted in the error.
    let written = count(&records, "part");
    assert!((20..1000).contains(&written), "{written}");
    assert!(records.iter().enumerate().all(|(place, record)| record["seq"] == place), "the chain has no gap");
}
