//! Fitting flows and mixtures to features: losses, schedule, optimizer, sampling, checkpoints.
//!
//! Levels share nothing, so each has its own [`LevelTrainer`]. All randomness is drawn from `(seed, step, level)`: a run
//! that was interrupted and resumed makes the same draws as one that was not.

mod adam;
mod draw;
mod level;
mod losses;
mod recipe;
mod schedule;

pub use adam::Adam;
pub use draw::{Batches, Purpose, stream};
pub use level::{LevelData, LevelTrainer};
pub use losses::{Labels, LossWeights, Losses};
pub use recipe::{HiddenWidth, Recipe};
pub use schedule::Schedule;
