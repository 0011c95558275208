//! The camera's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::conductor::Message;
use super::inspection::Waiting;
use super::slot::Slot;
use crate::camera::{Camera, Frame, Grab};
use crate::line::{Device, Event, Happening, Sighting, Ticket};
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
    /// Frames that are still wanted.
    pub(super) left: Option<u64>,
}

impl Grabbing<'_> {
    /// Hands frames on until the camera's end, the last frame that is wanted, or the end of the run. Says which it was
    /// not: `true` where the run was ended from outside.
    pub(super) fn work(mut self) -> bool {
        let mut next = 0;
        let mut pause = FIRST_PAUSE;
        while !self.stop.load(Ordering::Relaxed) {
            if self.left == Some(0) {
                return false;
            }
            let sent = match self.grab() {
                Ok(Grab::End) => return false,
                Ok(Grab::Timeout) => Ok(()),
                Ok(Grab::Frame(frame)) => {
                    pause = self.recovered(pause);
                    self.frame(counted(&mut next), frame)
                }
                Ok(Grab::Broken(broken)) => {
                    let sighting = Sighting {
                        ticket: counted(&mut next),
                        frame: broken.number,
                        captured: broken.captured,
                        origin: broken.origin,
                        class: self.class.clone(),
                    };
                    pause = self.recovered(pause);
                    self.count();
                    self.tell(Happening::Broken(sighting, broken.why))
                }
                Err(error) => {
                    let sent = self.tell(Happening::Fault(Device::Camera, error.report()));
                    self.rest(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    sent
                }
            };
            if sent.is_err() {
                return true;
            }
        }
        true
    }

    /// A panic of a driver is a failure of the camera like any other.
    fn grab(&mut self) -> Result<Grab> {
        let name = self.camera.name().to_owned();
        catch_unwind(AssertUnwindSafe(|| self.camera.grab(PATIENCE))).unwrap_or_else(|panic| {
            Err(Error::device(format!("camera {name} panicked")).because(panic_text(&*panic).to_owned()))
        })
    }

    fn frame(&mut self, ticket: Ticket, frame: Frame) -> Result<(), RunIsOver> {
        let class = frame.product.clone().unwrap_or_else(|| self.class.clone());
        let sighting = Sighting {
            ticket,
            frame: frame.number,
            captured: frame.captured,
            origin: frame.origin.clone(),
            class: class.clone(),
        };
        self.count();
        self.tell(Happening::Captured(sighting))?;
        match self.slot.put(Waiting { ticket, class, frame }) {
            Some(skipped) => self.tell(Happening::Skipped(skipped.ticket)),
            None => Ok(()),
        }
    }

    fn count(&mut self) {
        self.left = self.left.map(|left| left - 1);
    }

    /// A frame after a failure says that the camera is back.
    fn recovered(&self, pause: Duration) -> Duration {
        if pause > FIRST_PAUSE {
            // Should the run be over, the frame itself finds out.
            let _ = self.tell(Happening::Recovered(Device::Camera));
        }
        FIRST_PAUSE
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

fn counted(next: &mut u64) -> Ticket {
    *next += 1;
    Ticket(*next - 1)
}
