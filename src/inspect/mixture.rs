//! Densities of latents under the hierarchical mixture.
use crate::bundle::LevelCenters;
use ndarray::{Array2, ArrayView2, ArrayView3};

/// The two maps of one level.
#[derive(Debug, Clone)]
pub struct LevelMaps {
    /// `log p(x|y) / D` per position `(h, w)` under the class's own intra-class mixture.
    pub log_likelihood: Array2<f32>,
    /// Negative entropy of the inter-class posterior per position `(h, w)`.
    pub negentropy: Array2<f32>,
}

/// The maps of one level for class `class` (design: HGAD, ECCV 2024).
pub fn level_maps(_z: ArrayView3<f32>, _logdet: ArrayView2<f32>, _centers: &LevelCenters, _class: usize) -> LevelMaps {
    todo!()
}
