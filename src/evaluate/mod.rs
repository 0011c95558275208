//! How good a calibrated model is, on test images with known defects.

pub mod auroc;

use std::sync::{Mutex, Once};

use ndarray::Array2;
use serde::Serialize;

use crate::Result;
use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::dataset::{self, TestImage};
use crate::inspect::batch;
use auroc::Ranking;

/// One class's figures; a mean over classes has the same form.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Good test images.
    pub good: usize,
    /// Defective test images.
    pub defective: usize,
    /// Area under the ROC of the images' scores.
    pub image_auroc: Option<f64>,
    /// Area under the ROC of the maps' pixels; none where no defect has a mask.
    pub pixel_auroc: Option<f64>,
    /// Share of the good test images that are rejected at the calibrated threshold.
    pub false_reject_rate: Option<f64>,
    /// Share of the defective test images that pass at the calibrated threshold.
    pub miss_rate: Option<f64>,
}

impl Figures {
    /// The mean of every figure over the classes that have it, and the counts of all images.
    pub fn mean(classes: &[Figures]) -> Figures {
        let mean = |figure: fn(&Figures) -> Option<f64>| {
            let known = classes.iter().filter_map(figure).collect::<Vec<_>>();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        Figures {
            good: classes.iter().map(|f| f.good).sum(),
            defective: classes.iter().map(|f| f.defective).sum(),
            image_auroc: mean(|f| f.image_auroc),
            pixel_auroc: mean(|f| f.pixel_auroc),
            false_reject_rate: mean(|f| f.false_reject_rate),
            miss_rate: mean(|f| f.miss_rate),
        }
    }
}

/// Evaluates the calibration's class on its `test` images.
///
/// Pixels count at the network's input size. The good images and the defective ones with a mask count for the pixel
/// figure; a defective image without a mask, or with an empty one, counts for the image figures only.
///
/// # Errors
///
/// The calibration is of another bundle, or an image cannot be read.
pub fn evaluate(bundle: &Bundle, calibration: &Calibration, test: &[TestImage]) -> Result<Figures> {
    calibration.check_bundle(bundle)?;
    let class = bundle.manifest.class_index(&calibration.class)?;
    let images = test.iter().map(|test| test.image.clone()).collect::<Vec<_>>();
    let pixels = Mutex::new(Ranking::default());
    let warning = Once::new();
    let scores = batch::for_each_image(bundle, &calibration.class, &images, |inspector, index, _, image| {
        if let Err(error) = calibration.check_frame(image.dimensions()) {
            warning.call_once(|| log::warn!("{}: {}", images[index].display(), error.report()));
        }
        let inspection = inspector.inspect(&image, class, &calibration.reference)?;
        if let Some(mask) = mask_of(&test[index], inspection.map.dim())? {
            let mut pixels = pixels.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            inspection.map.iter().zip(&mask).for_each(|(value, defect)| pixels.push(*value, *defect));
        }
        Ok((inspection.score, inspection.resembles.is_some()))
    })?;
    let mut ranking = Ranking::default();
    let mut rejected = [(0usize, 0usize); 2];
    for (test, (score, other_product)) in test.iter().zip(scores) {
        ranking.push(score, test.is_defective());
        let (count, of) = &mut rejected[usize::from(test.is_defective())];
        *count += usize::from(other_product || calibration.rejects(score));
        *of += 1;
    }
    let share = |(count, of): (usize, usize)| (of > 0).then(|| count as f64 / of as f64);
    let pixels = pixels.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(Figures {
        good: rejected[0].1,
        defective: rejected[1].1,
        image_auroc: ranking.auroc(),
        pixel_auroc: pixels.auroc(),
        false_reject_rate: share(rejected[0]),
        miss_rate: share(rejected[1]).map(|caught| 1.0 - caught),
    })
}

/// The defect's pixels on the map's `(H, W)` grid; none where they are not known.
fn mask_of(test: &TestImage, (height, width): (usize, usize)) -> Result<Option<Array2<bool>>> {
    let Some(path) = &test.mask else {
        return Ok((!test.is_defective()).then(|| Array2::from_elem((height, width), false)));
    };
    let mask = dataset::sample_mask(&dataset::read_mask(path)?, (height, width));
    Ok(mask.iter().any(|defect| *defect).then_some(mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_skip_what_is_not_known() {
        let figures = |good, image_auroc, pixel_auroc| {
            let (false_reject_rate, miss_rate) = (None, None);
            Figures { good, defective: 3, image_auroc, pixel_auroc, false_reject_rate, miss_rate }
        };
        let mean = Figures::mean(&[figures(1, Some(0.8), None), figures(4, Some(1.0), Some(0.6))]);
        assert_eq!(mean, Figures { defective: 6, ..figures(5, Some(0.9), Some(0.6)) });
    }
}
