//! Checks of the V4L2 camera on vivid.

use std::time::{Duration, Instant};

use hgad::ErrorKind;
use hgad::camera::pixels::PixelFormat;
use hgad::camera::v4l2::{self, ControlValue, Controls, Memory, NodeState, Settings, V4l2Camera};
use hgad::camera::{Camera, Counted, Flaw, Frame, Grab};
use hgad::time::{Monotonic, StampSource};

use crate::vivid::{self, Control};
use crate::{Check, Outcome, hold};

pub const CHECKS: &[Check] = &[
    ("camera list", list),
    ("camera formats and colours", colours),
    ("camera of several planes", several_planes),
    ("camera in our own memory", own_memory),
    ("camera format chosen by itself", automatic_format),
    ("camera refusals", refusals),
    ("camera busy", busy),
    ("camera stamps", stamps),
    ("camera lost frames", lost_frames),
    ("camera slow reader", slow_reader),
    ("camera damaged frame", damaged_frame),
    ("camera silence", silence),
    ("camera faults of the driver", driver_faults),
    ("camera controls", controls),
    ("camera controls refused", refused_controls),
    ("camera unplugged and back", unplugged),
];

const PATIENCE: Duration = Duration::from_secs(3);

type Failure = Box<dyn std::error::Error>;

fn settings(format: Option<PixelFormat>) -> Settings {
    Settings {
        device: vivid::NODE.into(),
        width: 320,
        height: 180,
        format,
        fps: Some(15.0),
        silence: Duration::from_secs(5),
        memory: Memory::Driver,
        controls: Controls::new(),
    }
}

/// vivid delivers a frame when its period begins. Stamps of the period's end, its default, lie in the future then, and are
/// rightly not believed.
fn open(format: PixelFormat) -> Result<V4l2Camera, Failure> {
    open_at(vivid::NODE, format)
}

fn open_at(node: &str, format: PixelFormat) -> Result<V4l2Camera, Failure> {
    vivid::set_on(node, Control::TimestampSource, 1)?;
    Ok(V4l2Camera::open("lab", Settings { device: node.into(), ..settings(Some(format)) })?)
}

fn frame(camera: &mut dyn Camera) -> Result<Frame, Failure> {
    match camera.grab(PATIENCE)? {
        Grab::Frame(frame) => Ok(frame),
        other => Err(format!("no frame within {PATIENCE:?}: {other:?}").into()),
    }
}

/// Grabs until an error comes.
fn error(camera: &mut V4l2Camera) -> Result<hgad::Error, Failure> {
    for _ in 0..60 {
        if let Err(error) = camera.grab(PATIENCE) {
            return Ok(error);
        }
    }
    Err("60 frames came without an error".into())
}

/// Grabs as the runtime does, again after a failure, until a frame comes.
fn recovered(camera: &mut V4l2Camera) -> Result<Frame, Failure> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if let Ok(Grab::Frame(frame)) = camera.grab(PATIENCE) {
            return Ok(frame);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err("no frame came within 20 s".into())
}

fn list() -> Outcome {
    let cameras = v4l2::cameras();
    hold!(cameras.len() == 2, "{} cameras: {cameras:?}", cameras.len());
    for camera in &cameras {
        hold!(matches!(&camera.state, NodeState::Ready { driver, .. } if driver == "vivid"), "{camera}");
    }
    let formats = v4l2::formats(&cameras[0].path)?;
    let supported = formats.iter().filter(|format| format.supported.is_some()).count();
    hold!(supported == 13, "{supported} of {} formats can be converted", formats.len());
    Ok(format!("{}; {} formats, {supported} of them can be converted", cameras[0], formats.len()))
}

/// The middle of each of the eight colour bars.
fn bars(image: &image::RgbImage) -> Vec<[u8; 3]> {
    let bar = image.width() / 8;
    (0..8).map(|i| image.get_pixel(i * bar + bar / 2, image.height() / 2).0).collect()
}

fn colours() -> Outcome {
    compare_colours(vivid::NODE, 13)
}

