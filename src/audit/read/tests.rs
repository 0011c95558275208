use std::io::Write;
use std::path::PathBuf;

use jiff::SignedDuration;

use super::index::{Member, members};
use super::*;
use crate::audit::chain::Link;
use crate::audit::checkpoint::{Checkpoint, Made};
use crate::audit::{Body, Signer, Trust};

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

/// The first one of a file says that its times did not fall, as that of a run does.
fn line(seq: u64, time: &str) -> String {
    format!(
        "{{\"seq\":{seq},\"prev\":\"{0}\",\"kind\":\"note\",\"time\":\"{time}\",\"monotonic_ns\":1,\"text\":\"n\"{1},\"hash\":\"{0}\"}}",
        "0".repeat(64),
        if seq == 0 { ",\"falls\":0" } else { "" }
    )
}

#[test]
fn a_file_that_is_missing_is_told_where_it_may_be_of_the_time_that_is_asked_for() {
    let (folder, path) = log(400);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.split_inclusive('\n').collect::<Vec<_>>();
    let closed = |number: u64| folder.path().join(format!("audit.{number:06}.jsonl"));
    for (number, lines) in (1..=3).zip(lines.chunks(100)) {
        std::fs::write(closed(number), lines.concat()).unwrap();
    }
    std::fs::write(&path, lines[300..].concat()).unwrap();
    let told = |minutes: std::ops::Range<i64>| {
        let at = |minute: i64| "2026-11-24T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute);
        let (range, mut doubtful) =
            (Range { from: Some(at(minutes.start)), to: Some(at(minutes.end)) }, Doubtful::default());
        each_or_missing(&path, &range, &mut doubtful, |_, _| Ok(true)).unwrap();
        doubtful.told()
    };
    assert_eq!(told(0..400), None);
    std::fs::rename(closed(2), folder.path().join("gone")).unwrap();
    let missing = "the file audit.000002.jsonl, between audit.000001.jsonl and audit.000003.jsonl, is not here";
    for asked in [0..400, 150..160, 0..120, 180..300] {
        assert_eq!(told(asked.clone()).as_deref(), Some(missing), "{asked:?}");
    }
    assert_eq!([told(0..90), told(201..300), told(500..600)], [None, None, None]);
    // The clock was wrong before it or behind it: its time is not known.
    let ahead = lines[99].replace("2026-11-24", "2027-11-24");
    std::fs::write(closed(1), [&lines[..99], &[&ahead]].concat().concat()).unwrap();
    assert_eq!(told(0..90).as_deref(), Some(missing));
    // Nothing is missing before what was carried away, the oldest first.
    std::fs::remove_file(closed(1)).unwrap();
    assert_eq!(told(0..400), None);
}

/// The next checkpoint of a log, by that key.
fn checkpoint(link: &mut Link, signer: &Signer, time: &str) -> String {
    let made = Made { time: time.to_owned(), monotonic_ns: 1, synchronised: true };
    let note = Checkpoint::sign(link, &made, signer);
    link.seal(&Body::checkpoint(&made, &note).0)
}

/// The same as [`log`] of a run that signs it, with a checkpoint behind all; and what continues it.
fn signed(lines: u64) -> (tempfile::TempDir, PathBuf, Link) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let signer = Signer::generate("factory.example/line-3").unwrap();
    let start: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    let at = |minute: u64| text(start + SignedDuration::from_mins(minute as i64));
    let (mut link, key) = (Link::START, signer.verifier());
    let begins = format!("\"format_version\":2,\"run\":\"r\",\"key\":\"{key}\"");
    let mut content = (0..lines)
        .map(|minute| {
            let (kind, rest) = if minute == 0 { ("start", begins.as_str()) } else { ("note", "\"text\":\"n\"") };
            link.seal(&format!("{{\"kind\":\"{kind}\",\"time\":\"{}\",\"monotonic_ns\":1,{rest}}}", at(minute)))
        })
        .collect::<String>();
    content += &checkpoint(&mut link, &signer, &at(lines));
    std::fs::write(&path, content).unwrap();
    (folder, path, link)
}

