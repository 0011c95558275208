//! From a configuration to opened devices.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::control;
use super::inspection::LaneCalibrations;
use super::{LaneView, Measure, ModelInspector, Pace, Sensors, Signals, Wiring};
use crate::approval::Approval;
use crate::audit::{AuditLog, PartContext, RunStart, Verifier};
use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::camera::folder::FolderCamera;
use crate::camera::pipe::PipeCamera;
use crate::camera::synthetic::SyntheticCamera;
use crate::camera::v4l2::V4l2Camera;
use crate::camera::{Camera, Frame};
use crate::config::{AuditConfig, CameraConfig, EncoderSetting, InputConfig, LaneConfig, LineConfig, OutputConfig};
use crate::digest::Digest;
use crate::draft::is_same;
use crate::heap::Starting;
use crate::inputs::{self, Input, encoder};
use crate::line::Lane;
use crate::outputs::{self, Output, Role};
use crate::presence::{EmptyBelt, Gate};
use crate::synthetic::Conveyor;
use crate::{Error, Result};

impl Wiring {
    /// Opens all that `config` names, and proves that this machine computes what the training host did. The output is at
    /// its safe level afterwards, and the audit holds the run's start.
    ///
    /// # Errors
    ///
    /// A bundle or calibration that is not right, golden frames that come out different, a device that is not there,
    /// an audit that cannot be continued.
    pub fn open(config: &LineConfig) -> Result<Self> {
        control::refuse_beside_another(&config.audit.file)?;
        let Judges { mut inspector, bundle, approvals } = Judges::open(config)?;
        let doubts = [inspector.unkept_rates(), inspector.unlike_training()];
        doubts.iter().flatten().for_each(|told| log::warn!("the threshold of {told}"));
        let views = LaneView::each_of(config)?;
        let start = RunStart {
            line: config.name.clone(),
            dry_run: config.dry_run,
            config: Some(config.digest),
            camera: camera_in_words(&config.camera, &views),
            output: outputs_in_words(&config.lanes),
            bundle,
            calibrations: inspector.calibrations(),
            approvals,
            drift: inspector.drift_begins(),
        };
        let camera = camera_of(config)?;
        inspector.expect(camera.is_live());
        let outputs =
            config.lanes.iter().map(|lane| open_output(config, &lane.key("output"), &lane.output, Role::Reject));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        let (sensors, signals) = (open_sensors(config)?, open_signals(config)?);
        Ok(Wiring {
            rules: config.rules.clone(),
            views,
            camera,
            inspector: Box::new(inspector),
            outputs,
            sensors,
            signals,
            audit: AuditLog::open(&config.audit, &start)
                .map_err(|error| config.blame(audit_key(&config.audit), error))?,
            context: PartContext { bundle, dry_run: config.dry_run },
            pace: Pace::NewestWins,
            max_parts: None,
            stop: Arc::new(AtomicBool::new(false)),
            journal: true,
            observer: None,
            realtime: true,
        })
    }
}

impl LaneView {
    /// What each lane of the line sees.
    ///
    /// # Errors
    ///
    /// The empty belt of a gate cannot be read, or does not fit it.
    pub(crate) fn each_of(config: &LineConfig) -> Result<Vec<Self>> {
        config.lanes.iter().map(|lane| LaneView::of(config, lane)).collect()
    }

    /// What a lane sees.
    ///
    /// # Errors
    ///
    /// As [`LaneView::each_of`].
    pub(crate) fn of(config: &LineConfig, lane: &LaneConfig) -> Result<Self> {
        let gate = lane.gate.as_ref().map(|setting| {
            let key = |key: &str| format!("{}.{key}", setting.section);
            let belt = EmptyBelt::open(&setting.empty_belt).map_err(|error| config.blame(&key("empty_belt"), error))?;
            if let Some(frame) = config.camera.frame().filter(|frame| *frame != belt.picture) {
                let ((width, height), (w, h)) = (frame, belt.picture);
                let error = Error::usage(format!(
                    "the camera's pictures are {width}x{height}, and the empty belt was learned from {w}x{h}"
                ))
                .advise("learn it again with: hgad camera empty-belt --config FILE");
                return Err(config.blame(&key("empty_belt"), error));
            }
            Gate::new(Arc::new(belt), setting.looks.clone())
                .map_err(|why| config.blame(&setting.section, Error::usage(why)))
        });
        Ok(LaneView { region: lane.region, gate: gate.transpose()?, class: lane.class.clone() })
    }

