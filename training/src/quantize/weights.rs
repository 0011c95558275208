//! Whole numbers for a convolution's weights and bias.

use hgad::{Error, Result};

use super::code::Code;
use super::layers::Conv;
use super::network::{Int8Conv, Network};
use crate::export::int8::quantise;

/// A bias stays below this, so that sums of products fit beside it into 32 bits.
const LARGEST_BIAS: f32 = (1 << 30) as f32;

/// The bias of a channel without weights takes a code of this size: its error is nothing then.
const BIAS_OF_NOTHING: f32 = (1 << 20) as f32;

/// A convolution in whole numbers, for inputs with a code.
///
/// # Errors
///
/// Weights or bias are not finite.
pub(super) fn int8_conv(network: &Network, l: usize, conv: &Conv, input: Code) -> Result<Int8Conv> {
    let bias = &conv.bias;
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
