//! How good a calibrated model is, on test images with known defects.

pub mod bootstrap;
pub mod curve;
pub mod figures;
pub mod pixels;
#[cfg(test)]
mod reference;
pub mod regions;

use std::path::PathBuf;
use std::sync::{Mutex, Once, PoisonError};

use ndarray::Array2;

use crate::Result;
use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::dataset::{self, TestImage};
use crate::inspect::batch;
use curve::{Curve, Step};
use figures::{Figure, Values};
use pixels::{PixelFigures, Pixels, Spool};
use regions::Regions;

/// One test image with its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The image.
    pub image: PathBuf,
    /// Whether it shows a defect.
    pub defective: bool,
    /// Its score.
    pub score: f32,
    /// Whether it is rejected at the calibrated threshold, or as another product.
    pub rejected: bool,
    /// The other product that it clearly shows.
    pub resembles: Option<String>,
}

/// What is known of the defects' places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Masks {
    /// Defective images whose mask shows a defect.
    pub used: usize,
    /// Defective images whose mask is empty on the map's grid.
    pub empty: usize,
    /// Separate defects in the masks.
    pub regions: usize,
}

/// One class's test images under a calibrated model: what all figures come from.
pub struct Evidence {
    /// The class.
    pub class: String,
    /// The calibrated threshold.
    pub threshold: f32,
    /// The images, in the order in which they were given.
    pub images: Vec<Judged>,
    /// The masks.
    pub masks: Masks,
    /// The images by falling score, with its key.
    order: Vec<(u32, usize)>,
    pixels: Option<Pixels>,
}

impl Evidence {
    fn new(class: &str, threshold: f32, images: Vec<Judged>, masks: Masks, pixels: Option<Pixels>) -> Self {
        let mut order = images.iter().enumerate().map(|(i, image)| (curve::key(image.score), i)).collect::<Vec<_>>();
        order.sort_unstable_by_key(|(key, image)| (std::cmp::Reverse(*key), *image));
        Evidence { class: class.to_owned(), threshold, images, masks, order, pixels }
    }

    /// Whether each image is defective.
    pub fn labels(&self) -> Vec<bool> {
        self.images.iter().map(|image| image.defective).collect()
    }

    /// How many images are good, and how many defective.
    pub fn counts(&self) -> (usize, usize) {
        let defective = self.images.iter().filter(|image| image.defective).count();
        (self.images.len() - defective, defective)
    }

    /// The defective images that pass at the calibrated threshold, and the good ones that are rejected.
    pub fn mistakes(&self, defective: bool) -> impl Iterator<Item = &Judged> {
        self.images.iter().filter(move |image| image.defective == defective && image.rejected != defective)
    }

    /// Every figure's value.
    pub fn figures(&self, figures: &[Figure]) -> Values {
        self.resampled(figures, &|_| 1.0)
    }

    /// The same when image number i is counted `times(i)` times.
    pub fn resampled(&self, figures: &[Figure], times: &impl Fn(usize) -> f64) -> Values {
        let curve = self.curve(times);
        let wanted = figures.iter().any(|figure| pixel_figure(*figure).is_some());
        let pixels = self.pixels.as_ref().filter(|_| wanted).and_then(|pixels| pixels.resampled(times));
        figures.iter().map(|figure| self.value(*figure, curve.as_ref(), pixels.as_ref(), times)).collect()
    }

    /// Whether the figure is known.
    pub fn has(&self, figure: Figure) -> bool {
        let (good, defective) = self.counts();
        match figure {
            Figure::FalseRejects => good > 0,
            Figure::Misses => defective > 0,
            figure if pixel_figure(figure).is_some() => self.pixels.is_some(),
            _ => good > 0 && defective > 0,
        }
    }

    fn curve(&self, times: &impl Fn(usize) -> f64) -> Option<Curve> {
        let steps = self.order.chunk_by(|a, b| a.0 == b.0).map(|tie| {
            let mut step = Step { positive: 0.0, negative: 0.0 };
            for (_, image) in tie {
                let weight = if self.images[*image].defective { &mut step.positive } else { &mut step.negative };
                *weight += times(*image);
            }
            step
        });
        Curve::new(steps.collect())
    }

    fn value(
        &self,
        figure: Figure,
        curve: Option<&Curve>,
        pixels: Option<&PixelFigures>,
        times: &impl Fn(usize) -> f64,
    ) -> Option<f64> {
        match figure {
            Figure::ImageAuroc => curve.map(Curve::auroc),
            Figure::ImageAp => curve.map(Curve::average_precision),
            Figure::ImageF1Max => curve.map(Curve::f1_max),
            Figure::MissesAt(rate) => curve.map(|curve| curve.misses_at(rate)),
            Figure::FalseRejects => self.share(false, true, times),
            Figure::Misses => self.share(true, false, times),
            figure => pixels.zip(pixel_figure(figure)).map(|(pixels, place)| pixels[place]),
        }
    }

    /// The share of the images with the label whose verdict is `rejected`.
    fn share(&self, defective: bool, rejected: bool, times: &impl Fn(usize) -> f64) -> Option<f64> {
        let (mut share, mut of) = (0.0, 0.0);
        for (index, image) in self.images.iter().enumerate().filter(|(_, image)| image.defective == defective) {
            of += times(index);
            share += if image.rejected == rejected { times(index) } else { 0.0 };
        }
        (of > 0.0).then(|| share / of)
    }
}

