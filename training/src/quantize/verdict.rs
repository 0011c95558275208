//! What 8 bits change of a bundle's decisions.

use std::path::PathBuf;

use hgad::bundle::Bundle;
use hgad::calibrate::{Aim, Calibration, Request, calibrate};
use hgad::dataset::TestImage;
use hgad::evaluate::evaluate;
use hgad::evaluate::figures::Figure;
use hgad::{Error, Result};

use super::Form;

/// How much worse than in floats a bundle may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Loss of the area under the ROC, of images and of pixels, mean over the products.
    pub auroc: f64,
    /// Share of all images whose verdict is another.
    pub flips: f64,
}

/// Both bundles on the same images, each calibrated on the same held-out normals.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// One per product.
    pub classes: Vec<ClassVerdict>,
}

/// What is compared of the test images.
const FIGURES: [Figure; 3] = [Figure::ImageAuroc, Figure::PixelAuroc, Figure::Misses];

/// Figures of test images: each is there if it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Area under the ROC of the images' scores.
    pub image_auroc: Option<f64>,
    /// Area under the ROC of the maps' pixels.
    pub pixel_auroc: Option<f64>,
    /// Share of the defective images that pass at the calibrated threshold.
    pub misses: Option<f64>,
}

impl Figures {
    /// The mean of every figure over the classes that have it.
    fn mean(classes: &[Figures]) -> Self {
        let mean = |figure: fn(&Figures) -> Option<f64>| {
            let known = classes.iter().filter_map(figure).collect::<Vec<_>>();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        Figures {
            image_auroc: mean(|figures| figures.image_auroc),
            pixel_auroc: mean(|figures| figures.pixel_auroc),
            misses: mean(|figures| figures.misses),
        }
    }
}

/// One product.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassVerdict {
    /// Its name.
    pub class: String,
    /// Images: held-out normals and test images.
    pub images: usize,
    /// Those whose verdict at the calibrated threshold is another than in floats.
    pub flips: usize,
    /// Pearson's correlation of the images' scores.
    pub correlation: f64,
    /// On the test images in floats and in 8 bits, where there are any.
    pub figures: Option<[Figures; 2]>,
}

impl Verdict {
    /// Means over the products in floats and in 8 bits; `None` without test images.
    pub fn mean(&self) -> Option<[Figures; 2]> {
        let of = |which: usize| {
            self.classes.iter().filter_map(|class| class.figures.map(|figures| figures[which])).collect::<Vec<_>>()
        };
        let [float, int8] = [of(0), of(1)];
        (!float.is_empty()).then(|| [Figures::mean(&float), Figures::mean(&int8)])
    }

    /// What image and pixel AUROC lose, mean over the products; none where it is not known.
    pub fn auroc_loss(&self) -> [Option<f64>; 2] {
        let Some([float, int8]) = self.mean() else { return [None, None] };
        [(float.image_auroc, int8.image_auroc), (float.pixel_auroc, int8.pixel_auroc)]
            .map(|(float, int8)| float.zip(int8).map(|(float, int8)| float - int8))
    }

    /// Images whose verdict is another, and all.
    pub fn flips(&self) -> (usize, usize) {
        (self.classes.iter().map(|class| class.flips).sum(), self.classes.iter().map(|class| class.images).sum())
    }

    /// # Errors
    ///
    /// It is worse than `bounds`.
    pub fn check(&self, bounds: Bounds, form: Form) -> Result<()> {
        let mut worse = Vec::new();
        for (what, loss) in ["image", "pixel"].into_iter().zip(self.auroc_loss()) {
            // What is not a number is worse than any bound.
            if loss.is_some_and(|loss| loss.is_nan() || loss > bounds.auroc) {
                worse.push(format!(
                    "{what} AUROC is {:.4} lower, more than {}",
                    loss.unwrap_or(f64::NAN),
                    bounds.auroc
                ));
            }
        }
        let (flips, images) = self.flips();
        if flips as f64 > bounds.flips * images as f64 {
            let share = 100.0 * flips as f64 / images as f64;
            worse.push(format!("{flips} of {images} verdicts ({share:.2}%) flip, more than {}%", 100.0 * bounds.flips));
        }
        if worse.is_empty() {
            return Ok(());
        }
        let other = match form {
            Form::Int8 { .. } => "keep more layers in floats (--float-share)",
            Form::Weights => "stay with the bundle in floats",
        };
        Err(Error::check("in 8 bits the model is worse than the bounds allow, and was not written")
            .because(worse.join("; "))
            .advise(format!(
                "{other}, accept more (--max-auroc-loss, --max-flips), or write it anyway for a reason that the manifest \
                 then tells (--anyway REASON)"
            )))
    }
}

