//! What a shift was like: gathered from the log in one pass, written as one page that needs nothing else.

mod gallery;
mod listing;
mod named;
mod page;
mod thresholds;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

pub use self::gallery::Gallery;
use self::listing::{Challenges, Drifted, Happened, Listing};
use self::thresholds::{Changed, Thresholds};
use super::chain::{self, Rift};
use super::doubtful::Doubtful;
use super::kind::Kind;
use super::query::Query;
use super::read::{self, Entry, Range};
use super::removed::Removed;
use super::signatures::Trust;
use super::verify;
use crate::approval::Approval;
use crate::{Result, print};

/// Sections of time that the trend is shown in.
const BINS: usize = 48;
/// Bad parts that are remembered, at least, where there are more.
const REMEMBERED: u64 = 1024;

/// A shift that is to be told of.
#[derive(Debug, Clone)]
pub struct Shift {
    /// Its first moment.
    pub from: Timestamp,
    /// The moment after its last.
    pub to: Timestamp,
    /// The time zone of the clock on the wall.
    pub zone: TimeZone,
}

impl Shift {
    /// Whether a record of that time is of it.
    fn holds(&self, time: &str) -> bool {
        read::text(self.from).as_str() <= time && time < read::text(self.to).as_str()
    }
}

/// The page of a shift.
#[derive(Debug, Clone)]
pub struct ShiftPage {
    /// HTML that needs nothing else.
    pub html: String,
    /// Records of that time.
    pub records: u64,
    /// How many of the pictures that it was to show are not those that the records tell of, or are gone and nobody removed them.
    pub suspect: usize,
    /// Which of those records, and of the earlier ones that the page tells of, are not as they were written.
    pub doubtful: Doubtful,
    /// What is to be said of pictures of which none could be looked at.
    pub unseen: Option<String>,
}

/// What is known of the log that the page was made from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The log, as a person names it.
    pub log: String,
    /// What a check of it said; `None`: it was not checked.
    pub checked: Option<Checked>,
}

/// What a check of a log said.
#[derive(Debug, Clone)]
pub struct Checked {
    /// That it is whole, and how far it is signed.
    pub told: String,
    /// What it cannot rule out.
    pub warnings: Vec<String>,
    /// That the line itself removed the log's first records, as one of them tells; `None` where none does, or all are here.
    pub removed: Option<String>,
}

/// Parts in one section of time.
#[derive(Debug, Clone, Default)]
struct Bin {
    good: u64,
    bad: u64,
    unknown: u64,
    /// Scores as shares of their thresholds.
    ratios: Vec<f32>,
}

#[derive(Debug, Clone, Default)]
struct ClassCount {
    good: u64,
    bad: u64,
    unknown: u64,
    unaccounted: u64,
}

/// A rejected part, or one without a verdict, whose picture may be shown.
#[derive(Debug, Clone)]
struct Bad {
    entry: Entry,
    run: Option<String>,
}

/// Gathered facts.
#[derive(Debug, Clone, Default)]
struct Facts {
    lines: BTreeMap<String, u64>,
    parts: u64,
    /// Those of them that are of dry runs: nothing was ejected.
    dry: u64,
    /// Those that are of lanes without an output, and of no dry run: nothing was ejected either.
    without_output: u64,
    /// What ejects in the run that is going on, in words.
    output: Option<String>,
    /// Known bad pieces of challenges, which count as no parts.
    pieces: u64,
    classes: BTreeMap<String, ClassCount>,
    fates: BTreeMap<String, u64>,
    /// Why parts were bad, and how many.
    reasons: BTreeMap<String, u64>,
    /// In which ninth of the picture, row by row, rejected parts were least like normal ones.
    regions: [u64; 9],
    missed: BTreeMap<String, u64>,
    bins: Vec<Bin>,
    /// The time that they are of, where it is not the whole shift.
    window: Option<Shift>,
    latency: Vec<f32>,
    lateness: Vec<f32>,
    least_slack: Option<f64>,
    /// Those that stood when the shift began, and those that were raised in it, by name.
    alarms: Listing<Happened>,
    /// Names of alarms that are raised.
    raised: BTreeSet<String>,
    challenges: Challenges,
    /// What changed in parts that were accepted, and where the tests for it began anew.
    drift: Listing<Drifted>,
    /// Another program, configuration, model, calibration or key.
    changes: Listing<Changed>,
    /// Who let into production what decides in the run that is going on.
    approvals: Vec<Approval>,
    thresholds: Thresholds,
    /// All others, by kind and device.
    events: Listing<Happened>,
    /// Some of the parts that did not pass, evenly taken.
    bad: Vec<Bad>,
    /// So many there were.
    all_bad: u64,
    models: BTreeMap<String, u64>,
    /// What is to be said of files of the log that are not here, or not read.
    left_out: Vec<String>,
    /// Records that the page was made from, and that are not as they were written.
    doubtful: Doubtful,
}

