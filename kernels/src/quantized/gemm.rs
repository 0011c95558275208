//! Matrix product of bytes with a prepacked left side, as [`crate::gemm`] is for floats.
//!
//! Sums stay in registers over the whole depth: a tile of bytes is so small that no depth of a convolution needs blocks.

use super::dot::{Dot, traits_of};
use super::requantize::{Output, Quantization, Requantize, Weights};
use crate::error::check_length;
use crate::gemm::evenly;
use crate::simd::Simd;
use crate::{Error, Tier};

/// Bytes of the packed right side, which the first cache of every core holds while all panels pass over it.
const GROUP: usize = 24 << 10;

/// Columns of the widest tile.
const WIDEST: usize = 32;

/// Packed weights, and what becomes of the sums.
#[derive(Clone, Debug)]
pub(super) struct Panels {
    rows: usize,
    depth: usize,
    /// Groups of `STEP` steps of the depth.
    steps: usize,
    /// Rows of each panel, `(first row, rows)`.
    panels: Vec<(usize, usize)>,
    /// For each panel: `[steps, rows of the panel, 4 bytes]`.
    packed: Vec<u8>,
    /// What a row's sums start from: the bias, less the weights' sum times what the activations are off by.
    start: Vec<i32>,
    finish: Requantize,
}

/// What gives the right side's columns.
pub(super) trait Columns {
    /// Where a row's columns from `column` on lie; as many as the widest vector has can be read.
    fn row(&self, depth: usize, column: usize) -> *const u8;
}

/// Where results go, and what is added to them (null for nothing): `[rows, columns]` with a pitch.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// The first result.
    pub(super) out: *mut u8,
    /// The first byte of what is added, or null.
    pub(super) residual: *const u8,
    /// Bytes from one row to the next, of both.
    pub(super) pitch: usize,
    /// Columns.
    pub(super) columns: usize,
}

impl Panels {
    /// Packs `[rows, depth]` weights for a tier's dot products.
    pub(super) fn new(
        tier: Tier,
        (rows, depth): (usize, usize),
        weights: Weights,
        input: Quantization,
        output: Output,
    ) -> Result<Self, Error> {
        check_length("weights", rows * depth, weights.values.len())?;
        check_length("scales", rows, weights.scales.len())?;
        if rows == 0 || depth == 0 {
            return Err(Error::Shape("a convolution has no channels"));
        }
        let finish = Requantize::new(input, &weights, output)?;
        let (most, step, shift) = traits_of(tier);
        let (panels, steps) = (evenly(rows, most), depth.div_ceil(step));
        let mut packed = Vec::with_capacity(4 * rows * steps);
        for &(first, count) in &panels {
            for group in 0..steps {
                for row in first..first + count {
                    let weight = |k: usize| if k < depth { weights.values[row * depth + k] } else { 0 };
                    for k in group * step..(group + 1) * step {
                        // Two 16-bit numbers or four 8-bit ones, as the CPU reads them.
                        match step {
                            2 => packed.extend(i16::from(weight(k)).to_ne_bytes()),
                            _ => packed.extend(weight(k).to_ne_bytes()),
                        }
                    }
                }
            }
        }
        let off = i32::from(input.zero).wrapping_sub(shift);
        let start = weights.bias.iter().zip(weights.values.chunks(depth)).map(|(&bias, row)| {
            let sum = row.iter().fold(0i32, |sum, &w| sum.wrapping_add(w.into()));
            bias.wrapping_sub(sum.wrapping_mul(off))
        });
        Ok(Self { rows, depth, steps, panels, packed, start: start.collect(), finish })
    }

    /// Refuses a residual where none is added, and its absence where one is.
    pub(super) fn check_residual(&self, residual: Option<&[u8]>, outputs: usize) -> Result<(), Error> {
        self.finish.check_residual(residual, outputs)
    }

    /// Working memory in bytes.
    pub(super) fn scratch_bytes(&self) -> usize {
        GROUP.max(4 * WIDEST * self.steps)
    }

    /// Multiplies with all columns of the right side.
    ///
    /// # Safety
    /// The CPU has the features of `D`, for which the panels were packed. `target` is valid for `rows * columns` bytes, overlaps nothing else,
    /// and has a residual if one is added; `columns` gives as many columns of `depth` rows; `scratch` has `scratch_bytes`.
    #[inline(always)]
    pub(super) unsafe fn multiply<D: Dot, C: Columns>(&self, columns: &C, target: Target, scratch: *mut u8) {
        let lanes = D::S::LANES;
        let width = lanes * D::VECS;
        // SAFETY: tiles start at columns that leave room for their width; of fewer columns than a vector has, the rest is cut off.
        unsafe {
            let whole = target.columns / width * width;
            let step = (GROUP / (4 * self.steps) / width).max(1) * width;
            let mut from = 0;
            while from < whole {
                let to = (from + step).min(whole);
                match D::VECS {
                    2 => self.tiles::<D, C, 2>(columns, target, (from, to), scratch),
                    _ => self.tiles::<D, C, 4>(columns, target, (from, to), scratch),
                }
                from = to;
            }
            // The last tile overlaps the one before it, which computes some columns twice, with the same results.
            if whole > 0 && 2 * (target.columns - whole) > width {
                let at = target.columns - width;
                match D::VECS {
                    2 => self.tiles::<D, C, 2>(columns, target, (at, at + width), scratch),
                    _ => self.tiles::<D, C, 4>(columns, target, (at, at + width), scratch),
                }
            } else {
                let mut from = whole;
                while from < target.columns {
                    let at = from.min(target.columns.saturating_sub(lanes));
                    self.tiles::<D, C, 1>(columns, target, (at, at + lanes), scratch);
                    from += lanes;
                }
            }
        }
    }

