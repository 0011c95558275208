//! The levels of a bundle's network: what stands between the backbone's taps and the latents.

use hgad::bundle::LevelCenters;
use hgad::{Error, Result};
use ndarray::{Array1, Array2};

use crate::backbone::{Backbone, Tap};
use crate::flow::{LevelWeights, all_finite};

/// What makes latents of a tap's features, on the tap's grid.
#[derive(Debug, Clone, PartialEq)]
pub enum NetworkLevel {
    /// A trained flow.
    Flow(LevelWeights),
    /// The features themselves, on a scale of their own.
    Features(FeatureLevel),
}

/// A linear map of a tap's features: `weights x + offset`.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureLevel {
    /// The name of the backbone's tensor.
    pub tap: String,
    /// `(channels of the level, channels of the tap)`.
    pub weights: Array2<f32>,
    /// `(channels of the level)`.
    pub offset: Array1<f32>,
    /// The mixture.
    pub centers: LevelCenters,
}

impl From<LevelWeights> for NetworkLevel {
    fn from(flow: LevelWeights) -> Self {
        NetworkLevel::Flow(flow)
    }
}

impl NetworkLevel {
    /// The name of the backbone's tensor.
    pub fn tap(&self) -> &str {
        match self {
            NetworkLevel::Flow(flow) => &flow.tap,
            NetworkLevel::Features(features) => &features.tap,
        }
    }

    /// The number of its channels D.
    pub fn channels(&self) -> usize {
        match self {
            NetworkLevel::Flow(flow) => flow.mean.len(),
            NetworkLevel::Features(features) => features.offset.len(),
        }
    }

    /// Its mixture.
    pub fn centers(&self) -> &LevelCenters {
        match self {
            NetworkLevel::Flow(flow) => &flow.centers,
            NetworkLevel::Features(features) => &features.centers,
        }
    }

    /// The tap that it reads.
    ///
    /// # Errors
    ///
    /// The backbone has no such tap (a usage error).
    pub(super) fn tap_of<'b>(&self, backbone: &'b Backbone) -> Result<&'b Tap> {
        let tap = backbone.taps.iter().find(|tap| tap.name == self.tap());
        tap.ok_or_else(|| wrong(format!("a level was trained for {}, the backbone has no such tap", self.tap())))
    }

    /// Whether it fits the backbone and so many classes, and can be computed.
    pub(super) fn check(&self, backbone: &Backbone, classes: usize) -> Result<()> {
        let tap = self.tap_of(backbone)?;
        let tapped = (tap.channels, (tap.height, tap.width));
        let reads = match self {
            NetworkLevel::Flow(flow) => (flow.mean.len(), flow.grid),
            NetworkLevel::Features(features) => (features.weights.ncols(), tapped.1),
        };
        let name = self.tap();
        if reads != tapped {
            return Err(wrong(format!("level {name} was trained for {reads:?}, the backbone's tap is {tapped:?}")));
        }
        if self.centers().mu.dim() != (classes, self.channels()) {
            let mu = self.centers().mu.dim();
            return Err(wrong(format!("level {name} has centers {mu:?} for {classes} classes")));
        }
        let not_finite = match self {
            NetworkLevel::Flow(flow) if flow.blocks.is_empty() => {
                return Err(wrong(format!("the flow of level {name} has no blocks")));
            }
            NetworkLevel::Flow(flow) => flow.not_finite(),
            NetworkLevel::Features(features) => features.not_finite(),
        };
        match not_finite {
            Some(part) => Err(wrong(format!("{part} of level {name} is not finite: its training diverged"))),
            None => Ok(()),
        }
    }
}

impl FeatureLevel {
    fn not_finite(&self) -> Option<&'static str> {
        let LevelCenters { mu, .. } = &self.centers;
        let parts =
            [("weights", all_finite(&self.weights)), ("offset", all_finite(&self.offset)), ("mu", all_finite(mu))];
        parts.into_iter().find_map(|(part, finite)| (!finite).then_some(part))
    }
}

fn wrong(what: String) -> Error {
    Error::usage(format!("the model cannot be exported: {what}"))
}
