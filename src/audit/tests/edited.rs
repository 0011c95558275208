//! Thousands of random edits: whether each one is found, and the right record named.

use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::rotated::Rotated;
use super::signed::Signed;
use super::*;
use crate::audit::checkpoint::base64;
use crate::audit::inventory::inventory;
use crate::audit::read::{self, files};
use crate::audit::rotation::compress_one;
use crate::audit::spot;
use crate::camera::Frame;
use crate::line::Ticket;

/// A line with its line feed, and which of the log's files it is in.
type Line = (usize, Vec<u8>);

#[test]
fn every_one_of_ten_thousand_random_edits_is_found_and_its_record_is_named() {
    let line = Signed::new();
    line.run(6);
    line.run(6);
    let (whole, trust) = (std::fs::read(line.folder.file()).unwrap(), line.trust());
    let lines = whole.split_inclusive(|byte| *byte == b'\n').map(|line| (0, line.to_vec())).collect::<Vec<_>>();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut edits = 0;
    while edits < 10_000 {
        let edited = text(&edit(&lines, &mut random));
        if edited == whole {
            continue;
        }
        edits += 1;
        std::fs::write(line.folder.file(), &edited).unwrap();
        let Err(error) = line.verify(&trust) else {
            panic!("edit {edits} was not found:\n{}", String::from_utf8_lossy(&edited));
        };
        assert!(error.advice().is_some_and(|advice| !advice.is_empty()), "what is to be done? {}", error.report());
        is_named(&error.report(), first_difference(&whole, &edited), &format!("edit {edits}"));
        // By the key alone all is found but an end that was cut off.
        let by_key = line.verify(&Trust { kept: Vec::new(), ..trust.clone() });
        assert!(by_key.is_err() || whole.starts_with(&edited), "edit {edits} was not found by the key");
    }
    std::fs::write(line.folder.file(), &whole).unwrap();
    line.verify(&trust).unwrap();
}

#[test]
fn random_edits_of_a_log_of_compressed_files_with_pictures_are_found_and_their_records_named() {
    let log = Archive::new();
    let lines = log.lines();
    let whole = text(&lines);
    // What is found is an edit's doing, and not that of who packed the files anew.
    log.write(&lines, |path| pack_by_hand(&path));
    let unedited = log.rotated.verify().unwrap();
    assert_eq!((unedited.lines, unedited.warnings), (lines.len() as u64, Vec::new()));
    let mut random = ChaCha8Rng::seed_from_u64(17);
    let mut edits = 0;
    while edits < 500 {
        let edited = edit(&lines, &mut random);
        let found = text(&edited);
        if found == whole || found.is_empty() {
            continue;
        }
        edits += 1;
        log.write(&edited, |path| pack_by_hand(&path));
        let told = log.rotated.verify().expect_err(&format!("edit {edits} was not found")).report();
        let first = first_difference(&whole, &found);
        is_named(&told, first, &format!("edit {edits}"));
    }
    // What a disk does to a compressed file, or somebody who does not unpack it.
    log.restore();
    let mut found = 0;
    for damage in 0..300 {
        let closed = log.rotated.closed();
        let path = &closed[random.random_range(0..closed.len())];
        let bytes = std::fs::read(path).unwrap();
        let mut damaged = bytes.clone();
        let place = random.random_range(0..bytes.len());
        damaged[place] ^= 1 << random.random_range(0..8);
        std::fs::write(path, &damaged).unwrap();
        let is_found = log.rotated.verify().is_err();
        // Some bits of a gzip file are there to fill a byte, or for a time and a system that nobody reads.
        let is_harmless = unpacked(&damaged) == unpacked(&bytes);
        assert!(is_found || is_harmless, "damage {damage} of byte {place} of {} was not found", path.display());
        found += u32::from(is_found);
        std::fs::write(path, bytes).unwrap();
    }
    assert!(found > 250, "{found} of 300");
    log.rotated.verify().unwrap();
}

/// All members of a gzip file; `None` where it is none.
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut text).ok().map(|_| text)
}

