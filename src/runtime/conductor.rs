//! The run itself: events in, actions carried out, until the last part has its fate.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::grabbing::Grabbing;
use super::inspection::judge;
use super::ledger::Ledger;
use super::observer::{Finished, Gallery, Picture};
use super::slot::Slot;
use super::summary::{Ending, Summary, Tally};
use super::{Wiring, realtime};
use crate::audit::{AuditLog, Body, PartContext};
use crate::line::{Action, Device, Event, Happening, LineCore, PartRecord, Rules, Ticket};
use crate::outputs::firing::{self, Firing, Order};
use crate::time::Monotonic;
use crate::{Error, Result};

/// Messages that may wait for the core.
const ROOM: usize = 1024;
/// How often the end of the run is looked for while nothing happens.
const GLANCE: Duration = Duration::from_millis(50);
/// How long beyond the last deadline an ordered end may take.
const GRACE: Duration = Duration::from_secs(3);
/// How long the inspection may take to end once no part waits for it.
const LAST_WORD: Duration = Duration::from_millis(200);

/// What the threads tell the core.
pub(super) enum Message {
    Event(Event),
    Inspected { ticket: Ticket, event: Event, picture: Box<Picture> },
    CameraDone { stopped: bool },
    InspectionDone,
}

/// Runs the line until its camera ends, it is told to stop, or it must stop. Then the outputs are released and the audit is
/// on disk.
///
/// # Errors
///
/// The audit cannot be written, or the system gives no thread.
pub fn run(wiring: Wiring) -> Result<Summary> {
    let started = Monotonic::now();
    let (sender, messages) = sync_channel(ROOM);
    if wiring.realtime {
        realtime::lock_memory();
    }
    let audit = Ledger::new(AuditLog::open(&wiring.audit, &wiring.start)?);
    let prepare = if wiring.realtime { realtime::schedule_first } else { || {} };
    let firing = Firing::start(wiring.output, prepare, firing_reports(sender.clone()))?;
    let gallery = wiring.observer.map(|observer| Gallery::open(observer, wiring.pace)).transpose()?;
    let grab_stop = Arc::new(AtomicBool::new(false));
    let slot = Arc::new(Slot::new(wiring.pace));

    let inspection = {
        let (inspector, slot, sender) = (wiring.inspector, slot.clone(), sender.clone());
        thread("inspection", move || {
            judge(inspector, &slot, &sender);
            // Nobody listens any more when the run was cut short.
            let _ = sender.send(Message::InspectionDone);
        })?
    };
    let camera = {
        let (camera, class, left, stop) = (wiring.camera, wiring.class, wiring.max_parts, grab_stop.clone());
        thread("camera", move || {
            let grabbing = Grabbing { camera, class, slot: &slot, messages: &sender, stop: &stop, left };
            let stopped = grabbing.work();
            slot.close();
            let _ = sender.send(Message::CameraDone { stopped });
        })?
    };

    let mut conductor = Conductor {
        core: LineCore::new(wiring.rules),
        context: PartContext { bundle: wiring.start.bundle },
        firing,
        audit,
        gallery,
        tally: Tally::default(),
        pictures: BTreeMap::new(),
        stop: wiring.stop,
        grab_stop,
        ending: None,
        halt_at: None,
        settled: None,
        camera: Some(camera),
        inspection: Some(inspection),
        actions: Vec::new(),
    };
    conductor.conduct(&messages);
    // Threads that still want to say something must not wait for somebody who no longer listens.
    drop(messages);
    conductor.finish(started, wiring.audit.file)
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(work);
    thread.map_err(|error| Error::device(format!("the system gives no thread for the {name}")).because(error))
}

/// Never waits: whoever holds the ejector on must come back to release it, also when nobody takes the reports. A part whose
/// report finds no room gets its fate by the rule that no report means not rejected.
fn firing_reports(sender: SyncSender<Message>) -> impl FnMut(firing::Report) + Send + 'static {
    move |report| {
        let what = match report {
            firing::Report::Fired(part, result) => Happening::Fired(part, result),
            firing::Report::Fault(why) => Happening::Fault(Device::Output, why),
            firing::Report::Recovered => Happening::Recovered(Device::Output),
        };
        let _ = sender.try_send(Message::Event(Event { at: Monotonic::now(), what }));
    }
}

struct Conductor {
    core: LineCore,
    context: PartContext,
    firing: Firing,
    audit: Ledger,
    gallery: Option<Gallery>,
    tally: Tally,
    /// What was seen of parts that are still open.
    pictures: BTreeMap<Ticket, Picture>,
    stop: Arc<AtomicBool>,
    grab_stop: Arc<AtomicBool>,
    /// Why the run ends, once it does.
    ending: Option<Ending>,
    /// When the end is no longer waited for.
    halt_at: Option<Monotonic>,
    /// Since when nothing can happen to any part any more.
    settled: Option<Monotonic>,
    camera: Option<JoinHandle<()>>,
    inspection: Option<JoinHandle<()>>,
    actions: Vec<Action>,
}

