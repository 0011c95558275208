//! `hgad audit query`.

use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::named::{PartName, Parts};
use crate::audit::{self, Doubtful, Entry, Kind, Query, Range, Unvouched};
use crate::line::Unknown;
use crate::{Error, Result, print};

const EXAMPLES: &str = r"Examples:
  # What was rejected last night?
  hgad audit query audit.jsonl --verdict reject \
    --from 2026-11-23T22:00 --to 2026-11-24T06:00

  # Parts that came close to the threshold, for a table calculation
  hgad audit query audit.jsonl --class cap --score 2.5..2.9 --format csv

  # One part, as it stands in the log
  hgad audit query audit.jsonl --part 20261124T162231.137055Z/12 --format json

  # Which part was this? For pictures that somebody kept elsewhere
  hgad audit query audit.jsonl --picture frame.png

  # Alarms, as they stand in the log
  hgad audit query audit.jsonl --kind alarm --format json";

/// Find records
///
/// What was asked for is printed while the log is read: however long it is, little memory is used. Records of a time are found
/// without reading the rest, and also where the machine's clock was wrong or set back. Each record that is printed is held against its own
/// hash, and those that are read against each other: whether one of that time is missing, or a whole file in the middle (exit code 1 if one
/// does not fit, or is missing). The log is not checked as a whole, that does hgad audit verify.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct QueryArgs {
    /// The audit file; files of the same log that were closed lie beside it
    pub(super) file: PathBuf,
    #[command(flatten)]
    which: Which,
    /// Parts that were judged by this very picture: a file that holds exactly the pixels that were scored, wherever it was kept
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// The kind of record: part where nothing is said, any for all, as with --record (docs/audit.md says what each holds)
    #[arg(long, value_parser = kinds())]
    kind: Option<String>,
    /// What is printed: a table, the records' own lines (json), or comma-separated values
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Print so many records at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

impl QueryArgs {
    fn kind(&self) -> &str {
        // Who gives a record's number wants that one, whatever it is.
        self.kind.as_deref().unwrap_or(if self.which.record.is_some() { ANY } else { Kind::Part.as_str() })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

/// Of all kinds of records.
const ANY: &str = "any";

fn kinds() -> PossibleValuesParser {
    Kind::ALL.map(Kind::as_str).into_iter().chain([ANY]).into()
}

/// Which records are meant.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Which {
    /// From this moment on: 2026-11-24, 2026-11-24T06:00 (by this machine's time zone), 2026-11-24T05:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Up to this moment
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// Parts of this lane
    #[arg(long, value_name = "NAME")]
    lane: Option<String>,
    /// Parts of this class
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Parts with this verdict
    #[arg(long, value_parser = ["pass", "reject", "unknown"])]
    verdict: Option<String>,
    /// Parts without a verdict for this reason: skipped, lost, broken, faulted, late, unlocated, unfollowed, stopped
    #[arg(long)]
    reason: Option<String>,
    /// Parts with this fate
    #[arg(long, value_parser = ["passed", "rejected", "unaccounted"])]
    fate: Option<String>,
    /// Parts with a score in this range, ends included: 2.5..2.9, 2.5.. (2.5 and more), ..1 (1 and less)
    #[arg(long, value_name = "FROM..TO")]
    score: Option<Between<f32>>,
    /// Parts with this number in their run, or from one to another: 17, 100..200; or one part, RUN/PART
    #[arg(long, value_name = "N|RUN/PART")]
    part: Option<Parts>,
    /// The record with this number (the field seq), or those from one to another: 4711, 100..200
    #[arg(long, value_name = "N")]
    record: Option<Between<u64>>,
    /// Records of the run of this name (the field run of its start)
    #[arg(long, value_name = "NAME")]
    run: Option<String>,
}

impl Which {
    /// # Errors
    ///
    /// It asks for a part of one run and for another run.
    pub(super) fn query(self, kind: Option<String>) -> Result<Query> {
        let (parts, run) = match self.part {
            Some(Parts::One(PartName { run, number })) => (Some(number..=number), Some(run)),
            Some(Parts::Numbers(numbers)) => (Some(numbers.0), None),
            None => (None, None),
        };
        if let (Some(asked), Some(of)) = (&self.run, &run)
            && asked != of
        {
            return Err(Error::usage(format!("--part is of the run {of}, and --run {asked} is another"))
                .advise("leave --run out: RUN/PART says it"));
        }
        Ok(Query {
            range: Range { from: self.from.map(|moment| moment.0), to: self.to.map(|moment| moment.0) },
            kind,
            run: self.run.or(run),
            records: self.record.map(|records| records.0),
            parts,
            lane: self.lane,
            class: self.class,
            verdict: self.verdict,
            reason: self.reason,
            fate: self.fate,
            scores: self.score.map(|scores| scores.0),
            pixels: Vec::new(),
            unvouched: Unvouched::default(),
        })
    }
}

/// A moment as people write it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Moment(pub(in crate::cli) Timestamp);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let local = |time: DateTime| TimeZone::system().to_timestamp(time).ok();
        let moment = (text.parse::<Timestamp>().ok())
            .or_else(|| text.parse::<DateTime>().ok().and_then(local))
            .or_else(|| text.parse::<Date>().ok().and_then(|date| local(date.at(0, 0, 0, 0))));
        moment.map(Moment).ok_or_else(|| "write it as 2026-11-24, 2026-11-24T06:00 or 2026-11-24T05:00:00Z".into())
    }
}