/// Who may write the files and has no key makes a whole new chain, tree and index, as good as the program's.
#[test]
fn random_forgeries_with_a_new_chain_are_found_and_the_records_named_among_which_they_are() {
    let log = Archive::new();
    let lines = log.lines();
    assert_eq!(resealed(&lines), lines, "the forger's chain is as good as ours");
    log.write(&lines, |path| compress_one(&path).unwrap());
    log.rotated.verify().expect("what was not forged is believed, packed anew");
    let mut random = ChaCha8Rng::seed_from_u64(19);
    let (mut forgeries, mut in_a_range) = (0, 0);
    while forgeries < 500 {
        let forged = resealed(&forge(&lines, &mut random));
        if forged == lines {
            continue;
        }
        forgeries += 1;
        log.write(&forged, |path| compress_one(&path).unwrap());
        assert!(log.rotated.verify().is_err(), "forgery {forgeries} was not found");
        let by_key = log.verify_by_key();
        let first = first_difference(&text(&lines), &text(&forged));
        let is_checkpoint = |place: &usize| is_kind(&forged[*place].1, "checkpoint");
        let Some(checkpoint) = (first as usize..forged.len()).find(is_checkpoint) else {
            // Nobody has signed that end: the kept checkpoint tells, and by the key alone it is known to be unsigned.
            let verified = by_key.unwrap_or_else(|error| panic!("forgery {forgeries}: {}", error.report()));
            let is_beyond = first >= verified.lines;
            assert!(is_beyond || verified.unsigned.iter().any(|records| records.contains(&first)), "{verified:?}");
            continue;
        };
        let told = by_key.expect_err(&format!("forgery {forgeries} was not found by the key")).report();
        // Where the forgery begins behind the end of a run, that is seen before the next checkpoint.
        let place = if told.contains("behind the end of a run") { first } else { checkpoint as u64 };
        assert!(names(&told, place), "forgery {forgeries} of record {first}: {told}");
        if told.contains("some were changed, removed or put in") {
            let before = (0..first as usize).rev().find(is_checkpoint).unwrap_or(0);
            let range = spot::records(&(before as u64..checkpoint as u64));
            assert!(told.contains(&format!("of {range} some")), "forgery {forgeries} of record {first}: {told}");
            in_a_range += 1;
        }
    }
    assert!(in_a_range > forgeries / 2, "{in_a_range} of {forgeries}");
}

#[test]
fn random_edits_of_pictures_are_found_and_the_records_named_that_they_are_of() {
    let log = Archive::new();
    let pictures = log.pictures();
    let mut random = ChaCha8Rng::seed_from_u64(23);
    for edit in 0..100 {
        let (a, b) = (random.random_range(0..pictures.len()), random.random_range(0..pictures.len()));
        let ((record, path), (other, beside)) = (&pictures[a], &pictures[b]);
        let (bytes, others) = (std::fs::read(path).unwrap(), std::fs::read(beside).unwrap());
        let mut amiss = vec![*record];
        match random.random_range(0..4) {
            0 => {
                let mut edited = bytes.clone();
                edited[random.random_range(0..bytes.len())] ^= 1 << random.random_range(0..8);
                std::fs::write(path, edited).unwrap();
            }
            1 => std::fs::write(path, &bytes[..random.random_range(0..bytes.len())]).unwrap(),
            2 => std::fs::remove_file(path).unwrap(),
            _ if others != bytes => {
                std::fs::write(path, &others).unwrap();
                std::fs::write(beside, &bytes).unwrap();
                amiss.push(*other);
                amiss.sort_unstable();
            }
            _ => continue,
        }
        let found = log.inventory();
        assert_eq!(found.amiss.iter().map(|amiss| amiss.record).collect::<Vec<_>>(), amiss, "edit {edit}: {found:?}");
        std::fs::write(path, bytes).unwrap();
        std::fs::write(beside, others).unwrap();
    }
    assert!(log.inventory().amiss.is_empty());
}

