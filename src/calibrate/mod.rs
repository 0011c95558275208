//! The threshold, set on normal parts only.
//!
//! [`calibrate`] scores normal images and takes an order statistic of their scores ([`Aim::threshold`]).

mod file;
mod group;
mod suitable;
mod threshold;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ndarray::Array2;

pub use file::{Calibration, CalibrationImage, FORMAT_VERSION, FrameSize};
pub use group::Grouping;
pub use threshold::{Aim, INTERVAL, Threshold};

use crate::bundle::Bundle;
use crate::digest::Digest;
use crate::inspect::{batch, score};
use crate::{Error, Result};

/// What calibration needs of one image.
struct Sample {
    path: PathBuf,
    group: Option<String>,
    size: (u32, u32),
    maps: Vec<Array2<f32>>,
    digest: Digest,
    /// Another class that it clearly shows.
    resembles: Option<usize>,
}

/// Calibrates `class` on images of normal parts. Single images that clearly show another class are left out and named in a
/// warning: the line rejects such parts whatever the threshold is, so they must not move it.
///
/// # Errors
///
/// The bundle does not know the class, an image cannot be read or belongs to no group, the network fails, the bundle tells
/// that it was trained on one of the images, more than one in twenty of them clearly shows another class, or there are too few
/// parts for the confidence that is aimed at.
pub fn calibrate(
    bundle: &Bundle,
    class: &str,
    images: &[PathBuf],
    aim: &Aim,
    grouping: Option<&Grouping>,
) -> Result<Calibration> {
    aim.check()?;
    let groups = grouping.map(|grouping| images.iter().map(|path| grouping.of(path)).collect::<Result<Vec<_>>>());
    let groups = groups.transpose()?;
    let index = bundle.manifest.class_index(class)?;
    if images.is_empty() {
        return Err(Error::usage(format!("no image to calibrate '{class}' on")));
    }
    let samples = batch::for_each_image(bundle, class, images, |inspector, number, bytes, image| {
        let digest = Digest::of(bytes);
        if bundle.trained_on.as_ref().is_some_and(|seen| seen.contains(&digest)) {
            return Ok(None);
        }
        let (maps, resembles) = inspector.examine(&image, index)?;
        let (path, group) = (images[number].clone(), groups.as_ref().map(|groups| groups[number].clone()));
        Ok(Some(Sample { path, group, size: image.dimensions(), maps, digest, resembles }))
    })?;
    let samples = suitable::unseen(bundle, images, samples)?;
    let samples = suitable::of_product(bundle, class, samples)?;
    let frame = common(&samples).and_then(FrameSize::new);
    let (maps, mut images): (Vec<_>, Vec<_>) = samples.into_iter().map(Sample::divide).unzip();
    let reference = score::fit_reference(&maps);
    suitable::like_normal_parts(class, &reference)?;
    let inspector = crate::inspect::Inspector::new(bundle)?;
    images.iter_mut().zip(&maps).for_each(|(image, maps)| image.score = inspector.score_maps(maps, &reference).0);
    let threshold = aim.threshold(&of_parts(&images))?;
    Ok(Calibration {
        format_version: FORMAT_VERSION,
        class: class.to_owned(),
        bundle: bundle.digest,
        created: jiff::Timestamp::now().to_string(),
        written_by: concat!("hgad ", env!("CARGO_PKG_VERSION")).to_owned(),
        target_frr: aim.frr,
        confidence: aim.confidence,
        promised_frr: threshold.promised_frr,
        realised_frr: Some(threshold.interval),
        threshold: threshold.value,
        frame,
        reference,
        images,
    })
}

impl Sample {
    /// Its maps, and what a calibration tells of it; the score is not known yet.
    fn divide(self) -> (Vec<Array2<f32>>, CalibrationImage) {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (self.maps, CalibrationImage { file, sha256: self.digest, score: f32::NAN, group: self.group })
    }
}

/// The highest score of each part: one that any of its pictures rejects is rejected. An image without a group is a part.
fn of_parts(images: &[CalibrationImage]) -> Vec<f32> {
    let (grouped, single): (Vec<_>, Vec<_>) = images.iter().partition(|image| image.group.is_some());
    let mut highest = BTreeMap::new();
    for image in grouped {
        let entry = highest.entry(&image.group).or_insert(image.score);
        // By the total order, in which what is not a number is the highest, as it is for the threshold.
        if entry.total_cmp(&image.score).is_lt() {
            *entry = image.score;
        }
    }
    single.into_iter().map(|image| image.score).chain(highest.into_values()).collect()
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
    use crate::synthetic::Conveyor;

    #[test]
    fn a_group_counts_as_one_part_with_its_highest_score() {
        let image = |(group, score): (Option<&str>, f32)| CalibrationImage {
            file: "0.png".into(),
            sha256: Digest::zero(),
            score,
            group: group.map(str::to_owned),
        };
        let named = [("a", 1.0), ("b", 2.0), ("a", 3.0), ("c", f32::NAN), ("b", 1.0)];
        let highest = of_parts(&named.map(|(group, score)| image((Some(group), score))));
        assert_eq!(highest[..2], [3.0, 2.0]);
        assert!(highest.len() == 3 && highest[2].is_nan());
        assert_eq!(of_parts(&[1.0, 3.0, 2.0].map(|score| image((None, score)))), [1.0, 3.0, 2.0]);
    }

    #[test]
    fn an_image_is_read_once_so_that_the_digest_is_of_what_was_scored() {
        let folder = tempfile::tempdir().unwrap();
        // A pipe gives other bytes to whoever opens it again.
        let pipe = folder.path().join("001.png");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let conveyor = Conveyor { seed: 1002, defect_share: 0.0 };
        let mut parts = (0..).map(|number| conveyor.part(number)).filter(|part| part.truth.product.name() == "gear");
        let mut png = || {
            let mut bytes = std::io::Cursor::new(Vec::new());
            parts.next().unwrap().image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
            bytes.into_inner()
        };
        let (first, second) = (png(), png());
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
        let calibration = calibrate(&bundle, "gear", &[pipe], &Aim { frr: 0.01, confidence: None }, None).unwrap();
        assert_eq!(calibration.images[0].sha256, digest);
    }

    #[test]
    fn only_a_size_that_all_images_have_is_theirs() {
        let of = |sizes: &[(u32, u32)]| {
            let sample = |size: &(u32, u32)| Sample {
                path: PathBuf::new(),
                group: None,
                size: *size,
                maps: vec![],
                digest: Digest::zero(),
                resembles: None,
            };
            common(&sizes.iter().map(sample).collect::<Vec<_>>())
        };
        assert_eq!(of(&[(640, 480); 3]), Some((640, 480)));
        assert_eq!(of(&[(640, 480), (640, 480), (640, 481)]), None);
        assert_eq!(of(&[]), None);
    }
}
