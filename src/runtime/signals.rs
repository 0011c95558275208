//! What the line is told beside rejects: to stop, that something is wrong, that this program lives.

use std::collections::BTreeSet;
use std::time::Duration;

use super::condition::Condition;
use crate::Result;
use crate::line::{Alarm, Device, Happening};
use crate::outputs::Output;
use crate::outputs::firing::Firing;
use crate::outputs::heartbeat::{Heartbeat, Rhythm};
use crate::time::Monotonic;

/// The outputs beside the ejector, before their threads run. Each is at its safe level: stop-line and alarm are active.
#[derive(Default)]
pub struct Signals {
    /// Stops the belt while it is active.
    pub stop_line: Option<Box<dyn Output>>,
    /// Calls a person while it is active.
    pub alarm: Option<Box<dyn Output>>,
    /// Changes for as long as the line is inspected, with this period.
    pub heartbeat: Option<(Box<dyn Output>, Duration)>,
}

/// The outputs beside the ejector at work.
pub(super) struct Beacons {
    levels: Vec<(Device, Firing, Condition)>,
    heartbeat: Option<(Heartbeat, Condition)>,
    raised: BTreeSet<Alarm>,
    is_stopped: bool,
}

impl Beacons {
    /// The line is armed: the belt may run. `prepare` asks for real-time scheduling.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(signals: Signals, prepare: fn()) -> Result<Self> {
        let mut levels = Vec::new();
        for (device, output) in [(Device::StopOutput, signals.stop_line), (Device::AlarmOutput, signals.alarm)] {
            if let Some(output) = output {
                let firing = Firing::start(output, Duration::ZERO, || {}, |_| {})?;
                firing.hold(false);
                levels.push((device, firing, Condition::of(device)));
            }
        }
        let heartbeat = signals.heartbeat.map(|(output, period)| {
            let heart = Heartbeat::start(output, Rhythm::new(period, period / 2), prepare)?;
            Ok((heart, Condition::of(Device::Heartbeat)))
        });
        Ok(Beacons { levels, heartbeat: heartbeat.transpose()?, raised: BTreeSet::new(), is_stopped: false })
    }

    fn hold(&self, device: Device, active: bool) {
        self.levels.iter().filter(|(other, ..)| *other == device).for_each(|(_, firing, _)| firing.hold(active));
    }

    /// The belt has to stop, and stays so: the output keeps that level when the program ends.
    pub(super) fn stop_line(&mut self) {
        self.is_stopped = true;
        self.hold(Device::StopOutput, true);
    }

    pub(super) fn alarm(&mut self, alarm: Alarm, is_raised: bool) {
        if is_raised {
            self.raised.insert(alarm);
        } else {
            self.raised.remove(&alarm);
        }
        self.hold(Device::AlarmOutput, !self.raised.is_empty());
    }

    /// The conductor lives. The heart stands while parts could go by unseen or bad ones undone: when the line is stopped, or a
    /// device that sees, measures, ejects or writes down has failed.
    pub(super) fn beat(&self) {
        let is_blinding = |alarm: &Alarm| match alarm {
            Alarm::Faulty(device) => matches!(
                device,
                Device::Camera
                    | Device::PhotoEye(_)
                    | Device::Gate(_)
                    | Device::Encoder
                    | Device::Output(_)
                    | Device::Audit
            ),
            _ => false,
        };
        let is_well = !self.is_stopped && !self.raised.iter().any(is_blinding);
        if let Some((heartbeat, _)) = &self.heartbeat {
            heartbeat.beat(is_well);
        }
    }

    /// How the outputs do, as far as that is new.
    pub(super) fn news(&mut self, now: Monotonic) -> Vec<Happening> {
        let levels = self.levels.iter_mut().filter_map(|(_, firing, condition)| condition.follow(firing.health(now)));
        let mut news = levels.collect::<Vec<_>>();
        if let Some((heartbeat, condition)) = &mut self.heartbeat {
            news.extend(condition.follow(heartbeat.health(now)));
        }
        news
    }

    /// Brings all of them to their safe levels; what could not be brought there is told.
    pub(super) fn end(self) -> Vec<(Device, String)> {
        let heart = self.heartbeat.map(|(heartbeat, _)| (Device::Heartbeat, heartbeat.end()));
        let levels = self.levels.into_iter().map(|(device, firing, _)| (device, firing.end()));
        levels.chain(heart).filter_map(|(device, ended)| Some((device, ended.err()?))).collect()
    }
}