    /// The pictures that parts are judged by: the region of the frame, or those of parts that are whole in the gate.
    ///
    /// # Errors
    ///
    /// The region is not within the frame, or the empty belt is of another size; the text says how.
    pub(crate) fn pictures(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        match (&mut self.gate, self.region) {
            (Some(gate), _) => Ok(gate.parts(frame)?.into_iter().filter_map(|(_, picture)| picture).collect()),
            (None, Some(region)) => Ok(vec![region.of(frame)?]),
            (None, None) => Ok(vec![frame.clone()]),
        }
    }
}

/// `v4l2 /dev/video0`, and by which empty belts parts are found in its pictures.
fn camera_in_words(camera: &CameraConfig, views: &[LaneView]) -> String {
    let belts = views.iter().filter_map(|view| Some(view.gate.as_ref()?.belt().digest.short()));
    let belts = belts.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    match belts.is_empty() {
        true => camera.to_string(),
        false => format!("{camera}; empty belt {}", belts.join(", ")),
    }
}

/// `gpio chip GPIO17`, or `1 left: gpio chip GPIO17; 2 right: gpio chip GPIO18`: alarms tell lanes by these numbers.
fn outputs_in_words(lanes: &[LaneConfig]) -> String {
    let told = lanes.iter().enumerate().map(|(k, lane)| match &lane.name {
        Some(name) => format!("{} {name}: {}", k + 1, lane.output),
        None => lane.output.to_string(),
    });
    told.collect::<Vec<_>>().join("; ")
}

/// What judges parts.
pub(crate) struct Judges {
    pub(crate) inspector: ModelInspector,
    /// The bundle that it goes by.
    pub(crate) bundle: Digest,
    /// Who let bundle and calibrations into production.
    pub(crate) approvals: Vec<Approval>,
}

impl Judges {
    /// Loads the bundle and the calibrations that `config` names, and proves that this machine computes what the training
    /// host did.
    ///
    /// # Errors
    ///
    /// One of them is not right, or not for this line; golden frames come out different.
    pub(crate) fn open(config: &LineConfig) -> Result<Self> {
        // Ends behind the bundle, whose network and golden frames have served then.
        let _starting = Starting::begin();
        let named = |key: &'static str| move |error| config.blame(key, error);
        let bundle = Bundle::open(&config.model).map_err(named("line.model"))?;
        let keys = approvers(config).map_err(named("line.approved_by"))?;
        // Before the calibrations: of another bundle than was approved they are none, and to calibrate again would mend nothing.
        let mut approvals =
            approved(&keys, [(&config.model, bundle.digest, Vec::new())]).map_err(named("line.approved_by"))?;
        let common = open_calibrations(&bundle, &config.calibrations).map_err(named("line.calibration"))?;
        let (mut lanes, mut own) = (Vec::new(), Vec::new());
        for lane in &config.lanes {
            bundle.manifest.class_index(&lane.class).map_err(|error| config.blame(&class_key(lane), error))?;
            let calibrations = open_calibrations(&bundle, &lane.calibrations)
                .map_err(|error| config.blame(&lane.key("calibration"), error))?;
            let digests = calibrations.iter().map(|(_, digest)| *digest);
            own.extend(
                lane.calibrations.iter().zip(digests).map(|(path, digest)| (path, digest, lane.name.as_deref())),
            );
            let judged = LaneCalibrations { name: lane.name.clone(), common: common.clone(), own: calibrations };
            check_class(config, lane, &judged)?;
            check_frame(config, lane, &judged)?;
            lanes.push(judged);
        }
        let files = config.calibrations.iter().zip(&common).map(|(path, (_, digest))| (path, *digest, None)).chain(own);
        approvals.extend(approved(&keys, by_lanes(files)).map_err(named("line.approved_by"))?);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if config.threads > cores {
            let threads = config.threads;
            log::warn!(
                "line.threads is {threads}, and this machine has {cores}: a frame will not be faster, and all else waits"
            );
        }
        let inspector = ModelInspector::with_lanes(&bundle, lanes, config.threads)?;
        Ok(Judges { inspector, bundle: bundle.digest, approvals })
    }
}

