//! `hgad audit show`.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::again::{Again, Sources, pictures_folder};
use super::named::{Id, PartName};
use super::query::told;
use crate::audit::{self, Entry, Kind, PictureEntry, Rift, Stored, read_picture};
use crate::cli::target::{self, Content};
use crate::inspect::overlay::{Paint, beside};
use crate::{Error, Result, print};

const EXAMPLES: &str = r"Examples:
  # Record 4711: what happened to the part
  hgad audit show audit.jsonl 4711

  # And its picture beside its anomaly map
  hgad audit show audit.jsonl 4711 --model models/line3 \
    --calibration calibration/cap.toml --out part.png

  # A part by the name of its run and its number in it
  hgad audit show audit.jsonl 20261124T162231.137055Z/12 \
    --model models/line3 \
    --calibration calibration/cap.toml --out part.png";

/// Say what happened to a part and why, and paint what the model saw
///
/// Prints a few sentences. With --out the stored picture is written beside the same under its anomaly map (as hgad score --heatmap
/// does): the part is judged again for that, by the bundle and the calibration that its record names. Of a record that is no part it
/// prints what stands in it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ShowArgs {
    /// The audit file
    pub(super) file: PathBuf,
    /// The part: the number of its record (the field seq), or RUN/PART
    id: Id,
    /// The bundle that judged; it is asked for with --out
    #[arg(long, value_name = "BUNDLE", requires = "out")]
    model: Option<PathBuf>,
    /// A calibration that judged; may be given more than once
    #[arg(long, value_name = "FILE", requires = "out")]
    calibration: Vec<PathBuf>,
    /// The pictures' folder ([audit] pictures); without it, pictures beside the audit file
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// The picture to write, a PNG file; one that `show` of this version wrote is replaced, and no other file
    #[arg(long, value_name = "FILE", value_parser = png)]
    out: Option<PathBuf>,
}

/// A name that ends with .png, as what is written is.
fn png(text: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_png = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png"));
    is_png.then_some(path).ok_or_else(|| "a PNG file is written: name one that ends with .png".into())
}

/// Refuses to write among the pictures that the audit tells of.
fn not_a_stored_picture(out: &Path, pictures: &Path) -> Result<()> {
    match (out.canonicalize(), pictures.canonicalize()) {
        (Ok(out), Ok(pictures)) if out.starts_with(&pictures) => {
            Err(Error::usage(format!("{} is a picture that the audit tells of: it is not overwritten", out.display()))
                .advise("name another file with --out"))
        }
        _ => Ok(()),
    }
}

pub(super) fn run(args: &ShowArgs) -> Result<()> {
    args.out.as_ref().map_or(Ok(()), |out| target::file(out, Content::Picture))?;
    let Search { found, later: picture, doubt, beside, other, output, passed, .. } = find(args)?;
    let Some(entry) = found else {
        args.id.of_run().check_run(&args.file)?;
        return Err(no_such_part(&args.file, &args.id, &passed)?);
    };
    if let Some(doubt) = entry.contradiction().map(Doubt::Changed).or(doubt) {
        return Err(not_as_written(&entry, doubt));
    }
    let is_part = other.is_none();
    let told = match other {
        None => story(&entry, output.as_deref()),
        Some(told) => {
            format!("record {} is no part; it is of the kind {}, of {}: {told}", entry.seq, entry.kind, entry.time)
        }
    };
    print::line(print::name(told))?;
    let fits = if beside.is_empty() { "the ones beside it" } else { "its own hash" };
    print::line(format_args!(
        "This record fits {fits}; the log was not checked as a whole: that does hgad audit verify."
    ))?;
    match &args.out {
        Some(_) if !is_part => {
            return Err(Error::usage(format!("record {} is no part: there is no picture to paint", entry.seq))
                .advise("leave out --out; hgad audit query lists parts with the numbers of their records"));
        }
        Some(out) => paint(args, out, &entry, picture)?,
        None => {}
    }
    if beside.is_empty() { Ok(()) } else { Err(broken_beside(&entry, &beside)) }
}

