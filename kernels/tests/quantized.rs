//! Every 8-bit kernel of every tier that this CPU has, bit for bit against plain loops over random shapes.

use hgad_kernels::quantized::{
    Addition, Convolution, Depthwise, Output, Pointwise, Quantization, Sum, Weights, dequantize, quantize,
};
use hgad_kernels::{Clamp, Padding, Scratch, Tier, Window};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Bytes of which many are at the ends of the range, where instructions saturate.
fn bytes(rng: &mut ChaCha8Rng, len: usize) -> Vec<u8> {
    let extreme = rng.random_range(0..4) == 0;
    (0..len).map(|_| if extreme { [0, 255][rng.random_range(0..2)] } else { rng.random() }).collect()
}

fn weights(rng: &mut ChaCha8Rng, len: usize) -> Vec<i8> {
    let extreme = rng.random_range(0..4) == 0;
    (0..len).map(|_| if extreme { [-128, 127][rng.random_range(0..2)] } else { rng.random() }).collect()
}

fn quantization(rng: &mut ChaCha8Rng) -> Quantization {
    Quantization { scale: rng.random_range(0.001..0.1), zero: [0, 255, 128, rng.random()][rng.random_range(0..4)] }
}

fn clamp(rng: &mut ChaCha8Rng) -> Clamp {
    [Clamp::NONE, Clamp::RELU, Clamp::RELU6, Clamp { low: -0.4, high: 0.3 }][rng.random_range(0..4)]
}

/// A layer's numbers.
struct Numbers {
    values: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<i32>,
    input: Quantization,
    output: Output,
    residual: Option<Vec<u8>>,
}

impl Numbers {
    /// For `outputs` channels of `each` weights and `area` pixels. The scales are such that outputs fill their range, and ties occur.
    fn new(rng: &mut ChaCha8Rng, outputs: usize, each: usize, area: usize) -> Self {
        let input = quantization(rng);
        let ties = rng.random_range(0..3) == 0;
        let own = Quantization { scale: if ties { input.scale } else { quantization(rng).scale }, zero: rng.random() };
        let scale = |rng: &mut ChaCha8Rng| {
            let power = (each as f32).sqrt() * 70.0;
            if ties {
                0.5f32.powi(power.log2() as i32)
            } else {
                rng.random_range(0.5..2.0) / power * own.scale / input.scale
            }
        };
        let sum = rng.random::<bool>().then(|| Sum {
            residual: quantization(rng),
            output: Quantization { scale: own.scale * 1.3, zero: rng.random() },
            clamp: clamp(rng),
        });
        Self {
            values: weights(rng, outputs * each),
            scales: (0..outputs).map(|_| scale(rng)).collect(),
            // Some beyond 2^24, where f32 has no more odd numbers.
            bias: (0..outputs)
                .map(|_| {
                    [rng.random_range(-9999..9999), rng.random_range(-1 << 27..1 << 27)]
                        [usize::from(rng.random_range(0..9) == 0)]
                })
                .collect(),
            input,
            output: Output { quantization: own, clamp: clamp(rng), sum },
            residual: sum.map(|_| bytes(rng, outputs * area)),
        }
    }

    fn weights(&self) -> Weights<'_> {
        Weights { values: &self.values, scales: &self.scales, bias: &self.bias }
    }

    /// The module's formulas, for output `i` of `channel` with the sum `sum` of its products.
    fn finish(&self, channel: usize, sum: i32, i: usize) -> u8 {
        let Output { quantization: own, clamp, sum: added } = self.output;
        let m = (f64::from(self.input.scale) * f64::from(self.scales[channel]) / f64::from(own.scale)) as f32;
        let r = steps(sum.wrapping_add(self.bias[channel]) as f32 * m, own, clamp);
        match (added, &self.residual) {
            (Some(Sum { residual, output, clamp }), Some(q)) => add(r, own, (q[i], residual), output, clamp),
            _ => (r + f32::from(own.zero)) as u8,
        }
    }
}

