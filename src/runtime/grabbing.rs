//! The camera's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::LaneView;
use super::condition::Condition;
use super::conductor::Message;
use super::inspection::Waiting;
use super::lately::Lately;
use super::slot::{Slot, Turn};
use super::summary::Ending;
use crate::camera::{BrokenFrame, Camera, Frame, Grab};
use crate::health::Health;
use crate::line::{Device, Event, Happening, Lane, Length, Showing, Sighting, Span, Ticket};
use crate::picture;
use crate::presence::Gate;
use crate::time::Monotonic;
use crate::{Error, Result, panic_text};

/// How long one grab may take: the camera's thread notices the end of the run that late.
const PATIENCE: Duration = Duration::from_millis(100);
/// The pause after a camera's first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Nobody listens to the camera any more.
struct RunIsOver;

/// The camera's thread at work.
pub(super) struct Grabbing<'a> {
    pub(super) camera: Box<dyn Camera>,
    /// What each lane sees of a frame.
    pub(super) views: Vec<LaneView>,
    pub(super) slot: &'a Slot<Waiting>,
    pub(super) messages: &'a SyncSender<Message>,
    pub(super) stop: &'a AtomicBool,
    /// How the camera does.
    pub(super) health: &'a Health,
    /// Frames that are still wanted.
    pub(super) left: Option<u64>,
    /// How each lane's gate does; of a lane without one, nothing is told.
    pub(super) gates: Vec<Condition>,
    /// The last pictures, where gates are looked at.
    pub(super) lately: Lately,
}

/// How a gate is told of, as a device of the lane.
pub(super) fn gate_condition(own: Option<Lane>) -> Condition {
    Condition::of(Device::Gate(own))
}

