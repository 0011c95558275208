//! Exact products of bytes, one type per tier: `u8` activations times `i8` weights into `i32`.
//!
//! A vector of activations has 4 bytes per column: 4 steps of the depth as bytes, for CPUs with 8-bit dot products, or 2 steps as 16-bit numbers
//! for those without. (AVX2's 8-bit multiply-add saturates at 16 bits; its 16-bit one is exact, and with 16 products per instruction still
//! twice as wide as `f32`.)

#[cfg(target_arch = "aarch64")]
mod neon;
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

/// What [`Panels`](super::gemm::Panels) must know of a tier to pack for it: rows of a tile, `STEP` and `SHIFT`.
pub(super) fn traits_of(tier: Tier) -> (usize, usize, i32) {
    fn of<D: Dot>() -> (usize, usize, i32) {
        (D::ROWS, D::STEP, D::SHIFT)
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
