//! What is found of logs and folders that are made by hand: a record of each kind that tells of pictures, and files in any place.

use std::path::PathBuf;

use super::*;
use crate::digest::Digest;

/// A log with its pictures beside it. A picture's content is its file's name.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new(lines: &[String]) -> Self {
        let bench = Bench(tempfile::tempdir().unwrap());
        std::fs::write(bench.log(), lines.concat()).unwrap();
        std::fs::create_dir(bench.folder()).unwrap();
        bench
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("audit.jsonl")
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("pictures")
    }

    fn put(&self, file: &str, content: &str) {
        let path = self.folder().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn inventory(&self) -> Inventory {
        of(&self.log(), &self.folder())
    }
}

/// What is there of a log that nobody gave a key of.
fn of(path: &Path, folder: &Path) -> Inventory {
    inventory(path, folder, Unvouched::default(), || unreachable!("all is vouched for")).unwrap()
}

fn line(seq: u64, kind: &str, rest: &str) -> String {
    format!(
        "{{\"seq\":{seq},\"prev\":\"\",\"kind\":\"{kind}\",\"time\":\"2026-11-24T06:00:{:02}.000000Z\",{rest}}}\n",
        seq % 60
    )
}

/// The record `seq`, of this kind, of a picture of the run `r`.
fn named(seq: u64, kind: &str, file: &str, why: &str) -> String {
    let file = format!("r/2026-11-24/{file}");
    let digest = Digest::of(&file);
    let picture = format!("{{\"why\":\"{why}\",\"file\":\"{file}\",\"sha256\":\"{digest}\",\"pixels_sha256\":null}}");
    line(seq, kind, &format!("\"part\":{seq},\"picture\":{picture}"))
}

/// The record `seq`, which tells of the removal of one picture of the run `r`, and of those `of` this kind before it.
fn removal(seq: u64, of: &str, file: &str) -> String {
    let last = format!("r/2026-11-24/{file}");
    let rest = format!("\"of\":\"{of}\",\"pictures\":1,\"bytes\":1,\"until\":\"2026-11-24\",\"last\":\"{last}\"");
    line(seq, "pictures-removed", &rest)
}

/// More pictures than are looked at between two looks at the log.
#[test]
fn every_picture_is_looked_at_whatever_the_record_is_and_in_the_order_of_records() {
    let count = BATCH as u64 + 10;
    let mut lines = vec![line(0, "start", "\"run\":\"r\"")];
    lines.extend((1..=count).map(|seq| {
        let (kind, why) = if seq % 2 == 0 { ("part", "reject") } else { ("picture", "around") };
        named(seq, kind, &format!("{seq:08}-{why}.png"), why)
    }));
    let bench = Bench::new(&lines);
    for seq in 1..=count {
        let why = if seq % 2 == 0 { "reject" } else { "around" };
        let file = format!("r/2026-11-24/{seq:08}-{why}.png");
        bench.put(&file, &file);
    }
    let found = bench.inventory();
    assert_eq!((found.whole, found.removed, found.amiss.len()), (count, 0, 0));
    assert!(found.bytes > 20 * count && found.unnamed == Unnamed::default() && found.elsewhere.is_empty());
    for (seq, why) in [(count - 1, "around"), (2, "reject")] {
        bench.put(&format!("r/2026-11-24/{seq:08}-{why}.png"), "another picture");
    }
    std::fs::remove_file(bench.folder().join("r/2026-11-24/00000005-around.png")).unwrap();
    let found = bench.inventory();
    let told = found.amiss.iter().map(|amiss| (amiss.record, amiss.fault, amiss.part.as_str())).collect::<Vec<_>>();
    let newest = format!("r/{}", count - 1);
    let expected =
        [(2, Fault::Changed, "r/2"), (5, Fault::Missing, "r/5"), (count - 1, Fault::Changed, newest.as_str())];
    assert_eq!((found.whole, told.as_slice()), (count - 3, &expected[..]));
}

