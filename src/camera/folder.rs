//! A folder of images that is replayed as if a camera saw them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use image::RgbImage;

use super::pacing::Pacing;
use super::{BrokenFrame, Camera, Flaw, Frame, Grab, Original, Remains};
use crate::config::FolderConfig;
use crate::time::{Monotonic, StampSource};
use crate::{Result, dataset};

/// Replays a folder's images in the order of their names, evenly in time.
#[derive(Debug)]
pub struct FolderCamera {
    name: String,
    images: Vec<PathBuf>,
    pacing: Pacing,
    /// How many frames there are in all; `None` without end.
    frames: Option<u64>,
    next: u64,
    /// The next image, read ahead of its time so that reading does not delay it.
    waiting: Option<Picture>,
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
            pacing: Pacing::new(Some(config.rate)),
            frames,
            next: 0,
            waiting: None,
        })
    }
}

impl Camera for FolderCamera {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        false
    }

    fn grab(&mut self, patience: Duration) -> Result<Grab> {
        if self.frames.is_some_and(|frames| self.next >= frames) {
            return Ok(Grab::End);
        }
        let path = &self.images[(self.next % self.images.len() as u64) as usize];
        let image = self.waiting.take().unwrap_or_else(|| read(path));
        let wait = self.pacing.left(Monotonic::now());
        if wait > patience {
            self.waiting = Some(image);
            std::thread::sleep(patience);
            return Ok(Grab::Timeout);
        }
        std::thread::sleep(wait);
        let (number, captured, stamp) = (self.next, Monotonic::now(), StampSource::Received);
        // A picture that took longer to read than its turn delays those after it.
        self.pacing.captured(captured);
        self.next += 1;
        let origin = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(match image {
            Ok((Ok(image), original)) => {
                Grab::Frame(Frame { number, captured, stamp, origin, product: None, image, original: Some(original) })
            }
            Ok((Err(error), original)) => {
                let (flaw, why) = (Flaw::Unreadable, error.line());
                let remains = Remains { image: None, original: Some(original) };
                Grab::Broken(BrokenFrame { number, captured, stamp, origin, flaw, why, remains })
            }
            Err(error) => {
                let (flaw, why, remains) = (Flaw::Unreadable, error.line(), Remains::default());
                Grab::Broken(BrokenFrame { number, captured, stamp, origin, flaw, why, remains })
            }
        })
    }
}

/// What a file holds, and the file: it may be no image.
type Picture = Result<(Result<RgbImage>, Original)>;

fn read(path: &Path) -> Picture {
    let bytes = dataset::read_bytes(path)?;
    let image = dataset::decode_rgb(path, &bytes);
    let ending = path.extension().map_or_else(String::new, |ending| ending.to_string_lossy().to_ascii_lowercase());
    Ok((image, Original { bytes, ending }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_replayed_in_order() {
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
                Grab::Frame(frame) => seen.push((frame.number, frame.origin)),
                Grab::Broken(broken) => {
                    assert!(broken.why.contains("not an image"), "{}", broken.why);
                    assert_eq!(broken.remains.original.unwrap().bytes, b"no image");
                    seen.push((broken.number, broken.origin));
                }
                Grab::Timeout => {}
                Grab::End => break,
            }
        }
        let names = seen.iter().map(|(number, name)| (*number, name.as_str())).collect::<Vec<_>>();
        assert_eq!(names, [(0, "a.png"), (1, "b.png"), (2, "c.png"), (3, "a.png"), (4, "b.png"), (5, "c.png")]);
    }

    #[test]
    fn an_empty_folder_is_wrong_use() {
        let folder = tempfile::tempdir().unwrap();
        let config = FolderConfig { path: folder.path().into(), rate: 1.0, repeat: None };
        assert_eq!(FolderCamera::open(&config).expect_err("empty").kind().exit_code(), 2);
    }
}
