//! The threshold, set on normal parts only.
//!
//! [`calibrate`] scores normal images, each with constants from the others ([`Fitting::Crossed`]), and takes an order statistic
//! of their scores ([`Aim::threshold`]). [`trial`] shows what that is worth.

pub mod comparison;
pub mod defects;
mod file;
mod fitting;
pub mod from_audit;
mod group;
mod normals;
pub mod report;
mod suitable;
mod threshold;
pub mod trial;
pub mod what_if;

use std::collections::BTreeSet;
use std::path::PathBuf;

use image::RgbImage;

pub use file::{Calibration, CalibrationImage, Dropped, FEWEST_PARTS, FORMAT_VERSION, FrameSize, Unproven};
pub use fitting::{FOLDS, Fitting};
pub use group::Grouping;
pub use suitable::Apart;
pub(crate) use threshold::percent;
pub use threshold::{Aim, INTERVAL, Threshold};

use crate::bundle::{Bundle, ScoreReference};
use crate::digest::Digest;
use crate::inspect::overlay::{Paint, beside};
use crate::inspect::{Inspector, Mask, batch};
use crate::picture::Limits;
use crate::{Error, Result, dataset, time};
use defects::{Costs, Defective, Detection, OtherProduct};
use normals::Sample;

/// What a calibration is made from, and what it is to achieve.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The product.
    pub class: &'a str,
    /// Images of normal parts.
    pub images: &'a [PathBuf],
    /// Which images count as one part; without it each is a part.
    pub grouping: Option<&'a Grouping>,
    /// What the threshold is to achieve.
    pub aim: Aim,
    /// Where the pictures are looked at; without it, everywhere.
    pub mask: Option<&'a Mask>,
    /// Images that somebody left out, by their files' names, and why.
    pub drop: &'a [(String, String)],
    /// Images of parts that are known to be defective. They are told of, and move nothing.
    pub defective: &'a [PathBuf],
    /// What wrong decisions cost: then the cheapest threshold is set, no rate is promised, and what `aim` asks for counts for nothing.
    pub costs: Option<Costs>,
}

impl<'a> Request<'a> {
    /// From normal images alone.
    pub fn new(class: &'a str, images: &'a [PathBuf], aim: Aim) -> Self {
        Request { class, images, grouping: None, aim, mask: None, drop: &[], defective: &[], costs: None }
    }
}

/// A calibration, and what a person should see of it.
pub struct Calibrated {
    /// The calibration.
    pub calibration: Calibration,
    /// What the model sees in the known defective parts.
    pub defective: Defective,
    /// The score of each normal part: the highest of its images.
    pub parts: Vec<f32>,
    /// Normal images that stand apart from the rest: whether they show good parts is for a person to say before a line goes by this.
    pub apart: Option<Apart>,
    inspector: Inspector,
    samples: Vec<Sample>,
}

/// One normal image and what the model sees in it.
#[derive(Debug, Clone)]
pub struct Portrait {
    /// The file's name.
    pub file: String,
    /// Its score.
    pub score: f32,
    /// The image, and beside it the same under its anomaly map.
    pub picture: RgbImage,
}