#[test]
fn what_no_record_names_is_told_of_where_all_records_of_its_run_are_here() {
    let files = ["00000001-reject.png", "00000002-reject.png"];
    let whole = vec![line(0, "start", "\"run\":\"r\""), named(1, "part", files[0], "reject")];
    let bench = Bench::new(&whole);
    files.iter().for_each(|file| bench.put(&format!("r/2026-11-24/{file}"), &format!("r/2026-11-24/{file}")));
    bench.put("s/2026-11-24/00000001-reject.png", "of no run");
    let found = bench.inventory();
    let unnamed = ["r/2026-11-24/00000002-reject.png", "s/2026-11-24/00000001-reject.png"].map(str::to_owned);
    assert_eq!(found.unnamed, Unnamed { files: unnamed.to_vec(), ..Unnamed::default() });
    // Files of the log were carried away: of what was in them nobody can say anything.
    let later = [
        line(7, "continued", "\"run\":\"r\""),
        named(8, "part", files[0], "reject"),
        line(9, "start", "\"run\":\"t\""),
    ];
    std::fs::write(bench.log(), later.concat()).unwrap();
    // A run that nobody ever began, later than all that was carried away, was not in it.
    for run in ["a", "s", "t"] {
        bench.put(&format!("{run}/2026-11-24/00000001-reject.png"), "put there");
    }
    let found = bench.inventory();
    let files = ["s/2026-11-24/00000001-reject.png", "t/2026-11-24/00000001-reject.png"].map(str::to_owned).to_vec();
    assert_eq!((found.whole, found.unnamed), (1, Unnamed { files, of_others: 2, ..Unnamed::default() }));
}

/// In the folder that names this log a run without a start is one that was cut off; in one that names another it is none of this log's.
#[test]
fn runs_that_the_log_does_not_know_are_told_by_whose_the_folder_is() {
    let file = "r/2026-11-24/00000001-reject.png";
    let hash = Digest::of("the first line");
    let start = line(0, "start", &format!("\"run\":\"r\",\"hash\":\"{hash}\""));
    let bench = Bench::new(&[start, named(1, "part", "00000001-reject.png", "reject")]);
    for file in [
        file,
        "r/2026-11-24/00000002-reject.png",
        "20261124T070000.000000Z/2026-11-24/00000001-reject.png",
        "20261124T070000.000000Z/2026-11-24/00000002-reject.png",
        // What a file system or a file browser keeps there is no run.
        "lost+found/#12/file",
    ] {
        bench.put(file, file);
    }
    let owned = |name: &str, first: &Digest| bench.put("owner.txt", &format!("{name}\nwords\nfirst line {first}\n"));
    let cut = Unnamed {
        files: vec!["lost+found/#12/file".to_owned(), "r/2026-11-24/00000002-reject.png".to_owned()],
        of_unknown_runs: BTreeMap::from([("20261124T070000.000000Z".to_owned(), 2)]),
        ..Unnamed::default()
    };
    // A log and its pictures may have been moved, each to somewhere else.
    for name in ["../audit.jsonl", "../../elsewhere.jsonl"] {
        owned(name, &hash);
        let found = bench.inventory();
        assert_eq!((found.whole, &found.unnamed, &found.owner), (1, &cut, &None));
    }
    let other = Digest::of("another first line");
    owned("../audit.jsonl", &other);
    let found = bench.inventory();
    assert!(found.is_owner_edited() && found.unnamed == cut, "{found:?}");
    // What has no end is not read, and names nobody.
    let owner = bench.folder().join("owner.txt");
    std::fs::remove_file(&owner).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &owner).unwrap();
    let found = bench.inventory();
    assert!(found.is_owner_edited() && found.unnamed == cut, "{found:?}");
    std::fs::remove_file(&owner).unwrap();
    // None of this log's pictures is there: it is that log's folder.
    owned("../other.jsonl", &other);
    std::fs::remove_file(bench.folder().join(file)).unwrap();
    let found = bench.inventory();
    let unnamed = Unnamed { of_another_log: 4, ..Unnamed::default() };
    assert_eq!((found.is_owner_edited(), found.unnamed), (false, unnamed));
    assert_eq!(found.owner.as_deref(), Some("../other.jsonl"));
}

