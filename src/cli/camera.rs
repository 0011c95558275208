//! `hgad camera`: finds the line's camera, shows what it offers, takes a picture.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::camera::pixels::PixelFormat;
use crate::camera::v4l2::{self, Settings, V4l2Camera};
use crate::camera::{Camera, Frame, Grab};
use crate::time::Monotonic;
use crate::{Error, Result, print};

/// Find the camera, see what it offers, take a picture
#[derive(Debug, clap::Args)]
pub struct CameraArgs {
    #[command(subcommand)]
    command: CameraCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CameraCommand {
    /// List the cameras of this machine
    #[command(after_long_help = "Examples:\n  hgad camera list")]
    List,
    /// List the pixel formats, sizes and frame rates that a camera offers
    #[command(after_long_help = "Examples:\n  hgad camera formats /dev/video0")]
    Formats {
        /// The device, such as /dev/video0
        device: PathBuf,
    },
    /// Take pictures and save the last one, as the line would see it
    Snap(SnapArgs),
}

const EXAMPLES: &str = r"Examples:
  # What the camera sees, as the line would
  hgad camera snap /dev/video0 --width 640 --height 480 --out snap.png

  # The same in the format that line3.toml asks for
  hgad camera snap /dev/video0 --width 640 --height 480 --format YUYV --fps 15";

#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
struct SnapArgs {
    /// The device, such as /dev/video0
    device: PathBuf,
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
    /// How many frames to take: cameras need some for their exposure to settle
    #[arg(long, default_value_t = 10)]
    frames: u32,
    /// The file, its kind by its name (.png, .jpg, .bmp)
    #[arg(long, default_value = "snap.png")]
    out: PathBuf,
}

pub fn run(args: CameraArgs) -> Result<()> {
    match args.command {
        CameraCommand::List => list(),
        CameraCommand::Formats { device } => formats(&device),
        CameraCommand::Snap(args) => snap(&args),
    }
}

fn list() -> Result<()> {
    let cameras = v4l2::cameras();
    if cameras.is_empty() {
        return Err(
            Error::device("there is no camera").advise("check the cable and its power; lsusb and dmesg may say more")
        );
    }
    cameras.iter().try_for_each(print::line)
}

fn formats(device: &std::path::Path) -> Result<()> {
    let (supported, others): (Vec<_>, Vec<_>) =
        v4l2::formats(device)?.into_iter().partition(|format| format.supported.is_some());
    for format in supported {
        print::line(format_args!("{:5} {}", format.code, format.description))?;
        for size in format.sizes {
            print::line(format_args!("      {size}"))?;
        }
    }
    if !others.is_empty() {
        let codes: Vec<String> = others.into_iter().map(|format| format.code).collect();
        print::line(format_args!("not supported: {}", codes.join(" ")))?;
    }
    Ok(())
}

fn snap(args: &SnapArgs) -> Result<()> {
    let settings = Settings {
        device: args.device.clone(),
        width: args.width,
        height: args.height,
        format: args.format,
        fps: args.fps,
        silence: Duration::ZERO,
    };
    let mut camera = V4l2Camera::open("snap", settings)?;
    let start = Instant::now();
    let first = take(&mut camera)?;
    let mut last = first.clone();
    for _ in 1..args.frames {
        last = take(&mut camera)?;
    }
    let delay = Monotonic::now().millis_since(last.captured);
    let lost = last.number - first.number + 1 - u64::from(args.frames.max(1));
    last.image
        .save(&args.out)
        .map_err(|error| Error::device(format!("{} cannot be written", args.out.display())).because(error))?;
    print::line(format_args!(
        "{}: frame {} of {}, {}x{}",
        args.out.display(),
        last.number,
        last.origin,
        args.width,
        args.height
    ))?;
    print::line(format_args!(
        "{} in {:.2} s, {lost} lost; received {delay:.1} ms after their stamp ({})",
        print::counted(args.frames.max(1).into(), "frame"),
        start.elapsed().as_secs_f64(),
        last.stamp
    ))
}

fn take(camera: &mut V4l2Camera) -> Result<Frame> {
    let patience = Duration::from_secs(5);
    match camera.grab(patience)? {
        Grab::Frame(frame) => Ok(frame),
        Grab::Broken(broken) => Err(Error::device(format!("{}: {}", broken.origin, broken.why))),
        Grab::Timeout | Grab::End => Err(Error::device(format!("no frame came within {} s", patience.as_secs()))
            .advise("a camera that waits for a trigger needs one now; else unplug it and plug it in again")),
    }
}