    /// All rows of columns `from..to`, whole tiles of `V` vectors.
    ///
    /// # Safety
    /// As [`Panels::multiply`].
    #[inline(always)]
    unsafe fn tiles<D: Dot, C: Columns, const V: usize>(
        &self,
        columns: &C,
        target: Target,
        (from, to): (usize, usize),
        scratch: *mut u8,
    ) {
        let (lanes, width) = (D::S::LANES, V * D::S::LANES);
        let size = 4 * width * self.steps;
        // SAFETY: the group fits `scratch`; beyond the last row of the depth the weights are 0, and the last row is read again.
        unsafe {
            for (i, column) in (from..to).step_by(width).enumerate() {
                let mut tile = scratch.add(i * size);
                for group in 0..self.steps {
                    let row = |k: usize| columns.row((group * D::STEP + k).min(self.depth - 1), column);
                    let rows = [row(0), row(1), row(2), row(3)];
                    for v in 0..V {
                        let [a, b, c, d] = rows;
                        let at = v * lanes;
                        D::interleave([a.add(at), b.add(at), c.add(at), d.add(at)], tile.add(4 * at));
                    }
                    tile = tile.add(4 * width);
                }
            }
            let mut weights = self.packed.as_ptr();
            for &(row, count) in &self.panels {
                for (i, column) in (from..to).step_by(width).enumerate() {
                    let tile = scratch.add(i * size);
                    let panel = (weights, row);
                    match count {
                        1 => self.micro::<D, 1, V>(panel, tile, target, column),
                        2 => self.micro::<D, 2, V>(panel, tile, target, column),
                        3 => self.micro::<D, 3, V>(panel, tile, target, column),
                        4 => self.micro::<D, 4, V>(panel, tile, target, column),
                        5 if D::ROWS > 4 => self.micro::<D, 5, V>(panel, tile, target, column),
                        6 if D::ROWS > 5 => self.micro::<D, 6, V>(panel, tile, target, column),
                        7 if D::ROWS > 6 => self.micro::<D, 7, V>(panel, tile, target, column),
                        _ if D::ROWS > 6 => self.micro::<D, 8, V>(panel, tile, target, column),
                        _ => unreachable!("panels have at most D::ROWS rows"),
                    }
                }
                weights = weights.add(4 * count * self.steps);
            }
        }
    }

    /// `M` rows by `V` vectors of results, in registers.
    ///
    /// # Safety
    /// As [`Panels::multiply`]; the panel has `M` rows, `tile` is packed, and the target has its columns, or fewer than one vector.
    #[inline(always)]
    unsafe fn micro<D: Dot, const M: usize, const V: usize>(
        &self,
        (mut weights, first): (*const u8, usize),
        mut tile: *const u8,
        target: Target,
        column: usize,
    ) {
        let lanes = D::S::LANES;
        let start = &self.start[first..first + M];
        // SAFETY: the pointers stay within the extents that the caller promises.
        unsafe {
            let mut sums = [[D::splat(0); V]; M];
            for row in 0..M {
                sums[row] = [D::splat(start[row]); V];
            }
            for _ in 0..self.steps {
                let mut right = [D::load(tile); V];
                for v in 1..V {
                    right[v] = D::load(tile.add(4 * v * lanes));
                }
                for row in 0..M {
                    let weight = D::broadcast(weights.add(4 * row));
                    for v in 0..V {
                        sums[row][v] = D::dot(sums[row][v], right[v], weight);
                    }
                }
                weights = weights.add(4 * M);
                tile = tile.add(4 * V * lanes);
            }
            let count = lanes.min(target.columns);
            for row in 0..M {
                for v in 0..V {
                    let at = (first + row) * target.pitch + column + v * lanes;
                    let sums = D::float(sums[row][v]);
                    // A null residual is not read.
                    let residual = target.residual.wrapping_add(at);
                    self.finish.store::<D::S>(first + row, sums, residual, target.out.add(at), count);
                }
            }
        }
    }

    /// Rows of the result.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}
