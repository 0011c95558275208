//! Depthwise convolution of bytes.
//!
//! The sums are computed in `f32`: a product of 9 and 8 bits is at most 255 * 128, so that the sum of up to 512 of them is exact. A window's
//! nine products fill no 16- or 8-bit dot product well; what 8 bits save here is memory traffic, which is most of a depthwise layer's time.

use super::requantize::{Output, Quantization, Requantize, Weights};
use crate::depthwise::{Finish, Sweep};
use crate::error::check_length;
use crate::geometry::Window;
use crate::rows::Centred;
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::{Error, Tier};

/// Products whose sum is exact in `f32`: 2^24 / (255 * 128).
const MOST_TAPS: usize = 512;

/// A depthwise convolution of 8-bit images; see the [module](super) for its arithmetic, and [`crate::Depthwise`].
#[derive(Clone, Debug)]
pub struct Depthwise {
    sweep: Sweep,
    zero: u8,
    bias: Vec<i32>,
    finish: Requantize,
}

impl Depthwise {
    /// Prepares a convolution of `[channels, height, width]` images; `weights.values` are `[channels, kernel height, kernel width]`.
    ///
    /// Outside the image is `input.zero`, which is 0 in real numbers.
    ///
    /// # Errors
    /// The tier is not this CPU's, the shape is empty or its window has more than 512 pixels, a slice's length is not the shape's, or a
    /// scale is not a positive normal number.
    pub fn new(
        tier: Tier,
        channels: usize,
        window: Window,
        weights: Weights,
        input: Quantization,
        output: Output,
    ) -> Result<Self, Error> {
        check_length("scales", channels, weights.scales.len())?;
        if window.kernel[0].saturating_mul(window.kernel[1]) > MOST_TAPS {
            return Err(Error::Shape("a quantized depthwise window has more than 512 pixels"));
        }
        let finish = Requantize::new(input, &weights, output)?;
        let values = weights.values.iter().map(|&w| w.into()).collect();
        let sweep = Sweep::new(tier, channels, window, values)?;
        Ok(Self { sweep, zero: input.zero, bias: weights.bias.to_vec(), finish })
    }

    /// Elements of the input: channels, height, width.
    pub fn input_len(&self) -> usize {
        self.sweep.input_len()
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.sweep.output_len()
    }

    /// Height and width of the output.
    pub fn output_size(&self) -> [usize; 2] {
        self.sweep.output
    }

    /// Working memory that [`Depthwise::run`] uses, in bytes.
    pub fn scratch_bytes(&self) -> usize {
        self.sweep.scratch_bytes()
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
        self.finish.check_residual(residual, self.output_len())?;
        let residual = residual.map_or(std::ptr::null(), <[u8]>::as_ptr);
        let finish = Bytes { of: self, residual, output: output.as_mut_ptr() };
        // SAFETY: the lengths were checked above.
        unsafe { self.sweep.run(&Centred { bytes: image, zero: self.zero }, finish, scratch) };
        Ok(())
    }
}

/// Requantization. `residual` is null where the layer adds none.
struct Bytes<'a> {
    of: &'a Depthwise,
    residual: *const u8,
    output: *mut u8,
}

impl Finish for Bytes<'_> {
    #[inline(always)]
    fn start(&self, _channel: usize) -> f32 {
        0.0
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(&self, channel: usize, sums: S::V, at: usize, count: usize) {
        let residual = self.residual.wrapping_add(at);
        // SAFETY: the caller's outputs; `run` has checked the residual's length. A null residual is not read.
        unsafe {
            let sums = S::add_integer(sums, self.of.bias[channel]);
            self.of.finish.store::<S>(channel, sums, residual, self.output.add(at), count);
        }
    }
}