/// A signed log of several files, all but the newest compressed, whose parts have pictures.
struct Archive {
    rotated: Rotated,
    /// All that is in the log's folder, by name.
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Archive {
    fn new() -> Self {
        let mut rotated = Rotated::new(4_000);
        let folder = rotated.folder.path("pictures");
        rotated.config.pictures = Some(PicturesConfig { sample: 1.0, ..PicturesConfig::in_folder(folder) });
        for _ in 0..2 {
            let log = AuditLog::open(&rotated.config, &run_start()).unwrap();
            for number in 0..10 {
                log.saw(Ticket(number), true, &frame(number));
                let record = PartRecord { ticket: Some(Ticket(number)), ..settled(number) };
                log.part(&record, PartContext { bundle: Digest::zero(), dry_run: false }).unwrap();
                // One after the other, so that files are closed where they are long enough.
                while log.on_disk() <= number {
                    log.tend().unwrap();
                    std::thread::sleep(std::time::Duration::from_micros(100));
                }
            }
            log.stop(Monotonic::now(), "end", &Counters::default()).unwrap();
            log.close().unwrap();
            rotated.wait_for_compression();
        }
        assert!(rotated.closed().len() >= 4, "{:?}", rotated.closed());
        let names = files(&rotated.folder.file()).unwrap().into_iter().map(|file| file.path);
        let files = names.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        Archive { rotated, files }
    }

    fn lines(&self) -> Vec<Line> {
        let of = |(place, (path, _)): (usize, &(PathBuf, Vec<u8>))| {
            let lines = read::lines(read::open(path).unwrap()).map(|line| line.unwrap());
            lines.map(|line| (place, [line.as_slice(), b"\n"].concat())).collect::<Vec<_>>()
        };
        self.files.iter().enumerate().flat_map(of).collect()
    }

    fn clear(&self) {
        files(&self.rotated.folder.file()).unwrap().iter().for_each(|file| std::fs::remove_file(&file.path).unwrap());
    }

    fn restore(&self) {
        self.clear();
        self.files.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    }

    /// Puts these lines in the place of the log's files; `pack` compresses one. A file without lines is gone.
    fn write(&self, lines: &[Line], pack: impl Fn(PathBuf)) {
        self.clear();
        for (place, (path, _)) in self.files.iter().enumerate() {
            let of = lines.iter().filter(|(file, _)| *file == place).cloned().collect::<Vec<_>>();
            let is_compressed = path.extension().is_some_and(|ending| ending == "gz");
            let plain = if is_compressed { path.with_extension("") } else { path.clone() };
            if !of.is_empty() {
                std::fs::write(&plain, text(&of)).unwrap();
                if is_compressed {
                    pack(plain);
                }
            }
        }
    }

    fn verify_by_key(&self) -> crate::Result<Verified> {
        verify(&self.rotated.folder.file(), &Trust { kept: Vec::new(), ..self.rotated.trust() })
    }

    /// The pictures, each with the record that names it.
    fn pictures(&self) -> Vec<(u64, PathBuf)> {
        let named = |(_, line): &Line| {
            let record: serde_json::Value = serde_json::from_slice(line).unwrap();
            Some((
                record["seq"].as_u64()?,
                self.rotated.folder.path("pictures").join(record["picture"]["file"].as_str()?),
            ))
        };
        let pictures = self.lines().iter().filter_map(named).collect::<Vec<_>>();
        assert_eq!(pictures.len(), 20);
        pictures
    }

    fn inventory(&self) -> Inventory {
        let (file, folder) = (self.rotated.folder.file(), self.rotated.folder.path("pictures"));
        let unvouched = self.rotated.verify().unwrap().unvouched();
        inventory(&file, &folder, unvouched.clone(), || Ok(unvouched)).unwrap()
    }
}

fn frame(number: u64) -> std::sync::Arc<Frame> {
    std::sync::Arc::new(Frame {
        number,
        captured: Monotonic::now(),
        stamp: StampSource::Received,
        origin: "camera".into(),
        product: None,
        image: image::RgbImage::from_pixel(4, 4, image::Rgb([number as u8, 1, 2])),
        original: None,
    })
}

/// Compresses a file as somebody does who has `gzip`: without an index.
fn pack_by_hand(path: &Path) {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&std::fs::read(path).unwrap()).unwrap();
    std::fs::write(path.with_added_extension("gz"), packed.finish().unwrap()).unwrap();
    std::fs::remove_file(path).unwrap();
}

fn text(lines: &[Line]) -> Vec<u8> {
    lines.iter().flat_map(|(_, line)| line.iter().copied()).collect()
}

/// The first record that is not in its place as it was written: it is another, or gone.
fn first_difference(whole: &[u8], edited: &[u8]) -> u64 {
    let lines = |text: &[u8]| text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    lines(whole).iter().zip(lines(edited)).take_while(|(one, other)| *one == other).count() as u64
}

/// What `docs/audit.md` promises of an error: it names the first record that is not as it was written, and none before it.
fn is_named(told: &str, record: u64, what: &str) {
    let first = ["its first line", "holds no whole record", "holds no record"];
    let is_told = names(told, record)
        || record == 0 && first.iter().any(|words| told.contains(words))
        // Whole lines that were cut off: how many are left.
        || told.contains(&format!("it has {record} record"));
    assert!(is_told, "{what}, of record {record}: {told}");
    // A copy of a later file's first line before the first record makes the log begin there: what follows is told to be right behind it.
    if record > 0 && told.contains("nothing is known of those after") {
        let before = spot::records(&(0..record));
        assert!(
            told.contains(&format!("{before} {}", if record == 1 { "is" } else { "are" })),
            "{what}, of record {record}: {told}"
        );
    }
}