/// A log whose runs begin at these minutes of 2026-11-24 and make a record in five seconds, each so many, as a run writes them.
fn runs(runs: &[(i64, u64)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let start: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    let mut link = Link::START;
    let mut lines = String::new();
    for (minute, records) in runs {
        for second in 0..*records {
            let kind = if second == 0 { "start" } else { "note" };
            let time = text(start + SignedDuration::from_mins(*minute) + SignedDuration::from_secs(5 * second as i64));
            lines += &link.seal(&format!(
                "{{\"kind\":\"{kind}\",\"time\":\"{time}\",\"monotonic_ns\":1,\"format_version\":2,\"text\":\"n\"}}"
            ));
        }
    }
    std::fs::write(&path, lines).unwrap();
    (folder, path)
}

#[test]
fn a_short_run_with_a_wrong_clock_between_long_ones_hides_nothing() {
    const DAY: i64 = 24 * 60;
    let start: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    let at = |minute: i64| start + SignedDuration::from_mins(minute);
    // Five hours, three days and a year back, and a year ahead; each between two runs of which the later one is right again.
    for wrong in [-300, -3 * DAY, -365 * DAY, 365 * DAY] {
        let (folder, path) = runs(&[(0, 4_000), (400 + wrong, 20), (800, 4_000)]);
        let hour = |minute: i64| Range { from: Some(at(minute)), to: Some(at(minute + 60)) };
        let of_wrong = (4_000..4_020).collect::<Vec<_>>();
        let all = |range: &Range| {
            (0..8_020u64)
                .filter(|seq| {
                    let second = match seq {
                        0..4_000 => 5 * *seq as i64,
                        4_000..4_020 => (400 + wrong) * 60 + 5 * (*seq as i64 - 4_000),
                        _ => 800 * 60 + 5 * (*seq as i64 - 4_020),
                    };
                    let time = start + SignedDuration::from_secs(second);
                    range.from.is_none_or(|from| time >= from) && range.to.is_none_or(|to| time < to)
                })
                .collect::<Vec<_>>()
        };
        let check = |whereabouts: &str| {
            for minute in [400 + wrong, 0, 60, 300, 800, 1000] {
                let range = hour(minute);
                assert_eq!(found(&path, &range), all(&range), "{wrong}, {minute}, {whereabouts}");
            }
            let ahead = Range { from: Some(at(100 * DAY)), to: None };
            assert_eq!(found(&path, &ahead), if wrong > 0 { of_wrong.clone() } else { Vec::new() }, "{whereabouts}");
            let (least, greatest) = span(&path).unwrap().unwrap();
            assert_eq!(least, text(at(0.min(400 + wrong))), "{whereabouts}");
            let last = if wrong > 0 {
                at(400 + wrong) + SignedDuration::from_secs(5 * 19)
            } else {
                at(800) + SignedDuration::from_secs(5 * 3_999)
            };
            assert_eq!(greatest, text(last), "{whereabouts}");
            // Whoever verifies it is told where times fall.
            let warned = crate::audit::verify(&path, &Trust::default()).unwrap().warnings;
            let fell = if wrong > 0 { "record 4020 (" } else { "record 4000 (" };
            let told = warned.iter().filter(|told| told.contains("times fall back by up to")).collect::<Vec<_>>();
            assert!(told.len() == 1 && told[0].contains(fell), "{whereabouts}: {warned:?}");
        };
        check("in one file");
        let closed = folder.path().join("audit.000001.jsonl");
        std::fs::rename(&path, &closed).unwrap();
        check("in a closed one");
        crate::audit::rotation::compress_one(&closed).unwrap();
        check("in a compressed one");
    }
}

#[test]
fn a_file_whose_first_line_does_not_count_falls_is_read() {
    let (_folder, path) = runs(&[(0, 5_000), (-180, 20), (100, 5_000)]);
    let plain = std::fs::read_to_string(&path).unwrap().replace(",\"falls\":0", "").replace(",\"falls\":1", "");
    std::fs::write(&path, plain).unwrap();
    let range = between("2026-11-23T20:00:00Z", "2026-11-23T22:00:00Z");
    assert_eq!(found(&path, &range), (5_000..5_020).collect::<Vec<_>>());
}

fn between(from: &str, to: &str) -> Range {
    Range { from: Some(from.parse().unwrap()), to: Some(to.parse().unwrap()) }
}

fn found(path: &Path, range: &Range) -> Vec<u64> {
    let mut seqs = Vec::new();
    each(path, range, |_, entry| {
        seqs.push(entry.seq);
        Ok(true)
    })
    .unwrap();
    seqs
}

#[test]
fn a_range_is_found_without_reading_the_rest() {
    let (_folder, path, _) = signed(30_000);
    let whole = std::fs::read(&path).unwrap();
    let expected = (10 * 1440..10 * 1440 + 60).collect::<Vec<_>>();
    let range = between("2026-12-04T00:00:00Z", "2026-12-04T01:00:00Z");
    assert_eq!(found(&path, &range), expected);
    // What is no line would end a reading of all; far from the range nobody looks.
    let mut spoiled = whole.clone();
    spoiled[2_000..2_200].fill(b'x');
    let behind = spoiled.len() - 200_000;
    spoiled[behind..behind + 200].fill(b'x');
    std::fs::write(&path, &spoiled).unwrap();
    assert_eq!(found(&path, &range), expected);
    assert!(each(&path, &Range::default(), |_, _| Ok(true)).is_err());
}

#[test]
fn nothing_that_is_added_to_the_end_hides_what_a_checkpoint_signs() {
    const LINES: u64 = 10_000;
    let (_folder, path, link) = signed(LINES);
    let whole = std::fs::read_to_string(&path).unwrap();
    let start: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    let minute = |number: u64| start + SignedDuration::from_mins(number as i64);
    // What anybody can write who may write the file: the next lines, of any time.
    let added = |times: &[&str]| {
        let mut link = link.clone();
        let lines = times.iter().map(|time| {
            let body = format!("{{\"kind\":\"note\",\"time\":\"{time}\",\"monotonic_ns\":1,\"text\":\"x\"}}");
            let line = link.seal(&body);
            // It does not say that times fell.
            line.split_once(",\"falls\"").map_or(line.clone(), |(line, _)| format!("{line}}}\n"))
        });
        lines.collect::<String>()
    };
    let (old, ahead, now) = ("2020-01-01T00:00:00.000000Z", "9999-01-01T00:00:00.000000Z", text(minute(LINES + 5)));
    let many = |time: &'static str| [vec![time; 4 * LINES as usize], vec![now.as_str()]].concat();
    let other = Signer::generate("factory.example/line-3").unwrap();
    let mut behind = link.clone();
    let by_another = added(&[old]) + &checkpoint(&mut behind, &other, &now);
    // A checkpoint that is there can be copied, with the line before it.
    let lines = whole.lines().collect::<Vec<_>>();
    let copied = |count: usize| added(&many(old)) + &lines[lines.len() - count..].join("\n") + "\n";
    let ends =
        [String::new(), added(&[old]), added(&[ahead, &now]), added(&many(old)), added(&many(ahead)), by_another];
    for end in ends.into_iter().chain([copied(1), copied(2)]) {
        std::fs::write(&path, format!("{whole}{end}")).unwrap();
        for (from, to) in [(0, 60), (5_000, 5_010), (LINES - 50, LINES - 1), (7, LINES - 3)] {
            let range = Range { from: Some(minute(from)), to: Some(minute(to)) };
            assert_eq!(found(&path, &range), (from..to).collect::<Vec<_>>(), "{from} to {to}");
        }
        let range = Range { from: Some(minute(9_000)), to: None };
        assert_eq!(found(&path, &range)[..1_000], (9_000..LINES).collect::<Vec<_>>());
        let of_now = Range { from: Some(minute(LINES + 1)), to: Some(minute(LINES + 10)) };
        assert_eq!(found(&path, &of_now).len(), end.matches(&format!("\"time\":\"{now}\"")).count());
    }
}

#[test]
fn the_ends_belong_to_a_range_as_they_should() {
    let (_folder, path) = log(10);
    assert_eq!(found(&path, &between("2026-11-24T00:02:00Z", "2026-11-24T00:05:00Z")), [2, 3, 4]);
    assert_eq!(found(&path, &Range::default()).len(), 10);
    assert_eq!(found(&path, &between("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z")), [0; 0]);
}

#[test]
fn a_clock_that_was_set_back_makes_no_line_disappear() {
    let (_folder, path) = log(10_000);
    // Nothing counted how often times fell.
    let mut text = std::fs::read_to_string(&path).unwrap().replace(",\"falls\":0", "");
    (0..5_000).for_each(|minute| {
        let start: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        let time = super::text(start + SignedDuration::from_mins(minute));
        text.push_str(&(line(10_000 + minute as u64, &time) + "\n"));
    });
    std::fs::write(&path, text).unwrap();
    let range = between("2026-11-25T00:00:00Z", "2026-11-25T00:10:00Z");
    assert_eq!(found(&path, &range), (1440..1450).chain(11_440..11_450).collect::<Vec<_>>());
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
    assert_eq!(found(&path, &Range::default()), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let error = each(&folder.path().join("gone.jsonl"), &Range::default(), |_, _| Ok(true)).unwrap_err();
    assert_eq!(error.kind().exit_code(), 3);
}

/// The same log, closed and compressed, with nothing after it.
fn packed(lines: u64) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let (folder, path) = log(lines);
    let closed = folder.path().join("audit.000001.jsonl");
    std::fs::rename(&path, &closed).unwrap();
    crate::audit::rotation::compress_one(&closed).unwrap();
    (folder, path, closed.with_added_extension("gz"))
}

#[test]
fn of_a_compressed_file_only_what_may_hold_the_range_is_unpacked() {
    let (_folder, path, gz) = packed(30_000);
    let expected = (14_400..14_460).collect::<Vec<_>>();
    let range = between("2026-12-04T00:00:00Z", "2026-12-04T01:00:00Z");
    assert_eq!(found(&path, &range), expected);
    assert_eq!(found(&path, &Range::default()).len(), 30_000, "any gzip reads it as one file");
    let pieces = members(&gz).unwrap().unwrap();
    assert!(pieces.len() > 3, "{pieces:?}");
    // Nobody looks at what does not matter: the end of the first piece is no gzip any more.
    let mut bytes = std::fs::read(&gz).unwrap();
    bytes[1000..2000].fill(0xaa);
    std::fs::write(&gz, &bytes).unwrap();
    assert_eq!(found(&path, &range), expected);
    assert!(each(&path, &Range::default(), |_, _| Ok(true)).is_err());
}

#[test]
fn a_range_at_the_border_of_two_pieces_is_found_whole_and_so_is_a_clock_that_was_set_back() {
    let (_folder, path, gz) = packed(30_000);
    let start: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    let minute = |number: u64| start + SignedDuration::from_mins(number as i64);
    // Every piece's first and last line, and the ranges that begin or end with them.
    let mut first = 0;
    for piece in members(&gz).unwrap().unwrap() {
        let count = (0..30_000).skip(first).take_while(|seq| piece.may_hold(&text(minute(*seq)))).count();
        for (from, to) in [(first, first + 1), (first + count - 1, first + count), (first, first + count)] {
            let range = Range { from: Some(minute(from as u64)), to: Some(minute(to as u64)) };
            assert_eq!(found(&path, &range), (from as u64..to as u64).collect::<Vec<_>>());
        }
        first += count;
    }
    assert_eq!(first, 30_000);
    let (folder, path) = log(2_000);
    let closed = folder.path().join("audit.000001.jsonl");
    let lines = (0..2_000).chain(0..1_000).enumerate();
    let set_back = lines.map(|(seq, at)| line(seq as u64, &text(minute(at))) + "\n").collect::<String>();
    std::fs::write(&closed, set_back).unwrap();
    crate::audit::rotation::compress_one(&closed).unwrap();
    std::fs::remove_file(&path).unwrap();
    let range = Range { from: Some(minute(500)), to: Some(minute(502)) };
    assert_eq!(found(&path, &range), [500, 501, 2_500, 2_501]);
}

#[test]
fn a_compressed_file_that_does_not_tell_its_times_is_read_as_a_whole() {
    let range = between("2026-12-04T00:00:00Z", "2026-12-04T01:00:00Z");
    let expected = (14_400..14_460).collect::<Vec<_>>();
    let repacked = |change: &dyn Fn(Vec<u8>, Vec<Member>) -> Vec<u8>| {
        let (folder, path, gz) = packed(30_000);
        let pieces = members(&gz).unwrap().unwrap();
        std::fs::write(&gz, change(std::fs::read(&gz).unwrap(), pieces)).unwrap();
        assert_eq!(members(&gz).unwrap(), None);
        let seen = found(&path, &range);
        drop(folder);
        seen
    };
    // Another program packed it; a piece was packed by another program; a length was changed; a line has no time.
    let plain = |bytes: &[u8]| {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut flate2::bufread::MultiGzDecoder::new(bytes), &mut text).unwrap();
        text
    };
    let by_another = |text: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    };
    assert_eq!(repacked(&|bytes, _| by_another(&plain(&bytes))), expected);
    assert_eq!(
        repacked(&|bytes, _| {
            let half = plain(&bytes);
            let cut = half[..half.len() / 2].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
            let mut mixed = Vec::new();
            pack(&half[..cut], &mut mixed).unwrap();
            [mixed, by_another(&half[cut..])].concat()
        }),
        expected
    );
    assert_eq!(
        repacked(&|mut bytes, _| {
            bytes[16] ^= 1;
            bytes
        }),
        expected
    );
}

