//! `hgad camera snap`: pictures as the line would see them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};
use indicatif::{ProgressBar, ProgressStyle};

use crate::camera::pixels::PixelFormat;
use crate::camera::v4l2::{ControlValue, Controls, Memory, Settings, V4l2Camera};
use crate::camera::{Camera, Counted, Frame, Grab, Region};
use crate::cli::target;
use crate::config::LineConfig;
use crate::picture::Statistics;
use crate::presence::{Gate, Segment};
use crate::runtime::{LaneView, open_camera};
use crate::time::Monotonic;
use crate::{Error, Result, print};

/// How long one picture may take.
const PATIENCE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = r"Examples:
  # What the camera sees, as the line would
  hgad camera snap /dev/video0 --width 640 --height 480 --out snap.png

  # The camera of a line, of any kind, with all that its file sets
  hgad camera snap --config line3.toml

  # What one of its lanes sees
  hgad camera snap --config line3.toml --lane left

  # Try exposure and gain
  hgad camera snap /dev/video0 --set exposure_us=2000 --set gain=20

  # Turn the lens until the sharpness is at its best; Ctrl-C ends it
  hgad camera snap /dev/video0 --watch";

/// Take pictures and save the last one, as the line would see it
///
/// It tells the picture's brightness (mean luma, 0 to 255), the share of saturated pixels, and its sharpness, 0 without detail: the
/// numbers that a calibration holds pictures against. Of a line whose parts are found in the picture, the gate is drawn in blue, what
/// lies in it in yellow, and in green what would be inspected, which is saved beside the picture. The sharpness does not change with the light; of two pictures of the same scene,
/// the one in better focus has more.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct SnapArgs {
    /// The device, such as /dev/video0
    #[arg(required_unless_present = "config")]
    device: Option<PathBuf>,
    /// Take the camera of this line's configuration instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["device", "width", "height", "format", "fps", "set"])]
    config: Option<PathBuf>,
    /// Show what this lane of the line sees
    #[arg(long, value_name = "NAME", requires = "config")]
    lane: Option<String>,
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
    /// How many frames to take: 10, as cameras need some for their exposure to settle; with --watch without end
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    frames: Option<u32>,
    /// The file, its kind by its name (.png, .jpg, .bmp)
    #[arg(long, default_value = "snap.png")]
    out: PathBuf,
    /// Tell brightness, saturation and sharpness again and again instead of saving a picture
    #[arg(long, conflicts_with = "out")]
    watch: bool,
}

/// Frames that are taken before the one that is saved, with it.
const FRAMES: u32 = 10;
/// How often a file or a pipe gets a line of figures.
const LINE_EVERY: Duration = Duration::from_millis(500);

fn setting(text: &str) -> Result<(String, ControlValue), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE, as in gain=20")?;
    Ok((name.trim().to_owned(), value.trim().into()))
}

pub fn run(args: &SnapArgs) -> Result<()> {
    let mut view = open(args)?;
    if args.watch { watch(&mut view, args.frames) } else { snap(&mut view, args) }
}

/// A camera, and what is looked at of its pictures.
struct View {
    camera: Counted,
    region: Option<Region>,
    /// Where parts are found in them.
    gate: Option<Gate>,
}

fn snap(view: &mut View, args: &SnapArgs) -> Result<()> {
    let counts = view.camera.reader();
    let start = Instant::now();
    let mut last = view.take()?;
    for _ in 1..args.frames.unwrap_or(FRAMES) {
        last = view.take()?;
    }
    let delay = Monotonic::now().millis_since(last.captured);
    let took = start.elapsed().as_secs_f64();
    let parts = match &mut view.gate {
        Some(gate) => gate.parts(&last).map_err(Error::usage)?,
        None => Vec::new(),
    };
    match &view.gate {
        Some(gate) => save(&drawn(gate, &parts, last.image.clone()), &args.out)?,
        None => save(&last.image, &args.out)?,
    }
    let (width, height) = last.image.dimensions();
    print::line(format_args!("{}: frame {} of {}, {width}x{height}", args.out.display(), last.number, last.origin))?;
    print::line(format_args!(
        "{} in {took:.2} s; the last one received {delay:.1} ms after its stamp ({})",
        counts.read(),
        last.stamp
    ))?;
    print::line(figures(&Statistics::of(&last.image, None)))?;
    view.gate.as_ref().map_or(Ok(()), |gate| tell_parts(gate, &parts, &args.out))
}

