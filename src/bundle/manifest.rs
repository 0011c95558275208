//! `manifest.toml`: what a bundle says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::{Error, Result};

/// The newest bundle format that this program reads; it reads all up to this one.
pub const FORMAT_VERSION: u32 = 4;

/// A bound of the parity gate above this would let any board through.
const LARGEST_BOUND: f32 = 1.0;

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format's version.
    pub format_version: u32,
    /// When it was trained (RFC 3339).
    pub created: String,
    /// The program that wrote it, with its version.
    pub written_by: String,
    /// The products that the model knows, in the order of the mixture's classes.
    pub classes: Vec<String>,
    /// How the network's weights are stored.
    pub precision: Precision,
    /// What the backbone computes in.
    #[serde(default, skip_serializing_if = "Arithmetic::is_float")]
    pub arithmetic: Arithmetic,
    /// What a position's distance is measured from.
    #[serde(default, skip_serializing_if = "Distance::is_from_centers")]
    pub distance: Distance,
    /// The network's input.
    pub input: InputSize,
    /// How far a board's outputs for the golden frames may lie from the training host's.
    pub parity: ParityBound,
    /// The feature levels, finest first.
    pub levels: Vec<Level>,
    /// How it was trained: backbone, data digests, hyperparameters, metrics. For people; nothing here is interpreted.
    #[serde(default)]
    pub training: toml::Table,
    /// SHA-256 of every other file.
    #[serde(default)]
    pub files: BTreeMap<String, Digest>,
}

/// The network's input: a frame is resized to this, whatever its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSize {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// One feature level: a tap of the backbone with a flow of its own, or an output of a network that gives maps itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// The name of the backbone's tensor, or of the imported network's output.
    pub tap: String,
    /// Channels D.
    pub channels: usize,
    /// Rows of the feature grid.
    pub height: usize,
    /// Columns of the feature grid.
    pub width: usize,
}

/// How the network's weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// Symmetric 8-bit integers with a scale per output channel; the arithmetic is in floats.
    WeightsInt8,
}

/// What the backbone computes in. The flows compute in floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arithmetic {
    /// 32-bit floats.
    #[default]
    Float,
    /// Activations have 8-bit codes and layers multiply whole numbers, but for those that were kept in floats
    /// (`docs/bundle.md`, "Arithmetic in 8 bits").
    Int8,
}

/// What a position's distance is measured from (`docs/calibration.md`, "The score").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// The mixture's learned centers, the same at every position.
    #[default]
    Centers,
    /// A Gaussian for each class and cell of the grid.
    Cells,
    /// Nothing: the network itself gives anomaly maps and scores, as one that was trained elsewhere and imported does.
    #[value(skip)]
    Map,
}

impl Distance {
    fn format_version(self) -> u32 {
        match self {
            Distance::Centers => 1,
            Distance::Cells => 3,
            Distance::Map => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Distance::Centers => "centers",
            Distance::Cells => "cells",
            Distance::Map => "map",
        }
    }

    fn is_from_centers(&self) -> bool {
        *self == Distance::Centers
    }
}

impl Arithmetic {
    fn format_version(self) -> u32 {
        match self {
            Arithmetic::Float => 1,
            Arithmetic::Int8 => 2,
        }
    }

    fn is_float(&self) -> bool {
        *self == Arithmetic::Float
    }
}

/// How far a board's outputs for the golden frames may lie from the training host's, as largest absolute differences.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParityBound {
    /// Of the latents.
    pub z: f32,
    /// Of the log-determinants, per channel (divided by D).
    pub logdet: f32,
    /// Of the scores, in their own unit: standard deviations.
    pub score: f32,
}

impl Default for ParityBound {
    fn default() -> Self {
        ParityBound { z: 1e-2, logdet: 1e-3, score: 1e-2 }
    }
}

impl Level {
    /// Whether it is one value for the whole picture: a score that the network itself gives.
    pub fn is_whole(&self) -> bool {
        self.height * self.width == 1
    }
}

impl Manifest {
    /// The level that is the frame's score, where the network gives one itself.
    pub fn score_level(&self) -> Option<usize> {
        match self.distance {
            Distance::Map => self.levels.iter().position(Level::is_whole),
            Distance::Centers | Distance::Cells => None,
        }
    }

