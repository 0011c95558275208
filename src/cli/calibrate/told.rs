//! What a calibration came to, in words.

use crate::calibrate::defects::{self, Costs, Detection};
use crate::calibrate::{Calibrated, Calibration, CalibrationImage, INTERVAL};
use crate::{Result, print};

/// Of a detection rate that lies between bounds so far apart nothing is known that a threshold could go by.
const UNKNOWN_RATE: f64 = 0.5;

pub(super) fn tell_of_costs(calibrated: &Calibrated, costs: Option<Costs>) -> Result<()> {
    let calibration = &calibrated.calibration;
    let curve = defects::roc(&calibrated.parts, &calibrated.defective.scores);
    let Some(best) = costs.and_then(|costs| costs.optimum(&curve, calibration.threshold)) else { return Ok(()) };
    let found = Detection::new(&calibrated.defective.scores, best.threshold);
    let (low, high) = found.rate;
    if high - low > UNKNOWN_RATE {
        log::warn!(
            "the cheapest threshold goes by {} of which it finds {}: what share of defects it finds lies between {:.0}% and {:.0}% (95% \
             confidence), so nobody knows what it costs; give more of them with --bad",
            print::counted(found.images as u64, "defect"),
            found.detected,
            100.0 * low,
            100.0 * high
        );
    }
    print::line(format_args!(
        "cheapest    a threshold of {} costs {} per part, this one {}",
        best.threshold,
        defects::cost(best.cost),
        defects::cost(best.cost_of_set)
    ))
}

/// Says how many good parts a picture's limits reject on top of the rate: they are taken for a fault of the camera.
fn tell_of_pictures(calibration: &Calibration) -> Result<()> {
    let Some(limits) = calibration.picture else { return Ok(()) };
    let odd = |image: &&CalibrationImage| image.picture.is_some_and(|picture| limits.fault(&picture).is_some());
    match calibration.images.iter().filter(odd).count() {
        0 => Ok(()),
        odd => print::line(format_args!(
            "besides     {odd} of {} would be taken for a fault of the camera, and rejected whatever the threshold is",
            print::counted(calibration.images.len() as u64, "image")
        )),
    }
}

/// So many of the most unusual images are shown: what does not belong among normal parts is among them.
const SHOWN: usize = 5;

/// Says how many of the known defects are found, what was left out of that, and what a person should look at.
fn tell_of_defects(calibrated: &Calibrated) -> Result<()> {
    let (calibration, defective) = (&calibrated.calibration, &calibrated.defective);
    let Some(Detection { images, detected, rate: (low, high) }) = calibration.defects else { return Ok(()) };
    print::line(format_args!(
        "defects     {detected} of {images} found; {:.1}% to {:.1}% with {}% confidence, if others are like these",
        100.0 * low,
        100.0 * high,
        100.0 * INTERVAL
    ))?;
    if let Some(told) = defective.others_told(&calibration.class) {
        print::line(format_args!("left out    {told}; the report names them"))?;
    }
    let farthest = defective.farthest(SHOWN);
    let farthest = farthest.iter().map(|(file, score)| format!("{file} {score:.3}")).collect::<Vec<_>>();
    print::line(format_args!(
        "farthest    {} (do all show parts of '{}'? A product that the model does not know counts as a defect)",
        farthest.join(", "),
        calibration.class
    ))
}

pub(super) fn tell(calibrated: &Calibrated) -> Result<()> {
    let calibration = &calibrated.calibration;
    print::line(format_args!("class       {}", calibration.class))?;
    print::line(format_args!("images      {}", calibration.images_told()))?;
    print::line(format_args!("threshold   {}", calibration.threshold))?;
    match calibration.promise() {
        None => {
            let (rejected, of) = calibration.rejected_of_own();
            print::line("set to      what is cheapest on these images; no rate of false rejects is promised")?;
            print::line(format_args!("rejects     {rejected} of {}", print::counted(of as u64, "normal part")))?;
        }
        Some((aim, promised)) => {
            let confidence = aim.confidence.map(|share| format!("with {}% confidence", 100.0 * share));
            let confidence = confidence.as_deref().unwrap_or("on average");
            print::line(format_args!("asked for   at most {:.2}% false rejects {confidence}", 100.0 * aim.frr))?;
            print::line(format_args!("set to      {:.2}% on average", 100.0 * promised))?;
        }
    }
    tell_of_pictures(calibration)?;
    if let Some((low, high)) = calibration.realised_frr {
        print::line(format_args!(
            "the line's  {:.2}% to {:.2}%, with {}% probability, if its parts are like these (docs/calibration.md)",
            100.0 * low,
            100.0 * high,
            100.0 * INTERVAL
        ))?;
    }
    if let Some(mask) = &calibration.reference.mask {
        print::line(format_args!("mask        {:.1}% of the picture is ignored", 100.0 * mask.ignored_share()))?;
    }
    tell_of_defects(calibrated)?;
    let mut images = calibration.images.iter().collect::<Vec<_>>();
    images.sort_by(|a, b| b.score.total_cmp(&a.score));
    let most = images.iter().take(SHOWN).map(|image| format!("{} {:.3}", image.file, image.score)).collect::<Vec<_>>();
    print::line(format_args!("look at     {} (the highest scores: are these parts normal?)", most.join(", ")))
}