/// Rounded, in the range of the clamp.
fn steps(v: f32, quantization: Quantization, clamp: Clamp) -> f32 {
    let limit = |real: f32| f32::from(quantization.quantize(real)) - f32::from(quantization.zero);
    v.round_ties_even().clamp(limit(clamp.low), limit(clamp.high))
}

fn add(left: f32, own: Quantization, (q, right): (u8, Quantization), output: Quantization, clamp: Clamp) -> u8 {
    let ratio = |scale: f32| (f64::from(scale) / f64::from(output.scale)) as f32;
    let sum = left * ratio(own.scale) + (f32::from(q) - f32::from(right.zero)) * ratio(right.scale);
    (steps(sum, output, clamp) + f32::from(output.zero)) as u8
}

fn window(rng: &mut ChaCha8Rng, largest: usize) -> Window {
    loop {
        let kernel = [[3, 3], [5, 5], [3, 3], [5, 5], [1, 1], [2, 3], [7, 4]][rng.random_range(0..7)];
        let stride = [[1, 1], [2, 2], [1, 1], [2, 2], [3, 3], [1, 2]][rng.random_range(0..6)];
        let side = |rng: &mut ChaCha8Rng| rng.random_range(0..4);
        let padding = Padding { top: side(rng), left: side(rng), bottom: side(rng), right: side(rng) };
        let (height, width) = (rng.random_range(1..=largest), rng.random_range(1..=largest));
        let window = Window { height, width, kernel, stride, padding };
        if window.output().is_ok() {
            return window;
        }
    }
}

/// The products under a window, over (input channel, first weight).
fn windowed(image: &[u8], numbers: &Numbers, window: &Window, [y, x]: [usize; 2], pairs: &[(usize, usize)]) -> i32 {
    let mut sum = 0i32;
    for &(channel, first) in pairs {
        for ky in 0..window.kernel[0] {
            for kx in 0..window.kernel[1] {
                let row = (y * window.stride[0] + ky).checked_sub(window.padding.top).filter(|&r| r < window.height);
                let column = (x * window.stride[1] + kx).checked_sub(window.padding.left).filter(|&c| c < window.width);
                if let (Some(row), Some(column)) = (row, column) {
                    let q = image[(channel * window.height + row) * window.width + column];
                    let w = numbers.values[first + ky * window.kernel[1] + kx];
                    sum += (i32::from(q) - i32::from(numbers.input.zero)) * i32::from(w);
                }
            }
        }
    }
    sum
}

/// The first difference, told with the case.
fn hold(what: &str, wanted: &[u8], got: &[u8]) {
    if let Some(i) = (0..wanted.len()).find(|&i| wanted[i] != got[i]) {
        panic!("{what}: output {i} is {}, not {}", got[i], wanted[i]);
    }
}

#[test]
fn pointwise_is_the_plain_product() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut scratch = Scratch::new();
    for case in 0..300 {
        let inputs = if case % 8 == 0 { rng.random_range(300..1200) } else { rng.random_range(1..100) };
        let outputs = rng.random_range(1..40);
        let positions = if case % 10 == 0 { rng.random_range(900..1300) } else { rng.random_range(1..120) };
        let numbers = Numbers::new(&mut rng, outputs, inputs, positions);
        let image = bytes(&mut rng, inputs * positions);
        let mut wanted = vec![0; outputs * positions];
        for (i, wanted) in wanted.iter_mut().enumerate() {
            let (row, column) = (i / positions, i % positions);
            let centred = |k: usize| i32::from(image[k * positions + column]) - i32::from(numbers.input.zero);
            let sum = (0..inputs).map(|k| centred(k) * i32::from(numbers.values[row * inputs + k])).sum();
            *wanted = numbers.finish(row, sum, i);
        }
        for tier in Tier::available() {
            let shape = (inputs, outputs, positions);
            let kernel = Pointwise::new(tier, shape, numbers.weights(), numbers.input, numbers.output).unwrap();
            let mut output = vec![99; kernel.output_len()];
            kernel.run(&image, numbers.residual.as_deref(), &mut output, &mut scratch).unwrap();
            hold(&format!("{tier} {shape:?}"), &wanted, &output);
        }
    }
}

