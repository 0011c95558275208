//! What a bundle's network makes of test images, before distances and thresholds: which product it takes each for, and where some of
//! the latents lie.

use std::path::Path;

use hgad::Result;
use hgad::bundle::Bundle;
use hgad::dataset::{TestImage, products, read_mask, sample_mask};
use hgad::inspect::batch::for_each_image;
use hgad::inspect::{Latents, mixture};
use ndarray::{Array1, Array2, ArrayView1, Axis, s};

use super::centers::Shown;

/// So many latents of good parts are shown of each product, and of defects at most as many.
const SHOWN: usize = 240;
/// Rounds of the power iteration; the plane is for the eye.
const ROUNDS: usize = 200;

/// What was seen.
pub(super) struct Seen {
    /// How many images of each product (row) are taken for each product (column); good ones and defective ones.
    pub confusion: [Array2<usize>; 2],
    /// The plane, where there is one.
    pub plane: Option<Plane>,
}

/// Latents of the last level in the plane in which those of good parts spread most.
pub(super) struct Plane {
    /// The level's name.
    pub level: String,
    /// The share of the spread that each axis holds.
    pub shares: [f64; 2],
    /// Latents of good parts, by class.
    pub normal: Vec<Vec<[f64; 2]>>,
    /// Latents of defects, where masks tell these.
    pub anomalous: Vec<[f64; 2]>,
    /// The centers that are shown, by class; none where the method has no mixture.
    pub centers: Vec<Vec<[f64; 2]>>,
}

/// One image: the likeliest class, and some of the latents.
struct Glance {
    likeliest: usize,
    latents: Vec<Array1<f32>>,
}

/// Looks at all test images.
pub(super) fn see(bundle: &Bundle, test: &Path) -> Result<Seen> {
    let classes = &bundle.manifest.classes;
    let mut confusion = [Array2::zeros((classes.len(), classes.len())), Array2::zeros((classes.len(), classes.len()))];
    let (mut normal, mut anomalous) = (Vec::new(), Vec::new());
    for (class, product) in products(test, Some(classes))?.iter().enumerate() {
        let images = product.test()?;
        let paths = images.iter().map(|image| image.image.clone()).collect::<Vec<_>>();
        let glances = for_each_image(bundle, &product.name, &paths, |inspector, number, _, image| {
            glance(bundle, &inspector.latents(&image)?, &images[number], number, images.len())
        })?;
        let mut of_good = Vec::new();
        for (image, glance) in images.iter().zip(glances) {
            confusion[usize::from(image.is_defective())][[class, glance.likeliest]] += 1;
            if image.is_defective() { &mut anomalous } else { &mut of_good }.extend(glance.latents);
        }
        normal.push(of_good);
    }
    Ok(Seen { confusion, plane: plane(bundle, &normal, &anomalous) })
}

fn glance(bundle: &Bundle, latents: &Latents, test: &TestImage, number: usize, images: usize) -> Result<Glance> {
    let levels = latents.z.iter().zip(&bundle.centers.levels);
    let evidence = levels.map(|(z, centers)| Array1::from(mixture::class_evidence(z.view(), centers, None)));
    let evidence = evidence.fold(Array1::<f32>::zeros(bundle.manifest.classes.len()), |sum, level| sum + level);
    let likeliest = evidence.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(class, _)| class);
    let z = &latents.z[latents.z.len() - 1];
    let (_, h, w) = z.dim();
    let places = match (&test.mask, test.is_defective()) {
        (Some(mask), _) => {
            let mask = sample_mask(&read_mask(mask)?, (h, w));
            mask.indexed_iter().filter(|(_, defect)| **defect).map(|(place, _)| place).collect()
        }
        (None, true) => Vec::new(),
        (None, false) => (0..h * w).map(|place| (place / w, place % w)).collect::<Vec<_>>(),
    };
    // Other places in each image: a stride that shares no factor with a power of two.
    let wanted = SHOWN.div_ceil(images.max(1)).min(places.len());
    let chosen = (0..wanted).map(|i| places[(number * 7919 + i * places.len() / wanted) % places.len()]);
    Ok(Glance { likeliest, latents: chosen.map(|(y, x)| z.slice(s![.., y, x]).to_owned()).collect() })
}

fn plane(bundle: &Bundle, normal: &[Vec<Array1<f32>>], anomalous: &[Array1<f32>]) -> Option<Plane> {
    let all = normal.iter().flatten().map(|z| z.mapv(f64::from)).collect::<Vec<_>>();
    let d = all.first()?.len();
    if d < 2 {
        return None;
    }
    let mean = all.iter().fold(Array1::<f64>::zeros(d), |sum, z| sum + z) / all.len() as f64;
    let mut covariance = Array2::<f64>::zeros((d, d));
    for z in &all {
        let apart = (z - &mean).insert_axis(Axis(1));
        covariance += &apart.dot(&apart.t());
    }
    let spread = covariance.diag().sum().max(f64::MIN_POSITIVE);
    let (first, along) = principal(&covariance);
    let column = first.view().insert_axis(Axis(1));
    let rest = &covariance - &(column.dot(&column.t()) * along);
    let (second, across) = principal(&rest);
    let place = |z: ArrayView1<f32>| {
        let apart = z.mapv(f64::from) - &mean;
        [first.dot(&apart), second.dot(&apart)]
    };
    let centers = Shown::of(bundle, bundle.centers.levels.len() - 1).ok();
    let (rows, of_class) = centers
        .map_or_else(|| (Vec::new(), 1), |shown| (shown.centers.outer_iter().map(place).collect(), shown.of_class));
    Some(Plane {
        level: bundle.manifest.levels.last()?.tap.clone(),
        shares: [along / spread, across / spread],
        normal: normal.iter().map(|class| class.iter().map(|z| place(z.view())).collect()).collect(),
        anomalous: anomalous.iter().map(|z| place(z.view())).collect(),
        centers: rows.chunks(of_class).map(<[_]>::to_vec).collect(),
    })
}

/// The direction of the largest eigenvalue of a symmetric matrix, and that, by power iteration.
fn principal(matrix: &Array2<f64>) -> (Array1<f64>, f64) {
    // No eigenvector is orthogonal to all of these by design.
    let mut direction = Array1::from_shape_fn(matrix.nrows(), |i| 1.0 + (i as f64 * 0.7).sin());
    let mut value = 0.0;
    for _ in 0..ROUNDS {
        direction /= direction.dot(&direction).sqrt().max(f64::MIN_POSITIVE);
        let next = matrix.dot(&direction);
        value = next.dot(&direction);
        if next.dot(&next) <= f64::MIN_POSITIVE {
            break;
        }
        direction = next;
    }
    direction /= direction.dot(&direction).sqrt().max(f64::MIN_POSITIVE);
    (direction, value)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_principal_direction_is_the_largest_eigenvector() {
        // Eigenvalues 4 along (1, 1), 2 along (1, -1), 1 along the last axis.
        let matrix = array![[3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 1.0]];
        let (direction, value) = principal(&matrix);
        assert!((value - 4.0).abs() < 1e-9 && (direction[0] - direction[1]).abs() < 1e-6 && direction[2].abs() < 1e-6);
        assert_eq!(principal(&Array2::zeros((2, 2))).1, 0.0);
    }
}
