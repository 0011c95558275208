//! Whether images can set a threshold: parts that training did not see, of the product that is calibrated.

use std::path::PathBuf;

use super::Sample;
use crate::bundle::Bundle;
use crate::print::counted;
use crate::{Error, Result};

/// One image in so many may show another product: a slip, or an outlier of a product that resembles it.
const ONE_IN: usize = 20;
/// So many images are named; who has more to look at sees the pattern.
const NAMED: usize = 3;

/// The samples, if none is missing: of an image that training saw there is none.
pub(super) fn unseen(bundle: &Bundle, images: &[PathBuf], samples: Vec<Option<Sample>>) -> Result<Vec<Sample>> {
    if bundle.trained_on.is_none() {
        log::info!("this model does not tell which images it was trained on: see to it that these are others");
    }
    let seen =
        images.iter().zip(&samples).filter(|(_, sample)| sample.is_none()).map(|(path, _)| path).collect::<Vec<_>>();
    if seen.is_empty() {
        return Ok(samples.into_iter().flatten().collect());
    }
    let advice = match bundle.manifest.training.get("hold_out").and_then(toml::Value::as_integer) {
        Some(n) => format!(
            "training left out one image in {n} of its folder: give that folder, as it was then, with --hold-out {n}"
        ),
        None => "give other images; hgad-train train --hold-out 5 leaves some out for this".to_owned(),
    };
    Err(Error::usage(format!(
        "the model was trained on {} of {}: a threshold set on them would reject too many parts",
        seen.len(),
        counted(images.len() as u64, "image")
    ))
    .because(format!("it knows {}", named(&seen)))
    .advise(advice))
}

/// Refuses images that mostly, or more often than by accident, show another product; warns of single ones.
pub(super) fn check_product(bundle: &Bundle, class: &str, images: &[PathBuf], samples: &[Sample]) -> Result<()> {
    let strangers = images.iter().zip(samples).filter_map(|(path, sample)| Some((path, sample.resembles?)));
    let (strangers, others): (Vec<_>, Vec<_>) = strangers.unzip();
    let Some(other) = others.first().map(|index| &bundle.manifest.classes[*index]) else { return Ok(()) };
    let what = format!("{} of {} clearly not '{class}'", strangers.len(), counted(images.len() as u64, "image"));
    if ONE_IN * strangers.len() > images.len() {
        return Err(Error::usage(what)
            .because(format!("they are {}; the first looks like '{other}'", named(&strangers)))
            .advise(format!("give images of '{class}', or the class that they show")));
    }
    log::warn!("{what}: {}; the first looks like '{other}'", named(&strangers));
    Ok(())
}

/// The first few, and how many more.
fn named(paths: &[&PathBuf]) -> String {
    let first = paths.iter().take(NAMED).map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