    /// The oldest bundle format that can say all this: what a bundle is written as, so that programs that know no newer one
    /// still read the bundles that they can run.
    pub fn oldest_format(&self) -> u32 {
        self.arithmetic.format_version().max(self.distance.format_version())
    }

    /// The index of `class` in the mixture.
    ///
    /// # Errors
    ///
    /// The bundle does not know the class; the error lists those that it knows.
    pub fn class_index(&self, class: &str) -> Result<usize> {
        self.classes.iter().position(|known| known == class).ok_or_else(|| {
            Error::usage(format!("the model does not know the class '{class}'"))
                .advise(format!("use one of: {}", self.classes.join(", ")))
        })
    }

    pub(super) fn parse(origin: &str, bytes: &[u8]) -> Result<Self> {
        let malformed = |why: String| {
            Error::device(format!("{origin}: manifest.toml is not a bundle manifest"))
                .because(why)
                .advise("name a directory that hgad-train wrote, or copy it again")
        };
        let text = std::str::from_utf8(bytes).map_err(|error| malformed(error.to_string()))?;
        // The version is looked at first: a newer format may have keys that this program does not know.
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| malformed(error.to_string()))?;
        match table.get("format_version").and_then(toml::Value::as_integer) {
            Some(version) if (1..=i64::from(FORMAT_VERSION)).contains(&version) => {}
            Some(version) => {
                return Err(Error::device(format!("{origin}: bundle format {version} is unknown to this program"))
                    .advise(format!(
                        "this program reads formats up to {FORMAT_VERSION}: update hgad, or export the model again"
                    )));
            }
            None => return Err(malformed("format_version is missing".into())),
        }
        let manifest: Manifest = toml::from_str(text).map_err(|error| malformed(error.to_string()))?;
        manifest.check().map_err(malformed)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let plausible = |name: &str, value: usize, most: usize| match value {
            0 => Err(format!("{name} is 0")),
            value if value > most => Err(format!("{name} is {value}, more than {most}")),
            _ => Ok(()),
        };
        if self.format_version < self.arithmetic.format_version() {
            return Err(format!("format {} has no arithmetic but float", self.format_version));
        }
        if self.format_version < self.distance.format_version() {
            let distance = self.distance.name();
            return Err(format!("format {} does not know the distance {distance}", self.format_version));
        }
        plausible("input.width", self.input.width, 8192)?;
        plausible("input.height", self.input.height, 8192)?;
        plausible("the number of classes", self.classes.len(), 4096)?;
        plausible("the number of levels", self.levels.len(), 16)?;
        let ParityBound { z, logdet, score } = self.parity;
        for (name, bound) in [("z", z), ("logdet", logdet), ("score", score)] {
            if !(bound > 0.0 && bound <= LARGEST_BOUND) {
                return Err(format!("parity.{name} is {bound}: it must be above 0 and at most {LARGEST_BOUND}"));
            }
        }
        if self.score_level().is_some_and(|level| level + 1 < self.levels.len()) {
            return Err("a level of one position is a score, and comes last".into());
        }
        for level in &self.levels {
            plausible(&format!("level {}: channels", level.tap), level.channels, 8192)?;
            plausible(&format!("level {}: height", level.tap), level.height, self.input.height)?;
            plausible(&format!("level {}: width", level.tap), level.width, self.input.width)?;
            if self.distance == Distance::Map && level.channels != 1 {
                return Err(format!("level {} is a map of {} channels, not of one", level.tap, level.channels));
            }
        }
        Ok(())
    }

    pub(super) fn verify(&self, origin: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let expected = self
            .files
            .get(name)
            .ok_or_else(|| Error::device(format!("{origin}: the manifest does not name the digest of {name}")))?;
        let actual = Digest::of(bytes);
        if actual == *expected {
            return Ok(());
        }
        Err(Error::device(format!("{origin}: {name} is not the file that the manifest names"))
            .because(format!("its SHA-256 is {actual}, the manifest says {expected}"))
            .advise("copy the bundle again; if it still differs, the file was damaged or replaced: do not use it"))
    }

    pub(super) fn serialize(&self) -> String {
        toml::to_string_pretty(self)
            .expect("a manifest holds only tables, numbers and strings, all of which TOML can say")
    }
}
