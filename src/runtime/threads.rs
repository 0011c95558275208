//! The threads of a line that is armed, from its ejectors to its camera.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;

use super::condition::Condition;
use super::conductor::Message;
use super::control::Control;
use super::grabbing::{Grabbing, gate_condition};
use super::inspection::{Waiting, judge};
use super::lately::Lately;
use super::observer::Gallery;
use super::sensing::{self, Sensor};
use super::signals::Beacons;
use super::slot::Slot;
use super::stage::{Stage, outcome};
use super::{Inspect, LaneView, Observer, Pace, Sensors, Signals, realtime};
use crate::Result;
use crate::camera::{Camera, Counted, CountsReader};
use crate::health::Health;
use crate::line::{Device, Event, Happening, Rules};
use crate::outputs::Output;
use crate::outputs::firing::{self, Firing};
use crate::time::Monotonic;

/// What works on a thread of its own, opened and ready.
pub(super) struct Workers {
    pub(super) views: Vec<LaneView>,
    pub(super) camera: Box<dyn Camera>,
    pub(super) inspector: Box<dyn Inspect>,
    /// Each lane's ejector.
    pub(super) outputs: Vec<Box<dyn Output>>,
    pub(super) sensors: Sensors,
    pub(super) signals: Signals,
    pub(super) observer: Option<Observer>,
    pub(super) pace: Pace,
    /// The camera ends after so many frames.
    pub(super) frames: Option<u64>,
    /// Whether real-time scheduling and locked memory are asked for.
    pub(super) realtime: bool,
}

/// A lane's ejector.
pub(super) struct Ejecting {
    pub(super) firing: Firing,
    pub(super) condition: Condition,
}

/// The threads, and what is between them.
pub(super) struct Threads {
    /// Each lane's.
    pub(super) ejectors: Vec<Ejecting>,
    pub(super) beacons: Beacons,
    pub(super) gallery: Option<Gallery>,
    pub(super) sensors: Vec<Sensor>,
    pub(super) grab_stop: Arc<AtomicBool>,
    pub(super) slot: Arc<Slot<Waiting>>,
    pub(super) inspection: Stage,
    pub(super) inspection_health: Arc<Health>,
    pub(super) camera: Stage,
    pub(super) camera_counts: CountsReader,
    pub(super) camera_health: Arc<Health>,
    pub(super) control: Option<Control>,
    pub(super) control_stop: Arc<AtomicBool>,
}

impl Threads {
    /// Starts all of them, the camera's behind those that its frames go to, and that which listens beside `audit` last.
    ///
    /// # Errors
    ///
    /// The system gives no thread. Then outputs are at their safe levels.
    pub(super) fn start(workers: Workers, rules: &Rules, audit: &Path, messages: SyncSender<Message>) -> Result<Self> {
        if workers.realtime {
            realtime::lock_memory_or_say();
        }
        let prepare = if workers.realtime { realtime::schedule_first_or_say } else { || {} };
        let ejectors = workers.outputs.into_iter().zip(rules.each_lane());
        let ejectors = ejectors.map(|(output, (lane, own))| {
            let firing = Firing::start(output, own.ejector.gap, prepare, firing_reports(messages.clone()))?;
            Ok(Ejecting { firing, condition: Condition::of(Device::Output(rules.own(lane))) })
        });
        let ejectors = ejectors.collect::<Result<Vec<_>>>()?;
        let beacons = Beacons::start(workers.signals, prepare)?;
        let gallery = workers.observer.map(|observer| Gallery::open(observer, workers.pace)).transpose()?;
        let (grab_stop, control_stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let camera_health = Arc::new(Health::default());
        let slot = Arc::new(Slot::new(workers.pace, workers.views.len()));
        let sensors = sensing::start(workers.sensors, rules, &messages, &grab_stop)?;
        let lanes = rules.each_lane().map(|(lane, _)| rules.own(lane)).collect::<Vec<_>>();
        let gates = lanes.iter().map(|lane| gate_condition(*lane)).collect();
        let inspection_health = Arc::new(Health::of_inspection());
        let inspection = {
            let (inspector, slot, messages) = (workers.inspector, slot.clone(), messages.clone());
            let health = inspection_health.clone();
            Stage::start("inspection", move || {
                let ended = outcome(|| judge(inspector, &health, &lanes, &slot, &messages));
                slot.close();
                // Nobody listens any more when the run was cut short.
                let _ = messages.send(Message::InspectionDone(ended));
            })?
        };
        let camera = Counted::new(workers.camera);
        let camera_counts = camera.reader();
        let camera = {
            let (camera, views, left, messages) = (Box::new(camera), workers.views, workers.frames, messages.clone());
            let (slot, stop, health) = (slot.clone(), grab_stop.clone(), camera_health.clone());
            Stage::start("camera", move || {
                let (messages, stop, health) = (&messages, &*stop, &*health);
                let (slot, lately) = (&*slot, Lately::of(true));
                let mut grabbing = Grabbing { camera, views, slot, messages, stop, health, left, gates, lately };
                let ended = outcome(|| grabbing.work());
                slot.close();
                let _ = messages.send(Message::CameraDone(ended));
                // Closing the device may hang, and nobody waits for that.
                drop(grabbing);
            })?
        };
        let control = Control::start(audit, &messages, &control_stop);
        Ok(Threads {
            ejectors,
            beacons,
            gallery,
            sensors,
            grab_stop,
            slot,
            inspection,
            inspection_health,
            camera,
            camera_counts,
            camera_health,
            control,
            control_stop,
        })
    }
}

/// Never waits: whoever holds the ejector on must come back to release it, also when nobody takes the reports. A part whose
/// report finds no room gets its fate by the rule that no report means not rejected.
fn firing_reports(messages: SyncSender<Message>) -> impl FnMut(firing::Outcome) + Send + 'static {
    move |(part, result)| {
        let what = Happening::Fired(part, result);
        let _ = messages.try_send(Message::Event(Event { at: Monotonic::now(), what }));
    }
}
