//! Networks that were trained elsewhere and give anomaly maps or scores themselves, as bundles like any other.
//!
//! What is usual of their maps on normal images is measured like that of our own distances, and all else follows: calibration,
//! evaluation and a line know no difference.

mod fixed;
mod network;
mod resample;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hgad::bundle::{
    Arithmetic, Bundle, Centers, Distance, Draft, FORMAT_VERSION, Golden, LevelCenters, Manifest, ParityBound,
    Precision, ScoreReference,
};
use hgad::dataset::read_rgb;
use hgad::digest::Digest;
use hgad::inspect::Inspector;
use hgad::time::stamp;
use hgad::{Error, Result};
use ndarray::{Array1, Array2, Array3, Axis};

use crate::export::{WRITTEN_BY, normals};
use crate::features::ImageFile;

pub use network::{Network, Wanted};

/// So many normal images of each product tell how far a network's outputs spread.
const SPREAD_IMAGES: usize = 8;

/// What goes into a bundle besides the network.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The network.
    pub network: &'a Network,
    /// The products that it knows.
    pub classes: &'a [String],
    /// The images of every class that training saw: they tell what is usual.
    pub trained_on: &'a [Vec<ImageFile>],
    /// Normal images of every class that training did not see: they fix the score's reference constants.
    pub normals: &'a [Vec<PathBuf>],
    /// What else the manifest tells of the training: data digests.
    pub training: &'a toml::Table,
    /// The bundle's directory; one that stands there is replaced.
    pub out: &'a Path,
}

/// Writes the bundle.
///
/// # Errors
///
/// The runtime cannot load or run the network, an image cannot be read, or the bundle cannot be written (device errors); an
/// output is the same for all images (a failed check).
pub fn import_bundle(request: &Request) -> Result<Bundle> {
    let network = request.network;
    let mut bundle = in_memory(request, network.encode(&vec![1.0; network.levels.len()]));
    log::info!("running the network on normal images");
    let spreads = spreads(&bundle, request)?;
    bundle.model = network.encode(&spreads);
    log::info!("measuring what is usual of the training images, then of the other normal ones");
    normals::fit_usual(&mut bundle, request.trained_on, Distance::Map, &[])?;
    let others = normals::fit_references(&bundle, request.normals)?;
    usual_of_others(&mut bundle.centers, &others);
    bundle.golden = normals::golden(&bundle, request.normals)?;
    let Bundle { manifest, model, centers, golden, trained_on, .. } = bundle;
    log::info!("writing the bundle {}", request.out.display());
    Draft { manifest, model, centers, golden, trained_on }.write(request.out)
}

/// Takes the level of `others`, images that training did not see, into what is usual: a network knows the images that it was
/// trained on too well, and there is no training it again without some of them. Places keep their share.
fn usual_of_others(centers: &mut Centers, others: &[ScoreReference]) {
    for (l, profile) in centers.profiles.iter_mut().enumerate() {
        for (class, of_class) in others.iter().enumerate() {
            let mut deviation = profile.deviation.index_axis_mut(Axis(0), class);
            profile.mean.index_axis_mut(Axis(0), class).scaled_add(of_class.mean[l], &deviation);
            deviation *= of_class.deviation[l];
        }
    }
    let levels = centers.profiles.len();
    centers.references = vec![ScoreReference::new(vec![0.0; levels], vec![1.0; levels]); others.len()];
}

/// How far each output spreads over some normal images, as a standard deviation: bounds for boards' rounding are in this unit.
fn spreads(bundle: &Bundle, request: &Request) -> Result<Vec<f32>> {
    let mut inspector = Inspector::new(bundle)?;
    let mut values = vec![Vec::new(); request.network.levels.len()];
    for image in request.normals.iter().flat_map(|images| images.iter().take(SPREAD_IMAGES)) {
        let maps = inspector.latents(&read_rgb(image)?)?.z;
        values.iter_mut().zip(maps).for_each(|(values, map)| values.extend(map.iter().map(|value| f64::from(*value))));
    }
    let spread = |(level, values): (&hgad::bundle::Level, &Vec<f64>)| {
        let values = Array1::from_vec(values.clone());
        let spread = values.std(0.0) as f32;
        match spread.is_normal() && spread.recip().is_normal() {
            true => Ok(spread),
            false => Err(Error::check(format!("output {} is the same for all normal images", level.tap))
                .because(format!("it is {} everywhere", values.mean().unwrap_or(f64::NAN)))
                .advise("export the network without what normalises, cuts off or thresholds its output, and see that the image is read as it wants it (--normalize)")),
        }
    };
    request.network.levels.iter().zip(&values).map(spread).collect()
}

/// The bundle before anything was measured on it.
fn in_memory(request: &Request, model: Vec<u8>) -> Bundle {
    let network = request.network;
    let backbone = toml::Table::from_iter([
        ("file".to_owned(), network.name.clone().into()),
        ("sha256".to_owned(), network.digest.to_string().into()),
        ("normalise".to_owned(), network.normalise.to_string().into()),
    ]);
    let mut training = request.training.clone();
    training.insert("method".to_owned(), "imported".into());
    training.insert("backbone".to_owned(), backbone.into());
    let classes = request.classes.len();
    // A network that gives maps tells products from each other by nothing: all are equally likely.
    let centers = LevelCenters {
        mu: Array2::zeros((classes, 1)),
        dmu: Array3::zeros((classes, 0, 1)),
        psi: Array1::zeros(classes),
        psi_in: Array2::zeros((classes, 1)),
    };
    Bundle {
        manifest: Manifest {
            format_version: FORMAT_VERSION,
            created: stamp(),
            written_by: WRITTEN_BY.to_owned(),
            classes: request.classes.to_vec(),
            precision: Precision::F32,
            arithmetic: Arithmetic::Float,
            distance: Distance::Map,
            input: network.size,
            parity: ParityBound::default(),
            levels: network.levels.clone(),
            training,
            files: Default::default(),
        },
        digest: Digest::zero(),
        model,
        centers: Centers {
            levels: vec![centers; network.levels.len()],
            cells: None,
            profiles: Vec::new(),
            references: Vec::new(),
        },
        golden: Golden::default(),
        trained_on: Some(request.trained_on.iter().flatten().map(|image| image.digest).collect::<BTreeSet<_>>()),
    }
}