/// Writes the page of `shift` from the log in `path`; `gallery` says which pictures it shows.
///
/// # Errors
///
/// The log cannot be read.
pub fn report(path: &Path, shift: &Shift, origin: &Origin, gallery: &Gallery) -> Result<ShiftPage> {
    let window = window(shift, read::span(path)?);
    let left_out = left_out(path, shift, origin.checked.as_ref())?;
    let mut facts = Facts { bins: vec![Bin::default(); BINS], window, left_out, ..Facts::default() };
    let range = Range { from: Some(shift.from), to: Some(shift.to) };
    let query = Query { range, ..Query::default() };
    let before = before(path, shift)?;
    before.drift.listed().for_each(|drifted| facts.drift.change(drifted.clone()));
    before.alarms.into_iter().for_each(|(name, alarm)| facts.raise(name, alarm));
    (facts.doubtful, facts.output) = (before.doubtful, before.output);
    let mut missing = Doubtful::default();
    let records = query.each_or_missing(path, &mut missing, |line, entry, run| {
        facts.doubtful.look(line, entry);
        facts.add(entry, run.or(before.run.as_deref()), shift);
        Ok(true)
    })?;
    facts.challenges.given_up();
    facts.doubtful.join(missing);
    facts.doubtful.join(facts.thresholds.look_back(path, &facts.changes)?);
    let removed = Removed::of(path, &gallery.folder, &query)?;
    let pictures = gallery.pictures(&facts.bad, &removed)?;
    let named = named::parts(path, &facts.drift)?;
    facts.doubtful.join(named::doubtful(path, shift, &named)?);
    let named = named.iter().map(|part| gallery.show(part, &removed)).collect::<Result<Vec<_>>>()?;
    let suspect = pictures.iter().chain(&named).filter(|shown| shown.is_suspect).count();
    let is_unseen = suspect == 0 && !gallery.folder.is_dir() && !pictures.is_empty();
    let shown = if is_unseen { &[] } else { pictures.as_slice() };
    let unseen = is_unseen
        .then(|| format!("the pictures' folder {} is not there: no picture is shown", gallery.folder.display()));
    let html = page::page(&facts, shift, origin, &page::Pictures { shown, named: &named, unseen: unseen.as_deref() });
    Ok(ShiftPage { html, records, suspect, doubtful: facts.doubtful, unseen })
}

/// What is to be said of files of the log that the page knows nothing of: such between others, and older ones where the shift began before
/// all that is here.
fn left_out(path: &Path, shift: &Shift, checked: Option<&Checked>) -> Result<Vec<String>> {
    let files = read::files(path)?;
    let mut told = read::left_out(path, &files)?;
    if let Some(first) = files.first().filter(|first| first.continued().is_some())
        && let Some(begun) = first.first_time()?.filter(|begun| *begun > read::text(shift.from))
    {
        let name = first.path.file_name().unwrap_or_default().to_string_lossy();
        let why = match checked {
            Some(checked) => checked.removed.clone(),
            // Of a log that is not as it was written nobody is named.
            None => verify::read(path, &Trust::default()).ok().and_then(|reading| reading.removed_by_line()),
        };
        let why = why.unwrap_or_else(|| "what was in them is left out".to_owned());
        told.push(format!("the files before {name}, which begins at {begun}, are not here: {why}"));
    }
    Ok(told)
}

