//! The camera, and the inspection of what it sees.

use std::time::Duration;

use super::Finding;
use super::spread::{Spread, ms};
use crate::camera::{Camera, CameraCounts, Counted, Frame, Grab};
use crate::config::{CameraConfig, LaneConfig, LineConfig};
use crate::line::{Drive, Find, Lane, LaneRules, PictureFault, Rules, Ticket};
use crate::print::counted;
use crate::runtime::{Inspect, LaneView, ModelInspector, camera_of};
use crate::time::Monotonic;
use crate::{Error, Result};

/// How long one grab may take.
const PATIENCE: Duration = Duration::from_millis(100);
/// So many frames are inspected.
const INSPECTED: usize = 20;
/// A camera may be slower than it was asked to be by so much.
const TOLERATED: f64 = 0.9;
/// A camera that owes so many frames is silent.
const OWED: u32 = 10;
/// What is shorter may be a machine that was busy, or a driver that starts.
const LEAST_SILENCE: Duration = Duration::from_millis(250);
/// So long before the ejector must be told to act a verdict is wanted.
const LEAD: Duration = Duration::from_millis(5);

/// What was seen.
pub(super) struct View {
    frames: Vec<Frame>,
    /// Whether a device captured them.
    is_live: bool,
    /// From one frame to the next.
    intervals: Spread,
    /// From the stamp to when this program had the frame.
    delivery: Spread,
}

impl View {
    /// Frames per second.
    pub(super) fn rate(&self) -> Option<f64> {
        let interval = self.intervals.quantile(0.5).as_secs_f64();
        (interval > 0.0).then(|| 1.0 / interval)
    }
}

/// Opens the camera and takes frames for `time`.
pub(super) fn watch(config: &LineConfig, time: Duration, tell: &mut impl FnMut(Finding)) -> Option<View> {
    match camera_of(config).and_then(|camera| look(camera, time)) {
        Err(error) => {
            tell(Finding::failed("camera", &error));
            None
        }
        Ok((view, counts)) => {
            tell(judged(&config.camera, &view, &counts, time));
            silence(config, &view).into_iter().for_each(&mut *tell);
            (!view.frames.is_empty()).then_some(view)
        }
    }
}

fn look(camera: Box<dyn Camera>, time: Duration) -> Result<(View, CameraCounts)> {
    let mut camera = Counted::new(camera);
    let (mut frames, mut stamps, mut delivery) = (Vec::new(), Vec::new(), Vec::new());
    let ends = Monotonic::now() + time;
    while Monotonic::now() < ends {
        match camera.grab(PATIENCE)? {
            Grab::Frame(frame) => {
                stamps.push(frame.captured);
                delivery.push(Monotonic::now().saturating_since(frame.captured));
                // The first ones of a camera that still finds its exposure are not what a line sees.
                if frames.len() == INSPECTED {
                    frames.remove(0);
                }
                frames.push(frame);
            }
            Grab::Broken(_) | Grab::Timeout => {}
            Grab::End => break,
        }
    }
    let intervals = stamps.windows(2).map(|pair| pair[1].saturating_since(pair[0])).collect();
    let view = View { frames, is_live: camera.is_live(), intervals, delivery: delivery.into_iter().collect() };
    Ok((view, camera.reader().read()))
}

