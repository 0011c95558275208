//! Several bundles on the same images, each calibrated on the normal images that it was not trained on: which is best on these parts?

use std::path::{Path, PathBuf};

use hgad::bench::{self, Plan};
use hgad::bundle::Bundle;
use hgad::calibrate::{Aim, Calibration, Request, calibrate};
use hgad::dataset::{ProductData, TestImage, products};
use hgad::evaluate::figures::{Figure, Values, mean};
use hgad::evaluate::{Evidence, evaluate};
use hgad::{Error, Result};

use crate::split::Split;

/// What is compared, in the order of the columns.
pub const FIGURES: [Figure; 6] =
    [Figure::ImageAuroc, Figure::ImageAp, Figure::PixelAuroc, Figure::PixelAp, Figure::Misses, Figure::FalseRejects];

/// Frames that the time of one is the median of.
const FRAMES: usize = 50;

/// A camera's usual picture, which is resized to a network's input.
const CAMERA: (u32, u32) = (640, 480);

/// What there is to compare on.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The folder that the models were trained from.
    pub images: &'a Path,
    /// The folder with images of good and of defective parts.
    pub test: &'a Path,
    /// Every how many-th normal image was left out of training, where a bundle does not tell.
    pub hold_out: Option<usize>,
    /// The false-reject rate that is asked for.
    pub frr: f64,
}

/// One bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Its products.
    pub classes: Vec<String>,
    /// The figures of every product, in the order of [`FIGURES`].
    pub of_classes: Vec<Values>,
    /// Their means.
    pub mean: Values,
    /// The bytes of its files.
    pub bytes: u64,
    /// A frame from its pixels to its score on one core of this machine, in ms: the median.
    pub frame_ms: f64,
}

/// Calibrates the bundle in `folder` for every product, judges the test images and takes the time of a frame.
///
/// # Errors
///
/// As calibration and evaluation; a product has no test images.
pub fn measure(folder: &Path, ground: &Ground) -> Result<Compared> {
    let bundle = Bundle::open(folder)?;
    let classes = bundle.manifest.classes.clone();
    let split = Split::of(&bundle, ground.images, ground.hold_out)?;
    let tests = products(ground.test, Some(&classes))?;
    let tests = tests.iter().map(ProductData::test).collect::<Result<Vec<_>>>()?;
    let rows = classes.iter().zip(split.held.iter().zip(&tests));
    let of_classes =
        rows.map(|(class, (held, test))| Ok(judge(&bundle, class, held, test, ground.frr)?.1.figures(&FIGURES)));
    let of_classes = of_classes.collect::<Result<Vec<_>>>()?;
    let plan = Plan { frames: FRAMES, camera: CAMERA, shares: vec![(1, 1)] };
    let stages = bench::measure(&bundle, &bundle.golden.frames[0].image, &plan)?.stages;
    let whole = stages.last().ok_or_else(|| Error::device("no stage of a frame was measured"))?;
    Ok(Compared { mean: mean(&of_classes), classes, of_classes, bytes: bytes(folder)?, frame_ms: whole.p50_ms })
}

/// Calibrates the bundle for a class on the `held` normal images, and judges the `test` images at that threshold.
///
/// # Errors
///
/// As calibration and evaluation; there are no test images.
pub fn judge(
    bundle: &Bundle,
    class: &str,
    held: &[PathBuf],
    test: &[TestImage],
    frr: f64,
) -> Result<(Calibration, Evidence)> {
    if test.is_empty() {
        return Err(Error::usage(format!("product {class} has no test images"))
            .advise("give a folder with NAME/test/good and NAME/test/KIND-OF-DEFECT (--test)"));
    }
    let aim = Aim { frr, confidence: None };
    let calibration = calibrate(bundle, &Request::new(class, held, aim))?.calibration;
    let evidence = evaluate(bundle, &calibration, test)?;
    Ok((calibration, evidence))
}

/// The bytes of all files in `folder`.
///
/// # Errors
///
/// It cannot be read.
pub fn bytes(folder: &Path) -> Result<u64> {
    let failed = |error| Error::device(format!("bundle {} cannot be read", folder.display())).because(error);
    let files = std::fs::read_dir(folder).map_err(failed)?;
    files.map(|file| Ok(file.map_err(failed)?.metadata().map_err(failed)?.len())).sum()
}
