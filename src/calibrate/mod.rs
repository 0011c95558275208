//! The threshold, set on normal parts only.
//!
//! [`calibrate`] scores normal images and takes an order statistic of their scores: with exchangeable parts, the next
//! normal part lies above it with at most the probability asked for (split-conformal prediction; Vovk, Gammerman and
//! Shafer, "Algorithmic Learning in a Random World", 2005, section 4.2).

mod file;
mod suitable;

use std::path::PathBuf;

use ndarray::Array2;

pub use file::{Calibration, CalibrationImage, FORMAT_VERSION, FrameSize};

use crate::bundle::Bundle;
use crate::digest::Digest;
use crate::inspect::{batch, score};
use crate::{Error, Result};

/// A threshold, and the rate that it is set to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// A part is rejected when its score is greater than this.
    pub value: f32,
    /// The expected false-reject rate is at most this, if the parts to come are like those it was set on.
    pub promised_frr: f64,
}

/// The smallest threshold whose expected false-reject rate is at most `target_frr`, from the scores of normal parts.
///
/// With too few parts for the rate the largest score is taken, and `promised_frr` says which rate that is.
pub fn threshold(scores: &[f32], target_frr: f64) -> Threshold {
    let n = scores.len();
    // Rounded before it is rounded up: 0.99 * 100 must be 99, not 99.00000000000001.
    let exact = (n + 1) as f64 * (1.0 - target_frr);
    let rank = ((exact * 1e9).round() / 1e9).ceil().clamp(1.0, n as f64) as usize;
    let mut sorted = scores.to_vec();
    sorted.sort_by(f32::total_cmp);
    Threshold { value: sorted[rank - 1], promised_frr: (n + 1 - rank) as f64 / (n + 1) as f64 }
}

/// How many normal parts it takes to set a rate of `target_frr`.
pub fn parts_needed(target_frr: f64) -> usize {
    (1.0 / target_frr - 1e-9).ceil() as usize - 1
}

/// What calibration needs of one image.
struct Sample {
    size: (u32, u32),
    maps: Vec<Array2<f32>>,
    digest: Digest,
    /// Another class that it clearly shows.
    resembles: Option<usize>,
}

/// Calibrates `class` on images of normal parts. Single images that clearly show another class are warned of: they may be
/// outliers of a product that resembles it.
///
/// # Errors
///
/// The bundle does not know the class, an image cannot be read, the network fails, the bundle tells that it was trained on
/// one of the images, or more than one in twenty of them clearly shows another class.
pub fn calibrate(bundle: &Bundle, class: &str, images: &[PathBuf], target_frr: f64) -> Result<Calibration> {
    if !(target_frr > 0.0 && target_frr < 1.0) {
        return Err(Error::usage(format!("a false-reject rate of {target_frr} cannot be asked for"))
            .advise("give a rate between 0 and 1, such as 0.01 for one normal part in a hundred"));
    }
    let index = bundle.manifest.class_index(class)?;
    if images.is_empty() {
        return Err(Error::usage(format!("no image to calibrate '{class}' on")));
    }
    let samples = batch::for_each_image(bundle, class, images, |inspector, _, bytes, image| {
        let digest = Digest::of(bytes);
        if bundle.trained_on.as_ref().is_some_and(|seen| seen.contains(&digest)) {
            return Ok(None);
        }
        let (maps, resembles) = inspector.examine(&image, index)?;
        Ok(Some(Sample { size: image.dimensions(), maps, digest, resembles }))
    })?;
    let samples = suitable::unseen(bundle, images, samples)?;
    suitable::check_product(bundle, class, images, &samples)?;
    let frame = common(&samples).and_then(FrameSize::new);
    let (maps, digests): (Vec<_>, Vec<_>) = samples.into_iter().map(|sample| (sample.maps, sample.digest)).unzip();
    let reference = score::fit_reference(&maps);
    let inspector = crate::inspect::Inspector::new(bundle)?;
    let scores = maps.iter().map(|maps| inspector.score_maps(maps, &reference).0).collect::<Vec<_>>();
    let threshold = threshold(&scores, target_frr);
    let image_of = |((path, digest), score): ((&PathBuf, Digest), &f32)| CalibrationImage {
        file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        sha256: digest,
        score: *score,
    };
    Ok(Calibration {
        format_version: FORMAT_VERSION,
        class: class.to_owned(),
        bundle: bundle.digest,
        created: jiff::Timestamp::now().to_string(),
        written_by: concat!("hgad ", env!("CARGO_PKG_VERSION")).to_owned(),
        target_frr,
        promised_frr: threshold.promised_frr,
        threshold: threshold.value,
        frame,
        reference,
        images: images.iter().zip(digests).zip(&scores).map(image_of).collect(),
    })
}