#[test]
fn depthwise_is_the_plain_convolution() {
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let mut scratch = Scratch::new();
    for case in 0..300 {
        let window = window(&mut rng, if case % 10 == 0 { 150 } else { 40 });
        let [rows, columns] = window.output().unwrap();
        let channels = rng.random_range(1..4);
        let taps = window.kernel[0] * window.kernel[1];
        let numbers = Numbers::new(&mut rng, channels, taps, rows * columns);
        let image = bytes(&mut rng, channels * window.height * window.width);
        let mut wanted = vec![0; channels * rows * columns];
        for (i, wanted) in wanted.iter_mut().enumerate() {
            let channel = i / (rows * columns);
            let at = [i / columns % rows, i % columns];
            *wanted = numbers.finish(channel, windowed(&image, &numbers, &window, at, &[(channel, channel * taps)]), i);
        }
        for tier in Tier::available() {
            let kernel =
                Depthwise::new(tier, channels, window, numbers.weights(), numbers.input, numbers.output).unwrap();
            let mut output = vec![99; kernel.output_len()];
            kernel.run(&image, numbers.residual.as_deref(), &mut output, &mut scratch).unwrap();
            hold(&format!("{tier} {window:?}"), &wanted, &output);
        }
    }
}

#[test]
fn convolution_is_the_plain_one() {
    let mut rng = ChaCha8Rng::seed_from_u64(13);
    let mut scratch = Scratch::new();
    for case in 0..200 {
        let window = window(&mut rng, if case % 10 == 0 { 80 } else { 24 });
        let [rows, columns] = window.output().unwrap();
        let inputs = if case % 10 == 1 { 60 } else { rng.random_range(1..5) };
        let outputs = rng.random_range(1..20);
        let taps = window.kernel[0] * window.kernel[1];
        let numbers = Numbers::new(&mut rng, outputs, inputs * taps, rows * columns);
        let image = bytes(&mut rng, inputs * window.height * window.width);
        let mut wanted = vec![0; outputs * rows * columns];
        for (i, wanted) in wanted.iter_mut().enumerate() {
            let channel = i / (rows * columns);
            let at = [i / columns % rows, i % columns];
            let pairs: Vec<_> = (0..inputs).map(|k| (k, (channel * inputs + k) * taps)).collect();
            *wanted = numbers.finish(channel, windowed(&image, &numbers, &window, at, &pairs), i);
        }
        for tier in Tier::available() {
            let shape = (inputs, outputs);
            let kernel =
                Convolution::new(tier, shape, window, numbers.weights(), numbers.input, numbers.output).unwrap();
            let mut output = vec![99; kernel.output_len()];
            kernel.run(&image, numbers.residual.as_deref(), &mut output, &mut scratch).unwrap();
            hold(&format!("{tier} {shape:?} {window:?}"), &wanted, &output);
        }
    }
}

