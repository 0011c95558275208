//! x86-64: AVX2 with FMA, and AVX-512.

use core::arch::x86_64::*;

use super::{Simd, Task};

/// AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// AVX-512 F and DQ.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

/// Runs a task with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2<T: Task>(task: T) {
    // SAFETY: this function's features are those of Avx2; the rest is the caller's.
    unsafe { task.run::<Avx2>() }
}

/// Runs a task with AVX-512.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn avx512<T: Task>(task: T) {
    // SAFETY: this function's features are those of Avx512; the rest is the caller's.
    unsafe { task.run::<Avx512>() }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const VECS: usize = 2;
    const ROWS: usize = 6;
    type V = __m256;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m256, b: __m256) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    // The instructions return their second operand when either is NaN.
    #[inline(always)]
    unsafe fn clamp(v: __m256, low: __m256, high: __m256) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_min_ps(high, _mm256_max_ps(low, v)) }
    }
    #[inline(always)]
    unsafe fn round(v: __m256) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v) }
    }
    #[inline(always)]
    unsafe fn power_of_two(v: __m256) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe {
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(
                _mm256_cvtps_epi32(v),
                _mm256_set1_epi32(127),
            )))
        }
    }
    #[inline(always)]
    unsafe fn abs(v: __m256) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), v) }
    }
    #[inline(always)]
    unsafe fn with_sign(a: __m256, b: __m256) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b))
        }
    }
    #[inline(always)]
    unsafe fn where_less(a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
    }
    #[inline(always)]
    unsafe fn load_pairs(p: *const f32) -> (__m256, __m256) {
        // SAFETY: as the trait's contract says.
        unsafe {
            let a = _mm256_set_m128(_mm_loadu_ps(p.add(8)), _mm_loadu_ps(p));
            let b = _mm256_set_m128(_mm_loadu_ps(p.add(12)), _mm_loadu_ps(p.add(4)));
            (_mm256_shuffle_ps::<0x88>(a, b), _mm256_shuffle_ps::<0xDD>(a, b))
        }
    }
    #[inline(always)]
    unsafe fn load_byte_pairs(p: *const u8) -> (__m256, __m256) {
        // SAFETY: as the trait's contract says.
        unsafe {
            let v = _mm_loadu_si128(p.cast());
            let even = _mm256_cvtepu16_epi32(_mm_and_si128(v, _mm_set1_epi16(255)));
            let odd = _mm256_cvtepu16_epi32(_mm_srli_epi16::<8>(v));
            (_mm256_cvtepi32_ps(even), _mm256_cvtepi32_ps(odd))
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn store_steps(p: *mut u8, v: __m256, zero: i32) {
        // SAFETY: as the trait's contract says.
        unsafe {
            let v = _mm256_cvtps_epi32(v);
            let words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
            let words = _mm_add_epi16(words, _mm_set1_epi16(zero as i16));
            _mm_storel_epi64(p.cast(), _mm_packus_epi16(words, words))
        }
    }
    // Both are packed at once: the low halves of both, then the high halves, are put in order at the end.
    #[inline(always)]
    unsafe fn store_steps_pair(p: [*mut u8; 2], v: [__m256; 2], zero: i32) {
        // SAFETY: as the trait's contract says.
        unsafe {
            let words = _mm256_packs_epi32(_mm256_cvtps_epi32(v[0]), _mm256_cvtps_epi32(v[1]));
            let words = _mm256_add_epi16(words, _mm256_set1_epi16(zero as i16));
            let bytes = _mm256_packus_epi16(words, words);
            let both = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
            _mm_storel_epi64(p[0].cast(), both);
            _mm_storel_epi64(p[1].cast(), _mm_unpackhi_epi64(both, both))
        }
    }
    // The instructions return their second operand when either is NaN.
    #[inline(always)]
    unsafe fn saturate(v: __m256, low: __m256, high: __m256) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_min_ps(_mm256_max_ps(v, low), high) }
    }
    #[inline(always)]
    unsafe fn add_integer(v: __m256, n: i32) -> __m256 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(n))) }
    }
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const VECS: usize = 2;
    const ROWS: usize = 8;
    type V = __m512;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    // The instructions return their second operand when either is NaN.
    #[inline(always)]
    unsafe fn clamp(v: __m512, low: __m512, high: __m512) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_min_ps(high, _mm512_max_ps(low, v)) }
    }
    #[inline(always)]
    unsafe fn round(v: __m512) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v) }
    }
    #[inline(always)]
    unsafe fn power_of_two(v: __m512) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe {
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(
                _mm512_cvtps_epi32(v),
                _mm512_set1_epi32(127),
            )))
        }
    }
    #[inline(always)]
    unsafe fn abs(v: __m512) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_andnot_ps(_mm512_set1_ps(-0.0), v) }
    }
    #[inline(always)]
    unsafe fn with_sign(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe {
            let sign = _mm512_set1_ps(-0.0);
            _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, b))
        }
    }
    #[inline(always)]
    unsafe fn where_less(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x) }
    }
    #[inline(always)]
    unsafe fn load_pairs(p: *const f32) -> (__m512, __m512) {
        // SAFETY: as the trait's contract says.
        unsafe {
            let (a, b) = (_mm512_loadu_ps(p), _mm512_loadu_ps(p.add(16)));
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
            (_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b))
        }
    }
    #[inline(always)]
    unsafe fn load_byte_pairs(p: *const u8) -> (__m512, __m512) {
        // SAFETY: as the trait's contract says.
        unsafe {
            let v = _mm256_loadu_si256(p.cast());
            let even = _mm512_cvtepu16_epi32(_mm256_and_si256(v, _mm256_set1_epi16(255)));
            let odd = _mm512_cvtepu16_epi32(_mm256_srli_epi16::<8>(v));
            (_mm512_cvtepi32_ps(even), _mm512_cvtepi32_ps(odd))
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn store_steps(p: *mut u8, v: __m512, zero: i32) {
        // SAFETY: as the trait's contract says.
        unsafe {
            let v = _mm512_add_epi32(_mm512_cvtps_epi32(v), _mm512_set1_epi32(zero));
            _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(v))
        }
    }
    // The instructions return their second operand when either is NaN.
    #[inline(always)]
    unsafe fn saturate(v: __m512, low: __m512, high: __m512) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_min_ps(_mm512_max_ps(v, low), high) }
    }
    #[inline(always)]
    unsafe fn add_integer(v: __m512, n: i32) -> __m512 {
        // SAFETY: as the trait's contract says.
        unsafe { _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_cvtps_epi32(v), _mm512_set1_epi32(n))) }
    }
}
