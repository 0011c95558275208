//! Figures of the maps' pixels, without all maps in memory.
//!
//! A curve bends at the scores of defective pixels alone: between two of these only the number of good pixels counts. So the
//! defective pixels, which are few, are kept in memory (8 bytes each); the good ones go to a temporary file (4 bytes each) and are
//! counted in one pass once all defective ones are known. The figures are exact: those of all pixels in one sorted list.
//!
//! Intervals want the figures of many resamples. They come from a histogram of every image over the same bins of score, whose
//! borders are chosen so that no bin of several scores holds more than 1/512 of the defective pixels, nor of the regions'
//! weight. Precision, recall and F1 are exact at the borders. The area under the ROC is wrong by 1/1024 at most and, as the error
//! of all pixels is known and taken off, by much less.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};

use ndarray::Array2;

use super::curve::{Curve, Step, key};
use super::regions::Regions;
use crate::{Error, Result};

/// Up to which false-positive rate the per-region overlap counts.
pub const OVERLAP_LIMIT: f64 = 0.3;

/// No bin holds more than one part in so many.
const BINS: f64 = 512.0;

/// The figures of pixels: AUROC, average precision, largest F1, and area under the per-region overlap.
pub type PixelFigures = [f64; 4];

/// Maps on their way into figures.
pub struct Spool {
    good: BufWriter<File>,
    images: Vec<Image>,
}

struct Image {
    index: usize,
    good: usize,
    /// Key, and the size of the pixel's region.
    defective: Vec<(u32, u32)>,
}

impl Spool {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// No temporary file can be made.
    pub fn new() -> Result<Self> {
        let file = tempfile::tempfile().map_err(failed)?;
        Ok(Spool { good: BufWriter::new(file), images: Vec::new() })
    }

    /// Adds the map `(H, W)` of image number `index`, whose defects are `regions` on the same grid. Where the map is no number nothing
    /// counts.
    ///
    /// # Errors
    ///
    /// The temporary file cannot be written.
    pub fn push(&mut self, index: usize, map: &Array2<f32>, regions: &Regions) -> Result<()> {
        let mut image = Image { index, good: 0, defective: Vec::new() };
        let mut bytes = Vec::with_capacity(4 * map.len());
        for (value, label) in map.iter().zip(&regions.labels).filter(|(value, _)| !value.is_nan()) {
            match label {
                0 => bytes.extend_from_slice(&key(*value).to_le_bytes()),
                label => image.defective.push((key(*value), regions.sizes[*label as usize - 1])),
            }
        }
        image.good = bytes.len() / 4;
        self.good.write_all(&bytes).map_err(failed)?;
        self.images.push(image);
        Ok(())
    }