#[test]
fn who_takes_the_owner_s_name_away_hides_no_run_that_was_cut_off() {
    let [before, own, cut] = ["20261122", "20261123", "20261124"].map(|day| format!("{day}T070000.000000Z"));
    let file = "r/2026-11-24/00000001-reject.png";
    let picture = named(1, "part", "00000001-reject.png", "reject")
        .replace(file, &format!("{own}/2026-11-24/00000001-reject.png"));
    let bench = Bench::new(&[line(0, "start", &format!("\"run\":\"{own}\"")), picture]);
    // Its digest is that of what a picture of the run `r` holds.
    bench.put(&file.replace("r/", &format!("{own}/")), file);
    let put = |run: &str| bench.put(&format!("{run}/2026-11-24/00000009-reject.png"), "another");
    put(&before);
    put(&cut);
    let found = bench.inventory();
    assert_eq!((found.whole, found.owner, found.is_owner_gone), (1, None, true));
    assert_eq!(found.unnamed.of_unknown_runs, BTreeMap::from([(cut, 1)]));
    assert_eq!(found.unnamed.files, [format!("{before}/2026-11-24/00000009-reject.png")]);
}

#[test]
fn the_pictures_of_files_that_come_after_those_that_are_read_accuse_nobody() {
    let runs = ["q", "r", "s"];
    let hash = Digest::of("the first line");
    let closed = [
        line(0, "start", &format!("\"run\":\"q\",\"hash\":\"{hash}\"")),
        line(1, "start", "\"run\":\"r\""),
        named(2, "part", "00000002-reject.png", "reject"),
    ];
    let newest = [
        line(3, "continued", "\"run\":\"r\""),
        named(4, "part", "00000004-reject.png", "reject"),
        line(5, "start", "\"run\":\"s\""),
    ];
    let bench = Bench::new(&newest);
    let path = bench.log().with_file_name("audit.000001.jsonl");
    std::fs::write(&path, closed.concat()).unwrap();
    for file in ["r/2026-11-24/00000002-reject.png", "r/2026-11-24/00000004-reject.png"] {
        bench.put(file, file);
    }
    runs.iter().for_each(|run| bench.put(&format!("{run}/2026-11-24/00000009-reject.png"), "put there"));
    bench.put("owner.txt", &format!("../audit.jsonl\nwords\nfirst line {hash}\n"));
    let unnamed = |runs: &[&str], of_others: u64| {
        let files = runs.iter().map(|run| format!("{run}/2026-11-24/00000009-reject.png"));
        Unnamed { files: files.collect(), of_others, ..Unnamed::default() }
    };
    assert_eq!(bench.inventory().unnamed, unnamed(&runs, 0));
    // One alone, whether the others are there or not.
    let alone = of(&path, &bench.folder());
    assert_eq!((alone.whole, alone.unnamed), (1, unnamed(&["q"], 3)));
    std::fs::remove_file(bench.log()).unwrap();
    assert_eq!(bench.inventory().unnamed, unnamed(&["q"], 3));
}

