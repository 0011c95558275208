//! `hgad calibrate`.

mod apart;
mod diff;
mod live;
mod recorded;
mod told;
mod trial;
mod what_if;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::audit::{Keys, Span, can_be_read_again};
use super::target::{self, Content};
use crate::approval::Approval;
use crate::audit::Vouched;
use crate::bundle::Bundle;
use crate::calibrate::defects::{self, Costs};
use crate::calibrate::from_audit::FromAudit;
use crate::calibrate::report::Report;
use crate::calibrate::{Aim, Calibrated, Calibration, FEWEST_PARTS, Grouping, Request, calibrate};
use crate::dataset::{self, HoldOut};
use crate::digest::Digest;
use crate::inspect::Mask;
use crate::{Error, Result, print};
use recorded::{Recorded, Wanted};

const EXAMPLES: &str = r"Examples:
  # From the images that training with --hold-out 5 left out
  hgad calibrate --model models/line3 --class cap \
    --images DATA/cap/train/good --hold-out 5 --out calibration/cap.toml

  # From pictures that the line itself has taken of good parts
  hgad calibrate --model models/line3 --class cap --images good-parts \
    --target-frr 0.01 --out calibration/cap.toml

  # From the line's own camera, while good parts pass
  hgad calibrate --model models/line3 --class cap --live 300 \
    --config line3.toml --images good-parts --out calibration/cap.toml

  # From parts that the line kept pictures of by chance ([audit] sample)
  hgad calibrate --model models/line3 --class cap --audit audit.jsonl \
    --from-audit 2026-11-01.. --images good-parts --out calibration/cap.toml

  # Look first at what does not belong, then leave it out for a reason, and
  # say of what merely is unusual that it stays
  hgad calibrate --model models/line3 --class cap --images good-parts \
    --review --out calibration/cap.toml
  hgad calibrate --model models/line3 --class cap --images good-parts \
    --drop 017.png=oil --keep 041.png --bad bad-parts --costs 50,1,0.01 \
    --out calibration/cap.toml

  # Look at the part alone: white in the mask, black beside it
  hgad calibrate --model models/line3 --class cap --images good-parts \
    --mask cap-mask.png --out calibration/cap.toml

  # What changed, what it would have done last week, and what thresholds
  # are worth on your own parts
  hgad calibrate diff before.toml calibration/cap.toml
  hgad calibrate what-if calibration/cap.toml --audit audit.jsonl \
    --model models/line3 --out what-if.html
  hgad calibrate trial --model models/line3 --class cap --images good-parts";

/// Set a class's threshold from images of normal parts
///
/// Scores the images, fits the score's constants to them, and takes as threshold the smallest score that keeps the
/// expected false-reject rate at what was asked for. Where images stand clearly apart from the rest, a person says first what they show
/// (--drop, --keep). Use normal parts that training did not see: of the training
/// folder, those that `hgad-train train --hold-out N` left out.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = EXAMPLES,
    allow_negative_numbers = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct CalibrateArgs {
    #[command(subcommand)]
    command: Option<CalibrateCommand>,
    #[command(flatten)]
    set: Option<SetArgs>,
}

#[derive(Debug, Subcommand)]
enum CalibrateCommand {
    Diff(diff::DiffArgs),
    Trial(trial::TrialArgs),
    WhatIf(what_if::WhatIfArgs),
}