/// Calibrates both bundles for `frr` false rejects on every class's `held` normals and judges these and the test images.
///
/// # Errors
///
/// As calibration and evaluation.
pub(super) fn compare(
    [float, int8]: [&Bundle; 2],
    held: &[Vec<PathBuf>],
    tests: &[Vec<TestImage>],
    frr: f64,
) -> Result<Verdict> {
    let classes = float.manifest.classes.iter().zip(held.iter().zip(tests)).map(|(class, (held, test))| {
        let judged = [float, int8].map(|bundle| judge(bundle, class, held, test, frr));
        let [(float_figures, float), (int8_figures, int8)] = {
            let [a, b] = judged;
            [a?, b?]
        };
        let flips = float.iter().zip(&int8).filter(|(a, b)| a.rejected != b.rejected).count();
        let scores = |judged: &[Judged]| judged.iter().map(|image| f64::from(image.score)).collect::<Vec<_>>();
        Ok(ClassVerdict {
            class: class.clone(),
            images: float.len(),
            flips,
            correlation: correlation(&scores(&float), &scores(&int8)),
            figures: float_figures.zip(int8_figures).map(|(float, int8)| [float, int8]),
        })
    });
    Ok(Verdict { classes: classes.collect::<Result<_>>()? })
}

/// What became of one image.
#[derive(Debug, Clone, Copy)]
struct Judged {
    score: f32,
    rejected: bool,
}

/// Figures of the test images, if any; and what becomes of held-out normals and test images.
fn judge(
    bundle: &Bundle,
    class: &str,
    held: &[PathBuf],
    test: &[TestImage],
    frr: f64,
) -> Result<(Option<Figures>, Vec<Judged>)> {
    let aim = Aim { frr, confidence: None };
    let calibration: Calibration = calibrate(bundle, &Request::new(class, held, aim))?.calibration;
    let normal = |score: f32| Judged { score, rejected: calibration.rejects(score) };
    // An image that calibration left out, since it clearly shows another product, is rejected.
    let known = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        calibration.images.iter().find(|image| image.file == name).map(|image| normal(image.score))
    };
    let left_out = Judged { score: calibration.threshold.next_up(), rejected: true };
    let mut judged = held.iter().map(|path| known(path).unwrap_or(left_out)).collect::<Vec<_>>();
    if test.is_empty() {
        return Ok((None, judged));
    }
    let evidence = evaluate(bundle, &calibration, test)?;
    judged.extend(evidence.images.iter().map(|image| Judged { score: image.score, rejected: image.rejected }));
    let values = evidence.figures(&FIGURES);
    Ok((Some(Figures { image_auroc: values[0], pixel_auroc: values[1], misses: values[2] }), judged))
}

/// Pearson's correlation; 1 where both are constant.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let [mean_a, mean_b] = [a, b].map(|values| values.iter().sum::<f64>() / n);
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| f(a - mean_a, b - mean_b)).sum::<f64>();
    let (covariance, power) = (sum(&|a, b| a * b), sum(&|a, _| a * a) * sum(&|_, b| b * b));
    if power == 0.0 { 1.0 } else { covariance / power.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(flips: usize, aurocs: [f64; 2]) -> Verdict {
        let figures = |auroc| Figures { image_auroc: Some(auroc), pixel_auroc: None, misses: Some(0.5) };
        let class = |flips, aurocs: [f64; 2]| ClassVerdict {
            class: "cap".into(),
            images: 500,
            flips,
            correlation: 1.0,
            figures: Some(aurocs.map(figures)),
        };
        Verdict { classes: vec![class(flips, aurocs), class(0, [0.9, 0.9])] }
    }

    #[test]
    fn what_is_worse_than_a_bound_is_refused_and_says_by_how_much() {
        let bounds = Bounds { auroc: 0.002, flips: 0.002 };
        let int8 = Form::Int8 { frames: 1, float_share: 0.0 };
        assert!(verdict(2, [0.9, 0.897]).check(bounds, int8).is_ok(), "2 of 1000, and 0.0015 in the mean");
        assert!(verdict(0, [0.9, 0.95]).check(bounds, int8).is_ok(), "better is no loss");
        let refused = |verdict: Verdict, says: &str| {
            for (form, share) in [(int8, true), (Form::Weights, false)] {
                let error = verdict.check(bounds, form).unwrap_err();
                assert!(error.kind().exit_code() == 1 && error.report().contains(says), "{}", error.report());
                assert_eq!(error.report().contains("--float-share"), share, "{}", error.report());
            }
        };
        refused(verdict(3, [0.9, 0.9]), "3 of 1000 verdicts (0.30%) flip");
        refused(verdict(0, [0.9, 0.894]), "image AUROC is 0.0030 lower");
        refused(verdict(0, [0.9, f64::NAN]), "image AUROC is NaN lower");
    }

    #[test]
    fn correlation_is_pearson_s() {
        assert!((correlation(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]) - 1.0).abs() < 1e-12);
        assert!((correlation(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0]) - 0.8).abs() < 1e-12);
        assert_eq!(correlation(&[1.0, 1.0], &[5.0, 5.0]), 1.0);
    }
}
