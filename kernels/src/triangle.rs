//! Products with triangles of 8-bit weights.

use crate::Error;
use crate::error::check_length;

/// `product[i] = weights[i][0] * vector[0] + ... + weights[i][i] * vector[i]`: the product of a lower triangle of D rows with
/// a vector of D elements.
///
/// The triangle is stored by columns, one after the other; column j has rows j to D - 1. So the sums of many rows are taken
/// at a time, each from its first column to its last: plain Rust that compilers make vectors of, with the same bits on every CPU.
///
/// # Errors
/// The weights are not D (D + 1) / 2, or the product has not D elements.
pub fn multiply_triangle(weights: &[i8], vector: &[f32], product: &mut [f32]) -> Result<(), Error> {
    let d = vector.len();
    check_length("weights", d * (d + 1) / 2, weights.len())?;
    check_length("product", d, product.len())?;
    product.fill(0.0);
    let mut rest = weights;
    for (j, value) in vector.iter().enumerate() {
        let (column, after) = rest.split_at(d - j);
        rest = after;
        for (sum, weight) in product[j..].iter_mut().zip(column) {
            *sum += value * f32::from(*weight);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_triangle_is_multiplied_by_columns() {
        // Rows (1), (2 -4), (3 5 -6).
        let weights = [1, 2, 3, -4, 5, -6];
        let mut product = [f32::NAN; 3];
        multiply_triangle(&weights, &[1.0, 10.0, 100.0], &mut product).unwrap();
        assert_eq!(product, [1.0, -38.0, -547.0]);
        assert!(multiply_triangle(&weights[1..], &[1.0; 3], &mut product).is_err());
        assert!(multiply_triangle(&weights, &[1.0; 3], &mut product[1..]).is_err());
    }
}
