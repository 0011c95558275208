//! How far codes move what the flows see.

use hgad::Result;
use rayon::prelude::*;
use tract_onnx::prelude::Tensor;

use super::network::{Coded, Frame, Network, values};

/// Measures codes on some frames by what they change at the backbone's taps.
pub(super) struct Gauge<'f> {
    frames: &'f [Frame],
    /// Number and, per channel, one over the variance of each tap: flows read standardised channels.
    taps: Vec<(usize, Vec<f64>)>,
}

impl<'f> Gauge<'f> {
    /// On the tensors of some images in floats.
    pub fn new(network: &Network, frames: &'f [Frame]) -> Result<Self> {
        let taps = network.layers.taps.iter().map(|&tap| Ok((tap, precisions(frames, tap)?)));
        Ok(Gauge { frames, taps: taps.collect::<Result<_>>()? })
    }

    /// The mean squared error of the taps' channels in units of their variance, mean over channels and taps.
    pub fn error(&self, coded: &Coded) -> Result<f64> {
        let of_frame = |frame: &Frame| {
            let outputs = coded.run(frame)?;
            self.taps
                .iter()
                .map(|(tap, precisions)| error(&frame[*tap], &outputs[*tap], precisions))
                .sum::<Result<f64>>()
        };
        let errors = self.frames.par_iter().map(of_frame).collect::<Result<Vec<_>>>()?;
        Ok(errors.iter().sum::<f64>() / (self.frames.len() * self.taps.len()) as f64)
    }

    /// Per tensor, the power of the values over that of what codes change of them.
    pub fn by_tensor(&self, coded: &Coded) -> Result<Vec<f64>> {
        let powers = |frame: &Frame| {
            let outputs = coded.run(frame)?;
            let pairs = frame.iter().zip(&outputs).map(|(float, coded)| {
                let (float, coded) = (values(float)?, values(coded)?);
                let noise = float.iter().zip(coded).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
                Ok([float.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>(), noise])
            });
            pairs.collect::<Result<Vec<[f64; 2]>>>()
        };
        let frames = self.frames.par_iter().map(powers).collect::<Result<Vec<_>>>()?;
        let total = |t: usize, which: usize| frames.iter().map(|frame| frame[t][which]).sum::<f64>();
        Ok((0..coded.codes.len()).map(|t| total(t, 1) / total(t, 0).max(f64::MIN_POSITIVE)).collect())
    }
}

/// A share of power as a signal-to-noise ratio.
pub fn decibels(noise: f64) -> f64 {
    -10.0 * noise.log10()
}

/// Per channel of a tensor, one over its variance about the channel's mean over all frames; 0 for a constant channel.
fn precisions(frames: &[Frame], tensor: usize) -> Result<Vec<f64>> {
    let channels = frames.first().map_or(0, |frame| frame[tensor].shape()[1]);
    let mut sums = vec![[0f64; 3]; channels];
    for frame in frames {
        let values = values(&frame[tensor])?;
        for (plane, sum) in values.chunks_exact(values.len() / channels).zip(&mut sums) {
            for value in plane.iter().copied().map(f64::from) {
                *sum = [sum[0] + 1.0, sum[1] + value, sum[2] + value * value];
            }
        }
    }
    let precision = |[n, sum, squares]: [f64; 3]| {
        let variance = squares / n - (sum / n).powi(2);
        if variance > f64::from(f32::MIN_POSITIVE) { 1.0 / variance } else { 0.0 }
    };
    Ok(sums.into_iter().map(precision).collect())
}

/// The mean over channels of the squared error times the channel's precision.
fn error(float: &Tensor, coded: &Tensor, precisions: &[f64]) -> Result<f64> {
    let (float, coded) = (values(float)?, values(coded)?);
    let plane = float.len() / precisions.len();
    let planes = float.chunks_exact(plane).zip(coded.chunks_exact(plane)).zip(precisions);
    let errors = planes.map(|((float, coded), precision)| {
        precision * float.iter().zip(coded).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / plane as f64
    });
    Ok(errors.sum::<f64>() / precisions.len() as f64)
}
