use image::{Rgb, RgbImage};

use super::page::Pictures;
use super::*;
use crate::digest::Digest;

fn entry(json: &str) -> Entry {
    serde_json::from_str(json).unwrap()
}

fn shift() -> Shift {
    let at = |time: &str| time.parse().unwrap();
    Shift { from: at("2026-11-24T06:00:00Z"), to: at("2026-11-24T14:00:00Z"), zone: TimeZone::UTC }
}

fn facts(lines: &[&str]) -> Facts {
    let mut facts = Facts { bins: vec![Bin::default(); BINS], ..Facts::default() };
    lines.iter().for_each(|line| facts.add(&entry(line), Some("r"), &shift()));
    facts
}

const REJECT: &str = r#"{"seq":1,"kind":"part","time":"2026-11-24T06:05:00.000000Z","part":0,"class":"a<b","score":3.0,
    "threshold":2.0,"place":[0.9,0.1],"verdict":"reject","fate":"rejected","planned_ns":1000000,"fired_ns":2500000,"slack_ms":5,
    "latency_ms":{"wait":1,"preprocess":1,"network":1,"score":1,"total":40}}"#;
const LOST: &str = r#"{"seq":2,"kind":"part","time":"2026-11-24T13:59:59.000000Z","part":1,"class":"a<b","verdict":"unknown",
    "reason":"lost","fate":"unaccounted","fate_reason":"the ejector gave no report","slack_ms":-9}"#;

#[test]
fn parts_are_counted_by_verdict_reason_place_and_time() {
    let facts = facts(&[REJECT, LOST]);
    let class = &facts.classes["a<b"];
    assert_eq!((facts.parts, class.bad, class.unknown, class.unaccounted), (2, 1, 1, 1));
    assert_eq!(facts.reasons["unlike normal parts, upper right"], 1);
    assert_eq!((facts.reasons["no verdict: lost"], facts.regions[2]), (1, 1));
    assert_eq!((facts.bins[0].bad, facts.bins[BINS - 1].unknown), (1, 1));
    assert_eq!((facts.bins[0].ratios.as_slice(), facts.lateness.as_slice()), (&[1.5][..], &[1.5][..]));
    assert_eq!(facts.least_slack, Some(5.0), "a part that nobody inspected has no reserve");
    assert_eq!(facts.bad.len(), 2);
}

