//! Every float kernel of every tier that this CPU has, against plain loops in f64 over random shapes.
//!
//! The bound is that of a sum in any order: the depth times the unit roundoff times the sum of the magnitudes of the terms.

use hgad_kernels::{Clamp, Convolution, Depthwise, Padding, Pointwise, Scratch, Tier, Window, couple, exp, tanh};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A random image or set of weights.
fn numbers(rng: &mut ChaCha8Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn clamp(rng: &mut ChaCha8Rng) -> Clamp {
    [Clamp::NONE, Clamp::RELU, Clamp::RELU6, Clamp { low: -0.4, high: 0.3 }][rng.random_range(0..4)]
}

fn window(rng: &mut ChaCha8Rng, largest: usize) -> Window {
    loop {
        let kernel = [[3, 3], [5, 5], [3, 3], [5, 5], [1, 1], [2, 3], [7, 4]][rng.random_range(0..7)];
        let stride = [[1, 1], [2, 2], [1, 1], [2, 2], [3, 3], [1, 2]][rng.random_range(0..6)];
        let side = |rng: &mut ChaCha8Rng| rng.random_range(0..4);
        let padding = Padding { top: side(rng), left: side(rng), bottom: side(rng), right: side(rng) };
        let window = Window {
            height: rng.random_range(1..=largest),
            width: rng.random_range(1..=largest),
            kernel,
            stride,
            padding,
        };
        if window.output().is_ok() {
            return window;
        }
    }
}

/// A sum and the sum of its terms' magnitudes, which bounds its rounding errors.
#[derive(Clone, Copy, Default)]
struct Sum {
    value: f64,
    magnitude: f64,
    terms: usize,
}

impl Sum {
    fn add(&mut self, a: f32, b: f32) {
        let term = f64::from(a) * f64::from(b);
        self.value += term;
        self.magnitude += term.abs();
        self.terms += 1;
    }
}

/// One output of a window: over the channels that `pairs` gives, (input channel, first weight).
fn windowed(image: &[f32], weights: &[f32], window: &Window, [y, x]: [usize; 2], pairs: &[(usize, usize)]) -> Sum {
    let mut sum = Sum::default();
    for &(channel, first) in pairs {
        for ky in 0..window.kernel[0] {
            for kx in 0..window.kernel[1] {
                let row = (y * window.stride[0] + ky).checked_sub(window.padding.top).filter(|&r| r < window.height);
                let column = (x * window.stride[1] + kx).checked_sub(window.padding.left).filter(|&c| c < window.width);
                if let (Some(row), Some(column)) = (row, column) {
                    let weight = weights[first + ky * window.kernel[1] + kx];
                    sum.add(image[(channel * window.height + row) * window.width + column], weight);
                }
            }
        }
    }
    sum
}

/// Holds results against sums: `NaN`s were never written.
fn hold(what: &str, sums: &[Sum], clamp: Clamp, got: &[f32]) {
    for (i, (sum, &got)) in sums.iter().zip(got).enumerate() {
        let wanted = sum.value.clamp(clamp.low.into(), clamp.high.into());
        let bound = (sum.terms + 2) as f64 * f64::from(f32::EPSILON) / 2.0 * sum.magnitude + 1e-30;
        assert!(
            (f64::from(got) - wanted).abs() <= bound,
            "{what}: output {i} is {got}, not {wanted} (bound {bound:e})"
        );
    }
}

#[test]
fn depthwise_is_the_plain_convolution() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut scratch = Scratch::new();
    for case in 0..400 {
        let window = window(&mut rng, if case % 10 == 0 { 150 } else { 40 });
        let [rows, columns] = window.output().unwrap();
        let channels = rng.random_range(1..4);
        let taps = window.kernel[0] * window.kernel[1];
        let image = numbers(&mut rng, channels * window.height * window.width);
        let (weights, bias) = (numbers(&mut rng, channels * taps), numbers(&mut rng, channels));
        let clamp = clamp(&mut rng);
        let sums: Vec<Sum> = (0..channels * rows * columns)
            .map(|i| {
                let channel = i / (rows * columns);
                let at = [i / columns % rows, i % columns];
                let mut sum = windowed(&image, &weights, &window, at, &[(channel, channel * taps)]);
                sum.add(bias[channel], 1.0);
                sum
            })
            .collect();
        for tier in Tier::available() {
            let kernel = Depthwise::new(tier, channels, window, &weights, &bias, clamp).unwrap();
            assert_eq!(kernel.output_size(), [rows, columns]);
            let mut output = vec![f32::NAN; kernel.output_len()];
            kernel.run(&image, &mut output, &mut scratch).unwrap();
            hold(&format!("{tier} {window:?}"), &sums, clamp, &output);
        }
    }
}

