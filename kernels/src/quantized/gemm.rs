//! Matrix product of bytes with a prepacked left side, as [`crate::gemm`] is for floats.
//!
//! Sums stay in registers over the whole depth: a tile of bytes is so small that no depth of a convolution needs blocks.

use super::dot::{Dot, Packing, packing};
use super::requantize::{Finisher, Output, Quantization, Requantize, Weights};
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
    panels: Vec<Panel>,
    /// For each panel: `[steps + its second halves, rows of the panel, 4 bytes]`.
    packed: Vec<u8>,
    /// The groups of steps at which panels have second halves.
    halves: Vec<usize>,
    /// What a row's sums start from: the bias, less the weights' sum times what the activations are off by.
    start: Vec<i32>,
    finish: Requantize,
}

/// Some rows of weights.
#[derive(Clone, Copy, Debug)]
struct Panel {
    first: usize,
    rows: usize,
    /// Where its part of `halves` starts, and how many there are.
    halves: (usize, usize),
}

/// A pair of weights in two parts, neither of which makes the sum of two products with bytes saturate at 16 bits.
fn halved([a, b]: [i8; 2]) -> [[i8; 2]; 2] {
    let (a, b) = (i16::from(a), i16::from(b));
    let positive = a.max(0) + b.max(0);
    let negative = a.min(0) + b.min(0);
    if positive <= 128 && negative >= -128 {
        return [[a as i8, b as i8], [0, 0]];
    }
    // Both are of one sign. Halves are within -64..=64, whichever way they are rounded.
    [[(a / 2) as i8, (b / 2) as i8], [(a - a / 2) as i8, (b - b / 2) as i8]]
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
        let Packing { rows: most, step, shift, saturates } = packing(tier);
        let steps = depth.div_ceil(step);
        let (mut panels, mut packed, mut halves) = (Vec::new(), Vec::with_capacity(4 * rows * steps), Vec::new());
        for (first, count) in evenly(rows, most) {
            let weight = |row: usize, k: usize| if k < depth { weights.values[row * depth + k] } else { 0 };
            let mut second = Vec::new();
            let start = halves.len();
            for group in 0..steps {
                let mut any = false;
                let mut rest = Vec::with_capacity(4 * count);
                for row in first..first + count {
                    let at = |k: usize| weight(row, group * step + k);
                    if step == 2 {
                        // As the CPU reads them: the bytes are loaded as 16-bit numbers.
                        packed.extend([at(0), at(1)].iter().flat_map(|&w| i16::from(w).to_ne_bytes()));
                        continue;
                    }
                    for pair in [[at(0), at(1)], [at(2), at(3)]] {
                        let [now, later] = if saturates { halved(pair) } else { [pair, [0, 0]] };
                        packed.extend(now.map(|w| w as u8));
                        rest.extend(later.map(|w| w as u8));
                        any |= later != [0, 0];
                    }
                }
                if any {
                    halves.push(group);
                    second.extend(rest);
                }
            }
            packed.extend(second);
            panels.push(Panel { first, rows: count, halves: (start, halves.len() - start) });
        }
        let off = i32::from(input.zero).wrapping_sub(shift);
        let start = weights.bias.iter().zip(weights.values.chunks(depth)).map(|(&bias, row)| {
            let sum = row.iter().fold(0i32, |sum, &w| sum.wrapping_add(w.into()));
            bias.wrapping_sub(sum.wrapping_mul(off))
        });
        let start = start.collect();
        Ok(Self { rows, depth, steps, panels, packed, halves, start, finish })
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
        let finish = self.finish.finisher();
        // SAFETY: tiles start at columns that leave room for their width; of fewer columns than a vector has, the rest is cut off.
        unsafe {
            let whole = target.columns / width * width;
            let step = (GROUP / (4 * self.steps) / width).max(1) * width;
            let mut from = 0;
            while from < whole {
                let to = (from + step).min(whole);
                match D::VECS {
                    2 => self.tiles::<D, C, 2>(columns, (target, finish), (from, to), scratch),
                    _ => self.tiles::<D, C, 4>(columns, (target, finish), (from, to), scratch),
                }
                from = to;
            }
            // The last tile overlaps the one before it, which computes some columns twice, with the same results.
            if whole > 0 && 2 * (target.columns - whole) > width {
                let at = target.columns - width;
                match D::VECS {
                    2 => self.tiles::<D, C, 2>(columns, (target, finish), (at, at + width), scratch),
                    _ => self.tiles::<D, C, 4>(columns, (target, finish), (at, at + width), scratch),
                }
            } else {
                let mut from = whole;
                while from < target.columns {
                    let at = from.min(target.columns.saturating_sub(lanes));
                    self.tiles::<D, C, 1>(columns, (target, finish), (at, at + lanes), scratch);
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
        (target, finish): (Target, Finisher),
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
            for &panel in &self.panels {
                for (i, column) in (from..to).step_by(width).enumerate() {
                    let tile = scratch.add(i * size);
                    let panel = (weights, panel);
                    match panel.1.rows {
                        1 => self.micro::<D, 1, V>(panel, tile, (target, finish), column),
                        2 => self.micro::<D, 2, V>(panel, tile, (target, finish), column),
                        3 => self.micro::<D, 3, V>(panel, tile, (target, finish), column),
                        4 => self.micro::<D, 4, V>(panel, tile, (target, finish), column),
                        5 if D::ROWS > 4 => self.micro::<D, 5, V>(panel, tile, (target, finish), column),
                        6 if D::ROWS > 5 => self.micro::<D, 6, V>(panel, tile, (target, finish), column),
                        7 if D::ROWS > 6 => self.micro::<D, 7, V>(panel, tile, (target, finish), column),
                        _ if D::ROWS > 6 => self.micro::<D, 8, V>(panel, tile, (target, finish), column),
                        _ => unreachable!("panels have at most D::ROWS rows"),
                    }
                }
                weights = weights.add(4 * panel.rows * (self.steps + panel.halves.1));
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
        (mut weights, panel): (*const u8, Panel),
        tile: *const u8,
        (target, finish): (Target, Finisher),
        column: usize,
    ) {
        let lanes = D::S::LANES;
        let first = panel.first;
        let start = &self.start[first..first + M];
        let size = 4 * V * lanes;
        // SAFETY: the pointers stay within the extents that the caller promises.
        unsafe {
            let mut sums = [[D::splat(0); V]; M];
            for row in 0..M {
                sums[row] = [D::splat(start[row]); V];
            }
            for group in 0..self.steps {
                sums = step::<D, M, V>(sums, weights, tile.add(group * size));
                weights = weights.add(4 * M);
            }
            if D::SATURATES {
                for &group in &self.halves[panel.halves.0..][..panel.halves.1] {
                    sums = step::<D, M, V>(sums, weights, tile.add(group * size));
                    weights = weights.add(4 * M);
                }
            }
            for row in 0..M {
                let ready = finish.ready::<D::S>(first + row);
                let at = (first + row) * target.pitch + column;
                // A null residual is not read.
                let (residual, out) = (target.residual.wrapping_add(at), target.out.add(at));
                if V == 1 {
                    let count = lanes.min(target.columns);
                    finish.store::<D::S>(ready, D::float(sums[row][0]), residual, out, count);
                } else {
                    let mut floats = [D::float(sums[row][0]); V];
                    for v in 1..V {
                        floats[v] = D::float(sums[row][v]);
                    }
                    finish.store_row::<D::S, V>(ready, floats, residual, out);
                }
            }
        }
    }

    /// Rows of the result.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}

/// Adds one group of steps.
///
/// # Safety
/// The CPU has the features of `D`; there are `M` rows of 4 bytes at `weights`, and `V` vectors at `tile`.
#[inline(always)]
unsafe fn step<D: Dot, const M: usize, const V: usize>(
    mut sums: [[D::A; V]; M],
    weights: *const u8,
    tile: *const u8,
) -> [[D::A; V]; M] {
    // SAFETY: the caller's extents.
    unsafe {
        let mut right = [D::load(tile); V];
        for v in 1..V {
            right[v] = D::load(tile.add(4 * v * D::S::LANES));
        }
        D::dots(&mut sums, right, weights);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::halved;

    #[test]
    fn halves_add_up_and_do_not_saturate() {
        for a in i8::MIN..=i8::MAX {
            for b in i8::MIN..=i8::MAX {
                let parts = halved([a, b]).map(|part| part.map(i32::from));
                assert_eq!(parts[0][0] + parts[1][0], a.into());
                assert_eq!(parts[0][1] + parts[1][1], b.into());
                for [a, b] in parts {
                    assert!(255 * (a.max(0) + b.max(0)) <= i16::MAX.into());
                    assert!(255 * (a.min(0) + b.min(0)) >= i16::MIN.into());
                }
            }
        }
    }
}
