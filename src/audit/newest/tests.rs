use super::*;
use crate::audit::deciders::Deciders;

#[test]
fn a_log_that_is_put_back_while_a_run_begins_is_neither_removed_nor_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (refused, _) = Found::at(&path, None).unwrap();
    let (begun, _) = Found::at(&path, None).unwrap();
    std::fs::write(&path, "a log\n").unwrap();
    drop(refused);
    let Err(error) = begun.take() else { panic!("another's file was taken") };
    assert!(error.kind().exit_code() == 3 && error.report().contains("while the run began"), "{}", error.report());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a log\n");
    // Nor is a file written to that does not bear the log's name any more.
    let file = newest(&path, || OpenOptions::new().append(true).open(&path)).unwrap();
    std::fs::rename(&path, folder.path().join("moved")).unwrap();
    assert!(Found { path: path.clone(), file, is_regular: true }.take().is_err());
    std::fs::rename(folder.path().join("moved"), &path).unwrap();
    // What was found and is another by now is not held for the log.
    let file = OpenOptions::new().append(true).open(&path).unwrap();
    std::fs::rename(&path, folder.path().join("aside")).unwrap();
    std::fs::write(&path, "another\n").unwrap();
    assert!(hold(&file, &path).is_err());
}

#[test]
fn of_a_start_that_finds_no_room_no_log_is_left_that_was_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let deciders = Deciders::default();
    let setting = Setting {
        deciders,
        run: String::new(),
        output: String::new(),
        checkpoint_copy: false,
        witness: None,
        sample: None,
    };
    let fails = |newest: &mut Newest| {
        // Nothing can be written by it, as on a full disk.
        newest.file = File::open(&path).unwrap();
        let run = crate::audit::tests::run_start();
        newest.begin(Past::NONE, Monotonic::now(), &run, &setting, &[]).is_err()
    };
    let mut newest = Found::at(&path, None).unwrap().0.take().unwrap();
    assert!(path.exists() && fails(&mut newest) && !path.exists());
    drop(newest);
    // What was there stays, though it be empty.
    std::fs::write(&path, "").unwrap();
    let mut newest = Found::at(&path, None).unwrap().0.take().unwrap();
    assert!(fails(&mut newest) && path.exists());
}

/// A run that closes its file between the look and the opening of another run.
fn closes(path: &Path, closed: &Path) -> std::io::Result<File> {
    std::fs::rename(path, closed)?;
    Err(std::io::ErrorKind::NotFound.into())
}

#[test]
fn a_run_that_begins_while_another_closes_its_file_begins_no_log_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (path, closed) = (folder.path().join("audit.jsonl"), folder.path().join("audit.000001.jsonl"));
    let upcoming = folder.path().join("audit.jsonl.next");
    std::fs::write(&path, "{\"seq\":0,\"hash\":\"0\"}\n").unwrap();
    let running = OpenOptions::new().append(true).open(&path).unwrap();
    running.try_lock().unwrap();
    std::fs::write(&upcoming, "what the other run goes on with\n").unwrap();
    let mut looks = 0;
    let found = newest(&path, || {
        looks += 1;
        if looks == 1 { closes(&path, &closed) } else { OpenOptions::new().append(true).open(&path) }
    });
    assert!(found.is_err() && looks > 1, "{looks} looks");
    assert!(upcoming.exists(), "it is the other run's");
    // Nor where the other one began the log and closed its first file since this one looked.
    let (path, closed) = (folder.path().join("b.jsonl"), folder.path().join("b.000001.jsonl"));
    let (begun, _) = Found::at(&path, None).unwrap_or_else(|_| panic!("no log"));
    std::fs::write(&closed, "{\"seq\":0,\"hash\":\"0\"}\n").unwrap();
    assert!(begun.take().is_err() && !path.exists());
}

#[test]
fn a_run_goes_on_in_the_file_that_bears_the_log_s_name_or_in_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, closed) = (folder.path().join("audit.jsonl"), folder.path().join("audit.000001.jsonl"));
    for round in 0..3 {
        std::fs::write(&path, format!("old {round}\n")).unwrap();
        // Somebody takes away what was to be the next, as soon as it is there.
        let upcoming = folder.path().join("audit.jsonl.next");
        let thief = std::thread::spawn(move || while std::fs::remove_file(&upcoming).is_err() {});
        let own = File::open(&path).unwrap();
        let rotated = rotation::rotate(&own, &path, &closed, b"next\n");
        let is_at = rotated.as_ref().is_ok_and(|file| is_at(file, &path).unwrap());
        assert!(is_at || rotated.is_err() && std::fs::read_to_string(&path).unwrap() == format!("old {round}\n"));
        if is_at {
            // It came too late; there may be nothing for it any more.
            std::fs::write(folder.path().join("audit.jsonl.next"), "").unwrap();
            std::fs::remove_file(&closed).unwrap();
        }
        thief.join().unwrap();
    }
}