fn save(image: &RgbImage, path: &Path) -> Result<()> {
    target::folder_for(path)?;
    image.save(path).map_err(|error| Error::device(format!("{} cannot be written", path.display())).because(error))
}

const BLUE: Rgb<u8> = Rgb([60, 120, 255]);
const YELLOW: Rgb<u8> = Rgb([255, 220, 0]);
const GREEN: Rgb<u8> = Rgb([0, 220, 60]);

/// The gate and what lies in it, over the picture.
fn drawn(gate: &Gate, parts: &[(Segment, Option<Frame>)], mut image: RgbImage) -> RgbImage {
    let mut outline = |region: Region, inset: u32, colour| {
        // It was found in this very picture.
        let Ok([left, upper, right, lower]) = region.edges(image.dimensions()) else { return };
        for inset in inset..inset + 2 {
            let (left, upper) = (left + inset, upper + inset);
            let (right, lower) =
                (right.saturating_sub(1 + inset).max(left), lower.saturating_sub(1 + inset).max(upper));
            let sides = (left..=right).flat_map(|x| [(x, upper), (x, lower)]);
            let sides = sides.chain((upper..=lower).flat_map(|y| [(left, y), (right, y)]));
            for (x, y) in sides {
                if let Some(pixel) = image.get_pixel_mut_checked(x, y) {
                    *pixel = colour;
                }
            }
        }
    };
    outline(gate.part(0..gate.length()), 0, BLUE);
    for (segment, _) in parts {
        outline(gate.part(segment.from..segment.to), 3, YELLOW);
        gate.view(segment).into_iter().for_each(|view| outline(view, 6, GREEN));
    }
    image
}

/// Tells what lies in the gate, and saves the pictures of parts that would be inspected.
fn tell_parts(gate: &Gate, parts: &[(Segment, Option<Frame>)], out: &Path) -> Result<()> {
    let (length, direction) = (gate.mm(gate.length()), gate.looks().direction);
    print::line(format_args!("the gate shows {length:.1} mm of the belt, which moves {direction}"))?;
    if parts.is_empty() {
        return print::line("nothing lies in it");
    }
    for (number, (segment, picture)) in parts.iter().enumerate().map(|(k, part)| (k + 1, part)) {
        let Segment { from, to, enters, leaves } = *segment;
        let beyond = (gate.mm(from) + gate.mm(to) - length) / 2.0;
        let whole = match (enters, leaves, picture) {
            (true, true, _) => "from one end to the other: the gate is blocked, or the light is another".to_owned(),
            (true, false, _) => "it enters".to_owned(),
            (false, true, _) => "it leaves".to_owned(),
            (false, false, None) => "its picture is not whole in the gate, or it is longer than that".to_owned(),
            (false, false, Some(frame)) => {
                let file = out.with_extension(format!("part-{number}.png"));
                save(&frame.image, &file)?;
                format!("{}, {}x{}", file.display(), frame.image.width(), frame.image.height())
            }
        };
        let long = gate.mm(to - from);
        print::line(format_args!("part {number}: {long:.1} mm long, {beyond:+.1} mm from the middle; {whole}"))?;
    }
    Ok(())
}

fn figures(picture: &Statistics) -> String {
    let Statistics { brightness, saturated, sharpness, .. } = picture;
    format!("brightness {brightness:.0} of 255, {:.1} % saturated, sharpness {sharpness:.4}", saturated * 100.0)
}

