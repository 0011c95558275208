//! Depthwise convolution of bytes.
//!
//! The sums are computed in `f32` (but on ARM with 8-bit dot products, [`super::windows`]): a product of 9 and 8 bits is at most 255 * 128, so that the sum of up to 512 of them is exact. A window's
//! nine products fill no 16- or 8-bit dot product well; what 8 bits save here is memory traffic, which is most of a depthwise layer's time.

use super::requantize::{Finisher, Output, Quantization, Ready, Requantize, Weights};
#[cfg(target_arch = "aarch64")]
use super::windows::Windows;
use crate::depthwise::{Finish, Sweep};
use crate::error::check_length;
use crate::geometry::Window;
use crate::rows::Centred;
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::{Error, Tier};

/// Products whose sum is exact in `f32`: 2^24 / (255 * 128).
const MOST_TAPS: usize = 512;

/// Integers that are all exact in `f32`.
const EXACT: u32 = 1 << 24;

/// A depthwise convolution of 8-bit images; see the [module](super) for its arithmetic, and [`crate::Depthwise`].
#[derive(Clone, Debug)]
pub struct Depthwise {
    sweep: Sweep,
    /// Where the CPU has 8-bit dot products and the window is one of theirs.
    #[cfg(target_arch = "aarch64")]
    windows: Option<Windows>,
    zero: u8,
    bias: Vec<i32>,
    /// Whether sums that start from the bias are exact in `f32` as well, which saves its addition afterwards.
    starts_from_bias: bool,
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
        let taps = window.kernel[0].saturating_mul(window.kernel[1]);
        if taps > MOST_TAPS {
            return Err(Error::Shape("a quantized depthwise window has more than 512 pixels"));
        }
        let finish = Requantize::new(input, &weights, output)?;
        let values = weights.values.iter().map(|&w| w.into()).collect();
        let sweep = Sweep::new(tier, channels, window, values)?;
        #[cfg(target_arch = "aarch64")]
        let windows = match tier {
            Tier::Dotprod => Windows::new(window, weights.values, weights.bias, input.zero)?,
            _ => None,
        };
        let products = taps as u32 * 255 * 128;
        let starts_from_bias = weights.bias.iter().all(|bias| bias.unsigned_abs() <= EXACT - products);
        Ok(Self {
            sweep,
            #[cfg(target_arch = "aarch64")]
            windows,
            zero: input.zero,
            bias: weights.bias.to_vec(),
            starts_from_bias,
            finish,
        })
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
        #[cfg(target_arch = "aarch64")]
        if let Some(windows) = &self.windows {
            return windows.scratch_bytes();
        }
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
        #[cfg(target_arch = "aarch64")]
        if let Some(windows) = &self.windows {
            let finish = self.finish.finisher();
            // SAFETY: the tier has 8-bit dot products, and the lengths were checked above.
            unsafe { windows.run(image, finish, (residual, output.as_mut_ptr()), scratch) };
            return Ok(());
        }
        let finish = Bytes {
            finish: self.finish.finisher(),
            bias: &self.bias,
            starts_from_bias: self.starts_from_bias,
            residual,
            output: output.as_mut_ptr(),
        };
        // SAFETY: the lengths were checked above.
        unsafe { self.sweep.run(Centred { bytes: image, zero: self.zero }, finish, scratch) };
        Ok(())
    }
}

/// Requantization. `residual` is null where the layer adds none.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    finish: Finisher<'a>,
    bias: &'a [i32],
    starts_from_bias: bool,
    residual: *const u8,
    output: *mut u8,
}

impl Finish for Bytes<'_> {
    type Channel<S: Simd> = (Ready<S>, i32);

    #[inline(always)]
    fn start(&self, channel: usize) -> f32 {
        if self.starts_from_bias { self.bias[channel] as f32 } else { 0.0 }
    }

    #[inline(always)]
    unsafe fn channel<S: Simd>(&self, channel: usize) -> (Ready<S>, i32) {
        // SAFETY: the caller's features.
        (unsafe { self.finish.ready::<S>(channel) }, self.bias[channel])
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(&self, (ready, bias): (Ready<S>, i32), sums: S::V, at: usize, count: usize) {
        let residual = self.residual.wrapping_add(at);
        // SAFETY: the caller's outputs; `run` has checked the residual's length. A null residual is not read.
        unsafe {
            let sums = if self.starts_from_bias { sums } else { S::add_integer(sums, bias) };
            self.finish.store::<S>(ready, sums, residual, self.output.add(at), count);
        }
    }

    #[inline(always)]
    unsafe fn store_pair<S: Simd>(&self, (ready, bias): (Ready<S>, i32), sums: [S::V; 2], at: [usize; 2]) {
        let residual = at.map(|at| self.residual.wrapping_add(at));
        let out = at.map(|at| self.output.wrapping_add(at));
        // SAFETY: as for `store`.
        unsafe {
            let sums = if self.starts_from_bias {
                sums
            } else {
                [S::add_integer(sums[0], bias), S::add_integer(sums[1], bias)]
            };
            self.finish.store_pair::<S>(ready, sums, residual, out);
        }
    }
}