fn open_calibrations(bundle: &Bundle, files: &[PathBuf]) -> Result<Vec<(Calibration, Digest)>> {
    let calibrations = files.iter().map(|path| Calibration::open(path)).collect::<Result<Vec<_>>>()?;
    calibrations.iter().try_for_each(|(calibration, _)| calibration.check_bundle(bundle))?;
    Ok(calibrations)
}

/// The key that says what a lane's product is.
fn class_key(lane: &LaneConfig) -> String {
    if lane.name.is_some() { lane.key("class") } else { "line.class".into() }
}

/// The keys of those who let bundles and calibrations into production; where the configuration names none nobody is asked.
fn approvers(config: &LineConfig) -> Result<Vec<Verifier>> {
    config.approved_by.iter().map(|path| Verifier::open(path)).collect()
}

/// A file, and the lanes whose own it is.
type OfLanes<'a> = (&'a PathBuf, Digest, Vec<&'a str>);

/// Who let these files into production.
fn approved<'a>(keys: &[Verifier], files: impl IntoIterator<Item = OfLanes<'a>>) -> Result<Vec<Approval>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    files.into_iter().map(|(path, digest, lanes)| Approval::check(path, digest, &lanes, keys)).collect()
}

/// Each calibration once with all lanes that go by it alone, since one note is for all of them.
fn by_lanes<'a>(calibrations: impl Iterator<Item = (&'a PathBuf, Digest, Option<&'a str>)>) -> Vec<OfLanes<'a>> {
    let mut files = Vec::<OfLanes>::new();
    for (path, digest, lane) in calibrations {
        match files.iter_mut().find(|(other, _, lanes)| is_same(other, path) && lane.is_some() && !lanes.is_empty()) {
            Some((_, _, lanes)) => lanes.extend(lane),
            None => files.push((path, digest, Vec::from_iter(lane))),
        }
    }
    files
}

fn check_class(config: &LineConfig, lane: &LaneConfig, calibrations: &LaneCalibrations) -> Result<()> {
    let calibrated = calibrations.common.iter().chain(&calibrations.own);
    let calibrated = calibrated.map(|(calibration, _)| calibration.class.as_str()).collect::<Vec<_>>();
    let class = &lane.class;
    if calibrated.contains(&class.as_str()) {
        return Ok(());
    }
    let error = Error::usage(format!("no calibration is of the class '{class}'"))
        .because(format!("they are of: {}", calibrated.join(", ")))
        .advise(format!("make one with: hgad calibrate --model BUNDLE --class {class} --images DIR --out FILE"));
    Err(config.blame("line.calibration", error))
}

/// Whether what the lane sees is as large as what it was calibrated on, as far as the file says how large frames are. A camera
/// that does not say what its frames show may show any product; a lane has one.
fn check_frame(config: &LineConfig, lane: &LaneConfig, calibrations: &LaneCalibrations) -> Result<()> {
    let Some(frame) = config.camera.frame() else { return Ok(()) };
    let size = lane.region.map_or(Ok(frame), |region| region.size(frame));
    let size = size.map_err(|why| config.blame(&lane.key("width"), Error::usage(why)))?;
    let size = LaneView::of(config, lane)?.gate.map_or(size, |gate| gate.view_size());
    let is_of_class = |(calibration, _): &&(Calibration, Digest)| calibration.class == lane.class;
    let own = calibrations.own.iter().find(is_of_class);
    let key = match &lane.gate {
        Some(gate) => format!("{}.crop_mm", gate.section),
        None if lane.region.is_some() => lane.key("width"),
        None => "camera.width".into(),
    };
    let mut used = calibrations.common.iter().filter(|calibration| lane.name.is_none() || is_of_class(calibration));
    let fits = match own {
        Some((own, _)) => own.check_frame(size),
        None => used.try_for_each(|(calibration, _)| calibration.check_frame(size)),
    };
    fits.map_err(|error| config.blame(&key, error))
}

/// The key to blame for a camera that cannot be opened; its section where several keys could be wrong.
fn camera_key(config: &CameraConfig) -> &'static str {
    match config {
        CameraConfig::Folder(_) => "camera.path",
        CameraConfig::V4l2(settings) if !settings.device.exists() => "camera.device",
        // What it offers depends on its size, format and rate together.
        CameraConfig::V4l2(_) => "camera",
        CameraConfig::Pipe(_) => "camera.command",
        CameraConfig::Synthetic(_) => "camera.kind",
    }
}

