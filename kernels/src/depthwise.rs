//! Depthwise convolution: one window per channel.

use crate::error::check_length;
use crate::geometry::{Clamp, Window};
use crate::rows::{PhasedRow, Pixels};
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
    sweep: Sweep,
    bias: Vec<f32>,
    clamp: Clamp,
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
        check_length("bias", channels, bias.len())?;
        let sweep = Sweep::new(tier, channels, window, weights.to_vec())?;
        Ok(Self { sweep, bias: bias.to_vec(), clamp: clamp.checked()? })
    }

    /// Elements of the input: channels, height, width.
    pub fn input_len(&self) -> usize {
        self.sweep.input_len()
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.sweep.output_len()
    }

    /// Height and width of the output.
    pub fn output_size(&self) -> [usize; 2] {
        self.sweep.output
    }

    /// Working memory that [`Depthwise::run`] uses, in bytes.
    pub fn scratch_bytes(&self) -> usize {
        self.sweep.scratch_bytes()
    }

    /// Convolves one image.
    ///
    /// # Errors
    /// A slice's length is not the shape's.
    pub fn run(&self, image: &[f32], output: &mut [f32], scratch: &mut Scratch) -> Result<(), Error> {
        check_length("image", self.input_len(), image.len())?;
        check_length("output", self.output_len(), output.len())?;
        let finish = Biased { of: self, output: output.as_mut_ptr() };
        // SAFETY: the lengths were checked above.
        unsafe { self.sweep.run(image, finish, scratch) };
        Ok(())
    }
}

/// What becomes of the sums of a depthwise convolution.
pub(crate) trait Finish {
    /// What the sums of a channel start from.
    fn start(&self, channel: usize) -> f32;

    /// Stores the first `count` sums of a vector as outputs from `at` on.
    ///
    /// # Safety
    /// The CPU has the features of `S`; the outputs are there, and `count` is at most `LANES`.
    unsafe fn store<S: Simd>(&self, channel: usize, sums: S::V, at: usize, count: usize);
}

/// Bias and clamp.
struct Biased<'a> {
    of: &'a Depthwise,
    output: *mut f32,
}

impl Finish for Biased<'_> {
    #[inline(always)]
    fn start(&self, channel: usize) -> f32 {
        self.of.bias[channel]
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(&self, _channel: usize, sums: S::V, at: usize, count: usize) {
        // SAFETY: a full vector is stored only where there is room for it; `narrow` is as long as the widest.
        unsafe {
            let value = S::clamp(sums, S::splat(self.of.clamp.low), S::splat(self.of.clamp.high));
            if count == S::LANES {
                S::store(self.output.add(at), value);
            } else {
                let mut narrow = [0.0; 16];
                S::store(narrow.as_mut_ptr(), value);
                self.output.add(at).copy_from_nonoverlapping(narrow.as_ptr(), count);
            }
        }
    }
}

/// The sums of a depthwise convolution in `f32`, strip by strip, whatever the pixels are and whatever becomes of the sums.
#[derive(Clone, Debug)]
pub(crate) struct Sweep {
    tier: Tier,
    channels: usize,
    window: Window,
    pub(crate) output: [usize; 2],
    weights: Vec<f32>,
    layout: PhasedRow,
    /// Output rows of a strip.
    strip: usize,
}

impl Sweep {
    pub(crate) fn new(tier: Tier, channels: usize, window: Window, weights: Vec<f32>) -> Result<Self, Error> {
        let output = window.output()?;
        check_length("weights", channels * window.kernel[0] * window.kernel[1], weights.len())?;
        let layout = PhasedRow::new(&window, output[1]);
        let fitting = (STRIP / 4 / layout.pitch()).saturating_sub(window.kernel[0]) / window.stride[0];
        // Whole groups of four rows, and at least one.
        let strip = (fitting / 4 * 4).max(4).min(output[0]);
        let tier = float_tier(tier.checked()?, output[1]);
        Ok(Self { tier, channels, window, output, weights, layout, strip })
    }

    pub(crate) fn input_len(&self) -> usize {
        self.channels * self.window.height * self.window.width
    }

    pub(crate) fn output_len(&self) -> usize {
        self.channels * self.output[0] * self.output[1]
    }

    pub(crate) fn scratch_bytes(&self) -> usize {
        4 * self.strip_rows(self.strip) * self.layout.pitch()
    }

    /// Input rows under so many output rows.
    fn strip_rows(&self, rows: usize) -> usize {
        (rows - 1) * self.window.stride[0] + self.window.kernel[0]
    }

