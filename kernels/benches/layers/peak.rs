//! What a core can multiply and add at most.

use std::hint::black_box;

use hgad_kernels::Tier;

/// Rounds of one measurement.
const TURNS: usize = 20_000;

/// Independent sums: more than latency times throughput, fewer than the registers.
const SUMS: usize = 12;

/// Floating-point operations per second (a multiply-add is two) with the tier's widest vectors.
pub fn flops(tier: Tier) -> f64 {
    let lanes = match tier {
        Tier::Avx512 | Tier::Vnni => 16,
        Tier::Avx2 | Tier::AvxVnni => 8,
        _ => 4,
    };
    let call = || match tier {
        // SAFETY: the bench asks for available tiers only.
        #[cfg(target_arch = "x86_64")]
        Tier::Avx512 | Tier::Vnni => unsafe { avx512() },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::AvxVnni => unsafe { avx2() },
        _ => portable(),
    };
    (2 * TURNS * SUMS * lanes) as f64 / crate::seconds(call)
}

/// `TURNS` of multiply-add on `SUMS` vectors.
macro_rules! turns {
    ($splat:expr, $fma:expr, $x:ident, $sum:ident) => {{
        let $x = $splat(black_box(0.5));
        let mut sums = [$x; SUMS];
        for _ in 0..TURNS {
            for $sum in &mut sums {
                *$sum = $fma;
            }
        }
        black_box(sums);
    }};
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2() {
    use core::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps};
    turns!(_mm256_set1_ps, _mm256_fmadd_ps(x, *sum, x), x, sum);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512() {
    use core::arch::x86_64::{_mm512_fmadd_ps, _mm512_set1_ps};
    turns!(_mm512_set1_ps, _mm512_fmadd_ps(x, *sum, x), x, sum);
}

/// Vectors of four, multiplied and added with whatever the target has at least.
fn portable() {
    let fma = |x: [f32; 4], sum: [f32; 4]| {
        let fused = cfg!(target_arch = "aarch64");
        std::array::from_fn(|i| if fused { x[i].mul_add(sum[i], x[i]) } else { x[i] * sum[i] + x[i] })
    };
    turns!(|x: f32| [x; 4], fma(x, *sum), x, sum);
}
