//! x86-64, with and without 8-bit dot products.

use core::arch::x86_64::*;

use super::{Dot, Task};
use crate::simd;

/// AVX2: 8-bit multiply-add to 16 bits, where it saturates, and from there to 32.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

/// AVX-VNNI.
#[derive(Clone, Copy)]
pub(super) struct AvxVnni;

/// AVX-512 BW: as AVX2.
#[derive(Clone, Copy)]
pub(super) struct Avx512;

/// AVX512-VNNI.
#[derive(Clone, Copy)]
pub(super) struct Vnni;

/// Runs a task with AVX2.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2<T: Task>(task: T) {
    // SAFETY: this function's features are those of Avx2; the rest is the caller's.
    unsafe { task.run::<Avx2>() }
}

/// Runs a task with AVX-VNNI.
#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) unsafe fn avx_vnni<T: Task>(task: T) {
    // SAFETY: this function's features are those of AvxVnni; the rest is the caller's.
    unsafe { task.run::<AvxVnni>() }
}

/// Runs a task with AVX-512.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn avx512<T: Task>(task: T) {
    // SAFETY: this function's features are those of Avx512; the rest is the caller's.
    unsafe { task.run::<Avx512>() }
}

/// Runs a task with AVX512-VNNI.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn vnni<T: Task>(task: T) {
    // SAFETY: this function's features are those of Vnni; the rest is the caller's.
    unsafe { task.run::<Vnni>() }
}

impl Dot for Avx2 {
    type S = simd::Avx2;
    type X = __m256i;
    type A = __m256i;
    const STEP: usize = 4;
    const SATURATES: bool = true;
    const VECS: usize = 2;
    const ROWS: usize = 5;

    #[inline(always)]
    unsafe fn splat(n: i32) -> __m256i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm256_set1_epi32(n) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u8) -> __m256i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> __m256i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm256_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m256i, activations: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe {
            let pairs = _mm256_maddubs_epi16(activations, weights);
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
    #[inline(always)]
    unsafe fn float(sums: __m256i) -> __m256 {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm256_cvtepi32_ps(sums) }
    }
    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], to: *mut u8) {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe {
            let ab = _mm_unpacklo_epi8(_mm_loadl_epi64(rows[0].cast()), _mm_loadl_epi64(rows[1].cast()));
            let cd = _mm_unpacklo_epi8(_mm_loadl_epi64(rows[2].cast()), _mm_loadl_epi64(rows[3].cast()));
            _mm_storeu_si128(to.cast(), _mm_unpacklo_epi16(ab, cd));
            _mm_storeu_si128(to.add(16).cast(), _mm_unpackhi_epi16(ab, cd))
        }
    }
}

impl Dot for AvxVnni {
    type S = simd::Avx2;
    type X = __m256i;
    type A = __m256i;
    const STEP: usize = 4;
    const VECS: usize = 2;
    const ROWS: usize = 6;

    #[inline(always)]
    unsafe fn splat(n: i32) -> __m256i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm256_set1_epi32(n) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u8) -> __m256i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> __m256i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm256_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m256i, activations: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm256_dpbusd_avx_epi32(sums, activations, weights) }
    }
    #[inline(always)]
    unsafe fn float(sums: __m256i) -> __m256 {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm256_cvtepi32_ps(sums) }
    }
    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], to: *mut u8) {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe {
            let ab = _mm_unpacklo_epi8(_mm_loadl_epi64(rows[0].cast()), _mm_loadl_epi64(rows[1].cast()));
            let cd = _mm_unpacklo_epi8(_mm_loadl_epi64(rows[2].cast()), _mm_loadl_epi64(rows[3].cast()));
            _mm_storeu_si128(to.cast(), _mm_unpacklo_epi16(ab, cd));
            _mm_storeu_si128(to.add(16).cast(), _mm_unpackhi_epi16(ab, cd))
        }
    }
}

impl Dot for Avx512 {
    type S = simd::Avx512;
    type X = __m512i;
    type A = __m512i;
    const STEP: usize = 4;
    const SATURATES: bool = true;
    const VECS: usize = 2;
    const ROWS: usize = 8;

    #[inline(always)]
    unsafe fn splat(n: i32) -> __m512i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm512_set1_epi32(n) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u8) -> __m512i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> __m512i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m512i, activations: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe {
            let pairs = _mm512_maddubs_epi16(activations, weights);
            _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
        }
    }
    #[inline(always)]
    unsafe fn float(sums: __m512i) -> __m512 {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }
    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], to: *mut u8) {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe {
            let [a, b, c, d] = rows;
            let (a, b) = (_mm_loadu_si128(a.cast()), _mm_loadu_si128(b.cast()));
            let (c, d) = (_mm_loadu_si128(c.cast()), _mm_loadu_si128(d.cast()));
            let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
            _mm_storeu_si128(to.cast(), _mm_unpacklo_epi16(ab, cd));
            _mm_storeu_si128(to.add(16).cast(), _mm_unpackhi_epi16(ab, cd));
            let (ab, cd) = (_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d));
            _mm_storeu_si128(to.add(32).cast(), _mm_unpacklo_epi16(ab, cd));
            _mm_storeu_si128(to.add(48).cast(), _mm_unpackhi_epi16(ab, cd))
        }
    }
}

impl Dot for Vnni {
    type S = simd::Avx512;
    type X = __m512i;
    type A = __m512i;
    const STEP: usize = 4;
    const VECS: usize = 2;
    const ROWS: usize = 8;

    #[inline(always)]
    unsafe fn splat(n: i32) -> __m512i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm512_set1_epi32(n) }
    }
    #[inline(always)]
    unsafe fn load(p: *const u8) -> __m512i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> __m512i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn dot(sums: __m512i, activations: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm512_dpbusd_epi32(sums, activations, weights) }
    }
    #[inline(always)]
    unsafe fn float(sums: __m512i) -> __m512 {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }
    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], to: *mut u8) {
        // SAFETY: as the trait's contract says; no access needs alignment.
        unsafe {
            let [a, b, c, d] = rows;
            let (a, b) = (_mm_loadu_si128(a.cast()), _mm_loadu_si128(b.cast()));
            let (c, d) = (_mm_loadu_si128(c.cast()), _mm_loadu_si128(d.cast()));
            let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
            _mm_storeu_si128(to.cast(), _mm_unpacklo_epi16(ab, cd));
            _mm_storeu_si128(to.add(16).cast(), _mm_unpackhi_epi16(ab, cd));
            let (ab, cd) = (_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d));
            _mm_storeu_si128(to.add(32).cast(), _mm_unpacklo_epi16(ab, cd));
            _mm_storeu_si128(to.add(48).cast(), _mm_unpackhi_epi16(ab, cd))
        }
    }
}