/// The key to blame for an audit that cannot be opened and does not know it; its section where several could be wrong.
fn audit_key(config: &AuditConfig) -> &'static str {
    match &config.signing {
        None => "audit.file",
        // The file, or the copy of its newest checkpoint that it is held against.
        Some(_) => "audit",
    }
}

fn open_sensors(config: &LineConfig) -> Result<Sensors> {
    let devices = &config.devices;
    let open = |section: &str, setting: &InputConfig| open_input(config, section, setting);
    let (mut photo_eyes, mut confirms) = (Vec::new(), Vec::new());
    if let Some(setting) = &devices.photo_eye {
        photo_eyes.push((None, open("photo_eye", setting)?));
    }
    for (k, lane) in config.lanes.iter().enumerate() {
        if let Some(setting) = &lane.photo_eye {
            photo_eyes.push((Some(Lane(k)), open(&lane.key("photo_eye"), setting)?));
        }
        if let Some(setting) = &lane.confirm {
            confirms.push((Lane(k), open(&lane.key("confirm"), setting)?));
        }
    }
    Ok(Sensors {
        photo_eyes,
        encoder: devices.encoder.as_ref().map(|setting| open_encoder(config, setting)).transpose()?,
        confirms,
        bin: devices.bin.as_ref().map(|setting| open("bin", setting)).transpose()?,
    })
}

/// Opens the input of that section.
pub(crate) fn open_input(config: &LineConfig, section: &str, setting: &InputConfig) -> Result<Box<dyn Input>> {
    inputs::open(section, setting).map_err(|error| config.blame(section, error))
}

/// Opens what measures the belt.
pub(crate) fn open_encoder(config: &LineConfig, setting: &EncoderSetting) -> Result<Measure> {
    let encoder = encoder::open("belt", &setting.config).map_err(|error| config.blame("belt", error))?;
    Ok(Measure { encoder, per_count: setting.per_count })
}

fn open_signals(config: &LineConfig) -> Result<Signals> {
    let devices = &config.devices;
    let output = |section: &'static str, setting: Option<&OutputConfig>, role| {
        setting.map(|setting| open_output(config, section, setting, role)).transpose()
    };
    let heartbeat = devices.heartbeat.as_ref();
    let beats = output("heartbeat", heartbeat.map(|setting| &setting.output), Role::Heartbeat)?;
    Ok(Signals {
        stop_line: output("stop_line", devices.stop_line.as_ref(), Role::StopLine)?,
        alarm: output("alarm", devices.alarm.as_ref(), Role::Alarm)?,
        heartbeat: beats.zip(heartbeat.map(|setting| setting.period)),
    })
}

/// Opens the output of that section, which is at its role's safe level afterwards.
pub(crate) fn open_output(
    config: &LineConfig,
    section: &str,
    setting: &OutputConfig,
    role: Role,
) -> Result<Box<dyn Output>> {
    let key = match setting {
        OutputConfig::Serial(_) => format!("{section}.port"),
        // The chip or the server, or what it is asked for.
        OutputConfig::Gpio(_) | OutputConfig::Modbus(_) => section.to_owned(),
        OutputConfig::None => format!("{section}.kind"),
    };
    outputs::open(setting, role).map_err(|error| config.blame(&key, error))
}

/// Opens the line's camera.
pub(crate) fn camera_of(config: &LineConfig) -> Result<Box<dyn Camera>> {
    open_camera(&config.camera).map_err(|error| config.blame(camera_key(&config.camera), error))
}

/// Opens the camera that a configuration names.
pub(crate) fn open_camera(config: &CameraConfig) -> Result<Box<dyn Camera>> {
    Ok(match config {
        CameraConfig::Folder(folder) => Box::new(FolderCamera::open(folder)?),
        CameraConfig::V4l2(settings) => {
            Box::new(V4l2Camera::open(&settings.device.display().to_string(), settings.clone())?)
        }
        CameraConfig::Pipe(settings) => Box::new(PipeCamera::open(settings.clone())?),
        CameraConfig::Synthetic(synthetic) => {
            let conveyor = Conveyor { seed: synthetic.seed, defect_share: synthetic.defect_share };
            Box::new(SyntheticCamera::new(conveyor, synthetic.parts, Some(synthetic.rate)))
        }
    })
}