#[derive(Debug, clap::Args)]
struct SetArgs {
    /// The bundle: a folder that hgad-train wrote
    #[arg(long, value_name = "BUNDLE")]
    model: PathBuf,
    /// The product
    #[arg(long, value_name = "NAME")]
    class: String,
    /// A folder of images of normal parts
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// First take so many pictures into that folder, which must be new, with the camera of --config; let good parts pass
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), requires = "config", conflicts_with = "hold_out")]
    live: Option<u64>,
    /// The line's configuration
    #[arg(long, value_name = "FILE", requires = "live")]
    config: Option<PathBuf>,
    /// The lane whose parts are taken: with --live its region of each picture, with --from-audit those that are on record as its
    #[arg(long, value_name = "NAME")]
    lane: Option<String>,
    /// Use only every N-th image of the sorted folder: those that training with the same value left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    hold_out: Option<u64>,
    /// Share of normal parts that may be rejected: 0.01 for one in a hundred
    #[arg(long, value_name = "RATE", default_value_t = 0.01, value_parser = rate)]
    target_frr: f64,
    /// Keep that rate with this probability, whichever normal parts the images happen to show; without it the rate is kept
    /// on average. Refused when there are too few parts, and before any picture is taken
    #[arg(long, value_name = "PROBABILITY", value_parser = rate)]
    confidence: Option<f64>,
    /// Count images as one part when this regular expression finds the same in their names, such as 'part-(\d+)': pictures
    /// of one part, or of one minute, are no independent evidence
    #[arg(long, value_name = "PATTERN")]
    group: Option<String>,
    /// A picture of the images' shape, white where they are looked at, black where they are ignored (a clamp, a chain), nothing
    /// between; it becomes part of the calibration
    #[arg(long, value_name = "PNG")]
    mask: Option<PathBuf>,
    /// Write the report alone, for a look at what does not belong among normal parts
    #[arg(long)]
    review: bool,
    /// Leave an image out, by its file's name; name and reason are on record in the calibration
    #[arg(long, value_name = "FILE=REASON", value_parser = dropped)]
    drop: Vec<(String, String)>,
    /// Say of an image that stands apart from the rest that it shows a good part, by its file's name. Of one that is neither kept nor
    /// left out, the report alone is written (exit code 2)
    #[arg(long, value_name = "FILE")]
    keep: Vec<String>,
    /// Take images though they are less like the normal parts that the model knows than those of another day are: a person has looked, and
    /// no defective part is among them, but the camera or the light is another. Without it the report alone is written (exit code 2)
    #[arg(long)]
    unlike: bool,
    /// A folder of images of known defective parts: how many of them are found is told, and moves nothing. What clearly shows another
    /// product is left out of that, and named
    #[arg(long, value_name = "DIR")]
    bad: Option<PathBuf>,
    /// What a missed defect and a false reject cost, and the share of defective parts: the cheapest threshold is told
    #[arg(long, value_name = "MISS,FALSE-REJECT,DEFECT-RATE", value_parser = costs, requires = "bad")]
    costs: Option<Costs>,
    /// Set the cheapest threshold instead of the one that normal parts give: no rate of false rejects is promised then, so none
    /// can be asked for beside it
    #[arg(long, requires = "costs", conflicts_with_all = ["target_frr", "confidence"])]
    set_cheapest: bool,
    /// The line's audit: the report tells what the calibration would have done to its parts of the last 7 days (hgad calibrate
    /// what-if tells of other times)
    #[arg(long, value_name = "LOG")]
    audit: Option<PathBuf>,
    /// The audit's pictures; without it, pictures beside the audit file
    #[arg(long, value_name = "DIR", requires = "audit")]
    pictures: Option<PathBuf>,
    /// First copy pictures of good parts out of the audit into the folder --images, which must be new: of the parts of this time
    /// (2026-11-01.., or ..2026-11-08) those that [audit] sample chose by chance. Passed parts alone are censored: each lies below
    /// the threshold of then, and a threshold set on them would reject more and more. So rejected parts belong to the sample too,
    /// and a person says which of them were good (--judged)
    #[arg(long, value_name = "FROM..TO", requires = "audit", conflicts_with_all = ["live", "hold_out"])]
    from_audit: Option<Span>,
    /// With --audit: the public key that signs it
    #[arg(long, value_name = "FILE", requires = "audit")]
    key: Option<PathBuf>,
    /// With --audit: a public key that signed it before that one did; may be given more than once
    #[arg(long, value_name = "FILE", requires = "key")]
    former_key: Vec<PathBuf>,
    /// With --from-audit: what a person says of the sample's rejected parts; made, with a line for each, where it is missing.
    /// Without it, the file beside --out that ends in .judged.txt
    #[arg(long, value_name = "FILE", requires = "from_audit")]
    judged: Option<PathBuf>,
    /// Set a threshold though there are too few parts for the rate that is asked for: the highest score, and the rate is not kept (a
    /// --confidence is a promise, and refused still). On fewer than ten, that is to try how things work, and not to inspect by
    #[arg(long)]
    few_parts: bool,
    /// Where to write the calibration; the report, an HTML page, is written beside it. A calibration of another product that stands
    /// there is not overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A share as a number; whether there can be such a rate says [`Aim::check`].
fn rate(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "write a share as a number: 0.01 for 1%".into())
}

