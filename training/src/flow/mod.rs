//! The conditional normalizing flow of one level: its weights, its position code, its forward pass.

mod convert;
mod forward;
mod initial;
mod parameters;
mod position;
mod weights;

#[cfg(test)]
mod tests;

pub use convert::{Flow, LevelFrame};
pub use forward::{DAMPING, FixedParts, GridPositions, Halves, array2, forward, tensor2};
pub use initial::{FlowShape, gaussian, initial_blocks, orthogonal_matrices};
pub use parameters::{BlockParameters, LevelParameters, MixtureParameters};
pub use position::PositionCode;
pub(crate) use weights::all_finite;
pub use weights::{BlockWeights, LevelWeights};
