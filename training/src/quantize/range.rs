//! Which range of a tensor's values its 256 codes are spread over.
//!
//! A wide range saturates nothing and has coarse steps; a narrow one cuts off what is rare. There is no rule that is best for
//! all tensors, so each method makes a proposal, and the one that is chosen disturbs the network's features least.

use std::fmt;

use super::code::Code;

/// Bins of a histogram: 16 for each code.
const BINS: usize = 4096;

/// Shares of the values that percentile ranges hold.
const PERCENTILES: [f64; 3] = [0.999, 0.9999, 0.99999];

/// How a range was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Every value that was seen.
    MinMax,
    /// All but the outermost values on both sides: this share of all.
    Percentile(f64),
    /// The least mean squared error of the tensor itself.
    Mse,
    /// The least Kullback-Leibler divergence of the values' distribution.
    Entropy,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::MinMax => f.pad("min-max"),
            Method::Percentile(share) => f.pad(&format!("{}%", (share * 1e7).round() / 1e5)),
            Method::Mse => f.pad("mse"),
            Method::Entropy => f.pad("entropy"),
        }
    }
}

/// The least and the largest value of a tensor, and 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Extent {
    /// At most 0.
    pub low: f32,
    /// At least 0.
    pub high: f32,
}

impl Extent {
    /// Of some values.
    pub fn of(values: &[f32]) -> Self {
        values.iter().fold(Extent::default(), |e, &v| Extent { low: e.low.min(v), high: e.high.max(v) })
    }

