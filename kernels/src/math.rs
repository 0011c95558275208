//! Exponential and hyperbolic tangent over slices.
//!
//! The coefficients are minimax fits of our own (Lawson's iteration on a dense grid), rounded to `f32`.

use crate::error::check_length;
use crate::simd::{Simd, Task, dispatch, float_tier};
use crate::{Error, Tier};

/// `e^x` of every element, in place.
///
/// The result is within 2 units in the last place of the exact one, for every `f32` whose result is a normal number; below that it is
/// within one unit of the subnormal numbers. Above 88.72284 it is infinite, for NaN it is NaN.
///
/// # Errors
/// The tier is not this CPU's.
pub fn exp(tier: Tier, values: &mut [f32]) -> Result<(), Error> {
    over::<Exp>(tier, values)
}

/// `tanh(x)` of every element, in place.
///
/// The result is within 3 units in the last place of the exact one, for every `f32`; for NaN it is NaN.
///
/// # Errors
/// The tier is not this CPU's.
pub fn tanh(tier: Tier, values: &mut [f32]) -> Result<(), Error> {
    over::<Tanh>(tier, values)
}

/// The affine coupling of a flow: `output = image * exp(alpha * tanh(scale)) + shift`, and `log_scale = alpha * tanh(scale)`.
///
/// All slices have the same length. The error is that of [`tanh`] and [`exp`] in sequence.
///
/// # Errors
/// The tier is not this CPU's, or the slices' lengths differ.
pub fn couple(
    tier: Tier,
    alpha: f32,
    (image, scale, shift): (&[f32], &[f32], &[f32]),
    output: &mut [f32],
    log_scale: &mut [f32],
) -> Result<(), Error> {
    for (what, len) in [("scale", scale.len()), ("shift", shift.len()), ("output", output.len())] {
        check_length(what, image.len(), len)?;
    }
    check_length("log_scale", image.len(), log_scale.len())?;
    let tier = float_tier(tier.checked()?, image.len());
    // SAFETY: the tier was checked, and so were the lengths.
    unsafe { dispatch(tier, Couple { alpha, image, scale, shift, output, log_scale }) };
    Ok(())
}

/// A function of one number.
trait Function {
    /// # Safety
    /// The CPU has the features of `S`.
    unsafe fn of<S: Simd>(x: S::V) -> S::V;
}

fn over<F: Function>(tier: Tier, values: &mut [f32]) -> Result<(), Error> {
    let tier = float_tier(tier.checked()?, values.len());
    // SAFETY: the tier was checked.
    unsafe { dispatch(tier, Over::<F> { values, function: std::marker::PhantomData }) };
    Ok(())
}

/// A function over a slice.
struct Over<'a, F> {
    values: &'a mut [f32],
    function: std::marker::PhantomData<F>,
}

impl<F: Function> Task for Over<'_, F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let mut chunks = self.values.chunks_exact_mut(S::LANES);
        // SAFETY: chunks are one vector long; `last` is at least as long as any.
        unsafe {
            for chunk in &mut chunks {
                S::store(chunk.as_mut_ptr(), F::of::<S>(S::load(chunk.as_ptr())));
            }
            let rest = chunks.into_remainder();
            let mut last = [0.0; 16];
            last[..rest.len()].copy_from_slice(rest);
            S::store(last.as_mut_ptr(), F::of::<S>(S::load(last.as_ptr())));
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }
}

/// One coupling over slices of one length.
struct Couple<'a> {
    alpha: f32,
    image: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    output: &'a mut [f32],
    log_scale: &'a mut [f32],
}

impl Task for Couple<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let len = self.image.len();
        let (whole, rest) = (len / S::LANES * S::LANES, len % S::LANES);
        // SAFETY: whole vectors lie within the slices; the rest goes through `last`, at least as long as a vector.
        unsafe {
            let alpha = S::splat(self.alpha);
            for at in (0..whole).step_by(S::LANES) {
                let s = S::mul(alpha, Tanh::of::<S>(S::load(self.scale.as_ptr().add(at))));
                let (x, t) = (S::load(self.image.as_ptr().add(at)), S::load(self.shift.as_ptr().add(at)));
                S::store(self.log_scale.as_mut_ptr().add(at), s);
                S::store(self.output.as_mut_ptr().add(at), S::fma(x, Exp::of::<S>(s), t));
            }
            let mut last = [[0.0; 16]; 3];
            for (last, from) in last.iter_mut().zip([self.image, self.scale, self.shift]) {
                last[..rest].copy_from_slice(&from[whole..]);
            }
            let s = S::mul(alpha, Tanh::of::<S>(S::load(last[1].as_ptr())));
            let z = S::fma(S::load(last[0].as_ptr()), Exp::of::<S>(s), S::load(last[2].as_ptr()));
            S::store(last[0].as_mut_ptr(), z);
            S::store(last[1].as_mut_ptr(), s);
            self.output[whole..].copy_from_slice(&last[0][..rest]);
            self.log_scale[whole..].copy_from_slice(&last[1][..rest]);
        }
    }
}

/// `c[0] + x * (c[1] + x * (..))`.
#[inline(always)]
unsafe fn polynomial<S: Simd, const N: usize>(x: S::V, c: [f32; N]) -> S::V {
    // SAFETY: the caller's features.
    unsafe {
        let mut sum = S::splat(c[N - 1]);
        for i in (0..N - 1).rev() {
            sum = S::fma(sum, x, S::splat(c[i]));
        }
        sum
    }
}

/// The exponential.
struct Exp;

impl Function for Exp {
    // x = n ln 2 + r with |r| <= ln 2 / 2; e^x = 2^n e^r. ln 2 is taken off in two parts, of which the first is exact.
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::V) -> S::V {
        // SAFETY: the caller's features; the powers of two are within -75..=64.
        unsafe {
            let x = S::clamp(x, S::splat(-104.0), S::splat(89.0));
            let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
            let r = S::fma(n, S::splat(-0.693_359_4), x);
            let r = S::fma(n, S::splat(2.121_944_4e-4), r);
            let tail =
                polynomial::<S, 5>(r, [0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_717_5, 0.001_381_459_9]);
            let power = S::add(S::splat(1.0), S::fma(S::mul(r, r), tail, r));
            // 2^n in two factors: n reaches 128 and -150, which no single f32 has.
            let half = S::round(S::mul(n, S::splat(0.5)));
            S::mul(S::mul(power, S::power_of_two(half)), S::power_of_two(S::sub(n, half)))
        }
    }
}

/// The hyperbolic tangent.
struct Tanh;

impl Function for Tanh {
    // Near 0 an odd polynomial, beyond it 1 - 2 / (e^2|x| + 1), which loses digits only near 0.
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::V) -> S::V {
        // SAFETY: the caller's features.
        unsafe {
            let magnitude = S::abs(x);
            let one = S::splat(1.0);
            let square = S::mul(x, x);
            let tail =
                polynomial::<S, 5>(square, [-0.333_332_8, 0.133_314_42, -0.053_739_697, 0.020_639_023, -0.005_704_911]);
            let near = S::fma(S::mul(magnitude, square), tail, magnitude);
            // From 9.02 on the result is 1.
            let doubled = S::clamp(S::add(magnitude, magnitude), S::splat(0.0), S::splat(20.0));
            let far = S::sub(one, S::div(S::splat(2.0), S::add(Exp::of::<S>(doubled), one)));
            S::with_sign(S::where_less(magnitude, S::splat(0.625), near, far), x)
        }
    }
}
