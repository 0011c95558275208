use std::io::Write;
use std::path::PathBuf;

use super::*;

/// A log with a note a minute from 2026-11-24T00:00 on.
fn log(lines: u64) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let start: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    for seq in 0..lines {
        writeln!(file, "{}", line(seq, &text(start + SignedDuration::from_mins(seq as i64)))).unwrap();
    }
    (folder, path)
}

fn line(seq: u64, time: &str) -> String {
    format!(
        "{{\"seq\":{seq},\"prev\":\"{0}\",\"kind\":\"note\",\"time\":\"{time}\",\"monotonic_ns\":1,\"text\":\"n\",\"hash\":\"{0}\"}}",
        "0".repeat(64)
    )
}

fn between(from: &str, to: &str) -> Range {
    Range { from: Some(from.parse().unwrap()), to: Some(to.parse().unwrap()) }
}

fn found(path: &Path, range: &Range, scan: bool) -> Vec<u64> {
    let mut seqs = Vec::new();
    each(path, range, scan, |_, entry| {
        seqs.push(entry.seq);
        Ok(true)
    })
    .unwrap();
    seqs
}

#[test]
fn a_range_is_found_without_reading_the_rest() {
    let (_folder, path) = log(30_000);
    let whole = std::fs::read(&path).unwrap();
    let expected = (10 * 1440..10 * 1440 + 60).collect::<Vec<_>>();
    let range = between("2026-12-04T00:00:00Z", "2026-12-04T01:00:00Z");
    assert_eq!(found(&path, &range, true), expected);
    assert_eq!(found(&path, &range, false), expected);
    // What is no line would end a full scan; far from the range nobody looks.
    let mut spoiled = whole.clone();
    spoiled[..200].fill(b'x');
    std::fs::write(&path, &spoiled).unwrap();
    assert_eq!(found(&path, &range, false), expected);
    assert!(each(&path, &range, true, |_, _| Ok(true)).is_err());
}

#[test]
fn the_ends_belong_to_a_range_as_they_should() {
    let (_folder, path) = log(10);
    assert_eq!(found(&path, &between("2026-11-24T00:02:00Z", "2026-11-24T00:05:00Z"), false), [2, 3, 4]);
    assert_eq!(found(&path, &Range::default(), false).len(), 10);
    assert_eq!(found(&path, &between("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z"), false), [0; 0]);
}

#[test]
fn a_clock_that_was_set_back_makes_no_line_disappear() {
    let (_folder, path) = log(10_000);
    let mut text = std::fs::read_to_string(&path).unwrap();
    (0..5_000).for_each(|minute| {
        let start: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        let time = super::text(start + SignedDuration::from_mins(minute));
        text.push_str(&(line(10_000 + minute as u64, &time) + "\n"));
    });
    std::fs::write(&path, text).unwrap();
    let range = between("2026-11-25T00:00:00Z", "2026-11-25T00:10:00Z");
    assert_eq!(found(&path, &range, false), (1440..1450).chain(11_440..11_450).collect::<Vec<_>>());
}

#[test]
fn an_unfinished_line_is_left_out_and_compressed_files_are_read() {
    let (folder, path) = log(10);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().collect::<Vec<_>>();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all((lines[..6].join("\n") + "\n").as_bytes()).unwrap();
    std::fs::write(folder.path().join("audit.000001.jsonl.gz"), gzip.finish().unwrap()).unwrap();
    std::fs::write(&path, lines[6..9].join("\n") + "\n" + &lines[9][..50]).unwrap();
    assert_eq!(found(&path, &Range::default(), false), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let error = each(&folder.path().join("gone.jsonl"), &Range::default(), false, |_, _| Ok(true)).unwrap_err();
    assert_eq!(error.kind().exit_code(), 3);
}