    /// What holds both.
    pub fn joined(self, other: Extent) -> Self {
        Extent { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}

/// How often which values of a tensor occur.
#[derive(Debug, Clone)]
pub struct Histogram {
    extent: Extent,
    counts: Vec<u64>,
}

impl Histogram {
    /// An empty one for values within `extent`.
    pub fn new(extent: Extent) -> Self {
        Histogram { extent, counts: vec![0; BINS] }
    }

    /// Counts values; those outside count as the outermost ones.
    pub fn add(&mut self, values: &[f32]) {
        let per_unit = BINS as f32 / self.width();
        for value in values {
            let bin = ((value - self.extent.low) * per_unit) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    /// Adds what another one of the same extent has counted.
    pub fn join(mut self, other: &Histogram) -> Self {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self
    }

    /// Each method's proposal; of equal ones the first.
    pub fn proposals(&self) -> Vec<(Method, Code)> {
        let of = |extent: Extent| Code::of_range(extent.low, extent.high);
        let mut proposals = vec![(Method::MinMax, of(self.extent))];
        let percentiles = PERCENTILES.iter().map(|&share| (Method::Percentile(share), of(self.percentile(share))));
        let by_mse = (Method::Mse, of(self.narrowed(|code| self.error(code))));
        let by_entropy = (Method::Entropy, of(self.narrowed(|code| self.divergence(code))));
        for (method, code) in percentiles.chain([by_mse, by_entropy]) {
            if proposals.iter().all(|(_, known)| *known != code) {
                proposals.push((method, code));
            }
        }
        proposals
    }

    fn width(&self) -> f32 {
        (self.extent.high - self.extent.low).max(f32::MIN_POSITIVE)
    }

    /// The value in the middle of a bin.
    fn middle(&self, bin: usize) -> f32 {
        self.extent.low + (bin as f32 + 0.5) / BINS as f32 * self.width()
    }

    /// The extent of all values but an equal share on both sides; only on one side where there are no values on the other.
    fn percentile(&self, share: f64) -> Extent {
        let total = self.counts.iter().sum::<u64>() as f64;
        let one_sided = self.extent.low == 0.0 || self.extent.high == 0.0;
        let outside = (1.0 - share) * total / if one_sided { 1.0 } else { 2.0 };
        let mut seen = [0.0; 2];
        let mut reached = |side: usize, bin: usize| {
            seen[side] += self.counts[bin] as f64;
            seen[side] > outside
        };
        let edge = |bin: usize| self.extent.low + bin as f32 / BINS as f32 * self.width();
        let low = (0..BINS).find(|&bin| reached(0, bin)).map_or(self.extent.low, edge);
        let high = (0..BINS).rev().find(|&bin| reached(1, bin)).map_or(self.extent.high, |bin| edge(bin + 1));
        Extent { low: low.min(0.0), high: high.max(0.0) }
    }

    /// The extent whose code costs least: both ends are drawn in together, then each alone.
    fn narrowed(&self, cost: impl Fn(Code) -> f64) -> Extent {
        let Extent { low, high } = self.extent;
        let shares = || (5..=50).map(|i| i as f32 / 50.0);
        let best = |candidates: &mut dyn Iterator<Item = Extent>| {
            let scored = candidates.map(|extent| (cost(Code::of_range(extent.low, extent.high)), extent));
            scored.min_by(|(a, _), (b, _)| a.total_cmp(b)).map_or(self.extent, |(_, extent)| extent)
        };
        let both = best(&mut shares().map(|share| Extent { low: share * low, high: share * high }));
        let upper = best(&mut shares().map(|share| Extent { low: both.low, high: share * high }));
        best(&mut shares().map(|share| Extent { low: share * low, high: upper.high }))
    }

    /// The mean squared error of a code.
    fn error(&self, code: Code) -> f64 {
        let errors = self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bin, &count)| {
            let value = self.middle(bin);
            count as f64 * f64::from(value - code.rounded(value)).powi(2)
        });
        errors.sum::<f64>() / self.counts.iter().sum::<u64>().max(1) as f64
    }

    /// The Kullback-Leibler divergence of the distribution that a code tells of from the one that was seen, in nats. Values
    /// outside the code's range are seen as its outermost ones, and are not told of; what one code stands for is told of as
    /// spread evenly over those of its bins in which there was something (Migacz, "8-bit Inference with TensorRT", GTC 2017).
    fn divergence(&self, code: Code) -> f64 {
        let (low, high) = code.range();
        let half = 0.5 * code.scale;
        let inside = |bin: &usize| (low - half..=high + half).contains(&self.middle(*bin));
        let (Some(first), Some(last)) = ((0..BINS).find(inside), (0..BINS).rev().find(inside)) else {
            return f64::INFINITY;
        };
        let mut seen = self.counts[first..=last].to_vec();
        let mut told = vec![(0, 0); 256];
        let level = |at: usize| (code.level(self.middle(first + at)) + f32::from(code.zero)) as usize;
        for (at, &count) in seen.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (counts, bins) = &mut told[level(at)];
            (*counts, *bins) = (*counts + count, *bins + 1);
        }
        let kept = seen.iter().sum::<u64>() as f64;
        seen[0] += self.counts[..first].iter().sum::<u64>();
        seen[last - first] += self.counts[last + 1..].iter().sum::<u64>();
        let all = seen.iter().sum::<u64>() as f64;
        let terms = seen.iter().enumerate().filter(|(_, count)| **count > 0).map(|(at, &count)| {
            let (counts, bins) = told[level(at)];
            // An outermost bin that only holds what was cut off is told of as if one value had been there.
            let told = counts.max(1) as f64 / f64::from(bins.max(1)) / kept.max(1.0);
            let seen = count as f64 / all;
            seen * (seen / told).ln()
        });
        terms.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::Random;

    fn histogram(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::new(Extent::of(values));
        histogram.add(values);
        histogram
    }

    /// The error of a code on the values themselves.
    fn error(values: &[f32], code: Code) -> f64 {
        values.iter().map(|&value| f64::from(value - code.rounded(value)).powi(2)).sum::<f64>() / values.len() as f64
    }

    fn code_of(proposals: &[(Method, Code)], method: Method) -> Code {
        proposals.iter().find(|(m, _)| *m == method).unwrap_or_else(|| panic!("no {method} in {proposals:?}")).1
    }

    #[test]
    fn rare_large_values_are_cut_off_by_all_but_min_max() {
        let mut random = Random::new(1);
        let mut values = (0..200_000).map(|_| random.normal()).collect::<Vec<_>>();
        values[7] = 12.0;
        let proposals = histogram(&values).proposals();
        let minmax = code_of(&proposals, Method::MinMax);
        assert!((minmax.range().1 - 12.0).abs() < minmax.scale);
        for share in [0.999, 0.9999] {
            let (low, high) = code_of(&proposals, Method::Percentile(share)).range();
            let outside = values.iter().filter(|v| **v < low || **v > high).count() as f64 / values.len() as f64;
            assert!((outside / (1.0 - share) - 1.0).abs() < 0.5, "{share}: {outside}");
        }
        let mse = code_of(&proposals, Method::Mse);
        for (method, code) in &proposals {
            assert!(error(&values, mse) <= 1.02 * error(&values, *code), "{method}");
        }
        assert!(error(&values, mse) < 0.95 * error(&values, minmax), "{proposals:?}");
        let (_, high) = code_of(&proposals, Method::Entropy).range();
        assert!(high > 3.0 && high < 9.0, "{proposals:?}");
    }

    #[test]
    fn a_code_that_tells_all_diverges_by_nothing() {
        // 256 values, one per code.
        let values = (0..256 * 50).map(|i| (i % 256) as f32).collect::<Vec<_>>();
        let histogram = histogram(&values);
        assert!(histogram.divergence(Code::of_range(0.0, 255.0)).abs() < 1e-9);
        // Half of the range: half of the values are seen at its end, where one was told of.
        let half = histogram.divergence(Code::of_range(0.0, 127.5));
        let expected = 0.5 * 0.5f64.ln() + 0.5 * (0.5 * 6400.0f64).ln();
        assert!((half - expected).abs() < 1e-9, "{half} and {expected}");
    }

    #[test]
    fn what_is_never_negative_gets_all_codes_above_zero() {
        let mut random = Random::new(2);
        let values = (0..50_000).map(|_| random.normal().clamp(0.0, 2.5)).collect::<Vec<_>>();
        for (method, code) in histogram(&values).proposals() {
            assert_eq!(code.zero, 0, "{method}");
            assert!(code.range().1 <= 2.5001, "{method}");
        }
    }

    #[test]
    fn a_tensor_of_zeros_has_a_code() {
        let proposals = histogram(&[0.0; 16]).proposals();
        assert_eq!(proposals[0], (Method::MinMax, Code { scale: 1.0, zero: 0 }));
    }
}
