//! A further product in a model that was trained on others: the network stays as it is, and what is usual of the new product is measured
//! in its latents.
//!
//! A flow that never saw a product still maps its features without loss, but not to a standard Gaussian about a center: nothing drew them
//! there. So the Gaussians of its cells, mean and covariance, are measured as they are of every product, and its center is put where its
//! latents lie. All of this has a closed form, and there is nothing left to train. What the others' scores are measured from stays as
//! it is, to the last bit; what can change is which product a frame is taken for. Where the others' images lie, in the mean, nearer to the
//! new center than to their own, nothing is written; how single frames fare a calibration of theirs shows, which counts such images.

use std::path::{Path, PathBuf};

use hgad::bundle::{Arithmetic, Bundle, CellGaussians, Distance, DistanceProfile, Draft, LevelCenters, ScoreReference};
use hgad::digest::Digest;
use hgad::inspect::batch::for_each_image;
use hgad::inspect::{cells, mixture, score};
use hgad::print::counted;
use hgad::time::stamp;
use hgad::{Error, Result};
use ndarray::{Array1, Array2, Array3, Axis, RemoveAxis, concatenate};

use crate::export::{WRITTEN_BY, normals};
use crate::features::ImageFile;

/// From fewer images a Gaussian of hundreds of channels is little more than a guess.
const FEWEST: usize = 10;

/// One normal image in so many may be taken for another product: of more, calibration refuses the folder.
const ONE_IN: usize = 20;

/// What helps where products are not told apart.
const TRAIN_AGAIN: &str = "train again with all products (hgad-train train): then their centers are drawn apart";

/// What to add.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The model of the other products.
    pub bundle: &'a Bundle,
    /// The new product's name.
    pub product: &'a str,
    /// Its images that tell what is usual.
    pub images: &'a [ImageFile],
    /// Others of its normal images: they fix the score's reference constants.
    pub normals: &'a [PathBuf],
    /// The new bundle's directory; one that stands there is replaced.
    pub out: &'a Path,
}

/// Writes the bundle with one class more, the last one.
///
/// # Errors
///
/// As [`check`], or too few images (usage errors); normal parts of the new product are taken for others, or the others' for it (a check);
/// an image that cannot be read, a bundle that cannot be written (device errors).
pub fn extend_bundle(request: &Request) -> Result<Bundle> {
    let Request { bundle: old, product, images, normals: others, out } = *request;
    check(old, product)?;
    enough(product, images, others)?;
    let class = old.manifest.classes.len();
    let mut bundle = old.clone();
    bundle.manifest.classes.push(product.to_owned());
    log::info!("measuring what is usual of {product}, then of its other normal images");
    measure(&mut bundle, old, images)?;
    others_are_told(&bundle)?;
    let reference = reference(&bundle, others)?;
    bundle.centers.references.push(reference);
    if class < normals::GOLDEN_CLASSES {
        bundle.golden.frames.extend(normals::golden_frames(&bundle, [(class, others)])?);
    }
    if let Some(seen) = &mut bundle.trained_on {
        seen.extend(images.iter().map(|image| image.digest));
    }
    bundle.manifest.created = stamp();
    bundle.manifest.written_by = WRITTEN_BY.to_owned();
    tell(&mut bundle.manifest.training, old.digest, product, images);
    let Bundle { manifest, model, centers, golden, trained_on, .. } = bundle;
    Draft { manifest, model, centers, golden, trained_on }.write(out)
}

/// Whether a bundle can have a further product of that name.
///
/// # Errors
///
/// It has one of that name, measures distances from learned centers or gives maps itself, computes in 8 bits, or does not list the images
/// that it was trained on.
pub fn check(bundle: &Bundle, product: &str) -> Result<()> {
    let manifest = &bundle.manifest;
    if manifest.classes.iter().any(|class| class == product) {
        return Err(Error::usage(format!("the model knows {product} already"))
            .because(format!("its products are {}", manifest.classes.join(", ")))
            .advise("to learn it from other images, train again with all products (hgad-train train)"));
    }
    match manifest.distance {
        Distance::Cells => {}
        Distance::Centers => {
            return Err(Error::usage("the model measures from learned centers, and a product that it was not trained on has none")
                .advise("measure from Gaussians of cells first (hgad-train refit --distance cells); for --method memory, train again"));
        }
        Distance::Map => {
            return Err(Error::usage("an imported network gives its maps itself: there are no latents to measure")
                .advise("import it again with the images of all products (hgad-train import)"));
        }
    }
    if manifest.arithmetic != Arithmetic::Float {
        return Err(Error::usage("a bundle that computes in 8 bits cannot be extended")
            .advise("extend the bundle that it was made from, and quantise that again (hgad-train quantize)"));
    }
    match bundle.trained_on {
        Some(_) => Ok(()),
        None => Err(Error::usage("the model does not tell which images it was trained on")
            .because("calibration must be able to refuse those of every product")
            .advise("train again with all products (hgad-train train)")),
    }
}