fn judged(config: &CameraConfig, view: &View, counts: &CameraCounts, time: Duration) -> Finding {
    if counts.frames == 0 {
        let measured = format!("{config}: no frame within {:.1} s", time.as_secs_f64());
        let advice =
            "a camera that waits for a trigger needs one now; else look at its cable and at the lamp of its driver";
        return Finding::problem("camera", measured, advice);
    }
    let rate = view.rate().unwrap_or_default();
    let measured = format!(
        "{config}: {counts} in {:.1} s, {rate:.1} per second; from one to the next {}; delivered after {}",
        time.as_secs_f64(),
        view.intervals,
        view.delivery
    );
    if counts.doubtful > 0 {
        let advice =
            "the driver's time stamps cannot be right, and rejects would miss their parts: see docs/cameras.md";
        return Finding::problem("camera", measured, advice);
    }
    if counts.damaged + counts.unreadable > 0 {
        let advice = "look at the cable, the power of the USB port, and whether another camera shares its bandwidth";
        return Finding::problem("camera", measured, advice);
    }
    match wanted(config) {
        Some(wanted) if view.rate().is_some_and(|rate| rate < TOLERATED * wanted) => {
            let advice = format!(
                "{wanted} frames per second are asked for: shorten the exposure, choose a smaller size or another format"
            );
            Finding::problem("camera", measured, advice)
        }
        _ if counts.lost > 0 => Finding::note("camera", measured, "the machine was too busy to fetch every frame"),
        _ => Finding::ok("camera", measured),
    }
}

/// Whether a camera that goes silent is noticed much later than the frames that it owes.
fn silence(config: &LineConfig, view: &View) -> Option<Finding> {
    let noticed = match &config.camera {
        CameraConfig::V4l2(settings) => settings.silence,
        CameraConfig::Pipe(settings) => settings.silence,
        CameraConfig::Folder(_) | CameraConfig::Synthetic(_) => return None,
    };
    let interval = view.intervals.quantile(0.5);
    let enough = (interval * OWED).max(LEAST_SILENCE);
    if interval.is_zero() || noticed <= enough {
        return None;
    }
    let frames = noticed.as_nanos() / interval.as_nanos().max(1);
    let measured = format!("it is noticed after {} ms (timeout_ms), when the camera owes {frames} frames", ms(noticed));
    let freely = format!("timeout_ms = {:.0} would do", enough.as_secs_f64() * 1e3);
    let is_triggered = config.rules.lanes.iter().any(|lane| lane.find == Find::EveryFrame);
    let advice = match is_triggered {
        true => format!(
            "parts go by unseen until then: {freely} for a camera that runs freely. One that parts trigger needs timeout_ms = 0: a belt that \
             pauses looks like a camera that is stuck, and [stop_line] or a heartbeat would hold it for good"
        ),
        false => format!("parts go by unseen until then: {freely}"),
    };
    Some(Finding::note("silence", measured, advice))
}

/// Frames per second that the configuration asks for.
fn wanted(config: &CameraConfig) -> Option<f64> {
    match config {
        CameraConfig::V4l2(settings) => settings.fps,
        CameraConfig::Folder(folder) => Some(folder.rate),
        CameraConfig::Synthetic(synthetic) => Some(synthetic.rate),
        CameraConfig::Pipe(_) => None,
    }
}

/// Judges the frames, one after the other: whether pictures are like those of the calibration, and how long it takes.
pub(super) fn inspect(
    config: &LineConfig,
    view: &View,
    inspector: Option<ModelInspector>,
    tell: &mut impl FnMut(Finding),
) {
    let Some(mut inspector) = inspector else { return };
    inspector.expect(view.is_live);
    let mut found = Inspected::default();
    for (k, lane) in config.lanes.iter().enumerate() {
        let key = lane.gate.as_ref().map_or_else(|| lane.key("width"), |gate| gate.section.clone());
        let seen = LaneView::of(config, lane).and_then(|mut sees| {
            tell_gate(lane, &mut sees, &view.frames, tell);
            seen(&mut sees, &view.frames).map_err(|why| config.blame(&key, Error::usage(why)))
        });
        match seen.and_then(|frames| inspect_lane((Lane(k), lane), &frames, &mut inspector, tell)) {
            Ok(inspected) => found.add(inspected),
            Err(error) => return tell(Finding::failed(&lane.thing("inspection"), &error)),
        }
    }
    tell(in_time(&config.rules, view, found));
}

/// What a lane sees in the frames. An empty gate shows no part: its middle tells how long an inspection takes.
fn seen(sees: &mut LaneView, frames: &[Frame]) -> Result<Vec<Frame>, String> {
    let pictures = frames.iter().map(|frame| sees.pictures(frame)).collect::<Result<Vec<_>, _>>()?;
    let pictures = pictures.into_iter().flatten().collect::<Vec<_>>();
    match (&sees.gate, pictures.is_empty()) {
        (Some(gate), true) => frames.iter().map(|frame| gate.middle().of(frame)).collect(),
        _ => Ok(pictures),
    }
}