fn several_planes() -> Outcome {
    let told = compare_colours(vivid::MULTI_PLANAR, 17)?;
    vivid::set_on(vivid::MULTI_PLANAR, Control::DroppedBuffers, 40)?;
    let mut camera = Counted::new(Box::new(open_at(vivid::MULTI_PLANAR, PixelFormat::Nm12)?));
    let frames = (0..30).map(|_| frame(&mut camera)).collect::<Result<Vec<_>, _>>()?;
    vivid::set_on(vivid::MULTI_PLANAR, Control::DroppedBuffers, 0)?;
    let counts = camera.reader().read();
    let missing = frames[29].number - frames[0].number - 29;
    hold!(counts.frames == 30 && counts.lost == missing && missing > 0, "{missing} are missing, counted: {counts:?}");
    Ok(format!("{told}; with dropped buffers: {counts}"))
}

/// The driver writes into this process: the same picture, for longer than the buffers last, and again after a new start.
fn own_memory() -> Outcome {
    vivid::set_on(vivid::NODE, Control::OsdTextMode, 2)?; // none
    vivid::set_on(vivid::MULTI_PLANAR, Control::OsdTextMode, 2)?;
    for (node, format) in [(vivid::NODE, PixelFormat::Yuyv), (vivid::MULTI_PLANAR, PixelFormat::Nm12)] {
        vivid::set_on(node, Control::TestPattern, 1)?; // 100% colour bars
        let theirs = bars(&frame(&mut open_at(node, format)?)?.image);
        for _ in 0..2 {
            let own = Settings { device: node.into(), memory: Memory::Own, ..settings(Some(format)) };
            let mut camera = V4l2Camera::open("lab", own)?;
            for number in 0..12 {
                let ours = bars(&frame(&mut camera)?.image);
                hold!(ours == theirs, "{node} {format}, frame {number}: {ours:?}, and not {theirs:?}");
            }
        }
    }
    Ok("12 frames of one plane and of two, twice".into())
}

/// Holds vivid's colour bars in every format that it has and this program knows against what they should be.
fn compare_colours(node: &str, formats: usize) -> Outcome {
    const BARS: [[u8; 3]; 8] = [
        [255, 255, 255],
        [255, 255, 0],
        [0, 255, 255],
        [0, 255, 0],
        [255, 0, 255],
        [255, 0, 0],
        [0, 0, 255],
        [0, 0, 0],
    ];
    vivid::set_on(node, Control::TestPattern, 1)?; // 100% colour bars
    vivid::set_on(node, Control::OsdTextMode, 2)?; // none
    let offered = v4l2::formats(node.as_ref())?;
    let known: Vec<PixelFormat> = offered.iter().filter_map(|format| format.supported).collect();
    hold!(known.len() == formats, "{} of its {} formats can be converted: {known:?}", known.len(), offered.len());
    let mut worst = Vec::new();
    for format in known {
        let mut camera = open_at(node, format)?;
        let image = frame(&mut camera)?.image;
        hold!(image.dimensions() == (320, 180), "{format}: {:?}", image.dimensions());
        let is_grey = matches!(format, PixelFormat::Grey | PixelFormat::Y16);
        let expected = BARS.map(|[r, g, b]| {
            // vivid weighs its grey as BT.709 does.
            let luma = (0.2126 * f32::from(r) + 0.7152 * f32::from(g) + 0.0722 * f32::from(b)).round() as u8;
            if is_grey { [luma; 3] } else { [r, g, b] }
        });
        let seen = bars(&image);
        let off =
            seen.iter().flatten().zip(expected.iter().flatten()).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(255);
        hold!(off <= 4, "{format} is off by {off}: {seen:?}");
        worst.push(format!("{format} {off}"));
    }
    Ok(format!("largest difference from the test pattern's colours, of 255: {}", worst.join(", ")))
}

fn wanted(controls: &[(&str, ControlValue)]) -> Settings {
    let controls = controls.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Settings { controls, ..settings(Some(PixelFormat::Grey)) }
}

