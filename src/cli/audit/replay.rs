//! `hgad audit replay`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::again::{Again, Sources, pictures_folder};
use super::query::Which;
use crate::audit::{Entry, Kind, PictureEntry, PictureFaultEntry, Removed, Stored, read_picture};
use crate::picture::{Fault, Statistics};
use crate::{Error, Result, print};

const EXAMPLES: &str = r"Examples:
  # Every stored picture of last night
  hgad audit replay audit.jsonl --model models/line3 \
    --calibration calibration/cap.toml \
    --from 2026-11-23T22:00 --to 2026-11-24T06:00

  # On a machine of another architecture
  hgad audit replay audit.jsonl --model models/line3 \
    --calibration calibration/cap.toml --tolerance 1e-3";

/// Judge stored pictures again, and compare with what was decided then (exit code 1 on a difference)
///
/// The bundle and the calibrations must be those that the records name; parts of others are refused, and counted. On the same
/// architecture and with the same program scores must come out the same bit for bit.
///
/// What is printed counts, for each class: same, parts with the same verdict and the same score, bit for bit; within, those whose score
/// differs by no more than --tolerance; differ, those whose score differs by more, or whose verdict is another; changed, pictures that are
/// not what was written, or not there though no record says that they were removed; redecoded, pictures that are what was written, and
/// that this program's decoder reads otherwise (nothing is compared); faulty, pictures that were refused before they were judged (too dark, too
/// bright, out of focus), whose numbers and whose fault come out the same again; unjudged, pictures of parts that were never judged and
/// whose records tell no numbers to compute again; gone, pictures that were removed, are somewhere else, or never could
/// be read; refused, parts that another model or calibration judged. The largest difference is that of the scores that were compared.
/// The exit code is 1 where differ or changed is not 0.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ReplayArgs {
    /// The audit file
    pub(super) file: PathBuf,
    #[command(flatten)]
    sources: Sources,
    /// The pictures' folder ([audit] pictures); without it, pictures beside the audit file
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// By how much a score may differ, for a machine of another architecture
    #[arg(long, value_name = "BOUND", default_value_t = 0.0, value_parser = bound)]
    tolerance: f32,
    #[command(flatten)]
    which: Which,
}

/// Machines of other architectures, and other versions, score a picture alike but for much less than this, as a share of the score.
const ROUNDING: f32 = 0.01;

fn bound(text: &str) -> std::result::Result<f32, String> {
    text.parse::<f32>().ok().filter(|bound| *bound >= 0.0 && bound.is_finite()).ok_or_else(|| "give 0 or more".into())
}

/// What came out for the parts of one class.
#[derive(Debug, Default)]
struct Row {
    same: u64,
    within: u64,
    differ: u64,
    /// Of those that differ: by more than a rounding, or their records contradict themselves.
    unlike: u64,
    largest: f32,
    changed: u64,
    redecoded: u64,
    /// Refused before they were judged, then and now, by the same numbers.
    faulty: u64,
    unjudged: u64,
    gone: u64,
    refused: u64,
}

/// What can be computed again of a part with a stored picture.
enum Decided {
    /// Its score.
    Judged,
    /// That its picture was refused before it was judged, by what was written down of the picture.
    Refused(PictureFaultEntry),
    /// Nothing: it has no verdict for another reason, or an older program wrote too little of it.
    Otherwise,
}

impl Decided {
    fn of(part: &Entry) -> Self {
        match &part.picture_fault {
            _ if part.is_picture_judged() => Decided::Judged,
            Some(fault) if fault.calibration.is_some() => Decided::Refused(fault.clone()),
            _ => Decided::Otherwise,
        }
    }
}

