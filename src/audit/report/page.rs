//! The page: HTML that needs nothing else, and prints well.

use std::fmt::Write;

use jiff::Timestamp;

use super::gallery::Shown;
use super::listing::{Drifted, ENDS, Happened, Listing, Row, Trial};
use super::thresholds::Changed;
use super::{BINS, Facts, Origin, REGIONS, Shift, quantile};
use crate::audit::read::{self, Entry};
use crate::page::chart::{self, Layer, Line};
use crate::page::{escaped, head, section};
use crate::print::{counted, were};

const GOOD: &str = "#9fb8a8";
const BAD: &str = "#c62828";
const UNKNOWN: &str = "#e0a100";

/// What was found of the pictures that a page shows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pictures<'p> {
    /// Of parts that did not pass.
    pub(super) shown: &'p [Shown<'p>],
    /// Of the parts that changes are shown by.
    pub(super) named: &'p [Shown<'p>],
    /// Why none can be looked at.
    pub(super) unseen: Option<&'p str>,
}

pub(super) fn page(facts: &Facts, shift: &Shift, origin: &Origin, pictures: &Pictures) -> String {
    let lines = facts.lines.keys().map(|line| escaped(line)).collect::<Vec<_>>().join(", ");
    let title = if lines.is_empty() { "Shift report".to_owned() } else { format!("Shift report: {lines}") };
    let when = format!("{} to {}", day_and_time(shift.from, shift), day_and_time(shift.to, shift));
    let below = format!("{when} ({})", escaped(&zone_name(shift)));
    let mut html = head(&format!("{title}, {when}"), &title, &below);
    html.push_str(&accusation(pictures));
    html.push_str(&doubt(facts));
    html.push_str(&left_out(facts));
    html.push_str(&tiles(facts, shift));
    if facts.without_output > 0 {
        let _ = write!(
            html,
            "<p class=\"note\"><b>{} of these {} parts are of a run, or of a lane, without an output (kind = \"none\"): nothing was driven.</b> \
             What is called rejected of them went on with the belt.</p>",
            facts.without_output, facts.parts
        );
    }
    if facts.dry > 0 {
        let _ = write!(
            html,
            "<p class=\"note\"><b>{} of these {} parts are of a dry run: no output was driven.</b> What is called rejected of them went on \
             with the belt.</p>",
            facts.dry, facts.parts
        );
    }
    if facts.parts > 0 {
        section(&mut html, "Parts over time", &trend(facts, shift));
        section(&mut html, "Why parts were bad", &pareto(facts));
        section(&mut html, "By product", &classes(facts));
    }
    section(&mut html, "Rejected parts and parts without a verdict", &gallery(facts, pictures, shift));
    section(&mut html, "Alarms", &happenings(&facts.alarms, shift, "No alarm was raised, and none stood from before."));
    section(&mut html, "Challenge tests", &challenges(&facts.challenges.list, shift));
    section(&mut html, "Drift", &drift(&facts.drift, shift, pictures));
    section(&mut html, "Changes of program, configuration, model, calibration and key", &changes(facts, shift));
    section(&mut html, "Other events", &happenings(&facts.events, shift, "There were none."));
    section(&mut html, "How fast", &speed(facts));
    section(&mut html, "Where this comes from", &provenance(facts, origin));
    html + "</body></html>\n"
}

/// Above everything else: what the page shows of these parts is not what was scored.
fn accusation(pictures: &Pictures) -> String {
    let all = || pictures.shown.iter().chain(pictures.named);
    let suspect = all().filter(|shown| shown.is_suspect);
    let records = suspect.map(|shown| shown.bad.entry.seq.to_string()).collect::<Vec<_>>();
    match records.as_slice() {
        [] => String::new(),
        records => format!(
            "<p class=\"accused\"><b>Pictures are not those that were written, or are gone though nobody removed them:</b> {} of {} that \
             were looked at. Records {}.</p>",
            records.len(),
            all().count(),
            records.join(", ")
        ),
    }
}

/// Before any count, of which they are a part: which records are not as they were written.
fn doubt(facts: &Facts) -> String {
    let (what, follows) = match facts.doubtful.is_changed() {
        true => (
            "Not all that this page tells was written by the line",
            "What they say is counted and shown below all the same: ",
        ),
        false => ("Records are missing in the log", "The counts lack them: "),
    };
    let advice = facts.doubtful.advice();
    facts.doubtful.told().map_or_else(String::new, |told| {
        format!("<p class=\"accused\"><b>{what}:</b> {}. {follows}{advice}.</p>", escaped(&told))
    })
}