    /// The figures of all that was pushed; `None` without a defective pixel or without a good one.
    ///
    /// # Errors
    ///
    /// The temporary file cannot be read.
    pub fn finish(mut self) -> Result<Option<Pixels>> {
        let scale = Scale::new(&self.images);
        self.good.rewind().map_err(failed)?;
        let mut file = BufReader::new(self.good.into_inner().map_err(|error| failed(error.into_error()))?);
        let mut counts = Counts::new(scale.keys.len());
        let mut histograms = Vec::with_capacity(self.images.len());
        let mut bytes = Vec::new();
        for image in &self.images {
            bytes.resize(4 * image.good, 0);
            file.read_exact(&mut bytes).map_err(failed)?;
            let (keys, _) = bytes.as_chunks();
            let good = scale.count(keys.iter().map(|key| u32::from_le_bytes(*key)), &mut counts);
            let defective = scale.histogram(&image.defective);
            histograms.push(Histogram { image: image.index, good, defective });
        }
        // They came as they were ready. Sums of floats shall not depend on that.
        histograms.sort_by_key(|histogram| histogram.image);
        Ok(Pixels::new(scale.figures(&counts), histograms, scale.bins))
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::device("the pixels' temporary file failed").because(error).advise(format!(
        "make room in {}, or name another folder in the variable TMPDIR",
        std::env::temp_dir().display()
    ))
}

/// The distinct scores of defective pixels, rising.
struct Scale {
    keys: Vec<u32>,
    /// How many pixels have each.
    pixels: Vec<f64>,
    /// The same with one over its region's size for each pixel.
    weight: Vec<f64>,
    /// The bin of each, falling; bin 0 is above all of them, and the last one below.
    bin: Vec<u32>,
    bins: usize,
    /// Where the keys begin whose upper half is the index.
    starts: Vec<u32>,
}

/// How many good pixels have the score of a defective one, and how many lie below each and above its predecessor.
struct Counts {
    tied: Vec<u64>,
    between: Vec<u64>,
}

impl Counts {
    fn new(keys: usize) -> Self {
        Counts { tied: vec![0; keys], between: vec![0; keys + 1] }
    }
}

impl Scale {
    fn new(images: &[Image]) -> Self {
        let mut all = images.iter().flat_map(|image| &image.defective).copied().collect::<Vec<_>>();
        all.sort_unstable();
        let (mut keys, mut pixels, mut weight) = (Vec::new(), Vec::new(), Vec::new());
        for tie in all.chunk_by(|a, b| a.0 == b.0) {
            keys.push(tie[0].0);
            pixels.push(tie.len() as f64);
            weight.push(tie.iter().map(|(_, size)| 1.0 / f64::from(*size)).sum());
        }
        let (bin, bins) = bins(&pixels, &weight);
        let mut starts = vec![0u32; (1 << 16) + 1];
        keys.iter().for_each(|key| starts[(key >> 16) as usize + 1] += 1);
        (1..starts.len()).for_each(|i| starts[i] += starts[i - 1]);
        Scale { keys, pixels, weight, bin, bins, starts }
    }

    /// The index of the first key that is not below `key`, and whether it is `key`.
    fn place(&self, key: u32) -> (usize, bool) {
        let upper = (key >> 16) as usize;
        let (start, end) = (self.starts[upper] as usize, self.starts[upper + 1] as usize);
        let place = start + self.keys[start..end].partition_point(|known| *known < key);
        (place, self.keys.get(place) == Some(&key))
    }

    /// Adds an image's good pixels to `counts` and gives their histogram.
    fn count(&self, keys: impl Iterator<Item = u32>, counts: &mut Counts) -> Vec<u32> {
        let mut histogram = vec![0; self.bins];
        for key in keys {
            let (place, tied) = self.place(key);
            match tied {
                true => counts.tied[place] += 1,
                false => counts.between[place] += 1,
            }
            // To a step belongs what a sinking threshold meets before it: the end of every bin is then on the curve.
            let bin = match place {
                _ if tied => self.bin[place] as usize,
                0 => self.bins - 1,
                place if place == self.keys.len() => 0,
                place => self.bin[place - 1] as usize,
            };
            histogram[bin] += 1;
        }
        histogram
    }

    /// Bin, pixels and weight of an image's defective pixels.
    fn histogram(&self, defective: &[(u32, u32)]) -> Vec<(u32, f64, f64)> {
        let mut bins = std::collections::BTreeMap::<u32, (f64, f64)>::new();
        for (key, size) in defective {
            let (pixels, weight) = bins.entry(self.bin[self.place(*key).0]).or_default();
            *pixels += 1.0;
            *weight += 1.0 / f64::from(*size);
        }
        bins.into_iter().map(|(bin, (pixels, weight))| (bin, pixels, weight)).collect()
    }

