//! Which cameras are there, and what they offer.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;
use v4l::{Device, FourCC};

use super::ioctl;
use crate::Result;
use crate::camera::pixels::PixelFormat;

const CLASS: &str = "/sys/class/video4linux";

/// A device node that frames can be read from, or that could not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraNode {
    /// `/dev/video0`.
    pub path: PathBuf,
    /// The camera's name.
    pub name: String,
    /// Links to it that udev keeps through changes of order: by the camera's serial number, by its port.
    pub links: Vec<PathBuf>,
    /// The driver and where the camera is plugged in, or why the node could not be opened.
    pub state: NodeState,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// It answers.
    Ready {
        /// The driver: `uvcvideo`.
        driver: String,
        /// Where it is plugged in: `usb-0000:01:00.0-1.2`.
        bus: String,
    },
    /// This user may not open it.
    NotPermitted,
    /// It cannot be opened for another reason.
    Failed(String),
}

impl fmt::Display for CameraNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.name)?;
        match &self.state {
            NodeState::Ready { driver, bus } => write!(f, " ({driver}, {bus})"),
            NodeState::NotPermitted => write!(f, " (permission denied)"),
            NodeState::Failed(why) => write!(f, " ({why})"),
        }
    }
}

/// Every camera of this machine, by the number of its node. Nodes that carry no frames (metadata, outputs) are left out.
pub fn cameras() -> Vec<CameraNode> {
    let Ok(entries) = fs::read_dir(CLASS) else { return Vec::new() };
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("video")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().filter_map(camera).collect()
}

fn camera(number: u32) -> Option<CameraNode> {
    let path = PathBuf::from(format!("/dev/video{number}"));
    let name = fs::read_to_string(format!("{CLASS}/video{number}/name")).unwrap_or_default().trim().to_owned();
    let state = match ioctl::open(&path).and_then(|device| ioctl::capability(&device)) {
        Ok(caps) if caps.is_camera() => NodeState::Ready { driver: caps.driver, bus: caps.bus },
        Ok(_) => return None,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => NodeState::NotPermitted,
        Err(error) => NodeState::Failed(error.to_string()),
    };
    let links = links(&path);
    Some(CameraNode { path, name, links, state })
}

/// The links below `/dev/v4l` that lead to `node`.
fn links(node: &Path) -> Vec<PathBuf> {
    let folders = ["/dev/v4l/by-id", "/dev/v4l/by-path"].into_iter().filter_map(|folder| fs::read_dir(folder).ok());
    let all = folders.flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut links: Vec<PathBuf> = all.filter(|link| fs::canonicalize(link).is_ok_and(|end| end == node)).collect();
    links.sort_unstable();
    links
}

/// The cameras as advice: what to write instead.
pub(super) fn advise_cameras() -> String {
    let usable = |camera: &CameraNode| !matches!(camera.state, NodeState::Failed(_));
    match cameras().into_iter().filter(usable).collect::<Vec<_>>().as_slice() {
        [] => {
            "no camera is connected: check the cable and its power, then list the cameras with: hgad camera list".into()
        }
        found => {
            let list: Vec<String> = found.iter().map(CameraNode::to_string).collect();
            format!("one of the cameras that are there: {}", list.join(", "))
        }
    }
}

/// A pixel format that a camera offers.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferedFormat {
    /// The four-character code, without trailing blanks.
    pub code: String,
    /// The driver's description.
    pub description: String,
    /// Whether this program can convert it.
    pub supported: Option<PixelFormat>,
    /// The sizes.
    pub sizes: Vec<OfferedSize>,
}

/// A size that a camera offers in some pixel format.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferedSize {
    /// `640x480`, or a range of sizes.
    pub size: String,
    /// Frames per second, fastest first; empty when the driver does not say.
    pub rates: Vec<f64>,
}

impl fmt::Display for OfferedSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.size)?;
        if self.rates.is_empty() { Ok(()) } else { write!(f, " at {} fps", self.told_rates()) }
    }
}

impl OfferedSize {
    /// The rates for people: `30, 7.5`.
    pub fn told_rates(&self) -> String {
        let rates = self.rates.iter().map(|rate| format!("{}", (rate * 100.0).round() / 100.0));
        rates.collect::<Vec<_>>().join(", ")
    }
}

/// What the camera at `path` offers.
///
/// # Errors
///
/// The camera is absent, or may not be opened, or is no camera.
pub fn formats(path: &Path) -> Result<Vec<OfferedFormat>> {
    Ok(offered(&super::open_camera(path)?))
}

pub(super) fn offered(camera: &ioctl::Camera) -> Vec<OfferedFormat> {
    let offer = |(fourcc, description): ([u8; 4], String)| OfferedFormat {
        code: String::from_utf8_lossy(&fourcc).trim_end().to_owned(),
        description,
        supported: PixelFormat::ALL.into_iter().find(|format| format.fourcc() == fourcc),
        sizes: sizes(camera.device(), fourcc),
    };
    ioctl::formats(camera).into_iter().map(offer).collect()
}

fn sizes(device: &Device, fourcc: [u8; 4]) -> Vec<OfferedSize> {
    let describe = |size: FrameSizeEnum| match size {
        FrameSizeEnum::Discrete(size) => OfferedSize {
            size: format!("{}x{}", size.width, size.height),
            rates: rates(device, fourcc, size.width, size.height),
        },
        FrameSizeEnum::Stepwise(range) => OfferedSize {
            size: format!("{}x{} to {}x{}", range.min_width, range.min_height, range.max_width, range.max_height),
            rates: rates(device, fourcc, range.max_width, range.max_height),
        },
    };
    let sizes = device.enum_framesizes(FourCC::new(&fourcc)).unwrap_or_default();
    sizes.into_iter().map(|size| describe(size.size)).collect()
}

/// Frames per second at a size, fastest first; of a range, its two ends.
fn rates(device: &Device, fourcc: [u8; 4], width: u32, height: u32) -> Vec<f64> {
    let rate = |interval: &v4l::Fraction| f64::from(interval.denominator) / f64::from(interval.numerator);
    let intervals = device.enum_frameintervals(FourCC::new(&fourcc), width, height).unwrap_or_default();
    let mut rates: Vec<f64> = intervals
        .iter()
        .flat_map(|found| match &found.interval {
            FrameIntervalEnum::Discrete(interval) => vec![rate(interval)],
            FrameIntervalEnum::Stepwise(range) => vec![rate(&range.min), rate(&range.max)],
        })
        .filter(|rate| rate.is_finite())
        .collect();
    rates.sort_by(|a, b| b.total_cmp(a));
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_may_not_be_opened_stays_in_the_list() {
        let node = CameraNode {
            path: "/dev/video3".into(),
            name: "Line cam".into(),
            links: Vec::new(),
            state: NodeState::NotPermitted,
        };
        assert_eq!(node.to_string(), "/dev/video3 Line cam (permission denied)");
    }

    #[test]
    fn rates_are_rounded_for_the_reader() {
        let size = OfferedSize { size: "640x480".into(), rates: vec![30.0, 7.500001] };
        assert_eq!(size.to_string(), "640x480 at 30, 7.5 fps");
    }
}
