//! Cameras of the kernel's "Video for Linux" interface: USB cameras (UVC), frame grabbers, the simulator `vivid`.
//!
//! | situation | what happens |
//! |---|---|
//! | absent at start | [`V4l2Camera::open`] fails and names the cameras that are there |
//! | unplugged, or a fatal fault of the driver | this grab fails; every later one tries to open the device again |
//! | back again | frames go on, numbered on; the time between is not in the numbers |
//! | silent for longer than [`Settings::silence`] | this grab fails, and the next one starts the stream anew |
//! | a picture that is damaged or cut off | [`Grab::Broken`]: the part passed, but cannot be judged; the stream goes on |
//! | a time stamp that cannot be right | [`Grab::Broken`]: nobody can say when the part reaches the ejector |
//! | a control that takes another value than it is to have | [`V4l2Camera::open`] fails, or this grab when it is opened again |
//! | this process is slow | of the frames that wait, the newest is taken, and the numbers show the gap |

mod controls;
mod discover;
mod ioctl;
mod stamps;
mod stream;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use v4l::v4l_sys::{v4l2_fract, v4l2_quantization_V4L2_QUANTIZATION_FULL_RANGE as FULL_RANGE};

pub use controls::{Control, ControlKind, ControlValue, Controls, controls};
pub use discover::{CameraNode, NodeState, OfferedFormat, OfferedSize, cameras, formats};

pub use self::ioctl::Memory;

use self::ioctl::Granted;
use self::stamps::{Stamped, Stamps};
use self::stream::{Filled, Stream};
use super::numbers::Numbers;
use super::pixels::{Layout, PixelFormat};
use super::{BrokenFrame, Camera, Flaw, Frame, Grab, Original, Remains};
use crate::time::{Monotonic, StampSource};
use crate::{Error, Result};

/// What the configuration asks of a camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The device node; a name that udev keeps, such as `/dev/v4l/by-id/...`, survives a change of the port's order.
    pub device: PathBuf,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The pixel format to ask for; `None` takes the first of [`PixelFormat::ALL`] that the camera offers at this size.
    pub format: Option<PixelFormat>,
    /// Frames per second; `None` leaves the camera's own.
    pub fps: Option<f64>,
    /// After this long without a frame the camera counts as stuck and is started anew; zero: never, for a camera that
    /// waits for a trigger.
    pub silence: Duration,
    /// Whose memory frames come in.
    pub memory: Memory,
    /// What its controls are to be, every time that it is opened.
    pub controls: Controls,
}

/// A V4L2 camera that streams.
pub struct V4l2Camera {
    name: String,
    settings: Settings,
    /// `None` after a failure, until the device could be opened again.
    running: Option<Running>,
    numbers: Numbers,
    stamps: Stamps,
}

/// An open device, its format set, its stream started.
struct Running {
    stream: Stream,
    layout: Layout,
    last_frame: Instant,
}

impl V4l2Camera {
    /// Opens the device, sets format and rate, and starts the stream. `name` is the configuration's.
    ///
    /// # Errors
    ///
    /// The device is absent, is no camera, may not be opened or is in use; or it does not offer the size, format or rate
    /// that was asked for. The error says what there is instead.
    pub fn open(name: &str, settings: Settings) -> Result<Self> {
        let running = Some(Running::start(&settings)?);
        Ok(V4l2Camera {
            name: name.to_owned(),
            settings,
            running,
            numbers: Numbers::default(),
            stamps: Stamps::default(),
        })
    }

    fn lost(&mut self, error: io::Error) -> Error {
        self.running = None;
        Error::device(format!("camera {} stopped", self.settings.device.display()))
            .because(error)
            .advise("check its cable and power; it is opened again as soon as it is back")
    }

    fn silent(&mut self) -> Error {
        self.running = None;
        let (device, silence) = (self.settings.device.display(), self.settings.silence.as_secs_f64());
        Error::device(format!("camera {device} sent nothing for {silence:.1} s")).advise(
            "check its cable; for a camera that waits for a trigger set timeout_ms = 0. Its stream is started anew",
        )
    }
}

/// What is kept of a buffer once it was given back.
struct Copied {
    image: Result<image::RgbImage, String>,
    /// Whether the driver says that the picture is damaged; it may look whole all the same.
    damaged: bool,
    original: Option<Original>,
    sequence: u32,
    stamp: Option<(Monotonic, StampSource)>,
    received: Monotonic,
}

