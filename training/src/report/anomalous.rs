//! How likely the features of defects were as training went on.

use std::path::Path;

use hgad::dataset::{TestImage, products, read_mask, sample_mask};
use hgad::{Error, Result};
use ndarray::Array2;
use rayon::prelude::*;

use super::{Known, Request, why};
use crate::backbone::{Backbone, Normalise, Taps};
use crate::features::{Features, ImageFile, LevelFeatures};
use crate::fit::{History, Likelihoods, likelihoods};
use crate::flow::LevelWeights;
use crate::split::evenly;

/// So many defective images of each product are looked at, evenly from all that have a mask.
const IMAGES: usize = 20;

/// The likelihoods of defects.
pub(super) struct Anomalous {
    /// Of every moment whose weights were kept, of every level: all defective positions together.
    pub moments: Vec<Vec<Likelihoods>>,
    /// How many images these are.
    pub images: usize,
    /// The products that have no defective image with a mask, and so no part in it.
    pub without: Vec<String>,
}

/// Takes the weights of each moment to the features of defective test images, and counts the positions that lie in a mask; or says what of the
/// run is not there for that.
///
/// # Errors
///
/// Test images that cannot be read.
pub(super) fn measure(history: &History, place: &Path, test: &Path, request: &Request) -> Result<Known<Anomalous>> {
    let about = &history.about;
    let (mut pairs, mut labels, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for (class, product) in products(test, Some(&about.classes))?.iter().enumerate() {
        let defective = product.test()?.into_iter().filter(TestImage::is_defective);
        let masked = defective.filter_map(|image| Some((image.image, image.mask?))).collect::<Vec<_>>();
        if masked.is_empty() {
            without.push(product.name.clone());
        }
        let some = evenly(masked, IMAGES);
        labels.extend(std::iter::repeat_n(class, some.len()));
        pairs.extend(some);
    }
    if pairs.is_empty() {
        return Ok(Ok(Anomalous { moments: Vec::new(), images: 0, without }));
    }
    let backbone = match backbone(history, request) {
        Ok(backbone) => backbone,
        Err(error) => return Ok(Err(missing(&error))),
    };
    let files = pairs.par_iter().map(|(image, _)| ImageFile::open(image.clone())).collect::<Result<Vec<_>>>()?;
    let features = Features::of(&backbone, &files, request.cache, request.stop)?;
    let masks = pairs.par_iter().map(|(_, mask)| read_mask(mask)).collect::<Result<Vec<_>>>()?;
    let moment = |record| -> Result<Vec<Likelihoods>> {
        let weights = History::weights(place, record)?;
        let of_level = |(level, features): (&LevelWeights, &LevelFeatures)| {
            let marked = masks.iter().map(|mask| sample_mask(mask, level.grid)).collect::<Vec<Array2<bool>>>();
            let counts =
                |image: usize, position: usize| marked[image][(position / level.grid.1, position % level.grid.1)];
            let classes = likelihoods(level, &history.recipe, features, &labels, about.classes.len(), counts)?;
            Ok(classes.iter().fold(Likelihoods::default(), |all, class| all.with(class)))
        };
        weights.iter().zip(&features.levels).map(of_level).collect()
    };
    let moments = history.kept().map(moment).collect::<Result<_>>();
    Ok(moments.map(|moments| Anomalous { moments, images: pairs.len(), without }).map_err(|error| missing(&error)))
}

fn missing(error: &Error) -> String {
    log::warn!("{}", error.report());
    why(error)
}

/// The classifier as training had it.
fn backbone(history: &History, request: &Request) -> Result<Backbone> {
    let about = &history.about;
    let path = request.backbone.unwrap_or(&about.backbone);
    let normalise: Normalise = about
        .normalise
        .parse()
        .map_err(|why: String| Error::device("the history's normalisation is none").because(why))?;
    let backbone = Backbone::open(path, about.size, &Taps::Named(about.taps.clone()), normalise).map_err(|error| {
        error.advise("say with --backbone FILE where the classifier is that training took features from")
    })?;
    if backbone.digest != about.backbone_sha256 {
        return Err(Error::usage(format!("{} is not the classifier that the run took features from", path.display()))
            .because(format!("its SHA-256 is {}, that one's {}", backbone.digest, about.backbone_sha256))
            .advise("say with --backbone FILE where that one is"));
    }
    Ok(backbone)
}