/// The size that all images have.
fn common(samples: &[Sample]) -> Option<(u32, u32)> {
    let (first, rest) = samples.split_first()?;
    rest.iter().all(|sample| sample.size == first.size).then_some(first.size)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_threshold_is_the_conformal_order_statistic() {
        struct Case {
            n: usize,
            frr: f64,
            rank: usize,
        }
        // rank = ceil((n + 1)(1 - frr)), at most n.
        let cases = [
            Case { n: 99, frr: 0.01, rank: 99 },
            Case { n: 199, frr: 0.01, rank: 198 },
            Case { n: 100, frr: 0.01, rank: 100 },
            Case { n: 18, frr: 0.01, rank: 18 },
            Case { n: 19, frr: 0.10, rank: 18 },
        ];
        for Case { n, frr, rank } in cases {
            let scores = (1..=n).rev().map(|score| score as f32).collect::<Vec<_>>();
            let threshold = threshold(&scores, frr);
            assert_eq!(threshold.value, rank as f32, "n = {n}, rate {frr}");
            assert_eq!(threshold.promised_frr, (n + 1 - rank) as f64 / (n + 1) as f64);
        }
    }

    #[test]
    fn an_image_is_read_once_so_that_the_digest_is_of_what_was_scored() {
        let folder = tempfile::tempdir().unwrap();
        // A pipe gives other bytes to whoever opens it again.
        let pipe = folder.path().join("001.png");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let png = |grey: u8| {
            let mut bytes = std::io::Cursor::new(Vec::new());
            image::RgbImage::from_pixel(64, 64, image::Rgb([grey; 3]))
                .write_to(&mut bytes, image::ImageFormat::Png)
                .unwrap();
            bytes.into_inner()
        };
        let (first, second) = (png(50), png(200));
        let digest = Digest::of(&first);
        let path = pipe.clone();
        std::thread::spawn(move || {
            std::fs::write(&path, first).unwrap();
            // A pipe without a reader cannot be opened without waiting for one.
            while std::fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path).is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            std::fs::write(&path, second)
        });
        let bundle = Bundle::open(Path::new("models/demo")).unwrap();
        // What a grey picture looks like to this model.
        let calibration = calibrate(&bundle, "gear", &[pipe], 0.01).unwrap();
        assert_eq!(calibration.images[0].sha256, digest);
    }

    #[test]
    fn one_percent_takes_99_parts() {
        assert_eq!(parts_needed(0.01), 99);
        assert_eq!(parts_needed(0.05), 19);
        let scores = (0..99).map(|score| score as f32).collect::<Vec<_>>();
        assert!(threshold(&scores, 0.01).promised_frr <= 0.01);
        assert!(threshold(&scores[1..], 0.01).promised_frr > 0.01);
    }

    #[test]
    fn only_a_size_that_all_images_have_is_theirs() {
        let of = |sizes: &[(u32, u32)]| {
            let sample =
                |size: &(u32, u32)| Sample { size: *size, maps: vec![], digest: Digest::zero(), resembles: None };
            common(&sizes.iter().map(sample).collect::<Vec<_>>())
        };
        assert_eq!(of(&[(640, 480); 3]), Some((640, 480)));
        assert_eq!(of(&[(640, 480), (640, 480), (640, 481)]), None);
        assert_eq!(of(&[]), None);
    }
}
