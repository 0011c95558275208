//! From exact sums to 8-bit outputs.

use crate::Error;
use crate::error::check_length;
use crate::geometry::Clamp;
use crate::simd::Simd;

/// How a tensor's bytes stand for numbers: `real = scale * (q - zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    /// The real distance of two neighbouring bytes; positive and finite.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}

impl Quantization {
    /// Refuses a scale that is not a positive normal number.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        if self.scale.is_normal() && self.scale > 0.0 {
            Ok(self)
        } else {
            Err(Error::Parameter("a scale is not a positive normal number"))
        }
    }

    /// The byte nearest to a number: ties to even, saturating, NaN to 0.
    pub fn quantize(self, real: f32) -> u8 {
        let zero = f32::from(self.zero);
        let (low, high) = (-zero, 255.0 - zero);
        let steps = real / self.scale;
        let steps = if steps > low { steps.min(high) } else { low };
        (steps.round_ties_even() + zero) as u8
    }

    /// The number that a byte stands for.
    pub fn dequantize(self, q: u8) -> f32 {
        (f32::from(q) - f32::from(self.zero)) * self.scale
    }
}

/// Weights of a layer: per output channel symmetric `i8`, and the bias.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// The weights, in the layout of the float layer's.
    pub values: &'a [i8],
    /// Their scale per output channel.
    pub scales: &'a [f32],
    /// The bias per output channel, in units of input scale times weight scale.
    pub bias: &'a [i32],
}

/// What a layer's outputs are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Output {
    /// The quantization of the convolution's own result.
    pub quantization: Quantization,
    /// The range of that result, in real numbers.
    pub clamp: Clamp,
    /// What is added to it, if anything.
    pub sum: Option<Sum>,
}

/// A residual addition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sum {
    /// The quantization of what is added.
    pub residual: Quantization,
    /// The quantization of the sum.
    pub output: Quantization,
    /// The range of the sum, in real numbers.
    pub clamp: Clamp,
}

/// A zero point, and the range of bytes around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    low: f32,
    high: f32,
    zero: i32,
}

impl Range {
    /// Clamping in real numbers is clamping of bytes, as quantizing keeps the order.
    pub(crate) fn new(quantization: Quantization, clamp: Clamp) -> Result<Self, Error> {
        let (quantization, clamp) = (quantization.checked()?, clamp.checked()?);
        let zero = f32::from(quantization.zero);
        let low = f32::from(quantization.quantize(clamp.low)) - zero;
        let high = f32::from(quantization.quantize(clamp.high)) - zero;
        Ok(Self { low, high, zero: quantization.zero.into() })
    }

    /// Steps from the zero point, in range and not yet whole.
    ///
    /// # Safety
    /// The CPU has the features of `S`.
    #[inline(always)]
    pub(crate) unsafe fn saturate<S: Simd>(&self, v: S::V) -> S::V {
        // SAFETY: the caller's features.
        unsafe { S::saturate(v, S::splat(self.low), S::splat(self.high)) }
    }

    /// Stores the bytes of so many steps.
    ///
    /// # Safety
    /// The CPU has the features of `S`; there are `LANES` bytes.
    #[inline(always)]
    pub(crate) unsafe fn store<S: Simd>(&self, p: *mut u8, steps: S::V) {
        // SAFETY: the caller's features and bytes.
        unsafe { S::store_steps(p, steps, self.zero) }
    }
}

/// Two quantized tensors' sum in a third quantization.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Added {
    left: f32,
    right: f32,
    right_zero: f32,
    range: Range,
}

impl Added {
    pub(crate) fn new(
        left: Quantization,
        right: Quantization,
        output: Quantization,
        clamp: Clamp,
    ) -> Result<Self, Error> {
        let ratio = |summand: Quantization| {
            let ratio = (f64::from(summand.checked()?.scale) / f64::from(output.checked()?.scale)) as f32;
            if ratio.is_finite() {
                Ok(ratio)
            } else {
                Err(Error::Parameter("a summand's scale is too large beside the sum's"))
            }
        };
        Ok(Self {
            left: ratio(left)?,
            right: ratio(right)?,
            right_zero: right.zero.into(),
            range: Range::new(output, clamp)?,
        })
    }

