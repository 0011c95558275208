//! 64-bit ARM, with and without 8-bit dot products.

use core::arch::aarch64::*;

use super::{Dot, Task};
use crate::simd;

/// Advanced SIMD: 16-bit multiply-accumulate. A vector has one step of four columns in each half.
#[derive(Clone, Copy)]
pub(super) struct Neon;

/// ARMv8.2's 8-bit dot products, which want both sides signed.
#[derive(Clone, Copy)]
pub(super) struct Dotprod;

/// Runs a task with 8-bit dot products.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn dotprod<T: Task>(task: T) {
    // SAFETY: this function's features are those of Dotprod; the rest is the caller's.
    unsafe { task.run::<Dotprod>() }
}

/// Four bytes of memory in the lowest lane.
///
/// # Safety
/// There are four readable bytes.
#[inline(always)]
unsafe fn four(p: *const u8) -> uint32x2_t {
    // SAFETY: the caller's bytes; the target has Advanced SIMD.
    unsafe { vdup_n_u32(p.cast::<u32>().read_unaligned()) }
}

/// `sums + activations * weights`. The intrinsic (vdotq_s32) is not stable on the oldest compiler that the workspace supports.
///
/// # Safety
/// The CPU has 8-bit dot products.
#[inline(always)]
pub(crate) unsafe fn dot(mut sums: int32x4_t, activations: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction reads and writes these registers alone; the caller's CPU has it.
    unsafe {
        core::arch::asm!(
            ".arch_extension dotprod",
            "sdot {sums:v}.4s, {activations:v}.16b, {weights:v}.16b",
            sums = inout(vreg) sums,
            activations = in(vreg) activations,
            weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// `sums + activations * weights`, with the weights of row `ROW` of four.
///
/// # Safety
/// The CPU has 8-bit dot products.
#[inline(always)]
unsafe fn dot_row<const ROW: i32>(mut sums: int32x4_t, activations: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction reads and writes these registers alone; the caller's CPU has it.
    unsafe {
        core::arch::asm!(
            ".arch_extension dotprod",
            "sdot {sums:v}.4s, {activations:v}.16b, {weights:v}.4b[{row}]",
            sums = inout(vreg) sums,
            activations = in(vreg) activations,
            weights = in(vreg) weights,
            row = const ROW,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

impl Dot for Neon {
    type S = simd::Neon;
    type X = int16x8_t;
    type A = int32x4_t;
    const STEP: usize = 2;
    const VECS: usize = 4;
    const ROWS: usize = 5;

    #[inline(always)]
    unsafe fn splat(n: i32) -> int32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vdupq_n_s32(n) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u8) -> int16x8_t {
        // SAFETY: as the trait's contract says.
        unsafe { vreinterpretq_s16_u8(vld1q_u8(p)) }
    }
    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> int16x8_t {
        // SAFETY: as the trait's contract says.
        unsafe { vreinterpretq_s16_u32(vdupq_n_u32(p.cast::<u32>().read_unaligned())) }
    }
    #[inline(always)]
    unsafe fn dot(sums: int32x4_t, activations: int16x8_t, weights: int16x8_t) -> int32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe {
            let weights = vget_low_s16(weights);
            let sums = vmlal_lane_s16::<0>(sums, vget_low_s16(activations), weights);
            vmlal_high_lane_s16::<1>(sums, activations, weights)
        }
    }
    #[inline(always)]
    unsafe fn float(sums: int32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vcvtq_f32_s32(sums) }
    }
    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], to: *mut u8) {
        // SAFETY: as the trait's contract says.
        unsafe {
            let both = vreinterpret_u8_u32(vzip1_u32(four(rows[0]), four(rows[1])));
            vst1q_u8(to, vreinterpretq_u8_u16(vmovl_u8(both)));
        }
    }
}

impl Dot for Dotprod {
    type S = simd::Neon;
    type X = int8x16_t;
    type A = int32x4_t;
    const STEP: usize = 4;
    const SHIFT: i32 = 128;
    const VECS: usize = 4;
    const ROWS: usize = 6;

    #[inline(always)]
    unsafe fn splat(n: i32) -> int32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vdupq_n_s32(n) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u8) -> int8x16_t {
        // SAFETY: as the trait's contract says.
        unsafe { vreinterpretq_s8_u8(vld1q_u8(p)) }
    }
    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> int8x16_t {
        // SAFETY: as the trait's contract says.
        unsafe { vreinterpretq_s8_u32(vdupq_n_u32(p.cast::<u32>().read_unaligned())) }
    }
    // Four rows' weights are one vector, whose parts the instruction takes one by one.
    #[inline(always)]
    unsafe fn dots<const M: usize, const V: usize>(
        sums: &mut [[int32x4_t; V]; M],
        activations: [int8x16_t; V],
        weights: *const u8,
    ) {
        // SAFETY: as the trait's contract says; no more than the rows' weights are read.
        unsafe {
            let mut four = vdupq_n_s8(0);
            // Written out: the compiler does not unroll what is as large as this.
            macro_rules! rows {
                ($($row:literal)*) => {$(
                    if $row < M {
                        if $row % 4 == 0 {
                            let at = weights.add(4 * $row);
                            four = match M - $row {
                                1 => Self::broadcast(at),
                                2 => vcombine_s8(vld1_s8(at.cast()), vdup_n_s8(0)),
                                3 => vcombine_s8(vld1_s8(at.cast()), vget_low_s8(Self::broadcast(at.add(8)))),
                                _ => vld1q_s8(at.cast()),
                            };
                        }
                        for v in 0..V {
                            sums[$row][v] = dot_row::<{ $row % 4 }>(sums[$row][v], activations[v], four);
                        }
                    }
                )*};
            }
            rows!(0 1 2 3 4 5 6 7);
        }
    }
    #[inline(always)]
    unsafe fn dot(sums: int32x4_t, activations: int8x16_t, weights: int8x16_t) -> int32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { dot(sums, activations, weights) }
    }
    #[inline(always)]
    unsafe fn float(sums: int32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vcvtq_f32_s32(sums) }
    }
    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], to: *mut u8) {
        const ORDER: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];
        // SAFETY: as the trait's contract says.
        unsafe {
            let [a, b, c, d] = rows;
            let all = vcombine_u32(vzip1_u32(four(a), four(b)), vzip1_u32(four(c), four(d)));
            let columns = vqtbl1q_u8(vreinterpretq_u8_u32(all), vld1q_u8(ORDER.as_ptr()));
            vst1q_u8(to, veorq_u8(columns, vdupq_n_u8(128)));
        }
    }
}