#[test]
fn a_run_that_is_named_as_later_may_be_in_files_that_were_carried_away() {
    let hash = Digest::of("the first line");
    let (ahead, own) = ("20270101T000000.000000Z", "20261124T060000.000000Z");
    let starts = [line(0, "start", &format!("\"run\":\"{ahead}\"")), line(7, "start", &format!("\"run\":\"{own}\""))];
    let bench = Bench::new(&starts[1..]);
    bench.put(&format!("{ahead}/2027-01-01/00000001-reject.png"), "of a clock that was ahead");
    let owned = format!("../audit.jsonl\nwords\nfirst line {hash}\n");
    bench.put("owner.txt", &owned);
    let found = bench.inventory().unnamed;
    let doubtful = BTreeMap::from([(ahead.to_owned(), 1)]);
    assert_eq!(found, Unnamed { of_doubtful_runs: doubtful, ..Unnamed::default() });
    // With all its files here the log has no such run.
    let first = starts[1].replace("\"seq\":7", "\"seq\":0").replace("}\n", &format!(",\"hash\":\"{hash}\"}}\n"));
    std::fs::write(bench.log(), first).unwrap();
    assert_eq!(bench.inventory().unnamed.of_unknown_runs.get(ahead), Some(&1));
}

#[test]
fn a_folder_that_cannot_be_listed_keeps_nobody_from_the_rest() {
    let bench = Bench::new(&[line(0, "start", "\"run\":\"r\""), named(1, "part", "00000001-reject.png", "reject")]);
    // Short enough for a name of a picture, and not for that of the folder beside its run.
    let mut folder = bench.folder();
    while folder.as_os_str().len() < 3800 {
        folder.push("f".repeat(100));
    }
    std::fs::create_dir_all(folder.join("r/2026-11-24")).unwrap();
    let file = "r/2026-11-24/00000001-reject.png";
    for name in [file, "r/2026-11-24/put-there.png"] {
        std::fs::write(folder.join(name), file).unwrap();
    }
    let make = |name: String| {
        let made = std::process::Command::new("mkdir").arg("-p").arg(name).current_dir(&folder).status();
        assert!(made.unwrap().success());
    };
    make("u".repeat(250));
    make(format!("s/2026-11-24/{}", "deep/".repeat(60)));
    std::os::unix::fs::symlink("loop", folder.join("r/loop")).unwrap();
    let found = of(&bench.log(), &folder);
    let unnamed = ["r/2026-11-24/put-there.png", "s/2026-11-24/deep"].map(str::to_owned);
    assert_eq!((found.whole, found.amiss, found.unnamed.files), (1, vec![], unnamed.to_vec()));
    let unlisted = found.unnamed.unlisted;
    let is_told = |at: usize, name: &str| unlisted[at].contains(name) && unlisted[at].contains("os error");
    assert!(unlisted.len() == 2 && is_told(0, "r/loop") && is_told(1, &"u".repeat(250)), "{unlisted:?}");
}

#[test]
fn a_removal_that_nobody_vouches_for_excuses_no_picture_that_is_gone() {
    let lines = [
        line(0, "start", "\"run\":\"r\""),
        named(1, "part", "00000001-reject.png", "reject"),
        named(2, "part", "00000002-reject.png", "reject"),
        removal(3, "rejects", "00000001-reject.png"),
    ];
    let bench = Bench::new(&lines);
    bench.put("r/2026-11-24/00000002-reject.png", "r/2026-11-24/00000002-reject.png");
    assert_eq!(bench.inventory().removed, 1);
    let unsigned = || Unvouched::new(&[3..4, 8..9], 10);
    let found = |now: Unvouched| {
        let mut asked = 0;
        let by_now = || {
            asked += 1;
            Ok(now)
        };
        (inventory(&bench.log(), &bench.folder(), unsigned(), by_now).unwrap(), asked)
    };
    let (forged, asked) = found(unsigned());
    assert_eq!((forged.whole, forged.removed, forged.count(Fault::Missing), asked), (1, 0, 1, 1));
    assert!(forged.amiss[0].why.contains("no checkpoint of their run vouches for"), "{}", forged.amiss[0].why);
    // What was signed meanwhile was told by the run itself.
    let (signed, asked) = found(Unvouched::new(&[], 10));
    assert_eq!((signed.whole, signed.removed, signed.amiss.len(), asked), (1, 1, 0, 1));
    // Nobody looks again for what no record tells of.
    std::fs::remove_file(bench.folder().join("r/2026-11-24/00000002-reject.png")).unwrap();
    bench.put("r/2026-11-24/00000001-reject.png", "r/2026-11-24/00000001-reject.png");
    let (other, asked) = found(unsigned());
    assert_eq!((other.count(Fault::Missing), asked), (1, 0));
}