/// Before any count, which lacks what was in them: which files of the log were not read.
fn left_out(facts: &Facts) -> String {
    match facts.left_out.as_slice() {
        [] => String::new(),
        told => format!(
            "<p class=\"accused\"><b>Not all of the log was there when this page was made:</b> {}.</p>",
            escaped(&told.join("; "))
        ),
    }
}

fn tiles(facts: &Facts, shift: &Shift) -> String {
    let sum = |count: fn(&super::ClassCount) -> u64| facts.classes.values().map(count).sum::<u64>();
    let share = |count: u64| match facts.parts {
        0 => String::new(),
        parts => format!("{:.2}%", count as f64 / parts as f64 * 100.0),
    };
    let (bad, unknown, missed) = (sum(|c| c.bad), sum(|c| c.unknown), sum(|c| c.unaccounted));
    [
        "<div class=\"tiles\">".to_owned(),
        tile("", facts.parts, "parts", String::new()),
        tile("", sum(|c| c.good), "good", share(sum(|c| c.good))),
        tile(if bad > 0 { "bad" } else { "" }, bad, "bad", share(bad)),
        tile(if unknown > 0 { "warn" } else { "" }, unknown, "without a verdict", share(unknown)),
        tile(if missed > 0 { "bad" } else { "" }, missed, "unaccounted for", "bad, and not known to be ejected".into()),
        tile(if facts.alarms.count() == 0 { "" } else { "warn" }, facts.alarms.count(), "alarms", {
            let before = facts.alarms.listed().filter(|alarm| is_before(alarm, shift)).count();
            if before > 0 { format!("{before} of them from before") } else { String::new() }
        }),
        challenged(facts),
        "</div>".to_owned(),
    ]
    .concat()
}

/// The tile of the challenges, where there were any.
fn challenged(facts: &Facts) -> String {
    let (all, failed) = (facts.challenges.list.count(), facts.challenges.failed());
    let class = if failed > 0 { "bad" } else { "" };
    match all {
        0 => String::new(),
        _ => {
            tile(class, all, "challenge tests", if failed > 0 { format!("{failed} not passed") } else { String::new() })
        }
    }
}

fn tile(class: &str, count: u64, name: &str, note: String) -> String {
    format!("<div class=\"tile {class}\"><b>{count}</b><span>{name}</span><small>{note}</small></div>")
}

fn trend(facts: &Facts, shift: &Shift) -> String {
    let shift = facts.window.as_ref().unwrap_or(shift);
    let labels = labels(shift);
    let layer = |name, colour, count: fn(&super::Bin) -> u64| Layer {
        name,
        colour,
        values: facts.bins.iter().map(|bin| count(bin) as f64).collect(),
    };
    let layers = [
        layer("good", GOOD, |b| b.good),
        layer("bad", BAD, |b| b.bad),
        layer("without a verdict", UNKNOWN, |b| b.unknown),
    ];
    let at = |q: f64| facts.bins.iter().map(|bin| quantile(&mut bin.ratios.clone(), q).map(f64::from)).collect();
    let scores = [
        Line { name: "half of the parts are below", colour: "#1f4e79", dashes: "", values: at(0.5) },
        Line { name: "nine tenths are below", colour: "#1f4e79", dashes: "5 4", values: at(0.9) },
    ];
    let seconds = shift.to.duration_since(shift.from).as_secs_f64() / BINS as f64;
    let section =
        if seconds < 60.0 { format!("{seconds:.1} seconds") } else { format!("{:.1} minutes", seconds / 60.0) };
    format!(
        "{}<h3>Scores as shares of their thresholds</h3>{}<p class=\"note\">A section is {section}. The red line is \
         the threshold: a part above it is bad. Where the lines rise towards it, lamp, lens or product may drift.</p>",
        chart::bars("parts over time", &layers, &labels),
        chart::lines("scores over time", &scores, Some(1.0), &labels)
    )
}