#[test]
fn an_index_that_is_not_of_its_pieces_hides_nothing_and_is_found() {
    const RECORDS: u64 = 20_000;
    let (folder, path) = runs(&[(0, RECORDS)]);
    let gz = folder.path().join("audit.000001.jsonl.gz");
    let text = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut whole = Vec::new();
    pack(text.as_slice(), &mut whole).unwrap();
    std::fs::write(&gz, &whole).unwrap();
    let pieces = members(&gz).unwrap().unwrap();
    assert!(pieces.len() > 1);
    assert_eq!(crate::audit::verify(&path, &Trust::default()).unwrap().lines, RECORDS);
    let end = |bytes: &[u8], count: usize| {
        bytes.split_inclusive(|byte| *byte == b'\n').take(count).map(<[u8]>::len).sum::<usize>()
    };
    let time = |at: usize| time_of(text.split(|byte| *byte == b'\n').nth(at).unwrap()).unwrap();
    let (size, first) = pieces[0].sizes();
    let field =
        |bytes: &mut Vec<u8>, place: usize, value: &[u8]| bytes[place..place + value.len()].copy_from_slice(value);
    let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
    // The first header tells of all, and what follows is no piece of its own.
    let swallowed = {
        let mut rest = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        rest.write_all(&text[first..]).unwrap();
        let mut bytes = [whole[..size].to_vec(), rest.finish().unwrap()].concat();
        let all = number(bytes.len());
        field(&mut bytes, 16, &all);
        field(&mut bytes, 20, &number(text.len()));
        field(&mut bytes, 51, time(RECORDS as usize - 1).as_bytes());
        bytes
    };
    // The first header tells of the first hundred lines, and the second of all others.
    let moved = {
        let (mut bytes, hundred) = (whole.clone(), end(&text, 100));
        field(&mut bytes, 20, &number(hundred));
        field(&mut bytes, 51, time(99).as_bytes());
        field(&mut bytes, size + 20, &number(first + pieces[1].sizes().1 - hundred));
        field(&mut bytes, size + 24, time(100).as_bytes());
        bytes
    };
    // A piece ends within a line, behind its time.
    let cut = {
        let piece = |content: &[u8], last: usize| {
            let mut gzip =
                flate2::GzBuilder::new().extra(&whole[12..78]).write(Vec::new(), flate2::Compression::fast());
            gzip.write_all(content).unwrap();
            let mut bytes = gzip.finish().unwrap();
            let size = number(bytes.len());
            field(&mut bytes, 16, &size);
            field(&mut bytes, 20, &number(content.len()));
            field(&mut bytes, 51, time(last).as_bytes());
            bytes
        };
        let within = end(&text, 5_000) + 160;
        [piece(&text[..within], 5_000), piece(&text[within..], RECORDS as usize - 1)].concat()
    };
    for (what, bytes) in [("swallowed", swallowed), ("moved", moved), ("cut", cut)] {
        std::fs::write(&gz, bytes).unwrap();
        assert!(members(&gz).unwrap().is_some(), "{what}");
        let error = crate::audit::verify(&path, &Trust::default()).unwrap_err();
        assert!(
            error.kind().exit_code() == 1 && error.to_string().contains("an index that is not of its lines"),
            "{what}: {error}"
        );
        for minute in [0, 400, 415, 420, 1_000, 1_600] {
            let start: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
            let at = |minute: i64| Some(start + SignedDuration::from_mins(minute));
            let mut count = 0;
            let seen = each(&path, &Range { from: at(minute), to: at(minute + 1) }, |_, _| {
                count += 1;
                Ok(true)
            });
            assert!(seen.is_err() || count == 12, "{what}: {count} at {minute}");
        }
    }
}

