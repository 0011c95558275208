//! Whether images can set a threshold: parts that training did not see, of the product that is calibrated.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::FEWEST_PARTS;
use super::normals::Sample;
use crate::bundle::{Bundle, ScoreReference};
use crate::print::{are, counted};
use crate::{Error, Result};

/// One image in so many may show another product: a slip, or an outlier of a product that resembles it.
const ONE_IN: usize = 20;
/// Normal parts of the same line differed by at most 0.22 deviations in the mean and scattered 1.24 times as much (five real
/// products, three rendered ones). A set of defective ones differed by 1.9 and scattered 2.9 times as much.
const UNUSUAL_MEAN: f32 = 0.5;
const UNUSUAL_DEVIATION: f32 = 1.6;
/// An image stands apart whose score is more than so many times as far above the median as nineteen of twenty parts are at most. The
/// highest scores of ten calibrations on normal parts of five real products stood at 1.0 to 3.5 times, two of them above three.
const APART: f32 = 3.0;
/// The highest of more scores than this lies farther out by chance alone.
const MANY_PARTS: f32 = 100.0;
/// A product that the model does not know differed by 8.6.
const FOREIGN: f32 = 3.0;
/// So many images are named; who has more to look at sees the pattern.
const NAMED: usize = 3;

/// Whether a mask can say where a part is looked at.
///
/// # Errors
///
/// The network itself gives one score for the whole picture: nothing of it could be ignored.
pub(super) fn maskable(bundle: &Bundle) -> Result<()> {
    match bundle.manifest.score_level() {
        None => Ok(()),
        Some(_) => Err(Error::usage("this model gives one score for the whole picture: a mask would change nothing")
            .advise("import it again with its map alone (hgad-train import --map), or leave the mask out")),
    }
}

/// The samples of images that training did not see: of one that it saw there is none. A few such are copies of training images among
/// others, byte for byte, and left out by name: they may not lower the threshold, and the others are still what they are.
///
/// # Errors
///
/// Training saw half of the images or more: they were chosen otherwise than training's own.
pub(super) fn unseen(bundle: &Bundle, images: &[PathBuf], samples: Vec<Option<Sample>>) -> Result<Vec<Sample>> {
    if bundle.trained_on.is_none() {
        log::warn!(
            "this model does not tell which images it was trained on: see to it that these are others, or the threshold, and what is \
             promised of it, look better than they are"
        );
    }
    let seen =
        images.iter().zip(&samples).filter(|(_, sample)| sample.is_none()).map(|(path, _)| path).collect::<Vec<_>>();
    let of_all = format!("{} of {}", seen.len(), counted(images.len() as u64, "image"));
    if 2 * seen.len() >= images.len() && !seen.is_empty() {
        let hold_out = bundle.manifest.training.get("hold_out").and_then(toml::Value::as_integer);
        return Err(Error::usage(format!(
            "the model was trained on {of_all}: a threshold set on such would reject too many parts"
        ))
        .because(format!("it knows {}", named(&seen)))
        .advise(match hold_out {
            Some(n) => format!(
                "training left out one image in {n} of its folder: give that folder, as it was then, with --hold-out {n}"
            ),
            None => "give other images; hgad-train train --hold-out 5 leaves some out for this".to_owned(),
        }));
    }
    if !seen.is_empty() {
        log::warn!("training saw {of_all}, or copies of such, byte for byte; left out: {}", named(&seen));
    }
    Ok(samples.into_iter().flatten().collect())
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
    let first = if strangers.len() == 1 { "it" } else { "the first" };
    if ONE_IN * strangers.len() > total {
        return Err(Error::usage(what)
            .because(format!("{names}: {first} looks like '{other}'"))
            .advise(format!("give images of '{class}', or the class that is shown")));
    }
    log::warn!(
        "{what} and left out: {names}; {first} looks like '{other}'. Parts like these are rejected whatever the \
         threshold is: if they are good ones, that comes on top of the false-reject rate"
    );
    Ok(samples)
}