/// What vivid's controls are now, by their names.
fn shown(names: &[&str]) -> Result<Vec<String>, Failure> {
    let controls = v4l2::controls(vivid::NODE.as_ref())?;
    let value = |name: &&str| {
        let control = controls.iter().find(|control| control.name == *name).ok_or(format!("no control {name}"));
        control.map(|control| format!("{name} {}", control.shown()))
    };
    Ok(names.iter().map(value).collect::<Result<_, _>>()?)
}

fn controls() -> Outcome {
    use ControlValue::{Choice, Number, Switch};
    const NAMES: [&str; 7] =
        ["brightness", "gain", "gain_automatic", "boolean", "menu", "integer_64_bits", "integer_menu"];
    let before = shown(&NAMES)?;
    let asked = [
        ("brightness", Number(77)),
        ("gain", Number(42)),
        ("boolean", Switch(false)),
        ("menu", Choice("menu item 4".into())),
        ("integer_64_bits", Number(5_000_000_000)),
        ("integer_menu", Number(2)),
    ];
    let mut camera = V4l2Camera::open("lab", wanted(&asked))?;
    frame(&mut camera)?;
    let expected = [
        "brightness 77",
        "gain 42",
        "gain_automatic false",
        "boolean false",
        "menu 4 (\"Menu Item 4\")",
        "integer_64_bits 5000000000",
    ];
    let set = shown(&NAMES)?;
    hold!(set[..6] == expected && set[6].starts_with("integer_menu 2 ("), "{set:?}");
    hold!(before[2] == "gain_automatic true", "the automatic mode was off before: {before:?}");

    // Plugged in again, the driver has forgotten all of it.
    drop(camera);
    let mut camera = V4l2Camera::open("lab", wanted(&asked))?;
    frame(&mut camera)?;
    let holdout = v4l::Device::with_path(vivid::NODE)?;
    vivid::set(Control::Disconnect, 1)?;
    error(&mut camera)?;
    drop(holdout);
    vivid::unload()?;
    vivid::load()?;
    vivid::set(Control::TimestampSource, 1)?;
    let fresh = shown(&NAMES)?;
    recovered(&mut camera)?;
    let again = shown(&NAMES)?;
    // While it is automatic, vivid's gain changes by itself.
    let is_forgotten = (0..NAMES.len()).all(|i| NAMES[i] == "gain" || fresh[i] == before[i]);
    hold!(is_forgotten && again == set, "plugged in again: {fresh:?}, then {again:?}");
    Ok(format!("{}, from {}; after the camera was plugged in again: the same", set.join(", "), before.join(", ")))
}

fn refused_controls() -> Outcome {
    use ControlValue::{Choice, Number, Switch};
    let cases = [
        (
            vec![("brightness", Number(300))],
            "brightness took 255 instead of 300; brightness takes 0 to 255, by default 128",
        ),
        (vec![("brightnes", Number(3))], "has no control brightnes; did you mean brightness?"),
        (vec![("exposure_us", Number(2000))], "has no control exposure_us"),
        (vec![("menu", Choice("Menu Item 9".into()))], "menu cannot be \"Menu Item 9\"; menu takes"),
        (vec![("menu", Number(9))], "menu cannot be set to 9; menu takes"),
        (vec![("boolean", Choice("maybe".into()))], "boolean takes false or true"),
        (vec![("integer_32_bits", Number(1 << 40))], "cannot be set to 1099511627776; integer_32_bits takes"),
        (vec![("gain", Number(9)), ("gain_automatic", Switch(true))], "gain took"),
        (vec![("read_only_integer_32_bits", Number(1))], "read_only_integer_32_bits can only be read"),
    ];
    let mut said = Vec::new();
    for (asked, words) in cases {
        let Err(error) = V4l2Camera::open("lab", wanted(&asked)) else {
            return Err(format!("{asked:?} was accepted").into());
        };
        hold!(error.kind() == ErrorKind::Usage && error.report().contains(words), "{asked:?}: {}", error.report());
        said.push(error.to_string());
    }
    Ok(said.join("; "))
}