#[test]
fn an_error_of_the_system_says_nothing_of_what_was_packed() {
    let path = Path::new("audit.jsonl");
    let error = cannot_be_read(path, std::io::Error::from_raw_os_error(libc::EINVAL));
    assert!(error.kind().exit_code() == 3 && !error.report().contains("compressed"), "{}", error.report());
    let error = cannot_be_read(path, std::io::Error::new(std::io::ErrorKind::InvalidInput, "corrupt deflate stream"));
    assert!(
        error.kind().exit_code() == 1 && error.report().contains("compressed data is damaged"),
        "{}",
        error.report()
    );
}

#[test]
fn whoever_reads_while_files_are_closed_and_compressed_misses_none() {
    let (folder, path) = log(9);
    let lines = std::fs::read_to_string(&path).unwrap().split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
    let at = |name: &str| folder.path().join(name);
    // The newest goes on under a number of its own, the name is another's by then; and what was closed before is compressed.
    let rotate = || {
        std::fs::rename(&path, at("audit.000003.jsonl")).unwrap();
        std::fs::write(&path, &lines[8]).unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(lines[2..4].concat().as_bytes()).unwrap();
        std::fs::write(at("audit.000002.jsonl.gz"), packed.finish().unwrap()).unwrap();
        std::fs::remove_file(at("audit.000002.jsonl")).unwrap();
    };
    std::fs::write(at("audit.000001.jsonl"), lines[..2].concat()).unwrap();
    std::fs::write(at("audit.000002.jsonl"), lines[2..4].concat()).unwrap();
    std::fs::write(&path, lines[4..8].concat()).unwrap();
    let mut seen = Vec::new();
    each(&path, &Range::default(), |_, entry| {
        if entry.seq == 0 {
            rotate();
        }
        seen.push(entry.seq);
        Ok(true)
    })
    .unwrap();
    assert_eq!(seen, (0..9).collect::<Vec<_>>());
}

