//! Exact products of bytes, one type per tier: `u8` activations times `i8` weights into `i32`.
//!
//! A vector of activations has 4 bytes per column: 4 steps of the depth as bytes, or 2 steps as 16-bit numbers.
//!
//! AVX2 and AVX-512 without VNNI have no 8-bit dot product, but an instruction that adds two products of bytes and saturates the sum at 16
//! bits. It cannot saturate when two weights of one sign are together at most 128: 255 * 128 < 2^15. Pairs of larger weights are halved, and
//! their second halves are multiplied in steps of their own ([`Panels`](super::gemm::Panels)): exact for all weights, and nearly free for
//! those that networks have, of which few neighbours are both large and of one sign.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
pub(super) use neon::dot;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::Tier;
use crate::simd::Simd;

/// Vectors of activations, weights and sums.
///
/// # Safety
/// Every function needs the implementing tier's CPU features.
pub(super) trait Dot: Copy + 'static {
    /// The float vectors with as many lanes.
    type S: Simd;
    /// Activations or weights: `LANES` times 4 bytes.
    type X: Copy;
    /// Sums: `LANES` times `i32`.
    type A: Copy;
    /// Steps of the depth in an activation's 4 bytes: 2 or 4.
    const STEP: usize;
    /// What is taken from each activation before it is multiplied (by instructions that want both sides signed).
    const SHIFT: i32 = 0;
    /// Whether `dot` is exact only where two weights of one sign, at steps 0 and 1 or 2 and 3, are together at most 128.
    const SATURATES: bool = false;
    /// Vectors side by side in a tile.
    const VECS: usize;
    /// Rows of a tile.
    const ROWS: usize;

    unsafe fn splat(n: i32) -> Self::A;
    /// Reads `4 * LANES` bytes.
    unsafe fn load(p: *const u8) -> Self::X;
    /// Reads 4 bytes, for all lanes.
    unsafe fn broadcast(p: *const u8) -> Self::X;
    /// `sums + activations * weights`.
    unsafe fn dot(sums: Self::A, activations: Self::X, weights: Self::X) -> Self::A;
    /// The same of `M` rows of 4 bytes of weights and `V` vectors of activations.
    #[inline(always)]
    unsafe fn dots<const M: usize, const V: usize>(
        sums: &mut [[Self::A; V]; M],
        activations: [Self::X; V],
        weights: *const u8,
    ) {
        for row in 0..M {
            // SAFETY: the caller's features and weights.
            unsafe {
                let weight = Self::broadcast(weights.add(4 * row));
                for v in 0..V {
                    sums[row][v] = Self::dot(sums[row][v], activations[v], weight);
                }
            }
        }
    }
    /// The sums, rounded to `f32`.
    unsafe fn float(sums: Self::A) -> <Self::S as Simd>::V;
    /// Interleaves `LANES` bytes from each of the `STEP` first pointers: `4 * LANES` bytes.
    unsafe fn interleave(rows: [*const u8; 4], to: *mut u8);
}

/// Work that is compiled for every tier.
pub(super) trait Task {
    /// # Safety
    /// The CPU has the features of `D`; what else must hold is said at the implementation.
    unsafe fn run<D: Dot>(self);
}

/// The kernel that a tier uses for rows of so many columns: 8 are better served by 8 lanes than by 16.
pub(super) fn dot_tier(tier: Tier, columns: usize) -> Tier {
    match tier {
        Tier::Vnni | Tier::Avx512 if columns >= 16 => tier,
        Tier::Vnni if Tier::AvxVnni.is_available() => Tier::AvxVnni,
        Tier::Vnni | Tier::Avx512 => Tier::Avx2,
        other => other,
    }
}

/// What [`Panels`](super::gemm::Panels) must know of a tier to pack for it.
#[derive(Clone, Copy)]
pub(super) struct Packing {
    pub(super) rows: usize,
    pub(super) step: usize,
    pub(super) shift: i32,
    pub(super) saturates: bool,
}

/// The packing of a tier.
pub(super) fn packing(tier: Tier) -> Packing {
    fn of<D: Dot>() -> Packing {
        Packing { rows: D::ROWS, step: D::STEP, shift: D::SHIFT, saturates: D::SATURATES }
    }
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 => of::<x86::Avx2>(),
        #[cfg(target_arch = "x86_64")]
        Tier::AvxVnni => of::<x86::AvxVnni>(),
        #[cfg(target_arch = "x86_64")]
        Tier::Avx512 => of::<x86::Avx512>(),
        #[cfg(target_arch = "x86_64")]
        Tier::Vnni => of::<x86::Vnni>(),
        #[cfg(target_arch = "aarch64")]
        Tier::Neon => of::<neon::Neon>(),
        #[cfg(target_arch = "aarch64")]
        Tier::Dotprod => of::<neon::Dotprod>(),
        _ => of::<portable::Portable>(),
    }
}

/// Runs a task with a tier's instructions.
///
/// # Safety
/// The tier is available on this CPU, and what the task itself asks for holds.
pub(super) unsafe fn dispatch<T: Task>(tier: Tier, task: T) {
    // SAFETY: the caller says that this CPU has the tier's features.
    unsafe {
        match tier {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => x86::avx2(task),
            #[cfg(target_arch = "x86_64")]
            Tier::AvxVnni => x86::avx_vnni(task),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => x86::avx512(task),
            #[cfg(target_arch = "x86_64")]
            Tier::Vnni => x86::vnni(task),
            #[cfg(target_arch = "aarch64")]
            Tier::Neon => task.run::<neon::Neon>(),
            #[cfg(target_arch = "aarch64")]
            Tier::Dotprod => neon::dotprod(task),
            _ => task.run::<portable::Portable>(),
        }
    }
}
