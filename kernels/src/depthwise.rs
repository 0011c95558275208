//! Depthwise convolution: one window per channel.

use crate::error::check_length;
use crate::geometry::{Clamp, Window, elements};
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
        let finish = Biased { bias: &self.bias, clamp: self.clamp, output: output.as_mut_ptr() };
        // SAFETY: the lengths were checked above.
        unsafe { self.sweep.run(image, finish, scratch) };
        Ok(())
    }
}

/// What becomes of the sums of a depthwise convolution.
pub(crate) trait Finish: Copy {
    /// What the outputs of a channel share, in registers.
    type Channel<S: Simd>: Copy;

    /// What the sums of a channel start from.
    fn start(&self, channel: usize) -> f32;

    /// # Safety
    /// The CPU has the features of `S`.
    unsafe fn channel<S: Simd>(&self, channel: usize) -> Self::Channel<S>;

    /// Stores the first `count` sums of a vector as outputs from `at` on.
    ///
    /// # Safety
    /// The CPU has the features of `S`; the outputs are there, and `count` is at most `LANES`.
    unsafe fn store<S: Simd>(&self, channel: Self::Channel<S>, sums: S::V, at: usize, count: usize);

    /// Stores two whole vectors, at `at` each.
    ///
    /// # Safety
    /// As [`Finish::store`].
    #[inline(always)]
    unsafe fn store_pair<S: Simd>(&self, channel: Self::Channel<S>, sums: [S::V; 2], at: [usize; 2]) {
        // SAFETY: the caller's.
        unsafe {
            self.store::<S>(channel, sums[0], at[0], S::LANES);
            self.store::<S>(channel, sums[1], at[1], S::LANES);
        }
    }
}

/// Bias and clamp.
#[derive(Clone, Copy)]
struct Biased<'a> {
    bias: &'a [f32],
    clamp: Clamp,
    output: *mut f32,
}

/// Both ends of a clamp.
#[derive(Clone, Copy)]
struct Limits<S: Simd> {
    low: S::V,
    high: S::V,
}

impl Finish for Biased<'_> {
    type Channel<S: Simd> = Limits<S>;

    #[inline(always)]
    fn start(&self, channel: usize) -> f32 {
        self.bias[channel]
    }

    #[inline(always)]
    unsafe fn channel<S: Simd>(&self, _channel: usize) -> Limits<S> {
        // SAFETY: the caller's features.
        unsafe { Limits { low: S::splat(self.clamp.low), high: S::splat(self.clamp.high) } }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(&self, limits: Limits<S>, sums: S::V, at: usize, count: usize) {
        // SAFETY: a full vector is stored only where there is room for it; `narrow` is as long as the widest.
        unsafe {
            let value = S::clamp(sums, limits.low, limits.high);
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
        elements(&[channels, window.height, window.width])?;
        elements(&[channels, output[0], output[1]])?;
        check_length("weights", channels * window.kernel[0] * window.kernel[1], weights.len())?;
        let layout = PhasedRow::new(&window, output[1]);
        elements(&[2, window.height + window.padding.top + window.padding.bottom, layout.pitch()])?;
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
        4 * self.strip_len() * if self.is_whole() { 2 } else { 1 }
    }

    /// Elements of a strip's padded rows.
    fn strip_len(&self) -> usize {
        self.strip_rows(self.strip) * self.layout.pitch()
    }

    /// Whether a strip is a whole plane.
    fn is_whole(&self) -> bool {
        self.strip == self.output[0]
    }

    /// Input rows under so many output rows.
    fn strip_rows(&self, rows: usize) -> usize {
        (rows - 1) * self.window.stride[0] + self.window.kernel[0]
    }

    /// Convolves one image.
    ///
    /// # Safety
    /// `image` has `input_len` pixels, `finish` takes `output_len` outputs.
    pub(crate) unsafe fn run<P: Pixels, F: Finish>(&self, image: P, finish: F, scratch: &mut Scratch) {
        let rows = scratch.bytes(self.scratch_bytes()).cast();
        // SAFETY: `new` has checked that the CPU has the tier; the rest is the caller's.
        unsafe { dispatch(self.tier, Run { of: self, image, finish, rows }) };
    }
}

/// One run; `rows` are `scratch_bytes` of working memory.
struct Run<'a, P, F> {
    of: &'a Sweep,
    image: P,
    finish: F,
    rows: *mut f32,
}