    /// The sums of whole `left` steps and the bytes at `right`, in steps of the output.
    ///
    /// # Safety
    /// The CPU has the features of `S`; `right` has `LANES` bytes.
    #[inline(always)]
    pub(crate) unsafe fn steps<S: Simd>(&self, left: S::V, right: *const u8) -> S::V {
        // SAFETY: the caller's features and bytes.
        unsafe {
            let right = S::mul(S::sub(S::load_bytes(right), S::splat(self.right_zero)), S::splat(self.right));
            self.range.saturate::<S>(S::add(S::mul(left, S::splat(self.left)), right))
        }
    }

    /// Where the sums' zero point is.
    pub(crate) fn range(&self) -> &Range {
        &self.range
    }
}

/// Refuses weights and biases with which some image's sum would not fit into 32 bits: an activation is at most 255 steps from its zero.
fn fit_into_32_bits(weights: &Weights) -> Result<(), Error> {
    let depth = (weights.values.len() / weights.scales.len().max(1)).max(1);
    let largest = weights.values.chunks(depth).zip(weights.bias).map(|(row, bias)| {
        let products = row.iter().map(|weight| 255 * u64::from(weight.unsigned_abs())).sum::<u64>();
        u64::from(bias.unsigned_abs()) + products
    });
    match largest.max() {
        Some(largest) if largest > i32::MAX as u64 => Err(Error::Parameter("a channel's sums do not fit into 32 bits")),
        _ => Ok(()),
    }
}

/// The finish of a quantized convolution; the module's documentation has the formulas.
#[derive(Clone, Debug)]
pub(crate) struct Requantize {
    multipliers: Vec<f32>,
    range: Range,
    added: Option<Added>,
}

impl Requantize {
    pub(crate) fn new(input: Quantization, weights: &Weights, output: Output) -> Result<Self, Error> {
        check_length("bias", weights.scales.len(), weights.bias.len())?;
        let (input, own) = (input.checked()?, output.quantization.checked()?);
        fit_into_32_bits(weights)?;
        let multiplier = |&scale: &f32| {
            let multiplier = (f64::from(input.scale) * f64::from(scale) / f64::from(own.scale)) as f32;
            if multiplier.is_finite() && scale.is_normal() && scale > 0.0 {
                Ok(multiplier)
            } else {
                Err(Error::Parameter(
                    "a weight's scale is not a positive normal number, or too large beside the output's",
                ))
            }
        };
        Ok(Self {
            multipliers: weights.scales.iter().map(multiplier).collect::<Result<_, _>>()?,
            range: Range::new(own, output.clamp)?,
            added: output.sum.map(|sum| Added::new(own, sum.residual, sum.output, sum.clamp)).transpose()?,
        })
    }

    /// Refuses a residual where none is added, and its absence where one is.
    pub(crate) fn check_residual(&self, residual: Option<&[u8]>, outputs: usize) -> Result<(), Error> {
        match (self.added, residual) {
            (Some(_), Some(residual)) => check_length("residual", outputs, residual.len()),
            (None, None) => Ok(()),
            (Some(_), None) => Err(Error::Parameter("the layer adds a residual, and none is given")),
            (None, Some(_)) => Err(Error::Parameter("a residual is given, and the layer adds none")),
        }
    }

    /// The finish in values of its own.
    pub(crate) fn finisher(&self) -> Finisher<'_> {
        Finisher { multipliers: &self.multipliers, range: self.range, added: self.added }
    }
}

/// A [`Requantize`] whose parts a kernel holds itself: what it stores through pointers cannot change them, so that they stay in registers.
#[derive(Clone, Copy)]
pub(crate) struct Finisher<'a> {
    multipliers: &'a [f32],
    range: Range,
    added: Option<Added>,
}

