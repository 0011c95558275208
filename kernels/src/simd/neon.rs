//! 64-bit ARM's Advanced SIMD, which every such target has.

use core::arch::aarch64::*;

use super::Simd;

/// The low halves of both vectors' nearest whole numbers, ties to even.
///
/// # Safety
/// The target has Advanced SIMD.
#[inline(always)]
unsafe fn words(v: [float32x4_t; 2]) -> uint16x8_t {
    // SAFETY: the caller's target.
    unsafe {
        let [low, high] = v.map(|v| vreinterpretq_u16_s32(vcvtnq_s32_f32(v)));
        vuzp1q_u16(low, high)
    }
}

/// Advanced SIMD.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

impl Simd for Neon {
    const LANES: usize = 4;
    const VECS: usize = 4;
    const ROWS: usize = 6;
    type V = float32x4_t;

    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: float32x4_t) {
        // SAFETY: as the trait's contract says.
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vdivq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vfmaq_f32(c, a, b) }
    }
    // Four rows' weights are one vector, whose elements the instruction takes one by one.
    #[inline(always)]
    unsafe fn fma_rows<const M: usize, const V: usize>(
        sums: &mut [[float32x4_t; V]; M],
        values: [float32x4_t; V],
        weights: *const f32,
    ) {
        // SAFETY: as the trait's contract says; no more than the `M` weights are read.
        unsafe {
            let mut four = vdupq_n_f32(0.0);
            // Written out: the compiler does not unroll what is as large as this.
            macro_rules! rows {
                ($($row:literal)*) => {$(
                    if $row < M {
                        if $row % 4 == 0 {
                            let at = weights.add($row);
                            four = match M - $row {
                                1 => vld1q_dup_f32(at),
                                2 => vcombine_f32(vld1_f32(at), vdup_n_f32(0.0)),
                                3 => vcombine_f32(vld1_f32(at), vld1_dup_f32(at.add(2))),
                                _ => vld1q_f32(at),
                            };
                        }
                        for v in 0..V {
                            sums[$row][v] = vfmaq_laneq_f32::<{ $row % 4 }>(sums[$row][v], values[v], four);
                        }
                    }
                )*};
            }
            rows!(0 1 2 3 4 5 6 7);
        }
    }
    // The instructions return NaN when either operand is.
    #[inline(always)]
    unsafe fn clamp(v: float32x4_t, low: float32x4_t, high: float32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vminq_f32(vmaxq_f32(v, low), high) }
    }
    #[inline(always)]
    unsafe fn round(v: float32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vrndnq_f32(v) }
    }
    #[inline(always)]
    unsafe fn power_of_two(v: float32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(vcvtnq_s32_f32(v), vdupq_n_s32(127)))) }
    }
    #[inline(always)]
    unsafe fn abs(v: float32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vabsq_f32(v) }
    }
    #[inline(always)]
    unsafe fn with_sign(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vbslq_f32(vdupq_n_u32(1 << 31), b, a) }
    }
    #[inline(always)]
    unsafe fn where_less(a: float32x4_t, b: float32x4_t, x: float32x4_t, y: float32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vbslq_f32(vcltq_f32(a, b), x, y) }
    }
    #[inline(always)]
    unsafe fn load_pairs(p: *const f32) -> (float32x4_t, float32x4_t) {
        // SAFETY: as the trait's contract says.
        unsafe {
            let pairs = vld2q_f32(p);
            (pairs.0, pairs.1)
        }
    }
    #[inline(always)]
    unsafe fn load_byte_pairs(p: *const u8) -> (float32x4_t, float32x4_t) {
        // SAFETY: as the trait's contract says.
        unsafe {
            let v = vreinterpret_u16_u8(vld1_u8(p));
            let (even, odd) = (vand_u16(v, vdup_n_u16(255)), vshr_n_u16::<8>(v));
            (vcvtq_f32_u32(vmovl_u16(even)), vcvtq_f32_u32(vmovl_u16(odd)))
        }
    }
    #[inline(always)]
    unsafe fn load_byte_pairs_two(p: *const u8) -> [(float32x4_t, float32x4_t); 2] {
        // SAFETY: as the trait's contract says.
        unsafe {
            let v = vreinterpretq_u16_u8(vld1q_u8(p));
            let (even, odd) = (vandq_u16(v, vdupq_n_u16(255)), vshrq_n_u16::<8>(v));
            let float = |v: uint16x4_t| vcvtq_f32_u32(vmovl_u16(v));
            [
                (float(vget_low_u16(even)), float(vget_low_u16(odd))),
                (float(vget_high_u16(even)), float(vget_high_u16(odd))),
            ]
        }
    }
    #[inline(always)]
    unsafe fn load_bytes_four(p: *const u8) -> [float32x4_t; 4] {
        // SAFETY: as the trait's contract says.
        unsafe {
            let v = vld1q_u8(p);
            let (low, high) = (vmovl_u8(vget_low_u8(v)), vmovl_high_u8(v));
            let float = |v: uint16x4_t| vcvtq_f32_u32(vmovl_u16(v));
            [float(vget_low_u16(low)), float(vget_high_u16(low)), float(vget_low_u16(high)), float(vget_high_u16(high))]
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe {
            let four = vreinterpret_u8_u32(vdup_n_u32(p.cast::<u32>().read_unaligned()));
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(four))))
        }
    }
    #[inline(always)]
    unsafe fn store_steps(p: *mut u8, v: float32x4_t, zero: i32) {
        // SAFETY: as the trait's contract says.
        unsafe {
            let v = vreinterpretq_u32_s32(vaddq_s32(vcvtnq_s32_f32(v), vdupq_n_s32(zero)));
            let words = vmovn_u32(v);
            let four = vmovn_u16(vcombine_u16(words, words));
            p.cast::<u32>().write_unaligned(vget_lane_u32::<0>(vreinterpret_u32_u8(four)))
        }
    }
    // What is cut off when the numbers become bytes is the same before and after the zero point is added.
    #[inline(always)]
    unsafe fn store_steps_pair(p: [*mut u8; 2], v: [float32x4_t; 2], zero: i32) {
        // SAFETY: as the trait's contract says.
        unsafe {
            let words = words(v);
            let bytes = vadd_u8(vmovn_u16(words), vdup_n_u8(zero as u8));
            let both = vreinterpret_u32_u8(bytes);
            p[0].cast::<u32>().write_unaligned(vget_lane_u32::<0>(both));
            p[1].cast::<u32>().write_unaligned(vget_lane_u32::<1>(both));
        }
    }
    #[inline(always)]
    unsafe fn store_steps_row<const N: usize>(p: *mut u8, v: [float32x4_t; N], zero: i32) {
        // SAFETY: as the trait's contract says.
        unsafe {
            let whole = N / 4 * 4;
            for i in 0..N {
                if i < whole && i % 4 == 0 {
                    let (low, high) = (words([v[i], v[i + 1]]), words([v[i + 2], v[i + 3]]));
                    let bytes = vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high));
                    vst1q_u8(p.add(4 * i), vaddq_u8(bytes, vdupq_n_u8(zero as u8)));
                } else if i >= whole {
                    Self::store_steps(p.add(4 * i), v[i], zero);
                }
            }
        }
    }
    // maxnm returns the number when the other operand is NaN.
    #[inline(always)]
    unsafe fn saturate(v: float32x4_t, low: float32x4_t, high: float32x4_t) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vminq_f32(vmaxnmq_f32(v, low), high) }
    }
    #[inline(always)]
    unsafe fn add_integer(v: float32x4_t, n: i32) -> float32x4_t {
        // SAFETY: as the trait's contract says.
        unsafe { vcvtq_f32_s32(vaddq_s32(vcvtnq_s32_f32(v), vdupq_n_s32(n))) }
    }
}
