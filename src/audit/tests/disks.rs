//! What the audit does on disks that are full, hang, fail to sync, or whose driver has a bug.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::*;
use crate::audit::copier::{self, Copier};
use crate::audit::deciders::Deciders;
use crate::audit::place::Place;
use crate::audit::record::Setting;
use crate::audit::rotation::{self, Rotation};
use crate::audit::tail::{End, Notary, Tail};
use crate::audit::writer::Writer;
use crate::config::RotationConfig;

/// Longer than any test takes: what is waited for happens sooner.
const EVER: Duration = Duration::from_secs(600);
const AT_ONCE: Duration = Duration::from_millis(20);
/// Records that are kept in memory.
const KEPT: usize = 4096;

#[derive(Default)]
struct State {
    /// What the disk holds for certain.
    safe: Vec<u8>,
    /// What the system holds, and the next sync brings to the disk.
    cached: Vec<u8>,
    room: usize,
    hangs: bool,
    panics: bool,
    failing_syncs: usize,
    /// Somebody moved the file that it holds.
    astray: bool,
    /// So many times it was looked whether somebody did.
    looks: usize,
    /// Whoever looks for that waits.
    hides: bool,
    /// Calls of `append` that began.
    appends: usize,
}

/// A disk that is as bad as a test wants it.
#[derive(Clone, Default)]
struct Disk(Arc<(Mutex<State>, Condvar)>);

impl Disk {
    fn new(change: impl FnOnce(&mut State)) -> Self {
        let disk = Disk::default();
        disk.change(|state| state.room = usize::MAX);
        disk.change(change);
        disk
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn wait_for(&self, condition: impl Fn(&State) -> bool) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |state| !condition(state)).unwrap());
    }

    fn writer(&self, sync: SyncPolicy, patience: Duration) -> Writer {
        let mut writer = Writer::start(sync, KEPT, patience).unwrap();
        writer.begin(self.tail(None));
        writer
    }

    fn tail(&self, notary: Option<Notary>) -> Tail {
        Tail::new(
            Box::new(self.clone()),
            End { link: Link::START, length: 0, signed: 0, signed_at: None },
            notary,
            None,
        )
    }

    /// What a check of the disk finds, once the machine has lost its power.
    fn verify(&self) -> Verified {
        self.verify_by(&Trust::default())
    }

    fn verify_by(&self, trust: &Trust) -> Verified {
        let folder = Folder::new();
        std::fs::write(folder.file(), &self.0.0.lock().unwrap().safe).unwrap();
        verify(&folder.file(), trust).unwrap()
    }
}

impl Store for Disk {
    /// A write that does not fit leaves a part behind, as a real one does.
    fn append(&mut self, new: &[u8]) -> std::io::Result<()> {
        self.change(|state| state.appends += 1);
        let mut state = self.0.1.wait_while(self.0.0.lock().unwrap(), |state| state.hangs).unwrap();
        if state.panics {
            drop(state);
            panic!("a bug in a driver");
        }
        let fits = new.len().min(state.room.saturating_sub(state.cached.len()));
        state.cached.extend_from_slice(&new[..fits]);
        match fits == new.len() {
            true => Ok(()),
            false => Err(std::io::Error::from_raw_os_error(libc::ENOSPC)),
        }
    }

    fn truncate(&mut self, length: u64) -> std::io::Result<()> {
        self.change(|state| state.cached.truncate(length as usize));
        Ok(())
    }

    fn rotate(&mut self, _: &Path, _: &[u8]) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn free(&self) -> Option<u64> {
        None
    }

    fn astray(&self) -> Option<String> {
        self.change(|state| state.looks += 1);
        let state = self.0.1.wait_while(self.0.0.lock().unwrap(), |state| state.hides).unwrap();
        state.astray.then(|| "moved".to_owned())
    }

