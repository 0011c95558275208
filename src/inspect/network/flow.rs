//! A level's flow by our own kernels, as one operator of tract's graph.
//!
//! A flow is some twenty small operators a block, and every one of them goes over all positions of the grid. But no position needs
//! another's values: [`Flow`] takes a group of positions, which fits into a small core's cache, through all blocks before it turns to
//! the next, tile by tile through each block, so that a block's weights come from memory once a group. Threads share the tiles. [`replace`] recognises flows as `hgad-train` writes them, and leaves others to tract.

mod pattern;

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use hgad_kernels::{Clamp, Pointwise, Tier, couple};
use ndarray::{Array2, ArrayView2, s};
use tract_onnx::tract_core::internal::*;

use super::operator::{Machine, SCRATCH};
use super::team::share;
use pattern::{BlockWeights, FlowPattern};

/// A tile of whole vectors has so many positions where the grid allows: a hidden layer of 192 channels then takes 48 KiB
/// (docs/speed.md has the times of other sizes).
const TILE: usize = 64;
/// With fewer, the kernels' columns are mostly empty.
const LEAST_TILE: usize = 32;
/// With more, a tile's values leave a small core's cache.
const MOST_TILE: usize = 256;
/// Positions of a group, or one tile if that has more: all 96 channels of one then take 96 KiB.
const GROUP: usize = 256;
/// Tiles of whole vectors are computed without a rest.
const VECTOR: usize = 16;

thread_local! {
    /// A tile's values between the kernels, which all flows of a thread share.
    static TILE_VALUES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    /// What the tiles have become, before it is put in the outputs' order.
    static FINISHED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Replaces the model's flows.
pub(super) fn replace(model: &mut TypedModel, machine: Machine) -> TractResult<()> {
    // A patch changes the operators' numbers, so the flows are looked for again behind each.
    while let Some(found) = pattern::find(model) {
        let flow = Flow { kernel: Arc::new(FlowKernel::new(&found, machine)?) };
        let mut patch = TypedModelPatch::new("a flow by our own kernels");
        let tap = patch.tap_model(model, found.input)?;
        let outputs = patch.wire_node(found.name.clone(), flow, &[tap])?;
        patch.shunt_outside(model, found.z, outputs[0])?;
        patch.shunt_outside(model, found.logdet, outputs[1])?;
        patch.apply(model)?;
        model.compact()?;
    }
    Ok(())
}

/// A flow, ready to run.
struct FlowKernel {
    tier: Tier,
    /// Channels D.
    channels: usize,
    /// Positions P of the grid.
    positions: usize,
    /// Positions of a tile, a divisor of P.
    tile: usize,
    /// Tiles that go through a block one after the other.
    group: usize,
    /// The tiles that each thread takes.
    parts: Vec<Range<usize>>,
    /// What a tap's channels are multiplied with, `D`.
    factor: Vec<f32>,
    /// What is added then, `D`.
    shift: Vec<f32>,
    blocks: Vec<Block>,
    /// The log-determinant's constant part.
    log_det: f32,
}

/// One coupling block; all its layers compute `[channels, tile]`.
struct Block {
    /// From the first part of the channels to the hidden layer H.
    hidden: Pointwise,
    /// What the position adds to the hidden layer, `[tiles, H, tile]`.
    table: Vec<f32>,
    /// From the hidden layer to scales and shifts of the second part.
    affine: Pointwise,
    /// The bound of the log-scales.
    clamp: f32,
    /// The mix of all channels behind the coupling.
    mix: Pointwise,
}

impl FlowKernel {
    fn new(found: &FlowPattern, Machine { tier, threads, .. }: Machine) -> TractResult<Self> {
        let (channels, positions) = (found.factor.len(), found.positions);
        let tile = tile(positions, threads);
        let tiles = positions / tile;
        let count = threads.min(tiles);
        let parts = (0..count).map(|part| tiles * part / count..tiles * (part + 1) / count).collect();
        let blocks =
            found.blocks.iter().map(|block| Block::new(block, positions, tile, tier)).collect::<TractResult<_>>()?;
        let (factor, shift) = (found.factor.clone(), found.shift.clone());
        let (group, log_det) = ((GROUP / tile).max(1), found.log_det);
        Ok(FlowKernel { tier, channels, positions, tile, group, parts, factor, shift, blocks, log_det })
    }

    /// From a tap `[D, P]` to latents `[D, P]` and log-determinants `[P]`.
    fn run(&self, image: &[f32], z: &mut [f32], logdet: &mut [f32]) -> TractResult<()> {
        FINISHED.with_borrow_mut(|finished| {
            let length = (self.channels + 1) * self.positions;
            finished.resize(finished.len().max(length), 0.0);
            let finished = &mut finished[..length];
            let each = (self.channels + 1) * self.tile;
            let run = |tiles: &Range<usize>, finished: &mut [f32]| {
                let mut groups = tiles.clone().step_by(self.group).zip(finished.chunks_mut(self.group * each));
                groups.try_for_each(|(first, tiles)| self.group(image, first, tiles))
            };
            share(&self.parts, finished, &|tiles| tiles.len() * each, &run)?;
            for (number, values) in finished.chunks_exact(each).enumerate() {
                self.store(values, number, z, logdet);
            }
            Ok(())
        })
    }

    /// What becomes of the tiles from `first` on, each `[D + 1, tile]`: its latents, and its log-determinants as the last row.
    fn group(&self, image: &[f32], first: usize, finished: &mut [f32]) -> std::result::Result<(), hgad_kernels::Error> {
        let most = self.blocks.iter().map(|block| block.hidden.output_len().max(block.affine.output_len())).max();
        let (whole, hidden) = (self.channels * self.tile, most.unwrap_or(0));
        let each = whole + self.tile;
        for (number, tile) in (first..).zip(finished.chunks_exact_mut(each)) {
            let (x, logdet) = tile.split_at_mut(whole);
            self.load(image, number, x);
            logdet.fill(self.log_det);
        }
        TILE_VALUES.with_borrow_mut(|values| {
            values.resize(values.len().max(whole + 2 * hidden), 0.0);
            let (joined, rest) = values.split_at_mut(whole);
            let (hidden, affine) = rest.split_at_mut(hidden);
            for block in &self.blocks {
                for (number, tile) in (first..).zip(finished.chunks_exact_mut(each)) {
                    let (x, logdet) = tile.split_at_mut(whole);
                    block.run(self.tier, number, &mut Tile { x, joined, hidden, affine }, logdet)?;
                }
            }
            Ok(())
        })
    }

    /// A tile of the tap, standardised, in `x` `[D, tile]`.
    fn load(&self, image: &[f32], number: usize, x: &mut [f32]) {
        let rows = image.chunks_exact(self.positions).zip(x.chunks_exact_mut(self.tile));
        for ((row, x), (factor, shift)) in rows.zip(self.factor.iter().zip(&self.shift)) {
            let from = number * self.tile;
            for (x, value) in x.iter_mut().zip(&row[from..from + self.tile]) {
                *x = value * factor + shift;
            }
        }
    }

    /// Puts a finished tile in its place of the outputs.
    fn store(&self, finished: &[f32], number: usize, z: &mut [f32], logdet: &mut [f32]) {
        let place = number * self.tile..(number + 1) * self.tile;
        let rows = z.chunks_exact_mut(self.positions).chain(std::iter::once(logdet));
        for (row, values) in rows.zip(finished.chunks_exact(self.tile)) {
            row[place.clone()].copy_from_slice(values);
        }
    }

    fn multiply_adds(&self) -> usize {
        let of = |layer: &Pointwise, inputs: usize| layer.output_len() / self.tile * inputs * self.positions;
        let each = |block: &Block| {
            let hidden = block.hidden.output_len() / self.tile;
            of(&block.hidden, self.channels - self.channels / 2)
                + of(&block.affine, hidden)
                + of(&block.mix, self.channels)
        };
        self.blocks.iter().map(each).sum()
    }
}

/// The values of a tile while it goes through the blocks, each `[channels, tile]`.
struct Tile<'v> {
    x: &'v mut [f32],
    joined: &'v mut [f32],
    hidden: &'v mut [f32],
    affine: &'v mut [f32],
}

