use super::*;

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
fn an_alarm_has_a_beginning_and_an_end() {
    let raised = r#"{"seq":1,"kind":"alarm","time":"2026-11-24T07:00:00.000000Z","alarm":"camera-fault","raised":true,"why":"unplugged"}"#;
    let over = r#"{"seq":2,"kind":"alarm","time":"2026-11-24T07:10:00.000000Z","alarm":"camera-fault","raised":false}"#;
    let facts = facts(&[raised, over, raised]);
    assert_eq!(facts.alarms[0].over.as_deref(), Some("2026-11-24T07:10:00.000000Z"));
    assert_eq!((facts.alarms.len(), &facts.alarms[1].over), (2, &None));
}

#[test]
fn removed_pictures_and_the_room_on_the_disk_are_told_in_numbers() {
    let removed = r#"{"seq":1,"kind":"pictures-removed","time":"2026-11-24T07:00:00.000000Z","of":"passes","pictures":12,
        "bytes":3400000,"until":"2026-11-23","last":"r/2026-11-23/00000012-sample.png"}"#;
    let low =
        r#"{"seq":2,"kind":"disk-pressure","time":"2026-11-24T07:10:00.000000Z","low":true,"free_bytes":250000000}"#;
    let told = facts(&[removed, low]).events.into_iter().map(|event| event.what).collect::<Vec<_>>();
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
    let times = facts.events.iter().map(|event| event.times).collect::<Vec<_>>();
    assert_eq!(times, [3, 1, 1]);
    let page = page::page(&facts, &shift(), &Origin::default(), &[], None);
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
    (one.more_alarms, one.untold, one.pieces) = (1, 1, 1);
    one.models.insert("a model".into(), 1);
    let page = page::page(&one, &shift(), &Origin::default(), &[], None);
    for says in [
        "lost (1 record)",
        "1 more alarm was raised than",
        "1 more event is in the log",
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
        assert_eq!(facts.alarms[0].over.as_deref(), Some("2026-11-24T08:00:00.000000Z"));
    }
}

#[test]
fn alarms_that_are_not_listed_are_counted_and_one_that_stands_is_listed_whatever_their_number() {
    let mut lines = Vec::new();
    for number in 0..300 {
        let name = format!("lane-{number}-output-fault");
        lines.push(alarm(24, "07:00:00", &name, true));
        // The last but one is never over.
        lines.extend((number != 298).then(|| alarm(24, "07:00:01", &name, false)));
    }
    let mut facts = facts(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    facts.end();
    assert_eq!((facts.alarms.len(), facts.more_alarms), (LISTED + 1, 99));
    let page = page::page(&facts, &shift(), &Origin::default(), &[], None);
    assert!(page.contains("99 more alarms were raised") && page.contains("<b>300</b><span>alarms"), "{page}");
    assert!(page.contains("lane-298-output-fault: because"));
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
    let page = page::page(&facts, &shift(), &origin, &[], None);
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
    assert!(page::page(&empty, &shift(), &origin, &[], None).contains("No alarm was raised"));
}

#[test]
fn a_page_with_exchanged_pictures_says_so_above_everything_else() {
    let facts = facts(&[REJECT, LOST]);
    let shown = |is_suspect| gallery::Shown { bad: &facts.bad[0], picture: Err("why".into()), is_suspect };
    let accuses = |pictures: &[gallery::Shown]| {
        let html = page::page(&facts, &shift(), &Origin::default(), pictures, None);
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