/// What stood whenever the log came to the shift: in the order of the log, since a clock that was set back gives an alarm a later time than
/// what follows it. Alarms are a run's: the log is read back to the start of the run that was going on then, in strides that grow, since
/// nobody knows how far that is.
fn before(path: &Path, shift: &Shift) -> Result<Before> {
    let begun = read::span(path)?.map(|(least, _)| least);
    let last = last_entry(path, shift)?;
    let mut hours = 24;
    loop {
        let from = shift.from.checked_sub(SignedDuration::from_hours(hours)).ok();
        let mut search = Search { is_whole: from.is_none(), ..Search::default() };
        match last {
            Some(last) => read::each_behind(path, from, |line, entry| Ok(search.look(line, entry, shift, last)))?,
            None => read::each(path, &Range { from, to: Some(shift.from) }, |line, entry| {
                search.hold(line, entry, shift);
                search.take(line, entry, shift);
                Ok(true)
            })?,
        }
        if search.is_whole || begun.as_ref().is_none_or(|begun| from.is_none_or(|from| read::text(from) <= *begun)) {
            return Ok(if last.is_some() { search.before } else { search.going_on });
        }
        hours *= 4;
    }
}

/// The number of the last record of the shift that does not follow another one of it: `None` where the shift has none.
fn last_entry(path: &Path, shift: &Shift) -> Result<Option<u64>> {
    let (mut last, mut before) = (None, None::<u64>);
    read::each(path, &Range { from: Some(shift.from), to: Some(shift.to) }, |_, entry| {
        if before.is_none_or(|before| entry.seq > before + 1) {
            last = Some(entry.seq);
        }
        before = Some(entry.seq);
        Ok(true)
    })?;
    Ok(last)
}

/// So far the times of records that follow each other may fall without a clock that was set back: a part's is that of its capture.
const DISORDER: SignedDuration = SignedDuration::from_mins(1);

/// What a run that goes on leaves to those who look later.
#[derive(Debug, Clone, Default)]
struct Before {
    /// The run's name, where that was read.
    run: Option<String>,
    /// What it ejects with, in words, where that was read.
    output: Option<String>,
    /// Alarms that are raised, by name.
    alarms: BTreeMap<String, Happened>,
    /// Changes in accepted parts, which stand as long as the run.
    drift: Listing<Drifted>,
    /// Records that say so, and are not as they were written.
    doubtful: Doubtful,
}

/// Follows runs line by line.
#[derive(Debug, Default)]
struct Search {
    /// At this place of the log.
    going_on: Before,
    /// When the log came to the shift.
    before: Before,
    /// Whether the line before is of the shift.
    is_inside: bool,
    /// Whether a line was.
    is_entered: bool,
    /// Whether a run began or ended before the shift: no alarm is older.
    is_whole: bool,
    /// The line before, where what it says is told.
    quoted: Option<Vec<u8>>,
}

impl Search {
    /// Takes the next line, and says whether to go on; `last` is the last one with which the log comes to the shift.
    fn look(&mut self, line: &[u8], entry: &Entry, shift: &Shift, last: u64) -> bool {
        self.hold(line, entry, shift);
        let is_inside = shift.holds(&entry.time);
        if is_inside && !self.is_inside {
            // One that was raised in the shift is told of as that.
            let is_earlier = |happened: &Happened| !shift.holds(&happened.time) && precedes(happened, entry);
            let alarms = self.going_on.alarms.iter().filter(|(_, alarm)| is_earlier(alarm));
            self.before.alarms.extend(alarms.map(|(name, alarm)| (name.clone(), alarm.clone())));
            let drift = self.going_on.drift.listed().filter(|drifted| is_earlier(&drifted.happened));
            drift.for_each(|drifted| self.before.drift.change(drifted.clone()));
            self.before.doubtful.join(std::mem::take(&mut self.going_on.doubtful));
            if !self.is_entered {
                self.before.run.clone_from(&self.going_on.run);
                self.before.output.clone_from(&self.going_on.output);
            }
            if entry.seq >= last {
                return false;
            }
        }
        (self.is_inside, self.is_entered) = (is_inside, self.is_entered || is_inside);
        self.take(line, entry, shift);
        true
    }

    /// Holds a line that is told of against this one, which comes behind it.
    fn hold(&mut self, line: &[u8], entry: &Entry, shift: &Shift) {
        let Some(quoted) = self.quoted.take() else { return };
        let is_apart = match Rift::between(&quoted, line) {
            // Where it is this one that does not fit its own hash, that is known of it where it is told of itself.
            Some(Rift::Edited) => chain::fits(&quoted).is_ok() && !is_told(entry, shift),
            rift => rift == Some(Rift::Apart),
        };
        if is_apart {
            self.going_on.doubtful.apart(entry.seq.saturating_sub(1), entry.seq);
        }
    }