    /// Convolves one image.
    ///
    /// # Safety
    /// `image` has `input_len` pixels, `finish` takes `output_len` outputs.
    pub(crate) unsafe fn run<P: Pixels + ?Sized, F: Finish>(&self, image: &P, finish: F, scratch: &mut Scratch) {
        let rows = scratch.bytes(self.scratch_bytes()).cast();
        // SAFETY: `new` has checked that the CPU has the tier; the rest is the caller's.
        unsafe { dispatch(self.tier, Run { of: self, image, finish, rows }) };
    }
}

/// One run; `rows` are `scratch_bytes` of working memory.
struct Run<'a, P: ?Sized, F> {
    of: &'a Sweep,
    image: &'a P,
    finish: F,
    rows: *mut f32,
}

impl<P: Pixels + ?Sized, F: Finish> Task for Run<'_, P, F> {
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

impl<P: Pixels + ?Sized, F: Finish> Run<'_, P, F> {
    /// # Safety
    /// The CPU has the features of `S`; `image`, outputs and `rows` are as long as `of` says.
    #[inline(always)]
    unsafe fn channels<S: Simd, B: Block>(&self) {
        let of = self.of;
        let plane = of.window.height * of.window.width;
        for channel in 0..of.channels {
            // A plane in one strip lies where the one before it did, and so do the zeros around it.
            let pads = channel == 0 || of.strip < of.output[0];
            let mut from = 0;
            while from < of.output[0] {
                let to = (from + of.strip).min(of.output[0]);
                let first = from * of.window.stride[0];
                let span = (first, first + of.strip_rows(to - from));
                // SAFETY: channels and rows are within the image and the output.
                unsafe {
                    of.layout.fill_rows::<S, P>(&of.window, (self.image, channel * plane), span, self.rows, pads);
                    self.strip::<S, B>(channel, (from, to));
                }
                from = to;
            }
        }
    }

    /// Computes output rows `from..to` from the padded rows.
    ///
    /// # Safety
    /// As [`Run::channels`]; `rows` holds the `strip_rows` under these outputs.
    #[inline(always)]
    unsafe fn strip<S: Simd, B: Block>(&self, channel: usize, (from, to): (usize, usize)) {
        let step = self.of.window.stride[0] * self.of.layout.pitch();
        // SAFETY: `y` is below `to`.
        unsafe {
            let mut y = from;
            while y + 4 <= to {
                self.rows::<S, B, 4>(channel, self.rows.add((y - from) * step), y);
                y += 4;
            }
            while y < to {
                self.rows::<S, B, 1>(channel, self.rows.add((y - from) * step), y);
                y += 1;
            }
        }
    }

    /// Computes `R` output rows from row `y` on.
    ///
    /// # Safety
    /// As [`Run::strip`] with `R` rows; `rows` is the first padded row under them.
    #[inline(always)]
    unsafe fn rows<S: Simd, B: Block, const R: usize>(&self, channel: usize, rows: *const f32, y: usize) {
        let of = self.of;
        let columns = of.output[1];
        let taps = of.window.kernel[0] * of.window.kernel[1];
        let first = (channel * of.output[0] + y) * columns;
        // SAFETY: vectors lie within the row, or are cut off at its end. Reads beyond the last column stay within the slack of a
        // phased row.
        unsafe {
            let weights = of.weights.as_ptr().add(channel * taps);
            let start = S::splat(self.finish.start(channel));
            let mut x = 0;
            while x < columns {
                // The last vector overlaps the one before it.
                let at = if x + S::LANES <= columns { x } else { columns.saturating_sub(S::LANES) };
                let sums = B::compute::<S, R>(of, rows.add(at), weights, start);
                for y in 0..R {
                    self.finish.store::<S>(channel, sums[y], first + y * columns + at, S::LANES.min(columns));
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
        of: &Sweep,
        rows: *const f32,
        weights: *const f32,
        start: S::V,
    ) -> [S::V; R];
}

/// A window whose size `K` and stride `T` the compiler knows.
struct Fixed<const K: usize, const T: usize>;

impl<const K: usize, const T: usize> Block for Fixed<K, T> {
    #[inline(always)]
    unsafe fn compute<S: Simd, const R: usize>(
        of: &Sweep,
        rows: *const f32,
        weights: *const f32,
        start: S::V,
    ) -> [S::V; R] {
        let (pitch, phase) = (of.layout.pitch(), of.layout.offset(1 % T));
        let mut sums = [start; R];
        // SAFETY: the R rows of output lie over (R - 1) * T + K padded rows, and a column of the window within a phase's slack.
        unsafe {
            for kx in 0..K {
                let mut column = [start; K];
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
        of: &Sweep,
        rows: *const f32,
        weights: *const f32,
        start: S::V,
    ) -> [S::V; R] {
        let [height, width] = of.window.kernel;
        let (pitch, step) = (of.layout.pitch(), of.window.stride[0]);
        let mut sums = [start; R];
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
