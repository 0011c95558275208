//! `centers.safetensors`: the hierarchical mixture and the reference constants of the score.

use ndarray::{Array1, Array2, Array3, Ix1, Ix2, Ix3};
use serde::{Deserialize, Serialize};

use super::manifest::Manifest;
use super::tensors::{Reader, Writer};
use crate::Result;

/// The mixture of every level, and the score's reference constants of every class.
#[derive(Debug, Clone, PartialEq)]
pub struct Centers {
    /// One mixture per level, in the manifest's order.
    pub levels: Vec<LevelCenters>,
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

/// The constants of one class's score: what a normal part's maps reach.
///
/// The authors take each maximum over the whole test set; a line has none, so they are quantiles over normal parts,
/// fixed at calibration (see [`crate::inspect::score`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreReference {
    /// Per level: the high quantile of the log-likelihood per channel.
    pub log_likelihood: Vec<f32>,
    /// Per level: the high quantile of the negative entropy.
    pub negentropy: Vec<f32>,
    /// The high quantile of the smoothed sum over levels of `min(log-likelihood - its constant, 0)`.
    pub likelihood_ceiling: f32,
    /// The high quantile of the smoothed sum over levels of `min(negative entropy - its constant, 0)`.
    pub negentropy_ceiling: f32,
}

impl Centers {
    pub(super) fn parse(manifest: &Manifest, bytes: &[u8]) -> Result<Self> {
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
                    mu: fixed::<Ix2>(reader.f32(&format!("mu.{l}"), &[y, d])?),
                    dmu: fixed::<Ix3>(reader.f32(&format!("dmu.{l}"), &[y, m - 1, d])?),
                    psi: fixed::<Ix1>(reader.f32(&format!("psi.{l}"), &[y])?),
                    psi_in: fixed::<Ix2>(reader.f32(&format!("psi_in.{l}"), &[y, m])?),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let count = levels.len();
        let log_likelihood = fixed::<Ix2>(reader.f32("reference.log_likelihood", &[classes, count])?);
        let negentropy = fixed::<Ix2>(reader.f32("reference.negentropy", &[classes, count])?);
        let ceilings = fixed::<Ix2>(reader.f32("reference.ceilings", &[classes, 2])?);
        let references = (0..classes)
            .map(|y| ScoreReference {
                log_likelihood: log_likelihood.row(y).to_vec(),
                negentropy: negentropy.row(y).to_vec(),
                likelihood_ceiling: ceilings[[y, 0]],
                negentropy_ceiling: ceilings[[y, 1]],
            })
            .collect();
        Ok(Centers { levels, references })
    }

    pub(super) fn serialize(&self) -> Result<Vec<u8>> {
        let mut writer = Writer::default();
        for (l, level) in self.levels.iter().enumerate() {
            writer.f32(format!("mu.{l}"), level.mu.shape(), &level.mu);
            writer.f32(format!("dmu.{l}"), level.dmu.shape(), &level.dmu);
            writer.f32(format!("psi.{l}"), level.psi.shape(), &level.psi);
            writer.f32(format!("psi_in.{l}"), level.psi_in.shape(), &level.psi_in);
        }
        let shape = [self.references.len(), self.levels.len()];
        writer.f32("reference.log_likelihood".into(), &shape, self.references.iter().flat_map(|r| &r.log_likelihood));
        writer.f32("reference.negentropy".into(), &shape, self.references.iter().flat_map(|r| &r.negentropy));
        let ceilings = self.references.iter().flat_map(|r| [&r.likelihood_ceiling, &r.negentropy_ceiling]);
        writer.f32("reference.ceilings".into(), &[self.references.len(), 2], ceilings);
        writer.serialize()
    }
}

fn fixed<D: ndarray::Dimension>(array: ndarray::ArrayD<f32>) -> ndarray::Array<f32, D> {
    array.into_dimensionality().expect("the reader checked the shape")
}