    fn take(&mut self, line: &[u8], entry: &Entry, shift: &Shift) {
        let Before { run, output, alarms, drift, doubtful: _ } = &mut self.going_on;
        match entry.kind() {
            Some(Kind::Start | Kind::Stop) => {
                self.is_whole |= !self.is_entered;
                self.going_on = Before { run: entry.run.clone(), output: entry.output.clone(), ..Before::default() };
            }
            // Its start may be in a file that was carried away.
            Some(Kind::Continued) => {
                run.clone_from(&entry.run);
                entry.keep_output(output);
            }
            Some(Kind::Alarm) => {
                let name = entry.alarm.clone().unwrap_or_default();
                drift.alarm(entry);
                match entry.raised {
                    Some(true) => drop(alarms.insert(name, Happened::alarm(entry))),
                    _ => drop(alarms.remove(&name)),
                }
            }
            Some(Kind::Drift) => drift.change(Drifted::of(entry, run.as_deref())),
            Some(Kind::Acknowledgement) => {
                for seen in entry.acknowledged() {
                    alarms.get_mut(&seen.alarm).into_iter().for_each(|alarm| alarm.seen(entry, seen));
                }
            }
            _ => return,
        }
        // Those of the shift are looked at where it is told of.
        if !shift.holds(&entry.time) {
            self.going_on.doubtful.look(line, entry);
            self.quoted = Some(line.to_owned());
        }
    }
}

/// Whether the page tells of a record, in the shift or before it.
fn is_told(entry: &Entry, shift: &Shift) -> bool {
    use Kind::{Acknowledgement, Alarm, Continued, Drift, Start, Stop};
    let of_before = [Start, Stop, Continued, Alarm, Drift, Acknowledgement];
    shift.holds(&entry.time) || entry.kind().is_some_and(|kind| of_before.contains(&kind))
}

/// Whether an alarm before `entry` in the log is not of the moments after it, whose records a late part follows.
fn precedes(alarm: &Happened, entry: &Entry) -> bool {
    match (alarm.time.parse::<Timestamp>(), entry.time.parse::<Timestamp>()) {
        (Ok(raised), Ok(time)) => raised <= time || raised.duration_since(time) > DISORDER,
        _ => true,
    }
}

impl Facts {
    fn add(&mut self, entry: &Entry, run: Option<&str>, shift: &Shift) {
        if entry.names_run() {
            entry.keep_output(&mut self.output);
        }
        match entry.kind.as_str() {
            "part" if entry.is_known_bad() => self.pieces += 1,
            "part" => self.part(entry, run, shift),
            "picture" => self.picture(entry, run),
            "alarm" => self.alarm(entry),
            "start" => {
                self.run_over(entry);
                self.approvals = entry.approvals.clone().unwrap_or_default();
                *self.lines.entry(entry.line.clone().unwrap_or_default()).or_default() += 1;
                let program = entry.program.as_deref().unwrap_or("hgad");
                let kind = if entry.is_of_dry_run() { "dry run" } else { "run" };
                self.event(entry, format!("{kind} {} began ({program})", run.unwrap_or("-")));
            }
            "stop" => {
                self.run_over(entry);
                self.event(entry, format!("the run ended: {}", entry.reason.as_deref().unwrap_or("-")));
            }
            "acknowledgement" => self.acknowledged(entry),
            "checkpoint" => {}
            "challenge-begun" => self.challenges.begun(entry),
            "challenge" => self.challenges.ended(entry),
            "drift" => self.drift.change(Drifted::of(entry, run)),
            "drift-begun" => self.drift.add(&entry.kind, Drifted::begun(entry)),
            "changed" | "unnamed-change" => {
                self.changes.add(&entry.kind, Changed::of(entry, &self.approvals));
            }
            kind => {
                let device = entry.device.as_ref().map_or_else(String::new, |device| format!(" of the {device}"));
                let records = entry
                    .records
                    .map_or_else(String::new, |records| format!(" ({})", print::counted(records, "record")));
                let why = entry
                    .room_told()
                    .or_else(|| entry.step_told())
                    .or_else(|| entry.why.clone())
                    .or_else(|| entry.text.clone());
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                self.event(entry, format!("{kind}{device}{records}{why}"));
            }
        }
    }

