//! Depthwise convolution: one window per channel.

use crate::error::check_length;
use crate::geometry::{Clamp, Window};
use crate::rows::PhasedRow;
use crate::scratch::Scratch;
use crate::simd::{Simd, Task, dispatch, float_tier};
use crate::{Error, Tier};

/// Bytes of padded rows that are worked on at a time: they stay in the first cache of a small core (32 KiB) beside the output.
const STRIP: usize = 20 << 10;

/// A depthwise convolution with bias and clamp: `out[c] = clamp(image[c] * weights[c] + bias[c])`.
///
/// Windows of 3x3 and 5x5 with strides of 1 and 2 compute four rows at once from registers; all others take a general path.
#[derive(Clone, Debug)]
pub struct Depthwise {
    tier: Tier,
    channels: usize,
    window: Window,
    output: [usize; 2],
    weights: Vec<f32>,
    bias: Vec<f32>,
    clamp: Clamp,
    layout: PhasedRow,
    /// Output rows of a strip.
    strip: usize,
}

impl Depthwise {
    /// Prepares a convolution of `[channels, height, width]` images.
    ///
    /// `weights` are `[channels, kernel height, kernel width]`, `bias` is `[channels]`.
    ///
    /// # Errors
    /// The tier is not this CPU's, the shape is empty, or a slice's length is not the shape's.
    pub fn new(
        tier: Tier,
        channels: usize,
        window: Window,
        weights: &[f32],
        bias: &[f32],
        clamp: Clamp,
    ) -> Result<Self, Error> {
        let output = window.output()?;
        check_length("weights", channels * window.kernel[0] * window.kernel[1], weights.len())?;
        check_length("bias", channels, bias.len())?;
        let layout = PhasedRow::new(&window, output[1]);
        let fitting = (STRIP / 4 / layout.pitch()).saturating_sub(window.kernel[0]) / window.stride[0];
        // Whole groups of four rows, and at least one.
        let strip = (fitting / 4 * 4).max(4).min(output[0]);
        Ok(Self {
            tier: float_tier(tier.checked()?, output[1]),
            channels,
            window,
            output,
            weights: weights.to_vec(),
            bias: bias.to_vec(),
            clamp: clamp.checked()?,
            layout,
            strip,
        })
    }

    /// Elements of the input: channels, height, width.
    pub fn input_len(&self) -> usize {
        self.channels * self.window.height * self.window.width
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.channels * self.output[0] * self.output[1]
    }

    /// Height and width of the output.
    pub fn output_size(&self) -> [usize; 2] {
        self.output
    }

    /// Working memory that [`Depthwise::run`] uses, in bytes.
    pub fn scratch_bytes(&self) -> usize {
        4 * self.strip_rows(self.strip) * self.layout.pitch()
    }

    /// Convolves one image.
    ///
    /// # Errors
    /// A slice's length is not the shape's.
    pub fn run(&self, image: &[f32], output: &mut [f32], scratch: &mut Scratch) -> Result<(), Error> {
        check_length("image", self.input_len(), image.len())?;
        check_length("output", self.output_len(), output.len())?;
        let rows = scratch.bytes(self.scratch_bytes()).cast();
        // SAFETY: `new` has checked that the CPU has the tier, and the lengths were checked above.
        unsafe { dispatch(self.tier, Run { of: self, image, output, rows }) };
        Ok(())
    }

    /// Input rows under so many output rows.
    fn strip_rows(&self, rows: usize) -> usize {
        (rows - 1) * self.window.stride[0] + self.window.kernel[0]
    }
}

/// One run; `rows` are `scratch_bytes` of working memory.
struct Run<'a> {
    of: &'a Depthwise,
    image: &'a [f32],
    output: &'a mut [f32],
    rows: *mut f32,
}

impl Task for Run<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: passed on from the caller.
        unsafe {
            match (self.of.window.kernel, self.of.window.stride) {
                ([3, 3], [1, 1]) => self.channels::<S, Fixed<3, 1>>(),
                ([3, 3], [2, 2]) => self.channels::<S, Fixed<3, 2>>(),
                ([5, 5], [1, 1]) => self.channels::<S, Fixed<5, 1>>(),
                ([5, 5], [2, 2]) => self.channels::<S, Fixed<5, 2>>(),
                _ => self.channels::<S, Any>(),
            }
        }
    }
}

impl Run<'_> {
    /// # Safety
    /// The CPU has the features of `S`; slices and `rows` are as long as `of` says.
    #[inline(always)]
    unsafe fn channels<S: Simd, B: Block>(self) {
        let of = self.of;
        let (plane, area) = (of.window.height * of.window.width, of.output[0] * of.output[1]);
        for channel in 0..of.channels {
            let mut from = 0;
            while from < of.output[0] {
                let to = (from + of.strip).min(of.output[0]);
                let first = from * of.window.stride[0];
                // SAFETY: channels and rows are within the slices, whose lengths `run` has checked.
                unsafe {
                    let pixels = (self.image.as_ptr().add(channel * plane), self.image.len() - channel * plane);
                    let rows = (first, first + of.strip_rows(to - from));
                    // A plane in one strip lies where the one before it did, and so do the zeros around it.
                    let pads = channel == 0 || of.strip < of.output[0];
                    match of.window.stride[1] {
                        1 => of.layout.fill_rows::<S, 1>(&of.window, pixels, rows, self.rows, pads),
                        2 => of.layout.fill_rows::<S, 2>(&of.window, pixels, rows, self.rows, pads),
                        _ => of.layout.fill_rows::<S, 0>(&of.window, pixels, rows, self.rows, pads),
                    }
                    let out = self.output.as_mut_ptr().add(channel * area);
                    of.strip_of::<S, B>(channel, self.rows, out.add(from * of.output[1]), to - from);
                }
                from = to;
            }
        }
    }
}

