//! Depthwise windows by ARM's 8-bit dot products: four rows of a window's column are one product, for four columns of output at a time.
//!
//! The sums are the same whole numbers as those that [`Sweep`](crate::depthwise::Sweep) computes in `f32`, and so are the outputs; they take
//! about half the instructions.

use core::arch::aarch64::*;

use super::dot::dot;
use super::requantize::Finisher;
use crate::geometry::{Window, elements};
use crate::rows::PhasedRow;
use crate::scratch::Scratch;
use crate::{Error, simd};

/// Bytes of padded rows that are worked on at a time: they stay in the first cache of a small core beside the output.
const STRIP: usize = 20 << 10;
/// Columns of output that are computed at once.
const WIDTH: usize = 16;
/// Rows of a window in one product.
const STEP: usize = 4;

/// Windows of 3x3 or 5x5 with a stride of 1 or 2, ready to run.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    window: Window,
    output: [usize; 2],
    layout: PhasedRow,
    /// Output rows of a strip.
    strip: usize,
    /// `[channels, columns of the window, products, 4 rows]`, with zeros for rows that the window does not have.
    weights: Vec<[i8; STEP]>,
    /// What a channel's sums start from: the bias, less the weights' sum times what the activations are off by.
    start: Vec<i32>,
    zero: u8,
}

impl Windows {
    /// `weights` are `[channels, kernel height, kernel width]`; `None` for other windows than those.
    pub(super) fn new(window: Window, weights: &[i8], bias: &[i32], zero: u8) -> Result<Option<Self>, Error> {
        let [size, _] = window.kernel;
        if !matches!((window.kernel, window.stride), ([3, 3] | [5, 5], [1, 1] | [2, 2])) {
            return Ok(None);
        }
        let output = window.output()?;
        let layout = PhasedRow::new(&window, output[1]);
        elements(&[window.height + window.padding.top + window.padding.bottom, layout.pitch()])?;
        let strip = ((STRIP / layout.pitch()).saturating_sub(size) / window.stride[0] + 1).min(output[0]);
        let channels = weights.chunks_exact(size * size);
        let packed = channels.clone().flat_map(|channel| {
            let weight = move |ky: usize, kx: usize| if ky < size { channel[ky * size + kx] } else { 0 };
            let product = move |kx: usize, first: usize| [0, 1, 2, 3].map(|i| weight(first + i, kx));
            (0..size).flat_map(move |kx| (0..size).step_by(STEP).map(move |first| product(kx, first)))
        });
        let off = i32::from(zero) - 128;
        let sums = channels.clone().map(|channel| channel.iter().map(|&w| i32::from(w)).sum::<i32>());
        let start = bias.iter().zip(sums).map(|(&bias, sum)| bias.wrapping_sub(sum.wrapping_mul(off))).collect();
        Ok(Some(Self { window, output, layout, strip, weights: packed.collect(), start, zero }))
    }

    /// Working memory in bytes.
    pub(super) fn scratch_bytes(&self) -> usize {
        // The last block's rows are read beyond their end.
        self.rows_under(self.strip) * self.layout.pitch() + 2 * WIDTH
    }

    /// Padded rows under so many rows of output.
    fn rows_under(&self, rows: usize) -> usize {
        (rows - 1) * self.window.stride[0] + self.window.kernel[0]
    }

    /// Convolves one image.
    ///
    /// # Safety
    /// The CPU has 8-bit dot products; the image has a plane for each channel, `output` takes one for each, and `residual` has them if
    /// `finish` adds something.
    pub(super) unsafe fn run(
        &self,
        image: &[u8],
        finish: Finisher,
        (residual, output): (*const u8, *mut u8),
        scratch: &mut Scratch,
    ) {
        let rows = scratch.bytes(self.scratch_bytes());
        let [height, columns] = self.output;
        for (channel, plane) in image.chunks_exact(self.window.height * self.window.width).enumerate() {
            for from in (0..height).step_by(self.strip) {
                let count = self.strip.min(height - from);
                let at = (channel * height + from) * columns;
                let place = (residual.wrapping_add(at), output.wrapping_add(at));
                // What is around the plane stays where it is, if the next plane lies alike.
                let pads = channel == 0 || self.strip < height;
                // SAFETY: the strip fits the working memory, and its outputs are the channel's.
                unsafe {
                    match self.window.stride[0] {
                        1 => self.fill::<1>(plane, (from, count), rows, pads),
                        _ => self.fill::<2>(plane, (from, count), rows, pads),
                    }
                    let strip = Strip { rows: rows.cast(), count, place };
                    match (self.window.kernel[0], self.window.stride[0]) {
                        (3, 1) => self.strip::<3, 1, 1>(channel, finish, strip),
                        (3, _) => self.strip::<3, 1, 2>(channel, finish, strip),
                        (_, 1) => self.strip::<5, 2, 1>(channel, finish, strip),
                        _ => self.strip::<5, 2, 2>(channel, finish, strip),
                    }
                }
            }
        }
    }

