//! Pointwise (1x1) convolution.

use crate::error::check_length;
use crate::gemm::{Columns, Panels, Target};
use crate::geometry::{Clamp, elements};
use crate::scratch::Scratch;
use crate::simd::{Simd, Task, dispatch, float_tier};
use crate::{Error, Tier};

/// A pointwise convolution with bias, residual and clamp: `out[o, p] = clamp(sum_i weights[o, i] * image[i, p] + bias[o] + residual[o, p])`.
///
/// It is a matrix product over positions `p`, and so serves linear layers in `[channels, positions]` layout as well.
#[derive(Clone, Debug)]
pub struct Pointwise {
    tier: Tier,
    inputs: usize,
    outputs: usize,
    positions: usize,
    panels: Panels,
}

impl Pointwise {
    /// Packs the weights, `[outputs, inputs]`, of a convolution over `positions` pixels; `bias` is `[outputs]`.
    ///
    /// # Errors
    /// The tier is not this CPU's, an extent is 0, or a slice's length is not the shape's.
    pub fn new(
        tier: Tier,
        (inputs, outputs, positions): (usize, usize, usize),
        weights: &[f32],
        bias: &[f32],
        clamp: Clamp,
    ) -> Result<Self, Error> {
        elements(&[inputs, positions])?;
        elements(&[outputs, positions])?;
        check_length("weights", outputs * inputs, weights.len())?;
        check_length("bias", outputs, bias.len())?;
        let tier = float_tier(tier.checked()?, positions);
        let panels = Panels::new(tier, (outputs, inputs), weights, bias, clamp)?;
        Ok(Self { tier, inputs, outputs, positions, panels })
    }

    /// Elements of the input: `inputs * positions`.
    pub fn input_len(&self) -> usize {
        self.inputs * self.positions
    }

    /// Elements of the output: `outputs * positions`.
    pub fn output_len(&self) -> usize {
        self.outputs * self.positions
    }

    /// Working memory that [`Pointwise::run`] uses, in bytes.
    pub fn scratch_bytes(&self) -> usize {
        4 * self.panels.scratch_len(self.positions)
    }

    /// Convolves one image, `[inputs, positions]`; `residual`, as large as the output, is added before the clamp.
    ///
    /// # Errors
    /// A slice's length is not the shape's.
    pub fn run(
        &self,
        image: &[f32],
        residual: Option<&[f32]>,
        output: &mut [f32],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        check_length("image", self.input_len(), image.len())?;
        check_length("output", self.output_len(), output.len())?;
        if let Some(residual) = residual {
            check_length("residual", self.output_len(), residual.len())?;
        }
        let target = Target {
            out: output.as_mut_ptr(),
            residual: residual.map_or(std::ptr::null(), <[f32]>::as_ptr),
            pitch: self.positions,
            columns: self.positions,
        };
        let scratch = scratch.bytes(self.scratch_bytes()).cast();
        // SAFETY: `new` has checked that the CPU has the tier, and the lengths were checked above.
        unsafe { dispatch(self.tier, Run { of: self, image, target, scratch }) };
        Ok(())
    }
}

/// One run; `target` and `scratch` are as [`Panels::multiply`] wants them.
struct Run<'a> {
    of: &'a Pointwise,
    image: &'a [f32],
    target: Target,
    scratch: *mut f32,
}

impl Task for Run<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pixels = Pixels { image: self.image, positions: self.of.positions };
        // SAFETY: passed on from the caller.
        unsafe { self.of.panels.multiply::<S, _>(&pixels, self.target, self.scratch) }
    }
}

/// The image itself as the right side.
struct Pixels<'a> {
    image: &'a [f32],
    positions: usize,
}

impl Columns for Pixels<'_> {
    #[inline(always)]
    unsafe fn pack<S: Simd, const V: usize>(&self, (start, end): (usize, usize), column: usize, mut tile: *mut f32) {
        let width = V * S::LANES;
        // SAFETY: whole tiles lie within the image; a tile that does not is copied as far as the image goes.
        unsafe {
            for k in start..end {
                let from = self.image.as_ptr().add(k * self.positions + column);
                if column + width <= self.positions {
                    for v in 0..V {
                        S::store(tile.add(v * S::LANES), S::load(from.add(v * S::LANES)));
                    }
                } else {
                    tile.write_bytes(0, width);
                    tile.copy_from_nonoverlapping(from, self.positions - column);
                }
                tile = tile.add(width);
            }
        }
    }
}