pub(super) fn run(args: ReplayArgs) -> Result<()> {
    let mut again = Again::open(&args.sources)?;
    let folder = pictures_folder(args.pictures.as_deref(), &args.file);
    let mut rows = BTreeMap::<String, Row>::new();
    let query = args.which.query(Some(Kind::Part.as_str().into()))?;
    query.check_run(&args.file)?;
    let removed = Removed::of(&args.file, &folder, &query)?;
    let mut refusal = None;
    let mut judged = |entry: &Entry, picture: &PictureEntry| -> Result<()> {
        let row = rows.entry(entry.class.clone().unwrap_or_default()).or_default();
        let decided = Decided::of(entry);
        if let Decided::Otherwise = decided {
            log::debug!("record {}: its picture was not judged", entry.seq);
            row.unjudged += 1;
            return Ok(());
        }
        if let Err(error) = again.is_of(entry) {
            row.refused += 1;
            refusal.get_or_insert(error);
            return Ok(());
        }
        let image = match read_picture(&folder, picture)? {
            Stored::Whole(image) => image,
            Stored::Gone(why) if !removed.explains(entry) => {
                row.changed += 1;
                return print::line(format_args!(
                    "record {}: {why}, and no record says that it was removed",
                    entry.seq
                ));
            }
            Stored::Gone(why) | Stored::Unreadable(why) => {
                log::debug!("record {}: {why}", entry.seq);
                row.gone += 1;
                return Ok(());
            }
            Stored::Redecoded { why, .. } => {
                log::debug!("record {}: {why}", entry.seq);
                row.redecoded += 1;
                return Ok(());
            }
            Stored::Changed(why) => {
                row.changed += 1;
                return print::line(format_args!("record {}: {why}", entry.seq));
            }
        };
        if let Decided::Refused(then) = decided {
            let (statistics, fault) = again.look(entry, &image)?;
            return compare_fault(row, entry.seq, &then, statistics, fault);
        }
        let (inspection, rejects) = again.judge(entry, &image)?;
        compare(row, entry, inspection.score, rejects, args.tolerance)
    };
    query.each_part(&args.file, |part, _| match &part.picture {
        // What was never kept cannot be gone.
        Some(picture) if picture.file.is_some() => judged(part, picture),
        _ => Ok(()),
    })?;
    table(&rows)?;
    conclude(&rows, refusal, args.tolerance)
}

/// Holds against the record what a picture that was refused is like now. The numbers are sums of whole numbers, so they are the same on
/// every machine.
fn compare_fault(
    row: &mut Row,
    seq: u64,
    then: &PictureFaultEntry,
    statistics: Statistics,
    fault: Option<Fault>,
) -> Result<()> {
    // The picture alone does not tell that the one before was the same; that it has no other fault it does.
    let is_frozen = then.fault == Fault::Frozen.as_str();
    let expected = (!is_frozen).then_some(then.fault.as_str());
    if statistics == then.statistics() && fault.map(|fault| fault.as_str()) == expected {
        *if is_frozen { &mut row.unjudged } else { &mut row.faulty } += 1;
        return Ok(());
    }
    (row.differ, row.unlike) = (row.differ + 1, row.unlike + 1);
    let now = fault.map_or_else(|| "no fault".to_owned(), |fault| fault.to_string());
    print::line(format_args!(
        "record {seq}: refused as {} then ({}), {now} now ({})",
        then.fault,
        numbers(&then.statistics()),
        numbers(&statistics)
    ))
}

fn numbers(Statistics { brightness, saturated, sharpness, red, blue }: &Statistics) -> String {
    format!("brightness {brightness}, saturated {saturated}, sharpness {sharpness}, red {red}, blue {blue}")
}

fn compare(row: &mut Row, entry: &Entry, score: f32, rejects: bool, tolerance: f32) -> Result<()> {
    let recorded = entry.picture_score().unwrap_or(f32::NAN);
    let difference = (score - recorded).abs();
    let verdict = match entry.verdict.as_deref() {
        // Several frames decided: that this one scores the same is what can be said.
        _ if entry.frames.is_some() => true,
        Some("pass") => !rejects,
        Some("reject") => rejects,
        // Too late to count then.
        _ => true,
    };
    row.largest = match (score.is_nan(), recorded.is_nan()) {
        (true, true) => row.largest,
        (false, false) => row.largest.max(difference),
        _ => f32::NAN,
    };
    match verdict {
        true if score.to_bits() == recorded.to_bits() || score.is_nan() && recorded.is_nan() => row.same += 1,
        true if difference <= tolerance => row.within += 1,
        _ => {
            row.differ += 1;
            let contradiction = entry.contradiction().filter(|_| entry.frames.is_none());
            let is_rounding = difference <= ROUNDING * recorded.abs().max(1.0);
            row.unlike += u64::from(contradiction.is_some() || !is_rounding);
            if let Some(why) = contradiction {
                print::line(format_args!("record {} is not as it was written: {why}", entry.seq))?;
            }
            let verdict = if rejects { "reject" } else { "pass" };
            let then = entry.verdict.as_deref().unwrap_or("-");
            return print::line(format_args!(
                "record {}: score {recorded} ({then}) then, {score} ({verdict}) now",
                entry.seq
            ));
        }
    }
    Ok(())
}

