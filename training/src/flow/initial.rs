//! Where a flow's training starts: linear layers as PyTorch draws them, neutral affines, random orthogonal matrices.

use ndarray::{Array1, Array2};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::forward::gain_of;
use super::parameters::BlockParameters;

/// The sizes of one level's flow.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FlowShape {
    /// Channels D.
    pub channels: usize,
    /// Width C of the position code, a multiple of 4; 0: the subnets are not told the position.
    pub code: usize,
    /// Hidden width H of the subnets.
    pub hidden: usize,
    /// Blocks K.
    pub blocks: usize,
    /// Whether the subnets of every second block, the first among them, see the 3x3 positions around theirs.
    pub convolutional: bool,
}

impl FlowShape {
    /// The side of the square of positions that the layers of block number `block` see.
    pub fn side(&self, block: usize) -> usize {
        if self.convolutional && block.is_multiple_of(2) { 3 } else { 1 }
    }

    /// Channels that a block passes unchanged.
    pub fn kept(&self) -> usize {
        self.channels - self.channels / 2
    }

    /// Channels that a block transforms.
    pub fn moved(&self) -> usize {
        self.channels / 2
    }
}

/// Draws the parameters of every block. Linear layers are uniform within `1 / sqrt(fan_in)`; the global affines start as
/// the identity.
pub fn initial_blocks(shape: &FlowShape, rng: &mut impl Rng) -> Vec<BlockParameters<Array2<f32>>> {
    (0..shape.blocks).map(|block| initial_block(shape, shape.side(block).pow(2), rng)).collect()
}

/// A block whose layers see so many positions.
fn initial_block(shape: &FlowShape, seen: usize, rng: &mut impl Rng) -> BlockParameters<Array2<f32>> {
    let (d1, d2, half, h) = (shape.kept(), shape.moved(), shape.code / 2, shape.hidden);
    let mut uniform = |rows: usize, columns: usize, fan_in: usize| {
        let bound = 1.0 / (fan_in as f32).sqrt();
        Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-bound..bound))
    };
    let (fan_in, second) = (seen * d1 + shape.code, seen * h);
    BlockParameters {
        w1_features: uniform(seen * d1, h, fan_in),
        w1_code: (shape.code > 0).then(|| [uniform(half, h, fan_in), uniform(half, h, fan_in)]),
        b1: uniform(1, h, fan_in),
        w2_scale: uniform(second, d2, second),
        b2_scale: uniform(1, d2, second),
        w2_shift: uniform(second, d2, second),
        b2_shift: uniform(1, d2, second),
        gain1: Array2::from_elem((1, d1), gain_of(1.0)),
        gain2: Array2::from_elem((1, d2), gain_of(1.0)),
        offset1: Array2::zeros((1, d1)),
        offset2: Array2::zeros((1, d2)),
    }
}

/// One random orthogonal matrix `(D, D)` per block.
pub fn orthogonal_matrices(shape: &FlowShape, rng: &mut impl Rng) -> Vec<Array2<f32>> {
    (0..shape.blocks).map(|_| orthogonal(shape.channels, rng)).collect()
}

/// A uniformly (Haar) distributed orthogonal matrix: Gram-Schmidt on Gaussian vectors. Each vector is cleaned twice,
/// which makes the result orthogonal to the last bits of f64.
fn orthogonal(n: usize, rng: &mut impl Rng) -> Array2<f32> {
    let mut basis: Vec<Array1<f64>> = Vec::with_capacity(n);
    while basis.len() < n {
        let mut candidate = Array1::from_shape_simple_fn(n, || gaussian(rng));
        for _ in 0..2 {
            for known in &basis {
                let along = known.dot(&candidate);
                candidate.scaled_add(-along, known);
            }
        }
        let norm = candidate.dot(&candidate).sqrt();
        // Linear dependence has probability zero; a hair's breadth from it would only cost precision.
        if norm > 1e-6 {
            basis.push(candidate / norm);
        }
    }
    Array2::from_shape_fn((n, n), |(i, j)| basis[i][j] as f32)
}

/// A draw from N(0, 1) (Box and Muller, 1958).
pub fn gaussian(rng: &mut impl Rng) -> f64 {
    // 1 - u lies in (0, 1], where the logarithm is finite.
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_matrices_are_orthogonal_and_differ() {
        let shape = FlowShape { channels: 33, code: 8, hidden: 4, blocks: 2, convolutional: false };
        let matrices = orthogonal_matrices(&shape, &mut ChaCha8Rng::seed_from_u64(1));
        for matrix in &matrices {
            let product = matrix.dot(&matrix.t());
            let error = (&product - &Array2::<f32>::eye(33)).iter().fold(0f32, |most, e| most.max(e.abs()));
            assert!(error < 1e-6, "{error}");
        }
        assert_ne!(matrices[0], matrices[1]);
    }
}