#[test]
fn pointwise_is_the_plain_product() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut scratch = Scratch::new();
    for case in 0..250 {
        // Some depths take more than one block.
        let inputs = if case % 8 == 0 { rng.random_range(380..1000) } else { rng.random_range(1..100) };
        let outputs = rng.random_range(1..40);
        let positions = if case % 10 == 0 { rng.random_range(1000..1500) } else { rng.random_range(1..120) };
        let image = numbers(&mut rng, inputs * positions);
        let (weights, bias) = (numbers(&mut rng, outputs * inputs), numbers(&mut rng, outputs));
        let residual = rng.random::<bool>().then(|| numbers(&mut rng, outputs * positions));
        let clamp = clamp(&mut rng);
        let sums: Vec<Sum> = (0..outputs * positions)
            .map(|i| {
                let (row, column) = (i / positions, i % positions);
                let mut sum = Sum::default();
                for k in 0..inputs {
                    sum.add(weights[row * inputs + k], image[k * positions + column]);
                }
                sum.add(bias[row], 1.0);
                sum.add(residual.as_ref().map_or(0.0, |residual| residual[i]), 1.0);
                sum
            })
            .collect();
        for tier in Tier::available() {
            let kernel = Pointwise::new(tier, (inputs, outputs, positions), &weights, &bias, clamp).unwrap();
            let mut output = vec![f32::NAN; kernel.output_len()];
            kernel.run(&image, residual.as_deref(), &mut output, &mut scratch).unwrap();
            hold(&format!("{tier} {inputs}x{outputs}x{positions}"), &sums, clamp, &output);
        }
    }
}

#[test]
fn convolution_is_the_plain_one() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut scratch = Scratch::new();
    for case in 0..200 {
        let window = window(&mut rng, if case % 10 == 0 { 80 } else { 24 });
        let [rows, columns] = window.output().unwrap();
        let inputs = if case % 10 == 1 { 60 } else { rng.random_range(1..5) };
        let outputs = rng.random_range(1..20);
        let taps = window.kernel[0] * window.kernel[1];
        let image = numbers(&mut rng, inputs * window.height * window.width);
        let (weights, bias) = (numbers(&mut rng, outputs * inputs * taps), numbers(&mut rng, outputs));
        let residual = rng.random::<bool>().then(|| numbers(&mut rng, outputs * rows * columns));
        let clamp = clamp(&mut rng);
        let sums: Vec<Sum> = (0..outputs * rows * columns)
            .map(|i| {
                let channel = i / (rows * columns);
                let at = [i / columns % rows, i % columns];
                let pairs: Vec<_> = (0..inputs).map(|k| (k, (channel * inputs + k) * taps)).collect();
                let mut sum = windowed(&image, &weights, &window, at, &pairs);
                sum.add(bias[channel], 1.0);
                sum.add(residual.as_ref().map_or(0.0, |residual| residual[i]), 1.0);
                sum
            })
            .collect();
        for tier in Tier::available() {
            let kernel = Convolution::new(tier, (inputs, outputs), window, &weights, &bias, clamp).unwrap();
            let mut output = vec![f32::NAN; kernel.output_len()];
            kernel.run(&image, residual.as_deref(), &mut output, &mut scratch).unwrap();
            hold(&format!("{tier} {inputs} {outputs} {window:?}"), &sums, clamp, &output);
        }
    }
}

#[test]
fn nan_is_not_clamped_away() {
    for tier in Tier::available() {
        let mut scratch = Scratch::new();
        let window = Window::square(9, 9, 3, 1, Padding::all(1));
        let kernel = Depthwise::new(tier, 1, window, &[1.0; 9], &[0.0], Clamp::RELU6).unwrap();
        let mut image = [1.0; 81];
        image[40] = f32::NAN;
        let mut output = [0.0; 81];
        kernel.run(&image, &mut output, &mut scratch).unwrap();
        assert_eq!(output.iter().filter(|v| v.is_nan()).count(), 9, "{tier}");
        let kernel = Pointwise::new(tier, (1, 1, 81), &[1.0], &[0.0], Clamp::RELU6).unwrap();
        kernel.run(&image, None, &mut output, &mut scratch).unwrap();
        assert_eq!(output.iter().filter(|v| v.is_nan()).count(), 1, "{tier}");
    }
}

