//! Fitting flows and mixtures to features: losses, schedule, optimizer, sampling, checkpoints.
//!
//! Levels share nothing, so each is trained by itself. All randomness is drawn from `(seed, step, level)`: a run
//! that was interrupted and resumed makes the same draws as one that was not.

mod adam;
mod checkpoint;
mod device;
mod draw;
mod history;
mod level;
mod losses;
mod recipe;
mod run;
mod schedule;
mod snapshot;

pub use checkpoint::Checkpoint;
pub use device::Device;
pub(crate) use device::Processor;
pub use history::{About, History, Likelihoods, Record, Watch, likelihoods};
pub use losses::{LossWeights, Losses};
pub use recipe::{HiddenWidth, Prior, Recipe};
pub use run::{Fitted, Outcome, Task, fit};