/// Where a figure of pixels stands among them.
fn pixel_figure(figure: Figure) -> Option<usize> {
    [Figure::PixelAuroc, Figure::PixelAp, Figure::PixelF1Max, Figure::PixelAupro].iter().position(|f| *f == figure)
}

/// Judges the `test` images of the calibration's class.
///
/// Pixels count at the network's input size. The good images and the defective ones with a mask count for the figures of
/// pixels; a defective image without a mask, or with an empty one, counts for those of images only. Pixels that the calibration ignores
/// count for none, and a defect that lies there as a whole is as one of an empty mask.
///
/// # Errors
///
/// The calibration is of another bundle, an image cannot be read, or the temporary file fails.
pub fn evaluate(bundle: &Bundle, calibration: &Calibration, test: &[TestImage]) -> Result<Evidence> {
    calibration.check_bundle(bundle)?;
    let class = bundle.manifest.class_index(&calibration.class)?;
    let images = test.iter().map(|test| test.image.clone()).collect::<Vec<_>>();
    let pixels = Mutex::new((Spool::new()?, Masks::default()));
    let warning = Once::new();
    let judged = batch::for_each_image(bundle, &calibration.class, &images, |inspector, index, _, image| {
        if let Err(error) = calibration.check_frame(image.dimensions()) {
            warning.call_once(|| log::warn!("{}: {}", images[index].display(), error.report()));
        }
        let inspection = inspector.inspect(&image, class, &calibration.reference)?;
        if let Some(regions) = regions_of(&test[index], &inspection.map)? {
            let mut pixels = pixels.lock().unwrap_or_else(PoisonError::into_inner);
            let (spool, masks) = &mut *pixels;
            masks.count(test[index].is_defective(), &regions);
            if !test[index].is_defective() || !regions.sizes.is_empty() {
                spool.push(index, &inspection.map, &regions)?;
            }
        }
        Ok(Judged {
            image: images[index].clone(),
            defective: test[index].is_defective(),
            score: inspection.score,
            rejected: inspection.resembles.is_some() || calibration.rejects(inspection.score),
            resembles: inspection.resembles.map(|other| bundle.manifest.classes[other].clone()),
        })
    })?;
    let (spool, masks) = pixels.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Evidence::new(&calibration.class, calibration.threshold, judged, masks, spool.finish()?))
}

impl Masks {
    fn count(&mut self, defective: bool, regions: &Regions) {
        match regions.sizes.len() {
            0 => self.empty += usize::from(defective),
            regions => (self.used, self.regions) = (self.used + 1, self.regions + regions),
        }
    }
}

/// The defects on the map's `(H, W)` grid, as far as they are looked at; none where they are not known.
fn regions_of(test: &TestImage, map: &Array2<f32>) -> Result<Option<Regions>> {
    let grid = map.dim();
    let Some(path) = &test.mask else {
        return Ok((!test.is_defective()).then(|| Regions::of(&Array2::from_elem(grid, false))));
    };
    let mut defects = dataset::sample_mask(&dataset::read_mask(path)?, grid);
    defects.zip_mut_with(map, |is_defect, value| *is_defect &= !value.is_nan());
    Ok(Some(Regions::of(&defects)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A class without masks: good parts that all pass and defective ones, of which some are missed.
    pub fn evidence(class: &str, good: usize, defective: usize, missed: impl Fn(usize) -> bool) -> Evidence {
        let image = |number: usize, defective: bool| {
            let rejected = defective && !missed(number);
            let score = if rejected { 2.0 + number as f32 } else { number as f32 / 1e4 };
            Judged { image: format!("{number}.png").into(), defective, score, rejected, resembles: None }
        };
        let images = (0..good).map(|i| image(i, false)).chain((0..defective).map(|i| image(i, true)));
        Evidence::new(class, 1.0, images.collect(), Masks::default(), None)
    }

    #[test]
    fn figures_of_images_follow_from_scores_and_verdicts() {
        let class = evidence("cap", 10, 8, |image| image == 2 || image == 5);
        let figures = Figure::all(&[0.0, 0.5]);
        let values = class.figures(&figures);
        let value = |figure: Figure| values[figures.iter().position(|f| *f == figure).unwrap()];
        assert_eq!((class.counts(), class.mistakes(true).count(), class.mistakes(false).count()), ((10, 8), 2, 0));
        assert_eq!((value(Figure::Misses), value(Figure::FalseRejects)), (Some(0.25), Some(0.0)));
        // The missed ones score as good parts 2 and 5 do.
        assert_eq!(value(Figure::MissesAt(0.0)), Some(0.25));
        assert_eq!(value(Figure::MissesAt(0.5)), Some(0.125));
        assert_eq!(value(Figure::ImageAuroc), Some((6.0 * 10.0 + 2.5 + 5.5) / 80.0));
        assert_eq!(value(Figure::PixelAupro), None);
        assert!(figures.iter().all(|figure| class.has(*figure) == value(*figure).is_some()));
        let alone = evidence("cap", 0, 3, |_| false);
        let values = alone.figures(&figures);
        assert!(figures.iter().zip(values).all(|(figure, value)| alone.has(*figure) == value.is_some()));
    }
}
