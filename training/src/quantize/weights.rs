//! Whole numbers for a convolution's weights and bias.

use hgad::{Error, Result};

use super::code::Code;
use super::layers::Conv;
use super::network::{Frame, Int8Conv, Network, mapped, values};
use crate::export::int8::quantise;

/// A bias stays below this, so that sums of products fit beside it into 32 bits.
const LARGEST_BIAS: f32 = (1 << 30) as f32;

/// The bias of a channel without weights takes a code of this size: its error is nothing then.
const BIAS_OF_NOTHING: f32 = (1 << 20) as f32;

/// A convolution in whole numbers, for inputs with a code. `correction` is added to its bias; empty for none.
///
/// # Errors
///
/// Weights or bias are not finite.
pub(super) fn int8_conv(network: &Network, l: usize, conv: &Conv, input: Code, correction: &[f32]) -> Result<Int8Conv> {
    let corrections = correction.iter().copied().chain(std::iter::repeat(0.0));
    let bias = &conv.bias.iter().zip(corrections).map(|(bias, correction)| bias + correction).collect::<Vec<_>>();
    if !conv.weights.values.iter().chain(bias).all(|value| value.is_finite()) {
        return Err(Error::usage(format!("layer {} cannot be quantised", network.layers.layers[l].output))
            .because("its weights are not all finite"));
    }
    let channels = conv.weights.shape[0];
    let inner = conv.weights.values.len() / channels;
    let mut scales = quantise(&conv.weights.values, &conv.weights.shape, 0).scales;
    let mut weights = Vec::with_capacity(conv.weights.values.len());
    for ((kernel, scale), bias) in conv.weights.values.chunks_exact(inner).zip(&mut scales).zip(bias) {
        let least = |codes: f32| bias.abs() / (input.scale * codes);
        if kernel.iter().all(|weight| *weight == 0.0) {
            *scale = if *bias == 0.0 { 1.0 } else { least(BIAS_OF_NOTHING) };
        }
        *scale = scale.max(least(LARGEST_BIAS)).max(f32::MIN_POSITIVE);
        weights.extend(kernel.iter().map(|weight| (weight / *scale).round_ties_even().clamp(-127.0, 127.0) as i8));
    }
    let bias = bias.iter().zip(&scales).map(|(bias, scale)| (bias / (input.scale * scale)).round_ties_even() as i32);
    let bias = bias.collect();
    Int8Conv::new(network, l, conv, weights, scales, bias)
}

/// How much larger a convolution's outputs are in floats than in whole numbers, in the mean over `frames`, by channel: weights and
/// inputs that were rounded shift a channel as a whole, which its bias can take back (Nagel et al., "Data-Free Quantization
/// Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2, here measured on frames).
///
/// # Errors
///
/// As [`int8_conv`].
pub(super) fn mean_error(network: &Network, l: usize, conv: &Conv, input: Code, frames: &[Frame]) -> Result<Vec<f32>> {
    let int8 = int8_conv(network, l, conv, input, &[])?;
    let mut sums = vec![0f64; int8.scales.len()];
    let mut count = 0;
    for (frame, float) in frames.iter().zip(network.convolved(l, frames)?) {
        let levels = mapped(&frame[network.layers.layers[l].inputs[0]], |value| input.level(value))?;
        let ours = int8.run(network, l, levels, input.scale)?;
        let (float, ours) = (values(&float)?, values(&ours)?);
        let plane = float.len() / sums.len();
        for ((float, ours), sum) in float.chunks_exact(plane).zip(ours.chunks_exact(plane)).zip(&mut sums) {
            *sum += float.iter().zip(ours).map(|(float, ours)| f64::from(float - ours)).sum::<f64>();
        }
        count += plane;
    }
    Ok(sums.into_iter().map(|sum| (sum / count as f64) as f32).collect())
}
