//! Which tensors get which codes, and which layers stay in floats.

use std::sync::Arc;

use hgad::Result;
use rayon::prelude::*;
use tract_onnx::prelude::Tensor;

use super::code::Code;
use super::gauge::Gauge;
use super::layers::{Kind, Layer};
use super::network::{Coded, Frame, Int8, Network, values};
use super::range::{Extent, Histogram, Method};
use super::weights::{int8_conv, mean_error};
use crate::progress::Progress;

/// The code of a tensor, and how its range was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub code: Code,
    pub method: Method,
}

/// The histogram of every tensor over many images, in two passes: what the extents are, then how often which values occur.
pub(super) fn histograms(network: &Network, images: &[Arc<Tensor>]) -> Result<Vec<Histogram>> {
    let mut progress = Progress::start("ranges", "passes", 0, 2);
    let extents = images.par_iter().map(|image| {
        let frame = network.run(Tensor::clone(image))?;
        frame.iter().map(|tensor| Ok(Extent::of(values(tensor)?))).collect::<Result<Vec<_>>>()
    });
    let extents = extents.try_reduce_with(|a, b| Ok(a.iter().zip(&b).map(|(a, b)| a.joined(*b)).collect()));
    let extents = extents.transpose()?.unwrap_or_default();
    progress.at(1, String::new);
    let empty = || extents.iter().map(|extent| Histogram::new(*extent)).collect::<Vec<_>>();
    let counted = images.par_iter().map(|image| {
        let (frame, mut histograms) = (network.run(Tensor::clone(image))?, empty());
        for (tensor, histogram) in frame.iter().zip(&mut histograms) {
            histogram.add(values(tensor)?);
        }
        Ok(histograms)
    });
    let joined = counted.try_reduce_with(|a, b| Ok(a.into_iter().zip(&b).map(|(a, b)| a.join(b)).collect()));
    let histograms = joined.transpose()?.unwrap_or_default();
    progress.finish();
    Ok(histograms)
}

/// For every tensor that a layer could read or write as a code, the proposal that changes the taps least when this tensor alone
/// has a code.
pub(super) fn ranges(network: &Network, gauge: &Gauge, histograms: &[Histogram]) -> Result<Vec<Option<Range>>> {
    let mut of_layers = vec![false; network.shapes.len()];
    for (l, layer) in network.layers.layers.iter().enumerate().filter(|(_, layer)| !matches!(layer.kind, Kind::Other)) {
        layer.inputs.iter().chain([&(l + 1)]).for_each(|&t| of_layers[t] = true);
    }
    let mut progress = Progress::start("range methods", "tensors", 0, of_layers.len());
    let mut ranges = Vec::new();
    for (t, histogram) in histograms.iter().enumerate() {
        ranges.push(of_layers[t].then(|| least_disturbing(network, gauge, t, histogram)).transpose()?.flatten());
        progress.at(t + 1, || network.layers.tensor(t).to_owned());
    }
    progress.finish();
    Ok(ranges)
}

fn least_disturbing(network: &Network, gauge: &Gauge, t: usize, histogram: &Histogram) -> Result<Option<Range>> {
    let mut best = None;
    for (method, code) in histogram.proposals() {
        let mut coded = Coded { forced: Some(t), ..Coded::floats(network) };
        coded.codes[t] = Some(code);
        let error = gauge.error(&coded)?;
        if best.is_none_or(|(least, _)| error < least) {
            best = Some((error, Range { code, method }));
        }
    }
    Ok(best.map(|(_, range)| range))
}

/// Per layer what its bias has to take back when it computes in 8 bits; empty for what is no convolution.
pub(super) fn corrections(network: &Network, frames: &[Frame], ranges: &[Option<Range>]) -> Result<Vec<Vec<f32>>> {
    let layers = network.layers.layers.par_iter().enumerate();
    let correction = |(l, layer): (usize, &Layer)| match (&layer.kind, ranges[layer.inputs[0]]) {
        (Kind::Conv(conv), Some(input)) => mean_error(network, l, conv, input.code, frames),
        _ => Ok(Vec::new()),
    };
    layers.map(correction).collect()
}

/// The network with some layers in 8-bit arithmetic, and with the codes that these read and write. `corrections` are those of
/// [`corrections`], or empty.
pub(super) fn coded<'n>(
    network: &'n Network,
    ranges: &[Option<Range>],
    corrections: &[Vec<f32>],
    int8: impl Fn(usize) -> bool,
) -> Result<Coded<'n>> {
    let mut coded = Coded::floats(network);
    for (l, layer) in network.layers.layers.iter().enumerate().filter(|(l, _)| int8(*l)) {
        for &t in layer.inputs.iter().chain([&(l + 1)]) {
            coded.codes[t] = ranges[t].map(|range| range.code);
        }
        coded.layers[l] = match (&layer.kind, coded.codes[layer.inputs[0]]) {
            (Kind::Conv(conv), Some(input)) => {
                let correction = corrections.get(l).map_or(&[][..], Vec::as_slice);
                Some(Int8::Conv(Box::new(int8_conv(network, l, conv, input, correction)?)))
            }
            (Kind::Add { .. }, Some(_)) => Some(Int8::Add),
            _ => None,
        };
    }
    Ok(coded)
}

/// For every layer, the error at the taps when it alone computes in 8 bits; `None` for those that cannot.
pub(super) fn alone(network: &Network, gauge: &Gauge, ranges: &[Option<Range>]) -> Result<Vec<Option<f64>>> {
    let count = network.layers.layers.len();
    let mut progress = Progress::start("sensitivity", "layers", 0, count);
    let mut errors = Vec::new();
    for (l, layer) in network.layers.layers.iter().enumerate() {
        let error = || gauge.error(&coded(network, ranges, &[], |other| other == l)?);
        errors.push((!matches!(layer.kind, Kind::Other)).then(error).transpose()?);
        progress.at(l + 1, || layer.output.clone());
    }
    progress.finish();
    Ok(errors)
}
