//! The ways to tell what is normal: each from the same features, and into the same kind of bundle.
//!
//! A method says which levels the network has and what a score's distances are measured from; what is usual of these distances
//! is measured alike for all of them when the bundle is written ([`crate::export`]).

mod flows;
mod hgad;
mod joined;
mod memory;
mod padim;

use std::sync::atomic::AtomicBool;

use ::hgad::bundle::Distance;
use ::hgad::{Error, Result};

use crate::export::{Join, NetworkLevel};
use crate::features::Features;
use crate::fit::Watch;

pub use flows::OneGaussian;
pub use hgad::Hgad;
pub use memory::Memory;
pub use padim::Padim;

/// What there is to learn from.
pub struct Lesson<'l> {
    /// The training images' features.
    pub features: &'l Features,
    /// The class of every image; every class has one.
    pub labels: &'l [usize],
    /// The number of classes.
    pub classes: usize,
    /// What is kept of how training goes, if anything is.
    pub watch: Option<&'l Watch<'l>>,
    /// Raised when the user wants to stop.
    pub stop: &'l AtomicBool,
}

/// A way to tell what is normal.
pub trait Method {
    /// Learns from the training images.
    ///
    /// # Errors
    ///
    /// As each method says.
    fn learn(&self, lesson: &Lesson) -> Result<Outcome>;
}

/// How learning ended.
pub enum Outcome {
    /// It is done.
    Learned(Box<Learned>),
    /// It was asked to stop after this many steps of so many, and can go on from there.
    Interrupted {
        /// Steps taken.
        step: usize,
        /// Steps in all.
        steps: usize,
    },
}

/// What was learned.
pub struct Learned {
    /// The network's levels.
    pub levels: Vec<NetworkLevel>,
    /// Whether and how they become one.
    pub join: Option<Join>,
    /// What a score's distances are measured from.
    pub distance: Distance,
    /// What the manifest tells of how it was learned.
    pub told: toml::Table,
    /// What people are told of every level, before levels are joined: a heading, and a number for each.
    pub figures: Vec<(&'static str, Vec<f32>)>,
    /// Of every level the last likelihood losses, by which a flow that was not fitted is known; `None` without flows.
    pub likelihoods: Option<Vec<[f32; 2]>>,
}

/// A seed as the manifest tells it.
fn told(seed: u64) -> Result<toml::Value> {
    i64::try_from(seed).map(toml::Value::from).map_err(|_| {
        Error::usage(format!("the seed {seed} cannot be written into the manifest"))
            .advise("give a smaller one (--seed)")
    })
}
