//! The run itself: events in, actions carried out, until the last part has its fate.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::Wiring;
use super::condition::Condition;
use super::control::{Asked, Control};
use super::inspection::{Change, Waiting};
use super::journal::Journal;
use super::ledger::Ledger;
use super::observer::{Finished, Gallery, Picture};
use super::sensing::Sensor;
use super::signals::Beacons;
use super::slot::{Choice, Slot};
use super::stage::Stage;
use super::standing::{Acknowledgement, Standing};
use super::summary::{Ending, Summary, Tally};
use super::threads::{Ejecting, Threads, Workers};
use crate::Result;
use crate::audit::{Body, PartContext};
use crate::camera::{BrokenFrame, Shot};
use crate::health::Health;
use crate::line::{Action, Alarm, ChallengeNews, Device, Event, Happening, LineCore, PartId, PartRecord, Ticket};
use crate::time::Monotonic;

/// Messages that may wait for the core.
const ROOM: usize = 1024;
/// How often the end of the run is looked for while nothing happens,
/// and the heartbeat is fed as often.
const GLANCE: Duration = Duration::from_millis(25);
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
    /// Of these frames the parts are remembered, with their pictures: what accepted parts look like may be found to have changed.
    Examples(BTreeSet<Ticket>),
    /// It has changed, as was found at that moment.
    Drift(Monotonic, Box<Change>),
    /// A frame that no part can be judged by.
    Broken {
        ticket: Ticket,
        event: Event,
        frame: Arc<BrokenFrame>,
    },
    /// The camera's thread gives no more frames, by an end of the run or a panic.
    CameraDone(Result<Ending, String>),
    /// Somebody outside asked for something.
    Asked(Asked),
    /// Somebody outside has seen alarms; who they are, or why not, goes back.
    Acknowledged(Acknowledgement, SyncSender<std::result::Result<Vec<Alarm>, String>>),
    /// Who asked went away before the end.
    Left,
    /// The inspection's thread judges no more, or panicked.
    InspectionDone(Result<(), String>),
}

/// Runs the line until its camera ends, it is told to stop, or it must stop. Then the outputs are released and the audit is
/// on disk.
///
/// # Errors
///
/// The audit cannot be written, or the system gives no thread, which the audit says.
pub fn run(wiring: Wiring) -> Result<Summary> {
    let started = Monotonic::now();
    let Wiring { rules, views, camera, inspector, outputs, sensors, signals, audit, pace, observer, realtime, .. } =
        wiring;
    let (frames, parts) = match rules.finds_frames() {
        true => (wiring.max_parts.map(|parts| parts.div_ceil(views.len() as u64)), None),
        false => (None, wiring.max_parts),
    };
    let workers = Workers { views, camera, inspector, outputs, sensors, signals, observer, pace, frames, realtime };
    let (sender, messages) = sync_channel(ROOM);
    let threads = match Threads::start(workers, &rules, audit.path(), sender) {
        Ok(threads) => threads,
        Err(error) => return Err(audit.never_began(error)),
    };
    let mut conductor = Conductor {
        core: LineCore::new(rules),
        context: wiring.context,
        ejectors: threads.ejectors,
        beacons: Some(threads.beacons),
        sensors: threads.sensors,
        parts,
        control: threads.control,
        control_stop: threads.control_stop,
        challenger: None,
        standing: Standing::default(),
        audit: Ledger::new(audit),
        gallery: threads.gallery,
        tally: Tally::of(threads.camera_counts),
        journal: Journal::new(wiring.journal),
        pictures: BTreeMap::new(),
        stop: wiring.stop,
        grab_stop: threads.grab_stop,
        ending: None,
        halt_at: None,
        settled: None,
        slot: threads.slot,
        camera: threads.camera,
        camera_health: threads.camera_health,
        camera_condition: Condition::of(Device::Camera),
        inspection: threads.inspection,
        inspection_health: threads.inspection_health,
        inspection_condition: Condition::of(Device::Inspection),
        actions: Vec::new(),
        outcomes: VecDeque::new(),
    };
    conductor.conduct(&messages);
    // Threads that still want to say something must not wait for somebody who no longer listens.
    drop(messages);
    conductor.finish(started)
}

struct Conductor {
    core: LineCore,
    context: PartContext,
    /// Each lane's.
    ejectors: Vec<Ejecting>,
    /// Until the end.
    beacons: Option<Beacons>,
    sensors: Vec<Sensor>,
    /// The run ends after so many parts, where they are not frames.
    parts: Option<u64>,
    control: Option<Control>,
    control_stop: Arc<AtomicBool>,
    /// Who wants to hear how the challenge goes.
    challenger: Option<SyncSender<ChallengeNews>>,
    standing: Standing,
    audit: Ledger,
    gallery: Option<Gallery>,
    tally: Tally,
    journal: Journal,
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
    slot: Arc<Slot<Waiting>>,
    camera: Stage,
    camera_health: Arc<Health>,
    camera_condition: Condition,
    inspection: Stage,
    inspection_health: Arc<Health>,
    inspection_condition: Condition,
    actions: Vec<Action>,
    /// What followed from actions at once, for the core to know.
    outcomes: VecDeque<Happening>,
}