/// Writes the picture of a part, beside the same under its anomaly map where it was judged.
fn paint(args: &ShowArgs, out: &Path, entry: &Entry, picture: Option<PictureEntry>) -> Result<()> {
    let picture = picture.or_else(|| entry.picture.clone()).ok_or_else(|| {
        Error::device("its picture was not kept, so nothing is written").advise(
            "leave out --out; pictures of rejects are kept, and of passes those that [audit] sample and around ask for",
        )
    })?;
    let folder = pictures_folder(args.pictures.as_deref(), &args.file);
    not_a_stored_picture(out, &folder)?;
    let image = match read_picture(&folder, &picture)? {
        Stored::Whole(image) => image,
        Stored::Gone(why) => {
            return Err(Error::device("there is no picture of it")
                .because(why)
                .advise("records of the kind pictures-removed say which were removed; --pictures names their folder"));
        }
        Stored::Unreadable(why) | Stored::Redecoded { image: None, why } => {
            return print::line(format_args!("there is nothing to show: {why}"));
        }
        Stored::Redecoded { image: Some(image), why } => {
            print::line(&why)?;
            image
        }
        Stored::Changed(why) => {
            return Err(Error::check("its picture is not the one that was judged").because(why));
        }
    };
    if entry.calibration.is_none() {
        target::picture(out, &image)?;
        return print::line(format_args!("it was not judged: the picture alone is in {}", out.display()));
    }
    let (Some(model), false) = (&args.model, args.calibration.is_empty()) else {
        return Err(Error::usage("the map of a part needs what judged it")
            .advise("give --model and --calibration; without --out the words alone are printed"));
    };
    let sources = Sources { model: model.clone(), calibration: args.calibration.clone() };
    let (inspection, _) = Again::open(&sources)?.judge(entry, &image)?;
    let rejected = entry.verdict.as_deref().map(|verdict| verdict != "pass");
    let paint = Paint { full: 2.0 * entry.threshold.unwrap_or(inspection.score / 2.0), rejected };
    target::picture(out, &beside(&image, &inspection.map, paint))?;
    let again = match entry.score == Some(inspection.score) {
        true => "the score comes out the same, bit for bit".to_owned(),
        false => format!("the score comes out as {} on this machine", inspection.score),
    };
    let hatched = inspection.map.iter().any(|value| value.is_nan());
    let ignored = if hatched { "; what is hatched was ignored" } else { "" };
    print::line(format_args!("judged again, {again}; picture and map are in {}{ignored}", out.display()))
}

