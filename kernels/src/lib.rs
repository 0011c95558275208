//! Arithmetic of convolutional networks on small CPUs, one image at a time.
//!
//! Each layer of a backbone is a kernel: made once from its shape and weights, which it packs for the CPU at hand, and then run on every
//! image. Bias, residual and clamp (ReLU, ReLU6) are part of the kernel, so that an output is written once and never read again.
//!
//! - [`Depthwise`]: one window per channel.
//! - [`Pointwise`]: 1x1 convolution, and any linear layer in `[channels, positions]` layout.
//! - [`Convolution`]: dense windows; the first layer.
//! - [`exp`], [`tanh`], [`couple`]: elementwise, with stated errors.
//! - [`multiply_triangle`]: triangles of 8-bit weights by vectors.
//! - [`quantized`]: the same layers on 8-bit numbers.
//!
//! # Conventions
//!
//! Tensors are contiguous slices in `[channels, height, width]` order (NCHW with N = 1). The caller owns inputs and outputs; working
//! memory is a [`Scratch`] that all kernels of a thread share. Kernels are immutable and can be shared among threads. After
//! [`Scratch::reserve`] no run allocates. Lengths are checked in every call; nothing is written when they are wrong.
//!
//! # Tiers
//!
//! Which instructions a kernel uses is its [`Tier`], given at construction: [`Tier::detect`] for the best one, or
//! any other that [`Tier::available`] lists. Float results of two tiers differ by rounding, as sums are taken in another order and
//! `Portable` does not fuse multiplication and addition; within one tier a kernel gives the same bits every time.
//!
//! # Example
//!
//! ```
//! use hgad_kernels::{Clamp, Depthwise, Padding, Scratch, Tier, Window};
//!
//! # fn main() -> Result<(), hgad_kernels::Error> {
//! // A 3x3 mean over one 4x4 channel.
//! let window = Window::square(4, 4, 3, 1, Padding::all(1));
//! let mean = Depthwise::new(Tier::detect()?, 1, window, &[1.0 / 9.0; 9], &[0.0], Clamp::RELU6)?;
//! let mut scratch = Scratch::new();
//! scratch.reserve(mean.scratch_bytes());
//! let mut output = vec![0.0; mean.output_len()];
//! mean.run(&[9.0; 16], &mut output, &mut scratch)?;
//! assert!((output[0] - 4.0).abs() < 1e-5);
//! assert_eq!(output[5], 6.0);
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]
#![allow(clippy::needless_range_loop, reason = "one index names a register, a weight and an address")]

mod convolution;
mod depthwise;
mod error;
mod gemm;
mod geometry;
mod math;
mod pointwise;
mod rows;
mod scratch;
mod simd;
mod tier;
mod triangle;

pub mod quantized;

pub use convolution::Convolution;
pub use depthwise::Depthwise;
pub use error::Error;
pub use geometry::{Clamp, Padding, Window};
pub use math::{couple, exp, tanh};
pub use pointwise::Pointwise;
pub use scratch::Scratch;
pub use tier::Tier;
pub use triangle::multiply_triangle;