impl Finisher<'_> {
    /// Whether something is added.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn adds(self) -> bool {
        self.added.is_some()
    }

    /// Takes a channel's parameters into registers.
    ///
    /// # Safety
    /// The CPU has the features of `S`.
    #[inline(always)]
    pub(crate) unsafe fn ready<S: Simd>(self, channel: usize) -> Ready<S> {
        let Range { low, high, .. } = self.range;
        let multiplier = self.multipliers[channel];
        let zero = self.added.as_ref().map_or(self.range.zero, |added| added.range.zero);
        // SAFETY: the caller's features.
        unsafe { Ready { multiplier: S::splat(multiplier), low: S::splat(low), high: S::splat(high), zero } }
    }

    /// The steps of an output's sums; `residual` is read where something is added.
    ///
    /// # Safety
    /// The CPU has the features of `S`; `residual` has `LANES` bytes if something is added.
    #[inline(always)]
    unsafe fn steps<S: Simd>(self, ready: Ready<S>, sums: S::V, residual: *const u8) -> S::V {
        // SAFETY: the caller's features and bytes.
        unsafe {
            let steps = S::saturate(S::mul(sums, ready.multiplier), ready.low, ready.high);
            match &self.added {
                None => steps,
                Some(added) => added.steps::<S>(S::round(steps), residual),
            }
        }
    }

    /// Finishes a channel's sums and stores the first `count` of them.
    ///
    /// # Safety
    /// The CPU has the features of `S`; `out`, and `residual` where something is added, have `count` bytes.
    #[inline(always)]
    pub(crate) unsafe fn store<S: Simd>(
        self,
        ready: Ready<S>,
        sums: S::V,
        residual: *const u8,
        out: *mut u8,
        count: usize,
    ) {
        // SAFETY: whole vectors where there is room for them; else `narrow`, which is as long as the widest.
        unsafe {
            if count == S::LANES {
                return S::store_steps(out, self.steps(ready, sums, residual), ready.zero);
            }
            let mut narrow = [0u8; 16];
            if self.added.is_some() {
                narrow.as_mut_ptr().copy_from_nonoverlapping(residual, count);
            }
            S::store_steps(narrow.as_mut_ptr(), self.steps(ready, sums, narrow.as_ptr()), ready.zero);
            out.copy_from_nonoverlapping(narrow.as_ptr(), count);
        }
    }

    /// Finishes and stores two whole vectors of one channel.
    ///
    /// # Safety
    /// As [`Finisher::store`], for `LANES` bytes each.
    #[inline(always)]
    pub(crate) unsafe fn store_pair<S: Simd>(
        self,
        ready: Ready<S>,
        sums: [S::V; 2],
        residual: [*const u8; 2],
        out: [*mut u8; 2],
    ) {
        // SAFETY: the caller's features and bytes.
        unsafe {
            let steps = [self.steps(ready, sums[0], residual[0]), self.steps(ready, sums[1], residual[1])];
            S::store_steps_pair(out, steps, ready.zero);
        }
    }

    /// Finishes and stores `V` whole vectors side by side.
    ///
    /// # Safety
    /// As [`Finisher::store`], for `V * LANES` bytes.
    #[inline(always)]
    pub(crate) unsafe fn store_row<S: Simd, const V: usize>(
        self,
        ready: Ready<S>,
        mut sums: [S::V; V],
        residual: *const u8,
        out: *mut u8,
    ) {
        // SAFETY: the caller's features and bytes.
        unsafe {
            for v in 0..V {
                sums[v] = self.steps(ready, sums[v], residual.wrapping_add(v * S::LANES));
            }
            S::store_steps_row(out, sums, ready.zero);
        }
    }
}

/// A channel's multiplier and the range of its outputs, in registers.
#[derive(Clone, Copy)]
pub(crate) struct Ready<S: Simd> {
    multiplier: S::V,
    low: S::V,
    high: S::V,
    zero: i32,
}