#[test]
fn what_lies_behind_a_link_in_the_place_of_a_run_or_a_day_is_looked_at_too() {
    let lines = [line(0, "start", "\"run\":\"r\""), named(1, "part", "00000001-reject.png", "reject")];
    let bench = Bench::new(&lines);
    let (elsewhere, file) = (bench.0.path().join("elsewhere"), "r/2026-11-24/00000001-reject.png");
    for (day, name) in [("2026-11-24", "00000001-reject.png"), ("2026-11-24", "put-there.png"), ("other", "p.png")] {
        std::fs::create_dir_all(elsewhere.join(day)).unwrap();
        std::fs::write(elsewhere.join(day).join(name), file).unwrap();
    }
    std::os::unix::fs::symlink("../elsewhere", bench.folder().join("r")).unwrap();
    std::os::unix::fs::symlink("other", elsewhere.join("2026-11-25")).unwrap();
    let found = bench.inventory();
    let files = ["r/2026-11-24/put-there.png", "r/2026-11-25/p.png", "r/other/p.png"].map(str::to_owned);
    assert_eq!((found.whole, found.unnamed.files), (1, files.to_vec()));
}

#[test]
fn a_picture_that_was_removed_accuses_nobody_and_a_run_that_is_gone_is_told_of_as_a_whole() {
    let lines = [
        line(0, "start", "\"run\":\"r\""),
        named(1, "part", "00000001-reject.png", "reject"),
        // Its own record has no verdict.
        named(2, "picture", "00000002-around.png", "around"),
        named(3, "picture", "00000003-around.png", "around"),
        removal(4, "passes", "00000002-around.png"),
    ];
    let bench = Bench::new(&lines);
    let found = bench.inventory();
    assert_eq!((found.removed, found.elsewhere.get("r")), (1, Some(&2)), "{found:?}");
    assert!(found.amiss.is_empty());
    bench.put("r/2026-11-24/00000001-reject.png", "r/2026-11-24/00000001-reject.png");
    let found = bench.inventory();
    let missing = found.amiss.iter().map(|amiss| (amiss.record, amiss.fault)).collect::<Vec<_>>();
    assert_eq!((found.whole, found.removed, missing), (1, 1, vec![(3, Fault::Missing)]), "{found:?}");
    // A folder in its place is no disk that cannot be read: somebody put it there.
    bench.put("r/2026-11-24/00000003-around.png/x", "a folder of that name");
    let found = bench.inventory();
    assert_eq!((found.whole, found.amiss[0].record, found.amiss[0].fault), (1, 3, Fault::Changed), "{found:?}");
    // Nor is a file in the place of its day, or a run that leads to itself.
    let run = bench.folder().join("r");
    std::fs::remove_dir_all(run.join("2026-11-24")).unwrap();
    std::fs::write(run.join("2026-11-24"), "a file").unwrap();
    let faults = |found: Inventory| found.amiss.iter().map(|amiss| (amiss.record, amiss.fault)).collect::<Vec<_>>();
    assert_eq!(faults(bench.inventory()), [(1, Fault::Missing), (3, Fault::Missing)]);
    std::fs::remove_dir_all(&run).unwrap();
    std::os::unix::fs::symlink("r", &run).unwrap();
    assert_eq!(faults(bench.inventory()), [1, 2, 3].map(|record| (record, Fault::Changed)));
    std::fs::remove_file(&run).unwrap();
    // No folder at all is a run that is gone, and no error of a disk.
    std::fs::remove_dir_all(bench.folder()).unwrap();
    assert_eq!(bench.inventory().elsewhere.get("r"), Some(&2));
}