fn dropped(text: &str) -> Result<(String, String), String> {
    match text.split_once('=').map(|(file, reason)| (file.trim(), reason.trim())) {
        Some((file, reason)) if !file.is_empty() && !reason.is_empty() => Ok((file.to_owned(), reason.to_owned())),
        _ => Err("write it as in: --drop 017.png=\"oil on the lens\"".into()),
    }
}

fn costs(text: &str) -> Result<Costs, String> {
    let numbers = text.split(',').map(str::parse).collect::<Result<Vec<f64>, _>>();
    match numbers.as_deref() {
        Ok([miss, false_reject, defect_rate])
            // What costs nothing, or never happens, has no threshold that is the cheapest.
            if [miss, false_reject].iter().all(|cost| **cost > 0.0 && cost.is_finite())
                && *defect_rate > 0.0
                && *defect_rate < 1.0 =>
        {
            Ok(Costs { miss: *miss, false_reject: *false_reject, defect_rate: *defect_rate })
        }
        _ => {
            Err("three numbers above 0 are wanted, the last of them below 1, such as 50,1,0.01: a miss costs 50, a false reject 1, 1% is defective"
                .into())
        }
    }
}

pub fn run(args: CalibrateArgs) -> Result<()> {
    match (args.command, args.set) {
        (Some(CalibrateCommand::Diff(args)), _) => diff::run(&args),
        (Some(CalibrateCommand::Trial(args)), _) => trial::run(&args),
        (Some(CalibrateCommand::WhatIf(args)), _) => what_if::run(&args),
        (None, Some(args)) => set(args),
        // clap asks for the arguments where there is no subcommand.
        (None, None) => Err(Error::usage("nothing to calibrate").advise("hgad calibrate --help")),
    }
}

fn set(args: SetArgs) -> Result<()> {
    args.audit.as_deref().map_or(Ok(()), can_be_read_again)?;
    let bundle = Bundle::open(&args.model)?;
    // Before pictures are taken for nothing, and before what stands there is held against a product that there is not.
    bundle.manifest.class_index(&args.class)?;
    let targets = Targets::of(&args)?;
    let given = Given::of(&args)?;
    let aim = Aim { frr: args.target_frr, confidence: args.confidence };
    aim.check()?;
    // What costs set keeps no rate.
    let enough = Enough { rate: (!args.set_cheapest).then_some(aim), is_strict: !args.review && !args.few_parts };
    let recorded = recorded(&args)?;
    let (images, from) = images(&args, &given, recorded.as_ref(), &enough)?;
    let mut calibrated = calibrated(&args, &given, &bundle, &images, aim)?;
    calibrated.calibration.audit = from;
    let calibration = &calibrated.calibration;
    enough.check(calibration.parts()).map_err(|error| error.because(worst(calibration)))?;
    publish(&args, &bundle, &calibrated, recorded.as_ref(), &targets)
}

/// What is given beside the images: read before any of these is taken, or judged by a person, for nothing.
struct Given {
    grouping: Option<Grouping>,
    mask: Option<Mask>,
    defective: Vec<PathBuf>,
}

impl Given {
    fn of(args: &SetArgs) -> Result<Self> {
        Ok(Given {
            grouping: args.group.as_deref().map(Grouping::new).transpose()?,
            mask: args.mask.as_deref().map(Mask::open).transpose()?,
            defective: args.bad.as_deref().map_or(Ok(Vec::new()), dataset::images)?,
        })
    }
}

/// Where pages go: beside the calibration.
struct Targets {
    page: PathBuf,
    /// The page of a look at images that sets nothing.
    review: PathBuf,
}

impl Targets {
    /// Makes sure that nothing is written over what must not be lost.
    fn of(args: &SetArgs) -> Result<Self> {
        let targets = Targets { page: args.out.with_extension("html"), review: args.out.with_extension("review.html") };
        if targets.page == args.out {
            return Err(Error::usage(format!(
                "{} is where the report goes, and no calibration",
                targets.page.display()
            ))
            .advise(format!(
                "name a calibration, such as --out {}: the report is written beside it",
                args.out.with_extension("toml").display()
            )));
        }
        target::replaced_file(&args.out, Content::Calibration)?;
        target::replaced_file(&targets.review, Content::Page)?;
        if !args.review {
            target::replaced_file(&targets.page, Content::Page)?;
            not_of_another_product(&args.out, &args.class)?;
        }
        Ok(targets)
    }
}