fn table(rows: &BTreeMap<String, Row>) -> Result<()> {
    let width = rows.keys().map(|class| class.chars().count()).max().unwrap_or(0).max(5);
    let head = ["same", "within", "differ", "changed", "redecoded", "faulty", "unjudged", "gone", "refused"];
    let head = head.map(|word| format!("{word:>10}")).join("");
    print::line(format_args!("{:width$}{head}  largest difference", "class"))?;
    for (class, row) in rows {
        let Row { same, within, differ, changed, redecoded, faulty, unjudged, gone, refused, .. } = *row;
        let counts = [same, within, differ, changed, redecoded, faulty, unjudged, gone, refused];
        let counts = counts.map(|count| format!("{count:>10}")).join("");
        print::line(format_args!("{class:width$}{counts}  {:.3e}", row.largest))?;
    }
    Ok(())
}

fn conclude(rows: &BTreeMap<String, Row>, refusal: Option<Error>, tolerance: f32) -> Result<()> {
    let sum = |count: fn(&Row) -> u64| rows.values().map(count).sum::<u64>();
    let unlike = sum(|row| row.unlike);
    let (differ, changed) = (sum(|row| row.differ), sum(|row| row.changed));
    let judged = sum(|row| row.same + row.within + row.faulty);
    if differ + changed > 0 {
        return Err(Error::check(format!(
            "{} came out different, {} changed or missing",
            print::counted(differ, "part"),
            print::counted(changed, "picture")
        ))
        .advise(match tolerance == 0.0 && changed + unlike == 0 {
            true => "on a machine of another architecture, or with another version of hgad, give a --tolerance",
            false if unlike > 0 => {
                "a score that differs by more than a hundredth, or a record that contradicts itself, is no rounding of another machine: hgad \
                 audit verify says whether the log is as it was written; keep log and pictures as evidence"
            }
            false => "hgad audit verify says whether the log is whole; keep both as evidence",
        }));
    }
    let (gone, refused, redecoded) = (sum(|row| row.gone), sum(|row| row.refused), sum(|row| row.redecoded));
    let unjudged = sum(|row| row.unjudged);
    if judged > 0 && gone + refused + unjudged > 0 {
        let untold = [
            (gone, "whose picture is gone"),
            (refused, "that another model or calibration judged"),
            (unjudged, "not judged then, of which the record tells no more than why"),
        ];
        let untold = untold.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}"));
        let untold = untold.collect::<Vec<_>>().join(" and of ");
        log::warn!("{} judged again, and nothing can be said of {untold}", print::were(judged, "part"));
    }
    let otherwise = format!(
        "this program's decoder reads {} otherwise than the one that judged then, though what is there is what was recorded",
        print::counted(redecoded, "picture")
    );
    if judged > 0 && redecoded > 0 {
        log::warn!("{otherwise}: nothing is compared");
    }
    match (judged, refusal) {
        (0, Some(error)) => Err(error),
        (0, None) if redecoded > 0 => Err(Error::usage("no stored picture can be compared")
            .because(otherwise)
            .advise("replay them with the program that judged them, which the log's start names (program_sha256)")),
        (0, None) if unjudged > 0 => Err(Error::usage("no stored picture was judged")
            .because(format!(
                "{} kept without a verdict, of which the record tells why",
                print::were(unjudged, "picture")
            ))
            .advise("hgad audit query --verdict unknown lists the records; other options say which parts")),
        (0, None) => Err(Error::usage("there is no picture to judge again")
            .advise("[audit] pictures keeps them; --pictures names their folder, and other options say which parts")),
        _ => Ok(()),
    }
}