/// `FROM..TO`, where either may be left out.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Span {
    from: Option<Moment>,
    to: Option<Moment>,
}

impl Span {
    pub(in crate::cli) fn range(self) -> Range {
        Range { from: self.from.map(|moment| moment.0), to: self.to.map(|moment| moment.0) }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (from, to) = text.split_once("..").ok_or("write it as 2026-11-01.. or 2026-11-01..2026-11-08")?;
        let moment = |text: &str| if text.is_empty() { Ok(None) } else { text.parse().map(Some) };
        Ok(Span { from: moment(from)?, to: moment(to)? })
    }
}

/// `A..B`, where either may be left out, or one value, unless nobody can mean just that.
#[derive(Debug, Clone)]
pub(super) struct Between<T>(pub(super) RangeInclusive<T>);

impl<T: FromStr + Copy + PartialOrd + Bounds> FromStr for Between<T> {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let one = |text: &str, open: T| match text {
            "" => Ok(open),
            text => text.parse::<T>().map_err(|_| format!("'{text}' is not a number")),
        };
        let (from, to) = match text.split_once("..") {
            Some((from, to)) => (one(from, T::LEAST)?, one(to, T::MOST)?),
            None => {
                let only = text.parse::<T>().map_err(|_| format!("'{text}' is not a number"))?;
                T::alone(text)?;
                (only, only)
            }
        };
        (from <= to).then_some(Between(from..=to)).ok_or_else(|| "the second number is the greater one".into())
    }
}

/// What a range without an end goes to.
pub(super) trait Bounds {
    const LEAST: Self;
    const MOST: Self;

    /// Refuses one value where nobody can mean it.
    fn alone(_text: &str) -> std::result::Result<(), String> {
        Ok(())
    }
}

impl Bounds for f32 {
    const LEAST: f32 = f32::NEG_INFINITY;
    const MOST: f32 = f32::INFINITY;

    /// A score has seven digits, of which a table shows four: hardly a part has the one that is written here.
    fn alone(text: &str) -> std::result::Result<(), String> {
        Err(format!("one score alone finds nothing: write {text}.. for {text} and more, ..{text} for {text} and less"))
    }
}

impl Bounds for u64 {
    const LEAST: u64 = 0;
    const MOST: u64 = u64::MAX;
}