impl Depthwise {
    /// Computes `count` output rows from the padded rows at `rows`.
    ///
    /// # Safety
    /// The CPU has the features of `S`; `rows` holds `strip_rows(count)` rows, `out` takes `count` of them.
    #[inline(always)]
    unsafe fn strip_of<S: Simd, B: Block>(&self, channel: usize, rows: *const f32, out: *mut f32, count: usize) {
        let step = self.window.stride[0] * self.layout.pitch();
        // SAFETY: `y` counts rows below `count`.
        unsafe {
            let mut y = 0;
            while y + 4 <= count {
                self.rows_of::<S, B, 4>(channel, rows.add(y * step), out.add(y * self.output[1]));
                y += 4;
            }
            while y < count {
                self.rows_of::<S, B, 1>(channel, rows.add(y * step), out.add(y * self.output[1]));
                y += 1;
            }
        }
    }

    /// Computes `R` output rows.
    ///
    /// # Safety
    /// As [`Depthwise::strip_of`] with `R` rows.
    #[inline(always)]
    unsafe fn rows_of<S: Simd, B: Block, const R: usize>(&self, channel: usize, rows: *const f32, out: *mut f32) {
        let columns = self.output[1];
        let taps = self.window.kernel[0] * self.window.kernel[1];
        // SAFETY: a full vector is stored only where `columns` has room for it; a row narrower than a vector goes through `narrow`.
        // Reads beyond the last column stay within the slack of a phased row.
        unsafe {
            let weights = self.weights.as_ptr().add(channel * taps);
            let bias = S::splat(self.bias[channel]);
            let (low, high) = (S::splat(self.clamp.low), S::splat(self.clamp.high));
            let mut x = 0;
            while x < columns {
                // The last vector overlaps the one before it.
                let at = if x + S::LANES <= columns { x } else { columns.saturating_sub(S::LANES) };
                let sums = B::compute::<S, R>(self, rows.add(at), weights, bias);
                for (y, sum) in sums.into_iter().enumerate() {
                    let value = S::clamp(sum, low, high);
                    if columns >= S::LANES {
                        S::store(out.add(y * columns + at), value);
                    } else {
                        let mut narrow = [0.0; 16];
                        S::store(narrow.as_mut_ptr(), value);
                        out.add(y * columns).copy_from_nonoverlapping(narrow.as_ptr(), columns);
                    }
                }
                x += S::LANES;
            }
        }
    }
}

/// How the sums of one vector of columns in `R` rows are computed.
trait Block {
    /// # Safety
    /// The CPU has the features of `S`; `rows` points to the first column in the first of the padded rows, `weights` to a channel's.
    unsafe fn compute<S: Simd, const R: usize>(
        of: &Depthwise,
        rows: *const f32,
        weights: *const f32,
        bias: S::V,
    ) -> [S::V; R];
}

/// A window whose size `K` and stride `T` the compiler knows.
struct Fixed<const K: usize, const T: usize>;

impl<const K: usize, const T: usize> Block for Fixed<K, T> {
    #[inline(always)]
    unsafe fn compute<S: Simd, const R: usize>(
        of: &Depthwise,
        rows: *const f32,
        weights: *const f32,
        bias: S::V,
    ) -> [S::V; R] {
        let (pitch, phase) = (of.layout.pitch(), of.layout.offset(1 % T));
        let mut sums = [bias; R];
        // SAFETY: the R rows of output lie over (R - 1) * T + K padded rows, and a column of the window within a phase's slack.
        unsafe {
            for kx in 0..K {
                let mut column = [bias; K];
                for ky in 0..K {
                    column[ky] = S::splat(*weights.add(ky * K + kx));
                }
                let at = rows.add(kx % T * phase + kx / T);
                // Each padded row is loaded once, for all output rows over it.
                for row in 0..(R - 1) * T + K {
                    let pixels = S::load(at.add(row * pitch));
                    for y in 0..R {
                        if row >= y * T && row < y * T + K {
                            sums[y] = S::fma(pixels, column[row - y * T], sums[y]);
                        }
                    }
                }
            }
        }
        sums
    }
}

/// Any window.
struct Any;

impl Block for Any {
    #[inline(always)]
    unsafe fn compute<S: Simd, const R: usize>(
        of: &Depthwise,
        rows: *const f32,
        weights: *const f32,
        bias: S::V,
    ) -> [S::V; R] {
        let [height, width] = of.window.kernel;
        let (pitch, step) = (of.layout.pitch(), of.window.stride[0]);
        let mut sums = [bias; R];
        // SAFETY: as for `Fixed`.
        unsafe {
            for ky in 0..height {
                for kx in 0..width {
                    let weight = S::splat(*weights.add(ky * width + kx));
                    let at = rows.add(ky * pitch + of.layout.offset(kx));
                    for y in 0..R {
                        sums[y] = S::fma(S::load(at.add(y * step * pitch)), weight, sums[y]);
                    }
                }
            }
        }
        sums
    }
}