/// Why nothing of what a record says is told as a fact.
#[derive(Debug)]
enum Doubt {
    /// It was changed.
    Changed(String),
    /// It was changed, or the one was that stands next to it.
    Apart(&'static str),
}

fn not_as_written(entry: &Entry, doubt: Doubt) -> Error {
    let (is, why) = match doubt {
        Doubt::Changed(why) => ("is not", why),
        Doubt::Apart(why) => ("may not be", format!("{why}: one of both was changed together with its hash")),
    };
    Error::check(format!("record {} {is} as it was written", entry.seq)).because(why).advise(
        "believe nothing that it says; hgad audit verify, with --key and --checkpoint, says what happened to the log, and a copy of it tells \
         what stood there",
    )
}

/// What was told is no less true for that, and nobody is to take it for proved.
fn broken_beside(entry: &Entry, beside: &[String]) -> Error {
    Error::check(format!("the log is not as it was written beside record {0}, which is whole by its own hash", entry.seq))
        .because(beside.join("; "))
        .advise("hgad audit verify, with --key and --checkpoint, says what happened to the log, and whether somebody signed this record")
}

/// # Errors
///
/// The log cannot be read.
fn no_such_part(file: &Path, id: &Id, passed: &Passed) -> Result<Error> {
    let missing = audit::may_be_missing(file, id.record())?;
    let file = file.display();
    if let (Id::Record(seq), Some(before), Some(behind)) = (id, passed.before, passed.behind) {
        let gone = format!(
            "record {seq} is missing in {file}: it stood between record {before} and record {behind}, which are here"
        );
        let advice = "hgad audit verify, with --key and --checkpoint, says what happened to the log; a copy of it tells what stood there";
        return Ok(match missing {
            Some(missing) => {
                Error::check(gone).because(missing).advise(format!("put back what is missing, and ask again; {advice}"))
            }
            None => Error::check(gone).advise(advice),
        });
    }
    let what = match (id, passed) {
        (Id::Part(PartName { run, number }), Passed { parts: Some(parts), .. }) => {
            format!(
                "the run {} has no part {number} in {file}: its parts are {} to {}",
                print::name(run),
                parts.start(),
                parts.end()
            )
        }
        (Id::Part(PartName { run, number }), _) => {
            format!("the run {} has no part {number} in {file}, and no other", print::name(run))
        }
        (Id::Record(seq), Passed { records: Some(records), .. }) => {
            let (first, last) = (records.start(), records.end());
            format!("{file} has no record {seq}: the first that is here is {first}, and the last {last}")
        }
        (Id::Record(seq), _) => format!("{file} has no record {seq}, and no other"),
    };
    let advice = format!(
        "hgad audit query {file} lists parts with the numbers of their records, and with --kind any all records"
    );
    Ok(match missing {
        Some(missing) => {
            Error::usage(what).because(missing).advise(format!("put back what is missing, and ask again; {advice}"))
        }
        None => Error::usage(what).advise(advice),
    })
}

/// What was passed on the way to a part: it is told where there is none.
#[derive(Debug, Default)]
struct Passed {
    /// The records that were read.
    records: Option<RangeInclusive<u64>>,
    /// The least and the greatest number of a part.
    parts: Option<RangeInclusive<u64>>,
    /// The nearest records before the one that is asked for, and behind it.
    before: Option<u64>,
    behind: Option<u64>,
}

impl Passed {
    fn note(&mut self, id: &Id, entry: &Entry) {
        match id.record() {
            Some(seq) if entry.seq < seq => self.before = self.before.max(Some(entry.seq)),
            Some(_) => self.behind = Some(self.behind.map_or(entry.seq, |behind| behind.min(entry.seq))),
            None => {}
        }
        let widened = |range: Option<RangeInclusive<u64>>, number: u64| match range {
            Some(range) => number.min(*range.start())..=number.max(*range.end()),
            None => number..=number,
        };
        self.records = Some(widened(self.records.take(), entry.seq));
        if let Some(part) = entry.part.filter(|_| entry.kind() == Some(Kind::Part)) {
            self.parts = Some(widened(self.parts.take(), part));
        }
    }
}

/// Looks for a part's record, line by line.
#[derive(Debug, Default)]
struct Search {
    /// The line before; empty before the first.
    before: Vec<u8>,
    found: Option<Entry>,
    /// Of a record that is no part, what it says.
    other: Option<String>,
    /// What ejects in the run that was read last, in words.
    output: Option<String>,
    /// Why the record is not as it was written, or may not be, as far as it and its neighbours tell that.
    doubt: Option<Doubt>,
    /// What is wrong with the log before the record and behind it, though that is whole.
    beside: Vec<String>,
    /// Whether the next line is the one behind it.
    is_next: bool,
    /// What a record of its own says of the part's picture.
    later: Option<PictureEntry>,
    passed: Passed,
}

impl Search {
    /// Takes the next line, and says whether to go on.
    fn look(&mut self, id: &Id, line: &[u8], entry: &Entry) -> bool {
        if self.found.is_none() && entry.names_run() {
            entry.keep_output(&mut self.output);
        }
        match &self.found {
            None if is_it(id, entry) => {
                self.other = (entry.kind() != Some(Kind::Part)).then(|| told(line, entry, usize::MAX));
                self.doubt = audit::fits(line).err().map(Doubt::Changed);
                self.hold(line, "before", "it does not continue the record before it");
                (self.found, self.is_next) = (Some(entry.clone()), true);
                line.clone_into(&mut self.before);
                return true;
            }
            None => {
                self.passed.note(id, entry);
                line.clone_into(&mut self.before);
                return true;
            }
            Some(part) if entry.kind() == Some(Kind::Picture) && entry.part == part.part => {
                self.later.clone_from(&entry.picture);
            }
            Some(_) => {}
        }
        if std::mem::take(&mut self.is_next) {
            self.hold(line, "behind", "the record behind it does not continue it");
        }
        let is_kept = |part: &Entry| part.picture.as_ref().is_some_and(|picture| picture.file.is_some());
        let is_whole = self.later.is_some() || self.found.as_ref().is_some_and(is_kept);
        // Numbers of parts begin anew with every run.
        !is_whole && self.other.is_none() && entry.kind() != Some(Kind::Start)
    }