fn labels(shift: &Shift) -> Vec<(f64, String)> {
    const STEPS: i64 = 8;
    let (from, to) = (shift.from.as_second(), shift.to.as_second());
    // Hours and minutes, unless these are the same for several labels.
    let shown = if to - from < 2 * 60 * STEPS { 8 } else { 5 };
    let label = |step: i64| {
        let at = Timestamp::from_second(from + (to - from) * step / STEPS).unwrap_or(shift.from);
        (step as f64 / STEPS as f64, time_of_day(at, shift)[..shown].to_owned())
    };
    (0..=STEPS).map(label).collect()
}

fn pareto(facts: &Facts) -> String {
    let mut counts = facts.reasons.iter().map(|(reason, count)| (reason.clone(), *count)).collect::<Vec<_>>();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    if counts.is_empty() {
        return "<p>No part was bad.</p>".into();
    }
    let mut html = format!("<div class=\"pair\"><div>{}</div>", chart::pareto(&counts));
    let most = facts.regions.iter().copied().max().unwrap_or(0);
    if most > 0 {
        html.push_str("<figure><table class=\"regions\">");
        for (i, count) in facts.regions.iter().enumerate() {
            let strength = *count as f64 / most as f64;
            let _ = write!(
                html,
                "{}<td title=\"{}\" style=\"background:rgba(198,40,40,{strength:.2});color:{}\">{count}",
                if i % 3 == 0 { "<tr>" } else { "" },
                REGIONS[i],
                if strength > 0.5 { "#fff" } else { "#222" }
            );
        }
        html.push_str(
            "</table><figcaption>Where in the picture rejected parts were least like normal ones</figcaption></figure>",
        );
    }
    html + "</div>"
}

fn classes(facts: &Facts) -> String {
    let mut html = String::from(
        "<table><tr><th>product<th>parts<th>good<th>bad<th>without a verdict<th>unaccounted for<th>bad</tr>",
    );
    for (class, count) in &facts.classes {
        let parts = count.good + count.bad + count.unknown;
        let _ = write!(
            html,
            "<tr><td>{}<td>{parts}<td>{}<td>{}<td>{}<td>{}<td>{:.2}%</tr>",
            escaped(class),
            count.good,
            count.bad,
            count.unknown,
            count.unaccounted,
            count.bad as f64 / parts.max(1) as f64 * 100.0
        );
    }
    html.push_str("</table>");
    for (why, count) in &facts.missed {
        let _ = write!(html, "<p class=\"note\">{count} unaccounted for: {}</p>", escaped(why));
    }
    html
}

fn gallery(facts: &Facts, pictures: &Pictures, shift: &Shift) -> String {
    let Pictures { shown: pictures, unseen, .. } = *pictures;
    let all = facts.all_bad;
    if all == 0 {
        return "<p>There was none.</p>".into();
    }
    if let Some(why) = unseen {
        return format!("<p class=\"warned\">{}, and {}.</p>", counted(all, "part"), escaped(why));
    }
    let mut html = match pictures.len() {
        0 => format!("<p>{}, and no picture of any is stored ([audit] pictures keeps them).</p>", counted(all, "part")),
        shown if (shown as u64) < all => {
            format!(
                "<p class=\"note\">{shown} of {all}, evenly taken. The ring marks the place that is least like a normal part.</p>"
            )
        }
        _ => "<p class=\"note\">The ring marks the place that is least like a normal part.</p>".to_owned(),
    };
    html.push_str("<div class=\"gallery\">");
    for shown in pictures {
        let _ = write!(
            html,
            "<figure>{}<figcaption>{}</figcaption></figure>",
            framed(shown, ""),
            caption(&shown.bad.entry, shift)
        );
    }
    html + "</div>"
}

/// `class` says how its frame looks.
fn framed(shown: &Shown, class: &str) -> String {
    match &shown.picture {
        Err(why) => format!("<p class=\"missing\">{}</p>", escaped(why)),
        Ok(jpeg) => {
            let ring = shown.bad.entry.place.map_or_else(String::new, |[x, y]| {
                format!("<i style=\"left:{:.1}%;top:{:.1}%\"></i>", x * 100.0, y * 100.0)
            });
            format!("<div class=\"framed {class}\"><img alt=\"\" src=\"data:image/jpeg;base64,{jpeg}\">{ring}</div>")
        }
    }
}

