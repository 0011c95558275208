//! `centers.safetensors`: the hierarchical mixture, and what distances from its centers are usual.

use std::sync::Arc;

use ndarray::{Array1, Array2, Array3, ArrayBase, Dimension, Ix1, Ix2, Ix3, IxDyn, RawData};
use serde::{Deserialize, Serialize};

use super::cells::CellGaussians;
use super::manifest::{Distance, Manifest};
use super::tensors::{Reader, Writer};
use crate::inspect::Mask;
use crate::{Error, Result};

/// The mixture of every level, and how far from its centers normal parts lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Centers {
    /// One mixture per level, in the manifest's order.
    pub levels: Vec<LevelCenters>,
    /// One per level, where distances are measured from these and not from the mixture's centers. Some megabytes, which
    /// all inspectors of a bundle share.
    pub cells: Option<Arc<[CellGaussians]>>,
    /// One per level: what distance is usual at every position, from the training host's normals.
    pub profiles: Vec<DistanceProfile>,
    /// The score's constants per class, from the training host's held-out normals: what a score means before a line has
    /// been calibrated.
    pub references: Vec<ScoreReference>,
}

/// The hierarchical Gaussian mixture of one level, all covariances the identity.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelCenters {
    /// Main centers `(Y, D)`.
    pub mu: Array2<f32>,
    /// Offsets of the intra-class centers 2..M from the main one `(Y, M-1, D)`.
    pub dmu: Array3<f32>,
    /// Logits of the class weights `(Y)`.
    pub psi: Array1<f32>,
    /// Logits of the intra-class weights `(Y, M)`.
    pub psi_in: Array2<f32>,
}

/// How far normal parts lie from their class's centers at every position of one level (see
/// [`crate::inspect::mixture::distance`] and [`crate::inspect::cells::distance`]).
#[derive(Debug, Clone, PartialEq)]
pub struct DistanceProfile {
    /// Mean over normal parts `(Y, h, w)`.
    pub mean: Array3<f32>,
    /// Standard deviation over normal parts `(Y, h, w)`, above 0.
    pub deviation: Array3<f32>,
}

/// The constants of one class's score: how the standardised distances of normal parts spread on a line.
///
/// The authors normalise their maps by maxima over the whole test set; a line has none, so these come from normal parts
/// and are fixed at calibration (see [`crate::inspect::score`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreReference {
    /// Per level: the mean standardised distance over all positions of normal parts.
    pub mean: Vec<f32>,
    /// Per level: its standard deviation, above 0.
    pub deviation: Vec<f32>,
    /// Where the picture is looked at; none: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
}

impl ScoreReference {
    /// Constants of each level, for the whole picture.
    pub fn new(mean: Vec<f32>, deviation: Vec<f32>) -> Self {
        ScoreReference { mean, deviation, mask: None }
    }

    /// Whether it has constants for `levels` levels, and a frame can be measured by them.
    pub fn fits(&self, levels: usize) -> bool {
        let finite = self.mean.iter().all(|mean| mean.is_finite());
        self.mean.len() == levels && self.deviation.len() == levels && finite && all_above_zero(&self.deviation)
    }
}

impl Centers {
    /// What distances are measured from where a manifest says `told`: of a network that gives maps itself these statistics do not
    /// tell, and while a bundle is made there are no cells yet.
    pub fn distance(&self, told: Distance) -> Distance {
        match (&self.cells, told) {
            (Some(_), _) => Distance::Cells,
            (None, Distance::Map) => Distance::Map,
            (None, Distance::Centers | Distance::Cells) => Distance::Centers,
        }
    }

