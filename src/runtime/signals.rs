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
        self.change(|beacons| beacons.is_stopped = true);
    }

    /// An alarm begins or is over. The belt stands for as long as parts could go by unseen, and may run again by itself.
    pub(super) fn alarm(&mut self, alarm: Alarm, is_raised: bool) {
        self.change(|beacons| {
            if is_raised {
                beacons.raised.insert(alarm);
            } else {
                beacons.raised.remove(&alarm);
            }
        });
        self.hold(Device::AlarmOutput, !self.raised.is_empty());
    }

    /// Holds the belt, or lets it go, where that is new.
    fn change(&mut self, change: impl FnOnce(&mut Self)) {
        let must_stand = |beacons: &Self| beacons.is_stopped || beacons.is_blind();
        let stood = must_stand(self);
        change(self);
        let stands = must_stand(self);
        if stands == stood {
            return;
        }
        self.hold(Device::StopOutput, stands);
        match stands {
            // Why the line stops for good has been said.
            true if self.is_stopped => {}
            // One that fails is there again by itself. One that is not believed proves itself only while the belt moves.
            true if self.raised.contains(&Alarm::Faulty(Device::Encoder)) => log::warn!(
                "the line is not inspected, and the belt must stand until that is over: clear it between camera and ejector; an encoder \
                 that slipped is believed again when the belt was moved by a part's length"
            ),
            true => log::warn!("the line is not inspected, and the belt must stand until that is over"),
            false => log::info!("the line is inspected again: the belt may run"),
        }
    }

    /// Whether parts could go by unseen or bad ones undone, since something that sees, measures, judges or ejects has failed. What the audit's
    /// troubles are to do is said by `when_full`: a picture, a digest or a witness that is late stops no belt.
    fn is_blind(&self) -> bool {
        let is_blinding = |alarm: &Alarm| match alarm {
            Alarm::Faulty(device) => matches!(
                device,
                Device::Camera
                    | Device::PhotoEye(_)
                    | Device::Gate(_)
                    | Device::Encoder
                    | Device::Output(_)
                    | Device::Inspection
            ),
            _ => false,
        };
        self.raised.iter().any(is_blinding)
    }

    /// The conductor lives. The heart stands while the belt must.
    pub(super) fn beat(&self) {
        if let Some((heartbeat, _)) = &self.heartbeat {
            heartbeat.beat(!self.is_stopped && !self.is_blind());
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