pub(super) fn run(args: QueryArgs) -> Result<()> {
    check(&args)?;
    let kind = args.kind().to_owned();
    let kind = (kind != ANY).then_some(kind);
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut printed = |line: &str| {
        out.write_all(line.as_bytes())
            .map_err(|error| Error::device("standard output cannot be written").because(error))
    };
    let head = match args.format {
        Format::Table => TABLE,
        Format::Csv => CSV,
        Format::Json => "",
    };
    let (mut found, most, mut is_more) = (0, args.limit.unwrap_or(u64::MAX), false);
    let mut doubtful = Doubtful::default();
    let mut row = String::new();
    let pixels = args.picture.as_deref().map(audit::pixels_of).transpose()?.unwrap_or_default();
    let query = Query { pixels, ..args.which.query(kind)? };
    let mut missing = Doubtful::default();
    let looked_through = query.each_or_missing(&args.file, &mut missing, |line, entry, run| {
        if found == most {
            is_more = true;
            return Ok(false);
        }
        found += 1;
        doubtful.look(line, entry);
        row.clear();
        // Not before: a log that cannot be read has no table.
        if found == 1 {
            row.push_str(head);
        }
        match args.format {
            // Whoever may write the log may put a line of its own, or what colours a terminal, into any text of it.
            Format::Table => row.push_str(&print::name(table_row(line, entry))),
            Format::Csv => csv_row(&mut row, line, entry, run),
            Format::Json => row.push_str(&String::from_utf8_lossy(line)),
        }
        row.push('\n');
        printed(&row)?;
        Ok(true)
    })?;
    if found == 0 {
        printed(head)?;
    }
    out.flush().map_err(|error| Error::device("standard output cannot be written").because(error))?;
    let here = match audit::absent(&args.file)? {
        0 => String::new(),
        absent => format!("; {} before that are in files that are not here", print::counted(absent, "record")),
    };
    match found {
        0 if looked_through == 0 => {
            query.check_run(&args.file).and_then(|()| tell_of_nothing(&query, &args.file, 0, &here))?;
        }
        0 => tell_of_nothing(&query, &args.file, looked_through, &here)?,
        found if is_more => {
            log::info!(
                "the first {} printed: there are more, and --limit stopped here{here}; {UNCHECKED}",
                print::counted(found, "record")
            );
        }
        found => log::info!("{} found{here}; {UNCHECKED}", print::counted(found, "record")),
    }
    doubtful.join(missing);
    believed(&doubtful)
}

const UNCHECKED: &str = "the log was not checked as a whole: that does hgad audit verify";

/// Refuses what was printed and is not as it was written, and where something is missing that may have been asked for.
fn believed(printed: &Doubtful) -> Result<()> {
    printed.told().map_or(Ok(()), |told| Err(Error::check(told).advise(printed.advice())))
}

/// Says what was looked through in vain, so that nobody takes a slip for an answer. What is printed stays a table without rows.
fn tell_of_nothing(query: &Query, file: &Path, looked_through: u64, here: &str) -> Result<()> {
    let log = match audit::span(file)? {
        Some((first, last)) => format!("the log goes from {first} to {last}"),
        None => "the log has no record".to_owned(),
    };
    let asked = query.range.from.is_some() || query.range.to.is_some() || query.run.is_some();
    let of = if asked { " of that time and run" } else { "" };
    log::warn!("no record found: {}{of} looked through; {log}{here}", print::counted(looked_through, "record"));
    query.unknown_names(file)?.iter().for_each(|told| log::warn!("{told}"));
    Ok(())
}

/// Refuses what can find nothing whatever is in the log.
fn check(args: &QueryArgs) -> Result<()> {
    let which = &args.which;
    if let (Some(from), Some(to)) = (which.from, which.to)
        && from.0 > to.0
    {
        return Err(Error::usage("--from is after --to").advise("give the earlier moment as --from"));
    }
    let kind = args.kind();
    let is_of_parts = [Kind::Part.as_str(), ANY].contains(&kind);
    if let Some(reason) =
        which.reason.as_ref().filter(|reason| is_of_parts && !Unknown::WORDS.contains(&reason.as_str()))
    {
        return Err(Error::usage(format!("no part is without a verdict for the reason '{reason}'"))
            .advise(format!("one of: {}", Unknown::WORDS.join(", "))));
    }
    // Some other kinds have fields of these names too.
    let has = |kinds: &[Kind]| kinds.iter().any(|other| other.as_str() == kind);
    let of_parts = [
        ("--lane", which.lane.is_some() && !has(&[Kind::ChallengeBegun, Kind::Challenge, Kind::Drift])),
        ("--class", which.class.is_some() && !has(&[Kind::Drift, Kind::DriftBegun])),
        ("--verdict", which.verdict.is_some()),
        ("--reason", which.reason.is_some() && !has(&[Kind::Stop, Kind::Changed])),
        ("--fate", which.fate.is_some()),
        ("--score", which.score.is_some()),
        ("--picture", args.picture.is_some()),
    ];
    let asked = of_parts.into_iter().find(|(_, is_given)| *is_given);
    match asked.filter(|_| !is_of_parts) {
        Some((option, _)) => Err(Error::usage(format!("{option} asks about parts, and --kind {kind} is none"))
            .advise(format!("leave {option} out, or --kind"))),
        None => Ok(()),
    }
}

