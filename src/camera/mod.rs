//! Where frames come from: a V4L2 camera, another program, a folder of images that is replayed, or the synthetic conveyor.

mod counting;
pub mod folder;
mod numbers;
mod pacing;
pub mod pipe;
pub mod pixels;
mod region;
pub mod synthetic;
pub mod v4l2;

use std::sync::Arc;
use std::time::Duration;

use image::RgbImage;

pub use counting::{CameraCounts, Counted, CountsReader};
pub use region::Region;

use crate::Result;
use crate::time::{Monotonic, StampSource};

/// One picture of the belt.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Counts the camera's frames from 0, lost ones included: a gap is a frame that never arrived.
    pub number: u64,
    /// When it was captured.
    pub captured: Monotonic,
    /// Which moment `captured` is.
    pub stamp: StampSource,
    /// Where the picture came from: a file name, a device, a rendered part.
    pub origin: String,
    /// The product that the line says this is, where the camera knows; otherwise the line's configured class holds.
    pub product: Option<String>,
    /// 8-bit RGB pixels, any size.
    pub image: RgbImage,
    /// The picture as it came, where it came as a file of its own; `None` for raw pixels.
    pub original: Option<Original>,
}

/// A picture as it came, before it was decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// The file, byte for byte.
    pub bytes: Vec<u8>,
    /// What a file of its kind ends with, such as `jpg`.
    pub ending: String,
}

/// A frame without a readable picture.
#[derive(Debug)]
pub struct BrokenFrame {
    /// Counts with the frames that can be read.
    pub number: u64,
    /// When it was captured.
    pub captured: Monotonic,
    /// Which moment `captured` is.
    pub stamp: StampSource,
    /// Where the picture should have come from.
    pub origin: String,
    /// What kind of fault it has.
    pub flaw: Flaw,
    /// Why it cannot be read.
    pub why: String,
    /// What there is of the picture.
    pub remains: Remains,
}

/// What there is of a picture that no part can be judged by.
#[derive(Debug, Default)]
pub struct Remains {
    /// Its pixels, where they can be read all the same.
    pub image: Option<RgbImage>,
    /// It as it came, where it came as a file of its own.
    pub original: Option<Original>,
}

/// A frame, whether a part can be judged by it or not.
#[derive(Debug, Clone)]
pub enum Shot {
    /// It can.
    Whole(Arc<Frame>),
    /// It cannot.
    Broken(Arc<BrokenFrame>),
}

impl Shot {
    /// When it was captured.
    pub fn captured(&self) -> Monotonic {
        match self {
            Shot::Whole(frame) => frame.captured,
            Shot::Broken(frame) => frame.captured,
        }
    }

    /// Its pixels, where there are any.
    pub fn image(&self) -> Option<&RgbImage> {
        match self {
            Shot::Whole(frame) => Some(&frame.image),
            Shot::Broken(frame) => frame.remains.image.as_ref(),
        }
    }

    /// The picture as it came, where it came as a file of its own.
    pub fn original(&self) -> Option<&Original> {
        match self {
            Shot::Whole(frame) => frame.original.as_ref(),
            Shot::Broken(frame) => frame.remains.original.as_ref(),
        }
    }

    /// Bytes of memory that its pictures take; 0 where there is nothing of it.
    pub fn size(&self) -> usize {
        self.image().map_or(0, |image| image.as_raw().len())
            + self.original().map_or(0, |original| original.bytes.len())
    }
}

impl From<&Arc<Frame>> for Shot {
    fn from(frame: &Arc<Frame>) -> Self {
        Shot::Whole(frame.clone())
    }
}

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The driver flagged it as damaged.
    Damaged,
    /// Its bytes are not the picture that they should be.
    Unreadable,
    /// Nobody knows when it was captured.
    Doubtful,
}

/// What a camera has to say when it is asked for the next frame.
#[derive(Debug)]
pub enum Grab {
    /// A frame.
    Frame(Frame),
    /// A part was captured whose picture cannot be read: a damaged buffer, a file that is not an image.
    Broken(BrokenFrame),
    /// Nothing came within the time given; the camera may still be alive.
    Timeout,
    /// No frame will ever come again: the folder was replayed to its end.
    End,
}

/// A source of frames.
///
/// An `Err` means that this frame failed, not that the camera is lost for good: the caller reports the fault, and asks
/// again after a pause, upon which the camera tries to come back by itself.
pub trait Camera: Send {
    /// The name from the configuration or a description of the device.
    fn name(&self) -> &str;

    /// Whether a device captures its pictures: their noise never comes twice, so one that does comes from a camera that is frozen. Files
    /// and drawings may be shown again.
    fn is_live(&self) -> bool;

    /// Waits for the next frame, at most for `patience`.
    fn grab(&mut self, patience: Duration) -> Result<Grab>;
}