/// Calibrates a class on images of normal parts. Single images that clearly show another class, and a few that the bundle tells it was
/// trained on, are left out and named in a warning: the line rejects the former whatever the threshold is, and the latter would make
/// it too low.
///
/// # Errors
///
/// The bundle does not know the class, an image cannot be read or belongs to no group, the network fails, the bundle tells
/// that it was trained on half of the images, more than one in twenty of them clearly shows another class, there are too few
/// parts for the confidence that is aimed at, all images of known defects clearly show other products, an image that is to be left out is not there, an image has not the mask's shape, or the
/// network's score knows no mask.
pub fn calibrate(bundle: &Bundle, request: &Request) -> Result<Calibrated> {
    let Request { class, images, grouping, aim, .. } = *request;
    aim.check()?;
    let index = bundle.manifest.class_index(class)?;
    request.mask.map_or(Ok(()), |_| suitable::maskable(bundle))?;
    let (kept, dropped) = leave_out(images, request.drop)?;
    let mut samples = normals::examine(bundle, class, &kept, grouping, request.mask)?;
    without_copies(&mut samples, &dropped)?;
    let mask = request.mask.map(|mask| mask.resized(bundle.manifest.input));
    let maps = samples.iter().map(|sample| &sample.maps[..]).collect::<Vec<_>>();
    let parts = normals::parts_of(samples.iter().map(|sample| sample.group.as_ref()));
    let inspector = Inspector::new(bundle)?;
    let elsewhere = ScoreReference { mask, ..bundle.centers.references[index].clone() };
    let fitted = Fitting::Crossed.fit(&inspector, &maps, &parts, &elsewhere);
    suitable::like_normal_parts(class, &fitted.reference)?;
    let of_parts = normals::highest(&fitted.scores, &parts);
    let look = |images: &[PathBuf]| look(bundle, class, images, request.mask, &fitted.reference);
    let dropped = dropped.into_iter().map(|(image, reason)| {
        let Look { digest: sha256, score, resembles } = look(std::slice::from_ref(image))?.remove(0);
        // What clearly shows another product is rejected whatever the threshold is.
        let score = if resembles.is_some() { f32::INFINITY } else { score };
        Ok(Dropped { file: file_name(image), sha256, score, reason: reason.to_owned() })
    });
    let dropped = dropped.collect::<Result<Vec<_>>>()?;
    let defective = match request.defective {
        [] => Defective::default(),
        images => {
            let found = look(images)?;
            none_is_normal(bundle, images, &found, &samples)?;
            of_product(bundle, class, of_different(images, found))?
        }
    };
    let cheapest =
        request.costs.and_then(|costs| costs.optimum(&defects::roc(&of_parts, &defective.scores), f32::INFINITY));
    // What is cheapest on these images promises no rate.
    let (threshold, by_rate) = match cheapest {
        Some(best) => (best.threshold, None),
        None => aim.threshold(&of_parts).map(|set| (set.value, Some(set)))?,
    };
    let is_rejected = |score: &&f32| score.is_nan() || **score > threshold;
    let calibration = Calibration {
        format_version: Calibration::format_of(&fitted.reference, cheapest.is_some()),
        class: class.to_owned(),
        bundle: bundle.digest,
        created: time::stamp(),
        written_by: concat!("hgad ", env!("CARGO_PKG_VERSION")).to_owned(),
        target_frr: by_rate.map(|_| aim.frr),
        confidence: by_rate.and(aim.confidence),
        promised_frr: by_rate.map(|set| set.promised_frr),
        realised_frr: by_rate.map(|set| set.interval),
        threshold,
        folds: fitted.folds,
        // Whatever their sizes: a mask is for pictures of one shape.
        frame: normals::common_size(&samples).or_else(|| request.mask.and_then(|_| FrameSize::new(samples[0].size))),
        costs: cheapest.and(request.costs),
        normal_rejected: cheapest.map(|_| of_parts.iter().filter(is_rejected).count()),
        defects: (!defective.scores.is_empty()).then(|| Detection::new(&defective.scores, threshold)),
        picture: Limits::fit(&samples.iter().map(|sample| sample.picture).collect::<Vec<_>>()),
        audit: None,
        reference: fitted.reference,
        images: samples.iter().zip(&fitted.scores).map(|(sample, (_, score))| sample.entry(*score)).collect(),
        dropped,
    };
    warn_of_odd_pictures(&calibration);
    let scored = calibration.images.iter().map(|image| (image.file.clone(), image.score)).collect::<Vec<_>>();
    let apart = Apart::of(&of_parts, &scored);
    Ok(Calibrated { calibration, defective, parts: of_parts, apart, inspector, samples })
}