    pub(super) fn parse(manifest: &Manifest, bytes: Vec<u8>) -> Result<Self> {
        let reader = Reader::new("centers.safetensors", bytes)?;
        let classes = manifest.classes.len();
        let levels = manifest
            .levels
            .iter()
            .enumerate()
            .map(|(l, level)| {
                let (y, d) = (classes, level.channels);
                let m = reader.shape(&format!("psi_in.{l}"))?.get(1).copied().unwrap_or(0).max(1);
                Ok(LevelCenters {
                    mu: fixed::<_, Ix2>(reader.f32(&format!("mu.{l}"), &[y, d])?),
                    dmu: fixed::<_, Ix3>(reader.f32(&format!("dmu.{l}"), &[y, m - 1, d])?),
                    psi: fixed::<_, Ix1>(reader.f32(&format!("psi.{l}"), &[y])?),
                    psi_in: fixed::<_, Ix2>(reader.f32(&format!("psi_in.{l}"), &[y, m])?),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let profiles = manifest
            .levels
            .iter()
            .enumerate()
            .map(|(l, level)| {
                let shape = [classes, level.height, level.width];
                Ok(DistanceProfile {
                    mean: fixed::<_, Ix3>(reader.f32(&format!("distance.mean.{l}"), &shape)?),
                    deviation: fixed::<_, Ix3>(reader.f32(&format!("distance.deviation.{l}"), &shape)?),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let cells = match manifest.distance {
            Distance::Centers | Distance::Map => None,
            Distance::Cells => {
                let levels = manifest.levels.iter().enumerate();
                Some(
                    levels
                        .map(|(l, level)| CellGaussians::parse(&reader, manifest, l, level))
                        .collect::<Result<_>>()?,
                )
            }
        };
        let mean = fixed::<_, Ix2>(reader.f32("reference.mean", &[classes, levels.len()])?);
        let deviation = fixed::<_, Ix2>(reader.f32("reference.deviation", &[classes, levels.len()])?);
        let references =
            (0..classes).map(|y| ScoreReference::new(mean.row(y).to_vec(), deviation.row(y).to_vec())).collect();
        let centers = Centers { levels, cells, profiles, references };
        centers.check()?;
        Ok(centers)
    }

    /// A deviation that is not above 0 would turn every distance into infinity, or a fault into a pass.
    fn check(&self) -> Result<()> {
        let profiles = self.profiles.iter().all(|profile| all_above_zero(&profile.deviation));
        if profiles && self.references.iter().all(|reference| reference.fits(self.levels.len())) {
            return Ok(());
        }
        Err(Error::device("centers.safetensors: a constant of the score is not finite, or a deviation is not above 0")
            .advise("export the model again"))
    }

    pub(super) fn serialize(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::default();
        for (l, level) in self.levels.iter().enumerate() {
            writer.f32(format!("mu.{l}"), level.mu.shape(), &level.mu);
            writer.f32(format!("dmu.{l}"), level.dmu.shape(), &level.dmu);
            writer.f32(format!("psi.{l}"), level.psi.shape(), &level.psi);
            writer.f32(format!("psi_in.{l}"), level.psi_in.shape(), &level.psi_in);
        }
        for (l, cells) in self.cells.iter().flat_map(|levels| levels.iter()).enumerate() {
            cells.serialize(&mut writer, l);
        }
        for (l, profile) in self.profiles.iter().enumerate() {
            writer.f32(format!("distance.mean.{l}"), profile.mean.shape(), &profile.mean);
            writer.f32(format!("distance.deviation.{l}"), profile.deviation.shape(), &profile.deviation);
        }
        let shape = [self.references.len(), self.levels.len()];
        writer.f32("reference.mean".into(), &shape, self.references.iter().flat_map(|r| &r.mean));
        writer.f32("reference.deviation".into(), &shape, self.references.iter().flat_map(|r| &r.deviation));
        writer.serialize()
    }
}

pub(super) fn fixed<S: RawData, D: Dimension>(array: ArrayBase<S, IxDyn>) -> ArrayBase<S, D> {
    array.into_dimensionality().expect("the reader checked the shape")
}

pub(super) fn all_above_zero<'a>(values: impl IntoIterator<Item = &'a f32>) -> bool {
    values.into_iter().all(|value| value.is_finite() && *value > 0.0)
}
