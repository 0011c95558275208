//! The camera's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::LaneView;
use super::conductor::Message;
use super::inspection::Waiting;
use super::slot::Slot;
use super::summary::Ending;
use crate::camera::{BrokenFrame, Camera, Frame, Grab};
use crate::health::Health;
use crate::line::{Event, Happening, Lane, Sighting, Ticket};
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
        let Frame { number, captured, stamp, .. } = frame;
        let (origin, product) = (frame.origin.clone(), frame.product.clone());
        for (lane, seen) in self.seen(frame).into_iter().enumerate() {
            let class = product.as_ref().unwrap_or(&self.views[lane].class).clone();
            let (ticket, lane, origin) = (counted(next), Lane(lane), origin.clone());
            let sighting = Sighting { ticket, lane, frame: number, captured, stamp, origin, class: class.clone() };
            self.tell(match seen {
                Ok(frame) => {
                    self.slot.put(ticket, lane, Waiting { class, frame });
                    Happening::Captured(sighting)
                }
                Err(why) => Happening::Broken(sighting, why),
            })?;
        }
        self.slot.wait_for_room();
        Ok(())
    }

    /// What each lane sees of the frame, or why it sees nothing.
    fn seen(&self, frame: Frame) -> Vec<Result<Frame, String>> {
        if let [LaneView { region: None, .. }] = self.views.as_slice() {
            return vec![Ok(frame)];
        }
        let of_lane = |view: &LaneView| view.region.map_or_else(|| Ok(frame.clone()), |region| region.of(&frame));
        self.views.iter().map(of_lane).collect()
    }

    fn broken(&mut self, next: &mut u64, broken: BrokenFrame) -> Result<(), RunIsOver> {
        self.count();
        let frame = Arc::new(broken);
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