#[test]
fn conversions_are_onnx() {
    let mut rng = ChaCha8Rng::seed_from_u64(14);
    for len in [0, 1, 7, 15, 16, 17, 33, 1000] {
        let quantization = Quantization { scale: 0.25, zero: rng.random() };
        let mut reals: Vec<f32> = (0..len).map(|_| rng.random_range(-40.0..40.0)).collect();
        // Ties, ends and what is no number.
        for (real, special) in reals.iter_mut().zip([0.125, 0.375, -0.125, 1e30, f32::NAN, f32::NEG_INFINITY, 0.0]) {
            *real = special;
        }
        let wanted: Vec<u8> = reals
            .iter()
            .map(|&x| {
                let steps = (x / quantization.scale).round_ties_even() + f32::from(quantization.zero);
                if steps.is_nan() { 0 } else { steps.clamp(0.0, 255.0) as u8 }
            })
            .collect();
        for tier in Tier::available() {
            let mut bytes = vec![77; len];
            quantize(tier, quantization, &reals, &mut bytes).unwrap();
            assert_eq!(bytes, wanted, "{tier}");
            assert_eq!(bytes, reals.iter().map(|&x| quantization.quantize(x)).collect::<Vec<_>>());
            let mut back = vec![f32::NAN; len];
            dequantize(tier, quantization, &bytes, &mut back).unwrap();
            let wanted = bytes.iter().map(|&q| (f32::from(q) - f32::from(quantization.zero)) * quantization.scale);
            assert_eq!(back, wanted.collect::<Vec<_>>(), "{tier}");
            assert_eq!(back, bytes.iter().map(|&q| quantization.dequantize(q)).collect::<Vec<_>>());
        }
    }
}

#[test]
fn addition_is_its_formula() {
    let mut rng = ChaCha8Rng::seed_from_u64(15);
    for case in 0..200 {
        let len = rng.random_range(0..200);
        let (a, b, output) = (quantization(&mut rng), quantization(&mut rng), quantization(&mut rng));
        let clamp = clamp(&mut rng);
        let (left, right) = (bytes(&mut rng, len), bytes(&mut rng, len));
        let steps = |i: usize| f32::from(left[i]) - f32::from(a.zero);
        let wanted: Vec<u8> = (0..len).map(|i| add(steps(i), a, (right[i], b), output, clamp)).collect();
        for tier in Tier::available() {
            let mut sums = vec![7; len];
            Addition::new(tier, (a, b), output, clamp).unwrap().run(&left, &right, &mut sums).unwrap();
            assert_eq!(sums, wanted, "{tier}, case {case}");
        }
    }
}

#[test]
fn wrong_arguments_are_refused() {
    let tier = Tier::Portable;
    let good = Quantization { scale: 0.1, zero: 3 };
    let weights = Weights { values: &[1; 4], scales: &[0.1; 2], bias: &[0; 2] };
    let output = Output { quantization: good, clamp: Clamp::NONE, sum: None };
    let sum = Some(Sum { residual: good, output: good, clamp: Clamp::NONE });
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-44] {
        let bad = Quantization { scale, zero: 0 };
        assert!(Pointwise::new(tier, (2, 2, 4), weights, bad, output).is_err());
        assert!(Pointwise::new(tier, (2, 2, 4), weights, good, Output { quantization: bad, ..output }).is_err());
        assert!(quantize(tier, bad, &[0.0], &mut [0]).is_err());
    }
    let short = Weights { scales: &[0.1; 1], ..weights };
    assert!(Pointwise::new(tier, (2, 2, 4), short, good, output).is_err());
    let endless = Weights { scales: &[f32::INFINITY; 2], ..weights };
    assert!(Pointwise::new(tier, (2, 2, 4), endless, good, output).is_err());
    let mut scratch = Scratch::new();
    let plain = Pointwise::new(tier, (2, 2, 4), weights, good, output).unwrap();
    let adding = Pointwise::new(tier, (2, 2, 4), weights, good, Output { sum, ..output }).unwrap();
    let mut out = [5; 8];
    assert!(plain.run(&[0; 8], Some(&[0; 8]), &mut out, &mut scratch).is_err());
    assert!(adding.run(&[0; 8], None, &mut out, &mut scratch).is_err());
    assert!(adding.run(&[0; 8], Some(&[0; 7]), &mut out, &mut scratch).is_err());
    assert!(plain.run(&[0; 7], None, &mut out, &mut scratch).is_err());
    assert_eq!(out, [5; 8]);
}
