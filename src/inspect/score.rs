//! From maps to a score.
use super::mixture::LevelMaps;
use crate::bundle::{InputSize, ScoreReference};

/// Fits the constants of one class from the maps of normal frames: `frames[i][l]` is level l of frame i.
pub fn fit_reference(_frames: &[Vec<LevelMaps>], _size: InputSize) -> ScoreReference {
    todo!()
}
