//! Two 16-bit steps in plain Rust.

use super::Dot;
use crate::simd;

/// Plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Dot for Portable {
    type S = simd::Portable;
    type X = [[i16; 2]; 4];
    type A = [i32; 4];
    const STEP: usize = 2;
    const VECS: usize = 2;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn splat(n: i32) -> [i32; 4] {
        [n; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const u8) -> [[i16; 2]; 4] {
        // SAFETY: the trait asks for 16 readable bytes.
        unsafe { p.cast::<[[i16; 2]; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn broadcast(p: *const u8) -> [[i16; 2]; 4] {
        // SAFETY: the trait asks for 4 readable bytes.
        unsafe { [p.cast::<[i16; 2]>().read_unaligned(); 4] }
    }
    #[inline(always)]
    unsafe fn dot(sums: [i32; 4], x: [[i16; 2]; 4], w: [[i16; 2]; 4]) -> [i32; 4] {
        std::array::from_fn(|i| {
            let [low, high] = [0, 1].map(|k| i32::from(x[i][k]) * i32::from(w[i][k]));
            sums[i].wrapping_add(low + high)
        })
    }
    #[inline(always)]
    unsafe fn float(sums: [i32; 4]) -> [f32; 4] {
        sums.map(|sum| sum as f32)
    }
    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], to: *mut u8) {
        // SAFETY: the trait asks for 4 readable bytes of each row, and 16 writable ones.
        unsafe {
            let [a, b] = [rows[0], rows[1]].map(|row| row.cast::<[u8; 4]>().read());
            let pairs: [[i16; 2]; 4] = std::array::from_fn(|i| [a[i].into(), b[i].into()]);
            to.cast::<[[i16; 2]; 4]>().write_unaligned(pairs);
        }
    }
}
