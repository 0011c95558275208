//! The camera's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::conductor::Message;
use super::inspection::Waiting;
use super::slot::Slot;
use super::summary::Ending;
use crate::camera::{BrokenFrame, Camera, Frame, Grab};
use crate::health::Health;
use crate::line::{Event, Happening, Sighting, Ticket};
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
    pub(super) class: String,
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
                Ok(Grab::Frame(frame)) => self.frame(counted(&mut next), frame),
                Ok(Grab::Broken(broken)) => {
                    self.count();
                    self.broken(counted(&mut next), broken)
                }
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

    fn frame(&mut self, ticket: Ticket, frame: Frame) -> Result<(), RunIsOver> {
        let class = frame.product.clone().unwrap_or_else(|| self.class.clone());
        let sighting = Sighting {
            ticket,
            frame: frame.number,
            captured: frame.captured,
            stamp: frame.stamp,
            origin: frame.origin.clone(),
            class: class.clone(),
        };
        self.count();
        self.slot.put(ticket, Waiting { class, frame });
        self.tell(Happening::Captured(sighting))?;
        self.slot.wait_for_room();
        Ok(())
    }

    fn broken(&self, ticket: Ticket, frame: BrokenFrame) -> Result<(), RunIsOver> {
        let sighting = Sighting {
            ticket,
            frame: frame.number,
            captured: frame.captured,
            stamp: frame.stamp,
            origin: frame.origin.clone(),
            class: self.class.clone(),
        };
        let what = Happening::Broken(sighting, frame.why.clone());
        let event = Event { at: Monotonic::now(), what };
        self.messages.send(Message::Broken { ticket, event, frame: Arc::new(frame) }).map_err(|_| RunIsOver)
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
