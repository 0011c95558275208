//! Training of HGAD models: features from a frozen backbone, a conditional flow per level, a hierarchical mixture, and
//! the bundle that the edge program runs. Other methods learn from the same features and write the same bundles.
//!
//! ```text
//! backbone --> features --> methods --> export --> bundle
//!                             `-- fit (HGAD's flow, mixture, losses)
//!             import (a network that was trained elsewhere) --> bundle
//!             extend (a bundle, and a product that it does not know) --> bundle
//! ```
#![warn(missing_docs)]

pub mod ablate;
pub mod backbone;
pub mod census;
pub mod cli;
pub mod compare;
pub mod export;
pub mod extend;
pub mod features;
pub mod fit;
pub mod flow;
pub mod import;
pub mod latents;
pub mod methods;
pub mod onnx;
pub mod pretrain;
mod progress;
pub mod quantize;
pub mod refit;
pub mod render;
pub mod report;
pub mod split;

#[cfg(test)]
#[path = "../../tests/common/beside.rs"]
mod beside;