    /// A sync that fails drops what it could not write, and the next one knows nothing of it.
    fn sync(&mut self) -> std::io::Result<()> {
        let mut state = self.0.0.lock().unwrap();
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            let safe = state.safe.len();
            state.cached[safe..].fill(0);
            return Err(std::io::Error::from_raw_os_error(libc::EIO));
        }
        state.safe = state.cached.clone();
        drop(state);
        self.0.1.notify_all();
        Ok(())
    }
}

/// Waits until the writer's health is as wanted.
fn wait_until(writer: &Writer, wanted: impl Fn(&std::result::Result<(), String>) -> bool) {
    while !wanted(&writer.health()) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Writes parts until one is refused; says how many were taken.
fn fill(writer: &Writer) -> usize {
    (0..).take_while(|number| writer.write(part(*number)).is_ok()).count()
}

#[test]
fn a_checkpoint_that_was_not_forced_onto_the_disk_is_signed_anew_and_only_then_published() {
    let disk = Disk::new(|state| state.failing_syncs = 1);
    let folder = Folder::new();
    let copy = folder.0.path().join("checkpoint");
    let signer = Signer::generate("line-3").unwrap();
    let key = Some(signer.verifier());
    let copier = Copier::start(Place::File(copy.clone())).unwrap();
    let mut tail = disk.tail(Some(Notary { signer, copiers: vec![copier.clone()] }));
    let setting = Setting {
        deciders: Deciders::of(&run_start(), key.as_ref().map(Verifier::to_string)),
        run: "r".into(),
        output: "none".into(),
        checkpoint_copy: true,
        witness: None,
        sample: None,
    };
    let start = Body::start(Monotonic::now(), &run_start(), setting);
    let records = std::iter::once(start).chain((0..3).map(part)).collect::<Vec<_>>();
    tail.append(records[..3].iter()).unwrap();
    tail.checkpoint().unwrap();
    tail.sync().unwrap_err();
    assert!(tail.checkpoint_due().is_none(), "what was signed is not in the log any more");
    tail.append(records.iter()).unwrap();
    tail.checkpoint().unwrap();
    assert!(tail.checkpoint_due().is_none(), "nothing new");
    tail.sync().unwrap();
    copier::close(&[copier], EVER).unwrap();
    let note = std::fs::read_to_string(&copy).unwrap();
    let kept_size = note.lines().nth(1).unwrap().parse::<u64>().unwrap();
    assert_eq!(kept_size, 4, "the first one, of three lines, was never published");
    let verified = disk.verify_by(&Trust { key, former: Vec::new(), kept: vec![note.into()] });
    assert_eq!((verified.parts, verified.checkpoints), (3, 1));
}

/// What a file that is closed says of its run.
pub(super) fn setting() -> Setting {
    Setting {
        deciders: Deciders::of(&run_start(), None),
        run: "r".into(),
        output: "none".into(),
        checkpoint_copy: false,
        witness: None,
        sample: None,
    }
}

/// What closes files of a log that has none yet.
fn rotation(folder: &Folder, config: RotationConfig) -> Rotation {
    Rotation::new(&folder.file(), config, &[], setting(), None)
}

#[test]
fn a_checkpoint_that_finds_no_room_keeps_the_file_from_being_closed_and_nobody_busy() {
    let (disk, folder) = (Disk::new(|_| {}), Folder::new());
    let notary = Notary { signer: Signer::generate("line-3").unwrap(), copiers: Vec::new() };
    let rotation = rotation(&folder, RotationConfig { bytes: Some(1), daily: false });
    let end = End { link: Link::START, length: 0, signed: 0, signed_at: None };
    let mut tail = Tail::new(Box::new(disk.clone()), end, Some(notary), Some(rotation));
    let write = |tail: &mut Tail| {
        tail.append(std::iter::once(&part(0))).unwrap();
        tail.sync().unwrap();
    };
    // This disk closes no file: that is tried again after a while.
    write(&mut tail);
    tail.rotate().unwrap();
    let again = tail.rotation_due().unwrap();
    std::thread::sleep(again.saturating_duration_since(std::time::Instant::now()));
    write(&mut tail);
    disk.change(|state| state.room = state.cached.len());
    tail.rotate().unwrap_err();
    // There is a part of a line at the end: until something is written the file cannot be closed, and nothing is to be tried.
    tail.rotate().unwrap();
    assert_eq!(tail.rotation_due(), None);
    assert!(tail.unclosed().unwrap().contains("No space left"), "{:?}", tail.unclosed());
    disk.change(|state| state.room = usize::MAX);
    write(&mut tail);
    assert!(tail.rotation_due().is_some());
}

#[test]
fn a_file_that_could_not_be_closed_and_need_not_be_any_more_fails_no_longer() {
    let folder = Folder::new();
    let mut rotation = rotation(&folder, RotationConfig { bytes: None, daily: true });
    let end = End { link: Link::START, length: 1_000, signed: 0, signed_at: None };
    let begun = rotation::today();
    assert!(rotation.is_due(&end, "9999-12-31"));
    rotation.failed(&std::io::ErrorKind::AlreadyExists.into());
    assert!(rotation.again().is_some() && rotation.failure().is_some());
    // The clock is set back.
    assert!(!rotation.is_due(&end, &begun));
    assert!(rotation.again().is_none() && rotation.failure().is_none());
}

#[test]
fn a_full_disk_is_a_fault_and_nothing_is_lost_when_there_is_room_again() {
    let disk = Disk::new(|state| state.room = 1_000);
    let mut writer = disk.writer(SyncPolicy::Group, EVER);
    (0..50).for_each(|number| writer.write(part(number)).unwrap());
    wait_until(&writer, |health| matches!(health, Err(why) if why.contains("No space left")));
    disk.change(|state| state.room = usize::MAX);
    wait_until(&writer, Result::is_ok);
    writer.close().unwrap();
    let verified = disk.verify();
    assert_eq!((verified.parts, verified.lost), (50, 0));
}

#[test]
fn what_a_full_disk_took_is_whole_and_what_it_did_not_is_counted() {
    let disk = Disk::new(|state| state.room = 10_000);
    let mut writer = disk.writer(SyncPolicy::EveryRecord, EVER);
    (0..50).for_each(|number| writer.write(part(number)).unwrap());
    wait_until(&writer, |health| matches!(health, Err(why) if why.contains("No space left")));
    let written = 50 + fill(&writer);
    let unwritten = writer.close().expect_err("there is no room");
    assert!(unwritten.why.contains("No space left"), "{}", unwritten.why);
    // A part of a line, which a killed program leaves too, may follow what was forced onto the disk.
    let whole = disk.0.0.lock().unwrap().safe.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    assert!(whole <= 10_000);
    disk.change(|state| state.safe.truncate(whole));
    let parts = disk.verify().parts as usize;
    assert!(parts >= 1);
    assert_eq!(parts + unwritten.records, written + 1, "every part is on disk or counted, the refused one too");
}

#[test]
fn a_disk_that_hangs_is_a_fault_and_what_finds_no_room_is_refused_and_chained() {
    let disk = Disk::new(|state| state.hangs = true);
    let mut writer = disk.writer(SyncPolicy::Group, AT_ONCE);
    assert_eq!(writer.health(), Ok(()));
    writer.write(part(0)).unwrap();
    disk.wait_for(|state| state.appends > 0);
    wait_until(
        &writer,
        |health| matches!(health, Err(why) if why.contains("neither taken what was written nor failed")),
    );
    assert_eq!(1 + fill(&writer), KEPT);
    assert_eq!(writer.write(part(0)), Err(Refused));
    wait_until(&writer, |health| matches!(health, Err(why) if why.contains("found no room")));

    disk.change(|state| state.hangs = false);
    wait_until(&writer, Result::is_ok);
    writer.write(part(0)).unwrap();
    let unwritten = writer.close().expect_err("records were lost");
    assert_eq!((unwritten.records, unwritten.why.as_str()), (2, "there was no room for them"));
    let verified = disk.verify();
    assert_eq!((verified.parts, verified.lost), (KEPT as u64 + 1, 2));
    assert!(verified.warnings.iter().any(|warning| warning.contains("2 records were lost")), "{verified:?}");
}

#[test]
fn a_disk_that_hangs_for_ever_does_not_keep_the_program() {
    let disk = Disk::new(|state| state.hangs = true);
    let mut writer = disk.writer(SyncPolicy::Group, AT_ONCE);
    (0..3).for_each(|number| writer.write(part(number)).unwrap());
    let unwritten = writer.close().expect_err("nothing was written");
    assert_eq!(unwritten.records, 3);
    assert!(unwritten.why.contains("neither taken what was written nor failed"), "{}", unwritten.why);
    // The thread is left behind; what it can still do when the disk comes back, it does.
    disk.change(|state| state.hangs = false);
    disk.wait_for(|state| !state.safe.is_empty());
    assert_eq!(disk.verify().parts, 3);
}

#[test]
fn a_writer_that_panics_is_a_fault_and_refuses() {
    let disk = Disk::new(|state| state.panics = true);
    let mut writer = disk.writer(SyncPolicy::Group, EVER);
    writer.write(part(0)).unwrap();
    wait_until(&writer, |health| matches!(health, Err(why) if why == "the writer panicked"));
    assert_eq!(writer.write(part(1)), Err(Refused));
    let unwritten = writer.close().expect_err("nobody wrote");
    assert_eq!((unwritten.records, unwritten.why.as_str()), (2, "the writer panicked"));
}

#[test]
fn what_a_failed_sync_dropped_is_written_again() {
    for sync in [SyncPolicy::Group, SyncPolicy::EveryRecord] {
        let disk = Disk::new(|_| {});
        let mut writer = disk.writer(sync, EVER);
        writer.write(part(0)).unwrap();
        disk.wait_for(|state| !state.safe.is_empty());
        disk.change(|state| state.failing_syncs = 1);
        (1..20).for_each(|number| writer.write(part(number)).unwrap());
        wait_until(&writer, |health| matches!(health, Err(why) if why.contains("Input/output error")));
        wait_until(&writer, Result::is_ok);
        // Here the machine loses its power: what was said to be well is on disk, whatever `close` would still do.
        let recovered = disk.verify().parts;
        assert!(recovered >= 2, "{recovered}");
        writer.close().unwrap();
        assert_eq!(disk.verify().parts, 20);
    }
}

#[test]
fn a_last_sync_that_fails_is_an_error() {
    let disk = Disk::new(|state| state.failing_syncs = usize::MAX);
    let mut writer = disk.writer(SyncPolicy::Group, EVER);
    writer.write(part(0)).unwrap();
    disk.wait_for(|state| !state.cached.is_empty());
    let unwritten = writer.close().expect_err("nothing is on disk for certain");
    assert_eq!(unwritten.records, 1);
    assert!(unwritten.why.contains("Input/output error"), "{}", unwritten.why);
}

/// What waits for a record may remove what that tells of: not while the file that it is in may be lost.
#[test]
fn whether_the_file_has_its_name_is_known_before_a_record_counts_as_told() {
    let disk = Disk::new(|_| {});
    let mut writer = disk.writer(SyncPolicy::Group, EVER);
    writer.write(part(0)).unwrap();
    wait_until(&writer, Result::is_ok);
    disk.wait_for(|state| !state.safe.is_empty());
    disk.change(|state| (state.astray, state.hides, state.looks) = (true, true, 0));
    let desk = writer.desk();
    let told = std::thread::spawn(move || desk.tell(&Body::note(Monotonic::now(), "n")));
    disk.wait_for(|state| state.looks > 0);
    std::thread::sleep(AT_ONCE);
    assert!(!told.is_finished(), "nobody knows yet whether it was moved");
    disk.change(|state| state.hides = false);
    wait_until(&writer, Result::is_err);
    assert!(!told.is_finished());
    disk.change(|state| state.astray = false);
    writer.write(part(1)).unwrap();
    assert!(told.join().unwrap());
    writer.close().unwrap();
}
