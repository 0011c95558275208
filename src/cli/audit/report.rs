//! `hgad audit report`.

use std::path::PathBuf;
use std::str::FromStr;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::again::pictures_folder;
use super::keys::Keys;
use crate::audit::{self, Checked, Gallery, Origin, Shift, ShiftPage};
use crate::cli::target::{self, Content};
use crate::{Error, Result, print};

const EXAMPLES: &str = r"Examples:
  # Today's early shift
  hgad audit report audit.jsonl --shift 06:00..14:00 --out early.html

  # The night that began on Monday; the log is checked by its key before
  hgad audit report audit.jsonl --shift 22:00..06:00 --date 2026-11-23 \
    --key line-3.key.pub --out night.html";

/// Write what a shift was like as one page (exit code 1 if records of it were changed or are missing, or pictures exchanged)
///
/// Counts, why parts were bad and where on the part, the trend over time, pictures of rejected parts, alarms, challenge tests,
/// drift, changes and faults, and how fast verdicts were. The page is one HTML file that needs nothing else; it can be sent, kept and printed. With --key the log is
/// checked first, and the page says so.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ReportArgs {
    /// The audit file
    pub(super) file: PathBuf,
    /// From when to when, by this machine's time zone; one that ends before it begins goes over midnight
    #[arg(long, value_name = "FROM..TO", default_value = "00:00..00:00")]
    shift: Hours,
    /// The day on which it began; without it, that of the newest shift that has begun
    #[arg(long, value_name = "DAY", value_parser = day)]
    date: Option<Date>,
    /// The pictures' folder ([audit] pictures); without it, pictures beside the audit file
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// Show so many pictures at most
    #[arg(long, value_name = "N", default_value_t = 60)]
    gallery: usize,
    #[command(flatten)]
    keys: Keys,
    /// The HTML file to write; a page of hgad that stands there is replaced, and no other file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn day(text: &str) -> std::result::Result<Date, String> {
    text.parse().map_err(|_| "write it as 2026-11-24".into())
}

/// A shift by the clock on the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hours {
    from: Time,
    to: Time,
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let time = |text: &str| text.parse::<Time>().ok();
        // A day ends at an hour that no clock shows.
        let end = |text: &str| if text == "24:00" { Some(Time::midnight()) } else { time(text) };
        let hours = text.split_once("..").and_then(|(from, to)| Some(Hours { from: time(from)?, to: end(to)? }));
        hours.ok_or_else(|| "write it as 06:00..14:00".into())
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{}", self.from, self.to)
    }
}

impl Hours {
    /// The shift that began on `date`; without one, the newest that has begun at `now`.
    fn shift(self, date: Option<Date>, now: &Zoned) -> Result<Shift> {
        let wrong = |error: jiff::Error| Error::usage("there is no such shift").because(error);
        let zone = now.time_zone().clone();
        let begin = |date: Date| date.to_datetime(self.from).to_zoned(zone.clone()).map_err(wrong);
        let date = match date {
            Some(date) => date,
            None if begin(now.date())? <= *now => now.date(),
            None => now.date().yesterday().map_err(wrong)?,
        };
        let last_day = if self.to > self.from { date } else { date.tomorrow().map_err(wrong)? };
        let end = last_day.to_datetime(self.to).to_zoned(zone.clone()).map_err(wrong)?;
        Ok(Shift { from: begin(date)?.timestamp(), to: end.timestamp(), zone })
    }
}

pub(super) fn run(args: &ReportArgs) -> Result<()> {
    target::file(&args.out, Content::Page)?;
    let now = Timestamp::now().to_zoned(TimeZone::system());
    let shift = args.shift.shift(args.date, &now)?;
    let checked = args.keys.are_given().then(|| check(args)).transpose()?;
    let log = args.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let gallery = Gallery { folder: pictures_folder(args.pictures.as_deref(), &args.file), most: args.gallery };
    let page = audit::report(&args.file, &shift, &Origin { log, checked }, &gallery)?;
    target::write(&args.out, &page.html)?;
    print::line(format_args!("the shift from {} to {} is in {}", shift.from, shift.to, args.out.display()))?;
    if let Some(unseen) = &page.unseen {
        log::warn!("{unseen} (--pictures names it)");
    }
    if page.records == 0 {
        let log = audit::span(&args.file)?.map(|(first, last)| format!("; the log goes from {first} to {last}"));
        log::warn!("no record is of that time{}", log.unwrap_or_default());
    }
    believed(&page)
}

/// Refuses a page that tells, or shows, what is not as it was written.
fn believed(page: &ShiftPage) -> Result<()> {
    let pictures = (page.suspect > 0).then(|| {
        format!(
            "{} not what was written, or gone though no record says so: the page says of which records",
            print::are(page.suspect as u64, "picture")
        )
    });
    match (page.doubtful.told(), pictures) {
        (None, None) => Ok(()),
        (None, Some(pictures)) => Err(Error::check(pictures)),
        (Some(records), pictures) => {
            let told = [Some(records), pictures].into_iter().flatten().collect::<Vec<_>>().join("; ");
            Err(Error::check(told).advise(page.doubtful.advice()))
        }
    }
}

fn check(args: &ReportArgs) -> Result<Checked> {
    let verified = args.keys.check(&args.file)?;
    let signed = verified.signed.map_or_else(String::new, |signed| {
        format!(" Signed by {}: {}.", signed.origin, signed.records(verified.absent))
    });
    let lines = print::counted(verified.lines, "line");
    let told = match verified.unsigned.is_empty() {
        true => format!("The log was checked: it is what was written, {lines}.{signed}"),
        false => format!("The log was checked: it is one chain of {lines}.{signed}"),
    };
    Ok(Checked { told, warnings: verified.warnings, removed: verified.removed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_goes_over_midnight_and_the_newest_is_meant() {
        let zone = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC);
        let now = |text: &str| text.parse::<jiff::civil::DateTime>().unwrap().to_zoned(zone.clone()).unwrap();
        let shift = |hours: &str, date: Option<&str>, at: &str| {
            let date = date.map(|date| date.parse().unwrap());
            let shift = hours.parse::<Hours>().unwrap().shift(date, &now(at)).unwrap();
            [shift.from, shift.to].map(|at| at.to_zoned(zone.clone()).datetime().to_string())
        };
        let early = shift("06:00..14:00", None, "2026-11-24T09:00:00");
        assert_eq!(early, ["2026-11-24T06:00:00", "2026-11-24T14:00:00"]);
        let night = shift("22:00..06:00", None, "2026-11-24T09:00:00");
        assert_eq!(night, ["2026-11-23T22:00:00", "2026-11-24T06:00:00"]);
        let of_day = shift("06:00..14:00", Some("2026-11-20"), "2026-11-24T09:00:00");
        assert_eq!(of_day, ["2026-11-20T06:00:00", "2026-11-20T14:00:00"]);
        let whole = shift("00:00..00:00", None, "2026-11-24T09:00:00");
        assert_eq!(whole, ["2026-11-24T00:00:00", "2026-11-25T00:00:00"]);
        assert_eq!(shift("00:00..24:00", None, "2026-11-24T09:00:00"), whole);
        assert!("06-14".parse::<Hours>().is_err());
    }
}
