//! A folder of images that is replayed as if a camera saw them.

use std::path::PathBuf;
use std::time::Duration;

use image::RgbImage;

use super::{BrokenFrame, Camera, Frame, Grab, StampSource};
use crate::config::FolderConfig;
use crate::time::Monotonic;
use crate::{Result, dataset};

/// Replays a folder's images in the order of their names, evenly in time.
#[derive(Debug)]
pub struct FolderCamera {
    name: String,
    images: Vec<PathBuf>,
    interval: Duration,
    /// How many frames there are in all; `None` without end.
    frames: Option<u64>,
    next: u64,
    due: Option<Monotonic>,
    /// The next image, read ahead of its time so that reading does not delay it.
    waiting: Option<Result<RgbImage>>,
}

impl FolderCamera {
    /// Lists the folder.
    ///
    /// # Errors
    ///
    /// The folder cannot be read, or holds no image.
    pub fn open(config: &FolderConfig) -> Result<Self> {
        let images = dataset::images(&config.path)?;
        let frames = config.repeat.map(|times| times.saturating_mul(images.len() as u64));
        Ok(FolderCamera {
            name: config.path.display().to_string(),
            images,
            interval: Duration::from_secs_f64(1.0 / config.rate),
            frames,
            next: 0,
            due: None,
            waiting: None,
        })
    }
}

impl Camera for FolderCamera {
    fn name(&self) -> &str {
        &self.name
    }

    fn grab(&mut self, patience: Duration) -> Result<Grab> {
        if self.frames.is_some_and(|frames| self.next >= frames) {
            return Ok(Grab::End);
        }
        let path = &self.images[(self.next % self.images.len() as u64) as usize];
        let image = self.waiting.take().unwrap_or_else(|| dataset::read_rgb(path));
        let wait = self.due.map_or(Duration::ZERO, |due| due.saturating_since(Monotonic::now()));
        if wait > patience {
            self.waiting = Some(image);
            std::thread::sleep(patience);
            return Ok(Grab::Timeout);
        }
        std::thread::sleep(wait);
        let (number, captured) = (self.next, Monotonic::now());
        // A picture that took longer to read than its turn delays those after it; none is lost for that.
        self.due = Some(self.due.map_or(captured, |due| due.max(captured - self.interval)) + self.interval);
        self.next += 1;
        let origin = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(match image {
            Ok(image) => {
                Grab::Frame(Frame { number, captured, stamp: StampSource::EndOfFrame, origin, product: None, image })
            }
            Err(error) => Grab::Broken(BrokenFrame { number, captured, origin, why: error.report() }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_replayed_in_order_at_its_rate() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.png", "a.png"] {
            RgbImage::new(2, 2).save(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("c.png"), "no image").unwrap();
        let config = FolderConfig { path: folder.path().into(), rate: 100.0, repeat: Some(2) };
        let mut camera = FolderCamera::open(&config).unwrap();
        let mut seen = Vec::new();
        loop {
            match camera.grab(Duration::from_millis(4)).unwrap() {
                Grab::Frame(frame) => seen.push((frame.number, frame.origin, frame.captured)),
                Grab::Broken(broken) => {
                    assert!(broken.why.contains("not an image"), "{}", broken.why);
                    seen.push((broken.number, broken.origin, broken.captured));
                }
                Grab::Timeout => {}
                Grab::End => break,
            }
        }
        let names = seen.iter().map(|(number, name, _)| (*number, name.as_str())).collect::<Vec<_>>();
        assert_eq!(names, [(0, "a.png"), (1, "b.png"), (2, "c.png"), (3, "a.png"), (4, "b.png"), (5, "c.png")]);
        let took = seen[5].2.saturating_since(seen[0].2);
        assert!(took >= Duration::from_millis(49), "six frames at 100 per second took {took:?}");
    }

    #[test]
    fn an_empty_folder_is_wrong_use() {
        let folder = tempfile::tempdir().unwrap();
        let config = FolderConfig { path: folder.path().into(), rate: 1.0, repeat: None };
        assert_eq!(FolderCamera::open(&config).expect_err("empty").kind().exit_code(), 2);
    }
}