fn enough(product: &str, images: &[ImageFile], others: &[PathBuf]) -> Result<()> {
    let refused = |what: String| {
        Error::usage(what)
            .advise(format!("add normal images: at least {FEWEST} to learn from, and one that is held out"))
    };
    if images.len() < FEWEST {
        let has = counted(images.len() as u64, "image");
        return Err(refused(format!("{product} has {has} to learn from, which is too few")));
    }
    match others.is_empty() {
        true => Err(refused(format!("{product} has no normal image that is held out"))),
        false => Ok(()),
    }
}

/// Appends what is usual of the new class, from its images as the old bundle sees them.
fn measure(bundle: &mut Bundle, old: &Bundle, images: &[ImageFile]) -> Result<()> {
    let mut gaussians = Vec::new();
    for (l, latents) in normals::latents_of(old, images)?.iter().enumerate() {
        let (of_class, distances) = cells::fit(&latents.iter().map(|z| z.view()).collect::<Vec<_>>());
        if let Some(known) = &old.centers.cells {
            gaussians.push(CellGaussians::join(&[known[l].clone(), of_class]));
        }
        let (profile, new) = (&mut bundle.centers.profiles[l], score::fit_profile(&[distances]));
        *profile = DistanceProfile {
            mean: below(&profile.mean, &new.mean),
            deviation: below(&profile.deviation, &new.deviation),
        };
        let level = &mut bundle.centers.levels[l];
        *level = with_center(level, center(latents));
    }
    bundle.centers.cells = Some(gaussians.into());
    Ok(())
}

/// Where images lie as wholes `(D)`: of each channel the median of the images' mean latents `(D, h, w)`.
///
/// Which product a frame shows goes by its mean latents alone. Their mean over all images would be the likeliest center, had a flow drawn
/// them to it; this one has not, and one image in which a channel wakes that was silent in all products before can lie a hundred times as
/// far out as the rest.
fn center(latents: &[Array3<f32>]) -> Array1<f32> {
    let mean = |z: &Array3<f32>| z.mapv(f64::from).sum_axis(Axis(2)).sum_axis(Axis(1)) / (z.len() / z.dim().0) as f64;
    let of_images = latents.iter().map(mean).collect::<Vec<_>>();
    (0..of_images[0].len()).map(|channel| median(of_images.iter().map(|z| z[channel]).collect()) as f32).collect()
}

/// Of an even number the mean of the two in the middle; there is one at least.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

/// A mixture with a class more, whose centers are all in one place: whether a frame looks like it, and nothing else, is told by that.
fn with_center(level: &LevelCenters, center: Array1<f32>) -> LevelCenters {
    let (_, offsets, channels) = level.dmu.dim();
    // One Gaussian for all products tells none from another, and must not begin to.
    let one = level.mu.nrows() > 1 && level.mu.outer_iter().all(|mu| mu == level.mu.row(0));
    let mu = if one { level.mu.row(0).to_owned() } else { center };
    let psi = level.psi.mean().unwrap_or(0.0);
    LevelCenters {
        mu: below(&level.mu, &mu.insert_axis(Axis(0))),
        dmu: below(&level.dmu, &Array3::zeros((1, offsets, channels))),
        psi: below(&level.psi, &Array1::from_elem(1, psi)),
        psi_in: below(&level.psi_in, &Array2::zeros((1, offsets + 1))),
    }
}

/// The classes of one array, then those of another.
fn below<D: RemoveAxis>(first: &ndarray::Array<f32, D>, second: &ndarray::Array<f32, D>) -> ndarray::Array<f32, D> {
    concatenate(Axis(0), &[first.view(), second.view()]).expect("both are of the same level")
}

/// Refuses a new class, the last one, to which normal parts of another lie nearer than to their own, in the mean.
///
/// This needs no images of theirs: what one class has over another is linear in the latents, so that its mean over a class's training
/// images is what it is at their mean, and that is the mean of the class's Gaussians.
fn others_are_told(bundle: &Bundle) -> Result<()> {
    let (Some(gaussians), [known @ .., product]) = (&bundle.centers.cells, &bundle.manifest.classes[..]) else {
        return Ok(());
    };
    for (class, name) in known.iter().enumerate() {
        let ahead = gaussians.iter().zip(&bundle.centers.levels).map(|(gaussians, centers)| {
            let cells = gaussians.mean.index_axis(Axis(0), class);
            let (h, w, d) = cells.dim();
            let mean = (cells.mapv(f64::from).sum_axis(Axis(0)).sum_axis(Axis(0)) / (h * w) as f64).mapv(|z| z as f32);
            let z = mean.into_shape_with_order((d, 1, 1)).expect("one position of all channels");
            let evidence = mixture::class_evidence(z.view(), centers, None);
            evidence[known.len()] - evidence[class]
        });
        if ahead.sum::<f32>() > 0.0 {
            return Err(Error::check(format!(
                "normal parts of {name} lie nearer to {product} than to {name}, in the mean: nothing was written"
            ))
            .because("in the latents of this model the two lie side by side")
            .advise(format!("if they are one product, calibrate {name} for both; else {TRAIN_AGAIN}")));
        }
    }
    Ok(())
}

