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
use crate::watchdog::Watchdog;
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
    /// Is shown every call into the camera's driver.
    pub(super) watchdog: &'a Watchdog,
    /// Frames that are still wanted.
    pub(super) left: Option<u64>,
    pub(super) trouble: Trouble,
}

/// How the camera does since its last frame.
pub(super) struct Trouble {
    /// Whether it failed or hung.
    failed: bool,
    /// The pause after the next failure.
    pause: Duration,
}

impl Default for Trouble {
    fn default() -> Self {
        Trouble { failed: false, pause: FIRST_PAUSE }
    }
}

impl Grabbing<'_> {
    /// Hands frames on until the camera's end, the last frame that is wanted, or the end of the run. Says which it was
    /// not: `true` where the run was ended from outside.
    pub(super) fn work(mut self) -> bool {
        let mut next = 0;
        while !self.stop.load(Ordering::Relaxed) {
            if self.left == Some(0) {
                return false;
            }
            let (grabbed, hung) = self.watchdog.watch(|| grab(&mut *self.camera));
            self.trouble.failed |= hung;
            let sent = match grabbed {
                Ok(Grab::End) => return false,
                Ok(Grab::Timeout) => Ok(()),
                Ok(Grab::Frame(frame)) => {
                    self.recovered();
                    self.frame(counted(&mut next), frame)
                }
                Ok(Grab::Broken(broken)) => {
                    let sighting = Sighting {
                        ticket: counted(&mut next),
                        frame: broken.number,
                        captured: broken.captured,
                        stamp: broken.stamp,
                        origin: broken.origin,
                        class: self.class.clone(),
                    };
                    self.recovered();
                    self.count();
                    self.tell(Happening::Broken(sighting, broken.why))
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.trouble.failed, true) {
                        log::error!("{}", error.report());
                    }
                    let sent = self.tell(Happening::Fault(Device::Camera, error.line()));
                    self.rest(self.trouble.pause);
                    self.trouble.pause = (self.trouble.pause * 2).min(LONGEST_PAUSE);
                    sent
                }
            };
            if sent.is_err() {
                return true;
            }
        }
        true
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
    fn recovered(&mut self) {
        if std::mem::take(&mut self.trouble).failed {
            // Should the run be over, the frame itself finds out.
            let _ = self.tell(Happening::Recovered(Device::Camera));
        }
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