fn automatic_format() -> Outcome {
    let mut camera = V4l2Camera::open("lab", settings(None))?;
    let seen = bars(&frame(&mut camera)?.image);
    hold!(seen[5][0] > 250 && seen[5][1] < 5, "the red bar is {:?}", seen[5]);
    Ok("frames come, in colour".into())
}

fn refusals() -> Outcome {
    let cases = [
        ("size", Settings { width: 321, ..settings(Some(PixelFormat::Yuyv)) }, "320x180"),
        ("format", settings(Some(PixelFormat::Mjpg)), "YUYV"),
        ("rate", Settings { fps: Some(1000.0), ..settings(Some(PixelFormat::Yuyv)) }, "fps"),
    ];
    let mut said = Vec::new();
    for (what, settings, advice) in cases {
        let Err(error) = V4l2Camera::open("lab", settings) else {
            return Err(format!("the {what} was accepted").into());
        };
        hold!(error.kind() == ErrorKind::Usage, "{what}: {error:?}");
        hold!(error.report().contains(advice), "{what}: {}", error.report());
        said.push(error.to_string());
    }
    Ok(said.join("; "))
}

fn busy() -> Outcome {
    let mut first = open(PixelFormat::Grey)?;
    let Err(error) = open(PixelFormat::Grey) else { return Err("two programs stream from one camera".into()) };
    hold!(error.to_string().contains("video0"), "{error}");
    frame(&mut first)?;
    Ok(format!("{error}; the first goes on"))
}

fn stamps() -> Outcome {
    let mut camera = open(PixelFormat::Grey)?;
    let seen = frame(&mut camera)?.stamp;
    hold!(seen == StampSource::StartOfExposure, "the stamp is {seen:?}");
    vivid::set(Control::TimestampSource, 0)?;
    let doubted = loop {
        match camera.grab(PATIENCE)? {
            Grab::Broken(broken) => break broken,
            Grab::Frame(_) => {}
            other => return Err(format!("no frame within {PATIENCE:?}: {other:?}").into()),
        }
    };
    hold!(doubted.stamp == StampSource::Doubtful && doubted.why.contains("in the future"), "{doubted:?}");
    drop(camera);
    let mut camera = open(PixelFormat::Grey)?;
    let mut last = frame(&mut camera)?.captured;
    let (mut delays, mut intervals) = (Vec::new(), Vec::new());
    for _ in 0..45 {
        let captured = frame(&mut camera)?.captured;
        delays.push(Monotonic::now().millis_since(captured));
        intervals.push(captured.millis_since(last));
        last = captured;
    }
    delays.sort_by(f64::total_cmp);
    intervals.sort_by(f64::total_cmp);
    let (delay, interval) = (delays[22], intervals[22]);
    // How late a guest is that a busy machine interprets is told and not judged; a frame before its stamp, or faster than the camera, is wrong.
    hold!(delays[0] >= 0.0 && delay < 1000.0, "frames come {delay:.1} ms after their stamp, at least {:.1}", delays[0]);
    hold!((60.0..1000.0).contains(&interval), "{interval:.1} ms between frames at 15 fps");
    Ok(format!(
        "delivery {delay:.2} ms after the stamp (median of 45, at most {:.2}), interval {interval:.2} ms",
        delays[44]
    ))
}

fn lost_frames() -> Outcome {
    vivid::set(Control::DroppedBuffers, 40)?;
    let mut camera = open(PixelFormat::Grey)?;
    let numbers: Vec<u64> = (0..30).map(|_| frame(&mut camera).map(|frame| frame.number)).collect::<Result<_, _>>()?;
    vivid::set(Control::DroppedBuffers, 0)?;
    let lost = numbers[29] - numbers[0] - 29;
    hold!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    hold!(lost >= 5, "{lost} frames are missing of {}", numbers[29] - numbers[0] + 1);
    Ok(format!("30 frames came, {lost} are missing in their numbers; vivid was told to drop 40%"))
}

