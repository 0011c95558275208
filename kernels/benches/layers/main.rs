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
use network::{LAYERS, Layer, Made};

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
    // The others compute floats as these do.
    let tiers: Vec<Tier> = Tier::available()
        .filter(|tier| !matches!(tier, Tier::AvxVnni | Tier::Vnni | Tier::Dotprod))
        .filter(named)
        .collect();
    let layers: Vec<Vec<Made>> =
        tiers.iter().map(|&tier| LAYERS.iter().map(|layer| layer.make(tier)).collect()).collect();
    let mut times = vec![vec![Vec::new(); LAYERS.len()]; tiers.len()];
    let mut peaks = vec![Vec::new(); tiers.len()];
    let mut scratch = Scratch::new();
    let mut output = vec![0.0f32; network::LARGEST];
    for _ in 0..rounds {
        for (t, made) in layers.iter().enumerate() {
            peaks[t].push(peak::flops(tiers[t]));
            for (l, made) in made.iter().enumerate() {
                times[t][l].push(seconds(|| made.run(black_box(&mut output), &mut scratch)));
            }
        }
    }
    for (t, tier) in tiers.iter().enumerate() {
        let peak = median(&mut peaks[t]);
        report(*tier, peak, &LAYERS, times[t].iter_mut().map(|times| median(times)).collect(), csv);
    }
}

/// Prints one tier's table.
fn report(tier: Tier, peak: f64, layers: &[Layer], times: Vec<f64>, csv: bool) {
    if csv {
        for (layer, time) in layers.iter().zip(times) {
            println!("{tier},{},{},{:.3}", layer.name(), layer.times, time * 1e6);
        }
        return;
    }
    println!("\n{tier}: peak {:.1} GFLOP/s", peak * 1e-9);
    println!("{:<32} {:>5} {:>10} {:>9} {:>6}", "layer", "times", "us", "GFLOP/s", "share");
    let mut whole = [0.0; 2];
    for (layer, time) in layers.iter().zip(times) {
        let flops = 2.0 * layer.macs() as f64;
        whole[0] += time * layer.times as f64;
        whole[1] += flops * layer.times as f64;
        let share = 100.0 * flops / time / peak;
        println!(
            "{:<32} {:>5} {:>10.1} {:>9.1} {share:>5.0}%",
            layer.name(),
            layer.times,
            time * 1e6,
            flops / time * 1e-9
        );
    }
    let rate = whole[1] / whole[0];
    println!("{:<32} {:>5} {:>10.1} {:>9.1} {:>5.0}%", "all", "", whole[0] * 1e6, rate * 1e-9, 100.0 * rate / peak);
}