/// Names images that the line would take for a fault of its camera.
fn warn_of_odd_pictures(calibration: &Calibration) {
    let fault = |image: &CalibrationImage| Some((image.file.clone(), calibration.picture?.fault(&image.picture?)?));
    let odd = calibration.images.iter().filter_map(fault).collect::<Vec<_>>();
    if let Some((file, fault)) = odd.first() {
        log::warn!(
            "{} of the calibration would be a fault of the camera, {file} first: {fault}; look at the light, and leave out (--drop) what \
             does not belong",
            crate::print::counted(odd.len() as u64, "image")
        );
    }
}

/// An image that is left out, and why.
type LeftOut<'a> = (&'a PathBuf, &'a str);

/// The images, and those of them that are left out.
fn leave_out<'a>(images: &'a [PathBuf], drop: &'a [(String, String)]) -> Result<(Vec<PathBuf>, Vec<LeftOut<'a>>)> {
    let found = drop.iter().map(|(name, reason)| {
        let image = images.iter().find(|image| file_name(image) == *name);
        image.map(|image| (image, reason.as_str())).ok_or_else(|| {
            Error::usage(format!("'{name}' cannot be left out: it is none of the images"))
                .advise("give the file's name as the list of the highest scores has it")
        })
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    let kept = images.iter().filter(|image| found.iter().all(|(dropped, _)| dropped != image)).cloned();
    Ok((kept.collect(), found))
}

/// Takes copies of what somebody left out away too, whatever they are called.
fn without_copies(samples: &mut Vec<Sample>, left_out: &[LeftOut]) -> Result<()> {
    let digests = left_out.iter().map(|(image, _)| Ok(Digest::of(dataset::read_bytes(image)?)));
    let digests = digests.collect::<Result<BTreeSet<_>>>()?;
    samples.retain(|sample| {
        let stays = !digests.contains(&sample.digest);
        if !stays {
            log::warn!("{} is a copy of an image that is left out, and left out too", sample.path.display());
        }
        stays
    });
    match samples.is_empty() {
        true => Err(Error::usage("no image is left to calibrate on").advise("leave out (--drop) fewer of them")),
        false => Ok(()),
    }
}

/// Refuses an image that is said to show a defect and a normal part.
fn none_is_normal(bundle: &Bundle, images: &[PathBuf], found: &[Look], normal: &[Sample]) -> Result<()> {
    let normal = normal.iter().map(|sample| sample.digest).collect::<BTreeSet<_>>();
    let is_trained_on = |digest: &Digest| bundle.trained_on.as_ref().is_some_and(|seen| seen.contains(digest));
    if let Some((image, _)) = images.iter().zip(found).find(|(_, look)| is_trained_on(&look.digest)) {
        return Err(Error::usage(format!(
            "{} is one of the normal images that the model was trained on",
            image.display()
        ))
        .advise("give images of parts that are known to be defective with --bad"));
    }
    match images.iter().zip(found).find(|(_, look)| normal.contains(&look.digest)) {
        None => Ok(()),
        Some((image, _)) => Err(Error::usage(format!("{} is among the normal images too", image.display()))
            .advise("a part is good or it is not: give its image with --images or with --bad")),
    }
}

/// The images of known defects without copies: one piece counts once.
fn of_different(images: &[PathBuf], found: Vec<Look>) -> Vec<(&PathBuf, Look)> {
    let mut known = BTreeSet::new();
    let mut found = images.iter().zip(found).collect::<Vec<_>>();
    found.retain(|(image, look)| {
        let is_new = known.insert(look.digest);
        if !is_new {
            log::warn!("{} is a copy of another image of a defect, byte for byte, and left out", image.display());
        }
        is_new
    });
    found
}

/// The images of known defects of `class`. Those that clearly show another product are told apart and named: a line rejects them as that,
/// whatever its threshold is, so to count them as found would say of its defects what nobody knows. To leave them out makes no rate better
/// than it is, since all of them would be found.
///
/// # Errors
///
/// All of them show another.
fn of_product(bundle: &Bundle, class: &str, found: Vec<(&PathBuf, Look)>) -> Result<Defective> {
    let mut defective = Defective::default();
    for (image, Look { score, resembles, .. }) in found {
        let file = file_name(image);
        match resembles {
            Some(other) => {
                let product = bundle.manifest.classes[other].clone();
                defective.others.push(OtherProduct { file, product });
            }
            None => {
                defective.files.push(file);
                defective.scores.push(score);
            }
        }
    }
    let Some(told) = defective.others_told(class) else { return Ok(defective) };
    let first = &defective.others[0];
    let first = format!("{} looks like '{}'", first.file, first.product);
    if defective.scores.is_empty() {
        return Err(Error::usage(told).because(first).advise(format!(
            "give images of defective parts of '{class}' with --bad, or leave it out: a line rejects other products whatever its threshold is"
        )));
    }
    let names = defective.others.iter().map(|other| other.file.as_str()).collect::<Vec<_>>();
    log::warn!(
        "{told}; left out: {}; {first}. A line rejects other products whatever its threshold is, so they say nothing of \
         the defects of '{class}'",
        suitable::few(&names)
    );
    Ok(defective)
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What the model sees in an image.
struct Look {
    digest: Digest,
    score: f32,
    /// Another product that it clearly shows: then a line rejects it whatever its score is.
    resembles: Option<usize>,
}

/// Looks at images, which must have the shape of `mask`.
fn look(
    bundle: &Bundle,
    class: &str,
    images: &[PathBuf],
    mask: Option<&Mask>,
    reference: &ScoreReference,
) -> Result<Vec<Look>> {
    let index = bundle.manifest.class_index(class)?;
    batch::for_each_image(bundle, class, images, |inspector, number, bytes, image| {
        mask.map_or(Ok(()), |mask| mask.check_shape(&images[number], image.dimensions()))?;
        let inspection = inspector.inspect(&image, index, reference)?;
        Ok(Look { digest: Digest::of(bytes), score: inspection.score, resembles: inspection.resembles })
    })
}

impl Calibrated {
    /// The `count` most unusual normal images, from the most unusual one, with what the model sees in them.
    ///
    /// # Errors
    ///
    /// An image cannot be read any more.
    pub fn portraits(&self, count: usize) -> Result<Vec<Portrait>> {
        let mut order = self.calibration.images.iter().zip(&self.samples).collect::<Vec<_>>();
        order.sort_by(|(a, _), (b, _)| b.score.total_cmp(&a.score));
        let paint = Paint { full: 2.0 * self.calibration.threshold, rejected: None };
        let portrait = |(entry, sample): (&CalibrationImage, &Sample)| {
            let image = dataset::read_rgb(&sample.path)?;
            let (_, map) = self.inspector.score_maps(&sample.maps, &self.calibration.reference);
            Ok(Portrait { file: entry.file.clone(), score: entry.score, picture: beside(&image, &map, paint) })
        };
        order.into_iter().take(count).map(portrait).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use super::*;
    use crate::synthetic::Conveyor;

    #[test]
    fn an_image_is_read_once_so_that_the_digest_is_of_what_was_scored() {
        let folder = tempfile::tempdir().unwrap();
        // A pipe gives other bytes to whoever opens it again.
        let pipe = folder.path().join("001.png");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let conveyor = Conveyor { seed: 1002, defect_share: 0.0 };
        let mut parts = (0..).map(|number| conveyor.part(number)).filter(|part| part.truth.product.name() == "gear");
        let mut png = || {
            let mut bytes = std::io::Cursor::new(Vec::new());
            parts.next().unwrap().image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
            bytes.into_inner()
        };
        let (first, second) = (png(), png());
        let digest = Digest::of(&first);
        let path = pipe.clone();
        std::thread::spawn(move || {
            std::fs::write(&path, first).unwrap();
            // A pipe without a reader cannot be opened without waiting for one.
            while std::fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path).is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            std::fs::write(&path, second)
        });
        let bundle = Bundle::open(Path::new("models/demo")).unwrap();
        let aim = Aim { frr: 0.01, confidence: None };
        let calibration = calibrate(&bundle, &Request::new("gear", &[pipe], aim)).unwrap().calibration;
        assert_eq!(calibration.images[0].sha256, digest);
    }
}