#[test]
fn a_line_without_an_end_is_told_of_and_does_not_fill_the_memory_packed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let closed = folder.path().join("audit.000001.jsonl.gz");
    // 40 MB of which a compressed file needs 40 kB.
    let endless = [line(0, "2026-11-24T00:00:00.000000Z").into_bytes(), vec![b'\n'], vec![b'x'; 40_000_000]].concat();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&endless).unwrap();
    std::fs::write(&path, &endless).unwrap();
    let told = |read: Result<()>| {
        let error = read.unwrap_err();
        let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(
            error.to_string().contains("no line of an audit") && why.contains("no line feed in 4 MiB"),
            "{error}: {why}"
        );
    };
    let read = || each(&path, &Range::default(), |_, _| Ok(true));
    told(read());
    std::fs::write(&closed, packed.finish().unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    told(read());
    let error = crate::audit::verify(&path, &Trust::default()).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Check, "{error}");
}

#[test]
fn a_piece_that_unpacks_to_more_than_it_tells_of_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut packed = Vec::new();
    pack(format!("{}\n", line(0, "2026-11-24T00:00:00.000000Z")).repeat(1000).as_bytes(), &mut packed).unwrap();
    // The length of its lines stands behind the field's name, its own length and that of the packed piece.
    let length = (1000 * (line(0, "2026-11-24T00:00:00.000000Z").len() as u32 + 1)).to_le_bytes();
    let place = packed.windows(4).position(|bytes| bytes == length).unwrap();
    packed[place..place + 4].copy_from_slice(&300u32.to_le_bytes());
    std::fs::write(folder.path().join("audit.000001.jsonl.gz"), packed).unwrap();
    let range = Range { from: Some("2026-11-23T00:00:00Z".parse().unwrap()), to: None };
    let error = each(&path, &range, |_, _| Ok(true)).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Check, "{error}");
}

