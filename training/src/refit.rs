//! A bundle's statistics of normal parts, measured again: for one that was made before there were Gaussians of cells, or to
//! compare with the score that it had. The network and the learned centers stay as they are.

use std::path::Path;

use hgad::bundle::{Arithmetic, Bundle, Distance, Draft};
use hgad::time::stamp;
use hgad::{Error, Result};

use crate::export::{Join, WRITTEN_BY, is_joined, join, normals};
use crate::split::Split;

/// What to measure again.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The bundle.
    pub bundle: &'a Bundle,
    /// Its normal images, all that it was trained on among them.
    pub images: &'a Split,
    /// What distances are measured from.
    pub distance: Distance,
    /// The new bundle's directory; one that stands there is replaced.
    pub out: &'a Path,
}

/// Writes the bundle with statistics of the images that it was trained on, reference constants from those that it was not,
/// and golden frames with the scores that follow.
///
/// # Errors
///
/// Images that it was trained on are not there, it computes in 8 bits, or its levels were joined and cannot be taken apart (usage errors); images that cannot be read, a bundle
/// that cannot be written (device errors).
pub fn refit_bundle(request: &Request) -> Result<Bundle> {
    let Request { bundle: old, images, distance, out } = *request;
    check(request)?;
    let mut bundle = old.clone();
    if distance == Distance::Cells {
        join(&mut bundle, &Join { averaged: false, centers: None })?;
    }
    log::info!("measuring what is usual of the training images, then of the other normal ones");
    normals::fit_usual(&mut bundle, &images.trained, distance, &[])?;
    bundle.centers.references = normals::fit_references(&bundle, &images.held)?;
    bundle.golden = normals::golden(&bundle, &images.held)?;
    bundle.manifest.created = stamp();
    bundle.manifest.written_by = WRITTEN_BY.to_owned();
    let from = toml::Table::from_iter([("from".to_owned(), old.digest.to_string().into())]);
    bundle.manifest.training.insert("refitted".to_owned(), from.into());
    let Bundle { manifest, model, centers, golden, trained_on, .. } = bundle;
    Draft { manifest, model, centers, golden, trained_on }.write(out)
}

fn check(request: &Request) -> Result<()> {
    let Request { bundle, images, distance, .. } = *request;
    if bundle.manifest.distance == Distance::Map {
        return Err(Error::usage("an imported network gives its maps itself: there are no latents to measure")
            .advise("import it again with the normal images of today (hgad-train import)"));
    }
    if bundle.manifest.arithmetic != Arithmetic::Float {
        // Its parity bounds are for the score that it has: they follow from what the last bits of whole numbers change.
        return Err(Error::usage("a bundle that computes in 8 bits cannot be refitted")
            .advise("refit the bundle that it was made from, and quantise that again (hgad-train quantize)"));
    }
    if distance == Distance::Centers && bundle.manifest.distance == Distance::Cells && is_joined(bundle)? {
        return Err(Error::usage(
            "the levels of this bundle were joined, and its centers were learned of each by itself",
        )
        .advise("take the bundle that it was made from, or train with --distance centers"));
    }
    if !images.all_trained {
        return Err(Error::usage("some images that the model was trained on are not there")
            .because("what is usual is measured on all of them")
            .advise("give the folder that hgad-train train had as --data, as it was then (--images)"));
    }
    Ok(())
}
