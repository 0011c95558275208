//! Calibration and the line's audit: what another calibration would have done, and normal parts from what was recorded.

mod common;

use std::collections::BTreeMap;

use common::line::Line;
use common::{normal_part, run};
use hgad::calibrate::Calibration;
use serde_json::Value;

/// The line's calibration with another threshold, as `new.toml`.
fn with_threshold(line: &Line, threshold: f32) -> String {
    let (was, _) = Calibration::open(&line.bench.path("calibration/red.toml")).unwrap();
    Calibration { threshold, ..was }.write(&line.bench.path("new.toml")).unwrap();
    line.bench.text("new.toml")
}

fn what_if(line: &Line, calibration: &str, extra: &[&str]) -> (i32, String, String) {
    run(&[&["calibrate", "what-if", calibration, "--audit", &line.log()][..], extra].concat())
}

/// The three numbers of a row of the table.
fn row(out: &str, name: &str) -> Vec<usize> {
    let line = out.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {out}"));
    line.split_whitespace().skip(2).map(|word| word.parse().unwrap()).collect()
}

fn score(part: &Value) -> f32 {
    part["score"].as_f64().unwrap() as f32
}

/// Parts that had a verdict, of those that passed and those that were rejected.
fn judged(line: &Line) -> [Vec<Value>; 2] {
    let parts = line.parts();
    ["pass", "reject"].map(|verdict| parts.iter().filter(|part| part["verdict"] == verdict).cloned().collect())
}

#[test]
fn a_log_whose_chain_is_broken_is_asked_nothing_with_a_key_or_without_one() {
    let line = Line::after_a_run("");
    let text = std::fs::read_to_string(line.log()).unwrap();
    std::fs::write(line.log(), text.replacen("\"verdict\":\"reject\"", "\"verdict\":\"pass\"", 1)).unwrap();
    let (code, _, err) = what_if(&line, &line.bench.text("calibration/red.toml"), &[]);
    assert!(code == 1 && err.contains("was changed"), "{err}");
}