impl<P: Pixels, F: Finish> Task for Run<'_, P, F> {
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

impl<P: Pixels, F: Finish> Run<'_, P, F> {
    /// # Safety
    /// The CPU has the features of `S`; `image`, outputs and `rows` are as long as `of` says.
    #[inline(always)]
    unsafe fn channels<S: Simd, B: Block>(&self) {
        let of = self.of;
        let all = (0, of.output[0]);
        // SAFETY: channels and rows are within the image and the output; there are two strips of `rows` for whole planes.
        unsafe {
            if !of.is_whole() {
                for channel in 0..of.channels {
                    for from in (0..of.output[0]).step_by(of.strip) {
                        let span = (from, (from + of.strip).min(of.output[0]));
                        self.fill::<S>(channel, span, self.rows, true);
                        self.strip::<S, B>(channel, span, self.rows);
                    }
                }
                return;
            }
            // The next plane is copied before this one is computed: its rows have then left the store buffer when they are read at
            // other offsets than those at which they were written. Planes lie where the one before the last did, and so do the zeros.
            let planes = [self.rows, self.rows.add(of.strip_len())];
            self.fill::<S>(0, all, planes[0], true);
            for channel in 0..of.channels {
                if channel + 1 < of.channels {
                    self.fill::<S>(channel + 1, all, planes[(channel + 1) % 2], channel == 0);
                }
                self.strip::<S, B>(channel, all, planes[channel % 2]);
            }
        }
    }

    /// Copies the padded rows under output rows `from..to`.
    ///
    /// # Safety
    /// As [`Run::channels`]; there is room for them at `rows`.
    #[inline(always)]
    unsafe fn fill<S: Simd>(&self, channel: usize, (from, to): (usize, usize), rows: *mut f32, pads: bool) {
        let of = self.of;
        let first = from * of.window.stride[0];
        let span = (first, first + of.strip_rows(to - from));
        let plane = channel * of.window.height * of.window.width;
        // SAFETY: the channel is one of the image's.
        unsafe { of.layout.fill_rows::<S, P>(of.window, (self.image, plane), span, rows, pads) }
    }

    /// Computes output rows `from..to` from the padded rows under them.
    ///
    /// # Safety
    /// As [`Run::channels`].
    #[inline(always)]
    unsafe fn strip<S: Simd, B: Block>(&self, channel: usize, (from, to): (usize, usize), rows: *const f32) {
        let of = self.of;
        // Values of our own: what is stored through pointers cannot change them, so that they stay in registers.
        let taps = Taps { window: of.window, pitch: of.layout.pitch(), layout: of.layout };
        let step = of.window.stride[0] * taps.pitch;
        let columns = of.output[1];
        let area = of.window.kernel[0] * of.window.kernel[1];
        let first = channel * of.output[0] * columns;
        // SAFETY: `y` is below `to`; the weights are the channel's.
        unsafe {
            let weights = B::weights::<S>(of.weights.as_ptr().add(channel * area));
            let of_channel = (self.finish.channel::<S>(channel), S::splat(self.finish.start(channel)));
            let mut y = from;
            while y + 4 <= to {
                let rows = rows.add((y - from) * step);
                self.rows::<S, B, 4>(taps, weights, of_channel, rows, (first + y * columns, columns));
                y += 4;
            }
            while y < to {
                let rows = rows.add((y - from) * step);
                self.rows::<S, B, 1>(taps, weights, of_channel, rows, (first + y * columns, columns));
                y += 1;
            }
        }
    }

    /// Computes `R` output rows of `columns`, the first of which starts at `first`.
    ///
    /// # Safety
    /// As [`Run::strip`] with `R` rows; `rows` is the first padded row under them.
    #[inline(always)]
    unsafe fn rows<S: Simd, B: Block, const R: usize>(
        &self,
        taps: Taps,
        weights: B::Weights<S>,
        (channel, start): (F::Channel<S>, S::V),
        rows: *const f32,
        (first, columns): (usize, usize),
    ) {
        // SAFETY: vectors lie within the row, or are cut off at its end. Reads beyond the last column stay within the slack of a
        // phased row.
        unsafe {
            let mut x = 0;
            while x < columns {
                // The last vector overlaps the one before it.
                let at = if x + S::LANES <= columns { x } else { columns.saturating_sub(S::LANES) };
                let sums = B::compute::<S, R>(taps, rows.add(at), weights, start);
                if R > 1 && columns >= S::LANES {
                    for y in (0..R - 1).step_by(2) {
                        let at = first + y * columns + at;
                        self.finish.store_pair::<S>(channel, [sums[y], sums[y + 1]], [at, at + columns]);
                    }
                } else {
                    for y in 0..R {
                        self.finish.store::<S>(channel, sums[y], first + y * columns + at, S::LANES.min(columns));
                    }
                }
                x += S::LANES;
            }
        }
    }
}

