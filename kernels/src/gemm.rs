//! Matrix product with a prepacked left side: the arithmetic of pointwise and dense convolutions.
//!
//! The left side (weights, `[rows, depth]`) is packed once into panels of up to `S::ROWS` rows. The right side is packed per call, a
//! group of columns at a time, into tiles of `[depth, NR]` that stay in the caches while all panels pass over them. Bias, residual
//! and clamp are applied while the results are in registers.

use crate::geometry::Clamp;
use crate::scratch::SLACK;
use crate::simd::{Simd, with_simd};
use crate::{Error, Tier};

/// Steps of the depth that are summed in one go: a tile of 16 columns then takes 24 KiB of the first cache.
const DEPTH_BLOCK: usize = 384;

/// Elements of the packed right side: 24 KiB, which the first cache of every core holds while all panels pass over it.
const GROUP: usize = 6 << 10;

/// Packed weights with their bias and clamp.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    rows: usize,
    depth: usize,
    /// Rows of each panel, `(first row, rows)`.
    panels: Vec<(usize, usize)>,
    /// Ends of the blocks of the depth.
    blocks: Vec<(usize, usize)>,
    /// For each block, for each panel: `[depth of the block, rows of the panel]`.
    packed: Vec<f32>,
    bias: Vec<f32>,
    clamp: Clamp,
}

/// What gives the right side's columns.
pub(crate) trait Columns {
    /// Copies rows `depth` of `V` vectors of columns from `column` on to `tile`, `[rows, V * LANES]`.
    ///
    /// # Safety
    /// The CPU has the features of `S`; the columns exist, or their elements may be read and mean nothing.
    unsafe fn pack<S: Simd, const V: usize>(&self, depth: (usize, usize), column: usize, tile: *mut f32);
}

/// Where results go: `[rows, columns]` with a pitch, and what is added to them, which has the same layout.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The first result.
    pub(crate) out: *mut f32,
    /// The first element of what is added, or null.
    pub(crate) residual: *const f32,
    /// Elements from one row to the next, of both.
    pub(crate) pitch: usize,
    /// Columns.
    pub(crate) columns: usize,
}

/// Splits `extent` into the fewest parts of at most `most`, as equal as can be: `(start, length)`.
pub(crate) fn evenly(extent: usize, most: usize) -> Vec<(usize, usize)> {
    let count = extent.div_ceil(most);
    let (each, extra) = (extent / count.max(1), extent % count.max(1));
    (0..count).map(|i| (i * each + i.min(extra), each + usize::from(i < extra))).collect()
}

impl Panels {
    /// Packs `[rows, depth]` weights for a float tier.
    pub(crate) fn new(
        tier: Tier,
        (rows, depth): (usize, usize),
        weights: &[f32],
        bias: &[f32],
        clamp: Clamp,
    ) -> Result<Self, Error> {
        if rows == 0 || depth == 0 {
            return Err(Error::Shape("a convolution has no channels"));
        }
        let panels = evenly(rows, with_simd!(tier, S => <S as Simd>::ROWS));
        let blocks: Vec<_> = evenly(depth, DEPTH_BLOCK).into_iter().map(|(start, len)| (start, start + len)).collect();
        let mut packed = Vec::with_capacity(rows * depth);
        for &(start, end) in &blocks {
            for &(row, count) in &panels {
                for k in start..end {
                    packed.extend((row..row + count).map(|row| weights[row * depth + k]));
                }
            }
        }
        Ok(Self { rows, depth, panels, blocks, packed, bias: bias.to_vec(), clamp: clamp.checked()? })
    }

    /// Working memory in elements, for outputs of `columns` in a row: the packed group, and narrow results with their residual.
    pub(crate) fn scratch_len(&self, columns: usize) -> usize {
        let narrow = if columns < 16 { 2 * 16 * self.rows } else { 0 };
        GROUP.max(self.blocks[0].1 * 32) + SLACK + narrow
    }

