//! Times every layer of MobileNetV2 at 256 pixels on every tier of this CPU, one thread.
//!
//!     cargo bench -p hgad-kernels                  # all tiers
//!     cargo bench -p hgad-kernels -- avx2          # one tier
//!
//! `--csv` and `--rounds N` are for `benches/peers/layers.py`, which holds the times against onnxruntime's.
//!
//! Tiers and layers take turns, round by round; the figures are medians of the thread's CPU time. The share is that of the tier's own
//! peak of multiply-add, measured beside them.

mod network;
mod peak;

use std::hint::black_box;

use hgad_kernels::{Scratch, Tier};
use network::LAYERS;

/// Turns of every layer and tier, when nothing else is asked for.
const ROUNDS: usize = 11;

/// CPU time of this thread in seconds.
pub fn cpu_seconds() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every Unix, and the pointer is to a timespec of our own.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// Seconds that a call takes, over as many calls as make a millisecond.
pub fn seconds(mut call: impl FnMut()) -> f64 {
    let mut calls = 1u32;
    // The caches are warm when the clock starts.
    call();
    loop {
        let start = cpu_seconds();
        for _ in 0..calls {
            call();
        }
        let taken = cpu_seconds() - start;
        if taken > 1e-3 || calls > 1 << 20 {
            return taken / f64::from(calls);
        }
        calls *= 2;
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    // cargo passes --bench; what else starts with a dash is ours.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let csv = words.iter().any(|word| word == "--csv");
    let rounds = words.iter().find_map(|word| word.parse().ok()).unwrap_or(ROUNDS);
    let asked: Vec<Tier> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let named = |tier: &Tier| asked.is_empty() || asked.contains(tier);
    let tiers: Vec<Tier> = Tier::available().filter(named).collect();
    let made: Vec<Vec<_>> = tiers
        .iter()
        .map(|&tier| LAYERS.iter().map(|layer| (layer.make(tier), layer.make_of_bytes(tier))).collect())
        .collect();
    let mut times = vec![vec![[Vec::new(), Vec::new()]; LAYERS.len()]; tiers.len()];
    let mut peaks = vec![Vec::new(); tiers.len()];
    let mut scratch = Scratch::new();
    let (mut reals, mut bytes) = (vec![0.0f32; network::LARGEST], vec![0u8; network::LARGEST]);
    for _ in 0..rounds {
        for (t, made) in made.iter().enumerate() {
            peaks[t].push(peak::flops(tiers[t]));
            for (l, (real, byte)) in made.iter().enumerate() {
                times[t][l][0].push(seconds(|| real.run(black_box(&mut reals), &mut scratch)));
                times[t][l][1].push(seconds(|| byte.run(black_box(&mut bytes), &mut scratch)));
            }
        }
    }
    for (t, &tier) in tiers.iter().enumerate() {
        let times: Vec<[f64; 2]> = times[t].iter_mut().map(|[real, byte]| [median(real), median(byte)]).collect();
        if csv { list(tier, &times) } else { report(tier, median(&mut peaks[t]), &times) }
    }
}

/// Prints one tier's times for a script.
fn list(tier: Tier, times: &[[f64; 2]]) {
    for (layer, [real, byte]) in LAYERS.iter().zip(times) {
        println!("{tier},{},{},{:.3},{:.3}", layer.name(), layer.times, real * 1e6, byte * 1e6);
    }
}

/// Prints one tier's table: the layers, then each kind of them and all as the network has them.
fn report(tier: Tier, peak: f64, times: &[[f64; 2]]) {
    println!("\n{tier}: peak {:.1} GFLOP/s", peak * 1e-9);
    println!(
        "{:<32} {:>5} {:>10} {:>9} {:>6} {:>10} {:>10}",
        "layer", "times", "f32 us", "GFLOP/s", "share", "8-bit us", "8-bit/f32"
    );
    let line = |name: &str, times: String, flops: f64, [real, byte]: [f64; 2]| {
        let (rate, share) = (flops / real * 1e-9, 100.0 * flops / real / peak);
        let (real_us, byte_us, ratio) = (real * 1e6, byte * 1e6, byte / real);
        println!("{name:<32} {times:>5} {real_us:>10.1} {rate:>9.1} {share:>5.0}% {byte_us:>10.1} {ratio:>10.2}");
    };
    for (layer, &times) in LAYERS.iter().zip(times) {
        line(&layer.name(), layer.times.to_string(), 2.0 * layer.macs() as f64, times);
    }
    for kind in ["first", "depthwise", "pointwise", ""] {
        let (mut flops, mut sums) = (0.0, [0.0; 2]);
        for (layer, times) in LAYERS.iter().zip(times).filter(|(layer, _)| layer.name().starts_with(kind)) {
            flops += 2.0 * (layer.macs() * layer.times) as f64;
            sums = [0, 1].map(|i| sums[i] + times[i] * layer.times as f64);
        }
        line(if kind.is_empty() { "all" } else { kind }, String::new(), flops, sums);
    }
}