    /// Something happened; what happens again and again with nothing else in between is told once, with how often and until when.
    fn event(&mut self, entry: &Entry, what: String) {
        let sort = format!("{} {}", entry.kind, entry.device.as_deref().unwrap_or_default());
        let last = self.events.newest().filter(|last| is_alike(&last.what, &what));
        match last {
            Some(last) => (last.times, last.over) = (last.times + 1, Some(entry.time.clone())),
            None => self.events.add(&sort, Happened::now(entry, what)),
        }
    }

    fn alarm(&mut self, entry: &Entry) {
        let name = entry.alarm.clone().unwrap_or_default();
        match entry.raised {
            Some(true) => {
                self.drift.alarm(entry);
                self.raise(name, Happened::alarm(entry));
            }
            _ => self.over(&name, &entry.time),
        }
    }

    fn acknowledged(&mut self, entry: &Entry) {
        for seen in entry.acknowledged().iter().filter(|seen| self.raised.contains(&seen.alarm)) {
            self.alarms.latest(&seen.alarm).into_iter().for_each(|alarm| alarm.seen(entry, seen));
        }
        self.event(entry, format!("acknowledgement: {}", entry.acknowledgement_told().unwrap_or_default()));
    }

    fn raise(&mut self, name: String, happened: Happened) {
        self.alarms.add(&name, happened);
        self.raised.insert(name);
    }

    fn over(&mut self, name: &str, time: &str) {
        if self.raised.remove(name) {
            self.alarms.latest(name).into_iter().for_each(|alarm| alarm.over = Some(time.to_owned()));
        }
    }

    /// A run ended, or another began: its alarms are no more, and no piece of a challenge comes.
    fn run_over(&mut self, entry: &Entry) {
        let names = self.raised.iter().cloned().collect::<Vec<_>>();
        names.iter().for_each(|name| self.over(name, &entry.time));
        self.challenges.given_up();
    }

    /// A picture that was stored after its part's record was written.
    fn picture(&mut self, entry: &Entry, run: Option<&str>) {
        let is_it = |bad: &&mut Bad| bad.entry.part == entry.part && bad.run.as_deref() == run;
        if let Some(bad) = self.bad.iter_mut().rev().find(is_it) {
            bad.entry.picture = entry.picture.clone();
        }
    }

    fn part(&mut self, entry: &Entry, run: Option<&str>, shift: &Shift) {
        self.parts += 1;
        self.thresholds.note(entry);
        let is_without = !entry.is_of_dry_run() && entry.is_without(self.output.as_deref());
        self.dry += u64::from(entry.is_of_dry_run());
        self.without_output += u64::from(is_without);
        let class = entry.class.as_deref().unwrap_or_default();
        let class = entry.lane.as_ref().map_or_else(|| class.to_owned(), |lane| format!("{class}, lane {lane}"));
        let class = self.classes.entry(class).or_default();
        let bin = &mut self.bins[bin_of(entry, self.window.as_ref().unwrap_or(shift))];
        match entry.verdict.as_deref() {
            Some("pass") => (class.good, bin.good) = (class.good + 1, bin.good + 1),
            Some("reject") => {
                (class.bad, bin.bad) = (class.bad + 1, bin.bad + 1);
                let reason = match entry.place {
                    Some(place) => {
                        self.regions[region(place)] += 1;
                        format!("unlike normal parts, {}", REGIONS[region(place)])
                    }
                    None => "unlike normal parts".into(),
                };
                *self.reasons.entry(reason).or_default() += 1;
            }
            _ => {
                (class.unknown, bin.unknown) = (class.unknown + 1, bin.unknown + 1);
                let reason = entry.reason.as_deref().unwrap_or("unknown");
                *self.reasons.entry(format!("no verdict: {reason}")).or_default() += 1;
            }
        }
        if let (Some(score), Some(threshold)) = (entry.score, entry.threshold)
            && threshold != 0.0
        {
            bin.ratios.push(score / threshold);
        }
        let fate = entry.fate.clone().unwrap_or_default();
        if fate == "unaccounted" {
            class.unaccounted += 1;
            let why = entry.fate_reason.as_deref().map_or_else(String::new, without_numbers);
            *self.missed.entry(why).or_default() += 1;
        }
        *self.fates.entry(fate).or_default() += 1;
        self.latency.extend(entry.latency_ms.map(|latency| latency.total as f32));
        if let (Some(fired), Some(planned), false) = (entry.fired_ns, entry.planned_ns, is_without) {
            self.lateness.push(((fired as i128 - planned as i128) as f64 / 1e6) as f32);
        }
        if entry.latency_ms.is_some() {
            self.least_slack = entry.slack_ms.map(|slack| self.least_slack.map_or(slack, |least| least.min(slack)));
        }
        if let Some(bundle) = entry.bundle {
            let by = match entry.deciding_calibration() {
                Some(calibration) if entry.calibration.is_none() => {
                    format!(
                        "refused by their pictures, by calibration {}; bundle {} was in use",
                        calibration.short(),
                        bundle.short()
                    )
                }
                Some(calibration) => {
                    format!("judged by bundle {}, calibration {}", bundle.short(), calibration.short())
                }
                None => format!("not judged; bundle {} was in use", bundle.short()),
            };
            *self.models.entry(by).or_default() += 1;
        }
        if entry.verdict.as_deref() != Some("pass") {
            self.remember(entry, run);
        }
    }
}