const TABLE: &str =
    "record     time                         part       class         verdict     score  threshold  fate         why\n";

/// What every record has, which the table has columns for.
const COMMON: [&str; 8] = ["seq", "prev", "kind", "time", "monotonic_ns", "synchronised", "part", "hash"];
/// So many characters of a value are shown in a row.
const SHOWN: usize = 100;
/// So many digits of a digest.
const DIGITS: usize = 8;

/// A row of the table ends behind so many.
const ROW: usize = 200;

/// What a record that is no part holds, in words where there are some, in its own ones else; of each of these `most` characters.
pub(super) fn told(line: &[u8], entry: &Entry, most: usize) -> String {
    let in_words = entry.challenge_told().or_else(|| entry.acknowledgement_told()).or_else(|| entry.room_told());
    let in_words = in_words.or_else(|| entry.why.clone().filter(|_| entry.kind() == Some(Kind::Drift)));
    in_words.unwrap_or_else(|| {
        let fields = serde_json::from_slice::<serde_json::Map<_, _>>(line).unwrap_or_default();
        // What a change has none of, before or now, is said too.
        let is_told = |name: &str, value: &Value| !value.is_null() || ["from", "to"].contains(&name);
        let fields = fields.iter().filter(|(name, value)| !COMMON.contains(&name.as_str()) && is_told(name, value));
        let told = fields.map(|(name, value)| format!("{name} {}", shortened(&readable(value), most)));
        told.collect::<Vec<_>>().join(", ")
    })
}

/// A value as people read it: without quotes and braces, and of a digest its first digits.
fn readable(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            format!("{}...", &text[..DIGITS])
        }
        Value::String(text) => text.trim().replace('\n', " | "),
        // A list of one number would read as a count.
        Value::Array(values) if values.iter().all(Value::is_number) => value.to_string(),
        Value::Array(values) => values.iter().map(readable).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name} {}", readable(value))).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn table_row(line: &[u8], entry: &Entry) -> String {
    let mut row = String::new();
    let number = |value: Option<f32>| value.map_or_else(|| "-".to_owned(), |value| print::fitted(value, 3, 9));
    let (text, dash) = (|value: &Option<String>| value.clone().unwrap_or_else(|| "-".into()), "-".to_owned());
    let part = entry.part.map_or(dash, |part| part.to_string());
    // Writing into a text does not fail.
    let _ = write!(row, "{:<9}  {}  ", entry.seq, entry.time);
    if entry.kind() != Some(Kind::Part) {
        let _ = write!(row, "{part:<9}  {}: {}", entry.kind, shortened(&told(line, entry, SHOWN), ROW));
        return row;
    }
    let why = [&entry.reason, &entry.detail, &entry.fate_reason];
    let piece = entry.is_known_bad().then_some("a known bad piece");
    let dry = entry.is_of_dry_run().then_some("a dry run: no output was driven");
    let why = why.iter().filter_map(|why| why.as_deref()).chain(piece).chain(dry).collect::<Vec<_>>().join(", ");
    let _ = write!(
        row,
        "{part:<9}  {:<12}  {:<7}  {:>9}  {:>9}  {:<11}  {why}",
        text(&entry.class),
        text(&entry.verdict),
        number(entry.score),
        number(entry.threshold),
        text(&entry.fate),
    );
    row
}

const CSV: &str = "record,kind,time,run,part,lane,frame,origin,class,verdict,score,threshold,reason,detail,fate,fate_reason,\
                   place_x,place_y,slack_ms,latency_ms,picture,dry_run\n";

fn csv_row(row: &mut String, line: &[u8], entry: &Entry, run: Option<&str>) {
    let changed = matches!(entry.kind(), Some(Kind::Changed | Kind::UnnamedChange)).then(|| told(line, entry, SHOWN));
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let whole = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    let exact = |value: Option<f32>| value.map_or_else(String::new, |value| value.to_string());
    let text = |value: Option<&str>| quoted(value.unwrap_or_default());
    let fields = [
        entry.seq.to_string(),
        quoted(&entry.kind),
        entry.time.clone(),
        text(run),
        whole(entry.part),
        text(entry.lane.as_deref()),
        whole(entry.frame),
        text(entry.origin.as_deref()),
        text(entry.class.as_deref()),
        text(entry.verdict.as_deref()),
        exact(entry.score),
        exact(entry.threshold),
        text(entry.reason.as_deref()),
        text(changed.as_deref().or(entry.detail.as_deref()).or(entry.why.as_deref()).or(entry.text.as_deref())),
        text(entry.fate.as_deref()),
        text(entry.fate_reason.as_deref()),
        number(entry.place.map(|[x, _]| x)),
        number(entry.place.map(|[_, y]| y)),
        number(entry.slack_ms),
        number(entry.latency_ms.map(|latency| latency.total)),
        text(entry.picture.as_ref().and_then(|picture| picture.file.as_deref())),
        text(entry.is_of_dry_run().then_some("true")),
    ];
    row.push_str(&fields.join(","));
}