impl Conductor {
    fn conduct(&mut self, messages: &Receiver<Message>) {
        loop {
            let now = Monotonic::now();
            self.look_after_devices(now);
            if self.is_over(now) {
                // What followed from the end of the camera.
                return self.tick();
            }
            self.journal.state(now, self.core.counters(), &self.tally, &self.standing);
            if let Some(beacons) = &self.beacons {
                beacons.beat();
            }
            if self.parts.is_some_and(|parts| self.core.counters().parts >= parts) {
                self.end(Ending::Enough);
            }
            if self.stop.load(Ordering::Relaxed) {
                self.end(Ending::Stopped);
            }
            if self.halt_at.is_some_and(|halt| halt <= now) {
                log::warn!("not everything ended in time; what is open is written down as unaccounted");
                return self.halt(now);
            }
            let left = self.core.next_wakeup().map_or(GLANCE, |at| at.saturating_since(now).min(GLANCE));
            match messages.recv_timeout(left) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => self.tick(),
                Err(RecvTimeoutError::Disconnected) => return self.halt(now),
            }
        }
    }

    /// Threads that hang in a driver, or are dead, cannot say so themselves.
    fn look_after_devices(&mut self, now: Monotonic) {
        let camera = self.camera_condition.follow(self.camera_health.look(now));
        let inspection = self.inspection_condition.follow(self.inspection_health.look(now));
        let outputs = self.ejectors.iter_mut();
        let outputs = outputs.filter_map(|ejector| ejector.condition.follow(ejector.firing.health(now)));
        let outputs = outputs.collect::<Vec<_>>();
        let sensors = self.sensors.iter_mut().filter_map(|sensor| sensor.news(now)).collect::<Vec<_>>();
        let beacons = self.beacons.as_mut().map(|beacons| beacons.news(now)).unwrap_or_default();
        let devices = camera.into_iter().chain(inspection).chain(outputs).chain(sensors).chain(beacons);
        for what in devices.chain(self.audit.news()).collect::<Vec<_>>() {
            self.handle(Event { at: now, what });
        }
        if self.ejectors.iter().any(|ejector| ejector.firing.is_dead()) {
            self.died("ejector", "see its fault");
        }
    }

    /// No frame will come, and every part has its fate. A network that still computes then (one run may take seconds on a
    /// slow board) computes in vain: its part was treated as bad when the ejector had to act on it.
    fn is_over(&mut self, now: Monotonic) -> bool {
        if !self.camera.is_done || !self.core.is_idle() {
            return false;
        }
        let settled = *self.settled.get_or_insert(now);
        self.inspection.is_done || now >= settled + LAST_WORD
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.handle(event),
            Message::Inspected { ticket, event, picture } => {
                self.audit.saw(ticket, self.core.is_open(ticket), &picture.frame);
                if self.gallery.is_some() && self.core.is_open(ticket) {
                    self.pictures.insert(ticket, *picture);
                }
                self.handle(event);
            }
            Message::Examples(tickets) => self.audit.examples(tickets),
            Message::Drift(at, change) => self.drifted(at, &change),
            Message::Broken { ticket, event, frame } => {
                // It is open before the core has heard of it: what it may come to at once is settled with its picture.
                self.audit.saw(ticket, true, Shot::Broken(frame));
                self.handle(event);
            }
            Message::CameraDone(ended) => {
                self.camera.is_done = true;
                match ended {
                    Ok(ending) => self.end(ending),
                    Err(why) => self.died("camera", &why),
                }
            }
            Message::Asked(Asked { challenge, news }) => {
                let dry = "this is a dry run: no output is driven, and no piece would be ejected";
                let refused = if self.context.dry_run { Err(dry.to_owned()) } else { self.audit.has_room() };
                if let Err(why) = refused {
                    // Who went away misses it.
                    let _ = news.try_send(ChallengeNews::Refused(challenge, why));
                    return;
                }
                self.challenger = Some(news);
                self.handle(Event { at: Monotonic::now(), what: Happening::Challenged(challenge) });
            }
            Message::Acknowledged(who, answer) => {
                // Who asked and does not wait any more finds it in the audit.
                let _ = answer.try_send(self.acknowledge(&who, Monotonic::now()));
            }
            Message::Left => {
                self.challenger = None;
                self.handle(Event { at: Monotonic::now(), what: Happening::Withdrawn });
            }
            Message::InspectionDone(ended) => {
                self.inspection.is_done = true;
                if let Err(why) = ended {
                    self.died("inspection", &why);
                }
            }
        }
    }

    /// Without one of its threads the line sees, judges or rejects nothing any more.
    fn died(&mut self, thread: &str, why: &str) {
        if !matches!(self.ending, Some(Ending::LineStopped(_))) {
            self.act(Action::StopLine(format!("the {thread}'s thread panicked: {why}")), Monotonic::now());
        }
    }

    fn tick(&mut self) {
        self.handle(Event { at: Monotonic::now(), what: Happening::Tick });
    }

    /// Begins to end the run: no new frames, but those that were captured get their verdicts and fates. A run that ends
    /// already can still find that the line has to stop.
    fn end(&mut self, ending: Ending) {
        let is_graver =
            matches!(ending, Ending::LineStopped(_)) && !matches!(self.ending, Some(Ending::LineStopped(_)));
        if self.ending.is_some() && !is_graver {
            return;
        }
        log::info!("the run ends: {ending}");
        self.ending = Some(ending);
        self.grab_stop.store(true, Ordering::Relaxed);
        self.outcomes.push_back(Happening::NoMoreParts);
        let longest = self.core.rules().longest_way();
        self.halt_at.get_or_insert_with(|| Monotonic::now() + longest + GRACE);
    }

    fn handle(&mut self, event: Event) {
        let at = event.at;
        let mut actions = std::mem::take(&mut self.actions);
        self.core.handle(event, &mut actions);
        for action in actions.drain(..) {
            self.act(action, at);
        }
        self.actions = actions;
        while let Some(what) = self.outcomes.pop_front() {
            self.handle(Event { at, what });
        }
    }

    fn act(&mut self, action: Action, at: Monotonic) {
        match action {
            Action::Inspect(ticket) => self.inspect(ticket),
            Action::Forget(ticket) => {
                self.slot.forget(ticket);
                self.audit.forget(ticket);
                self.pictures.remove(&ticket);
            }
            Action::Fire(order) => self.ejectors[order.lane.0].firing.fire(order),
            Action::SetSafe => self.ejectors.iter().for_each(|ejector| ejector.firing.set_safe()),
            Action::RaiseAlarm(alarm, why) => {
                log::error!("alarm {alarm}: {why}");
                self.tally.alarm(alarm);
                self.standing.raise(alarm, at);
                self.beacons.iter_mut().for_each(|beacons| beacons.alarm(alarm, true));
                self.audit.alarm(at, alarm, &why);
            }
            Action::ClearAlarm(alarm) => {
                log::info!("alarm {alarm} is over");
                self.standing.clear(alarm);
                self.beacons.iter_mut().for_each(|beacons| beacons.alarm(alarm, false));
                self.audit.write(Body::alarm(at, alarm, None));
            }
            Action::Health(device, health) => {
                if health.is_ok() {
                    log::info!("{device} works again");
                }
                self.audit.write(Body::health(at, device, &health));
            }
            Action::Challenge(news) => self.challenge(&news, at),
            Action::Note(text) => {
                log::warn!("{text}");
                self.audit.write(Body::note(at, &text));
            }
            Action::Record(record) => self.record(*record),
            Action::StopLine(why) => {
                log::error!("the line stops: {why}");
                self.beacons.iter_mut().for_each(Beacons::stop_line);
                self.end(Ending::LineStopped(why));
            }
        }
    }

    fn inspect(&mut self, ticket: Ticket) {
        match self.slot.choose(ticket) {
            Choice::Waits(skipped) => {
                if let Some((ticket, waiting)) = skipped {
                    leave(&self.audit, &self.core, ticket, waiting);
                    self.outcomes.push_back(Happening::Skipped(ticket));
                }
            }
            Choice::Gone => {
                let why = "its frame was gone before it could be inspected".into();
                self.outcomes.push_back(Happening::Inspected(ticket, Err(why)));
            }
        }
    }

    /// The core closes what is open; frames that still wait are left.
    fn halt(&mut self, at: Monotonic) {
        for (ticket, waiting) in self.slot.end() {
            leave(&self.audit, &self.core, ticket, waiting);
        }
        self.handle(Event { at, what: Happening::Halt });
    }

    /// Writes down that a person has seen alarms. Outputs and the core go by their causes alone.
    fn acknowledge(&mut self, who: &Acknowledgement, at: Monotonic) -> std::result::Result<Vec<Alarm>, String> {
        let Self { standing, audit, .. } = self;
        let alarms = standing.acknowledge(who, |alarms| {
            audit.try_write(Body::acknowledgement(at, &who.by, alarms, who.note.as_deref()))
        })?;
        let alarms = alarms.into_iter().map(|(alarm, _)| alarm).collect::<Vec<_>>();
        let names = alarms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let note = who.note.as_ref().map_or_else(String::new, |note| format!(": {note}"));
        log::info!("{} acknowledges {names}{note}", who.by);
        Ok(alarms)
    }

    /// Names the parts that show a change, writes it down, and keeps their pictures.
    fn drifted(&mut self, at: Monotonic, change: &Change) {
        let Change { class, lane, what } = change;
        let mut named = Vec::<(PartId, f32)>::new();
        for (ticket, value) in &what.parts {
            // A part that had its fate before its verdict came is no example; one may be seen in several frames.
            let part = self.core.part_of(*ticket).or_else(|| self.audit.example(*ticket));
            let part = part.filter(|part| named.iter().all(|(other, _)| other != part));
            named.extend(part.map(|part| (part, *value)));
        }
        let of = lane.as_ref().map_or_else(|| class.clone(), |lane| format!("{class}, lane {lane}"));
        let why = what.told(&of, &named);
        log::warn!("{why}");
        self.audit.write(Body::drift(at, class, lane.as_deref(), what, &named, &why));
        self.audit.keep(named.into_iter().map(|(part, _)| part));
        self.handle(Event { at, what: Happening::Drift(why) });
    }

    fn challenge(&mut self, news: &ChallengeNews, at: Monotonic) {
        match news {
            ChallengeNews::Begun(challenge) => {
                log::info!("{} sends {} known bad pieces", challenge.by, challenge.pieces);
            }
            ChallengeNews::Ended(_, outcome) if outcome.is_passed() => log::info!("the challenge is passed"),
            ChallengeNews::Ended(..) => log::error!("the challenge is not passed"),
            ChallengeNews::Refused(..) | ChallengeNews::Piece(..) => {}
        }
        Body::challenge(at, news).into_iter().for_each(|body| self.audit.write(body));
        if matches!(news, ChallengeNews::Ended(..)) {
            self.audit.keep_around();
        }
        if let Some(challenger) = &self.challenger {
            // Who went away, or does not read, misses it; the audit has it.
            let _ = challenger.try_send(news.clone());
        }
    }

    fn record(&mut self, record: PartRecord) {
        self.audit.part(&record, self.context);
        self.tally.add(&record);
        self.journal.part(&record);
        let picture = record.ticket.and_then(|ticket| self.pictures.remove(&ticket));
        if let Some(gallery) = &mut self.gallery {
            gallery.show(Finished { record, picture });
        }
    }

    fn finish(mut self, started: Monotonic) -> Result<Summary> {
        // The output is released before anything that may take time or fail.
        let ended = self.ejectors.drain(..).map(|Ejecting { firing, condition }| (condition.device(), firing.end()));
        let unreleased = ended.filter_map(|(device, ended)| Some((device, ended.err()?))).collect::<Vec<_>>();
        for (device, why) in &unreleased {
            log::error!("{why}");
            self.audit.write(Body::health(Monotonic::now(), *device, &Err(why.clone())));
        }
        let unreleased = unreleased.into_iter().map(|(_, why)| why).reduce(|all, why| format!("{all}; {why}"));
        let unsafe_signals = self.beacons.take().map(Beacons::end).unwrap_or_default();
        for (device, why) in unsafe_signals {
            log::error!("{device}: {why}");
            self.audit.write(Body::health(Monotonic::now(), device, &Err(why)));
        }
        self.control_stop.store(true, Ordering::Relaxed);
        self.control.take().into_iter().for_each(Control::leave);
        for (ticket, waiting) in self.slot.end() {
            leave(&self.audit, &self.core, ticket, waiting);
        }
        self.sensors.drain(..).for_each(Sensor::leave);
        self.camera.leave("the camera's driver does not come back");
        self.inspection.leave("the inspection still computes, in vain: its part has its fate");
        let counters = *self.core.counters();
        let ending = self.ending.unwrap_or(Ending::Stopped);
        self.audit.stop(Monotonic::now(), &ending.to_string(), &counters);
        let file = self.audit.path().to_owned();
        let written = self.audit.close();
        let unobserved = self.gallery.as_mut().map_or(0, |gallery| {
            gallery.close();
            gallery.unobserved
        });
        let unwritten = written.err().map(|error| (error.line(), error.advice().unwrap_or_default().to_owned()));
        let took = Monotonic::now().saturating_since(started);
        let summary = self.tally.summary(ending, counters, took, unreleased, unobserved, file);
        Ok(Summary { unwritten, ..summary })
    }
}

/// A frame that nobody will inspect: its picture is all that tells of its part.
fn leave(audit: &Ledger, core: &LineCore, ticket: Ticket, waiting: Waiting) {
    audit.saw(ticket, core.is_open(ticket), &Arc::new(waiting.frame));
}