    /// Holds `line` against the one before it: one of both is the record that was looked for, and the other stands in this place of it. `apart`
    /// says that the one does not continue the other.
    fn hold(&mut self, line: &[u8], place: &str, apart: &'static str) {
        // What is wrong with the record itself explains the rest.
        if self.before.is_empty() || self.doubt.is_some() {
            return;
        }
        match Rift::between(&self.before, line) {
            None => {}
            Some(Rift::Missing(told)) => self.beside.push(format!("{told} {place} it")),
            Some(Rift::Edited) => self.beside.push(format!("the record {place} it does not fit its own hash")),
            Some(Rift::Apart) => self.doubt = Some(Doubt::Apart(apart)),
        }
    }
}

/// The part's record, and what others say of it.
fn find(args: &ShowArgs) -> Result<Search> {
    let mut search = Search::default();
    args.id.of_run().each(&args.file, |line, entry, _| Ok(search.look(&args.id, line, entry)))?;
    Ok(search)
}

fn is_it(id: &Id, entry: &Entry) -> bool {
    match id {
        Id::Record(seq) => entry.seq == *seq,
        Id::Part(part) => entry.kind() == Some(Kind::Part) && entry.part == Some(part.number),
    }
}

/// What happened to a part, in sentences; `output` is what ejects in its run, in words, where the log tells it.
fn story(entry: &Entry, output: Option<&str>) -> String {
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "?".into());
    let time = entry.time.parse::<Timestamp>().map_or_else(|_| entry.time.clone(), |time| format!("{time:.3}"));
    let lane = entry.lane.as_ref().map_or_else(String::new, |lane| format!(" of lane {lane}"));
    let (part, class) = (entry.part.unwrap_or_default(), word(&entry.class));
    // Who asks for a part by its number alone, and so for another record, is to see it.
    let mut text = format!("record {}: part {part}{lane} ({class}), captured {time}, ", entry.seq);
    text.push_str(&match (entry.verdict.as_deref(), entry.score, entry.threshold) {
        (Some("reject"), Some(score), Some(threshold)) => {
            format!("is bad: its score {score} is above the threshold {threshold}")
        }
        (Some("reject"), ..) => "is bad: its score is not a number".into(),
        (Some("pass"), Some(score), Some(threshold)) => {
            format!("is good: its score {score} is not above the threshold {threshold}")
        }
        _ => {
            let detail = entry.detail.as_ref().map_or_else(String::new, |detail| format!(" ({detail})"));
            format!("has no verdict, so it counts as bad: {}{detail}", word(&entry.reason))
        }
    });
    if let Some([x, y]) = entry.place {
        text.push_str(&format!(
            ". It is least like a normal part at {:.0}% of its width and {:.0}% of its height",
            x * 100.0,
            y * 100.0
        ));
    }
    let why = entry.fate_reason.as_ref().map_or_else(String::new, |why| format!(", since {why}"));
    text.push_str(&format!(". Its fate: {}{why}", word(&entry.fate)));
    if let (Some(fired), Some(planned)) = (entry.fired_ns, entry.planned_ns) {
        let late = (fired as i128 - planned as i128) as f64 / 1e6;
        text.push_str(&match (entry.is_of_dry_run(), entry.is_without(output)) {
            (true, _) => ". It was a dry run: no output was driven, and the part went on with the belt".to_owned(),
            (_, true) => {
                ". No output was configured (kind = \"none\"): nothing was driven, and the part went on with the belt"
                    .to_owned()
            }
            _ => format!("; the output was told to reject it {late:.2} ms behind the planned moment"),
        });
    } else if entry.is_of_dry_run() {
        text.push_str(". It was a dry run: no output was driven");
    }
    text.push('.');
    text
}
