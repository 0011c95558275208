//! From the mosaic of a Bayer filter (US patent 3,971,065) to full colour, bilinear: a colour that the filter keeps from a
//! pixel is the mean of its nearest neighbours that have it. What is learned and what is inspected go through the same
//! interpolation, so its soft edges are part of what is normal.

use image::RgbImage;

use super::Plane;
use crate::{Error, Result};

/// Fills `image` from `mosaic`, whose pixel at `red` (column and row, 0 or 1 each) is red. At the border the picture is
/// mirrored about its outermost pixels, which keeps the colours' pattern.
///
/// # Errors
///
/// The picture has only one row or column, so colours are missing.
pub(super) fn demosaic(mosaic: &Plane, red: (usize, usize), image: &mut RgbImage) -> Result<()> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width < 2 || height < 2 {
        return Err(Error::device(format!("a Bayer mosaic of {width}x{height} pixels does not hold every colour")));
    }
    for (y, rgb) in image.chunks_exact_mut(width * 3).enumerate() {
        let (above, below) = neighbours(y, height);
        let rows = [above, y, below].map(|y| &mosaic.row(y)[..width]);
        let is_red_row = y % 2 == red.1;
        for (x, rgb) in rgb.chunks_exact_mut(3).enumerate() {
            let colours = match (x % 2 == red.0, is_red_row) {
                (true, true) => at_red_or_blue(rows, x),
                (false, false) => reversed(at_red_or_blue(rows, x)),
                (false, true) => at_green(rows, x),
                (true, false) => reversed(at_green(rows, x)),
            };
            rgb.copy_from_slice(&colours);
        }
    }
    Ok(())
}

/// The places before and after `at` of `length` that have the same colours of the filter.
fn neighbours(at: usize, length: usize) -> (usize, usize) {
    (at.checked_sub(1).unwrap_or(1), if at + 1 < length { at + 1 } else { length - 2 })
}

/// The pixel's own colour, green, and the colour of its diagonal neighbours.
fn at_red_or_blue([above, row, below]: [&[u8]; 3], x: usize) -> [u8; 3] {
    let (left, right) = neighbours(x, row.len());
    let green = mean([row[left], row[right], above[x], below[x]]);
    [row[x], green, mean([above[left], above[right], below[left], below[right]])]
}

/// The colour of the pixel's row, green, and the colour of the rows above and below.
fn at_green([above, row, below]: [&[u8]; 3], x: usize) -> [u8; 3] {
    let (left, right) = neighbours(x, row.len());
    [mean([row[left], row[right]]), row[x], mean([above[x], below[x]])]
}

fn reversed([first, second, third]: [u8; 3]) -> [u8; 3] {
    [third, second, first]
}

/// Rounded to the nearest, halves up.
fn mean<const N: usize>(values: [u8; N]) -> u8 {
    let sum: usize = values.iter().map(|value| usize::from(*value)).sum();
    // The mean of bytes is a byte.
    ((sum + N / 2) / N) as u8
}