#[test]
fn wrong_lengths_are_refused_and_nothing_is_written() {
    let tier = Tier::Portable;
    let window = Window::square(4, 4, 3, 1, Padding::all(1));
    assert!(Depthwise::new(tier, 2, window, &[0.0; 17], &[0.0; 2], Clamp::NONE).is_err());
    assert!(Depthwise::new(tier, 2, window, &[0.0; 18], &[0.0; 1], Clamp::NONE).is_err());
    assert!(Depthwise::new(tier, 2, window, &[0.0; 18], &[0.0; 2], Clamp { low: 1.0, high: 0.0 }).is_err());
    assert!(Pointwise::new(tier, (0, 2, 4), &[], &[0.0; 2], Clamp::NONE).is_err());
    assert!(Pointwise::new(tier, (2, 2, 0), &[0.0; 4], &[0.0; 2], Clamp::NONE).is_err());
    let kernel = Pointwise::new(tier, (2, 2, 4), &[1.0; 4], &[0.0; 2], Clamp::NONE).unwrap();
    let mut output = [7.0; 8];
    let mut scratch = Scratch::new();
    assert!(kernel.run(&[1.0; 7], None, &mut output, &mut scratch).is_err());
    assert!(kernel.run(&[1.0; 8], Some(&[1.0; 7]), &mut output, &mut scratch).is_err());
    assert!(kernel.run(&[1.0; 8], None, &mut output[..7], &mut scratch).is_err());
    assert_eq!(output, [7.0; 8]);
    for tier in Tier::ALL.into_iter().filter(|tier| !tier.is_available()) {
        assert!(Pointwise::new(tier, (2, 2, 4), &[1.0; 4], &[0.0; 2], Clamp::NONE).is_err());
        assert!(exp(tier, &mut output).is_err());
    }
}

/// Numbers between neighbouring `f32`, in units of the last place of the wanted result.
fn ulps(got: f32, wanted: f64) -> f64 {
    let rounded = (wanted as f32).abs().max(f32::MIN_POSITIVE);
    let unit = f64::from(f32::from_bits(rounded.to_bits() + 1)) - f64::from(rounded);
    (f64::from(got) - wanted).abs() / unit
}

/// Every `step`-th `f32` from 0 to the largest, of both signs, in chunks.
fn all_floats(step: usize, mut each: impl FnMut(&[f32])) {
    let mut chunk = Vec::with_capacity(4096);
    for bits in (0..=f32::INFINITY.to_bits()).step_by(step) {
        chunk.extend([f32::from_bits(bits), -f32::from_bits(bits)]);
        if chunk.len() == 4096 {
            each(&chunk);
            chunk.clear();
        }
    }
    chunk.extend([f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 88.722_84, 89.0, -103.97, -87.33655]);
    each(&chunk);
}

/// The largest error of a function over all floats, for each tier.
fn largest_error(
    step: usize,
    function: fn(Tier, &mut [f32]) -> Result<(), hgad_kernels::Error>,
    exact: fn(f64) -> f64,
) -> f64 {
    let mut worst: f64 = 0.0;
    let mut wanted = Vec::new();
    all_floats(step, |chunk| {
        wanted.clear();
        wanted.extend(chunk.iter().map(|&x| exact(x.into())));
        for tier in Tier::available() {
            let mut got = chunk.to_vec();
            function(tier, &mut got).unwrap();
            for ((&x, &got), &wanted) in chunk.iter().zip(&got).zip(&wanted) {
                if (wanted as f32).is_infinite() {
                    assert_eq!(got, wanted as f32, "{tier} {x}");
                } else {
                    let error = ulps(got, wanted);
                    assert!(error < 10.0, "{tier}: {x} gives {got}, not {wanted}");
                    worst = worst.max(error);
                }
            }
        }
    });
    worst
}

// A prime step visits every exponent and all kinds of mantissas; 3 million numbers, of each of which every tier is tried.
const STEP: usize = 1409;

#[test]
fn exp_keeps_its_bound() {
    let worst = largest_error(STEP, exp, f64::exp);
    println!("exp: {worst:.2} units in the last place at most");
    assert!(worst <= 2.0, "{worst}");
}

#[test]
fn tanh_keeps_its_bound() {
    let worst = largest_error(STEP, tanh, f64::tanh);
    println!("tanh: {worst:.2} units in the last place at most");
    assert!(worst <= 3.0, "{worst}");
}

#[test]
fn functions_keep_nan_and_serve_every_length() {
    for tier in Tier::available() {
        for len in 0..40 {
            let mut values = vec![f32::NAN; len];
            exp(tier, &mut values).unwrap();
            assert!(values.iter().all(|v| v.is_nan()), "{tier}");
            tanh(tier, &mut values).unwrap();
            assert!(values.iter().all(|v| v.is_nan()), "{tier}");
            let mut values = vec![1.0; len];
            exp(tier, &mut values).unwrap();
            assert!(values.iter().all(|v| (v - 1.0f32.exp()).abs() < 1e-6), "{tier}");
        }
    }
}

#[test]
fn coupling_is_its_formula() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for len in [0, 1, 7, 16, 37, 256] {
        let (x, a, t) = (numbers(&mut rng, len), numbers(&mut rng, len), numbers(&mut rng, len));
        for tier in Tier::available() {
            let (mut z, mut s) = (vec![0.0; len], vec![0.0; len]);
            couple(tier, 1.9, (&x, &a, &t), &mut z, &mut s).unwrap();
            for i in 0..len {
                let wanted = 1.9 * f64::from(a[i]).tanh();
                assert!((f64::from(s[i]) - wanted).abs() < 1e-6, "{tier}");
                assert!((f64::from(z[i]) - (f64::from(x[i]) * wanted.exp() + f64::from(t[i]))).abs() < 5e-6, "{tier}");
            }
        }
    }
}