/// The samples without those whose files are copies of others, byte for byte: two pictures of two parts never are. Says which
/// are left out.
pub(super) fn once(samples: Vec<Sample>) -> Vec<Sample> {
    let mut known = BTreeSet::new();
    let (samples, copies): (Vec<_>, Vec<_>) = samples.into_iter().partition(|sample| known.insert(sample.digest));
    if !copies.is_empty() {
        log::warn!(
            "{} left out since another one is the same, byte for byte: {}. One part counts once, or the rate is promised on parts that are \
             not there",
            are(copies.len() as u64, "image"),
            named(&copies.iter().map(|sample| &sample.path).collect::<Vec<_>>())
        );
    }
    samples
}

/// Refuses images that are nothing like the model's normal parts.
///
/// # Errors
///
/// Their mean distance is more than [`FOREIGN`] deviations from that of the training's normal parts.
pub(super) fn like_normal_parts(class: &str, reference: &ScoreReference) -> Result<()> {
    let (mean, _) = strangeness(reference);
    if mean.is_nan() || mean > FOREIGN {
        return Err(Error::usage(unlike_told(class, reference)).advise(format!(
            "give images of normal parts of '{class}'; if these are, the camera or the light is another: train again with such images"
        )));
    }
    Ok(())
}

/// That images which gave these constants are less like the model's normal parts than normal parts of another day are, in words: there are
/// defective ones among them, or the camera or the light is another. `None` where they are not.
pub(super) fn unlike(class: &str, reference: &ScoreReference) -> Option<String> {
    let (mean, deviation) = strangeness(reference);
    (mean > UNUSUAL_MEAN || deviation > UNUSUAL_DEVIATION).then(|| unlike_told(class, reference))
}

/// By how many deviations of the training's normal parts the mean differs, and how many times as much they scatter, on the level that is
/// worst.
fn strangeness(reference: &ScoreReference) -> (f32, f32) {
    // By the total order, in which what is not a number is the largest.
    let largest = |values: &[f32]| values.iter().map(|value| value.abs()).max_by(f32::total_cmp).unwrap_or(f32::NAN);
    (largest(&reference.mean), largest(&reference.deviation))
}

fn unlike_told(class: &str, reference: &ScoreReference) -> String {
    let (mean, deviation) = strangeness(reference);
    format!(
        "these images are not like the normal parts of '{class}' that the model knows: their distances differ by {mean:.2} \
         deviations in the mean and scatter {deviation:.2} times as much"
    )
}

/// Images whose scores stand clearly apart from those of the parts: one that shows a defect sets a threshold that lets such pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Apart {
    /// Their files' names, the highest score first; there is one at least.
    pub files: Vec<String>,
    /// By how much they stand apart, in words.
    pub told: String,
}

impl Apart {
    /// Of images with their scores, those that stand apart from `parts`, the scores of the parts; `None` where none does. Of fewer than
    /// [`FEWEST_PARTS`] nobody can tell what is far from the rest, unless it is no number.
    pub(super) fn of(parts: &[f32], images: &[(String, f32)]) -> Option<Self> {
        let mut scores = parts.to_vec();
        scores.sort_unstable_by(f32::total_cmp);
        let last = scores.len().checked_sub(1)?;
        let (median, most) = (scores[last / 2], scores[last * (ONE_IN - 1) / ONE_IN]);
        // Behind an exponential tail by ln(n / MANY_PARTS) of its scale, of which there are ln 10 from the median to nineteen of twenty.
        let farther = (parts.len() as f32 / MANY_PARTS).max(1.0).log10();
        let limit =
            if parts.len() < FEWEST_PARTS { f32::INFINITY } else { median + (APART + farther) * (most - median) };
        // A score that is not a number is above all.
        let mut found = images.iter().filter(|(_, score)| score.is_nan() || *score > limit).collect::<Vec<_>>();
        found.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let (_, highest) = found.first()?;
        let told = format!(
            "the highest score is {highest:.2}; the median is {median:.2}, and nineteen of twenty parts have at most {most:.2}"
        );
        Some(Apart { files: found.iter().map(|(file, _)| file.clone()).collect(), told })
    }
}

