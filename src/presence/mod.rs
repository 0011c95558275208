//! Where parts lie in a picture of the belt: what differs from the belt as it is when nothing lies on it.
//!
//! ```text
//! empty belt (level and tolerance per cell) --+
//! picture of the gate ------------------------+--> how much of each line across the belt differs --> segments along it
//! ```
//!
//! A cell is a small square of pixels, so that noise and single specks do not count. A segment begins and ends where more than
//! [`gate::OCCUPIED`] of a line across the belt differs. Nothing is learned while the line runs: a belt that becomes lighter or
//! darker than its tolerance is a part from one end of the gate to the other, which the line takes for a blocked gate.

mod empty;
mod gate;
mod passing;
#[cfg(test)]
mod tests;

pub use empty::{EmptyBelt, LEAST_FRAMES, Learner};
pub use gate::{Contrast, Direction, Gate, Looks, Segment};
pub use passing::Passing;