/// The reference constants of the new class, the last one, from normal images that nothing was measured of.
///
/// # Errors
///
/// Too many of them are taken for another product.
fn reference(bundle: &Bundle, images: &[PathBuf]) -> Result<ScoreReference> {
    let classes = &bundle.manifest.classes;
    let class = classes.len() - 1;
    // It is none that a frame may look like before it has its constants; here it is asked of the others alone.
    let examined =
        for_each_image(bundle, "references", images, |inspector, _, _, image| inspector.examine(&image, class, None))?;
    let strangers = images.iter().zip(&examined).filter_map(|(path, (_, other))| Some((path, (*other)?)));
    let strangers = strangers.collect::<Vec<_>>();
    if let Some((path, other)) = strangers.first() {
        let what = format!(
            "{} of {} of {} would be taken for another product: {} for {}",
            strangers.len(),
            counted(images.len() as u64, "normal image"),
            classes[class],
            path.display(),
            classes[*other]
        );
        if ONE_IN * strangers.len() > images.len() {
            return Err(Error::check(format!("{what}; nothing was written"))
                .because(
                    "the network was not trained to tell this product, and its features lie beyond those that it knows",
                )
                .advise(TRAIN_AGAIN));
        }
        log::warn!("{what}. Parts like these are rejected whatever the threshold is");
    }
    let maps = examined.into_iter().map(|(maps, _)| maps).collect::<Vec<_>>();
    Ok(score::fit_reference(&maps, None))
}

/// Writes into the manifest's `training` table what was added, and to which bundle.
fn tell(training: &mut toml::Table, from: Digest, product: &str, images: &[ImageFile]) {
    let digests = images.iter().map(|image| image.digest.to_string()).collect::<Vec<_>>();
    let seen = toml::Table::from_iter([
        ("images".to_owned(), toml::Value::from(digests.len() as i64)),
        ("sha256_of_digests".to_owned(), Digest::of(digests.join("\n")).to_string().into()),
    ]);
    if let toml::Value::Table(data) = training.entry("data").or_insert_with(|| toml::Table::new().into()) {
        data.insert(product.to_owned(), seen.into());
    }
    let step =
        toml::Table::from_iter([("from".to_owned(), from.to_string().into()), ("product".to_owned(), product.into())]);
    if let toml::Value::Array(steps) = training.entry("extended").or_insert_with(|| toml::Value::Array(Vec::new())) {
        steps.push(step.into());
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_center_is_where_most_images_lie_whatever_one_does() {
        let image = |first: f32, second: f32| array![[[first - 1.0, first + 1.0]], [[second, second]]];
        let images = [image(1.0, 5.0), image(3.0, 6.0), image(2.0, 7.0), image(-900.0, 1e6), image(4.0, 6.5)];
        assert_eq!(center(&images), array![2.0, 6.5]);
        assert_eq!(center(&images[..2]), array![2.0, 5.5], "of two it is half way");
        assert_eq!(center(&images[..1]), array![1.0, 5.0]);
    }

    #[test]
    fn a_class_is_put_below_the_others_which_stay() {
        let known = LevelCenters {
            mu: array![[0.0, 1.0], [2.0, 3.0]],
            dmu: array![[[0.5, 0.5]], [[-0.5, 0.0]]],
            psi: array![1.0, 3.0],
            psi_in: array![[0.1, 0.2], [0.3, 0.4]],
        };
        let more = with_center(&known, array![7.0, 8.0]);
        assert_eq!(more.mu, array![[0.0, 1.0], [2.0, 3.0], [7.0, 8.0]]);
        assert_eq!(more.dmu, array![[[0.5, 0.5]], [[-0.5, 0.0]], [[0.0, 0.0]]]);
        assert_eq!(more.psi, array![1.0, 3.0, 2.0]);
        assert_eq!(more.psi_in, array![[0.1, 0.2], [0.3, 0.4], [0.0, 0.0]]);
        let one = LevelCenters { mu: array![[0.0, 1.0], [0.0, 1.0]], ..known };
        assert_eq!(
            with_center(&one, array![7.0, 8.0]).mu.row(2),
            array![0.0, 1.0],
            "what tells none goes on to tell none"
        );
    }
}