#[test]
fn a_piece_that_says_that_it_is_larger_than_one_can_be_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (path, closed) = (folder.path().join("audit.jsonl"), folder.path().join("audit.000001.jsonl.gz"));
    let mut packed = Vec::new();
    pack(format!("{}\n", line(0, "2026-11-24T00:00:00.000000Z")).as_bytes(), &mut packed).unwrap();
    let place = packed.windows(4).position(|bytes| bytes == (packed.len() as u32).to_le_bytes()).unwrap();
    packed[place..place + 4].copy_from_slice(&(3u32 << 30).to_le_bytes());
    std::fs::write(&closed, packed).unwrap();
    // A file of that size, which takes next to nothing of the disk.
    std::fs::File::options().write(true).open(&closed).unwrap().set_len(3 << 30).unwrap();
    let range = Range { from: Some("2026-11-23T00:00:00Z".parse().unwrap()), to: None };
    let error = each(&path, &range, |_, _| Ok(true)).unwrap_err();
    assert!(error.report().contains("is not of what is there"), "{}", error.report());
}

#[test]
fn a_search_that_reads_a_part_of_a_file_misses_nothing_that_it_did_not_read() {
    let missing = |path: &Path, range: &Range| {
        let mut doubtful = Doubtful::default();
        each_or_missing(path, range, &mut doubtful, |_, _| Ok(true)).unwrap();
        doubtful.told()
    };
    let days = [(24, 25), (24, 26), (1, 2), (13, 14)].map(|(from, to)| {
        let day = |day: u32| format!("2026-{}-{day:02}T00:00:00Z", if day < 20 { 12 } else { 11 });
        between(&day(from), &day(to))
    });
    let (_folder, plain, _) = signed(30_000);
    let (_other, closed, _) = packed(30_000);
    for path in [&plain, &closed] {
        for range in days.iter().chain([&Range::default()]) {
            assert_eq!(missing(path, range), None, "{range:?}");
        }
    }
    // A line is taken out within the first of these days.
    let text = std::fs::read_to_string(&plain).unwrap();
    let removed = text.split_inclusive('\n').enumerate().filter(|(at, _)| *at != 100).map(|(_, line)| line);
    std::fs::write(&plain, removed.collect::<String>()).unwrap();
    let told = missing(&plain, &days[0]).unwrap();
    assert!(told.starts_with("record 100 is missing before record 101 in "), "{told}");
    assert_eq!(missing(&plain, &days[2]), None);
    // The clock was set back behind the newest checkpoint, and where a piece begins: what was left out is before a line that is asked for.
    let start: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    let minute = |number: u64| super::text(start + SignedDuration::from_mins(number as i64));
    let (_folder, plain, mut link) = signed(30_000);
    let late = link.seal(&format!("{{\"kind\":\"note\",\"time\":\"{}\",\"monotonic_ns\":1}}", minute(5)));
    std::fs::write(&plain, std::fs::read_to_string(&plain).unwrap() + &late).unwrap();
    let (folder, set_back, gz) = packed(30_000);
    let pieces = members(&gz).unwrap().unwrap();
    let third = (0..30_000).find(|number| pieces[2].may_hold(&minute(*number))).unwrap();
    let lines = (0..30_000).map(|seq| line(seq, &minute(if seq < third { seq } else { seq - third })) + "\n");
    let closed = folder.path().join("audit.000001.jsonl");
    std::fs::remove_file(gz).unwrap();
    std::fs::write(&closed, lines.collect::<String>()).unwrap();
    crate::audit::rotation::compress_one(&closed).unwrap();
    let hour = between("2026-11-24T00:00:00Z", "2026-11-24T01:00:00Z");
    assert_eq!((found(&plain, &hour).len(), found(&set_back, &hour).len()), (61, 120));
    assert_eq!([missing(&plain, &hour), missing(&set_back, &hour)], [None, None]);
}
