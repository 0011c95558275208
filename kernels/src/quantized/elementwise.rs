//! Between numbers and bytes, and the sum of two quantized tensors.

use super::requantize::{Added, Quantization, Range};
use crate::error::check_length;
use crate::geometry::Clamp;
use crate::simd::{Simd, Task, dispatch};
use crate::{Error, Tier};

/// Lanes of the widest vector. Shorter tensors are computed in buffers of this length.
const WIDEST: usize = 16;

/// ONNX's QuantizeLinear: `round(x / scale) + zero`, ties to even, saturating; NaN becomes 0.
///
/// # Errors
/// The tier is not this CPU's, the slices' lengths differ, or the scale is not a positive normal number.
pub fn quantize(tier: Tier, quantization: Quantization, reals: &[f32], bytes: &mut [u8]) -> Result<(), Error> {
    check_length("bytes", reals.len(), bytes.len())?;
    let (tier, range) = (tier.checked()?, Range::new(quantization, Clamp::NONE)?);
    let scale = quantization.scale;
    if reals.len() < WIDEST {
        let (from, mut to) = (padded(reals), [0; WIDEST]);
        // SAFETY: the tier was checked, and the buffers are as long as the widest vector.
        unsafe { dispatch(tier, Quantize { range, scale, reals: &from, bytes: &mut to }) };
        bytes.copy_from_slice(&to[..reals.len()]);
    } else {
        // SAFETY: the tier and the lengths were checked.
        unsafe { dispatch(tier, Quantize { range, scale, reals, bytes }) };
    }
    Ok(())
}

/// ONNX's DequantizeLinear: `(q - zero) * scale`.
///
/// # Errors
/// The tier is not this CPU's, the slices' lengths differ, or the scale is not a positive normal number.
pub fn dequantize(tier: Tier, quantization: Quantization, bytes: &[u8], reals: &mut [f32]) -> Result<(), Error> {
    check_length("reals", bytes.len(), reals.len())?;
    let (tier, quantization) = (tier.checked()?, quantization.checked()?);
    if bytes.len() < WIDEST {
        let (from, mut to) = (padded(bytes), [0.0; WIDEST]);
        // SAFETY: the tier was checked, and the buffers are as long as the widest vector.
        unsafe { dispatch(tier, Dequantize { quantization, bytes: &from, reals: &mut to }) };
        reals.copy_from_slice(&to[..bytes.len()]);
    } else {
        // SAFETY: the tier and the lengths were checked.
        unsafe { dispatch(tier, Dequantize { quantization, bytes, reals }) };
    }
    Ok(())
}

/// The sum of two quantized tensors, quantized: what DequantizeLinear of both, Add, a clamp and QuantizeLinear compute, with the ratios of the
/// scales to the output's in place of the scales.
#[derive(Clone, Copy, Debug)]
pub struct Addition {
    tier: Tier,
    left_zero: u8,
    added: Added,
}

impl Addition {
    /// Prepares the sum of `left` and `right`, brought into `clamp` (in real numbers).
    ///
    /// # Errors
    /// The tier is not this CPU's, or a scale is not a positive normal number.
    pub fn new(
        tier: Tier,
        (left, right): (Quantization, Quantization),
        output: Quantization,
        clamp: Clamp,
    ) -> Result<Self, Error> {
        Ok(Self { tier: tier.checked()?, left_zero: left.zero, added: Added::new(left, right, output, clamp)? })
    }

    /// Adds two tensors of one length.
    ///
    /// # Errors
    /// The slices' lengths differ.
    pub fn run(&self, left: &[u8], right: &[u8], output: &mut [u8]) -> Result<(), Error> {
        check_length("right", left.len(), right.len())?;
        check_length("output", left.len(), output.len())?;
        if left.len() < WIDEST {
            let (a, b, mut to) = (padded(left), padded(right), [0; WIDEST]);
            // SAFETY: `new` has checked the tier, and the buffers are as long as the widest vector.
            unsafe { dispatch(self.tier, Add { of: self, left: &a, right: &b, output: &mut to }) };
            output.copy_from_slice(&to[..left.len()]);
        } else {
            // SAFETY: `new` has checked the tier, and the lengths were checked above.
            unsafe { dispatch(self.tier, Add { of: self, left, right, output }) };
        }
        Ok(())
    }
}

/// A short tensor, filled up.
fn padded<T: Copy + Default>(values: &[T]) -> [T; WIDEST] {
    let mut all = [T::default(); WIDEST];
    all[..values.len()].copy_from_slice(values);
    all
}

/// Where vectors start that cover `len >= lanes` elements; the last overlaps the one before it.
#[inline(always)]
fn starts(len: usize, lanes: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(lanes).map(move |at| at.min(len - lanes))
}

/// Slices of one length, at least [`WIDEST`]; so in the other tasks.
struct Quantize<'a> {
    range: Range,
    scale: f32,
    reals: &'a [f32],
    bytes: &'a mut [u8],
}

impl Task for Quantize<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `starts` keeps vectors within the slices.
        unsafe {
            for at in starts(self.reals.len(), S::LANES) {
                let steps = S::div(S::load(self.reals.as_ptr().add(at)), S::splat(self.scale));
                self.range.store::<S>(self.bytes.as_mut_ptr().add(at), self.range.saturate::<S>(steps));
            }
        }
    }
}

struct Dequantize<'a> {
    quantization: Quantization,
    bytes: &'a [u8],
    reals: &'a mut [f32],
}

impl Task for Dequantize<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Quantization { scale, zero } = self.quantization;
        // SAFETY: `starts` keeps vectors within the slices.
        unsafe {
            for at in starts(self.bytes.len(), S::LANES) {
                let steps = S::sub(S::load_bytes(self.bytes.as_ptr().add(at)), S::splat(zero.into()));
                S::store(self.reals.as_mut_ptr().add(at), S::mul(steps, S::splat(scale)));
            }
        }
    }
}

struct Add<'a> {
    of: &'a Addition,
    left: &'a [u8],
    right: &'a [u8],
    output: &'a mut [u8],
}

impl Task for Add<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `starts` keeps vectors within the slices.
        unsafe {
            for at in starts(self.left.len(), S::LANES) {
                let left = S::load_bytes(self.left.as_ptr().add(at));
                let steps = S::sub(left, S::splat(self.of.left_zero.into()));
                let sums = self.of.added.steps::<S>(steps, self.right.as_ptr().add(at));
                self.of.added.range().store::<S>(self.output.as_mut_ptr().add(at), sums);
            }
        }
    }
}
