//! The run itself: events in, actions carried out, until the last part has its fate.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::grabbing::{Grabbing, Trouble};
use super::inspection::judge;
use super::journal::Journal;
use super::ledger::Ledger;
use super::observer::{Finished, Gallery, Picture};
use super::slot::Slot;
use super::summary::{Ending, Summary, Tally};
use super::{Wiring, realtime};
use crate::audit::{AuditLog, Body, PartContext};
use crate::line::{Action, Device, Event, Happening, LineCore, PartRecord, Rules, Ticket};
use crate::outputs::firing::{self, Firing, Order};
use crate::time::Monotonic;
use crate::watchdog::{self, Watchdog};
use crate::{Error, Result, panic_text};

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
    Inspected {
        ticket: Ticket,
        event: Event,
        picture: Box<Picture>,
    },
    /// The camera's thread ended: whether by an end of the run, or by a panic.
    CameraDone(Result<bool, String>),
    /// The inspection's thread ended, or panicked.
    InspectionDone(Result<(), String>),
    /// The firing thread panicked.
    FiringDied(String),
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
    log::info!("opening the audit {}", wiring.audit.file.display());
    let audit = Ledger::new(AuditLog::open(&wiring.audit, &wiring.start)?);
    let prepare = if wiring.realtime { realtime::schedule_first } else { || {} };
    let firing = Firing::start(wiring.output, prepare, firing_reports(sender.clone()))?;
    let gallery = wiring.observer.map(|observer| Gallery::open(observer, wiring.pace)).transpose()?;
    let grab_stop = Arc::new(AtomicBool::new(false));
    let watchdog = Arc::new(Watchdog::default());
    let slot = Arc::new(Slot::new(wiring.pace));
    let class = wiring.class.clone();

    let inspection = {
        let (inspector, slot, sender) = (wiring.inspector, slot.clone(), sender.clone());
        thread("inspection", move || {
            let ended = outcome(|| judge(inspector, &slot, &sender));
            slot.close();
            // Nobody listens any more when the run was cut short.
            let _ = sender.send(Message::InspectionDone(ended));
        })?
    };
    let camera = {
        let (camera, left) = (wiring.camera, wiring.max_parts);
        let (stop, watchdog) = (grab_stop.clone(), watchdog.clone());
        thread("camera", move || {
            let ended = outcome(|| {
                let (messages, stop, watchdog) = (&sender, &*stop, &*watchdog);
                let trouble = Trouble::default();
                Grabbing { camera, class, slot: &slot, messages, stop, watchdog, left, trouble }.work()
            });
            slot.close();
            let _ = sender.send(Message::CameraDone(ended));
        })?
    };
    log::info!("line '{}' is armed; parts are inspected as '{}'", wiring.start.line, wiring.class);

    let mut conductor = Conductor {
        core: LineCore::new(wiring.rules),
        context: PartContext { bundle: wiring.start.bundle },
        firing,
        audit,
        gallery,
        tally: Tally::default(),
        journal: Journal::new(wiring.journal),
        watchdog,
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

/// What `work` came to, or what its panic says: a thread that dies must not die unseen.
fn outcome<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panic_text(&*panic).to_owned())
}

/// Never waits: whoever holds the ejector on must come back to release it, also when nobody takes the reports. A part whose
/// report finds no room gets its fate by the rule that no report means not rejected.
fn firing_reports(sender: SyncSender<Message>) -> impl FnMut(firing::Report) + Send + 'static {
    move |report| {
        let what = match report {
            firing::Report::Fired(part, result) => Happening::Fired(part, result),
            firing::Report::Fault(why) => Happening::Fault(Device::Output, why),
            firing::Report::Recovered => Happening::Recovered(Device::Output),
            firing::Report::Died(why) => return drop(sender.try_send(Message::FiringDied(why))),
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
    journal: Journal,
    /// Is shown every call into the camera's driver.
    watchdog: Arc<Watchdog>,
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
            self.look_after_drivers(now);
            self.journal.state(now, self.core.counters(), &self.tally);
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

    /// A thread that does not come back from a driver cannot say so itself. When it does come back, it says that.
    fn look_after_drivers(&mut self, at: Monotonic) {
        let hung = [(Device::Camera, self.watchdog.barks(at)), (Device::Output, self.firing.hangs(at))];
        for (device, _) in hung.into_iter().filter(|(_, hangs)| *hangs) {
            let why = format!("its driver has not come back for {} s", watchdog::PATIENCE.as_secs());
            self.handle(Event { at, what: Happening::Fault(device, why) });
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
            Message::CameraDone(ended) => {
                join(self.camera.take());
                match ended {
                    Ok(true) => self.end(Ending::Stopped),
                    Ok(false) => self.end(Ending::CameraEnded),
                    Err(why) => self.died("camera", &why),
                }
            }
            Message::InspectionDone(ended) => {
                join(self.inspection.take());
                if let Err(why) = ended {
                    self.died("inspection", &why);
                }
            }
            Message::FiringDied(why) => self.died("ejector", &why),
        }
    }

    /// Without one of its threads the line would see, judge or reject nothing any more.
    fn died(&mut self, thread: &str, why: &str) {
        let why = format!("the {thread}'s thread panicked: {why}");
        let at = Monotonic::now();
        self.audit.write(Body::note(at, &why));
        self.act(Action::StopLine(why), at);
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
                self.tally.alarm(alarm);
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
        self.journal.part(&record);
        let picture = record.ticket.and_then(|ticket| self.pictures.remove(&ticket));
        if let Some(gallery) = &mut self.gallery {
            gallery.show(Finished { record, picture });
        }
    }

    fn finish(mut self, started: Monotonic, audit_file: PathBuf) -> Result<Summary> {
        // The output is released before anything that may take time or fail.
        if let Err(why) = self.firing.end() {
            log::error!("{why}");
            self.audit.write(Body::note(Monotonic::now(), &why));
        }
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

/// The thread has said its last word, also if it panicked.
fn join(thread: Option<JoinHandle<()>>) {
    let _ = thread.map(JoinHandle::join);
}