fn caption(entry: &Entry, shift: &Shift) -> String {
    let time = local(&entry.time, shift);
    let why = match (entry.score, entry.threshold, &entry.reason) {
        (_, _, Some(reason)) => format!("no verdict: {reason}"),
        (Some(score), Some(threshold), _) => format!("score {score:.2}, threshold {threshold:.2}"),
        _ => "its score is no number".into(),
    };
    let fate = entry.fate.as_deref().unwrap_or("-");
    format!(
        "<b>{time}</b> {}<br>{}<br>{} &middot; record {}",
        escaped(entry.class.as_deref().unwrap_or_default()),
        escaped(&why),
        escaped(fate),
        entry.seq
    )
}

/// Whether it was there when the shift began.
fn is_before(happened: &Happened, shift: &Shift) -> bool {
    happened.time < read::text(shift.from)
}

fn happenings(list: &Listing<Happened>, shift: &Shift, none: &str) -> String {
    table(list, "", |happened| happening(happened, shift)).unwrap_or_else(|| format!("<p>{none}</p>"))
}

fn happening(happened: &Happened, shift: &Shift) -> String {
    let seen = happened.acknowledged.as_ref().map_or_else(String::new, |seen| format!("<br>{}", escaped(seen)));
    let times = if happened.times > 1 { format!("{} times: ", happened.times) } else { String::new() };
    format!("<td>{}<td>{times}{}{seen}", when(happened, shift), escaped(&happened.what))
}

fn changes(facts: &Facts, shift: &Shift) -> String {
    let row = |change: &Changed| {
        let thresholds =
            facts.thresholds.told(change).map_or_else(String::new, |told| format!("<br>{}", escaped(&told)));
        format!("{}{thresholds}", happening(&change.happened, shift))
    };
    table(&facts.changes, "", row).unwrap_or_else(|| "<p>There were none.</p>".to_owned())
}

/// A table of what is listed, below `head`; `None` where that is nothing.
fn table<T>(list: &Listing<T>, head: &str, row: impl Fn(&T) -> String) -> Option<String> {
    let rows = list.rows();
    let between = rows.iter().any(|row| matches!(row, Row::Between(..)));
    let told = rows.iter().map(|each| match each {
        Row::Listed(item) => format!("<tr>{}</tr>", row(item)),
        Row::Between(sort, count) => {
            format!("<tr class=\"more\"><td>...<td colspan=\"9\">{count} more: {}</tr>", escaped(sort.trim_end()))
        }
    });
    let told = told.collect::<String>();
    let note = match between {
        true => format!(
            "<p class=\"note\">Of what came again and again the first {ENDS} and the last {ENDS} are listed; hgad audit query --kind any \
             lists all.</p>"
        ),
        false => String::new(),
    };
    (!rows.is_empty()).then(|| format!("<table class=\"events\">{head}{told}</table>{note}"))
}

/// When it happened, and until when.
fn when(happened: &Happened, shift: &Shift) -> String {
    let until = happened.over.as_ref().map_or_else(String::new, |over| format!(" to {}", local(over, shift)));
    match is_before(happened, shift) {
        true => format!("since {}{until}", local_day(&happened.time, shift)),
        false => format!("{}{until}", local(&happened.time, shift)),
    }
}

fn challenges(list: &Listing<Trial>, shift: &Shift) -> String {
    let head = "<tr><th>when<th>by<th>lane<th>sent<th>caught<th>missed<th>not seen<th>result</tr>";
    let row = |trial: &Trial| {
        let time = |time: &Option<String>| time.as_ref().map(|time| local(time, shift));
        let when = match (time(&trial.begun), time(&trial.ended)) {
            (Some(begun), Some(ended)) => format!("{begun} to {ended}"),
            (Some(begun), None) => format!("{begun} on"),
            (None, ended) => format!("until {}", ended.unwrap_or_default()),
        };
        let (by, lane) = (escaped(&trial.by), trial.lane.as_deref().map_or_else(|| "any".to_owned(), escaped));
        let sent = format!("<td>{when}<td>{by}<td>{lane}<td>{}", trial.pieces);
        let Some(outcome) = &trial.outcome else {
            return format!("{sent}<td><td><td><td class=\"failed\">no result: the run, or this time, ended before");
        };
        let result = if outcome.is_passed { "<td>passed" } else { "<td class=\"failed\"><b>NOT PASSED</b>" };
        let missed = outcome.missed.iter().map(|missed| format!("<br>{}", escaped(missed))).collect::<String>();
        format!("{sent}<td>{}<td>{}<td>{}{result}{missed}", outcome.caught, outcome.missed.len(), outcome.absent)
    };
    table(list, head, row).unwrap_or_else(|| "<p>No known bad pieces were sent.</p>".to_owned())
}

