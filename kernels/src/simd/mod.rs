//! One float vector type per tier, so that each kernel is written once.
//!
//! A kernel is a [`Task`]; [`dispatch`] compiles it for each tier behind `#[target_feature]` and calls the one that is asked for.
//! Everything below `Task::run` is `#[inline(always)]`: code that is not inlined would be compiled without the tier's features.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::Tier;

/// A vector of `f32` and its arithmetic.
///
/// # Safety
/// Every function needs the implementing tier's CPU features. Pointers need `LANES` readable (writable) elements; no alignment.
pub(crate) trait Simd: Copy + 'static {
    /// Elements of a vector.
    const LANES: usize;
    /// Vectors side by side in a GEMM tile.
    const VECS: usize;
    /// Rows of a GEMM tile: `ROWS * VECS` accumulators, `VECS` columns and one weight fit the registers.
    const ROWS: usize;
    /// The vector.
    type V: Copy;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, fused where the CPU fuses.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `sums + values * weights` for `M` rows, each with a weight of its own, and `V` vectors of values.
    #[inline(always)]
    unsafe fn fma_rows<const M: usize, const V: usize>(
        sums: &mut [[Self::V; V]; M],
        values: [Self::V; V],
        weights: *const f32,
    ) {
        for row in 0..M {
            // SAFETY: the caller's features and weights.
            unsafe {
                let weight = Self::splat(*weights.add(row));
                for v in 0..V {
                    sums[row][v] = Self::fma(values[v], weight, sums[row][v]);
                }
            }
        }
    }
    /// `v` brought into `low..=high`; NaN stays NaN.
    unsafe fn clamp(v: Self::V, low: Self::V, high: Self::V) -> Self::V;
    /// The nearest integer, ties to even, for |v| < 2^22.
    unsafe fn round(v: Self::V) -> Self::V;
    /// 2 to the power of `v`, which is an integer in -126..=127.
    unsafe fn power_of_two(v: Self::V) -> Self::V;
    /// The magnitude.
    unsafe fn abs(v: Self::V) -> Self::V;
    /// The magnitude of `a` with the sign of `b`.
    unsafe fn with_sign(a: Self::V, b: Self::V) -> Self::V;
    /// `x` where `a < b`, else `y` (also where either is NaN).
    unsafe fn where_less(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// The elements of even and of odd index of `2 * LANES`.
    unsafe fn load_pairs(p: *const f32) -> (Self::V, Self::V);
    /// The same of bytes, as numbers.
    unsafe fn load_byte_pairs(p: *const u8) -> (Self::V, Self::V);
    /// The same of `4 * LANES` bytes.
    #[inline(always)]
    unsafe fn load_byte_pairs_two(p: *const u8) -> [(Self::V, Self::V); 2] {
        // SAFETY: the caller's features and bytes.
        unsafe { [Self::load_byte_pairs(p), Self::load_byte_pairs(p.add(2 * Self::LANES))] }
    }
    /// `LANES` bytes as numbers.
    unsafe fn load_bytes(p: *const u8) -> Self::V;
    /// The same of `4 * LANES` bytes.
    #[inline(always)]
    unsafe fn load_bytes_four(p: *const u8) -> [Self::V; 4] {
        // SAFETY: the caller's features and bytes.
        unsafe {
            let at = |v: usize| p.add(v * Self::LANES);
            [Self::load_bytes(at(0)), Self::load_bytes(at(1)), Self::load_bytes(at(2)), Self::load_bytes(at(3))]
        }
    }
    /// Stores `round(v) + zero` (ties to even), which is in 0..=255, as bytes.
    unsafe fn store_steps(p: *mut u8, v: Self::V, zero: i32);
    /// The same of two vectors, for which some CPUs need fewer instructions.
    #[inline(always)]
    unsafe fn store_steps_pair(p: [*mut u8; 2], v: [Self::V; 2], zero: i32) {
        // SAFETY: the caller's features and bytes.
        unsafe {
            Self::store_steps(p[0], v[0], zero);
            Self::store_steps(p[1], v[1], zero);
        }
    }
    /// The same of vectors side by side.
    #[inline(always)]
    unsafe fn store_steps_row<const N: usize>(p: *mut u8, v: [Self::V; N], zero: i32) {
        // SAFETY: the caller's features and bytes.
        unsafe {
            for i in (0..N - 1).step_by(2) {
                Self::store_steps_pair([p.add(i * Self::LANES), p.add((i + 1) * Self::LANES)], [v[i], v[i + 1]], zero);
            }
            if !N.is_multiple_of(2) {
                Self::store_steps(p.add((N - 1) * Self::LANES), v[N - 1], zero);
            }
        }
    }
    /// `v` brought into `low..=high`; NaN becomes `low`.
    unsafe fn saturate(v: Self::V, low: Self::V, high: Self::V) -> Self::V;
    /// The sum of integers below 2^24 and of `n`, exact in `i32` (wrapping), then rounded to `f32`.
    unsafe fn add_integer(v: Self::V, n: i32) -> Self::V;
}

/// Work that is compiled for every tier.
pub(crate) trait Task {
    /// # Safety
    /// The CPU has the features of `S`; what else must hold is said at the implementation.
    unsafe fn run<S: Simd>(self);
}

/// The widest vector that `columns` elements fill, among those of a tier: a row of 8 is better served by 8 lanes than by 16.
pub(crate) fn float_tier(tier: Tier, columns: usize) -> Tier {
    match tier {
        Tier::Avx512 | Tier::Vnni if columns < 16 => Tier::Avx2,
        Tier::Vnni => Tier::Avx512,
        Tier::AvxVnni => Tier::Avx2,
        Tier::Dotprod => Tier::Neon,
        other => other,
    }
}

/// Evaluates an expression with the type that a float tier's vectors have: `with_simd!(tier, S => S::LANES)`.
macro_rules! with_simd {
    ($tier:expr, $S:ident => $value:expr) => {
        match $tier {
            #[cfg(target_arch = "x86_64")]
            $crate::Tier::Avx512 | $crate::Tier::Vnni => {
                type $S = $crate::simd::Avx512;
                $value
            }
            #[cfg(target_arch = "x86_64")]
            $crate::Tier::Avx2 | $crate::Tier::AvxVnni => {
                type $S = $crate::simd::Avx2;
                $value
            }
            #[cfg(target_arch = "aarch64")]
            $crate::Tier::Neon | $crate::Tier::Dotprod => {
                type $S = $crate::simd::Neon;
                $value
            }
            _ => {
                type $S = $crate::simd::Portable;
                $value
            }
        }
    };
}
pub(crate) use with_simd;

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// Runs a task with a float tier's instructions.
///
/// # Safety
/// The tier is available on this CPU, and what the task itself asks for holds.
pub(crate) unsafe fn dispatch<T: Task>(tier: Tier, task: T) {
    // SAFETY: the caller says that this CPU has the tier's features.
    unsafe {
        match tier {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 | Tier::Vnni => x86::avx512(task),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 | Tier::AvxVnni => x86::avx2(task),
            #[cfg(target_arch = "aarch64")]
            Tier::Neon | Tier::Dotprod => task.run::<Neon>(),
            _ => task.run::<Portable>(),
        }
    }
}
