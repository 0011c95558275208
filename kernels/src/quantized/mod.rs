//! The same layers on 8-bit numbers.
//!
//! An activation is a `u8` with a scale and a zero point per tensor: `real = scale * (q - zero)`. Weights are `i8`, symmetric, with a scale per
//! output channel. Sums are exact in `i32` on every tier (no instruction saturates on the way), and all that follows is done in the
//! same order in `f32`, so **every tier gives the same bits**.
//!
//! # From a sum to an output
//!
//! With the sum `a = bias + sum((q - zero) * w)` of channel `c`:
//!
//! 1. `m = f32(input.scale * weight_scale[c] / output.scale)`, computed once, in `f64`;
//! 2. `r = round(f32(a) * m)`, to the nearest integer with ties to even as ONNX's QuantizeLinear, brought into the range of the clamp and of `u8`
//!    around the output's zero point (NaN, which a scale of infinity could make, does not occur: scales are checked);
//! 3. without a residual the output is `r + zero`. With one, `s = round(r * f32(output.scale / sum.scale) + f32(q_residual - zero_residual) *
//!    f32(residual.scale / sum.scale))` with each operation rounded to `f32`, again brought into range, and the output is `s + zero_sum`: what a
//!    QuantizeLinear, DequantizeLinear, Add and QuantizeLinear in a row compute.

mod convolution;
mod depthwise;
mod dot;
mod elementwise;
mod gemm;
mod pointwise;
mod requantize;
#[cfg(target_arch = "aarch64")]
mod windows;

pub use convolution::Convolution;
pub use depthwise::Depthwise;
pub use elementwise::{Addition, dequantize, quantize};
pub use pointwise::Pointwise;
pub use requantize::{Output, Quantization, Sum, Weights};
