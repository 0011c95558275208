//! What a line keeps of its decisions, and what can be done with it: pictures, queries, replays.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::line::Line;
use common::{hgad, records, run};
use hgad::digest::Digest;
use serde_json::Value;

fn is(part: &Value, verdict: &str) -> bool {
    part["verdict"] == verdict
}

#[test]
fn rejects_are_kept_as_the_camera_gave_them_and_come_out_the_same_again() {
    let line = Line::after_a_run("sample = 0.5\n");
    let parts = line.parts();
    let (mut kept, mut passes) = (0, 0);
    for part in &parts {
        let picture = line.kept(part);
        assert!(picture.is_some() || !is(part, "reject"), "{part}");
        if let Some(picture) = picture {
            let (file, frame) = (std::fs::read(line.picture(part)).unwrap(), part["origin"].as_str().unwrap());
            assert_eq!(file, std::fs::read(line.bench.path("frames").join(frame)).unwrap(), "byte for byte");
            assert_eq!(picture["sha256"], Digest::of(&file).to_string());
            kept += usize::from(part["score"].is_number());
            passes += usize::from(is(part, "pass"));
        }
        if part["score"].is_number() {
            let place = part["place"].as_array().is_some_and(|place| place.len() == 2);
            assert!(place && part["levels"].as_array().unwrap().len() == 1, "{part}");
        }
    }
    assert!(kept >= 4 && passes >= 1, "{parts:?}");

    let (code, stdout, stderr) = line.judged("replay", &[]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (row, unjudged) = (replayed(&stdout), line.parts().iter().filter(|part| is_kept_unjudged(&line, part)).count());
    assert_eq!((row["same"], row["unjudged"]), (kept, unjudged), "{stdout}");
    assert_eq!(row.values().sum::<usize>(), kept + unjudged, "{stdout}");
    assert!(stdout.trim_end().ends_with(" 0.000e0"), "{stdout}");
}

/// The counts of a replay's table for the class of these lines, by column.
fn replayed(stdout: &str) -> BTreeMap<String, usize> {
    let words = |begin: &str| {
        let line = stdout.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{stdout}"));
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    words("class").into_iter().zip(words("red")).filter_map(|(name, count)| Some((name, count.parse().ok()?))).collect()
}

/// On a busy machine a frame may not be inspected.
fn is_kept_unjudged(line: &Line, part: &Value) -> bool {
    part["score"].is_null() && part["picture_fault"].is_null() && line.kept(part).is_some()
}

#[test]
fn a_picture_that_was_refused_comes_out_refused_again_by_the_same_numbers() {
    let line = Line::new("");
    let frame = |number: u32| line.bench.path(&format!("frames/{number:03}.png"));
    let mut dark = image::open(frame(3)).unwrap().to_rgb8();
    dark.iter_mut().for_each(|value| *value /= 4);
    dark.save(frame(3)).unwrap();
    // The same picture twice: that one alone does not tell.
    std::fs::copy(frame(9), frame(10)).unwrap();
    line.run();
    let parts = line.parts();
    let refused = |fault: &str| parts.iter().filter(|part| part["picture_fault"]["fault"] == fault).count();
    // On a busy machine a frame may not be inspected.
    let (dark, frozen) = (refused("too-dark"), refused("frozen"));
    assert!(dark == 1 && frozen <= 1, "{parts:?}");
    let (_, digest) = hgad::calibrate::Calibration::open(&line.bench.path("calibration/red.toml")).unwrap();
    let part = parts.iter().find(|part| part["picture_fault"]["fault"] == "too-dark").unwrap();
    assert_eq!(part["picture_fault"]["calibration"], digest.to_string(), "{part}");
    assert!(part["calibration"].is_null() && part["score"].is_null(), "nothing judged it: {part}");

    let (code, stdout, stderr) = line.judged("replay", &[]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let row = replayed(&stdout);
    let others = parts.iter().filter(|part| is_kept_unjudged(&line, part)).count();
    assert_eq!((row["faulty"], row["unjudged"]), (1, frozen + others), "{stdout}");
    assert!(stderr.contains("not judged then") == (frozen + others > 0), "{stderr}");
    let page = line.bench.text("shift.html");
    let (code, _, stderr) = run(&["audit", "report", &line.log(), "--out", &page]);
    assert_eq!(code, 0, "{stderr}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("judged by bundle") && !page.contains("calibration -"), "{page}");

    // A number that was written otherwise is a decision that comes out different.
    let text = std::fs::read_to_string(line.log()).unwrap();
    let brightness = part["picture_fault"]["brightness"].to_string();
    std::fs::write(line.log(), text.replace(&brightness, "1.5")).unwrap();
    let (code, stdout, stderr) = line.judged("replay", &[]);
    assert!(code == 1 && stdout.contains("refused as too-dark then (brightness 1.5,"), "{stdout}{stderr}");
    assert_eq!(replayed(&stdout)["differ"], 1, "{stdout}");
    // An older program wrote no numbers: it is counted.
    let (begin, _) = text.split_once(",\"picture_fault\":").unwrap();
    let rest = text[begin.len()..].split_once('}').unwrap().1;
    std::fs::write(line.log(), format!("{begin}{rest}")).unwrap();
    let (code, stdout, stderr) = line.judged("replay", &[]);
    assert!(code == 0 && stderr.contains("not judged then"), "{stdout}{stderr}");
    let row = replayed(&stdout);
    assert_eq!((row["faulty"], row["unjudged"]), (0, 1 + frozen + others), "{stdout}");
}

#[test]
fn every_part_names_the_pixels_that_were_scored_and_is_found_by_them() {
    let line = Line::after_a_run("");
    let parts = line.parts();
    let frame = |part: &Value| line.bench.path("frames").join(part["origin"].as_str().unwrap());
    for part in parts.iter().filter(|part| part["score"].is_number()) {
        let pixels = image::open(frame(part)).unwrap().to_rgb8();
        assert_eq!(part["pixels_sha256"], Digest::of(pixels.as_raw()).to_string(), "{part}");
    }
    let passed = parts.iter().find(|part| is(part, "pass") && part["picture"].is_null()).expect("one that is not kept");
    let asked = |file: &Path| {
        let (file, log) = (file.to_str().unwrap().to_owned(), line.log());
        run(&["audit", "query", &log, "--picture", &file, "--format", "json"])
    };
    let (code, stdout, stderr) = asked(&frame(passed));
    let found = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["part"].clone());
    let found = found.collect::<Vec<_>>();
    let same = parts.iter().filter(|part| part["pixels_sha256"] == passed["pixels_sha256"]);
    assert_eq!((code, found), (0, same.map(|part| part["part"].clone()).collect::<Vec<_>>()), "{stderr}");
    let other = line.bench.path("other.png");
    image::RgbImage::from_pixel(8, 8, image::Rgb([1, 2, 3])).save(&other).unwrap();
    let (code, stdout, stderr) = asked(&other);
    assert!(code == 0 && stdout.is_empty() && stderr.contains("no record found"), "{stdout}{stderr}");
    let (code, _, stderr) = asked(Path::new(&line.log()));
    assert!(code == 3 && stderr.contains("audit.jsonl"), "{code} {stderr}");
}

#[test]
fn a_replay_finds_what_was_changed_and_refuses_what_did_not_judge() {
    let line = Line::after_a_run("");
    let rejected = line.parts().into_iter().filter(|part| is(part, "reject")).collect::<Vec<_>>();
    assert!(rejected.len() >= 3, "{rejected:?}");
    std::fs::write(line.picture(&rejected[0]), "another picture").unwrap();
    std::fs::remove_file(line.picture(&rejected[1])).unwrap();
    let (code, stdout, stderr) = line.judged("replay", &[]);
    assert!(code == 1 && stdout.contains("is not the file that was written"), "{stdout}{stderr}");
    let row = replayed(&stdout);
    assert_eq!((row["changed"], row["gone"]), (2, 0), "one was exchanged, one taken away: {stdout}");

    // Whoever forges a score has to forge the picture too.
    let text = std::fs::read_to_string(line.log()).unwrap();
    let score = rejected[2]["score"].to_string();
    std::fs::write(line.log(), text.replace(&score, "1e9")).unwrap();
    let replay = || line.judged("replay", &["--part", &rejected[2]["part"].to_string()]);
    let (code, stdout, stderr) = replay();
    assert!(code == 1 && stdout.contains("score 1000000000 (reject) then"), "{stdout}");
    assert!(stderr.contains("hgad audit verify says") && !stderr.contains("--tolerance"), "no rounding: {stderr}");
    let own = text.lines().find(|line| line.contains(&score)).unwrap();
    std::fs::write(line.log(), text.replace(own, &own.replace("\"reject\"", "\"pass\""))).unwrap();
    let (code, stdout, stderr) = replay();
    assert!(
        code == 1 && stdout.contains("contradict each other") && !stderr.contains("--tolerance"),
        "{stdout}{stderr}"
    );
    std::fs::write(line.log(), text).unwrap();

    line.bench.calibrate("red", "calibration/red.toml");
    let (code, stdout, stderr) = line.judged("replay", &[]);
    assert!(code == 2 && stderr.contains("was judged by another calibration"), "{stdout}{stderr}");
}

/// Calibrates the line's class with a mask that is black where `is_ignored`.
fn mask(line: &Line, is_ignored: impl Fn(u32, u32) -> bool) {
    let mask = image::GrayImage::from_fn(64, 64, |x, y| image::Luma([if is_ignored(x, y) { 0 } else { 255 }]));
    mask.save(line.bench.path("mask.png")).unwrap();
    let text = |inside: &str| line.bench.text(inside);
    let (model, images, mask, out) =
        (text("bundle"), text("data/red/train/good"), text("mask.png"), text("calibration/red.toml"));
    let base = ["calibrate", "--model", &model, "--class", "red", "--images", &images, "--target-frr", "0.05"];
    let (code, _, err) = run(&[&base[..], &["--mask", &mask, "--out", &out]].concat());
    assert_eq!(code, 0, "{err}");
}

#[test]
fn a_line_with_a_mask_looks_at_the_rest_alone_and_its_parts_come_out_the_same_again() {
    let line = Line::new("sample = 1\n");
    // All stains of this line lie here.
    mask(&line, |x, y| x < 32 && y < 32);
    line.run();
    let parts = line.parts();
    let judged = parts.iter().filter(|part| part["score"].is_number()).collect::<Vec<_>>();
    assert!(judged.len() >= 8 && judged.iter().all(|part| is(part, "pass")), "{parts:?}");
    for part in &judged {
        let place = part["place"].as_array().unwrap().iter().map(|share| share.as_f64().unwrap());
        assert!(place.into_iter().any(|share| share > 0.5), "never where nobody looks: {part}");
    }
    let (code, stdout, stderr) = line.judged("replay", &[]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (row, unjudged) = (replayed(&stdout), parts.iter().filter(|part| is_kept_unjudged(&line, part)).count());
    assert_eq!((row["same"], row["unjudged"]), (judged.len(), unjudged), "{stdout}");
    assert!(row.values().sum::<usize>() == parts.len() && stdout.trim_end().ends_with(" 0.000e0"), "{stdout}");

    let out = line.bench.text("shown.png");
    let id = judged[1]["seq"].to_string();
    let (code, stdout, stderr) = line.judged("show", &[&id, "--out", &out]);
    assert!(code == 0 && stdout.contains("what is hatched was ignored"), "{stdout}{stderr}");
    let shown = image::open(&out).unwrap().to_rgb8();
    assert_ne!(shown.get_pixel(70, 10), shown.get_pixel(6, 10), "hatched");
    // The upper right is below the threshold: the part's red stays above the rest.
    let [red, green, _] = shown.get_pixel(64 + 50, 10).0;
    assert!(red > green, "{:?}", shown.get_pixel(64 + 50, 10));

    // A threshold of one mask is never used with another: mask and threshold are one file, and its digest is in the record.
    mask(&line, |x, _| x < 32);
    let (code, stdout, stderr) = line.judged("replay", &[]);
    assert!(code == 2 && stderr.contains("was judged by another calibration"), "{stdout}{stderr}");
}

#[test]
fn a_run_tells_of_pictures_that_are_gone_and_writes_that_down() {
    let line = Line::after_a_run("");
    line.run();
    let told = |line: &Line| {
        let notes = line.query(&["--kind", "note"]);
        notes
            .iter()
            .filter(|note| note["text"].as_str().unwrap().contains("pictures that the log names are gone"))
            .count()
    };
    assert_eq!(told(&line), 0, "none is gone");
    std::fs::remove_dir_all(line.bench.path("pictures")).unwrap();
    let (_, stdout, _) = run(&["check", "--config", &line.bench.text("line.toml")]);
    assert!(stdout.contains("pictures that the log names are gone"), "{stdout}");
    line.run();
    assert_eq!(told(&line), 1);
}

#[test]
fn a_run_that_fails_behind_its_start_says_so_in_the_log() {
    let line = Line::new("");
    // The folder is the log's and holds no picture; what has to be added to this file finds no room.
    std::fs::create_dir(line.bench.path("pictures")).unwrap();
    let owner = line.bench.path("pictures/owner.txt");
    std::fs::write(&owner, format!("../audit.jsonl\n{}", "kept for a reason\n".repeat(20_000))).unwrap();
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" run --config \"$1\"";
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", script, env!("CARGO_BIN_EXE_hgad"), &line.bench.text("line.toml")]);
    let output = limited.output().unwrap();
    let stderr = common::stderr(&output);
    assert!(output.status.code() == Some(3) && stderr.contains("pictures cannot be kept in"), "{stderr}");
    let written = records(Path::new(&line.log()));
    let (first, last) = (&written[0], written.last().unwrap());
    assert!(first["kind"] == "start" && last["kind"] == "stop", "{written:?}");
    let reason = last["reason"].as_str().unwrap();
    assert!(reason.starts_with("the line could not start: pictures cannot be kept in"), "{reason}");
    line.run();
    assert!(records(Path::new(&line.log())).iter().all(|record| record["kind"] != "interrupted"));
}

#[test]
fn show_says_why_and_paints_what_the_model_saw() {
    let line = Line::after_a_run("");
    let rejected = line.parts().into_iter().find(|part| is(part, "reject")).unwrap();
    let out = line.bench.text("part.png");
    let (code, stdout, stderr) = line.judged("show", &[&rejected["seq"].to_string(), "--out", &out]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let says = format!("is bad: its score {} is above the threshold {}", rejected["score"], rejected["threshold"]);
    assert!(stdout.contains(&says) && stdout.contains("the same, bit for bit"), "{stdout}");
    assert!(stdout.starts_with(&format!("record {}: part {} (", rejected["seq"], rejected["part"])), "{stdout}");
    assert!(
        stdout.contains("nothing was driven") && !stdout.contains("was told to reject"),
        "there is no output: {stdout}"
    );
    assert_eq!(image::open(&out).unwrap().to_rgb8().dimensions(), (128, 64), "the picture, and the same under its map");

    let start = records(Path::new(&line.log())).remove(0);
    let id = format!("{}/{}", start["run"].as_str().unwrap(), rejected["part"]);
    assert_eq!(line.judged("show", &[&id, "--out", &out]).1, stdout, "its own picture is painted anew");
    // What somebody else made is not.
    let theirs = line.bench.text("theirs.png");
    image::RgbImage::new(4, 4).save(&theirs).unwrap();
    let before = std::fs::read(&theirs).unwrap();
    let (code, _, stderr) = line.judged("show", &[&id, "--out", &theirs]);
    assert!(code == 2 && stderr.contains("no picture that hgad painted: it is not overwritten"), "{stderr}");
    assert_eq!(std::fs::read(&theirs).unwrap(), before);
    // By the same name query finds it.
    let found = line.query(&["--part", &id]);
    assert!(found.len() == 1 && found[0]["seq"] == rejected["seq"], "{found:?}");
    let (code, _, stderr) = run(&["audit", "query", &line.log(), "--part", &id, "--run", "another"]);
    assert!(code == 2 && stderr.contains("leave --run out"), "{stderr}");
    // The words need neither a model nor a picture, and a record that is no part has words of its own.
    let show = |more: &[&str]| run(&[&["audit", "show", &line.log()], more].concat());
    let passed = line.parts().into_iter().find(|part| is(part, "pass")).unwrap()["seq"].to_string();
    for (id, says) in [
        (rejected["seq"].to_string(), says.as_str()),
        (passed.clone(), "is good"),
        ("0".into(), "record 0 is no part; it is of the kind start"),
    ] {
        let (code, stdout, stderr) = show(&[&id]);
        assert!(code == 0 && stdout.contains(says), "{id}: {stdout}{stderr}");
    }
    let (code, stdout, stderr) = show(&[&passed, "--out", &line.bench.text("passed.png")]);
    assert!(code == 3 && stdout.contains("is good") && stderr.contains("leave out --out"), "{stdout}{stderr}");
    let (code, _, stderr) = show(&[&rejected["seq"].to_string(), "--out", &out]);
    assert!(code == 2 && stderr.contains("--model and --calibration"), "{stderr}");
    assert!(show(&[&passed, "--out", "camera.jpg"]).2.contains("ends with .png"));
    let (code, _, stderr) = show(&["99999"]);
    assert!(code == 2 && stderr.contains("has no record 99999"), "{stderr}");
    assert!(stdout.contains("the log was not checked as a whole"), "{stdout}");

    // A record that was changed is no story: neither one that contradicts itself, nor one whose hash or neighbours do not fit.
    let text = std::fs::read_to_string(line.log()).unwrap();
    let changes: [(&str, &str, &str); 3] = [
        ("\"verdict\":\"reject\"", "\"verdict\":\"pass\"", "contradict each other"),
        ("\"fate\":\"rejected\"", "\"fate\":\"passed\"", "contradict each other"),
        ("\"prev\":\"", "\"prev\":\"0", "its hash does not fit"),
    ];
    let seq = rejected["seq"].as_u64().unwrap();
    let changed = |number: u64, from: &str, to: &str| {
        let lines = text.lines().zip(0..).map(|(line, seq)| match seq == number {
            true => line.replacen(from, to, 1) + "\n",
            false => format!("{line}\n"),
        });
        std::fs::write(line.log(), lines.collect::<String>()).unwrap();
        line.judged("show", &[&seq.to_string(), "--out", &out])
    };
    for (from, to, why) in changes {
        let (code, stdout, stderr) = changed(seq, from, to);
        assert!(code == 1 && stderr.contains("is not as it was written") && stderr.contains(why), "{stdout}{stderr}");
        assert!(stdout.is_empty() && stderr.contains("hgad audit verify"), "{stdout}{stderr}");
    }
    // It is whole, and is told, where the one behind it was changed, or is not there.
    let (code, stdout, stderr) = changed(seq + 1, "\"kind\":", "\"kinds\":1,\"kind\":");
    assert!(
        code == 1 && stdout.starts_with(&format!("record {seq}: part")) && stderr.contains("whole by its own hash"),
        "{stderr}"
    );
    assert!(stderr.contains("the record behind it does not fit its own hash"), "{stderr}");
}

#[test]
fn show_says_which_record_is_whole_and_which_beside_it_are_missing() {
    let line = Line::after_a_run("");
    let text = std::fs::read_to_string(line.log()).unwrap();
    let lines = text.split_inclusive('\n').collect::<Vec<_>>();
    let show = |record: usize| run(&["audit", "show", &line.log(), &record.to_string()]);
    std::fs::write(line.log(), [&lines[..4], &lines[6..]].concat().concat()).unwrap();
    for (record, missing) in [(3, "records 4 to 5 are missing behind it"), (6, "records 4 to 5 are missing before it")]
    {
        let (code, stdout, stderr) = show(record);
        assert!(code == 1 && stdout.starts_with(&format!("record {record}")), "{stdout}{stderr}");
        assert!(stderr.contains("whole by its own hash") && stderr.contains(missing), "{stderr}");
        assert!(!stderr.contains("believe nothing") && stdout.contains("fits its own hash"), "{stdout}{stderr}");
    }
    assert_eq!((show(2).0, show(7).0), (0, 0));
    let (code, stdout, stderr) = show(4);
    assert!(code == 1 && stdout.is_empty() && stderr.contains("between record 3 and record 6"), "{stderr}");
    // One that was edited together with its hash: nobody can say which of both it was.
    let (content, _) = lines[4].trim_end().rsplit_once(",\"hash\":\"").unwrap();
    let content = content.replacen("\"time\":\"2", "\"time\":\"1", 1);
    let forged = format!("{content},\"hash\":\"{}\"}}\n", Digest::of(&content));
    std::fs::write(line.log(), [&lines[..4], &[&forged], &lines[5..]].concat().concat()).unwrap();
    for record in [4, 5] {
        let (code, stdout, stderr) = show(record);
        let told = format!("record {record} may not be as it was written");
        assert!(code == 1 && stdout.is_empty() && stderr.contains(&told), "{stderr}");
        assert!(stderr.contains("one of both was changed together with its hash"), "{stderr}");
    }
    assert_eq!((show(3).0, show(6).0), (0, 0));
}

#[test]
fn a_query_gives_the_records_that_were_asked_for_as_they_stand_in_the_log() {
    let line = Line::after_a_run("");
    line.run();
    let all = line.query(&["--kind", "any"]);
    assert_eq!(all, records(Path::new(&line.log())));
    let parts = line.query(&[]);
    assert_eq!(parts.len(), 24);
    let rejected = line.query(&["--verdict", "reject"]);
    assert!(rejected.len() >= 6 && rejected.iter().all(|part| is(part, "reject")));
    let starts = all.iter().filter(|record| record["kind"] == "start").collect::<Vec<_>>();
    let second = starts[1]["run"].as_str().unwrap();
    let of_second = line.query(&["--run", second, "--part", "3..5"]);
    let mut numbers = of_second.iter().map(|part| part["part"].as_u64().unwrap()).collect::<Vec<_>>();
    numbers.sort_unstable();
    assert_eq!(numbers, [3, 4, 5]);
    let from = starts[1]["time"].as_str().unwrap();
    assert_eq!(line.query(&["--from", from]).len(), 12);
    assert_eq!(line.query(&["--to", from]).len(), 12);
    let threshold = rejected[0]["threshold"].to_string();
    let above = line.query(&["--score", &format!("{threshold}..")]);
    assert!(above.iter().all(|part| part["score"].as_f64() >= rejected[0]["threshold"].as_f64()) && !above.is_empty());
    assert_eq!(line.query(&["--limit", "5"]).len(), 5);

    let (code, csv, _) = run(&["audit", "query", &line.log(), "--format", "csv", "--verdict", "reject"]);
    assert_eq!((code, csv.lines().count()), (0, rejected.len() + 1));
    let columns = csv.lines().map(|line| line.split(',').count()).collect::<Vec<_>>();
    assert!(columns.iter().all(|count| *count == columns[0]), "{csv}");
    let (_, table, _) = run(&["audit", "query", &line.log(), "--verdict", "reject"]);
    assert!(table.lines().skip(1).all(|line| line.contains("  reject  ")), "{table}");
    let (code, _, stderr) = run(&["audit", "query", &line.log(), "--from", "yesterday"]);
    assert!(code == 2 && stderr.contains("write it as"), "{stderr}");
}

#[test]
fn a_log_of_the_first_format_is_checked_and_read() {
    let sample = |name: &str| format!("{}/tests/data/audit-format-1/{name}", env!("CARGO_MANIFEST_DIR"));
    let (log, key, copy) = (sample("audit.jsonl"), sample("line-3.key.pub"), sample("line-3.checkpoint"));
    let kept = ["--checkpoint", &copy, "--checkpoint", &copy];
    let (code, stdout, stderr) = run(&[&["audit", "verify", &log, "--key", &key, "--all-signed"], &kept[..]].concat());
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("23 lines, 15 parts, 2 runs") && stdout.contains("records 0 to 21, 4 checkpoints"),
        "{stdout}"
    );
    let (code, stdout, _) = run(&["audit", "query", &log, "--verdict", "reject"]);
    assert_eq!((code, stdout.lines().count()), (0, 8), "{stdout}");
}

#[test]
fn of_a_log_with_a_run_without_an_end_nobody_says_that_nothing_was_lost() {
    let line = Line::after_a_run("");
    let log = std::fs::read_to_string(line.log()).unwrap();
    let (before, stop) = log.trim_end().rsplit_once('\n').unwrap();
    assert!(stop.contains("\"kind\":\"stop\""), "{stop}");
    let verify = || run(&["audit", "verify", &line.log()]).1;
    assert!(verify().contains("1 run, 0 records lost, "), "{}", verify());
    std::fs::write(line.log(), format!("{before}\n")).unwrap();
    let said = verify();
    assert!(said.contains("1 run, 0 records known to be lost, ") && said.contains("its disk took no more"), "{said}");
    // Also once another run has ended.
    line.run();
    assert!(verify().contains("2 runs, 0 records known to be lost, "), "{}", verify());
}

#[test]
fn a_shift_s_page_needs_nothing_else_and_shows_what_was_rejected() {
    let line = Line::after_a_run("rotate_mb = 0.004\n");
    let parts = line.parts();
    assert!(parts.len() < 12, "the first parts are in files that were closed");
    let out = line.bench.text("shift.html");
    let (code, stdout, stderr) = run(&["audit", "report", &line.log(), "--out", &out]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let page = std::fs::read_to_string(&out).unwrap();
    assert!(page.contains("12 of these 12 parts") && page.contains("nothing was driven"), "{page}");
    let continued = line.query(&["--kind", "continued"]);
    assert!(!continued.is_empty() && continued.iter().all(|record| record["output"] == "none"), "{continued:?}");
    let rejected = line.query(&["--verdict", "reject"]);
    assert!(page.matches("data:image/jpeg;base64,").count() >= rejected.len() && rejected.len() >= 3, "{page}");
    assert!(page.contains("Shift report: bench") && page.contains("<b>12</b><span>parts</span>"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing is fetched");
    let (code, stdout, stderr) = line.judged("replay", &[]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (code, stdout, _) = run(&["audit", "verify", &line.log()]);
    assert!(code == 0 && stdout.contains("12 parts, 1 run,"), "{stdout}");
    assert!(stdout.contains("not signed: its lines continue each other"), "a chain alone convicts nobody: {stdout}");
}

#[test]
fn a_shift_s_page_says_above_its_counts_which_files_of_the_log_were_not_there() {
    let line = Line::after_a_run("rotate_mb = 0.002\n");
    let out = line.bench.text("shift.html");
    let closed = hgad::audit::files(Path::new(&line.log())).unwrap();
    let [first, second] = [0, 1].map(|number: usize| closed[number].path.clone());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().trim_end_matches(".gz").to_owned();
    let told = || {
        let (code, _, stderr) = run(&["audit", "report", &line.log(), "--out", &out]);
        let page = std::fs::read_to_string(&out).unwrap();
        let (above, _) = page.split_once("<div class=\"tiles\">").unwrap();
        (code, above.to_owned(), stderr)
    };
    assert!(closed.len() > 3, "{closed:?}");
    assert!(!told().1.contains("Not all of the log"));
    std::fs::rename(&second, line.bench.path("second")).unwrap();
    let (code, above, stderr) = told();
    assert!(code == 1 && above.contains("Not all of the log was there") && above.contains(&name(&second)), "{above}");
    assert!(above.contains("Records are missing in the log") && stderr.contains(&name(&second)), "{above}{stderr}");
    let query = |more: &[&str]| run(&[&["audit", "query", &line.log()], more].concat());
    let (code, _, stderr) = query(&[]);
    let error = stderr.split_once("error: ").map(|(_, told)| told.to_owned()).unwrap_or_default();
    assert!(code == 1 && error.contains(&name(&second)) && error.contains("hgad audit verify"), "{stderr}");
    // It holds nothing of a time at which others had been begun behind it.
    assert_eq!((query(&["--to", "2020-01-01"]).0, query(&["--from", "2100-01-01"]).0), (0, 0));
    std::fs::rename(&first, line.bench.path("first")).unwrap();
    let (code, above, _) = told();
    assert!(code == 0 && above.contains(&format!("the files before {}", name(&closed[2].path))), "{above}");
    assert_eq!(query(&[]).0, 0, "the oldest were carried away");
}

#[test]
fn a_record_that_was_edited_together_with_its_hash_is_held_against_the_one_behind_it() {
    let line = Line::after_a_run("");
    let config = line.bench.path("line.toml");
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + "# Another.\n").unwrap();
    line.run();
    let text = std::fs::read_to_string(line.log()).unwrap();
    let place = text.lines().position(|line| line.contains("\"kind\":\"changed\"")).unwrap();
    let forged = |line: &str| {
        let (content, _) = line.rsplit_once(",\"hash\":\"").unwrap();
        let content = content.replacen("\"what\":", "\"by\":\"A. Smith\",\"reason\":\"new lamp\",\"what\":", 1);
        format!("{content},\"hash\":\"{}\"}}", Digest::of(&content))
    };
    let lines = text.lines().enumerate().map(|(at, line)| if at == place { forged(line) } else { line.to_owned() });
    std::fs::write(line.log(), lines.map(|line| line + "\n").collect::<String>()).unwrap();
    let out = line.bench.text("shift.html");
    let (code, _, stderr) = run(&["audit", "report", &line.log(), "--out", &out]);
    let page = std::fs::read_to_string(&out).unwrap();
    let (above, below) = page.split_once("<div class=\"tiles\">").unwrap();
    let told = format!("1 record is not as written: {place} or {}", place + 1);
    assert!(code == 1 && stderr.contains(&told) && below.contains("A. Smith"), "{stderr}");
    assert!(above.contains("class=\"accused\"") && above.contains(&told), "{above}");
    let (code, _, stderr) = run(&["audit", "query", &line.log(), "--kind", "changed"]);
    assert!(code == 1 && stderr.contains(&told), "{stderr}");
}

#[test]
fn a_query_says_once_where_a_record_was_removed_and_where_the_end_is_cut_off() {
    let line = Line::after_a_run("");
    let whole = std::fs::read_to_string(line.log()).unwrap();
    let lines = whole.split_inclusive('\n').collect::<Vec<_>>();
    let (part, rest) = lines.split_last().unwrap();
    let query = |args: &[&str]| {
        let (code, stdout, stderr) = run(&[&["audit", "query", &line.log(), "--kind", "any"], args].concat());
        (code, stdout.lines().count(), stderr)
    };
    std::fs::write(line.log(), [&lines[..4], &lines[5..]].concat().concat()).unwrap();
    let gap = format!("record 4 is missing before record 5 in {}", line.log());
    let (code, count, stderr) = query(&[]);
    assert!(code == 1 && count == lines.len() && stderr.matches(&gap).count() == 1, "{stderr}");
    assert!(stderr.contains("hgad audit verify, with --key") && !stderr.contains("believe nothing"), "{stderr}");
    // What was looked for may be what was removed.
    let (code, _, stderr) = query(&["--record", "4"]);
    assert!(code == 1 && stderr.contains("no record found") && stderr.contains(&gap), "{stderr}");
    // Of another time nothing is missing, and what was not read is not spoken of.
    assert_eq!(query(&["--to", "2020-01-01"]).0, 0);
    assert_eq!(query(&["--limit", "2"]).0, 0);

    let cut = format!("the last line of {} is cut off", line.log());
    std::fs::write(line.log(), rest.concat() + &part[..part.len() / 2]).unwrap();
    let (code, count, stderr) = query(&[]);
    assert!(code == 1 && count == lines.len() && stderr.matches(&cut).count() == 1, "{stderr}");
    assert_eq!(query(&["--to", "2020-01-01"]).0, 0);
    // A run is writing it.
    let log = std::fs::File::options().append(true).open(line.log()).unwrap();
    log.lock().unwrap();
    let (code, _, stderr) = query(&[]);
    assert!(code == 0 && !stderr.contains("cut off"), "{stderr}");
}

#[test]
fn what_is_in_a_file_that_is_missing_is_said_to_be_there_perhaps() {
    let line = Line::after_a_run("rotate_mb = 0.002\n");
    let closed = hgad::audit::files(Path::new(&line.log())).unwrap();
    let begins = |place: usize| {
        let log = closed[place].path.to_str().unwrap().to_owned();
        let (_, first, _) = run(&["audit", "query", &log, "--kind", "any", "--format", "json", "--limit", "1"]);
        serde_json::from_str::<Value>(&first).unwrap()["seq"].as_u64().unwrap()
    };
    let firsts = (0..closed.len()).map(begins).collect::<Vec<_>>();
    let file_of = |part: &Value| firsts.partition_point(|first| *first <= part["seq"].as_u64().unwrap()) - 1;
    let parts = line.query(&[]);
    let is_between = |part: &&Value| (1..closed.len() - 1).contains(&file_of(part));
    let part = parts.iter().find(is_between).expect("a part in a file that others are around");
    let gone = file_of(part);
    let start = line.query(&["--kind", "start"])[0].clone();
    std::fs::rename(&closed[gone].path, line.bench.path("gone")).unwrap();
    let show = |id: &str| {
        let (code, _, stderr) = run(&["audit", "show", &line.log(), id]);
        (code, stderr.split_once("error: ").map(|(_, told)| told.to_owned()).unwrap_or_default())
    };
    let name = closed[gone].path.file_name().unwrap().to_string_lossy().trim_end_matches(".gz").to_owned();
    let missing = format!("it may be in what is missing: the file {name}, between");
    let of_run = format!("{}/{}", start["run"].as_str().unwrap(), part["part"]);
    for id in [of_run, "nope/1".to_owned()] {
        let (code, told) = show(&id);
        assert!(code == 2 && told.contains(&missing), "{id}: {told}");
    }
    let (last, behind) = (firsts[gone] - 1, firsts[gone + 1]);
    for id in [firsts[gone], behind - 1] {
        let (code, told) = show(&id.to_string());
        let between = format!("record {id} is missing");
        assert!(code == 1 && told.contains(&between) && told.contains(&missing), "{id}: {told}");
        assert!(told.contains(&format!("between record {last} and record {behind}, which are here")), "{told}");
    }
    // The first one behind it is whole.
    let (code, told) = show(&behind.to_string());
    assert!(code == 1 && told.contains(&format!("record {behind}, which is whole by its own hash")), "{told}");
    assert!(show(&(behind + 1).to_string()).0 == 0 && show("0").0 == 0);
    let (code, told) = show("4711");
    assert!(code == 2 && !told.contains("missing"), "{told}");
}

#[test]
fn a_query_says_of_what_it_prints_that_it_is_not_as_it_was_written() {
    let line = Line::after_a_run("");
    let (code, whole, stderr) = run(&["audit", "query", &line.log()]);
    assert!(
        code == 0 && stderr.contains("the log was not checked as a whole: that does hgad audit verify"),
        "{stderr}"
    );
    let part = line.query(&["--verdict", "reject"])[0].clone();
    let text = std::fs::read_to_string(line.log()).unwrap();
    std::fs::write(line.log(), text.replace(&format!("\"score\":{}", part["score"]), "\"score\":0.125")).unwrap();
    let (code, stdout, stderr) = run(&["audit", "query", &line.log()]);
    assert!(
        code == 1 && stdout.lines().count() == whole.lines().count() && stdout.contains("0.125"),
        "{stdout}{stderr}"
    );
    assert!(stderr.contains(&format!("1 record is not as written: {}", part["seq"])), "{stderr}");
    // The one before it is printed: who edits that, its hash, and what the next one says of it, leaves that one so.
    let (code, _, stderr) = run(&["audit", "query", &line.log(), "--verdict", "pass"]);
    let seq = part["seq"].as_u64().unwrap();
    assert!(code == 1 && stderr.contains(&format!("1 record is not as written: {} or {seq}", seq - 1)), "{stderr}");
    let (code, _, stderr) = run(&["audit", "query", &line.log(), "--kind", "start"]);
    assert_eq!(code, 0, "what is printed is whole: {stderr}");
}

#[test]
fn a_shift_s_page_says_above_its_counts_which_of_its_records_were_changed() {
    let line = Line::after_a_run("");
    let out = line.bench.text("shift.html");
    let report = || {
        let (code, _, stderr) = run(&["audit", "report", &line.log(), "--out", &out]);
        let page = std::fs::read_to_string(&out).unwrap();
        (code, page.split_once("<div class=\"tiles\">").unwrap().0.to_owned(), stderr)
    };
    let (code, above, stderr) = report();
    assert!(code == 0 && !above.contains("not as written"), "{stderr}{above}");
    let part = line.query(&["--verdict", "reject"])[0].clone();
    let text = std::fs::read_to_string(line.log()).unwrap();
    let changed = |line: &str| match line.starts_with(&format!("{{\"seq\":{},", part["seq"])) {
        true => line.replace("\"verdict\":\"reject\"", "\"verdict\":\"pass\""),
        false => line.to_owned(),
    };
    std::fs::write(line.log(), text.split_inclusive('\n').map(changed).collect::<String>()).unwrap();
    let told = format!("1 record is not as written: {}", part["seq"]);
    let (code, above, stderr) = report();
    assert!(code == 1 && above.contains("class=\"accused\"") && above.contains(&told), "{stderr}{above}");
    assert!(stderr.contains(&told) && stderr.contains("believe nothing that they say"), "{stderr}");
    // Pictures that were exchanged as well are not forgotten over that.
    std::fs::write(line.picture(&line.parts()[4]), "exchanged").unwrap();
    let (code, _, stderr) = report();
    assert!(code == 1 && stderr.contains(&told) && stderr.contains("1 picture is not what was written"), "{stderr}");
}

#[test]
fn a_query_that_finds_nothing_says_in_what_it_looked() {
    let line = Line::after_a_run("");
    let of_log = records(Path::new(&line.log()));
    let (first, last) = (of_log[0]["time"].as_str().unwrap(), of_log[of_log.len() - 1]["time"].as_str().unwrap());
    for format in ["table", "json", "csv"] {
        let (code, stdout, stderr) = run(&["audit", "query", &line.log(), "--score", "1e9..", "--format", format]);
        assert!(code == 0 && stdout.lines().count() == usize::from(format != "json"), "{stdout}");
        assert!(stderr.contains(&format!("no record found: {} records looked through", of_log.len())), "{stderr}");
        assert!(stderr.contains(&format!("the log goes from {first} to {last}")), "{stderr}");
    }
    let page = line.bench.text("shift.html");
    let (code, _, stderr) = run(&["audit", "report", &line.log(), "--date", "2020-01-01", "--out", &page]);
    assert!(code == 0 && stderr.contains(&format!("no record is of that time; the log goes from {first}")), "{stderr}");
    let (code, _, stderr) = run(&["audit", "report", &line.log(), "--date", "yesterday", "--out", &page]);
    assert!(code == 2 && stderr.contains("write it as 2026-11-24"), "{stderr}");
    let (code, stdout, _) = run(&["audit", "query", &line.bench.text("gone.jsonl")]);
    assert!(code == 3 && stdout.is_empty(), "a log that is not there has no table: {stdout}");
    let (code, _, stderr) = run(&["audit", "query", &line.log(), "--from", "2020-01-01", "--to", "2020-01-02"]);
    assert!(
        code == 0 && stderr.contains("0 records of that time and run looked through; the log goes from"),
        "{stderr}"
    );
    let (code, stdout, stderr) = run(&["audit", "query", &line.log(), "--score", "5"]);
    assert!(code == 2 && stdout.is_empty() && stderr.contains("5.. for 5 and more"), "{stderr}");
}

fn verify(line: &Line, extra: &[&str]) -> (i32, String, String) {
    run(&[&["audit", "verify", &line.log()], extra].concat())
}

#[test]
fn verify_reads_every_stored_picture_and_names_those_that_are_not_as_they_were_written() {
    let line = Line::new("sample = 1.0\n");
    std::fs::write(line.bench.path("frames/005.png"), "no picture").unwrap();
    line.run();
    let parts = line.parts();
    assert!(parts.iter().all(|part| line.kept(part).is_some()), "{parts:?}");
    let (code, stdout, stderr) = verify(&line, &["--pictures"]);
    let pictures = line.bench.text("pictures");
    assert!(code == 0 && stdout.contains(&format!("OK {pictures}: 12 pictures are as written (")), "{stdout}{stderr}");
    let (code, stdout, stderr) = verify(&line, &[]);
    assert!(code == 0 && !stdout.contains(&pictures) && stderr.contains("--pictures"), "{stdout}{stderr}");

    // What nobody wrote down proves nothing, and accuses nobody.
    let own = line.picture(&parts[0]);
    std::fs::copy(&own, own.with_file_name("99999999-reject.png")).unwrap();
    let (code, stdout, _) = verify(&line, &["--pictures"]);
    assert!(code == 0 && stdout.contains("99999999-reject.png: no record names it"), "{stdout}");
    // Nor does its name say anything in this program's words.
    let forged = own.with_file_name("x\nOK all: 99 pictures are as written\u{1b}[2K");
    std::fs::write(&forged, "x").unwrap();
    let (_, stdout, _) = verify(&line, &["--pictures"]);
    assert!(!stdout.contains("\nOK all") && !stdout.contains('\u{1b}'), "{stdout}");
    assert!(stdout.contains("x\\nOK all: 99 pictures are as written\\u{1b}[2K: no record names it"), "{stdout}");
    std::fs::remove_file(forged).unwrap();

    // One that was judged, one that was never judged, one that is gone.
    let unjudged = parts.iter().find(|part| is(part, "unknown") && part["origin"] == "005.png").unwrap();
    let rejected = parts.iter().find(|part| is(part, "reject")).unwrap();
    let passed = parts.iter().find(|part| is(part, "pass")).unwrap();
    std::fs::write(line.picture(unjudged), "another one").unwrap();
    std::fs::write(line.picture(rejected), "another one").unwrap();
    std::fs::remove_file(line.picture(passed)).unwrap();
    let (code, stdout, stderr) = verify(&line, &["--pictures", &pictures]);
    assert!(code == 1 && stderr.contains("2 exchanged, 1 missing"), "{stdout}{stderr}");
    assert!(stdout.contains("9 pictures are as written") && !stdout.contains(&format!("OK {pictures}")), "{stdout}");
    let named = |part: &Value, what: &str| {
        let part = format!("/{}: ", part["part"]);
        stdout.lines().any(|line| line.starts_with("record ") && line.contains(&part) && line.contains(what))
    };
    assert!(named(unjudged, "is not the file that was written"), "{stdout}");
    assert!(named(rejected, "is not the file that was written"), "{stdout}");
    assert!(named(passed, "no record says that it was removed"), "{stdout}");

    // Who takes the whole folder is found out where somebody says that the pictures are to be there.
    std::fs::remove_dir_all(&pictures).unwrap();
    let (code, stdout, stderr) = verify(&line, &["--pictures"]);
    assert!(code == 1 && stdout.contains("nothing of it is in") && stderr.contains("12 of runs"), "{stdout}{stderr}");
}

#[test]
fn an_older_log_that_was_put_back_is_found_by_the_pictures_of_runs_that_it_does_not_know() {
    let line = Line::after_a_run("sample = 1.0\n");
    let older = std::fs::read(line.log()).unwrap();
    let first = records(line.log().as_ref()).remove(0);
    line.run();
    let whole = std::fs::read(line.log()).unwrap();
    std::fs::write(line.log(), older).unwrap();
    let (code, stdout, stderr) = verify(&line, &["--pictures"]);
    assert!(code == 1 && stdout.matches("and the log has no start of it").count() == 1, "{stdout}{stderr}");
    assert!(!stdout.contains("no record names it") && !stdout.contains(first["run"].as_str().unwrap()), "{stdout}");
    assert!(stderr.contains("an older copy of it was put back") && stderr.contains("--checkpoint"), "{stderr}");
    // So does a look before the run. The run that goes on with it says so, and writes it down, once.
    let (code, stdout, _) = run(&["check", "--config", &line.bench.text("line.toml"), "--seconds", "1"]);
    assert!(code == 1 && stdout.contains("pictures of 1 run are there that the log has no start of"), "{stdout}");
    for is_first in [true, false] {
        let (code, _, stderr) = run(&["run", "--config", &line.bench.text("line.toml")]);
        let is_told = stderr.contains("pictures of 1 run are there that the log has no start of");
        assert!(code == 0 && is_told == is_first, "{stderr}");
    }
    let notes = line.query(&["--kind", "note"]);
    assert_eq!(notes.iter().filter(|note| note["text"].as_str().unwrap().contains("has no start of")).count(), 1);
    assert_eq!(verify(&line, &["--pictures"]).0, 1);
    std::fs::write(line.log(), whole).unwrap();
    std::fs::read_dir(line.bench.path("pictures")).unwrap().for_each(|entry| {
        // Those of the two runs that the whole log knows nothing of.
        let path = entry.unwrap().path();
        let run = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !records(line.log().as_ref()).iter().any(|record| record["run"] == run) {
            std::fs::remove_dir_all(&path).unwrap();
        }
    });
    assert_eq!(verify(&line, &["--pictures"]).0, 0);

    // A folder that names another log, in which this log's pictures are.
    let owner = line.bench.path("pictures/owner.txt");
    let text = std::fs::read_to_string(&owner).unwrap();
    std::fs::write(&owner, text.replace(first["hash"].as_str().unwrap(), &"0".repeat(64))).unwrap();
    let (code, stdout, stderr) = verify(&line, &["--pictures"]);
    assert!(code == 1 && stdout.contains("owner.txt in ") && stderr.contains("was edited"), "{stdout}{stderr}");

    let (code, _, stderr) = verify(&line, &["--pictures", &line.log()]);
    assert!(code == 2 && stderr.contains("is a file, and the folder of pictures"), "{stderr}");
}

#[test]
fn pictures_that_the_line_removed_itself_are_counted_apart() {
    let line = Line::after_a_run("sample = 1.0\nkeep_gb = 0.000001\n");
    let removed = line.query(&["--kind", "pictures-removed"]);
    assert!(!removed.is_empty());
    let (code, stdout, stderr) = verify(&line, &["--pictures"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let told = stdout.lines().find(|line| line.contains("removed as the log tells")).unwrap();
    let numbers = told.rsplit(": ").next().unwrap().split_whitespace().filter_map(|word| word.parse::<u64>().ok());
    let numbers = numbers.collect::<Vec<_>>();
    let (whole, gone) = (numbers[0], numbers[numbers.len() - 1]);
    assert!(whole + gone == 12 && gone > 0, "{told}");
    let (_, table, _) = run(&["audit", "query", &line.log(), "--kind", "pictures-removed"]);
    assert!(
        table.contains(" of passes, ") && (table.contains("bytes, up to ") || table.contains("kB, up to ")),
        "{table}"
    );
}

/// So many days later than it is, on a machine whose clock others keep right where `HGAD_KEPT` is there.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/timex.h>
#include <time.h>
int adjtimex(struct timex *clock) {
    ((int (*)(struct timex *))dlsym(RTLD_NEXT, "adjtimex"))(clock);
    if (!getenv("HGAD_KEPT")) { clock->status |= STA_UNSYNC; return TIME_ERROR; }
    clock->status &= ~STA_UNSYNC;
    return TIME_OK;
}
int clock_gettime(clockid_t which, struct timespec *now) {
    int result = ((int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime"))(which, now);
    if (which == CLOCK_REALTIME) now->tv_sec += 86400L * atoi(getenv("HGAD_DAYS"));
    return result;
}
"#;

#[test]
fn the_log_s_own_files_go_by_age_once_a_clock_that_is_kept_right_says_so() {
    let line = Line::new("key = \"line.key\"\nrotate_mb = 0.003\nkeep_log_days = 30\nkeep_gb = 1\n");
    let at = |inside: &str| line.bench.text(inside);
    assert_eq!(run(&["audit", "keygen", "--name", "bench/line-1", "--out", &at("line.key")]).0, 0);
    let (source, library) = (at("clock.c"), at("clock.so"));
    std::fs::write(&source, CLOCK).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o", &library, &source]).status();
    if !compiled.is_ok_and(|status| status.success()) {
        return eprintln!("skipped: there is no C compiler");
    }
    let oldest = || hgad::audit::files(line.log().as_ref()).unwrap()[0].number;
    let run_on = |day: u32, is_kept: bool| {
        let mut command = hgad(&["run", "--config", &at("line.toml")]);
        command.env("LD_PRELOAD", &library).env("HGAD_DAYS", day.to_string());
        if is_kept {
            command.env("HGAD_KEPT", "");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        oldest()
    };
    assert_eq!((run_on(0, true), run_on(20, true)), (Some(1), Some(1)), "nothing is so old");
    assert_eq!(run_on(400, false), Some(1), "the clock alone says so, and nobody keeps it right");
    let first = run_on(40, true);
    assert!(first > Some(1), "what the first run wrote is older than 30 days");
    let (code, stdout, stderr) = verify(&line, &["--key", &at("line.key.pub")]);
    assert!(code == 0 && stdout.contains(" were removed by the line, the last of them on "), "{stdout}{stderr}");
    assert!(stdout.contains(", as keep_log_days says (record ") && !stdout.contains("not here"), "{stdout}");
    let told = line.query(&["--kind", "log-removed"]);
    assert!(told.len() == 1 && told[0]["why"] == "age" && told[0]["first"] == "audit.000001.jsonl.gz", "{told:?}");
    let (_, table, _) = run(&["audit", "query", &line.log(), "--kind", "log-removed"]);
    assert!(table.contains(" closed file") && table.contains("(keep_log_days)"), "{table}");
    let (code, _, stderr) = run(&["audit", "show", &line.log(), "0"]);
    assert!(code != 0 && !stderr.contains("changed"), "{stderr}");
}

#[test]
fn nothing_but_what_a_line_can_load_is_signed() {
    let bench = common::Bench::new();
    bench.calibrate("red", "red.toml");
    let key = bench.text("quality.key");
    assert_eq!(run(&["audit", "keygen", "--name", "factory.example/quality", "--out", &key]).0, 0);
    let sign = |file: &str| {
        let file = bench.text(file);
        run(&["sign", &file, "--key", &key, "--by", "A. Smith", "--reason", "new lamp"])
    };
    std::fs::write(bench.path("notes.txt"), "notes").unwrap();
    std::fs::write(bench.path("other.toml"), "[line]\nname = \"x\"\n").unwrap();
    std::fs::create_dir(bench.path("empty")).unwrap();
    for file in ["notes.txt", "other.toml", "empty", "data/red/train/good"] {
        let (code, _, stderr) = sign(file);
        assert!(code == 2 && stderr.contains("no line could load it"), "{file}: {stderr}");
        assert!(stderr.contains("hgad calibrate") && stderr.contains("folder of a bundle"), "{file}: {stderr}");
    }
    let is_signed = |name: &str| bench.path(name).exists();
    assert!(!["notes.sig", "notes.txt.sig", "other.toml.sig", "empty/manifest.sig"].into_iter().any(is_signed));
    assert_eq!(sign("gone.toml").0, 3);
    for (file, note) in [("red.toml", "red.toml.sig"), ("bundle", "bundle/manifest.sig")] {
        let (code, _, stderr) = sign(file);
        assert!(code == 0 && is_signed(note), "{file}: {stderr}");
    }
    // Whose approval is replaced is said, and a threshold that somebody wrote is asked about.
    let text = std::fs::read_to_string(bench.path("red.toml")).unwrap();
    let threshold = text.lines().find(|line| line.starts_with("threshold = ")).unwrap();
    std::fs::write(bench.path("red.toml"), text.replace(threshold, "threshold = 1e30")).unwrap();
    let note = std::fs::read(bench.path("red.toml.sig")).unwrap();
    let (code, _, stderr) = sign("red.toml");
    assert!(
        code == 2 && stderr.contains("not the one that its scores give") && stderr.contains("--by-hand"),
        "{stderr}"
    );
    // Nothing that is written beside it makes it the scores' own.
    let foreign = text.replace(threshold, "threshold = 1000.0");
    let confident = foreign.replace("target_frr", "confidence = 0.999999\ntarget_frr");
    let costs = format!("{}\n[costs]\nmiss = 50.0\nfalse_reject = 1.0\ndefect_rate = 0.01\n", foreign.trim_end());
    for edited in [confident, costs] {
        std::fs::write(bench.path("red.toml"), edited).unwrap();
        let (code, _, stderr) = sign("red.toml");
        assert!(code == 2 && stderr.contains("the threshold 1000 is not") && stderr.contains("--by-hand"), "{stderr}");
    }
    // One that costs set is nobody's to work out again.
    let set = text.trim_end().to_owned() + "\n[costs]\nmiss = 50.0\nfalse_reject = 1.0\ndefect_rate = 0.01\n";
    std::fs::write(bench.path("red.toml"), &set).unwrap();
    let (code, _, stderr) = sign("red.toml");
    assert!(code == 2 && stderr.contains("comes from costs") && stderr.contains("--by-hand"), "{stderr}");
    std::fs::write(bench.path("red.toml"), text.replace(threshold, "threshold = 1e30")).unwrap();
    assert_eq!(std::fs::read(bench.path("red.toml.sig")).unwrap(), note);
    // A pipe is not waited for.
    assert!(std::process::Command::new("mkfifo").arg(bench.path("pipe.toml")).status().unwrap().success());
    let (code, _, stderr) = sign("pipe.toml");
    assert!(code == 2 && stderr.contains("it is a pipe or a device") && !is_signed("pipe.toml.sig"), "{stderr}");
    let file = bench.text("red.toml");
    let (code, stdout, stderr) =
        run(&["sign", &file, "--key", &key, "--by", "B. Jones", "--reason", "a trial", "--by-hand"]);
    assert!(
        code == 0 && stdout.contains("what stood there, which this key signed too: A. Smith, "),
        "{stdout}{stderr}"
    );
    // A pipe under the note's name is no approval, and is not waited for.
    std::fs::remove_file(bench.path("red.toml.sig")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(bench.path("red.toml.sig")).status().unwrap().success());
    let by_hand = ["sign", &file, "--key", &key, "--by", "B. Jones", "--reason", "a trial", "--by-hand"];
    let (code, stdout, stderr) = run(&by_hand);
    assert!(code == 0 && !stdout.contains("stood there") && bench.path("red.toml.sig").is_file(), "{stdout}{stderr}");
    let noted = || std::fs::read_to_string(bench.path("red.toml.sig")).unwrap();
    assert!(noted().contains("\nthreshold by hand: ") && !noted().contains("from costs"), "{}", noted());
    // What costs gave is called that.
    std::fs::write(bench.path("red.toml"), &set).unwrap();
    assert_eq!(run(&by_hand).0, 0);
    assert!(noted().contains("\nthreshold from costs: ") && !noted().contains("by hand"), "{}", noted());
    // A bundle of which a file was exchanged is one that no line loads either.
    std::fs::write(bench.path("bundle/model.onnx"), "another").unwrap();
    assert_eq!(sign("bundle/manifest.toml").0, 2);
    // Of what the system cannot read nobody says that.
    std::fs::remove_file(bench.path("bundle/model.onnx")).unwrap();
    std::os::unix::fs::symlink("model.onnx", bench.path("bundle/model.onnx")).unwrap();
    let (code, _, stderr) = sign("bundle");
    assert!(code == 3 && stderr.contains("cannot be read") && !stderr.contains("no line could"), "{stderr}");
}

#[test]
fn a_run_or_a_part_that_is_not_in_the_log_is_a_slip_for_every_command_that_asks_for_one() {
    let line = Line::after_a_run("");
    let run_name = records(line.log().as_ref())[0]["run"].as_str().unwrap().to_owned();
    let (log, out) = (line.log(), line.bench.text("new/shown.png"));
    let refused = |(code, stdout, stderr): (i32, String, String), says: &str| {
        assert!(code == 2 && stderr.contains(says), "{says}: {stdout}{stderr}");
    };
    let unknown = "no run '20200101T000000.000000Z'";
    refused(run(&["audit", "query", &log, "--run", "20200101T000000.000000Z"]), unknown);
    refused(line.judged("replay", &["--run", "20200101T000000.000000Z"]), unknown);
    refused(line.judged("show", &["20200101T000000.000000Z/1", "--out", &out]), unknown);
    let parts = line.parts().iter().map(|part| part["part"].as_u64().unwrap()).collect::<Vec<_>>();
    let (least, most) = (parts.iter().min().unwrap(), parts.iter().max().unwrap());
    let told = format!("the run {run_name} has no part 999 in {log}: its parts are {least} to {most}");
    refused(line.judged("show", &[&format!("{run_name}/999"), "--out", &out]), &told);
    refused(line.judged("show", &["0", "--out", &out]), "record 0 is no part");
    let last = records(log.as_ref()).len() - 1;
    refused(
        line.judged("show", &["99999", "--out", &out]),
        &format!("the first that is here is 0, and the last {last}"),
    );
    refused(line.judged("show", &[&format!("{run_name}/"), "--out", &out]), "such as 4711, or RUN/PART");
}

#[test]
fn a_run_that_began_in_files_that_were_carried_away_is_found_by_its_name() {
    let line = Line::after_a_run("rotate_mb = 0.002\n");
    let name = line.query(&["--kind", "start"])[0]["run"].as_str().unwrap().to_owned();
    let closed = hgad::audit::files(Path::new(&line.log())).unwrap();
    assert!(closed.len() > 3, "{closed:?}");
    closed[..2].iter().for_each(|file| std::fs::remove_file(&file.path).unwrap());
    let (code, _, stderr) = run(&["audit", "query", &line.log(), "--kind", "any"]);
    assert!(code == 0 && stderr.contains(" before that are in files that are not here; "), "{stderr}");
    assert!(line.query(&["--kind", "start"]).is_empty());
    let parts = line.query(&[]);
    assert!(!parts.is_empty() && parts.len() < 12, "{parts:?}");
    let part = format!("{name}/{}", parts[0]["part"]);
    assert_eq!(line.query(&["--part", &part]), parts[..1]);
    assert_eq!(line.query(&["--run", &name]), parts);
    let (code, stdout, stderr) = run(&["audit", "show", &line.log(), &part]);
    assert!(code == 0 && stdout.starts_with(&format!("record {}: ", parts[0]["seq"])), "{stdout}{stderr}");
    let (_, csv, _) = run(&["audit", "query", &line.log(), "--format", "csv"]);
    assert!(csv.lines().skip(1).all(|row| row.split(',').nth(3) == Some(&name)), "{csv}");
    let (code, _, stderr) = run(&["audit", "query", &line.log(), "--run", "nope"]);
    assert!(code == 2 && stderr.contains(&format!("the last ones are: {name};")), "named once: {stderr}");
    let (code, _, stderr) = run(&["audit", "show", &line.log(), &format!("{name}/999")]);
    assert!(code == 2 && stderr.contains(&format!("the run {name} has no part 999")), "{stderr}");
}

#[test]
fn a_summary_takes_the_place_of_nothing_that_the_run_makes_under_whatever_name() {
    let line = Line::new("key = \"line.key\"\ncheckpoint_copy = \"copy\"\n");
    let (config, key) = (line.bench.text("line.toml"), line.bench.text("line.key"));
    assert_eq!(run(&["audit", "keygen", "--name", "line-3", "--out", &key]).0, 0);
    std::os::unix::fs::symlink(".", line.bench.path("here")).unwrap();
    for (json, what) in [
        ("audit.jsonl", "names the line's audit"),
        ("./data/../audit.jsonl", "names the line's audit"),
        ("here/audit.jsonl", "names the line's audit"),
        ("here/copy", "copy of the audit's checkpoints"),
    ] {
        let (code, _, stderr) = run(&["run", "--config", &config, "--json", &line.bench.text(json)]);
        assert!(code == 2 && stderr.contains(what), "{json}: {stderr}");
    }
    assert!(!line.bench.path("audit.jsonl").exists());
}

#[test]
fn what_is_written_finds_its_folder_made() {
    let line = Line::new("key = \"keys/of/line.key\"\n");
    let (key, proof) = (line.bench.text("keys/of/line.key"), line.bench.text("proofs/of/a.tlog-proof"));
    let (code, _, stderr) = run(&["audit", "keygen", "--name", "line-3", "--out", &key]);
    assert!(code == 0 && line.bench.path("keys/of/line.key.pub").is_file(), "{stderr}");
    line.run();
    let (code, _, stderr) = run(&["audit", "prove", &line.log(), "--record", "0", "--out", &proof]);
    assert!(code == 0 && line.bench.path("proofs/of/a.tlog-proof").is_file(), "{stderr}");
    let below = line.bench.text("line.toml/below/a.key");
    let (code, _, stderr) = run(&["audit", "keygen", "--name", "line-3", "--out", &below]);
    assert!(code == 3 && stderr.contains("line.toml/below cannot be written"), "{stderr}");
}

#[test]
fn a_calibration_takes_no_pipe_for_a_log() {
    let bench = common::Bench::new();
    let pipe = bench.text("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (model, images, out) = (bench.text("bundle"), bench.text("new"), bench.text("red.toml"));
    let set = ["calibrate", "--model", &model, "--class", "red", "--images", &images, "--out", &out, "--audit", &pipe];
    let from_audit = [&set[..], &["--from-audit", "2026-11-01.."]].concat();
    let what_if = ["calibrate", "what-if", &bench.text("calibration/red.toml"), "--audit", &pipe];
    for asked in [&set[..], &from_audit, &what_if] {
        let (code, _, stderr) = run(asked);
        assert!(code == 2 && stderr.contains("a log is read more than once"), "{asked:?}: {stderr}");
    }
    assert!(!bench.path("new").exists() && !bench.path("red.toml").exists());
}

/// Other programs, and people, read it.
#[test]
fn the_folder_says_in_words_and_by_the_first_line_whose_it_is() {
    let line = Line::after_a_run("");
    let first = records(line.log().as_ref()).remove(0)["hash"].as_str().unwrap().to_owned();
    let expected = format!(
        "../audit.jsonl\nThe pictures in this folder are kept and removed for the log above, and for no other one.\nfirst line {first}\n"
    );
    let owner = || std::fs::read_to_string(line.bench.path("pictures/owner.txt")).unwrap();
    assert_eq!(owner(), expected);
    line.run();
    assert_eq!(owner(), expected, "nothing is added by the next run");
}

/// The configuration that docs/cameras.md gives to whoever has no camera yet, and the commands after it.
#[test]
fn the_documented_line_with_the_synthetic_camera_is_tried_from_camera_to_proof() {
    let documentation = include_str!("../docs/cameras.md").split_once("## No camera yet").unwrap().1;
    let text = documentation.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    let repository = env!("CARGO_MANIFEST_DIR");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let text = text.replace("\"../", &format!("\"{repository}/")).replace("parts = 200", "parts = 12");
    assert!(text.contains("parts = 12") && text.contains(&format!("{repository}/models/demo")), "{text}");
    std::fs::write(path("line.toml"), &text).unwrap();
    let done = |args: &[&str]| {
        let (code, stdout, stderr) = run(args);
        assert_eq!(code, 0, "{args:?}: {stdout}{stderr}");
        stdout
    };
    // Good parts for a calibration: the camera says which product each picture shows.
    let good = text.replace("parts = 12", "defect_share = 0").replace("rate = 10", "rate = 1000");
    std::fs::write(
        path("good.toml"),
        good.split_once("[audit]").unwrap().0.to_owned() + "[audit]\nfile = \"other.jsonl\"\n",
    )
    .unwrap();
    let live = |class: &str, images: &str| {
        let model = format!("{repository}/models/demo");
        let (config, images, out) = (path("good.toml"), path(images), path("new.toml"));
        let base = ["calibrate", "--model", &model, "--class", class, "--live", "6", "--config", &config];
        run(&[&base[..], &["--images", &images, "--target-frr", "0.3", "--out", &out, "--few-parts"]].concat())
    };
    let (code, stdout, stderr) = live("gear", "gears");
    assert!(code == 0 && stdout.contains("6 images of 6 parts"), "{stdout}{stderr}");
    let (log, key) = (path("audit.jsonl"), path("line.key"));
    done(&["audit", "keygen", "--name", "example/trial", "--out", &key]);
    done(&["run", "--config", &path("line.toml")]);
    let public = format!("{key}.pub");
    let checked = done(&["audit", "verify", &log, "--key", &public, "--pictures"]);
    assert!(checked.contains("signed by example/trial") && checked.contains("are as written ("), "{checked}");
    let calibrations = ["blister", "cap", "gear"].map(|class| format!("{repository}/calibration/demo-{class}.toml"));
    let model = format!("{repository}/models/demo");
    let calibrations = calibrations.iter().flat_map(|file| ["--calibration", file.as_str()]).collect::<Vec<_>>();
    let judged = [&["--model", model.as_str()], &calibrations[..]].concat();
    done(&[&["audit", "replay", &log], &judged[..]].concat());
    let bad = records(Path::new(&log)).into_iter().find(|record| record["picture"]["file"].is_string()).unwrap();
    let record = bad["seq"].to_string();
    done(&[&["audit", "show", &log, &record, "--out", &path("part.png")], &judged[..]].concat());
    // As documented: the number of the first rejected part, whose picture is kept.
    let table = done(&["audit", "query", &log, "--kind", "part", "--limit", "1", "--format", "csv"]);
    let first = table.lines().last().unwrap().split(',').next().unwrap().to_owned();
    assert!(done(&["audit", "show", &log, &first]).contains("Its fate"));
    assert_eq!(done(&["audit", "query", &log, "--record", &first, "--format", "csv"]), table);
    assert!(run(&["audit", "query", &log, "--limit", "1"]).2.contains("--limit stopped here"));
    done(&["audit", "report", &log, "--out", &path("shift.html")]);
    done(&["audit", "prove", &log, "--record", &record, "--out", &path("part.tlog-proof")]);
    let proved = done(&["audit", "check", &path("part.tlog-proof"), "--key", &public]);
    let text = std::fs::read_to_string(path("part.tlog-proof")).unwrap();
    // Without this program.
    let script = format!("{repository}/tests/reference/proof.py");
    let by_another = |proof: &str| {
        let output = std::process::Command::new("python3").args([&script, proof, &public]).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, told) = by_another(&path("part.tlog-proof"));
    assert!(code == Some(0) && told.contains(&format!("\"seq\":{record}")), "{told}");
    let (start, rest) = text.split_once("\nextra ").unwrap();
    for forged in [
        format!("{start}\nextra e{rest}").replacen("ee", "ef", 1),
        text.replacen("example/trial\n", "example/triaI\n", 1),
    ] {
        std::fs::write(path("forged.tlog-proof"), &forged).unwrap();
        let (code, told) = by_another(&path("forged.tlog-proof"));
        assert!(forged != text && code != Some(0) && !told.contains("OK"), "{told}");
    }
    std::fs::write(path("crlf.tlog-proof"), text.replace('\n', "\r\n")).unwrap();
    let (code, _, stderr) = run(&["audit", "check", &path("crlf.tlog-proof"), "--key", &public]);
    assert!(code == 2 && stderr.contains("line ends that were changed to CRLF") && stderr.contains("sed"), "{stderr}");
    assert!(proved.contains(&format!("\"seq\":{record}")), "{proved}");
}

#[test]
fn the_commands_after_the_documented_line_work_as_they_stand_there() {
    let documentation = include_str!("../docs/cameras.md").split_once("## No camera yet").unwrap().1;
    let text = documentation.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    let commands = documentation.split_once("with its picture:\n\n").unwrap().1.split_once("\n\nThen ").unwrap().0;
    // A machine that is busy with other tests renders fewer pictures than the line wants, which check tells as a problem.
    let commands = commands.replace("check --config trial/line.toml", "check --config trial/line.toml || true");
    let repository = env!("CARGO_MANIFEST_DIR");
    let folder = tempfile::tempdir().unwrap();
    let trial = folder.path().join("trial");
    std::fs::create_dir(&trial).unwrap();
    let text = text
        .replace("\"../", &format!("\"{repository}/"))
        .replace("parts = 200", "parts = 20")
        .replace("rate = 10", "rate = 2");
    std::fs::write(trial.join("line.toml"), text).unwrap();
    ["models", "calibration"].iter().for_each(|name| {
        std::os::unix::fs::symlink(Path::new(repository).join(name), folder.path().join(name)).unwrap();
    });
    let programs = Path::new(env!("CARGO_BIN_EXE_hgad")).parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let done =
        std::process::Command::new("sh").args(["-ec", &commands]).current_dir(folder.path()).env("PATH", path).output();
    let done = done.unwrap();
    let told = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
    assert!(done.status.success() && told.contains("OK example/trial signed"), "{told}");
    assert!(folder.path().join("part.png").is_file() && trial.join("shift.html").is_file(), "{told}");
}