    /// The exact figures.
    fn figures(&self, counts: &Counts) -> Option<PixelFigures> {
        let steps = |weight: &[f64]| {
            let good = |count: u64| Step { positive: 0.0, negative: count as f64 };
            let mut steps = vec![good(counts.between[self.keys.len()])];
            for place in (0..self.keys.len()).rev() {
                steps.push(Step { positive: weight[place], negative: counts.tied[place] as f64 });
                steps.push(good(counts.between[place]));
            }
            steps
        };
        figures(steps(&self.pixels), steps(&self.weight))
    }
}

/// The bin of each key, the highest first, and how many bins there are.
fn bins(pixels: &[f64], weight: &[f64]) -> (Vec<u32>, usize) {
    let most = |values: &[f64]| values.iter().sum::<f64>() / BINS;
    let (most_pixels, most_weight) = (most(pixels), most(weight));
    let (mut bin, mut held) = (1, (0.0, 0.0));
    let mut bins = vec![0; pixels.len()];
    for place in (0..pixels.len()).rev() {
        let with = (held.0 + pixels[place], held.1 + weight[place]);
        let full = held.0 > 0.0 && (with.0 > most_pixels || with.1 > most_weight);
        (bin, held) = if full { (bin + 1, (pixels[place], weight[place])) } else { (bin, with) };
        bins[place] = bin;
    }
    (bins, bin as usize + 2)
}

fn figures(pixels: Vec<Step>, overlap: Vec<Step>) -> Option<PixelFigures> {
    let (pixels, overlap) = (Curve::new(pixels)?, Curve::new(overlap)?);
    Some([pixels.auroc(), pixels.average_precision(), pixels.f1_max(), overlap.area_up_to(OVERLAP_LIMIT)])
}

/// The figures of a set of maps, and what it takes to resample them.
pub struct Pixels {
    /// The exact figures.
    figures: PixelFigures,
    /// What the histograms' figures lack.
    lack: PixelFigures,
    histograms: Vec<Histogram>,
    bins: usize,
}

struct Histogram {
    image: usize,
    good: Vec<u32>,
    /// Bin, pixels and weight.
    defective: Vec<(u32, f64, f64)>,
}

impl Pixels {
    fn new(figures: Option<PixelFigures>, histograms: Vec<Histogram>, bins: usize) -> Option<Self> {
        let mut pixels = Pixels { figures: figures?, lack: [0.0; 4], histograms, bins };
        let binned = pixels.resampled(&|_| 1.0)?;
        pixels.lack = std::array::from_fn(|i| pixels.figures[i] - binned[i]);
        Some(pixels)
    }

