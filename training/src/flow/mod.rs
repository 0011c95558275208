//! The conditional normalizing flow of one level: its weights, its position code, its forward pass.

mod position;
mod weights;

pub use position::PositionCode;
pub use weights::{BlockWeights, LevelWeights};
