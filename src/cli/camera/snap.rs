//! `hgad camera snap`: pictures as the line would see them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::camera::pixels::PixelFormat;
use crate::camera::v4l2::{ControlValue, Controls, Settings, V4l2Camera};
use crate::camera::{Camera, Counted, Frame, Grab};
use crate::config::LineConfig;
use crate::runtime::open_camera;
use crate::time::Monotonic;
use crate::{Error, Result, print};

/// How long one picture may take.
const PATIENCE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = r"Examples:
  # What the camera sees, as the line would
  hgad camera snap /dev/video0 --width 640 --height 480 --out snap.png

  # The camera of a line, of any kind, with all that its file sets
  hgad camera snap --config line3.toml

  # Try exposure and gain
  hgad camera snap /dev/video0 --format YUYV --set exposure_us=2000 --set gain=20";

/// Take pictures and save the last one, as the line would see it
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct SnapArgs {
    /// The device, such as /dev/video0
    #[arg(required_unless_present = "config")]
    device: Option<PathBuf>,
    /// Take the camera of this line's configuration instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["device", "width", "height", "format", "fps", "set"])]
    config: Option<PathBuf>,
    /// Pixels per row
    #[arg(long, default_value_t = 640)]
    width: u32,
    /// Rows
    #[arg(long, default_value_t = 480)]
    height: u32,
    /// Pixel format, such as YUYV or MJPG; left out: the first suitable one
    #[arg(long)]
    format: Option<PixelFormat>,
    /// Frames per second; left out: the camera's own
    #[arg(long)]
    fps: Option<f64>,
    /// Set a control as [camera.controls] would; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, ControlValue)>,
    /// How many frames to take: cameras need some for their exposure to settle
    #[arg(long, default_value_t = 10)]
    frames: u32,
    /// The file, its kind by its name (.png, .jpg, .bmp)
    #[arg(long, default_value = "snap.png")]
    out: PathBuf,
}

fn setting(text: &str) -> Result<(String, ControlValue), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE, as in gain=20")?;
    Ok((name.trim().to_owned(), value.trim().into()))
}

pub fn run(args: &SnapArgs) -> Result<()> {
    let mut camera = Counted::new(open(args)?);
    let counts = camera.reader();
    let start = Instant::now();
    let mut last = take(&mut camera)?;
    for _ in 1..args.frames {
        last = take(&mut camera)?;
    }
    let delay = Monotonic::now().millis_since(last.captured);
    let took = start.elapsed().as_secs_f64();
    last.image
        .save(&args.out)
        .map_err(|error| Error::device(format!("{} cannot be written", args.out.display())).because(error))?;
    let (width, height) = last.image.dimensions();
    print::line(format_args!("{}: frame {} of {}, {width}x{height}", args.out.display(), last.number, last.origin))?;
    print::line(format_args!(
        "{} in {took:.2} s; the last one received {delay:.1} ms after its stamp ({})",
        counts.read(),
        last.stamp
    ))
}

fn open(args: &SnapArgs) -> Result<Box<dyn Camera>> {
    if let Some(path) = &args.config {
        return open_camera(&LineConfig::open(path)?.camera);
    }
    let settings = Settings {
        device: args.device.clone().unwrap_or_default(),
        width: args.width,
        height: args.height,
        format: args.format,
        fps: args.fps,
        silence: Duration::ZERO,
        controls: args.set.iter().cloned().collect::<Controls>(),
    };
    Ok(Box::new(V4l2Camera::open("snap", settings)?))
}

fn take(camera: &mut dyn Camera) -> Result<Frame> {
    match camera.grab(PATIENCE)? {
        Grab::Frame(frame) => Ok(frame),
        Grab::Broken(broken) => Err(Error::device(format!("{}: {}", broken.origin, broken.why))),
        Grab::End => Err(Error::device(format!("{} has no more frames", camera.name())).advise("fewer --frames")),
        Grab::Timeout => Err(Error::device(format!("no frame came within {} s", PATIENCE.as_secs()))
            .advise("a camera that waits for a trigger needs one now; else unplug it and plug it in again")),
    }
}
