//! Shapes of convolutions, and the clamp that follows them.

use crate::Error;

/// Zeros (or zero points) around an image, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// The same on all four sides.
    pub fn all(pixels: usize) -> Self {
        Self { top: pixels, left: pixels, bottom: pixels, right: pixels }
    }
}

/// A window that moves over an image of a fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height of the image.
    pub height: usize,
    /// Width of the image.
    pub width: usize,
    /// The window's height and width.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// What is around the image.
    pub padding: Padding,
}

impl Window {
    /// A square window.
    pub fn square(height: usize, width: usize, kernel: usize, stride: usize, padding: Padding) -> Self {
        Self { height, width, kernel: [kernel; 2], stride: [stride; 2], padding }
    }

    /// Height and width of the output.
    ///
    /// # Errors
    /// An extent or a stride is 0, the window is larger than the padded image, or the image or the stride is too large to compute with.
    pub fn output(&self) -> Result<[usize; 2], Error> {
        let Window { height, width, kernel, stride, padding } = *self;
        if [height, width, kernel[0], kernel[1], stride[0], stride[1]].contains(&0) {
            return Err(Error::Shape("an image's extent, a window's extent or a stride is 0"));
        }
        let along = |extent: usize, before: usize, after: usize, kernel: usize, stride: usize| {
            let padded = extent.checked_add(before)?.checked_add(after)?;
            Some(padded.checked_sub(kernel)? / stride + 1)
        };
        // A row in working memory has room for a vector behind the pixels of each phase of the stride (see `PhasedRow`).
        let widest = stride[1].saturating_mul(64).saturating_add(width);
        elements(&[
            height.saturating_add(padding.top).saturating_add(padding.bottom),
            widest.saturating_add(padding.left).saturating_add(padding.right),
        ])?;
        match (
            along(height, padding.top, padding.bottom, kernel[0], stride[0]),
            along(width, padding.left, padding.right, kernel[1], stride[1]),
        ) {
            (Some(rows), Some(columns)) => Ok([rows, columns]),
            _ => Err(Error::Shape("a window is larger than its padded image")),
        }
    }
}

/// No tensor and no working memory has more elements, so that lengths in bytes can be computed on every machine.
const MOST_ELEMENTS: usize = 1 << 28;

/// The elements of a tensor of these extents.
///
/// # Errors
/// An extent is 0, or there are more than [`MOST_ELEMENTS`].
pub(crate) fn elements(extents: &[usize]) -> Result<usize, Error> {
    let product = extents.iter().try_fold(1usize, |product, extent| product.checked_mul(*extent));
    product
        .filter(|product| (1..=MOST_ELEMENTS).contains(product))
        .ok_or(Error::Shape("a tensor is empty, or has more than 2^28 elements"))
}

/// The range that outputs are brought into. NaN stays NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clamp {
    /// The least output.
    pub low: f32,
    /// The largest output.
    pub high: f32,
}

impl Clamp {
    /// No clamp.
    pub const NONE: Clamp = Clamp { low: f32::NEG_INFINITY, high: f32::INFINITY };
    /// Rectified linear unit.
    pub const RELU: Clamp = Clamp { low: 0.0, high: f32::INFINITY };
    /// Rectified linear unit with a ceiling of 6.
    pub const RELU6: Clamp = Clamp { low: 0.0, high: 6.0 };

    /// Refuses an empty range.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        if self.low <= self.high { Ok(self) } else { Err(Error::Parameter("a clamp's low end is above its high end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_sizes() {
        for (height, width, kernel, stride, padding, wanted) in [
            (256, 256, 3, 2, Padding::all(1), [128, 128]),
            (7, 5, 3, 1, Padding::all(1), [7, 5]),
            (8, 8, 5, 2, Padding { top: 1, left: 1, bottom: 2, right: 2 }, [4, 4]),
            (3, 3, 3, 1, Padding::all(0), [1, 1]),
        ] {
            assert_eq!(Window::square(height, width, kernel, stride, padding).output(), Ok(wanted));
        }
        assert!(Window::square(2, 8, 3, 1, Padding::all(0)).output().is_err());
        assert!(Window::square(8, 8, 3, 0, Padding::all(0)).output().is_err());
        for (width, stride, padding) in
            [(8, usize::MAX / 2, 0), (8, 1 << 60, 0), (usize::MAX, 1, 1), (8, 1, usize::MAX)]
        {
            assert!(Window::square(8, width, 1, stride, Padding::all(padding)).output().is_err(), "{width} {stride}");
        }
    }
}