/// The first few, and how many more.
fn named(paths: &[&PathBuf]) -> String {
    few(&paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>())
}

/// The same of names.
pub(super) fn few(names: &[impl AsRef<str>]) -> String {
    let first = names.iter().take(NAMED).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::picture::Statistics;

    #[test]
    fn a_copy_of_a_picture_is_no_other_part() {
        let sample = |name: &str, content: &[u8]| Sample {
            path: name.into(),
            group: None,
            size: (1, 1),
            picture: Statistics::of(&image::RgbImage::new(1, 1), None),
            maps: vec![],
            digest: Digest::of(content),
            resembles: None,
        };
        let kept = once(vec![sample("a", b"1"), sample("b", b"2"), sample("copy of a", b"1"), sample("c", b"3")]);
        assert_eq!(kept.iter().map(|sample| sample.path.to_str().unwrap()).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn images_that_stand_apart_are_named_and_what_merely_is_the_highest_is_not() {
        let of = |count: usize, top: &[f32]| {
            let normal = (0..count - top.len()).map(|number| 1.0 + 0.02 * number as f32);
            let scores = normal.chain(top.iter().copied()).collect::<Vec<_>>();
            let named = scores.iter().enumerate().map(|(number, score)| (format!("{number:03}.png"), *score));
            Apart::of(&scores, &named.collect::<Vec<_>>())
        };
        assert_eq!(of(40, &[]), None);
        assert_eq!(of(40, &[2.3]), None);
        let one = of(40, &[9.0]).unwrap();
        assert!(one.files == ["039.png"] && one.told.starts_with("the highest score is 9.00"), "{one:?}");
        assert_eq!(of(40, &[8.0, 9.0]).unwrap().files, ["039.png", "038.png"]);
        assert!(of(40, &[f32::NAN]).is_some(), "what is not a number is told of");
        assert_eq!(Apart::of(&[], &[]), None);
        // What is far from a hundred parts is what a thousand have among them: here 3.5 times as far as nineteen of twenty.
        let far = |count: usize| 1.0 + 0.02 * count as f32 * (0.5 + 3.5 * 0.45);
        assert!(of(100, &[far(100)]).is_some() && of(1000, &[far(1000)]).is_none());
        assert!(of(1000, &[1.2 * far(1000)]).is_some());
        // The second highest of so few is all that the highest could be held against.
        assert_eq!(of(9, &[9.0]), None);
        assert!(of(10, &[9.0]).is_some() && of(3, &[f32::NAN]).is_some());
    }

    #[test]
    fn what_is_nothing_like_normal_parts_is_refused() {
        let verdict = |mean: [f32; 2], deviation: [f32; 2]| {
            let reference = ScoreReference::new(mean.into(), deviation.into());
            like_normal_parts("cap", &reference).map_err(|error| error.kind().exit_code())
        };
        assert_eq!(verdict([0.2, -0.1], [1.1, 1.2]), Ok(()));
        assert_eq!(verdict([0.55, 1.86], [1.67, 2.87]), Ok(()), "a person may take them");
        assert_eq!(verdict([4.07, 8.62], [2.15, 3.49]), Err(2));
        assert_eq!(verdict([0.0, f32::NAN], [1.0, 1.0]), Err(2));
        let is_unlike = |mean, deviation| unlike("cap", &ScoreReference::new(vec![mean], vec![deviation])).is_some();
        assert_eq!([is_unlike(0.3, 1.3), is_unlike(-0.6, 1.0), is_unlike(0.0, 1.7)], [false, true, true]);
    }
}