/// Whether a gate is empty now, as far as the empty belt says.
fn tell_gate(lane: &LaneConfig, sees: &mut LaneView, frames: &[Frame], tell: &mut impl FnMut(Finding)) {
    let Some(gate) = &mut sees.gate else { return };
    let found = frames.iter().map(|frame| gate.look(&frame.image).map(<[_]>::to_vec)).collect::<Result<Vec<_>, _>>();
    let what = lane.thing("gate");
    let found = match found {
        Ok(found) => found,
        Err(why) => return tell(Finding::problem(&what, why, LEARN)),
    };
    let occupied = found.iter().filter(|found| !found.is_empty()).count();
    let blocked = found.iter().flatten().filter(|segment| segment.enters && segment.leaves).count();
    let whole = found.iter().flatten().filter(|segment| gate.view(segment).is_some()).count();
    let measured = format!(
        "{:.1} mm of the belt; of {}, {occupied} show something on it, {whole} a part that can be inspected; {}",
        gate.mm(gate.length()),
        counted(found.len() as u64, "frame"),
        gate.contrast()
    );
    tell(match (blocked, occupied) {
        (1.., _) => Finding::problem(&what, measured, format!("it is full from one end to the other: {LEARN}")),
        (0, 0) => Finding::ok(&what, measured),
        (0, _) => Finding::note(&what, measured, "if nothing lies on the belt now, learn it again"),
    });
}

/// What to do about an empty belt that is not the one that is seen.
const LEARN: &str = "learn the empty belt again, in the light of now: hgad camera empty-belt --config FILE";

/// How long inspections took, one lane after the other, and what came of them.
#[derive(Default)]
struct Inspected {
    /// Of each frame, all lanes together.
    times: Vec<Duration>,
    frames: u64,
    rejects: u64,
}

impl Inspected {
    fn add(&mut self, lane: Inspected) {
        self.times.resize(lane.times.len(), Duration::ZERO);
        self.times.iter_mut().zip(&lane.times).for_each(|(sum, time)| *sum += *time);
        (self.frames, self.rejects) = (self.frames + lane.frames, self.rejects + lane.rejects);
    }
}

fn inspect_lane(
    (lane, config): (Lane, &LaneConfig),
    frames: &[Frame],
    inspector: &mut ModelInspector,
    tell: &mut impl FnMut(Finding),
) -> Result<Inspected> {
    let class = |frame: &Frame| frame.product.clone().unwrap_or_else(|| config.class.clone());
    let what = config.thing("picture");
    // Nothing is known of pictures of the empty belt.
    if config.gate.is_none() {
        let fault = frames.iter().find_map(|frame| inspector.fault(frame, lane, &class(frame)));
        let unknown = frames.iter().map(class).find(|class| !inspector.knows_pictures(lane, class));
        tell(match (fault, unknown) {
            (Some(PictureFault { fault, .. }), _) => Finding::problem(&what, fault.to_string(), fault.advice()),
            (None, Some(class)) => Finding::note(
                &what,
                format!("the calibration of '{class}' does not tell how pictures are to be"),
                "a lamp or a lens that fails is not noticed, nor drift: calibrate again with this program",
            ),
            (None, None) => Finding::ok(&what, "light and focus are as in the calibration"),
        });
    }
    let mut found = Inspected { frames: frames.len() as u64, ..Inspected::default() };
    for (number, frame) in (0..).zip(frames) {
        let begun = Monotonic::now();
        let judged = inspector.inspect(Ticket(number), frame, lane, &class(frame));
        found.times.push(Monotonic::now().saturating_since(begun));
        match (judged, &config.gate) {
            (Ok(judged), _) => found.rejects += u64::from(judged.judgement.rejects),
            // What lies in a gate may be a part of a part, or none.
            (Err(_), Some(_)) => found.rejects += 1,
            (Err(error), None) => return Err(error),
        }
    }
    Ok(found)
}