    /// Copies the rows under `count` output rows from `from` on, split by the phases of a stride of `T`, as signed numbers: the instruction
    /// wants both sides signed. What is 0 is written around them where `pads` says so.
    ///
    /// # Safety
    /// `rows` is the working memory.
    #[inline(always)]
    unsafe fn fill<const T: usize>(&self, plane: &[u8], (from, count): (usize, usize), rows: *mut u8, pads: bool) {
        let Windows { window, layout, zero, .. } = *self;
        let (under, pitch, width) = (self.rows_under(count), layout.pitch(), window.width);
        // SAFETY: vectors are read within a row of the plane, and written within the phases of a padded row.
        unsafe {
            if pads {
                rows.write_bytes(zero ^ 128, under * pitch);
            }
            let to = [0, 1].map(|phase| rows.add(layout.offset(window.padding.left + phase % T)));
            for i in 0..under {
                let padded = from * T + i;
                let Some(y) = padded.checked_sub(window.padding.top).filter(|&y| y < window.height) else { continue };
                let row = plane.as_ptr().add(y * width);
                let to = to.map(|phase| phase.add(i * pitch));
                let mut x = 0;
                while x + 16 * T <= width {
                    if T == 1 {
                        vst1q_u8(to[0].add(x), veorq_u8(vld1q_u8(row.add(x)), vdupq_n_u8(128)));
                    } else {
                        let both = vld2q_u8(row.add(x));
                        vst1q_u8(to[0].add(x / 2), veorq_u8(both.0, vdupq_n_u8(128)));
                        vst1q_u8(to[1].add(x / 2), veorq_u8(both.1, vdupq_n_u8(128)));
                    }
                    x += 16 * T;
                }
                while x + 8 * T <= width {
                    if T == 1 {
                        vst1_u8(to[0].add(x), veor_u8(vld1_u8(row.add(x)), vdup_n_u8(128)));
                    } else {
                        let both = vld2_u8(row.add(x));
                        vst1_u8(to[0].add(x / 2), veor_u8(both.0, vdup_n_u8(128)));
                        vst1_u8(to[1].add(x / 2), veor_u8(both.1, vdup_n_u8(128)));
                    }
                    x += 8 * T;
                }
                for x in x..width {
                    *to[x % T].add(x / T) = *row.add(x) ^ 128;
                }
            }
        }
    }

    /// Computes a strip of one channel: windows of `K` columns and rows, in `G` products a column, with a stride of `T`.
    ///
    /// # Safety
    /// The CPU has 8-bit dot products; the strip is the channel's.
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn strip<const K: usize, const G: usize, const T: usize>(
        &self,
        channel: usize,
        finish: Finisher,
        strip: Strip,
    ) {
        let Strip { rows, count, place: (residual, output) } = strip;
        let (layout, columns) = (self.layout, self.output[1]);
        // SAFETY: blocks lie within the padded rows and their slack; what is stored lies within the rows of output, or goes through
        // `narrow` where they are shorter than a block.
        unsafe {
            let mut weights = [[vdupq_n_s8(0); G]; K];
            for (i, &four) in self.weights[channel * K * G..][..K * G].iter().enumerate() {
                weights[i / G][i % G] = vreinterpretq_s8_s32(vdupq_n_s32(i32::from_ne_bytes(four.map(|w| w as u8))));
            }
            let start = vdupq_n_s32(self.start[channel]);
            let ready = finish.ready::<simd::Neon>(channel);
            let pitch = layout.pitch();
            for y in 0..count {
                let mut x = 0;
                while x < columns {
                    // The last block overlaps the one before it.
                    let at = x.min(columns.saturating_sub(WIDTH));
                    let mut sums = [start; 4];
                    for kx in 0..K {
                        let column = rows.add(y * T * pitch + layout.offset(kx) + at);
                        for g in 0..G {
                            // Rows below the window are multiplied with 0.
                            let row = |i: usize| vld1q_s8(column.add((g * STEP + i).min(K - 1) * pitch));
                            for (sum, four) in sums.iter_mut().zip(columns_of([row(0), row(1), row(2), row(3)])) {
                                *sum = dot(*sum, four, weights[kx][g]);
                            }
                        }
                    }
                    let sums = sums.map(|sum| vcvtq_f32_s32(sum));
                    let place = y * columns + at;
                    let (residual, output) = (residual.wrapping_add(place), output.add(place));
                    if columns >= WIDTH {
                        finish.store_row::<simd::Neon, 4>(ready, sums, residual, output);
                    } else {
                        let (mut narrow, mut added) = ([0u8; WIDTH], [0u8; WIDTH]);
                        if finish.adds() {
                            added.as_mut_ptr().copy_from_nonoverlapping(residual, columns);
                        }
                        finish.store_row::<simd::Neon, 4>(ready, sums, added.as_ptr(), narrow.as_mut_ptr());
                        output.copy_from_nonoverlapping(narrow.as_ptr(), columns);
                    }
                    x += WIDTH;
                }
            }
        }
    }
}

/// Some rows of one channel's output, with the padded rows under them.
struct Strip {
    rows: *const i8,
    /// Rows of output.
    count: usize,
    /// What is added to the first of them (null and not read where nothing is), and where it goes.
    place: (*const u8, *mut u8),
}

/// Four rows of 16 columns as four vectors of four columns, each of which has its four rows side by side.
///
/// # Safety
/// The target has Advanced SIMD.
#[inline(always)]
unsafe fn columns_of([a, b, c, d]: [int8x16_t; 4]) -> [int8x16_t; 4] {
    // SAFETY: the caller's target.
    unsafe {
        let words = |v: int8x16_t| vreinterpretq_s16_s8(v);
        let (ab, cd) = (words(vzip1q_s8(a, b)), words(vzip1q_s8(c, d)));
        let (ab_high, cd_high) = (words(vzip2q_s8(a, b)), words(vzip2q_s8(c, d)));
        [vzip1q_s16(ab, cd), vzip2q_s16(ab, cd), vzip1q_s16(ab_high, cd_high), vzip2q_s16(ab_high, cd_high)]
            .map(|v| vreinterpretq_s8_s16(v))
    }
}