impl Camera for V4l2Camera {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        true
    }

    fn grab(&mut self, patience: Duration) -> Result<Grab> {
        let deadline = Instant::now() + patience;
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert({
                self.numbers.restart();
                Running::start(&self.settings)?
            }),
        };
        let copied = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match running.next(left) {
                Err(error) => return Err(self.lost(error)),
                Ok(Some(copied)) => break copied,
                Ok(None) if running.is_silent(self.settings.silence) => return Err(self.silent()),
                Ok(None) if left.is_zero() => return Ok(Grab::Timeout),
                Ok(None) => {}
            }
        };
        let number = self.numbers.next(copied.sequence);
        let origin = self.settings.device.display().to_string();
        let Stamped { captured, source: stamp, doubt } = self.stamps.read(&origin, copied.stamp, copied.received);
        let damage = copied.damaged.then(|| "the driver says that the picture is damaged".to_owned());
        let unreadable = copied.image.as_ref().err().map(|why| (Flaw::Unreadable, why.clone()));
        let flaw = damage.map(|why| (Flaw::Damaged, why)).or(unreadable).or(doubt.map(|why| (Flaw::Doubtful, why)));
        let (image, original) = (copied.image.ok(), copied.original);
        Ok(match (flaw, image) {
            (None, Some(image)) => {
                Grab::Frame(Frame { number, captured, stamp, origin, product: None, image, original })
            }
            (flaw, image) => {
                let (flaw, why) = flaw.unwrap_or((Flaw::Unreadable, "there is no picture".into()));
                let remains = Remains { image, original };
                Grab::Broken(BrokenFrame { number, captured, stamp, origin, flaw, why, remains })
            }
        })
    }
}

impl Running {
    fn start(settings: &Settings) -> Result<Self> {
        let mut device = open_camera(&settings.device)?;
        device.memory = settings.memory;
        let (layout, sizes) = set_format(&device, settings)?;
        if let Some(fps) = settings.fps {
            set_rate(&device, settings, layout.format, fps)?;
        }
        // After the format: drivers set exposure limits by it, and forget controls with their power.
        controls::apply(&device, &settings.device, &settings.controls)?;
        let stream = Stream::start(device, &sizes).map_err(|error| does_not_start(settings, error))?;
        Ok(Running { stream, layout, last_frame: Instant::now() })
    }

    fn next(&mut self, patience: Duration) -> io::Result<Option<Copied>> {
        let layout = self.layout;
        let copied = self.stream.newest(patience, |filled: Filled<'_>| Copied {
            image: layout.to_rgb(filled.buffers).map_err(|error| error.line()),
            damaged: filled.damaged,
            original: filled.buffers.first().and_then(|bytes| layout.original(bytes)),
            sequence: filled.sequence,
            stamp: filled.stamp,
            received: filled.received,
        })?;
        if copied.is_some() {
            self.last_frame = Instant::now();
        }
        Ok(copied)
    }

    fn is_silent(&self, silence: Duration) -> bool {
        !silence.is_zero() && self.last_frame.elapsed() >= silence
    }
}

/// Opens `path` and makes sure that frames can be streamed from it.
fn open_camera(path: &Path) -> Result<ioctl::Camera> {
    let device = ioctl::open(path).map_err(|error| failed(path, "cannot be opened", error))?;
    let caps = ioctl::capability(&device).map_err(|error| {
        Error::device(format!("{} is not a camera", path.display())).because(error).advise(discover::advise_cameras())
    })?;
    if caps.is_camera() {
        return Ok(ioctl::Camera::new(device, &caps));
    }
    let what = format!("{} ({}) carries no frames", path.display(), caps.card);
    Err(Error::device(what).advise(discover::advise_cameras()))
}

fn does_not_start(settings: &Settings, error: io::Error) -> Error {
    match error.raw_os_error() {
        // By the calls that take the memory; some drivers say it of the first frame.
        Some(libc::EINVAL | libc::EFAULT | libc::ENOMEM) if settings.memory == Memory::Own => {
            Error::usage(format!("camera {} cannot write into this program's memory", settings.device.display()))
                .because(error)
                .advise("leave buffers out of [camera]: the driver's own ones every camera has")
        }
        _ => failed(&settings.device, "does not start", error),
    }
}

/// Sets the format; gives it, and the bytes that each buffer of a frame takes.
fn set_format(device: &ioctl::Camera, settings: &Settings) -> Result<(Layout, Vec<u32>)> {
    let Settings { width, height, .. } = *settings;
    let format = settings.format.or_else(|| first_offered(device, width, height)).ok_or_else(|| {
        Error::usage(format!("camera {} offers no {width}x{height} that can be converted", settings.device.display()))
            .advise(advise_formats(device))
    })?;
    let got = ioctl::set_format(device, width, height, format.fourcc())
        .map_err(|error| failed(&settings.device, "refuses its format", error))?;
    if !is_granted(&got, format, (width, height)) {
        return Err(Error::usage(format!(
            "camera {} does not offer {width}x{height} {format}; it would give {}x{} {}",
            settings.device.display(),
            got.width,
            got.height,
            String::from_utf8_lossy(&got.fourcc).trim_end()
        ))
        .advise(advise_formats(device)));
    }
    warn_of_full_range(settings, format, got.quantization);
    let layout = match *got.strides {
        // All planes in one buffer.
        [stride] => Layout::new(format, width, height, stride),
        _ => Layout {
            format,
            width,
            height,
            strides: [0, 1, 2].map(|index| got.strides.get(index).copied().unwrap_or(0)),
        },
    };
    Ok((layout, got.sizes))
}

