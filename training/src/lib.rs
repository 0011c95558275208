//! Training of HGAD models: features from a frozen backbone, a conditional flow per level, a hierarchical mixture, and
//! the bundle that the edge program runs.
//!
//! ```text
//! backbone --> features --> fit (flow, mixture, losses) --> export --> bundle
//! ```
#![warn(missing_docs)]

pub mod backbone;
pub mod census;
pub mod cli;
pub mod export;
pub mod features;
pub mod fit;
pub mod flow;
pub mod onnx;
pub mod pretrain;
mod progress;
pub mod quantize;
pub mod refit;
pub mod render;
pub mod split;

#[cfg(test)]
#[path = "../../tests/common/beside.rs"]
mod beside;