#[test]
fn another_threshold_is_told_from_recorded_scores() {
    let line = Line::after_a_run("");
    let [passed, rejected] = judged(&line);
    let mut scores = passed.iter().chain(&rejected).map(score).collect::<Vec<_>>();
    scores.sort_by(f32::total_cmp);
    // Half of what passed is above it, all of what was rejected.
    let new = with_threshold(&line, scores[passed.len() / 2]);
    let above = passed.len() - passed.len() / 2 - 1;
    let was = line.bench.text("calibration/red.toml");
    let (code, out, err) = what_if(&line, &new, &["--was", &was]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(row(&out, "passed then"), [passed.len() - above, above, 0], "{out}");
    assert_eq!(row(&out, "rejected then"), [0, rejected.len(), 0], "{out}");
    assert!(
        out.contains(&format!("{} parts known by recorded scores, 0 by stored", passed.len() + rejected.len())),
        "{out}"
    );
    let start = common::records(line.log().as_ref()).remove(0);
    let changed = passed.iter().filter(|part| score(part) > scores[passed.len() / 2]);
    for part in changed {
        let id = format!("{}/{}", start["run"].as_str().unwrap(), part["part"]);
        let told =
            out.lines().find(|line| line.starts_with(&format!("{id} "))).unwrap_or_else(|| panic!("{id}: {out}"));
        assert!(told.ends_with("rejected") && told.contains(part["time"].as_str().unwrap()), "{told}");
    }
    let (code, out, _) = what_if(&line, &new, &["--was", &was, "--list", "1"]);
    assert!(code == 0 && out.contains(&format!("and {} more", above - 1)), "{out}");
    // The threshold that was in use changes nothing.
    let (code, out, _) = what_if(&line, &was, &[]);
    assert!(code == 0 && out.contains("no verdict changes"), "{out}");
    // Nobody can compare scores of constants that are not known.
    let (code, out, err) = what_if(&line, &new, &[]);
    assert!(code == 2 && err.contains("nothing can be told of") && err.contains("--was"), "{out}{err}");
    // Of a threshold that was edited nobody can tell without the file of then that nothing else differs, and with it everybody can.
    let model = line.bench.text("bundle");
    let (code, out, err) = what_if(&line, &new, &["--model", &model]);
    let unknown = "is not given (--was), so nobody knows whether more than the threshold differs";
    assert!(code == 0 && out.contains(unknown) && !out.contains("other constants"), "{out}{err}");
    let (code, out, err) = what_if(&line, &new, &["--model", &model, "--was", &was]);
    assert!(code == 0 && out.contains("judged then by calibration ") && !out.contains("; it "), "{out}{err}");
    // What was given and does not fit is told with what does not.
    let other = line.bench.text("other.toml");
    let text = std::fs::read_to_string(&was).unwrap();
    for (changed, says) in [
        (text.replace("class = \"red\"", "class = \"green\""), "it is of 'green', and not of 'red'"),
        (format!("# in use elsewhere\n{text}"), "it judged no part of that time; those that did: "),
    ] {
        std::fs::write(&other, changed).unwrap();
        let (code, out, err) = what_if(&line, &new, &["--was", &was, "--was", &other]);
        assert!(code == 0 && err.contains(says), "{says}: {out}{err}");
        assert_eq!(err.matches("no recorded score of the calibration").count(), 1, "{err}");
    }
}

#[test]
fn other_constants_are_told_from_stored_pictures_and_a_share_stands_for_all_that_passed() {
    let line = Line::after_a_run("sample = 0.6\n");
    let bench = &line.bench;
    (0..20).for_each(|seed| bench.save(&format!("normals/{seed:03}.png"), &normal_part(0, 500 + seed)));
    let (model, images) = (bench.text("bundle"), bench.text("normals"));
    let (code, _, err) = run(&[
        "calibrate",
        "--model",
        &model,
        "--class",
        "red",
        "--images",
        &images,
        "--target-frr",
        "0.3",
        "--out",
        &bench.text("new.toml"),
    ]);
    assert_eq!(code, 0, "{err}");
    // So that some of what passed is rejected.
    let (mut new, _) = Calibration::open(&bench.path("new.toml")).unwrap();
    new.threshold = new.images.iter().map(|image| image.score).fold(f32::INFINITY, f32::min);
    new.write(&bench.path("new.toml")).unwrap();
    let (new, frames) = (bench.text("new.toml"), bench.text("frames"));
    let (_, scored, _) = run(&["score", "--model", &model, "--calibration", &new, "--class", "red", "--json", &frames]);
    let verdict = |line: &str| {
        let told: Value = serde_json::from_str(line).unwrap();
        (told["image"].as_str().unwrap().rsplit('/').next().unwrap().to_owned(), told["verdict"] == "reject")
    };
    let rejects = scored.lines().map(verdict).collect::<BTreeMap<_, _>>();

    let was = bench.text("calibration/red.toml");
    let (code, _, err) = what_if(&line, &new, &["--was", &was]);
    assert!(code == 2 && err.contains("--model"), "{err}");
    let page = bench.text("what-if.html");
    let (code, out, err) = what_if(&line, &new, &["--was", &was, "--model", &model, "--out", &page]);
    assert_eq!(code, 0, "{out}{err}");
    let [passed, rejected] = judged(&line);
    let count = |parts: &[Value]| {
        let kept = parts.iter().filter(|part| line.kept(part).is_some()).collect::<Vec<_>>();
        let bad = kept.iter().filter(|part| rejects[part["origin"].as_str().unwrap()]).count();
        [kept.len() - bad, bad, parts.len() - kept.len()]
    };
    assert_eq!(row(&out, "passed then"), count(&passed), "{out}");
    assert_eq!(row(&out, "rejected then"), count(&rejected), "{out}");
    let [good, bad, _] = count(&passed);
    let of = good + bad;
    assert!(out.contains(&format!("{of} passed parts were kept by chance, and {bad} of {of} would be")), "{out}");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(
        html.contains("What it would have done") && !html.contains("http") && html.contains("aria-label=\"scores\"")
    );
    let pictures = html.matches("data:image/jpeg;base64,").count();
    assert!(bad > 0 && out.contains("; it has other constants: it was fitted to other images"), "{out}");
    assert_eq!(pictures, bad + count(&rejected)[0], "of each part whose verdict changes");

    std::fs::remove_file(line.picture(&rejected[0])).unwrap();
    let (code, out, _) = what_if(&line, &new, &["--model", &model]);
    assert!(code == 0 && out.contains("1 picture is not there any more"), "{out}");
    assert_eq!(row(&out, "rejected then").iter().sum::<usize>(), rejected.len(), "{out}");

    // The report of a calibration that is being made has it too.
    let (code, out, err) = run(&[
        "calibrate",
        "--model",
        &model,
        "--class",
        "red",
        "--images",
        &images,
        "--target-frr",
        "0.3",
        "--audit",
        &line.log(),
        "--out",
        &bench.text("newer.toml"),
    ]);
    assert!(code == 0 && out.contains("last 7 days"), "{out}{err}");
    assert!(std::fs::read_to_string(bench.path("newer.html")).unwrap().contains("What it would have done"));
}

fn from_audit(line: &Line, images: &str) -> (i32, String, String) {
    let (model, images, out) = (line.bench.text("bundle"), line.bench.text(images), line.bench.text("out/new.toml"));
    let base =
        ["calibrate", "--model", &model, "--class", "red", "--target-frr", "0.2", "--images", &images, "--out", &out];
    run(&[&base[..], &["--audit", &line.log(), "--from-audit", "2026-01-01..", "--few-parts"]].concat())
}

/// Whether the part is one of the line's defective ones.
fn is_stained(part: &Value) -> bool {
    part["origin"].as_str().unwrap()[..3].parse::<u32>().unwrap() % 3 == 1
}

#[test]
fn normal_parts_from_the_audit_are_a_fair_sample_and_a_person_judges_its_rejects() {
    let line = Line::after_a_run("sample = 1.0\n");
    // A threshold that rejects good parts too: these are what passed parts alone would lack.
    let [passed, _] = judged(&line);
    let mut scores = passed.iter().map(score).collect::<Vec<_>>();
    scores.sort_by(f32::total_cmp);
    std::fs::copy(with_threshold(&line, scores[scores.len() / 2]), line.bench.path("calibration/red.toml")).unwrap();
    line.run();
    let [passed, rejected] = judged(&line);
    // Too few are refused before a person judges any, and before pictures are copied.
    let (model, early, out) = (line.bench.text("bundle"), line.bench.text("early"), line.bench.text("out/new.toml"));
    let log = line.log();
    let base = ["calibrate", "--model", &model, "--class", "red", "--images", &early, "--out", &out, "--audit", &log];
    for (flags, needed) in [
        (&["--target-frr", "0.001"][..], "999 are needed"),
        (&["--target-frr", "0.01", "--confidence", "0.95", "--few-parts"], "299 are needed"),
    ] {
        let (code, _, err) = run(&[&base[..], &["--from-audit", "2026-01-01.."], flags].concat());
        assert!(code == 2 && err.contains(needed) && !line.bench.path("early").exists(), "{err}");
        assert!(!line.bench.path("out/new.judged.txt").exists(), "{err}");
    }
    let (stained, good) = rejected.iter().partition::<Vec<_>, _>(|part| is_stained(part));
    assert!(!good.is_empty() && !stained.is_empty());

    let (code, out, err) = from_audit(&line, "parts");
    assert!(
        code == 2 && err.contains(&format!("the sample has {} rejected parts of which", rejected.len())),
        "{out}{err}"
    );
    let list = line.bench.path("out/new.judged.txt");
    let text = std::fs::read_to_string(&list).unwrap();
    assert_eq!(text.matches(" ?  # ").count(), rejected.len(), "{text}");
    assert!(!line.bench.path("parts").exists());
    // Asked again without an answer, it asks for nothing new.
    assert_eq!(from_audit(&line, "parts").0, 2);
    assert_eq!(std::fs::read_to_string(&list).unwrap(), text);

    let answer = |row: &str| {
        let is_of = |part: &&&Value| {
            let file = line.kept(part).unwrap()["file"].as_str().unwrap().to_owned();
            row.ends_with(&file)
        };
        match good.iter().find(is_of) {
            Some(_) => row.replace(" ? ", " good A. Smith: nothing is wrong with it "),
            None => row.replace(" ? ", " bad "),
        }
    };
    std::fs::write(&list, text.lines().map(|row| answer(row) + "\n").collect::<String>()).unwrap();
    // A folder of somebody's, or the one that the same command copies into at this moment.
    let begun = line.bench.path("parts.unfinished");
    std::fs::create_dir(&begun).unwrap();
    std::fs::write(begun.join("notes.txt"), "precious").unwrap();
    let (code, _, err) = from_audit(&line, "parts");
    assert!(code == 2 && err.contains("parts.unfinished is there already") && err.contains("remove it"), "{err}");
    assert_eq!(std::fs::read(begun.join("notes.txt")).unwrap(), b"precious");
    std::fs::remove_dir_all(&begun).unwrap();
    let (code, out, err) = from_audit(&line, "parts");
    assert_eq!(code, 0, "{out}{err}");
    assert!(!begun.exists());
    let (calibration, _) = Calibration::open(&line.bench.path("out/new.toml")).unwrap();
    let source = calibration.audit.unwrap();
    let counts = (source.passed, source.rejected_good.len(), source.rejected_bad, source.gone);
    assert_eq!(counts, (passed.len(), good.len(), stained.len(), 0));
    assert_eq!(source.rejected_good[0].by, "A. Smith: nothing is wrong with it");
    // Named by the time of the capture, so that those of a minute can be taken together (`--group`), and by run and part.
    let names = std::fs::read_dir(line.bench.path("parts")).unwrap().map(|entry| entry.unwrap().file_name());
    let copied = names.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>();
    for part in &passed {
        let time = part["time"].as_str().unwrap()[..19].replace(['-', ':'], "").replace('T', "-");
        let begin = format!("{time}-20");
        assert!(copied.iter().any(|name| name.starts_with(&begin)), "{part} is not among {copied:?}");
    }
    // The files are those that the records name.
    let digests = passed.iter().chain(good.iter().copied()).map(|part| line.kept(part).unwrap()["sha256"].clone());
    let mut digests = digests.map(|digest| digest.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let mut images = calibration.images.iter().map(|image| image.sha256.to_string()).collect::<Vec<_>>();
    digests.sort();
    // The folder's pictures come again and again: the same one is one part.
    digests.dedup();
    images.sort();
    assert_eq!(images, digests);
    assert!(std::fs::read_to_string(line.bench.path("out/new.html")).unwrap().contains("a chance sample of the parts"));
    let (code, _, err) = from_audit(&line, "parts");
    assert!(code == 2 && err.contains("holds files already"), "{err}");

    // What retention took from the passed parts alone leaves no fair sample; what somebody exchanged is no picture of the part.
    let gone = line.picture(&passed[0]);
    let bytes = std::fs::read(&gone).unwrap();
    (0..3).for_each(|number| std::fs::remove_file(line.picture(&passed[number])).unwrap());
    let (code, _, err) = from_audit(&line, "again");
    assert!(code == 2 && err.contains("pictures are gone"), "{err}");
    assert!(!line.bench.path("again.unfinished").exists(), "what it began itself, it removes");
    std::fs::write(&gone, [bytes, b"more".to_vec()].concat()).unwrap();
    let (code, _, err) = from_audit(&line, "once-more");
    assert!(code == 1 && err.contains("is not the one that was judged"), "{err}");
    // The log of an older program says neither which share of the parts was drawn nor which rejects belong to it.
    let log = std::fs::read_to_string(line.log()).unwrap();
    let older = log.replace("\"sampled\":true,", "").replace(",\"sample\":1.0", "");
    assert!(!older.contains("\"sample\":") && !older.contains("\"sampled\":"), "{older}");
    std::fs::write(line.log(), &older).unwrap();
    let (code, _, err) = from_audit(&line, "forged");
    assert!(code == 1 && err.contains("was changed"), "a log is checked before it is believed: {err}");
    std::fs::write(line.log(), chained(&older)).unwrap();
    let (code, _, err) = from_audit(&line, "older");
    assert!(code == 2 && err.contains("rejected parts are of the sample"), "{err}");
}

#[test]
fn nobody_is_asked_to_judge_a_part_whose_picture_is_gone() {
    let line = Line::after_a_run("sample = 1.0\n");
    std::fs::copy(with_threshold(&line, 0.0), line.bench.path("calibration/red.toml")).unwrap();
    line.run();
    line.run();
    let rejects = judged(&line)[1].len();
    assert!((21..40).contains(&rejects), "one of so many may be gone, and two may not: {rejects}");
    let list = line.bench.path("out/new.judged.txt");
    let asked = |count: usize| {
        let (code, out, err) = from_audit(&line, "parts");
        assert!(code == 2 && err.contains(&format!("the sample has {count} rejected parts of which")), "{out}{err}");
        (std::fs::read_to_string(&list).unwrap(), err)
    };
    let (text, _) = asked(rejects);
    let rows = text.lines().filter_map(|row| row.split_once(" ?  # ")).collect::<Vec<_>>();
    let remove = |row: usize| std::fs::remove_file(line.bench.path("pictures").join(rows[row].1)).unwrap();
    remove(3);
    std::fs::remove_file(&list).unwrap();
    let (without, err) = asked(rejects - 1);
    assert!(!without.contains(rows[3].0) && without.contains(rows[2].0), "{without}");
    assert!(err.contains("1 rejected part is of the sample") || err.contains("not asked about"), "{err}");
    assert!(err.contains(rows[3].0) && err.contains("is not there"), "{err}");
    // What somebody has said already needs no picture.
    let said = without.replace(&format!("{} ?  #", rows[2].0), &format!("{} bad  #", rows[2].0));
    std::fs::write(&list, said).unwrap();
    remove(2);
    asked(rejects - 2);
    remove(1);
    let (code, _, err) = from_audit(&line, "parts");
    assert!(code == 2 && err.contains(&format!("no picture is there of 2 of {rejects} rejected parts")), "{err}");
    assert!(err.contains("and 1 more") && !line.bench.path("parts").exists(), "{err}");
}

/// The lines of a log as a program would have written them.
fn chained(log: &str) -> String {
    let mut prev = "0".repeat(64);
    let lines = log.lines().map(|line| {
        let content = &line[..line.len() - ",\"hash\":\"\"}".len() - 64];
        let (head, tail) = content.split_once("\"prev\":\"").unwrap();
        let content = format!("{head}\"prev\":\"{prev}{}", &tail[64..]);
        prev = hgad::digest::Digest::of(&content).to_string();
        format!("{content},\"hash\":\"{prev}\"}}\n")
    });
    lines.collect()
}