    /// Columns that are packed at a time, for tiles of `width`.
    fn group(&self, width: usize) -> usize {
        (GROUP / self.blocks[0].1 / width).max(1) * width
    }

    /// Multiplies with all columns of the right side.
    ///
    /// # Safety
    /// The CPU has the features of `S`, for which the panels were packed. `target` is valid for `rows * columns` elements and overlaps
    /// nothing else; `columns` gives as many columns of `depth` rows; `scratch` has `scratch_len` elements.
    #[inline(always)]
    pub(crate) unsafe fn multiply<S: Simd, C: Columns>(&self, columns: &C, target: Target, scratch: *mut f32) {
        // SAFETY: tiles start at columns that leave room for their width; narrow results go through working memory.
        unsafe {
            if target.columns < S::LANES {
                return self.narrow::<S, C>(columns, target, scratch);
            }
            let (lanes, width) = (S::LANES, S::LANES * S::VECS);
            let whole = target.columns / width * width;
            let step = self.group(width);
            let mut from = 0;
            while from < whole {
                let to = (from + step).min(whole);
                match S::VECS {
                    2 => self.tiles::<S, C, 2>(columns, target, (from, to), scratch),
                    _ => self.tiles::<S, C, 4>(columns, target, (from, to), scratch),
                }
                from = to;
            }
            let rest = target.columns - whole;
            // The last tile overlaps the one before it, which computes some columns twice, with the same results.
            if whole > 0 && 2 * rest > width {
                let at = target.columns - width;
                match S::VECS {
                    2 => self.tiles::<S, C, 2>(columns, target, (at, at + width), scratch),
                    _ => self.tiles::<S, C, 4>(columns, target, (at, at + width), scratch),
                }
            } else {
                let mut from = whole;
                while from < target.columns {
                    let at = from.min(target.columns - lanes);
                    self.tiles::<S, C, 1>(columns, target, (at, at + lanes), scratch);
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
    unsafe fn tiles<S: Simd, C: Columns, const V: usize>(
        &self,
        columns: &C,
        target: Target,
        (from, to): (usize, usize),
        scratch: *mut f32,
    ) {
        let width = V * S::LANES;
        let mut weights = self.packed.as_ptr();
        // SAFETY: `weights` moves over the packed panels in the order in which they were packed, and the group fits `scratch`.
        unsafe {
            for &(start, end) in &self.blocks {
                let size = (end - start) * width;
                for (i, column) in (from..to).step_by(width).enumerate() {
                    columns.pack::<S, V>((start, end), column, scratch.add(i * size));
                }
                let ends = Ends { first: start == 0, last: end == self.depth };
                for &(row, count) in &self.panels {
                    let panel = Panel { weights, row, count, depth: end - start, ends };
                    for (i, column) in (from..to).step_by(width).enumerate() {
                        self.tile::<S, V>(panel, scratch.add(i * size), target, column);
                    }
                    weights = weights.add(count * (end - start));
                }
            }
        }
    }

    /// One panel times one tile.
    ///
    /// # Safety
    /// As [`Panels::multiply`]; `panel` is one of these, `tile` is packed.
    #[inline(always)]
    unsafe fn tile<S: Simd, const V: usize>(&self, panel: Panel, tile: *const f32, target: Target, column: usize) {
        let at = panel.row * target.pitch + column;
        // SAFETY: the panel's rows and the tile's columns are within the target.
        unsafe {
            let residual = if target.residual.is_null() { target.residual } else { target.residual.add(at) };
            let target = Target { out: target.out.add(at), residual, ..target };
            match panel.count {
                1 => self.micro::<S, 1, V>(panel, tile, target),
                2 => self.micro::<S, 2, V>(panel, tile, target),
                3 => self.micro::<S, 3, V>(panel, tile, target),
                4 => self.micro::<S, 4, V>(panel, tile, target),
                5 if S::ROWS > 4 => self.micro::<S, 5, V>(panel, tile, target),
                6 if S::ROWS > 4 => self.micro::<S, 6, V>(panel, tile, target),
                7 if S::ROWS > 6 => self.micro::<S, 7, V>(panel, tile, target),
                _ if S::ROWS > 6 => self.micro::<S, 8, V>(panel, tile, target),
                _ => unreachable!("panels have at most S::ROWS rows"),
            }
        }
    }

    /// Fewer columns than a vector has: computed in working memory.
    ///
    /// # Safety
    /// As [`Panels::multiply`].
    #[inline(always)]
    unsafe fn narrow<S: Simd, C: Columns>(&self, columns: &C, target: Target, scratch: *mut f32) {
        // SAFETY: `scratch_len` counts two buffers of 16 columns for narrow outputs, behind the packed group.
        unsafe {
            let out = scratch.add(GROUP.max(self.blocks[0].1 * 32) + SLACK);
            let residual = out.add(16 * self.rows);
            if !target.residual.is_null() {
                for row in 0..self.rows {
                    let from = target.residual.add(row * target.pitch);
                    residual.add(row * 16).copy_from_nonoverlapping(from, target.columns);
                }
            }
            let aside = Target {
                out,
                residual: if target.residual.is_null() { std::ptr::null() } else { residual },
                pitch: 16,
                columns: S::LANES,
            };
            self.tiles::<S, C, 1>(columns, aside, (0, S::LANES), scratch);
            for row in 0..self.rows {
                target.out.add(row * target.pitch).copy_from_nonoverlapping(out.add(row * 16), target.columns);
            }
        }
    }
}

/// Some rows of weights, over one block of the depth.
#[derive(Clone, Copy)]
struct Panel {
    weights: *const f32,
    /// The first row, and how many there are.
    row: usize,
    count: usize,
    depth: usize,
    ends: Ends,
}

/// Whether a block of the depth is the first, which starts from the bias, and the last, which finishes the results.
#[derive(Clone, Copy)]
struct Ends {
    first: bool,
    last: bool,
}

impl Panels {
    /// `M` rows by `V` vectors of results, in registers.
    ///
    /// # Safety
    /// The CPU has the features of `S`; `panel` has `M` rows, `tile` is `[depth, V * LANES]`, `target` is valid for `M` rows of `V` vectors.
    #[inline(always)]
    unsafe fn micro<S: Simd, const M: usize, const V: usize>(
        &self,
        panel: Panel,
        mut tile: *const f32,
        target: Target,
    ) {
        let Panel { mut weights, depth, ends, .. } = panel;
        let (bias, clamp) = (&self.bias[panel.row..panel.row + M], self.clamp);
        // SAFETY: the pointers stay within the extents that the caller promises.
        unsafe {
            let mut sums = [[S::splat(0.0); V]; M];
            for row in 0..M {
                for v in 0..V {
                    sums[row][v] = if ends.first {
                        S::splat(bias[row])
                    } else {
                        S::load(target.out.add(row * target.pitch + v * S::LANES))
                    };
                }
            }
            for _ in 0..depth {
                let mut right = [S::splat(0.0); V];
                for v in 0..V {
                    right[v] = S::load(tile.add(v * S::LANES));
                }
                S::fma_rows(&mut sums, right, weights);
                weights = weights.add(M);
                tile = tile.add(V * S::LANES);
            }
            if ends.last && !target.residual.is_null() {
                for row in 0..M {
                    for v in 0..V {
                        let more = S::load(target.residual.add(row * target.pitch + v * S::LANES));
                        sums[row][v] = S::add(sums[row][v], more);
                    }
                }
            }
            let (low, high) = (S::splat(clamp.low), S::splat(clamp.high));
            for row in 0..M {
                for v in 0..V {
                    let sum = if ends.last { S::clamp(sums[row][v], low, high) } else { sums[row][v] };
                    S::store(target.out.add(row * target.pitch + v * S::LANES), sum);
                }
            }
        }
    }
}