/// Tells the figures of every frame, on one line of a terminal, or on a line of its own twice a second.
fn watch(view: &mut View, frames: Option<u32>) -> Result<()> {
    let bar = ProgressBar::no_length()
        .with_style(ProgressStyle::with_template("{msg}").unwrap_or(ProgressStyle::default_bar()));
    let (mut best, mut told, mut count) = (0f32, None::<Instant>, 0);
    while frames.is_none_or(|frames| count < frames) {
        let picture = Statistics::of(&view.take()?.image, None);
        count += 1;
        best = best.max(picture.sharpness);
        let text = format!("{}   {}", figures(&picture), of_best(picture.sharpness, best));
        if !bar.is_hidden() {
            bar.set_message(text);
        } else if told.is_none_or(|told| told.elapsed() >= LINE_EVERY) || Some(count) == frames {
            print::line(text)?;
            told = Some(Instant::now());
        }
    }
    bar.abandon();
    Ok(())
}

/// How sharp a picture is against the best one so far, as a number and as a bar.
fn of_best(sharpness: f32, best: f32) -> String {
    const WIDTH: usize = 30;
    let share = if best > 0.0 { sharpness / best } else { 0.0 };
    let filled = (share * WIDTH as f32).round() as usize;
    format!(
        "[{}{}] {:3.0} % of the best, {best:.4}",
        "#".repeat(filled),
        "-".repeat(WIDTH - filled.min(WIDTH)),
        share * 100.0
    )
}

fn open(args: &SnapArgs) -> Result<View> {
    if let Some(path) = &args.config {
        let config = LineConfig::open(path)?;
        let lane = args.lane.as_ref().map(|name| config.lane(name)).transpose()?;
        let camera = Counted::new(open_camera(&config.camera)?);
        let only = config.lanes.first().filter(|_| config.lanes.len() == 1);
        let Some(gate) = lane.or(only).filter(|lane| lane.gate.is_some()) else {
            return Ok(View { camera, region: lane.and_then(|lane| lane.region), gate: None });
        };
        // Before the empty belt is learned, the camera can be set up all the same.
        let is_learned = gate.gate.as_ref().is_some_and(|gate| gate.empty_belt.exists());
        if !is_learned {
            print::line("the empty belt is not learned yet: hgad camera empty-belt --config FILE")?;
        }
        let gate = is_learned.then(|| LaneView::of(&config, gate)).transpose()?.and_then(|view| view.gate);
        return Ok(View { camera, region: None, gate });
    }
    let settings = Settings {
        device: args.device.clone().unwrap_or_default(),
        width: args.width,
        height: args.height,
        format: args.format,
        fps: args.fps,
        silence: Duration::ZERO,
        memory: Memory::Driver,
        controls: args.set.iter().cloned().collect::<Controls>(),
    };
    Ok(View { camera: Counted::new(Box::new(V4l2Camera::open("snap", settings)?)), region: None, gate: None })
}

impl View {
    fn take(&mut self) -> Result<Frame> {
        let frame = take(&mut self.camera)?;
        match &self.region {
            Some(region) => region.of(&frame).map_err(Error::usage),
            None => Ok(frame),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_a_name_and_a_value() {
        let set = |text: &str| setting(text).unwrap();
        assert_eq!(set("gain=20"), ("gain".into(), ControlValue::Number(20)));
        assert_eq!(set("autogain = false"), ("autogain".into(), ControlValue::Switch(false)));
        assert_eq!(set("power_line=50 Hz"), ("power_line".into(), ControlValue::Choice("50 Hz".into())));
        assert!(setting("gain").is_err());
    }

    #[test]
    fn a_sharpness_is_told_against_the_best() {
        assert_eq!(of_best(0.1, 0.2), format!("[{}{}]  50 % of the best, 0.2000", "#".repeat(15), "-".repeat(15)));
        assert!(of_best(0.2, 0.2).contains(&"#".repeat(30)));
        assert!(of_best(0.0, 0.0).contains("  0 % of the best"));
    }
}