/// The line's audit and how far its check vouches for it, where one is named: whoever may write a log could make a reject a pass.
fn recorded(args: &SetArgs) -> Result<Option<(Recorded, Vouched)>> {
    let keys = Keys { key: args.key.clone(), former_key: args.former_key.clone() };
    let recorded = Recorded::new(args.audit.clone(), args.pictures.clone());
    let Some(recorded) = recorded else { return Ok(None) };
    let vouched = keys.vouched(recorded.log())?;
    Ok(Some((recorded, vouched)))
}

/// The images that set the threshold, and where in an audit they come from, if they do. Whether they are enough is asked before pictures are
/// taken or looked at, too: there are at most so many parts.
fn images(
    args: &SetArgs,
    given: &Given,
    recorded: Option<&(Recorded, Vouched)>,
    enough: &Enough,
) -> Result<(Vec<PathBuf>, Option<FromAudit>)> {
    let lane = args.lane.as_deref();
    let (images, from) = match (args.live, &args.config, recorded, args.from_audit) {
        (Some(count), Some(config), ..) => {
            enough.check(count as usize)?;
            given.grouping.as_ref().map_or(Ok(()), |grouping| live::can_be_grouped(grouping, count))?;
            (live::take(config, lane, &args.class, count, &args.images)?, None)
        }
        (_, _, Some((recorded, vouched)), Some(span)) => {
            let judged = args.judged.clone().unwrap_or_else(|| args.out.with_extension("judged.txt"));
            let wanted = Wanted { class: &args.class, lane, span };
            let taken = recorded.take(&wanted, vouched, &judged, &args.images, &|parts| enough.check(parts))?;
            (taken.0, Some(taken.1))
        }
        _ if lane.is_some() => {
            return Err(Error::usage("--lane says whose parts are taken, and none are")
                .advise("give it with --live N --config FILE, or with --audit LOG --from-audit FROM..TO"));
        }
        _ => {
            let selection = args.hold_out.map_or(HoldOut::All, |n| HoldOut::Held(n as usize));
            (selection.select(dataset::images(&args.images)?), None)
        }
    };
    if images.is_empty() {
        return Err(Error::usage(format!("{} has too few images to hold any out", args.images.display())));
    }
    enough.check(images.len())?;
    Ok((images, from))
}

fn calibrated(args: &SetArgs, given: &Given, bundle: &Bundle, images: &[PathBuf], aim: Aim) -> Result<Calibrated> {
    let request = Request {
        mask: given.mask.as_ref(),
        grouping: given.grouping.as_ref(),
        drop: &args.drop,
        defective: &given.defective,
        costs: args.costs.filter(|_| args.set_cheapest),
        ..Request::new(&args.class, images, aim)
    };
    calibrate(bundle, &request)
}

/// Writes the page, and the calibration unless the page alone is asked for, or a person is to look at it first.
fn publish(
    args: &SetArgs,
    bundle: &Bundle,
    calibrated: &Calibrated,
    recorded: Option<&(Recorded, Vouched)>,
    targets: &Targets,
) -> Result<()> {
    let calibration = &calibrated.calibration;
    let previous = previous(&args.out, calibration);
    let apart = calibrated.apart.as_ref();
    let unnamed = apart::unnamed(calibrated, &args.keep)?;
    let unlike = calibration.unlike_training().filter(|_| !args.unlike);
    let is_review = args.review || !unnamed.is_empty() || unlike.is_some();
    let page = if is_review { &targets.review } else { &targets.page };
    let portraits = calibrated.portraits(PORTRAITS.max(apart.map_or(0, |apart| apart.files.len())))?;
    let lane = args.lane.as_deref();
    let what_if = recorded
        .map(|(recorded, vouched)| recorded.what_if(bundle, calibration, previous.as_ref(), lane, vouched))
        .transpose()?
        .flatten();
    let report = Report {
        calibration,
        review: is_review,
        portraits: &portraits,
        previous: previous.as_ref().map(|(previous, _)| previous),
        defective: &calibrated.defective,
        parts: &calibrated.parts,
        costs: args.costs,
        what_if: what_if.as_ref(),
    };
    // What is to be looked at comes first.
    target::write(page, report.html())?;
    match apart.filter(|_| !unnamed.is_empty()) {
        Some(apart) if args.review => apart::warn(apart, &unnamed),
        Some(apart) => return Err(apart::refused(apart, &unnamed, unlike.as_deref(), page, &again(args))),
        None => {}
    }
    match unlike {
        Some(unlike) if args.review => log::warn!("{unlike}. {}", apart::UNLIKE),
        Some(unlike) => return Err(apart::refused_as_unlike(unlike, page, &again(args))),
        None => {}
    }
    if !args.review {
        calibration.write(&args.out)?;
        warn_of_approval(&args.out);
    }
    told::tell(calibrated)?;
    if let Some(told) = calibration.unkept_rate() {
        print::line(format_args!("not kept    {told}"))?;
    }
    told::tell_of_costs(calibrated, args.costs)?;
    what_if.as_ref().map_or(Ok(()), recorded::tell)?;
    print::line(format_args!("report      {}", page.display()))?;
    match args.review {
        true => print::line(format_args!(
            "nothing else was written: look at the report; {} without --review, and with --drop FILE=REASON for what does not belong",
            again(args)
        )),
        false => print::line(format_args!("written to  {}", args.out.display())),
    }
}