    /// The figures when image number i is counted `times(i)` times; `None` when no defective pixel is left.
    pub fn resampled(&self, times: &impl Fn(usize) -> f64) -> Option<PixelFigures> {
        let step = Step { positive: 0.0, negative: 0.0 };
        let (mut pixels, mut overlap) = (vec![step; self.bins], vec![step; self.bins]);
        for histogram in &self.histograms {
            let times = times(histogram.image);
            if times == 0.0 {
                continue;
            }
            pixels.iter_mut().zip(&histogram.good).for_each(|(step, good)| step.negative += times * f64::from(*good));
            for (bin, count, weight) in &histogram.defective {
                pixels[*bin as usize].positive += times * count;
                overlap[*bin as usize].positive += times * weight;
            }
        }
        overlap.iter_mut().zip(&pixels).for_each(|(overlap, pixels)| overlap.negative = pixels.negative);
        let binned = figures(pixels, overlap)?;
        Some(std::array::from_fn(|i| (binned[i] + self.lack[i]).clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::curve::tests::curve;

    /// Maps with defects of several sizes; some scores are tied when `levels` is small.
    fn maps(count: usize, levels: u32) -> Vec<(Array2<f32>, Array2<bool>)> {
        let noise = |i: usize, y: usize, x: usize| {
            let mut h = (i * 8191 + y * 131 + x) as u32;
            for factor in [0x7feb_352d_u32, 0x846c_a68b] {
                h = (h ^ (h >> 15)).wrapping_mul(factor);
            }
            h ^ h >> 16
        };
        let map = |i: usize| {
            let side = 2 + i % 5;
            let mask = Array2::from_shape_fn((40, 50), |(y, x)| {
                !i.is_multiple_of(3)
                    && ((5..5 + side).contains(&y) && (7..7 + side).contains(&x) || (i % 3 == 2 && y == 30 && x > 44))
            });
            let map = Array2::from_shape_fn((40, 50), |(y, x)| {
                (noise(i, y, x) % levels) as f32 / levels as f32 + if mask[[y, x]] { 0.4 } else { 0.0 } - 0.5
            });
            (map, mask)
        };
        (0..count).map(map).collect()
    }

    fn spooled(maps: &[(Array2<f32>, Array2<bool>)]) -> Pixels {
        let mut spool = Spool::new().unwrap();
        for (index, (map, mask)) in maps.iter().enumerate() {
            spool.push(index, map, &Regions::of(mask)).unwrap();
        }
        spool.finish().unwrap().unwrap()
    }

    /// The same figures from all pixels in one list; the overlap region by region.
    fn direct(maps: &[(Array2<f32>, Array2<bool>)]) -> PixelFigures {
        let pixel = |(map, mask): &(Array2<f32>, Array2<bool>)| {
            map.iter().copied().zip(mask.iter().copied()).collect::<Vec<_>>()
        };
        let all = maps.iter().flat_map(pixel).collect::<Vec<_>>();
        let good = all.iter().filter(|(_, defect)| !*defect).copied().collect::<Vec<_>>();
        let mut areas = Vec::new();
        for (map, mask) in maps {
            let regions = Regions::of(mask);
            for region in 1..=regions.sizes.len() as u32 {
                let inside = map.iter().zip(&regions.labels).filter(|(_, label)| **label == region);
                let both = inside.map(|(value, _)| (*value, true)).chain(good.iter().copied()).collect::<Vec<_>>();
                areas.push(curve(&both).unwrap().area_up_to(OVERLAP_LIMIT));
            }
        }
        let all = curve(&all).unwrap();
        let overlap = areas.iter().sum::<f64>() / areas.len() as f64;
        [all.auroc(), all.average_precision(), all.f1_max(), overlap]
    }

    #[test]
    fn the_figures_are_those_of_all_pixels_in_one_list() {
        for levels in [7, 1000, 1 << 31] {
            let maps = maps(9, levels);
            let (spooled, direct) = (spooled(&maps).figures, direct(&maps));
            assert!(
                spooled.iter().zip(&direct).all(|(a, b)| (a - b).abs() < 1e-12),
                "{levels}: {spooled:?} {direct:?}"
            );
        }
    }

    #[test]
    fn resampled_figures_are_those_of_the_resample_but_for_the_bins() {
        let maps = maps(12, 1 << 31);
        let pixels = spooled(&maps);
        let all = pixels.resampled(&|_| 1.0).unwrap();
        assert!(all.iter().zip(&pixels.figures).all(|(a, b)| (a - b).abs() < 1e-12));
        for start in 0..4 {
            let drawn = (0..12).map(|i| (start + i * i) % 12).collect::<Vec<_>>();
            let copies = drawn.iter().map(|i| maps[*i].clone()).collect::<Vec<_>>();
            let times = |image: usize| drawn.iter().filter(|i| **i == image).count() as f64;
            let (resampled, direct) = (pixels.resampled(&times).unwrap(), direct(&copies));
            let close = resampled.iter().zip(&direct).all(|(a, b)| (a - b).abs() < 2e-3);
            assert!(close, "{resampled:?} {direct:?}");
        }
        assert!(pixels.resampled(&|image| f64::from(u8::from(image % 3 == 0))).is_none(), "good images alone");
    }

    #[test]
    fn without_a_defect_there_is_no_figure() {
        let mut spool = Spool::new().unwrap();
        let map = Array2::zeros((4, 4));
        spool.push(0, &map, &Regions::of(&map.mapv(|_| false))).unwrap();
        assert!(spool.finish().unwrap().is_none());
        assert!(Spool::new().unwrap().finish().unwrap().is_none());
    }

    #[test]
    fn bins_hold_no_more_than_their_share() {
        let pixels = vec![1.0; 5000];
        let weight = (0..5000).map(|i| if i < 100 { 0.01 } else { 1e-4 }).collect::<Vec<_>>();
        let (bin, bins) = bins(&pixels, &weight);
        assert!(bin.windows(2).all(|pair| pair[0] == pair[1] || pair[0] == pair[1] + 1), "falling, without gaps");
        assert_eq!((bin[4999], bin[0] as usize), (1, bins - 2));
        for number in 1..bins as u32 - 1 {
            let several = bin.iter().filter(|b| **b == number).count() > 1;
            let held =
                |values: &[f64]| bin.iter().zip(values).filter(|(b, _)| **b == number).map(|(_, v)| v).sum::<f64>();
            assert!(!several || held(&pixels) <= 5000.0 / BINS && held(&weight) <= 1.49 / BINS + 1e-9, "{number}");
        }
    }
}