fn is_granted(got: &Granted, format: PixelFormat, size: (u32, u32)) -> bool {
    (got.width, got.height) == size && got.fourcc == format.fourcc() && got.strides.len() == format.buffers()
}

/// The first format that the camera gives at this size. S_FMT tells for certain: some drivers do not list their sizes.
fn first_offered(device: &ioctl::Camera, width: u32, height: u32) -> Option<PixelFormat> {
    let offered = ioctl::formats(device);
    PixelFormat::ALL.into_iter().filter(|format| offered.iter().any(|(code, _)| *code == format.fourcc())).find(
        |format| {
            ioctl::set_format(device, width, height, format.fourcc())
                .is_ok_and(|got| is_granted(&got, *format, (width, height)))
        },
    )
}

/// The conversion is that of limited-range Y'CbCr; a camera of full range looks a little too contrasty, alike in training
/// and on the line.
fn warn_of_full_range(settings: &Settings, format: PixelFormat, quantization: u32) {
    if quantization == FULL_RANGE && format.is_ycc() {
        log::warn!("camera {} sends full-range Y'CbCr, read here as limited range", settings.device.display());
    }
}

fn advise_formats(device: &ioctl::Camera) -> String {
    let lines = discover::offered(device).into_iter().filter(|offer| offer.supported.is_some()).map(|offer| {
        let sizes: Vec<&str> = offer.sizes.iter().map(|size| size.size.as_str()).collect();
        format!("{} {}", offer.code, sizes.join(" "))
    });
    let list: Vec<String> = lines.collect();
    if list.is_empty() {
        return "another camera: this one offers no format that can be converted".into();
    }
    format!("one of what it offers: {}", list.join("; "))
}

fn set_rate(device: &ioctl::Camera, settings: &Settings, format: PixelFormat, fps: f64) -> Result<()> {
    let asked = v4l2_fract { numerator: 1000, denominator: (fps * 1000.0).round() as u32 };
    let got = match ioctl::set_interval(device, asked) {
        Ok(got) => f64::from(got.denominator) / f64::from(got.numerator),
        Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => {
            log::warn!("camera {} lets nobody set its frame rate; {fps} fps was asked for", settings.device.display());
            return Ok(());
        }
        Err(error) => return Err(failed(&settings.device, "refuses its frame rate", error)),
    };
    // Drivers round the interval to what their clock divides into.
    if (got / fps - 1.0).abs() <= 0.01 {
        return Ok(());
    }
    let size = format!("{}x{}", settings.width, settings.height);
    let offers = discover::offered(device).into_iter().filter(|offer| offer.supported == Some(format));
    let offered = offers.flat_map(|offer| offer.sizes).find(|offer| offer.size == size);
    let advice = offered.map_or("leave fps out, for the camera's own rate".into(), |offer| format!("one of {offer}"));
    Err(Error::usage(format!(
        "camera {} does not offer {fps} fps at {size} {format}; it would give {got:.2} fps",
        settings.device.display()
    ))
    .advise(advice))
}

/// What a failed call on a camera means to the person in front of it.
fn failed(path: &Path, what: &str, error: io::Error) -> Error {
    let device = path.display();
    let advice = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENXIO | libc::ENODEV) => discover::advise_cameras(),
        Some(libc::EACCES | libc::EPERM) => {
            "add this user to the group \"video\" (sudo usermod -aG video $USER), then log in again".into()
        }
        Some(libc::EBUSY) => format!("another program uses it; see which with: fuser -v {device}"),
        _ => "unplug the camera and plug it in again; the kernel's log may say more (dmesg)".into(),
    };
    Error::device(format!("camera {device} {what}")).because(error).advise(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(device: &str) -> Settings {
        Settings {
            device: device.into(),
            width: 640,
            height: 480,
            format: None,
            fps: None,
            silence: Duration::from_secs(2),
            memory: Memory::Driver,
            controls: Controls::new(),
        }
    }

    #[test]
    fn an_absent_camera_and_a_file_that_is_none_are_device_errors_with_advice() {
        for (device, says) in [("/dev/video-of-nobody", "cannot be opened"), ("/dev/null", "is not a camera")] {
            let error = V4l2Camera::open("belt", settings(device)).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Device);
            assert!(error.to_string().contains(device) && error.to_string().contains(says), "{error}");
            assert!(error.report().contains("\n  try: "), "{}", error.report());
        }
    }

    #[test]
    fn a_driver_that_takes_no_other_memory_says_so() {
        let own = Settings { memory: Memory::Own, ..settings("/dev/video9") };
        let refused = does_not_start(&own, io::Error::from_raw_os_error(libc::EINVAL));
        assert!(refused.report().contains("leave buffers out"), "{}", refused.report());
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let cases = [(libc::EACCES, "group \"video\""), (libc::EBUSY, "fuser -v /dev/video9"), (libc::EIO, "dmesg")];
        for (code, advice) in cases {
            let error = failed(Path::new("/dev/video9"), "cannot be opened", io::Error::from_raw_os_error(code));
            assert!(error.report().contains(advice), "{}", error.report());
        }
    }
}