#[test]
fn of_a_lane_without_an_output_nothing_was_driven_as_far_as_its_run_says_so() {
    let run =
        |kind: &str, more: &str| format!(r#"{{"seq":0,"kind":"{kind}","time":"2026-11-24T06:00:00.000000Z"{more}}}"#);
    let begun = |output: &str| run("start", &format!(r#","output":"{output}""#));
    let [left, right] =
        ["left", "right"].map(|lane| REJECT.replace("\"part\":0", &format!("\"part\":0,\"lane\":\"{lane}\"")));
    let older = run("continued", "");
    let counted = |lines: &[&str]| {
        let facts = facts(lines);
        (facts.without_output, facts.lateness.len())
    };
    assert_eq!(counted(&[&begun("none"), REJECT, &older, REJECT]), (2, 0));
    assert_eq!(counted(&[&run("continued", r#","output":"none""#), REJECT]), (1, 0));
    assert_eq!(counted(&[&begun("none"), REJECT, &begun("gpio chip GPIO17"), REJECT]), (1, 1));
    assert_eq!(counted(&[&begun("none"), &run("start", ""), REJECT]), (0, 1), "older logs do not tell it");
    assert_eq!(counted(&[&begun("1 left: none; 2 right: gpio chip GPIO17"), &left, &right]), (1, 1));
    let page = page::page(&facts(&[&begun("none"), REJECT]), &shift(), &Origin::default(), &Pictures::default());
    assert!(page.contains("1 of these 1 parts") && page.contains("nothing was driven"), "{page}");
}

#[test]
fn an_alarm_has_a_beginning_and_an_end() {
    let raised = r#"{"seq":1,"kind":"alarm","time":"2026-11-24T07:00:00.000000Z","alarm":"camera-fault","raised":true,"why":"unplugged"}"#;
    let over = r#"{"seq":2,"kind":"alarm","time":"2026-11-24T07:10:00.000000Z","alarm":"camera-fault","raised":false}"#;
    let facts = facts(&[raised, over, raised]);
    let over = facts.alarms.listed().map(|alarm| alarm.over.as_deref()).collect::<Vec<_>>();
    assert_eq!(over, [Some("2026-11-24T07:10:00.000000Z"), None]);
}

#[test]
fn removed_pictures_and_the_room_on_the_disk_are_told_in_numbers() {
    let removed = r#"{"seq":1,"kind":"pictures-removed","time":"2026-11-24T07:00:00.000000Z","of":"passes","pictures":12,
        "bytes":3400000,"until":"2026-11-23","last":"r/2026-11-23/00000012-sample.png"}"#;
    let low =
        r#"{"seq":2,"kind":"disk-pressure","time":"2026-11-24T07:10:00.000000Z","low":true,"free_bytes":250000000}"#;
    let told = facts(&[removed, low]).events.listed().map(|event| event.what.clone()).collect::<Vec<_>>();
    assert_eq!(
        told,
        [
            "pictures-removed: 12 pictures of passes, 3.40 MB, up to 2026-11-23",
            "disk-pressure: 250 MB free, which is little"
        ]
    );
}

#[test]
fn what_happens_again_and_again_is_told_once_with_how_often() {
    let dark = |second: u32| {
        format!(
            r#"{{"seq":1,"kind":"fault","time":"2026-11-24T07:00:{second:02}.000000Z","device":"picture","why":"too dark: {second} of 255"}}"#
        )
    };
    let note = r#"{"seq":1,"kind":"note","time":"2026-11-24T07:00:03.000000Z","text":"x"}"#.to_owned();
    let lines = [dark(0), dark(1), dark(2), note, dark(4)];
    let facts = facts(&lines.each_ref().map(String::as_str));
    let times = facts.events.listed().map(|event| event.times).collect::<Vec<_>>();
    assert_eq!(times, [3, 1, 1]);
    let page = page::page(&facts, &shift(), &Origin::default(), &Pictures::default());
    assert!(page.contains("07:00:00 to 07:00:02<td>3 times: fault of the picture: too dark: 0 of 255"), "{page}");
}

#[test]
fn a_short_run_fills_the_trend_and_a_folder_that_is_not_there_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let picture = r#""picture":{"file":"r/2026-11-24/00000000-reject.png","sha256":null,"why":"reject"}"#;
    let part = |second: u32| {
        REJECT
            .replace('\n', "")
            .replace("06:05:00", &format!("06:05:{second:02}"))
            .replace("\"part\":0", &format!("\"part\":{second},{picture}"))
            + "\n"
    };
    std::fs::write(&log, (0..48).map(part).collect::<String>()).unwrap();
    let gallery = Gallery { folder: folder.path().join("pictures"), most: 60 };
    let page = report(&log, &shift(), &Origin::default(), &gallery).unwrap();
    assert!(page.html.contains("A section is 1.0 seconds") && page.html.contains(">06:05:00</text>"), "{}", page.html);
    assert!(page.unseen.unwrap().contains("is not there") && page.html.matches("is not there").count() == 1);
    let span = |from: &str, to: &str| Some((format!("2026-11-24T{from}.000000Z"), format!("2026-11-24T{to}.000000Z")));
    assert!(window(&shift(), span("06:00:00", "13:00:00")).is_none(), "most of the shift is the shift");
}

fn alarm(day: u32, time: &str, name: &str, raised: bool) -> String {
    let time = format!("2026-11-{day}T{time}.000000Z");
    format!(r#"{{"seq":1,"kind":"alarm","time":"{time}","alarm":"{name}","raised":{raised},"why":"because"}}"#)
}

#[test]
fn of_one_thing_nothing_is_told_in_the_plural() {
    let lost = r#"{"seq":3,"kind":"lost","time":"2026-11-24T07:00:00.000000Z","records":1}"#;
    let mut one = facts(&[REJECT, lost]);
    one.pieces = 1;
    one.models.insert("judged by a model".into(), 1);
    let page = page::page(&one, &shift(), &Origin::default(), &Pictures::default());
    for says in [
        "lost (1 record)",
        "1 part was judged by a model",
        "1 known bad piece,",
        "1 part, and no picture of any is stored",
    ] {
        assert!(page.contains(says), "{says}: {page}");
    }
}

#[test]
fn an_alarm_ends_with_its_run() {
    let raised = alarm(24, "07:00:00", "camera-fault", true);
    for kind in ["stop", "start"] {
        let end = format!(r#"{{"seq":2,"kind":"{kind}","time":"2026-11-24T08:00:00.000000Z"}}"#);
        let facts = facts(&[&raised, &end]);
        let over = facts.alarms.listed().next().unwrap().over.as_deref();
        assert_eq!(over, Some("2026-11-24T08:00:00.000000Z"));
    }
}

#[test]
fn what_matters_is_on_the_page_whatever_else_comes_again_and_again() {
    let event = |number: usize, kind: &str, rest: &str| {
        let (minute, second) = (number / 60, number % 60);
        format!(r#"{{"seq":1,"kind":"{kind}","time":"2026-11-24T07:{minute:02}:{second:02}.000000Z",{rest}}}"#)
    };
    let camera = |number, raised| {
        let rest = format!(r#""alarm":"camera-fault","raised":{raised},"why":"flap {number}""#);
        [
            event(number, if raised { "fault" } else { "recovery" }, r#""device":"camera","why":"unplugged""#),
            event(number, "alarm", &rest),
        ]
    };
    let mut lines = (0..900).flat_map(|number| camera(number, number % 2 == 0)).collect::<Vec<_>>();
    let [a, b] = ["a", "b"].map(|digit| digit.repeat(64));
    lines.splice(
        1000..1000,
        [
            event(500, "challenge-begun", r#""by":"Smith <1>","pieces":5,"lane":"left","within_s":600"#),
            event(
                510,
                "challenge",
                r#""by":"Smith <1>","pieces":5,"lane":"left","passed":false,"caught":[1],"missed":[{"part":2,"why":"verdict pass"}],"absent":3"#,
            ),
            event(511, "changed", &format!(r#""what":"calibration of cap","from":"{a}","to":"{b}","by":"Jones","reason":"new lamp""#)),
            event(512, "unnamed-change", &format!(r#""what":"model","from":null,"to":"{b}","why":"nobody signed""#)),
            event(513, "alarm", r#""alarm":"drift","raised":true,"why":"the brightness falls""#),
            event(514, "drift-begun", r#""class":"cap","parts":36,"restarted":true,"why":"anew""#),
            event(515, "clock-step", r#""by_ms":-3600000.0"#),
            event(516, "alarm", r#""alarm":"bin-full","raised":true,"why":"empty it""#),
        ],
    );
    lines.push(event(900, "challenge-begun", r#""by":"Miller","pieces":2,"within_s":600"#));
    let mut facts = facts(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    facts.challenges.given_up();
    let page = page::page(&facts, &shift(), &Origin::default(), &Pictures::default());
    for says in [
        "<b>452</b><span>alarms",
        "<b>2</b><span>challenge tests</span><small>1 not passed",
        "07:00:00 to 07:00:01<td>camera-fault: flap 0<",
        ">430 more: camera-fault<",
        "07:14:58 to 07:14:59<td>camera-fault: flap 898<",
        ">430 more: fault camera<",
        "<td>07:08:20 to 07:08:30<td>Smith &lt;1&gt;<td>left<td>5<td>1<td>1<td>3<td class=\"failed\"><b>NOT PASSED</b><br>part 2: verdict pass<",
        "<td>07:15:00 on<td>Miller<td>any<td>2<td><td><td><td class=\"failed\">no result",
        "another calibration of cap (bbbbbbbb, and it was aaaaaaaa); by Jones: new lamp",
        "another model (bbbbbbbb, and it was none); nobody signed",
        "<h2>Drift</h2><table class=\"events\"><tr><td>07:08:33<td>the brightness falls</tr>",
        "the test of cap began anew, from 36 parts of its calibration",
        "the clock was set back by 3600.000 s",
        "<td>07:08:36<td>bin-full: empty it<",
    ] {
        assert!(page.contains(says), "{says}\n{page}");
    }
    assert!(page.matches("<tr>").count() < 150, "a flood makes no long page: {}", page.matches("<tr>").count());
}

#[test]
fn the_parts_that_show_a_change_are_shown_with_their_pictures_wherever_their_records_are() {
    let folder = tempfile::tempdir().unwrap();
    let (log, pictures) = (folder.path().join("audit.jsonl"), folder.path().join("pictures"));
    std::fs::create_dir_all(pictures.join("r")).unwrap();
    let image = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8, y as u8, 7]));
    image.save(pictures.join("r/a.png")).unwrap();
    let file = Digest::of(std::fs::read(pictures.join("r/a.png")).unwrap());
    let pixels = Digest::of(image.as_raw());
    let kept = format!(
        r#""picture":{{"why":"around","sampled":false,"file":"r/a.png","sha256":"{file}","pixels_sha256":"{pixels}"}}"#
    );
    let at = |day: u32, time: &str, kind: &str, rest: &str| {
        format!("{{\"kind\":\"{kind}\",\"time\":\"2026-11-{day}T{time}.000000Z\",{rest}}}")
    };
    let part = |day, time, number: u32, rest: &str| {
        at(
            day,
            time,
            "part",
            &format!(r#""part":{number},"class":"cap","score":1.0,"threshold":2.0,"verdict":"pass"{rest}"#),
        )
    };
    let named = r#""class":"cap","why":"the score rises","named":[{"part":8,"value":1.5},{"part":3,"value":1.25},{"part":4,"value":1.0}]"#;
    let lines = [
        // Another run, whose parts have the same numbers.
        at(22, "05:00:00", "start", r#""run":"other""#),
        part(22, "05:00:01", 3, &format!(",{kept}")),
        at(22, "06:00:00", "stop", r#""reason":"end""#),
        at(22, "07:00:00", "start", r#""run":"<mine>""#),
        part(22, "07:00:01", 3, ""),
        part(24, "06:59:58", 4, ""),
        at(24, "07:00:00", "drift", named),
        at(24, "07:00:00", "alarm", r#""alarm":"drift","raised":true,"why":"the score rises""#),
        at(24, "07:00:00", "picture", &format!(r#""part":3,{kept}"#)),
        part(24, "06:59:59", 8, &format!(",{kept}")),
    ];
    let number = |(seq, line): (usize, &String)| line.replacen('{', &format!("{{\"seq\":{seq},"), 1) + "\n";
    std::fs::write(&log, lines.iter().enumerate().map(number).collect::<String>()).unwrap();
    let gallery = Gallery { folder: pictures.clone(), most: 0 };
    let page = report(&log, &shift(), &Origin::default(), &gallery).unwrap();
    let section = page.html.split_once("<h2>Drift</h2>").unwrap().1.split_once("</section>").unwrap().0;
    assert_eq!(section.matches("the score rises").count(), 1, "the alarm says nothing new: {section}");
    let places = ["&lt;mine&gt;/8", "&lt;mine&gt;/3", "&lt;mine&gt;/4"].map(|name| section.find(name).expect(name));
    assert!(places.is_sorted(), "the best one first");
    assert_eq!(section.matches("data:image/jpeg").count(), 2, "{section}");
    assert!(section.contains("it was not kept") && page.suspect == 0);
    // A day later it still stands, and is told with its day.
    let next = Shift { from: shift().to, to: "2026-11-25T06:00:00Z".parse().unwrap(), ..shift() };
    std::fs::write(pictures.join("r/a.png"), "exchanged").unwrap();
    let page = report(&log, &next, &Origin::default(), &gallery).unwrap();
    assert!(page.html.contains("<td>since 2026-11-24 07:00<td>the score rises"), "{}", page.html);
    assert_eq!(page.suspect, 2, "what is shown of a change is checked as well");
    assert!(page.html.contains("2 of 3 that were looked at"));
}

#[test]
fn alarms_that_stand_from_before_the_shift_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let run = |day: u32, kind: &str| format!(r#"{{"seq":1,"kind":"{kind}","time":"2026-11-{day}T05:00:00.000000Z"}}"#);
    let lines = [
        run(10, "start"),
        alarm(11, "05:00:00", "bin-full", true),
        run(12, "stop"),
        run(13, "start"),
        alarm(14, "05:00:00", "camera-fault", true),
        alarm(15, "05:00:00", "output-fault", true),
        alarm(16, "05:00:00", "output-fault", false),
        alarm(23, "05:00:00", "drift", true),
        alarm(24, "07:00:00", "camera-fault", false),
        alarm(24, "08:00:00", "bin-full", true),
        alarm(24, "15:00:00", "drift", false),
    ];
    std::fs::write(&log, lines.map(|line| line + "\n").concat()).unwrap();
    let gallery = Gallery { folder: folder.path().into(), most: 0 };
    let page = report(&log, &shift(), &Origin::default(), &gallery).unwrap().html;
    for says in [
        "since 2026-11-14 05:00 to 07:00:00<td>camera-fault",
        "since 2026-11-23 05:00<td>drift",
        "<td>08:00:00<td>bin-full",
        "<b>3</b><span>alarms</span><small>2 of them from before",
    ] {
        assert!(page.contains(says), "{says}\n{page}");
    }
    assert!(!page.contains("output-fault"), "it was over");
    // A log that begins in the middle of a run says what it can.
    std::fs::write(&log, alarm(23, "05:00:00", "drift", true) + "\n").unwrap();
    assert!(report(&log, &shift(), &Origin::default(), &gallery).unwrap().html.contains("drift: because"));
}

#[test]
fn what_the_page_tells_of_the_time_before_the_shift_is_held_against_its_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let at = |day: u32, time: &str, kind: &str, rest: &str| {
        format!("{{\"kind\":\"{kind}\",\"time\":\"2026-11-{day}T{time}.000000Z\",\"monotonic_ns\":1{rest}}}")
    };
    let named = r#","class":"cap","why":"the score rises","named":[{"part":3,"value":1.25}]"#;
    let picture = r#","part":3,"picture":{"why":"around","sampled":false,"missing":"no room"}"#;
    let part = |rest| at(22, "07:00:01", "part", rest);
    let bodies = [
        at(21, "07:00:00", "start", r#","run":"other""#),
        at(21, "08:00:00", "stop", r#","reason":"end""#),
        at(22, "07:00:00", "start", r#","run":"mine""#),
        part(r#","part":3,"class":"cap","score":1.0,"threshold":2.0,"verdict":"pass""#),
        at(22, "07:00:02", "picture", picture),
        part(r#","part":4,"class":"cap","score":1.0,"threshold":2.0,"verdict":"pass""#),
        at(23, "07:00:00", "alarm", r#","alarm":"bin-full","raised":true,"why":"empty it""#),
        at(23, "07:00:01", "acknowledgement", r#","by":"Miller","alarms":[{"alarm":"bin-full","raised_ns":1}]"#),
        at(23, "07:00:02", "note", r#","text":"x""#),
        at(23, "08:00:00", "drift", named),
        at(24, "07:00:00", "note", r#","text":"x""#),
    ];
    let mut link = crate::audit::chain::Link::START;
    let lines = bodies.map(|body| link.seal(&body));
    let gallery = Gallery { folder: folder.path().into(), most: 0 };
    let doubtful = |changed: &[usize], shift: &Shift| {
        let line = |(seq, line): (usize, &String)| match changed.contains(&seq) {
            true => line.replace("\"monotonic_ns\":1", "\"monotonic_ns\":2"),
            false => line.clone(),
        };
        std::fs::write(&log, lines.iter().enumerate().map(line).collect::<String>()).unwrap();
        report(&log, shift, &Origin::default(), &gallery).unwrap().doubtful.told()
    };
    assert_eq!(doubtful(&[], &shift()), None);
    // Of the run that goes on, and no more than the page tells.
    for used in [2, 3, 4, 6, 7, 9, 10] {
        assert_eq!(doubtful(&[used], &shift()), Some(format!("1 record is not as written: {used}")));
    }
    assert_eq!(doubtful(&[0, 1], &shift()), None);
    // Whoever edited one that is told of with its hash, and what the next one says of that, leaves that one so.
    assert_eq!(doubtful(&[5, 8], &shift()).unwrap(), "1 record is not as written: 7 or 8");
    assert_eq!(doubtful(&[10, 2, 6, 3], &shift()).unwrap(), "4 records are not as written: 2, 6, 10, 3");
    // A shift without a record of its own, and one that has all of them.
    let next = Shift { from: shift().to, to: "2026-11-25T06:00:00Z".parse().unwrap(), ..shift() };
    assert_eq!(doubtful(&[6], &next).unwrap(), "1 record is not as written: 6");
    let all = Shift { from: "2026-11-20T00:00:00Z".parse().unwrap(), ..shift() };
    assert_eq!(doubtful(&[2, 3, 6], &all).unwrap(), "3 records are not as written: 2, 3, 6");
    // One that was edited together with its hash does not fit the one behind it.
    let (content, _) = lines[7].split_once(",\"hash\":").unwrap();
    let content = content.replace("Miller", "Smith");
    let forged = format!("{content},\"hash\":\"{}\"}}\n", Digest::of(&content));
    std::fs::write(&log, [&lines[..7], &[forged], &lines[8..]].concat().concat()).unwrap();
    for shift in [&shift(), &next, &all] {
        let told = report(&log, shift, &Origin::default(), &gallery).unwrap().doubtful.told();
        assert_eq!(told.unwrap(), "1 record is not as written: 7 or 8", "{}", shift.from);
    }
}

#[test]
fn a_run_whose_start_was_carried_away_is_named_by_the_file_that_goes_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let lines = [
        r#"{"seq":7,"kind":"continued","time":"2026-11-24T05:00:00.000000Z","run":"r"}"#.to_owned(),
        alarm(24, "05:30:00", "bin-full", true),
        alarm(24, "07:30:00", "camera-fault", true),
    ];
    std::fs::write(&log, lines.join("\n") + "\n").unwrap();
    let before = before(&log, &shift()).unwrap();
    assert_eq!((before.run.as_deref(), before.alarms.len()), (Some("r"), 1));
}

#[test]
fn a_clock_that_was_set_back_hides_no_alarm_that_stands() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let gallery = Gallery { folder: folder.path().into(), most: 0 };
    let note = |time: &str| format!(r#"{{"seq":1,"kind":"note","time":"2026-11-24T{time}.000000Z","text":"x"}}"#);
    let page = |lines: &[String]| {
        let number = |(seq, line): (usize, &String)| line.replacen("\"seq\":1", &format!("\"seq\":{seq}"), 1) + "\n";
        std::fs::write(&log, lines.iter().enumerate().map(number).collect::<String>()).unwrap();
        report(&log, &shift(), &Origin::default(), &gallery).unwrap().html
    };
    let start = r#"{"seq":1,"kind":"start","time":"2026-11-24T05:00:00.000000Z"}"#.to_owned();
    let [raised, early, late] = [alarm(24, "16:00:00", "camera-fault", true), note("05:30:00"), note("07:00:00")];
    // The clock was ahead and is set right, before the shift or in the middle of it.
    assert!(page(&[start.clone(), raised.clone(), early.clone(), late.clone()]).contains("camera-fault: because"));
    assert!(page(&[start.clone(), late.clone(), raised.clone(), note("08:00:00")]).contains("camera-fault: because"));
    // Over before the log comes to the shift; or raised behind it, before a part that was captured in it.
    let over = alarm(24, "16:01:00", "camera-fault", false);
    assert!(!page(&[start.clone(), raised, over, late.clone()]).contains("camera-fault"));
    let behind = alarm(24, "14:00:01", "camera-fault", true);
    assert!(!page(&[start, late, behind, note("13:59:59")]).contains("camera-fault"));
}

#[test]
fn the_page_says_what_was_gathered_and_lets_no_name_become_markup() {
    let mut facts = facts(&[REJECT, LOST]);
    facts.lines.insert("line <3>".into(), 1);
    let origin = Origin { log: "audit.jsonl".into(), checked: None };
    let page = page::page(&facts, &shift(), &origin, &Pictures::default());
    for says in [
        "Shift report: line &lt;3&gt;",
        "2026-11-24 06:00 to 2026-11-24 14:00",
        "a&lt;b",
        "no verdict: lost",
        "40.00 ms",
    ] {
        assert!(page.contains(says), "{says}");
    }
    assert!(!page.contains("a<b") && !page.contains("src=\"http"), "it needs nothing from elsewhere");
    assert_eq!(page.matches("<section>").count(), page.matches("</section>").count());
    let empty = Facts { bins: vec![Bin::default(); BINS], ..Facts::default() };
    assert!(page::page(&empty, &shift(), &origin, &Pictures::default()).contains("No alarm was raised"));
}

#[test]
fn the_page_says_what_judged_parts_and_what_refused_their_pictures() {
    let part = |number: u64, rest: &str| {
        format!(
            r#"{{"seq":{number},"kind":"part","time":"2026-11-24T06:05:00.000000Z","part":{number},"class":"a","verdict":"unknown",
            "fate":"rejected","bundle":"{}"{rest}}}"#,
            "b".repeat(64)
        )
    };
    let refused = |number, calibration: &str| {
        let numbers = r#""brightness":3.0,"saturated":0.0,"sharpness":1.0,"red":0.3,"blue":0.3"#;
        part(number, &format!(r#","picture_fault":{{"fault":"too-dark","calibration":{calibration},{numbers}}}"#))
    };
    let (judged, limits) = ("a".repeat(64), format!("\"{}\"", "c".repeat(64)));
    let lines = [
        refused(0, &limits),
        refused(1, &limits),
        part(2, &format!(r#","calibration":"{judged}","score":1.0,"threshold":2.0"#)),
        refused(3, "null"),
    ];
    let facts = facts(&lines.each_ref().map(String::as_str));
    let page = page::page(&facts, &shift(), &Origin::default(), &Pictures::default());
    let (bundle, limits, judged) = ("b".repeat(8), "c".repeat(8), "a".repeat(8));
    for says in [
        format!("2 parts were refused by their pictures, by calibration {limits}"),
        format!("1 part was judged by bundle {bundle}"),
        format!(", calibration {judged}"),
        format!("1 part was not judged; bundle {bundle}"),
    ] {
        assert!(page.contains(&says), "{says}: {page}");
    }
}

#[test]
fn a_page_with_exchanged_pictures_says_so_above_everything_else() {
    let facts = facts(&[REJECT, LOST]);
    let shown = |is_suspect| gallery::Shown { bad: &facts.bad[0], picture: Err("why".into()), is_suspect };
    let accuses = |pictures: &[gallery::Shown]| {
        let pictures = Pictures { shown: pictures, ..Pictures::default() };
        let html = page::page(&facts, &shift(), &Origin::default(), &pictures);
        html.find("1 of 2 that were looked at. Records 1.").is_some_and(|at| at < html.find("class=\"tiles\"").unwrap())
    };
    assert!(accuses(&[shown(true), shown(false)]) && !accuses(&[shown(false), shown(false)]));
}

#[test]
fn quantiles_are_values_that_were_seen() {
    let mut values = [3.0, 1.0, 2.0];
    assert_eq!((quantile(&mut values, 0.5), quantile(&mut values, 1.0)), (Some(2.0), Some(3.0)));
    assert_eq!(quantile(&mut [], 0.5), None);
}

#[test]
fn a_change_of_calibration_is_told_with_both_thresholds_and_that_one_was_set_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|digit| digit.repeat(64));
    let at = |day: u32, time: &str, kind: &str, rest: &str| {
        format!("{{\"kind\":\"{kind}\",\"time\":\"2026-11-{day}T{time}.000000Z\",{rest}}}")
    };
    let part = |day, time, class: &str, calibration: &str, threshold: f32| {
        let rest = format!(
            r#""part":1,"class":"{class}","score":1.0,"threshold":{threshold},"verdict":"pass","calibration":"{calibration}""#
        );
        at(day, time, "part", &rest)
    };
    let change = |time, class: &str, from: &str, to: &str, who: &str| {
        at(24, time, "changed", &format!(r#""what":"calibration of {class}","from":"{from}","to":"{to}"{who}"#))
    };
    let approvals = format!(
        r#""run":"r","approvals":[{{"sha256":"{b}","by":"Jones","reason":"new lamp","threshold_by_hand":"the threshold 9.5 is not 2.25",
        "time":"2026-11-24T06:00:00Z","key":"k"}}]"#
    );
    let bodies = [
        part(20, "07:00:00", "cap", &a, 2.5),
        part(23, "07:00:01", "nut", &c, 4.0),
        at(24, "07:00:00", "start", &approvals.replace('\n', "")),
        change("07:00:00", "cap", &a, &b, r#","by":"Jones","reason":"new lamp""#),
        change("07:00:00", "nut", &c, &d, ""),
        change("07:00:00", "bolt", &d, &c, ""),
        at(24, "07:00:00", "changed", r#""what":"approval of model","from":null,"to":"Jones: new lamp""#),
        at(24, "07:00:00", "changed", r#""what":"approval of model","from":"Jones: new lamp","to":null"#),
        part(24, "07:00:01", "cap", &b, 9.5),
    ];
    let mut link = crate::audit::chain::Link::START;
    let lines = bodies.map(|body| link.seal(&body)).concat();
    let gallery = Gallery { folder: folder.path().into(), most: 0 };
    let page = || report(&log, &shift(), &Origin::default(), &gallery).unwrap();
    std::fs::write(&log, &lines).unwrap();
    for says in [
        "(bbbbbbbb, and it was aaaaaaaa); by Jones: new lamp; its threshold was set by hand: the threshold 9.5 is not 2.25<br>threshold 9.5, \
         and it was 2.5<",
        "another approval of model (Jones: new lamp, and it was none)<",
        "another approval of model (none, and it was Jones: new lamp); no name and no reason are on record<",
        "(dddddddd, and it was cccccccc); no name and no reason are on record<br>no part of this time tells its threshold; it was 4<",
        "(cccccccc, and it was dddddddd); no name and no reason are on record<br>threshold 4; no part of the 30 days before tells which it was<",
    ] {
        assert!(page().html.contains(says), "{says}\n{}", page().html);
    }
    assert_eq!(page().doubtful.told(), None);
    // What is told of the time before is held against its hash.
    std::fs::write(&log, lines.replace("\"threshold\":2.5", "\"threshold\":2.0")).unwrap();
    assert!(page().html.contains("threshold 9.5, and it was 2<"));
    assert_eq!(page().doubtful.told().unwrap(), "1 record is not as written: 0");
}