impl Facts {
    /// Keeps a bad part, or, once there are many, one of so many.
    fn remember(&mut self, entry: &Entry, run: Option<&str>) {
        let stride = self.all_bad.next_power_of_two().max(REMEMBERED) / REMEMBERED;
        if self.all_bad.is_multiple_of(stride) {
            self.bad.push(Bad { entry: entry.clone(), run: run.map(str::to_owned) });
        }
        if self.bad.len() as u64 > 2 * REMEMBERED {
            let mut number = 0;
            self.bad.retain(|_| {
                number += 1;
                number % 2 == 1
            });
        }
        self.all_bad += 1;
    }
}

/// Whether both say the same, but for numbers that stand alone, such as a count or a size: `1 picture, 29 kB` and `2 pictures, 60 kB`.
fn is_alike(one: &str, other: &str) -> bool {
    let words = |text: &str| {
        let words = without_numbers(text);
        words
            .split(' ')
            .map(|word| word.replace("pictures", "picture").replace("records", "record"))
            .collect::<Vec<_>>()
    };
    words(one) == words(other)
}

/// The same for all parts of which it is said with other numbers: `it was 10.3 ms late` becomes `it was ... ms late`.
fn without_numbers(text: &str) -> String {
    let is_number = |word: &&str| word.parse::<f64>().is_ok();
    text.split(' ').map(|word| if is_number(&word) { "..." } else { word }).collect::<Vec<_>>().join(" ")
}

/// The ninths of a picture, row by row.
const REGIONS: [&str; 9] = [
    "upper left",
    "upper middle",
    "upper right",
    "middle left",
    "in the middle",
    "middle right",
    "lower left",
    "lower middle",
    "lower right",
];

fn region([x, y]: [f64; 2]) -> usize {
    let third = |share: f64| ((share * 3.0) as usize).min(2);
    3 * third(y) + third(x)
}

/// The time of the shift that a log of that span is of, where that is a small part of it: as sections of the whole shift, a run of a few
/// minutes would be one bar.
fn window(shift: &Shift, span: Option<(String, String)>) -> Option<Shift> {
    let (least, greatest) = span?;
    let (first, last) = (least.parse::<Timestamp>().ok()?, greatest.parse::<Timestamp>().ok()?);
    let (from, to) = (shift.from.max(first), shift.to.min(last.checked_add(SignedDuration::from_secs(1)).ok()?));
    let is_short = from < to && to.duration_since(from) * 4 < shift.to.duration_since(shift.from);
    is_short.then(|| Shift { from, to, zone: shift.zone.clone() })
}

fn bin_of(entry: &Entry, shift: &Shift) -> usize {
    let (from, to) = (shift.from.as_microsecond(), shift.to.as_microsecond());
    let at = entry.time.parse::<Timestamp>().map_or(from, |time| time.as_microsecond());
    let share = (at - from) as f64 / (to - from).max(1) as f64;
    ((share * BINS as f64) as usize).min(BINS - 1)
}

/// The value below which the share `q` of `values` lies; they are put in order for that.
fn quantile(values: &mut [f32], q: f64) -> Option<f32> {
    let last = values.len().checked_sub(1)?;
    values.sort_unstable_by(f32::total_cmp);
    Some(values[(last as f64 * q).round() as usize])
}

#[cfg(test)]
mod tests;