fn slow_reader() -> Outcome {
    let mut camera = open(PixelFormat::Grey)?;
    let before = frame(&mut camera)?.number;
    std::thread::sleep(Duration::from_secs(1));
    let after = frame(&mut camera)?.number;
    let next = frame(&mut camera)?;
    let age = Monotonic::now().millis_since(next.captured);
    hold!(after > before + 1, "frame {after} follows {before}: an old buffer was handed out");
    hold!(age < 900.0, "the second frame after the pause is {age:.0} ms old, as if it had waited");
    Ok(format!("frames {before}, pause of 1 s, {after}, {} ({age:.1} ms old)", next.number))
}

fn damaged_frame() -> Outcome {
    let mut camera = open(PixelFormat::Grey)?;
    let before = frame(&mut camera)?.number;
    vivid::set(Control::BufferFlagError, 1)?;
    let broken = loop {
        match camera.grab(PATIENCE)? {
            Grab::Broken(broken) => break broken,
            Grab::Frame(frame) if frame.number < before + 60 => {}
            other => return Err(format!("instead of a damaged frame: {other:?}").into()),
        }
    };
    hold!(broken.flaw == Flaw::Damaged && broken.why.contains("damaged"), "{broken:?}");
    let after = frame(&mut camera)?.number;
    hold!(after > broken.number, "frame {after} follows the damaged one, {}", broken.number);
    Ok(format!("frame {}: {}; then frame {after}", broken.number, broken.why))
}

fn silence() -> Outcome {
    let mut camera = V4l2Camera::open(
        "lab",
        Settings { silence: Duration::from_millis(1500), ..settings(Some(PixelFormat::Grey)) },
    )?;
    let before = frame(&mut camera)?.number;
    vivid::set(Control::DroppedBuffers, 100)?;
    let start = Instant::now();
    let mut timeouts = 0;
    let error = loop {
        match camera.grab(Duration::from_millis(300)) {
            Ok(Grab::Timeout) => timeouts += 1,
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let after = start.elapsed().as_secs_f64();
    vivid::set(Control::DroppedBuffers, 0)?;
    hold!(timeouts >= 3 && (1.4..3.0).contains(&after), "{timeouts} time-outs, then after {after:.2} s: {error}");
    let again = recovered(&mut camera)?.number;
    hold!(again > before, "frame {again} follows {before}");
    Ok(format!("{timeouts} time-outs of 300 ms, then \"{error}\"; frame {again} after frame {before}"))
}

fn driver_faults() -> Outcome {
    vivid::set(Control::StreamOnError, 1)?;
    let Err(refused) = open(PixelFormat::Grey) else { return Err("a stream that cannot start was opened".into()) };
    let mut camera = open(PixelFormat::Grey)?;
    let mut last = frame(&mut camera)?.number;
    let mut said = vec![refused.to_string()];
    for fault in [Control::FatalStreamingError, Control::QueueError] {
        vivid::set(fault, 1)?;
        said.push(error(&mut camera)?.report().replace('\n', ""));
        let number = recovered(&mut camera)?.number;
        hold!(number > last, "{fault:?}: frame {number} follows {last}");
        last = number;
    }
    Ok(said.join("; "))
}

fn unplugged() -> Outcome {
    let mut camera = open(PixelFormat::Grey)?;
    let before = frame(&mut camera)?.number;
    // vivid connects its camera again when the last program has closed it: this one holds it off.
    let holdout = v4l::Device::with_path(vivid::NODE)?;
    vivid::set(Control::Disconnect, 1)?;
    let lost = error(&mut camera)?;
    let absent = error(&mut camera)?;
    for error in [&lost, &absent] {
        hold!(error.kind() == ErrorKind::Device, "{error:?}");
    }
    hold!(absent.report().contains("/dev/video1"), "the advice names the other camera: {}", absent.report());
    drop(holdout);

    vivid::unload()?;
    let gone = error(&mut camera)?;
    hold!(gone.report().contains("no camera is connected"), "{}", gone.report());
    vivid::load()?;
    vivid::set(Control::TimestampSource, 1)?;
    let after = recovered(&mut camera)?.number;
    hold!(after > before, "frame {after} follows {before}");
    let said = [lost, absent, gone].map(|error| error.report().replace('\n', ""));
    Ok(format!("{}; plugged in again: frame {after} follows {before}", said.join("; ")))
}
