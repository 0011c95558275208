//! What became of every layer, and of stored weights.

use std::fmt;

use hgad::Result;

use super::gauge::{Gauge, decibels};
use super::layers::{Kind, Layer};
use super::network::Coded;
use super::plan::Range;
use super::range::Method;
use crate::export::{StoredWeights, WeightError};

/// One layer of the backbone.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerRow {
    /// The tensor that it writes.
    pub tensor: String,
    /// What it computes: `conv 1x1`, `depthwise 3x3`, `add`.
    pub kind: String,
    /// Share of the backbone's multiplications.
    pub share: f64,
    /// How the range of its output was found; `None` where the output has no code.
    pub method: Option<Method>,
    /// Power of the output over that of its error, in the network as it was quantised, in decibels.
    pub sqnr: f64,
    /// What the taps' ratio would be with this layer alone in 8 bits, in decibels.
    pub alone: f64,
    /// Whether it stays in floats.
    pub in_floats: bool,
}

/// The layers that can compute in 8 bits, and what the flows see of them all.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// In the order in which they run.
    pub layers: Vec<LayerRow>,
    /// Variance of the taps' channels over their squared error, mean over channels and taps, in decibels.
    pub taps: f64,
}

impl Table {
    pub(super) fn new(coded: &Coded, gauge: &Gauge, ranges: &[Option<Range>], alone: &[Option<f64>]) -> Result<Self> {
        let noise = gauge.by_tensor(coded)?;
        let network = coded.network;
        let total = (0..alone.len()).map(|l| network.multiplications(l)).sum::<usize>().max(1) as f64;
        let row = |(l, alone): (usize, &Option<f64>)| {
            let layer = &network.layers.layers[l];
            Some(LayerRow {
                tensor: layer.output.clone(),
                kind: kind(layer)?,
                share: network.multiplications(l) as f64 / total,
                method: coded.codes[l + 1].and(ranges[l + 1]).map(|range| range.method),
                sqnr: decibels(noise[l + 1]),
                alone: decibels((*alone)?),
                in_floats: coded.layers[l].is_none(),
            })
        };
        Ok(Table { layers: alone.iter().enumerate().filter_map(row).collect(), taps: decibels(gauge.error(coded)?) })
    }
}

fn kind(layer: &Layer) -> Option<String> {
    match &layer.kind {
        Kind::Conv(conv) => {
            let [outputs, per_group, height, width] = conv.weights.shape[..] else { return None };
            let name = if per_group == 1 && outputs > 1 { "depthwise" } else { "conv" };
            Some(format!("{name} {height}x{width}"))
        }
        Kind::Add { .. } => Some("add".to_owned()),
        Kind::Other => None,
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.layers.iter().map(|layer| layer.tensor.chars().count()).max().unwrap_or(0).max(5);
        writeln!(f, "{:width$}  kind           work     range  SQNR dB  alone dB", "layer")?;
        for layer in &self.layers {
            let method = layer.method.map_or_else(|| "-".to_owned(), |method| method.to_string());
            let LayerRow { tensor, kind, share, sqnr, alone, .. } = layer;
            let mark = if layer.in_floats { "  in floats" } else { "" };
            let share = 100.0 * share;
            writeln!(f, "{tensor:width$}  {kind:13}  {share:4.1}%  {method:>8}  {sqnr:7.1}  {alone:8.1}{mark}")?;
        }
        write!(f, "what the flows read: {:.1} dB", self.taps)
    }
}

/// The weights that are stored in 8 bits, and what that changes of the network's outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightTable {
    /// In the order in which the file has them.
    pub tensors: Vec<StoredWeights>,
    /// How far latents and scores lie from those in floats.
    pub error: WeightError,
}

impl fmt::Display for WeightTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.tensors.iter().map(|stored| stored.tensor.chars().count()).max().unwrap_or(0).max(7);
        writeln!(f, "{:width$}  shape            codes  SQNR dB", "weights")?;
        for StoredWeights { tensor, shape, codes, sqnr } in &self.tensors {
            let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
            writeln!(f, "{tensor:width$}  {shape:15}  {codes:5}  {sqnr:7.1}")?;
        }
        write!(f, "\n{}", self.error)
    }
}