/// A field of comma-separated values (RFC 4180).
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_moments_are_read_as_people_write_them() {
        let scores = |text: &str| text.parse::<Between<f32>>().map(|between| between.0);
        assert_eq!(scores("2.5..2.9"), Ok(2.5..=2.9));
        assert_eq!(scores("2.5.."), Ok(2.5..=f32::INFINITY));
        assert_eq!(scores("..-1"), Ok(f32::NEG_INFINITY..=-1.0));
        assert!(scores("3..2").is_err() && scores("x").is_err() && scores("").is_err());
        assert!(scores("5").unwrap_err().contains("5.. for 5 and more"));
        assert_eq!("17".parse::<Between<u64>>().map(|between| between.0), Ok(17..=17));
        let moment = |text: &str| text.parse::<Moment>().map(|moment| moment.0.to_string());
        assert_eq!(moment("2026-11-24T05:00:00Z"), Ok("2026-11-24T05:00:00Z".into()));
        assert_eq!(moment("2026-11-24T05:00:00+02:00"), Ok("2026-11-24T03:00:00Z".into()));
        let span = |text: &str| text.parse::<Span>().map(|span| span.range());
        let whole = span("2026-11-24T05:00:00Z..").unwrap();
        assert!(whole.from.is_some() && whole.to.is_none());
        assert!(span("..2026-11-24").unwrap().from.is_none() && span("2026-11-24").is_err() && span("x..").is_err());
        assert!(moment("2026-11-24").is_ok() && moment("2026-11-24T06:00").is_ok() && moment("yesterday").is_err());
    }

    #[test]
    fn a_row_of_a_long_record_stays_readable() {
        let digest = "83a2".repeat(16);
        let text = "word ".repeat(100);
        let line = format!(
            r#"{{"seq":0,"kind":"start","time":"t","monotonic_ns":1,"run":"r","model":"{digest}","calibrations":{{"cap":"{digest}"}},"a":"{text}","b":"{text}"}}"#
        );
        let entry = serde_json::from_str(&line).unwrap();
        let row = table_row(line.as_bytes(), &entry);
        for says in ["start: run r, ", "model 83a283a2...", "calibrations cap 83a283a2...", "a word word"] {
            assert!(row.contains(says), "{says}: {row}");
        }
        assert!(row.len() < 300 && row.ends_with("...") && !row.contains('{'), "{row}");
    }

    #[test]
    fn a_field_with_commas_and_quotes_stays_one() {
        assert_eq!(quoted("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(quoted("plain"), "plain");
    }

    #[test]
    fn of_a_change_both_sides_are_told_also_where_one_is_none() {
        let entry = |line: &[u8]| serde_json::from_slice::<Entry>(line).unwrap();
        let line = br#"{"seq":3,"prev":"","kind":"changed","time":"2026-11-24T06:00:00.000000Z","what":"signing key","from":"a+1","to":null,"hash":""}"#;
        assert_eq!(told(line, &entry(line), SHOWN), "what signing key, from a+1, to none");
        let mut row = String::new();
        csv_row(&mut row, line, &entry(line), Some("r"));
        assert!(row.contains("\"what signing key, from a+1, to none\""), "{row}");
        let start = br#"{"seq":0,"kind":"start","time":"2026-11-24T06:00:00.000000Z","key":null,"run":"r"}"#;
        assert_eq!(told(start, &entry(start), SHOWN), "run r", "of others what is absent is no news");
        let drift = br#"{"seq":4,"kind":"drift","time":"2026-11-24T06:00:00.000000Z","class":"cap","named":[{"part":7,"value":1}],"why":"the score rises; see part 7"}"#;
        assert_eq!(told(drift, &entry(drift), SHOWN), "the score rises; see part 7", "its own words say all of it");
    }
}