impl Conductor {
    fn conduct(&mut self, messages: &Receiver<Message>) {
        loop {
            for what in self.audit.news() {
                self.handle(Event { at: Monotonic::now(), what });
            }
            let now = Monotonic::now();
            if self.is_over(now) {
                return;
            }
            if self.stop.load(Ordering::Relaxed) {
                self.end(Ending::Stopped);
            }
            if self.halt_at.is_some_and(|halt| halt <= now) {
                log::warn!("not everything ended in time; what is open is written down as unaccounted");
                return self.handle(Event { at: now, what: Happening::Halt });
            }
            let left = self.core.next_wakeup().map_or(GLANCE, |at| at.saturating_since(now).min(GLANCE));
            match messages.recv_timeout(left) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => self.tick(),
                Err(RecvTimeoutError::Disconnected) => return self.handle(Event { at: now, what: Happening::Halt }),
            }
        }
    }

    /// No frame will come, and every part has its fate. A network that still computes then (one run may take seconds on a
    /// slow board) computes in vain: its part was treated as bad when the ejector had to act on it.
    fn is_over(&mut self, now: Monotonic) -> bool {
        if self.camera.is_some() || !self.core.is_idle() {
            return false;
        }
        let settled = *self.settled.get_or_insert(now);
        self.inspection.is_none() || now >= settled + LAST_WORD
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.handle(event),
            Message::Inspected { ticket, event, picture } => {
                if self.gallery.is_some() && self.core.is_open(ticket) {
                    self.pictures.insert(ticket, *picture);
                }
                self.handle(event);
            }
            Message::CameraDone { stopped } => {
                join("camera", self.camera.take());
                self.end(if stopped { Ending::Stopped } else { Ending::CameraEnded });
            }
            Message::InspectionDone => join("inspection", self.inspection.take()),
        }
    }

    fn tick(&mut self) {
        self.handle(Event { at: Monotonic::now(), what: Happening::Tick });
    }

    /// Begins to end the run: no new frames, but those that were captured get their verdicts and fates.
    fn end(&mut self, ending: Ending) {
        if self.ending.is_some() {
            return;
        }
        log::info!("the run ends: {ending}");
        self.ending = Some(ending);
        self.grab_stop.store(true, Ordering::Relaxed);
        let Rules { travel, pulse, tolerance, .. } = *self.core.rules();
        self.halt_at = Some(Monotonic::now() + travel + pulse + tolerance + GRACE);
    }

    fn handle(&mut self, event: Event) {
        let at = event.at;
        let mut actions = std::mem::take(&mut self.actions);
        self.core.handle(event, &mut actions);
        for action in actions.drain(..) {
            self.act(action, at);
        }
        self.actions = actions;
    }

    fn act(&mut self, action: Action, at: Monotonic) {
        match action {
            Action::Fire { part, at, latest, pulse } => self.firing.fire(Order { part, at, latest, pulse }),
            Action::SetSafe => self.firing.set_safe(),
            Action::RaiseAlarm(alarm, why) => {
                log::error!("alarm {alarm}: {why}");
                self.audit.write(Body::alarm(at, alarm, Some(&why)));
            }
            Action::ClearAlarm(alarm) => {
                log::info!("alarm {alarm} is over");
                self.audit.write(Body::alarm(at, alarm, None));
            }
            Action::Health(device, health) => {
                if health.is_ok() {
                    log::info!("{device} works again");
                }
                self.audit.write(Body::health(at, device, &health));
            }
            Action::Note(text) => {
                log::warn!("{text}");
                self.audit.write(Body::note(at, &text));
            }
            Action::Record(record) => self.record(*record),
            Action::StopLine(why) => {
                log::error!("the line stops: {why}");
                self.end(Ending::LineStopped(why));
            }
        }
    }

    fn record(&mut self, record: PartRecord) {
        self.audit.write(Body::part(&record, self.context));
        self.tally.add(&record);
        log::debug!(
            "part {} ({}): {} -> {}",
            record.part,
            record.origin,
            record.verdict.as_str(),
            record.fate.as_str()
        );
        let picture = record.ticket.and_then(|ticket| self.pictures.remove(&ticket));
        if let Some(gallery) = &mut self.gallery {
            gallery.show(Finished { record, picture });
        }
    }

    fn finish(mut self, started: Monotonic, audit_file: PathBuf) -> Result<Summary> {
        // Dropping the firing thread releases the output, before anything that may take time or fail.
        drop(self.firing);
        if self.camera.is_some() {
            log::warn!("the camera does not answer; it is left behind");
        }
        if self.inspection.is_some() {
            log::warn!("the inspection still computes, in vain: its part has its fate; it is left behind");
        }
        let counters = *self.core.counters();
        let ending = self.ending.unwrap_or(Ending::Stopped);
        self.audit.write(Body::stop(Monotonic::now(), &ending.to_string(), &counters));
        let written = self.audit.close();
        let unobserved = self.gallery.as_mut().map_or(0, |gallery| {
            gallery.close();
            gallery.unobserved
        });
        written?;
        let took = Monotonic::now().saturating_since(started);
        Ok(self.tally.summary(ending, counters, took, unobserved, audit_file))
    }
}

fn join(name: &str, thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread
        && thread.join().is_err()
    {
        log::error!("the {name}'s thread panicked");
    }
}
