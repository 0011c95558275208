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
    let hold_out = bundle.manifest.training.get("hold_out").and_then(toml::Value::as_integer);
    let advice = match hold_out {
        // Another choice of images than training's would hit most of them.
        _ if 2 * seen.len() < images.len() => {
            "these few are images that training saw, or copies of such, byte for byte: put \
             the other images into a folder of their own, and give that without --hold-out"
                .to_owned()
        }
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

/// The samples that do not clearly show another product; says which are left out.
///
/// # Errors
///
/// More show another than by accident.
pub(super) fn of_product(bundle: &Bundle, class: &str, samples: Vec<Sample>) -> Result<Vec<Sample>> {
    let total = samples.len();
    let (strangers, samples): (Vec<_>, Vec<_>) = samples.into_iter().partition(|sample| sample.resembles.is_some());
    let Some(other) = strangers.first().and_then(|sample| bundle.manifest.classes.get(sample.resembles?)) else {
        return Ok(samples);
    };
    let names = named(&strangers.iter().map(|sample| &sample.path).collect::<Vec<_>>());
    let what = format!("{} of {} clearly not '{class}'", strangers.len(), counted(total as u64, "image"));
    if ONE_IN * strangers.len() > total {
        return Err(Error::usage(what)
            .because(format!("they are {names}; the first looks like '{other}'"))
            .advise(format!("give images of '{class}', or the class that they show")));
    }
    log::warn!(
        "{what} and left out: {names}; the first looks like '{other}'. Parts like these are rejected whatever the \
         threshold is: if they are good ones, that comes on top of the false-reject rate"
    );
    Ok(samples)
}

/// The first few, and how many more.
fn named(paths: &[&PathBuf]) -> String {
    let first = paths.iter().take(NAMED).map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