fn in_time(rules: &Rules, view: &View, found: Inspected) -> Finding {
    // The first run of a network pays for memory that later ones have.
    let times = found.times.into_iter().skip(usize::from(view.frames.len() > 1)).collect::<Spread>();
    let frames = counted(view.frames.len() as u64, "frame");
    let mut measured = match rules.lanes.len() {
        1 => format!("{frames}, {} of them rejected; each took {times}", found.rejects),
        lanes => {
            let parts = counted(found.frames, "part");
            format!("{frames} of {lanes} lanes, {} of {parts} rejected; each frame took {times}", found.rejects)
        }
    };
    let slow = "train a smaller model (--size, --blocks, --hidden), or slow the belt down";
    if let Some(way) = way(rules) {
        let verdict = view.delivery.quantile(0.99) + times.quantile(0.99);
        measured.push_str(&format!(
            "; a verdict {} ms after the capture, and the way to the ejector takes {} ms",
            ms(verdict),
            ms(way)
        ));
        if verdict + LEAD > way {
            let advice = format!("parts would pass the ejector before their verdict: move it farther away, or {slow}");
            return Finding::problem("inspection", measured, advice);
        }
    }
    if let Some(most) = most_frames(rules) {
        measured.push_str(&format!("; a part is inspected up to {}", counted(most.into(), "time")));
    }
    match spacing(rules, view) {
        None => Finding::note(
            "inspection",
            measured,
            format!(
                "the belt's speed is not known: it may bring a part every {} ms, no faster",
                ms(times.quantile(0.99))
            ),
        ),
        Some(spacing) => {
            let whose = if most_frames(rules).is_some() { "their frames" } else { "parts" };
            measured.push_str(&format!("; {whose} come every {} ms at the closest", ms(spacing)));
            match times.quantile(0.99) > spacing {
                true => Finding::problem("inspection", measured, format!("parts would be skipped: {slow}")),
                false => Finding::ok("inspection", measured),
            }
        }
    }
}

/// In how many frames a part is inspected at most, where parts are found in the picture.
fn most_frames(rules: &Rules) -> Option<u32> {
    let of_lane = |lane: &LaneRules| match lane.find {
        Find::FreeRun(run) => Some(run.most_frames),
        Find::EveryFrame | Find::PhotoEye(_) => None,
    };
    rules.lanes.iter().filter_map(of_lane).max()
}

/// How long a part travels from its capture until its ejector must be told to act, in the lane in which it is shortest.
fn way(rules: &Rules) -> Option<Duration> {
    let Drive::Constant(speed) = rules.drive else { return None };
    let of_lane = |lane: &LaneRules| {
        let travel = Duration::from_secs_f64(lane.ejector.distance.as_nm().max(0) as f64 / speed.max(1) as f64);
        travel.saturating_sub(lane.ejector.delay)
    };
    rules.lanes.iter().map(of_lane).min()
}

/// How close in time parts can follow each other in a lane.
fn spacing(rules: &Rules, view: &View) -> Option<Duration> {
    let of_lane = |lane: &LaneRules| match (lane.find, rules.drive) {
        (Find::EveryFrame, _) => Some(view.intervals.quantile(0.5)).filter(|interval| !interval.is_zero()),
        (Find::PhotoEye(eye), Drive::Constant(speed)) => {
            Some(Duration::from_secs_f64(eye.pitch.as_nm().max(0) as f64 / speed.max(1) as f64))
        }
        // Each part has its share of several frames.
        (Find::FreeRun(run), Drive::Constant(speed)) => {
            let pitch = Duration::from_secs_f64(run.longest.as_nm().max(0) as f64 / speed.max(1) as f64);
            Some(pitch / run.most_frames.max(1))
        }
        (Find::PhotoEye(_) | Find::FreeRun(_), Drive::Encoder) => None,
    };
    rules.lanes.iter().filter_map(of_lane).min()
}
