//! What is watched of a training that does not go into it.

use std::path::Path;

use hgad::{Error, Result};
use rayon::prelude::*;

use super::task::Dataset;
use crate::backbone::Backbone;
use crate::features::ImageFile;
use crate::fit::About;
use crate::split::evenly;

/// So many normal images of each product are watched at most: enough positions for a histogram.
const IMAGES: usize = 10;

/// The images whose likelihoods are kept as training goes on, and their classes: held out ones where there are.
pub fn normals(data: &Dataset) -> Result<(Vec<ImageFile>, Vec<usize>)> {
    let of_class = |(class, images): (usize, &Vec<std::path::PathBuf>)| {
        evenly(images.clone(), IMAGES).into_iter().map(move |image| (image, class)).collect::<Vec<_>>()
    };
    let chosen = data.normals.iter().enumerate().flat_map(of_class).collect::<Vec<_>>();
    let open = |(image, class): (std::path::PathBuf, usize)| Ok((ImageFile::open(image)?, class));
    Ok(chosen.into_par_iter().map(open).collect::<Result<Vec<_>>>()?.into_iter().unzip())
}

/// What a history says of the run.
///
/// # Errors
///
/// The classifier's file is gone.
pub fn about(data: &Dataset, backbone: &Backbone, file: &Path) -> Result<About> {
    let gone = |error| Error::device(format!("{} is not there any more", file.display())).because(error);
    Ok(About {
        classes: data.classes.clone(),
        held_out: data.hold_out.is_some(),
        backbone: file.canonicalize().map_err(gone)?,
        backbone_sha256: backbone.digest,
        normalise: backbone.normalise.to_string(),
        taps: backbone.taps.iter().map(|tap| tap.name.clone()).collect(),
        size: backbone.size,
    })
}
