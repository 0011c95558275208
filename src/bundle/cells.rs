//! The Gaussians of a level's cells, as `centers.safetensors` holds them.

use ndarray::{ArcArray, Array4, ArrayBase, Axis, Data, Ix4, concatenate};

use super::centers::{all_above_zero, fixed};
use super::manifest::{Level, Manifest};
use super::tensors::{Reader, Writer};
use crate::{Error, Result};

/// What latents are usual at every cell of one level: for each class and cell a Gaussian (see
/// [`crate::inspect::cells::distance`]).
///
/// A Gaussian is its mean and a lower triangle, the inverse of its covariance's Cholesky factor. In 8 bits, with a scale for
/// each row, the triangles of MobileNetV2 features took a quarter of the size and moved distances by 0.2%.
#[derive(Debug, Clone, PartialEq)]
pub struct CellGaussians {
    /// `(Y, h, w, D)`.
    pub mean: Array4<f32>,
    /// What a row's codes are multiples of `(Y, h, w, D)`, above 0.
    pub scale: Array4<f32>,
    /// The codes of the triangle's columns, one after the other `(Y, h, w, D (D + 1) / 2)`: column j has rows j to D - 1.
    /// Nine tenths of a bundle: those of one that was read are the file's own bytes, and no copy of them.
    pub weights: ArcArray<i8, Ix4>,
}

impl CellGaussians {
    /// Room for `classes` classes on a grid of `(h, w)` cells with `channels` channels.
    pub fn zeros(classes: usize, (h, w): (usize, usize), channels: usize) -> Self {
        CellGaussians {
            mean: Array4::zeros((classes, h, w, channels)),
            scale: Array4::zeros((classes, h, w, channels)),
            weights: ArcArray::zeros((classes, h, w, triangle(channels))),
        }
    }

    /// Those of several classes as one. They are of the same level, and there is one at least.
    pub fn join(classes: &[CellGaussians]) -> Self {
        let of = |field: fn(&CellGaussians) -> &Array4<f32>| {
            let views = classes.iter().map(|class| field(class).view()).collect::<Vec<_>>();
            concatenate(Axis(0), &views).expect("classes have the level's grid in common")
        };
        let weights = classes.iter().map(|class| class.weights.view()).collect::<Vec<_>>();
        CellGaussians {
            mean: of(|class| &class.mean),
            scale: of(|class| &class.scale),
            weights: concatenate(Axis(0), &weights).expect("classes have the level's grid in common").into_shared(),
        }
    }

    /// Those of one class.
    pub fn of_class(&self, class: usize) -> ClassGaussians<'_> {
        let d = self.mean.dim().3;
        let cells = self.mean.dim().1 * self.mean.dim().2;
        let from = class * cells;
        ClassGaussians {
            mean: &slice(&self.mean)[from * d..][..cells * d],
            scale: &slice(&self.scale)[from * d..][..cells * d],
            weights: &slice(&self.weights)[from * triangle(d)..][..cells * triangle(d)],
            channels: d,
        }
    }

    pub(super) fn parse(reader: &Reader, manifest: &Manifest, l: usize, level: &Level) -> Result<Self> {
        let shape = |values| [manifest.classes.len(), level.height, level.width, values];
        let name = |part: &str| format!("cells.{part}.{l}");
        let gaussians = CellGaussians {
            mean: fixed::<_, Ix4>(reader.f32(&name("mean"), &shape(level.channels))?),
            scale: fixed::<_, Ix4>(reader.f32(&name("scale"), &shape(level.channels))?),
            weights: fixed::<_, Ix4>(reader.i8(&name("weights"), &shape(triangle(level.channels)))?),
        };
        // With a scale of 0 nothing would be far from what is usual.
        match all_above_zero(&gaussians.scale) {
            true => Ok(gaussians),
            false => Err(Error::device(format!("centers.safetensors: a scale in {} is not above 0", name("scale")))
                .advise("export the model again")),
        }
    }

    pub(super) fn serialize(&self, writer: &mut Writer, l: usize) {
        writer.f32(format!("cells.mean.{l}"), self.mean.shape(), &self.mean);
        writer.f32(format!("cells.scale.{l}"), self.scale.shape(), &self.scale);
        writer.i8(format!("cells.weights.{l}"), self.weights.shape(), &self.weights);
    }
}

/// The Gaussians of one class's cells, in rows.
#[derive(Debug, Clone, Copy)]
pub struct ClassGaussians<'a> {
    mean: &'a [f32],
    scale: &'a [f32],
    weights: &'a [i8],
    channels: usize,
}

impl<'a> ClassGaussians<'a> {
    /// Mean `(D)`, scales `(D)` and codes `(D (D + 1) / 2)` of one cell.
    pub fn at(&self, cell: usize) -> (&'a [f32], &'a [f32], &'a [i8]) {
        let (d, codes) = (self.channels, triangle(self.channels));
        (&self.mean[cell * d..][..d], &self.scale[cell * d..][..d], &self.weights[cell * codes..][..codes])
    }
}

fn slice<S: Data>(values: &ArrayBase<S, Ix4>) -> &[S::Elem] {
    values.as_slice().expect("tensors are read and joined in rows")
}

/// The elements of a lower triangle.
fn triangle(side: usize) -> usize {
    side * (side + 1) / 2
}