impl Grabbing<'_> {
    /// Hands frames on until the camera's end, the last frame that is wanted, or the end of the run.
    pub(super) fn work(&mut self) -> Ending {
        let mut next = 0;
        let mut pause = FIRST_PAUSE;
        while !self.stop.load(Ordering::Relaxed) {
            if self.left == Some(0) {
                return Ending::Enough;
            }
            let grabbed = self.health.watch(|| grab(&mut *self.camera));
            if let Ok(Grab::Frame(_) | Grab::Broken(_)) = grabbed {
                self.health.works();
                pause = FIRST_PAUSE;
            }
            let sent = match grabbed {
                Ok(Grab::End) => return Ending::CameraEnded,
                Ok(Grab::Timeout) => Ok(()),
                Ok(Grab::Frame(frame)) => self.frame(&mut next, frame),
                Ok(Grab::Broken(broken)) => self.broken(&mut next, broken),
                Err(error) => {
                    if self.health.failed(error.line()) {
                        log::error!("{}", error.report());
                    }
                    self.rest(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    Ok(())
                }
            };
            if sent.is_err() {
                return Ending::Stopped;
            }
        }
        Ending::Stopped
    }

    fn frame(&mut self, next: &mut u64, frame: Frame) -> Result<(), RunIsOver> {
        self.count();
        if let [LaneView { region: None, gate: None, .. }] = self.views.as_slice() {
            let sighting = self.sighting(next, Lane(0), &frame);
            self.hand_on(sighting, Ok(frame))?;
        } else {
            let is_frozen = self.is_frozen(&frame);
            for lane in 0..self.views.len() {
                let sighting = self.sighting(next, Lane(lane), &frame);
                match (self.views[lane].gate.take(), self.views[lane].region) {
                    (Some(mut gate), _) => {
                        let told = self.show(next, sighting, &mut gate, &frame, is_frozen);
                        self.views[lane].gate = Some(gate);
                        told?;
                    }
                    (None, Some(region)) => self.hand_on(sighting, region.of(&frame))?,
                    (None, None) => self.hand_on(sighting, Ok(frame.clone()))?,
                }
            }
        }
        self.slot.wait_for_room();
        Ok(())
    }

    fn sighting(&self, next: &mut u64, lane: Lane, frame: &Frame) -> Sighting {
        let Frame { number, captured, stamp, .. } = *frame;
        let class = frame.product.as_ref().unwrap_or(&self.views[lane.0].class).clone();
        Sighting { ticket: counted(next), lane, frame: number, captured, stamp, origin: frame.origin.clone(), class }
    }

    /// Hands on what a lane sees, or why it sees nothing.
    fn hand_on(&self, sighting: Sighting, seen: Result<Frame, String>) -> Result<(), RunIsOver> {
        self.tell(match seen {
            Ok(frame) => {
                let class = sighting.class.clone();
                self.slot.put(sighting.ticket, sighting.lane, Turn::UntilNewer, Waiting { class, frame });
                Happening::Captured(sighting)
            }
            Err(why) => Happening::Broken(sighting, why),
        })
    }

    /// Whether a live camera sends a picture again: an empty gate would look empty for ever.
    fn is_frozen(&mut self, frame: &Frame) -> bool {
        let has_gate = self.views.iter().any(|view| view.gate.is_some());
        has_gate && self.camera.is_live() && self.lately.came(picture::fingerprint(&frame.image))
    }

    /// Tells what a lane's gate shows, with the picture of each part that is whole in it.
    fn show(
        &mut self,
        next: &mut u64,
        sighting: Sighting,
        gate: &mut Gate,
        frame: &Frame,
        is_frozen: bool,
    ) -> Result<(), RunIsOver> {
        let found = match is_frozen {
            true => Err("the camera sends the same picture again".to_owned()),
            false => gate.parts(frame),
        };
        let health = found.as_ref().map(|_| ()).map_err(Clone::clone);
        if let Some(what) = self.gates[sighting.lane.0].follow(health) {
            self.tell(what)?;
        }
        let found = match found {
            Ok(found) => found,
            Err(why) => return self.tell(Happening::Broken(sighting, why)),
        };
        let length = |pixels: u32| Length::from_mm(gate.mm(pixels));
        let span = |(segment, picture): (crate::presence::Segment, Option<Frame>)| {
            let view = picture.map(|frame| {
                let (ticket, class) = (counted(next), sighting.class.clone());
                self.slot.put(ticket, sighting.lane, Turn::Kept, Waiting { class, frame });
                ticket
            });
            let (from, to) = (length(segment.from), length(segment.to));
            Span { from, to, enters: segment.enters, leaves: segment.leaves, view }
        };
        let spans = found.into_iter().map(span).collect();
        self.tell(Happening::Showed(
            sighting,
            Showing { length: length(gate.length()), cell: length(gate.cell()), spans },
        ))
    }

    fn broken(&mut self, next: &mut u64, broken: BrokenFrame) -> Result<(), RunIsOver> {
        self.count();
        let frame = Arc::new(broken);
        // A gate that is shown nothing sees no part: that is a fault of it for as long as it lasts.
        for lane in 0..self.views.len() {
            let has_gate = self.views[lane].gate.is_some();
            let news = has_gate.then(|| self.gates[lane].follow(Err(frame.why.clone()))).flatten();
            news.map_or(Ok(()), |what| self.tell(what))?;
        }
        for (lane, view) in self.views.iter().enumerate() {
            let ticket = counted(next);
            let sighting = Sighting {
                ticket,
                lane: Lane(lane),
                frame: frame.number,
                captured: frame.captured,
                stamp: frame.stamp,
                origin: frame.origin.clone(),
                class: view.class.clone(),
            };
            let event = Event { at: Monotonic::now(), what: Happening::Broken(sighting, frame.why.clone()) };
            self.messages.send(Message::Broken { ticket, event, frame: frame.clone() }).map_err(|_| RunIsOver)?;
        }
        Ok(())
    }

    fn count(&mut self) {
        self.left = self.left.map(|left| left - 1);
    }

    fn tell(&self, what: Happening) -> Result<(), RunIsOver> {
        self.messages.send(Message::Event(Event { at: Monotonic::now(), what })).map_err(|_| RunIsOver)
    }

    /// Sleeps, but not over the end of the run.
    fn rest(&self, pause: Duration) {
        let end = Monotonic::now() + pause;
        while !self.stop.load(Ordering::Relaxed) && Monotonic::now() < end {
            std::thread::sleep(end.saturating_since(Monotonic::now()).min(PATIENCE));
        }
    }
}

/// A panic of a driver is a failure of the camera like any other.
fn grab(camera: &mut dyn Camera) -> Result<Grab> {
    let name = camera.name().to_owned();
    catch_unwind(AssertUnwindSafe(|| camera.grab(PATIENCE))).unwrap_or_else(|panic| {
        Err(Error::device(format!("camera {name} panicked")).because(panic_text(&*panic).to_owned()))
    })
}

fn counted(next: &mut u64) -> Ticket {
    *next += 1;
    Ticket(*next - 1)
}