fn drift(list: &Listing<Drifted>, shift: &Shift, pictures: &Pictures) -> String {
    let row = |drifted: &Drifted| {
        let told = format!("<td>{}<td>{}", when(&drifted.happened, shift), escaped(&drifted.happened.what));
        if drifted.parts.is_empty() {
            return told;
        }
        let shown = |part: &u64| {
            let is_it = |shown: &&Shown| shown.bad.run == drifted.run && shown.bad.entry.part == Some(*part);
            named_part(*part, drifted, pictures.named.iter().find(is_it), shift)
        };
        let parts = drifted.parts.iter().map(shown).collect::<String>();
        format!("{told}<div class=\"gallery\">{parts}</div>")
    };
    let none = || "<p>No change in accepted parts was found, and no test for it began.</p>".to_owned();
    table(list, "", row).unwrap_or_else(none)
}

/// A part that a change is shown by.
fn named_part(part: u64, drifted: &Drifted, shown: Option<&Shown>, shift: &Shift) -> String {
    // As hgad audit show names it.
    let name = drifted.run.as_ref().map_or_else(|| format!("part {part}"), |run| format!("{run}/{part}"));
    let (picture, captured) = match shown {
        Some(shown) => (framed(shown, "accepted"), local(&shown.bad.entry.time, shift)),
        None => ("<p class=\"missing\">its record is not in these files</p>".to_owned(), String::new()),
    };
    format!("<figure>{picture}<figcaption><b>{captured}</b> {}</figcaption></figure>", escaped(&name))
}

fn speed(facts: &Facts) -> String {
    let spread = |values: &[f32]| {
        let (count, mut values) = (values.len(), values.to_vec());
        let mut at = |q| quantile(&mut values, q).map_or_else(|| "-".to_owned(), |value| format!("{value:.2} ms"));
        format!("<td>{count}<td>{}<td>{}<td>{}", at(0.5), at(0.99), at(1.0))
    };
    let slack = facts.least_slack.map_or_else(|| "-".to_owned(), |slack| format!("{slack:.1} ms"));
    format!(
        "<table><tr><th><th>parts<th>half<th>99%<th>all</tr><tr><td>verdict after the capture, within{}</tr>\
         <tr><td>ejector after its planned moment, within{}</tr></table>\
         <p class=\"note\">The least reserve between a verdict and the ejector was {slack}.</p>",
        spread(&facts.latency),
        spread(&facts.lateness)
    )
}

fn provenance(facts: &Facts, origin: &Origin) -> String {
    let mut html = format!("<p>Made by hgad {} from {}. ", env!("CARGO_PKG_VERSION"), escaped(&origin.log));
    html.push_str(&match &origin.checked {
        Some(checked) => escaped(&checked.told),
        None => "The log was not checked for this page; hgad audit verify does that.".into(),
    });
    html.push_str("</p>");
    for warning in origin.checked.iter().flat_map(|checked| &checked.warnings) {
        let _ = write!(html, "<p class=\"warned\">{}.</p>", escaped(warning));
    }
    for (by, parts) in &facts.models {
        let _ = write!(html, "<p class=\"note\">{} {}.</p>", were(*parts, "part"), escaped(by));
    }
    if facts.pieces > 0 {
        let _ = write!(
            html,
            "<p class=\"note\">Challenges had {}, not among the parts of this page.</p>",
            counted(facts.pieces, "known bad piece")
        );
    }
    html
}

fn zone_name(shift: &Shift) -> String {
    shift.zone.iana_name().unwrap_or("local time").to_owned()
}

fn day_and_time(at: Timestamp, shift: &Shift) -> String {
    let zoned = at.to_zoned(shift.zone.clone());
    format!("{} {}", zoned.date(), &time_of_day(at, shift)[..5])
}

/// `06:00:00`.
fn time_of_day(at: Timestamp, shift: &Shift) -> String {
    let time = at.to_zoned(shift.zone.clone()).time();
    format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

fn local(time: &str, shift: &Shift) -> String {
    time.parse::<Timestamp>().map_or_else(|_| escaped(time), |at| time_of_day(at, shift))
}

/// With its day.
fn local_day(time: &str, shift: &Shift) -> String {
    time.parse::<Timestamp>().map_or_else(|_| escaped(time), |at| day_and_time(at, shift))
}