/// Whether the text has the record's number, alone or as the first of several, of which it does not say that they are as they were written.
fn names(told: &str, record: u64) -> bool {
    ["record", "records"].iter().any(|word| {
        let found = format!("{word} {record}");
        let mut behind = told.match_indices(&found).map(|(at, _)| &told[at + found.len()..]);
        behind.any(|rest| {
            let of_several =
                rest.strip_prefix(" to ").map(|rest| rest.trim_start_matches(|digit: char| digit.is_ascii_digit()));
            let is_good =
                [" is as it was", " are as they were"].iter().any(|good| of_several.unwrap_or(rest).starts_with(good));
            !rest.starts_with(|next: char| next.is_ascii_digit()) && !is_good
        })
    })
}

/// Flips bits, or deletes, doubles, swaps, replaces, inserts or cuts off lines.
fn edit(lines: &[Line], random: &mut impl Rng) -> Vec<Line> {
    let mut lines = lines.to_vec();
    let (a, b) = (random.random_range(0..lines.len()), random.random_range(0..lines.len()));
    match random.random_range(0..8) {
        0 => {
            let place = random.random_range(0..lines[a].1.len());
            lines[a].1[place] ^= 1 << random.random_range(0..8);
        }
        1 => drop(lines.remove(a)),
        2 => swap(&mut lines, a, b),
        3 => copy(&mut lines, a, b),
        4 => lines.truncate(a),
        // As when an older record, or an older checkpoint, is put in the place of a newer one.
        6 => lines[a.max(b)].1 = lines[a.min(b)].1.clone(),
        5 => cut(&mut lines[a].1, random),
        _ => {
            lines.truncate(a + 1);
            cut(&mut lines[a].1, random);
        }
    }
    lines
}

/// Two lines change places: the files stay where they are.
fn swap(lines: &mut [Line], a: usize, b: usize) {
    let (one, other) = (lines[a].1.clone(), lines[b].1.clone());
    (lines[a].1, lines[b].1) = (other, one);
}

/// Puts a copy of the line `a` before the line `b`.
fn copy(lines: &mut Vec<Line>, a: usize, b: usize) {
    let (file, copy) = (lines[b].0, lines[a].1.clone());
    lines.insert(b, (file, copy));
}

fn cut(line: &mut Vec<u8>, random: &mut impl Rng) {
    let length = random.random_range(0..line.len());
    line.truncate(length);
}

/// Changes what a record says, or removes, doubles or swaps whole records, for the chain to be made anew.
fn forge(lines: &[Line], random: &mut impl Rng) -> Vec<Line> {
    let mut lines = lines.to_vec();
    let (a, b) = (random.random_range(1..lines.len()), random.random_range(1..lines.len()));
    // A file begins with the line that continues the one before: who removes that has no file.
    let begins = |place: usize| is_kind(&lines[place].1, "continued");
    if begins(a) || begins(b) {
        return lines;
    }
    match random.random_range(0..5) {
        0 => {
            let content = String::from_utf8(lines[a].1.clone()).unwrap();
            lines[a].1 = content.replace("\"reject\"", "\"pass\"").replace("\"rejected\"", "\"passed\"").into();
        }
        1 => drop(lines.remove(a)),
        2 => swap(&mut lines, a, b),
        3 => copy(&mut lines, a, b),
        _ => {
            let content = String::from_utf8(lines[a].1.clone()).unwrap();
            lines[a].1 = content.replacen("\"monotonic_ns\":", "\"monotonic_ns\":1", 1).into();
        }
    }
    lines
}

fn is_kind(line: &[u8], kind: &str) -> bool {
    String::from_utf8_lossy(line).contains(&format!("\"kind\":\"{kind}\""))
}

/// The lines in one chain, with the tree that each file says it continues.
fn resealed(lines: &[Line]) -> Vec<Line> {
    let (mut link, mut file) = (Link::START, 0);
    let seal = |(place, line): &Line| {
        if *place != file {
            file = *place;
            link.begin_file();
        }
        let mut record: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).unwrap();
        ["seq", "prev", "falls", "hash"].iter().for_each(|field| drop(record.shift_remove(*field)));
        if is_kind(line, "continued") {
            let peaks = link.tree().peaks().iter().map(|peak| base64(*peak)).collect::<Vec<_>>();
            record["peaks"] = peaks.into();
        }
        (*place, link.seal(&serde_json::to_string(&record).unwrap()).into_bytes())
    };
    lines.iter().map(seal).collect()
}
