//! Vectors of four in plain Rust, which the compiler turns into whatever the target has at least.

use super::Simd;

/// Plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn map(a: [f32; 4], f: impl Fn(f32) -> f32) -> [f32; 4] {
    [f(a[0]), f(a[1]), f(a[2]), f(a[3])]
}

#[inline(always)]
fn zip(a: [f32; 4], b: [f32; 4], f: impl Fn(f32, f32) -> f32) -> [f32; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl Simd for Portable {
    const LANES: usize = 4;
    const VECS: usize = 2;
    const ROWS: usize = 4;
    type V = [f32; 4];

    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 4] {
        // SAFETY: the trait asks for LANES readable elements; read_unaligned needs no alignment.
        unsafe { p.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: [f32; 4]) {
        // SAFETY: the trait asks for LANES writable elements; write_unaligned needs no alignment.
        unsafe { p.cast::<[f32; 4]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a / b)
    }
    // f32::mul_add calls a library function where the target has no such instruction.
    #[inline(always)]
    unsafe fn fma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        [a[0] * b[0] + c[0], a[1] * b[1] + c[1], a[2] * b[2] + c[2], a[3] * b[3] + c[3]]
    }
    #[inline(always)]
    unsafe fn clamp(v: [f32; 4], low: [f32; 4], high: [f32; 4]) -> [f32; 4] {
        let floored = zip(v, low, |v, low| if v < low { low } else { v });
        zip(floored, high, |v, high| if v > high { high } else { v })
    }
    // Adding and subtracting 1.5 * 2^23 leaves no fraction bits, rounded as all additions are: to even.
    #[inline(always)]
    unsafe fn round(v: [f32; 4]) -> [f32; 4] {
        map(v, |v| (v + 12_582_912.0) - 12_582_912.0)
    }
    #[inline(always)]
    unsafe fn power_of_two(v: [f32; 4]) -> [f32; 4] {
        map(v, |v| f32::from_bits(((v as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn abs(v: [f32; 4]) -> [f32; 4] {
        map(v, f32::abs)
    }
    #[inline(always)]
    unsafe fn with_sign(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, f32::copysign)
    }
    #[inline(always)]
    unsafe fn where_less(a: [f32; 4], b: [f32; 4], x: [f32; 4], y: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if a[i] < b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    unsafe fn load_pairs(p: *const f32) -> ([f32; 4], [f32; 4]) {
        // SAFETY: the trait asks for two vectors' elements.
        let v = unsafe { p.cast::<[f32; 8]>().read_unaligned() };
        ([v[0], v[2], v[4], v[6]], [v[1], v[3], v[5], v[7]])
    }
    #[inline(always)]
    unsafe fn load_byte_pairs(p: *const u8) -> ([f32; 4], [f32; 4]) {
        // SAFETY: the trait asks for two vectors' bytes.
        let v = unsafe { p.cast::<[u8; 8]>().read() };
        ([v[0], v[2], v[4], v[6]].map(f32::from), [v[1], v[3], v[5], v[7]].map(f32::from))
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> [f32; 4] {
        // SAFETY: the trait asks for LANES readable bytes.
        unsafe { p.cast::<[u8; 4]>().read().map(f32::from) }
    }
    #[inline(always)]
    unsafe fn store_steps(p: *mut u8, v: [f32; 4], zero: i32) {
        // SAFETY: the trait asks for LANES writable bytes.
        unsafe { p.cast::<[u8; 4]>().write(Self::round(v).map(|v| (v as i32 + zero) as u8)) }
    }
    #[inline(always)]
    unsafe fn saturate(v: [f32; 4], low: [f32; 4], high: [f32; 4]) -> [f32; 4] {
        let floored = zip(v, low, |v, low| if v > low { v } else { low });
        zip(floored, high, |v, high| if v < high { v } else { high })
    }
    #[inline(always)]
    unsafe fn add_integer(v: [f32; 4], n: i32) -> [f32; 4] {
        map(v, |v| (v as i32).wrapping_add(n) as f32)
    }
}