/// Where a window's pixels lie.
#[derive(Clone, Copy)]
struct Taps {
    window: Window,
    pitch: usize,
    layout: PhasedRow,
}

/// How the sums of one vector of columns in `R` rows are computed.
trait Block {
    /// A channel's weights, in vectors where the window is small.
    type Weights<S: Simd>: Copy;

    /// # Safety
    /// The CPU has the features of `S`; `weights` points to a channel's.
    unsafe fn weights<S: Simd>(weights: *const f32) -> Self::Weights<S>;

    /// # Safety
    /// The CPU has the features of `S`; `rows` points to the first column in the first of the padded rows.
    unsafe fn compute<S: Simd, const R: usize>(
        taps: Taps,
        rows: *const f32,
        weights: Self::Weights<S>,
        start: S::V,
    ) -> [S::V; R];
}

/// A window whose size `K` and stride `T` the compiler knows.
struct Fixed<const K: usize, const T: usize>;

impl<const K: usize, const T: usize> Block for Fixed<K, T> {
    type Weights<S: Simd> = [[S::V; K]; K];

    #[inline(always)]
    unsafe fn weights<S: Simd>(weights: *const f32) -> [[S::V; K]; K] {
        // SAFETY: a channel has K * K weights.
        unsafe {
            let mut all = [[S::splat(0.0); K]; K];
            for ky in 0..K {
                for kx in 0..K {
                    all[ky][kx] = S::splat(*weights.add(ky * K + kx));
                }
            }
            all
        }
    }

    #[inline(always)]
    unsafe fn compute<S: Simd, const R: usize>(
        taps: Taps,
        rows: *const f32,
        weights: [[S::V; K]; K],
        start: S::V,
    ) -> [S::V; R] {
        let phase = taps.layout.offset(1 % T);
        let mut sums = [start; R];
        // SAFETY: the R rows of output lie over (R - 1) * T + K padded rows, and a column of the window within a phase's slack.
        unsafe {
            for kx in 0..K {
                let at = rows.add(kx % T * phase + kx / T);
                // Each padded row is loaded once, for all output rows over it.
                for row in 0..(R - 1) * T + K {
                    let pixels = S::load(at.add(row * taps.pitch));
                    for y in 0..R {
                        if row >= y * T && row < y * T + K {
                            sums[y] = S::fma(pixels, weights[row - y * T][kx], sums[y]);
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
    type Weights<S: Simd> = *const f32;

    #[inline(always)]
    unsafe fn weights<S: Simd>(weights: *const f32) -> *const f32 {
        weights
    }

    #[inline(always)]
    unsafe fn compute<S: Simd, const R: usize>(
        taps: Taps,
        rows: *const f32,
        weights: *const f32,
        start: S::V,
    ) -> [S::V; R] {
        let [height, width] = taps.window.kernel;
        let step = taps.window.stride[0];
        let mut sums = [start; R];
        // SAFETY: as for `Fixed`.
        unsafe {
            for ky in 0..height {
                for kx in 0..width {
                    let weight = S::splat(*weights.add(ky * width + kx));
                    let at = rows.add(ky * taps.pitch + taps.layout.offset(kx));
                    for y in 0..R {
                        sums[y] = S::fma(S::load(at.add(y * step * taps.pitch)), weight, sums[y]);
                    }
                }
            }
        }
        sums
    }
}