impl Block {
    fn new(weights: &BlockWeights, positions: usize, tile: usize, tier: Tier) -> TractResult<Self> {
        let layer = |matrix: &Array2<f32>, bias: &[f32], clamp: Clamp| {
            let (inputs, outputs) = matrix.dim();
            let rows = matrix.t().iter().copied().collect::<Vec<_>>();
            Pointwise::new(tier, (inputs, outputs, tile), &rows, bias, clamp)
        };
        let h = weights.w1.ncols();
        Ok(Block {
            hidden: layer(&weights.w1, &vec![0.0; h], Clamp::RELU)?,
            table: tiled(weights.table.view(), positions, tile),
            affine: layer(&weights.w2, &weights.b2, Clamp::NONE)?,
            clamp: weights.clamp,
            mix: layer(&weights.mix, &weights.offset, Clamp::NONE)?,
        })
    }

    /// Takes tile `number` through the block, and adds its log-scales to `logdet` `[tile]`.
    fn run(
        &self,
        tier: Tier,
        number: usize,
        tile: &mut Tile,
        logdet: &mut [f32],
    ) -> std::result::Result<(), hgad_kernels::Error> {
        SCRATCH.with_borrow_mut(|scratch| {
            let Tile { x, joined, hidden, affine } = tile;
            let first = self.hidden.input_len();
            let h = self.hidden.output_len();
            let table = &self.table[number * h..(number + 1) * h];
            self.hidden.run(&x[..first], Some(table), &mut hidden[..h], scratch)?;
            let affine = &mut affine[..self.affine.output_len()];
            self.affine.run(&hidden[..h], None, affine, scratch)?;
            let (scales, shifts) = affine.split_at(affine.len() / 2);
            let (kept, moved) = joined.split_at_mut(first);
            kept.copy_from_slice(&x[..first]);
            // The hidden layer has served; the log-scales take its place.
            let log_scales = &mut hidden[..scales.len()];
            couple(tier, self.clamp, (&x[first..], scales, shifts), moved, log_scales)?;
            for row in log_scales.chunks_exact(logdet.len()) {
                logdet.iter_mut().zip(row).for_each(|(sum, scale)| *sum += scale);
            }
            self.mix.run(joined, None, x, scratch)?;
            Ok(())
        })
    }
}