/// How the command is given again, on the same pictures, in words.
fn again(args: &SetArgs) -> String {
    let images = args.images.display();
    match (args.live, args.from_audit) {
        (Some(_), _) => {
            format!("give the command again without --live, --config and --lane (the pictures stay in {images})")
        }
        // Without the audit the calibration would not say where its parts come from.
        (_, Some(_)) => format!("remove {images} and give the command again"),
        _ => "give the command again".to_owned(),
    }
}

/// Refuses to write over the calibration of another product: nothing could make it again but its images.
fn not_of_another_product(path: &Path, class: &str) -> Result<()> {
    let Some(standing) = Calibration::class_in(path).filter(|standing| standing != class) else { return Ok(()) };
    let what =
        format!("{} is the calibration of '{standing}': it is not overwritten with one of '{class}'", path.display());
    Err(Error::usage(what).advise("name another file to write, or move that one away"))
}

/// An approval is of the bytes that stood there before.
fn warn_of_approval(path: &Path) {
    if let Some(standing) = Approval::standing(path) {
        let path = path.display();
        log::warn!(
            "{path}.sig is of the calibration that stood there before ({standing}): a line with approved_by does not start with the new one \
             until somebody signs it: hgad sign {path} --key KEY --by NAME --reason TEXT"
        );
    }
}

/// What a line that inspects by it may come to.
fn worst(calibration: &Calibration) -> String {
    // Of a threshold that costs set no rate is told: what its parts say of it is as much.
    let (rejected, of) = calibration.rejected_of_own();
    let (_, worst) = calibration.realised_frr.unwrap_or_else(|| defects::clopper_pearson(rejected, of));
    format!("nobody could say that the line would not reject {:.0}% of its good parts", 100.0 * worst)
}

/// How many parts are enough: for a rate, where one is to be kept, or to set any threshold. Unless `is_strict` that is not asked for, but no
/// flag makes so few keep a confidence.
struct Enough {
    rate: Option<Aim>,
    is_strict: bool,
}

impl Enough {
    /// Refuses so many parts where they are too few.
    fn check(&self, parts: usize) -> Result<()> {
        let is_promised = |aim: &Aim| aim.confidence.is_some() || self.is_strict && parts >= FEWEST_PARTS;
        if let Some(aim) = self.rate.filter(|aim| is_promised(aim) && parts < aim.parts_needed()) {
            return Err(aim.too_few(parts));
        }
        match self.is_strict && parts < FEWEST_PARTS {
            false => Ok(()),
            true => Err(Error::usage(format!("{} too few to set a threshold", print::are(parts as u64, "normal part")))
                .advise(format!(
                    "give {FEWEST_PARTS} parts at least, better a hundred; to try how things work, and not to inspect by it: --few-parts"
                ))),
        }
    }
}

/// So many of the most unusual images are in the report.
const PORTRAITS: usize = 10;

/// The calibration that stands where this one goes, if it is one of the same product, with its file's digest.
fn previous(path: &Path, calibration: &Calibration) -> Option<(Calibration, Digest)> {
    let previous = path.is_file().then(|| Calibration::open(path)).and_then(Result::ok)?;
    (previous.0.class == calibration.class).then_some(previous)
}
