//! The centers of a bundle's mixture, as many as a page can show.

use hgad::bundle::Bundle;
use ndarray::{Array2, Axis, s};

use super::Known;
use crate::latents::all_centers;

/// So many are shown against each other: a picture of their distances has the square of it.
const MOST: usize = 400;

/// Centers of a level.
pub(super) struct Shown {
    /// They themselves `(Y * M, D)`, class by class, the main one of each first.
    pub centers: Array2<f32>,
    /// How many of each class are among them.
    pub of_class: usize,
    /// What is left out.
    pub note: &'static str,
}

impl Shown {
    /// Of a level of a bundle; main ones alone where all would be too many.
    pub fn of(bundle: &Bundle, level: usize) -> Known<Self> {
        let method = bundle.manifest.training.get("method").and_then(|method| method.as_str()).unwrap_or("hgad");
        if method != "hgad" {
            return Err(format!("the method {method} has no mixture of centers"));
        }
        let centers = &bundle.centers.levels[level];
        let (classes, of_class) = (centers.mu.nrows(), centers.dmu.len_of(Axis(1)) + 1);
        if classes * of_class <= MOST {
            return Ok(Shown { centers: all_centers(centers), of_class, note: "" });
        }
        let centers = centers.mu.slice(s![..classes.min(MOST), ..]).to_owned();
        Ok(Shown {
            centers,
            of_class: 1,
            note: " (the main ones alone: all would be too many; of more than 400 products the first)",
        })
    }

    /// Between all of them `(Y * M, Y * M)`, by one product of matrices.
    pub fn distances(&self) -> Array2<f32> {
        distances(&self.centers)
    }
}

fn distances(centers: &Array2<f32>) -> Array2<f32> {
    // Single precision would lose what is left of two large squares.
    let centers = centers.mapv(f64::from);
    let squares = centers.map_axis(Axis(1), |row| row.dot(&row));
    let products = centers.dot(&centers.t());
    Array2::from_shape_fn(products.dim(), |(a, b)| match a == b {
        true => 0.0,
        false => (squares[a] + squares[b] - 2.0 * products[[a, b]]).max(0.0).sqrt() as f32,
    })
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn distances_are_those_of_the_definition() {
        let distances = distances(&array![[0.0, 0.0], [3.0, 4.0], [12.0, 0.0]]);
        assert_eq!(distances, array![[0.0, 5.0, 12.0], [5.0, 0.0, 97f32.sqrt()], [12.0, 97f32.sqrt(), 0.0]]);
    }
}