/// From one row per position, `[P, H]`, to one matrix per tile, `[tiles, H, tile]`.
fn tiled(table: ArrayView2<f32>, positions: usize, tile: usize) -> Vec<f32> {
    let tiles =
        (0..positions / tile).map(|number| table.slice(s![number * tile..(number + 1) * tile, ..]).reversed_axes());
    tiles.flat_map(|tile| tile.iter().copied().collect::<Vec<_>>()).collect()
}

/// Positions of a tile, of the divisors that leave a tile for every thread: of those that make whole vectors the largest up to [`TILE`],
/// or the next larger one; else the largest, whose rest is the least share of it. Where none leaves a tile for every thread it is the
/// smallest one; all positions where no divisor will do.
fn tile(positions: usize, threads: usize) -> usize {
    let divisors = (LEAST_TILE..=MOST_TILE.min(positions)).filter(|tile| positions.is_multiple_of(*tile));
    let merit = |tile: &usize| {
        let enough = *tile <= positions / threads;
        let whole = enough && tile.is_multiple_of(VECTOR);
        let larger_is_better = enough && (!whole || *tile <= TILE);
        (enough, whole, if larger_is_better { *tile as isize } else { -(*tile as isize) })
    };
    divisors.max_by_key(merit).unwrap_or(positions)
}

/// The flow of one level: its input is the tap `[1, D, h, w]` in any shape of as many elements, its outputs are the latents `[D, P]`
/// and the log-determinants `[P, 1]`.
#[derive(Clone)]
struct Flow {
    kernel: Arc<FlowKernel>,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let FlowKernel { channels, positions, blocks, .. } = &*self.kernel;
        write!(f, "a flow of {} blocks over {channels} channels at {positions} positions", blocks.len())
    }
}

impl PartialEq for Flow {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kernel, &other.kernel)
    }
}

impl Eq for Flow {}

impl Op for Flow {
    fn name(&self) -> StaticName {
        "flow".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Flow {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let FlowKernel { channels, positions, .. } = *self.kernel;
        // SAFETY: every element of both is written before it is read.
        let (mut z, mut logdet) = unsafe {
            (Tensor::uninitialized::<f32>(&[channels, positions])?, Tensor::uninitialized::<f32>(&[positions, 1])?)
        };
        let image = inputs[0].try_as_plain_ram()?.as_slice::<f32>()?;
        let (mut z_values, mut logdet_values) = (z.try_as_plain_ram_mut()?, logdet.try_as_plain_ram_mut()?);
        self.kernel.run(image, z_values.as_slice_mut::<f32>()?, logdet_values.as_slice_mut::<f32>()?)?;
        Ok(tvec!(z.into_tvalue(), logdet.into_tvalue()))
    }
}

impl TypedOp for Flow {
    fn output_facts(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let FlowKernel { channels, positions, .. } = *self.kernel;
        Ok(tvec!(f32::fact([channels, positions]), f32::fact([positions, 1])))
    }

    fn cost(&self, _inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        Ok(tvec!((Cost::FMA(f32::datum_type()), self.kernel.multiply_adds().to_dim())))
    }

    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_whole_vectors_where_the_grid_allows() {
        let grids = [48, 32, 24, 16, 12, 8, 28, 14, 7, 13];
        assert_eq!(grids.map(|side| tile(side * side, 1)), [64, 64, 64, 64, 48, 64, 112, 196, 49, 169]);
        assert_eq!(grids.map(|side| tile(side * side, 2)), [64, 64, 64, 64, 48, 32, 112, 98, 49, 169]);
        assert_eq!(grids.map(|side| tile(side * side, 4)), [64, 64, 64, 64, 36, 32, 112, 49, 49, 169]);
    }

    #[test]
    fn a_table_is_cut_into_tiles_of_positions() {
        let table = Array2::from_shape_fn((4, 3), |(p, h)| (10 * p + h) as f32);
        assert_eq!(tiled(table.view(), 4, 2), [0., 10., 1., 11., 2., 12., 20., 30., 21., 31., 22., 32.]);
    }
}
