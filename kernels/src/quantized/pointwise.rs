//! Pointwise (1x1) convolution of bytes.

use super::dot::{Dot, Task, dispatch, dot_tier};
use super::gemm::{Columns, Panels, Target};
use super::requantize::{Output, Quantization, Weights};
use crate::error::check_length;
use crate::geometry::elements;
use crate::scratch::Scratch;
use crate::{Error, Tier};

/// Columns that a vector of the widest tier reads.
const WIDEST: usize = 16;

/// A pointwise convolution of 8-bit images; see the [module](super) for its arithmetic, and [`crate::Pointwise`].
#[derive(Clone, Debug)]
pub struct Pointwise {
    tier: Tier,
    inputs: usize,
    positions: usize,
    panels: Panels,
}

impl Pointwise {
    /// Packs the weights, `[outputs, inputs]`, of a convolution over `positions` pixels.
    ///
    /// # Errors
    /// The tier is not this CPU's, an extent is 0, a slice's length is not the shape's, or a scale is not a positive normal number.
    pub fn new(
        tier: Tier,
        (inputs, outputs, positions): (usize, usize, usize),
        weights: Weights,
        input: Quantization,
        output: Output,
    ) -> Result<Self, Error> {
        elements(&[inputs, positions])?;
        elements(&[outputs, positions])?;
        let tier = dot_tier(tier.checked()?, positions);
        Ok(Self { tier, inputs, positions, panels: Panels::new(tier, (outputs, inputs), weights, input, output)? })
    }

    /// Elements of the input: `inputs * positions`.
    pub fn input_len(&self) -> usize {
        self.inputs * self.positions
    }

    /// Elements of the output: `outputs * positions`.
    pub fn output_len(&self) -> usize {
        self.panels.rows() * self.positions
    }

    /// Working memory that [`Pointwise::run`] uses, in bytes.
    pub fn scratch_bytes(&self) -> usize {
        self.panels.scratch_bytes() + if self.is_narrow() { self.inputs * WIDEST } else { 0 }
    }

    /// Whether a vector does not fit into a row, so that the image is copied with room behind its rows.
    fn is_narrow(&self) -> bool {
        self.positions < WIDEST
    }

    /// Convolves one image. A residual is given where the layer was made with a [`Sum`](super::Sum), and nowhere else.
    ///
    /// # Errors
    /// A slice's length is not the shape's, or a residual is missing or not wanted.
    pub fn run(
        &self,
        image: &[u8],
        residual: Option<&[u8]>,
        output: &mut [u8],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        check_length("image", self.input_len(), image.len())?;
        check_length("output", self.output_len(), output.len())?;
        self.panels.check_residual(residual, self.output_len())?;
        let target = Target {
            out: output.as_mut_ptr(),
            residual: residual.map_or(std::ptr::null(), <[u8]>::as_ptr),
            pitch: self.positions,
            columns: self.positions,
        };
        let scratch = scratch.bytes(self.scratch_bytes());
        let mut pixels = Pixels { first: image.as_ptr(), pitch: self.positions };
        // SAFETY: `new` has checked that the CPU has the tier, and the lengths were checked above. `scratch_bytes` counts the copy.
        unsafe {
            if self.is_narrow() {
                let copy = scratch.add(self.panels.scratch_bytes());
                for (i, row) in image.chunks_exact(self.positions).enumerate() {
                    copy.add(i * WIDEST).copy_from_nonoverlapping(row.as_ptr(), row.len());
                }
                pixels = Pixels { first: copy, pitch: WIDEST };
            }
            dispatch(self.tier, Run { panels: &self.panels, pixels, target, scratch });
        }
        Ok(())
    }
}

/// One run; `target` and `scratch` are as [`Panels::multiply`] wants them.
struct Run<'a> {
    panels: &'a Panels,
    pixels: Pixels,
    target: Target,
    scratch: *mut u8,
}

impl Task for Run<'_> {
    #[inline(always)]
    unsafe fn run<D: Dot>(self) {
        // SAFETY: passed on from the caller.
        unsafe { self.panels.multiply::<D, _>(&self.pixels, self.target, self.scratch) }
    }
}

/// The image itself, or its copy, as the right side.
struct Pixels {
    first: *const u8,
    pitch: usize,
}

impl Columns for Pixels {
    #[inline(always)]
    fn row(&self, depth: usize, column: usize) -> *const u8 {
        self.first.wrapping_add(depth * self.pitch + column)
    }
}
