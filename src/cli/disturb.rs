//! `hgad disturb`.

use std::path::PathBuf;

use super::calibrations;
use crate::bundle::Bundle;
use crate::disturb::{Disturbance, Faults, IN_A_ROW, Noticed, false_alarms, faults, notice, unseen_alarms};
use crate::{Error, Result, dataset, print};

/// Show what a line would notice of a dim lamp, a lost focus, a moved camera, a smeared lens
///
/// Takes pictures of good parts that are not the calibration's (DATA/NAME/test/good). First it counts how many of them
/// count as a fault of the camera: as they are, with half and twice the light, and blurred. Then it shows the line parts
/// whose pictures are disturbed more and more, and counts how many it takes to an alarm of drift, to the first fault of the camera, and
/// until five in a row had not passed ([limits] in_a_row = 5). Then it shows the undisturbed ones, each once in many random orders, to the
/// test for drift as the line begins it, with the calibration itself. Last, it draws parts, and as many as the calibration has, from these
/// pictures alone, over and over, and counts false alarms.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  hgad disturb --model models/line3 --calibration calibration \\\n    --data DATA --classes cap"
)]
pub struct DisturbArgs {
    /// The bundle: a folder that hgad-train wrote
    #[arg(long, value_name = "BUNDLE")]
    model: PathBuf,
    /// A calibration, or a folder of such; may be given more than once. Of a folder, NAME.toml is that of a product, or else the only one
    /// that is of it
    #[arg(long, value_name = "PATH", required = true)]
    calibration: Vec<PathBuf>,
    /// A folder with one folder per class in the MVTec AD layout
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The classes; all that the model knows otherwise
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    classes: Option<Vec<String>>,
    /// Undisturbed parts before the disturbed ones
    #[arg(long, value_name = "N", default_value_t = 200)]
    before: usize,
    /// Disturbed parts, at most
    #[arg(long, value_name = "N", default_value_t = 300)]
    most: usize,
    /// Undisturbed parts in which false alarms are counted
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    parts: usize,
    /// How often that is done
    #[arg(long, value_name = "N", default_value_t = 1)]
    runs: u64,
    /// Random orders in which each undisturbed picture is shown once
    #[arg(long, value_name = "N", default_value_t = 100)]
    orders: u64,
    /// Where chance starts
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub fn run(args: &DisturbArgs) -> Result<()> {
    let bundle = Bundle::open(&args.model)?;
    let classes = args.classes.clone().unwrap_or_else(|| bundle.manifest.classes.clone());
    for product in dataset::products(&args.data, Some(&classes))? {
        let (path, calibration) = calibrations::of_class(&product.name, &args.calibration, &bundle)?;
        if calibration.picture.is_none() {
            return Err(Error::usage(format!("{} does not tell what pictures are to be like", path.display()))
                .advise("it is of an older format: calibrate again"));
        }
        let good = product.test()?.into_iter().filter(|test| !test.is_defective()).map(|test| test.image);
        let good = good.collect::<Vec<_>>();
        print::line(format_args!("{} ({})", product.name, print::counted(good.len() as u64, "picture")))?;
        if let Some(found) = faults(&bundle, &calibration, &good)? {
            print_faults(found)?;
        }
        for disturbance in Disturbance::ALL {
            print_noticed(notice(&bundle, &calibration, &good, disturbance, args.before, args.most, args.seed)?)?;
        }
        let found = unseen_alarms(&bundle, &calibration, &good, args.orders, args.seed)?;
        print::line(format_args!(
            "  drift in {found} of {} of the undisturbed pictures, each shown once after the calibration's",
            print::counted(args.orders, "random order")
        ))?;
        let alarms = false_alarms(&bundle, &calibration, &good, args.parts, args.runs)?;
        let shown = args.parts as u64 * args.runs;
        print::line(format_args!(
            "  {} in {shown} undisturbed parts, drawn from these pictures as the test's beginning is",
            print::counted(alarms as u64, "false alarm")
        ))?;
    }
    Ok(())
}

fn print_faults(found: Faults) -> Result<()> {
    let Faults { of, normal, half_light, twice_light, blurred, look } = found;
    print::line(format_args!(
        "  faults of the camera: {normal} of {of} as they are, {half_light} with half the light, {twice_light} with twice, \
         {blurred} blurred ({:.3} ms for a look)",
        look.as_secs_f64() * 1e3
    ))
}

fn print_noticed(noticed: Noticed) -> Result<()> {
    let alarm = match noticed.alarm {
        Some((after, quantity)) => format!("alarm after {after:>3} parts, by the {quantity}"),
        None => "no alarm".to_owned(),
    };
    let at = |part: Option<usize>| part.map_or_else(|| "none".to_owned(), |number| format!("part {number}"));
    print::line(format_args!(
        "  {:26}  {alarm:44}  rejected before {:>3}  first fault of the camera: {:8}  {IN_A_ROW} in a row not passed: {}",
        noticed.disturbance.name(),
        noticed.rejected,
        at(noticed.fault),
        at(noticed.in_a_row)
    ))
}
